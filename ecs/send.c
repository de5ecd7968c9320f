/* Events that scripts and systems send: values of a struct, to an entity or to nobody in
 * particular. They lie in the stream, where they were recorded, until the next apply. */
#include "internal.h"

void *ecs_record_send(ecs_world_t *world, uint32_t event, ecs_id_t to) {
    if (!ecs__struct_known(world, event)) {
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

/* ---- rooms ---------------------------------------------------------------------------------- */

enum { MAX_ROOMS = 1024 };

typedef struct ecs__room {
    ecs_id_t to; /* 0: events of the kind to whomever */
    uint32_t event;
    uint32_t free, used; /* by the batches that the apply has accepted so far */
    uint32_t next;       /* of the event, or free slot; index + 1 */
    bool open;
} room_t;

static bool concerns(const room_t *room, const ecs__cmd_t *cmd) {
    return room->to == 0 || room->to == cmd->id;
}

uint32_t ecs_room_open(ecs_world_t *world, uint32_t event, ecs_id_t to) {
    if (!ecs__struct_known(world, event)) {
        (void)ecs__fail(world, ECS_E_UNKNOWN, "no struct %u", event);
        return 0;
    }
    uint32_t room = world->room_free;
    if (room != 0) {
        world->room_free = world->rooms[room - 1].next;
    } else if (world->room_used == MAX_ROOMS) {
        (void)ecs__fail(world, ECS_E_LIMIT, "more than %d inboxes refuse events", (int)MAX_ROOMS);
        return 0;
    } else if (!ECS__ROOM(world->rooms, world->room_used + 1, world->room_capacity)) {
        (void)ecs__oom(world);
        return 0;
    } else {
        room = ++world->room_used;
    }
    uint32_t *first = &world->structs[event].rooms;
    world->rooms[room - 1] = (room_t){.to = to, .event = event, .next = *first, .open = true};
    *first = room;
    return room;
}

void ecs_room_set(ecs_world_t *world, uint32_t room, uint32_t free) {
    if (room == 0 || room > world->room_used || !world->rooms[room - 1].open) { return; }
    world->rooms[room - 1].free = free;
}

void ecs_room_close(ecs_world_t *world, uint32_t room) {
    if (room == 0 || room > world->room_used || !world->rooms[room - 1].open) { return; }
    uint32_t *at = &world->structs[world->rooms[room - 1].event].rooms;
    while (*at != room) {
        at = &world->rooms[*at - 1].next;
    }
    *at = world->rooms[room - 1].next;
    world->rooms[room - 1] = (room_t){.next = world->room_free};
    world->room_free = room;
}

void ecs__rooms_begin(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->room_used; i++) {
        world->rooms[i].used = 0;
    }
}

int ecs__room_take(ecs_world_t *world, const ecs__cmd_t *cmd) {
    uint32_t first = world->structs[cmd->component].rooms;
    for (uint32_t at = first; at != 0; at = world->rooms[at - 1].next) {
        const room_t *room = &world->rooms[at - 1];
        if (concerns(room, cmd) && room->used >= room->free) {
            return ecs__fail(world, ECS_E_FULL, "an inbox for %s is full",
                             world->structs[cmd->component].name);
        }
    }
    for (uint32_t at = first; at != 0; at = world->rooms[at - 1].next) {
        if (concerns(&world->rooms[at - 1], cmd)) { world->rooms[at - 1].used++; }
    }
    return ECS_OK;
}

void ecs__room_give_back(ecs_world_t *world, const ecs__cmd_t *cmd) {
    for (uint32_t at = world->structs[cmd->component].rooms; at != 0;
         at = world->rooms[at - 1].next) {
        if (concerns(&world->rooms[at - 1], cmd)) { world->rooms[at - 1].used--; }
    }
}
