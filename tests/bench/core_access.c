#include "core_row.h"

enum { LETTERS = 26, LETTER_ROWS = 20, FRAGMENTED = LETTERS * LETTER_ROWS, WALKS = 100 };

/* ---- pos += vel ------------------------------------------------------------------------------ */

double bench_ecs_query(ecs_query_t *query, double dt) {
    double rows = 0;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    while (ecs_cursor_next(cursor)) {
        v3_t *pos = (v3_t *)(uintptr_t)cursor->box[0].p;
        const v3_t *vel = cursor->box[1].p;
        for (int32_t i = 0; i < cursor->count; i++) {
            pos[i].x += vel[i].x * dt;
            pos[i].y += vel[i].y * dt;
            pos[i].z += vel[i].z * dt;
        }
        rows += cursor->count;
    }
    ecs_cursor_close(cursor);
    return rows;
}

static void integrate_open(core_row_t *row) {
    core_open_moving(row);
    core_query_make(
        row, (ecs_query_desc_t){
                 .write = {row->pos}, .read = {row->vel}, .write_count = 1, .read_count = 1});
    row->passes = row->workload->items / row->count;
    row->to = limits_need(row->count, sizeof *row->to);
    row->from = limits_need(row->count, sizeof *row->from);
}

/* All passes in one write phase: what a phase costs is one of the walls' rows. A pass marks each
 * chunk as changed; bevy marks each row. */
static double integrate_sample(core_row_t *row) {
    core_check(row, ecs_phase_set(row->world, ECS_PHASE_WRITE));
    core_check(row, ecs_write_begin(row->world, 0));
    double start = bench_now_ns();
    for (uint32_t i = 0; i < row->passes; i++) {
        if (bench_ecs_query(row->query, 0.01) != row->count) { row->failed = true; }
    }
    double took = bench_now_ns() - start;
    ecs_epoch_bump(row->world);
    core_check(row, ecs_phase_set(row->world, ECS_PHASE_RUN));
    return took;
}

static double integrate_limit(core_row_t *row) {
    double start = bench_now_ns();
    for (uint32_t i = 0; i < row->passes; i++) {
        bench_plain(row->to, row->from, row->count, 0.01);
    }
    return bench_now_ns() - start;
}

/* ---- walks over many archetypes -------------------------------------------------------------- */

static void fragmented_open(core_row_t *row) {
    core_world_make(row);
    core_begin(row);
    for (uint32_t i = 0; i < row->count; i++) {
        double value[2] = {i, 0};
        row->ids[i] = ecs_record_spawn(row->world, 0, NULL);
        core_insert(row, row->ids[i], row->frag, value, sizeof value);
        (void)ecs_record(row->world, ECS_OP_INSERT, row->ids[i], row->tag[i / LETTER_ROWS], 0);
    }
    core_commit(row);
    core_query_make(row, (ecs_query_desc_t){.read = {row->frag}, .read_count = 1});
    core_blocks_note(row, 2 * sizeof(double));
}

static double fragmented_sample(core_row_t *row) {
    double start = bench_now_ns();
    for (uint32_t i = 0; i < WALKS; i++) {
        core_sink = core_walk(row->query, 2 * sizeof(double));
    }
    return bench_now_ns() - start;
}

static double fragmented_limit(core_row_t *row) {
    double start = bench_now_ns();
    for (uint32_t i = 0; i < WALKS; i++) {
        core_sink = limits_sum_blocks(row->blocks, row->block_count);
    }
    return bench_now_ns() - start;
}

/* ---- get ------------------------------------------------------------------------------------- */

double bench_get(ecs_world_t *world, const double *ids, double count, double component) {
    double sum = 0;
    for (size_t i = 0; i < (size_t)count; i++) {
        sum += ((const v3_t *)ecs_view(world, ids[i], (uint32_t)component))->x;
    }
    return sum;
}

static void get_open(core_row_t *row) {
    core_open_shuffled(row);
    row->from = limits_need(row->count, sizeof *row->from);
    row->index = limits_need(row->count, sizeof *row->index);
    for (uint32_t i = 0; i < row->count; i++) {
        row->index[i] = (uint32_t)(uint64_t)row->ids[i] % row->count;
    }
}

static double get_sample(core_row_t *row) {
    double start = bench_now_ns();
    core_sink = bench_get(row->world, row->ids, row->count, row->pos);
    return bench_now_ns() - start;
}

static double get_limit(core_row_t *row) {
    double start = bench_now_ns();
    core_sink = limits_sum_at(row->from, row->index, row->count);
    return bench_now_ns() - start;
}

/* ---- what has changed ------------------------------------------------------------------------ */

/* One in a hundred, every hundredth or the first ones. A change is noted per chunk, so the walk
 * sees all rows of a chunk in which one was written; bevy notes it per row. */
static void changed_open(core_row_t *row) {
    core_open_moving(row);
    core_query_make(
        row, (ecs_query_desc_t){
                 .read = {row->pos}, .read_count = 1, .changed = {row->pos}, .changed_count = 1});
    row->from = limits_need(row->count, sizeof *row->from);
}

static double changed_timed(core_row_t *row, uint32_t step) {
    core_begin(row);
    for (uint32_t i = 0; i < row->count / 100; i++) {
        v3_t *to = ecs_record(row->world, ECS_OP_SET, row->ids[(size_t)i * step], row->pos, 1);
        if (to != NULL) { to->x = i; }
    }
    core_commit(row);
    double start = bench_now_ns();
    core_sink = core_walk(row->query, sizeof(v3_t));
    return bench_now_ns() - start;
}

static double changed_spread(core_row_t *row) { return changed_timed(row, 100); }
static double changed_together(core_row_t *row) { return changed_timed(row, 1); }

/* Sum of all rows of an array. */
static double changed_limit(core_row_t *row) {
    limits_block_t all = {(const char *)row->from, sizeof(v3_t), row->count};
    double start = bench_now_ns();
    core_sink = limits_sum_blocks(&all, 1);
    return bench_now_ns() - start;
}

const core_workload_t core_access[] = {
    {"changed_spread", CORE_ROWS, CORE_ROWS, changed_open, changed_spread, changed_limit},
    {"changed_together", CORE_ROWS, CORE_ROWS, changed_open, changed_together, changed_limit},
    {"integrate_1k", 1000, CORE_ROWS, integrate_open, integrate_sample, integrate_limit},
    {"integrate_10k", 10000, CORE_ROWS, integrate_open, integrate_sample, integrate_limit},
    {"integrate_100k", CORE_ROWS, CORE_ROWS, integrate_open, integrate_sample, integrate_limit},
    {"integrate_1m", 1000000, 1000000, integrate_open, integrate_sample, integrate_limit},
    {"fragmented", FRAGMENTED, FRAGMENTED *WALKS, fragmented_open, fragmented_sample,
     fragmented_limit},
    {"get_random", CORE_ROWS, CORE_ROWS, get_open, get_sample, get_limit},
    {0}};
