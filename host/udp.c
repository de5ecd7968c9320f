/* The Lua face is api_udp.c. */
#include "udp.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

/* A datagram that the kernel did not take at once. */
typedef struct udp_send {
    struct udp_send *prev, *next;
    uv_udp_send_t request;
    udp_t *udp;
    op_t *op; /* NULL: nobody waits */
    int status;
    bool done;
    char data[];
} udp_send_t;

/* ---- life ------------------------------------------------------------------------------------ */

static udp_datagram_t *at(const udp_t *udp, uint32_t index) {
    return &udp->ring[(udp->first + index) % udp->capacity];
}

static void udp_unref(udp_t *udp) {
    if (--udp->refs > 0) { return; }
    NET_LIST_REMOVE(udp->rt->sockets, udp);
    for (uint32_t i = 0; i < udp->count; i++) {
        free(at(udp, i)->data);
    }
    free(udp->ring);
    free(udp);
}

void udp_release(udp_t *udp) {
    udp->held = false;
    udp_unref(udp);
}

static void on_closed(uv_handle_t *handle) {
    udp_t *udp = handle->data;
    udp->rt->live_handles--;
    udp_unref(udp);
}

static void udp_enqueue(udp_t *udp);

void udp_close(udp_t *udp) {
    if (udp->closing) { return; }
    udp->closing = true;
    uv_close((uv_handle_t *)&udp->handle, on_closed);
    udp_enqueue(udp);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    static _Thread_local char
        room[65536]; /* for all: what is read is copied before anything else is */
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(room, sizeof room);
}

static void drop_first(udp_t *udp) {
    free(at(udp, 0)->data);
    udp->first = (udp->first + 1) % udp->capacity;
    udp->count--;
}

/* A place for one more datagram, or NULL: it is dropped. */
static udp_datagram_t *make_room(udp_t *udp, bool in_front) {
    if (udp->count == udp->capacity) {
        udp->counts.dropped++;
        if (in_front || udp->drop_new) { return NULL; }
        drop_first(udp);
    }
    if (in_front) { udp->first = (udp->first + udp->capacity - 1) % udp->capacity; }
    udp->count++;
    return at(udp, in_front ? 0 : udp->count - 1);
}

static void fill(udp_datagram_t *datagram, const char *data, size_t bytes) {
    datagram->data = memory_zeroed(bytes + 1);
    memcpy(datagram->data, data, bytes);
    datagram->bytes = (uint32_t)bytes;
}

static void on_receive(uv_udp_t *handle, ssize_t count, const uv_buf_t *buffer,
                       const struct sockaddr *from, unsigned flags) {
    udp_t *udp = handle->data;
    if (from == NULL && count == 0) { return; } /* there is no more for now */
    if (count < 0 || (flags & UV_UDP_PARTIAL) != 0) {
        udp->counts.errors++;
        return;
    }
    udp->counts.received++;
    udp_datagram_t *datagram = make_room(udp, false);
    if (datagram == NULL) { return; }
    fill(datagram, buffer->base, (size_t)count);
    size_t bytes =
        from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    memcpy(&datagram->from, from, bytes);
    udp_enqueue(udp);
}

static void settle_receives(rt_t *rt, udp_t *udp) {
    lua_State *L = rt->vm->L;
    while (udp->receivers.first != NULL && (udp->count > 0 || udp->closing)) {
        op_t *op = udp->receivers.first;
        net_queue_remove(&udp->receivers, op);
        if (udp->closing) {
            net_fail_with(rt, op, "closed", "the socket was closed");
            continue;
        }
        const udp_datagram_t *datagram = at(udp, 0);
        lua_pushlstring(L, datagram->data, datagram->bytes);
        net_push_address(L, (const struct sockaddr *)&datagram->from);
        drop_first(udp);
        op_finish(rt, op, L, true, 3);
    }
}

static void receive_start(rt_t *rt, op_t *op) {
    udp_t *udp = op->io.subject;
    if (udp->receivers.count >= NET_MAX_WAITING) {
        net_fail_with(rt, op, "busy", "64 receives wait on this socket already");
        return;
    }
    net_queue_push(&udp->receivers, op);
    settle_receives(rt, udp);
}

static void receive_abort(rt_t *rt, op_t *op) {
    udp_t *udp = op->io.subject;
    (void)rt;
    net_queue_remove(&udp->receivers, op);
}

static void receive_undo(rt_t *rt, op_t *op, lua_State *L, int first) {
    udp_t *udp = op->io.subject;
    size_t bytes = 0;
    const char *data = lua_tolstring(L, first, &bytes);
    const char *host = lua_tostring(L, first + 1);
    (void)rt;
    udp_datagram_t *datagram = data != NULL && host != NULL ? make_room(udp, true) : NULL;
    if (datagram == NULL) { return; }
    fill(datagram, data, bytes);
    (void)net_parse(host, (int)lua_tointeger(L, first + 2), &datagram->from);
    udp_enqueue(udp);
}

const op_io_t UDP_RECEIVE = {"datagram receive", receive_start, receive_abort,
                             receive_undo,       NULL,          NULL};

/* ---- sending --------------------------------------------------------------------------------- */

