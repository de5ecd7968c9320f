#include "guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "code.h"
#include "crash.h"
#include "error.h"
#include "stack.h"

#define NS_PER_S ((uint64_t)1000000000)
#define WATCH_IDLE_NS ((uint64_t)4000000) /* between two looks while nothing runs, */
#define WATCH_BUSY_NS ((uint64_t)1000000) /* and while a slice does */
#define LOOK_MAX_NS ((uint64_t)10000000)  /* what one look counts at most */
#define WARN_EVERY_NS ((uint64_t)1000000000)
/* Raised by nobody else: setitimer of virtual time is not used. */
#define KICK_SIGNAL SIGVTALRM

enum { LEVEL_NONE, LEVEL_WARN, LEVEL_STOP, LEVEL_LEAVE };
enum { WATCH_STACK_BYTES = 128 * 1024, ALT_STACK_BYTES = 64 * 1024 };

static guard_t *guards; /* changed by the host thread only, with the signals blocked */

/* ---- the hook: in Lua's context -------------------------------------------------------------- */

static void on_count(lua_State *L, lua_Debug *frame);

/* Ours, in the context of a VM that has it as its context. */
static guard_t *guard_of(lua_State *L) { return vm_of(L)->context; }

/* The hook runs at the next instruction of the interpreter; see guard_turn for compiled code. Also
 * from handlers. */
static void arm(guard_t *guard) {
    guard->vm->alarmed = true;
    guard->hooked = true;
    (void)lua_sethook(guard->vm->L, on_count, LUA_MASKCOUNT, 1);
}

int guard_turn(void) {
    for (const guard_t *guard = guards; guard != NULL; guard = guard->next) {
        if (guard->hooked && vm_inside(guard->vm)) { return 1; }
    }
    return 0;
}

static void who_runs(const guard_t *guard, lua_State *L, char *out) {
    (void)snprintf(out, GUARD_NAME_BYTES, "a script");
    if (guard->who != NULL) { guard->who(guard->who_context, L, out, GUARD_NAME_BYTES); }
}

/* A limit as it holds for the running slice, in ms. */
static double limit_ms(const guard_t *guard, uint64_t limit_ns) {
    return (double)limit_ns * guard->vm->patience * guard->limits.patience / 1e6;
}

static void tell_slow(guard_t *guard, lua_State *L) {
    char who[GUARD_NAME_BYTES], text[GUARD_NAME_BYTES + 128];
    uint64_t now = clock_read_ns(CLOCK_MONOTONIC);
    guard->stats.warned++;
    if (now < guard->next_warning_ns) { return; }
    guard->next_warning_ns = now + WARN_EVERY_NS;
    who_runs(guard, L, who);
    (void)snprintf(text, sizeof text,
                   "%s has run for more than %.4g ms without waiting; at %.4g ms it is stopped",
                   who, limit_ms(guard, guard->limits.soft_ns),
                   limit_ms(guard, guard->limits.hard_ns));
    log_event(guard->log, &(log_event_t){.level = LOG_WARN,
                                         .source = "watchdog",
                                         .place = guard->place[0] != '\0' ? guard->place : NULL,
                                         .text = text});
}

static const char *fault_text(ecs_fault_t fault) {
    switch (fault) {
    case ECS_FAULT_READ_ONLY:
        return "write through a read-only view: record it with cmd, or write in a system with "
               "`write`";
    case ECS_FAULT_STALE: return "stale view: it was taken before an await; take it again";
    case ECS_FAULT_CLOSED: return "a writer's row was used after its system had ended";
    case ECS_FAULT_OUTSIDE: return "access past the end of the world";
    case ECS_FAULT_NONE: break;
    }
    return "stray access";
}

static const char *fault_code(ecs_fault_t fault) {
    return fault == ECS_FAULT_READ_ONLY ? "read_only" : "stale_view";
}

static void raise_error(lua_State *L, const char *code, const char *place, const char *text) {
    char message[GUARD_PLACE_BYTES + 256];
    (void)snprintf(message, sizeof message, "%s%s%s", place, place[0] != '\0' ? ": " : "", text);
    error_push(L, code, message);
}

static void raise_fault(guard_t *guard, lua_State *L) {
    ecs_fault_t fault = guard->fault;
    guard->fault = ECS_FAULT_NONE;
    (void)ecs_fault_settle(guard->world); /* the next access is caught anew */
    raise_error(L, fault_code(fault), guard->place, fault_text(fault));
    (void)lua_error(L);
}

