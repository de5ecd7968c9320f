/* Operations: cold until they are awaited, combined or started. The kinds that the host itself
 * ends are here: time, ticks, conditions, commit. I/O modules bring their own. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "memory.h"
#include "runtime.h"

/* ---- making ---------------------------------------------------------------------------------- */

const char *op_place(const op_t *op, char *out) {
    (void)snprintf(out, OP_PLACE_BYTES, "%s:%u", op->source, op->line);
    return out;
}

static int used_before(lua_State *L, const op_t *op) {
    char place[OP_PLACE_BYTES];
    return luaL_error(L, "%s: this operation was used before", op_place(op, place));
}

static void list_unused(lua_State *L, op_t *op, task_t *maker) {
    uint32_t count = 0;
    for (const op_t *other = maker->unused; other != NULL; other = other->next) {
        bool same_place = other->line == op->line && strcmp(other->source, op->source) == 0;
        if ((op->line != 0 && same_place && other->made_slice != maker->slice) ||
            ++count >= RT_MAX_UNUSED_OPS) {
            char place[OP_PLACE_BYTES];
            (void)luaL_error(
                L,
                "%s: an operation made here was never awaited, so nothing was done: write "
                "await(...), or stator.start(...) to let it run",
                op_place(other, place));
        }
    }
    op->maker = maker;
    op->made_slice = maker->slice;
    op->next = maker->unused;
    if (op->next != NULL) { op->next->prev = op; }
    maker->unused = op;
}

op_t *op_new(lua_State *L, op_kind_t kind) {
    rt_t *rt = rt_of(L);
    if (rt->current == NULL) {
        (void)luaL_error(
            L, "operations are made inside a task: a system, an observer or a script's body "
               "cannot wait");
    }
    size_t bytes =
        kind == OP_WATCH || kind == OP_IO ? sizeof(op_t) : offsetof(op_t, ns) + sizeof(uint64_t);
    op_t *op = lua_newuserdata(L, bytes);
    memset(op, 0, bytes);
    op->magic = OP_MAGIC;
    op->kind = (uint8_t)kind;
    op->anchor_ref = LUA_NOREF;
    op->sequence = ++rt->op_sequence;
    if (kind == OP_IO) { op->io.subject_ref = op->io.ref = LUA_NOREF; }
    lua_rawgeti(L, LUA_REGISTRYINDEX, rt->op_metatable_ref);
    lua_setmetatable(L, -2);
    op->line = (uint32_t)error_line(L, 1, op->source, sizeof op->source);
    if (op->line != 0) { list_unused(L, op, rt->current); }
    return op;
}

op_t *op_test(lua_State *L, int index) {
    op_t *op = lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;
    bool is = op != NULL && lua_objlen(L, index) >= offsetof(op_t, ns) && op->magic == OP_MAGIC;
    return is ? op : NULL;
}

op_t *op_check(lua_State *L, int index) {
    op_t *op = op_test(L, index);
    if (op == NULL) { (void)luaL_typerror(L, index, "operation"); }
    return op;
}

void op_use(op_t *op) {
    if (op->maker == NULL) { return; }
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        op->maker->unused = op->next;
    }
    if (op->next != NULL) { op->next->prev = op->prev; }
    op->maker = NULL;
    op->prev = op->next = NULL;
}

void op_release_unused(task_t *task) {
    while (task->unused != NULL) {
        op_use(task->unused);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static void start_ticks(rt_t *rt, op_t *op) {
    op->ticks += rt->tick;
    if (rt->tick_op_count == rt->tick_op_capacity) {
        rt->tick_op_capacity = rt->tick_op_capacity == 0 ? 64 : rt->tick_op_capacity * 2;
        rt->tick_ops = realloc(rt->tick_ops, rt->tick_op_capacity * sizeof(op_t *));
        memory_must(rt->tick_ops);
    }
    rt->tick_ops[rt->tick_op_count++] = op;
}

static void start_watch(rt_t *rt, op_t *op) {
    bool fired = false;
    int rc =
        ecs_watch_add(rt->world, &op->watch.desc, (uint64_t)(uintptr_t)op, &op->watch.id, &fired);
    lua_State *L = rt->vm->L;
    if (rc == ECS_E_DEAD) {
        if (rt_hook(rt, HOOK_GONE, 0, 1) == VM_OK) { op_finish(rt, op, L, false, 1); }
    } else if (rc != ECS_OK) {
        lua_pushstring(L, ecs_last_error(rt->world));
        op_finish(rt, op, L, false, 1);
    } else if (fired) {
        op_finish(rt, op, L, true, 0);
    }
}

void op_start(rt_t *rt, op_t *op) {
    op_use(op);
    op->state = OP_STARTED;
    switch ((op_kind_t)op->kind) {
    case OP_SLEEP: wheel_add(&rt->wheel, &op->timer, rt->now_ns + op->ns); break;
    case OP_TICKS: start_ticks(rt, op); break;
    case OP_WATCH: start_watch(rt, op); break;
    case OP_COMMIT: op_finish(rt, op, rt->vm->L, true, 0); break;
    case OP_IO: op->io.type->start(rt, op); break;
    case OP_LUA: break; /* started by lua/stator, which awaits its future */
    }
}

/* Gives up the Lua values that an I/O operation holds. */
static void io_release(rt_t *rt, op_t *op) {
    if (op->kind != OP_IO) { return; }
    rt_unref(rt, rt->vm->L, op->io.subject_ref);
    rt_unref(rt, rt->vm->L, op->io.ref);
    op->io.subject_ref = op->io.ref = LUA_NOREF;
}

static void op_end(rt_t *rt, op_t *op) {
    io_release(rt, op);
    op->state = OP_DONE;
    op->task = NULL;
    op->future = NULL;
    rt_unref(rt, rt->vm->L, op->anchor_ref);
    op->anchor_ref = LUA_NOREF;
}

void op_finish(rt_t *rt, op_t *op, lua_State *L, bool ok, int values) {
    task_t *task = op->task;
    future_t *future = op->future;
    if (op->state != OP_STARTED) {
        lua_pop(L, values);
        return;
    }
    if (task != NULL) {
        task->op = NULL;
        task_wake(rt, task, L, ok, values);
    } else if (future != NULL) {
        future_settle(rt, future, L, ok, values);
    } else {
        lua_pop(L, values);
    }
    op_end(rt, op);
}

static void forget_ticks(rt_t *rt, const op_t *op) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rt->tick_op_count; i++) {
        if (rt->tick_ops[i] != op) { rt->tick_ops[kept++] = rt->tick_ops[i]; }
    }
    rt->tick_op_count = kept;
}

