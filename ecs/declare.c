/* Field declarations: parsing, layout, defaults. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "json.h"

typedef struct {
    const char *name;
    uint32_t type;
    uint32_t size_bytes;
    double min, max; /* what numbers and bool hold */
} type_t;

static const type_t TYPES[] = {
    {"bool", ECS_TYPE_BOOL, 1, 0, 1},
    {"int8_t", ECS_TYPE_I8, 1, -128, 127},
    {"uint8_t", ECS_TYPE_U8, 1, 0, 255},
    {"int16_t", ECS_TYPE_I16, 2, -32768, 32767},
    {"uint16_t", ECS_TYPE_U16, 2, 0, 65535},
    {"int32_t", ECS_TYPE_I32, 4, -2147483648.0, 2147483647},
    {"uint32_t", ECS_TYPE_U32, 4, 0, 4294967295.0},
    {"float", ECS_TYPE_F32, 4, -__builtin_inf(), __builtin_inf()},
    {"double", ECS_TYPE_F64, 8, -__builtin_inf(), __builtin_inf()},
    {"char", ECS_TYPE_CHAR, 1, 0, 0},
    {"entity", ECS_TYPE_ENTITY, 8, 0, 0},
};
enum { TYPE_COUNT = sizeof TYPES / sizeof TYPES[0], NUMBER_BYTES = 64 };

/* What a declaration such as "float joint[6] = 0" says. */
typedef struct {
    const char *text; /* all of it */
    char type[ECS_NAME_BYTES];
    const char *value; /* the default, NULL without one */
    size_t value_bytes;
    uint32_t element_bytes, align_bytes, depth;
    ecs_field_t field;
} declaration_t;

bool ecs__is_name(const char *text) {
    if (!isalpha((unsigned char)text[0]) && text[0] != '_') { return false; }
    for (const char *at = text; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_') { return false; }
    }
    return strlen(text) < ECS_NAME_BYTES;
}

bool ecs__is_builtin(const char *name) {
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(TYPES[i].name, name) == 0) { return true; }
    }
    return false;
}

const char *ecs__type_name(uint32_t type) {
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (TYPES[i].type == type) { return TYPES[i].name; }
    }
    return "?";
}

static int refuse(ecs_world_t *world, const declaration_t *d, const char *why) {
    return ecs__fail(world, ECS_E_INVALID, "field \"%.120s\": %s", d->text, why);
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

static int resolve_type(ecs_world_t *world, declaration_t *out) {
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(TYPES[i].name, out->type) == 0) {
            out->field.type = TYPES[i].type;
            out->field.min = TYPES[i].min;
            out->field.max = TYPES[i].max;
            out->element_bytes = out->align_bytes = TYPES[i].size_bytes;
            return ECS_OK;
        }
    }
    uint32_t id = 0;
    if (ecs_enum_find(world, out->type, &id) == ECS_OK) {
        out->field.type = ECS_TYPE_ENUM;
        out->field.enum_id = id;
        out->field.max = (double)world->enums[id].count - 1;
        out->element_bytes = out->align_bytes = 4;
        return ECS_OK;
    }
    if (ecs_struct_find(world, out->type, &id) == ECS_OK) {
        out->field.type = ECS_TYPE_STRUCT;
        out->field.struct_id = id;
        out->element_bytes = world->structs[id].size_bytes;
        out->align_bytes = world->structs[id].align_bytes;
        out->depth = world->structs[id].depth;
        return ECS_OK;
    }
    return ecs__fail(world, ECS_E_UNKNOWN,
                     "field \"%.60s\": unknown type \"%s\" (expected bool, int8_t, uint8_t, "
                     "int16_t, uint16_t, int32_t, uint32_t, float, double, char, entity, an enum "
                     "or a struct)",
                     out->text, out->type);
}

/* A unit begins with what no length begins with. */
static bool begins_unit(const char *at) {
    unsigned char c = *at == '[' ? (unsigned char)*skip_space(at + 1) : '\0';
    return isalpha(c) || c == '%' || c >= 0x80;
}

