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

typedef struct {
    uint64_t bits[ECS_MAX_COMPONENTS / 64];
} set_t;

static bool is_in(const set_t *set, uint32_t component) {
    return (set->bits[component / 64] >> component % 64 & 1) != 0;
}

static void put_in(set_t *set, uint32_t component) {
    set->bits[component / 64] |= 1ull << component % 64;
}

static bool has_sparse(const ecs_world_t *world, ecs_id_t id, uint32_t component) {
    return ecs__sparse_row(world->components[component].sparse, ecs__index(id)) != ECS__NONE;
}

/* What the entity had of sparse components before its chain is carried out. */
static set_t had_sparse(const ecs_world_t *world, const ecs__touched_t *entry) {
    set_t had = {{0}};
    for (uint32_t i = 0; i < world->sparse_count && entry->before < ECS__RETIRED; i++) {
        if (has_sparse(world, entry->id, world->sparse[i])) { put_in(&had, world->sparse[i]); }
    }
    return had;
}

/* The same as raise_events for sparse components; `is`: it exists. */
static void raise_sparse(ecs_world_t *world, const ecs__stream_t *stream,
                         const ecs__touched_t *entry, const set_t *had, bool is) {
    ecs_event_t event = event_of(stream, entry);
    for (uint32_t i = 0; i < world->sparse_count; i++) {
        uint32_t component = world->sparse[i];
        bool now = is && has_sparse(world, entry->id, component);
        if (is_in(had, component) && !now) { raise(world, ECS_EVENT_REMOVED, event, component); }
    }
    for (uint32_t i = 0; is && i < world->sparse_count; i++) {
        uint32_t component = world->sparse[i];
        bool now = has_sparse(world, entry->id, component);
        if (!is_in(had, component) && now) { raise(world, ECS_EVENT_ADDED, event, component); }
    }
}

