#include "wheel.h"

#include <stddef.h>
#include <string.h>

#define NS_PER_MS ((uint64_t)1000000)
enum { BITS = 12, MASK = WHEEL_SLOTS - 1 };

void wheel_init(wheel_t *wheel) {
    memset(wheel->used, 0, sizeof wheel->used);
    wheel->now_ms = 0;
    wheel->count = 0;
    for (size_t level = 0; level < WHEEL_LEVELS; level++) {
        for (size_t i = 0; i < WHEEL_SLOTS; i++) {
            wheel_node_t *head = &wheel->slots[level][i];
            *head = (wheel_node_t){.prev = head, .next = head};
        }
    }
}

static void link_node(wheel_t *wheel, wheel_node_t *node) {
    uint64_t due_ms = node->due_ns / NS_PER_MS;
    if (due_ms < wheel->now_ms) { due_ms = wheel->now_ms; }
    uint64_t ahead = due_ms - wheel->now_ms;
    unsigned level = ahead < WHEEL_SLOTS ? 0 : ahead < (uint64_t)WHEEL_SLOTS * WHEEL_SLOTS ? 1 : 2;
    uint32_t slot = (uint32_t)(due_ms >> (BITS * level)) & MASK;
    wheel_node_t *head = &wheel->slots[level][slot];
    node->slot = level << BITS | slot;
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
    wheel->used[level][slot / 64] |= (uint64_t)1 << slot % 64;
}

void wheel_add(wheel_t *wheel, wheel_node_t *node, uint64_t due_ns) {
    node->due_ns = due_ns;
    link_node(wheel, node);
    wheel->count++;
}

static void unlink_node(wheel_t *wheel, wheel_node_t *node) {
    unsigned level = node->slot >> BITS, slot = node->slot & MASK;
    const wheel_node_t *head = &wheel->slots[level][slot];
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = NULL;
    if (head->next == head) { wheel->used[level][slot / 64] &= ~((uint64_t)1 << slot % 64); }
}

void wheel_remove(wheel_t *wheel, wheel_node_t *node) {
    if (node->next == NULL) { return; }
    unlink_node(wheel, node);
    wheel->count--;
}

/* First used slot of a level at or after `from`, going round once; WHEEL_SLOTS when none is. */
static unsigned next_used(const wheel_t *wheel, unsigned level, unsigned from) {
    for (unsigned i = 0; i <= WHEEL_SLOTS / 64; i++) {
        unsigned word = (from / 64 + i) % (WHEEL_SLOTS / 64);
        uint64_t bits = wheel->used[level][word];
        if (i == 0) { bits &= ~(uint64_t)0 << from % 64; }
        if (i == WHEEL_SLOTS / 64) { bits &= ~(~(uint64_t)0 << from % 64); }
        if (bits != 0) { return word * 64 + (unsigned)__builtin_ctzll(bits); }
    }
    return WHEEL_SLOTS;
}

/* Spreads the slot of a higher level that now_ms has entered over the level below. */
static void cascade(wheel_t *wheel, unsigned level) {
    unsigned slot = (unsigned)(wheel->now_ms >> (BITS * level)) & MASK;
    wheel_node_t *head = &wheel->slots[level][slot];
    wheel_node_t *node = head->next, *last = head->prev;
    if (node == head) { return; }
    head->prev = head->next = head;
    wheel->used[level][slot / 64] &= ~((uint64_t)1 << slot % 64);
    last->next = NULL;
    while (node != NULL) {
        wheel_node_t *next = node->next;
        link_node(wheel, node);
        node = next;
    }
}

/* Moves now_ms on to the next slot that matters, at most to `limit_ms`. */
static void advance(wheel_t *wheel, uint64_t limit_ms) {
    unsigned at = (unsigned)wheel->now_ms & MASK;
    unsigned used = next_used(wheel, 0, at);
    uint64_t ahead = used == WHEEL_SLOTS ? WHEEL_SLOTS : (used - at) & MASK;
    uint64_t to_turn = WHEEL_SLOTS - at; /* ms until level 1 moves on */
    uint64_t target = wheel->now_ms + (ahead < to_turn ? ahead : to_turn);
    if (target > limit_ms) { target = limit_ms; }
    bool turned = target >> BITS != wheel->now_ms >> BITS;
    bool turned_twice = target >> (2 * BITS) != wheel->now_ms >> (2 * BITS);
    wheel->now_ms = target;
    if (turned_twice) { cascade(wheel, 2); }
    if (turned) { cascade(wheel, 1); }
}

wheel_node_t *wheel_pop(wheel_t *wheel, uint64_t now_ns) {
    uint64_t limit_ms = now_ns / NS_PER_MS;
    if (wheel->count == 0) {
        wheel->now_ms = limit_ms > wheel->now_ms ? limit_ms : wheel->now_ms;
        return NULL;
    }
    for (;;) {
        const wheel_node_t *head = &wheel->slots[0][wheel->now_ms & MASK];
        for (wheel_node_t *node = head->next; node != head; node = node->next) {
            if (node->due_ns <= now_ns) {
                wheel_remove(wheel, node);
                return node;
            }
        }
        if (wheel->now_ms >= limit_ms) { return NULL; }
        uint64_t before = wheel->now_ms;
        advance(wheel, limit_ms);
        if (wheel->now_ms == before) { return NULL; }
    }
}

uint64_t wheel_next_ns(const wheel_t *wheel) {
    if (wheel->count == 0) { return UINT64_MAX; }
    unsigned at = (unsigned)wheel->now_ms & MASK;
    unsigned used = next_used(wheel, 0, at);
    uint64_t turn = (((wheel->now_ms >> BITS) + 1) << BITS) * NS_PER_MS;
    if (used == WHEEL_SLOTS) { return turn; } /* a higher level: look again when it turns */
    const wheel_node_t *head = &wheel->slots[0][used];
    uint64_t earliest = UINT64_MAX;
    for (const wheel_node_t *node = head->next; node != head; node = node->next) {
        if (node->due_ns < earliest) { earliest = node->due_ns; }
    }
    bool higher = used < at; /* that slot belongs to the next turn: level 1 may come first */
    return higher && turn < earliest ? turn : earliest;
}
