/* One step: settle once, then rounds of run, apply and react (docs/semantics.md, T1 to T6). */
#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "job.h"
#include "memory.h"
#include "net.h"
#include "runtime.h"
#include "schema.h"

/* for the collector at the end of a step, when idle time does not suffice */
#define COLLECT_NS ((uint64_t)500000)

void rt_init(rt_t *rt, ecs_world_t *world, loop_t *loop, log_t *log) {
    memset(rt, 0, sizeof *rt);
    rt->world = world;
    rt->recorder = ecs_recorder(world);
    rt->loop = loop;
    rt->log = log;
    rt->clock = loop->clock;
    rt->max_tasks = RT_MAX_TASKS;
}

void rt_attach(rt_t *rt, vm_t *vm) {
    rt->vm = vm;
    wheel_init(&rt->wheel);
    for (size_t i = 0; i < HOOK_COUNT; i++) {
        rt->hooks[i] = LUA_NOREF;
    }
    vm->owner = rt;
    rt->refs = lua_newthread(vm->L);
    (void)luaL_ref(vm->L, LUA_REGISTRYINDEX);
    lua_newtable(rt->refs);
}

void rt_detach(rt_t *rt) {
    jobs_detach(rt);
    net_detach(rt);
    systems_reset(rt);
    tasks_reset(rt);
    ops_reset(rt);
    rt->origins = (origins_t){0};
    ecs_readers_reset(rt->world);
    schema_detach(rt);
    keep_drop(rt->keep, 0);
    rt->tick_op_count = 0;
    rt->ref_count = 0;
    rt->free_ref_count = 0;
    rt->wants_react = rt->wants_stage = rt->wants_swap = rt->checks_waits = false;
    rt->budget.waiting = 0;
    rt->vm = NULL;
}

void rt_note_lost(rt_t *rt) {
    uint64_t owner = 0;
    bool open = ecs_batch_open(rt->world, &owner);
    bool left = owner >> 60 == OWNER_TASK && rt->current == NULL; /* see rt_batch_turn */
    uint64_t index = owner & ~((uint64_t)0xf << 60);
    const guard_t *guard = rt->guard;
    const task_t *task = NULL;
    rt->lost = (rt_lost_t){.kind = open && !left ? (owner_kind_t)(owner >> 60) : OWNER_HOST,
                           .order = index,
                           .why = rt->vm->why};
    switch (rt->lost.kind) {
    case OWNER_TASK:
        task = task_find(rt, (double)index);
        rt->lost.order = task != NULL ? task->order >> 36 : 0;
        rt->lost.owner = task != NULL ? task->owner : 0;
        break;
    case OWNER_SYSTEM:
    case OWNER_OBSERVER:
        (void)snprintf(rt->lost.name, sizeof rt->lost.name, "%s", owner_name(rt, index));
        break;
    case OWNER_HOST: break;
    }
    (void)snprintf(rt->lost.place, sizeof rt->lost.place, "%s", guard->place);
    rt->current = NULL;
    rt_batch_drop(rt);
}

/* What a script has caught of a stray access ends its batch. Answers whether it did. */
static bool drop_tainted(rt_t *rt) {
    if (!guard_take_taint(rt->guard)) { return false; }
    rt_batch_drop(rt);
    log_printf(rt->log, LOG_WARN, "watchdog",
               "a script caught the error of its stray access: what it had recorded since it "
               "last waited is dropped");
    return true;
}

void rt_batch_end(rt_t *rt, bool *sealed) {
    bool any = false;
    if (!drop_tainted(rt)) {
        if (rt->keep->pending_count > 0) { keep_seal(rt->keep, ecs_batch_count(rt->world)); }
        (void)ecs_batch_seal(rt->world, &any);
    }
    if (sealed != NULL) { *sealed = any; }
}

void rt_batch_turn(rt_t *rt) {
    (void)drop_tainted(rt);
    if (rt->keep->pending_count > 0) { keep_seal(rt->keep, ecs_batch_count(rt->world)); }
    (void)ecs_batch_next(rt->world, RT_OWNER(OWNER_HOST, 0));
}

void rt_batch_rollback(rt_t *rt, ecs_mark_t mark, uint32_t kept) {
    if (mark.batch == 0) { (void)guard_take_taint(rt->guard); }
    bool here = mark.batch == ecs_batch_mark(rt->world).batch;
    keep_drop(rt->keep, here ? kept : 0);
    (void)ecs_batch_rollback(rt->world, mark);
}

