#include "watch_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "job.h"
#include "memory.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts texts, frees those that are there already, and answers how many are left. */
static uint32_t sort_once(char **texts, uint32_t count) {
    uint32_t kept = 0;
    qsort(texts, count, sizeof *texts, by_bytes);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(texts[kept - 1], texts[i]) == 0) {
            free(texts[i]);
        } else {
            texts[kept++] = texts[i];
        }
    }
    return kept;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) { return job_copy(".", 1); }
    return slash == path ? job_copy("/", 1) : job_copy(path, (size_t)(slash - path));
}

static void find_folders(watch_list_t *list) {
    for (uint32_t i = 0; i < list->path_count; i++) {
        list->folders[i] = folder_of(list->paths[i]);
    }
    list->folder_count = sort_once(list->folders, list->path_count);
    for (uint32_t i = 0; i < list->path_count; i++) {
        char *folder = folder_of(list->paths[i]);
        char **found =
            bsearch(&folder, list->folders, list->folder_count, sizeof *list->folders, by_bytes);
        list->folder_of[i] = (uint32_t)(found - list->folders);
        free(folder);
    }
}

watch_list_t *watch_list_new(const char *const *paths, uint32_t count) {
    watch_list_t *list = memory_zeroed(sizeof *list);
    size_t room = count > 0 ? count : 1;
    list->refs = 1;
    list->paths = memory_zeroed(room * sizeof *list->paths);
    list->folders = memory_zeroed(room * sizeof *list->folders);
    list->folder_of = memory_zeroed(room * sizeof *list->folder_of);
    for (uint32_t i = 0; i < count; i++) {
        list->paths[i] = job_copy(paths[i], strlen(paths[i]));
    }
    list->path_count = sort_once(list->paths, count);
    find_folders(list);
    return list;
}

watch_list_t *watch_list_ref(watch_list_t *list) {
    list->refs++;
    return list;
}

void watch_list_unref(watch_list_t *list) {
    if (list == NULL || --list->refs > 0) { return; }
    for (uint32_t i = 0; i < list->path_count; i++) {
        free(list->paths[i]);
    }
    for (uint32_t i = 0; i < list->folder_count; i++) {
        free(list->folders[i]);
    }
    free(list->paths);
    free(list->folders);
    free(list->folder_of);
    free(list);
}

bool watch_list_equal(const watch_list_t *a, const watch_list_t *b) {
    if (a->path_count != b->path_count) { return false; }
    for (uint32_t i = 0; i < a->path_count; i++) {
        if (strcmp(a->paths[i], b->paths[i]) != 0) { return false; }
    }
    return true;
}

const char *watch_list_name(const watch_list_t *list, uint32_t path) {
    const char *slash = strrchr(list->paths[path], '/');
    return slash != NULL ? slash + 1 : list->paths[path];
}

watch_print_t *watch_list_carry(const watch_list_t *to, const watch_list_t *from,
                                const watch_print_t *prints) {
    watch_print_t *out = memory_zeroed((to->path_count + 1) * sizeof *out);
    for (uint32_t i = 0, j = 0; i < to->path_count && j < from->path_count;) {
        int order = strcmp(to->paths[i], from->paths[j]);
        if (order == 0) { out[i] = prints[j]; }
        i += order <= 0;
        j += order >= 0;
    }
    return out;
}

/* ---- on the pool ----------------------------------------------------------------------------- */

static int64_t ns_of(struct timespec time) {
    return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_nsec;
}

static void look(const char *path, watch_print_t *out) {
    struct stat info;
    if (stat(path, &info) != 0) {
        out->state = 2 + (uint64_t)(errno == ENOTDIR ? ENOENT : errno);
        return;
    }
    *out = (watch_print_t){.state = 1,
                           .device = info.st_dev,
                           .inode = info.st_ino,
                           .mode = info.st_mode,
                           .bytes = (uint64_t)info.st_size,
                           .modified_ns = ns_of(info.st_mtim),
                           .changed_ns = ns_of(info.st_ctim)};
}

static void on_pool(uv_work_t *work) {
    watch_scan_t *scan = work->data;
    const watch_list_t *list = scan->list;
    for (uint32_t i = 0; i < list->folder_count && !atomic_load(&scan->stopped); i++) {
        look(list->folders[i], &scan->folders[i]);
    }
    for (uint32_t i = 0; i < list->path_count && !atomic_load(&scan->stopped); i++) {
        look(list->paths[i], &scan->paths[i]);
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

void watch_scan_free(watch_scan_t *scan) {
    watch_list_unref(scan->list);
    free(scan->paths);
    free(scan->folders);
    free(scan);
}

static void after_pool(uv_work_t *work, int status) {
    watch_scan_t *scan = work->data;
    (void)status; /* only one that is forgotten is taken back */
    scan->loop->held--;
    scan->ended = true;
    scan->ended_ns = clock_now_ns(scan->loop->clock);
    if (scan->rt != NULL) {
        rt_enqueue(scan->rt, &scan->event);
    } else {
        watch_scan_free(scan);
    }
}

watch_scan_t *watch_scan_begin(rt_t *rt, watch_list_t *list, uint64_t number,
                               void (*settle)(rt_t *rt, rt_event_t *event)) {
    watch_scan_t *scan = memory_zeroed(sizeof *scan);
    scan->event.settle = settle;
    scan->work.data = scan;
    scan->loop = rt->loop;
    scan->rt = rt;
    scan->list = watch_list_ref(list);
    scan->number = number;
    scan->began_ns = clock_now_ns(rt->clock);
    scan->paths = memory_zeroed((list->path_count + 1) * sizeof *scan->paths);
    scan->folders = memory_zeroed((list->folder_count + 1) * sizeof *scan->folders);
    rt->loop->held++;
    (void)uv_queue_work(&rt->loop->uv, &scan->work, on_pool, after_pool);
    return scan;
}

void watch_scan_forget(watch_scan_t *scan) {
    if (scan->ended) {
        watch_scan_free(scan);
        return;
    }
    scan->rt = NULL;
    atomic_store(&scan->stopped, true);
    (void)uv_cancel((uv_req_t *)&scan->work);
}
