#include "operations.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const OPS[] = {"spawn", "despawn", "insert", "set",
                                  "add",   "remove",  "expect", "spawn many"};

/* ---- drawing -------------------------------------------------------------------------------- */

static ecs_id_t forged_id(session_t *s, ecs_id_t real) {
    switch (session_below(s, 14)) {
    case 0: return (ecs_id_t)NAN;
    case 1: return -1;
    case 2: return 0;
    case 3: return 0.5;
    case 4: return real + 0.5;
    case 5: return -real;
    case 6: return 1e300;
    case 7: return (ecs_id_t)INFINITY;
    case 8: return 4503599627370496.0;                       /* 2^52 */
    case 9: return real + 4294967296.0;                      /* the generation to come */
    case 10: return 4294967296.0 + s->model->slot_count + 1; /* a slot to come */
    case 11: return 4294967296.0 * 2 - 1;                    /* the last slot of all */
    case 12: return 3;                                       /* generation 0 */
    default: return 9007199254740993.0 * 4096;
    }
}

ecs_id_t operation_pick_id(session_t *s) {
    const model_t *m = s->model;
    uint32_t hot = m->slot_count < 5 ? m->slot_count : 5;
    if (m->slot_count == 0) { return forged_id(s, 4294967296.0); }
    uint32_t slot = session_below(s, session_below(s, 3) == 0 ? hot : m->slot_count);
    ecs_id_t id = m->entity[slot].id;
    uint32_t kind = session_below(s, 40);
    if (kind == 0) { return forged_id(s, id); }
    if (kind == 1) { return id - 4294967296.0; }
    for (uint32_t i = 0; kind > 4 && i < m->slot_count; i++) {
        const model_entity_t *e = &m->entity[(slot + i) % m->slot_count];
        if (e->state != MODEL_FREE) { return e->id; }
    }
    return id;
}

const char *operation_pick_name(session_t *s) {
    return SESSION_NAME[session_below(s, session_below(s, 2) == 0 ? 3 : SESSION_NAMES)];
}

uint32_t operation_pick_component(session_t *s, ecs_id_t id, bool there) {
    uint32_t c = s->component[session_below(s, MODEL_COMPONENTS)];
    const model_entity_t *e = model_find(s->model, id);
    if (c == MODEL_BIG && s->round_length < 100 && session_below(s, 2) == 0) { c = MODEL_NUM; }
    if (!there || e == NULL || session_below(s, 16) == 0) { return c; }
    for (uint32_t i = 0; i < MODEL_COMPONENTS; i++) {
        uint32_t at = (c + i) % MODEL_COMPONENTS;
        if (e->set >> at & 1u) { return at; }
    }
    return c;
}

/* ---- recording ------------------------------------------------------------------------------ */

void operation_open_batch(session_t *s) {
    static const ecs_phase_t phases[] = {ECS_PHASE_RUN, ECS_PHASE_REACT, ECS_PHASE_WRITE};
    uint32_t draw = session_below(s, 20);
    session_phase(s, phases[draw < 3 ? draw : 0]);
    if (s->model->command_count + 2 > MODEL_COMMANDS) { operation_apply(s); }
    if (s->model->open) { return; }
    uint64_t owner = 1 + session_below(s, 6);
    session_log(s, "begin, owner %u", (unsigned)owner);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_batch_begin", ecs_batch_begin(s->world[w], owner), ECS_OK);
    }
    model_begin(s->model, owner);
}

ecs_id_t operation_record_spawn(session_t *s, ecs_id_t parent, const char *name) {
    operation_open_batch(s);
    model_command_t *c = model_record(s->model, ECS_OP_SPAWN, 0, 0);
    c->id = model_reserve(s->model);
    c->parent = parent;
    if (name != NULL) { (void)snprintf(c->name, sizeof c->name, "%s", name); }
    session_log(s, "spawn %.17g below %.17g named \"%s\"", c->id, parent, c->name);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_record_spawn", ecs_record_spawn(s->world[w], parent, name), c->id);
        session_same(s, "a reserved id is alive", ecs_alive(s->world[w], c->id), false);
    }
    return c->id;
}

