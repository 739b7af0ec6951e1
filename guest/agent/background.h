// Processes that run in the background under a name, with the end of their output kept in a ring.
#pragma once
#include "process.h"

bool background_has_room(void);
// Takes over a process that left the foreground, under the name exec-PID. Only while there is room.
void background_adopt(struct process *p);
// How many run.
uint32_t background_count(void);

// Ends the exec of this process and hands the process out. False when it is no exec or has ended.
bool exec_detach(struct process *p);
