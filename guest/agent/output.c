#include "output.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static uint8_t buffer[OUTPUT_SIZE];
static size_t head, tail;

void output_reset(void) { head = tail = 0; }
size_t output_used(void) { return tail - head; }

uint8_t *output_reserve(void) {
  if (OUTPUT_SIZE - tail < FRAME_MAX && head > 0) {
    memmove(buffer, buffer + head, tail - head);
    tail -= head;
    head = 0;
  }
  return OUTPUT_SIZE - tail < FRAME_MAX ? NULL : buffer + tail;
}

void output_commit(size_t size) { tail += size; }

bool output_flush(int fd) {
  while (head < tail) {
    ssize_t n = write(fd, buffer + head, tail - head);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    head += (size_t)n;
  }
  head = tail = 0; // small answers touch the same few pages again and again
  return true;
}
