#include "walls.h"

#include <time.h>

#include "ecs.h"

enum { BATCH_ROWS = 100000 };

static double now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int apply(ecs_world_t *world) {
    (void)ecs_batch_seal(world, NULL);
    (void)ecs_phase_set(world, ECS_PHASE_APPLY);
    int rc = ecs_apply(world);
    (void)ecs_phase_set(world, ECS_PHASE_RUN);
    return rc;
}

static ecs_world_t *filled(unsigned walls, unsigned rows, uint32_t *pos, ecs_id_t *one) {
    static const char *const xyz[] = {"double x", "double y", "double z"};
    ecs_options_t options = {.walls = walls};
    ecs_world_t *world = NULL;
    if (ecs_world_create(&world, &options) != ECS_OK) { return NULL; }
    (void)ecs_component_register(world, "Pos", xyz, 3, pos);
    (void)ecs_phase_set(world, ECS_PHASE_RUN);
    for (unsigned done = 0; done < rows;) {
        (void)ecs_batch_begin(world, 0);
        for (unsigned i = 0; i < BATCH_ROWS && done < rows; i++, done++) {
            *one = ecs_record_spawn(world, 0, NULL);
            (void)ecs_record(world, ECS_OP_INSERT, *one, *pos, 0);
        }
        if (apply(world) != ECS_OK) { return NULL; }
    }
    return world;
}

double walls_round_ns(unsigned walls, unsigned rows, unsigned rounds) {
    uint32_t pos = 0;
    ecs_id_t one = 0;
    ecs_world_t *world = filled(walls, rows, &pos, &one);
    double start = now_ns(), sum = 0;
    int rc = world == NULL ? ECS_E_MEMORY : ECS_OK;
    for (unsigned i = 0; i < rounds && rc == ECS_OK; i++) {
        const double *view = ecs_view(world, one, pos);
        sum += view[0];
        (void)ecs_batch_begin(world, 0);
        double *slot = ecs_record(world, ECS_OP_SET, one, pos, 1);
        slot[0] = (double)i;
        rc = apply(world);
        if (rc == ECS_OK) { rc = ecs_views_expire(world); }
    }
    double took = now_ns() - start;
    ecs_world_destroy(world);
    return rc == ECS_OK && sum >= 0 ? took / rounds : -1;
}

double walls_write_ns(unsigned walls, unsigned rows, unsigned rounds) {
    uint32_t pos = 0;
    ecs_id_t one = 0;
    ecs_world_t *world = filled(walls, rows, &pos, &one);
    if (world == NULL) { return -1; }
    double start = now_ns();
    for (unsigned i = 0; i < rounds; i++) {
        (void)ecs_phase_set(world, ECS_PHASE_WRITE);
        double *row = ecs_write(world, one, pos);
        row[0] = (double)i;
        (void)ecs_phase_set(world, ECS_PHASE_RUN);
    }
    double took = now_ns() - start;
    ecs_world_destroy(world);
    return took / rounds;
}
