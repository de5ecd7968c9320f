/* Walks of queries with `changed` while the world changes under them. */
#include "world.h"

enum { ROWS = 16, MANY = 3 * ROWS };

typedef struct {
    fixture_t f;
    ecs_query_t *news;
    ecs_id_t ids[MANY];
} walk_t;

static walk_t walk_open(bool write) {
    walk_t w = {.f = fixture_open(ROWS)};
    ecs_query_desc_t desc = {.changed = {w.f.pos}, .changed_count = 1};
    uint32_t *columns = write ? desc.write : desc.read;
    columns[0] = w.f.pos;
    desc.write_count = write;
    desc.read_count = !write;
    CHECK_EQ(ecs_query_create(w.f.world, &desc, &w.news), ECS_OK);
    return w;
}

static void spawn_many(walk_t *w) {
    record_begin(&w->f, 1);
    for (int i = 0; i < MANY; i++) {
        w->ids[i] = spawn_pos(&w->f, i);
    }
    apply(&w->f);
}

static int rest_of(ecs_cursor_t *cursor) {
    int rows = 0;
    while (ecs_cursor_next(cursor)) {
        rows += cursor->count;
    }
    return rows;
}

static int rows_of(ecs_query_t *query) {
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    int rows = rest_of(cursor);
    ecs_cursor_close(cursor);
    return rows;
}

/* What is written to a chunk that the walk has left is news to the next one. */
static void a_walk_begins_once(void) {
    walk_t w = walk_open(false);
    spawn_many(&w);
    ecs_cursor_t *cursor = ecs_cursor_open(w.news);
    CHECK(ecs_cursor_next(cursor));
    CHECK(ecs_cursor_next(cursor));
    record_begin(&w.f, 1);
    ((pos_t *)ecs_record(w.f.world, ECS_OP_SET, w.ids[0], w.f.pos, 1))->x = 100;
    apply(&w.f);
    CHECK_EQ(rest_of(cursor), ROWS);
    ecs_cursor_close(cursor);
    CHECK_EQ(rows_of(w.news), ROWS);
    CHECK_EQ(rows_of(w.news), 0);
    fixture_close(&w.f);
}

/* The walk's own marks are no news; what the same writer does after it is. */
static void a_write_after_a_walk_that_writes_is_news(void) {
    walk_t w = walk_open(true);
    spawn_many(&w);
    CHECK_EQ(ecs_phase_set(w.f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(w.f.world, 1), ECS_OK);
    CHECK_EQ(rows_of(w.news), MANY);
    CHECK_EQ(ecs_query_count(w.news), 0);
    ((pos_t *)ecs_write(w.f.world, w.ids[0], w.f.pos))->x = 1;
    CHECK_EQ(rows_of(w.news), ROWS);
    CHECK_EQ(rows_of(w.news), 0);
    fixture_close(&w.f);
}

/* Three shapes, of which the first goes while the walk is at the second. */
static void a_walk_stays_where_it_is_when_shapes_before_it_go(void) {
    walk_t w = walk_open(false);
    record_begin(&w.f, 1);
    ecs_id_t first = spawn_pos(&w.f, 0);
    insert_pos(&w.f, spawn_pos(&w.f, 1), w.f.vel, 1);
    (void)ecs_record(w.f.world, ECS_OP_INSERT, spawn_pos(&w.f, 2), w.f.tag, 0);
    apply(&w.f);
    ecs_cursor_t *cursor = ecs_cursor_open(w.news);
    CHECK(ecs_cursor_next(cursor));
    CHECK(ecs_cursor_next(cursor));
    record_begin(&w.f, 1);
    CHECK_EQ(ecs_record_plain(w.f.world, ECS_OP_DESPAWN, first, 0), ECS_OK);
    apply(&w.f);
    CHECK_EQ(ecs_phase_set(w.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_trim(w.f.world), ECS_OK);
    CHECK(ecs_cursor_next(cursor));
    CHECK_EQ(((const pos_t *)cursor->box[0].p)->x, 2);
    CHECK(!ecs_cursor_next(cursor));
    ecs_cursor_close(cursor);
    fixture_close(&w.f);
}

/* ---- restoring ------------------------------------------------------------------------------ */

typedef struct {
    char bytes[1 << 16];
    size_t length;
} buffer_t;

static int append(void *context, const void *data, size_t length) {
    buffer_t *buffer = context;
    if (buffer->length + length > sizeof buffer->bytes) { return ECS_E_MEMORY; }
    memcpy(buffer->bytes + buffer->length, data, length);
    buffer->length += length;
    return ECS_OK;
}

static void a_restore_begins_walks_anew(void) {
    static buffer_t snapshot;
    walk_t w = walk_open(false);
    spawn_many(&w);
    CHECK_EQ(ecs_phase_set(w.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(w.f.world, append, &snapshot), ECS_OK);
    ecs_cursor_t *cursor = ecs_cursor_open(w.news);
    CHECK(ecs_cursor_next(cursor));
    CHECK(ecs_cursor_next(cursor));
    record_begin(&w.f, 1);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(ecs_record_plain(w.f.world, ECS_OP_DESPAWN, w.ids[i], 0), ECS_OK);
    }
    apply(&w.f);
    CHECK_EQ(ecs_phase_set(w.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_restore(w.f.world, snapshot.bytes, snapshot.length), ECS_OK);
    CHECK_EQ(rest_of(cursor), MANY);
    ecs_cursor_close(cursor);
    fixture_close(&w.f);
}

int main(void) {
    RUN(a_walk_begins_once);
    RUN(a_write_after_a_walk_that_writes_is_news);
    RUN(a_walk_stays_where_it_is_when_shapes_before_it_go);
    RUN(a_restore_begins_walks_anew);
    return test_report();
}
