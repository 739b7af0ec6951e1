// TLV fields: the one table of tags, a parser for requests and a writer for answers.
#pragma once
#include "frame.h"

enum tag {
  TAG_OP = 1,
  TAG_VERSION,
  TAG_NONCE,
  TAG_AGENT,
  TAG_BOOT_ID,
  TAG_FEATURES,
  TAG_CODE,
  TAG_MESSAGE,
  TAG_ERRNO,
  TAG_ARG,
  TAG_SHELL,
  TAG_ENV,
  TAG_CWD,
  TAG_USER,
  TAG_TIMEOUT_MS,
  TAG_PTY,
  TAG_ROWS,
  TAG_COLS,
  TAG_SIGNAL,
  TAG_EXIT_CODE,
  TAG_PID,
  TAG_MEMORY_MAX,
  TAG_MEMORY_HIGH,
  TAG_PIDS_MAX,
  TAG_CPU_PERCENT,
  TAG_STDIN,
  TAG_LOG_LIMIT,
  TAG_FOLLOW,
  TAG_STATE,
  TAG_PATH,
  TAG_TO,
  TAG_MODE,
  TAG_UID,
  TAG_GID,
  TAG_SIZE,
  TAG_MTIME_NS,
  TAG_KIND,
  TAG_TARGET,
  TAG_OFFSET,
  TAG_LENGTH,
  TAG_RECURSIVE,
  TAG_NAME,
  TAG_PARENTS,
  TAG_OVERWRITE,
  TAG_SYNC,
  TAG_WATCH_MASK,
  TAG_WATCH_EVENT,
  TAG_LIMIT,
  TAG_CURSOR,
  TAG_HOST,
  TAG_PORT,
  TAG_LISTENER,
  TAG_TIME_NS = 60,
  TAG_ENTROPY,
  TAG_HOSTNAME,
  TAG_MACHINE_ID,
  TAG_DETACH,
  TAG_ELAPSED_NS = 70,
  TAG_CPU_USER_US,
  TAG_CPU_SYS_US,
  TAG_MEMORY_PEAK,
  TAG_OOM_KILLS,
  TAG_TIMED_OUT,
  TAG_STARTED_NS,
  TAG_LOG_DROPPED,
  TAG_THROTTLED_US,
  TAG_RECORD,
  TAG_MEM_TOTAL,
  TAG_MEM_AVAILABLE,
  TAG_PROCS,
  TAG_DISK_TOTAL,
  TAG_DISK_FREE,
  TAG_FOREGROUND,
  TAG_BACKGROUND,
  TAG_COUNT,
};

enum tag_kind { KIND_UNKNOWN, KIND_U64, KIND_I64, KIND_TEXT, KIND_BYTES, KIND_RECORD };
enum tag_kind tag_kind(uint16_t tag);

enum { TLV_HEADER = 6, LIST_MAX = 1024 };

struct value {
  uint8_t *at;
  uint32_t length;
};

// The fields of one request. The first of a repeated tag counts, but for ARG and ENV, which are lists.
struct fields {
  uint64_t present[2];
  struct value first[TAG_COUNT];
  char *args[LIST_MAX + 1];
  char *envs[LIST_MAX + 1];
  uint32_t arg_count, env_count; // may exceed LIST_MAX: then only that many are stored
};

// Parses in place: text gets a terminating NUL where the next header was, so payload[length] must be writable.
// Returns NULL, or the name of the fault.
const char *fields_parse(struct fields *f, uint8_t *payload, uint32_t length, bool first_is_op);

// Steps over one TLV without changing it. Returns NULL, or the name of the fault.
const char *tlv_next(const uint8_t *payload, uint32_t length, uint32_t *at, uint16_t *tag, struct value *value);

bool utf8_valid(const uint8_t *text, uint32_t length);

static inline bool has(const struct fields *f, enum tag tag) {
  return f->present[tag >> 6] >> (tag & 63) & 1;
}
static inline uint64_t number(const struct fields *f, enum tag tag, uint64_t fallback) {
  return has(f, tag) ? load64(f->first[tag].at) : fallback;
}
static inline const char *text(const struct fields *f, enum tag tag) {
  return has(f, tag) ? (const char *)f->first[tag].at : NULL;
}

// A frame or record under construction. What does not fit is left out and `full` is set.
struct writer {
  uint8_t *start, *at, *end;
  bool full;
};

void put_u64(struct writer *w, enum tag tag, uint64_t value);
void put_bytes(struct writer *w, enum tag tag, const void *value, size_t length);
// Bytes that are not UTF-8 become U+FFFD: names in a file system are any bytes, text on the wire is not.
void put_text(struct writer *w, enum tag tag, const char *value);
// Returns the place to give to record_end; undo by setting w->at back to it.
uint8_t *record_begin(struct writer *w);
void record_end(struct writer *w, uint8_t *record);
