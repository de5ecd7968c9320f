/* stator.core.inspect: what tasks wait for, systems, statistics. Reads only; made when somebody
 * asks, nothing is recorded beforehand. */
#include "api.h"
#include "error.h"

#define NS_PER_S 1e9

enum { MAX_ENTITIES = 1000 };

static void set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static task_t *task_at(lua_State *L, int index) {
    return task_find(rt_of(L), luaL_checknumber(L, index));
}

/* ---- waits ----------------------------------------------------------------------------------- */

static const char *watch_name(ecs_watch_kind_t kind) {
    switch (kind) {
    case ECS_WATCH_LEVEL: return "level";
    case ECS_WATCH_RISING: return "rising";
    case ECS_WATCH_FALLING: return "falling";
    case ECS_WATCH_CHANGED: return "changed";
    case ECS_WATCH_ADDED: return "added";
    case ECS_WATCH_REMOVED: return "removed";
    case ECS_WATCH_DESPAWNED: return "despawned";
    case ECS_WATCH_NOT: return "not";
    case ECS_WATCH_COUNT: return "count";
    }
    return NULL;
}

/* A condition as the script wrote it: its fields as { index, value, ... }, or the query's counts;
 * and of one that has to hold, for how long it has. */
static void describe_watch(lua_State *L, const op_t *op) {
    const ecs_watch_desc_t *desc = &op->watch.desc;
    set_text(L, "kind", "condition");
    set_text(L, "edge", watch_name(op->watch.made_kind));
    if (op->watch.hold_ns > 0) {
        double hold_ns = (double)op->watch.hold_ns;
        double left_ns = (double)op->timer.due_ns - (double)rt_of(L)->now_ns;
        set_number(L, "hold_s", hold_ns / NS_PER_S);
        set_number(L, "held_s", op->watch.holding ? (hold_ns - left_ns) / NS_PER_S : 0);
    }
    if (op->watch.made_kind == ECS_WATCH_COUNT) {
        set_number(L, "least", desc->value[0]);
        set_number(L, "most", desc->value[1]);
        return;
    }
    set_number(L, "entity", desc->id);
    set_number(L, "component", desc->component);
    lua_createtable(L, (int)desc->field_count * 2, 0);
    for (uint32_t i = 0; i < desc->field_count; i++) {
        lua_pushnumber(L, desc->field[i]);
        lua_rawseti(L, -2, (int)i * 2 + 1);
        lua_pushnumber(L, desc->value[i]);
        lua_rawseti(L, -2, (int)i * 2 + 2);
    }
    lua_setfield(L, -2, "fields");
}

/* Into the table on top of the stack. */
static void describe_op(lua_State *L, const op_t *op) {
    const rt_t *rt = rt_of(L);
    char place[OP_PLACE_BYTES];
    if (op->line != 0) { set_text(L, "made_at", op_place(op, place)); }
    switch ((op_kind_t)op->kind) {
    case OP_SLEEP:
        set_text(L, "kind", "sleep");
        set_number(L, "left_s", ((double)op->timer.due_ns - (double)rt->now_ns) / NS_PER_S);
        break;
    case OP_TICKS:
        set_text(L, "kind", "ticks");
        set_number(L, "left", (double)op->ticks - (double)rt->tick);
        break;
    case OP_WATCH: describe_watch(L, op); break;
    case OP_COMMIT: set_text(L, "kind", "commit"); break;
    case OP_IO:
        set_text(L, "kind", "io");
        set_text(L, "what", op->io.type->name);
        break;
    case OP_LUA: set_text(L, "kind", "operation"); break;
    }
}

static void describe_future(lua_State *L, const future_t *future) {
    static const char *const modes[] = {"race", "all", "any"};
    if (future->op != NULL) {
        describe_op(L, future->op);
        return;
    }
    set_text(L, "kind", "future");
    set_text(L, "mode", modes[future->mode]);
    set_number(L, "remaining", future->remaining);
}

/* wait(handle) -> { state, since_s, kind, ... } or nil. `future` is the one that the task awaits,
 * where its own stack still has it. */
static int l_wait(lua_State *L) {
    static const char *const states[] = {"free", "ready", "running", "waiting"};
    task_t *task = task_at(L, 1);
    if (task == NULL) { return 0; }
    lua_createtable(L, 0, 8);
    set_text(L, "state", states[task->state]);
    if (task->state != TASK_PARKED) { return 1; }
    set_number(L, "since_s", (double)task->parked_ns / NS_PER_S);
    if (task->op != NULL) { describe_op(L, task->op); }
    if (task->future == NULL || task->state != TASK_PARKED) { return 1; }
    describe_future(L, task->future);
    if (lua_gettop(task->co) > 0 && future_test(task->co, -1) == task->future) {
        lua_pushvalue(task->co, -1);
        lua_xmove(task->co, L, 1);
        lua_setfield(L, -2, "future");
    }
    return 1;
}

