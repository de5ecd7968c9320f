/* What a change of layout does to a value: the plan, and the conversion of one value. */
#include <stdlib.h>
#include <string.h>

#include "migrate.h"

/* The walk over both layouts. Entries are noted once, though the elements of an array of structs
 * all pass: `entry_at` goes back for each of them. */
typedef struct {
    ecs_migration_t *migration;
    uint32_t entry_at;
    bool failed;                 /* memory was out, */
    ecs_migration_field_t spare; /* and what could not be noted goes here */
} planner_t;

/* A list of fields at an offset of the value, such as those of one element of an array. */
typedef struct {
    const ecs_field_t *fields;
    uint32_t count, at;
} part_t;

typedef struct {
    const ecs_field_t *from, *to;
    uint32_t from_at, to_at;
    uint32_t common; /* elements that both have */
    char name[2 * ECS_NAME_BYTES];
} pair_t;

static void plan_part(planner_t *p, part_t from, part_t to, const char *prefix);

/* ---- entries and steps ---------------------------------------------------------------------- */

static ecs_migration_field_t *note(planner_t *p, const char *name, ecs_field_change_t change) {
    ecs_migration_t *m = p->migration;
    if (p->entry_at == m->entry_count) {
        ecs_migration_field_t *made = ECS__PUSH(m->entries, m->entry_count, m->entry_capacity);
        p->failed = p->failed || made == NULL;
        if (made == NULL) { return &p->spare; }
        *made = (ecs_migration_field_t){0};
    }
    bool loses = change == ECS_FIELD_DROPPED || change == ECS_FIELD_LOSSY;
    if (loses || change == ECS_FIELD_ADDED) { m->in_place = false; }
    if (loses && p->entry_at < m->lossy) { m->lossy = p->entry_at; }
    ecs_migration_field_t *entry = &m->entries[p->entry_at++];
    entry->change = change;
    entry->reason[0] = '\0';
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    return entry;
}

/* A step over what both fields have. Belongs to the entry that was noted last. */
static void step(planner_t *p, const pair_t *pair, ecs__step_kind_t kind, uint32_t count) {
    ecs_migration_t *m = p->migration;
    ecs__step_t *made = ECS__PUSH(m->steps, m->step_count, m->step_capacity);
    p->failed = p->failed || made == NULL;
    if (made == NULL) { return; }
    bool stays = pair->from_at == pair->to_at && pair->from->type == pair->to->type;
    bool in_place = kind == ECS__STEP_COPY || kind == ECS__STEP_NUMBER;
    m->in_place = m->in_place && stays && in_place;
    m->only_copies = m->only_copies && kind == ECS__STEP_COPY;
    *made = (ecs__step_t){kind,       pair->from_at, pair->to_at,    count,
                          pair->from, pair->to,      p->entry_at - 1};
}

static const char *type_name(const ecs_world_t *world, const ecs_field_t *field) {
    if (field->type == ECS_TYPE_ENUM) { return ecs_enum_name(world, field->enum_id); }
    if (field->type == ECS_TYPE_STRUCT) { return ecs_struct_name(world, field->struct_id); }
    return ecs__type_name(field->type);
}

/* ---- fields --------------------------------------------------------------------------------- */

static bool is_integer(const ecs_field_t *field) {
    return field->type >= ECS_TYPE_I8 && field->type <= ECS_TYPE_U32;
}

static bool is_same(const ecs_field_t *a, const ecs_field_t *b) {
    return a->type == b->type && a->enum_id == b->enum_id && a->struct_id == b->struct_id;
}

/* Whether each number of one field is one of the other. A range says what a scene may set, and not
 * what commands and writers have stored. */
static bool always_fits(const ecs_field_t *from, const ecs_field_t *to) {
    bool same = from->type == to->type;
    if (to->has_range) { return same && from->min == to->min && from->max == to->max; }
    if (same || to->type == ECS_TYPE_F64) { return true; }
    if (from->has_range) { return false; }
    if (to->type == ECS_TYPE_F32) { return from->type <= ECS_TYPE_U16; }
    bool ends = from->min >= to->min && from->max <= to->max;
    return ends && (is_integer(from) || from->type == ECS_TYPE_BOOL);
}

