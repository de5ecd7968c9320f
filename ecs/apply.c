/* The apply phase.
 *
 *   1. validate   batch after batch, each against the world and the accepted batches before it;
 *                 commands are chained per entity. A rejected batch is taken out again.
 *   2. fold       entity after entity, in the order in which they were first touched: one move to
 *                 the archetype that the chain ends in, then the payloads in order.
 *
 * Nothing but the tree of parents and names changes in pass 1, and that is undone for a rejected
 * batch. */
#include <math.h>
#include <string.h>

#include "internal.h"

enum { PREFETCH = 8 };

typedef struct {
    ecs_world_t *world;
    ecs__stream_t *stream;
    ecs_batch_result_t *result;
    ecs__pos_t start; /* first command of the batch being validated */
    uint64_t owner;
    ecs_id_t last_id;    /* target of the command before (NaN, which equals none, at first), */
    uint32_t last_entry; /* and its place in touched: commands on one entity come in a row */
} pass_t;

static ecs__touched_t *touch(ecs_world_t *world, ecs_id_t id) {
    ecs__record_t *record = ecs__record_find(world, id);
    if (record == NULL) { return NULL; }
    if (record->scratch == 0) {
        ecs__touched_t *entry =
            ECS__PUSH(world->touched, world->touched_count, world->touched_capacity);
        *entry = (ecs__touched_t){.id = id,
                                  .before = record->archetype,
                                  .after = record->archetype,
                                  .exists = ecs__record_alive(record)};
        record->scratch = world->touched_count;
    }
    return &world->touched[record->scratch - 1];
}

static void chain(pass_t *pass, ecs__touched_t *entry, ecs__pos_t pos) {
    if (entry->last != 0) {
        ecs__cmd_at(pass->stream, entry->last)->next = pos;
    } else {
        entry->first = pos;
    }
    entry->last = pos;
    entry->owner = pass->owner;
}

/* The entity after `at` in a walk of the tree below `root` (slots + 1), parents first; 0 at the
 * end. A walk, because a tree may be deeper than a stack. */
static uint32_t walk_next(const ecs_world_t *world, uint32_t root, uint32_t at) {
    const ecs__node_t *node = ecs__node(world, at - 1);
    if (node == NULL) { return 0; }
    if (node->first != 0) { return node->first; }
    while (at != root) {
        node = ecs__node(world, at - 1);
        if (node->next != 0) { return node->next; }
        at = node->parent;
    }
    return 0;
}

static ecs_id_t id_at(const ecs_world_t *world, uint32_t link) {
    return ecs__id(link - 1, ecs__record_at(world, link - 1)->generation);
}

/* Marks the entity and all below it as despawned by the command at `pos`. */
static void mark_dead(const pass_t *pass, ecs_id_t id, ecs__pos_t pos) {
    uint32_t root = ecs__index(id) + 1;
    for (uint32_t at = root; at != 0; at = walk_next(pass->world, root, at)) {
        ecs__touched_t *entry = touch(pass->world, id_at(pass->world, at));
        if (entry == NULL || !entry->exists) { continue; }
        entry->exists = false;
        entry->dead_at = pos;
        entry->owner = pass->owner;
    }
}

