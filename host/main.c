/* The command line: arguments to options, options to a host, the host's exit code out. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "host.h"
#include "memory.h"

#define VERSION "0.1.0"

static const char USAGE[] =
    "usage: stator COMMAND [OPTIONS]\n"
    "\n"
    "  stator run SCENE      run the cell that SCENE (a JSON file) describes, until Ctrl-C\n"
    "  stator ctl SOCKET tasks [NAME] | entities [PATH] | status | systems | stop\n"
    "                        ask a running cell, see --control; --json: the answer as it came\n"
    "  stator ctl SOCKET reload [--plan] [--force] [--drop COMPONENT] | accept | revert\n"
    "                        take over saved files; keep the new revision; go back\n"
    "  stator check SCENE    validate the scene and its scripts; nothing is connected\n"
    "  stator --version\n"
    "  stator --help\n"
    "\n"
    "options of run and check:\n"
    "  --set KEY=VALUE       override a value of the scene's \"params\"; may be repeated\n"
    "options of run:\n"
    "  --ticks N             end in order after N ticks\n"
    "  --log text|json       how events are written (default: text)\n"
    "  --log-level LEVEL     debug, info, warn or error (default: info)\n"
    "  --virtual             virtual time: no waiting; without links the same run every time\n"
    "  --no-watch            do not look whether scripts were saved; SIGHUP still reloads\n"
    "  --control PATH        listen for stator ctl on this unix socket (or \"control\" in the "
    "scene)\n"
    "  --stats               at the end: runs, lateness and histograms of systems and loops\n"
    "  --explain-jit         at the end: loops that stay slow, why, and what to write instead\n"
    "  --walls LIST          force what a kernel may need: no-rotation, private-divert\n"
    "\n"
    "exit codes: 0 ended in order, 1 fault, 2 wrong usage, 3 scene or script invalid\n"
    "stator is not a safety function: emergency stops and gates belong to the safety controller.\n";

static int usage_error(const char *what, const char *value) {
    (void)fprintf(stderr, "stator: %s%s%s\n", what, value != NULL ? " " : "",
                  value != NULL ? value : "");
    (void)fprintf(stderr, "try: stator --help\n");
    return HOST_EXIT_USAGE;
}

static int take_walls(host_opts_t *opts, const char *list) {
    static const char *const names[] = {"no-rotation", "private-divert"};
    static const uint32_t walls[] = {ECS_WALL_NO_ROTATION, ECS_WALL_PRIVATE_DIVERT};
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        uint32_t found = 0;
        for (size_t i = 0; i < 2; i++) {
            bool same = strlen(names[i]) == length && strncmp(list, names[i], length) == 0;
            found |= same ? walls[i] : 0;
        }
        if (found == 0) {
            return usage_error("--walls expects no-rotation or private-divert, got", list);
        }
        opts->walls |= found;
        list += length + (list[length] == ',');
    }
    return 0;
}

/* Reads one option that takes a value. Returns 0 or an exit code. */
static int take_option(host_opts_t *opts, const char *name, const char *value) {
    if (strcmp(name, "--set") == 0) {
        if (strchr(value, '=') == NULL) {
            return usage_error("--set expects KEY=VALUE, got", value);
        }
        if (opts->set_count == HOST_MAX_SETS) { return usage_error("too many --set", NULL); }
        opts->sets[opts->set_count++] = value;
        return 0;
    }
    if (strcmp(name, "--ticks") == 0) {
        char *end = NULL;
        opts->max_ticks = strtoull(value, &end, 10);
        bool ok = end != value && *end == '\0' && opts->max_ticks > 0 && value[0] != '-';
        return ok ? 0 : usage_error("--ticks expects a number from 1, got", value);
    }
    if (strcmp(name, "--log") == 0) {
        opts->log_format = strcmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
        bool ok = strcmp(value, "json") == 0 || strcmp(value, "text") == 0;
        return ok ? 0 : usage_error("--log expects text or json, got", value);
    }
    if (strcmp(name, "--control") == 0) {
        opts->control = value;
        return 0;
    }
    if (strcmp(name, "--walls") == 0) { return take_walls(opts, value); }
    if (strcmp(name, "--log-level") == 0) {
        bool ok = log_level_parse(value, &opts->log_level) == 0;
        return ok ? 0 : usage_error("--log-level expects debug, info, warn or error, got", value);
    }
    return usage_error("unknown option", name);
}

static bool take_flag(host_opts_t *opts, const char *word) {
    bool *flag = strcmp(word, "--virtual") == 0       ? &opts->is_virtual
                 : strcmp(word, "--no-watch") == 0    ? &opts->no_watch
                 : strcmp(word, "--stats") == 0       ? &opts->show_stats
                 : strcmp(word, "--explain-jit") == 0 ? &opts->explain_jit
                                                      : NULL;
    if (flag != NULL) { *flag = true; }
    return flag != NULL;
}

static int parse(host_opts_t *opts, int count, char **words) {
    for (int i = 2; i < count; i++) {
        if (words[i][0] != '-') {
            if (opts->scene_path != NULL) {
                return usage_error("one scene at a time; unexpected", words[i]);
            }
            opts->scene_path = words[i];
        } else if (take_flag(opts, words[i])) {
            continue;
        } else if (i + 1 == count) {
            return usage_error("a value is missing after", words[i]);
        } else {
            int rc = take_option(opts, words[i], words[i + 1]);
            if (rc != 0) { return rc; }
            i++;
        }
    }
    return opts->scene_path != NULL ? 0 : usage_error("a scene file is missing", NULL);
}

int main(int count, char **words) {
    host_opts_t opts = {.log_level = LOG_INFO};
    const char *command = count > 1 ? words[1] : "";
    if (strcmp(command, "--version") == 0) { return printf("stator %s\n", VERSION) < 0; }
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) {
            return fputs(USAGE, stdout) < 0;
        }
    }
    if (count < 2) {
        (void)fputs(USAGE, stderr);
        return HOST_EXIT_USAGE;
    }
    if (strcmp(command, "ctl") == 0) { return ctl_main(count - 2, words + 2); }
    opts.check_only = strcmp(command, "check") == 0;
    if (!opts.check_only && strcmp(command, "run") != 0) {
        return usage_error("unknown command", command);
    }
    int rc = parse(&opts, count, words);
    if (rc != 0) { return rc; }
    host_t *host = memory_zeroed(sizeof *host);
    rc = host_init(host, &opts);
    if (rc == HOST_EXIT_OK) { rc = host_run(host); }
    host_fini(host);
    free(host);
    return rc;
}
