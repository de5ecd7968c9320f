#include "api.h"

/* event(level, source, text [, place [, entity]]) [-0 +0 e] */
static int l_event(lua_State *L) {
    log_level_t level = LOG_INFO;
    if (log_level_parse(luaL_checkstring(L, 1), &level) != 0) {
        return luaL_argerror(L, 1, "no log level");
    }
    log_event(rt_of(L)->log, &(log_event_t){.level = level,
                                            .source = luaL_optstring(L, 2, NULL),
                                            .text = luaL_checkstring(L, 3),
                                            .place = luaL_optstring(L, 4, NULL),
                                            .entity = luaL_optstring(L, 5, NULL)});
    return 0;
}

int api_open_log(lua_State *L) {
    static const luaL_Reg functions[] = {{"event", l_event}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
