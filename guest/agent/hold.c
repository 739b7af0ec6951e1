// Freezing by occupation. The freezer of cgroups walks every task through signal delivery and back, and a sleeping agent
// has to be woken again after a resume; under emulation both are thousands of instructions that have to be translated first.
// An agent of real-time priority that just stays on the processor keeps user processes from running as well, and is already
// there when the machine resumes. With several processors each has a thread of its own that keeps it, but for the one the agent is on.
#include "hold.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PRIORITY = 50, HELPERS_MAX = 64, STACK_SIZE = 16384 };
// In the guest's time, which stands still while the machine is stopped: far more than a host needs to stop it.
static const int64_t longest_ns = 5000000000;

static bool available, held;
static int helpers;
static int64_t since_ns;
static atomic_int wanted, arrived;
static char stacks[HELPERS_MAX][STACK_SIZE] __attribute__((aligned(16)));

static void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static bool precede(int priority) {
  struct sched_param param = {.sched_priority = priority};
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0;
}

static void *occupy(void *processor) {
  pin((int)(ptrdiff_t)processor);
  precede(PRIORITY);
  for (;;) {
    while (!atomic_load(&wanted)) syscall(SYS_futex, &wanted, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&wanted)) __builtin_ia32_pause();
    atomic_fetch_sub(&arrived, 1);
  }
  return NULL;
}

static void lift_realtime_limit(void) {
  int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "-1", 2) < 0) { // then a hold of more than 950 ms has gaps
  }
  close(fd);
}

void hold_prepare(void) {
  lift_realtime_limit();
  if (!precede(PRIORITY + 1)) return;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  for (int i = 0; processors > 1 && i < processors && i < HELPERS_MAX; i++) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stacks[i], STACK_SIZE);
    if (pthread_create(&thread, &attributes, occupy, (void *)(ptrdiff_t)i) == 0) helpers++;
    pthread_attr_destroy(&attributes);
  }
  available = true;
}

bool hold_available(void) { return available; }
bool holding(void) { return held; }

bool hold_processors(void) {
  if (held) return true;
  since_ns = now_ns();
  atomic_store(&wanted, 1);
  if (helpers > 0) syscall(SYS_futex, &wanted, FUTEX_WAKE_PRIVATE, HELPERS_MAX, NULL, NULL, 0);
  held = true;
  while (atomic_load(&arrived) < helpers - 1) {
    if (now_ns() - since_ns > longest_ns / 5) {
      hold_release();
      errno = ETIMEDOUT;
      return false;
    }
    __builtin_ia32_pause();
  }
  return true;
}

void hold_release(void) {
  atomic_store(&wanted, 0);
  held = false;
}

void hold_check(void) {
  if (held && now_ns() - since_ns > longest_ns) hold_release();
}
