/* The command stream. At most one batch is open at a time, because whoever records seals before
 * anyone else runs; so batches lie one after the other in one stream.
 *
 *   stream ─▶ chunk 0 │ batch A: cmd cmd cmd │ batch B: cmd ──▶ chunk 1 │ cmd cmd │ (open) cmd
 *
 * A payload pointer stays valid until the apply: chunks never move. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static ecs__stream_t *recording(ecs_world_t *world) { return &world->stream[world->recording]; }

ecs__pos_t ecs__cmd_first(const ecs__stream_t *stream, const ecs__batch_t *batch) {
    if (batch->first == batch->end) { return batch->end; }
    uint32_t at = batch->first - 1;
    bool at_chunk_end = (at & 0x1fff) << 3 >= stream->chunk_end[at >> 13];
    return at_chunk_end ? ecs__pos_of((at >> 13) + 1, 0) : batch->first;
}

/* ---- the place that is written to ----------------------------------------------------------- */

/* Bytes of the chunk that are used. */
static uint32_t used_bytes(const ecs_world_t *world) {
    const ecs__stream_t *stream = &world->stream[world->recording];
    if (stream->chunk_count == 0) { return 0; }
    return (uint32_t)(world->recorder.at - stream->chunks[stream->at_chunk]);
}

static void note_end(ecs_world_t *world) {
    ecs__stream_t *stream = recording(world);
    if (stream->chunk_count > 0) { stream->chunk_end[stream->at_chunk] = used_bytes(world); }
}

/* Where the recorder stands while the open batch holds nothing; another place while none is open,
 * or the phase is none to record in. */
static const char *empty_at(const ecs_world_t *world) {
    const ecs__stream_t *stream = &world->stream[world->recording];
    bool may = stream->open && (ECS__RECORD_PHASES >> world->phase & 1u) != 0;
    if (!may) { return (const char *)world; }
    if (stream->chunk_count == 0) { return NULL; }
    ecs__pos_t first = stream->current.first - 1;
    return stream->chunks[first >> 13] + ((first & 0x1fff) << 3);
}

void ecs__recorder_set(ecs_world_t *world) {
    const ecs__stream_t *stream = recording(world);
    bool writable =
        stream->open && stream->chunk_count > 0 && (ECS__RECORD_PHASES >> world->phase & 1u) != 0;
    world->recorder.stop =
        writable ? stream->chunks[stream->at_chunk] + ECS__CMD_CHUNK_BYTES : NULL;
    world->recorder.flags = stream->flags << 8;
    world->empty_at = empty_at(world);
}

/* The chunk is the one to write to, from so many bytes on. */
static void write_at(ecs_world_t *world, uint32_t chunk, uint32_t bytes) {
    ecs__stream_t *stream = recording(world);
    stream->at_chunk = chunk;
    world->recorder.at = stream->chunk_count == 0 ? NULL : stream->chunks[chunk] + bytes;
    note_end(world);
    ecs__recorder_set(world);
}

ecs_recorder_t *ecs_recorder(ecs_world_t *world) { return &world->recorder; }

ecs__pos_t ecs__stream_pos(const ecs_world_t *world) {
    return ecs__pos_of(world->stream[world->recording].at_chunk, used_bytes(world));
}

void ecs__stream_rewind(ecs_world_t *world, ecs__pos_t place) {
    write_at(world, (place - 1) >> 13, ((place - 1) & 0x1fff) << 3);
}

/* Makes the chunk after the last one the one that is written to. */
static int chunk_next(ecs_world_t *world, ecs__stream_t *stream) {
    uint32_t next = stream->chunk_count == 0 ? 0 : stream->at_chunk + 1;
    if (next == ECS__CMD_MAX_CHUNKS) {
        return ecs__fail(world, ECS_E_LIMIT, "more than 4 GiB of commands in one round");
    }
    note_end(world);
    if (next == stream->chunk_count) {
        uint32_t ends = stream->chunk_capacity;
        if (!ECS__ROOM(stream->chunk_end, next + 1, ends)) { return ecs__oom(world); }
        if (!ECS__ROOM(stream->chunks, next + 1, stream->chunk_capacity)) {
            return ecs__oom(world);
        }
        char *made = ecs__calloc(1, ECS__CMD_CHUNK_BYTES);
        if (made == NULL) { return ecs__oom(world); }
        stream->chunks[stream->chunk_count++] = made;
    }
    write_at(world, next, 0);
    return ECS_OK;
}

