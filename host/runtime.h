/* The async runtime: tasks, operations, futures, the ready queue, and the rounds of a step.
 *
 *   operation  cold until it is awaited or started          op.c
 *   future     settled once, awaited by many                future.c
 *   task       a coroutine with an order key                task.c
 *   step       settle, then rounds of run, apply, react     step.c, system.c
 *
 * Thread: all of it belongs to the host thread. Callbacks of libuv only enqueue (rt_enqueue).
 *
 * Order (rule T2): what is ready in a round runs by its key
 *   phase : 2 │ script : 12 │ position in the script's body : 14 │ spawn sequence : 36 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "../ecs/ecs.h"
#include "budget.h"
#include "guard.h"
#include "jitter.h"
#include "keep.h"
#include "log.h"
#include "loop.h"
#include "origin.h"
#include "vm.h"
#include "wheel.h"

enum {
    RT_MAX_ROUNDS = 8,
    RT_MAX_TASKS = 1 << 20,
    RT_MAX_UNUSED_OPS = 10000,
    RT_OP_BITS = 20, /* of a handle: slot; 19 more are its generation */
    RT_OP_PAGE = 256,
    RT_LATENESS_SAMPLES = 1024
};
/* Owners of batches: kind << 60 | a task's handle, the number of a system's or observer's name. */
typedef enum { OWNER_HOST, OWNER_TASK, OWNER_SYSTEM, OWNER_OBSERVER } owner_kind_t;
#define RT_OWNER(kind, index) ((uint64_t)(kind) << 60 | (uint64_t)(index))

/* What await in lua/stator gets in front of the values, see api_task.c: false before one, true for
 * none, else their number, or one of these. */
enum {
    AWAIT_FAILED = 0,
    AWAIT_PACKED = 4, /* so many or more: in a table */
    AWAIT_BACK = 5
};

typedef struct rt rt_t;
typedef struct task task_t;
typedef struct op op_t;
typedef struct future future_t;

/* ---- operations ------------------------------------------------------------------------------ */

typedef enum {
    OP_SLEEP,  /* a point in time */
    OP_TICKS,  /* some ticks ahead */
    OP_WATCH,  /* a condition on the world */
    OP_COMMIT, /* the next apply */
    OP_IO,     /* started and aborted by its owner, see op_io_t */
    OP_LUA     /* lua/stator runs it: only whether it was used is noted here */
} op_kind_t;

typedef enum { OP_FREE, OP_COLD, OP_STARTED, OP_DONE } op_state_t; /* DONE: undoable */

/* What an I/O module does for its operations. `start` may finish the operation at once. `undo` may
 * be NULL: the operation has ended, but lost a race in the same step, so nobody uses its values,
 * which stand on L's stack from `first` on. `ended` may be NULL: the operation gives its subject
 * back, however it ended, started or not. */
typedef struct {
    const char *name; /* "stream read": what a waiting task shows */
    void (*start)(rt_t *rt, op_t *op);
    void (*abort)(rt_t *rt, op_t *op);
    void (*undo)(rt_t *rt, op_t *op, lua_State *L, int first);
    /* In the settle stage: its timer is due. NULL: that was its time-out. */
    void (*due)(rt_t *rt, op_t *op);
    void (*ended)(rt_t *rt, op_t *op);
} op_io_t;

#define FUTURE_MAGIC ((uint64_t)0xa6c2f41b87d05e39) /* first word of a future's userdata */

/* It lives in a slot of the runtime's pool; Lua has its handle, a light userdata of generation and
 * slot. The slot is given back when it was used, or when its maker ends: a handle that is kept
 * longer is of an older generation, and nothing is left to the collector. */
struct op {
    uint32_t slot, generation;
    uint8_t kind, state;
    bool claimed;        /* a part of another operation: nobody has to use it */
    bool undoable;       /* its future is told what becomes of its values */
    uint32_t line;       /* where a script made it; 0: no script did */
    const char *source;  /* the script's name, of the VM's */
    uint64_t sequence;   /* order of making, for ties */
    uint32_t made_slice; /* which of its maker's slices made it */
    int anchor_ref;      /* keeps `future` alive while started for it */
    task_t *maker;       /* NULL once it was used */
    op_t *prev, *next;   /* in the maker's list of unused operations; started: its I/O module's;
                            next: of free slots */
    task_t *task;        /* whom it wakes: a task, */
    future_t *future;    /* or a future */
    wheel_node_t timer;
    union {
        uint64_t ns;    /* SLEEP: how long */
        uint64_t ticks; /* TICKS: how many; then the tick that ends it */
        struct {
            ecs_watch_desc_t desc;
            uint32_t id;
            uint32_t made_kind; /* desc.kind as the script wrote it */
            bool holding;       /* the condition holds: `timer` runs, and desc waits for its end */
            uint64_t hold_ns;   /* so long without a break; 0: at once */
        } watch;
        struct {
            const op_io_t *type;
            void *subject; /* the module's own: a connection */
            void *data;
            size_t bytes; /* of data */
            double number;
            int subject_ref; /* keeps the subject's Lua value alive, */
            int ref;         /* and a value that the module needs: bytes to write, */
            char *copy;      /* or a copy of them, from malloc */
        } io;
    };
};

