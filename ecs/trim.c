/* Archetypes without rows are dropped: a world in which shapes come and go must not keep, and let
 * every query walk, all that ever were. */
#include "internal.h"

enum { TRIM_MIN = 64 };

/* Forgets the edges that lead to what is dropped. */
static void cut_edges(const ecs_world_t *world, const ecs__archetype_t *archetype) {
    for (uint32_t i = 0; i < archetype->edge_len; i++) {
        uint32_t add = archetype->edge_add[i], remove = archetype->edge_remove[i];
        if (add != ECS__NONE && !ecs__archetype_stays(world->archetypes[add])) {
            archetype->edge_add[i] = ECS__NONE;
        }
        if (remove != ECS__NONE && !ecs__archetype_stays(world->archetypes[remove])) {
            archetype->edge_remove[i] = ECS__NONE;
        }
    }
}

static void drop(ecs_world_t *world, ecs__archetype_t *archetype) {
    ecs__chunks_free(world, archetype, 0);
    world->archetypes[archetype->index] = NULL;
    world->free_archetypes[world->free_archetype_count++] = archetype->index;
    world->empty_count--;
    ecs__archetype_free(archetype);
}

void ecs__archetypes_trim(ecs_world_t *world) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs__query_trim(world->queries[i]);
    }
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        if (ecs__archetype_stays(world->ordered[i])) { cut_edges(world, world->ordered[i]); }
    }
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        ecs__archetype_t *archetype = world->ordered[i];
        if (ecs__archetype_stays(archetype)) {
            world->ordered[kept++] = archetype;
        } else {
            drop(world, archetype);
        }
    }
    world->ordered_count = kept;
    ecs__archetype_table_fill(world);
}

void ecs__archetypes_trim_some(ecs_world_t *world) {
    if (world->ordered_count < TRIM_MIN || world->empty_count * 2 <= world->ordered_count) {
        return;
    }
    ecs__archetypes_trim(world);
}

static void trim_chunks(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t needed = (archetype->row_count + archetype->chunk_rows - 1) >> archetype->chunk_shift;
    ecs__chunks_free(world, archetype, needed);
}

int ecs_trim(ecs_world_t *world) {
    int rc = ecs__guard(world, 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_SETUP);
    if (rc != ECS_OK) { return rc; }
    ECS__ENTER(world);
    ecs__archetypes_trim(world);
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        trim_chunks(world, world->ordered[i]);
    }
    for (uint32_t i = 0; i < world->sparse_count; i++) {
        trim_chunks(world, world->components[world->sparse[i]].sparse->table);
    }
    ecs__memory_trim(&world->memory, 0);
    ECS__LEAVE(world);
    return ECS_OK;
}

uint32_t ecs_archetype_count(const ecs_world_t *world) { return world->ordered_count; }
