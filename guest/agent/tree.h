// A walk through a directory, one entry at a time, that follows no links and stays on one file system.
#pragma once
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { TREE_DEPTH = 256, TREE_PATH = 4096 };

struct tree {
  DIR *directory[TREE_DEPTH]; // [0] is the root of the walk
  uint32_t path_length[TREE_DEPTH];
  int depth; // open directories
  dev_t device;
  // Of the entry or directory that tree_next returned:
  int parent;               // descriptor of the directory that holds it; -1 for the root
  const char *name;         // in there
  uint32_t entry_length;    // of path, including the entry
  char path[TREE_PATH + 1]; // relative to the root of the walk, no slash at either end
};

enum tree_step { TREE_ENTRY, TREE_LEFT, TREE_END, TREE_FAILED };

// Begins at directory `name` of `parent`, which must be on the same file system; with AT_FDCWD at
// any directory. -1 with errno.
int tree_begin(struct tree *t, int parent, const char *name);
// ENTRY: something in the current directory. LEFT: a directory below the root is done. FAILED: errno.
enum tree_step tree_next(struct tree *t);
// Goes into the directory that tree_next just returned (as ENTRY, or once more after LEFT). -1 with errno: ENOTDIR or
// ELOOP when it is none, EXDEV when something is mounted there, E2BIG when too deep.
int tree_enter(struct tree *t);
void tree_end(struct tree *t);
