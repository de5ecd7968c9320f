#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static void a_spawn_is_visible_after_apply_and_not_before(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    CHECK(id > 0);
    CHECK(!ecs_alive(f.world, id));
    CHECK(ecs_view(f.world, id, f.pos) == NULL);
    apply(&f);
    CHECK(ecs_alive(f.world, id));
    CHECK_EQ(x_of(&f, id, f.pos), 5);
    fixture_close(&f);
}

static void views_lie_in_the_read_only_mapping(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    ecs_maps_t maps = ecs_maps(f.world);
    const char *view = ecs_view(f.world, id, f.pos);
    CHECK(view >= maps.view && view < maps.view + maps.bytes);
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        *(volatile double *)(uintptr_t)view = 6; /* what an FFI cast could do */
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0); /* a signal, or a sanitizer's report */
    CHECK_EQ(x_of(&f, id, f.pos), 5);
    fixture_close(&f);
}

static void changes_outside_their_phase_are_refused(void) {
    fixture_t f = fixture_open(0);
    uint32_t out = 0;
    CHECK_EQ(ecs_apply(f.world), ECS_E_PHASE);
    CHECK_EQ(ecs_batch_begin(f.world, 1), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Late", NULL, 0, &out), ECS_E_PHASE);
    CHECK(ecs_write(f.world, 1, f.pos) == NULL);
    CHECK_TEXT(ecs_last_error(f.world), "not allowed in the run phase");
    CHECK(ecs_record(f.world, ECS_OP_SET, 1, f.pos, 1) == NULL); /* no batch is open */
    fixture_close(&f);
}

static void *from_another_thread(void *argument) {
    fixture_t *f = argument;
    int *rc = calloc(4, sizeof(int));
    rc[0] = ecs_apply(f->world);
    rc[1] = ecs_batch_begin(f->world, 1);
    rc[2] = ecs_phase_set(f->world, ECS_PHASE_APPLY);
    rc[3] = ecs_write_begin(f->world, 1);
    return rc;
}

static void changes_from_another_thread_are_refused(void) {
    fixture_t f = fixture_open(0);
    pthread_t thread;
    void *result = NULL;
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(pthread_create(&thread, NULL, from_another_thread, &f), 0);
    CHECK_EQ(pthread_join(thread, &result), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(((int *)result)[i], ECS_E_THREAD);
    }
    free(result);
    fixture_close(&f);
}

static void set_writes_only_the_named_fields(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    record_begin(&f, 1);
    pos_t *slot = ecs_record(f.world, ECS_OP_SET, id, f.pos, 2);
    slot->x = 100;
    slot->y = 200;
    apply(&f);
    CHECK_EQ(x_of(&f, id, f.pos), 5);
    CHECK_EQ(((const pos_t *)ecs_view(f.world, id, f.pos))->y, 200);
    fixture_close(&f);
}

static void set_of_an_absent_component_rejects_the_batch_whole(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    record_begin(&f, 42);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 9;
    ecs_id_t spawned = spawn_pos(&f, 1);
    (void)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1);
    ecs_id_t later = spawn_pos(&f, 1);
    apply(&f);
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(results[0].owner, 42);
    CHECK_EQ(results[0].error, ECS_E_ABSENT);
    CHECK_EQ(results[0].id, id);
    CHECK_EQ(results[0].component, f.vel);
    CHECK_EQ(x_of(&f, id, f.pos), 5);
    CHECK(!ecs_alive(f.world, spawned));
    CHECK(!ecs_alive(f.world, later));
    record_begin(&f, 1); /* the ids come back one generation on */
    ecs_id_t again = spawn_pos(&f, 1);
    CHECK_EQ(again - spawned, 4294967296.0);
    apply(&f);
    CHECK(!ecs_alive(f.world, spawned));
    fixture_close(&f);
}

static void a_batch_sees_the_accepted_batches_before_it(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, id, f.pos), ECS_OK);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 3), ECS_OK);
    (void)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1); /* absent by now */
    apply(&f);
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(results[0].error, ECS_OK);
    CHECK_EQ(results[1].error, ECS_OK);
    CHECK_EQ(results[2].error, ECS_E_ABSENT);
    CHECK(ecs_alive(f.world, id));
    CHECK(!ecs_has(f.world, id, f.pos));
    fixture_close(&f);
}

