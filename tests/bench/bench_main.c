/* Runs tests/bench/bench.lua inside the VM of a real cell, with the baselines that the rows are
 * held against as C functions that FFI calls. usage: stator_bench SCENE BENCH.lua OPTION ...,
 * or stator_bench echo-libuv: the bare echo server alone. */
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cell.h"
#include "code.h"
#include "core.h"
#include "echo.h"
#include "limits.h"
#include "peers.h"
#include "walls.h"

void bench_empty(double id);
double bench_apply(ecs_world_t *world);
double bench_spawn(ecs_world_t *world, const double *components, double count, double *ids);
double bench_resumes(double tasks, double rounds);

static host_t *host;

__attribute__((noinline)) void bench_empty(double id) { __asm__ volatile("" : : "x"(id)); }

double bench_apply(ecs_world_t *world) {
    (void)ecs_phase_set(world, ECS_PHASE_APPLY);
    double start = bench_now_ns();
    int rc = ecs_apply(world);
    double took = bench_now_ns() - start;
    (void)ecs_phase_set(world, ECS_PHASE_RUN);
    return rc == ECS_OK ? took : -1;
}

/* ns to record and apply spawns of four components through ecs.h. */
double bench_spawn(ecs_world_t *world, const double *components, double count, double *ids) {
    double start = bench_now_ns();
    (void)ecs_batch_begin(world, 0);
    for (size_t i = 0; i < (size_t)count; i++) {
        ids[i] = ecs_record_spawn(world, 0, NULL);
        for (size_t k = 0; k < 4; k++) {
            double *to = ecs_record(world, ECS_OP_INSERT, ids[i], (uint32_t)components[k], 0);
            to[0] = (double)i;
        }
    }
    (void)ecs_batch_seal(world, NULL);
    (void)bench_apply(world);
    return bench_now_ns() - start;
}

/* bench_guarded(x), through vm_register; bench_plain_call(x), bare: the same function of C */
static int l_nothing(lua_State *L) { return lua_gettop(L); }

/* bench_walls(what, walls, rows, rounds) -> ns */
static int l_walls(lua_State *L) {
    bool writes = strcmp(luaL_checkstring(L, 1), "write") == 0;
    unsigned walls = (unsigned)luaL_checkint(L, 2), rows = (unsigned)luaL_checkint(L, 3);
    unsigned rounds = (unsigned)luaL_checkint(L, 4);
    lua_pushnumber(L, writes ? walls_write_ns(walls, rows, rounds)
                             : walls_round_ns(walls, rows, rounds));
    return 1;
}

/* bench_run(fn) -> ns of a call from C, as the host runs a system: compiled code ends with it. */
static int l_run(lua_State *L) {
    double start = bench_now_ns();
    lua_call(L, 0, 0);
    lua_pushnumber(L, bench_now_ns() - start);
    return 1;
}

/* bench_step(count) -> ns of `count` reaction steps. No FFI function: it calls Lua. */
static int l_step(lua_State *L) {
    double start = bench_now_ns();
    for (int i = luaL_checkint(L, 1); i > 0; i--) {
        rt_step(host->rt, false);
    }
    lua_pushnumber(L, bench_now_ns() - start);
    (void)ecs_phase_set(host->world, ECS_PHASE_RUN);
    return 1;
}

/* ns per resume of bare coroutines that yield, all of them once a round. They are kept for the next
 * call with as many: like tasks, they have been idle since. */
double bench_resumes(double tasks, double rounds) {
    static lua_State *L, **threads;
    static size_t n;
    const void *owner = code_owner; /* this state's memory is none of the cell's VM */
    code_owner = NULL;
    if (n != (size_t)tasks) {
        if (L != NULL) { lua_close(L); }
        n = (size_t)tasks;
        L = luaL_newstate();
        threads = realloc(threads, n * sizeof(lua_State *));
        luaL_openlibs(L);
        (void)luaL_dostring(
            L,
            "local yield = coroutine.yield return function(a) while true do a = yield(a) end end");
        for (size_t i = 0; i < n; i++) {
            threads[i] = lua_newthread(L);
            (void)luaL_ref(L, LUA_REGISTRYINDEX);
            lua_pushvalue(L, 1);
            lua_xmove(L, threads[i], 1);
            (void)lua_resume(threads[i], 0);
        }
        (void)lua_gc(L, LUA_GCSTOP, 0);
    }
    double start = bench_now_ns();
    for (size_t r = 0; r < (size_t)rounds; r++) {
        for (size_t i = 0; i < n; i++) {
            lua_settop(threads[i], 0);
            lua_pushboolean(threads[i], 1);
            (void)lua_resume(threads[i], 1);
        }
    }
    double took = bench_now_ns() - start;
    code_owner = owner;
    return took / (tasks * rounds);
}

