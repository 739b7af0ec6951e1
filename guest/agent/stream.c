#include "stream.h"
#include "errors.h"
#include "output.h"
#include "session.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUCKETS = 256, CREDIT_PORTION = 65536, GUEST_STREAMS_MAX = 256, MESSAGE_MAX = 1024 };

static struct stream *table[BUCKETS];
static uint32_t open_count, guest_count, background_count, last_guest_id;
static struct stream *run_first, **run_end = &run_first;

static struct stream **bucket(uint32_t id) { return &table[(id >> 1) % BUCKETS]; }

struct stream *stream_find(uint32_t id) {
  struct stream *s = *bucket(id);
  while (s && s->id != id) s = s->next;
  return s;
}

uint32_t streams_open(void) { return open_count; }
uint32_t streams_foreground(void) { return open_count - background_count; }
uint32_t stream_last_guest_id(void) { return last_guest_id; }

uint32_t stream_guest_id(void) {
  if (open_count >= STREAMS_MAX || guest_count >= GUEST_STREAMS_MAX || last_guest_id >= UINT32_MAX - 2) return 0;
  return last_guest_id += 2;
}

void stream_open(struct stream *s, uint32_t id, const struct stream_ops *ops) {
  s->id = id;
  s->ops = ops;
  for (int i = 0; i < CHANNELS; i++) s->out_credit[i] = CREDIT_START;
  s->in_credit = CREDIT_START;
  s->in_consumed = 0;
  s->in_eof = s->running = false;
  s->listed = true;
  s->next = *bucket(id);
  *bucket(id) = s;
  open_count++;
  if (id % 2 == 0) guest_count++;
  if (s->background) background_count++;
}

static void stop_running(struct stream *s) {
  if (!s->running) return;
  s->running = false;
  for (struct stream **link = &run_first; *link; link = &(*link)->run_next) {
    if (*link != s) continue;
    *link = s->run_next;
    if (!*link) run_end = link;
    return;
  }
}

void stream_close(struct stream *s) {
  if (!s->listed) return;
  s->listed = false;
  stop_running(s);
  struct stream **link = bucket(s->id);
  while (*link != s) link = &(*link)->next;
  *link = s->next;
  open_count--;
  if (s->id % 2 == 0) guest_count--;
  if (s->background) background_count--;
}

void streams_drop(void) {
  for (int i = 0; i < BUCKETS; i++) {
    while (table[i]) {
      struct stream *s = table[i];
      stream_close(s);
      s->ops->drop(s);
    }
  }
  last_guest_id = 0;
}

void stream_wait_room(struct stream *s) {
  if (s->running || !s->listed) return;
  s->running = true;
  s->run_next = NULL;
  *run_end = s;
  run_end = &s->run_next;
}

bool streams_waiting(void) { return run_first != NULL; }

void streams_run(void) {
  // One frame each, and no more turns than there is room for, so that requests are answered in between.
  for (int turns = 0; run_first && turns < 16 && output_takes_data(); turns++) {
    struct stream *s = run_first;
    run_first = s->run_next;
    if (!run_first) run_end = &run_first;
    s->running = false;
    if (s->ops->pump) s->ops->pump(s);
  }
}

void stream_consumed(struct stream *s, uint32_t bytes) {
  s->in_consumed += bytes;
  if (s->in_consumed < CREDIT_PORTION || s->in_eof || !s->listed) return;
  uint8_t *at = output_reserve();
  if (!at) return session_lost();
  frame_put_header(at, FRAME_CREDIT, 0, s->id, 4);
  store32(at + FRAME_HEADER, s->in_consumed);
  output_commit(FRAME_HEADER + 4);
  s->in_credit += s->in_consumed;
  s->in_consumed = 0;
}

static uint8_t scratch[FRAME_MAX]; // takes what can no longer be sent when the session is lost

struct writer frame_begin(void) {
  uint8_t *at = output_reserve();
  if (!at) {
    session_lost();
    at = scratch;
  }
  return (struct writer){.start = at, .at = at + FRAME_HEADER, .end = at + FRAME_MAX};
}

void frame_end(struct writer *w, uint8_t type, uint32_t stream) {
  if (w->start == scratch) return;
  size_t size = (size_t)(w->at - w->start);
  frame_put_header(w->start, type, 0, stream, (uint32_t)(size - FRAME_HEADER));
  output_commit(size);
}

void send_empty(uint8_t type, uint8_t channel, uint32_t stream) {
  uint8_t *at = output_reserve();
  if (!at) return session_lost();
  frame_put_header(at, type, channel, stream, 0);
  output_commit(FRAME_HEADER);
}

void send_result(uint32_t stream) { send_empty(FRAME_RESULT, 0, stream); }

static void send_error_list(uint32_t stream, const char *code, int error, const char *format, va_list list) {
  char message[MESSAGE_MAX];
  int length = vsnprintf(message, sizeof message, format, list);
  // A cut must not leave half a character.
  if (length >= MESSAGE_MAX)
    for (int i = MESSAGE_MAX - 2; i > 0 && (message[i] & 0x80); i--) message[i] = 0;
  struct writer w = frame_begin();
  put_text(&w, TAG_CODE, code);
  put_text(&w, TAG_MESSAGE, message);
  if (error) put_u64(&w, TAG_ERRNO, (uint64_t)error);
  frame_end(&w, FRAME_ERROR, stream);
}

void send_error(uint32_t stream, const char *code, int error, const char *format, ...) {
  va_list list;
  va_start(list, format);
  send_error_list(stream, code, error, format, list);
  va_end(list);
}

void send_errno(uint32_t stream, int error, const char *format, ...) {
  char what[MESSAGE_MAX];
  va_list list;
  va_start(list, format);
  vsnprintf(what, sizeof what - 64, format, list);
  va_end(list);
  send_error(stream, error_code(error), error, "%s: %s", what, strerror(error));
}

uint32_t stream_can_send(struct stream *s, uint8_t channel) {
  uint32_t credit = s->out_credit[channel];
  if (credit == 0) return 0;
  if (!output_takes_data()) {
    stream_wait_room(s);
    return 0;
  }
  return credit < FRAME_PAYLOAD_MAX ? credit : FRAME_PAYLOAD_MAX;
}

uint8_t *stream_data_begin(void) {
  uint8_t *at = output_reserve(); // cannot fail: stream_can_send saw room
  return at ? at + FRAME_HEADER : scratch;
}

void stream_data_end(struct stream *s, uint8_t channel, uint32_t length) {
  uint8_t *at = output_reserve();
  if (!at || length == 0) return;
  frame_put_header(at, FRAME_DATA, channel, s->id, length);
  output_commit(FRAME_HEADER + length);
  s->out_credit[channel] -= length;
}

enum sent stream_send_from(struct stream *s, uint8_t channel, int fd, uint64_t most, uint64_t *count) {
  uint32_t want = stream_can_send(s, channel);
  if (want == 0) return SENT_BLOCKED;
  if (want > most) want = (uint32_t)most;
  ssize_t n;
  do n = read(fd, stream_data_begin(), want);
  while (n < 0 && errno == EINTR);
  if (n == 0) return SENT_EOF;
  if (n < 0) return errno == EAGAIN ? SENT_DRAINED : SENT_FAILED;
  stream_data_end(s, channel, (uint32_t)n);
  if (count) *count += (uint64_t)n;
  if ((uint32_t)n < want) return SENT_DRAINED;
  stream_wait_room(s);
  return SENT_MORE;
}
