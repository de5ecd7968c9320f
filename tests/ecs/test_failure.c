/* Every allocation of an operation fails in turn, until it succeeds: the world stays as it was. The
 * calls of the core are led here by the linker (--wrap, see tests/CMakeLists.txt). */
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>

#include "ecs_schema.h"
#include "world.h"

static long calls_left = -1; /* calls that still succeed; -1: all */
static unsigned failures;

static bool fails(void) {
    if (calls_left < 0 || calls_left-- > 0) { return false; }
    calls_left = -1; /* one failure, then all is well */
    failures++;
    return true;
}

int __real_posix_memalign(void **out, size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes) {
    return fails() ? ENOMEM : __real_posix_memalign(out, align, bytes);
}
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

void *__wrap_malloc(size_t bytes) { return fails() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) {
    return fails() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *block, size_t bytes) {
    return fails() ? NULL : __real_realloc(block, bytes);
}
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!fails()) { return __real_fallocate(fd, mode, offset, length); }
    errno = ENOSPC;
    return -1;
}

/* ---- a world with some of everything -------------------------------------------------------- */

enum { CELLS = 40, DEEP = 30 };

typedef struct {
    fixture_t f;
    ecs_id_t cell[CELLS], root;
    uint32_t alarm, order; /* sparse; a struct */
} scene_t;

static uint32_t sparse_make(ecs_world_t *world) {
    static const char *const fields[] = {"double level"};
    uint32_t id = 0;
    CHECK_EQ(ecs_component_register(world, "Alarm", fields, 1, &id), ECS_OK);
    CHECK_EQ(ecs_component_sparse(world, id), ECS_OK);
    return id;
}

static uint32_t struct_make(ecs_world_t *world) {
    static const char *const fields[] = {"double amount"};
    uint32_t id = 0;
    CHECK_EQ(ecs_struct_register(world, "Order", fields, 1, &id), ECS_OK);
    return id;
}

static scene_t scene_open(void) {
    scene_t s = {.f = fixture_open(16)};
    s.alarm = sparse_make(s.f.world);
    s.order = struct_make(s.f.world);
    for (uint32_t kind = ECS_EVENT_ADDED; kind <= ECS_EVENT_DESPAWNED; kind++) {
        CHECK_EQ(ecs_observe(s.f.world, kind, s.f.pos), ECS_OK);
    }
    record_begin(&s.f, 1);
    s.root = ecs_record_spawn(s.f.world, 0, "root");
    for (int i = 0; i < CELLS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "cell%d", i);
        s.cell[i] = ecs_record_spawn(s.f.world, s.root, name);
        insert_pos(&s.f, s.cell[i], s.f.pos, i);
    }
    CHECK(ecs_record(s.f.world, ECS_OP_INSERT, s.cell[0], s.alarm, 0) != NULL);
    apply(&s.f);
    return s;
}

/* Changes of every kind, in three batches. False when recording fails; the batches are dropped. */
static bool record_changes(scene_t *s) {
    ecs_world_t *world = s->f.world;
    if (ecs_batch_begin(world, 2) != ECS_OK) { return false; }
    bool ok = true;
    ecs_id_t parent = s->root;
    for (int i = 0; ok && i < DEEP; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "new%d", i);
        parent = ecs_record_spawn(world, parent, name);
        ok = parent != 0 && ecs_record(world, ECS_OP_INSERT, parent, s->f.pos, 0) != NULL &&
             ecs_record(world, ECS_OP_INSERT, parent, s->f.mixed, 0) != NULL;
    }
    for (int i = 0; ok && i < CELLS; i++) {
        uint32_t component = i % 3 == 0 ? s->f.vel : i % 3 == 1 ? s->f.mixed : s->f.tag;
        ok = ecs_record(world, ECS_OP_INSERT, s->cell[i], component, 0) != NULL &&
             ecs_record(world, ECS_OP_SET, s->cell[i], s->f.pos, 2) != NULL &&
             ecs_record(world, ECS_OP_INSERT, s->cell[i], s->alarm, 0) != NULL;
    }
    ok = ok && ecs_record_plain(world, ECS_OP_REMOVE, s->cell[0], s->alarm) == ECS_OK;
    for (int i = 0; ok && i < CELLS; i += 5) {
        ok = ecs_record_plain(world, ECS_OP_REMOVE, s->cell[i], s->f.pos) == ECS_OK;
    }
    ok = ok && ecs_record_plain(world, ECS_OP_DESPAWN, s->cell[7], 0) == ECS_OK;
    ok = ok && ecs_record_send(world, s->order, 0) != NULL;
    void *column = NULL;
    ok = ok && ecs_record_spawn_many(world, 100, &s->f.vel, 1, &column) != NULL;
    if (!ok) { return (void)ecs_batch_drop(world), false; }
    return ecs_batch_seal(world, NULL) == ECS_OK;
}

