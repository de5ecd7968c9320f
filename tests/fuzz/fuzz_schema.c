/* libFuzzer: field declarations, one a line, taken from any text. A line "struct Name" begins a
 * struct of the lines after it, an empty line ends it; what remains is a component. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ecs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_fields(const ecs_world_t *world, const ecs_field_t *fields, uint32_t count,
                         uint32_t size_bytes) {
    for (uint32_t i = 0; i < count; i++) {
        const ecs_field_t *field = &fields[i];
        if (field->offset_bytes + field->size_bytes > size_bytes || field->count == 0) { abort(); }
        if (memchr(field->unit, 0, sizeof field->unit) == NULL) { abort(); }
        if (field->type <= ECS_TYPE_F64 && !(field->min <= field->max)) { abort(); }
        if (field->type == ECS_TYPE_STRUCT) {
            uint32_t inner = 0, size = ecs_struct_size_bytes(world, field->struct_id);
            const ecs_field_t *list = ecs_struct_fields(world, field->struct_id, &inner);
            if (size * field->count != field->size_bytes) { abort(); }
            check_fields(world, list, inner, size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    enum { FIELDS = 64 };
    const char *fields[FIELDS], *const members[] = {"idle", "busy"}, *name = NULL;
    char *text = calloc(bytes + 1, 1), *rest = text, *line = NULL;
    ecs_options_t options = {.reserve_bytes = 1 << 20};
    ecs_world_t *world = NULL;
    uint32_t count = 0, id = 0, got = 0;
    if (text == NULL || ecs_world_create(&world, &options) != ECS_OK) { abort(); }
    memcpy(text, data, bytes);
    (void)ecs_enum_register(world, "Mode", members, 2, &id);
    while ((line = strsep(&rest, "\n")) != NULL && count < FIELDS) {
        if (strncmp(line, "struct ", 7) == 0) {
            name = line + 7;
            count = 0;
        } else if (line[0] != '\0') {
            fields[count++] = line;
        } else if (name != NULL) {
            (void)ecs_struct_register(world, name, fields, count, &id);
            name = NULL;
            count = 0;
        }
    }
    if (ecs_component_register(world, "C", fields, count, &id) == ECS_OK) {
        const ecs_field_t *made = ecs_component_fields(world, id, &got);
        check_fields(world, made, got, ecs_component_size_bytes(world, id));
    }
    ecs_world_destroy(world);
    free(text);
    return 0;
}
