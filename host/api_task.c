/* stator.core.task: tasks, operations, futures, systems and time for lua/stator. */
#include <math.h>
#include <string.h>

#include "api.h"
#include "error.h"

#define NS_PER_S 1e9

/* awaits that a cancelled task may have refused in one slice before it has to pause */
enum { MAX_REFUSALS = 100 };

/* Longest wait that fits the wheel: two years. */
#define MAX_SECONDS 6.3e7

/* ---- tasks ----------------------------------------------------------------------------------- */

/* spawn(order_high, sequence, owner or 0, fn, ...) -> handle. order_high: phase << 26 | script <<
 * 14 | position; it is ready in the next round. */
static int l_spawn(lua_State *L) {
    rt_t *rt = rt_of(L);
    uint64_t high = (uint64_t)luaL_checknumber(L, 1), sequence = (uint64_t)luaL_checknumber(L, 2);
    ecs_id_t owner = luaL_checknumber(L, 3);
    luaL_checktype(L, 4, LUA_TFUNCTION);
    const task_t *task =
        task_new(rt, L, lua_gettop(L) - 4, high << 36 | (sequence & 0xfffffffffull), owner);
    if (task == NULL) {
        char text[128];
        (void)snprintf(text, sizeof text, "more than %u tasks (limits.tasks)", rt->max_tasks);
        error_push(L, "limit", text);
        return lua_error(L);
    }
    lua_pushnumber(L, task_handle(task));
    return 1;
}

/* Raises why the running task cannot wait here; or answers that it is cancelled, as park does. */
static int refuse_to_park(lua_State *L, task_t *task, op_t *op) {
    rt_t *rt = rt_of(L);
    if (op != NULL && op->state == OP_COLD) { op_drop(rt, op); }
    if (lua_isyieldable(L) == 0) {
        return luaL_error(L,
                          "await: nothing can wait inside a function that table.sort, string.gsub "
                          "or another function of C calls, nor while a module loads");
    }
    task->pausing = ++task->refusals >= MAX_REFUSALS; /* a loop that swallows it */
    if (task->pausing) { return lua_yield(L, 0); }
    if (task->counts) {
        lua_pushnumber(L, AWAIT_FAILED);
    } else {
        lua_pushboolean(L, 0);
    }
    rt_push_ref(rt, L, task->cancel_ref);
    return 2;
}

/* Lets the task wait for a future. */
static int park_future(lua_State *L, rt_t *rt, task_t *task, future_t *future) {
    if (task->settled_ref != LUA_NOREF) {
        rt_unref(rt, task->settled_ref);
        task->settled_ref = LUA_NOREF;
    }
    if (future->state != FUTURE_PENDING && !future_is_plain(future)) {
        lua_pushvalue(L, 1);
        task->settled_ref = rt_ref(rt, L);
    }
    task->future = future;
    task->op = NULL;
    if (lua_gettop(L) > 1) { lua_settop(L, 1); }
    return lua_yield(L, 1); /* on the stack it is not collected */
}

/* What is at index 1, for which the task does not wait here. */
static int hand_back(lua_State *L, bool counts) {
    if (counts) {
        lua_pushnumber(L, AWAIT_BACK);
    } else {
        lua_pushnil(L);
    }
    lua_insert(L, 1);
    return 2;
}

static int park(lua_State *L, rt_t *rt, bool counts) {
    task_t *task = rt->current;
    int type = lua_type(L, 1);
    if (task == NULL) {
        return luaL_error(L, "await: only a task can wait, and none is running here");
    }
    if (type == LUA_TTABLE) { return hand_back(L, counts); }
    op_t *op = type == LUA_TLIGHTUSERDATA ? op_of(rt, lua_touserdata(L, 1)) : NULL;
    task->counts = counts;
    if (task->cancel_ref != LUA_NOREF || lua_isyieldable(L) == 0) {
        return refuse_to_park(L, task, op);
    }
    if (op != NULL && op->state == OP_COLD) {
        task->op = op;
        task->future = NULL; /* of a wait that a function of C refused to pass on */
        return lua_yield(L, 0);
    }
    future_t *future = type == LUA_TUSERDATA ? future_of(lua_touserdata(L, 1)) : NULL;
    if (future != NULL) { return park_future(L, rt, task, future); }
    if (type == LUA_TLIGHTUSERDATA) { return op_refuse(L, 1); }
    return luaL_error(L, "await: expected an operation or a future, got %s", luaL_typename(L, 1));
}

/* park(operation or future) -> true, values... | false, error | nil, table: not one of the host's.
 * Yields; a coroutine that the task runs inside itself yields to its resumer, who sees parking()
 * and yields on. */
