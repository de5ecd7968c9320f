/* A hash of 64 bits that tells damaged bytes from whole ones. It is no defence against forgery.
 *
 * Four lanes take 8 bytes each in turn; every step is a bijection of its lane and of its word. So
 * any damage within one word of 8 bytes is found for certain, other damage is missed once in 2^64.
 * A CRC-32C of the same speed needs an instruction that not every machine has, and misses once in
 * 2^32. */
#ifndef ECS_CHECKSUM_H
#define ECS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum { ECS__CHECKSUM_STEP = 32 };

typedef struct {
    uint64_t lane[4];
    uint64_t length;
    unsigned char tail[ECS__CHECKSUM_STEP]; /* what does not fill a step yet */
} ecs__checksum_t;

void ecs__checksum_init(ecs__checksum_t *sum);
void ecs__checksum_add(ecs__checksum_t *sum, const void *bytes, size_t length);
uint64_t ecs__checksum_end(const ecs__checksum_t *sum);
/* Of one piece. */
uint64_t ecs__checksum(const void *bytes, size_t length);

#endif
