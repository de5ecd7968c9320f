/* Sparse components: the same semantics as others, without a move. */
#include <stdlib.h>

#include "ecs_schema.h"
#include "internal.h"
#include "world.h"

typedef struct {
    fixture_t f;
    uint32_t alarm, mark; /* sparse: a double; a tag */
} sparse_t;

static sparse_t sparse_open(void) {
    const char *const fields[] = {"double level = 5", "bool seen"};
    sparse_t s = {.f = fixture_open(16)};
    CHECK_EQ(ecs_component_register(s.f.world, "Alarm", fields, 2, &s.alarm), ECS_OK);
    CHECK_EQ(ecs_component_register(s.f.world, "Mark", NULL, 0, &s.mark), ECS_OK);
    CHECK_EQ(ecs_component_sparse(s.f.world, s.alarm), ECS_OK);
    CHECK_EQ(ecs_component_sparse(s.f.world, s.mark), ECS_OK);
    CHECK_EQ(ecs_component_sparse(s.f.world, s.mark), ECS_OK); /* twice is once */
    CHECK(ecs_component_is_sparse(s.f.world, s.alarm));
    CHECK(!ecs_component_is_sparse(s.f.world, s.f.pos));
    return s;
}

static double level_of(const sparse_t *s, ecs_id_t id) {
    const double *level = ecs_view(s->f.world, id, s->alarm);
    return level == NULL ? -1 : *level;
}

static void insert_alarm(sparse_t *s, ecs_id_t id, double level) {
    double *to = ecs_record(s->f.world, ECS_OP_INSERT, id, s->alarm, 0);
    CHECK(to != NULL);
    if (to != NULL) { *to = level; }
}

static void an_entity_that_gets_one_does_not_move(void) {
    sparse_t s = sparse_open();
    ecs_stamp_t stamp = {0};
    uint32_t list[8];
    record_begin(&s.f, 7);
    ecs_id_t id = spawn_pos(&s.f, 1), other = spawn_pos(&s.f, 2);
    insert_alarm(&s, id, 3);
    (void)ecs_record(s.f.world, ECS_OP_INSERT, id, s.mark, 0);
    apply(&s.f);
    const void *before = ecs_view(s.f.world, id, s.f.pos);
    uint32_t archetypes = ecs_archetype_count(s.f.world);
    CHECK_EQ(level_of(&s, id), 3);
    CHECK(ecs_has(s.f.world, id, s.mark) && !ecs_has(s.f.world, other, s.mark));
    CHECK_EQ(level_of(&s, other), -1);
    CHECK_EQ(ecs_provenance(s.f.world, id, s.alarm, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 7);
    CHECK_EQ(ecs_entity_components(s.f.world, id, list, 8), 3);
    CHECK_EQ(list[0], s.f.pos);
    CHECK_EQ(list[2], s.mark);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, id, s.alarm), ECS_OK);
    insert_alarm(&s, other, 4);
    *(double *)ecs_record(s.f.world, ECS_OP_ADD, other, s.alarm, 1) = 10;
    apply(&s.f);
    CHECK_EQ(level_of(&s, id), -1);
    CHECK_EQ(level_of(&s, other), 14);
    CHECK(ecs_view(s.f.world, id, s.f.pos) == before);
    CHECK_EQ(ecs_archetype_count(s.f.world), archetypes);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(s.f.world, 2), ECS_OK);
    *(double *)ecs_write(s.f.world, other, s.alarm) = 20;
    CHECK(ecs_write(s.f.world, id, s.alarm) == NULL);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(level_of(&s, other), 20);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, other, 0), ECS_OK);
    apply(&s.f);
    CHECK_EQ(level_of(&s, other), -1);
    fixture_close(&s.f);
}

static void batches_see_it_as_any_other(void) {
    sparse_t s = sparse_open();
    uint32_t count = 0;
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1), dead = spawn_pos(&s.f, 2);
    insert_alarm(&s, id, 3);
    apply(&s.f);
    record_begin(&s.f, 2); /* refused: absent after the remove; nothing of it stays */
    insert_alarm(&s, dead, 8);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, id, s.alarm), ECS_OK);
    *(double *)ecs_record(s.f.world, ECS_OP_SET, id, s.alarm, 1) = 9;
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 3), ECS_OK); /* given, taken and given again */
    insert_alarm(&s, dead, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, dead, s.alarm), ECS_OK);
    insert_alarm(&s, dead, 2);
    *(double *)ecs_record(s.f.world, ECS_OP_EXPECT, id, s.alarm, 0) = 3;
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 4), ECS_OK); /* one that dies in the same apply */
    ecs_id_t brief = spawn_pos(&s.f, 3);
    insert_alarm(&s, brief, 5);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, brief, 0), ECS_OK);
    *(double *)ecs_record(s.f.world, ECS_OP_SET, id, s.alarm, 1) = 30;
    apply(&s.f);
    const ecs_batch_result_t *results = ecs_apply_results(s.f.world, &count);
    CHECK_EQ(results[0].error, ECS_E_ABSENT);
    CHECK_EQ(results[1].error, ECS_OK);
    CHECK_EQ(results[2].error, ECS_OK);
    CHECK_EQ(level_of(&s, id), 30);
    CHECK_EQ(level_of(&s, dead), 2);
    fixture_close(&s.f);
}

