/* The structured log: one record an event, one sink, no allocation. Text for people, JSON lines
 * for machines. An event equal to the one before it is counted and told once it ends. */
#ifndef LOG_H
#define LOG_H

#include <stdio.h>

#include "clock.h"

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;
typedef enum { LOG_TEXT, LOG_JSON } log_format_t;

typedef struct {
    log_level_t level;
    const char *source; /* who: "line1/sort", "link plc", "host"; NULL: host */
    const char *place;  /* file:line, or NULL */
    const char *entity; /* path, or NULL */
    const char *text;
} log_event_t;

/* Receives each finished line without its newline. */
typedef void (*log_sink_t)(void *context, const char *line);

enum { LOG_KEPT_LINES = 12, LOG_KEPT_BYTES = 256 };

typedef struct {
    const stator_clock_t *clock;
    log_format_t format;
    log_level_t level; /* lower ones are dropped */
    log_sink_t sink;
    void *context;
    char last[1024]; /* the event that may repeat, for comparing */
    unsigned repeats;
    log_level_t last_level;
    uint64_t last_ns;
    bool status_shown; /* a status line stands on the terminal */
    bool terminal;
    char kept[LOG_KEPT_LINES][LOG_KEPT_BYTES]; /* ring of the last lines, for a crash report */
    unsigned kept_count;
} log_t;

/* Writes to standard output; another `sink` may replace it. */
void log_init(log_t *log, const stator_clock_t *clock);
void log_event(log_t *log, const log_event_t *event);
void log_printf(log_t *log, log_level_t level, const char *source, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A line that is replaced in place on a terminal; elsewhere nothing is shown. */
void log_status(log_t *log, const char *text);
/* Tells what is held back. */
void log_flush(log_t *log);
/* -1 when `name` is no level. */
int log_level_parse(const char *name, log_level_t *out);
/* Writes `text` as a JSON string with its quotes; always closes it, cutting when out of room. */
size_t log_json_string(char *out, size_t bytes, const char *text);

#endif