/* Owner of the batch that holds the command at `pos`; 0 when that is none. */
static uint64_t owner_of(const ecs__stream_t *stream, ecs__pos_t pos) {
    if (pos == 0) { return 0; }
    uint32_t low = 0, high = stream->batch_count;
    while (low < high) { /* the first batch that ends behind it */
        uint32_t middle = (low + high) / 2;
        if (stream->batches[middle].end > pos) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return stream->batches[low].owner;
}

static void mark_alive(const pass_t *pass, ecs_id_t id, ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    if (ecs__record_find(world, id) == NULL) { return; } /* it killed nothing */
    uint32_t root = ecs__index(id) + 1;
    for (uint32_t at = root; at != 0; at = walk_next(world, root, at)) {
        ecs__touched_t *entry = touch(world, id_at(world, at));
        if (entry == NULL || entry->dead_at != pos) { continue; }
        entry->exists = true;
        entry->dead_at = 0;
        entry->owner = owner_of(pass->stream, entry->last);
    }
}

/* ---- values while a chain is pending -------------------------------------------------------- */

static void add_number(const ecs_field_t *field, char *to, const char *by) {
#define ADD_AS(type)                                                                               \
    do {                                                                                           \
        type sum, more;                                                                            \
        memcpy(&sum, to, sizeof sum);                                                              \
        memcpy(&more, by, sizeof more);                                                            \
        sum = (type)(sum + more);                                                                  \
        memcpy(to, &sum, sizeof sum);                                                              \
    } while (0)
    switch (field->type) {
    case ECS_TYPE_I8:
    case ECS_TYPE_U8: ADD_AS(uint8_t); break;
    case ECS_TYPE_I16:
    case ECS_TYPE_U16: ADD_AS(uint16_t); break;
    case ECS_TYPE_I32:
    case ECS_TYPE_U32: ADD_AS(uint32_t); break;
    case ECS_TYPE_F32: ADD_AS(float); break;
    case ECS_TYPE_F64: ADD_AS(double); break;
    default: break; /* text, bool, entities and enums are refused when recorded */
    }
#undef ADD_AS
}

static void add_field(const ecs_field_t *field, char *to, const char *by) {
    uint32_t step = field->size_bytes / field->count;
    for (uint32_t i = 0; i < field->count; i++) {
        add_number(field, to + (size_t)i * step, by + (size_t)i * step);
    }
}

/* Writes what an INSERT, SET or ADD says over the value at `to`. */
static void write_value(const ecs_world_t *world, const ecs__cmd_t *cmd, char *to) {
    const ecs__component_t *component = &world->components[cmd->component];
    const char *from = (const char *)(cmd + 1);
    if (cmd->op == ECS_OP_INSERT) {
        memcpy(to, from, component->size_bytes);
        return;
    }
    uint64_t mask = 0;
    memcpy(&mask, from, sizeof mask);
    from += sizeof mask;
    while (mask != 0) {
        const ecs_field_t *field = &component->fields[__builtin_ctzll(mask)];
        mask &= mask - 1;
        if (cmd->op == ECS_OP_ADD) {
            add_field(field, to + field->offset_bytes, from + field->offset_bytes);
        } else if (field->size_bytes == 8) {
            memcpy(to + field->offset_bytes, from + field->offset_bytes, 8);
        } else {
            memcpy(to + field->offset_bytes, from + field->offset_bytes, field->size_bytes);
        }
    }
}

static bool writes(const ecs__cmd_t *cmd) {
    return cmd->op == ECS_OP_INSERT || cmd->op == ECS_OP_SET || cmd->op == ECS_OP_ADD;
}

/* The value that a component will have after the chain so far; false when it will be absent. */
static bool pending_value(pass_t *pass, const ecs__touched_t *entry, uint32_t component,
                          char *out) {
    const ecs_world_t *world = pass->world;
    if (!entry->exists || ecs__slot(world->archetypes[entry->after], component) == NULL) {
        return false;
    }
    uint32_t size = world->components[component].size_bytes;
    const char *now = ecs__cell_read(world, entry->id, component);
    if (now != NULL) { memcpy(out, now, size); }
    for (ecs__pos_t pos = entry->first; pos != 0;) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (writes(cmd) && cmd->component == component) { write_value(world, cmd, out); }
        pos = pos == entry->last ? 0 : cmd->next;
    }
    return true;
}

/* ---- pass 1: validate ----------------------------------------------------------------------- */

static int refuse(pass_t *pass, const ecs__cmd_t *cmd, int error) {
    pass->result->error = error;
    pass->result->op = cmd->op;
    pass->result->id = cmd->id;
    pass->result->component = cmd->component;
    return error;
}

/* The target is gone: by its flags the command rejects the batch, or counts, or does not. */
static int dead_target(pass_t *pass, const ecs__cmd_t *cmd) {
    if (cmd->op == ECS_OP_DESPAWN) { return ECS_OK; }
    if ((cmd->flags & ECS_FLAG_STRICT) != 0) { return refuse(pass, cmd, ECS_E_DEAD); }
    if ((cmd->flags & ECS_FLAG_SILENT) != 0) { return ECS_OK; }
    if (pass->result->skipped++ == 0) {
        pass->result->skipped_id = cmd->id;
        pass->result->skipped_op = cmd->op;
        pass->result->skipped_component = cmd->component;
    }
    return ECS_OK;
}

