#include "host.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "job.h"
#include "memory.h"
#include "stack.h"
#include "watch.h"

#define NS_PER_S ((uint64_t)1000000000)
#define STATUS_TERMINAL_NS (NS_PER_S / 4)
#define STATUS_LOG_NS (10 * NS_PER_S)
#define STOP_DEFAULT_NS (2 * NS_PER_S)
/* one Ctrl-C may come twice: to the program and to its group */
#define SIGNAL_PAIR_NS ((uint64_t)300000000)
/* the collector's share of one wait: I/O that arrives meanwhile waits as long */
#define IDLE_COLLECT_NS ((uint64_t)100000)
#define IDLE_SLACK_NS ((uint64_t)200000)
enum { BURST_MAX_TICKS = 10 };

/* ---- life ------------------------------------------------------------------------------------ */

static void on_stop_signal(uv_signal_t *handle, int number) {
    host_t *host = handle->data;
    uint64_t now = clock_now_ns(&host->clock);
    (void)number;
    if (host->signals > 0 && now - host->signal_ns < SIGNAL_PAIR_NS) { return; }
    host->signal_ns = now;
    host->signals++;
}

static void on_hangup(uv_signal_t *handle, int number) {
    host_t *host = handle->data;
    (void)number;
    bool heard = watch_ask(host->rt, "SIGHUP");
    log_printf(&host->log, heard ? LOG_INFO : LOG_WARN, NULL, "SIGHUP: %s",
               heard ? "a reload is asked for" : "nothing here reloads; scripts are as they were");
}

void host_open_signals(host_t *host) {
    uv_loop_t *uv = &host->loop.uv;
    uv_signal_t *all[] = {&host->interrupt, &host->terminate, &host->hangup};
    for (size_t i = 0; i < 3; i++) {
        (void)uv_signal_init(uv, all[i]);
        all[i]->data = host;
    }
    (void)uv_signal_start(&host->interrupt, on_stop_signal, SIGINT);
    (void)uv_signal_start(&host->terminate, on_stop_signal, SIGTERM);
    (void)uv_signal_start(&host->hangup, on_hangup, SIGHUP);
    host->signals_open = true;
}

static void close_signals(host_t *host) {
    if (!host->signals_open) { return; }
    uv_close((uv_handle_t *)&host->interrupt, NULL);
    uv_close((uv_handle_t *)&host->terminate, NULL);
    uv_close((uv_handle_t *)&host->hangup, NULL);
    loop_poll(&host->loop);
}

static void tell_missing_walls(host_t *host, uint32_t lacks) {
    if ((lacks & ECS_WALL_NO_ROTATION) != 0) {
        log_printf(&host->log, LOG_WARN, NULL,
                   "this kernel or its limits (ulimit -v) leave maps where they are: stale views "
                   "are not caught");
    }
    if ((lacks & ECS_WALL_PRIVATE_DIVERT) != 0) {
        log_printf(&host->log, LOG_WARN, NULL,
                   "this kernel cannot map single pages privately: moving the view costs more");
    }
    if (!stack_is_guarded()) {
        log_printf(&host->log, LOG_WARN, NULL,
                   "the stack is smaller than 1 MiB (ulimit -s): a script that fills it ends the "
                   "cell");
    }
}

int host_init(host_t *host, const host_opts_t *opts) {
    ecs_options_t world = {.walls = opts->walls,
                           .reserve_bytes = opts->world_bytes,
                           .max_entities = opts->world_entities};
    guard_limits_t limits = {.soft_ns = CELL_SLICE_SOFT_NS,
                             .hard_ns = CELL_SLICE_HARD_NS,
                             .patience = opts->patience == 0 ? 1 : opts->patience};
    *host = (host_t){.opts = *opts, .boot_ref = LUA_NOREF};
    (void)signal(SIGPIPE, SIG_IGN); /* a peer or reader that goes is an error value */
    clock_init(&host->clock, opts->is_virtual);
    log_init(&host->log, &host->clock);
    host->log.format = opts->log_format;
    host->log.level = opts->log_level;
    keep_init(&host->keep);
    host->rt = memory_zeroed(sizeof *host->rt);
    if (loop_init(&host->loop, &host->clock) != 0) {
        return cell_cannot(host, "open the event loop");
    }
    if (ecs_world_create(&host->world, &world) != ECS_OK) {
        return cell_cannot(host, "reserve addresses for the world (ulimit -v?)");
    }
    rt_init(host->rt, host->world, &host->loop, &host->log);
    host->rt->keep = &host->keep;
    host->rt->guard = &host->guard;
    host->rt->no_watch = opts->no_watch;
    if (guard_start(&host->guard, host->world, &host->log, &limits) != 0) {
        return cell_cannot(host, "start the watchdog's thread");
    }
    host->guard.who = task_who;
    host->guard.who_context = host->rt;
    tell_missing_walls(host, ecs_walls(host->world) & ~opts->walls);
    return cell_vm_up(host);
}