void operation_record_plain(session_t *s, uint32_t op, ecs_id_t id, uint32_t component) {
    operation_open_batch(s);
    session_log(s, "%s %.17g %s", OPS[op], id,
                op == ECS_OP_REMOVE ? MODEL_COMPONENT[component].name : "");
    (void)model_record(s->model, op, id, component);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_record_plain", ecs_record_plain(s->world[w], op, id, component),
                     ECS_OK);
    }
}

void operation_record_value(session_t *s, uint32_t op, ecs_id_t id, uint32_t component) {
    static const char zeros[MODEL_LARGEST];
    const model_component_t *known = &MODEL_COMPONENT[component];
    uint32_t all = (1u << known->field_count) - 1;
    bool part = op == ECS_OP_SET || op == ECS_OP_ADD;
    operation_open_batch(s);
    bool placed = session_below(s, 4) == 0;
    if (placed) { s->model->place = session_below(s, 65536); }
    model_command_t *c = model_record(s->model, op, id, component);
    const char *fresh = part ? zeros : known->default_value;
    if (known->size_bytes > 0) { memcpy(c->value, fresh, known->size_bytes); }
    if (part) {
        c->mask = session_below(s, all + 1);
        session_scramble(s, component, all, c->value);
    } else if (op == ECS_OP_INSERT) {
        session_scramble(s, component, session_below(s, all + 1), c->value);
    } else {
        const char *now = model_value(s->model, id, component);
        if (now != NULL) { memcpy(c->value, now, known->size_bytes); }
        if (session_below(s, 6) == 0) { session_scramble(s, component, all, c->value); }
    }
    session_log(s, "%s %.17g %s, mask %u", OPS[op], id, known->name, (unsigned)c->mask);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        double mask = (double)c->mask;
        char *slot = placed ? ecs_record_at(s->world[w], c->place, op, id, component, mask)
                            : ecs_record(s->world[w], op, id, component, mask);
        if (slot == NULL) { session_fail(s, "%s", ecs_last_error(s->world[w])); }
        if (known->size_bytes == 0) { continue; }
        if (!part && memcmp(slot, fresh, known->size_bytes) != 0) {
            session_fail(s, "a %s does not begin with what it should", OPS[op]);
        }
        memcpy(slot, c->value, known->size_bytes);
    }
}

static void op_despawn(session_t *s) {
    operation_record_plain(s, ECS_OP_DESPAWN, operation_pick_id(s), 0);
}

static bool is_full(session_t *s) {
    if (s->model->alive + s->model->command_count / 4 < s->most_entities) { return false; }
    op_despawn(s);
    return true;
}

/* With some components, as scripts do it. */
static void spawn(session_t *s, ecs_id_t parent, const char *name) {
    if (is_full(s)) { return; }
    ecs_id_t id = operation_record_spawn(s, parent, name);
    for (uint32_t left = session_below(s, 4); left > 0; left--) {
        operation_record_value(s, ECS_OP_INSERT, id, operation_pick_component(s, id, false));
    }
}

static void op_spawn(session_t *s) { spawn(s, 0, session_below(s, 8) == 0 ? "" : NULL); }

static void op_spawn_placed(session_t *s) {
    ecs_id_t parent = session_below(s, 4) == 0 ? 0 : operation_pick_id(s);
    spawn(s, parent, session_below(s, 2) == 0 ? operation_pick_name(s) : NULL);
}

static void spawn_crowd(session_t *s) {
    for (uint32_t i = 0; i < s->crowd; i++) {
        (void)operation_record_spawn(s, 0, NULL);
        if (i % 16 == 0) { operation_record_plain(s, ECS_OP_DESPAWN, operation_pick_id(s), 0); }
    }
    s->crowd = 0;
}

