/* The way back from a migration: copies of values. */
#include "random_schema.h"
#include "stored.h"

static ecs_saved_t *save(stored_t *s, uint32_t component) {
    ecs_saved_t *saved = NULL;
    uint64_t bytes = ecs_values_bytes(s->f.world, component);
    CHECK_EQ(ecs_values_save(s->f.world, component, &saved), ECS_OK);
    CHECK_EQ(ecs_saved_bytes(saved), bytes);
    CHECK_EQ(ecs_saved_component(saved), component);
    return saved;
}

/* ---- the way back --------------------------------------------------------------------------- */

static const char *const X_ONLY[] = {"float x"}, *const XYZ[] = {"double x", "double y = 8"};

static void fields_that_went_come_back_from_the_copy(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    uint64_t hash = ecs_hash(world);
    ecs_saved_t *saved = save(&s, s.f.pos);
    CHECK_EQ(migrate(&s, s.f.pos, X_ONLY, 1), ECS_OK);
    write_value(&s, s.id[3], s.f.pos, &(float){99}, 4);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    CHECK_EQ(ecs_check(world), ECS_OK);
    for (int i = 0; i < ENTITIES; i++) {
        const pos_t *pos = ecs_view(world, s.id[i], s.f.pos);
        CHECK_EQ(pos->x, i == 3 ? 99 : i);
        CHECK_EQ(pos->y, i + 1);
        CHECK_EQ(pos->z, i + 2);
    }
    write_value(&s, s.id[3], s.f.pos, &(pos_t){3, 4, 5}, sizeof(pos_t));
    CHECK(ecs_hash(world) == hash);
    /* once more, from the same copy */
    CHECK_EQ(migrate(&s, s.f.pos, X_ONLY, 1), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    CHECK(ecs_hash(world) == hash);
    ecs_values_free(saved);
    ecs_values_free(NULL);
    fixture_close(&s.f);
}

static void entities_that_came_have_defaults_and_those_that_went_are_ignored(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    CHECK_EQ(migrate(&s, s.f.pos, XYZ, 2), ECS_OK);
    ecs_saved_t *saved = save(&s, s.f.pos);
    CHECK_EQ(migrate(&s, s.f.pos, X_ONLY, 1), ECS_OK);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, s.id[9], 0), ECS_OK);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_REMOVE, s.id[8], s.f.pos), ECS_OK);
    apply(&s.f);
    record_begin(&s.f, 1);
    ecs_id_t made = ecs_record_spawn(world, 0, NULL); /* in the slot of the one that went */
    *(float *)ecs_record(world, ECS_OP_INSERT, made, s.f.pos, 0) = 5;
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ((uint32_t)(uint64_t)made, (uint32_t)(uint64_t)s.id[9]);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    const double *pos = ecs_view(world, made, s.f.pos);
    CHECK_EQ(pos[0], 5);
    CHECK_EQ(pos[1], 8);
    CHECK_EQ(((const double *)ecs_view(world, s.id[6], s.f.pos))[1], 7);
    CHECK(!ecs_has(world, s.id[8], s.f.pos));
    ecs_values_free(saved);
    fixture_close(&s.f);
}

static void the_way_back_passes_over_several_migrations(void) {
    static const char *const steps[3][2] = {
        {"int16_t y", "double x"}, {"entity y", "double other"}, {"double x", "char y[4]"}};
    stored_t s = stored_open();
    ecs_saved_t *saved = save(&s, s.f.pos);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(migrate(&s, s.f.pos, steps[i], 2), ECS_OK);
    }
    write_value(&s, s.id[1], s.f.pos, &(double){-4}, sizeof(double));
    CHECK_EQ(ecs_component_migrate_back(s.f.world, saved), ECS_OK);
    const pos_t *pos = ecs_view(s.f.world, s.id[1], s.f.pos), *other = NULL;
    CHECK_EQ(pos->x, -4); /* of the new x: the old one had gone */
    CHECK_EQ(pos->y, 2);  /* text is no number */
    CHECK_EQ(pos->z, 3);
    other = ecs_view(s.f.world, s.id[2], s.f.pos);
    CHECK_EQ(other->x, 0);
    CHECK_EQ(other->y, 3);
    ecs_values_free(saved);
    fixture_close(&s.f);
}