void rt_batch_drop(rt_t *rt) {
    rt_batch_rollback(rt, (ecs_mark_t){0}, 0);
    (void)ecs_batch_drop(rt->world);
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
    ops_fini(rt);
    dns_fini(rt);
    schema_fini(rt);
    free(rt->systems);
    free(rt->past);
    free(rt->owner_names);
    free(rt->free_refs);
}

int rt_ref(rt_t *rt, lua_State *L) {
    int ref = rt->free_ref_count > 0 ? rt->free_refs[--rt->free_ref_count] : ++rt->ref_count;
    lua_xmove(L, rt->refs, 1);
    lua_rawseti(rt->refs, 1, ref);
    return ref;
}

void rt_push_ref(const rt_t *rt, lua_State *L, int ref) {
    lua_rawgeti(rt->refs, 1, ref);
    lua_xmove(rt->refs, L, 1);
}

void rt_unref(rt_t *rt, int ref) {
    if (ref == LUA_NOREF) { return; }
    lua_pushnil(rt->refs);
    lua_rawseti(rt->refs, 1, ref);
    if (rt->free_ref_count == rt->free_ref_capacity) {
        rt->free_ref_capacity = rt->free_ref_capacity == 0 ? 64 : rt->free_ref_capacity * 2;
        rt->free_refs = realloc(rt->free_refs, rt->free_ref_capacity * sizeof(int));
        memory_must(rt->free_refs);
    }
    rt->free_refs[rt->free_ref_count++] = ref;
}

int rt_hook(rt_t *rt, hook_t hook, int arguments, int results) {
    lua_State *L = rt->vm->L;
    if (rt->vm->dead) { return VM_E_ABANDONED; }
    if (rt->hooks[hook] == LUA_NOREF) {
        lua_pop(L, arguments);
        return VM_E_LUA;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->hooks[hook]);
    lua_insert(L, -arguments - 1);
    int rc = vm_call(rt->vm, arguments, results);
    if (rc == VM_E_ABANDONED) { rt_note_lost(rt); }
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
    while (!rt->vm->dead && (system = systems_next_reader(rt, below)) != NULL) {
        system_run(rt, system);
    }
}

static void run(rt_t *rt, bool with_systems) {
    (void)ecs_phase_set(rt->world, ECS_PHASE_RUN);
    if (ecs_views_expire(rt->world) != ECS_OK) {
        log_printf(rt->log, LOG_WARN, NULL, "%s; stale views are not caught from now on",
                   ecs_last_error(rt->world));
    }
    task_list_t swap = rt->running;
    rt->running = rt->ready;
    rt->ready = swap;
    rt->ready.count = 0;
    budget_sort(rt);
    for (uint32_t i = 0; i < rt->running.count; i++) {
        task_t *task = rt->running.items[i];
        bool late = task->carried != 0; /* it runs ahead of all that this step brought */
        if (with_systems && !late) { run_readers(rt, task->order); }
        if (rt->vm->dead) { return; }
        if (task->state != TASK_READY) { continue; }
        if (budget_is_limited(&rt->budget) && budget_check(rt)) {
            budget_carry(rt, i);
            break;
        }
        task_prefetch(&rt->running, i);
        task->carried = 0;
        task_resume(rt, task);
    }
    if (with_systems) { run_readers(rt, UINT64_MAX); }
    rt_batch_end(rt, NULL);
}

/* ---- apply ----------------------------------------------------------------------------------- */

/* Its kind and number. */
static void push_owner(lua_State *L, uint64_t owner) {
    lua_pushnumber(L, (lua_Number)(owner >> 60));
    lua_pushnumber(L, (lua_Number)(owner & ~((uint64_t)15 << 60)));
}

static void tell_rejected(rt_t *rt, const ecs_batch_result_t *result) {
    lua_State *L = rt->vm->L;
    rt->stats.rejected++;
    if (rt->vm->dead) { return; }
    push_owner(L, result->owner);
    double owner = lua_tonumber(L, -1);
    lua_pushstring(L, ecs_error_text(result->error));
    lua_pushinteger(L, (lua_Integer)result->op);
    lua_pushnumber(L, result->id);
    lua_pushinteger(L, (lua_Integer)result->component);
    lua_pushinteger(L, (lua_Integer)result->place);
    lua_pushnumber(L, result->parent);
    lua_pushstring(L, result->name);
    int arguments = 9;
    if (result->by.changed != 0) {
        push_owner(L, result->by.owner);
        lua_pushinteger(L, (lua_Integer)result->by.place);
        arguments = 12;
    }
    if (rt_hook(rt, HOOK_REJECTED, arguments, 1) != VM_OK) { return; }
    task_t *task = result->owner >> 60 == OWNER_TASK ? task_find(rt, owner) : NULL;
    if (task != NULL) {
        task_overrule(rt, task, L);
    } else {
        lua_pop(L, 1);
    }
}

