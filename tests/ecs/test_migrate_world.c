/* Migration of stored values: rows, ticks, queries, watches. */
#include "migration.h"

/* ---- stored values -------------------------------------------------------------------------- */

enum { ENTITIES = 100 };

typedef struct {
    fixture_t f;
    ecs_id_t id[ENTITIES];
} stored_t;

/* Entities with Pos (x = i), every second one with Vel, every third one with Tag. */
static stored_t stored_open(void) {
    stored_t s = {.f = types_open(16)};
    record_begin(&s.f, 1);
    for (int i = 0; i < ENTITIES; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "e%d", i);
        s.id[i] = ecs_record_spawn(s.f.world, i > 0 ? s.id[0] : 0, name);
        insert_pos(&s.f, s.id[i], s.f.pos, i);
        if (i % 2 == 0) { insert_pos(&s.f, s.id[i], s.f.vel, -i); }
        if (i % 3 == 0) { (void)ecs_record(s.f.world, ECS_OP_INSERT, s.id[i], s.f.tag, 0); }
    }
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    return s;
}

/* Ids in the order of a walk over all that have a component. */
static uint32_t walk(const fixture_t *f, uint32_t component, ecs_id_t *out) {
    ecs_query_desc_t desc = {.with = {component}, .with_count = 1};
    ecs_query_t *query = NULL;
    uint32_t count = 0;
    CHECK_EQ(ecs_query_create(f->world, &desc, &query), ECS_OK);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        for (int32_t i = 0; i < cursor->count; i++) {
            out[count++] = cursor->ids[i];
        }
    }
    ecs_cursor_close(cursor);
    return count;
}

typedef struct {
    float x;
    double y, z;
    char note[8000]; /* makes chunks of 16 rows and more smaller */
    int16_t extra;
} wide_t;

static const char *const WIDE[] = {"float x", "double y", "double z", "char note[8000] = hi",
                                   "int16_t extra = 7"};

static void all_rows_are_converted_in_place(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    ecs_id_t before[ENTITIES], after[ENTITIES];
    ecs_query_t *query = NULL;
    ecs_query_desc_t desc = {.read = {s.f.vel, s.f.pos}, .read_count = 2};
    CHECK_EQ(ecs_query_create(world, &desc, &query), ECS_OK);
    CHECK_EQ(walk(&s.f, s.f.pos, before), ENTITIES);
    uint64_t tick = ecs_shared(world)->tick;
    uint32_t epoch = ecs_shared(world)->epoch;
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_OK);
    CHECK_EQ(ecs_check(world), ECS_OK);
    CHECK_EQ(ecs_shared(world)->tick, tick);
    CHECK(ecs_shared(world)->epoch != epoch);
    CHECK_EQ(ecs_component_size_bytes(world, s.f.pos), sizeof(wide_t));
    CHECK_EQ(walk(&s.f, s.f.pos, after), ENTITIES);
    CHECK_EQ(memcmp(before, after, sizeof before), 0);
    for (int i = 0; i < ENTITIES; i++) {
        const wide_t *wide = ecs_view(world, s.id[i], s.f.pos);
        CHECK_EQ(wide->x, i);
        CHECK_EQ(wide->z, i + 2);
        CHECK_TEXT(wide->note, "hi");
        CHECK_EQ(wide->extra, 7);
        if (i % 2 == 0) { CHECK_EQ(x_of(&s.f, s.id[i], s.f.vel), -i); }
    }
    CHECK_EQ(ecs_lookup(world, "e0/e42"), s.id[42]);
    /* a query from before finds the columns */
    int rows = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        for (int32_t i = 0; i < cursor->count; i++, rows++) {
            CHECK_EQ(((const pos_t *)cursor->box[0].p)[i].x,
                     -((const wide_t *)cursor->box[1].p)[i].x);
        }
    }
    CHECK_EQ(rows, ENTITIES / 2);
    ecs_cursor_close(cursor);
    fixture_close(&s.f);
}

