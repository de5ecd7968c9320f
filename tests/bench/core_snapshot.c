#include <stdlib.h>

#include "core_row.h"

enum { ROWS = 1000000, ROW_BYTES = 8 + 2 * sizeof(v3_t) };

typedef struct {
    char *bytes; /* NULL: counted only */
    size_t length;
} image_t;

static int append(void *context, const void *data, size_t length) {
    image_t *image = context;
    if (image->bytes != NULL) { memcpy(image->bytes + image->length, data, length); }
    image->length += length;
    return ECS_OK;
}

/* A million entities with Pos and Vel, and room for their snapshot and for its copy. */
static void snapshot_open(core_row_t *row) {
    image_t image = {0};
    core_open_moving(row);
    core_check(row, ecs_snapshot_write(row->world, append, &image));
    row->from = limits_need(image.length, 1);
    row->to = limits_need(ROWS, ROW_BYTES);
    row->image_bytes = image.length;
}

static double write_sample(core_row_t *row) {
    image_t image = {.bytes = (char *)row->from};
    double start = bench_now_ns();
    core_check(row, ecs_snapshot_write(row->world, append, &image));
    return bench_now_ns() - start;
}

static void restore_open(core_row_t *row) {
    snapshot_open(row);
    (void)write_sample(row);
    core_world_drop(row);
}

static double restore_sample(core_row_t *row) {
    core_world_make(row);
    core_check(row, ecs_phase_set(row->world, ECS_PHASE_IDLE));
    double start = bench_now_ns();
    core_check(row, ecs_snapshot_restore(row->world, row->from, row->image_bytes));
    double took = bench_now_ns() - start;
    core_world_drop(row);
    return took;
}

/* Ids and columns. */
static double copy_limit(core_row_t *row) {
    double start = bench_now_ns();
    bench_memcpy((char *)row->to, (const char *)row->from, ROWS, ROW_BYTES);
    return bench_now_ns() - start;
}

const core_workload_t core_snapshot[] = {
    {"snapshot_write", ROWS, ROWS, snapshot_open, write_sample, copy_limit},
    {"snapshot_restore", ROWS, ROWS, restore_open, restore_sample, copy_limit},
    {0}};
