/* What a random history is made of. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "session.h"

typedef struct {
    const char *name;
    uint32_t weight;
    void (*run)(session_t *session);
} operation_t;

extern const operation_t OPERATIONS[];
extern const uint32_t OPERATION_COUNT;

/* One operation, drawn by weight. */
void operation_run(session_t *session, uint32_t number);
/* Applies what was recorded and compares everything. */
void operation_finish(session_t *session);
/* Mostly an entity in use, often one of a few, sometimes one that is gone or never was. */
ecs_id_t operation_pick_id(session_t *session);
const char *operation_pick_name(session_t *session);
/* A component; of those the entity has when `there`, if it has any. */
uint32_t operation_pick_component(session_t *session, ecs_id_t id, bool there);

/* Opens a batch if there is none; applies first when the stream is nearly full. */
void operation_open_batch(session_t *session);
void operation_record_plain(session_t *session, uint32_t op, ecs_id_t id, uint32_t component);
void operation_record_value(session_t *session, uint32_t op, ecs_id_t id, uint32_t component);
ecs_id_t operation_record_spawn(session_t *session, ecs_id_t parent, const char *name);
void operation_seal(session_t *session);
/* Other flags for what comes in the batch. */
void operation_flags(session_t *session);
/* Applies what is sealed, and the open batch or not, and compares everything. */
void operation_apply(session_t *session);
/* Rolls the open batch back to a place in it. */
void operation_roll_back(session_t *session, const session_mark_t *mark);
session_mark_t operation_take_mark(const session_t *session);

/* Commands for many at once, and places. */
void operation_spawn_many(session_t *session);
void operation_record_many(session_t *session);
void operation_place(session_t *session);
void operation_batches(session_t *session);
void operation_early(session_t *session);
void operation_try(session_t *session);
/* The id that the next spawn reserves. */
ecs_id_t operation_next_id(const session_t *session);

/* Events. */
void operation_record_send(session_t *session, ecs_id_t to);
void operation_send(session_t *session);

/* Writers. */
void operation_write(session_t *session);
void operation_write_query(session_t *session);
void operation_gap(session_t *session);
void operation_watched(session_t *session);

/* The world as a whole. */
void operation_trim(session_t *session);
void operation_restore(session_t *session);
void operation_views_expire(session_t *session);
void operation_epoch(session_t *session);

/* Changes of the schema, and queries that end. */
void operation_release(session_t *session);
void operation_reload(session_t *session);

void operation_query(session_t *session);
void operation_lookup(session_t *session);
void operation_observe(session_t *session);
void operation_watch(session_t *session, ecs_watch_desc_t desc);
void operation_watch_add(session_t *session);
void operation_watch_remove(session_t *session);
void operation_poll(session_t *session);
void operation_readers_reset(session_t *session);
/* Calls that this phase, or no open batch, must refuse. */
void operation_misuse(session_t *session);

#endif
