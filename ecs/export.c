/* The world as one JSON document. */
#include "internal.h"
#include "json_write.h"

#define READ_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)

static void put_components(ecs__json_t *json, const ecs_world_t *world, ecs_id_t id) {
    uint32_t list[ECS_MAX_COMPONENTS];
    uint32_t count = ecs_entity_components(world, id, list, ECS_MAX_COMPONENTS);
    ecs__json_raw(json, ",\"components\":{");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) { ecs__json_raw(json, ","); }
        ecs__json_text(json, ecs_component_name(world, list[i]), ECS_NAME_BYTES);
        ecs__json_raw(json, ":");
        ecs__json_value(json, world, list[i], ecs__cell_read(world, id, list[i]));
    }
    ecs__json_raw(json, "}}");
}

static void put_entity(ecs__json_t *json, const ecs_world_t *world, ecs_id_t id) {
    const char *name = ecs_name(world, id);
    ecs_id_t parent = ecs_parent(world, id);
    ecs__json_raw(json, "{\"id\":");
    ecs__json_id(json, id);
    if (name != NULL) {
        ecs__json_raw(json, ",\"name\":");
        ecs__json_text(json, name, ECS_NAME_BYTES);
    }
    if (parent != 0) {
        ecs__json_raw(json, ",\"parent\":");
        ecs__json_id(json, parent);
    }
    put_components(json, world, id);
}

int ecs_export_json(ecs_world_t *world, ecs_sink_t sink, void *context) {
    int rc = ecs__guard(world, READ_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs__json_t json = {.sink = sink, .context = context};
    char head[48];
    (void)snprintf(head, sizeof head, "{\"tick\":%llu,\"entities\":[",
                   (unsigned long long)world->shared.tick);
    ecs__json_raw(&json, head);
    uint32_t at = 0;
    const char *between = "\n";
    ecs_id_t id = ecs_entity_next(world, &at);
    while (id != 0 && json.rc == ECS_OK) {
        ecs__json_raw(&json, between);
        put_entity(&json, world, id);
        between = ",\n";
        id = ecs_entity_next(world, &at);
    }
    ecs__json_raw(&json, "\n]}\n");
    ecs__json_flush(&json);
    if (json.rc != ECS_OK) {
        return ecs__fail(world, json.rc, "what takes the document stopped it");
    }
    return ECS_OK;
}
