// TAR_IN: a tar stream unpacked as it comes. Nothing is made outside the directory, nor through a link.
#include "errors.h"
#include "loop.h"
#include "ops.h"
#include "path.h"
#include "tar.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIRECTORIES_MAX = 16384 };

// A directory whose time is set at the end, as unpacking into it changes that.
struct dated {
  struct dated *next;
  struct timespec time;
  char path[];
};

struct unpacking {
  struct stream stream;
  int base;
  bool own_uid, own_gid;
  uid_t uid;
  gid_t gid;
  uint64_t total;
  enum { HEADER, CONTENTS, EXTENSION, PADDING, OVER } state;
  uint64_t left;
  uint32_t padding, filled; // of the block or the extension
  int file;
  int file_parent; // where the file is, to take it away when it does not get complete
  char file_name[NAME_LIMIT + 1];
  char extension_type;
  struct dated *dated;
  int dated_count;
  struct tar_member member;
  struct tar_extension extension;
  uint8_t block[TAR_BLOCK];
  char collected[TAR_EXTENSION_MAX + 1];
};

static void close_file(struct unpacking *u, bool complete) {
  if (u->file < 0) return;
  close(u->file);
  if (!complete) unlinkat(u->file_parent, u->file_name, 0);
  close(u->file_parent);
  u->file = u->file_parent = -1;
}

static void unpacking_free(struct unpacking *u) {
  close_file(u, false);
  while (u->dated) {
    struct dated *next = u->dated->next;
    free(u->dated);
    u->dated = next;
  }
  close(u->base);
  free(u);
}

static void end_with_error(struct unpacking *u) {
  stream_close(&u->stream);
  unpacking_free(u);
}

// False from here on: the stream was ended and `u` is gone.
static bool fail(struct unpacking *u, const char *code, const char *what) {
  send_error(u->stream.id, code, 0, "%.800s: %s", u->member.path, what);
  end_with_error(u);
  return false;
}

static bool fail_errno(struct unpacking *u) {
  // A link or a file where a directory must be on the way.
  if (errno == ELOOP || errno == ENOTDIR) return fail(u, "invalid_path", "the path leads through a link or a file");
  send_errno(u->stream.id, errno, "%.800s", u->member.path);
  end_with_error(u);
  return false;
}

// Opens the directory that holds `path` (relative to the base) and makes those that are missing. `name` gets the last
// component, "." for the base itself. -1 with errno; EINVAL for a path that climbs out or is absolute.
static int open_holder(int base, const char *path, char name[NAME_LIMIT + 1]) {
  int holder = fcntl(base, F_DUPFD_CLOEXEC, 3);
  strcpy(name, ".");
  if (path[0] == '/') errno = EINVAL;
  for (const char *at = path; holder >= 0 && path[0] != '/';) {
    while (*at == '/') at++;
    size_t n = strcspn(at, "/");
    if (n == 0) return holder;
    bool dot = n == 1 && at[0] == '.', climbs = n == 2 && at[0] == '.' && at[1] == '.';
    errno = climbs ? EINVAL : ENAMETOOLONG;
    if (climbs || n > NAME_LIMIT) break;
    if (!dot && strcmp(name, ".") != 0) {
      if (mkdirat(holder, name, 0755) < 0 && errno != EEXIST) break;
      int next = openat(holder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (next < 0) break;
      close(holder);
      holder = next;
    }
    if (!dot) {
      memcpy(name, at, n);
      name[n] = 0;
    }
    at += n;
  }
  int error = errno;
  if (holder >= 0) close(holder);
  errno = error;
  return -1;
}

static void owner_of(const struct unpacking *u, uid_t *uid, gid_t *gid) {
  bool root = geteuid() == 0;
  *uid = u->own_uid ? u->uid : root ? (uid_t)u->member.uid : geteuid();
  *gid = u->own_gid ? u->gid : root ? (gid_t)u->member.gid : getegid();
}

// By descriptor: what has the name by now may be something else, put there by a process of the guest.
static bool finish(struct unpacking *u, int fd) {
  const struct tar_member *m = &u->member;
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = m->mtime_s, .tv_nsec = m->mtime_ns}};
  uid_t uid;
  gid_t gid;
  owner_of(u, &uid, &gid);
  return fchown(fd, uid, gid) == 0 && fchmod(fd, m->mode) == 0 && futimens(fd, times) == 0;
}

static void remember_time(struct unpacking *u) {
  struct dated *d = u->dated_count < DIRECTORIES_MAX ? malloc(sizeof *d + strlen(u->member.path) + 1) : NULL;
  if (!d) return;
  *d = (struct dated){.next = u->dated, .time = {.tv_sec = u->member.mtime_s, .tv_nsec = u->member.mtime_ns}};
  strcpy(d->path, u->member.path);
  u->dated = d;
  u->dated_count++;
}