static void raise_stop(guard_t *guard, lua_State *L) {
    char text[160];
    guard->stop = false;
    guard->stops_raised++;
    guard->stats.stopped++;
    (void)snprintf(text, sizeof text,
                   "stopped: it ran for %.4g ms without waiting (limit: limits.slice_ms)",
                   limit_ms(guard, guard->limits.hard_ns));
    raise_error(L, "stopped", guard->place, text);
    lua_pushboolean(L, 1); /* pcall and try let it pass, see err.lua */
    lua_setfield(L, -2, "passes");
    (void)lua_error(L);
}

static void raise_full(guard_t *guard, lua_State *L) {
    char text[128];
    guard->full = false;
    (void)snprintf(text, sizeof text,
                   "the scripts' heap is at its limit of %zu MB (limits.heap_mb)",
                   guard->vm->arena.limit_bytes >> 20);
    raise_error(L, "memory", guard->place, text);
    (void)lua_error(L);
}

/* Raised again and again until the stack is shorter. */
static void raise_deep(guard_t *guard, lua_State *L) {
    raise_error(
        L, "stack", guard->place,
        "stack overflow: functions that C calls (gsub, sort, coroutine.resume) are nested too "
        "deep");
    (void)lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *frame) {
    guard_t *guard = guard_of(L);
    (void)frame;
    bool in_script = error_place(L, 0, guard->place, sizeof guard->place);
    guard->place_slice = guard->vm->slice;
    if (guard->warn) {
        guard->warn = false;
        tell_slow(guard, L);
    }
    bool raise = guard->fault != ECS_FAULT_NONE || guard->stop || guard->full;
    if (raise && !in_script && !guard->deep) { /* lua/stator is not interrupted half way */
        (void)lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
        return;
    }
    guard->hooked = false;
    (void)lua_sethook(L, NULL, 0, 0);
    if (guard->deep && stack_is_short()) {
        arm(guard);
        raise_deep(guard, L);
    }
    guard->deep = false;
    stack_restore();
    if (guard->fault != ECS_FAULT_NONE) { raise_fault(guard, L); }
    if (guard->full) { raise_full(guard, L); }
    if (guard->stop) { raise_stop(guard, L); }
}

/* After a slice, lost or not: nothing of it may reach the next one. */
static void slice_ended(void *context) {
    guard_t *guard = context;
    ecs_fault_t late = guard->fault;
    guard->fault = ECS_FAULT_NONE;
    guard->warn = guard->stop = false;
    guard->stops_raised = 0;
    guard->full = guard->deep = guard->hooked = false;
    stack_restore();
    (void)ecs_fault_settle(guard->world);
    ecs_interrupt(guard->world, NULL, NULL);
    guard->vm->leave = false;
    if (guard->place_slice != guard->vm->slice - 1) { guard->place[0] = '\0'; }
    if (guard->vm->dead) { /* left; a heap that is full kills the VM after this */
        guard->stats.abandoned++;
        return;
    }
    (void)lua_sethook(guard->vm->L, NULL, 0, 0);
    if (late != ECS_FAULT_NONE) {
        log_printf(guard->log, LOG_ERROR, "watchdog",
                   "%s; the script had gone on before it could be stopped", fault_text(late));
    }
}

/* ---- handlers -------------------------------------------------------------------------------- */

