/* One step: settle once, then rounds of run, apply and react (docs/semantics.md, T1 to T6). */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "runtime.h"

/* for the collector at the end of a step, when idle time does not suffice */
#define COLLECT_NS ((uint64_t)500000)

void rt_init(rt_t *rt, vm_t *vm, ecs_world_t *world, loop_t *loop, log_t *log) {
    memset(rt, 0, sizeof *rt);
    rt->vm = vm;
    rt->world = world;
    rt->loop = loop;
    rt->log = log;
    rt->clock = loop->clock;
    wheel_init(&rt->wheel);
    for (size_t i = 0; i < HOOK_COUNT; i++) {
        rt->hooks[i] = LUA_NOREF;
    }
    vm->owner = rt;
    lua_newtable(vm->L);
    rt->refs_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
}

void rt_fini(rt_t *rt) {
    for (uint32_t i = 0; i < rt->task_count; i++) {
        free(rt->tasks[i]);
    }
    free(rt->tasks);
    free(rt->free_tasks);
    free(rt->ready.items);
    free(rt->running.items);
    free(rt->tick_ops);
    free(rt->systems);
    free(rt->free_refs);
}

int rt_ref(rt_t *rt, lua_State *L) {
    int ref = rt->free_ref_count > 0 ? rt->free_refs[--rt->free_ref_count] : ++rt->ref_count;
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->refs_ref);
    lua_insert(L, -2);
    lua_rawseti(L, -2, ref);
    lua_pop(L, 1);
    return ref;
}

void rt_push_ref(const rt_t *rt, lua_State *L, int ref) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->refs_ref);
    lua_rawgeti(L, -1, ref);
    lua_remove(L, -2);
}

void rt_unref(rt_t *rt, lua_State *L, int ref) {
    if (ref == LUA_NOREF) { return; }
    lua_pushnil(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->refs_ref);
    lua_insert(L, -2);
    lua_rawseti(L, -2, ref);
    lua_pop(L, 1);
    if (rt->free_ref_count == rt->free_ref_capacity) {
        rt->free_ref_capacity = rt->free_ref_capacity == 0 ? 64 : rt->free_ref_capacity * 2;
        rt->free_refs = realloc(rt->free_refs, rt->free_ref_capacity * sizeof(int));
        memory_must(rt->free_refs);
    }
    rt->free_refs[rt->free_ref_count++] = ref;
}

int rt_hook(rt_t *rt, hook_t hook, int arguments, int results) {
    lua_State *L = rt->vm->L;
    if (rt->hooks[hook] == LUA_NOREF) {
        lua_pop(L, arguments);
        return VM_E_LUA;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->hooks[hook]);
    lua_insert(L, -arguments - 1);
    int rc = vm_call(rt->vm, arguments, results);
    if (rc == VM_E_LUA) {
        const char *text = lua_tostring(L, -1);
        log_printf(rt->log, LOG_ERROR, "runtime", "%s",
                   text == NULL ? "error in the runtime" : text);
        lua_pop(L, 1);
    }
    return rc;
}

void rt_enqueue(rt_t *rt, rt_event_t *event) {
    event->next = NULL;
    if (rt->events_last != NULL) {
        rt->events_last->next = event;
    } else {
        rt->events_first = event;
    }
    rt->events_last = event;
}

bool rt_has_work(const rt_t *rt) {
    return rt->events_first != NULL || rt->ready.count > 0 ||
           wheel_next_ns(&rt->wheel) <= clock_now_ns(rt->clock);
}

uint64_t rt_next_wake_ns(const rt_t *rt) { return wheel_next_ns(&rt->wheel); }

/* ---- settle ---------------------------------------------------------------------------------- */

void rt_drain(rt_t *rt) {
    rt_event_t *event = rt->events_first;
    rt->events_first = rt->events_last = NULL;
    while (event != NULL) {
        rt_event_t *next = event->next;
        event->settle(rt, event);
        event = next;
    }
}

static void settle(rt_t *rt, bool is_tick) {
    rt_drain(rt);
    op_settle_timers(rt);
    if (is_tick) { op_settle_ticks(rt); }
}

/* ---- run ------------------------------------------------------------------------------------- */

static void run_readers(rt_t *rt, uint64_t below) {
    system_t *system = NULL;
    while ((system = systems_next_reader(rt, below)) != NULL) {
        system_run(rt, system);
    }
}

