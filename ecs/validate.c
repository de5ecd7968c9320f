/* Pass 1 of an apply: a batch against the world and the accepted batches before it.
 *
 *   command ─▶ entry of its entity in world->touched ─▶ chained to the entity's other commands
 *
 * Nothing changes but the tree of parents and names, and that is undone for a refused batch. What
 * pass 2 needs (rows, events) is made before the batch counts as accepted, so that pass 2 cannot
 * fail: out of memory and the world's limits refuse a batch, whole. */
#include <math.h>
#include <string.h>

#include "internal.h"

enum { AHEAD = 8 };

typedef struct {
    ecs_world_t *world;
    ecs__stream_t *stream;
    ecs_batch_result_t *result;
    uint32_t batch;
    ecs__pos_t start;    /* its first command */
    ecs_id_t last_id;    /* target of the command before, */
    uint32_t last_entry; /* and its place in touched: commands on one entity come in a row */
    bool direct; /* some commands are written at once when it is accepted; the last of those */
    uint32_t archetype, component; /* was to an entity of this archetype, and wrote that */
    uint32_t sent;                 /* events */
    bool confirms;                 /* some command is a CONFIRM */
} pass_t;

/* ---- entries -------------------------------------------------------------------------------- */

static ecs__touched_t *entry_of(const ecs_world_t *world, const ecs__record_t *record) {
    return record->scratch == 0 ? NULL : &world->touched[record->scratch - 1];
}

/* The entry of an entity that has one; NULL. */
static ecs__touched_t *find_entry(const ecs_world_t *world, ecs_id_t id) {
    const ecs__record_t *record = ecs__record_find(world, id);
    return record == NULL ? NULL : entry_of(world, record);
}

/* An entry for the entity that has this record. */
static int touch_record(ecs_world_t *world, ecs_id_t id, ecs__record_t *record,
                        ecs__touched_t **out) {
    *out = entry_of(world, record);
    if (*out != NULL) { return ECS_OK; }
    *out = ECS__PUSH(world->touched, world->touched_count, world->touched_capacity);
    if (*out == NULL) { return ecs__oom(world); }
    /* bulk spawns are carried out first: as if it were there already */
    bool coming = record->archetype == ECS__COMING;
    uint32_t archetype = coming ? ecs__bulk_of(world, record)->archetype : record->archetype;
    **out = (ecs__touched_t){.id = id,
                             .before = archetype,
                             .after = archetype,
                             .dead_at = coming || ecs__record_alive(record) ? 0 : ECS__NONE};
    record->scratch = world->touched_count;
    return ECS_OK;
}

/* The entry of an entity, made when there is none; *out is NULL for an id that is none. */
static int touch(ecs_world_t *world, ecs_id_t id, ecs__touched_t **out) {
    ecs__record_t *record = ecs__record_find(world, id);
    *out = NULL;
    return record == NULL ? ECS_OK : touch_record(world, id, record, out);
}

int ecs__note_growing(ecs_world_t *world, ecs__archetype_t *archetype) {
    if (archetype->grows) { return ECS_OK; }
    ecs__archetype_t **place =
        ECS__PUSH(world->growing, world->growing_count, world->growing_capacity);
    if (place == NULL) { return ecs__oom(world); }
    *place = archetype;
    archetype->grows = true;
    return ECS_OK;
}

static void count_coming(const ecs_world_t *world, const ecs__touched_t *entry, int by) {
    if (ecs__exists(entry) && entry->after != entry->before) {
        world->archetypes[entry->after]->coming += by;
    }
}

/* The entity ends in another archetype, or is dead from a command on. */
static void lead(const ecs_world_t *world, ecs__touched_t *entry, uint32_t after,
                 ecs__pos_t dead_at) {
    count_coming(world, entry, -1);
    entry->after = after;
    entry->dead_at = dead_at;
    count_coming(world, entry, 1);
}

static void chain(const pass_t *pass, ecs__touched_t *entry, ecs__pos_t pos) {
    if (entry->last != 0) {
        ecs__cmd_at(pass->stream, entry->last)->next = pos;
    } else {
        entry->first = pos;
    }
    entry->last = pos;
    entry->batch = pass->batch;
}

/* ---- trees ---------------------------------------------------------------------------------- */

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