static void raise_changed(ecs_world_t *world, const ecs__stream_t *stream,
                          const ecs__touched_t *entry, const set_t *had) {
    set_t seen = {{0}};
    ecs_event_t event = event_of(stream, entry);
    for (ecs__pos_t pos = entry->first; pos != 0; pos = ecs__cmd_at(stream, pos)->next) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (!ecs__cmd_writes(cmd) || is_in(&seen, cmd->component)) { continue; }
        bool sparse = world->components[cmd->component].sparse != NULL;
        bool old = sparse ? is_in(had, cmd->component)
                          : entry->before < ECS__RETIRED &&
                                ecs__slot(world->archetypes[entry->before], cmd->component) != NULL;
        bool now = sparse ? has_sparse(world, entry->id, cmd->component)
                          : ecs__slot(world->archetypes[entry->after], cmd->component) != NULL;
        if (!old || !now) { continue; }
        put_in(&seen, cmd->component);
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

typedef struct {
    ecs__chunk_t *chunk;
    const ecs__slot_t *slot;
    uint32_t at;
} cell_t;

/* Writes the command's payload and says whose it was. */
static inline void write_at(ecs_world_t *world, const ecs__cmd_t *cmd, cell_t cell,
                            uint64_t owner) {
    ecs__touch(world, cmd->component);
    if (cell.slot->column == ECS__NONE) { return; }
    ecs__payload_write(world, cmd,
                       world->memory.maps.core + ecs__cell(cell.chunk, cell.slot, cell.at));
    ecs_stamp_t *stamp = &cell.chunk->stamp[cell.slot->column];
    stamp->changed = world->shared.tick;
    stamp->owner = owner;
    stamp->place = ecs__cmd_place(cmd);
    ecs__aged(world, cmd->component, ecs__index(cmd->id));
}

/* A command on a sparse component: its table gets or loses a row, or has one written. */
static void fold_sparse(ecs_world_t *world, const ecs__cmd_t *cmd, ecs__sparse_t *store,
                        uint64_t owner) {
    uint32_t index = ecs__index(cmd->id), row = ecs__sparse_row(store, index);
    if (cmd->op == ECS_OP_REMOVE) {
        if (row != ECS__NONE) { ecs__sparse_remove(world, store, index); }
        ecs__touch(world, cmd->component);
        return;
    }
    if (cmd->op == ECS_OP_INSERT) { store->table->coming--; }
    if (row == ECS__NONE) { row = ecs__sparse_add(world, store, cmd->id); }
    cell_t cell = {.slot = store->table->slots};
    cell.chunk = ecs__chunk_of(store->table, row, &cell.at);
    write_at(world, cmd, cell, owner);
}

static void write_payloads(ecs_world_t *world, const ecs__stream_t *stream,
                           const ecs__touched_t *entry, const ecs__record_t *record) {
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    const ecs__cmd_t *cmd = NULL;
    cell_t cell = {0};
    cell.chunk = ecs__chunk_of(archetype, record->row, &cell.at);
    for (ecs__pos_t pos = entry->first; pos != 0; pos = cmd->next) {
        cmd = ecs__cmd_at(stream, pos);
        if (!ecs__cmd_writes(cmd) && cmd->op != ECS_OP_REMOVE) { continue; }
        ecs__sparse_t *store = world->components[cmd->component].sparse;
        uint64_t owner = ecs__owner_at(stream, entry->batch, pos);
        if (store != NULL) {
            fold_sparse(world, cmd, store, owner);
            continue;
        }
        cell.slot = ecs__slot(archetype, cmd->component);
        if (cell.slot == NULL || cmd->op == ECS_OP_REMOVE) { continue; }
        write_at(world, cmd, cell, owner);
    }
}

/* ---- values that need no entry -------------------------------------------------------------- */

enum { LANE = 16 }; /* commands between one cache miss and the next of a write */

typedef struct {
    const ecs__cmd_t *cmd;
    char *to;
    ecs_stamp_t *stamp;
} write_t;

static void write_one(const ecs_world_t *world, const write_t *write, uint64_t owner) {
    if (write->to == NULL) { return; }
    ecs__payload_write(world, write->cmd, write->to);
    ecs__touch(world, write->cmd->component);
    write->stamp->changed = world->shared.tick;
    write->stamp->owner = owner;
    write->stamp->place = ecs__cmd_place(write->cmd);
    ecs__aged(world, write->cmd->component, ecs__index(write->cmd->id));
}

/* Commands whose record, then whose row is on its way from memory: the n'th is in place n % LANE,
 * first of `asked`, then of `found`. Nothing is set before it is used: most batches are short. */
typedef struct {
    const ecs__cmd_t *asked[LANE];
    write_t found[LANE];
    uint32_t next;                 /* how many came */
    uint32_t archetype, component; /* of the command before, */
    ecs__place_t place;            /* and where its value is: the next one's is most often near */
} pipe_t;

static void find_place(const ecs_world_t *world, pipe_t *pipe, const ecs__cmd_t *cmd) {
    uint32_t index = ecs__index(cmd->id);
    const ecs__record_t *record = ecs__record_at(world, index);
    if (record->archetype == pipe->archetype && cmd->component == pipe->component) {
        pipe->place.row = record->row;
        return;
    }
    pipe->place = ecs__place_at(world, index, record, cmd->component);
    bool sparse = pipe->place.table != world->archetypes[record->archetype];
    pipe->archetype = sparse ? ECS__NONE : record->archetype;
    pipe->component = cmd->component;
}

/* Where a direct command writes; `to` is NULL for a tag. */
static write_t find_row(const ecs_world_t *world, pipe_t *pipe, const ecs__cmd_t *cmd) {
    uint32_t at = 0;
    find_place(world, pipe, cmd);
    const ecs__slot_t *slot = pipe->place.slot;
    if (slot->column == ECS__NONE) { return (write_t){0}; }
    ecs__chunk_t *chunk = ecs__chunk_of(pipe->place.table, pipe->place.row, &at);
    write_t found = {cmd, world->memory.maps.core + ecs__cell(chunk, slot, at),
                     &chunk->stamp[slot->column]};
    __builtin_prefetch(found.to, 1);
    return found;
}

/* One command in; the one that came 2 * LANE before it is written. */
static void advance(const ecs_world_t *world, pipe_t *pipe, const ecs__cmd_t *cmd, uint64_t owner) {
    uint32_t at = pipe->next % LANE;
    if (pipe->next >= 2 * LANE) { write_one(world, &pipe->found[at], owner); }
    if (pipe->next >= LANE) { pipe->found[at] = find_row(world, pipe, pipe->asked[at]); }
    pipe->asked[at] = cmd;
    pipe->next++;
    ecs__prefetch_record(world, cmd->id);
}

/* Writes those that are left. */
static void drain(const ecs_world_t *world, pipe_t *pipe, uint64_t owner) {
    uint32_t first = pipe->next < LANE ? 0 : pipe->next - LANE;
    for (uint32_t i = first; i < pipe->next; i++) {
        uint32_t at = i % LANE;
        if (i >= LANE) { write_one(world, &pipe->found[at], owner); }
        pipe->found[at] = find_row(world, pipe, pipe->asked[at]);
    }
    for (uint32_t i = first; i < pipe->next; i++) {
        write_one(world, &pipe->found[i % LANE], owner);
    }
}

void ecs__direct_write(ecs_world_t *world, ecs__stream_t *stream, uint32_t batch_at) {
    const ecs__batch_t *batch = &stream->batches[batch_at];
    pipe_t pipe;
    pipe.next = 0;
    pipe.archetype = ECS__NONE;
    for (ecs__pos_t pos = ecs__cmd_first(stream, batch); pos != batch->end;
         pos = ecs__cmd_after(world, stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (cmd->next != ECS__DIRECT || !ecs__cmd_writes(cmd)) { continue; }
        advance(world, &pipe, cmd, batch->owner);
    }
    drain(world, &pipe, batch->owner);
    world->wrote = true;
}

/* Takes what the entity has of sparse components, or was about to get. */
static void strip_sparse(ecs_world_t *world, const ecs__stream_t *stream,
                         const ecs__touched_t *entry) {
    for (uint32_t i = 0; i < world->sparse_count; i++) {
        if (!has_sparse(world, entry->id, world->sparse[i])) { continue; }
        ecs__sparse_t *store = world->components[world->sparse[i]].sparse;
        ecs__sparse_remove(world, store, ecs__index(entry->id));
        ecs__touch(world, world->sparse[i]);
    }
    for (ecs__pos_t pos = entry->first; pos != 0; pos = ecs__cmd_at(stream, pos)->next) {
        ecs__sparse_release(world, ecs__cmd_at(stream, pos));
    }
}

static void bury(ecs_world_t *world, const ecs__stream_t *stream, const ecs__touched_t *entry,
                 const ecs__record_t *record) {
    if (entry->before < ECS__RETIRED) {
        if (world->observed_kinds != 0) {
            set_t had = had_sparse(world, entry);
            raise_sparse(world, stream, entry, &had, false);
            raise_events(world, stream, entry, ECS__NONE);
        }
        touch_difference(world, world->archetypes[entry->before], NULL);
        world->despawned = world->shared.tick;
        ecs__row_remove(world, world->archetypes[entry->before], record->row);
        world->shared.alive--;
    }
    if (world->sparse_count > 0) { strip_sparse(world, stream, entry); }
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
    if (world->observed_kinds == 0) {
        write_payloads(world, stream, entry, record);
        return;
    }
    set_t had = had_sparse(world, entry);
    write_payloads(world, stream, entry, record);
    raise_events(world, stream, entry, entry->after);
    raise_sparse(world, stream, entry, &had, true);
    raise_changed(world, stream, entry, &had);
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
