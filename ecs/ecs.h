/* ecs: an archetype entity component system whose only writer is the apply phase.
 *
 *   record (run, react)              apply                                 read
 *   ───────────────────▶ stream ────▶ validate batch by batch, fold per ───▶ views, queries,
 *   spawn set insert ...  of batches  entity, move once, write payloads      observers, watches
 *
 * Storage: entities with the same components share an archetype; its rows lie in chunks of at
 * most 4096 rows or 256 KiB, one 64-byte aligned column per component. Chunks live on a memfd
 * that is mapped three times: read-write for the core, read-only for readers (the view), and once
 * more for writers (the window). Only the first chunk of an archetype ever moves, while it grows.
 *
 * Thread: a world belongs to the thread that created it. Every call that changes entities or values
 * checks thread and phase, in every build, and answers ECS_E_THREAD or ECS_E_PHASE.
 * Errors: 0 or a negative ecs_error_t; the text of the newest one is ecs_last_error().
 * Memory: out of memory, and the world's limits, are error values, and what failed leaves the world
 * as it was.
 * Depends on libc only. */
#ifndef ECS_H
#define ECS_H

#include <stddef.h>

#include "ecs_abi.h"

#define ECS_ERRORS(X)                                                                              \
    X(ECS_OK, 0, "no error")                                                                       \
    X(ECS_E_PHASE, -1, "not allowed in this phase")                                                \
    X(ECS_E_THREAD, -2, "not the thread that owns the world")                                      \
    X(ECS_E_DEAD, -3, "entity does not exist")                                                     \
    X(ECS_E_ABSENT, -4, "entity lacks the component")                                              \
    X(ECS_E_INVALID, -5, "invalid argument")                                                       \
    X(ECS_E_LIMIT, -6, "limit reached")                                                            \
    X(ECS_E_MEMORY, -7, "the world's memory is full")                                              \
    X(ECS_E_CONFLICT, -8, "declared before with a different definition")                           \
    X(ECS_E_UNKNOWN, -9, "unknown name")                                                           \
    X(ECS_E_EXPECT, -10, "an expected value had changed")                                          \
    X(ECS_E_EXISTS, -11, "name already taken")                                                     \
    X(ECS_E_KERNEL, -12, "the kernel refuses what it did before")                                  \
    X(ECS_E_FULL, -13, "an inbox for it is full")

typedef enum {
#define ECS_ERROR_ENUM(name, value, text) name = (value),
    ECS_ERRORS(ECS_ERROR_ENUM)
#undef ECS_ERROR_ENUM
} ecs_error_t;

/* "ECS_E_PHASE" for ECS_E_PHASE; "ECS_E_?" for a number that is no error. Any thread. */
const char *ecs_error_name(int error);
const char *ecs_error_text(int error);

/* ---- world -------------------------------------------------------------------------------- */

typedef struct {
    size_t reserve_bytes;  /* address space and upper limit for component data; 0: 4 GiB */
    size_t max_bytes;      /* not 0: takes its place, and all of it is allocated at once and kept */
    uint32_t max_entities; /* not 0: room for so many ids is made at once, and never more */
    uint32_t chunk_rows;   /* most rows in a chunk, 16 to 4096; 0: 4096. Small ones are for tests */
    uint32_t walls;        /* ECS_WALL_* to force; what the kernel cannot do is added */
} ecs_options_t;

/* What may happen now. The host moves a world through its phases; see docs/semantics.md. */
typedef enum {
    ECS_PHASE_SETUP, /* declare types; nothing else */
    ECS_PHASE_IDLE,  /* between steps: read, declare and migrate */
    ECS_PHASE_RUN,   /* read and record */
    ECS_PHASE_APPLY, /* ecs_apply */
    ECS_PHASE_WRITE, /* writers: mutable cursors; recording goes to the next round */
    ECS_PHASE_REACT  /* observers: read and record */
} ecs_phase_t;

/* options may be NULL. The calling thread becomes the owner. */
int ecs_world_create(ecs_world_t **out, const ecs_options_t *options);
/* Accepts NULL. Owner thread. */
void ecs_world_destroy(ecs_world_t *world);
/* Owner thread; any phase may follow any other, except that ECS_PHASE_SETUP never comes back
 * while entities exist. */
