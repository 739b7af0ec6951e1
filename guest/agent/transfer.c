// READ and WRITE: the contents of one file.
#include "errors.h"
#include "files.h"
#include "loop.h"
#include "ops.h"
#include "path.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct reading {
  struct stream stream;
  struct task end;
  int fd;
  uint64_t left, sent;
};

enum { OPEN_LONGER_MAX = 64 };
static int open_longer; // files whose content is sent, but which are not closed yet

static void reading_free(struct reading *r) {
  close(r->fd);
  free(r);
}

static void reading_close_idle(struct task *t) {
  open_longer--;
  reading_free(container_of(t, struct reading, end));
}

static void reading_end(struct reading *r) {
  uint32_t id = r->stream.id;
  send_empty(FRAME_EOF, 0, id);
  struct writer w = frame_begin();
  put_u64(&w, TAG_SIZE, r->sent);
  frame_end(&w, FRAME_RESULT, id);
  stream_close(&r->stream);
  // Closing takes the kernel about as long as opening, and nobody waits for it.
  if (open_longer >= OPEN_LONGER_MAX) return reading_free(r);
  open_longer++;
  r->end.run = reading_close_idle;
  task_idle(&r->end);
}

static void reading_pump(struct stream *s) {
  struct reading *r = container_of(s, struct reading, stream);
  for (;;) {
    uint64_t before = r->sent;
    enum sent sent = r->left == 0 ? SENT_EOF : stream_send_from(s, 0, r->fd, r->left, &r->sent);
    r->left -= r->sent - before;
    // Files in /proc return less than asked for without being at their end; what returns nothing has ended for us.
    if (sent == SENT_DRAINED && r->sent > before) continue;
    if (sent == SENT_EOF || sent == SENT_DRAINED) return reading_end(r);
    if (sent != SENT_FAILED) return;
    int error = errno;
    send_empty(FRAME_EOF, 0, s->id);
    send_errno(s->id, error, "read");
    stream_close(s);
    return reading_free(r);
  }
}

static void reading_cancel(struct stream *s) {
  send_empty(FRAME_EOF, 0, s->id);
  send_error(s->id, "cancelled", 0, "the read was cancelled");
  stream_close(s);
  reading_free(container_of(s, struct reading, stream));
}

static void reading_drop(struct stream *s) { reading_free(container_of(s, struct reading, stream)); }

static const struct stream_ops reading_ops = {.pump = reading_pump, .cancel = reading_cancel, .drop = reading_drop};

void op_read(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  struct stat st;
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  // The system call itself: the library's fstat goes through a path lookup.
  if (fd < 0 || syscall(SYS_fstat, fd, &st) < 0) {
    send_errno(stream, errno, "%s", path);
    if (fd >= 0) close(fd);
    return;
  }
  uint64_t offset = number(f, TAG_OFFSET, 0);
  struct reading *r = S_ISREG(st.st_mode) ? calloc(1, sizeof *r) : NULL;
  if (!r || offset > INT64_MAX || (offset && lseek(fd, (off_t)offset, SEEK_SET) < 0)) {
    if (S_ISDIR(st.st_mode)) send_errno(stream, EISDIR, "%s", path);
    else send_error(stream, "bad_request", 0, "%s: only regular files can be read, from a valid offset", path);
    close(fd);
    return free(r);
  }
  r->fd = fd;
  r->left = number(f, TAG_LENGTH, UINT64_MAX);
  stream_open(&r->stream, stream, &reading_ops);
  struct writer w = frame_begin();
  put_stat(&w, &st, NULL);
  frame_end(&w, FRAME_EVENT, stream);
  reading_pump(&r->stream);
}

struct writing {
  struct stream stream;
  int directory, fd;
  uint64_t size;
  bool sync;
  char name[NAME_LIMIT + 1];
  char temporary[32];
};

// Also takes the temporary file away, unless it was renamed.
static void writing_free(struct writing *w) {
  if (w->fd >= 0) close(w->fd);
  if (w->temporary[0]) unlinkat(w->directory, w->temporary, 0);
  if (w->directory >= 0) close(w->directory);
  free(w);
}

