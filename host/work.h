/* Work as an operation: a Lua function that runs on libuv's pool in a state of its own (worker.h).
 * It knows no files but the modules of its folder. See lua/stator/worker.lua, which runs in it.
 * Whoever waits is free at once when it is taken back; the work itself stops at its next loop or
 * allocation. */
#ifndef WORK_H
#define WORK_H

#include "job.h"
#include "worker.h"

enum { WORK_HEAP_BYTES = 128 << 20 };
enum { WORK_MAX_ACTIVE = 2 }; /* of libuv's four threads: files and names need some, too */

typedef struct {
    job_t job;
    uv_work_t request;
    worker_t worker;
    /* in */
    char *folder, *module, *function;
    char *arguments; /* bytes of string.buffer, as the result */
    size_t argument_bytes;
    /* out */
    char *result; /* NULL: it failed, see worker */
    size_t result_bytes;
} work_job_t;

extern const job_type_t WORK_TYPE;

/* Of a job that is zeroed: what runs, and within what bounds. */
void work_init(work_job_t *work);

#endif
