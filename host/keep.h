/* What must outlive a VM: values that scripts persist, and the files of the cell as they were read.
 * Names and bytes, held in C, bounded.
 *
 * A persisted value is part of its batch: it is recorded, sealed with the batch, and written when
 * the batch was accepted. Host thread. */
#ifndef KEEP_H
#define KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ecs/ecs.h"

/* KEEP_MAX_BYTES: all names and values together, when a script records another. KEEP_MAX_PENDING:
 * twice what scripts may record in a round, for each value goes with the name of its writer. */
enum { KEEP_MAX_BYTES = 64 << 20, KEEP_NAME_BYTES = 4200, KEEP_MAX_PENDING = 8192 };

typedef struct {
    char *name, *bytes;
    size_t count;
} keep_item_t;

/* Recorded, not written yet. */
typedef struct {
    keep_item_t item;
    uint32_t batch; /* place among the sealed ones; KEEP_OPEN: of the open one */
} keep_pending_t;

typedef struct {
    keep_item_t *items; /* sorted by name */
    uint32_t item_count, item_capacity;
    keep_pending_t *pending;
    uint32_t pending_count, pending_capacity;
    size_t used_bytes; /* of items and of what is pending */
} keep_t;

void keep_init(keep_t *keep);
/* Accepts a zeroed one. */
void keep_fini(keep_t *keep);
/* The value of a name, or NULL. Good until the name is written again. */
const keep_item_t *keep_find(const keep_t *keep, const char *name);
/* Writes at once, for the host: bounded by the scene. False for a name that is too long. */
bool keep_put(keep_t *keep, const char *name, const char *bytes, size_t count);
/* Forgets a name; unknown ones are ignored. */
void keep_remove(keep_t *keep, const char *name);
/* Records for the open batch. False at a limit. */
bool keep_record(keep_t *keep, const char *name, const char *bytes, size_t count);
/* The open batch is sealed as the batch number `batch` of the next apply, or forgotten down to
 * what was pending_count once. */
void keep_seal(keep_t *keep, uint32_t batch);
void keep_drop(keep_t *keep, uint32_t pending_count);
/* After an apply: writes what belongs to batches that were accepted. */
void keep_commit(keep_t *keep, const ecs_batch_result_t *results, uint32_t count);

#endif
