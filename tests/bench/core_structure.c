#include <malloc.h>
#include <stdlib.h>

#include "core_row.h"

enum { ROW_BYTES = 96 };

/* ---- spawn, despawn -------------------------------------------------------------------------- */

static void record_rows(core_row_t *row) {
    static const char text[24] = "a row of the bench";
    for (uint32_t i = 0; i < row->count; i++) {
        struct {
            double a, b;
            uint32_t c;
        } load = {i, i, i};
        ecs_id_t id = ecs_record_spawn(row->world, 0, NULL);
        core_insert_v3(row, id, row->pos, (v3_t){i, i, i});
        core_insert_v3(row, id, row->vel, (v3_t){1, 2, 3});
        core_insert(row, id, row->load, &load, sizeof load);
        core_insert(row, id, row->blob, text, sizeof text);
        row->ids[i] = id;
    }
}

/* A batch is validated as a whole before it is applied; bevy's commands are not. */
static double spawn_timed(core_row_t *row) {
    double start = bench_now_ns();
    core_begin(row);
    record_rows(row);
    core_commit(row);
    return bench_now_ns() - start;
}

static double despawn_timed(core_row_t *row) {
    double start = bench_now_ns();
    core_begin(row);
    for (uint32_t i = 0; i < row->count; i++) {
        core_check(row, ecs_record_plain(row->world, ECS_OP_DESPAWN, row->ids[i], 0));
    }
    core_commit(row);
    return bench_now_ns() - start;
}

/* The same by one command: the caller fills columns. */
static double spawn_bulk_timed(core_row_t *row) {
    static const char text[24] = "a row of the bench";
    const uint32_t components[] = {row->pos, row->vel, row->load, row->blob};
    void *columns[4];
    double start = bench_now_ns();
    core_begin(row);
    const ecs_id_t *ids = ecs_record_spawn_many(row->world, row->count, components, 4, columns);
    if (ids == NULL) {
        row->failed = true;
        return 0;
    }
    v3_t *pos = columns[0], *vel = columns[1], *load = columns[2];
    for (uint32_t i = 0; i < row->count; i++) {
        pos[i] = (v3_t){i, i, i};
        vel[i] = (v3_t){1, 2, 3};
        load[i].x = load[i].y = i;
        memcpy((char *)columns[3] + i * sizeof text, text, sizeof text);
        row->ids[i] = ids[i];
    }
    core_commit(row);
    return bench_now_ns() - start;
}

static void rows_make(core_row_t *row) {
    row->to = limits_need(row->count, ROW_BYTES);
    row->from = limits_need(row->count, ROW_BYTES);
}

static void spawn_open(core_row_t *row) {
    core_world_make(row);
    rows_make(row);
}

static double spawn_sample(core_row_t *row) {
    double took = spawn_timed(row);
    (void)despawn_timed(row);
    return took;
}

static double spawn_bulk_sample(core_row_t *row) {
    double took = spawn_bulk_timed(row);
    (void)despawn_timed(row);
    return took;
}

static double spawn_limit(core_row_t *row) {
    double start = bench_now_ns();
    bench_memcpy((char *)row->to, (const char *)row->from, row->count, ROW_BYTES);
    return bench_now_ns() - start;
}

/* In a new world, with no memory left over from the one before. */
static double spawn_cold_sample(core_row_t *row) {
    (void)malloc_trim(0);
    core_world_make(row);
    double took = spawn_timed(row);
    core_world_drop(row);
    return took;
}

static double spawn_bulk_cold_sample(core_row_t *row) {
    (void)malloc_trim(0);
    core_world_make(row);
    double took = spawn_bulk_timed(row);
    core_world_drop(row);
    return took;
}

/* To memory that was never touched. */
static double spawn_cold_limit(core_row_t *row) {
    free(row->to);
    row->to = NULL;
    (void)malloc_trim(0);
    row->to = malloc((size_t)row->count * ROW_BYTES);
    return spawn_limit(row);
}

static void despawn_open(core_row_t *row) {
    core_world_make(row);
    limits_world_init(&row->plain, row->count);
}

static double despawn_sample(core_row_t *row) {
    (void)spawn_timed(row);
    return despawn_timed(row);
}

static double despawn_limit(core_row_t *row) {
    limits_fill(&row->plain);
    double start = bench_now_ns();
    limits_despawn(&row->plain);
    return bench_now_ns() - start;
}

/* ---- add, remove ----------------------------------------------------------------------------- */

static void toggle_open(core_row_t *row) {
    core_open_moving(row);
    limits_world_init(&row->plain, row->count);
}

static void toggle_sparse_open(core_row_t *row) {
    row->sparse = true;
    toggle_open(row);
}