static void run(rt_t *rt, bool with_systems) {
    (void)ecs_phase_set(rt->world, ECS_PHASE_RUN);
    task_list_t swap = rt->running;
    rt->running = rt->ready;
    rt->ready = swap;
    rt->ready.count = 0;
    task_list_sort(&rt->running);
    for (uint32_t i = 0; i < rt->running.count; i++) {
        task_t *task = rt->running.items[i];
        if (with_systems) { run_readers(rt, task->order); }
        if (task->state == TASK_READY) { task_resume(rt, task); }
    }
    if (with_systems) { run_readers(rt, UINT64_MAX); }
}

/* ---- apply ----------------------------------------------------------------------------------- */

static void push_refusal(lua_State *L, const ecs_batch_result_t *result) {
    lua_pushnumber(L, (lua_Number)(result->owner >> 60));
    lua_pushnumber(L, (lua_Number)(result->owner & ~((uint64_t)15 << 60)));
}

static void tell_rejected(rt_t *rt, const ecs_batch_result_t *result) {
    lua_State *L = rt->vm->L;
    rt->stats.rejected++;
    push_refusal(L, result);
    double owner = lua_tonumber(L, -1);
    lua_pushstring(L, ecs_error_text(result->error));
    lua_pushinteger(L, (lua_Integer)result->op);
    lua_pushnumber(L, result->id);
    lua_pushinteger(L, (lua_Integer)result->component);
    if (rt_hook(rt, HOOK_REJECTED, 6, 1) != VM_OK) { return; }
    task_t *task = result->owner >> 60 == OWNER_TASK ? task_find(rt, owner) : NULL;
    if (task != NULL) {
        task_overrule(rt, task, L);
    } else {
        lua_pop(L, 1);
    }
}

static void tell_skipped(rt_t *rt, const ecs_batch_result_t *result) {
    lua_State *L = rt->vm->L;
    push_refusal(L, result);
    lua_pushinteger(L, (lua_Integer)result->skipped);
    lua_pushinteger(L, (lua_Integer)result->skipped_op);
    lua_pushnumber(L, result->skipped_id);
    lua_pushinteger(L, (lua_Integer)result->skipped_component);
    (void)rt_hook(rt, HOOK_SKIPPED, 6, 0);
}

/* Returns whether anything was applied. */
static bool apply(rt_t *rt) {
    if (ecs_batch_count(rt->world) == 0) { return false; }
    (void)ecs_phase_set(rt->world, ECS_PHASE_APPLY);
    int rc = ecs_apply(rt->world);
    if (rc != ECS_OK) {
        log_printf(rt->log, LOG_ERROR, NULL, "apply: %s", ecs_last_error(rt->world));
    }
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(rt->world, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].error != ECS_OK) { tell_rejected(rt, &results[i]); }
        if (results[i].skipped > 0) { tell_skipped(rt, &results[i]); }
    }
    return true;
}

/* ---- react ----------------------------------------------------------------------------------- */

static void react(rt_t *rt, bool applied) {
    uint32_t events = 0;
    (void)ecs_phase_set(rt->world, ECS_PHASE_REACT);
    if (applied) { (void)ecs_events(rt->world, &events); }
    if (events > 0 || rt->wants_react) {
        rt->wants_react = false;
        lua_pushboolean(rt->vm->L, events > 0);
        (void)rt_hook(rt, HOOK_REACT, 1, 0);
    }
    op_settle_watches(rt);
}

void rt_step(rt_t *rt, bool is_tick) {
    rt->now_ns = clock_now_ns(rt->clock);
    if (is_tick) { rt->tick++; }
    settle(rt, is_tick);
    if (is_tick) { systems_begin_tick(rt); }
    for (uint32_t round = 0; round < RT_MAX_ROUNDS; round++) {
        bool first_of_tick = is_tick && round == 0;
        bool idle = rt->ready.count == 0 && ecs_batch_count(rt->world) == 0 && !rt->wants_react;
        if (idle && !first_of_tick) { break; }
        rt->stats.rounds++;
        run(rt, first_of_tick);
        if (rt->vm->dead) { return; }
        bool applied = apply(rt);
        if (first_of_tick) {
            (void)ecs_phase_set(rt->world, ECS_PHASE_WRITE);
            systems_run_writers(rt);
        }
        react(rt, applied);
    }
    if (vm_heap_presses(rt->vm)) {
        rt->stats.pressed++;
        vm_collect_idle(rt->vm, COLLECT_NS);
    }
    rt->stats.carried += rt->ready.count;
    (void)ecs_phase_set(rt->world, ECS_PHASE_IDLE);
}