static void mark_alive(const ecs_world_t *world, ecs_id_t id, ecs__pos_t pos) {
    if (ecs__record_find(world, id) == NULL) { return; } /* it killed nothing */
    uint32_t root = ecs__index(id) + 1;
    for (uint32_t at = root; at != 0; at = walk_next(world, root, at)) {
        ecs__touched_t *entry = find_entry(world, id_at(world, at));
        if (entry != NULL && entry->dead_at == pos) { lead(world, entry, entry->after, 0); }
    }
}

/* Marks the entity and all below it as despawned by the command at `pos`. */
static int mark_dead(const pass_t *pass, ecs_id_t id, ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    uint32_t root = ecs__index(id) + 1;
    for (uint32_t at = root; at != 0; at = walk_next(world, root, at)) {
        ecs__touched_t *entry = NULL;
        int rc = touch(world, id_at(world, at), &entry);
        if (rc != ECS_OK) {
            mark_alive(world, id, pos);
            return rc;
        }
        if (entry == NULL || !ecs__exists(entry)) { continue; }
        lead(world, entry, entry->after, pos);
        entry->batch = pass->batch;
        bool was = entry->before < ECS__RETIRED;
        bool removals = (world->observed_kinds >> ECS_EVENT_REMOVED & 1u) != 0;
        world->event_bound += 1;
        if (removals) { world->event_bound += world->sparse_count; }
        if (removals && was) { world->event_bound += world->archetypes[entry->before]->slot_count; }
    }
    return ECS_OK;
}

/* ---- refusals ------------------------------------------------------------------------------- */

/* Where a spawn's entity is to be, and how it is called. */
static const ecs__spawn_t *placed(const ecs__cmd_t *cmd) {
    static const ecs__spawn_t nowhere;
    bool is_placed = cmd->op == ECS_OP_SPAWN && cmd->component != 0;
    return is_placed ? (const ecs__spawn_t *)(const void *)(cmd + 1) : &nowhere;
}

static int refuse(const pass_t *pass, const ecs__cmd_t *cmd, int error) {
    ecs_batch_result_t *result = pass->result;
    result->parent = placed(cmd)->parent;
    result->name = placed(cmd)->name;
    result->error = error;
    result->op = cmd->op;
    result->id = cmd->id;
    result->component = cmd->component;
    result->place = ecs__cmd_place(cmd);
    return error;
}

/* The target is gone: by its flags the command rejects the batch, or counts, or does not. */
static int dead_target(const pass_t *pass, const ecs__cmd_t *cmd) {
    if (cmd->op == ECS_OP_DESPAWN) { return ECS_OK; }
    if ((cmd->flags & ECS_FLAG_STRICT) != 0) { return refuse(pass, cmd, ECS_E_DEAD); }
    if ((cmd->flags & ECS_FLAG_SILENT) != 0) { return ECS_OK; }
    if (pass->result->skipped++ == 0) {
        pass->result->skipped_id = cmd->id;
        pass->result->skipped_op = cmd->op;
        pass->result->skipped_component = cmd->component;
        pass->result->skipped_place = ecs__cmd_place(cmd);
        pass->result->skipped_parent = placed(cmd)->parent;
    }
    return ECS_OK;
}

/* ---- expectations --------------------------------------------------------------------------- */

/* The last command of the chain that writes or removes the component; NULL. */
static const ecs__cmd_t *last_writer(const pass_t *pass, const ecs__touched_t *entry,
                                     uint32_t component, ecs__pos_t *at) {
    const ecs__cmd_t *found = NULL;
    for (ecs__pos_t pos = entry->first; pos != 0;) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (cmd->component == component && (ecs__cmd_writes(cmd) || cmd->op == ECS_OP_REMOVE)) {
            found = cmd;
            *at = pos;
        }
        pos = pos == entry->last ? 0 : cmd->next;
    }
    return found;
}

/* Whether the entity has the component after the chain so far. */
static bool is_present(const pass_t *pass, const ecs__touched_t *entry, uint32_t component) {
    const ecs_world_t *world = pass->world;
    if (ecs__slot(world->archetypes[entry->after], component) != NULL) { return true; }
    const ecs__sparse_t *store = world->components[component].sparse;
    if (store == NULL) { return false; }
    ecs__pos_t at = 0;
    const ecs__cmd_t *last = last_writer(pass, entry, component, &at);
    if (last != NULL) { return last->op != ECS_OP_REMOVE; }
    return entry->before < ECS__RETIRED &&
           ecs__sparse_row(store, ecs__index(entry->id)) != ECS__NONE;
}

