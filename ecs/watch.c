/* Watches: conditions on one entity that are tested in C, after an apply or a writer, for those
 * components that entities got, lost or had written. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- watches -------------------------------------------------------------------------------- */

static bool holds(const ecs_world_t *world, const ecs_watch_desc_t *d) {
    if (!ecs_has(world, d->id, d->component)) { return false; }
    const char *value = d->field_count > 0 ? ecs__cell_read(world, d->id, d->component) : NULL;
    for (uint32_t i = 0; i < d->field_count; i++) {
        const ecs_field_t *field = &world->components[d->component].fields[d->field[i]];
        if (ecs__number_load(field->type, value + field->offset_bytes) != d->value[i]) {
            return false;
        }
    }
    return true;
}

/* The bytes that a CHANGED watch compares. */
static const char *watched_bytes(const ecs_world_t *world, const ecs_watch_desc_t *d,
                                 size_t *bytes) {
    const char *value = ecs__cell_read(world, d->id, d->component);
    const ecs__component_t *component = &world->components[d->component];
    *bytes = d->field_count > 0 ? component->fields[d->field[0]].size_bytes : component->size_bytes;
    return value == NULL
               ? NULL
               : value + (d->field_count > 0 ? component->fields[d->field[0]].offset_bytes : 0);
}

static bool count_holds(const ecs_watch_desc_t *d) {
    double count = ecs_query_count(d->query);
    return (count >= d->value[0] && count <= d->value[1]) == (d->value[2] == 0);
}

static int check_desc(ecs_world_t *world, const ecs_watch_desc_t *d) {
    if (d->kind == ECS_WATCH_COUNT) {
        if (d->query != NULL && !ecs__query_known(world, d->query)) {
            return ecs__fail(world, ECS_E_UNKNOWN, "the query was released");
        }
        bool counts = d->query != NULL && d->field_count == 0 &&
                      d->query->desc.changed_count == 0 && d->query->desc.added_count == 0;
        return counts ? ECS_OK : ecs__fail(world, ECS_E_INVALID, "no query without a past");
    }
    if (d->kind > ECS_WATCH_COUNT || d->field_count > ECS_WATCH_MAX_CONDITIONS) {
        return ecs__fail(world, ECS_E_INVALID, "a condition names at most %d fields",
                         (int)ECS_WATCH_MAX_CONDITIONS);
    }
    bool named = d->kind != ECS_WATCH_DESPAWNED || d->field_count > 0;
    if (named && d->component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", d->component);
    }
    for (uint32_t i = 0; i < d->field_count; i++) {
        if (d->field[i] >= world->components[d->component].field_count) {
            return ecs__fail(world, ECS_E_UNKNOWN, "no field %u", d->field[i]);
        }
        const ecs_field_t *field = &world->components[d->component].fields[d->field[i]];
        if (d->kind != ECS_WATCH_CHANGED && field->type == ECS_TYPE_STRUCT) {
            return ecs__fail(world, ECS_E_INVALID, "%s is a struct: a condition compares numbers",
                             field->name);
        }
    }
    return ECS_OK;
}

/* An id that a recorded spawn has reserved is not gone: its entity may come to life. */
static bool is_gone(const ecs_world_t *world, ecs_id_t id) {
    return ecs__record_find(world, id) == NULL;
}

static bool state_now(const ecs_world_t *world, const ecs_watch_desc_t *d) {
    switch (d->kind) {
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_RISING:
    case ECS_WATCH_FALLING: return holds(world, d);
    case ECS_WATCH_NOT: return ecs_alive(world, d->id) && !holds(world, d);
    case ECS_WATCH_COUNT: return count_holds(d);
    case ECS_WATCH_DESPAWNED: return is_gone(world, d->id);
    default: return ecs_has(world, d->id, d->component);
    }
}

/* ---- the pool and its lists ------------------------------------------------------------------ */

static uint32_t *list_of(ecs_world_t *world, const ecs_watch_desc_t *d) {
    switch (d->kind) {
    case ECS_WATCH_DESPAWNED: return &world->despawn_watches;
    case ECS_WATCH_COUNT: return &world->count_watches;
    default: return &world->components[d->component].watches;
    }
}

/* A slot of the pool; 0 with the error noted. */
static uint32_t take_slot(ecs_world_t *world) {
    uint32_t link = world->watch_free;
    if (link != 0) {
        world->watch_free = world->watches[link - 1].next;
        return link;
    }
    if (world->watch_used == ECS__MAX_WATCHES) {
        (void)ecs__fail(world, ECS_E_LIMIT, "more than %d conditions are waited for",
                        (int)ECS__MAX_WATCHES);
        return 0;
    }
    uint32_t after = world->watch_used + 1; /* a poll needs room for all that may fire */
    if (!ECS__ROOM(world->watches, after, world->watch_capacity) ||
        !ECS__ROOM(world->fired, after, world->fired_capacity) ||
        !ECS__ROOM(world->watch_results, after, world->watch_result_capacity)) {
        (void)ecs__oom(world);
        return 0;
    }
    world->watches[world->watch_used++] = (ecs__watch_t){.generation = 1};
    return after;
}