static int validate_spawn(pass_t *pass, ecs__touched_t *entry, const ecs__cmd_t *cmd,
                          ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    if (cmd->component != 0) {
        const ecs__spawn_t *place = (const ecs__spawn_t *)(const void *)(cmd + 1);
        uint32_t parent = 0;
        if (place->parent != 0) {
            const ecs__touched_t *above = touch(world, place->parent);
            entry = touch(world, cmd->id); /* touch may have moved the array */
            if (above == NULL || !above->exists) { return dead_target(pass, cmd); }
            parent = ecs__index(place->parent) + 1;
        }
        int rc = ecs__node_link(world, ecs__index(cmd->id), parent, place->name);
        if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
    }
    entry->exists = true;
    entry->after = 0;
    chain(pass, entry, pos);
    return ECS_OK;
}

static int validate_expect(pass_t *pass, const ecs__touched_t *entry, const ecs__cmd_t *cmd) {
    ecs_world_t *world = pass->world;
    if (!pending_value(pass, entry, cmd->component, world->expect_scratch) ||
        memcmp(world->expect_scratch, cmd + 1, world->components[cmd->component].size_bytes) != 0) {
        return refuse(pass, cmd, ECS_E_EXPECT);
    }
    return ECS_OK;
}

/* The entry of a command's target. */
static ecs__touched_t *target(pass_t *pass, ecs_id_t id) {
    ecs_world_t *world = pass->world;
    if (id == pass->last_id) { return &world->touched[pass->last_entry]; }
    ecs__touched_t *entry = touch(world, id);
    if (entry != NULL) {
        pass->last_id = id;
        pass->last_entry = (uint32_t)(entry - world->touched);
    }
    return entry;
}

static int validate(pass_t *pass, ecs__cmd_t *cmd, ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    ecs__touched_t *entry = target(pass, cmd->id);
    cmd->next = 0;
    if (cmd->op == ECS_OP_SPAWN) { return validate_spawn(pass, entry, cmd, pos); }
    if (entry == NULL || !entry->exists) {
        return cmd->op == ECS_OP_EXPECT ? refuse(pass, cmd, ECS_E_DEAD) : dead_target(pass, cmd);
    }
    bool present = cmd->op != ECS_OP_DESPAWN &&
                   ecs__slot(world->archetypes[entry->after], cmd->component) != NULL;
    switch (cmd->op) {
    case ECS_OP_DESPAWN: mark_dead(pass, cmd->id, pos); return ECS_OK;
    case ECS_OP_EXPECT: return validate_expect(pass, entry, cmd);
    case ECS_OP_SET:
    case ECS_OP_ADD:
        if (!present) { return refuse(pass, cmd, ECS_E_ABSENT); }
        break;
    case ECS_OP_INSERT:
        if (!present) {
            (void)ecs__archetype_with(world, entry->after, cmd->component, &entry->after);
        }
        break;
    case ECS_OP_REMOVE:
        if (!present) { return ECS_OK; }
        (void)ecs__archetype_without(world, entry->after, cmd->component, &entry->after);
        break;
    default: return refuse(pass, cmd, ECS_E_INVALID);
    }
    chain(pass, entry, pos);
    return ECS_OK;
}

/* ---- taking a rejected batch out ------------------------------------------------------------ */

/* Cuts the entity's chain before `start` and works out again what it leads to. */
static void cut(pass_t *pass, ecs_id_t id, ecs__pos_t start) {
    ecs_world_t *world = pass->world;
    ecs__touched_t *entry = touch(world, id);
    if (entry == NULL || entry->last < start) { return; }
    ecs__pos_t pos = entry->first;
    entry->first = entry->last = 0;
    entry->after = entry->before;
    while (pos != 0 && pos < start) {
        ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        ecs__pos_t next = cmd->next;
        cmd->next = 0;
        if (cmd->op == ECS_OP_SPAWN) { entry->after = 0; }
        if (cmd->op == ECS_OP_INSERT) {
            (void)ecs__archetype_with(world, entry->after, cmd->component, &entry->after);
        }
        if (cmd->op == ECS_OP_REMOVE) {
            (void)ecs__archetype_without(world, entry->after, cmd->component, &entry->after);
        }
        chain(pass, entry, pos);
        pos = next;
    }
    entry->owner = owner_of(pass->stream, entry->last);
}

