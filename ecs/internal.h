/* What the files of the core share. Reading order: maps, memory, schema, declare, value, entity,
 * archetype, hierarchy, query, command, apply, observe, migrate, check. */
#ifndef ECS_INTERNAL_H
#define ECS_INTERNAL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "ecs.h"

#define ECS__NONE 0xffffffffu
#define ECS__ARRAY_MIN 16

/* Grows `array` (count used, capacity field) so that one more fits. Ends the process when memory
 * is out. */
#define ECS__PUSH(array, count, capacity)                                                          \
    (((count) < (capacity) ? (void)0                                                               \
                           : (void)((array) = ecs__grow((array), &(capacity), sizeof *(array)))),  \
     &(array)[(count)++])

void *ecs__grow(void *array, uint32_t *capacity, size_t item_bytes);
void *ecs__calloc(size_t count, size_t item_bytes);
char *ecs__strdup(const char *text);

/* ---- maps: the memfd as the core, readers and writers see it --------------------------------- */

enum { ECS__MAX_FIXES = 64 };

/* Address ranges of one size, one of which holds the map. */
typedef struct {
    char *base, *map;
    size_t slot_bytes;
    uint32_t slots, at;
    int protection;
    bool is_private;
    char *reserved;
    size_t reserved_bytes;
} ecs__ring_t;

typedef struct {
    char *page;
    bool poison;
} ecs__fix_t;

typedef struct {
    int fd; /* borrowed */
    size_t bytes;
    uint32_t walls; /* ECS_WALL_* in force */
    int move_errno; /* why moving ended */
    char *core;
    ecs__ring_t view, window;
    bool view_out;   /* readers got references since the view last moved, */
    bool view_stale; /* and something was written after that */
    bool window_out; /* writers got references in this write phase */
    uint64_t moves;
    ecs__fix_t fixes[ECS__MAX_FIXES];
    uint32_t fix_count;
} ecs__maps_t;

int ecs__maps_init(ecs__maps_t *maps, int fd, size_t bytes, uint32_t walls);
void ecs__maps_fini(ecs__maps_t *maps);
/* After something was written. */
static inline void ecs__views_stale(ecs__maps_t *maps) {
    if (maps->view_out) { maps->view_stale = true; }
}
/* Before a reference into the window is handed out. */
void ecs__window_open(ecs__maps_t *maps);
/* At the end of a write phase. */
void ecs__window_close(ecs_world_t *world);

/* ---- memory: the memfd and blocks in size classes of it -------------------------------------- */

enum { ECS__BLOCK_CLASSES = 128 };

typedef struct {
    uint64_t *offset;
    uint32_t count, capacity;
} ecs__free_list_t;

typedef struct {
    int fd;
    size_t reserve_bytes;   /* size of each map */
    size_t committed_bytes; /* of the file */
    size_t used_bytes;      /* handed out from the front of the file */
    ecs__maps_t maps;
    ecs__free_list_t free[ECS__BLOCK_CLASSES];
} ecs__memory_t;

int ecs__memory_init(ecs__memory_t *memory, size_t reserve_bytes, uint32_t walls);
void ecs__memory_fini(ecs__memory_t *memory);
/* A block of at least `bytes`, 64-byte aligned, not cleared. *got is its real size. */
int ecs__block_alloc(ecs__memory_t *memory, size_t bytes, uint64_t *offset, size_t *got);
void ecs__block_free(ecs__memory_t *memory, uint64_t offset, size_t got);

/* ---- schema --------------------------------------------------------------------------------- */

typedef struct {
    char name[ECS_NAME_BYTES];
    char **members;
    uint32_t count;
} ecs__enum_t;

/* A component; a struct type is laid out the same way. */
typedef struct {
    char name[ECS_NAME_BYTES];
    ecs_field_t *fields;
    uint32_t field_count;
    uint32_t size_bytes;
    uint32_t align_bytes;
    void *default_value;
    uint32_t depth;   /* of structs: 1 when no field is one */
    uint8_t observed; /* bit per ECS_EVENT_* kind */
} ecs__component_t;

/* ---- entities ------------------------------------------------------------------------------- */

enum { ECS__PAGE_ROWS = 4096, ECS__MAX_PAGES = 1u << 16, ECS__MAX_GENERATION = (1u << 20) - 1 };
#define ECS__FREE 0xffffffffu     /* record.archetype of a slot in the free list */
#define ECS__RESERVED 0xfffffffeu /* of an id that a recorded spawn has taken */
#define ECS__RETIRED 0xfffffffdu  /* of a slot whose generation would have wrapped */

typedef struct {
    uint32_t generation;
    uint32_t archetype;
    uint32_t row;     /* in the archetype; next free slot while free */
    uint32_t scratch; /* during an apply: index + 1 of the entity's entry in touched */
} ecs__record_t;

