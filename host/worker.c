#include "worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
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

static char *copy_text(lua_State *L, int index, size_t *count) {
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
    lua_getglobal(L, "require");
    lua_pushliteral(L, "stator.worker");
    lua_call(L, 1, 1);
    lua_pushlightuserdata(L, worker);
    lua_pushstring(L, worker->folder);
    lua_pushstring(L, worker->module);
    lua_pushstring(L, worker->function);
    lua_pushlstring(L, worker->arguments, worker->argument_bytes);
    lua_call(L, 5, 4);   /* true, bytes | false, code, message, trace */
    worker->held = true; /* the copies would be lost */
    worker->ok = lua_toboolean(L, -4) == 1;
    if (worker->ok) {
        worker->result = copy_text(L, -3, &worker->result_bytes);
    } else {
        worker->code = copy_text(L, -3, NULL);
        worker->message = copy_text(L, -2, NULL);
        worker->trace = copy_text(L, -1, NULL);
    }
    return 0;
}

static void fail(worker_t *worker, const char *code, const char *message) {
    worker->ok = false;
    worker->code = strdup(code);
    worker->message = strdup(message);
    worker->trace = strdup("");
    memory_must(worker->code);
    memory_must(worker->message);
    memory_must(worker->trace);
}

static void run_state(worker_t *worker) {
    if (setjmp(worker->jump) != 0) {
        bool stopped = atomic_load(&worker->stop);
        fail(worker, stopped ? "stopped" : "memory",
             stopped ? "the work was stopped" : "the work needs more than 128 MiB");
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
    worker->arena.on_limit = at_limit;
    worker->arena.context = worker;
    worker->arena.strict = true;
    arena_set_limit(&worker->arena, WORKER_HEAP_BYTES);
    code_owner = worker;
    run_state(worker);
    code_release(worker);
    code_owner = NULL;
    arena_fini(&worker->arena);
}

void worker_fini(worker_t *worker) {
    free(worker->folder);
    free(worker->module);
    free(worker->function);
    free(worker->arguments);
    free(worker->result);
    free(worker->code);
    free(worker->message);
    free(worker->trace);
}
