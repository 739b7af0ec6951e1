#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int push(struct tree *t, int parent, const char *name, dev_t device, uint32_t path_length) {
  if (t->depth == TREE_DEPTH) {
    errno = E2BIG;
    return -1;
  }
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat st;
  DIR *directory = NULL;
  // Only directories are compared: files of an overlay may have a device number of their own.
  if (fstat(fd, &st) == 0 && st.st_dev != device) errno = EXDEV;
  else directory = fdopendir(fd);
  if (!directory) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  t->directory[t->depth] = directory;
  t->path_length[t->depth] = path_length;
  t->depth++;
  return 0;
}

int tree_begin(struct tree *t, int parent, const char *name) {
  struct stat st;
  t->depth = 0;
  t->path[0] = 0;
  if ((parent == AT_FDCWD ? lstat(name, &st) : fstat(parent, &st)) < 0) return -1;
  t->device = st.st_dev;
  return push(t, parent, name, st.st_dev, 0);
}

int tree_enter(struct tree *t) { return push(t, t->parent, t->name, t->device, t->entry_length); }

// The directory that was read to its end becomes the entry of its parent.
static enum tree_step leave(struct tree *t) {
  t->depth--;
  closedir(t->directory[t->depth]);
  if (t->depth == 0) return TREE_END;
  t->entry_length = t->path_length[t->depth];
  t->path[t->entry_length] = 0;
  t->parent = dirfd(t->directory[t->depth - 1]);
  const char *slash = strrchr(t->path, '/');
  t->name = slash ? slash + 1 : t->path;
  return TREE_LEFT;
}

enum tree_step tree_next(struct tree *t) {
  DIR *directory = t->directory[t->depth - 1];
  struct dirent *e;
  do {
    errno = 0;
    e = readdir(directory);
    if (!e) return errno ? TREE_FAILED : leave(t);
  } while (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
  uint32_t at = t->path_length[t->depth - 1], length = (uint32_t)strlen(e->d_name);
  if (at + 1 + length > TREE_PATH) {
    errno = ENAMETOOLONG;
    return TREE_FAILED;
  }
  if (at > 0) t->path[at++] = '/';
  memcpy(t->path + at, e->d_name, length + 1);
  t->entry_length = at + length;
  t->parent = dirfd(directory);
  t->name = t->path + at;
  return TREE_ENTRY;
}

void tree_end(struct tree *t) {
  while (t->depth > 0) closedir(t->directory[--t->depth]);
}
