// CONNECT, LISTEN and ACCEPTED: byte streams of sockets.
#include "errors.h"
#include "loop.h"
#include "ops.h"
#include "path.h"
#include "session.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 32, QUEUE_START = 4096 };

struct address {
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
  };
  socklen_t length;
};

// A socket bound to a stream, whichever side opened it.
struct link {
  struct stream stream;
  struct handler socket; // -1 when lost
  bool ours;             // the guest opened the stream: the host ends it
  bool connecting, readable, writable, read_over, write_over;
  uint8_t *queue; // what the socket has not taken yet
  uint32_t queue_at, queue_end, queue_size;
};

static bool read_address(uint32_t stream, const struct fields *f, bool any_port, struct address *a) {
  const char *path = text(f, TAG_PATH), *host = text(f, TAG_HOST);
  uint64_t port = number(f, TAG_PORT, 0);
  memset(a, 0, sizeof *a);
  if (path) {
    if (!path_valid(path) || strlen(path) >= sizeof a->un.sun_path) {
      send_error(stream, "invalid_path", 0, "%.200s: a socket's path is absolute and at most 107 bytes", path);
      return false;
    }
    a->un.sun_family = AF_UNIX;
    strcpy(a->un.sun_path, path);
    a->length = sizeof a->un;
    return true;
  }
  if (port > 65535 || (port == 0 && !any_port)) {
    send_error(stream, "bad_request", 0, "PORT is 1 to 65535");
    return false;
  }
  if (!host || !strcmp(host, "localhost")) host = "127.0.0.1";
  if (inet_pton(AF_INET, host, &a->in.sin_addr) == 1 && ntohl(a->in.sin_addr.s_addr) >> 24 == 127) {
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons((uint16_t)port);
    a->length = sizeof a->in;
    return true;
  }
  if (!strcmp(host, "::1")) {
    a->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_loopback};
    a->length = sizeof a->in6;
    return true;
  }
  send_error(stream, "bad_request", 0, "%.64s: not a loopback address", host);
  return false;
}

static void link_free(struct link *l) {
  loop_close(&l->socket);
  free(l->queue);
  free(l);
}

static void link_close_socket(struct link *l) {
  loop_close(&l->socket);
  free(l->queue);
  l->queue = NULL;
  l->queue_at = l->queue_end = l->queue_size = 0;
}

static void send_read_over(struct link *l) {
  if (l->read_over) return;
  l->read_over = true;
  send_empty(FRAME_EOF, 0, l->stream.id);
}

// Ends the stream, or asks the host to do so when it is the host's part.
static void link_fail(struct link *l, int error) {
  send_read_over(l);
  if (l->ours) {
    send_empty(FRAME_CANCEL, 0, l->stream.id);
    link_close_socket(l);
    l->write_over = true;
    return;
  }
  send_errno(l->stream.id, error, "connection");
  stream_close(&l->stream);
  link_free(l);
}

// True when that ended the stream: both directions are over.
static bool link_check_end(struct link *l) {
  if (!l->read_over || !l->write_over) return false;
  link_close_socket(l);
  if (l->ours) return true; // RESULT is the host's
  send_result(l->stream.id);
  stream_close(&l->stream);
  link_free(l);
  return true;
}

