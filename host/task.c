/* Tasks: coroutines with a place in the order of T2, and the queue of those that are ready. */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "runtime.h"

/* of a coroutine that has just yielded in a function of C: LUA_MINSTACK, less what that holds */
enum { FREE_STACK = 16 };

static void *grow(void *array, uint32_t *capacity, size_t item_bytes) {
    uint32_t want = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(array, want * item_bytes);
    memory_must(grown);
    *capacity = want;
    return grown;
}

void task_list_push(task_list_t *list, task_t *task) {
    if (list->count == list->capacity) {
        list->items = grow(list->items, &list->capacity, sizeof(task_t *));
    }
    list->items[list->count++] = task;
}

static int by_order(const void *a, const void *b) {
    const task_t *x = *(task_t *const *)a, *y = *(task_t *const *)b;
    return (x->order > y->order) - (x->order < y->order);
}

void task_list_sort(task_list_t *list) {
    for (uint32_t i = 1; i < list->count; i++) {
        if (list->items[i]->order < list->items[i - 1]->order) {
            qsort(list->items, list->count, sizeof(task_t *), by_order);
            return;
        }
    }
}

/* Where LuaJIT keeps the frame in which a coroutine has yielded, in what lua_State points to.
 * Should a version keep it elsewhere, something is asked for in vain. Fewer tasks are in the
 * cache. */
enum { FRAME_OFFSET = 32, LINE_BYTES = 64, PREFETCH_LEAST = 256 };

static void prefetch(const void *memory, int from, int to) {
    for (int line = from; line < to; line++) {
        __builtin_prefetch((const char *)memory + line * LINE_BYTES);
    }
}

void task_prefetch(const task_list_t *list, uint32_t at) {
    if (list->count < PREFETCH_LEAST || at + 6 >= list->count) { return; }
    const void *frame = NULL;
    memcpy(&frame, (const char *)list->items[at + 2]->co + FRAME_OFFSET, sizeof frame);
    prefetch(frame, -2, 1);
    prefetch(list->items[at + 4]->co, 0, 2);
    prefetch(list->items[at + 6], 0, 2);
}

/* ---- life ------------------------------------------------------------------------------------ */

static task_t *task_take(rt_t *rt) {
    if (rt->task_alive >= rt->max_tasks) { return NULL; }
    if (rt->free_count > 0) { return rt->tasks[rt->free_tasks[--rt->free_count]]; }
    if (rt->task_count == RT_MAX_TASKS) { return NULL; }
    if (rt->task_count == rt->task_capacity) {
        rt->tasks = grow(rt->tasks, &rt->task_capacity, sizeof(task_t *));
    }
    task_t *task = memory_zeroed(sizeof *task);
    task->slot = rt->task_count;
    rt->tasks[rt->task_count++] = task;
    return task;
}

static uint64_t task_bits(const task_t *task) {
    return (uint64_t)task->generation << 24 | task->slot;
}

double task_handle(const task_t *task) { return (double)task_bits(task); }

task_t *task_find(const rt_t *rt, double handle) {
    if (!(handle >= 0 && handle < 9007199254740992.0)) { return NULL; }
    uint64_t bits = (uint64_t)handle;
    uint32_t slot = (uint32_t)(bits & 0xffffff);
    if (slot >= rt->task_count) { return NULL; }
    task_t *task = rt->tasks[slot];
    return task->state != TASK_FREE && task->generation == (uint32_t)(bits >> 24) ? task : NULL;
}

task_t *task_new(rt_t *rt, lua_State *L, int arguments, uint64_t order, ecs_id_t owner) {
    task_t *task = task_take(rt);
    if (task == NULL) { return NULL; }
    uint32_t slot = task->slot, generation = (task->generation + 1) & 0xfffffff;
    *task = (task_t){.slot = slot,
                     .generation = generation,
                     .order = order,
                     .owner = owner,
                     .cancel_ref = LUA_NOREF,
                     .settled_ref = LUA_NOREF};
    task->co = lua_newthread(L);
    task->co_ref = rt_ref(rt, L);
    (void)lua_checkstack(task->co, arguments + 8);
    lua_xmove(L, task->co, arguments + 1);
    task->arguments = arguments;
    rt->task_alive++;
    task_ready(rt, task);
    return task;
}

