/* Runs busted, and gives its specs the module "harness": cells that live in this process, each a
 * host of its own with its own VM, so that a spec sees a cell from outside.
 *
 *   cell = harness.open { scene = path, virtual = true, sets = {}, log_level = "debug" }
 *   cell:advance(seconds)   cell:eval(code, ...) -> scalars   cell:logs() -> lines   cell:close()
 */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "cell.h"
#include "code.h"
#include "events.h"
#include "net_stream.h"
#include "resolver.h"
#include "watch.h"

static const char CELL[] = "harness.cell";
/* times the watchdog's limits: sanitizers and busy machines are slow */
enum { MAX_RESULTS = 16, DEFAULT_PATIENCE = 50 };

typedef struct {
    host_t *host;
    lua_State *L; /* busted's */
    int logs_ref;
    char *scene;
} cell_t;

static cell_t *check_cell(lua_State *L) {
    cell_t *cell = luaL_checkudata(L, 1, CELL);
    if (cell->host == NULL) { (void)luaL_error(L, "the cell is closed"); }
    return cell;
}

static void to_list(void *context, const char *line) {
    cell_t *cell = context;
    lua_State *L = cell->L;
    const void *owner = code_owner;
    code_owner = NULL; /* another state than the one that runs */
    lua_rawgeti(L, LUA_REGISTRYINDEX, cell->logs_ref);
    lua_pushstring(L, line);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
    code_owner = owner;
}

static bool flag(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    bool value = lua_toboolean(L, -1) == 1;
    lua_pop(L, 1);
    return value;
}

static double number(lua_State *L, const char *name, double otherwise) {
    lua_getfield(L, 1, name);
    double value = luaL_optnumber(L, -1, otherwise);
    lua_pop(L, 1);
    return value;
}

static void read_sets(lua_State *L, host_opts_t *opts) {
    lua_getfield(L, 1, "sets");
    for (int i = 1; lua_istable(L, -1) && i <= (int)lua_objlen(L, -1) && i <= HOST_MAX_SETS; i++) {
        lua_rawgeti(L, -1, i);
        opts->sets[opts->set_count++] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void cell_end(cell_t *cell) {
    host_fini(cell->host);
    free(cell->host);
    free(cell->scene);
    luaL_unref(cell->L, LUA_REGISTRYINDEX, cell->logs_ref);
    cell->host = NULL;
}

/* open(options) -> cell, or nil and the exit code */
static int l_open(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "scene");
    host_opts_t opts = {.is_virtual = flag(L, "virtual"),
                        .log_level = flag(L, "debug") ? LOG_DEBUG : LOG_INFO,
                        .patience = (uint32_t)number(L, "patience", DEFAULT_PATIENCE),
                        .world_bytes = (size_t)number(L, "world_bytes", 0),
                        .world_entities = (uint32_t)number(L, "world_entities", 0),
                        .walls = (uint32_t)number(L, "walls", 0),
                        .explain_jit = flag(L, "explain_jit"),
                        .no_watch = flag(L, "no_watch"),
                        .reload_on_demand = !flag(L, "reload")};
    read_sets(L, &opts);
    cell_t *cell = lua_newuserdata(L, sizeof *cell);
    *cell = (cell_t){
        .host = calloc(1, sizeof(host_t)), .L = L, .scene = strdup(luaL_checkstring(L, 2))};
    opts.scene_path = cell->scene;
    lua_newtable(L);
    cell->logs_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_getmetatable(L, CELL);
    lua_setmetatable(L, -2);
    int rc = host_init(cell->host, &opts);
    cell->host->log.sink = to_list;
    cell->host->log.context = cell;
    if (rc == HOST_EXIT_OK) { rc = cell_load(cell->host); }
    if (rc == HOST_EXIT_OK && flag(L, "signals")) { host_open_signals(cell->host); }
    if (rc != HOST_EXIT_OK) {
        cell_end(cell);
        lua_pushnil(L);
        lua_pushinteger(L, rc);
        return 2;
    }
    return 1;
}

/* cell:advance(seconds): runs the cell for so long */
static int l_advance(lua_State *L) {
    cell_t *cell = check_cell(L);
    uint64_t now = clock_now_ns(&cell->host->clock);
    host_run_until(cell->host, now + (uint64_t)(luaL_checknumber(L, 2) * 1e9));
    return 0;
}

/* cell:turn(): one turn of the loop */
static int l_turn(lua_State *L) {
    host_turn(check_cell(L)->host);
    return 0;
}

/* cell:slow(seconds): as if all recent reaction steps had taken so long */
static int l_slow(lua_State *L) {
    host_t *host = check_cell(L)->host;
    for (size_t i = 0; i < HOST_STEP_SAMPLES; i++) {
        host->step_ns[i] = (uint64_t)(luaL_checknumber(L, 2) * 1e9);
    }
    host->step_count = HOST_STEP_SAMPLES;
    return 0;
}

static void copy_scalar(lua_State *from, int index, lua_State *to) {
    switch (lua_type(from, index)) {
    case LUA_TNUMBER: lua_pushnumber(to, lua_tonumber(from, index)); break;
    case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, index)); break;
    case LUA_TNIL: lua_pushnil(to); break;
    case LUA_TSTRING: {
        size_t bytes = 0;
        const char *text = lua_tolstring(from, index, &bytes);
        lua_pushlstring(to, text, bytes);
        break;
    }
    default: lua_pushfstring(to, "<%s>", lua_typename(from, lua_type(from, index))); break;
    }
}

