/* Apply, recording and reactions with input that nobody should give. */
#include "world.h"

static void a_command_on_id_0_is_one_on_a_dead_target(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    record_begin(&f, 1);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 6;
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, 0, f.pos), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, 0, 0), ECS_OK);
    apply(&f);
    uint32_t count = 0;
    CHECK_EQ(ecs_apply_results(f.world, &count)[1].skipped, 1);
    CHECK_EQ(x_of(&f, id, f.pos), 6);
    fixture_close(&f);
}

static void a_rejected_batch_may_hold_despawns_of_forged_ids(void) {
    static const ecs_id_t forged[] = {(ecs_id_t)NAN, -1, 0, 1e300, 4294967296.0 * 2 - 1};
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    record_begin(&f, 1);
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, forged[i], 0), ECS_OK);
    }
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id + 4294967296.0, 0), ECS_OK);
    (void)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1);
    apply(&f);
    uint32_t count = 0;
    CHECK_EQ(ecs_apply_results(f.world, &count)->error, ECS_E_ABSENT);
    CHECK(ecs_alive(f.world, id));
    fixture_close(&f);
}

static void an_event_names_no_batch_that_was_rejected(void) {
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_CHANGED, f.pos), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t a = spawn_pos(&f, 1), b = spawn_pos(&f, 2);
    apply(&f);
    record_begin(&f, 7);
    insert_pos(&f, a, f.pos, 3);
    insert_pos(&f, b, f.pos, 3);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 8), ECS_OK);
    insert_pos(&f, a, f.pos, 4);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, b, 0), ECS_OK);
    (void)ecs_record(f.world, ECS_OP_SET, a, f.vel, 1); /* absent */
    apply(&f);
    uint32_t count = 0;
    const ecs_event_t *events = ecs_events(f.world, &count);
    CHECK_EQ(count, 2);
    CHECK_EQ(events[0].owner, 7);
    CHECK_EQ(events[1].owner, 7);
    fixture_close(&f);
}

static void a_batch_tells_whether_it_holds_a_command(void) {
    fixture_t f = fixture_open(0);
    CHECK(!ecs_batch_recorded(f.world));
    record_begin(&f, 1);
    ecs_mark_t start = ecs_batch_mark(f.world);
    CHECK(!ecs_batch_recorded(f.world));
    ecs_id_t id = spawn_pos(&f, 5);
    CHECK(ecs_batch_recorded(f.world));
    CHECK_EQ(ecs_batch_rollback(f.world, start), ECS_OK);
    CHECK(!ecs_batch_recorded(f.world));
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    CHECK(ecs_batch_recorded(f.world));
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK(!ecs_batch_recorded(f.world));
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    CHECK(!ecs_batch_recorded(f.world)); /* the one before it is not its own */
    apply(&f);
    fixture_close(&f);
}

static void recording_answers_what_was_wrong(void) {
    static const double masks[] = {(double)NAN, -1, 0.5, 8, 1e300};
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, 1, 0), ECS_E_PHASE);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, id, 99), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_SET, id, f.pos), ECS_E_INVALID);
    CHECK(ecs_record(f.world, ECS_OP_SPAWN, id, f.pos, 0) == NULL);
    CHECK_TEXT(ecs_last_error(f.world), "operation 0 carries no value");
    CHECK(ecs_record(f.world, 77, id, f.pos, 0) == NULL);
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        CHECK(ecs_record(f.world, ECS_OP_SET, id, f.pos, masks[i]) == NULL);
    }
    CHECK_TEXT(ecs_last_error(f.world), "Pos has no fields 1e+300");
    apply(&f);
    CHECK_EQ(x_of(&f, id, f.pos), 1);
    fixture_close(&f);
}

static void a_rejected_batch_leaves_the_hash_as_it_was(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    uint64_t before = ecs_hash(f.world);
    record_begin(&f, 1);
    CHECK(ecs_record_spawn(f.world, id, "named") > 0);
    (void)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1); /* absent */
    apply(&f);
    CHECK(ecs_hash(f.world) == before);
    fixture_close(&f);
}

