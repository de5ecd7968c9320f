/* Writes JSON piece by piece into a sink. The caller sets commas and brackets. */
#ifndef ECS_JSON_WRITE_H
#define ECS_JSON_WRITE_H

#include "ecs.h"

enum { ECS__JSON_STAGE_BYTES = 4096 };

typedef struct {
    ecs_sink_t sink;
    void *context;
    size_t staged;
    int rc; /* of the sink; nothing is written after an error */
    char stage[ECS__JSON_STAGE_BYTES];
} ecs__json_t;

/* As it is. */
void ecs__json_raw(ecs__json_t *json, const char *text);
/* A string: quoted, escaped, valid UTF-8 whatever the bytes are. Ends at a 0. */
void ecs__json_text(ecs__json_t *json, const char *bytes, size_t most);
/* The shortest number that reads back as the same double; "nan", "inf" or "-inf" quoted. */
void ecs__json_double(ecs__json_t *json, double value);
/* The same for a float. */
void ecs__json_float(ecs__json_t *json, float value);
/* An id in all its digits; what is none as a number. */
void ecs__json_id(ecs__json_t *json, ecs_id_t id);
/* A field of a component's value: arrays in brackets, text as a string. */
void ecs__json_field(ecs__json_t *json, const ecs_world_t *world, const ecs_field_t *field,
                     const char *component);
/* A whole value: an object of its fields by name. */
void ecs__json_value(ecs__json_t *json, const ecs_world_t *world, uint32_t component,
                     const char *value);
void ecs__json_flush(ecs__json_t *json);

#endif
