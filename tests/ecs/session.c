#include "session.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers, the log ---------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint32_t session_below(session_t *s, uint32_t limit) {
    return (uint32_t)((next_random(&s->random) >> 32) * limit >> 32);
}

void session_log(session_t *s, const char *format, ...) {
    char *line = s->log[s->log_count++ % SESSION_LOG];
    int length = snprintf(line, SESSION_LINE, "%u ", s->at);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line + length, SESSION_LINE - (size_t)length, format, args);
    va_end(args);
}

void session_show(const session_t *s, const char *what) {
    uint32_t from = s->log_count > SESSION_LOG ? s->log_count - SESSION_LOG : 0;
    for (uint32_t i = from; i < s->log_count; i++) {
        printf("  %s\n", s->log[i % SESSION_LOG]);
    }
    printf("seed %llu, operation %u, chunk rows %u and %u: %s\n", (unsigned long long)s->seed,
           s->at, s->chunk_rows[0], s->chunk_rows[1], what);
}

void session_fail(session_t *s, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (s->quiet) { exit(1); }
    session_show(s, text);
    printf("0 passed, 1 failed\n");
    exit(1);
}

void session_same(session_t *s, const char *what, double got, double want) {
    if (got == want || (isnan(got) && isnan(want))) { return; }
    session_fail(s, "%s is %.17g, expected %.17g", what, got, want);
}

const char *const SESSION_NAME[SESSION_NAMES] = {
    "a",    "b",
    "arm",  "arm1",
    "arm2", "arm12",
    "ar",   "armature",
    "c",    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"};

/* ---- worlds --------------------------------------------------------------------------------- */

static const char *const MODES[] = {"idle", "auto", "hand"};

static void register_components(session_t *s, ecs_world_t *world) {
    uint32_t id = 0;
    session_same(s, "enum", ecs_enum_register(world, "Mode", MODES, 3, &id), ECS_OK);
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        const model_component_t *component = &MODEL_COMPONENT[c];
        const char *fields[MODEL_FIELDS] = {NULL};
        for (uint32_t i = 0; i < component->field_count; i++) {
            fields[i] = component->field[i].declaration;
        }
        int rc =
            ecs_component_register(world, component->name, fields, component->field_count, &id);
        session_same(s, component->name, rc, ECS_OK);
        session_same(s, component->name, id, c);
        session_same(s, component->name, ecs_component_size_bytes(world, c),
                     (double)component->size_bytes);
        if (memcmp(ecs_component_default(world, c),
                   component->default_value == NULL ? "" : component->default_value,
                   component->size_bytes) != 0) {
            session_fail(s, "%s has another default", component->name);
        }
        if (model_is_sparse(c)) {
            session_same(s, component->name, ecs_component_sparse(world, c), ECS_OK);
        }
    }
}

static void register_structs(session_t *s, ecs_world_t *world) {
    for (uint32_t i = 0, id = 0; i < MODEL_STRUCTS; i++) {
        const model_component_t *type = &MODEL_STRUCT[i];
        const char *fields[MODEL_FIELDS] = {NULL};
        for (uint32_t k = 0; k < type->field_count; k++) {
            fields[k] = type->field[k].declaration;
        }
        session_same(s, type->name,
                     ecs_struct_register(world, type->name, fields, type->field_count, &id),
                     ECS_OK);
        session_same(s, type->name, id, i);
        session_same(s, type->name, ecs_struct_size_bytes(world, i), (double)type->size_bytes);
    }
}

void session_world_open(session_t *s, uint32_t at) {
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 28, .chunk_rows = s->chunk_rows[at]};
    session_same(s, "world", ecs_world_create(&s->world[at], &options), ECS_OK);
    ecs_world_t *world = s->world[at];
    register_components(s, world);
    register_structs(s, world);
    s->fresh[at] = true;
    session_same(s, "phase", ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    for (uint32_t i = 0; i < s->query_count; i++) {
        session_same(s, "query",
                     ecs_query_create(world, &s->query[i].desc, &s->query[i].handle[at]), ECS_OK);
    }
    for (uint32_t kind = 0; kind <= ECS_EVENT_DESPAWNED; kind++) {
        for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
            if (s->model->observed[kind][c]) { (void)ecs_observe(world, kind, c); }
        }
    }
}

