/* Pass 2 of an apply: entity after entity, in the order in which they were first touched, one move
 * to the archetype in which its chain ends, then the payloads in order. Pass 1 has made room for
 * all of it: nothing here can fail. */
#include <string.h>

#include "internal.h"

uint64_t ecs__owner_at(const ecs__stream_t *stream, uint32_t batch, ecs__pos_t pos) {
    const ecs__batch_t *likely = &stream->batches[batch];
    if (pos >= likely->first && pos < likely->end) { return likely->owner; }
    uint32_t low = 0, high = stream->batch_count; /* the last one that starts at or before it */
    while (low + 1 < high) {
        uint32_t middle = (low + high) / 2;
        if (stream->batches[middle].first <= pos) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return stream->batches[low].owner;
}

/* ---- events --------------------------------------------------------------------------------- */

static void raise(ecs_world_t *world, uint32_t kind, ecs_event_t event, uint32_t component) {
    event.kind = kind;
    event.component = component;
    ecs__event(world, kind, &event);
}

/* An event of the entity. */
static ecs_event_t event_of(const ecs__stream_t *stream, const ecs__touched_t *entry) {
    ecs__pos_t pos =
        entry->dead_at != 0 && entry->dead_at != ECS__NONE ? entry->dead_at : entry->last;
    return (ecs_event_t){.id = entry->id, .owner = ecs__owner_at(stream, entry->batch, pos)};
}

static void raise_events(ecs_world_t *world, const ecs__stream_t *stream,
                         const ecs__touched_t *entry, uint32_t after) {
    static const ecs__archetype_t nothing = {0};
    bool was = entry->before < ECS__RETIRED, is = after < ECS__RETIRED;
    const ecs__archetype_t *old = was ? world->archetypes[entry->before] : &nothing;
    const ecs__archetype_t *now = is ? world->archetypes[after] : &nothing;
    ecs_event_t event = event_of(stream, entry);
    for (uint32_t i = 0; i < old->slot_count; i++) {
        uint32_t component = old->slots[i].component;
        if (ecs__slot(now, component) == NULL) {
            raise(world, ECS_EVENT_REMOVED, event, component);
        }
    }
    if (was && !is) { raise(world, ECS_EVENT_DESPAWNED, event, ECS__NONE); }
    for (uint32_t i = 0; i < now->slot_count; i++) {
        uint32_t component = now->slots[i].component;
        if (ecs__slot(old, component) == NULL) { raise(world, ECS_EVENT_ADDED, event, component); }
    }
}

static void raise_changed(ecs_world_t *world, const ecs__stream_t *stream,
                          const ecs__touched_t *entry) {
    uint64_t seen[ECS_MAX_COMPONENTS / 64] = {0};
    ecs_event_t event = event_of(stream, entry);
    for (ecs__pos_t pos = entry->first; pos != 0; pos = ecs__cmd_at(stream, pos)->next) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        bool old = entry->before < ECS__RETIRED &&
                   ecs__slot(world->archetypes[entry->before], cmd->component) != NULL;
        bool now = ecs__slot(world->archetypes[entry->after], cmd->component) != NULL;
        if (!ecs__cmd_writes(cmd) || !old || !now ||
            (seen[cmd->component / 64] >> cmd->component % 64 & 1) != 0) {
            continue;
        }
        seen[cmd->component / 64] |= 1ull << cmd->component % 64;
        raise(world, ECS_EVENT_CHANGED, event, cmd->component);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Components that only one of the two archetypes has; `b` may be NULL. */
static void touch_difference(const ecs_world_t *world, const ecs__archetype_t *a,
                             const ecs__archetype_t *b) {
    for (uint32_t i = 0; i < a->slot_count; i++) {
        uint32_t component = a->slots[i].component;
        if (b == NULL || ecs__slot(b, component) == NULL) { ecs__touch(world, component); }
    }
}

static void copy_row(ecs_world_t *world, const ecs__archetype_t *from, uint32_t from_row,
                     const ecs__archetype_t *to, uint32_t to_row) {
    uint32_t from_at = 0, to_at = 0;
    const ecs__chunk_t *source = ecs__chunk_of(from, from_row, &from_at);
    ecs__chunk_t *target = ecs__chunk_of(to, to_row, &to_at);
    for (uint32_t i = 0; i < from->slot_count; i++) {
        const ecs__slot_t *slot = &from->slots[i], *there = ecs__slot(to, slot->component);
        if (slot->column == ECS__NONE || there == NULL) { continue; }
        ecs__copy(world->memory.maps.core + ecs__cell(target, there, to_at),
                  world->memory.maps.core + ecs__cell(source, slot, from_at), slot->size_bytes);
        ecs__stamp_newer(&target->stamp[there->column], &source->stamp[slot->column]);
    }
}

/* Brings the entity into the archetype where its chain ends. */
static void move(ecs_world_t *world, const ecs__touched_t *entry, ecs__record_t *record) {
    ecs__archetype_t *to = world->archetypes[entry->after];
    to->coming--;
    uint32_t row = ecs__row_add(world, to, entry->id);
    if (entry->before < ECS__RETIRED) {
        ecs__archetype_t *from = world->archetypes[entry->before];
        touch_difference(world, from, to);
        touch_difference(world, to, from);
        copy_row(world, from, record->row, to, row);
        ecs__row_remove(world, from, record->row);
    } else {
        touch_difference(world, to, NULL);
        world->shared.alive++;
    }
    record->archetype = entry->after;
    record->row = row;
}

static void write_payloads(ecs_world_t *world, const ecs__stream_t *stream,
                           const ecs__touched_t *entry, const ecs__record_t *record) {
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    uint32_t at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
    const ecs__cmd_t *cmd = NULL;
    for (ecs__pos_t pos = entry->first; pos != 0; pos = cmd->next) {
        cmd = ecs__cmd_at(stream, pos);
        if (!ecs__cmd_writes(cmd)) { continue; }
        const ecs__slot_t *slot = ecs__slot(archetype, cmd->component);
        if (slot == NULL || slot->column == ECS__NONE) { continue; }
        ecs__payload_write(world, cmd, world->memory.maps.core + ecs__cell(chunk, slot, at));
        ecs_stamp_t *stamp = &chunk->stamp[slot->column];
        ecs__touch(world, cmd->component);
        stamp->changed = world->shared.tick;
        stamp->owner = ecs__owner_at(stream, entry->batch, pos);
        stamp->place = ecs__cmd_place(cmd);
    }
}

/* ---- values that need no entry -------------------------------------------------------------- */

enum { LANE = 16 }; /* commands between finding a row and writing to it: a cache miss each */

typedef struct {
    const ecs__cmd_t *cmd;
    char *to;
    ecs_stamp_t *stamp;
} write_t;

/* Where a direct command writes; `to` is NULL for a tag. */
static write_t find_row(const ecs_world_t *world, const ecs__cmd_t *cmd) {
    const ecs__record_t *record = ecs__record_at(world, ecs__index(cmd->id));
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    const ecs__slot_t *slot = ecs__slot(archetype, cmd->component);
    if (slot->column == ECS__NONE) { return (write_t){0}; }
    uint32_t at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
    write_t found = {cmd, world->memory.maps.core + ecs__cell(chunk, slot, at),
                     &chunk->stamp[slot->column]};
    __builtin_prefetch(found.to, 1);
    return found;
}

static void write_one(const ecs_world_t *world, const write_t *write, uint64_t owner) {
    if (write->to == NULL) { return; }
    ecs__payload_write(world, write->cmd, write->to);
    ecs__touch(world, write->cmd->component);
    write->stamp->changed = world->shared.tick;
    write->stamp->owner = owner;
    write->stamp->place = ecs__cmd_place(write->cmd);
}

void ecs__direct_write(ecs_world_t *world, ecs__stream_t *stream, uint32_t batch_at) {
    const ecs__batch_t *batch = &stream->batches[batch_at];
    write_t lane[LANE] = {0};
    uint32_t next = 0;
    for (ecs__pos_t pos = ecs__cmd_first(stream, batch); pos != batch->end;
         pos = ecs__cmd_after(world, stream, pos, batch->end)) {
        ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (cmd->next != ECS__DIRECT) { continue; }
        write_t *slot = &lane[next++ % LANE];
        write_one(world, slot, batch->owner);
        *slot = find_row(world, cmd);
    }
    for (uint32_t i = 0; i < LANE; i++, next++) {
        write_one(world, &lane[next % LANE], batch->owner);
    }
    world->wrote = true;
}

static void bury(ecs_world_t *world, const ecs__stream_t *stream, const ecs__touched_t *entry,
                 const ecs__record_t *record) {
    if (entry->before < ECS__RETIRED) {
        if (world->observed_kinds != 0) { raise_events(world, stream, entry, ECS__NONE); }
        touch_difference(world, world->archetypes[entry->before], NULL);
        world->despawned = world->shared.tick;
        ecs__row_remove(world, world->archetypes[entry->before], record->row);
        world->shared.alive--;
    }
    ecs__node_unlink(world, ecs__index(entry->id));
    ecs__entity_free(world, ecs__index(entry->id));
}

void ecs__fold(ecs_world_t *world, const ecs__stream_t *stream, const ecs__touched_t *entry) {
    if (entry->id == 0) { return; } /* a spawn of a refused batch */
    ecs__record_t *record = ecs__record_at(world, ecs__index(entry->id));
    record->scratch = 0;
    if (!ecs__exists(entry)) {
        bury(world, stream, entry, record);
        return;
    }
    if (entry->after != entry->before) { move(world, entry, record); }
    if (entry->first == 0) { return; }
    write_payloads(world, stream, entry, record);
    if (world->observed_kinds != 0) {
        raise_events(world, stream, entry, entry->after);
        raise_changed(world, stream, entry);
    }
}

void ecs__prefetch_row(const ecs_world_t *world, ecs_id_t id) {
    const ecs__record_t *record = ecs__record_at(world, ecs__index(id));
    if (!ecs__record_alive(record)) { return; }
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    if (archetype->column_count == 0) { return; }
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
    for (uint32_t i = 0; i < archetype->slot_count && i < 4; i++) {
        const ecs__slot_t *slot = &archetype->slots[i];
        if (slot->column == ECS__NONE) { continue; }
        __builtin_prefetch(world->memory.maps.core + ecs__cell(chunk, slot, at), 1);
    }
}
