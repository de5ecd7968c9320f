#include "compile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "regular.h"

/* ---- on the pool: nothing but the job itself is touched -------------------------------------- */

static void end_file(compile_file_t *file, compile_status_t status, const char *message) {
    size_t bytes = strlen(file->shown) + strlen(message) + 3;
    free(file->message);
    file->message = memory_zeroed(bytes);
    (void)snprintf(file->message, bytes, "%s: %s", file->shown, message);
    file->status = status;
}

static void end_unread(compile_file_t *file, int error) {
    bool odd = error == REGULAR_E_ODD || error == EISDIR;
    end_file(file, COMPILE_MISSING, odd ? "is no file" : uv_strerror(-error));
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the file once. Answers whether it changed meanwhile: then nothing is read. */
static bool read_changes(compile_job_t *compile, compile_file_t *file) {
    int error = 0;
    int fd = regular_open(file->path, O_RDONLY, &file->info, &error);
    if (fd < 0) {
        end_unread(file, error);
        return false;
    }
    struct stat before = file->info;
    regular_text_t text;
    regular_read(fd, (size_t)before.st_size, COMPILE_FILE_BYTES, &compile->worker.stop, &text);
    int rc = fstat(fd, &file->info);
    error = text.error != 0 ? text.error : rc != 0 ? errno : 0;
    (void)close(fd);
    bool changed = error == 0 && !text.over &&
                   (!is_same(&before, &file->info) || (size_t)before.st_size != text.bytes);
    if (error != 0) {
        end_unread(file, error);
    } else if (text.over) {
        end_file(file, COMPILE_PROBLEM, "has more than 16 MiB");
    } else if (!changed) {
        file->text = text.data;
        file->text_bytes = text.bytes;
        return false;
    }
    free(text.data);
    return changed;
}

static void read_file(compile_job_t *compile, compile_file_t *file) {
    for (int i = 0; i < COMPILE_READS; i++) {
        if (!read_changes(compile, file)) { return; }
    }
    end_file(file, COMPILE_BUSY, "changed each time while it was read");
}

static void forget_text(compile_file_t *file) {
    free(file->text);
    file->text = NULL;
}

/* In the state, with the function that compiles on top of the stack. Leaves it there. */
static void compile_file(lua_State *L, compile_job_t *compile, compile_file_t *file) {
    read_file(compile, file);
    if (file->text == NULL) { return; }
    lua_pushvalue(L, -1);
    lua_pushlstring(L, file->text, file->text_bytes);
    lua_pushstring(L, file->shown);
    lua_call(L, 2, 1);
    file->result = worker_copy(L, -1, &file->result_bytes);
    file->status = COMPILE_DONE;
    forget_text(file);
    compile->result_bytes += file->result_bytes;
    compile->over = compile->result_bytes > COMPILE_RESULT_BYTES;
    lua_pop(L, 1);
    if (compile->worker.arena.used_bytes > COMPILE_HEAP_BYTES / 8) {
        (void)lua_gc(L, LUA_GCCOLLECT, 0); /* a large one leaves the next one room */
    }
}

static bool is_over(const compile_job_t *compile) {
    return compile->over || compile->at == compile->count || atomic_load(&compile->worker.stop);
}

/* In the state. */
static int run(lua_State *L) {
    const worker_t *worker = lua_touserdata(L, 1);
    compile_job_t *compile = worker->context;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "stator.compile");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "bytes");
    while (!is_over(compile)) {
        compile_file(L, compile, &compile->files[compile->at]);
        compile->at++;
    }
    return 0;
}

/* A state that was left is lost: that file has a problem, and the next ones get another. */
static void on_pool(uv_work_t *request) {
    compile_job_t *compile = request->data;
    while (!is_over(compile)) {
        worker_run(&compile->worker);
        if (compile->worker.code == NULL || is_over(compile)) { continue; }
        compile_file_t *file = &compile->files[compile->at++];
        forget_text(file);
        end_file(file, COMPILE_PROBLEM, compile->worker.message);
        worker_fini(&compile->worker);
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void after_pool(uv_work_t *request, int status) {
    compile_job_t *compile = request->data;
    (void)status; /* taken back before it began: nobody asks for its result */
    job_end(&compile->job);
}

static void compile_begin(job_t *job) {
    compile_job_t *compile = (compile_job_t *)job;
    compile->request.data = compile;
    (void)uv_queue_work(&job->rt->loop->uv, &compile->request, on_pool, after_pool);
}

static void compile_stop(job_t *job) {
    compile_job_t *compile = (compile_job_t *)job;
    atomic_store(&compile->worker.stop, true);
    (void)uv_cancel((uv_req_t *)&compile->request);
}

static bool compile_result(job_t *job, lua_State *L) {
    if (((compile_job_t *)job)->over) {
        job_push_error(L, "limit", "compile: the results have more than %d MiB together",
                       COMPILE_RESULT_BYTES >> 20);
        return false;
    }
    lua_pushboolean(L, 1);
    return true;
}

/* What came of it; its names stay. */
static void forget_result(compile_file_t *file) {
    file->status = COMPILE_NONE;
    free(file->message);
    free(file->result);
    file->message = file->result = NULL;
}

static void compile_destroy(job_t *job) {
    compile_job_t *compile = (compile_job_t *)job;
    worker_fini(&compile->worker);
    for (uint32_t i = 0; i < compile->count; i++) {
        compile_file_t *file = &compile->files[i];
        forget_result(file);
        forget_text(file);
        free(file->path);
        free(file->shown);
    }
    free(compile->files);
}

const job_type_t COMPILE_TYPE = {{"compile", job_op_start, job_op_abort, NULL, NULL, NULL},
                                 JOB_COMPILE,
                                 COMPILE_MAX_ACTIVE,
                                 true,
                                 compile_begin,
                                 compile_stop,
                                 NULL,
                                 compile_result,
                                 compile_destroy};

void compile_init(compile_job_t *compile, uint32_t count) {
    compile->files = memory_zeroed((count > 0 ? count : 1) * sizeof *compile->files);
    compile->count = count;
    compile->worker.run = run;
    compile->worker.context = compile;
    compile->worker.what = "compiling it";
    compile->worker.heap_bytes = COMPILE_HEAP_BYTES;
}

static void push_fingerprint(lua_State *L, const struct stat *info) {
    char text[96];
    int64_t modified_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
    (void)snprintf(text, sizeof text, "%ju:%ju:%jd:%" PRId64, (uintmax_t)info->st_dev,
                   (uintmax_t)info->st_ino, (intmax_t)info->st_size, modified_ns);
    lua_pushstring(L, text);
}

int compile_take(compile_job_t *compile, uint32_t index, lua_State *L) {
    static const char *const names[] = {[COMPILE_DONE] = "done",
                                        [COMPILE_PROBLEM] = "problem",
                                        [COMPILE_MISSING] = "missing",
                                        [COMPILE_BUSY] = "busy"};
    compile_file_t *file = &compile->files[index];
    if (file->status == COMPILE_NONE) { return 0; }
    lua_pushstring(L, names[file->status]);
    if (file->status == COMPILE_DONE) {
        lua_pushlstring(L, file->result, file->result_bytes);
    } else {
        lua_pushstring(L, file->message);
    }
    push_fingerprint(L, &file->info);
    forget_result(file);
    return 3;
}
