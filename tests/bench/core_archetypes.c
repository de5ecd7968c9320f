#include "core_row.h"

enum { KINDS = 10000, FOUND = KINDS / 4, APART = 8 /* counts lie in structures of their own */ };

/* One entity each: Pos and the tags whose bits are in 1 .. 10,000, each tag a command of its own;
 * bevy gets each entity's components at once, through no queue. */
static double kinds_timed(core_row_t *row) {
    double start = bench_now_ns();
    core_begin(row);
    for (uint32_t kind = 1; kind <= KINDS; kind++) {
        ecs_id_t id = ecs_record_spawn(row->world, 0, NULL);
        core_insert_v3(row, id, row->pos, (v3_t){kind, kind, kind});
        for (uint32_t bits = kind; bits != 0; bits &= bits - 1) {
            (void)ecs_record(row->world, ECS_OP_INSERT, id, row->tag[__builtin_ctz(bits)], 0);
        }
    }
    core_commit(row);
    return bench_now_ns() - start;
}

static void kinds_query(core_row_t *row) {
    core_world_make(row);
    core_query_make(row, (ecs_query_desc_t){.read = {row->pos}, .read_count = 1});
}

static double create_sample(core_row_t *row) {
    kinds_query(row);
    double took = kinds_timed(row);
    core_world_drop(row);
    return took;
}

static double create_limit(core_row_t *row) { return limits_tables_make(row->count); }

static void iterate_open(core_row_t *row) {
    kinds_query(row);
    (void)kinds_timed(row);
    core_blocks_note(row, sizeof(v3_t));
}

static double iterate_sample(core_row_t *row) {
    double start = bench_now_ns();
    core_sink = core_walk(row->query, sizeof(v3_t));
    return bench_now_ns() - start;
}

static double iterate_limit(core_row_t *row) {
    double start = bench_now_ns();
    core_sink = limits_sum_blocks(row->blocks, row->block_count);
    return bench_now_ns() - start;
}

/* Entities in archetypes with both of the first two tags: every fourth. */
static void count_open(core_row_t *row) {
    core_world_make(row);
    (void)kinds_timed(row);
    core_query_make(row, (ecs_query_desc_t){.with = {row->tag[0], row->tag[1]}, .with_count = 2});
    row->blocks = limits_need(FOUND, sizeof *row->blocks);
    row->to = limits_need(FOUND * APART, sizeof *row->to);
    for (uint32_t i = 0; i < FOUND; i++) {
        row->blocks[i] = (limits_block_t){.first = (char *)&row->to[i * APART], .count = 1};
    }
    row->block_count = FOUND;
}

static double count_sample(core_row_t *row) {
    double start = bench_now_ns();
    double count = ecs_query_count(row->query);
    double took = bench_now_ns() - start;
    if (count != FOUND) { row->failed = true; }
    return took;
}

/* A query with a filter is never one that is there already. */
static double query_sample(core_row_t *row) {
    double start = bench_now_ns();
    core_query_make(
        row, (ecs_query_desc_t){
                 .read = {row->pos}, .read_count = 1, .changed = {row->pos}, .changed_count = 1});
    return bench_now_ns() - start;
}

const core_workload_t core_archetypes[] = {
    {"archetypes_create", KINDS, KINDS, NULL, create_sample, create_limit},
    {"archetypes_query", KINDS, KINDS, iterate_open, query_sample, iterate_limit},
    {"archetypes_iterate", KINDS, KINDS, iterate_open, iterate_sample, iterate_limit},
    {"archetypes_count", KINDS, FOUND, count_open, count_sample, iterate_limit},
    {0}};
