/* The guard: what stops a script that writes where it must not, or that does not come back.
 *
 *   stray access   SIGSEGV, SIGBUS ─▶ the core diverts the page ──┐
 *   full C stack   SIGSEGV in the red zone ───────────────────────┼─▶ count hook ─▶ Lua error
 *   full heap      the allocator ─────────────────────────────────┤   at the script's line
 *   long slice     watchdog thread ─▶ signal ─────────────────────┘
 *   other faults   a report, then the signal's default action
 *
 * A long slice is warned of at the soft limit and stopped by the error at the hard one. What runs
 * after that, such as cleanup, is stopped after as long again, GUARD_STOPS times in all; a slice
 * that goes on for so long after the last, or without heeding one, is left (vm_abandon).
 *
 * The hook is set from the handler. LuaJIT's hooks do not reach compiled code: loops of scripts ask
 * guard_turn now and then (lua/stator/turns.lua) and go back to the interpreter when it says so.
 * A slice is left only when the program counter lies in LuaJIT or its machine
 * code and neither the core nor a C function of the host is half way (ecs_in_core, vm->in_host);
 * else when they end, or at the next try a millisecond later.
 *
 * Limits count the host thread's CPU time, or ten times that on the wall. The guard is no sandbox
 * against malice and no safety function. Thread: the host's, but for the watchdog inside. */
#ifndef GUARD_H
#define GUARD_H

#include <pthread.h>
#include <stdatomic.h>

#include "../ecs/ecs.h"
#include "log.h"
#include "vm.h"

enum { GUARD_NAME_BYTES = 128, GUARD_PLACE_BYTES = 96 };
/* A slice runs out of time on the wall at so many times its limit of CPU time. */
enum { GUARD_WALL_FACTOR = 10 };
enum { GUARD_STOPS = 4 };

typedef struct {
    uint64_t soft_ns, hard_ns; /* of CPU time in one slice */
    uint32_t patience;         /* both are multiplied by it; for tests and other slow builds */
} guard_limits_t;

typedef struct {
    uint64_t faults;    /* stray accesses that were diverted */
    uint64_t warned;    /* slices beyond the soft limit */
    uint64_t stopped;   /* slices ended by an error at the hard limit */
    uint64_t abandoned; /* slices left, their VM lost */
    uint64_t refused;   /* tries to leave that came at a bad moment */
} guard_stats_t;

/* Writes the name of what runs, for messages: a task's, a system's. Inside a slice. */
typedef void (*guard_who_t)(void *context, lua_State *L, char *out, size_t bytes);

typedef struct guard {
    struct guard *next; /* of the process, for the handlers */
    vm_t *vm;           /* NULL while there is none */
    ecs_world_t *world;
    log_t *log;
    guard_who_t who;
    void *who_context;
    pthread_t owner, thread;
    clockid_t cpu_clock; /* of the owner */
    bool running;
    guard_limits_t limits;
    guard_stats_t stats;

    /* between the watchdog and the handler on the host thread */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stopping;
    _Atomic uint64_t kick_slice;
    _Atomic uint32_t kick_stops;
    _Atomic int kick_level;

    /* of the running slice */
    volatile ecs_fault_t fault; /* first one that has not been raised yet */
    volatile bool tainted;      /* what it records is not to be trusted */
    volatile bool warn, stop, full, deep;
    volatile bool hooked;          /* the hook is set */
    _Atomic uint32_t stops_raised; /* the watchdog reads it */
    char place[GUARD_PLACE_BYTES]; /* where the slice was seen last, "" when it was not */
    uint64_t place_slice;
    uint64_t next_warning_ns;
} guard_t;

/* Installs the handlers, if they are not there yet, and starts the watchdog. 0, or an errno. */
int guard_start(guard_t *guard, ecs_world_t *world, log_t *log, const guard_limits_t *limits);
/* Accepts a zeroed one. */
void guard_stop(guard_t *guard);
/* The VM to watch from now on; NULL: none. Outside of slices. */
void guard_watch(guard_t *guard, vm_t *vm);
void guard_set_limits(guard_t *guard, uint64_t soft_ns, uint64_t hard_ns);
/* For scripts' loops, by FFI: not 0 when the hook waits for the interpreter. A leaf. */
int guard_turn(void);
/* Whether a stray access happened since the last call: what was recorded has to be dropped. */
static inline bool guard_take_taint(guard_t *guard) {
    bool was = guard->tainted;
    if (was) { guard->tainted = false; }
    return was;
}

#endif