void host_fini(host_t *host) {
    control_close(&host->control);
    close_signals(host);
    bool had_vm = host->vm.L != NULL;
    if (had_vm && !host->vm.dead) { rt_drain(host->rt); }
    if (host->vm.dead) { cell_vm_down(host); }
    vm_fini(&host->vm); /* closes what scripts had open */
    if (host->guard.world != NULL) { guard_watch(&host->guard, NULL); }
    if (host->rt != NULL) { jobs_fini(host->rt); }
    int left = loop_fini(&host->loop);
    if (left > 0 && had_vm && !host->opts.check_only) {
        log_printf(&host->log, LOG_DEBUG, NULL, "%d handles were open at the end", left);
    }
    log_flush(&host->log);
    if (host->rt != NULL) { rt_fini(host->rt); }
    guard_stop(&host->guard);
    free(host->rt);
    keep_fini(&host->keep);
    ecs_world_destroy(host->world);
}

/* ---- ticks ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void host_lateness(const host_t *host, uint64_t *p50_ns, uint64_t *p99_ns) {
    uint64_t sorted[RT_LATENESS_SAMPLES];
    uint64_t ticks = host->rt->stats.ticks;
    size_t count = ticks < RT_LATENESS_SAMPLES ? (size_t)ticks : RT_LATENESS_SAMPLES;
    *p50_ns = *p99_ns = 0;
    if (count == 0) { return; }
    memcpy(sorted, host->rt->stats.lateness_ns, count * sizeof(uint64_t));
    qsort(sorted, count, sizeof(uint64_t), by_value);
    *p50_ns = sorted[count / 2];
    *p99_ns = sorted[(count - 1) * 99 / 100];
}

static void schedule_next_tick(host_t *host, uint64_t late_ns) {
    host->next_tick_ns += host->period_ns;
    if (late_ns < host->period_ns) { return; }
    uint64_t missed = late_ns / host->period_ns;
    if (host->late == LATE_FAULT) {
        host->faulted = true;
        log_printf(&host->log, LOG_ERROR, NULL, "a tick was %.1f ms late (policy: fault)",
                   (double)late_ns / 1e6);
        host_stop(host, "late tick");
    }
    if (host->late == LATE_BURST && missed <= BURST_MAX_TICKS) { return; }
    host->next_tick_ns += missed * host->period_ns;
    host->rt->stats.skipped_ticks += missed;
}

static void run_tick(host_t *host, uint64_t now_ns) {
    rt_stats_t *stats = &host->rt->stats;
    uint64_t late_ns = now_ns - host->next_tick_ns;
    stats->lateness_ns[stats->ticks++ % RT_LATENESS_SAMPLES] = late_ns;
    jitter_add(&stats->late, late_ns);
    host->rt->tick_late_ns = late_ns;
    rt_step(host->rt, true);
    schedule_next_tick(host, late_ns);
}

/* How long before a tick no reaction may start any more. Measured, it is at most half a tick: two
 * steps that took a whole one would else block all reactions, and with them all newer samples. */
static uint64_t guard_ns(const host_t *host) {
    if (host->guard_ns > 0 || host->step_count < HOST_STEP_SAMPLES) { return host->guard_ns; }
    uint64_t longest = 0, second = 0; /* of 128 samples the second longest is their p99 */
    for (size_t i = 0; i < HOST_STEP_SAMPLES; i++) {
        uint64_t took = host->step_ns[i];
        if (took > longest) {
            second = longest;
            longest = took;
        } else if (took > second) {
            second = took;
        }
    }
    return second < host->period_ns / 2 ? second : host->period_ns / 2;
}

static void run_reaction(host_t *host) {
    uint64_t start = clock_now_ns(&host->clock);
    rt_step(host->rt, false);
    host->step_ns[host->step_count++ % HOST_STEP_SAMPLES] = clock_now_ns(&host->clock) - start;
}

static void wait_for_work(host_t *host, uint64_t now_ns) {
    uint64_t deadline = host->next_tick_ns;
    bool blocked = deadline - now_ns <= guard_ns(host); /* too near the tick */
    if (host->react_now && !blocked) {
        if (rt_has_work(host->rt)) {
            if (host->rt->ready.count > 0) { loop_poll(&host->loop); } /* carried: let I/O in */
            run_reaction(host);
            return;
        }
        uint64_t wake = rt_next_wake_ns(host->rt);
        if (wake < deadline) { deadline = wake; }
    }
    if (deadline > now_ns + IDLE_SLACK_NS) {
        vm_collect_idle(&host->vm, IDLE_COLLECT_NS);
        if (host->vm.dead) {
            rt_note_lost(host->rt);
            return;
        }
    }
    loop_poll(&host->loop);
    bool came = host->react_now && !blocked && rt_has_work(host->rt);
    if (!came) { loop_wait(&host->loop, deadline); }
}

