/* stator.core.work: see lua/stator/work.lua, which has checked the arguments. */
#include "api.h"
#include "work.h"

static char *copy(lua_State *L, int index, size_t *count) {
    size_t bytes = 0;
    const char *text = luaL_checklstring(L, index, &bytes);
    if (count != NULL) { *count = bytes; }
    return job_copy(text, bytes);
}

/* run(folder, module, function or "", arguments as bytes) -> operation that answers bytes */
static int l_run(lua_State *L) {
    for (int i = 1; i <= 4; i++) {
        (void)luaL_checkstring(L, i);
    }
    work_job_t *work = (work_job_t *)job_new(L, &WORK_TYPE, sizeof *work);
    work_init(work);
    job_hold(L, &work->job, lua_objlen(L, 4));
    work->folder = copy(L, 1, NULL);
    work->module = copy(L, 2, NULL);
    work->function = copy(L, 3, NULL);
    work->arguments = copy(L, 4, &work->argument_bytes);
    job_push_op(L, &work->job);
    return 1;
}

int api_open_work(lua_State *L) {
    static const luaL_Reg functions[] = {{"run", l_run}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