static void what_does_not_fit_either_way_comes_from_the_copy(void) {
    static const char *const before[] = {"int8_t thin", "double wide", "char text[8] = longtext",
                                         "Mode mode = auto", "int16_t list[3] = 5"};
    static const char *const after[] = {"double thin", "int8_t wide", "char text[4]",
                                        "Mode2 mode = manual", "int16_t list[1]"};
    typedef struct {
        int8_t thin;
        double wide;
        char text[8];
        int32_t mode;
        int16_t list[3];
    } before_t;
    typedef struct {
        double thin;
        int8_t wide;
        char text[4];
        int32_t mode;
        int16_t list;
    } after_t;
    stored_t s = stored_open();
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(s.f.world, "A", before, 5, &id), ECS_OK);
    record_begin(&s.f, 1);
    for (int i = 0; i < 2; i++) {
        before_t *value = ecs_record(s.f.world, ECS_OP_INSERT, s.id[i], id, 0);
        value->thin = 3;
        value->wide = i == 0 ? 1000 : 7;
    }
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    ecs_saved_t *saved = save(&s, id);
    CHECK_EQ(migrate(&s, id, after, 5), ECS_OK);
    after_t big = {.thin = 500, .wide = 8, .text = "new", .mode = 2, .list = 6};
    write_value(&s, s.id[0], id, &big, sizeof big);
    after_t small = {.thin = 5, .wide = 9, .text = "new", .mode = 1, .list = 6};
    write_value(&s, s.id[1], id, &small, sizeof small);
    CHECK_EQ(ecs_component_migrate_back(s.f.world, saved), ECS_OK);
    const before_t *a = ecs_view(s.f.world, s.id[0], id), *b = ecs_view(s.f.world, s.id[1], id);
    CHECK_EQ(a->thin, 3);    /* 500 is no int8_t */
    CHECK_EQ(a->wide, 1000); /* which no int8_t held */
    CHECK_EQ(memcmp(a->text, "longtext", 8), 0);
    CHECK_EQ(a->mode, 1); /* Mode has no "manual" */
    CHECK_EQ(a->list[0], 6);
    CHECK_EQ(a->list[2], 5);
    CHECK_EQ(b->thin, 5);
    CHECK_EQ(b->wide, 9);
    CHECK_EQ(b->mode, 1); /* "auto", which Mode2 did not have */
    ecs_values_free(saved);
    fixture_close(&s.f);
}

static void the_way_back_is_all_or_nothing(void) {
    stored_t s = stored_open();
    ecs_world_t *world = s.f.world;
    ecs_saved_t *saved = save(&s, s.f.pos), *none = NULL;
    const char *const more[] = {"double x", "double y", "double z", "double w"};
    CHECK_EQ(migrate(&s, s.f.pos, more, 4), ECS_OK);
    uint64_t hash = ecs_hash(world);
    ecs_watch_desc_t watch = {.kind = ECS_WATCH_LEVEL,
                              .id = s.id[0],
                              .component = s.f.pos,
                              .field = {3},
                              .field_count = 1,
                              .value = {77}};
    uint32_t id = 0;
    bool fired = false;
    CHECK_EQ(ecs_watch_add(world, &watch, 1, &id, &fired), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(world), "a watch waits for Pos.w, which goes");
    CHECK(ecs_hash(world) == hash);
    CHECK_EQ(ecs_component_size_bytes(world, s.f.pos), 32);
    ecs_watch_remove(world, id);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_values_save(world, s.f.pos, &none), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_values_save(world, 99, &none), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_values_bytes(world, 99), 0);
    fixture_t other = fixture_open(16);
    CHECK_EQ(ecs_component_migrate_back(other.world, saved), ECS_E_INVALID);
    fixture_close(&other);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    ecs_values_free(saved);
    fixture_close(&s.f);
}