/* The value that a component will have after the chain so far; false when it will be absent. */
static bool pending_value(const pass_t *pass, const ecs__touched_t *entry, uint32_t component,
                          char *out) {
    const ecs_world_t *world = pass->world;
    if (!ecs__exists(entry) || !is_present(pass, entry, component)) { return false; }
    const char *now = ecs__cell_read(world, entry->id, component);
    if (now == NULL) { now = ecs__bulk_value(world, entry->id, component); }
    if (now != NULL) { memcpy(out, now, world->components[component].size_bytes); }
    for (ecs__pos_t pos = entry->first; pos != 0;) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (ecs__cmd_writes(cmd) && cmd->component == component) {
            ecs__payload_write(world, cmd, out);
        }
        pos = pos == entry->last ? 0 : cmd->next;
    }
    return true;
}

static int validate_expect(const pass_t *pass, const ecs__touched_t *entry, const ecs__cmd_t *cmd) {
    ecs_world_t *world = pass->world;
    if (pending_value(pass, entry, cmd->component, world->expect_scratch) &&
        ecs__values_equal(&world->components[cmd->component], world->expect_scratch,
                          (const char *)(cmd + 1))) {
        return ECS_OK;
    }
    ecs__pos_t at = 0;
    ecs_batch_result_t *result = pass->result;
    const ecs__cmd_t *writer = last_writer(pass, entry, cmd->component, &at);
    if (writer != NULL) {
        result->by = (ecs_stamp_t){.changed = world->shared.tick,
                                   .owner = ecs__owner_at(pass->stream, pass->batch, at),
                                   .place = ecs__cmd_place(writer)};
    } else {
        (void)ecs_provenance(world, cmd->id, cmd->component, &result->by);
    }
    return refuse(pass, cmd, ECS_E_EXPECT);
}

/* ---- commands ------------------------------------------------------------------------------- */

static int validate_spawn(pass_t *pass, ecs__touched_t *entry, const ecs__cmd_t *cmd,
                          ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    if (cmd->component != 0) {
        const ecs__spawn_t *place = placed(cmd);
        uint32_t parent = 0;
        if (place->parent != 0) {
            ecs__touched_t *above = NULL;
            int rc = touch(world, place->parent, &above);
            if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
            entry = find_entry(world, cmd->id); /* touch may have moved the array */
            if (above == NULL || !ecs__exists(above)) { return dead_target(pass, cmd); }
            parent = ecs__index(place->parent) + 1;
        }
        int rc = ecs__node_link(world, ecs__index(cmd->id), parent, place->name);
        if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
    }
    int rc = ecs__note_growing(world, world->archetypes[0]);
    if (rc != ECS_OK) { return rc; }
    lead(world, entry, 0, 0);
    chain(pass, entry, pos);
    return ECS_OK;
}

/* Leads the entity on to the archetype with one component more or less. */
static int change_shape(const pass_t *pass, ecs__touched_t *entry, uint32_t component, bool add) {
    ecs_world_t *world = pass->world;
    uint32_t after = 0;
    int rc = add ? ecs__archetype_with(world, entry->after, component, &after)
                 : ecs__archetype_without(world, entry->after, component, &after);
    if (rc == ECS_OK) { rc = ecs__note_growing(world, world->archetypes[after]); }
    if (rc == ECS_OK) { lead(world, entry, after, entry->dead_at); }
    return rc;
}

/* Room in a sparse component's table: as if each of its inserts brought a row. It is given back
 * when the command is carried out, or taken out. */
static int bring_sparse(const pass_t *pass, const ecs__touched_t *entry, ecs__sparse_t *store) {
    int rc = ecs__sparse_page(pass->world, store, ecs__index(entry->id));
    if (rc == ECS_OK) { rc = ecs__note_growing(pass->world, store->table); }
    if (rc == ECS_OK) { store->table->coming++; }
    return rc;
}

/* An insert or a remove: the entity moves, or the component's own table changes. */
static int validate_shape(const pass_t *pass, ecs__touched_t *entry, const ecs__cmd_t *cmd,
                          bool present) {
    bool add = cmd->op == ECS_OP_INSERT;
    ecs__sparse_t *store = pass->world->components[cmd->component].sparse;
    if (store != NULL) { return add ? bring_sparse(pass, entry, store) : ECS_OK; }
    return present == add ? ECS_OK : change_shape(pass, entry, cmd->component, add);
}

