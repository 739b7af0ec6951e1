#include "tlv.h"
#include <string.h>

static const uint8_t kinds[TAG_COUNT] = {
    [TAG_OP] = KIND_U64,           [TAG_VERSION] = KIND_U64,       [TAG_NONCE] = KIND_BYTES,
    [TAG_AGENT] = KIND_TEXT,       [TAG_BOOT_ID] = KIND_TEXT,      [TAG_FEATURES] = KIND_TEXT,
    [TAG_CODE] = KIND_TEXT,        [TAG_MESSAGE] = KIND_TEXT,      [TAG_ERRNO] = KIND_U64,
    [TAG_ARG] = KIND_TEXT,         [TAG_SHELL] = KIND_TEXT,        [TAG_ENV] = KIND_TEXT,
    [TAG_CWD] = KIND_TEXT,         [TAG_USER] = KIND_TEXT,         [TAG_TIMEOUT_MS] = KIND_U64,
    [TAG_PTY] = KIND_U64,          [TAG_ROWS] = KIND_U64,          [TAG_COLS] = KIND_U64,
    [TAG_SIGNAL] = KIND_U64,       [TAG_EXIT_CODE] = KIND_U64,     [TAG_PID] = KIND_U64,
    [TAG_MEMORY_MAX] = KIND_U64,   [TAG_MEMORY_HIGH] = KIND_U64,   [TAG_PIDS_MAX] = KIND_U64,
    [TAG_CPU_PERCENT] = KIND_U64,  [TAG_STDIN] = KIND_U64,         [TAG_LOG_LIMIT] = KIND_U64,
    [TAG_FOLLOW] = KIND_U64,       [TAG_STATE] = KIND_U64,         [TAG_PATH] = KIND_TEXT,
    [TAG_TO] = KIND_TEXT,          [TAG_MODE] = KIND_U64,          [TAG_UID] = KIND_U64,
    [TAG_GID] = KIND_U64,          [TAG_SIZE] = KIND_U64,          [TAG_MTIME_NS] = KIND_I64,
    [TAG_KIND] = KIND_U64,         [TAG_TARGET] = KIND_TEXT,       [TAG_OFFSET] = KIND_U64,
    [TAG_LENGTH] = KIND_U64,       [TAG_RECURSIVE] = KIND_U64,     [TAG_NAME] = KIND_TEXT,
    [TAG_PARENTS] = KIND_U64,      [TAG_OVERWRITE] = KIND_U64,     [TAG_SYNC] = KIND_U64,
    [TAG_WATCH_MASK] = KIND_U64,   [TAG_WATCH_EVENT] = KIND_U64,   [TAG_LIMIT] = KIND_U64,
    [TAG_CURSOR] = KIND_TEXT,      [TAG_HOST] = KIND_TEXT,         [TAG_PORT] = KIND_U64,
    [TAG_LISTENER] = KIND_U64,     [TAG_TIME_NS] = KIND_U64,       [TAG_ENTROPY] = KIND_BYTES,
    [TAG_HOSTNAME] = KIND_TEXT,    [TAG_MACHINE_ID] = KIND_TEXT,   [TAG_DETACH] = KIND_U64,
    [TAG_ELAPSED_NS] = KIND_U64,   [TAG_CPU_USER_US] = KIND_U64,   [TAG_CPU_SYS_US] = KIND_U64,
    [TAG_MEMORY_PEAK] = KIND_U64,  [TAG_OOM_KILLS] = KIND_U64,     [TAG_TIMED_OUT] = KIND_U64,
    [TAG_STARTED_NS] = KIND_U64,   [TAG_LOG_DROPPED] = KIND_U64,   [TAG_THROTTLED_US] = KIND_U64,
    [TAG_RECORD] = KIND_RECORD,    [TAG_MEM_TOTAL] = KIND_U64,     [TAG_MEM_AVAILABLE] = KIND_U64,
    [TAG_PROCS] = KIND_U64,        [TAG_DISK_TOTAL] = KIND_U64,    [TAG_DISK_FREE] = KIND_U64,
    [TAG_FOREGROUND] = KIND_U64,   [TAG_BACKGROUND] = KIND_U64,
};

enum tag_kind tag_kind(uint16_t tag) { return tag < TAG_COUNT ? kinds[tag] : KIND_UNKNOWN; }

// Length of the well-formed UTF-8 sequence at `s` (RFC 3629: no surrogates, no overlong forms), or 0.
static uint32_t utf8_sequence(const uint8_t *s, uint32_t left) {
  uint8_t c = s[0];
  uint32_t n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
  if (n == 0 || n > left) return 0;
  for (uint32_t i = 1; i < n; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F)) return 0;
  if ((c == 0xF0 && s[1] < 0x90) || (c == 0xF4 && s[1] > 0x8F)) return 0;
  return n;
}

