/* The model's schema, its answers to questions, and its watches. */
#include <string.h>

#include "model_schema.h"

#define FIELD(type, member, kind, length, text)                                                    \
    { (text), (kind), (length), offsetof(type, member), sizeof(((type *)0)->member) }

static const model_num_t NUM = {.a = 1.5, .n = -3};
static const model_small_t SMALL = {.i = -5, .s = -300, .on = true};
static const model_text_t TEXT = {"hey", {2, 2, 2}, 0};
static const model_alarm_t ALARM = {.level = 5};
static const model_ref_t REF = {.mode = 1};
static const model_big_t BIG = {.end = 9};
static const model_one_t ONE = {.y = 4};
static const model_note_t NOTE = {7};
static const model_signal_t SIGNAL = {.level = 2.5, .text = "go"};

const model_component_t MODEL_COMPONENT[MODEL_COMPONENTS] = {
    [MODEL_NUM] = {"Num",
                   &NUM,
                   sizeof NUM,
                   0,
                   3,
                   {FIELD(model_num_t, a, ECS_TYPE_F64, 1, "double a = 1.5"),
                    FIELD(model_num_t, b, ECS_TYPE_F64, 1, "double b"),
                    FIELD(model_num_t, n, ECS_TYPE_I32, 1, "int32_t n = -3")}},
    [MODEL_SMALL] = {"Small",
                     &SMALL,
                     sizeof SMALL,
                     24,
                     5,
                     {FIELD(model_small_t, u, ECS_TYPE_U8, 1, "uint8_t u"),
                      FIELD(model_small_t, i, ECS_TYPE_I8, 1, "int8_t i = -5"),
                      FIELD(model_small_t, s, ECS_TYPE_I16, 1, "int16_t s = -300"),
                      FIELD(model_small_t, t, ECS_TYPE_U16, 1, "uint16_t t"),
                      FIELD(model_small_t, on, ECS_TYPE_BOOL, 1, "bool on = true")}},
    [MODEL_TEXT] = {"Text",
                    &TEXT,
                    sizeof TEXT,
                    32,
                    3,
                    {FIELD(model_text_t, label, ECS_TYPE_CHAR, 12, "char label[12] = \"hey\""),
                     FIELD(model_text_t, f, ECS_TYPE_F32, 3, "float f[3] = 2"),
                     FIELD(model_text_t, w, ECS_TYPE_U32, 1, "uint32_t w")}},
    [MODEL_ALARM] = {"Alarm",
                     &ALARM,
                     sizeof ALARM,
                     80 + sizeof BIG + sizeof ONE,
                     2,
                     {FIELD(model_alarm_t, level, ECS_TYPE_F64, 1, "double level = 5"),
                      FIELD(model_alarm_t, kind, ECS_TYPE_U8, 1, "uint8_t kind")}},
    [MODEL_MARK] = {.name = "Mark"},
    [MODEL_REF] = {"Ref",
                   &REF,
                   sizeof REF,
                   64,
                   2,
                   {FIELD(model_ref_t, other, ECS_TYPE_ENTITY, 1, "entity other"),
                    FIELD(model_ref_t, mode, ECS_TYPE_ENUM, 1, "Mode mode = auto")}},
    [MODEL_TAG_A] = {.name = "TagA"},
    [MODEL_TAG_B] = {.name = "TagB"},
    [MODEL_BIG] = {"Big",
                   &BIG,
                   sizeof BIG,
                   80,
                   2,
                   {FIELD(model_big_t, big, ECS_TYPE_F32, 250, "float big[250]"),
                    FIELD(model_big_t, end, ECS_TYPE_F64, 1, "double end = 9")}},
    [MODEL_ONE] = {"One",
                   &ONE,
                   sizeof ONE,
                   80 + sizeof BIG,
                   2,
                   {FIELD(model_one_t, x, ECS_TYPE_BOOL, 1, "bool x"),
                    FIELD(model_one_t, y, ECS_TYPE_F64, 1, "double y = 4")}},
};

const model_component_t MODEL_STRUCT[MODEL_STRUCTS] = {
    [MODEL_NOTE] = {"Note",
                    &NOTE,
                    sizeof NOTE,
                    0,
                    1,
                    {FIELD(model_note_t, n, ECS_TYPE_U8, 1, "uint8_t n = 7")}},
    [MODEL_SIGNAL] = {"Signal",
                      &SIGNAL,
                      sizeof SIGNAL,
                      0,
                      3,
                      {FIELD(model_signal_t, level, ECS_TYPE_F64, 1, "double level = 2.5"),
                       FIELD(model_signal_t, text, ECS_TYPE_CHAR, 6, "char text[6] = \"go\""),
                       FIELD(model_signal_t, from, ECS_TYPE_ENTITY, 1, "entity from")}},
};
_Static_assert(sizeof SIGNAL <= MODEL_STRUCT_BYTES, "the largest struct");

