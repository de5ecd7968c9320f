/* A test runner for C. A test is a function named for a behaviour; CHECK prints both operands. */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int test_failures, test_failed_now, test_passes;

#define CHECK_EQ(actual, expected)                                                                 \
    do {                                                                                           \
        double got_ = (double)(actual), want_ = (double)(expected);                                \
        if (!(got_ == want_)) {                                                                    \
            printf("%s:%d: %s is %.17g, expected %s = %.17g\n", __FILE__, __LINE__, #actual, got_, \
                   #expected, want_);                                                              \
            test_failed_now = 1;                                                                   \
        }                                                                                          \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: expected %s\n", __FILE__, __LINE__, #condition);                        \
            test_failed_now = 1;                                                                   \
        }                                                                                          \
    } while (0)

#define CHECK_TEXT(actual, expected)                                                               \
    do {                                                                                           \
        const char *got_ = (actual), *want_ = (expected);                                          \
        if (got_ == NULL || strcmp(got_, want_) != 0) {                                            \
            printf("%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #actual,          \
                   got_ == NULL ? "(null)" : got_, want_);                                         \
            test_failed_now = 1;                                                                   \
        }                                                                                          \
    } while (0)

#define RUN(test)                                                                                  \
    do {                                                                                           \
        test_failed_now = 0;                                                                       \
        test();                                                                                    \
        if (test_failed_now) {                                                                     \
            printf("FAILED %s\n", #test);                                                          \
            test_failures++;                                                                       \
        } else {                                                                                   \
            test_passes++;                                                                         \
        }                                                                                          \
    } while (0)

static inline int test_report(void) {
    printf("%d passed, %d failed\n", test_passes, test_failures);
    return test_failures > 0;
}

#endif
