/* Snapshots that are damaged, and hostile ones whose checksums are right. */
#include "history.h"
#include "snapshot.h"

/* The world behind the small snapshot:
 *
 *   slot  0 arm      1 arm/hand   2 ─      3 leg    4 ─       5 ─
 *         Pos        Pos          free     Tag      retired   Mark
 *
 * archetypes: none, Pos, Tag, Mark; each snapshot component and archetype has a fixed place. */
static ecs_world_t *small_world(void) {
    static const char *const xyz[] = {"double x", "float y = 2"}, *const mode[] = {"Mode mode"};
    const char *const members[] = {"idle", "busy"};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 24, .chunk_rows = 16};
    ecs_world_t *world = NULL;
    uint32_t id = 0;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    CHECK_EQ(ecs_enum_register(world, "Mode", members, 2, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Pos", xyz, 2, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Tag", NULL, 0, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Mark", NULL, 0, &id), ECS_OK);
    CHECK_EQ(ecs_component_register(world, "Gear", mode, 1, &id), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    return world;
}

static void apply_now(ecs_world_t *world) {
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
}

static void record_now(ecs_world_t *world) {
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
}

static void fill_small_world(ecs_world_t *world) {
    record_now(world);
    ecs_id_t arm = ecs_record_spawn(world, 0, "arm"), hand = ecs_record_spawn(world, arm, "hand");
    ecs_id_t gone = ecs_record_spawn(world, 0, NULL), leg = ecs_record_spawn(world, 0, "leg");
    ecs_id_t old = ecs_record_spawn(world, 0, NULL), mark = ecs_record_spawn(world, 0, NULL);
    *(double *)ecs_record(world, ECS_OP_INSERT, arm, 0, 0) = 1.5;
    *(double *)ecs_record(world, ECS_OP_INSERT, hand, 0, 0) = 2.5;
    (void)ecs_record(world, ECS_OP_INSERT, leg, 1, 0);
    (void)ecs_record(world, ECS_OP_INSERT, mark, 2, 0);
    apply_now(world);
    record_now(world);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, old, 0), ECS_OK);
    apply_now(world);
    CHECK_EQ(retire_one(world), 4);
    record_now(world);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, gone, 0), ECS_OK);
    apply_now(world);
    CHECK_EQ(world->free_head, 2);
}

static buffer_t small_snapshot(void) {
    ecs_world_t *world = small_world();
    fill_small_world(world);
    buffer_t snapshot = snapshot_of(world);
    ecs_world_destroy(world);
    return snapshot;
}

/* ---- patching ------------------------------------------------------------------------------- */

/* Content of a section and its length. */
static char *section(const buffer_t *snapshot, uint32_t index, uint64_t *length) {
    char *at = snapshot->bytes + ECS__SNAPSHOT_HEAD_BYTES;
    for (;; index--) {
        memcpy(length, at + ECS__SECTION_TAG_BYTES, sizeof *length);
        at += ECS__SECTION_HEAD_BYTES;
        if (index == 0) { return at; }
        at += *length + ECS__CHECKSUM_BYTES;
    }
}

/* Makes all checksums right. */
static void seal(buffer_t *snapshot) {
    uint64_t sum = ecs__checksum(snapshot->bytes, 24), length = 0;
    memcpy(snapshot->bytes + 24, &sum, sizeof sum);
    for (uint32_t i = 0; i < ECS__SECTION_COUNT; i++) {
        char *content = section(snapshot, i, &length);
        sum = ecs__checksum(content - ECS__SECTION_HEAD_BYTES, ECS__SECTION_HEAD_BYTES + length);
        memcpy(content + length, &sum, sizeof sum);
    }
}

/* A snapshot with other bytes at a place of a section, or of the whole file for NO_SECTION. */
enum { NO_SECTION = ECS__SECTION_COUNT };
static buffer_t patched(const buffer_t *snapshot, uint32_t where, size_t offset, const void *bytes,
                        size_t length) {
    buffer_t out = {0};
    uint64_t room = 0;
    (void)buffer_sink(&out, snapshot->bytes, snapshot->length);
    char *at = where == NO_SECTION ? out.bytes : section(&out, where, &room);
    CHECK(where == NO_SECTION || offset + length <= room);
    memcpy(at + offset, bytes, length);
    seal(&out);
    return out;
}