static int l_park(lua_State *L) { return park(L, rt_of(L), false); }

/* await(operation or future) -> as park, for a caller that takes four values and looks at the first
 * with as little effort as can be: false, value | true when there is none | 2 or 3, values... |
 * 4, { n = their number, ... } | 0, error | 5, value: nothing waited for it. The last is so for
 * tables and, while check_waits holds, for whatever it is. */
static int l_await(lua_State *L) {
    rt_t *rt = rt_of(L);
    return rt->checks_waits ? hand_back(L, true) : park(L, rt, true);
}

/* check_waits(on): see await */
static int l_check_waits(lua_State *L) {
    rt_of(L)->checks_waits = lua_toboolean(L, 1) != 0;
    return 0;
}

/* parking() -> whether the running task has asked to wait and is on its way out */
static int l_parking(lua_State *L) {
    const task_t *task = rt_of(L)->current;
    lua_pushboolean(L, task != NULL && (task->op != NULL || task->future != NULL || task->pausing));
    return 1;
}

/* unwrap(ok, ...) -> ... or raises the error that follows */
static int l_unwrap(lua_State *L) {
    if (lua_toboolean(L, 1)) { return lua_gettop(L) - 1; }
    lua_settop(L, 2);
    return lua_error(L);
}

/* current() -> handle of the task that runs, or nil */
static int l_current(lua_State *L) {
    const task_t *task = rt_of(L)->current;
    if (task == NULL) { return 0; }
    lua_pushnumber(L, task_handle(task));
    return 1;
}

static task_t *task_at(lua_State *L, int index) {
    return task_find(rt_of(L), luaL_checknumber(L, index));
}

/* set_cancel(handle, error or nil): what every await of the task raises from now on */
static int l_set_cancel(lua_State *L) {
    task_t *task = task_at(L, 1);
    if (task == NULL) { return 0; }
    rt_unref(rt_of(L), task->cancel_ref);
    lua_settop(L, 2);
    task->cancel_ref = lua_isnil(L, 2) ? LUA_NOREF : rt_ref(rt_of(L), L);
    return 0;
}

/* interrupt(handle, error) -> whether it was waiting and was woken with the error */
static int l_interrupt(lua_State *L) {
    task_t *task = task_at(L, 1);
    lua_settop(L, 2);
    lua_pushboolean(L, task != NULL && task_interrupt(rt_of(L), task, L));
    return 1;
}

/* state(handle) -> "ready" | "running" | "parked" | nil when it is gone */
static int l_state(lua_State *L) {
    static const char *const states[] = {"free", "ready", "running", "parked"};
    const task_t *task = task_at(L, 1);
    if (task == NULL) { return 0; }
    lua_pushstring(L, states[task->state]);
    return 1;
}

/* waits_for(handle) -> handle of the task for whose end it waits, or nil */
static int l_waits_for(lua_State *L) {
    const task_t *task = task_at(L, 1);
    bool waits = task != NULL && task->state == TASK_PARKED && task->future != NULL;
    if (!waits || task->future->ends == 0) { return 0; }
    lua_pushnumber(L, task->future->ends);
    return 1;
}

/* traceback(handle) -> the task's stack as text */
static int l_traceback(lua_State *L) {
    const task_t *task = task_at(L, 1);
    if (task == NULL || task->co == L) { return 0; }
    luaL_traceback(L, task->co, NULL, 0);
    return 1;
}

/* here() -> "file.lua:12", the innermost line of a script that runs, or nil */
static int l_here(lua_State *L) {
    char place[GUARD_PLACE_BYTES];
    (void)error_place(L, 0, place, sizeof place);
    if (place[0] == '\0') { return 0; }
    lua_pushstring(L, place);
    return 1;
}

/* forgotten() -> place of the oldest operation that the running task made and never used; its
 * operations are given up */
