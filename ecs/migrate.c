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

static int check_watches(const job_t *job) {
    int rc = ECS_OK;
    for (uint32_t i = 0; rc == ECS_OK && i < job->world->watch_count; i++) {
        ecs_watch_desc_t desc = job->world->watches[i].desc;
        if (desc.kind != ECS_WATCH_DESPAWNED && desc.component == job->component) {
            rc = watch_desc(job, &desc);
        }
    }
    return rc;
}

/* A query has columns of components with values only. */
static int check_queries(const job_t *job) {
    if (job->migration->to.size_bytes > 0) { return ECS_OK; }
    for (uint32_t i = 0; i < job->world->query_count; i++) {
        const ecs_query_t *query = job->world->queries[i];
        for (uint32_t k = 0; k < query->column_count; k++) {
            if (query->columns[k] == job->component) {
                return ecs__fail(job->world, ECS_E_CONFLICT,
                                 "a query reads %s, which would become a tag",
                                 job->migration->name);
            }
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
        chunk->changed[to] = chunk->added[to] = from == ECS__NONE ? world->shared.tick : 0;
        for (uint32_t c = first; from != ECS__NONE && c <= last; c++) {
            const ecs__chunk_t *source = old->chunks[c];
            if (source->changed[from] > chunk->changed[to]) {
                chunk->changed[to] = source->changed[from];
            }
            if (source->added[from] > chunk->added[to]) { chunk->added[to] = source->added[from]; }
        }
    }
}

static int rebuild(job_t *job, ecs__archetype_t *old) {
    rebuild_t *entry = ECS__PUSH(job->rebuilds, job->rebuild_count, job->rebuild_capacity);
    *entry = (rebuild_t){.archetype = old, .made = *old};
    ecs__archetype_t *made = &entry->made;
    made->chunks = NULL;
    made->chunk_count = made->chunk_capacity = made->row_count = 0;
    made->slots = ecs__calloc(old->slot_count, sizeof *made->slots);
    memcpy(made->slots, old->slots, old->slot_count * sizeof *made->slots);
    made->slots[made->slot_of[job->component]].size_bytes = job->migration->to.size_bytes;
    ecs__archetype_lay_out(job->world, made);
    int rc = ECS_OK;
    for (uint32_t row = 0; rc == ECS_OK && row < old->row_count; row++) {
        uint32_t same = 0;
        rc = ecs__row_add(job->world, made, id_at(job->world, old, row), &same);
        if (rc == ECS_OK) { rc = fill_row(job, old, made, row); }
    }
    for (uint32_t i = 0; rc == ECS_OK && i < made->chunk_count; i++) {
        set_ticks(job->world, old, made->chunks[i], made, i << made->chunk_shift);
    }
    return rc;
}

static void free_chunks(ecs_world_t *world, ecs__archetype_t *archetype) {
    for (uint32_t i = 0; i < archetype->chunk_count; i++) {
        ecs__chunk_t *chunk = archetype->chunks[i];
        ecs__block_free(&world->memory, chunk->block_offset, chunk->block_bytes);
        free(chunk);
    }
    free(archetype->chunks);
    free(archetype->slots);
}

/* ---- the change ----------------------------------------------------------------------------- */

static void replace_places(ecs_query_t *query) {
    query->place_count = 0;
    for (uint32_t i = 0; i < query->archetype_count; i++) {
        for (uint32_t k = 0; k < query->column_count; k++) {
            const ecs__slot_t *slot = ecs__slot(query->archetypes[i], query->columns[k]);
            query->places[query->place_count++] = slot == NULL ? ECS__NONE : slot->column;
        }
    }
}

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
    return memcmp(value, watch->copy, bytes) != 0;
}

