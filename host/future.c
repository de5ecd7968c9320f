/* Futures: userdata that is settled once and may be awaited by many tasks. */
#include "error.h"
#include "runtime.h"

future_t *future_new(lua_State *L) {
    future_t *future = lua_newuserdata(L, sizeof *future);
    *future = (future_t){.magic = FUTURE_MAGIC};
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt_of(L)->future_metatable_ref);
    lua_setmetatable(L, -2);
    return future;
}

future_t *future_test(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TUSERDATA ? future_of(lua_touserdata(L, index)) : NULL;
}

static future_t *future_check(lua_State *L, int index) {
    future_t *future = future_test(L, index);
    if (future == NULL) { (void)luaL_typerror(L, index, "future"); }
    return future;
}

void future_add_waiter(future_t *future, task_t *task) {
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

bool future_is_plain(const future_t *future) {
    return future->count == 0 || future->tag != FUTURE_TABLE;
}

int future_push_plain(lua_State *L, const future_t *future) {
    if (future->count == 0) { return 0; }
    switch ((future_tag_t)future->tag) {
    case FUTURE_NUMBER: lua_pushnumber(L, future->number); break;
    case FUTURE_FALSE:
    case FUTURE_TRUE: lua_pushboolean(L, future->tag == FUTURE_TRUE); break;
    case FUTURE_NIL:
    case FUTURE_TABLE: lua_pushnil(L); break;
    }
    return 1;
}

int future_push(lua_State *L, int index) {
    const future_t *future = lua_touserdata(L, index);
    if (future_is_plain(future)) { return future_push_plain(L, future); }
    lua_getfenv(L, index);
    int table = lua_gettop(L);
    (void)lua_checkstack(L, (int)future->count + 1);
    for (uint32_t i = 1; i <= future->count; i++) {
        lua_rawgeti(L, table, (int)i);
    }
    lua_remove(L, table);
    return (int)future->count;
}

/* Keeps the values on top of the stack, and leaves them there. */
static void keep_values(future_t *future, lua_State *L, int index, int values) {
    future->count = (uint32_t)values;
    if (values == 0) { return; }
    switch (values == 1 ? lua_type(L, -1) : LUA_TNONE) {
    case LUA_TNUMBER:
        future->tag = FUTURE_NUMBER;
        future->number = lua_tonumber(L, -1);
        return;
    case LUA_TBOOLEAN: future->tag = lua_toboolean(L, -1) ? FUTURE_TRUE : FUTURE_FALSE; return;
    case LUA_TNIL: future->tag = FUTURE_NIL; return;
    default: break;
    }
    (void)lua_checkstack(L, values + 2);
    int first = lua_gettop(L) - values;
    lua_createtable(L, values, 0);
    for (int i = 1; i <= values; i++) {
        lua_pushvalue(L, first + i);
        lua_rawseti(L, -2, i);
    }
    future->tag = FUTURE_TABLE;
    (void)lua_setfenv(L, index);
}

/* Tells the future at an index that another one has ended. */
static void tell(rt_t *rt, lua_State *L, int index, bool failed) {
    future_t *listener = lua_touserdata(L, index);
    if (listener->remaining > 0) { listener->remaining--; }
    if (listener->remaining == 0 || listener->mode == FUTURE_RACE ||
        (listener->mode == FUTURE_ALL && failed) || (listener->mode == FUTURE_ANY && !failed)) {
        future_settle(rt, L, index, true, 0);
    }
}

/* Tells the `count` futures in the table on top of the stack. [-1 +0 m] */
static void wake_listeners(rt_t *rt, lua_State *L, uint32_t count, bool failed) {
    int table = lua_gettop(L);
    for (uint32_t i = 1; i <= count; i++) {
        lua_rawgeti(L, table, (int)i);
        tell(rt, L, table + 1, failed);
        lua_settop(L, table);
    }
    lua_pop(L, 1);
}

/* Wakes the tasks that wait for it; its values are on top of L's stack, and stay there. */
static void wake_waiters(rt_t *rt, lua_State *L, future_t *future, int values) {
    bool is_plain = future_is_plain(future), ok = future->state == FUTURE_OK;
    task_t *task = future->first;
    future->first = future->last = NULL;
    while (task != NULL) {
        task_t *next = task->next_waiter;
        task->next_waiter = task->prev_waiter = NULL;
        if (is_plain) {
            task_wake_by(rt, task, future);
        } else {
            for (int i = 0; i < values; i++) {
                lua_pushvalue(L, -values);
            }
            task_wake(rt, task, L, ok, values);
        }
        task = next;
    }
}

/* Settles a pending one with the values on top of L's stack, which stay there. Answers 0, the
 * number of results of a function of C. */
static int settle(rt_t *rt, lua_State *L, future_t *future, int index, bool ok, int values) {
    uint32_t listeners = future->listeners;
    if (listeners > 0) {
        (void)lua_checkstack(L, values + 8);
        lua_getfenv(L, index);
        lua_insert(L, -values - 1);
    }
    future->state = ok ? FUTURE_OK : FUTURE_FAILED;
    future->op = NULL;
    future->listeners = 0;
    keep_values(future, L, index, values);
    wake_waiters(rt, L, future, values);
    if (listeners > 0) {
        lua_pushvalue(L, -values - 1);
        wake_listeners(rt, L, listeners, !ok);
        lua_remove(L, -values - 1);
    }
    return 0;
}

void future_settle(rt_t *rt, lua_State *L, int index, bool ok, int values) {
    future_t *future = lua_touserdata(L, index);
    if (future->state == FUTURE_PENDING) { (void)settle(rt, L, future, index, ok, values); }
    lua_pop(L, values);
}

/* ---- methods: what scripts may do with a future ---------------------------------------------- */

/* future:state() -> "pending" | "ok" | "failed" */
static int l_state(lua_State *L) {
    static const char *const names[] = {"pending", "ok", "failed"};
    lua_pushstring(L, names[future_check(L, 1)->state]);
    return 1;
}

/* future:values() -> its values, or its error; nothing while pending. Counts as observing it. */
static int l_values(lua_State *L) {
    future_check(L, 1)->observed = true;
    return future_push(L, 1);
}

/* future:observed() -> whether anybody has looked at its result */
static int l_observed(lua_State *L) {
    lua_pushboolean(L, future_check(L, 1)->observed);
    return 1;
}

/* ---- functions: for lua/stator --------------------------------------------------------------- */

/* settle(future, ok, ...); a second time does nothing */
static int l_settle(lua_State *L) {
    future_t *future = future_check(L, 1);
    if (future->state != FUTURE_PENDING) { return 0; }
    return settle(rt_of(L), L, future, 1, lua_toboolean(L, 2), lua_gettop(L) - 2);
}

/* tell(future, other): counts `other` down when this one is settled. */
static int l_tell(lua_State *L) {
    future_t *future = future_check(L, 1);
    (void)future_check(L, 2);
    future->observed = true;
    if (future->state != FUTURE_PENDING) {
        tell(rt_of(L), L, 2, future->state == FUTURE_FAILED);
        return 0;
    }
    if (future->listeners == 0) {
        lua_createtable(L, 1, 0);
        (void)lua_setfenv(L, 1);
    }
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (int)++future->listeners);
    return 0;
}

