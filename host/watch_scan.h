/* What a watch looks at, and one look at it: a job in libuv's pool that stats every path. The
 * loop's thread never does. Thread: the host's, but for the look itself, which touches nothing but
 * itself. */
#ifndef WATCH_SCAN_H
#define WATCH_SCAN_H

#include <stdatomic.h>

#include "runtime.h"

/* What stat tells of a path; all zero: it was not looked at. Two that are equal byte by byte stand
 * for the same contents, as long as there is time between them, see watch.h. */
typedef struct {
    uint64_t state; /* 1: it is there, else 2 + the errno that stat gave */
    uint64_t device, inode, mode, bytes;
    int64_t modified_ns, changed_ns; /* mtime, and ctime, which nobody can set */
} watch_print_t;

/* Paths and the folders that hold them, each sorted by bytes and there once. Never changed. */
typedef struct {
    uint32_t refs, path_count, folder_count;
    char **paths, **folders;
    uint32_t *folder_of; /* of each path, its folder's index */
} watch_list_t;

/* A list with one reference, of `count` paths, which are copied. Repeated ones are taken once. */
watch_list_t *watch_list_new(const char *const *paths, uint32_t count);
watch_list_t *watch_list_ref(watch_list_t *list);
void watch_list_unref(watch_list_t *list);
bool watch_list_equal(const watch_list_t *a, const watch_list_t *b);
/* The name of a path in its folder. */
const char *watch_list_name(const watch_list_t *list, uint32_t path);
/* Prints of the paths of `to`, from those of the paths of `from`; zero where `from` has not the
 * path. The caller frees them. */
watch_print_t *watch_list_carry(const watch_list_t *to, const watch_list_t *from,
                                const watch_print_t *prints);

typedef struct watch_scan {
    rt_event_t event; /* queued once it has ended, `settle` as given to watch_scan_begin */
    uv_work_t work;
    loop_t *loop;
    rt_t *rt; /* NULL: nobody asks for it any more, and it is freed when it ends */
    watch_list_t *list;
    uint64_t number, began_ns, ended_ns;
    bool ended;
    atomic_bool stopped;
    watch_print_t *paths, *folders;
} watch_scan_t;

/* Looks at all of the list. Virtual time stands still meanwhile. `settle` runs in a step. */
watch_scan_t *watch_scan_begin(rt_t *rt, watch_list_t *list, uint64_t number,
                               void (*settle)(rt_t *rt, rt_event_t *event));
/* One that has ended, and whose event is not queued any more. */
void watch_scan_free(watch_scan_t *scan);
/* At the end of the runtime: one that has ended is freed, one that runs frees itself. */
void watch_scan_forget(watch_scan_t *scan);

#endif
