// STAT, LIST, MKDIR and MOVE.
#include "files.h"
#include "ops.h"
#include "path.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MOST = 1000 };

static uint64_t kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFREG:
    return 1;
  case S_IFDIR:
    return 2;
  case S_IFLNK:
    return 3;
  case S_IFIFO:
    return 4;
  case S_IFSOCK:
    return 5;
  case S_IFCHR:
    return 6;
  default:
    return 7;
  }
}

void put_stat(struct writer *w, const struct stat *st, const char *target) {
  put_u64(w, TAG_KIND, kind_of(st->st_mode));
  put_u64(w, TAG_SIZE, (uint64_t)st->st_size);
  put_u64(w, TAG_MODE, st->st_mode & 07777);
  put_u64(w, TAG_UID, st->st_uid);
  put_u64(w, TAG_GID, st->st_gid);
  put_u64(w, TAG_MTIME_NS, (uint64_t)(st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec));
  if (target) put_text(w, TAG_TARGET, target);
}

// The link's target in a static buffer, or NULL when it is no link.
static const char *target_of(int directory, const char *name, const struct stat *st) {
  static char target[PATH_LIMIT + 1];
  if (!S_ISLNK(st->st_mode)) return NULL;
  ssize_t n = readlinkat(directory, name, target, sizeof target - 1);
  target[n < 0 ? 0 : n] = 0;
  return target;
}

void op_stat(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  struct stat st;
  if (lstat(path, &st) < 0) return send_errno(stream, errno, "%s", path);
  struct writer w = frame_begin();
  put_stat(&w, &st, target_of(AT_FDCWD, path, &st));
  frame_end(&w, FRAME_RESULT, stream);
}

// The smallest `limit` names behind the cursor, as a heap with the greatest on top: a directory of any size takes
// the same memory.
struct names {
  char *name[LIST_MOST];
  unsigned count, limit;
  bool more;
};

static void sift_down(struct names *n, unsigned at) {
  for (;;) {
    unsigned child = 2 * at + 1;
    if (child + 1 < n->count && strcmp(n->name[child + 1], n->name[child]) > 0) child++;
    if (child >= n->count || strcmp(n->name[at], n->name[child]) >= 0) return;
    char *name = n->name[at];
    n->name[at] = n->name[child];
    n->name[child] = name;
    at = child;
  }
}

static bool add_name(struct names *n, const char *name) {
  if (n->count == n->limit) {
    n->more = true;
    if (strcmp(name, n->name[0]) > 0) return true;
    free(n->name[0]);
    n->name[0] = strdup(name);
    if (n->name[0]) sift_down(n, 0);
    return n->name[0] != NULL;
  }
  char *copy = strdup(name);
  if (!copy) return false;
  unsigned at = n->count++;
  for (; at > 0 && strcmp(n->name[(at - 1) / 2], copy) < 0; at = (at - 1) / 2) n->name[at] = n->name[(at - 1) / 2];
  n->name[at] = copy;
  return true;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void free_names(struct names *n) {
  for (unsigned i = 0; i < n->count; i++) free(n->name[i]);
}

// A cursor is the last name, behind `=`, or in hex behind `~` when the name is no text.
static bool cursor_read(const char *cursor, char name[NAME_LIMIT + 1]) {
  size_t n = strlen(cursor);
  name[0] = 0;
  if (cursor[0] == '=' && n <= NAME_LIMIT + 1) {
    memcpy(name, cursor + 1, n);
    return true;
  }
  if (cursor[0] != '~' || n > 2 * NAME_LIMIT + 1 || n % 2 == 0) return false;
  for (size_t i = 0; i < n / 2; i++) {
    unsigned byte;
    if (sscanf(cursor + 1 + 2 * i, "%2x", &byte) != 1) return false;
    name[i] = (char)byte;
    name[i + 1] = 0;
  }
  return true;
}

static void put_cursor(struct writer *w, const char *name) {
  char cursor[2 * NAME_LIMIT + 2];
  size_t n = strlen(name);
  if (utf8_valid((const uint8_t *)name, (uint32_t)n)) snprintf(cursor, sizeof cursor, "=%s", name);
  else {
    cursor[0] = '~';
    for (size_t i = 0; i < n; i++) snprintf(cursor + 1 + 2 * i, 3, "%02x", (uint8_t)name[i]);
  }
  put_text(w, TAG_CURSOR, cursor);
}

static bool gather(DIR *directory, const char *behind, struct names *n) {
  struct dirent *e;
  for (errno = 0; (e = readdir(directory)); errno = 0) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    if (strcmp(e->d_name, behind) > 0 && !add_name(n, e->d_name)) errno = ENOMEM;
    if (errno) return false;
  }
  return errno == 0;
}

