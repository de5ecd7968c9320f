#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

schema_t *schema_of(rt_t *rt) {
    if (rt->schema == NULL) {
        rt->schema = aligned_alloc(64, (sizeof(schema_t) + 63) / 64 * 64);
        memory_must(rt->schema);
        memset(rt->schema, 0, sizeof *rt->schema);
        rt->schema->world = rt->world;
    }
    return rt->schema;
}

void schema_detach(rt_t *rt) {
    while (rt->schema != NULL && rt->schema->plans != NULL) {
        schema_plan_drop(rt->schema, rt->schema->plans);
    }
}

void schema_fini(rt_t *rt) {
    if (rt->schema == NULL) { return; }
    schema_detach(rt);
    for (uint32_t i = 0; i < rt->schema->saved_count; i++) {
        ecs_values_free(rt->schema->saved[i].saved);
    }
    free(rt->schema->saved);
    free(rt->schema);
    rt->schema = NULL;
}

/* Notes the core's text of an error. */
static int noted(schema_t *schema, int rc) {
    if (rc == ECS_OK) { return rc; }
    (void)snprintf(schema->problem, sizeof schema->problem, "%s", ecs_last_error(schema->world));
    return rc;
}

static int refuse(schema_t *schema, int rc, const char *what, const char *name) {
    (void)snprintf(schema->problem, sizeof schema->problem, "%s \"%.100s\"", what, name);
    return rc;
}

/* ---- plans ----------------------------------------------------------------------------------- */

int schema_plan(schema_t *schema, const char *component, const char *const *fields, uint32_t count,
                schema_plan_t **out) {
    uint32_t id = 0;
    ecs_migration_t *migration = NULL;
    if (ecs_component_find(schema->world, component, &id) != ECS_OK) {
        return refuse(schema, ECS_E_UNKNOWN, "no component", component);
    }
    if (schema->plan_count == SCHEMA_MAX_PLANS) {
        return refuse(schema, ECS_E_LIMIT, "1024 plans are open: there is no room for", component);
    }
    int rc = noted(schema, ecs_migration_plan(schema->world, id, fields, count, &migration));
    if (rc != ECS_OK) { return rc; }
    schema_plan_t *plan = memory_zeroed(sizeof *plan);
    *plan = (schema_plan_t){
        .next = schema->plans, .serial = ++schema->serials, .migration = migration, .keeps = true};
    schema->plans = plan;
    schema->plan_count++;
    *out = plan;
    return ECS_OK;
}

schema_plan_t *schema_plan_find(const schema_t *schema, uint64_t serial) {
    schema_plan_t *plan = schema->plans;
    while (plan != NULL && plan->serial != serial) {
        plan = plan->next;
    }
    return plan;
}

void schema_plan_drop(schema_t *schema, schema_plan_t *plan) {
    schema_plan_t **at = &schema->plans;
    while (*at != plan) {
        at = &(*at)->next;
    }
    *at = plan->next;
    schema->plan_count--;
    ecs_migration_destroy(plan->migration);
    free(plan->ids);
    free(plan->values);
    free(plan);
}

void schema_plan_rewind(schema_plan_t *plan) {
    plan->cursor = (ecs_migration_cursor_t){0};
    plan->keeps = true;
    plan->open = false;
    plan->count = 0;
}

/* What the script has made of the newest value. */
static void take_open(schema_t *schema, schema_plan_t *plan) {
    size_t size = ecs_migration_size_bytes(plan->migration);
    if (plan->open) { memcpy(plan->values + (plan->count - 1) * size, schema->scratch, size); }
    plan->open = false;
}

static int grow(schema_t *schema, schema_plan_t *plan, size_t size) {
    if (plan->count < plan->capacity) { return ECS_OK; }
    uint64_t capacity = plan->capacity == 0 ? 256 : (uint64_t)plan->capacity * 2;
    if (capacity * (size + sizeof(ecs_id_t)) > SCHEMA_MAX_BYTES) {
        return refuse(schema, ECS_E_LIMIT, "more than 512 MiB of", "converted values");
    }
    plan->capacity = (uint32_t)capacity;
    plan->ids = realloc(plan->ids, capacity * sizeof(ecs_id_t));
    plan->values = realloc(plan->values, capacity * size + 1); /* 1: a tag has none */
    memory_must(plan->ids);
    memory_must(plan->values);
    return ECS_OK;
}

