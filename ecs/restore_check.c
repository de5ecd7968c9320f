/* Reads a snapshot that may be damaged or hostile, and changes nothing: whatever it says is held
 * against its own other parts and against the world's schema. */
#include <stdlib.h>

#include "snapshot.h"

enum { SLOT_UNKNOWN, SLOT_FREE, SLOT_ALIVE };
enum { IN_TREE = 0x80, ON_PATH = 0x40, WALKED = 0x20, IN_SPARSE = 0x10, STATE_MASK = 0x0f };
enum { NODE_HEAD_BYTES = 12, FIRST_ROWS = 16, ALIGN = 8 };

int ecs__restore_refuse(const ecs__restore_t *restore, int error, const char *format, ...) {
    char text[224];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ecs__fail(restore->world, error, "snapshot: %s", text);
}

const char *ecs__part_take(ecs__part_t *part, uint64_t bytes) {
    if ((uint64_t)(part->end - part->at) < bytes) { return NULL; }
    const char *taken = part->at;
    part->at += bytes;
    return taken;
}

static int too_short(const ecs__restore_t *restore, const ecs__part_t *part) {
    return ecs__restore_refuse(restore, ECS_E_INVALID, "section %s ends too early", part->name);
}

static int check_end(const ecs__restore_t *restore, const ecs__part_t *part) {
    bool zero = part->end - part->at < ALIGN;
    for (const char *at = part->at; zero && at < part->end; at++) {
        zero = *at == 0;
    }
    if (zero) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_INVALID, "section %s has more than it says",
                               part->name);
}

/* ---- frame ---------------------------------------------------------------------------------- */

static int check_head(const ecs__restore_t *restore, const char *bytes, size_t length) {
    const size_t magic = sizeof ECS__SNAPSHOT_MAGIC - 1;
    if (length < ECS__SNAPSHOT_HEAD_BYTES || memcmp(bytes, ECS__SNAPSHOT_MAGIC, magic) != 0) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "these bytes are none");
    }
    if (ecs__u32_at(bytes, 2) != ECS__SNAPSHOT_VERSION) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "version %u; this reads version %d",
                                   ecs__u32_at(bytes, 2), (int)ECS__SNAPSHOT_VERSION);
    }
    if (ecs__u64_at(bytes, 3) != ecs__checksum(bytes, 3 * sizeof(uint64_t))) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "checksum of the head");
    }
    if (ecs__u64_at(bytes, 2) != length) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "%zu bytes; its head says %llu", length,
                                   (unsigned long long)ecs__u64_at(bytes, 2));
    }
    if (ecs__u32_at(bytes, 3) != ECS__SECTION_COUNT) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "%u sections; version %d has %d",
                                   ecs__u32_at(bytes, 3), (int)ECS__SNAPSHOT_VERSION,
                                   (int)ECS__SECTION_COUNT);
    }
    return ECS_OK;
}

static int check_section(ecs__restore_t *restore, ecs__part_t *whole, uint32_t section) {
    const char *name = ECS__SECTION_TAGS[section];
    const char *head = ecs__part_take(whole, ECS__SECTION_HEAD_BYTES);
    if (head == NULL || memcmp(head, name, ECS__SECTION_TAG_BYTES) != 0) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "no section %s where it belongs", name);
    }
    uint64_t bytes = ecs__u64_at(head, 1);
    const char *content = ecs__part_take(whole, bytes);
    const char *sum = ecs__part_take(whole, ECS__CHECKSUM_BYTES);
    if (content == NULL || sum == NULL) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "section %s is longer than the file",
                                   name);
    }
    if (ecs__checksum(head, ECS__SECTION_HEAD_BYTES + (size_t)bytes) != ecs__u64_at(sum, 0)) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "checksum of section %s", name);
    }
    restore->sections[section] = (ecs__part_t){content, content + bytes, name};
    return ECS_OK;
}

static int check_frame(ecs__restore_t *restore, const char *bytes, size_t length) {
    int rc = check_head(restore, bytes, length);
    if (rc != ECS_OK) { return rc; }
    ecs__part_t whole = {bytes + ECS__SNAPSHOT_HEAD_BYTES, bytes + length, "whole"};
    for (uint32_t i = 0; rc == ECS_OK && i < ECS__SECTION_COUNT; i++) {
        rc = check_section(restore, &whole, i);
    }
    if (rc != ECS_OK || whole.at == whole.end) { return rc; }
    return ecs__restore_refuse(restore, ECS_E_INVALID, "bytes after the last section");
}

