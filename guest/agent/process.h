// A process that the host started: its descriptors, its end, its usage. It outlives the stream that started it.
#pragma once
#include "child.h"
#include "loop.h"
#include <sys/resource.h>

struct process;

struct output {
  struct handler handler;
  struct process *process;
  bool readable, hung_up;
  bool last;      // only what was there when the process's time was up
  uint64_t left;  // of that
};

// The side that uses a process: an exec stream, a background process, or nothing (ended with its session).
struct process_owner {
  void (*output)(struct process *, int index); // it became readable, or shall be read to its end
  void (*closed)(struct process *, int index); // the output has ended; may be NULL
  void (*ended)(struct process *);             // reaped and all output read; process_free is next
};

struct process {
  struct process *next;
  const struct process_owner *owner;
  void *data; // the owner's
  pid_t pid;
  struct cgroup cgroup;
  struct output output[2]; // stdout, stderr; with a terminal only the first
  struct handler input;    // -1 when closed; with a terminal the same descriptor is output[0]
  uint8_t *pending;        // input that the process has not taken yet
  uint32_t pending_at, pending_end, pending_size;
  bool input_watched, input_ends, tty;
  bool reaped, timed_out, ended;
  int status;
  int64_t start_ns, start_wall_ns, elapsed_ns;
  struct usage usage;
  struct timer timeout, drain;
  void (*input_taken)(struct process *, uint32_t bytes);
  uint32_t args_length; // the command, each argument with its NUL, for lists; cut at ARGS_MAX
  char args[];
};

enum { ARGS_MAX = 4096 };

// Starts it, or sends ERROR on the stream and returns NULL.
struct process *process_start(uint32_t stream, struct command *command, const struct process_owner *owner, void *data);
// Closes everything; kills nothing. The process must have ended or never have an owner again (process_orphan).
void process_free(struct process *p);
// Leaves it to itself: its output is closed, its record goes when it ends.
void process_orphan(struct process *p);

// Takes all of `data`; input_taken tells when the process has it.
void process_write(struct process *p, const uint8_t *data, uint32_t length);
void process_close_input(struct process *p);
void process_close_output(struct process *p, int index);

void process_signal(struct process *p, int signal); // the whole process group
void process_kill(struct process *p);               // SIGKILL to the cgroup, or to the group where there is none

void put_exit(struct writer *w, const struct process *p); // EXIT_CODE or SIGNAL
void put_usage(struct writer *w, struct process *p);

// Freezes or thaws all: by cgroup, or with signals where there is none. False with errno.
bool processes_freeze(bool frozen);
bool processes_frozen(void);
void processes_each(void (*call)(struct process *));

// Reaps children at each SIGCHLD; ends the agent at SIGTERM when it is not PID 1.
void reaper_start(void);