static void apply_now(scene_t *s, int *rc, int *error) {
    uint32_t count = 0;
    CHECK_EQ(ecs_phase_set(s->f.world, ECS_PHASE_APPLY), ECS_OK);
    *rc = ecs_apply(s->f.world);
    const ecs_batch_result_t *results = ecs_apply_results(s->f.world, &count);
    *error = *rc != ECS_OK ? *rc : count == 0 ? ECS_OK : results[0].error;
    CHECK_EQ(ecs_phase_set(s->f.world, ECS_PHASE_RUN), ECS_OK);
}

static void an_apply_that_runs_out_of_memory_changes_nothing(void) {
    bool done = false;
    long ordinal = 0;
    for (; !done && ordinal < 10000; ordinal++) {
        scene_t s = scene_open();
        uint64_t before = ecs_hash(s.f.world);
        CHECK(record_changes(&s));
        int rc = 0, error = 0;
        failures = 0;
        calls_left = ordinal;
        apply_now(&s, &rc, &error);
        done = failures == 0;
        calls_left = -1;
        CHECK_EQ(error, done ? ECS_OK : ECS_E_MEMORY);
        CHECK_EQ(ecs_check(s.f.world), ECS_OK);
        if (!done) { CHECK(ecs_hash(s.f.world) == before); }
        uint32_t events = 0, sent = 0;
        (void)ecs_events(s.f.world, &events);
        (void)ecs_sent(s.f.world, &sent);
        CHECK_EQ(events > 0, done);
        CHECK_EQ(sent > 0, done);
        /* and the same again succeeds */
        if (rc == ECS_OK && !done) { CHECK(record_changes(&s)); }
        if (!done) { apply_now(&s, &rc, &error); }
        CHECK_EQ(rc, ECS_OK);
        CHECK_EQ(error, ECS_OK);
        CHECK(ecs_lookup(s.f.world, "root/new0/new1") != 0);
        CHECK(!ecs_alive(s.f.world, s.cell[7]));
        fixture_close(&s.f);
    }
    printf("  apply: %ld allocations failed in turn\n", ordinal - 1);
    CHECK(done && ordinal > 20);
}

static void recording_that_runs_out_of_memory_changes_nothing(void) {
    bool done = false;
    long ordinal = 0;
    for (; !done && ordinal < 10000; ordinal++) {
        scene_t s = scene_open();
        uint64_t before = ecs_hash(s.f.world);
        failures = 0;
        calls_left = ordinal;
        bool recorded = record_changes(&s);
        done = failures == 0;
        calls_left = -1;
        CHECK_EQ(recorded, done);
        int rc = 0, error = 0;
        if (!recorded) {
            CHECK_TEXT(ecs_last_error(s.f.world), "out of memory");
            apply_now(&s, &rc, &error);
            CHECK(ecs_hash(s.f.world) == before);
            CHECK(record_changes(&s));
        }
        apply_now(&s, &rc, &error);
        CHECK_EQ(error, ECS_OK);
        fixture_close(&s.f);
    }
    printf("  record: %ld allocations failed in turn\n", ordinal - 1);
    CHECK(done && ordinal > 2);
}

