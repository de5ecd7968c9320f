/* Queries keep the list of archetypes they match; cursors walk its chunks. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool has_all(const ecs__archetype_t *archetype, const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (ecs__slot(archetype, components[i]) == NULL) { return false; }
    }
    return true;
}

static bool has_any(const ecs__archetype_t *archetype, const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (ecs__slot(archetype, components[i]) != NULL) { return true; }
    }
    return false;
}

void ecs__query_add_archetype(ecs_query_t *query, const ecs__archetype_t *archetype) {
    const ecs_query_desc_t *d = &query->desc;
    if (has_all(archetype, d->write, d->write_count) &&
        has_all(archetype, d->read, d->read_count) && has_all(archetype, d->with, d->with_count) &&
        !has_any(archetype, d->without, d->without_count)) {
        *ECS__PUSH(query->archetypes, query->archetype_count, query->archetype_capacity) =
            archetype;
        for (uint32_t k = 0; k < query->column_count; k++) {
            const ecs__slot_t *slot = ecs__slot(archetype, query->columns[k]);
            *ECS__PUSH(query->places, query->place_count, query->place_capacity) =
                slot == NULL ? ECS__NONE : slot->column;
        }
    }
}

static int check_terms(ecs_world_t *world, const uint32_t *components, uint32_t count,
                       bool column) {
    for (uint32_t i = 0; i < count; i++) {
        if (components[i] >= world->component_count) {
            return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", components[i]);
        }
        if (column && world->components[components[i]].size_bytes == 0) {
            return ecs__fail(world, ECS_E_INVALID,
                             "%s is a tag and has no values: name it in `with`",
                             world->components[components[i]].name);
        }
    }
    return ECS_OK;
}

static bool same_terms(const uint32_t *a, uint32_t a_count, const uint32_t *b, uint32_t b_count) {
    return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;
}

static bool same_desc(const ecs_query_desc_t *a, const ecs_query_desc_t *b) {
    return same_terms(a->write, a->write_count, b->write, b->write_count) &&
           same_terms(a->read, a->read_count, b->read, b->read_count) &&
           same_terms(a->maybe, a->maybe_count, b->maybe, b->maybe_count) &&
           same_terms(a->with, a->with_count, b->with, b->with_count) &&
           same_terms(a->without, a->without_count, b->without, b->without_count);
}

static void add_columns(ecs_query_t *query, const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        query->columns[query->column_count++] = components[i];
    }
}

int ecs_query_create(ecs_world_t *world, const ecs_query_desc_t *desc, ecs_query_t **out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (desc->write_count + desc->read_count + desc->maybe_count > ECS_MAX_TERMS ||
        desc->with_count > ECS_MAX_TERMS || desc->without_count > ECS_MAX_TERMS) {
        return ecs__fail(world, ECS_E_LIMIT, "a query names at most %d components",
                         (int)ECS_MAX_TERMS);
    }
    int rc = check_terms(world, desc->write, desc->write_count, true);
    if (rc == ECS_OK) { rc = check_terms(world, desc->read, desc->read_count, true); }
    if (rc == ECS_OK) { rc = check_terms(world, desc->maybe, desc->maybe_count, true); }
    if (rc == ECS_OK) { rc = check_terms(world, desc->with, desc->with_count, false); }
    if (rc == ECS_OK) { rc = check_terms(world, desc->without, desc->without_count, false); }
    if (rc != ECS_OK) { return rc; }
    for (uint32_t i = 0; i < world->query_count; i++) {
        *out = world->queries[i];
        if (same_desc(desc, &world->queries[i]->desc)) { return ECS_OK; }
    }
    ecs_query_t *query = ecs__calloc(1, sizeof *query);
    query->world = world;
    query->desc = *desc;
    add_columns(query, desc->write, desc->write_count);
    add_columns(query, desc->read, desc->read_count);
    add_columns(query, desc->maybe, desc->maybe_count);
    for (uint32_t i = 0; i < world->archetype_count; i++) {
        ecs__query_add_archetype(query, world->archetypes[i]);
    }
    *ECS__PUSH(world->queries, world->query_count, world->query_capacity) = query;
    *out = query;
    return ECS_OK;
}

void ecs__cursors_reset(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        query->free_cursor = NULL;
        for (uint32_t j = 0; j < query->cursor_count; j++) {
            ecs_cursor_close(query->cursors[j]);
        }
    }
}

void ecs__queries_refill(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        query->archetype_count = query->place_count = 0;
        for (uint32_t k = 0; k < world->archetype_count; k++) {
            ecs__query_add_archetype(query, world->archetypes[k]);
        }
    }
}

void ecs__query_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        for (uint32_t j = 0; j < query->cursor_count; j++) {
            free(query->cursors[j]);
        }
        free(query->cursors);
        free(query->archetypes);
        free(query->places);
        free(query);
    }
    free(world->queries);
}

double ecs_query_count(const ecs_query_t *query) {
    double rows = 0;
    for (uint32_t i = 0; i < query->archetype_count; i++) {
        rows += query->archetypes[i]->row_count;
    }
    return rows;
}

ecs_cursor_t *ecs_cursor_open(ecs_query_t *query) {
    ecs_cursor_t *cursor = query->free_cursor;
    if (cursor != NULL) {
        query->free_cursor = cursor->next_free;
    } else {
        cursor = ecs__calloc(1, sizeof *cursor);
        cursor->query = query;
        *ECS__PUSH(query->cursors, query->cursor_count, query->cursor_capacity) = cursor;
    }
    cursor->next_free = NULL;
    ecs_cursor_rewind(cursor);
    return cursor;
}

void ecs_cursor_rewind(ecs_cursor_t *cursor) {
    cursor->archetype_at = 0;
    cursor->chunk_at = 0;
    cursor->count = 0;
}

void ecs_cursor_close(ecs_cursor_t *cursor) {
    cursor->next_free = cursor->query->free_cursor;
    cursor->query->free_cursor = cursor;
}

/* The box of one column, whose place in the archetype is `column`. */
static void fill_box(const ecs_query_t *query, ecs_box_t *box, ecs__chunk_t *chunk, uint32_t column,
                     bool write) {
    const ecs_world_t *world = query->world;
    const ecs__maps_t *maps = &world->memory.maps;
    box->epoch = world->shared.epoch;
    if (column == ECS__NONE) {
        box->p = NULL;
        box->count = 0;
        return;
    }
    box->count = (int32_t)chunk->count;
    box->p = (write ? maps->window.map : maps->view.map) + chunk->block_offset +
             chunk->column_offset[column];
    box->changed = write ? &chunk->changed[column] : NULL;
    if (write) {
        box->before = *box->changed;
        *box->changed = world->shared.tick;
    }
}