static void tell_skipped(rt_t *rt, const ecs_batch_result_t *result) {
    lua_State *L = rt->vm->L;
    if (rt->vm->dead) { return; }
    push_owner(L, result->owner);
    lua_pushinteger(L, (lua_Integer)result->skipped);
    lua_pushinteger(L, (lua_Integer)result->skipped_op);
    lua_pushnumber(L, result->skipped_id);
    lua_pushinteger(L, (lua_Integer)result->skipped_component);
    lua_pushinteger(L, (lua_Integer)result->skipped_place);
    lua_pushnumber(L, result->skipped_parent);
    (void)rt_hook(rt, HOOK_SKIPPED, 8, 0);
}

/* Returns whether anything was applied. */
static bool apply(rt_t *rt) {
    if (ecs_batch_count(rt->world) == 0) {
        keep_commit(rt->keep, NULL, 0);
        return false;
    }
    (void)ecs_phase_set(rt->world, ECS_PHASE_APPLY);
    int rc = ecs_apply(rt->world);
    if (rc != ECS_OK) {
        log_printf(rt->log, LOG_ERROR, NULL, "apply: %s", ecs_last_error(rt->world));
    }
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(rt->world, &count);
    keep_commit(rt->keep, results, count);
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].error != ECS_OK) { tell_rejected(rt, &results[i]); }
        if (results[i].skipped > 0) { tell_skipped(rt, &results[i]); }
    }
    return true;
}

/* ---- react ----------------------------------------------------------------------------------- */

static void react(rt_t *rt, bool applied) {
    uint32_t events = 0, sent = 0;
    (void)ecs_phase_set(rt->world, ECS_PHASE_REACT);
    if (applied) {
        (void)ecs_events(rt->world, &events);
        (void)ecs_sent(rt->world, &sent);
    }
    if (events > 0 || sent > 0 || rt->wants_react) {
        rt->wants_react = false;
        lua_pushboolean(rt->vm->L, events > 0);
        lua_pushboolean(rt->vm->L, sent > 0);
        (void)rt_hook(rt, HOOK_REACT, 2, 0);
    }
    op_settle_watches(rt);
}

/* Runs rounds until nothing is ready any more, or the VM is lost: what was sealed before that is
 * applied all the same. */
static void run_rounds(rt_t *rt, bool is_tick) {
    for (uint32_t round = 0; round < RT_MAX_ROUNDS && !rt->vm->dead; round++) {
        bool first_of_tick = is_tick && round == 0;
        bool ready = rt->ready.count > 0 && !rt->budget.spent;
        bool idle = !ready && ecs_batch_count(rt->world) == 0 && !rt->wants_react;
        if (idle && !first_of_tick) { return; }
        rt->stats.rounds++;
        run(rt, first_of_tick);
        bool applied = apply(rt);
        if (rt->vm->dead) { return; }
        if (first_of_tick) {
            (void)ecs_phase_set(rt->world, ECS_PHASE_WRITE);
            systems_run_writers(rt);
            if (rt->vm->dead) { return; }
        }
        react(rt, applied);
    }
}

/* When idle time does not suffice: some steps; near the heap's limit all of it. */
static void collect(rt_t *rt) {
    if (vm_heap_presses(rt->vm)) { vm_collect_idle(rt->vm, COLLECT_NS); }
    if (!rt->vm->dead) { vm_collect_all(rt->vm); }
    if (rt->vm->dead) { rt_note_lost(rt); } /* in a finalizer */
}

void rt_step(rt_t *rt, bool is_tick) {
    rt->now_ns = clock_now_ns(rt->clock);
    ecs_time_set(rt->world, rt->now_ns);
    if (is_tick) { rt->tick++; }
    budget_begin(rt);
    settle(rt, is_tick);
    if (is_tick) { systems_begin_tick(rt); }
    run_rounds(rt, is_tick);
    if (!rt->vm->dead) { collect(rt); }
    rt->stats.carried += rt->vm->dead ? 0 : rt->ready.count;
    if (!rt->vm->dead) { budget_end(rt); }
    (void)ecs_phase_set(rt->world, ECS_PHASE_IDLE);
}
