// The guest agent. As PID 1 it brings the machine up and serves the virtio port; otherwise it is a test server.
#include "cgroup.h"
#include "decode.h"
#include "init.h"
#include "loop.h"
#include "process.h"
#include "restore.h"
#include "session.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int usage(void) {
  fputs("usage: holdfast-agent (--listen SOCKET | --fd N) [--cgroup DIR] [--allow-system]\n"
        "       holdfast-agent --decode < frames-in-hex\n"
        "Started as PID 1 it takes no arguments.\n",
        stderr);
  return 2;
}

// 0, 1 and 2 are never free: what the agent opens must not become the standard output of something.
static void hold_standard_descriptors(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  if (fd > 2) close(fd);
  // Nor does a process get what the agent's own parent left open.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
}

static void announce_features(void) {
  static const char *const names[] = {"exec", "pty", "background", "files", "tar", "watch", "forward", "freeze"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) session_feature(names[i]);
  if (cgroups_available()) session_feature("cgroup");
}

static void raise_file_limit(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static int serve_for_tests(const char *socket, int fd, const char *cgroup) {
  umask(022);
  raise_file_limit();
  loop_init();
  reaper_start();
  if (cgroup && !cgroups_start(cgroup, false))
    fprintf(stderr, "holdfast-agent: no cgroups in %s: %s\n", cgroup, strerror(errno));
  announce_features();
  if (fd >= 0) session_serve(fd, false);
  else if (!session_listen(socket)) {
    fprintf(stderr, "holdfast-agent: cannot listen on %s: %s\n", socket, strerror(errno));
    return 1;
  }
  loop_run();
  if (socket) unlink(socket);
  return 0;
}

int main(int argc, char **argv) {
  if (getpid() == 1) {
    init_machine();
    announce_features();
    session_feature("init");
    restore_allow();
    loop_run();
    init_power_off();
  }
  const char *socket = NULL, *cgroup = NULL;
  int fd = -1;
  for (int i = 1; i < argc; i++) {
    bool more = i + 1 < argc;
    if (!strcmp(argv[i], "--decode")) return decode_lines();
    if (!strcmp(argv[i], "--allow-system")) restore_allow();
    else if (!strcmp(argv[i], "--listen") && more) socket = argv[++i];
    else if (!strcmp(argv[i], "--fd") && more) fd = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--cgroup") && more) cgroup = argv[++i];
    else return usage();
  }
  if ((socket == NULL) == (fd < 0)) return usage();
  hold_standard_descriptors();
  return serve_for_tests(socket, fd, cgroup);
}
