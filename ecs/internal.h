/* What the files of the core share. Reading order: maps, memory; schema, types, declare, bytes,
 * json, value, value_text; entity, archetype, sparse, trim, hierarchy, query, cursor; command,
 * bulk, send, apply, validate, fold, payload; observe, watch; migrate_plan, migrate,
 * migrate_check, saved; check; snapshot, checksum, restore_schema, restore_check, restore, export.
 */
#ifndef ECS_INTERNAL_H
#define ECS_INTERNAL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ecs_schema.h"
#include "stream.h"

/* ---- watches -------------------------------------------------------------------------------- */

enum { ECS__MAX_WATCHES = 1 << 20 };

/* Watches lie in a pool and in a list for each component, or in that of despawns. Ids are
 * index + generation * ECS__MAX_WATCHES. */
typedef struct {
    ecs_watch_desc_t desc;
    uint32_t id;         /* 0: free */
    uint32_t generation; /* 12 bits, never 0 */
    uint32_t prev, next; /* index + 1; next free one */
    uint64_t sequence;   /* order in which they were added */
    uint64_t owner;
    uint64_t seen_tick;
    bool last;
    void *copy; /* CHANGED: bytes to compare with */
} ecs__watch_t;

typedef struct {
    uint64_t sequence;
    ecs_watch_result_t result;
} ecs__fired_t;

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
    char error[256]; /* text and number of the last failure */
    int error_code;
    ecs__memory_t memory;
    uint32_t max_chunk_rows;

    ecs__component_t *components;
    uint32_t component_count, component_capacity;
    uint32_t *sparse; /* components that are, ascending */
    uint32_t sparse_count, sparse_capacity;
    ecs__enum_t *enums;
    uint32_t enum_count, enum_capacity;
    ecs__component_t *structs;
    uint32_t struct_count, struct_capacity;
    uint64_t type_versions; /* that were given so far */

    ecs__page_t **pages;
    uint32_t page_count;
    uint32_t slot_count, max_slots; /* ever used; the limit */
    bool preallocated;              /* pages for all of them */
    uint32_t free_head, free_tail, free_count;
    ecs__name_t *names; /* open addressing */
    uint32_t name_count, name_used, name_capacity;

    ecs__archetype_t **archetypes; /* by index; NULL where one was dropped */
    uint32_t archetype_count, archetype_capacity;
    uint32_t *free_archetypes; /* indexes that may be used again; room for all */
    uint32_t free_archetype_count, free_archetype_capacity;
    ecs__archetype_t **ordered; /* by creation: the order in which everything is iterated */
    uint32_t ordered_count, ordered_capacity;
    uint32_t empty_count;      /* archetypes without rows */
    uint32_t *archetype_table; /* open addressing by hash of the component list, index + 1 */
    uint32_t archetype_table_len;

    ecs_query_t **queries;
    uint32_t query_count, query_capacity;
    ecs_query_t *ended_queries; /* with cursors that are open */

    ecs__stream_t stream[2]; /* the one being recorded, the one being applied */
    uint32_t recording;      /* index in stream */
    ecs_recorder_t recorder; /* into it; `at` is NULL while it has no chunk */
    const char *empty_at;    /* where `at` is while a batch is open and holds nothing */
    uint64_t batches_begun;  /* tells which batch is open */
    ecs__touched_t *touched;
    uint32_t touched_count, touched_capacity;
    ecs__bulk_t **bulks; /* accepted bulk spawns */
    uint32_t bulk_count, bulk_capacity;
    uint32_t bulk_rows;         /* of those, and of ones that were refused */
    ecs__block_t spare;         /* a block for the next bulk spawn, */
    uint32_t spare_age;         /* and applies since one was used */
    ecs__archetype_t **growing; /* to which the batch being validated brings rows */
    uint32_t growing_count, growing_capacity;
    bool wrote;      /* the apply has written values directly */
    uint64_t writer; /* owner of the writer that runs */
    ecs_batch_result_t *results;
    uint32_t result_count, result_capacity;
    ecs_batch_result_t *next_results; /* room for those of the next apply */
    uint32_t next_result_capacity;
    char expect_scratch[ECS_MAX_COMPONENT_BYTES];

    uint64_t now_ns; /* as given to ecs_time_set, and 1; 0: no time yet */
    uint32_t *aged;  /* components that keep their age */
    uint32_t aged_count, aged_capacity;
    bool writer_runs; /* and its rows have not been given their time */

    ecs_sent_t *sent;
    uint32_t sent_count, sent_capacity;
    struct ecs__room *rooms;
    uint32_t room_used, room_capacity; /* slots ever used */
    uint32_t room_free;                /* index + 1 */
    ecs_event_t *events;
    uint32_t event_count, event_capacity;
    uint64_t event_bound; /* of those that the accepted batches can raise */
    uint32_t observed_kinds;
    ecs__watch_t *watches;
    uint32_t watch_count, watch_used, watch_capacity; /* in use; slots ever used */
    uint32_t watch_free;                              /* index + 1 */
    uint64_t watch_sequence;
    uint32_t despawn_watches; /* as ecs__component_t.watches and touched, for despawns */
    uint32_t count_watches;
    bool id_freed; /* since the last poll: who watches it is to be told */
    ecs__fired_t *fired;
    ecs_watch_result_t *watch_results;
    uint32_t watch_result_count, watch_result_capacity, fired_capacity;
    uint64_t poll_tick;
};

