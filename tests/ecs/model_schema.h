/* The components of the model's world, laid out by the C compiler and not by the core. */
#ifndef MODEL_SCHEMA_H
#define MODEL_SCHEMA_H

#include "model.h"

enum {
    MODEL_NUM,
    MODEL_SMALL,
    MODEL_TEXT,
    MODEL_ALARM, /* sparse */
    MODEL_REF,
    MODEL_TAG_A,
    MODEL_TAG_B,
    MODEL_BIG,
    MODEL_ONE,
    MODEL_MARK /* sparse */
};

enum { MODEL_NOTE, MODEL_SIGNAL }; /* structs */

#define MODEL_SPARSE (1u << MODEL_ALARM | 1u << MODEL_MARK)

static inline bool model_is_sparse(uint32_t component) {
    return (MODEL_SPARSE >> component & 1u) != 0;
}
static inline uint32_t model_shape(uint32_t set) { return (set & 7u) | (set >> 1 & 0xf8u); }
/* The set without sparse components that is the shape. */
static inline uint32_t model_shape_set(uint32_t shape) {
    return (shape & 7u) | (shape & 0xf8u) << 1;
}

typedef struct {
    double a, b;
    int32_t n;
} model_num_t;

typedef struct {
    uint8_t u;
    int8_t i;
    int16_t s;
    uint16_t t;
    bool on;
} model_small_t;

typedef struct {
    char label[12];
    float f[3];
    uint32_t w;
} model_text_t;

typedef struct {
    double level;
    uint8_t kind; /* before a gap */
} model_alarm_t;

typedef struct {
    ecs_id_t other;
    int32_t mode; /* Mode: idle, auto, hand */
} model_ref_t;

typedef struct {
    float big[250];
    double end;
} model_big_t;

typedef struct {
    bool x;
    double y; /* behind a gap */
} model_one_t;

typedef struct {
    uint8_t n;
} model_note_t;

typedef struct {
    double level;
    char text[6]; /* before a gap */
    ecs_id_t from;
} model_signal_t;

#endif
