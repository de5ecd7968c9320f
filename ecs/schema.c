/* Components and enums: parsing of field declarations, layout, defaults. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct {
    const char *name;
    uint32_t type;
    uint32_t size_bytes;
} type_t;

static const type_t TYPES[] = {
    {"bool", ECS_TYPE_BOOL, 1},    {"int8_t", ECS_TYPE_I8, 1},     {"uint8_t", ECS_TYPE_U8, 1},
    {"int16_t", ECS_TYPE_I16, 2},  {"uint16_t", ECS_TYPE_U16, 2},  {"int32_t", ECS_TYPE_I32, 4},
    {"uint32_t", ECS_TYPE_U32, 4}, {"float", ECS_TYPE_F32, 4},     {"double", ECS_TYPE_F64, 8},
    {"char", ECS_TYPE_CHAR, 1},    {"entity", ECS_TYPE_ENTITY, 8},
};
enum { TYPE_COUNT = sizeof TYPES / sizeof TYPES[0] };

/* What a declaration such as "float joint[6] = 0" says. */
typedef struct {
    char type[ECS_NAME_BYTES];
    char value[128];
    bool has_value;
    uint32_t element_bytes;
    ecs_field_t field;
} declaration_t;

static bool is_name(const char *text) {
    if (!isalpha((unsigned char)text[0]) && text[0] != '_') { return false; }
    for (const char *at = text; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_') { return false; }
    }
    return strlen(text) < ECS_NAME_BYTES;
}

static const char *skip_space(const char *at) {
    while (isspace((unsigned char)*at)) {
        at++;
    }
    return at;
}

static const char *take_word(const char *at, char *out, size_t bytes) {
    size_t n = 0;
    at = skip_space(at);
    while ((isalnum((unsigned char)*at) || *at == '_') && n + 1 < bytes) {
        out[n++] = *at++;
    }
    out[n] = '\0';
    return skip_space(at);
}

static int resolve_type(ecs_world_t *world, const char *text, declaration_t *out) {
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(TYPES[i].name, out->type) == 0) {
            out->field.type = TYPES[i].type;
            out->element_bytes = TYPES[i].size_bytes;
            return ECS_OK;
        }
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        if (strcmp(world->enums[i].name, out->type) == 0) {
            out->field.type = ECS_TYPE_ENUM;
            out->field.enum_id = i;
            out->element_bytes = 4;
            return ECS_OK;
        }
    }
    return ecs__fail(world, ECS_E_UNKNOWN,
                     "field \"%s\": unknown type \"%s\" (expected bool, int8_t, uint8_t, int16_t, "
                     "uint16_t, int32_t, uint32_t, float, double, char, entity or an enum)",
                     text, out->type);
}

static const char *take_length(const char *at, uint32_t *count, bool *ok) {
    *ok = true;
    if (*at != '[') { return at; }
    char *end = NULL;
    unsigned long n = strtoul(at + 1, &end, 10);
    end = (char *)(uintptr_t)skip_space(end);
    *ok = n >= 1 && n <= ECS_MAX_COMPONENT_BYTES && *end == ']';
    *count = (uint32_t)n;
    return *ok ? skip_space(end + 1) : at;
}

static int parse_field(ecs_world_t *world, const char *text, declaration_t *out) {
    *out = (declaration_t){.field.count = 1};
    bool length_ok = true, sized = false;
    const char *at = take_word(text, out->type, sizeof out->type);
    at = take_word(at, out->field.name, sizeof out->field.name);
    int rc = resolve_type(world, text, out);
    if (rc != ECS_OK) { return rc; }
    if (!is_name(out->field.name)) {
        return ecs__fail(world, ECS_E_INVALID, "field \"%s\": expected \"type name\"", text);
    }
    sized = *at == '[';
    at = take_length(at, &out->field.count, &length_ok);
    if (!length_ok) {
        return ecs__fail(world, ECS_E_INVALID, "field \"%s\": array length must be 1 to %d", text,
                         (int)ECS_MAX_COMPONENT_BYTES);
    }
    if (out->field.type == ECS_TYPE_CHAR && !sized) {
        return ecs__fail(world, ECS_E_INVALID, "field \"%s\": text needs a length, as in char[24]",
                         text);
    }
    out->field.is_array = sized && out->field.type != ECS_TYPE_CHAR;
    if (*at == '=') {
        at = skip_space(at + 1);
        (void)snprintf(out->value, sizeof out->value, "%s", at);
        out->has_value = true;
        at = "";
    }
    if (*at != '\0') {
        return ecs__fail(world, ECS_E_INVALID, "field \"%s\": unexpected \"%s\"", text, at);
    }
    out->field.size_bytes = out->element_bytes * out->field.count;
    return ECS_OK;
}