static size_t offset_in(const buffer_t *snapshot, uint32_t where, const char *text) {
    uint64_t length = 0;
    const char *content = section(snapshot, where, &length);
    const char *found = memmem(content, length, text, strlen(text));
    CHECK(found != NULL);
    return found == NULL ? 0 : (size_t)(found - content);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void check_refused(ecs_world_t *world, const buffer_t *bytes, int error, const char *why) {
    static const uint64_t empty_hash = 14695981039346656037ull;
    int rc = ecs_snapshot_restore(world, bytes->bytes, bytes->length);
    CHECK_EQ(rc, error);
    bool says_why = strstr(ecs_last_error(world), why) != NULL;
    if (rc != error || !says_why) {
        printf("  \"%s\", expected \"%s\"\n", ecs_last_error(world), why);
    }
    CHECK(says_why);
    CHECK_EQ(ecs_check(world), ECS_OK);
    CHECK_EQ(world->slot_count, 0);
    CHECK_EQ(world->archetype_count, 1);
    CHECK(ecs_hash(world) == empty_hash);
}

static void check_restores(ecs_world_t *world, const buffer_t *snapshot) {
    CHECK_EQ(ecs_snapshot_restore(world, snapshot->bytes, snapshot->length), ECS_OK);
    buffer_t again = snapshot_of(world);
    CHECK(same_bytes(snapshot, &again));
    CHECK_EQ(ecs_check(world), ECS_OK);
    CHECK_EQ(ecs_lookup(world, "arm/hand"), 4294967297.0);
    free(again.bytes);
    ecs_world_destroy(world);
}

static void any_flipped_bit_is_refused(void) {
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    CHECK(snapshot.length > 500 && snapshot.length < 4096);
    for (size_t i = 0; i < 8 * snapshot.length; i++) {
        snapshot.bytes[i / 8] ^= (char)(1 << i % 8);
        check_refused(world, &snapshot, ECS_E_INVALID, "snapshot: ");
        snapshot.bytes[i / 8] ^= (char)(1 << i % 8);
    }
    check_restores(world, &snapshot);
    free(snapshot.bytes);
}

static void any_other_length_is_refused(void) {
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    for (size_t length = 0; length < snapshot.length; length++) {
        buffer_t shorter = {.length = length, .bytes = malloc(length + 1)}; /* for the sanitizer */
        memcpy(shorter.bytes, snapshot.bytes, length);
        check_refused(world, &shorter, ECS_E_INVALID,
                      length < ECS__SNAPSHOT_HEAD_BYTES ? "these bytes are none" : "its head says");
        free(shorter.bytes);
    }
    buffer_t longer = {0};
    (void)buffer_sink(&longer, snapshot.bytes, snapshot.length);
    (void)buffer_sink(&longer, "12345678", 8);
    check_refused(world, &longer, ECS_E_INVALID, "its head says");
    uint64_t length = longer.length;
    buffer_t told = patched(&longer, NO_SECTION, 16, &length, sizeof length);
    check_refused(world, &told, ECS_E_INVALID, "bytes after the last section");
    check_restores(world, &snapshot);
    free(longer.bytes);
    free(told.bytes);
    free(snapshot.bytes);
}

typedef struct {
    uint32_t section;
    size_t offset;
    uint32_t value;
    int error;
    const char *why;
} hostile_t;

static void check_hostile(const hostile_t *cases, size_t count) {
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    for (size_t i = 0; i < count; i++) {
        const hostile_t *at = &cases[i];
        buffer_t bad = patched(&snapshot, at->section, at->offset, &at->value, sizeof at->value);
        check_refused(world, &bad, at->error, at->why);
        free(bad.bytes);
    }
    check_restores(world, &snapshot);
    free(snapshot.bytes);
}
#define CHECK_HOSTILE(cases) check_hostile(cases, sizeof(cases) / sizeof(cases)[0])

static void hostile_heads_and_slots_are_refused(void) {
    enum { S = ECS__SECTION_SLOTS };
    static const hostile_t cases[] = {
        {NO_SECTION, 0, 0x30534345, ECS_E_INVALID, "these bytes are none"},
        {NO_SECTION, 8, 2, ECS_E_INVALID, "version 2; this reads version 1"},
        {NO_SECTION, 8, 0, ECS_E_INVALID, "version 0; this reads version 1"},
        {NO_SECTION, 12, 7, ECS_E_INVALID, "7 sections; version 1 has 6"},
        {NO_SECTION, 16, 9, ECS_E_INVALID, "bytes; its head says 9"},
        {NO_SECTION, 32, 7, ECS_E_INVALID, "no section schema where it belongs"},
        {S, 0, 0, ECS_E_INVALID, "change tick 0 is none"},
        {S, 4, 0x80000000u, ECS_E_INVALID, "change tick 9223372036854775812 is none"},
        {S, 8, 5, ECS_E_INVALID, "section slots has more than it says"},
        {S, 8, 7, ECS_E_INVALID, "7 slots, but rows, free and retired ones are 6"},
        {S, 8, 1000, ECS_E_INVALID, "section slots ends too early"},
        {S, 8, 0xffffffffu, ECS_E_LIMIT, "4294967295 slots"},
        {S, 12, 0, ECS_E_INVALID, "section slots has more than it says"},
        {S, 12, 2, ECS_E_INVALID, "6 slots, but rows, free and retired ones are 7"},
        {S, 12, 0xffffffffu, ECS_E_INVALID, "section slots ends too early"},
        {S, 16, 0, ECS_E_INVALID, "6 slots, but rows, free and retired ones are 5"},
        {S, 16, 0xffffffffu, ECS_E_INVALID, "are 4294967300"},
        {S, 24, 0, ECS_E_INVALID, "slot 0: generation 0 is none"},
        {S, 24, 1u << 20, ECS_E_INVALID, "slot 0: generation 1048576 is none"},
        {S, 24, 2, ECS_E_INVALID, "row of id 4294967296, which its slot has not"},
        {S, 48, 0, ECS_E_INVALID, "row of id 4294967296, which is free"},
        {S, 48, 6, ECS_E_INVALID, "free list: slot 6 does not exist"},
        {S, 48, 0xffffffffu, ECS_E_INVALID, "free list: slot 4294967295 does not exist"},
    };
    CHECK_HOSTILE(cases);
}

/* Archetype 1 lies at 24, 2 at 44, 3 at 64; each is components, rows, chunks, first, list. */
static void hostile_archetypes_are_refused(void) {
    enum { S = ECS__SECTION_ARCHETYPES };
    static const hostile_t cases[] = {
        {S, 0, 4096, ECS_E_CONFLICT, "chunks of 4096 rows; this world has chunks of 16"},
        {S, 4, 0, ECS_E_INVALID, "0 archetypes; expected 1 to 65536"},
        {S, 4, 65537, ECS_E_INVALID, "65537 archetypes; expected 1 to 65536"},
        {S, 4, 3, ECS_E_INVALID, "6 slots, but rows, free and retired ones are 5"},
        {S, 4, 5, ECS_E_INVALID, "section archs ends too early"},
        {S, 8, 1, ECS_E_INVALID, "archetype 0: only the first one"},
        {S, 24, 0, ECS_E_INVALID, "archetype 1: only the first one"},
        {S, 24, 0xffffffffu, ECS_E_INVALID, "section archs ends too early"},
        {S, 28, 17, ECS_E_INVALID, "17 rows do not lie in 1 chunks of 16, the first for 16"},
        {S, 28, 0xffffffffu, ECS_E_INVALID, "4294967295 rows do not lie in 1 chunks of 16"},
        {S, 28, 1, ECS_E_INVALID, "6 slots, but rows, free and retired ones are 5"},
        {S, 32, 0, ECS_E_INVALID, "2 rows do not lie in 0 chunks"},
        {S, 32, 3, ECS_E_INVALID, "2 rows do not lie in 3 chunks"},
        {S, 32, 0xffffffffu, ECS_E_INVALID, "do not lie in 4294967295 chunks"},
        {S, 36, 0, ECS_E_INVALID, "the first for 0"},
        {S, 36, 8, ECS_E_INVALID, "the first for 8"},
        {S, 36, 24, ECS_E_INVALID, "the first for 24"},
        {S, 36, 32, ECS_E_INVALID, "the first for 32"},
        {S, 36, 0x80000000u, ECS_E_INVALID, "the first for 2147483648"},
        {S, 40, 4, ECS_E_INVALID, "archetype 1: component 4 does not exist"},
        {S, 80, 1, ECS_E_INVALID, "archetype 3 is there twice"},
    };
    CHECK_HOSTILE(cases);
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    const uint32_t two = 2, one = 1; /* the list of archetype 1 becomes Tag, Tag */
    buffer_t longer = patched(&snapshot, S, 24, &two, sizeof two);
    buffer_t bad = patched(&longer, S, 40, &one, sizeof one);
    check_refused(world, &bad, ECS_E_INVALID,
                  "archetype 1: component 1 does not exist or is not in order");
    check_restores(world, &snapshot);
    free(snapshot.bytes);
    free(longer.bytes);
    free(bad.bytes);
}

static void a_free_list_with_a_slot_twice_is_refused(void) {
    ecs_world_t *world = small_world(), *other = small_world();
    fill_small_world(world);
    record_now(world);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, 4294967299.0, 0), ECS_OK);
    apply_now(world);
    buffer_t snapshot = snapshot_of(world);
    const uint32_t again = 2; /* free are 2 and 3 */
    buffer_t bad = patched(&snapshot, ECS__SECTION_SLOTS, 52, &again, sizeof again);
    check_refused(other, &bad, ECS_E_INVALID, "free list: slot 2 twice");
    check_restores(other, &snapshot);
    ecs_world_destroy(world);
    free(snapshot.bytes);
    free(bad.bytes);
}