static void writing_fail(struct writing *w, int error) {
  send_errno(w->stream.id, error, "%s", w->name);
  stream_close(&w->stream);
  writing_free(w);
}

static void writing_data(struct stream *s, const uint8_t *data, uint32_t length) {
  struct writing *w = container_of(s, struct writing, stream);
  for (uint32_t at = 0; at < length;) {
    ssize_t n = write(w->fd, data + at, length - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return writing_fail(w, errno);
    at += (uint32_t)n;
  }
  w->size += length;
  stream_consumed(s, length);
}

static void writing_eof(struct stream *s) {
  struct writing *w = container_of(s, struct writing, stream);
  if ((w->sync && fsync(w->fd) < 0) || renameat(w->directory, w->temporary, w->directory, w->name) < 0)
    return writing_fail(w, errno);
  w->temporary[0] = 0;
  if (w->sync) {
    int directory = openat(w->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = directory < 0 || fsync(directory) < 0;
    int error = errno;
    if (directory >= 0) close(directory);
    if (failed) return writing_fail(w, error);
  }
  struct writer answer = frame_begin();
  put_u64(&answer, TAG_SIZE, w->size);
  frame_end(&answer, FRAME_RESULT, s->id);
  stream_close(s);
  writing_free(w);
}

static void writing_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "the write was cancelled");
  stream_close(s);
  writing_free(container_of(s, struct writing, stream));
}

static void writing_drop(struct stream *s) { writing_free(container_of(s, struct writing, stream)); }

static const struct stream_ops writing_ops = {
    .data = writing_data, .eof = writing_eof, .cancel = writing_cancel, .drop = writing_drop};

// Opens the temporary file with the owner and mode that the file shall have: those of the request, else those of
// the file that is replaced, else root's and 0644. False with errno.
static bool writing_begin(struct writing *w, const struct fields *f, const char *path) {
  static uint32_t counter;
  uid_t uid = (uid_t)number(f, TAG_UID, (uint64_t)-1);
  gid_t gid = (gid_t)number(f, TAG_GID, (uint64_t)-1);
  w->directory = path_open_parent(path, number(f, TAG_PARENTS, 0), uid, gid, w->name);
  if (w->directory < 0) return false;
  struct stat old;
  bool replaces = fstatat(w->directory, w->name, &old, AT_SYMLINK_NOFOLLOW) == 0;
  if (replaces && S_ISDIR(old.st_mode)) {
    errno = EISDIR;
    return false;
  }
  mode_t mode = 0644;
  if (replaces && S_ISREG(old.st_mode)) {
    mode = old.st_mode & 07777;
    if (uid == (uid_t)-1) uid = old.st_uid;
    if (gid == (gid_t)-1) gid = old.st_gid;
  }
  if (has(f, TAG_MODE)) mode = number(f, TAG_MODE, 0) & 07777;
  for (int tries = 0; tries < 100 && w->fd < 0; tries++) {
    snprintf(w->temporary, sizeof w->temporary, ".holdfast-%08x.tmp", (unsigned)now_ns() ^ counter++ << 16);
    w->fd = openat(w->directory, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0 && errno != EEXIST) break;
  }
  if (w->fd < 0) {
    w->temporary[0] = 0;
    return false;
  }
  if ((uid != (uid_t)-1 && uid != geteuid()) || (gid != (gid_t)-1 && gid != getegid()))
    if (fchown(w->fd, uid, gid) < 0) return false;
  return fchmod(w->fd, mode) == 0;
}

void op_write(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  struct writing *w = calloc(1, sizeof *w);
  if (!w) return send_errno(stream, ENOMEM, "%s", path);
  w->fd = w->directory = -1;
  w->sync = number(f, TAG_SYNC, 0);
  if (!writing_begin(w, f, path)) {
    send_errno(stream, errno, "%s", path);
    return writing_free(w);
  }
  stream_open(&w->stream, stream, &writing_ops);
}
