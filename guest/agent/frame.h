// Frames of guest/protocol.md: the 12-byte header and what may be said of a frame without knowing its stream.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FRAME_MARKER = 0xA5,
  FRAME_HEADER = 12,
  FRAME_PAYLOAD_MAX = 65536,
  FRAME_MAX = FRAME_HEADER + FRAME_PAYLOAD_MAX,
  CHANNELS = 3,
  CREDIT_START = 262144,
  CREDIT_MAX = 16777216,
  STREAMS_MAX = 1024,
  PROTOCOL_VERSION = 1,
};

enum frame_type {
  FRAME_HELLO = 1,
  FRAME_OPEN,
  FRAME_DATA,
  FRAME_EOF,
  FRAME_CREDIT,
  FRAME_CTL,
  FRAME_EVENT,
  FRAME_RESULT,
  FRAME_ERROR,
  FRAME_CANCEL,
};

struct frame {
  uint8_t type;
  uint8_t channel;
  uint32_t stream;
  uint32_t length;
};

static inline uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t load32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t load64(const uint8_t *p) { return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32; }
static inline void store16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static inline void store32(uint8_t *p, uint32_t v) {
  store16(p, (uint16_t)v);
  store16(p + 2, (uint16_t)(v >> 16));
}
static inline void store64(uint8_t *p, uint64_t v) {
  store32(p, (uint32_t)v);
  store32(p + 4, (uint32_t)(v >> 32));
}

// Reads FRAME_HEADER bytes. Returns NULL, or the name of the fault (protocol.md, "Golden frames").
const char *frame_parse(struct frame *f, const uint8_t *header);

// True for the types whose payload is TLVs.
bool frame_has_fields(uint8_t type);

// True for the types whose first TLV must be OP.
bool frame_has_op(uint8_t type);

void frame_put_header(uint8_t *at, uint8_t type, uint8_t channel, uint32_t stream, uint32_t length);
