/* Values by name: to JSON and back. */
#include "ecs_schema.h"
#include "random_schema.h"
#include "world.h"

typedef struct {
    double x;
    double y[2];
} point_t;

typedef struct {
    bool on;
    int8_t small;
    uint32_t big;
    float ratio;
    double temp_c;
    char label[8];
    double drive;
    int32_t mode;
    double joint[3];
    point_t zone[2];
} oven_t;

static uint32_t oven_of(fixture_t *f) {
    static const char *const members[] = {"idle", "auto", "fault"};
    static const char *const point[] = {"double x = 4 [m] (0..10)", "double y[2] = 5"};
    static const char *const fields[] = {"bool on",
                                         "int8_t small = -3",
                                         "uint32_t big",
                                         "float ratio = 0.1",
                                         "double temp_c = 20 [degC] (-40..150)",
                                         "char label[8] = ab",
                                         "entity drive",
                                         "Mode mode = auto",
                                         "double joint[3]",
                                         "Point zone[2]"};
    uint32_t id = 0;
    CHECK_EQ(ecs_enum_register(f->world, "Mode", members, 3, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(f->world, "Point", point, 2, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(f->world, "Oven", fields, 10, &id), ECS_OK);
    CHECK_EQ(ecs_component_size_bytes(f->world, id), sizeof(oven_t));
    return id;
}

static int read_value(const fixture_t *f, uint32_t id, const char *text, void *out) {
    return ecs_value_from_json(f->world, id, text, strlen(text), out);
}

#define DEFAULT_JSON                                                                               \
    "{\"on\":false,\"small\":-3,\"big\":0,\"ratio\":0.1,\"temp_c\":20,\"label\":\"ab\","           \
    "\"drive\":null,\"mode\":\"auto\",\"joint\":[0,0,0],"                                          \
    "\"zone\":[{\"x\":4,\"y\":[5,5]},{\"x\":4,\"y\":[5,5]}]}"

static void a_value_is_written_by_name(void) {
    fixture_t f = fixture_open(0);
    uint32_t id = oven_of(&f);
    ecs_text_t out = {0};
    CHECK_EQ(ecs_value_to_json(f.world, id, ecs_component_default(f.world, id), &out), ECS_OK);
    CHECK_TEXT(out.text, DEFAULT_JSON);
    CHECK_EQ(out.bytes, strlen(DEFAULT_JSON));
    CHECK_EQ(ecs_value_to_json(f.world, f.tag, NULL, &out), ECS_OK);
    CHECK_TEXT(out.text, DEFAULT_JSON "{}");
    CHECK_EQ(ecs_value_to_json(f.world, 99, NULL, &out), ECS_E_UNKNOWN);
    CHECK_TEXT(ecs_last_error(f.world), "no component 99");
    ecs_text_fini(&out);
    fixture_close(&f);
}

static void fields_that_are_not_named_get_their_default(void) {
    fixture_t f = fixture_open(0);
    uint32_t id = oven_of(&f);
    oven_t oven;
    memset(&oven, 0x55, sizeof oven);
    CHECK_EQ(read_value(&f, id, "{}", &oven), ECS_OK);
    CHECK_EQ(memcmp(&oven, ecs_component_default(f.world, id), sizeof oven), 0);
    CHECK_EQ(read_value(&f, id, "{\"zone\": [{\"x\": 1}, {\"y\": [7, 8]}], \"on\": true}", &oven),
             ECS_OK);
    CHECK(oven.on);
    CHECK_EQ(oven.small, -3);
    CHECK_EQ(oven.zone[0].x, 1);
    CHECK_EQ(oven.zone[0].y[1], 5);
    CHECK_EQ(oven.zone[1].x, 4);
    CHECK_EQ(oven.zone[1].y[1], 8);
    CHECK_EQ(read_value(&f, f.tag, "{}", NULL), ECS_OK);
    fixture_close(&f);
}

static void every_type_is_read(void) {
    fixture_t f = fixture_open(0);
    uint32_t id = oven_of(&f);
    record_begin(&f, 1);
    ecs_id_t top = ecs_record_spawn(f.world, 0, "cell");
    ecs_id_t drive = ecs_record_spawn(f.world, top, "drive");
    apply(&f);
    oven_t oven;
    CHECK_EQ(read_value(&f, id,
                        "{\"on\":true,\"small\":-128,\"big\":4294967295,\"ratio\":1e-3,"
                        "\"temp_c\":150,\"label\":\"12345678\",\"drive\":\"cell/drive\","
                        "\"mode\":\"fault\",\"joint\":[1,-2.5,3e2]}",
                        &oven),
             ECS_OK);
    CHECK_EQ(oven.small, -128);
    CHECK_EQ(oven.big, 4294967295.0);
    CHECK_EQ(oven.ratio, 1e-3f);
    CHECK_EQ(oven.temp_c, 150);
    CHECK_EQ(memcmp(oven.label, "12345678", 8), 0);
    CHECK_EQ(oven.drive, drive);
    CHECK_EQ(oven.mode, 2);
    CHECK_EQ(oven.joint[1], -2.5);
    char text[64];
    (void)snprintf(text, sizeof text, "{\"drive\":%.0f}", drive);
    oven.drive = 0;
    CHECK_EQ(read_value(&f, id, text, &oven), ECS_OK);
    CHECK_EQ(oven.drive, drive);
    CHECK_EQ(read_value(&f, id, "{\"drive\":null}", &oven), ECS_OK);
    CHECK_EQ(oven.drive, 0);
    fixture_close(&f);
}

#define DRIVE_TEXT "Oven.drive: expected an entity's path, an id or null, got "

static const char *const bad[][2] = {
    {"{\"on\":1}", "Oven.on: expected true or false, got 1 (line 1, column 7)"},
    {"{\"on\":null}", "Oven.on: expected true or false, got null (line 1, column 7)"},
    {"{\n \"small\": 128}",
     "Oven.small: expected a whole number from -128 to 127, got 128 (line 2, column 11)"},
    {"{\"small\":1.5}",
     "Oven.small: expected a whole number from -128 to 127, got 1.5 (line 1, column 10)"},
    {"{\"big\":4294967296}",
     "Oven.big: expected a whole number from 0 to 4294967295, got 4294967296 (line 1, column "
     "8)"},
    {"{\"big\":-1}",
     "Oven.big: expected a whole number from 0 to 4294967295, got -1 (line 1, column 8)"},
    {"{\"ratio\":1e39}", "Oven.ratio: expected a number, got 1e+39 (line 1, column 10)"},
    {"{\"ratio\":\"1\"}", "Oven.ratio: expected a number, got \"1\" (line 1, column 10)"},
    {"{\"ratio\":null}", "Oven.ratio: expected a number, got null (line 1, column 10)"},
    {"{\"ratio\":1e999}", "Oven: number is too large (line 1, column 10)"},
    {"{\"ratio\":NaN}", "Oven: expected a value (line 1, column 10)"},
    {"{\"temp_c\":150.5}",
     "Oven.temp_c: expected a number from -40 to 150 [degC], got 150.5 (line 1, column 11)"},
    {"{\"label\":\"123456789\"}",
     "Oven.label: expected text of at most 8 bytes, got 9 (line 1, column 10)"},
    {"{\"label\":5}", "Oven.label: expected text of at most 8 bytes, got 5 (line 1, column 10)"},
    {"{\"label\":\"a\\u0000b\"}",
     "Oven.label: expected text without a 0 byte, got \"a\" (line 1, column 10)"},
    {"{\"mode\":\"atuo\"}",
     "Oven.mode: expected a member of Mode, got \"atuo\", did you mean \"auto\"? (line 1, "
     "column 9)"},
    {"{\"mode\":1}", "Oven.mode: expected a member of Mode, got 1 (line 1, column 9)"},
    {"{\"drive\":\"nobody\"}",
     "Oven.drive: expected the path of an entity, got \"nobody\" (line 1, column 10)"},
    {"{\"drive\":\"\"}",
     "Oven.drive: expected the path of an entity, got \"\" (line 1, column 10)"},
    {"{\"drive\":7}", DRIVE_TEXT "7 (line 1, column 10)"},
    {"{\"drive\":4294967296.5}", DRIVE_TEXT "4294967296.5 (line 1, column 10)"},
    {"{\"drive\":9007199254740992}", DRIVE_TEXT "9007199254740992 (line 1, column 10)"},
    {"{\"drive\":true}", DRIVE_TEXT "true (line 1, column 10)"},
    {"{\"joint\":[1,2]}", "Oven.joint: expected an array of 3, got an array of 2 (line 1, "
                          "column 10)"},
    {"{\"joint\":1}", "Oven.joint: expected an array of 3, got 1 (line 1, column 10)"},
    {"{\"joint\":[1,\"x\",3]}", "Oven.joint[1]: expected a number, got \"x\" (line 1, column 13)"},
    {"{\"zone\":[{},{\"x\":11}]}",
     "Oven.zone[1].x: expected a number from 0 to 10 [m], got 11 (line 1, column 18)"},
    {"{\"zone\":[{},5]}", "Oven.zone[1]: expected an object (Point), got 5 (line 1, column 13)"},
    {"{\"zone\":[{\"z\":1},{}]}", "Oven.zone[0] has no field \"z\", did you mean \"x\"? (line "
                                  "1, column 11)"},
    {"{\"temp\":1}", "Oven has no field \"temp\", did you mean \"temp_c\"? (line 1, column 2)"},
    {"{\"qqqqqq\":1}", "Oven has no field \"qqqqqq\" (line 1, column 2)"},
    {"[]", "Oven: expected an object, got an array of 0 (line 1, column 1)"},
    {"{\"on\":true,\"on\":true}",
     "Oven: \"on\" is there twice (first at line 1, column 2) (line 1, column 12)"},
    {"{\"on\":true", "Oven: expected ',' or '}' (line 1, column 11)"},
};

static void bad_values_say_where_and_what(void) {
    fixture_t f = fixture_open(0);
    uint32_t id = oven_of(&f);
    oven_t oven, before;
    memset(&oven, 0x11, sizeof oven);
    before = oven;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(read_value(&f, id, bad[i][0], &oven) < 0);
        CHECK_TEXT(ecs_last_error(f.world), bad[i][1]);
    }
    CHECK_EQ(memcmp(&oven, &before, sizeof oven), 0);
    CHECK_EQ(read_value(&f, f.tag, "{\"x\":1}", NULL), ECS_E_UNKNOWN);
    CHECK_TEXT(ecs_last_error(f.world), "Tag has no field \"x\" (line 1, column 2)");
    json_doc_t doc = {0};
    CHECK_EQ(ecs_value_from_node(f.world, id, &doc, 1, &oven), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "no node 1 in the document");
    fixture_close(&f);
}

static void numbers_have_their_shortest_text(void) {
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.1, "0.1"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {-0.0, "-0"},
                 {1e300, "1e+300"},
                 {5e-324, "4.94065645841247e-324"},
                 {9007199254740991.0, "9007199254740991"},
                 {(double)NAN, "null"},
                 {-(double)INFINITY, "null"}};
    fixture_t f = fixture_open(0);
    const char *const fields[] = {"double v"};
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(f.world, "N", fields, 1, &id), ECS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ecs_text_t out = {0};
        char want[64];
        double back = 0;
        CHECK_EQ(ecs_value_to_json(f.world, id, &cases[i].value, &out), ECS_OK);
        (void)snprintf(want, sizeof want, "{\"v\":%s}", cases[i].text);
        CHECK_TEXT(out.text, want);
        if (strcmp(cases[i].text, "null") != 0) {
            CHECK_EQ(read_value(&f, id, out.text, &back), ECS_OK);
            CHECK_EQ(memcmp(&back, &cases[i].value, 8), 0);
        }
        ecs_text_fini(&out);
    }
    fixture_close(&f);
}

