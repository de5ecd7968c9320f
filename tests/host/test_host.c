/* The host's parts that stand alone: JSON reader, timing wheel, arena, VM doors, log, loop. */
#include <lualib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#include "../support/test.h"
#include "code.h"
#include "json.h"
#include "keep.h"
#include "log.h"
#include "loop.h"
#include "vm.h"
#include "wheel.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

static int parse(const char *text, json_doc_t *doc, json_error_t *error) {
    return json_parse(doc, text, strlen(text), error);
}

static void json_keeps_order_and_positions(void) {
    json_doc_t doc;
    json_error_t error;
    CHECK_EQ(parse("{ \"b\": [1, true],\n  \"a\": \"x\\u00e9\\ud83d\\ude00\\n\" }", &doc, &error),
             0);
    const json_node_t *root = &doc.nodes[1];
    CHECK_EQ(root->type, JSON_OBJECT);
    CHECK_EQ(root->count, 2);
    const json_node_t *b = &doc.nodes[root->first];
    CHECK_TEXT(b->key, "b");
    CHECK_EQ(b->count, 2);
    CHECK_EQ(doc.nodes[b->first].number, 1);
    const json_node_t *a = &doc.nodes[b->next];
    CHECK_EQ(a->line, 2);
    CHECK_EQ(a->column, 8);
    CHECK_EQ(a->key_column, 3);
    CHECK_TEXT(a->text, "x\xc3\xa9\xf0\x9f\x98\x80\n");
    json_fini(&doc);
}