/* More than one chunk of the stream holds. */
static void many_commands_are_recorded_whole_or_not_at_all(void) {
    enum { MANY = 4000 };
    static ecs_id_t ids[MANY];
    static pos_t values[MANY];
    bool done = false;
    long ordinal = 0;
    for (; !done && ordinal < 100; ordinal++) {
        fixture_t f = fixture_open(16);
        bool sealed = true;
        record_begin(&f, 1);
        failures = 0;
        calls_left = ordinal;
        int rc = ecs_record_many(f.world, ECS_OP_INSERT, f.pos, 0, MANY, ids, values);
        calls_left = -1;
        done = failures == 0;
        CHECK_EQ(rc == ECS_OK, done);
        CHECK_EQ(ecs_batch_seal(f.world, &sealed), ECS_OK);
        CHECK_EQ(sealed, done);
        fixture_close(&f);
    }
    CHECK(done && ordinal > 3);
}

typedef struct {
    char *bytes;
    size_t length, capacity;
} text_t;

static int append(void *context, const void *data, size_t length) {
    text_t *text = context;
    if (text->length + length > text->capacity) { return ECS_E_LIMIT; }
    memcpy(text->bytes + text->length, data, length);
    text->length += length;
    return ECS_OK;
}

static void a_restore_that_runs_out_of_memory_changes_nothing(void) {
    static char bytes[1 << 20];
    text_t text = {.bytes = bytes, .capacity = sizeof bytes};
    scene_t s = scene_open();
    ecs_query_desc_t desc = {.read = {s.f.pos}, .read_count = 1};
    ecs_query_t *query = NULL;
    uint64_t hash = ecs_hash(s.f.world);
    CHECK_EQ(ecs_snapshot_write(s.f.world, append, &text), ECS_OK);
    fixture_close(&s.f);
    fixture_t f = fixture_open(16);
    (void)sparse_make(f.world);
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    uint64_t empty = ecs_hash(f.world);
    int rc = ECS_E_MEMORY;
    long ordinal = 0;
    for (; rc != ECS_OK && ordinal < 1000; ordinal++) {
        calls_left = ordinal;
        rc = ecs_snapshot_restore(f.world, text.bytes, text.length);
        calls_left = -1;
        CHECK(rc == ECS_OK || rc == ECS_E_MEMORY);
        CHECK(rc == ECS_OK || ecs_hash(f.world) == empty);
        CHECK_EQ(ecs_query_count(query), rc == ECS_OK ? CELLS : 0);
        CHECK_EQ(ecs_check(f.world), ECS_OK);
    }
    printf("  restore: %ld allocations failed in turn\n", ordinal - 1);
    CHECK(ordinal > 10 && ecs_hash(f.world) == hash);
    fixture_close(&f);
}

static void a_world_is_made_whole_or_not_at_all(void) {
    int rc = ECS_E_MEMORY;
    long ordinal = 0;
    for (; rc != ECS_OK && ordinal < 1000; ordinal++) {
        ecs_options_t options = {.max_bytes = (size_t)1 << 20, .max_entities = 10000};
        ecs_world_t *world = NULL;
        calls_left = ordinal;
        rc = ecs_world_create(&world, &options);
        calls_left = -1;
        CHECK_EQ(rc == ECS_OK, world != NULL);
        if (rc != ECS_OK) { CHECK_EQ(rc, ECS_E_MEMORY); }
        ecs_world_destroy(world);
    }
    CHECK(ordinal > 5);
}

static void a_query_and_a_watch_are_made_whole_or_not_at_all(void) {
    scene_t s = scene_open();
    ecs_query_desc_t desc = {.read = {s.f.pos}, .read_count = 1};
    ecs_watch_desc_t watch = {.kind = ECS_WATCH_CHANGED, .id = s.cell[1], .component = s.f.pos};
    ecs_query_t *query = NULL;
    uint32_t id = 0;
    bool fired = false;
    int rc = ECS_E_MEMORY;
    for (long ordinal = 0; rc != ECS_OK && ordinal < 100; ordinal++) {
        calls_left = ordinal;
        rc = ecs_query_create(s.f.world, &desc, &query);
        calls_left = -1;
    }
    CHECK_EQ(rc, ECS_OK);
    CHECK_EQ(ecs_query_count(query), CELLS);
    rc = ECS_E_MEMORY;
    for (long ordinal = 0; rc != ECS_OK && ordinal < 100; ordinal++) {
        CHECK_EQ(ecs_watch_count(s.f.world), 0);
        calls_left = ordinal;
        rc = ecs_watch_add(s.f.world, &watch, 1, &id, &fired);
        calls_left = -1;
    }
    CHECK_EQ(rc, ECS_OK);
    calls_left = 0;
    CHECK(ecs_cursor_open(query) == NULL);
    calls_left = -1;
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK(cursor != NULL && ecs_cursor_next(cursor));
    fixture_close(&s.f);
}

