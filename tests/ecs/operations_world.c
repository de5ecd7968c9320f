/* Operations on a world as a whole: trim, snapshots, views, epochs. */
#include <stdlib.h>
#include <string.h>

#include "operations.h"

/* ---- trim ----------------------------------------------------------------------------------- */

void operation_trim(session_t *s) {
    uint32_t shapes = 1; /* the one without components stays */
    for (uint32_t shape = 1; shape < MODEL_SHAPES; shape++) {
        shapes += s->model->rows[shape].count > 0;
    }
    session_log(s, "trim to %u shapes", shapes);
    session_phase(s, ECS_PHASE_IDLE);
    session_forget_order(s);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_trim", ecs_trim(s->world[w]), ECS_OK);
        session_same(s, "ecs_archetype_count", ecs_archetype_count(s->world[w]), shapes);
    }
    session_phase(s, ECS_PHASE_RUN);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_trim", ecs_trim(s->world[w]), ECS_E_PHASE);
    }
    session_compare(s);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

typedef struct {
    char *bytes;
    size_t length, capacity;
} buffer_t;

static int take_bytes(void *context, const void *bytes, size_t length) {
    buffer_t *buffer = context;
    if (buffer->length + length > buffer->capacity) {
        buffer->capacity = 2 * (buffer->length + length);
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (buffer->bytes == NULL) { return ECS_E_MEMORY; }
    }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    return ECS_OK;
}

/* Restoring counts as an epoch: all worlds come to the same one. */
static void level_epochs(session_t *s) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint32_t epoch = ecs_shared(s->world[w])->epoch;
        if (epoch > s->epoch) { s->epoch = epoch; }
    }
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        while (ecs_shared(s->world[w])->epoch < s->epoch) {
            ecs_epoch_bump(s->world[w]);
        }
    }
}

/* The world gets older than the snapshot, and its queries have seen all of it: what is restored is
 * new to them all the same. */
static void grow_old(session_t *s, uint32_t w) {
    session_same(s, "phase", ecs_phase_set(s->world[w], ECS_PHASE_WRITE), ECS_OK);
    while (ecs_shared(s->world[w])->tick <= s->model->tick) {
        session_same(s, "ecs_write_begin", ecs_write_begin(s->world[w], 1), ECS_OK);
    }
    for (uint32_t i = 0; i < s->query_count; i++) {
        ecs_cursor_t *cursor = ecs_cursor_open(s->query[i].handle[w]);
        session_same(s, "rows of an empty world", ecs_cursor_next(cursor), false);
        ecs_cursor_close(cursor);
    }
}

/* The world goes, and another takes its place that is made of a snapshot of it. */
static void restore_world(session_t *s, uint32_t w) {
    static buffer_t before, after;
    uint64_t hash = ecs_hash(s->world[w]);
    before.length = after.length = 0;
    session_same(s, "ecs_snapshot_write", ecs_snapshot_write(s->world[w], take_bytes, &before),
                 ECS_OK);
    session_same(s, "ecs_snapshot_restore",
                 ecs_snapshot_restore(s->world[w], before.bytes, before.length),
                 s->model->alive > 0 ? ECS_E_INVALID : ECS_OK);
    ecs_world_destroy(s->world[w]);
    session_world_open(s, w);
    if (session_below(s, 2) == 0) { grow_old(s, w); }
    session_phase(s, ECS_PHASE_IDLE);
    session_same(s, "ecs_snapshot_restore",
                 ecs_snapshot_restore(s->world[w], before.bytes, before.length), ECS_OK);
    if (ecs_hash(s->world[w]) != hash) { session_fail(s, "the restored world differs"); }
    session_same(s, "ecs_snapshot_write", ecs_snapshot_write(s->world[w], take_bytes, &after),
                 ECS_OK);
    if (after.length != before.length || memcmp(after.bytes, before.bytes, after.length) != 0) {
        session_fail(s, "a snapshot of the restored world differs");
    }
    s->restored[w] = s->model->tick;
    for (uint32_t i = 0; i < s->query_count; i++) {
        s->query[i].since[w] = 0;
    }
}

void operation_restore(session_t *s) {
    uint32_t w = session_below(s, SESSION_WORLDS);
    session_phase(s, ECS_PHASE_IDLE);
    if (s->model->open || s->model->batch_count > 0) {
        buffer_t none = {0};
        session_log(s, "a snapshot while batches wait");
        session_same(s, "ecs_snapshot_write", ecs_snapshot_write(s->world[w], take_bytes, &none),
                     ECS_E_PHASE);
    } else {
        session_log(s, "restore world %u", w);
        operation_readers_reset(s); /* watches are in no snapshot */
        restore_world(s, w);
        level_epochs(s);
        s->mark_count = 0;
        session_phase(s, ECS_PHASE_RUN);
        session_compare(s);
    }
    session_phase(s, ECS_PHASE_RUN);
}

/* ---- views, epochs -------------------------------------------------------------------------- */

void operation_views_expire(session_t *s) {
    session_log(s, "views expire");
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_views_expire", ecs_views_expire(s->world[w]), ECS_OK);
    }
}

void operation_epoch(session_t *s) {
    session_log(s, "epoch");
    s->epoch++;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_epoch_bump(s->world[w]);
    }
}
