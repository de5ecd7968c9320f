/* What a change of the schema needs while it is made: plans, values that were converted by scripts,
 * and copies for the way back. The first two end with their VM; copies are found again by name.
 *
 *   plan ──check──▶ or ──value, value, ...──▶ converted values ──migrate──▶ the world
 *
 * Host thread. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include "../ecs/ecs_schema.h"
#include "runtime.h"

enum { SCHEMA_NAME_BYTES = 128, SCHEMA_MAX_PLANS = 1024, SCHEMA_MAX_SAVED = 2048 };
/* Of all copies together, and of the converted values of one plan. */
#define SCHEMA_MAX_BYTES ((uint64_t)512 << 20)

/* A plan, and what scripts have made of values so far. */
typedef struct schema_plan {
    struct schema_plan *next;
    uint64_t serial;
    ecs_migration_t *migration;
    ecs_migration_cursor_t cursor;
    bool keeps; /* `values` are all that the cursor has passed */
    bool open;  /* a value lies in scratch, and belongs to `ids`' last one */
    uint32_t count, capacity;
    ecs_id_t *ids; /* in the order of their slots */
    char *values;
} schema_plan_t;

typedef struct {
    char name[SCHEMA_NAME_BYTES];
    ecs_saved_t *saved;
} schema_saved_t;

typedef struct schema {
    ecs_world_t *world;
    schema_plan_t *plans;
    uint32_t plan_count;
    uint64_t serials;
    schema_saved_t *saved; /* in the order in which they were made */
    uint32_t saved_count, saved_capacity;
    uint64_t saved_bytes;
    char problem[256]; /* text of the newest error of a schema_ function */
    /* where a script gets each new value: it may keep the pointer as long as it likes */
    _Alignas(64) char scratch[ECS_MAX_COMPONENT_BYTES];
} schema_t;

/* The runtime's, made when it is first asked for. */
schema_t *schema_of(rt_t *rt);
/* Their VM is gone: frees the plans. */
void schema_detach(rt_t *rt);
/* Before the world is destroyed. */
void schema_fini(rt_t *rt);

/* Functions that answer an int: 0 or an ecs_error_t, with its text in `problem`. */

/* A plan for a component. */
int schema_plan(schema_t *schema, const char *component, const char *const *fields, uint32_t count,
                schema_plan_t **out);
/* The plan of a serial, or NULL when it is gone. */
schema_plan_t *schema_plan_find(const schema_t *schema, uint64_t serial);
void schema_plan_drop(schema_t *schema, schema_plan_t *plan);
/* Begins anew. */
void schema_plan_rewind(schema_plan_t *plan);
/* The next value: what it is, and in scratch what it will be, for a script to change until the next
 * call. Kept when `keep`, for schema_plan_migrate. *id is 0 at the end. */
int schema_plan_value(schema_t *schema, schema_plan_t *plan, bool keep, ecs_id_t *id,
                      const void **from);
/* Carries the plan out, with the kept values when all were; the plan is gone, whatever comes out.
 */
int schema_plan_migrate(schema_t *schema, schema_plan_t *plan);

/* Copies a component's values under a name, in the place of what had it. ECS_E_LIMIT. */
int schema_save(schema_t *schema, const char *name, uint32_t component, uint64_t *bytes);
/* The copy of a name, or NULL. */
ecs_saved_t *schema_saved_find(const schema_t *schema, const char *name);
/* Whether there was one. */
bool schema_saved_free(schema_t *schema, const char *name);

#endif
