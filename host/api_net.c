/* stator.core.net: listeners and names; streams and datagrams are in api_stream.c and api_udp.c.
 * For lua/stator only, which checks what scripts pass (net.lua). */
#include "api_net.h"
#include "dns.h"
#include "listener.h"

#include <sys/un.h>

op_t *api_net_op(lua_State *L, const op_io_t *type, void *subject, double number) {
    op_t *op = op_new(L, OP_IO);
    op->io.type = type;
    op->io.subject = subject;
    op->io.number = number;
    return op;
}

int api_net_hold(lua_State *L, int index) {
    lua_pushvalue(L, index);
    return rt_ref(rt_of(L), L);
}

int api_net_port(lua_State *L, int index, int lowest) {
    double port = luaL_checknumber(L, index);
    if (!(port >= lowest && port <= 65535)) {
        return luaL_argerror(L, index, "a port is 1 to 65535");
    }
    return (int)port;
}

int api_net_problem(lua_State *L, int error) {
    lua_pushnil(L);
    net_push_error(L, error);
    return 2;
}

void api_net_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
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

/* ---- listeners ------------------------------------------------------------------------------- */

static int push_listener(lua_State *L, int rc, listener_t *listener) {
    if (rc != 0) { return api_net_problem(L, rc); }
    listener_t **box = lua_newuserdata(L, sizeof *box);
    *box = listener;
    luaL_getmetatable(L, LISTENER_CLASS);
    lua_setmetatable(L, -2);
    return 1;
}

/* listen(address, port, [backlog]) -> listener | nil, error; port 0 takes a free one */
static int l_listen(lua_State *L) {
    const char *address = luaL_checkstring(L, 1);
    int port = api_net_port(L, 2, 0);
    struct sockaddr_storage where;
    if (!net_parse(address, port, &where)) {
        return luaL_argerror(L, 1, "expected a numeric address such as 127.0.0.1");
    }
    listener_t *listener = NULL;
    int backlog = (int)luaL_optinteger(L, 3, LISTENER_BACKLOG);
    int rc = listener_open(rt_of(L), (struct sockaddr *)&where, backlog, &listener);
    return push_listener(L, rc, listener);
}

/* listen_unix(path, mode, [backlog]) -> listener | nil, error */
static int l_listen_unix(lua_State *L) {
    listener_t *listener = NULL;
    int backlog = (int)luaL_optinteger(L, 3, LISTENER_BACKLOG);
    int rc = listener_open_unix(rt_of(L), luaL_checkstring(L, 1), (unsigned)luaL_checkinteger(L, 2),
                                backlog, &listener);
    return push_listener(L, rc, listener);
}

static listener_t *check_listener(lua_State *L) {
    return *(listener_t **)luaL_checkudata(L, 1, LISTENER_CLASS);
}

/* listener:accept() -> operation -> stream */
static int l_accept(lua_State *L) {
    api_net_op(L, &LISTENER_ACCEPT, check_listener(L), 0)->io.subject_ref = api_net_hold(L, 1);
    return 1;
}

/* listener:put_back(stream): the next accept gets it; the value must not be used any more */
static int l_put_back(lua_State *L) {
    listener_t *listener = check_listener(L);
    stream_box_t *box = luaL_checkudata(L, 2, STREAM_CLASS);
    if (box->stream != NULL) { listener_put_back(listener, box->stream); }
    box->stream = NULL;
    return 0;
}

/* listener:port() -> the port it listens on, 0 for a unix socket */
static int l_port(lua_State *L) {
    lua_pushinteger(L, check_listener(L)->port);
    return 1;
}

/* listener:close(); waiting operations fail with code "closed" */
static int l_close(lua_State *L) {
    listener_t *listener = check_listener(L);
    listener_close(listener);
    listener_enqueue(listener);
    return 0;
}

static int listener_gc(lua_State *L) {
    listener_t *listener = check_listener(L);
    listener_close(listener);
    listener_release(listener);
    return 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* resolve(name) -> operation -> list of addresses */
static int l_resolve(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    op_t *op = api_net_op(L, &DNS_RESOLVE, NULL, 0);
    op->io.data = (void *)(uintptr_t)name;
    op->io.ref = api_net_hold(L, 1);
    return 1;
}

/* is_numeric(text) -> whether it is an address */
static int l_is_numeric(lua_State *L) {
    struct sockaddr_storage address;
    lua_pushboolean(L, net_parse(luaL_checkstring(L, 1), 0, &address));
    return 1;
}

int api_open_net(lua_State *L) {
    static const luaL_Reg listener[] = {{"accept", l_accept},
                                        {"put_back", l_put_back},
                                        {"port", l_port},
                                        {"close", l_close},
                                        {NULL, NULL}};
    static const luaL_Reg functions[] = {{"listen", l_listen},
                                         {"listen_unix", l_listen_unix},
                                         {"resolve", l_resolve},
                                         {"is_numeric", l_is_numeric},
                                         {NULL, NULL}};
    api_net_class(L, LISTENER_CLASS, listener, listener_gc);
    lua_newtable(L);
    vm_register(L, functions);
    api_open_streams(L);
    api_open_udp(L);
    return 1;
}
