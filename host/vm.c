#include "vm.h"

#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"
#include "code.h"
#include "crash.h"

enum { GC_STEP_KIB = 1, GC_STEPS = 8, GC_MIN_BYTES = 512 * 1024, GC_PRESS_BYTES = 8 << 20 };
enum { GC_PATIENCE = 50 }; /* times the limits of a slice: a step cannot be divided */

/* ---- built-in modules ----------------------------------------------------------------------- */

static const builtin_t *builtin_find(const char *name) {
    for (size_t i = 0; i < BUILTIN_COUNT; i++) {
        if (strcmp(BUILTINS[i].name, name) == 0) { return &BUILTINS[i]; }
    }
    return NULL;
}

static int load_builtin(lua_State *L, const char *name) {
    const builtin_t *found = builtin_find(name);
    if (found == NULL) { return -1; }
    char chunk[160];
    (void)snprintf(chunk, sizeof chunk, "@%s", found->path);
    return luaL_loadbuffer(L, found->text, found->bytes, chunk);
}

/* package.loaders entry. [-1 +1 e] */
static int builtin_loader(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (builtin_find(name) == NULL) {
        lua_pushfstring(L, "\n\tno built-in module '%s'", name);
        return 1;
    }
    if (load_builtin(L, name) != 0) { return lua_error(L); }
    return 1;
}

/* The text of ecs_abi.h between its markers, for ffi.cdef. [-0 +1 -] */
static int abi_text(lua_State *L) {
    lua_pushlstring(L, ABI_TEXT, ABI_TEXT_BYTES);
    return 1;
}

/* The text of a built-in file by its module name, or nil. [-1 +1 e] */
static int builtin_text(lua_State *L) {
    const builtin_t *found = builtin_find(luaL_checkstring(L, 1));
    if (found == NULL) { return 0; }
    lua_pushlstring(L, found->text, found->bytes);
    return 1;
}

/* [-0 +1 -] */
static int open_builtin(lua_State *L) {
    lua_pushcfunction(L, builtin_text);
    return 1;
}

void vm_install_builtins(lua_State *L) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) { /* before files, after preload */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, builtin_loader);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, abi_text);
    lua_setfield(L, -2, "stator.abi_text");
    lua_pushcfunction(L, open_builtin);
    lua_setfield(L, -2, "stator.core.builtin");
    lua_pop(L, 2);
}

/* ---- setup ---------------------------------------------------------------------------------- */

static int panic(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    (void)fprintf(stderr, "stator: error outside of a protected call: %s\n",
                  text == NULL ? "?" : text);
    abort();
}

/* Protected: opens everything. */
static int open_all(lua_State *L) {
    luaL_openlibs(L);
    vm_install_builtins(L);
    static const char options[] = "require('jit.opt').start('maxside=1000', 'maxtrace=8000', "
                                  "'maxmcode=16384', 'sizemcode=256', 'minstitch=40')";
    if (luaL_loadbuffer(L, options, sizeof options - 1, "=options") != 0) { return lua_error(L); }
    lua_call(L, 0, 0);
    return 0;
}

static int plain_traceback(lua_State *L) {
    if (lua_isstring(L, 1)) { luaL_traceback(L, L, lua_tostring(L, 1), 1); }
    return 1;
}

/* All of a collection, or some steps: inside a door, because finalizers run. Answers whether the
 * cycle has ended. [-1 +1 -] */
static int collect_some(lua_State *L) {
    bool ended = lua_toboolean(L, 1) == 1;
    vm_of(L)->collections++;
    vm_of(L)->arena.strict = false; /* tables of the collector's own grow and shrink */
    if (ended) { (void)lua_gc(L, LUA_GCCOLLECT, 0); }
    for (int i = 0; i < GC_STEPS && !ended; i++) {
        ended = lua_gc(L, LUA_GCSTEP, GC_STEP_KIB) != 0;
    }
    lua_pushboolean(L, ended);
    return 1;
}

