/* Operations: cold until they are awaited, combined or started. The kinds that the host itself
 * ends are here: time, ticks, conditions, commit. I/O modules bring their own. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "memory.h"
#include "origin.h"
#include "runtime.h"

enum { SLOT_MASK = (1 << RT_OP_BITS) - 1, GENERATION_MASK = (1 << 19) - 1 };

/* ---- the pool -------------------------------------------------------------------------------- */

static op_t *op_at(const rt_t *rt, uint32_t slot) {
    return &rt->op_pages[slot / RT_OP_PAGE][slot % RT_OP_PAGE];
}

static void pool_grow(rt_t *rt) {
    uint32_t page = rt->op_slots / RT_OP_PAGE;
    if (page == rt->op_page_capacity) {
        rt->op_page_capacity = page == 0 ? 16 : page * 2;
        rt->op_pages = realloc(rt->op_pages, rt->op_page_capacity * sizeof(op_t *));
        memory_must(rt->op_pages);
    }
    rt->op_pages[page] = memory_zeroed(RT_OP_PAGE * sizeof(op_t));
    rt->op_slots += RT_OP_PAGE;
    for (uint32_t slot = rt->op_slots; slot-- > page * RT_OP_PAGE;) {
        op_t *op = op_at(rt, slot);
        op->slot = slot;
        op->generation = 1;
        op->next = rt->free_ops;
        rt->free_ops = op;
    }
}

static void op_free(rt_t *rt, op_t *op) {
    if (op->state != OP_FREE) {
        rt->op_alive--;
        if (op->kind == OP_IO) { free(op->io.copy); }
    }
    op->state = OP_FREE;
    op->generation = (op->generation + 1) & GENERATION_MASK;
    if (op->generation == 0) { op->generation = 1; }
    op->next = rt->free_ops;
    rt->free_ops = op;
}

void ops_reset(rt_t *rt) {
    rt->free_ops = NULL;
    for (uint32_t slot = rt->op_slots; slot-- > 0;) {
        op_t *op = op_at(rt, slot);
        op->maker = NULL;
        op_free(rt, op);
    }
}

void ops_fini(rt_t *rt) {
    for (uint32_t slot = 0; slot < rt->op_slots; slot++) {
        const op_t *op = op_at(rt, slot);
        if (op->state != OP_FREE && op->kind == OP_IO) { free(op->io.copy); }
    }
    for (uint32_t page = 0; page < rt->op_slots / RT_OP_PAGE; page++) {
        free(rt->op_pages[page]);
    }
    free(rt->op_pages);
}

/* ---- making ---------------------------------------------------------------------------------- */

const char *op_place(const op_t *op, char *out) {
    (void)snprintf(out, OP_PLACE_BYTES, "%s:%u", op->source == NULL ? "?" : op->source, op->line);
    return out;
}

/* Raises that an operation was not used; it is given up, so that it is told once. */
static void tell_unused(lua_State *L, rt_t *rt, op_t *op) {
    char place[OP_PLACE_BYTES];
    (void)op_place(op, place);
    op_drop(rt, op);
    (void)luaL_error(L,
                     "%s: an operation made here was never awaited, so nothing was done: write "
                     "await(...), or stator.start(...) to let it run",
                     place);
}

/* Raises when the line has made one in an earlier slice of the task that was not used, or when the
 * task has too many. Those of this slice may still be used: they are not looked at. */
static void check_unused(lua_State *L, rt_t *rt, const op_t *op, const task_t *maker) {
    if (maker->unused_count >= RT_MAX_UNUSED_OPS) { tell_unused(L, rt, maker->oldest_unused); }
    for (op_t *other = maker->oldest_unused; other != NULL; other = other->prev) {
        if (other->made_slice == maker->slice) { return; }
        bool same_place = op->line != 0 && other->line == op->line && other->source == op->source;
        if (same_place && !other->claimed) { tell_unused(L, rt, other); }
    }
}

static void list_unused(op_t *op, task_t *maker) {
    op->maker = maker;
    op->made_slice = maker->slice;
    op->prev = NULL;
    op->next = maker->unused;
    if (op->next != NULL) {
        op->next->prev = op;
    } else {
        maker->oldest_unused = op;
    }
    maker->unused = op;
    maker->unused_count++;
}

static void push_handle(lua_State *L, const op_t *op) {
    uintptr_t bits = (uintptr_t)op->generation << RT_OP_BITS | op->slot;
    lua_pushlightuserdata(L, (void *)bits); // NOLINT(performance-no-int-to-ptr)
}

