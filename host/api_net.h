/* What the Lua faces of the network modules share. */
#ifndef API_NET_H
#define API_NET_H

#include "api.h"
#include "net.h"

/* A cold I/O operation on the stack. */
op_t *api_net_op(lua_State *L, const op_io_t *type, void *subject, double number);
/* A reference to the value at `index`. */
int api_net_hold(lua_State *L, int index);
int api_net_port(lua_State *L, int index, int lowest);
/* nil and the error value of a libuv error, as results. */
int api_net_problem(lua_State *L, int error);
/* A class of userdata: its methods and what its collection does. */
void api_net_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);
/* Each registers its classes and adds its functions to the module on top of the stack. */
void api_open_streams(lua_State *L);
void api_open_udp(lua_State *L);

#endif
