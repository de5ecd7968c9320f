/* Events for observers. */
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

void ecs__event(ecs_world_t *world, uint32_t kind, const ecs_event_t *event) {
    uint32_t wanted = event->component == ECS__NONE ? world->observed_kinds
                                                    : world->components[event->component].observed;
    if ((wanted >> kind & 1u) != 0) { world->events[world->event_count++] = *event; }
}

const ecs_event_t *ecs_events(const ecs_world_t *world, uint32_t *count) {
    *count = world->event_count;
    return world->events;
}
