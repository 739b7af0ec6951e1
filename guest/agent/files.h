// What STAT, LIST, READ and the like say of a file.
#pragma once
#include "tlv.h"
#include <sys/stat.h>

// `target` is a link's, or NULL.
void put_stat(struct writer *w, const struct stat *st, const char *target);
