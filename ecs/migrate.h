/* A change of layout, worked out once: a list of steps that every value then takes. */
#ifndef ECS_MIGRATE_H
#define ECS_MIGRATE_H

#include "ecs_schema.h"
#include "internal.h"

typedef enum { ECS__STEP_COPY, ECS__STEP_NUMBER, ECS__STEP_TEXT, ECS__STEP_ENUM } ecs__step_kind_t;

/* `count` elements in a row, or for COPY so many bytes. */
typedef struct {
    ecs__step_kind_t kind;
    uint32_t from_at, to_at, count;
    const ecs_field_t *from, *to; /* of the migration's layouts or of structs, which are held */
    uint32_t entry;               /* its field in the plan */
} ecs__step_t;

struct ecs_migration {
    ecs_world_t *world;
    char name[ECS_NAME_BYTES];
    ecs__component_t from, to; /* owned */
    ecs_migration_field_t *entries;
    uint32_t entry_count, entry_capacity;
    ecs__step_t *steps;
    uint32_t step_count, step_capacity;
    bool may_drop;  /* DROPPED is not refused */
    uint32_t lossy; /* the first entry that loses something in every value, or ECS__NONE */
    uint32_t component;
    uint64_t version;           /* the component's, of which `from` is a copy */
    const ecs_saved_t *saved;   /* where values come from that `from` does not have, or NULL */
    bool held;                  /* the types of both layouts, until the end */
    bool in_place, only_copies; /* each field stays where it is; and all its values do */
};

struct ecs_saved {
    ecs_world_t *world;
    uint32_t component;
    ecs__component_t layout; /* owned; its types are held */
    uint32_t count;
    ecs_id_t *ids; /* in the order of their slots */
    char *values;
};

/* A plan for a layout, which it takes over, or frees. */
int ecs__migration_make(ecs_world_t *world, uint32_t component, ecs__component_t *to,
                        ecs_migration_t **out);
/* Carries a plan out, and frees it. */
int ecs__migrate(ecs_world_t *world, ecs_migration_t *migration, const ecs_converter_t *converter);
/* The value that a copy has of an entity, or NULL. */
const char *ecs__saved_value(const ecs_saved_t *saved, ecs_id_t id);

/* ECS_E_INVALID when something is lost in every value and there is no converter. */
int ecs__migration_allow(const ecs_migration_t *migration, const ecs_converter_t *converter);
/* ECS_E_CONFLICT when the component was migrated since the plan was made. */
int ecs__migration_current(const ecs_migration_t *migration);
/* As ecs_migration_convert, for the value of an entity. */
int ecs__migration_value(const ecs_migration_t *migration, const ecs_converter_t *converter,
                         ecs_id_t id, const void *from, void *to);

#endif