/* ---- futures --------------------------------------------------------------------------------- */

typedef enum { FUTURE_PENDING, FUTURE_OK, FUTURE_FAILED } future_state_t;
/* Besides when none remains, it is settled early by the first end, failure or success. */
typedef enum { FUTURE_RACE, FUTURE_ALL, FUTURE_ANY } future_mode_t;
typedef enum { FUTURE_TABLE, FUTURE_NUMBER, FUTURE_FALSE, FUTURE_TRUE, FUTURE_NIL } future_tag_t;

/* Its environment table holds the values once it is settled, unless there is one number, boolean
 * or nil; while it is pending, the futures that it tells. */
struct future {
    uint64_t magic;
    uint8_t state;
    uint8_t mode;       /* future_mode_t, for one that others tell of their end */
    uint8_t tag;        /* future_tag_t */
    bool observed;      /* somebody awaited it or asked for its error */
    uint32_t remaining; /* how many others it still waits for */
    uint32_t count;     /* values */
    uint32_t listeners;
    double number;
    task_t *first, *last; /* waiting tasks, in the order in which they came */
    op_t *op;             /* that settles it, when a C operation does */
    double ends;          /* handle of the task whose end settles it; 0: none */
};

/* ---- tasks ----------------------------------------------------------------------------------- */

typedef enum { TASK_FREE, TASK_READY, TASK_RUNNING, TASK_PARKED } task_state_t;
/* What a ready task gets. Its stack, cold memory most often, is left alone until it runs. */
typedef enum {
    RESULT_PUSHED,   /* `arguments` values, on its stack */
    RESULT_NOTHING,  /* it went well and there are no values */
    RESULT_OF_FUTURE /* those of `future`, which is_plain */
} task_result_t;

struct task { /* small fields lie together: thousands may wait */
    uint32_t slot, generation;
    lua_State *co;
    uint64_t order;
    op_t *op;         /* what it waits for: an operation, */
    future_t *future; /* or a future, */
    bool pausing;     /* or nothing: cancelled, and it asks again and again */
    uint8_t state;
    uint8_t result; /* task_result_t: what the next resume passes */
    bool counts;    /* it wants the number of values in front of them, see await in api_task.c */
    int co_ref;
    int arguments;     /* values on co's stack that the next resume passes */
    int cancel_ref;    /* the error that every await raises; LUA_NOREF */
    int settled_ref;   /* the future that it awaits, when that is settled already; LUA_NOREF */
    uint32_t slice;    /* how often it was resumed */
    uint32_t refusals; /* awaits of this slice that were refused because it is cancelled */
    uint32_t unused_count;
    op_t *unused, *oldest_unused; /* operations it made and has not used, the newest first */
    task_t *next_waiter, *prev_waiter;
    uint64_t parked_ns;
    uint64_t carried; /* the step in which it was ready and the budget was spent; 0: none */
    origin_t origin;  /* of the function that made an operation last */
    ecs_id_t owner;   /* entity that it belongs to; 0: none */
};

typedef struct {
    task_t **items;
    uint32_t count, capacity;
} task_list_t;

/* ---- systems --------------------------------------------------------------------------------- */

enum { OWNER_NAME_BYTES = 128 };
typedef enum { PHASE_PRE_UPDATE, PHASE_UPDATE, PHASE_POST_UPDATE, PHASE_STARTUP } phase_t;
typedef enum { SYSTEM_READ, SYSTEM_WRITE, SYSTEM_ASYNC } system_kind_t;

typedef struct {
    char name[OWNER_NAME_BYTES];
    uint32_t number; /* of its name, see owner_number */
    uint8_t kind, phase;
    bool faulted, done; /* done: a startup system that has run */
    bool due;           /* in this tick, and not run yet */
    uint64_t order;
    uint64_t every_ns, due_ns, last_ns; /* every_ns 0: each tick */
    int function_ref, query_ref, tick_ref;
    uint64_t runs, skipped;
    uint64_t missed; /* turns of its own period that passed without it */
    jitter_t late;   /* behind its turn, or behind the tick's deadline */
} system_t;