static const char *const LEVELS[] = {"double level", "double limit = 9"};

/* More fields, one of them a struct, in a table and in a sparse one. */
static void a_migration_that_runs_out_of_memory_changes_nothing(void) {
    static const char *const wide[] = {"float x", "double z = 3", "double y", "Order order"};
    scene_t s = scene_open();
    const uint32_t components[] = {s.f.pos, s.alarm};
    uint64_t hash = ecs_hash(s.f.world);
    long failed = 0;
    CHECK_EQ(ecs_phase_set(s.f.world, ECS_PHASE_IDLE), ECS_OK);
    for (int i = 0; i < 2; i++) {
        uint32_t size = ecs_component_size_bytes(s.f.world, components[i]);
        int rc = ECS_E_MEMORY;
        for (long ordinal = 0; rc != ECS_OK && ordinal < 1000; ordinal++) {
            calls_left = ordinal;
            rc = i == 0 ? ecs_component_migrate(s.f.world, components[i], wide, 4, NULL)
                        : ecs_component_migrate(s.f.world, components[i], LEVELS, 2, NULL);
            calls_left = -1;
            CHECK(rc == ECS_OK || rc == ECS_E_MEMORY);
            CHECK_EQ(ecs_check(s.f.world), ECS_OK);
            if (rc == ECS_OK) { break; }
            failed++;
            CHECK(ecs_hash(s.f.world) == hash);
            CHECK_EQ(ecs_component_size_bytes(s.f.world, components[i]), size);
        }
        CHECK_EQ(rc, ECS_OK);
        CHECK(ecs_hash(s.f.world) != hash);
        hash = ecs_hash(s.f.world);
    }
    printf("  migrate: %ld allocations failed in turn\n", failed);
    CHECK(failed > 20);
    fixture_close(&s.f);
}

/* A declaration that fails is forgotten: the same name can be declared in another way. */
static void declarations_are_noted_whole_or_not_at_all(void) {
    static const char *const members[] = {"idle", "auto"}, *const other[] = {"Stage at[2]"};
    fixture_t f = fixture_open(0);
    uint32_t components = ecs_component_count(f.world), id = 0;
    int rc = ECS_E_MEMORY;
    for (long ordinal = 0; rc != ECS_OK && ordinal < 1000; ordinal++) {
        calls_left = ordinal;
        rc = ecs_enum_register(f.world, "Stage", members, 2, &id);
        calls_left = -1;
    }
    CHECK_EQ(rc, ECS_OK);
    rc = ECS_E_MEMORY;
    for (long ordinal = 0; rc != ECS_OK && ordinal < 1000; ordinal++) {
        CHECK_EQ(ecs_component_count(f.world), components);
        calls_left = ordinal;
        rc = ecs_component_register(f.world, "Level", other, 1, &id);
        calls_left = -1;
        CHECK(rc == ECS_OK || rc == ECS_E_MEMORY);
    }
    CHECK_EQ(ecs_component_count(f.world), components + 1);
    rc = ECS_E_MEMORY;
    for (long ordinal = 0; rc != ECS_OK && ordinal < 1000; ordinal++) {
        CHECK(!ecs_component_is_sparse(f.world, id));
        calls_left = ordinal;
        rc = ecs_component_sparse(f.world, id);
        calls_left = -1;
    }
    CHECK(ecs_component_is_sparse(f.world, id));
    fixture_close(&f);
}

/* Definitions, a dry run's plan, a copy, the way back: each whole or not at all. */
typedef struct {
    scene_t s;
    ecs_migration_t *plan;
    ecs_saved_t *saved;
    uint32_t id;
} reload_t;