static void an_open_batch_is_not_applied(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(f.world), ECS_E_INVALID);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    CHECK(!ecs_alive(f.world, id));
    insert_pos(&f, id, f.vel, 2); /* it goes on */
    apply(&f);
    CHECK_EQ(x_of(&f, id, f.pos), 1);
    CHECK_EQ(x_of(&f, id, f.vel), 2);
    record_begin(&f, 1);
    apply(&f);
    fixture_close(&f);
}

static void going_back_to_a_mark_ends_those_after_it(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_mark_t before = ecs_batch_mark(f.world);
    (void)spawn_pos(&f, 1);
    ecs_mark_t after = ecs_batch_mark(f.world);
    CHECK_EQ(ecs_batch_rollback(f.world, before), ECS_OK);
    CHECK_EQ(ecs_batch_rollback(f.world, after), ECS_E_INVALID);
    ecs_mark_t ahead = ecs_batch_mark(f.world);
    ahead.at += 100;
    CHECK_EQ(ecs_batch_rollback(f.world, ahead), ECS_E_INVALID); /* nothing was ever there */
    apply(&f);
    CHECK_EQ(ecs_shared(f.world)->alive, 0);
    fixture_close(&f);
}

static void a_mark_is_good_while_nothing_before_it_was_taken_back(void) {
    enum { MANY = 100 };
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_mark_t start = ecs_batch_mark(f.world);
    (void)ecs_record_spawn(f.world, 0, NULL);
    ecs_mark_t inside = ecs_batch_mark(f.world);
    CHECK_EQ(ecs_batch_rollback(f.world, start), ECS_OK);
    (void)spawn_pos(&f, 1); /* the mark would lie in it */
    CHECK_EQ(ecs_batch_rollback(f.world, inside), ECS_E_INVALID);
    ecs_mark_t outer = ecs_batch_mark(f.world);
    (void)spawn_pos(&f, 2);
    for (int i = 0; i < MANY; i++) { /* blocks that fail, each behind the one before */
        (void)spawn_pos(&f, 2);
        ecs_mark_t inner = ecs_batch_mark(f.world);
        (void)spawn_pos(&f, 3);
        CHECK_EQ(ecs_batch_rollback(f.world, inner), ECS_OK);
        CHECK_EQ(ecs_batch_rollback(f.world, inner), ECS_OK);
    }
    CHECK_EQ(ecs_batch_rollback(f.world, outer), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_shared(f.world)->alive, 1);
    fixture_close(&f);
}

/* The second rollback goes before the first: it ends marks that the first had left. */
static void a_rollback_stands_for_those_that_went_less_far(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_mark_t start = ecs_batch_mark(f.world);
    (void)spawn_pos(&f, 1);
    ecs_mark_t middle = ecs_batch_mark(f.world);
    (void)spawn_pos(&f, 2);
    ecs_mark_t end = ecs_batch_mark(f.world);
    (void)spawn_pos(&f, 3);
    CHECK_EQ(ecs_batch_rollback(f.world, end), ECS_OK);
    CHECK_EQ(ecs_batch_rollback(f.world, start), ECS_OK);
    (void)ecs_record_spawn(f.world, 0, NULL); /* no command ends where the marks lie */
    (void)spawn_pos(&f, 4);
    (void)spawn_pos(&f, 5);
    CHECK_EQ(ecs_batch_rollback(f.world, middle), ECS_E_INVALID);
    apply(&f);
    CHECK_EQ(ecs_shared(f.world)->alive, 3);
    fixture_close(&f);
}

static void bad_phases_places_and_flags_are_refused(void) {
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_phase_set(f.world, (ecs_phase_t)99), ECS_E_INVALID);
    record_begin(&f, 1);
    CHECK_EQ(ecs_batch_place(f.world, 65536), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "place 65536: at most 65535");
    CHECK_EQ(ecs_batch_flags(f.world, 4), ECS_E_INVALID);
    CHECK(ecs_record_at(f.world, 65536, ECS_OP_INSERT, spawn_pos(&f, 1), f.vel, 0) == NULL);
    apply(&f);
    fixture_close(&f);
}

