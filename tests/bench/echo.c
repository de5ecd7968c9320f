#include "echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 64, BACKLOG = 64 };

static double now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double echo_user_ns(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec * 1e9 + (double)usage.ru_utime.tv_usec * 1e3;
}

static double play(int port, int connections, double seconds) {
    char message[MESSAGE_BYTES] = "ping";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int epoll = epoll_create1(0);
    double replies = 0, end = now_ns() + seconds * 1e9;
    for (int i = 0; i < connections; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) { return -1; }
        (void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        if (write(fd, message, sizeof message) != (ssize_t)sizeof message) { return -1; }
    }
    while (now_ns() < end) {
        struct epoll_event events[BACKLOG];
        int ready = epoll_wait(epoll, events, BACKLOG, 100);
        for (int i = 0; i < ready; i++) {
            if (read(events[i].data.fd, message, sizeof message) <= 0) { return replies; }
            replies++;
            if (write(events[i].data.fd, message, sizeof message) <= 0) { return replies; }
        }
    }
    return replies;
}

int echo_client_start(int port, int connections, double seconds, int *pipe_fd) {
    int ends[2];
    if (pipe(ends) != 0) { return -1; }
    int pid = fork();
    if (pid == 0) {
        double replies = play(port, connections, seconds);
        (void)!write(ends[1], &replies, sizeof replies);
        _exit(0);
    }
    (void)close(ends[1]);
    *pipe_fd = ends[0];
    return pid;
}

double echo_client_finish(int pid, int pipe_fd) {
    double replies = -1;
    (void)!read(pipe_fd, &replies, sizeof replies);
    (void)close(pipe_fd);
    (void)waitpid(pid, NULL, 0);
    return replies;
}

/* ---- the bare server ------------------------------------------------------------------------ */

typedef struct {
    uv_tcp_t handle;
    char bytes[4096];
} peer_t;

static uv_tcp_t server;

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    peer_t *peer = (peer_t *)handle;
    (void)suggested;
    *buffer = uv_buf_init(peer->bytes, sizeof peer->bytes);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    if (count <= 0) {
        uv_close((uv_handle_t *)stream, (uv_close_cb)free);
        return;
    }
    uv_buf_t reply = uv_buf_init(buffer->base, (unsigned)count);
    (void)uv_try_write(stream, &reply, 1);
}

static void on_connection(uv_stream_t *stream, int status) {
    peer_t *peer = calloc(1, sizeof *peer);
    if (peer == NULL || status != 0) { abort(); }
    (void)uv_tcp_init(stream->loop, &peer->handle);
    (void)uv_accept(stream, (uv_stream_t *)&peer->handle);
    (void)uv_tcp_nodelay(&peer->handle, 1);
    (void)uv_read_start((uv_stream_t *)&peer->handle, on_alloc, on_read);
}

int echo_server_open(uv_loop_t *loop) {
    struct sockaddr_in address;
    int bytes = sizeof address;
    (void)uv_tcp_init(loop, &server);
    (void)uv_ip4_addr("127.0.0.1", 0, &address);
    (void)uv_tcp_bind(&server, (struct sockaddr *)&address, 0);
    (void)uv_listen((uv_stream_t *)&server, BACKLOG, on_connection);
    (void)uv_tcp_getsockname(&server, (struct sockaddr *)&address, &bytes);
    return ntohs(address.sin_port);
}

void echo_server_close(uv_loop_t *loop) {
    uv_close((uv_handle_t *)&server, NULL);
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

int echo_serve(void) {
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) { return 1; }
    (void)printf("%d\n", echo_server_open(&loop));
    (void)fflush(stdout);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
