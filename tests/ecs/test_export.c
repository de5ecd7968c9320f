#include <limits.h>

#include "history.h"

static char *exported(ecs_world_t *world) {
    buffer_t out = {0};
    CHECK_EQ(ecs_export_json(world, buffer_sink, &out), ECS_OK);
    (void)buffer_sink(&out, "", 1);
    return out.bytes;
}

typedef struct {
    bool on;
    int8_t i8;
    uint8_t u8;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    float f32;
    double f64;
    ecs_id_t other;
    int32_t mode[2];
    float one[1];
    char label[8];
} all_t;

static const char *const ALL_FIELDS[] = {
    "bool on",      "int8_t i8",    "uint8_t u8",   "int16_t i16", "uint16_t u16",
    "int32_t i32",  "uint32_t u32", "float f32",    "double f64",  "entity other",
    "Mode mode[2]", "float one[1]", "char label[8]"};

static ecs_world_t *world_of_all(uint32_t *all) {
    const char *const members[] = {"idle", "busy"};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 24};
    ecs_world_t *world = NULL;
    uint32_t id = 0;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    CHECK_EQ(ecs_enum_register(world, "Mode", members, 2, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Tag", NULL, 0, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "All", ALL_FIELDS,
                                    sizeof ALL_FIELDS / sizeof ALL_FIELDS[0], all),
             ECS_OK);
    CHECK_EQ(ecs_component_size_bytes(world, *all), sizeof(all_t));
    return world;
}

static void apply_now(ecs_world_t *world) {
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
}

static void record_now(ecs_world_t *world) {
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
}

static void a_world_is_one_document(void) {
    uint32_t all = 0;
    ecs_world_t *world = world_of_all(&all);
    char *text = exported(world);
    CHECK_TEXT(text, "{\"tick\":1,\"entities\":[\n]}\n");
    free(text);
    record_now(world);
    ecs_id_t arm = ecs_record_spawn(world, 0, "arm \"1\""), gone = ecs_record_spawn(world, 0, NULL);
    ecs_id_t hand = ecs_record_spawn(world, arm, "hand"), bare = ecs_record_spawn(world, arm, NULL);
    (void)ecs_record(world, ECS_OP_INSERT, arm, 0, 0);
    (void)ecs_record(world, ECS_OP_INSERT, hand, 0, 0);
    *(all_t *)ecs_record(world, ECS_OP_INSERT, hand, all, 0) =
        (all_t){true, -128, 255,  -32768, 65535,      INT32_MIN, UINT32_MAX,
                0.1f, 0.1,  bare, {1, 7}, {16777216}, "12345678"};
    (void)ecs_record(world, ECS_OP_INSERT, bare, all, 0);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, gone, 0), ECS_OK);
    apply_now(world);
    text = exported(world);
    CHECK_TEXT(text, "{\"tick\":2,\"entities\":[\n"
                     "{\"id\":4294967296,\"name\":\"arm \\\"1\\\"\",\"components\":{\"Tag\":{}}},\n"
                     "{\"id\":4294967298,\"name\":\"hand\",\"parent\":4294967296,\"components\":"
                     "{\"Tag\":{},\"All\":{\"on\":true,\"i8\":-128,\"u8\":255,\"i16\":-32768,"
                     "\"u16\":65535,\"i32\":-2147483648,\"u32\":4294967295,\"f32\":0.1,"
                     "\"f64\":0.1,\"other\":4294967299,\"mode\":[\"busy\",7],"
                     "\"one\":[16777216],\"label\":\"12345678\"}}},\n"
                     "{\"id\":4294967299,\"parent\":4294967296,\"components\":"
                     "{\"All\":{\"on\":false,\"i8\":0,\"u8\":0,\"i16\":0,\"u16\":0,\"i32\":0,"
                     "\"u32\":0,\"f32\":0,\"f64\":0,\"other\":null,\"mode\":[\"idle\",\"idle\"],"
                     "\"one\":[0],\"label\":\"\"}}}\n"
                     "]}\n");
    free(text);
    ecs_world_destroy(world);
}

static void phases_and_sinks_are_respected(void) {
    uint32_t all = 0;
    ecs_world_t *world = world_of_all(&all);
    buffer_t out = {0};
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_export_json(world, buffer_sink, &out), ECS_E_PHASE);
    CHECK_EQ(out.length, 0);
    ecs_world_destroy(world);
}

static int one_call(void *context, const void *bytes, size_t length) {
    int *calls = context;
    (void)bytes;
    CHECK(length > 0);
    return ++*calls < 1 ? ECS_OK : ECS_E_MEMORY;
}

static void a_sink_may_stop_the_document(void) {
    ecs_world_t *world = history_world(16, false);
    (void)history_run(world, 1, 20, 100);
    int calls = 0;
    CHECK_EQ(ecs_export_json(world, one_call, &calls), ECS_E_MEMORY);
    CHECK_EQ(calls, 1);
    ecs_world_destroy(world);
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* What a writer makes of one number; valid until the next call. */
static const char *number_text(double value, bool narrow) {
    static char text[64];
    ecs__number_text(value, narrow, text, sizeof text);
    return text;
}

static void hard_numbers_have_their_shortest_text(void) {
    static const struct {
        double value;
        const char *text;
    } doubles[] = {{0, "0"},
                   {-0.0, "-0"},
                   {1, "1"},
                   {0.1, "0.1"},
                   {0.1 + 0.2, "0.30000000000000004"},
                   {1.0 / 3, "0.3333333333333333"},
                   {123456789012345, "123456789012345"},
                   {9007199254740993.0, "9007199254740992"},
                   {1e15, "1e+15"},
                   {1e23, "1e+23"},
                   {5e-324, "4.94065645841247e-324"},
                   {2.2250738585072014e-308, "2.2250738585072014e-308"},
                   {1.7976931348623157e308, "1.7976931348623157e+308"}},
      floats[] = {{(double)0.1f, "0.1"},
                  {(double)16777216, "16777216"},
                  {(double)1.17549435e-38f, "1.1754944e-38"},
                  {(double)3.4028235e38f, "3.4028235e+38"},
                  {(double)1e-45f, "1.4013e-45"}};
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        CHECK_TEXT(number_text(doubles[i].value, false), doubles[i].text);
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        CHECK_TEXT(number_text(floats[i].value, true), floats[i].text);
    }
}