static bool numbers_convert(const ecs_field_t *from, const ecs_field_t *to) {
    if (ecs__is_number(from) && ecs__is_number(to)) { return true; }
    return (from->type == ECS_TYPE_BOOL && is_integer(to)) ||
           (is_integer(from) && to->type == ECS_TYPE_BOOL);
}

static void plan_text(planner_t *p, const pair_t *pair) {
    uint32_t from = pair->from->count, to = pair->to->count;
    ecs_migration_field_t *entry =
        note(p, pair->name, from == to ? ECS_FIELD_KEPT : ECS_FIELD_CONVERTED);
    if (from == to) {
        step(p, pair, ECS__STEP_COPY, from);
        return;
    }
    (void)snprintf(entry->reason, sizeof entry->reason, "char[%u] to char[%u]%s", from, to,
                   to < from ? ", where it fits" : "");
    step(p, pair, ECS__STEP_TEXT, 1);
}

static void plan_numbers(planner_t *p, const pair_t *pair) {
    const ecs_world_t *world = p->migration->world;
    bool fits = always_fits(pair->from, pair->to);
    if (pair->from->type == pair->to->type && fits) {
        (void)note(p, pair->name, ECS_FIELD_KEPT);
        step(p, pair, ECS__STEP_COPY, pair->common * ecs__element_bytes(pair->to));
        return;
    }
    ecs_migration_field_t *entry = note(p, pair->name, ECS_FIELD_CONVERTED);
    if (pair->from->type == pair->to->type) {
        (void)snprintf(entry->reason, sizeof entry->reason, "where the new range holds it");
    } else {
        (void)snprintf(entry->reason, sizeof entry->reason, "%s to %s%s",
                       type_name(world, pair->from), type_name(world, pair->to),
                       fits ? "" : ", where it fits");
    }
    step(p, pair, ECS__STEP_NUMBER, pair->common);
}

static void plan_enum(planner_t *p, const pair_t *pair) {
    ecs_migration_field_t *entry = note(p, pair->name, ECS_FIELD_CONVERTED);
    (void)snprintf(entry->reason, sizeof entry->reason, "by member name, where %s has it",
                   type_name(p->migration->world, pair->to));
    step(p, pair, ECS__STEP_ENUM, pair->common);
}

static void plan_struct(planner_t *p, const pair_t *pair) {
    const ecs__component_t *from = &p->migration->world->structs[pair->from->struct_id];
    const ecs__component_t *to = &p->migration->world->structs[pair->to->struct_id];
    uint32_t first = p->entry_at;
    for (uint32_t i = 0; i < pair->common; i++) {
        p->entry_at = first;
        plan_part(
            p, (part_t){from->fields, from->field_count, pair->from_at + i * from->size_bytes},
            (part_t){to->fields, to->field_count, pair->to_at + i * to->size_bytes}, pair->name);
    }
}

/* What both have of a field, or that there is no way from one type to the other. */
static void plan_elements(planner_t *p, const pair_t *pair) {
    uint32_t from = pair->from->type, to = pair->to->type;
    if (from == ECS_TYPE_CHAR && to == ECS_TYPE_CHAR) {
        plan_text(p, pair);
    } else if (numbers_convert(pair->from, pair->to)) {
        plan_numbers(p, pair);
    } else if (from == ECS_TYPE_ENUM && to == ECS_TYPE_ENUM && !is_same(pair->from, pair->to)) {
        plan_enum(p, pair);
    } else if (from == ECS_TYPE_STRUCT && to == ECS_TYPE_STRUCT && !is_same(pair->from, pair->to)) {
        plan_struct(p, pair);
    } else if (is_same(pair->from, pair->to)) {
        (void)note(p, pair->name, ECS_FIELD_KEPT);
        step(p, pair, ECS__STEP_COPY, pair->common * ecs__element_bytes(pair->to));
    } else {
        ecs_migration_field_t *entry = note(p, pair->name, ECS_FIELD_LOSSY);
        (void)snprintf(entry->reason, sizeof entry->reason, "%s to %s",
                       type_name(p->migration->world, pair->from),
                       type_name(p->migration->world, pair->to));
    }
}

