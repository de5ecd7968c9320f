/* Events for observers, and watches. */
#include "world.h"

static void observers_get_the_net_effect_in_order_of_first_touch(void) {
    fixture_t f = fixture_open(0);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_ADDED, f.pos), ECS_OK);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_CHANGED, f.pos), ECS_OK);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_REMOVED, f.pos), ECS_OK);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_DESPAWNED, 0), ECS_OK);
    record_begin(&f, 1);
    ecs_id_t a = spawn_pos(&f, 1), b = spawn_pos(&f, 2);
    apply(&f);
    uint32_t count = 0;
    const ecs_event_t *events = ecs_events(f.world, &count);
    CHECK_EQ(count, 2);
    CHECK_EQ(events[0].id, a);
    CHECK_EQ(events[0].kind, ECS_EVENT_ADDED);
    record_begin(&f, 1);
    insert_pos(&f, b, f.pos, 3);
    insert_pos(&f, b, f.pos, 4);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, a, 0), ECS_OK);
    apply(&f);
    events = ecs_events(f.world, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(events[0].kind, ECS_EVENT_CHANGED);
    CHECK_EQ(events[0].id, b);
    CHECK_EQ(events[1].kind, ECS_EVENT_REMOVED);
    CHECK_EQ(events[2].kind, ECS_EVENT_DESPAWNED);
    fixture_close(&f);
}

static void set_x(fixture_t *f, ecs_id_t id, double x) {
    record_begin(f, 1);
    ((pos_t *)ecs_record(f->world, ECS_OP_SET, id, f->pos, 1))->x = x;
    apply(f);
}

static uint32_t polled(fixture_t *f, uint64_t *owner, int *error) {
    uint32_t count = 0;
    const ecs_watch_result_t *results = ecs_watch_poll(f->world, &count);
    *owner = count > 0 ? results[0].owner : 0;
    *error = count > 0 ? results[0].error : 0;
    return count;
}

static void watches_fire_on_levels_edges_and_changes(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    ecs_watch_desc_t d = {.id = id, .component = f.pos, .field_count = 1, .value = {7}};
    uint32_t watch = 0;
    bool fired = false;
    uint64_t owner = 0;
    int error = 0;
    d.kind = ECS_WATCH_RISING;
    CHECK_EQ(ecs_watch_add(f.world, &d, 10, &watch, &fired), ECS_OK);
    CHECK(!fired);
    CHECK_EQ(polled(&f, &owner, &error), 0);
    set_x(&f, id, 7);
    CHECK_EQ(polled(&f, &owner, &error), 1);
    CHECK_EQ(owner, 10);
    d.kind = ECS_WATCH_LEVEL;
    CHECK_EQ(ecs_watch_add(f.world, &d, 11, &watch, &fired), ECS_OK);
    CHECK(fired);
    d.kind = ECS_WATCH_FALLING;
    CHECK_EQ(ecs_watch_add(f.world, &d, 12, &watch, &fired), ECS_OK);
    set_x(&f, id, 8);
    CHECK_EQ(polled(&f, &owner, &error), 1);
    CHECK_EQ(owner, 12);
    d.kind = ECS_WATCH_CHANGED;
    CHECK_EQ(ecs_watch_add(f.world, &d, 13, &watch, &fired), ECS_OK);
    set_x(&f, id, 8); /* an equal value is no change */
    CHECK_EQ(polled(&f, &owner, &error), 0);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(polled(&f, &owner, &error), 1);
    CHECK_EQ(owner, 13);
    fixture_close(&f);
}

static void a_watch_of_an_entity_that_goes_ends_as_dead(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    ecs_watch_desc_t d = {
        .kind = ECS_WATCH_RISING, .id = id, .component = f.pos, .field_count = 1, .value = {7}};
    uint32_t watch = 0;
    bool fired = false;
    uint64_t owner = 0;
    int error = 0;
    CHECK_EQ(ecs_watch_add(f.world, &d, 10, &watch, &fired), ECS_OK);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(polled(&f, &owner, &error), 1);
    CHECK_EQ(error, ECS_E_DEAD);
    CHECK_EQ(ecs_watch_add(f.world, &d, 10, &watch, &fired), ECS_E_DEAD);
    fixture_close(&f);
}