static void a_dead_target_counts_or_rejects_by_its_flags(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t gone = spawn_pos(&f, 1), stays = spawn_pos(&f, 2);
    apply(&f);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, gone, 0), ECS_OK);
    apply(&f);
    record_begin(&f, 1); /* warn */
    insert_pos(&f, gone, f.pos, 3);
    insert_pos(&f, stays, f.pos, 4);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    CHECK_EQ(ecs_batch_flags(f.world, ECS_FLAG_STRICT), ECS_OK);
    insert_pos(&f, stays, f.pos, 5);
    insert_pos(&f, gone, f.pos, 6);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 3), ECS_OK);
    CHECK_EQ(ecs_batch_flags(f.world, ECS_FLAG_SILENT), ECS_OK);
    insert_pos(&f, gone, f.pos, 7);
    apply(&f);
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(results[0].error, ECS_OK);
    CHECK_EQ(results[0].skipped, 1);
    CHECK_EQ(results[0].skipped_id, gone);
    CHECK_EQ(results[1].error, ECS_E_DEAD);
    CHECK_EQ(results[2].error, ECS_OK);
    CHECK_EQ(results[2].skipped, 0);
    CHECK_EQ(x_of(&f, stays, f.pos), 4);
    fixture_close(&f);
}

static void an_expectation_includes_earlier_batches(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    for (int second = 0; second < 2; second++) { /* two tasks that both saw x = 5 */
        if (second == 0) {
            record_begin(&f, 1);
        } else {
            CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
        }
        *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, id, f.pos, 0) = (pos_t){5, 6, 7};
        ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 10 + second;
        CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    }
    apply(&f);
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(results[0].error, ECS_OK);
    CHECK_EQ(results[1].error, ECS_E_EXPECT);
    CHECK_EQ(x_of(&f, id, f.pos), 10);
    fixture_close(&f);
}

/* Values of entities that nothing moves are written apart from the moves; their order must hold. */
static void writes_before_and_after_a_move_keep_their_order(void) {
    fixture_t f = fixture_open(16);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 0), other = spawn_pos(&f, 0);
    apply(&f);
    record_begin(&f, 1);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 1;
    ((pos_t *)ecs_record(f.world, ECS_OP_ADD, id, f.pos, 1))->x = 10;
    insert_pos(&f, id, f.vel, 0);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 2))->y = 2;
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, other, f.pos, 1))->x = 5;
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, other, f.pos, 1))->x = 6;
    *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, other, f.pos, 0) = (pos_t){6, 1, 2};
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 3), ECS_OK);
    ((pos_t *)ecs_record(f.world, ECS_OP_ADD, id, f.pos, 3))->x = 100;
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, other, f.pos), ECS_OK);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 4), ECS_OK); /* refused: nothing of it is written */
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1))->x = 9;
    (void)ecs_record(f.world, ECS_OP_SET, other, f.pos, 1);
    apply(&f);
    uint32_t count = 0;
    const ecs_batch_result_t *results = ecs_apply_results(f.world, &count);
    CHECK_EQ(results[1].error, ECS_OK);
    CHECK_EQ(results[3].error, ECS_E_ABSENT);
    const pos_t *pos = ecs_view(f.world, id, f.pos);
    CHECK_EQ(pos->x, 111);
    CHECK_EQ(pos->y, 2);
    CHECK_EQ(x_of(&f, id, f.vel), 0);
    CHECK(!ecs_has(f.world, other, f.pos));
    fixture_close(&f);
}

static void add_increments_at_apply(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    ((pos_t *)ecs_record(f.world, ECS_OP_ADD, id, f.pos, 1))->x = 2;
    ((pos_t *)ecs_record(f.world, ECS_OP_ADD, id, f.pos, 1))->x = 3;
    apply(&f);
    CHECK_EQ(x_of(&f, id, f.pos), 10);
    CHECK_EQ(((const pos_t *)ecs_view(f.world, id, f.pos))->y, 6);
    fixture_close(&f);
}

