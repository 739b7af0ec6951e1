// The event loop: file descriptors (edge-triggered epoll), timers, tasks for the next turn and idle work.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

struct handler {
  int fd;
  void (*ready)(struct handler *, uint32_t events);
};

struct timer {
  int64_t at_ns;
  void (*fire)(struct timer *);
  struct timer *next, **link; // link is NULL when not set
};

struct task {
  void (*run)(struct task *);
  struct task *next;
  bool queued;
};

void loop_init(void);
void loop_run(void);
void loop_stop(void);

// Watches h->fd edge-triggered: what is ready must be used until it would block. False with errno set.
bool loop_add(struct handler *h, uint32_t events);
// Watches for other events from now on; what is ready already is told.
void loop_watch(struct handler *h, uint32_t events);
// Stops watching and closes. Safe inside any callback; a no-op when already closed.
void loop_close(struct handler *h);
// Stops watching without closing.
void loop_forget(struct handler *h);

void timer_set(struct timer *t, int64_t delay_ms);
void timer_clear(struct timer *t);

// Runs once in the next turn of the loop.
void task_soon(struct task *t);
// Runs once when nothing else is to be done: work that no answer waits for.
void task_idle(struct task *t);
void task_forget(struct task *t);

int64_t now_ns(void);  // CLOCK_MONOTONIC, stands still while the machine is paused
int64_t wall_ns(void); // since 1970
