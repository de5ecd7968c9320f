/* Reading regular files: on any thread, without anything of the host. */
#ifndef REGULAR_H
#define REGULAR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Opens a regular file; devices and pipes would block. A new one gets 0644. Answers its descriptor,
 * or -1 with the errno: EISDIR for a folder, REGULAR_E_ODD for what is neither. */
int regular_open(const char *path, int flags, struct stat *info, int *error);
enum { REGULAR_E_ODD = 1 << 20 };

/* What was read, also when it failed; the caller frees `data`. */
typedef struct {
    char *data;
    size_t bytes;
    bool over; /* there is more than the limit; `bytes` are limit + 1 */
    int error; /* errno, or 0 */
} regular_text_t;

/* Reads to the end, whatever size the file claims to have, or until *stop. */
void regular_read(int fd, size_t claimed_bytes, size_t limit, const atomic_bool *stop,
                  regular_text_t *text);

#endif
