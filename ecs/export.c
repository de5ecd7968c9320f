/* The world as one JSON document. */
#include "ecs_schema.h"
#include "internal.h"

#define READ_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)
enum { PART_BYTES = 64 * 1024 };

static void add(ecs_text_t *text, const char *from) { ecs_text_add(text, from, strlen(from)); }

static void add_id(ecs_text_t *text, ecs_id_t id) {
    char number[32];
    (void)snprintf(number, sizeof number, "%.0f", id);
    add(text, number);
}

static int add_components(ecs_world_t *world, ecs_id_t id, ecs_text_t *text) {
    uint32_t list[ECS_MAX_COMPONENTS];
    uint32_t count = ecs_entity_components(world, id, list, ECS_MAX_COMPONENTS);
    int rc = ECS_OK;
    add(text, ",\"components\":{");
    for (uint32_t i = 0; rc == ECS_OK && i < count; i++) {
        add(text, i > 0 ? ",\"" : "\"");
        add(text, ecs_component_name(world, list[i])); /* a name: nothing to escape */
        add(text, "\":");
        rc = ecs_value_to_json(world, list[i], ecs__cell_read(world, id, list[i]), text);
    }
    add(text, "}}");
    return rc;
}

static int add_entity(ecs_world_t *world, ecs_id_t id, ecs_text_t *text) {
    const char *name = ecs_name(world, id);
    ecs_id_t parent = ecs_parent(world, id);
    add(text, "{\"id\":");
    add_id(text, id);
    if (name != NULL) {
        add(text, ",\"name\":");
        ecs__json_text(text, name, strlen(name));
    }
    if (parent != 0) {
        add(text, ",\"parent\":");
        add_id(text, parent);
    }
    return add_components(world, id, text);
}

/* Hands over what there is so far. */
static int flush(ecs_world_t *world, ecs_text_t *text, ecs_sink_t sink, void *context) {
    if (text->failed) { return ecs__oom(world); }
    int rc = text->bytes > 0 ? sink(context, text->text, text->bytes) : ECS_OK;
    text->bytes = 0;
    return rc == ECS_OK ? rc : ecs__fail(world, rc, "what takes the document stopped it");
}

int ecs_export_json(ecs_world_t *world, ecs_sink_t sink, void *context) {
    int rc = ecs__guard(world, READ_PHASES);
    if (rc != ECS_OK) { return rc; }
    ecs_text_t text = {0};
    char head[48];
    (void)snprintf(head, sizeof head, "{\"tick\":%llu,\"entities\":[",
                   (unsigned long long)world->shared.tick);
    add(&text, head);
    uint32_t at = 0;
    const char *between = "\n";
    ecs_id_t id = ecs_entity_next(world, &at);
    while (id != 0 && rc == ECS_OK) {
        add(&text, between);
        between = ",\n";
        rc = add_entity(world, id, &text);
        if (rc == ECS_OK && text.bytes >= PART_BYTES) { rc = flush(world, &text, sink, context); }
        id = ecs_entity_next(world, &at);
    }
    add(&text, "\n]}\n");
    if (rc == ECS_OK) { rc = flush(world, &text, sink, context); }
    ecs_text_fini(&text);
    return rc;
}
