/* Bulk commands. */
#include "internal.h"
#include "world.h"

enum { MANY = 100 };

static const ecs_id_t *spawn_many(fixture_t *f, uint32_t count) {
    uint32_t components[] = {f->pos, f->tag, f->mixed};
    void *columns[3];
    const ecs_id_t *ids = ecs_record_spawn_many(f->world, count, components, 3, columns);
    CHECK(ids != NULL);
    for (uint32_t i = 0; ids != NULL && i < count; i++) {
        ((pos_t *)columns[0])[i] = (pos_t){i, i + 1, i + 2};
    }
    CHECK(ids == NULL || columns[1] == NULL);
    return ids;
}

static void many_are_spawned_with_columns_of_values(void) {
    fixture_t f = fixture_open(16);
    ecs_id_t ids[MANY];
    ecs_stamp_t stamp = {0};
    uint32_t count = 0;
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_ADDED, f.pos), ECS_OK);
    record_begin(&f, 3);
    CHECK_EQ(ecs_batch_place(f.world, 9), ECS_OK);
    ecs_id_t before = spawn_pos(&f, 1000);
    memcpy(ids, spawn_many(&f, MANY), sizeof ids);
    CHECK(!ecs_alive(f.world, ids[5]));
    apply(&f);
    CHECK_EQ(ecs_shared(f.world)->alive, MANY + 1);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(x_of(&f, ids[i], f.pos), i);
        CHECK(ecs_has(f.world, ids[i], f.tag));
    }
    const struct {
        bool on;
        int16_t level;
    } *mixed = ecs_view(f.world, ids[50], f.mixed);
    CHECK_EQ(mixed->level, 7); /* the default */
    CHECK_EQ(x_of(&f, before, f.pos), 1000);
    const ecs_event_t *events = ecs_events(f.world, &count);
    CHECK_EQ(count, MANY + 1);
    CHECK_EQ(events[0].id, ids[0]);
    CHECK_EQ(events[0].owner, 3);
    CHECK_EQ(ecs_provenance(f.world, ids[9], f.pos, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 3);
    CHECK_EQ(stamp.place, 9);
    fixture_close(&f);
}

static void other_commands_see_them_as_if_they_were_there(void) {
    fixture_t f = fixture_open(16);
    uint32_t count = 0;
    ecs_id_t ids[MANY];
    record_begin(&f, 1);
    memcpy(ids, spawn_many(&f, MANY), sizeof ids);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, ids[3], f.pos, 1))->x = 77;
    insert_pos(&f, ids[4], f.vel, 5);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, ids[5], f.pos), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, ids[6], 0), ECS_OK);
    *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, ids[7], f.pos, 0) = (pos_t){7, 8, 9};
    ecs_id_t child = ecs_record_spawn(f.world, ids[8], "child");
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)->error, ECS_OK);
    CHECK_EQ(x_of(&f, ids[3], f.pos), 77);
    CHECK_EQ(x_of(&f, ids[4], f.vel), 5);
    CHECK_EQ(x_of(&f, ids[4], f.pos), 4);
    CHECK(!ecs_has(f.world, ids[5], f.pos));
    CHECK(!ecs_alive(f.world, ids[6]));
    CHECK_EQ(ecs_parent(f.world, child), ids[8]);
    CHECK_EQ(ecs_shared(f.world)->alive, MANY);
    fixture_close(&f);
}

static void a_refused_batch_takes_them_with_it(void) {
    fixture_t f = fixture_open(16);
    ecs_id_t ids[MANY], again[MANY];
    uint32_t count = 0;
    record_begin(&f, 1);
    (void)spawn_many(&f, 20);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    memcpy(ids, spawn_many(&f, MANY), sizeof ids);
    insert_pos(&f, ids[4], f.vel, 5);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, ids[6], 0), ECS_OK);
    (void)ecs_record(f.world, ECS_OP_SET, ids[1], f.vel, 1); /* absent: refuses all */
    (void)spawn_many(&f, 3);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)[1].error, ECS_E_ABSENT);
    CHECK_EQ(ecs_shared(f.world)->alive, 20);
    for (int i = 0; i < MANY; i++) {
        CHECK(!ecs_alive(f.world, ids[i]));
    }
    record_begin(&f, 3); /* the ids come back one generation on */
    memcpy(again, spawn_many(&f, MANY), sizeof again);
    CHECK_EQ(again[0] - ids[0], 4294967296.0);
    CHECK_EQ(ecs_batch_drop(f.world), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 3), ECS_OK);
    ecs_mark_t mark = ecs_batch_mark(f.world);
    (void)spawn_many(&f, 5);
    CHECK_EQ(ecs_batch_rollback(f.world, mark), ECS_OK);
    ecs_id_t one = spawn_pos(&f, 1);
    apply(&f);
    CHECK(ecs_alive(f.world, one));
    CHECK_EQ(ecs_shared(f.world)->alive, 21);
    fixture_close(&f);
}

