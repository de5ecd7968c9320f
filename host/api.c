#include "api.h"

void api_open(rt_t *rt) {
    static const luaL_Reg modules[] = {{"stator.core.world", api_open_world},
                                       {"stator.core.task", api_open_task},
                                       {"stator.core.json", api_open_json},
                                       {"stator.core.log", api_open_log},
                                       {"stator.core.net", api_open_net},
                                       {"stator.core.keep", api_open_keep},
                                       {"stator.core.inspect", api_open_inspect},
                                       {"stator.core.file", api_open_file},
                                       {"stator.core.http", api_open_http},
                                       {"stator.core.process", api_open_process},
                                       {"stator.core.work", api_open_work},
                                       {"stator.core.watch", api_open_watch},
                                       {NULL, NULL}};
    lua_State *L = rt->vm->L;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    luaL_register(L, NULL, modules);
    lua_pop(L, 2);
}