static void odd_bytes_still_make_json(void) {
    fixture_t f = fixture_open(0);
    const char *const fields[] = {"char text[8]", "bool on", "Mode mode", "entity other"};
    const char *const members[] = {"idle"};
    struct {
        char text[8];
        uint8_t on;
        int32_t mode;
        double other;
    } odd = {"\xff\x01\"\\\x80", 7, -5, -1.5};
    uint32_t id = 0;
    CHECK_EQ(ecs_enum_register(f.world, "Mode", members, 1, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Odd", fields, 4, &id), ECS_OK);
    ecs_text_t out = {0};
    CHECK_EQ(ecs_value_to_json(f.world, id, &odd, &out), ECS_OK);
    CHECK_TEXT(out.text, "{\"text\":\"\xef\xbf\xbd\\u0001\\\"\\\\\xef\xbf\xbd\",\"on\":true,"
                         "\"mode\":-5,\"other\":null}");
    json_doc_t doc;
    json_error_t error;
    CHECK_EQ(json_parse(&doc, out.text, out.bytes, &error), 0);
    json_fini(&doc);
    ecs_text_fini(&out);
    fixture_close(&f);
}

static void long_paths_and_texts_are_cut_in_errors(void) {
    fixture_t f = fixture_open(0);
    char text[2][300], name[64], json[1200];
    const char *fields[1] = {text[0]};
    uint32_t id = 0;
    memset(name, 'n', 62);
    name[62] = '\0';
    (void)snprintf(text[0], sizeof text[0], "bool %s", name);
    CHECK_EQ(ecs_struct_register(f.world, "A", fields, 1, &id), ECS_OK);
    (void)snprintf(text[0], sizeof text[0], "A %s", name);
    CHECK_EQ(ecs_struct_register(f.world, "B", fields, 1, &id), ECS_OK);
    (void)snprintf(text[0], sizeof text[0], "B %s", name);
    CHECK_EQ(ecs_component_register(f.world, "C", fields, 1, &id), ECS_OK);
    (void)snprintf(json, sizeof json, "{\"%s\":{\"%s\":{\"%s\":\"%0200d\"}}}", name, name, name, 1);
    bool out = false;
    CHECK_EQ(read_value(&f, id, json, &out), ECS_E_INVALID);
    CHECK(strstr(ecs_last_error(f.world), "expected true or false, got \"000") != NULL);
    CHECK(strstr(ecs_last_error(f.world), "column 199)") != NULL);
    fixture_close(&f);
}

/* ---- random schemas ------------------------------------------------------------------------- */

static void one_random_round_trip(uint64_t seed) {
    char text[RANDOM_FIELDS][64];
    const char *fields[RANDOM_FIELDS];
    random_state = seed * 0x9e3779b97f4a7c15ull + 1;
    ecs_world_t *world = NULL;
    random_world(&world);
    uint32_t id = 0, count = 1 + random_below(RANDOM_FIELDS), got = 0;
    random_fields(text, fields, count);
    CHECK_EQ(ecs_component_register(world, "R", fields, count, &id), ECS_OK);
    uint32_t bytes = ecs_component_size_bytes(world, id);
    char *value = calloc(bytes, 1), *back = calloc(bytes, 1);
    const ecs_field_t *list = ecs_component_fields(world, id, &got);
    for (int i = 0; i < 20; i++) {
        ecs_text_t out = {0};
        random_value(world, list, got, value);
        CHECK_EQ(ecs_value_to_json(world, id, value, &out), ECS_OK);
        int rc = ecs_value_from_json(world, id, out.text, out.bytes, back);
        CHECK_EQ(rc, ECS_OK);
        CHECK_EQ(memcmp(value, back, bytes), 0);
        if (rc != ECS_OK || memcmp(value, back, bytes) != 0) {
            printf("  seed %llu: %s\n  %s\n", (unsigned long long)seed, ecs_last_error(world),
                   out.text);
        }
        ecs_text_fini(&out);
    }
    free(value);
    free(back);
    ecs_world_destroy(world);
}

static void random_values_come_back_byte_by_byte(void) {
    for (uint64_t seed = 1; seed <= 300; seed++) {
        one_random_round_trip(seed);
    }
}

int main(void) {
    RUN(a_value_is_written_by_name);
    RUN(fields_that_are_not_named_get_their_default);
    RUN(every_type_is_read);
    RUN(bad_values_say_where_and_what);
    RUN(numbers_have_their_shortest_text);
    RUN(odd_bytes_still_make_json);
    RUN(long_paths_and_texts_are_cut_in_errors);
    RUN(random_values_come_back_byte_by_byte);
    return test_report();
}