void host_turn(host_t *host) {
    uint64_t now_ns = clock_now_ns(&host->clock);
    if (host->vm.dead) {
        cell_replace_vm(host);
        return;
    }
    bool is_tick = now_ns >= host->next_tick_ns;
    if (is_tick) {
        loop_poll(&host->loop);
        run_tick(host, clock_now_ns(&host->clock));
    } else {
        wait_for_work(host, now_ns);
    }
    if (host->control.open && !host->vm.dead) { /* a tick that is due goes first */
        bool due = clock_now_ns(&host->clock) >= host->next_tick_ns;
        if (is_tick || !due) { control_serve(&host->control, cell_answer, host); }
    }
}

/* Whether there is something to do before the next tick. */
static bool reacts(const host_t *host) { return host->react_now && rt_has_work(host->rt); }

void host_run_until(host_t *host, uint64_t at_ns) {
    while (!host->stopped && clock_now_ns(&host->clock) <= at_ns) {
        uint64_t wake = rt_next_wake_ns(host->rt);
        if (host->vm.dead) {
            host_turn(host);
            continue;
        }
        bool later = host->next_tick_ns > at_ns && (!host->react_now || wake > at_ns);
        if (host->clock.is_virtual && later && !reacts(host)) {
            loop_poll(&host->loop);
            if (reacts(host)) { continue; }
            clock_advance_to(&host->clock, at_ns);
            return;
        }
        host_turn(host);
    }
}

/* ---- running and stopping ---------------------------------------------------------------------
 */

void host_stop(host_t *host, const char *reason) {
    if (host->stop_deadline_ns != 0) { return; }
    lua_State *L = host->vm.L;
    if (host->vm.dead) { return; } /* the next turn brings another, and we are asked again */
    host->stop_reason = reason;
    host->stop_deadline_ns = clock_now_ns(&host->clock) + STOP_DEFAULT_NS;
    (void)ecs_phase_set(host->world, ECS_PHASE_IDLE);
    lua_pushstring(L, reason);
    if (cell_call(host, "stop", 1, 1) == VM_OK) {
        if (lua_isnumber(L, -1)) {
            host->stop_deadline_ns =
                clock_now_ns(&host->clock) + (uint64_t)(lua_tonumber(L, -1) * (double)NS_PER_S);
        }
        lua_pop(L, 1);
    }
}

static void finish_stop(host_t *host) {
    uint64_t now = clock_now_ns(&host->clock);
    if (host->vm.dead) { return; }
    if (host->rt->task_alive == 0) {
        host->stopped = true;
    } else if (now >= host->stop_deadline_ns || host->signals > 1) {
        host->stopped = true;
        host->faulted = true;
        if (cell_call(host, "tell_stuck", 0, 0) != VM_OK) { return; }
    }
}

static void show_status(host_t *host) {
    uint64_t now = clock_now_ns(&host->clock), p50 = 0, p99 = 0;
    if (now < host->next_status_ns || host->vm.dead) { return; }
    lua_State *L = host->vm.L;
    host->next_status_ns = now + (host->log.terminal ? STATUS_TERMINAL_NS : STATUS_LOG_NS);
    if (cell_call(host, "status", 0, 1) != VM_OK) { return; }
    host_lateness(host, &p50, &p99);
    char text[400], trouble[80] = "";
    const rt_stats_t *stats = &host->rt->stats;
    if (stats->faults > 0) {
        (void)snprintf(trouble, sizeof trouble, "  faults %llu (%llu VMs lost)",
                       (unsigned long long)stats->faults, (unsigned long long)stats->lost_vms);
    }
    (void)snprintf(text, sizeof text,
                   "tick %llu (%llu skipped)  late p50 %.0f us p99 %.0f us  tasks %u%s  %s",
                   (unsigned long long)host->rt->tick, (unsigned long long)stats->skipped_ticks,
                   (double)p50 / 1e3, (double)p99 / 1e3, host->rt->task_alive, trouble,
                   lua_tostring(L, -1) == NULL ? "" : lua_tostring(L, -1));
    lua_pop(L, 1);
    if (host->log.terminal) {
        log_status(&host->log, text);
    } else {
        log_printf(&host->log, LOG_INFO, "status", "%s", text);
    }
}

int host_run(host_t *host) {
    int rc = cell_load(host);
    if (rc != HOST_EXIT_OK || host->opts.check_only) { return rc; }
    if (!host->opts.is_virtual) { host_open_signals(host); }
    host->next_status_ns = clock_now_ns(&host->clock) + (host->log.terminal ? 0 : STATUS_LOG_NS);
    while (!host->stopped) {
        host_turn(host);
        if (host->signals > 0) { host_stop(host, "signal"); }
        if (host->opts.max_ticks > 0 && host->rt->tick >= host->opts.max_ticks) {
            host_stop(host, "tick limit");
        }
        if (host->stop_deadline_ns != 0) { finish_stop(host); }
        show_status(host);
    }
    if (host->log.terminal) { (void)fputc('\n', stdout); }
    if (host->vm.dead) { return HOST_EXIT_FAULT; }
    lua_State *L = host->vm.L;
    lua_pushboolean(L, host->faulted);
    if (cell_call(host, "summary", 1, 1) == VM_OK) {
        host->faulted = host->faulted || lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return host->faulted ? HOST_EXIT_FAULT : HOST_EXIT_OK;
}
