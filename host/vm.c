#include "vm.h"

#include <luajit.h>
#include <lualib.h>
#include <luv/luv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builtin.h"

#define HEAP_RESERVE_BYTES ((size_t)2 << 30)
enum { GC_STEP_KIB = 1, GC_MIN_BYTES = 512 * 1024, GC_PRESS_BYTES = 8 << 20 };

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

static void install_loader(lua_State *L) {
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

/* luv would exit the process on an error in a callback; ours tells and goes on. */
static int luv_callback(lua_State *L, int arguments, int results, int flags) {
    return luv_cfpcall(L, arguments, results, flags | LUVF_CALLBACK_NOEXIT);
}

/* Protected: opens everything. Argument: the uv loop as light userdata. */
static int open_all(lua_State *L) {
    uv_loop_t *loop = lua_touserdata(L, 1);
    luaL_openlibs(L);
    install_loader(L);
    luv_set_loop(L, loop);
    luv_set_callback(L, luv_callback);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_luv);
    lua_setfield(L, -2, "luv");
    lua_settop(L, 0);
    static const char options[] = "require('jit.opt').start('maxside=1000', 'maxtrace=8000', "
                                  "'maxmcode=16384', 'sizemcode=256')";
    if (luaL_loadbuffer(L, options, sizeof options - 1, "=options") != 0) { return lua_error(L); }
    lua_call(L, 0, 0);
    return 0;
}

static int plain_traceback(lua_State *L) {
    if (lua_isstring(L, 1)) { luaL_traceback(L, L, lua_tostring(L, 1), 1); }
    return 1;
}

int vm_init(vm_t *vm, uv_loop_t *loop, const stator_clock_t *clock) {
    *vm = (vm_t){.clock = clock, .traceback_ref = LUA_NOREF};
    if (arena_init(&vm->arena, HEAP_RESERVE_BYTES) != 0) { return -1; }
    vm->L = lua_newstate(arena_realloc, &vm->arena);
    if (vm->L == NULL) {
        arena_fini(&vm->arena);
        return -1;
    }
    (void)lua_atpanic(vm->L, panic);
    if (lua_cpcall(vm->L, open_all, loop) != 0) {
        (void)fprintf(stderr, "stator: %s\n", lua_tostring(vm->L, -1));
        vm_fini(vm);
        return -1;
    }
    lua_pushcfunction(vm->L, plain_traceback);
    vm->traceback_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    (void)lua_gc(vm->L, LUA_GCCOLLECT, 0);
    (void)lua_gc(vm->L, LUA_GCSTOP, 0);
    vm->heap_after_bytes = vm_heap_bytes(vm);
    return 0;
}

void vm_fini(vm_t *vm) {
    if (vm->L != NULL && !vm->dead) { lua_close(vm->L); }
    vm_discard(vm);
}

void vm_discard(vm_t *vm) {
    arena_fini(&vm->arena);
    *vm = (vm_t){0};
}

/* ---- doors ---------------------------------------------------------------------------------- */

int vm_call(vm_t *vm, int arguments, int results) {
    lua_State *L = vm->L;
    int function = lua_gettop(L) - arguments;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->traceback_ref);
    lua_insert(L, function);
    bool outer = !vm->inside; /* a nested call keeps the outer jump point */
    if (outer && sigsetjmp(vm->jump, 0) != 0) {
        vm->inside = false;
        vm->dead = true;
        return VM_E_ABANDONED;
    }
    vm->inside = true;
    int rc = lua_pcall(L, arguments, results, function);
    if (outer) { vm->inside = false; }
    lua_remove(L, function);
    return rc == 0 ? VM_OK : VM_E_LUA;
}

int vm_resume(vm_t *vm, lua_State *co, int arguments) {
    if (sigsetjmp(vm->jump, 0) != 0) {
        vm->inside = false;
        vm->dead = true;
        return VM_E_ABANDONED;
    }
    vm->inside = true;
    int rc = lua_resume(co, arguments);
    vm->inside = false;
    return rc == 0 ? VM_OK : rc == LUA_YIELD ? VM_YIELD : VM_E_LUA;
}

void vm_abandon(vm_t *vm) { siglongjmp(vm->jump, 1); }

/* ---- collector ------------------------------------------------------------------------------ */

size_t vm_heap_bytes(const vm_t *vm) {
    return (size_t)lua_gc(vm->L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(vm->L, LUA_GCCOUNTB, 0);
}

bool vm_heap_presses(const vm_t *vm) {
    size_t limit = vm->heap_after_bytes * 2;
    return vm_heap_bytes(vm) > (limit < GC_PRESS_BYTES ? GC_PRESS_BYTES : limit);
}

void vm_collect_idle(vm_t *vm, uint64_t budget_ns) {
    size_t heap = vm_heap_bytes(vm);
    size_t limit = vm->heap_after_bytes + vm->heap_after_bytes / 2;
    if (!vm->collecting && heap < (limit < GC_MIN_BYTES ? GC_MIN_BYTES : limit)) { return; }
    vm->collecting = true;
    uint64_t start = clock_now_ns(vm->clock);
    do {
        for (int i = 0; i < 8 && vm->collecting; i++) {
            vm->collecting = lua_gc(vm->L, LUA_GCSTEP, GC_STEP_KIB) == 0;
        }
    } while (vm->collecting && !vm->clock->is_virtual &&
             clock_now_ns(vm->clock) - start < budget_ns);
    if (!vm->collecting) { vm->heap_after_bytes = vm_heap_bytes(vm); }
    (void)lua_gc(vm->L, LUA_GCSTOP, 0);
}
