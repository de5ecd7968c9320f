/* A reference model of the core: what ecs.h and docs/semantics.md say, with flat arrays, no
 * archetypes, no chains and no cleverness. It knows the core's public header only.
 *
 *   record ─▶ command[] ─▶ batch[] ─▶ model_apply: each command acts at once on entity[];
 *                                     a refused batch puts back the entities it has changed
 *
 * The order that can be seen is part of it: ids come back first in, first out; entities take their
 * new places in the order of first touch; the last row of a shape fills a gap. A shape is a set of
 * components without the sparse ones, of which each has rows of its own.
 *
 * Whose the newest write of a chunk was, and which chunks have news, depends on chunks, of which
 * the model has none: it knows what each entity's stamps must say at least, and which writes there
 * were. */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>

#include "ecs.h"

enum {
    MODEL_WORLDS = 2,
    MODEL_COMPONENTS = 10,
    MODEL_STRUCTS = 2,     /* of events that are sent */
    MODEL_SHAPES = 1 << 8, /* the number of those that are not sparse */
    MODEL_FIELDS = 5,
    MODEL_SLOTS = 8192,
    MODEL_COMMANDS = 4096,
    MODEL_WATCHES = 64,
    MODEL_EVENTS = MODEL_COMMANDS * 16,
    MODEL_WRITES = 8192,      /* that are remembered */
    MODEL_LARGEST = 1008,     /* bytes of the largest component */
    MODEL_VALUE_BYTES = 1120, /* of all components */
    MODEL_STRUCT_BYTES = 24,  /* of the largest */
};

enum { MODEL_NONE = 0x7fffffff };

typedef struct {
    const char *declaration;
    uint32_t type, count;
    size_t offset_bytes, size_bytes;
} model_field_t;

typedef struct {
    const char *name;
    const void *default_value;
    size_t size_bytes, value_at; /* offset in model_entity_t.value */
    uint32_t field_count;
    model_field_t field[MODEL_FIELDS];
} model_component_t;
extern const model_component_t MODEL_COMPONENT[MODEL_COMPONENTS];
extern const model_component_t MODEL_STRUCT[MODEL_STRUCTS]; /* without a value_at */

typedef enum { MODEL_FREE, MODEL_RESERVED, MODEL_ALIVE, MODEL_DYING } model_state_t;

typedef struct {
    ecs_id_t id; /* with the slot's present generation */
    model_state_t state;
    uint32_t set; /* bit per component */
    ecs_id_t parent;
    char name[ECS_NAME_BYTES];
    bool placed;    /* holds its place in the tree, and its name */
    uint64_t born;  /* siblings are in this order */
    uint64_t owner; /* of the last batch that changed it */
    uint32_t written[MODEL_COMPONENTS], written_count; /* in this apply, in order */
    ecs_stamp_t newest[MODEL_COMPONENTS];              /* write of each component */
    ecs_stamp_t chained[MODEL_COMPONENTS]; /* write or removal that has a place in an apply */
    uint64_t arrived;                      /* tick at which it came to its shape */
    uint64_t got[MODEL_COMPONENTS];        /* tick at which it got a sparse component */
    uint32_t lost; /* sparse components that this apply has taken, and maybe given again */
    char value[MODEL_VALUE_BYTES];
} model_entity_t;

typedef struct {
    uint32_t op, flags, component; /* SEND: the struct */
    ecs_id_t id, parent;
    uint64_t mask;
    uint32_t place;
    uint32_t set; /* SPAWN_MANY, a command for each id: its components; `value` holds all */
    char name[ECS_NAME_BYTES];
    char value[MODEL_VALUE_BYTES];
} model_command_t;

typedef struct {
    ecs_stamp_t stamp;
    uint32_t component;
} model_write_t;

typedef struct {
    uint64_t owner;
    uint32_t first, end;
} model_batch_t;

typedef struct {
    ecs_watch_desc_t desc;
    uint64_t owner;
    uint32_t id[MODEL_WORLDS];
    bool last, there; /* the state at the last poll; CHANGED: whether there were bytes */
    char bytes[MODEL_LARGEST];
} model_watch_t;

typedef struct {
    uint32_t watch[MODEL_WORLDS];
    uint64_t owner;
    int error;
} model_watch_result_t;

/* What is known of who changed a component whose expectation failed. */
typedef enum { MODEL_BY_NOBODY, MODEL_BY_COMMAND, MODEL_BY_CHUNK } model_by_t;

/* A bulk spawn of an accepted batch, one id of it. */
typedef struct {
    uint32_t slot, set;
    uint64_t owner;
} model_coming_t;

