#include "log.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 4096 };
#define REPEAT_WINDOW_NS 1000000000ull

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

static void to_stdout(void *context, const char *line) {
    log_t *log = context;
    if (log->status_shown) { (void)fputs("\r\033[K", stdout); }
    log->status_shown = false;
    (void)fputs(line, stdout);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

void log_init(log_t *log, const stator_clock_t *clock) {
    *log = (log_t){.clock = clock, .level = LOG_INFO, .sink = to_stdout};
    log->context = log;
    log->terminal = isatty(STDOUT_FILENO) == 1;
}

size_t log_json_string(char *out, size_t bytes, const char *text) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    out[n++] = '"';
    for (const unsigned char *at = (const unsigned char *)text; *at != 0 && n + 8 < bytes; at++) {
        if (*at == '"' || *at == '\\') {
            out[n++] = '\\';
            out[n++] = (char)*at;
        } else if (*at == '\n') {
            out[n++] = '\\';
            out[n++] = 'n';
        } else if (*at < 0x20 || *at == 0x7f) {
            memcpy(out + n, "\\u00", 4);
            out[n + 4] = hex[*at >> 4];
            out[n + 5] = hex[*at & 15];
            n += 6;
        } else {
            out[n++] = (char)*at;
        }
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

static size_t json_member(char *out, size_t bytes, const char *name, const char *value) {
    if (value == NULL || value[0] == '\0' || bytes < 64) { return 0; }
    size_t n = (size_t)snprintf(out, bytes, ",\"%s\":", name);
    return n + log_json_string(out + n, bytes - n, value);
}

static void format_json(char *line, const log_event_t *event, const char *time) {
    size_t n = (size_t)snprintf(line, LINE_BYTES, "{\"time\":\"%s\",\"level\":\"%s\"", time,
                                LEVELS[event->level]);
    n += json_member(line + n, LINE_BYTES - 2 - n, "source", event->source);
    n += json_member(line + n, LINE_BYTES - 2 - n, "entity", event->entity);
    n += json_member(line + n, LINE_BYTES - 2 - n, "place", event->place);
    n += json_member(line + n, LINE_BYTES - 2 - n, "text", event->text);
    (void)snprintf(line + n, LINE_BYTES - n, "}");
}

static void format_text(char *line, const log_event_t *event, const char *time) {
    (void)snprintf(line, LINE_BYTES, "%.12s %-5s %s: %s%s%s%s%s%s%s", time + 11,
                   LEVELS[event->level], event->source != NULL ? event->source : "host",
                   event->text, event->entity != NULL ? " [" : "",
                   event->entity != NULL ? event->entity : "", event->entity != NULL ? "]" : "",
                   event->place != NULL ? " (" : "", event->place != NULL ? event->place : "",
                   event->place != NULL ? ")" : "");
    for (char *at = line; *at != '\0'; at++) { /* what a device sent must not steer a terminal */
        if ((unsigned char)*at < 0x20 && *at != '\n' && *at != '\t') { *at = '?'; }
    }
}

static void emit(log_t *log, const log_event_t *event) {
    char time[32], line[LINE_BYTES];
    clock_wall_text(log->clock, time, sizeof time);
    if (log->format == LOG_JSON) {
        format_json(line, event, time);
    } else {
        format_text(line, event, time);
    }
    (void)snprintf(log->kept[log->kept_count++ % LOG_KEPT_LINES], LOG_KEPT_BYTES, "%.*s",
                   LOG_KEPT_BYTES - 1, line);
    log->sink(log->context, line);
}

void log_flush(log_t *log) {
    if (log->repeats == 0) { return; }
    char text[64], source[128];
    (void)snprintf(text, sizeof text, "(the same %u more time%s)", log->repeats,
                   log->repeats == 1 ? "" : "s");
    (void)snprintf(source, sizeof source, "%.*s", (int)strcspn(log->last, "\n"), log->last);
    log_event_t event = {.level = log->last_level, .source = source, .text = text};
    log->repeats = 0;
    emit(log, &event);
}

void log_event(log_t *log, const log_event_t *event) {
    if (event->level < log->level) { return; }
    char key[sizeof log->last];
    int bytes =
        snprintf(key, sizeof key, "%s\n%s\n%s\n%s", event->source == NULL ? "" : event->source,
                 event->place == NULL ? "" : event->place,
                 event->entity == NULL ? "" : event->entity, event->text);
    bool whole = bytes < (int)sizeof key; /* what is longer may differ behind it */
    uint64_t now = clock_now_ns(log->clock);
    if (whole && event->level == log->last_level && strcmp(key, log->last) == 0 &&
        now - log->last_ns < REPEAT_WINDOW_NS) {
        log->repeats++;
        return;
    }
    log_flush(log);
    memcpy(log->last, key, sizeof key);
    log->last_level = event->level;
    log->last_ns = now;
    emit(log, event);
}

void log_printf(log_t *log, log_level_t level, const char *source, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_event(log, &(log_event_t){.level = level, .source = source, .text = text});
}

void log_status(log_t *log, const char *text) {
    if (!log->terminal || log->format != LOG_TEXT || log->sink != to_stdout) { return; }
    (void)fprintf(stdout, "\r\033[K%s", text);
    (void)fflush(stdout);
    log->status_shown = true;
}

int log_level_parse(const char *name, log_level_t *out) {
    for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++) {
        if (strcmp(LEVELS[i], name) == 0) {
            *out = (log_level_t)i;
            return 0;
        }
    }
    return -1;
}
