// The session with the host: bytes in, frames dispatched, bytes out. There is one at a time.
#pragma once
#include "loop.h"
#include "tlv.h"

// Serves a descriptor that was opened by the caller (the virtio port, a socket, a pipe pair's socket).
// `lasting`: end of file means that the host is away, not that the descriptor is of no more use.
void session_serve(int fd, bool lasting);
// Accepts one connection after another.
bool session_listen(const char *path);

// The host lets the output fill up without bound: drop the session in the next turn.
void session_lost(void);
// Reads the port without waiting for an event. True when there was something.
bool session_poll(void);
// Sends what waits, in each turn of the loop.
void session_turn(void);
// True when there is something to do without a new event.
bool session_can_continue(void);
// True when nothing waits that should go out in this turn.
bool session_quiet(void);
// What waits may stay a few milliseconds, in the hope that more comes along: each write is an exit of the machine.
// Only right after adding a frame while session_quiet().
void session_linger(void);
// Writes everything out, at most for a second. For the answer to POWEROFF.
void session_drain(void);

// Answers to HELLO.
extern const char *agent_version;
void session_feature(const char *name);