static void queries_yield_runs_of_rows(void) {
    enum { MANY = 100 };
    sparse_t s = sparse_open();
    ecs_id_t ids[MANY];
    ecs_query_t *with = NULL, *without = NULL, *bad = NULL;
    ecs_query_desc_t desc = {
        .read = {s.f.pos}, .read_count = 1, .with = {s.alarm}, .with_count = 1};
    CHECK_EQ(ecs_query_create(s.f.world, &desc, &with), ECS_OK);
    desc = (ecs_query_desc_t){
        .read = {s.f.pos}, .read_count = 1, .without = {s.alarm}, .without_count = 1};
    CHECK_EQ(ecs_query_create(s.f.world, &desc, &without), ECS_OK);
    desc = (ecs_query_desc_t){.read = {s.alarm}, .read_count = 1};
    CHECK_EQ(ecs_query_create(s.f.world, &desc, &bad), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(s.f.world),
               "Alarm is sparse: name it in `with`, and get its values by id");
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_SETUP), ECS_OK);
    CHECK_EQ(ecs_component_sparse(s.f.world, s.f.pos), ECS_E_CONFLICT);
    record_begin(&s.f, 1);
    for (int i = 0; i < MANY; i++) {
        ids[i] = spawn_pos(&s.f, i);
        if (i % 7 < 3) { insert_alarm(&s, ids[i], i); }
    }
    apply(&s.f);
    double seen = 0, expected = 0, rows = 0;
    for (int i = 0; i < MANY; i++) {
        if (i % 7 < 3) { expected += i; }
    }
    ecs_cursor_t *cursor = ecs_cursor_open(with);
    while (ecs_cursor_next(cursor)) {
        const pos_t *pos = cursor->box[0].p;
        CHECK(cursor->count <= 3);
        for (int32_t i = 0; i < cursor->count; i++, rows++) {
            seen += pos[i].x;
            CHECK_EQ(level_of(&s, cursor->ids[i]), pos[i].x);
        }
    }
    ecs_cursor_close(cursor);
    CHECK_EQ(seen, expected);
    CHECK_EQ(ecs_query_count(with), rows);
    CHECK_EQ(ecs_query_count(without), MANY - rows);
    uint32_t components[] = {s.alarm};
    void *column = NULL;
    record_begin(&s.f, 1);
    CHECK(ecs_record_spawn_many(s.f.world, 3, components, 1, &column) == NULL);
    apply(&s.f);
    fixture_close(&s.f);
}

static void events_and_watches_fire(void) {
    sparse_t s = sparse_open();
    uint32_t count = 0, watch = 0;
    bool fired = false;
    for (uint32_t kind = ECS_EVENT_ADDED; kind <= ECS_EVENT_DESPAWNED; kind++) {
        CHECK_EQ(ecs_observe(s.f.world, kind, s.alarm), ECS_OK);
    }
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1);
    apply(&s.f);
    ecs_watch_desc_t desc = {
        .kind = ECS_WATCH_LEVEL, .id = id, .component = s.alarm, .field_count = 1, .value = {8}};
    CHECK_EQ(ecs_watch_add(s.f.world, &desc, 5, &watch, &fired), ECS_OK);
    static const uint32_t expected[] = {ECS_EVENT_ADDED, ECS_EVENT_CHANGED, ECS_EVENT_REMOVED,
                                        ECS_EVENT_ADDED, ECS_EVENT_REMOVED};
    for (int step = 0; step < 5; step++) {
        record_begin(&s.f, 1);
        if (step == 0 || step == 3) { insert_alarm(&s, id, 3); }
        if (step == 1) { *(double *)ecs_record(s.f.world, ECS_OP_SET, id, s.alarm, 1) = 8; }
        if (step == 2) {
            CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, id, s.alarm), ECS_OK);
        }
        if (step == 4) { CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, id, 0), ECS_OK); }
        apply(&s.f);
        const ecs_event_t *events = ecs_events(s.f.world, &count);
        CHECK_EQ(count, step == 4 ? 2 : 1);
        CHECK_EQ(events[0].kind, expected[step]);
        CHECK_EQ(events[0].component, s.alarm);
        (void)ecs_watch_poll(s.f.world, &count);
        CHECK_EQ(count, step == 1);
    }
    fixture_close(&s.f);
}

