/* Migration: plans, single values, random schemas. */
#include "migration.h"
#include "random_schema.h"

static const char *const CHANGES[] = {"kept", "converted", "added", "dropped", "lossy"};

/* Registers A with one field. */
static uint32_t one(fixture_t *f, const char *field) {
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(f->world, "A", &field, 1, &id), ECS_OK);
    return id;
}

/* ---- plans ---------------------------------------------------------------------------------- */

static void plan_text(fixture_t *f, uint32_t id, const char *const *fields, uint32_t count,
                      char *out, size_t bytes) {
    ecs_migration_t *plan = NULL;
    uint32_t entries = 0;
    size_t at = 0;
    CHECK_EQ(ecs_migration_plan(f->world, id, fields, count, &plan), ECS_OK);
    const ecs_migration_field_t *entry = ecs_migration_fields(plan, &entries);
    out[0] = '\0';
    for (uint32_t i = 0; i < entries; i++) {
        at += (size_t)snprintf(out + at, bytes - at, "%s %s%s%s\n", entry[i].name,
                               CHANGES[entry[i].change], entry[i].reason[0] != '\0' ? ": " : "",
                               entry[i].reason);
    }
    ecs_migration_destroy(plan);
}

static void a_plan_says_what_becomes_of_each_field(void) {
    fixture_t f = types_open(0);
    const char *const before[] = {"double same",  "int8_t wide",  "double thin",   "char text[4]",
                                  "char name[8]", "Mode mode",    "float list[3]", "int32_t cut[5]",
                                  "double gone",  "entity drive", "bool flag",     "double hot"};
    const char *const after[] = {"bool fresh = true", "double hot (0..)", "uint8_t flag",
                                 "double drive",      "int16_t cut[2]",   "float list[6]",
                                 "Mode2 mode",        "char name[3]",     "char text[6]",
                                 "int16_t thin",      "float wide",       "double same [m]"};
    uint32_t id = 0;
    char text[2000];
    CHECK_EQ(ecs_component_register(f.world, "A", before, 12, &id), ECS_OK);
    plan_text(&f, id, after, 12, text, sizeof text);
    CHECK_TEXT(text, "fresh added\n"
                     "hot converted: where the new range holds it\n"
                     "flag converted: bool to uint8_t\n"
                     "drive lossy: entity to double\n"
                     "cut lossy: 5 elements become 2, int32_t to int16_t, where it fits\n"
                     "list converted: 3 elements become 6\n"
                     "mode converted: by member name, where Mode2 has it\n"
                     "name converted: char[8] to char[3], where it fits\n"
                     "text converted: char[4] to char[6]\n"
                     "thin converted: double to int16_t, where it fits\n"
                     "wide converted: int8_t to float\n"
                     "same kept\n"
                     "gone dropped: the field goes\n");
    fixture_close(&f);
}

static void a_plan_goes_into_structs_by_name(void) {
    fixture_t f = types_open(0);
    uint32_t id = one(&f, "Box box");
    char text[1000];
    const char *const same[] = {"Box box"}, *const other[] = {"BoxB box[2]"};
    const char *const flat[] = {"double box"};
    plan_text(&f, id, same, 1, text, sizeof text);
    CHECK_TEXT(text, "box kept\n");
    plan_text(&f, id, other, 1, text, sizeof text);
    CHECK_TEXT(text, "box converted: 1 elements become 2\n"
                     "box.solid converted: bool to uint8_t\n"
                     "box.at converted: 2 elements become 3\n"
                     "box.at.n converted: int32_t to int16_t, where it fits\n"
                     "box.at.y converted: float to double\n"
                     "box.at.z added\n"
                     "box.at.x dropped: the field goes\n");
    plan_text(&f, id, flat, 1, text, sizeof text);
    CHECK_TEXT(text, "box lossy: Box to double\n");
    fixture_close(&f);
}

/* A range that goes does not bind what is stored: the type must. */
static void a_plan_leaves_ranges_that_go_out(void) {
    fixture_t f = types_open(0);
    const char *const narrow = "int8_t v", *const real = "double v";
    uint32_t id = one(&f, "int32_t v (0..10)");
    char text[200];
    plan_text(&f, id, &narrow, 1, text, sizeof text);
    CHECK_TEXT(text, "v converted: int32_t to int8_t, where it fits\n");
    plan_text(&f, id, &real, 1, text, sizeof text);
    CHECK_TEXT(text, "v converted: int32_t to double\n");
    fixture_close(&f);
}

