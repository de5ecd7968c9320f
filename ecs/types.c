/* Structs and enums, in versions: what a name means can change, and what was laid out before keeps
 * what it has.
 *
 *   name ─▶ the current version      a field ─▶ id of the version that it was declared with
 *
 * A version that is neither current nor used is given back by ecs_types_sweep, and its id may then
 * belong to another one: ecs_struct_version and ecs_enum_version tell those apart. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int ecs__schema_guard(ecs_world_t *world) {
    int rc = ecs__guard(world, ECS__SCHEMA_PHASES);
    uint64_t owner = 0;
    if (rc == ECS_OK && (ecs_batch_open(world, &owner) || ecs_batch_count(world) > 0)) {
        rc = ecs__fail(world, ECS_E_PHASE,
                       "commands wait for an apply: their values have the old layout");
    }
    return rc;
}

/* Whether a name may become that of a struct or an enum. */
static int check_name(ecs_world_t *world, const char *name, const char *what, const char *other,
                      bool taken) {
    if (!ecs__is_name(name)) {
        return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no %s name", name, what);
    }
    if (ecs__is_builtin(name)) { return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is a type", name); }
    if (taken) { return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is %s", name, other); }
    return ECS_OK;
}

/* ---- structs -------------------------------------------------------------------------------- */

int ecs_struct_find(const ecs_world_t *world, const char *name, uint32_t *out) {
    for (uint32_t i = 0; i < world->struct_count; i++) {
        const ecs__component_t *known = &world->structs[i];
        if (!known->old && known->version != 0 && strcmp(known->name, name) == 0) {
            *out = i;
            return ECS_OK;
        }
    }
    return ECS_E_UNKNOWN;
}

static int struct_make(ecs_world_t *world, const char *name, const char *const *fields,
                       uint32_t count, ecs__component_t *made) {
    uint32_t taken = 0;
    int rc =
        check_name(world, name, "struct", "an enum", ecs_enum_find(world, name, &taken) == ECS_OK);
    if (rc != ECS_OK) { return rc; }
    if (count == 0) { return ecs__fail(world, ECS_E_INVALID, "a struct has at least one field"); }
    rc = ecs__layout_init(world, made, fields, count);
    if (rc != ECS_OK) { return rc; }
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    if (made->depth > ECS_MAX_STRUCT_DEPTH) {
        rc = ecs__fail(world, ECS_E_LIMIT, "structs are nested at most %d deep",
                       (int)ECS_MAX_STRUCT_DEPTH);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        const ecs_field_t *field = &made->fields[i];
        if (field->type == ECS_TYPE_STRUCT &&
            strcmp(world->structs[field->struct_id].name, name) == 0) {
            rc = ecs__fail(world, ECS_E_INVALID, "field \"%s\": a struct does not hold itself",
                           field->name);
        }
    }
    if (rc != ECS_OK) { ecs__layout_fini(made); }
    return rc;
}

/* An older version like this one, or ECS__NONE. */
static uint32_t struct_alike(const ecs_world_t *world, const ecs__component_t *made) {
    for (uint32_t i = 0; i < world->struct_count; i++) {
        const ecs__component_t *known = &world->structs[i];
        if (known->version == 0 || strcmp(known->name, made->name) != 0) { continue; }
        if (ecs__layouts_equal(known, made)) { return i; }
    }
    return ECS__NONE;
}

static int struct_slot(ecs_world_t *world, uint32_t *out) {
    for (*out = 0; *out < world->struct_count; ++*out) {
        if (world->structs[*out].version == 0) { return ECS_OK; }
    }
    if (world->struct_count == ECS_MAX_STRUCTS) {
        return ecs__fail(world, ECS_E_LIMIT, "more than %d structs", (int)ECS_MAX_STRUCTS);
    }
    if (!ECS__ROOM(world->structs, world->struct_count + 1, world->struct_capacity)) {
        return ecs__oom(world);
    }
    world->structs[world->struct_count++] = (ecs__component_t){0};
    return ECS_OK;
}

/* Makes it what its name means; takes it over, or frees it. */
static int struct_adopt(ecs_world_t *world, ecs__component_t *made, uint32_t *out) {
    int rc = ecs__guard(world, ECS__SCHEMA_PHASES);
    uint32_t before = ECS__NONE, at = ECS__NONE;
    if (rc == ECS_OK) { at = struct_alike(world, made); }
    bool is_new = at == ECS__NONE;
    if (rc == ECS_OK && is_new) { rc = struct_slot(world, &at); }
    if (rc != ECS_OK) {
        ecs__layout_fini(made);
        return rc;
    }
    if (ecs_struct_find(world, made->name, &before) == ECS_OK) {
        world->structs[before].old = true;
    }
    if (is_new) {
        made->version = ++world->type_versions;
        world->structs[at] = *made;
    } else {
        ecs__layout_fini(made);
        world->structs[at].old = false;
    }
    *out = at;
    return ECS_OK;
}

int ecs_struct_register(ecs_world_t *world, const char *name, const char *const *fields,
                        uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    ecs__component_t made = {0};
    int rc = struct_make(world, name, fields, count, &made);
    if (rc != ECS_OK) { return rc; }
    if (ecs_struct_find(world, name, out) != ECS_OK) { return struct_adopt(world, &made, out); }
    if (!ecs__layouts_equal(&made, &world->structs[*out])) {
        rc = ecs__fail(world, ECS_E_CONFLICT, "declared before with other fields");
    }
    ecs__layout_fini(&made);
    return rc;
}

int ecs_struct_define(ecs_world_t *world, const char *name, const char *const *fields,
                      uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    ecs__component_t made = {0};
    int rc = struct_make(world, name, fields, count, &made);
    return rc == ECS_OK ? struct_adopt(world, &made, out) : rc;
}

uint64_t ecs_struct_version(const ecs_world_t *world, uint32_t struct_id) {
    return struct_id < world->struct_count ? world->structs[struct_id].version : 0;
}

const char *ecs_struct_name(const ecs_world_t *world, uint32_t struct_id) {
    return ecs__struct_known(world, struct_id) ? world->structs[struct_id].name : "?";
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

/* ---- enums ---------------------------------------------------------------------------------- */

int ecs_enum_find(const ecs_world_t *world, const char *name, uint32_t *out) {
    for (uint32_t i = 0; i < world->enum_count; i++) {
        const ecs__enum_t *known = &world->enums[i];
        if (!known->old && known->version != 0 && strcmp(known->name, name) == 0) {
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
    *known = (ecs__enum_t){0};
}

/* An older version like this one, or ECS__NONE. */
static uint32_t enum_alike(const ecs_world_t *world, const char *name, const char *const *members,
                           uint32_t count) {
    for (uint32_t i = 0; i < world->enum_count; i++) {
        const ecs__enum_t *known = &world->enums[i];
        if (known->version == 0 || strcmp(known->name, name) != 0) { continue; }
        if (same_enum(known, members, count)) { return i; }
    }
    return ECS__NONE;
}

/* A new one, in a free slot or behind the others. */
static int enum_add(ecs_world_t *world, const char *name, const char *const *members,
                    uint32_t count, uint32_t *out) {
    uint32_t at = 0;
    while (at < world->enum_count && world->enums[at].version != 0) {
        at++;
    }
    ecs__enum_t made = {.members = ecs__calloc(count, sizeof(char *))};
    bool room = made.members != NULL && ECS__ROOM(world->enums, at + 1, world->enum_capacity);
    for (uint32_t i = 0; room && i < count; i++, made.count++) {
        made.members[i] = ecs__strdup(members[i]);
        room = made.members[i] != NULL;
    }
    if (!room) {
        enum_fini(&made);
        return ecs__oom(world);
    }
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    made.version = ++world->type_versions;
    made.old = true;
    world->enums[at] = made;
    if (at == world->enum_count) { world->enum_count++; }
    *out = at;
    return ECS_OK;
}

/* Makes these members what the name means. */
static int enum_adopt(ecs_world_t *world, const char *name, const char *const *members,
                      uint32_t count, uint32_t *out) {
    int rc = ecs__guard(world, ECS__SCHEMA_PHASES);
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        if (!ecs__is_name(members[i])) {
            rc = ecs__fail(world, ECS_E_INVALID, "\"%s\" is no name for a member", members[i]);
        }
    }
    if (rc != ECS_OK) { return rc; }
    uint32_t before = 0, at = enum_alike(world, name, members, count);
    if (at == ECS__NONE) { rc = enum_add(world, name, members, count, &at); }
    if (rc != ECS_OK) { return rc; }
    if (ecs_enum_find(world, name, &before) == ECS_OK) { world->enums[before].old = true; }
    world->enums[at].old = false;
    *out = at;
    return ECS_OK;
}

static int check_enum_name(ecs_world_t *world, const char *name) {
    uint32_t taken = 0;
    return check_name(world, name, "enum", "a struct",
                      ecs_struct_find(world, name, &taken) == ECS_OK);
}

int ecs_enum_register(ecs_world_t *world, const char *name, const char *const *members,
                      uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    int rc = check_enum_name(world, name);
    if (rc != ECS_OK) { return rc; }
    if (ecs_enum_find(world, name, out) != ECS_OK) {
        return enum_adopt(world, name, members, count, out);
    }
    if (same_enum(&world->enums[*out], members, count)) { return ECS_OK; }
    return ecs__fail(world, ECS_E_CONFLICT, "declared before with other members");
}

int ecs_enum_define(ecs_world_t *world, const char *name, const char *const *members,
                    uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    int rc = check_enum_name(world, name);
    return rc == ECS_OK ? enum_adopt(world, name, members, count, out) : rc;
}

uint64_t ecs_enum_version(const ecs_world_t *world, uint32_t enum_id) {
    return enum_id < world->enum_count ? world->enums[enum_id].version : 0;
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
    return ecs__enum_known(world, enum_id) ? world->enums[enum_id].name : "?";
}

/* ---- what goes ------------------------------------------------------------------------------ */

int ecs_type_retire(ecs_world_t *world, const char *name) {
    int rc = ecs__guard(world, ECS__SCHEMA_PHASES);
    if (rc != ECS_OK) { return rc; }
    uint32_t at = 0;
    if (ecs_struct_find(world, name, &at) == ECS_OK) {
        world->structs[at].old = true;
    } else if (ecs_enum_find(world, name, &at) == ECS_OK) {
        world->enums[at].old = true;
    } else {
        return ecs__fail(world, ECS_E_UNKNOWN, "no struct or enum \"%s\"", name);
    }
    return ECS_OK;
}

static void mark_fields(ecs_world_t *world, const ecs__component_t *layout);

static void mark_struct(ecs_world_t *world, uint32_t id) {
    if (world->structs[id].used) { return; }
    world->structs[id].used = true;
    mark_fields(world, &world->structs[id]);
}

/* As deep as structs are nested. */
static void mark_fields(ecs_world_t *world, const ecs__component_t *layout) {
    for (uint32_t i = 0; i < layout->field_count; i++) {
        const ecs_field_t *field = &layout->fields[i];
        if (field->type == ECS_TYPE_ENUM) { world->enums[field->enum_id].used = true; }
        if (field->type == ECS_TYPE_STRUCT) { mark_struct(world, field->struct_id); }
    }
}

uint32_t ecs__types_mark(ecs_world_t *world, bool all) {
    for (uint32_t i = 0; i < world->enum_count; i++) {
        ecs__enum_t *known = &world->enums[i];
        known->used = known->version != 0 && (!known->old || (all && known->holds > 0));
    }
    for (uint32_t i = 0; i < world->struct_count; i++) {
        world->structs[i].used = false;
    }
    for (uint32_t i = 0; all && i < world->struct_count; i++) {
        const ecs__component_t *known = &world->structs[i];
        bool needed = !known->old || known->holds > 0 || known->rooms != 0;
        if (known->version != 0 && needed) { mark_struct(world, i); }
    }
    for (uint32_t i = 0; all && i < world->sent_count; i++) {
        mark_struct(world, world->sent[i].event);
    }
    for (uint32_t i = 0; i < world->component_count; i++) {
        mark_fields(world, &world->components[i]);
    }
    uint32_t rank = 0;
    for (uint32_t i = 0; i < world->enum_count; i++) {
        world->enums[i].rank = rank;
        rank += world->enums[i].used;
    }
    return rank;
}

void ecs__types_hold(ecs_world_t *world, const ecs__component_t *layout, bool hold) {
    uint32_t by = hold ? 1 : UINT32_MAX;
    for (uint32_t i = 0; i < layout->field_count; i++) {
        const ecs_field_t *field = &layout->fields[i];
        if (field->type == ECS_TYPE_ENUM) { world->enums[field->enum_id].holds += by; }
        if (field->type == ECS_TYPE_STRUCT) { world->structs[field->struct_id].holds += by; }
    }
}

int ecs_types_sweep(ecs_world_t *world) {
    int rc = ecs__schema_guard(world), freed = 0;
    if (rc != ECS_OK) { return rc; }
    (void)ecs__types_mark(world, true);
    for (uint32_t i = 0; i < world->struct_count; i++) {
        ecs__component_t *known = &world->structs[i];
        if (known->used || known->version == 0) { continue; }
        ecs__layout_fini(known);
        freed++;
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        ecs__enum_t *known = &world->enums[i];
        if (known->used || known->version == 0) { continue; }
        enum_fini(known);
        freed++;
    }
    return freed;
}

void ecs__types_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->struct_count; i++) {
        ecs__layout_fini(&world->structs[i]);
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        enum_fini(&world->enums[i]);
    }
    free(world->structs);
    free(world->enums);
}
