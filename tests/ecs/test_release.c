/* Queries that end: by whom they are held, what becomes of cursors and watches. */
#include <malloc.h>

#include "world.h"

static ecs_query_t *query_of(fixture_t *f, uint32_t component, bool changed) {
    ecs_query_desc_t desc = {.read = {component}, .read_count = 1, .changed = {component}};
    ecs_query_t *query = NULL;
    desc.changed_count = changed;
    CHECK_EQ(ecs_query_create(f->world, &desc, &query), ECS_OK);
    return query;
}

static fixture_t open_with(int entities) {
    fixture_t f = fixture_open(16);
    record_begin(&f, 1);
    for (int i = 0; i < entities; i++) {
        (void)spawn_pos(&f, i);
    }
    apply(&f);
    return f;
}

static void the_last_release_ends_a_query(void) {
    fixture_t f = open_with(3);
    ecs_query_t *query = query_of(&f, f.pos, false), *again = query_of(&f, f.pos, false);
    CHECK(query == again);
    CHECK_EQ(ecs_query_hold(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_count(query), 3);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_query_hold(f.world, query), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_query_release(f.world, NULL), ECS_E_UNKNOWN);
    CHECK_EQ(ecs_query_count(query_of(&f, f.pos, false)), 3);
    fixture_close(&f);
}

static void those_with_a_past_are_not_shared(void) {
    fixture_t f = open_with(3);
    ecs_query_t *one = query_of(&f, f.pos, true), *two = query_of(&f, f.pos, true);
    ecs_query_t *plain = query_of(&f, f.vel, false);
    CHECK(one != two);
    CHECK_EQ(ecs_query_release(f.world, one), ECS_OK);
    CHECK_EQ(ecs_query_count(two), 3);
    record_begin(&f, 1);
    ecs_id_t e = spawn_pos(&f, 9);
    insert_pos(&f, e, f.vel, 1);
    apply(&f);
    CHECK_EQ(ecs_query_count(two), 4);
    CHECK_EQ(ecs_query_count(plain), 1);
    fixture_close(&f);
}

static void a_walk_over_a_query_that_has_ended_is_over(void) {
    fixture_t f = open_with(40); /* 3 chunks */
    ecs_query_t *query = query_of(&f, f.pos, false);
    ecs_cursor_t *walk = ecs_cursor_open(query), *other = ecs_cursor_open(query);
    CHECK(ecs_cursor_next(walk));
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK(!ecs_cursor_next(walk));
    CHECK(!ecs_cursor_next(other));
    CHECK(ecs_cursor_open(query) == NULL);
    CHECK_EQ(ecs_query_count(query), 0);
    CHECK(query_of(&f, f.pos, false) != query);
    record_begin(&f, 1);
    insert_pos(&f, spawn_pos(&f, 1), f.vel, 2);
    apply(&f);
    ecs_cursor_close(walk);
    CHECK(!ecs_cursor_next(other));
    ecs_cursor_close(other);
    fixture_close(&f);
}

/* Its end of a walk, too, is in the write phase. */
static void a_filtered_walk_ends_without_a_tick(void) {
    fixture_t f = open_with(40);
    ecs_query_desc_t desc = {.write = {f.pos}, .changed = {f.pos}};
    desc.write_count = desc.changed_count = 1;
    ecs_query_t *query = NULL;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    CHECK_EQ(ecs_write_begin(f.world, 1), ECS_OK);
    ecs_cursor_t *walk = ecs_cursor_open(query), *fresh = ecs_cursor_open(query);
    CHECK(ecs_cursor_next(walk));
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    uint64_t tick = ecs_shared(f.world)->tick;
    CHECK(!ecs_cursor_next(walk));
    CHECK(!ecs_cursor_next(fresh));
    CHECK_EQ(ecs_shared(f.world)->tick, tick);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
    fixture_close(&f); /* and two cursors are open */
}

static void count_poll(fixture_t *f, uint32_t expected) {
    uint32_t count = 99;
    (void)ecs_watch_poll(f->world, &count);
    CHECK_EQ(count, expected);
}