/* Room for a command; NULL with the error noted. */
static ecs__cmd_t *stream_take(ecs_world_t *world, ecs__stream_t *stream, size_t bytes) {
    if (stream->chunk_count == 0 || used_bytes(world) + bytes > ECS__CMD_CHUNK_BYTES) {
        if (chunk_next(world, stream) != ECS_OK) { return NULL; }
    }
    ecs__cmd_t *cmd = (ecs__cmd_t *)(void *)world->recorder.at;
    world->recorder.at += bytes;
    return cmd;
}

/* A peak is given back, a quarter an apply; what stays is twice what was used last. */
static void stream_shrink(ecs__stream_t *stream) {
    uint32_t keep = 2 * (stream->at_chunk + 1);
    if (stream->chunk_count <= keep) { return; }
    for (uint32_t left = (stream->chunk_count - keep + 3) / 4; left > 0; left--) {
        free(stream->chunks[--stream->chunk_count]);
    }
}

void ecs__stream_clear(ecs_world_t *world, ecs__stream_t *stream) {
    stream_shrink(stream);
    stream->at_chunk = 0;
    stream->batch_count = 0;
    stream->spawned_count = 0;
    ecs__blocks_free(world, stream, 0);
    if (stream->chunk_count > 0) { stream->chunk_end[0] = 0; }
}

void ecs__stream_fini(ecs_world_t *world) {
    for (size_t i = 0; i < 2; i++) {
        ecs__stream_t *stream = &world->stream[i];
        for (uint32_t j = 0; j < stream->chunk_count; j++) {
            free(stream->chunks[j]);
        }
        free(stream->chunks);
        free(stream->chunk_end);
        free(stream->batches);
        free(stream->spawned);
        free(stream->cuts);
        ecs__blocks_free(world, stream, 0);
        free(stream->blocks);
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

/* Room for what sealing, going back and saying what became of a batch need: they cannot fail. */
static bool batch_room(ecs_world_t *world, ecs__stream_t *stream) {
    return ECS__ROOM(stream->batches, stream->batch_count + 1, stream->batch_capacity) &&
           ECS__ROOM(world->next_results, stream->batch_count + 1, world->next_result_capacity) &&
           ECS__ROOM(stream->cuts, 1, stream->cut_capacity);
}

static void batch_open(ecs_world_t *world, ecs__stream_t *stream, uint64_t owner, ecs__pos_t at) {
    stream->current =
        (ecs__batch_t){.owner = owner, .first = at, .end = at, .spawned = stream->spawned_count};
    stream->open = true;
    world->batches_begun++; /* marks of the one before end */
    stream->flags = 0;
    stream->place = 0;
    stream->cut_count = stream->cut_number = 0;
}

int ecs_batch_begin(ecs_world_t *world, uint64_t owner) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = recording(world);
    if (stream->open) { return ecs__fail(world, ECS_E_INVALID, "a batch is open already"); }
    if (!batch_room(world, stream)) { return ecs__oom(world); }
    batch_open(world, stream, owner, ecs__stream_pos(world));
    ecs__recorder_set(world);
    return ECS_OK;
}

/* Ends the open batch at the place. */
static bool batch_close(ecs_world_t *world, ecs__stream_t *stream, ecs__pos_t at) {
    note_end(world);
    stream->current.end = at;
    bool any = stream->open && at != stream->current.first;
    if (any) { stream->batches[stream->batch_count++] = stream->current; }
    stream->open = false;
    return any;
}

int ecs_batch_next(ecs_world_t *world, uint64_t owner) {
    ecs__stream_t *stream = recording(world);
    if (world->recorder.at == world->empty_at) { /* open, and in a phase that records */
        world->batches_begun++;
        stream->current.owner = owner;
        stream->flags = 0;
        stream->place = 0;
        stream->cut_count = stream->cut_number = 0;
        world->recorder.flags = 0;
        return ECS_OK;
    }
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__pos_t at = ecs__stream_pos(world);
    if (stream->open) { (void)batch_close(world, stream, at); }
    bool room = batch_room(world, stream);
    if (room) { batch_open(world, stream, owner, at); }
    ecs__recorder_set(world);
    return room ? ECS_OK : ecs__oom(world);
}

int ecs_batch_flags(ecs_world_t *world, uint32_t flags) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    if ((flags & ~(uint32_t)(ECS_FLAG_STRICT | ECS_FLAG_SILENT)) != 0) {
        return ecs__fail(world, ECS_E_INVALID, "no batch flags %u", flags);
    }
    recording(world)->flags = (uint8_t)flags;
    ecs__recorder_set(world);
    return ECS_OK;
}

