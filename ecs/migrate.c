/* Migration of stored values: the chunks of every archetype with the component are written anew,
 * and only when all of them are there do they take the place of the old ones. */
#include <stdlib.h>
#include <string.h>

#include "migrate.h"

/* An archetype and what it will be. */
typedef struct {
    ecs__archetype_t *archetype;
    ecs__archetype_t made; /* owns slots and chunks until it takes the archetype's place */
} rebuild_t;

typedef struct {
    ecs_world_t *world;
    uint32_t component;
    const ecs_migration_t *migration;
    const ecs_converter_t *converter;
    rebuild_t *rebuilds;
    uint32_t rebuild_count, rebuild_capacity;
    void **copies; /* of each watch for changes of the component, in the new layout */
    bool *pending; /* of each watch: it would fire now */
    bool in_place; /* no value changes */
} job_t;

/* ---- what may be in the way ----------------------------------------------------------------- */

static const ecs_field_t *field_named(const ecs__component_t *layout, const char *name) {
    for (uint32_t i = 0; i < layout->field_count; i++) {
        if (strcmp(layout->fields[i].name, name) == 0) { return &layout->fields[i]; }
    }
    return NULL;
}

static bool holds(const ecs_field_t *field, double value) {
    char cell[8] = {0};
    return ecs__number_store(field, value, cell) && ecs__number_load(field->type, cell) == value;
}

/* The number that a condition compares with once the field has its new type. */
static bool condition_value(const ecs_world_t *world, const ecs_field_t *from,
                            const ecs_field_t *to, double *value) {
    if (to->type == ECS_TYPE_STRUCT || to->type == ECS_TYPE_CHAR) { return false; }
    if (to->is_array != from->is_array) { return false; } /* the host compares single values */
    bool is_enum = from->type == ECS_TYPE_ENUM;
    if (is_enum != (to->type == ECS_TYPE_ENUM) ||
        (from->type == ECS_TYPE_ENTITY) != (to->type == ECS_TYPE_ENTITY)) {
        return false;
    }
    if (!is_enum) { return holds(to, *value) || !holds(from, *value); }
    if (from->enum_id == to->enum_id) { return true; }
    int32_t ordinal = 0;
    bool is_ordinal = *value >= 0 && *value <= INT32_MAX;
    const char *member = is_ordinal ? ecs_enum_member(world, from->enum_id, (int32_t)*value) : NULL;
    if (member == NULL || ecs_enum_value(world, to->enum_id, member, &ordinal) != ECS_OK) {
        return false;
    }
    *value = ordinal;
    return true;
}

/* Rewrites what a watch says about fields. */
static int watch_desc(const job_t *job, ecs_watch_desc_t *d) {
    const ecs_migration_t *m = job->migration;
    for (uint32_t i = 0; i < d->field_count; i++) {
        const ecs_field_t *from = &m->from.fields[d->field[i]];
        const ecs_field_t *to = field_named(&m->to, from->name);
        if (to == NULL) {
            return ecs__fail(job->world, ECS_E_CONFLICT, "a watch waits for %s.%s, which goes",
                             m->name, from->name);
        }
        if (d->kind != ECS_WATCH_CHANGED && !condition_value(job->world, from, to, &d->value[i])) {
            return ecs__fail(job->world, ECS_E_CONFLICT,
                             "a watch compares %s.%s with a value that it will not have", m->name,
                             from->name);
        }
        d->field[i] = (uint32_t)(to - m->to.fields);
    }
    if (d->kind == ECS_WATCH_CHANGED && m->to.size_bytes == 0) {
        return ecs__fail(job->world, ECS_E_CONFLICT,
                         "a watch waits for changes of %s, which would become a tag", m->name);
    }
    return ECS_OK;
}

static bool is_ours(const job_t *job, const ecs__watch_t *watch) {
    return watch->id != 0 && watch->desc.kind != ECS_WATCH_DESPAWNED &&
           watch->desc.kind != ECS_WATCH_COUNT && watch->desc.component == job->component;
}

static int check_watches(const job_t *job) {
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < job->world->watch_used; i++) {
        ecs_watch_desc_t desc = job->world->watches[i].desc;
        if (is_ours(job, &job->world->watches[i])) { rc = watch_desc(job, &desc); }
    }
    return rc;
}

static bool names(const uint32_t *list, uint32_t count, uint32_t component) {
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        found = found || list[i] == component;
    }
    return found;
}

