#include "budget.h"

#include <stdlib.h>

#include "runtime.h"

#define TELL_EVERY_NS ((uint64_t)1000000000)

void budget_begin(rt_t *rt) {
    budget_t *budget = &rt->budget;
    budget->step++;
    budget->slices = 0;
    budget->spent = false;
    if (budget->limit_ns > 0) { budget->start_ns = clock_now_ns(rt->clock); }
}

bool budget_check(rt_t *rt) {
    budget_t *budget = &rt->budget;
    if (!budget->spent && budget->slices > 0) {
        bool by_count = budget->limit_slices > 0 && budget->slices >= budget->limit_slices;
        bool by_time =
            budget->limit_ns > 0 && clock_now_ns(rt->clock) - budget->start_ns >= budget->limit_ns;
        budget->spent = by_count || by_time;
    }
    if (budget->spent) { return true; }
    budget->slices++;
    return false;
}

void budget_carry(rt_t *rt, uint32_t from) {
    for (uint32_t i = from; i < rt->running.count; i++) {
        task_t *task = rt->running.items[i];
        if (task->state != TASK_READY) { continue; }
        if (task->carried == 0) { task->carried = rt->budget.step; }
        rt->budget.waiting++;
        task_list_push(&rt->ready, task);
    }
}

static int by_wait(const void *a, const void *b) {
    const task_t *x = *(task_t *const *)a, *y = *(task_t *const *)b;
    uint64_t p = x->carried == 0 ? UINT64_MAX : x->carried;
    uint64_t q = y->carried == 0 ? UINT64_MAX : y->carried;
    if (p != q) { return p < q ? -1 : 1; }
    return (x->order > y->order) - (x->order < y->order);
}

void budget_sort(rt_t *rt) {
    if (rt->budget.waiting == 0) {
        task_list_sort(&rt->running);
        return;
    }
    rt->budget.waiting = 0;
    qsort(rt->running.items, rt->running.count, sizeof(task_t *), by_wait);
}

void budget_end(rt_t *rt) {
    budget_t *budget = &rt->budget;
    if (!budget->spent || rt->ready.count == 0) { return; }
    rt->stats.over_budget++;
    budget->untold_steps++;
    if (rt->now_ns < budget->tell_at_ns) { return; }
    log_printf(rt->log, LOG_WARN, "budget",
               "%u ready task%s carried over to the next step: the step's budget is spent "
               "(limits.%s; %llu step%s since this was told)",
               rt->ready.count, rt->ready.count == 1 ? " is" : "s are",
               budget->limit_slices > 0 && budget->slices >= budget->limit_slices ? "tick_slices"
                                                                                  : "tick_lua_ms",
               (unsigned long long)budget->untold_steps, budget->untold_steps == 1 ? "" : "s");
    budget->tell_at_ns = rt->now_ns + TELL_EVERY_NS;
    budget->untold_steps = 0;
}