static void dropping_a_batch_forgets_it(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    CHECK_EQ(ecs_batch_drop(f.world), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 1), ECS_OK);
    ecs_id_t other = spawn_pos(&f, 6);
    apply(&f);
    CHECK(!ecs_alive(f.world, id));
    CHECK(ecs_alive(f.world, other));
    fixture_close(&f);
}

static void despawn_takes_the_children_with_it(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t cell = ecs_record_spawn(f.world, 0, "cell");
    ecs_id_t belt = ecs_record_spawn(f.world, cell, "belt");
    ecs_id_t eye = ecs_record_spawn(f.world, belt, "eye");
    ecs_id_t other = ecs_record_spawn(f.world, cell, "other");
    apply(&f);
    CHECK_EQ(ecs_lookup(f.world, "cell/belt/eye"), eye);
    CHECK_EQ(ecs_parent(f.world, eye), belt);
    CHECK_EQ(ecs_child_first(f.world, cell), belt);
    CHECK_EQ(ecs_child_next(f.world, belt), other);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, belt, 0), ECS_OK);
    apply(&f);
    CHECK(!ecs_alive(f.world, eye));
    CHECK_EQ(ecs_lookup(f.world, "cell/belt/eye"), 0);
    CHECK_EQ(ecs_child_first(f.world, cell), other);
    record_begin(&f, 1); /* the name is free again, taken twice it is not */
    ecs_id_t again = ecs_record_spawn(f.world, cell, "belt");
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    ecs_id_t twice = ecs_record_spawn(f.world, cell, "belt");
    apply(&f);
    CHECK_EQ(ecs_lookup(f.world, "cell/belt"), again);
    CHECK(!ecs_alive(f.world, twice));
    fixture_close(&f);
}

static void a_rejected_despawn_brings_the_children_back(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t cell = ecs_record_spawn(f.world, 0, "cell");
    ecs_id_t belt = ecs_record_spawn(f.world, cell, "belt");
    apply(&f);
    record_begin(&f, 1);
    ecs_id_t fresh = ecs_record_spawn(f.world, cell, "fresh");
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, cell, 0), ECS_OK);
    *(pos_t *)ecs_record(f.world, ECS_OP_EXPECT, belt, f.pos, 0) = (pos_t){0};
    apply(&f);
    CHECK(ecs_alive(f.world, cell));
    CHECK(ecs_alive(f.world, belt));
    CHECK(!ecs_alive(f.world, fresh));
    CHECK_EQ(ecs_lookup(f.world, "cell/fresh"), 0);
    CHECK_EQ(ecs_lookup(f.world, "cell/belt"), belt);
    fixture_close(&f);
}

static void a_tree_deeper_than_the_stack_is_despawned(void) {
    enum { DEPTH = 500000 };
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t root = ecs_record_spawn(f.world, 0, "root"), last = root;
    for (int i = 0; i < DEPTH; i++) {
        last = ecs_record_spawn(f.world, last, NULL);
    }
    apply(&f);
    CHECK(ecs_alive(f.world, last));
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, root, 0), ECS_OK);
    apply(&f);
    CHECK(!ecs_alive(f.world, last));
    fixture_close(&f);
}

static void rolling_back_forgets_what_came_after_the_mark(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t kept = spawn_pos(&f, 1);
    ecs_mark_t mark = ecs_batch_mark(f.world);
    ecs_id_t gone = spawn_pos(&f, 2);
    CHECK_EQ(ecs_batch_rollback(f.world, mark), ECS_OK);
    ecs_id_t after = spawn_pos(&f, 3);
    apply(&f);
    CHECK(ecs_alive(f.world, kept));
    CHECK(!ecs_alive(f.world, gone));
    CHECK(ecs_alive(f.world, after));
    record_begin(&f, 2); /* a mark of another batch: all of this one goes */
    ecs_id_t other = spawn_pos(&f, 4);
    CHECK_EQ(ecs_batch_rollback(f.world, mark), ECS_OK);
    apply(&f);
    CHECK(!ecs_alive(f.world, other));
    fixture_close(&f);
}

