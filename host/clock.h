/* The one source of time. Real time is CLOCK_MONOTONIC; virtual time moves only when the loop
 * moves it. Nothing else in the host reads a clock. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct {
    bool is_virtual;
    uint64_t virtual_ns;
    uint64_t origin_ns; /* real: CLOCK_MONOTONIC at start */
} stator_clock_t;

void clock_init(stator_clock_t *clock, bool is_virtual);
/* Nanoseconds since clock_init, never going back. Any thread when real. */
uint64_t clock_now_ns(const stator_clock_t *clock);
/* Virtual clocks only: moves time forward to `at_ns`. */
void clock_advance_to(stator_clock_t *clock, uint64_t at_ns);
/* Wall-clock time for the log, as "2026-01-31T23:59:59.123Z" (25 bytes with the 0). Virtual
 * clocks count from 1970. */
void clock_wall_text(const stator_clock_t *clock, char *out, unsigned bytes);

/* Reads a clock of the system in ns: for the watchdog, which goes by real time always. Any thread.
 */
uint64_t clock_read_ns(clockid_t id);

#endif