/* Says of an entry that the array's length changes as well. */
static void note_length(planner_t *p, uint32_t at, const pair_t *pair) {
    ecs_migration_t *m = p->migration;
    if (p->failed) { return; }
    ecs_migration_field_t *entry = &m->entries[at];
    uint32_t from = pair->from->count, to = pair->to->count;
    char also[sizeof entry->reason];
    if (entry->change == ECS_FIELD_LOSSY) { return; }
    (void)snprintf(also, sizeof also, "%s", entry->reason);
    (void)snprintf(entry->reason, sizeof entry->reason, "%u elements become %u%s%.40s", from, to,
                   also[0] != '\0' ? ", " : "", also);
    entry->change = to < from ? ECS_FIELD_LOSSY : ECS_FIELD_CONVERTED;
    if (to < from && at < m->lossy) { m->lossy = at; }
}

static void plan_pair(planner_t *p, const pair_t *pair) {
    const ecs_field_t *from = pair->from, *to = pair->to;
    uint32_t at = p->entry_at;
    bool is_text = from->type == ECS_TYPE_CHAR || to->type == ECS_TYPE_CHAR;
    bool is_resized = !is_text && from->count != to->count;
    if (from->count != to->count) { p->migration->in_place = false; }
    bool is_nested = from->type == ECS_TYPE_STRUCT && to->type == from->type && !is_same(from, to);
    /* the fields of a struct have entries of their own, after the one about the length */
    if (is_nested && is_resized) { (void)note(p, pair->name, ECS_FIELD_CONVERTED); }
    plan_elements(p, pair);
    if (is_resized) { note_length(p, at, pair); }
}

static const ecs_field_t *find(part_t part, const char *name) {
    for (uint32_t i = 0; i < part.count; i++) {
        if (strcmp(part.fields[i].name, name) == 0) { return &part.fields[i]; }
    }
    return NULL;
}