static int reload_part(reload_t *r, int part) {
    static const char *const members[] = {"idle", "hand"}, *const order[] = {"double amount = 2"};
    static const char *const next[] = {"float x", "Order order"}, *const level[] = {"Order o"};
    ecs_world_t *world = r->s.f.world;
    uint32_t id = 0;
    switch (part) {
    case 0: return ecs_enum_define(world, "Stage", members, 2, &id);
    case 1: return ecs_struct_define(world, "Order", order, 1, &id);
    case 2: return ecs_values_save(world, r->s.f.pos, &r->saved);
    case 3: return ecs_migration_plan(world, r->s.f.pos, next, 2, &r->plan);
    case 4: return ecs_component_migrate(world, r->s.alarm, level, 1, &(ecs_converter_t){0});
    default: return ecs_component_migrate_back(world, r->saved);
    }
}

static void a_reload_that_runs_out_of_memory_changes_nothing(void) {
    static const char *const members[] = {"idle", "auto"}, *const x[] = {"double x"};
    reload_t r = {.s = scene_open()};
    ecs_world_t *world = r.s.f.world;
    long failed = 0;
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_enum_register(world, "Stage", members, 2, &r.id), ECS_OK);
    for (int part = 0; part <= 5; part++) {
        if (part == 5) {
            int rc = ecs_component_migrate(world, r.s.f.pos, x, 1, &(ecs_converter_t){0});
            CHECK_EQ(rc, ECS_OK);
        }
        uint64_t hash = ecs_hash(world);
        int rc = ECS_E_MEMORY;
        for (long ordinal = 0; rc != ECS_OK && ordinal < 1000; ordinal++) {
            int32_t hand = 0;
            uint32_t stage = 0;
            CHECK_EQ(ecs_enum_find(world, "Stage", &stage), ECS_OK);
            CHECK_EQ(ecs_enum_value(world, stage, "hand", &hand) == ECS_OK, part > 0);
            calls_left = ordinal;
            rc = reload_part(&r, part);
            calls_left = -1;
            CHECK(rc == ECS_OK || rc == ECS_E_MEMORY);
            CHECK_EQ(ecs_check(world), ECS_OK);
            CHECK(rc == ECS_OK || ecs_hash(world) == hash);
            failed += rc != ECS_OK;
        }
        CHECK_EQ(rc, ECS_OK);
    }
    CHECK_EQ(x_of(&r.s.f, r.s.cell[3], r.s.f.pos), 3);
    CHECK_EQ(((const pos_t *)ecs_view(world, r.s.cell[3], r.s.f.pos))->y, 4);
    ecs_migration_destroy(r.plan);
    ecs_values_free(r.saved);
    CHECK_EQ(ecs_types_sweep(world), 2); /* nothing that failed holds a type */
    printf("  reload: %ld allocations failed in turn\n", failed);
    CHECK(failed > 30);
    fixture_close(&r.s.f);
}

static int count_bytes(void *context, const void *data, size_t length) {
    (void)data;
    *(size_t *)context += length;
    return ECS_OK;
}

static void an_export_that_runs_out_of_memory_says_so(void) {
    scene_t s = scene_open();
    int rc = ECS_E_MEMORY;
    long ordinal = 0;
    for (; rc != ECS_OK && ordinal < 1000; ordinal++) {
        size_t bytes = 0;
        calls_left = ordinal;
        rc = ecs_export_json(s.f.world, count_bytes, &bytes);
        calls_left = -1;
        CHECK(rc == ECS_OK || rc == ECS_E_MEMORY);
    }
    CHECK_EQ(rc, ECS_OK);
    CHECK(ordinal > 1);
    fixture_close(&s.f);
}

int main(void) {
    RUN(a_migration_that_runs_out_of_memory_changes_nothing);
    RUN(a_reload_that_runs_out_of_memory_changes_nothing);
    RUN(declarations_are_noted_whole_or_not_at_all);
    RUN(an_export_that_runs_out_of_memory_says_so);
    RUN(an_apply_that_runs_out_of_memory_changes_nothing);
    RUN(recording_that_runs_out_of_memory_changes_nothing);
    RUN(many_commands_are_recorded_whole_or_not_at_all);
    RUN(a_restore_that_runs_out_of_memory_changes_nothing);
    RUN(a_world_is_made_whole_or_not_at_all);
    RUN(a_query_and_a_watch_are_made_whole_or_not_at_all);
    return test_report();
}
