#include "arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { SMALL_MAX_BYTES = 2048, SLAB_BYTES = 65536 };
#define KEEP_MAX_BYTES ((size_t)1 << 20)
#define GRACE_BYTES ((size_t)4 << 20) /* beyond the limit, once it was reached */

int arena_init(arena_t *arena, size_t reserve_bytes) {
    *arena = (arena_t){.reserve_bytes = reserve_bytes};
    void *base = mmap(NULL, reserve_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) { return -1; }
    arena->base = base;
    return 0;
}

void arena_fini(arena_t *arena) {
    if (arena->base != NULL) { (void)munmap(arena->base, arena->reserve_bytes); }
    *arena = (arena_t){0};
}

static void *bump(arena_t *arena, size_t bytes) {
    if (arena->top_bytes + bytes > arena->reserve_bytes) { return NULL; }
    char *block = arena->base + arena->top_bytes;
    arena->top_bytes += bytes;
    return block;
}

/* Class of a large size; *bytes becomes the class's size. */
static unsigned large_class(size_t *bytes) {
    size_t base = SMALL_MAX_BYTES;
    unsigned class = 0;
    while (base * 2 < *bytes) {
        base *= 2;
        class += 4;
    }
    size_t steps = (*bytes - base + base / 4 - 1) / (base / 4);
    *bytes = base + base / 4 * steps;
    return class + (unsigned)steps;
}

static void *pop(void **list) {
    void *block = *list;
    if (block != NULL) { memcpy(list, block, sizeof *list); }
    return block;
}

static void push(void **list, void *block) {
    memcpy(block, list, sizeof *list);
    *list = block;
}

static bool within_limit(arena_t *arena, size_t bytes) {
    if (!arena->strict || arena->limit_bytes == 0) { return true; }
    size_t limit = arena->limit_bytes + (arena->refused ? GRACE_BYTES : 0);
    if (arena->used_bytes + bytes <= limit) { return true; }
    arena->refused = true;
    return false;
}

static void *allocate(arena_t *arena, size_t bytes) {
    void *block = NULL;
    if (!within_limit(arena, bytes)) { return NULL; }
    if (bytes <= SMALL_MAX_BYTES) {
        size_t rounded = (bytes + 15) & ~(size_t)15;
        block = pop(&arena->small[rounded / 16 - 1]);
        if (block == NULL && arena->slab_left < rounded) {
            arena->slab = bump(arena, SLAB_BYTES);
            arena->slab_left = arena->slab == NULL ? 0 : SLAB_BYTES;
        }
        if (block == NULL && arena->slab_left >= rounded) {
            block = arena->slab;
            arena->slab += rounded;
            arena->slab_left -= rounded;
        }
        if (block != NULL) { arena->used_bytes += rounded; }
        return block;
    }
    size_t rounded = bytes;
    unsigned class = large_class(&rounded);
    block = pop(&arena->large[class]);
    if (block == NULL) { block = bump(arena, (rounded + 15) & ~(size_t)15); }
    if (block != NULL) { arena->used_bytes += rounded; }
    return block;
}

static void release(arena_t *arena, void *block, size_t bytes) {
    if (bytes <= SMALL_MAX_BYTES) {
        size_t rounded = (bytes + 15) & ~(size_t)15;
        arena->used_bytes -= rounded;
        push(&arena->small[rounded / 16 - 1], block);
        return;
    }
    size_t rounded = bytes;
    unsigned class = large_class(&rounded);
    arena->used_bytes -= rounded;
    if (rounded > KEEP_MAX_BYTES) { /* give the pages back, keep the addresses */
        uintptr_t from = ((uintptr_t)block + 4095) & ~(uintptr_t)4095;
        uintptr_t to = ((uintptr_t)block + rounded) & ~(uintptr_t)4095;
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    push(&arena->large[class], block);
}

static size_t rounded_size(size_t bytes) {
    if (bytes <= SMALL_MAX_BYTES) { return (bytes + 15) & ~(size_t)15; }
    (void)large_class(&bytes);
    return bytes;
}

void *arena_realloc(void *ud, void *block, size_t old_bytes, size_t new_bytes) {
    arena_t *arena = ud;
    if (new_bytes == 0) {
        if (block != NULL && old_bytes > 0) { release(arena, block, old_bytes); }
        return NULL;
    }
    if (block == NULL || old_bytes == 0) { return allocate(arena, new_bytes); }
    if (rounded_size(old_bytes) == rounded_size(new_bytes)) { return block; }
    void *moved = allocate(arena, new_bytes);
    if (moved == NULL) { return new_bytes < old_bytes ? block : NULL; }
    memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    release(arena, block, old_bytes);
    return moved;
}
