#include "core_row.h"

#include <stdlib.h>

void core_world_make(core_row_t *row) {
    static const char *const xyz[] = {"double x", "double y", "double z"};
    static const char *const load[] = {"double a", "double b", "uint32_t c"};
    static const char *const blob[] = {"char text[24]"};
    static const char *const frag[] = {"double v", "double w"};
    static const char *const extra[] = {"double value"};
    if (ecs_world_create(&row->world, NULL) != ECS_OK) { abort(); }
    ecs_world_t *world = row->world;
    core_check(row, ecs_component_register(world, "Pos", xyz, 3, &row->pos));
    core_check(row, ecs_component_register(world, "Vel", xyz, 3, &row->vel));
    core_check(row, ecs_component_register(world, "Load", load, 3, &row->load));
    core_check(row, ecs_component_register(world, "Blob", blob, 1, &row->blob));
    core_check(row, ecs_component_register(world, "Frag", frag, 2, &row->frag));
    core_check(row, ecs_component_register(world, "Extra", extra, 1, &row->extra));
    if (row->sparse) { core_check(row, ecs_component_sparse(world, row->extra)); }
    for (uint32_t i = 0; i < CORE_TAGS; i++) {
        const char name[] = {'T', (char)('a' + i), '\0'};
        core_check(row, ecs_component_register(world, name, NULL, 0, &row->tag[i]));
    }
    core_check(row, ecs_phase_set(world, ECS_PHASE_RUN));
}

void core_world_drop(core_row_t *row) {
    ecs_world_destroy(row->world);
    row->world = NULL;
}

void core_begin(core_row_t *row) { core_check(row, ecs_batch_begin(row->world, 0)); }

/* Applies; a batch that was rejected counts as a failure. */
void core_apply(core_row_t *row) {
    uint32_t count = 0;
    core_check(row, ecs_phase_set(row->world, ECS_PHASE_APPLY));
    core_check(row, ecs_apply(row->world));
    core_check(row, ecs_phase_set(row->world, ECS_PHASE_RUN));
    const ecs_batch_result_t *results = ecs_apply_results(row->world, &count);
    core_check(row, count == 1 ? results[0].error : ECS_E_INVALID);
}

void core_seal(core_row_t *row) { core_check(row, ecs_batch_seal(row->world, NULL)); }

void core_commit(core_row_t *row) {
    core_seal(row);
    core_apply(row);
}

/* Batches of a size that the stream keeps anyway. */
void core_open_moving(core_row_t *row) {
    core_world_make(row);
    for (uint32_t i = 0; i < row->count && !row->failed;) {
        core_begin(row);
        for (uint32_t k = 0; k < CORE_ROWS && i < row->count; k++, i++) {
            row->ids[i] = ecs_record_spawn(row->world, 0, NULL);
            core_insert_v3(row, row->ids[i], row->pos, (v3_t){i, i, i});
            core_insert_v3(row, row->ids[i], row->vel, (v3_t){1, 2, 3});
        }
        core_commit(row);
    }
}

void core_open_shuffled(core_row_t *row) {
    core_open_moving(row);
    limits_shuffle(row->ids, row->count);
}

void core_query_make(core_row_t *row, ecs_query_desc_t desc) {
    core_check(row, ecs_query_create(row->world, &desc, &row->query));
}

/* ---- walks ----------------------------------------------------------------------------------- */

void core_blocks_note(core_row_t *row, size_t step_bytes) {
    row->blocks = limits_need(row->count, sizeof *row->blocks);
    ecs_cursor_t *cursor = ecs_cursor_open(row->query);
    while (ecs_cursor_next(cursor)) {
        row->blocks[row->block_count++] =
            (limits_block_t){cursor->box[0].p, step_bytes, (uint32_t)cursor->count};
    }
    ecs_cursor_close(cursor);
}

double core_walk(ecs_query_t *query, size_t step_bytes) {
    double sum = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        const char *at = cursor->box[0].p;
        for (int32_t i = 0; i < cursor->count; i++, at += step_bytes) {
            sum += *(const double *)(const void *)at;
        }
    }
    ecs_cursor_close(cursor);
    return sum;
}

/* ---- rows ------------------------------------------------------------------------------------ */

volatile double core_sink;

static const core_workload_t *find(const core_workload_t *list, const char *name) {
    while (list->name != NULL && strcmp(list->name, name) != 0) {
        list++;
    }
    return list->name != NULL ? list : NULL;
}

core_row_t *core_open(const char *name) {
    const core_workload_t *workload = find(core_access, name);
    if (workload == NULL) { workload = find(core_structure, name); }
    if (workload == NULL) { workload = find(core_archetypes, name); }
    if (workload == NULL) { workload = find(core_snapshot, name); }
    if (workload == NULL) { return NULL; }
    core_row_t *row = limits_need(1, sizeof *row);
    row->workload = workload;
    row->count = workload->count;
    row->ids = limits_need(workload->count, sizeof *row->ids);
    if (workload->open != NULL) { workload->open(row); }
    return row;
}

void core_close(core_row_t *row) {
    core_world_drop(row);
    limits_world_fini(&row->plain);
    free(row->to);
    free(row->from);
    free(row->index);
    free(row->blocks);
    free(row->ids);
    free(row);
}

double core_items(const core_row_t *row) { return row->workload->items; }

double core_sample(core_row_t *row) {
    double took = row->failed ? -1 : row->workload->sample(row);
    return row->failed ? -1 : took;
}

double core_limit(core_row_t *row) { return row->workload->limit(row); }
