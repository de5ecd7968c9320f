/* Events for observers, and watches: conditions on one entity that are tested in C. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int ecs_observe(ecs_world_t *world, uint32_t kind, uint32_t component) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (kind > ECS_EVENT_DESPAWNED) {
        return ecs__fail(world, ECS_E_INVALID, "no event kind %u", kind);
    }
    world->observed_kinds |= 1u << kind;
    if (kind == ECS_EVENT_DESPAWNED) { return ECS_OK; }
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    world->components[component].observed |= (uint8_t)(1u << kind);
    return ECS_OK;
}

void ecs__event(ecs_world_t *world, uint32_t kind, const ecs__touched_t *entry,
                uint32_t component) {
    bool wanted = component == ECS__NONE
                      ? (world->observed_kinds >> kind & 1u) != 0
                      : ((uint32_t)world->components[component].observed >> kind & 1u) != 0;
    if (!wanted) { return; }
    *ECS__PUSH(world->events, world->event_count, world->event_capacity) =
        (ecs_event_t){.id = entry->id, .component = component, .kind = kind, .owner = entry->owner};
}

const ecs_event_t *ecs_events(const ecs_world_t *world, uint32_t *count) {
    *count = world->event_count;
    return world->events;
}

void ecs__observe_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->watch_count; i++) {
        free(world->watches[i].copy);
    }
    free(world->watches);
    free(world->watch_results);
    free(world->events);
}

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

static int check_desc(ecs_world_t *world, const ecs_watch_desc_t *d) {
    if (d->kind > ECS_WATCH_DESPAWNED || d->field_count > ECS_WATCH_MAX_CONDITIONS) {
        return ecs__fail(world, ECS_E_INVALID, "a condition names at most %d fields",
                         (int)ECS_WATCH_MAX_CONDITIONS);
    }
    if (d->kind != ECS_WATCH_DESPAWNED && d->component >= world->component_count) {
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

static bool state_now(const ecs_world_t *world, const ecs_watch_desc_t *d) {
    switch (d->kind) {
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_RISING:
    case ECS_WATCH_FALLING: return holds(world, d);
    case ECS_WATCH_DESPAWNED: return !ecs_alive(world, d->id);
    default: return ecs_has(world, d->id, d->component);
    }
}

int ecs_watch_add(ecs_world_t *world, const ecs_watch_desc_t *desc, uint64_t owner, uint32_t *out,
                  bool *fired) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    *out = 0;
    *fired = false;
    int rc = check_desc(world, desc);
    if (rc != ECS_OK) { return rc; }
    bool now = state_now(world, desc);
    bool gone = !ecs_alive(world, desc->id);
    *fired = (desc->kind == ECS_WATCH_LEVEL && now) || (desc->kind == ECS_WATCH_DESPAWNED && now) ||
             (desc->kind == ECS_WATCH_REMOVED && gone);
    if (*fired) { return ECS_OK; }
    if (gone) { return ecs__fail(world, ECS_E_DEAD, "the entity is gone"); }
    ecs__watch_t *watch = ECS__PUSH(world->watches, world->watch_count, world->watch_capacity);
    *watch =
        (ecs__watch_t){.desc = *desc, .id = ++world->watch_next_id, .owner = owner, .last = now};
    watch->seen_tick = world->shared.tick;
    size_t bytes = 0;
    const char *value = desc->kind == ECS_WATCH_CHANGED ? watched_bytes(world, desc, &bytes) : NULL;
    if (value != NULL) { watch->copy = memcpy(ecs__calloc(bytes, 1), value, bytes); }
    *out = watch->id;
    return ECS_OK;
}

void ecs_watch_remove(ecs_world_t *world, uint32_t watch) {
    uint32_t low = 0, high = world->watch_count; /* sorted by id */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (world->watches[middle].id < watch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == world->watch_count || world->watches[low].id != watch) { return; }
    free(world->watches[low].copy);
    world->watch_count--;
    memmove(&world->watches[low], &world->watches[low + 1],
            (world->watch_count - low) * sizeof *world->watches);
}

void ecs_readers_reset(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->watch_count; i++) {
        free(world->watches[i].copy);
    }
    world->watch_count = 0;
    ecs__cursors_reset(world);
}

uint32_t ecs_watch_count(const ecs_world_t *world) { return world->watch_count; }

/* False when nothing can have changed for the watch since it was last tested. */
static bool may_have_changed(const ecs_world_t *world, const ecs__watch_t *watch) {
    const ecs__record_t *record = ecs__record_find(world, watch->desc.id);
    if (record == NULL || !ecs__record_alive(record)) { return true; }
    const ecs__archetype_t *archetype = world->archetypes[record->archetype];
    const ecs__slot_t *slot = ecs__slot(archetype, watch->desc.component);
    if (slot == NULL || slot->column == ECS__NONE) { return true; }
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(archetype, record->row, &at);
    return chunk->changed[slot->column] > watch->seen_tick ||
           chunk->added[slot->column] > watch->seen_tick;
}

static bool fires(const ecs_world_t *world, ecs__watch_t *watch) {
    size_t bytes = 0;
    bool now = state_now(world, &watch->desc), before = watch->last;
    watch->last = now;
    switch (watch->desc.kind) {
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_DESPAWNED: return now;
    case ECS_WATCH_RISING:
    case ECS_WATCH_ADDED: return now && !before;
    case ECS_WATCH_FALLING:
    case ECS_WATCH_REMOVED: return !now && before;
    default: break;
    }
    const char *value = watched_bytes(world, &watch->desc, &bytes);
    if (value == NULL || watch->copy == NULL) { return (value == NULL) != (watch->copy == NULL); }
    return memcmp(value, watch->copy, bytes) != 0;
}

const ecs_watch_result_t *ecs_watch_poll(ecs_world_t *world, uint32_t *count) {
    world->watch_result_count = 0;
    uint32_t kept = 0, had = world->watch_count;
    bool skip =
        !pthread_equal(world->owner, pthread_self()) || world->poll_tick == world->shared.tick;
    for (uint32_t i = 0; !skip && i < had; i++) {
        ecs__watch_t watch = world->watches[i];
        bool test = may_have_changed(world, &watch);
        watch.seen_tick = world->shared.tick;
        bool fired = test && fires(world, &watch);
        bool lost = !fired && !ecs_alive(world, watch.desc.id);
        if (fired || lost) {
            *ECS__PUSH(world->watch_results, world->watch_result_count,
                       world->watch_result_capacity) =
                (ecs_watch_result_t){watch.id, watch.owner, fired ? ECS_OK : ECS_E_DEAD};
            free(watch.copy);
        } else {
            world->watches[kept++] = watch;
        }
    }
    if (!skip) {
        world->watch_count = kept;
        world->poll_tick = world->shared.tick;
    }
    *count = world->watch_result_count;
    return world->watch_results;
}
