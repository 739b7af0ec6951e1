// What makes a machine current again after a snapshot, and its orderly end.
#pragma once
// Lets requests change the clock, the random generator, the identity, and power off.
void restore_allow(void);
// Descriptor on the writable file system, for SYNC, FREEZE and STATS; `/` otherwise.
void restore_disk(int fd);