static void link_watch(ecs_world_t *world, uint32_t link) {
    ecs__watch_t *watch = &world->watches[link - 1];
    uint32_t *first = list_of(world, &watch->desc);
    watch->prev = 0;
    watch->next = *first;
    if (*first != 0) { world->watches[*first - 1].prev = link; }
    *first = link;
    world->watch_count++;
}

static void free_watch(ecs_world_t *world, uint32_t link) {
    ecs__watch_t *watch = &world->watches[link - 1];
    if (watch->prev != 0) {
        world->watches[watch->prev - 1].next = watch->next;
    } else {
        *list_of(world, &watch->desc) = watch->next;
    }
    if (watch->next != 0) { world->watches[watch->next - 1].prev = watch->prev; }
    free(watch->copy);
    if (watch->desc.kind == ECS_WATCH_COUNT) { ecs__query_unwatched(world, watch->desc.query); }
    uint32_t generation = watch->generation % 4095 + 1;
    *watch = (ecs__watch_t){.generation = generation, .next = world->watch_free};
    world->watch_free = link;
    world->watch_count--;
}

/* Whether the state suffices, however long it has been so. */
static bool fires_at_once(uint32_t kind) {
    return kind == ECS_WATCH_LEVEL || kind == ECS_WATCH_NOT || kind == ECS_WATCH_COUNT ||
           kind == ECS_WATCH_DESPAWNED;
}

int ecs_watch_add(ecs_world_t *world, const ecs_watch_desc_t *desc, uint64_t owner, uint32_t *out,
                  bool *fired) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    *out = 0;
    *fired = false;
    int rc = check_desc(world, desc);
    if (rc != ECS_OK) { return rc; }
    bool now = state_now(world, desc);
    bool gone = desc->kind != ECS_WATCH_COUNT && is_gone(world, desc->id);
    *fired = (fires_at_once(desc->kind) && now) || (desc->kind == ECS_WATCH_REMOVED && gone);
    if (*fired) { return ECS_OK; }
    if (gone) { return ecs__fail(world, ECS_E_DEAD, "the entity is gone"); }
    size_t bytes = 0;
    const char *value = desc->kind == ECS_WATCH_CHANGED ? watched_bytes(world, desc, &bytes) : NULL;
    void *copy = value == NULL ? NULL : ecs__calloc(bytes, 1);
    if (value != NULL && copy == NULL) { return ecs__oom(world); }
    uint32_t link = take_slot(world);
    if (link == 0) {
        free(copy);
        return world->watch_used == ECS__MAX_WATCHES ? ECS_E_LIMIT : ECS_E_MEMORY;
    }
    if (value != NULL) { memcpy(copy, value, bytes); }
    if (desc->kind == ECS_WATCH_COUNT) { ecs__query_watched(world, desc->query); }
    ecs__watch_t *watch = &world->watches[link - 1];
    watch->desc = *desc;
    watch->id = link - 1 + watch->generation * ECS__MAX_WATCHES;
    watch->sequence = ++world->watch_sequence;
    watch->owner = owner;
    watch->last = now;
    watch->seen_tick = world->shared.tick; /* a writer may write once more in its tick */
    if (world->phase == ECS_PHASE_WRITE) { watch->seen_tick--; }
    watch->copy = copy;
    link_watch(world, link);
    *out = watch->id;
    return ECS_OK;
}

void ecs_watch_remove(ecs_world_t *world, uint32_t watch) {
    uint32_t index = watch % ECS__MAX_WATCHES;
    if (watch == 0 || index >= world->watch_used || world->watches[index].id != watch) { return; }
    free_watch(world, index + 1);
}

void ecs_readers_reset(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->watch_used; i++) {
        if (world->watches[i].id != 0) { free_watch(world, i + 1); }
    }
    ecs__cursors_reset(world);
    ecs__query_holders_reset(world);
    for (uint32_t room = 1; room <= world->room_used; room++) {
        ecs_room_close(world, room);
    }
}

void ecs__watch_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->watch_used; i++) {
        free(world->watches[i].copy);
    }
    free(world->watches);
    free(world->fired);
    free(world->watch_results);
}

uint32_t ecs_watch_count(const ecs_world_t *world) { return world->watch_count; }

/* ---- polling --------------------------------------------------------------------------------- */

/* Whether a query may match others than at a tick. One that names only what is to be absent matches
 * entities without components: their coming touches nothing. */