/* A query has columns of components with values only. */
static int check_queries(const job_t *job) {
    if (job->migration->to.size_bytes > 0) { return ECS_OK; }
    for (uint32_t i = 0; i < job->world->query_count; i++) {
        const ecs_query_t *query = job->world->queries[i];
        const ecs_query_desc_t *d = &query->desc;
        if (names(query->columns, query->column_count, job->component) ||
            names(d->changed, d->changed_count, job->component) ||
            names(d->added, d->added_count, job->component)) {
            return ecs__fail(job->world, ECS_E_CONFLICT,
                             "a query reads %s, which would become a tag", job->migration->name);
        }
    }
    return ECS_OK;
}

/* ---- chunks --------------------------------------------------------------------------------- */

static char *cell_at(const ecs_world_t *world, const ecs__archetype_t *archetype, uint32_t slot,
                     uint32_t row) {
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    return world->memory.maps.core + ecs__cell(chunk, &archetype->slots[slot], at);
}

static ecs_id_t id_at(const ecs_world_t *world, const ecs__archetype_t *archetype, uint32_t row) {
    uint32_t at = 0;
    const ecs__chunk_t *chunk = ecs__chunk_of(archetype, row, &at);
    ecs_id_t id = 0;
    memcpy(&id, world->memory.maps.core + chunk->block_offset + at * sizeof id, sizeof id);
    return id;
}

static int fill_row(const job_t *job, const ecs__archetype_t *old, ecs__archetype_t *made,
                    uint32_t row) {
    ecs_world_t *world = job->world;
    ecs_id_t id = id_at(world, old, row);
    for (uint32_t i = 0; i < old->slot_count; i++) {
        const ecs__slot_t *from = &old->slots[i], *to = &made->slots[i];
        char none = 0; /* a tag has no cell */
        const char *source = from->column == ECS__NONE ? &none : cell_at(world, old, i, row);
        char *target = to->column == ECS__NONE ? &none : cell_at(world, made, i, row);
        if (from->component == job->component) {
            int rc = ecs__migration_value(job->migration, job->converter, id, source, target);
            if (rc != ECS_OK) { return rc; }
        } else if (from->column != ECS__NONE) {
            memcpy(target, source, from->size_bytes);
        }
    }
    return ECS_OK;
}

/* A chunk's ticks are the newest of the chunks that its rows come from. A column that is new has
 * the tick of now: whoever has not looked since will look. */
static void set_ticks(const ecs_world_t *world, const ecs__archetype_t *old, ecs__chunk_t *chunk,
                      const ecs__archetype_t *made, uint32_t first_row) {
    uint32_t first = first_row >> old->chunk_shift;
    uint32_t last = (first_row + chunk->count - 1) >> old->chunk_shift;
    for (uint32_t i = 0; i < made->slot_count; i++) {
        uint32_t to = made->slots[i].column, from = old->slots[i].column;
        if (to == ECS__NONE) { continue; }
        uint64_t tick = from == ECS__NONE ? world->shared.tick : 0;
        chunk->stamp[to] = (ecs_stamp_t){.changed = tick, .added = tick};
        for (uint32_t c = first; from != ECS__NONE && c <= last; c++) {
            const ecs_stamp_t *source = &old->chunks[c]->stamp[from];
            if (source->added > chunk->stamp[to].added) { chunk->stamp[to].added = source->added; }
            ecs__stamp_newer(&chunk->stamp[to], source);
        }
    }
}

/* The archetype's shape after the change, without rows. */
static int shape(job_t *job, ecs__archetype_t *old, ecs__archetype_t **out) {
    rebuild_t *entry = ECS__PUSH(job->rebuilds, job->rebuild_count, job->rebuild_capacity);
    if (entry == NULL) { return ecs__oom(job->world); }
    *entry = (rebuild_t){.archetype = old, .made = *old};
    ecs__archetype_t *made = *out = &entry->made;
    made->chunks = NULL;
    made->chunk_count = made->chunk_capacity = made->row_count = 0;
    made->slots = ecs__calloc(old->slot_count, sizeof *made->slots);
    if (made->slots == NULL) { return ecs__oom(job->world); }
    memcpy(made->slots, old->slots, old->slot_count * sizeof *made->slots);
    made->slots[made->slot_of[job->component]].size_bytes = job->migration->to.size_bytes;
    ecs__archetype_lay_out(job->world, made);
    return ecs__rows_reserve(job->world, made, old->row_count);
}

