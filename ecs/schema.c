/* Components: registration and lookup. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool same_field(const ecs_field_t *x, const ecs_field_t *y) {
    return strcmp(x->name, y->name) == 0 && x->type == y->type && x->count == y->count &&
           x->is_array == y->is_array && x->enum_id == y->enum_id && x->struct_id == y->struct_id &&
           strcmp(x->unit, y->unit) == 0 && x->has_range == y->has_range && x->min == y->min &&
           x->max == y->max;
}

bool ecs__layouts_equal(const ecs__component_t *a, const ecs__component_t *b) {
    if (a->field_count != b->field_count || a->size_bytes != b->size_bytes) { return false; }
    for (uint32_t i = 0; i < a->field_count; i++) {
        if (!same_field(&a->fields[i], &b->fields[i])) { return false; }
    }
    return memcmp(a->default_value, b->default_value, a->size_bytes) == 0;
}

static int add(ecs_world_t *world, const ecs__component_t *made, uint32_t *out) {
    int rc = ecs__guard(world, ECS__SCHEMA_PHASES);
    if (rc == ECS_OK && world->component_count == ECS_MAX_COMPONENTS) {
        rc = ecs__fail(world, ECS_E_LIMIT, "more than %d components", (int)ECS_MAX_COMPONENTS);
    }
    if (rc == ECS_OK &&
        !ECS__ROOM(world->components, world->component_count + 1, world->component_capacity)) {
        rc = ecs__oom(world);
    }
    if (rc != ECS_OK) { return rc; }
    *out = world->component_count;
    world->components[world->component_count] = *made;
    world->components[world->component_count++].version = ++world->type_versions;
    return ECS_OK;
}

int ecs_component_register(ecs_world_t *world, const char *name, const char *const *fields,
                           uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!ecs__is_name(name)) {
        return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no component name", name);
    }
    ecs__component_t made = {0};
    int rc = ecs__layout_init(world, &made, fields, count);
    if (rc != ECS_OK) { return rc; }
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    if (ecs_component_find(world, name, out) == ECS_OK) {
        if (!ecs__layouts_equal(&made, &world->components[*out])) {
            rc = ecs__fail(world, ECS_E_CONFLICT, "declared before with other fields");
        }
        ecs__layout_fini(&made);
        return rc;
    }
    rc = add(world, &made, out);
    if (rc != ECS_OK) { ecs__layout_fini(&made); }
    return rc;
}

int ecs_component_find(const ecs_world_t *world, const char *name, uint32_t *out) {
    for (uint32_t i = 0; i < world->component_count; i++) {
        if (strcmp(world->components[i].name, name) == 0) {
            *out = i;
            return ECS_OK;
        }
    }
    return ECS_E_UNKNOWN;
}

uint32_t ecs_component_count(const ecs_world_t *world) { return world->component_count; }

const char *ecs_component_name(const ecs_world_t *world, uint32_t component) {
    return component < world->component_count ? world->components[component].name : "?";
}

uint32_t ecs_component_size_bytes(const ecs_world_t *world, uint32_t component) {
    return component < world->component_count ? world->components[component].size_bytes : 0;
}

const ecs_field_t *ecs_component_fields(const ecs_world_t *world, uint32_t component,
                                        uint32_t *count) {
    *count = component < world->component_count ? world->components[component].field_count : 0;
    return *count > 0 ? world->components[component].fields : NULL;
}

const void *ecs_component_default(const ecs_world_t *world, uint32_t component) {
    return component < world->component_count ? world->components[component].default_value : NULL;
}

int ecs_field_find(const ecs_world_t *world, uint32_t component, const char *name, uint32_t *out) {
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_component_fields(world, component, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            *out = i;
            return ECS_OK;
        }
    }
    return ECS_E_UNKNOWN;
}

void ecs__schema_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->component_count; i++) {
        ecs__layout_fini(&world->components[i]);
    }
    free(world->components);
    ecs__types_fini(world);
}