static void the_world_works_on_after_it(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_OK);
    record_begin(&s.f, 2);
    for (int i = 5; i < ENTITIES; i += 5) {
        CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, s.id[i], 0), ECS_OK);
    }
    ecs_id_t made = ecs_record_spawn(world, 0, "made");
    wide_t *slot = ecs_record(world, ECS_OP_INSERT, made, s.f.pos, 0);
    CHECK(slot != NULL && slot->extra == 7);
    apply(&s.f);
    CHECK_EQ(((const wide_t *)ecs_view(world, made, s.f.pos))->extra, 7);
    fixture_close(&s.f);
}

static void only_what_is_said_changes(void) {
    stored_t s = stored_open();
    uint64_t hash = ecs_hash(s.f.world);
    const char *const units[] = {"double x [m]", "double y [m]", "double z [m]"};
    CHECK_EQ(ecs_component_migrate(s.f.world, s.f.pos, units, 3, NULL), ECS_OK);
    CHECK_EQ((double)(ecs_hash(s.f.world) == hash), 1);
    uint32_t count = 0;
    CHECK_TEXT(ecs_component_fields(s.f.world, s.f.pos, &count)->unit, "m");
    /* the same declaration is the same component now, the one before is another */
    const char *const xyz[] = {"double x", "double y", "double z"};
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(s.f.world, "Pos", units, 3, &id), ECS_OK);
    CHECK_EQ(id, s.f.pos);
    CHECK_EQ(ecs_component_register(s.f.world, "Pos", xyz, 3, &id), ECS_E_CONFLICT);
    fixture_close(&s.f);
}

static void a_value_that_does_not_fit_changes_nothing(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    uint64_t hash = ecs_hash(world);
    uint32_t epoch = ecs_shared(world)->epoch;
    const char *const tight[] = {"double x (..90)", "double y", "double z"};
    const char *const fewer[] = {"double x", "double y"};
    char want[128];
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, tight, 3, NULL), ECS_E_INVALID);
    /* the first one in the order of rows: archetypes by creation */
    CHECK(strstr(ecs_last_error(world), " is not a number of at most 90 (entity ") != NULL);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, fewer, 2, NULL), ECS_E_INVALID);
    (void)snprintf(want, sizeof want, "Pos.z would be lost: the field goes");
    CHECK_TEXT(ecs_last_error(world), want);
    ecs_converter_t converter = {refuse, NULL};
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, fewer, 2, &converter), ECS_E_EXPECT);
    CHECK_EQ((double)(ecs_hash(world) == hash), 1);
    CHECK_EQ(ecs_shared(world)->epoch, epoch);
    CHECK_EQ(ecs_component_size_bytes(world, s.f.pos), sizeof(pos_t));
    int calls = 0;
    converter = (ecs_converter_t){accept, &calls};
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, fewer, 2, &converter), ECS_OK);
    CHECK_EQ(calls, ENTITIES);
    CHECK_EQ(x_of(&s.f, s.id[9], s.f.pos), 9);
    fixture_close(&s.f);
}

static void a_full_world_changes_nothing(void) {
    ecs_options_t options = {.reserve_bytes = 1 << 20, .chunk_rows = 16};
    fixture_t f = {0};
    const char *const x[] = {"double x"}, *const big[] = {"double x", "char note[16000]"};
    ecs_id_t id[64];
    CHECK_EQ(ecs_world_create(&f.world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "X", x, 1, &f.pos), ECS_OK);
    record_begin(&f, 1);
    for (int i = 0; i < 64; i++) {
        id[i] = ecs_record_spawn(f.world, 0, NULL);
        *(double *)ecs_record(f.world, ECS_OP_INSERT, id[i], f.pos, 0) = i;
    }
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    uint64_t hash = ecs_hash(f.world);
    CHECK_EQ(ecs_component_migrate(f.world, f.pos, big, 2, NULL), ECS_E_MEMORY);
    CHECK(strstr(ecs_last_error(f.world), "no room for ") == ecs_last_error(f.world));
    CHECK_EQ((double)(ecs_hash(f.world) == hash), 1);
    const char *const wide[] = {"double x", "double y"};
    CHECK_EQ(ecs_component_migrate(f.world, f.pos, wide, 2, NULL), ECS_OK);
    CHECK_EQ(*(const double *)ecs_view(f.world, id[63], f.pos), 63);
    fixture_close(&f);
}

