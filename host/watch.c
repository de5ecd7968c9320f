#include "watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "memory.h"

/* What is remembered of each path. */
typedef enum {
    PRINTS_READ,   /* acknowledged */
    PRINTS_TOLD,   /* by the last `next` */
    PRINTS_BEFORE, /* TOLD before that, should nobody get what it tells */
    PRINTS_SEEN,   /* by the last scan */
    PRINTS_COUNT
} prints_t;

/* Events of a folder that holds watched paths. */
typedef struct {
    uv_fs_event_t handle;
    struct watch *watch;
    uint32_t index; /* in the list */
    uint64_t device, inode;
    bool gone; /* it was moved or removed: the handle hears nothing any more */
} folder_t;

struct watch {
    rt_t *rt;
    watch_list_t *list;
    watch_mode_t mode;
    bool used; /* somebody has set a list or waited */
    watch_print_t *prints[PRINTS_COUNT];
    folder_t **folders; /* of the list's; NULL: not open */
    bool blind;         /* a folder's events cannot be opened */
    bool blind_told;

    watch_scan_t *scan;   /* under way, or ended and not settled */
    uint64_t scans;       /* begun so far */
    bool stirred;         /* something happened while it ran */
    bool settled;         /* PRINTS_SEEN is so for WATCH_SETTLE_NS */
    uint64_t seen_ns;     /* since when it is so */
    uint32_t restless;    /* the first path that changed last */
    uint64_t restless_ns; /* since when something waits to settle; 0: nothing does */
    bool restless_told;

    watch_next_t *waiter;
    watch_check_t *checks;
    uint64_t asked, asked_read, asked_told, asked_before; /* as of the prints */
    char reason[WATCH_REASON_BYTES];
};

static const watch_print_t UNREAD;

