#include "worker.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "memory.h"
#include "vm.h"

/* Gives the state up, from inside LuaJIT: nothing of it is used again. Neither an error nor NULL
 * would do, because LuaJIT of 2022 crashes on a NULL inside compiled code, and pcall would catch an
 * error. */
static void leave(worker_t *worker) {
    if (!worker->held) { longjmp(worker->jump, 1); }
}

void worker_turn(void *context) {
    worker_t *worker = context;
    if (atomic_load(&worker->stop)) { leave(worker); }
}

void worker_hold(void *worker, int held) { ((worker_t *)worker)->held = held != 0; }

static void at_limit(void *context, arena_alarm_t how) {
    (void)how;
    leave(context);
}

static void *allocate(void *context, void *block, size_t had, size_t want) {
    worker_t *worker = context;
    if (want > had && atomic_load(&worker->stop)) { leave(worker); }
    return arena_realloc(&worker->arena, block, had, want);
}

char *worker_copy(lua_State *L, int index, size_t *count) {
    size_t bytes = 0;
    const char *text = lua_tolstring(L, index, &bytes);
    if (text == NULL) {
        text = "";
        bytes = 0;
    }
    char *copy = malloc(bytes + 1);
    memory_must(copy);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    if (count != NULL) { *count = bytes; }
    return copy;
}

/* Protected: everything. Argument: the worker. */
static int run(lua_State *L) {
    worker_t *worker = lua_touserdata(L, 1);
    luaL_openlibs(L);
    vm_install_builtins(L);
    return worker->run(L);
}

static void fail(worker_t *worker, const char *code, const char *message) {
    worker->code = strdup(code);
    worker->message = strdup(message);
    worker->trace = strdup("");
    memory_must(worker->code);
    memory_must(worker->message);
    memory_must(worker->trace);
}

static void fail_by_jump(worker_t *worker) {
    char message[80];
    bool stopped = atomic_load(&worker->stop);
    if (stopped) {
        (void)snprintf(message, sizeof message, "%s was stopped", worker->what);
    } else {
        (void)snprintf(message, sizeof message, "%s needs more than %zu MiB", worker->what,
                       worker->heap_bytes >> 20);
    }
    fail(worker, stopped ? "stopped" : "memory", message);
}

static void run_state(worker_t *worker) {
    if (setjmp(worker->jump) != 0) {
        fail_by_jump(worker);
        return;
    }
    lua_State *L = lua_newstate(allocate, worker);
    if (L == NULL) {
        fail(worker, "memory", "no memory for a state");
    } else if (lua_cpcall(L, run, worker) != 0) {
        fail(worker, "error", lua_isstring(L, -1) ? lua_tostring(L, -1) : "it failed");
    }
}

/* The state is never closed: it goes with its memory and its machine code, however it ended. */
void worker_run(worker_t *worker) {
    if (atomic_load(&worker->stop)) { return; } /* nobody asks for its result */
    if (arena_init(&worker->arena, WORKER_RESERVE_BYTES) != 0) {
        fail(worker, "memory", "no addresses for a state (ulimit -v?)");
        return;
    }
    worker->held = false;
    worker->arena.on_limit = at_limit;
    worker->arena.context = worker;
    worker->arena.strict = true;
    arena_set_limit(&worker->arena, worker->heap_bytes);
    code_owner = worker;
    run_state(worker);
    code_release(worker);
    code_owner = NULL;
    arena_fini(&worker->arena);
}

void worker_fini(worker_t *worker) {
    free(worker->code);
    free(worker->message);
    free(worker->trace);
    worker->code = worker->message = worker->trace = NULL;
}
