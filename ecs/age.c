/* Ages of values: when each entity's value of a component was last written. Times lie beside the
 * world, by slot, since rows move and a chunk's stamp is that of all its rows:
 *
 *   written[slot / page][slot % page] = the host's time in ns, and 1; 0: never */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ECS__AGED_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)

/* Pages of one component for so many pages of slots. */
static int pages_make(ecs_world_t *world, ecs__component_t *component, uint32_t pages) {
    for (uint32_t i = 0; i < pages; i++) {
        if (component->written[i] != NULL) { continue; }
        component->written[i] = ecs__calloc(ECS__PAGE_ROWS, sizeof **component->written);
        if (component->written[i] == NULL) { return ecs__oom(world); }
    }
    return ECS_OK;
}

int ecs__ages_reserve(ecs_world_t *world, uint32_t pages) {
    int rc = ECS_OK;
    for (uint32_t i = 0; i < world->aged_count && rc == ECS_OK; i++) {
        ecs__component_t *component = &world->components[world->aged[i]];
        if (component->written[pages - 1] == NULL) { rc = pages_make(world, component, pages); }
    }
    return rc;
}

static void written_free(uint64_t **written) {
    for (uint32_t i = 0; written != NULL && i < ECS__MAX_PAGES; i++) {
        free(written[i]);
    }
    free(written);
}

void ecs__ages_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->aged_count; i++) {
        written_free(world->components[world->aged[i]].written);
    }
    free(world->aged);
}

void ecs__ages_clear(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->aged_count; i++) {
        uint64_t **written = world->components[world->aged[i]].written;
        for (uint32_t k = 0; k < world->page_count; k++) {
            memset(written[k], 0, ECS__PAGE_ROWS * sizeof **written);
        }
    }
}

int ecs_component_aged(ecs_world_t *world, uint32_t component) {
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    ecs__component_t *known = &world->components[component];
    if (known->written != NULL) { return ECS_OK; }
    int rc = ecs__guard(world, ECS__AGED_PHASES);
    if (rc != ECS_OK) { return rc; }
    if (known->size_bytes == 0) {
        return ecs__fail(world, ECS_E_INVALID, "%s is a tag: it has no value that ages",
                         known->name);
    }
    if (!ECS__ROOM(world->aged, world->aged_count + 1, world->aged_capacity)) {
        return ecs__oom(world);
    }
    known->written = ecs__calloc(ECS__MAX_PAGES, sizeof *known->written);
    if (known->written == NULL) { return ecs__oom(world); }
    rc = pages_make(world, known, world->page_count);
    if (rc != ECS_OK) {
        written_free(known->written);
        known->written = NULL;
        return rc;
    }
    world->aged[world->aged_count++] = component;
    return ECS_OK;
}

bool ecs_component_is_aged(const ecs_world_t *world, uint32_t component) {
    return component < world->component_count && world->components[component].written != NULL;
}

void ecs_time_set(ecs_world_t *world, uint64_t now_ns) { world->now_ns = now_ns + 1; }

double ecs_written_s(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    if (!ecs_component_is_aged(world, component)) { return -2; }
    if (ecs__place(world, id, component).slot == NULL) { return -2; }
    uint32_t index = ecs__index(id);
    uint64_t **written = world->components[component].written;
    uint64_t at = written[index / ECS__PAGE_ROWS][index % ECS__PAGE_ROWS];
    return at == 0 ? -1 : (double)(at - 1) / 1e9;
}

/* ---- writers -------------------------------------------------------------------------------- */

/* Rows of the chunk were taken by the writer of this tick. */
static void age_chunk(const ecs_world_t *world, uint32_t component, const ecs__chunk_t *chunk) {
    const double *ids =
        (const double *)(const void *)(world->memory.maps.core + chunk->block_offset);
    for (uint32_t i = 0; i < chunk->count; i++) {
        ecs__aged(world, component, ecs__index(ids[i]));
    }
}

static void age_archetype(const ecs_world_t *world, uint32_t component,
                          const ecs__archetype_t *archetype) {
    const ecs__slot_t *slot = ecs__slot(archetype, component);
    for (uint32_t i = 0; slot != NULL && i < archetype->chunk_count; i++) {
        const ecs__chunk_t *chunk = archetype->chunks[i];
        if (chunk->stamp[slot->column].changed == world->shared.tick) {
            age_chunk(world, component, chunk);
        }
    }
}

void ecs__ages_of_writer(ecs_world_t *world) {
    if (!world->writer_runs) { return; }
    world->writer_runs = false;
    for (uint32_t i = 0; i < world->aged_count; i++) {
        uint32_t component = world->aged[i];
        const ecs__component_t *known = &world->components[component];
        if (known->touched != world->shared.tick) { continue; }
        if (known->sparse != NULL) { age_archetype(world, component, known->sparse->table); }
        for (uint32_t k = 0; k < world->ordered_count; k++) {
            age_archetype(world, component, world->ordered[k]);
        }
    }
}

/* ---- confirmations -------------------------------------------------------------------------- */

void ecs__confirm(ecs_world_t *world, const ecs__stream_t *stream, const ecs__batch_t *batch) {
    for (ecs__pos_t pos = ecs__cmd_first(stream, batch); pos != batch->end;
         pos = ecs__cmd_after(world, stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (cmd->op == ECS_OP_CONFIRM && cmd->next == ECS__DIRECT) {
            ecs__aged(world, cmd->component, ecs__index(cmd->id));
        }
    }
}
