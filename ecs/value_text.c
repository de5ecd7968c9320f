/* Values as text: numbers, what fields take, JSON. */
#include <stdlib.h>
#include <string.h>

#include "ecs_schema.h"
#include "internal.h"

void ecs_text_add(ecs_text_t *text, const char *from, size_t bytes) {
    bool room = !text->failed && bytes < UINT32_MAX / 2 - text->bytes &&
                ECS__ROOM(text->text, (uint32_t)(text->bytes + bytes + 1), text->capacity);
    text->failed = !room;
    if (!room) { return; }
    if (bytes > 0) { memcpy(text->text + text->bytes, from, bytes); }
    text->bytes += (uint32_t)bytes;
    text->text[text->bytes] = '\0';
}

void ecs_text_fini(ecs_text_t *text) {
    free(text->text);
    *text = (ecs_text_t){0};
}

static void add(ecs_text_t *text, const char *from) { ecs_text_add(text, from, strlen(from)); }

/* ---- numbers -------------------------------------------------------------------------------- */

/* The value is meant to be compared bit by bit: -0 and 0 have texts of their own. */
static bool reads_back(const char *text, double value, bool is_float) {
    if (is_float) { return strtof(text, NULL) == (float)value; }
    return strtod(text, NULL) == value;
}

void ecs__number_text(double value, bool is_float, char *out, size_t bytes) {
    int digits = is_float ? 6 : 15, most = is_float ? 9 : 17;
    do {
        (void)snprintf(out, bytes, "%.*g", digits, value);
    } while (digits++ < most && !reads_back(out, value, is_float));
}

static void range_text(const ecs_field_t *field, char *out, size_t bytes) {
    char min[32], max[32];
    bool is_float = field->type == ECS_TYPE_F32;
    ecs__number_text(field->min, is_float, min, sizeof min);
    ecs__number_text(field->max, is_float, max, sizeof max);
    if (field->min - field->min != 0 && field->max - field->max != 0) {
        out[0] = '\0';
    } else if (field->max - field->max != 0) {
        (void)snprintf(out, bytes, " of at least %s", min);
    } else if (field->min - field->min != 0) {
        (void)snprintf(out, bytes, " of at most %s", max);
    } else {
        (void)snprintf(out, bytes, " from %s to %s", min, max);
    }
}

static void number_wants(const ecs_field_t *field, const char *kind, char *out, size_t bytes) {
    char range[80] = "";
    range_text(field, range, sizeof range);
    bool has_unit = field->unit[0] != '\0';
    (void)snprintf(out, bytes, "%s%s%s%s%s", kind, range, has_unit ? " [" : "", field->unit,
                   has_unit ? "]" : "");
}

void ecs__field_wants(const ecs_world_t *world, const ecs_field_t *field, char *out, size_t bytes) {
    switch (field->type) {
    case ECS_TYPE_BOOL: (void)snprintf(out, bytes, "true or false"); break;
    case ECS_TYPE_CHAR: (void)snprintf(out, bytes, "text of at most %u bytes", field->count); break;
    case ECS_TYPE_ENTITY: (void)snprintf(out, bytes, "an entity's path, an id or null"); break;
    case ECS_TYPE_ENUM:
        (void)snprintf(out, bytes, "a member of %s", ecs_enum_name(world, field->enum_id));
        break;
    case ECS_TYPE_STRUCT:
        (void)snprintf(out, bytes, "an object (%s)", ecs_struct_name(world, field->struct_id));
        break;
    case ECS_TYPE_F32:
    case ECS_TYPE_F64: number_wants(field, "a number", out, bytes); break;
    default: number_wants(field, "a whole number", out, bytes); break;
    }
}

/* ---- names ---------------------------------------------------------------------------------- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Levenshtein distance without regard to case. Both are shorter than ECS_NAME_BYTES. */
static uint32_t distance(const char *a, const char *b) {
    uint32_t row[ECS_NAME_BYTES + 1], length = (uint32_t)strlen(b);
    for (uint32_t j = 0; j <= length; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; a[i - 1] != '\0'; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= length; j++) {
            uint32_t best = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best) { best = row[j] + 1; }
            if (row[j - 1] + 1 < best) { best = row[j - 1] + 1; }
            row[j] = best;
        }
    }
    return row[length];
}

