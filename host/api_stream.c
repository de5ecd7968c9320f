/* Streams for lua/stator. */
#include "api_net.h"
#include "memory.h"
#include "net_stream.h"

#include <stdlib.h>
#include <string.h>

/* A text to write that is shorter is copied: a reference to it would cost more. */
enum { COPY_MAX_BYTES = 1024 };

/* ---- connecting ------------------------------------------------------------------------------ */

/* An operation that connects to the address, which it holds as a string. */
static int push_connect(lua_State *L, const void *address, size_t bytes) {
    const char *copy = (lua_pushlstring(L, address, bytes), lua_tostring(L, -1));
    int index = lua_gettop(L);
    op_t *op = api_net_op(L, &STREAM_CONNECT, NULL, 0);
    op->io.data = (void *)(uintptr_t)copy;
    op->io.ref = api_net_hold(L, index);
    return 1;
}

/* connect(address, port) -> operation -> stream */
static int l_connect(lua_State *L) {
    struct sockaddr_storage address;
    if (!net_parse(luaL_checkstring(L, 1), api_net_port(L, 2, 1), &address)) {
        return luaL_argerror(L, 1, "expected a numeric address such as 127.0.0.1");
    }
    return push_connect(L, &address, sizeof address);
}

/* connect_unix(path) -> operation -> stream */
static int l_connect_unix(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return luaL_argerror(L, 1, "the path of a socket has at most 107 bytes");
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return push_connect(L, &address, sizeof address);
}

/* kept(name) -> stream, or nil */
static int l_kept(lua_State *L) {
    stream_t *stream = stream_find(rt_of(L), luaL_checkstring(L, 1));
    if (stream == NULL) { return 0; }
    stream_push(L, stream);
    return 1;
}

static stream_t *check_stream(lua_State *L) {
    stream_box_t *box = lua_type(L, 1) == LUA_TUSERDATA ? lua_touserdata(L, 1) : NULL;
    if (box == NULL || box->magic != STREAM_MAGIC) { (void)luaL_typerror(L, 1, STREAM_CLASS); }
    if (box->stream == NULL) { (void)luaL_argerror(L, 1, "this connection was given back"); }
    return box->stream;
}

/* ---- reading --------------------------------------------------------------------------------- */

static double check_bytes(lua_State *L, int index, double least) {
    double bytes = luaL_checknumber(L, index);
    if (!(bytes >= least && bytes <= STREAM_BUFFER_BYTES)) {
        (void)luaL_argerror(L, index, "at most 65536 bytes at once");
    }
    return bytes;
}

static op_t *read_op(lua_State *L, const op_io_t *type, double number) {
    stream_t *stream = check_stream(L);
    op_t *op = api_net_op(L, type, NULL, number);
    stream_use(stream, op);
    return op;
}

/* stream:read([n]) -> operation -> exactly n bytes, or what there is but at least one */
static int l_read(lua_State *L) {
    (void)read_op(L, &STREAM_READ, lua_isnoneornil(L, 2) ? 0 : check_bytes(L, 2, 0));
    return 1;
}

/* stream:peek(n) -> operation -> all bytes that are there, once they are n; they stay there */
static int l_peek(lua_State *L) {
    (void)read_op(L, &STREAM_PEEK, check_bytes(L, 2, 1));
    return 1;
}

/* stream:line(limit) -> operation -> the next line without its end */
static int l_line(lua_State *L) {
    (void)read_op(L, &STREAM_LINE, check_bytes(L, 2, 1));
    return 1;
}

/* stream:upto(limit, delimiter) -> operation -> what comes before the delimiter */
static int l_upto(lua_State *L) {
    double limit = check_bytes(L, 2, 1);
    size_t bytes = 0;
    const char *delimiter = luaL_checklstring(L, 3, &bytes);
    if (bytes < 1 || bytes > STREAM_DELIMITER_BYTES) {
        return luaL_argerror(L, 3, "a delimiter has 1 to 64 bytes");
    }
    op_t *op = read_op(L, &STREAM_UNTIL, limit);
    op->io.data = (void *)(uintptr_t)delimiter;
    op->io.bytes = bytes;
    op->io.ref = api_net_hold(L, 3);
    return 1;
}

/* stream:skip(n): takes the first n of what is there away */
static int l_skip(lua_State *L) {
    stream_t *stream = check_stream(L);
    stream_skip(stream, (uint32_t)check_bytes(L, 2, 0));
    stream_start_reading(stream);
    return 0;
}

