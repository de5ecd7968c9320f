#include "checksum.h"

#include <string.h>

#define FACTOR 0x9e3779b97f4a7c15ull /* odd: multiplying by it loses nothing */

static uint64_t rotate(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

static uint64_t step(uint64_t lane, uint64_t word) { return rotate((lane ^ word) * FACTOR, 29); }

static void take(uint64_t lane[4], const unsigned char *bytes) {
    uint64_t word[4];
    memcpy(word, bytes, sizeof word);
    for (size_t i = 0; i < 4; i++) {
        lane[i] = step(lane[i], word[i]);
    }
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
        take(sum->lane, sum->tail);
        at += more;
        length -= more;
    }
    for (; length >= ECS__CHECKSUM_STEP; length -= ECS__CHECKSUM_STEP) {
        take(sum->lane, at);
        at += ECS__CHECKSUM_STEP;
    }
    if (length > 0) { memcpy(sum->tail, at, length); }
}

uint64_t ecs__checksum_end(const ecs__checksum_t *sum) {
    uint64_t lane[4], hash = sum->length;
    unsigned char rest[ECS__CHECKSUM_STEP] = {0};
    memcpy(lane, sum->lane, sizeof lane);
    memcpy(rest, sum->tail, sum->length % ECS__CHECKSUM_STEP);
    take(lane, rest);
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
