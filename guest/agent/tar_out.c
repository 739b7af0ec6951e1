// TAR_OUT: a tree as a tar stream, made as the host takes it.
#include "errors.h"
#include "loop.h"
#include "ops.h"
#include "path.h"
#include "tar.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINKS_MAX = 4096, END_BLOCKS = 2 * TAR_BLOCK };

// A file with several names that was sent under the first.
struct seen {
  struct seen *next;
  dev_t device;
  ino_t inode;
  char path[];
};

struct packing {
  struct stream stream;
  struct tree tree;
  struct seen *seen;
  int seen_count;
  bool walking, failed, closing;
  int error;
  int file;            // whose contents are being sent, or -1
  uint64_t file_left;  // of the size that its header told
  uint32_t zeros_left; // padding
  uint32_t header_at, header_end;
  struct tar_member member;
  uint8_t header[TAR_HEADER_MOST + 1];
};

static void packing_free(struct packing *p) {
  if (p->file >= 0) close(p->file);
  tree_end(&p->tree);
  while (p->seen) {
    struct seen *next = p->seen->next;
    free(p->seen);
    p->seen = next;
  }
  free(p);
}

// The name under which the same file was sent, or NULL after remembering it.
static const char *earlier_name(struct packing *p, const struct stat *st, const char *path) {
  for (struct seen *s = p->seen; s; s = s->next)
    if (s->inode == st->st_ino && s->device == st->st_dev) return s->path;
  // Beyond that many, further names become files of their own.
  struct seen *s = p->seen_count < LINKS_MAX ? malloc(sizeof *s + strlen(path) + 1) : NULL;
  if (!s) return NULL;
  *s = (struct seen){.next = p->seen, .device = st->st_dev, .inode = st->st_ino};
  strcpy(s->path, path);
  p->seen = s;
  p->seen_count++;
  return NULL;
}

static bool describe(struct packing *p, int parent, const char *name, const char *path, const struct stat *st) {
  struct tar_member *m = &p->member;
  m->mode = st->st_mode & 07777;
  m->uid = st->st_uid;
  m->gid = st->st_gid;
  m->size = 0;
  m->mtime_s = st->st_mtim.tv_sec;
  m->link[0] = 0;
  strcpy(m->path, path);
  if (S_ISDIR(st->st_mode)) {
    m->type = '5';
    strcat(m->path, "/");
    return true;
  }
  if (S_ISLNK(st->st_mode)) {
    ssize_t n = readlinkat(parent, name, m->link, TAR_PATH);
    m->link[n < 0 ? 0 : n] = 0;
    m->type = '2';
    return n > 0;
  }
  const char *earlier = st->st_nlink > 1 ? earlier_name(p, st, path) : NULL;
  m->type = earlier ? '1' : '0';
  if (earlier) strcpy(m->link, earlier);
  else m->size = (uint64_t)st->st_size;
  return true;
}

// Prepares header and contents of one entry. What vanished, is no file, directory or link, or can't be opened for
// reading any more is left out.
static void add_entry(struct packing *p, int parent, const char *name, const char *path) {
  struct stat st;
  if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return;
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) return;
  if (S_ISREG(st.st_mode)) {
    p->file = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (p->file < 0 || fstat(p->file, &st) < 0 || !S_ISREG(st.st_mode)) goto out;
  }
  if (!describe(p, parent, name, path, &st)) goto out;
  p->header_at = 0;
  p->header_end = tar_write(&p->member, p->header);
  if (p->member.type == '0') {
    p->file_left = p->member.size;
    p->zeros_left = (uint32_t)(-p->member.size % TAR_BLOCK);
    return;
  }
out:
  if (p->file >= 0) close(p->file);
  p->file = -1;
}