/* Whether the command only writes a value that is there, of an entity that no other command moves
 * so far and nobody observes: it is written as soon as the batch is accepted, before the entity's
 * other commands. */
static bool is_direct(pass_t *pass, const ecs__cmd_t *cmd, const ecs__record_t *record) {
    const ecs_world_t *world = pass->world;
    if (!ecs__cmd_writes(cmd) || record->scratch != 0 || !ecs__record_alive(record)) {
        return false;
    }
    if (record->archetype == pass->archetype && cmd->component == pass->component) { return true; }
    if (pass->stream->batches[pass->batch].expects != 0) { return false; } /* sees earlier writes */
    uint32_t observed = world->components[cmd->component].observed;
    if ((observed >> ECS_EVENT_CHANGED & 1u) != 0) { return false; }
    if (ecs__slot(world->archetypes[record->archetype], cmd->component) != NULL) {
        pass->archetype = record->archetype;
        pass->component = cmd->component;
        return true;
    }
    return ecs__place_at(world, ecs__index(cmd->id), record, cmd->component).slot != NULL;
}

/* The entry of a command's target, NULL for an id that is none, or that the command is direct. */
static int target(pass_t *pass, const ecs__cmd_t *cmd, ecs__touched_t **out, bool *direct) {
    ecs_world_t *world = pass->world;
    *direct = false;
    if (cmd->id == pass->last_id) {
        *out = &world->touched[pass->last_entry];
        return ECS_OK;
    }
    ecs__record_t *record = ecs__record_find(world, cmd->id);
    *out = NULL;
    if (record == NULL) { return ECS_OK; }
    *direct = is_direct(pass, cmd, record);
    if (*direct) { return ECS_OK; }
    int rc = touch_record(world, cmd->id, record, out);
    if (rc == ECS_OK) {
        pass->last_id = cmd->id;
        pass->last_entry = (uint32_t)(*out - world->touched);
    }
    return rc;
}

/* Whether an entity will be there after the commands so far; any id. */
static bool will_be_there(const ecs_world_t *world, ecs_id_t id) {
    const ecs__record_t *record = ecs__record_find(world, id);
    if (record == NULL) { return false; }
    const ecs__touched_t *entry = entry_of(world, record);
    return entry != NULL ? ecs__exists(entry)
                         : record->archetype == ECS__COMING || ecs__record_alive(record);
}

/* An event, to nobody in particular or to an entity that will be there. */
static int validate_send(pass_t *pass, ecs__cmd_t *cmd) {
    if (cmd->id != 0 && !will_be_there(pass->world, cmd->id)) { return dead_target(pass, cmd); }
    int rc = ecs__room_take(pass->world, cmd);
    if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
    cmd->next = ECS__DIRECT;
    pass->sent++;
    return ECS_OK;
}

/* Without effect where the component is not, or comes in the same apply: that is a write. */
static int validate_confirm(pass_t *pass, ecs__cmd_t *cmd) {
    if (!will_be_there(pass->world, cmd->id)) { return dead_target(pass, cmd); }
    if (ecs__place(pass->world, cmd->id, cmd->component).slot == NULL) { return ECS_OK; }
    cmd->next = ECS__DIRECT;
    pass->confirms = true;
    return ECS_OK;
}

