/* libFuzzer: a line of field declarations separated by ;, then a JSON value. What is read is written
 * and read again to the same bytes. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    enum { FIELDS = 48 };
    static const char *const members[] = {"idle", "busy"};
    static const char *const point[] = {"double x = 1 [m] (0..9)", "float y[2]", "Mode mode"};
    const char *fields[FIELDS];
    char *text = calloc(bytes + 1, 1), *rest = text;
    ecs_options_t options = {.reserve_bytes = 1 << 20};
    ecs_world_t *world = NULL;
    uint32_t count = 0, id = 0;
    if (text == NULL || ecs_world_create(&world, &options) != ECS_OK) { abort(); }
    memcpy(text, data, bytes);
    (void)ecs_enum_register(world, "Mode", members, 2, &id);
    (void)ecs_struct_register(world, "Point", point, 3, &id);
    char *line = strsep(&rest, "\n");
    for (char *field; count < FIELDS && (field = strsep(&line, ";")) != NULL;) {
        if (field[0] != '\0') { fields[count++] = field; }
    }
    if (ecs_component_register(world, "C", fields, count, &id) == ECS_OK) {
        round_trip(world, id, rest != NULL ? rest : "{}");
    }
    ecs_world_destroy(world);
    free(text);
    return 0;
}
