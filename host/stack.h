/* The end of the host thread's C stack. LuaJIT bounds Lua's own stack, but functions of C that call
 * back (string.gsub, table.sort, coroutine.resume) can be nested until the C stack is full.
 *
 *   ◀─ grows     end │ rest │ last zone │ red zone │ ................... │ base
 *
 * The zones may not be touched. When the red one is, the handler opens it: there is room to go on
 * until the guard's hook raises an error. Compiled code that the hook does not reach comes to the
 * last zone, which opens page by page: at each the slice may be left. Once the stack is shorter
 * again, both are closed.
 * Thread: the host's; stack_fault from its handler, which has a stack of its own. */
#ifndef STACK_H
#define STACK_H

#include <stdbool.h>

typedef enum {
    STACK_ELSEWHERE, /* not the address of a closed zone */
    STACK_SHORT,     /* the red zone, open now */
    STACK_LAST       /* a page of the last zone, open now */
} stack_fault_t;

/* Sets the zones up for the calling thread. Once a process. */
void stack_prepare(void);
/* Whether the zones could be made. */
bool stack_is_guarded(void);
stack_fault_t stack_fault(const void *address);
/* Whether the caller runs in a zone. */
bool stack_is_short(void);
/* Closes the zones if they are open and nothing runs in them. */
void stack_restore(void);

#endif
