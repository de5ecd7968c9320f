/* TCP as operations: connections and listeners on libuv.
 *
 * A connection's callbacks only fill its buffers and enqueue it; what waits is settled in the
 * settle stage of the next step. One read and one write may wait at a time. Received bytes wait in
 * a buffer of at most TCP_BUFFER_BYTES; when it is full, reading stops and TCP holds the peer back.
 * Thread: the host's. A connection is closed when its Lua value is collected, at the latest. */
#ifndef TCP_H
#define TCP_H

#include "runtime.h"

enum {
    TCP_BUFFER_BYTES = 65536,
    TCP_BACKLOG = 16,
    TCP_ACCEPT_QUEUE = 16,
    TCP_MAX_WRITE_BYTES = 1 << 20
};

typedef struct {
    rt_event_t event; /* queued while `queued` */
    uv_tcp_t handle;
    uv_connect_t connecting;
    uv_getaddrinfo_t resolving;
    uv_write_t writing;
    rt_t *rt;
    bool queued, open, reading, closing, owned, resolver_busy, connect_busy;
    int refs; /* the Lua value, and libuv until its close callback */
    int port;
    int error; /* libuv's, of the connection; UV_EOF at its end */
    int write_error;
    bool write_done, connect_done;
    op_t *connect_op, *read_op, *write_op;
    char *out; /* bytes of the write that is under way */
    char *in;  /* received, from in_at to in_end */
    uint32_t in_at, in_end;
} tcp_conn_t;

typedef struct {
    rt_event_t event;
    uv_tcp_t handle;
    rt_t *rt;
    bool queued, closing;
    int refs;
    op_t *accept_op;
    tcp_conn_t *waiting[TCP_ACCEPT_QUEUE]; /* accepted and not yet taken */
    uint32_t waiting_count;
    uint32_t pending; /* the backlog has more, but the queue is full */
} tcp_listener_t;

#endif
