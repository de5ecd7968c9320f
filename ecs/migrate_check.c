/* What a migration would do to the values that are there: how many there are, and a dry run. */
#include "migrate.h"

#define READ_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)
enum { SLOTS_A_ROW = 64 }; /* that a call looks at, at most, for each row that it may convert */

static uint64_t bytes_in(const ecs__archetype_t *table, const ecs_migration_t *m) {
    if (table->slot_of_len <= m->component || ecs__slot(table, m->component) == NULL) { return 0; }
    uint64_t row = table->row_bytes - m->from.size_bytes + m->to.size_bytes;
    return table->row_count * row;
}

uint64_t ecs__rows_with(const ecs_world_t *world, uint32_t component) {
    const ecs__sparse_t *store = world->components[component].sparse;
    uint64_t rows = store == NULL ? 0 : store->table->row_count;
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        const ecs__archetype_t *archetype = world->ordered[i];
        if (ecs__slot(archetype, component) != NULL) { rows += archetype->row_count; }
    }
    return rows;
}

ecs_migration_cost_t ecs_migration_cost(const ecs_migration_t *migration) {
    const ecs_world_t *world = migration->world;
    const ecs__sparse_t *store = world->components[migration->component].sparse;
    ecs_migration_cost_t cost = {0};
    if (migration->in_place && migration->only_copies) { return cost; }
    cost.rows = ecs__rows_with(world, migration->component);
    if (migration->in_place) { return cost; }
    cost.bytes = store == NULL ? 0 : bytes_in(store->table, migration);
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        cost.bytes += bytes_in(world->ordered[i], migration);
    }
    return cost;
}

/* The next entity that has the component, among so many slots; 0: none. */
static ecs_id_t next_id(const ecs_migration_t *m, ecs_migration_cursor_t *cursor, uint32_t slots,
                        const char **value) {
    const ecs_world_t *world = m->world;
    for (; slots > 0 && cursor->at < world->slot_count; slots--, cursor->at++) {
        const ecs__record_t *record = ecs__record_at(world, cursor->at);
        if (!ecs__record_alive(record)) { continue; }
        ecs__place_t place = ecs__place_at(world, cursor->at, record, m->component);
        if (place.slot == NULL) { continue; }
        uint32_t at = 0;
        const ecs__chunk_t *chunk = ecs__chunk_of(place.table, place.row, &at);
        bool is_tag = place.slot->column == ECS__NONE;
        *value = world->memory.maps.view.map + (is_tag ? 0 : ecs__cell(chunk, place.slot, at));
        cursor->rows++;
        return ecs__id(cursor->at++, record->generation);
    }
    cursor->done = cursor->at >= world->slot_count;
    return 0;
}

int ecs__migration_current(const ecs_migration_t *migration) {
    const ecs_world_t *world = migration->world;
    if (world->components[migration->component].version == migration->version) { return ECS_OK; }
    return ecs__fail(migration->world, ECS_E_CONFLICT, "%s was migrated since the plan was made",
                     migration->name);
}

static int begin(const ecs_migration_t *m) {
    int rc = ecs__guard(m->world, READ_PHASES);
    return rc == ECS_OK ? ecs__migration_current(m) : rc;
}

int ecs_migration_check(const ecs_migration_t *migration, const ecs_converter_t *converter,
                        ecs_migration_cursor_t *cursor, uint32_t max_rows) {
    const ecs_migration_t *m = migration;
    _Alignas(64) char scratch[ECS_MAX_COMPONENT_BYTES];
    int rc = begin(m);
    if (rc == ECS_OK) { rc = ecs__migration_allow(m, converter); }
    uint32_t most = max_rows > UINT32_MAX / SLOTS_A_ROW ? UINT32_MAX : max_rows * SLOTS_A_ROW;
    uint64_t end = (uint64_t)cursor->at + most;
    for (uint32_t row = 0; rc == ECS_OK && row < max_rows && !cursor->done; row++) {
        uint64_t left = end - cursor->at;
        const char *value = NULL;
        ecs_id_t id = next_id(m, cursor, (uint32_t)left, &value);
        if (id == 0) { break; }
        m->world->memory.maps.view_out = true; /* a converter may keep what it got */
        rc = ecs__migration_value(m, converter, id, value, scratch);
    }
    if (rc == ECS_OK && cursor->at >= m->world->slot_count) { cursor->done = true; }
    return rc;
}

int ecs_migration_next(const ecs_migration_t *migration, ecs_migration_cursor_t *cursor,
                       ecs_id_t *id, const void **from, void *to) {
    static const ecs_converter_t takes_all = {0}; /* and does nothing */
    const char *value = NULL;
    int rc = begin(migration);
    *id = 0;
    if (rc != ECS_OK) { return rc; }
    *id = next_id(migration, cursor, UINT32_MAX, &value);
    *from = value;
    if (*id == 0) { return ECS_OK; }
    migration->world->memory.maps.view_out = true;
    return ecs__migration_value(migration, &takes_all, *id, value, to);
}
