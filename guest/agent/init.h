// The work of PID 1: from the initramfs to a machine whose agent serves.
#pragma once
// Modules, mounts, the new root, cgroups, the port. On a failure it says so on the console and powers off.
void init_machine(void);
void init_power_off(void) __attribute__((noreturn));