static void a_plan_needs_a_good_declaration(void) {
    fixture_t f = types_open(0);
    const char *const bad[] = {"double x (1..0)"}, *const good[] = {"double x"};
    ecs_migration_t *plan = NULL;
    CHECK_EQ(ecs_migration_plan(f.world, f.pos, bad, 1, &plan), ECS_E_INVALID);
    CHECK(plan == NULL);
    CHECK_EQ(ecs_migration_plan(f.world, 99, good, 1, &plan), ECS_E_UNKNOWN);
    CHECK_TEXT(ecs_last_error(f.world), "no component 99");
    ecs_migration_destroy(NULL);
    fixture_close(&f);
}

/* ---- single values -------------------------------------------------------------------------- */

/* Reads a value from JSON, migrates it, answers it as JSON or the error. */
static void change(const char *before, const char *after, const char *json, const char *expected) {
    fixture_t f = types_open(0);
    uint32_t id = one(&f, before), target = 0;
    char from[512] = {0}, to[512] = {0};
    ecs_migration_t *plan = NULL;
    ecs_text_t out = {0};
    CHECK_EQ(ecs_value_from_json(f.world, id, json, strlen(json), from), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "B", &after, 1, &target), ECS_OK);
    CHECK_EQ(ecs_migration_plan(f.world, id, &after, 1, &plan), ECS_OK);
    CHECK_EQ(ecs_migration_size_bytes(plan), ecs_component_size_bytes(f.world, target));
    if (ecs_migration_convert(plan, NULL, from, to) == ECS_OK) {
        CHECK_EQ(ecs_value_to_json(f.world, target, to, &out), ECS_OK);
        CHECK_TEXT(out.text, expected);
    } else {
        CHECK_TEXT(ecs_last_error(f.world), expected);
    }
    ecs_text_fini(&out);
    ecs_migration_destroy(plan);
    fixture_close(&f);
}

/* A range says what a scene may set: commands may have stored something else. */
static void a_wider_range_is_held_against_what_is_stored(void) {
    fixture_t f = types_open(0);
    const char *const wider = "double v (0..20)", *const none = "double v";
    uint32_t id = one(&f, "double v (0..10)");
    ecs_migration_t *plan = NULL;
    double from = 200, to = 0;
    CHECK_EQ(ecs_migration_plan(f.world, id, &wider, 1, &plan), ECS_OK);
    CHECK_EQ(ecs_migration_convert(plan, NULL, &from, &to), ECS_E_INVALID);
    from = 15;
    CHECK_EQ(ecs_migration_convert(plan, NULL, &from, &to), ECS_OK);
    CHECK_EQ(to, 15);
    ecs_migration_destroy(plan);
    from = 200;
    CHECK_EQ(ecs_migration_plan(f.world, id, &none, 1, &plan), ECS_OK);
    CHECK_EQ(ecs_migration_convert(plan, NULL, &from, &to), ECS_OK);
    ecs_migration_destroy(plan);
    fixture_close(&f);
}

static void values_that_fit_are_converted(void) {
    change("int8_t v", "double v", "{\"v\":-7}", "{\"v\":-7}");
    change("double v", "int16_t v", "{\"v\":-32768}", "{\"v\":-32768}");
    change("double v", "float v", "{\"v\":0.25}", "{\"v\":0.25}");
    change("uint32_t v", "int32_t v", "{\"v\":2147483647}", "{\"v\":2147483647}");
    change("bool v", "int32_t v", "{\"v\":true}", "{\"v\":1}");
    change("int32_t v", "bool v", "{\"v\":1}", "{\"v\":true}");
    change("char v[4]", "char v[9]", "{\"v\":\"abcd\"}", "{\"v\":\"abcd\"}");
    change("char v[9]", "char v[4] = zzzz", "{\"v\":\"abc\"}", "{\"v\":\"abc\"}");
    change("Mode v", "Mode2 v", "{\"v\":\"fault\"}", "{\"v\":\"fault\"}");
    change("float v[2]", "double v[4] = 5", "{\"v\":[1,2]}", "{\"v\":[1,2,5,5]}");
    change("double v", "double v[2]", "{\"v\":3}", "{\"v\":[3,0]}");
    change("entity v", "entity v[2]", "{\"v\":4294967297}", "{\"v\":[4294967297,null]}");
    change("double v", "double v (0..10)", "{\"v\":10}", "{\"v\":10}");
}

