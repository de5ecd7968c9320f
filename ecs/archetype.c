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

void ecs__archetype_table_fill(ecs_world_t *world) {
    memset(world->archetype_table, 0, world->archetype_table_len * sizeof(uint32_t));
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        table_insert(world, world->ordered[i]);
    }
}

static bool table_grow(ecs_world_t *world) {
    if ((world->ordered_count + 1) * 2 <= world->archetype_table_len) { return true; }
    uint32_t length = world->archetype_table_len == 0 ? TABLE_MIN : world->archetype_table_len * 2;
    uint32_t *table = ecs__calloc(length, sizeof(uint32_t));
    if (table == NULL) { return false; }
    free(world->archetype_table);
    world->archetype_table = table;
    world->archetype_table_len = length;
    ecs__archetype_table_fill(world);
    return true;
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

void ecs__archetype_free(ecs__archetype_t *archetype) {
    if (archetype == NULL) { return; }
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

ecs__archetype_t *ecs__archetype_make(const ecs_world_t *world, const uint32_t *components,
                                      uint32_t count) {
    ecs__archetype_t *made = ecs__calloc(1, sizeof *made);
    if (made == NULL) { return NULL; }
    made->slot_count = count;
    made->slots = ecs__calloc(count, sizeof *made->slots);
    made->slot_of_len = count == 0 ? 0 : components[count - 1] + 1;
    made->slot_of = ecs__calloc(made->slot_of_len, sizeof(uint32_t));
    if (made->slots == NULL || made->slot_of == NULL) {
        ecs__archetype_free(made);
        return NULL;
    }
    memset(made->slot_of, 0xff, made->slot_of_len * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size_bytes = world->components[components[i]].size_bytes;
        made->slots[i] = (ecs__slot_t){.component = components[i], .size_bytes = size_bytes};
        made->slot_of[components[i]] = i;
    }
    ecs__archetype_lay_out(world, made);
    return made;
}

static ecs__archetype_t *archetype_new(ecs_world_t *world, const uint32_t *components,
                                       uint32_t count) {
    ecs__archetype_t *made = ecs__archetype_make(world, components, count);
    uint32_t count_after = world->archetype_count + 1;
    bool room = made != NULL && table_grow(world) &&
                ECS__ROOM(world->archetypes, count_after, world->archetype_capacity) &&
                ECS__ROOM(world->ordered, count_after, world->ordered_capacity) &&
                ECS__ROOM(world->free_archetypes, count_after, world->free_archetype_capacity);
    for (uint32_t i = 0; room && i < world->query_count; i++) {
        room = ecs__query_reserve(world->queries[i]);
    }
    if (!room) {
        ecs__archetype_free(made);
        (void)ecs__oom(world);
        return NULL;
    }
    made->index = world->free_archetype_count > 0
                      ? world->free_archetypes[--world->free_archetype_count]
                      : world->archetype_count++;
    world->archetypes[made->index] = made;
    world->ordered[world->ordered_count++] = made;
    world->empty_count++;
    table_insert(world, made);
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs__query_add_archetype(world->queries[i], made);
    }
    return made;
}

/* The archetype with these components, made when there is none; NULL when memory is out. */
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
    return archetype_new(world, NULL, 0) == NULL ? ECS_E_MEMORY : ECS_OK;
}

static void chunk_free(ecs_world_t *world, ecs__chunk_t *chunk) {
    ecs__block_free(&world->memory, chunk->block_offset, chunk->block_bytes);
    free(chunk);
}

void ecs__archetype_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->archetype_count; i++) {
        ecs__archetype_free(world->archetypes[i]);
    }
    free(world->archetypes);
    free(world->ordered);
    free(world->free_archetypes);
    free(world->archetype_table);
}

/* ---- edges ---------------------------------------------------------------------------------- */

/* Edges for every component there is by now. */
static int edges_make(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t had = archetype->edge_len, length = world->component_count;
    if (had == length) { return ECS_OK; }
    uint32_t *add = realloc(archetype->edge_add, length * sizeof *add);
    if (add != NULL) { archetype->edge_add = add; }
    uint32_t *remove = realloc(archetype->edge_remove, length * sizeof *remove);
    if (remove != NULL) { archetype->edge_remove = remove; }
    if (add == NULL || remove == NULL) { return ecs__oom(world); }
    memset(add + had, 0xff, (length - had) * sizeof *add);
    memset(remove + had, 0xff, (length - had) * sizeof *remove);
    archetype->edge_len = length;
    return ECS_OK;
}

/* ECS__NONE when memory is out. */
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
    const ecs__archetype_t *found = archetype_get(world, list, count);
    return found == NULL ? ECS__NONE : found->index;
}

int ecs__archetype_make_edge(ecs_world_t *world, uint32_t from, uint32_t component, bool add,
                             uint32_t *out) {
    ecs__archetype_t *archetype = world->archetypes[from];
    int rc = edges_make(world, archetype);
    if (rc != ECS_OK) { return rc; }
    assert(component < archetype->edge_len);
    uint32_t *edge = add ? &archetype->edge_add[component] : &archetype->edge_remove[component];
    bool there = ecs__slot(archetype, component) != NULL;
    *edge = there == add ? from : neighbour(world, from, component, add);
    *out = *edge;
    return *edge == ECS__NONE ? ECS_E_MEMORY : ECS_OK;
}

/* ---- chunks and rows ------------------------------------------------------------------------ */

