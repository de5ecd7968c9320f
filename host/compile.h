/* Compiling as an operation: scripts are read and compiled on libuv's pool, all of one job in one
 * state of its own (worker.h), so that the loop's thread only loads what came of it. A file that
 * needs too much memory has a problem of its own, and the others go on in a fresh state.
 *
 *   files in order ──▶ read until it holds still ──▶ lua/stator/compile.lua ──▶ compile_take
 *
 * The results stay in C until each is taken, so that nobody decodes all of them in one slice. */
#ifndef COMPILE_H
#define COMPILE_H

#include <sys/stat.h>

#include "job.h"
#include "worker.h"

enum { COMPILE_MAX_ACTIVE = 1, COMPILE_MAX_FILES = 4096 };
enum { COMPILE_READS = 3 }; /* of a file that changes meanwhile */
enum { COMPILE_FILE_BYTES = 16 << 20, COMPILE_RESULT_BYTES = 64 << 20 };
enum { COMPILE_HEAP_BYTES = 256 << 20 }; /* as scripts have by default, limits.heap_mb */

typedef enum {
    COMPILE_NONE, /* not reached, or taken */
    COMPILE_DONE,
    COMPILE_PROBLEM, /* before its text could be compiled */
    COMPILE_MISSING, /* it cannot be read */
    COMPILE_BUSY     /* it changed each time while it was read */
} compile_status_t;

typedef struct {
    char *path;
    char *shown; /* as messages name it */
    compile_status_t status;
    struct stat info; /* of what was read, or of the last try; zeroed when it could not be opened */
    char *message;    /* unless done */
    char *text;       /* while it is compiled */
    size_t text_bytes;
    char *result; /* when done: bytes of string.buffer, a stator.Compiled */
    size_t result_bytes;
} compile_file_t;

typedef struct {
    job_t job;
    uv_work_t request;
    worker_t worker;
    compile_file_t *files;
    uint32_t count;
    uint32_t at;         /* the file that is compiled */
    size_t result_bytes; /* of all files */
    bool over;           /* these were too many */
} compile_job_t;

extern const job_type_t COMPILE_TYPE;

/* Of a job that is zeroed: room for `count` files, to be filled in. */
void compile_init(compile_job_t *compile, uint32_t count);
/* Pushes what came of a file of a job that has ended, and forgets it: the name of its status, bytes
 * or message, fingerprint. Answers the number of values: 0 when it was taken before. [-0 +n m] */
int compile_take(compile_job_t *compile, uint32_t index, lua_State *L);

#endif
