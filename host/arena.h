/* The Lua heap: an allocator inside one reserved address range, so that the heap of a state that
 * cannot be closed any more can be given back as a whole.
 *
 * Lua tells the size of what it frees, so blocks carry no header. Small sizes (to 2 KiB) are cut
 * from 64 KiB slabs into classes of 16 bytes; larger ones come in classes of powers of two with
 * three steps between, straight from the range. Free blocks are kept per class.
 *
 * The range is the last limit; a lower one may hold for scripts, so that the host's own code always
 * finds memory. */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { ARENA_SMALL_CLASSES = 128, ARENA_LARGE_CLASSES = 128 };

typedef struct {
    char *base;
    size_t reserve_bytes, top_bytes;  /* top: first byte never handed out */
    size_t used_bytes;                /* in live blocks */
    size_t limit_bytes;               /* of used_bytes while `strict`: NULL beyond it. 0: none */
    bool strict;
    bool refused; /* it was reached; there is a little more then, for the error to be handled */
    void *small[ARENA_SMALL_CLASSES]; /* free blocks, linked through their first word */
    void *large[ARENA_LARGE_CLASSES];
    char *slab;
    size_t slab_left;
} arena_t;

/* 0, or -1 when the address space is not to be had. */
int arena_init(arena_t *arena, size_t reserve_bytes);
void arena_fini(arena_t *arena);
/* A lua_Alloc; `arena` is its ud. Answers NULL when the range is full or the limit is reached. */
void *arena_realloc(void *arena, void *block, size_t old_bytes, size_t new_bytes);

#endif
