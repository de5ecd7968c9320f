/* One history: two worlds and the model side by side, compared after each apply. Everything random
 * comes from the seed and the number of the operation, so that operations can be left out without
 * changing the others. A difference prints what happened last and ends the process. */
#ifndef SESSION_H
#define SESSION_H

#include "model_schema.h"

enum {
    SESSION_WORLDS = MODEL_WORLDS,
    SESSION_QUERIES = 16,
    SESSION_MARKS = 8,
    SESSION_NAMES = 10,
    SESSION_LOG = 20,
    SESSION_LINE = 160
};

extern const char *const SESSION_NAME[SESSION_NAMES]; /* of entities; the last is the longest */

typedef struct {
    ecs_query_desc_t desc;
    ecs_query_t *handle[SESSION_WORLDS];
    /* with `changed` or `added`: tick at which the last whole walk began, and the one before; rows
     * that the last one gave */
    uint64_t since[SESSION_WORLDS], from[SESSION_WORLDS];
    uint32_t rows[SESSION_WORLDS];
} session_query_t;

typedef struct {
    ecs_mark_t mark[SESSION_WORLDS];
    uint64_t batch; /* as the model counts them */
    uint32_t at;
} session_mark_t;

typedef struct {
    uint64_t seed, random;
    uint32_t at; /* the operation in hand */
    bool quiet;
    uint32_t most_entities, round_length, crowd; /* crowd: spawned first of all */
    uint32_t component[MODEL_COMPONENTS];        /* to draw from: all, or some over and over */
    uint32_t chunk_rows[SESSION_WORLDS];
    ecs_world_t *world[SESSION_WORLDS];
    model_t *model;
    uint32_t epoch;
    bool fresh[SESSION_WORLDS];        /* made since the last apply: nothing was sent there */
    uint64_t restored[SESSION_WORLDS]; /* tick of the snapshot that the world came from, or 0 */
    session_query_t query[SESSION_QUERIES];
    uint32_t query_count;
    session_mark_t mark[SESSION_MARKS];
    uint32_t mark_count;
    bool before[MODEL_SHAPES][MODEL_SHAPES]; /* order in which queries give archetypes */
    uint64_t hash[SESSION_WORLDS], signature;
    char log[SESSION_LOG][SESSION_LINE];
    uint32_t log_count;
} session_t;

/* `model` is borrowed, and reset. */
void session_open(session_t *session, model_t *model, uint64_t seed, uint32_t chunk_rows);
void session_close(session_t *session);
/* Makes world `at` anew, without entities, with the components, queries and observers that the
 * session has: for operations that restore a world. Watches are the caller's. */
void session_world_open(session_t *session, uint32_t at);

/* A number below `limit`, not 0. */
uint32_t session_below(session_t *session, uint32_t limit);
void session_log(session_t *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_fail(session_t *session, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Prints the last operations, and where it is. */
void session_show(const session_t *session, const char *what);
/* Fails when the numbers differ; NaN is like NaN. */
void session_same(session_t *session, const char *what, double got, double want);
void session_phase(session_t *session, ecs_phase_t phase);

/* Gives random fields of a value random contents. */
void session_scramble(session_t *session, uint32_t component, uint64_t mask, char *value);
void session_scramble_fields(session_t *session, const model_component_t *type, uint64_t mask,
                             char *value);

/* Walks a query without `changed` and `added`, and counts its rows. */
void session_walk_query(session_t *session, uint32_t world, const session_query_t *query);
/* Whether it has `changed` or `added`, and gives chunks with news only. */
bool session_has_news(const session_query_t *query);
/* Walks such a query, a second time to see that nothing is new by then; or only to its first chunk,
 * which changes nothing. */
void session_walk_news(session_t *session, uint32_t world, session_query_t *query, bool whole);
void session_compare_news(session_t *session);
/* Who wrote last to some components of some entities. */
void session_compare_provenance(session_t *session);
void session_compare_by(session_t *session, uint32_t world, const ecs_batch_result_t *got,
                        uint32_t result);

/* Compares everything that can be read. */
void session_compare(session_t *session);
void session_compare_apply(session_t *session);
/* The events that the last apply has sent. */
void session_compare_sent(session_t *session);
/* After an apply: archetypes without rows may have been dropped, and will come back as the last. */
void session_forget_order(session_t *s);
void session_compare_watches(session_t *session);
/* Walks a query in the write phase and changes some rows of its `write` columns everywhere. */
void session_write_query(session_t *session, const session_query_t *query);

#endif
