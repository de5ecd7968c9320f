/* A small world for the tests of the core. */
#ifndef WORLD_H
#define WORLD_H

#include "../support/test.h"
#include "ecs.h"

typedef struct {
    double x, y, z;
} pos_t;

typedef struct {
    ecs_world_t *world;
    uint32_t pos, vel, tag, mixed;
} fixture_t;

static inline fixture_t fixture_open(uint32_t chunk_rows) {
    fixture_t f = {0};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 30, .chunk_rows = chunk_rows};
    const char *const xyz[] = {"double x", "double y", "double z"};
    const char *const mixed[] = {"bool on", "int16_t level = 7", "char label[8] = \"hey\"",
                                 "entity other"};
    CHECK_EQ(ecs_world_create(&f.world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Pos", xyz, 3, &f.pos), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Vel", xyz, 3, &f.vel), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Tag", NULL, 0, &f.tag), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Mixed", mixed, 4, &f.mixed), ECS_OK);
    return f;
}

static inline void fixture_close(fixture_t *f) {
    CHECK_EQ(ecs_check(f->world), ECS_OK);
    if (ecs_check(f->world) != ECS_OK) { printf("  %s\n", ecs_last_error(f->world)); }
    ecs_world_destroy(f->world);
}

static inline void record_begin(fixture_t *f, uint64_t owner) {
    CHECK_EQ(ecs_phase_set(f->world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f->world, owner), ECS_OK);
}

/* Seals the open batch and applies all that wait. */
static inline void apply(fixture_t *f) {
    CHECK_EQ(ecs_batch_seal(f->world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(f->world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(f->world), ECS_OK);
    CHECK_EQ(ecs_phase_set(f->world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_check(f->world), ECS_OK);
}

static inline void insert_pos(fixture_t *f, ecs_id_t id, uint32_t component, double x) {
    pos_t *slot = ecs_record(f->world, ECS_OP_INSERT, id, component, 0);
    CHECK(slot != NULL);
    if (slot != NULL) { *slot = (pos_t){x, x + 1, x + 2}; }
}

static inline ecs_id_t spawn_pos(fixture_t *f, double x) {
    ecs_id_t id = ecs_record_spawn(f->world, 0, NULL);
    insert_pos(f, id, f->pos, x);
    return id;
}

static inline double x_of(const fixture_t *f, ecs_id_t id, uint32_t component) {
    const pos_t *pos = ecs_view(f->world, id, component);
    return pos == NULL ? (double)NAN : pos->x;
}

#endif
