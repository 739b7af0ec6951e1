#include "process.h"
#include "ends.h"
#include "hold.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DRAIN_MS = 200, PROCESSES_MAX = 1024, INPUT_START = 4096 };

static struct process *processes;
static uint32_t process_count;
static bool frozen;

static void start_failed(uint32_t stream, const struct command *c, const struct child *child) {
  const char *name = c->argv[0];
  int error = child->error;
  switch (child->failed) {
  case CHILD_CWD:
    send_error(stream, "cwd_not_found", error, "%.800s: %s", c->cwd, strerror(error));
    return;
  case CHILD_EXEC:
    if (error == ENOENT || error == ENOTDIR)
      send_error(stream, "not_found", error, "%.800s: not found, or its interpreter is missing", name);
    else if (error == EACCES || error == EPERM || error == ENOEXEC || error == EISDIR)
      send_error(stream, "not_executable", error, "%.800s: not an executable file", name);
    else send_errno(stream, error, "%.800s", name);
    return;
  default:
    send_errno(stream, error, "cannot start %.800s", name);
  }
}

static void output_ready(struct handler *h, uint32_t events) {
  struct output *o = container_of(h, struct output, handler);
  struct process *p = o->process;
  if (events & (EPOLLHUP | EPOLLERR)) o->hung_up = true;
  if (events & EPOLLIN || o->hung_up) o->readable = true;
  if (p->tty && events & EPOLLOUT && p->pending_end) process_write(p, NULL, 0);
  // No writer and nothing to read: no need to read the end.
  if (o->hung_up && !(events & EPOLLIN) && !p->tty) process_close_output(p, (int)(o - p->output));
  else if (o->readable) p->owner->output(p, (int)(o - p->output));
}

static void input_ready(struct handler *h, uint32_t events) {
  (void)events;
  process_write(container_of(h, struct process, input), NULL, 0);
}

static void time_is_up(struct timer *t) {
  struct process *p = container_of(t, struct process, timeout);
  p->timed_out = true;
  process_kill(p);
}

static void watch_outputs(struct process *p, const struct ends *e) {
  int fds[2] = {e->our_out, e->our_err};
  for (int i = 0; i < 2; i++) {
    struct output *o = &p->output[i];
    o->process = p;
    o->handler = (struct handler){.fd = fds[i], .ready = output_ready};
    if (fds[i] >= 0) loop_add(&o->handler, EPOLLIN | (p->tty ? EPOLLOUT : 0));
  }
  p->input = (struct handler){.fd = e->our_in, .ready = input_ready};
}

static struct process *make_process(char **argv) {
  size_t length = 0;
  for (char **arg = argv; *arg; arg++) length += strlen(*arg) + 1;
  if (length > ARGS_MAX) length = ARGS_MAX;
  struct process *p = process_count < PROCESSES_MAX ? calloc(1, sizeof *p + length) : NULL;
  if (!p) return NULL;
  for (char **arg = argv; *arg && p->args_length < length; arg++) {
    size_t left = length - p->args_length - 1, n = strlen(*arg);
    memcpy(p->args + p->args_length, *arg, n < left ? n : left);
    p->args_length += (uint32_t)(n < left ? n : left) + 1;
  }
  return p;
}

struct process *process_start(uint32_t stream, struct command *c, const struct process_owner *owner, void *data) {
  if (processes_frozen()) {
    send_error(stream, "busy", 0, "the processes are frozen");
    return NULL;
  }
  struct ends ends;
  struct process *p = make_process(c->argv);
  if (!p) {
    send_error(stream, "too_many_processes", 0, "at most %d processes run at once", PROCESSES_MAX);
    return NULL;
  }
  if (!ends_open(&ends, c)) {
    send_errno(stream, errno, "cannot open the process's %s", c->pty ? "terminal" : "pipes");
    ends_close(&ends, true);
    free(p);
    return NULL;
  }
  cgroup_take(&p->cgroup, &c->limits);
  struct child child = {.command = c, .in = ends.in, .out = ends.out, .err = ends.err, .tty = c->pty, .cgroup = p->cgroup.dir};
  p->start_wall_ns = wall_ns();
  p->start_ns = now_ns();
  p->pid = child_start(&child);
  if (p->pid < 0 || child.failed) {
    if (p->pid >= 0) start_failed(stream, c, &child);
    else if (errno == EAGAIN) send_error(stream, "too_many_processes", errno, "the limit of processes is reached");
    else send_errno(stream, errno, "cannot start a process");
    ends_close(&ends, true);
    cgroup_release(&p->cgroup);
    free(p);
    return NULL;
  }
  ends_close(&ends, false);
  p->owner = owner;
  p->data = data;
  p->tty = c->pty;
  watch_outputs(p, &ends);
  p->timeout.fire = time_is_up;
  if (c->timeout_ms) timer_set(&p->timeout, (int64_t)c->timeout_ms);
  p->next = processes;
  processes = p;
  process_count++;
  return p;
}

