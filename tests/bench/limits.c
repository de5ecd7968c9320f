#include "limits.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOT_BYTES = 4096, FIRST_ROWS = 16 };

double bench_now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

__attribute__((noinline, optimize("no-tree-vectorize"))) void
bench_plain(v3_t *pos, const v3_t *vel, double count, double dt) {
    for (size_t i = 0; i < (size_t)count; i++) {
        pos[i].x += vel[i].x * dt;
        pos[i].y += vel[i].y * dt;
        pos[i].z += vel[i].z * dt;
    }
}

__attribute__((noinline)) void bench_memcpy(char *to, const char *from, double rows, double bytes) {
    for (size_t i = 0; i < (size_t)rows; i++) {
        memcpy(to + i * (size_t)bytes, from + i * (size_t)bytes, (size_t)bytes);
    }
    __asm__ volatile("" : : "r"(to) : "memory");
}

__attribute__((noinline)) void *bench_slot(double id, double mask) {
    static _Alignas(64) char slot[SLOT_BYTES];
    __asm__ volatile("" : : "x"(id), "x"(mask));
    return slot;
}

__attribute__((noinline)) double limits_sum_blocks(const limits_block_t *blocks, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *at = blocks[i].first;
        for (uint32_t j = 0; j < blocks[i].count; j++, at += blocks[i].step_bytes) {
            sum += *(const double *)(const void *)at;
        }
    }
    return sum;
}

__attribute__((noinline)) double limits_sum_at(const v3_t *values, const uint32_t *index,
                                               uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += values[index[i]].x;
    }
    return sum;
}

void limits_shuffle(double *list, uint32_t count) {
    uint64_t seed = 88172645463325252u;
    for (uint32_t i = count - 1; i > 0; i--) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        uint32_t j = (uint32_t)(seed % (i + 1ull));
        double kept = list[i];
        list[i] = list[j];
        list[j] = kept;
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

void *limits_need(size_t count, size_t bytes) {
    void *made = calloc(count, bytes);
    if (made == NULL) { abort(); }
    return made;
}

static void table_init(limits_table_t *table, uint32_t count) {
    for (uint32_t i = 0; i < LIMITS_COLUMNS; i++) {
        table->column[i] = limits_need(count, sizeof(v3_t));
    }
    table->extra = limits_need(count, sizeof(double));
    table->entity = limits_need(count, sizeof(uint32_t));
}

static void table_fini(limits_table_t *table) {
    for (uint32_t i = 0; i < LIMITS_COLUMNS; i++) {
        free(table->column[i]);
    }
    free(table->extra);
    free(table->entity);
}

void limits_world_init(limits_world_t *world, uint32_t count) {
    *world = (limits_world_t){.count = count};
    table_init(&world->without, count);
    table_init(&world->with, count);
    world->row = limits_need(count, sizeof(uint32_t));
    world->free = limits_need(count, sizeof(uint32_t));
    limits_fill(world);
}

void limits_world_fini(limits_world_t *world) {
    table_fini(&world->without);
    table_fini(&world->with);
    free(world->row);
    free(world->free);
}

void limits_fill(limits_world_t *world) {
    world->without.count = world->count;
    world->with.count = world->free_count = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        world->row[i] = world->without.entity[i] = i;
    }
}

static inline void row_remove(limits_world_t *world, limits_table_t *table, uint32_t row,
                              uint32_t columns) {
    uint32_t last = --table->count;
    if (row == last) { return; }
    for (uint32_t i = 0; i < columns; i++) {
        table->column[i][row] = table->column[i][last];
    }
    table->entity[row] = table->entity[last];
    world->row[table->entity[row]] = row;
}

__attribute__((noinline)) void limits_despawn(limits_world_t *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        row_remove(world, &world->without, world->row[i], LIMITS_COLUMNS);
        world->free[world->free_count++] = i;
    }
}

static inline uint32_t row_move(limits_world_t *world, limits_table_t *from, limits_table_t *to,
                                uint32_t entity) {
    uint32_t row = world->row[entity], made = to->count++;
    to->column[0][made] = from->column[0][row];
    to->column[1][made] = from->column[1][row];
    to->entity[made] = entity;
    return made;
}

__attribute__((noinline)) void limits_add(limits_world_t *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        uint32_t made = row_move(world, &world->without, &world->with, i);
        world->with.extra[made] = (double)i;
        row_remove(world, &world->without, world->row[i], 2);
        world->row[i] = made;
    }
}

__attribute__((noinline)) void limits_remove(limits_world_t *world) {
    limits_table_t *with = &world->with;
    for (uint32_t i = 0; i < world->count; i++) {
        uint32_t row = world->row[i];
        uint32_t made = row_move(world, with, &world->without, i);
        with->extra[row] = with->extra[with->count - 1];
        row_remove(world, with, row, 2);
        world->row[i] = made;
    }
}

double limits_tables_make(uint32_t count) {
    uint32_t mask = 1;
    while (mask < 4 * count) {
        mask *= 2;
    }
    uint32_t *table = limits_need(mask--, sizeof *table);
    v3_t **made = limits_need(count, sizeof *made);
    double start = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (i + 1) * 2654435761u >> 7 & mask;
        while (table[at] != 0 && table[at] != i + 1) {
            at = (at + 1) & mask;
        }
        table[at] = i + 1;
        made[i] = limits_need(FIRST_ROWS, sizeof(v3_t));
        made[i][0] = (v3_t){i, i, i};
    }
    double took = bench_now_ns() - start;
    for (uint32_t i = 0; i < count; i++) {
        free(made[i]);
    }
    free(made);
    free(table);
    return took;
}
