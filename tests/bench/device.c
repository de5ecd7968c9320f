#include "device.h"

#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"

#define FRAME_NS (1e9 / 60)
#define LEAST_NS 200e3            /* a client that waits is asleep by then */
#define GOLDEN 0.6180339887498949 /* multiples of it fill an interval evenly, whenever they end */

enum { REQUEST_BYTES = 12, CONNECT_MS = 10000, SILENCE_S = 5 };

typedef struct {
    double stamp_ns, number, x, y;
} reply_t;

int device_open(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &bytes) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    if (fd >= 0) { (void)close(fd); }
    return -1;
}

double device_cpu_ns(int pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) { return NAN; }
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void wait_ns(double ns) {
    struct timespec t = {.tv_sec = 0, .tv_nsec = (long)ns};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static int accept_one(int listener, int alive) {
    struct pollfd ready[] = {{.fd = listener, .events = POLLIN}, {.fd = alive}};
    if (poll(ready, 2, CONNECT_MS) < 1 || ready[0].revents == 0) { return -1; }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    struct timeval silence = {.tv_sec = SILENCE_S};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    return fd;
}

/* What the next request says of the reply before; NAN: none came. */
static double request(int fd) {
    char bytes[REQUEST_BYTES];
    double took_ns;
    if (recv(fd, bytes, sizeof bytes, MSG_WAITALL) != REQUEST_BYTES) { return NAN; }
    memcpy(&took_ns, bytes + sizeof(uint32_t), sizeof took_ns);
    return took_ns;
}

int device_serve(int listener, const device_peer_t *peer, size_t count, size_t first,
                 double *took_ns, device_result_t *result) {
    int fd = accept_one(listener, peer->alive);
    *result = (device_result_t){0};
    for (size_t i = 0; fd >= 0 && i <= count + DEVICE_WARM_UP; i++) {
        double told = request(fd);
        if (isnan(told)) { break; }
        if (i == DEVICE_WARM_UP) {
            result->cpu_ns = -device_cpu_ns(peer->pid);
            result->wall_ns = -bench_now_ns();
        } else if (i > DEVICE_WARM_UP) {
            took_ns[result->count++] = told;
        }
        if (result->count == count) { break; }
        wait_ns(LEAST_NS + fmod((double)(first + i) * GOLDEN, 1) * FRAME_NS);
        reply_t reply = {.number = (double)i, .x = 1, .y = 2, .stamp_ns = bench_now_ns()};
        if (send(fd, &reply, sizeof reply, MSG_NOSIGNAL) != (ssize_t)sizeof reply) { break; }
    }
    result->cpu_ns += device_cpu_ns(peer->pid);
    result->wall_ns += bench_now_ns();
    if (fd >= 0) { (void)close(fd); }
    return result->count == count ? 0 : -1;
}