/* Leaves the message of an error value or text on L. */
static void copy_error(lua_State *from, lua_State *to) {
    if (lua_istable(from, -1)) {
        lua_getfield(from, -1, "message");
        copy_scalar(from, -1, to);
        lua_pop(from, 1);
    } else {
        copy_scalar(from, -1, to);
    }
    lua_pop(from, 1);
}

/* cell:eval(code, ...) -> scalars: runs code in the cell's VM, with the runtime's rights. Raises
 * its error. */
static int l_eval(lua_State *L) {
    cell_t *cell = check_cell(L);
    if (cell->host->vm.dead) { host_turn(cell->host); } /* the next one */
    lua_State *inner = cell->host->vm.L;
    int top = lua_gettop(inner), arguments = lua_gettop(L) - 2;
    size_t bytes = 0;
    const char *code = luaL_checklstring(L, 2, &bytes);
    int rc = luaL_loadbuffer(inner, code, bytes, "=eval");
    if (rc == 0) {
        for (int i = 0; i < arguments; i++) {
            copy_scalar(L, 3 + i, inner);
        }
        cell->host->vm.patience = 1000;
        rc = vm_call(&cell->host->vm, arguments, LUA_MULTRET);
        cell->host->vm.patience = 1;
    }
    if (rc == VM_E_ABANDONED) {
        rt_note_lost(cell->host->rt);
        return luaL_error(L, "eval: the VM was lost");
    }
    if (rc != 0) {
        copy_error(inner, L);
        lua_settop(inner, top);
        return lua_error(L);
    }
    int results = lua_gettop(inner) - top;
    for (int i = 0; i < results && i < MAX_RESULTS; i++) {
        copy_scalar(inner, top + 1 + i, L);
    }
    lua_settop(inner, top);
    return results < MAX_RESULTS ? results : MAX_RESULTS;
}

/* cell:logs() -> lines so far */
static int l_logs(lua_State *L) {
    cell_t *cell = check_cell(L);
    log_flush(&cell->host->log);
    lua_rawgeti(L, LUA_REGISTRYINDEX, cell->logs_ref);
    return 1;
}

/* cell:hash() -> the world's hash; cell:check() -> nil or what is broken */
static int l_hash(lua_State *L) {
    char text[20];
    (void)snprintf(text, sizeof text, "%016llx",
                   (unsigned long long)ecs_hash(check_cell(L)->host->world));
    lua_pushstring(L, text);
    return 1;
}

static int l_check(lua_State *L) {
    cell_t *cell = check_cell(L);
    if (ecs_check(cell->host->world) == ECS_OK) { return 0; }
    lua_pushstring(L, ecs_last_error(cell->host->world));
    return 1;
}

/* cell:counts() -> tasks, watches, timers, handles, rounds, ticks, carried, rejected, references,
 * operations */
static int l_counts(lua_State *L) {
    const rt_t *rt = check_cell(L)->host->rt;
    uint64_t counts[] = {
        rt->task_alive,    ecs_watch_count(rt->world), rt->wheel.count,
        rt->live_handles,  rt->stats.rounds,           rt->tick,
        rt->stats.carried, rt->stats.rejected,         (uint64_t)rt->ref_count - rt->free_ref_count,
        rt->op_alive};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        lua_pushnumber(L, (lua_Number)counts[i]);
    }
    return (int)(sizeof counts / sizeof counts[0]);
}

/* cell:guard() -> faults, warned, stopped, abandoned, refused, VMs lost, moves of the view, walls
 */