static void slot_free(rt_t *rt, task_t *task) {
    task->state = TASK_FREE;
    task->co = NULL;
    if (rt->free_count == rt->free_capacity) {
        rt->free_tasks = grow(rt->free_tasks, &rt->free_capacity, sizeof(uint32_t));
    }
    rt->free_tasks[rt->free_count++] = task->slot;
}

static void task_free(rt_t *rt, task_t *task) {
    op_release_unused(rt, task);
    rt_unref(rt, task->co_ref);
    rt_unref(rt, task->cancel_ref);
    rt_unref(rt, task->settled_ref);
    rt->task_alive--;
    slot_free(rt, task);
}

void tasks_reset(rt_t *rt) {
    rt->free_count = 0;
    for (uint32_t i = rt->task_count; i-- > 0;) {
        slot_free(rt, rt->tasks[i]); /* the first slot is taken first again */
    }
    rt->task_alive = 0;
    rt->ready.count = rt->running.count = 0;
    rt->current = NULL;
}

/* ---- waking ---------------------------------------------------------------------------------- */

void task_ready(rt_t *rt, task_t *task) {
    task->state = TASK_READY;
    task->result = RESULT_PUSHED;
    task->op = NULL;
    task->future = NULL;
    task_list_push(&rt->ready, task);
}

/* What goes in front of the values: whether it went well, or what await takes them by. */
static void push_head(const task_t *task, bool ok, int values) {
    if (!task->counts) {
        lua_pushboolean(task->co, ok);
    } else if (ok && values <= 1) {
        lua_pushboolean(task->co, values == 0);
    } else {
        lua_pushnumber(task->co, ok ? values : AWAIT_FAILED);
    }
}

/* Puts `values` values on top of L's stack into a table. */
static void pack(lua_State *L, int values) {
    lua_createtable(L, values, 1);
    int table = lua_gettop(L);
    lua_pushnumber(L, values);
    lua_setfield(L, table, "n");
    lua_insert(L, -values - 1);
    for (int i = values; i > 0; i--) {
        lua_rawseti(L, table - values, i);
    }
}

void task_wake(rt_t *rt, task_t *task, lua_State *L, bool ok, int values) {
    task_ready(rt, task);
    if (ok && values == 0) {
        task->result = RESULT_NOTHING;
        return;
    }
    if (values >= FREE_STACK) { (void)lua_checkstack(task->co, values + 2); }
    if (ok && task->counts && values >= AWAIT_PACKED) {
        pack(L, values);
        values = 1;
        push_head(task, true, AWAIT_PACKED);
    } else {
        push_head(task, ok, values);
    }
    lua_xmove(L, task->co, values);
    task->arguments = values + 1;
}

void task_wake_by(rt_t *rt, task_t *task, future_t *future) {
    task_ready(rt, task);
    task->result = RESULT_OF_FUTURE;
    task->future = future;
}

/* Puts what its await returns onto its stack. Returns how many values that are. */
static int push_result(const task_t *task) {
    const future_t *future = task->future;
    switch ((task_result_t)task->result) {
    case RESULT_PUSHED: return task->arguments;
    case RESULT_NOTHING: push_head(task, true, 0); return 1;
    case RESULT_OF_FUTURE: break;
    }
    push_head(task, future->state == FUTURE_OK, (int)future->count);
    return 1 + future_push_plain(task->co, future);
}

bool task_interrupt(rt_t *rt, task_t *task, lua_State *L) {
    if (task->state != TASK_PARKED) {
        lua_pop(L, 1);
        return false;
    }
    if (task->op != NULL) { op_abort(rt, task->op); }
    if (task->future != NULL) { future_remove_waiter(task->future, task); }
    task_wake(rt, task, L, false, 1);
    return true;
}