static int l_forgotten(lua_State *L) {
    rt_t *rt = rt_of(L);
    if (rt->current == NULL || rt->current->unused == NULL) { return 0; }
    const op_t *oldest = op_forgotten(rt->current);
    char place[OP_PLACE_BYTES];
    if (oldest != NULL) { lua_pushstring(L, op_place(oldest, place)); }
    op_release_unused(rt, rt->current);
    return oldest != NULL;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* sleep(seconds) -> operation */
static int l_sleep(lua_State *L) {
    if (lua_type(L, 1) != LUA_TNUMBER) {
        return luaL_error(L, "sleep: expected seconds, got %s", luaL_typename(L, 1));
    }
    double seconds = lua_tonumber(L, 1);
    if (!(seconds >= 0 && seconds <= MAX_SECONDS)) {
        return luaL_error(L, "sleep: expected 0 to 6.3e7 seconds, got %f", seconds);
    }
    op_new(L, OP_SLEEP)->ns = (uint64_t)(seconds * NS_PER_S);
    return 1;
}

/* sleep_until(seconds of now) -> operation; a time in the past ends in the next round */
static int l_sleep_until(lua_State *L) {
    double at = luaL_checknumber(L, 1), now = (double)rt_of(L)->now_ns / NS_PER_S;
    double wait = at > now ? at - now : 0;
    op_new(L, OP_SLEEP)->ns = (uint64_t)((wait < MAX_SECONDS ? wait : MAX_SECONDS) * NS_PER_S);
    return 1;
}

/* ticks(n) -> operation that ends in the n-th tick from now */
static int l_ticks(lua_State *L) {
    double n = luaL_checknumber(L, 1);
    if (!(n >= 1 && n <= 1e9)) { return luaL_error(L, "ticks: expected 1 to 1e9, got %f", n); }
    op_new(L, OP_TICKS)->ticks = (uint64_t)n;
    return 1;
}

static int l_commit(lua_State *L) {
    (void)op_new(L, OP_COMMIT);
    return 1;
}

/* For how long a condition has to hold; nothing: not at all. */
static uint64_t hold_at(lua_State *L, int index) {
    double seconds = luaL_optnumber(L, index, 0);
    if (!(seconds >= 0 && seconds <= MAX_SECONDS)) {
        return (uint64_t)luaL_error(L, "hold_s: expected 0 to 6.3e7 seconds, got %f", seconds);
    }
    return (uint64_t)(seconds * NS_PER_S);
}

/* watch_count(query's pointer, least, most[, hold_s]) -> operation */
static int l_watch_count(lua_State *L) {
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_COUNT,
                             .value = {luaL_checknumber(L, 2), luaL_checknumber(L, 3)},
                             .query = lua_touserdata(L, 1)};
    uint64_t hold_ns = hold_at(L, 4);
    op_t *op = op_new(L, OP_WATCH);
    op->watch.desc = desc;
    op->watch.hold_ns = hold_ns;
    return 1;
}

/* watch(kind, entity, component, { field, value, field, value, ... }[, hold_s]) -> operation */
static int l_watch(lua_State *L) {
    static const char *const kinds[] = {"level", "rising",  "falling",   "changed",
                                        "added", "removed", "despawned", NULL};
    ecs_watch_desc_t desc = {.kind = (uint32_t)luaL_checkoption(L, 1, NULL, kinds),
                             .id = luaL_checknumber(L, 2),
                             .component = (uint32_t)luaL_checkinteger(L, 3)};
    luaL_checktype(L, 4, LUA_TTABLE);
    size_t count = lua_objlen(L, 4) / 2;
    if (count > ECS_WATCH_MAX_CONDITIONS) {
        return luaL_error(L, "a condition names at most 4 fields");
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 4, (int)i * 2 + 1);
        lua_rawgeti(L, 4, (int)i * 2 + 2);
        desc.field[i] = (uint32_t)lua_tointeger(L, -2);
        desc.value[i] = lua_tonumber(L, -1);
        lua_pop(L, 2);
    }
    desc.field_count = (uint32_t)count;
    uint64_t hold_ns = hold_at(L, 5);
    op_t *op = op_new(L, OP_WATCH);
    op->watch.desc = desc;
    op->watch.hold_ns = hold_ns;
    return 1;
}

/* operation() -> handle that tells whether an operation of lua/stator was used */
static int l_operation(lua_State *L) {
    (void)op_new(L, OP_LUA);
    return 1;
}

/* operation_metatable(mt): of the tables that are operations of lua/stator */
static int l_operation_metatable(lua_State *L) {
    lua_settop(L, 1);
    rt_of(L)->lua_op_metatable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* refuse(value): raises when it is an operation that was used, or whose task has ended */
static int l_refuse(lua_State *L) {
    if (lua_islightuserdata(L, 1) && op_test(L, 1) == NULL) { return op_refuse(L, 1); }
    return 0;
}

/* is(value) -> "operation" | "future" | nil */
static int l_is(lua_State *L) {
    bool is_operation = op_test(L, 1) != NULL;
    if (lua_istable(L, 1) && lua_getmetatable(L, 1) != 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, rt_of(L)->lua_op_metatable_ref);
        is_operation = lua_rawequal(L, -1, -2) != 0;
    }
    if (is_operation) {
        lua_pushliteral(L, "operation");
    } else if (future_test(L, 1) != NULL) {
        lua_pushliteral(L, "future");
    } else {
        lua_pushnil(L);
    }
    return 1;
}

