/* What depends on chunks: queries for what is new, and who wrote last. The model knows rows, so it
 * says which ones must come, and which archetypes may. */
#include <string.h>

#include "session.h"

/* ---- news ----------------------------------------------------------------------------------- */

bool session_has_news(const session_query_t *query) {
    return query->desc.changed_count > 0 || query->desc.added_count > 0;
}

/* Whether the row was written, or came, since. */
static bool must_come(const ecs_query_desc_t *d, const model_entity_t *e, uint64_t since) {
    bool must = e->arrived > since;
    for (uint32_t i = 0; i < d->changed_count; i++) {
        must = must || e->newest[d->changed[i]].changed > since;
    }
    return must && e->state == MODEL_ALIVE && model_matches(d, e->set);
}

/* Whether some row of the shape was written, or came, since. */
static bool may_come(const model_t *m, const ecs_query_desc_t *d, uint32_t shape, uint64_t since) {
    bool may = m->arrived[shape] > since;
    for (uint32_t i = 0; i < d->changed_count; i++) {
        may = may || m->changed[shape][d->changed[i]] > since;
    }
    return may && model_matches_shape(d, shape);
}

typedef struct {
    session_t *session;
    const session_query_t *query;
    uint32_t world, rows;
    bool seen[MODEL_SLOTS];
} news_t;

static void check_values(const news_t *news, const ecs_cursor_t *cursor, int32_t at) {
    session_t *s = news->session;
    const ecs_query_desc_t *d = &news->query->desc;
    for (uint32_t k = 0; k < d->read_count; k++) {
        uint32_t component = d->read[k];
        size_t bytes = MODEL_COMPONENT[component].size_bytes;
        const char *value = (const char *)cursor->box[k].p + (size_t)at * bytes;
        if (memcmp(value, model_value(s->model, cursor->ids[at], component), bytes) != 0) {
            session_fail(s, "%s of %.0f differs in a box", MODEL_COMPONENT[component].name,
                         cursor->ids[at]);
        }
    }
}

/* Rows of a chunk follow each other in the model, too. */
static void check_chunk(news_t *news, const ecs_cursor_t *cursor) {
    session_t *s = news->session;
    model_t *m = s->model;
    if (!model_alive(m, cursor->ids[0])) { session_fail(s, "%.0f is dead", cursor->ids[0]); }
    uint32_t shape = model_shape(model_find(m, cursor->ids[0])->set), first = 0;
    const model_rows_t *rows = &m->rows[shape];
    while (first < rows->count && m->entity[rows->row[first]].id != cursor->ids[0]) {
        first++;
    }
    if (!may_come(m, &news->query->desc, shape, news->query->since[news->world])) {
        session_fail(s, "nothing is new in the archetype of %.0f", cursor->ids[0]);
    }
    for (int32_t i = 0; i < cursor->count; i++) {
        uint32_t at = first + (uint32_t)i;
        if (at >= rows->count) { session_fail(s, "too many rows"); }
        const model_entity_t *e = &m->entity[rows->row[at]];
        session_same(s, "id of a row", cursor->ids[i], e->id);
        session_same(s, "a row of a run", model_matches(&news->query->desc, e->set), true);
        if (news->seen[rows->row[at]]) { session_fail(s, "%.0f comes twice", cursor->ids[i]); }
        news->seen[rows->row[at]] = true;
        check_values(news, cursor, i);
    }
    news->rows += (uint32_t)cursor->count;
}

static void check_all_came(const news_t *news) {
    session_t *s = news->session;
    for (uint32_t i = 0; i < s->model->slot_count; i++) {
        const model_entity_t *e = &s->model->entity[i];
        bool must = must_come(&news->query->desc, e, news->query->since[news->world]);
        if (must && !news->seen[i]) { session_fail(s, "%.0f has news and did not come", e->id); }
    }
}

