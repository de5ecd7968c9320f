/* Calls in phases that must refuse them, and what they must answer. */
#include <string.h>

#include "operations.h"

/* The number that the text of an error stands for, of functions that answer NULL or 0. */
static int refused(ecs_world_t *world, bool was_refused) {
    if (!was_refused) { return ECS_OK; }
    return strstr(ecs_last_error(world), "not allowed in the") != NULL ? ECS_E_PHASE
                                                                       : ECS_E_INVALID;
}

static int call_apply(ecs_world_t *world) { return ecs_apply(world); }
static int call_begin(ecs_world_t *world) { return ecs_batch_begin(world, 1); }
static int call_next(ecs_world_t *world) { return ecs_batch_next(world, 1); }
static int call_flags(ecs_world_t *world) { return ecs_batch_flags(world, 0); }
static int call_seal(ecs_world_t *world) { return ecs_batch_seal(world, NULL); }
static int call_drop(ecs_world_t *world) { return ecs_batch_drop(world); }
static int call_rollback(ecs_world_t *world) { return ecs_batch_rollback(world, (ecs_mark_t){0}); }
static int call_despawn(ecs_world_t *world) {
    return ecs_record_plain(world, ECS_OP_DESPAWN, 4294967296.0, 0);
}
static int call_spawn(ecs_world_t *world) {
    return refused(world, ecs_record_spawn(world, 0, NULL) == 0);
}
static int call_insert(ecs_world_t *world) {
    return refused(world, ecs_record(world, ECS_OP_INSERT, 4294967296.0, 0, 0) == NULL);
}
static int call_send(ecs_world_t *world) {
    return refused(world, ecs_record_send(world, MODEL_SIGNAL, 0) == NULL);
}
static int call_send_unknown(ecs_world_t *world) {
    return refused(world, ecs_record_send(world, MODEL_STRUCTS, 0) == NULL);
}
static int call_write(ecs_world_t *world) {
    return refused(world, ecs_write(world, 4294967296.0, 0) == NULL);
}
static int call_write_begin(ecs_world_t *world) { return ecs_write_begin(world, 1); }
static int call_register(ecs_world_t *world) {
    uint32_t out = 0;
    return ecs_component_register(world, "Late", NULL, 0, &out);
}
static int call_register_enum(ecs_world_t *world) {
    static const char *const members[] = {"x"};
    uint32_t out = 0;
    return ecs_enum_register(world, "LateMode", members, 1, &out);
}

enum {
    RECORD = 1 << ECS_PHASE_RUN | 1 << ECS_PHASE_WRITE | 1 << ECS_PHASE_REACT,
    WRITE = 1 << ECS_PHASE_WRITE,
    DECLARE = 1 << ECS_PHASE_SETUP | 1 << ECS_PHASE_IDLE
};

static const struct {
    const char *name;
    uint32_t phases;
    int (*run)(ecs_world_t *world);
} CALLS[] = {
    {"ecs_apply", 1 << ECS_PHASE_APPLY, call_apply},
    {"ecs_batch_begin", RECORD, call_begin},
    {"ecs_batch_next", RECORD, call_next},
    {"ecs_batch_flags", RECORD, call_flags},
    {"ecs_batch_seal", RECORD, call_seal},
    {"ecs_batch_drop", RECORD, call_drop},
    {"ecs_batch_rollback", RECORD, call_rollback},
    {"ecs_record_plain", RECORD, call_despawn},
    {"ecs_record_spawn", RECORD, call_spawn},
    {"ecs_record", RECORD, call_insert},
    {"ecs_record_send", RECORD, call_send},
    {"ecs_record_send of no struct", RECORD, call_send_unknown},
    {"ecs_write", WRITE, call_write},
    {"ecs_write_begin", WRITE, call_write_begin},
    {"ecs_component_register", DECLARE, call_register},
    {"ecs_enum_register", DECLARE, call_register_enum},
};

void operation_misuse(session_t *s) {
    ecs_phase_t phase = (ecs_phase_t)session_below(s, ECS_PHASE_REACT + 1);
    session_log(s, "calls that phase %u refuses", (unsigned)phase);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        bool closed = phase == ECS_PHASE_SETUP && s->model->alive > 0;
        session_same(s, "ecs_phase_set", ecs_phase_set(world, phase),
                     closed ? ECS_E_PHASE : ECS_OK);
        for (size_t i = 0; !closed && i < sizeof CALLS / sizeof CALLS[0]; i++) {
            if ((CALLS[i].phases >> phase & 1u) != 0) { continue; }
            session_same(s, CALLS[i].name, CALLS[i].run(world), ECS_E_PHASE);
        }
        bool records = !s->model->open && ((unsigned)RECORD >> phase & 1u) != 0;
        if (records) { /* and no batch is open */
            session_same(s, "ecs_record_plain", call_despawn(world), ECS_E_PHASE);
            session_same(s, "ecs_record_spawn", ecs_record_spawn(world, 0, NULL), 0);
            session_same(s, "ecs_record_send", ecs_record_send(world, MODEL_SIGNAL, 0) == NULL,
                         true);
        }
    }
    session_phase(s, ECS_PHASE_RUN);
}
