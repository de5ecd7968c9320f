#include "job.h"
#include "http.h"
#include "memory.h"
#include "signals.h"
#include "watch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS_END_NS ((uint64_t)5000000000)

static const char CLASS[] = "stator.job";

typedef struct {
    job_t *first, *last; /* that wait for their turn */
    uint32_t waiting;
    job_t *active[JOB_MAX_ACTIVE];
    uint32_t active_count;
} job_queue_t;

struct jobs {
    job_t *first; /* all jobs that are not freed */
    size_t bytes; /* that they were given */
    job_queue_t queues[JOB_KINDS];
};

static struct jobs *jobs_of(rt_t *rt) {
    if (rt->jobs == NULL) { rt->jobs = memory_zeroed(sizeof *rt->jobs); }
    return rt->jobs;
}

static job_queue_t *queue_of(const job_t *job) { return &job->rt->jobs->queues[job->type->kind]; }

/* ---- life ------------------------------------------------------------------------------------ */

static void free_job(job_t *job) {
    if (job->next != NULL) { job->next->prev = job->prev; }
    if (job->prev != NULL) {
        job->prev->next = job->next;
    } else {
        job->rt->jobs->first = job->next;
    }
    job_release(job);
    job->type->destroy(job);
    free(job->key);
    free(job);
}

static void unref(job_t *job) {
    if (--job->refs == 0) { free_job(job); }
}

/* Takes a waiting job out of its queue. */
static void unqueue(job_t *job) {
    job_queue_t *queue = queue_of(job);
    job_t *before = NULL;
    for (job_t *at = queue->first; at != job; at = at->later) {
        before = at;
    }
    if (before != NULL) {
        before->later = job->later;
    } else {
        queue->first = job->later;
    }
    if (queue->last == job) { queue->last = before; }
    job->later = NULL;
    queue->waiting--;
}

/* Whoever waited does not any more. The caller has a reference of its own. */
static void forget_op(job_t *job) {
    job->op = NULL;
    if (job->state == JOB_WAITING) {
        unqueue(job);
        job->state = JOB_ENDED;
        job->rt->live_handles--;
        job->refs--;
    } else if (job->state == JOB_ACTIVE) {
        job->type->stop(job);
    }
}

static void let_go(job_t *job) {
    if (!job->held) { return; }
    job->held = false;
    if (job->op != NULL) { forget_op(job); }
    unref(job);
}

static int box_gc(lua_State *L) {
    let_go(*(job_t **)lua_touserdata(L, 1));
    return 0;
}

