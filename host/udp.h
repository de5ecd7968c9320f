/* Datagrams.
 *
 *   peer ──▶ callback ──▶ ring of at most `capacity` datagrams ──▶ receives that wait, FIFO
 *                           │ full: the oldest or the new one is dropped, and counted
 *
 * Sends go straight to the kernel; what it does not take at once is copied and goes out as it can.
 * Thread: the host's. */
#ifndef UDP_H
#define UDP_H

#include "net.h"

enum { UDP_MAX_QUEUE = 4096, UDP_MAX_SENDS = 64 };

typedef struct {
    char *data;
    uint32_t bytes;
    struct sockaddr_storage from;
} udp_datagram_t;

typedef struct {
    uint64_t received, dropped, sent, errors;
} udp_counts_t;

typedef struct udp {
    rt_event_t event; /* queued while `queued` */
    struct udp *prev, *next;
    bool held; /* a Lua value has a reference */
    uv_udp_t handle;
    rt_t *rt;
    bool queued, closing, drop_new;
    int refs; /* the Lua value, libuv until its close callback, and each send under way */
    op_queue_t receivers;
    udp_datagram_t *ring; /* `capacity` places, `count` from `first` on */
    uint32_t capacity, first, count;
    struct udp_send *sends;
    uint32_t send_count;
    udp_counts_t counts;
} udp_t;

#define UDP_CLASS "stator.net.udp"

typedef struct {
    struct sockaddr_storage where;
    bool broadcast, shared; /* shared: others may bind the same port, for multicast */
    bool drop_new;
    uint32_t capacity;
} udp_desc_t;

/* `subject` is the socket. RECEIVE ends with text, host, port. SEND: `data` and `bytes` are a
 * sockaddr_storage and the text behind it, in the string that `ref` refers to. */
extern const op_io_t UDP_RECEIVE, UDP_SEND;

/* Binds and starts to receive; *out has two references. 0 or libuv's error. */
int udp_open(rt_t *rt, const udp_desc_t *desc, udp_t **out);
/* Closes; what waits fails with code "closed" in the next settle stage. Twice is fine. */
void udp_close(udp_t *udp);
void udp_release(udp_t *udp);
/* The VM is gone. */
void udp_detach(rt_t *rt);

#endif
