/* stator.core.watch: see watch.h. */
#include <string.h>

#include "api.h"
#include "memory.h"
#include "watch.h"

static const char *const MODES[] = {"events", "poll", "off", NULL};

static int refuse(lua_State *L, const char *what, int most) {
    job_push_error(L, "limit", "watch.set: at most %d %s", most, what);
    return lua_error(L);
}

/* The paths in the table at 1, checked: they live as long as it. The caller frees the array. */
static const char **check_paths(lua_State *L, int count) {
    for (int i = 1; i <= count; i++) {
        size_t bytes = 0;
        lua_rawgeti(L, 1, i);
        bool is_text = lua_type(L, -1) == LUA_TSTRING;
        const char *path = is_text ? lua_tolstring(L, -1, &bytes) : "";
        if (bytes == 0 || bytes >= WATCH_PATH_BYTES || strlen(path) != bytes) {
            (void)luaL_error(L, "watch.set: path %d: expected a text of 1 to %d bytes", i,
                             WATCH_PATH_BYTES - 1);
        }
        lua_pop(L, 1);
    }
    const char **paths = memory_zeroed(((size_t)count + 1) * sizeof *paths);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 1, i + 1);
        paths[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return paths;
}

/* set(paths, mode) -> mode in force */
static int l_set(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    watch_mode_t mode = (watch_mode_t)luaL_checkoption(L, 2, "events", MODES);
    int count = (int)lua_objlen(L, 1);
    if (count > WATCH_MAX_PATHS) { return refuse(L, "paths", WATCH_MAX_PATHS); }
    const char **paths = check_paths(L, count);
    int rc = watch_set(rt_of(L), paths, (uint32_t)count, mode);
    free((void *)paths);
    if (rc != 0) { return refuse(L, "folders", WATCH_MAX_FOLDERS); }
    lua_pushstring(L, MODES[watch_mode(rt_of(L))]);
    return 1;
}

/* next() -> operation that answers { reason, paths } */
static int l_next(lua_State *L) {
    job_push_op(L, job_new(L, &WATCH_NEXT_TYPE, sizeof(watch_next_t)));
    return 1;
}

/* unchanged() -> operation that answers a boolean */
static int l_unchanged(lua_State *L) {
    job_push_op(L, job_new(L, &WATCH_CHECK_TYPE, sizeof(watch_check_t)));
    return 1;
}

static int l_ack(lua_State *L) {
    watch_ack(rt_of(L));
    return 0;
}

/* ask(reason) */
static int l_ask(lua_State *L) {
    size_t bytes = 0;
    const char *reason = luaL_checklstring(L, 1, &bytes);
    luaL_argcheck(L, bytes > 0 && bytes < WATCH_REASON_BYTES, 1,
                  "expected a text of 1 to 63 bytes");
    (void)watch_ask(rt_of(L), reason);
    return 0;
}

int api_open_watch(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"set", l_set}, {"next", l_next}, {"unchanged", l_unchanged},
        {"ack", l_ack}, {"ask", l_ask},   {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
