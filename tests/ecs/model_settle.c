/* What comes of an apply of the model: rows, events, news. */
#include "model_schema.h"

static void raise_event(model_t *m, const model_entity_t *e, uint32_t kind, uint32_t component) {
    bool all = kind == ECS_EVENT_DESPAWNED;
    if (!m->observed[kind][all ? 0 : component]) { return; }
    m->event[m->event_count++] = (ecs_event_t){
        .id = e->id, .component = all ? 0xffffffffu : component, .kind = kind, .owner = e->owner};
}

static void raise_for(model_t *m, const model_entity_t *e, uint32_t kind, uint32_t set) {
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        if (set >> c & 1u) { raise_event(m, e, kind, c); }
    }
}

/* Sparse components come behind the others; before them where the entity dies. */
static void raise_events(model_t *m, const model_entity_t *e, bool was, uint32_t had) {
    bool is = e->state == MODEL_ALIVE;
    uint32_t before = was ? had : 0, now = is ? e->set : 0;
    uint32_t gone = before & ~now, come = now & ~before;
    if (!is) { raise_for(m, e, ECS_EVENT_REMOVED, gone & MODEL_SPARSE); }
    raise_for(m, e, ECS_EVENT_REMOVED, gone & ~MODEL_SPARSE);
    if (was && !is) { raise_event(m, e, ECS_EVENT_DESPAWNED, 0); }
    raise_for(m, e, ECS_EVENT_ADDED, come & ~MODEL_SPARSE);
    if (is) { raise_for(m, e, ECS_EVENT_REMOVED, gone & MODEL_SPARSE); }
    raise_for(m, e, ECS_EVENT_ADDED, come & MODEL_SPARSE);
    for (uint32_t i = 0; i < e->written_count; i++) {
        uint32_t c = e->written[i];
        if ((now & before) >> c & 1u) { raise_event(m, e, ECS_EVENT_CHANGED, c); }
    }
}

static void take_row(model_rows_t *rows, uint32_t slot) {
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->row[i] == slot) { rows->row[i] = rows->row[rows->count - 1]; }
    }
    rows->count--;
}

/* A sparse component that went and came again has a new row. */
static void settle_sparse(model_t *m, uint32_t slot, uint32_t component) {
    model_entity_t *e = &m->entity[slot];
    model_rows_t *rows = &m->sparse_rows[component];
    bool had = m->was_alive[slot] && (m->was_set[slot] >> component & 1u) != 0;
    bool has = e->state == MODEL_ALIVE && (e->set >> component & 1u) != 0;
    bool kept = had && has && (e->lost >> component & 1u) == 0;
    if (had && !kept) { take_row(rows, slot); }
    if (has && !kept) {
        rows->row[rows->count++] = slot;
        e->got[component] = m->tick;
    }
}

static void settle(model_t *m, uint32_t slot) {
    model_entity_t *e = &m->entity[slot];
    bool was = m->was_alive[slot], is = e->state == MODEL_ALIVE;
    uint32_t before = model_shape(m->was_set[slot]), after = model_shape(e->set);
    raise_events(m, e, was, m->was_set[slot]);
    if (is && !(was && before == after)) {
        model_rows_t *rows = &m->rows[after];
        rows->row[rows->count++] = slot;
        e->arrived = m->arrived[after] = m->tick;
    }
    if (was && !(is && before == after)) { take_row(&m->rows[before], slot); }
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        if (model_is_sparse(c)) { settle_sparse(m, slot, c); }
    }
    m->alive = m->alive - was + is;
    e->written_count = e->lost = 0;
    if (!is) { model_release(m, e); }
}

/* Bulk spawns take their rows before other entities move. */
static void settle_coming(model_t *m) {
    for (uint32_t i = 0; i < m->coming_count; i++) {
        const model_coming_t *coming = &m->coming[i];
        uint32_t shape = model_shape(coming->set);
        model_rows_t *rows = &m->rows[shape];
        model_entity_t born = {.id = m->entity[coming->slot].id, .owner = coming->owner};
        raise_for(m, &born, ECS_EVENT_ADDED, coming->set);
        rows->row[rows->count++] = coming->slot;
        m->arrived[shape] = m->tick;
        m->alive++;
    }
}

/* Which shapes have news: those in which entities were, and those in which they are. */
static void note_changes(model_t *m) {
    for (uint32_t i = 0; i < m->slot_count; i++) {
        const model_entity_t *e = &m->entity[i];
        for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
            if (e->newest[c].changed != m->tick) { continue; }
            m->changed[model_shape(e->set)][c] = m->tick;
            if (m->was_alive[i]) { m->changed[model_shape(m->was_set[i])][c] = m->tick; }
        }
    }
}

void model_settle(model_t *m) {
    note_changes(m);
    settle_coming(m);
    for (uint32_t i = 0; i < m->touched_count; i++) {
        if (m->touched[i] != MODEL_NONE) { settle(m, m->touched[i]); }
    }
}
