/* libFuzzer: a restore of any bytes, with checksums made right so that the rest is read. What is
 * accepted is a whole world: it passes ecs_check, gives a snapshot that restores to the same, and
 * its entities can be despawned. With FUZZ_SEED defined: a program that writes a real snapshot. */
#include <stdint.h>
#include <stdlib.h>

#include "snapshot.h"

enum { MOST_BYTES = 1 << 16 };

typedef struct {
    char bytes[MOST_BYTES];
    size_t length;
} buffer_t;

static int take(void *context, const void *bytes, size_t length) {
    buffer_t *buffer = context;
    if (length > MOST_BYTES - buffer->length) { return ECS_E_LIMIT; }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    return ECS_OK;
}

static void need(bool condition) {
    if (!condition) { abort(); }
}

static ecs_world_t *world_open(void) {
    static const char *const xyz[] = {"double x", "float y = 2"}, *const gear[] = {"Mode mode"};
    static const char *const mixed[] = {"bool on", "entity other", "char label[5]"};
    const char *const members[] = {"idle", "busy"};
    ecs_options_t options = {.reserve_bytes = 1 << 20, .chunk_rows = 16};
    ecs_world_t *world = NULL;
    uint32_t id = 0;
    need(ecs_world_create(&world, &options) == ECS_OK);
    need(ecs_enum_register(world, "Mode", members, 2, &id) == ECS_OK);
    need(ecs_component_register(world, "Pos", xyz, 2, &id) == ECS_OK);
    need(ecs_component_register(world, "Tag", NULL, 0, &id) == ECS_OK);
    need(ecs_component_register(world, "Gear", gear, 1, &id) == ECS_OK);
    need(ecs_component_register(world, "Mixed", mixed, 3, &id) == ECS_OK);
    return world;
}

static void record_now(ecs_world_t *world) {
    need(ecs_phase_set(world, ECS_PHASE_RUN) == ECS_OK);
    need(ecs_batch_begin(world, 1) == ECS_OK);
}

static void apply_now(ecs_world_t *world) {
    need(ecs_batch_seal(world, NULL) == ECS_OK);
    need(ecs_phase_set(world, ECS_PHASE_APPLY) == ECS_OK);
    need(ecs_apply(world) == ECS_OK);
    need(ecs_phase_set(world, ECS_PHASE_IDLE) == ECS_OK);
}

#ifdef FUZZ_SEED

static int write_out(void *context, const void *bytes, size_t length) {
    return fwrite(bytes, 1, length, context) == length ? ECS_OK : ECS_E_INVALID;
}

int main(void) {
    ecs_world_t *world = world_open();
    record_now(world);
    ecs_id_t parent = ecs_record_spawn(world, 0, "arm"), last = 0;
    for (uint32_t i = 0; i < 20; i++) {
        last = ecs_record_spawn(world, i % 3 == 0 ? parent : 0, i == 6 ? "hand" : NULL);
        for (uint32_t c = 0; c < 4; c++) {
            if ((i >> c & 1) != 0) { (void)ecs_record(world, ECS_OP_INSERT, last, c, 0); }
        }
    }
    apply_now(world);
    record_now(world);
    (void)ecs_record_plain(world, ECS_OP_DESPAWN, last, 0);
    apply_now(world);
    int rc = ecs_snapshot_write(world, write_out, stdout);
    ecs_world_destroy(world);
    return rc == ECS_OK ? 0 : 1;
}

#else

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void put_sum(char *to, const char *from, size_t length) {
    uint64_t sum = ecs__checksum(from, length);
    memcpy(to, &sum, sizeof sum);
}

/* Makes the head and the checksums right, as far as sections reach. */
static void seal(buffer_t *buffer) {
    if (buffer->length < ECS__SNAPSHOT_HEAD_BYTES) { return; }
    uint64_t whole = buffer->length;
    memcpy(buffer->bytes + 16, &whole, sizeof whole);
    put_sum(buffer->bytes + 24, buffer->bytes, 24);
    size_t at = ECS__SNAPSHOT_HEAD_BYTES;
    while (buffer->length - at >= ECS__SECTION_HEAD_BYTES + ECS__CHECKSUM_BYTES) {
        uint64_t length = ecs__u64_at(buffer->bytes + at, 1);
        if (length > buffer->length - at - ECS__SECTION_HEAD_BYTES - ECS__CHECKSUM_BYTES) {
            return;
        }
        size_t part = ECS__SECTION_HEAD_BYTES + (size_t)length;
        put_sum(buffer->bytes + at + part, buffer->bytes + at, part);
        at += part + ECS__CHECKSUM_BYTES;
    }
}

static void check_accepted(ecs_world_t *world) {
    static buffer_t again;
    ecs_world_t *copy = world_open();
    again.length = 0;
    need(ecs_check(world) == ECS_OK);
    need(ecs_snapshot_write(world, take, &again) == ECS_OK);
    need(ecs_snapshot_restore(copy, again.bytes, again.length) == ECS_OK);
    need(ecs_check(copy) == ECS_OK);
    need(ecs_hash(copy) == ecs_hash(world));
    ecs_world_destroy(copy);
}

static void despawn_all(ecs_world_t *world) {
    uint32_t at = 0;
    record_now(world);
    for (ecs_id_t id = ecs_entity_next(world, &at); id != 0; id = ecs_entity_next(world, &at)) {
        need(ecs_record_plain(world, ECS_OP_DESPAWN, id, 0) == ECS_OK);
    }
    apply_now(world);
    need(ecs_shared(world)->alive == 0);
    record_now(world);
    ecs_id_t id = ecs_record_spawn(world, 0, "arm"); /* the name is free again */
    apply_now(world);
    need(ecs_check(world) == ECS_OK);
    need(id == 0 || ecs_lookup(world, "arm") == id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static buffer_t buffer;
    if (bytes > MOST_BYTES / 2) { return 0; }
    memcpy(buffer.bytes, data, bytes);
    buffer.length = bytes;
    seal(&buffer);
    ecs_world_t *world = world_open();
    char *exact = malloc(bytes + 1); /* so that a read past the end is seen */
    need(exact != NULL);
    memcpy(exact, buffer.bytes, bytes);
    if (ecs_snapshot_restore(world, exact, bytes) == ECS_OK) {
        free(exact);
        check_accepted(world);
        despawn_all(world);
    } else {
        free(exact);
        need(ecs_last_error(world)[0] != '\0');
        need(ecs_check(world) == ECS_OK);
        need(ecs_shared(world)->alive == 0);
    }
    ecs_world_destroy(world);
    return 0;
}

#endif