static void close_input(struct process *p) {
  if (p->input.fd >= 0 && !p->tty) loop_close(&p->input);
  p->input.fd = -1;
  free(p->pending);
  p->pending = NULL;
  p->pending_at = p->pending_end = p->pending_size = 0;
}

void process_free(struct process *p) {
  timer_clear(&p->timeout);
  timer_clear(&p->drain);
  close_input(p);
  for (int i = 0; i < 2; i++) loop_close(&p->output[i].handler);
  cgroup_release(&p->cgroup);
  struct process **link = &processes;
  while (*link != p) link = &(*link)->next;
  *link = p->next;
  process_count--;
  free(p);
}

static void discard_output(struct process *p, int index) { process_close_output(p, index); }
static const struct process_owner nobody = {.output = discard_output, .ended = process_free};

void process_orphan(struct process *p) {
  p->owner = &nobody;
  p->input_taken = NULL;
  close_input(p);
  for (int i = 0; i < 2; i++) loop_close(&p->output[i].handler);
  if (p->ended || p->reaped) process_free(p);
}

// Writes what it takes; -1 when nobody reads any more.
static int64_t push(struct process *p, const uint8_t *data, uint32_t length) {
  uint32_t done = 0;
  while (done < length) {
    ssize_t n = write(p->input.fd, data + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return -1;
    done += (uint32_t)n;
  }
  return done;
}

static void taken(struct process *p, uint32_t bytes) {
  if (bytes && p->input_taken) p->input_taken(p, bytes);
}

// Bounded by the stream's credit. False when memory is short.
static bool keep(struct process *p, const uint8_t *data, uint32_t length) {
  if (p->pending_at > 0 && p->pending_end + length > p->pending_size) {
    memmove(p->pending, p->pending + p->pending_at, p->pending_end - p->pending_at);
    p->pending_end -= p->pending_at;
    p->pending_at = 0;
  }
  uint32_t size = p->pending_size ? p->pending_size : INPUT_START;
  while (size < p->pending_end + length) size *= 2;
  if (size != p->pending_size) {
    uint8_t *grown = realloc(p->pending, size);
    if (!grown) return false;
    p->pending = grown;
    p->pending_size = size;
  }
  memcpy(p->pending + p->pending_end, data, length);
  p->pending_end += length;
  return true;
}

void process_write(struct process *p, const uint8_t *data, uint32_t length) {
  uint32_t waiting = p->pending_end - p->pending_at;
  int64_t done = p->input.fd < 0 ? -1 : waiting ? push(p, p->pending + p->pending_at, waiting) : 0;
  if (done < 0) goto closed;
  p->pending_at += (uint32_t)done;
  taken(p, (uint32_t)done);
  if (p->pending_at == p->pending_end) p->pending_at = p->pending_end = 0;
  if (length > 0) {
    int64_t direct = p->pending_end ? 0 : push(p, data, length);
    if (direct < 0) goto closed;
    if ((uint32_t)direct < length && !keep(p, data + direct, length - (uint32_t)direct)) goto closed;
    taken(p, (uint32_t)direct);
  }
  if (p->pending_end && !p->input_watched && !p->tty) p->input_watched = loop_add(&p->input, EPOLLOUT);
  if (!p->pending_end && p->input_ends) close_input(p);
  return;
closed:
  // A process that does not read its input is no error: the bytes are dropped.
  waiting = p->pending_end - p->pending_at;
  close_input(p);
  taken(p, waiting + length);
}

void process_close_input(struct process *p) {
  if (p->tty) {
    uint8_t end_of_file = 4; // what the key Ctrl-D sends
    if (p->input.fd >= 0) process_write(p, &end_of_file, 1);
    return;
  }
  p->input_ends = true;
  if (!p->pending_end) close_input(p);
}

static void check_end(struct process *p) {
  if (p->ended || !p->reaped || p->output[0].handler.fd >= 0 || p->output[1].handler.fd >= 0) return;
  p->ended = true;
  timer_clear(&p->drain);
  kill(-p->pid, SIGKILL);
  cgroup_usage(&p->cgroup, &p->usage);
  p->owner->ended(p);
}

void process_close_output(struct process *p, int index) {
  if (p->output[index].handler.fd < 0) return;
  if (p->tty) close_input(p);
  loop_close(&p->output[index].handler);
  if (p->owner->closed) p->owner->closed(p, index);
  check_end(p);
}

// Something else still holds the pipes. It loses them, but what was written is still delivered.
static void drain_over(struct timer *t) {
  struct process *p = container_of(t, struct process, drain);
  kill(-p->pid, SIGKILL);
  int open[2] = {p->output[0].handler.fd, p->output[1].handler.fd};
  for (int i = 0; i < 2; i++) {
    int there = 0;
    if (open[i] < 0) continue;
    ioctl(open[i], FIONREAD, &there);
    p->output[i].left = (uint64_t)there;
    p->output[i].last = p->output[i].readable = true;
  }
  // The second may end the process, and with it `p`.
  bool both = open[0] >= 0 && open[1] >= 0;
  p->owner->output(p, open[0] >= 0 ? 0 : 1);
  if (both) p->owner->output(p, 1);
}

static void reaped(struct process *p, int status, const struct rusage *r) {
  p->elapsed_ns = now_ns() - p->start_ns;
  p->status = status;
  p->reaped = true;
  p->usage.cpu_user_us = (uint64_t)r->ru_utime.tv_sec * 1000000 + (uint64_t)r->ru_utime.tv_usec;
  p->usage.cpu_system_us = (uint64_t)r->ru_stime.tv_sec * 1000000 + (uint64_t)r->ru_stime.tv_usec;
  p->usage.memory_peak = (uint64_t)r->ru_maxrss * 1024;
  timer_clear(&p->timeout);
  if (p->output[0].handler.fd >= 0 || p->output[1].handler.fd >= 0) {
    p->drain.fire = drain_over;
    timer_set(&p->drain, DRAIN_MS);
  }
  check_end(p);
}

void process_signal(struct process *p, int signal) {
  if (!p->ended) kill(-p->pid, signal);
}

void process_kill(struct process *p) {
  if (!cgroup_kill(&p->cgroup)) process_signal(p, SIGKILL);
}

void put_exit(struct writer *w, const struct process *p) {
  if (WIFSIGNALED(p->status)) put_u64(w, TAG_SIGNAL, (uint64_t)WTERMSIG(p->status));
  else put_u64(w, TAG_EXIT_CODE, (uint64_t)WEXITSTATUS(p->status));
}

void put_usage(struct writer *w, struct process *p) {
  if (!p->ended) cgroup_usage(&p->cgroup, &p->usage);
  put_u64(w, TAG_ELAPSED_NS, (uint64_t)(p->reaped ? p->elapsed_ns : now_ns() - p->start_ns));
  put_u64(w, TAG_CPU_USER_US, p->usage.cpu_user_us);
  put_u64(w, TAG_CPU_SYS_US, p->usage.cpu_system_us);
  put_u64(w, TAG_MEMORY_PEAK, p->usage.memory_peak);
  put_u64(w, TAG_OOM_KILLS, p->usage.oom_kills);
  put_u64(w, TAG_TIMED_OUT, p->timed_out);
  put_u64(w, TAG_THROTTLED_US, p->usage.throttled_us);
}

bool processes_frozen(void) { return hold_available() ? holding() : frozen; }

bool processes_freeze(bool freeze) {
  if (hold_available()) {
    if (!freeze) hold_release();
    else if (!hold_processors()) return false;
  } else if (cgroups_available()) {
    if (!cgroups_freeze(freeze)) {
      int error = errno;
      if (freeze) cgroups_freeze(false);
      errno = error;
      return false;
    }
  } else {
    for (struct process *p = processes; p; p = p->next) process_signal(p, freeze ? SIGSTOP : SIGCONT);
  }
  frozen = freeze;
  return true;
}

void processes_each(void (*call)(struct process *)) {
  for (struct process *p = processes, *next; p; p = next) {
    next = p->next;
    call(p);
  }
}

static void child_ended(struct handler *h, uint32_t events) {
  (void)events;
  // At most one of each signal is pending, so one read takes all there are.
  struct signalfd_siginfo info[4];
  ssize_t n = read(h->fd, info, sizeof info);
  for (ssize_t i = 0; i < n / (ssize_t)sizeof info[0]; i++)
    if (info[i].ssi_signo != SIGCHLD) loop_stop();
  struct rusage usage;
  int status;
  pid_t pid;
  while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
    struct process *p = processes;
    while (p && (p->pid != pid || p->reaped)) p = p->next;
    if (p) reaped(p, status, &usage);
    else cgroups_sweep(); // an orphan: the last of a cgroup that outlived its exec, perhaps
  }
}

void reaper_start(void) {
  static struct handler handler = {.ready = child_ended};
  sigset_t all, watched;
  sigfillset(&all);
  // Nothing is handled, all is blocked: a child only has to unblock. Faults still end the agent.
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  if (getpid() != 1) {
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
  }
  handler.fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  loop_add(&handler, EPOLLIN);
}