static uintptr_t pc_of(const void *context) {
    const ucontext_t *at = context;
    return (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
}

static bool may_leave(const guard_t *guard, uintptr_t pc) {
    return code_is_lua(pc) && guard->vm->in_host == 0 && ecs_in_core(guard->world) == 0;
}

static sigjmp_buf peek_jump;
static volatile sig_atomic_t peeking;

/* Notes where the script stands, if the hook has not: in a long function of C. The state may be in
 * the middle of anything, so a fault while it is read ends the attempt; it is lost anyway. */
static void peek_place(guard_t *guard) {
    lua_State *L = crash_lua;
    char place[GUARD_PLACE_BYTES];
    if (L == NULL || guard->place_slice == guard->vm->slice) { return; }
    peeking = 1;
    if (sigsetjmp(peek_jump, 1) == 0) {
        (void)error_place(L, 0, place, sizeof place);
        memcpy(guard->place, place, sizeof place);
        guard->place_slice = guard->vm->slice;
    }
    peeking = 0;
}

static void leave_slice(guard_t *guard) {
    peek_place(guard);
    vm_abandon(guard->vm);
}

static void leave_now(void *context) {
    guard_t *guard = context;
    if (guard->vm->in_host > 0) { return; } /* vm->leave is set: at the end of that function */
    leave_slice(guard);
}

/* From the allocator, which is a part of LuaJIT. */
static void on_limit(void *context, arena_alarm_t how) {
    guard_t *guard = context;
    guard->full = true;
    arm(guard);
    if (how != ARENA_FAR || guard->vm->in_host > 0 || ecs_in_core(guard->world) > 0) { return; }
    guard->vm->why = "one call made far more than its heap may hold (limits.heap_mb)";
    leave_slice(guard);
}

static void out_of_stack(guard_t *guard, stack_fault_t where, uintptr_t pc) {
    guard->deep = true;
    arm(guard);
    if (where == STACK_LAST && may_leave(guard, pc)) {
        vm_abandon(guard->vm); /* no peek: a fault inside this handler would end the process */
    }
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved = errno;
    const ucontext_t *at = context;
    bool write = number == SIGSEGV && (at->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    bool ours = info->si_code > 0; /* raised by an access, not by kill() */
    if (peeking != 0 && ours) { siglongjmp(peek_jump, 1); }
    for (guard_t *guard = guards; ours && guard != NULL; guard = guard->next) {
        if (guard->vm == NULL || !vm_inside(guard->vm)) { continue; }
        if (!pthread_equal(guard->owner, pthread_self())) { continue; }
        stack_fault_t stack = stack_fault(info->si_addr);
        if (stack != STACK_ELSEWHERE) {
            out_of_stack(guard, stack, pc_of(context));
            errno = saved;
            return;
        }
        ecs_fault_t fault = ecs_fault_divert(guard->world, info->si_addr, write);
        if (fault == ECS_FAULT_NONE) { continue; }
        if (guard->fault == ECS_FAULT_NONE) { guard->fault = fault; }
        guard->tainted = true;
        guard->stats.faults++;
        arm(guard);
        errno = saved;
        return;
    }
    crash_report(number, ours ? info->si_addr : NULL, pc_of(context));
    if (!ours) { (void)raise(number); } /* no instruction will do it again */
}

/* `stops`: how many the watchdog has asked for. */
static void act(guard_t *guard, int level, uint32_t stops, uintptr_t pc) {
    if (level == LEVEL_WARN) { guard->warn = true; }
    if (stops > guard->stops_raised) { guard->stop = true; }
    if (guard->warn || guard->stop || guard->fault != ECS_FAULT_NONE) { arm(guard); }
    if (level < LEVEL_LEAVE) { return; }
    guard->vm->alarmed = true;
    if (may_leave(guard, pc)) { leave_slice(guard); }
    guard->stats.refused++;
    guard->vm->leave = true;
    ecs_interrupt(guard->world, leave_now, guard);
}

static void on_kick(int number, siginfo_t *info, void *context) {
    int saved = errno;
    (void)number;
    (void)info;
    for (guard_t *guard = guards; guard != NULL; guard = guard->next) {
        int level = atomic_exchange(&guard->kick_level, LEVEL_NONE);
        if (level == LEVEL_NONE || guard->vm == NULL || !vm_inside(guard->vm)) { continue; }
        if (!pthread_equal(guard->owner, pthread_self())) { continue; }
        if (guard->vm->slice == atomic_load(&guard->kick_slice)) {
            act(guard, level, atomic_load(&guard->kick_stops), pc_of(context));
        }
    }
    errno = saved;
}

static void install(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | flags};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(number, &action, NULL);
}

/* Once a process. */
static void install_handlers(void) {
    static char alt_stack[ALT_STACK_BYTES];
    static bool installed;
    if (installed) { return; }
    installed = true;
    crash_prepare();
    stack_prepare();
    stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof alt_stack};
    (void)sigaltstack(&stack, NULL);
    install(SIGSEGV, on_fault, 0);
    install(SIGBUS, on_fault, 0);
    install(KICK_SIGNAL, on_kick, SA_RESTART);
}

/* ---- the watchdog: its own thread ------------------------------------------------------------ */

/* What it knows of the slice that runs. */
typedef struct {
    uint64_t slice;
    uint64_t cpu_ns;  /* of the host thread when the slice was first seen */
    uint64_t wall_ns; /* since then, as far as this thread ran too: not while the process slept */
    uint64_t look_ns; /* the last look */
    uint32_t stops;   /* asked for */
    uint64_t stop_ns; /* time used when the last one was */
    bool warned;
} seen_t;

/* A stop has as long as the slice had to end it. When it was raised, and what runs since, such as
 * cleanup, takes too long again, there is another. */
static int level_of(const guard_t *guard, seen_t *seen, uint32_t patience) {
    uint64_t cpu = clock_read_ns(guard->cpu_clock) - seen->cpu_ns;
    uint64_t wall = seen->wall_ns / GUARD_WALL_FACTOR;
    uint64_t used = (wall > cpu ? wall : cpu) / ((uint64_t)patience * guard->limits.patience);
    bool ignored = seen->stops > guard->stops_raised;
    if (used >= seen->stop_ns + guard->limits.hard_ns) {
        if (ignored || seen->stops == GUARD_STOPS) { return LEVEL_LEAVE; }
        seen->stops++;
        seen->stop_ns = used;
        return LEVEL_STOP;
    }
    if (seen->stops > 0) { return ignored ? LEVEL_STOP : LEVEL_NONE; }
    bool slow = used >= guard->limits.soft_ns && patience == 1; /* not the host's own work */
    bool tell = slow && !seen->warned;
    seen->warned = seen->warned || tell;
    return tell ? LEVEL_WARN : LEVEL_NONE;
}

