#include "worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "vm.h"

int worker_turn(const void *worker) { return atomic_load(&((const worker_t *)worker)->stop); }

/* Refuses more than the limit, and everything once the work is to stop. */
static void *allocate(void *context, void *block, size_t had, size_t want) {
    worker_t *worker = context;
    if (want == 0) {
        free(block);
        worker->used_bytes -= had;
        return NULL;
    }
    bool grows = want > had;
    bool full = worker->used_bytes - had + want > WORKER_HEAP_BYTES;
    if (worker->bounded && grows && (full || atomic_load(&worker->stop))) { return NULL; }
    void *moved = realloc(block, want);
    if (moved != NULL) { worker->used_bytes += want - had; }
    return moved;
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
    lua_call(L, 5, 4); /* true, bytes | false, code, message, trace */
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

void worker_run(worker_t *worker) {
    if (atomic_load(&worker->stop)) { return; } /* nobody asks for its result */
    lua_State *L = lua_newstate(allocate, worker);
    const char *problem = L == NULL ? "no memory for a state" : NULL;
    worker->bounded = true; /* a state that is half made does not survive a refusal */
    if (L != NULL && lua_cpcall(L, run, worker) != 0) {
        problem = lua_isstring(L, -1) ? lua_tostring(L, -1) : "it failed";
    }
    if (problem != NULL) {
        bool full = strstr(problem, "not enough memory") != NULL;
        worker->ok = false;
        worker->code = strdup(full ? "memory" : "error");
        worker->message = strdup(problem);
        worker->trace = strdup("");
        memory_must(worker->code);
        memory_must(worker->message);
        memory_must(worker->trace);
    }
    if (L != NULL) { lua_close(L); }
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
