/* What a random history is made of. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "session.h"

typedef struct {
    const char *name;
    uint32_t weight;
    void (*run)(session_t *session);
} operation_t;

extern const operation_t OPERATIONS[];
extern const uint32_t OPERATION_COUNT;

/* One operation, drawn by weight. */
void operation_run(session_t *session, uint32_t number);
/* Applies what was recorded and compares everything. */
void operation_finish(session_t *session);
/* Calls that this phase, or no open batch, must refuse. */
void operation_misuse(session_t *session);

#endif