/* One look; answers how long to sleep. */
static uint64_t look(guard_t *guard, seen_t *seen) {
    const vm_t *vm = guard->vm;
    uint64_t slice = vm == NULL ? 0 : vm->slice, now = clock_read_ns(CLOCK_MONOTONIC);
    if ((slice & 1) == 0) {
        seen->slice = slice;
        return WATCH_IDLE_NS;
    }
    if (slice != seen->slice) {
        *seen = (seen_t){.slice = slice, .cpu_ns = clock_read_ns(guard->cpu_clock), .look_ns = now};
        return WATCH_BUSY_NS;
    }
    uint64_t since = now - seen->look_ns;
    seen->wall_ns += since < LOOK_MAX_NS ? since : LOOK_MAX_NS;
    seen->look_ns = now;
    int level = level_of(guard, seen, vm->patience);
    if (level != LEVEL_NONE) {
        atomic_store(&guard->kick_slice, slice);
        atomic_store(&guard->kick_stops, seen->stops);
        atomic_store(&guard->kick_level, level);
        (void)pthread_kill(guard->owner, KICK_SIGNAL);
    }
    return WATCH_BUSY_NS;
}

static void *watch(void *argument) {
    guard_t *guard = argument;
    seen_t seen = {0};
    (void)pthread_mutex_lock(&guard->mutex);
    while (!guard->stopping) {
        uint64_t until = clock_read_ns(CLOCK_MONOTONIC) + look(guard, &seen);
        struct timespec at = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
        (void)pthread_cond_timedwait(&guard->wake, &guard->mutex, &at);
    }
    (void)pthread_mutex_unlock(&guard->mutex);
    return NULL;
}

static int start_thread(guard_t *guard) {
    pthread_condattr_t monotonic;
    pthread_attr_t small;
    sigset_t all, before;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&guard->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&guard->mutex, NULL);
    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, WATCH_STACK_BYTES);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host thread's */
    int rc = pthread_create(&guard->thread, &small, watch, guard);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&small);
    if (rc == 0) { (void)pthread_setname_np(guard->thread, "stator-watch"); }
    return rc;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void link_guard(guard_t *guard, bool add) {
    sigset_t ours, before;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, KICK_SIGNAL);
    (void)pthread_sigmask(SIG_BLOCK, &ours, &before);
    guard_t **at = &guards;
    while (*at != NULL && *at != guard) {
        at = &(*at)->next;
    }
    if (add && *at == NULL) { *at = guard; }
    if (!add && *at == guard) { *at = guard->next; }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int guard_start(guard_t *guard, ecs_world_t *world, log_t *log, const guard_limits_t *limits) {
    *guard = (guard_t){.world = world, .log = log, .owner = pthread_self(), .limits = *limits};
    install_handlers();
    crash_log(log);
    int rc = pthread_getcpuclockid(guard->owner, &guard->cpu_clock);
    if (rc == 0) { rc = start_thread(guard); }
    guard->running = rc == 0;
    link_guard(guard, true);
    return rc;
}

void guard_stop(guard_t *guard) {
    if (guard->world == NULL) { return; }
    if (guard->running) {
        (void)pthread_mutex_lock(&guard->mutex);
        guard->stopping = true;
        (void)pthread_cond_signal(&guard->wake);
        (void)pthread_mutex_unlock(&guard->mutex);
        (void)pthread_join(guard->thread, NULL);
        (void)pthread_mutex_destroy(&guard->mutex);
        (void)pthread_cond_destroy(&guard->wake);
    }
    link_guard(guard, false);
    crash_log(NULL);
    *guard = (guard_t){0};
}

void guard_watch(guard_t *guard, vm_t *vm) {
    (void)pthread_mutex_lock(&guard->mutex); /* the watchdog looks at it */
    guard->vm = vm;
    (void)pthread_mutex_unlock(&guard->mutex);
    if (vm == NULL) { return; }
    vm->on_slice_end = slice_ended;
    vm->context = guard;
    vm->arena.on_limit = on_limit;
    vm->arena.context = guard;
}

void guard_set_limits(guard_t *guard, uint64_t soft_ns, uint64_t hard_ns) {
    (void)pthread_mutex_lock(&guard->mutex);
    guard->limits.soft_ns = soft_ns;
    guard->limits.hard_ns = hard_ns;
    (void)pthread_mutex_unlock(&guard->mutex);
}
