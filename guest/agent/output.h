// What waits to be written to the host. Bounded: DATA and EVENT floods stop at OUTPUT_DATA_MAX, reading from the host
// stops at OUTPUT_INPUT_MAX, and what can still come by itself (a few small frames a stream) fits the rest.
#pragma once
#include "tlv.h"

enum { OUTPUT_SIZE = 1 << 20, OUTPUT_DATA_MAX = 128 << 10, OUTPUT_INPUT_MAX = 256 << 10 };

void output_reset(void);
size_t output_used(void);
static inline bool output_takes_data(void) { return output_used() < OUTPUT_DATA_MAX; }
static inline bool output_takes_input(void) { return output_used() < OUTPUT_INPUT_MAX; }

// Space for one frame of any size, or NULL when the host has let the buffer fill up: the session is lost then.
uint8_t *output_reserve(void);
void output_commit(size_t size);

// Writes what the descriptor takes. False when the other side is gone.
bool output_flush(int fd);