static double add_timed(core_row_t *row) {
    double start = bench_now_ns();
    core_begin(row);
    for (uint32_t i = 0; i < row->count; i++) {
        double value = i;
        core_insert(row, row->ids[i], row->extra, &value, sizeof value);
    }
    core_commit(row);
    return bench_now_ns() - start;
}

static double remove_timed(core_row_t *row) {
    double start = bench_now_ns();
    core_begin(row);
    for (uint32_t i = 0; i < row->count; i++) {
        core_check(row, ecs_record_plain(row->world, ECS_OP_REMOVE, row->ids[i], row->extra));
    }
    core_commit(row);
    return bench_now_ns() - start;
}

static double add_sample(core_row_t *row) {
    double took = add_timed(row);
    (void)remove_timed(row);
    return took;
}

static double remove_sample(core_row_t *row) {
    (void)add_timed(row);
    return remove_timed(row);
}

static double add_limit(core_row_t *row) {
    double start = bench_now_ns();
    limits_add(&row->plain);
    double took = bench_now_ns() - start;
    limits_remove(&row->plain);
    return took;
}

static double remove_limit(core_row_t *row) {
    limits_add(&row->plain);
    double start = bench_now_ns();
    limits_remove(&row->plain);
    return bench_now_ns() - start;
}

/* ---- record, apply --------------------------------------------------------------------------- */

static void record_sets(core_row_t *row, uint32_t op) {
    for (uint32_t i = 0; i < row->count; i++) {
        v3_t *to = ecs_record(row->world, op, row->ids[i], row->pos, 7);
        if (to == NULL) {
            row->failed = true;
            return;
        }
        *to = (v3_t){i, 1, 2};
    }
}

static double record_sample(core_row_t *row) {
    core_begin(row);
    double start = bench_now_ns();
    record_sets(row, ECS_OP_INSERT);
    double took = bench_now_ns() - start;
    core_check(row, ecs_batch_drop(row->world));
    return took;
}

static double record_limit(core_row_t *row) {
    double start = bench_now_ns();
    for (uint32_t i = 0; i < row->count; i++) {
        v3_t *to = bench_slot(row->ids[i], 7);
        *to = (v3_t){i, 1, 2};
    }
    return bench_now_ns() - start;
}

/* Recording is not in the time. */
static double applied(core_row_t *row, uint32_t op) {
    core_begin(row);
    record_sets(row, op);
    core_seal(row);
    double start = bench_now_ns();
    core_apply(row);
    return bench_now_ns() - start;
}

static double apply_limit(core_row_t *row) {
    bench_commands_t *commands = bench_commands_make(row->ids, row->count);
    double start = bench_now_ns();
    bench_store(row->world, commands, row->pos);
    double took = bench_now_ns() - start;
    bench_commands_free(commands);
    return took;
}

static double apply_set_sample(core_row_t *row) { return applied(row, ECS_OP_SET); }
static double apply_insert_sample(core_row_t *row) { return applied(row, ECS_OP_INSERT); }

const core_workload_t core_structure[] = {
    {"spawn_commands", CORE_ROWS, CORE_ROWS, spawn_open, spawn_sample, spawn_limit},
    {"spawn_commands_cold", CORE_ROWS, CORE_ROWS, rows_make, spawn_cold_sample, spawn_cold_limit},
    {"spawn_bulk", CORE_ROWS, CORE_ROWS, spawn_open, spawn_bulk_sample, spawn_limit},
    {"spawn_bulk_cold", CORE_ROWS, CORE_ROWS, rows_make, spawn_bulk_cold_sample, spawn_cold_limit},
    {"despawn", CORE_ROWS, CORE_ROWS, despawn_open, despawn_sample, despawn_limit},
    {"add_table", CORE_ROWS, CORE_ROWS, toggle_open, add_sample, add_limit},
    {"remove_table", CORE_ROWS, CORE_ROWS, toggle_open, remove_sample, remove_limit},
    {"add_sparse", CORE_ROWS, CORE_ROWS, toggle_sparse_open, add_sample, add_limit},
    {"remove_sparse", CORE_ROWS, CORE_ROWS, toggle_sparse_open, remove_sample, remove_limit},
    {"record", CORE_ROWS, CORE_ROWS, core_open_moving, record_sample, record_limit},
    {"apply_set_id", CORE_ROWS, CORE_ROWS, core_open_moving, apply_set_sample, apply_limit},
    {"apply_set_random", CORE_ROWS, CORE_ROWS, core_open_shuffled, apply_set_sample, apply_limit},
    {"apply_insert_id", CORE_ROWS, CORE_ROWS, core_open_moving, apply_insert_sample, apply_limit},
    {"apply_insert_random", CORE_ROWS, CORE_ROWS, core_open_shuffled, apply_insert_sample,
     apply_limit},
    {0}};
