/* Limits of a world, whose write it was, queries for what is new. */
#include <sys/stat.h>

#include "world.h"

static void the_limit_of_entities_is_an_error_value(void) {
    ecs_options_t options = {.max_entities = 10};
    ecs_world_t *world = NULL;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    fixture_t f = {.world = world};
    record_begin(&f, 1);
    CHECK(ecs_record_spawn_many(world, 11, NULL, 0, NULL) == NULL); /* none of them is taken */
    ecs_id_t ids[10];
    for (int i = 0; i < 10; i++) {
        ids[i] = ecs_record_spawn(world, 0, NULL);
        CHECK(ids[i] != 0);
    }
    CHECK_EQ(ecs_record_spawn(world, 0, NULL), 0);
    CHECK_TEXT(ecs_last_error(world), "the world has room for 10 entities (max_entities)");
    apply(&f);
    CHECK_EQ(ecs_shared(world)->alive, 10);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, ids[3], 0), ECS_OK);
    apply(&f);
    record_begin(&f, 1);
    CHECK(ecs_record_spawn(world, 0, NULL) != 0);
    apply(&f);
    fixture_close(&f);
}

/* Spawns `count` entities with a component, in one batch; its error. */
static int spawn_many(ecs_world_t *world, uint32_t component, int count) {
    uint32_t results = 0;
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    for (int i = 0; i < count; i++) {
        ecs_id_t id = ecs_record_spawn(world, 0, NULL);
        (void)ecs_record(world, ECS_OP_INSERT, id, component, 0);
    }
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    CHECK_EQ(ecs_check(world), ECS_OK);
    return ecs_apply_results(world, &results)->error;
}

static void a_batch_that_does_not_fit_is_refused_whole(void) {
    ecs_options_t options = {.max_bytes = (size_t)1 << 20};
    const char *const fields[] = {"char blob[1024]"};
    ecs_world_t *world = NULL;
    uint32_t blob = 0, other = 0;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Blob", fields, 1, &blob), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Other", fields, 1, &other), ECS_OK);
    CHECK_EQ(spawn_many(world, blob, 100), ECS_OK);
    uint64_t before = ecs_hash(world);
    CHECK_EQ(spawn_many(world, blob, 2000), ECS_E_MEMORY);
    CHECK(ecs_hash(world) == before);
    CHECK_EQ(ecs_shared(world)->alive, 100);
    CHECK_EQ(spawn_many(world, other, 100), ECS_OK); /* what it had taken is free again */
    CHECK_EQ(ecs_shared(world)->alive, 200);
    ecs_world_destroy(world);
}

/* Bytes of open files that have memory: the world's is the only regular one here. */
static size_t bytes_in_use(void) {
    struct stat status;
    size_t bytes = 0;
    for (int fd = 3; fd < 64; fd++) {
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
            bytes += (size_t)status.st_blocks * 512;
        }
    }
    return bytes;
}

static void memory_of_despawned_entities_goes_back_to_the_system(void) {
    enum { MANY = 3000000 };
    fixture_t f = fixture_open(0);
    size_t full = 0;
    for (int round = 0; round < 2; round++) { /* the second one in what had been given back */
        void *column = NULL;
        record_begin(&f, 1);
        CHECK(ecs_record_spawn_many(f.world, MANY, &f.pos, 1, &column) != NULL);
        apply(&f);
        if (round == 0) { full = bytes_in_use(); }
        CHECK(full > (size_t)MANY * 32);
        CHECK(bytes_in_use() <= full + ((size_t)1 << 20));
        record_begin(&f, 1);
        uint32_t at = 0;
        for (ecs_id_t id = 0; (id = ecs_entity_next(f.world, &at)) != 0;) {
            CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
        }
        apply(&f);
        for (int later = 0; later < 64; later++) { /* not all at once: it may be needed again */
            CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_APPLY), ECS_OK);
            CHECK_EQ(ecs_apply(f.world), ECS_OK);
        }
        CHECK(bytes_in_use() < full / 2);
    }
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_trim(f.world), ECS_OK);
    CHECK(bytes_in_use() < (size_t)4 << 20);
    fixture_close(&f);
}