int vm_init(vm_t *vm, const stator_clock_t *clock) {
    *vm = (vm_t){.clock = clock, .traceback_ref = LUA_NOREF, .patience = 1};
    if (arena_init(&vm->arena, VM_HEAP_RESERVE_BYTES) != 0) { return -1; }
    (void)pthread_sigmask(SIG_SETMASK, NULL, &vm->signals);
    vm->L = lua_newstate(arena_realloc, &vm->arena);
    if (vm->L == NULL) {
        arena_fini(&vm->arena);
        return -1;
    }
    (void)lua_atpanic(vm->L, panic);
    if (lua_cpcall(vm->L, open_all, NULL) != 0) {
        (void)fprintf(stderr, "stator: %s\n", lua_tostring(vm->L, -1));
        vm_fini(vm);
        return -1;
    }
    lua_pushcfunction(vm->L, plain_traceback);
    vm->traceback_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    lua_pushcfunction(vm->L, collect_some);
    vm->collect_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    (void)lua_gc(vm->L, LUA_GCCOLLECT, 0);
    (void)lua_gc(vm->L, LUA_GCSTOP, 0);
    vm->heap_after_bytes = vm_heap_bytes(vm);
    return 0;
}

void vm_fini(vm_t *vm) {
    if (vm->L != NULL && !vm->dead) {
        code_owner = vm;
        vm->closing = true;
        lua_close(vm->L);
        code_owner = NULL;
    }
    vm_discard(vm);
}

void vm_discard(vm_t *vm) {
    code_release(vm); /* none is left of a state that was closed */
    arena_fini(&vm->arena);
    *vm = (vm_t){0};
}

static bool collect(vm_t *vm, bool all);

/* ---- doors ---------------------------------------------------------------------------------- */

static void enter(vm_t *vm, lua_State *L) {
    code_owner = vm;
    crash_lua = L;
    vm->arena.strict = true;
    vm->slice++;
}

static void leave(vm_t *vm) {
    vm->slice++;
    vm->arena.strict = false;
    code_owner = NULL;
    crash_lua = NULL;
    if (vm->alarmed) {
        vm->alarmed = false;
        vm->on_slice_end(vm->context);
    }
}

/* Where a jump lands. The handler that jumped had its signal blocked. */
static int abandoned(vm_t *vm) {
    (void)pthread_sigmask(SIG_SETMASK, &vm->signals, NULL);
    vm->dead = true;
    if (vm->why == NULL) { vm->why = "it did not come back"; }
    vm->leave = false;
    vm->in_host = 0;
    leave(vm);
    return VM_E_ABANDONED;
}

/* Ends a slice. One that has reached the heap's limit is followed by a whole collection; when that
 * does not help, or when blocks of ever other sizes have used the addresses up, nobody else could
 * work in this state. */
static int leave_with(vm_t *vm, int rc) {
    leave(vm);
    bool spent = arena_is_spent(&vm->arena);
    if (!vm->arena.reached && !spent) { return rc; }
    arena_rearm(&vm->arena);
    if (!spent) { (void)collect(vm, true); } /* which comes by here */
    size_t limit = vm->arena.limit_bytes;
    if (!vm->dead && (spent || vm->arena.used_bytes > limit / 4 * 3)) {
        vm->dead = true;
        vm->why = spent ? "its heap is scattered over all its addresses"
                        : "its heap is full (limits.heap_mb)";
    }
    return vm->dead ? VM_E_ABANDONED : rc;
}

static int call(vm_t *vm, int arguments, int results) {
    lua_State *L = vm->L;
    int function = lua_gettop(L) - arguments;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->traceback_ref);
    lua_insert(L, function);
    int rc = lua_pcall(L, arguments, results, function);
    lua_remove(L, function);
    return rc == 0 ? VM_OK : VM_E_LUA;
}

int vm_call(vm_t *vm, int arguments, int results) {
    if (vm_inside(vm)) { return call(vm, arguments, results); } /* a part of the slice */
    if (sigsetjmp(vm->jump, 0) != 0) { return abandoned(vm); }
    enter(vm, vm->L);
    return leave_with(vm, call(vm, arguments, results));
}