static void only_the_setup_and_idle_phases_allow_it(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    static const struct {
        ecs_phase_t phase;
        const char *error;
    } bad[] = {{ECS_PHASE_RUN, "not allowed in the run phase"},
               {ECS_PHASE_APPLY, "not allowed in the apply phase"},
               {ECS_PHASE_WRITE, "not allowed in the write phase"},
               {ECS_PHASE_REACT, "not allowed in the react phase"}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        CHECK_EQ(ecs_phase_set(world, bad[i].phase), ECS_OK);
        CHECK_EQ(ecs_component_migrate(world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_E_PHASE);
        CHECK_TEXT(ecs_last_error(world), bad[i].error);
    }
    static const char *const waits = "commands wait for an apply: their values have the old layout";
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_E_PHASE);
    CHECK_TEXT(ecs_last_error(world), waits);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    insert_pos(&s.f, s.id[1], s.f.pos, 5);
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_E_PHASE);
    CHECK_TEXT(ecs_last_error(world), waits);
    CHECK_EQ(ecs_component_migrate(world, 99, WIDE, COUNT(WIDE), NULL), ECS_E_PHASE);
    fixture_close(&s.f);
    fixture_t f = types_open(0); /* setup phase */
    CHECK_EQ(ecs_component_migrate(f.world, f.pos, WIDE, COUNT(WIDE), NULL), ECS_OK);
    CHECK_EQ(ecs_component_migrate(f.world, 99, WIDE, COUNT(WIDE), NULL), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void tags_and_components_become_each_other(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    const char *const level[] = {"int32_t level = 3"};
    ecs_query_t *query = NULL;
    ecs_query_desc_t desc = {
        .read = {s.f.pos}, .read_count = 1, .with = {s.f.tag}, .with_count = 1};
    CHECK_EQ(ecs_query_create(world, &desc, &query), ECS_OK);
    CHECK_EQ(ecs_component_migrate(world, s.f.tag, level, 1, NULL), ECS_OK);
    CHECK_EQ(ecs_check(world), ECS_OK);
    CHECK_EQ(*(const int32_t *)ecs_view(world, s.id[3], s.f.tag), 3);
    CHECK_EQ(x_of(&s.f, s.id[3], s.f.pos), 3);
    double sum = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        for (int32_t i = 0; i < cursor->count; i++) {
            sum += ((const pos_t *)cursor->box[0].p)[i].x;
        }
    }
    ecs_cursor_close(cursor);
    CHECK_EQ(sum, 1683); /* 0 + 3 + ... + 99 */
    int calls = 0;
    ecs_converter_t converter = {accept, &calls};
    CHECK_EQ(ecs_component_migrate(world, s.f.tag, NULL, 0, NULL), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(world), "Tag.level would be lost: the field goes");
    CHECK_EQ(ecs_component_migrate(world, s.f.tag, NULL, 0, &converter), ECS_OK);
    CHECK_EQ(calls, 34);
    CHECK(ecs_has(world, s.id[3], s.f.tag));
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, NULL, 0, &converter), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), "a query reads Pos, which would become a tag");
    fixture_close(&s.f);
}

/* ---- watches -------------------------------------------------------------------------------- */

static uint32_t watch(const stored_t *s, uint32_t kind, int field, double value) {
    ecs_watch_desc_t desc = {.kind = kind, .id = s->id[8], .component = s->f.pos};
    uint32_t id = 0;
    bool fired = false;
    desc.field_count = field >= 0;
    desc.field[0] = field >= 0 ? (uint32_t)field : 0;
    desc.value[0] = value;
    CHECK_EQ(ecs_watch_add(s->f.world, &desc, 1, &id, &fired), ECS_OK);
    CHECK(!fired);
    return id;
}