static bool store_integer(char *to, uint32_t type, double value) {
    static const double low[] = {0, -128, 0, -32768, 0, -2147483648.0, 0};
    static const double high[] = {1, 127, 255, 32767, 65535, 2147483647.0, 4294967295.0};
    if (!(value >= low[type] && value <= high[type]) || (double)(int64_t)value != value) {
        return false;
    }
    int64_t integer = (int64_t)value;
    size_t bytes = type <= ECS_TYPE_U8 ? 1 : type <= ECS_TYPE_U16 ? 2 : 4;
    memcpy(to, &integer, bytes); /* little endian */
    return true;
}

static bool store_number(char *to, uint32_t type, double value) {
    if (type <= ECS_TYPE_U32) { return store_integer(to, type, value); }
    if (type == ECS_TYPE_F32) {
        float narrow = (float)value;
        memcpy(to, &narrow, sizeof narrow);
        return true;
    }
    memcpy(to, &value, sizeof value);
    return type == ECS_TYPE_F64;
}

static int store_text(ecs_world_t *world, const declaration_t *d, char *to) {
    size_t length = strlen(d->value);
    const char *from = d->value;
    if (length >= 2 && from[0] == '"' && from[length - 1] == '"') {
        from++;
        length -= 2;
    }
    if (length > d->field.count) {
        return ecs__fail(world, ECS_E_INVALID, "field \"%s\": default is longer than %u bytes",
                         d->field.name, d->field.count);
    }
    memcpy(to, from, length);
    return ECS_OK;
}

static int store_default(ecs_world_t *world, const declaration_t *d, char *to) {
    if (!d->has_value) { return ECS_OK; }
    uint32_t type = d->field.type;
    if (type == ECS_TYPE_CHAR) { return store_text(world, d, to); }
    if (type == ECS_TYPE_ENUM) {
        int32_t ordinal = 0;
        if (ecs_enum_value(world, d->field.enum_id, d->value, &ordinal) != ECS_OK) {
            return ecs__fail(world, ECS_E_UNKNOWN, "field \"%s\": \"%s\" is no member of %s",
                             d->field.name, d->value, world->enums[d->field.enum_id].name);
        }
        for (uint32_t i = 0; i < d->field.count; i++) {
            memcpy(to + 4 * (size_t)i, &ordinal, 4);
        }
        return ECS_OK;
    }
    char *end = NULL;
    double value = strtod(d->value, &end);
    bool ok = end != d->value && *skip_space(end) == '\0';
    if (type == ECS_TYPE_BOOL && strcmp(d->value, "true") == 0) { value = 1, ok = true; }
    if (type == ECS_TYPE_BOOL && strcmp(d->value, "false") == 0) { value = 0, ok = true; }
    for (uint32_t i = 0; ok && i < d->field.count; i++) {
        ok = store_number(to + (size_t)i * d->element_bytes, type, value);
    }
    if (ok) { return ECS_OK; }
    return ecs__fail(world, ECS_E_INVALID, "field \"%s\": \"%s\" is no default for %s",
                     d->field.name, d->value, d->type);
}

/* Lays the fields out in declaration order with natural alignment, as C does. */
static int build(ecs_world_t *world, ecs__component_t *component, const char *const *fields,
                 uint32_t count) {
    declaration_t *d = ecs__calloc(count, sizeof *d);
    component->fields = ecs__calloc(count, sizeof *component->fields);
    component->field_count = count;
    component->align_bytes = 1;
    int rc = ECS_OK;
    size_t at = 0;
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        rc = parse_field(world, fields[i], &d[i]);
        for (uint32_t j = 0; rc == ECS_OK && j < i; j++) {
            if (strcmp(d[j].field.name, d[i].field.name) == 0) {
                rc =
                    ecs__fail(world, ECS_E_INVALID, "field \"%s\" is there twice", d[i].field.name);
            }
        }
        if (rc != ECS_OK) { break; }
        at = ecs__align(at, d[i].element_bytes);
        d[i].field.offset_bytes = (uint32_t)at;
        at += d[i].field.size_bytes;
        if (d[i].element_bytes > component->align_bytes) {
            component->align_bytes = d[i].element_bytes;
        }
        component->fields[i] = d[i].field;
    }
    at = ecs__align(at, component->align_bytes);
    if (rc == ECS_OK && at > ECS_MAX_COMPONENT_BYTES) {
        rc = ecs__fail(world, ECS_E_LIMIT, "%zu bytes; a component has at most %d", at,
                       (int)ECS_MAX_COMPONENT_BYTES);
    }
    component->size_bytes = (uint32_t)at;
    component->default_value = ecs__calloc(at, 1);
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        rc =
            store_default(world, &d[i], (char *)component->default_value + d[i].field.offset_bytes);
    }
    free(d);
    return rc;
}

