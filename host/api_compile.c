/* stator.core.compile: see lua/stator/compiling.lua. */
#include "api.h"
#include "compile.h"

static char *copy_field(lua_State *L, int index, const char *name) {
    size_t bytes = 0;
    lua_getfield(L, index, name);
    const char *text = luaL_checklstring(L, -1, &bytes);
    char *copy = job_copy(text, bytes);
    lua_pop(L, 1);
    return copy;
}

/* files({ { path, shown }, ... }) -> operation, job. The operation answers true; then take. */
static int l_files(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t count = lua_objlen(L, 1);
    luaL_argcheck(L, count <= COMPILE_MAX_FILES, 1, "at most 4096 files");
    compile_job_t *compile = (compile_job_t *)job_new(L, &COMPILE_TYPE, sizeof *compile);
    compile_init(compile, (uint32_t)count);
    int job = lua_gettop(L);
    for (uint32_t i = 0; i < count; i++) {
        compile_file_t *file = &compile->files[i];
        lua_rawgeti(L, 1, (int)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        file->path = copy_field(L, job + 1, "path");
        file->shown = copy_field(L, job + 1, "shown");
        lua_pop(L, 1);
    }
    lua_pushvalue(L, job);
    job_push_op(L, &compile->job);
    lua_pushvalue(L, job);
    return 2;
}

/* take(job, index) -> "done", bytes of a stator.Compiled, fingerprint | "problem", "missing" or
 * "busy", message, fingerprint | nothing, when it was taken. After the operation has ended. */
static int l_take(lua_State *L) {
    compile_job_t *compile = (compile_job_t *)job_check(L, 1, &COMPILE_TYPE);
    lua_Integer index = luaL_checkinteger(L, 2);
    luaL_argcheck(L, compile->job.state == JOB_ENDED, 1, "it has not ended");
    luaL_argcheck(L, index >= 1 && index <= compile->count, 2, "no such file");
    return compile_take(compile, (uint32_t)index - 1, L);
}

int api_open_compile(lua_State *L) {
    static const luaL_Reg functions[] = {{"files", l_files}, {"take", l_take}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
