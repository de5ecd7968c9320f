/* Many entities in one command: spawned with columns of values, or many commands in one call.
 *
 *   block ─▶ │ id id id ... │ values of component 0 ... │ values of component 1 ... │
 *
 * Bulk spawns are carried out before the other commands of an apply, which see their entities as if
 * they had been there: ECS__COMING in a record says so meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { ALIGN = 64, SPARE_APPLIES = 64 };

/* Where the k-th column begins; the end of the block for k = component_count. */
static size_t column_at(const ecs_world_t *world, const ecs__bulk_t *bulk, uint32_t column) {
    size_t at = ecs__align((size_t)bulk->count * sizeof(ecs_id_t), ALIGN);
    for (uint32_t k = 0; k < column; k++) {
        size_t size = world->components[bulk->components[k]].size_bytes;
        at = ecs__align(at + bulk->count * size, ALIGN);
    }
    return at;
}

/* ---- recording ------------------------------------------------------------------------------ */

static int check_components(ecs_world_t *world, const uint32_t *components, uint32_t count) {
    if (count > ECS_MAX_TERMS) {
        return ecs__fail(world, ECS_E_LIMIT, "a bulk spawn names at most %d components",
                         (int)ECS_MAX_TERMS);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (components[i] >= world->component_count) {
            return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", components[i]);
        }
        if (world->components[components[i]].sparse != NULL) {
            return ecs__fail(world, ECS_E_INVALID, "%s is sparse: insert it one by one",
                             world->components[components[i]].name);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (components[k] == components[i]) {
                return ecs__fail(world, ECS_E_INVALID, "%s is named twice",
                                 world->components[components[i]].name);
            }
        }
    }
    return ECS_OK;
}

void ecs__blocks_free(ecs_world_t *world, ecs__stream_t *stream, uint32_t first) {
    while (stream->block_count > first) {
        ecs__block_t block = stream->blocks[--stream->block_count];
        if (block.bytes > world->spare.bytes) {
            free(world->spare.at);
            world->spare = block;
        } else {
            free(block.at);
        }
        world->spare_age = 0;
    }
}

void ecs__spare_age(ecs_world_t *world) {
    if (world->spare.at == NULL || ++world->spare_age < SPARE_APPLIES) { return; }
    free(world->spare.at);
    world->spare = (ecs__block_t){0};
}

/* Memory that was used a moment ago need not be mapped again. */
static ecs__block_t block_take(ecs_world_t *world, size_t bytes) {
    ecs__block_t block = world->spare;
    if (block.bytes >= bytes) {
        world->spare = (ecs__block_t){0};
        return block;
    }
    block = (ecs__block_t){.bytes = bytes};
    if (posix_memalign((void **)&block.at, ALIGN, bytes) != 0) { (void)ecs__oom(world); }
    return block;
}

/* The block, with ids reserved and columns of defaults; NULL with nothing reserved. */
static char *block_make(ecs_world_t *world, const ecs__bulk_t *bulk) {
    ecs__stream_t *stream = &world->stream[world->recording];
    if (ecs__entities_reserve(world, bulk->count) != ECS_OK) { return NULL; }
    ecs__block_t made = block_take(world, column_at(world, bulk, bulk->component_count) + ALIGN);
    if (made.at == NULL) { return NULL; }
    stream->blocks[stream->block_count++] = made;
    char *block = made.at;
    ecs_id_t *ids = (ecs_id_t *)(void *)block;
    for (uint32_t i = 0; i < bulk->count; i++) {
        ids[i] = ecs__entity_reserve(world);
    }
    for (uint32_t k = 0; k < bulk->component_count; k++) {
        const ecs__component_t *component = &world->components[bulk->components[k]];
        char *to = block + column_at(world, bulk, k);
        for (uint32_t i = 0; i < bulk->count; i++, to += component->size_bytes) {
            memcpy(to, component->default_value, component->size_bytes);
        }
    }
    return block;
}

static ecs__bulk_t *record_bulk(ecs_world_t *world, const ecs__bulk_t *wanted) {
    ecs__stream_t *stream = &world->stream[world->recording];
    ecs__pos_t before = ecs__stream_pos(world);
    ecs__cmd_t *cmd = ecs__cmd_record(world, ECS_OP_SPAWN_MANY, 0, 0, sizeof(ecs__bulk_t));
    if (cmd == NULL) { return NULL; }
    bool room = ECS__ROOM(stream->spawned, stream->spawned_count + 1, stream->spawned_capacity) &&
                ECS__ROOM(stream->blocks, stream->block_count + 1, stream->block_capacity);
    if (!room) { (void)ecs__oom(world); }
    ecs__bulk_t *bulk = ecs__cmd_bulk(cmd);
    *bulk = *wanted;
    bulk->block = room ? block_make(world, bulk) : NULL;
    if (bulk->block == NULL) {
        ecs__stream_rewind(world, before);
        return NULL;
    }
    stream->spawned[stream->spawned_count++] =
        (ecs__spawned_t){.many = ecs__bulk_ids(bulk), .count = bulk->count, .at = before};
    return bulk;
}

