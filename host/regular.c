#include "regular.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory.h"

enum { MODE = 0644, READ_BYTES = 65536 };

int regular_open(const char *path, int flags, struct stat *info, int *error) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, MODE);
    *error = 0;
    if (fd < 0 || fstat(fd, info) != 0) {
        *error = errno;
    } else if (S_ISDIR(info->st_mode)) {
        *error = EISDIR;
    } else if (!S_ISREG(info->st_mode)) {
        *error = REGULAR_E_ODD;
    }
    if (fd >= 0 && *error != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

void regular_read(int fd, size_t claimed_bytes, size_t limit, const atomic_bool *stop,
                  regular_text_t *text) {
    size_t capacity = claimed_bytes > 0 ? claimed_bytes + 1 : READ_BYTES;
    if (capacity > limit + 1) { capacity = limit + 1; }
    *text = (regular_text_t){.data = memory_zeroed(capacity)};
    while (!atomic_load(stop)) {
        ssize_t got = read(fd, text->data + text->bytes, capacity - text->bytes);
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { text->error = errno; }
        if (got <= 0) { return; }
        text->bytes += (size_t)got;
        if (text->bytes > limit) {
            text->over = true;
            return;
        }
        if (text->bytes == capacity) {
            capacity = capacity * 2 < limit + 1 ? capacity * 2 : limit + 1;
            text->data = realloc(text->data, capacity);
            memory_must(text->data);
        }
    }
}