op_t *op_new(lua_State *L, op_kind_t kind) {
    rt_t *rt = rt_of(L);
    if (rt->current == NULL) {
        (void)luaL_error(
            L, "operations are made inside a task: a system, an observer or a script's body "
               "cannot wait");
    }
    if (rt->free_ops == NULL) {
        if (rt->op_slots > SLOT_MASK) {
            error_push(L, "limit", "more than 1,048,576 operations at once");
            (void)lua_error(L);
        }
        pool_grow(rt);
    }
    op_t *op = rt->free_ops;
    op->line = (uint32_t)origin_of(L, &op->source);
    if (rt->current->unused != NULL) { check_unused(L, rt, op, rt->current); }
    rt->free_ops = op->next;
    rt->op_alive++;
    op->kind = (uint8_t)kind;
    op->state = OP_COLD;
    op->claimed = op->undoable = false;
    op->anchor_ref = LUA_NOREF;
    op->task = NULL;
    op->future = NULL;
    op->sequence = ++rt->op_sequence;
    op->timer = (wheel_node_t){0};
    if (kind == OP_WATCH) { memset(&op->watch, 0, sizeof op->watch); }
    if (kind == OP_IO) {
        memset(&op->io, 0, sizeof op->io);
        op->io.subject_ref = op->io.ref = LUA_NOREF;
    }
    list_unused(op, rt->current);
    push_handle(L, op);
    return op;
}

/* The slot that a handle names, also when it was used since; NULL for what is no handle. */
static op_t *slot_of(const rt_t *rt, const void *handle, uint32_t *generation) {
    uintptr_t bits = (uintptr_t)handle;
    uint32_t slot = (uint32_t)bits & SLOT_MASK;
    *generation = (uint32_t)(bits >> RT_OP_BITS);
    return *generation != 0 && slot < rt->op_slots ? op_at(rt, slot) : NULL;
}

op_t *op_of(const rt_t *rt, const void *handle) {
    uint32_t generation = 0;
    op_t *op = slot_of(rt, handle, &generation);
    bool is = op != NULL && op->generation == generation;
    return is && (op->state == OP_COLD || op->state == OP_STARTED) ? op : NULL;
}

op_t *op_test(lua_State *L, int index) {
    bool is = lua_type(L, index) == LUA_TLIGHTUSERDATA;
    return is ? op_of(rt_of(L), lua_touserdata(L, index)) : NULL;
}

int op_refuse(lua_State *L, int index) {
    uint32_t generation = 0;
    bool is = lua_type(L, index) == LUA_TLIGHTUSERDATA;
    const op_t *op = is ? slot_of(rt_of(L), lua_touserdata(L, index), &generation) : NULL;
    if (op == NULL) { return luaL_typerror(L, index, "operation"); }
    bool untouched = op->state == OP_FREE ? ((generation + 1) & GENERATION_MASK) == op->generation
                                          : generation == op->generation;
    if (!untouched || op->line == 0) { return luaL_error(L, "this operation was used before"); }
    char place[OP_PLACE_BYTES];
    return luaL_error(L, "the operation made at %s was used before", op_place(op, place));
}

op_t *op_check(lua_State *L, int index) {
    op_t *op = op_test(L, index);
    if (op == NULL) { (void)op_refuse(L, index); }
    return op;
}

/* One that was not started, or raises. */
static op_t *check_cold(lua_State *L, int index) {
    op_t *op = op_check(L, index);
    if (op->state != OP_COLD) { (void)op_refuse(L, index); }
    return op;
}

void op_use(op_t *op) {
    if (op->maker == NULL) { return; }
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        op->maker->unused = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    } else {
        op->maker->oldest_unused = op->prev;
    }
    op->maker->unused_count--;
    op->maker = NULL;
    op->prev = op->next = NULL;
}

op_t *op_forgotten(const task_t *task) {
    op_t *op = task->oldest_unused;
    while (op != NULL && (op->claimed || op->line == 0)) {
        op = op->prev;
    }
    return op;
}