static void json_refuses_what_is_no_json(void) {
    static const char *const bad[][2] = {
        {"", "the text ends too early"},
        {"{\"a\":1,\"a\":2}", "\"a\" is there twice (first at line 1, column 2)"},
        {"[1,]", "unexpected ',' before ']'"},
        {"[01]", "not a number"},
        {"[1.]", "not a number"},
        {"[1e999]", "number is too large"},
        {"[-]", "not a number"},
        {"\"\\q\"", "unknown escape \\q"},
        {"\"\\ud800x\"", "lone high surrogate in \\u escape"},
        {"\"\\udc00\"", "lone low surrogate in \\u escape"},
        {"\"a\tb\"", "control character in text: write it as \\u0009"},
        {"\"\xff\"", "text is not UTF-8"},
        {"\"\xc0\x80\"", "text is not UTF-8"},
        {"[1] 2", "unexpected text after the end"},
        {"nul", "expected a value"},
        {"'a'", "text goes in double quotes"},
        {"// x", "comments are not part of JSON"},
        {"{\"a\" 1}", "expected ':' after \"a\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_doc_t doc;
        json_error_t error;
        CHECK_EQ(parse(bad[i][0], &doc, &error), -1);
        CHECK_TEXT(error.text, bad[i][1]);
    }
}

static void json_bounds_depth(void) {
    char text[200];
    json_doc_t doc;
    json_error_t error;
    memset(text, '[', 100);
    memset(text + 100, ']', 99);
    text[199] = '\0';
    CHECK_EQ(parse(text, &doc, &error), -1);
    CHECK_TEXT(error.text, "nested more than 64 deep");
}

/* ---- wheel ----------------------------------------------------------------------------------- */

enum { TIMERS = 3000 };

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

static void the_wheel_wakes_each_at_its_time_and_none_early(void) {
    static wheel_t wheel;
    static wheel_node_t nodes[TIMERS];
    uint64_t seed = 7, now = 0, last_due = 0;
    wheel_init(&wheel);
    for (size_t i = 0; i < TIMERS; i++) {
        uint64_t span = i % 3 == 0 ? 10000000000000ull : i % 3 == 1 ? 10000000000ull : 10000000ull;
        wheel_add(&wheel, &nodes[i], next_random(&seed) % span * (i % 3 == 0 ? 1000 : 1));
    }
    for (size_t i = 0; i < TIMERS; i += 7) {
        wheel_remove(&wheel, &nodes[i]);
    }
    int woken = 0, wrong = 0;
    while (wheel.count > 0) {
        uint64_t next = wheel_next_ns(&wheel);
        now = next > now ? next : now;
        const wheel_node_t *node = NULL;
        while ((node = wheel_pop(&wheel, now)) != NULL) {
            wrong += node->due_ns > now || node->due_ns + 1000000 < last_due;
            last_due = node->due_ns;
            woken++;
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(woken, TIMERS - (TIMERS + 6) / 7);
    CHECK_EQ(wheel_next_ns(&wheel), UINT64_MAX);
}

static void the_wheel_keeps_the_order_of_adding_within_a_millisecond(void) {
    static wheel_t wheel;
    wheel_node_t nodes[3];
    memset(nodes, 0, sizeof nodes);
    wheel_init(&wheel);
    wheel_add(&wheel, &nodes[0], 5300000);
    wheel_add(&wheel, &nodes[1], 5100000);
    wheel_add(&wheel, &nodes[2], 5900000);
    CHECK(wheel_pop(&wheel, 5000000) == NULL);
    CHECK(wheel_pop(&wheel, 5500000) == &nodes[0]);
    CHECK(wheel_pop(&wheel, 5500000) == &nodes[1]);
    CHECK(wheel_pop(&wheel, 5500000) == NULL);
    CHECK_EQ(wheel_next_ns(&wheel), 5900000);
}

/* ---- arena ----------------------------------------------------------------------------------- */

static void the_arena_keeps_contents_and_accounts_for_them(void) {
    enum { BLOCKS = 200 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    arena_t arena;
    uint64_t seed = 3;
    int wrong = 0;
    CHECK_EQ(arena_init(&arena, (size_t)1 << 30), 0);
    for (int step = 0; step < 50000; step++) {
        size_t i = next_random(&seed) % BLOCKS;
        size_t size = next_random(&seed) % (step % 10 == 0 ? 300000 : 3000);
        size_t keep = size < sizes[i] ? size : sizes[i];
        blocks[i] = arena_realloc(&arena, blocks[i], sizes[i], size);
        for (size_t k = 0; k < keep && k < 64; k++) {
            wrong += blocks[i][k] != (unsigned char)i;
        }
        if (size > 0) { memset(blocks[i], (int)i, size); }
        sizes[i] = size;
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        (void)arena_realloc(&arena, blocks[i], sizes[i], 0);
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(arena.used_bytes, 0);
    arena_fini(&arena);
}

static void a_full_arena_answers_null(void) {
    arena_t arena;
    CHECK_EQ(arena_init(&arena, 1 << 20), 0);
    CHECK(arena_realloc(&arena, NULL, 0, 2 << 20) == NULL);
    CHECK(arena_realloc(&arena, NULL, 0, 1000) != NULL);
    arena_fini(&arena);
}

/* ---- VM -------------------------------------------------------------------------------------- */

static vm_t test_vm;
static loop_t test_loop;
static stator_clock_t test_clock;

static void on_alarm(int number) {
    (void)number;
    if (vm_inside(&test_vm)) { vm_abandon(&test_vm); }
}

static void open_vm(void) {
    clock_init(&test_clock, false);
    CHECK_EQ(loop_init(&test_loop, &test_clock), 0);
    CHECK_EQ(vm_init(&test_vm, &test_clock), 0);
}

static void errors_stay_inside_the_doors(void) {
    open_vm();
    CHECK_EQ(luaL_loadstring(test_vm.L, "local a, b = ... return a + b"), 0);
    lua_pushinteger(test_vm.L, 2);
    lua_pushinteger(test_vm.L, 3);
    CHECK_EQ(vm_call(&test_vm, 2, 1), VM_OK);
    CHECK_EQ(lua_tonumber(test_vm.L, -1), 5);
    lua_pop(test_vm.L, 1);
    CHECK_EQ(luaL_loadstring(test_vm.L, "error('no')"), 0);
    CHECK_EQ(vm_call(&test_vm, 0, 1), VM_E_LUA);
    CHECK(strstr(lua_tostring(test_vm.L, -1), "no") != NULL);
    lua_pop(test_vm.L, 1);
    CHECK_EQ(lua_gettop(test_vm.L), 0);
    vm_fini(&test_vm);
    CHECK_EQ(loop_fini(&test_loop), 0);
}

/* What a watchdog will do: a loop that swallows errors is left by the jump point, its heap goes
 * back as a whole, and a fresh state works. */
static void a_slice_that_does_not_come_back_can_be_abandoned(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    (void)sigaction(SIGALRM, &action, NULL);
    for (int round = 0; round < 20; round++) {
        open_vm();
        CHECK_EQ(luaL_loadstring(test_vm.L, "local t = {} while true do t[#t % 1000 + 1] = {} end"),
                 0);
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
        struct itimerspec when = {.it_value = {0, 5000000}};
        CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
        CHECK_EQ(timer_settime(timer, 0, &when, NULL), 0);
        CHECK_EQ(vm_call(&test_vm, 0, 0), VM_E_ABANDONED);
        CHECK(test_vm.dead);
        CHECK_EQ(timer_delete(timer), 0);
        sigset_t set;
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGALRM);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        vm_discard(&test_vm);
        CHECK_EQ(loop_fini(&test_loop), 0);
    }
}

/* Blocks of ever other sizes use the addresses up long before the heap is full. */
static void a_heap_without_addresses_is_given_up_at_once(void) {
    open_vm();
    size_t reserve_bytes = test_vm.arena.reserve_bytes;
    CHECK_EQ(luaL_loadstring(test_vm.L, "return 1"), 0);
    test_vm.arena.reserve_bytes = test_vm.arena.top_bytes;
    CHECK(arena_is_spent(&test_vm.arena));
    CHECK_EQ(vm_call(&test_vm, 0, 0), VM_E_ABANDONED);
    CHECK(test_vm.dead);
    CHECK(strstr(test_vm.why, "scattered") != NULL);
    test_vm.arena.reserve_bytes = reserve_bytes;
    vm_discard(&test_vm);
    CHECK_EQ(loop_fini(&test_loop), 0);
}

static arena_alarm_t last_alarm;
static int alarms;

static void note_alarm(void *context, arena_alarm_t how) {
    (void)context;
    last_alarm = how;
    alarms++;
}

static void a_limit_is_told_and_so_is_what_goes_far_beyond(void) {
    arena_t arena;
    CHECK_EQ(arena_init(&arena, (size_t)64 << 20), 0);
    arena_set_limit(&arena, (size_t)4 << 20);
    arena.on_limit = note_alarm;
    alarms = 0;
    arena.strict = true;
    void *small = arena_realloc(&arena, NULL, 0, (size_t)3 << 20);
    CHECK(small != NULL && alarms == 0);
    void *large = arena_realloc(&arena, NULL, 0, (size_t)8 << 20);
    CHECK(large != NULL && alarms == 1 && last_alarm == ARENA_AT_LIMIT);
    CHECK(arena_realloc(&arena, NULL, 0, (size_t)16 << 20) != NULL);
    CHECK(alarms == 2 && last_alarm == ARENA_FAR);
    last_alarm = ARENA_AT_LIMIT;
    CHECK(arena_realloc(&arena, NULL, 0, (size_t)60 << 20) == NULL);
    CHECK(last_alarm == ARENA_FAR);
    arena_fini(&arena);
}

static bool is_lua(void (*function)(void)) {
    uintptr_t address = 0;
    memcpy(&address, &function, sizeof address);
    return code_is_lua(address);
}

extern const char __executable_start[], _end[]; // NOLINT(bugprone-reserved-identifier)
static int machine_code_seen;

static void look_at_pc(int number, siginfo_t *info, void *context) {
    const ucontext_t *at = context;
    uintptr_t pc = (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
    bool linked = pc >= (uintptr_t)__executable_start && pc < (uintptr_t)_end;
    (void)number;
    (void)info;
    machine_code_seen += code_is_lua(pc) && !linked; /* a hot loop was compiled */
}

static void the_code_of_lua_is_known_and_nothing_else(void) {
    CHECK(is_lua((void (*)(void))lua_pcall));
    CHECK(is_lua((void (*)(void))luaL_openlibs));
    CHECK(is_lua((void (*)(void))lua_newstate));
    CHECK(is_lua((void (*)(void))luaL_loadbufferx));
    CHECK(is_lua((void (*)(void))luaopen_table));
    CHECK(!is_lua((void (*)(void))vm_call));
    CHECK(is_lua((void (*)(void))arena_realloc));
    CHECK(!is_lua((void (*)(void))arena_fini));
    CHECK(!is_lua((void (*)(void))memcpy));
    CHECK(!is_lua((void (*)(void))uv_run));
    struct sigaction action = {.sa_sigaction = look_at_pc, .sa_flags = SA_SIGINFO};
    (void)sigaction(SIGALRM, &action, NULL);
    open_vm();
    CHECK_EQ(luaL_loadstring(test_vm.L, "local n = 0 for i = 1, 3e8 do n = n + i % 3 end"), 0);
    struct itimerval soon = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
    CHECK_EQ(vm_call(&test_vm, 0, 0), VM_OK);
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(machine_code_seen > 0);
    vm_fini(&test_vm);
    CHECK_EQ(loop_fini(&test_loop), 0);
}

/* Errors unwind through the C functions of the host: what they hold is given back. */
static int fails_always(lua_State *L) { return luaL_error(L, "no"); }

static void a_function_of_the_host_that_raises_is_left(void) {
    open_vm();
    vm_push_function(test_vm.L, fails_always);
    lua_setglobal(test_vm.L, "fails");
    CHECK_EQ(luaL_loadstring(test_vm.L, "for i = 1, 1000 do pcall(fails) end "
                                        "local co = coroutine.wrap(function() pcall(fails) "
                                        "coroutine.yield() fails() end) co() pcall(co) fails()"),
             0);
    CHECK_EQ(vm_call(&test_vm, 0, 0), VM_E_LUA);
    CHECK_EQ(test_vm.in_host, 0);
    vm_fini(&test_vm);
    CHECK_EQ(loop_fini(&test_loop), 0);
}

/* ---- log ------------------------------------------------------------------------------------- */

static char lines[16][4096];
static int line_count;

static void keep_line(void *context, const char *line) {
    (void)context;
    (void)snprintf(lines[line_count++ % 16], sizeof lines[0], "%s", line);
}

static log_t open_log(log_format_t format) {
    log_t log;
    clock_init(&test_clock, true);
    log_init(&log, &test_clock);
    log.sink = keep_line;
    log.format = format;
    line_count = 0;
    return log;
}

static void the_log_folds_repeats(void) {
    log_t log = open_log(LOG_TEXT);
    for (int i = 0; i < 5; i++) {
        log_printf(&log, LOG_WARN, "a", "same");
    }
    log_printf(&log, LOG_WARN, "a", "other");
    CHECK_EQ(line_count, 3);
    CHECK_TEXT(lines[0], "00:00:00.000 warn  a: same");
    CHECK_TEXT(lines[1], "00:00:00.000 warn  a: (the same 4 more times)");
    CHECK_TEXT(lines[2], "00:00:00.000 warn  a: other");
}

static void the_log_writes_json_that_stays_json(void) {
    log_t log = open_log(LOG_JSON);
    log_event(&log,
              &(log_event_t){
                  .level = LOG_ERROR, .source = "x\"y", .place = "f.lua:1", .text = "a\n\x01\\"});
    CHECK_TEXT(lines[0],
               "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"error\",\"source\":\"x\\\"y\","
               "\"place\":\"f.lua:1\",\"text\":\"a\\n\\u0001\\\\\"}");
    log_printf(&log, LOG_DEBUG, NULL, "below the level");
    CHECK_EQ(line_count, 1);
    static char huge[20000];
    memset(huge, '"', sizeof huge - 1);
    log_event(&log, &(log_event_t){.level = LOG_INFO, .source = huge, .text = huge});
    json_doc_t doc;
    json_error_t error;
    CHECK_EQ(json_parse(&doc, lines[1], strlen(lines[1]), &error), 0);
    json_fini(&doc);
}

/* ---- keep ------------------------------------------------------------------------------------ */

static const char *kept(const keep_t *keep, const char *name) {
    const keep_item_t *item = keep_find(keep, name);
    return item == NULL ? "(none)" : item->bytes;
}

static void kept_values_are_written_with_their_batch(void) {
    keep_t keep;
    keep_init(&keep);
    CHECK(keep_record(&keep, "a", "1", 1));
    keep_commit(&keep, NULL, 0);
    CHECK_TEXT(kept(&keep, "a"), "(none)"); /* the batch is open */
    CHECK(keep_record(&keep, "a", "2", 1));
    keep_drop(&keep, 1);
    CHECK_EQ(keep.pending_count, 1);
    keep_seal(&keep, 0);
    ecs_batch_result_t results[2] = {{.error = ECS_E_DEAD}, {.error = ECS_OK}};
    CHECK(keep_record(&keep, "b", "3", 1));
    keep_seal(&keep, 1);
    keep_commit(&keep, results, 2);
    CHECK_TEXT(kept(&keep, "a"), "(none)"); /* its batch was rejected */
    CHECK_TEXT(kept(&keep, "b"), "3");
    CHECK(keep_record(&keep, "b", "4", 1));
    keep_drop(&keep, 0);
    keep_commit(&keep, results, 2);
    CHECK_TEXT(kept(&keep, "b"), "3");
    keep_remove(&keep, "b");
    CHECK_TEXT(kept(&keep, "b"), "(none)");
    CHECK_EQ(keep.used_bytes, 0);
    keep_fini(&keep);
}

static void what_is_kept_is_bounded(void) {
    keep_t keep;
    char name[KEEP_NAME_BYTES + 1];
    char *big = calloc(1, KEEP_MAX_BYTES);
    keep_init(&keep);
    memset(name, 'n', KEEP_NAME_BYTES);
    name[KEEP_NAME_BYTES] = '\0';
    CHECK(!keep_put(&keep, name, "x", 1));
    CHECK(keep_record(&keep, "big", big, KEEP_MAX_BYTES / 2));
    CHECK(!keep_record(&keep, "more", big, KEEP_MAX_BYTES / 2));
    CHECK(keep_put(&keep, "more", big, KEEP_MAX_BYTES / 2)); /* the host's own is not refused */
    CHECK(!keep_record(&keep, "a", "x", 1));
    CHECK(keep_put(&keep, "small", "x", 1));
    CHECK_TEXT(kept(&keep, "small"), "x");
    keep_fini(&keep);
    free(big);
}

/* ---- loop ------------------------------------------------------------------------------------ */

static void a_virtual_clock_jumps_to_the_deadline(void) {
    stator_clock_t clock;
    loop_t loop;
    clock_init(&clock, true);
    CHECK_EQ(loop_init(&loop, &clock), 0);
    loop_wait(&loop, 3600ull * 1000000000ull);
    CHECK_EQ(clock_now_ns(&clock), 3600ull * 1000000000ull);
    CHECK_EQ(loop_fini(&loop), 0);
}

int main(void) {
    RUN(json_keeps_order_and_positions);
    RUN(json_refuses_what_is_no_json);
    RUN(json_bounds_depth);
    RUN(the_wheel_wakes_each_at_its_time_and_none_early);
    RUN(the_wheel_keeps_the_order_of_adding_within_a_millisecond);
    RUN(the_arena_keeps_contents_and_accounts_for_them);
    RUN(a_full_arena_answers_null);
    RUN(errors_stay_inside_the_doors);
    RUN(a_slice_that_does_not_come_back_can_be_abandoned);
    RUN(a_heap_without_addresses_is_given_up_at_once);
    RUN(a_limit_is_told_and_so_is_what_goes_far_beyond);
    RUN(the_code_of_lua_is_known_and_nothing_else);
    RUN(a_function_of_the_host_that_raises_is_left);
    RUN(kept_values_are_written_with_their_batch);
    RUN(what_is_kept_is_bounded);
    RUN(the_log_folds_repeats);
    RUN(the_log_writes_json_that_stays_json);
    RUN(a_virtual_clock_jumps_to_the_deadline);
    return test_report();
}