static void what_does_not_fit_is_refused(void) {
    change("double v", "int16_t v", "{\"v\":32768}",
           "A.v: 32768 is not a whole number from -32768 to 32767");
    change("double v", "int16_t v", "{\"v\":0.5}",
           "A.v: 0.5 is not a whole number from -32768 to 32767");
    change("double v", "float v", "{\"v\":0.1}", "A.v: 0.1 is not a number");
    change("double v", "float v", "{\"v\":1e300}", "A.v: 1e+300 is not a number");
    change("int32_t v", "float v", "{\"v\":16777217}", "A.v: 16777217 is not a number");
    change("int32_t v", "bool v", "{\"v\":2}", "A.v: 2 is not true or false");
    change("int8_t v", "uint8_t v", "{\"v\":-1}", "A.v: -1 is not a whole number from 0 to 255");
    change("double v[2]", "double v[2] [m] (0..10)", "{\"v\":[1,11]}",
           "A.v: 11 is not a number from 0 to 10 [m]");
    change("char v[9]", "char v[4]", "{\"v\":\"abcde\"}",
           "A.v: text of 5 bytes is not text of at most 4 bytes");
    change("Mode v", "Mode2 v", "{\"v\":\"auto\"}", "A.v: \"auto\" is not a member of Mode2");
    change("double v[3]", "double v[2]", "{}", "A.v would be lost: 3 elements become 2");
    change("double v[3]", "double v", "{}", "A.v would be lost: 3 elements become 1");
    change("double v", "char v[8]", "{}", "A.v would be lost: double to char");
    change("Mode v", "int32_t v", "{}", "A.v would be lost: Mode to int32_t");
    change("bool v", "double v", "{}", "A.v would be lost: bool to double");
    change("double v", "double w", "{}", "A.v would be lost: the field goes");
    change("Vec v", "VecB v", "{}", "A.v.x would be lost: the field goes");
    change("Box v", "BoxB v", "{}", "A.v.at.x would be lost: the field goes");
}

static void an_ordinal_without_a_member_is_refused(void) {
    fixture_t f = types_open(0);
    uint32_t id = one(&f, "Mode v");
    const char *const after[] = {"Mode2 v"};
    ecs_migration_t *plan = NULL;
    int32_t from = 7, to = 0;
    CHECK_EQ(ecs_migration_plan(f.world, id, after, 1, &plan), ECS_OK);
    CHECK_EQ(ecs_migration_convert(plan, NULL, &from, &to), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "A.v: ordinal 7 is not a member of Mode2");
    ecs_migration_destroy(plan);
    fixture_close(&f);
}

typedef struct {
    double x;
    float y;
    int32_t n;
} vec_t;

typedef struct {
    int16_t n;
    double y, z;
} vec_b_t;

typedef struct {
    vec_t at[2];
    bool solid;
} box_t;

typedef struct {
    uint8_t solid;
    vec_b_t at[3];
} box_b_t;

/* x goes into z. */
static int x_to_z(void *context, ecs_id_t id, const void *from, void *to) {
    const box_t *before = from;
    box_b_t *after = to;
    (void)context, (void)id;
    for (int i = 0; i < 2; i++) {
        after->at[i].z = before->at[i].x;
    }
    return ECS_OK;
}

static void a_converter_finishes_the_value(void) {
    fixture_t f = types_open(0);
    uint32_t id = one(&f, "Box v");
    const char *const after[] = {"BoxB v"};
    box_t from = {{{1.5, 2.5f, -3}, {4.5, 5.5f, 99999}}, true};
    box_b_t to = {0};
    ecs_migration_t *plan = NULL;
    ecs_converter_t converter = {x_to_z, NULL};
    CHECK_EQ(ecs_migration_plan(f.world, id, after, 1, &plan), ECS_OK);
    CHECK_EQ(ecs_migration_convert(plan, &converter, &from, &to), ECS_OK);
    CHECK_EQ(to.solid, 1);
    CHECK_EQ(to.at[0].n, -3);
    CHECK_EQ(to.at[0].y, 2.5);
    CHECK_EQ(to.at[0].z, 1.5);
    CHECK_EQ(to.at[1].n, 0); /* 99999 does not fit: the default */
    CHECK_EQ(to.at[1].z, 4.5);
    CHECK_EQ(to.at[2].z, 9);
    converter.convert = refuse;
    CHECK_EQ(ecs_migration_convert(plan, &converter, &from, &to), ECS_E_EXPECT);
    CHECK_TEXT(ecs_last_error(f.world),
               "A: the converter refuses the value of entity 0: an expected value had changed");
    ecs_migration_destroy(plan);
    fixture_close(&f);
}

