// EXEC: a process in the foreground, tied to its stream.
#include "background.h"
#include "ops.h"
#include "process.h"
#include "session.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum { LINGER_MOST = 4096 };

struct exec {
  struct stream stream;
  struct process *process;
};

// Sends what is there, a frame at a time. May end the process and with it the exec.
static void send_output(struct exec *e, int index) {
  struct process *p = e->process;
  struct output *o = &p->output[index];
  while (o->handler.fd >= 0 && o->readable) {
    uint64_t most = o->last ? o->left : UINT64_MAX, count = 0;
    bool quiet = session_quiet() && !p->tty;
    enum sent sent = most == 0 ? SENT_EOF : stream_send_from(&e->stream, (uint8_t)(index + 1), o->handler.fd, most, &count);
    o->left -= o->last ? count : 0;
    if (quiet && count > 0 && count < LINGER_MOST) session_linger();
    if (sent == SENT_BLOCKED || sent == SENT_MORE) return;
    if (sent == SENT_EOF || sent == SENT_FAILED) return process_close_output(p, index); // a terminal ends with EIO
    if (p->tty && count > 0) continue; // a terminal gives less than there is
    if (o->last || (o->hung_up && !p->tty)) return process_close_output(p, index);
    o->readable = false;
  }
}

static void on_output(struct process *p, int index) { send_output(p->data, index); }

static void on_closed(struct process *p, int index) {
  struct exec *e = p->data;
  bool quiet = session_quiet();
  send_empty(FRAME_EOF, (uint8_t)(index + 1), e->stream.id);
  if (quiet) session_linger();
}

static void on_ended(struct process *p) {
  struct exec *e = p->data;
  struct writer w = frame_begin();
  put_exit(&w, p);
  put_usage(&w, p);
  frame_end(&w, FRAME_RESULT, e->stream.id);
  stream_close(&e->stream);
  process_free(p);
  free(e);
}

static const struct process_owner owner = {.output = on_output, .closed = on_closed, .ended = on_ended};

static void input_taken(struct process *p, uint32_t bytes) {
  struct exec *e = p->data;
  stream_consumed(&e->stream, bytes);
}

static void exec_data(struct stream *s, const uint8_t *data, uint32_t length) {
  process_write(container_of(s, struct exec, stream)->process, data, length);
}

static void exec_eof(struct stream *s) { process_close_input(container_of(s, struct exec, stream)->process); }

static void exec_pump(struct stream *s) {
  struct exec *e = container_of(s, struct exec, stream);
  struct process *p = e->process;
  // The first may end the exec, but only when the second is closed already.
  bool both = p->output[1].handler.fd >= 0;
  send_output(e, 0);
  if (both) send_output(e, 1);
}

static void exec_control(struct stream *s, const struct fields *f) {
  struct process *p = container_of(s, struct exec, stream)->process;
  uint64_t op = number(f, TAG_OP, 0), signal = number(f, TAG_SIGNAL, 0);
  if (op == 50 && signal >= 1 && signal <= 64) process_signal(p, (int)signal);
  if (op == 51 && p->tty && p->output[0].handler.fd >= 0) {
    struct winsize size = {.ws_row = (uint16_t)number(f, TAG_ROWS, 24), .ws_col = (uint16_t)number(f, TAG_COLS, 80)};
    ioctl(p->output[0].handler.fd, TIOCSWINSZ, &size);
  }
}

// The RESULT comes by itself, with the signal, and does not wait for output that the host may not want any more.
static void exec_cancel(struct stream *s) {
  struct process *p = container_of(s, struct exec, stream)->process;
  process_kill(p);
  bool both = p->output[1].handler.fd >= 0;
  process_close_output(p, 0);
  if (both) process_close_output(p, 1);
}

static void exec_drop(struct stream *s) {
  struct exec *e = container_of(s, struct exec, stream);
  process_signal(e->process, SIGKILL);
  process_orphan(e->process);
  free(e);
}

static const struct stream_ops exec_ops = {.data = exec_data,
                                           .eof = exec_eof,
                                           .pump = exec_pump,
                                           .control = exec_control,
                                           .cancel = exec_cancel,
                                           .drop = exec_drop};

void op_exec(uint32_t stream, const struct fields *f) {
  struct command *c = command_read(stream, f);
  if (!c) return;
  struct exec *e = calloc(1, sizeof *e);
  if (!e) return send_errno(stream, ENOMEM, "exec");
  e->process = process_start(stream, c, &owner, e);
  if (!e->process) return free(e);
  e->process->input_taken = input_taken;
  stream_open(&e->stream, stream, &exec_ops);
  bool quiet = session_quiet();
  struct writer w = frame_begin();
  put_u64(&w, TAG_PID, (uint64_t)e->process->pid);
  frame_end(&w, FRAME_EVENT, stream);
  if (quiet) session_linger();
}

bool exec_detach(struct process *p) {
  if (p->owner != &owner || p->reaped) return false;
  struct exec *e = p->data;
  p->input_taken = NULL;
  process_close_input(p);
  send_error(e->stream.id, "cancelled", 0, "now the background process exec-%d", p->pid);
  stream_close(&e->stream);
  free(e);
  return true;
}