static void a_watch_of_a_count_outlives_the_release(void) {
    fixture_t f = open_with(3);
    ecs_query_t *query = query_of(&f, f.pos, false);
    ecs_watch_desc_t watch = {.kind = ECS_WATCH_COUNT, .query = query, .value = {5, 9}};
    uint32_t id = 0, second = 0;
    bool fired = false;
    CHECK_EQ(ecs_watch_add(f.world, &watch, 1, &id, &fired), ECS_OK);
    CHECK_EQ(ecs_watch_add(f.world, &watch, 1, &second, &fired), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_E_INVALID);
    count_poll(&f, 0);
    ecs_watch_remove(f.world, second);
    record_begin(&f, 1);
    (void)spawn_pos(&f, 7);
    (void)spawn_pos(&f, 8);
    apply(&f);
    count_poll(&f, 1);
    CHECK_EQ(ecs_watch_add(f.world, &watch, 1, &id, &fired), ECS_E_UNKNOWN);
    CHECK_TEXT(ecs_last_error(f.world), "the query was released");
    CHECK_EQ(ecs_query_hold(f.world, query), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void one_that_is_created_again_in_time_goes_on(void) {
    fixture_t f = open_with(3);
    ecs_query_t *query = query_of(&f, f.pos, false);
    ecs_watch_desc_t watch = {.kind = ECS_WATCH_COUNT, .query = query, .value = {5, 9}};
    uint32_t id = 0;
    bool fired = false;
    CHECK_EQ(ecs_watch_add(f.world, &watch, 1, &id, &fired), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK(query_of(&f, f.pos, false) == query);
    ecs_watch_remove(f.world, id);
    CHECK_EQ(ecs_query_count(query), 3);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void readers_that_are_gone_hold_nothing(void) {
    fixture_t f = open_with(3);
    ecs_query_t *query = query_of(&f, f.pos, false), *ended = query_of(&f, f.vel, false);
    CHECK(query_of(&f, f.pos, false) == query);
    CHECK(ecs_cursor_open(query) != NULL && ecs_cursor_open(ended) != NULL);
    CHECK_EQ(ecs_query_release(f.world, ended), ECS_OK);
    ecs_readers_reset(f.world);
    CHECK_EQ(ecs_query_count(query), 3); /* it stays, */
    CHECK_EQ(ecs_query_release(f.world, query), ECS_E_INVALID);
    CHECK(query_of(&f, f.pos, false) == query);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_OK); /* and ends with who comes next */
    ecs_cursor_close(cursor);
    CHECK_EQ(ecs_query_release(f.world, query), ECS_E_UNKNOWN);
    fixture_close(&f);
}

static void ten_thousand_queries_take_no_memory(void) {
    fixture_t f = open_with(40);
    size_t before = 0;
    for (int i = 0; i < 10000; i++) {
        ecs_query_t *query = query_of(&f, f.pos, i % 2 == 0);
        ecs_cursor_t *cursor = ecs_cursor_open(query);
        if (i % 3 == 0) { ecs_cursor_close(cursor); }
        CHECK_EQ(ecs_query_release(f.world, query), ECS_OK);
        if (i % 3 != 0) { ecs_cursor_close(cursor); }
        if (i == 10) { before = mallinfo2().uordblks; }
    }
    CHECK(mallinfo2().uordblks <= before + 4096); /* the allocator rounds */
    fixture_close(&f);
}

int main(void) {
    RUN(the_last_release_ends_a_query);
    RUN(those_with_a_past_are_not_shared);
    RUN(a_walk_over_a_query_that_has_ended_is_over);
    RUN(a_filtered_walk_ends_without_a_tick);
    RUN(a_watch_of_a_count_outlives_the_release);
    RUN(one_that_is_created_again_in_time_goes_on);
    RUN(readers_that_are_gone_hold_nothing);
    RUN(ten_thousand_queries_take_no_memory);
    return test_report();
}
