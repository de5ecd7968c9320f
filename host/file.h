/* Files as operations: each is one job on libuv's pool. A job that nobody waits for any more is
 * taken back when it has not begun, and else ends by itself; a write that is stopped before its
 * file has its name leaves nothing behind. */
#ifndef FILE_H
#define FILE_H

#include "job.h"

#include <stdatomic.h>
#include <sys/stat.h>

typedef enum {
    FILE_READ,
    FILE_WRITE,
    FILE_APPEND,
    FILE_STAT,
    FILE_EXISTS,
    FILE_LIST,
    FILE_REMOVE,
    FILE_MAKE_DIR
} file_kind_t;

enum { FILE_MAX_ACTIVE = 2, FILE_MAX_NAMES = 10000 };

typedef struct {
    job_t job; /* key: the path as the script wrote it */
    uv_work_t work;
    file_kind_t kind;
    char *path;
    char *data; /* to write, or what was read */
    size_t bytes, limit;
    atomic_bool stopped;
    int error;     /* errno, or 0 */
    bool over;     /* the limit was reached */
    bool odd_kind; /* neither a file nor a folder */
    struct stat info;
    char **names;
    uint32_t name_count;
} file_job_t;

extern const job_type_t FILE_TYPES[];

#endif
