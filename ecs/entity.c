/* Ids and records. A slot is free, reserved by a recorded spawn, alive, or retired. Free slots are
 * reused first in, first out, so that a generation of 20 bits lasts. */
#include <stdlib.h>

#include "internal.h"

int ecs__pages_make(ecs_world_t *world, uint32_t slots) {
    if (slots > world->max_slots) {
        return ecs__fail(world, ECS_E_LIMIT, "the world has room for %u entities, not %u",
                         world->max_slots, slots);
    }
    if (world->pages == NULL) {
        world->pages = ecs__calloc(ECS__MAX_PAGES, sizeof(ecs__page_t *));
        if (world->pages == NULL) { return ecs__oom(world); }
    }
    while (world->page_count * (uint64_t)ECS__PAGE_ROWS < slots) {
        if (ecs__ages_reserve(world, world->page_count + 1) != ECS_OK) { return ECS_E_MEMORY; }
        ecs__page_t *page = ecs__calloc(1, sizeof *page);
        if (page == NULL) { return ecs__oom(world); }
        world->pages[world->page_count++] = page;
    }
    return ECS_OK;
}

int ecs__entity_init(ecs_world_t *world, uint32_t max_entities) {
    world->max_slots = ECS__MAX_PAGES * ECS__PAGE_ROWS - 1u;
    world->free_head = world->free_tail = ECS__NONE;
    if (max_entities == 0) { return ECS_OK; }
    world->max_slots = max_entities;
    world->preallocated = true;
    return ecs__pages_make(world, max_entities);
}

static int no_room(ecs_world_t *world) {
    return ecs__fail(world, ECS_E_LIMIT, "the world has room for %u entities (max_entities)",
                     world->max_slots);
}

int ecs__entities_reserve(ecs_world_t *world, uint32_t count) {
    if (count <= world->free_count) { return ECS_OK; }
    uint32_t more = count - world->free_count;
    if (more > world->max_slots - world->slot_count) { return no_room(world); }
    return ecs__pages_make(world, world->slot_count + more);
}

static ecs__record_t *slot_new(ecs_world_t *world) {
    if (world->slot_count == world->max_slots) {
        (void)no_room(world);
        return NULL;
    }
    if (ecs__pages_make(world, world->slot_count + 1) != ECS_OK) { return NULL; }
    ecs__record_t *record = ecs__record_at(world, world->slot_count++);
    record->generation = 1;
    return record;
}

ecs_id_t ecs__entity_reserve(ecs_world_t *world) {
    uint32_t index = world->free_head;
    ecs__record_t *record = NULL;
    if (index != ECS__NONE) {
        record = ecs__record_at(world, index);
        world->free_head = record->row;
        world->free_count--;
        if (world->free_head == ECS__NONE) { world->free_tail = ECS__NONE; }
    } else {
        index = world->slot_count;
        record = slot_new(world);
        if (record == NULL) { return 0; }
    }
    record->archetype = ECS__RESERVED;
    record->row = 0;
    return ecs__id(index, record->generation);
}

void ecs__entity_free(ecs_world_t *world, uint32_t index) {
    ecs__record_t *record = ecs__record_at(world, index);
    record->scratch = 0;
    world->id_freed = true;
    if (record->generation == ECS__MAX_GENERATION) {
        record->archetype = ECS__RETIRED;
        return;
    }
    record->generation++;
    record->archetype = ECS__FREE;
    record->row = ECS__NONE;
    world->free_count++;
    if (world->free_tail == ECS__NONE) {
        world->free_head = index;
    } else {
        ecs__record_at(world, world->free_tail)->row = index;
    }
    world->free_tail = index;
}

void ecs__entity_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->page_count; i++) {
        ecs__node_t *nodes = world->pages[i]->nodes;
        for (uint32_t j = 0; nodes != NULL && j < ECS__PAGE_ROWS; j++) {
            free(nodes[j].name);
        }
        free(nodes);
        free(world->pages[i]);
    }
    free(world->pages);
    free(world->names);
}

bool ecs_alive(const ecs_world_t *world, ecs_id_t id) {
    const ecs__record_t *record = ecs__record_find(world, id);
    return record != NULL && ecs__record_alive(record);
}