static void op_insert(session_t *s) {
    ecs_id_t id = operation_pick_id(s);
    operation_record_value(s, ECS_OP_INSERT, id,
                           operation_pick_component(s, id, session_below(s, 4) == 0));
}

/* A set or an add; mostly an insert when the entity has no component. */
static void change(session_t *s, uint32_t op) {
    ecs_id_t id = operation_pick_id(s);
    const model_entity_t *e = model_find(s->model, id);
    bool none = e != NULL && e->set == 0 && session_below(s, 8) > 0;
    operation_record_value(s, none ? ECS_OP_INSERT : op, id, operation_pick_component(s, id, true));
}

static void op_set(session_t *s) { change(s, ECS_OP_SET); }

static void op_add(session_t *s) { change(s, ECS_OP_ADD); }

static void op_remove(session_t *s) {
    ecs_id_t id = operation_pick_id(s);
    operation_record_plain(s, ECS_OP_REMOVE, id, operation_pick_component(s, id, true));
}

static void op_expect(session_t *s) {
    ecs_id_t id = operation_pick_id(s);
    operation_record_value(s, ECS_OP_EXPECT, id, operation_pick_component(s, id, true));
}

/* Expects what an insert that still waits will have written. */
static void op_expect_pending(session_t *s) {
    const model_t *m = s->model;
    for (uint32_t back = 1; back <= m->command_count && back < 12; back++) {
        const model_command_t *before = &m->command[m->command_count - back];
        if (before->op != ECS_OP_INSERT) { continue; }
        char value[MODEL_LARGEST];
        uint32_t component = before->component;
        size_t bytes = MODEL_COMPONENT[component].size_bytes;
        memcpy(value, before->value, sizeof value);
        operation_open_batch(s);
        if (m->command_count == 0) { return; } /* the stream was full */
        ecs_id_t id = before->id;
        session_log(s, "expect %.17g %s as inserted", id, MODEL_COMPONENT[component].name);
        memcpy(model_record(s->model, ECS_OP_EXPECT, id, component)->value, value, sizeof value);
        for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
            char *slot = ecs_record(s->world[w], ECS_OP_EXPECT, id, component, 0);
            if (slot == NULL) { session_fail(s, "%s", ecs_last_error(s->world[w])); }
            if (bytes > 0) { memcpy(slot, value, bytes); }
        }
        return;
    }
}

/* Several commands on one entity in a row, as scripts record them. */
static void op_burst(session_t *s) {
    ecs_id_t id = operation_pick_id(s);
    for (uint32_t left = 2 + session_below(s, 5); left > 0; left--) {
        uint32_t component = operation_pick_component(s, id, false);
        switch (session_below(s, 4)) {
        case 0: operation_record_plain(s, ECS_OP_REMOVE, id, component); break;
        case 1:
            operation_record_value(s, ECS_OP_SET, id, operation_pick_component(s, id, true));
            break;
        default: operation_record_value(s, ECS_OP_INSERT, id, component); break;
        }
    }
}

