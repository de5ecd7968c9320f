/* What a migration costs, changes in place, and the dry run. */
#include "stored.h"

static const char *const X_ONLY[] = {"float x"};

/* ---- what a change costs -------------------------------------------------------------------- */

static ecs_migration_t *plan_of(stored_t *s, uint32_t component, const char *const *fields,
                                uint32_t count) {
    ecs_migration_t *plan = NULL;
    CHECK_EQ(ecs_migration_plan(s->f.world, component, fields, count, &plan), ECS_OK);
    return plan;
}

static void check_cost(stored_t *s, uint32_t component, const char *const *fields, uint32_t count,
                       uint64_t rows, uint64_t bytes) {
    ecs_migration_t *plan = plan_of(s, component, fields, count);
    ecs_migration_cost_t cost = ecs_migration_cost(plan);
    CHECK_EQ(cost.rows, rows);
    CHECK_EQ(cost.bytes, bytes);
    ecs_migration_destroy(plan);
}

static void a_plan_says_what_the_change_costs(void) {
    static const char *const wider[] = {"double x", "double y", "double z", "double w"};
    static const char *const named[] = {"double x [m]", "double y = 4", "double z"};
    static const char *const ranged[] = {"double x (0..)", "double y", "double z"};
    static const char *const level[] = {"double level", "double limit"};
    stored_t s = stored_open();
    /* an id and Pos, and Vel in 13 rows */
    check_cost(&s, s.f.pos, wider, 4, ENTITIES, ENTITIES * (8 + 32) + 13 * 24);
    check_cost(&s, s.f.pos, named, 3, 0, 0);
    check_cost(&s, s.f.pos, ranged, 3, ENTITIES, 0);
    check_cost(&s, s.alarm, level, 2, 25, 25 * (8 + 16));
    check_cost(&s, s.f.mixed, level, 2, 0, 0);
    fixture_close(&s.f);
}

static void units_and_defaults_change_in_place(void) {
    static const char *const named[] = {"double x [m]", "double y = 4", "double z"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    uint64_t hash = ecs_hash(world);
    uint32_t count = 0;
    ptrdiff_t at = (const char *)ecs_view(world, s.id[1], s.f.pos) - ecs_maps(world).view;
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, named, 3, NULL), ECS_OK);
    CHECK(ecs_hash(world) == hash);
    CHECK((const char *)ecs_view(world, s.id[1], s.f.pos) - ecs_maps(world).view == at);
    CHECK_TEXT(ecs_component_fields(world, s.f.pos, &count)[0].unit, "m");
    CHECK_EQ(((const double *)ecs_component_default(world, s.f.pos))[1], 4);
    CHECK_EQ(ecs_check(world), ECS_OK);
    fixture_close(&s.f);
}

static void a_range_is_tested_before_it_holds(void) {
    static const char *const wide[] = {"double x (0..49)", "double y", "double z"};
    static const char *const narrow[] = {"double x (0..20)", "double y", "double z"};
    static const char *const level[] = {"double level (0..20)"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    char text[160];
    uint32_t count = 0;
    uint64_t hash = ecs_hash(world);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, wide, 3, NULL), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, narrow, 3, NULL), ECS_E_INVALID);
    (void)snprintf(text, sizeof text, "Pos.x: %s is not a number from 0 to 20 (entity %.0f)", "21",
                   s.id[21]);
    CHECK_TEXT(ecs_last_error(world), text);
    CHECK_EQ(ecs_component_fields(world, s.f.pos, &count)[0].max, 49);
    CHECK_EQ(ecs_component_migrate(world, s.alarm, level, 1, NULL), ECS_E_INVALID);
    CHECK(ecs_hash(world) == hash);
    /* a converter may write, so all is written anew */
    CHECK_EQ(migrate(&s, s.f.pos, narrow, 3), ECS_OK);
    CHECK_EQ(x_of(&s.f, s.id[21], s.f.pos), 0);
    fixture_close(&s.f);
}