void session_open(session_t *s, model_t *model, uint64_t seed, uint32_t chunk_rows) {
    static const uint32_t entities[] = {6, 24, 80, 250};
    memset(s, 0, sizeof *s);
    s->seed = s->random = seed;
    s->epoch = 1;
    s->model = model;
    model_reset(model);
    s->most_entities = entities[session_below(s, 4)];
    s->round_length = session_below(s, 5) == 0 ? 120 : 1 + session_below(s, 3);
    /* records lie in pages of 4096 */
    if (s->round_length > 100 && session_below(s, 3) == 0) { s->crowd = 4150; }
    s->most_entities += s->crowd;
    uint32_t kinds = session_below(s, 2) == 0 ? 1 + session_below(s, 3) : MODEL_COMPONENTS;
    for (uint32_t i = 0, from = session_below(s, MODEL_COMPONENTS); i < MODEL_COMPONENTS; i++) {
        s->component[i] = (from + i % kinds) % MODEL_COMPONENTS;
    }
    s->chunk_rows[0] = chunk_rows;
    s->chunk_rows[1] = session_below(s, 2) == 0 ? chunk_rows : 16u << session_below(s, 9);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_world_open(s, w);
    }
}

void session_close(session_t *s) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_destroy(s->world[w]);
    }
}

void session_phase(session_t *s, ecs_phase_t phase) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "phase", ecs_phase_set(s->world[w], phase), ECS_OK);
    }
}

/* ---- values --------------------------------------------------------------------------------- */

static void scramble_number(session_t *s, const model_field_t *field, char *to, size_t bytes) {
    uint64_t integer = (uint64_t)session_below(s, 4) - 1;
    float single = (float)session_below(s, 5) - 1.5f;
    double number = (double)session_below(s, 5) - 1.5;
    if (session_below(s, 8) == 0) { integer = next_random(&s->random); }
    switch (field->type) {
    case ECS_TYPE_BOOL: *to = (char)(integer & 1); break;
    case ECS_TYPE_ENUM:
        integer %= 3;
        memcpy(to, &integer, bytes);
        break;
    case ECS_TYPE_F32: memcpy(to, &single, bytes); break;
    case ECS_TYPE_ENTITY:
    case ECS_TYPE_F64: memcpy(to, &number, bytes); break;
    default: memcpy(to, &integer, bytes); break;
    }
}

void session_scramble(session_t *s, uint32_t component, uint64_t mask, char *value) {
    session_scramble_fields(s, &MODEL_COMPONENT[component], mask, value);
}

void session_scramble_fields(session_t *s, const model_component_t *type, uint64_t mask,
                             char *value) {
    for (uint32_t i = 0; i < type->field_count; i++) {
        const model_field_t *field = &type->field[i];
        size_t step = field->size_bytes / field->count;
        /* of long arrays some */
        uint32_t elements = field->count < 16 ? field->count : session_below(s, 4) + 1;
        for (uint32_t k = 0; (mask >> i & 1u) != 0 && k < elements; k++) {
            scramble_number(s, field, value + field->offset_bytes + k * step, step);
        }
    }
}

/* ---- entities ------------------------------------------------------------------------------- */

static void compare_values(session_t *s, uint32_t w, const model_entity_t *e) {
    bool alive = e->state == MODEL_ALIVE;
    uint32_t list[MODEL_COMPONENTS], count = ecs_entity_components(s->world[w], e->id, list, 3);
    uint32_t at = 0;
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        bool there = alive && (e->set >> c & 1u) != 0;
        const void *got = ecs_view(s->world[w], e->id, c);
        const void *want = model_value(s->model, e->id, c);
        if (ecs_has(s->world[w], e->id, c) != there || (got == NULL) != (want == NULL)) {
            session_fail(s, "%s of %.0f is %s, expected %s", MODEL_COMPONENT[c].name, e->id,
                         there ? "absent" : "there", there ? "there" : "absent");
        }
        if (got != NULL && memcmp(got, want, MODEL_COMPONENT[c].size_bytes) != 0) {
            session_fail(s, "%s of %.0f has another value", MODEL_COMPONENT[c].name, e->id);
        }
        if (!there) { continue; }
        if (at < 3) { session_same(s, "component in ecs_entity_components", list[at], c); }
        at++;
    }
    session_same(s, "ecs_entity_components", count, at);
}

