/* Archetypes, their chunks and rows. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { FIRST_ROWS = 16, CHUNK_MAX_BYTES = 256 * 1024, TABLE_MIN = 64, COLUMN_ALIGN = 64 };

static uint32_t list_hash(const uint32_t *components, uint32_t count) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < count; i++) {
        hash = (hash ^ components[i]) * 16777619u;
    }
    return hash ^ hash >> 13;
}

static uint32_t archetype_hash(const ecs__archetype_t *archetype) {
    uint32_t components[ECS_MAX_COMPONENTS];
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        components[i] = archetype->slots[i].component;
    }
    return list_hash(components, archetype->slot_count);
}

static bool same_list(const ecs__archetype_t *archetype, const uint32_t *components,
                      uint32_t count) {
    bool same = archetype->slot_count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = archetype->slots[i].component == components[i];
    }
    return same;
}

static void table_insert(ecs_world_t *world, const ecs__archetype_t *archetype) {
    uint32_t mask = world->archetype_table_len - 1;
    uint32_t at = archetype_hash(archetype) & mask;
    while (world->archetype_table[at] != 0) {
        at = (at + 1) & mask;
    }
    world->archetype_table[at] = archetype->index + 1;
}

static void table_grow(ecs_world_t *world) {
    if ((world->archetype_count + 1) * 2 <= world->archetype_table_len) { return; }
    free(world->archetype_table);
    world->archetype_table_len =
        world->archetype_table_len == 0 ? TABLE_MIN : world->archetype_table_len * 2;
    world->archetype_table = ecs__calloc(world->archetype_table_len, sizeof(uint32_t));
    for (uint32_t i = 0; i < world->archetype_count; i++) {
        table_insert(world, world->archetypes[i]);
    }
}

/* Rows of a whole chunk: the largest power of two that keeps a chunk within its limits. */
static void choose_chunk_rows(const ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t rows = world->max_chunk_rows, shift = 0;
    while (rows > 1 && (uint64_t)rows * archetype->row_bytes > CHUNK_MAX_BYTES) {
        rows /= 2;
    }
    while ((2u << shift) <= rows) {
        shift++;
    }
    archetype->chunk_rows = 1u << shift;
    archetype->chunk_shift = shift;
}

void ecs__archetype_lay_out(const ecs_world_t *world, ecs__archetype_t *archetype) {
    archetype->row_bytes = sizeof(double);
    archetype->column_count = 0;
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        ecs__slot_t *slot = &archetype->slots[i];
        slot->column = slot->size_bytes == 0 ? ECS__NONE : archetype->column_count++;
        archetype->row_bytes += slot->size_bytes;
    }
    choose_chunk_rows(world, archetype);
}

static ecs__archetype_t *archetype_new(ecs_world_t *world, const uint32_t *components,
                                       uint32_t count) {
    ecs__archetype_t *made = ecs__calloc(1, sizeof *made);
    made->index = world->archetype_count;
    made->slot_count = count;
    made->slots = ecs__calloc(count, sizeof *made->slots);
    made->slot_of_len = count == 0 ? 0 : components[count - 1] + 1;
    made->slot_of = ecs__calloc(made->slot_of_len, sizeof(uint32_t));
    memset(made->slot_of, 0xff, made->slot_of_len * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size_bytes = world->components[components[i]].size_bytes;
        made->slots[i] = (ecs__slot_t){.component = components[i], .size_bytes = size_bytes};
        made->slot_of[components[i]] = i;
    }
    ecs__archetype_lay_out(world, made);
    table_grow(world);
    *ECS__PUSH(world->archetypes, world->archetype_count, world->archetype_capacity) = made;
    table_insert(world, made);
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs__query_add_archetype(world->queries[i], made);
    }
    return made;
}

static ecs__archetype_t *archetype_get(ecs_world_t *world, const uint32_t *components,
                                       uint32_t count) {
    uint32_t mask = world->archetype_table_len - 1;
    uint32_t at = list_hash(components, count) & mask;
    for (; world->archetype_table_len > 0 && world->archetype_table[at] != 0;
         at = (at + 1) & mask) {
        ecs__archetype_t *known = world->archetypes[world->archetype_table[at] - 1];
        if (same_list(known, components, count)) { return known; }
    }
    return archetype_new(world, components, count);
}