bool ecs_has(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    return ecs__place(world, id, component).slot != NULL;
}

/* Offset of the cell in the maps, or UINT64_MAX. */
static uint64_t cell_offset(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    ecs__place_t place = ecs__place(world, id, component);
    if (place.slot == NULL || place.slot->column == ECS__NONE) { return UINT64_MAX; }
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(place.table, place.row, &at);
    return ecs__cell(chunk, place.slot, at);
}

const void *ecs_view(ecs_world_t *world, ecs_id_t id, uint32_t component) {
    uint64_t offset = cell_offset(world, id, component);
    world->memory.maps.view_out = true;
    return offset == UINT64_MAX ? NULL : world->memory.maps.view.map + offset;
}

const char *ecs__cell_read(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    uint64_t offset = cell_offset(world, id, component);
    return offset == UINT64_MAX ? NULL : world->memory.maps.core + offset;
}

int ecs_write_begin(ecs_world_t *world, uint64_t owner) {
    int rc = ecs__guard(world, 1u << ECS_PHASE_WRITE);
    if (rc != ECS_OK) { return rc; }
    ecs__ages_of_writer(world);
    world->shared.tick++;
    world->writer = owner;
    world->writer_runs = true;
    return ECS_OK;
}

int ecs_provenance(ecs_world_t *world, ecs_id_t id, uint32_t component, ecs_stamp_t *out) {
    ecs__place_t place = ecs__place(world, id, component);
    if (place.slot == NULL) {
        return ecs__fail(world, ECS_E_ABSENT, "the entity lacks %s",
                         ecs_component_name(world, component));
    }
    if (place.slot->column == ECS__NONE) {
        return ecs__fail(world, ECS_E_INVALID, "%s is a tag and has no values",
                         ecs_component_name(world, component));
    }
    uint32_t at = 0;
    *out = ecs__chunk_of(place.table, place.row, &at)->stamp[place.slot->column];
    return ECS_OK;
}

void *ecs_write(ecs_world_t *world, ecs_id_t id, uint32_t component) {
    if (ecs__guard(world, 1u << ECS_PHASE_WRITE) != ECS_OK) { return NULL; }
    ecs__place_t place = ecs__place(world, id, component);
    if (place.slot == NULL || place.slot->column == ECS__NONE) {
        (void)ecs__fail(world, place.slot == NULL ? ECS_E_ABSENT : ECS_E_INVALID,
                        "no such value to write");
        return NULL;
    }
    uint32_t at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(place.table, place.row, &at);
    ecs_stamp_t *stamp = &chunk->stamp[place.slot->column];
    ecs__touch(world, component);
    stamp->changed = world->shared.tick;
    stamp->owner = world->writer;
    stamp->place = 0;
    ecs__window_open(&world->memory.maps);
    return world->memory.maps.window.map + ecs__cell(chunk, place.slot, at);
}

ecs_id_t ecs_entity_next(const ecs_world_t *world, uint32_t *at) {
    while (*at < world->slot_count) {
        uint32_t index = (*at)++;
        const ecs__record_t *record = ecs__record_at(world, index);
        if (ecs__record_alive(record)) { return ecs__id(index, record->generation); }
    }
    return 0;
}

uint32_t ecs_entity_components(const ecs_world_t *world, ecs_id_t id, uint32_t *out, uint32_t cap) {
    const ecs__record_t *record = ecs__record_find(world, id);
    if (record == NULL || !ecs__record_alive(record)) { return 0; }
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    uint32_t count = 0, at = 0;
    for (uint32_t i = 0; i <= archetype->slot_count; i++) {
        bool last = i == archetype->slot_count;
        uint32_t component = last ? ECS__NONE : archetype->slots[i].component;
        for (; at < world->sparse_count && world->sparse[at] < component; at++) {
            const ecs__sparse_t *store = world->components[world->sparse[at]].sparse;
            if (ecs__sparse_row(store, ecs__index(id)) == ECS__NONE) { continue; }
            if (count < cap) { out[count] = world->sparse[at]; }
            count++;
        }
        if (!last && count < cap) { out[count] = component; }
        count += !last;
    }
    return count;
}
