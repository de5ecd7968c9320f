#include "clock.h"

#include <stdio.h>

uint64_t clock_read_ns(clockid_t id) {
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void clock_init(stator_clock_t *clock, bool is_virtual) {
    *clock = (stator_clock_t){.is_virtual = is_virtual};
    if (!is_virtual) { clock->origin_ns = clock_read_ns(CLOCK_MONOTONIC); }
}

uint64_t clock_now_ns(const stator_clock_t *clock) {
    return clock->is_virtual ? clock->virtual_ns
                             : clock_read_ns(CLOCK_MONOTONIC) - clock->origin_ns;
}

void clock_advance_to(stator_clock_t *clock, uint64_t at_ns) {
    if (clock->is_virtual && at_ns > clock->virtual_ns) { clock->virtual_ns = at_ns; }
}

void clock_wall_text(const stator_clock_t *clock, char *out, unsigned bytes) {
    uint64_t ns = clock->is_virtual ? clock->virtual_ns : clock_read_ns(CLOCK_REALTIME);
    time_t seconds = (time_t)(ns / 1000000000ull);
    struct tm parts;
    (void)gmtime_r(&seconds, &parts);
    char date[32];
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out, bytes, "%s.%03uZ", date, (unsigned)(ns / 1000000ull % 1000));
}
