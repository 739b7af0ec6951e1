// CLOCK, RESEED, IDENTITY, FREEZE, THAW, RESTORE, STATS, SYNC and POWEROFF.
#include "restore.h"
#include "background.h"
#include "hold.h"
#include "init.h"
#include "loop.h"
#include "ops.h"
#include "process.h"
#include "session.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum { ENTROPY_MIN = 32, ENTROPY_MAX = 512, HOSTNAME_MAX = 64, MACHINE_ID_SIZE = 32 };
// How long a restore waits for a first request behind it, in the guest's time.
static const int64_t grace_ns = 1500000;

static bool allowed;
static int random_fd = -1; // open from the start: a restore is to take no time
static int disk_fd = -1;

void restore_allow(void) {
  allowed = true;
  random_fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
}

void restore_disk(int fd) { disk_fd = fd; }

static int disk(void) {
  if (disk_fd < 0) disk_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return disk_fd;
}

// The clock and the random generator as a request wants them, kept so that they can be set after the request is gone.
struct renewal {
  struct timespec time;
  size_t entropy_size; // 0: none
  uint8_t entropy[ENTROPY_MAX];
  bool sets_clock;
  const char *failed; // what could not be done, with `error`
  int error;
};

static bool read_time(uint32_t stream, const struct fields *f, struct renewal *r) {
  uint64_t ns = number(f, TAG_TIME_NS, 0);
  r->sets_clock = true;
  r->time = (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
  if (ns > 0 && ns <= INT64_MAX) return true;
  send_error(stream, "bad_request", 0, "TIME_NS is missing or out of range");
  return false;
}

static bool read_entropy(uint32_t stream, const struct fields *f, struct renewal *r) {
  struct value v = has(f, TAG_ENTROPY) ? f->first[TAG_ENTROPY] : (struct value){0};
  if (v.length < ENTROPY_MIN || v.length > ENTROPY_MAX) {
    send_error(stream, "bad_request", 0, "ENTROPY has %d to %d bytes", ENTROPY_MIN, ENTROPY_MAX);
    return false;
  }
  memcpy(r->entropy, v.at, r->entropy_size = v.length);
  return true;
}

static bool reseed(const struct renewal *r) {
  struct {
    struct rand_pool_info info;
    uint8_t bytes[ENTROPY_MAX];
  } pool;
  pool.info.entropy_count = (int)r->entropy_size * 8;
  pool.info.buf_size = (int)r->entropy_size;
  memcpy(pool.info.buf, r->entropy, r->entropy_size);
  // Adding alone leaves the generator on its old key for up to a minute: two forks would draw the same numbers.
  bool done = ioctl(random_fd, RNDADDENTROPY, &pool) == 0 && ioctl(random_fd, RNDRESEEDCRNG) == 0;
  explicit_bzero(&pool, sizeof pool);
  return done;
}

// Talks to nobody: it may run on another thread than the agent's.
static void renew(struct renewal *r) {
  if (r->sets_clock && clock_settime(CLOCK_REALTIME, &r->time) < 0) r->failed = "cannot set the clock";
  else if (r->entropy_size > 0 && !reseed(r)) r->failed = "cannot reseed the random generator";
  r->error = errno;
  explicit_bzero(r->entropy, sizeof r->entropy);
}

static bool answer_renewal(uint32_t stream, const struct renewal *r) {
  if (r->failed) send_errno(stream, r->error, "%s", r->failed);
  return !r->failed;
}

static bool hostname_valid(const char *name) {
  size_t n = strlen(name);
  if (n < 1 || n > HOSTNAME_MAX || name[0] == '-' || name[0] == '.') return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == n;
}

static bool machine_id_valid(const char *id) {
  return strlen(id) == MACHINE_ID_SIZE && strspn(id, "0123456789abcdef") == MACHINE_ID_SIZE;
}

// In place, as the length is always the same: no new inode, no rename.
static bool write_machine_id(const char *id) {
  char line[MACHINE_ID_SIZE + 2];
  snprintf(line, sizeof line, "%s\n", id);
  int fd = open("/etc/machine-id", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
  if (fd < 0) return false;
  bool done = pwrite(fd, line, sizeof line - 1, 0) == sizeof line - 1 && ftruncate(fd, sizeof line - 1) == 0;
  int error = errno;
  close(fd);
  errno = error;
  return done;
}

static bool identify(uint32_t stream, const struct fields *f) {
  const char *hostname = text(f, TAG_HOSTNAME), *id = text(f, TAG_MACHINE_ID);
  if ((hostname && !hostname_valid(hostname)) || (id && !machine_id_valid(id))) {
    send_error(stream, "bad_request", 0, "not a HOSTNAME, or MACHINE_ID is not 32 lower-case hex digits");
    return false;
  }
  if ((!hostname || sethostname(hostname, strlen(hostname)) == 0) && (!id || write_machine_id(id))) return true;
  send_errno(stream, errno, "cannot set the identity");
  return false;
}

static bool refuse(uint32_t stream) {
  if (!allowed) send_error(stream, "permission_denied", 0, "this agent may not change the system");
  return !allowed;
}

void op_clock(uint32_t stream, const struct fields *f) {
  struct renewal r = {0};
  if (refuse(stream) || !read_time(stream, f, &r)) return;
  renew(&r);
  if (answer_renewal(stream, &r)) send_result(stream);
}

void op_reseed(uint32_t stream, const struct fields *f) {
  struct renewal r = {0};
  if (refuse(stream) || !read_entropy(stream, f, &r)) return;
  renew(&r);
  if (answer_renewal(stream, &r)) send_result(stream);
}

void op_identity(uint32_t stream, const struct fields *f) {
  if (refuse(stream)) return;
  if (!has(f, TAG_HOSTNAME) && !has(f, TAG_MACHINE_ID))
    return send_error(stream, "bad_request", 0, "HOSTNAME and MACHINE_ID are missing");
  if (identify(stream, f)) send_result(stream);
}

static bool thaw(uint32_t stream) {
  if (!processes_frozen() || processes_freeze(false)) return true;
  send_errno(stream, errno, "cannot thaw");
  return false;
}

void op_thaw(uint32_t stream, const struct fields *f) {
  (void)f;
  if (thaw(stream)) send_result(stream);
}

// A restore that waits while the agent answers what it can answer from memory before anything else runs.
static struct {
  bool waits;
  uint32_t stream; // 0 when nobody waits for its result any more
  int64_t since_ns;
  struct renewal renewal;
} later;

static void renew_later(void) { renew(&later.renewal); }

bool restore_waits(void) { return later.waits; }
bool restore_due(void) { return now_ns() - later.since_ns > grace_ns; }
void restore_unheard(void) { later.stream = 0; }

void restore_finish(void) {
  if (!later.waits) return;
  later.waits = false;
  hold_finish();
  uint32_t stream = later.stream;
  if (stream == 0) processes_freeze(false);
  else if (answer_renewal(stream, &later.renewal) && thaw(stream)) send_result(stream);
}

void op_restore(uint32_t stream, const struct fields *f) {
  bool renews = has(f, TAG_TIME_NS) || has(f, TAG_ENTROPY), identifies = has(f, TAG_HOSTNAME) || has(f, TAG_MACHINE_ID);
  if ((renews || identifies) && refuse(stream)) return;
  struct renewal r = {0};
  if (has(f, TAG_TIME_NS) && !read_time(stream, f, &r)) return;
  if (has(f, TAG_ENTROPY) && !read_entropy(stream, f, &r)) return;
  if (holding() && !identifies) {
    later.waits = true;
    later.stream = stream;
    later.since_ns = now_ns();
    later.renewal = r;
    return hold_defer(renew_later);
  }
  renew(&r);
  if (answer_renewal(stream, &r) && identify(stream, f) && thaw(stream)) send_result(stream);
}

static void detach(struct process *p) {
  if (background_has_room() && exec_detach(p)) background_adopt(p);
}

void op_freeze(uint32_t stream, const struct fields *f) {
  uint64_t mode = number(f, TAG_DETACH, 0);
  if (mode == 1) processes_each(detach);
  else if (mode == 0 && streams_foreground() > 0)
    return send_error(stream, "busy", 0, "%u streams are open", streams_foreground());
  // Before the processors are occupied: the threads of the kernel that write the disk need them too.
  if (number(f, TAG_SYNC, 0) && syncfs(disk()) < 0) return send_errno(stream, errno, "cannot write the disk");
  if (!processes_frozen() && !processes_freeze(true)) {
    if (errno == ETIMEDOUT) return send_error(stream, "busy", ETIMEDOUT, "a process could not be frozen in time");
    return send_errno(stream, errno, "cannot freeze");
  }
  send_result(stream);
}

static uint64_t memory_available(void) {
  char contents[512];
  int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, contents, sizeof contents - 1);
  if (fd >= 0) close(fd);
  contents[n < 0 ? 0 : n] = 0;
  const char *at = strstr(contents, "MemAvailable:");
  return at ? strtoull(at + 13, NULL, 10) * 1024 : 0;
}

void op_stats(uint32_t stream, const struct fields *f) {
  (void)f;
  struct sysinfo info = {0};
  struct statvfs fs = {0};
  sysinfo(&info);
  fstatvfs(disk(), &fs);
  struct writer w = frame_begin();
  put_u64(&w, TAG_MEM_TOTAL, (uint64_t)info.totalram * info.mem_unit);
  put_u64(&w, TAG_MEM_AVAILABLE, memory_available());
  put_u64(&w, TAG_PROCS, info.procs);
  put_u64(&w, TAG_DISK_TOTAL, (uint64_t)fs.f_blocks * fs.f_frsize);
  put_u64(&w, TAG_DISK_FREE, (uint64_t)fs.f_bavail * fs.f_frsize);
  put_u64(&w, TAG_FOREGROUND, streams_foreground());
  put_u64(&w, TAG_BACKGROUND, background_count());
  frame_end(&w, FRAME_RESULT, stream);
}

void op_sync(uint32_t stream, const struct fields *f) {
  (void)f;
  if (syncfs(disk()) < 0) send_errno(stream, errno, "cannot write the disk");
  else send_result(stream);
}

void op_poweroff(uint32_t stream, const struct fields *f) {
  (void)f;
  if (refuse(stream)) return;
  send_result(stream);
  session_drain();
  if (getpid() == 1) init_power_off();
  loop_stop();
}