static uint32_t compare_children(session_t *s, uint32_t w, const model_entity_t *e) {
    uint32_t count = 0;
    uint64_t born = 0;
    for (ecs_id_t at = ecs_child_first(s->world[w], e->id); at != 0;
         at = ecs_child_next(s->world[w], at)) {
        const model_entity_t *child = model_find(s->model, at);
        if (child == NULL || child->state != MODEL_ALIVE || child->parent != e->id ||
            child->born <= born) {
            session_fail(s, "%.0f as child of %.0f", at, e->id);
        }
        born = child->born;
        count++;
    }
    return count;
}

static void compare_place(session_t *s, uint32_t w, const model_entity_t *e) {
    const char *name = ecs_name(s->world[w], e->id);
    bool alive = e->state == MODEL_ALIVE;
    session_same(s, "parent", ecs_parent(s->world[w], e->id), alive ? e->parent : 0);
    session_same(s, "has a name", name != NULL, alive && e->name[0] != '\0');
    if (name != NULL && strcmp(name, e->name) != 0) {
        session_fail(s, "name is %s, expected %s", name, e->name);
    }
}

static void compare_entities(session_t *s, uint32_t w) {
    ecs_world_t *world = s->world[w];
    uint32_t at = 0, children = 0, with_parent = 0;
    for (uint32_t i = 0; i < s->model->slot_count; i++) {
        const model_entity_t *e = &s->model->entity[i];
        bool alive = e->state == MODEL_ALIVE;
        if (ecs_alive(world, e->id) != alive || ecs_alive(world, e->id - 4294967296.0)) {
            session_fail(s, "%.0f or the one before it is alive, or is not", e->id);
        }
        compare_values(s, w, e);
        compare_place(s, w, e);
        children += compare_children(s, w, e);
        with_parent += alive && e->parent != 0;
        if (alive) { session_same(s, "ecs_entity_next", ecs_entity_next(world, &at), e->id); }
    }
    session_same(s, "ecs_entity_next", ecs_entity_next(world, &at), 0);
    for (uint32_t i = 0; i < SESSION_NAMES; i++) {
        session_same(s, "ecs_lookup", ecs_lookup(world, SESSION_NAME[i]),
                     model_lookup(s->model, SESSION_NAME[i]));
    }
    session_same(s, "children", children, with_parent);
}

static void compare_hash(session_t *s) {
    uint64_t signature = model_signature(s->model);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint64_t hash = ecs_hash(s->world[w]);
        if (s->signature != 0 && (hash == s->hash[w]) != (signature == s->signature)) {
            session_fail(s, "ecs_hash %s while the content %s",
                         hash == s->hash[w] ? "stayed" : "changed",
                         signature == s->signature ? "stayed" : "changed");
        }
        s->hash[w] = hash;
    }
    s->signature = signature;
    if (s->chunk_rows[0] == s->chunk_rows[1] && s->hash[0] != s->hash[1]) {
        session_fail(s, "ecs_hash differs after the same history");
    }
}

void session_compare(session_t *s) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_world_t *world = s->world[w];
        if (ecs_check(world) != ECS_OK) { session_fail(s, "%s", ecs_last_error(world)); }
        session_same(s, "alive", ecs_shared(world)->alive, s->model->alive);
        session_same(s, "tick", (double)ecs_shared(world)->tick, (double)s->model->tick);
        session_same(s, "epoch", ecs_shared(world)->epoch, s->epoch);
        session_same(s, "batches", ecs_batch_count(world), s->model->batch_count);
        session_same(s, "watches", ecs_watch_count(world), s->model->watch_count);
        compare_entities(s, w);
        for (uint32_t i = 0; i < s->query_count; i++) {
            if (!session_has_news(&s->query[i])) { session_walk_query(s, w, &s->query[i]); }
        }
    }
    session_compare_news(s);
    session_compare_provenance(s);
    compare_hash(s);
}

