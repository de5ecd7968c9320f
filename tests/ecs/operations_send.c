/* Events that are sent, to all kinds of targets. */
#include <string.h>

#include "operations.h"

enum { BACK = 24, ROOM = 16 };

/* ---- targets -------------------------------------------------------------------------------- */

/* The target of the newest command of the open batch that has this operation, or the other; 0. */
static ecs_id_t recorded(const session_t *s, uint32_t op, uint32_t other) {
    const model_t *m = s->model;
    uint32_t first = m->batch[m->batch_count].first;
    for (uint32_t at = m->command_count; at > first && at + BACK > m->command_count; at--) {
        const model_command_t *c = &m->command[at - 1];
        if (c->op == op || c->op == other) { return c->id; }
    }
    return 0;
}

/* Mostly the entity of a spawn of the batch, alone or of many; of a new one when there is none. */
static ecs_id_t pick_spawned(session_t *s) {
    ecs_id_t id = recorded(s, ECS_OP_SPAWN, ECS_OP_SPAWN_MANY);
    bool full = s->model->alive >= s->most_entities;
    return id == 0 && !full ? operation_record_spawn(s, 0, NULL) : id;
}

static ecs_id_t pick_target(session_t *s) {
    switch (session_below(s, 10)) {
    case 0:
    case 1: return 0; /* nobody in particular */
    case 2:
    case 3: return pick_spawned(s);
    case 4: return operation_next_id(s);
    case 5: return recorded(s, ECS_OP_DESPAWN, ECS_OP_DESPAWN);
    case 6: return operation_pick_id(s) - 4294967296.0; /* gone */
    default: return operation_pick_id(s);
    }
}

/* ---- recording ------------------------------------------------------------------------------ */

static void fill(session_t *s, uint32_t w, const model_command_t *c) {
    const model_component_t *type = &MODEL_STRUCT[c->component];
    char *slot = ecs_record_send(s->world[w], c->component, c->id);
    if (slot == NULL) { session_fail(s, "%s", ecs_last_error(s->world[w])); }
    if (memcmp(slot, type->default_value, type->size_bytes) != 0) {
        session_fail(s, "an event does not begin with defaults");
    }
    for (uint32_t i = 0; i < type->field_count; i++) {
        const model_field_t *field = &type->field[i];
        memcpy(slot + field->offset_bytes, c->value + field->offset_bytes, field->size_bytes);
    }
}

void operation_record_send(session_t *s, ecs_id_t to) {
    uint32_t event = session_below(s, 4) == 0 ? MODEL_NOTE : MODEL_SIGNAL;
    const model_component_t *type = &MODEL_STRUCT[event];
    uint32_t all = 1u << type->field_count, mask = session_below(s, all); /* 0: the defaults */
    if (session_below(s, 3) == 0) { operation_place(s); }
    operation_open_batch(s);
    model_command_t *c = model_record(s->model, ECS_OP_SEND, to, event);
    memcpy(c->value, type->default_value, type->size_bytes);
    session_scramble_fields(s, type, mask, c->value);
    session_log(s, "send %s to %.17g, mask %u", type->name, to, mask);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        fill(s, w, c);
    }
}

static void refused_sends(session_t *s, ecs_id_t to) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        double values[8] = {0};
        ecs_id_t ids[] = {to, to};
        session_same(s, "an unknown struct", ecs_record_send(world, MODEL_STRUCTS, to) == NULL,
                     true);
        session_same(s, "the error of an unknown struct",
                     strcmp(ecs_last_error(world), "no struct 2") == 0, true);
        session_same(s, "a plain event", ecs_record_plain(world, ECS_OP_SEND, to, MODEL_SIGNAL),
                     ECS_E_INVALID);
        session_same(s, "many events",
                     ecs_record_many(world, ECS_OP_SEND, MODEL_SIGNAL, 0, 2, ids, values),
                     ECS_E_INVALID);
    }
}

/* One is forgotten, and maybe its target with it. */
static void forgotten_send(session_t *s) {
    session_mark_t mark = operation_take_mark(s);
    operation_record_send(s, pick_target(s));
    session_log(s, "forget that");
    operation_roll_back(s, &mark);
}

/* Some events, and between them what makes targets and ends them. */
void operation_send(session_t *s) {
    operation_open_batch(s);
    if (s->model->command_count + ROOM > MODEL_COMMANDS) { return; } /* no apply in between */
    if (session_below(s, 8) == 0) { operation_flags(s); }
    if (session_below(s, 8) == 0) { forgotten_send(s); }
    if (session_below(s, 8) == 0) { refused_sends(s, operation_pick_id(s)); }
    for (uint32_t left = 1 + session_below(s, 3); left > 0; left--) {
        ecs_id_t to = pick_target(s);
        operation_record_send(s, to);
        switch (session_below(s, 8)) {
        case 0: operation_record_plain(s, ECS_OP_DESPAWN, to, 0); break;
        case 1:
            operation_record_value(s, ECS_OP_INSERT, to, operation_pick_component(s, to, true));
            break;
        default: break;
        }
    }
    if (s->model->alive < s->most_entities && session_below(s, 8) == 0) {
        (void)operation_record_spawn(s, 0, NULL);
    }
}
