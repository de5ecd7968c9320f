/* A stream's life and its reading side. The Lua face is api_stream.c. */
#include "net_stream.h"
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- life ------------------------------------------------------------------------------------ */

void stream_unref(stream_t *stream) {
    if (--stream->refs > 0) { return; }
    NET_LIST_REMOVE(stream->rt->streams, stream);
    free(stream->in);
    free(stream->out_copy);
    free(stream);
}

void stream_release(stream_t *stream) {
    stream->held = false;
    stream_unref(stream);
}

static void on_closed(uv_handle_t *handle) {
    stream_t *stream = handle->data;
    stream->rt->live_handles--;
    stream_unref(stream);
}

void stream_close(stream_t *stream) {
    if (stream->closing) { return; }
    stream->closing = true;
    stream->open = false;
    stream_close_writing(stream);
    uv_close(&stream->handle.any, on_closed);
}

void stream_use(stream_t *stream, op_t *op) {
    op->io.subject = stream;
    stream->op_count++;
}

void stream_op_ended(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    (void)rt;
    if (--stream->op_count > 0 || !stream->orphan) { return; }
    stream_close(stream);
    stream_release(stream);
}

void stream_collected(stream_t *stream) {
    stream->orphan = stream->op_count > 0 && !stream->rt->vm->closing;
    if (stream->orphan) { return; }
    stream_close(stream);
    stream_release(stream);
}

void stream_push(lua_State *L, stream_t *stream) {
    stream_box_t *box = lua_newuserdata(L, sizeof *box);
    *box = (stream_box_t){STREAM_MAGIC, stream};
    luaL_getmetatable(L, STREAM_CLASS);
    lua_setmetatable(L, -2);
}

stream_t *stream_new(rt_t *rt, bool is_unix) {
    stream_t *stream = memory_zeroed(sizeof *stream);
    stream->rt = rt;
    stream->refs = 2;
    stream->held = true;
    stream->is_unix = is_unix;
    NET_LIST_ADD(rt->streams, stream);
    stream->in_capacity = STREAM_BUFFER_BYTES + STREAM_DELIMITER_BYTES;
    stream->in = memory_zeroed(stream->in_capacity);
    if (is_unix) {
        (void)uv_pipe_init(&rt->loop->uv, &stream->handle.pipe, 0);
    } else {
        (void)uv_tcp_init(&rt->loop->uv, &stream->handle.tcp);
    }
    stream->handle.any.data = stream;
    rt->live_handles++;
    return stream;
}

void stream_opened(stream_t *stream) {
    stream->open = true;
    if (!stream->is_unix) { (void)uv_tcp_nodelay(&stream->handle.tcp, 1); }
}

int stream_address(const stream_t *stream, bool peer, struct sockaddr_storage *out) {
    int fd = 0;
    socklen_t bytes = sizeof *out;
    memset(out, 0, sizeof *out);
    int rc = uv_fileno(&stream->handle.any, &fd);
    if (rc != 0) { return rc; }
    struct sockaddr *address = (struct sockaddr *)out;
    rc = peer ? getpeername(fd, address, &bytes) : getsockname(fd, address, &bytes);
    return rc == 0 ? 0 : uv_translate_sys_error(errno);
}

/* ---- the buffer ------------------------------------------------------------------------------ */

static uint32_t received(const stream_t *stream) { return stream->in_end - stream->in_at; }

void stream_skip(stream_t *stream, uint32_t bytes) {
    stream->in_at += bytes < received(stream) ? bytes : received(stream);
    stream->scanned = 0;
    if (stream->in_at == stream->in_end) { stream->in_at = stream->in_end = 0; }
}

/* Puts bytes that were read, but are not used, back in front. */
static void unread(stream_t *stream, const char *data, size_t bytes) {
    uint32_t have = received(stream);
    if (bytes > stream->in_capacity - have) {
        stream->in_capacity = have + (uint32_t)bytes;
        stream->in = realloc(stream->in, stream->in_capacity);
        memory_must(stream->in);
    }
    memmove(stream->in + bytes, stream->in + stream->in_at, have);
    memcpy(stream->in, data, bytes);
    stream->in_at = 0;
    stream->in_end = have + (uint32_t)bytes;
    stream->scanned = 0;
}

/* A delimiter of a limited read may lie beyond STREAM_BUFFER_BYTES, in what is spare. */
static bool is_full(const stream_t *stream) {
    bool delimited = stream->read_op != NULL && (stream->read_op->io.type == &STREAM_LINE ||
                                                 stream->read_op->io.type == &STREAM_UNTIL);
    return received(stream) >= (delimited ? stream->in_capacity : STREAM_BUFFER_BYTES);
}