/* ---- the runtime ------------------------------------------------------------------------------
 */

/* A result that a libuv callback left behind; `settle` runs in the settle stage of a step. */
typedef struct rt_event {
    struct rt_event *next;
    void (*settle)(rt_t *rt, struct rt_event *event);
} rt_event_t;

typedef struct {
    uint64_t ticks, rounds, skipped_ticks, carried, rejected;
    uint64_t faults; /* errors that nobody handled */
    uint64_t lost_vms;
    uint64_t over_budget; /* steps whose budget did not suffice, see budget.h */
    jitter_t late;        /* of ticks */
    uint64_t lateness_ns[RT_LATENESS_SAMPLES]; /* ring of the last ticks */
} rt_stats_t;

/* Who ran when a VM was lost, so that the next one does not start it at once. */
typedef struct {
    owner_kind_t kind;
    uint64_t order; /* TASK: its key of T2; OBSERVER: its index */
    ecs_id_t owner; /* TASK: the entity it belongs to */
    char name[128]; /* SYSTEM */
    char place[GUARD_PLACE_BYTES];
    const char *why;
} rt_lost_t;

/* Functions of lua/stator that the runtime calls. */
typedef enum {
    HOOK_FAULT,    /* (name, error): nobody handled it */
    HOOK_REACT,    /* (has events, has sent ones): observers, per_entity and inboxes */
    HOOK_ASYNC,    /* (system index, tick, dt_s) -> whether a task was started for it */
    HOOK_REJECTED, /* (owner kind, owner, error, op, id, component, place [, kind, owner, place of
                    * who changed it]) -> error value */
    HOOK_SKIPPED,  /* (owner kind, owner, count, op, id, component, place) */
    HOOK_GONE,     /* () -> error value of a watch whose entity went */
    HOOK_COUNT
} hook_t;

struct rt {
    vm_t *vm;
    ecs_world_t *world;
    const ecs_recorder_t *recorder; /* the world's */
    loop_t *loop;
    log_t *log;
    stator_clock_t *clock;
    guard_t *guard; /* the host's, as is */
    keep_t *keep;
    rt_lost_t lost; /* of the VM that is dead */
    wheel_t wheel;
    uint32_t max_tasks;
    budget_t budget; /* of the step */

    task_t **tasks;
    uint32_t task_count, task_capacity; /* slots */
    uint32_t task_alive;
    uint32_t *free_tasks;
    uint32_t free_count, free_capacity;
    task_list_t ready, running;
    task_t *current;
    op_t **op_pages; /* of RT_OP_PAGE slots each, which never move */
    uint32_t op_slots, op_page_capacity, op_alive;
    op_t *free_ops;
    op_t **tick_ops; /* that wait for a tick, in the order of their start */
    uint32_t tick_op_count, tick_op_capacity;

    system_t *systems;
    uint32_t system_count, system_capacity;
    system_t *past; /* those before, until systems_freeze: what they have done goes on */
    uint32_t past_count;
    char (*owner_names)[OWNER_NAME_BYTES]; /* by number */
    uint32_t owner_count, owner_capacity;
    uint32_t reader_at;             /* systems_next_reader */
    const system_t *current_system; /* that runs */

    rt_event_t *events_first, *events_last;
    origins_t origins;
    uint64_t now_ns; /* of the step */
    uint64_t op_sequence;
    int future_metatable_ref;
    int lua_op_metatable_ref; /* of operations that lua/stator runs, which are tables */
    lua_State *refs;          /* never runs; holds the table behind rt_ref at index 1 */
    int ref_count;            /* slots of it ever used */
    int *free_refs;
    uint32_t free_ref_count, free_ref_capacity;
    bool wants_react;           /* call HOOK_REACT without events as well */
    bool wants_stage;           /* call boot.stage after the step: a slice of a reload */
    bool wants_swap;            /* call boot.swap after the step */
    uint64_t swap_ns, stage_ns; /* longest call of each since the last core.outside_times() */
    bool checks_waits;          /* some task waits for a mutex: lua/stator looks at each await */
    uint64_t tick;
    uint64_t tick_late_ns; /* the running tick, behind its deadline; set by who calls rt_step */
    uint32_t live_handles; /* sockets and the like that scripts own */
    struct stream *streams;
    struct listener *listeners;
    struct udp *sockets;
    struct lookup *lookups; /* names that are being resolved */
    uint32_t lookup_count;
    struct jobs *jobs;       /* job.c */
    struct http *http;       /* http.c */
    struct signals *signals; /* signals.c */
    struct schema *schema;   /* schema.c */
    struct watch *watch;     /* watch.c */
    bool no_watch;           /* it looks at no file unless it is asked to */
    int hooks[HOOK_COUNT];
    rt_stats_t stats;
};

