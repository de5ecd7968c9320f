/* The bytes of values: those between fields, and numbers that no machine has made. */
#include <string.h>

#include "internal.h"

bool ecs__is_padded(const ecs__component_t *component) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < component->field_count; i++) {
        used += component->fields[i].size_bytes;
    }
    return used != component->size_bytes;
}

void ecs__padding_clear(const ecs__component_t *component, char *values, uint32_t count) {
    for (uint32_t row = 0; row < count; row++, values += component->size_bytes) {
        uint32_t end = 0;
        for (uint32_t i = 0; i < component->field_count; i++) {
            const ecs_field_t *field = &component->fields[i];
            memset(values + end, 0, field->offset_bytes - end);
            end = field->offset_bytes + field->size_bytes;
        }
        memset(values + end, 0, component->size_bytes - end);
    }
}

static void tame_doubles(char *at, size_t count) {
    const uint64_t plain = 0xfff8000000000000u;
    for (size_t i = 0; i < count; i++, at += sizeof plain) {
        uint64_t bits;
        memcpy(&bits, at, sizeof bits);
        if (bits > plain) { memcpy(at, &plain, sizeof plain); }
    }
}

static void tame_floats(char *at, size_t count) {
    const uint32_t plain = 0xffc00000u;
    for (size_t i = 0; i < count; i++, at += sizeof plain) {
        uint32_t bits;
        memcpy(&bits, at, sizeof bits);
        if (bits > plain) { memcpy(at, &plain, sizeof plain); }
    }
}

static bool is_double(const ecs_field_t *field) {
    return field->type == ECS_TYPE_F64 || field->type == ECS_TYPE_ENTITY;
}

void ecs__numbers_tame(const ecs__component_t *component, char *values, uint32_t count) {
    uint32_t doubles = 0, floats = 0;
    for (uint32_t i = 0; i < component->field_count; i++) {
        const ecs_field_t *field = &component->fields[i];
        doubles += is_double(field) ? field->size_bytes : 0;
        floats += field->type == ECS_TYPE_F32 ? field->size_bytes : 0;
    }
    if (doubles == component->size_bytes) {
        tame_doubles(values, (size_t)count * (doubles / sizeof(double)));
        return;
    }
    for (uint32_t row = 0; doubles + floats > 0 && row < count; row++) {
        for (uint32_t i = 0; i < component->field_count; i++) {
            const ecs_field_t *field = &component->fields[i];
            if (is_double(field)) { tame_doubles(values + field->offset_bytes, field->count); }
            if (field->type == ECS_TYPE_F32) {
                tame_floats(values + field->offset_bytes, field->count);
            }
        }
        values += component->size_bytes;
    }
}
