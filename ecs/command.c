/* The command stream. At most one batch is open at a time, because whoever records seals before
 * anyone else runs; so batches lie one after the other in one stream.
 *
 *   stream ─▶ chunk 0 │ batch A: cmd cmd cmd │ batch B: cmd ──▶ chunk 1 │ cmd cmd │ (open) cmd
 *
 * A payload pointer stays valid until the apply: chunks never move. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define RECORD_PHASES (1u << ECS_PHASE_RUN | 1u << ECS_PHASE_WRITE | 1u << ECS_PHASE_REACT)
#define MASK_BYTES sizeof(uint64_t)

static ecs__stream_t *recording(ecs_world_t *world) { return &world->stream[world->recording]; }

static ecs__pos_t pos_of(uint32_t chunk, uint32_t bytes) { return (chunk << 13 | bytes >> 3) + 1; }

static size_t payload_bytes(const ecs_world_t *world, const ecs__cmd_t *cmd) {
    size_t size =
        cmd->component < world->component_count ? world->components[cmd->component].size_bytes : 0;
    switch (cmd->op) {
    case ECS_OP_SPAWN: return cmd->component != 0 ? sizeof(ecs__spawn_t) : 0;
    case ECS_OP_INSERT:
    case ECS_OP_EXPECT: return ecs__align(size, 8);
    case ECS_OP_SET:
    case ECS_OP_ADD: return ecs__align(MASK_BYTES + size, 8);
    default: return 0;
    }
}

ecs__pos_t ecs__cmd_first(const ecs__stream_t *stream, const ecs__batch_t *batch) {
    if (batch->first == batch->end) { return batch->end; }
    uint32_t at = batch->first - 1;
    bool at_chunk_end = (at & 0x1fff) << 3 >= stream->chunk_end[at >> 13];
    return at_chunk_end ? pos_of((at >> 13) + 1, 0) : batch->first;
}

ecs__pos_t ecs__cmd_after(const ecs_world_t *world, const ecs__stream_t *stream, ecs__pos_t pos,
                          ecs__pos_t end) {
    uint32_t chunk = (pos - 1) >> 13, at = ((pos - 1) & 0x1fff) << 3;
    at += (uint32_t)(sizeof(ecs__cmd_t) + payload_bytes(world, ecs__cmd_at(stream, pos)));
    if (pos_of(chunk, at) == end) { return end; }
    return at >= stream->chunk_end[chunk] ? pos_of(chunk + 1, 0) : pos_of(chunk, at);
}

/* Room for a command; NULL when the stream has reached its limit. */
static ecs__cmd_t *stream_take(ecs_world_t *world, ecs__stream_t *stream, size_t bytes) {
    if (stream->chunk_count == 0 || stream->at_bytes + bytes > ECS__CMD_CHUNK_BYTES) {
        uint32_t next = stream->chunk_count == 0 ? 0 : stream->at_chunk + 1;
        if (next == ECS__CMD_MAX_CHUNKS) {
            (void)ecs__fail(world, ECS_E_LIMIT, "more than 4 GiB of commands in one round");
            return NULL;
        }
        if (next == stream->chunk_count) {
            uint32_t capacity = stream->chunk_capacity;
            *ECS__PUSH(stream->chunks, stream->chunk_count, stream->chunk_capacity) =
                ecs__calloc(1, ECS__CMD_CHUNK_BYTES);
            if (capacity != stream->chunk_capacity) {
                uint32_t *ends = ecs__calloc(stream->chunk_capacity, sizeof(uint32_t));
                if (capacity > 0) { memcpy(ends, stream->chunk_end, capacity * sizeof(uint32_t)); }
                free(stream->chunk_end);
                stream->chunk_end = ends;
            }
        }
        stream->at_chunk = next;
        stream->at_bytes = 0;
        stream->chunk_end[next] = 0;
    }
    ecs__cmd_t *cmd = (ecs__cmd_t *)(void *)(stream->chunks[stream->at_chunk] + stream->at_bytes);
    stream->at_bytes += (uint32_t)bytes;
    stream->chunk_end[stream->at_chunk] = stream->at_bytes;
    return cmd;
}

static ecs__pos_t stream_pos(const ecs__stream_t *stream) {
    return pos_of(stream->at_chunk, stream->at_bytes);
}

/* A peak is given back, a quarter an apply; what stays is twice what was used last. */
static void stream_shrink(ecs__stream_t *stream) {
    uint32_t keep = 2 * (stream->at_chunk + 1);
    if (stream->chunk_count <= keep) { return; }
    for (uint32_t left = (stream->chunk_count - keep + 3) / 4; left > 0; left--) {
        free(stream->chunks[--stream->chunk_count]);
    }
}

