// WATCH: changes below a path, by inotify.
#include "loop.h"
#include "ops.h"
#include "output.h"
#include "path.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { DIRECTORIES_MAX = 8192, BUCKETS = 512, BUFFER = 4096, PAIR_MS = 20 };
enum { CREATED = 1, MODIFIED = 2, REMOVED = 4, MOVED = 8, ALL = 15 };
static const uint32_t interest = IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF;

struct watched {
  struct watched *next;
  int wd;
  char *path;
};

struct watch {
  struct stream stream;
  struct handler inotify;
  struct timer pair; // for the second half of a move
  struct watched *bucket[BUCKETS];
  int count, root;
  uint64_t mask;
  bool recursive, readable;
  const char *broken; // why it has to end, found while events are handled
  uint32_t from_cookie; // a move that has begun, 0 none
  bool from_directory;
  char from[PATH_LIMIT + 1];
  uint32_t at, end; // in buffer
  uint8_t buffer[BUFFER] __attribute__((aligned(8)));
};

static struct watched **place(struct watch *w, int wd) {
  struct watched **link = &w->bucket[(unsigned)wd % BUCKETS];
  while (*link && (*link)->wd != wd) link = &(*link)->next;
  return link;
}

static void forget(struct watch *w, int wd) {
  struct watched **link = place(w, wd), *gone = *link;
  if (!gone) return;
  *link = gone->next;
  free(gone->path);
  free(gone);
  w->count--;
}

static void watch_free(struct watch *w) {
  timer_clear(&w->pair);
  loop_close(&w->inotify);
  for (int i = 0; i < BUCKETS; i++)
    while (w->bucket[i]) forget(w, w->bucket[i]->wd);
  free(w);
}

// The descriptor, or -1 with errno.
static int watch_one(struct watch *w, const char *path, uint32_t flags) {
  if (w->count >= DIRECTORIES_MAX) {
    errno = ENOSPC;
    return -1;
  }
  int wd = inotify_add_watch(w->inotify.fd, path, interest | flags);
  if (wd < 0) return -1;
  struct watched **link = place(w, wd);
  if (*link) return wd; // it is watched already
  struct watched *new = malloc(sizeof *new);
  char *copy = strdup(path);
  if (!new || !copy) {
    free(new);
    free(copy);
    errno = ENOMEM;
    return -1;
  }
  *new = (struct watched){.wd = wd, .path = copy};
  *link = new;
  w->count++;
  return wd;
}

static void emit(struct watch *w, uint64_t event, const char *path, const char *to) {
  if (!(w->mask & event) || w->broken) return;
  if (output_used() >= OUTPUT_INPUT_MAX) {
    w->broken = "the host does not take the events";
    return;
  }
  struct writer out = frame_begin();
  put_u64(&out, TAG_WATCH_EVENT, event);
  put_text(&out, TAG_PATH, path);
  if (to) put_text(&out, TAG_TO, to);
  frame_end(&out, FRAME_EVENT, w->stream.id);
}

static bool join(char to[PATH_LIMIT + 1], const char *directory, const char *name) {
  size_t n = strlen(directory), m = strlen(name);
  if (n == 1) n = 0; // the root
  if (n + 1 + m > PATH_LIMIT) return false;
  memcpy(to, directory, n);
  to[n] = '/';
  memcpy(to + n + 1, name, m + 1);
  return true;
}

static void watch_directory(struct watch *w, const char *path) {
  if (watch_one(w, path, IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK) >= 0) return;
  if (errno == ENOSPC || errno == ENOMEM) w->broken = "there are too many directories";
}

