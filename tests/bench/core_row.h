/* What the files of the core's workloads share. */
#ifndef CORE_ROW_H
#define CORE_ROW_H

#include <string.h>

#include "core.h"
#include "limits.h"

enum { CORE_ROWS = 100000, CORE_TAGS = 26 };

typedef struct {
    const char *name;
    uint32_t count;                    /* entities */
    uint32_t items;                    /* what a sample's time is divided by */
    void (*open)(core_row_t *row);     /* NULL: each sample makes a world */
    double (*sample)(core_row_t *row); /* ns of its measured part */
    double (*limit)(core_row_t *row);
} core_workload_t;

/* Each list ends with a row without a name. */
extern const core_workload_t core_access[], core_structure[], core_archetypes[], core_snapshot[];

struct core_row {
    const core_workload_t *workload;
    ecs_world_t *world;
    uint32_t pos, vel, load, blob, frag, extra, tag[CORE_TAGS];
    ecs_query_t *query;
    ecs_id_t *ids;
    uint32_t count, passes;
    bool sparse; /* extra is */
    bool failed; /* the core refused something */
    /* what limits work on */
    v3_t *to, *from;
    uint32_t *index;
    size_t image_bytes; /* of a snapshot, which lies in `from` */
    limits_block_t *blocks;
    uint32_t block_count;
    limits_world_t plain;
};

/* A sum goes here, so that it is made. */
extern volatile double core_sink;

static inline void core_check(core_row_t *row, int rc) {
    if (rc != ECS_OK) { row->failed = true; }
}

void core_world_make(core_row_t *row);
void core_world_drop(core_row_t *row);
void core_query_make(core_row_t *row, ecs_query_desc_t desc);
/* One batch, from begin to commit, which applies it. One that is rejected is a failure. */
void core_begin(core_row_t *row);
void core_seal(core_row_t *row);
void core_apply(core_row_t *row);
void core_commit(core_row_t *row);
/* A world of entities with Pos and Vel, and nothing else to do. */
void core_open_moving(core_row_t *row);
/* The same; ids lie in random order. */
void core_open_shuffled(core_row_t *row);
/* The blocks of the query's first column, for the limit of a walk. */
void core_blocks_note(core_row_t *row, size_t step_bytes);
/* Sum of the first field of the query's first column. */
double core_walk(ecs_query_t *query, size_t step_bytes);

static inline void core_insert(core_row_t *row, ecs_id_t id, uint32_t component, const void *value,
                               size_t bytes) {
    void *to = ecs_record(row->world, ECS_OP_INSERT, id, component, 0);
    if (to == NULL) {
        row->failed = true;
    } else {
        memcpy(to, value, bytes);
    }
}

static inline void core_insert_v3(core_row_t *row, ecs_id_t id, uint32_t component, v3_t value) {
    core_insert(row, id, component, &value, sizeof value);
}

#endif