/* ---- slots ---------------------------------------------------------------------------------- */

static int check_free_list(const ecs__restore_t *restore) {
    for (uint32_t i = 0; i < restore->free_count; i++) {
        uint32_t slot = ecs__u32_at(restore->free_list, i);
        if (slot >= restore->slot_count || restore->states[slot] != SLOT_UNKNOWN) {
            return ecs__restore_refuse(restore, ECS_E_INVALID, "free list: slot %u %s", slot,
                                       slot >= restore->slot_count ? "does not exist" : "twice");
        }
        restore->states[slot] = SLOT_FREE;
    }
    return ECS_OK;
}

static int check_slots(ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_SLOTS];
    const char *head = ecs__part_take(&part, 24);
    if (head == NULL) { return too_short(restore, &part); }
    restore->tick = ecs__u64_at(head, 0);
    restore->slot_count = ecs__u32_at(head, 2);
    restore->free_count = ecs__u32_at(head, 3);
    restore->retired_count = ecs__u32_at(head, 4);
    if (restore->tick == 0 || restore->tick > INT64_MAX) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "change tick %llu is none",
                                   (unsigned long long)restore->tick);
    }
    if (restore->slot_count > (uint32_t)ECS__MAX_PAGES * ECS__PAGE_ROWS) {
        return ecs__restore_refuse(restore, ECS_E_LIMIT, "%u slots", restore->slot_count);
    }
    restore->generations = ecs__part_take(&part, restore->slot_count * sizeof(uint32_t));
    restore->free_list = ecs__part_take(&part, restore->free_count * sizeof(uint32_t));
    if (restore->generations == NULL || restore->free_list == NULL) {
        return too_short(restore, &part);
    }
    restore->states = ecs__calloc(restore->slot_count, 1);
    if (restore->states == NULL) { return ecs__oom(restore->world); }
    for (uint32_t i = 0; i < restore->slot_count; i++) {
        uint32_t generation = ecs__u32_at(restore->generations, i);
        if (generation == 0 || generation > ECS__MAX_GENERATION) {
            return ecs__restore_refuse(restore, ECS_E_INVALID, "slot %u: generation %u is none", i,
                                       generation);
        }
    }
    int rc = check_free_list(restore);
    return rc == ECS_OK ? check_end(restore, &part) : rc;
}

/* ---- archetypes ----------------------------------------------------------------------------- */

/* Counts columns and rows of a chunk from the component list. */
static int check_list(const ecs__restore_t *restore, uint32_t index, ecs__restore_archetype_t *a) {
    uint32_t row_bytes = sizeof(ecs_id_t);
    for (uint32_t i = 0; i < a->component_count; i++) {
        uint32_t at = ecs__u32_at(a->components, i);
        if (at >= restore->component_count || (i > 0 && at <= ecs__u32_at(a->components, i - 1))) {
            return ecs__restore_refuse(restore, ECS_E_INVALID,
                                       "archetype %u: component %u does not exist or is not in "
                                       "order",
                                       index, at);
        }
        const ecs__component_t *known = &restore->world->components[restore->components[at]];
        if (known->sparse != NULL) {
            return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                                       "component \"%s\" is sparse in this world", known->name);
        }
        uint32_t size = known->size_bytes;
        row_bytes += size;
        a->column_count += size > 0;
    }
    a->chunk_rows = ecs__chunk_rows(restore->world, row_bytes);
    if ((index == 0) == (a->component_count == 0)) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_INVALID,
                               "archetype %u: only the first one, and it "
                               "always, has no components",
                               index);
}

/* Chunks as ecs__row_add and ecs__row_remove leave them. */
static int check_shape(const ecs__restore_t *restore, uint32_t index,
                       const ecs__restore_archetype_t *a) {
    uint32_t needed = a->row_count / a->chunk_rows + (a->row_count % a->chunk_rows != 0);
    uint32_t first = a->first_capacity;
    uint32_t low = a->chunk_rows < FIRST_ROWS ? a->chunk_rows : FIRST_ROWS;
    bool ok = a->row_count <= restore->slot_count &&
              (a->chunk_count == needed || a->chunk_count == needed + 1);
    if (a->chunk_count == 0) {
        ok = ok && first == 0;
    } else {
        ok = ok && first >= low && first <= a->chunk_rows && (first & (first - 1)) == 0;
        ok = ok && (a->chunk_count > 1 ? first == a->chunk_rows : first >= a->row_count);
    }
    if (ok) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_INVALID,
                               "archetype %u: %u rows do not lie in %u chunks of %u, the first for "
                               "%u",
                               index, a->row_count, a->chunk_count, a->chunk_rows, first);
}

