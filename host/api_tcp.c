#include "api.h"
#include "tcp.h"

static op_t *io_op(lua_State *L, const op_io_t *type, void *subject, double number) {
    op_t *op = op_new(L, OP_IO);
    op->io.type = type;
    op->io.subject = subject;
    op->io.number = number;
    return op;
}

/* A reference to the value at `index`. */
static int hold(lua_State *L, int index) {
    lua_pushvalue(L, index);
    return rt_ref(rt_of(L), L);
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
    op_t *op = io_op(L, &TCP_CONNECT, NULL, check_port(L, 2, 1));
    op->io.data = (void *)(uintptr_t)host;
    op->io.ref = hold(L, 1);
    return 1;
}

static tcp_conn_t *check_conn(lua_State *L) {
    return *(tcp_conn_t **)luaL_checkudata(L, 1, TCP_CONN_CLASS);
}

/* connection:read([n]) -> operation -> exactly n bytes, or what there is but at least one */
static int l_read(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    double want = luaL_optnumber(L, 2, 0);
    if (!(want >= 0 && want <= TCP_BUFFER_BYTES)) {
        return luaL_argerror(L, 2, "at most 65536 bytes at once");
    }
    io_op(L, &TCP_READ, conn, want)->io.subject_ref = hold(L, 1);
    return 1;
}

/* connection:peek(n) -> operation -> all bytes that are there, once they are n; they stay there */
static int l_peek(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    double least = luaL_checknumber(L, 2);
    if (!(least >= 1 && least <= TCP_BUFFER_BYTES)) {
        return luaL_argerror(L, 2, "1 to 65536 bytes");
    }
    io_op(L, &TCP_PEEK, conn, least)->io.subject_ref = hold(L, 1);
    return 1;
}

/* connection:skip(n): takes the first n of them away */
static int l_skip(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    double count = luaL_checknumber(L, 2);
    if (!(count >= 0 && count <= TCP_BUFFER_BYTES)) {
        return luaL_argerror(L, 2, "0 to 65536 bytes");
    }
    tcp_conn_skip(conn, (uint32_t)count);
    tcp_conn_start_reading(conn);
    return 0;
}

/* connection:keep(name): it outlives its VM; kept(name) of the next one answers it */
static int l_keep(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    (void)snprintf(conn->kept, sizeof conn->kept, "%s", luaL_checkstring(L, 2));
    return 0;
}

/* connection:note(a, b) -> a, b: two numbers that stay with it; sets those that are given */
static int l_note(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    for (int i = 0; i < TCP_NOTES; i++) {
        if (!lua_isnoneornil(L, 2 + i)) { conn->note[i] = luaL_checknumber(L, 2 + i); }
        lua_pushnumber(L, conn->note[i]);
    }
    return TCP_NOTES;
}

/* kept(name) -> connection, or nil */
static int l_kept(lua_State *L) {
    tcp_conn_t *conn = tcp_conn_find(rt_of(L), luaL_checkstring(L, 1));
    if (conn == NULL) { return 0; }
    tcp_conn_push(L, conn);
    return 1;
}

/* connection:write(data) -> operation that ends when the system has taken all of it */
static int l_write(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    size_t bytes = 0;
    (void)luaL_checklstring(L, 2, &bytes);
    if (bytes > TCP_MAX_WRITE_BYTES) { return luaL_argerror(L, 2, "at most 1 MiB at once"); }
    op_t *op = io_op(L, &TCP_WRITE, conn, 0);
    op->io.subject_ref = hold(L, 1);
    op->io.ref = hold(L, 2);
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
    if (error == 0) { error = tcp_send_now(conn, data, bytes, &sent); }
    if (error == 0 && sent < bytes) { error = tcp_send_rest(conn, data + sent, bytes - sent); }
    if (error == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    if (error == UV_EBUSY) {
        error_push(L, "busy", "the connection still sends what came before");
    } else {
        tcp_push_uv_error(L, error);
    }
    return 2;
}

/* connection:close(); waiting operations fail with code "closed" */
static int l_close(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    tcp_conn_close(conn);
    tcp_conn_enqueue(conn);
    return 0;
}

static int conn_gc(lua_State *L) {
    tcp_conn_t *conn = check_conn(L);
    tcp_conn_close(conn);
    tcp_conn_release(conn);
    return 0;
}

/* ---- listeners ------------------------------------------------------------------------------- */

/* listen(address, port) -> listener | nil, error; port 0 takes a free one */
static int l_listen(lua_State *L) {
    const char *address = luaL_checkstring(L, 1);
    int port = check_port(L, 2, 0);
    struct sockaddr_storage where;
    if (uv_ip4_addr(address, port, (struct sockaddr_in *)&where) != 0 &&
        uv_ip6_addr(address, port, (struct sockaddr_in6 *)&where) != 0) {
        return luaL_argerror(L, 1, "expected a numeric address such as 127.0.0.1");
    }
    tcp_listener_t *listener = NULL;
    int rc = tcp_listener_open(rt_of(L), (struct sockaddr *)&where, &listener);
    if (rc != 0) {
        lua_pushnil(L);
        tcp_push_uv_error(L, rc);
        return 2;
    }
    tcp_listener_t **box = lua_newuserdata(L, sizeof *box);
    *box = listener;
    luaL_getmetatable(L, TCP_LISTENER_CLASS);
    lua_setmetatable(L, -2);
    return 1;
}

static tcp_listener_t *check_listener(lua_State *L) {
    return *(tcp_listener_t **)luaL_checkudata(L, 1, TCP_LISTENER_CLASS);
}

static int l_accept(lua_State *L) {
    io_op(L, &TCP_ACCEPT, check_listener(L), 0)->io.subject_ref = hold(L, 1);
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

static int l_listener_close(lua_State *L) {
    tcp_listener_t *listener = check_listener(L);
    tcp_listener_close(listener);
    tcp_listener_enqueue(listener);
    return 0;
}

static int listener_gc(lua_State *L) {
    tcp_listener_t *listener = check_listener(L);
    tcp_listener_close(listener);
    tcp_listener_release(listener);
    return 0;
}

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
    (void)luaL_newmetatable(L, name);
    lua_newtable(L);
    vm_register(L, methods);
    lua_setfield(L, -2, "__index");
    vm_push_function(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int api_open_tcp(lua_State *L) {
    static const luaL_Reg conn[] = {{"read", l_read},   {"peek", l_peek},   {"skip", l_skip},
                                    {"write", l_write}, {"send", l_send},   {"keep", l_keep},
                                    {"note", l_note},   {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg listener[] = {
        {"accept", l_accept}, {"port", l_port}, {"close", l_listener_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"connect", l_connect}, {"listen", l_listen}, {"kept", l_kept}, {NULL, NULL}};
    make_class(L, TCP_CONN_CLASS, conn, conn_gc);
    make_class(L, TCP_LISTENER_CLASS, listener, listener_gc);
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
