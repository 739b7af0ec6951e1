// SPAWN, PS, LOGS and STOP.
#include "background.h"
#include "ops.h"
#include "output.h"
#include "ring.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { BACKGROUND_MAX = 256, NAME_MOST = 64, LOG_DEFAULT = 1 << 20, LOG_MOST = 16 << 20, LOG_LEAST = 4096 };
enum { READ_SIZE = 16384, READS_A_TURN = 16, STOP_TIMEOUT_MS = 5000, RECORD_RESERVE = 320 };

struct logs {
  struct stream stream;
  struct background *background;
  struct logs *next;
  struct ring_cursor cursor;
  bool follow;
};

struct stopping {
  struct stream stream;
  struct background *background;
  struct timer timer;
};

struct background {
  struct background *next;
  struct process *process;
  struct ring ring;
  struct logs *readers;
  struct stopping *stopping;
  struct task again; // output that is left for the next turn
  bool removed;
  char name[NAME_MOST + 1];
};

static struct background *all;
static uint32_t count;
static uint64_t log_bytes;

static struct background *find(const char *name) {
  struct background *b = all;
  while (b && strcmp(b->name, name) != 0) b = b->next;
  return b;
}

bool background_has_room(void) { return count < BACKGROUND_MAX; }

uint32_t background_count(void) {
  uint32_t running = 0;
  for (struct background *b = all; b; b = b->next) running += !b->process->ended;
  return running;
}

// The logs of all together: an eighth of the memory, but that much always.
static uint64_t log_budget(void) {
  static uint64_t budget;
  struct sysinfo info;
  if (!budget && sysinfo(&info) == 0) budget = (uint64_t)info.totalram * info.mem_unit / 8;
  return budget > 4 * LOG_MOST ? budget : 4 * LOG_MOST;
}

static void free_when_unused(struct background *b) {
  if (!b->removed || b->readers) return;
  task_forget(&b->again);
  process_free(b->process);
  log_bytes -= b->ring.size;
  ring_close(&b->ring);
  free(b);
}

static void forget(struct background *b) {
  struct background **link = &all;
  while (*link != b) link = &(*link)->next;
  *link = b->next;
  count--;
  b->removed = true;
  free_when_unused(b);
}

static void put_state(struct writer *w, const struct process *p) {
  put_u64(w, TAG_STATE, p->ended ? 2 : processes_frozen() ? 3 : 1);
}

// --- reading a log

static void reader_unlink(struct logs *l) {
  struct logs **link = &l->background->readers;
  while (*link != l) link = &(*link)->next;
  *link = l->next;
}

static void reader_free(struct logs *l) {
  struct background *b = l->background;
  reader_unlink(l);
  free(l);
  free_when_unused(b);
}

static void reader_end(struct logs *l, bool cancelled) {
  struct process *p = l->background->process;
  uint32_t id = l->stream.id;
  send_empty(FRAME_EOF, 1, id);
  send_empty(FRAME_EOF, 2, id);
  if (cancelled) send_error(id, "cancelled", 0, "reading the log was cancelled");
  else {
    struct writer w = frame_begin();
    put_state(&w, p);
    if (p->ended) put_exit(&w, p);
    put_u64(&w, TAG_LOG_DROPPED, l->background->ring.dropped);
    frame_end(&w, FRAME_RESULT, id);
  }
  stream_close(&l->stream);
  reader_free(l);
}

static void logs_pump(struct stream *s) {
  struct logs *l = container_of(s, struct logs, stream);
  uint8_t channel;
  uint32_t there;
  while ((there = ring_next(&l->background->ring, &l->cursor, &channel))) {
    uint32_t can = stream_can_send(s, channel);
    if (can == 0) return;
    if (can > there) can = there;
    ring_read(&l->background->ring, &l->cursor, stream_data_begin(), can);
    stream_data_end(s, channel, can);
  }
  if (!l->follow || l->background->process->ended) reader_end(l, false);
}

static void logs_cancel(struct stream *s) { reader_end(container_of(s, struct logs, stream), true); }
static void logs_drop(struct stream *s) { reader_free(container_of(s, struct logs, stream)); }
static const struct stream_ops logs_ops = {.pump = logs_pump, .cancel = logs_cancel, .drop = logs_drop};

static void pump_readers(struct background *b) {
  for (struct logs *l = b->readers, *next; l; l = next) {
    next = l->next;
    logs_pump(&l->stream);
  }
}

