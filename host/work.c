#include "work.h"

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
    const worker_t *worker = &((work_job_t *)job)->worker;
    if (worker->ok) {
        lua_pushlstring(L, worker->result, worker->result_bytes);
        return true;
    }
    error_push(L, worker->code, worker->message);
    lua_pushstring(L, worker->trace);
    lua_setfield(L, -2, "trace");
    return false;
}

static void work_destroy(job_t *job) { worker_fini(&((work_job_t *)job)->worker); }

const job_type_t WORK_TYPE = {{"work", job_op_start, job_op_abort, NULL, NULL},
                              JOB_WORK,
                              WORK_MAX_ACTIVE,
                              true,
                              work_begin,
                              work_stop,
                              NULL,
                              work_result,
                              work_destroy};