/* Ids are numbers: a command may name one that is reserved only later. */
static void a_command_may_name_an_id_before_its_bulk_spawn(void) {
    fixture_t f = fixture_open(16);
    uint32_t count = 0;
    void *column = NULL;
    record_begin(&f, 1);
    ecs_id_t first = spawn_pos(&f, 1);
    apply(&f);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, first + 1, 0), ECS_OK);
    insert_pos(&f, first + 2, f.pos, 5);
    const ecs_id_t *ids = ecs_record_spawn_many(f.world, 2, &f.pos, 1, &column);
    CHECK(ids[0] == first + 1 && ids[1] == first + 2);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)->skipped, 1);
    CHECK_EQ(ecs_apply_results(f.world, &count)->skipped_id, first + 2);
    CHECK(ecs_alive(f.world, first + 1));
    CHECK_EQ(x_of(&f, first + 2, f.pos), 0);
    CHECK_EQ(ecs_shared(f.world)->alive, 3);
    fixture_close(&f);
}

/* Room for rows is made by what is to come: after an apply nothing is. */
static void nothing_is_to_come_after_an_apply(void) {
    fixture_t f = fixture_open(16);
    uint32_t count = 0;
    for (int refused = 0; refused < 2; refused++) {
        record_begin(&f, 1);
        (void)spawn_many(&f, 20);
        (void)spawn_many(&f, 30);
        insert_pos(&f, spawn_pos(&f, 1), f.vel, 1);
        if (refused > 0) { (void)ecs_record(f.world, ECS_OP_SET, spawn_pos(&f, 1), f.vel, 1); }
        (void)spawn_many(&f, 3);
        apply(&f);
        CHECK_EQ(ecs_apply_results(f.world, &count)->error, refused > 0 ? ECS_E_ABSENT : ECS_OK);
        for (uint32_t i = 0; i < f.world->ordered_count; i++) {
            CHECK_EQ(f.world->ordered[i]->coming, 0);
        }
    }
    fixture_close(&f);
}

static void bad_bulk_spawns_reserve_nothing(void) {
    fixture_t f = fixture_open(16);
    uint32_t twice[] = {f.pos, f.pos}, unknown[] = {99}, many[ECS_MAX_TERMS + 1] = {0};
    void *columns[ECS_MAX_TERMS + 1];
    record_begin(&f, 1);
    CHECK(ecs_record_spawn_many(f.world, 2, twice, 2, columns) == NULL);
    CHECK_TEXT(ecs_last_error(f.world), "Pos is named twice");
    CHECK(ecs_record_spawn_many(f.world, 2, unknown, 1, columns) == NULL);
    CHECK_TEXT(ecs_last_error(f.world), "no component 99");
    CHECK(ecs_record_spawn_many(f.world, 2, many, ECS_MAX_TERMS + 1, columns) == NULL);
    CHECK(ecs_record_spawn_many(f.world, 0, &f.pos, 1, columns) != NULL);
    apply(&f);
    CHECK_EQ(ecs_shared(f.world)->alive, 0);
    CHECK(ecs_record_spawn_many(f.world, 2, &f.pos, 1, columns) == NULL); /* no batch */
    fixture_close(&f);
}

static void a_column_of_values_is_recorded_in_one_call(void) {
    fixture_t f = fixture_open(16);
    ecs_id_t ids[MANY];
    pos_t values[MANY];
    uint32_t count = 0;
    record_begin(&f, 1);
    for (int i = 0; i < MANY; i++) {
        ids[i] = spawn_pos(&f, i);
        values[i] = (pos_t){1000 + i, 5, 5};
    }
    apply(&f);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_many(f.world, ECS_OP_SET, f.pos, 1, MANY, ids, values), ECS_OK);
    CHECK_EQ(ecs_record_many(f.world, ECS_OP_INSERT, f.vel, 0, MANY, ids, values), ECS_OK);
    CHECK_EQ(ecs_record_many(f.world, ECS_OP_ADD, f.pos, 2, MANY, ids, values), ECS_OK);
    CHECK_EQ(ecs_record_many(f.world, ECS_OP_DESPAWN, f.pos, 2, MANY, ids, values), ECS_E_INVALID);
    CHECK_EQ(ecs_record_many(f.world, ECS_OP_SET, 99, 2, MANY, ids, values), ECS_E_UNKNOWN);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)->error, ECS_OK);
    for (int i = 0; i < MANY; i++) {
        const pos_t *pos = ecs_view(f.world, ids[i], f.pos);
        CHECK_EQ(pos->x, 1000 + i);
        CHECK_EQ(pos->y, i + 1 + 5);
        CHECK_EQ(pos->z, i + 2);
        CHECK_EQ(((const pos_t *)ecs_view(f.world, ids[i], f.vel))->z, 5);
    }
    fixture_close(&f);
}