// --- the process

// False when it closed the output, which may have been the end of the process and of `b`.
static bool read_output(struct background *b, int index) {
  static uint8_t buffer[READ_SIZE];
  struct output *o = &b->process->output[index];
  for (int reads = 0; o->handler.fd >= 0 && o->readable && reads < READS_A_TURN; reads++) {
    ssize_t n = o->last && o->left == 0 ? 0 : read(o->handler.fd, buffer, READ_SIZE);
    if (n > 0) ring_append(&b->ring, (uint8_t)(index + 1), buffer, (uint32_t)n);
    if (n > 0) o->left -= o->last ? ((uint64_t)n < o->left ? (uint64_t)n : o->left) : 0;
    else if (n < 0 && errno == EAGAIN && !o->last) o->readable = false;
    else if (n == 0 || errno != EINTR) {
      process_close_output(b->process, index);
      return false;
    }
  }
  if (o->handler.fd >= 0 && o->readable) task_soon(&b->again);
  return true;
}

static void read_again(struct task *t) {
  struct background *b = container_of(t, struct background, again);
  bool second = b->process->output[1].handler.fd >= 0;
  bool open = read_output(b, 0);
  if (second) open = read_output(b, 1);
  if (open) pump_readers(b);
}

static void on_output(struct process *p, int index) {
  struct background *b = p->data;
  if (read_output(b, index)) pump_readers(b);
}

static void on_closed(struct process *p, int index) {
  (void)index;
  pump_readers(p->data);
}

static void stop_finish(struct background *b) {
  struct stopping *s = b->stopping;
  struct writer w = frame_begin();
  put_exit(&w, b->process);
  put_usage(&w, b->process);
  frame_end(&w, FRAME_RESULT, s->stream.id);
  stream_close(&s->stream);
  timer_clear(&s->timer);
  free(s);
  b->stopping = NULL;
}

static void on_ended(struct process *p) {
  struct background *b = p->data;
  if (b->stopping) cgroup_kill(&p->cgroup);
  cgroup_release(&p->cgroup);
  pump_readers(b);
  if (!b->stopping) return;
  stop_finish(b);
  forget(b);
}

static const struct process_owner owner = {.output = on_output, .closed = on_closed, .ended = on_ended};

static struct background *make(const char *name, uint32_t log_limit) {
  struct background *b = log_bytes + log_limit <= log_budget() ? calloc(1, sizeof *b) : NULL;
  if (!b || !ring_open(&b->ring, log_limit)) {
    free(b);
    return NULL;
  }
  log_bytes += log_limit;
  b->again.run = read_again;
  snprintf(b->name, sizeof b->name, "%s", name);
  b->next = all;
  all = b;
  count++;
  return b;
}

static void unmake(struct background *b) {
  all = b->next;
  count--;
  log_bytes -= b->ring.size;
  ring_close(&b->ring);
  free(b);
}

void background_adopt(struct process *p) {
  char name[32];
  snprintf(name, sizeof name, "exec-%d", p->pid);
  struct background *b = make(name, log_bytes + LOG_DEFAULT <= log_budget() ? LOG_DEFAULT : LOG_LEAST);
  p->owner = &owner;
  p->data = b;
  if (!b) return process_orphan(p);
  b->process = p;
  for (int i = 0; i < 2; i++)
    if (p->output[i].handler.fd >= 0) p->output[i].readable = true;
  task_soon(&b->again);
}

