/* Ages: when an entity's value was last written, whatever was written beside it. */
#include "world.h"

enum { SECOND = 1000000000 };

static double age_of(const fixture_t *f, ecs_id_t id, uint32_t component) {
    return ecs_written_s(f->world, id, component);
}

static fixture_t open_aged(void) {
    fixture_t f = fixture_open(16);
    CHECK_EQ(ecs_component_aged(f.world, f.pos), ECS_OK);
    CHECK_EQ(ecs_component_aged(f.world, f.pos), ECS_OK);
    CHECK(ecs_component_is_aged(f.world, f.pos));
    CHECK(!ecs_component_is_aged(f.world, f.vel));
    return f;
}

static void set_x(fixture_t *f, ecs_id_t id) {
    pos_t *slot = ecs_record(f->world, ECS_OP_SET, id, f->pos, 1);
    CHECK(slot != NULL);
    if (slot != NULL) { slot->x = 1; }
}

static void each_entity_has_its_own(void) {
    fixture_t f = open_aged();
    ecs_id_t id[3];
    record_begin(&f, 1);
    for (int i = 0; i < 3; i++) {
        id[i] = spawn_pos(&f, i);
    }
    apply(&f);
    CHECK_EQ(age_of(&f, id[0], f.pos), -1); /* no time was set yet */
    ecs_time_set(f.world, 0);
    record_begin(&f, 1);
    set_x(&f, id[0]);
    apply(&f);
    ecs_time_set(f.world, 3ull * SECOND);
    record_begin(&f, 1);
    set_x(&f, id[1]);                /* written at once, */
    insert_pos(&f, id[2], f.vel, 1); /* and, of an entity that moves, by its chain */
    set_x(&f, id[2]);
    apply(&f);
    CHECK_EQ(age_of(&f, id[0], f.pos), 0);
    CHECK_EQ(age_of(&f, id[1], f.pos), 3);
    CHECK_EQ(age_of(&f, id[2], f.pos), 3);
    CHECK_EQ(age_of(&f, id[2], f.vel), -2);
    CHECK_EQ(age_of(&f, id[0], f.tag), -2);
    CHECK_EQ(age_of(&f, 0, f.pos), -2);
    ecs_time_set(f.world, 5ull * SECOND);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, id[1], f.pos), ECS_OK);
    apply(&f);
    CHECK_EQ(age_of(&f, id[1], f.pos), -2);
    record_begin(&f, 1);
    insert_pos(&f, id[1], f.pos, 9);
    apply(&f);
    CHECK_EQ(age_of(&f, id[1], f.pos), 5);
    CHECK_EQ(age_of(&f, id[0], f.pos), 0);
    fixture_close(&f);
}

static void a_confirmation_begins_it_anew_without_a_write(void) {
    fixture_t f = open_aged();
    uint32_t count = 0;
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 1), other = spawn_pos(&f, 2),
             none = ecs_record_spawn(f.world, 0, NULL);
    apply(&f);
    CHECK_EQ(ecs_observe(f.world, ECS_EVENT_CHANGED, f.pos), ECS_OK);
    ecs_time_set(f.world, 2ull * SECOND);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_CONFIRM, id, f.pos), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_CONFIRM, none, f.pos), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_CONFIRM, id, 999), ECS_E_UNKNOWN);
    apply(&f);
    (void)ecs_events(f.world, &count);
    CHECK_EQ(count, 0);
    CHECK_EQ(age_of(&f, id, f.pos), 2);
    CHECK_EQ(age_of(&f, other, f.pos), -1);
    ecs_time_set(f.world, 4ull * SECOND);
    record_begin(&f, 1); /* a refused batch confirms nothing */
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_CONFIRM, id, f.pos), ECS_OK);
    set_x(&f, none);
    apply(&f);
    CHECK_EQ(age_of(&f, id, f.pos), 2);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, id, 0), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_CONFIRM, id, f.pos), ECS_OK);
    apply(&f);
    CHECK_EQ(ecs_apply_results(f.world, &count)[0].skipped, 1);
    fixture_close(&f);
}

static void a_writer_counts_for_the_boxes_that_it_took(void) {
    fixture_t f = open_aged();
    ecs_query_t *query = NULL;
    ecs_query_desc_t desc = {.write = {f.pos}, .write_count = 1};
    ecs_id_t id[20];
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    ecs_time_set(f.world, 0);
    record_begin(&f, 1);
    for (int i = 0; i < 20; i++) {
        id[i] = spawn_pos(&f, i);
    }
    apply(&f);
    ecs_time_set(f.world, 7ull * SECOND);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 5), ECS_OK);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK(ecs_cursor_next(cursor));
    *cursor->box[0].stamp = cursor->box[0].before; /* as skip() does */
    CHECK(ecs_cursor_next(cursor));
    ecs_cursor_close(cursor);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    CHECK_EQ(age_of(&f, id[0], f.pos), 0);
    CHECK_EQ(age_of(&f, id[19], f.pos), 7);
    fixture_close(&f);
}

static void bulk_spawns_count_and_slots_that_are_used_again(void) {
    fixture_t f = open_aged();
    void *column = NULL;
    ecs_time_set(f.world, 1ull * SECOND);
    record_begin(&f, 1);
    const ecs_id_t *ids = ecs_record_spawn_many(f.world, 5000, &f.pos, 1, &column);
    ecs_id_t last = ids[4999];
    apply(&f);
    CHECK_EQ(age_of(&f, last, f.pos), 1);
    ecs_time_set(f.world, 2ull * SECOND);
    record_begin(&f, 1);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, last, 0), ECS_OK);
    apply(&f);
    CHECK_EQ(age_of(&f, last, f.pos), -2);
    record_begin(&f, 1);
    ecs_id_t again = spawn_pos(&f, 1);
    apply(&f);
    CHECK_EQ((uint32_t)(uint64_t)again, (uint32_t)(uint64_t)last);
    CHECK_EQ(age_of(&f, again, f.pos), 2);
    fixture_close(&f);
}

static void tags_and_late_declarations_are_refused(void) {
    fixture_t f = open_aged();
    CHECK_EQ(ecs_component_aged(f.world, f.tag), ECS_E_INVALID);
    CHECK_EQ(ecs_component_aged(f.world, 999), ECS_E_UNKNOWN);
    record_begin(&f, 1);
    ecs_id_t id = ecs_record_spawn(f.world, 0, NULL);
    insert_pos(&f, id, f.vel, 1);
    apply(&f);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_APPLY), ECS_OK);
    CHECK_EQ(ecs_component_aged(f.world, f.vel), ECS_E_PHASE);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_IDLE), ECS_OK);
    CHECK_EQ(ecs_component_aged(f.world, f.vel), ECS_OK);
    CHECK_EQ(age_of(&f, id, f.vel), -1);
    fixture_close(&f);
}

int main(void) {
    RUN(each_entity_has_its_own);
    RUN(a_confirmation_begins_it_anew_without_a_write);
    RUN(a_writer_counts_for_the_boxes_that_it_took);
    RUN(bulk_spawns_count_and_slots_that_are_used_again);
    RUN(tags_and_late_declarations_are_refused);
    return test_report();
}
