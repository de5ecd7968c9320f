/* The tree of entities: parent, ordered children, names that are unique among siblings. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { NAMES_MIN = 64 };

ecs__node_t *ecs__node(const ecs_world_t *world, uint32_t index) {
    ecs__node_t *nodes = world->pages[index / ECS__PAGE_ROWS]->nodes;
    return nodes == NULL ? NULL : &nodes[index % ECS__PAGE_ROWS];
}

static ecs__node_t *node_make(ecs_world_t *world, uint32_t index) {
    ecs__page_t *page = world->pages[index / ECS__PAGE_ROWS];
    if (page->nodes == NULL) { page->nodes = ecs__calloc(ECS__PAGE_ROWS, sizeof(ecs__node_t)); }
    return page->nodes == NULL ? NULL : &page->nodes[index % ECS__PAGE_ROWS];
}

static uint32_t name_hash(uint32_t parent, const char *name, size_t length) {
    uint32_t hash = 2166136261u ^ parent;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    }
    return hash ^ hash >> 15;
}

/* Entry of a name, or the place where it would go. */
static ecs__name_t *name_find(const ecs_world_t *world, uint32_t parent, const char *name,
                              size_t length) {
    uint32_t mask = world->name_capacity - 1;
    ecs__name_t *gap = NULL;
    for (uint32_t at = name_hash(parent, name, length) & mask;; at = (at + 1) & mask) {
        ecs__name_t *entry = &world->names[at];
        if (entry->index == 0) { return gap != NULL ? gap : entry; }
        if (entry->index == ECS__NONE) {
            if (gap == NULL) { gap = entry; }
        } else if (entry->parent == parent && strncmp(entry->name, name, length) == 0 &&
                   entry->name[length] == '\0') {
            return entry;
        }
    }
}

static int names_grow(ecs_world_t *world) {
    if ((world->name_used + 1) * 2 < world->name_capacity) { return ECS_OK; }
    ecs__name_t *old = world->names;
    uint32_t old_capacity = world->name_capacity, capacity = NAMES_MIN;
    while (capacity < world->name_count * 4) {
        capacity *= 2;
    }
    ecs__name_t *wide = ecs__calloc(capacity, sizeof *wide);
    if (wide == NULL) { return ecs__oom(world); }
    world->names = wide;
    world->name_capacity = capacity;
    world->name_used = world->name_count;
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].index == 0 || old[i].index == ECS__NONE) { continue; }
        *name_find(world, old[i].parent, old[i].name, strlen(old[i].name)) = old[i];
    }
    free(old);
    return ECS_OK;
}

uint32_t ecs__child_named(const ecs_world_t *world, uint32_t parent, const char *name,
                          size_t length) {
    if (world->name_capacity == 0 || length == 0 || length >= ECS_NAME_BYTES) { return 0; }
    const ecs__name_t *entry = name_find(world, parent, name, length);
    return entry->index == ECS__NONE ? 0 : entry->index;
}

static int name_add(ecs_world_t *world, uint32_t index, uint32_t parent, const char *name) {
    size_t length = strlen(name);
    if (ecs__child_named(world, parent, name, length) != 0) {
        return ecs__fail(world, ECS_E_EXISTS, "an entity \"%s\" is there already", name);
    }
    char *copy = ecs__strdup(name);
    if (copy == NULL || names_grow(world) != ECS_OK) {
        free(copy);
        return ecs__oom(world);
    }
    ecs__node(world, index)->name = copy;
    ecs__name_t *entry = name_find(world, parent, name, length);
    if (entry->index == 0) { world->name_used++; }
    world->name_count++;
    entry->parent = parent;
    entry->index = index + 1;
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    return ECS_OK;
}

int ecs__node_link(ecs_world_t *world, uint32_t index, uint32_t parent, const char *name) {
    ecs__node_t *node = node_make(world, index);
    ecs__node_t *above = parent == 0 ? node : node_make(world, parent - 1);
    if (node == NULL || above == NULL) { return ecs__oom(world); }
    int rc = name[0] != '\0' ? name_add(world, index, parent, name) : ECS_OK;
    if (rc != ECS_OK || parent == 0) { return rc; }
    node->parent = parent;
    node->prev = above->last;
    if (above->last != 0) {
        ecs__node(world, above->last - 1)->next = index + 1;
    } else {
        above->first = index + 1;
    }
    above->last = index + 1;
    return ECS_OK;
}

void ecs__node_unlink(ecs_world_t *world, uint32_t index) {
    ecs__node_t *node = ecs__node(world, index);
    if (node == NULL) { return; }
    if (node->name != NULL) {
        name_find(world, node->parent, node->name, strlen(node->name))->index = ECS__NONE;
        world->name_count--;
        free(node->name);
    }
    if (node->parent != 0) {
        ecs__node_t *above = ecs__node(world, node->parent - 1);
        if (node->prev != 0) { ecs__node(world, node->prev - 1)->next = node->next; }
        if (node->next != 0) { ecs__node(world, node->next - 1)->prev = node->prev; }
        if (above->first == index + 1) { above->first = node->next; }
        if (above->last == index + 1) { above->last = node->prev; }
    }
    *node = (ecs__node_t){0};
}

static const ecs__node_t *node_of(const ecs_world_t *world, ecs_id_t id) {
    return ecs_alive(world, id) ? ecs__node(world, ecs__index(id)) : NULL;
}

static ecs_id_t id_of(const ecs_world_t *world, uint32_t link) {
    return link == 0 ? 0 : ecs__id(link - 1, ecs__record_at(world, link - 1)->generation);
}

ecs_id_t ecs_parent(const ecs_world_t *world, ecs_id_t id) {
    const ecs__node_t *node = node_of(world, id);
    return node == NULL ? 0 : id_of(world, node->parent);
}

ecs_id_t ecs_child_first(const ecs_world_t *world, ecs_id_t id) {
    const ecs__node_t *node = node_of(world, id);
    return node == NULL ? 0 : id_of(world, node->first);
}

ecs_id_t ecs_child_next(const ecs_world_t *world, ecs_id_t id) {
    const ecs__node_t *node = node_of(world, id);
    return node == NULL ? 0 : id_of(world, node->next);
}

const char *ecs_name(const ecs_world_t *world, ecs_id_t id) {
    const ecs__node_t *node = node_of(world, id);
    return node == NULL ? NULL : node->name;
}

ecs_id_t ecs_lookup(const ecs_world_t *world, const char *path) {
    uint32_t at = 0;
    do {
        const char *end = strchr(path, '/');
        size_t length = end != NULL ? (size_t)(end - path) : strlen(path);
        at = ecs__child_named(world, at, path, length);
        path = end != NULL ? end + 1 : NULL;
    } while (at != 0 && path != NULL);
    return at != 0 && ecs__record_alive(ecs__record_at(world, at - 1)) ? id_of(world, at) : 0;
}
