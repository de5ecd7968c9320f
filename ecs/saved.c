/* Copies of a component's values, for the way back from a migration that loses some. They lie in
 * memory of their own: a snapshot of the world does not have them. */
#include <stdlib.h>
#include <string.h>

#include "migrate.h"

#define READ_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)

static int layout_copy(ecs_world_t *world, const ecs__component_t *from, ecs__component_t *to) {
    *to = (ecs__component_t){.field_count = from->field_count,
                             .size_bytes = from->size_bytes,
                             .align_bytes = from->align_bytes,
                             .depth = from->depth,
                             .leaf_count = from->leaf_count,
                             .leaf_capacity = from->leaf_count,
                             .all_fields = from->all_fields,
                             .padded = from->padded};
    memcpy(to->name, from->name, sizeof to->name);
    to->fields = ecs__calloc(from->field_count, sizeof *from->fields);
    to->default_value = ecs__calloc(from->size_bytes, 1);
    to->leaves = ecs__calloc(from->leaf_count, sizeof *from->leaves);
    if (to->fields == NULL || to->default_value == NULL || to->leaves == NULL) {
        ecs__layout_fini(to);
        return ecs__oom(world);
    }
    if (from->field_count == 0) { return ECS_OK; }
    memcpy(to->fields, from->fields, from->field_count * sizeof *from->fields);
    memcpy(to->default_value, from->default_value, from->size_bytes);
    memcpy(to->leaves, from->leaves, from->leaf_count * sizeof *from->leaves);
    return ECS_OK;
}

static uint64_t bytes_of(const ecs__component_t *layout, uint64_t rows) {
    return sizeof(ecs_saved_t) + layout->field_count * sizeof *layout->fields +
           layout->leaf_count * sizeof *layout->leaves + layout->size_bytes +
           rows * (sizeof(ecs_id_t) + layout->size_bytes);
}

uint64_t ecs_values_bytes(const ecs_world_t *world, uint32_t component) {
    if (component >= world->component_count) { return 0; }
    return bytes_of(&world->components[component], ecs__rows_with(world, component));
}

uint64_t ecs_saved_bytes(const ecs_saved_t *saved) {
    return bytes_of(&saved->layout, saved->count);
}

uint32_t ecs_saved_component(const ecs_saved_t *saved) { return saved->component; }

static void fill(ecs_saved_t *saved) {
    const ecs_world_t *world = saved->world;
    uint32_t size = saved->layout.size_bytes;
    for (uint32_t i = 0; i < world->slot_count; i++) {
        const ecs__record_t *record = ecs__record_at(world, i);
        if (!ecs__record_alive(record)) { continue; }
        ecs__place_t place = ecs__place_at(world, i, record, saved->component);
        if (place.slot == NULL) { continue; }
        uint32_t at = 0;
        const ecs__chunk_t *chunk = ecs__chunk_of(place.table, place.row, &at);
        if (size > 0) {
            memcpy(saved->values + (size_t)saved->count * size,
                   world->memory.maps.core + ecs__cell(chunk, place.slot, at), size);
        }
        saved->ids[saved->count++] = ecs__id(i, record->generation);
    }
}

int ecs_values_save(ecs_world_t *world, uint32_t component, ecs_saved_t **out) {
    *out = NULL;
    int rc = ecs__guard(world, READ_PHASES);
    if (rc != ECS_OK) { return rc; }
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    const ecs__component_t *type = &world->components[component];
    uint64_t rows = ecs__rows_with(world, component);
    ecs_saved_t *saved = ecs__calloc(1, sizeof *saved);
    if (saved == NULL) { return ecs__oom(world); }
    *saved = (ecs_saved_t){.world = world, .component = component};
    saved->ids = ecs__calloc(rows, sizeof *saved->ids);
    saved->values = ecs__calloc(rows, type->size_bytes);
    bool room = saved->ids != NULL && saved->values != NULL;
    rc = room ? layout_copy(world, type, &saved->layout) : ecs__oom(world);
    if (rc != ECS_OK) {
        ecs_values_free(saved); /* its layout is empty: it holds no types yet */
        return rc;
    }
    ecs__types_hold(world, &saved->layout, true);
    fill(saved);
    *out = saved;
    return ECS_OK;
}

void ecs_values_free(ecs_saved_t *saved) {
    if (saved == NULL) { return; }
    ecs__types_hold(saved->world, &saved->layout, false);
    ecs__layout_fini(&saved->layout);
    free(saved->ids);
    free(saved->values);
    free(saved);
}

const char *ecs__saved_value(const ecs_saved_t *saved, ecs_id_t id) {
    uint32_t low = 0, high = saved->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ecs__index(saved->ids[middle]) < ecs__index(id)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == saved->count || saved->ids[low] != id) { return NULL; }
    return saved->values + (size_t)low * saved->layout.size_bytes;
}

int ecs_component_migrate_back(ecs_world_t *world, const ecs_saved_t *saved) {
    int rc = ecs__schema_guard(world);
    if (rc != ECS_OK) { return rc; }
    if (saved->world != world) {
        return ecs__fail(world, ECS_E_INVALID, "the copy is another world's");
    }
    ecs__component_t to = {0};
    ecs_migration_t *migration = NULL;
    rc = layout_copy(world, &saved->layout, &to);
    if (rc == ECS_OK) { rc = ecs__migration_make(world, saved->component, &to, &migration); }
    if (rc != ECS_OK) { return rc; }
    migration->saved = saved;
    return ecs__migrate(world, migration, NULL);
}