static void any_number_reads_back_exactly(void) {
    history_t random = {.state = 5};
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t bits = (uint64_t)below(&random, 1u << 31) << 33 | below(&random, 1u << 31) << 1;
        uint32_t narrow_bits = (uint32_t)(bits >> 32);
        double value = 0;
        float narrow = 0;
        memcpy(&value, &bits, sizeof value);
        memcpy(&narrow, &narrow_bits, sizeof narrow);
        if (isfinite(value) && strtod(number_text(value, false), NULL) != value) {
            CHECK_TEXT(number_text(value, false), "a text that reads back");
        }
        if (isfinite(narrow) && strtof(number_text((double)narrow, true), NULL) != narrow) {
            CHECK_TEXT(number_text((double)narrow, true), "a text that reads back");
        }
    }
}

/* ---- text ----------------------------------------------------------------------------------- */

/* What a writer makes of text; to be freed. */
static char *text_of(const char *bytes, size_t most) {
    ecs_text_t out = {0};
    ecs__json_text(&out, bytes, strnlen(bytes, most));
    return out.text;
}

static void hostile_text_is_escaped(void) {
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", "\"\""},
        {"plain / text", "\"plain / text\""},
        {"\"\\", "\"\\\"\\\\\""},
        {"\x01\x08\t\n\x0b\x0c\r\x1f\x7f", "\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xe2\x82\xac\xf0\x9f\xa6\xbe", "\"\xe2\x82\xac\xf0\x9f\xa6\xbe\""},
        {"a\xff"
         "b\x80"
         "c",
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd"
         "c\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* longer than need be */
        {"\xe0\x9f\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* the same */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* half of a pair */
        {"\xf4\x90\x80\x80",
         "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* past the end */
        {"cut \xe2\x82", "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc3\"", "\"\xef\xbf\xbd\\\"\""}}; /* the quote is no part of it */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = text_of(cases[i].bytes, strlen(cases[i].bytes));
        CHECK_TEXT(text, cases[i].text);
        free(text);
    }
    char *text = text_of("12345\0 78", 9);
    CHECK_TEXT(text, "\"12345\"");
    free(text);
    text = text_of("12345\xe2\x82\xac", 7); /* a field that ends inside a character */
    CHECK_TEXT(text, "\"12345\xef\xbf\xbd\xef\xbf\xbd\"");
    free(text);
}

/* Bytes of the next character by its code point, or 0: another way than the writer's. */
static size_t decode(const unsigned char *at) {
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : 4;
    if (length == 1) { return at[0] >= 0x20 ? 1 : 0; }
    if (length == 4 && at[0] >> 3 != 30) { return 0; }
    uint32_t point = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (at[i] >> 6 != 2) { return 0; }
        point = point << 6 | (at[i] & 0x3f);
    }
    bool ok = point >= lowest[length] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    return ok ? length : 0;
}

/* Whether this is one string of JSON in valid UTF-8. */
static bool is_string(const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    if (*at++ != '"') { return false; }
    while (*at != '"') {
        size_t length = decode(at);
        if (length == 0) { return false; }
        at += length;
        if (at[-1] != '\\') { continue; }
        if (*at == '\0' || strchr("\"\\bfnrtu", *at) == NULL) { return false; }
        if (*at == 'u' && strspn((const char *)at + 1, "0123456789abcdef") < 4) { return false; }
        at++;
    }
    return at[1] == '\0';
}

static void any_bytes_give_a_valid_string(void) {
    static const unsigned char edges[] = {0x01, 'a',  '"',  '\\', 0x7f, 0x80, 0x8f,
                                          0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf,
                                          0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    enum { EDGES = sizeof edges };
    uint32_t failed = 0;
    for (uint32_t i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        char bytes[4];
        uint32_t rest = i;
        for (size_t k = 0; k < sizeof bytes; k++) {
            bytes[k] = (char)edges[rest % EDGES];
            rest /= EDGES;
        }
        char *text = text_of(bytes, sizeof bytes);
        failed += is_string(text) ? 0 : 1;
        free(text);
    }
    CHECK_EQ(failed, 0);
    CHECK(!is_string("\"\xc3\"") && !is_string("\"\n\"") && !is_string("\"\xed\xa0\x80\""));
}

int main(void) {
    RUN(a_world_is_one_document);
    RUN(phases_and_sinks_are_respected);
    RUN(a_sink_may_stop_the_document);
    RUN(hard_numbers_have_their_shortest_text);
    RUN(any_number_reads_back_exactly);
    RUN(hostile_text_is_escaped);
    RUN(any_bytes_give_a_valid_string);
    return test_report();
}