/* One chunk of Pos: changed, added, two ids, two values; then the ids of Tag's and Mark's. */
static void hostile_rows_are_refused(void) {
    enum { S = ECS__SECTION_ROWS };
    static const hostile_t cases[] = {
        {S, 0, 5, ECS_E_INVALID, "a chunk was changed after tick 4"},
        {S, 12, 1, ECS_E_INVALID, "a chunk was changed after tick 4"},
        {S, 16, 1, ECS_E_INVALID, "row of 4294967296.000001, which is no id"},
        {S, 20, 0, ECS_E_INVALID, "row of 0, which is no id"},
        {S, 20, 0x7ff80000u, ECS_E_INVALID, "row of nan, which is no id"},
        {S, 20, 0x7ff00000u, ECS_E_INVALID, "row of inf, which is no id"},
        {S, 20, 0xc1f00000u, ECS_E_INVALID, "row of -4294967296, which is no id"},
        {S, 20, 0x42000000u, ECS_E_INVALID, "row of id 8589934592, which its slot has not"},
        {S, 16, 0x00100000u, ECS_E_INVALID, "row of id 4294967297, which has a row"},
        {S, 16, 0x00600000u, ECS_E_INVALID, "row of id 4294967302, which its slot has not"},
    };
    CHECK_HOSTILE(cases);
}

