/* Where a script has called a function of the host: its text and line, at the price of a few
 * lookups. What is known of a function is kept by its address, one a task and some for all, and
 * forgotten whenever the collector has run: the address may be another function's then.
 *
 * Thread: the host's. */
#ifndef ORIGIN_H
#define ORIGIN_H

#include <lua.h>
#include <stdint.h>

enum { ORIGIN_SLOTS = 256 };

typedef struct {
    const void *function;
    const char *source;   /* the script's name; NULL: a function of C or of the runtime */
    uint64_t collections; /* that the VM had made when this was found out */
} origin_t;

typedef struct {
    origin_t known[ORIGIN_SLOTS];
} origins_t;

/* In a task: the line of the innermost script function that has called the running function of C,
 * and its script's name, which lives as long as the VM; 0 when there is none. [-0 +0 m] */
int origin_of(lua_State *L, const char **source);

#endif
