#include "keep.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define KEEP_OPEN 0xffffffffu /* batch of what the open batch has recorded */

void keep_init(keep_t *keep) { *keep = (keep_t){0}; }

static size_t size_of(const keep_item_t *item) { return strlen(item->name) + item->count; }

static void item_fini(keep_t *keep, keep_item_t *item) {
    keep->used_bytes -= size_of(item);
    free(item->name);
    free(item->bytes);
}

void keep_fini(keep_t *keep) {
    for (uint32_t i = 0; i < keep->item_count; i++) {
        item_fini(keep, &keep->items[i]);
    }
    for (uint32_t i = 0; i < keep->pending_count; i++) {
        item_fini(keep, &keep->pending[i].item);
    }
    free(keep->items);
    free(keep->pending);
    *keep = (keep_t){0};
}

/* Place of the name, or where it would stand. */
static uint32_t place_of(const keep_t *keep, const char *name, bool *found) {
    uint32_t low = 0, high = keep->item_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (strcmp(keep->items[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < keep->item_count && strcmp(keep->items[low].name, name) == 0;
    return low;
}

const keep_item_t *keep_find(const keep_t *keep, const char *name) {
    bool found = false;
    uint32_t at = place_of(keep, name, &found);
    return found ? &keep->items[at] : NULL;
}

static bool item_init(keep_t *keep, keep_item_t *item, const char *name, const char *bytes,
                      size_t count) {
    size_t length = strlen(name);
    if (length >= KEEP_NAME_BYTES) { return false; }
    *item = (keep_item_t){strdup(name), malloc(count + 1), count};
    memory_must(item->name);
    memory_must(item->bytes);
    memcpy(item->bytes, bytes, count);
    item->bytes[count] = '\0';
    keep->used_bytes += length + count;
    return true;
}

static void *room(void *array, uint32_t count, uint32_t *capacity, size_t item_bytes) {
    if (count < *capacity) { return array; }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = realloc(array, *capacity * item_bytes);
    memory_must(grown);
    return grown;
}

/* Takes the item over. */
static void write_item(keep_t *keep, const keep_item_t *item) {
    bool found = false;
    uint32_t at = place_of(keep, item->name, &found);
    if (found) {
        item_fini(keep, &keep->items[at]);
    } else {
        keep->items =
            room(keep->items, keep->item_count, &keep->item_capacity, sizeof *keep->items);
        memmove(&keep->items[at + 1], &keep->items[at],
                (keep->item_count - at) * sizeof *keep->items);
        keep->item_count++;
    }
    keep->items[at] = *item;
}

bool keep_put(keep_t *keep, const char *name, const char *bytes, size_t count) {
    keep_item_t item;
    if (!item_init(keep, &item, name, bytes, count)) { return false; }
    write_item(keep, &item);
    return true;
}

void keep_remove(keep_t *keep, const char *name) {
    bool found = false;
    uint32_t at = place_of(keep, name, &found);
    if (!found) { return; }
    item_fini(keep, &keep->items[at]);
    keep->item_count--;
    memmove(&keep->items[at], &keep->items[at + 1], (keep->item_count - at) * sizeof *keep->items);
}

bool keep_record(keep_t *keep, const char *name, const char *bytes, size_t count) {
    keep_item_t item;
    bool full = keep->pending_count == KEEP_MAX_PENDING ||
                keep->used_bytes + strlen(name) + count > KEEP_MAX_BYTES;
    if (full || !item_init(keep, &item, name, bytes, count)) { return false; }
    keep->pending =
        room(keep->pending, keep->pending_count, &keep->pending_capacity, sizeof *keep->pending);
    keep->pending[keep->pending_count++] = (keep_pending_t){.item = item, .batch = KEEP_OPEN};
    return true;
}

void keep_seal(keep_t *keep, uint32_t batch) {
    for (uint32_t i = keep->pending_count; i-- > 0 && keep->pending[i].batch == KEEP_OPEN;) {
        keep->pending[i].batch = batch;
    }
}

void keep_drop(keep_t *keep, uint32_t pending_count) {
    while (keep->pending_count > pending_count) {
        keep_pending_t *last = &keep->pending[keep->pending_count - 1];
        if (last->batch != KEEP_OPEN) { return; }
        item_fini(keep, &last->item);
        keep->pending_count--;
    }
}

void keep_commit(keep_t *keep, const ecs_batch_result_t *results, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < keep->pending_count; i++) {
        keep_pending_t *pending = &keep->pending[i];
        if (pending->batch == KEEP_OPEN) {
            keep->pending[kept++] = *pending;
        } else if (pending->batch >= count || results[pending->batch].error == ECS_OK) {
            write_item(keep, &pending->item);
        } else {
            item_fini(keep, &pending->item);
        }
    }
    keep->pending_count = kept;
}
