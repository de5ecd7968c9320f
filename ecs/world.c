#include <stdlib.h>
#include <string.h>

#include "internal.h"

const char *ecs_error_name(int error) {
    switch (error) {
#define ECS_ERROR_NAME(name, value, text)                                                          \
    case name: return #name;
        ECS_ERRORS(ECS_ERROR_NAME)
#undef ECS_ERROR_NAME
    default: return "ECS_E_?";
    }
}

const char *ecs_error_text(int error) {
    switch (error) {
#define ECS_ERROR_TEXT(name, value, text)                                                          \
    case name: return text;
        ECS_ERRORS(ECS_ERROR_TEXT)
#undef ECS_ERROR_TEXT
    default: return "unknown error";
    }
}

int ecs__fail(ecs_world_t *world, int error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(world->error, sizeof world->error, format, args);
    va_end(args);
    return world->error_code = error;
}

int ecs__oom(ecs_world_t *world) { return ecs__fail(world, ECS_E_MEMORY, "out of memory"); }

int ecs__guard(ecs_world_t *world, uint32_t phases) {
    static const char *const names[] = {"setup", "idle", "run", "apply", "write", "react"};
    if (!pthread_equal(world->owner, pthread_self())) {
        return ECS_E_THREAD; /* the text belongs to the owner: not touched from here */
    }
    if ((phases >> world->phase & 1u) == 0) {
        return ecs__fail(world, ECS_E_PHASE, "not allowed in the %s phase", names[world->phase]);
    }
    return ECS_OK;
}

int ecs_world_create(ecs_world_t **out, const ecs_options_t *options) {
    ecs_options_t chosen = options != NULL ? *options : (ecs_options_t){0};
    uint32_t rows = chosen.chunk_rows == 0 ? 4096 : chosen.chunk_rows;
    *out = NULL;
    if (rows < 16 || rows > 4096) { return ECS_E_INVALID; }
    if (chosen.max_entities > ECS__MAX_PAGES * ECS__PAGE_ROWS - 1u) { return ECS_E_INVALID; }
    ecs_world_t *world = ecs__calloc(1, sizeof *world);
    if (world == NULL) { return ECS_E_MEMORY; }
    world->owner = pthread_self();
    world->phase = ECS_PHASE_SETUP;
    world->max_chunk_rows = rows;
    world->shared.epoch = 1;
    world->shared.tick = 1;
    ecs__recorder_set(world);
    int rc = ecs__memory_init(&world->memory, &chosen);
    if (rc == ECS_OK) { rc = ecs__entity_init(world, chosen.max_entities); }
    if (rc == ECS_OK) { rc = ecs__archetype_init(world); }
    if (rc != ECS_OK) {
        ecs_world_destroy(world);
        return rc;
    }
    *out = world;
    return ECS_OK;
}

void ecs_world_destroy(ecs_world_t *world) {
    if (world == NULL) { return; }
    ecs__query_fini(world);
    ecs__watch_fini(world);
    free(world->events);
    free(world->sent);
    free(world->rooms);
    ecs__ages_fini(world);
    ecs__stream_fini(world);
    free(world->spare.at);
    ecs__archetype_fini(world);
    ecs__entity_fini(world);
    ecs__sparse_fini(world);
    ecs__schema_fini(world);
    ecs__memory_fini(&world->memory);
    free(world->touched);
    free(world->growing);
    free(world->bulks);
    free(world->results);
    free(world->next_results);
    free(world);
}

int ecs_phase_set(ecs_world_t *world, ecs_phase_t phase) {
    if (!pthread_equal(world->owner, pthread_self())) { return ECS_E_THREAD; }
    if (phase > ECS_PHASE_REACT) {
        return ecs__fail(world, ECS_E_INVALID, "no phase %d", (int)phase);
    }
    if (phase == ECS_PHASE_SETUP && world->shared.alive > 0) {
        return ecs__fail(world, ECS_E_PHASE, "setup is over: the world has entities");
    }
    if (phase != ECS_PHASE_WRITE) {
        ecs__window_close(world);
        ecs__ages_of_writer(world);
    }
    world->phase = phase;
    world->shared.writing = phase == ECS_PHASE_WRITE;
    ecs__recorder_set(world);
    return ECS_OK;
}

ecs_phase_t ecs_phase(const ecs_world_t *world) { return world->phase; }

void ecs_epoch_bump(ecs_world_t *world) { world->shared.epoch++; }

uint32_t ecs_in_core(const ecs_world_t *world) { return world->in_core; }

void ecs_interrupt(ecs_world_t *world, void (*leave)(void *context), void *context) {
    world->leave_context = context;
    world->on_leave = leave;
}

void ecs__left(ecs_world_t *world) {
    void (*leave)(void *context) = world->on_leave;
    world->on_leave = NULL;
    leave(world->leave_context);
}

const ecs_shared_t *ecs_shared(const ecs_world_t *world) { return &world->shared; }

const char *ecs_last_error(const ecs_world_t *world) { return world->error; }
