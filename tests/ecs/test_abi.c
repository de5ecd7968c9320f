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

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "--print") == 0) {
        printf("ecs_field_t %zu\necs_box_t %zu\necs_cursor_t %zu\necs_shared_t %zu\n",
               sizeof(ecs_field_t), sizeof(ecs_box_t), sizeof(ecs_cursor_t), sizeof(ecs_shared_t));
        printf("ecs_field_t.offset_bytes %zu\necs_box_t.stamp %zu\necs_cursor_t.box %zu\n",
               offsetof(ecs_field_t, offset_bytes), offsetof(ecs_box_t, stamp),
               offsetof(ecs_cursor_t, box));
        printf("ecs_cursor_t.ids %zu\necs_shared_t.tick %zu\n", offsetof(ecs_cursor_t, ids),
               offsetof(ecs_shared_t, tick));
        return 0;
    }
    RUN(a_box_and_a_cursor_have_no_hidden_padding);
    return test_report();
}
