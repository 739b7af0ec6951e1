#include "path.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool path_valid(const char *path) {
  if (path[0] != '/' || strlen(path) > PATH_LIMIT) return false;
  for (const char *at = path; *at;) {
    while (*at == '/') at++;
    size_t n = strcspn(at, "/");
    if (n > NAME_LIMIT || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.')) return false;
    at += n;
  }
  return true;
}

const char *path_field(uint32_t stream, const struct fields *f, enum tag tag) {
  const char *path = text(f, tag);
  if (path && path_valid(path)) return path;
  if (!path) send_error(stream, "bad_request", 0, "a path is missing");
  else send_error(stream, "invalid_path", 0, "%.200s: a path is absolute, without . and .., at most 4096 bytes", path);
  return NULL;
}

static int step(int parent, const char *name, mode_t mode, uid_t uid, gid_t gid) {
  int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 || errno != ENOENT || mode == 0) return fd;
  if (mkdirat(parent, name, mode) < 0 && errno != EEXIST) return -1;
  fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && (uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

// Follows the first `length` bytes of `path`; makes what is missing when mode is not 0.
static int walk(const char *path, size_t length, mode_t mode, uid_t uid, gid_t gid) {
  int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (size_t at = 0; fd >= 0 && at < length;) {
    while (at < length && path[at] == '/') at++;
    size_t n = 0;
    while (at + n < length && path[at + n] != '/') n++;
    if (n == 0) break;
    char name[NAME_LIMIT + 1];
    memcpy(name, path + at, n);
    name[n] = 0;
    int next = step(fd, name, mode, uid, gid), error = errno;
    close(fd);
    errno = error;
    fd = next;
    at += n;
  }
  return fd;
}

int path_open_parent(const char *path, bool parents, uid_t uid, gid_t gid, char name[NAME_LIMIT + 1]) {
  size_t end = strlen(path);
  while (end > 0 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (start == end) {
    errno = EISDIR; // the root itself has no parent
    return -1;
  }
  memcpy(name, path + start, end - start);
  name[end - start] = 0;
  if (parents) return walk(path, start, 0755, uid, gid);
  char parent[PATH_LIMIT + 1];
  memcpy(parent, path, start);
  parent[start] = 0;
  return open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int path_make_directories(const char *path, mode_t mode, uid_t uid, gid_t gid) {
  int fd = walk(path, strlen(path), mode, uid, gid);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}
