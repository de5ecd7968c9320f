/* libFuzzer: field declarations, one a line, taken from any text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ecs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    enum { FIELDS = 64 };
    const char *fields[FIELDS], *const members[] = {"idle", "busy"};
    char *text = calloc(bytes + 1, 1), *rest = NULL;
    ecs_options_t options = {.reserve_bytes = 1 << 20};
    ecs_world_t *world = NULL;
    uint32_t count = 0, id = 0, got = 0;
    if (text == NULL || ecs_world_create(&world, &options) != ECS_OK) { abort(); }
    memcpy(text, data, bytes);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL && count < FIELDS;
         line = strtok_r(NULL, "\n", &rest)) {
        fields[count++] = line;
    }
    (void)ecs_enum_register(world, "Mode", members, 2, &id);
    if (ecs_component_register(world, "C", fields, count, &id) == ECS_OK) {
        const ecs_field_t *made = ecs_component_fields(world, id, &got);
        for (uint32_t i = 0; i < got; i++) {
            if (made[i].offset_bytes + made[i].size_bytes > ecs_component_size_bytes(world, id)) {
                abort();
            }
        }
    }
    ecs_world_destroy(world);
    free(text);
    return 0;
}
