/* Component values by name (JSON), and migration of components to other layouts.
 *
 *   JSON text ──json_parse──▶ nodes ──ecs_value_from_node──▶ value ──ecs_value_to_json──▶ JSON text
 *
 * Numbers     written as the shortest text that reads back the same. Read exactly: an integer field
 *             takes whole numbers only; type and range are tested. A float takes the nearest float.
 *             The process has LC_NUMERIC as C has it at start: a point is a point.
 * NaN         and infinities are written as null, which is refused when read: JSON has no such.
 * Enums       by member name. An ordinal without a member is written as a number, which is refused.
 * Text        escaped as JSON asks; each byte that is no UTF-8 is written as U+FFFD. Read up to the
 *             field's length, without a 0 byte.
 * Entities    written as the id's number, null for none. Read: a path for ecs_lookup, the number of
 *             an id (alive or not: references may outlive what they name), or null.
 * Arrays      exactly as long as the field. Structs are objects.
 * Left out    fields have their default. Unknown names are refused.
 *
 * Thread: the one that owns the world, any phase. Errors name the place in the value, what was
 * expected and what was got: "Oven.zone[2].temp_c: expected a number from -40 to 150 [degC], got
 * 200 (line 3, column 14)". Nothing is written on an error. */
#ifndef ECS_SCHEMA_H
#define ECS_SCHEMA_H

#include "ecs.h"
#include "json.h"

/* ---- values by name ------------------------------------------------------------------------ */

/* Text that grows; closed by 0 once anything was added. Start with {0}. */
typedef struct {
    char *text;
    uint32_t bytes, capacity;
    bool failed; /* memory was out: from then on nothing is added */
} ecs_text_t;

void ecs_text_add(ecs_text_t *text, const char *from, size_t bytes);
void ecs_text_fini(ecs_text_t *text);

/* Appends the value (size_bytes long) as a JSON object without spaces. ECS_E_UNKNOWN for a
 * component that does not exist; ECS_E_MEMORY. */
int ecs_value_to_json(ecs_world_t *world, uint32_t component, const void *value, ecs_text_t *out);
/* Fills `out` (size_bytes long) from a JSON object. */
int ecs_value_from_json(ecs_world_t *world, uint32_t component, const char *text, size_t bytes,
                        void *out);
/* The same from a node of a document, an object. */
int ecs_value_from_node(ecs_world_t *world, uint32_t component, const json_doc_t *doc,
                        uint32_t node, void *out);

/* ---- migration ----------------------------------------------------------------------------- */

/* What becomes of a field:
 *
 *   numbers   any to any, bool to integers and back: as long as the value comes back the same
 *   text      to any length that holds it
 *   enums     by member name, also to another enum
 *   structs   field by field, by name; plan entries are called "corner.x"
 *   arrays    element by element (a single value is an array of one); new elements are defaults
 *   others    only to the same type
 *
 * Fields are matched by name. Lossy: a field that goes, an array that gets shorter, a type that
 * has no way to the new one. Whether a value fits is known value by value. What does not fit, and
 * what is outside of the new field's range, is lossy for that value. */
typedef enum {
    ECS_FIELD_KEPT,      /* same bytes */
    ECS_FIELD_CONVERTED, /* `reason` says how; whether every value fits is not known yet */
    ECS_FIELD_ADDED,     /* gets its default */
    ECS_FIELD_DROPPED,   /* lossy */
    ECS_FIELD_LOSSY      /* `reason` says why */
} ecs_field_change_t;

typedef struct {
    char name[ECS_NAME_BYTES * 2]; /* with dots in structs; cut when longer */
    uint32_t change;               /* ECS_FIELD_* */
    char reason[80];
} ecs_migration_field_t;

typedef struct ecs_migration ecs_migration_t;

/* Finishes one value: `to` has everything that could be converted and defaults for the rest. With
 * a converter nothing is refused as lossy: it answers for that. 0, or an error, which ends the
 * migration. It must not call the core; `id` is 0 outside of a world. */
typedef struct {
    int (*convert)(void *context, ecs_id_t id, const void *from, void *to);
    void *context;
} ecs_converter_t;

/* What a change of the component to these fields would do; changes nothing. New fields first, in
 * order, then those that go. Names of types mean their current versions. To be given back with
 * ecs_migration_destroy. Any phase. */
int ecs_migration_plan(ecs_world_t *world, uint32_t component, const char *const *fields,
                       uint32_t count, ecs_migration_t **out);
const ecs_migration_field_t *ecs_migration_fields(const ecs_migration_t *migration,
                                                  uint32_t *count);