static void defaults_and_layout_follow_the_declaration(void) {
    typedef struct {
        bool on;
        int16_t level;
        char label[8];
        double other;
    } mixed_t;
    fixture_t f = fixture_open(0);
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_component_fields(f.world, f.mixed, &count);
    CHECK_EQ(count, 4);
    CHECK_EQ(ecs_component_size_bytes(f.world, f.mixed), sizeof(mixed_t));
    CHECK_EQ(fields[1].offset_bytes, offsetof(mixed_t, level));
    CHECK_EQ(fields[2].offset_bytes, offsetof(mixed_t, label));
    CHECK_EQ(fields[3].offset_bytes, offsetof(mixed_t, other));
    const mixed_t *value = ecs_component_default(f.world, f.mixed);
    CHECK_EQ(value->level, 7);
    CHECK_TEXT(value->label, "hey");
    fixture_close(&f);
}

static void bad_declarations_say_what_is_wrong(void) {
    static const char *const bad[][2] = {
        {"flot x", "field \"flot x\": unknown type \"flot\" (expected bool, int8_t, uint8_t, "
                   "int16_t, uint16_t, "
                   "int32_t, uint32_t, float, double, char, entity, an enum or a struct)"},
        {"double", "field \"double\": expected \"type name\""},
        {"char label", "field \"char label\": text needs a length, as in char[24]"},
        {"double x[0]", "field \"double x[0]\": array length must be 1 to 16384"},
        {"uint8_t n = 256",
         "field \"n\": \"256\" is no default: expected a whole number from 0 to 255"},
        {"double x y", "field \"double x y\": unexpected \"y\""},
        {"double big[4096]", "32768 bytes; a component has at most 16384"},
    };
    fixture_t f = fixture_open(0);
    uint32_t out = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(ecs_component_register(f.world, "Bad", &bad[i][0], 1, &out) < 0);
        CHECK_TEXT(ecs_last_error(f.world), bad[i][1]);
    }
    const char *const other[] = {"double x"};
    CHECK_EQ(ecs_component_register(f.world, "Pos", other, 1, &out), ECS_E_CONFLICT);
    fixture_close(&f);
}

static void an_enum_field_takes_its_members(void) {
    fixture_t f = fixture_open(0);
    const char *const modes[] = {"idle", "auto", "fault"};
    const char *const fields[] = {"Mode mode = auto"};
    uint32_t mode = 0, drive = 0;
    int32_t value = 0;
    CHECK_EQ(ecs_enum_register(f.world, "Mode", modes, 3, &mode), ECS_OK);
    CHECK_EQ(ecs_enum_register(f.world, "Mode", modes, 2, &mode), ECS_E_CONFLICT);
    CHECK_EQ(ecs_component_register(f.world, "Drive", fields, 1, &drive), ECS_OK);
    CHECK_EQ(*(const int32_t *)ecs_component_default(f.world, drive), 1);
    CHECK_EQ(ecs_enum_value(f.world, mode, "fault", &value), ECS_OK);
    CHECK_EQ(value, 2);
    CHECK_EQ(ecs_enum_value(f.world, mode, "nope", &value), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void rows_stay_dense_over_many_chunks(void) {
    fixture_t f = fixture_open(16);
    enum { COUNT = 1000 };
    ecs_id_t ids[COUNT];
    record_begin(&f, 1);
    for (int i = 0; i < COUNT; i++) {
        ids[i] = spawn_pos(&f, i);
    }
    apply(&f);
    record_begin(&f, 1);
    for (int i = 0; i < COUNT; i += 3) {
        CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, ids[i], 0), ECS_OK);
    }
    for (int i = 1; i < COUNT; i += 3) {
        insert_pos(&f, ids[i], f.vel, -i);
    }
    apply(&f);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(ecs_alive(f.world, ids[i]), i % 3 != 0);
        if (i % 3 != 0) { CHECK_EQ(x_of(&f, ids[i], f.pos), i); }
        if (i % 3 == 1) { CHECK_EQ(x_of(&f, ids[i], f.vel), -i); }
    }
    fixture_close(&f);
}