static int rebuild(job_t *job, ecs__archetype_t *old) {
    ecs__archetype_t *made = NULL;
    int rc = shape(job, old, &made);
    uint32_t empty_count = job->world->empty_count; /* it takes the place of one that counts */
    for (uint32_t row = 0; rc == ECS_OK && row < old->row_count; row++) {
        (void)ecs__row_add(job->world, made, id_at(job->world, old, row));
        rc = fill_row(job, old, made, row);
    }
    job->world->empty_count = empty_count;
    for (uint32_t i = 0; rc == ECS_OK && i < made->chunk_count; i++) {
        if (made->chunks[i]->count == 0) { continue; }
        set_ticks(job->world, old, made->chunks[i], made, i << made->chunk_shift);
    }
    return rc;
}

/* The values of an archetype stay as they are, if they may: what a new range says. */
static int inspect(const job_t *job, const ecs__archetype_t *archetype) {
    const ecs_migration_t *m = job->migration;
    uint32_t slot = archetype->slot_of[job->component];
    int rc = ECS_OK;
    for (uint32_t row = 0; rc == ECS_OK && row < archetype->row_count; row++) {
        const char *value = cell_at(job->world, archetype, slot, row);
        ecs_id_t id = id_at(job->world, archetype, row);
        rc = ecs__migration_value(m, NULL, id, value, job->world->expect_scratch);
    }
    return rc;
}

/* Carries the change out for the rows of an archetype, or table of a sparse component. */
static int change(job_t *job, ecs__archetype_t *archetype) {
    if (!job->in_place) { return rebuild(job, archetype); }
    return job->migration->only_copies ? ECS_OK : inspect(job, archetype);
}

static void free_chunks(ecs_world_t *world, ecs__archetype_t *archetype) {
    ecs__chunks_free(world, archetype, 0);
    free(archetype->chunks);
    free(archetype->slots);
}

/* ---- the change ----------------------------------------------------------------------------- */

/* The bytes that a watch for changes compares, as the component is laid out now. */
static const char *watched(const ecs_world_t *world, const ecs_watch_desc_t *d, size_t *bytes) {
    const ecs__component_t *type = &world->components[d->component];
    const ecs_field_t *field = d->field_count > 0 ? &type->fields[d->field[0]] : NULL;
    const char *value = ecs__cell_read(world, d->id, d->component);
    *bytes = field != NULL ? field->size_bytes : type->size_bytes;
    return value == NULL || field == NULL ? value : value + field->offset_bytes;
}

/* Whether a watch would fire if it were tested before the change: it has to after it, too. */
static bool is_pending(const ecs_world_t *world, const ecs__watch_t *watch) {
    size_t bytes = 0;
    const char *value = watched(world, &watch->desc, &bytes);
    if (bytes == 0) { return false; } /* still a tag */
    if (value == NULL || watch->copy == NULL) { return (value == NULL) != (watch->copy == NULL); }
    return !ecs__watch_same(world, &watch->desc, value, watch->copy);
}

/* Notes which watches would fire, and makes room for what they compare with after the change. */
static int prepare_watches(job_t *job) {
    const ecs_world_t *world = job->world;
    const ecs_migration_t *m = job->migration;
    job->pending = ecs__calloc(world->watch_used, sizeof *job->pending);
    job->copies = ecs__calloc(world->watch_used, sizeof *job->copies);
    if (job->pending == NULL || job->copies == NULL) { return ecs__oom(job->world); }
    for (uint32_t i = 0; i < world->watch_used; i++) {
        const ecs__watch_t *watch = &world->watches[i];
        if (!is_ours(job, watch) || watch->desc.kind != ECS_WATCH_CHANGED) { continue; }
        job->pending[i] = is_pending(world, watch);
        job->copies[i] = ecs__calloc(m->to.size_bytes, 1);
        if (job->copies[i] == NULL) { return ecs__oom(job->world); }
    }
    return ECS_OK;
}

static void free_copies(job_t *job) {
    for (uint32_t i = 0; job->copies != NULL && i < job->world->watch_used; i++) {
        free(job->copies[i]);
    }
    free(job->copies);
    free(job->pending);
}

