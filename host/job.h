/* Jobs: what the operations of files, processes, HTTP, signals, work and watching have in common.
 *
 *   cold ──await──▶ waiting ──turn──▶ active ──job_end──▶ ended ──settle stage──▶ whoever awaits
 *     └─never used: freed  └─abort: ended   └─abort: stop(), then job_end
 *
 * A job belongs to one operation. Each kind runs a bounded number at once; more wait in the order
 * of their start, and the start of one more than may wait fails with code "busy". Jobs of one key
 * run one after another, in the order of their start. Callbacks of libuv call job_end, which only
 * enqueues. A job whose operation is gone goes on until it has cleaned up after itself; it counts
 * as a live handle as long. Thread: the host's. */
#ifndef JOB_H
#define JOB_H

#include "error.h"
#include "runtime.h"

typedef enum {
    JOB_FILE,
    JOB_PROCESS,
    JOB_HTTP,
    JOB_SIGNAL,
    JOB_WORK,
    JOB_COMPILE,
    JOB_WATCH,
    JOB_KINDS
} job_kind_t;
typedef enum { JOB_COLD, JOB_WAITING, JOB_ACTIVE, JOB_ENDED } job_state_t;
enum { JOB_MAX_ACTIVE = 32, JOB_MAX_WAITING = 1024, JOB_MAX_BYTES = 256 << 20 };

typedef struct job job_t;

typedef struct {
    op_io_t io; /* start and abort are job_op_start, job_op_abort */
    job_kind_t kind;
    uint32_t max_active; /* of its kind: at most JOB_MAX_ACTIVE */
    bool holds_time;     /* ends soon by itself: virtual time stands still meanwhile */
    /* Begins; job_end may be called before it returns. */
    void (*begin)(job_t *job);
    /* Nobody waits any more: ends it as soon as possible. job_end follows, maybe at once. */
    void (*stop)(job_t *job);
    /* The host ends: stop() that does not give anybody time. NULL: stop. */
    void (*kill)(job_t *job);
    /* Pushes its result and answers true, or its error value and false. */
    bool (*result)(job_t *job, lua_State *L);
    /* Frees what it holds, and not itself. */
    void (*destroy)(job_t *job);
} job_type_t;

struct job {
    rt_event_t event;   /* queued once it has ended */
    job_t *prev, *next; /* of the runtime */
    job_t *later;       /* behind it in the queue of its kind */
    rt_t *rt;
    const job_type_t *type;
    op_t *op;         /* that waits for it */
    char *key;        /* NULL: none */
    double timeout_s; /* of the operation, on the host's clock; 0: none */
    uint8_t state;
    bool held; /* by its Lua value */
    uint32_t refs;
    size_t bytes; /* that it was given */
};

/* A zeroed job of `bytes`, of which job_t is the first part, held by a Lua value on top of the
 * stack. [-0 +1 m] */
job_t *job_new(lua_State *L, const job_type_t *type, size_t bytes);
/* Before the job, on top of the stack, copies `bytes` that were given to it: raises an error with
 * code "limit" when all jobs together would hold more than JOB_MAX_BYTES. */
void job_hold(lua_State *L, job_t *job, size_t bytes);
/* The copies are freed: they count no more, though a script may still hold the job. */
void job_release(job_t *job);
/* Replaces the job's Lua value on top of the stack by its operation. Raises where no task runs.
 * [-1 +1 e] */
void job_push_op(lua_State *L, job_t *job);
/* The job of a Lua value made by job_new; raises when it is none of this type. [-0 +0 v] */
job_t *job_check(lua_State *L, int index, const job_type_t *type);
/* An active job is over. */
void job_end(job_t *job);
void job_op_start(rt_t *rt, op_t *op);
void job_op_abort(rt_t *rt, op_t *op);
/* The VM is gone: its jobs stop. */
void jobs_detach(rt_t *rt);
/* The end: kills what runs, waits for it and frees all. Before the loop is closed. */
void jobs_fini(rt_t *rt);

/* A copy of bytes with a 0 behind them. */
char *job_copy(const char *bytes, size_t count);
/* Pushes the error value of an errno, about `subject`. [-0 +1 m] */
void job_push_errno(lua_State *L, int error, const char *subject);
/* Pushes an error value with a message made of `format`. [-0 +1 m] */
void job_push_error(lua_State *L, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