/* Recordings that the core refuses, and that leave no trace. */
static void op_refused(session_t *s) {
    static const double masks[] = {(double)NAN, -1, 0.5, 8, 1e300};
    static const uint32_t ops[] = {ECS_OP_SPAWN,      ECS_OP_DESPAWN, ECS_OP_REMOVE,
                                   ECS_OP_SPAWN_MANY, ECS_OP_SEND,    255};
    ecs_id_t id = operation_pick_id(s);
    operation_open_batch(s);
    session_log(s, "recordings that are refused");
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        const char *longest = SESSION_NAME[SESSION_NAMES - 1];
        char name[ECS_NAME_BYTES + 1];
        (void)snprintf(name, sizeof name, "%s+", longest);
        session_same(s, "a name with a slash", ecs_record_spawn(world, 0, "a/b"), 0);
        session_same(s, "a name of 64 bytes", ecs_record_spawn(world, 0, name), 0);
        session_same(s, "a plain insert", ecs_record_plain(world, ECS_OP_INSERT, id, 0),
                     ECS_E_INVALID);
        session_same(s, "an unknown component", ecs_record_plain(world, ECS_OP_REMOVE, id, 99),
                     ECS_E_UNKNOWN);
        session_same(s, "an unknown component", ecs_record(world, ECS_OP_INSERT, id, 99, 0) == NULL,
                     true);
        for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
            session_same(s, "a mask of other fields",
                         ecs_record(world, ECS_OP_SET, id, MODEL_NUM, masks[i]) == NULL, true);
        }
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
            session_same(s, "an operation without a value",
                         ecs_record(world, ops[i], id, MODEL_NUM, 0) == NULL, true);
        }
        session_same(s, "a second batch", ecs_batch_begin(world, 1), ECS_E_INVALID);
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

static void seal(session_t *s) {
    bool want = model_seal(s->model);
    session_log(s, "seal%s", want ? "" : ", nothing");
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        bool sealed = !want;
        session_same(s, "ecs_batch_seal", ecs_batch_seal(s->world[w], &sealed), ECS_OK);
        session_same(s, "sealed", sealed, want);
    }
}

void operation_seal(session_t *s) {
    session_phase(s, ECS_PHASE_RUN);
    seal(s);
}

static void op_drop(session_t *s) {
    model_t *m = s->model;
    session_phase(s, ECS_PHASE_RUN);
    session_log(s, "drop");
    if (m->open) { model_forget(m, m->batch[m->batch_count].first); }
    m->open = false;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_batch_drop", ecs_batch_drop(s->world[w]), ECS_OK);
    }
}

session_mark_t operation_take_mark(const session_t *s) {
    session_mark_t mark = {.batch = s->model->batches_begun, .at = s->model->command_count};
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        mark.mark[w] = ecs_batch_mark(s->world[w]);
    }
    return mark;
}

static void op_mark(session_t *s) {
    if (s->mark_count == SESSION_MARKS) { s->mark_count = 0; }
    session_log(s, "mark %u", s->mark_count);
    s->mark[s->mark_count++] = operation_take_mark(s);
}

void operation_roll_back(session_t *s, const session_mark_t *mark) {
    model_t *m = s->model;
    if (m->open) {
        uint32_t first = m->batch[m->batch_count].first;
        model_forget(m, mark->batch == m->batches_begun ? mark->at : first);
        if (mark->batch != m->batches_begun) { s->mark_count = 0; }
    }
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_batch_rollback", ecs_batch_rollback(s->world[w], mark->mark[w]),
                     ECS_OK);
    }
}

/* Marks are used as blocks nest: going back to one ends those after it. */
static void op_rollback(session_t *s) {
    if (s->mark_count == 0) { return; }
    s->mark_count = session_below(s, s->mark_count);
    session_phase(s, ECS_PHASE_RUN);
    session_log(s, "rollback to %u", s->mark_count);
    const session_mark_t mark = s->mark[s->mark_count];
    operation_roll_back(s, &mark);
}

void operation_flags(session_t *s) {
    static const uint32_t flags[] = {0, 0, ECS_FLAG_STRICT, ECS_FLAG_SILENT, ECS_FLAG_SILENT};
    uint32_t chosen = flags[session_below(s, 5)];
    operation_open_batch(s);
    session_log(s, "flags %u", chosen);
    s->model->flags = chosen;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint64_t owner = 0;
        session_same(s, "ecs_batch_flags", ecs_batch_flags(s->world[w], chosen), ECS_OK);
        session_same(s, "ecs_batch_open", ecs_batch_open(s->world[w], &owner), true);
        session_same(s, "owner", (double)owner,
                     (double)s->model->batch[s->model->batch_count].owner);
    }
}

