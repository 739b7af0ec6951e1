#include "decode.h"
#include "tlv.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 4 * FRAME_MAX };

static void print_hex(const uint8_t *bytes, uint32_t length) {
  putchar('"');
  for (uint32_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  putchar('"');
}

static void print_text(const uint8_t *s, uint32_t length) {
  putchar('"');
  for (uint32_t i = 0; i < length; i++) {
    if (s[i] == '"' || s[i] == '\\') printf("\\%c", s[i]);
    else if (s[i] < 0x20) printf("\\u%04x", s[i]);
    else putchar(s[i]);
  }
  putchar('"');
}

// In a first pass only checks, so that nothing is printed of a frame that is at fault.
static const char *walk(const uint8_t *payload, uint32_t length, bool needs_op, bool nested, bool print) {
  bool first = true, comma = false;
  for (uint32_t at = 0; at < length; first = false) {
    uint16_t tag;
    struct value v;
    const char *fault = tlv_next(payload, length, &at, &tag, &v);
    if (!fault && first && needs_op && tag != TAG_OP) fault = "op_missing";
    enum tag_kind kind = tag_kind(tag);
    if (!fault && kind == KIND_RECORD && !nested) fault = walk(v.at, v.length, false, true, false);
    if (fault) return fault;
    if (!print || kind == KIND_UNKNOWN) continue;
    if (kind == KIND_RECORD && nested) kind = KIND_BYTES;
    static const char *const names[] = {"", "u64", "i64", "text", "bytes", "record"};
    printf("%s[%u,\"%s\",", comma ? "," : "", tag, names[kind]);
    comma = true;
    if (kind == KIND_U64) printf("\"%" PRIu64 "\"", load64(v.at));
    else if (kind == KIND_I64) printf("\"%" PRId64 "\"", (int64_t)load64(v.at));
    else if (kind == KIND_TEXT) print_text(v.at, v.length);
    else if (kind == KIND_BYTES) print_hex(v.at, v.length);
    else {
      putchar('[');
      walk(v.at, v.length, false, true, true);
      putchar(']');
    }
    putchar(']');
  }
  return length == 0 && needs_op ? "op_missing" : NULL;
}

static const char *check(const uint8_t *bytes, size_t length, struct frame *f) {
  const char *fault;
  if (length == 0) return "truncated";
  if (bytes[0] != FRAME_MARKER) return "bad_marker";
  if (length < FRAME_HEADER) return "truncated";
  if ((fault = frame_parse(f, bytes))) return fault;
  if (length < FRAME_HEADER + (size_t)f->length) return "truncated";
  if (length > FRAME_HEADER + (size_t)f->length) return "trailing_bytes";
  const uint8_t *payload = bytes + FRAME_HEADER;
  if (f->type == FRAME_CREDIT && (load32(payload) == 0 || load32(payload) > CREDIT_MAX)) return "bad_credit";
  if (!frame_has_fields(f->type)) return NULL;
  return walk(payload, f->length, frame_has_op(f->type), false, false);
}

static void print_frame(const uint8_t *bytes, size_t length) {
  struct frame f;
  while (length > 0 && *bytes == 0) bytes++, length--;
  const char *fault = check(bytes, length, &f);
  if (fault) {
    printf("{\"error\":\"%s\"}\n", fault);
    return;
  }
  const uint8_t *payload = bytes + FRAME_HEADER;
  printf("{\"frame\":{\"type\":%u,\"channel\":%u,\"stream\":%u,\"fields\":[", f.type, f.channel, f.stream);
  if (f.type == FRAME_CREDIT) printf("[0,\"u64\",\"%u\"]", load32(payload));
  else if (f.type == FRAME_DATA) {
    printf("[0,\"bytes\",");
    print_hex(payload, f.length);
    putchar(']');
  } else if (frame_has_fields(f.type)) walk(payload, f.length, false, false, true);
  printf("]}}\n");
}

static int hex_digit(char c) { return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10; }

int decode_lines(void) {
  char *line = NULL;
  size_t size = 0;
  uint8_t *bytes = malloc(INPUT_MAX);
  ssize_t n;
  while (bytes && (n = getline(&line, &size, stdin)) >= 0) {
    size_t length = strspn(line, "0123456789abcdefABCDEF") / 2;
    if (length > INPUT_MAX) length = INPUT_MAX;
    for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)(hex_digit(line[2 * i]) << 4 | hex_digit(line[2 * i + 1]));
    print_frame(bytes, length);
  }
  free(line);
  free(bytes);
  return 0;
}
