/* Cursors: the walk over the chunks of a query's archetypes, and counts without one. */
#include <stdlib.h>

#include "internal.h"

/* Whether one of the columns was written, or came to a row, since the query's last whole walk. */
static bool is_news(const ecs_query_t *query, uint32_t archetype_at, const ecs__chunk_t *chunk) {
    const ecs_query_desc_t *d = &query->desc;
    const uint32_t *place =
        &query->places[(size_t)archetype_at * query->place_terms + query->column_count];
    for (uint32_t k = 0; k < d->changed_count; k++, place++) {
        const ecs_stamp_t *stamp = &chunk->stamp[*place];
        if (stamp->changed > query->since || stamp->added > query->since) { return true; }
    }
    for (uint32_t k = 0; k < d->added_count; k++, place++) {
        if (chunk->stamp[*place].added > query->since) { return true; }
    }
    return false;
}

static bool has_filter(const ecs_query_t *query) {
    return query->place_terms != query->column_count;
}

static bool has_sparse(const ecs_query_t *query) {
    return query->sparse_with_count + query->sparse_without_count > 0;
}

/* Whether a row has all sparse components of `with`, and none of `without`. */
static bool in_run(const ecs_query_t *query, const ecs__chunk_t *chunk, uint32_t row) {
    const ecs_world_t *world = query->world;
    ecs_id_t id;
    memcpy(&id, world->memory.maps.core + chunk->block_offset + row * sizeof id, sizeof id);
    bool in = true;
    for (uint32_t i = 0; in && i < query->sparse_with_count; i++) {
        const ecs__sparse_t *store = world->components[query->sparse_with[i]].sparse;
        in = ecs__sparse_row(store, ecs__index(id)) != ECS__NONE;
    }
    for (uint32_t i = 0; in && i < query->sparse_without_count; i++) {
        const ecs__sparse_t *store = world->components[query->sparse_without[i]].sparse;
        in = ecs__sparse_row(store, ecs__index(id)) == ECS__NONE;
    }
    return in;
}

static double count_chunk(const ecs_query_t *query, uint32_t archetype_at,
                          const ecs__chunk_t *chunk) {
    if (has_filter(query) && !is_news(query, archetype_at, chunk)) { return 0; }
    if (!has_sparse(query)) { return chunk->count; }
    double rows = 0;
    for (uint32_t row = 0; row < chunk->count; row++) {
        rows += in_run(query, chunk, row);
    }
    return rows;
}

double ecs_query_count(const ecs_query_t *query) {
    double rows = 0;
    for (uint32_t i = 0; i < query->archetype_count; i++) {
        const ecs__archetype_t *archetype = query->archetypes[i];
        if (query->whole) { rows += archetype->row_count; }
        for (uint32_t c = 0; !query->whole && c < archetype->chunk_count; c++) {
            rows += count_chunk(query, i, archetype->chunks[c]);
        }
    }
    return rows;
}

ecs_cursor_t *ecs_cursor_open(ecs_query_t *query) {
    if (query->ended) { return NULL; }
    ecs_cursor_t *cursor = query->free_cursor;
    if (cursor != NULL) {
        query->free_cursor = cursor->next_free;
    } else {
        if (!ECS__ROOM(query->cursors, query->cursor_count + 1, query->cursor_capacity)) {
            return NULL;
        }
        cursor = ecs__calloc(1, sizeof *cursor);
        if (cursor == NULL) { return NULL; }
        cursor->query = query;
        query->cursors[query->cursor_count++] = cursor;
    }
    query->open++;
    cursor->next_free = NULL;
    ecs_cursor_rewind(cursor);
    return cursor;
}

void ecs_cursor_rewind(ecs_cursor_t *cursor) {
    cursor->walks = false;
    cursor->archetype_at = 0;
    cursor->chunk_at = 0;
    cursor->row_at = 0;
    cursor->count = 0;
}

/* The last cursor of a query that has ended is closed: cursors and all go. */
static void free_ended(ecs_query_t *query) {
    ecs_query_t **at = &query->world->ended_queries;
    while (*at != query) {
        at = &(*at)->next;
    }
    *at = query->next;
    ecs__query_free(query);
}

void ecs_cursor_close(ecs_cursor_t *cursor) {
    ecs_query_t *query = cursor->query;
    cursor->next_free = query->free_cursor;
    query->free_cursor = cursor;
    if (--query->open == 0 && query->ended) { free_ended(query); }
}

/* So many rows of a chunk, from the first on. */
typedef struct {
    ecs__chunk_t *chunk;
    uint32_t first, count;
} run_t;

/* The run's first value in a column, in one of the maps. */
static inline const char *value_at(const ecs_query_t *query, uint32_t k, const run_t *run,
                                   uint32_t column, const char *map) {
    const char *column_at = map + run->chunk->block_offset + run->chunk->column_offset[column];
    if (run->first == 0) { return column_at; }
    return column_at + run->first * query->world->components[query->columns[k]].size_bytes;
}

/* Marks what a writer is about to write; the box can withdraw it. */
static void mark_written(ecs_world_t *world, uint32_t component, ecs_box_t *box,
                         ecs_stamp_t *stamp) {
    box->stamp = stamp;
    box->before = *stamp;
    stamp->changed = world->shared.tick;
    stamp->owner = world->writer;
    stamp->place = 0;
    ecs__touch(world, component);
}

