/* Components, structs and enums: registration and lookup. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool same_field(const ecs_field_t *x, const ecs_field_t *y) {
    return strcmp(x->name, y->name) == 0 && x->type == y->type && x->count == y->count &&
           x->is_array == y->is_array && x->enum_id == y->enum_id && x->struct_id == y->struct_id &&
           strcmp(x->unit, y->unit) == 0 && x->has_range == y->has_range && x->min == y->min &&
           x->max == y->max;
}

static bool same_layout(const ecs__component_t *a, const ecs__component_t *b) {
    if (a->field_count != b->field_count || a->size_bytes != b->size_bytes) { return false; }
    for (uint32_t i = 0; i < a->field_count; i++) {
        if (!same_field(&a->fields[i], &b->fields[i])) { return false; }
    }
    return memcmp(a->default_value, b->default_value, a->size_bytes) == 0;
}

static int layout_find(const ecs__component_t *known, uint32_t count, const char *name,
                       uint32_t *out) {
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = i;
            return ECS_OK;
        }
    }
    return ECS_E_UNKNOWN;
}

/* A list of components or structs, and how they are called. */
typedef struct {
    ecs__component_t **known;
    uint32_t *count, *capacity;
    uint32_t limit;
    const char *what;
} registry_t;

static int layout_register(ecs_world_t *world, registry_t to, ecs__component_t *made,
                           uint32_t *out) {
    if (layout_find(*to.known, *to.count, made->name, out) == ECS_OK) {
        bool same = same_layout(made, &(*to.known)[*out]);
        ecs__layout_fini(made);
        return same ? ECS_OK
                    : ecs__fail(world, ECS_E_CONFLICT, "declared before with other fields");
    }
    int rc = ecs__guard(world, 1u << ECS_PHASE_SETUP);
    if (rc == ECS_OK && *to.count == to.limit) {
        rc = ecs__fail(world, ECS_E_LIMIT, "more than %u %ss", to.limit, to.what);
    }
    if (rc == ECS_OK && !ECS__ROOM(*to.known, *to.count + 1, *to.capacity)) {
        rc = ecs__oom(world);
    }
    if (rc != ECS_OK) {
        ecs__layout_fini(made);
        return rc;
    }
    *out = *to.count;
    (*to.known)[(*to.count)++] = *made;
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
    registry_t to = {&world->components, &world->component_count, &world->component_capacity,
                     ECS_MAX_COMPONENTS, "component"};
    return layout_register(world, to, &made, out);
}

int ecs_struct_register(ecs_world_t *world, const char *name, const char *const *fields,
                        uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!ecs__is_name(name)) {
        return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no struct name", name);
    }
    if (ecs__is_builtin(name)) { return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is a type", name); }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        if (strcmp(world->enums[i].name, name) == 0) {
            return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is an enum", name);
        }
    }
    if (count == 0) { return ecs__fail(world, ECS_E_INVALID, "a struct has at least one field"); }
    ecs__component_t made = {0};
    int rc = ecs__layout_init(world, &made, fields, count);
    if (rc != ECS_OK) { return rc; }
    if (made.depth > ECS_MAX_STRUCT_DEPTH) {
        ecs__layout_fini(&made);
        return ecs__fail(world, ECS_E_LIMIT, "structs are nested at most %d deep",
                         (int)ECS_MAX_STRUCT_DEPTH);
    }
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    registry_t to = {&world->structs, &world->struct_count, &world->struct_capacity,
                     ECS_MAX_STRUCTS, "struct"};
    return layout_register(world, to, &made, out);
}

int ecs_component_find(const ecs_world_t *world, const char *name, uint32_t *out) {
    return layout_find(world->components, world->component_count, name, out);
}

int ecs_struct_find(const ecs_world_t *world, const char *name, uint32_t *out) {
    return layout_find(world->structs, world->struct_count, name, out);
}

const char *ecs_struct_name(const ecs_world_t *world, uint32_t struct_id) {
    return struct_id < world->struct_count ? world->structs[struct_id].name : "?";
}