int ecs_phase_set(ecs_world_t *world, ecs_phase_t phase);
ecs_phase_t ecs_phase(const ecs_world_t *world);
/* Makes every box that was handed out so far stale. Owner thread. */
void ecs_epoch_bump(ecs_world_t *world);
/* Not 0 while the owner thread is inside a core function that changes anything; a watchdog reads
 * it from its signal handler. */
uint32_t ecs_in_core(const ecs_world_t *world);
/* Asks that `leave` is called once the owner thread leaves the core: at the end of the outermost
 * function that changes anything. It is called once and need not return. NULL takes it back. For
 * a signal handler on the owner thread. */
void ecs_interrupt(ecs_world_t *world, void (*leave)(void *context), void *context);
/* A hash of every entity, component value, name, parent and place among siblings, in iteration
 * order. The same history gives the same hash in every process, in whatever order components were
 * registered there. O(world). */
uint64_t ecs_hash(const ecs_world_t *world);
/* Gives memory back: archetypes and chunks without rows. An apply does it by itself when more than
 * half of at least 64 archetypes are empty. An archetype that comes back is the last in the order
 * of iteration. Idle phase. O(archetypes). */
int ecs_trim(ecs_world_t *world);
/* Shapes (sets of components) there are, with rows or without. */
uint32_t ecs_archetype_count(const ecs_world_t *world);
/* Walks every invariant; 0, or ECS_E_INVALID with ecs_last_error() saying which one broke. */
int ecs_check(ecs_world_t *world);

/* ---- walls -------------------------------------------------------------------------------- */

/* Readers get references into the view, a read-only map; writers into the window. Both maps move
 * to other addresses once references into them have gone stale: the window at the end of each
 * write phase in which it was used, the view in ecs_views_expire. A stale access, a write to the
 * view and an access past the end of the world are faults that ecs_fault_divert makes harmless. */

enum {
    ECS_WALL_NO_ROTATION = 1,   /* the maps stay: stale references are not caught */
    ECS_WALL_PRIVATE_DIVERT = 2 /* the view is a private map: moving it costs more */
};
enum { ECS_POISON_BYTE = 0x7f }; /* what a stale read finds; a finite number as double or float */

/* ECS_WALL_* in force: those asked for, those this kernel needs. */
uint32_t ecs_walls(const ecs_world_t *world);

/* To be called when what was handed out is stale, at the start of a round. Moves the view if
 * references into it were handed out and something was written since it last moved. Owner thread.
 * ECS_E_KERNEL, once: it cannot be moved any more, ecs_walls() says so from now on.
 * Cost when it moves: 10 to 20 us, whatever the size of the world. */
int ecs_views_expire(ecs_world_t *world);

typedef enum {
    ECS_FAULT_NONE,      /* not the world's memory */
    ECS_FAULT_READ_ONLY, /* a write to the view */
    ECS_FAULT_STALE,     /* a reference into the view from before it moved */
    ECS_FAULT_CLOSED,    /* a writer's reference, used after its write phase */
    ECS_FAULT_OUTSIDE    /* past the end of the world */
} ecs_fault_t;

/* For a handler of SIGSEGV and SIGBUS on the owner thread: puts a private page under the address,
 * so that the access finishes there when the handler returns. The world stays as it was. */
ecs_fault_t ecs_fault_divert(ecs_world_t *world, const void *address, bool write);
/* Takes the private pages away. Returns how many there were. Owner thread. */
uint32_t ecs_fault_settle(ecs_world_t *world);

/* Where the maps are now. */
typedef struct {
    const char *view, *window, *core;
    size_t bytes;
    uint64_t moves;         /* of the view */
    size_t committed_bytes; /* memory behind them */
} ecs_maps_t;
ecs_maps_t ecs_maps(const ecs_world_t *world);

/* ---- schema ------------------------------------------------------------------------------- */

/* Registers an enum of `count` member names with ordinals 0, 1, ...; the same declaration again
 * gives the same id, in any phase; another one under the same name is ECS_E_CONFLICT. Setup or idle
 * phase. */
int ecs_enum_register(ecs_world_t *world, const char *name, const char *const *members,
                      uint32_t count, uint32_t *out);
