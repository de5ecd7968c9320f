/* Declarations: units, ranges, structs. */
#include <stddef.h>

#include "world.h"

typedef struct {
    const char *declaration, *error;
} bad_t;

static uint32_t declare(ecs_world_t *world, const char *name, const char *field) {
    uint32_t id = 0;
    int rc = ecs_component_register(world, name, &field, 1, &id);
    CHECK_EQ(rc, ECS_OK);
    if (rc != ECS_OK) { printf("  %s: %s\n", field, ecs_last_error(world)); }
    return id;
}

static const ecs_field_t *only_field(ecs_world_t *world, const char *name, const char *field) {
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_component_fields(world, declare(world, name, field), &count);
    CHECK_EQ(count, 1);
    return fields;
}

static void all_are_refused(ecs_world_t *world, const bad_t *bad, size_t count) {
    uint32_t out = 0, before = ecs_component_count(world);
    for (size_t i = 0; i < count; i++) {
        CHECK(ecs_component_register(world, "Bad", &bad[i].declaration, 1, &out) < 0);
        CHECK_TEXT(ecs_last_error(world), bad[i].error);
    }
    CHECK_EQ(ecs_component_count(world), before);
}

static void a_unit_and_a_range_are_kept(void) {
    fixture_t f = fixture_open(0);
    const ecs_field_t *temp = only_field(f.world, "A", "double temp_c = 20 [degC] (-40..150)");
    CHECK_TEXT(temp->name, "temp_c");
    CHECK_TEXT(temp->unit, "degC");
    CHECK_EQ(temp->has_range, 1);
    CHECK_EQ(temp->min, -40);
    CHECK_EQ(temp->max, 150);
    CHECK_EQ(*(const double *)ecs_component_default(f.world, 4), 20);
    const ecs_field_t *joint =
        only_field(f.world, "B", " float joint [ 6 ] [ rad ]( -3.14 .. 3.14 )");
    CHECK_EQ(joint->count, 6);
    CHECK_TEXT(joint->unit, "rad");
    CHECK_EQ(joint->min, (double)-3.14f);
    CHECK_EQ(joint->max, (double)3.14f);
    const ecs_field_t *open = only_field(f.world, "C", "double mass [kg] (0..)");
    CHECK_EQ(open->min, 0);
    CHECK(isinf(open->max));
    CHECK_TEXT(only_field(f.world, "D", "uint8_t load [%] (..100)")->unit, "%");
    CHECK_TEXT(only_field(f.world, "E", "float angle [\xc2\xb0]")->unit, "\xc2\xb0");
    CHECK_TEXT(only_field(f.world, "F", "float a [abcdefghijklmno]")->unit, "abcdefghijklmno");
    fixture_close(&f);
}

static void without_a_range_the_ends_are_those_of_the_type(void) {
    fixture_t f = fixture_open(0);
    const ecs_field_t *level = only_field(f.world, "A", "int16_t level");
    CHECK_EQ(level->has_range, 0);
    CHECK_EQ(level->min, -32768);
    CHECK_EQ(level->max, 32767);
    CHECK_TEXT(level->unit, "");
    CHECK(isinf(only_field(f.world, "B", "double x")->max));
    fixture_close(&f);
}

static void text_keeps_what_looks_like_a_unit(void) {
    fixture_t f = fixture_open(0);
    uint32_t a = declare(f.world, "A", "char label[24] = \"a [b] (0..1)\"");
    CHECK_TEXT((const char *)ecs_component_default(f.world, a), "a [b] (0..1)");
    uint32_t b = declare(f.world, "B", "char label[24] = a [b]");
    CHECK_TEXT((const char *)ecs_component_default(f.world, b), "a [b]");
    fixture_close(&f);
}

#define UNIT_TEXT "a unit is at most 15 bytes that begin with a letter or %, as in [degC]"
#define RANGE_TEXT                                                                                 \
    "a range is two numbers of the field's type, the lower one first, as in (-40..150)"