int ecs_batch_place(ecs_world_t *world, uint32_t place) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    if (place > UINT16_MAX) {
        return ecs__fail(world, ECS_E_INVALID, "place %u: at most %d", place, UINT16_MAX);
    }
    recording(world)->place = (uint16_t)place;
    return ECS_OK;
}

int ecs_batch_seal(ecs_world_t *world, bool *sealed) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    bool any = batch_close(world, recording(world), ecs__stream_pos(world));
    ecs__recorder_set(world);
    if (sealed != NULL) { *sealed = any; }
    return ECS_OK;
}

ecs_mark_t ecs_batch_mark(const ecs_world_t *world) {
    return (ecs_mark_t){world->batches_begun, ecs__stream_pos(world),
                        world->stream[world->recording].cut_number};
}

bool ecs_batch_recorded(const ecs_world_t *world) {
    const ecs__stream_t *stream = &world->stream[world->recording];
    return stream->open && ecs__stream_pos(world) != stream->current.first;
}

/* Whether nothing before the mark was taken back since it was made. */
static bool mark_stands(const ecs__stream_t *stream, const ecs_mark_t *mark) {
    uint32_t low = 0, high = stream->cut_count; /* the first rollback after it went furthest */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream->cuts[middle].number > mark->cuts) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low == stream->cut_count || mark->at <= stream->cuts[low].at;
}

/* Notes a rollback. It stands for earlier ones that went less far. Without memory it becomes one
 * with the last, which ends some marks between them that were good. */
static void note_cut(ecs__stream_t *stream, ecs__pos_t at) {
    uint32_t number = ++stream->cut_number;
    while (stream->cut_count > 0 && stream->cuts[stream->cut_count - 1].at >= at) {
        stream->cut_count--;
    }
    if (ECS__ROOM(stream->cuts, stream->cut_count + 1, stream->cut_capacity)) {
        stream->cuts[stream->cut_count++] = (ecs__cut_t){number, at};
    } else if (stream->cut_count > 0) {
        stream->cuts[stream->cut_count - 1].number = number;
    }
}

