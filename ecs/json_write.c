#include "json_write.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 40 };

void ecs__json_flush(ecs__json_t *json) {
    if (json->rc == ECS_OK && json->staged > 0) {
        json->rc = json->sink(json->context, json->stage, json->staged);
    }
    json->staged = 0;
}

static void put(ecs__json_t *json, const char *bytes, size_t length) {
    while (length > 0) {
        if (json->staged == sizeof json->stage) { ecs__json_flush(json); }
        size_t room = sizeof json->stage - json->staged, part = length < room ? length : room;
        memcpy(json->stage + json->staged, bytes, part);
        json->staged += part;
        bytes += part;
        length -= part;
    }
}

void ecs__json_raw(ecs__json_t *json, const char *text) { put(json, text, strlen(text)); }

/* ---- text ----------------------------------------------------------------------------------- */

/* Bytes of the character of UTF-8 at `at`, of which `left` are there; 0 when there is none. */
static size_t character(const unsigned char *at, size_t left) {
    if (at[0] < 0x80) { return 1; }
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || length > left) { return 0; }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) { return 0; }
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
    bool past_end = at[0] == 0xf4 && at[1] >= 0x90;
    return overlong || surrogate || past_end ? 0 : length;
}

/* A character that a string may not hold as it is; false when it may. */
static bool escape(ecs__json_t *json, unsigned char byte) {
    static const char letters[] = "btn\0fr"; /* of 8 to 13 */
    char text[8] = {'\\', (char)byte};
    if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f) { return false; }
    if (byte >= 8 && byte <= 13 && byte != 11) {
        text[1] = letters[byte - 8];
    } else if (byte != '"' && byte != '\\') {
        (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)byte);
    }
    ecs__json_raw(json, text);
    return true;
}

void ecs__json_text(ecs__json_t *json, const char *bytes, size_t most) {
    const unsigned char *at = (const unsigned char *)bytes;
    const unsigned char *end = at + strnlen(bytes, most);
    put(json, "\"", 1);
    while (at < end) {
        size_t length = character(at, (size_t)(end - at));
        if (length == 0) {
            ecs__json_raw(json, "\\ufffd");
            at++;
        } else {
            if (length > 1 || !escape(json, *at)) { put(json, (const char *)at, length); }
            at += length;
        }
    }
    put(json, "\"", 1);
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Writes a finite number as printf did, with a point whatever the locale's is. */
static void put_number(ecs__json_t *json, const char *text) {
    char out[NUMBER_BYTES];
    size_t n = 0;
    for (const char *at = text; *at != '\0'; at++) {
        bool plain = strchr("+-0123456789e", *at) != NULL;
        if (plain || (n > 0 && out[n - 1] != '.')) { out[n++] = plain ? *at : '.'; }
    }
    put(json, out, n);
}

static bool put_infinite(ecs__json_t *json, double value) {
    if (isfinite(value)) { return false; }
    ecs__json_raw(json, isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"");
    return true;
}

void ecs__json_double(ecs__json_t *json, double value) {
    char text[NUMBER_BYTES];
    if (put_infinite(json, value)) { return; }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) { break; }
    }
    put_number(json, text);
}

void ecs__json_float(ecs__json_t *json, float value) {
    char text[NUMBER_BYTES];
    if (put_infinite(json, (double)value)) { return; }
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) { break; }
    }
    put_number(json, text);
}

static void put_integer(ecs__json_t *json, long long value) {
    char text[NUMBER_BYTES];
    (void)snprintf(text, sizeof text, "%lld", value);
    ecs__json_raw(json, text);
}

void ecs__json_id(ecs__json_t *json, ecs_id_t id) {
    bool is_id = id >= 0 && id < 4503599627370496.0 && id == (ecs_id_t)(long long)id;
    if (is_id) {
        put_integer(json, (long long)id);
    } else {
        ecs__json_double(json, id);
    }
}

/* ---- values --------------------------------------------------------------------------------- */

static void put_ordinal(ecs__json_t *json, const ecs_world_t *world, uint32_t enum_id,
                        int32_t value) {
    const char *member = ecs_enum_member(world, enum_id, value);
    if (member != NULL) {
        ecs__json_text(json, member, strlen(member));
    } else {
        put_integer(json, value);
    }
}

static void put_element(ecs__json_t *json, const ecs_world_t *world, const ecs_field_t *field,
                        const char *at) {
#define ELEMENT_AS(type, put_as)                                                                   \
    do {                                                                                           \
        type value;                                                                                \
        memcpy(&value, at, sizeof value);                                                          \
        put_as;                                                                                    \
        return;                                                                                    \
    } while (0)
    switch (field->type) {
    case ECS_TYPE_BOOL: ELEMENT_AS(uint8_t, ecs__json_raw(json, value != 0 ? "true" : "false"));
    case ECS_TYPE_I8: ELEMENT_AS(int8_t, put_integer(json, value));
    case ECS_TYPE_U8: ELEMENT_AS(uint8_t, put_integer(json, value));
    case ECS_TYPE_I16: ELEMENT_AS(int16_t, put_integer(json, value));
    case ECS_TYPE_U16: ELEMENT_AS(uint16_t, put_integer(json, value));
    case ECS_TYPE_I32: ELEMENT_AS(int32_t, put_integer(json, value));
    case ECS_TYPE_U32: ELEMENT_AS(uint32_t, put_integer(json, value));
    case ECS_TYPE_F32: ELEMENT_AS(float, ecs__json_float(json, value));
    case ECS_TYPE_F64: ELEMENT_AS(double, ecs__json_double(json, value));
    case ECS_TYPE_ENTITY: ELEMENT_AS(ecs_id_t, ecs__json_id(json, value));
    case ECS_TYPE_ENUM: ELEMENT_AS(int32_t, put_ordinal(json, world, field->enum_id, value));
    default: ecs__json_raw(json, "null"); /* char is written whole, and there is no other */
    }
#undef ELEMENT_AS
}

void ecs__json_field(ecs__json_t *json, const ecs_world_t *world, const ecs_field_t *field,
                     const char *component) {
    const char *at = component + field->offset_bytes;
    if (field->type == ECS_TYPE_CHAR) {
        ecs__json_text(json, at, field->size_bytes);
        return;
    }
    uint32_t step = field->size_bytes / field->count;
    if (field->is_array != 0) { ecs__json_raw(json, "["); }
    for (uint32_t i = 0; i < field->count; i++) {
        if (i > 0) { ecs__json_raw(json, ","); }
        put_element(json, world, field, at + (size_t)i * step);
    }
    if (field->is_array != 0) { ecs__json_raw(json, "]"); }
}

void ecs__json_value(ecs__json_t *json, const ecs_world_t *world, uint32_t component,
                     const char *value) {
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_component_fields(world, component, &count);
    ecs__json_raw(json, "{");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) { ecs__json_raw(json, ","); }
        ecs__json_text(json, fields[i].name, sizeof fields[i].name);
        ecs__json_raw(json, ":");
        ecs__json_field(json, world, &fields[i], value);
    }
    ecs__json_raw(json, "}");
}