/* Archetypes come and go: 12 tags in all combinations, a few entities at a time. */
static void archetypes_without_rows_are_dropped(void) {
    enum { TAGS = 12, SHAPES = 1 << TAGS };
    fixture_t f = fixture_open(16);
    uint32_t tags[TAGS];
    ecs_query_desc_t desc = {.read = {f.pos}, .read_count = 1};
    ecs_query_desc_t bare = {.with = {f.pos}, .with_count = 1}; /* without columns */
    ecs_query_t *query = NULL, *bare_query = NULL;
    for (int i = 0; i < TAGS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "Tag%d", i);
        CHECK_EQ(ecs_component_register(f.world, name, NULL, 0, &tags[i]), ECS_OK);
    }
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &bare, &bare_query), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t stays = spawn_pos(&f, 5), last = spawn_pos(&f, 6);
    apply(&f);
    for (int shape = 1; shape < SHAPES; shape++) {
        record_begin(&f, 1);
        ecs_id_t id = spawn_pos(&f, shape);
        for (int i = 0; i < TAGS; i++) {
            if ((shape >> i & 1) != 0) { (void)ecs_record(f.world, ECS_OP_INSERT, id, tags[i], 0); }
        }
        CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, last, 0), ECS_OK);
        last = id;
        CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_APPLY), ECS_OK);
        CHECK_EQ(ecs_apply(f.world), ECS_OK);
        CHECK_EQ(ecs_query_count(query), 2);
        CHECK_EQ(ecs_query_count(bare_query), 2);
        CHECK_EQ(ecs_archetype_count(f.world) < 200, true);
    }
    CHECK_EQ(ecs_check(f.world), ECS_OK);
    CHECK_EQ(x_of(&f, last, f.pos), SHAPES - 1);
    CHECK_EQ(x_of(&f, stays, f.pos), 5);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_trim(f.world), ECS_OK);
    CHECK_EQ(ecs_archetype_count(f.world), 3); /* the empty shape and two with rows */
    CHECK_EQ(ecs_query_count(query), 2);
    record_begin(&f, 1);
    CHECK_EQ(ecs_trim(f.world), ECS_E_PHASE);
    insert_pos(&f, stays, f.vel, 1);
    apply(&f);
    CHECK_EQ(ecs_query_count(query), 2);
    fixture_close(&f);
}

/* ---- provenance ----------------------------------------------------------------------------- */

static void the_newest_write_says_whose_it_was(void) {
    fixture_t f = fixture_open(0);
    ecs_stamp_t stamp = {0};
    record_begin(&f, 7);
    CHECK_EQ(ecs_batch_place(f.world, 41), ECS_OK);
    ecs_id_t id = spawn_pos(&f, 1);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 8), ECS_OK);
    CHECK_EQ(ecs_batch_place(f.world, 42), ECS_OK);
    insert_pos(&f, id, f.vel, 1);
    apply(&f);
    CHECK_EQ(ecs_provenance(f.world, id, f.pos, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 7);
    CHECK_EQ(stamp.place, 41);
    CHECK_EQ(stamp.changed, ecs_shared(f.world)->tick);
    CHECK_EQ(ecs_provenance(f.world, id, f.vel, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 8);
    CHECK_EQ(stamp.place, 42);
    record_begin(&f, 9); /* a move to another archetype keeps it */
    (void)ecs_record(f.world, ECS_OP_INSERT, id, f.tag, 0);
    apply(&f);
    CHECK_EQ(ecs_provenance(f.world, id, f.pos, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 7);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 10), ECS_OK);
    CHECK(ecs_write(f.world, id, f.pos) != NULL);
    CHECK_EQ(ecs_provenance(f.world, id, f.pos, &stamp), ECS_OK);
    CHECK_EQ(stamp.owner, 10);
    CHECK_EQ(ecs_provenance(f.world, id, f.tag, &stamp), ECS_E_INVALID);
    CHECK_EQ(ecs_provenance(f.world, id, f.mixed, &stamp), ECS_E_ABSENT);
    fixture_close(&f);
}

/* An entity with an older write comes to a chunk that is full. */
static void a_chunk_that_grows_keeps_its_newest_writes(void) {
    enum { FULL = 16 };
    fixture_t f = fixture_open(0);
    ecs_stamp_t before = {0}, after = {0};
    ecs_id_t ids[FULL];
    record_begin(&f, 6);
    ecs_id_t last = spawn_pos(&f, 1);
    insert_pos(&f, last, f.vel, 1);
    apply(&f);
    record_begin(&f, 7);
    for (int i = 0; i < FULL; i++) {
        ids[i] = spawn_pos(&f, i);
    }
    apply(&f);
    CHECK_EQ(ecs_provenance(f.world, ids[0], f.pos, &before), ECS_OK);
    record_begin(&f, 8);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, last, f.vel), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_provenance(f.world, ids[0], f.pos, &after), ECS_OK);
    CHECK_EQ(after.owner, 7);
    CHECK_EQ(after.changed, before.changed);
    CHECK_EQ(after.added, ecs_shared(f.world)->tick);
    fixture_close(&f);
}

