/* Builds the world that a snapshot describes, beside the one that is there, and changes them over
 * at the end. */
#include <stdlib.h>

#include "snapshot.h"

#define RESTORE_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE)
enum { ALIGN = 8 };

/* What a restore replaces: these members of the world, as they lie there. */
typedef struct {
    ecs__page_t **pages;
    uint32_t page_count, slot_count, free_head, free_tail, free_count;
    ecs__name_t *names;
    uint32_t name_count, name_used, name_capacity;
    ecs__archetype_t **archetypes;
    uint32_t archetype_count, archetype_capacity;
    uint32_t *free_archetypes, free_archetype_count, free_archetype_capacity;
    ecs__archetype_t **ordered;
    uint32_t ordered_count, ordered_capacity, empty_count;
    uint32_t *archetype_table, archetype_table_len;
} content_t;

/* Puts `content` into the world and returns what was there. */
static content_t content_swap(ecs_world_t *world, content_t content) {
    content_t old;
#define CONTENT_SWAP(member)                                                                       \
    old.member = world->member;                                                                    \
    world->member = content.member
    CONTENT_SWAP(pages);
    CONTENT_SWAP(page_count);
    CONTENT_SWAP(slot_count);
    CONTENT_SWAP(free_head);
    CONTENT_SWAP(free_count);
    CONTENT_SWAP(free_tail);
    CONTENT_SWAP(names);
    CONTENT_SWAP(name_count);
    CONTENT_SWAP(name_used);
    CONTENT_SWAP(name_capacity);
    CONTENT_SWAP(archetypes);
    CONTENT_SWAP(archetype_count);
    CONTENT_SWAP(archetype_capacity);
    CONTENT_SWAP(free_archetypes);
    CONTENT_SWAP(free_archetype_count);
    CONTENT_SWAP(free_archetype_capacity);
    CONTENT_SWAP(ordered);
    CONTENT_SWAP(ordered_count);
    CONTENT_SWAP(ordered_capacity);
    CONTENT_SWAP(empty_count);
    CONTENT_SWAP(archetype_table);
    CONTENT_SWAP(archetype_table_len);
#undef CONTENT_SWAP
    return old;
}

/* Frees `content`, which is not what the world has now. */
static void content_free(ecs_world_t *world, content_t content) {
    content_t kept = content_swap(world, content);
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        ecs__chunks_free(world, world->ordered[i], 0);
    }
    ecs__archetype_fini(world);
    ecs__entity_fini(world);
    (void)content_swap(world, kept);
}

/* ---- building ------------------------------------------------------------------------------- */

/* All slots retired: rows and the free list make the others what they are. */
static int build_slots(const ecs__restore_t *restore) {
    ecs_world_t *world = restore->world;
    int rc = ecs__pages_make(world, restore->slot_count);
    if (rc == ECS_OK && world->preallocated) { rc = ecs__pages_make(world, world->max_slots); }
    if (rc != ECS_OK) { return rc; }
    world->slot_count = restore->slot_count;
    world->free_count = restore->free_count;
    for (uint32_t i = 0; i < restore->slot_count; i++) {
        *ecs__record_at(world, i) = (ecs__record_t){
            .generation = ecs__u32_at(restore->generations, i), .archetype = ECS__RETIRED};
    }
    for (uint32_t i = restore->free_count; i > 0; i--) {
        uint32_t index = ecs__u32_at(restore->free_list, i - 1);
        ecs__record_t *record = ecs__record_at(world, index);
        record->archetype = ECS__FREE;
        record->row = world->free_head;
        world->free_head = index;
        if (world->free_tail == ECS__NONE) { world->free_tail = index; }
    }
    return ECS_OK;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int build_archetype(const ecs__restore_t *restore, uint32_t index) {
    const ecs__restore_archetype_t *a = &restore->archetypes[index];
    uint32_t list[ECS_MAX_COMPONENTS];
    for (uint32_t i = 0; i < a->component_count; i++) {
        list[i] = restore->components[ecs__u32_at(a->components, i)];
    }
    qsort(list, a->component_count, sizeof list[0], compare_u32);
    const ecs__archetype_t *made = ecs__archetype_of(restore->world, list, a->component_count);
    if (made == NULL) { return ECS_E_MEMORY; }
    if (made->index == index) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_INVALID, "archetype %u is there twice", index);
}