/* Gives a watch for changes a copy in the new layout: equal to the value, or surely not. */
static void take_copy(const ecs_world_t *world, ecs__watch_t *watch, bool pending) {
    size_t bytes = 0;
    const char *value = watched(world, &watch->desc, &bytes);
    bool had_copy = watch->copy != NULL;
    free(watch->copy);
    watch->copy = NULL;
    if (value == NULL ? !had_copy : pending && !had_copy) { return; }
    char *copy = ecs__calloc(bytes, 1);
    if (value != NULL) { memcpy(copy, value, bytes); }
    if (pending) { copy[0] = (char)~copy[0]; }
    watch->copy = copy;
}

static void move_watches(job_t *job, const bool *pending) {
    for (uint32_t i = 0; i < job->world->watch_count; i++) {
        ecs__watch_t *watch = &job->world->watches[i];
        if (watch->desc.kind == ECS_WATCH_DESPAWNED || watch->desc.component != job->component) {
            continue;
        }
        (void)watch_desc(job, &watch->desc); /* check_watches has seen that it can be done */
        if (watch->desc.kind == ECS_WATCH_CHANGED) { take_copy(job->world, watch, pending[i]); }
    }
}

static void commit(job_t *job, ecs_migration_t *migration) {
    ecs_world_t *world = job->world;
    bool *pending = ecs__calloc(world->watch_count, sizeof *pending);
    for (uint32_t i = 0; i < world->watch_count; i++) {
        const ecs__watch_t *watch = &world->watches[i];
        bool is_ours = watch->desc.component == job->component;
        if (watch->desc.kind == ECS_WATCH_CHANGED && is_ours) {
            pending[i] = is_pending(world, watch);
        }
    }
    for (uint32_t i = 0; i < job->rebuild_count; i++) {
        ecs__archetype_t *old = job->rebuilds[i].archetype, kept = *old;
        *old = job->rebuilds[i].made;
        free_chunks(world, &kept);
    }
    ecs__component_t *component = &world->components[job->component], before = *component;
    component->fields = migration->to.fields;
    component->field_count = migration->to.field_count;
    component->size_bytes = migration->to.size_bytes;
    component->align_bytes = migration->to.align_bytes;
    component->default_value = migration->to.default_value;
    component->depth = migration->to.depth;
    for (uint32_t i = 0; i < world->query_count; i++) {
        replace_places(world->queries[i]);
    }
    move_watches(job, pending);
    free(pending);
    migration->to = (ecs__component_t){0}; /* the component's now */
    ecs__layout_fini(&before);
    world->shared.epoch++;
    ecs__views_stale(&world->memory.maps);
}

static int check(ecs_world_t *world) {
    int rc = ecs__guard(world, 1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE);
    uint64_t owner = 0;
    if (rc == ECS_OK && (ecs_batch_open(world, &owner) || ecs_batch_count(world) > 0)) {
        rc = ecs__fail(world, ECS_E_PHASE,
                       "commands wait for an apply: their values have the old "
                       "layout");
    }
    return rc;
}

int ecs_component_migrate(ecs_world_t *world, uint32_t component, const char *const *fields,
                          uint32_t count, const ecs_converter_t *converter) {
    ecs_migration_t *migration = NULL;
    int rc = check(world);
    if (rc == ECS_OK) { rc = ecs_migration_plan(world, component, fields, count, &migration); }
    if (rc != ECS_OK) { return rc; }
    ECS__ENTER(world);
    job_t job = {world, component, migration, converter, NULL, 0, 0};
    rc = ecs__migration_allow(migration, converter);
    if (rc == ECS_OK) { rc = check_watches(&job); }
    if (rc == ECS_OK) { rc = check_queries(&job); }
    for (uint32_t i = 0; rc == ECS_OK && i < world->archetype_count; i++) {
        if (ecs__slot(world->archetypes[i], component) != NULL) {
            rc = rebuild(&job, world->archetypes[i]);
        }
    }
    if (rc == ECS_OK) {
        commit(&job, migration);
    } else {
        for (uint32_t i = 0; i < job.rebuild_count; i++) {
            free_chunks(world, &job.rebuilds[i].made);
        }
    }
    free(job.rebuilds);
    ecs_migration_destroy(migration);
    ECS__LEAVE(world);
    return rc;
}