static void apply_while_open(session_t *s) {
    session_log(s, "apply while a batch is open");
    session_phase(s, ECS_PHASE_APPLY);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_apply", ecs_apply(s->world[w]), ECS_E_INVALID);
    }
}

void operation_apply(session_t *s) {
    if (s->model->open && session_below(s, 8) == 0) { apply_while_open(s); }
    session_phase(s, ECS_PHASE_RUN);
    if (session_below(s, 8) == 0) {
        op_drop(s);
    } else {
        seal(s);
    }
    session_log(s, "apply %u batches", s->model->batch_count);
    session_phase(s, ECS_PHASE_APPLY);
    session_compare_sent(s); /* the last ones, after all that was recorded since */
    model_apply(s->model);
    session_forget_order(s);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_apply", ecs_apply(s->world[w]), ECS_OK);
        s->fresh[w] = false;
    }
    session_compare_apply(s);
    session_compare_sent(s);
    session_phase(s, ECS_PHASE_RUN);
    session_compare(s);
    if (session_below(s, 40) == 0) { operation_restore(s); }
}

static void op_apply(session_t *s) {
    if (session_below(s, s->round_length) == 0) { operation_apply(s); }
}

void operation_finish(session_t *s) { operation_apply(s); }

/* ---- the table: another operation is a function and a line here ------------------------------ */

const operation_t OPERATIONS[] = {
    {"spawn", 60, op_spawn},
    {"spawn placed", 70, op_spawn_placed},
    {"despawn", 40, op_despawn},
    {"insert", 130, op_insert},
    {"set", 80, op_set},
    {"add", 50, op_add},
    {"remove", 40, op_remove},
    {"expect", 15, op_expect},
    {"expect pending", 10, op_expect_pending},
    {"burst", 20, op_burst},
    {"refused", 5, op_refused},
    {"seal", 110, operation_seal},
    {"drop", 8, op_drop},
    {"mark", 12, op_mark},
    {"rollback", 8, op_rollback},
    {"flags", 25, operation_flags},
    {"apply", 60, op_apply},
    {"write", 25, operation_write},
    {"write query", 12, operation_write_query},
    {"query", 8, operation_query},
    {"lookup", 15, operation_lookup},
    {"observe", 10, operation_observe},
    {"watch", 80, operation_watch_add},
    {"watch remove", 8, operation_watch_remove},
    {"poll", 40, operation_poll},
    {"gap", 8, operation_gap},
    {"watched", 6, operation_watched},
    {"spawn many", 20, operation_spawn_many},
    {"record many", 15, operation_record_many},
    {"place", 30, operation_place},
    {"batches", 1, operation_batches},
    {"early", 6, operation_early},
    {"try", 15, operation_try},
    {"send", 60, operation_send},
    {"trim", 6, operation_trim},
    {"restore", 6, operation_restore},
    {"readers reset", 1, operation_readers_reset},
    {"views expire", 3, operation_views_expire},
    {"epoch", 3, operation_epoch},
    {"misuse", 10, operation_misuse},
    {"release", 6, operation_release},
    {"reload", 12, operation_reload},
};
const uint32_t OPERATION_COUNT = sizeof OPERATIONS / sizeof OPERATIONS[0];

void operation_run(session_t *s, uint32_t number) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < OPERATION_COUNT; i++) {
        sum += OPERATIONS[i].weight;
    }
    s->at = number;
    s->random = s->seed * 0x9e3779b97f4a7c15ull + number;
    s->random ^= s->random >> 31;
    if (s->crowd > 0) { spawn_crowd(s); }
    uint32_t draw = session_below(s, sum), i = 0;
    while (draw >= OPERATIONS[i].weight) {
        draw -= OPERATIONS[i++].weight;
    }
    OPERATIONS[i].run(s);
}
