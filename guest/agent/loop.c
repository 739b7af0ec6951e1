#include "loop.h"
#include "hold.h"
#include "restore.h"
#include "session.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32 };

static int epoll_fd = -1;
static bool stopped;
static struct epoll_event batch[BATCH];
static int batch_at, batch_count;
static struct timer *timers;
static struct task *soon, **soon_end = &soon;
static struct task *idle, **idle_end = &idle;

static int64_t read_clock(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
int64_t wall_ns(void) { return read_clock(CLOCK_REALTIME); }

void loop_init(void) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) {
    perror("holdfast-agent: epoll_create1");
    exit(1);
  }
}

bool loop_add(struct handler *h, uint32_t events) {
  struct epoll_event e = {.events = events | EPOLLET, .data.ptr = h};
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, h->fd, &e) == 0;
}

void loop_watch(struct handler *h, uint32_t events) {
  struct epoll_event e = {.events = events | EPOLLET, .data.ptr = h};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, h->fd, &e);
}

// An event of this turn may still point to a handler that its owner is about to free.
static void forget_events(struct handler *h) {
  for (int i = batch_at; i < batch_count; i++)
    if (batch[i].data.ptr == h) batch[i].data.ptr = NULL;
}

void loop_close(struct handler *h) {
  if (h->fd < 0) return;
  forget_events(h);
  // Closing alone is not enough: a child that is not quite through exec holds a duplicate, and with it the entry in epoll.
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
  close(h->fd);
  h->fd = -1;
}

void loop_forget(struct handler *h) {
  if (h->fd < 0) return;
  forget_events(h);
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
}

void timer_set(struct timer *t, int64_t delay_ms) {
  timer_clear(t);
  t->at_ns = now_ns() + delay_ms * 1000000;
  struct timer **link = &timers;
  while (*link && (*link)->at_ns <= t->at_ns) link = &(*link)->next;
  t->next = *link;
  if (t->next) t->next->link = &t->next;
  *link = t;
  t->link = link;
}

void timer_clear(struct timer *t) {
  if (!t->link) return;
  *t->link = t->next;
  if (t->next) t->next->link = t->link;
  t->link = NULL;
}

static void append(struct task *t, struct task ***end) {
  if (t->queued) return;
  t->queued = true;
  t->next = NULL;
  **end = t;
  *end = &t->next;
}

void task_soon(struct task *t) { append(t, &soon_end); }
void task_idle(struct task *t) { append(t, &idle_end); }

static bool unlink_task(struct task **head, struct task ***end, struct task *t) {
  for (struct task **link = head; *link; link = &(*link)->next) {
    if (*link != t) continue;
    *link = t->next;
    if (!t->next) *end = link;
    return true;
  }
  return false;
}

void task_forget(struct task *t) {
  if (!t->queued) return;
  t->queued = false;
  if (!unlink_task(&soon, &soon_end, t)) unlink_task(&idle, &idle_end, t);
}

static bool run_first(struct task **head, struct task ***end) {
  struct task *t = *head;
  if (!t) return false;
  *head = t->next;
  if (!t->next) *end = head;
  t->queued = false;
  t->run(t);
  return true;
}

// Only what was queued before this turn: a task that queues itself again must not keep events waiting.
static void run_soon(void) {
  struct task *last = soon ? container_of(soon_end, struct task, next) : NULL;
  while (soon) {
    struct task *t = soon;
    run_first(&soon, &soon_end);
    if (t == last) break;
  }
}

static void fire_timers(void) {
  if (!timers) return;
  int64_t now = now_ns();
  while (timers && timers->at_ns <= now) {
    struct timer *t = timers;
    timer_clear(t);
    t->fire(t);
  }
}

static int wait_ms(void) {
  if (soon || idle || session_can_continue()) return 0;
  if (!timers) return -1;
  int64_t left = timers->at_ns - now_ns();
  return left <= 0 ? 0 : (int)(left / 1000000 + 1 > 60000 ? 60000 : left / 1000000 + 1);
}

void loop_stop(void) { stopped = true; }

// While the processors are held the agent does not sleep: it looks at its port, and at nothing else, until the host speaks.
static void hold_turn(void) {
  while (holding() && !session_poll()) {
    if (!restore_waits()) hold_check();
    else if (restore_due()) return restore_finish();
  }
}

void loop_run(void) {
  while (!stopped) {
    if (holding()) {
      hold_turn();
      hold_check(); // also when the port is at its end and so never quiet
    } else {
      restore_finish();
      batch_count = epoll_wait(epoll_fd, batch, BATCH, wait_ms());
    }
    bool quiet = batch_count <= 0 && !soon && !session_can_continue();
    for (batch_at = 0; batch_at < batch_count;) {
      struct epoll_event *e = &batch[batch_at++];
      struct handler *h = e->data.ptr;
      if (h) h->ready(h, e->events);
    }
    batch_count = 0;
    fire_timers();
    run_soon();
    session_turn();
    if (quiet) run_first(&idle, &idle_end);
  }
}