/* Around what must not be left half done: see ecs_interrupt. */
#define ECS__ENTER(world) ((world)->in_core++)
#define ECS__LEAVE(world) ecs__leave(world)
void ecs__left(ecs_world_t *world);

/* Notes the text of an error and returns its number. */
int ecs__fail(ecs_world_t *world, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* ECS_E_MEMORY, with its text. */
int ecs__oom(ecs_world_t *world);
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

/* Takes memory from large free blocks, the oldest of a size first, until they keep so much. */
void ecs__memory_trim(ecs__memory_t *memory, size_t keep_bytes);
/* After each apply: a little of a peak that was given back. */
void ecs__memory_trim_some(ecs__memory_t *memory);
void ecs__schema_fini(ecs_world_t *world);
/* Phases in which types are declared. */
#define ECS__SCHEMA_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE)
/* 0 in those, while nothing that was recorded waits for an apply: it has the old layout. */
int ecs__schema_guard(ecs_world_t *world);
/* Same fields, in the same places, with the same defaults. */
bool ecs__layouts_equal(const ecs__component_t *a, const ecs__component_t *b);
/* A struct's slot that is in use. */
static inline bool ecs__struct_known(const ecs_world_t *world, uint32_t id) {
    return id < world->struct_count && world->structs[id].version != 0;
}
static inline bool ecs__enum_known(const ecs_world_t *world, uint32_t id) {
    return id < world->enum_count && world->enums[id].version != 0;
}
/* Notes which structs and enums the components need (`used`), and which enums are current as well;
 * with `all` also what current structs need, plans, copies, inboxes and events that were sent.
 * Gives the enums that are used their ranks, and returns how many there are. */
uint32_t ecs__types_mark(ecs_world_t *world, bool all);
/* A layout that is kept outside of the world needs the types of its fields, or no more. */
void ecs__types_hold(ecs_world_t *world, const ecs__component_t *layout, bool hold);
void ecs__types_fini(ecs_world_t *world);
/* Rows that have the component. */
uint64_t ecs__rows_with(const ecs_world_t *world, uint32_t component);
/* Takes a layout apart into leaves. */
int ecs__leaves_init(ecs_world_t *world, ecs__component_t *layout);
/* Zeroes the bytes between leaves in `count` values: a script's struct may leave anything there. */
/* Whether two values are the same in their fields, whatever lies between those. */
bool ecs__values_equal(const ecs__component_t *layout, const char *a, const char *b);
void ecs__padding_clear(const ecs__component_t *component, char *values, uint32_t count);
/* A negative NaN with a payload is a tagged value to LuaJIT: makes plain ones of those. */
void ecs__numbers_tame(const ecs__component_t *component, char *values, uint32_t count);
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
/* A JSON string, valid whatever the bytes are. */
void ecs__json_text(ecs_text_t *out, const char *text, size_t length);
/* What a number, bool, enum, ... takes, in words: "a number from -40 to 150 [degC]". */
void ecs__field_wants(const ecs_world_t *world, const ecs_field_t *field, char *out, size_t bytes);
/* Notes the nearest of names as `, did you mean "x"?`, or nothing: start with {0}. */
typedef struct {
    uint32_t distance;
    char text[ECS_NAME_BYTES + 24];
} ecs__nearest_t;
void ecs__nearest(ecs__nearest_t *nearest, const char *name, const char *candidate);

static inline ecs__record_t *ecs__record_at(const ecs_world_t *world, uint32_t index) {
    return &world->pages[index / ECS__PAGE_ROWS]->record[index % ECS__PAGE_ROWS];
}
/* NULL when `id` is no id of a slot that is in use with that generation (alive or reserved). */
static inline ecs__record_t *ecs__record_find(const ecs_world_t *world, ecs_id_t id) {
    if (!(id >= 4294967296.0 && id < 4503599627370496.0)) { return NULL; } /* and NaN */
    uint32_t index = ecs__index(id);
    if (index >= world->slot_count || id != (ecs_id_t)(uint64_t)id) { return NULL; }
    ecs__record_t *record = ecs__record_at(world, index);
    bool used = record->archetype != ECS__FREE && record->archetype != ECS__RETIRED;
    return used && record->generation == ecs__generation(id) ? record : NULL;
}
static inline bool ecs__record_alive(const ecs__record_t *record) {
    return record->archetype < ECS__RETIRED;
}
/* `max_entities` not 0: room for so many is made at once, and never more. */
int ecs__entity_init(ecs_world_t *world, uint32_t max_entities);
/* Makes pages until there are slots for so many entities. */
int ecs__pages_make(ecs_world_t *world, uint32_t slots);
/* Makes sure that so many ids can be taken. */
int ecs__entities_reserve(ecs_world_t *world, uint32_t count);
/* Takes an id for a spawn that is being recorded; 0 with the error noted when there is none. */
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
void ecs__archetype_free(ecs__archetype_t *archetype);
/* Fills the table of component lists anew. */
void ecs__archetype_table_fill(ecs_world_t *world);
static inline bool ecs__archetype_stays(const ecs__archetype_t *archetype) {
    return archetype->row_count > 0 || archetype->slot_count == 0;
}
/* Drops the archetypes without rows, all but the one without components. */
void ecs__archetypes_trim(ecs_world_t *world);
/* At the end of an apply: drops them when they are many. */
void ecs__archetypes_trim_some(ecs_world_t *world);
/* Places the columns of the slots, whose sizes are known, and chooses the size of chunks. */
void ecs__archetype_lay_out(const ecs_world_t *world, ecs__archetype_t *archetype);
/* The archetype that has one component more or less; the same one when nothing changes. */
int ecs__archetype_make_edge(ecs_world_t *world, uint32_t from, uint32_t component, bool add,
                             uint32_t *out);
static inline int ecs__archetype_edge(ecs_world_t *world, uint32_t from, uint32_t component,
                                      bool add, uint32_t *out) {
    const ecs__archetype_t *archetype = world->archetypes[from];
    const uint32_t *edges = add ? archetype->edge_add : archetype->edge_remove;
    if (component >= archetype->edge_len || edges[component] == ECS__NONE) {
        return ecs__archetype_make_edge(world, from, component, add, out);
    }
    *out = edges[component];
    return ECS_OK;
}
static inline int ecs__archetype_with(ecs_world_t *world, uint32_t from, uint32_t component,
                                      uint32_t *out) {
    return ecs__archetype_edge(world, from, component, true, out);
}
static inline int ecs__archetype_without(ecs_world_t *world, uint32_t from, uint32_t component,
                                         uint32_t *out) {
    return ecs__archetype_edge(world, from, component, false, out);
}
/* The archetype with these components (ascending), made if there is none; NULL: out of memory. */
ecs__archetype_t *ecs__archetype_of(ecs_world_t *world, const uint32_t *components, uint32_t count);
/* Rows of a whole chunk for rows of that size. */
uint32_t ecs__chunk_rows(const ecs_world_t *world, uint32_t row_bytes);
/* A chunk without rows at the end of an archetype; NULL when the world's memory is full. */
ecs__chunk_t *ecs__chunk_append(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t rows);
static inline const ecs__slot_t *ecs__slot(const ecs__archetype_t *archetype, uint32_t component) {
    if (component >= archetype->slot_of_len || archetype->slot_of[component] == ECS__NONE) {
        return NULL;
    }
    return &archetype->slots[archetype->slot_of[component]];
}
/* One that is not in the world; NULL when memory is out. */
ecs__archetype_t *ecs__archetype_make(const ecs_world_t *world, const uint32_t *components,
                                      uint32_t count);
/* Makes chunks until there is room for so many rows. */
int ecs__rows_reserve(ecs_world_t *world, ecs__archetype_t *archetype, uint64_t rows);
/* Gives chunks back that no row needs; one empty one stays, against flutter. */
void ecs__rows_trim(ecs_world_t *world, ecs__archetype_t *archetype);
/* Gives chunks without rows back, the last first, until so many are left. */
void ecs__chunks_free(ecs_world_t *world, ecs__archetype_t *archetype, uint64_t keep);
/* Appends a row for the entity, for which there is room; its columns are not set. */
uint32_t ecs__row_add(ecs_world_t *world, ecs__archetype_t *archetype, ecs_id_t id);
/* Removes a row; the last one takes its place: its id, or 0 when it was the last. */
ecs_id_t ecs__row_take(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row);
/* The same in an archetype of the world, whose entities know their rows. */
void ecs__row_remove(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row);
static inline ecs__chunk_t *ecs__chunk_of(const ecs__archetype_t *archetype, uint32_t row,
                                          uint32_t *at) {
    *at = row & (archetype->chunk_rows - 1);
    return archetype->chunks[row >> archetype->chunk_shift];
}
/* The newer of two writes counts where rows of two chunks come together. */
static inline void ecs__stamp_newer(ecs_stamp_t *stamp, const ecs_stamp_t *other) {
    if (other->changed <= stamp->changed) { return; }
    stamp->changed = other->changed;
    stamp->owner = other->owner;
    stamp->place = other->place;
}
/* memcpy, without a call for the sizes that components mostly have. */
static inline void ecs__copy(char *to, const char *from, uint32_t bytes) {
    switch (bytes) {
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    case 16: memcpy(to, from, 16); break;
    case 24: memcpy(to, from, 24); break;
    case 32: memcpy(to, from, 32); break;
    case 48: memcpy(to, from, 48); break;
    default: memcpy(to, from, bytes); break;
    }
}
/* Entities got, lost or changed the component: its watches are tested. */
static inline void ecs__touch(const ecs_world_t *world, uint32_t component) {
    world->components[component].touched = world->shared.tick;
}
/* Byte offset of a cell in the memory maps. */
static inline uint64_t ecs__cell(const ecs__chunk_t *chunk, const ecs__slot_t *slot, uint32_t at) {
    return chunk->block_offset + chunk->column_offset[slot->column] +
           (uint64_t)at * slot->size_bytes;
}

void ecs__sparse_fini(ecs_world_t *world);
/* Makes the page of a slot. */
int ecs__sparse_page(ecs_world_t *world, ecs__sparse_t *store, uint32_t index);
/* Gives an entity, whose page is there, a row, for which there is room. */
uint32_t ecs__sparse_add(ecs_world_t *world, ecs__sparse_t *store, ecs_id_t id);
/* Takes the row of a slot that has one. */
void ecs__sparse_remove(ecs_world_t *world, ecs__sparse_t *store, uint32_t index);
/* A command of a chain will not be carried out: gives back the room that its insert had taken. */
static inline void ecs__sparse_release(const ecs_world_t *world, const ecs__cmd_t *cmd) {
    if (cmd->op != ECS_OP_INSERT) { return; }
    ecs__sparse_t *store = world->components[cmd->component].sparse;
    if (store != NULL) { store->table->coming--; }
}
/* Takes all rows of all stores. */
void ecs__sparse_clear(ecs_world_t *world);
/* Row of a slot, or ECS__NONE. */
static inline uint32_t ecs__sparse_row(const ecs__sparse_t *store, uint32_t index) {
    uint32_t page = index / ECS__PAGE_ROWS;
    if (page >= store->page_count || store->pages[page] == NULL) { return ECS__NONE; }
    return store->pages[page][index % ECS__PAGE_ROWS] - 1;
}
/* Where it is, of an entity that lives; any component. */
static inline ecs__place_t ecs__place_at(const ecs_world_t *world, uint32_t index,
                                         const ecs__record_t *record, uint32_t component) {
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    const ecs__slot_t *slot = ecs__slot(archetype, component);
    if (slot != NULL || component >= world->component_count) {
        return (ecs__place_t){archetype, slot, record->row};
    }
    const ecs__sparse_t *store = world->components[component].sparse;
    uint32_t row = store == NULL ? ECS__NONE : ecs__sparse_row(store, index);
    if (row == ECS__NONE) { return (ecs__place_t){0}; }
    return (ecs__place_t){store->table, store->table->slots, row};
}
/* Where an entity's value of a component is; any id, any component. */
static inline ecs__place_t ecs__place(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    const ecs__record_t *record = ecs__record_find(world, id);
    if (record == NULL || !ecs__record_alive(record)) { return (ecs__place_t){0}; }
    return ecs__place_at(world, ecs__index(id), record, component);
}
/* Whether a query has the component in any of its terms. */
bool ecs__query_names(const ecs_query_t *query, uint32_t component);
/* Makes room for one more archetype; false when memory is out. */
bool ecs__query_reserve(ecs_query_t *query);
void ecs__query_add_archetype(ecs_query_t *query, const ecs__archetype_t *archetype);
/* Takes archetypes without rows out of its list, all but the one without components. */
void ecs__query_trim(ecs_query_t *query);
/* Looks the columns up anew: those of an archetype have moved. */
void ecs__query_replace(ecs_query_t *query);
/* Makes the list of every query anew, for which there is room: everything is new to them. */
void ecs__queries_refill(ecs_world_t *world);
int ecs__queries_reserve(ecs_world_t *world, uint32_t archetypes);
void ecs__query_fini(ecs_world_t *world);
/* Gives the memory of a query back. */
void ecs__query_free(ecs_query_t *query);
/* Whether the world has it, whatever the pointer is. O(queries). */
bool ecs__query_known(const ecs_world_t *world, const ecs_query_t *query);
/* A watch on the count of a query begins; it ends, and with the last one a query that was
 * released. */
void ecs__query_watched(ecs_world_t *world, const ecs_query_t *query);
void ecs__query_unwatched(ecs_world_t *world, const ecs_query_t *query);
/* Everyone who would release a query is gone. */
void ecs__query_holders_reset(ecs_world_t *world);
void ecs__cursors_reset(ecs_world_t *world);

static inline ecs__cmd_t *ecs__cmd_at(const ecs__stream_t *stream, ecs__pos_t pos) {
    uint32_t at = pos - 1;
    return (ecs__cmd_t *)(void *)(stream->chunks[at >> 13] + ((size_t)(at & 0x1fff) << 3));
}
static inline ecs__pos_t ecs__pos_of(uint32_t chunk, uint32_t bytes) {
    return (chunk << 13 | bytes >> 3) + 1;
}
static inline size_t ecs__payload_bytes(const ecs_world_t *world, const ecs__cmd_t *cmd) {
    switch (cmd->op) {
    case ECS_OP_SPAWN: return cmd->component != 0 ? sizeof(ecs__spawn_t) : 0;
    case ECS_OP_INSERT:
    case ECS_OP_SET:
    case ECS_OP_ADD:
    case ECS_OP_EXPECT: return ecs__align(world->components[cmd->component].size_bytes, 8);
    case ECS_OP_SPAWN_MANY: return sizeof(ecs__bulk_t);
    case ECS_OP_SEND: return ecs__align(world->structs[cmd->component].size_bytes, 8);
    default: return 0;
    }
}
/* Position of the command after `pos`, or `end`. */
static inline ecs__pos_t ecs__cmd_after(const ecs_world_t *world, const ecs__stream_t *stream,
                                        ecs__pos_t pos, ecs__pos_t end) {
    uint32_t chunk = (pos - 1) >> 13, at = ((pos - 1) & 0x1fff) << 3;
    at += (uint32_t)(sizeof(ecs__cmd_t) + ecs__payload_bytes(world, ecs__cmd_at(stream, pos)));
    if (ecs__pos_of(chunk, at) == end) { return end; }
    return at >= stream->chunk_end[chunk] ? ecs__pos_of(chunk + 1, 0) : ecs__pos_of(chunk, at);
}
/* First command of a batch, or its end when it is empty. */
ecs__pos_t ecs__cmd_first(const ecs__stream_t *stream, const ecs__batch_t *batch);
void ecs__stream_clear(ecs_world_t *world, ecs__stream_t *stream);
/* Phases in which commands are recorded. */
#define ECS__RECORD_PHASES (1u << ECS_PHASE_RUN | 1u << ECS_PHASE_WRITE | 1u << ECS_PHASE_REACT)
/* Whether a command with a value may be recorded now. */
int ecs__record_check(ecs_world_t *world, uint32_t op, uint32_t component, double mask);
/* Writes the header of a command that carries `payload` bytes; NULL with the error noted when
 * nothing may be recorded. */
ecs__cmd_t *ecs__cmd_record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component,
                            size_t payload);