/* Gives a watch for changes a copy in the new layout: equal to the value, or surely not. */
static void take_copy(job_t *job, uint32_t index) {
    ecs__watch_t *watch = &job->world->watches[index];
    bool pending = job->pending[index], had_copy = watch->copy != NULL;
    size_t bytes = 0;
    const char *value = watched(job->world, &watch->desc, &bytes);
    free(watch->copy);
    watch->copy = NULL;
    if (value == NULL ? !had_copy : pending && !had_copy) { return; }
    char *copy = job->copies[index];
    if (value != NULL) { memcpy(copy, value, bytes); }
    if (pending) { copy[0] = (char)~copy[0]; }
    watch->copy = copy;
    job->copies[index] = NULL;
}

static void move_watches(job_t *job) {
    for (uint32_t i = 0; i < job->world->watch_used; i++) {
        ecs__watch_t *watch = &job->world->watches[i];
        if (!is_ours(job, watch)) { continue; }
        (void)watch_desc(job, &watch->desc); /* check_watches has seen that it can be done */
        if (watch->desc.kind == ECS_WATCH_CHANGED) { take_copy(job, i); }
    }
}

/* Nothing here can fail. */
static void commit(job_t *job, ecs_migration_t *migration) {
    ecs_world_t *world = job->world;
    for (uint32_t i = 0; i < job->rebuild_count; i++) {
        ecs__archetype_t *old = job->rebuilds[i].archetype, kept = *old;
        *old = job->rebuilds[i].made;
        free_chunks(world, &kept);
    }
    ecs__component_t *component = &world->components[job->component], before = *component;
    *component = migration->to;
    memcpy(component->name, before.name, sizeof component->name);
    component->sparse = before.sparse;
    component->observed = before.observed;
    component->written = before.written;
    component->touched = before.touched;
    component->watches = before.watches;
    component->version = ++world->type_versions;
    for (uint32_t i = 0; i < world->query_count; i++) {
        ecs__query_replace(world->queries[i]);
    }
    ecs__touch(world, job->component);
    move_watches(job);
    ecs__types_hold(world, &migration->to, false);
    migration->to = (ecs__component_t){0}; /* the component's now */
    ecs__layout_fini(&before);
    world->shared.epoch++;
    ecs__views_stale(&world->memory.maps);
}

int ecs__migrate(ecs_world_t *world, ecs_migration_t *migration, const ecs_converter_t *converter) {
    uint32_t component = migration->component;
    ECS__ENTER(world);
    job_t job = {
        .world = world, .component = component, .migration = migration, .converter = converter};
    bool takes_all = converter == NULL && (migration->saved == NULL || migration->only_copies);
    job.in_place = migration->in_place && takes_all;
    int rc = ecs__migration_allow(migration, converter);
    if (rc == ECS_OK) { rc = check_watches(&job); }
    if (rc == ECS_OK) { rc = check_queries(&job); }
    if (rc == ECS_OK) { rc = prepare_watches(&job); }
    for (uint32_t i = 0; rc == ECS_OK && i < world->ordered_count; i++) {
        if (ecs__slot(world->ordered[i], component) != NULL) {
            rc = change(&job, world->ordered[i]);
        }
    }
    ecs__sparse_t *store = world->components[component].sparse;
    if (rc == ECS_OK && store != NULL) { rc = change(&job, store->table); }
    if (rc == ECS_OK) {
        commit(&job, migration);
    } else {
        for (uint32_t i = 0; i < job.rebuild_count; i++) {
            free_chunks(world, &job.rebuilds[i].made);
        }
    }
    free_copies(&job);
    free(job.rebuilds);
    ecs_migration_destroy(migration);
    ECS__LEAVE(world);
    return rc;
}

int ecs_component_migrate(ecs_world_t *world, uint32_t component, const char *const *fields,
                          uint32_t count, const ecs_converter_t *converter) {
    ecs_migration_t *migration = NULL;
    int rc = ecs__schema_guard(world);
    if (rc == ECS_OK) { rc = ecs_migration_plan(world, component, fields, count, &migration); }
    return rc == ECS_OK ? ecs__migrate(world, migration, converter) : rc;
}

int ecs_migration_run(ecs_migration_t *migration, const ecs_converter_t *converter) {
    int rc = ecs__schema_guard(migration->world);
    if (rc == ECS_OK) { rc = ecs__migration_current(migration); }
    if (rc == ECS_OK) { return ecs__migrate(migration->world, migration, converter); }
    ecs_migration_destroy(migration);
    return rc;
}