static bool same_prints(const watch_print_t *a, const watch_print_t *b, uint32_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void settle_scan(rt_t *rt, rt_event_t *event);

/* Looks now, or again once the scan under way has ended. */
static void look(struct watch *watch) {
    if (watch->scan != NULL) {
        watch->stirred = true;
        return;
    }
    watch->stirred = false;
    watch->scan = watch_scan_begin(watch->rt, watch->list, ++watch->scans, settle_scan);
}

static void look_if_awaited(struct watch *watch) {
    if (watch->waiter != NULL || watch->checks != NULL) { look(watch); }
}

static void wake_at(struct watch *watch, uint64_t at_ns) {
    wheel_add(&watch->rt->wheel, &watch->waiter->job.op->timer, at_ns);
}

/* ---- events of folders ----------------------------------------------------------------------- */

static void on_folder_closed(uv_handle_t *handle) { free(handle->data); }

static void close_folder(folder_t **slot) {
    if (*slot != NULL) { uv_close((uv_handle_t *)&(*slot)->handle, on_folder_closed); }
    *slot = NULL;
}

static void close_folders(struct watch *watch) {
    for (uint32_t i = 0; i < watch->list->folder_count; i++) {
        close_folder(&watch->folders[i]);
    }
}

/* Whether a path of the list has this name in this folder. */
static bool holds(const watch_list_t *list, uint32_t folder, const char *name) {
    for (uint32_t i = 0; i < list->path_count; i++) {
        bool here = list->folder_of[i] == folder;
        if (here && strcmp(watch_list_name(list, i), name) == 0) { return true; }
    }
    return false;
}

/* Without a name, or with the folder's own, something happened to the folder itself. */
static void on_folder(uv_fs_event_t *handle, const char *name, int events, int status) {
    folder_t *folder = handle->data;
    struct watch *watch = folder->watch;
    const char *path = watch->list->folders[folder->index], *slash = strrchr(path, '/');
    bool itself =
        name == NULL || status != 0 || strcmp(name, slash != NULL ? slash + 1 : path) == 0;
    folder->gone |= itself && (status != 0 || (events & UV_RENAME) != 0);
    if (itself || holds(watch->list, folder->index, name)) { look_if_awaited(watch); }
}

static void open_folder(struct watch *watch, uint32_t index, const watch_print_t *print) {
    folder_t *folder = memory_zeroed(sizeof *folder);
    folder->watch = watch;
    folder->index = index;
    folder->device = print->device;
    folder->inode = print->inode;
    (void)uv_fs_event_init(&watch->rt->loop->uv, &folder->handle);
    folder->handle.data = folder;
    const char *path = watch->list->folders[index];
    int rc = uv_fs_event_start(&folder->handle, on_folder, path, 0);
    if (rc == 0) {
        watch->stirred = true; /* it may have changed before the events came */
        watch->folders[index] = folder;
        return;
    }
    close_folder(&folder);
    watch->blind = true;
    if (watch->blind_told) { return; }
    watch->blind_told = true;
    log_printf(watch->rt->log, LOG_DEBUG, "watch", "%s: no events (%s): polled each %g s", path,
               uv_strerror(rc), (double)WATCH_BLIND_POLL_NS / 1e9);
}

/* Opens what is there and closes what went, as a scan has found it. */
static void follow_folders(struct watch *watch, const watch_print_t *prints) {
    watch->blind = false;
    for (uint32_t i = 0; i < watch->list->folder_count; i++) {
        folder_t **slot = &watch->folders[i];
        const watch_print_t *print = &prints[i];
        bool there = print->state == 1 && S_ISDIR((mode_t)print->mode);
        bool kept = *slot != NULL && there && !(*slot)->gone && (*slot)->device == print->device &&
                    (*slot)->inode == print->inode;
        if (kept) { continue; }
        close_folder(slot);
        if (there && watch->mode == WATCH_EVENTS) { open_folder(watch, i, print); }
    }
}

/* ---- deciding -------------------------------------------------------------------------------- */

static bool differs(const struct watch *watch) {
    return !same_prints(watch->prints[PRINTS_SEEN], watch->prints[PRINTS_READ],
                        watch->list->path_count);
}

static void tell(struct watch *watch) {
    watch_next_t *next = watch->waiter;
    watch->waiter = NULL;
    next->list = watch_list_ref(watch->list);
    next->prints = watch_list_carry(watch->list, watch->list, watch->prints[PRINTS_SEEN]);
    next->asked = watch->asked;
    bool saved = watch->asked == watch->asked_read;
    (void)snprintf(next->reason, sizeof next->reason, "%s", saved ? "saved" : watch->reason);
    job_end(&next->job);
}

static void note_restless(struct watch *watch) {
    uint64_t now = watch->rt->now_ns;
    if (watch->restless_ns == 0) { watch->restless_ns = now; }
    if (watch->restless_told || now - watch->restless_ns < WATCH_RESTLESS_NS) { return; }
    watch->restless_told = true;
    log_printf(watch->rt->log, LOG_WARN, "watch",
               "%s changes all the time: it is read once it rests",
               watch->list->paths[watch->restless]);
}

/* After a scan: ends `next`, or says when to look again. */
static void decide(struct watch *watch) {
    bool wanted = watch->asked != watch->asked_read || (watch->mode != WATCH_OFF && differs(watch));
    if (!wanted || watch->settled) {
        watch->restless_ns = 0;
        watch->restless_told = false;
    }
    if (watch->stirred && (!wanted || watch->settled)) {
        look(watch);
    } else if (wanted && watch->settled) {
        tell(watch);
    } else if (wanted) {
        note_restless(watch);
        wake_at(watch, watch->seen_ns + WATCH_SETTLE_NS);
    } else if (watch->mode != WATCH_OFF) {
        bool sees = watch->mode == WATCH_EVENTS && !watch->blind;
        wake_at(watch, watch->rt->now_ns + (sees ? WATCH_POLL_NS : WATCH_BLIND_POLL_NS));
    }
}

/* Compares with the scan before. */
static void take(struct watch *watch, watch_scan_t *scan) {
    watch_print_t *seen = watch->prints[PRINTS_SEEN];
    uint32_t count = watch->list->path_count, first = 0;
    while (first < count && same_prints(&seen[first], &scan->paths[first], 1)) {
        first++;
    }
    if (first == count) {
        watch->settled |= scan->began_ns >= watch->seen_ns + WATCH_SETTLE_NS;
    } else {
        watch->settled = false;
        watch->seen_ns = scan->ended_ns;
        watch->restless = first;
        watch->prints[PRINTS_SEEN] = scan->paths;
        scan->paths = seen;
    }
    follow_folders(watch, scan->folders);
}

static void answer_checks(struct watch *watch, uint64_t number) {
    const watch_print_t *told = watch->prints[PRINTS_TOLD];
    bool same = same_prints(told, watch->prints[PRINTS_SEEN], watch->list->path_count);
    watch_check_t **link = &watch->checks;
    while (*link != NULL) {
        watch_check_t *check = *link;
        if (check->scan > number) {
            link = &check->next;
            continue;
        }
        *link = check->next;
        check->unchanged = same;
        job_end(&check->job);
    }
}

static void settle_scan(rt_t *rt, rt_event_t *event) {
    watch_scan_t *scan = (watch_scan_t *)(void *)event;
    struct watch *watch = rt->watch;
    bool current = scan->list == watch->list;
    watch->scan = NULL;
    if (current) {
        take(watch, scan);
        answer_checks(watch, scan->number);
    }
    watch_scan_free(scan);
    if (watch->waiter != NULL) { wheel_remove(&rt->wheel, &watch->waiter->job.op->timer); }
    if (!current || watch->checks != NULL) {
        look_if_awaited(watch);
    } else if (watch->waiter != NULL) {
        decide(watch);
    }
}

/* ---- the list -------------------------------------------------------------------------------- */

static struct watch *watch_of(rt_t *rt) {
    if (rt->watch != NULL) { return rt->watch; }
    struct watch *watch = rt->watch = memory_zeroed(sizeof *watch);
    watch->rt = rt;
    watch->list = watch_list_new(NULL, 0);
    watch->mode = WATCH_OFF;
    watch->folders = memory_zeroed(sizeof(folder_t *));
    for (int i = 0; i < PRINTS_COUNT; i++) {
        watch->prints[i] = memory_zeroed(sizeof(watch_print_t));
    }
    return watch;
}

/* Takes the handles of folders that stay over to their places in the new list. */
static void move_folders(struct watch *watch, const watch_list_t *to) {
    folder_t **folders = memory_zeroed((to->folder_count + 1) * sizeof *folders);
    const watch_list_t *from = watch->list;
    for (uint32_t i = 0, j = 0; i < from->folder_count;) {
        int order = j < to->folder_count ? strcmp(from->folders[i], to->folders[j]) : -1;
        if (order == 0) {
            folders[j] = watch->folders[i];
            if (folders[j] != NULL) { folders[j]->index = j; }
        } else if (order < 0) {
            close_folder(&watch->folders[i]);
        }
        i += order <= 0;
        j += order >= 0;
    }
    free(watch->folders);
    watch->folders = folders;
}

static void replace_list(struct watch *watch, watch_list_t *list) {
    move_folders(watch, list);
    for (int i = 0; i < PRINTS_COUNT; i++) {
        watch_print_t *prints = watch_list_carry(list, watch->list, watch->prints[i]);
        free(watch->prints[i]);
        watch->prints[i] = prints;
    }
    watch_list_unref(watch->list);
    watch->list = list;
}

int watch_set(rt_t *rt, const char *const *paths, uint32_t count, watch_mode_t mode) {
    watch_list_t *list = watch_list_new(paths, count);
    if (list->folder_count > WATCH_MAX_FOLDERS) {
        watch_list_unref(list);
        return -1;
    }
    struct watch *watch = watch_of(rt);
    watch->used = true;
    watch->mode = rt->no_watch ? WATCH_OFF : mode;
    if (watch_list_equal(list, watch->list)) {
        watch_list_unref(list);
    } else {
        replace_list(watch, list);
    }
    if (watch->mode != WATCH_EVENTS) { close_folders(watch); }
    look_if_awaited(watch);
    return 0;
}

watch_mode_t watch_mode(const rt_t *rt) { return rt->watch->mode; }

void watch_ack(rt_t *rt) {
    struct watch *watch = watch_of(rt);
    for (uint32_t i = 0; i < watch->list->path_count; i++) {
        watch->prints[PRINTS_READ][i] = watch->prints[PRINTS_TOLD][i];
    }
    watch->asked_read = watch->asked_told;
}

bool watch_ask(rt_t *rt, const char *reason) {
    struct watch *watch = watch_of(rt);
    watch->asked++;
    (void)snprintf(watch->reason, sizeof watch->reason, "%s", reason);
    if (watch->waiter != NULL) { look(watch); }
    return watch->used;
}

uint64_t watch_looks(const rt_t *rt) { return rt->watch != NULL ? rt->watch->scans : 0; }

void watch_fini(rt_t *rt) {
    struct watch *watch = rt->watch;
    rt->watch = NULL;
    if (watch == NULL) { return; }
    if (watch->scan != NULL) { watch_scan_forget(watch->scan); }
    close_folders(watch);
    free(watch->folders);
    for (int i = 0; i < PRINTS_COUNT; i++) {
        free(watch->prints[i]);
    }
    watch_list_unref(watch->list);
    free(watch);
}

/* ---- next ------------------------------------------------------------------------------------ */

static void next_begin(job_t *job) {
    struct watch *watch = watch_of(job->rt);
    watch->used = true;
    if (watch->waiter != NULL) {
        job_end(job);
        return;
    }
    watch->waiter = (watch_next_t *)job;
    if (watch->mode != WATCH_OFF || watch->asked != watch->asked_read) { look(watch); }
}

static void next_stop(job_t *job) {
    job->rt->watch->waiter = NULL;
    job_end(job);
}

static void next_due(rt_t *rt, op_t *op) {
    (void)op;
    look(rt->watch);
}

/* Takes what it tells as told, and pushes it. The list may be another one by now. */
static bool next_result(job_t *job, lua_State *L) {
    watch_next_t *next = (watch_next_t *)job;
    struct watch *watch = job->rt->watch;
    if (next->list == NULL) {
        job_push_error(L, "busy", "watch.next: another one waits already");
        return false;
    }
    free(watch->prints[PRINTS_BEFORE]);
    watch->prints[PRINTS_BEFORE] = watch->prints[PRINTS_TOLD];
    watch->prints[PRINTS_TOLD] = watch_list_carry(watch->list, next->list, next->prints);
    watch->asked_before = watch->asked_told;
    watch->asked_told = next->asked;
    lua_createtable(L, 0, 2);
    lua_pushstring(L, next->reason);
    lua_setfield(L, -2, "reason");
    lua_newtable(L);
    for (uint32_t i = 0, count = 0; i < watch->list->path_count; i++) {
        const watch_print_t *told = &watch->prints[PRINTS_TOLD][i];
        const watch_print_t *read = &watch->prints[PRINTS_READ][i];
        if (same_prints(told, read, 1) || same_prints(told, &UNREAD, 1)) { continue; }
        lua_pushstring(L, watch->list->paths[i]);
        lua_rawseti(L, -2, (int)++count);
    }
    lua_setfield(L, -2, "paths");
    return true;
}

/* Somebody else won the race: what it told was not heard. */
static void next_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    struct watch *watch = rt->watch;
    (void)op;
    (void)L;
    (void)first;
    watch_print_t *told = watch->prints[PRINTS_TOLD];
    watch->prints[PRINTS_TOLD] = watch->prints[PRINTS_BEFORE];
    watch->prints[PRINTS_BEFORE] = told;
    watch->asked_told = watch->asked_before;
}