static uint32_t polled(const stored_t *s) {
    uint32_t count = 0;
    (void)ecs_watch_poll(s->f.world, &count);
    return count;
}

/* An apply that changes another entity of the same chunk, so that watches are tested. */
static void touch(stored_t *s, uint32_t component) {
    record_begin(&s->f, 1);
    CHECK(ecs_record(s->f.world, ECS_OP_INSERT, s->id[14], component, 0) != NULL);
    apply(&s->f);
    CHECK_EQ(ecs_phase_set(s->f.world, ECS_PHASE_IDLE), ECS_OK);
}

static void watches_follow_their_fields(void) {
    stored_t s = stored_open();
    static const char *const moved[] = {"double z", "float x", "bool fresh", "double y"};
    ecs_world_t *world = s.f.world;
    CHECK_EQ(polled(&s), 0);
    (void)watch(&s, ECS_WATCH_CHANGED, -1, 0);
    (void)watch(&s, ECS_WATCH_CHANGED, 0, 0);
    uint32_t level = watch(&s, ECS_WATCH_LEVEL, 0, 77);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, moved, 4, NULL), ECS_OK);
    touch(&s, s.f.pos);
    CHECK_EQ(polled(&s), 0);
    record_begin(&s.f, 1);
    struct {
        double z;
        float x;
        bool fresh;
        double y;
    } *slot = ecs_record(world, ECS_OP_SET, s.id[8], s.f.pos, 2);
    slot->x = 77;
    apply(&s.f);
    uint32_t count = 0;
    const ecs_watch_result_t *results = ecs_watch_poll(world, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(results[2].watch, level);
    fixture_close(&s.f);
}

static void a_change_before_is_still_seen_after(void) {
    stored_t s = stored_open();
    CHECK_EQ(polled(&s), 0);
    (void)watch(&s, ECS_WATCH_CHANGED, -1, 0);
    (void)watch(&s, ECS_WATCH_CHANGED, 1, 0);
    (void)watch(&s, ECS_WATCH_CHANGED, 2, 0);
    record_begin(&s.f, 1);
    pos_t *slot = ecs_record(s.f.world, ECS_OP_SET, s.id[8], s.f.pos, 2);
    slot->y = 1000;
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(s.f.world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_OK);
    CHECK_EQ(polled(&s), 2);
    CHECK_EQ(ecs_watch_count(s.f.world), 1);
    fixture_close(&s.f);
}

static void a_component_that_went_before_is_seen_after(void) {
    stored_t s = stored_open();
    CHECK_EQ(polled(&s), 0);
    (void)watch(&s, ECS_WATCH_CHANGED, -1, 0);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_REMOVE, s.id[8], s.f.pos), ECS_OK);
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(s.f.world, s.f.pos, WIDE, COUNT(WIDE), NULL), ECS_OK);
    CHECK_EQ(polled(&s), 1);
    fixture_close(&s.f);
}

static void a_watch_that_could_not_go_on_is_a_conflict(void) {
    static const char *const no_x[] = {"double y", "double z"};
    static const char *const text[] = {"char x[8]", "double y", "double z"};
    static const char *const small[] = {"int8_t x", "double y", "double z"};
    static const char *const list[] = {"double x[2]", "double y", "double z"};
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    int calls = 0;
    ecs_converter_t any = {accept, &calls};
    uint32_t level = watch(&s, ECS_WATCH_LEVEL, 0, 777);
    static const char *const differs = "a watch compares Pos.x with a value that it will not have";
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, no_x, 2, &any), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), "a watch waits for Pos.x, which goes");
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, text, 3, &any), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), differs);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, small, 3, &any), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), differs);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, list, 3, &any), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), differs);
    ecs_watch_remove(world, level);
    (void)watch(&s, ECS_WATCH_CHANGED, -1, 0);
    CHECK_EQ(ecs_component_migrate(world, s.f.pos, NULL, 0, &any), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), "a watch waits for changes of Pos, which would become a tag");
    CHECK_EQ(calls, 0);
    fixture_close(&s.f);
}

