/* Walks of queries without `changed` and `added`: rows, boxes, and what is written through them. */
#include <stdio.h>
#include <string.h>

#include "session.h"

/* The same change of a row in every world and in the model; false leaves it. */
static bool scramble_row(session_t *s, ecs_id_t id, uint32_t component, char *value) {
    uint64_t before = s->random;
    s->random = s->seed * 31 + s->at + (uint64_t)id * 977 + component;
    bool changes = session_below(s, 3) == 0;
    if (changes) { session_scramble(s, component, session_below(s, 1u << MODEL_FIELDS), value); }
    s->random = before;
    return changes;
}

/* ---- queries -------------------------------------------------------------------------------- */

typedef struct {
    session_t *session;
    const session_query_t *query;
    uint32_t world, rows;
    uint32_t shape, at; /* archetype and row in it that come next */
    bool started;
    bool seen[MODEL_SHAPES];
} walk_t;

static const char *shape_text(uint32_t shape) {
    static char text[2][128];
    static uint32_t turn;
    uint32_t set = model_shape_set(shape);
    char *out = text[turn++ % 2];
    int length = snprintf(out, sizeof text[0], "{");
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        if (set >> c & 1u) {
            length += snprintf(out + length, sizeof text[0] - (size_t)length, " %s",
                               MODEL_COMPONENT[c].name);
        }
    }
    (void)snprintf(out + length, sizeof text[0] - (size_t)length, " }");
    return out;
}

static uint32_t columns_of(const ecs_query_desc_t *d, uint32_t *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->write_count; i++) {
        out[count++] = d->write[i];
    }
    for (uint32_t i = 0; i < d->read_count; i++) {
        out[count++] = d->read[i];
    }
    for (uint32_t i = 0; i < d->maybe_count; i++) {
        out[count++] = d->maybe[i];
    }
    return count;
}

void session_forget_order(session_t *s) {
    for (uint32_t shape = 0; shape < MODEL_SHAPES; shape++) {
        if (s->model->rows[shape].count > 0) { continue; }
        memset(s->before[shape], 0, sizeof s->before[shape]);
        for (uint32_t other = 0; other < MODEL_SHAPES; other++) {
            s->before[other][shape] = false;
        }
    }
}

/* Goes on to the next row whose sparse components match; false at the end. */
static bool skip_rows(walk_t *walk) {
    const model_t *m = walk->session->model;
    const model_rows_t *rows = &m->rows[walk->shape];
    while (walk->at < rows->count &&
           !model_matches(&walk->query->desc, m->entity[rows->row[walk->at]].set)) {
        walk->at++;
    }
    return walk->at < rows->count;
}

/* A run of rows begins in an archetype. */
static void walk_shape(walk_t *walk, uint32_t shape) {
    session_t *s = walk->session;
    bool more = walk->started && skip_rows(walk);
    if (more && walk->shape == shape) { return; }
    if (walk->started) {
        session_same(s, "rows of an archetype are left", more, false);
        s->before[walk->shape][shape] = true;
        if (s->before[shape][walk->shape]) {
            session_fail(s, "archetypes %s and %s changed places", shape_text(shape),
                         shape_text(walk->shape));
        }
    }
    if (walk->seen[shape] || !model_matches_shape(&walk->query->desc, shape)) {
        session_fail(s, "archetype %s must not come", shape_text(shape));
    }
    walk->seen[shape] = walk->started = true;
    walk->shape = shape;
    walk->at = 0;
    (void)skip_rows(walk);
}

static void walk_box(walk_t *walk, const ecs_cursor_t *cursor, uint32_t k, uint32_t component) {
    session_t *s = walk->session;
    const ecs_box_t *box = &cursor->box[k];
    const model_component_t *known = &MODEL_COMPONENT[component];
    bool there = (model_shape_set(walk->shape) >> component & 1u) != 0;
    bool write = k < walk->query->desc.write_count;
    session_same(s, "epoch of a box", box->epoch, s->epoch);
    session_same(s, "rows of a box", box->count, there ? cursor->count : 0);
    session_same(s, "a box has values", box->p != NULL, there);
    bool changed = false;
    for (int32_t i = 0; i < box->count; i++) {
        char *at = (char *)(uintptr_t)box->p + (size_t)i * known->size_bytes;
        if (memcmp(at, model_value(s->model, cursor->ids[i], component), known->size_bytes) != 0) {
            session_fail(s, "%s of %.0f differs in a box", known->name, cursor->ids[i]);
        }
        if (write && scramble_row(s, cursor->ids[i], component, at)) { changed = true; }
    }
    if (write && !changed) { *box->stamp = box->before; } /* as scripts take a mark back */
}

static void walk_chunk(walk_t *walk, const ecs_cursor_t *cursor) {
    session_t *s = walk->session;
    model_t *m = s->model;
    uint32_t column[ECS_MAX_TERMS], columns = columns_of(&walk->query->desc, column);
    if (cursor->count < 1 || (uint32_t)cursor->count > s->chunk_rows[walk->world] ||
        !model_alive(m, cursor->ids[0])) {
        session_fail(s, "chunk of %d rows", cursor->count);
    }
    walk_shape(walk, model_shape(model_find(m, cursor->ids[0])->set));
    for (int32_t i = 0; i < cursor->count; i++, walk->at++) { /* none of them is left out */
        const model_rows_t *rows = &m->rows[walk->shape];
        if (walk->at >= rows->count) { session_fail(s, "too many rows"); }
        const model_entity_t *e = &m->entity[rows->row[walk->at]];
        session_same(s, "id of a row", cursor->ids[i], e->id);
        session_same(s, "a row of a run", model_matches(&walk->query->desc, e->set), true);
    }
    for (uint32_t k = 0; k < columns; k++) {
        walk_box(walk, cursor, k, column[k]);
    }
    walk->rows += (uint32_t)cursor->count;
}

void session_walk_query(session_t *s, uint32_t w, const session_query_t *query) {
    walk_t walk = {.session = s, .query = query, .world = w};
    uint32_t rows = 0;
    for (uint32_t i = 0; i < s->model->slot_count; i++) {
        const model_entity_t *e = &s->model->entity[i];
        rows += e->state == MODEL_ALIVE && model_matches(&query->desc, e->set);
    }
    session_same(s, "ecs_query_count", ecs_query_count(query->handle[w]), rows);
    bool allowed = query->desc.write_count == 0 || ecs_phase(s->world[w]) == ECS_PHASE_WRITE;
    ecs_cursor_t *cursor = ecs_cursor_open(query->handle[w]);
    while (ecs_cursor_next(cursor)) {
        walk_chunk(&walk, cursor);
    }
    ecs_cursor_close(cursor);
    session_same(s, "rows of a query", walk.rows, allowed ? rows : 0);
}

void session_write_query(session_t *s, const session_query_t *query) {
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_walk_query(s, w, query);
    }
    for (uint32_t i = 0; i < s->model->slot_count; i++) {
        model_entity_t *e = &s->model->entity[i];
        bool matches = e->state == MODEL_ALIVE && model_matches(&query->desc, e->set);
        for (uint32_t k = 0; matches && k < query->desc.write_count; k++) {
            uint32_t component = query->desc.write[k];
            if (scramble_row(s, e->id, component, model_value(s->model, e->id, component))) {
                model_wrote(s->model, e->id, component);
            }
        }
    }
}
