/* Connections: one stream over TCP or a unix socket, on libuv.
 *
 *   peer ──▶ callback ──▶ buffer ──▶ the read that waits       one; another is refused, "busy"
 *   peer ◀── kernel ◀── the write that is under way ◀── queue  FIFO, NET_MAX_WAITING
 *
 * A stream's callbacks only move bytes and enqueue it; what waits is settled in the settle stage of
 * the next step. Received bytes wait in a buffer; with STREAM_BUFFER_BYTES in it reading stops and
 * the kernel holds the peer back. Writes go straight to the kernel, never through libuv's queue, so
 * that one of which nothing was sent can be taken back. A stream is closed when its Lua value is
 * collected, at the latest. Thread: the host's. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net.h"

#include <sys/un.h>

enum {
    STREAM_BUFFER_BYTES = 65536,
    STREAM_DELIMITER_BYTES = 64, /* spare, so that a limit of the whole buffer can be told */
    STREAM_MAX_WRITE_BYTES = 1 << 20,
    STREAM_NAME_BYTES = 64,
    STREAM_NOTES = 2
};

typedef struct stream {
    rt_event_t event;             /* queued while `queued` */
    struct stream *prev, *next;   /* of the runtime */
    char kept[STREAM_NAME_BYTES]; /* outlives its VM under this name; "": closed with it */
    double note[STREAM_NOTES];    /* what its user left for the next VM */
    bool held;                    /* a Lua value, an operation or the keeper has a reference */
    bool orphan; /* its Lua value was collected: it is closed when its operations have ended */
    uint32_t op_count; /* that read, write or shut it down, started or not */
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    uv_connect_t connecting;
    rt_t *rt;
    bool is_unix, queued, open, reading, closing;
    int refs;  /* the Lua value, and libuv until its close callback */
    int error; /* libuv's, of reading and connecting; UV_EOF at its end */
    bool connect_done;
    op_t *connect_op, *read_op;

    char *in; /* received, from in_at to in_end */
    uint32_t in_at, in_end, in_capacity;
    uint32_t scanned; /* of these, how many hold no delimiter for read_op */

    op_queue_t writers; /* the first is under way while `writing` */
    bool writing;
    bool torn;       /* closed because a write was cancelled half-way */
    const char *out; /* bytes under way: the first writer's text, or out_copy */
    size_t out_bytes, out_sent;
    char *out_copy; /* of stream_send; outlives the VM */
    int write_error;
    bool shut; /* no more writes */
    bool shut_pending, shut_done;
    uv_shutdown_t shutting;
    uv_poll_t writable; /* on a copy of the descriptor: tells when the kernel takes more */
    bool has_writable, polling;
    int writable_fd;
} stream_t;

#define STREAM_CLASS "stator.net.stream"
#define STREAM_MAGIC ((uint64_t)0xd3185c0e96f24b7a) /* see future_of in runtime.h */

/* Its Lua value. */
typedef struct {
    uint64_t magic;
    stream_t *stream; /* NULL once it was given back */
} stream_box_t;

/* Operations; `subject` is the stream. CONNECT makes its own: `data` is a sockaddr_storage inside
 * the string that `ref` refers to. READ: `number` is the exact count, 0 for what there is. PEEK:
 * `number` is the least count; all that there is, and it stays there. LINE, UNTIL: up to a
 * delimiter, which is taken away; at most `number` bytes before it; UNTIL: `data` and `bytes` are
 * the delimiter. WRITE: `data` and `bytes` are the text, `ref` refers to it. */
extern const op_io_t STREAM_CONNECT, STREAM_READ, STREAM_PEEK, STREAM_LINE, STREAM_UNTIL,
    STREAM_WRITE, STREAM_SHUTDOWN;

/* A stream with two references: the caller's and libuv's. */
stream_t *stream_new(rt_t *rt, bool is_unix);
/* It is connected: reading may start. */
void stream_opened(stream_t *stream);
/* Pushes a stream as its Lua value, which takes over the reference. [-0 +1 m] */
void stream_push(lua_State *L, stream_t *stream);
/* The stream is the subject of a fresh operation; `ended` of its types tells when no more. So the
 * Lua value need not be kept for them. */
void stream_use(stream_t *stream, op_t *op);
void stream_op_ended(rt_t *rt, op_t *op);
/* Its Lua value is gone: closes it, once its operations have ended. */
void stream_collected(stream_t *stream);
/* Takes the first bytes of what was received away. */
void stream_skip(stream_t *stream, uint32_t bytes);
/* The open stream that is kept under a name, or NULL. */
stream_t *stream_find(const rt_t *rt, const char *name);
/* Its own address or the peer's. 0 or libuv's error. */
int stream_address(const stream_t *stream, bool peer, struct sockaddr_storage *out);
/* Closes; what waits fails with code "closed" in the next settle stage. Twice is fine. */
void stream_close(stream_t *stream);
/* Gives up the reference of its holder. */
void stream_release(stream_t *stream);
/* Gives up one of libuv or of the event queue. */
void stream_unref(stream_t *stream);
void stream_enqueue(stream_t *stream);
void stream_start_reading(stream_t *stream);
/* Sends without waiting: what the kernel does not take at once is copied and goes out as it can.
 * 0 or libuv's error, UV_EBUSY while something else is under way. */
int stream_send(stream_t *stream, const char *data, size_t bytes);

/* net_stream_write.c */
/* Ends writes that are through, begins the next. */
void stream_settle_writes(rt_t *rt, stream_t *stream);
/* Closes what the writing side has open. */
void stream_close_writing(stream_t *stream);

/* The VM is gone. */
void streams_detach(rt_t *rt);

#endif
