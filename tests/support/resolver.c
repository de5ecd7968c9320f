/* A resolver for specs: names that end in ".test" never leave the process. It takes the place of
 * the C library's for libuv, which finds the executable's symbols first.
 *
 *   slow.test   127.0.0.1, once the gate is open
 *   many.test   several, in no order, one of them twice
 *   none.test   is not known */
#include "resolver.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef int (*getaddrinfo_t)(const char *, const char *, const struct addrinfo *,
                             struct addrinfo **);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool is_open = true;
static int waiting;

void resolver_gate(bool open) {
    (void)pthread_mutex_lock(&mutex);
    is_open = open;
    (void)pthread_cond_broadcast(&opened);
    (void)pthread_mutex_unlock(&mutex);
}

int resolver_waiting(void) {
    (void)pthread_mutex_lock(&mutex);
    int count = waiting;
    (void)pthread_mutex_unlock(&mutex);
    return count;
}

static void wait_at_gate(void) {
    (void)pthread_mutex_lock(&mutex);
    waiting++;
    while (!is_open) {
        (void)pthread_cond_wait(&opened, &mutex);
    }
    waiting--;
    (void)pthread_mutex_unlock(&mutex);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    static const char *const many[] = {"::1", "127.0.0.2", "127.0.0.1", "127.0.0.2"};
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    getaddrinfo_t next = NULL;
    memcpy(&next, &symbol, sizeof next);
    if (name != NULL && strcmp(name, "none.test") == 0) { return EAI_NONAME; }
    if (name != NULL && strcmp(name, "slow.test") == 0) {
        wait_at_gate();
        return next("127.0.0.1", service, hints, out);
    }
    if (name == NULL || strcmp(name, "many.test") != 0) { return next(name, service, hints, out); }
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        int rc = next(many[i], service, hints, out);
        if (rc != 0) { return rc; }
        while (*out != NULL) {
            out = &(*out)->ai_next;
        }
    }
    return 0;
}
