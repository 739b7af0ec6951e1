// What makes a machine current again after a snapshot, and its orderly end.
#pragma once
#include <stdbool.h>
// Lets requests change the clock, the random generator, the identity, and power off.
void restore_allow(void);
// Descriptor on the writable file system, for SYNC, FREEZE and STATS; `/` otherwise.
void restore_disk(int fd);
// A RESTORE of a held machine waits a little, so that a read that follows it is answered first: nothing of the user runs before
// either, and a read needs none of what a restore changes.
bool restore_waits(void);
bool restore_due(void);
// Carries a waiting one out, answers it and lets the processes go on.
void restore_finish(void);
// The session that asked for it is over.
void restore_unheard(void);
