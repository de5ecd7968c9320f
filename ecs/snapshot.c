/* Writes a snapshot. It is written twice: once to count bytes, because lengths come before
 * contents, and once into the sink. */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#define READ_PHASES (1u << ECS_PHASE_SETUP | 1u << ECS_PHASE_IDLE | 1u << ECS_PHASE_RUN)
enum { STAGE_BYTES = 65536, DIRECT_BYTES = 4096, ALIGN = 8, BATCH = 1024 };

const char ECS__SECTION_TAGS[ECS__SECTION_COUNT][ECS__SECTION_TAG_BYTES + 1] = {
    "schema", "slots", "archs", "rows", "sparse", "tree"};

typedef struct {
    ecs_world_t *world;
    ecs_sink_t sink; /* NULL: bytes are counted only */
    void *context;
    uint64_t bytes;
    ecs__checksum_t checksum;
    char *stage; /* small pieces on their way to the sink */
    size_t staged;
    char *scratch; /* values whose padding is cleared */
    int rc;
} writer_t;

static void flush(writer_t *writer) {
    if (writer->rc == ECS_OK && writer->staged > 0) {
        writer->rc = writer->sink(writer->context, writer->stage, writer->staged);
    }
    writer->staged = 0;
}

static void put(writer_t *writer, const void *data, size_t length) {
    writer->bytes += length;
    if (writer->sink == NULL || length == 0) { return; }
    ecs__checksum_add(&writer->checksum, data, length);
    bool direct = length >= DIRECT_BYTES;
    if (direct || length > STAGE_BYTES - writer->staged) { flush(writer); }
    if (!direct) {
        memcpy(writer->stage + writer->staged, data, length);
        writer->staged += length;
    } else if (writer->rc == ECS_OK) {
        writer->rc = writer->sink(writer->context, data, length);
    }
}

static void put_u32(writer_t *writer, uint32_t value) { put(writer, &value, sizeof value); }
static void put_u64(writer_t *writer, uint64_t value) { put(writer, &value, sizeof value); }

static void put_name(writer_t *writer, const char *name) {
    char bytes[ECS_NAME_BYTES] = {0};
    (void)snprintf(bytes, sizeof bytes, "%s", name);
    put(writer, bytes, sizeof bytes);
}

/* Parts begin at multiples of 8 bytes. */
static void put_gap(writer_t *writer) {
    static const char zeros[ALIGN] = {0};
    put(writer, zeros, (size_t)(-writer->bytes % ALIGN));
}

/* ---- schema --------------------------------------------------------------------------------- */

static void put_enum(writer_t *writer, const ecs__enum_t *known) {
    put_name(writer, known->name);
    put_u32(writer, known->count);
    put_u32(writer, 0);
    for (uint32_t i = 0; i < known->count; i++) {
        put_name(writer, known->members[i]);
    }
}

/* Name and fields; a field that is a struct is followed by the same of its type. */
static void put_layout(writer_t *writer, const ecs__component_t *component) {
    const ecs__component_t *structs = writer->world->structs;
    put_name(writer, component->name);
    put_u32(writer, component->field_count);
    put_u32(writer, component->size_bytes);
    for (uint32_t i = 0; i < component->field_count; i++) {
        const ecs_field_t *field = &component->fields[i];
        put_name(writer, field->name);
        put_u32(writer, field->type);
        put_u32(writer, field->count);
        put_u32(writer, field->offset_bytes);
        put_u32(writer, field->size_bytes);
        bool is_enum = field->type == ECS_TYPE_ENUM;
        put_u32(writer, is_enum ? writer->world->enums[field->enum_id].rank : 0);
        put_u32(writer, field->is_array);
        if (field->type == ECS_TYPE_STRUCT) { put_layout(writer, &structs[field->struct_id]); }
    }
}

static void put_component(writer_t *writer, const ecs__component_t *component) {
    put_layout(writer, component);
    put(writer, component->default_value, component->size_bytes);
    put_gap(writer);
}

/* Enums that are current, and older versions that a component has. */
static void put_schema(writer_t *writer) {
    ecs_world_t *world = writer->world;
    put_u32(writer, ecs__types_mark(world, false));
    put_u32(writer, world->component_count);
    for (uint32_t i = 0; i < world->enum_count; i++) {
        if (world->enums[i].used) { put_enum(writer, &world->enums[i]); }
    }
    for (uint32_t i = 0; i < world->component_count; i++) {
        put_component(writer, &world->components[i]);
    }
}

/* ---- slots ---------------------------------------------------------------------------------- */

