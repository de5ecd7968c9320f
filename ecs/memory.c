#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define GIB ((size_t)1 << 30)
#define MIN_BLOCK_BYTES 1024u
#define GROW_BYTES ((size_t)1 << 20)
#define GROW_MAX_BYTES ((size_t)64 << 20)

void *ecs__grow(void *array, uint32_t *capacity, size_t item_bytes) {
    uint32_t want = *capacity < ECS__ARRAY_MIN ? ECS__ARRAY_MIN : *capacity * 2;
    void *grown = realloc(array, want * item_bytes);
    if (grown == NULL) {
        (void)fprintf(stderr, "stator: out of memory (%zu bytes)\n", want * item_bytes);
        abort();
    }
    *capacity = want;
    return grown;
}

void *ecs__calloc(size_t count, size_t item_bytes) {
    void *memory = calloc(count == 0 ? 1 : count, item_bytes);
    if (memory == NULL) {
        (void)fprintf(stderr, "stator: out of memory (%zu bytes)\n", count * item_bytes);
        abort();
    }
    return memory;
}

char *ecs__strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    return memcpy(ecs__calloc(bytes, 1), text, bytes);
}

int ecs__memory_init(ecs__memory_t *memory, size_t reserve_bytes, uint32_t walls) {
    *memory = (ecs__memory_t){.fd = -1};
    memory->reserve_bytes = ecs__align(reserve_bytes == 0 ? 4 * GIB : reserve_bytes, 4096);
    memory->fd = memfd_create("stator-world", MFD_CLOEXEC);
    if (memory->fd < 0) { return ECS_E_MEMORY; }
    int rc = ecs__maps_init(&memory->maps, memory->fd, memory->reserve_bytes, walls);
    if (rc != ECS_OK) { ecs__memory_fini(memory); }
    return rc;
}

void ecs__memory_fini(ecs__memory_t *memory) {
    ecs__maps_fini(&memory->maps);
    for (size_t i = 0; i < ECS__BLOCK_CLASSES; i++) {
        free(memory->free[i].offset);
    }
    if (memory->fd >= 0) { (void)close(memory->fd); }
    *memory = (ecs__memory_t){.fd = -1};
}

/* Classes are powers of two with three steps between them: 1024, 1280, 1536, 1792, 2048, ... */
static uint32_t class_of(size_t bytes, size_t *got) {
    size_t base = MIN_BLOCK_BYTES;
    uint32_t class = 0;
    while (base * 2 <= bytes) {
        base *= 2;
        class += 4;
    }
    for (size_t step = 0; step < 4; step++, class ++) {
        if (bytes <= base + base / 4 * step) {
            *got = base + base / 4 * step;
            return class;
        }
    }
    *got = base * 2;
    return class;
}

/* Makes the file long enough. fallocate, so that a full machine is an error and no SIGBUS. */
static int commit(ecs__memory_t *memory, size_t bytes) {
    if (bytes <= memory->committed_bytes) { return ECS_OK; }
    if (bytes > memory->reserve_bytes) { return ECS_E_MEMORY; }
    size_t step = memory->committed_bytes;
    step = step < GROW_BYTES ? GROW_BYTES : step > GROW_MAX_BYTES ? GROW_MAX_BYTES : step;
    size_t want = ecs__align(bytes, 4096);
    if (want < memory->committed_bytes + step) { want = memory->committed_bytes + step; }
    if (want > memory->reserve_bytes) { want = memory->reserve_bytes; }
    if (fallocate(memory->fd, 0, (off_t)memory->committed_bytes,
                  (off_t)(want - memory->committed_bytes)) != 0) {
        return ECS_E_MEMORY;
    }
    memory->committed_bytes = want;
    return ECS_OK;
}

int ecs__block_alloc(ecs__memory_t *memory, size_t bytes, uint64_t *offset, size_t *got) {
    uint32_t class = class_of(bytes, got);
    if (class >= ECS__BLOCK_CLASSES) { return ECS_E_MEMORY; }
    ecs__free_list_t *list = &memory->free[class];
    if (list->count > 0) {
        *offset = list->offset[--list->count];
        return ECS_OK;
    }
    int rc = commit(memory, memory->used_bytes + *got);
    if (rc != ECS_OK) { return rc; }
    *offset = memory->used_bytes;
    memory->used_bytes += *got;
    return ECS_OK;
}

void ecs__block_free(ecs__memory_t *memory, uint64_t offset, size_t got) {
    size_t same = 0;
    ecs__free_list_t *list = &memory->free[class_of(got, &same)];
    *ECS__PUSH(list->offset, list->count, list->capacity) = offset;
}