/* Place of an entity in the tree. Links are slot indexes + 1, 0 for none. */
typedef struct {
    uint32_t parent, first, last, prev, next;
    char *name;
} ecs__node_t;

typedef struct {
    ecs__record_t record[ECS__PAGE_ROWS];
    ecs__node_t *nodes; /* made when a slot of the page first has a parent, child or name */
} ecs__page_t;

/* ---- archetypes ----------------------------------------------------------------------------- */

/* Block layout: ids (double) first, then each column, every part 64-byte aligned.
 *
 *   offset ─▶ │ id id id ... │ column 0 ...... │ column 1 ...... │
 */
typedef struct {
    uint32_t count, capacity;
    uint64_t block_offset;
    size_t block_bytes;
    uint32_t *column_offset; /* from the block's start, one per column */
    uint64_t *changed;       /* tick of the last write, one per column */
    uint64_t *added;         /* tick at which a row last came, one per column */
} ecs__chunk_t;

typedef struct {
    uint32_t component;
    uint32_t size_bytes; /* 0: tag, no column */
    uint32_t column;     /* ECS__NONE for a tag */
} ecs__slot_t;

typedef struct {
    uint32_t index;
    uint32_t slot_count, column_count;
    ecs__slot_t *slots; /* sorted by component */
    uint32_t *slot_of;  /* component -> slot or ECS__NONE; component_count at creation long */
    uint32_t slot_of_len;
    uint32_t row_bytes;
    uint32_t chunk_rows; /* rows of a whole chunk, a power of two */
    uint32_t chunk_shift;
    ecs__chunk_t **chunks;
    uint32_t chunk_count, chunk_capacity;
    uint32_t row_count;
    uint32_t *edge_add, *edge_remove; /* component -> archetype or ECS__NONE, made on demand */
    uint32_t edge_len;
} ecs__archetype_t;

struct ecs_query {
    ecs_world_t *world;
    ecs_query_desc_t desc;
    uint32_t columns[ECS_MAX_TERMS]; /* write, read, maybe: components in order of the boxes */
    uint32_t column_count;
    const ecs__archetype_t **archetypes;
    uint32_t archetype_count, archetype_capacity;
    uint32_t *places; /* column_count for each of them: its column there, ECS__NONE if absent */
    uint32_t place_count, place_capacity;
    ecs_cursor_t *free_cursor;
    ecs_cursor_t **cursors; /* all ever made, for the end */
    uint32_t cursor_count, cursor_capacity;
};

/* ---- commands ------------------------------------------------------------------------------- */

/* 8 bytes less than 64 KiB: an offset is then never the next chunk's start. */
enum { ECS__CMD_CHUNK_BYTES = 65536 - 8, ECS__CMD_MAX_CHUNKS = 1 << 16 };

/* Followed by the payload: SET and ADD a uint64_t field mask and the component, INSERT and EXPECT
 * the component, SPAWN a parent id and a name when it has either. */
typedef struct {
    uint8_t op, flags;
    uint16_t component;
    uint32_t next; /* position of the entity's next command, 0 for none */
    double id;
} ecs__cmd_t;

typedef struct {
    double parent;
    char name[ECS_NAME_BYTES];
} ecs__spawn_t;

/* Where a command lies: chunk << 13 | offset / 8, plus 1 so that 0 means none. */
typedef uint32_t ecs__pos_t;

typedef struct {
    uint64_t owner;
    ecs__pos_t first, end;
    uint32_t reserved; /* ids it reserved */
} ecs__batch_t;

typedef struct {
    char **chunks;
    uint32_t *chunk_end; /* used bytes of each */
    uint32_t chunk_count, chunk_capacity;
    uint32_t at_chunk, at_bytes;
    ecs__batch_t *batches;
    uint32_t batch_count, batch_capacity;
    bool open;
    uint8_t flags;
    ecs__batch_t current;
} ecs__stream_t;

/* An entity that the apply in progress concerns. */
typedef struct {
    ecs_id_t id;
    uint32_t before; /* archetype before the apply; ECS__RESERVED for a spawn */
    uint32_t after;  /* archetype so far */
    ecs__pos_t first, last;
    ecs__pos_t dead_at; /* command that despawns it, 0 while alive */
    uint64_t owner;     /* of the last batch that concerns it */
    bool exists;        /* alive so far */
} ecs__touched_t;

typedef struct {
    ecs_watch_desc_t desc;
    uint32_t id;
    uint64_t owner;
    uint64_t seen_tick;
    bool last;
    void *copy; /* CHANGED: bytes to compare with */
} ecs__watch_t;

