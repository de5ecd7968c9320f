/* Listeners over TCP or a unix socket.
 *
 *   kernel's backlog ──▶ LISTENER_QUEUE accepted connections ──▶ accepts that wait, FIFO
 *
 * With the queue full nothing more is accepted, and the kernel holds clients back. The file of a
 * unix socket is made with its mode, takes the place of one that nobody listens on any more, and
 * goes when the listener closes, if it is still the same. Thread: the host's. */
#ifndef LISTENER_H
#define LISTENER_H

#include "net_stream.h"
#include "unix_socket.h"

enum { LISTENER_BACKLOG = 128, LISTENER_QUEUE = 16 };

typedef struct listener {
    rt_event_t event; /* queued while `queued` */
    struct listener *prev, *next;
    bool held; /* a Lua value has a reference */
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    rt_t *rt;
    bool is_unix, queued, closing;
    int refs; /* the Lua value, and libuv until its close callback */
    int port; /* TCP */
    op_queue_t acceptors;
    stream_t *waiting[LISTENER_QUEUE]; /* accepted and not yet taken */
    uint32_t waiting_count;
    bool pending;     /* the backlog has more, but the queue is full */
    unix_file_t file; /* of a unix socket */
} listener_t;

#define LISTENER_CLASS "stator.net.listener"

/* `subject` is the listener. */
extern const op_io_t LISTENER_ACCEPT;

/* Listens; *out has two references. 0 or libuv's error. */
int listener_open(rt_t *rt, const struct sockaddr *where, int backlog, listener_t **out);
/* The same on a unix socket whose file has this mode; errors as of unix_socket_bind. */
int listener_open_unix(rt_t *rt, const char *path, unsigned mode, int backlog, listener_t **out);
/* Closes; what waits fails with code "closed" in the next settle stage. Twice is fine. */
void listener_close(listener_t *listener);
void listener_release(listener_t *listener);
void listener_enqueue(listener_t *listener);
/* Gives a connection that nobody has used back, with its reference: the next accept gets it. */
void listener_put_back(listener_t *listener, stream_t *stream);

/* The VM is gone. */
void listeners_detach(rt_t *rt);

#endif