void ecs__stream_clear(ecs__stream_t *stream) {
    stream_shrink(stream);
    stream->at_chunk = 0;
    stream->at_bytes = 0;
    stream->batch_count = 0;
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
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

int ecs_batch_begin(ecs_world_t *world, uint64_t owner) {
    int rc = ecs__guard(world, RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = recording(world);
    if (stream->open) { return ecs__fail(world, ECS_E_INVALID, "a batch is open already"); }
    ecs__pos_t at = stream_pos(stream);
    stream->current = (ecs__batch_t){.owner = owner, .first = at, .end = at};
    stream->open = true;
    world->batches_begun++;
    stream->flags = 0;
    return ECS_OK;
}

int ecs_batch_flags(ecs_world_t *world, uint32_t flags) {
    int rc = ecs__guard(world, RECORD_PHASES);
    if (rc == ECS_OK) { recording(world)->flags = (uint8_t)flags; }
    return rc;
}

int ecs_batch_seal(ecs_world_t *world, bool *sealed) {
    int rc = ecs__guard(world, RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = recording(world);
    stream->current.end = stream_pos(stream);
    bool any = stream->open && stream->current.end != stream->current.first;
    if (any) {
        *ECS__PUSH(stream->batches, stream->batch_count, stream->batch_capacity) = stream->current;
    }
    stream->open = false;
    if (sealed != NULL) { *sealed = any; }
    return ECS_OK;
}

/* Frees the ids that spawns from `first` on have reserved. */
static void free_reserved(ecs_world_t *world, ecs__stream_t *stream, ecs__pos_t first) {
    ecs__batch_t rest = {.first = first, .end = stream_pos(stream)};
    for (ecs__pos_t at = ecs__cmd_first(stream, &rest); at != rest.end;
         at = ecs__cmd_after(world, stream, at, rest.end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, at);
        if (cmd->op != ECS_OP_SPAWN) { continue; }
        ecs__entity_free(world, ecs__index(cmd->id));
        stream->current.reserved--;
    }
}

ecs_mark_t ecs_batch_mark(const ecs_world_t *world) {
    const ecs__stream_t *stream = &world->stream[world->recording];
    return (ecs_mark_t){world->batches_begun, stream_pos(stream)};
}

int ecs_batch_rollback(ecs_world_t *world, ecs_mark_t mark) {
    int rc = ecs__guard(world, RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__stream_t *stream = recording(world);
    if (!stream->open) { return ECS_OK; }
    bool here = mark.batch == world->batches_begun && mark.at >= stream->current.first;
    ecs__pos_t first = here ? mark.at : stream->current.first;
    if (first > stream_pos(stream)) {
        return ecs__fail(world, ECS_E_INVALID,
                         "the mark ended when an earlier one was gone back to");
    }
    if (stream->current.reserved > 0) { free_reserved(world, stream, first); }
    stream->at_chunk = (first - 1) >> 13;
    stream->at_bytes = ((first - 1) & 0x1fff) << 3;
    if (stream->chunk_count > 0) { stream->chunk_end[stream->at_chunk] = stream->at_bytes; }
    return ECS_OK;
}

int ecs_batch_drop(ecs_world_t *world) {
    int rc = ecs_batch_rollback(world, (ecs_mark_t){0});
    if (rc == ECS_OK) { recording(world)->open = false; }
    return rc;
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
    int rc = ecs__guard(world, RECORD_PHASES);
    if (rc != ECS_OK) { return rc; }
    if (!recording(world)->open) {
        return ecs__fail(world, ECS_E_PHASE,
                         "commands are recorded in a task, a system or an observer");
    }
    if (op != ECS_OP_SPAWN && op != ECS_OP_DESPAWN && component >= world->component_count) {
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

/* Writes the header of a command; NULL with the error noted when the stream is full. */
static ecs__cmd_t *record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component,
                          size_t payload) {
    ecs__stream_t *stream = recording(world);
    ecs__cmd_t *cmd = stream_take(world, stream, sizeof *cmd + payload);
    if (cmd != NULL) {
        *cmd = (ecs__cmd_t){
            .op = (uint8_t)op, .flags = stream->flags, .component = (uint16_t)component, .id = id};
    }
    return cmd;
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
    ecs_id_t id = 0;
    ecs__cmd_t *cmd = NULL;
    if (may_record(world, ECS_OP_SPAWN, 0) == ECS_OK) {
        cmd = record(world, ECS_OP_SPAWN, 0, placed ? 1 : 0, placed ? sizeof(ecs__spawn_t) : 0);
    }
    if (cmd != NULL) {
        id = ecs__entity_reserve(world);
        cmd->id = id;
        recording(world)->current.reserved++;
    }
    if (cmd != NULL && placed) {
        ecs__spawn_t *payload = (ecs__spawn_t *)(void *)(cmd + 1);
        *payload = (ecs__spawn_t){.parent = parent};
        if (has_name) { (void)snprintf(payload->name, sizeof payload->name, "%s", name); }
    }
    ECS__LEAVE(world);
    return id;
}

void *ecs_record(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component, double mask) {
    ECS__ENTER(world);
    char *slot = NULL;
    ecs__cmd_t *cmd = NULL;
    bool masked = op == ECS_OP_SET || op == ECS_OP_ADD;
    size_t size = component < world->component_count ? world->components[component].size_bytes : 0;
    if (may_record(world, op, component) == ECS_OK &&
        check_value(world, op, component, mask) == ECS_OK) {
        cmd = record(world, op, id, component, ecs__align(size + (masked ? MASK_BYTES : 0), 8));
    }
    if (cmd != NULL) {
        slot = (char *)(cmd + 1);
        if (masked) {
            uint64_t bits = (uint64_t)mask;
            memcpy(slot, &bits, sizeof bits);
            slot += MASK_BYTES;
            memset(slot, 0, size);
        } else {
            memcpy(slot, world->components[component].default_value, size);
        }
    }
    ECS__LEAVE(world);
    return slot;
}

int ecs_record_plain(ecs_world_t *world, uint32_t op, ecs_id_t id, uint32_t component) {
    ECS__ENTER(world);
    int rc = may_record(world, op, component);
    if (rc == ECS_OK && op != ECS_OP_DESPAWN && op != ECS_OP_REMOVE) {
        rc = ecs__fail(world, ECS_E_INVALID, "operation %u carries a value", op);
    }
    if (rc == ECS_OK && record(world, op, id, component, 0) == NULL) { rc = ECS_E_LIMIT; }
    ECS__LEAVE(world);
    return rc;
}