/* Copies ids and points their records at the rows. */
static void build_ids(ecs_world_t *world, const ecs__archetype_t *archetype,
                      const ecs__chunk_t *chunk, const char *ids) {
    memcpy(world->memory.maps.core + chunk->block_offset, ids, chunk->count * sizeof(ecs_id_t));
    for (uint32_t i = 0; i < chunk->count; i++) {
        ecs_id_t id;
        memcpy(&id, ids + i * sizeof id, sizeof id);
        ecs__record_t *record = ecs__record_at(world, ecs__index(id));
        record->archetype = archetype->index;
        record->row = archetype->row_count + i;
    }
}

static int build_chunk(const ecs__restore_t *restore, ecs__part_t *part, uint32_t index,
                       uint32_t rows) {
    ecs_world_t *world = restore->world;
    const ecs__restore_archetype_t *a = &restore->archetypes[index];
    ecs__archetype_t *archetype = world->archetypes[index];
    ecs__chunk_t *chunk = ecs__chunk_append(
        world, archetype, archetype->chunk_count == 0 ? a->first_capacity : a->chunk_rows);
    if (chunk == NULL) { return ECS_E_MEMORY; }
    const char *changed = ecs__part_take(part, a->column_count * sizeof(uint64_t));
    const char *added = ecs__part_take(part, a->column_count * sizeof(uint64_t));
    chunk->count = rows;
    build_ids(world, archetype, chunk, ecs__part_take(part, rows * sizeof(ecs_id_t)));
    for (uint32_t i = 0, column = 0; i < a->component_count; i++) {
        uint32_t component = restore->components[ecs__u32_at(a->components, i)];
        const ecs__slot_t *slot = ecs__slot(archetype, component);
        if (slot->column == ECS__NONE) { continue; }
        chunk->stamp[slot->column] = (ecs_stamp_t){.changed = ecs__u64_at(changed, column),
                                                   .added = ecs__u64_at(added, column)};
        column++;
        size_t bytes = (size_t)rows * slot->size_bytes;
        char *values = world->memory.maps.core + ecs__cell(chunk, slot, 0);
        memcpy(values, ecs__part_take(part, ecs__align(bytes, ALIGN)), bytes);
        ecs__numbers_tame(&world->components[component], values, rows);
    }
    if (archetype->row_count == 0 && rows > 0) { world->empty_count--; }
    archetype->row_count += rows;
    return ECS_OK;
}

static int build_rows(const ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_ROWS];
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < restore->archetype_count; i++) {
        const ecs__restore_archetype_t *a = &restore->archetypes[i];
        uint32_t left = a->row_count;
        for (uint32_t k = 0; rc == ECS_OK && k < a->chunk_count; k++) {
            uint32_t rows = left < a->chunk_rows ? left : a->chunk_rows;
            rc = build_chunk(restore, &part, i, rows);
            left -= rows;
        }
    }
    return rc;
}

/* So many rows of a sparse component: ticks, ids, values. */
static int build_sparse_part(const ecs__restore_t *restore, ecs__part_t *part, uint32_t component,
                             uint32_t rows) {
    ecs_world_t *world = restore->world;
    ecs__sparse_t *store = world->components[component].sparse;
    uint32_t size = world->components[component].size_bytes, first = store->table->row_count,
             at = 0;
    const char *ticks =
        ecs__part_take(part, 2 * (size_t)store->table->column_count * sizeof(uint64_t));
    const char *ids = ecs__part_take(part, rows * sizeof(ecs_id_t));
    const char *values = ecs__part_take(part, ecs__align((size_t)rows * size, ALIGN));
    for (uint32_t i = 0; i < rows; i++) {
        ecs_id_t id;
        memcpy(&id, ids + i * sizeof id, sizeof id);
        int rc = ecs__sparse_page(world, store, ecs__index(id));
        if (rc != ECS_OK) { return rc; }
        (void)ecs__sparse_add(world, store, id);
    }
    if (size == 0) { return ECS_OK; }
    ecs__chunk_t *chunk = ecs__chunk_of(store->table, first, &at);
    char *to = world->memory.maps.core + ecs__cell(chunk, store->table->slots, at);
    memcpy(to, values, (size_t)rows * size);
    ecs__numbers_tame(&world->components[component], to, rows);
    chunk->stamp[0] =
        (ecs_stamp_t){.changed = ecs__u64_at(ticks, 0), .added = ecs__u64_at(ticks, 1)};
    return ECS_OK;
}

