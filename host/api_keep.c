/* stator.core.keep: what outlives a VM. */
#include <string.h>

#include "api.h"

static int put(lua_State *L, bool in_batch) {
    rt_t *rt = rt_of(L);
    const char *name = luaL_checkstring(L, 1);
    size_t count = 0;
    const char *bytes = luaL_checklstring(L, 2, &count);
    bool ok = in_batch ? keep_record(rt->keep, name, bytes, count)
                       : keep_put(rt->keep, name, bytes, count);
    lua_pushboolean(L, ok);
    return 1;
}

/* put(name, bytes) -> whether there was room */
static int l_put(lua_State *L) { return put(L, false); }

/* record(name, bytes) -> the same, as part of the open batch */
static int l_record(lua_State *L) { return put(L, true); }

/* get(name) -> bytes, or nil */
static int l_get(lua_State *L) {
    const keep_item_t *item = keep_find(rt_of(L)->keep, luaL_checkstring(L, 1));
    if (item == NULL) { return 0; }
    lua_pushlstring(L, item->bytes, item->count);
    return 1;
}

/* remove(name) */
static int l_remove(lua_State *L) {
    keep_remove(rt_of(L)->keep, luaL_checkstring(L, 1));
    return 0;
}

/* names(prefix) -> the names that begin so, in the order of their bytes */
static int l_names(lua_State *L) {
    const keep_t *keep = rt_of(L)->keep;
    size_t length = 0;
    const char *prefix = luaL_checklstring(L, 1, &length);
    int count = 0;
    lua_newtable(L);
    for (uint32_t i = 0; i < keep->item_count; i++) {
        if (strncmp(keep->items[i].name, prefix, length) != 0) { continue; }
        lua_pushstring(L, keep->items[i].name);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* recording() -> whether a batch is open */
static int l_recording(lua_State *L) {
    uint64_t owner = 0;
    lua_pushboolean(L, ecs_batch_open(rt_of(L)->world, &owner));
    return 1;
}

int api_open_keep(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"put", l_put},       {"record", l_record},       {"get", l_get},
        {"remove", l_remove}, {"recording", l_recording}, {"names", l_names},
        {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
