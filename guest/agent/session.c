#include "session.h"
#include "ops.h"
#include "output.h"
#include "restore.h"
#include "stream.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT_SIZE = 2 * FRAME_MAX, RESYNC_ZEROS = 12, HELLO_MAX = 1024, LINGER_MS = 5, READS_A_TURN = 16 };
enum { FEATURES_MAX = 16, NONCE_SIZE = 16 };

// FRESH: waits for HELLO. DEAD: after a violation, looks for HELLO behind zeros.
static enum { FRESH, OPEN, DEAD } state;
static struct handler port = {.fd = -1};
static struct handler acceptor = {.fd = -1};
static bool lasting, readable, blocked, lost, unanswered;
static uint8_t input[INPUT_SIZE + 1]; // one more: fields_parse terminates the last text behind the payload
static size_t head, tail;
static uint32_t zeros, last_host_id;
static size_t lingering;
static struct timer linger_timer;
static struct fields fields;
static const char *features[FEATURES_MAX];
static int feature_count;

const char *agent_version = "holdfast-agent/1";

void session_feature(const char *name) {
  if (feature_count < FEATURES_MAX) features[feature_count++] = name;
}

void session_lost(void) { lost = true; }

static void reset(void) {
  streams_drop();
  restore_unheard();
  output_reset();
  last_host_id = 0;
  lingering = 0;
  lost = unanswered = false;
  timer_clear(&linger_timer);
}

static const char *boot_id(void) {
  static char id[40];
  if (id[0]) return id;
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, id, 36);
  if (fd >= 0) close(fd);
  if (n < 36) strcpy(id, "unknown");
  return id;
}

static bool hello_complete(const uint8_t *payload, uint32_t length) {
  bool version = false, nonce = false;
  for (uint32_t at = 0; at < length;) {
    uint16_t tag;
    struct value v;
    if (tlv_next(payload, length, &at, &tag, &v)) return false;
    version |= tag == TAG_VERSION;
    nonce |= tag == TAG_NONCE && v.length == NONCE_SIZE;
  }
  return version && nonce;
}

static const char *hello(uint8_t *payload, uint32_t length) {
  if (!hello_complete(payload, length)) return "bad_hello";
  const char *fault = fields_parse(&fields, payload, length, false);
  if (fault) return fault;
  if (fields.first[TAG_NONCE].length != NONCE_SIZE) return "bad_hello";
  reset();
  if (number(&fields, TAG_VERSION, 0) != PROTOCOL_VERSION) {
    state = FRESH;
    send_error(0, "version_mismatch", 0, "the agent speaks version %d", PROTOCOL_VERSION);
    return NULL;
  }
  state = OPEN;
  struct writer w = frame_begin();
  put_u64(&w, TAG_VERSION, PROTOCOL_VERSION);
  put_bytes(&w, TAG_NONCE, fields.first[TAG_NONCE].at, NONCE_SIZE);
  put_text(&w, TAG_AGENT, agent_version);
  put_text(&w, TAG_BOOT_ID, boot_id());
  for (int i = 0; i < feature_count; i++) put_text(&w, TAG_FEATURES, features[i]);
  frame_end(&w, FRAME_HELLO, 0);
  unanswered = lasting;
  return NULL;
}

static const char *open_stream(const struct frame *f, uint8_t *payload) {
  if (f->stream % 2 == 0 || f->stream <= last_host_id) return "bad_stream_id";
  last_host_id = f->stream;
  const char *fault = fields_parse(&fields, payload, f->length, true);
  if (fault) return fault;
  op_dispatch(f->stream, &fields);
  return NULL;
}

static const char *take_data(struct stream *s, const struct frame *f, const uint8_t *payload) {
  if (f->channel != 0) return "bad_channel";
  if (s->in_eof) return "data_after_eof";
  if (f->length > s->in_credit) return "credit_exceeded";
  s->in_credit -= f->length;
  if (s->ops->data) s->ops->data(s, payload, f->length);
  else stream_consumed(s, f->length);
  return NULL;
}

static const char *take_eof(struct stream *s, const struct frame *f) {
  if (f->channel != 0) return "bad_channel";
  if (s->in_eof) return "data_after_eof";
  s->in_eof = true;
  if (s->ops->eof) s->ops->eof(s);
  return NULL;
}

