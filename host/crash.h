/* The report of a crash: a fault that is not the world's memory, an abort. Written to standard
 * error without allocating: signal, address, C stack, the script's stack, the last log lines. */
#ifndef CRASH_H
#define CRASH_H

#include <stdint.h>

#include "log.h"

/* Loads what the report needs, and takes over SIGABRT, SIGILL and SIGFPE. Once a process. */
void crash_prepare(void);
/* The log whose last lines are part of the report; NULL: none. */
void crash_log(const log_t *log);
/* The running Lua state, for its stack; NULL: none. Set by the doors of vm.c. */
extern void *volatile crash_lua;
/* Writes the report; the signal then has its default action. From a handler. */
void crash_report(int number, const void *address, uintptr_t pc);

#endif
