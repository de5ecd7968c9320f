/* Connections and listeners: what libuv's callbacks leave behind, and what the settle stage makes
 * of it. The Lua face is api_tcp.c. */
#include "tcp.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    memory_must(memory);
    return memory;
}

void tcp_push_uv_error(lua_State *L, int error) {
    switch (error) {
    case UV_EOF: error_push(L, "closed", "the other side closed the connection"); break;
    case UV_ECANCELED: error_push(L, "closed", "the connection was closed"); break;
    case UV_ECONNREFUSED: error_push(L, "refused", "connection refused"); break;
    default: error_push(L, "io", uv_strerror(error)); break;
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

#define LIST_ADD(head, item)                                                                       \
    do {                                                                                           \
        (item)->next = (head);                                                                     \
        if ((head) != NULL) { (head)->prev = (item); }                                             \
        (head) = (item);                                                                           \
    } while (0)
#define LIST_REMOVE(head, item)                                                                    \
    do {                                                                                           \
        if ((item)->next != NULL) { (item)->next->prev = (item)->prev; }                           \
        if ((item)->prev != NULL) {                                                                \
            (item)->prev->next = (item)->next;                                                     \
        } else {                                                                                   \
            (head) = (item)->next;                                                                 \
        }                                                                                          \
    } while (0)

static void conn_unref(tcp_conn_t *conn) {
    if (--conn->refs > 0) { return; }
    LIST_REMOVE(conn->rt->conns, conn);
    free(conn->in);
    free(conn->out);
    free(conn);
}

void tcp_conn_release(tcp_conn_t *conn) {
    conn->held = false;
    conn_unref(conn);
}

static void on_closed(uv_handle_t *handle) {
    tcp_conn_t *conn = handle->data;
    conn->rt->live_handles--;
    conn_unref(conn);
}

void tcp_conn_close(tcp_conn_t *conn) {
    if (conn->closing) { return; }
    conn->closing = true;
    conn->open = false;
    if (conn->resolver_busy) { (void)uv_cancel((uv_req_t *)&conn->resolving); }
    uv_close((uv_handle_t *)&conn->handle, on_closed);
}

static uint32_t received(const tcp_conn_t *conn) { return conn->in_end - conn->in_at; }

void tcp_conn_skip(tcp_conn_t *conn, uint32_t bytes) {
    conn->in_at += bytes < received(conn) ? bytes : received(conn);
    if (conn->in_at == conn->in_end) { conn->in_at = conn->in_end = 0; }
}

/* Ends a waiting read when enough has come, or when nothing more will. */
static void settle_read(rt_t *rt, tcp_conn_t *conn) {
    op_t *op = conn->read_op;
    lua_State *L = rt->vm->L;
    if (op == NULL) { return; }
    uint32_t want = (uint32_t)op->io.number, have = received(conn);
    bool peek = op->io.type == &TCP_PEEK;
    if (have >= (want == 0 ? 1 : want)) {
        conn->read_op = NULL;
        lua_pushlstring(L, conn->in + conn->in_at, want == 0 || peek ? have : want);
        if (!peek) { tcp_conn_skip(conn, want == 0 ? have : want); }
        op_finish(rt, op, L, true, 1);
        tcp_conn_start_reading(conn);
    } else if (conn->error != 0 || conn->closing) {
        conn->read_op = NULL;
        tcp_push_uv_error(L, conn->error != 0 ? conn->error : UV_ECANCELED);
        op_finish(rt, op, L, false, 1);
    }
}

void tcp_conn_push(lua_State *L, tcp_conn_t *conn) {
    tcp_conn_t **box = lua_newuserdata(L, sizeof *box);
    *box = conn;
    luaL_getmetatable(L, TCP_CONN_CLASS);
    lua_setmetatable(L, -2);
}

static void settle_connect(rt_t *rt, tcp_conn_t *conn) {
    op_t *op = conn->connect_op;
    lua_State *L = rt->vm->L;
    if (op == NULL || (!conn->connect_done && !conn->closing)) { return; }
    conn->connect_op = NULL;
    if (conn->error == 0 && !conn->closing) {
        conn->open = true;
        (void)uv_tcp_nodelay(&conn->handle, 1);
        tcp_conn_start_reading(conn);
        tcp_conn_push(L, conn); /* takes over the reference of the operation */
        op_finish(rt, op, L, true, 1);
        return;
    }
    tcp_push_uv_error(L, conn->error != 0 ? conn->error : UV_ECANCELED);
    op_finish(rt, op, L, false, 1);
    tcp_conn_close(conn);
    tcp_conn_release(conn);
}

static void settle_write(rt_t *rt, tcp_conn_t *conn) {
    op_t *op = conn->write_op;
    lua_State *L = rt->vm->L;
    if (op == NULL || (!conn->write_done && !conn->closing)) { return; }
    conn->write_op = NULL;
    int error = conn->closing ? UV_ECANCELED : conn->write_error;
    if (error != 0) { tcp_push_uv_error(L, error); }
    op_finish(rt, op, L, error == 0, error == 0 ? 0 : 1);
}

static void conn_settle(rt_t *rt, rt_event_t *event) {
    tcp_conn_t *conn = (tcp_conn_t *)(void *)event;
    conn->queued = false;
    settle_connect(rt, conn);
    settle_write(rt, conn);
    settle_read(rt, conn);
    conn_unref(conn);
}

void tcp_conn_enqueue(tcp_conn_t *conn) {
    if (conn->queued) { return; }
    conn->queued = true;
    conn->refs++;
    conn->event.settle = conn_settle;
    rt_enqueue(conn->rt, &conn->event);
}

static tcp_conn_t *conn_new(rt_t *rt) {
    tcp_conn_t *conn = allocate(sizeof *conn);
    conn->rt = rt;
    conn->refs = 2;
    conn->held = true;
    LIST_ADD(rt->conns, conn);
    conn->in = allocate(TCP_BUFFER_BYTES);
    (void)uv_tcp_init(&rt->loop->uv, &conn->handle);
    conn->handle.data = conn;
    rt->live_handles++;
    return conn;
}

/* ---- callbacks: they only fill and enqueue ----------------------------------------------------
 */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    tcp_conn_t *conn = handle->data;
    (void)suggested;
    if (conn->in_at > 0) {
        memmove(conn->in, conn->in + conn->in_at, received(conn));
        conn->in_end -= conn->in_at;
        conn->in_at = 0;
    }
    *buffer = uv_buf_init(conn->in + conn->in_end, TCP_BUFFER_BYTES - conn->in_end);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    tcp_conn_t *conn = stream->data;
    (void)buffer;
    if (count < 0) {
        if (count != UV_ENOBUFS) { conn->error = (int)count; }
    } else {
        conn->in_end += (uint32_t)count;
    }
    if (count < 0 || received(conn) == TCP_BUFFER_BYTES) {
        (void)uv_read_stop(stream);
        conn->reading = false;
    }
    tcp_conn_enqueue(conn);
}

void tcp_conn_start_reading(tcp_conn_t *conn) {
    if (conn->reading || !conn->open || conn->error != 0 || received(conn) == TCP_BUFFER_BYTES) {
        return;
    }
    conn->reading = uv_read_start((uv_stream_t *)&conn->handle, on_alloc, on_read) == 0;
}

static void on_connect(uv_connect_t *request, int status) {
    tcp_conn_t *conn = request->handle->data;
    conn->connect_done = true;
    if (status != 0) { conn->error = status; }
    tcp_conn_enqueue(conn);
}

static void on_written(uv_write_t *request, int status) {
    tcp_conn_t *conn = request->handle->data;
    free(conn->out);
    conn->out = NULL;
    conn->write_done = true;
    conn->write_error = status;
    tcp_conn_enqueue(conn);
}

static void connect_to(tcp_conn_t *conn, const struct sockaddr *address) {
    int rc = uv_tcp_connect(&conn->connecting, &conn->handle, address, on_connect);
    if (rc != 0) {
        conn->error = rc;
        conn->connect_done = true;
        tcp_conn_enqueue(conn);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    tcp_conn_t *conn = request->data;
    conn->resolver_busy = false;
    if (status == 0 && !conn->closing) {
        connect_to(conn, found->ai_addr);
    } else {
        conn->error = status != 0 ? status : UV_ECANCELED;
        conn->connect_done = true;
        tcp_conn_enqueue(conn);
    }
    uv_freeaddrinfo(found);
    conn_unref(conn);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void connect_start(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = conn_new(rt);
    struct sockaddr_storage address;
    op->io.subject = conn;
    conn->connect_op = op;
    conn->port = (int)op->io.number;
    const char *host = op->io.data;
    if (uv_ip4_addr(host, conn->port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(host, conn->port, (struct sockaddr_in6 *)&address) == 0) {
        connect_to(conn, (struct sockaddr *)&address);
    } else {
        char port[16];
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        (void)snprintf(port, sizeof port, "%d", conn->port);
        conn->resolving.data = conn;
        int rc = uv_getaddrinfo(&rt->loop->uv, &conn->resolving, on_resolved, host, port, &hints);
        conn->resolver_busy = rc == 0;
        conn->refs += rc == 0;
        if (rc != 0) {
            conn->error = rc;
            conn->connect_done = true;
            tcp_conn_enqueue(conn);
        }
    }
}

static void connect_abort(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    (void)rt;
    conn->connect_op = NULL;
    tcp_conn_close(conn);
    tcp_conn_release(conn);
}

const op_io_t TCP_CONNECT = {"tcp connect", connect_start, connect_abort};

static void read_start(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    if (conn->read_op != NULL) {
        error_push(rt->vm->L, "busy", "another read waits on this connection");
        op_finish(rt, op, rt->vm->L, false, 1);
        return;
    }
    conn->read_op = op;
    settle_read(rt, conn);
}

static void read_abort(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    (void)rt;
    if (conn->read_op == op) { conn->read_op = NULL; }
}

const op_io_t TCP_READ = {"tcp read", read_start, read_abort};
const op_io_t TCP_PEEK = {"tcp read", read_start, read_abort};

static void write_fail(rt_t *rt, op_t *op, int error) {
    tcp_push_uv_error(rt->vm->L, error);
    op_finish(rt, op, rt->vm->L, false, 1);
}

/* Hands the system what it takes at once. */
int tcp_send_now(tcp_conn_t *conn, const char *data, size_t bytes, size_t *sent) {
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)bytes);
    int rc = bytes == 0 ? 0 : uv_try_write((uv_stream_t *)&conn->handle, &buffer, 1);
    *sent = rc > 0 ? (size_t)rc : 0;
    return rc < 0 && rc != UV_EAGAIN ? rc : 0;
}

/* Lets libuv send a copy of the rest; conn->out is NULL again when it has. */
int tcp_send_rest(tcp_conn_t *conn, const char *data, size_t bytes) {
    conn->out = allocate(bytes);
    memcpy(conn->out, data, bytes);
    uv_buf_t buffer = uv_buf_init(conn->out, (unsigned)bytes);
    conn->write_done = false;
    int rc = uv_write(&conn->writing, (uv_stream_t *)&conn->handle, &buffer, 1, on_written);
    if (rc != 0) {
        free(conn->out);
        conn->out = NULL;
    }
    return rc;
}

static void write_start(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    lua_State *L = rt->vm->L;
    rt_push_ref(rt, L, op->io.ref);
    size_t bytes = 0;
    const char *data = lua_tolstring(L, -1, &bytes);
    lua_pop(L, 1); /* the string lives on: the operation holds it */
    if (!conn->open || conn->out != NULL || conn->write_op != NULL) {
        write_fail(rt, op, conn->open ? UV_EBUSY : UV_ECANCELED);
        return;
    }
    size_t sent = 0;
    int error = tcp_send_now(conn, data, bytes, &sent);
    if (error == 0 && sent < bytes) {
        conn->write_op = op;
        error = tcp_send_rest(conn, data + sent, bytes - sent);
        if (error == 0) { return; }
        conn->write_op = NULL;
    }
    if (error != 0) {
        write_fail(rt, op, error);
    } else {
        op_finish(rt, op, L, true, 0);
    }
}

/* The bytes are on their way: what is aborted is the waiting. */
static void write_abort(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    (void)rt;
    if (conn->write_op == op) { conn->write_op = NULL; }
}

const op_io_t TCP_WRITE = {"tcp write", write_start, write_abort};

/* ---- listeners ------------------------------------------------------------------------------- */

static void listener_unref(tcp_listener_t *listener) {
    if (--listener->refs > 0) { return; }
    LIST_REMOVE(listener->rt->listeners, listener);
    free(listener);
}

void tcp_listener_release(tcp_listener_t *listener) {
    listener->held = false;
    listener_unref(listener);
}

static void on_listener_closed(uv_handle_t *handle) {
    tcp_listener_t *listener = handle->data;
    listener->rt->live_handles--;
    listener_unref(listener);
}

static void accept_into_queue(tcp_listener_t *listener) {
    tcp_conn_t *conn = conn_new(listener->rt);
    if (uv_accept((uv_stream_t *)&listener->handle, (uv_stream_t *)&conn->handle) != 0) {
        tcp_conn_close(conn);
        tcp_conn_release(conn);
        return;
    }
    conn->open = true;
    (void)uv_tcp_nodelay(&conn->handle, 1);
    listener->waiting[listener->waiting_count++] = conn;
}

static void settle_accept(rt_t *rt, tcp_listener_t *listener) {
    op_t *op = listener->accept_op;
    lua_State *L = rt->vm->L;
    if (op == NULL) { return; }
    if (listener->waiting_count > 0) {
        tcp_conn_t *conn = listener->waiting[0];
        listener->waiting_count--;
        memmove(listener->waiting, listener->waiting + 1, listener->waiting_count * sizeof conn);
        if (listener->pending > 0) {
            listener->pending--;
            accept_into_queue(listener);
        }
        listener->accept_op = NULL;
        tcp_conn_start_reading(conn);
        tcp_conn_push(L, conn);
        op_finish(rt, op, L, true, 1);
    } else if (listener->closing) {
        listener->accept_op = NULL;
        tcp_push_uv_error(L, UV_ECANCELED);
        op_finish(rt, op, L, false, 1);
    }
}

static void listener_settle(rt_t *rt, rt_event_t *event) {
    tcp_listener_t *listener = (tcp_listener_t *)(void *)event;
    listener->queued = false;
    settle_accept(rt, listener);
    listener_unref(listener);
}

void tcp_listener_enqueue(tcp_listener_t *listener) {
    if (listener->queued) { return; }
    listener->queued = true;
    listener->refs++;
    listener->event.settle = listener_settle;
    rt_enqueue(listener->rt, &listener->event);
}

static void on_connection(uv_stream_t *stream, int status) {
    tcp_listener_t *listener = stream->data;
    if (status != 0) { return; }
    if (listener->waiting_count == TCP_ACCEPT_QUEUE) {
        listener->pending++; /* not accepted: libuv holds the backlog until it is */
        return;
    }
    accept_into_queue(listener);
    tcp_listener_enqueue(listener);
}

static void accept_start(rt_t *rt, op_t *op) {
    tcp_listener_t *listener = op->io.subject;
    if (listener->accept_op != NULL) {
        error_push(rt->vm->L, "busy", "another accept waits on this listener");
        op_finish(rt, op, rt->vm->L, false, 1);
        return;
    }
    listener->accept_op = op;
    settle_accept(rt, listener);
}

static void accept_abort(rt_t *rt, op_t *op) {
    tcp_listener_t *listener = op->io.subject;
    (void)rt;
    if (listener->accept_op == op) { listener->accept_op = NULL; }
}

const op_io_t TCP_ACCEPT = {"tcp accept", accept_start, accept_abort};

void tcp_listener_close(tcp_listener_t *listener) {
    if (listener->closing) { return; }
    listener->closing = true;
    for (uint32_t i = 0; i < listener->waiting_count; i++) {
        tcp_conn_close(listener->waiting[i]);
        tcp_conn_release(listener->waiting[i]);
    }
    listener->waiting_count = 0;
    uv_close((uv_handle_t *)&listener->handle, on_listener_closed);
}

int tcp_listener_open(rt_t *rt, const struct sockaddr *where, tcp_listener_t **out) {
    tcp_listener_t *listener = allocate(sizeof *listener);
    listener->rt = rt;
    listener->refs = 2;
    listener->held = true;
    LIST_ADD(rt->listeners, listener);
    (void)uv_tcp_init(&rt->loop->uv, &listener->handle);
    listener->handle.data = listener;
    rt->live_handles++;
    int rc = uv_tcp_bind(&listener->handle, where, 0);
    if (rc == 0) { rc = uv_listen((uv_stream_t *)&listener->handle, TCP_BACKLOG, on_connection); }
    if (rc != 0) {
        tcp_listener_close(listener);
        tcp_listener_release(listener);
        return rc;
    }
    *out = listener;
    return 0;
}

/* ---- outliving a VM -------------------------------------------------------------------------- */

static bool is_kept(const tcp_conn_t *conn) {
    return conn->kept[0] != '\0' && conn->open && !conn->closing && conn->error == 0;
}

tcp_conn_t *tcp_conn_find(const rt_t *rt, const char *name) {
    for (tcp_conn_t *conn = rt->conns; conn != NULL; conn = conn->next) {
        if (is_kept(conn) && strcmp(conn->kept, name) == 0) { return conn; }
    }
    return NULL;
}

void tcp_detach(rt_t *rt) {
    for (tcp_listener_t *listener = rt->listeners, *next = NULL; listener != NULL;
         listener = next) {
        next = listener->next;
        listener->accept_op = NULL;
        tcp_listener_close(listener);
        if (listener->held) { tcp_listener_release(listener); }
    }
    for (tcp_conn_t *conn = rt->conns, *next = NULL; conn != NULL; conn = next) {
        next = conn->next;
        conn->connect_op = conn->read_op = conn->write_op = NULL;
        if (is_kept(conn)) { continue; }
        tcp_conn_close(conn);
        if (conn->held) { tcp_conn_release(conn); }
    }
}
