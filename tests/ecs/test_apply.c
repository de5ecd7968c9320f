/* Apply, recording and reactions with input that nobody should give. */
#include "world.h"

static void a_command_on_id_0_is_one_on_a_dead_target(void) {
    fixture_t f = fixture_open(0);
    record_begin(&f, 1);
    ecs_id_t id = spawn_pos(&f, 5);
    apply(&f);
    record_begin(&f, 1);
    ((pos_t *)ecs_record(f.world, ECS_OP_SET, id, f.pos, 1))->x = 6;
    CHECK_EQ(ecs_batch_seal(f.world, NULL), ECS_OK);
    CHECK_EQ(ecs_batch_begin(f.world, 2), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_REMOVE, 0, f.pos), ECS_OK);
    CHECK_EQ(ecs_record_plain(f.world, ECS_OP_DESPAWN, 0, 0), ECS_OK);
    apply(&f);
    uint32_t count = 0;
    CHECK_EQ(ecs_apply_results(f.world, &count)[1].skipped, 1);
    CHECK_EQ(x_of(&f, id, f.pos), 6);
    fixture_close(&f);
}

int main(void) {
    RUN(a_command_on_id_0_is_one_on_a_dead_target);
    return test_report();
}
