#include "init.h"
#include "cgroup.h"
#include "hold.h"
#include "loop.h"
#include "process.h"
#include "restore.h"
#include "session.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 20000, WAIT_STEP_MS = 2, FILES_MAX = 16384, KILL_WAIT_MS = 1000 };

static int disk = -1; // the writable file system, hidden below the overlay

// One line on the kernel log, which the console shows, and straight on the console when there is no log yet.
static void say(const char *format, ...) {
  char line[512] = "holdfast-agent: ";
  va_list list;
  va_start(list, format);
  vsnprintf(line + 16, sizeof line - 17, format, list);
  va_end(list);
  strcat(line, "\n");
  int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  if (fd < 0) fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, line, strlen(line)) < 0) { // nowhere left to say so
  }
  close(fd);
}

static void pause_ms(long ms) {
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

void init_power_off(void) {
  kill(-1, SIGKILL);
  // Nothing may write any more when the file systems become read-only.
  for (int waited = 0; waited < KILL_WAIT_MS && waitpid(-1, NULL, WNOHANG) >= 0; waited += WAIT_STEP_MS)
    pause_ms(WAIT_STEP_MS);
  sync();
  mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
  if (disk >= 0) {
    char hidden[32];
    snprintf(hidden, sizeof hidden, "/proc/self/fd/%d", disk);
    syncfs(disk);
    mount(NULL, hidden, NULL, MS_REMOUNT | MS_RDONLY, NULL);
  }
  reboot(LINUX_REBOOT_CMD_POWER_OFF);
  reboot(LINUX_REBOOT_CMD_RESTART); // a machine without power control ends on this one (-no-reboot)
  for (;;) pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) fatal(const char *format, ...) {
  int error = errno;
  char what[400];
  va_list list;
  va_start(list, format);
  vsnprintf(what, sizeof what, format, list);
  va_end(list);
  say("cannot start: %s: %s", what, strerror(error));
  init_power_off();
}

static void must_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  if (mkdir(target, 0755) < 0 && errno != EEXIST) fatal("mkdir %s", target);
  if (mount(source, target, type, flags, data) < 0) fatal("mount %s of type %s", target, type);
}

static void load_modules(void) {
  FILE *order = fopen("/modules/order", "re");
  if (!order) {
    if (errno == ENOENT) return; // a kernel that has everything built in
    fatal("read /modules/order");
  }
  char name[512];
  while (fgets(name, sizeof name, order)) {
    name[strcspn(name, "\n")] = 0;
    if (!name[0]) continue;
    char path[600];
    snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : "/modules/", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fatal("open module %s", path);
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST) fatal("load module %s", path);
    close(fd);
    unlink(path); // the initramfs is memory
  }
  fclose(order);
}

// Devices appear some time after their driver.
static void wait_for(const char *path) {
  for (int waited = 0; access(path, F_OK) < 0; waited += WAIT_STEP_MS) {
    if (waited >= WAIT_MS) fatal("wait for %s", path);
    pause_ms(WAIT_STEP_MS);
  }
}

static void make_root(void) {
  wait_for("/dev/vda");
  wait_for("/dev/vdb");
  must_mount("/dev/vda", "/lower", "erofs", MS_RDONLY | MS_NOATIME, NULL);
  must_mount("/dev/vdb", "/rw", "ext4", MS_NOATIME, "discard,data=ordered,noinit_itable,commit=30");
  if (mkdir("/rw/upper", 0755) < 0 && errno != EEXIST) fatal("mkdir /rw/upper");
  if (mkdir("/rw/work", 0755) < 0 && errno != EEXIST) fatal("mkdir /rw/work");
  // redirect_dir: directories of the lower layer can be renamed.
  must_mount("overlay", "/newroot", "overlay", MS_NOATIME,
             "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,redirect_dir=on");
  disk = open("/rw", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk < 0) fatal("open /rw");
}