void ecs__nearest(ecs__nearest_t *nearest, const char *name, const char *candidate) {
    size_t length = strlen(name);
    if (length >= ECS_NAME_BYTES) { return; }
    uint32_t limit = length <= 3 ? 1 : length < 9 ? 2 : (uint32_t)length / 3;
    uint32_t found = distance(name, candidate);
    if (found > limit || (nearest->text[0] != '\0' && found >= nearest->distance)) { return; }
    nearest->distance = found;
    (void)snprintf(nearest->text, sizeof nearest->text, ", did you mean \"%s\"?", candidate);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void add_object(const ecs_world_t *world, const ecs_field_t *fields, uint32_t count,
                       const char *value, ecs_text_t *out);

static void add_char(ecs_text_t *out, unsigned char c) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = c == '\0' ? NULL : strchr(from, (char)c);
    char text[8];
    if (known != NULL) {
        (void)snprintf(text, sizeof text, "\\%c", to[known - from]);
    } else if (c < 0x20 || c == 0x7f) {
        (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    } else {
        (void)snprintf(text, sizeof text, "%c", (int)c);
    }
    add(out, text);
}

void ecs__json_text(ecs_text_t *out, const char *text, size_t length) {
    add(out, "\"");
    for (size_t at = 0; at < length;) {
        size_t n = json_utf8_bytes(text + at, length - at);
        if (n == 0) {
            add(out, "\xef\xbf\xbd");
            at++;
        } else if (n == 1) {
            add_char(out, (unsigned char)text[at++]);
        } else {
            ecs_text_add(out, text + at, n);
            at += n;
        }
    }
    add(out, "\"");
}

static void add_number(ecs_text_t *out, double value, bool is_float) {
    char text[32];
    if (value - value != 0) {
        add(out, "null");
        return;
    }
    ecs__number_text(value, is_float, text, sizeof text);
    add(out, text);
}

static void add_entity(ecs_text_t *out, double id) {
    char text[32];
    (void)snprintf(text, sizeof text, "%.0f", id);
    bool is_whole = id - id == 0 && strtod(text, NULL) == id;
    add(out, id == 0 ? "null" : is_whole ? text : "null");
}

static void add_element(const ecs_world_t *world, const ecs_field_t *field, const char *at,
                        ecs_text_t *out) {
    if (field->type == ECS_TYPE_STRUCT) {
        const ecs__component_t *type = &world->structs[field->struct_id];
        add_object(world, type->fields, type->field_count, at, out);
        return;
    }
    double value = ecs__number_load(field->type, at);
    const char *member = field->type == ECS_TYPE_ENUM
                             ? ecs_enum_member(world, field->enum_id, (int32_t)value)
                             : NULL;
    if (field->type == ECS_TYPE_BOOL) {
        add(out, value != 0 ? "true" : "false");
    } else if (field->type == ECS_TYPE_ENTITY) {
        add_entity(out, value);
    } else if (member != NULL) {
        ecs__json_text(out, member, strlen(member));
    } else {
        add_number(out, value, field->type == ECS_TYPE_F32);
    }
}

static void add_field(const ecs_world_t *world, const ecs_field_t *field, const char *value,
                      ecs_text_t *out) {
    const char *at = value + field->offset_bytes;
    ecs__json_text(out, field->name, strlen(field->name));
    add(out, ":");
    if (field->type == ECS_TYPE_CHAR) {
        ecs__json_text(out, at, strnlen(at, field->count));
        return;
    }
    if (field->is_array) { add(out, "["); }
    for (uint32_t i = 0; i < field->count; i++) {
        if (i > 0) { add(out, ","); }
        add_element(world, field, at + (size_t)i * ecs__element_bytes(field), out);
    }
    if (field->is_array) { add(out, "]"); }
}

static void add_object(const ecs_world_t *world, const ecs_field_t *fields, uint32_t count,
                       const char *value, ecs_text_t *out) {
    add(out, "{");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) { add(out, ","); }
        add_field(world, &fields[i], value, out);
    }
    add(out, "}");
}

int ecs_value_to_json(ecs_world_t *world, uint32_t component, const void *value, ecs_text_t *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    const ecs__component_t *type = &world->components[component];
    add_object(world, type->fields, type->field_count, value, out);
    return out->failed ? ecs__oom(world) : ECS_OK;
}
