/* libFuzzer: a line of declarations with ; between them, one of fields to migrate to, then a JSON
 * value. What is read is written and read again to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ecs_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void round_trip(ecs_world_t *world, uint32_t id, const char *json) {
    uint32_t size = ecs_component_size_bytes(world, id);
    char *value = calloc(size + 1, 1), *back = calloc(size + 1, 1);
    ecs_text_t out = {0}, again = {0};
    if (value == NULL || back == NULL) { abort(); }
    if (ecs_value_from_json(world, id, json, strlen(json), value) == ECS_OK) {
        if (ecs_value_to_json(world, id, value, &out) != ECS_OK) { abort(); }
        /* a default may be NaN or no UTF-8, which JSON cannot carry */
        if (ecs_value_from_json(world, id, out.text, out.bytes, back) == ECS_OK) {
            if (ecs_value_to_json(world, id, back, &again) != ECS_OK) { abort(); }
            if (strcmp(out.text, again.text) != 0) { abort(); }
        } else if (strstr(out.text, "null") == NULL && strstr(out.text, "\xef\xbf\xbd") == NULL) {
            abort();
        }
    } else if (ecs_last_error(world)[0] == '\0') {
        abort();
    }
    ecs_text_fini(&out);
    ecs_text_fini(&again);
    free(value);
    free(back);
}

static int accept(void *context, ecs_id_t id, const void *from, void *to) {
    (void)context, (void)id, (void)from, (void)to;
    return ECS_OK;
}

/* The default goes to another layout, with and without losses; then the component does. */
static void migrate(ecs_world_t *world, uint32_t id, const char *const *fields, uint32_t count) {
    ecs_migration_t *plan = NULL;
    ecs_converter_t any = {accept, NULL};
    if (ecs_migration_plan(world, id, fields, count, &plan) != ECS_OK) { return; }
    uint32_t size = ecs_migration_size_bytes(plan);
    char *strict = calloc(size + 1, 1), *loose = calloc(size + 1, 1);
    if (strict == NULL || loose == NULL) { abort(); }
    const void *value = ecs_component_default(world, id);
    if (ecs_migration_convert(plan, &any, value, loose) != ECS_OK) { abort(); }
    if (ecs_migration_convert(plan, NULL, value, strict) == ECS_OK &&
        memcmp(strict, loose, size) != 0) {
        abort();
    }
    ecs_migration_destroy(plan);
    free(strict);
    free(loose);
    if (ecs_component_migrate(world, id, fields, count, &any) != ECS_OK) { abort(); }
    if (ecs_component_size_bytes(world, id) != size || ecs_check(world) != ECS_OK) { abort(); }
}

static uint32_t split(char *line, const char **fields, uint32_t most) {
    uint32_t count = 0;
    for (char *field; count < most && (field = strsep(&line, ";")) != NULL;) {
        if (field[0] != '\0') { fields[count++] = field; }
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    enum { FIELDS = 48 };
    static const char *const members[] = {"idle", "busy"}, *const other[] = {"busy", "idle", "x"};
    static const char *const point[] = {"double x = 1 [m] (0..9)", "float y[2]", "Mode mode"};
    static const char *const point_b[] = {"Mode2 mode", "double y[3]", "float x (0..5)"};
    const char *fields[FIELDS], *after[FIELDS];
    char *text = calloc(bytes + 1, 1), *rest = text;
    ecs_options_t options = {.reserve_bytes = 1 << 20};
    ecs_world_t *world = NULL;
    uint32_t id = 0;
    if (text == NULL || ecs_world_create(&world, &options) != ECS_OK) { abort(); }
    memcpy(text, data, bytes);
    (void)ecs_enum_register(world, "Mode", members, 2, &id);
    (void)ecs_enum_register(world, "Mode2", other, 3, &id);
    (void)ecs_struct_register(world, "Point", point, 3, &id);
    (void)ecs_struct_register(world, "PointB", point_b, 3, &id);
    uint32_t count = split(strsep(&rest, "\n"), fields, FIELDS);
    uint32_t after_count = rest != NULL ? split(strsep(&rest, "\n"), after, FIELDS) : 0;
    if (ecs_component_register(world, "C", fields, count, &id) == ECS_OK) {
        round_trip(world, id, rest != NULL ? rest : "{}");
        migrate(world, id, after, after_count);
    }
    ecs_world_destroy(world);
    free(text);
    return 0;
}