int ecs__archetype_init(ecs_world_t *world) {
    (void)archetype_new(world, NULL, 0);
    return ECS_OK;
}

static void chunk_free(ecs_world_t *world, ecs__chunk_t *chunk) {
    ecs__block_free(&world->memory, chunk->block_offset, chunk->block_bytes);
    free(chunk);
}

void ecs__archetype_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->archetype_count; i++) {
        ecs__archetype_t *archetype = world->archetypes[i];
        for (uint32_t j = 0; j < archetype->chunk_count; j++) {
            free(archetype->chunks[j]);
        }
        free(archetype->chunks);
        free(archetype->slots);
        free(archetype->slot_of);
        free(archetype->edge_add);
        free(archetype->edge_remove);
        free(archetype);
    }
    free(world->archetypes);
    free(world->archetype_table);
}

/* ---- edges ---------------------------------------------------------------------------------- */

static void edges_make(const ecs_world_t *world, ecs__archetype_t *archetype) {
    if (archetype->edge_len > 0) { return; }
    archetype->edge_len = world->component_count;
    size_t bytes = archetype->edge_len * sizeof(uint32_t);
    archetype->edge_add = memset(ecs__calloc(bytes, 1), 0xff, bytes);
    archetype->edge_remove = memset(ecs__calloc(bytes, 1), 0xff, bytes);
}

static uint32_t neighbour(ecs_world_t *world, uint32_t from, uint32_t component, bool add) {
    uint32_t list[ECS_MAX_COMPONENTS + 1];
    const ecs__archetype_t *archetype = world->archetypes[from];
    uint32_t count = 0;
    bool placed = !add;
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        uint32_t at = archetype->slots[i].component;
        if (!placed && component < at) {
            list[count++] = component;
            placed = true;
        }
        if (add || at != component) { list[count++] = at; }
    }
    if (!placed) { list[count++] = component; }
    return archetype_get(world, list, count)->index;
}

int ecs__archetype_with(ecs_world_t *world, uint32_t from, uint32_t component, uint32_t *out) {
    ecs__archetype_t *archetype = world->archetypes[from];
    edges_make(world, archetype);
    assert(component < archetype->edge_len);
    if (archetype->edge_add[component] == ECS__NONE) {
        archetype->edge_add[component] = ecs__slot(archetype, component) != NULL
                                             ? from
                                             : neighbour(world, from, component, true);
    }
    *out = archetype->edge_add[component];
    return ECS_OK;
}

int ecs__archetype_without(ecs_world_t *world, uint32_t from, uint32_t component, uint32_t *out) {
    ecs__archetype_t *archetype = world->archetypes[from];
    edges_make(world, archetype);
    assert(component < archetype->edge_len);
    if (archetype->edge_remove[component] == ECS__NONE) {
        archetype->edge_remove[component] = ecs__slot(archetype, component) == NULL
                                                ? from
                                                : neighbour(world, from, component, false);
    }
    *out = archetype->edge_remove[component];
    return ECS_OK;
}

/* ---- chunks and rows ------------------------------------------------------------------------ */

static ecs__chunk_t *chunk_new(ecs_world_t *world, const ecs__archetype_t *archetype,
                               uint32_t rows) {
    uint32_t columns = archetype->column_count;
    ecs__chunk_t *chunk =
        ecs__calloc(1, sizeof *chunk + columns * (2 * sizeof(uint64_t) + sizeof(uint32_t)));
    chunk->changed = (uint64_t *)(chunk + 1);
    chunk->added = chunk->changed + columns;
    chunk->column_offset = (uint32_t *)(chunk->added + columns);
    chunk->capacity = rows;
    size_t bytes = ecs__align(rows * sizeof(double), COLUMN_ALIGN);
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        const ecs__slot_t *slot = &archetype->slots[i];
        if (slot->column == ECS__NONE) { continue; }
        chunk->column_offset[slot->column] = (uint32_t)bytes;
        bytes = ecs__align(bytes + (size_t)rows * slot->size_bytes, COLUMN_ALIGN);
    }
    if (ecs__block_alloc(&world->memory, bytes, &chunk->block_offset, &chunk->block_bytes) !=
        ECS_OK) {
        free(chunk);
        (void)ecs__fail(world, ECS_E_MEMORY, "no room for %zu more bytes of components", bytes);
        return NULL;
    }
    return chunk;
}

