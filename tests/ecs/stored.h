/* Values in a world, to migrate. */
#ifndef STORED_H
#define STORED_H

#include "migration.h"

enum { ENTITIES = 50 };

typedef struct {
    fixture_t f;
    ecs_id_t id[ENTITIES];
    uint32_t alarm; /* sparse */
} stored_t;

/* Entities with Pos (i, i + 1, i + 2), every second one with Alarm (level i). */
static inline stored_t stored_open(void) {
    static const char *const level[] = {"double level"};
    stored_t s = {.f = types_open(16)};
    CHECK_EQ(ecs_component_register(s.f.world, "Alarm", level, 1, &s.alarm), ECS_OK);
    CHECK_EQ(ecs_component_sparse(s.f.world, s.alarm), ECS_OK);
    record_begin(&s.f, 1);
    for (int i = 0; i < ENTITIES; i++) {
        s.id[i] = spawn_pos(&s.f, i);
        if (i % 4 == 0) { insert_pos(&s.f, s.id[i], s.f.vel, i); }
        if (i % 2 == 0) {
            double *at = ecs_record(s.f.world, ECS_OP_INSERT, s.id[i], s.alarm, 0);
            if (at != NULL) { *at = i; }
        }
    }
    apply(&s.f);
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    return s;
}

static inline int migrate(stored_t *s, uint32_t component, const char *const *fields,
                          uint32_t count) {
    int calls = 0;
    return ecs_component_migrate(s->f.world, component, fields, count,
                                 &(ecs_converter_t){accept, &calls});
}

/* Writes a value as a script's writer does. */
static inline void write_value(stored_t *s, ecs_id_t id, uint32_t component, const void *from,
                               size_t bytes) {
    CHECK_EQ(ecs_phase_set(s->f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(s->f.world, 1), ECS_OK);
    void *to = ecs_write(s->f.world, id, component);
    CHECK(to != NULL);
    if (to != NULL) { memcpy(to, from, bytes); }
    CHECK_EQ(ecs_phase_set(s->f.world, ECS_PHASE_IDLE), ECS_OK);
}

#endif
