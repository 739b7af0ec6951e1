#include "cgroup.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { USER_PIDS_MAX = 2048, PIDS_LIMIT = 4194304, FREEZE_TIMEOUT_MS = 2000, SPARE_MS = 20 };
static const uint64_t agent_memory = 48 << 20; // what user processes leave to the agent
// Between the limit that throttles and the one that kills. Without swap a process that goes on growing between them does nothing but
// have its own program evicted and read again: a tenth of the limit kept one there for many minutes.
static const uint64_t throttled_memory = 1 << 20;

static int user_dir = -1;
static struct cgroup spare = {.dir = -1};
static uint32_t last_number;
static struct leftover {
  struct leftover *next;
  struct cgroup cgroup;
} *leftovers;

static void make_spare(struct task *t);
static void sweep(struct task *t);
static void want_spare(struct timer *t);
static struct task spare_task = {.run = make_spare};
static struct timer spare_timer = {.fire = want_spare};
static struct task sweep_task = {.run = sweep};

static bool put_at(int dir, const char *file, const char *value) {
  int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool done = write(fd, value, strlen(value)) >= 0;
  int error = errno;
  close(fd);
  errno = error;
  return done;
}

static bool put_number(int dir, const char *file, uint64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
  return put_at(dir, file, digits);
}

static int make_dir(int parent, const char *name) {
  if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) return -1;
  return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

// One by one, as a kernel may lack some.
static void enable_controllers(int dir) {
  static const char *const names[] = {"+memory", "+pids", "+cpu", "+io"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) put_at(dir, "cgroup.subtree_control", names[i]);
}

static void limit_users(void) {
  struct sysinfo info;
  if (sysinfo(&info) < 0) return;
  uint64_t total = (uint64_t)info.totalram * info.mem_unit;
  uint64_t most = total > 2 * agent_memory ? total - agent_memory : total / 2;
  put_number(user_dir, "memory.max", most);
  put_number(user_dir, "memory.high", most - throttled_memory);
  put_number(user_dir, "pids.max", USER_PIDS_MAX);
}

bool cgroups_start(const char *root, bool machine) {
  int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return false;
  if (machine) {
    int agent = make_dir(dir, "agent");
    if (agent >= 0) {
      put_at(agent, "cgroup.procs", "0");
      close(agent);
    }
  }
  enable_controllers(dir);
  user_dir = make_dir(dir, "user");
  int error = errno;
  close(dir);
  errno = error;
  if (user_dir < 0) return false;
  enable_controllers(user_dir);
  if (machine) limit_users();
  task_idle(&spare_task);
  return true;
}

bool cgroups_available(void) { return user_dir >= 0; }

static void name_of(uint32_t number, char name[16]) { snprintf(name, 16, "exec-%u", number); }