/* The place of the next command of the stream being recorded, and back to it. */
ecs__pos_t ecs__stream_pos(const ecs_world_t *world);
void ecs__stream_rewind(ecs_world_t *world, ecs__pos_t place);
/* The stream being recorded is another one, or phase or batch: who may write to it. */
void ecs__recorder_set(ecs_world_t *world);
static inline ecs__bulk_t *ecs__cmd_bulk(const ecs__cmd_t *cmd) {
    return (ecs__bulk_t *)(uintptr_t)(cmd + 1);
}
/* Takes the room that an event needs where it is bounded, or ECS_E_FULL; gives it back. */
int ecs__room_take(ecs_world_t *world, const ecs__cmd_t *cmd);
void ecs__room_give_back(ecs_world_t *world, const ecs__cmd_t *cmd);
/* All that was taken counts as delivered: for the start of an apply. */
void ecs__rooms_begin(ecs_world_t *world);
/* Room for so many more events that are sent; gives those of an accepted batch out. */
int ecs__sent_reserve(ecs_world_t *world, uint32_t count);
void ecs__send(ecs_world_t *world, const ecs__stream_t *stream, const ecs__batch_t *batch);
/* Frees the stream's blocks from the so-many'th on; the largest stays for the next bulk spawn, */
void ecs__blocks_free(ecs_world_t *world, ecs__stream_t *stream, uint32_t first);
/* until some applies have passed without one. */
void ecs__spare_age(ecs_world_t *world);
/* The bulk spawn becomes part of the apply; taken out again; carried out. */
int ecs__bulk_validate(ecs_world_t *world, ecs__cmd_t *cmd, uint64_t owner);
void ecs__bulk_undo(ecs_world_t *world, const ecs__bulk_t *bulk);
void ecs__bulk_fold(ecs_world_t *world);
/* The bulk spawn of an entity that is ECS__COMING. */
const ecs__bulk_t *ecs__bulk_of(const ecs_world_t *world, const ecs__record_t *record);
/* The value that an accepted bulk spawn has for an entity; NULL. */
const char *ecs__bulk_value(const ecs_world_t *world, ecs_id_t id, uint32_t component);
static inline const ecs_id_t *ecs__bulk_ids(const ecs__bulk_t *bulk) {
    return (const ecs_id_t *)(const void *)bulk->block;
}
/* Notes an archetype, or a table of a sparse component, to which the batch brings rows. */
int ecs__note_growing(ecs_world_t *world, ecs__archetype_t *archetype);
void ecs__stream_fini(ecs_world_t *world);

