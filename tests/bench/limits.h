/* The limits that rows are held against: the same work on plain arrays, without an ECS. None of
 * these is inlined, so that a row and its limit are compiled alike. */
#ifndef LIMITS_H
#define LIMITS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double x, y, z;
} v3_t;

double bench_now_ns(void);
/* Zeroed memory; ends the process when there is none. */
void *limits_need(size_t count, size_t bytes);

/* pos += vel * dt on arrays, scalar code. */
void bench_plain(v3_t *pos, const v3_t *vel, double count, double dt);
/* Copies rows one by one. */
void bench_memcpy(char *to, const char *from, double rows, double bytes);
/* A place for a payload, by an empty call. */
void *bench_slot(double id, double mask);

/* Sum of x over blocks that lie apart: what a query comes down to. */
typedef struct {
    const char *first;
    size_t step_bytes;
    uint32_t count;
} limits_block_t;
double limits_sum_blocks(const limits_block_t *blocks, uint32_t count);
/* Sum of x by index. */
double limits_sum_at(const v3_t *values, const uint32_t *index, uint32_t count);

/* Fisher and Yates's shuffle, the same one at each call. */
void limits_shuffle(double *list, uint32_t count);

/* ---- tables: what moves when entities come, change and go ------------------------------------ */

enum { LIMITS_COLUMNS = 4 };

/* Columns of three doubles, one more of one double, swap-remove. */
typedef struct {
    v3_t *column[LIMITS_COLUMNS];
    double *extra;
    uint32_t *entity; /* of each row */
    uint32_t count;
} limits_table_t;

/* Entities 0 .. count - 1, each in one of two tables. */
typedef struct {
    limits_table_t without, with; /* the extra column */
    uint32_t *row;                /* of each entity */
    uint32_t *free, free_count, count;
} limits_world_t;

void limits_world_init(limits_world_t *world, uint32_t count);
void limits_world_fini(limits_world_t *world);
/* All entities into the table without the extra column. */
void limits_fill(limits_world_t *world);
/* Each entity, in order: swap-remove of four columns, and its id to the free ones. */
void limits_despawn(limits_world_t *world);
/* Each entity, in order, to the other table, with two columns of its own. */
void limits_add(limits_world_t *world);
void limits_remove(limits_world_t *world);

/* Makes `count` tables of 16 rows of three doubles, finds each by its key in an open table first,
 * and writes one row. Returns the ns it took. */
double limits_tables_make(uint32_t count);

#endif