static int check_archetype(ecs__restore_t *restore, ecs__part_t *part, uint32_t index) {
    const char *head = ecs__part_take(part, 4 * sizeof(uint32_t));
    if (head == NULL) { return too_short(restore, part); }
    ecs__restore_archetype_t *a = &restore->archetypes[index];
    a->component_count = ecs__u32_at(head, 0);
    a->row_count = ecs__u32_at(head, 1);
    a->chunk_count = ecs__u32_at(head, 2);
    a->first_capacity = ecs__u32_at(head, 3);
    a->components = ecs__part_take(part, a->component_count * sizeof(uint32_t));
    if (a->components == NULL) { return too_short(restore, part); }
    int rc = check_list(restore, index, a);
    return rc == ECS_OK ? check_shape(restore, index, a) : rc;
}

static int check_archetypes(ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_ARCHETYPES];
    const char *head = ecs__part_take(&part, 2 * sizeof(uint32_t));
    if (head == NULL) { return too_short(restore, &part); }
    if (ecs__u32_at(head, 0) != restore->world->max_chunk_rows) {
        return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                                   "chunks of %u rows; this world has chunks of %u",
                                   ecs__u32_at(head, 0), restore->world->max_chunk_rows);
    }
    uint32_t count = ecs__u32_at(head, 1);
    if (count == 0 || count > ECS__SNAPSHOT_MAX_ARCHETYPES) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "%u archetypes; expected 1 to %d", count,
                                   (int)ECS__SNAPSHOT_MAX_ARCHETYPES);
    }
    restore->archetypes = ecs__calloc(count, sizeof *restore->archetypes);
    if (restore->archetypes == NULL) { return ecs__oom(restore->world); }
    restore->archetype_count = count;
    int rc = ECS_OK;
    uint64_t slots = (uint64_t)restore->free_count + restore->retired_count;
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        rc = check_archetype(restore, &part, i);
        slots += restore->archetypes[i].row_count;
    }
    if (rc == ECS_OK && slots != restore->slot_count) {
        rc = ecs__restore_refuse(restore, ECS_E_INVALID,
                                 "%u slots, but rows, free and retired ones are %llu",
                                 restore->slot_count, (unsigned long long)slots);
    }
    return rc == ECS_OK ? check_end(restore, &part) : rc;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static int check_id(const ecs__restore_t *restore, ecs_id_t id) {
    if (!(id >= 4294967296.0 && id < 4503599627370496.0) || id != (ecs_id_t)(uint64_t)id) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "row of %.17g, which is no id", id);
    }
    uint32_t slot = ecs__index(id);
    if (slot >= restore->slot_count ||
        ecs__u32_at(restore->generations, slot) != ecs__generation(id)) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "row of id %.0f, which its slot has not",
                                   id);
    }
    if (restore->states[slot] != SLOT_UNKNOWN) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "row of id %.0f, which %s", id,
                                   restore->states[slot] == SLOT_FREE ? "is free" : "has a row");
    }
    restore->states[slot] = SLOT_ALIVE;
    return ECS_OK;
}

/* `changed` and `added` of the columns of a chunk. */
static int check_ticks(const ecs__restore_t *restore, ecs__part_t *part, uint32_t columns) {
    size_t ticks = 2 * (size_t)columns;
    const char *tick = ecs__part_take(part, ticks * sizeof(uint64_t));
    if (tick == NULL) { return too_short(restore, part); }
    for (size_t i = 0; i < ticks; i++) {
        if (ecs__u64_at(tick, i) > restore->tick) {
            return ecs__restore_refuse(restore, ECS_E_INVALID,
                                       "a chunk was changed after tick %llu",
                                       (unsigned long long)restore->tick);
        }
    }
    return ECS_OK;
}

