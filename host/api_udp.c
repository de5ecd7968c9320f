/* Datagrams for lua/stator. */
#include "api_net.h"
#include "udp.h"

static udp_t *check_udp(lua_State *L) { return *(udp_t **)luaL_checkudata(L, 1, UDP_CLASS); }

/* udp(address, port, broadcast, shared, drop_new, capacity) -> socket | nil, error */
static int l_udp(lua_State *L) {
    udp_desc_t desc = {.broadcast = lua_toboolean(L, 3),
                       .shared = lua_toboolean(L, 4),
                       .drop_new = lua_toboolean(L, 5),
                       .capacity = (uint32_t)luaL_checkinteger(L, 6)};
    if (!net_parse(luaL_checkstring(L, 1), api_net_port(L, 2, 0), &desc.where)) {
        return luaL_argerror(L, 1, "expected a numeric address such as 127.0.0.1");
    }
    if (desc.capacity < 1 || desc.capacity > UDP_MAX_QUEUE) {
        return luaL_argerror(L, 6, "a queue holds 1 to 4096 datagrams");
    }
    udp_t *udp = NULL;
    int rc = udp_open(rt_of(L), &desc, &udp);
    if (rc != 0) { return api_net_problem(L, rc); }
    udp_t **box = lua_newuserdata(L, sizeof *box);
    *box = udp;
    luaL_getmetatable(L, UDP_CLASS);
    lua_setmetatable(L, -2);
    return 1;
}

/* socket:join(group, [interface]) -> true, or nil and an error */
static int l_join(lua_State *L) {
    int rc = uv_udp_set_membership(&check_udp(L)->handle, luaL_checkstring(L, 2),
                                   luaL_optstring(L, 3, NULL), UV_JOIN_GROUP);
    if (rc == 0 && !lua_isnoneornil(L, 3)) {
        rc = uv_udp_set_multicast_interface(&check_udp(L)->handle, lua_tostring(L, 3));
    }
    if (rc != 0) { return api_net_problem(L, rc); }
    lua_pushboolean(L, 1);
    return 1;
}

/* socket:receive() -> operation -> text, host, port */
static int l_receive(lua_State *L) {
    api_net_op(L, &UDP_RECEIVE, check_udp(L), 0)->io.subject_ref = api_net_hold(L, 1);
    return 1;
}

/* socket:send(text, address, port) -> operation that ends when the kernel has taken it */
static int l_send(lua_State *L) {
    udp_t *udp = check_udp(L);
    struct sockaddr_storage where;
    luaL_checkstring(L, 2);
    if (!net_parse(luaL_checkstring(L, 3), api_net_port(L, 4, 1), &where)) {
        return luaL_argerror(L, 3, "expected a numeric address such as 127.0.0.1");
    }
    lua_pushlstring(L, (const char *)&where, sizeof where);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
    int index = lua_gettop(L);
    op_t *op = api_net_op(L, &UDP_SEND, udp, 0);
    op->io.data = (void *)(uintptr_t)lua_tolstring(L, index, &op->io.bytes);
    op->io.subject_ref = api_net_hold(L, 1);
    op->io.ref = api_net_hold(L, index);
    return 1;
}

/* socket:address() -> host, port */
static int l_address(lua_State *L) {
    struct sockaddr_storage where;
    int bytes = sizeof where;
    const uv_udp_t *handle = &check_udp(L)->handle;
    if (uv_udp_getsockname(handle, (struct sockaddr *)&where, &bytes) != 0) { return 0; }
    net_push_address(L, (const struct sockaddr *)&where);
    return 2;
}

/* socket:counts() -> received, dropped, sent, errors, waiting */
static int l_counts(lua_State *L) {
    const udp_t *udp = check_udp(L);
    lua_pushnumber(L, (lua_Number)udp->counts.received);
    lua_pushnumber(L, (lua_Number)udp->counts.dropped);
    lua_pushnumber(L, (lua_Number)udp->counts.sent);
    lua_pushnumber(L, (lua_Number)udp->counts.errors);
    lua_pushnumber(L, (lua_Number)udp->count);
    return 5;
}

/* socket:close(); waiting operations fail with code "closed" */
static int l_close(lua_State *L) {
    udp_close(check_udp(L));
    return 0;
}

static int udp_gc(lua_State *L) {
    udp_t *udp = check_udp(L);
    udp_close(udp);
    udp_release(udp);
    return 0;
}

void api_open_udp(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"join", l_join},     {"receive", l_receive}, {"send", l_send}, {"address", l_address},
        {"counts", l_counts}, {"close", l_close},     {NULL, NULL}};
    static const luaL_Reg functions[] = {{"udp", l_udp}, {NULL, NULL}};
    api_net_class(L, UDP_CLASS, methods, udp_gc);
    vm_register(L, functions);
}
