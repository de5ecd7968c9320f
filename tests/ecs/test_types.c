/* Structs and enums in versions; declarations while the world lives. */
#include <malloc.h>
#include <stdlib.h>

#include "migration.h"

static uint32_t define_struct(fixture_t *f, const char *name, const char *a, const char *b) {
    const char *const fields[] = {a, b};
    uint32_t id = 99999;
    CHECK_EQ(ecs_struct_define(f->world, name, fields, b == NULL ? 1 : 2, &id), ECS_OK);
    return id;
}

static uint32_t define_enum(fixture_t *f, const char *name, const char *a, const char *b) {
    const char *const members[] = {a, b};
    uint32_t id = 99999;
    CHECK_EQ(ecs_enum_define(f->world, name, members, 2, &id), ECS_OK);
    return id;
}

static uint32_t component(fixture_t *f, const char *name, const char *field) {
    uint32_t id = 99999;
    CHECK_EQ(ecs_component_register(f->world, name, &field, 1, &id), ECS_OK);
    return id;
}

static uint32_t struct_of(const fixture_t *f, uint32_t id) {
    uint32_t count = 0;
    return ecs_component_fields(f->world, id, &count)[0].struct_id;
}

static void a_name_means_its_newest_version_to_what_comes_later(void) {
    fixture_t f = fixture_open(0);
    uint32_t found = 0;
    int32_t ordinal = 0;
    uint32_t vec = define_struct(&f, "Vec", "double x", NULL);
    uint32_t mode = define_enum(&f, "Mode", "idle", "auto");
    uint32_t old = component(&f, "Old", "Vec at");
    uint32_t vec2 = define_struct(&f, "Vec", "double x", "double y");
    uint32_t mode2 = define_enum(&f, "Mode", "auto", "hand");
    CHECK(vec2 != vec && mode2 != mode);
    CHECK(ecs_struct_version(f.world, vec) != ecs_struct_version(f.world, vec2));
    CHECK_EQ(ecs_struct_find(f.world, "Vec", &found), ECS_OK);
    CHECK_EQ(found, vec2);
    CHECK_EQ(ecs_enum_find(f.world, "Mode", &found), ECS_OK);
    CHECK_EQ(found, mode2);
    uint32_t made = component(&f, "New", "Vec at");
    CHECK_EQ(struct_of(&f, made), vec2);
    CHECK_EQ(ecs_component_size_bytes(f.world, made), 16);
    CHECK_EQ(struct_of(&f, old), vec);
    CHECK_EQ(ecs_component_size_bytes(f.world, old), 8);
    CHECK_TEXT(ecs_struct_name(f.world, vec), "Vec");
    CHECK_TEXT(ecs_enum_member(f.world, mode, 1), "auto");
    CHECK_EQ(ecs_enum_value(f.world, mode2, "auto", &ordinal), ECS_OK);
    CHECK_EQ(ordinal, 0);
    /* to register is to expect what is there */
    const char *const one[] = {"double x"};
    CHECK_EQ(ecs_struct_register(f.world, "Vec", one, 1, &found), ECS_E_CONFLICT);
    fixture_close(&f);
}

static void an_older_version_that_is_alike_is_the_current_one_again(void) {
    fixture_t f = fixture_open(0);
    uint32_t found = 0;
    uint32_t vec = define_struct(&f, "Vec", "double x", NULL);
    uint32_t mode = define_enum(&f, "Mode", "idle", "auto");
    uint64_t version = ecs_struct_version(f.world, vec);
    (void)define_struct(&f, "Vec", "float x", NULL);
    (void)define_enum(&f, "Mode", "auto", "idle");
    CHECK_EQ(define_struct(&f, "Vec", "double x", NULL), vec);
    CHECK_EQ(define_enum(&f, "Mode", "idle", "auto"), mode);
    CHECK_EQ(ecs_struct_version(f.world, vec), version);
    CHECK_EQ(ecs_struct_find(f.world, "Vec", &found), ECS_OK);
    CHECK_EQ(found, vec);
    CHECK_EQ(ecs_enum_find(f.world, "Mode", &found), ECS_OK);
    CHECK_EQ(found, mode);
    /* a default or a unit is part of it */
    CHECK(define_struct(&f, "Vec", "double x = 1", NULL) != vec);
    CHECK(define_struct(&f, "Vec", "double x [m]", NULL) != vec);
    CHECK_EQ(ecs_types_sweep(f.world), 4);
    fixture_close(&f);
}