static int check_chunk(const ecs__restore_t *restore, ecs__part_t *part,
                       const ecs__restore_archetype_t *a, uint32_t rows) {
    int rc = check_ticks(restore, part, a->column_count);
    const char *ids = ecs__part_take(part, rows * sizeof(ecs_id_t));
    if (rc != ECS_OK) { return rc; }
    if (ids == NULL) { return too_short(restore, part); }
    for (uint32_t i = 0; rc == ECS_OK && i < rows; i++) {
        ecs_id_t id;
        memcpy(&id, ids + i * sizeof id, sizeof id);
        rc = check_id(restore, id);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < a->component_count; i++) {
        uint32_t id = restore->components[ecs__u32_at(a->components, i)];
        size_t bytes = (size_t)rows * restore->world->components[id].size_bytes;
        if (ecs__part_take(part, ecs__align(bytes, ALIGN)) == NULL) {
            rc = too_short(restore, part);
        }
    }
    return rc;
}

static int check_rows(ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_ROWS];
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < restore->archetype_count; i++) {
        const ecs__restore_archetype_t *a = &restore->archetypes[i];
        uint32_t left = a->row_count;
        for (uint32_t k = 0; rc == ECS_OK && k < a->chunk_count; k++) {
            uint32_t rows = left < a->chunk_rows ? left : a->chunk_rows;
            rc = check_chunk(restore, &part, a, rows);
            left -= rows;
        }
    }
    return rc == ECS_OK ? check_end(restore, &part) : rc;
}

/* ---- sparse --------------------------------------------------------------------------------- */

static bool is_alive(const ecs__restore_t *restore, uint32_t slot) {
    return slot < restore->slot_count && (restore->states[slot] & STATE_MASK) == SLOT_ALIVE;
}

/* A row of a sparse component: of an entity that is there, and has no other. */
static int check_sparse_id(const ecs__restore_t *restore, ecs_id_t id) {
    bool is_id = id >= 4294967296.0 && id < 4503599627370496.0 && id == (ecs_id_t)(uint64_t)id;
    uint32_t slot = is_id ? ecs__index(id) : 0;
    bool alive = is_id && is_alive(restore, slot) &&
                 ecs__u32_at(restore->generations, slot) == ecs__generation(id);
    if (alive && (restore->states[slot] & IN_SPARSE) == 0) {
        restore->states[slot] |= IN_SPARSE;
        return ECS_OK;
    }
    return ecs__restore_refuse(restore, ECS_E_INVALID, "sparse row of %.17g, which %s", id,
                               alive ? "has one" : "is no entity");
}

static int check_sparse_table(const ecs__restore_t *restore, ecs__part_t *part, uint32_t component,
                              uint32_t rows) {
    const ecs__archetype_t *table = restore->world->components[component].sparse->table;
    uint32_t size = restore->world->components[component].size_bytes;
    int rc = ECS_OK;
    for (uint32_t left = rows, part_rows = 0; rc == ECS_OK && left > 0; left -= part_rows) {
        part_rows = left < table->chunk_rows ? left : table->chunk_rows;
        rc = check_ticks(restore, part, table->column_count);
        const char *ids = ecs__part_take(part, part_rows * sizeof(ecs_id_t));
        uint64_t bytes = ecs__align((size_t)part_rows * size, ALIGN);
        if (rc == ECS_OK && (ids == NULL || ecs__part_take(part, bytes) == NULL)) {
            rc = too_short(restore, part);
        }
        for (uint32_t i = 0; rc == ECS_OK && i < part_rows; i++) {
            ecs_id_t id;
            memcpy(&id, ids + i * sizeof id, sizeof id);
            rc = check_sparse_id(restore, id);
        }
    }
    for (uint32_t i = 0; i < restore->slot_count; i++) {
        restore->states[i] &= (uint8_t)~IN_SPARSE;
    }
    return rc;
}

/* The same components are sparse in both, once each. */
static int check_sparse(const ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_SPARSE];
    const char *head = ecs__part_take(&part, 2 * sizeof(uint32_t));
    if (head == NULL) { return too_short(restore, &part); }
    uint32_t count = ecs__u32_at(head, 0), known = 0, last = ECS__NONE;
    int rc = ECS_OK;
    for (uint32_t i = 0; i < restore->component_count; i++) {
        known += restore->world->components[restore->components[i]].sparse != NULL;
    }
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        const char *table = ecs__part_take(&part, 2 * sizeof(uint32_t));
        if (table == NULL) { return too_short(restore, &part); }
        uint32_t at = ecs__u32_at(table, 0);
        bool in_order = at < restore->component_count && (last == ECS__NONE || at > last);
        last = at;
        uint32_t component = in_order ? restore->components[at] : 0;
        if (!in_order || restore->world->components[component].sparse == NULL) {
            return ecs__restore_refuse(restore, in_order ? ECS_E_CONFLICT : ECS_E_INVALID,
                                       in_order ? "component \"%s\" is sparse, not in this world"
                                                : "sparse component %s is not in order",
                                       ecs_component_name(restore->world, component));
        }
        rc = check_sparse_table(restore, &part, component, ecs__u32_at(table, 1));
    }
    if (rc == ECS_OK && count != known) {
        rc = ecs__restore_refuse(restore, ECS_E_CONFLICT,
                                 "%u sparse components, in this world %u of them", count, known);
    }
    return rc == ECS_OK ? check_end(restore, &part) : rc;
}