static void hostile_trees_are_refused(void) {
    enum { S = ECS__SECTION_TREE, ARM = 8, HAND = 23, LEG = 39 };
    static const hostile_t cases[] = {
        {S, 0, 2, ECS_E_INVALID, "section tree has more than it says"},
        {S, 0, 4, ECS_E_INVALID, "section tree ends too early"},
        {S, 0, 0xffffffffu, ECS_E_INVALID, "section tree ends too early"},
        {S, ARM, 2, ECS_E_INVALID, "tree: slot 2 or its parent's has no entity"},
        {S, ARM, 4, ECS_E_INVALID, "tree: slot 4 or its parent's has no entity"},
        {S, ARM, 6, ECS_E_INVALID, "tree: slot 6 or its parent's has no entity"},
        {S, ARM, 0xffffffffu, ECS_E_INVALID, "tree: slot 4294967295 or its parent's"},
        {S, ARM, 1, ECS_E_INVALID, "tree: slot 1 is there twice"},
        {S, ARM + 4, 2, ECS_E_INVALID, "tree: slot 0 is below itself"},
        {S, ARM + 4, 1, ECS_E_INVALID, "tree: slot 0 is below itself"},
        {S, ARM + 4, 3, ECS_E_INVALID, "tree: slot 0 or its parent's has no entity"},
        {S, ARM + 4, 0xffffffffu, ECS_E_INVALID, "tree: slot 0 or its parent's has no entity"},
        {S, ARM + 8, 0, ECS_E_INVALID, "tree: slot 0 is there without reason"},
        {S, ARM + 8, 64, ECS_E_INVALID, "section tree ends too early"},
        {S, ARM + 8, 0xffffffffu, ECS_E_INVALID, "section tree ends too early"},
        {S, HAND + 8, 16, ECS_E_INVALID, "tree: slot 1: an entity's name has at most 63 bytes"},
        {S, HAND + 12, 0x6e612f68u, ECS_E_INVALID, "and no '/'"},
        {S, LEG + 11, 0x6d726100u, ECS_E_INVALID, "tree: slot 3: a sibling has its name"},
    };
    CHECK_HOSTILE(cases);
}