static void a_watch_on_what_the_entity_never_had_ends_with_the_entity(void) {
    fixture_t f = fixture_open(16);
    uint32_t watch = 0, count = 0;
    bool fired = false;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_ADDED, .id = id, .component = f.vel};
    CHECK_EQ(ecs_watch_add(f.world, &desc, 5, &watch, &fired), ECS_OK);
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 0);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    const ecs_watch_result_t *results = ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(results[0].error, ECS_E_DEAD);
    CHECK_EQ(results[0].watch, watch);
    CHECK_EQ(ecs_watch_count(f.world), 0);
    fixture_close(&f);
}

/* Watches on several components fire in the order in which they were added; ids are not used again
 * at once. */
static void watches_fire_in_the_order_in_which_they_were_added(void) {
    enum { MANY = 60 };
    fixture_t f = fixture_open(16);
    uint32_t watch[MANY], count = 0, stale = 0;
    bool fired = false;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    insert_pos(&f, id, f.vel, 1);
    apply(&f);
    for (int i = 0; i < MANY; i++) {
        ecs_watch_desc_t desc = {
            .kind = ECS_WATCH_CHANGED, .id = id, .component = i % 3 == 0 ? f.vel : f.pos};
        CHECK_EQ(ecs_watch_add(f.world, &desc, (uint64_t)i, &watch[i], &fired), ECS_OK);
        if (i % 10 == 9) {
            ecs_watch_remove(f.world, watch[i]);
            stale = watch[i];
        }
    }
    CHECK_EQ(ecs_watch_count(f.world), MANY - MANY / 10);
    record_begin(&f, 1);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 5;
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.vel, 1))->x = 5;
    apply(&f);
    const ecs_watch_result_t *results = ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, MANY - MANY / 10);
    for (uint32_t i = 1; i < count; i++) {
        CHECK(results[i].owner > results[i - 1].owner);
    }
    ecs_watch_desc_t again = {.kind = ECS_WATCH_CHANGED, .id = id, .component = f.pos};
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(ecs_watch_add(f.world, &again, 0, &watch[i], &fired), ECS_OK);
        CHECK(watch[i] != stale);
    }
    ecs_watch_remove(f.world, stale);
    ecs_watch_remove(f.world, 0);
    ecs_watch_remove(f.world, 0xffffffffu);
    CHECK_EQ(ecs_watch_count(f.world), MANY);
    fixture_close(&f);
}

static void watches_see_what_a_cursor_writes(void) {
    fixture_t f = fixture_open(16);
    ecs_query_desc_t terms = {.write = {f.pos}, .write_count = 1};
    ecs_query_t *query = NULL;
    uint32_t watch = 0, count = 0;
    bool fired = false;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_CHANGED, .id = id, .component = f.pos};
    CHECK_EQ(ecs_watch_add(f.world, &desc, 5, &watch, &fired), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &terms, &query), ECS_OK);
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 0);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK(ecs_cursor_next(cursor));
    ((pos_t *)(uintptr_t)cursor->box[0].p)->x = 2;
    ecs_cursor_close(cursor);
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 1);
    fixture_close(&f);
}

typedef struct {
    char bytes[65536];
    size_t length;
} text_t;

static int append(void *context, const void *data, size_t length) {
    text_t *text = context;
    if (text->length + length > sizeof text->bytes) { return ECS_E_LIMIT; }
    memcpy(text->bytes + text->length, data, length);
    text->length += length;
    return ECS_OK;
}