/* Writes what a SET or ADD says over the value at `to`; and an INSERT. */
void ecs__payload_merge(const ecs_world_t *world, const ecs__cmd_t *cmd, char *to);
static inline void ecs__payload_write(const ecs_world_t *world, const ecs__cmd_t *cmd, char *to) {
    const ecs__component_t *component = &world->components[cmd->component];
    bool all = cmd->op == ECS_OP_SET && (cmd->fields & ECS__FIELD_MASK) == component->all_fields;
    if (cmd->op == ECS_OP_INSERT || all) {
        ecs__copy(to, (const char *)(cmd + 1), component->size_bytes);
    } else {
        ecs__payload_merge(world, cmd, to);
    }
}
static inline bool ecs__cmd_writes(const ecs__cmd_t *cmd) {
    return cmd->op == ECS_OP_INSERT || cmd->op == ECS_OP_SET || cmd->op == ECS_OP_ADD;
}
/* Validates a batch against the world and the accepted ones before it, and chains its commands. A
 * refused one is taken out again; its result says why. Room for the results is there. */
void ecs__validate(ecs_world_t *world, ecs__stream_t *stream, uint32_t batch);
/* Writes what pass 1 has set aside of an accepted batch: commands to entities that only get values,
 * which need no entry. */
void ecs__direct_write(ecs_world_t *world, ecs__stream_t *stream, uint32_t batch);
/* ecs__cmd_t.next of such a command. */
#define ECS__DIRECT 0xffffffffu
/* Carries an entry of world->touched out, and forgets it. */
void ecs__fold(ecs_world_t *world, const ecs__stream_t *stream, const ecs__touched_t *entry);
/* Owner of the command at `pos`; `batch` is the likely one. */
uint64_t ecs__owner_at(const ecs__stream_t *stream, uint32_t batch, ecs__pos_t pos);
/* Pages of times for so many pages of slots. */
int ecs__ages_reserve(ecs_world_t *world, uint32_t pages);
void ecs__ages_fini(ecs_world_t *world);
/* Forgets all times: those of another content. */
void ecs__ages_clear(ecs_world_t *world);
/* The writer has ended: gives the rows that it took their time. */
void ecs__ages_of_writer(ecs_world_t *world);
/* What an accepted batch confirms. */
void ecs__confirm(ecs_world_t *world, const ecs__stream_t *stream, const ecs__batch_t *batch);
/* A value of the slot was written now. */
static inline void ecs__aged(const ecs_world_t *world, uint32_t component, uint32_t index) {
    uint64_t **written = world->components[component].written;
    if (written == NULL) { return; }
    written[index / ECS__PAGE_ROWS][index % ECS__PAGE_ROWS] = world->now_ns;
}

/* Ask for cache lines: of an entity's record; of the row that its payloads most likely go to. */
void ecs__prefetch_row(const ecs_world_t *world, ecs_id_t id);
static inline void ecs__prefetch_record(const ecs_world_t *world, ecs_id_t id) {
    if (!(id > 0 && id < 4503599627370496.0)) { return; } /* and NaN: no id */
    uint32_t index = ecs__index(id);
    if (index < world->slot_count) { __builtin_prefetch(ecs__record_at(world, index), 1); }
}

/* Bytes of a component at an entity, in the core's map; NULL if absent. */
const char *ecs__cell_read(const ecs_world_t *world, ecs_id_t id, uint32_t component);
/* Notes an event; there is room for it. */
void ecs__event(ecs_world_t *world, uint32_t kind, const ecs_event_t *event);
void ecs__watch_fini(ecs_world_t *world);
/* Whether what a CHANGED watch compares is the same in its fields. */
bool ecs__watch_same(const ecs_world_t *world, const ecs_watch_desc_t *desc, const char *a,
                     const char *b);

#endif