static int validate(pass_t *pass, ecs__cmd_t *cmd, ecs__pos_t pos) {
    ecs_world_t *world = pass->world;
    ecs__touched_t *entry = NULL;
    if (cmd->op == ECS_OP_SPAWN_MANY) {
        return ecs__bulk_validate(world, cmd, pass->stream->batches[pass->batch].owner);
    }
    if (cmd->op == ECS_OP_SEND) { return validate_send(pass, cmd); }
    if (cmd->op == ECS_OP_CONFIRM) { return validate_confirm(pass, cmd); }
    bool direct = false;
    int rc = target(pass, cmd, &entry, &direct);
    if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
    if (direct) {
        cmd->next = ECS__DIRECT;
        pass->direct = true;
        return ECS_OK;
    }
    cmd->next = 0;
    if (cmd->op == ECS_OP_SPAWN) { return validate_spawn(pass, entry, cmd, pos); }
    if (entry == NULL || !ecs__exists(entry)) {
        return cmd->op == ECS_OP_EXPECT ? refuse(pass, cmd, ECS_E_DEAD) : dead_target(pass, cmd);
    }
    bool present = cmd->op != ECS_OP_DESPAWN && is_present(pass, entry, cmd->component);
    switch (cmd->op) {
    case ECS_OP_DESPAWN: rc = mark_dead(pass, cmd->id, pos); break;
    case ECS_OP_EXPECT: return validate_expect(pass, entry, cmd);
    case ECS_OP_SET:
    case ECS_OP_ADD: rc = present ? ECS_OK : ECS_E_ABSENT; break;
    case ECS_OP_INSERT: rc = validate_shape(pass, entry, cmd, present); break;
    case ECS_OP_REMOVE:
        if (!present) { return ECS_OK; }
        rc = validate_shape(pass, entry, cmd, present);
        break;
    default: rc = ECS_E_INVALID; break;
    }
    if (rc != ECS_OK) { return refuse(pass, cmd, rc); }
    if (cmd->op != ECS_OP_DESPAWN) {
        chain(pass, entry, pos);
        world->event_bound += world->components[cmd->component].observed != 0;
    }
    return ECS_OK;
}

/* ---- taking a refused batch out ------------------------------------------------------------- */

/* Where the entity's chain leads with one more command, which is known to be possible. */
static uint32_t lead_by(ecs_world_t *world, const ecs__cmd_t *cmd, uint32_t after) {
    if (cmd->op == ECS_OP_SPAWN) { return 0; }
    bool add = cmd->op == ECS_OP_INSERT;
    if (!add && cmd->op != ECS_OP_REMOVE) { return after; }
    if (world->components[cmd->component].sparse != NULL) { return after; }
    (void)ecs__archetype_edge(world, after, cmd->component, add, &after);
    return after;
}

/* Cuts the entity's chain before the batch and works out again what it leads to. The archetypes on
 * the way are known: nothing here can fail. */
static void cut(const pass_t *pass, ecs__touched_t *entry) {
    ecs_world_t *world = pass->world;
    if (entry->last < pass->start) { return; }
    uint32_t after = entry->before;
    ecs__pos_t last = 0;
    for (ecs__pos_t pos = entry->first, next = 0; pos != 0; pos = next) {
        ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        next = pos == entry->last ? 0 : cmd->next;
        if (pos >= pass->start) {
            ecs__sparse_release(world, cmd);
            continue;
        }
        after = lead_by(world, cmd, after);
        if (next >= pass->start) { cmd->next = 0; }
        last = pos;
    }
    lead(world, entry, after, entry->dead_at);
    if (last == 0) { entry->first = 0; }
    entry->last = last;
}

/* The entity was never there; pass 2 will find nothing of it. */
static void forget(ecs_world_t *world, ecs__touched_t *entry, ecs_id_t id) {
    if (entry != NULL) {
        lead(world, entry, entry->after, ECS__NONE);
        ecs__node_unlink(world, ecs__index(id));
        entry->id = 0;
    }
    ecs__entity_free(world, ecs__index(id));
}

static void forget_many(ecs_world_t *world, const ecs__bulk_t *bulk) {
    const ecs_id_t *ids = ecs__bulk_ids(bulk);
    ecs__bulk_undo(world, bulk);
    for (uint32_t i = 0; i < bulk->count; i++) {
        forget(world, find_entry(world, ids[i]), ids[i]);
    }
}