static void a_component_follows_by_a_migration(void) {
    fixture_t f = fixture_open(16);
    (void)define_enum(&f, "Mode", "idle", "auto");
    (void)define_struct(&f, "State", "Mode mode = auto", "int16_t n = 300");
    uint32_t machine = component(&f, "Machine", "State state");
    record_begin(&f, 1);
    ecs_id_t e = ecs_record_spawn(f.world, 0, NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, e, machine, 0) != NULL);
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    uint32_t mode = define_enum(&f, "Mode", "auto", "hand");
    uint32_t state = define_struct(&f, "State", "double n", "Mode mode = hand");
    const char *const same[] = {"State state"};
    uint32_t count = 0;
    CHECK_EQ(ecs_types_sweep(f.world), 0);
    CHECK_EQ(ecs_component_migrate(f.world, machine, same, 1, NULL), ECS_OK);
    const struct {
        double n;
        int32_t mode;
    } *value = ecs_view(f.world, e, machine);
    CHECK_EQ(value->n, 300);
    CHECK_EQ(value->mode, 0);
    CHECK_EQ(struct_of(&f, machine), state);
    CHECK_EQ(ecs_struct_fields(f.world, state, &count)[1].enum_id, mode);
    CHECK_EQ(ecs_types_sweep(f.world), 2);
    fixture_close(&f);
}

static void what_is_needed_is_not_swept(void) {
    fixture_t f = fixture_open(16);
    uint32_t deep = define_enum(&f, "Mode", "idle", "auto");
    uint32_t inner = define_struct(&f, "Inner", "Mode mode", NULL);
    (void)define_struct(&f, "Outer", "Inner inner", NULL);
    uint32_t holder = component(&f, "Holder", "Outer outer");
    uint32_t sent = define_struct(&f, "Sent", "double x", NULL);
    uint32_t room_of = define_struct(&f, "Heard", "double x", NULL);
    uint32_t planned = define_struct(&f, "Planned", "double x", NULL);
    const char *const plan_fields[] = {"Planned x"}, *const plain[] = {"double x"};
    uint32_t saved_type = define_struct(&f, "Saved", "double x", NULL);
    uint32_t kept = component(&f, "Kept", "Saved x");
    ecs_migration_t *plan = NULL;
    ecs_saved_t *saved = NULL;
    CHECK_EQ(ecs_values_save(f.world, kept, &saved), ECS_OK);
    CHECK_EQ(ecs_component_migrate(f.world, kept, plain, 1, &(ecs_converter_t){accept, &(int){0}}),
             ECS_OK);
    CHECK_EQ(ecs_migration_plan(f.world, f.pos, plan_fields, 1, &plan), ECS_OK);
    uint32_t room = ecs_room_open(f.world, room_of, 0);
    record_begin(&f, 1);
    CHECK(ecs_record_send(f.world, sent, 0) != NULL);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_types_sweep(f.world), ECS_E_PHASE); /* in the run phase */
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    const char *const names[] = {"Mode", "Inner", "Outer", "Sent", "Heard", "Planned", "Saved"};
    for (size_t i = 0; i < COUNT(names); i++) {
        CHECK_EQ(ecs_type_retire(f.world, names[i]), ECS_OK);
        CHECK_EQ(ecs_type_retire(f.world, names[i]), ECS_E_UNKNOWN);
    }
    CHECK_EQ(ecs_types_sweep(f.world), 0);
    CHECK_EQ(ecs_check(f.world), ECS_OK);
    ecs_room_close(f.world, room);
    CHECK_EQ(ecs_types_sweep(f.world), 1);
    CHECK_EQ(ecs_struct_version(f.world, room_of), 0);
    CHECK_EQ(ecs_room_open(f.world, room_of, 0), 0);
    ecs_migration_destroy(plan);
    CHECK_EQ(ecs_types_sweep(f.world), 1);
    CHECK_EQ(ecs_struct_version(f.world, planned), 0);
    ecs_values_free(saved);
    CHECK_EQ(ecs_types_sweep(f.world), 1);
    CHECK_EQ(ecs_struct_version(f.world, saved_type), 0);
    record_begin(&f, 1);
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), 1);
    CHECK_EQ(ecs_struct_version(f.world, sent), 0);
    CHECK_TEXT(ecs_struct_name(f.world, sent), "?");
    CHECK(ecs_struct_version(f.world, inner) != 0 && ecs_enum_version(f.world, deep) != 0);
    CHECK_EQ(ecs_component_migrate(f.world, holder, NULL, 0, &(ecs_converter_t){accept, &(int){0}}),
             ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), 3);
    CHECK_EQ(ecs_enum_version(f.world, deep), 0);
    CHECK_TEXT(ecs_enum_name(f.world, deep), "?");
    fixture_close(&f);
}

