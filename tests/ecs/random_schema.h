/* Random schemas and values from a seed, for property tests. */
#ifndef RANDOM_SCHEMA_H
#define RANDOM_SCHEMA_H

#include <stdlib.h>

#include "ecs_schema.h"
#include "world.h"

enum { RANDOM_FIELDS = 12 };

static uint64_t random_state;

static inline uint32_t random_below(uint32_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 11) % n;
}

/* Types in growing order within a family: each widens to the next. */
static const char *const random_types[] = {"int8_t",  "int16_t",  "int32_t",  "double",
                                           "uint8_t", "uint16_t", "uint32_t", "float",
                                           "bool",    "entity",   "Mode",     "Inner"};

/* Declares `count` random fields, named f0, f1, ... */
static inline void random_fields(char text[][64], const char **fields, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t pick = random_below(14);
        char suffix[16] = "";
        if (random_below(3) == 0) {
            (void)snprintf(suffix, sizeof suffix, "[%u]", 1 + random_below(5));
        }
        if (pick >= 12) {
            (void)snprintf(text[i], 64, "char f%u[%u]", i, 1 + random_below(20));
        } else {
            (void)snprintf(text[i], 64, "%s f%u%s", random_types[pick], i, suffix);
        }
        fields[i] = text[i];
    }
}

static inline void random_world(ecs_world_t **world) {
    static const char *const members[] = {"idle", "auto", "fault"};
    static const char *const leaf[] = {"float a = 2", "uint8_t b[3]"};
    static const char *const inner[] = {"int8_t k", "Leaf leaf[2]", "char tag[5] = ab"};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 26, .chunk_rows = 16};
    uint32_t id = 0;
    CHECK_EQ(ecs_world_create(world, &options), ECS_OK);
    CHECK_EQ(ecs_enum_register(*world, "Mode", members, 3, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(*world, "Leaf", leaf, 2, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(*world, "Inner", inner, 3, &id), ECS_OK);
}

static inline double random_double(void) {
    uint64_t bits = (uint64_t)random_below(0xffffffffu) << 32 | random_below(0xffffffffu);
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    if (value - value != 0 || random_below(2) == 0) { value = (double)random_below(2000) / 8 - 99; }
    return random_below(16) == 0 ? -0.0 : value;
}

static inline void random_text(char *to, uint32_t bytes) {
    static const char *const pieces[] = {
        "a", "\"", "\\", "\n", "\x01", "\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "/"};
    uint32_t at = 0;
    memset(to, 0, bytes);
    while (random_below(8) != 0) {
        const char *piece = pieces[random_below(10)];
        if (at + strlen(piece) > bytes) { return; }
        memcpy(to + at, piece, strlen(piece));
        at += (uint32_t)strlen(piece);
    }
}

static inline void random_element(const ecs_field_t *field, char *to) {
    float narrow =
        (float)((double)random_below(1u << 24) / 1024) * (random_below(2) ? 1.f : -1e-9f);
    double wide = random_double();
    double id = (double)((uint64_t)(1 + random_below(1000)) << 32 | random_below(1u << 30));
    int32_t ordinal = (int32_t)random_below(3);
    uint32_t bits = random_below(0xffffffffu);
    switch (field->type) {
    case ECS_TYPE_BOOL: *to = (char)random_below(2); break;
    case ECS_TYPE_F32: memcpy(to, &narrow, 4); break;
    case ECS_TYPE_F64: memcpy(to, &wide, 8); break;
    case ECS_TYPE_ENTITY: memcpy(to, random_below(4) == 0 ? &(double){0} : &id, 8); break;
    case ECS_TYPE_ENUM: memcpy(to, &ordinal, 4); break;
    default: memcpy(to, &bits, field->size_bytes / field->count); break;
    }
}

static inline void random_value(const ecs_world_t *world, const ecs_field_t *fields, uint32_t count,
                                char *value) {
    for (uint32_t i = 0; i < count; i++) {
        const ecs_field_t *field = &fields[i];
        char *to = value + field->offset_bytes;
        if (field->type == ECS_TYPE_CHAR) {
            random_text(to, field->count);
            continue;
        }
        for (uint32_t k = 0; k < field->count; k++, to += field->size_bytes / field->count) {
            if (field->type == ECS_TYPE_STRUCT) {
                uint32_t inner = 0;
                const ecs_field_t *list = ecs_struct_fields(world, field->struct_id, &inner);
                random_value(world, list, inner, to);
            } else {
                random_element(field, to);
            }
        }
    }
}

#endif
