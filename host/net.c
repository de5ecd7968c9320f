#include "net.h"
#include "dns.h"
#include "listener.h"
#include "net_stream.h"
#include "udp.h"

#include <string.h>
#include <sys/un.h>

/* ---- queues of operations -------------------------------------------------------------------- */

void net_queue_push(op_queue_t *queue, op_t *op) {
    op->next = NULL;
    op->prev = queue->last;
    if (queue->last != NULL) {
        queue->last->next = op;
    } else {
        queue->first = op;
    }
    queue->last = op;
    queue->count++;
}

void net_queue_remove(op_queue_t *queue, op_t *op) {
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        queue->first = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    } else {
        queue->last = op->prev;
    }
    op->prev = op->next = NULL;
    queue->count--;
}

/* ---- errors ---------------------------------------------------------------------------------- */

void net_push_error(lua_State *L, int error) {
    switch (error) {
    case UV_EOF: error_push(L, "closed", "the other side closed the connection"); break;
    case UV_ECANCELED: error_push(L, "closed", "the connection was closed"); break;
    case UV_ECONNREFUSED: error_push(L, "refused", "connection refused"); break;
    case UV_ENOENT: error_push(L, "refused", "there is no such socket file"); break;
    case UV_EADDRINUSE: error_push(L, "in_use", "somebody else listens there"); break;
    case UV_ENOTSOCK: error_push(L, "in_use", "a file that is no socket is there"); break;
    case UV_ENOTDIR: error_push(L, "not_found", "its folder is not there"); break;
    case UV_EACCES:
    case UV_EPERM: error_push(L, "denied", uv_strerror(error)); break;
    case UV_EMSGSIZE: error_push(L, "too_long", "the datagram is too long"); break;
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
    case UV_EAI_ADDRFAMILY: error_push(L, "not_found", "no address is known for this name"); break;
    default: error_push(L, "io", uv_strerror(error)); break;
    }
}

void net_fail(rt_t *rt, op_t *op, int error) {
    net_push_error(rt->vm->L, error);
    op_finish(rt, op, rt->vm->L, false, 1);
}

void net_fail_with(rt_t *rt, op_t *op, const char *code, const char *message) {
    error_push(rt->vm->L, code, message);
    op_finish(rt, op, rt->vm->L, false, 1);
}

/* ---- addresses ------------------------------------------------------------------------------- */

bool net_parse(const char *host, int port, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    return uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0;
}

void net_push_address(lua_State *L, const struct sockaddr *address) {
    char text[NET_ADDRESS_BYTES] = "";
    int port = 0;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *ip4 = (const struct sockaddr_in *)(const void *)address;
        (void)uv_ip4_name(ip4, text, sizeof text);
        port = ntohs(ip4->sin_port);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)(const void *)address;
        (void)uv_ip6_name(ip6, text, sizeof text);
        port = ntohs(ip6->sin6_port);
    } else {
        const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)address;
        lua_pushlstring(L, local->sun_path, strnlen(local->sun_path, sizeof local->sun_path));
        lua_pushnil(L);
        return;
    }
    lua_pushstring(L, text);
    lua_pushinteger(L, port);
}

/* ---- the end of a VM ------------------------------------------------------------------------- */

void net_detach(rt_t *rt) {
    listeners_detach(rt);
    streams_detach(rt);
    udp_detach(rt);
    dns_detach(rt);
}
