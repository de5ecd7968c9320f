/* Writers, and writes that are watched. */
#include <string.h>

#include "operations.h"

static void write_begin(session_t *s) {
    session_phase(s, ECS_PHASE_WRITE);
    s->model->tick++;
    s->model->writer = 50 + session_below(s, 3);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        session_same(s, "ecs_write_begin", ecs_write_begin(s->world[w], s->model->writer), ECS_OK);
    }
}

void operation_write(session_t *s) {
    ecs_id_t id = operation_pick_id(s);
    uint32_t component = operation_pick_component(s, id, true);
    session_log(s, "write %.17g %s", id, MODEL_COMPONENT[component].name);
    write_begin(s);
    char *want = model_value(s->model, id, component);
    if (want != NULL) {
        uint32_t all = (1u << MODEL_COMPONENT[component].field_count) - 1;
        session_scramble(s, component, session_below(s, all + 1), want);
        model_wrote(s->model, id, component);
    }
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        char *to = ecs_write(s->world[w], id, component);
        session_same(s, "there is something to write", to != NULL, want != NULL);
        if (to != NULL) { memcpy(to, want, MODEL_COMPONENT[component].size_bytes); }
    }
    session_phase(s, ECS_PHASE_IDLE);
}

void operation_write_query(session_t *s) {
    for (uint32_t i = 0; i < s->query_count; i++) {
        const session_query_t *query = &s->query[(s->at + i) % s->query_count];
        if (query->desc.write_count == 0) { continue; }
        session_log(s, "write rows of query %u", (s->at + i) % s->query_count);
        write_begin(s);
        session_write_query(s, query);
        session_phase(s, ECS_PHASE_IDLE);
        if (session_below(s, 3) == 0) { session_compare(s); }
        return;
    }
}

/* The last row of an archetype, or of a sparse component, is watched, changes, and fills a gap. */
void operation_gap(session_t *s) {
    const model_rows_t *rows = &s->model->rows[0];
    for (uint32_t shape = 1; shape < MODEL_SHAPES; shape++) {
        if (s->model->rows[shape].count > rows->count) { rows = &s->model->rows[shape]; }
    }
    bool sparse = session_below(s, 2) == 0; /* or the last row of a sparse component */
    if (sparse) { rows = &s->model->sparse_rows[MODEL_ALARM]; }
    if (rows->count < 2) { return; }
    ecs_id_t last = s->model->entity[rows->row[rows->count - 1]].id;
    ecs_id_t gap = s->model->entity[rows->row[session_below(s, rows->count - 1)]].id;
    uint32_t component = sparse ? MODEL_ALARM : operation_pick_component(s, last, true);
    operation_watch(
        s, (ecs_watch_desc_t){.kind = ECS_WATCH_CHANGED, .id = last, .component = component});
    operation_record_value(s, ECS_OP_INSERT, last, component);
    if (sparse && session_below(s, 2) == 0) {
        operation_record_plain(s, ECS_OP_REMOVE, gap, component);
    } else {
        operation_record_plain(s, ECS_OP_DESPAWN, gap, 0);
    }
}

/* A watch, a write or a removal, and nothing else that could be a reason to test the watch. */
void operation_watched(session_t *s) {
    operation_apply(s);
    operation_poll(s);
    ecs_id_t id = operation_pick_id(s);
    uint32_t component = operation_pick_component(s, id, session_below(s, 2) == 0);
    static const uint32_t kinds[] = {ECS_WATCH_CHANGED, ECS_WATCH_CHANGED, ECS_WATCH_ADDED,
                                     ECS_WATCH_REMOVED};
    operation_watch(s, (ecs_watch_desc_t){
                           .kind = kinds[session_below(s, 4)], .id = id, .component = component});
    switch (session_below(s, 6)) {
    case 0: operation_record_plain(s, ECS_OP_REMOVE, id, component); break;
    case 1:
    case 2: operation_write_query(s); break;
    default: operation_record_value(s, ECS_OP_INSERT, id, component); break;
    }
    operation_apply(s);
    operation_poll(s);
}
