/* Random histories of the core against the model. A failure prints its seed, the number of its
 * operation and the last operations; `--shrink` leaves out of it what it does not need.
 *
 * usage: test_model [--seed N] [--seeds COUNT] [--operations N] [--chunk-rows N] [--seconds N]
 *                   [--shrink]
 * Without --seed: a fixed list of seeds and one random one. With --seconds: random ones. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "operations.h"

#if defined(__SANITIZE_ADDRESS__)
enum { DEFAULT_SEEDS = 12 };
#else
enum { DEFAULT_SEEDS = 100 };
#endif
enum { DEFAULT_OPERATIONS = 10000, MOST_OPERATIONS = 1000000, SHRINK_RUNS = 4000 };

typedef struct {
    uint64_t seed;
    uint32_t seeds, operations, chunk_rows, seconds;
    bool seed_given, shrink;
} arguments_t;

static model_t *model;
static session_t *session;

/* ---- crashes tell where they happened, too --------------------------------------------------- */

static void tell_crash(void) {
    if (session->model != NULL && !session->quiet) { session_show(session, "crash"); }
    (void)fflush(stdout);
}

static void on_signal(int number) {
    (void)signal(number, SIG_DFL);
    tell_crash();
    (void)raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void catch_crashes(void) {
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_crash);
        return;
    }
    (void)signal(SIGSEGV, on_signal);
    (void)signal(SIGBUS, on_signal);
    (void)signal(SIGABRT, on_signal);
}

/* ---- a history ------------------------------------------------------------------------------ */

/* `skip` tells which operations to leave out, or is NULL. */
static void run(uint64_t seed, const arguments_t *a, const bool *skip, bool quiet) {
    session_open(session, model, seed, a->chunk_rows);
    session->quiet = quiet;
    for (uint32_t i = 0; i < a->operations; i++) {
        if (skip == NULL || !skip[i]) { operation_run(session, i); }
    }
    operation_finish(session);
    session_close(session);
}

/* ---- shrinking ------------------------------------------------------------------------------ */

static bool fails(uint64_t seed, const arguments_t *a, const bool *skip) {
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        (void)alarm(60);
        run(seed, a, skip, true);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Leaves out ever smaller pieces while it still fails, then shows what is left. */
static void shrink(uint64_t seed, arguments_t *a) {
    if (!fails(seed, a, NULL)) { return; }
    uint32_t low = 0, high = a->operations; /* the shortest prefix that fails */
    while (low + 1 < high) {
        a->operations = (low + high) / 2;
        if (fails(seed, a, NULL)) {
            high = a->operations;
        } else {
            low = a->operations;
        }
    }
    a->operations = high;
    bool *skip = calloc(high, sizeof *skip), *trial = calloc(high, sizeof *skip);
    uint32_t left = high, runs = 0;
    for (uint32_t piece = high / 2; piece > 0 && runs < SHRINK_RUNS; piece /= 2) {
        for (uint32_t at = 0; at < high; at += piece) {
            uint32_t taken = 0;
            memcpy(trial, skip, high * sizeof *skip);
            for (uint32_t i = at; i < high && i < at + piece; i++) {
                taken += !trial[i];
                trial[i] = true;
            }
            if (taken == 0 || runs++ >= SHRINK_RUNS || !fails(seed, a, trial)) { continue; }
            memcpy(skip, trial, high * sizeof *skip);
            left -= taken;
        }
    }
    printf("seed %llu fails with %u operations:\n", (unsigned long long)seed, left);
    (void)fflush(stdout);
    run(seed, a, skip, false);
    free(skip);
    free(trial);
}

/* ---- main ----------------------------------------------------------------------------------- */

static arguments_t parse(int argc, char **argv) {
    arguments_t a = {.seed = 1, .operations = DEFAULT_OPERATIONS, .chunk_rows = 16};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        uint64_t number = strtoull(value, NULL, 10);
        uint32_t *to = NULL;
        if (strcmp(argv[i], "--seed") == 0) {
            a.seed = number;
            a.seed_given = true;
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            to = &a.seeds;
        } else if (strcmp(argv[i], "--operations") == 0) {
            to = &a.operations;
        } else if (strcmp(argv[i], "--chunk-rows") == 0) {
            to = &a.chunk_rows;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            to = &a.seconds;
        } else if (strcmp(argv[i], "--shrink") == 0) {
            a.shrink = true;
        } else {
            (void)fprintf(stderr, "unknown argument %s: see the head of test_model.c\n", argv[i]);
            exit(2);
        }
        if (to != NULL) {
            *to = (uint32_t)number;
            i++;
        }
    }
    if (a.operations > MOST_OPERATIONS) { a.operations = MOST_OPERATIONS; }
    if (a.seeds == 0) { a.seeds = a.seed_given ? 1 : DEFAULT_SEEDS; }
    return a;
}

static uint64_t random_seed(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec) >> 4;
}

static void run_seed(uint64_t seed, arguments_t *a) {
    if (a->shrink) { shrink(seed, a); }
    run(seed, a, NULL, false);
}

/* Random seeds until the time is over, one at least. Returns how many. */
static uint32_t run_random(arguments_t *a) {
    uint32_t count = 0;
    time_t end = time(NULL) + (time_t)a->seconds;
    do {
        uint64_t seed = random_seed();
        printf("random seed %llu, %u operations\n", (unsigned long long)seed, a->operations);
        (void)fflush(stdout); /* known, should the process not end well */
        run_seed(seed, a);
        count++;
    } while (time(NULL) < end);
    return count;
}

int main(int argc, char **argv) {
    arguments_t a = parse(argc, argv);
    uint32_t passed = 0;
    model = calloc(1, sizeof *model);
    session = calloc(1, sizeof *session);
    catch_crashes();
    if (a.seconds > 0) {
        passed = run_random(&a);
    } else {
        for (uint32_t i = 0; i < a.seeds; i++, passed++) {
            run_seed(a.seed + i, &a);
        }
        if (!a.seed_given) { passed += run_random(&a); }
    }
    printf("%u passed, 0 failed\n", passed);
    free(model);
    free(session);
    return 0;
}