static void they_are_in_order_and_known_to_queries(void) {
    fixture_t f = fixture_open(16);
    uint32_t list[8] = {0};
    ecs_query_t *query = NULL;
    uint32_t never = 0; /* no entity ever had it */
    CHECK_EQ(ecs_component_register(f.world, "Never", NULL, 0, &never), ECS_OK);
    ecs_query_desc_t with = {.with = {never}, .with_count = 1};
    ecs_query_desc_t without = {.without = {f.mixed}, .without_count = 1};
    CHECK_EQ(ecs_component_sparse(f.world, f.tag), ECS_OK);
    CHECK_EQ(ecs_component_sparse(f.world, f.pos), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    insert_pos(&f, id, f.vel, 1);
    (void)ecs_record(f.world, ECS_OP_INSERT, id, f.tag, 0);
    apply(&f);
    CHECK_EQ(ecs_entity_components(f.world, id, list, 8), 3);
    CHECK(list[0] == f.pos && list[1] == f.vel && list[2] == f.tag);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_query_create(f.world, &with, &query), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &without, &query), ECS_OK);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_SETUP), ECS_OK);
    CHECK_EQ(ecs_component_sparse(f.world, f.vel), ECS_E_CONFLICT);
    CHECK_EQ(ecs_component_sparse(f.world, never), ECS_E_CONFLICT);
    CHECK_EQ(ecs_component_sparse(f.world, f.mixed), ECS_E_CONFLICT);
    fixture_close(&f);
}

static void a_despawn_makes_room_for_its_events(void) {
    sparse_t s = sparse_open();
    uint32_t count = 0;
    CHECK_EQ(ecs_observe(s.f.world, ECS_EVENT_REMOVED, s.alarm), ECS_OK);
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1);
    insert_alarm(&s, id, 3);
    apply(&s.f);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&s.f);
    CHECK_EQ(s.f.world->event_bound, 4); /* the despawn; Pos; Alarm and Mark */
    (void)ecs_events(s.f.world, &count);
    CHECK_EQ(count, 1);
    fixture_close(&s.f);
}

static void a_trim_gives_their_chunks_back(void) {
    enum { MANY = 100 };
    sparse_t s = sparse_open();
    ecs_id_t ids[MANY];
    record_begin(&s.f, 1);
    for (int i = 0; i < MANY; i++) {
        ids[i] = spawn_pos(&s.f, i);
        insert_alarm(&s, ids[i], i);
    }
    apply(&s.f);
    record_begin(&s.f, 1);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, ids[i], s.alarm), ECS_OK);
    }
    apply(&s.f);
    const ecs__sparse_t *store = s.f.world->components[s.alarm].sparse;
    CHECK(store->table->chunk_count > 0);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_trim(s.f.world), ECS_OK);
    CHECK_EQ(store->table->chunk_count, 0);
    fixture_close(&s.f);
}

/* ---- snapshots, migration ------------------------------------------------------------------- */

typedef struct {
    char *bytes;
    size_t length;
} text_t;

static int append(void *context, const void *data, size_t length) {
    text_t *text = context;
    text->bytes = realloc(text->bytes, text->length + length);
    memcpy(text->bytes + text->length, data, length);
    text->length += length;
    return ECS_OK;
}