static const char *take_credit(struct stream *s, const struct frame *f, const uint8_t *payload) {
  uint32_t amount = load32(payload);
  if (amount == 0 || amount > CREDIT_MAX - s->out_credit[f->channel]) return "bad_credit";
  s->out_credit[f->channel] += amount;
  if (s->ops->pump) s->ops->pump(s);
  return NULL;
}

static const char *take_control(struct stream *s, const struct frame *f, uint8_t *payload) {
  const char *fault = fields_parse(&fields, payload, f->length, true);
  if (fault) return fault;
  if (s->ops->control) s->ops->control(s, &fields);
  return NULL;
}

// Of the two sides only the opener sends CTL and CANCEL, and only the other EVENT, RESULT and ERROR.
static bool direction_fits(const struct frame *f) {
  bool ours = f->stream % 2 == 0;
  if (f->type == FRAME_CTL || f->type == FRAME_CANCEL) return !ours;
  if (f->type >= FRAME_EVENT && f->type <= FRAME_ERROR) return ours;
  return true;
}

static const char *stream_frame(const struct frame *f, uint8_t *payload) {
  if (f->stream == 0) return "bad_stream";
  if (!direction_fits(f)) return "bad_direction";
  if (f->stream > (f->stream % 2 ? last_host_id : stream_last_guest_id())) return "unknown_stream";
  struct stream *s = stream_find(f->stream);
  if (!s) return NULL;
  switch (f->type) {
  case FRAME_DATA:
    return take_data(s, f, payload);
  case FRAME_EOF:
    return take_eof(s, f);
  case FRAME_CREDIT:
    return take_credit(s, f, payload);
  case FRAME_CTL:
    return take_control(s, f, payload);
  case FRAME_CANCEL:
    if (s->ops->cancel) s->ops->cancel(s);
    return NULL;
  case FRAME_RESULT:
  case FRAME_ERROR:
    stream_close(s);
    s->ops->ended(s);
    return NULL;
  default:
    return NULL;
  }
}

static const char *take_frame(const struct frame *f, uint8_t *payload) {
  if (f->type == FRAME_HELLO) return hello(payload, f->length);
  if (state != OPEN) return "hello_missing";
  if (f->type == FRAME_OPEN) return open_stream(f, payload);
  return stream_frame(f, payload);
}

// Hands a frame over. fields_parse terminates the last text behind the payload, where the next frame may begin.
static const char *deliver(const struct frame *f, uint8_t *payload) {
#ifdef __SANITIZE_ADDRESS__
  // In a block of its own, so that a step beyond the payload is noticed.
  uint8_t *copy = malloc(f->length + 1);
  memcpy(copy, payload, f->length);
  const char *fault = take_frame(f, copy);
  free(copy);
#else
  uint8_t behind = payload[f->length];
  const char *fault = take_frame(f, payload);
  payload[f->length] = behind;
#endif
  return fault;
}

static void violation(const char *fault) {
  reset();
  state = DEAD;
  zeros = 0;
  send_error(0, "bad_request", 0, "protocol error: %s", fault);
}

// Looks for a HELLO behind at least RESYNC_ZEROS zeros. True when `head` is at one; false when more bytes are needed.
static bool resync(void) {
  for (; head < tail; head++) {
    const uint8_t *at = input + head;
    if (*at == 0) {
      zeros++;
      continue;
    }
    if (*at == FRAME_MARKER && zeros >= RESYNC_ZEROS) {
      struct frame f;
      if (tail - head < FRAME_HEADER) return false;
      if (!frame_parse(&f, at) && f.type == FRAME_HELLO && f.length <= HELLO_MAX) {
        if (tail - head < FRAME_HEADER + f.length) return false;
        if (hello_complete(at + FRAME_HEADER, f.length)) return true;
      }
    }
    zeros = 0;
  }
  return false;
}

static void parse(void) {
  while (head < tail && output_takes_input() && !lost) {
    if (state == DEAD) {
      if (!resync()) break;
      state = FRESH;
    }
    if (input[head] == 0) {
      head++;
      continue;
    }
    struct frame f;
    size_t left = tail - head;
    const char *fault = input[head] == FRAME_MARKER ? NULL : "bad_marker";
    if (!fault && left < FRAME_HEADER) break;
    if (!fault) fault = frame_parse(&f, input + head);
    if (!fault && left < FRAME_HEADER + f.length) break;
    if (!fault) {
      uint8_t *payload = input + head + FRAME_HEADER;
      head += FRAME_HEADER + f.length;
      fault = deliver(&f, payload);
    }
    if (fault) violation(fault);
  }
  if (head == tail) head = tail = 0;
  if (head > 0 && INPUT_SIZE - tail < FRAME_MAX) {
    memmove(input, input + head, tail - head);
    tail -= head;
    head = 0;
  }
}

