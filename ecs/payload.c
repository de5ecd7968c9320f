/* What a command carries, written over a value. */
#include <string.h>

#include "internal.h"

static void add_number(const ecs_field_t *field, char *to, const char *by) {
#define ADD_AS(type)                                                                               \
    do {                                                                                           \
        type sum, more;                                                                            \
        memcpy(&sum, to, sizeof sum);                                                              \
        memcpy(&more, by, sizeof more);                                                            \
        sum = (type)(sum + more);                                                                  \
        memcpy(to, &sum, sizeof sum);                                                              \
    } while (0)
    switch (field->type) {
    case ECS_TYPE_I8:
    case ECS_TYPE_U8: ADD_AS(uint8_t); break;
    case ECS_TYPE_I16:
    case ECS_TYPE_U16: ADD_AS(uint16_t); break;
    case ECS_TYPE_I32:
    case ECS_TYPE_U32: ADD_AS(uint32_t); break;
    case ECS_TYPE_F32: ADD_AS(float); break;
    case ECS_TYPE_F64: ADD_AS(double); break;
    default: break; /* text, bool, entities and enums are refused when recorded */
    }
#undef ADD_AS
}

static void add_field(const ecs_field_t *field, char *to, const char *by) {
    uint32_t step = field->size_bytes / field->count;
    for (uint32_t i = 0; i < field->count; i++) {
        add_number(field, to + (size_t)i * step, by + (size_t)i * step);
    }
}

/* The named fields. Those that follow each other without a gap are copied as one: what lies in a
 * gap of the payload is undefined. */
static void set_fields(const ecs__component_t *component, uint64_t mask, const char *from,
                       char *to) {
    while (mask != 0) {
        uint32_t at = (uint32_t)__builtin_ctzll(mask);
        uint32_t first = component->fields[at].offset_bytes, end = first;
        for (; (mask >> at & 1) != 0 && component->fields[at].offset_bytes == end; at++) {
            end += component->fields[at].size_bytes;
            mask &= ~(1ull << at);
        }
        ecs__copy(to + first, from + first, end - first);
    }
}

void ecs__payload_merge(const ecs_world_t *world, const ecs__cmd_t *cmd, char *to) {
    const ecs__component_t *component = &world->components[cmd->component];
    const char *from = (const char *)(cmd + 1);
    uint64_t mask = cmd->fields & ECS__FIELD_MASK;
    if (cmd->op == ECS_OP_SET) {
        set_fields(component, mask, from, to);
        return;
    }
    for (; mask != 0; mask &= mask - 1) {
        const ecs_field_t *field = &component->fields[__builtin_ctzll(mask)];
        add_field(field, to + field->offset_bytes, from + field->offset_bytes);
    }
}