/* "[6]"; NULL when it is not well-formed. */
static const char *take_length(const char *at, uint32_t *count) {
    char *end = NULL;
    at = skip_space(at + 1);
    unsigned long n = isdigit((unsigned char)*at) ? strtoul(at, &end, 10) : 0;
    if (n < 1 || n > ECS_MAX_COMPONENT_BYTES) { return NULL; }
    at = skip_space(end);
    *count = (uint32_t)n;
    return *at == ']' ? skip_space(at + 1) : NULL;
}

/* "= 20", up to a unit or range; text takes the rest of the line. */
static const char *take_default(const char *at, declaration_t *out) {
    out->value = skip_space(at + 1);
    size_t n = out->field.type == ECS_TYPE_CHAR ? strlen(out->value) : strcspn(out->value, "[(");
    at = out->value + n;
    while (out->field.type != ECS_TYPE_CHAR && n > 0 && isspace((unsigned char)out->value[n - 1])) {
        n--;
    }
    out->value_bytes = n;
    return at;
}

/* "[degC]"; NULL when it is not well-formed. */
static const char *take_unit(const char *at, char *unit) {
    at = skip_space(at + 1);
    size_t n = 0;
    while (at[n] != '\0' && at[n] != ']') {
        size_t bytes = json_utf8_bytes(at + n, strlen(at + n));
        if (bytes == 0 || iscntrl((unsigned char)at[n])) { return NULL; }
        n += bytes;
    }
    const char *after = at + n;
    while (n > 0 && at[n - 1] == ' ') {
        n--;
    }
    if (*after != ']' || n >= ECS_UNIT_BYTES) { return NULL; }
    memcpy(unit, at, n);
    return skip_space(after + 1);
}

/* A finite number that fills the text between spaces. */
static bool whole_number(const char *from, const char *to, double *out) {
    char copy[NUMBER_BYTES], *end = NULL;
    size_t n = (size_t)(to - from);
    if (n == 0 || n >= sizeof copy) { return false; }
    memcpy(copy, from, n);
    copy[n] = '\0';
    *out = strtod(copy, &end);
    return end != copy && *skip_space(end) == '\0' && *out - *out == 0;
}

/* "(-40..150)", either end may be missing; NULL when it is not well-formed. */
static const char *take_range(const char *at, ecs_field_t *field) {
    const char *from = skip_space(at + 1), *dots = strstr(from, ".."), *close = strchr(from, ')');
    if (dots == NULL || close == NULL || close < dots) { return NULL; }
    const char *to = skip_space(dots + 2);
    ecs_field_t type = *field;
    double min = type.min, max = type.max;
    if (from != dots && !whole_number(from, dots, &min)) { return NULL; }
    if (to != close && !whole_number(to, close, &max)) { return NULL; }
    if ((from == dots && to == close) || !(min <= max)) { return NULL; }
    /* stored and loaded again: the ends are values of the type */
    char cell[8] = {0};
    if (from != dots) {
        if (!ecs__number_store(&type, min, cell)) { return NULL; }
        field->min = ecs__number_load(type.type, cell);
    }
    if (to != close) {
        if (!ecs__number_store(&type, max, cell)) { return NULL; }
        field->max = ecs__number_load(type.type, cell);
    }
    field->has_range = 1;
    return skip_space(close + 1);
}

/* What may follow the default: "[unit]" and "(min..max)". */
static int parse_suffix(ecs_world_t *world, const char *at, declaration_t *out) {
    if ((*at == '[' || *at == '(') && !ecs__is_number(&out->field)) {
        return refuse(world, out, "a unit or range goes with a number");
    }
    if (*at == '[') {
        at = begins_unit(at) ? take_unit(at, out->field.unit) : NULL;
        if (at == NULL) {
            return refuse(world, out,
                          "a unit is at most 15 bytes that begin with a letter or %, as in [degC]");
        }
    }
    if (*at == '(') {
        at = take_range(at, &out->field);
        if (at == NULL) {
            return refuse(world, out,
                          "a range is two numbers of the field's type, the lower one first, as in "
                          "(-40..150)");
        }
    }
    if (*at == '\0') { return ECS_OK; }
    return ecs__fail(world, ECS_E_INVALID, "field \"%.80s\": unexpected \"%.80s\"", out->text, at);
}

