#include "dns.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct lookup {
    rt_event_t event;
    struct lookup *prev, *next;
    uv_getaddrinfo_t request;
    rt_t *rt;
    op_t *op; /* NULL: nobody waits */
    int error;
    struct sockaddr_storage found[DNS_MAX_ADDRESSES];
    uint32_t count;
} lookup_t;

/* ---- a fixed order --------------------------------------------------------------------------- */

static const uint8_t *number_of(const struct sockaddr_storage *address, size_t *bytes) {
    if (address->ss_family == AF_INET) {
        *bytes = sizeof(struct in_addr);
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    }
    *bytes = sizeof(struct in6_addr);
    return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

static int compare(const void *a, const void *b) {
    const struct sockaddr_storage *left = a, *right = b;
    if (left->ss_family != right->ss_family) { return left->ss_family == AF_INET ? -1 : 1; }
    size_t bytes = 0;
    const uint8_t *number = number_of(left, &bytes);
    return memcmp(number, number_of(right, &bytes), bytes);
}

/* Copies what was found, sorted, each once. */
static void take_addresses(lookup_t *lookup, const struct addrinfo *found) {
    uint32_t count = 0, kept = 0;
    for (; found != NULL && count < DNS_MAX_ADDRESSES; found = found->ai_next) {
        if (found->ai_family != AF_INET && found->ai_family != AF_INET6) { continue; }
        memcpy(&lookup->found[count++], found->ai_addr, found->ai_addrlen);
    }
    qsort(lookup->found, count, sizeof lookup->found[0], compare);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && compare(&lookup->found[kept - 1], &lookup->found[i]) == 0) { continue; }
        lookup->found[kept++] = lookup->found[i];
    }
    lookup->count = kept;
}

/* ---- a lookup's life ------------------------------------------------------------------------- */

static void lookup_free(lookup_t *lookup) {
    NET_LIST_REMOVE(lookup->rt->lookups, lookup);
    lookup->rt->lookup_count--;
    free(lookup);
}

static void lookup_settle(rt_t *rt, rt_event_t *event) {
    lookup_t *lookup = (lookup_t *)(void *)event;
    lua_State *L = rt->vm->L;
    if (lookup->op != NULL && lookup->count > 0) {
        lua_createtable(L, (int)lookup->count, 0);
        for (uint32_t i = 0; i < lookup->count; i++) {
            net_push_address(L, (struct sockaddr *)&lookup->found[i]);
            lua_pop(L, 1); /* the port */
            lua_rawseti(L, -2, (int)i + 1);
        }
        op_finish(rt, lookup->op, L, true, 1);
    } else if (lookup->op != NULL) {
        net_fail(rt, lookup->op, lookup->error != 0 ? lookup->error : UV_EAI_NODATA);
    }
    lookup_free(lookup);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    lookup_t *lookup = request->data;
    lookup->error = status;
    take_addresses(lookup, found);
    uv_freeaddrinfo(found);
    lookup->event.settle = lookup_settle;
    rt_enqueue(lookup->rt, &lookup->event);
}

static void resolve_start(rt_t *rt, op_t *op) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (rt->lookup_count >= DNS_MAX_LOOKUPS) {
        net_fail_with(rt, op, "busy", "64 names are being looked up already");
        return;
    }
    lookup_t *lookup = memory_zeroed(sizeof *lookup);
    lookup->rt = rt;
    lookup->op = op;
    lookup->request.data = lookup;
    NET_LIST_ADD(rt->lookups, lookup);
    rt->lookup_count++;
    op->io.subject = lookup;
    int rc =
        uv_getaddrinfo(&rt->loop->uv, &lookup->request, on_resolved, op->io.data, NULL, &hints);
    if (rc != 0) {
        lookup_free(lookup);
        net_fail(rt, op, rc);
    }
}

/* One that has not begun is taken back; a thread that has goes on for nobody. */
static void forget(lookup_t *lookup) {
    lookup->op = NULL;
    (void)uv_cancel((uv_req_t *)&lookup->request);
}

static void resolve_abort(rt_t *rt, op_t *op) {
    (void)rt;
    forget(op->io.subject);
}

const op_io_t DNS_RESOLVE = {"name lookup", resolve_start, resolve_abort, NULL, NULL, NULL};

void dns_detach(rt_t *rt) {
    for (lookup_t *lookup = rt->lookups; lookup != NULL; lookup = lookup->next) {
        forget(lookup);
    }
}

void dns_fini(rt_t *rt) {
    while (rt->lookups != NULL) {
        lookup_free(rt->lookups);
    }
}
