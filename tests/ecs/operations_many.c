/* Commands for many entities in one call, places, and recordings in an order that is seldom. */
#include <string.h>

#include "operations.h"

enum { MOST = 48 };

void operation_place(session_t *s) {
    uint32_t place = session_below(s, 65536);
    operation_open_batch(s);
    session_log(s, "place %u", place);
    s->model->place = place;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_batch_place", ecs_batch_place(s->world[w], place), ECS_OK);
    }
}

/* ---- bulk spawns ---------------------------------------------------------------------------- */

/* In the model a command for each, or one for none. */
static model_command_t *model_spawn_many(session_t *s, uint32_t count, uint32_t set) {
    model_command_t *first = &s->model->command[s->model->command_count];
    if (count == 0) { (void)model_record(s->model, ECS_OP_SPAWN_MANY, 0, 0); }
    for (uint32_t i = 0; i < count; i++) {
        model_command_t *c = model_record(s->model, ECS_OP_SPAWN_MANY, model_reserve(s->model), 0);
        c->set = set;
        for (uint32_t k = 0; k < MODEL_COMPONENTS; k++) {
            const model_component_t *known = &MODEL_COMPONENT[k];
            char *value = c->value + known->value_at;
            if ((set >> k & 1u) == 0 || known->size_bytes == 0) { continue; }
            memcpy(value, known->default_value, known->size_bytes);
            uint32_t all = 1u << known->field_count;
            if (session_below(s, 2) == 0) { session_scramble(s, k, session_below(s, all), value); }
        }
    }
    return first;
}

static void fill_column(session_t *s, const model_command_t *first, uint32_t count, uint32_t k,
                        char *column) {
    const model_component_t *known = &MODEL_COMPONENT[k];
    session_same(s, "a column", column != NULL, known->size_bytes > 0);
    for (uint32_t i = 0; column != NULL && i < count; i++, column += known->size_bytes) {
        if (memcmp(column, known->default_value, known->size_bytes) != 0) {
            session_fail(s, "a column of %s does not begin with defaults", known->name);
        }
        memcpy(column, first[i].value + known->value_at, known->size_bytes);
    }
}

static void spawn_many(session_t *s, uint32_t count) {
    uint32_t components[MODEL_COMPONENTS], terms = session_below(s, 5), set = 0;
    for (uint32_t i = 0; i < terms; i++) { /* in any order */
        do {
            components[i] = operation_pick_component(s, 0, false);
        } while (model_is_sparse(components[i]) && session_below(s, 32) > 0);
        if (model_is_sparse(components[i])) { components[i] = MODEL_NUM; } /* all may be sparse */
        if (set >> components[i] & 1u) {
            terms = i;
        } else {
            set |= 1u << components[i];
        }
    }
    session_log(s, "spawn %u with set %u", count, set);
    const model_command_t *first = model_spawn_many(s, count, set);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        void *columns[MODEL_COMPONENTS];
        const ecs_id_t *ids = ecs_record_spawn_many(s->world[w], count, components, terms, columns);
        if (ids == NULL) { session_fail(s, "%s", ecs_last_error(s->world[w])); }
        for (uint32_t i = 0; i < count; i++) {
            session_same(s, "id of a bulk spawn", ids[i], first[i].id);
            session_same(s, "a reserved id is alive", ecs_alive(s->world[w], ids[i]), false);
        }
        for (uint32_t k = 0; k < terms; k++) {
            fill_column(s, first, count, components[k], columns[k]);
        }
    }
}

/* How many there is room for. */
static uint32_t draw_count(session_t *s) {
    const model_t *m = s->model;
    uint32_t most = s->most_entities < MOST ? s->most_entities : MOST;
    uint32_t count = session_below(s, 2) == 0 ? session_below(s, 4) : session_below(s, most);
    if (m->alive + m->command_count / 4 + count > s->most_entities) { count = 0; }
    return m->command_count + count + 64 < MODEL_COMMANDS ? count : 0;
}

static void refused_bulks(session_t *s) {
    uint32_t twice[] = {MODEL_NUM, MODEL_TEXT, MODEL_NUM}, unknown[] = {MODEL_NUM, 99};
    uint32_t sparse[] = {MODEL_NUM, session_below(s, 2) == 0 ? MODEL_ALARM : MODEL_MARK};
    uint32_t many[ECS_MAX_TERMS + 1] = {0};
    void *columns[ECS_MAX_TERMS + 1];
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        session_same(s, "a component twice",
                     ecs_record_spawn_many(world, 2, twice, 3, columns) == NULL, true);
        session_same(s, "an unknown component",
                     ecs_record_spawn_many(world, 2, unknown, 2, columns) == NULL, true);
        session_same(s, "a sparse component",
                     ecs_record_spawn_many(world, 2, sparse, 2, columns) == NULL, true);
        session_same(s, "17 components",
                     ecs_record_spawn_many(world, 2, many, ECS_MAX_TERMS + 1, columns) == NULL,
                     true);
    }
}

void operation_spawn_many(session_t *s) {
    operation_open_batch(s);
    if (session_below(s, 8) == 0) { refused_bulks(s); }
    spawn_many(s, draw_count(s));
    const model_t *m = s->model;
    const model_command_t *last = &m->command[m->command_count - 1];
    ecs_id_t id = last->id;
    for (uint32_t left = id == 0 ? 0 : session_below(s, 4); left > 0; left--) {
        uint32_t component = operation_pick_component(s, 0, false);
        switch (session_below(s, 6)) { /* as if they were there */
        case 0: operation_record_plain(s, ECS_OP_REMOVE, id, component); break;
        case 1: operation_record_plain(s, ECS_OP_DESPAWN, id, 0); break;
        case 2: operation_record_value(s, ECS_OP_EXPECT, id, component); break;
        case 3: operation_record_send(s, id); break;
        default: operation_record_value(s, ECS_OP_INSERT, id, component); break;
        }
    }
}