static void a_failed_expectation_says_who_changed_it(void) {
    fixture_t f = fixture_open(0);
    uint32_t count = 0;
    record_begin(&f, 1);
    CHECK_EQ(ecs_batch_place(f.world, 11), ECS_OK);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    for (uint64_t owner = 2; owner <= 4; owner++) { /* 2 and 3 in an apply of their own */
        CHECK_EQ(ecs_batch_begin(f.world, owner), ECS_OK);
        CHECK_EQ(ecs_batch_place(f.world, (uint32_t)owner * 10), ECS_OK);
        if (owner == 4) { *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, id, f.pos, 0) = (pos_t){0}; }
        ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = (double)owner;
        CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    }
    CHECK_EQ(ecs_batch_begin(f.world, 5), ECS_OK);
    apply(&f); /* the fifth is empty and leaves no trace */
    const ecs_batch_result_t *result = &ecs_apply_results(f.world, &count)[2];
    CHECK_EQ(count, 3);
    CHECK_EQ(result->error, ECS_E_EXPECT);
    CHECK_EQ(result->component, f.pos);
    CHECK_EQ(result->place, 40);
    CHECK_EQ(result->by.owner, 3);
    CHECK_EQ(result->by.place, 30);
    record_begin(&f, 6); /* nobody in this apply: the newest write before it */
    *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, id, f.pos, 0) = (pos_t){0};
    apply(&f);
    result = ecs_apply_results(f.world, &count);
    CHECK_EQ(result->by.owner, 3);
    CHECK_EQ(result->by.changed, ecs_shared(f.world)->tick - 1);
    fixture_close(&f);
}

static void a_skipped_command_says_where_it_was_recorded(void) {
    fixture_t f = fixture_open(0);
    uint32_t count = 0;
    record_begin(&f, 1);
    CHECK_EQ(ecs_batch_place(f.world, 77), ECS_OK);
    insert_pos(&f, 4294967296.0 * 3 + 5, f.pos, 1);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)->skipped, 1);
    CHECK_EQ(ecs_apply_results(f.world, &count)->skipped_place, 77);
    fixture_close(&f);
}

/* ---- what is new ---------------------------------------------------------------------------- */

static double walk(ecs_query_t *query) {
    double rows = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        rows += cursor->count;
    }
    ecs_cursor_close(cursor);
    return rows;
}

static void a_query_yields_the_chunks_that_changed_since_its_last_walk(void) {
    fixture_t f = fixture_open(16);
    ecs_query_desc_t changed = {
        .read = {f.pos}, .read_count = 1, .changed = {f.pos}, .changed_count = 1};
    ecs_query_desc_t added = {.read = {f.vel}, .read_count = 1, .added = {f.pos}, .added_count = 1};
    ecs_query_t *news = NULL, *twin = NULL, *fresh = NULL, *all = NULL;
    CHECK_EQ(ecs_query_create(f.world, &changed, &news), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &changed, &twin), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &added, &fresh), ECS_OK);
    CHECK(news != twin);
    ecs_query_desc_t plain = {.read = {f.pos}, .read_count = 1};
    CHECK_EQ(ecs_query_create(f.world, &plain, &all), ECS_OK);
    CHECK(all != news && all != twin); /* which would have no past */
    ecs_id_t ids[64];
    record_begin(&f, 1);
    for (int i = 0; i < 64; i++) {
        ids[i] = spawn_pos(&f, i);
        insert_pos(&f, ids[i], f.vel, i);
    }
    apply(&f);
    CHECK_EQ(ecs_query_count(news), 64);
    CHECK_EQ(walk(news), 64);
    CHECK_EQ(walk(fresh), 64);
    CHECK_EQ(walk(news), 0);
    CHECK_EQ(walk(fresh), 0);
    CHECK_EQ(ecs_query_count(twin), 64); /* has its own past */
    record_begin(&f, 1);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, ids[20], f.pos, 1))->x = 5;
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, ids[50], f.vel, 1))->x = 5;
    apply(&f);
    CHECK_EQ(ecs_query_count(news), 16);
    ecs_cursor_t *cursor = ecs_cursor_open(news); /* left early: it will be seen again */
    CHECK(ecs_cursor_next(cursor));
    CHECK_EQ(((const pos_t *)cursor->box[0].p)[4].x, 5);
    ecs_cursor_close(cursor);
    CHECK_EQ(walk(news), 16);
    CHECK_EQ(walk(news), 0);
    CHECK_EQ(walk(fresh), 0);
    record_begin(&f, 1); /* a row that comes is new in both; one that fills a gap brings its news */
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, ids[0], 0), ECS_OK);
    apply(&f);
    CHECK_EQ(walk(fresh), 0);
    record_begin(&f, 1);
    insert_pos(&f, spawn_pos(&f, 1), f.vel, 1);
    apply(&f);
    CHECK_EQ(walk(fresh), 16);
    fixture_close(&f);
}

