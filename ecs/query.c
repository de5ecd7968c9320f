/* Queries keep the list of archetypes they match; cursors walk its chunks, see cursor.c. */
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

void ecs__query_free(ecs_query_t *query) {
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
            ecs__query_free(query);
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
        if (!same_desc(desc, &(*out)->desc)) { continue; }
        (*out)->holders++;
        (*out)->released = false;
        return ECS_OK;
    }
    ecs_query_t *query = query_make(world, desc);
    if (query == NULL ||
        !ECS__ROOM(world->queries, world->query_count + 1, world->query_capacity)) {
        ecs__query_free(query);
        return ecs__oom(world);
    }
    query->holders = 1;
    world->queries[world->query_count++] = query;
    *out = query;
    return ECS_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Place of a query in the world's list; query_count when it is not there. */
static uint32_t place_of(const ecs_world_t *world, const ecs_query_t *query) {
    uint32_t at = 0;
    while (at < world->query_count && world->queries[at] != query) {
        at++;
    }
    return at;
}

bool ecs__query_known(const ecs_world_t *world, const ecs_query_t *query) {
    return place_of(world, query) < world->query_count;
}

int ecs_query_hold(ecs_world_t *world, const ecs_query_t *query) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    uint32_t at = place_of(world, query);
    if (at == world->query_count) { return ecs__fail(world, ECS_E_UNKNOWN, "no such query"); }
    world->queries[at]->holders++;
    world->queries[at]->released = false;
    return ECS_OK;
}

/* Takes a query out of the world's list; the others stay in order. */
static void end(ecs_world_t *world, uint32_t at) {
    ecs_query_t *query = world->queries[at];
    world->query_count--;
    memmove(world->queries + at, world->queries + at + 1,
            (world->query_count - at) * sizeof(ecs_query_t *));
    if (query->open == 0) {
        ecs__query_free(query);
        return;
    }
    query->ended = true;
    query->archetype_count = query->place_count = 0;
    query->next = world->ended_queries;
    world->ended_queries = query;
}

int ecs_query_release(ecs_world_t *world, const ecs_query_t *query) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    uint32_t at = place_of(world, query);
    if (at == world->query_count) { return ecs__fail(world, ECS_E_UNKNOWN, "no such query"); }
    if (query->holders == 0) {
        return ecs__fail(world, ECS_E_INVALID, "the query was released by everyone");
    }
    ecs_query_t *known = world->queries[at];
    known->released = --known->holders == 0;
    if (known->released && known->watches == 0) { end(world, at); }
    return ECS_OK;
}

void ecs__query_watched(ecs_world_t *world, const ecs_query_t *query) {
    world->queries[place_of(world, query)]->watches++;
}

void ecs__query_unwatched(ecs_world_t *world, const ecs_query_t *query) {
    uint32_t at = place_of(world, query);
    world->queries[at]->watches--;
    if (query->released && query->watches == 0) { end(world, at); }
}

void ecs__query_holders_reset(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->query_count; i++) {
        world->queries[i]->holders = 0;
    }
}

static void free_ended(ecs_world_t *world) {
    while (world->ended_queries != NULL) {
        ecs_query_t *query = world->ended_queries;
        world->ended_queries = query->next;
        ecs__query_free(query);
    }
}

void ecs__cursors_reset(ecs_world_t *world) {
    free_ended(world);
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs_query_t *query = world->queries[i];
        query->free_cursor = NULL;
        query->open = query->cursor_count;
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
    free_ended(world);
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs__query_free(world->queries[i]);
    }
    free(world->queries);
}
