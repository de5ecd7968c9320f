/* A stream's writing side: writes in the order in which they came, one under way at a time.
 *
 *   begin ──▶ kernel takes all ──▶ done
 *               │ takes some: wait until it takes more, on a copy of the descriptor
 *
 * libuv's own queue could not be taken back from, so it is not used. */
#include "memory.h"
#include "net_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- moving bytes ---------------------------------------------------------------------------- */

static void on_writable_closed(uv_handle_t *handle) {
    stream_t *stream = handle->data;
    (void)close(stream->writable_fd);
    stream->rt->live_handles--;
    stream_unref(stream);
}

void stream_close_writing(stream_t *stream) {
    if (!stream->has_writable) { return; }
    stream->has_writable = stream->polling = false;
    uv_close((uv_handle_t *)&stream->writable, on_writable_closed);
}

static bool is_written(const stream_t *stream) {
    return stream->out_sent == stream->out_bytes || stream->write_error != 0;
}

static void on_writable(uv_poll_t *poll, int status, int events);

/* Asks to be told when the kernel takes more. */
static int wait_writable(stream_t *stream) {
    if (stream->polling) { return 0; }
    int rc = 0;
    if (!stream->has_writable) {
        int fd = 0;
        rc = uv_fileno(&stream->handle.any, &fd);
        if (rc != 0) { return rc; }
        stream->writable_fd = dup(fd); /* libuv watches a descriptor for one handle only */
        if (stream->writable_fd < 0) { return uv_translate_sys_error(errno); }
        rc = uv_poll_init(&stream->rt->loop->uv, &stream->writable, stream->writable_fd);
        if (rc != 0) {
            (void)close(stream->writable_fd);
            return rc;
        }
        stream->writable.data = stream;
        stream->has_writable = true;
        stream->refs++;
        stream->rt->live_handles++;
    }
    rc = uv_poll_start(&stream->writable, UV_WRITABLE, on_writable);
    stream->polling = rc == 0;
    return rc;
}

static void stop_waiting(stream_t *stream) {
    if (stream->polling) { (void)uv_poll_stop(&stream->writable); }
    stream->polling = false;
}

/* Hands the kernel what it takes now. */
static void move_bytes(stream_t *stream) {
    while (!is_written(stream)) {
        size_t rest = stream->out_bytes - stream->out_sent;
        uv_buf_t buffer =
            uv_buf_init((char *)(uintptr_t)stream->out + stream->out_sent, (unsigned)rest);
        int rc = uv_try_write(&stream->handle.stream, &buffer, 1);
        if (rc > 0) {
            stream->out_sent += (size_t)rc;
            continue;
        }
        if (rc == 0 || rc == UV_EAGAIN) { rc = wait_writable(stream); }
        if (rc != 0) { stream->write_error = rc; }
        if (stream->write_error == 0) { return; }
    }
    stop_waiting(stream);
}

static void on_writable(uv_poll_t *poll, int status, int events) {
    stream_t *stream = poll->data;
    (void)events;
    if (status < 0) {
        stream->write_error = status;
        stop_waiting(stream);
    } else {
        move_bytes(stream);
    }
    if (is_written(stream)) { stream_enqueue(stream); }
}

static void begin(stream_t *stream, const char *data, size_t bytes) {
    stream->out = data;
    stream->out_bytes = bytes;
    stream->out_sent = 0;
    stream->writing = true;
    move_bytes(stream);
}

static void end(stream_t *stream) {
    stop_waiting(stream);
    free(stream->out_copy);
    stream->out_copy = NULL;
    stream->out = NULL;
    stream->out_bytes = stream->out_sent = 0;
    stream->writing = false;
}