/* Fields count, not what lies between them. */
static void expectations_and_conditions_leave_gaps_out(void) {
    fixture_t f = fixture_open(0);
    uint32_t count = 0, watch = 0;
    bool fired = false;
    record_begin(&f, 1);
    ecs_id_t id = ecs_record_spawn(f.world, 0, NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, id, f.mixed, 0) != NULL);
    apply(&f);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_CHANGED, .id = id, .component = f.mixed};
    CHECK_EQ(ecs_watch_add(f.world, &desc, 1, &watch, &fired), ECS_OK);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    char *value = ecs_write(f.world, id, f.mixed);
    value[1] = 77; /* between a bool and an int16 */
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 0);
    record_begin(&f, 1);
    CHECK(ecs_record(f.world, ECS_OP_EXPECT, id, f.mixed, 0) != NULL);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)[0].error, ECS_OK);
    fixture_close(&f);
}

static void what_lies_in_a_gap_of_a_payload_is_not_written(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = ecs_record_spawn(f.world, 0, NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, id, f.mixed, 0) != NULL);
    apply(&f);
    record_begin(&f, 1);
    unsigned char *value = ecs_record(f.world, ECS_OP_SET, id, f.mixed, 15); /* all its fields */
    memset(value, 0, ecs_component_size_bytes(f.world, f.mixed));
    value[0] = 1;
    value[1] = 77; /* between a bool and an int16 */
    apply(&f);
    const unsigned char *now = ecs_view(f.world, id, f.mixed);
    CHECK_EQ(now[0], 1);
    CHECK_EQ(now[1], 0);
    fixture_close(&f);
}

/* A watch and a walk that begin in the middle of a writer see what it writes later. */
static void what_a_writer_does_after_a_walk_is_news(void) {
    fixture_t f = fixture_open(16);
    uint32_t count = 0, watch = 0;
    bool fired = false;
    ecs_query_t *news = NULL;
    ecs_query_desc_t changed = {
        .read = {f.pos}, .read_count = 1, .changed = {f.pos}, .changed_count = 1};
    CHECK_EQ(ecs_query_create(f.world, &changed, &news), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    for (int run = 0; run < 3; run++) {
        CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
        ecs_cursor_t *cursor = ecs_cursor_open(news);
        CHECK(ecs_cursor_next(cursor));
        CHECK(!ecs_cursor_next(cursor));
        CHECK(!ecs_cursor_next(cursor));
        ecs_cursor_close(cursor);
        ((pos_t *)ecs_write(f.world, id, f.pos))->x = run;
    }
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_CHANGED, .id = id, .component = f.pos};
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    ((pos_t *)ecs_write(f.world, id, f.pos))->x = 10;
    CHECK_EQ(ecs_watch_add(f.world, &desc, 1, &watch, &fired), ECS_OK);
    ((pos_t *)ecs_write(f.world, id, f.pos))->x = 11;
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 1);
    fixture_close(&f);
}

static uint64_t hash_of(const char *name, bool below, bool tag, double second) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t first = spawn_pos(&f, 1), id = ecs_record_spawn(f.world, below ? first : 0, name);
    insert_pos(&f, id, f.pos, second);
    if (tag) { /* on both: the rows stay in one archetype */
        CHECK(ecs_record(f.world, ECS_OP_INSERT, first, f.tag, 0) != NULL);
        CHECK(ecs_record(f.world, ECS_OP_INSERT, id, f.tag, 0) != NULL);
    }
    apply(&f);
    uint64_t hash = ecs_hash(f.world);
    fixture_close(&f);
    return hash;
}

static void the_hash_tells_names_parents_tags_and_values_apart(void) {
    uint64_t hash[] = {hash_of(NULL, false, false, 1), hash_of(NULL, false, false, 2),
                       hash_of(NULL, false, true, 1),  hash_of(NULL, true, false, 1),
                       hash_of("a", false, false, 1),  hash_of("b", false, false, 1),
                       hash_of("a", true, false, 1)};
    size_t count = sizeof hash / sizeof hash[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; k < count; k++) {
            CHECK(hash[i] != hash[k]);
        }
    }
    CHECK(hash_of("a", true, true, 2) == hash_of("a", true, true, 2));
}

