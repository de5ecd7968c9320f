/* Events that are sent. */
#include "world.h"

typedef struct {
    fixture_t f;
    uint32_t order; /* struct: double amount = 5, char text[8] */
} sender_t;

typedef struct {
    double amount;
    char text[8];
} order_t;

static sender_t sender_open(void) {
    static const char *const fields[] = {"double amount = 5", "char text[8] = \"none\""};
    sender_t s = {.f = fixture_open(16)};
    CHECK_EQ(ecs_struct_register(s.f.world, "Order", fields, 2, &s.order), ECS_OK);
    return s;
}

static void send(sender_t *s, ecs_id_t to, double amount) {
    order_t *order = ecs_record_send(s->f.world, s->order, to);
    CHECK(order != NULL);
    if (order == NULL) { return; }
    CHECK_EQ(order->amount, 5);
    CHECK_TEXT(order->text, "none");
    order->amount = amount;
}

static double amount_of(const ecs_sent_t *sent) { return ((const order_t *)sent->value)->amount; }

static void events_come_in_the_order_of_recording(void) {
    sender_t s = sender_open();
    uint32_t count = 0;
    record_begin(&s.f, 7);
    CHECK_EQ(ecs_batch_place(s.f.world, 12), ECS_OK);
    ecs_id_t id = spawn_pos(&s.f, 1);
    for (int i = 0; i < 5000; i++) { /* over more than one chunk of the stream */
        send(&s, i % 2 == 0 ? 0 : id, i);
    }
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 8), ECS_OK);
    send(&s, id, 5000);
    apply(&s.f);
    const ecs_sent_t *sent = ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 5001);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(amount_of(&sent[i]), i);
        CHECK_EQ(sent[i].event, s.order);
        CHECK_EQ(sent[i].to, i == 5000 || i % 2 == 1 ? id : 0);
        CHECK_EQ(sent[i].owner, i == 5000 ? 8 : 7);
        CHECK_EQ(sent[i].place, i == 5000 ? 0 : 12);
    }
    record_begin(&s.f, 9); /* what is recorded meanwhile leaves the values alone */
    for (int i = 0; i < 5000; i++) {
        send(&s, 0, -1);
    }
    CHECK_EQ(amount_of(&sent[4999]), 4999);
    CHECK_EQ(ecs_batch_drop(s.f.world), ECS_OK);
    record_begin(&s.f, 9);
    apply(&s.f);
    (void)ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 0);
    fixture_close(&s.f);
}

static void a_refused_batch_sends_nothing(void) {
    sender_t s = sender_open();
    uint32_t count = 0;
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1);
    apply(&s.f);
    record_begin(&s.f, 2);
    send(&s, id, 1);
    CHECK(ecs_record(s.f.world, ECS_OP_SET, id, s.f.vel, 1) != NULL); /* absent */
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 3), ECS_OK);
    ecs_mark_t mark = ecs_batch_mark(s.f.world);
    send(&s, id, 2);
    CHECK_EQ(ecs_batch_rollback(s.f.world, mark), ECS_OK);
    send(&s, id, 3);
    ((pos_t *)ecs_record(s.f.world, ECS_OP_SET, id, s.f.pos, 1))->x = 9;
    apply(&s.f);
    CHECK_EQ(ecs_apply_results(s.f.world, &count)[0].error, ECS_E_ABSENT);
    const ecs_sent_t *sent = ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 1);
    CHECK_EQ(amount_of(sent), 3);
    CHECK_EQ(x_of(&s.f, id, s.f.pos), 9);
    fixture_close(&s.f);
}

/* The id of a struct is no component's, though it may be the same number. */
static void an_event_writes_no_value(void) {
    sender_t s = sender_open();
    ecs_stamp_t stamp = {0};
    CHECK_EQ(s.order, s.f.pos);
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1);
    apply(&s.f);
    record_begin(&s.f, 2);
    CHECK_EQ(ecs_batch_place(s.f.world, 5), ECS_OK);
    ((pos_t *)ecs_record(s.f.world, ECS_OP_SET, id, s.f.pos, 1))->x = 9;
    CHECK_EQ(ecs_batch_place(s.f.world, 6), ECS_OK);
    send(&s, id, 3);
    apply(&s.f);
    CHECK_EQ(x_of(&s.f, id, s.f.pos), 9);
    CHECK_EQ(ecs_provenance(s.f.world, id, s.f.pos, &stamp), ECS_OK);
    CHECK_EQ(stamp.place, 5);
    fixture_close(&s.f);
}