double model_number(const model_field_t *field, const char *component) {
    const char *at = component + field->offset_bytes;
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        float f32;
        double f64;
    } v;
    memcpy(&v, at, field->size_bytes / field->count);
    switch (field->type) {
    case ECS_TYPE_I8: return v.i8;
    case ECS_TYPE_I16: return v.i16;
    case ECS_TYPE_U16: return v.u16;
    case ECS_TYPE_I32:
    case ECS_TYPE_ENUM: return v.i32;
    case ECS_TYPE_U32: return v.u32;
    case ECS_TYPE_F32: return (double)v.f32;
    case ECS_TYPE_F64:
    case ECS_TYPE_ENTITY: return v.f64;
    default: return v.u8;
    }
}

/* ---- questions ------------------------------------------------------------------------------ */

static uint32_t bits(const uint32_t *components, uint32_t count) {
    uint32_t set = 0;
    for (uint32_t i = 0; i < count; i++) {
        set |= 1u << components[i];
    }
    return set;
}

static bool matches(const ecs_query_desc_t *d, uint32_t set, uint32_t looked_at) {
    uint32_t need = bits(d->write, d->write_count) | bits(d->read, d->read_count) |
                    bits(d->with, d->with_count) | bits(d->changed, d->changed_count) |
                    bits(d->added, d->added_count);
    uint32_t bad = bits(d->without, d->without_count);
    return (set & need & looked_at) == (need & looked_at) && (set & bad & looked_at) == 0;
}

bool model_matches(const ecs_query_desc_t *d, uint32_t set) { return matches(d, set, ~0u); }

bool model_matches_shape(const ecs_query_desc_t *d, uint32_t shape) {
    return matches(d, model_shape_set(shape), ~MODEL_SPARSE);
}

static ecs_id_t child_named(const model_t *m, ecs_id_t parent, const char *name, size_t length) {
    for (uint32_t i = 0; length > 0 && i < m->slot_count; i++) {
        const model_entity_t *e = &m->entity[i];
        if (e->state == MODEL_ALIVE && e->parent == parent && strlen(e->name) == length &&
            memcmp(e->name, name, length) == 0) {
            return e->id;
        }
    }
    return 0;
}

ecs_id_t model_lookup(model_t *m, const char *path) {
    size_t length = strcspn(path, "/");
    ecs_id_t at = child_named(m, 0, path, length);
    while (at != 0 && path[length] == '/') {
        path += length + 1;
        length = strcspn(path, "/");
        at = child_named(m, at, path, length);
    }
    return at;
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ at[i]) * 1099511628211ull;
    }
    return hash ^ hash >> 29;
}

static uint64_t mix_rows(uint64_t hash, const model_rows_t *rows) {
    hash = mix(hash, &rows->count, sizeof rows->count);
    return mix(hash, rows->row, rows->count * sizeof rows->row[0]);
}

uint64_t model_signature(const model_t *m) {
    uint64_t hash = 14695981039346656037ull;
    for (uint32_t i = 0; i < m->slot_count; i++) {
        const model_entity_t *e = &m->entity[i];
        if (e->state != MODEL_ALIVE) { continue; }
        hash = mix(hash, &e->id, sizeof e->id);
        hash = mix(hash, &e->set, sizeof e->set);
        hash = mix(hash, &e->parent, sizeof e->parent);
        hash = mix(hash, e->name, strlen(e->name) + 1);
        for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
            const model_component_t *component = &MODEL_COMPONENT[c];
            if ((e->set >> c & 1u) == 0) { continue; }
            hash = mix(hash, e->value + component->value_at, component->size_bytes);
        }
    }
    for (uint32_t shape = 0; shape < MODEL_SHAPES; shape++) {
        hash = mix_rows(hash, &m->rows[shape]);
    }
    for (uint32_t c = 0; c < MODEL_COMPONENTS; c++) {
        hash = mix_rows(hash, &m->sparse_rows[c]);
    }
    return hash;
}

/* ---- watches -------------------------------------------------------------------------------- */

