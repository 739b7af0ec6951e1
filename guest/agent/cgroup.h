// One cgroup for each exec, below `user`. Everything here is a no-op when cgroup2 is not available (test mode).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct limits {
  uint64_t memory_max, memory_high, pids_max, cpu_percent; // 0: none
};

struct usage {
  uint64_t cpu_user_us, cpu_system_us, memory_peak, oom_kills, throttled_us;
};

struct cgroup {
  int dir; // -1: none
  int cpu_stat, memory_peak, memory_events;
  uint32_t number;
};

// Makes `user` (and in a machine `agent`, moving the caller there) below the cgroup2 directory `root`.
// False with errno when that does not work.
bool cgroups_start(const char *root, bool machine);
bool cgroups_available(void);

// A cgroup of its own with these limits; `dir` is -1 when there are no cgroups.
void cgroup_take(struct cgroup *cg, const struct limits *limits);
// What was used so far; fields that the kernel does not report stay as they are.
void cgroup_usage(const struct cgroup *cg, struct usage *usage);
// SIGKILL to everything in it. False when there is no cgroup.
bool cgroup_kill(const struct cgroup *cg);
// Removes it, now or when its last process has ended.
void cgroup_release(struct cgroup *cg);
// Tries again to remove those that still had processes.
void cgroups_sweep(void);

// Freezes or thaws `user` as a whole. Waits until frozen; false with errno (ETIMEDOUT after two seconds).
bool cgroups_freeze(bool frozen);
