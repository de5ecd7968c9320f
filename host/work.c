#include "work.h"

#include <lua.h>
#include <stdlib.h>

/* In the state. */
static int run(lua_State *L) {
    worker_t *worker = lua_touserdata(L, 1);
    work_job_t *work = worker->context;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "stator.worker");
    lua_call(L, 1, 1);
    lua_pushlightuserdata(L, worker);
    lua_pushstring(L, work->folder);
    lua_pushstring(L, work->module);
    lua_pushstring(L, work->function);
    lua_pushlstring(L, work->arguments, work->argument_bytes);
    lua_call(L, 5, 4);   /* true, bytes | false, code, message, trace */
    worker->held = true; /* the copies would be lost */
    if (lua_toboolean(L, -4) == 1) {
        work->result = worker_copy(L, -3, &work->result_bytes);
    } else {
        worker->code = worker_copy(L, -3, NULL);
        worker->message = worker_copy(L, -2, NULL);
        worker->trace = worker_copy(L, -1, NULL);
    }
    return 0;
}

void work_init(work_job_t *work) {
    work->worker.run = run;
    work->worker.context = work;
    work->worker.what = "the work";
    work->worker.heap_bytes = WORK_HEAP_BYTES;
}

static void on_pool(uv_work_t *request) { worker_run(&((work_job_t *)request->data)->worker); }

static void after_pool(uv_work_t *request, int status) {
    work_job_t *work = request->data;
    (void)status; /* taken back before it began: nobody asks for its result */
    job_end(&work->job);
}

static void work_begin(job_t *job) {
    work_job_t *work = (work_job_t *)job;
    work->request.data = work;
    (void)uv_queue_work(&job->rt->loop->uv, &work->request, on_pool, after_pool);
}

static void work_stop(job_t *job) {
    work_job_t *work = (work_job_t *)job;
    atomic_store(&work->worker.stop, true);
    (void)uv_cancel((uv_req_t *)&work->request);
}

static bool work_result(job_t *job, lua_State *L) {
    const work_job_t *work = (work_job_t *)job;
    const worker_t *worker = &work->worker;
    if (work->result != NULL) {
        lua_pushlstring(L, work->result, work->result_bytes);
        return true;
    }
    error_push(L, worker->code, worker->message);
    lua_pushstring(L, worker->trace);
    lua_setfield(L, -2, "trace");
    return false;
}

static void work_destroy(job_t *job) {
    work_job_t *work = (work_job_t *)job;
    worker_fini(&work->worker);
    free(work->folder);
    free(work->module);
    free(work->function);
    free(work->arguments);
    free(work->result);
}

const job_type_t WORK_TYPE = {{"work", job_op_start, job_op_abort, NULL, NULL, NULL},
                              JOB_WORK,
                              WORK_MAX_ACTIVE,
                              true,
                              work_begin,
                              work_stop,
                              NULL,
                              work_result,
                              work_destroy};
