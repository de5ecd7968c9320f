/* Numbers in fields, and values from JSON. */
#include <stdlib.h>
#include <string.h>

#include "ecs_schema.h"
#include "internal.h"

double ecs__number_load(uint32_t type, const char *at) {
#define NUMBER_AS(type)                                                                            \
    do {                                                                                           \
        type value;                                                                                \
        memcpy(&value, at, sizeof value);                                                          \
        return (double)value;                                                                      \
    } while (0)
    switch (type) {
    case ECS_TYPE_BOOL:
    case ECS_TYPE_CHAR:
    case ECS_TYPE_U8: NUMBER_AS(uint8_t);
    case ECS_TYPE_I8: NUMBER_AS(int8_t);
    case ECS_TYPE_I16: NUMBER_AS(int16_t);
    case ECS_TYPE_U16: NUMBER_AS(uint16_t);
    case ECS_TYPE_ENUM:
    case ECS_TYPE_I32: NUMBER_AS(int32_t);
    case ECS_TYPE_U32: NUMBER_AS(uint32_t);
    case ECS_TYPE_F32: NUMBER_AS(float);
    default: NUMBER_AS(double);
    }
#undef NUMBER_AS
}

static bool store_float(const ecs_field_t *field, double value, char *to) {
    if (field->type == ECS_TYPE_F32) {
        bool finite = value - value == 0;
        if (finite && (value > 3.5e38 || value < -3.5e38)) { return false; }
        float narrow = (float)value;
        if (finite && narrow - narrow != 0) { return false; }
        value = (double)narrow;
    }
    /* a range leaves NaN out */
    if (field->has_range && !(value >= field->min && value <= field->max)) { return false; }
    if (field->type == ECS_TYPE_F32) {
        float narrow = (float)value;
        memcpy(to, &narrow, sizeof narrow);
    } else {
        memcpy(to, &value, sizeof value);
    }
    return true;
}