static void next_destroy(job_t *job) {
    watch_next_t *next = (watch_next_t *)job;
    watch_list_unref(next->list);
    free(next->prints);
}

/* ---- unchanged ------------------------------------------------------------------------------- */

static void check_begin(job_t *job) {
    watch_check_t *check = (watch_check_t *)job;
    struct watch *watch = watch_of(job->rt);
    check->scan = watch->scans + 1; /* one under way may have looked already */
    check->next = watch->checks;
    watch->checks = check;
    look(watch);
}

static void check_stop(job_t *job) {
    watch_check_t **link = &job->rt->watch->checks;
    while (*link != (watch_check_t *)job) {
        link = &(*link)->next;
    }
    *link = (*link)->next;
    job_end(job);
}

static bool check_result(job_t *job, lua_State *L) {
    lua_pushboolean(L, ((watch_check_t *)job)->unchanged);
    return true;
}

static void check_destroy(job_t *job) { (void)job; }

const job_type_t WATCH_NEXT_TYPE = {
    {"save or reload", job_op_start, job_op_abort, next_undo, next_due, NULL},
    JOB_WATCH,
    JOB_MAX_ACTIVE,
    false,
    next_begin,
    next_stop,
    NULL,
    next_result,
    next_destroy};

const job_type_t WATCH_CHECK_TYPE = {
    {"look at files", job_op_start, job_op_abort, NULL, NULL, NULL},
    JOB_WATCH,
    JOB_MAX_ACTIVE,
    false,
    check_begin,
    check_stop,
    NULL,
    check_result,
    check_destroy};