/* How many ids of the stream were reserved before `place` in the open batch. */
static uint32_t spawned_before(const ecs__stream_t *stream, ecs__pos_t place) {
    uint32_t low = stream->current.spawned, high = stream->spawned_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream->spawned[middle].at < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Frees the ids that were reserved from `first` on. */
static void free_spawned(ecs_world_t *world, ecs__stream_t *stream, uint32_t first) {
    uint32_t many = 0;
    for (uint32_t i = first; i < stream->spawned_count; i++) {
        const ecs__spawned_t *spawned = &stream->spawned[i];
        const ecs_id_t *ids = spawned->many != NULL ? spawned->many : &spawned->one;
        for (uint32_t k = 0; k < spawned->count; k++) {
            ecs__entity_free(world, ecs__index(ids[k]));
        }
        if (spawned->many != NULL) { many++; }
    }
    ecs__blocks_free(world, stream, stream->block_count - many); /* theirs are the last ones */
    stream->spawned_count = first;
}

int ecs_batch_rollback(ecs_world_t *world, ecs_mark_t mark) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = recording(world);
    if (!stream->open) { return ECS_OK; }
    bool here = mark.batch == world->batches_begun && mark.at >= stream->current.first;
    ecs__pos_t first = here ? mark.at : stream->current.first;
    if (first > ecs__stream_pos(world) || (here && !mark_stands(stream, &mark))) {
        return ecs__fail(world, ECS_E_INVALID,
                         "the mark ended when an earlier one was gone back to");
    }
    free_spawned(world, stream, here ? spawned_before(stream, first) : stream->current.spawned);
    if (stream->current.expects > first) { stream->current.expects = 0; }
    note_cut(stream, first);
    ecs__stream_rewind(world, first);
    return ECS_OK;
}

int ecs_batch_drop(ecs_world_t *world) {
    int rc = ecs_batch_rollback(world, (ecs_mark_t){0});
    if (rc != ECS_OK) { return rc; }
    recording(world)->open = false;
    ecs__recorder_set(world);
    return ECS_OK;
}

bool ecs_batch_open(const ecs_world_t *world, uint64_t *owner) {
    const ecs__stream_t *stream = &world->stream[world->recording];
    *owner = stream->current.owner;
    return stream->open;
}

uint32_t ecs_batch_count(const ecs_world_t *world) {
    return world->stream[world->recording].batch_count;
}

/* ---- recording ------------------------------------------------------------------------------ */

