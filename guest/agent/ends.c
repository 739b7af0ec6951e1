#include "ends.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int null_fd = -1; // opened once, for all processes without input

void ends_close(struct ends *e, bool ours) {
  if (e->in >= 0 && e->in != null_fd) close(e->in);
  if (e->out >= 0 && e->out != e->in) close(e->out);
  if (e->err >= 0 && e->err != e->out) close(e->err);
  if (!ours) return;
  if (e->our_in >= 0 && e->our_in != e->our_out) close(e->our_in);
  if (e->our_out >= 0) close(e->our_out);
  if (e->our_err >= 0) close(e->our_err);
}

// Only the agent's end does not block.
static bool open_pipe(int *reader, int *writer, int *ours) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  *reader = ends[0];
  *writer = ends[1];
  return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

static bool open_terminal(struct ends *e, const struct command *c) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), unlocked = 0;
  if (master < 0) return false;
  e->our_in = e->our_out = master;
  struct winsize size = {.ws_row = c->rows, .ws_col = c->columns};
  if (ioctl(master, TIOCSPTLCK, &unlocked) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0) return false;
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return false;
  e->in = e->out = e->err = slave;
  return !c->switch_user || fchown(slave, c->account.uid, (gid_t)-1) == 0;
}

bool ends_open(struct ends *e, const struct command *c) {
  *e = (struct ends){-1, -1, -1, -1, -1, -1};
  if (c->pty) return open_terminal(e, c);
  if (null_fd < 0) null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  e->in = null_fd;
  if (c->has_stdin && !open_pipe(&e->in, &e->our_in, &e->our_in)) return false;
  return open_pipe(&e->our_out, &e->out, &e->our_out) && open_pipe(&e->our_err, &e->err, &e->our_err);
}
