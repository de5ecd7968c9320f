/* Systems: functions that a tick runs and that never wait. */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "runtime.h"

#define NS_PER_S 1e9

/* What is known of a system of that name from the VM before. */
static const system_t *past_of(const rt_t *rt, const char *name) {
    for (uint32_t i = 0; i < rt->past_count; i++) {
        if (strcmp(rt->past[i].name, name) == 0) { return &rt->past[i]; }
    }
    return NULL;
}

uint32_t owner_number(rt_t *rt, const char *name) {
    uint32_t number = 0;
    while (number < rt->owner_count &&
           strncmp(rt->owner_names[number], name, OWNER_NAME_BYTES - 1) != 0) {
        number++;
    }
    if (number < rt->owner_count) { return number; }
    if (rt->owner_count == rt->owner_capacity) {
        rt->owner_capacity = rt->owner_capacity == 0 ? 16 : rt->owner_capacity * 2;
        rt->owner_names = realloc(rt->owner_names, rt->owner_capacity * sizeof *rt->owner_names);
        memory_must(rt->owner_names);
    }
    (void)snprintf(rt->owner_names[number], OWNER_NAME_BYTES, "%s", name);
    return rt->owner_count++;
}

const char *owner_name(const rt_t *rt, uint64_t number) {
    return number < rt->owner_count ? rt->owner_names[number] : NULL;
}

void system_add(rt_t *rt, const system_t *system, bool mended) {
    if (rt->system_count == rt->system_capacity) {
        rt->system_capacity = rt->system_capacity == 0 ? 16 : rt->system_capacity * 2;
        rt->systems = realloc(rt->systems, rt->system_capacity * sizeof *rt->systems);
        memory_must(rt->systems);
    }
    system_t *added = &rt->systems[rt->system_count++];
    *added = *system;
    added->number = owner_number(rt, system->name);
    added->last_ns = rt->now_ns;
    const system_t *past = past_of(rt, system->name);
    if (past == NULL) { return; }
    added->last_ns = past->last_ns;
    added->due_ns = past->every_ns == system->every_ns ? past->due_ns : 0;
    added->done = past->done && past->phase == system->phase;
    added->faulted = past->faulted && !mended;
    added->runs = past->runs;
    added->skipped = past->skipped;
    added->missed = past->missed;
    added->late = past->late;
}

void systems_reset(rt_t *rt) {
    free(rt->past);
    rt->past = rt->systems;
    rt->past_count = rt->system_count;
    rt->systems = NULL;
    rt->system_count = rt->system_capacity = 0;
    rt->current_system = NULL;
}

void systems_clear(rt_t *rt) {
    lua_State *L = rt->vm->L;
    if (rt->system_count == 0) { return; } /* what is past is so already */
    for (uint32_t i = 0; i < rt->system_count; i++) {
        luaL_unref(L, LUA_REGISTRYINDEX, rt->systems[i].function_ref);
        luaL_unref(L, LUA_REGISTRYINDEX, rt->systems[i].query_ref);
        luaL_unref(L, LUA_REGISTRYINDEX, rt->systems[i].tick_ref);
    }
    systems_reset(rt);
}

static int by_order(const void *a, const void *b) {
    const system_t *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

void systems_freeze(rt_t *rt) {
    if (rt->system_count > 1) {
        qsort(rt->systems, rt->system_count, sizeof *rt->systems, by_order);
    }
    free(rt->past);
    rt->past = NULL;
    rt->past_count = 0;
}

/* Whether this tick runs it; moves its own grid on. The first turn counts as in time. */
static bool take_turn(rt_t *rt, system_t *system) {
    if (system->faulted || system->done) { return false; }
    if (system->phase == PHASE_STARTUP || system->every_ns == 0) {
        jitter_add(&system->late, rt->tick_late_ns);
        return true;
    }
    if (rt->now_ns < system->due_ns) { return false; }
    uint64_t behind = (rt->now_ns - system->due_ns) / system->every_ns;
    bool first = system->due_ns == 0;
    jitter_add(&system->late, first ? 0 : (rt->now_ns - system->due_ns) % system->every_ns);
    system->missed += first ? 0 : behind;
    system->due_ns += (behind + 1) * system->every_ns;
    return true;
}

/* s since its last run; the first one counts from its registration. */
static double dt_s(const rt_t *rt, const system_t *system) {
    return (double)(rt->now_ns - system->last_ns) / NS_PER_S;
}

static void start_async(rt_t *rt, system_t *system) {
    lua_State *L = rt->vm->L;
    lua_pushinteger(L, system - rt->systems);
    lua_pushnumber(L, (double)rt->tick);
    lua_pushnumber(L, dt_s(rt, system));
    if (rt_hook(rt, HOOK_ASYNC, 3, 1) != VM_OK) { return; }
    if (lua_toboolean(L, -1)) {
        system->last_ns = rt->now_ns;
        system->runs++;
    }
    lua_pop(L, 1);
}

void systems_begin_tick(rt_t *rt) {
    rt->reader_at = 0;
    for (uint32_t i = 0; i < rt->system_count; i++) {
        system_t *system = &rt->systems[i];
        system->due = take_turn(rt, system);
        if (system->due && system->kind == SYSTEM_ASYNC) {
            system->due = false;
            if (rt->vm->dead) { continue; }
            system->done = system->phase == PHASE_STARTUP;
            start_async(rt, system);
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
    set_number(L, "dt_s", dt_s(rt, system));
    system->last_ns = rt->now_ns;
}

void system_run(rt_t *rt, system_t *system) {
    lua_State *L = rt->vm->L;
    system->due = false;
    system->done = system->phase == PHASE_STARTUP;
    system->runs++;
    (void)ecs_batch_next(rt->world, RT_OWNER(OWNER_SYSTEM, system->number));
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
        (void)ecs_write_begin(rt->world, RT_OWNER(OWNER_SYSTEM, system->number));
        system_run(rt, system);
    }
}