int schema_plan_value(schema_t *schema, schema_plan_t *plan, bool keep, ecs_id_t *id,
                      const void **from) {
    take_open(schema, plan);
    plan->keeps = plan->keeps && keep;
    int rc = keep ? grow(schema, plan, ecs_migration_size_bytes(plan->migration)) : ECS_OK;
    *id = 0;
    if (rc == ECS_OK) {
        rc = noted(schema,
                   ecs_migration_next(plan->migration, &plan->cursor, id, from, schema->scratch));
    }
    plan->open = rc == ECS_OK && *id != 0 && keep;
    if (plan->open) { plan->ids[plan->count++] = *id; }
    return rc;
}

/* The kept value of an entity: a converter of the core. */
static int kept_value(void *context, ecs_id_t id, const void *from, void *to) {
    const schema_plan_t *plan = context;
    size_t size = ecs_migration_size_bytes(plan->migration);
    uint32_t low = 0, high = plan->count;
    (void)from;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint32_t)(uint64_t)plan->ids[middle] < (uint32_t)(uint64_t)id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == plan->count || plan->ids[low] != id) { return ECS_E_CONFLICT; } /* it came later */
    memcpy(to, plan->values + low * size, size);
    return ECS_OK;
}

int schema_plan_migrate(schema_t *schema, schema_plan_t *plan) {
    take_open(schema, plan);
    ecs_converter_t kept = {kept_value, plan};
    bool converted = plan->keeps && plan->cursor.done && plan->capacity > 0;
    int rc = noted(schema, ecs_migration_run(plan->migration, converted ? &kept : NULL));
    plan->migration = NULL;
    schema_plan_drop(schema, plan);
    return rc;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static uint32_t place_of(const schema_t *schema, const char *name) {
    uint32_t at = 0;
    while (at < schema->saved_count && strcmp(schema->saved[at].name, name) != 0) {
        at++;
    }
    return at;
}

ecs_saved_t *schema_saved_find(const schema_t *schema, const char *name) {
    uint32_t at = place_of(schema, name);
    return at < schema->saved_count ? schema->saved[at].saved : NULL;
}

bool schema_saved_free(schema_t *schema, const char *name) {
    uint32_t at = place_of(schema, name);
    if (at == schema->saved_count) { return false; }
    schema->saved_bytes -= ecs_saved_bytes(schema->saved[at].saved);
    ecs_values_free(schema->saved[at].saved);
    schema->saved_count--;
    memmove(schema->saved + at, schema->saved + at + 1,
            (schema->saved_count - at) * sizeof *schema->saved);
    return true;
}

int schema_save(schema_t *schema, const char *name, uint32_t component, uint64_t *bytes) {
    ecs_saved_t *saved = NULL;
    *bytes = ecs_values_bytes(schema->world, component);
    bool room = *bytes <= SCHEMA_MAX_BYTES - schema->saved_bytes &&
                schema->saved_count < SCHEMA_MAX_SAVED && strlen(name) < SCHEMA_NAME_BYTES;
    if (!room) { return refuse(schema, ECS_E_LIMIT, "no room for a copy of values named", name); }
    int rc = noted(schema, ecs_values_save(schema->world, component, &saved));
    if (rc != ECS_OK) { return rc; }
    (void)schema_saved_free(schema, name);
    if (schema->saved_count == schema->saved_capacity) {
        schema->saved_capacity = schema->saved_capacity == 0 ? 16 : schema->saved_capacity * 2;
        schema->saved = realloc(schema->saved, schema->saved_capacity * sizeof *schema->saved);
        memory_must(schema->saved);
    }
    schema_saved_t *made = &schema->saved[schema->saved_count++];
    *made = (schema_saved_t){.saved = saved};
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    schema->saved_bytes += *bytes;
    return ECS_OK;
}