void task_overrule(rt_t *rt, task_t *task, lua_State *L) {
    if (task->state == TASK_PARKED) {
        (void)task_interrupt(rt, task, L);
        return;
    }
    if (task->result == RESULT_PUSHED) { lua_pop(task->co, task->arguments); }
    push_head(task, false, 1);
    lua_xmove(L, task->co, 1);
    task->result = RESULT_PUSHED;
    task->arguments = 2;
}

/* ---- one slice --------------------------------------------------------------------------------
 */

/* What its await asked for that could only be done once the coroutine had yielded. */
static void after_park(rt_t *rt, task_t *task) {
    lua_State *L = rt->vm->L;
    task->state = TASK_PARKED;
    task->parked_ns = rt->now_ns;
    if (task->pausing) {
        task->pausing = false;
        rt_push_ref(rt, L, task->cancel_ref);
        task_wake(rt, task, L, false, 1);
    } else if (task->future != NULL) {
        future_t *future = task->future;
        future->observed = true;
        if (future->state == FUTURE_PENDING) {
            future_add_waiter(future, task);
        } else if (future_is_plain(future)) {
            task_wake_by(rt, task, future);
        } else {
            rt_push_ref(rt, L, task->settled_ref);
            rt_unref(rt, task->settled_ref);
            task->settled_ref = LUA_NOREF;
            int values = future_push(L, lua_gettop(L));
            lua_remove(L, -values - 1);
            task_wake(rt, task, L, future->state == FUTURE_OK, values);
        }
    } else if (task->op != NULL) {
        op_t *op = task->op;
        op->task = task;
        op_start(rt, op);
    }
}

static void task_ended(rt_t *rt, task_t *task, int rc) {
    lua_State *L = rt->vm->L;
    if (rc == VM_E_LUA) { /* the body in lua/stator catches all: this is a fault of the runtime */
        rt_batch_drop(rt);
        lua_pushliteral(L, "runtime");
        lua_xmove(task->co, L, 1);
        (void)rt_hook(rt, HOOK_FAULT, 2, 0);
    }
    task_free(rt, task);
}

/* Ends the slice's batch, which began at the place; an empty one stays open for the next. */
static void leave_batch(rt_t *rt, const char *place) {
    bool any = rt->recorder->at != place || rt->keep->pending_count > 0;
    if (any || rt->guard->tainted) { rt_batch_turn(rt); }
}

void task_resume(rt_t *rt, task_t *task) {
    rt->current = task;
    int arguments = push_result(task);
    task->state = TASK_RUNNING;
    task->slice++;
    task->refusals = 0;
    task->pausing = false;
    task->op = NULL;
    task->future = NULL;
    (void)ecs_batch_next(rt->world, RT_OWNER(OWNER_TASK, task_bits(task)));
    const char *place = rt->recorder->at;
    int rc = vm_resume(rt->vm, task->co, arguments);
    ecs_epoch_bump(rt->world);
    if (rc == VM_E_ABANDONED) {
        rt_note_lost(rt);
        return;
    }
    rt->current = NULL;
    if (task->pausing) { rt_batch_drop(rt); }
    if (rc != VM_E_LUA) { leave_batch(rt, place); }
    if (rc == VM_YIELD) {
        after_park(rt, task);
    } else {
        task_ended(rt, task, rc);
    }
}

void task_who(void *context, lua_State *L, char *out, size_t bytes) {
    const rt_t *rt = context;
    if (rt->current_system != NULL) {
        (void)snprintf(out, bytes, "%s", rt->current_system->name);
        return;
    }
    if (rt->current == NULL) { return; }
    int top = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "stator.tasks");
    if (lua_istable(L, -1)) {
        lua_pushnumber(L, task_handle(rt->current));
        lua_rawget(L, -2);
    }
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "name");
        lua_rawget(L, -2);
        const char *name = lua_tostring(L, -1);
        if (name != NULL) { (void)snprintf(out, bytes, "%s", name); }
    }
    lua_settop(L, top);
}
