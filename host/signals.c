#include "signals.h"
#include "memory.h"

#include <signal.h>
#include <stdlib.h>

typedef struct {
    uv_signal_t handle;
    bool open;
} watch_t;

struct signals {
    watch_t watches[SIGNALS_MAX];
    signal_job_t *first, *last; /* that wait */
    uint32_t open;
};

static const struct {
    const char *name;
    int number;
} ALLOWED[SIGNALS_MAX] = {
    {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}, {"SIGCONT", SIGCONT}, {"SIGWINCH", SIGWINCH}};

const char *signals_name(uint32_t index) {
    return index < SIGNALS_MAX ? ALLOWED[index].name : NULL;
}

const char *signals_name_of(int number) {
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},
                 {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
                 {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"},
                 {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
                 {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
                 {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].number == number) { return names[i].name; }
    }
    return "another signal";
}

/* Takes a job off the list. */
static void forget(struct signals *signals, const signal_job_t *job) {
    signal_job_t *before = NULL, *at = signals->first;
    while (at != NULL && at != job) {
        before = at;
        at = at->next;
    }
    if (at == NULL) { return; }
    if (before != NULL) {
        before->next = at->next;
    } else {
        signals->first = at->next;
    }
    if (signals->last == at) { signals->last = before; }
}

static void on_signal(uv_signal_t *handle, int number) {
    struct signals *signals = handle->data;
    for (signal_job_t *job = signals->first, *next = NULL; job != NULL; job = next) {
        next = job->next;
        if (ALLOWED[job->index].number != number) { continue; }
        forget(signals, job);
        job_end(&job->job);
    }
}

static void signal_begin(job_t *base) {
    signal_job_t *job = (signal_job_t *)base;
    rt_t *rt = base->rt;
    if (rt->signals == NULL) { rt->signals = memory_zeroed(sizeof *rt->signals); }
    struct signals *signals = rt->signals;
    watch_t *watch = &signals->watches[job->index];
    if (!watch->open) {
        watch->open = true;
        signals->open++;
        (void)uv_signal_init(&rt->loop->uv, &watch->handle);
        watch->handle.data = signals;
        (void)uv_signal_start(&watch->handle, on_signal, ALLOWED[job->index].number);
    }
    if (signals->last != NULL) {
        signals->last->next = job;
    } else {
        signals->first = job;
    }
    signals->last = job;
}

static void signal_stop(job_t *base) {
    forget(base->rt->signals, (signal_job_t *)base);
    job_end(base);
}

static bool signal_result(job_t *base, lua_State *L) {
    lua_pushstring(L, ALLOWED[((signal_job_t *)base)->index].name);
    return true;
}

static void signal_destroy(job_t *base) { (void)base; }

const job_type_t SIGNAL_TYPE = {{"signal", job_op_start, job_op_abort, NULL, NULL, NULL},
                                JOB_SIGNAL,
                                JOB_MAX_ACTIVE,
                                false,
                                signal_begin,
                                signal_stop,
                                NULL,
                                signal_result,
                                signal_destroy};

static void on_closed(uv_handle_t *handle) {
    struct signals *signals = handle->data;
    if (--signals->open == 0) { free(signals); }
}

void signals_fini(rt_t *rt) {
    struct signals *signals = rt->signals;
    rt->signals = NULL;
    for (size_t i = 0; signals != NULL && i < SIGNALS_MAX; i++) {
        if (signals->watches[i].open) {
            uv_close((uv_handle_t *)&signals->watches[i].handle, on_closed);
        }
    }
}
