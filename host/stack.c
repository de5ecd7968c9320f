#include "stack.h"

#include <alloca.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { PAGE = 4096, REST_BYTES = 64 * 1024, LAST_BYTES = 128 * 1024, RED_BYTES = 128 * 1024 };
#define MIN_BYTES ((size_t)1 << 20)
#define MAX_BYTES ((size_t)8 << 20) /* a stack without a limit gets one */

static char *zones; /* the last one, then the red one; NULL: none */
static bool open;

/* Moves the stack pointer down, so that the kernel gives the thread its stack to there. */
__attribute__((noinline)) static void grow_to(const char *low) {
    size_t bytes = (size_t)((char *)__builtin_frame_address(0) - low);
    volatile char *room = alloca(bytes);
    room[0] = 0;
}

void stack_prepare(void) {
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;
    if (zones != NULL || pthread_getattr_np(pthread_self(), &attributes) != 0) { return; }
    int rc = pthread_attr_getstack(&attributes, &low, &bytes);
    (void)pthread_attr_destroy(&attributes);
    if (rc != 0 || bytes < MIN_BYTES) { return; }
    char *end = (char *)low + (bytes > MAX_BYTES ? bytes - MAX_BYTES : 0);
    char *at = (char *)(((uintptr_t)end + REST_BYTES + PAGE) & ~(uintptr_t)(PAGE - 1));
    grow_to(at - REST_BYTES / 2);
    if (mprotect(at, LAST_BYTES + RED_BYTES, PROT_NONE) == 0) { zones = at; }
}

bool stack_is_guarded(void) { return zones != NULL; }

stack_fault_t stack_fault(const void *address) {
    char *at = (char *)((uintptr_t)address & ~(uintptr_t)(PAGE - 1));
    if (zones == NULL || at < zones || at >= zones + LAST_BYTES + RED_BYTES) {
        return STACK_ELSEWHERE;
    }
    bool last = at < zones + LAST_BYTES;
    char *from = last ? at : zones + LAST_BYTES;
    open = true;
    if (mprotect(from, last ? PAGE : RED_BYTES, PROT_READ | PROT_WRITE) != 0) {
        return STACK_ELSEWHERE;
    }
    return last ? STACK_LAST : STACK_SHORT;
}

bool stack_is_short(void) {
    return open && (char *)__builtin_frame_address(0) < zones + LAST_BYTES + RED_BYTES + PAGE;
}

void stack_restore(void) {
    if (!open || stack_is_short()) { return; }
    open = mprotect(zones, LAST_BYTES + RED_BYTES, PROT_NONE) != 0;
}
