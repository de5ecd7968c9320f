/* Holds the schema of a snapshot against the world's: same enums and components by name, whatever
 * their numbers. The world may have more. */
#include <ctype.h>
#include <stdlib.h>

#include "snapshot.h"

enum { ENUM_HEAD_BYTES = ECS_NAME_BYTES + 8, COMPONENT_HEAD_BYTES = ECS_NAME_BYTES + 8 };
enum { FIELD_BYTES = ECS_NAME_BYTES + 24, ALIGN = 8 };

static int too_short(const ecs__restore_t *restore) {
    return ecs__restore_refuse(restore, ECS_E_INVALID, "section schema ends too early");
}

/* A name as it was registered, so that texts may show it. */
static int check_name(const ecs__restore_t *restore, const char *name) {
    size_t length = strnlen(name, ECS_NAME_BYTES);
    bool ok = length > 0 && length < ECS_NAME_BYTES;
    for (size_t i = 0; ok && i < length; i++) {
        ok = isalnum((unsigned char)name[i]) || name[i] == '_';
    }
    if (ok) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_INVALID, "schema: a name is none");
}

/* ---- enums ---------------------------------------------------------------------------------- */

static bool has_members(const ecs__enum_t *known, const char *members, uint32_t count) {
    bool same = known->count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        const char *member = members + (size_t)i * ECS_NAME_BYTES;
        same = strncmp(known->members[i], member, ECS_NAME_BYTES) == 0;
    }
    return same;
}

static int check_members(const ecs__restore_t *restore, const ecs__enum_t *known,
                         const char *members, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const char *member = members + (size_t)i * ECS_NAME_BYTES;
        int rc = check_name(restore, member);
        if (rc != ECS_OK) { return rc; }
        if (i < known->count && strcmp(known->members[i], member) == 0) { continue; }
        return ecs__restore_refuse(
            restore, ECS_E_CONFLICT, "enum \"%s\": member %u is \"%s\", in this world \"%s\"",
            known->name, i, member, i < known->count ? known->members[i] : "");
    }
    if (count == known->count) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                               "enum \"%s\" has %u members, in this world %u", known->name, count,
                               known->count);
}

static int check_enum(ecs__restore_t *restore, ecs__part_t *part, uint32_t index) {
    const ecs_world_t *world = restore->world;
    const char *head = ecs__part_take(part, ENUM_HEAD_BYTES);
    if (head == NULL) { return too_short(restore); }
    int rc = check_name(restore, head);
    if (rc != ECS_OK) { return rc; }
    uint32_t count = ecs__u32_at(head + ECS_NAME_BYTES, 0);
    const char *members = ecs__part_take(part, (uint64_t)count * ECS_NAME_BYTES);
    if (members == NULL) { return too_short(restore); }
    const ecs__enum_t *known = NULL; /* the version that is alike, else the current one */
    for (uint32_t i = 0; i < world->enum_count; i++) {
        const ecs__enum_t *version = &world->enums[i];
        if (version->version == 0 || strcmp(version->name, head) != 0) { continue; }
        bool alike = has_members(version, members, count);
        if (!alike && version->old && known != NULL) { continue; }
        known = version;
        restore->enums[index] = i;
        if (alike) { break; }
    }
    if (known != NULL) { return check_members(restore, known, members, count); }
    return ecs__restore_refuse(restore, ECS_E_UNKNOWN, "this world has no enum \"%s\"", head);
}

/* ---- components ----------------------------------------------------------------------------- */

typedef struct {
    char text[2 * ECS_NAME_BYTES + 48];
} field_text_t;

static field_text_t field_text(const ecs_world_t *world, const ecs_field_t *field) {
    field_text_t out;
    const char *type = field->type == ECS_TYPE_ENUM     ? ecs_enum_name(world, field->enum_id)
                       : field->type == ECS_TYPE_STRUCT ? "struct"
                                                        : ecs__type_name(field->type);
    bool sized = field->is_array != 0 || field->type == ECS_TYPE_CHAR;
    int at = snprintf(out.text, sizeof out.text, "%s %s", type, field->name);
    if (sized) {
        (void)snprintf(out.text + at, sizeof out.text - (size_t)at, "[%u]", field->count);
    }
    return out;
}

static bool same_field(const ecs_field_t *a, const ecs_field_t *b) {
    return strcmp(a->name, b->name) == 0 && a->type == b->type && a->count == b->count &&
           a->offset_bytes == b->offset_bytes && a->size_bytes == b->size_bytes &&
           a->enum_id == b->enum_id && a->is_array == b->is_array;
}

static int check_layout(const ecs__restore_t *restore, ecs__part_t *part,
                        const ecs__component_t *known);