/* The parts that outlive a VM; rt_attach gives it one. */
void rt_init(rt_t *rt, ecs_world_t *world, loop_t *loop, log_t *log);
void rt_fini(rt_t *rt);
/* From now on `vm`, a fresh one. */
void rt_attach(rt_t *rt, vm_t *vm);
/* Forgets everything that lived in the VM, which is dead: tasks, operations, systems, references,
 * watches, connections that nobody keeps. World, links' connections, kept values and statistics
 * stay. */
void rt_detach(rt_t *rt);
/* After VM_E_ABANDONED: notes who ran, and drops the open batch. */
void rt_note_lost(rt_t *rt);
/* Ends the open batch: seals it, or drops it when the slice has written where it must not.
 * *sealed says whether it holds anything; may be NULL. */
void rt_batch_end(rt_t *rt, bool *sealed);
/* The same for a task's slice, and leaves an empty batch open, which ecs_batch_next gives to the
 * slice after it; the run stage ends it. */
void rt_batch_turn(rt_t *rt);
void rt_batch_drop(rt_t *rt);
/* Forgets what was recorded after the mark, when rt->keep had `kept` pending; all of it, and the
 * stray access, with {0}. */
void rt_batch_rollback(rt_t *rt, ecs_mark_t mark, uint32_t kept);
/* Calls a hook with the `arguments` on top of the stack. VM_OK, else the error was logged. */
int rt_hook(rt_t *rt, hook_t hook, int arguments, int results);
/* Settles what callbacks have left behind, outside of a step: for the end. */
void rt_drain(rt_t *rt);
/* From a libuv callback: leaves a result for the next settle stage. O(1), never fails. */
void rt_enqueue(rt_t *rt, rt_event_t *event);
/* The runtime of a state: its allocator's arena is the first part of the VM. */
static inline rt_t *rt_of(lua_State *L) { return vm_of(L)->owner; }

/* References to Lua values for futures, tasks and operations. luaL_ref searches the registry's end
 * when its free list is empty; this keeps count, and its table is at hand. [-1 +0 m], [-0 +1 -] */
int rt_ref(rt_t *rt, lua_State *L);
void rt_push_ref(const rt_t *rt, lua_State *L, int ref);
/* Accepts LUA_NOREF. */
void rt_unref(rt_t *rt, int ref);

/* step.c */
/* One step at the clock's time: settle, then at most RT_MAX_ROUNDS rounds; a tick also runs the
 * systems that are due, in its first round. */
void rt_step(rt_t *rt, bool is_tick);
/* True when a step between ticks would have something to do. */
bool rt_has_work(const rt_t *rt);
/* Deadline of the earliest sleeper; UINT64_MAX for none. */
uint64_t rt_next_wake_ns(const rt_t *rt);

/* system.c */
/* The number of the name of a system or observer: what was recorded by it keeps it for the life of
 * the host, whatever a reload adds or takes away. */
uint32_t owner_number(rt_t *rt, const char *name);
/* NULL for a number that none has. */
const char *owner_name(const rt_t *rt, uint64_t number);
/* Registers a system; its references are the runtime's from now on. One of the name that was there
 * before goes on: when it ran last and is due, what it has done, its counts; also its fault, unless
 * it is `mended`. */
void system_add(rt_t *rt, const system_t *system, bool mended);
/* Takes all out, before they are added anew: systems_reset when their VM is dead, systems_clear
 * when it goes on. Outside of steps. */
void systems_reset(rt_t *rt);
void systems_clear(rt_t *rt);
/* Orders the systems by phase, script and position. After the last one was added. */
void systems_freeze(rt_t *rt);
/* Marks what this tick runs, and starts the tasks of asynchronous systems. */
void systems_begin_tick(rt_t *rt);
/* The next read-only system due in this tick whose key is below `order`, or NULL. */
system_t *systems_next_reader(rt_t *rt, uint64_t order);
/* Runs the writers that are due. Write phase. */
void systems_run_writers(rt_t *rt);
void system_run(rt_t *rt, system_t *system);

/* task.c */
/* A task around the function on top of L's stack with `arguments` above it; all are popped. NULL
 * when there are rt->max_tasks. It is ready in the next round. */
