/* Queries keep the list of archetypes they match; cursors walk its chunks. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool has(const ecs_query_t *query, const ecs__archetype_t *archetype, uint32_t component) {
    if (query->world->components[component].sparse != NULL) { return true; } /* see in_run */
    return ecs__slot(archetype, component) != NULL;
}

static bool has_all(const ecs_query_t *query, const ecs__archetype_t *archetype,
                    const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!has(query, archetype, components[i])) { return false; }
    }
    return true;
}

static bool has_any(const ecs__archetype_t *archetype, const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (ecs__slot(archetype, components[i]) != NULL) { return true; }
    }
    return false;
}

static bool matches(const ecs_query_t *query, const ecs__archetype_t *archetype) {
    const ecs_query_desc_t *d = &query->desc;
    return has_all(query, archetype, d->write, d->write_count) &&
           has_all(query, archetype, d->read, d->read_count) &&
           has_all(query, archetype, d->with, d->with_count) &&
           has_all(query, archetype, d->changed, d->changed_count) &&
           has_all(query, archetype, d->added, d->added_count) &&
           !has_any(archetype, d->without, d->without_count);
}

bool ecs__query_reserve(ecs_query_t *query) {
    return ECS__ROOM(query->archetypes, query->archetype_count + 1, query->archetype_capacity) &&
           ECS__ROOM(query->places, query->place_count + query->place_terms, query->place_capacity);
}

static void add_places(ecs_query_t *query, const ecs__archetype_t *archetype,
                       const uint32_t *components, uint32_t count) {
    for (uint32_t k = 0; k < count; k++) {
        const ecs__slot_t *slot = ecs__slot(archetype, components[k]);
        query->places[query->place_count++] = slot == NULL ? ECS__NONE : slot->column;
    }
}

static void place(ecs_query_t *query, const ecs__archetype_t *archetype) {
    const ecs_query_desc_t *d = &query->desc;
    add_places(query, archetype, query->columns, query->column_count);
    add_places(query, archetype, d->changed, d->changed_count);
    add_places(query, archetype, d->added, d->added_count);
}

void ecs__query_add_archetype(ecs_query_t *query, const ecs__archetype_t *archetype) {
    if (!matches(query, archetype)) { return; }
    query->archetypes[query->archetype_count++] = archetype;
    place(query, archetype);
}

void ecs__query_replace(ecs_query_t *query) {
    query->place_count = 0;
    for (uint32_t i = 0; i < query->archetype_count; i++) {
        place(query, query->archetypes[i]);
    }
}

/* Walks that are under way go on where they are when the archetype at a position leaves. */
static void step_back(const ecs_query_t *query, uint32_t position) {
    for (uint32_t i = 0; i < query->cursor_count; i++) {
        ecs_cursor_t *cursor = query->cursors[i];
        if (cursor->archetype_at == position) { cursor->chunk_at = cursor->row_at = 0; }
        if (cursor->archetype_at > position) { cursor->archetype_at--; }
    }
}

void ecs__query_trim(ecs_query_t *query) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->archetype_count; i++) {
        if (!ecs__archetype_stays(query->archetypes[i])) {
            step_back(query, kept);
            continue;
        }
        query->archetypes[kept] = query->archetypes[i];
        for (uint32_t k = 0; k < query->place_terms; k++) { /* maybe none: there is no array then */
            query->places[(size_t)kept * query->place_terms + k] =
                query->places[(size_t)i * query->place_terms + k];
        }
        kept++;
    }
    query->archetype_count = kept;
    query->place_count = kept * query->place_terms;
}

static int check_terms(ecs_world_t *world, const uint32_t *components, uint32_t count,
                       bool column) {
    for (uint32_t i = 0; i < count; i++) {
        if (components[i] >= world->component_count) {
            return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", components[i]);
        }
        if (column && world->components[components[i]].sparse != NULL) {
            return ecs__fail(world, ECS_E_INVALID,
                             "%s is sparse: name it in `with`, and get its values by id",
                             world->components[components[i]].name);
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
           same_terms(a->without, a->without_count, b->without, b->without_count) &&
           same_terms(a->changed, a->changed_count, b->changed, b->changed_count) &&
           same_terms(a->added, a->added_count, b->added, b->added_count);
}

static void add_columns(ecs_query_t *query, const uint32_t *components, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        query->columns[query->column_count++] = components[i];
    }
}

static int check_desc(ecs_world_t *world, const ecs_query_desc_t *d) {
    const struct {
        const uint32_t *list;
        uint32_t count;
        bool column;
    } terms[] = {{d->write, d->write_count, true},      {d->read, d->read_count, true},
                 {d->maybe, d->maybe_count, true},      {d->with, d->with_count, false},
                 {d->without, d->without_count, false}, {d->changed, d->changed_count, true},
                 {d->added, d->added_count, true}};
    uint32_t columns = 0;
    int rc = ECS_OK;
    for (size_t i = 0; rc == ECS_OK && i < sizeof terms / sizeof *terms; i++) {
        if (i < 3) { columns += terms[i].count; }
        if (terms[i].count > ECS_MAX_TERMS || columns > ECS_MAX_TERMS) {
            return ecs__fail(world, ECS_E_LIMIT, "a query names at most %d components",
                             (int)ECS_MAX_TERMS);
        }
        rc = check_terms(world, terms[i].list, terms[i].count, terms[i].column);
    }
    return rc;
}

static void query_free(ecs_query_t *query) {
    if (query == NULL) { return; }
    for (uint32_t j = 0; j < query->cursor_count; j++) {
        free(query->cursors[j]);
    }
    free(query->cursors);
    free(query->archetypes);
    free(query->places);
    free(query);
}

static uint32_t take_sparse(const ecs_world_t *world, const uint32_t *components, uint32_t count,
                            uint32_t *out) {
    uint32_t taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (world->components[components[i]].sparse != NULL) { out[taken++] = components[i]; }
    }
    return taken;
}