void session_walk_news(session_t *s, uint32_t w, session_query_t *query, bool whole) {
    static news_t news;
    memset(&news, 0, sizeof news);
    news = (news_t){.session = s, .query = query, .world = w};
    double count = ecs_query_count(query->handle[w]);
    ecs_cursor_t *cursor = ecs_cursor_open(query->handle[w]);
    bool more = ecs_cursor_next(cursor);
    while (more) {
        check_chunk(&news, cursor);
        more = whole && ecs_cursor_next(cursor);
    }
    if (whole) {
        session_same(s, "ecs_query_count", count, news.rows);
        check_all_came(&news);
        session_same(s, "rows of a second walk", ecs_query_count(query->handle[w]), 0);
        session_same(s, "a second walk", ecs_cursor_next(cursor), false);
        query->from[w] = query->since[w];
        query->since[w] = s->model->tick;
        query->rows[w] = news.rows;
    } else if (news.rows == 0) { /* that was the end of it */
        query->since[w] = s->model->tick;
    }
    ecs_cursor_close(cursor);
}

void session_compare_news(session_t *s) {
    for (uint32_t i = 0; i < s->query_count; i++) {
        session_query_t *query = &s->query[i];
        if (!session_has_news(query) || session_below(s, 3) == 0) { continue; }
        bool whole = session_below(s, 4) > 0;
        for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
            session_walk_news(s, w, query, whole);
        }
        if (whole && s->chunk_rows[0] == s->chunk_rows[1] && query->from[0] == query->from[1]) {
            session_same(s, "rows of the same query", query->rows[0], query->rows[1]);
        }
    }
}

/* ---- who wrote last ------------------------------------------------------------------------- */

/* A stamp that a chunk has for the component, in which a row has at least `own`. */
static void check_stamp(session_t *s, uint32_t w, uint32_t component, const ecs_stamp_t *got,
                        const ecs_stamp_t *own) {
    bool alone = false;
    if (got->changed < own->changed || got->changed > s->model->tick) {
        session_fail(s, "%s was written at %llu, and its chunk says %llu",
                     MODEL_COMPONENT[component].name, (unsigned long long)own->changed,
                     (unsigned long long)got->changed);
    }
    if (got->changed <= s->restored[w]) { /* a snapshot does not tell */
        session_same(s, "owner of what was restored", (double)got->owner, 0);
        session_same(s, "place of what was restored", got->place, 0);
        return;
    }
    if (!model_knows_write(s->model, component, got, &alone)) {
        session_fail(s, "%s was not written at %llu by %llu at place %u",
                     MODEL_COMPONENT[component].name, (unsigned long long)got->changed,
                     (unsigned long long)got->owner, got->place);
    }
    if (alone && got->changed == own->changed) {
        session_same(s, "owner of the newest write", (double)got->owner, (double)own->owner);
        session_same(s, "place of the newest write", got->place, own->place);
    }
}

static void compare_one(session_t *s, uint32_t w, const model_entity_t *e, uint32_t component) {
    ecs_stamp_t got = {0};
    bool there = e->state == MODEL_ALIVE && (e->set >> component & 1u) != 0;
    bool tag = MODEL_COMPONENT[component].size_bytes == 0;
    session_same(s, "ecs_provenance", ecs_provenance(s->world[w], e->id, component, &got),
                 !there ? ECS_E_ABSENT
                 : tag  ? ECS_E_INVALID
                        : ECS_OK);
    if (!there || tag) { return; }
    check_stamp(s, w, component, &got, &e->newest[component]);
    uint64_t arrived = model_is_sparse(component) ? e->got[component] : e->arrived;
    if (got.added < arrived || got.added > s->model->tick) {
        session_fail(s, "%.0f came at %llu, and its chunk says %llu", e->id,
                     (unsigned long long)arrived, (unsigned long long)got.added);
    }
}

void session_compare_provenance(session_t *s) {
    const model_t *m = s->model;
    for (uint32_t left = m->slot_count == 0 ? 0 : 6; left > 0; left--) {
        const model_entity_t *e = &m->entity[session_below(s, m->slot_count)];
        for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
            for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
                compare_one(s, w, e, c);
            }
        }
    }
}

void session_compare_by(session_t *s, uint32_t w, const ecs_batch_result_t *got, uint32_t at) {
    const ecs_stamp_t *want = &s->model->result[at].by;
    if (s->model->by[at] == MODEL_BY_CHUNK) {
        check_stamp(s, w, got->component, &got->by, want);
        return;
    }
    session_same(s, "tick of who changed it", (double)got->by.changed, (double)want->changed);
    session_same(s, "owner of who changed it", (double)got->by.owner, (double)want->owner);
    session_same(s, "place of who changed it", got->by.place, want->place);
}