static void an_id_that_is_used_again_has_another_version(void) {
    fixture_t f = fixture_open(0);
    uint32_t a = define_struct(&f, "A", "double x", NULL);
    uint32_t mode = define_enum(&f, "Mode", "a", "b");
    uint64_t version = ecs_struct_version(f.world, a),
             mode_version = ecs_enum_version(f.world, mode);
    CHECK_EQ(ecs_type_retire(f.world, "A"), ECS_OK);
    CHECK_EQ(ecs_type_retire(f.world, "Mode"), ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), 2);
    CHECK_EQ(define_struct(&f, "B", "float y", NULL), a);
    CHECK_EQ(define_enum(&f, "Other", "c", "d"), mode);
    CHECK(ecs_struct_version(f.world, a) > version);
    CHECK(ecs_enum_version(f.world, mode) > mode_version);
    CHECK_EQ(ecs_struct_find(f.world, "A", &a), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void a_name_that_was_retired_may_be_another_kind_of_type(void) {
    fixture_t f = fixture_open(0);
    const char *const members[] = {"idle"}, *const fields[] = {"double x"};
    uint32_t id = 0, mode = define_enum(&f, "Mode", "idle", "auto");
    uint32_t holder = component(&f, "Holder", "Mode mode");
    CHECK_EQ(ecs_struct_define(f.world, "Mode", fields, 1, &id), ECS_E_EXISTS);
    CHECK_EQ(ecs_type_retire(f.world, "Mode"), ECS_OK);
    CHECK_EQ(ecs_struct_define(f.world, "Mode", fields, 1, &id), ECS_OK);
    CHECK_EQ(ecs_enum_define(f.world, "Mode", members, 1, &id), ECS_E_EXISTS);
    CHECK_EQ(ecs_type_retire(f.world, "Mode"), ECS_OK);
    CHECK_EQ(define_enum(&f, "Mode", "idle", "auto"), mode);
    CHECK_EQ(ecs_component_size_bytes(f.world, holder), 4);
    fixture_close(&f);
}

static void bad_definitions_change_nothing(void) {
    fixture_t f = fixture_open(0);
    const char *const self[] = {"double x", "Node inner"}, *const wrong[] = {"doubel x"};
    const char *const bad[] = {"a b"}, *const fine[] = {"double z"};
    uint32_t node = define_struct(&f, "Node", "double x", NULL), found = 0, id = 0;
    uint32_t mode = define_enum(&f, "Mode", "idle", "auto");
    CHECK_EQ(ecs_struct_define(f.world, "Node", self, 2, &id), ECS_E_INVALID);
    CHECK_TEXT(ecs_last_error(f.world), "field \"inner\": a struct does not hold itself");
    CHECK_EQ(ecs_struct_define(f.world, "Node", wrong, 1, &id), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_enum_define(f.world, "Mode", bad, 1, &id), ECS_E_INVALID);
    CHECK_EQ(ecs_struct_define(f.world, "double", fine, 1, &id), ECS_E_EXISTS);
    CHECK_EQ(ecs_struct_find(f.world, "Node", &found), ECS_OK);
    CHECK_EQ(found, node);
    CHECK_EQ(ecs_enum_find(f.world, "Mode", &found), ECS_OK);
    CHECK_EQ(found, mode);
    for (int phase = ECS_PHASE_RUN; phase <= ECS_PHASE_REACT; phase++) {
        CHECK_EQ(ecs_phase_set(f.world, (ecs_phase_t)phase), ECS_OK);
        CHECK_EQ(ecs_struct_define(f.world, "Node", fine, 1, &id), ECS_E_PHASE);
        CHECK_EQ(ecs_enum_define(f.world, "Mode", fine + 1, 0, &id), ECS_E_PHASE);
        CHECK_EQ(ecs_type_retire(f.world, "Node"), ECS_E_PHASE);
    }
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), 0);
    fixture_close(&f);
}