/* ---- tree ----------------------------------------------------------------------------------- */

static int check_node(ecs__restore_t *restore, ecs__part_t *part) {
    const char *head = ecs__part_take(part, NODE_HEAD_BYTES);
    if (head == NULL) { return too_short(restore, part); }
    uint32_t slot = ecs__u32_at(head, 0), parent = ecs__u32_at(head, 1);
    uint32_t length = ecs__u32_at(head, 2);
    const char *name = ecs__part_take(part, length);
    if (name == NULL) { return too_short(restore, part); }
    if (!is_alive(restore, slot) || (parent != 0 && !is_alive(restore, parent - 1))) {
        return ecs__restore_refuse(restore, ECS_E_INVALID,
                                   "tree: slot %u or its parent's has no entity", slot);
    }
    if ((restore->states[slot] & IN_TREE) != 0 || (parent == 0 && length == 0)) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "tree: slot %u is there %s", slot,
                                   parent == 0 && length == 0 ? "without reason" : "twice");
    }
    if (length >= ECS_NAME_BYTES || memchr(name, 0, length) != NULL ||
        memchr(name, '/', length) != NULL) {
        return ecs__restore_refuse(restore, ECS_E_INVALID,
                                   "tree: slot %u: an entity's name has at most %d bytes and no "
                                   "'/'",
                                   slot, ECS_NAME_BYTES - 1);
    }
    restore->states[slot] |= IN_TREE;
    restore->parents[slot] = parent;
    return ECS_OK;
}

/* Walks up from a slot to what was walked before; false when it comes back to itself. */
static bool leads_up(ecs__restore_t *restore, uint32_t slot) {
    uint32_t at = slot + 1;
    for (; at != 0 && (restore->states[at - 1] & (WALKED | ON_PATH)) == 0;
         at = restore->parents[at - 1]) {
        restore->states[at - 1] |= ON_PATH;
    }
    if (at != 0 && (restore->states[at - 1] & ON_PATH) != 0) { return false; }
    for (at = slot + 1; at != 0 && (restore->states[at - 1] & ON_PATH) != 0;
         at = restore->parents[at - 1]) {
        restore->states[at - 1] ^= ON_PATH | WALKED;
    }
    return true;
}

static int check_tree(ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_TREE];
    const char *head = ecs__part_take(&part, 2 * sizeof(uint32_t));
    if (head == NULL) { return too_short(restore, &part); }
    restore->parents = ecs__calloc(restore->slot_count, sizeof(uint32_t));
    if (restore->parents == NULL) { return ecs__oom(restore->world); }
    int rc = ECS_OK;
    for (uint32_t left = ecs__u32_at(head, 0); rc == ECS_OK && left > 0; left--) {
        rc = check_node(restore, &part);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < restore->slot_count; i++) {
        if (!leads_up(restore, i)) {
            rc = ecs__restore_refuse(restore, ECS_E_INVALID, "tree: slot %u is below itself", i);
        }
    }
    return rc == ECS_OK ? check_end(restore, &part) : rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

int ecs__restore_check(ecs__restore_t *restore, const void *bytes, size_t length) {
    int rc = check_frame(restore, bytes, length);
    if (rc == ECS_OK) { rc = ecs__restore_check_schema(restore); }
    if (rc == ECS_OK) { rc = check_slots(restore); }
    if (rc == ECS_OK) { rc = check_archetypes(restore); }
    if (rc == ECS_OK) { rc = check_rows(restore); }
    if (rc == ECS_OK) { rc = check_sparse(restore); }
    if (rc == ECS_OK) { rc = check_tree(restore); }
    return rc;
}

void ecs__restore_fini(ecs__restore_t *restore) {
    free(restore->enums);
    free(restore->components);
    free(restore->states);
    free(restore->parents);
    free(restore->archetypes);
}