static void set_directory_times(struct unpacking *u) {
  for (struct dated *d = u->dated; d; d = d->next) {
    char name[NAME_LIMIT + 1];
    int holder = open_holder(u->base, d->path, name);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, d->time};
    if (holder < 0) continue;
    utimensat(holder, name, times, AT_SYMLINK_NOFOLLOW);
    close(holder);
  }
}

static bool make_directory(struct unpacking *u, int holder, const char *name) {
  if (strcmp(name, ".") != 0) {
    struct stat st;
    if (mkdirat(holder, name, 0755) < 0 && errno != EEXIST) return false;
    if (fstatat(holder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return false;
    if (!S_ISDIR(st.st_mode)) {
      errno = ENOTDIR;
      return false;
    }
  }
  remember_time(u);
  int fd = openat(holder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  bool done = finish(u, fd);
  int error = errno;
  close(fd);
  errno = error;
  return done;
}

static bool make_symlink(struct unpacking *u, int holder, const char *name) {
  const struct tar_member *m = &u->member;
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = m->mtime_s, .tv_nsec = m->mtime_ns}};
  uid_t uid;
  gid_t gid;
  owner_of(u, &uid, &gid);
  return symlinkat(m->link, holder, name) == 0 && fchownat(holder, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 &&
         utimensat(holder, name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool make_hard_link(struct unpacking *u, int holder, const char *name) {
  char target[NAME_LIMIT + 1];
  int target_holder = open_holder(u->base, u->member.link, target);
  if (target_holder < 0) return false;
  bool done = linkat(target_holder, target, holder, name, 0) == 0;
  int error = errno;
  close(target_holder);
  errno = error;
  return done;
}

// Makes the member at its place. True with errno untouched; false with errno.
static bool make(struct unpacking *u, int holder, const char *name) {
  if (u->member.type == '5') return make_directory(u, holder, name);
  // What has the name makes way; a directory does not.
  if (unlinkat(holder, name, 0) < 0 && errno != ENOENT) return false;
  if (u->member.type == '1') return make_hard_link(u, holder, name);
  if (u->member.type == '2') return make_symlink(u, holder, name);
  u->file = openat(holder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (u->file < 0) return false;
  u->file_parent = fcntl(holder, F_DUPFD_CLOEXEC, 3);
  strcpy(u->file_name, name);
  return true;
}

static bool end_file(struct unpacking *u) {
  if (u->file >= 0) {
    if (!finish(u, u->file)) return fail_errno(u);
    close_file(u, true);
  }
  u->state = u->padding ? PADDING : HEADER;
  u->left = u->padding;
  return true;
}

static bool begin_member(struct unpacking *u) {
  char name[NAME_LIMIT + 1];
  struct tar_member *m = &u->member;
  if (!m->path[0] || !strchr("0125", m->type))
    return fail(u, "bad_request", "only files, directories, symbolic and hard links are unpacked");
  int holder = open_holder(u->base, m->path, name);
  if (holder < 0 && errno == EINVAL) return fail(u, "invalid_path", "the path climbs out of the directory");
  if (holder < 0) return fail_errno(u);
  if (m->type != '5' && !strcmp(name, ".")) {
    close(holder);
    return fail(u, "invalid_path", "the directory itself can't be replaced");
  }
  bool made = make(u, holder, name);
  int error = errno;
  close(holder);
  errno = error;
  if (!made && errno == EINVAL) return fail(u, "invalid_path", "the link's target climbs out of the directory");
  if (!made) return fail_errno(u);
  u->extension.given = 0;
  u->left = m->type == '0' ? m->size : 0;
  u->padding = (uint32_t)(-u->left % TAR_BLOCK);
  u->state = CONTENTS;
  return u->left > 0 || end_file(u);
}

static bool take_header(struct unpacking *u) {
  if (tar_is_zero(u->block)) {
    u->state = OVER;
    return true;
  }
  const struct tar_block *b = (const struct tar_block *)u->block;
  const char *fault = tar_read(b, &u->extension, &u->member);
  if (fault) return fail(u, "bad_request", fault);
  char type = u->member.type;
  if (!strchr("xgLK", type)) return begin_member(u);
  // The size of an extension is its own, not the one it may give to its member.
  struct tar_extension none = {0};
  static struct tar_member own;
  tar_read(b, &none, &own);
  if (own.size > TAR_EXTENSION_MAX) return fail(u, "too_large", "an extended header is too large");
  u->extension_type = type;
  u->left = own.size;
  u->filled = 0;
  u->padding = (uint32_t)(-own.size % TAR_BLOCK);
  u->state = EXTENSION;
  return true;
}

static bool take_extension(struct unpacking *u) {
  u->collected[u->filled] = 0;
  const char *fault = NULL;
  bool long_name = u->extension_type == 'L' || u->extension_type == 'K'; // GNU tar's way
  if (u->extension_type == 'x') fault = tar_read_pax(u->collected, u->filled, &u->extension);
  if (long_name && strlen(u->collected) > TAR_PATH) fault = "a path is too long";
  if (fault) return fail(u, "bad_request", fault);
  if (long_name) {
    bool link = u->extension_type == 'K';
    strcpy(link ? u->extension.member.link : u->extension.member.path, u->collected);
    u->extension.given |= link ? TAR_GIVES_LINK : TAR_GIVES_PATH;
  }
  u->state = u->padding ? PADDING : HEADER;
  u->left = u->padding;
  return true;
}

static bool write_contents(struct unpacking *u, const uint8_t *data, uint32_t length) {
  for (uint32_t at = 0; at < length;) {
    ssize_t n = write(u->file, data + at, length - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(u);
    at += (uint32_t)n;
  }
  u->total += length;
  return true;
}

// Takes a part of the data that belongs to the current state. False when the stream was ended.
static bool take(struct unpacking *u, const uint8_t *data, uint32_t length, uint32_t *used) {
  uint32_t n = length;
  if (u->state == HEADER && n > TAR_BLOCK - u->filled) n = TAR_BLOCK - u->filled;
  if (u->state != HEADER && u->state != OVER && n > u->left) n = (uint32_t)u->left;
  *used = n;
  switch (u->state) {
  case HEADER:
    memcpy(u->block + u->filled, data, n);
    u->filled += n;
    if (u->filled < TAR_BLOCK) return true;
    u->filled = 0;
    return take_header(u);
  case CONTENTS:
    if (!write_contents(u, data, n)) return false;
    u->left -= n;
    return u->left > 0 || end_file(u);
  case EXTENSION:
    memcpy(u->collected + u->filled, data, n);
    u->filled += n;
    u->left -= n;
    if (u->left > 0) return true;
    if (!take_extension(u)) return false;
    u->filled = 0;
    return true;
  case PADDING:
    u->left -= n;
    if (u->left == 0) u->state = HEADER;
    return true;
  default:
    return true;
  }
}

static void unpacking_data(struct stream *s, const uint8_t *data, uint32_t length) {
  struct unpacking *u = container_of(s, struct unpacking, stream);
  for (uint32_t at = 0, used; at < length; at += used)
    if (!take(u, data + at, length - at, &used)) return;
  stream_consumed(s, length);
}

static void unpacking_eof(struct stream *s) {
  struct unpacking *u = container_of(s, struct unpacking, stream);
  if (u->state != OVER && !(u->state == HEADER && u->filled == 0 && !u->extension.given)) {
    fail(u, "bad_request", "the archive ends in the middle of a member");
    return;
  }
  set_directory_times(u);
  struct writer w = frame_begin();
  put_u64(&w, TAG_SIZE, u->total);
  frame_end(&w, FRAME_RESULT, s->id);
  stream_close(s);
  unpacking_free(u);
}

static void unpacking_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "unpacking was cancelled; what is complete stays");
  end_with_error(container_of(s, struct unpacking, stream));
}

static void unpacking_drop(struct stream *s) { unpacking_free(container_of(s, struct unpacking, stream)); }
static const struct stream_ops unpacking_ops = {
    .data = unpacking_data, .eof = unpacking_eof, .cancel = unpacking_cancel, .drop = unpacking_drop};

void op_tar_in(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  uid_t uid = (uid_t)number(f, TAG_UID, (uint64_t)-1);
  gid_t gid = (gid_t)number(f, TAG_GID, (uint64_t)-1);
  if (path_make_directories(path, 0755, uid, gid) < 0) return send_errno(stream, errno, "%s", path);
  struct unpacking *u = calloc(1, sizeof *u);
  int base = u ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (base < 0) {
    send_errno(stream, u ? errno : ENOMEM, "%s", path);
    return free(u);
  }
  u->base = base;
  u->file = u->file_parent = -1;
  u->own_uid = has(f, TAG_UID);
  u->own_gid = has(f, TAG_GID);
  u->uid = uid;
  u->gid = gid;
  strcpy(u->member.path, "the archive");
  stream_open(&u->stream, stream, &unpacking_ops);
}