/* abort(future) -> whether a C operation stood behind it and was taken back */
static int l_abort(lua_State *L) {
    future_t *future = future_check(L, 1);
    op_t *op = future->op;
    bool pending = op != NULL && future->state == FUTURE_PENDING;
    if (pending) {
        op_abort(rt_of(L), op);
        future->op = NULL;
        error_push(L, "cancelled", "it was taken back"); /* whoever awaits it is told */
        future_settle(rt_of(L), L, 1, false, 1);
    }
    lua_pushboolean(L, pending);
    return 1;
}

/* keep(future): somebody uses the values of the operation that settled it */
static int l_keep(lua_State *L) {
    future_t *future = future_check(L, 1);
    if (future->op != NULL && future->state != FUTURE_PENDING) {
        op_keep(rt_of(L), future->op);
        future->op = NULL;
    }
    return 0;
}

/* undo(future): nobody does, so it counts as not done */
static int l_undo(lua_State *L) {
    future_t *future = future_check(L, 1);
    if (future->op != NULL && future->state != FUTURE_PENDING) {
        op_t *op = future->op;
        future->op = NULL;
        lua_settop(L, 1);
        (void)future_push(L, 1);
        op_undo(rt_of(L), op, L, 2);
    }
    return 0;
}

/* end_of(future[, handle]) -> handle of the task whose end settles it, or nil; notes it before */
static int l_end_of(lua_State *L) {
    future_t *future = future_check(L, 1);
    if (!lua_isnoneornil(L, 2)) { future->ends = luaL_checknumber(L, 2); }
    if (future->ends == 0) { return 0; }
    lua_pushnumber(L, future->ends);
    return 1;
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

/* Adds the constructor and the functions to the table on top of the stack. [-0 +0 e] */
void future_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"state", l_state}, {"values", l_values}, {"observed", l_observed}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"future", l_new}, {"tell", l_tell}, {"abort", l_abort},
                                         {"keep", l_keep},  {"undo", l_undo}, {"end_of", l_end_of},
                                         {NULL, NULL}};
    vm_register(L, functions);
    lua_pushcfunction(L, l_settle); /* hot, and nothing of it can be left half done */
    lua_setfield(L, -2, "settle");
    lua_newtable(L);
    lua_newtable(L);
    vm_register(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "future");
    lua_setfield(L, -2, "__metatable");
    rt_of(L)->future_metatable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