int ecs_enum_find(const ecs_world_t *world, const char *name, uint32_t *out);
/* Ordinal of a member, or ECS_E_UNKNOWN. */
int ecs_enum_value(const ecs_world_t *world, uint32_t enum_id, const char *member, int32_t *out);
/* Member of an ordinal, or NULL. */
const char *ecs_enum_member(const ecs_world_t *world, uint32_t enum_id, int32_t value);
const char *ecs_enum_name(const ecs_world_t *world, uint32_t enum_id);

/* A field is declared as
 *
 *   type name [length] = default [unit] (min..max)       "double temp_c = 20 [degC] (-40..150)"
 *
 * where all but type and name may be left out: "bool running", "char label[24]", "entity drive",
 * "float joint[6] [rad] (-3.14..3.14)", "Mode mode = auto" with Mode an enum, "Vec3 corner[4]"
 * with Vec3 a struct. The default is that of every element, 0 when there is none; a struct has
 * those of its own fields. Text takes the rest of the line as its default and has no more parts.
 *
 * Unit: for numbers, at most 15 bytes of UTF-8 that begin with a letter or %. It is kept, not
 * converted. Range: for numbers, inclusive; an end may be left out, as in (0..). What comes in by
 * name (a default, JSON, a migration) is refused outside of it; commands and writers are not
 * tested. A float's ends are the floats next to what is written. */

/* Registers a struct type of 1 to 48 fields, laid out as C does. The same declaration again gives
 * the same id, in any phase; another one under the same name is ECS_E_CONFLICT. Setup or idle
 * phase. */
int ecs_struct_register(ecs_world_t *world, const char *name, const char *const *fields,
                        uint32_t count, uint32_t *out);
int ecs_struct_find(const ecs_world_t *world, const char *name, uint32_t *out);
const char *ecs_struct_name(const ecs_world_t *world, uint32_t struct_id);
uint32_t ecs_struct_size_bytes(const ecs_world_t *world, uint32_t struct_id);
const ecs_field_t *ecs_struct_fields(const ecs_world_t *world, uint32_t struct_id, uint32_t *count);
/* The default value, ecs_struct_size_bytes() long. It and the fields are valid until the version is
 * given back. */
const void *ecs_struct_default(const ecs_world_t *world, uint32_t struct_id);

/* ---- versions of structs and enums ---------------------------------------------------------- */

/* As register, but another declaration under a known name makes a new version, with an id of its
 * own, which is what the name means from then on: to later declarations, plans and lookups. An
 * older version that is alike and still there becomes that one again, with the id that it had.
 *
 * What was declared before keeps the versions that it has: components until they are migrated,
 * structs until they are defined again. So structs are to be defined in an order in which each
 * comes after those that it holds. Setup or idle phase; after an error all is as it was. */
int ecs_struct_define(ecs_world_t *world, const char *name, const char *const *fields,
                      uint32_t count, uint32_t *out);
int ecs_enum_define(ecs_world_t *world, const char *name, const char *const *members,
                    uint32_t count, uint32_t *out);
/* The name means nothing any more; it may become that of a struct, an enum, or the same again. What
 * has the type keeps it. ECS_E_UNKNOWN. Setup or idle phase. */
int ecs_type_retire(ecs_world_t *world, const char *name);
/* Gives versions back that are neither what their name means nor needed: by a component, a struct
 * that stays, a plan or copy of values, a room, or an event of the last apply. Returns how many.
 * An id that was given back may become another type's: who keeps ids over a sweep keeps the
 * version too, and compares. Setup or idle phase; ECS_E_PHASE while a batch is open or waits: its
 * events may be of such a version. O(types, components). */
int ecs_types_sweep(ecs_world_t *world);
/* A number that no other declaration has or had; 0 when there is no such struct or enum. */
uint64_t ecs_struct_version(const ecs_world_t *world, uint32_t struct_id);
uint64_t ecs_enum_version(const ecs_world_t *world, uint32_t enum_id);

/* ---- components ----------------------------------------------------------------------------- */

/* Registers a component from field declarations. Order is layout. No field at all makes a tag. The
 * same declaration again gives the same id, in any phase; another one under the same name is
 * ECS_E_CONFLICT: see ecs_component_migrate. Setup or idle phase. A struct counts as one field of
 * the component and of masks. */
int ecs_component_register(ecs_world_t *world, const char *name, const char *const *fields,
                           uint32_t count, uint32_t *out);
