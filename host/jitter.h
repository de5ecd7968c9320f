/* How late something ran, counted in powers of two. Fixed size, no allocation.
 *
 *   bucket   0       1         2         3       ...  19
 *   late     < 1 us  1 .. 2 us 2 .. 4 us 4 .. 8  ...  262 ms and more */
#ifndef JITTER_H
#define JITTER_H

#include <stdint.h>

enum { JITTER_BUCKETS = 20 };

typedef struct {
    uint64_t count[JITTER_BUCKETS];
    uint64_t max_ns;
} jitter_t;

static inline void jitter_add(jitter_t *jitter, uint64_t late_ns) {
    uint64_t us = late_ns / 1000;
    int bucket = us == 0 ? 0 : 64 - __builtin_clzll(us);
    jitter->count[bucket < JITTER_BUCKETS ? bucket : JITTER_BUCKETS - 1]++;
    if (late_ns > jitter->max_ns) { jitter->max_ns = late_ns; }
}

#endif
