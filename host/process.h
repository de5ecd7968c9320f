/* Processes as operations: spawned in a group of their own, with their output read into bounded
 * buffers. What is left of the group when its first process ends is killed. A process that nobody
 * waits for any more gets SIGTERM and, after a grace, SIGKILL; it is reaped in any case. The grace
 * is real time: a process knows no other. */
#ifndef PROCESS_H
#define PROCESS_H

#include "bytes.h"
#include "job.h"

enum { PROCESS_MAX_ACTIVE = 16, PROCESS_GRACE_MS = 500 };

typedef struct {
    uv_pipe_t pipe;
    bytes_t bytes;
} process_output_t;

typedef struct {
    job_t job;
    uv_process_t process;
    uv_pipe_t input;
    uv_write_t writing;
    uv_timer_t timer; /* the grace, then what waits for the end of the output */
    process_output_t out[2];
    uint32_t open; /* handles that are not closed */
    char **words;  /* NULL-terminated */
    char **environment;
    char *folder;
    char *text; /* for its standard input, or NULL */
    size_t text_bytes;
    size_t limit; /* bytes of each output */
    int error;    /* of spawning: libuv's */
    bool running, stopped, over, no_folder;
    int64_t code;
    int signal;
} process_job_t;

extern const job_type_t PROCESS_TYPE;

#endif