static void bad_units_and_ranges_say_what_is_wrong(void) {
    static const bad_t bad[] = {
        {"double x [abcdefghijklmnop]", "field \"double x [abcdefghijklmnop]\": " UNIT_TEXT},
        {"double x = 1 [5]", "field \"double x = 1 [5]\": " UNIT_TEXT},
        {"double x [m", "field \"double x [m\": " UNIT_TEXT},
        {"double x [\xff]", "field \"double x [\xff]\": " UNIT_TEXT},
        {"bool x [m]", "field \"bool x [m]\": a unit or range goes with a number"},
        {"entity x (0..1)", "field \"entity x (0..1)\": a unit or range goes with a number"},
        {"char x[4] [m]", "field \"char x[4] [m]\": a unit or range goes with a number"},
        {"double x (1..0)", "field \"double x (1..0)\": " RANGE_TEXT},
        {"double x (..)", "field \"double x (..)\": " RANGE_TEXT},
        {"double x (1)", "field \"double x (1)\": " RANGE_TEXT},
        {"double x (0..1", "field \"double x (0..1\": " RANGE_TEXT},
        {"double x (0..inf)", "field \"double x (0..inf)\": " RANGE_TEXT},
        {"double x (nan..1)", "field \"double x (nan..1)\": " RANGE_TEXT},
        {"double x (a..b)", "field \"double x (a..b)\": " RANGE_TEXT},
        {"uint8_t x (0..256)", "field \"uint8_t x (0..256)\": " RANGE_TEXT},
        {"uint8_t x (0.5..2)", "field \"uint8_t x (0.5..2)\": " RANGE_TEXT},
        {"float x (0..1e39)", "field \"float x (0..1e39)\": " RANGE_TEXT},
        {"double x (0..1) [m]", "field \"double x (0..1) [m]\": unexpected \"[m]\""},
        {"double x (0..1) = 1", "field \"double x (0..1) = 1\": unexpected \"= 1\""},
        {"double x[]", "field \"double x[]\": array length must be 1 to 16384"},
        {"double x[-1]", "field \"double x[-1]\": array length must be 1 to 16384"},
        {"double x[20000]", "field \"double x[20000]\": array length must be 1 to 16384"},
    };
    fixture_t f = fixture_open(0);
    all_are_refused(f.world, bad, sizeof bad / sizeof bad[0]);
    fixture_close(&f);
}

static void a_default_outside_its_range_is_refused(void) {
    static const bad_t bad[] = {
        {"double x = 200 [degC] (-40..150)",
         "field \"x\": \"200\" is no default: expected a number from -40 to 150 [degC]"},
        {"double x (10..20)", "field \"x\": \"0\" is no default: expected a number from 10 to 20"},
        {"double x = nan (0..)",
         "field \"x\": \"nan\" is no default: expected a number of at least 0"},
        {"int8_t x = 5 (..4)",
         "field \"x\": \"5\" is no default: expected a whole number from -128 to 4"},
        {"float x = 1e39", "field \"x\": \"1e39\" is no default: expected a number"},
        {"double x = 1e400", "field \"x\": \"1e400\" is no default: expected a number"},
        {"uint8_t x = 1.5",
         "field \"x\": \"1.5\" is no default: expected a whole number from 0 to 255"},
        {"bool x = maybe", "field \"x\": \"maybe\" is no default: expected true or false"},
        {"bool x = 2", "field \"x\": \"2\" is no default: expected true or false"},
        {"entity x = 5",
         "field \"x\": \"5\" is no default: expected an entity's path, an id or null"},
        {"double x = 1 2", "field \"x\": \"1 2\" is no default: expected a number"},
        {"double x =", "field \"x\": \"\" is no default: expected a number"},
        {"char x[2] = abc", "field \"x\": default is longer than 2 bytes"},
        {"double x = "
         "1000000000000000000000000000000000000000000000000000000000000000000000000000",
         "field \"double x = "
         "1000000000000000000000000000000000000000000000000000000000000000000000000000\": the "
         "default is too long"},
    };
    fixture_t f = fixture_open(0);
    all_are_refused(f.world, bad, sizeof bad / sizeof bad[0]);
    CHECK_EQ(*(const double *)ecs_component_default(
                 f.world, declare(f.world, "A", "double x = 15 (10..20)")),
             15);
    fixture_close(&f);
}

static void a_float_may_be_the_end_of_its_range(void) {
    fixture_t f = fixture_open(0);
    uint32_t a = declare(f.world, "A", "float x = 3.14 (-3.14..3.14)");
    CHECK_EQ(*(const float *)ecs_component_default(f.world, a), 3.14f);
    fixture_close(&f);
}

