/* Worlds with a random history, the same for the same seed. */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdlib.h>
#include <unistd.h>

#include "../support/test.h"
#include "internal.h"

enum { HISTORY_COMPONENTS = 9, HISTORY_IDS = 512 };

typedef struct {
    char *bytes;
    size_t length, capacity;
} buffer_t;

static inline int buffer_sink(void *context, const void *bytes, size_t length) {
    buffer_t *buffer = context;
    if (buffer->length + length > buffer->capacity) {
        buffer->capacity = 2 * (buffer->length + length);
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (buffer->bytes == NULL) { abort(); }
    }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    return ECS_OK;
}

static inline buffer_t snapshot_of(ecs_world_t *world) {
    buffer_t buffer = {0};
    CHECK_EQ(ecs_snapshot_write(world, buffer_sink, &buffer), ECS_OK);
    return buffer;
}

static inline bool same_bytes(const buffer_t *a, const buffer_t *b) {
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Of what a world needs for a history; the id of each is its place here only if `backwards` is not
 * set. */
static inline ecs_world_t *history_world(uint32_t chunk_rows, bool backwards) {
    static const struct {
        const char *name, *fields[4];
        uint32_t count;
    } components[HISTORY_COMPONENTS] = {
        {"Pos", {"double x", "double y = -1", "double z"}, 3},
        {"Vel", {"float v[3] = 0.5"}, 1},
        {"Mixed", {"bool on", "int16_t level = 7", "char label[9] = \"hey\"", "entity other"}, 4},
        {"State", {"uint8_t kind", "Mode mode = busy", "uint16_t code"}, 3},
        {"Big", {"double data[100]", "float rest"}, 2},
        {"Tag", {NULL}, 0},
        {"Mark", {NULL}, 0},
        {"Flag", {NULL}, 0},
        {"Count", {"int32_t n", "uint32_t m", "int8_t small"}, 3},
    };
    const char *const members[] = {"idle", "busy", "lost"};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 30, .chunk_rows = chunk_rows};
    ecs_world_t *world = NULL;
    uint32_t id = 0;
    CHECK_EQ(ecs_world_create(&world, &options), ECS_OK);
    if (backwards) {
        CHECK_EQ(ecs_enum_register(world, "Other", members, 1, &id), ECS_OK);
        CHECK_EQ(ecs_component_register(world, "More", components[4].fields, 1, &id), ECS_OK);
    }
    CHECK_EQ(ecs_enum_register(world, "Mode", members, 3, &id), ECS_OK);
    for (uint32_t i = 0; i < HISTORY_COMPONENTS; i++) {
        uint32_t at = backwards ? HISTORY_COMPONENTS - 1 - i : i;
        CHECK_EQ(ecs_component_register(world, components[at].name, components[at].fields,
                                        components[at].count, &id),
                 ECS_OK);
    }
    return world;
}

typedef struct {
    uint64_t state;
    ecs_id_t ids[HISTORY_IDS]; /* spawned lately; some are dead */
    uint32_t next, names;
    uint32_t components[HISTORY_COMPONENTS];
} history_t;

/* Looks the components up; what the history did so far goes on. */
static inline void history_bind(history_t *history, const ecs_world_t *world) {
    static const char *const names[HISTORY_COMPONENTS] = {"Pos", "Vel",  "Mixed", "State", "Big",
                                                          "Tag", "Mark", "Flag",  "Count"};
    for (uint32_t i = 0; i < HISTORY_COMPONENTS; i++) {
        CHECK_EQ(ecs_component_find(world, names[i], &history->components[i]), ECS_OK);
    }
}

static inline uint32_t below(history_t *history, uint32_t limit) {
    history->state = history->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(history->state >> 33) % limit;
}

/* Fields from the history, and between them what differs from process to process. */
static inline void random_value(history_t *history, const ecs_world_t *world, uint32_t component,
                                char *to) {
    static uint32_t junk;
    uint32_t count = 0;
    const ecs_field_t *fields = ecs_component_fields(world, component, &count);
    memset(to, (int)((uint32_t)getpid() + junk++), ecs_component_size_bytes(world, component));
    for (uint32_t i = 0; i < count; i++) {
        const ecs_field_t *field = &fields[i];
        uint32_t step = field->size_bytes / field->count;
        for (uint32_t k = 0; k < field->count; k++) {
            char *at = to + field->offset_bytes + k * step;
            uint32_t bits = below(history, 1u << 31);
            double number = field->type == ECS_TYPE_ENTITY ? history->ids[bits % HISTORY_IDS]
                                                           : (double)bits / 1000.0;
            float narrow = (float)number;
            if (field->type == ECS_TYPE_BOOL) { bits %= 2; }
            if (field->type == ECS_TYPE_ENUM) { bits %= 3; }
            memcpy(at,
                   step == 8                     ? (void *)&number
                   : field->type == ECS_TYPE_F32 ? (void *)&narrow
                                                 : (void *)&bits,
                   step);
        }
    }
}

