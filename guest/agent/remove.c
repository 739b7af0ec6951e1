// REMOVE: a file, or a tree in small steps between which other requests are answered.
#include "errors.h"
#include "loop.h"
#include "ops.h"
#include "path.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_A_TURN = 128, RETRIES = 8 };

struct removal {
  struct stream stream;
  struct task again;
  struct tree tree;
  int parent;
  int retries; // of directories that got new entries meanwhile
  char name[NAME_LIMIT + 1];
};

static void removal_free(struct removal *r) {
  task_forget(&r->again);
  tree_end(&r->tree);
  close(r->parent);
  free(r);
}

static void removal_end(struct removal *r, int error) {
  if (error) send_errno(r->stream.id, error, "%s/%.800s", r->name, r->tree.path);
  else send_result(r->stream.id);
  stream_close(&r->stream);
  removal_free(r);
}

// 0, or the errno that ends it. Something that has vanished is no error.
static int remove_entry(struct removal *r) {
  struct tree *t = &r->tree;
  if (unlinkat(t->parent, t->name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  int error = errno;
  if (tree_enter(t) == 0 || errno == ENOENT) return 0;
  return errno == EXDEV ? EBUSY : errno == ENOTDIR || errno == ELOOP ? error : errno;
}

static int remove_directory(struct removal *r) {
  struct tree *t = &r->tree;
  if (unlinkat(t->parent, t->name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  if (errno != ENOTEMPTY || ++r->retries > RETRIES) return errno;
  return tree_enter(t) == 0 ? 0 : errno;
}

static void remove_some(struct task *task) {
  struct removal *r = container_of(task, struct removal, again);
  for (int steps = 0; steps < STEPS_A_TURN; steps++) {
    int error = 0;
    switch (tree_next(&r->tree)) {
    case TREE_ENTRY:
      error = remove_entry(r);
      break;
    case TREE_LEFT:
      error = remove_directory(r);
      break;
    case TREE_FAILED:
      error = errno;
      break;
    case TREE_END:
      return removal_end(r, unlinkat(r->parent, r->name, AT_REMOVEDIR) < 0 ? errno : 0);
    }
    if (error) return removal_end(r, error);
  }
  task_soon(&r->again);
}

static void removal_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "removing was cancelled half-way");
  stream_close(s);
  removal_free(container_of(s, struct removal, stream));
}

static void removal_drop(struct stream *s) { removal_free(container_of(s, struct removal, stream)); }
static const struct stream_ops removal_ops = {.cancel = removal_cancel, .drop = removal_drop};

void op_remove(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  char name[NAME_LIMIT + 1];
  int parent = path_open_parent(path, false, (uid_t)-1, (gid_t)-1, name);
  if (parent < 0) return send_errno(stream, errno == EISDIR ? EBUSY : errno, "%s", path);
  int error = unlinkat(parent, name, 0) < 0 ? errno : 0;
  if (error == EISDIR || error == EPERM) error = unlinkat(parent, name, AT_REMOVEDIR) < 0 ? errno : 0;
  if (error == ENOTEMPTY && number(f, TAG_RECURSIVE, 0)) {
    struct removal *r = calloc(1, sizeof *r);
    if (r && tree_begin(&r->tree, parent, name) == 0) {
      r->parent = parent;
      strcpy(r->name, name);
      r->again.run = remove_some;
      stream_open(&r->stream, stream, &removal_ops);
      return remove_some(&r->again);
    }
    error = errno == EXDEV ? EBUSY : errno;
    free(r);
  }
  close(parent);
  if (error) send_errno(stream, error, "%s", path);
  else send_result(stream);
}
