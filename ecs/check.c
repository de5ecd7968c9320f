/* ecs_check: every invariant of the world. ecs_hash: its content as one number. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int broken(ecs_world_t *world, const char *what, double where) {
    return ecs__fail(world, ECS_E_INVALID, "broken invariant: %s (%.0f)", what, where);
}

static const double *ids_of(const ecs_world_t *world, const ecs__chunk_t *chunk) {
    return (const double *)(const void *)(world->memory.maps.core + chunk->block_offset);
}

static int check_chunk(ecs_world_t *world, const ecs__archetype_t *archetype, uint32_t chunk_at) {
    const ecs__chunk_t *chunk = archetype->chunks[chunk_at];
    if (chunk->count > chunk->capacity) {
        return broken(world, "chunk holds more rows than it can", chunk_at);
    }
    for (uint32_t i = 0; i < archetype->column_count; i++) {
        if (chunk->column_offset[i] % 64 != 0) { return broken(world, "column is not aligned", i); }
    }
    for (uint32_t row = 0; row < chunk->count; row++) {
        ecs_id_t id = ids_of(world, chunk)[row];
        const ecs__record_t *record = ecs__record_find(world, id);
        if (record == NULL) { return broken(world, "row of an entity that does not exist", id); }
        if (record->archetype != archetype->index ||
            record->row != (chunk_at << archetype->chunk_shift) + row) {
            return broken(world, "record does not point at its row", id);
        }
    }
    return ECS_OK;
}

static int check_archetype(ecs_world_t *world, const ecs__archetype_t *archetype, uint32_t *rows) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < archetype->chunk_count; i++) {
        int rc = check_chunk(world, archetype, i);
        if (rc != ECS_OK) { return rc; }
        bool whole = archetype->chunks[i]->count == archetype->chunk_rows;
        bool last = sum + archetype->chunks[i]->count == archetype->row_count;
        if (!whole && !last) { return broken(world, "gap between rows", archetype->index); }
        sum += archetype->chunks[i]->count;
    }
    if (world->archetypes[archetype->index] != archetype) {
        return broken(world, "index of an archetype", archetype->index);
    }
    if (archetype->coming != 0 || archetype->grows) {
        return broken(world, "rows that never came", archetype->index);
    }
    for (uint32_t i = 1; i < archetype->slot_count; i++) {
        if (archetype->slots[i].component <= archetype->slots[i - 1].component) {
            return broken(world, "components are not in order", archetype->index);
        }
    }
    *rows += sum;
    return sum == archetype->row_count ? ECS_OK : broken(world, "row count", archetype->index);
}

static int check_record(ecs_world_t *world, uint32_t index, uint32_t *alive) {
    const ecs__record_t *record = ecs__record_at(world, index);
    if (record->scratch != 0) {
        return broken(world, "scratch of a record outlived its apply", index);
    }
    if (!ecs__record_alive(record)) { return ECS_OK; }
    (*alive)++;
    if (record->archetype >= world->archetype_count ||
        world->archetypes[record->archetype] == NULL ||
        record->row >= world->archetypes[record->archetype]->row_count) {
        return broken(world, "record points past its archetype", index);
    }
    return ECS_OK;
}

static int check_free_list(ecs_world_t *world) {
    uint32_t steps = 0, last = ECS__NONE;
    for (uint32_t at = world->free_head; at != ECS__NONE; at = ecs__record_at(world, at)->row) {
        if (steps++ > world->slot_count || ecs__record_at(world, at)->archetype != ECS__FREE) {
            return broken(world, "free list", at);
        }
        last = at;
    }
    if (steps != world->free_count) { return broken(world, "count of free slots", steps); }
    return last == world->free_tail ? ECS_OK : broken(world, "end of the free list", last);
}

static int check_tree(ecs_world_t *world, uint32_t index) {
    const ecs__node_t *node = ecs__node(world, index);
    if (node == NULL || !ecs__record_alive(ecs__record_at(world, index))) { return ECS_OK; }
    uint32_t before = 0;
    for (uint32_t at = node->first; at != 0; at = ecs__node(world, at - 1)->next) {
        const ecs__node_t *child = ecs__node(world, at - 1);
        if (child->parent != index + 1 || child->prev != before ||
            !ecs__record_alive(ecs__record_at(world, at - 1))) {
            return broken(world, "child list", index);
        }
        before = at;
    }
    if (before != node->last) { return broken(world, "last child", index); }
    if (node->name != NULL &&
        ecs__child_named(world, node->parent, node->name, strlen(node->name)) != index + 1) {
        return broken(world, "name is not found", index);
    }
    return ECS_OK;
}

/* Rows and pages of a sparse component point at each other. */
static int check_sparse(ecs_world_t *world, uint32_t component) {
    const ecs__sparse_t *store = world->components[component].sparse;
    const ecs__archetype_t *table = store->table;
    uint32_t rows = 0;
    if (table->coming != 0 || table->grows) {
        return broken(world, "rows that never came", component);
    }
    for (uint32_t i = 0; i < table->chunk_count; i++) {
        const ecs__chunk_t *chunk = table->chunks[i];
        for (uint32_t k = 0; k < chunk->count; k++, rows++) {
            ecs_id_t id = ids_of(world, chunk)[k];
            if (!ecs_alive(world, id)) { return broken(world, "sparse row of the dead", id); }
            if (ecs__sparse_row(store, ecs__index(id)) != rows) {
                return broken(world, "sparse page", id);
            }
        }
    }
    if (rows != table->row_count) { return broken(world, "sparse row count", component); }
    for (uint32_t i = 0; i < world->slot_count; i++) {
        rows -= ecs__sparse_row(store, i) != ECS__NONE;
    }
    return rows == 0 ? ECS_OK : broken(world, "sparse rows and pages differ", component);
}