/* of_future(future) -> the same of a future: kind, ... */
static int l_of_future(lua_State *L) {
    future_t *future = future_test(L, 1);
    if (future == NULL) { return luaL_typerror(L, 1, "future"); }
    lua_createtable(L, 0, 8);
    if (future->state == FUTURE_PENDING) {
        describe_future(L, future);
    } else {
        set_text(L, "kind", "settled");
    }
    return 1;
}

/* place(handle) -> "file.lua:12", where the script's own code stands, or nil */
static int l_place(lua_State *L) {
    const task_t *task = task_at(L, 1);
    char place[GUARD_PLACE_BYTES];
    if (task == NULL) { return 0; }
    (void)error_place(task->co, 0, place, sizeof place);
    if (place[0] == '\0') { return 0; }
    lua_pushstring(L, place);
    return 1;
}

/* thread(handle) -> its coroutine, for debug.getlocal; nil when it runs */
static int l_thread(lua_State *L) {
    const task_t *task = task_at(L, 1);
    if (task == NULL || task->state == TASK_RUNNING || task->co == L) { return 0; }
    (void)lua_pushthread(task->co);
    lua_xmove(task->co, L, 1);
    return 1;
}

/* ---- systems, statistics, entities ----------------------------------------------------------- */

static void push_jitter(lua_State *L, const jitter_t *jitter) {
    lua_createtable(L, JITTER_BUCKETS, 0);
    for (int i = 0; i < JITTER_BUCKETS; i++) {
        lua_pushnumber(L, (lua_Number)jitter->count[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_system(lua_State *L, const system_t *system) {
    static const char *const kinds[] = {"read", "write", "async"};
    static const char *const phases[] = {"pre_update", "update", "post_update", "startup"};
    lua_createtable(L, 0, 12);
    set_text(L, "name", system->name);
    set_text(L, "kind", kinds[system->kind]);
    set_text(L, "phase", phases[system->phase]);
    set_number(L, "every_s", (double)system->every_ns / NS_PER_S);
    set_number(L, "runs", (double)system->runs);
    set_number(L, "skipped", (double)system->skipped);
    set_number(L, "missed", (double)system->missed);
    set_number(L, "late_max_s", (double)system->late.max_ns / NS_PER_S);
    set_flag(L, "faulted", system->faulted);
    push_jitter(L, &system->late);
    lua_setfield(L, -2, "late");
}

/* systems() -> list in the order in which they run */
static int l_systems(lua_State *L) {
    const rt_t *rt = rt_of(L);
    lua_createtable(L, (int)rt->system_count, 0);
    for (uint32_t i = 0; i < rt->system_count; i++) {
        push_system(L, &rt->systems[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* stats() -> counts of the runtime and bytes in use */
static int l_stats(lua_State *L) {
    const rt_t *rt = rt_of(L);
    const rt_stats_t *stats = &rt->stats;
    lua_createtable(L, 0, 16);
    set_number(L, "now_s", (double)rt->now_ns / NS_PER_S);
    set_number(L, "ticks", (double)rt->tick);
    set_number(L, "rounds", (double)stats->rounds);
    set_number(L, "skipped_ticks", (double)stats->skipped_ticks);
    set_number(L, "carried", (double)stats->carried);
    set_number(L, "over_budget", (double)stats->over_budget);
    set_number(L, "rejected", (double)stats->rejected);
    set_number(L, "faults", (double)stats->faults);
    set_number(L, "lost_vms", (double)stats->lost_vms);
    set_number(L, "tasks", rt->task_alive);
    set_number(L, "lua_bytes", (double)rt->vm->arena.used_bytes);
    set_number(L, "world_bytes", (double)ecs_maps(rt->world).committed_bytes);
    set_number(L, "late_max_s", (double)stats->late.max_ns / NS_PER_S);
    push_jitter(L, &stats->late);
    lua_setfield(L, -2, "late");
    uint32_t at = 0, entities = 0;
    while (ecs_entity_next(rt->world, &at) != 0) {
        entities++;
    }
    set_number(L, "entities", entities);
    return 1;
}

/* entities() -> ids of the first MAX_ENTITIES, how many there are */
static int l_entities(lua_State *L) {
    const rt_t *rt = rt_of(L);
    uint32_t at = 0, count = 0;
    ecs_id_t id = 0;
    lua_newtable(L);
    while ((id = ecs_entity_next(rt->world, &at)) != 0) {
        if (++count > MAX_ENTITIES) { continue; }
        lua_pushnumber(L, id);
        lua_rawseti(L, -2, (int)count);
    }
    lua_pushnumber(L, count);
    return 2;
}

int api_open_inspect(lua_State *L) {
    static const luaL_Reg functions[] = {{"wait", l_wait},         {"of_future", l_of_future},
                                         {"place", l_place},       {"thread", l_thread},
                                         {"systems", l_systems},   {"stats", l_stats},
                                         {"entities", l_entities}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