static double *chunk_ids(const ecs_world_t *world, const ecs__chunk_t *chunk) {
    return (double *)(void *)(world->memory.maps.core + chunk->block_offset);
}

/* Replaces the first chunk by one with more rows. */
static int first_chunk_grow(ecs_world_t *world, ecs__archetype_t *archetype) {
    ecs__chunk_t *old = archetype->chunks[0];
    ecs__chunk_t *wide = chunk_new(world, archetype, old->capacity * 2);
    if (wide == NULL) { return ECS_E_MEMORY; }
    wide->count = old->count;
    memcpy(chunk_ids(world, wide), chunk_ids(world, old), old->count * sizeof(double));
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        const ecs__slot_t *slot = &archetype->slots[i];
        if (slot->column == ECS__NONE) { continue; }
        memcpy(world->memory.maps.core + ecs__cell(wide, slot, 0),
               world->memory.maps.core + ecs__cell(old, slot, 0),
               (size_t)old->count * slot->size_bytes);
        wide->changed[slot->column] = old->changed[slot->column];
        wide->added[slot->column] = old->added[slot->column];
    }
    archetype->chunks[0] = wide;
    chunk_free(world, old);
    return ECS_OK;
}

static int make_room(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t in_last = archetype->row_count & (archetype->chunk_rows - 1);
    uint32_t chunk = archetype->row_count >> archetype->chunk_shift;
    if (chunk < archetype->chunk_count) {
        if (in_last < archetype->chunks[chunk]->capacity) { return ECS_OK; }
        return first_chunk_grow(world, archetype);
    }
    uint32_t first = archetype->chunk_rows < FIRST_ROWS ? archetype->chunk_rows : FIRST_ROWS;
    ecs__chunk_t *made = chunk_new(world, archetype, chunk == 0 ? first : archetype->chunk_rows);
    if (made == NULL) { return ECS_E_MEMORY; }
    *ECS__PUSH(archetype->chunks, archetype->chunk_count, archetype->chunk_capacity) = made;
    return ECS_OK;
}

int ecs__row_add(ecs_world_t *world, ecs__archetype_t *archetype, ecs_id_t id, uint32_t *row) {
    int rc = make_room(world, archetype);
    if (rc != ECS_OK) { return rc; }
    *row = archetype->row_count++;
    uint32_t at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, *row, &at);
    chunk->count++;
    chunk_ids(world, chunk)[at] = id;
    for (uint32_t i = 0; i < archetype->column_count; i++) {
        chunk->added[i] = world->shared.tick;
    }
    return ECS_OK;
}

/* The last chunk goes when it is empty, but one empty one is kept against flutter. */
static void shrink(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t needed = (archetype->row_count + archetype->chunk_rows - 1) >> archetype->chunk_shift;
    while (archetype->chunk_count > needed + 1) {
        chunk_free(world, archetype->chunks[--archetype->chunk_count]);
    }
}

void ecs__row_remove(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row) {
    uint32_t last = --archetype->row_count, at = 0, last_at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    ecs__chunk_t *last_chunk = ecs__chunk_of(archetype, last, &last_at);
    last_chunk->count--;
    if (row != last) {
        ecs_id_t moved = chunk_ids(world, last_chunk)[last_at];
        chunk_ids(world, chunk)[at] = moved;
        ecs__record_at(world, ecs__index(moved))->row = row;
        for (uint32_t i = 0; i < archetype->slot_count; i++) {
            const ecs__slot_t *slot = &archetype->slots[i];
            if (slot->column == ECS__NONE) { continue; }
            memcpy(world->memory.maps.core + ecs__cell(chunk, slot, at),
                   world->memory.maps.core + ecs__cell(last_chunk, slot, last_at),
                   slot->size_bytes);
            chunk->added[slot->column] = world->shared.tick;
            if (last_chunk->changed[slot->column] > chunk->changed[slot->column]) {
                chunk->changed[slot->column] = last_chunk->changed[slot->column];
            }
        }
    }
    shrink(world, archetype);
}
