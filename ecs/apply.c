/* The apply phase.
 *
 *   1. validate   batch after batch, each against the world and the accepted batches before it
 *   2. fold       entity after entity: one move, then the payloads
 *
 * A batch counts whole or not at all, and pass 2 cannot fail. */
#include "internal.h"

enum { PREFETCH = 8 };

/* The results go where room was made when their batches were begun. */
static void take_results(ecs_world_t *world) {
    ecs_batch_result_t *results = world->results;
    uint32_t capacity = world->result_capacity;
    world->results = world->next_results;
    world->result_capacity = world->next_result_capacity;
    world->next_results = results;
    world->next_result_capacity = capacity;
    world->result_count = 0;
}

static void fold_all(ecs_world_t *world, const ecs__stream_t *stream) {
    for (uint32_t i = 0; i < world->touched_count; i++) {
        if (i + 2 * PREFETCH < world->touched_count) {
            ecs__prefetch_record(world, world->touched[i + 2 * PREFETCH].id);
            ecs__prefetch_row(world, world->touched[i + PREFETCH].id);
        }
        ecs__fold(world, stream, &world->touched[i]);
    }
}

int ecs_apply(ecs_world_t *world) {
    int rc = ecs__guard(world, 1u << ECS_PHASE_APPLY);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = &world->stream[world->recording];
    if (stream->open) {
        return ecs__fail(world, ECS_E_INVALID, "a batch is open: seal or drop it");
    }
    ECS__ENTER(world);
    world->touched_count = world->event_count = world->sent_count = 0;
    world->bulk_count = world->bulk_rows = 0;
    world->event_bound = 0;
    world->wrote = false;
    take_results(world);
    world->recording ^= 1u;
    ecs__stream_rewind(world, 1); /* it is empty */
    world->shared.tick++;
    ecs__rooms_begin(world);
    for (uint32_t i = 0; i < stream->batch_count; i++) {
        ecs__validate(world, stream, i);
    }
    ecs__bulk_fold(world);
    fold_all(world, stream);
    if (world->touched_count > 0 || world->bulk_count > 0 || world->wrote) {
        ecs__views_stale(&world->memory.maps);
    }
    ecs__stream_clear(world, stream);
    ecs__spare_age(world);
    ecs__archetypes_trim_some(world);
    ecs__memory_trim_some(&world->memory);
    ECS__LEAVE(world);
    return ECS_OK;
}

const ecs_batch_result_t *ecs_apply_results(const ecs_world_t *world, uint32_t *count) {
    *count = world->result_count;
    return world->results;
}