static void link_pump(struct stream *s) {
  struct link *l = container_of(s, struct link, stream);
  while (l->readable && !l->read_over && l->socket.fd >= 0) {
    enum sent sent = stream_send_from(s, 0, l->socket.fd, UINT64_MAX, NULL);
    if (sent == SENT_BLOCKED || sent == SENT_MORE) return;
    if (sent == SENT_FAILED) return link_fail(l, errno);
    if (sent == SENT_DRAINED) {
      // A short read says nothing about an end that has already come.
      l->readable = false;
      uint8_t byte;
      ssize_t n = recv(l->socket.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (n >= 0 || errno != EAGAIN) l->readable = true;
      continue;
    }
    send_read_over(l);
    if (link_check_end(l)) return;
  }
}

// False when the link is gone.
static bool link_flush(struct link *l) {
  while (l->queue_at < l->queue_end && l->socket.fd >= 0) {
    ssize_t n = send(l->socket.fd, l->queue + l->queue_at, l->queue_end - l->queue_at, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) {
      link_fail(l, errno);
      return false;
    }
    l->queue_at += (uint32_t)n;
    stream_consumed(&l->stream, (uint32_t)n);
  }
  l->queue_at = l->queue_end = 0;
  if (!l->stream.in_eof || l->write_over) return true;
  if (l->socket.fd >= 0) shutdown(l->socket.fd, SHUT_WR);
  l->write_over = true;
  bool ours = l->ours, ended = link_check_end(l);
  return ours || !ended;
}

static bool link_queue(struct link *l, const uint8_t *data, uint32_t length) {
  if (l->queue_at > 0) {
    memmove(l->queue, l->queue + l->queue_at, l->queue_end - l->queue_at);
    l->queue_end -= l->queue_at;
    l->queue_at = 0;
  }
  uint32_t size = l->queue_size ? l->queue_size : QUEUE_START;
  while (size < l->queue_end + length) size *= 2;
  uint8_t *grown = size == l->queue_size ? l->queue : realloc(l->queue, size);
  if (!grown) return false;
  l->queue = grown;
  l->queue_size = size;
  memcpy(l->queue + l->queue_end, data, length);
  l->queue_end += length;
  return true;
}

static void link_data(struct stream *s, const uint8_t *data, uint32_t length) {
  struct link *l = container_of(s, struct link, stream);
  if (l->socket.fd < 0) return stream_consumed(s, length);
  ssize_t n = l->connecting || l->queue_end ? 0 : send(l->socket.fd, data, length, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return link_fail(l, errno);
  uint32_t sent = n > 0 ? (uint32_t)n : 0;
  if (sent) stream_consumed(s, sent);
  if (sent < length && !link_queue(l, data + sent, length - sent)) link_fail(l, ENOMEM);
}

static void link_eof(struct stream *s) {
  struct link *l = container_of(s, struct link, stream);
  if (!l->connecting) link_flush(l);
}

static void link_cancel(struct stream *s) {
  struct link *l = container_of(s, struct link, stream);
  send_read_over(l);
  send_error(s->id, "cancelled", 0, "the connection was closed");
  stream_close(s);
  link_free(l);
}

static void link_drop(struct stream *s) { link_free(container_of(s, struct link, stream)); }

static const struct stream_ops link_ops = {.data = link_data,
                                           .eof = link_eof,
                                           .pump = link_pump,
                                           .cancel = link_cancel,
                                           .ended = link_drop,
                                           .drop = link_drop};

static bool link_connected(struct link *l) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(l->socket.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  l->connecting = false;
  if (error) {
    link_fail(l, error);
    return false;
  }
  send_empty(FRAME_EVENT, 0, l->stream.id);
  return true;
}

static void link_ready(struct handler *h, uint32_t events) {
  struct link *l = container_of(h, struct link, socket);
  if (l->connecting && !(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
  if (l->connecting && !link_connected(l)) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) l->readable = true;
  if (events & EPOLLOUT && !link_flush(l)) return;
  link_pump(&l->stream);
}

static bool link_watch(struct link *l, int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // fails on a unix socket, which needs none
  l->socket = (struct handler){.fd = fd, .ready = link_ready};
  return loop_add(&l->socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

void op_connect(uint32_t stream, const struct fields *f) {
  struct address a;
  if (!read_address(stream, f, false, &a)) return;
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return send_errno(stream, errno, "socket");
  if (connect(fd, &a.any, a.length) < 0 && errno != EINPROGRESS) {
    // A full backlog of a unix socket can't be waited for.
    send_errno(stream, errno == EAGAIN || errno == ENOENT ? ECONNREFUSED : errno, "connect");
    close(fd);
    return;
  }
  struct link *l = calloc(1, sizeof *l);
  if (!l || !link_watch(l, fd)) {
    send_errno(stream, ENOMEM, "connect");
    close(fd);
    return free(l);
  }
  l->connecting = true; // also when it is connected: the first event tells
  stream_open(&l->stream, stream, &link_ops);
}

struct listener {
  struct stream stream;
  struct handler socket;
  struct task again;
  char path[108]; // of a unix socket, else empty
};

static void listener_free(struct listener *l) {
  loop_close(&l->socket);
  task_forget(&l->again);
  if (l->path[0]) unlink(l->path);
  free(l);
}

static void accepted(struct listener *listener, int fd) {
  struct link *l = calloc(1, sizeof *l);
  uint32_t id = l ? stream_guest_id() : 0;
  if (!id || !link_watch(l, fd)) {
    close(fd);
    return free(l);
  }
  l->ours = true;
  stream_open(&l->stream, id, &link_ops);
  struct writer w = frame_begin();
  put_u64(&w, TAG_OP, 60);
  put_u64(&w, TAG_LISTENER, listener->stream.id);
  frame_end(&w, FRAME_OPEN, id);
}

static void accept_some(struct listener *l) {
  for (int i = 0; i < ACCEPTS_A_TURN; i++) {
    int fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return;
    accepted(l, fd);
  }
  task_soon(&l->again);
}

static void listener_ready(struct handler *h, uint32_t events) {
  (void)events;
  accept_some(container_of(h, struct listener, socket));
}

static void listener_again(struct task *t) { accept_some(container_of(t, struct listener, again)); }

static void listener_cancel(struct stream *s) {
  send_error(s->id, "cancelled", 0, "the listener was closed");
  stream_close(s);
  listener_free(container_of(s, struct listener, stream));
}

static void listener_drop(struct stream *s) { listener_free(container_of(s, struct listener, stream)); }
static const struct stream_ops listener_ops = {.cancel = listener_cancel, .drop = listener_drop};

// A socket file that nobody listens on, left over from before a restart.
static bool is_stale(const struct address *a) {
  struct stat st;
  if (lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool stale = fd >= 0 && connect(fd, &a->any, a->length) < 0 && errno == ECONNREFUSED;
  if (fd >= 0) close(fd);
  return stale;
}

static int listen_on(const struct address *a, const struct fields *f) {
  int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) return -1;
  bool local = a->any.sa_family == AF_UNIX;
  if (!local) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  bool bound = bind(fd, &a->any, a->length) == 0;
  if (!bound && local && errno == EADDRINUSE && is_stale(a)) {
    unlink(a->un.sun_path);
    bound = bind(fd, &a->any, a->length) == 0;
  }
  // The mode before the socket accepts: nobody gets in who must not.
  if (bound && (!local || chmod(a->un.sun_path, (mode_t)number(f, TAG_MODE, 0600) & 0777) == 0) && listen(fd, 128) == 0)
    return fd;
  int error = errno;
  if (bound && local) unlink(a->un.sun_path);
  close(fd);
  errno = error;
  return -1;
}

static uint64_t bound_port(int fd) {
  struct address a = {.length = sizeof a.in6};
  if (getsockname(fd, &a.any, &a.length) < 0 || a.any.sa_family == AF_UNIX) return 0;
  return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

void op_listen(uint32_t stream, const struct fields *f) {
  struct address a;
  if (!read_address(stream, f, true, &a)) return;
  int fd = listen_on(&a, f);
  if (fd < 0) return send_errno(stream, errno, "listen");
  struct listener *l = calloc(1, sizeof *l);
  if (!l) {
    close(fd);
    return send_errno(stream, ENOMEM, "listen");
  }
  l->socket = (struct handler){.fd = fd, .ready = listener_ready};
  l->again.run = listener_again;
  if (a.any.sa_family == AF_UNIX) strcpy(l->path, a.un.sun_path);
  if (!loop_add(&l->socket, EPOLLIN)) {
    send_errno(stream, errno, "listen");
    return listener_free(l);
  }
  l->stream.background = true;
  stream_open(&l->stream, stream, &listener_ops);
  struct writer w = frame_begin();
  put_u64(&w, TAG_LISTENER, stream);
  if (!l->path[0]) put_u64(&w, TAG_PORT, bound_port(fd));
  frame_end(&w, FRAME_EVENT, stream);
}
