/* Notices that files were saved, and that somebody asks for a reload: what a reload stands on.
 *
 *   fs event ─┐                      ┌ not what was read, or asked for: again after `settle`
 *   poll ─────┼─▶ scan on the pool ─▶┤ the same twice, `settle` apart: `next` settles
 *   asked ────┘   (watch_scan.h)     └ nothing new: again after `poll`
 *
 * The truth is always a scan of all paths; events of the file system only say when to look. A
 * change is told when two scans at least WATCH_SETTLE_NS apart saw the same, and it is not what was
 * acknowledged: bursts, half-written files and files saved a moment apart come as one change. It
 * also makes what was seen trustworthy: a save after it gets another ctime, however coarse the file
 * system's clock is (under virtual time, where `settle` is no real time, only another size, inode
 * or tick of that clock does).
 *
 * For Lua, `stator.core.watch`:
 *
 *   set(paths, mode)  replaces the list and answers the mode in force: "events" (when left out),
 *                     "poll" (no events), or "off" (only asking wakes; always with --no-watch).
 *                     Paths need not be there. Those that were in the list before keep what was
 *                     acknowledged of them. New ones are *unread*: `next` tells of them once,
 *                     whatever is there, so that what was read before they were watched is compared
 *                     with what is there now. That closes the time between the two; the caller
 *                     knows by the contents whether anything changed.
 *   next()            operation: { reason = "saved" or what was asked with, paths = { sorted } },
 *                     all paths that differ from what was acknowledged, maybe none when it was
 *                     asked for. It takes nothing away: without `ack` the next one tells the same
 *                     again. One at a time (code "busy").
 *   unchanged()       operation: looks now, and answers whether every path is as the last `next`
 *                     told it. False also when a path has come into the list since.
 *   ack()             what the last `next` told is taken care of, well or badly.
 *   ask(reason)       wakes `next`, now or when it is called, until that is acknowledged; of
 *                     several the last reason counts. SIGHUP asks with "SIGHUP".
 *
 * So nothing is lost, and two saves are never mixed:
 *
 *   repeat
 *     local change = await(watch.next())
 *     local texts = read_all()               -- and compile them, in a worker
 *   until await(watch.unchanged())           -- else a file was saved meanwhile: once more
 *   watch.ack()                              -- a save from here on is told by the following `next`
 *
 * When reading finds paths that are not in the list, `set` comes before `unchanged`, which is false
 * then: the second time round all are read as they were looked at.
 *
 * Looks happen only while somebody waits in `next` or `unchanged`. List, prints and what was asked
 * for live here and outlive the VM; operations go with it. Times are the host's clock. A link is
 * followed, and what it leads to is seen by polling. More than WATCH_MAX_PATHS or WATCH_MAX_FOLDERS
 * are an error, code "limit", and leave the list as it was. Thread: the host's. */
#ifndef WATCH_H
#define WATCH_H

#include "job.h"
#include "watch_scan.h"

#define WATCH_SETTLE_NS ((uint64_t)100000000)
/* between two looks: while events come, and without */
#define WATCH_POLL_NS ((uint64_t)1000000000)
#define WATCH_BLIND_POLL_NS ((uint64_t)250000000)
/* a file that has not come to rest for so long is told in the log */
#define WATCH_RESTLESS_NS ((uint64_t)10000000000)
enum {
    WATCH_MAX_PATHS = 4096,
    WATCH_MAX_FOLDERS = 256,
    WATCH_PATH_BYTES = 4096,
    WATCH_REASON_BYTES = 64
};

typedef enum { WATCH_EVENTS, WATCH_POLL, WATCH_OFF } watch_mode_t;

/* The jobs behind `next` and `unchanged`; api_watch.c makes them. */
typedef struct {
    job_t job;
    watch_list_t *list; /* that it tells of; NULL: another one waits already */
    watch_print_t *prints;
    uint64_t asked;
    char reason[WATCH_REASON_BYTES];
} watch_next_t;

typedef struct watch_check {
    job_t job;
    struct watch_check *next;
    uint64_t scan; /* the first one that is late enough */
    bool unchanged;
} watch_check_t;

extern const job_type_t WATCH_NEXT_TYPE, WATCH_CHECK_TYPE;

/* 0, or -1 when there are too many folders. With rt->no_watch the mode is WATCH_OFF. */
int watch_set(rt_t *rt, const char *const *paths, uint32_t count, watch_mode_t mode);
watch_mode_t watch_mode(const rt_t *rt);
void watch_ack(rt_t *rt);
/* From a step or a callback of libuv. A longer reason is cut. Answers whether somebody has ever set
 * a list or waited: else nobody is there to hear it. */
bool watch_ask(rt_t *rt, const char *reason);
/* How many looks have begun. */
uint64_t watch_looks(const rt_t *rt);
/* Closes all. The loop has to run after that. */
void watch_fini(rt_t *rt);

#endif
