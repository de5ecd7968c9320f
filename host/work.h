/* Work as an operation: a Lua function that runs on libuv's pool in a state of its own (worker.h).
 * Whoever waits is free at once when it is taken back; the work itself stops at its next loop or
 * allocation. */
#ifndef WORK_H
#define WORK_H

#include "job.h"
#include "worker.h"

enum { WORK_MAX_ACTIVE = 2 }; /* of libuv's four threads: files and names need some, too */

typedef struct {
    job_t job;
    uv_work_t request;
    worker_t worker;
} work_job_t;

extern const job_type_t WORK_TYPE;

#endif
