#include "crash.h"

#include <execinfo.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { MAX_FRAMES = 64, MAX_LEVELS = 20 };

void *volatile crash_lua;
static const log_t *crashed_log;
static volatile sig_atomic_t reporting;

static const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
static const char *const NAMES[] = {"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"};
enum { SIGNAL_COUNT = sizeof SIGNALS / sizeof SIGNALS[0] };
static struct sigaction before[SIGNAL_COUNT]; /* a sanitizer's, mostly the default */

static void say(const char *text) {
    ssize_t rc = write(STDERR_FILENO, text, strlen(text));
    (void)rc;
}

static void say_hex(uintptr_t value) {
    char text[2 + 2 * sizeof value + 1] = "0x";
    size_t at = 2;
    for (int shift = (int)sizeof value * 8 - 4; shift >= 0; shift -= 4) {
        unsigned digit = (unsigned)(value >> shift) & 15;
        if (digit != 0 || at > 2 || shift == 0) { text[at++] = "0123456789abcdef"[digit]; }
    }
    text[at] = '\0';
    say(text);
}

static void say_number(int value) {
    char text[16];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 && at > 0);
    say(text + at);
}

static void say_c_stack(void) {
    void *frames[MAX_FRAMES];
    say("C stack:\n");
    backtrace_symbols_fd(frames, backtrace(frames, MAX_FRAMES), STDERR_FILENO);
}

static void say_script_stack(void) {
    lua_State *L = crash_lua;
    lua_Debug frame;
    if (L == NULL) {
        say("no script was running\n");
        return;
    }
    say("script stack:\n");
    for (int level = 0; level < MAX_LEVELS && lua_getstack(L, level, &frame) == 1; level++) {
        if (lua_getinfo(L, "Sl", &frame) == 0) { break; }
        say("  ");
        say(frame.short_src);
        if (frame.currentline > 0) {
            say(":");
            say_number(frame.currentline);
        }
        say("\n");
    }
}

static void say_log(void) {
    if (crashed_log == NULL) { return; }
    say("last log lines:\n");
    for (unsigned i = LOG_KEPT_LINES; i > 0; i--) {
        if (crashed_log->kept_count < i) { continue; }
        say("  ");
        say(crashed_log->kept[(crashed_log->kept_count - i) % LOG_KEPT_LINES]);
        say("\n");
    }
}

void crash_report(int number, const void *address, uintptr_t pc) {
    const char *name = "a signal";
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        (void)sigaction(SIGNALS[i], &before[i], NULL); /* also for what fails inside the report */
        if (SIGNALS[i] == number) { name = NAMES[i]; }
    }
    if (reporting++ == 0) {
        say("\nstator: crashed: ");
        say(name);
        say(", address ");
        say_hex((uintptr_t)address);
        say(", at ");
        say_hex(pc);
        say("\n");
        say_log();
        say_script_stack();
        say_c_stack(); /* last: the unwinder may not know a frame */
        say("This is a fault of stator or of a native library, not of a script: please report "
            "it.\n");
    }
    /* the instruction runs again and has its default action; an abort is raised again */
}

static void on_crash(int number, siginfo_t *info, void *context) {
    const ucontext_t *at = context;
    crash_report(number, info->si_addr, (uintptr_t)at->uc_mcontext.gregs[REG_RIP]);
    if (number == SIGABRT) { (void)raise(number); }
}

void crash_prepare(void) {
    void *frames[2];
    (void)backtrace(frames, 2); /* loads libgcc now: later there may be no memory for it */
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        bool access = SIGNALS[i] == SIGSEGV || SIGNALS[i] == SIGBUS; /* the guard's */
        (void)sigaction(SIGNALS[i], access ? NULL : &action, &before[i]);
    }
}

void crash_log(const log_t *log) { crashed_log = log; }
