/* stator.core.process: see lua/stator/process.lua, which has checked the arguments. */
#include "api.h"
#include "memory.h"
#include "process.h"
#include "signals.h"

/* A NULL-terminated copy of the list of texts at `index`. */
static char **copy_list(lua_State *L, int index) {
    int count = (int)lua_objlen(L, index);
    char **list = memory_zeroed(((size_t)count + 1) * sizeof *list);
    for (int i = 0; i < count; i++) {
        size_t bytes = 0;
        lua_rawgeti(L, index, i + 1);
        const char *text = lua_tolstring(L, -1, &bytes);
        list[i] = text != NULL ? job_copy(text, bytes) : job_copy("", 0);
        lua_pop(L, 1);
    }
    return list;
}

/* run(words, environment, folder, stdin or nil, limit, timeout in seconds or 0) -> operation */
static int l_run(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t folder_bytes = 0, text_bytes = 0;
    const char *folder = luaL_checklstring(L, 3, &folder_bytes);
    const char *text = luaL_optlstring(L, 4, NULL, &text_bytes);
    size_t limit = (size_t)luaL_checknumber(L, 5);
    double timeout_s = luaL_checknumber(L, 6);
    process_job_t *process = (process_job_t *)job_new(L, &PROCESS_TYPE, sizeof *process);
    job_hold(L, &process->job, text_bytes);
    process->words = copy_list(L, 1);
    process->environment = copy_list(L, 2);
    process->folder = job_copy(folder, folder_bytes);
    if (text != NULL) { process->text = job_copy(text, text_bytes); }
    process->text_bytes = text_bytes;
    process->limit = limit;
    process->job.timeout_s = timeout_s;
    job_push_op(L, &process->job);
    return 1;
}

/* environment() -> list of "NAME=value", the host's own */
static int l_environment(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; environ[i] != NULL; i++) {
        lua_pushstring(L, environ[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* signal(name) -> operation */
static int l_signal(lua_State *L) {
    const char *names[SIGNALS_MAX + 1] = {NULL};
    for (uint32_t i = 0; i < SIGNALS_MAX; i++) {
        names[i] = signals_name(i);
    }
    uint32_t index = (uint32_t)luaL_checkoption(L, 1, NULL, names);
    signal_job_t *job = (signal_job_t *)job_new(L, &SIGNAL_TYPE, sizeof *job);
    job->index = index;
    job_push_op(L, &job->job);
    return 1;
}

/* signals() -> list of the names that signal takes */
static int l_signals(lua_State *L) {
    lua_newtable(L);
    for (uint32_t i = 0; signals_name(i) != NULL; i++) {
        lua_pushstring(L, signals_name(i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

int api_open_process(lua_State *L) {
    static const luaL_Reg functions[] = {{"run", l_run},
                                         {"environment", l_environment},
                                         {"signal", l_signal},
                                         {"signals", l_signals},
                                         {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
