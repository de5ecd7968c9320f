/* Events that scripts and systems send: values of a struct, to an entity or to nobody in
 * particular. They lie in the stream, where they were recorded, until the next apply. */
#include "internal.h"

void *ecs_record_send(ecs_world_t *world, uint32_t event, ecs_id_t to) {
    if (event >= world->struct_count) {
        int rc = ecs__guard(world, ECS__RECORD_PHASES);
        if (rc == ECS_OK) { (void)ecs__fail(world, ECS_E_UNKNOWN, "no struct %u", event); }
        return NULL;
    }
    ECS__ENTER(world);
    const ecs__component_t *type = &world->structs[event];
    size_t bytes = ecs__align(type->size_bytes, 8);
    ecs__cmd_t *cmd = ecs__cmd_record(world, ECS_OP_SEND, to, event, bytes);
    if (cmd != NULL) { ecs__copy((char *)(cmd + 1), type->default_value, type->size_bytes); }
    ECS__LEAVE(world);
    return cmd == NULL ? NULL : cmd + 1;
}

int ecs__sent_reserve(ecs_world_t *world, uint32_t count) {
    if (count > ECS__MAX_EVENTS - world->sent_count) {
        return ecs__fail(world, ECS_E_LIMIT, "more than %u events sent in one round",
                         ECS__MAX_EVENTS);
    }
    return ECS__ROOM(world->sent, world->sent_count + count, world->sent_capacity)
               ? ECS_OK
               : ecs__oom(world);
}

void ecs__send(ecs_world_t *world, const ecs__stream_t *stream, const ecs__batch_t *batch) {
    for (ecs__pos_t pos = ecs__cmd_first(stream, batch); pos != batch->end;
         pos = ecs__cmd_after(world, stream, pos, batch->end)) {
        const ecs__cmd_t *cmd = ecs__cmd_at(stream, pos);
        if (cmd->op != ECS_OP_SEND || cmd->next != ECS__DIRECT) { continue; }
        world->sent[world->sent_count++] = (ecs_sent_t){.to = cmd->id,
                                                        .event = cmd->component,
                                                        .place = ecs__cmd_place(cmd),
                                                        .owner = batch->owner,
                                                        .value = cmd + 1};
    }
}

const ecs_sent_t *ecs_sent(const ecs_world_t *world, uint32_t *count) {
    *count = world->sent_count;
    return world->sent;
}
