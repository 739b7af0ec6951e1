#include "tar.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct tar_block) == TAR_BLOCK, "a tar block is 512 bytes");

static const uint64_t octal7_max = 07777777, octal11_max = 077777777777;

static void put_octal(char *to, int size, uint64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%0*" PRIo64, size - 1, value);
  memcpy(to, digits, (size_t)size);
}

static uint32_t sum(const struct tar_block *b) {
  const uint8_t *bytes = (const uint8_t *)b;
  uint32_t total = 0;
  for (int i = 0; i < TAR_BLOCK; i++) total += bytes[i];
  for (int i = 0; i < 8; i++) total += ' ' - (uint8_t)b->checksum[i];
  return total;
}

static void seal(struct tar_block *b) {
  memcpy(b->magic, "ustar", 6);
  memcpy(b->version, "00", 2);
  snprintf(b->checksum, 8, "%06o", sum(b));
  b->checksum[7] = ' ';
}

// False when name and prefix can't hold it.
static bool put_path(struct tar_block *b, const char *path) {
  size_t n = strlen(path);
  if (n <= TAR_NAME) {
    memcpy(b->name, path, n);
    return true;
  }
  if (n > TAR_NAME + 1 + TAR_PREFIX) return false;
  // Not the slash at the end of a directory: the name must not be empty.
  for (size_t slash = n - TAR_NAME - 1; slash < n - 1 && slash <= TAR_PREFIX; slash++) {
    if (path[slash] != '/' || slash == 0) continue;
    memcpy(b->prefix, path, slash);
    memcpy(b->name, path + slash + 1, n - slash - 1);
    return true;
  }
  return false;
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
static uint32_t put_record(char *to, const char *key, const char *value) {
  uint32_t rest = (uint32_t)(strlen(key) + strlen(value) + 3), length = 0, next = rest;
  while (next != length) {
    length = next;
    next = rest + (uint32_t)snprintf(NULL, 0, "%u", length);
  }
  return (uint32_t)sprintf(to, "%u %s=%s\n", length, key, value);
}

static uint32_t put_number(char *to, const char *key, int64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, value);
  return put_record(to, key, digits);
}