// Watches a directory and all below. What is there already is reported too when the directory is new: it may have come
// before its directory was watched, so that some are reported twice but none is missed.
static void watch_tree(struct watch *w, const char *path, bool announce) {
  struct tree t;
  watch_directory(w, path);
  if (tree_begin(&t, AT_FDCWD, path) < 0) return;
  for (enum tree_step step; !w->broken && (step = tree_next(&t)) != TREE_END;) {
    char full[PATH_LIMIT + 1];
    struct stat st;
    if (step == TREE_FAILED) break;
    if (step == TREE_LEFT || !join(full, path, t.path)) continue;
    if (announce) emit(w, CREATED, full, NULL);
    if (fstatat(t.parent, t.name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) continue;
    watch_directory(w, full);
    tree_enter(&t);
  }
  tree_end(&t);
}

static bool below(const char *path, const char *directory) {
  size_t n = strlen(directory);
  return !strncmp(path, directory, n) && (path[n] == '/' || path[n] == 0);
}

// A directory left the tree: what is below it is of no interest. Each gives IN_IGNORED and is forgotten then.
static void unwatch_tree(struct watch *w, const char *path) {
  for (int i = 0; i < BUCKETS; i++)
    for (struct watched *d = w->bucket[i]; d; d = d->next)
      if (below(d->path, path)) inotify_rm_watch(w->inotify.fd, d->wd);
}

static void rename_tree(struct watch *w, const char *from, const char *to) {
  for (int i = 0; i < BUCKETS; i++) {
    for (struct watched *d = w->bucket[i]; d; d = d->next) {
      if (!below(d->path, from)) continue;
      const char *rest = d->path + strlen(from);
      char *path = malloc(strlen(to) + strlen(rest) + 1);
      if (!path) continue;
      strcpy(path, to);
      strcat(path, rest);
      free(d->path);
      d->path = path;
    }
  }
}

// The other half of a move did not come: it went out of the tree.
static void settle_move(struct watch *w) {
  if (!w->from_cookie) return;
  w->from_cookie = 0;
  timer_clear(&w->pair);
  emit(w, REMOVED, w->from, NULL);
  if (w->from_directory && w->recursive) unwatch_tree(w, w->from);
}

static void pair_over(struct timer *t) { settle_move(container_of(t, struct watch, pair)); }

static void moved_to(struct watch *w, const struct inotify_event *e, const char *path) {
  bool directory = e->mask & IN_ISDIR && w->recursive;
  if (!w->from_cookie || w->from_cookie != e->cookie) {
    emit(w, CREATED, path, NULL);
    if (directory) watch_tree(w, path, true);
    return;
  }
  w->from_cookie = 0;
  timer_clear(&w->pair);
  emit(w, MOVED, w->from, path);
  if (directory) rename_tree(w, w->from, path);
}

static void handle(struct watch *w, const struct inotify_event *e) {
  char path[PATH_LIMIT + 1];
  if (e->mask & IN_Q_OVERFLOW) {
    w->broken = "the kernel's queue was full";
    return;
  }
  if (e->mask & IN_IGNORED) return forget(w, e->wd);
  const struct watched *d = *place(w, e->wd);
  if (!d) return;
  if (e->len == 0) strcpy(path, d->path);
  else if (!join(path, d->path, e->name)) return;
  if (w->from_cookie && !(e->mask & IN_MOVED_TO && e->cookie == w->from_cookie)) settle_move(w);
  if (e->mask & IN_MOVED_FROM) {
    w->from_cookie = e->cookie;
    w->from_directory = e->mask & IN_ISDIR;
    strcpy(w->from, path);
    timer_set(&w->pair, PAIR_MS);
  } else if (e->mask & IN_MOVED_TO) moved_to(w, e, path);
  else if (e->mask & IN_CREATE) {
    emit(w, CREATED, path, NULL);
    if (e->mask & IN_ISDIR && w->recursive) watch_tree(w, path, true);
  } else if (e->mask & IN_MODIFY) emit(w, MODIFIED, path, NULL);
  else if (e->mask & IN_DELETE || (e->mask & IN_DELETE_SELF && e->wd == w->root)) emit(w, REMOVED, path, NULL);
}

static void watch_pump(struct stream *s) {
  struct watch *w = container_of(s, struct watch, stream);
  while (!w->broken && (w->readable || w->at < w->end)) {
    // Events know no credit: when the host is slow they wait in the kernel, and overflow there at last.
    if (!output_takes_data()) return stream_wait_room(s);
    if (w->at == w->end) {
      ssize_t n = read(w->inotify.fd, w->buffer, BUFFER);
      w->at = w->end = 0;
      if (n <= 0) {
        w->readable = false;
        return;
      }
      w->end = (uint32_t)n;
    }
    const struct inotify_event *e = (const struct inotify_event *)(w->buffer + w->at);
    w->at += (uint32_t)(sizeof *e + e->len);
    handle(w, e);
  }
  if (!w->broken) return;
  send_error(s->id, "watch_overflow", 0, "events were lost: %s", w->broken);
  stream_close(s);
  watch_free(w);
}

static void watch_ready(struct handler *h, uint32_t events) {
  (void)events;
  struct watch *w = container_of(h, struct watch, inotify);
  w->readable = true;
  watch_pump(&w->stream);
}

static void watch_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "the watch has ended");
  stream_close(s);
  watch_free(container_of(s, struct watch, stream));
}

static void watch_drop(struct stream *s) { watch_free(container_of(s, struct watch, stream)); }
static const struct stream_ops watch_ops = {.pump = watch_pump, .cancel = watch_cancel, .drop = watch_drop};

void op_watch(uint32_t stream, const struct fields *f) {
  const char *path = path_field(stream, f, TAG_PATH);
  if (!path) return;
  uint64_t mask = number(f, TAG_WATCH_MASK, ALL);
  if (mask == 0 || mask > ALL) return send_error(stream, "bad_request", 0, "WATCH_MASK is 1 to %d", ALL);
  struct watch *w = calloc(1, sizeof *w);
  if (!w) return send_errno(stream, ENOMEM, "%s", path);
  w->mask = mask;
  w->recursive = number(f, TAG_RECURSIVE, 0);
  w->pair.fire = pair_over;
  w->inotify = (struct handler){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .ready = watch_ready};
  char clean[PATH_LIMIT + 1];
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  memcpy(clean, path, n);
  clean[n] = 0;
  if (w->inotify.fd < 0 || (w->root = watch_one(w, clean, 0)) < 0 || !loop_add(&w->inotify, EPOLLIN)) {
    send_errno(stream, errno, "%s", path);
    return watch_free(w);
  }
  w->stream.id = stream; // for events that are found below
  if (w->recursive) watch_tree(w, clean, false);
  stream_open(&w->stream, stream, &watch_ops);
  if (w->broken) watch_pump(&w->stream);
}