static void put_generations(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    uint32_t batch[BATCH], count = 0;
    for (uint32_t i = 0; i < world->slot_count; i++) {
        batch[count++] = ecs__record_at(world, i)->generation;
        if (count < BATCH && i + 1 < world->slot_count) { continue; }
        put(writer, batch, count * sizeof batch[0]);
        count = 0;
    }
}

static void put_slots(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    uint32_t free_count = 0;
    for (uint32_t at = world->free_head; at != ECS__NONE; at = ecs__record_at(world, at)->row) {
        free_count++;
    }
    put_u64(writer, world->shared.tick);
    put_u32(writer, world->slot_count);
    put_u32(writer, free_count);
    put_u32(writer, world->slot_count - free_count - world->shared.alive);
    put_u32(writer, 0);
    put_generations(writer);
    for (uint32_t at = world->free_head; at != ECS__NONE; at = ecs__record_at(world, at)->row) {
        put_u32(writer, at);
    }
    put_gap(writer);
}

/* ---- archetypes, rows ----------------------------------------------------------------------- */

static void put_archetypes(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    put_u32(writer, world->max_chunk_rows);
    put_u32(writer, world->ordered_count);
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        const ecs__archetype_t *archetype = world->ordered[i];
        put_u32(writer, archetype->slot_count);
        put_u32(writer, archetype->row_count);
        put_u32(writer, archetype->chunk_count);
        put_u32(writer, archetype->chunk_count > 0 ? archetype->chunks[0]->capacity : 0);
        for (uint32_t k = 0; k < archetype->slot_count; k++) {
            put_u32(writer, archetype->slots[k].component);
        }
    }
    put_gap(writer);
}

static void put_column(writer_t *writer, const ecs__chunk_t *chunk, const ecs__slot_t *slot) {
    const ecs__component_t *component = &writer->world->components[slot->component];
    const char *values = writer->world->memory.maps.core + ecs__cell(chunk, slot, 0);
    if (writer->sink == NULL || !component->padded) {
        put(writer, values, (size_t)chunk->count * slot->size_bytes);
    } else {
        uint32_t most = STAGE_BYTES / slot->size_bytes;
        for (uint32_t row = 0; row < chunk->count; row += most) {
            uint32_t rows = chunk->count - row < most ? chunk->count - row : most;
            size_t bytes = (size_t)rows * slot->size_bytes;
            memcpy(writer->scratch, values + (size_t)row * slot->size_bytes, bytes);
            ecs__padding_clear(component, writer->scratch, rows);
            put(writer, writer->scratch, bytes);
        }
    }
    put_gap(writer);
}

static void put_chunk(writer_t *writer, const ecs__archetype_t *archetype,
                      const ecs__chunk_t *chunk) {
    for (uint32_t i = 0; i < archetype->column_count; i++) {
        put_u64(writer, chunk->stamp[i].changed);
    }
    for (uint32_t i = 0; i < archetype->column_count; i++) {
        put_u64(writer, chunk->stamp[i].added);
    }
    put(writer, writer->world->memory.maps.core + chunk->block_offset,
        chunk->count * sizeof(ecs_id_t));
    for (uint32_t i = 0; i < archetype->slot_count; i++) {
        const ecs__slot_t *slot = &archetype->slots[i];
        if (slot->column != ECS__NONE) { put_column(writer, chunk, slot); }
    }
}

static void put_rows(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    for (uint32_t i = 0; i < world->ordered_count; i++) {
        const ecs__archetype_t *archetype = world->ordered[i];
        for (uint32_t k = 0; k < archetype->chunk_count; k++) {
            put_chunk(writer, archetype, archetype->chunks[k]);
        }
    }
}

/* ---- sparse --------------------------------------------------------------------------------- */

/* Tables of sparse components, those without rows, too: the reader has to have the same. */
static void put_sparse(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    put_u32(writer, world->sparse_count);
    put_u32(writer, 0);
    for (uint32_t i = 0; i < world->sparse_count; i++) {
        const ecs__archetype_t *table = world->components[world->sparse[i]].sparse->table;
        put_u32(writer, world->sparse[i]);
        put_u32(writer, table->row_count);
        for (uint32_t k = 0; k < table->chunk_count; k++) {
            if (table->chunks[k]->count > 0) { put_chunk(writer, table, table->chunks[k]); }
        }
    }
}

/* ---- tree ----------------------------------------------------------------------------------- */

/* The next entity at *at or after it that has a place in the tree; NULL at the end. */
static const ecs__node_t *next_node(const ecs_world_t *world, uint32_t *at) {
    for (; *at < world->slot_count; (*at)++) {
        const ecs__page_t *page = world->pages[*at / ECS__PAGE_ROWS];
        uint32_t row = *at % ECS__PAGE_ROWS;
        if (page->nodes == NULL) {
            *at += ECS__PAGE_ROWS - 1 - row;
        } else if (ecs__record_alive(&page->record[row])) {
            return &page->nodes[row];
        }
    }
    return NULL;
}