uint32_t ecs_struct_size_bytes(const ecs_world_t *world, uint32_t struct_id) {
    return struct_id < world->struct_count ? world->structs[struct_id].size_bytes : 0;
}

const ecs_field_t *ecs_struct_fields(const ecs_world_t *world, uint32_t struct_id,
                                     uint32_t *count) {
    *count = struct_id < world->struct_count ? world->structs[struct_id].field_count : 0;
    return *count > 0 ? world->structs[struct_id].fields : NULL;
}

const void *ecs_struct_default(const ecs_world_t *world, uint32_t struct_id) {
    return struct_id < world->struct_count ? world->structs[struct_id].default_value : NULL;
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

static bool same_enum(const ecs__enum_t *known, const char *const *members, uint32_t count) {
    bool same = known->count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = strcmp(known->members[i], members[i]) == 0;
    }
    return same;
}

static void enum_fini(ecs__enum_t *known) {
    for (uint32_t i = 0; i < known->count; i++) {
        free(known->members[i]);
    }
    free(known->members);
}

int ecs_enum_register(ecs_world_t *world, const char *name, const char *const *members,
                      uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!ecs__is_name(name)) {
        return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no enum name", name);
    }
    if (ecs__is_builtin(name)) { return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is a type", name); }
    uint32_t taken = 0;
    if (ecs_struct_find(world, name, &taken) == ECS_OK) {
        return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is a struct", name);
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        if (strcmp(world->enums[i].name, name) == 0) {
            *out = i;
            if (same_enum(&world->enums[i], members, count)) { return ECS_OK; }
            return ecs__fail(world, ECS_E_CONFLICT, "declared before with other members");
        }
    }
    int rc = ecs__guard(world, 1u << ECS_PHASE_SETUP);
    if (rc != ECS_OK) { return rc; }
    for (uint32_t i = 0; i < count; i++) {
        if (!ecs__is_name(members[i])) {
            return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no name for a member", members[i]);
        }
    }
    ecs__enum_t made = {.members = ecs__calloc(count, sizeof(char *))};
    bool room = made.members != NULL &&
                ECS__ROOM(world->enums, world->enum_count + 1, world->enum_capacity);
    for (uint32_t i = 0; room && i < count; i++, made.count++) {
        made.members[i] = ecs__strdup(members[i]);
        room = made.members[i] != NULL;
    }
    if (!room) {
        enum_fini(&made);
        return ecs__oom(world);
    }
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    *out = world->enum_count;
    world->enums[world->enum_count++] = made;
    return ECS_OK;
}

int ecs_enum_value(const ecs_world_t *world, uint32_t enum_id, const char *member, int32_t *out) {
    if (enum_id >= world->enum_count) { return ECS_E_UNKNOWN; }
    const ecs__enum_t *known = &world->enums[enum_id];
    for (uint32_t i = 0; i < known->count; i++) {
        if (strcmp(known->members[i], member) == 0) {
            *out = (int32_t)i;
            return ECS_OK;
        }
    }
    return ECS_E_UNKNOWN;
}

const char *ecs_enum_member(const ecs_world_t *world, uint32_t enum_id, int32_t value) {
    if (enum_id >= world->enum_count || value < 0) { return NULL; }
    const ecs__enum_t *known = &world->enums[enum_id];
    return (uint32_t)value < known->count ? known->members[value] : NULL;
}

const char *ecs_enum_name(const ecs_world_t *world, uint32_t enum_id) {
    return enum_id < world->enum_count ? world->enums[enum_id].name : "?";
}

void ecs__schema_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->component_count; i++) {
        ecs__layout_fini(&world->components[i]);
    }
    for (uint32_t i = 0; i < world->struct_count; i++) {
        ecs__layout_fini(&world->structs[i]);
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        enum_fini(&world->enums[i]);
    }
    free(world->components);
    free(world->enums);
    free(world->structs);
}
