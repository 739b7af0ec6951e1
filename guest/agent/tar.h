// The ustar block (POSIX.1-1988) and the pax extended header (POSIX.1-2001), read and written.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { TAR_BLOCK = 512, TAR_NAME = 100, TAR_PREFIX = 155, TAR_EXTENSION_MAX = 32768, TAR_PATH = 4097 };

struct tar_block {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
  char user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};

// One member, as its block and the extensions before it say.
struct tar_member {
  char type; // '0' file, '1' hard link, '2' symlink, '5' directory; others as they are
  char path[TAR_PATH + 1], link[TAR_PATH + 1];
  mode_t mode;
  uint64_t uid, gid, size;
  int64_t mtime_s;
  uint32_t mtime_ns;
};

enum { TAR_HEADER_MOST = 2 * TAR_BLOCK + TAR_EXTENSION_MAX };
// Writes the member's block, behind an extension when the block can't hold everything. Returns the bytes written.
uint32_t tar_write(const struct tar_member *m, uint8_t *to);

// What an extension said of the next member. `given` has a bit for each.
struct tar_extension {
  unsigned given;
  struct tar_member member;
};
enum { TAR_GIVES_PATH = 1, TAR_GIVES_LINK = 2, TAR_GIVES_SIZE = 4, TAR_GIVES_UID = 8, TAR_GIVES_GID = 16, TAR_GIVES_MTIME = 32 };

// NULL, or what is wrong. `contents` is changed and must have a NUL behind its end.
const char *tar_read(const struct tar_block *b, const struct tar_extension *e, struct tar_member *m);
const char *tar_read_pax(char *contents, uint32_t length, struct tar_extension *e);
bool tar_is_zero(const uint8_t *block);