static void undo(pass_t *pass, const ecs__batch_t *batch, ecs__pos_t stop) {
    ecs_world_t *world = pass->world;
    for (ecs__pos_t pos = pass->start; pos != stop;
         pos = ecs__cmd_after(world, pass->stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (cmd->op == ECS_OP_DESPAWN) { mark_alive(pass, cmd->id, pos); }
    }
    for (ecs__pos_t pos = pass->start; pos != stop;
         pos = ecs__cmd_after(world, pass->stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        cut(pass, cmd->id, pass->start);
        if (cmd->op == ECS_OP_SPAWN) {
            ecs__touched_t *entry = touch(world, cmd->id);
            entry->exists = false;
            ecs__node_unlink(world, ecs__index(cmd->id));
        }
    }
}

/* Records of random entities are cache misses: ask for them some commands ahead. */
static void prefetch_record(const ecs_world_t *world, ecs_id_t id) {
    if (!(id > 0 && id < 4503599627370496.0)) { return; } /* and NaN: no id */
    uint32_t index = ecs__index(id);
    if (index < world->slot_count) { __builtin_prefetch(ecs__record_at(world, index), 1); }
}

static void run_batch(ecs_world_t *world, ecs__stream_t *stream, const ecs__batch_t *batch) {
    ecs_batch_result_t *result =
        ECS__PUSH(world->results, world->result_count, world->result_capacity);
    *result = (ecs_batch_result_t){.owner = batch->owner};
    pass_t pass = {world, stream, result, ecs__cmd_first(stream, batch), batch->owner, NAN, 0};
    ecs__pos_t pos = pass.start, ahead = pass.start;
    for (int i = 0; i < PREFETCH && ahead != batch->end; i++) {
        ahead = ecs__cmd_after(world, stream, ahead, batch->end);
    }
    while (pos != batch->end) {
        if (ahead != batch->end) {
            prefetch_record(world, ecs__cmd_at(stream, ahead)->id);
            ahead = ecs__cmd_after(world, stream, ahead, batch->end);
        }
        if (validate(&pass, ecs__cmd_at(stream, pos), pos) != ECS_OK) { break; }
        pos = ecs__cmd_after(world, stream, pos, batch->end);
    }
    if (result->error == ECS_OK) { return; }
    undo(&pass, batch, pos);
    /* spawns after the refused command were never looked at, but their ids are reserved */
    for (; pos != batch->end; pos = ecs__cmd_after(world, stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (cmd->op == ECS_OP_SPAWN) { (void)touch(world, cmd->id); }
    }
}

/* ---- pass 2: fold --------------------------------------------------------------------------- */

static void raise_events(ecs_world_t *world, const ecs__touched_t *entry, uint32_t after) {
    static const ecs__archetype_t nothing = {0};
    bool was = entry->before < ECS__RETIRED, is = after < ECS__RETIRED;
    const ecs__archetype_t *old = was ? world->archetypes[entry->before] : &nothing;
    const ecs__archetype_t *now = is ? world->archetypes[after] : &nothing;
    for (uint32_t i = 0; i < old->slot_count; i++) {
        uint32_t component = old->slots[i].component;
        if (ecs__slot(now, component) == NULL) {
            ecs__event(world, ECS_EVENT_REMOVED, entry, component);
        }
    }
    if (was && !is) { ecs__event(world, ECS_EVENT_DESPAWNED, entry, ECS__NONE); }
    for (uint32_t i = 0; i < now->slot_count; i++) {
        uint32_t component = now->slots[i].component;
        if (ecs__slot(old, component) == NULL) {
            ecs__event(world, ECS_EVENT_ADDED, entry, component);
        }
    }
}

static void raise_changed(ecs_world_t *world, const ecs__stream_t *stream,
                          const ecs__touched_t *entry) {
    uint64_t seen[ECS_MAX_COMPONENTS / 64] = {0};
    for (ecs__pos_t pos = entry->first; pos != 0; pos = ecs__cmd_at(stream, pos)->next) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        bool old = entry->before < ECS__RETIRED &&
                   ecs__slot(world->archetypes[entry->before], cmd->component) != NULL;
        bool now = ecs__slot(world->archetypes[entry->after], cmd->component) != NULL;
        if (!writes(cmd) || !old || !now ||
            (seen[cmd->component / 64] >> cmd->component % 64 & 1) != 0) {
            continue;
        }
        seen[cmd->component / 64] |= 1ull << cmd->component % 64;
        ecs__event(world, ECS_EVENT_CHANGED, entry, cmd->component);
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
        memcpy(world->memory.maps.core + ecs__cell(target, there, to_at),
               world->memory.maps.core + ecs__cell(source, slot, from_at), slot->size_bytes);
    }
}

/* Brings the entity into the archetype where its chain ends. */
static int move(ecs_world_t *world, const ecs__touched_t *entry, ecs__record_t *record) {
    ecs__archetype_t *to = world->archetypes[entry->after];
    uint32_t row = 0;
    int rc = ecs__row_add(world, to, entry->id, &row);
    if (rc != ECS_OK) { return rc; }
    if (entry->before < ECS__RETIRED) {
        ecs__archetype_t *from = world->archetypes[entry->before];
        copy_row(world, from, record->row, to, row);
        ecs__row_remove(world, from, record->row);
    } else {
        world->shared.alive++;
    }
    record->archetype = entry->after;
    record->row = row;
    return ECS_OK;
}

static void write_payloads(ecs_world_t *world, const ecs__stream_t *stream,
                           const ecs__touched_t *entry, const ecs__record_t *record) {
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    uint32_t at = 0;
    ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
    const ecs__cmd_t *cmd = NULL;
    for (ecs__pos_t pos = entry->first; pos != 0; pos = cmd->next) {
        cmd = ecs__cmd_at(stream, pos);
        if (!writes(cmd)) { continue; }
        const ecs__slot_t *slot = ecs__slot(archetype, cmd->component);
        if (slot == NULL || slot->column == ECS__NONE) { continue; }
        write_value(world, cmd, world->memory.maps.core + ecs__cell(chunk, slot, at));
        chunk->changed[slot->column] = world->shared.tick;
    }
}

static void bury(ecs_world_t *world, const ecs__touched_t *entry, const ecs__record_t *record) {
    if (entry->before < ECS__RETIRED) {
        if (world->observed_kinds != 0) { raise_events(world, entry, ECS__NONE); }
        ecs__row_remove(world, world->archetypes[entry->before], record->row);
        world->shared.alive--;
    }
    ecs__node_unlink(world, ecs__index(entry->id));
    ecs__entity_free(world, ecs__index(entry->id));
}

static int fold(ecs_world_t *world, const ecs__stream_t *stream, const ecs__touched_t *entry) {
    ecs__record_t *record = ecs__record_at(world, ecs__index(entry->id));
    record->scratch = 0;
    if (!entry->exists) {
        bury(world, entry, record);
        return ECS_OK;
    }
    int rc = entry->after != entry->before ? move(world, entry, record) : ECS_OK;
    if (rc != ECS_OK) { return rc; }
    write_payloads(world, stream, entry, record);
    if (world->observed_kinds != 0) {
        raise_events(world, entry, entry->after);
        raise_changed(world, stream, entry);
    }
    return ECS_OK;
}

/* The row that the entity's payloads will most likely go to. */
static void prefetch_row(const ecs_world_t *world, ecs_id_t id) {
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

int ecs_apply(ecs_world_t *world) {
    int rc = ecs__guard(world, 1u << ECS_PHASE_APPLY);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = &world->stream[world->recording];
    if (stream->open) {
        return ecs__fail(world, ECS_E_INVALID, "a batch is open: seal or drop it");
    }
    ECS__ENTER(world);
    world->recording ^= 1u;
    world->shared.tick++;
    world->result_count = world->touched_count = world->event_count = 0;
    for (uint32_t i = 0; i < stream->batch_count; i++) {
        run_batch(world, stream, &stream->batches[i]);
    }
    for (uint32_t i = 0; i < world->touched_count; i++) {
        if (i + 2 * PREFETCH < world->touched_count) {
            prefetch_record(world, world->touched[i + 2 * PREFETCH].id);
            prefetch_row(world, world->touched[i + PREFETCH].id);
        }
        int failed = fold(world, stream, &world->touched[i]);
        if (failed != ECS_OK) { rc = failed; }
    }
    if (world->touched_count > 0) { ecs__views_stale(&world->memory.maps); }
    ecs__stream_clear(stream);
    ECS__LEAVE(world);
    return rc;
}

const ecs_batch_result_t *ecs_apply_results(const ecs_world_t *world, uint32_t *count) {
    *count = world->result_count;
    return world->results;
}
