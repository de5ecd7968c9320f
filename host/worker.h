/* A Lua state of its own for one piece of work: what runs in it knows no host, no world and no
 * files but the modules of its folder, and comes and goes as bytes of string.buffer. Any thread,
 * one at a time. See lua/stator/worker.lua, which runs in it. */
#ifndef WORKER_H
#define WORKER_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

enum { WORKER_HEAP_BYTES = 128 << 20 };
#define WORKER_RESERVE_BYTES ((size_t)1 << 30)

typedef struct {
    /* in */
    char *folder, *module, *function;
    char *arguments;
    size_t argument_bytes;
    /* any time, from any thread: its loops and its allocator leave the state */
    atomic_bool stop;
    /* out */
    bool ok;
    char *result; /* bytes */
    size_t result_bytes;
    char *code, *message, *trace; /* when not ok */
    /* inside */
    arena_t arena;
    jmp_buf jump; /* out of the state */
    bool held;    /* it cannot be left now */
} worker_t;

/* Runs it in this thread. */
void worker_run(worker_t *worker);
void worker_fini(worker_t *worker);
/* Through FFI, for its loops: does not come back when the work is to stop. */
void worker_turn(void *worker);
/* Through FFI, around what the state's memory does not hold, such as open files: it is not left. */
void worker_hold(void *worker, int held);

#endif