static void the_limit_of_structs_is_that_of_versions_that_are_kept(void) {
    fixture_t f = fixture_open(0);
    char text[32];
    const char *fields[] = {text};
    uint32_t id = 0;
    int rc = ECS_OK;
    for (int i = 0; rc == ECS_OK && i <= ECS_MAX_STRUCTS; i++) {
        (void)snprintf(text, sizeof text, "double x = %d", i);
        rc = ecs_struct_define(f.world, "Vec", fields, 1, &id);
    }
    CHECK_EQ(rc, ECS_E_LIMIT);
    CHECK_TEXT(ecs_last_error(f.world), "more than 1024 structs");
    CHECK_EQ(*(const double *)ecs_struct_default(f.world, ECS_MAX_STRUCTS - 1), 1023);
    CHECK_EQ(ecs_types_sweep(f.world), ECS_MAX_STRUCTS - 1);
    CHECK_EQ(ecs_struct_define(f.world, "Vec", fields, 1, &id), ECS_OK);
    CHECK_EQ(id, 0);
    fixture_close(&f);
}

static void ten_thousand_definitions_take_no_memory(void) {
    fixture_t f = fixture_open(16);
    (void)define_enum(&f, "Mode", "a", "b");
    (void)define_struct(&f, "Vec", "Mode mode", NULL);
    uint32_t holder = component(&f, "Holder", "Vec at");
    const char *const same[] = {"Vec at"};
    char text[32], member[32];
    size_t before = 0;
    record_begin(&f, 1);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, ecs_record_spawn(f.world, 0, NULL), holder, 0));
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(text, sizeof text, "double x%05d", i);
        (void)snprintf(member, sizeof member, "m%05d", i);
        uint32_t mode = define_enum(&f, "Mode", "a", member);
        uint32_t vec = define_struct(&f, "Vec", "Mode mode", text);
        CHECK_EQ(
            ecs_component_migrate(f.world, holder, same, 1, &(ecs_converter_t){accept, &(int){0}}),
            ECS_OK);
        CHECK_EQ(ecs_types_sweep(f.world), 2);
        CHECK(mode < 2 && vec < 2);
        size_t now = mallinfo2().uordblks;
        if (i == 10) { before = now; }
        CHECK(i <= 10 || now <= before + 4096); /* the allocator rounds */
    }
    fixture_close(&f);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

typedef struct {
    char bytes[1 << 16];
    size_t length;
} buffer_t;

static int append(void *context, const void *data, size_t length) {
    buffer_t *buffer = context;
    if (buffer->length + length > sizeof buffer->bytes) { return ECS_E_LIMIT; }
    memcpy(buffer->bytes + buffer->length, data, length);
    buffer->length += length;
    return ECS_OK;
}

static buffer_t *snapshot(fixture_t *f) {
    buffer_t *buffer = calloc(1, sizeof *buffer);
    CHECK_EQ(ecs_snapshot_write(f->world, append, buffer), ECS_OK);
    return buffer;
}

static void a_snapshot_has_the_versions_that_are_used(void) {
    fixture_t f = fixture_open(16), same = fixture_open(16), other = fixture_open(16);
    /* ids 0 and 1 were others once; Old and the component have an older Mode */
    (void)define_enum(&f, "Gone", "x", "y");
    (void)define_enum(&f, "Gone2", "x", "y");
    (void)define_enum(&f, "Mode", "idle", "auto");
    (void)define_struct(&f, "Vec", "Mode mode = auto", "double x");
    uint32_t holder = component(&f, "Holder", "Vec at");
    uint32_t unused = define_struct(&f, "Vec", "float x", NULL);
    (void)define_enum(&f, "Mode", "auto", "hand");
    CHECK_EQ(ecs_type_retire(f.world, "Gone"), ECS_OK);
    CHECK_EQ(ecs_type_retire(f.world, "Gone2"), ECS_OK);
    CHECK_EQ(ecs_types_sweep(f.world), 2);
    (void)define_struct(&f, "Vec", "int8_t x", NULL);
    CHECK(ecs_struct_version(f.world, unused) != 0);
    record_begin(&f, 1);
    ecs_id_t e = ecs_record_spawn(f.world, 0, "e");
    CHECK(ecs_record(f.world, ECS_OP_INSERT, e, holder, 0) != NULL);
    apply(&f);
    buffer_t *bytes = snapshot(&f);
    /* a world with the same versions under other ids */
    (void)define_enum(&same, "Mode", "idle", "auto");
    (void)define_struct(&same, "Vec", "Mode mode = auto", "double x");
    (void)component(&same, "Holder", "Vec at");
    uint32_t hand = define_enum(&same, "Mode", "auto", "hand");
    CHECK_EQ(ecs_snapshot_restore(same.world, bytes->bytes, bytes->length), ECS_OK);
    CHECK(ecs_hash(same.world) == ecs_hash(f.world));
    CHECK_EQ(ecs_check(same.world), ECS_OK);
    buffer_t *again = snapshot(&same);
    CHECK_EQ(again->length, bytes->length);
    CHECK_EQ(memcmp(again->bytes, bytes->bytes, bytes->length), 0);
    CHECK_EQ(define_enum(&same, "Mode", "auto", "hand"), hand);
    /* a world whose component has the newer Mode */
    (void)define_enum(&other, "Mode", "idle", "auto");
    (void)define_enum(&other, "Mode", "auto", "hand");
    (void)define_struct(&other, "Vec", "Mode mode = auto", "double x");
    (void)component(&other, "Holder", "Vec at");
    CHECK_EQ(ecs_snapshot_restore(other.world, bytes->bytes, bytes->length), ECS_E_CONFLICT);
    free(bytes);
    free(again);
    fixture_close(&f);
    fixture_close(&same);
    fixture_close(&other);
}

