// Streams: the table of those that are open, their credit, and frames sent on them.
#pragma once
#include "tlv.h"

struct stream;

// What an operation does with its stream; what is NULL is ignored (data is then taken and dropped).
struct stream_ops {
  // Takes all of `data`: it calls stream_consumed now or when it got rid of the bytes.
  void (*data)(struct stream *, const uint8_t *data, uint32_t length);
  void (*eof)(struct stream *);
  // Credit or room for output has come.
  void (*pump)(struct stream *);
  void (*control)(struct stream *, const struct fields *);
  void (*cancel)(struct stream *);
  // The host ended a stream that the guest opened.
  void (*ended)(struct stream *);
  // The session is over: release everything, send nothing.
  void (*drop)(struct stream *);
};

struct stream {
  uint32_t id;
  const struct stream_ops *ops;
  struct stream *next;              // in its bucket of the table
  struct stream *run_next;          // in the queue of those that wait for room
  uint32_t out_credit[CHANNELS];
  uint32_t in_credit, in_consumed;
  bool in_eof, running, listed, background; // background: does not count as foreground for FREEZE
};

struct stream *stream_find(uint32_t id);
uint32_t streams_open(void);
uint32_t streams_foreground(void);
void stream_open(struct stream *s, uint32_t id, const struct stream_ops *ops);
// Takes it out of the table; frames for it are ignored from now on.
void stream_close(struct stream *s);
// Id for a stream that the guest opens, or 0 when there may be no more.
uint32_t stream_guest_id(void);
uint32_t stream_last_guest_id(void);
void streams_drop(void);

// Calls ops->pump as soon as there is room for output (in a later turn, behind the others that wait).
void stream_wait_room(struct stream *s);
bool streams_waiting(void);
void streams_run(void);

// Returns credit to the host once enough has been consumed.
void stream_consumed(struct stream *s, uint32_t bytes);

struct writer frame_begin(void);
void frame_end(struct writer *w, uint8_t type, uint32_t stream);
void send_empty(uint8_t type, uint8_t channel, uint32_t stream);
void send_error(uint32_t stream, const char *code, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// ERROR with the code that fits errno.
void send_errno(uint32_t stream, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void send_result(uint32_t stream);

// How many bytes of DATA may be sent now; 0 when credit or room is missing: pump is called when that changes.
uint32_t stream_can_send(struct stream *s, uint8_t channel);
// Where the payload of the next DATA frame goes, then its size.
uint8_t *stream_data_begin(void);
void stream_data_end(struct stream *s, uint8_t channel, uint32_t length);

enum sent { SENT_BLOCKED, SENT_DRAINED, SENT_MORE, SENT_EOF, SENT_FAILED };
// Reads at most `most` bytes of `fd` into one DATA frame. DRAINED: nothing left now; MORE: pump will be called again;
// FAILED: errno is set. `*count` is increased by what was sent.
enum sent stream_send_from(struct stream *s, uint8_t channel, int fd, uint64_t most, uint64_t *count);