/* It shows after all rows have been built. */
static void what_was_built_in_vain_gives_its_memory_back(void) {
    const uint32_t arm = 0x6d726100u;
    buffer_t snapshot = small_snapshot();
    buffer_t bad = patched(&snapshot, ECS__SECTION_TREE, 39 + 11, &arm, sizeof arm);
    ecs_world_t *world = small_world();
    check_refused(world, &bad, ECS_E_INVALID, "a sibling has its name");
    size_t used = world->memory.used_bytes;
    for (uint32_t i = 0; i < 10; i++) {
        check_refused(world, &bad, ECS_E_INVALID, "a sibling has its name");
    }
    CHECK(used > 0);
    CHECK_EQ(world->memory.used_bytes, used);
    check_restores(world, &snapshot);
    free(snapshot.bytes);
    free(bad.bytes);
}

static void check_other_text(const char *from, const char *to, int error, const char *why) {
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    size_t at = offset_in(&snapshot, ECS__SECTION_SCHEMA, from);
    buffer_t bad = patched(&snapshot, ECS__SECTION_SCHEMA, at, to, strlen(to) + 1);
    check_refused(world, &bad, error, why);
    check_restores(world, &snapshot);
    free(bad.bytes);
    free(snapshot.bytes);
}

static void another_schema_is_refused_by_name(void) {
    check_other_text("Pos", "Pose", ECS_E_UNKNOWN, "this world has no component \"Pose\"");
    check_other_text("Tag", "Pos", ECS_E_INVALID, "component \"Pos\" twice");
    check_other_text("Mode", "Mood", ECS_E_UNKNOWN, "this world has no enum \"Mood\"");
    check_other_text("busy", "lazy", ECS_E_CONFLICT,
                     "enum \"Mode\": member 1 is \"lazy\", in this world \"busy\"");
    check_other_text("Pos", "", ECS_E_INVALID, "a name is none");
    check_other_text("Pos", "P s", ECS_E_INVALID, "a name is none");
    char endless[ECS_NAME_BYTES + 1];
    memset(endless, 'x', ECS_NAME_BYTES);
    endless[ECS_NAME_BYTES] = '\0';
    check_other_text("Mode", endless, ECS_E_INVALID, "a name is none");
}

/* Mode takes 200 bytes after the counts, so Pos lies at 208, its fields at 280 and 368. */
static void another_layout_is_refused_by_name(void) {
    enum { S = ECS__SECTION_SCHEMA, X = 280 + 64, Y = 368 + 64 };
    static const hostile_t cases[] = {
        {S, 0, 0xffffffffu, ECS_E_INVALID, "schema: 4294967295 enums"},
        {S, 0, 2, ECS_E_UNKNOWN, "this world has no enum \"Pos\""},
        {S, 0, 0, ECS_E_UNKNOWN, "this world has no component \"Mode\""},
        {S, 4, 1025, ECS_E_INVALID, "1025 components"},
        {S, 4, 5, ECS_E_INVALID, "section schema ends too early"},
        {S, 4, 3, ECS_E_INVALID, "section schema has more than it says"},
        {S, 72, 1, ECS_E_CONFLICT, "enum \"Mode\" has 1 members, in this world 2"},
        {S, 72, 3, ECS_E_CONFLICT, "enum \"Mode\": member 2 is \"Pos\", in this world \"\""},
        {S, 72, 0xffffffffu, ECS_E_INVALID, "section schema ends too early"},
        {S, 272, 0xffffffffu, ECS_E_INVALID, "a name is none"},
        {S, 272, 1, ECS_E_CONFLICT, "component \"Pos\" has 1 fields in 16 bytes, in this world 2"},
        {S, 276, 24, ECS_E_CONFLICT, "has 2 fields in 24 bytes, in this world 2 in 16"},
        {S, X, ECS_TYPE_ENTITY, ECS_E_CONFLICT,
         "component \"Pos\": field 0 is \"entity x\" at 0, in this world \"double x\""},
        {S, X, 99, ECS_E_CONFLICT, "field 0 is \"? x\""},
        {S, X, ECS_TYPE_ENUM, ECS_E_CONFLICT, "field 0 is \"Mode x\""},
        {S, X + 4, 2, ECS_E_CONFLICT, "component \"Pos\": field 0 is"},
        {S, X + 8, 8, ECS_E_CONFLICT, "field 0 is \"double x\" at 8"},
        {S, X + 12, 16, ECS_E_CONFLICT, "component \"Pos\": field 0 is"},
        {S, X + 20, 1, ECS_E_CONFLICT, "field 0 is \"double x[1]\" at 0"},
        {S, Y + 24 + 8, 0x40400000u, ECS_E_CONFLICT,
         "component \"Pos\" has another default in this world"},
    };
    CHECK_HOSTILE(cases);
    const hostile_t no_enum[] = {{S, 0, 99, ECS_E_INVALID, "schema: no enum 99"}};
    buffer_t snapshot = small_snapshot();
    hostile_t at = no_enum[0];
    at.offset = offset_in(&snapshot, S, "mode") + ECS_NAME_BYTES + 16;
    check_hostile(&at, 1);
    free(snapshot.bytes);
}