/* Hands out what the cursor's chunk has. */
static void fill_cursor(ecs_cursor_t *cursor, ecs__chunk_t *chunk) {
    const ecs_query_t *query = cursor->query;
    ecs__maps_t *maps = &query->world->memory.maps;
    const uint32_t *places = &query->places[cursor->archetype_at * query->column_count];
    maps->view_out = true;
    if (query->desc.write_count > 0) { ecs__window_open(maps); }
    cursor->count = (int32_t)chunk->count;
    cursor->ids = (const double *)(const void *)(maps->view.map + chunk->block_offset);
    for (uint32_t k = 0; k < query->column_count; k++) {
        fill_box(query, &cursor->box[k], chunk, places[k], k < query->desc.write_count);
    }
}

bool ecs_cursor_next(ecs_cursor_t *cursor) {
    const ecs_query_t *query = cursor->query;
    if (query->desc.write_count > 0 && ecs__guard(query->world, 1u << ECS_PHASE_WRITE) != ECS_OK) {
        return false;
    }
    while (cursor->archetype_at < query->archetype_count) {
        const ecs__archetype_t *archetype = query->archetypes[cursor->archetype_at];
        if (cursor->chunk_at < archetype->chunk_count &&
            archetype->chunks[cursor->chunk_at]->count > 0) {
            fill_cursor(cursor, archetype->chunks[cursor->chunk_at++]);
            return true;
        }
        cursor->archetype_at++;
        cursor->chunk_at = 0;
    }
    ecs_cursor_rewind(cursor);
    return false;
}
