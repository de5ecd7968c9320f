/* TCP as operations: connections and listeners on libuv.
 *
 * A connection's callbacks only fill its buffers and enqueue it; what waits is settled in the
 * settle stage of the next step. One read and one write may wait at a time. Received bytes wait in
 * a buffer of at most TCP_BUFFER_BYTES; when it is full, reading stops and TCP holds the peer back.
 * Thread: the host's. A connection is closed when its Lua value is collected, at the latest. */
#ifndef TCP_H
#define TCP_H

#include "error.h"
#include "runtime.h"

enum {
    TCP_BUFFER_BYTES = 65536,
    TCP_BACKLOG = 128,
    TCP_ACCEPT_QUEUE = 16,
    TCP_MAX_WRITE_BYTES = 1 << 20,
    TCP_NAME_BYTES = 64,
    TCP_NOTES = 2
};

typedef struct tcp_conn {
    rt_event_t event;             /* queued while `queued` */
    struct tcp_conn *prev, *next; /* of the runtime */
    char kept[TCP_NAME_BYTES];    /* outlives its VM under this name; "": closed with it */
    double note[TCP_NOTES];       /* what its user left for the next VM */
    bool held;                    /* a Lua value, an operation or the keeper has a reference */
    uv_tcp_t handle;
    uv_connect_t connecting;
    uv_getaddrinfo_t resolving;
    uv_write_t writing;
    rt_t *rt;
    bool queued, open, reading, closing, resolver_busy;
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

typedef struct tcp_listener {
    rt_event_t event;
    struct tcp_listener *prev, *next;
    bool held;
    uv_tcp_t handle;
    rt_t *rt;
    bool queued, closing;
    int refs;
    op_t *accept_op;
    tcp_conn_t *waiting[TCP_ACCEPT_QUEUE]; /* accepted and not yet taken */
    uint32_t waiting_count;
    uint32_t pending; /* the backlog has more, but the queue is full */
} tcp_listener_t;

#define TCP_CONN_CLASS "stator.tcp.connection"
#define TCP_LISTENER_CLASS "stator.tcp.listener"

/* Operations; `subject` is the connection or listener. CONNECT makes its own: `data` is the host's
 * name, kept alive by the caller, `number` the port. READ: `number` is the exact count, 0 for what
 * there is. PEEK: `number` is the least count; all that there is, and it stays there. WRITE: `ref`
 * refers to the text. */
extern const op_io_t TCP_CONNECT, TCP_READ, TCP_PEEK, TCP_WRITE, TCP_ACCEPT;

/* Pushes a connection as its Lua value, which takes over the reference. [-0 +1 m] */
void tcp_conn_push(lua_State *L, tcp_conn_t *conn);
/* Takes the first bytes of what was received away. */
void tcp_conn_skip(tcp_conn_t *conn, uint32_t bytes);
/* The open connection that is kept under a name, or NULL. */
tcp_conn_t *tcp_conn_find(const rt_t *rt, const char *name);
/* The VM is gone: connections that are kept go on without their operations, all else closes. */
void tcp_detach(rt_t *rt);
/* Closes; what waits fails with code "closed" in the next settle stage. Twice is fine. */
void tcp_conn_close(tcp_conn_t *conn);
/* Gives up one reference. */
void tcp_conn_release(tcp_conn_t *conn);
void tcp_conn_enqueue(tcp_conn_t *conn);
void tcp_conn_start_reading(tcp_conn_t *conn);
/* Hands the system what it takes at once. 0 or libuv's error. */
int tcp_send_now(tcp_conn_t *conn, const char *data, size_t bytes, size_t *sent);
/* Lets libuv send a copy of the rest; conn->out is NULL again when it has. 0 or libuv's error. */
int tcp_send_rest(tcp_conn_t *conn, const char *data, size_t bytes);

/* Listens; *out has two references. On an error the listener is closed. 0 or libuv's error. */
int tcp_listener_open(rt_t *rt, const struct sockaddr *where, tcp_listener_t **out);
void tcp_listener_close(tcp_listener_t *listener);
void tcp_listener_release(tcp_listener_t *listener);
void tcp_listener_enqueue(tcp_listener_t *listener);

/* Pushes the error value of a libuv error. [-0 +1 m] */
void tcp_push_uv_error(lua_State *L, int error);

#endif
