/* stator.core.file: see lua/stator/file.lua, which has checked the arguments. */
#include "api.h"
#include "file.h"

/* run(kind, path as told, path, limit or bytes) -> operation */
static int l_run(lua_State *L) {
    static const char *const kinds[] = {"read", "write",  "append",   "stat", "exists",
                                        "list", "remove", "make_dir", NULL};
    file_kind_t kind = (file_kind_t)luaL_checkoption(L, 1, NULL, kinds);
    size_t told_bytes = 0, path_bytes = 0, bytes = 0;
    const char *told = luaL_checklstring(L, 2, &told_bytes);
    const char *path = luaL_checklstring(L, 3, &path_bytes);
    bool writes = kind == FILE_WRITE || kind == FILE_APPEND;
    const char *data = writes ? luaL_checklstring(L, 4, &bytes) : NULL;
    size_t limit = kind == FILE_READ ? (size_t)luaL_checknumber(L, 4) : 0;
    file_job_t *file = (file_job_t *)job_new(L, &FILE_TYPES[kind], sizeof *file);
    file->kind = kind;
    file->limit = limit;
    file->job.key = job_copy(told, told_bytes);
    file->path = job_copy(path, path_bytes);
    if (writes) {
        job_hold(L, &file->job, bytes);
        file->data = job_copy(data, bytes);
        file->bytes = bytes;
    }
    job_push_op(L, &file->job);
    return 1;
}

int api_open_file(lua_State *L) {
    static const luaL_Reg functions[] = {{"run", l_run}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