typedef struct {
    char name[ECS_NAME_BYTES];
    uint32_t parent; /* slot + 1 */
    uint32_t index;  /* slot + 1; 0: empty; ECS__NONE: deleted */
} ecs__name_t;

struct ecs_world {
    ecs_shared_t shared;
    ecs_phase_t phase;
    pthread_t owner;
    volatile uint32_t in_core;
    void (*volatile on_leave)(void *context); /* see ecs_interrupt */
    void *volatile leave_context;
    char error[256];
    ecs__memory_t memory;
    uint32_t max_chunk_rows;

    ecs__component_t *components;
    uint32_t component_count, component_capacity;
    ecs__enum_t *enums;
    uint32_t enum_count, enum_capacity;
    ecs__component_t *structs;
    uint32_t struct_count, struct_capacity;

    ecs__page_t **pages;
    uint32_t page_count;
    uint32_t slot_count; /* slots ever used */
    uint32_t free_head, free_tail;
    ecs__name_t *names; /* open addressing */
    uint32_t name_count, name_used, name_capacity;

    ecs__archetype_t **archetypes;
    uint32_t archetype_count, archetype_capacity;
    uint32_t *archetype_table; /* open addressing by hash of the component list, index + 1 */
    uint32_t archetype_table_len;

    ecs_query_t **queries;
    uint32_t query_count, query_capacity;

    ecs__stream_t stream[2]; /* the one being recorded, the one being applied */
    uint32_t recording;      /* index in stream */
    uint64_t batches_begun;  /* tells which batch is open */
    ecs__touched_t *touched;
    uint32_t touched_count, touched_capacity;
    ecs_batch_result_t *results;
    uint32_t result_count, result_capacity;
    char expect_scratch[ECS_MAX_COMPONENT_BYTES];

    ecs_event_t *events;
    uint32_t event_count, event_capacity;
    uint32_t observed_kinds;
    ecs__watch_t *watches;
    uint32_t watch_count, watch_capacity, watch_next_id;
    ecs_watch_result_t *watch_results;
    uint32_t watch_result_count, watch_result_capacity;
    uint64_t poll_tick;
};

/* Around what must not be left half done: see ecs_interrupt. */
#define ECS__ENTER(world) ((world)->in_core++)
#define ECS__LEAVE(world) ecs__leave(world)
void ecs__left(ecs_world_t *world);

