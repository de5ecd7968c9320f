/* Operations that change no entity: queries, observers, watches. */
#include <stdio.h>
#include <string.h>

#include "operations.h"

/* ---- queries -------------------------------------------------------------------------------- */

static ecs_query_desc_t random_query(session_t *s) {
    ecs_query_desc_t d = {0};
    uint32_t from = session_below(s, MODEL_COMPONENTS), most = 8 + session_below(s, 12);
    for (uint32_t i = 0; i < MODEL_COMPONENTS; i++) {
        uint32_t c = (from + i) % MODEL_COMPONENTS;
        bool column = MODEL_COMPONENT[c].size_bytes > 0 && !model_is_sparse(c);
        switch (session_below(s, model_is_sparse(c) ? 6 : most) + (column ? 0 : 3)) {
        case 0: d.write[d.write_count++] = c; break;
        case 1: d.read[d.read_count++] = c; break;
        case 2: d.maybe[d.maybe_count++] = c; break;
        case 3: d.with[d.with_count++] = c; break;
        case 4: d.without[d.without_count++] = c; break;
        default: break;
        }
    }
    return d;
}

/* A query for what is new. */
static ecs_query_desc_t random_news(session_t *s) {
    ecs_query_desc_t d = {0};
    for (uint32_t left = 1 + session_below(s, 2); left > 0; left--) {
        uint32_t c = s->component[session_below(s, MODEL_COMPONENTS)];
        if (MODEL_COMPONENT[c].size_bytes == 0 || model_is_sparse(c)) { c = MODEL_NUM; }
        if (session_below(s, 2) == 0) {
            d.changed[d.changed_count++] = c;
        } else {
            d.added[d.added_count++] = c;
        }
        if (session_below(s, 2) == 0) { d.read[d.read_count++] = c; }
    }
    switch (session_below(s, 5)) {
    case 0: d.with[d.with_count++] = MODEL_ALARM; break;
    case 1: d.without[d.without_count++] = MODEL_ALARM; break;
    case 2: d.without[d.without_count++] = MODEL_MARK; break;
    default: break;
    }
    return d;
}

void operation_query(session_t *s) {
    ecs_query_desc_t wrong = {.with = {99}, .with_count = 1}, tag = {.read = {MODEL_TAG_A}};
    ecs_query_desc_t many = {.read_count = ECS_MAX_TERMS, .maybe_count = 1};
    ecs_query_desc_t sparse = {.maybe = {MODEL_ALARM}, .maybe_count = 1};
    ecs_query_desc_t news = {.changed = {MODEL_ALARM}, .changed_count = 1};
    tag.read_count = 1;
    bool again = s->query_count == SESSION_QUERIES;
    uint32_t at = again ? session_below(s, SESSION_QUERIES) : s->query_count;
    session_query_t *query = &s->query[at];
    if (!again) { query->desc = session_below(s, 3) == 0 ? random_news(s) : random_query(s); }
    session_log(s, "query %u%s", at, again ? " again" : "");
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_query_t *made = NULL;
        session_same(s, "ecs_query_create", ecs_query_create(s->world[w], &query->desc, &made),
                     ECS_OK);
        if (again) {
            session_same(s, "the same query", made == query->handle[w], !session_has_news(query));
        }
        query->handle[w] = made;
        query->since[w] = 0;
        session_same(s, "an unknown component", ecs_query_create(s->world[w], &wrong, &made),
                     ECS_E_UNKNOWN);
        session_same(s, "values of a tag", ecs_query_create(s->world[w], &tag, &made),
                     ECS_E_INVALID);
        session_same(s, "a column of a sparse component",
                     ecs_query_create(s->world[w], &sparse, &made), ECS_E_INVALID);
        session_same(s, "news of a sparse component", ecs_query_create(s->world[w], &news, &made),
                     ECS_E_INVALID);
        session_same(s, "17 terms", ecs_query_create(s->world[w], &many, &made), ECS_E_LIMIT);
    }
    s->query_count += !again;
}

void operation_lookup(session_t *s) {
    char path[256] = "";
    size_t length = 0;
    for (uint32_t left = session_below(s, 4); left < 4 && length < 150; left++) {
        const char *name = session_below(s, 12) == 0 ? "" : operation_pick_name(s);
        length += (size_t)snprintf(path + length, sizeof path - length, "%s%s",
                                   length > 0 ? "/" : "", name);
    }
    session_log(s, "lookup %s", path);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_lookup", ecs_lookup(s->world[w], path), model_lookup(s->model, path));
    }
}