/* Whether a command may be recorded now, and names a component when it has one. */
static int may_record(ecs_world_t *world, uint32_t op, uint32_t component) {
    int rc = ecs__guard(world, ECS__RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    if (!recording(world)->open) {
        return ecs__fail(world, ECS_E_PHASE,
                         "commands are recorded in a task, a system or an observer");
    }
    bool names = (op >= ECS_OP_INSERT && op <= ECS_OP_EXPECT) || op == ECS_OP_CONFIRM;
    if (names && component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    return ECS_OK;
}

/* Whether what follows the command is a value of the component, and `mask` names its fields. */
static int check_value(ecs_world_t *world, uint32_t op, uint32_t component, double mask) {
    if (op == ECS_OP_INSERT || op == ECS_OP_EXPECT) { return ECS_OK; }
    if (op != ECS_OP_SET && op != ECS_OP_ADD) {
        return ecs__fail(world, ECS_E_INVALID, "operation %u carries no value", op);
    }
    uint64_t end = 1ull << world->components[component].field_count;
    if (!(mask >= 0 && mask < (double)end) || mask != (double)(uint64_t)mask) {
        return ecs__fail(world, ECS_E_INVALID, "%s has no fields %g",
                         world->components[component].name, mask);
    }
    return ECS_OK;
}

int ecs__record_check(ecs_world_t *world, uint32_t op, uint32_t component, double mask) {
    int rc = may_record(world, op, component);
    return rc == ECS_OK ? check_value(world, op, component, mask) : rc;
}

/* Writes the header of a command that may be recorded; NULL with the error noted. */
static ecs__cmd_t *take_command(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component,
                                size_t payload) {
    const ecs__stream_t *stream = recording(world);
    ecs__cmd_t *cmd = stream_take(world, recording(world), sizeof *cmd + payload);
    if (cmd != NULL) {
        *cmd = (ecs__cmd_t){.op = (uint8_t)op,
                            .flags = stream->flags,
                            .component = (uint16_t)component,
                            .id = id,
                            .fields = (uint64_t)stream->place << ECS__PLACE_SHIFT};
    }
    return cmd;
}

ecs__cmd_t *ecs__cmd_record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component,
                            size_t payload) {
    if (may_record(world, op, component) != ECS_OK) { return NULL; }
    return take_command(world, op, id, component, payload);
}

/* Records a spawn and reserves its id; 0, with nothing recorded, when one of them fails. */
static ecs_id_t record_spawn(ecs_world_t *world, bool placed, ecs__cmd_t **out) {
    ecs__stream_t *stream = recording(world);
    ecs__pos_t before = ecs__stream_pos(world);
    if (!ECS__ROOM(stream->spawned, stream->spawned_count + 1, stream->spawned_capacity)) {
        (void)ecs__oom(world);
        return 0;
    }
    ecs__cmd_t *cmd =
        ecs__cmd_record(world, ECS_OP_SPAWN, 0, placed ? 1 : 0, placed ? sizeof(ecs__spawn_t) : 0);
    if (cmd == NULL) { return 0; }
    cmd->id = ecs__entity_reserve(world);
    if (cmd->id == 0) {
        ecs__stream_rewind(world, before);
        return 0;
    }
    stream->spawned[stream->spawned_count++] =
        (ecs__spawned_t){.one = cmd->id, .count = 1, .at = before};
    *out = cmd;
    return cmd->id;
}

ecs_id_t ecs_record_spawn(ecs_world_t *world, ecs_id_t parent, const char *name) {
    bool has_name = name != NULL && name[0] != '\0';
    bool placed = parent != 0 || has_name;
    if (has_name && (strlen(name) >= ECS_NAME_BYTES || strchr(name, '/') != NULL)) {
        (void)ecs__fail(world, ECS_E_INVALID, "an entity's name has at most %d bytes and no '/'",
                        ECS_NAME_BYTES - 1);
        return 0;
    }
    ECS__ENTER(world);
    ecs__cmd_t *cmd = NULL;
    ecs_id_t id = record_spawn(world, placed, &cmd);
    if (id != 0 && placed) {
        ecs__spawn_t *payload = (ecs__spawn_t *)(void *)(cmd + 1);
        *payload = (ecs__spawn_t){.parent = parent};
        if (has_name) { (void)snprintf(payload->name, sizeof payload->name, "%s", name); }
    }
    ECS__LEAVE(world);
    return id;
}

/* The place of the value of a command that was just recorded. */
static void *fill_value(ecs_world_t *world, ecs__cmd_t *cmd, double mask) {
    const ecs__component_t *component = &world->components[cmd->component];
    char *slot = (char *)(cmd + 1);
    if (cmd->op == ECS_OP_SET || cmd->op == ECS_OP_ADD) {
        cmd->fields |= (uint64_t)mask;
    } else {
        ecs__copy(slot, component->default_value, component->size_bytes);
    }
    ecs__batch_t *batch = &recording(world)->current;
    if (cmd->op == ECS_OP_EXPECT && batch->expects == 0) {
        batch->expects = ecs__stream_pos(world);
    }
    return slot;
}

void *ecs_record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component, double mask) {
    ECS__ENTER(world);
    void *slot = NULL;
    if (ecs__record_check(world, op, component, mask) == ECS_OK) {
        size_t bytes = ecs__align(world->components[component].size_bytes, 8);
        ecs__cmd_t *cmd = take_command(world, op, id, component, bytes);
        if (cmd != NULL) { slot = fill_value(world, cmd, mask); }
    }
    ECS__LEAVE(world);
    return slot;
}

void *ecs_record_at(ecs_world_t *world, uint32_t place, uint32_t op, ecs_id_t id,
                    uint32_t component, double mask) {
    return ecs_batch_place(world, place) == ECS_OK ? ecs_record(world, op, id, component, mask)
                                                   : NULL;
}

int ecs_record_plain(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component) {
    ECS__ENTER(world);
    int rc = may_record(world, op, component);
    if (rc == ECS_OK && op != ECS_OP_DESPAWN && op != ECS_OP_REMOVE && op != ECS_OP_CONFIRM) {
        rc = ecs__fail(world, ECS_E_INVALID, "operation %u carries a value", op);
    }
    if (rc == ECS_OK && take_command(world, op, id, component, 0) == NULL) {
        rc = world->error_code;
    }
    ECS__LEAVE(world);
    return rc;
}