static void another_unit_or_range_is_another_declaration(void) {
    fixture_t f = fixture_open(0);
    uint32_t id = declare(f.world, "A", "double x [m] (0..1)"), again = 0;
    CHECK_EQ(declare(f.world, "A", "double x [m] (0..1)"), id);
    const char *const other[] = {"double x [mm] (0..1)", "double x [m] (0..2)", "double x [m]",
                                 "double x (0..1)", "double x[1] [m] (0..1)"};
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        CHECK_EQ(ecs_component_register(f.world, "A", &other[i], 1, &again), ECS_E_CONFLICT);
        CHECK_TEXT(ecs_last_error(f.world), "declared before with other fields");
    }
    fixture_close(&f);
}

/* ---- structs -------------------------------------------------------------------------------- */

typedef struct {
    double x, y, z;
} vec3_t;

typedef struct {
    uint8_t kind;
    vec3_t at;
    int16_t code;
} mark_t;

typedef struct {
    bool on;
    mark_t mark[3];
    int8_t last;
} plan_t;

static void register_structs(fixture_t *f) {
    static const char *const vec[] = {"double x = 1 [m]", "double y (-1..1)", "double z = 3"};
    static const char *const mark[] = {"uint8_t kind = 7", "Vec3 at", "int16_t code"};
    uint32_t id = 99;
    CHECK_EQ(ecs_struct_register(f->world, "Vec3", vec, 3, &id), ECS_OK);
    CHECK_EQ(id, 0);
    CHECK_EQ(ecs_struct_register(f->world, "Mark", mark, 3, &id), ECS_OK);
    CHECK_EQ(id, 1);
}

