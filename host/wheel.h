/* Timers: a hierarchical wheel of three levels, 4096 slots each, 1 ms, 4.1 s and 4.7 h a slot.
 * Adding, removing and waking cost O(1); nodes are part of whatever waits. Within one millisecond
 * the order of waking is that of adding; exact deadlines inside it are kept.
 * Longest time: 2.2 years. Thread: the host's. */
#ifndef WHEEL_H
#define WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 4096, WHEEL_LEVELS = 3 };

typedef struct wheel_node {
    struct wheel_node *prev, *next; /* NULL while not in a wheel */
    uint64_t due_ns;
    uint32_t slot; /* level << 12 | slot */
} wheel_node_t;

typedef struct {
    wheel_node_t slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* list heads */
    uint64_t used[WHEEL_LEVELS][WHEEL_SLOTS / 64];
    uint64_t now_ms;
    uint32_t count;
} wheel_t;

void wheel_init(wheel_t *wheel);
/* `due_ns` may lie in the past. */
void wheel_add(wheel_t *wheel, wheel_node_t *node, uint64_t due_ns);
/* Does nothing when the node is in no wheel. */
void wheel_remove(wheel_t *wheel, wheel_node_t *node);
/* Takes out and returns a node that is due at `now_ns`; NULL when there is none left. */
wheel_node_t *wheel_pop(wheel_t *wheel, uint64_t now_ns);
/* No later than the earliest deadline; UINT64_MAX when nothing waits. */
uint64_t wheel_next_ns(const wheel_t *wheel);

#endif