/* The component's values lie apart from the others: an entity that gets or loses it does not move,
 * and costs no archetype. For what comes and goes often, or few entities have. A query names it
 * in `with` and `without` only, which look at each row, and then yields runs of rows; its values
 * are read and written by id. Not in bulk spawns. Setup phase, or idle with no batch that waits,
 * before a query names it or an entity gets it (ECS_E_CONFLICT); again is ECS_OK in any phase. */
int ecs_component_sparse(ecs_world_t *world, uint32_t component);
bool ecs_component_is_sparse(const ecs_world_t *world, uint32_t component);
int ecs_component_find(const ecs_world_t *world, const char *name, uint32_t *out);
uint32_t ecs_component_count(const ecs_world_t *world);
const char *ecs_component_name(const ecs_world_t *world, uint32_t component);
uint32_t ecs_component_size_bytes(const ecs_world_t *world, uint32_t component);
const ecs_field_t *ecs_component_fields(const ecs_world_t *world, uint32_t component,
                                        uint32_t *count);
/* The component's default value, size_bytes long. It and the fields are valid until the component
 * is migrated, else for the life of the world. */
const void *ecs_component_default(const ecs_world_t *world, uint32_t component);
/* Index of a field by name, or ECS_E_UNKNOWN. */
int ecs_field_find(const ecs_world_t *world, uint32_t component, const char *name, uint32_t *out);

/* ---- ids, hierarchy (reading) -------------------------------------------------------------- */

/* Entities alive, in the order of their slots; `at` starts at 0. Returns 0 at the end. */
ecs_id_t ecs_entity_next(const ecs_world_t *world, uint32_t *at);
/* Components of an entity in id order; returns how many, writes at most `cap`. */
uint32_t ecs_entity_components(const ecs_world_t *world, ecs_id_t id, uint32_t *out, uint32_t cap);

/* ---- queries ------------------------------------------------------------------------------- */

typedef struct {
    uint32_t write[ECS_MAX_TERMS], read[ECS_MAX_TERMS], maybe[ECS_MAX_TERMS];
    uint32_t with[ECS_MAX_TERMS], without[ECS_MAX_TERMS];
    uint32_t write_count, read_count, maybe_count, with_count, without_count;
    /* Only chunks in which one of these was written, or came to a row, since the last walk of this
     * query that went to its end began (at first: ever). They must be there, as by `with`; tags are
     * refused. What the walk itself marks as written does not count for the next one. */
    uint32_t changed[ECS_MAX_TERMS], added[ECS_MAX_TERMS];
    uint32_t changed_count, added_count;
} ecs_query_desc_t;

/* The same description again gives the same query, unless it has `changed` or `added`: each of
 * those has its own past. Its list of archetypes is kept current when such appear. Iteration
 * order: archetypes by creation, rows by position. It lives until it was released as often as it
 * was created and held, or as long as the world. Any phase. */
int ecs_query_create(ecs_world_t *world, const ecs_query_desc_t *desc, ecs_query_t **out);
/* One more release is needed. ECS_E_UNKNOWN for a query that is gone. Any phase. O(queries). */
int ecs_query_hold(ecs_world_t *world, const ecs_query_t *query);
/* The last release ends the query: its cursors yield nothing any more and may be closed, which then
 * gives the memory back. A COUNT watch holds its query until it fires or is removed, so it goes on.
 * ECS_E_UNKNOWN for a query that is gone, whatever the pointer is; ECS_E_INVALID for one that only
 * watches hold. Any phase. O(queries). */
int ecs_query_release(ecs_world_t *world, const ecs_query_t *query);

/* ---- batches ------------------------------------------------------------------------------- */

enum {
    ECS_FLAG_STRICT = 1, /* a dead target rejects the batch; setting what is absent always does */
    ECS_FLAG_SILENT = 2  /* ... is not counted; the default counts it */
};

/* What became of a sealed batch. */
typedef struct {
    uint64_t owner;      /* as given to ecs_batch_begin */
    int error;           /* 0 accepted, else why it was rejected as a whole */
    uint32_t op;         /* of the refused command */
    ecs_id_t id;         /* its target */
    uint32_t component;  /* its component */
    uint32_t skipped;    /* commands without effect because their target was gone */
    ecs_id_t skipped_id; /* the first of those */
    uint32_t skipped_op, skipped_component;
    uint32_t place, skipped_place;   /* where the commands were recorded: see ecs_batch_place */
    ecs_id_t parent, skipped_parent; /* of those commands, when they are spawns; 0: none */
    const char *name;                /* a refused spawn's, "" for none; good until the next apply */
    ecs_stamp_t by; /* ECS_E_EXPECT: who changed the component last; `changed` 0: unknown */
} ecs_batch_result_t;

