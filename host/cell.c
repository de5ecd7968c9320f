#include "cell.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "memory.h"

#define NS_PER_S ((uint64_t)1000000000)
/* VMs lost within so long of each other are lost in a row */
#define LOSS_WINDOW_NS (10 * NS_PER_S)
/* times the limits of a slice, for the host's own work: loading a scene, a part of a reload that
 * runs a script's body, and all else */
enum { LOAD_PATIENCE = 250, STAGE_PATIENCE = 5, CALL_PATIENCE = 25 };

/* ---- calls into stator.boot -------------------------------------------------------------------
 */

static uint32_t patience_for(const char *name) {
    static const char *const patient[] = {"load", "restore", "swap"};
    for (size_t i = 0; i < sizeof patient / sizeof patient[0]; i++) {
        if (strcmp(name, patient[i]) == 0) { return LOAD_PATIENCE; }
    }
    return strcmp(name, "stage") == 0 ? STAGE_PATIENCE : CALL_PATIENCE;
}

int cell_call(host_t *host, const char *name, int arguments, int results) {
    lua_State *L = host->vm.L;
    if (host->vm.dead) { return VM_E_ABANDONED; }
    lua_rawgeti(L, LUA_REGISTRYINDEX, host->boot_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -arguments - 1);
    host->vm.patience = patience_for(name);
    int rc = vm_call(&host->vm, arguments, results);
    host->vm.patience = 1;
    if (rc == VM_E_ABANDONED) { rt_note_lost(host->rt); }
    if (rc == VM_E_LUA) {
        const char *text = lua_tostring(L, -1);
        log_printf(&host->log, LOG_ERROR, NULL, "%s: %s", name, text == NULL ? "error" : text);
        lua_pop(L, 1);
    }
    return rc;
}

static int load_boot(host_t *host) {
    lua_State *L = host->vm.L;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "stator.boot");
    host->vm.patience = LOAD_PATIENCE;
    int rc = vm_call(&host->vm, 1, 1);
    host->vm.patience = 1;
    if (rc == VM_E_ABANDONED) { return HOST_EXIT_FAULT; }
    if (rc != VM_OK) {
        log_printf(&host->log, LOG_ERROR, NULL, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        return HOST_EXIT_FAULT;
    }
    host->boot_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return HOST_EXIT_OK;
}

/* ---- the VM -----------------------------------------------------------------------------------
 */

int cell_cannot(host_t *host, const char *what) {
    log_printf(&host->log, LOG_ERROR, NULL, "cannot %s", what);
    return HOST_EXIT_FAULT;
}

int cell_vm_up(host_t *host) {
    if (vm_init(&host->vm, &host->clock) != 0) {
        return cell_cannot(host, "make a VM for the scripts (ulimit -v?)");
    }
    rt_attach(host->rt, &host->vm);
    guard_watch(&host->guard, &host->vm);
    api_open(host->rt);
    int rc = load_boot(host);
    arena_set_limit(&host->vm.arena, host->heap_limit_bytes);
    return rc;
}

/* Gives a dead VM back. */
void cell_vm_down(host_t *host) {
    guard_watch(&host->guard, NULL);
    rt_detach(host->rt);
    vm_discard(&host->vm);
    host->boot_ref = LUA_NOREF;
}

