#include "process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "signals.h"

/* ---- closing --------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
    process_job_t *process = handle->data;
    if (--process->open == 0) { job_end(&process->job); }
}

static void close_handle(void *handle) {
    if (!uv_is_closing(handle)) { uv_close(handle, on_closed); }
}

/* Closes the timer once it is all that is left. */
static void check_end(process_job_t *process) {
    if (!process->running && uv_is_closing((uv_handle_t *)&process->out[0].pipe) &&
        uv_is_closing((uv_handle_t *)&process->out[1].pipe)) {
        close_handle(&process->timer);
    }
}

static void close_outputs(process_job_t *process) {
    close_handle(&process->out[0].pipe);
    close_handle(&process->out[1].pipe);
    check_end(process);
}

static void signal_group(const process_job_t *process, int number) {
    if (process->running) { (void)kill(-process->process.pid, number); }
}

static void on_timer(uv_timer_t *timer) {
    process_job_t *process = timer->data;
    if (process->running) {
        signal_group(process, SIGKILL);
    } else {
        close_outputs(process); /* somebody who left the group holds them open */
    }
}

static void start_timer(process_job_t *process) {
    uv_update_time(&process->job.rt->loop->uv);
    (void)uv_timer_start(&process->timer, on_timer, PROCESS_GRACE_MS, 0);
}

static void terminate(process_job_t *process) {
    if (process->stopped) { return; }
    process->stopped = true;
    if (!process->running) { return; }
    signal_group(process, SIGTERM);
    start_timer(process);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void on_exit_of(uv_process_t *handle, int64_t code, int number) {
    process_job_t *process = handle->data;
    signal_group(process, SIGKILL); /* what it left running */
    process->running = false;
    process->code = code;
    process->signal = number;
    close_handle(handle);
    close_handle(&process->input);
    if (process->stopped) {
        close_outputs(process);
    } else {
        start_timer(process);
        check_end(process);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    static char scratch[65536]; /* one read is copied away before the next */
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(scratch, sizeof scratch);
}

static void keep_output(process_job_t *process, process_output_t *out, const char *data,
                        size_t bytes) {
    if (process->stopped) { return; }
    if (out->bytes.count + bytes > process->limit) {
        process->over = true;
        terminate(process);
        return;
    }
    bytes_add(&out->bytes, data, bytes);
}

static void on_output(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    process_job_t *process = stream->data;
    process_output_t *out = (process_output_t *)(void *)stream;
    if (count > 0) {
        keep_output(process, out, buffer->base, (size_t)count);
    } else if (count < 0) {
        close_handle(stream);
        check_end(process);
    }
}

static void on_written(uv_write_t *request, int status) {
    process_job_t *process = request->data;
    (void)status; /* a process may end without reading all of it */
    close_handle(&process->input);
}

/* ---- the job --------------------------------------------------------------------------------- */

static int spawn(process_job_t *process) {
    struct stat info;
    if (stat(process->folder, &info) != 0 || !S_ISDIR(info.st_mode)) {
        process->no_folder = true;
        return UV_ENOENT;
    }
    unsigned flags = UV_CREATE_PIPE;
    uv_stdio_container_t stdio[3] = {
        {.flags = process->text != NULL ? flags | UV_READABLE_PIPE : UV_IGNORE,
         .data.stream = (uv_stream_t *)&process->input},
        {.flags = flags | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&process->out[0].pipe},
        {.flags = flags | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&process->out[1].pipe}};
    uv_process_options_t options = {.exit_cb = on_exit_of,
                                    .file = process->words[0],
                                    .args = process->words,
                                    .env = process->environment,
                                    .cwd = process->folder,
                                    .flags = UV_PROCESS_DETACHED, /* a group of its own */
                                    .stdio_count = 3,
                                    .stdio = stdio};
    int rc = uv_spawn(&process->job.rt->loop->uv, &process->process, &options);
    process->process.data = process;
    process->open++;
    return rc;
}

static void start_pipes(process_job_t *process) {
    for (size_t i = 0; i < 2; i++) {
        (void)uv_read_start((uv_stream_t *)&process->out[i].pipe, on_alloc, on_output);
    }
    if (process->text == NULL) {
        close_handle(&process->input);
        return;
    }
    uv_buf_t buffer = uv_buf_init(process->text, (unsigned)process->text_bytes);
    process->writing.data = process;
    if (uv_write(&process->writing, (uv_stream_t *)&process->input, &buffer, 1, on_written) != 0) {
        close_handle(&process->input);
    }
}

static void process_begin(job_t *job) {
    process_job_t *process = (process_job_t *)job;
    uv_loop_t *uv = &job->rt->loop->uv;
    uv_pipe_t *pipes[] = {&process->input, &process->out[0].pipe, &process->out[1].pipe};
    for (size_t i = 0; i < 3; i++) {
        (void)uv_pipe_init(uv, pipes[i], 0);
        pipes[i]->data = process;
    }
    (void)uv_timer_init(uv, &process->timer);
    process->timer.data = process;
    process->open = 4;
    process->error = spawn(process);
    process->running = process->error == 0;
    if (process->running) {
        start_pipes(process);
        return;
    }
    if (!process->no_folder) { close_handle(&process->process); }
    close_handle(&process->input);
    close_outputs(process);
}

static void process_stop(job_t *job) { terminate((process_job_t *)job); }

static void process_kill(job_t *job) {
    process_job_t *process = (process_job_t *)job;
    process->stopped = true;
    signal_group(process, SIGKILL);
    if (!process->running) { close_outputs(process); }
}

static bool process_result(job_t *job, lua_State *L) {
    process_job_t *process = (process_job_t *)job;
    if (process->error != 0) {
        job_push_errno(L, -process->error,
                       process->no_folder ? process->folder : process->words[0]);
        return false;
    }
    if (process->over) {
        job_push_error(L, "limit", "%s: more than %zu bytes of output (limit)", process->words[0],
                       process->limit);
        return false;
    }
    lua_createtable(L, 0, 4);
    if (process->signal != 0) {
        lua_pushstring(L, signals_name_of(process->signal));
        lua_setfield(L, -2, "signal");
    } else {
        lua_pushnumber(L, (lua_Number)process->code);
        lua_setfield(L, -2, "code");
    }
    lua_pushlstring(L, process->out[0].bytes.data, process->out[0].bytes.count);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, process->out[1].bytes.data, process->out[1].bytes.count);
    lua_setfield(L, -2, "stderr");
    return true;
}

static void free_list(char **list) {
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        free(list[i]);
    }
    free(list);
}

static void process_destroy(job_t *job) {
    process_job_t *process = (process_job_t *)job;
    free_list(process->words);
    free_list(process->environment);
    free(process->folder);
    free(process->text);
    free(process->out[0].bytes.data);
    free(process->out[1].bytes.data);
}

const job_type_t PROCESS_TYPE = {{"process", job_op_start, job_op_abort, NULL, NULL, NULL},
                                 JOB_PROCESS,
                                 PROCESS_MAX_ACTIVE,
                                 false,
                                 process_begin,
                                 process_stop,
                                 process_kill,
                                 process_result,
                                 process_destroy};