/* Opens a batch; what is recorded from now on belongs to it. One is open at most. Run, write or
 * react phase. `owner` is the host's and comes back in the result. */
int ecs_batch_begin(ecs_world_t *world, uint64_t owner);
/* Seals the open batch, if one is, and opens the next: a batch for each of many who mostly record
 * nothing costs little. */
int ecs_batch_next(ecs_world_t *world, uint64_t owner);
/* Sets ECS_FLAG_* for the commands recorded from now on in the open batch. */
int ecs_batch_flags(ecs_world_t *world, uint32_t flags);
/* ecs_batch_place (a leaf) notes where the next commands are recorded: a number below 65536 that
 * means something to the host, such as a line of a script; 0: unknown. It comes back in results and
 * by ecs_provenance. */
/* Declared in ecs_abi.h, for they are leaves that FFI calls:
 *
 * ecs_record_spawn reserves an id and records its spawn, below `parent` and with a name if they are
 * given; 0 with ecs_last_error(). The id is good at once, its components after the apply.
 *
 * ecs_record records INSERT, SET, ADD or EXPECT and returns the place of the component's value,
 * good until the batch is sealed: defaults for INSERT and EXPECT, undefined for SET and ADD, of
 * which the fields in `mask` (bit k: field k) count. NULL with ecs_last_error().
 *
 * ecs_record_at does the same and notes the place first, as ecs_batch_place.
 *
 * ecs_record_plain records DESPAWN, REMOVE and CONFIRM.
 *
 * ecs_record_spawn_many reserves `count` ids and records that they are spawned, each with all of at
 * most ECS_MAX_TERMS components. Returns the ids; columns[k] is then the place of `count` values of
 * components[k], to be set by the caller (they hold defaults), NULL for a tag. The apply does it
 * before its other commands, by one copy for each column and chunk. Ids and columns are good until
 * the batch is sealed. NULL with ecs_last_error().
 *
 * ecs_record_send records an event: the place of a value of the struct, with its defaults, good
 * until the batch is sealed. An entity that is gone counts as for other commands. NULL with
 * ecs_last_error(). See ecs_sent.
 *
 * ecs_room_open bounds such events, sent to the entity `to`, or with 0 all of the kind: a batch
 * that sends more than are free is refused whole (ECS_E_FULL). ecs_room_set says how many are free
 * for the next apply; before, none is. Returns the room; 0 with ecs_last_error() when memory or the
 * limit of 1024 is reached. ecs_readers_reset closes all. Any phase; O(rooms of the event) a send.
 *
 * ecs_record_many records one INSERT, SET or ADD for each of `count` ids, with values[i] as
 * its value: the same commands as by ecs_record, in one call; all or none of them. */

/* Seals the open batch for the next apply. An empty one leaves no trace. *sealed may be NULL. */
int ecs_batch_seal(ecs_world_t *world, bool *sealed);
/* A place in the open batch, to go back to. */
typedef struct {
    uint64_t batch;
    uint32_t at;
    uint32_t cuts; /* rollbacks of the batch before it */
} ecs_mark_t;
ecs_mark_t ecs_batch_mark(const ecs_world_t *world);
/* Forgets what was recorded after the mark; all of the open batch when the mark is of another one.
 * The batch stays open. Ends the marks taken after this one, and columns of bulk spawns;
 * ECS_E_INVALID when something before the mark was forgotten since it was taken. O(log) of such
 * rollbacks, and O(ids) that spawns had reserved: those are retired one generation. */
int ecs_batch_rollback(ecs_world_t *world, ecs_mark_t mark);
/* Forgets what the open batch holds and closes it. As ecs_batch_rollback. */
int ecs_batch_drop(ecs_world_t *world);
/* Whether a batch is open; *owner is then whoever records. */
bool ecs_batch_open(const ecs_world_t *world, uint64_t *owner);
/* Whether the open batch holds a command, so that an apply may refuse it. */
bool ecs_batch_recorded(const ecs_world_t *world);
/* Batches that wait for an apply. */
uint32_t ecs_batch_count(const ecs_world_t *world);

