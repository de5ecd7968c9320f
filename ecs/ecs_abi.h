/* The part of the core that LuaJIT's FFI may see: plain C, one text for gcc and for ffi.cdef.
 *
 * Everything between the two markers is embedded into the host as text and given to ffi.cdef; a
 * spec compares sizeof and offsetof of both readings. Functions here are leaves: they never
 * raise, block or call Lua. All of them belong to the thread that owns the world.
 *
 * Ids are doubles, because a Lua number is one: index + generation * 2^32, exact below 2^53,
 * with 0 for "none". */
#ifndef ECS_ABI_H
#define ECS_ABI_H

#include <stdbool.h>
#include <stdint.h>

/* ABI-BEGIN */
typedef struct ecs_world ecs_world_t;
typedef struct ecs_query ecs_query_t;
typedef double ecs_id_t;

enum {
    ECS_NAME_BYTES = 64,       /* names of components, fields and entities, with the closing 0 */
    ECS_MAX_FIELDS = 48,       /* fields of one component; a mask of them is exact in a double */
    ECS_MAX_TERMS = 16,        /* components that one query may name */
    ECS_MAX_COMPONENTS = 1024, /* component types in one world */
    ECS_MAX_COMPONENT_BYTES = 16384,
    ECS_UNIT_BYTES = 16,     /* a unit, with the closing 0 */
    ECS_MAX_STRUCTS = 1024,  /* struct types in one world */
    ECS_MAX_STRUCT_DEPTH = 8 /* a struct of plain fields has depth 1 */
};

enum {
    ECS_TYPE_BOOL,
    ECS_TYPE_I8,
    ECS_TYPE_U8,
    ECS_TYPE_I16,
    ECS_TYPE_U16,
    ECS_TYPE_I32,
    ECS_TYPE_U32,
    ECS_TYPE_F32,
    ECS_TYPE_F64,
    ECS_TYPE_CHAR,   /* char[n]: text, closed by 0 when shorter than n */
    ECS_TYPE_ENTITY, /* an id, 0 for none */
    ECS_TYPE_ENUM,   /* int32_t, an ordinal of a registered enum */
    ECS_TYPE_STRUCT  /* a registered struct; its fields: ecs_struct_fields() */
};

enum {
    ECS_OP_SPAWN,
    ECS_OP_DESPAWN,
    ECS_OP_INSERT,
    ECS_OP_SET,
    ECS_OP_ADD,
    ECS_OP_REMOVE,
    ECS_OP_EXPECT,
    ECS_OP_SPAWN_MANY,
    ECS_OP_SEND,
    ECS_OP_CONFIRM /* the value is known to be what it is: its age begins anew */
};

/* The newest write to a column of one chunk. */
typedef struct ecs_stamp {
    uint64_t changed; /* tick of the last write */
    uint64_t owner;   /* whose batch or system it was */
    uint64_t added;   /* tick at which a row last came */
    uint32_t place;   /* where it was recorded, as given to ecs_batch_place; 0: unknown */
    uint32_t unused;
} ecs_stamp_t;

/* One field of a component or struct, in memory order. */
typedef struct ecs_field {
    char name[64];
    uint32_t type;         /* ECS_TYPE_* */
    uint32_t count;        /* elements: 1 for a scalar, n for T[n] and char[n] */
    uint32_t offset_bytes; /* from the start of the component */
    uint32_t size_bytes;   /* all elements */
    uint32_t enum_id;      /* for ECS_TYPE_ENUM, else 0 */
    uint32_t is_array;     /* declared with [n], char excepted */
    char unit[16];         /* of a number, such as "degC"; else empty */
    uint32_t struct_id;    /* for ECS_TYPE_STRUCT, else 0 */
    uint32_t has_range;    /* declared with (min..max) */
    double min, max; /* inclusive: the range, else what the type holds; of numbers, bool, enums */
} ecs_field_t;

/* A column of one chunk as scripts hold it. `p` lies in the read-only view, or for a writer's
 * columns in the writers' window. It is good while `epoch` equals ecs_shared_t.epoch. */
typedef struct ecs_box {
    const void *p;
    int32_t count;
    uint32_t epoch;
    ecs_stamp_t *stamp; /* the column's, for a writer's box; else NULL */
    ecs_stamp_t before; /* its value before this box marked it */
} ecs_box_t;