static void a_bulk_spawn_that_fails_takes_no_id(void) {
    ecs_options_t options = {.max_entities = 8};
    ecs_world_t *world = NULL;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    fixture_t f = {.world = world};
    record_begin(&f, 1);
    ecs_id_t first = ecs_record_spawn(world, 0, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK(ecs_record_spawn_many(world, 8, NULL, 0, NULL) == NULL);
        CHECK(ecs_record_spawn_many(world, UINT32_MAX, NULL, 0, NULL) == NULL);
    }
    CHECK_TEXT(ecs_last_error(world), "the world has room for 8 entities (max_entities)");
    CHECK_EQ(ecs_record_spawn(world, 0, NULL), first + 1);
    apply(&f);
    fixture_close(&f);
}

static void a_bulk_spawn_takes_free_ids_and_those_there_are(void) {
    ecs_options_t options = {.max_entities = 8};
    ecs_world_t *world = NULL;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    fixture_t f = {.world = world};
    record_begin(&f, 1);
    ecs_id_t first = ecs_record_spawn(world, 0, NULL);
    ecs_id_t second = ecs_record_spawn(world, 0, NULL);
    apply(&f);
    record_begin(&f, 1);
    CHECK(ecs_record_spawn_many(world, 7, NULL, 0, NULL) == NULL);
    CHECK_TEXT(ecs_last_error(world), "the world has room for 8 entities (max_entities)");
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, first, 0), ECS_OK);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, second, 0), ECS_OK);
    apply(&f);
    record_begin(&f, 1);
    CHECK(ecs_record_spawn_many(world, 8, NULL, 0, NULL) != NULL);
    apply(&f);
    CHECK_EQ(ecs_shared(world)->alive, 8);
    fixture_close(&f);
}

static void what_is_rolled_back_keeps_no_block(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    const ecs_id_t *kept = spawn_many(&f, 3);
    ecs_id_t first = kept[0];
    ecs_mark_t mark = ecs_batch_mark(f.world);
    for (int i = 0; i < 10; i++) {
        (void)spawn_many(&f, MANY);
        (void)spawn_many(&f, MANY);
        CHECK_EQ(ecs_batch_rollback(f.world, mark), ECS_OK);
    }
    CHECK_EQ(f.world->stream[f.world->recording].block_count, 1);
    apply(&f);
    CHECK_EQ(x_of(&f, first, f.pos), 0);
    CHECK_EQ(ecs_shared(f.world)->alive, 3);
    fixture_close(&f);
}

static void only_what_is_observed_counts_as_an_event(void) {
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_DESPAWNED, 0), ECS_OK);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_ADDED, f.vel), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = spawn_many(&f, MANY)[3];
    insert_pos(&f, id, f.pos, 1);
    apply(&f);
    CHECK_EQ(f.world->event_bound, 0);
    record_begin(&f, 1);
    insert_pos(&f, id, f.vel, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(f.world->event_bound, 2);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_REMOVED, f.vel), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t other = spawn_many(&f, 1)[0];
    apply(&f);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, other, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(f.world->event_bound, 4); /* its end, and whatever it had */
    fixture_close(&f);
}

/* Each expectation looks its entity up: it does not search the bulk. */
static void expectations_see_what_a_bulk_spawn_brings(void) {
    fixture_t f = fixture_open(16);
    uint32_t count = 0;
    record_begin(&f, 1);
    const ecs_id_t *none = spawn_many(&f, 0), *first = spawn_many(&f, 5), *ids = spawn_many(&f, 7);
    CHECK(none != NULL);
    for (int i = 0; i < 7; i++) {
        pos_t *expected = ecs_record(f.world, ECS_OP_EXPECT, ids[i], f.pos, 0);
        *expected = (pos_t){i, i + 1, i + 2};
    }
    *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, first[4], f.pos, 0) = (pos_t){4, 5, 6};
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)[0].error, ECS_OK);
    fixture_close(&f);
}

int main(void) {
    RUN(expectations_see_what_a_bulk_spawn_brings);
    RUN(only_what_is_observed_counts_as_an_event);
    RUN(what_is_rolled_back_keeps_no_block);
    RUN(a_bulk_spawn_that_fails_takes_no_id);
    RUN(a_bulk_spawn_takes_free_ids_and_those_there_are);
    RUN(many_are_spawned_with_columns_of_values);
    RUN(other_commands_see_them_as_if_they_were_there);
    RUN(a_refused_batch_takes_them_with_it);
    RUN(a_command_may_name_an_id_before_its_bulk_spawn);
    RUN(nothing_is_to_come_after_an_apply);
    RUN(bad_bulk_spawns_reserve_nothing);
    RUN(a_column_of_values_is_recorded_in_one_call);
    return test_report();
}