static void put_node(writer_t *writer, uint32_t index, const ecs__node_t *node) {
    size_t length = node->name == NULL ? 0 : strlen(node->name);
    put_u32(writer, index);
    put_u32(writer, node->parent);
    put_u32(writer, (uint32_t)length);
    put(writer, node->name, length);
}

/* Children of one parent lie together and in order: linking them one by one makes the tree. */
static void put_tree(writer_t *writer) {
    const ecs_world_t *world = writer->world;
    const ecs__node_t *node = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; (node = next_node(world, &i)) != NULL; i++) {
        count += node->parent != 0 || node->name != NULL;
    }
    put_u32(writer, count);
    put_u32(writer, 0);
    for (uint32_t i = 0; (node = next_node(world, &i)) != NULL; i++) {
        if (node->parent == 0 && node->name != NULL) { put_node(writer, i, node); }
        for (uint32_t at = node->first; at != 0; at = ecs__node(world, at - 1)->next) {
            put_node(writer, at - 1, ecs__node(world, at - 1));
        }
    }
    put_gap(writer);
}

/* ---- the whole ------------------------------------------------------------------------------ */

typedef void (*put_section_t)(writer_t *writer);
static const put_section_t PUT_SECTION[ECS__SECTION_COUNT] = {
    put_schema, put_slots, put_archetypes, put_rows, put_sparse, put_tree};

static void put_checksum(writer_t *writer) {
    put_u64(writer, ecs__checksum_end(&writer->checksum));
    ecs__checksum_init(&writer->checksum);
}

static void put_head(writer_t *writer, uint64_t whole) {
    put(writer, ECS__SNAPSHOT_MAGIC, sizeof ECS__SNAPSHOT_MAGIC - 1);
    put_u32(writer, ECS__SNAPSHOT_VERSION);
    put_u32(writer, ECS__SECTION_COUNT);
    put_u64(writer, whole);
    put_checksum(writer);
}

static int check_writable(ecs_world_t *world) {
    int rc = ecs__guard(world, READ_PHASES);
    uint64_t owner = 0;
    if (rc != ECS_OK) { return rc; }
    if (ecs_batch_open(world, &owner) || ecs_batch_count(world) > 0) {
        return ecs__fail(world, ECS_E_PHASE,
                         "a snapshot holds no batches, and %u wait: apply or drop them first",
                         ecs_batch_count(world) + (ecs_batch_open(world, &owner) ? 1u : 0u));
    }
    if (world->ordered_count > ECS__SNAPSHOT_MAX_ARCHETYPES) {
        return ecs__fail(world, ECS_E_LIMIT, "%u archetypes; a snapshot holds at most %d",
                         world->ordered_count, (int)ECS__SNAPSHOT_MAX_ARCHETYPES);
    }
    return ECS_OK;
}

int ecs_snapshot_write(ecs_world_t *world, ecs_sink_t sink, void *context) {
    int rc = check_writable(world);
    if (rc != ECS_OK) { return rc; }
    uint64_t bytes[ECS__SECTION_COUNT], whole = ECS__SNAPSHOT_HEAD_BYTES;
    for (uint32_t i = 0; i < ECS__SECTION_COUNT; i++) {
        writer_t count = {.world = world};
        PUT_SECTION[i](&count);
        bytes[i] = count.bytes;
        whole += ECS__SECTION_HEAD_BYTES + bytes[i] + ECS__CHECKSUM_BYTES;
    }
    writer_t writer = {.world = world, .sink = sink, .context = context};
    writer.stage = ecs__calloc(STAGE_BYTES, 1);
    writer.scratch = ecs__calloc(STAGE_BYTES, 1);
    if (writer.stage == NULL || writer.scratch == NULL) {
        free(writer.stage);
        free(writer.scratch);
        return ecs__oom(world);
    }
    ecs__checksum_init(&writer.checksum);
    put_head(&writer, whole);
    for (uint32_t i = 0; writer.rc == ECS_OK && i < ECS__SECTION_COUNT; i++) {
        put(&writer, ECS__SECTION_TAGS[i], ECS__SECTION_TAG_BYTES);
        put_u64(&writer, bytes[i]);
        PUT_SECTION[i](&writer);
        put_checksum(&writer);
    }
    flush(&writer);
    free(writer.stage);
    free(writer.scratch);
    if (writer.rc != ECS_OK) {
        return ecs__fail(world, writer.rc, "what takes the snapshot stopped it");
    }
    return ECS_OK;
}