/* An event that an accepted batch has sent. */
typedef struct {
    ecs_id_t to;
    uint32_t event, place;
    uint64_t owner;
    char value[MODEL_STRUCT_BYTES];
} model_sent_t;

typedef struct {
    uint32_t row[MODEL_SLOTS]; /* slots */
    uint32_t count;
} model_rows_t;

typedef struct {
    uint32_t slot;
    model_entity_t entity;
} model_saved_t;

typedef struct {
    model_entity_t entity[MODEL_SLOTS];
    uint32_t slot_count, alive;
    uint32_t free_slot[MODEL_SLOTS], free_count; /* first in, first out */
    model_rows_t rows[MODEL_SHAPES], sparse_rows[MODEL_COMPONENTS];
    uint64_t births, tick;

    model_command_t command[MODEL_COMMANDS];
    uint32_t command_count;
    model_batch_t batch[MODEL_COMMANDS];
    uint32_t batch_count;
    bool open;
    uint32_t flags, place; /* of the open batch */
    uint64_t writer;
    bool expects; /* the batch in hand */
    uint64_t batches_begun;

    uint32_t touched[MODEL_SLOTS], touched_count;
    bool is_touched[MODEL_SLOTS], was_alive[MODEL_SLOTS];
    uint32_t was_set[MODEL_SLOTS];
    model_saved_t saved[MODEL_SLOTS]; /* what the batch in hand has changed */
    uint32_t saved_count;
    model_coming_t coming[MODEL_COMMANDS];
    uint32_t coming_count;
    bool is_coming[MODEL_SLOTS];
    model_by_t by[MODEL_COMMANDS]; /* of each result */
    ecs_batch_result_t result[MODEL_COMMANDS];
    uint32_t result_count;

    bool observed[ECS_EVENT_DESPAWNED + 1][MODEL_COMPONENTS];
    ecs_event_t event[MODEL_EVENTS];
    uint32_t event_count;
    model_sent_t sent[MODEL_COMMANDS];
    uint32_t sent_count;
    model_watch_t watch[MODEL_WATCHES];
    uint32_t watch_count;
    model_watch_result_t watch_result[MODEL_WATCHES];
    uint32_t watch_result_count;

    model_write_t write[MODEL_WRITES]; /* a ring */
    uint64_t write_count, write_lost;  /* ever; of which the first are no more there */
    /* tick of the last one */
    uint64_t changed[MODEL_SHAPES][MODEL_COMPONENTS], arrived[MODEL_SHAPES];
} model_t;

void model_reset(model_t *model);
/* The entity of an id that is in use (reserved, alive or dying), or NULL. */
model_entity_t *model_find(model_t *model, ecs_id_t id);
bool model_alive(model_t *model, ecs_id_t id);
/* The bytes of a component; NULL when it is absent or a tag. */
char *model_value(model_t *model, ecs_id_t id, uint32_t component);
/* The value of a field as a condition sees it. */
double model_number(const model_field_t *field, const char *component);
bool model_matches(const ecs_query_desc_t *desc, uint32_t set);
/* The same for a shape; what the query says of sparse components is left out. */
bool model_matches_shape(const ecs_query_desc_t *desc, uint32_t shape);
ecs_id_t model_lookup(model_t *model, const char *path);
/* A number that differs when what ecs_hash tells apart differs. */
uint64_t model_signature(const model_t *model);

void model_begin(model_t *model, uint64_t owner);
model_command_t *model_record(model_t *model, uint32_t op, ecs_id_t id, uint32_t component);
/* Takes an id for a SPAWN. */
ecs_id_t model_reserve(model_t *model);
/* Forgets the commands of the open batch from `at` on. */
void model_forget(model_t *model, uint32_t at);
bool model_seal(model_t *model);
void model_apply(model_t *model);
/* The end of an apply: what its accepted batches have changed takes effect. */
void model_settle(model_t *model);
/* The id is free, and comes back one generation on. */
void model_release(model_t *model, model_entity_t *entity);
/* A writer has written the component of an entity that has it. */
void model_wrote(model_t *model, ecs_id_t id, uint32_t component);
/* Whether there was such a write, as far as they are remembered; *alone: it was the only one of the
 * component at its tick. */
bool model_knows_write(const model_t *model, uint32_t component, const ecs_stamp_t *stamp,
                       bool *alone);

int model_watch_add(model_t *model, const ecs_watch_desc_t *desc, uint64_t owner, bool *fired);
void model_watch_remove(model_t *model, uint32_t at);
void model_watch_poll(model_t *model);

#endif
