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
    uint32_t end = 0;
    for (uint32_t i = 0; i <= component->field_count; i++) {
        bool last = i == component->field_count;
        uint32_t next = last ? component->size_bytes : component->fields[i].offset_bytes;
        for (uint32_t row = 0; next > end && row < count; row++) {
            memset(values + (size_t)row * component->size_bytes + end, 0, next - end);
        }
        end = last ? next : next + component->fields[i].size_bytes;
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

/* One field in all values; `step` bytes from one to the next. */
static void tame_field(const ecs_field_t *field, char *at, size_t step, uint32_t count) {
    bool doubles = field->type == ECS_TYPE_F64 || field->type == ECS_TYPE_ENTITY;
    if (!doubles && field->type != ECS_TYPE_F32) { return; }
    for (uint32_t row = 0; row < count; row++, at += step) {
        if (doubles) {
            tame_doubles(at, field->count);
        } else {
            tame_floats(at, field->count);
        }
    }
}

void ecs__numbers_tame(const ecs__component_t *component, char *values, uint32_t count) {
    for (uint32_t i = 0; i < component->field_count; i++) {
        const ecs_field_t *field = &component->fields[i];
        tame_field(field, values + field->offset_bytes, component->size_bytes, count);
    }
}