static void snapshots_and_migrations_have_them(void) {
    enum { MANY = 60 };
    sparse_t s = sparse_open(), copy = sparse_open();
    fixture_t plain = fixture_open(16); /* has no Alarm */
    uint32_t table = 0;
    const char *const fields[] = {"double level = 5", "bool seen"};
    const char *const wider[] = {"float level", "bool seen", "uint8_t kind = 3"};
    ecs_id_t ids[MANY];
    text_t snapshot = {0}, again = {0};
    record_begin(&s.f, 1);
    for (int i = 0; i < MANY; i++) {
        ids[i] = spawn_pos(&s.f, i);
        if (i % 2 == 0) { insert_alarm(&s, ids[i], i); }
        if (i % 3 == 0) { (void)ecs_record(s.f.world, ECS_OP_INSERT, ids[i], s.mark, 0); }
    }
    apply(&s.f);
    record_begin(&s.f, 1); /* rows change places */
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, ids[4], s.alarm), ECS_OK);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, ids[6], 0), ECS_OK);
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(s.f.world, append, &snapshot), ECS_OK);
    CHECK_EQ(ecs_snapshot_restore(copy.f.world, snapshot.bytes, snapshot.length), ECS_OK);
    CHECK_EQ(ecs_check(copy.f.world), ECS_OK);
    CHECK(ecs_hash(copy.f.world) == ecs_hash(s.f.world));
    CHECK_EQ(ecs_phase_set(copy.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(copy.f.world, append, &again), ECS_OK);
    CHECK(again.length == snapshot.length &&
          memcmp(again.bytes, snapshot.bytes, again.length) == 0);
    CHECK_EQ(level_of(&copy, ids[8]), 8);
    CHECK_EQ(ecs_component_register(plain.world, "Alarm", fields, 2, &table), ECS_OK);
    CHECK_EQ(ecs_component_register(plain.world, "Mark", NULL, 0, &table), ECS_OK);
    CHECK_EQ(ecs_snapshot_restore(plain.world, snapshot.bytes, snapshot.length), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(plain.world),
               "snapshot: component \"Alarm\" is sparse, not in this world");
    CHECK_EQ(ecs_component_migrate(copy.f.world, copy.alarm, wider, 3, NULL), ECS_OK);
    CHECK_EQ(*(const float *)ecs_view(copy.f.world, ids[8], copy.alarm), 8);
    CHECK_EQ(ecs_check(copy.f.world), ECS_OK);
    ecs_text_t text = {0};
    CHECK_EQ(ecs_value_to_json(copy.f.world, copy.alarm, ecs_view(copy.f.world, ids[8], copy.alarm),
                               &text),
             ECS_OK);
    CHECK_TEXT(text.text, "{\"level\":8,\"seen\":false,\"kind\":3}");
    ecs_text_fini(&text);
    free(snapshot.bytes);
    free(again.bytes);
    fixture_close(&plain);
    fixture_close(&copy.f);
    fixture_close(&s.f);
}

static ecs_world_t *world_of_two(size_t reserve_bytes, uint32_t *first, uint32_t *second) {
    ecs_options_t options = {.reserve_bytes = reserve_bytes};
    const char *const small[] = {"double x[8]"}, *const large[] = {"double x[200]"};
    ecs_world_t *world = NULL;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Small", small, 1, first), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Large", large, 1, second), ECS_OK);
    CHECK_EQ(ecs_component_sparse(world, *first), ECS_OK);
    CHECK_EQ(ecs_component_sparse(world, *second), ECS_OK);
    return world;
}

/* There is room for the rows of one component, and not for those of the next. */
static void a_restore_that_fails_leaves_none(void) {
    enum { MANY = 2000 };
    uint32_t small = 0, large = 0;
    text_t snapshot = {0};
    fixture_t f = {.world = world_of_two((size_t)1 << 26, &small, &large)};
    record_begin(&f, 1);
    for (int i = 0; i < MANY; i++) {
        ecs_id_t id = ecs_record_spawn(f.world, 0, NULL);
        CHECK(ecs_record(f.world, ECS_OP_INSERT, id, small, 0) != NULL);
        CHECK(ecs_record(f.world, ECS_OP_INSERT, id, large, 0) != NULL);
    }
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(f.world, append, &snapshot), ECS_OK);
    fixture_close(&f);
    f.world = world_of_two((size_t)1 << 20, &small, &large);
    CHECK_EQ(ecs_snapshot_restore(f.world, snapshot.bytes, snapshot.length), ECS_E_MEMORY);
    CHECK_EQ(ecs_check(f.world), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = ecs_record_spawn(f.world, 0, NULL), other = ecs_record_spawn(f.world, 0, NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, other, small, 0) != NULL);
    apply(&f);
    CHECK(!ecs_has(f.world, id, small) && !ecs_has(f.world, id, large));
    CHECK(ecs_has(f.world, other, small));
    free(snapshot.bytes);
    fixture_close(&f);
}

int main(void) {
    RUN(they_are_in_order_and_known_to_queries);
    RUN(a_despawn_makes_room_for_its_events);
    RUN(a_trim_gives_their_chunks_back);
    RUN(a_restore_that_fails_leaves_none);
    RUN(an_entity_that_gets_one_does_not_move);
    RUN(batches_see_it_as_any_other);
    RUN(queries_yield_runs_of_rows);
    RUN(events_and_watches_fire);
    RUN(snapshots_and_migrations_have_them);
    return test_report();
}