static void send_free(udp_t *udp, udp_send_t *send) {
    NET_LIST_REMOVE(udp->sends, send);
    udp->send_count--;
    free(send);
    udp_unref(udp);
}

static void settle_sends(rt_t *rt, udp_t *udp) {
    for (udp_send_t *send = udp->sends, *next = NULL; send != NULL; send = next) {
        next = send->next;
        if (!send->done) { continue; }
        if (send->op != NULL && send->status == 0) {
            op_finish(rt, send->op, rt->vm->L, true, 0);
        } else if (send->op != NULL) {
            net_fail(rt, send->op, send->status);
        }
        send_free(udp, send);
    }
}

static void on_sent(uv_udp_send_t *request, int status) {
    udp_send_t *send = request->data;
    send->done = true;
    send->status = status;
    send->udp->counts.sent += status == 0;
    udp_enqueue(send->udp);
}

static int send_later(udp_t *udp, op_t *op, const struct sockaddr *where, uv_buf_t bytes) {
    udp_send_t *send = memory_zeroed(sizeof *send + bytes.len);
    memcpy(send->data, bytes.base, bytes.len);
    send->udp = udp;
    send->op = op;
    send->request.data = send;
    NET_LIST_ADD(udp->sends, send);
    udp->send_count++;
    udp->refs++;
    uv_buf_t copy = uv_buf_init(send->data, (unsigned)bytes.len);
    int rc = uv_udp_send(&send->request, &udp->handle, &copy, 1, where, on_sent);
    if (rc != 0) { send_free(udp, send); }
    return rc;
}

static void send_start(rt_t *rt, op_t *op) {
    udp_t *udp = op->io.subject;
    struct sockaddr_storage where;
    memcpy(&where, op->io.data, sizeof where);
    uv_buf_t bytes =
        uv_buf_init((char *)op->io.data + sizeof where, (unsigned)(op->io.bytes - sizeof where));
    int rc = UV_ECANCELED;
    if (!udp->closing) {
        rc = uv_udp_try_send(&udp->handle, &bytes, 1, (const struct sockaddr *)&where);
    }
    if (rc == UV_EAGAIN && udp->send_count >= UDP_MAX_SENDS) {
        net_fail_with(rt, op, "busy", "64 datagrams wait to be sent already");
        return;
    }
    if (rc == UV_EAGAIN) {
        rc = send_later(udp, op, (const struct sockaddr *)&where, bytes);
        if (rc == 0) { return; }
    }
    if (rc < 0) {
        net_fail(rt, op, rc);
        return;
    }
    udp->counts.sent++;
    op_finish(rt, op, rt->vm->L, true, 0);
}

/* The datagram is on its way: what is taken back is the waiting. */
static void send_abort(rt_t *rt, op_t *op) {
    const udp_t *udp = op->io.subject;
    (void)rt;
    for (udp_send_t *send = udp->sends; send != NULL; send = send->next) {
        if (send->op == op) { send->op = NULL; }
    }
}

const op_io_t UDP_SEND = {"datagram send", send_start, send_abort, NULL, NULL, NULL};

/* ---- opening --------------------------------------------------------------------------------- */

static void udp_settle(rt_t *rt, rt_event_t *event) {
    udp_t *udp = (udp_t *)(void *)event;
    udp->queued = false;
    settle_sends(rt, udp);
    settle_receives(rt, udp);
    udp_unref(udp);
}

static void udp_enqueue(udp_t *udp) {
    if (udp->queued) { return; }
    udp->queued = true;
    udp->refs++;
    udp->event.settle = udp_settle;
    rt_enqueue(udp->rt, &udp->event);
}

int udp_open(rt_t *rt, const udp_desc_t *desc, udp_t **out) {
    udp_t *udp = memory_zeroed(sizeof *udp);
    udp->rt = rt;
    udp->refs = 2;
    udp->held = true;
    udp->drop_new = desc->drop_new;
    udp->capacity = desc->capacity;
    udp->ring = memory_zeroed(desc->capacity * sizeof *udp->ring);
    NET_LIST_ADD(rt->sockets, udp);
    (void)uv_udp_init(&rt->loop->uv, &udp->handle);
    udp->handle.data = udp;
    rt->live_handles++;
    int rc = uv_udp_bind(&udp->handle, (const struct sockaddr *)&desc->where,
                         desc->shared ? UV_UDP_REUSEADDR : 0);
    if (rc == 0 && desc->broadcast) { rc = uv_udp_set_broadcast(&udp->handle, 1); }
    if (rc == 0) { rc = uv_udp_recv_start(&udp->handle, on_alloc, on_receive); }
    if (rc != 0) {
        udp_close(udp);
        udp_release(udp);
        return rc;
    }
    *out = udp;
    return 0;
}

void udp_detach(rt_t *rt) {
    for (udp_t *udp = rt->sockets, *next = NULL; udp != NULL; udp = next) {
        next = udp->next;
        udp->receivers = (op_queue_t){0};
        for (udp_send_t *send = udp->sends; send != NULL; send = send->next) {
            send->op = NULL;
        }
        udp_close(udp);
        if (udp->held) { udp_release(udp); }
    }
}