/* ---- reactions ------------------------------------------------------------------------------ */

void operation_observe(session_t *s) {
    uint32_t kind = session_below(s, ECS_EVENT_DESPAWNED + 2);
    uint32_t c = session_below(s, 20) == 0 ? 99 : session_below(s, MODEL_COMPONENTS);
    int want = kind > ECS_EVENT_DESPAWNED                            ? ECS_E_INVALID
               : kind == ECS_EVENT_DESPAWNED || c < MODEL_COMPONENTS ? ECS_OK
                                                                     : ECS_E_UNKNOWN;
    session_log(s, "observe kind %u, component %u", kind, c);
    if (want == ECS_OK) { s->model->observed[kind][kind == ECS_EVENT_DESPAWNED ? 0 : c] = true; }
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_observe", ecs_observe(s->world[w], kind, c), want);
    }
}

static ecs_watch_desc_t random_watch(session_t *s) {
    ecs_watch_desc_t d = {.kind = session_below(s, ECS_WATCH_DESPAWNED + 1),
                          .id = operation_pick_id(s)};
    d.component = operation_pick_component(s, d.id, session_below(s, 3) > 0);
    uint32_t fields = MODEL_COMPONENT[d.component].field_count;
    if (fields == 0) { return d; }
    d.field_count = session_below(s, d.kind == ECS_WATCH_CHANGED ? 2 : 3);
    const char *now = model_value(s->model, d.id, d.component);
    for (uint32_t i = 0; i < d.field_count; i++) {
        d.field[i] = session_below(s, fields);
        const model_field_t *field = &MODEL_COMPONENT[d.component].field[d.field[i]];
        bool as_now = now != NULL && session_below(s, 2) == 0;
        d.value[i] = as_now ? model_number(field, now) : session_below(s, 4) - 1.0;
    }
    return d;
}

void operation_watch_remove(session_t *s) {
    model_t *m = s->model;
    if (m->watch_count == 0) { return; }
    uint32_t at = session_below(s, m->watch_count), id[SESSION_WORLDS];
    memcpy(id, m->watch[at].id, sizeof id);
    session_log(s, "end watch %u", id[0]);
    model_watch_remove(m, at);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_watch_remove(s->world[w], id[w]);
        ecs_watch_remove(s->world[w], id[w]); /* unknown by now */
        ecs_watch_remove(s->world[w], 0);
    }
}

void operation_watch(session_t *s, ecs_watch_desc_t d) {
    model_t *m = s->model;
    if (m->watch_count == MODEL_WATCHES) { operation_watch_remove(s); }
    uint64_t owner = 100 + s->at;
    bool want = false;
    int rc = model_watch_add(m, &d, owner, &want);
    session_log(s, "watch kind %u, %.17g, component %u, %u fields", d.kind, d.id, d.component,
                d.field_count);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        uint32_t id = 0;
        bool fired = !want;
        session_same(s, "ecs_watch_add", ecs_watch_add(s->world[w], &d, owner, &id, &fired), rc);
        session_same(s, "fired", fired, want);
        session_same(s, "watch made", id != 0, rc == ECS_OK && !want);
        if (id == 0) { continue; }
        m->watch[m->watch_count - 1].id[w] = id;
    }
}

void operation_watch_add(session_t *s) {
    ecs_watch_desc_t d = random_watch(s);
    switch (session_below(s, 60)) {
    case 0: d.kind = ECS_WATCH_COUNT + 1; break;
    case 1: d.component = 99; break;
    case 2: d.field_count = ECS_WATCH_MAX_CONDITIONS + 1; break;
    case 3: d.field_count = 1, d.field[0] = MODEL_FIELDS; break;
    default: break;
    }
    operation_watch(s, d);
}

void operation_poll(session_t *s) {
    session_phase(s, ECS_PHASE_REACT);
    session_log(s, "poll %u watches", s->model->watch_count);
    model_watch_poll(s->model);
    session_compare_watches(s);
}

void operation_readers_reset(session_t *s) {
    session_log(s, "readers reset");
    s->model->watch_count = 0;
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        ecs_readers_reset(s->world[w]);
    }
}