static int resume(lua_State *co, int arguments) {
    int rc = lua_resume(co, arguments);
    return rc == 0 ? VM_OK : rc == LUA_YIELD ? VM_YIELD : VM_E_LUA;
}

int vm_resume(vm_t *vm, lua_State *co, int arguments) {
    if (vm_inside(vm)) { return resume(co, arguments); }
    if (sigsetjmp(vm->jump, 0) != 0) { return abandoned(vm); }
    enter(vm, co);
    return leave_with(vm, resume(co, arguments));
}

void vm_abandon(vm_t *vm) { siglongjmp(vm->jump, 1); }

/* ---- C functions of the host ----------------------------------------------------------------- */

static void set_strict(vm_t *vm) { vm->arena.strict = vm->in_host == 0 && vm_inside(vm); }

static void host_left(vm_t **vm) {
    (*vm)->in_host--;
    set_strict(*vm);
}

/* Calls the function in its upvalue. An error that it raises unwinds through the cleanup. */
static int host_function(lua_State *L) {
    vm_t *vm = vm_of(L);
    int results = 0;
    {
        vm_t *held __attribute__((cleanup(host_left), unused)) = vm;
        vm->in_host++;
        set_strict(vm);
        lua_CFunction function = NULL;
        void *address = lua_touserdata(L, lua_upvalueindex(1));
        memcpy(&function, &address, sizeof function);
        results = function(L);
    }
    if (vm->leave && vm->in_host == 0) { vm_abandon(vm); }
    return results;
}

void vm_push_function(lua_State *L, lua_CFunction function) {
    void *address = NULL;
    memcpy(&address, &function, sizeof function);
    lua_pushlightuserdata(L, address);
    lua_pushcclosure(L, host_function, 1);
}

void vm_register(lua_State *L, const luaL_Reg *functions) {
    for (; functions->name != NULL; functions++) {
        vm_push_function(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

/* ---- collector ------------------------------------------------------------------------------ */

size_t vm_heap_bytes(const vm_t *vm) {
    return (size_t)lua_gc(vm->L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(vm->L, LUA_GCCOUNTB, 0);
}

bool vm_heap_presses(const vm_t *vm) {
    size_t limit = vm->heap_after_bytes * 2;
    return vm_heap_bytes(vm) > (limit < GC_PRESS_BYTES ? GC_PRESS_BYTES : limit);
}

/* Answers whether the cycle has ended. */
static bool collect(vm_t *vm, bool all) {
    lua_State *L = vm->L;
    uint32_t patience = vm->patience;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->collect_ref);
    lua_pushboolean(L, all);
    vm->patience = GC_PATIENCE;
    int rc = vm_call(vm, 1, 1);
    if (vm->dead) { return true; }
    vm->patience = patience;
    bool ended = rc != VM_OK || lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (ended) {
        (void)lua_gc(L, LUA_GCSTOP, 0);
        vm->collecting = false;
        vm->heap_after_bytes = vm_heap_bytes(vm);
    }
    return ended;
}

void vm_collect_idle(vm_t *vm, uint64_t budget_ns) {
    size_t heap = vm_heap_bytes(vm);
    size_t limit = vm->heap_after_bytes + vm->heap_after_bytes / 2;
    if (!vm->collecting && heap < (limit < GC_MIN_BYTES ? GC_MIN_BYTES : limit)) { return; }
    vm->collecting = true;
    uint64_t start = clock_now_ns(vm->clock);
    do {
        vm->collecting = !collect(vm, false);
    } while (vm->collecting && !vm->clock->is_virtual &&
             clock_now_ns(vm->clock) - start < budget_ns);
    if (!vm->dead) { (void)lua_gc(vm->L, LUA_GCSTOP, 0); }
}

void vm_collect_all(vm_t *vm) {
    size_t limit = vm->arena.limit_bytes, after = vm->heap_after_bytes;
    if (limit == 0 || vm->arena.used_bytes <= after + (limit - after) / 4 * 3) { return; }
    (void)collect(vm, true);
}
