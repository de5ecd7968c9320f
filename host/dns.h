/* Names to addresses, by the system's resolver on libuv's pool.
 *
 * A lookup whose task no longer waits is forgotten; a thread of the pool may go on with it for
 * seconds, so lookups under way are bounded by DNS_MAX_LOOKUPS, the forgotten ones included.
 * Thread: the host's. */
#ifndef DNS_H
#define DNS_H

#include "net.h"

enum { DNS_MAX_LOOKUPS = 64, DNS_MAX_ADDRESSES = 32 };

/* `data` is the name, `ref` refers to it. Ends with a list of addresses as text: IPv4 first, then
 * by number, each once. */
extern const op_io_t DNS_RESOLVE;

/* The VM is gone: nobody waits any more. */
void dns_detach(rt_t *rt);
/* Frees what was under way; the loop is closed. */
void dns_fini(rt_t *rt);

#endif
