// Keeps all processors busy with the agent, so that nothing of the user runs until the agent lets it.
#pragma once
#include <stdbool.h>

// Takes precedence over all ordinary processes and readies a thread for each further processor. For PID 1 of a machine.
void hold_prepare(void);
// Whether holding is possible: hold_prepare has been called.
bool hold_available(void);
// Occupies every processor. When it returns true, no other process runs until hold_release.
bool hold_processors(void);
void hold_release(void);
// Work that has to be done before anything else runs. The agent does it with hold_finish when it wants to; should it have to
// sleep before that, the thread that gets its processor does it instead, and lets go. `work` runs once, on either thread.
void hold_defer(void (*work)(void));
void hold_finish(void);
bool holding(void);
// Lets go when nobody came back for so long that the host must have given up.
void hold_check(void);
