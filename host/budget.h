/* The budget of a step: how much the tasks of one step may run before the rest carries over.
 *
 *   ready in order of T2   a b c d e f          next step   d e f │ then what became ready since
 *   budget spent after c   a b c │ d e f                    (those that waited longest first)
 *
 * Counted in time of the host's clock (limits.tick_lua_ms; off under virtual time, which does not
 * pass in a step) or in slices (limits.tick_slices), which are the same every time. Systems,
 * writers and observers are not held back, but their time counts. A step runs at least one ready
 * task, so every task gets its turn. Thread: the host's. */
#ifndef BUDGET_H
#define BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct rt;
struct task;

typedef struct {
    uint64_t limit_ns;     /* 0: none */
    uint32_t limit_slices; /* 0: none */
    uint64_t start_ns;     /* of the step */
    uint64_t step;         /* number of the step, from 1 */
    uint32_t slices;       /* tasks that ran in it */
    bool spent;
    uint32_t waiting;      /* ready tasks that were carried before */
    uint64_t tell_at_ns;   /* not before: the next warning, */
    uint64_t untold_steps; /* and steps since then */
} budget_t;

/* At the start of a step. */
void budget_begin(struct rt *rt);
/* Before a task runs: whether it has to wait for the next step. */
bool budget_check(struct rt *rt);
static inline bool budget_is_limited(const budget_t *budget) {
    return budget->limit_ns > 0 || budget->limit_slices > 0;
}
/* The tasks from `from` on in the running list become ready again, ahead of others in the next
 * step. */
void budget_carry(struct rt *rt, uint32_t from);
/* Puts the running list into its order: those that were carried first, the longest waiting before
 * the others, then T2. */
void budget_sort(struct rt *rt);
/* At the end of a step: tells what was carried, once a second. */
void budget_end(struct rt *rt);

#endif
