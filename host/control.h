/* The control socket: a unix socket of mode 0600 on which people and tools ask a running host. One
 * JSON object a line in, one a line out.
 *
 *   uv callback ─▶ a client's buffer      control_serve, between two steps ─▶ answer ─▶ uv_write
 *
 * Callbacks only fill buffers; an answer is made by whoever serves, between two steps. At most
 * CONTROL_CLIENTS at a time, a request has at most CONTROL_LINE_BYTES, and a client that neither
 * asks nor reads for CONTROL_IDLE_NS is closed: nothing of a client can hold the loop. Thread: the
 * host's. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "unix_socket.h"

enum { CONTROL_CLIENTS = 8, CONTROL_LINE_BYTES = 4096 };
#define CONTROL_IDLE_NS ((uint64_t)10000000000)

struct control;

typedef struct {
    struct control *owner;
    uv_pipe_t pipe;
    uv_write_t writing;
    char in[CONTROL_LINE_BYTES];
    uint32_t in_count;
    char *out;         /* of the write under way */
    bool used;         /* from accept until its close callback */
    bool closing;      /* uv_close was called */
    bool last;         /* close it after the write */
    bool ended;        /* it asks nothing more */
    bool too_long;     /* its line does not end */
    bool asked;        /* its line was, and has no answer yet */
    uint64_t since_ns; /* of its last sign of life, real time */
} control_client_t;

typedef struct control {
    uv_pipe_t listener;
    bool open;
    unix_file_t file;
    control_client_t clients[CONTROL_CLIENTS];
    uint64_t refused;
} control_t;

/* Answers a request: a line without its end, in memory of malloc, or NULL when it cannot be
 * answered now (it is asked again). *last: the client is closed after it. */
typedef char *(*control_answer_t)(void *context, const char *line, size_t bytes, bool *last);

/* Listens at `path`. The socket file of a host that is dead is replaced. 0, or -1 with the reason
 * in `why`: somebody listens there, the path is too long, another file is in the way. */
int control_open(control_t *control, uv_loop_t *loop, const char *path, char *why,
                 size_t why_bytes);
/* Answers what has come. Outside of steps. */
void control_serve(control_t *control, control_answer_t answer, void *context);
/* Answers whoever waits for an answer with a line of JSON, for who was to make it is gone: else it
 * would be asked, and done, once more. Outside of steps. */
void control_give_up(control_t *control, const char *line);
/* Closes everything and removes the socket file. The loop has to run after that. Accepts a zeroed
 * one. */
void control_close(control_t *control);

#endif
