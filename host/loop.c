#include "loop.h"

#include <poll.h>

#define NS_PER_MS ((uint64_t)1000000)
/* at the end: 20 s in all, longer than resolvers take */
#define END_TURNS 200
#define END_TURN_NS ((uint64_t)100000000)
#define NS_PER_S ((uint64_t)1000000000)

int loop_init(loop_t *loop, stator_clock_t *clock) {
    *loop = (loop_t){.clock = clock};
    int rc = uv_loop_init(&loop->uv);
    loop->live = rc == 0;
    return rc;
}

static void close_handle(uv_handle_t *handle, void *count) {
    if (uv_is_closing(handle)) { return; }
    (*(int *)count)++;
    uv_close(handle, NULL);
}

static bool sleep_on_backend(loop_t *loop, uint64_t wait_ns) {
    /* timers, of libcurl and processes; -1: none. A loop without handles would answer 0: do not
     * wait */
    int uv_ms = uv_loop_alive(&loop->uv) ? uv_backend_timeout(&loop->uv) : -1;
    uint64_t uv_ns = uv_ms < 0 ? UINT64_MAX : (uint64_t)(unsigned)uv_ms * NS_PER_MS;
    if (uv_ns < wait_ns) { wait_ns = uv_ns; }
    struct timespec limit = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    struct pollfd fd = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
    return ppoll(&fd, 1, &limit, NULL) > 0;
}

int loop_fini(loop_t *loop) {
    int left = 0;
    if (!loop->live) { return 0; }
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    uv_walk(&loop->uv, close_handle, &left);
    /* a thread of the pool that still looks a name up tells the loop when it is done */
    for (int turns = 0; uv_loop_close(&loop->uv) == UV_EBUSY && turns < END_TURNS; turns++) {
        if (turns > 0) { (void)sleep_on_backend(loop, END_TURN_NS); }
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    loop->live = false;
    return left;
}

void loop_poll(loop_t *loop) {
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    if (loop->held == 0) { loop->overheld = false; }
    uint64_t start = clock_read_ns(CLOCK_MONOTONIC);
    while (loop->clock->is_virtual && loop->held > 0 && !loop->overheld) {
        (void)sleep_on_backend(loop, NS_PER_S);
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
        loop->overheld = clock_read_ns(CLOCK_MONOTONIC) - start > LOOP_MAX_HELD_S * NS_PER_S;
    }
}

void loop_block(loop_t *loop) {
    (void)sleep_on_backend(loop, NS_PER_S);
    loop_poll(loop);
}

void loop_wait(loop_t *loop, uint64_t deadline_ns) {
    uint64_t now = clock_now_ns(loop->clock);
    if (loop->clock->is_virtual) {
        if (!sleep_on_backend(loop, 0)) { clock_advance_to(loop->clock, deadline_ns); }
    } else if (deadline_ns > now) {
        (void)sleep_on_backend(loop, deadline_ns - now);
    }
    loop_poll(loop);
}