static bool name_valid(const char *name) {
  size_t n = strlen(name);
  if (n < 1 || n > NAME_MOST || name[0] == '.') return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static struct background *wanted(uint32_t stream, const struct fields *f) {
  const char *name = text(f, TAG_NAME);
  struct background *b = name ? find(name) : NULL;
  if (!b) send_error(stream, "process_not_found", 0, "%.64s: no such process", name ? name : "");
  return b;
}

void op_spawn(uint32_t stream, const struct fields *f) {
  const char *name = text(f, TAG_NAME);
  if (!name || !name_valid(name))
    return send_error(stream, "bad_request", 0, "NAME is 1 to 64 of A-Z a-z 0-9 . _ -, not starting with .");
  if (find(name)) return send_error(stream, "name_taken", 0, "%s: there is a process of that name", name);
  uint64_t limit = number(f, TAG_LOG_LIMIT, LOG_DEFAULT);
  if (limit > LOG_MOST) return send_error(stream, "bad_request", 0, "LOG_LIMIT is at most %d", LOG_MOST);
  if (limit < LOG_LEAST) limit = LOG_LEAST;
  struct command *c = command_read(stream, f);
  if (!c) return;
  c->pty = c->has_stdin = false;
  struct background *b = background_has_room() ? make(name, (uint32_t)limit) : NULL;
  if (!b) return send_error(stream, "too_many_processes", 0, "too many background processes, or too large logs");
  b->process = process_start(stream, c, &owner, b);
  if (!b->process) return unmake(b);
  struct writer w = frame_begin();
  put_u64(&w, TAG_PID, (uint64_t)b->process->pid);
  frame_end(&w, FRAME_RESULT, stream);
}

// Whole arguments as far as the budget goes; the first is cut if it must be.
static void put_arguments(struct writer *w, const struct process *p, size_t budget) {
  uint8_t *stop = w->at + budget < w->end ? w->at + budget : w->end, *end = w->end;
  w->end = stop;
  for (uint32_t at = 0; at < p->args_length && !w->full; at += (uint32_t)strlen(p->args + at) + 1)
    put_text(w, TAG_ARG, p->args + at);
  w->end = end;
  w->full = false;
}

void op_ps(uint32_t stream, const struct fields *f) {
  (void)f;
  struct writer w = frame_begin();
  uint32_t left = count;
  for (struct background *b = all; b; b = b->next, left--) {
    struct process *p = b->process;
    size_t share = (size_t)(w.end - w.at) / left;
    uint8_t *record = record_begin(&w);
    put_text(&w, TAG_NAME, b->name);
    put_u64(&w, TAG_PID, (uint64_t)p->pid);
    put_state(&w, p);
    put_u64(&w, TAG_STARTED_NS, (uint64_t)p->start_wall_ns);
    if (p->ended) put_exit(&w, p);
    put_u64(&w, TAG_LOG_DROPPED, b->ring.dropped);
    // With very many processes of very long names only what is above fits.
    if (share >= RECORD_RESERVE) {
      put_usage(&w, p);
      put_arguments(&w, p, share - RECORD_RESERVE);
    }
    record_end(&w, record);
  }
  frame_end(&w, FRAME_RESULT, stream);
}

void op_logs(uint32_t stream, const struct fields *f) {
  struct background *b = wanted(stream, f);
  if (!b) return;
  struct logs *l = calloc(1, sizeof *l);
  if (!l) return send_errno(stream, ENOMEM, "logs");
  l->background = b;
  l->follow = number(f, TAG_FOLLOW, 0);
  l->cursor = ring_tail(&b->ring, number(f, TAG_LIMIT, UINT64_MAX));
  l->next = b->readers;
  b->readers = l;
  stream_open(&l->stream, stream, &logs_ops);
  logs_pump(&l->stream);
}

static void stop_now(struct timer *t) { process_kill(container_of(t, struct stopping, timer)->background->process); }

static void stop_forget(struct stream *s) {
  struct stopping *stop = container_of(s, struct stopping, stream);
  timer_clear(&stop->timer);
  stop->background->stopping = NULL;
  free(stop);
}

static void stop_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "stopping was cancelled; the process may have got its signal");
  stream_close(s);
  stop_forget(s);
}

static const struct stream_ops stop_ops = {.cancel = stop_cancel, .drop = stop_forget};

void op_stop(uint32_t stream, const struct fields *f) {
  struct background *b = wanted(stream, f);
  if (!b) return;
  uint64_t signal = number(f, TAG_SIGNAL, 15), timeout = number(f, TAG_TIMEOUT_MS, STOP_TIMEOUT_MS);
  if (signal < 1 || signal > 64) return send_error(stream, "bad_request", 0, "SIGNAL is 1 to 64");
  if (b->stopping) return send_error(stream, "busy", 0, "%s: is being stopped", b->name);
  struct stopping *s = calloc(1, sizeof *s);
  if (!s) return send_errno(stream, ENOMEM, "stop");
  s->background = b;
  s->timer.fire = stop_now;
  b->stopping = s;
  stream_open(&s->stream, stream, &stop_ops);
  if (b->process->ended) {
    stop_finish(b);
    return forget(b);
  }
  process_signal(b->process, (int)signal);
  timer_set(&s->timer, (int64_t)(timeout < 86400000 ? timeout : 86400000));
}
