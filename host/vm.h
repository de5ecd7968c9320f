/* The Lua VM: its heap in an arena of ours, and vm_call and vm_resume as the only doors into Lua.
 *
 * Both doors set a jump point, inside whatever callback they were called from: a slice that does
 * not come back can be left by vm_abandon, after which the state is dead and vm_discard gives its
 * whole heap back. Thread: the host's. Lua errors never leave a door; they come out as values. */
#ifndef VM_H
#define VM_H

#include <lauxlib.h>
#include <lua.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "arena.h"
#include "clock.h"

enum { VM_OK = 0, VM_YIELD = 1, VM_E_LUA = -1, VM_E_ABANDONED = -2 };

typedef struct {
    arena_t arena; /* first: the allocator's argument leads back to the VM */
    void *owner;   /* the runtime, see rt_of */
    lua_State *L;
    const stator_clock_t *clock;
    sigjmp_buf jump;
    volatile bool inside;    /* a slice runs: the jump point is good */
    bool dead;               /* abandoned: only vm_discard is allowed */
    int traceback_ref;       /* message handler: error -> error value with its stack */
    bool collecting;         /* a collector cycle is under way */
    size_t heap_after_bytes; /* after the last cycle */
} vm_t;

/* A fresh state with the standard libraries, LuaJIT's options, luv on `loop` and the modules that
 * are built in. 0, or -1 when there is no memory for it. */
int vm_init(vm_t *vm, uv_loop_t *loop, const stator_clock_t *clock);
/* Closes the state. Accepts a zeroed or dead one. */
void vm_fini(vm_t *vm);
/* Gives the heap of a dead state back without running anything in it. */
void vm_discard(vm_t *vm);

/* Calls the function under its `arguments` on the state's stack. VM_OK with `results` values, or
 * VM_E_LUA with one error value, or VM_E_ABANDONED with nothing. `results` may be LUA_MULTRET. */
int vm_call(vm_t *vm, int arguments, int results);
/* Resumes a coroutine. VM_OK when it has ended, VM_YIELD, VM_E_LUA (its error on its own stack)
 * or VM_E_ABANDONED. */
int vm_resume(vm_t *vm, lua_State *co, int arguments);
/* Leaves the slice that is running. Only from a signal handler on the host thread, and only while
 * vm->inside; the state is dead afterwards. */
void vm_abandon(vm_t *vm) __attribute__((noreturn));

/* Runs the collector, which is stopped otherwise, for at most about `budget_ns`. */
void vm_collect_idle(vm_t *vm, uint64_t budget_ns);
/* True when the heap has grown to twice what the last cycle left: idle time did not suffice. */
bool vm_heap_presses(const vm_t *vm);
/* Bytes of live Lua values. */
size_t vm_heap_bytes(const vm_t *vm);
#endif
