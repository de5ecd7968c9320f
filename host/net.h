/* What the network modules share: streams (net_stream.h), listeners (listener.h), datagrams (udp.h)
 * and names (dns.h).
 *
 *   libuv's callback ── fills a buffer, rt_enqueue ──▶ settle stage ── op_finish ──▶ task
 *
 * Everything that a script opens is counted in rt->live_handles until libuv has closed it. Thread:
 * the host's. */
#ifndef NET_H
#define NET_H

#include "error.h"
#include "runtime.h"

enum { NET_MAX_WAITING = 64, NET_ADDRESS_BYTES = 64 };

/* Started operations of one module in the order in which they came. Linked through op->prev and
 * op->next, which are the maker's while an operation is unused only. */
typedef struct {
    op_t *first, *last;
    uint32_t count;
} op_queue_t;

void net_queue_push(op_queue_t *queue, op_t *op);
void net_queue_remove(op_queue_t *queue, op_t *op);

/* Members of the runtime's lists; `item` is zeroed before it comes to one. */
#define NET_LIST_ADD(head, item)                                                                   \
    do {                                                                                           \
        (item)->next = (head);                                                                     \
        if ((head) != NULL) { (head)->prev = (item); }                                             \
        (head) = (item);                                                                           \
    } while (0)
#define NET_LIST_REMOVE(head, item)                                                                \
    do {                                                                                           \
        if ((item)->next != NULL) { (item)->next->prev = (item)->prev; }                           \
        if ((item)->prev != NULL) {                                                                \
            (item)->prev->next = (item)->next;                                                     \
        } else {                                                                                   \
            (head) = (item)->next;                                                                 \
        }                                                                                          \
    } while (0)

/* Pushes the error value of a libuv error. [-0 +1 m] */
void net_push_error(lua_State *L, int error);
/* Fails a started operation with a libuv error, or with code and message. */
void net_fail(rt_t *rt, op_t *op, int error);
void net_fail_with(rt_t *rt, op_t *op, const char *code, const char *message);
/* A numeric address. False when the text is none. */
bool net_parse(const char *host, int port, struct sockaddr_storage *out);
/* Pushes address and port of one; a unix one is its path, "" without, and nil. [-0 +2 m] */
void net_push_address(lua_State *L, const struct sockaddr *address);
/* The VM is gone: streams that are kept go on without their operations, all else closes. */
void net_detach(rt_t *rt);

#endif