static void structs_are_laid_out_as_c_does(void) {
    fixture_t f = fixture_open(0);
    register_structs(&f);
    const char *const fields[] = {"bool on", "Mark mark[3]", "int8_t last"};
    uint32_t id = 0, count = 0;
    CHECK_EQ(ecs_component_register(f.world, "Plan", fields, 3, &id), ECS_OK);
    CHECK_EQ(ecs_component_size_bytes(f.world, id), sizeof(plan_t));
    const ecs_field_t *made = ecs_component_fields(f.world, id, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(made[1].type, ECS_TYPE_STRUCT);
    CHECK_EQ(made[1].struct_id, 1);
    CHECK_EQ(made[1].offset_bytes, offsetof(plan_t, mark));
    CHECK_EQ(made[1].size_bytes, sizeof(mark_t) * 3);
    CHECK_EQ(made[2].offset_bytes, offsetof(plan_t, last));
    const ecs_field_t *mark = ecs_struct_fields(f.world, 1, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(mark[1].offset_bytes, offsetof(mark_t, at));
    CHECK_EQ(mark[2].offset_bytes, offsetof(mark_t, code));
    CHECK_EQ(ecs_struct_size_bytes(f.world, 1), sizeof(mark_t));
    CHECK_TEXT(ecs_struct_name(f.world, 1), "Mark");
    const plan_t *value = ecs_component_default(f.world, id);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(value->mark[i].kind, 7);
        CHECK_EQ(value->mark[i].at.x, 1);
        CHECK_EQ(value->mark[i].at.z, 3);
    }
    fixture_close(&f);
}

static void the_same_struct_again_is_the_same_id(void) {
    fixture_t f = fixture_open(0);
    register_structs(&f);
    register_structs(&f);
    const char *const other[] = {"double x"};
    uint32_t id = 0;
    CHECK_EQ(ecs_struct_register(f.world, "Vec3", other, 1, &id), ECS_E_CONFLICT);
    CHECK_EQ(ecs_struct_find(f.world, "Mark", &id), ECS_OK);
    CHECK_EQ(id, 1);
    CHECK_EQ(ecs_struct_find(f.world, "Mork", &id), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    register_structs(&f);
    CHECK_EQ(ecs_struct_register(f.world, "New", other, 1, &id), ECS_E_PHASE);
    CHECK_TEXT(ecs_last_error(f.world), "not allowed in the run phase");
    fixture_close(&f);
}

static void bad_structs_say_what_is_wrong(void) {
    fixture_t f = fixture_open(0);
    register_structs(&f);
    const char *const one[] = {"double x"}, *const members[] = {"idle"}, *const self[] = {"Me me"};
    uint32_t id = 0;
    CHECK_EQ(ecs_enum_register(f.world, "Mode", members, 1, &id), ECS_OK);
    static const struct {
        const char *name, *error;
    } bad[] = {{"double", "\"double\" is a type"},
               {"Mode", "\"Mode\" is an enum"},
               {"a b", "\"a b\" is no struct name"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(ecs_struct_register(f.world, bad[i].name, one, 1, &id) < 0);
        CHECK_TEXT(ecs_last_error(f.world), bad[i].error);
    }
    CHECK_EQ(ecs_struct_register(f.world, "Empty", NULL, 0, &id), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "a struct has at least one field");
    CHECK_EQ(ecs_struct_register(f.world, "Me", self, 1, &id), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_enum_register(f.world, "Vec3", members, 1, &id), ECS_E_EXISTS);
    CHECK_TEXT(ecs_last_error(f.world), "\"Vec3\" is a struct");
    static const bad_t fields[] = {
        {"Vec3 at = 1", "field \"Vec3 at = 1\": a struct's defaults are those of its own fields"},
        {"Vec3 at [m]", "field \"Vec3 at [m]\": a unit or range goes with a number"},
        {"Mark many[16384]", "655360 bytes; a component has at most 16384"}};
    all_are_refused(f.world, fields, 3);
    fixture_close(&f);
}

static void structs_nest_to_a_limit(void) {
    fixture_t f = fixture_open(0);
    char name[16], field[32];
    const char *const fields[] = {field};
    uint32_t id = 0;
    (void)snprintf(field, sizeof field, "double x");
    for (int depth = 1; depth <= ECS_MAX_STRUCT_DEPTH; depth++) {
        (void)snprintf(name, sizeof name, "S%d", depth);
        CHECK_EQ(ecs_struct_register(f.world, name, fields, 1, &id), ECS_OK);
        (void)snprintf(field, sizeof field, "S%d inner", depth);
    }
    CHECK_EQ(ecs_struct_register(f.world, "S9", fields, 1, &id), ECS_E_LIMIT);
    CHECK_TEXT(ecs_last_error(f.world), "structs are nested at most 8 deep");
    CHECK_EQ(ecs_component_register(f.world, "Deep", fields, 1, &id), ECS_OK);
    fixture_close(&f);
}

static void a_struct_field_is_set_as_a_whole(void) {
    fixture_t f = fixture_open(0);
    register_structs(&f);
    const char *const fields[] = {"int32_t before = 5", "Vec3 at", "int32_t after = 6"};
    uint32_t id = 0;
    struct {
        int32_t before;
        vec3_t at;
        int32_t after;
    } * slot;
    CHECK_EQ(ecs_component_register(f.world, "Where", fields, 3, &id), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t e = ecs_record_spawn(f.world, 0, NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, e, id, 0) != NULL);
    slot = ecs_record(f.world, ECS_OP_SET, e, id, 2);
    slot->at = (vec3_t){10, 0.5, 30};
    apply(&f);
    const void *view = ecs_view(f.world, e, id);
    memcpy(&slot, &view, sizeof slot);
    CHECK_EQ(slot->before, 5);
    CHECK_EQ(slot->at.x, 10);
    CHECK_EQ(slot->at.z, 30);
    CHECK_EQ(slot->after, 6);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_LEVEL, .id = e, .component = id, .field_count = 1};
    desc.field[0] = 1;
    uint32_t watch = 0;
    bool fired = false;
    CHECK_EQ(ecs_watch_add(f.world, &desc, 1, &watch, &fired), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "at is a struct: a condition compares numbers");
    fixture_close(&f);
}

int main(void) {
    RUN(a_unit_and_a_range_are_kept);
    RUN(without_a_range_the_ends_are_those_of_the_type);
    RUN(text_keeps_what_looks_like_a_unit);
    RUN(bad_units_and_ranges_say_what_is_wrong);
    RUN(a_default_outside_its_range_is_refused);
    RUN(a_float_may_be_the_end_of_its_range);
    RUN(another_unit_or_range_is_another_declaration);
    RUN(structs_are_laid_out_as_c_does);
    RUN(the_same_struct_again_is_the_same_id);
    RUN(bad_structs_say_what_is_wrong);
    RUN(structs_nest_to_a_limit);
    RUN(a_struct_field_is_set_as_a_whole);
    return test_report();
}
