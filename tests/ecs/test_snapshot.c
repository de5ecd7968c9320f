#include <sys/wait.h>

#include "history.h"

static const char *self;

static void check_same(ecs_world_t *a, ecs_world_t *b) {
    CHECK_EQ(ecs_check(a), ECS_OK);
    CHECK_EQ(ecs_check(b), ECS_OK);
    CHECK(ecs_hash(a) == ecs_hash(b));
    CHECK(iteration_of(a) == iteration_of(b));
}

static int restore(ecs_world_t *world, const buffer_t *snapshot) {
    return ecs_snapshot_restore(world, snapshot->bytes, snapshot->length);
}

/* Restores a world with a history, then lets both go on alike. */
static void round_trip(uint32_t chunk_rows, bool backwards, uint64_t seed) {
    ecs_world_t *world = history_world(chunk_rows, false);
    ecs_world_t *copy = history_world(chunk_rows, backwards);
    history_t history = history_run(world, seed, 40, 60);
    retire_one(world);
    CHECK(ecs_shared(world)->alive > 100);
    CHECK(world->archetype_count > 30);
    buffer_t snapshot = snapshot_of(world);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    if (ecs_shared(copy)->alive == 0) { printf("  %s\n", ecs_last_error(copy)); }
    check_same(world, copy);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_IDLE), ECS_OK);
    history_t same = history;
    history_bind(&same, copy);
    for (uint32_t i = 0; i < 20; i++) {
        buffer_t now = snapshot_of(world), there = snapshot_of(copy);
        if (!backwards) { CHECK(same_bytes(&now, &there)); }
        free(now.bytes);
        free(there.bytes);
        history_round(&history, world, 60);
        history_round(&same, copy, 60);
        check_same(world, copy);
    }
    CHECK(memcmp(history.ids, same.ids, sizeof same.ids) == 0);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

static void a_restored_world_goes_on_like_the_original(void) {
    round_trip(16, false, 1);
    round_trip(16, false, 2);
    round_trip(4096, false, 3);
}

static void components_may_have_other_numbers(void) {
    round_trip(16, true, 4);
    round_trip(4096, true, 5);
}

static void many_rows_keep_their_chunks(void) {
    ecs_world_t *world = history_world(4096, false), *copy = history_world(4096, false);
    history_t history = history_run(world, 6, 20, 4000);
    buffer_t snapshot = snapshot_of(world);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    check_same(world, copy);
    buffer_t again = snapshot_of(copy);
    CHECK(same_bytes(&snapshot, &again));
    CHECK(ecs_shared(world)->alive > 10000);
    CHECK(history.names > 0);
    free(snapshot.bytes);
    free(again.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

static void despawn_all(ecs_world_t *world) {
    uint32_t at = 0;
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    for (ecs_id_t id = ecs_entity_next(world, &at); id != 0; id = ecs_entity_next(world, &at)) {
        CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    }
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_shared(world)->alive, 0);
}

static void empty_worlds_and_empty_chunks_come_back(void) {
    ecs_world_t *fresh = history_world(16, false), *used = history_world(16, false);
    ecs_world_t *copy = history_world(16, false);
    buffer_t snapshot = snapshot_of(fresh);
    (void)history_run(used, 7, 10, 60);
    despawn_all(used);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    check_same(fresh, copy);
    CHECK_EQ(copy->slot_count, 0);
    free(snapshot.bytes);
    snapshot = snapshot_of(used);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    buffer_t again = snapshot_of(copy);
    CHECK(same_bytes(&snapshot, &again));
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_IDLE), ECS_OK);
    history_t first = history_run(used, 8, 5, 60), second = history_run(copy, 8, 5, 60);
    CHECK(memcmp(first.ids, second.ids, sizeof first.ids) == 0);
    check_same(used, copy);
    free(snapshot.bytes);
    free(again.bytes);
    ecs_world_destroy(fresh);
    ecs_world_destroy(used);
    ecs_world_destroy(copy);
}

