/* A Lua state of its own for one piece of work: what runs in it knows no host, no world and no
 * files but the modules of its folder, and comes and goes as bytes of string.buffer. Any thread,
 * one at a time. See lua/stator/worker.lua, which runs in it. */
#ifndef WORKER_H
#define WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { WORKER_HEAP_BYTES = 128 << 20 };

typedef struct {
    /* in */
    char *folder, *module, *function;
    char *arguments;
    size_t argument_bytes;
    /* any time, from any thread: its loops and its allocator heed it */
    atomic_bool stop;
    /* out */
    bool ok;
    char *result; /* bytes */
    size_t result_bytes;
    char *code, *message, *trace; /* when not ok */
    /* inside */
    size_t used_bytes;
    bool bounded;
} worker_t;

/* Runs it in this thread. */
void worker_run(worker_t *worker);
void worker_fini(worker_t *worker);
/* Whether the work is to stop: for its loops, through FFI. */
int worker_turn(const void *worker);

#endif