/* LuaJIT takes a negative NaN with a payload for one of its tagged values. */
static void a_forged_nan_becomes_a_plain_one(void) {
    static const uint64_t forged[] = {0xfff8000000000001u, UINT64_MAX, 0xfffc123456789abcu};
    static const uint64_t kept[] = {0xfff8000000000000u, 0x7ff8000000000001u, 0xfff0000000000000u};
    buffer_t snapshot = small_snapshot();
    for (size_t i = 0; i < 3; i++) {
        const uint32_t narrow[2] = {0xffffffffu, 0x7fc00001u};
        for (size_t k = 0; k < 2; k++) {
            const uint64_t *bits = k == 0 ? &forged[i] : &kept[i];
            buffer_t made = patched(&snapshot, ECS__SECTION_ROWS, 32, bits, sizeof *bits);
            buffer_t both = patched(&made, ECS__SECTION_ROWS, 40, &narrow[k], sizeof narrow[k]);
            ecs_world_t *world = small_world();
            CHECK_EQ(ecs_snapshot_restore(world, both.bytes, both.length), ECS_OK);
            const char *value = ecs_view(world, 4294967296.0, 0);
            uint64_t got = ecs__u64_at(value, 0), want = k == 0 ? kept[0] : kept[i];
            CHECK(got == want);
            CHECK_EQ(ecs__u32_at(value, 2), k == 0 ? 0xffc00000u : narrow[1]);
            ecs_world_destroy(world);
            free(made.bytes);
            free(both.bytes);
        }
    }
    free(snapshot.bytes);
}

/* Each section in turn with each word replaced by awkward numbers: no crash, no half world. */
static void awkward_words_anywhere_leave_a_whole_world(void) {
    static const uint32_t words[] = {0, 1, 2, 0x7fffffffu, 0x80000000u, 0xffffffffu};
    buffer_t snapshot = small_snapshot();
    ecs_world_t *world = small_world();
    uint64_t length = 0;
    uint32_t accepted = 0;
    for (uint32_t s = 0; s < ECS__SECTION_COUNT; s++) {
        (void)section(&snapshot, s, &length);
        for (size_t at = 0; at + 4 <= length; at++) {
            for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
                buffer_t odd = patched(&snapshot, s, at, &words[i], sizeof words[i]);
                int rc = ecs_snapshot_restore(world, odd.bytes, odd.length);
                CHECK_EQ(ecs_check(world), ECS_OK);
                if (rc == ECS_OK) {
                    accepted++;
                    ecs_world_destroy(world);
                    world = small_world();
                }
                CHECK_EQ(ecs_shared(world)->alive, 0);
                free(odd.bytes);
            }
        }
    }
    CHECK(accepted > 0); /* values may be anything */
    check_restores(world, &snapshot);
    free(snapshot.bytes);
}

int main(void) {
    RUN(any_flipped_bit_is_refused);
    RUN(any_other_length_is_refused);
    RUN(hostile_heads_and_slots_are_refused);
    RUN(hostile_archetypes_are_refused);
    RUN(a_free_list_with_a_slot_twice_is_refused);
    RUN(hostile_rows_are_refused);
    RUN(hostile_trees_are_refused);
    RUN(what_was_built_in_vain_gives_its_memory_back);
    RUN(another_schema_is_refused_by_name);
    RUN(another_layout_is_refused_by_name);
    RUN(a_forged_nan_becomes_a_plain_one);
    RUN(awkward_words_anywhere_leave_a_whole_world);
    return test_report();
}
