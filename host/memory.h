/* Out of memory ends the process with a message: nothing in the host can go on without it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the process when an allocation has failed. Any thread. */
static inline void memory_must(const void *block) {
    if (block != NULL) { return; }
    (void)fputs("stator: out of memory\n", stderr);
    abort();
}

/* Zeroed memory that is there. Any thread. */
static inline void *memory_zeroed(size_t bytes) {
    void *memory = calloc(1, bytes);
    memory_must(memory);
    return memory;
}

#endif
