#include "arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* A slice may be left in the middle of these as in the middle of LuaJIT, whose allocator they are:
 * the whole arena goes with its state. */
#define WITH_LUA __attribute__((section("luajit_text")))

enum { SMALL_MAX_BYTES = 2048, SLAB_BYTES = 65536 };
#define KEEP_MAX_BYTES ((size_t)1 << 20)
#define ALARM_STEP_BYTES ((size_t)4 << 20)

int arena_init(arena_t *arena, size_t reserve_bytes) {
    *arena = (arena_t){.reserve_bytes = reserve_bytes, .alarm_bytes = SIZE_MAX};
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

WITH_LUA static void *bump(arena_t *arena, size_t bytes) {
    if (bytes > arena->reserve_bytes - arena->top_bytes) {
        if (arena->strict && arena->on_limit != NULL) {
            arena->on_limit(arena->context, ARENA_FAR);
        }
        return NULL;
    }
    char *block = arena->base + arena->top_bytes;
    arena->top_bytes += bytes;
    return block;
}

/* Class of a large size; *bytes becomes the class's size. */
WITH_LUA static unsigned large_class(size_t *bytes) {
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

WITH_LUA static void *pop(void **list) {
    void *block = *list;
    if (block != NULL) { memcpy(list, block, sizeof *list); }
    return block;
}

WITH_LUA static void push(void **list, void *block) {
    memcpy(block, list, sizeof *list);
    *list = block;
}

void arena_rearm(arena_t *arena) {
    arena->reached = false;
    arena->alarm_bytes = arena->limit_bytes == 0 ? SIZE_MAX : arena->limit_bytes;
}

void arena_set_limit(arena_t *arena, size_t limit_bytes) {
    arena->limit_bytes = limit_bytes;
    arena_rearm(arena);
}

WITH_LUA static void alarm_limit(arena_t *arena, size_t bytes) {
    size_t used_bytes = arena->used_bytes + bytes;
    bool far = used_bytes / ARENA_FAR_FACTOR > arena->limit_bytes;
    arena->reached = true;
    arena->alarm_bytes = used_bytes + ALARM_STEP_BYTES;
    if (arena->on_limit != NULL) {
        arena->on_limit(arena->context, far ? ARENA_FAR : ARENA_AT_LIMIT);
    }
}

WITH_LUA static void *allocate(arena_t *arena, size_t bytes) {
    void *block = NULL;
    if (arena->strict && arena->used_bytes + bytes > arena->alarm_bytes) {
        alarm_limit(arena, bytes);
    }
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

WITH_LUA static void release(arena_t *arena, void *block, size_t bytes) {
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

WITH_LUA static size_t rounded_size(size_t bytes) {
    if (bytes <= SMALL_MAX_BYTES) { return (bytes + 15) & ~(size_t)15; }
    (void)large_class(&bytes);
    return bytes;
}

WITH_LUA void *arena_realloc(void *ud, void *block, size_t old_bytes, size_t new_bytes) {
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