/* Notes the text of an error and returns its number. */
int ecs__fail(ecs_world_t *world, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* 0, ECS_E_THREAD or ECS_E_PHASE. `phases` is a mask of 1 << ecs_phase_t. */
int ecs__guard(ecs_world_t *world, uint32_t phases);

static inline void ecs__leave(ecs_world_t *world) {
    if (--world->in_core == 0 && world->on_leave != NULL) { ecs__left(world); }
}

static inline uint32_t ecs__index(ecs_id_t id) { return (uint32_t)(uint64_t)id; }
static inline uint32_t ecs__generation(ecs_id_t id) { return (uint32_t)((uint64_t)id >> 32); }
static inline ecs_id_t ecs__id(uint32_t index, uint32_t generation) {
    return (ecs_id_t)((uint64_t)generation << 32 | index);
}
static inline size_t ecs__align(size_t value, size_t to) { return (value + to - 1) & ~(to - 1); }

void ecs__schema_fini(ecs_world_t *world);
bool ecs__is_name(const char *text);
/* Whether a name is one of C's types or "entity". */
bool ecs__is_builtin(const char *name);
/* Name of a type that is neither an enum nor a struct. */
const char *ecs__type_name(uint32_t type);
/* Lays declared fields out as C does, with their default. On an error `made` is empty. */
int ecs__layout_init(ecs_world_t *world, ecs__component_t *made, const char *const *fields,
                     uint32_t count);
void ecs__layout_fini(ecs__component_t *layout);

static inline uint32_t ecs__element_bytes(const ecs_field_t *field) {
    return field->size_bytes / field->count;
}
static inline bool ecs__is_number(const ecs_field_t *field) {
    return field->type >= ECS_TYPE_I8 && field->type <= ECS_TYPE_F64;
}
/* One element of a number, bool, enum, entity or text as a number. */
double ecs__number_load(uint32_t type, const char *at);
/* Stores it; false, and nothing is stored, when the field's type or range does not hold it. */
bool ecs__number_store(const ecs_field_t *field, double value, char *to);
/* Shortest text that reads back as the same number; `bytes` at least 32. */
void ecs__number_text(double value, bool is_float, char *out, size_t bytes);
/* What a number, bool, enum, ... takes, in words: "a number from -40 to 150 [degC]". */
void ecs__field_wants(const ecs_world_t *world, const ecs_field_t *field, char *out, size_t bytes);
/* Notes the nearest of names as `, did you mean "x"?`, or nothing: start with {0}. */
typedef struct {
    uint32_t distance;
    char text[ECS_NAME_BYTES + 24];
} ecs__nearest_t;
void ecs__nearest(ecs__nearest_t *nearest, const char *name, const char *candidate);

/* NULL when `id` is no id of a slot that is in use with that generation (alive or reserved). */
ecs__record_t *ecs__record_find(const ecs_world_t *world, ecs_id_t id);
static inline ecs__record_t *ecs__record_at(const ecs_world_t *world, uint32_t index) {
    return &world->pages[index / ECS__PAGE_ROWS]->record[index % ECS__PAGE_ROWS];
}
static inline bool ecs__record_alive(const ecs__record_t *record) {
    return record->archetype < ECS__RETIRED;
}
/* Takes an id for a spawn that is being recorded; 0 when all slots are used. */
ecs_id_t ecs__entity_reserve(ecs_world_t *world);
/* Frees a slot, alive or reserved; its generation goes up. */
void ecs__entity_free(ecs_world_t *world, uint32_t index);
void ecs__entity_fini(ecs_world_t *world);

ecs__node_t *ecs__node(const ecs_world_t *world, uint32_t index); /* NULL when it has none */
int ecs__node_link(ecs_world_t *world, uint32_t index, uint32_t parent, const char *name);
void ecs__node_unlink(ecs_world_t *world, uint32_t index);
/* Slot + 1 of a child of `parent` (slot + 1, 0: a root) by name; 0 when there is none. */
uint32_t ecs__child_named(const ecs_world_t *world, uint32_t parent, const char *name,
                          size_t length);

int ecs__archetype_init(ecs_world_t *world);
void ecs__archetype_fini(ecs_world_t *world);
/* Places the columns of the slots, whose sizes are known, and chooses the size of chunks. */
void ecs__archetype_lay_out(const ecs_world_t *world, ecs__archetype_t *archetype);
/* The archetype that has one component more or less; the same one when nothing changes. */
int ecs__archetype_with(ecs_world_t *world, uint32_t from, uint32_t component, uint32_t *out);
int ecs__archetype_without(ecs_world_t *world, uint32_t from, uint32_t component, uint32_t *out);
static inline const ecs__slot_t *ecs__slot(const ecs__archetype_t *archetype, uint32_t component) {
    if (component >= archetype->slot_of_len || archetype->slot_of[component] == ECS__NONE) {
        return NULL;
    }
    return &archetype->slots[archetype->slot_of[component]];
}
/* Appends a row for the entity; its columns are not set. */
int ecs__row_add(ecs_world_t *world, ecs__archetype_t *archetype, ecs_id_t id, uint32_t *row);
/* Removes a row; the archetype's last row takes its place. */
void ecs__row_remove(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row);
static inline ecs__chunk_t *ecs__chunk_of(const ecs__archetype_t *archetype, uint32_t row,
                                          uint32_t *at) {
    *at = row & (archetype->chunk_rows - 1);
    return archetype->chunks[row >> archetype->chunk_shift];
}
/* Byte offset of a cell in the memory maps. */
static inline uint64_t ecs__cell(const ecs__chunk_t *chunk, const ecs__slot_t *slot, uint32_t at) {
    return chunk->block_offset + chunk->column_offset[slot->column] +
           (uint64_t)at * slot->size_bytes;
}

void ecs__query_add_archetype(ecs_query_t *query, const ecs__archetype_t *archetype);
void ecs__query_fini(ecs_world_t *world);
void ecs__cursors_reset(ecs_world_t *world);

static inline ecs__cmd_t *ecs__cmd_at(const ecs__stream_t *stream, ecs__pos_t pos) {
    uint32_t at = pos - 1;
    return (ecs__cmd_t *)(void *)(stream->chunks[at >> 13] + ((size_t)(at & 0x1fff) << 3));
}
/* Position of the command after `pos`, or `end`. */
ecs__pos_t ecs__cmd_after(const ecs_world_t *world, const ecs__stream_t *stream, ecs__pos_t pos,
                          ecs__pos_t end);
/* First command of a batch, or its end when it is empty. */
ecs__pos_t ecs__cmd_first(const ecs__stream_t *stream, const ecs__batch_t *batch);
void ecs__stream_clear(ecs__stream_t *stream);
void ecs__stream_fini(ecs_world_t *world);

/* Bytes of a component at an entity, in the core's map; NULL if absent. */
const char *ecs__cell_read(const ecs_world_t *world, ecs_id_t id, uint32_t component);
void ecs__event(ecs_world_t *world, uint32_t kind, const ecs__touched_t *entry, uint32_t component);
void ecs__observe_fini(ecs_world_t *world);

#endif