static void send_names(uint32_t stream, int directory, struct names *n) {
  struct writer w = frame_begin();
  uint8_t *end = w.end;
  w.end -= 2 * NAME_LIMIT + 16; // for the cursor
  const char *last = NULL;
  for (unsigned i = 0; i < n->count; i++) {
    struct stat st;
    if (fstatat(directory, n->name[i], &st, AT_SYMLINK_NOFOLLOW) < 0) continue; // gone in the meantime
    uint8_t *record = record_begin(&w);
    put_text(&w, TAG_NAME, n->name[i]);
    put_stat(&w, &st, target_of(directory, n->name[i], &st));
    if (w.full) {
      w.at = record;
      n->more = true;
      break;
    }
    record_end(&w, record);
    last = n->name[i];
  }
  w.end = end;
  if (n->more && last) put_cursor(&w, last);
  frame_end(&w, FRAME_RESULT, stream);
}

void op_list(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH), *cursor = text(f, TAG_CURSOR);
  if (!path) return;
  char behind[NAME_LIMIT + 2] = "";
  if (cursor && !cursor_read(cursor, behind)) return send_error(stream, "bad_request", 0, "not a cursor of LIST");
  uint64_t limit = number(f, TAG_LIMIT, LIST_MOST);
  if (limit == 0) return send_error(stream, "bad_request", 0, "a limit must not be 0");
  DIR *directory = opendir(path);
  if (!directory) return send_errno(stream, errno, "%s", path);
  static struct names names;
  names.count = 0;
  names.more = false;
  names.limit = limit < LIST_MOST ? (unsigned)limit : LIST_MOST;
  if (!gather(directory, behind, &names)) send_errno(stream, errno, "%s", path);
  else {
    qsort(names.name, names.count, sizeof names.name[0], by_name);
    send_names(stream, dirfd(directory), &names);
  }
  free_names(&names);
  closedir(directory);
}

void op_mkdir(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  char name[NAME_LIMIT + 1];
  bool parents = number(f, TAG_PARENTS, 0);
  mode_t mode = number(f, TAG_MODE, 0755) & 07777;
  int parent = path_open_parent(path, parents, (uid_t)-1, (gid_t)-1, name);
  if (parent < 0) return send_errno(stream, errno == EISDIR ? EEXIST : errno, "%s", path);
  struct stat st;
  int failed = mkdirat(parent, name, mode) < 0 ? errno : 0;
  // The mask of the agent must not take bits away that were asked for.
  if (!failed && mode & ~0755U && fchmodat(parent, name, mode, 0) < 0) failed = errno;
  if (failed == EEXIST && parents && fstatat(parent, name, &st, 0) == 0 && S_ISDIR(st.st_mode)) failed = 0;
  close(parent);
  if (failed) send_errno(stream, failed, "%s", path);
  else send_result(stream);
}

void op_move(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  const char *to = path ? path_field(stream, f, TAG_TO) : NULL;
  if (!to) return;
  unsigned flags = number(f, TAG_OVERWRITE, 0) ? 0 : RENAME_NOREPLACE;
  if (renameat2(AT_FDCWD, path, AT_FDCWD, to, flags) == 0) return send_result(stream);
  if (errno == EXDEV) send_error(stream, "io_error", EXDEV, "%.400s, %.400s: on different file systems", path, to);
  else if (errno == EEXIST) send_errno(stream, errno, "%s", to);
  else send_errno(stream, errno, "%s", path);
}
