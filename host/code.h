/* Where Lua runs: the text of LuaJIT and the machine code that it has made.
 *
 * The build copies Debian's libluajit-5.1.a with its text in a section of its own and its calls of
 * mmap, munmap, mprotect and the unwinder's frame registration redirected to here. So the host
 * knows which program counters belong to Lua, and can give the machine code of a state back that
 * cannot be closed any more. Thread: any, each for the states that it made and runs itself;
 * code_is_lua also from its signal handlers. What other states do is passed through: their
 * code_owner is NULL. */
#ifndef CODE_H
#define CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whose machine code this thread makes and frees from now on: set by vm.c and worker.c around
 * whatever they call of LuaJIT, NULL outside of that. */
extern _Thread_local const void *code_owner;

/* Whether the instruction belongs to LuaJIT itself, to its allocator (arena.c), or to machine code
 * of an owner of this thread. */
bool code_is_lua(uintptr_t pc);
/* Gives all areas of an owner back. Nothing of it may run or be unwound through any more. */
void code_release(const void *owner);

/* What LuaJIT calls in place of libc and libgcc. */
void *code_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int code_munmap(void *at, size_t bytes);
int code_mprotect(void *at, size_t bytes, int protection);
void code_register_frame(void *frame);
void code_deregister_frame(void *frame);

#endif
