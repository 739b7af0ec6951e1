// What EXEC and SPAWN have in common: the command, its environment, user, limits.
#pragma once
#include "account.h"
#include "cgroup.h"
#include "stream.h"

struct command {
  char **argv;
  char **envp;
  const char *path; // PATH of the environment, for the search
  const char *cwd;
  bool cwd_given;
  bool switch_user;
  struct account account;
  struct limits limits;
  uint64_t timeout_ms; // 0 none
  bool pty, has_stdin;
  uint16_t rows, columns;
};

// Reads it from the fields, which it then points into. NULL after an ERROR was sent. There is one at a time.
struct command *command_read(uint32_t stream, const struct fields *f);