static int l_guard(lua_State *L) {
    const host_t *host = check_cell(L)->host;
    const guard_stats_t *stats = &host->guard.stats;
    uint64_t counts[] = {stats->faults,
                         stats->warned,
                         stats->stopped,
                         stats->abandoned,
                         stats->refused,
                         host->rt->stats.lost_vms,
                         ecs_maps(host->world).moves,
                         ecs_walls(host->world)};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        lua_pushnumber(L, (lua_Number)counts[i]);
    }
    return (int)(sizeof counts / sizeof counts[0]);
}

/* cell:memory() -> bytes of the C heap in use, bytes of the scripts' heap, mappings of the process
 */
static int l_memory(lua_State *L) {
    const host_t *host = check_cell(L)->host;
    FILE *file = fopen("/proc/self/maps", "r");
    int lines = 0;
    for (int c = 0; file != NULL && (c = fgetc(file)) != EOF;) {
        lines += c == '\n';
    }
    if (file != NULL) { (void)fclose(file); }
    lua_pushnumber(L, (lua_Number)mallinfo2().uordblks);
    lua_pushnumber(L, (lua_Number)host->vm.arena.used_bytes);
    lua_pushinteger(L, lines);
    return 3;
}

/* cell:looks() -> how often watched files were looked at */
static int l_looks(lua_State *L) {
    lua_pushnumber(L, (lua_Number)watch_looks(check_cell(L)->host->rt));
    return 1;
}

/* cell:port(link) -> local port of the link's connection, or nil */
static int l_port(lua_State *L) {
    const stream_t *stream = stream_find(check_cell(L)->host->rt, luaL_checkstring(L, 2));
    struct sockaddr_storage where;
    if (stream == NULL) { return 0; }
    (void)stream_address(stream, false, &where);
    lua_pushinteger(L, ntohs(((const struct sockaddr_in *)&where)->sin_port));
    return 1;
}

/* cell:stop(reason): begins the orderly end; cell:stopped() -> no task is left */
static int l_stop(lua_State *L) {
    host_stop(check_cell(L)->host, luaL_optstring(L, 2, "test"));
    return 0;
}

/* cell:maps() -> ranges of the world's mappings as text, "view 0x1000-0x2000" and so on */
static int l_maps(lua_State *L) {
    ecs_maps_t maps = ecs_maps(check_cell(L)->host->world);
    lua_pushnumber(L, (lua_Number)(uintptr_t)maps.view);
    lua_pushnumber(L, (lua_Number)(uintptr_t)maps.core);
    lua_pushnumber(L, (lua_Number)maps.bytes);
    return 3;
}

static int l_close(lua_State *L) {
    cell_t *cell = luaL_checkudata(L, 1, CELL);
    if (cell->host != NULL) { cell_end(cell); }
    return 0;
}

/* gate(open): whether lookups of slow.test go on; at_gate() -> how many wait */
static int l_gate(lua_State *L) {
    resolver_gate(lua_toboolean(L, 1));
    return 0;
}

static int l_at_gate(lua_State *L) {
    lua_pushinteger(L, resolver_waiting());
    return 1;
}

/* events(come, path): whether the file system's events can be had, and what is saved just before */
static int l_events(lua_State *L) {
    events_refuse(!lua_toboolean(L, 1));
    events_race(lua_tostring(L, 2));
    return 0;
}

static int open_harness(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"advance", l_advance}, {"turn", l_turn},   {"eval", l_eval},   {"logs", l_logs},
        {"hash", l_hash},       {"check", l_check}, {"guard", l_guard}, {"counts", l_counts},
        {"stop", l_stop},       {"maps", l_maps},   {"close", l_close}, {"memory", l_memory},
        {"looks", l_looks},     {"port", l_port},   {"slow", l_slow},   {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", l_open},
                                         {"gate", l_gate},
                                         {"at_gate", l_at_gate},
                                         {"events", l_events},
                                         {NULL, NULL}};
    (void)luaL_newmetatable(L, CELL);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

int main(int count, char **words) {
    (void)signal(SIGPIPE, SIG_IGN); /* as the host does */
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_newtable(L);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, words[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open_harness);
    lua_setfield(L, -2, "harness");
    lua_pop(L, 2);
    /* busted leaves through os.exit when something failed */
    int rc = luaL_dostring(L, "require 'busted.runner' { standalone = false }");
    if (rc != 0) { (void)fprintf(stderr, "%s\n", lua_tostring(L, -1)); }
    lua_close(L);
    return rc != 0;
}
