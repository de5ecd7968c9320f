#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api.h"
#include "host.h"
#include "memory.h"

enum { WAIT_S = 10, REQUEST_BYTES = 4096, CHUNK_BYTES = 65536 };
#define ANSWER_MAX_BYTES ((size_t)64 << 20)

static int fail(const char *socket_path, const char *what) {
    (void)fprintf(stderr, "stator ctl: %s: %s\n", socket_path, what);
    return HOST_EXIT_FAULT;
}

static int usage(const char *what, const char *value) {
    (void)fprintf(
        stderr,
        "stator: ctl: %s%s%s\n"
        "usage: stator ctl SOCKET tasks [NAME] | entities [PATH] | status | systems | stop |\n"
        "                         reload [--plan] [--force] [--drop COMPONENT] | accept | revert "
        "[--json]\n",
        what, value[0] != '\0' ? " " : "", value);
    return HOST_EXIT_USAGE;
}

static int dial(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = WAIT_S};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) { return -1; }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int send_all(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent <= 0) { return -1; }
        data += sent;
        bytes -= (size_t)sent;
    }
    return 0;
}

/* One line without its end, in memory of malloc; NULL when none came. */
static char *receive_line(int fd) {
    char *line = NULL;
    size_t count = 0;
    while (count < ANSWER_MAX_BYTES) {
        char *grown = realloc(line, count + CHUNK_BYTES + 1);
        memory_must(grown);
        line = grown;
        ssize_t got = recv(fd, line + count, CHUNK_BYTES, 0);
        if (got <= 0) { break; }
        char *end = memchr(line + count, '\n', (size_t)got);
        count += (size_t)got;
        if (end != NULL) {
            *end = '\0';
            return line;
        }
    }
    free(line);
    return NULL;
}

/* Lets lua/stator/ctl.lua show the answer. The exit code. */
static int show(const char *command, const char *line, bool raw) {
    stator_clock_t clock;
    vm_t vm;
    clock_init(&clock, false);
    if (vm_init(&vm, &clock) != 0) { return fail(command, "no VM can be made (ulimit -v?)"); }
    lua_State *L = vm.L;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, api_open_json);
    lua_setfield(L, -2, "stator.core.json");
    lua_pop(L, 2);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "stator.ctl");
    int rc = vm_call(&vm, 1, 1);
    if (rc == VM_OK) {
        lua_getfield(L, -1, "main");
        lua_pushstring(L, command);
        lua_pushstring(L, line);
        lua_pushboolean(L, raw);
        rc = vm_call(&vm, 3, 2);
    }
    int code = HOST_EXIT_FAULT;
    if (rc == VM_OK) {
        bool ok = lua_toboolean(L, -1);
        (void)fprintf(ok || raw ? stdout : stderr, "%s", lua_tostring(L, -2));
        code = ok ? HOST_EXIT_OK : HOST_EXIT_FAULT;
    } else {
        (void)fprintf(stderr, "stator ctl: %s\n", lua_tostring(L, -1));
    }
    vm_fini(&vm);
    return code;
}

static int ask(const char *path, const char *command, const char *argument, bool raw) {
    char request[REQUEST_BYTES], quoted[REQUEST_BYTES / 2];
    (void)log_json_string(quoted, sizeof quoted, argument);
    int bytes = snprintf(request, sizeof request, "{\"cmd\":\"%s\",\"arg\":%s}\n", command, quoted);
    int fd = dial(path);
    if (fd < 0) {
        bool dead = errno == ECONNREFUSED || errno == ENOENT;
        return fail(path, dead ? "no host listens there" : strerror(errno));
    }
    char *line = NULL;
    if (send_all(fd, request, (size_t)bytes) == 0) { line = receive_line(fd); }
    (void)close(fd);
    if (line == NULL) { return fail(path, "the host did not answer"); }
    int code = show(command, line, raw);
    free(line);
    return code;
}

/* Adds a word to an argument. */
static bool add_word(char *argument, size_t room, const char *word) {
    size_t length = strlen(argument);
    int added = snprintf(argument + length, room - length, "%s%s", length > 0 ? " " : "", word);
    return added >= 0 && (size_t)added < room - length;
}

static bool takes_argument(const char *command) {
    return strcmp(command, "tasks") == 0 || strcmp(command, "entities") == 0;
}

int ctl_main(int count, char **words) {
    static const char *const commands[] = {"tasks",  "entities", "status", "systems",
                                           "reload", "accept",   "revert", "stop"};
    const char *plain[2] = {"", ""};
    char argument[REQUEST_BYTES / 4] = "";
    int plain_count = 0;
    bool raw = false, known = false;
    for (int i = 0; i < count; i++) {
        bool reloads = plain_count == 2 && strcmp(plain[1], "reload") == 0;
        if (strcmp(words[i], "--json") == 0) {
            raw = true;
        } else if (words[i][0] == '-' && !reloads) {
            return usage("unknown option", words[i]);
        } else if (plain_count < 2) {
            plain[plain_count++] = words[i];
        } else if (!(reloads || (takes_argument(plain[1]) && argument[0] == '\0')) ||
                   !add_word(argument, sizeof argument, words[i])) {
            return usage("unexpected", words[i]);
        }
    }
    if (plain_count < 2) { return usage("a socket and a command are missing", ""); }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        known |= strcmp(commands[i], plain[1]) == 0;
    }
    if (!known) { return usage("unknown command", plain[1]); }
    return ask(plain[0], plain[1], argument, raw);
}