int stream_send(stream_t *stream, const char *data, size_t bytes) {
    if (!stream->open || stream->shut) { return stream->error != 0 ? stream->error : UV_ECANCELED; }
    if (stream->writing && is_written(stream) && stream->out_copy != NULL) { end(stream); }
    if (stream->writing || stream->writers.count > 0) { return UV_EBUSY; }
    if (stream->write_error != 0) { return stream->write_error; }
    begin(stream, data, bytes);
    size_t sent = stream->out_sent;
    if (is_written(stream)) {
        end(stream);
        return stream->write_error;
    }
    stream->out_copy = memory_zeroed(bytes - sent);
    memcpy(stream->out_copy, data + sent, bytes - sent);
    stream->out = stream->out_copy;
    stream->out_bytes = bytes - sent;
    stream->out_sent = 0;
    return 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void on_shutdown(uv_shutdown_t *request, int status) {
    stream_t *stream = request->handle->data;
    if (status != 0 && stream->write_error == 0) { stream->write_error = status; }
    stream->shut_pending = false;
    stream->shut_done = true;
    stream_enqueue(stream);
}

/* Whether the first of the queue, a shutdown, is through. */
static bool run_shutdown(stream_t *stream) {
    if (!stream->shut) {
        stream->shut = true;
        int rc = uv_shutdown(&stream->shutting, &stream->handle.stream, on_shutdown);
        stream->shut_pending = rc == 0;
        stream->shut_done = rc != 0;
        if (rc != 0) { stream->write_error = rc; }
    }
    return stream->shut_done;
}

static void finish_first(rt_t *rt, stream_t *stream, int error) {
    op_t *op = stream->writers.first;
    net_queue_remove(&stream->writers, op);
    if (error == 0) {
        op_finish(rt, op, rt->vm->L, true, 0);
    } else if (stream->torn) {
        net_fail_with(rt, op, "closed",
                      "the connection was closed: a write was cancelled half-way");
    } else {
        net_fail(rt, op, error == UV_EPIPE || error == UV_ECONNRESET ? UV_EOF : error);
    }
}

void stream_settle_writes(rt_t *rt, stream_t *stream) {
    if (stream->writing && stream->out_copy != NULL) {
        if (!is_written(stream) && !stream->closing) { return; }
        end(stream);
    }
    while (stream->writers.first != NULL) {
        op_t *op = stream->writers.first;
        int error = stream->closing ? UV_ECANCELED : stream->write_error;
        if (error == 0 && op->io.type == &STREAM_SHUTDOWN) {
            if (!run_shutdown(stream)) { return; }
            error = stream->write_error;
        } else if (error == 0 && stream->shut) {
            error = UV_ECANCELED;
        } else if (error == 0) {
            if (!stream->writing) { begin(stream, op->io.data, op->io.bytes); }
            if (!is_written(stream)) { return; }
            error = stream->write_error;
        }
        end(stream);
        finish_first(rt, stream, error);
    }
}

static void write_start(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    if (stream->writers.count >= NET_MAX_WAITING) {
        net_fail_with(rt, op, "busy", "64 writes wait on this connection already");
        return;
    }
    net_queue_push(&stream->writers, op);
    stream_settle_writes(rt, stream);
}

/* One that has not begun, or of which nothing was sent, did not happen. One that is half sent
 * leaves a torn message behind, which nothing but the end of the connection can tell the peer. */
static void write_abort(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    bool under_way = stream->writing && stream->out_copy == NULL && stream->writers.first == op;
    (void)rt;
    net_queue_remove(&stream->writers, op);
    if (!under_way) { return; }
    if (stream->out_sent > 0 && stream->out_sent < stream->out_bytes && !stream->closing) {
        stream->torn = true;
        stream_close(stream);
    }
    end(stream);
    stream_enqueue(stream); /* the next one begins, or all fail */
}

const op_io_t STREAM_WRITE = {"stream write", write_start, write_abort,
                              NULL,           NULL,        stream_op_ended};
const op_io_t STREAM_SHUTDOWN = {"stream shutdown", write_start, write_abort, NULL, NULL,
                                 stream_op_ended};
