/* stator.core.tcp: see tcp.h. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "tcp.h"

static const char CONN[] = "stator.tcp.connection";
static const char LISTENER[] = "stator.tcp.listener";

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (memory == NULL) { abort(); }
    return memory;
}

/* Pushes an error value { code, message }; stator.err gives it its metatable. */
static void push_error(lua_State *L, const char *code, const char *message) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_getfield(L, LUA_REGISTRYINDEX, "stator.err");
    if (lua_istable(L, -1)) {
        lua_setmetatable(L, -2);
    } else {
        lua_pop(L, 1);
    }
}

static void push_uv_error(lua_State *L, int error) {
    switch (error) {
    case UV_EOF: push_error(L, "closed", "the other side closed the connection"); break;
    case UV_ECANCELED: push_error(L, "closed", "the connection was closed"); break;
    case UV_ECONNREFUSED: push_error(L, "refused", "connection refused"); break;
    default: push_error(L, "io", uv_strerror(error)); break;
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void conn_release(tcp_conn_t *conn) {
    if (--conn->refs > 0) { return; }
    free(conn->in);
    free(conn->out);
    free(conn);
}

static void on_closed(uv_handle_t *handle) {
    tcp_conn_t *conn = handle->data;
    conn->rt->live_handles--;
    conn_release(conn);
}

static void conn_close(tcp_conn_t *conn) {
    if (conn->closing) { return; }
    conn->closing = true;
    conn->open = false;
    if (conn->resolver_busy) { (void)uv_cancel((uv_req_t *)&conn->resolving); }
    uv_close((uv_handle_t *)&conn->handle, on_closed);
}

static uint32_t received(const tcp_conn_t *conn) { return conn->in_end - conn->in_at; }

static void push_received(lua_State *L, tcp_conn_t *conn, uint32_t bytes) {
    lua_pushlstring(L, conn->in + conn->in_at, bytes);
    conn->in_at += bytes;
    if (conn->in_at == conn->in_end) { conn->in_at = conn->in_end = 0; }
}

static void conn_start_reading(tcp_conn_t *conn);

/* Ends a waiting read when enough has come, or when nothing more will. */
static void settle_read(rt_t *rt, tcp_conn_t *conn) {
    op_t *op = conn->read_op;
    lua_State *L = rt->vm->L;
    if (op == NULL) { return; }
    uint32_t want = (uint32_t)op->io.number, have = received(conn);
    if (have >= (want == 0 ? 1 : want)) {
        conn->read_op = NULL;
        push_received(L, conn, want == 0 ? have : want);
        op_finish(rt, op, L, true, 1);
        conn_start_reading(conn);
    } else if (conn->error != 0 || conn->closing) {
        conn->read_op = NULL;
        push_uv_error(L, conn->error != 0 ? conn->error : UV_ECANCELED);
        op_finish(rt, op, L, false, 1);
    }
}

static void push_conn(lua_State *L, tcp_conn_t *conn) {
    tcp_conn_t **box = lua_newuserdata(L, sizeof *box);
    *box = conn;
    luaL_getmetatable(L, CONN);
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
        conn_start_reading(conn);
        push_conn(L, conn); /* takes over the reference of the operation */
        op_finish(rt, op, L, true, 1);
        return;
    }
    push_uv_error(L, conn->error != 0 ? conn->error : UV_ECANCELED);
    op_finish(rt, op, L, false, 1);
    conn_close(conn);
    conn_release(conn);
}

static void settle_write(rt_t *rt, tcp_conn_t *conn) {
    op_t *op = conn->write_op;
    lua_State *L = rt->vm->L;
    if (op == NULL || (!conn->write_done && !conn->closing)) { return; }
    conn->write_op = NULL;
    int error = conn->closing ? UV_ECANCELED : conn->write_error;
    if (error != 0) { push_uv_error(L, error); }
    op_finish(rt, op, L, error == 0, error == 0 ? 0 : 1);
}

static void conn_settle(rt_t *rt, rt_event_t *event) {
    tcp_conn_t *conn = (tcp_conn_t *)(void *)event;
    conn->queued = false;
    settle_connect(rt, conn);
    settle_write(rt, conn);
    settle_read(rt, conn);
    conn_release(conn);
}

static void conn_enqueue(tcp_conn_t *conn) {
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
    conn_enqueue(conn);
}

static void conn_start_reading(tcp_conn_t *conn) {
    if (conn->reading || !conn->open || conn->error != 0 || received(conn) == TCP_BUFFER_BYTES) {
        return;
    }
    conn->reading = uv_read_start((uv_stream_t *)&conn->handle, on_alloc, on_read) == 0;
}

static void on_connect(uv_connect_t *request, int status) {
    tcp_conn_t *conn = request->handle->data;
    conn->connect_done = true;
    if (status != 0) { conn->error = status; }
    conn_enqueue(conn);
}

static void on_written(uv_write_t *request, int status) {
    tcp_conn_t *conn = request->handle->data;
    free(conn->out);
    conn->out = NULL;
    conn->write_done = true;
    conn->write_error = status;
    conn_enqueue(conn);
}

static void connect_to(tcp_conn_t *conn, const struct sockaddr *address) {
    int rc = uv_tcp_connect(&conn->connecting, &conn->handle, address, on_connect);
    if (rc != 0) {
        conn->error = rc;
        conn->connect_done = true;
        conn_enqueue(conn);
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
        conn_enqueue(conn);
    }
    uv_freeaddrinfo(found);
    conn_release(conn);
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
            conn_enqueue(conn);
        }
    }
    luaL_unref(rt->vm->L, LUA_REGISTRYINDEX,
               op->io.ref); /* the host's name is not needed any more */
    op->io.ref = LUA_NOREF;
}

