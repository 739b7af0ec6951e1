// Processes that run in the background under a name, with the end of their output kept in a ring.
#pragma once
#include "process.h"

// Takes over a process of the foreground. False when there are too many.
bool background_adopt(struct process *p, struct command *command, const char *name);
uint32_t background_count(void);

// Ends the exec of this stream and hands out its process, or NULL when the stream is no exec.
struct process *exec_detach(struct stream *s);