void op_abort(rt_t *rt, op_t *op) {
    if (op->state != OP_STARTED) { return; }
    switch ((op_kind_t)op->kind) {
    case OP_SLEEP: wheel_remove(&rt->wheel, &op->timer); break;
    case OP_TICKS: forget_ticks(rt, op); break;
    case OP_WATCH: ecs_watch_remove(rt->world, op->watch.id); break;
    case OP_IO: op->io.type->abort(rt, op); break;
    case OP_COMMIT:
    case OP_LUA: break;
    }
    op_end(rt, op);
}

/* ---- settling -------------------------------------------------------------------------------- */

/* An I/O operation that its module has put into the wheel: `number` is its limit in seconds. */
static void expire(rt_t *rt, op_t *op) {
    char text[96];
    (void)snprintf(text, sizeof text, "%s: not done within %g s", op->io.type->name, op->io.number);
    error_push(rt->vm->L, "timeout", text);
    op->io.type->abort(rt, op);
    op_finish(rt, op, rt->vm->L, false, 1);
}

void op_settle_timers(rt_t *rt) {
    wheel_node_t *node = NULL;
    while ((node = wheel_pop(&rt->wheel, rt->now_ns)) != NULL) {
        op_t *op = (op_t *)(void *)((char *)node - offsetof(op_t, timer));
        if (op->kind == OP_IO) {
            expire(rt, op);
            continue;
        }
        op_finish(rt, op, rt->vm->L, true, 0);
    }
}

void op_settle_ticks(rt_t *rt) {
    uint32_t kept = 0, had = rt->tick_op_count;
    for (uint32_t i = 0; i < had; i++) {
        op_t *op = rt->tick_ops[i];
        if (op->ticks <= rt->tick) {
            op_finish(rt, op, rt->vm->L, true, 0);
        } else {
            rt->tick_ops[kept++] = op;
        }
    }
    rt->tick_op_count = kept;
}

void op_settle_watches(rt_t *rt) {
    uint32_t count = 0;
    const ecs_watch_result_t *results = ecs_watch_poll(rt->world, &count);
    for (uint32_t i = 0; i < count; i++) {
        op_t *op = (op_t *)(uintptr_t)results[i].owner;
        bool ok = results[i].error == ECS_OK;
        if (rt->vm->dead) { return; }
        if (!ok && rt_hook(rt, HOOK_GONE, 0, 1) != VM_OK) { lua_pushnil(rt->vm->L); }
        op_finish(rt, op, rt->vm->L, ok, ok ? 0 : 1);
    }
}

/* ---- Lua ------------------------------------------------------------------------------------- */

static int l_gc(lua_State *L) {
    op_t *op = op_check(L, 1);
    if (op->maker != NULL) {
        char place[OP_PLACE_BYTES];
        log_printf(
            rt_of(L)->log, LOG_ERROR, NULL,
            "%s: an operation made here was never awaited, so nothing was done: write await(...)",
            op_place(op, place));
        op_use(op);
    }
    io_release(rt_of(L), op);
    return 0;
}

/* operation:sequence() -> number in the order of making */
static int l_sequence(lua_State *L) {
    lua_pushnumber(L, (lua_Number)op_check(L, 1)->sequence);
    return 1;
}

/* operation:use(): marks it used. Errors when it was used before. */
static int l_use(lua_State *L) {
    op_t *op = op_check(L, 1);
    if (op->state != OP_COLD) { return used_before(L, op); }
    op_use(op);
    op->state = OP_DONE;
    lua_getfenv(L, 1);
    return 1;
}

/* operation:claim(): it became part of another operation, which has to be used in its place */
static int l_claim(lua_State *L) {
    op_t *op = op_check(L, 1);
    if (op->state != OP_COLD) { return used_before(L, op); }
    op_use(op);
    return 0;
}

/* operation:start() -> its future, for native kinds */
static int l_start(lua_State *L) {
    op_t *op = op_check(L, 1);
    if (op->state != OP_COLD) { return used_before(L, op); }
    op->future = future_new(L);
    op->future->op = op;
    lua_createtable(L, 2, 0); /* operation and future live until it ends */
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 2);
    op->anchor_ref = rt_ref(rt_of(L), L);
    op_start(rt_of(L), op);
    return 1;
}

void op_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"use", l_use},
                                       {"start", l_start},
                                       {"claim", l_claim},
                                       {"sequence", l_sequence},
                                       {NULL, NULL}};
    lua_newtable(L);
    lua_newtable(L);
    vm_register(L, methods);
    lua_setfield(L, -2, "__index");
    vm_push_function(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "operation"); /* scripts cannot reach what is behind it */
    lua_setfield(L, -2, "__metatable");
    rt_of(L)->op_metatable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