static int parse_field(ecs_world_t *world, const char *text, declaration_t *out) {
    *out = (declaration_t){.text = text, .field.count = 1};
    const char *at = take_word(text, out->type, sizeof out->type);
    at = take_word(at, out->field.name, sizeof out->field.name);
    int rc = resolve_type(world, out);
    if (rc != ECS_OK) { return rc; }
    if (!ecs__is_name(out->field.name)) { return refuse(world, out, "expected \"type name\""); }
    bool sized = *at == '[' && !begins_unit(at);
    if (sized) {
        at = take_length(at, &out->field.count);
        if (at == NULL) {
            return ecs__fail(world, ECS_E_INVALID, "field \"%.120s\": array length must be 1 to %d",
                             text, (int)ECS_MAX_COMPONENT_BYTES);
        }
    }
    if (out->field.type == ECS_TYPE_CHAR && !sized) {
        return refuse(world, out, "text needs a length, as in char[24]");
    }
    out->field.is_array = sized && out->field.type != ECS_TYPE_CHAR;
    if (*at == '=') { at = take_default(at, out); }
    out->field.size_bytes = out->element_bytes * out->field.count;
    return parse_suffix(world, at, out);
}

/* ---- defaults ------------------------------------------------------------------------------- */

static int store_text(ecs_world_t *world, const declaration_t *d, char *to) {
    size_t length = d->value_bytes;
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

static int no_default(ecs_world_t *world, const declaration_t *d, const char *value) {
    char wants[96];
    ecs__field_wants(world, &d->field, wants, sizeof wants);
    return ecs__fail(world, ECS_E_INVALID, "field \"%s\": \"%s\" is no default: expected %s",
                     d->field.name, value, wants);
}

/* The number that a default says: a number, a member's name, or true or false. */
static int default_number(ecs_world_t *world, const declaration_t *d, const char *value,
                          double *out) {
    if (d->field.type == ECS_TYPE_ENUM) {
        int32_t ordinal = 0;
        if (ecs_enum_value(world, d->field.enum_id, value, &ordinal) != ECS_OK) {
            return ecs__fail(world, ECS_E_UNKNOWN, "field \"%s\": \"%s\" is no member of %s",
                             d->field.name, value, world->enums[d->field.enum_id].name);
        }
        *out = ordinal;
        return ECS_OK;
    }
    bool is_bool = d->field.type == ECS_TYPE_BOOL;
    if (is_bool && (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)) {
        *out = value[0] == 't';
        return ECS_OK;
    }
    char *end = NULL;
    *out = strtod(value, &end);
    bool is_number = is_bool || ecs__is_number(&d->field);
    bool too_large = isinf(*out) && strpbrk(value, "0123456789") != NULL; /* "1e400", not "inf" */
    return is_number && !too_large && end != value && *end == '\0' ? ECS_OK
                                                                   : no_default(world, d, value);
}

static void store_struct_default(const ecs_world_t *world, const ecs_field_t *field, char *to) {
    const ecs__component_t *type = &world->structs[field->struct_id];
    for (uint32_t i = 0; i < field->count; i++) {
        memcpy(to + (size_t)i * type->size_bytes, type->default_value, type->size_bytes);
    }
}

static int store_default(ecs_world_t *world, const declaration_t *d, char *to) {
    char value[NUMBER_BYTES] = "0";
    if (d->field.type == ECS_TYPE_STRUCT) {
        if (d->value != NULL) {
            return refuse(world, d, "a struct's defaults are those of its own fields");
        }
        store_struct_default(world, &d->field, to);
        return ECS_OK;
    }
    if (d->value == NULL && !d->field.has_range) { return ECS_OK; }
    if (d->field.type == ECS_TYPE_CHAR) { return store_text(world, d, to); }
    if (d->value_bytes >= sizeof value) { return refuse(world, d, "the default is too long"); }
    if (d->value != NULL) {
        memcpy(value, d->value, d->value_bytes);
        value[d->value_bytes] = '\0';
    }
    double number = 0;
    int rc = default_number(world, d, value, &number);
    for (uint32_t i = 0; rc == ECS_OK && i < d->field.count; i++) {
        if (!ecs__number_store(&d->field, number, to + (size_t)i * d->element_bytes)) {
            rc = no_default(world, d, value);
        }
    }
    return rc;
}

/* ---- layout --------------------------------------------------------------------------------- */

static int refuse_twin(ecs_world_t *world, const declaration_t *d, uint32_t i) {
    for (uint32_t j = 0; j < i; j++) {
        if (strcmp(d[j].field.name, d[i].field.name) == 0) {
            return ecs__fail(world, ECS_E_INVALID, "field \"%s\" is there twice", d[i].field.name);
        }
    }
    return ECS_OK;
}

/* Parses the fields and places them in declaration order with natural alignment. */
static int place_fields(ecs_world_t *world, ecs__component_t *made, const char *const *fields,
                        declaration_t *d) {
    size_t at = 0;
    for (uint32_t i = 0; i < made->field_count; i++) {
        int rc = parse_field(world, fields[i], &d[i]);
        if (rc == ECS_OK) { rc = refuse_twin(world, d, i); }
        if (rc != ECS_OK) { return rc; }
        at = ecs__align(at, d[i].align_bytes);
        d[i].field.offset_bytes = (uint32_t)at;
        at += d[i].field.size_bytes;
        if (d[i].align_bytes > made->align_bytes) { made->align_bytes = d[i].align_bytes; }
        if (d[i].depth + 1 > made->depth) { made->depth = d[i].depth + 1; }
        made->fields[i] = d[i].field;
    }
    at = ecs__align(at, made->align_bytes);
    if (at > ECS_MAX_COMPONENT_BYTES) {
        return ecs__fail(world, ECS_E_LIMIT, "%zu bytes; a component has at most %d", at,
                         (int)ECS_MAX_COMPONENT_BYTES);
    }
    made->size_bytes = (uint32_t)at;
    return ECS_OK;
}

int ecs__layout_init(ecs_world_t *world, ecs__component_t *made, const char *const *fields,
                     uint32_t count) {
    *made = (ecs__component_t){0};
    if (count > ECS_MAX_FIELDS) {
        return ecs__fail(world, ECS_E_LIMIT, "%u fields; a component has at most %d", count,
                         (int)ECS_MAX_FIELDS);
    }
    declaration_t *d = ecs__calloc(count, sizeof *d);
    made->fields = ecs__calloc(count, sizeof *made->fields);
    made->field_count = count;
    made->align_bytes = 1;
    bool room = d != NULL && made->fields != NULL;
    int rc = room ? place_fields(world, made, fields, d) : ecs__oom(world);
    if (rc == ECS_OK) { made->default_value = ecs__calloc(made->size_bytes, 1); }
    if (rc == ECS_OK && made->default_value == NULL) { rc = ecs__oom(world); }
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        rc = store_default(world, &d[i], (char *)made->default_value + d[i].field.offset_bytes);
    }
    free(d);
    if (rc == ECS_OK) { rc = ecs__leaves_init(world, made); }
    if (rc != ECS_OK) { ecs__layout_fini(made); }
    return rc;
}

void ecs__layout_fini(ecs__component_t *layout) {
    free(layout->fields);
    free(layout->default_value);
    free(layout->leaves);
    *layout = (ecs__component_t){0};
}