static inline void random_spawn(history_t *history, ecs_world_t *world) {
    char name[32] = "";
    ecs_id_t parent = below(history, 3) == 0 ? history->ids[below(history, HISTORY_IDS)] : 0;
    if (!ecs_alive(world, parent)) { parent = 0; }
    if (below(history, 3) == 0) { (void)snprintf(name, sizeof name, "n%u", history->names++); }
    ecs_id_t id = ecs_record_spawn(world, parent, name);
    CHECK(id != 0);
    history->ids[history->next++ % HISTORY_IDS] = id;
}

static inline void random_command(history_t *history, ecs_world_t *world) {
    uint32_t component = history->components[below(history, HISTORY_COMPONENTS)];
    ecs_id_t id = history->ids[below(history, HISTORY_IDS)];
    switch (below(history, 10)) {
    case 0: CHECK_EQ(ecs_record_plain(world, ECS_OP_DESPAWN, id, 0), ECS_OK); break;
    case 1: CHECK_EQ(ecs_record_plain(world, ECS_OP_REMOVE, id, component), ECS_OK); break;
    case 2:
    case 3:
    case 4: random_spawn(history, world); break;
    default:
        random_value(history, world, component, ecs_record(world, ECS_OP_INSERT, id, component, 0));
    }
}

static inline void random_writes(history_t *history, ecs_world_t *world) {
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(world, 1), ECS_OK);
    for (uint32_t i = 0; i < 4; i++) {
        ecs_id_t id = history->ids[below(history, HISTORY_IDS)];
        uint32_t component = history->components[below(history, 5)];
        if (ecs_has(world, id, component)) {
            random_value(history, world, component, ecs_write(world, id, component));
        }
    }
}

/* One round: a batch, which is sometimes dropped, an apply, sometimes writes. Ends idle. */
static inline void history_round(history_t *history, ecs_world_t *world, uint32_t commands) {
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    for (uint32_t i = 0; i < commands; i++) {
        random_command(history, world);
    }
    if (below(history, 8) == 0) {
        CHECK_EQ(ecs_batch_drop(world), ECS_OK);
    } else {
        CHECK_EQ(ecs_batch_seal(world, NULL), ECS_OK);
    }
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_apply(world), ECS_OK);
    if (below(history, 2) == 0) { random_writes(history, world); }
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
}

static inline history_t history_run(ecs_world_t *world, uint64_t seed, uint32_t rounds,
                                    uint32_t commands) {
    history_t history = {.state = seed};
    history_bind(&history, world);
    for (uint32_t i = 0; i < rounds; i++) {
        history_round(&history, world, commands);
    }
    return history;
}

/* Takes an id and gives it back. */
static inline uint32_t spawn_and_drop(ecs_world_t *world) {
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(ecs_batch_begin(world, 1), ECS_OK);
    uint32_t index = ecs__index(ecs_record_spawn(world, 0, NULL));
    CHECK_EQ(ecs_batch_drop(world), ECS_OK);
    CHECK_EQ(ecs_phase_set(world, ECS_PHASE_IDLE), ECS_OK);
    return index;
}

/* Uses a slot up: its next generation would wrap. */
static inline uint32_t retire_one(ecs_world_t *world) {
    (void)spawn_and_drop(world); /* now one is free */
    ecs__record_at(world, world->free_head)->generation = ECS__MAX_GENERATION;
    uint32_t index = spawn_and_drop(world);
    CHECK_EQ(ecs__record_at(world, index)->archetype, ECS__RETIRED);
    return index;
}

/* The order in which some queries give ids, and where their chunks end. */
static inline uint64_t iteration_of(ecs_world_t *world) {
    uint32_t pos = 0, mixed = 0, tag = 0;
    CHECK_EQ(ecs_component_find(world, "Pos", &pos), ECS_OK);
    CHECK_EQ(ecs_component_find(world, "Mixed", &mixed), ECS_OK);
    CHECK_EQ(ecs_component_find(world, "Tag", &tag), ECS_OK);
    const ecs_query_desc_t descs[] = {
        {.read_count = 0},
        {.read = {pos}, .read_count = 1, .maybe = {mixed}, .maybe_count = 1},
        {.with = {tag}, .with_count = 1, .without = {mixed}, .without_count = 1}};
    uint64_t hash = 1;
    for (size_t i = 0; i < sizeof descs / sizeof descs[0]; i++) {
        ecs_query_t *query = NULL;
        CHECK_EQ(ecs_query_create(world, &descs[i], &query), ECS_OK);
        ecs_cursor_t *cursor = ecs_cursor_open(query);
        while (ecs_cursor_next(cursor)) {
            for (int32_t row = 0; row < cursor->count; row++) {
                hash = (hash ^ (uint64_t)cursor->ids[row]) * 1099511628211u;
            }
            hash = (hash ^ (uint64_t)cursor->count) * 1099511628211u;
        }
        ecs_cursor_close(cursor);
    }
    return hash;
}

#endif