/* stream:ended() -> whether the other side has ended it in order */
static int l_ended(lua_State *L) {
    lua_pushboolean(L, check_stream(L)->error == UV_EOF);
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *check_text(lua_State *L, size_t *bytes) {
    const char *data = luaL_checklstring(L, 2, bytes);
    if (*bytes > STREAM_MAX_WRITE_BYTES) { (void)luaL_argerror(L, 2, "at most 1 MiB at once"); }
    return data;
}

/* stream:write(data) -> operation that ends when the kernel has taken all of it */
static int l_write(lua_State *L) {
    stream_t *stream = check_stream(L);
    size_t bytes = 0;
    const char *data = check_text(L, &bytes);
    op_t *op = api_net_op(L, &STREAM_WRITE, NULL, 0);
    stream_use(stream, op);
    op->io.bytes = bytes;
    op->io.data = (void *)(uintptr_t)data;
    if (bytes > COPY_MAX_BYTES) {
        op->io.ref = api_net_hold(L, 2);
    } else {
        op->io.data = op->io.copy = malloc(bytes + 1);
        memory_must(op->io.copy);
        memcpy(op->io.copy, data, bytes);
    }
    return 1;
}

/* stream:shutdown() -> operation that ends when all that was written before is sent; no more is */
static int l_shutdown(lua_State *L) {
    stream_t *stream = check_stream(L);
    stream_use(stream, api_net_op(L, &STREAM_SHUTDOWN, NULL, 0));
    return 1;
}

/* stream:send(data) -> true, or nil and an error. Does not wait: what the kernel does not take at
 * once goes out as it can, and until then another send is refused with code "busy". */
static int l_send(lua_State *L) {
    stream_t *stream = check_stream(L);
    size_t bytes = 0;
    const char *data = check_text(L, &bytes);
    int error = stream_send(stream, data, bytes);
    if (error == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (error != UV_EBUSY) { return api_net_problem(L, error); }
    lua_pushnil(L);
    error_push(L, "busy", "the connection still sends what came before");
    return 2;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* stream:keep(name): it outlives its VM; kept(name) of the next one answers it */
static int l_keep(lua_State *L) {
    stream_t *stream = check_stream(L);
    (void)snprintf(stream->kept, sizeof stream->kept, "%s", luaL_checkstring(L, 2));
    return 0;
}

/* stream:note(a, b) -> a, b: two numbers that stay with it; sets those that are given */
static int l_note(lua_State *L) {
    stream_t *stream = check_stream(L);
    for (int i = 0; i < STREAM_NOTES; i++) {
        if (!lua_isnoneornil(L, 2 + i)) { stream->note[i] = luaL_checknumber(L, 2 + i); }
        lua_pushnumber(L, stream->note[i]);
    }
    return STREAM_NOTES;
}

/* stream:address(of the peer) -> host, port; a unix one its path and nil; nothing when it is gone
 */
static int l_address(lua_State *L) {
    struct sockaddr_storage address;
    if (stream_address(check_stream(L), lua_toboolean(L, 2), &address) != 0) { return 0; }
    net_push_address(L, (struct sockaddr *)&address);
    return 2;
}

/* stream:set(nodelay or nil, keepalive seconds or nil, 0: off); no effect on a unix socket */
static int l_set(lua_State *L) {
    stream_t *stream = check_stream(L);
    if (stream->is_unix || stream->closing) { return 0; }
    if (!lua_isnoneornil(L, 2)) { (void)uv_tcp_nodelay(&stream->handle.tcp, lua_toboolean(L, 2)); }
    if (!lua_isnoneornil(L, 3)) {
        unsigned seconds = (unsigned)luaL_checkinteger(L, 3);
        (void)uv_tcp_keepalive(&stream->handle.tcp, seconds > 0, seconds);
    }
    return 0;
}

/* stream:close(); waiting operations fail with code "closed" */
static int l_close(lua_State *L) {
    stream_t *stream = check_stream(L);
    stream_close(stream);
    stream_enqueue(stream);
    return 0;
}

/* stream:closed() -> whether it was closed here */
static int l_closed(lua_State *L) {
    lua_pushboolean(L, check_stream(L)->closing);
    return 1;
}

static int stream_gc(lua_State *L) {
    stream_box_t *box = luaL_checkudata(L, 1, STREAM_CLASS);
    if (box->stream != NULL) { stream_collected(box->stream); }
    return 0;
}

void api_open_streams(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"peek", l_peek},       {"line", l_line},   {"upto", l_upto},
        {"skip", l_skip},       {"ended", l_ended}, {"shutdown", l_shutdown},
        {"send", l_send},       {"keep", l_keep},   {"note", l_note},
        {"address", l_address}, {"set", l_set},     {"close", l_close},
        {"closed", l_closed},   {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"connect", l_connect}, {"connect_unix", l_connect_unix}, {"kept", l_kept}, {NULL, NULL}};
    /* hot, and nothing that they do can be left half done */
    static const luaL_Reg leaves[] = {{"read", l_read}, {"write", l_write}, {NULL, NULL}};
    api_net_class(L, STREAM_CLASS, methods, stream_gc);
    luaL_getmetatable(L, STREAM_CLASS);
    lua_getfield(L, -1, "__index");
    luaL_register(L, NULL, leaves);
    lua_pop(L, 2);
    vm_register(L, functions);
}
