/* Types of what is stored: arrays, maps, memory, schema, records, archetypes, queries. */
#ifndef ECS_STORAGE_H
#define ECS_STORAGE_H

#include "ecs.h"

#define ECS__NONE 0xffffffffu
#define ECS__ARRAY_MIN 16

/* Whether `array` has room for so many items, growing it when it has not; false when memory is out:
 * the array is then as it was. */
#define ECS__ROOM(array, items, capacity)                                                          \
    ({                                                                                             \
        bool fits_ = (items) <= (capacity);                                                        \
        if (!fits_) {                                                                              \
            void *grown_ = ecs__grow((array), &(capacity), (items), sizeof *(array));              \
            fits_ = grown_ != NULL;                                                                \
            if (fits_) { (array) = grown_; }                                                       \
        }                                                                                          \
        fits_;                                                                                     \
    })

/* The place of one more item; NULL when memory is out. */
#define ECS__PUSH(array, count, capacity)                                                          \
    (ECS__ROOM(array, (count) + 1, capacity) ? &(array)[(count)++] : NULL)

/* Every one of these answers NULL when memory is out, which is an error value of the caller. */
void *ecs__grow(void *array, uint32_t *capacity, uint32_t items, size_t item_bytes);
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

/* Free blocks of one size, the newest last. The first ones have no memory: the file has holes
 * there. There is room for every block of the size there is: freeing cannot fail. */
typedef struct {
    uint64_t *offset;
    uint32_t count, capacity;
    uint32_t blocks; /* free or in use */
    uint32_t holes;
} ecs__free_list_t;

typedef struct {
    int fd;
    size_t reserve_bytes;   /* size of each map */
    size_t committed_bytes; /* of the file */
    size_t used_bytes;      /* handed out from the front of the file */
    size_t free_bytes;      /* in free blocks that have memory */
    bool preallocated;      /* memory is kept, and there from the start */
    ecs__maps_t maps;
    ecs__free_list_t free[ECS__BLOCK_CLASSES];
} ecs__memory_t;

/* `max_bytes` not 0: all of them are there from the start; else at most `reserve_bytes`. */
int ecs__memory_init(ecs__memory_t *memory, const ecs_options_t *options);
void ecs__memory_fini(ecs__memory_t *memory);
/* A block of at least `bytes`, 64-byte aligned, not cleared. *got is its real size. */
int ecs__block_alloc(ecs__memory_t *memory, size_t bytes, uint64_t *offset, size_t *got);
void ecs__block_free(ecs__memory_t *memory, uint64_t offset, size_t got);

/* ---- schema --------------------------------------------------------------------------------- */

typedef struct {
    char name[ECS_NAME_BYTES];
    char **members;
    uint32_t count;
    uint64_t version; /* of all types that were ever declared; 0: the slot is free */
    bool old;         /* another one is what its name means, or none is */
    bool used;        /* see ecs__types_mark */
    uint32_t rank;    /* of those that are used, likewise */
    uint32_t holds;   /* plans and copies that need it */
} ecs__enum_t;

/* Elements of one plain type that lie together: what fields come down to, structs taken apart. */
typedef struct {
    uint32_t type, offset_bytes, bytes;
} ecs__leaf_t;

/* A component; a struct type is laid out the same way. */
typedef struct {
    char name[ECS_NAME_BYTES];
    ecs_field_t *fields;
    uint32_t field_count;
    uint32_t size_bytes;
    uint32_t align_bytes;
    void *default_value;
    uint32_t depth; /* of structs: 1 when no field is one */
    ecs__leaf_t *leaves;
    uint32_t leaf_count, leaf_capacity;
    uint64_t all_fields;        /* mask of a SET that is the whole value; no mask when padded */
    bool padded;                /* bytes of a value belong to no leaf */
    uint8_t observed;           /* bit per ECS_EVENT_* kind */
    struct ecs__sparse *sparse; /* NULL: its values lie in archetypes */
    uint64_t **written; /* pages of times by slot, see age.c; NULL: it does not keep its age */
    uint32_t rooms;     /* of a struct: the first room for such events, index + 1 */
    uint64_t touched;   /* tick at which an entity last got it, lost it, or had it written */
    uint32_t watches;   /* the first watch on it, index + 1 */
    uint64_t version;   /* of all layouts that were ever declared; 0: a struct's slot is free */
    bool old, used;     /* of a struct, as in ecs__enum_t */
    uint32_t holds;
} ecs__component_t;

/* ---- entities ------------------------------------------------------------------------------- */

enum { ECS__PAGE_ROWS = 4096, ECS__MAX_PAGES = 1u << 16, ECS__MAX_GENERATION = (1u << 20) - 1 };
#define ECS__FREE 0xffffffffu     /* record.archetype of a slot in the free list */
#define ECS__RESERVED 0xfffffffeu /* of an id that a recorded spawn has taken */
#define ECS__COMING 0xfffffffdu   /* during an apply: of a bulk spawn; row: its archetype */
#define ECS__RETIRED 0xfffffffcu  /* of a slot whose generation would have wrapped */

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
    ecs_stamp_t *stamp;      /* one per column */
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
    int64_t coming; /* during an apply: rows that accepted batches bring, less those they take */
    bool grows;     /* and whether it is in world->growing */
    uint32_t *edge_add, *edge_remove; /* component -> archetype or ECS__NONE, made on demand */
    uint32_t edge_len;
} ecs__archetype_t;

/* Values of a sparse component, see sparse.c. */
typedef struct ecs__sparse {
    ecs__archetype_t *table; /* of this one component; index is ECS__NONE */
    uint32_t **pages;        /* row + 1 of each slot; NULL: a page of zeroes */
    uint32_t page_count, page_capacity;
} ecs__sparse_t;

/* Where a value is. */
typedef struct {
    const ecs__archetype_t *table;
    const ecs__slot_t *slot; /* NULL: the entity lacks it, or is gone */
    uint32_t row;
} ecs__place_t;

struct ecs_query {
    /* what a step of a walk reads comes first, in one cache line */
    ecs_world_t *world;
    const ecs__archetype_t **archetypes;
    uint32_t *places; /* place_terms for each of them: the columns, then those of `changed` and
                       * `added`; ECS__NONE where there is none */
    uint32_t archetype_count, place_terms, column_count;
    uint32_t write_count; /* as in desc */
    bool whole;           /* yields whole chunks, all of them: no filter, nothing sparse */
    uint32_t archetype_capacity, place_count, place_capacity;
    uint64_t since; /* tick at which the last whole walk began, for `changed` and `added` */
    ecs_query_desc_t desc;
    uint32_t columns[ECS_MAX_TERMS]; /* write, read, maybe: components in order of the boxes */
    uint32_t sparse_with[ECS_MAX_TERMS], sparse_without[ECS_MAX_TERMS];
    uint32_t sparse_with_count, sparse_without_count;
    ecs_cursor_t *free_cursor;
    ecs_cursor_t **cursors; /* all ever made, for the end */
    uint32_t cursor_count, cursor_capacity;
    uint32_t holders, watches; /* who will release it; watches of its count */
    uint32_t open;             /* cursors that are */
    bool released;             /* by all of them: it ends with its watches */
    bool ended;                /* it was released, and waits for its cursors to be closed, */
    ecs_query_t *next;         /* with others */
};

#endif
