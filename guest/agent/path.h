// Paths of requests: absolute, without `.` and `..`, at most PATH_LIMIT bytes.
#pragma once
#include "stream.h"
#include <sys/stat.h>

enum { PATH_LIMIT = 4096, NAME_LIMIT = 255 };

bool path_valid(const char *path);
// The path in `tag`, or NULL after an ERROR was sent on the stream.
const char *path_field(uint32_t stream, const struct fields *f, enum tag tag);
// Opens the directory that holds `path`, creating missing ones when `parents` (owned by uid, gid unless -1).
// `name` gets the last component. -1 with errno.
int path_open_parent(const char *path, bool parents, uid_t uid, gid_t gid, char name[NAME_LIMIT + 1]);
// mkdir -p. -1 with errno.
int path_make_directories(const char *path, mode_t mode, uid_t uid, gid_t gid);
