// Starts a child without copying the agent: it shares the agent's memory until it has executed the command.
#pragma once
#include "command.h"

struct child {
  const struct command *command;
  int in, out, err; // become 0, 1, 2
  bool tty;         // `in` is the terminal to take control of
  int cgroup;       // directory, or -1
  // What failed in the child, when start returned its pid but the command was not executed.
  enum { CHILD_OK, CHILD_SETUP, CHILD_USER, CHILD_CWD, CHILD_EXEC } failed;
  int error;
};

// The pid, or -1 with errno. When c->failed is set, the child has already been reaped.
pid_t child_start(struct child *c);