static void connect_abort(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    (void)rt;
    conn->connect_op = NULL;
    conn_close(conn);
    conn_release(conn);
}

static const op_io_t CONNECT = {"tcp connect", connect_start, connect_abort};

static void read_start(rt_t *rt, op_t *op) {
    tcp_conn_t *conn = op->io.subject;
    if (conn->read_op != NULL) {
        push_error(rt->vm->L, "busy", "another read waits on this connection");
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

static const op_io_t READ = {"tcp read", read_start, read_abort};

static void write_fail(rt_t *rt, op_t *op, int error) {
    push_uv_error(rt->vm->L, error);
    op_finish(rt, op, rt->vm->L, false, 1);
}

/* Hands the system what it takes at once. */
static int send_now(tcp_conn_t *conn, const char *data, size_t bytes, size_t *sent) {
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)bytes);
    int rc = bytes == 0 ? 0 : uv_try_write((uv_stream_t *)&conn->handle, &buffer, 1);
    *sent = rc > 0 ? (size_t)rc : 0;
    return rc < 0 && rc != UV_EAGAIN ? rc : 0;
}

/* Lets libuv send a copy of the rest; conn->out is NULL again when it has. */
static int send_rest(tcp_conn_t *conn, const char *data, size_t bytes) {
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
    lua_rawgeti(L, LUA_REGISTRYINDEX, op->io.ref);
    size_t bytes = 0;
    const char *data = lua_tolstring(L, -1, &bytes);
    luaL_unref(L, LUA_REGISTRYINDEX, op->io.ref);
    op->io.ref = LUA_NOREF;
    lua_remove(L, -1); /* the string lives on: op's environment holds it */
    if (!conn->open || conn->out != NULL || conn->write_op != NULL) {
        write_fail(rt, op, conn->open ? UV_EBUSY : UV_ECANCELED);
        return;
    }
    size_t sent = 0;
    int error = send_now(conn, data, bytes, &sent);
    if (error == 0 && sent < bytes) {
        conn->write_op = op;
        error = send_rest(conn, data + sent, bytes - sent);
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

static const op_io_t WRITE = {"tcp write", write_start, write_abort};

static op_t *io_op(lua_State *L, const op_io_t *type, void *subject, double number) {
    op_t *op = op_new(L, OP_IO);
    op->io.type = type;
    op->io.subject = subject;
    op->io.number = number;
    return op;
}

/* The operation's environment keeps the value at `index` and that at `other` alive. */
static void keep(lua_State *L, int index, int other) {
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, other);
    lua_rawseti(L, -2, 2);
    (void)lua_setfenv(L, -2);
}

static int check_port(lua_State *L, int index, int lowest) {
    double port = luaL_checknumber(L, index);
    if (!(port >= lowest && port <= 65535)) {
        return luaL_argerror(L, index, "a port is 1 to 65535");
    }
    return (int)port;
}

/* connect(host, port) -> operation -> connection */
static int l_connect(lua_State *L) {
    const char *host = luaL_checkstring(L, 1);
    op_t *op = io_op(L, &CONNECT, NULL, check_port(L, 2, 1));
    op->io.data = (void *)(uintptr_t)host;
    keep(L, 1, 1);
    return 1;
}

static tcp_conn_t *check_conn(lua_State *L) { return *(tcp_conn_t **)luaL_checkudata(L, 1, CONN); }

/* connection:read([n]) -> operation -> exactly n bytes, or what there is but at least one */
static int l_read(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    double want = luaL_optnumber(L, 2, 0);
    if (!(want >= 0 && want <= TCP_BUFFER_BYTES)) {
        return luaL_argerror(L, 2, "at most 65536 bytes at once");
    }
    (void)io_op(L, &READ, conn, want);
    keep(L, 1, 1);
    return 1;
}

/* connection:write(data) -> operation that ends when the system has taken all of it */
static int l_write(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    size_t bytes = 0;
    (void)luaL_checklstring(L, 2, &bytes);
    if (bytes > TCP_MAX_WRITE_BYTES) { return luaL_argerror(L, 2, "at most 1 MiB at once"); }
    op_t *op = io_op(L, &WRITE, conn, 0);
    lua_pushvalue(L, 2);
    op->io.ref = luaL_ref(L, LUA_REGISTRYINDEX);
    keep(L, 1, 2);
    return 1;
}

/* connection:send(data) -> true, or nil and an error. Does not wait: what the system does not take
 * at once goes out as it can, and until then another send is refused with code "busy". */
static int l_send(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    size_t bytes = 0;
    const char *data = luaL_checklstring(L, 2, &bytes);
    if (bytes > TCP_MAX_WRITE_BYTES) { return luaL_argerror(L, 2, "at most 1 MiB at once"); }
    int error = !conn->open         ? (conn->error != 0 ? conn->error : UV_ECANCELED)
                : conn->out != NULL ? UV_EBUSY
                                    : 0;
    size_t sent = 0;
    if (error == 0) { error = send_now(conn, data, bytes, &sent); }
    if (error == 0 && sent < bytes) { error = send_rest(conn, data + sent, bytes - sent); }
    if (error == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    if (error == UV_EBUSY) {
        push_error(L, "busy", "the connection still sends what came before");
    } else {
        push_uv_error(L, error);
    }
    return 2;
}

/* connection:close(); waiting operations fail with code "closed" */
static int l_close(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    conn_close(conn);
    conn_enqueue(conn);
    return 0;
}

/* connection:discard(): throws away what was received */
static int l_discard(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    conn->in_at = conn->in_end = 0;
    conn_start_reading(conn);
    return 0;
}

static int conn_gc(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    conn_close(conn);
    conn_release(conn);
    return 0;
}

/* ---- listeners ------------------------------------------------------------------------------- */

static void listener_release(tcp_listener_t *listener) {
    if (--listener->refs == 0) { free(listener); }
}

static void on_listener_closed(uv_handle_t *handle) {
    tcp_listener_t *listener = handle->data;
    listener->rt->live_handles--;
    listener_release(listener);
}

static void accept_into_queue(tcp_listener_t *listener) {
    tcp_conn_t *conn = conn_new(listener->rt);
    if (uv_accept((uv_stream_t *)&listener->handle, (uv_stream_t *)&conn->handle) != 0) {
        conn_close(conn);
        conn_release(conn);
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
        conn_start_reading(conn);
        push_conn(L, conn);
        op_finish(rt, op, L, true, 1);
    } else if (listener->closing) {
        listener->accept_op = NULL;
        push_uv_error(L, UV_ECANCELED);
        op_finish(rt, op, L, false, 1);
    }
}

static void listener_settle(rt_t *rt, rt_event_t *event) {
    tcp_listener_t *listener = (tcp_listener_t *)(void *)event;
    listener->queued = false;
    settle_accept(rt, listener);
    listener_release(listener);
}

static void listener_enqueue(tcp_listener_t *listener) {
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
    listener_enqueue(listener);
}

static void accept_start(rt_t *rt, op_t *op) {
    tcp_listener_t *listener = op->io.subject;
    if (listener->accept_op != NULL) {
        push_error(rt->vm->L, "busy", "another accept waits on this listener");
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

static const op_io_t ACCEPT = {"tcp accept", accept_start, accept_abort};

static int listen_fail(lua_State *L, tcp_listener_t *listener, int error) {
    uv_close((uv_handle_t *)&listener->handle, on_listener_closed);
    listener->refs--;
    lua_pushnil(L);
    push_uv_error(L, error);
    return 2;
}

/* listen(address, port) -> listener | nil, error; port 0 takes a free one */
static int l_listen(lua_State *L) {
    const char *address = luaL_checkstring(L, 1);
    int port = check_port(L, 2, 0);
    struct sockaddr_storage where;
    if (uv_ip4_addr(address, port, (struct sockaddr_in *)&where) != 0 &&
        uv_ip6_addr(address, port, (struct sockaddr_in6 *)&where) != 0) {
        return luaL_argerror(L, 1, "expected a numeric address such as 127.0.0.1");
    }
    tcp_listener_t *listener = allocate(sizeof *listener);
    listener->rt = rt_of(L);
    listener->refs = 2;
    (void)uv_tcp_init(&listener->rt->loop->uv, &listener->handle);
    listener->handle.data = listener;
    listener->rt->live_handles++;
    int rc = uv_tcp_bind(&listener->handle, (struct sockaddr *)&where, 0);
    if (rc == 0) { rc = uv_listen((uv_stream_t *)&listener->handle, TCP_BACKLOG, on_connection); }
    if (rc != 0) { return listen_fail(L, listener, rc); }
    tcp_listener_t **box = lua_newuserdata(L, sizeof *box);
    *box = listener;
    luaL_getmetatable(L, LISTENER);
    lua_setmetatable(L, -2);
    return 1;
}

static tcp_listener_t *check_listener(lua_State *L) {
    return *(tcp_listener_t **)luaL_checkudata(L, 1, LISTENER);
}

static int l_accept(lua_State *L) {
    (void)io_op(L, &ACCEPT, check_listener(L), 0);
    keep(L, 1, 1);
    return 1;
}

/* listener:port() -> the port it listens on */
static int l_port(lua_State *L) {
    struct sockaddr_storage where;
    int bytes = sizeof where;
    (void)uv_tcp_getsockname(&check_listener(L)->handle, (struct sockaddr *)&where, &bytes);
    const struct sockaddr_in *ip4 = (const struct sockaddr_in *)&where;
    lua_pushinteger(L, ntohs(ip4->sin_port)); /* the same place for IPv6 */
    return 1;
}

static void listener_close(tcp_listener_t *listener) {
    if (listener->closing) { return; }
    listener->closing = true;
    for (uint32_t i = 0; i < listener->waiting_count; i++) {
        conn_close(listener->waiting[i]);
        conn_release(listener->waiting[i]);
    }
    listener->waiting_count = 0;
    uv_close((uv_handle_t *)&listener->handle, on_listener_closed);
}

static int l_listener_close(lua_State *L) {
    tcp_listener_t *listener = check_listener(L);
    listener_close(listener);
    listener_enqueue(listener);
    return 0;
}

static int listener_gc(lua_State *L) {
    tcp_listener_t *listener = check_listener(L);
    listener_close(listener);
    listener_release(listener);
    return 0;
}

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
    (void)luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int api_open_tcp(lua_State *L) {
    static const luaL_Reg conn[] = {{"read", l_read}, {"write", l_write},     {"close", l_close},
                                    {"send", l_send}, {"discard", l_discard}, {NULL, NULL}};
    static const luaL_Reg listener[] = {
        {"accept", l_accept}, {"port", l_port}, {"close", l_listener_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"connect", l_connect}, {"listen", l_listen}, {NULL, NULL}};
    make_class(L, CONN, conn, conn_gc);
    make_class(L, LISTENER, listener, listener_gc);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
