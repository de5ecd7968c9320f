/* Types to migrate between, and converters. */
#ifndef MIGRATION_H
#define MIGRATION_H

#include "ecs_schema.h"
#include "world.h"

#define COUNT(list) ((uint32_t)(sizeof(list) / sizeof(list)[0]))

/* A world with enums Mode and Mode2, structs Vec, VecB and Box, BoxB. */
static inline fixture_t types_open(uint32_t chunk_rows) {
    static const char *const mode[] = {"idle", "auto", "fault"};
    static const char *const mode2[] = {"fault", "idle", "manual"};
    static const char *const vec[] = {"double x = 1", "float y = 2", "int32_t n"};
    static const char *const vec_b[] = {"int16_t n", "double y", "double z = 9"};
    static const char *const box[] = {"Vec at[2]", "bool solid"};
    static const char *const box_b[] = {"uint8_t solid", "VecB at[3]"};
    fixture_t f = fixture_open(chunk_rows);
    uint32_t id = 0;
    CHECK_EQ(ecs_enum_register(f.world, "Mode", mode, 3, &id), ECS_OK);
    CHECK_EQ(ecs_enum_register(f.world, "Mode2", mode2, 3, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(f.world, "Vec", vec, 3, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(f.world, "VecB", vec_b, 3, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(f.world, "Box", box, 2, &id), ECS_OK);
    CHECK_EQ(ecs_struct_register(f.world, "BoxB", box_b, 2, &id), ECS_OK);
    return f;
}

/* A converter that takes every loss, and counts. */
static inline int accept(void *context, ecs_id_t id, const void *from, void *to) {
    (void)id, (void)from, (void)to;
    (*(int *)context)++;
    return ECS_OK;
}

static inline int refuse(void *context, ecs_id_t id, const void *from, void *to) {
    (void)context, (void)id, (void)from, (void)to;
    return ECS_E_EXPECT;
}

#endif
