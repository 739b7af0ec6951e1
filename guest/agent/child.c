#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 65536 };
static uint8_t stack[STACK] __attribute__((aligned(16)));

static int fail(struct child *c, int stage) {
  c->error = errno;
  c->failed = stage;
  _exit(127);
}

// The search of execvp, but that a file which is no program is an error, not a script for /bin/sh.
static void execute(const struct command *c) {
  const char *name = c->argv[0];
  if (strchr(name, '/')) {
    execve(name, c->argv, c->envp);
    return;
  }
  char path[4096 + 256];
  int error = ENOENT;
  for (const char *at = c->path; at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
    int n = (int)strcspn(at, ":");
    if (snprintf(path, sizeof path, "%.*s/%s", n, n ? at : ".", name) >= (int)sizeof path) continue;
    // Much cheaper than a failing execve, which first makes an address space.
    if (access(path, F_OK) < 0) continue;
    execve(path, c->argv, c->envp);
    if (errno != EACCES && errno != ENOENT && errno != ENOTDIR) return;
    if (errno == EACCES) error = EACCES;
  }
  errno = error;
}

// Plain system calls: the C library's set*id wrappers may not be used in a process that shares memory.
static bool become(const struct account *a) {
  return syscall(SYS_setgroups, a->group_count, a->groups) == 0 && syscall(SYS_setresgid, a->gid, a->gid, a->gid) == 0 &&
         syscall(SYS_setresuid, a->uid, a->uid, a->uid) == 0;
}

static bool join_cgroup(int dir) {
  int fd = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool joined = write(fd, "0", 1) == 1;
  close(fd);
  return joined;
}

static int run(void *arg) {
  struct child *c = arg;
  const struct command *command = c->command;
  if (c->cgroup >= 0 && !join_cgroup(c->cgroup)) return fail(c, CHILD_SETUP);
  if (setsid() < 0) return fail(c, CHILD_SETUP);
  if (c->tty && ioctl(c->in, TIOCSCTTY, 0) < 0) return fail(c, CHILD_SETUP);
  // The agent's own 0, 1 and 2 are always open, so none of these is one of them.
  if (dup2(c->in, 0) < 0 || dup2(c->out, 1) < 0 || dup2(c->err, 2) < 0) return fail(c, CHILD_SETUP);
  if (command->switch_user && !become(&command->account)) return fail(c, CHILD_USER);
  if (chdir(command->cwd) < 0 && (command->cwd_given || chdir("/") < 0)) return fail(c, CHILD_CWD);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(command);
  return fail(c, CHILD_EXEC);
}

#if defined(__x86_64__)
// Like vfork with clone3: the child runs on a stack of its own, the parent waits until it executed or ended.
static long clone_and_wait(struct clone_args *args, void *child) {
  long result = SYS_clone3;
  register int (*start)(void *) __asm__("r12") = run;
  register void *argument __asm__("r13") = child;
  __asm__ volatile("syscall\n\t"
                   "test %%rax, %%rax\n\t"
                   "jnz 1f\n\t"
                   "xor %%ebp, %%ebp\n\t"
                   "mov %%r13, %%rdi\n\t"
                   "call *%%r12\n\t"
                   "hlt\n"
                   "1:"
                   : "+a"(result)
                   : "D"(args), "S"(sizeof *args), "r"(start), "r"(argument)
                   : "rcx", "r11", "memory", "cc");
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}

static pid_t start_in_cgroup(struct child *c) {
  struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                            .exit_signal = SIGCHLD,
                            .stack = (uintptr_t)stack,
                            .stack_size = STACK,
                            .cgroup = (uint64_t)c->cgroup};
  int cgroup = c->cgroup;
  c->cgroup = -1; // the kernel puts it there
  pid_t pid = (pid_t)clone_and_wait(&args, c);
  c->cgroup = cgroup;
  return pid;
}
#else
static pid_t start_in_cgroup(struct child *c) {
  (void)c;
  errno = ENOSYS;
  return -1;
}
#endif

pid_t child_start(struct child *c) {
  c->failed = CHILD_OK;
  pid_t pid = -1;
  if (c->cgroup >= 0) pid = start_in_cgroup(c);
  // EAGAIN is a limit on processes; anything else may be a kernel that can't start it in the cgroup.
  if (pid < 0 && (c->cgroup < 0 || errno != EAGAIN))
    pid = clone(run, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, c);
  if (pid > 0 && c->failed) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
  }
  return pid;
}