static void a_snapshot_says_which_members_differ(void) {
    fixture_t f = fixture_open(16), other = fixture_open(16);
    (void)define_enum(&f, "Mode", "idle", "auto");
    (void)component(&f, "Holder", "Mode mode");
    buffer_t *bytes = snapshot(&f);
    (void)define_enum(&other, "Mode", "idle", "slow");
    (void)component(&other, "Holder", "Mode mode"); /* an older version, and it stays */
    (void)define_enum(&other, "Mode", "idle", "hand");
    CHECK_EQ(ecs_snapshot_restore(other.world, bytes->bytes, bytes->length), ECS_E_CONFLICT);
    CHECK(strstr(ecs_last_error(other.world), "\"auto\", in this world \"hand\"") != NULL);
    free(bytes);
    fixture_close(&f);
    fixture_close(&other);
}

/* ---- declarations between steps ------------------------------------------------------------- */

static void components_are_registered_while_the_world_lives(void) {
    fixture_t f = fixture_open(16);
    uint32_t late = 0, apart = 0, count = 0;
    const char *const fields[] = {"double x = 3"};
    ecs_query_t *all = NULL;
    record_begin(&f, 1);
    ecs_id_t e = spawn_pos(&f, 1);
    apply(&f);
    CHECK_EQ(ecs_component_register(f.world, "Late", fields, 1, &late), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Late", fields, 1, &late), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Apart", fields, 1, &apart), ECS_OK);
    CHECK_EQ(ecs_component_sparse(f.world, apart), ECS_OK);
    CHECK_EQ(ecs_component_sparse(f.world, f.pos), ECS_E_CONFLICT);
    CHECK_TEXT(ecs_last_error(f.world), "Pos: entities had it already");
    ecs_query_desc_t desc = {.read = {late}, .read_count = 1, .with = {apart}, .with_count = 1};
    CHECK_EQ(ecs_query_create(f.world, &desc, &all), ECS_OK);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_ADDED, late), ECS_OK);
    record_begin(&f, 1);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, e, late, 0) != NULL);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, e, apart, 0) != NULL);
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Later", fields, 1, &late), ECS_OK);
    CHECK_EQ(ecs_component_sparse(f.world, late), ECS_E_PHASE); /* a batch waits */
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(f.world), ECS_OK);
    (void)ecs_events(f.world, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(ecs_query_count(all), 1);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    fixture_close(&f);
}

int main(void) {
    RUN(a_name_means_its_newest_version_to_what_comes_later);
    RUN(an_older_version_that_is_alike_is_the_current_one_again);
    RUN(a_component_follows_by_a_migration);
    RUN(what_is_needed_is_not_swept);
    RUN(an_id_that_is_used_again_has_another_version);
    RUN(a_name_that_was_retired_may_be_another_kind_of_type);
    RUN(bad_definitions_change_nothing);
    RUN(the_limit_of_structs_is_that_of_versions_that_are_kept);
    RUN(ten_thousand_definitions_take_no_memory);
    RUN(a_snapshot_has_the_versions_that_are_used);
    RUN(a_snapshot_says_which_members_differ);
    RUN(components_are_registered_while_the_world_lives);
    return test_report();
}
