/* The control socket and the counts of lateness. */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/test.h"
#include "control.h"
#include "jitter.h"
#include "loop.h"

/* ---- control socket -------------------------------------------------------------------------- */

static char *echo(void *context, const char *line, size_t bytes, bool *last) {
    char *text = strndup(line, bytes);
    ++*(int *)context;
    *last = strncmp(line, "last", 4) == 0;
    return text;
}

static int dial(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* What a client has received by now, "" for nothing, "end" at the end. */
static const char *received(int fd) {
    static char text[512];
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    return got == 0 ? "end" : text;
}

static void poll_some(loop_t *loop) {
    for (int i = 0; i < 4; i++) {
        loop_poll(loop);
    }
}

static void a_control_socket_answers_when_it_is_served_and_not_before(void) {
    static control_t control;
    stator_clock_t clock;
    loop_t loop;
    char why[160], path[] = "/tmp/stator-control-XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    char name[64];
    (void)snprintf(name, sizeof name, "%s/s", path);
    clock_init(&clock, false);
    CHECK_EQ(loop_init(&loop, &clock), 0);
    CHECK_EQ(control_open(&control, &loop.uv, name, why, sizeof why), 0);
    struct stat status;
    CHECK_EQ(lstat(name, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    int asked = 0, fd = dial(name);
    CHECK_EQ(send(fd, "one\ntwo\nlast\nnever\n", 19, 0), 19);
    poll_some(&loop);
    CHECK_EQ(asked, 0);
    control_serve(&control, echo, &asked);
    CHECK_EQ(asked, 1);
    CHECK_TEXT(received(fd), "one\n");
    for (int i = 0; i < 4; i++) {
        poll_some(&loop);
        control_serve(&control, echo, &asked);
    }
    CHECK_EQ(asked, 3);
    CHECK_TEXT(received(fd), "two\nlast\n");
    CHECK_TEXT(received(fd), "end");
    (void)close(fd);
    control_close(&control);
    CHECK(lstat(name, &status) != 0);
    CHECK_EQ(loop_fini(&loop), 0);
    (void)rmdir(path);
}

static void a_control_socket_bounds_clients_and_requests(void) {
    static control_t control;
    stator_clock_t clock;
    loop_t loop;
    int fds[CONTROL_CLIENTS], asked = 0;
    char why[160], path[] = "/tmp/stator-control-XXXXXX", name[64];
    static char line[CONTROL_LINE_BYTES + 100];
    memset(line, 'x', sizeof line);
    CHECK(mkdtemp(path) != NULL);
    (void)snprintf(name, sizeof name, "%s/s", path);
    clock_init(&clock, false);
    CHECK_EQ(loop_init(&loop, &clock), 0);
    CHECK_EQ(control_open(&control, &loop.uv, name, why, sizeof why), 0);
    for (int i = 0; i < CONTROL_CLIENTS; i++) {
        fds[i] = dial(name);
        poll_some(&loop);
    }
    int extra = dial(name);
    poll_some(&loop);
    CHECK(strstr(received(extra), "\"busy\"") != NULL);
    CHECK_TEXT(received(extra), "end");
    CHECK_EQ(control.refused, 1);
    CHECK_EQ(send(fds[0], line, sizeof line, 0), (ssize_t)sizeof line);
    poll_some(&loop);
    control_serve(&control, echo, &asked);
    CHECK(strstr(received(fds[0]), "\"too_long\"") != NULL);
    CHECK_EQ(asked, 0);
    (void)close(fds[1]); /* makes room */
    poll_some(&loop);
    control_serve(&control, echo, &asked);
    poll_some(&loop);
    int next = dial(name);
    CHECK_EQ(send(next, "hello\n", 6, 0), 6);
    poll_some(&loop);
    control_serve(&control, echo, &asked);
    CHECK_TEXT(received(next), "hello\n");
    control_close(&control);
    CHECK_EQ(loop_fini(&loop), 0);
    for (int i = 0; i < CONTROL_CLIENTS; i++) {
        (void)close(fds[i]);
    }
    (void)close(extra);
    (void)close(next);
    (void)rmdir(path);
}

static void a_control_socket_takes_and_removes_no_file_of_others(void) {
    static control_t control;
    stator_clock_t clock;
    loop_t loop;
    char why[160], path[] = "/tmp/stator-control-XXXXXX", name[64];
    struct stat status;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CHECK(mkdtemp(path) != NULL);
    (void)snprintf(name, sizeof name, "%s/s", path);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    clock_init(&clock, false);
    CHECK_EQ(loop_init(&loop, &clock), 0);
    int other = socket(AF_UNIX, SOCK_STREAM, 0); /* it is about to listen */
    CHECK_EQ(bind(other, (const struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(control_open(&control, &loop.uv, name, why, sizeof why), -1);
    CHECK_TEXT(why, "another host listens there");
    (void)close(other);
    CHECK_EQ(control_open(&control, &loop.uv, name, why, sizeof why), 0);
    CHECK_EQ(unlink(name), 0);
    other = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(other, (const struct sockaddr *)&address, sizeof address), 0);
    control_close(&control);
    CHECK_EQ(lstat(name, &status), 0);
    CHECK_EQ(loop_fini(&loop), 0);
    (void)close(other);
    (void)unlink(name);
    (void)rmdir(path);
}

static void a_jitter_counts_in_powers_of_two(void) {
    jitter_t jitter = {0};
    static const uint64_t late_ns[] = {0, 999, 1000, 1999, 2000, 3999, 4000, 262143999, 262144000};
    static const int bucket[] = {0, 0, 1, 1, 2, 2, 3, 18, 19};
    for (size_t i = 0; i < sizeof bucket / sizeof bucket[0]; i++) {
        uint64_t before = jitter.count[bucket[i]];
        jitter_add(&jitter, late_ns[i]);
        CHECK_EQ(jitter.count[bucket[i]], before + 1);
    }
    jitter_add(&jitter, UINT64_MAX);
    CHECK_EQ(jitter.count[JITTER_BUCKETS - 1], 2);
    CHECK_EQ(jitter.max_ns, UINT64_MAX);
}

int main(void) {
    RUN(a_control_socket_answers_when_it_is_served_and_not_before);
    RUN(a_control_socket_takes_and_removes_no_file_of_others);
    RUN(a_control_socket_bounds_clients_and_requests);
    RUN(a_jitter_counts_in_powers_of_two);
    return test_report();
}
