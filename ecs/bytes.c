/* The bytes of values, structs taken apart: those between fields, and numbers that no machine has
 * made. */
#include "internal.h"

/* Notes the elements of a field; those that lie behind others of their type become one leaf. */
static bool add_leaf(ecs__component_t *layout, const ecs_field_t *field, uint32_t at) {
    ecs__leaf_t *last = layout->leaf_count == 0 ? NULL : &layout->leaves[layout->leaf_count - 1];
    if (last != NULL && last->type == field->type && last->offset_bytes + last->bytes == at) {
        last->bytes += field->size_bytes;
        return true;
    }
    ecs__leaf_t *made = ECS__PUSH(layout->leaves, layout->leaf_count, layout->leaf_capacity);
    if (made != NULL) { *made = (ecs__leaf_t){field->type, at, field->size_bytes}; }
    return made != NULL;
}

/* The same for each leaf of a field that is a struct, whose own leaves are known. */
static bool add_struct(const ecs_world_t *world, ecs__component_t *layout,
                       const ecs_field_t *field) {
    const ecs__component_t *type = &world->structs[field->struct_id];
    for (uint32_t i = 0; i < field->count; i++) {
        uint32_t at = field->offset_bytes + i * type->size_bytes;
        for (uint32_t k = 0; k < type->leaf_count; k++) {
            const ecs__leaf_t *leaf = &type->leaves[k];
            ecs_field_t part = {.type = leaf->type, .size_bytes = leaf->bytes};
            if (!add_leaf(layout, &part, at + leaf->offset_bytes)) { return false; }
        }
    }
    return true;
}

int ecs__leaves_init(ecs_world_t *world, ecs__component_t *layout) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < layout->field_count; i++) {
        const ecs_field_t *field = &layout->fields[i];
        bool ok = field->type == ECS_TYPE_STRUCT ? add_struct(world, layout, field)
                                                 : add_leaf(layout, field, field->offset_bytes);
        if (!ok) { return ecs__oom(world); }
    }
    for (uint32_t i = 0; i < layout->leaf_count; i++) {
        used += layout->leaves[i].bytes;
    }
    layout->padded = used != layout->size_bytes;
    layout->all_fields = layout->padded ? UINT64_MAX : (1ull << layout->field_count) - 1;
    return ECS_OK;
}

void ecs__padding_clear(const ecs__component_t *component, char *values, uint32_t count) {
    uint32_t end = 0;
    for (uint32_t i = 0; i <= component->leaf_count; i++) {
        bool last = i == component->leaf_count;
        uint32_t next = last ? component->size_bytes : component->leaves[i].offset_bytes;
        for (uint32_t row = 0; next > end && row < count; row++) {
            memset(values + (size_t)row * component->size_bytes + end, 0, next - end);
        }
        end = last ? next : next + component->leaves[i].bytes;
    }
}

bool ecs__values_equal(const ecs__component_t *layout, const char *a, const char *b) {
    for (uint32_t i = 0; i < layout->leaf_count; i++) {
        const ecs__leaf_t *leaf = &layout->leaves[i];
        if (memcmp(a + leaf->offset_bytes, b + leaf->offset_bytes, leaf->bytes) != 0) {
            return false;
        }
    }
    return true;
}

static void tame_doubles(char *at, size_t count) {
    const uint64_t plain = 0xfff8000000000000u;
    for (size_t i = 0; i < count; i++, at += sizeof plain) {
        uint64_t bits;
        memcpy(&bits, at, sizeof bits);
        if (bits > plain) { memcpy(at, &plain, sizeof plain); }
    }
}

static void tame_floats(char *at, size_t count) {
    const uint32_t plain = 0xffc00000u;
    for (size_t i = 0; i < count; i++, at += sizeof plain) {
        uint32_t bits;
        memcpy(&bits, at, sizeof bits);
        if (bits > plain) { memcpy(at, &plain, sizeof plain); }
    }
}

/* One leaf in all values; `step` bytes from one to the next. */
static void tame_leaf(const ecs__leaf_t *leaf, char *at, size_t step, uint32_t count) {
    bool doubles = leaf->type == ECS_TYPE_F64 || leaf->type == ECS_TYPE_ENTITY;
    if (!doubles && leaf->type != ECS_TYPE_F32) { return; }
    for (uint32_t row = 0; row < count; row++, at += step) {
        if (doubles) {
            tame_doubles(at, leaf->bytes / sizeof(double));
        } else {
            tame_floats(at, leaf->bytes / sizeof(float));
        }
    }
}

void ecs__numbers_tame(const ecs__component_t *component, char *values, uint32_t count) {
    for (uint32_t i = 0; i < component->leaf_count; i++) {
        const ecs__leaf_t *leaf = &component->leaves[i];
        tame_leaf(leaf, values + leaf->offset_bytes, component->size_bytes, count);
    }
}