// Moves to the next entry. False at the end, with p->error set when something went wrong.
static bool advance(struct packing *p) {
  if (!p->walking) return false;
  switch (tree_next(&p->tree)) {
  case TREE_ENTRY:
    add_entry(p, p->tree.parent, p->tree.name, p->tree.path);
    // A directory of another file system is sent empty.
    if (p->member.type == '5' && p->header_end && tree_enter(&p->tree) < 0 && errno == E2BIG) {
      p->error = E2BIG;
      return false;
    }
    return true;
  case TREE_LEFT:
    return true;
  case TREE_FAILED:
    p->error = errno;
    return false;
  default:
    p->walking = false;
    return false;
  }
}

static uint32_t fill_contents(struct packing *p, uint8_t *to, uint32_t room) {
  uint32_t most = p->file_left < room ? (uint32_t)p->file_left : room;
  ssize_t n = read(p->file, to, most);
  if (n <= 0) {
    // It has become shorter: its size is already told, so zeros take the place.
    memset(to, 0, most);
    n = most;
  }
  p->file_left -= (uint64_t)n;
  return (uint32_t)n;
}

// Fills `to` as far as there is anything; less than `room` only at the end.
static uint32_t fill(struct packing *p, uint8_t *to, uint32_t room) {
  uint32_t done = 0;
  while (done < room) {
    uint32_t left = room - done, n;
    if (p->header_at < p->header_end) {
      n = p->header_end - p->header_at < left ? p->header_end - p->header_at : left;
      memcpy(to + done, p->header + p->header_at, n);
      p->header_at += n;
    } else if (p->file >= 0 && p->file_left > 0) n = fill_contents(p, to + done, left);
    else if (p->zeros_left > 0) {
      n = p->zeros_left < left ? p->zeros_left : left;
      memset(to + done, 0, n);
      p->zeros_left -= n;
    } else {
      if (p->file >= 0) close(p->file);
      p->file = -1;
      p->header_at = p->header_end = 0;
      if (p->closing || p->error) return done;
      if (!advance(p) && !p->error) {
        p->closing = true;
        p->zeros_left = END_BLOCKS;
      }
      continue;
    }
    done += n;
  }
  return done;
}

static void packing_pump(struct stream *s) {
  struct packing *p = container_of(s, struct packing, stream);
  uint32_t room = stream_can_send(s, 0);
  if (room == 0) return;
  uint32_t n = fill(p, stream_data_begin(), room);
  stream_data_end(s, 0, n);
  if (n == room) return stream_wait_room(s);
  send_empty(FRAME_EOF, 0, s->id);
  if (p->error) send_errno(s->id, p->error, "%.800s", p->tree.path);
  else send_result(s->id);
  stream_close(s);
  packing_free(p);
}

static void packing_cancel(struct stream *s) {
  send_empty(FRAME_EOF, 0, s->id);
  send_error(s->id, "cancelled", 0, "the archive was cancelled");
  stream_close(s);
  packing_free(container_of(s, struct packing, stream));
}

static void packing_drop(struct stream *s) { packing_free(container_of(s, struct packing, stream)); }
static const struct stream_ops packing_ops = {.pump = packing_pump, .cancel = packing_cancel, .drop = packing_drop};

// A directory's entries are named relative to it; a file is the only member.
static int packing_begin(struct packing *p, const char *path) {
  int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root >= 0) {
    int failed = tree_begin(&p->tree, root, ".");
    p->walking = true;
    close(root);
    return failed;
  }
  char name[NAME_LIMIT + 1];
  struct stat st;
  if (errno != ENOTDIR || stat(path, &st) < 0) return -1;
  if (!S_ISREG(st.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  int parent = path_open_parent(path, false, (uid_t)-1, (gid_t)-1, name);
  if (parent < 0) return -1;
  add_entry(p, parent, name, name);
  close(parent);
  return 0;
}

void op_tar_out(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  struct packing *p = calloc(1, sizeof *p);
  if (!p) return send_errno(stream, ENOMEM, "%s", path);
  p->file = -1;
  if (packing_begin(p, path) < 0) {
    send_errno(stream, errno, "%s", path);
    return packing_free(p);
  }
  stream_open(&p->stream, stream, &packing_ops);
  packing_pump(&p->stream);
}