static void create(struct cgroup *cg) {
  char name[16];
  *cg = (struct cgroup){.dir = -1, .cpu_stat = -1, .memory_peak = -1, .memory_events = -1, .number = ++last_number};
  name_of(cg->number, name);
  // One of an earlier run of the agent has its counters: take the next number.
  while (mkdirat(user_dir, name, 0755) < 0) {
    if (errno != EEXIST) return;
    name_of(cg->number = ++last_number, name);
  }
  cg->dir = openat(user_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cg->cpu_stat = openat(cg->dir, "cpu.stat", O_RDONLY | O_CLOEXEC);
  cg->memory_peak = openat(cg->dir, "memory.peak", O_RDONLY | O_CLOEXEC);
  cg->memory_events = openat(cg->dir, "memory.events", O_RDONLY | O_CLOEXEC);
}

static void make_spare(struct task *t) {
  (void)t;
  if (spare.dir < 0) create(&spare);
}

static void want_spare(struct timer *t) {
  (void)t;
  task_idle(&spare_task);
}

static void apply(int dir, const struct limits *l) {
  if (l->memory_max) {
    put_number(dir, "memory.max", l->memory_max);
    put_at(dir, "memory.swap.max", "0");
  }
  uint64_t high = l->memory_high;
  if (!high && l->memory_max > throttled_memory) high = l->memory_max - throttled_memory;
  if (high) put_number(dir, "memory.high", high);
  if (l->pids_max) put_number(dir, "pids.max", l->pids_max < PIDS_LIMIT ? l->pids_max : PIDS_LIMIT);
  if (l->cpu_percent) {
    char quota[32];
    snprintf(quota, sizeof quota, "%llu 100000", (unsigned long long)l->cpu_percent * 1000);
    put_at(dir, "cpu.max", quota);
  }
}

void cgroup_take(struct cgroup *cg, const struct limits *limits) {
  *cg = (struct cgroup){.dir = -1, .cpu_stat = -1, .memory_peak = -1, .memory_events = -1};
  if (user_dir < 0) return;
  make_spare(NULL);
  *cg = spare;
  spare.dir = -1;
  // Not at once: the process that is about to start would have to wait for it.
  timer_set(&spare_timer, SPARE_MS);
  if (cg->dir >= 0) apply(cg->dir, limits);
}

// The number behind `key` in a flat-keyed file, or 0.
static uint64_t key_value(const char *contents, const char *key) {
  size_t length = strlen(key);
  for (const char *line = contents; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
    if (!strncmp(line, key, length) && line[length] == ' ') return strtoull(line + length + 1, NULL, 10);
  return 0;
}

static bool read_again(int fd, char *buffer, size_t size) {
  ssize_t n = fd < 0 ? -1 : pread(fd, buffer, size - 1, 0);
  if (n < 0) return false;
  buffer[n] = 0;
  return true;
}

void cgroup_usage(const struct cgroup *cg, struct usage *usage) {
  char contents[1024];
  if (read_again(cg->cpu_stat, contents, sizeof contents)) {
    usage->cpu_user_us = key_value(contents, "user_usec");
    usage->cpu_system_us = key_value(contents, "system_usec");
    usage->throttled_us = key_value(contents, "throttled_usec");
  }
  if (read_again(cg->memory_peak, contents, sizeof contents)) usage->memory_peak = strtoull(contents, NULL, 10);
  if (read_again(cg->memory_events, contents, sizeof contents)) usage->oom_kills = key_value(contents, "oom_kill");
}

bool cgroup_kill(const struct cgroup *cg) { return cg->dir >= 0 && put_at(cg->dir, "cgroup.kill", "1"); }

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void cgroup_release(struct cgroup *cg) {
  if (cg->dir < 0) return;
  struct leftover *l = malloc(sizeof *l);
  if (!l) return;
  // Even closing waits until the answer is out.
  *l = (struct leftover){.next = leftovers, .cgroup = *cg};
  *cg = (struct cgroup){.dir = -1, .cpu_stat = -1, .memory_peak = -1, .memory_events = -1};
  leftovers = l;
  task_idle(&sweep_task);
  if (spare.dir < 0) task_idle(&spare_task);
}

static void sweep(struct task *t) {
  (void)t;
  for (struct leftover **link = &leftovers; *link;) {
    struct leftover *l = *link;
    char name[16];
    close_fd(&l->cgroup.dir);
    close_fd(&l->cgroup.cpu_stat);
    close_fd(&l->cgroup.memory_peak);
    close_fd(&l->cgroup.memory_events);
    name_of(l->cgroup.number, name);
    if (unlinkat(user_dir, name, AT_REMOVEDIR) < 0 && errno == EBUSY) {
      link = &l->next;
      continue;
    }
    *link = l->next;
    free(l);
  }
}

void cgroups_sweep(void) {
  if (leftovers) task_idle(&sweep_task);
}

bool cgroups_freeze(bool frozen) {
  if (!put_at(user_dir, "cgroup.freeze", frozen ? "1" : "0")) return false;
  if (!frozen) return true;
  int events = openat(user_dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
  if (events < 0) return false;
  int64_t end = now_ns() + FREEZE_TIMEOUT_MS * 1000000LL;
  char contents[256];
  bool done;
  while (!(done = read_again(events, contents, sizeof contents) && key_value(contents, "frozen"))) {
    int64_t left = (end - now_ns()) / 1000000;
    struct pollfd p = {.fd = events, .events = POLLPRI};
    if (left <= 0) break;
    poll(&p, 1, (int)left);
  }
  close(events);
  if (!done) errno = ETIMEDOUT;
  return done;
}