const ecs_id_t *ecs_record_spawn_many(ecs_world_t *world, uint32_t count,
                                      const uint32_t *components, uint32_t component_count,
                                      void **columns) {
    ECS__ENTER(world);
    ecs__bulk_t wanted = {.count = count, .component_count = component_count};
    const ecs__bulk_t *bulk = NULL;
    if (check_components(world, components, component_count) == ECS_OK) {
        for (uint32_t k = 0; k < component_count; k++) {
            wanted.components[k] = components[k];
        }
        bulk = record_bulk(world, &wanted);
    }
    for (uint32_t k = 0; bulk != NULL && k < component_count; k++) {
        bool tag = world->components[components[k]].size_bytes == 0;
        columns[k] = tag ? NULL : bulk->block + column_at(world, bulk, k);
    }
    ECS__LEAVE(world);
    return bulk == NULL ? NULL : ecs__bulk_ids(bulk);
}

int ecs_record_many(ecs_world_t *world, uint32_t op, uint32_t component, double mask,
                    uint32_t count, const ecs_id_t *ids, const void *values) {
    ecs__stream_t *stream = &world->stream[world->recording];
    ecs__pos_t before = ecs__stream_pos(world);
    ECS__ENTER(world);
    size_t size = ecs_component_size_bytes(world, component);
    const char *value = values;
    int rc = ecs__record_check(world, op, component, mask);
    if (rc == ECS_OK && op == ECS_OP_EXPECT) {
        rc = ecs__fail(world, ECS_E_INVALID, "operation %u is not for many", op);
    }
    for (uint32_t i = 0; i < count && rc == ECS_OK; i++, value += size) {
        void *slot = ecs_record(world, op, ids[i], component, mask);
        if (slot == NULL) {
            rc = world->error_code;
        } else if (size > 0) {
            memcpy(slot, value, size);
        }
    }
    if (rc != ECS_OK && rc != ECS_E_THREAD && stream->open) { ecs__stream_rewind(world, before); }
    ECS__LEAVE(world);
    return rc;
}

/* ---- applying ------------------------------------------------------------------------------- */

const ecs__bulk_t *ecs__bulk_of(const ecs_world_t *world, const ecs__record_t *record) {
    uint32_t low = 0, high = world->bulk_count; /* the last whose base is not behind the row */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (world->bulks[middle]->base <= record->row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return world->bulks[low];
}

/* An earlier command has named the id, and found nobody: from now on the entity is as if it were
 * there. */
static void foreseen(const ecs_world_t *world, const ecs__record_t *record) {
    ecs__touched_t *entry = &world->touched[record->scratch - 1];
    entry->before = entry->after = ecs__bulk_of(world, record)->archetype;
    entry->dead_at = 0;
}

/* How many of its components are observed. */
static uint32_t observed_count(const ecs_world_t *world, const ecs__bulk_t *bulk) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < bulk->component_count; k++) {
        count += world->components[bulk->components[k]].observed != 0;
    }
    return count;
}

int ecs__bulk_validate(ecs_world_t *world, ecs__cmd_t *cmd, uint64_t owner) {
    ecs__bulk_t *bulk = ecs__cmd_bulk(cmd);
    uint32_t archetype = 0;
    int rc = ECS_OK;
    for (uint32_t k = 0; rc == ECS_OK && k < bulk->component_count; k++) {
        rc = ecs__archetype_with(world, archetype, bulk->components[k], &archetype);
    }
    if (rc == ECS_OK) { rc = ecs__note_growing(world, world->archetypes[archetype]); }
    if (rc != ECS_OK) { return rc; }
    if (!ECS__ROOM(world->bulks, world->bulk_count + 1, world->bulk_capacity)) {
        return ecs__oom(world);
    }
    world->bulks[world->bulk_count++] = bulk;
    bulk->archetype = archetype;
    bulk->owner = owner;
    bulk->place = ecs__cmd_place(cmd);
    bulk->base = world->bulk_rows;
    world->bulk_rows += bulk->count;
    world->archetypes[archetype]->coming += bulk->count;
    world->event_bound += (uint64_t)bulk->count * observed_count(world, bulk);
    const ecs_id_t *ids = ecs__bulk_ids(bulk);
    for (uint32_t i = 0; i < bulk->count; i++) {
        ecs__record_t *record = ecs__record_at(world, ecs__index(ids[i]));
        record->archetype = ECS__COMING;
        record->row = bulk->base + i;
        if (record->scratch != 0) { foreseen(world, record); }
    }
    return ECS_OK;
}

