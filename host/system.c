/* Systems: functions that a tick runs and that never wait. */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "runtime.h"

#define NS_PER_S 1e9
#define FAULTED_PREFIX "faulted:" /* of a name in the keep, see lua/stator/system.lua */

static const char *faulted_name(const system_t *system, char *out) {
    (void)snprintf(out, KEEP_NAME_BYTES, FAULTED_PREFIX "%s", system->name);
    return out;
}

uint32_t system_add(rt_t *rt, const system_t *system) {
    if (rt->system_count == rt->system_capacity) {
        rt->system_capacity = rt->system_capacity == 0 ? 16 : rt->system_capacity * 2;
        rt->systems = realloc(rt->systems, rt->system_capacity * sizeof *rt->systems);
        memory_must(rt->systems);
    }
    char name[KEEP_NAME_BYTES];
    rt->systems[rt->system_count] = *system;
    rt->systems[rt->system_count].faulted = keep_find(rt->keep, faulted_name(system, name)) != NULL;
    return rt->system_count++;
}

void system_reset(rt_t *rt, system_t *system) {
    char name[KEEP_NAME_BYTES];
    system->faulted = false;
    keep_remove(rt->keep, faulted_name(system, name));
}

void systems_reset(rt_t *rt) {
    for (uint32_t i = 0; i < rt->system_count; i++) {
        char name[KEEP_NAME_BYTES];
        if (!rt->systems[i].faulted) { continue; }
        (void)keep_put(rt->keep, faulted_name(&rt->systems[i], name), "", 0);
    }
    rt->system_count = 0;
    rt->current_system = NULL;
}

static int by_order(const void *a, const void *b) {
    const system_t *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

void systems_freeze(rt_t *rt) {
    if (rt->system_count > 1) {
        qsort(rt->systems, rt->system_count, sizeof *rt->systems, by_order);
    }
}

/* Whether this tick runs it; moves its own grid on. */
static bool take_turn(rt_t *rt, system_t *system) {
    if (system->faulted || system->done) { return false; }
    if (system->phase == PHASE_STARTUP) {
        system->done = true;
        return true;
    }
    if (system->every_ns == 0) { return true; }
    if (rt->now_ns < system->due_ns) { return false; }
    uint64_t behind = (rt->now_ns - system->due_ns) / system->every_ns;
    system->due_ns += (behind + 1) * system->every_ns;
    return true;
}

void systems_begin_tick(rt_t *rt) {
    rt->reader_at = 0;
    for (uint32_t i = 0; i < rt->system_count; i++) {
        system_t *system = &rt->systems[i];
        system->due = take_turn(rt, system);
        if (system->due && system->kind == SYSTEM_ASYNC) {
            system->due = false;
            if (rt->vm->dead) { continue; }
            lua_pushinteger(rt->vm->L, (lua_Integer)i);
            (void)rt_hook(rt, HOOK_ASYNC, 1, 0);
        }
    }
}

system_t *systems_next_reader(rt_t *rt, uint64_t order) {
    for (; rt->reader_at < rt->system_count; rt->reader_at++) {
        system_t *system = &rt->systems[rt->reader_at];
        if (!system->due || system->kind != SYSTEM_READ) { continue; }
        if (system->order >= order) { return NULL; }
        rt->reader_at++;
        return system;
    }
    return NULL;
}

static void set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* Pushes function, cmd, query and tick. */
static void push_call(rt_t *rt, system_t *system) {
    lua_State *L = rt->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, system->function_ref);
    lua_getfield(L, LUA_REGISTRYINDEX, "stator.cmd");
    lua_rawgeti(L, LUA_REGISTRYINDEX, system->query_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, system->tick_ref);
    set_number(L, "n", (double)rt->tick);
    set_number(L, "now_s", (double)rt->now_ns / NS_PER_S);
    set_number(L, "dt_s", (double)(rt->now_ns - system->last_ns) / NS_PER_S);
    system->last_ns = rt->now_ns;
}

void system_run(rt_t *rt, system_t *system) {
    lua_State *L = rt->vm->L;
    system->due = false;
    system->runs++;
    (void)ecs_batch_begin(rt->world, RT_OWNER(OWNER_SYSTEM, system - rt->systems));
    push_call(rt, system);
    rt->current_system = system;
    int rc = vm_call(rt->vm, 3, 0);
    rt->current_system = NULL;
    ecs_epoch_bump(rt->world);
    if (rc == VM_OK) {
        rt_batch_end(rt, NULL);
        return;
    }
    if (rc == VM_E_ABANDONED) {
        rt_note_lost(rt);
        return;
    }
    rt_batch_drop(rt);
    system->faulted = true;
    lua_pushstring(L, system->name);
    lua_insert(L, -2);
    (void)rt_hook(rt, HOOK_FAULT, 2, 0);
}

void systems_run_writers(rt_t *rt) {
    for (uint32_t i = 0; i < rt->system_count && !rt->vm->dead; i++) {
        system_t *system = &rt->systems[i];
        if (!system->due || system->kind != SYSTEM_WRITE) { continue; }
        (void)ecs_write_begin(rt->world);
        system_run(rt, system);
    }
}