static void a_slot_is_retired_before_its_ids_repeat(void) {
    enum { GENERATIONS = (1 << 20) - 1 };
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    for (double i = 1; i <= GENERATIONS; i++) {
        (void)ecs_batch_begin(f.world, 1);
        ecs_id_t id = ecs_record_spawn(f.world, 0, NULL);
        (void)ecs_batch_drop(f.world);
        if (id != i * 4294967296.0) { CHECK_EQ(id, i * 4294967296.0); }
    }
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_spawn(f.world, 0, NULL), 4294967297.0); /* another slot */
    apply(&f);
    fixture_close(&f);
}

static void a_condition_on_an_unknown_component_is_an_error(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_watch_desc_t d = {.kind = ECS_WATCH_DESPAWNED, .id = spawn_pos(&f, 1)};
    apply(&f);
    uint32_t watch = 0;
    bool fired = false;
    d.component = 99;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_OK); /* names no field */
    d.field_count = 1;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_E_UNKNOWN);
    fixture_close(&f);
}

/* Whether or not the batch before it held something, the next is one of its own. */
static void the_next_batch_has_nothing_of_the_one_before(void) {
    fixture_t f = fixture_open(0);
    uint32_t count = 0;
    uint64_t owner = 0;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    CHECK_EQ(ecs_batch_next(f.world, 2), ECS_OK); /* none is open */
    ecs_mark_t empty = ecs_batch_mark(f.world);
    CHECK_EQ(ecs_batch_flags(f.world, ECS_FLAG_STRICT), ECS_OK);
    CHECK_EQ(ecs_batch_place(f.world, 9), ECS_OK);
    CHECK_EQ(ecs_batch_next(f.world, 3), ECS_OK); /* an empty one is */
    CHECK(ecs_batch_open(f.world, &owner) && owner == 3);
    CHECK_EQ(ecs_batch_count(f.world), 0);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, 0, f.pos), ECS_OK); /* not strict */
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 6;
    CHECK(ecs_batch_mark(f.world).batch != empty.batch);
    CHECK_EQ(ecs_batch_next(f.world, 4), ECS_OK); /* one with commands is */
    CHECK_EQ(ecs_batch_count(f.world), 1);
    (void)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1); /* absent */
    apply(&f);
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(count, 2);
    CHECK(results[0].owner == 3 && results[0].error == ECS_OK);
    CHECK(results[0].skipped == 1 && results[0].skipped_place == 0);
    CHECK(results[1].owner == 4 && results[1].error == ECS_E_ABSENT);
    CHECK_EQ(x_of(&f, id, f.pos), 6);
    fixture_close(&f);
}

int main(void) {
    RUN(the_next_batch_has_nothing_of_the_one_before);
    RUN(what_a_writer_does_after_a_walk_is_news);
    RUN(expectations_and_conditions_leave_gaps_out);
    RUN(what_lies_in_a_gap_of_a_payload_is_not_written);
    RUN(bad_phases_places_and_flags_are_refused);
    RUN(a_rollback_stands_for_those_that_went_less_far);
    RUN(a_mark_is_good_while_nothing_before_it_was_taken_back);
    RUN(a_command_on_id_0_is_one_on_a_dead_target);
    RUN(a_rejected_batch_may_hold_despawns_of_forged_ids);
    RUN(an_event_names_no_batch_that_was_rejected);
    RUN(a_batch_tells_whether_it_holds_a_command);
    RUN(recording_answers_what_was_wrong);
    RUN(a_rejected_batch_leaves_the_hash_as_it_was);
    RUN(an_open_batch_is_not_applied);
    RUN(going_back_to_a_mark_ends_those_after_it);
    RUN(the_hash_tells_names_parents_tags_and_values_apart);
    RUN(a_slot_is_retired_before_its_ids_repeat);
    RUN(a_condition_on_an_unknown_component_is_an_error);
    return test_report();
}