uint32_t tar_write(const struct tar_member *m, uint8_t *to) {
  struct tar_block block = {.type = m->type};
  char *extension = (char *)to + TAR_BLOCK;
  uint32_t n = 0;
  if (!put_path(&block, m->path)) {
    n += put_record(extension + n, "path", m->path);
    memcpy(block.name, m->path, TAR_NAME);
  }
  size_t link = strlen(m->link);
  if (link > TAR_NAME) n += put_record(extension + n, "linkpath", m->link);
  memcpy(block.link, m->link, link < TAR_NAME ? link : TAR_NAME);
  if (m->size > octal11_max) n += put_number(extension + n, "size", (int64_t)m->size);
  if (m->uid > octal7_max) n += put_number(extension + n, "uid", (int64_t)m->uid);
  if (m->gid > octal7_max) n += put_number(extension + n, "gid", (int64_t)m->gid);
  bool dated = m->mtime_s >= 0 && (uint64_t)m->mtime_s <= octal11_max;
  if (!dated) n += put_number(extension + n, "mtime", m->mtime_s);
  put_octal(block.mode, 8, m->mode & 07777);
  put_octal(block.uid, 8, m->uid > octal7_max ? 0 : m->uid);
  put_octal(block.gid, 8, m->gid > octal7_max ? 0 : m->gid);
  put_octal(block.size, 12, m->size > octal11_max ? 0 : m->size);
  put_octal(block.mtime, 12, dated ? (uint64_t)m->mtime_s : 0);
  seal(&block);
  if (n == 0) {
    memcpy(to, &block, TAR_BLOCK);
    return TAR_BLOCK;
  }
  struct tar_block before = {.type = 'x', .name = "pax"};
  put_octal(before.mode, 8, 0644);
  put_octal(before.uid, 8, 0);
  put_octal(before.gid, 8, 0);
  put_octal(before.size, 12, n);
  put_octal(before.mtime, 12, 0);
  seal(&before);
  memcpy(to, &before, TAR_BLOCK);
  uint32_t padded = (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
  memset(extension + n, 0, padded - n);
  memcpy(extension + padded, &block, TAR_BLOCK);
  return 2 * TAR_BLOCK + padded;
}

bool tar_is_zero(const uint8_t *block) {
  for (int i = 0; i < TAR_BLOCK; i++)
    if (block[i]) return false;
  return true;
}

// Octal, or GNU's binary form for what octal can't hold.
static uint64_t get_number(const char *from, int size) {
  uint64_t value = (uint8_t)from[0] == 0xff ? UINT64_MAX : 0;
  if ((uint8_t)from[0] & 0x80) {
    for (int i = size > 8 ? size - 8 : 1; i < size; i++) value = value << 8 | (uint8_t)from[i];
    return value;
  }
  for (int i = 0; i < size && from[i]; i++)
    if (from[i] >= '0' && from[i] <= '7') value = value << 3 | (uint64_t)(from[i] - '0');
  return value;
}

static void get_path(const struct tar_block *b, char *to) {
  bool prefixed = !memcmp(b->magic, "ustar\0", 6) && b->prefix[0];
  if (prefixed) sprintf(to, "%.155s/%.100s", b->prefix, b->name);
  else sprintf(to, "%.100s", b->name);
}

const char *tar_read(const struct tar_block *b, const struct tar_extension *e, struct tar_member *m) {
  if (get_number(b->checksum, 8) != sum(b)) return "a header's checksum is wrong";
  m->type = b->type == 0 || b->type == '7' ? '0' : b->type;
  m->mode = (mode_t)get_number(b->mode, 8) & 07777;
  m->uid = e->given & TAR_GIVES_UID ? e->member.uid : get_number(b->uid, 8);
  m->gid = e->given & TAR_GIVES_GID ? e->member.gid : get_number(b->gid, 8);
  m->size = e->given & TAR_GIVES_SIZE ? e->member.size : get_number(b->size, 12);
  m->mtime_s = e->given & TAR_GIVES_MTIME ? e->member.mtime_s : (int64_t)get_number(b->mtime, 12);
  m->mtime_ns = e->given & TAR_GIVES_MTIME ? e->member.mtime_ns : 0;
  if (e->given & TAR_GIVES_PATH) strcpy(m->path, e->member.path);
  else get_path(b, m->path);
  if (e->given & TAR_GIVES_LINK) strcpy(m->link, e->member.link);
  else sprintf(m->link, "%.100s", b->link);
  size_t n = strlen(m->path);
  if (m->type == '0' && n > 0 && m->path[n - 1] == '/') m->type = '5'; // how tar wrote directories before ustar
  if (m->size > INT64_MAX || m->uid > UINT32_MAX - 1 || m->gid > UINT32_MAX - 1) return "a header's number is too large";
  return NULL;
}

static void get_time(const char *value, struct tar_member *m) {
  char *end;
  m->mtime_s = strtoll(value, &end, 10);
  m->mtime_ns = 0;
  if (*end != '.') return;
  uint32_t unit = 100000000;
  for (end++; *end >= '0' && *end <= '9' && unit; end++, unit /= 10) m->mtime_ns += (uint32_t)(*end - '0') * unit;
  // -1.25 is 0.75 s after -2.
  if (value[0] == '-' && m->mtime_ns) {
    m->mtime_s--;
    m->mtime_ns = 1000000000 - m->mtime_ns;
  }
}

static const char *get_text(const char *value, char to[TAR_PATH + 1]) {
  if (strlen(value) > TAR_PATH) return "a path is too long";
  strcpy(to, value);
  return NULL;
}

static const char *take_record(const char *key, const char *value, struct tar_extension *e) {
  struct tar_member *m = &e->member;
  const char *fault = NULL;
  if (!strcmp(key, "path")) e->given |= TAR_GIVES_PATH, fault = get_text(value, m->path);
  else if (!strcmp(key, "linkpath")) e->given |= TAR_GIVES_LINK, fault = get_text(value, m->link);
  else if (!strcmp(key, "size")) e->given |= TAR_GIVES_SIZE, m->size = strtoull(value, NULL, 10);
  else if (!strcmp(key, "uid")) e->given |= TAR_GIVES_UID, m->uid = strtoull(value, NULL, 10);
  else if (!strcmp(key, "gid")) e->given |= TAR_GIVES_GID, m->gid = strtoull(value, NULL, 10);
  else if (!strcmp(key, "mtime")) e->given |= TAR_GIVES_MTIME, get_time(value, m);
  return fault;
}

const char *tar_read_pax(char *contents, uint32_t length, struct tar_extension *e) {
  for (uint32_t at = 0; at < length;) {
    char *key;
    unsigned long size = strtoul(contents + at, &key, 10);
    if (size < 5 || size > length - at || *key != ' ') return "an extended header is malformed";
    char *end = contents + at + size - 1, *equals = key < end ? memchr(key, '=', (size_t)(end - key)) : NULL;
    if (*end != '\n' || !equals || memchr(key, 0, (size_t)(end - key))) return "an extended header is malformed";
    *end = *equals = 0;
    const char *fault = take_record(key + 1, equals + 1, e);
    if (fault) return fault;
    at += (uint32_t)size;
  }
  return NULL;
}