/* The limit of recording from a task: a C function that takes an id and three scalars. */
static int l_scalars(lua_State *L) {
    double *to = bench_slot(0, 0);
    for (int i = 1; i <= 4; i++) {
        to[i] = luaL_checknumber(L, i);
    }
    return 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* bench_lateness(hz, ticks, with steps) -> p50, p99 in ns: a bare loop on the host's wait, or the
 * same with empty ticks. */
static int l_lateness(lua_State *L) {
    size_t n = (size_t)luaL_checkint(L, 2);
    double *late = calloc(n, sizeof *late);
    uint64_t period = (uint64_t)(1e9 / luaL_checknumber(L, 1));
    uint64_t next = clock_now_ns(&host->clock) + period;
    for (size_t i = 0; i < n; i++) {
        while (clock_now_ns(&host->clock) < next) {
            loop_poll(&host->loop);
            loop_wait(&host->loop, next);
        }
        uint64_t now = clock_now_ns(&host->clock);
        late[i] = (double)(now - next);
        if (lua_toboolean(L, 3)) { rt_step(host->rt, true); }
        next += period;
        if (next < now) { next = now + period; }
    }
    qsort(late, n, sizeof *late, by_value);
    lua_pushnumber(L, late[n / 2]);
    lua_pushnumber(L, late[n * 99 / 100]);
    free(late);
    (void)ecs_phase_set(host->world, ECS_PHASE_RUN);
    return 2;
}

static void run_bare(double until) {
    while (bench_now_ns() < until) {
        loop_poll(&host->loop);
        loop_wait(&host->loop, clock_now_ns(&host->clock) + 10000000);
    }
}

static void run_cell(double until) {
    while (bench_now_ns() < until) {
        host_turn(host);
    }
}

/* bench_echo(port or 0, connections, seconds) -> messages a second, user ns a message. Port 0: a
 * bare libuv server; else that of the cell, which runs meanwhile. */
static int l_echo(lua_State *L) {
    int port = luaL_checkint(L, 1), pipe_fd = -1;
    double seconds = luaL_checknumber(L, 3);
    bool bare = port == 0;
    if (bare) { port = echo_server_open(&host->loop.uv); }
    int pid = echo_client_start(port, luaL_checkint(L, 2), seconds, &pipe_fd);
    host->vm.heap_after_bytes = vm_heap_bytes(&host->vm); /* other rows kept the collector off */
    double user = echo_user_ns(), until = bench_now_ns() + (seconds + 0.05) * 1e9;
    if (bare) {
        run_bare(until);
    } else {
        run_cell(until);
    }
    user = echo_user_ns() - user;
    double messages = echo_client_finish(pid, pipe_fd);
    if (bare) { echo_server_close(&host->loop.uv); }
    (void)ecs_phase_set(host->world, ECS_PHASE_RUN);
    lua_pushnumber(L, messages / seconds);
    lua_pushnumber(L, user / messages);
    return 2;
}

static bool turns;
static double longest_turn_ns;

double bench_thread_ns(void);

/* CPU time of this thread: a busy machine does not make it longer, and waiting neither. */
double bench_thread_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* bench_longest_turn() -> CPU ns of the longest turn of the loop since it was asked last: for so
 * long no tick could begin */
static int l_longest_turn(lua_State *L) {
    lua_pushnumber(L, longest_turn_ns);
    longest_turn_ns = 0;
    return 1;
}

static void run_turns(void) {
    while (!host->stopped) {
        double began = bench_thread_ns();
        host_turn(host);
        double took = bench_thread_ns() - began;
        if (took > longest_turn_ns) { longest_turn_ns = took; }
    }
}

/* bench_turns(): when the file has been run, the cell runs until it is stopped, as one of `stator
 * run` does: peers/cell. Not in here: this is a slice, which the watchdog looks at all the time. */
static int l_turns(lua_State *L) {
    (void)L;
    turns = true;
    return 0;
}

int main(int count, char **words) {
    host_opts_t opts = {.scene_path = count > 1 ? words[1] : NULL,
                        .log_level = LOG_ERROR,
                        .patience = 1000000}; /* the whole bench is one slice */
    if (count == 2 && strcmp(words[1], "echo-libuv") == 0) { return echo_serve(); }
    if (count < 3) { return HOST_EXIT_USAGE; }
    host = calloc(1, sizeof *host);
    int rc = host_init(host, &opts);
    if (rc == HOST_EXIT_OK) { rc = cell_load(host); }
    lua_State *L = host->vm.L;
    lua_pushcfunction(L, l_scalars);
    lua_setglobal(L, "bench_scalars");
    lua_pushcfunction(L, l_walls);
    lua_setglobal(L, "bench_walls");
    lua_pushcfunction(L, l_nothing);
    lua_setglobal(L, "bench_plain_call");
    lua_pushcfunction(L, l_run);
    lua_setglobal(L, "bench_run");
    vm_push_function(L, l_nothing);
    lua_setglobal(L, "bench_guarded_call");
    lua_pushcfunction(L, l_step);
    lua_setglobal(L, "bench_step");
    lua_pushcfunction(L, l_lateness);
    lua_setglobal(L, "bench_lateness");
    lua_pushnumber(L, sizeof(task_t));
    lua_setglobal(L, "bench_task_bytes");
    lua_pushcfunction(L, l_echo);
    lua_setglobal(L, "bench_echo");
    lua_pushcfunction(L, l_turns);
    lua_setglobal(L, "bench_turns");
    lua_pushcfunction(L, l_longest_turn);
    lua_setglobal(L, "bench_longest_turn");
    peers_register(L);
    if (rc == HOST_EXIT_OK) {
        rt_step(host->rt, true);
        (void)ecs_phase_set(host->world, ECS_PHASE_RUN);
        rc = luaL_loadfile(L, words[2]);
        for (int i = 3; rc == 0 && i < count; i++) {
            lua_pushstring(L, words[i]);
        }
        if (rc == 0) { rc = vm_call(&host->vm, count - 3, 0); }
        if (rc == 0 && turns) { run_turns(); }
        if (rc != 0) {
            if (lua_istable(L, -1)) {
                lua_getfield(L, -1, "message");
                (void)fprintf(stderr, "%s\n", lua_tostring(L, -1));
                lua_getfield(L, -2, "trace");
            }
            (void)fprintf(stderr, "%s\n", lua_tostring(L, -1));
        }
    }
    host_fini(host);
    free(host);
    return rc != 0;
}