static void a_condition_on_an_enum_follows_the_member(void) {
    stored_t s = {.f = types_open(16)};
    const char *const before[] = {"Mode mode"}, *const after[] = {"Mode2 mode"};
    CHECK_EQ(ecs_component_register(s.f.world, "M", before, 1, &s.f.pos), ECS_OK);
    record_begin(&s.f, 1);
    s.id[8] = ecs_record_spawn(s.f.world, 0, NULL);
    CHECK(ecs_record(s.f.world, ECS_OP_INSERT, s.id[8], s.f.pos, 0) != NULL);
    apply(&s.f);
    uint32_t auto_watch = watch(&s, ECS_WATCH_LEVEL, 0, 1);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_migrate(s.f.world, s.f.pos, after, 1, NULL), ECS_E_CONFLICT);
    ecs_watch_remove(s.f.world, auto_watch);
    (void)watch(&s, ECS_WATCH_LEVEL, 0, 2); /* fault, which is 0 in Mode2 */
    CHECK_EQ(ecs_component_migrate(s.f.world, s.f.pos, after, 1, NULL), ECS_OK);
    CHECK_EQ(*(const int32_t *)ecs_view(s.f.world, s.id[8], s.f.pos), 1);
    record_begin(&s.f, 1);
    *(int32_t *)ecs_record(s.f.world, ECS_OP_SET, s.id[8], s.f.pos, 1) = 0;
    apply(&s.f);
    CHECK_EQ(polled(&s), 1);
    fixture_close(&s.f);
}

static void ticks_stay(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    CHECK_EQ(polled(&s), 0);
    touch(&s, s.f.vel);
    uint64_t tick[2][64];
    uint32_t count[2] = {0, 0};
    ecs_query_t *query = NULL;
    ecs_query_desc_t desc = {.write = {s.f.pos, s.f.vel}, .write_count = 2};
    CHECK_EQ(ecs_query_create(world, &desc, &query), ECS_OK);
    static const char *const units[] = {"double x [m]", "double y", "double z"};
    for (int pass = 0; pass < 2; pass++) {
        CHECK_EQ(ecs_phase_set(world, ECS_PHASE_WRITE), ECS_OK);
        ecs_cursor_t *cursor = ecs_cursor_open(query);
        while (ecs_cursor_next(cursor)) {
            for (int k = 0; k < 2; k++) {
                tick[pass][count[pass]++] = cursor->box[k].before.changed;
                *cursor->box[k].stamp = cursor->box[k].before; /* as skip() does */
            }
        }
        ecs_cursor_close(cursor);
        CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
        if (pass == 0) { CHECK_EQ(ecs_component_migrate(world, s.f.pos, units, 3, NULL), ECS_OK); }
    }
    CHECK(count[0] > 4);
    CHECK_EQ(count[0], count[1]);
    CHECK_EQ(memcmp(tick[0], tick[1], count[0] * sizeof tick[0][0]), 0);
    fixture_close(&s.f);
}

int main(void) {
    RUN(all_rows_are_converted_in_place);
    RUN(the_world_works_on_after_it);
    RUN(only_what_is_said_changes);
    RUN(a_value_that_does_not_fit_changes_nothing);
    RUN(a_full_world_changes_nothing);
    RUN(only_the_setup_and_idle_phases_allow_it);
    RUN(tags_and_components_become_each_other);
    RUN(watches_follow_their_fields);
    RUN(a_change_before_is_still_seen_after);
    RUN(a_component_that_went_before_is_seen_after);
    RUN(a_watch_that_could_not_go_on_is_a_conflict);
    RUN(a_condition_on_an_enum_follows_the_member);
    RUN(ticks_stay);
    return test_report();
}