/* ---- callbacks: they only fill and enqueue --------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    stream_t *stream = handle->data;
    (void)suggested;
    if (stream->in_at > 0) {
        memmove(stream->in, stream->in + stream->in_at, received(stream));
        stream->in_end -= stream->in_at;
        stream->in_at = 0;
    }
    *buffer = uv_buf_init(stream->in + stream->in_end, stream->in_capacity - stream->in_end);
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer) {
    stream_t *stream = handle->data;
    (void)buffer;
    if (count < 0) {
        if (count != UV_ENOBUFS) { stream->error = (int)count; }
    } else {
        stream->in_end += (uint32_t)count;
    }
    if (count < 0 || is_full(stream)) {
        (void)uv_read_stop(handle);
        stream->reading = false;
    }
    stream_enqueue(stream);
}

void stream_start_reading(stream_t *stream) {
    if (stream->reading || !stream->open || stream->error != 0 || is_full(stream)) { return; }
    stream->reading = uv_read_start(&stream->handle.stream, on_alloc, on_read) == 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_done(rt_t *rt, stream_t *stream, uint32_t bytes, uint32_t taken) {
    op_t *op = stream->read_op;
    stream->read_op = NULL;
    lua_pushlstring(rt->vm->L, stream->in + stream->in_at, bytes);
    stream_skip(stream, taken);
    op_finish(rt, op, rt->vm->L, true, 1);
    stream_start_reading(stream);
}

static void read_failed(rt_t *rt, stream_t *stream, const char *code, const char *message) {
    op_t *op = stream->read_op;
    stream->read_op = NULL;
    if (code != NULL) {
        net_fail_with(rt, op, code, message);
    } else {
        net_fail(rt, op, stream->closing ? UV_ECANCELED : stream->error);
    }
}

/* Whether the delimiter has come, or can no longer come within the limit. */
static bool settle_delimited(rt_t *rt, stream_t *stream) {
    const op_t *op = stream->read_op;
    bool line = op->io.type == &STREAM_LINE;
    const char *delimiter = line ? "\n" : op->io.data;
    uint32_t length = line ? 1 : (uint32_t)op->io.bytes, limit = (uint32_t)op->io.number;
    uint32_t have = received(stream) < limit + length ? received(stream) : limit + length;
    uint32_t from = stream->scanned >= length ? stream->scanned - length + 1 : 0;
    const char *start = stream->in + stream->in_at;
    const char *found = have > from ? memmem(start + from, have - from, delimiter, length) : NULL;
    stream->scanned = have;
    if (found != NULL) {
        uint32_t bytes = (uint32_t)(found - start);
        bool cr = line && bytes > 0 && start[bytes - 1] == '\r';
        read_done(rt, stream, cr ? bytes - 1 : bytes, bytes + length);
    } else if (have == limit + length) {
        char text[96];
        (void)snprintf(text, sizeof text, "%s within %u bytes",
                       line ? "no line ends" : "the delimiter did not come", limit);
        read_failed(rt, stream, "limit", text);
    }
    return stream->read_op == NULL;
}

/* Ends a waiting read when enough has come, or when nothing more will. */
static void settle_read(rt_t *rt, stream_t *stream) {
    const op_t *op = stream->read_op;
    if (op == NULL) { return; }
    if (stream->closing) {
        read_failed(rt, stream, stream->torn ? "closed" : NULL,
                    "the connection was closed: a write was cancelled half-way");
        return;
    }
    uint32_t have = received(stream), want = (uint32_t)op->io.number;
    if (op->io.type == &STREAM_LINE || op->io.type == &STREAM_UNTIL) {
        if (settle_delimited(rt, stream)) { return; }
    } else if (have >= (want == 0 ? 1 : want)) {
        bool peek = op->io.type == &STREAM_PEEK;
        uint32_t bytes = want == 0 || peek ? have : want;
        read_done(rt, stream, bytes, peek ? 0 : bytes);
        return;
    }
    if (stream->error != 0) {
        read_failed(rt, stream, NULL, NULL);
    } else {
        stream_start_reading(stream);
    }
}

static void read_start(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    if (stream->read_op != NULL) {
        net_fail_with(rt, op, "busy", "another read waits on this connection");
        return;
    }
    stream->read_op = op;
    stream->scanned = 0;
    settle_read(rt, stream);
}

/* What has come stays for the next read. */
static void read_abort(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    (void)rt;
    if (stream->read_op == op) { stream->read_op = NULL; }
}

/* Puts back what it took, with its delimiter; a line's carriage return is lost, which no other
 * line's end can show. */
