// The pipes or the terminal between the agent and a process.
#pragma once
#include "command.h"

struct ends {
  int in, out, err;          // the child's
  int our_in, our_out, our_err; // the agent's, -1 when there is none
};

// False with errno; what was opened until then is in `e`, to be closed.
bool ends_open(struct ends *e, const struct command *c);
// Closes the child's ends, and the agent's too when `ours`.
void ends_close(struct ends *e, bool ours);