/* ---- one command for many ------------------------------------------------------------------- */

static void refused_many(session_t *s, const ecs_id_t *ids, const char *values) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        session_same(s, "many of another operation",
                     ecs_record_many(world, ECS_OP_EXPECT, MODEL_NUM, 0, 2, ids, values),
                     ECS_E_INVALID);
        session_same(s, "many of an unknown component",
                     ecs_record_many(world, ECS_OP_INSERT, 99, 0, 2, ids, values), ECS_E_UNKNOWN);
        session_same(s, "many with a mask of other fields",
                     ecs_record_many(world, ECS_OP_SET, MODEL_NUM, 8, 2, ids, values),
                     ECS_E_INVALID);
    }
}

void operation_record_many(session_t *s) {
    static const uint32_t ops[] = {ECS_OP_INSERT, ECS_OP_SET, ECS_OP_ADD};
    static char values[MOST * MODEL_LARGEST];
    ecs_id_t ids[MOST] = {0};
    uint32_t op = ops[session_below(s, 3)], count = session_below(s, MOST);
    uint32_t component = operation_pick_component(s, operation_pick_id(s), true);
    const model_component_t *known = &MODEL_COMPONENT[component];
    uint32_t all = (1u << known->field_count) - 1;
    uint32_t mask = op == ECS_OP_INSERT ? 0 : session_below(s, all + 1);
    operation_open_batch(s);
    memset(values, 0, sizeof values);
    if (session_below(s, 8) == 0) { refused_many(s, ids, values); }
    if (s->model->command_count + MOST > MODEL_COMMANDS) { return; }
    session_log(s, "many of operation %u, %s, mask %u", op, known->name, mask);
    uint32_t recorded = 0;
    for (uint32_t left = count; left > 0; left--) {
        ecs_id_t id = operation_pick_id(s);
        const model_entity_t *e = model_find(s->model, id);
        bool there = e != NULL && (e->set >> component & 1u) != 0;
        if (op != ECS_OP_INSERT && !there && session_below(s, 100) > 0) { continue; }
        char *value = values + recorded * known->size_bytes;
        session_scramble(s, component, all, value);
        model_command_t *c = model_record(s->model, op, id, component);
        c->mask = mask;
        if (known->size_bytes > 0) { memcpy(c->value, value, known->size_bytes); }
        ids[recorded++] = id;
    }
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(
            s, "ecs_record_many",
            ecs_record_many(s->world[w], op, component, (double)mask, recorded, ids, values),
            ECS_OK);
    }
}

/* ---- many batches --------------------------------------------------------------------------- */

/* Enough of them for a chunk of the stream to end between two. */
void operation_batches(session_t *s) {
    for (uint32_t left = 70; left > 0; left--) {
        operation_record_value(s, ECS_OP_INSERT, left == 1 ? operation_pick_id(s) : 0, MODEL_BIG);
        operation_seal(s);
    }
}

/* ---- what scripts seldom do ----------------------------------------------------------------- */

ecs_id_t operation_next_id(const session_t *s) {
    const model_t *m = s->model;
    return m->free_count > 0 ? m->entity[m->free_slot[0]].id : 4294967296.0 + m->slot_count;
}

/* Commands to an id that a later command of the batch reserves. */
void operation_early(session_t *s) {
    operation_open_batch(s);
    if (s->model->alive >= s->most_entities) { return; }
    ecs_id_t next = operation_next_id(s);
    uint32_t component = operation_pick_component(s, next, false);
    switch (session_below(s, 3)) {
    case 0: operation_record_plain(s, ECS_OP_DESPAWN, next, 0); break;
    case 1: operation_record_value(s, ECS_OP_INSERT, next, component); break;
    default: operation_record_plain(s, ECS_OP_REMOVE, next, component); break;
    }
    if (session_below(s, 2) == 0) {
        (void)operation_record_spawn(s, 0, NULL);
    } else {
        spawn_many(s, 1 + session_below(s, 2));
    }
}

/* Something is recorded, an expectation among it, and forgotten. What comes then is told from it by
 * the order in which entities get their rows. */
void operation_try(session_t *s) {
    ecs_id_t a = operation_pick_id(s), b = operation_pick_id(s);
    operation_open_batch(s);
    if (s->model->command_count + 32 > MODEL_COMMANDS) { return; }
    if (session_below(s, 3) == 0) {
        operation_record_value(s, ECS_OP_EXPECT, a, operation_pick_component(s, a, true));
    }
    session_mark_t mark = operation_take_mark(s);
    operation_record_value(s, ECS_OP_EXPECT, b, operation_pick_component(s, b, true));
    if (s->model->alive < s->most_entities) { (void)operation_record_spawn(s, 0, NULL); }
    session_log(s, "forget that");
    operation_roll_back(s, &mark);
    operation_record_value(s, ECS_OP_INSERT, a, operation_pick_component(s, a, true));
    operation_record_value(s, ECS_OP_INSERT, b, operation_pick_component(s, b, false));
    operation_record_value(s, ECS_OP_INSERT, a, operation_pick_component(s, a, false));
}
