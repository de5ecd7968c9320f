/* ecs_abi.h as gcc reads it; component_spec.lua compares it with FFI's reading. */
#include <stddef.h>

#include "../support/test.h"
#include "ecs_abi.h"

static void a_box_and_a_cursor_have_no_hidden_padding(void) {
    CHECK_EQ(sizeof(ecs_box_t), 56);
    CHECK_EQ(sizeof(ecs_stamp_t), 32);
    CHECK_EQ(offsetof(ecs_cursor_t, box) % 8, 0);
    CHECK_EQ(sizeof(((ecs_cursor_t *)0)->box), 16 * sizeof(ecs_box_t));
    CHECK_EQ(ECS_MAX_TERMS, 16);
    CHECK_EQ(sizeof(ecs_field_t), 128);
    CHECK_EQ(sizeof(((ecs_field_t *)0)->unit), ECS_UNIT_BYTES);
}

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define PLACE(type, member) printf(#type "." #member " %zu\n", offsetof(type, member))

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "--print") == 0) {
        SIZE(ecs_field_t);
        SIZE(ecs_box_t);
        SIZE(ecs_cursor_t);
        SIZE(ecs_shared_t);
        SIZE(ecs_stamp_t);
        SIZE(ecs_recorder_t);
        SIZE(ecs_command_t);
        PLACE(ecs_field_t, offset_bytes);
        PLACE(ecs_box_t, stamp);
        PLACE(ecs_cursor_t, box);
        PLACE(ecs_cursor_t, ids);
        PLACE(ecs_shared_t, tick);
        PLACE(ecs_recorder_t, flags);
        PLACE(ecs_command_t, id);
        PLACE(ecs_command_t, fields);
        return 0;
    }
    RUN(a_box_and_a_cursor_have_no_hidden_padding);
    return test_report();
}