static bool present(model_t *m, const ecs_watch_desc_t *d) {
    return model_alive(m, d->id) && (model_find(m, d->id)->set >> d->component & 1u) != 0;
}

static bool holds(model_t *m, const ecs_watch_desc_t *d) {
    bool all = present(m, d);
    for (uint32_t i = 0; all && i < d->field_count; i++) {
        const model_field_t *field = &MODEL_COMPONENT[d->component].field[d->field[i]];
        all = model_number(field, model_value(m, d->id, d->component)) == d->value[i];
    }
    return all;
}

/* What the kind asks about. */
static bool state_now(model_t *m, const ecs_watch_desc_t *d) {
    switch (d->kind) {
    case ECS_WATCH_LEVEL:
    case ECS_WATCH_RISING:
    case ECS_WATCH_FALLING: return holds(m, d);
    case ECS_WATCH_DESPAWNED: return model_find(m, d->id) == NULL;
    default: return present(m, d);
    }
}

static bool look(model_t *m, const ecs_watch_desc_t *d, char *bytes) {
    const model_component_t *component = &MODEL_COMPONENT[d->component];
    const char *value = model_value(m, d->id, d->component);
    memset(bytes, 0, MODEL_LARGEST);
    if (value == NULL) { return false; }
    if (d->field_count == 0) {
        memcpy(bytes, value, component->size_bytes);
    } else {
        const model_field_t *field = &component->field[d->field[0]];
        memcpy(bytes, value + field->offset_bytes, field->size_bytes);
    }
    return true;
}

static int check(const ecs_watch_desc_t *d) {
    if (d->kind > ECS_WATCH_DESPAWNED || d->field_count > ECS_WATCH_MAX_CONDITIONS) {
        return ECS_E_INVALID;
    }
    bool needs = d->kind != ECS_WATCH_DESPAWNED || d->field_count > 0;
    if (needs && d->component >= MODEL_COMPONENTS) { return ECS_E_UNKNOWN; }
    for (uint32_t i = 0; i < d->field_count; i++) {
        if (d->field[i] >= MODEL_COMPONENT[d->component].field_count) { return ECS_E_UNKNOWN; }
    }
    return ECS_OK;
}

int model_watch_add(model_t *m, const ecs_watch_desc_t *d, uint64_t owner, bool *fired) {
    *fired = false;
    int rc = check(d);
    if (rc != ECS_OK) { return rc; }
    bool now = state_now(m, d), gone = model_find(m, d->id) == NULL;
    *fired = (d->kind == ECS_WATCH_LEVEL && now) || (d->kind == ECS_WATCH_DESPAWNED && gone) ||
             (d->kind == ECS_WATCH_REMOVED && gone);
    if (*fired) { return ECS_OK; }
    if (gone) { return ECS_E_DEAD; }
    model_watch_t *watch = &m->watch[m->watch_count++];
    *watch = (model_watch_t){.desc = *d, .owner = owner, .last = now};
    if (d->kind == ECS_WATCH_CHANGED) { watch->there = look(m, d, watch->bytes); }
    return ECS_OK;
}

void model_watch_remove(model_t *m, uint32_t at) {
    m->watch_count--;
    memmove(&m->watch[at], &m->watch[at + 1], (m->watch_count - at) * sizeof m->watch[0]);
}

static bool fires(model_t *m, model_watch_t *watch) {
    char bytes[MODEL_LARGEST];
    if (watch->desc.kind == ECS_WATCH_CHANGED) {
        bool there = look(m, &watch->desc, bytes);
        return there != watch->there || memcmp(bytes, watch->bytes, sizeof bytes) != 0;
    }
    bool now = state_now(m, &watch->desc), before = watch->last;
    watch->last = now;
    switch (watch->desc.kind) {
    case ECS_WATCH_RISING:
    case ECS_WATCH_ADDED: return now && !before;
    case ECS_WATCH_FALLING:
    case ECS_WATCH_REMOVED: return !now && before;
    default: return now;
    }
}

void model_watch_poll(model_t *m) {
    m->watch_result_count = 0;
    for (uint32_t i = 0; i < m->watch_count;) {
        model_watch_t *watch = &m->watch[i];
        bool fired = fires(m, watch);
        if (!fired && model_find(m, watch->desc.id) != NULL) {
            i++;
            continue;
        }
        m->watch_result[m->watch_result_count++] = (model_watch_result_t){
            {watch->id[0], watch->id[1]}, watch->owner, fired ? ECS_OK : ECS_E_DEAD};
        model_watch_remove(m, i);
    }
}