/* ---- random schemas ------------------------------------------------------------------------- */

/* A declaration of the same field that holds all that it does and more. */
static void widen(const char *from, char *to, size_t bytes) {
    static const char *const wider[][3] = {
        {"int8_t", "int16_t", "float"},    {"int16_t", "int32_t", "double"},
        {"int32_t", "double", "double"},   {"uint8_t", "uint16_t", "int16_t"},
        {"uint16_t", "uint32_t", "float"}, {"uint32_t", "double", "double"},
        {"float", "double", "double"},     {"bool", "uint8_t", "int32_t"},
        {"Mode", "ModeB", "ModeB"},        {"Inner", "InnerB", "InnerB"}};
    char type[32], name[16];
    uint32_t count = 0;
    CHECK(sscanf(from, "%31s %15[^[][%u]", type, name, &count) >= 2);
    const char *chosen = type;
    for (size_t i = 0; i < COUNT(wider); i++) {
        if (strcmp(wider[i][0], type) == 0) { chosen = wider[i][random_below(3)]; }
    }
    count = count > 0 ? count + random_below(3) : random_below(3);
    if (count > 0) {
        (void)snprintf(to, bytes, "%s %s[%u]", chosen, name, count);
    } else {
        (void)snprintf(to, bytes, "%s %s", chosen, name);
    }
}

static void one_way_and_back(uint64_t seed) {
    static const char *const members[] = {"new", "fault", "idle", "auto"};
    static const char *const inner[] = {"char tag[9]", "double extra", "LeafB leaf[3]",
                                        "int32_t k = 5"};
    static const char *const leaf[] = {"uint16_t b[4]", "double a"};
    char text[2][RANDOM_FIELDS + 1][64];
    const char *fields[2][RANDOM_FIELDS + 1];
    ecs_world_t *world = NULL;
    random_state = seed * 0x9e3779b97f4a7c15ull + 1;
    random_world(&world);
    uint32_t id = 0, count = 1 + random_below(RANDOM_FIELDS), got = 0;
    CHECK_EQ(ecs_enum_register(world, "ModeB", members, 4, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(world, "LeafB", leaf, 2, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(world, "InnerB", inner, 4, &id), ECS_OK);
    random_fields(text[0], fields[0], count);
    for (uint32_t i = 0; i < count; i++) { /* in the opposite order */
        widen(text[0][i], text[1][count - 1 - i], 64);
        fields[1][i] = text[1][i];
    }
    fields[1][count] = "double added = 1";
    CHECK_EQ(ecs_component_register(world, "R", fields[0], count, &id), ECS_OK);
    uint32_t bytes = ecs_component_size_bytes(world, id);
    char *value = calloc(bytes, 1);
    const ecs_field_t *list = ecs_component_fields(world, id, &got);
    random_value(world, list, got, value);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    ecs_id_t e = ecs_record_spawn(world, 0, NULL);
    memcpy(ecs_record(world, ECS_OP_INSERT, e, id, 0), value, bytes);
    fixture_t f = {.world = world};
    apply(&f);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    int calls = 0, rc = ECS_OK;
    ecs_converter_t any = {accept, &calls};
    rc = ecs_component_migrate(world, id, fields[1], count + 1, &any);
    if (rc == ECS_OK) { rc = ecs_component_migrate(world, id, fields[0], count, &any); }
    CHECK_EQ(rc, ECS_OK);
    if (rc != ECS_OK) { printf("  seed %d: %s\n", (int)seed, ecs_last_error(world)); }
    CHECK_EQ(calls, 2);
    CHECK_EQ(memcmp(ecs_view(world, e, id), value, bytes), 0);
    CHECK_EQ(ecs_check(world), ECS_OK);
    free(value);
    ecs_world_destroy(world);
}

static void wider_and_back_gives_equal_values(void) {
    for (uint64_t seed = 1; seed <= 300; seed++) {
        one_way_and_back(seed);
    }
}

int main(void) {
    RUN(a_plan_says_what_becomes_of_each_field);
    RUN(a_plan_goes_into_structs_by_name);
    RUN(a_plan_leaves_ranges_that_go_out);
    RUN(a_plan_needs_a_good_declaration);
    RUN(a_wider_range_is_held_against_what_is_stored);
    RUN(values_that_fit_are_converted);
    RUN(what_does_not_fit_is_refused);
    RUN(an_ordinal_without_a_member_is_refused);
    RUN(a_converter_finishes_the_value);
    RUN(wider_and_back_gives_equal_values);
    return test_report();
}