job_t *job_new(lua_State *L, const job_type_t *type, size_t bytes) {
    rt_t *rt = rt_of(L);
    job_t **box = lua_newuserdata(L, sizeof *box);
    job_t *job = memory_zeroed(bytes);
    *box = job;
    job->rt = rt;
    job->type = type;
    job->refs = 1;
    job->held = true;
    job->next = jobs_of(rt)->first;
    if (job->next != NULL) { job->next->prev = job; }
    rt->jobs->first = job;
    if (luaL_newmetatable(L, CLASS) != 0) {
        vm_push_function(L, box_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushstring(L, CLASS);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return job;
}

job_t *job_check(lua_State *L, int index, const job_type_t *type) {
    job_t *job = *(job_t **)luaL_checkudata(L, index, CLASS);
    if (job->type != type) { (void)luaL_argerror(L, index, type->io.name); }
    return job;
}

void job_hold(lua_State *L, job_t *job, size_t bytes) {
    struct jobs *jobs = job->rt->jobs;
    if (jobs->bytes + bytes > JOB_MAX_BYTES) {
        job_push_error(L, "limit", "%s: operations would hold more than %d MiB together",
                       job->type->io.name, JOB_MAX_BYTES >> 20);
        (void)lua_error(L);
    }
    jobs->bytes += bytes;
    job->bytes += bytes;
}

void job_release(job_t *job) {
    job->rt->jobs->bytes -= job->bytes;
    job->bytes = 0;
}

void job_push_op(lua_State *L, job_t *job) {
    op_t *op = op_new(L, OP_IO);
    op->io.type = &job->type->io;
    op->io.subject = job;
    op->io.number = job->timeout_s;
    lua_insert(L, -2);
    op->io.subject_ref = rt_ref(rt_of(L), L);
}

/* ---- running --------------------------------------------------------------------------------- */

static bool key_runs(const job_queue_t *queue, const job_t *job) {
    for (uint32_t i = 0; job->key != NULL && i < queue->active_count; i++) {
        const char *other = queue->active[i]->key;
        if (other != NULL && strcmp(other, job->key) == 0) { return true; }
    }
    return false;
}

static void begin(job_queue_t *queue, job_t *job) {
    job->state = JOB_ACTIVE;
    queue->active[queue->active_count++] = job;
    if (job->type->holds_time) { job->rt->loop->held++; }
    job->type->begin(job);
}

/* Begins what may begin, in order. */
static void pump(job_queue_t *queue) {
    for (job_t *job = queue->first, *later = NULL; job != NULL; job = later) {
        later = job->later;
        if (queue->active_count >= job->type->max_active) { return; }
        if (key_runs(queue, job)) { continue; }
        unqueue(job);
        begin(queue, job);
    }
}

static void settle(rt_t *rt, rt_event_t *event) {
    job_t *job = (job_t *)(void *)event;
    op_t *op = job->op;
    if (op != NULL) {
        job->op = NULL;
        wheel_remove(&rt->wheel, &op->timer);
        bool ok = job->type->result(job, rt->vm->L);
        op_finish(rt, op, rt->vm->L, ok, 1);
    }
    pump(queue_of(job));
    unref(job);
}

void job_end(job_t *job) {
    job_queue_t *queue = queue_of(job);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue->active_count; i++) {
        if (queue->active[i] != job) { queue->active[kept++] = queue->active[i]; }
    }
    queue->active_count = kept;
    job->state = JOB_ENDED;
    job->rt->live_handles--;
    if (job->type->holds_time) { job->rt->loop->held--; }
    job->event.settle = settle;
    rt_enqueue(job->rt, &job->event);
}

void job_op_start(rt_t *rt, op_t *op) {
    job_t *job = op->io.subject;
    job_queue_t *queue = queue_of(job);
    lua_State *L = rt->vm->L;
    if (queue->waiting == JOB_MAX_WAITING) {
        job_push_error(L, "busy", "%s: %d of them wait for their turn already", op->io.type->name,
                       JOB_MAX_WAITING);
        op_finish(rt, op, L, false, 1);
        return;
    }
    if (job->timeout_s > 0) {
        wheel_add(&rt->wheel, &op->timer, rt->now_ns + (uint64_t)(job->timeout_s * 1e9));
    }
    job->op = op;
    job->refs++;
    job->state = JOB_WAITING;
    rt->live_handles++;
    queue->waiting++;
    if (queue->last != NULL) {
        queue->last->later = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
    pump(queue);
}

void job_op_abort(rt_t *rt, op_t *op) {
    job_t *job = op->io.subject;
    wheel_remove(&rt->wheel, &op->timer);
    if (job->op != op) { return; }
    job->refs++;
    forget_op(job);
    unref(job);
}

/* ---- the end --------------------------------------------------------------------------------- */

void jobs_detach(rt_t *rt) {
    for (job_t *job = rt->jobs != NULL ? rt->jobs->first : NULL, *next = NULL; job != NULL;
         job = next) {
        next = job->next;
        let_go(job);
    }
}

static uint32_t active_count(const struct jobs *jobs) {
    uint32_t count = 0;
    for (size_t i = 0; i < JOB_KINDS; i++) {
        count += jobs->queues[i].active_count;
    }
    return count;
}

/* A thread of the pool cannot be killed: one that does not come back ends the process. */
static void wait_for_all(rt_t *rt, const struct jobs *jobs) {
    uint64_t start = clock_read_ns(CLOCK_MONOTONIC);
    while (active_count(jobs) > 0) {
        loop_block(rt->loop);
        if (clock_read_ns(CLOCK_MONOTONIC) - start < JOBS_END_NS) { continue; }
        log_printf(rt->log, LOG_ERROR, NULL,
                   "work, a file or a process does not end: the host ends without it");
        log_flush(rt->log);
        _exit(EXIT_FAILURE);
    }
}

void jobs_fini(rt_t *rt) {
    jobs_detach(rt);
    struct jobs *jobs = rt->jobs;
    if (jobs != NULL) {
        for (job_t *job = jobs->first; job != NULL; job = job->next) {
            if (job->state == JOB_ACTIVE) {
                (job->type->kill != NULL ? job->type->kill : job->type->stop)(job);
            }
        }
        wait_for_all(rt, jobs);
        while (jobs->first != NULL) {
            free_job(jobs->first);
        }
    }
    http_fini(rt);
    signals_fini(rt);
    watch_fini(rt);
    free(jobs);
    rt->jobs = NULL;
    rt->events_first = rt->events_last = NULL; /* nobody settles any more */
}

/* ---- help ------------------------------------------------------------------------------------ */

char *job_copy(const char *bytes, size_t count) {
    char *copy = memory_zeroed(count + 1);
    memcpy(copy, bytes, count);
    return copy;
}

void job_push_error(lua_State *L, const char *code, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_push(L, code, text);
}

void job_push_errno(lua_State *L, int error, const char *subject) {
    const char *code = "io";
    switch (error) {
    case ENOENT: code = "not_found"; break;
    case EACCES:
    case EPERM:
    case EROFS: code = "denied"; break;
    case ENOSPC:
    case EDQUOT: code = "full"; break;
    default: break;
    }
    job_push_error(L, code, "%s: %s", subject, uv_strerror(-error));
}