static void try_accept(void);

static void host_away(void) {
  // A machine that is taken over hears of the end of its host and of the next one's beginning late and apart. When the next one has
  // spoken already, and still waits for its answer, this is not its end.
  if (unanswered) {
    readable = false;
    return;
  }
  reset();
  state = FRESH;
  head = tail = 0;
  readable = blocked = false;
  if (lasting) return;
  loop_close(&port);
  if (acceptor.fd < 0) loop_stop();
  else try_accept();
}

static void read_port(void) {
  for (int reads = 0; readable && reads < READS_A_TURN && output_takes_input() && tail < INPUT_SIZE; reads++) {
    ssize_t n = read(port.fd, input + tail, INPUT_SIZE - tail);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      readable = false;
      return;
    }
    if (n <= 0) return host_away();
    tail += (size_t)n;
    parse();
  }
}

static void port_ready(struct handler *h, uint32_t events) {
  (void)h;
  if (events & EPOLLOUT && blocked) {
    blocked = false;
    loop_watch(&port, EPOLLIN | EPOLLRDHUP);
  }
  if (events & (EPOLLHUP | EPOLLERR)) {
    // Nobody reads any more: what waits must not keep the next session's HELLO from being read.
    if (!output_takes_input()) reset();
    readable = true;
  }
  if (events & (EPOLLIN | EPOLLRDHUP)) readable = true;
  read_port();
}

void session_serve(int fd, bool is_lasting) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  port = (struct handler){.fd = fd, .ready = port_ready};
  lasting = is_lasting;
  state = FRESH;
  readable = blocked = false;
  loop_add(&port, EPOLLIN | EPOLLRDHUP);
}

static void try_accept(void) {
  if (port.fd >= 0) return;
  int fd = accept4(acceptor.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) session_serve(fd, false);
}

static void acceptor_ready(struct handler *h, uint32_t events) {
  (void)h;
  (void)events;
  try_accept();
}

bool session_listen(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return false;
  strcpy(address.sun_path, path);
  acceptor = (struct handler){
      .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .ready = acceptor_ready};
  unlink(path);
  return acceptor.fd >= 0 && bind(acceptor.fd, (struct sockaddr *)&address, sizeof address) == 0 &&
         listen(acceptor.fd, 8) == 0 && loop_add(&acceptor, EPOLLIN);
}

static void linger_over(struct timer *t) {
  (void)t;
  lingering = 0;
}

bool session_quiet(void) { return output_used() == lingering; }

void session_linger(void) {
  lingering = output_used();
  linger_timer.fire = linger_over;
  if (!linger_timer.link) timer_set(&linger_timer, LINGER_MS);
}

static void flush(void) {
  if (blocked || port.fd < 0 || output_used() == 0 || output_used() == lingering) return;
  lingering = 0;
  timer_clear(&linger_timer);
  if (!output_flush(port.fd)) {
    output_reset(); // the port says why when it is read
    readable = true;
  }
  blocked = output_used() > 0;
  if (!blocked) unanswered = false;
  // Only now: otherwise each write that was taken would wake the agent.
  if (blocked) loop_watch(&port, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
}

bool session_poll(void) {
  if (output_used() > 0 || tail == INPUT_SIZE) return true;
  ssize_t n = read(port.fd, input + tail, INPUT_SIZE - tail);
  if (n > 0) {
    tail += (size_t)n;
    parse();
    flush();
    readable = true; // more may have come: look before waiting for an event
  } else if (n == 0) host_away();
  return n >= 0;
}

void session_turn(void) {
  if (lost) {
    reset();
    state = DEAD;
  }
  flush();
  if (streams_waiting()) {
    streams_run();
    flush();
  }
  if (head < tail) parse();
  read_port();
  flush();
}

bool session_can_continue(void) {
  if (lost) return true;
  if (readable && output_takes_input() && port.fd >= 0) return true;
  return streams_waiting() && output_takes_data();
}

void session_drain(void) {
  lingering = 0;
  for (int tries = 0; tries < 10 && port.fd >= 0 && output_used() > 0; tries++) {
    struct pollfd p = {.fd = port.fd, .events = POLLOUT};
    poll(&p, 1, 100);
    blocked = false;
    flush();
  }
}