static ecs__chunk_t *chunk_new(ecs_world_t *world, const ecs__archetype_t *archetype,
                               uint32_t rows) {
    uint32_t columns = archetype->column_count;
    ecs__chunk_t *chunk =
        ecs__calloc(1, sizeof *chunk + columns * (sizeof(ecs_stamp_t) + sizeof(uint32_t)));
    if (chunk == NULL) {
        (void)ecs__oom(world);
        return NULL;
    }
    chunk->stamp = (ecs_stamp_t *)(chunk + 1);
    chunk->column_offset = (uint32_t *)(chunk->stamp + columns);
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
        wide->stamp[slot->column] = old->stamp[slot->column];
    }
    archetype->chunks[0] = wide;
    chunk_free(world, old);
    return ECS_OK;
}

ecs__chunk_t *ecs__chunk_append(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t rows) {
    if (!ECS__ROOM(archetype->chunks, archetype->chunk_count + 1, archetype->chunk_capacity)) {
        (void)ecs__oom(world);
        return NULL;
    }
    ecs__chunk_t *made = chunk_new(world, archetype, rows);
    if (made != NULL) { archetype->chunks[archetype->chunk_count++] = made; }
    return made;
}

/* Makes the next chunk: whole, but for the first one, which begins small. */
static int chunk_append(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint32_t first = archetype->chunk_rows < FIRST_ROWS ? archetype->chunk_rows : FIRST_ROWS;
    uint32_t rows = archetype->chunk_count == 0 ? first : archetype->chunk_rows;
    return ecs__chunk_append(world, archetype, rows) == NULL ? ECS_E_MEMORY : ECS_OK;
}

static uint64_t capacity_of(const ecs__archetype_t *archetype) {
    if (archetype->chunk_count <= 1) {
        return archetype->chunk_count == 0 ? 0 : archetype->chunks[0]->capacity;
    }
    return (uint64_t)archetype->chunk_count << archetype->chunk_shift;
}

int ecs__rows_reserve(ecs_world_t *world, ecs__archetype_t *archetype, uint64_t rows) {
    int rc = ECS_OK;
    while (rc == ECS_OK && capacity_of(archetype) < rows) {
        bool grow =
            archetype->chunk_count > 0 && archetype->chunks[0]->capacity < archetype->chunk_rows;
        rc = grow ? first_chunk_grow(world, archetype) : chunk_append(world, archetype);
    }
    return rc;
}

void ecs__chunks_free(ecs_world_t *world, ecs__archetype_t *archetype, uint64_t keep) {
    while (archetype->chunk_count > keep) {
        chunk_free(world, archetype->chunks[--archetype->chunk_count]);
    }
}

void ecs__rows_trim(ecs_world_t *world, ecs__archetype_t *archetype) {
    uint64_t rows =
        archetype->row_count + (uint64_t)(archetype->coming > 0 ? archetype->coming : 0);
    uint64_t needed = (rows + archetype->chunk_rows - 1) >> archetype->chunk_shift;
    ecs__chunks_free(world, archetype, needed + 1);
}

uint32_t ecs__row_add(ecs_world_t *world, ecs__archetype_t *archetype, ecs_id_t id) {
    uint32_t row = archetype->row_count++, at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    if (row == 0 && archetype->index != ECS__NONE) { world->empty_count--; }
    assert(chunk->count < chunk->capacity);
    chunk->count++;
    chunk_ids(world, chunk)[at] = id;
    for (uint32_t i = 0; i < archetype->column_count; i++) {
        chunk->stamp[i].added = world->shared.tick;
    }
    return row;
}

ecs_id_t ecs__row_take(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row) {
    uint32_t last = --archetype->row_count, at = 0, last_at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    ecs__chunk_t *last_chunk = ecs__chunk_of(archetype, last, &last_at);
    ecs_id_t moved = 0;
    last_chunk->count--;
    if (row != last) {
        moved = chunk_ids(world, last_chunk)[last_at];
        chunk_ids(world, chunk)[at] = moved;
        for (uint32_t i = 0; i < archetype->slot_count; i++) {
            const ecs__slot_t *slot = &archetype->slots[i];
            if (slot->column == ECS__NONE) { continue; }
            ecs__copy(world->memory.maps.core + ecs__cell(chunk, slot, at),
                      world->memory.maps.core + ecs__cell(last_chunk, slot, last_at),
                      slot->size_bytes);
            ecs_stamp_t *stamp = &chunk->stamp[slot->column];
            const ecs_stamp_t *other = &last_chunk->stamp[slot->column];
            if (other->added > stamp->added) { stamp->added = other->added; }
            ecs__stamp_newer(stamp, other);
        }
    }
    ecs__rows_trim(world, archetype);
    return moved;
}

void ecs__row_remove(ecs_world_t *world, ecs__archetype_t *archetype, uint32_t row) {
    ecs_id_t moved = ecs__row_take(world, archetype, row);
    if (moved != 0) { ecs__record_at(world, ecs__index(moved))->row = row; }
    if (archetype->row_count == 0) { world->empty_count++; }
}

/* ---- what a snapshot is restored with ------------------------------------------------------- */

uint32_t ecs__chunk_rows(const ecs_world_t *world, uint32_t row_bytes) {
    ecs__archetype_t archetype = {.row_bytes = row_bytes};
    choose_chunk_rows(world, &archetype);
    return archetype.chunk_rows;
}

ecs__archetype_t *ecs__archetype_of(ecs_world_t *world, const uint32_t *components,
                                    uint32_t count) {
    return archetype_get(world, components, count);
}