/* ---- systems, hooks, time -------------------------------------------------------------------- */

/* system { name, kind, phase, order_high, every_s, fn, query, tick } */
static int l_system(lua_State *L) {
    static const char *const kinds[] = {"read", "write", "async", NULL};
    rt_t *rt = rt_of(L);
    system_t system = {0};
    (void)snprintf(system.name, sizeof system.name, "%s", luaL_checkstring(L, 1));
    system.kind = (uint8_t)luaL_checkoption(L, 2, NULL, kinds);
    system.phase = (uint8_t)luaL_checkinteger(L, 3);
    system.order = (uint64_t)luaL_checknumber(L, 4) << 36;
    system.every_ns = (uint64_t)(luaL_checknumber(L, 5) * NS_PER_S);
    lua_settop(L, 8);
    system.tick_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    system.query_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    system.function_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    (void)system_add(rt, &system);
    return 0;
}

static int l_freeze_systems(lua_State *L) {
    systems_freeze(rt_of(L));
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

/* hook(name, fn): see hook_t */
static int l_hook(lua_State *L) {
    static const char *const names[] = {"fault",   "react", "async", "rejected",
                                        "skipped", "gone",  NULL};
    int hook = luaL_checkoption(L, 1, NULL, names);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    rt_of(L)->hooks[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* message_handler(fn): what turns an error inside a system into an error value */
static int l_message_handler(lua_State *L) {
    lua_settop(L, 1);
    rt_of(L)->vm->traceback_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* want_react(): the react hook is called in this round even without events */
static int l_want_react(lua_State *L) {
    rt_of(L)->wants_react = true;
    return 0;
}

/* error_metatable(mt): of error values that C makes */
static int l_error_metatable(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "stator.err");
    return 0;
}

/* share_cmd(cmd): the value that systems get as their first argument */
static int l_share_cmd(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "stator.cmd");
    return 0;
}

/* count_fault() */
static int l_count_fault(lua_State *L) {
    rt_of(L)->stats.faults++;
    return 0;
}

/* faults() -> how many errors nobody handled, in all VMs */
static int l_faults(lua_State *L) {
    lua_pushnumber(L, (lua_Number)rt_of(L)->stats.faults);
    return 1;
}

/* share_tasks(table): handle -> task with a name, for messages of the watchdog */
static int l_share_tasks(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "stator.tasks");
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

/* now() -> seconds since the host started, the same all through a step */
static int l_now(lua_State *L) {
    lua_pushnumber(L, (double)rt_of(L)->now_ns / NS_PER_S);
    return 1;
}

int api_open_task(lua_State *L) {
    /* hot, and nothing that they do can be left half done */
    static const luaL_Reg leaves[] = {{"unwrap", l_unwrap},
                                      {"parking", l_parking},
                                      {"current", l_current},
                                      {"is", l_is},
                                      {"now", l_now},
                                      {"park", l_park},
                                      {"await", l_await},
                                      {"sleep", l_sleep},
                                      {"commit", l_commit},
                                      {"waits_for", l_waits_for},
                                      {NULL, NULL}};
    static const luaL_Reg functions[] = {{"spawn", l_spawn},
                                         {"set_cancel", l_set_cancel},
                                         {"check_waits", l_check_waits},
                                         {"interrupt", l_interrupt},
                                         {"state", l_state},
                                         {"traceback", l_traceback},
                                         {"forgotten", l_forgotten},
                                         {"here", l_here},
                                         {"sleep_until", l_sleep_until},
                                         {"ticks", l_ticks},
                                         {"watch", l_watch},
                                         {"watch_count", l_watch_count},
                                         {"operation", l_operation},
                                         {"refuse", l_refuse},
                                         {"operation_metatable", l_operation_metatable},
                                         {"system", l_system},
                                         {"freeze_systems", l_freeze_systems},
                                         {"stop_systems", l_stop_systems},
                                         {"system_info", l_system_info},
                                         {"system_skipped", l_system_skipped},
                                         {"current_system", l_current_system},
                                         {"hook", l_hook},
                                         {"message_handler", l_message_handler},
                                         {"share_cmd", l_share_cmd},
                                         {"want_react", l_want_react},
                                         {"error_metatable", l_error_metatable},
                                         {"count_fault", l_count_fault},
                                         {"faults", l_faults},
                                         {"share_tasks", l_share_tasks},
                                         {"fault_system", l_fault_system},
                                         {"reset_system", l_reset_system},
                                         {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, leaves);
    vm_register(L, functions);
    op_open(L);
    future_open(L);
    return 1;
}
