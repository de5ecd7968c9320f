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

int main(void) {
    RUN(observers_get_the_net_effect_in_order_of_first_touch);
    RUN(watches_fire_on_levels_edges_and_changes);
    RUN(a_watch_of_an_entity_that_goes_ends_as_dead);
    return test_report();
}
