/* The Lua face is api_net.c. */
#include "listener.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void listener_unref(listener_t *listener) {
    if (--listener->refs > 0) { return; }
    NET_LIST_REMOVE(listener->rt->listeners, listener);
    free(listener);
}

void listener_release(listener_t *listener) {
    listener->held = false;
    listener_unref(listener);
}

static void on_closed(uv_handle_t *handle) {
    listener_t *listener = handle->data;
    listener->rt->live_handles--;
    listener_unref(listener);
}

void listener_close(listener_t *listener) {
    if (listener->closing) { return; }
    listener->closing = true;
    for (uint32_t i = 0; i < listener->waiting_count; i++) {
        stream_close(listener->waiting[i]);
        stream_release(listener->waiting[i]);
    }
    listener->waiting_count = 0;
    unix_socket_remove(&listener->file);
    uv_close(&listener->handle.any, on_closed);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void accept_into_queue(listener_t *listener) {
    stream_t *stream = stream_new(listener->rt, listener->is_unix);
    if (uv_accept(&listener->handle.stream, &stream->handle.stream) != 0) {
        stream_close(stream);
        stream_release(stream);
        return;
    }
    stream_opened(stream);
    listener->waiting[listener->waiting_count++] = stream;
}

static stream_t *take_first(listener_t *listener) {
    stream_t *stream = listener->waiting[0];
    listener->waiting_count--;
    memmove(listener->waiting, listener->waiting + 1,
            listener->waiting_count * sizeof listener->waiting[0]);
    if (listener->pending) {
        listener->pending = false;
        accept_into_queue(listener);
    }
    return stream;
}

static void settle_accepts(rt_t *rt, listener_t *listener) {
    while (listener->acceptors.first != NULL) {
        op_t *op = listener->acceptors.first;
        if (listener->waiting_count == 0 && !listener->closing) { return; }
        net_queue_remove(&listener->acceptors, op);
        if (listener->closing) {
            net_fail_with(rt, op, "closed", "the listener was closed");
            continue;
        }
        stream_t *stream = take_first(listener);
        stream_start_reading(stream);
        stream_push(rt->vm->L, stream);
        op_finish(rt, op, rt->vm->L, true, 1);
    }
}

static void listener_settle(rt_t *rt, rt_event_t *event) {
    listener_t *listener = (listener_t *)(void *)event;
    listener->queued = false;
    settle_accepts(rt, listener);
    listener_unref(listener);
}

void listener_enqueue(listener_t *listener) {
    if (listener->queued) { return; }
    listener->queued = true;
    listener->refs++;
    listener->event.settle = listener_settle;
    rt_enqueue(listener->rt, &listener->event);
}

static void on_connection(uv_stream_t *handle, int status) {
    listener_t *listener = handle->data;
    if (status != 0) { return; }
    if (listener->waiting_count == LISTENER_QUEUE) {
        listener->pending = true; /* not accepted: libuv waits until it is */
        return;
    }
    accept_into_queue(listener);
    listener_enqueue(listener);
}

void listener_put_back(listener_t *listener, stream_t *stream) {
    bool room = !listener->closing && !stream->closing && listener->waiting_count < LISTENER_QUEUE;
    if (!room) {
        stream_close(stream);
        stream_release(stream);
        return;
    }
    memmove(listener->waiting + 1, listener->waiting,
            listener->waiting_count * sizeof listener->waiting[0]);
    listener->waiting[0] = stream;
    listener->waiting_count++;
    listener_enqueue(listener);
}

static void accept_start(rt_t *rt, op_t *op) {
    listener_t *listener = op->io.subject;
    if (listener->acceptors.count >= NET_MAX_WAITING) {
        net_fail_with(rt, op, "busy", "64 accepts wait on this listener already");
        return;
    }
    net_queue_push(&listener->acceptors, op);
    settle_accepts(rt, listener);
}

static void accept_abort(rt_t *rt, op_t *op) {
    listener_t *listener = op->io.subject;
    (void)rt;
    net_queue_remove(&listener->acceptors, op);
}

static void accept_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    stream_box_t *box = lua_touserdata(L, first);
    (void)rt;
    if (box == NULL || box->stream == NULL) { return; }
    listener_put_back(op->io.subject, box->stream);
    box->stream = NULL;
}

const op_io_t LISTENER_ACCEPT = {"accept", accept_start, accept_abort, accept_undo, NULL, NULL};

/* ---- opening --------------------------------------------------------------------------------- */

static listener_t *listener_new(rt_t *rt, bool is_unix) {
    listener_t *listener = memory_zeroed(sizeof *listener);
    listener->rt = rt;
    listener->refs = 2;
    listener->held = true;
    listener->is_unix = is_unix;
    NET_LIST_ADD(rt->listeners, listener);
    if (is_unix) {
        (void)uv_pipe_init(&rt->loop->uv, &listener->handle.pipe, 0);
    } else {
        (void)uv_tcp_init(&rt->loop->uv, &listener->handle.tcp);
    }
    listener->handle.any.data = listener;
    rt->live_handles++;
    return listener;
}

static int start_listening(listener_t *listener, int rc, int backlog, listener_t **out) {
    if (rc == 0) { rc = uv_listen(&listener->handle.stream, backlog, on_connection); }
    if (rc != 0) {
        listener_close(listener);
        listener_release(listener);
        return rc;
    }
    *out = listener;
    return 0;
}

int listener_open(rt_t *rt, const struct sockaddr *where, int backlog, listener_t **out) {
    listener_t *listener = listener_new(rt, false);
    struct sockaddr_storage bound;
    int bytes = sizeof bound;
    int rc = uv_tcp_bind(&listener->handle.tcp, where, 0);
    if (rc == 0) {
        rc = uv_tcp_getsockname(&listener->handle.tcp, (struct sockaddr *)&bound, &bytes);
    }
    /* the port stands in the same place for IPv6 */
    if (rc == 0) { listener->port = ntohs(((const struct sockaddr_in *)&bound)->sin_port); }
    return start_listening(listener, rc, backlog, out);
}

int listener_open_unix(rt_t *rt, const char *path, unsigned mode, int backlog, listener_t **out) {
    unix_file_t file;
    int fd = unix_socket_bind(&file, path, mode);
    if (fd < 0) { return fd; }
    listener_t *listener = listener_new(rt, true);
    listener->file = file;
    int rc = uv_pipe_open(&listener->handle.pipe, fd);
    if (rc != 0) { (void)close(fd); }
    return start_listening(listener, rc, backlog, out);
}

void listeners_detach(rt_t *rt) {
    for (listener_t *listener = rt->listeners, *next = NULL; listener != NULL; listener = next) {
        next = listener->next;
        listener->acceptors = (op_queue_t){0};
        listener_close(listener);
        if (listener->held) { listener_release(listener); }
    }
}