static void undo(const pass_t *pass, const ecs__batch_t *batch, ecs__pos_t stop) {
    ecs_world_t *world = pass->world;
    for (ecs__pos_t pos = pass->start; pos != stop;
         pos = ecs__cmd_after(world, pass->stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (cmd->op == ECS_OP_DESPAWN) { mark_alive(world, cmd->id, pos); }
        if (cmd->op == ECS_OP_SEND && cmd->next == ECS__DIRECT) { ecs__room_give_back(world, cmd); }
    }
    for (ecs__pos_t pos = pass->start; pos != batch->end;
         pos = ecs__cmd_after(world, pass->stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        ecs__touched_t *entry = find_entry(world, cmd->id);
        if (entry != NULL) { cut(pass, entry); }
        if (cmd->op == ECS_OP_SPAWN) { forget(world, entry, cmd->id); }
    }
    for (ecs__pos_t pos = pass->start; pos != batch->end;
         pos = ecs__cmd_after(world, pass->stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
        if (cmd->op == ECS_OP_SPAWN_MANY) { forget_many(world, ecs__cmd_bulk(cmd)); }
    }
    for (uint32_t i = 0; i < world->growing_count; i++) {
        ecs__rows_trim(world, world->growing[i]);
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

/* Makes what pass 2 needs. */
static int make_room(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->growing_count; i++) {
        ecs__archetype_t *archetype = world->growing[i];
        if (archetype->coming <= 0) { continue; }
        int rc =
            ecs__rows_reserve(world, archetype, archetype->row_count + (uint64_t)archetype->coming);
        if (rc != ECS_OK) { return rc; }
    }
    if (world->observed_kinds == 0) { return ECS_OK; }
    if (world->event_bound > ECS__MAX_EVENTS) {
        return ecs__fail(world, ECS_E_LIMIT, "more than %u events in one round", ECS__MAX_EVENTS);
    }
    return ECS__ROOM(world->events, (uint32_t)world->event_bound, world->event_capacity)
               ? ECS_OK
               : ecs__oom(world);
}

/* Whether the command may be carried out, as the batch's result says. */
static bool accepts(pass_t *pass, ecs__pos_t pos) {
    ecs__cmd_t *cmd = ecs__cmd_at(pass->stream, pos);
    int rc = validate(pass, cmd, pos);
    if (rc != ECS_OK && pass->result->error == ECS_OK) { (void)refuse(pass, cmd, rc); }
    return rc == ECS_OK;
}

/* Validates the commands; returns the place of the one that was refused, or the end. The records of
 * random entities are cache misses: they are asked for some commands ahead. */
static ecs__pos_t validate_all(pass_t *pass, const ecs__batch_t *batch) {
    const ecs_world_t *world = pass->world;
    ecs__pos_t lane[AHEAD], ahead = pass->start;
    if (ahead == batch->end) { return ahead; }
    ecs__pos_t second = ecs__cmd_after(world, pass->stream, ahead, batch->end);
    if (second == batch->end) { return accepts(pass, ahead) ? second : ahead; } /* most are short */
    for (uint32_t i = 0; i < AHEAD; i++) {
        lane[i] = ahead;
        if (ahead != batch->end) { ahead = ecs__cmd_after(world, pass->stream, ahead, batch->end); }
    }
    for (uint32_t i = 0; lane[i % AHEAD] != batch->end; i++) {
        ecs__pos_t pos = lane[i % AHEAD];
        lane[i % AHEAD] = ahead;
        if (ahead != batch->end) {
            ecs__prefetch_record(world, ecs__cmd_at(pass->stream, ahead)->id);
            ahead = ecs__cmd_after(world, pass->stream, ahead, batch->end);
        }
        if (!accepts(pass, pos)) { return pos; }
    }
    return batch->end;
}

void ecs__validate(ecs_world_t *world, ecs__stream_t *stream, uint32_t index) {
    const ecs__batch_t *batch = &stream->batches[index];
    ecs_batch_result_t *result = &world->results[world->result_count++];
    *result = (ecs_batch_result_t){.owner = batch->owner, .name = ""};
    pass_t pass = {.world = world,
                   .stream = stream,
                   .result = result,
                   .batch = index,
                   .start = ecs__cmd_first(stream, batch),
                   .archetype = ECS__NONE,
                   .last_id = NAN};
    uint64_t event_bound = world->event_bound;
    world->growing_count = 0;
    ecs__pos_t stop = validate_all(&pass, batch);
    if (result->error == ECS_OK && pass.start != batch->end) {
        int rc = make_room(world);
        if (rc == ECS_OK && pass.sent > 0) { rc = ecs__sent_reserve(world, pass.sent); }
        if (rc != ECS_OK) { (void)refuse(&pass, ecs__cmd_at(stream, pass.start), rc); }
    }
    if (result->error != ECS_OK) {
        undo(&pass, batch, stop);
        world->event_bound = event_bound;
    } else {
        if (pass.direct) { ecs__direct_write(world, stream, index); }
        if (pass.sent > 0) { ecs__send(world, stream, batch); }
        if (pass.confirms) { ecs__confirm(world, stream, batch); }
    }
    for (uint32_t i = 0; i < world->growing_count; i++) {
        world->growing[i]->grows = false;
    }
}