/* The fields of the new layout, until the plan is destroyed or carried out. */
const ecs_field_t *ecs_migration_layout(const ecs_migration_t *migration, uint32_t *count);
/* Fields that go are not refused as lossy from now on: whoever says so has a copy of the values, or
 * does not want them. */
void ecs_migration_may_drop(ecs_migration_t *migration);
/* Bytes of a value in the new layout. */
uint32_t ecs_migration_size_bytes(const ecs_migration_t *migration);
/* Converts one value, such as one from a file. ECS_E_INVALID, and `to` is not to be used, when
 * something would be lost and there is no converter (NULL). */
int ecs_migration_convert(const ecs_migration_t *migration, const ecs_converter_t *converter,
                          const void *from, void *to);
/* Accepts NULL. Before the world is destroyed. */
void ecs_migration_destroy(ecs_migration_t *migration);

/* What the change would touch: values that are converted or looked at, and bytes that are written
 * anew, 0 when it only concerns units, ranges or defaults. */
typedef struct {
    uint64_t rows, bytes;
} ecs_migration_cost_t;
ecs_migration_cost_t ecs_migration_cost(const ecs_migration_t *migration);

/* How far a walk over the values has come. Starts as {0}. */
typedef struct {
    uint32_t at; /* slots */
    bool done;
    uint64_t rows; /* values so far */
} ecs_migration_cursor_t;

/* A dry run: converts up to `max_rows` more values without storing them, until cursor->done. The
 * same errors as from the change itself, which name entity, field and value; the cursor then is
 * behind that value. Between calls anything may happen: entities that come or go meanwhile may be
 * missed, and the change itself looks again. ECS_E_CONFLICT when the component was migrated since
 * the plan was made. Setup, idle or run phase. */
int ecs_migration_check(const ecs_migration_t *migration, const ecs_converter_t *converter,
                        ecs_migration_cursor_t *cursor, uint32_t max_rows);
/* One value by hand, as a converter gets it: `to` has what could be converted, and defaults for the
 * rest; *from is good until the epoch ends. *id is 0, and cursor->done, at the end. */
int ecs_migration_next(const ecs_migration_t *migration, ecs_migration_cursor_t *cursor,
                       ecs_id_t *id, const void **from, void *to);

/* Gives a registered component other fields and converts the values of all entities, or changes
 * nothing. Ids, order of rows, names and change ticks stay, so nothing counts as changed. Watches
 * go on: a condition follows its field by name; it is ECS_E_CONFLICT when a watched field goes or
 * can no longer be compared, or when a query reads a component that would become a tag. Boxes and
 * pointers handed out before are stale (the epoch is bumped), also those of ecs_component_fields
 * and ecs_component_default; payload types made from the old layout must not be used again.
 *
 * Setup or idle phase: in the others somebody may hold references or be recording. ECS_E_PHASE
 * when a batch is open or waits for an apply: its payloads have the old layout. Cost: all chunks
 * that hold the component are written anew; until the end both are there. When only units and
 * defaults change nothing is written, and when ranges do as well all values are read. */
int ecs_component_migrate(ecs_world_t *world, uint32_t component, const char *const *fields,
                          uint32_t count, const ecs_converter_t *converter);

/* The same by a plan, which is given back, whatever comes out. ECS_E_CONFLICT when the component
 * was migrated since it was made. */
int ecs_migration_run(ecs_migration_t *migration, const ecs_converter_t *converter);

/* ---- the way back --------------------------------------------------------------------------- */

/* A copy of all values of a component, with the layout that it had. */
typedef struct ecs_saved ecs_saved_t;

/* Bytes that a copy takes now. */
uint64_t ecs_values_bytes(const ecs_world_t *world, uint32_t component);
/* Makes one, in memory of its own. Setup, idle or run phase. */
int ecs_values_save(ecs_world_t *world, uint32_t component, ecs_saved_t **out);
/* Accepts NULL. Before the world is destroyed. */
void ecs_values_free(ecs_saved_t *saved);
uint64_t ecs_saved_bytes(const ecs_saved_t *saved);
uint32_t ecs_saved_component(const ecs_saved_t *saved);
/* Gives the component the layout of the copy again, however often it was migrated meanwhile. Each
 * entity's fields come from what it has now, as by a migration. Those that are missing now, for
 * whose copied value the layout of now has no room, or whose value of now does not fit, come from
 * the copy; for entities that the copy does not know they are defaults. Nothing is refused as
 * lossy. For the rest as ecs_component_migrate; the copy stays. What names of structs and enums
 * mean is not changed. */
int ecs_component_migrate_back(ecs_world_t *world, const ecs_saved_t *saved);

#endif
