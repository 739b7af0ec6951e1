#include "ring.h"
#include "frame.h"
#include <stdlib.h>
#include <string.h>

enum { ENTRY_HEADER = 5, ENTRY_MOST = 16384 };

bool ring_open(struct ring *r, uint32_t size) {
  // The memory is taken page by page as output comes.
  *r = (struct ring){.data = malloc(size), .size = size, .entry_max = size / 8 < ENTRY_MOST ? size / 8 : ENTRY_MOST};
  return r->data != NULL;
}

void ring_close(struct ring *r) {
  free(r->data);
  r->data = NULL;
}

static void copy_in(struct ring *r, uint64_t at, const uint8_t *from, uint32_t length) {
  uint32_t start = (uint32_t)(at % r->size), first = r->size - start < length ? r->size - start : length;
  memcpy(r->data + start, from, first);
  memcpy(r->data, from + first, length - first);
}

static void copy_out(const struct ring *r, uint64_t at, uint8_t *to, uint32_t length) {
  uint32_t start = (uint32_t)(at % r->size), first = r->size - start < length ? r->size - start : length;
  memcpy(to, r->data + start, first);
  memcpy(to + first, r->data, length - first);
}

static uint32_t entry_read(const struct ring *r, uint64_t at, uint8_t *channel) {
  uint8_t header[ENTRY_HEADER];
  copy_out(r, at, header, ENTRY_HEADER);
  *channel = header[0];
  return load32(header + 1);
}

static void entry_write(struct ring *r, uint64_t at, uint8_t channel, uint32_t length) {
  uint8_t header[ENTRY_HEADER] = {channel};
  store32(header + 1, length);
  copy_in(r, at, header, ENTRY_HEADER);
}

// An entry is at most an eighth of the ring, so the newest never has to go.
static void make_room(struct ring *r, uint32_t need) {
  while (r->tail - r->head + need > r->size) {
    uint8_t channel;
    uint32_t length = entry_read(r, r->head, &channel);
    r->head += ENTRY_HEADER + length;
    r->kept -= length;
    r->dropped += length;
  }
}

void ring_append(struct ring *r, uint8_t channel, const uint8_t *data, uint32_t length) {
  while (length > 0) {
    uint8_t newest = 0;
    uint32_t filled = r->tail > r->head ? entry_read(r, r->last, &newest) : 0;
    bool extend = newest == channel && filled < r->entry_max;
    uint32_t most = r->entry_max - (extend ? filled : 0), piece = length < most ? length : most;
    make_room(r, piece + (extend ? 0 : ENTRY_HEADER));
    if (!extend) {
      r->last = r->tail;
      r->tail += ENTRY_HEADER;
      filled = 0;
    }
    entry_write(r, r->last, channel, filled + piece);
    copy_in(r, r->tail, data, piece);
    r->tail += piece;
    r->kept += piece;
    data += piece;
    length -= piece;
  }
}

struct ring_cursor ring_tail(const struct ring *r, uint64_t most) {
  struct ring_cursor c = {.entry = r->head};
  uint64_t skip = r->kept > most ? r->kept - most : 0;
  while (skip > 0) {
    uint8_t channel;
    uint32_t length = entry_read(r, c.entry, &channel);
    if (length > skip || c.entry == r->last) {
      c.offset = (uint32_t)skip;
      break;
    }
    skip -= length;
    c.entry += ENTRY_HEADER + length;
  }
  return c;
}

uint32_t ring_next(const struct ring *r, struct ring_cursor *c, uint8_t *channel) {
  if (c->entry < r->head) *c = (struct ring_cursor){.entry = r->head};
  while (c->entry < r->tail) {
    uint32_t length = entry_read(r, c->entry, channel);
    if (c->offset < length) return length - c->offset;
    if (c->entry == r->last) return 0; // it may still grow
    *c = (struct ring_cursor){.entry = c->entry + ENTRY_HEADER + length};
  }
  return 0;
}

void ring_read(const struct ring *r, struct ring_cursor *c, uint8_t *to, uint32_t length) {
  copy_out(r, c->entry + ENTRY_HEADER + c->offset, to, length);
  c->offset += length;
}