static void a_writers_own_marks_are_no_news_to_it(void) {
    fixture_t f = fixture_open(16);
    ecs_query_desc_t desc = {
        .write = {f.pos}, .write_count = 1, .changed = {f.pos}, .changed_count = 1};
    ecs_query_t *query = NULL;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    for (int run = 0; run < 3; run++) {
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
        CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
        CHECK_EQ(walk(query), run == 0 ? 1 : 0);
    }
    CHECK_EQ(ecs_write_begin(f.world, 2), ECS_OK);
    CHECK(ecs_write(f.world, id, f.pos) != NULL);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    CHECK_EQ(walk(query), 1);
    fixture_close(&f);
}

/* A walk goes on where it is when shapes before it, or its own, are dropped. */
static void a_walk_survives_a_trim(void) {
    enum { SHAPES = 3 };
    fixture_t f = fixture_open(16);
    ecs_query_t *news = NULL;
    ecs_query_desc_t changed = {
        .read = {f.pos}, .read_count = 1, .changed = {f.pos}, .changed_count = 1};
    CHECK_EQ(ecs_query_create(f.world, &changed, &news), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t ids[SHAPES];
    for (int i = 0; i < SHAPES; i++) { /* each in its own archetype */
        ids[i] = spawn_pos(&f, i);
        if (i > 0) { insert_pos(&f, ids[i], i == 1 ? f.vel : f.mixed, i); }
    }
    apply(&f);
    for (int gone = 0; gone < 2; gone++) { /* one it has been at; the one that it is at */
        ecs_cursor_t *cursor = ecs_cursor_open(news);
        CHECK(ecs_cursor_next(cursor));
        CHECK_EQ(((const pos_t *)cursor->box[0].p)->x, gone);
        record_begin(&f, 1);
        CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, ids[gone], 0), ECS_OK);
        ((pos_t *)ecs_record(f.world, ECS_OP_SET, ids[2], f.pos, 2))->y = gone;
        apply(&f);
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
        CHECK_EQ(ecs_trim(f.world), ECS_OK);
        double rows = 0;
        while (ecs_cursor_next(cursor)) {
            rows += cursor->count;
        }
        CHECK_EQ(rows, SHAPES - 1 - gone);
        ecs_cursor_close(cursor);
        record_begin(&f, 1);
        for (int i = gone + 1; i < SHAPES; i++) {
            ((pos_t *)ecs_record(f.world, ECS_OP_SET, ids[i], f.pos, 2))->y = 5;
        }
        apply(&f);
    }
    fixture_close(&f);
}

int main(void) {
    RUN(a_walk_survives_a_trim);
    RUN(the_limit_of_entities_is_an_error_value);
    RUN(a_batch_that_does_not_fit_is_refused_whole);
    RUN(memory_of_despawned_entities_goes_back_to_the_system);
    RUN(archetypes_without_rows_are_dropped);
    RUN(the_newest_write_says_whose_it_was);
    RUN(a_chunk_that_grows_keeps_its_newest_writes);
    RUN(a_failed_expectation_says_who_changed_it);
    RUN(a_skipped_command_says_where_it_was_recorded);
    RUN(a_query_yields_the_chunks_that_changed_since_its_last_walk);
    RUN(a_writers_own_marks_are_no_news_to_it);
    return test_report();
}