/* Applies the sealed batches in the order they were sealed. Apply phase; ECS_E_INVALID while one is
 * open. The results stay valid until the next apply; one per batch, in order. A batch for which
 * memory or the world's limits do not suffice is refused, whole (ECS_E_MEMORY, ECS_E_LIMIT).
 * Entities move in the order in which a command first concerned them; one that only writes what is
 * there does not count, unless that change is observed or its batch has expectations. */
int ecs_apply(ecs_world_t *world);
const ecs_batch_result_t *ecs_apply_results(const ecs_world_t *world, uint32_t *count);

/* The component keeps its age: each entity's, that of the last write to any field of it. Commands
 * count by entity, bulk spawns too; a writer's box counts for all its rows unless it is withdrawn,
 * ecs_write for those of its chunk. ECS_OP_CONFIRM begins it anew without a write. 8 bytes a slot.
 * Setup, idle or run phase; again is ECS_OK in any phase. ECS_E_INVALID for a tag. */
int ecs_component_aged(ecs_world_t *world, uint32_t component);
bool ecs_component_is_aged(const ecs_world_t *world, uint32_t component);
/* The time of what is written from now on; the host's, at each step. Owner thread.
 * ecs_written_s (a leaf) is when an entity's value was last written, in seconds of that time; -1:
 * before the first time was set, or restored from a snapshot; -2: it is not there, or does not keep
 * its age. */
void ecs_time_set(ecs_world_t *world, uint64_t now_ns);

/* The newest write to the component's column in the entity's chunk: whose it was, where it was
 * recorded, at which tick. A chunk's rows share it. ECS_E_ABSENT; ECS_E_INVALID for a tag. */
int ecs_provenance(ecs_world_t *world, ecs_id_t id, uint32_t component, ecs_stamp_t *out);

/* ---- reactions ----------------------------------------------------------------------------- */

enum { ECS_EVENT_ADDED, ECS_EVENT_CHANGED, ECS_EVENT_REMOVED, ECS_EVENT_DESPAWNED };

typedef struct {
    ecs_id_t id;
    uint32_t component; /* 0xffffffff for ECS_EVENT_DESPAWNED */
    uint32_t kind;      /* ECS_EVENT_* */
    uint64_t owner;     /* of the last batch that changed the entity */
} ecs_event_t;

/* Asks for events of a kind (and component) from the next apply on. Any phase. */
int ecs_observe(ecs_world_t *world, uint32_t kind, uint32_t component);
/* Events of the last apply in the order in which entities were first touched. Writers raise none.
 */
const ecs_event_t *ecs_events(const ecs_world_t *world, uint32_t *count);

/* An event that was sent: a value of a struct. */
typedef struct {
    ecs_id_t to;    /* whom; 0: nobody in particular */
    uint32_t event; /* the struct's id */
    uint32_t place; /* where it was recorded */
    uint64_t owner; /* of its batch */
    const void *value;
} ecs_sent_t;

/* Those of the batches that the last apply accepted, in the order of recording; with their values
 * good until the next apply. */
const ecs_sent_t *ecs_sent(const ecs_world_t *world, uint32_t *count);

typedef enum {
    ECS_WATCH_LEVEL,   /* all conditions hold now, or from some apply on */
    ECS_WATCH_RISING,  /* they become true */
    ECS_WATCH_FALLING, /* they become false, or the component goes */
    ECS_WATCH_CHANGED, /* the bytes of a field (or of the whole component) differ from when it began
                        */
    ECS_WATCH_ADDED,   /* the component appears */
    ECS_WATCH_REMOVED, /* it goes, with or without the entity */
    ECS_WATCH_DESPAWNED, /* the entity goes */
    ECS_WATCH_NOT,       /* the entity is there and not all conditions hold, now or later */
    ECS_WATCH_COUNT      /* a query's count lies in a range, now or later */
} ecs_watch_kind_t;
enum { ECS_WATCH_MAX_CONDITIONS = 4 };

