/* The Lua heap: an allocator inside one reserved address range, so that the heap of a state that
 * cannot be closed any more can be given back as a whole.
 *
 * Lua tells the size of what it frees, so blocks carry no header. Small sizes (to 2 KiB) are cut
 * from 64 KiB slabs into classes of 16 bytes; larger ones come in classes of powers of two with
 * three steps between, straight from the range. Free blocks are kept per class.
 *
 * A limit below the range is only told: LuaJIT of 2022 cannot raise an error for a NULL inside
 * compiled code, so the block is given all the same and somebody stops the script. It is told
 * again for every 4 MiB more, as ARENA_FAR from ARENA_FAR_FACTOR times the limit on, and before
 * the answer is NULL at the end of the range: one call of C, like a gsub, may ask for any size. */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum { ARENA_SMALL_CLASSES = 128, ARENA_LARGE_CLASSES = 128 };
/* A table or buffer that doubles holds the old block beside the new one. */
enum { ARENA_FAR_FACTOR = 4 };

typedef enum { ARENA_AT_LIMIT, ARENA_FAR } arena_alarm_t;

typedef struct {
    char *base;
    size_t reserve_bytes, top_bytes; /* top: first byte never handed out */
    size_t used_bytes;               /* in live blocks */
    size_t limit_bytes;              /* of used_bytes; 0: none */
    size_t alarm_bytes;              /* of used_bytes, for the next alarm; at first the limit */
    bool strict;                     /* the limit holds now */
    bool reached;                    /* it was reached */
    /* Inside the allocator: takes note, or leaves the slice. */
    void (*on_limit)(void *context, arena_alarm_t how);
    void *context;
    void *small[ARENA_SMALL_CLASSES]; /* free blocks, linked through their first word */
    void *large[ARENA_LARGE_CLASSES];
    char *slab;
    size_t slab_left;
} arena_t;

/* 0, or -1 when the address space is not to be had. */
int arena_init(arena_t *arena, size_t reserve_bytes);
void arena_fini(arena_t *arena);
/* A lua_Alloc; `arena` is its ud. */
void *arena_realloc(void *arena, void *block, size_t old_bytes, size_t new_bytes);
/* 0: none. */
void arena_set_limit(arena_t *arena, size_t limit_bytes);
/* Whether its addresses come to an end: a block is used again only by one of about its size. */
static inline bool arena_is_spent(const arena_t *arena) {
    return arena->top_bytes > arena->reserve_bytes / 4 * 3;
}
/* Forgets that the limit was reached. */
void arena_rearm(arena_t *arena);

#endif
