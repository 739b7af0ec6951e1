#include "frame.h"

bool frame_has_fields(uint8_t type) {
  return type == FRAME_HELLO || type == FRAME_OPEN || (type >= FRAME_CTL && type <= FRAME_ERROR);
}

bool frame_has_op(uint8_t type) { return type == FRAME_OPEN || type == FRAME_CTL; }

static bool takes_channel(uint8_t type) { return type >= FRAME_DATA && type <= FRAME_CREDIT; }

static bool length_fits(uint8_t type, uint32_t length) {
  switch (type) {
  case FRAME_DATA:
    return length >= 1;
  case FRAME_EOF:
  case FRAME_CANCEL:
    return length == 0;
  case FRAME_CREDIT:
    return length == 4;
  default:
    return true;
  }
}

const char *frame_parse(struct frame *f, const uint8_t *header) {
  if (header[0] != FRAME_MARKER) return "bad_marker";
  f->type = header[1];
  f->channel = header[2];
  f->stream = load32(header + 4);
  f->length = load32(header + 8);
  if (f->type < FRAME_HELLO || f->type > FRAME_CANCEL) return "bad_type";
  if (header[3] != 0) return "bad_flags";
  if (f->channel >= CHANNELS || (f->channel != 0 && !takes_channel(f->type))) return "bad_channel";
  // ERROR on stream 0 speaks of the session itself.
  if (f->type == FRAME_HELLO ? f->stream != 0 : f->stream == 0 && f->type != FRAME_ERROR) return "bad_stream";
  if (f->length > FRAME_PAYLOAD_MAX || !length_fits(f->type, f->length)) return "bad_length";
  return NULL;
}

void frame_put_header(uint8_t *at, uint8_t type, uint8_t channel, uint32_t stream, uint32_t length) {
  at[0] = FRAME_MARKER;
  at[1] = type;
  at[2] = channel;
  at[3] = 0;
  store32(at + 4, stream);
  store32(at + 8, length);
}
