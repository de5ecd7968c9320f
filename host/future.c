/* Futures: userdata that is settled once and may be awaited by many tasks. */
#include <stdlib.h>

#include "memory.h"
#include "runtime.h"

future_t *future_new(lua_State *L) {
    future_t *future = lua_newuserdata(L, sizeof *future);
    *future = (future_t){.magic = FUTURE_MAGIC, .value_ref = LUA_NOREF};
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt_of(L)->future_metatable_ref);
    lua_setmetatable(L, -2);
    return future;
}

/* By its magic word: scripts cannot make userdata, and the host's others begin with a pointer. */
future_t *future_test(lua_State *L, int index) {
    future_t *future = lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;
    bool is =
        future != NULL && lua_objlen(L, index) >= sizeof *future && future->magic == FUTURE_MAGIC;
    return is ? future : NULL;
}

static future_t *future_check(lua_State *L, int index) {
    future_t *future = future_test(L, index);
    if (future == NULL) { (void)luaL_typerror(L, index, "future"); }
    return future;
}

void future_add_waiter(future_t *future, task_t *task) {
    future->observed = true;
    task->future = future;
    task->next_waiter = NULL;
    task->prev_waiter = future->last;
    if (future->last != NULL) {
        future->last->next_waiter = task;
    } else {
        future->first = task;
    }
    future->last = task;
}

void future_remove_waiter(future_t *future, task_t *task) {
    if (task->prev_waiter != NULL) {
        task->prev_waiter->next_waiter = task->next_waiter;
    } else {
        future->first = task->next_waiter;
    }
    if (task->next_waiter != NULL) {
        task->next_waiter->prev_waiter = task->prev_waiter;
    } else {
        future->last = task->prev_waiter;
    }
    task->next_waiter = task->prev_waiter = NULL;
    task->future = NULL;
}

int future_push(const future_t *future, lua_State *L) {
    if (future->count == 0) { return 0; }
    rt_push_ref(rt_of(L), L, future->value_ref);
    if (future->count == 1) { return 1; }
    int table = lua_gettop(L);
    (void)lua_checkstack(L, (int)future->count + 1);
    for (uint32_t i = 1; i <= future->count; i++) {
        lua_rawgeti(L, table, (int)i);
    }
    lua_remove(L, table);
    return (int)future->count;
}

static void keep_values(future_t *future, lua_State *L, int values) {
    future->count = (uint32_t)values;
    if (values == 0) { return; }
    if (values > 1) {
        lua_createtable(L, values, 0);
        lua_insert(L, -values - 1);
        for (int i = values; i >= 1; i--) {
            lua_rawseti(L, -i - 1, i);
        }
    }
    future->value_ref = rt_ref(rt_of(L), L);
}

static void tell(rt_t *rt, const future_t *ended, future_t *listener, lua_State *L) {
    bool failed = ended->state == FUTURE_FAILED;
    if (listener->remaining > 0) { listener->remaining--; }
    if (listener->remaining == 0 || listener->mode == FUTURE_RACE ||
        (listener->mode == FUTURE_ALL && failed) || (listener->mode == FUTURE_ANY && !failed)) {
        future_settle(rt, listener, L, true, 0);
    }
}

static void wake_listeners(rt_t *rt, future_t *future, lua_State *L) {
    for (uint32_t i = 0; i < future->listener_count; i++) {
        rt_push_ref(rt_of(L), L, future->listeners[i]);
        rt_unref(rt_of(L), L, future->listeners[i]);
        future_t *listener = future_test(L, -1);
        if (listener != NULL) { tell(rt, future, listener, L); }
        lua_pop(L, 1);
    }
    free(future->listeners);
    future->listeners = NULL;
    future->listener_count = future->listener_capacity = 0;
}

void future_settle(rt_t *rt, future_t *future, lua_State *L, bool ok, int values) {
    if (future->state != FUTURE_PENDING) {
        lua_pop(L, values);
        return;
    }
    future->state = ok ? FUTURE_OK : FUTURE_FAILED;
    future->op = NULL;
    keep_values(future, L, values);
    while (future->first != NULL) {
        task_t *task = future->first;
        future_remove_waiter(future, task);
        task_wake(rt, task, L, ok, future_push(future, L));
    }
    wake_listeners(rt, future, L);
}

