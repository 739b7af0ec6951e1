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
#include <stdint.h>
#include <string.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PRIORITY = 50, HELPERS_MAX = 64, STACK_SIZE = 16384 };
// In the guest's time, which stands still while the machine is stopped: far more than a host needs to stop it.
static const int64_t longest_ns = 5000000000;

// The interrupt controller of the processor that looks: Intel SDM volume 3, table "Local APIC Register Address Map".
enum { APIC_BASE = 0xFEE00000, APIC_SIZE = 4096, APIC_VERSION = 0x30 / 4, APIC_PRIORITY = 0x80 / 4, DEAF = 0xFF };
static volatile uint32_t *apic;
static uint32_t accepting;

static bool available;
static atomic_bool held, deaf;
static int helpers;
static int64_t since_ns;
static atomic_int wanted, arrived;
static pthread_mutex_t deferring = PTHREAD_MUTEX_INITIALIZER;
static void (*_Atomic deferred)(void);
static char stacks[HELPERS_MAX][STACK_SIZE] __attribute__((aligned(16)));

// Interrupts that a processor does not accept wait, they are not lost. The first tick and the first signals of devices are a quarter
// of what has to be translated after a resume, and the agent needs none of them: it looks at its port itself.
static void ignore_interrupts(void) {
  if (apic) apic[APIC_PRIORITY] = DEAF;
}

static void accept_interrupts(void) {
  if (apic) apic[APIC_PRIORITY] = accepting;
}

static void find_controller(void) {
  int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
  if (fd < 0) return;
  void *at = mmap(NULL, APIC_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, APIC_BASE);
  close(fd);
  if (at == MAP_FAILED) return;
  apic = at;
  uint32_t version = apic[APIC_VERSION] & 0xFF;
  accepting = apic[APIC_PRIORITY];
  // In x2APIC mode nothing answers here.
  if (version >= 0x10 && version <= 0x15 && accepting < DEAF) return;
  munmap(at, APIC_SIZE);
  apic = NULL;
}

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

// With the lock held until the processors are let go, so that the agent, which does the same, finds all of it done or nothing.
static void run_deferred(bool release) {
  pthread_mutex_lock(&deferring);
  void (*work)(void) = atomic_exchange(&deferred, NULL);
  if (work) work();
  if (release) hold_release();
  pthread_mutex_unlock(&deferring);
}

static bool too_long(void) { return now_ns() - since_ns > longest_ns; }

static void *occupy(void *processor) {
  pin((int)(ptrdiff_t)processor);
  precede(PRIORITY);
  for (;;) {
    while (!atomic_load(&wanted)) syscall(SYS_futex, &wanted, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    // When each processor runs one of these threads the agent is on none: it sleeps until a disk answers, by an interrupt.
    bool last = atomic_fetch_add(&arrived, 1) == helpers - 1, hears = false;
    if (!last) ignore_interrupts();
    while (atomic_load(&wanted)) {
      if (last && atomic_exchange(&deaf, false)) hears = false;
      if (!hears && !atomic_load(&deaf)) accept_interrupts();
      hears = !atomic_load(&deaf);
      if (last && (atomic_load(&deferred) || too_long())) run_deferred(true);
      __builtin_ia32_pause();
    }
    accept_interrupts();
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
  for (int i = 0; i < processors && i < HELPERS_MAX; i++) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stacks[i], STACK_SIZE);
    if (pthread_create(&thread, &attributes, occupy, (void *)(ptrdiff_t)i) == 0) helpers++;
    pthread_attr_destroy(&attributes);
  }
  // A program whose pages had to be read from the disk could not run while nothing hears the disk. And where a processor has no
  // thread that stands in for a sleeping agent, interrupts stay on.
  if (helpers == processors && mlockall(MCL_CURRENT) == 0) find_controller();
  available = true;
}

bool hold_available(void) { return available; }
bool holding(void) { return atomic_load(&held); }

bool hold_processors(void) {
  if (holding()) return true;
  since_ns = now_ns();
  atomic_store(&deaf, true);
  atomic_store(&wanted, 1);
  if (helpers > 0) syscall(SYS_futex, &wanted, FUTEX_WAKE_PRIVATE, HELPERS_MAX, NULL, NULL, 0);
  atomic_store(&held, true);
  while (atomic_load(&arrived) < helpers - 1) {
    if (now_ns() - since_ns > longest_ns / 5) {
      hold_release();
      errno = ETIMEDOUT;
      return false;
    }
    __builtin_ia32_pause();
  }
  ignore_interrupts();
  return true;
}

void hold_release(void) {
  atomic_store(&wanted, 0);
  atomic_store(&deaf, false);
  atomic_store(&held, false);
  accept_interrupts();
}

void hold_defer(void (*work)(void)) { atomic_store(&deferred, work); }

void hold_finish(void) { run_deferred(false); }

void hold_check(void) {
  if (holding() && too_long()) run_deferred(true);
}