static int check_field(const ecs__restore_t *restore, const ecs__component_t *known, uint32_t index,
                       const char *bytes) {
    int rc = check_name(restore, bytes);
    if (rc != ECS_OK) { return rc; }
    const char *numbers = bytes + ECS_NAME_BYTES;
    ecs_field_t field = {.type = ecs__u32_at(numbers, 0),
                         .count = ecs__u32_at(numbers, 1),
                         .offset_bytes = ecs__u32_at(numbers, 2),
                         .size_bytes = ecs__u32_at(numbers, 3),
                         .enum_id = ecs__u32_at(numbers, 4),
                         .is_array = ecs__u32_at(numbers, 5)};
    memcpy(field.name, bytes, ECS_NAME_BYTES);
    if (field.type == ECS_TYPE_ENUM) {
        if (field.enum_id >= restore->enum_count) {
            return ecs__restore_refuse(restore, ECS_E_INVALID, "schema: no enum %u", field.enum_id);
        }
        field.enum_id = restore->enums[field.enum_id];
    }
    if (index < known->field_count && same_field(&field, &known->fields[index])) { return ECS_OK; }
    field_text_t here = {"no more"}, there = field_text(restore->world, &field);
    if (index < known->field_count) { here = field_text(restore->world, &known->fields[index]); }
    return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                               "component \"%s\": field %u is \"%s\" at %u, in this world \"%s\"",
                               known->name, index, there.text, field.offset_bytes, here.text);
}

/* The type of a field that is a struct in both. As deep as the world's own structs. */
static int check_struct(const ecs__restore_t *restore, ecs__part_t *part, uint32_t struct_id) {
    const ecs__component_t *known = &restore->world->structs[struct_id];
    const char *name = part->at;
    int rc = part->end - part->at < ECS_NAME_BYTES ? too_short(restore) : check_name(restore, name);
    if (rc != ECS_OK) { return rc; }
    if (strcmp(name, known->name) != 0) {
        return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                                   "struct \"%s\" where this world has \"%s\"", name, known->name);
    }
    return check_layout(restore, part, known);
}

/* Fields as put_layout writes them, behind a name that has been looked at. */
static int check_layout(const ecs__restore_t *restore, ecs__part_t *part,
                        const ecs__component_t *known) {
    const char *head = ecs__part_take(part, COMPONENT_HEAD_BYTES);
    if (head == NULL) { return too_short(restore); }
    uint32_t fields = ecs__u32_at(head + ECS_NAME_BYTES, 0);
    uint32_t size = ecs__u32_at(head + ECS_NAME_BYTES, 1);
    for (uint32_t i = 0; i < fields; i++) {
        const char *field = ecs__part_take(part, FIELD_BYTES);
        if (field == NULL) { return too_short(restore); }
        int rc = check_field(restore, known, i, field);
        if (rc == ECS_OK && known->fields[i].type == ECS_TYPE_STRUCT) {
            rc = check_struct(restore, part, known->fields[i].struct_id);
        }
        if (rc != ECS_OK) { return rc; }
    }
    if (fields == known->field_count && size == known->size_bytes) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                               "component \"%s\" has %u fields in %u bytes, in this world %u in %u",
                               known->name, fields, size, known->field_count, known->size_bytes);
}

static int check_component(ecs__restore_t *restore, ecs__part_t *part, uint32_t index) {
    const char *name = part->at;
    int rc = part->end - part->at < ECS_NAME_BYTES ? too_short(restore) : check_name(restore, name);
    if (rc != ECS_OK) { return rc; }
    if (ecs_component_find(restore->world, name, &restore->components[index]) != ECS_OK) {
        return ecs__restore_refuse(restore, ECS_E_UNKNOWN, "this world has no component \"%s\"",
                                   name);
    }
    for (uint32_t i = 0; i < index; i++) {
        if (restore->components[i] == restore->components[index]) {
            return ecs__restore_refuse(restore, ECS_E_INVALID, "component \"%s\" twice", name);
        }
    }
    const ecs__component_t *known = &restore->world->components[restore->components[index]];
    rc = check_layout(restore, part, known);
    if (rc != ECS_OK) { return rc; }
    const char *value = ecs__part_take(part, ecs__align(known->size_bytes, ALIGN));
    if (value == NULL) { return too_short(restore); }
    if (memcmp(value, known->default_value, known->size_bytes) == 0) { return ECS_OK; }
    return ecs__restore_refuse(restore, ECS_E_CONFLICT,
                               "component \"%s\" has another default in this world", name);
}

int ecs__restore_check_schema(ecs__restore_t *restore) {
    ecs__part_t part = restore->sections[ECS__SECTION_SCHEMA];
    const char *head = ecs__part_take(&part, 2 * sizeof(uint32_t));
    if (head == NULL) { return too_short(restore); }
    uint32_t enums = ecs__u32_at(head, 0), components = ecs__u32_at(head, 1);
    size_t room = (size_t)(part.end - part.at);
    if (enums > room / ENUM_HEAD_BYTES || components > ECS_MAX_COMPONENTS) {
        return ecs__restore_refuse(restore, ECS_E_INVALID, "schema: %u enums, %u components", enums,
                                   components);
    }
    restore->enums = ecs__calloc(enums, sizeof(uint32_t));
    restore->components = ecs__calloc(components, sizeof(uint32_t));
    if (restore->enums == NULL || restore->components == NULL) { return ecs__oom(restore->world); }
    restore->enum_count = enums;
    restore->component_count = components;
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < enums; i++) {
        rc = check_enum(restore, &part, i);
    }
    for (uint32_t i = 0; rc == ECS_OK && i < components; i++) {
        rc = check_component(restore, &part, i);
    }
    if (rc == ECS_OK && part.at != part.end) {
        rc = ecs__restore_refuse(restore, ECS_E_INVALID, "section schema has more than it says");
    }
    return rc;
}