/* ---- methods --------------------------------------------------------------------------------- */

/* future:settle(ok, ...) [-0 +0 e] */
static int l_settle(lua_State *L) {
    future_t *future = future_check(L, 1);
    future_settle(rt_of(L), future, L, lua_toboolean(L, 2), lua_gettop(L) - 2);
    return 0;
}

/* future:state() -> "pending" | "ok" | "failed" */
static int l_state(lua_State *L) {
    static const char *const names[] = {"pending", "ok", "failed"};
    lua_pushstring(L, names[future_check(L, 1)->state]);
    return 1;
}

/* future:values() -> its values, or its error; nothing while pending. Counts as observing it. */
static int l_values(lua_State *L) {
    future_t *future = future_check(L, 1);
    future->observed = true;
    return future_push(future, L);
}

/* future:observed() -> whether anybody has looked at its result */
static int l_observed(lua_State *L) {
    lua_pushboolean(L, future_check(L, 1)->observed);
    return 1;
}

/* future:tell(other): counts `other` down when this one is settled. */
static int l_tell(lua_State *L) {
    future_t *future = future_check(L, 1), *other = future_check(L, 2);
    future->observed = true;
    if (future->state != FUTURE_PENDING) {
        tell(rt_of(L), future, other, L);
        return 0;
    }
    if (future->listener_count == future->listener_capacity) {
        future->listener_capacity =
            future->listener_capacity == 0 ? 4 : future->listener_capacity * 2;
        future->listeners = realloc(future->listeners, future->listener_capacity * sizeof(int));
        memory_must(future->listeners);
    }
    lua_pushvalue(L, 2);
    future->listeners[future->listener_count++] = rt_ref(rt_of(L), L);
    return 0;
}

/* future:abort() -> whether a C operation stood behind it and was taken back */
static int l_abort(lua_State *L) {
    future_t *future = future_check(L, 1);
    op_t *op = future->op;
    if (op != NULL) {
        op_abort(rt_of(L), op);
        future->op = NULL;
    }
    lua_pushboolean(L, op != NULL);
    return 1;
}

/* future:end_of([handle]) -> handle of the task whose end settles it, or nil; notes it before */
static int l_end_of(lua_State *L) {
    future_t *future = future_check(L, 1);
    if (!lua_isnoneornil(L, 2)) { future->ends = luaL_checknumber(L, 2); }
    if (future->ends == 0) { return 0; }
    lua_pushnumber(L, future->ends);
    return 1;
}

static int l_gc(lua_State *L) {
    future_t *future = future_check(L, 1);
    rt_unref(rt_of(L), L, future->value_ref);
    for (uint32_t i = 0; i < future->listener_count; i++) {
        rt_unref(rt_of(L), L, future->listeners[i]);
    }
    free(future->listeners);
    future->listeners = NULL;
    future->listener_count = 0;
    future->value_ref = LUA_NOREF;
    return 0;
}

/* future([remaining, "race" | "all" | "any"]) -> future */
static int l_new(lua_State *L) {
    static const char *const modes[] = {"race", "all", "any", NULL};
    uint32_t remaining = (uint32_t)luaL_optinteger(L, 1, 0);
    int mode = luaL_checkoption(L, 2, "race", modes);
    future_t *future = future_new(L);
    future->remaining = remaining;
    future->mode = (uint8_t)mode;
    return 1;
}

/* Leaves the constructor on the stack. [-0 +1 e] */
void future_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"settle", l_settle}, {"state", l_state}, {"values", l_values}, {"observed", l_observed},
        {"tell", l_tell},     {"abort", l_abort}, {"end_of", l_end_of}, {NULL, NULL}};
    lua_newtable(L);
    lua_newtable(L);
    vm_register(L, methods);
    lua_setfield(L, -2, "__index");
    vm_push_function(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "future");
    lua_setfield(L, -2, "__metatable");
    rt_of(L)->future_metatable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    vm_push_function(L, l_new);
}