static void full_name(char *out, size_t bytes, const char *prefix, const char *name) {
    (void)snprintf(out, bytes, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", name);
}

static void plan_part(planner_t *p, part_t from, part_t to, const char *prefix) {
    for (uint32_t i = 0; i < to.count; i++) {
        pair_t pair = {.to = &to.fields[i], .from = find(from, to.fields[i].name)};
        full_name(pair.name, sizeof pair.name, prefix, pair.to->name);
        if (pair.from == NULL) {
            (void)note(p, pair.name, ECS_FIELD_ADDED);
            continue;
        }
        pair.from_at = from.at + pair.from->offset_bytes;
        pair.to_at = to.at + pair.to->offset_bytes;
        pair.common = pair.from->count < pair.to->count ? pair.from->count : pair.to->count;
        plan_pair(p, &pair);
    }
    for (uint32_t i = 0; i < from.count; i++) {
        if (find(to, from.fields[i].name) != NULL) { continue; }
        char name[2 * ECS_NAME_BYTES];
        full_name(name, sizeof name, prefix, from.fields[i].name);
        ecs_migration_field_t *entry = note(p, name, ECS_FIELD_DROPPED);
        (void)snprintf(entry->reason, sizeof entry->reason, "the field goes");
    }
}

int ecs__migration_make(ecs_world_t *world, uint32_t component, ecs__component_t *to,
                        ecs_migration_t **out) {
    const ecs__component_t *now = &world->components[component];
    ecs_migration_t *m = ecs__calloc(1, sizeof *m);
    if (m == NULL) {
        ecs__layout_fini(to);
        return ecs__oom(world);
    }
    *m = (ecs_migration_t){.world = world,
                           .lossy = ECS__NONE,
                           .to = *to,
                           .component = component,
                           .version = now->version,
                           .only_copies = true};
    m->in_place = now->size_bytes == to->size_bytes;
    m->from = (ecs__component_t){.field_count = now->field_count, .size_bytes = now->size_bytes};
    m->from.fields = ecs__calloc(now->field_count, sizeof *now->fields);
    if (m->from.fields == NULL) {
        ecs_migration_destroy(m);
        return ecs__oom(world);
    }
    if (now->field_count > 0) {
        memcpy(m->from.fields, now->fields, now->field_count * sizeof *now->fields);
    }
    (void)snprintf(m->name, sizeof m->name, "%s", now->name);
    ecs__types_hold(world, &m->from, true);
    ecs__types_hold(world, &m->to, true);
    m->held = true;
    planner_t p = {.migration = m};
    plan_part(&p, (part_t){m->from.fields, m->from.field_count, 0},
              (part_t){m->to.fields, m->to.field_count, 0}, "");
    if (p.failed) {
        ecs_migration_destroy(m);
        return ecs__oom(world);
    }
    *out = m;
    return ECS_OK;
}

int ecs_migration_plan(ecs_world_t *world, uint32_t component, const char *const *fields,
                       uint32_t count, ecs_migration_t **out) {
    *out = NULL;
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (component >= world->component_count) {
        return ecs__fail(world, ECS_E_UNKNOWN, "no component %u", component);
    }
    ecs__component_t made = {0};
    int rc = ecs__layout_init(world, &made, fields, count);
    return rc == ECS_OK ? ecs__migration_make(world, component, &made, out) : rc;
}

const ecs_migration_field_t *ecs_migration_fields(const ecs_migration_t *migration,
                                                  uint32_t *count) {
    *count = migration->entry_count;
    return migration->entries;
}

void ecs_migration_may_drop(ecs_migration_t *migration) { migration->may_drop = true; }

const ecs_field_t *ecs_migration_layout(const ecs_migration_t *migration, uint32_t *count) {
    *count = migration->to.field_count;
    return migration->to.fields;
}

uint32_t ecs_migration_size_bytes(const ecs_migration_t *migration) {
    return migration->to.size_bytes;
}

void ecs_migration_destroy(ecs_migration_t *migration) {
    if (migration == NULL) { return; }
    if (migration->held) {
        ecs__types_hold(migration->world, &migration->from, false);
        ecs__types_hold(migration->world, &migration->to, false);
    }
    ecs__layout_fini(&migration->from);
    ecs__layout_fini(&migration->to);
    free(migration->entries);
    free(migration->steps);
    free(migration);
}

/* ---- one value ------------------------------------------------------------------------------ */

enum { GOT_BYTES = ECS_NAME_BYTES + 24 };

/* Each answers whether nothing is lost; if not, `got` says what does not fit. */

static bool convert_number(const ecs__step_t *s, const char *from, char *to, char *got) {
    char cell[8] = {0};
    double value = ecs__number_load(s->from->type, from);
    bool fits = ecs__number_store(s->to, value, cell);
    double back = fits ? ecs__number_load(s->to->type, cell) : 0;
    fits = fits && (back == value || (back != back && value != value));
    if (fits) {
        memcpy(to, cell, ecs__element_bytes(s->to));
    } else {
        ecs__number_text(value, s->from->type == ECS_TYPE_F32, got, GOT_BYTES);
    }
    return fits;
}

static bool convert_text(const ecs__step_t *s, const char *from, char *to, char *got) {
    size_t length = strnlen(from, s->from->count);
    if (length > s->to->count) {
        (void)snprintf(got, GOT_BYTES, "text of %zu bytes", length);
        return false;
    }
    memset(to, 0, s->to->size_bytes);
    memcpy(to, from, length);
    return true;
}

static bool convert_enum(const ecs_world_t *world, const ecs__step_t *s, const char *from, char *to,
                         char *got) {
    int32_t ordinal = (int32_t)ecs__number_load(ECS_TYPE_ENUM, from);
    const char *member = ecs_enum_member(world, s->from->enum_id, ordinal);
    int32_t found = 0;
    if (member == NULL) {
        (void)snprintf(got, GOT_BYTES, "ordinal %d", (int)ordinal);
        return false;
    }
    if (ecs_enum_value(world, s->to->enum_id, member, &found) != ECS_OK) {
        (void)snprintf(got, GOT_BYTES, "\"%s\"", member);
        return false;
    }
    memcpy(to, &found, sizeof found);
    return true;
}

static bool convert_element(const ecs_world_t *world, const ecs__step_t *s, const char *from,
                            char *to, char *got) {
    switch (s->kind) {
    case ECS__STEP_COPY: memcpy(to, from, s->count); return true;
    case ECS__STEP_NUMBER: return convert_number(s, from, to, got);
    case ECS__STEP_TEXT: return convert_text(s, from, to, got);
    case ECS__STEP_ENUM: return convert_enum(world, s, from, to, got);
    }
    return false;
}

/* Whether the field had no room for what a copy has of an element: the copy's value comes back. */
static bool was_lost(const ecs_world_t *world, const ecs__step_t *s, const char *saved) {
    const ecs__step_t forth = {.kind = s->kind, .from = s->to, .to = s->from};
    char cell[8] = {0}, got[GOT_BYTES];
    switch (s->kind) {
    case ECS__STEP_COPY: return false;
    case ECS__STEP_TEXT: return strnlen(saved, s->to->count) > s->from->count;
    case ECS__STEP_NUMBER: return !convert_number(&forth, saved, cell, got);
    case ECS__STEP_ENUM: return !convert_enum(world, &forth, saved, cell, got);
    }
    return false;
}

static int does_not_fit(const ecs_migration_t *m, const ecs__step_t *s, ecs_id_t id,
                        const char *got) {
    char wants[96], where[48] = "";
    ecs__field_wants(m->world, s->to, wants, sizeof wants);
    if (id != 0) { (void)snprintf(where, sizeof where, " (entity %.0f)", id); }
    return ecs__fail(m->world, ECS_E_INVALID, "%s.%s: %s is not %s%s", m->name,
                     m->entries[s->entry].name, got, wants, where);
}

int ecs__migration_allow(const ecs_migration_t *migration, const ecs_converter_t *converter) {
    bool allowed = converter != NULL || migration->saved != NULL;
    if (allowed || migration->lossy == ECS__NONE) { return ECS_OK; }
    for (uint32_t i = migration->lossy; i < migration->entry_count; i++) {
        const ecs_migration_field_t *entry = &migration->entries[i];
        bool refused = entry->change == ECS_FIELD_LOSSY ||
                       (entry->change == ECS_FIELD_DROPPED && !migration->may_drop);
        if (!refused) { continue; }
        return ecs__fail(migration->world, ECS_E_INVALID, "%s.%s would be lost: %s",
                         migration->name, entry->name, entry->reason);
    }
    return ECS_OK;
}

int ecs__migration_value(const ecs_migration_t *migration, const ecs_converter_t *converter,
                         ecs_id_t id, const void *from, void *to) {
    const ecs_migration_t *m = migration;
    char got[GOT_BYTES] = "";
    const char *saved = m->saved == NULL ? NULL : ecs__saved_value(m->saved, id);
    bool strict = converter == NULL && m->saved == NULL;
    const void *rest = saved == NULL ? m->to.default_value : saved;
    if (m->to.size_bytes > 0) { memcpy(to, rest, m->to.size_bytes); }
    for (uint32_t i = 0; i < m->step_count; i++) {
        const ecs__step_t *s = &m->steps[i];
        uint32_t elements = s->kind == ECS__STEP_COPY ? 1 : s->count;
        for (uint32_t k = 0; k < elements; k++) {
            const char *at = (const char *)from + s->from_at + k * ecs__element_bytes(s->from);
            char *into = (char *)to + s->to_at + k * ecs__element_bytes(s->to);
            if (saved != NULL && was_lost(m->world, s, into)) { continue; }
            bool fits = convert_element(m->world, s, at, into, got);
            if (!fits && strict) { return does_not_fit(m, s, id, got); }
        }
    }
    if (converter == NULL || converter->convert == NULL) { return ECS_OK; }
    int rc = converter->convert(converter->context, id, from, to);
    if (rc >= 0) { return ECS_OK; }
    return ecs__fail(m->world, rc, "%s: the converter refuses the value of entity %.0f: %s",
                     m->name, id, ecs_error_text(rc));
}

int ecs_migration_convert(const ecs_migration_t *migration, const ecs_converter_t *converter,
                          const void *from, void *to) {
    if (!pthread_equal(migration->world->owner, pthread_self())) { return ECS_E_THREAD; }
    int rc = ecs__migration_allow(migration, converter);
    return rc == ECS_OK ? ecs__migration_value(migration, converter, 0, from, to) : rc;
}
