#include "checksum.h"

#include <string.h>

#define FACTOR 0x9e3779b97f4a7c15ull /* odd: multiplying by it loses nothing */

static uint64_t rotate(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

static uint64_t step(uint64_t lane, uint64_t word) { return rotate((lane ^ word) * FACTOR, 29); }

static uint64_t word_at(const unsigned char *bytes, size_t index) {
    uint64_t word;
    memcpy(&word, bytes + index * sizeof word, sizeof word);
    return word;
}

/* The lanes are four variables, so that they stay in registers. */
static void take(uint64_t lane[4], const unsigned char *bytes, size_t steps) {
    uint64_t a = lane[0], b = lane[1], c = lane[2], d = lane[3];
    for (; steps > 0; steps--, bytes += ECS__CHECKSUM_STEP) {
        a = step(a, word_at(bytes, 0));
        b = step(b, word_at(bytes, 1));
        c = step(c, word_at(bytes, 2));
        d = step(d, word_at(bytes, 3));
    }
    lane[0] = a;
    lane[1] = b;
    lane[2] = c;
    lane[3] = d;
}

void ecs__checksum_init(ecs__checksum_t *sum) { *sum = (ecs__checksum_t){.lane = {1, 2, 3, 4}}; }

void ecs__checksum_add(ecs__checksum_t *sum, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    size_t held = sum->length % ECS__CHECKSUM_STEP;
    sum->length += length;
    if (held > 0) {
        size_t more = ECS__CHECKSUM_STEP - held < length ? ECS__CHECKSUM_STEP - held : length;
        memcpy(sum->tail + held, at, more);
        if (held + more < ECS__CHECKSUM_STEP) { return; }
        take(sum->lane, sum->tail, 1);
        at += more;
        length -= more;
    }
    take(sum->lane, at, length / ECS__CHECKSUM_STEP);
    at += length - length % ECS__CHECKSUM_STEP;
    length %= ECS__CHECKSUM_STEP;
    if (length > 0) { memcpy(sum->tail, at, length); }
}

uint64_t ecs__checksum_end(const ecs__checksum_t *sum) {
    uint64_t lane[4], hash = sum->length;
    unsigned char rest[ECS__CHECKSUM_STEP] = {0};
    memcpy(lane, sum->lane, sizeof lane);
    memcpy(rest, sum->tail, sum->length % ECS__CHECKSUM_STEP);
    take(lane, rest, 1);
    for (size_t i = 0; i < 4; i++) {
        hash = step(hash, lane[i]);
    }
    hash = (hash ^ hash >> 32) * FACTOR;
    return hash ^ hash >> 29;
}

uint64_t ecs__checksum(const void *bytes, size_t length) {
    ecs__checksum_t sum;
    ecs__checksum_init(&sum);
    ecs__checksum_add(&sum, bytes, length);
    return ecs__checksum_end(&sum);
}
