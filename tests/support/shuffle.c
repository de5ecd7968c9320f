/* Permutes what the kernel says is ready, in specs that ask for it: STATOR_SHUFFLE is the seed.
 * libuv finds this epoll_pwait before libc's. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t next_random(void) {
    static uint64_t state;
    if (state == 0) {
        const char *seed = getenv("STATOR_SHUFFLE");
        state = seed != NULL ? strtoull(seed, NULL, 10) * 2654435761u + 1 : 0;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const sigset_t *mask) {
    int count = (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, mask, (size_t)8);
    if (count < 2 || getenv("STATOR_SHUFFLE") == NULL) { return count; }
    for (int i = count - 1; i > 0; i--) {
        int other = (int)(next_random() % (uint64_t)(i + 1));
        struct epoll_event kept = events[i];
        events[i] = events[other];
        events[other] = kept;
    }
    return count;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout) {
    return epoll_pwait(fd, events, max, timeout, NULL);
}