/* Its ticks are older than what the watch has seen. */
static void watches_see_what_a_snapshot_brings_back(void) {
    static text_t text;
    fixture_t old = fixture_open(16), f = fixture_open(16);
    uint32_t watch = 0, count = 0;
    bool fired = false;
    record_begin(&old, 1);
    ecs_id_t id = spawn_pos(&old, 1);
    apply(&old);
    CHECK_EQ(ecs_snapshot_write(old.world, append, &text), ECS_OK);
    record_begin(&f, 1);
    CHECK_EQ(spawn_pos(&f, 2), id);
    apply(&f);
    for (int i = 0; i < 9; i++) {
        set_x(&f, id, i);
    }
    ecs_watch_desc_t desc = {.kind = ECS_WATCH_CHANGED, .id = id, .component = f.pos};
    CHECK_EQ(ecs_watch_add(f.world, &desc, 5, &watch, &fired), ECS_OK);
    (void)ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 0);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_snapshot_restore(f.world, text.bytes, text.length), ECS_OK);
    const ecs_watch_result_t *results = ecs_watch_poll(f.world, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(results[0].error, ECS_OK);
    fixture_close(&old);
    fixture_close(&f);
}

static uint32_t fired_now(fixture_t *f) {
    uint32_t count = 0;
    (void)ecs_watch_poll(f->world, &count);
    return count;
}

/* NOT fires at once where the condition does not hold, and later where it ends. */
static void not_waits_for_the_end_of_a_condition(void) {
    fixture_t f = fixture_open(16);
    uint32_t watch = 0;
    bool fired = false;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1);
    apply(&f);
    ecs_watch_desc_t d = {.kind = ECS_WATCH_NOT, .id = id, .component = f.pos, .field_count = 1};
    d.value[0] = 2;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_OK);
    CHECK(fired);
    d.value[0] = 1;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_OK);
    CHECK(!fired);
    CHECK_EQ(fired_now(&f), 0);
    record_begin(&f, 1);
    insert_pos(&f, id, f.pos, 2);
    apply(&f);
    CHECK_EQ(fired_now(&f), 1);
    fixture_close(&f);
}

static void a_count_is_watched_where_its_query_was_touched(void) {
    fixture_t f = fixture_open(16);
    ecs_query_t *query = NULL, *past = NULL;
    ecs_query_desc_t desc = {
        .with = {f.pos}, .with_count = 1, .without = {f.tag}, .without_count = 1};
    uint32_t watch = 0;
    bool fired = false;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    ecs_watch_desc_t d = {.kind = ECS_WATCH_COUNT, .query = query, .value = {2, 3}};
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_OK);
    CHECK(!fired);
    record_begin(&f, 1);
    ecs_id_t a = spawn_pos(&f, 1);
    apply(&f);
    CHECK_EQ(fired_now(&f), 0);
    record_begin(&f, 1);
    (void)spawn_pos(&f, 2);
    apply(&f);
    CHECK_EQ(fired_now(&f), 1);
    d.value[2] = 1; /* out of the range */
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_OK);
    CHECK(!fired);
    record_begin(&f, 1);
    CHECK(ecs_record(f.world, ECS_OP_INSERT, a, f.tag, 0) != NULL);
    apply(&f);
    CHECK_EQ(fired_now(&f), 1);
    desc.changed[0] = f.pos;
    desc.changed_count = 1;
    CHECK_EQ(ecs_query_create(f.world, &desc, &past), ECS_OK);
    d.query = past;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_E_INVALID);
    d.query = NULL;
    CHECK_EQ(ecs_watch_add(f.world, &d, 1, &watch, &fired), ECS_E_INVALID);
    fixture_close(&f);
}

int main(void) {
    RUN(observers_get_the_net_effect_in_order_of_first_touch);
    RUN(watches_fire_on_levels_edges_and_changes);
    RUN(a_watch_of_an_entity_that_goes_ends_as_dead);
    RUN(a_watch_on_what_the_entity_never_had_ends_with_the_entity);
    RUN(watches_fire_in_the_order_in_which_they_were_added);
    RUN(watches_see_what_a_cursor_writes);
    RUN(watches_see_what_a_snapshot_brings_back);
    RUN(not_waits_for_the_end_of_a_condition);
    RUN(a_count_is_watched_where_its_query_was_touched);
    return test_report();
}
