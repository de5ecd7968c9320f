#include "api.h"

#include <string.h>

/* A text of the log ends at a zero byte: it is shown as \0. Replaces the value. */
static const char *check_text(lua_State *L, int index) {
    size_t bytes = 0;
    const char *text = luaL_checklstring(L, index, &bytes);
    if (strlen(text) == bytes) { return text; }
    luaL_Buffer shown;
    luaL_buffinit(L, &shown);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0') {
            luaL_addlstring(&shown, "\\0", 2);
        } else {
            luaL_addchar(&shown, text[i]);
        }
    }
    luaL_pushresult(&shown);
    lua_replace(L, index);
    return lua_tostring(L, index);
}

/* event(level, source, text [, place [, entity]]) [-0 +0 e] */
static int l_event(lua_State *L) {
    log_level_t level = LOG_INFO;
    if (log_level_parse(luaL_checkstring(L, 1), &level) != 0) {
        return luaL_argerror(L, 1, "no log level");
    }
    log_event(rt_of(L)->log, &(log_event_t){.level = level,
                                            .source = luaL_optstring(L, 2, NULL),
                                            .text = check_text(L, 3),
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