/* Hands out a run of rows. Boxes that are only read have no stamp from the start. */
static inline void fill_cursor(ecs_cursor_t *cursor, const run_t *run) {
    const ecs_query_t *query = cursor->query;
    ecs__maps_t *maps = &query->world->memory.maps;
    const uint32_t *places = &query->places[(size_t)cursor->archetype_at * query->place_terms];
    const uint32_t columns = query->column_count, writes = query->write_count;
    const uint32_t epoch = query->world->shared.epoch;
    const int32_t count = (int32_t)run->count;
    const char *view = maps->view.map;
    maps->view_out = true;
    if (writes > 0) { ecs__window_open(maps); }
    cursor->count = count;
    cursor->ids = (const double *)(const void *)(view + run->chunk->block_offset) + run->first;
    for (uint32_t k = 0; k < columns; k++) {
        uint32_t column = places[k];
        ecs_box_t *box = &cursor->box[k];
        bool absent = column == ECS__NONE;
        box->epoch = epoch;
        box->count = absent ? 0 : count;
        box->p =
            absent ? NULL : value_at(query, k, run, column, k < writes ? maps->window.map : view);
        if (k < writes) {
            mark_written(query->world, query->columns[k], box, &run->chunk->stamp[column]);
        }
    }
}

/* The next run of a chunk, which is all of it when no sparse component is asked for; false at its
 * end. */
static bool next_run(ecs_cursor_t *cursor, run_t *run) {
    const ecs_query_t *query = cursor->query;
    uint32_t first = cursor->row_at, count = run->chunk->count;
    if (!has_sparse(query)) {
        *run = (run_t){run->chunk, 0, count};
        cursor->row_at = count;
        return first == 0 && count > 0;
    }
    while (first < count && !in_run(query, run->chunk, first)) {
        first++;
    }
    uint32_t end = first;
    while (end < count && in_run(query, run->chunk, end)) {
        end++;
    }
    *run = (run_t){run->chunk, first, end - first};
    cursor->row_at = end;
    return end > first;
}

/* In the write phase a tick may see more writes after the walk. So that they are news to the next
 * one, a tick ends with the walk's beginning; or with its end, when the walk itself makes marks,
 * which are no news. */
static bool ends_ticks(const ecs_query_t *query) {
    return has_filter(query) && query->world->phase == ECS_PHASE_WRITE;
}

__attribute__((noinline)) static void walk_begin(ecs_cursor_t *cursor) {
    const ecs_query_t *query = cursor->query;
    ecs_world_t *world = query->world;
    if (query->ended) { return; }
    cursor->walks = true;
    cursor->began = world->shared.tick;
    if (!ends_ticks(query)) { return; }
    world->shared.tick++;
    if (query->write_count > 0) { cursor->began++; }
}

__attribute__((noinline)) static void walk_end(ecs_cursor_t *cursor) {
    ecs_query_t *query = cursor->query;
    query->since = cursor->began;
    if (!query->ended && ends_ticks(query) && query->write_count > 0) {
        query->world->shared.tick++;
    }
    ecs_cursor_rewind(cursor);
}

/* The next chunk with rows, all of it. */
static bool next_whole(ecs_cursor_t *cursor) {
    const ecs_query_t *query = cursor->query;
    while (cursor->archetype_at < query->archetype_count) {
        const ecs__archetype_t *archetype = query->archetypes[cursor->archetype_at];
        while (cursor->chunk_at < archetype->chunk_count) {
            ecs__chunk_t *chunk = archetype->chunks[cursor->chunk_at++];
            if (chunk->count == 0) { continue; }
            fill_cursor(cursor, &(run_t){chunk, 0, chunk->count});
            return true;
        }
        cursor->archetype_at++;
        cursor->chunk_at = 0;
    }
    return false;
}

/* The same for queries that leave chunks or rows out; apart, so that the common case is short. */
__attribute__((noinline)) static bool next_filtered(ecs_cursor_t *cursor) {
    const ecs_query_t *query = cursor->query;
    bool filter = has_filter(query);
    while (cursor->archetype_at < query->archetype_count) {
        const ecs__archetype_t *archetype = query->archetypes[cursor->archetype_at];
        if (cursor->chunk_at == archetype->chunk_count) {
            cursor->archetype_at++;
            cursor->chunk_at = 0;
            continue;
        }
        run_t run = {.chunk = archetype->chunks[cursor->chunk_at]};
        bool skip =
            filter && cursor->row_at == 0 && !is_news(query, cursor->archetype_at, run.chunk);
        if (!skip && next_run(cursor, &run)) {
            fill_cursor(cursor, &run);
            return true;
        }
        cursor->chunk_at++;
        cursor->row_at = 0;
    }
    return false;
}

bool ecs_cursor_next(ecs_cursor_t *cursor) {
    const ecs_query_t *query = cursor->query;
    if (query->write_count > 0 && ecs__guard(query->world, 1u << ECS_PHASE_WRITE) != ECS_OK) {
        return false;
    }
    if (!cursor->walks) { walk_begin(cursor); }
    if (query->whole ? next_whole(cursor) : next_filtered(cursor)) { return true; }
    walk_end(cursor);
    return false;
}
