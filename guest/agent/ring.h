// The last bytes of two outputs, in the order written. Entries of one output each; the oldest make way as a whole.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct ring {
  uint8_t *data;
  uint32_t size, entry_max;
  uint64_t head, tail, last; // positions since the beginning; `last` is where the newest entry starts
  uint64_t kept, dropped;    // bytes of output
};

// A reader's place. Entries that it had not read when they made way are skipped.
struct ring_cursor {
  uint64_t entry;
  uint32_t offset;
};

bool ring_open(struct ring *r, uint32_t size);
void ring_close(struct ring *r);
void ring_append(struct ring *r, uint8_t channel, const uint8_t *data, uint32_t length);

// A place with at most `most` bytes of output before the end.
struct ring_cursor ring_tail(const struct ring *r, uint64_t most);
// How many bytes of one output can be read next; 0 at the end. Moves the cursor past what is used up or gone.
uint32_t ring_next(const struct ring *r, struct ring_cursor *c, uint8_t *channel);
// Copies `length` of them, at most what ring_next returned.
void ring_read(const struct ring *r, struct ring_cursor *c, uint8_t *to, uint32_t length);