typedef struct {
    uint32_t kind; /* ecs_watch_kind_t */
    ecs_id_t id;
    uint32_t component;
    uint32_t
        field_count; /* conditions; 0: the component is there. CHANGED: 0 whole, 1 that field */
    uint32_t field[ECS_WATCH_MAX_CONDITIONS];
    double value[ECS_WATCH_MAX_CONDITIONS]; /* compared with the field as a number */
    const ecs_query_t *query; /* COUNT, whose other members are 0 but value: least, most, and not 0
                               * to wait until it is out of that range. No `changed` or `added`. It
                               * is counted when a component that it names was touched */
} ecs_watch_desc_t;

typedef struct {
    uint32_t watch;
    uint64_t owner;
    int error; /* 0 fired; ECS_E_DEAD: the entity went first */
} ecs_watch_result_t;

/* Starts watching; *fired says that the condition holds already (the watch is then not made and
 * *out is 0). ECS_E_DEAD when the entity is gone, except for DESPAWNED and REMOVED; one whose spawn
 * is recorded and not yet applied is not gone, and is when its batch is refused or dropped. */
int ecs_watch_add(ecs_world_t *world, const ecs_watch_desc_t *desc, uint64_t owner, uint32_t *out,
                  bool *fired);
/* Stops watching; unknown ids are ignored. */
void ecs_watch_remove(ecs_world_t *world, uint32_t watch);
uint32_t ecs_watch_count(const ecs_world_t *world);
/* Ends all watches, takes all cursors back and forgets who holds queries, which stay until they are
 * created again and released: for when those who hold them are gone for good. */
void ecs_readers_reset(ecs_world_t *world);
/* Tests the watches whose rows may have changed since the last poll, in the order in which they
 * were added. Those that fired are gone afterwards. Results stay valid until the next poll. */
const ecs_watch_result_t *ecs_watch_poll(ecs_world_t *world, uint32_t *count);

/* ---- writers ------------------------------------------------------------------------------- */

/* Write phase: a mutable column cell, marked changed; NULL with ecs_last_error() elsewhere. */
void *ecs_write(ecs_world_t *world, ecs_id_t id, uint32_t component);
/* Starts the change tick of a writer. `owner` is the host's, for ecs_provenance. Write phase. */
int ecs_write_begin(ecs_world_t *world, uint64_t owner);

/* ---- snapshots ----------------------------------------------------------------------------- */

/* Takes the next bytes of what is written. 0, or a negative ecs_error_t: it ends the writing and
 * is what that returns. The bytes may lie in the world: to be read or copied, not kept. */
typedef int (*ecs_sink_t)(void *context, const void *bytes, size_t length);

/* Writes everything but queries, observers, watches and events: schema, ids and which ones come
 * next, archetypes, rows and values in their order, change ticks (not whose the writes were),
 * parents, children, names. The same history gives the same bytes in every process. Setup, idle or
 * run phase, and ECS_E_PHASE while a batch is open or waits: ids reserved by it would be lost.
 * Layout: ecs/README.md. Cost: that of reading the columns, and of a copy of those whose values
 * have padding. */
int ecs_snapshot_write(ecs_world_t *world, ecs_sink_t sink, void *context);
/* Makes the world what the snapshot's was: next ids, iteration order, change ticks, ecs_hash. The
 * world has no entities and no batches; what it had of ids before is forgotten. Its chunk_rows are
 * the same, and it has the snapshot's components and enums, alike in fields and defaults, under
 * any number, or more. Queries, observers and watches stay; boxes go stale. Setup or idle phase.
 * The bytes may be damaged or hostile: after any error the world is as it was. ECS_E_UNKNOWN,
 * ECS_E_CONFLICT: the world's schema or chunk_rows; ECS_E_MEMORY; ECS_E_INVALID: the bytes. A NaN
 * that would be no number to LuaJIT becomes a plain one. Cost: about a copy of the columns. */
int ecs_snapshot_restore(ecs_world_t *world, const void *bytes, size_t length);
/* Writes {"tick":T,"entities":[...]}, an entity a line in the order of slots: {"id":N,"name":"...",
 * "parent":N,"components":{"Name":{"field":value,...},...}}, without name and parent where there is
 * none. Values as in ecs_schema.h: numbers read back exactly, those that are not finite are null.
 * Setup, idle or run phase. */
int ecs_export_json(ecs_world_t *world, ecs_sink_t sink, void *context);

#endif