static void what_reads_an_emptied_world_reads_what_is_restored(void) {
    ecs_world_t *world = history_world(16, false), *copy = history_world(16, false);
    history_t history = history_run(world, 9, 10, 60);
    buffer_t snapshot = snapshot_of(world);
    (void)history_run(copy, 10, 20, 60);
    uint64_t before = iteration_of(copy); /* its queries know the old archetypes */
    uint32_t pos = history.components[0], count = 0, at = 0, watch = 0;
    ecs_id_t with_pos = 0;
    while (!ecs_has(world, with_pos, pos)) {
        with_pos = ecs_entity_next(world, &at);
    }
    CHECK_EQ(ecs_observe(copy, ECS_EVENT_REMOVED, pos), ECS_OK);
    despawn_all(copy);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    check_same(world, copy);
    CHECK(iteration_of(copy) != before);
    CHECK_EQ(copy->query_count, world->query_count);
    (void)ecs_events(copy, &count);
    CHECK_EQ(count, 0);
    bool fired = false;
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_REMOVED, .id = with_pos, .component = pos};
    CHECK_EQ(ecs_watch_add(copy, &desc, 1, &watch, &fired), ECS_OK);
    CHECK(!fired);
    despawn_all(copy);
    const ecs_event_t *events = ecs_events(copy, &count);
    CHECK(count > 0 && events[0].kind == ECS_EVENT_REMOVED && events[0].component == pos);
    const ecs_watch_result_t *results = ecs_watch_poll(copy, &count);
    CHECK(count == 1 && results[0].watch == watch);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

/* A watch from before the restore, whose entity had gone and is back. */
static void watches_stay_and_are_tested_after_a_restore(void) {
    ecs_world_t *world = history_world(16, false);
    history_t history = history_run(world, 11, 10, 60);
    buffer_t snapshot = snapshot_of(world);
    uint32_t at = 0, watch = 0, count = 0;
    bool fired = false;
    (void)ecs_watch_poll(world, &count); /* at the tick that will come back */
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_ADDED, .component = history.components[0]};
    do {
        desc.id = ecs_entity_next(world, &at);
    } while (!ecs_has(world, desc.id, desc.component));
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    CHECK_EQ(ecs_record_plain(world, ECS_OP_REMOVE, desc.id, desc.component), ECS_OK);
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    CHECK_EQ(ecs_watch_add(world, &desc, 1, &watch, &fired), ECS_OK);
    CHECK(!fired);
    despawn_all(world);
    CHECK_EQ(restore(world, &snapshot), ECS_OK);
    const ecs_watch_result_t *results = ecs_watch_poll(world, &count);
    CHECK(count == 1 && results[0].error == ECS_OK);
    free(snapshot.bytes);
    ecs_world_destroy(world);
}

static void what_is_replaced_gives_its_memory_back(void) {
    ecs_world_t *world = history_world(16, false);
    (void)history_run(world, 16, 10, 60);
    buffer_t snapshot = snapshot_of(world);
    size_t used = 0;
    for (uint32_t i = 0; i < 10; i++) {
        despawn_all(world);
        CHECK_EQ(restore(world, &snapshot), ECS_OK);
        if (i == 1) { used = world->memory.used_bytes; }
    }
    CHECK_EQ(world->memory.used_bytes, used);
    free(snapshot.bytes);
    ecs_world_destroy(world);
}

/* ---- refusals that the bytes are not to blame for ------------------------------------------- */

static int stubborn_sink(void *context, const void *bytes, size_t length) {
    uint32_t *left = context;
    (void)bytes;
    return length > 0 && (*left)-- == 0 ? ECS_E_LIMIT : ECS_OK;
}

static void a_sink_may_stop_the_writing(void) {
    ecs_world_t *world = history_world(4096, false);
    (void)history_run(world, 12, 10, 2000);
    uint32_t calls = UINT32_MAX;
    CHECK_EQ(ecs_snapshot_write(world, stubborn_sink, &calls), ECS_OK);
    calls = UINT32_MAX - calls;
    CHECK(calls > 2);
    for (uint32_t i = 0; i < calls; i++) {
        uint32_t left = i;
        CHECK_EQ(ecs_snapshot_write(world, stubborn_sink, &left), ECS_E_LIMIT);
        CHECK_EQ(left, UINT32_MAX); /* it was not called again */
    }
    ecs_world_destroy(world);
}