void ecs__bulk_undo(ecs_world_t *world, const ecs__bulk_t *bulk) {
    for (uint32_t i = world->bulk_count; i > 0; i--) {
        if (world->bulks[i - 1] != bulk) { continue; } /* never looked at */
        world->archetypes[bulk->archetype]->coming -= bulk->count;
        world->bulk_count--;
        memmove(&world->bulks[i - 1], &world->bulks[i],
                (world->bulk_count - (i - 1)) * sizeof(ecs__bulk_t *));
        return;
    }
}

/* So many rows of the bulk, from the first on, go to one chunk. */
static void fill_chunk(ecs_world_t *world, const ecs__bulk_t *bulk, uint32_t first, uint32_t rows) {
    ecs__archetype_t *archetype = world->archetypes[bulk->archetype];
    uint32_t at = 0, row = archetype->row_count;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    const ecs_id_t *ids = ecs__bulk_ids(bulk) + first;
    char *core = world->memory.maps.core;
    memcpy(core + chunk->block_offset + at * sizeof *ids, ids, rows * sizeof *ids);
    for (uint32_t k = 0; k < bulk->component_count; k++) {
        const ecs__slot_t *slot = ecs__slot(archetype, bulk->components[k]);
        if (slot->column == ECS__NONE) { continue; }
        memcpy(core + ecs__cell(chunk, slot, at),
               bulk->block + column_at(world, bulk, k) + (size_t)first * slot->size_bytes,
               (size_t)rows * slot->size_bytes);
    }
    for (uint32_t i = 0; i < rows; i++) {
        ecs__record_t *record = ecs__record_at(world, ecs__index(ids[i]));
        record->archetype = bulk->archetype;
        record->row = row + i;
    }
    chunk->count += rows;
    if (archetype->row_count == 0) { world->empty_count--; }
    archetype->row_count += rows;
}

static void raise_added(ecs_world_t *world, const ecs__bulk_t *bulk) {
    const ecs_id_t *ids = ecs__bulk_ids(bulk);
    const ecs__archetype_t *archetype = world->archetypes[bulk->archetype];
    for (uint32_t i = 0; i < bulk->count; i++) {
        for (uint32_t k = 0; k < archetype->slot_count; k++) {
            ecs_event_t event = {ids[i], archetype->slots[k].component, ECS_EVENT_ADDED,
                                 bulk->owner};
            ecs__event(world, ECS_EVENT_ADDED, &event);
        }
    }
}

static void fold_one(ecs_world_t *world, const ecs__bulk_t *bulk) {
    ecs__archetype_t *archetype = world->archetypes[bulk->archetype];
    uint64_t tick = world->shared.tick;
    ecs_stamp_t stamp = {tick, bulk->owner, tick, bulk->place, 0};
    for (uint32_t done = 0; done < bulk->count;) {
        uint32_t at = 0, rows = bulk->count - done;
        ecs__chunk_t *chunk = ecs__chunk_of(archetype, archetype->row_count, &at);
        if (rows > chunk->capacity - at) { rows = chunk->capacity - at; }
        for (uint32_t i = 0; i < archetype->column_count; i++) {
            chunk->stamp[i] = stamp;
        }
        fill_chunk(world, bulk, done, rows);
        done += rows;
    }
    for (uint32_t k = 0; k < bulk->component_count && bulk->count > 0; k++) {
        ecs__touch(world, bulk->components[k]);
        if (world->components[bulk->components[k]].written == NULL) { continue; }
        for (uint32_t i = 0; i < bulk->count; i++) {
            ecs__aged(world, bulk->components[k], ecs__index(ecs__bulk_ids(bulk)[i]));
        }
    }
    archetype->coming -= bulk->count;
    world->shared.alive += bulk->count;
    if (world->observed_kinds != 0) { raise_added(world, bulk); }
}

void ecs__bulk_fold(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->bulk_count; i++) {
        fold_one(world, world->bulks[i]);
    }
}

const char *ecs__bulk_value(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    const ecs__record_t *record = ecs__record_find(world, id);
    if (record == NULL || record->archetype != ECS__COMING) { return NULL; }
    const ecs__bulk_t *bulk = ecs__bulk_of(world, record);
    uint32_t column = 0;
    while (column < bulk->component_count && bulk->components[column] != component) {
        column++;
    }
    if (column == bulk->component_count) { return NULL; }
    size_t size = world->components[component].size_bytes, row = record->row - bulk->base;
    return bulk->block + column_at(world, bulk, column) + row * size;
}