void op_release_unused(rt_t *rt, task_t *task) {
    while (task->unused != NULL) {
        op_drop(rt, task->unused);
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

static void start_watch(rt_t *rt, op_t *op);

/* From waiting for the condition to waiting for its end, and back. */
static void turn_watch(op_t *op) {
    ecs_watch_desc_t *d = &op->watch.desc;
    op->watch.holding = !op->watch.holding;
    switch (d->kind) {
    case ECS_WATCH_COUNT: d->value[2] = d->value[2] == 0; break;
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_RISING: d->kind = ECS_WATCH_NOT; break;
    default: d->kind = ECS_WATCH_LEVEL; break; /* falling, not */
    }
}

/* No state is missed: what ends a hold is watched from the very apply that began it. */
static void watch_fired(rt_t *rt, op_t *op) {
    if (op->watch.hold_ns == 0) {
        op_finish(rt, op, rt->vm->L, true, 0);
        return;
    }
    turn_watch(op);
    if (op->watch.holding) {
        wheel_add(&rt->wheel, &op->timer, rt->now_ns + op->watch.hold_ns);
    } else {
        wheel_remove(&rt->wheel, &op->timer);
    }
    start_watch(rt, op);
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
        watch_fired(rt, op);
    }
}

void op_start(rt_t *rt, op_t *op) {
    op_use(op);
    op->state = OP_STARTED;
    switch ((op_kind_t)op->kind) {
    case OP_SLEEP: wheel_add(&rt->wheel, &op->timer, rt->now_ns + op->ns); break;
    case OP_TICKS: start_ticks(rt, op); break;
    case OP_WATCH:
        op->watch.made_kind = op->watch.desc.kind;
        start_watch(rt, op);
        break;
    case OP_COMMIT: op_finish(rt, op, rt->vm->L, true, 0); break;
    case OP_IO: op->io.type->start(rt, op); break;
    case OP_LUA: break; /* lua/stator never starts it */
    }
}

/* Gives up the Lua values that it holds, and its slot. */
static void op_end(rt_t *rt, op_t *op) {
    if (op->kind == OP_IO) {
        if (op->io.type != NULL && op->io.type->ended != NULL) { op->io.type->ended(rt, op); }
        rt_unref(rt, op->io.subject_ref);
        rt_unref(rt, op->io.ref);
    }
    if (op->kind == OP_WATCH) {
        wheel_remove(&rt->wheel, &op->timer);
        ecs_watch_remove(rt->world, op->watch.id);
        if (op->watch.desc.kind == ECS_WATCH_COUNT) {
            (void)ecs_query_release(rt->world, op->watch.desc.query);
        }
    }
    rt_unref(rt, op->anchor_ref);
    op_free(rt, op);
}

void op_drop(rt_t *rt, op_t *op) {
    op_use(op);
    op_end(rt, op);
}

void op_finish(rt_t *rt, op_t *op, lua_State *L, bool ok, int values) {
    if (op->state != OP_STARTED) {
        lua_pop(L, values);
        return;
    }
    if (op->task != NULL) {
        op->task->op = NULL;
        task_wake(rt, op->task, L, ok, values);
    } else if (op->future != NULL) {
        rt_push_ref(rt, L, op->anchor_ref);
        lua_insert(L, -values - 1);
        future_settle(rt, L, lua_gettop(L) - values, ok, values);
        lua_pop(L, 1);
        if (ok && op->undoable) {
            op->state = OP_DONE;
            op->future->op = op;
            return;
        }
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

void op_keep(rt_t *rt, op_t *op) {
    if (op->state == OP_DONE) { op_end(rt, op); }
}

void op_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    if (op->state != OP_DONE) { return; }
    op->io.type->undo(rt, op, L, first);
    op_end(rt, op);
}

void op_abort(rt_t *rt, op_t *op) {
    if (op->state != OP_STARTED) { return; }
    switch ((op_kind_t)op->kind) {
    case OP_SLEEP: wheel_remove(&rt->wheel, &op->timer); break;
    case OP_TICKS: forget_ticks(rt, op); break;
    case OP_IO: op->io.type->abort(rt, op); break;
    case OP_WATCH: /* op_end */
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
        if (op->kind != OP_IO) {
            op_finish(rt, op, rt->vm->L, true, 0);
        } else if (op->io.type->due != NULL) {
            op->io.type->due(rt, op);
        } else {
            expire(rt, op);
        }
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

/* To the core a value that goes with its entity has fallen, or changed. */
static bool went_first(const rt_t *rt, const op_t *op) {
    uint32_t kind = op->watch.desc.kind;
    bool of_value = kind == ECS_WATCH_FALLING || kind == ECS_WATCH_CHANGED;
    return of_value && !ecs_alive(rt->world, op->watch.desc.id);
}

void op_settle_watches(rt_t *rt) {
    uint32_t count = 0;
    const ecs_watch_result_t *results = ecs_watch_poll(rt->world, &count);
    for (uint32_t i = 0; i < count; i++) {
        op_t *op = (op_t *)(uintptr_t)results[i].owner;
        bool ok = results[i].error == ECS_OK && !went_first(rt, op);
        if (rt->vm->dead) { return; }
        if (ok) {
            watch_fired(rt, op);
            continue;
        }
        if (rt_hook(rt, HOOK_GONE, 0, 1) != VM_OK) { lua_pushnil(rt->vm->L); }
        op_finish(rt, op, rt->vm->L, false, 1);
    }
}

/* ---- Lua ------------------------------------------------------------------------------------- */

/* operation:sequence() -> number in the order of making */
static int l_sequence(lua_State *L) {
    lua_pushnumber(L, (lua_Number)op_check(L, 1)->sequence);
    return 1;
}

/* operation:use(): it is used up; lua/stator does what it stands for. Raises when it was used
 * before. */
static int l_use(lua_State *L) {
    op_drop(rt_of(L), check_cold(L, 1));
    return 0;
}

/* operation:claim(): it became part of another operation, which has to be used in its place */
static int l_claim(lua_State *L) {
    check_cold(L, 1)->claimed = true;
    return 0;
}

/* operation:start([undoable]) -> its future, for native kinds. Undoable: once it has ended well,
 * the future's `keep` or `undo` has to be called. */
static int l_start(lua_State *L) {
    op_t *op = check_cold(L, 1);
    op->undoable = lua_toboolean(L, 2) && op->kind == OP_IO && op->io.type->undo != NULL;
    op->future = future_new(L);
    op->future->op = op;
    lua_pushvalue(L, -1); /* it lives until the operation ends */
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
    lua_pushlightuserdata(L, NULL); /* all light userdata share one metatable */
    lua_newtable(L);
    lua_newtable(L);
    vm_register(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "operation"); /* scripts cannot reach what is behind it */
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