static void phases_and_waiting_batches_are_respected(void) {
    ecs_world_t *world = history_world(16, false), *copy = history_world(16, false);
    buffer_t none = {0};
    (void)history_run(world, 13, 3, 60);
    buffer_t snapshot = snapshot_of(world);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(world, buffer_sink, &none), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(world, buffer_sink, &none), ECS_E_PHASE);
    CHECK(ecs_record_spawn(world, 0, NULL) != 0);
    CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    CHECK_EQ(ecs_snapshot_write(world, buffer_sink, &none), ECS_E_PHASE);
    CHECK_TEXT(ecs_last_error(world),
               "a snapshot holds no batches, and 1 wait: apply or drop them first");
    CHECK_EQ(none.length, 0);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(restore(world, &snapshot), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(restore(copy, &snapshot), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    CHECK_EQ(restore(copy, &snapshot), ECS_E_INVALID);
    CHECK(strstr(ecs_last_error(copy), "this world has") != NULL);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

static void a_world_that_is_too_small_stays_as_it_was(void) {
    ecs_world_t *world = history_world(16, false), *small = NULL, *model = history_world(16, false);
    ecs_options_t options = {.reserve_bytes = 64 * 1024, .chunk_rows = 16};
    (void)history_run(world, 14, 30, 60);
    buffer_t snapshot = snapshot_of(world);
    CHECK_EQ(ecs_world_create(&small, &options), ECS_OK);
    for (uint32_t i = 0; i < model->component_count; i++) { /* the same schema */
        ecs__component_t *to =
            ECS__PUSH(small->components, small->component_count, small->component_capacity);
        *to = model->components[i];
        to->fields = memcpy(ecs__calloc(to->field_count, sizeof *to->fields), to->fields,
                            to->field_count * sizeof *to->fields);
        to->default_value =
            memcpy(ecs__calloc(to->size_bytes, 1), to->default_value, to->size_bytes);
        to->leaves = NULL;
        to->leaf_count = to->leaf_capacity = 0;
        CHECK_EQ(ecs__leaves_init(small, to), ECS_OK);
    }
    const char *const members[] = {"idle", "busy", "lost"};
    uint32_t id = 0;
    CHECK_EQ(ecs_enum_register(small, "Mode", members, 3, &id), ECS_OK);
    uint64_t hash = ecs_hash(small);
    CHECK_EQ(restore(small, &snapshot), ECS_E_MEMORY);
    CHECK_EQ(restore(small, &snapshot), ECS_E_MEMORY);
    CHECK_EQ(ecs_check(small), ECS_OK);
    CHECK(ecs_hash(small) == hash);
    CHECK_EQ(small->archetype_count, 1);
    CHECK_EQ(small->slot_count, 0);
    free(snapshot.bytes);
    snapshot = snapshot_of(model);
    CHECK_EQ(restore(small, &snapshot), ECS_OK);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(model);
    ecs_world_destroy(small);
}

/* Ids of a dropped batch are free, though no apply has seen them yet. */
static void ids_of_a_dropped_batch_are_free_in_a_snapshot(void) {
    ecs_world_t *world = history_world(16, false), *copy = history_world(16, false);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    ecs_id_t id = ecs_record_spawn(world, 0, NULL);
    CHECK_EQ(ecs_batch_drop(world), ECS_OK);
    buffer_t snapshot = snapshot_of(world);
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(copy, 1), ECS_OK);
    CHECK_EQ(ecs_record_spawn(copy, 0, NULL) - id, 4294967296.0);
    CHECK_EQ(ecs_batch_drop(copy), ECS_OK);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

static void components_may_still_be_registered_after_a_restore_in_setup(void) {
    ecs_world_t *world = history_world(16, false), *copy = history_world(16, false);
    (void)history_run(world, 15, 5, 60);
    buffer_t snapshot = snapshot_of(world);
    uint32_t late = 0, at = 0;
    CHECK_EQ(restore(copy, &snapshot), ECS_OK);
    CHECK_EQ(ecs_component_register(copy, "Late", NULL, 0, &late), ECS_OK);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_SETUP), ECS_E_PHASE);
    ecs_id_t id = ecs_entity_next(copy, &at);
    CHECK_EQ(ecs_batch_begin(copy, 1), ECS_OK);
    (void)ecs_record(copy, ECS_OP_INSERT, id, late, 0);
    CHECK_EQ(ecs_batch_seal(copy, NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(copy, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(copy), ECS_OK);
    CHECK(ecs_has(copy, id, late));
    CHECK_EQ(ecs_check(copy), ECS_OK);
    free(snapshot.bytes);
    ecs_world_destroy(world);
    ecs_world_destroy(copy);
}

/* ---- processes ------------------------------------------------------------------------------ */

/* What a process of its own makes of a seed: the hash, then the snapshot. */
static buffer_t history_in_a_process(const char *seed, const char *chunk_rows) {
    int ends[2];
    buffer_t out = {0};
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)execl(self, self, seed, chunk_rows, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    char piece[4096];
    for (ssize_t got; (got = read(ends[0], piece, sizeof piece)) > 0;) {
        (void)buffer_sink(&out, piece, (size_t)got);
    }
    (void)close(ends[0]);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return out;
}

static int run_history(const char *seed, const char *chunk_rows) {
    ecs_world_t *world = history_world((uint32_t)atoi(chunk_rows), false);
    (void)history_run(world, (uint64_t)atoi(seed), 30, 100);
    uint64_t hash = ecs_hash(world);
    buffer_t out = {0};
    (void)buffer_sink(&out, &hash, sizeof hash);
    CHECK_EQ(ecs_snapshot_write(world, buffer_sink, &out), ECS_OK);
    bool written = fwrite(out.bytes, 1, out.length, stdout) == out.length;
    free(out.bytes);
    ecs_world_destroy(world);
    return written && test_failed_now == 0 ? 0 : 1;
}

static void the_same_history_gives_the_same_bytes_in_every_process(void) {
    static const char *const rows[] = {"16", "4096"};
    for (size_t i = 0; i < 2; i++) {
        buffer_t first = history_in_a_process("21", rows[i]);
        buffer_t second = history_in_a_process("21", rows[i]);
        buffer_t other = history_in_a_process("22", rows[i]);
        CHECK(first.length > 10000);
        CHECK(same_bytes(&first, &second));
        CHECK(!same_bytes(&first, &other));
        free(first.bytes);
        free(second.bytes);
        free(other.bytes);
    }
}

/* Structs in structs, arrays of them, with gaps between and inside. */
static void structs_come_back_and_are_held_against_the_world(void) {
    const char *const point[] = {"double x", "bool known"};
    const char *const edge[] = {"uint8_t kind", "Point end[2]"};
    const char *const other[] = {"uint8_t kind", "Point end[2]", "bool curved"};
    const char *const part[] = {"bool on", "Edge edge[3]"};
    ecs_world_t *world[3] = {NULL, NULL, NULL};
    uint32_t id = 0, component = 0;
    for (size_t i = 0; i < 3; i++) {
        ecs_options_t options = {.reserve_bytes = (size_t)1 << 24};
        CHECK_EQ(ecs_world_create(&world[i], &options), ECS_OK);
        CHECK_EQ(ecs_struct_register(world[i], "Point", point, 2, &id), ECS_OK);
        CHECK_EQ(ecs_struct_register(world[i], "Edge", i == 2 ? other : edge, i == 2 ? 3 : 2, &id),
                 ECS_OK);
        CHECK_EQ(ecs_component_register(world[i], "Part", part, 2, &component), ECS_OK);
    }
    CHECK_EQ(ecs_phase_set(world[0], ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world[0], 1), ECS_OK);
    ecs_id_t entity = ecs_record_spawn(world[0], 0, NULL);
    uint32_t bytes = ecs_component_size_bytes(world[0], component);
    memset(ecs_record(world[0], ECS_OP_INSERT, entity, component, 0), 0x11, bytes);
    CHECK_EQ(ecs_batch_seal(world[0], NULL), ECS_OK);
    CHECK_EQ(ecs_phase_set(world[0], ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world[0]), ECS_OK);
    CHECK_EQ(ecs_phase_set(world[0], ECS_PHASE_IDLE), ECS_OK);
    buffer_t snapshot = snapshot_of(world[0]);
    CHECK_EQ(restore(world[1], &snapshot), ECS_OK);
    CHECK(ecs_hash(world[0]) == ecs_hash(world[1])); /* gaps do not count */
    buffer_t again = snapshot_of(world[1]);
    CHECK(again.length == snapshot.length &&
          memcmp(again.bytes, snapshot.bytes, again.length) == 0);
    CHECK_EQ(restore(world[2], &snapshot), ECS_E_CONFLICT);
    CHECK(strstr(ecs_last_error(world[2]), "struct edge[3]") != NULL);
    free(snapshot.bytes);
    free(again.bytes);
    for (size_t i = 0; i < 3; i++) {
        ecs_world_destroy(world[i]);
    }
}

int main(int argc, char **argv) {
    if (argc == 3) { return run_history(argv[1], argv[2]); }
    self = argv[0];
    RUN(a_restored_world_goes_on_like_the_original);
    RUN(components_may_have_other_numbers);
    RUN(many_rows_keep_their_chunks);
    RUN(empty_worlds_and_empty_chunks_come_back);
    RUN(what_reads_an_emptied_world_reads_what_is_restored);
    RUN(watches_stay_and_are_tested_after_a_restore);
    RUN(what_is_replaced_gives_its_memory_back);
    RUN(a_sink_may_stop_the_writing);
    RUN(phases_and_waiting_batches_are_respected);
    RUN(a_world_that_is_too_small_stays_as_it_was);
    RUN(structs_come_back_and_are_held_against_the_world);
    RUN(ids_of_a_dropped_batch_are_free_in_a_snapshot);
    RUN(components_may_still_be_registered_after_a_restore_in_setup);
    RUN(the_same_history_gives_the_same_bytes_in_every_process);
    return test_report();
}
