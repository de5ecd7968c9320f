#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "echo.h"

enum { START_MS = 10000, MAX_REPLIES = 100000 };

/* Starts `command` by a shell that gives its process to it; its standard output goes to *out. */
static int start(const char *command, int *out) {
    int ends[2];
    char line[1024];
    if (snprintf(line, sizeof line, "exec %s", command) >= (int)sizeof line) { return -1; }
    if (pipe2(ends, O_CLOEXEC) != 0) { return -1; }
    int parent = getpid(), pid = fork();
    if (pid == 0) {
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) { _exit(1); } /* it has died before this */
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    *out = ends[0];
    return pid;
}

static void stop(int pid) {
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* One line of at most `size` bytes, without its end; false when none comes in time. */
static bool read_line(int fd, char *line, size_t size) {
    for (size_t n = 0; n + 1 < size; n++) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, START_MS) != 1 || read(fd, line + n, 1) != 1) { return false; }
        if (line[n] == '\n') {
            line[n] = '\0';
            return true;
        }
    }
    return false;
}

/* User CPU time of another process with all its threads, of which ended ones too. */
static double user_ns(int pid) {
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) { return 0; }
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    uint64_t ticks = 0;
    if (at == NULL ||
        sscanf(at, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64, &ticks) != 1) {
        return 0;
    }
    return (double)ticks * 1e9 / (double)sysconf(_SC_CLK_TCK);
}

static int fail(lua_State *L, const char *why) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_self(lua_State *L) {
    char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n <= 0) { return fail(L, "this program has no path"); }
    lua_pushlstring(L, path, (size_t)n);
    return 1;
}

static int l_start(lua_State *L) {
    char line[64];
    int out = -1, pid = start(luaL_checkstring(L, 1), &out);
    if (pid < 0) { return fail(L, "it could not be started"); }
    bool said = read_line(out, line, sizeof line);
    (void)close(out);
    if (!said) {
        stop(pid);
        return fail(L, "it ended or said nothing");
    }
    lua_pushinteger(L, pid);
    lua_pushstring(L, line);
    return 2;
}

static int l_pause(lua_State *L) {
    (void)kill(luaL_checkint(L, 1), lua_toboolean(L, 2) ? SIGSTOP : SIGCONT);
    return 0;
}

static int l_echo(lua_State *L) {
    int pid = luaL_checkint(L, 1), pipe_fd = -1;
    double before = user_ns(pid);
    int client = echo_client_start(luaL_checkint(L, 2), luaL_checkint(L, 3), luaL_checknumber(L, 4),
                                   &pipe_fd);
    lua_pushnumber(L, echo_client_finish(client, pipe_fd));
    lua_pushnumber(L, user_ns(pid) - before);
    return 2;
}

static int l_cpu(lua_State *L) {
    lua_pushnumber(L, device_cpu_ns(luaL_checkint(L, 1)));
    return 1;
}

static int l_stop(lua_State *L) {
    stop(luaL_checkint(L, 1));
    return 0;
}

static int push_replies(lua_State *L, const double *took_ns, const device_result_t *result) {
    lua_createtable(L, (int)result->count, 0);
    for (size_t i = 0; i < result->count; i++) {
        lua_pushnumber(L, took_ns[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushnumber(L, result->cpu_ns);
    lua_pushnumber(L, result->wall_ns);
    return 3;
}

static int l_replies(lua_State *L) {
    int count = luaL_checkint(L, 2), first = luaL_checkint(L, 3), port = 0, out = -1;
    luaL_argcheck(L, count >= 1 && count <= MAX_REPLIES, 2, "1 to 100000 replies");
    int listener = device_open(&port);
    if (listener < 0) { return fail(L, "the device cannot listen"); }
    lua_pushfstring(L, "%s %d", luaL_checkstring(L, 1), port);
    device_peer_t peer = {.pid = start(lua_tostring(L, -1), &out), .alive = -1};
    peer.alive = out;
    if (peer.pid < 0) {
        (void)close(listener);
        return fail(L, "it could not be started");
    }
    double *took_ns = calloc((size_t)count, sizeof *took_ns);
    if (took_ns == NULL) { abort(); }
    device_result_t result;
    int rc = device_serve(listener, &peer, (size_t)count, (size_t)first, took_ns, &result);
    (void)close(listener);
    (void)close(out);
    stop(peer.pid);
    int results = rc == 0 ? push_replies(L, took_ns, &result) : fail(L, "it ended or fell silent");
    free(took_ns);
    return results;
}

void peers_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"bench_self", l_self},           {"bench_peer_start", l_start},
        {"bench_peer_pause", l_pause},    {"bench_peer_echo", l_echo},
        {"bench_peer_stop", l_stop},      {"bench_peer_cpu", l_cpu},
        {"bench_peer_replies", l_replies}};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setglobal(L, functions[i].name);
    }
}
