/* Sparse components: those that come and go often, or that few entities have. Their values lie in a
 * table of their own, so that an entity that gets or loses one does not move.
 *
 *   slot ─▶ pages: row + 1 of each slot, 0: it has none ─▶ row of the table: id, value
 *
 * The table is an archetype that no query and no entity knows. */
#include <stdlib.h>

#include "internal.h"

static void store_free(ecs__sparse_t *store) {
    if (store == NULL) { return; }
    for (uint32_t i = 0; i < store->page_count; i++) {
        free(store->pages[i]);
    }
    free(store->pages);
    ecs__archetype_free(store->table);
    free(store);
}

void ecs__sparse_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->component_count; i++) {
        store_free(world->components[i].sparse);
    }
    free(world->sparse);
}

int ecs_component_sparse(ecs_world_t *world, uint32_t component) {
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    ecs__component_t *known = &world->components[component];
    if (known->sparse != NULL) { return ECS_OK; }
    int rc = ecs__schema_guard(world);
    if (rc != ECS_OK) { return rc; }
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        if (ecs__slot(world->ordered[i], component) != NULL) {
            return ecs__fail(world, ECS_E_CONFLICT, "%s: entities had it already", known->name);
        }
    }
    for (uint32_t i = 0; i < world->query_count; i++) {
        if (ecs__query_names(world->queries[i], component)) {
            return ecs__fail(world, ECS_E_CONFLICT, "%s: a query names it already", known->name);
        }
    }
    ecs__sparse_t *store = ecs__calloc(1, sizeof *store);
    if (store != NULL) { store->table = ecs__archetype_make(world, &component, 1); }
    if (store == NULL || store->table == NULL ||
        !ECS__ROOM(world->sparse, world->sparse_count + 1, world->sparse_capacity)) {
        store_free(store);
        return ecs__oom(world);
    }
    store->table->index = ECS__NONE;
    known->sparse = store;
    uint32_t at = world->sparse_count++; /* in order of components */
    for (; at > 0 && world->sparse[at - 1] > component; at--) {
        world->sparse[at] = world->sparse[at - 1];
    }
    world->sparse[at] = component;
    return ECS_OK;
}

bool ecs_component_is_sparse(const ecs_world_t *world, uint32_t component) {
    return component < world->component_count && world->components[component].sparse != NULL;
}

int ecs__sparse_page(ecs_world_t *world, ecs__sparse_t *store, uint32_t index) {
    uint32_t page = index / ECS__PAGE_ROWS;
    if (!ECS__ROOM(store->pages, page + 1, store->page_capacity)) { return ecs__oom(world); }
    for (; store->page_count <= page; store->page_count++) {
        store->pages[store->page_count] = NULL;
    }
    if (store->pages[page] == NULL) {
        store->pages[page] = ecs__calloc(ECS__PAGE_ROWS, sizeof **store->pages);
    }
    return store->pages[page] == NULL ? ecs__oom(world) : ECS_OK;
}

static uint32_t *row_of(const ecs__sparse_t *store, uint32_t index) {
    return &store->pages[index / ECS__PAGE_ROWS][index % ECS__PAGE_ROWS];
}

uint32_t ecs__sparse_add(ecs_world_t *world, ecs__sparse_t *store, ecs_id_t id) {
    uint32_t row = ecs__row_add(world, store->table, id);
    *row_of(store, ecs__index(id)) = row + 1;
    return row;
}

void ecs__sparse_remove(ecs_world_t *world, ecs__sparse_t *store, uint32_t index) {
    uint32_t row = *row_of(store, index) - 1;
    *row_of(store, index) = 0;
    ecs_id_t moved = ecs__row_take(world, store->table, row);
    if (moved != 0) { *row_of(store, ecs__index(moved)) = row + 1; }
}

void ecs__sparse_clear(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->sparse_count; i++) {
        ecs__sparse_t *store = world->components[world->sparse[i]].sparse;
        ecs__chunks_free(world, store->table, 0);
        store->table->row_count = 0;
        for (uint32_t k = 0; k < store->page_count; k++) {
            free(store->pages[k]);
        }
        store->page_count = 0;
    }
}
