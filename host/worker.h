/* A Lua state of its own for one piece of work on another thread. Nothing of the host is in it but
 * the built-in modules that need none; what comes and goes is bytes. It ends with its memory,
 * however it ends. Any thread, one at a time. See work.h and compile.h. */
#ifndef WORKER_H
#define WORKER_H

#include <lua.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

#define WORKER_RESERVE_BYTES ((size_t)1 << 30)

typedef struct {
    /* in */
    lua_CFunction run; /* protected, where all is opened; argument: the worker */
    void *context;     /* of run */
    const char *what;  /* "the work", for messages */
    size_t heap_bytes; /* it is left when it needs more */
    /* any time, from any thread: its loops and its allocator leave the state */
    atomic_bool stop;
    /* out: why it was left or failed; code NULL: it came to its end */
    char *code, *message, *trace;
    /* inside */
    arena_t arena;
    jmp_buf jump; /* out of the state */
    bool held;    /* it cannot be left now */
} worker_t;

/* Runs it in this thread, in a fresh state. Not when it was stopped before. */
void worker_run(worker_t *worker);
/* Forgets how it ended. */
void worker_fini(worker_t *worker);
/* Through FFI, for its loops: does not come back when the work is to stop. */
void worker_turn(void *worker);
/* Through FFI, around what the state's memory does not hold, such as open files: it is not left. */
void worker_hold(void *worker, int held);
/* A copy of a text on the stack with a 0 behind it; of what is none, an empty one. */
char *worker_copy(lua_State *L, int index, size_t *count);

#endif