task_t *task_new(rt_t *rt, lua_State *L, int arguments, uint64_t order, ecs_id_t owner);
/* Frees every task: their VM is gone. */
void tasks_reset(rt_t *rt);
task_t *task_find(const rt_t *rt, double handle);
double task_handle(const task_t *task);
void task_resume(rt_t *rt, task_t *task);
/* A guard_who_t with the runtime as its context: the running task's or system's name. */
void task_who(void *context, lua_State *L, char *out, size_t bytes);
/* Makes a parked task ready. `values` values on top of L's stack become what its await returns or,
 * when not ok, the error it raises; they are popped. */
void task_wake(rt_t *rt, task_t *task, lua_State *L, bool ok, int values);
/* The same with what a settled future holds, which future_is_plain. It stays on the stack of the
 * coroutine that waits for it until the task runs. */
void task_wake_by(rt_t *rt, task_t *task, future_t *future);
/* Takes a parked task off what it waits for and wakes it with the error on top of L's stack
 * (popped). A task that is ready already keeps its result. Returns whether it was parked. */
bool task_interrupt(rt_t *rt, task_t *task, lua_State *L);
/* Replaces the result of a ready task by an error. */
void task_overrule(rt_t *rt, task_t *task, lua_State *L);
void task_ready(rt_t *rt, task_t *task);
void task_list_push(task_list_t *list, task_t *task);
void task_list_sort(task_list_t *list);
/* Asks for the memory of those that run soon after the one at `at`. */
void task_prefetch(const task_list_t *list, uint32_t at);

/* op.c */
void op_open(lua_State *L);
/* A cold operation, its handle on L's stack. Raises when no task runs, when the line keeps making
 * operations that are not used, and when there are too many (code "limit"). */
op_t *op_new(lua_State *L, op_kind_t kind);
/* The operation of a handle; raises when the value is none, or was used. */
op_t *op_check(lua_State *L, int index);
/* NULL instead. */
op_t *op_test(lua_State *L, int index);
/* The same of a light userdata. */
op_t *op_of(const rt_t *rt, const void *handle);
/* Raises what is wrong with a value of which op_test says NULL. */
int op_refuse(lua_State *L, int index);
/* "script.lua:12", where it was made; `out` has OP_PLACE_BYTES. */
enum { OP_PLACE_BYTES = 96 };
const char *op_place(const op_t *op, char *out);
/* Marks it as used: awaited, combined or started. */
void op_use(op_t *op);
/* Starts it for op->task or op->future. */
void op_start(rt_t *rt, op_t *op);
/* Ends a started operation: `values` values on top of L's stack (popped) go to whoever waits. */
void op_finish(rt_t *rt, op_t *op, lua_State *L, bool ok, int values);
/* Takes a started operation back; nobody is woken. */
void op_abort(rt_t *rt, op_t *op);
/* For one that is DONE: its values, on L's stack from `first` on, are used; or they are not. */
void op_keep(rt_t *rt, op_t *op);
void op_undo(rt_t *rt, op_t *op, lua_State *L, int first);
void op_settle_timers(rt_t *rt);
void op_settle_ticks(rt_t *rt);
void op_settle_watches(rt_t *rt);
/* Gives up the operations that the task made and has not used. */
void op_release_unused(rt_t *rt, task_t *task);
/* The oldest operation that the task made and has not used, or NULL. */
op_t *op_forgotten(const task_t *task);
/* Takes back one that was not started, for good. */
void op_drop(rt_t *rt, op_t *op);
/* Forgets all: their VM is gone. */
void ops_reset(rt_t *rt);
void ops_fini(rt_t *rt);

/* future.c */
void future_open(lua_State *L);
future_t *future_new(lua_State *L);
future_t *future_test(lua_State *L, int index);
/* The same of a full userdata. By its magic word: scripts cannot make userdata, and the host's
 * others begin with a pointer. */
static inline future_t *future_of(void *userdata) {
    future_t *future = userdata;
    return future->magic == FUTURE_MAGIC ? future : NULL;
}
/* Settles the future at a positive index of L's stack with `values` values on top of it (popped); a
 * second time does nothing. */
void future_settle(rt_t *rt, lua_State *L, int index, bool ok, int values);
/* Pushes the values of the future at an index; returns how many. */
int future_push(lua_State *L, int index);
/* Whether a settled one holds no values that only Lua knows, so that future_push_plain will do. */
bool future_is_plain(const future_t *future);
int future_push_plain(lua_State *L, const future_t *future);
void future_add_waiter(future_t *future, task_t *task);
void future_remove_waiter(future_t *future, task_t *task);

#endif