static void component_fini(ecs__component_t *component) {
    free(component->fields);
    free(component->default_value);
}

static bool same_component(const ecs__component_t *a, const ecs__component_t *b) {
    if (a->field_count != b->field_count || a->size_bytes != b->size_bytes) { return false; }
    for (uint32_t i = 0; i < a->field_count; i++) {
        const ecs_field_t *x = &a->fields[i], *y = &b->fields[i];
        if (strcmp(x->name, y->name) != 0 || x->type != y->type || x->count != y->count ||
            x->enum_id != y->enum_id) {
            return false;
        }
    }
    return memcmp(a->default_value, b->default_value, a->size_bytes) == 0;
}

int ecs_component_register(ecs_world_t *world, const char *name, const char *const *fields,
                           uint32_t count, uint32_t *out) {
    int rc = ECS_OK;
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!is_name(name)) {
        return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no component name", name);
    }
    if (count > ECS_MAX_FIELDS) {
        return ecs__fail(world, ECS_E_LIMIT, "%u fields; a component has at most %d", count,
                         (int)ECS_MAX_FIELDS);
    }
    ecs__component_t made = {0};
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    rc = build(world, &made, fields, count);
    if (rc == ECS_OK && ecs_component_find(world, name, out) == ECS_OK) {
        bool same = same_component(&made, &world->components[*out]);
        component_fini(&made);
        return same ? ECS_OK
                    : ecs__fail(world, ECS_E_CONFLICT, "declared before with other fields");
    }
    if (rc == ECS_OK) { rc = ecs__guard(world, 1u << ECS_PHASE_SETUP); }
    if (rc == ECS_OK && world->component_count == ECS_MAX_COMPONENTS) {
        rc = ecs__fail(world, ECS_E_LIMIT, "more than %d components", (int)ECS_MAX_COMPONENTS);
    }
    if (rc != ECS_OK) {
        component_fini(&made);
        return rc;
    }
    *out = world->component_count;
    *ECS__PUSH(world->components, world->component_count, world->component_capacity) = made;
    return ECS_OK;
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

static bool same_enum(const ecs__enum_t *known, const char *const *members, uint32_t count) {
    bool same = known->count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = strcmp(known->members[i], members[i]) == 0;
    }
    return same;
}

int ecs_enum_register(ecs_world_t *world, const char *name, const char *const *members,
                      uint32_t count, uint32_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (!is_name(name)) { return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no enum name", name); }
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(TYPES[i].name, name) == 0) {
            return ecs__fail(world, ECS_E_EXISTS, "\"%s\" is a type", name);
        }
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
        if (!is_name(members[i])) {
            return ecs__fail(world, ECS_E_INVALID, "\"%s\" is no name for a member", members[i]);
        }
    }
    ecs__enum_t made = {.count = count, .members = ecs__calloc(count, sizeof(char *))};
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    for (uint32_t i = 0; i < count; i++) {
        made.members[i] = ecs__strdup(members[i]);
    }
    *out = world->enum_count;
    *ECS__PUSH(world->enums, world->enum_count, world->enum_capacity) = made;
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

const char *ecs__type_name(uint32_t type) {
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        if (TYPES[i].type == type) { return TYPES[i].name; }
    }
    return "?";
}

void ecs__schema_fini(ecs_world_t *world) {
    for (uint32_t i = 0; i < world->component_count; i++) {
        component_fini(&world->components[i]);
    }
    for (uint32_t i = 0; i < world->enum_count; i++) {
        for (uint32_t j = 0; j < world->enums[i].count; j++) {
            free(world->enums[i].members[j]);
        }
        free(world->enums[i].members);
    }
    free(world->components);
    free(world->enums);
}
