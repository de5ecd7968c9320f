/* The format of a snapshot, as the writer and the reader share it. Layout: README.md. */
#ifndef ECS_SNAPSHOT_H
#define ECS_SNAPSHOT_H

#include <string.h>

#include "checksum.h"
#include "internal.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "snapshots hold columns as they lie in memory: little endian"
#endif

/* The last bytes are lost where a transfer takes the file for text. */
#define ECS__SNAPSHOT_MAGIC "ECS\x89\r\n\x1a\n"

enum {
    ECS__SNAPSHOT_VERSION = 1,
    ECS__SNAPSHOT_HEAD_BYTES = 32, /* magic, version, sections, bytes of the whole, checksum */
    ECS__SECTION_HEAD_BYTES = 16,  /* tag, bytes of the content */
    ECS__SECTION_TAG_BYTES = 8,
    ECS__CHECKSUM_BYTES = 8,
    ECS__SNAPSHOT_MAX_ARCHETYPES = 1 << 16
};

/* In this order. */
enum {
    ECS__SECTION_SCHEMA,
    ECS__SECTION_SLOTS,
    ECS__SECTION_ARCHETYPES,
    ECS__SECTION_ROWS,
    ECS__SECTION_SPARSE,
    ECS__SECTION_TREE,
    ECS__SECTION_COUNT
};
extern const char ECS__SECTION_TAGS[ECS__SECTION_COUNT][ECS__SECTION_TAG_BYTES + 1];

/* Bytes that are still to be read. */
typedef struct {
    const char *at, *end;
    const char *name;
} ecs__part_t;

typedef struct {
    uint32_t component_count, row_count, chunk_count;
    uint32_t first_capacity; /* of the first chunk; the others are whole */
    uint32_t chunk_rows;
    uint32_t column_count;
    const char *components; /* uint32_t each: indexes in the snapshot's schema, ascending */
} ecs__restore_archetype_t;

/* A snapshot that is being read. Borrows the bytes. */
typedef struct {
    ecs_world_t *world;
    ecs__part_t sections[ECS__SECTION_COUNT];
    uint32_t *enums, enum_count;           /* the world's number of each */
    uint32_t *components, component_count; /* the same */
    uint64_t tick;
    uint32_t slot_count, free_count, retired_count;
    const char *generations, *free_list; /* uint32_t each */
    uint8_t *states;                     /* of each slot, while checking */
    uint32_t *parents;                   /* of each slot, slot + 1, while checking */
    ecs__restore_archetype_t *archetypes;
    uint32_t archetype_count;
} ecs__restore_t;

/* Reads all of a snapshot and finds every reason to refuse it but three that show while building:
 * an archetype twice, a name twice among siblings, not enough memory. */
int ecs__restore_check(ecs__restore_t *restore, const void *bytes, size_t length);
/* The part of it that concerns the schema. */
int ecs__restore_check_schema(ecs__restore_t *restore);
/* Accepts a zeroed one. */
void ecs__restore_fini(ecs__restore_t *restore);
int ecs__restore_refuse(const ecs__restore_t *restore, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The next bytes of a part, or NULL when there are not so many. */
const char *ecs__part_take(ecs__part_t *part, uint64_t bytes);

static inline uint32_t ecs__u32_at(const char *from, size_t index) {
    uint32_t value;
    memcpy(&value, from + index * sizeof value, sizeof value);
    return value;
}
static inline uint64_t ecs__u64_at(const char *from, size_t index) {
    uint64_t value;
    memcpy(&value, from + index * sizeof value, sizeof value);
    return value;
}

#endif