static void push_options(host_t *host) {
    lua_State *L = host->vm.L;
    lua_newtable(L);
    lua_pushstring(L, host->opts.scene_path);
    lua_setfield(L, -2, "scene");
    lua_pushboolean(L, host->opts.check_only);
    lua_setfield(L, -2, "check_only");
    lua_pushboolean(L, host->opts.explain_jit);
    lua_setfield(L, -2, "explain_jit");
    lua_pushboolean(L, host->opts.reload_on_demand);
    lua_setfield(L, -2, "reload_on_demand");
    lua_pushboolean(L, host->opts.show_stats);
    lua_setfield(L, -2, "show_stats");
    lua_newtable(L);
    for (int i = 0; i < host->opts.set_count; i++) {
        lua_pushstring(L, host->opts.sets[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "sets");
}

static double number_field(lua_State *L, const char *name, double otherwise) {
    lua_getfield(L, -1, name);
    double value = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return value;
}

static bool text_field_is(lua_State *L, const char *name, const char *text) {
    lua_getfield(L, -1, name);
    const char *value = lua_tostring(L, -1);
    bool same = value != NULL && strcmp(value, text) == 0;
    lua_pop(L, 1);
    return same;
}

/* The scene's settings name every limit. */
static void read_limits(host_t *host) {
    lua_State *L = host->vm.L;
    guard_set_limits(&host->guard, (uint64_t)(number_field(L, "slice_soft_ms", 0) * 1e6),
                     (uint64_t)(number_field(L, "slice_ms", 0) * 1e6));
    host->heap_limit_bytes = (size_t)number_field(L, "heap_mb", 0) << 20;
    arena_set_limit(&host->vm.arena, host->heap_limit_bytes);
    host->rt->max_tasks = (uint32_t)number_field(L, "tasks", 0);
    host->max_losses = (uint32_t)number_field(L, "lost_vms", 0);
    budget_t *budget = &host->rt->budget;
    budget->limit_ns = (uint64_t)(number_field(L, "tick_lua_ms", 0) * 1e6);
    budget->limit_slices = (uint32_t)number_field(L, "tick_slices", 0);
    if (host->clock.is_virtual) { budget->limit_ns = 0; } /* its time stands still in a step */
}

/* boot.load answers the cell's settings, or nothing when it has told what is wrong. */
int cell_load(host_t *host) {
    lua_State *L = host->vm.L;
    push_options(host);
    int rc = cell_call(host, "load", 1, 1);
    if (rc == VM_E_ABANDONED) {
        const keep_item_t *script = keep_find(&host->keep, "loading"); /* see script.lua */
        const char *place = host->rt->lost.place;
        log_printf(&host->log, LOG_ERROR, NULL, "%s: while it was loaded: %s%s%s",
                   script != NULL ? script->bytes : host->opts.scene_path, host->rt->lost.why,
                   place[0] != '\0' ? ", last seen at " : "", place);
        return HOST_EXIT_INVALID;
    }
    if (rc != VM_OK) { return HOST_EXIT_FAULT; }
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        return HOST_EXIT_INVALID;
    }
    host->period_ns = (uint64_t)((double)NS_PER_S / number_field(L, "tick_hz", 100));
    host->react_now = text_field_is(L, "react", "immediate");
    host->late = text_field_is(L, "late", "burst")   ? LATE_BURST
                 : text_field_is(L, "late", "fault") ? LATE_FAULT
                                                     : LATE_SKIP;
    host->guard_ns = (uint64_t)(number_field(L, "guard_us", 0) * 1000);
    read_limits(host);
    lua_getfield(L, -1, "control");
    rc = cell_listen(host, host->opts.control != NULL ? host->opts.control : lua_tostring(L, -1));
    lua_pop(L, 2);
    /* on the grid of the systems' own periods, which begins at 0 */
    host->next_tick_ns = (clock_now_ns(&host->clock) / host->period_ns + 1) * host->period_ns;
    return rc;
}

/* ---- the control socket -------------------------------------------------------------------------
 */

int cell_listen(host_t *host, const char *path) {
    char why[160];
    if (path == NULL || host->opts.check_only) { return HOST_EXIT_OK; }
    if (control_open(&host->control, &host->loop.uv, path, why, sizeof why) != 0) {
        log_printf(&host->log, LOG_ERROR, NULL, "control socket %s: %s", path, why);
        return HOST_EXIT_FAULT;
    }
    log_printf(&host->log, LOG_INFO, NULL, "control socket %s", path);
    return HOST_EXIT_OK;
}

char *cell_answer(void *context, const char *line, size_t bytes, bool *last) {
    host_t *host = context;
    lua_State *L = host->vm.L;
    uint64_t p50 = 0, p99 = 0;
    if (host->vm.dead) { return NULL; }
    (void)ecs_phase_set(host->world, ECS_PHASE_IDLE);
    host_lateness(host, &p50, &p99);
    lua_pushlstring(L, line, bytes);
    lua_pushnumber(L, (lua_Number)p50 / 1e9);
    lua_pushnumber(L, (lua_Number)p99 / 1e9);
    int rc = cell_call(host, "control", 3, 2);
    if (rc == VM_E_ABANDONED) { return NULL; }
    const char *text = rc == VM_OK ? lua_tostring(L, -2) : NULL;
    const char *then = rc == VM_OK ? lua_tostring(L, -1) : "close";
    if (text == NULL && rc == VM_OK && then != NULL && strcmp(then, "later") == 0) {
        lua_pop(L, 2);
        return NULL;
    }
    if (text == NULL) {
        text = "{\"error\":{\"code\":\"error\",\"message\":\"no answer\"},\"ok\":false}";
    }
    char *copy = strdup(text);
    memory_must(copy);
    *last = then != NULL;
    bool stop = then != NULL && strcmp(then, "stop") == 0;
    if (rc == VM_OK) { lua_pop(L, 2); }
    if (stop) { host_stop(host, "told to on the control socket"); }
    return copy;
}

/* ---- reload -------------------------------------------------------------------------------------
 */

void cell_outside(host_t *host) {
    rt_t *rt = host->rt;
    bool swap = rt->wants_swap, stage = rt->wants_stage && !swap;
    if (host->vm.dead || (!swap && !stage)) { return; }
    rt->wants_swap = rt->wants_stage = false;
    (void)ecs_phase_set(host->world, ECS_PHASE_IDLE);
    uint64_t *longest = swap ? &rt->swap_ns : &rt->stage_ns, began = clock_now_ns(&host->clock);
    (void)cell_call(host, swap ? "swap" : "stage", 0, 0);
    uint64_t took = clock_now_ns(&host->clock) - began;
    if (took > *longest) { *longest = took; }
}

/* ---- a lost VM ----------------------------------------------------------------------------------
 */

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* For who waits on the control socket. */
static const char LOST_ANSWER[] =
    "{\"error\":{\"code\":\"lost\",\"message\":\"the scripts' VM was lost before there was an "
    "answer; the log says what came of it\"},\"ok\":false}";

/* What boot.restore is told. */
static void push_lost(host_t *host, const rt_lost_t *lost) {
    static const char *const kinds[] = {"host", "task", "system", "observer"};
    lua_State *L = host->vm.L;
    lua_newtable(L);
    set_text(L, "kind", kinds[lost->kind]);
    set_text(L, "name", lost->name);
    set_text(L, "place", lost->place);
    set_text(L, "why", lost->why);
    lua_pushnumber(L, (lua_Number)lost->order);
    lua_setfield(L, -2, "order");
    lua_pushnumber(L, lost->owner);
    lua_setfield(L, -2, "owner");
}

/* A fresh VM with the scripts as they were; in quarantine they are loaded and nothing of them
 * runs. */
static bool restore(host_t *host, const rt_lost_t *lost, bool quarantine) {
    cell_vm_down(host);
    if (cell_vm_up(host) != HOST_EXIT_OK) { return false; }
    push_options(host);
    push_lost(host, lost);
    lua_pushboolean(host->vm.L, quarantine);
    if (cell_call(host, "restore", 3, 1) != VM_OK) { return false; }
    bool ok = lua_toboolean(host->vm.L, -1) == 1;
    lua_pop(host->vm.L, 1);
    return ok;
}

void cell_replace_vm(host_t *host) {
    rt_lost_t lost = host->rt->lost;
    uint64_t now = clock_now_ns(&host->clock);
    bool in_row = host->losses > 0 && now - host->loss_ns <= LOSS_WINDOW_NS;
    host->losses = in_row ? host->losses + 1 : 1;
    host->loss_ns = now;
    host->rt->stats.lost_vms++;
    uint64_t deadline_ns = host->stop_deadline_ns; /* 0: not stopping */
    bool was_quarantined = host->quarantined;
    host->quarantined |= deadline_ns != 0 || host->losses >= host->max_losses;
    log_printf(&host->log, LOG_ERROR, "watchdog",
               "the scripts' VM is given up: %s%s%s; world and links stay%s", lost.why,
               lost.place[0] != '\0' ? ", last seen at " : "", lost.place,
               host->quarantined ? "" : ", scripts start again");
    control_give_up(&host->control, LOST_ANSWER);
    bool loaded = restore(host, &lost, host->quarantined);
    if (!loaded) {
        host->quarantined = true;
        if (!restore(host, &lost, true)) {
            log_printf(&host->log, LOG_ERROR, "watchdog",
                       "no VM can be made any more: the cell ends");
            host->stopped = host->faulted = true;
            return;
        }
    }
    if (host->quarantined && !was_quarantined && deadline_ns == 0) {
        log_printf(&host->log, LOG_ERROR, "watchdog",
                   "FAULTED: %u VM%s lost in a row%s. Links stay up, no script runs. Mend the "
                   "script and start the cell again",
                   host->losses, host->losses == 1 ? "" : "s",
                   loaded ? "" : ", and the scripts cannot be loaded again");
    }
    if (deadline_ns != 0) { /* the time to stop in goes on */
        host->stop_deadline_ns = 0;
        host_stop(host, host->stop_reason);
        if (deadline_ns < host->stop_deadline_ns) { host->stop_deadline_ns = deadline_ns; }
    }
}