static int build_sparse(const ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_SPARSE];
    uint32_t count = ecs__u32_at(ecs__part_take(&part, 2 * sizeof(uint32_t)), 0);
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        const char *head = ecs__part_take(&part, 2 * sizeof(uint32_t));
        uint32_t component = restore->components[ecs__u32_at(head, 0)];
        uint32_t rows = ecs__u32_at(head, 1), most = 0;
        ecs__archetype_t *table = restore->world->components[component].sparse->table;
        rc = ecs__rows_reserve(restore->world, table, rows);
        for (uint32_t left = rows; rc == ECS_OK && left > 0; left -= most) {
            most = left < table->chunk_rows ? left : table->chunk_rows;
            rc = build_sparse_part(restore, &part, component, most);
        }
    }
    return rc;
}

static int build_tree(const ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_TREE];
    uint32_t count = ecs__u32_at(ecs__part_take(&part, 2 * sizeof(uint32_t)), 0);
    for (uint32_t i = 0; i < count; i++) {
        const char *head = ecs__part_take(&part, 3 * sizeof(uint32_t));
        uint32_t slot = ecs__u32_at(head, 0), length = ecs__u32_at(head, 2);
        char name[ECS_NAME_BYTES] = {0};
        memcpy(name, ecs__part_take(&part, length), length);
        int rc = ecs__node_link(restore->world, slot, ecs__u32_at(head, 1), name);
        if (rc == ECS_E_EXISTS) {
            return ecs__restore_refuse(restore, ECS_E_INVALID,
                                       "tree: slot %u: a sibling has its name", slot);
        }
        if (rc != ECS_OK) { return rc; }
    }
    return ECS_OK;
}

static int build(const ecs__restore_t *restore) {
    int rc = build_slots(restore);
    for (uint32_t i = 0; rc == ECS_OK && i < restore->archetype_count; i++) {
        rc = build_archetype(restore, i);
    }
    if (rc == ECS_OK) { rc = build_rows(restore); }
    if (rc == ECS_OK) { rc = build_sparse(restore); }
    if (rc == ECS_OK) { rc = build_tree(restore); }
    return rc;
}

/* ---- changing over -------------------------------------------------------------------------- */

/* Whatever the world says about its old content. */
static void forget(const ecs__restore_t *restore) {
    ecs_world_t *world = restore->world;
    world->shared.tick = restore->tick;
    world->shared.alive = restore->slot_count - restore->free_count - restore->retired_count;
    world->shared.epoch++;
    world->touched_count = world->result_count = world->event_count = 0;
    for (uint32_t i = 0; i < world->watch_used; i++) {
        world->watches[i].seen_tick = 0;
    }
    for (uint32_t i = 0; i < world->component_count; i++) {
        ecs__touch(world, i);
    }
    world->id_freed = true; /* the next poll tests every watch */
    ecs__views_stale(&world->memory.maps);
}

static int replace(const ecs__restore_t *restore) {
    ecs_world_t *world = restore->world;
    uint32_t queries = world->query_count;
    content_t old =
        content_swap(world, (content_t){.free_head = ECS__NONE, .free_tail = ECS__NONE});
    world->query_count = 0; /* they learn of the new archetypes when it is sure that those stay */
    int rc = build(restore);
    world->query_count = queries;
    if (rc == ECS_OK) { rc = ecs__queries_reserve(world, world->ordered_count); }
    if (rc != ECS_OK) {
        ecs__sparse_clear(world); /* had no rows before, either: there was no entity */
        content_free(world, content_swap(world, old));
        return rc;
    }
    content_free(world, old);
    ecs__queries_refill(world);
    ecs__ages_clear(world);
    forget(restore);
    return ECS_OK;
}

static int check_target(ecs_world_t *world) {
    int rc = ecs__guard(world, RESTORE_PHASES);
    uint64_t owner = 0;
    if (rc != ECS_OK) { return rc; }
    if (ecs_batch_open(world, &owner) || ecs_batch_count(world) > 0) {
        return ecs__fail(world, ECS_E_PHASE, "snapshot: batches wait in this world");
    }
    if (world->shared.alive > 0) {
        return ecs__fail(world, ECS_E_INVALID, "snapshot: this world has %u entities",
                         world->shared.alive);
    }
    return ECS_OK;
}

int ecs_snapshot_restore(ecs_world_t *world, const void *bytes, size_t length) {
    int rc = check_target(world);
    if (rc != ECS_OK) { return rc; }
    ECS__ENTER(world);
    ecs__restore_t restore = {.world = world};
    rc = ecs__restore_check(&restore, bytes, length);
    if (rc == ECS_OK) { rc = replace(&restore); }
    ecs__restore_fini(&restore);
    ECS__LEAVE(world);
    return rc;
}
