/* The Lua VM: its heap in an arena of ours, and vm_call and vm_resume as the only doors into Lua.
 *
 * A slice is what happens between entering a door and leaving it. Each door sets a jump point,
 * inside whatever callback it was called from: a slice that does not come back can be left by
 * vm_abandon, after which the state is dead and vm_discard gives its heap and machine code back. A
 * slice that leaves the heap full of live values ends the same way. Thread: the host's. Lua errors
 * never leave a door; they come out as values. */
#ifndef VM_H
#define VM_H

#include <lauxlib.h>
#include <lua.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "clock.h"

enum { VM_OK = 0, VM_YIELD = 1, VM_E_LUA = -1, VM_E_ABANDONED = -2 };

#define VM_HEAP_RESERVE_BYTES ((size_t)4 << 30)

typedef struct {
    arena_t arena; /* first: the allocator's argument leads back to the VM */
    void *owner;   /* the runtime, see rt_of */
    lua_State *L;
    const stator_clock_t *clock;
    sigset_t signals; /* blocked outside of handlers */
    sigjmp_buf jump;
    volatile uint64_t slice;   /* odd while one runs: the jump point is good */
    volatile uint32_t in_host; /* C functions of the host that the slice is in */
    volatile bool leave;       /* vm_abandon once in_host is 0 */
    uint32_t patience;         /* times the watchdog's limits, for the host's own long work */
    volatile bool alarmed;     /* on_slice_end has something to do */
    void (*on_slice_end)(void *context);
    void *context;           /* of on_slice_end: the guard */
    bool closing;            /* vm_fini collects all that is left */
    bool dead;               /* given up: only vm_discard is allowed */
    const char *why;         /* it is dead */
    int traceback_ref;       /* message handler: error -> error value with its stack */
    int collect_ref;         /* collects some, or all */
    bool collecting;         /* a collector cycle is under way */
    uint64_t collections;    /* how often the collector has run, a step or a whole cycle */
    size_t heap_after_bytes; /* after the last cycle */
} vm_t;

static inline bool vm_inside(const vm_t *vm) { return (vm->slice & 1) != 0; }
static inline vm_t *vm_of(lua_State *L) {
    void *vm = NULL;
    (void)lua_getallocf(L, &vm);
    return vm;
}

/* A fresh state with the standard libraries, LuaJIT's options and the modules that are built in. 0,
 * or -1 when there is no memory for it. */
int vm_init(vm_t *vm, const stator_clock_t *clock);
/* Lets `require` of a state find what is built in. [-0 +0 e] */
void vm_install_builtins(lua_State *L);
/* Closes the state. Accepts a zeroed or dead one. */
void vm_fini(vm_t *vm);
/* Gives the heap of a dead state back without running anything in it. */
void vm_discard(vm_t *vm);

/* Calls the function under its `arguments` on the state's stack. VM_OK with `results` values, or
 * VM_E_LUA with one error value, or VM_E_ABANDONED with nothing: the state is dead. `results` may
 * be LUA_MULTRET. */
int vm_call(vm_t *vm, int arguments, int results);
/* Resumes a coroutine. VM_OK when it has ended, VM_YIELD, VM_E_LUA (its error on its own stack)
 * or VM_E_ABANDONED. */
int vm_resume(vm_t *vm, lua_State *co, int arguments);
/* Leaves the slice that is running; the state is dead afterwards. Host thread, inside a slice,
 * where nothing is half done: see guard.h. */
void vm_abandon(vm_t *vm) __attribute__((noreturn));
/* Registers functions in the table on top of the stack as luaL_register does, each so that the
 * slice is not left in the middle of it and that the limit of the heap does not count in it. */
void vm_register(lua_State *L, const luaL_Reg *functions);
void vm_push_function(lua_State *L, lua_CFunction function);

/* Runs the collector, which is stopped otherwise, for at most about `budget_ns`. */
void vm_collect_idle(vm_t *vm, uint64_t budget_ns);
/* True when the heap has grown to twice what the last cycle left: idle time did not suffice. */
bool vm_heap_presses(const vm_t *vm);
/* A whole collection, when garbage has used most of what the limit leaves. */
void vm_collect_all(vm_t *vm);
/* Bytes of live Lua values. */
size_t vm_heap_bytes(const vm_t *vm);
#endif