static void a_query_yields_chunks_of_matching_archetypes(void) {
    fixture_t f = fixture_open(16);
    ecs_query_desc_t desc = {.read = {f.pos},
                             .read_count = 1,
                             .maybe = {f.vel},
                             .maybe_count = 1,
                             .without = {f.tag},
                             .without_count = 1};
    ecs_query_t *query = NULL;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    record_begin(&f, 1);
    for (int i = 0; i < 40; i++) {
        ecs_id_t id = spawn_pos(&f, i);
        if (i % 2 == 0) { insert_pos(&f, id, f.vel, i); }
        if (i % 4 == 0) { (void)ecs_record(f.world, ECS_OP_INSERT, id, f.tag, 0); }
    }
    apply(&f);
    CHECK_EQ(ecs_query_count(query), 30);
    int rows = 0, with_vel = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        rows += cursor->count;
        if (cursor->box[1].p != NULL) { with_vel += cursor->count; }
    }
    ecs_cursor_close(cursor);
    CHECK_EQ(rows, 30);
    CHECK_EQ(with_vel, 10);
    fixture_close(&f);
}

static void a_writer_may_write_in_its_phase_only(void) {
    fixture_t f = fixture_open(0);
    ecs_query_desc_t desc = {.write = {f.pos}, .write_count = 1};
    ecs_query_t *query = NULL;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK(!ecs_cursor_next(cursor));
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    CHECK(ecs_cursor_next(cursor));
    ((pos_t *)(uintptr_t)cursor->box[0].p)->x = 8;
    ecs_cursor_close(cursor);
    CHECK_EQ(x_of(&f, id, f.pos), 8);
    fixture_close(&f);
}

static void odd_ids_are_dead_not_dangerous(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    double odd[] = {0,   -1,       NAN,    INFINITY,          -INFINITY,         1e300,
                    0.5, id + 0.5, id + 1, id + 4294967296.0, 4294967296.0 * 2e6};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        CHECK(!ecs_alive(f.world, odd[i]));
        CHECK(ecs_view(f.world, odd[i], f.pos) == NULL);
        CHECK(!ecs_has(f.world, odd[i], f.pos));
    }
    CHECK(ecs_view(f.world, id, 999999) == NULL);
    fixture_close(&f);
}

static void the_reserve_is_an_error_value(void) {
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 20};
    ecs_world_t *world = NULL;
    const char *const fields[] = {"char blob[16384]"};
    uint32_t blob = 0;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Blob", fields, 1, &blob), ECS_OK);
    int rc = ECS_OK;
    for (int i = 0; rc == ECS_OK && i < 200; i++) {
        CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
        CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
        ecs_id_t id = ecs_record_spawn(world, 0, NULL);
        (void)ecs_record(world, ECS_OP_INSERT, id, blob, 0);
        CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
        CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
        CHECK_EQ(ecs_apply(world), ECS_OK);
        uint32_t count = 0;
        rc = ecs_apply_results(world, &count)->error;
        CHECK_EQ(ecs_alive(world, id), rc == ECS_OK);
        CHECK_EQ(ecs_check(world), ECS_OK);
    }
    CHECK_EQ(rc, ECS_E_MEMORY);
    ecs_world_destroy(world);
}

int main(void) {
    RUN(a_spawn_is_visible_after_apply_and_not_before);
    RUN(views_lie_in_the_read_only_mapping);
    RUN(changes_outside_their_phase_are_refused);
    RUN(changes_from_another_thread_are_refused);
    RUN(set_writes_only_the_named_fields);
    RUN(set_of_an_absent_component_rejects_the_batch_whole);
    RUN(a_batch_sees_the_accepted_batches_before_it);
    RUN(a_dead_target_counts_or_rejects_by_its_flags);
    RUN(an_expectation_includes_earlier_batches);
    RUN(writes_before_and_after_a_move_keep_their_order);
    RUN(add_increments_at_apply);
    RUN(dropping_a_batch_forgets_it);
    RUN(despawn_takes_the_children_with_it);
    RUN(a_rejected_despawn_brings_the_children_back);
    RUN(a_tree_deeper_than_the_stack_is_despawned);
    RUN(rolling_back_forgets_what_came_after_the_mark);
    RUN(defaults_and_layout_follow_the_declaration);
    RUN(bad_declarations_say_what_is_wrong);
    RUN(an_enum_field_takes_its_members);
    RUN(rows_stay_dense_over_many_chunks);
    RUN(a_query_yields_chunks_of_matching_archetypes);
    RUN(a_writer_may_write_in_its_phase_only);
    RUN(odd_ids_are_dead_not_dangerous);
    RUN(the_reserve_is_an_error_value);
    return test_report();
}
