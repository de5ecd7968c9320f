/* Types of what is recorded, and of an apply in progress. */
#ifndef ECS_STREAM_H
#define ECS_STREAM_H

#include <assert.h>
#include <stddef.h>

#include "storage.h"

/* ---- commands ------------------------------------------------------------------------------- */

/* 8 bytes less than 64 KiB: an offset is then never the next chunk's start. */
enum { ECS__CMD_CHUNK_BYTES = 65536 - 8, ECS__CMD_MAX_CHUNKS = 1 << 16 };

/* Followed by the payload: the component for INSERT, SET, ADD and EXPECT; ecs__spawn_t for SPAWN
 * when it has a parent or a name (component is 1 then); ecs__bulk_t for SPAWN_MANY. */
typedef struct {
    uint8_t op, flags;
    uint16_t component;
    uint32_t next; /* position of the entity's next command, 0 for none */
    double id;
    uint64_t fields; /* SET and ADD: mask of the fields; the upper 16 bits: the place */
} ecs__cmd_t;
/* Scripts write the same as an ecs_command_t, on a little-endian machine. */
static_assert(sizeof(ecs__cmd_t) == sizeof(ecs_command_t) && offsetof(ecs__cmd_t, component) == 2 &&
                  offsetof(ecs__cmd_t, next) == offsetof(ecs_command_t, next) &&
                  offsetof(ecs__cmd_t, id) == offsetof(ecs_command_t, id) &&
                  offsetof(ecs__cmd_t, fields) == offsetof(ecs_command_t, fields),
              "a command's two faces");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "places and masks are read as one number");

enum { ECS__PLACE_SHIFT = 48 };
#define ECS__FIELD_MASK (((uint64_t)1 << ECS__PLACE_SHIFT) - 1)
static inline uint32_t ecs__cmd_place(const ecs__cmd_t *cmd) {
    return (uint32_t)(cmd->fields >> ECS__PLACE_SHIFT);
}

typedef struct {
    double parent;
    char name[ECS_NAME_BYTES];
} ecs__spawn_t;

/* Memory of a bulk spawn. */
typedef struct {
    char *at; /* 64-byte aligned */
    size_t bytes;
} ecs__block_t;

/* A bulk spawn. The block holds the ids, then each column, every part 64-byte aligned. */
typedef struct {
    char *block;
    uint32_t count, component_count;
    uint32_t components[ECS_MAX_TERMS];
    uint32_t archetype; /* they go to, once validated, */
    uint32_t base;      /* place of its first row among all coming ones, which records hold, */
    uint32_t place;     /* and where it was recorded, by whom */
    uint64_t owner;
} ecs__bulk_t;

/* Where a command lies: chunk << 13 | offset / 8, plus 1 so that 0 means none. */
typedef uint32_t ecs__pos_t;

typedef struct {
    uint64_t owner;
    ecs__pos_t first, end;
    uint32_t spawned;   /* length of the stream's list before it */
    ecs__pos_t expects; /* behind its first expectation; 0: it has none */
} ecs__batch_t;

/* A rollback of the open batch: the so-many'th, to that place. */
typedef struct {
    uint32_t number;
    ecs__pos_t at;
} ecs__cut_t;

/* Ids that one command has reserved: those of a bulk spawn, or the one. */
typedef struct {
    const ecs_id_t *many;
    ecs_id_t one;
    uint32_t count;
    ecs__pos_t at;
} ecs__spawned_t;

typedef struct {
    char **chunks;
    uint32_t *chunk_end; /* used bytes of each */
    uint32_t chunk_count, chunk_capacity;
    uint32_t at_chunk; /* that is written to; where in it: ecs_world.recorder */
    ecs__batch_t *batches;
    uint32_t batch_count, batch_capacity;
    ecs__spawned_t *spawned; /* in order of their commands */
    uint32_t spawned_count, spawned_capacity;
    ecs__block_t *blocks; /* of bulk spawns */
    uint32_t block_count, block_capacity;
    bool open;
    uint8_t flags;
    uint16_t place;
    ecs__batch_t current;
    ecs__cut_t *cuts; /* those that end marks; each lies behind the ones before it */
    uint32_t cut_count, cut_capacity, cut_number;
} ecs__stream_t;

/* An entity that the apply in progress concerns. */
typedef struct {
    ecs_id_t id;     /* 0: nothing to do */
    uint32_t before; /* archetype before the apply; ECS__RESERVED for a spawn */
    uint32_t after;  /* archetype so far */
    ecs__pos_t first, last;
    ecs__pos_t dead_at; /* 0: it exists so far; the command that despawns it; ECS__NONE: not yet */
    uint32_t batch;     /* one that concerns it, most likely the last */
} ecs__touched_t;

#define ECS__MAX_EVENTS (1u << 26)

static inline bool ecs__exists(const ecs__touched_t *entry) { return entry->dead_at == 0; }

#endif