/* Bytes that nobody has set become part of a field: no change in place. */
static void padding_is_no_default(void) {
    static const char *const before[] = {"uint8_t a[3]", "int32_t b"};
    static const char *const after[] = {"uint8_t a[4] = 9", "int32_t b"};
    stored_t s = stored_open();
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(s.f.world, "A", before, 2, &id), ECS_OK);
    record_begin(&s.f, 1);
    memset(ecs_record(s.f.world, ECS_OP_INSERT, s.id[0], id, 0), 0x11, 8);
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(s.f.world, id, after, 2, NULL), ECS_OK);
    CHECK_EQ(((const uint8_t *)ecs_view(s.f.world, s.id[0], id))[3], 9);
    CHECK_EQ(((const uint8_t *)ecs_view(s.f.world, s.id[0], id))[2], 0x11);
    fixture_close(&s.f);
}

/* The same bytes in all, and not the same fields in the same places. */
static void fields_that_come_or_change_places_are_written(void) {
    static const char *const swapped[] = {"double y", "double x", "double z"};
    static const char *const before[] = {"bool on", "double x"};
    static const char *const after[] = {"bool on", "uint8_t more = 9", "double x"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    uint32_t id = 0;
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, swapped, 3, NULL), ECS_OK);
    CHECK_EQ(((const double *)ecs_view(world, s.id[5], s.f.pos))[0], 6);
    CHECK_EQ(((const double *)ecs_view(world, s.id[5], s.f.pos))[1], 5);
    CHECK_EQ(ecs_component_register(world, "A", before, 2, &id), ECS_OK);
    record_begin(&s.f, 1);
    CHECK(ecs_record(world, ECS_OP_INSERT, s.id[0], id, 0) != NULL);
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, id, after, 3, NULL), ECS_OK);
    CHECK_EQ(((const uint8_t *)ecs_view(world, s.id[0], id))[1], 9);
    fixture_close(&s.f);
}

/* A watch for changes that would not fire before the migration does not after it. */
static void bytes_between_fields_are_no_change(void) {
    static const char *const before[] = {"bool on", "double x"};
    static const char *const after[] = {"bool on", "double x", "double y"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    uint32_t id = 0, watch = 0, count = 0;
    bool fired = false;
    char value[16] = {0};
    CHECK_EQ(ecs_component_register(world, "A", before, 2, &id), ECS_OK);
    record_begin(&s.f, 1);
    CHECK(ecs_record(world, ECS_OP_INSERT, s.id[0], id, 0) != NULL);
    apply(&s.f);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_CHANGED, .id = s.id[0], .component = id};
    CHECK_EQ(ecs_watch_add(world, &desc, 1, &watch, &fired), ECS_OK);
    value[3] = 0x55;
    write_value(&s, s.id[0], id, value, sizeof value);
    CHECK_EQ(ecs_component_migrate(world, id, after, 3, NULL), ECS_OK);
    (void)ecs_watch_poll(world, &count);
    CHECK_EQ(count, 0);
    fixture_close(&s.f);
}

/* ---- the dry run ---------------------------------------------------------------------------- */

static void a_dry_run_goes_in_slices(void) {
    static const char *const thin[] = {"int8_t x", "double y", "double z"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    ecs_migration_t *plan = plan_of(&s, s.f.pos, thin, 3);
    ecs_migration_cursor_t cursor = {0};
    uint64_t hash = ecs_hash(world);
    int calls = 0, slices = 0;
    for (; !cursor.done && slices < 100; slices++) {
        uint64_t before = cursor.rows;
        CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 7), ECS_OK);
        CHECK(cursor.rows - before <= 7);
    }
    CHECK_EQ(cursor.rows, ENTITIES);
    CHECK_EQ(slices, 8);
    cursor = (ecs_migration_cursor_t){0};
    CHECK_EQ(ecs_migration_check(plan, &(ecs_converter_t){accept, &calls}, &cursor, UINT32_MAX),
             ECS_OK);
    CHECK(cursor.done);
    CHECK_EQ(calls, ENTITIES);
    CHECK(ecs_hash(world) == hash);
    CHECK_EQ(ecs_component_size_bytes(world, s.f.pos), sizeof(pos_t));
    ecs_migration_destroy(plan);
    fixture_close(&s.f);
}