static void an_event_to_one_that_is_gone_counts_as_other_commands(void) {
    sender_t s = sender_open();
    uint32_t count = 0;
    record_begin(&s.f, 1);
    ecs_id_t gone = spawn_pos(&s.f, 1), going = spawn_pos(&s.f, 2);
    apply(&s.f);
    record_begin(&s.f, 1);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, gone, 0), ECS_OK);
    apply(&s.f);
    record_begin(&s.f, 2);
    send(&s, gone, 1);
    ecs_id_t coming = ecs_record_spawn_many(s.f.world, 3, NULL, 0, NULL)[1];
    send(&s, coming, 2);
    send(&s, going, 3);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_DESPAWN, going, 0), ECS_OK);
    send(&s, going, 4); /* after its end */
    send(&s, NAN, 5);
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 3), ECS_OK);
    CHECK_EQ(ecs_batch_flags(s.f.world, ECS_FLAG_STRICT), ECS_OK);
    send(&s, 0, 6);
    send(&s, gone, 7);
    apply(&s.f);
    const ecs_batch_result_t *results = ecs_apply_results(s.f.world, &count);
    CHECK_EQ(results[0].error, ECS_OK);
    CHECK_EQ(results[0].skipped, 3);
    CHECK_EQ(results[0].skipped_id, gone);
    CHECK_EQ(results[0].skipped_op, ECS_OP_SEND);
    CHECK_EQ(results[1].error, ECS_E_DEAD);
    CHECK_EQ(results[1].op, ECS_OP_SEND);
    const ecs_sent_t *sent = ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 2);
    CHECK_EQ(amount_of(&sent[0]), 2);
    CHECK_EQ(amount_of(&sent[1]), 3);
    fixture_close(&s.f);
}

static void it_needs_a_struct_and_a_batch(void) {
    sender_t s = sender_open();
    CHECK(ecs_record_send(s.f.world, s.order, 0) == NULL);
    record_begin(&s.f, 1);
    CHECK(ecs_record_send(s.f.world, s.order + 1, 0) == NULL);
    CHECK_TEXT(ecs_last_error(s.f.world), "no struct 1");
    CHECK(ecs_record(s.f.world, ECS_OP_SEND, 0, s.f.pos, 0) == NULL);
    CHECK_EQ(ecs_record_plain(s.f.world, ECS_OP_SEND, 0, s.f.pos), ECS_E_INVALID);
    apply(&s.f);
    fixture_close(&s.f);
}

static void a_room_refuses_the_batch_that_would_overfill_it(void) {
    sender_t s = sender_open();
    uint32_t count = 0;
    record_begin(&s.f, 1);
    ecs_id_t id = spawn_pos(&s.f, 1);
    apply(&s.f);
    uint32_t all = ecs_room_open(s.f.world, s.order, 0);
    uint32_t one = ecs_room_open(s.f.world, s.order, id);
    CHECK(all != 0 && one != 0 && all != one);
    CHECK_EQ(ecs_room_open(s.f.world, 99, 0), 0);
    ecs_room_set(s.f.world, all, 3);
    ecs_room_set(s.f.world, one, 1);
    record_begin(&s.f, 1); /* two for the one: too many */
    send(&s, 0, 1);
    send(&s, id, 2);
    send(&s, id, 3);
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 2), ECS_OK); /* what it had taken is free again */
    send(&s, id, 4);
    send(&s, 0, 5);
    send(&s, 0, 6);
    CHECK_EQ(ecs_batch_seal(s.f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(s.f.world, 3), ECS_OK);
    send(&s, 0, 7);
    apply(&s.f);
    const ecs_batch_result_t *results = ecs_apply_results(s.f.world, &count);
    CHECK_EQ(count, 3);
    CHECK_EQ(results[0].error, ECS_E_FULL);
    CHECK_EQ(results[0].op, ECS_OP_SEND);
    CHECK_EQ(results[0].id, id);
    CHECK_EQ(results[1].error, ECS_OK);
    CHECK_EQ(results[2].error, ECS_E_FULL);
    (void)ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 3);
    ecs_room_close(s.f.world, one);
    ecs_room_close(s.f.world, one);
    CHECK_EQ(ecs_room_open(s.f.world, s.order, id), one);
    ecs_readers_reset(s.f.world);
    record_begin(&s.f, 1);
    for (int i = 0; i < 10; i++) {
        send(&s, id, i);
    }
    apply(&s.f);
    (void)ecs_sent(s.f.world, &count);
    CHECK_EQ(count, 10);
    fixture_close(&s.f);
}

int main(void) {
    RUN(events_come_in_the_order_of_recording);
    RUN(a_refused_batch_sends_nothing);
    RUN(an_event_writes_no_value);
    RUN(an_event_to_one_that_is_gone_counts_as_other_commands);
    RUN(it_needs_a_struct_and_a_batch);
    RUN(a_room_refuses_the_batch_that_would_overfill_it);
    return test_report();
}