bool ecs__number_store(const ecs_field_t *field, double value, char *to) {
    switch (field->type) {
    case ECS_TYPE_F32:
    case ECS_TYPE_F64: return store_float(field, value, to);
    case ECS_TYPE_ENTITY: memcpy(to, &value, sizeof value); return true;
    default: break;
    }
    if (!(value >= field->min && value <= field->max)) { return false; }
    int64_t integer = (int64_t)value;
    if ((double)integer != value) { return false; }
    memcpy(to, &integer, ecs__element_bytes(field)); /* little endian */
    return true;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

enum { PATH_BYTES = 112, SHOWN_BYTES = 40 };

typedef struct {
    ecs_world_t *world;
    const json_doc_t *doc;
    char path[PATH_BYTES]; /* of the value being read, cut when longer */
    size_t path_bytes;
} reader_t;

static int read_object(reader_t *r, const json_node_t *node, const ecs_field_t *fields,
                       uint32_t count, char *to);

/* Lengthens the path; answers its length before, for path_back. */
static size_t path_add(reader_t *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static size_t path_add(reader_t *r, const char *format, ...) {
    size_t before = r->path_bytes;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(r->path + before, sizeof r->path - before, format, args);
    va_end(args);
    r->path_bytes += n < 0 ? 0 : (size_t)n;
    if (r->path_bytes >= sizeof r->path) { r->path_bytes = sizeof r->path - 1; }
    return before;
}

static void path_back(reader_t *r, size_t bytes) {
    r->path_bytes = bytes;
    r->path[bytes] = '\0';
}

static void describe(const json_node_t *node, char *out, size_t bytes) {
    switch (node->type) {
    case JSON_NULL: (void)snprintf(out, bytes, "null"); break;
    case JSON_FALSE: (void)snprintf(out, bytes, "false"); break;
    case JSON_TRUE: (void)snprintf(out, bytes, "true"); break;
    case JSON_NUMBER: ecs__number_text(node->number, false, out, bytes); break;
    case JSON_STRING:
        (void)snprintf(out, bytes, "\"%.*s%s\"", SHOWN_BYTES, node->text,
                       node->text_bytes > SHOWN_BYTES ? "..." : "");
        break;
    case JSON_ARRAY: (void)snprintf(out, bytes, "an array of %u", node->count); break;
    case JSON_OBJECT: (void)snprintf(out, bytes, "an object"); break;
    }
}

static int refuse_text(reader_t *r, const json_node_t *node, const char *wants, const char *got) {
    return ecs__fail(r->world, ECS_E_INVALID, "%s: expected %s, got %s (line %u, column %u)",
                     r->path, wants, got, node->line, node->column);
}

static int refuse_node(reader_t *r, const json_node_t *node, const char *wants) {
    char got[SHOWN_BYTES + 16];
    describe(node, got, sizeof got);
    return refuse_text(r, node, wants, got);
}

static int refuse(reader_t *r, const json_node_t *node, const ecs_field_t *field) {
    char wants[112];
    ecs__field_wants(r->world, field, wants, sizeof wants);
    return refuse_node(r, node, wants);
}

static int read_text(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    char got[48];
    if (node->type != JSON_STRING) { return refuse(r, node, field); }
    if (strlen(node->text) != node->text_bytes) {
        return refuse_node(r, node, "text without a 0 byte");
    }
    if (node->text_bytes > field->count) {
        char wants[64];
        ecs__field_wants(r->world, field, wants, sizeof wants);
        (void)snprintf(got, sizeof got, "%zu", node->text_bytes);
        return refuse_text(r, node, wants, got);
    }
    memset(to, 0, field->size_bytes);
    memcpy(to, node->text, node->text_bytes);
    return ECS_OK;
}

static int read_entity(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    ecs_id_t id = 0;
    if (node->type == JSON_STRING) {
        bool whole = strlen(node->text) == node->text_bytes && node->text[0] != '\0';
        id = whole ? ecs_lookup(r->world, node->text) : 0;
        if (id == 0) { return refuse_node(r, node, "the path of an entity"); }
    } else if (node->type == JSON_NUMBER) {
        id = node->number;
        /* the first generation is 1: what is smaller is no id */
        bool is_id = id == 0 || (id >= 4294967296.0 && id < 9007199254740992.0);
        if (!is_id || (double)(uint64_t)id != id) { return refuse(r, node, field); }
    } else if (node->type != JSON_NULL) {
        return refuse(r, node, field);
    }
    memcpy(to, &id, sizeof id);
    return ECS_OK;
}

static int read_enum(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    if (node->type != JSON_STRING) { return refuse(r, node, field); }
    int32_t ordinal = 0;
    if (strlen(node->text) == node->text_bytes &&
        ecs_enum_value(r->world, field->enum_id, node->text, &ordinal) == ECS_OK) {
        memcpy(to, &ordinal, sizeof ordinal);
        return ECS_OK;
    }
    ecs__nearest_t nearest = {0};
    const ecs__enum_t *type = &r->world->enums[field->enum_id];
    for (uint32_t i = 0; i < type->count; i++) {
        ecs__nearest(&nearest, node->text, type->members[i]);
    }
    char got[SHOWN_BYTES + sizeof nearest.text + 8];
    (void)snprintf(got, sizeof got, "\"%.*s\"%s", SHOWN_BYTES, node->text, nearest.text);
    char wants[ECS_NAME_BYTES + 16];
    ecs__field_wants(r->world, field, wants, sizeof wants);
    return refuse_text(r, node, wants, got);
}

static int read_element(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    switch (field->type) {
    case ECS_TYPE_STRUCT: {
        const ecs__component_t *type = &r->world->structs[field->struct_id];
        if (node->type != JSON_OBJECT) { return refuse(r, node, field); }
        return read_object(r, node, type->fields, type->field_count, to);
    }
    case ECS_TYPE_ENTITY: return read_entity(r, node, field, to);
    case ECS_TYPE_ENUM: return read_enum(r, node, field, to);
    case ECS_TYPE_BOOL:
        if (node->type != JSON_TRUE && node->type != JSON_FALSE) { return refuse(r, node, field); }
        *to = node->type == JSON_TRUE;
        return ECS_OK;
    default:
        if (node->type == JSON_NUMBER && ecs__number_store(field, node->number, to)) {
            return ECS_OK;
        }
        return refuse(r, node, field);
    }
}

static int read_array(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    if (node->type != JSON_ARRAY || node->count != field->count) {
        char wants[32];
        (void)snprintf(wants, sizeof wants, "an array of %u", field->count);
        return refuse_node(r, node, wants);
    }
    int rc = ECS_OK;
    uint32_t i = 0;
    for (uint32_t at = node->first; rc == ECS_OK && at != 0; at = r->doc->nodes[at].next, i++) {
        size_t before = path_add(r, "[%u]", i);
        rc = read_element(r, &r->doc->nodes[at], field, to + (size_t)i * ecs__element_bytes(field));
        path_back(r, before);
    }
    return rc;
}

static int read_field(reader_t *r, const json_node_t *node, const ecs_field_t *field, char *to) {
    if (field->type == ECS_TYPE_CHAR) { return read_text(r, node, field, to); }
    return field->is_array ? read_array(r, node, field, to) : read_element(r, node, field, to);
}

static int unknown_field(reader_t *r, const json_node_t *node, const ecs_field_t *fields,
                         uint32_t count) {
    ecs__nearest_t nearest = {0};
    for (uint32_t i = 0; i < count; i++) {
        ecs__nearest(&nearest, node->key, fields[i].name);
    }
    return ecs__fail(r->world, ECS_E_UNKNOWN, "%s has no field \"%.*s\"%s (line %u, column %u)",
                     r->path, SHOWN_BYTES, node->key, nearest.text, node->key_line,
                     node->key_column);
}

static int read_object(reader_t *r, const json_node_t *node, const ecs_field_t *fields,
                       uint32_t count, char *to) {
    int rc = ECS_OK;
    for (uint32_t at = node->first; rc == ECS_OK && at != 0; at = r->doc->nodes[at].next) {
        const json_node_t *member = &r->doc->nodes[at];
        uint32_t i = 0;
        while (i < count && (strlen(fields[i].name) != member->key_bytes ||
                             memcmp(fields[i].name, member->key, member->key_bytes) != 0)) {
            i++;
        }
        if (i == count) { return unknown_field(r, member, fields, count); }
        size_t before = path_add(r, ".%s", fields[i].name);
        rc = read_field(r, member, &fields[i], to + fields[i].offset_bytes);
        path_back(r, before);
    }
    return rc;
}

int ecs_value_from_node(ecs_world_t *world, uint32_t component, const json_doc_t *doc,
                        uint32_t node, void *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    if (node == 0 || node >= doc->count) {
        return ecs__fail(world, ECS_E_INVALID, "no node %u in the document", node);
    }
    const ecs__component_t *type = &world->components[component];
    reader_t r = {.world = world, .doc = doc};
    (void)path_add(&r, "%s", type->name);
    if (doc->nodes[node].type != JSON_OBJECT) {
        return refuse_node(&r, &doc->nodes[node], "an object");
    }
    char *value = ecs__calloc(type->size_bytes, 1);
    if (value == NULL) { return ecs__oom(world); }
    if (type->size_bytes > 0) { memcpy(value, type->default_value, type->size_bytes); }
    int rc = read_object(&r, &doc->nodes[node], type->fields, type->field_count, value);
    if (rc == ECS_OK && type->size_bytes > 0) { memcpy(out, value, type->size_bytes); }
    free(value);
    return rc;
}

int ecs_value_from_json(ecs_world_t *world, uint32_t component, const char *text, size_t bytes,
                        void *out) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    json_doc_t doc;
    json_error_t error;
    if (json_parse(&doc, text, bytes, &error) != 0) {
        return ecs__fail(world, ECS_E_INVALID, "%s: %s (line %u, column %u)",
                         ecs_component_name(world, component), error.text, error.line,
                         error.column);
    }
    int rc = ecs_value_from_node(world, component, &doc, 1, out);
    json_fini(&doc);
    return rc;
}