static void a_dry_run_names_the_value(void) {
    static const char *const thin[] = {"int8_t x", "double y", "double z"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    ecs_migration_t *plan = plan_of(&s, s.f.pos, thin, 3);
    ecs_migration_cursor_t cursor = {0};
    char text[160];
    write_value(&s, s.id[9], s.f.pos, &(double){300}, sizeof(double));
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 9), ECS_OK);
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 9), ECS_E_INVALID);
    (void)snprintf(text, sizeof text,
                   "Pos.x: 300 is not a whole number from -128 to 127 (entity %.0f)", s.id[9]);
    CHECK_TEXT(ecs_last_error(world), text);
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 99), ECS_OK); /* it goes on behind it */
    CHECK(cursor.done);
    ecs_migration_destroy(plan);
    plan = plan_of(&s, s.f.pos, X_ONLY, 1);
    cursor = (ecs_migration_cursor_t){0};
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 9), ECS_E_INVALID); /* y goes */
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_REACT), ECS_OK);
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 9), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    ecs_migration_destroy(plan);
    fixture_close(&s.f);
}

static void anything_may_happen_between_slices(void) {
    static const char *const thin[] = {"float x", "double y", "double z"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    ecs_migration_t *plan = plan_of(&s, s.f.pos, thin, 3);
    ecs_migration_cursor_t cursor = {0};
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 10), ECS_OK);
    record_begin(&s.f, 1);
    for (int i = 5; i < ENTITIES; i++) {
        CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, s.id[i], 0), ECS_OK);
    }
    apply(&s.f);
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 10), ECS_OK);
    CHECK(cursor.done);
    CHECK_EQ(cursor.rows, 10);
    /* many slots without the component end a call, too */
    record_begin(&s.f, 1);
    for (int i = 0; i < 1000; i++) {
        (void)ecs_record_spawn(world, 0, NULL);
    }
    (void)spawn_pos(&s.f, 1);
    apply(&s.f);
    cursor = (ecs_migration_cursor_t){.at = 5};
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 1), ECS_OK);
    CHECK(!cursor.done && cursor.rows == 0);
    CHECK_EQ(cursor.at, 5 + 64);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, thin, 3, NULL), ECS_OK);
    CHECK_EQ(ecs_migration_check(plan, NULL, &cursor, 1), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), "Pos was migrated since the plan was made");
    ecs_migration_destroy(plan);
    fixture_close(&s.f);
}

static void values_are_taken_one_by_one(void) {
    static const char *const next[] = {"int8_t x", "float fresh = 6"};
    typedef struct {
        int8_t x;
        float fresh;
    } next_t;
    stored_t s = stored_open();
    ecs_migration_t *plan = plan_of(&s, s.f.pos, next, 2);
    ecs_migration_cursor_t cursor = {0};
    ecs_id_t id = 0;
    const void *from = NULL;
    next_t to;
    write_value(&s, s.id[1], s.f.pos, &(double){300}, sizeof(double));
    for (int i = 0; i < ENTITIES; i++) {
        CHECK_EQ(ecs_migration_next(plan, &cursor, &id, &from, &to), ECS_OK);
        CHECK_EQ(id, s.id[i]);
        CHECK_EQ(((const pos_t *)from)->y, i + 1);
        CHECK_EQ(to.x, i == 1 ? 0 : i); /* what does not fit has its default */
        CHECK_EQ(to.fresh, 6);
    }
    CHECK_EQ(ecs_migration_next(plan, &cursor, &id, &from, &to), ECS_OK);
    CHECK(id == 0 && cursor.done);
    ecs_migration_destroy(plan);
    fixture_close(&s.f);
}

int main(void) {
    RUN(a_plan_says_what_the_change_costs);
    RUN(units_and_defaults_change_in_place);
    RUN(a_range_is_tested_before_it_holds);
    RUN(padding_is_no_default);
    RUN(bytes_between_fields_are_no_change);
    RUN(fields_that_come_or_change_places_are_written);
    RUN(a_dry_run_goes_in_slices);
    RUN(a_dry_run_names_the_value);
    RUN(anything_may_happen_between_slices);
    RUN(values_are_taken_one_by_one);
    return test_report();
}
