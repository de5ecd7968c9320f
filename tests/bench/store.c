/* What an apply of sets comes down to, with the core's own records. */
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "internal.h"
#include "limits.h"

typedef struct {
    double id;
    uint64_t fields;
    v3_t value;
} set_t;

struct bench_commands {
    size_t count;
    set_t set[];
};

bench_commands_t *bench_commands_make(const double *ids, double count) {
    bench_commands_t *commands =
        limits_need(1, sizeof *commands + (size_t)count * sizeof *commands->set);
    commands->count = (size_t)count;
    for (size_t i = 0; i < commands->count; i++) {
        commands->set[i] = (set_t){ids[i], 7, {(double)i, 1, 2}};
    }
    return commands;
}

void bench_commands_free(bench_commands_t *commands) { free(commands); }

__attribute__((noinline)) void bench_store(ecs_world_t *world, const bench_commands_t *commands,
                                           double component) {
    for (size_t i = 0; i < commands->count; i++) {
        const set_t *set = &commands->set[i];
        const ecs__record_t *record = ecs__record_find(world, set->id);
        if (record == NULL) { continue; }
        const ecs__archetype_t *archetype = world->archetypes[record->archetype];
        const ecs__slot_t *slot = ecs__slot(archetype, (uint32_t)component);
        uint32_t at = 0;
        const ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
        memcpy(world->memory.maps.core + ecs__cell(chunk, slot, at), &set->value,
               sizeof set->value);
    }
}

double bench_spawn_bulk(ecs_world_t *world, const double *components, double count, double *ids) {
    uint32_t list[4];
    void *columns[4];
    for (size_t k = 0; k < 4; k++) {
        list[k] = (uint32_t)components[k];
    }
    double start = bench_now_ns();
    (void)ecs_batch_begin(world, 0);
    const ecs_id_t *made = ecs_record_spawn_many(world, (uint32_t)count, list, 4, columns);
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < (size_t)count; i++) {
            ((v3_t *)columns[k])[i].x = (double)i;
        }
    }
    memcpy(ids, made, (size_t)count * sizeof *ids);
    (void)ecs_batch_seal(world, NULL);
    (void)ecs_phase_set(world, ECS_PHASE_APPLY);
    (void)ecs_apply(world);
    (void)ecs_phase_set(world, ECS_PHASE_RUN);
    return bench_now_ns() - start;
}