/* ---- what an apply and a poll tell ---------------------------------------------------------- */

/* The component of a command that has one. */
static double told(uint32_t op, uint32_t component) {
    return op == ECS_OP_SPAWN || op == ECS_OP_DESPAWN ? 0 : component;
}

void session_compare_apply(session_t *s) {
    const model_t *m = s->model;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint32_t count = 0;
        const ecs_batch_result_t *got = ecs_apply_results(s->world[w], &count);
        session_same(s, "results", count, m->result_count);
        for (uint32_t i = 0; i < count; i++, got++) {
            const ecs_batch_result_t *want = &m->result[i];
            session_same(s, "owner of a batch", (double)got->owner, (double)want->owner);
            session_same(s, "error of a batch", got->error, want->error);
            session_same(s, "refused op", got->op, want->op);
            session_same(s, "refused id", got->id, want->id);
            session_same(s, "refused component", told(got->op, got->component),
                         told(want->op, want->component));
            session_same(s, "skipped", got->skipped, want->skipped);
            session_same(s, "skipped id", got->skipped_id, want->skipped_id);
            session_same(s, "skipped op", got->skipped_op, want->skipped_op);
            session_same(s, "skipped component", told(got->skipped_op, got->skipped_component),
                         told(want->skipped_op, want->skipped_component));
            session_same(s, "place", got->place, want->place);
            session_same(s, "skipped place", got->skipped_place, want->skipped_place);
            session_compare_by(s, w, got, i);
        }
        const ecs_event_t *event = ecs_events(s->world[w], &count);
        for (uint32_t i = 0; i < count && i < m->event_count; i++) {
            session_same(s, "id of an event", event[i].id, m->event[i].id);
            session_same(s, "kind of an event", event[i].kind, m->event[i].kind);
            session_same(s, "component of an event", event[i].component, m->event[i].component);
            session_same(s, "owner of an event", (double)event[i].owner, (double)m->event[i].owner);
        }
        session_same(s, "events", count, m->event_count);
    }
}

static void compare_one_sent(session_t *s, const ecs_sent_t *got, const model_sent_t *want) {
    session_same(s, "whom an event is for", got->to, want->to);
    session_same(s, "struct of an event", got->event, want->event);
    session_same(s, "place of an event", got->place, want->place);
    session_same(s, "owner of an event", (double)got->owner, (double)want->owner);
    const model_component_t *type = &MODEL_STRUCT[want->event];
    for (uint32_t i = 0; i < type->field_count; i++) { /* what lies in gaps does not count */
        const model_field_t *field = &type->field[i];
        if (memcmp((const char *)got->value + field->offset_bytes,
                   want->value + field->offset_bytes, field->size_bytes) != 0) {
            session_fail(s, "\"%s\" of an event differs", field->declaration);
        }
    }
}

void session_compare_sent(session_t *s) {
    const model_t *m = s->model;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint32_t count = 0, want = s->fresh[w] ? 0 : m->sent_count;
        const ecs_sent_t *sent = ecs_sent(s->world[w], &count);
        for (uint32_t i = 0; i < count && i < want; i++) {
            compare_one_sent(s, &sent[i], &m->sent[i]);
        }
        session_same(s, "events that were sent", count, want);
    }
}

void session_compare_watches(session_t *s) {
    const model_t *m = s->model;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint32_t count = 0;
        const ecs_watch_result_t *got = ecs_watch_poll(s->world[w], &count);
        for (uint32_t i = 0; i < count && i < m->watch_result_count; i++) {
            session_same(s, "watch", got[i].watch, m->watch_result[i].watch[w]);
            session_same(s, "owner of a watch", (double)got[i].owner,
                         (double)m->watch_result[i].owner);
            session_same(s, "error of a watch", got[i].error, m->watch_result[i].error);
        }
        session_same(s, "watches fired", count, m->watch_result_count);
    }
}
