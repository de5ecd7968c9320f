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
#define PAGE_BYTES ((size_t)4096)
#define HOLE_MIN_BYTES ((size_t)64 << 10)  /* smaller blocks keep their memory */
#define FREE_KEEP_BYTES ((size_t)16 << 20) /* so much is kept in free blocks */
#define HOLE ((uint64_t)1)

void *ecs__grow(void *array, uint32_t *capacity, uint32_t items, size_t item_bytes) {
    uint64_t want = *capacity < ECS__ARRAY_MIN ? ECS__ARRAY_MIN : (uint64_t)*capacity * 2;
    while (want < items) {
        want *= 2;
    }
    if (want > UINT32_MAX) { want = UINT32_MAX; }
    void *grown = realloc(array, want * item_bytes);
    if (grown != NULL) { *capacity = (uint32_t)want; }
    return grown;
}

void *ecs__calloc(size_t count, size_t item_bytes) {
    return calloc(count == 0 ? 1 : count, item_bytes == 0 ? 1 : item_bytes);
}

char *ecs__strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = ecs__calloc(bytes, 1);
    return copy == NULL ? NULL : memcpy(copy, text, bytes);
}

/* Makes the file long enough. fallocate, so that a full machine is an error and no SIGBUS. */
static int commit(ecs__memory_t *memory, size_t bytes) {
    if (bytes <= memory->committed_bytes) { return ECS_OK; }
    if (bytes > memory->reserve_bytes) { return ECS_E_MEMORY; }
    size_t step = memory->committed_bytes;
    step = step < GROW_BYTES ? GROW_BYTES : step > GROW_MAX_BYTES ? GROW_MAX_BYTES : step;
    size_t want = ecs__align(bytes, PAGE_BYTES);
    if (want < memory->committed_bytes + step) { want = memory->committed_bytes + step; }
    if (want > memory->reserve_bytes) { want = memory->reserve_bytes; }
    if (fallocate(memory->fd, 0, (off_t)memory->committed_bytes,
                  (off_t)(want - memory->committed_bytes)) != 0) {
        return ECS_E_MEMORY;
    }
    memory->committed_bytes = want;
    return ECS_OK;
}

int ecs__memory_init(ecs__memory_t *memory, const ecs_options_t *options) {
    size_t reserve_bytes = options->reserve_bytes == 0 ? 4 * GIB : options->reserve_bytes;
    *memory = (ecs__memory_t){.fd = -1, .preallocated = options->max_bytes > 0};
    if (memory->preallocated) { reserve_bytes = options->max_bytes; }
    memory->reserve_bytes = ecs__align(reserve_bytes, PAGE_BYTES);
    memory->fd = memfd_create("stator-world", MFD_CLOEXEC);
    if (memory->fd < 0) { return ECS_E_MEMORY; }
    int rc = ecs__maps_init(&memory->maps, memory->fd, memory->reserve_bytes, options->walls);
    if (rc == ECS_OK && memory->preallocated) { rc = commit(memory, memory->reserve_bytes); }
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

/* The newest free block; one without memory gets it back. */
static int take_free(ecs__memory_t *memory, ecs__free_list_t *list, size_t got, uint64_t *offset) {
    *offset = list->offset[list->count - 1];
    if (list->count > list->holes) {
        memory->free_bytes -= got;
    } else if (fallocate(memory->fd, 0, (off_t)*offset, (off_t)got) == 0) {
        list->holes--;
    } else {
        return ECS_E_MEMORY;
    }
    list->count--;
    return ECS_OK;
}

int ecs__block_alloc(ecs__memory_t *memory, size_t bytes, uint64_t *offset, size_t *got) {
    uint32_t class = class_of(bytes, got);
    if (class >= ECS__BLOCK_CLASSES) { return ECS_E_MEMORY; }
    ecs__free_list_t *list = &memory->free[class];
    if (list->count > 0) { return take_free(memory, list, *got, offset); }
    if (!ECS__ROOM(list->offset, list->blocks + 1, list->capacity)) { return ECS_E_MEMORY; }
    int rc = commit(memory, memory->used_bytes + *got);
    if (rc != ECS_OK) { return rc; }
    *offset = memory->used_bytes;
    memory->used_bytes += *got;
    list->blocks++;
    return ECS_OK;
}

void ecs__block_free(ecs__memory_t *memory, uint64_t offset, size_t got) {
    size_t same = 0;
    ecs__free_list_t *list = &memory->free[class_of(got, &same)];
    list->offset[list->count++] = offset;
    memory->free_bytes += got;
}

/* Bytes of a block of the class. */
static size_t class_bytes(uint32_t class) {
    size_t base = (size_t)MIN_BLOCK_BYTES << class / 4;
    return base + base / 4 * (class % 4);
}

/* What was made ahead and never handed out. */
static void trim_tail(ecs__memory_t *memory) {
    size_t from = ecs__align(memory->used_bytes, PAGE_BYTES);
    if (from < memory->committed_bytes && ftruncate(memory->fd, (off_t)from) == 0) {
        memory->committed_bytes = from;
    }
}

void ecs__memory_trim(ecs__memory_t *memory, size_t keep_bytes) {
    if (memory->preallocated) { return; }
    if (keep_bytes == 0) { trim_tail(memory); }
    for (uint32_t class = ECS__BLOCK_CLASSES; class -- > 0;) {
        ecs__free_list_t *list = &memory->free[class];
        size_t bytes = list->count == list->holes ? 0 : class_bytes(class);
        for (; memory->free_bytes > keep_bytes && list->holes < list->count; list->holes++) {
            uint64_t oldest = list->offset[list->holes];
            if (bytes < HOLE_MIN_BYTES ||
                fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)oldest,
                          (off_t)bytes) != 0) {
                break;
            }
            memory->free_bytes -= bytes;
        }
    }
}

void ecs__memory_trim_some(ecs__memory_t *memory) {
    if (memory->free_bytes <= FREE_KEEP_BYTES) { return; }
    ecs__memory_trim(memory, memory->free_bytes - (memory->free_bytes - FREE_KEEP_BYTES) / 16);
}
