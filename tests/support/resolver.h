/* The specs' own resolver, see resolver.c. */
#ifndef RESOLVER_H
#define RESOLVER_H

#include <stdbool.h>

/* Closed: lookups of slow.test wait. Any thread. */
void resolver_gate(bool open);
/* How many wait. */
int resolver_waiting(void);

#endif
