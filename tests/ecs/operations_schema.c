/* What a reload does: types defined anew, components migrated there and back, queries released. The
 * model never notices. */
#include "ecs_schema.h"
#include "operations.h"

static bool waits(const session_t *s) { return s->model->open || s->model->batch_count > 0; }

/* ---- queries -------------------------------------------------------------------------------- */

/* Everybody who has the query releases it, half way through a walk, and creates it again. */
static void release(session_t *s, uint32_t w, uint32_t at) {
    ecs_world_t *world = s->world[w];
    ecs_query_t *old = s->query[at].handle[w];
    bool writes = s->query[at].desc.write_count > 0;
    ecs_cursor_t *walk = writes || session_has_news(&s->query[at]) ? NULL : ecs_cursor_open(old);
    if (walk != NULL) { (void)ecs_cursor_next(walk); }
    int rc = ECS_OK;
    while (rc == ECS_OK) {
        rc = ecs_query_release(world, old);
    }
    bool ended = rc == ECS_E_UNKNOWN; /* else watches hold it */
    if (walk != NULL && ended) { session_same(s, "a walk", ecs_cursor_next(walk), false); }
    for (uint32_t i = 0; i < s->query_count; i++) {
        if (s->query[i].handle[w] != old) { continue; }
        ecs_query_t *made = NULL;
        session_same(s, "ecs_query_create", ecs_query_create(world, &s->query[i].desc, &made),
                     ECS_OK);
        if (walk != NULL) { session_same(s, "the same query", made == old, !ended); }
        s->query[i].handle[w] = made;
        s->query[i].since[w] = 0;
    }
    if (walk != NULL) { ecs_cursor_close(walk); }
}

void operation_release(session_t *s) {
    if (s->query_count == 0) { return; }
    uint32_t at = session_below(s, s->query_count);
    session_log(s, "release query %u", at);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        release(s, w, at);
    }
}

/* ---- types and components ------------------------------------------------------------------- */

/* New versions of all types come and go. */
static void redefine(session_t *s, ecs_world_t *world) {
    static const char *const modes[] = {"hand", "idle"}, *const known[] = {"idle", "auto", "hand"};
    static const char *const other[] = {"double other"};
    uint32_t id = 0;
    int rc = ecs_enum_define(world, "Mode", modes, 2, &id);
    if (rc == ECS_OK) { rc = ecs_enum_define(world, "Mode", known, 3, &id); }
    session_same(s, "Mode", rc, ECS_OK);
    session_same(s, "id of Mode", id, 0);
    for (uint32_t i = 0; i < MODEL_STRUCTS; i++) {
        const model_component_t *type = &MODEL_STRUCT[i];
        const char *fields[MODEL_FIELDS] = {NULL};
        for (uint32_t k = 0; k < type->field_count; k++) {
            fields[k] = type->field[k].declaration;
        }
        rc = ecs_struct_define(world, type->name, other, 1, &id);
        if (rc == ECS_OK) {
            rc = ecs_struct_define(world, type->name, fields, type->field_count, &id);
        }
        session_same(s, type->name, rc, ECS_OK);
        session_same(s, type->name, id, i);
    }
    session_same(s, "ecs_types_sweep", ecs_types_sweep(world), 1 + MODEL_STRUCTS);
}

static int accept(void *context, ecs_id_t id, const void *from, void *to) {
    (void)context, (void)id, (void)from, (void)to;
    return ECS_OK;
}

/* Fields in the opposite order, from `first` on, and one more. Answers what became of it. */
static int there_and_back(session_t *s, ecs_world_t *world, uint32_t c, uint32_t first) {
    const model_component_t *type = &MODEL_COMPONENT[c];
    const char *fields[MODEL_FIELDS + 1] = {"double extra = 4"};
    ecs_converter_t all = {accept, NULL};
    ecs_saved_t *saved = NULL;
    uint32_t count = 1;
    for (uint32_t i = type->field_count; i-- > first;) {
        fields[count++] = type->field[i].declaration;
    }
    uint64_t hash = ecs_hash(world);
    session_same(s, "ecs_values_save", ecs_values_save(world, c, &saved), ECS_OK);
    int rc = ecs_component_migrate(world, c, fields, count, &all);
    if (rc == ECS_OK) {
        session_same(s, "ecs_check", ecs_check(world), ECS_OK);
        session_same(s, "ecs_component_migrate_back", ecs_component_migrate_back(world, saved),
                     ECS_OK);
    }
    ecs_values_free(saved);
    if (ecs_hash(world) != hash) { session_fail(s, "%s is not what it was", type->name); }
    return rc;
}

void operation_reload(session_t *s) {
    uint32_t c = session_below(s, MODEL_COMPONENTS);
    const model_component_t *type = &MODEL_COMPONENT[c];
    int rc[SESSION_WORLDS];
    if (type->size_bytes == 0) { return; } /* a tag that gets values is news to queries */
    uint32_t first = session_below(s, type->field_count);
    session_log(s, "migrate %s from field %u on, and back", type->name, first);
    session_phase(s, ECS_PHASE_IDLE);
    for (uint32_t w = 0; w < SESSION_WORLDS; w++) {
        if (waits(s)) {
            session_same(s, "ecs_types_sweep", ecs_types_sweep(s->world[w]), ECS_E_PHASE);
        } else {
            redefine(s, s->world[w]);
        }
        rc[w] = there_and_back(s, s->world[w], c, first);
        session_same(s, "ecs_component_migrate", rc[w], rc[0]);
    }
    if (waits(s)) { session_same(s, "ecs_component_migrate", rc[0], ECS_E_PHASE); }
    s->epoch += rc[0] == ECS_OK ? 2 : 0;
    session_phase(s, ECS_PHASE_RUN);
    if (!waits(s)) { session_compare(s); }
}