static void read_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    stream_t *stream = op->io.subject;
    size_t bytes = 0;
    const char *data = lua_tolstring(L, first, &bytes);
    (void)rt;
    if (data == NULL || op->io.type == &STREAM_PEEK) { return; }
    if (op->io.type == &STREAM_LINE) { unread(stream, "\n", 1); }
    if (op->io.type == &STREAM_UNTIL) { unread(stream, op->io.data, op->io.bytes); }
    unread(stream, data, bytes);
}

const op_io_t STREAM_READ = {"stream read", read_start, read_abort, read_undo, stream_op_ended};
const op_io_t STREAM_PEEK = {"stream read", read_start, read_abort, NULL, stream_op_ended};
const op_io_t STREAM_LINE = {"stream read", read_start, read_abort, read_undo, stream_op_ended};
const op_io_t STREAM_UNTIL = {"stream read", read_start, read_abort, read_undo, stream_op_ended};

/* ---- connecting ------------------------------------------------------------------------------ */

static void settle_connect(rt_t *rt, stream_t *stream) {
    op_t *op = stream->connect_op;
    if (op == NULL || (!stream->connect_done && !stream->closing)) { return; }
    stream->connect_op = NULL;
    if (stream->error == 0 && !stream->closing) {
        stream_opened(stream);
        stream_start_reading(stream);
        stream_push(rt->vm->L, stream); /* takes over the reference of the operation */
        op_finish(rt, op, rt->vm->L, true, 1);
        return;
    }
    net_fail(rt, op, stream->error != 0 ? stream->error : UV_ECANCELED);
    stream_close(stream);
    stream_release(stream);
}

static void stream_settle(rt_t *rt, rt_event_t *event) {
    stream_t *stream = (stream_t *)(void *)event;
    stream->queued = false;
    settle_connect(rt, stream);
    stream_settle_writes(rt, stream);
    settle_read(rt, stream);
    stream_unref(stream);
}

void stream_enqueue(stream_t *stream) {
    if (stream->queued) { return; }
    stream->queued = true;
    stream->refs++;
    stream->event.settle = stream_settle;
    rt_enqueue(stream->rt, &stream->event);
}

static void connect_done(stream_t *stream, int status) {
    stream->connect_done = true;
    if (status != 0) { stream->error = status; }
    stream_enqueue(stream);
}

static void on_connect(uv_connect_t *request, int status) {
    connect_done(request->handle->data, status);
}

static void connect_start(rt_t *rt, op_t *op) {
    const struct sockaddr *address = op->io.data;
    bool is_unix = address->sa_family == AF_UNIX;
    stream_t *stream = stream_new(rt, is_unix);
    op->io.subject = stream;
    stream->connect_op = op;
    if (is_unix) {
        const struct sockaddr_un *local = op->io.data;
        uv_pipe_connect(&stream->connecting, &stream->handle.pipe, local->sun_path, on_connect);
        return;
    }
    int rc = uv_tcp_connect(&stream->connecting, &stream->handle.tcp, address, on_connect);
    if (rc != 0) { connect_done(stream, rc); }
}

static void connect_abort(rt_t *rt, op_t *op) {
    stream_t *stream = op->io.subject;
    (void)rt;
    stream->connect_op = NULL;
    stream_close(stream);
    stream_release(stream);
}

/* Nobody takes the connection: its Lua value goes, and would be closed when it is collected. */
static void connect_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    (void)rt;
    (void)op;
    stream_box_t *box = lua_touserdata(L, first);
    if (box != NULL) { stream_close(box->stream); }
}

const op_io_t STREAM_CONNECT = {"connect", connect_start, connect_abort, connect_undo, NULL};

/* ---- outliving a VM -------------------------------------------------------------------------- */

static bool is_kept(const stream_t *stream) {
    return stream->kept[0] != '\0' && stream->open && !stream->closing && stream->error == 0;
}

stream_t *stream_find(const rt_t *rt, const char *name) {
    for (stream_t *stream = rt->streams; stream != NULL; stream = stream->next) {
        if (is_kept(stream) && strcmp(stream->kept, name) == 0) { return stream; }
    }
    return NULL;
}

void streams_detach(rt_t *rt) {
    for (stream_t *stream = rt->streams, *next = NULL; stream != NULL; stream = next) {
        next = stream->next;
        stream->connect_op = stream->read_op = NULL;
        stream->op_count = 0;
        stream->orphan = false;
        stream->writers = (op_queue_t){0};
        bool torn = stream->writing && stream->out_copy == NULL; /* its text is gone */
        if (is_kept(stream) && !torn) { continue; }
        stream_close(stream);
        if (stream->held) { stream_release(stream); }
    }
}