static void relocate_mount(const char *from, const char *to) {
  mkdir(to, 0755);
  if (mount(from, to, NULL, MS_MOVE, NULL) < 0) fatal("move %s to %s", from, to);
}

// The lower and the writable file system stay mounted in the root that is left behind, out of reach by path.
static void enter_root(void) {
  relocate_mount("/proc", "/newroot/proc");
  relocate_mount("/sys", "/newroot/sys");
  relocate_mount("/dev", "/newroot/dev");
  if (chdir("/newroot") < 0) fatal("enter the new root");
  unlink("/init");
  if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) fatal("switch to the new root");
}

// The machine id changes with each fork, which on the disk would cost a journal commit: it lives in memory.
static void own_machine_id(void) {
  int fd = open("/run/machine-id", O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0) fatal("make /run/machine-id");
  close(fd);
  if (mount("/run/machine-id", "/etc/machine-id", NULL, MS_BIND, NULL) < 0) fatal("mount /etc/machine-id");
}

static void mount_rest(void) {
  must_mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=20%");
  must_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  must_mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  must_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  if (!cgroups_start("/sys/fs/cgroup", true)) fatal("make the cgroups");
  mkdir("/run/lock", 01777);
  own_machine_id();
  static const char *const links[][2] = {
      {"/proc/self/fd", "/dev/fd"},
      {"/proc/self/fd/0", "/dev/stdin"},
      {"/proc/self/fd/1", "/dev/stdout"},
      {"/proc/self/fd/2", "/dev/stderr"},
  };
  for (unsigned i = 0; i < sizeof links / sizeof links[0]; i++)
    if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST) fatal("link %s", links[i][1]);
}

static void bring_up_loopback(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo"};
  if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) fatal("find the loopback interface");
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) fatal("bring the loopback interface up");
  close(fd);
}

static void set_hostname(void) {
  char name[65] = "holdfast";
  FILE *file = fopen("/etc/hostname", "re");
  if (file && fgets(name, sizeof name, file)) name[strcspn(name, " \t\r\n")] = 0;
  if (file) fclose(file);
  if (sethostname(name, strlen(name)) < 0) say("cannot set the hostname: %s", strerror(errno));
}

// The device whose port has our name, as a path below /dev. False when it is not there (yet).
static bool find_port(char device[64]) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  if (!ports) return false;
  bool found = false;
  for (struct dirent *e; !found && (e = readdir(ports));) {
    char path[320], name[64] = "";
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", e->d_name);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file)) found = !strcmp(name, "holdfast.agent.0\n");
    if (file) fclose(file);
    if (found) snprintf(device, 64, "/dev/%.48s", e->d_name);
  }
  closedir(ports);
  return found;
}

static void open_port(void) {
  char device[64];
  int fd = -1;
  for (int waited = 0; fd < 0; waited += WAIT_STEP_MS) {
    // The name comes with a message of the host after the port itself.
    if (find_port(device)) fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && waited >= WAIT_MS) fatal("open the port holdfast.agent.0");
    if (fd < 0) pause_ms(WAIT_STEP_MS);
  }
  session_serve(fd, true);
}

static void hold_standard_descriptors(void) {
  int fd = open("/dev/null", O_RDWR);
  if (fd < 0) fatal("open /dev/null");
  for (int i = 0; i < 3; i++)
    if (fd != i && dup2(fd, i) < 0) fatal("open /dev/null");
  if (fd > 2) close(fd);
}

void init_machine(void) {
  umask(022);
  must_mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  must_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  must_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  hold_standard_descriptors();
  struct rlimit files = {.rlim_cur = FILES_MAX, .rlim_max = FILES_MAX};
  setrlimit(RLIMIT_NOFILE, &files);
  load_modules();
  make_root();
  enter_root();
  loop_init();
  mount_rest();
  bring_up_loopback();
  set_hostname();
  restore_disk(disk);
  reaper_start();
  hold_prepare();
  if (!hold_available()) say("no precedence over other processes: %s", strerror(errno));
  open_port();
  say("ready");
}
