/* Bytes that grow. Zeroed: none; `data` is freed by whoever holds them. */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>
#include <string.h>

#include "memory.h"

typedef struct {
    char *data;
    size_t count, capacity;
} bytes_t;

/* Appends `count` bytes. */
static inline void bytes_add(bytes_t *bytes, const char *data, size_t count) {
    if (count == 0) { return; }
    if (bytes->count + count > bytes->capacity) {
        bytes->capacity = (bytes->count + count) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        memory_must(bytes->data);
    }
    memcpy(bytes->data + bytes->count, data, count);
    bytes->count += count;
}

#endif
