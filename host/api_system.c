/* The part of stator.core.task that is about systems. */
#include <string.h>

#include "api.h"

#define NS_PER_S 1e9

/* owner_number(name) -> the number of the name of a system or observer */
static int l_owner_number(lua_State *L) {
    lua_pushnumber(L, owner_number(rt_of(L), luaL_checkstring(L, 1)));
    return 1;
}

/* owner_name(number) -> the name, or nil */
static int l_owner_name(lua_State *L) {
    lua_pushstring(L, owner_name(rt_of(L), (uint64_t)luaL_checknumber(L, 1)));
    return 1;
}

/* Its arguments: name, kind, phase, order_high, every_s, mended, fn, query, tick. */
static int l_system(lua_State *L) {
    static const char *const kinds[] = {"read", "write", "async", NULL};
    rt_t *rt = rt_of(L);
    system_t system = {0};
    (void)snprintf(system.name, sizeof system.name, "%s", luaL_checkstring(L, 1));
    system.kind = (uint8_t)luaL_checkoption(L, 2, NULL, kinds);
    system.phase = (uint8_t)luaL_checkinteger(L, 3);
    system.order = (uint64_t)luaL_checknumber(L, 4) << 36;
    system.every_ns = (uint64_t)(luaL_checknumber(L, 5) * NS_PER_S);
    bool mended = lua_toboolean(L, 6) == 1;
    lua_settop(L, 9);
    system.tick_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    system.query_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    system.function_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    system_add(rt, &system, mended);
    return 0;
}

static int l_freeze_systems(lua_State *L) {
    systems_freeze(rt_of(L));
    return 0;
}

/* clear_systems(): takes all out, to be added anew. Outside of steps. */
static int l_clear_systems(lua_State *L) {
    systems_clear(rt_of(L));
    return 0;
}

/* stop_systems(): no system starts any more */
static int l_stop_systems(lua_State *L) {
    rt_t *rt = rt_of(L);
    for (uint32_t i = 0; i < rt->system_count; i++) {
        rt->systems[i].done = true;
    }
    return 0;
}

/* system_info(index) -> name, runs, skipped, faulted | nil */
static int l_system_info(lua_State *L) {
    const rt_t *rt = rt_of(L);
    uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
    if (index >= rt->system_count) { return 0; }
    const system_t *system = &rt->systems[index];
    lua_pushstring(L, system->name);
    lua_pushnumber(L, (double)system->runs);
    lua_pushnumber(L, (double)system->skipped);
    lua_pushboolean(L, system->faulted);
    return 4;
}

/* current_system() -> name of the system that runs, or nil */
static int l_current_system(lua_State *L) {
    const system_t *system = rt_of(L)->current_system;
    if (system == NULL) { return 0; }
    lua_pushstring(L, system->name);
    return 1;
}

/* system_skipped(index): counts a run that did not start */
static int l_system_skipped(lua_State *L) {
    rt_t *rt = rt_of(L);
    uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
    if (index < rt->system_count) { rt->systems[index].skipped++; }
    return 0;
}

/* fault_system(index): it does not run any more */
static int l_fault_system(lua_State *L) {
    rt_t *rt = rt_of(L);
    uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
    if (index < rt->system_count) { rt->systems[index].faulted = true; }
    return 0;
}

/* reset_system(index): takes a fault back, it runs again */
static int l_reset_system(lua_State *L) {
    rt_t *rt = rt_of(L);
    uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
    if (index < rt->system_count) { rt->systems[index].faulted = false; }
    return 0;
}

void api_add_systems(lua_State *L) {
    static const luaL_Reg functions[] = {{"system", l_system},
                                         {"freeze_systems", l_freeze_systems},
                                         {"clear_systems", l_clear_systems},
                                         {"owner_number", l_owner_number},
                                         {"owner_name", l_owner_name},
                                         {"stop_systems", l_stop_systems},
                                         {"system_info", l_system_info},
                                         {"system_skipped", l_system_skipped},
                                         {"current_system", l_current_system},
                                         {"fault_system", l_fault_system},
                                         {"reset_system", l_reset_system},
                                         {NULL, NULL}};
    vm_register(L, functions);
}