/* Fields have types that are there, and as large as they were. */
static int check_fields(ecs_world_t *world, const ecs__component_t *layout) {
    for (uint32_t i = 0; i < layout->field_count; i++) {
        const ecs_field_t *field = &layout->fields[i];
        if (field->type == ECS_TYPE_ENUM && !ecs__enum_known(world, field->enum_id)) {
            return broken(world, "a field has an enum that is gone", field->enum_id);
        }
        if (field->type != ECS_TYPE_STRUCT) { continue; }
        bool fits = ecs__struct_known(world, field->struct_id) &&
                    world->structs[field->struct_id].size_bytes == ecs__element_bytes(field);
        if (!fits) { return broken(world, "a field has a struct that is gone", field->struct_id); }
    }
    return ECS_OK;
}

static int check_types(ecs_world_t *world) {
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < world->component_count; i++) {
        rc = check_fields(world, &world->components[i]);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < world->struct_count; i++) {
        if (world->structs[i].version != 0) { rc = check_fields(world, &world->structs[i]); }
    }
    return rc;
}

int ecs_check(ecs_world_t *world) {
    uint32_t rows = 0, alive = 0, empty = 0;
    int rc = check_types(world);
    for (uint32_t i = 0; rc == ECS_OK && i < world->ordered_count; i++) {
        rc = check_archetype(world, world->ordered[i], &rows);
        empty += world->ordered[i]->row_count == 0;
    }
    for (uint32_t i = 0; rc == ECS_OK && i < world->sparse_count; i++) {
        rc = check_sparse(world, world->sparse[i]);
    }
    if (rc == ECS_OK && empty != world->empty_count) {
        rc = broken(world, "count of empty archetypes", empty);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < world->slot_count; i++) {
        rc = check_record(world, i, &alive);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < world->slot_count; i++) {
        rc = check_tree(world, i);
    }
    if (rc == ECS_OK) { rc = check_free_list(world); }
    if (rc != ECS_OK) { return rc; }
    if (rows != alive) { return broken(world, "rows and entities differ in number", rows); }
    if (alive != world->shared.alive) { return broken(world, "count of entities", alive); }
    if (world->in_core != 0) { return broken(world, "in_core is not balanced", world->in_core); }
    return ECS_OK;
}

/* ---- hash ----------------------------------------------------------------------------------- */

#define HASH_START 14695981039346656037ull

static uint64_t mix(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ at[i]) * 1099511628211ull;
    }
    return hash;
}

static uint64_t mix_column(const ecs_world_t *world, const ecs__chunk_t *chunk,
                           const ecs__slot_t *slot, uint64_t hash) {
    const ecs__component_t *component = &world->components[slot->component];
    const char *values = world->memory.maps.core + ecs__cell(chunk, slot, 0);
    if (!component->padded) { return mix(hash, values, (size_t)chunk->count * slot->size_bytes); }
    for (uint32_t row = 0; row < chunk->count; row++, values += slot->size_bytes) {
        for (uint32_t i = 0; i < component->leaf_count; i++) {
            const ecs__leaf_t *leaf = &component->leaves[i];
            hash = mix(hash, values + leaf->offset_bytes, leaf->bytes);
        }
    }
    return hash;
}

typedef struct {
    const char *name;
    const ecs__slot_t *slot;
} named_slot_t;

static int compare_names(const void *a, const void *b) {
    return strcmp(((const named_slot_t *)a)->name, ((const named_slot_t *)b)->name);
}

/* By name, because another process may have registered components in another order. */
static uint64_t mix_archetype(const ecs_world_t *world, const ecs__archetype_t *archetype,
                              uint64_t hash) {
    named_slot_t slots[ECS_MAX_COMPONENTS];
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        const ecs__slot_t *slot = &archetype->slots[i];
        slots[i] = (named_slot_t){world->components[slot->component].name, slot};
    }
    qsort(slots, archetype->slot_count, sizeof slots[0], compare_names);
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        hash = mix(hash, slots[i].name, strlen(slots[i].name) + 1);
    }
    for (uint32_t c = 0; c < archetype->chunk_count; c++) {
        const ecs__chunk_t *chunk = archetype->chunks[c];
        hash = mix(hash, ids_of(world, chunk), chunk->count * sizeof(double));
        for (uint32_t i = 0; i < archetype->slot_count; i++) {
            if (slots[i].slot->column == ECS__NONE) { continue; }
            hash = mix_column(world, chunk, slots[i].slot, hash);
        }
    }
    return hash;
}

uint64_t ecs_hash(const ecs_world_t *world) {
    uint64_t hash = HASH_START, sparse = 0;
    for (uint32_t i = 0; i < world->sparse_count; i++) { /* a sum: in no order of registration */
        const ecs__archetype_t *table = world->components[world->sparse[i]].sparse->table;
        if (table->row_count > 0) { sparse += mix_archetype(world, table, HASH_START); }
    }
    if (sparse != 0) { hash = mix(hash, &sparse, sizeof sparse); }
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        if (world->ordered[i]->row_count > 0) {
            hash = mix_archetype(world, world->ordered[i], hash);
        }
    }
    for (uint32_t i = 0; i < world->slot_count; i++) {
        const ecs__node_t *node = ecs__node(world, i);
        if (node == NULL || !ecs__record_alive(ecs__record_at(world, i))) { continue; }
        if (node->parent == 0 && node->name == NULL) { continue; }
        const uint32_t place[] = {i, node->parent, node->prev};
        hash = mix(hash, place, sizeof place);
        if (node->name != NULL) { hash = mix(hash, node->name, strlen(node->name) + 1); }
    }
    return hash;
}
