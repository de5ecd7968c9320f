/* Owns the libuv loop and is the only caller of uv_run.
 *
 * libuv's own timer is too coarse for a control tick, so the loop sleeps in ppoll on libuv's
 * backend descriptor with a deadline in nanoseconds, then lets libuv run what is ready without
 * waiting. libuv adds new watchers to its epoll set inside uv_run only, so loop_poll comes before
 * every wait, and whoever calls looks between the two whether it has left work behind: a wait would
 * sleep on it. */
#ifndef LOOP_H
#define LOOP_H

#include <uv.h>

#include "clock.h"

/* Seconds of real time for which jobs may hold virtual time. */
enum { LOOP_MAX_HELD_S = 10 };

typedef struct {
    uv_loop_t uv;
    stator_clock_t *clock;
    bool live;     /* uv is initialised */
    uint32_t held; /* jobs on the pool that end by themselves: virtual time stands still */
    bool overheld; /* for too long */
} loop_t;

int loop_init(loop_t *loop, stator_clock_t *clock);
/* Closes what is still open, then the loop. Returns how many handles somebody had left open. */
int loop_fini(loop_t *loop);
/* Runs callbacks that are ready; never waits, but with a virtual clock for the jobs that hold it.
 * Host thread. */
void loop_poll(loop_t *loop);
/* Waits for the next callback, at most a second, and runs what is ready: for the end. Host
 * thread. */
void loop_block(loop_t *loop);
/* After loop_poll: waits for I/O until `deadline_ns` of the clock, then runs what is ready. A
 * virtual clock jumps to the deadline when no I/O is ready. Host thread. */
void loop_wait(loop_t *loop, uint64_t deadline_ns);

#endif