static bool is_among(const uint32_t *components, uint32_t count, uint32_t component) {
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        found = found || components[i] == component;
    }
    return found;
}

bool ecs__query_names(const ecs_query_t *query, uint32_t component) {
    const ecs_query_desc_t *d = &query->desc;
    return is_among(query->columns, query->column_count, component) ||
           is_among(d->with, d->with_count, component) ||
           is_among(d->without, d->without_count, component) ||
           is_among(d->changed, d->changed_count, component) ||
           is_among(d->added, d->added_count, component);
}

/* A query over the archetypes there are; NULL when memory is out. */
static ecs_query_t *query_make(ecs_world_t *world, const ecs_query_desc_t *desc) {
    ecs_query_t *query = ecs__calloc(1, sizeof *query);
    if (query == NULL) { return NULL; }
    query->world = world;
    query->desc = *desc;
    query->write_count = desc->write_count;
    add_columns(query, desc->write, desc->write_count);
    add_columns(query, desc->read, desc->read_count);
    add_columns(query, desc->maybe, desc->maybe_count);
    query->place_terms = query->column_count + desc->changed_count + desc->added_count;
    query->sparse_with_count = take_sparse(world, desc->with, desc->with_count, query->sparse_with);
    query->sparse_without_count =
        take_sparse(world, desc->without, desc->without_count, query->sparse_without);
    query->whole = query->place_terms == query->column_count &&
                   query->sparse_with_count + query->sparse_without_count == 0;
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        if (!ecs__query_reserve(query)) {
            query_free(query);
            return NULL;
        }
        ecs__query_add_archetype(query, world->ordered[i]);
    }
    return query;
}

int ecs_query_create(ecs_world_t *world, const ecs_query_desc_t *desc, ecs_query_t **out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    int rc = check_desc(world, desc);
    if (rc != ECS_OK) { return rc; }
    bool has_past = desc->changed_count > 0 || desc->added_count > 0;
    for (uint32_t i = 0; i < world->query_count && !has_past; i++) {
        *out = world->queries[i];
        if (same_desc(desc, &world->queries[i]->desc)) { return ECS_OK; }
    }
    ecs_query_t *query = query_make(world, desc);
    if (query == NULL ||
        !ECS__ROOM(world->queries, world->query_count + 1, world->query_capacity)) {
        query_free(query);
        return ecs__oom(world);
    }
    world->queries[world->query_count++] = query;
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

int ecs__queries_reserve(ecs_world_t *world, uint32_t archetypes) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        if (!ECS__ROOM(query->archetypes, archetypes, query->archetype_capacity) ||
            !ECS__ROOM(query->places, archetypes * query->place_terms, query->place_capacity)) {
            return ecs__oom(world);
        }
    }
    return ECS_OK;
}

void ecs__queries_refill(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        query->archetype_count = query->place_count = 0;
        query->since = 0;
        for (uint32_t k = 0; k < query->cursor_count; k++) {
            ecs_cursor_rewind(query->cursors[k]);
        }
        for (uint32_t k = 0; k < world->ordered_count; k++) {
            ecs__query_add_archetype(query, world->ordered[k]);
        }
    }
}

void ecs__query_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        query_free(world->queries[i]);
    }
    free(world->queries);
}

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

void ecs_cursor_close(ecs_cursor_t *cursor) {
    cursor->next_free = cursor->query->free_cursor;
    cursor->query->free_cursor = cursor;
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
    cursor->walks = true;
    cursor->began = world->shared.tick;
    if (!ends_ticks(query)) { return; }
    world->shared.tick++;
    if (query->write_count > 0) { cursor->began++; }
}

__attribute__((noinline)) static void walk_end(ecs_cursor_t *cursor) {
    ecs_query_t *query = cursor->query;
    query->since = cursor->began;
    if (ends_ticks(query) && query->write_count > 0) { query->world->shared.tick++; }
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