static bool count_may_have_changed(const ecs_world_t *world, const ecs_query_t *query,
                                   uint64_t tick) {
    const ecs_query_desc_t *d = &query->desc;
    const uint32_t *lists[] = {d->write, d->read, d->with, d->without};
    const uint32_t counts[] = {d->write_count, d->read_count, d->with_count, d->without_count};
    if (counts[0] + counts[1] + counts[2] == 0) { return true; }
    for (uint32_t k = 0; k < 4; k++) {
        for (uint32_t i = 0; i < counts[k]; i++) {
            if (world->components[lists[k][i]].touched > tick) { return true; }
        }
    }
    return false;
}

/* False when nothing can have changed for the watch since it was last tested. */
static bool may_have_changed(const ecs_world_t *world, const ecs__watch_t *watch) {
    if (watch->desc.kind == ECS_WATCH_COUNT) {
        return count_may_have_changed(world, watch->desc.query, watch->seen_tick);
    }
    const ecs__record_t *record = ecs__record_find(world, watch->desc.id);
    if (record == NULL || !ecs__record_alive(record)) { return true; }
    ecs__place_t place = ecs__place(world, watch->desc.id, watch->desc.component);
    if (place.slot == NULL || place.slot->column == ECS__NONE) { return true; }
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(place.table, place.row, &at);
    const ecs_stamp_t *stamp = &chunk->stamp[place.slot->column];
    return stamp->changed > watch->seen_tick || stamp->added > watch->seen_tick;
}

bool ecs__watch_same(const ecs_world_t *world, const ecs_watch_desc_t *d, const char *a,
                     const char *b) {
    const ecs__component_t *component = &world->components[d->component];
    if (d->field_count == 0) { return ecs__values_equal(component, a, b); }
    const ecs_field_t *field = &component->fields[d->field[0]];
    if (field->type != ECS_TYPE_STRUCT) { return memcmp(a, b, field->size_bytes) == 0; }
    const ecs__component_t *type = &world->structs[field->struct_id];
    for (uint32_t i = 0; i < field->count; i++, a += type->size_bytes, b += type->size_bytes) {
        if (!ecs__values_equal(type, a, b)) { return false; }
    }
    return true;
}

static bool fires(const ecs_world_t *world, ecs__watch_t *watch) {
    size_t bytes = 0;
    bool now = state_now(world, &watch->desc), before = watch->last;
    watch->last = now;
    switch (watch->desc.kind) {
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_NOT:
    case ECS_WATCH_COUNT:
    case ECS_WATCH_DESPAWNED: return now;
    case ECS_WATCH_RISING:
    case ECS_WATCH_ADDED: return now && !before;
    case ECS_WATCH_FALLING:
    case ECS_WATCH_REMOVED: return !now && before;
    default: break;
    }
    const char *value = watched_bytes(world, &watch->desc, &bytes);
    if (value == NULL || watch->copy == NULL) { return (value == NULL) != (watch->copy == NULL); }
    return !ecs__watch_same(world, &watch->desc, value, watch->copy);
}

/* Tests the watches of a list; those that fire leave it. */
static void poll_list(ecs_world_t *world, uint32_t link, uint32_t *fired_count) {
    while (link != 0) {
        ecs__watch_t *watch = &world->watches[link - 1];
        uint32_t next = watch->next;
        bool test = may_have_changed(world, watch);
        watch->seen_tick = world->shared.tick;
        bool fired = test && fires(world, watch);
        bool of_entity = watch->desc.kind != ECS_WATCH_COUNT;
        if (fired || (test && of_entity && is_gone(world, watch->desc.id))) {
            world->fired[(*fired_count)++] = (ecs__fired_t){
                watch->sequence, {watch->id, watch->owner, fired ? ECS_OK : ECS_E_DEAD}};
            free_watch(world, link);
        }
        link = next;
    }
}

static int by_sequence(const void *a, const void *b) {
    uint64_t x = ((const ecs__fired_t *)a)->sequence, y = ((const ecs__fired_t *)b)->sequence;
    return x < y ? -1 : x > y;
}

const ecs_watch_result_t *ecs_watch_poll(ecs_world_t *world, uint32_t *count) {
    uint32_t fired = 0;
    world->watch_result_count = *count = 0;
    if (!pthread_equal(world->owner, pthread_self())) { return world->watch_results; }
    bool deaths = world->id_freed;
    world->id_freed = false;
    for (uint32_t i = 0; i < world->component_count && world->watch_count > 0; i++) {
        const ecs__component_t *component = &world->components[i];
        if (deaths || component->touched > world->poll_tick) {
            poll_list(world, component->watches, &fired);
        }
    }
    if (deaths) { poll_list(world, world->despawn_watches, &fired); }
    poll_list(world, world->count_watches, &fired);
    if (fired > 1) { qsort(world->fired, fired, sizeof *world->fired, by_sequence); }
    for (uint32_t i = 0; i < fired; i++) {
        world->watch_results[i] = world->fired[i].result;
    }
    world->poll_tick = world->shared.tick;
    world->watch_result_count = *count = fired;
    return world->watch_results;
}
