/* Workloads on ecs.h alone, without Lua, each on a world of its own; peers/ has the same ones for
 * other cores, under the same names. How to add one: README.md. */
#ifndef CORE_H
#define CORE_H

#include "ecs.h"

typedef struct core_row core_row_t;

/* Makes the world of a row. NULL: the core has no such row, or it refused something. */
core_row_t *core_open(const char *name);
void core_close(core_row_t *row);
/* What the time of a sample is divided by. */
double core_items(const core_row_t *row);
/* ns that one sample took; -1: the core refused something. */
double core_sample(core_row_t *row);
/* ns that the limit of one sample took. */
double core_limit(core_row_t *row);

/* pos += vel over a query of Pos, for writing, and Vel. Returns how many rows. */
double bench_ecs_query(ecs_query_t *query, double dt);
/* Sum of x of a component of three doubles by id, through ecs_view. */
double bench_get(ecs_world_t *world, const double *ids, double count, double component);

/* The limit of an apply: a loop that reads a command, looks its record up and stores 24 bytes. */
typedef struct bench_commands bench_commands_t;
bench_commands_t *bench_commands_make(const double *ids, double count);
void bench_commands_free(bench_commands_t *commands);
void bench_store(ecs_world_t *world, const bench_commands_t *commands, double component);
/* ns to record and apply a bulk spawn of `count` rows of four components, whose ids it answers. */
double bench_spawn_bulk(ecs_world_t *world, const double *components, double count, double *ids);

#endif