bool utf8_valid(const uint8_t *s, uint32_t length) {
  for (uint32_t i = 0; i < length;) {
    uint32_t n = utf8_sequence(s + i, length - i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

static const char *check_value(uint16_t tag, const struct value *v) {
  switch (tag_kind(tag)) {
  case KIND_U64:
  case KIND_I64:
    return v->length == 8 ? NULL : "bad_number";
  case KIND_TEXT:
    return memchr(v->at, 0, v->length) == NULL && utf8_valid(v->at, v->length) ? NULL : "bad_text";
  default:
    return NULL;
  }
}

const char *tlv_next(const uint8_t *payload, uint32_t length, uint32_t *at, uint16_t *tag, struct value *value) {
  if (length - *at < TLV_HEADER) return "bad_tlv";
  *tag = load16(payload + *at);
  value->length = load32(payload + *at + 2);
  *at += TLV_HEADER;
  if (value->length > length - *at) return "bad_tlv";
  value->at = (uint8_t *)payload + *at;
  *at += value->length;
  return check_value(*tag, value);
}

static void remember(struct fields *f, uint16_t tag, const struct value *v) {
  if (tag == TAG_ARG && f->arg_count++ < LIST_MAX) f->args[f->arg_count - 1] = (char *)v->at;
  if (tag == TAG_ENV && f->env_count++ < LIST_MAX) f->envs[f->env_count - 1] = (char *)v->at;
  if (has(f, tag)) return;
  f->first[tag] = *v;
  f->present[tag >> 6] |= 1ULL << (tag & 63);
}

const char *fields_parse(struct fields *f, uint8_t *payload, uint32_t length, bool first_is_op) {
  f->present[0] = f->present[1] = 0;
  f->arg_count = f->env_count = 0;
  uint8_t *terminator = NULL; // where the NUL of the last text goes once the header there was read
  uint32_t at = 0;
  while (at < length) {
    uint16_t tag;
    struct value v;
    bool first = at == 0;
    const char *fault = tlv_next(payload, length, &at, &tag, &v);
    if (fault) return fault;
    if (first && first_is_op && tag != TAG_OP) return "op_missing";
    if (terminator) *terminator = 0;
    enum tag_kind kind = tag_kind(tag);
    terminator = kind == KIND_TEXT ? v.at + v.length : NULL;
    if (kind != KIND_UNKNOWN) remember(f, tag, &v);
  }
  if (terminator) *terminator = 0;
  return length == 0 && first_is_op ? "op_missing" : NULL;
}

static uint8_t *put_header(struct writer *w, enum tag tag, size_t length) {
  if ((size_t)(w->end - w->at) < TLV_HEADER + length) {
    w->full = true;
    return NULL;
  }
  store16(w->at, tag);
  store32(w->at + 2, (uint32_t)length);
  uint8_t *value = w->at + TLV_HEADER;
  w->at = value + length;
  return value;
}

void put_u64(struct writer *w, enum tag tag, uint64_t value) {
  uint8_t *at = put_header(w, tag, 8);
  if (at) store64(at, value);
}

void put_bytes(struct writer *w, enum tag tag, const void *value, size_t length) {
  uint8_t *at = put_header(w, tag, length);
  if (at) memcpy(at, value, length);
}

static void put_repaired(struct writer *w, enum tag tag, const uint8_t *s, uint32_t length) {
  uint8_t *start = put_header(w, tag, 0);
  if (!start) return;
  for (uint32_t i = 0; i < length;) {
    uint32_t n = utf8_sequence(s + i, length - i);
    uint32_t size = n ? n : 3;
    if ((size_t)(w->end - w->at) < size) {
      w->full = true;
      w->at = start - TLV_HEADER;
      return;
    }
    memcpy(w->at, n ? s + i : (const uint8_t *)"\xEF\xBF\xBD", size);
    w->at += size;
    i += n ? n : 1;
  }
  store32(start - 4, (uint32_t)(w->at - start));
}

void put_text(struct writer *w, enum tag tag, const char *value) {
  size_t length = strlen(value);
  if (utf8_valid((const uint8_t *)value, (uint32_t)length)) put_bytes(w, tag, value, length);
  else put_repaired(w, tag, (const uint8_t *)value, (uint32_t)length);
}

uint8_t *record_begin(struct writer *w) {
  uint8_t *record = w->at;
  put_header(w, TAG_RECORD, 0);
  return record;
}

void record_end(struct writer *w, uint8_t *record) {
  if (w->at >= record + TLV_HEADER) store32(record + 2, (uint32_t)(w->at - record - TLV_HEADER));
}