static void sparse_components_and_tags_go_back_too(void) {
    static const char *const count[] = {"int32_t count = 4"};
    stored_t s = stored_open();
    ecs_saved_t *saved = save(&s, s.alarm), *tag = save(&s, s.f.tag);
    CHECK_EQ(migrate(&s, s.alarm, NULL, 0), ECS_OK);
    CHECK_EQ(migrate(&s, s.f.tag, count, 1), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(s.f.world, saved), ECS_OK);
    CHECK_EQ(*(const double *)ecs_view(s.f.world, s.id[6], s.alarm), 6);
    CHECK_EQ(ecs_component_migrate_back(s.f.world, tag), ECS_OK);
    CHECK_EQ(ecs_component_size_bytes(s.f.world, s.f.tag), 0);
    ecs_values_free(saved);
    ecs_values_free(tag);
    fixture_close(&s.f);
}

/* The same values, -0 and 0 being one. */
static bool same_value(const ecs_world_t *world, const ecs_field_t *fields, uint32_t count,
                       const char *a, const char *b) {
    for (uint32_t i = 0; i < count; i++) {
        const ecs_field_t *f = &fields[i];
        uint32_t bytes = f->size_bytes / f->count, inner = 0;
        for (uint32_t k = 0, at = f->offset_bytes; k < f->count; k++, at += bytes) {
            bool same = memcmp(a + at, b + at, bytes) == 0;
            if (f->type == ECS_TYPE_STRUCT) {
                const ecs_field_t *list = ecs_struct_fields(world, f->struct_id, &inner);
                same = same_value(world, list, inner, a + at, b + at);
            } else if (f->type == ECS_TYPE_F64) {
                double x = 0, y = 0;
                memcpy(&x, a + at, 8);
                memcpy(&y, b + at, 8);
                same = same || x == y;
            }
            if (!same) { return false; }
        }
    }
    return true;
}

/* To any layout with a converter that accepts every loss, perhaps twice, and back: nothing is lost,
 * for what was lost had no room, and nobody has written since. */
static void random_round_trip(uint64_t seed) {
    char text[RANDOM_FIELDS][64];
    const char *fields[RANDOM_FIELDS];
    ecs_world_t *world = NULL;
    ecs_saved_t *saved = NULL;
    random_state = seed * 0x9e3779b97f4a7c15ull + 1;
    random_world(&world);
    uint32_t id = 0, count = 1 + random_below(RANDOM_FIELDS), got = 0;
    random_fields(text, fields, count);
    CHECK_EQ(ecs_component_register(world, "R", fields, count, &id), ECS_OK);
    uint32_t bytes = ecs_component_size_bytes(world, id);
    static char value[ECS_MAX_COMPONENT_BYTES];
    const ecs_field_t *list = ecs_component_fields(world, id, &got);
    memset(value, 0, sizeof value);
    random_value(world, list, got, value);
    fixture_t f = {.world = world};
    record_begin(&f, 1);
    ecs_id_t e = ecs_record_spawn(world, 0, NULL);
    memcpy(ecs_record(world, ECS_OP_INSERT, e, id, 0), value, bytes);
    apply(&f);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_values_save(world, id, &saved), ECS_OK);
    random_fields(text, fields, count);
    int calls = 0;
    ecs_converter_t any = {accept, &calls};
    CHECK_EQ(ecs_component_migrate(world, id, fields, random_below(count + 1), &any), ECS_OK);
    CHECK_EQ(ecs_component_migrate_back(world, saved), ECS_OK);
    list = ecs_component_fields(world, id, &got);
    bool same = same_value(world, list, got, ecs_view(world, e, id), value);
    if (!same) { printf("  seed %d\n", (int)seed); }
    CHECK(same);
    CHECK_EQ(ecs_check(world), ECS_OK);
    ecs_values_free(saved);
    ecs_world_destroy(world);
}

static void random_layouts_go_back_without_a_loss(void) {
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        random_round_trip(seed);
    }
}

int main(void) {
    RUN(fields_that_went_come_back_from_the_copy);
    RUN(entities_that_came_have_defaults_and_those_that_went_are_ignored);
    RUN(the_way_back_passes_over_several_migrations);
    RUN(what_does_not_fit_either_way_comes_from_the_copy);
    RUN(the_way_back_is_all_or_nothing);
    RUN(sparse_components_and_tags_go_back_too);
    RUN(random_layouts_go_back_without_a_loss);
    return test_report();
}