/* One walk over a query. box[k] belongs to the k-th of the columns `write, read, maybe`; a maybe
 * column that the chunk lacks has p == NULL and no rows. */
typedef struct ecs_cursor {
    ecs_query_t *query;
    uint32_t archetype_at; /* position in the query's archetype list */
    uint32_t chunk_at;
    int32_t count;   /* rows of the current chunk, or run of it */
    uint32_t row_at; /* behind the last run of the chunk */
    uint32_t walks;  /* 1 from the first row on */
    uint32_t epoch;  /* the caller's: when it began to walk */
    const double *ids;
    uint64_t began; /* tick at which the walk began */
    ecs_box_t box[16];
    struct ecs_cursor *next_free;
} ecs_cursor_t;

/* Counters that scripts' code reads without a call. */
typedef struct ecs_shared {
    uint32_t epoch; /* bumped whenever a task is suspended or a system ends: every older box dies */
    uint32_t alive; /* entities alive */
    uint32_t writing; /* 1 in the write phase */
    uint32_t unused;
    uint64_t tick; /* change tick: bumped by every apply and by every writer */
} ecs_shared_t;

/* Where the next command of the open batch goes: code that FFI compiles writes SET and ADD there
 * itself, as an ecs_command_t and the component after it, when they fit before `stop`. */
typedef struct ecs_recorder {
    char *at;
    char *stop;    /* NULL while nothing may be recorded */
    int32_t flags; /* of the batch, in their place in ecs_command_t.kind */
    uint32_t unused;
} ecs_recorder_t;

typedef struct ecs_command {
    uint32_t kind; /* op, flags << 8, component << 16 */
    uint32_t next; /* the core's */
    double id;
    uint32_t fields[2]; /* mask of fields 0 to 31; of 32 to 47, place << 16 */
} ecs_command_t;

const ecs_shared_t *ecs_shared(const ecs_world_t *world);
ecs_recorder_t *ecs_recorder(ecs_world_t *world);
const char *ecs_last_error(const ecs_world_t *world);
bool ecs_alive(const ecs_world_t *world, ecs_id_t id);
bool ecs_has(const ecs_world_t *world, ecs_id_t id, uint32_t component);
const void *ecs_view(ecs_world_t *world, ecs_id_t id, uint32_t component);
ecs_id_t ecs_parent(const ecs_world_t *world, ecs_id_t id);
ecs_id_t ecs_child_first(const ecs_world_t *world, ecs_id_t id);
ecs_id_t ecs_child_next(const ecs_world_t *world, ecs_id_t id);
const char *ecs_name(const ecs_world_t *world, ecs_id_t id);
ecs_id_t ecs_lookup(const ecs_world_t *world, const char *path);

ecs_cursor_t *ecs_cursor_open(ecs_query_t *query);
void ecs_cursor_rewind(ecs_cursor_t *cursor);
bool ecs_cursor_next(ecs_cursor_t *cursor); /* false: at the end, and at the start again */
void ecs_cursor_close(ecs_cursor_t *cursor);
double ecs_query_count(const ecs_query_t *query);

ecs_id_t ecs_record_spawn(ecs_world_t *world, ecs_id_t parent, const char *name);
void *ecs_record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component, double mask);
void *ecs_record_at(ecs_world_t *world, uint32_t place, uint32_t op, ecs_id_t id,
                    uint32_t component, double mask);
int ecs_batch_place(ecs_world_t *world, uint32_t place);
int ecs_record_plain(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component);
const ecs_id_t *ecs_record_spawn_many(ecs_world_t *world, uint32_t count,
                                      const uint32_t *components, uint32_t component_count,
                                      void **columns);
void *ecs_record_send(ecs_world_t *world, uint32_t event, ecs_id_t to);
uint32_t ecs_room_open(ecs_world_t *world, uint32_t event, ecs_id_t to);
void ecs_room_set(ecs_world_t *world, uint32_t room, uint32_t free);
void ecs_room_close(ecs_world_t *world, uint32_t room);
double ecs_written_s(const ecs_world_t *world, ecs_id_t id, uint32_t component);
int ecs_record_many(ecs_world_t *world, uint32_t op, uint32_t component, double mask,
                    uint32_t count, const ecs_id_t *ids, const void *values);
/* ABI-END */

#endif
