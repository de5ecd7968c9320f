/* The walls around the world's memory, attacked from C: stray writes, stale references, closed
 * windows, on every kind of kernel that can be forced. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "world.h"

static ecs_world_t *guarded;
static volatile ecs_fault_t last_fault; /* noted by the handler */
static volatile uint32_t fault_count;

static void on_fault(int number, siginfo_t *info, void *context) {
    const ucontext_t *at = context;
    bool write = number == SIGSEGV && (at->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    last_fault = ecs_fault_divert(guarded, info->si_addr, write);
    fault_count++;
    if (last_fault == ECS_FAULT_NONE) { _exit(99); }
}

static uint32_t forced; /* walls of the worlds that the tests make */

static fixture_t open_guarded(void) {
    fixture_t f = {0};
    ecs_options_t options = {.reserve_bytes = (size_t)1 << 30, .walls = forced};
    const char *const xyz[] = {"double x", "double y", "double z"};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    CHECK_EQ(ecs_world_create(&f.world, &options), ECS_OK);
    CHECK_EQ(ecs_component_register(f.world, "Pos", xyz, 3, &f.pos), ECS_OK);
    CHECK_EQ(ecs_walls(f.world) & forced, forced);
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGBUS, &action, NULL);
    guarded = f.world;
    fault_count = 0;
    last_fault = ECS_FAULT_NONE;
    return f;
}

static ecs_id_t spawned(fixture_t *f, double x) {
    record_begin(f, 1);
    ecs_id_t id = spawn_pos(f, x);
    apply(f);
    return id;
}

static void set_x(fixture_t *f, ecs_id_t id, double x) {
    record_begin(f, 1);
    pos_t *slot = ecs_record(f->world, ECS_OP_SET, id, f->pos, 1);
    slot->x = x;
    apply(f);
}

/* Reads and writes that no sanitizer looks at. */
__attribute__((no_sanitize("address", "undefined"))) static double peek(const void *at) {
    return *(const volatile double *)at;
}
__attribute__((no_sanitize("address", "undefined"))) static void poke(const void *at,
                                                                      double value) {
    *(volatile double *)(uintptr_t)at = value;
}

static int map_lines(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    int lines = 0;
    for (int c = 0; file != NULL && (c = fgetc(file)) != EOF;) {
        lines += c == '\n';
    }
    if (file != NULL) { (void)fclose(file); }
    return lines;
}

static void a_write_to_the_view_is_diverted_and_the_world_unchanged(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    int lines = map_lines();
    for (int i = 0; i < 200; i++) {
        const pos_t *view = ecs_view(f.world, id, f.pos);
        poke(&view->x, 6);
        CHECK_EQ(last_fault, ECS_FAULT_READ_ONLY);
        CHECK_EQ(peek(&view->x), 6); /* the writer sees its write until it is told */
        CHECK_EQ(ecs_fault_settle(f.world), 1);
        CHECK_EQ(peek(&view->x), 5);
        set_x(&f, id, 5);
        CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    }
    CHECK_EQ(fault_count, 200);
    CHECK(map_lines() <= lines + 1);
    fixture_close(&f);
}

static void a_stale_reference_reads_poison(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    bool still = (ecs_walls(f.world) & ECS_WALL_NO_ROTATION) != 0;
    const pos_t *old = ecs_view(f.world, id, f.pos);
    set_x(&f, id, 5);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    if (!still) {
        CHECK_EQ(peek(&old->x), 0x1.f7f7f7f7f7f7fp+1016); /* bytes of 0x7f */
        CHECK_EQ(last_fault, ECS_FAULT_STALE);
        poke(&old->x, 1);
        CHECK_EQ(ecs_fault_settle(f.world), 1);
        CHECK_EQ(x_of(&f, id, f.pos), 5);
    } else {
        CHECK_EQ(peek(&old->x), 5);
        CHECK_EQ(fault_count, 0);
    }
    fixture_close(&f);
}

static void the_view_moves_only_when_it_was_used_and_something_was_written(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    uint64_t moves = ecs_maps(f.world).moves;
    (void)ecs_view(f.world, id, f.pos);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    CHECK_EQ(ecs_maps(f.world).moves, moves); /* nothing was written */
    set_x(&f, id, 1);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    if ((ecs_walls(f.world) & ECS_WALL_NO_ROTATION) == 0) {
        CHECK_EQ(ecs_maps(f.world).moves, moves + 1);
    }
    set_x(&f, id, 2);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    set_x(&f, id, 3);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    if ((ecs_walls(f.world) & ECS_WALL_NO_ROTATION) == 0) {
        CHECK_EQ(ecs_maps(f.world).moves, moves + 1); /* nobody had looked */
    }
    CHECK_EQ(x_of(&f, id, f.pos), 3);
    fixture_close(&f);
}

static void a_writers_reference_is_no_good_after_its_phase(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
        pos_t *kept = ecs_write(f.world, id, f.pos);
        kept->x = 7 + i;
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_REACT), ECS_OK);
        CHECK_EQ(x_of(&f, id, f.pos), 7 + i);
        poke(&kept->x, 8);
        CHECK_EQ(last_fault, ECS_FAULT_CLOSED);
        CHECK_EQ(ecs_fault_settle(f.world), 1);
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
        (void)ecs_write(f.world, id, f.pos);
        if ((ecs_walls(f.world) & ECS_WALL_NO_ROTATION) == 0) {
            poke(&kept->x, 9); /* nor in the next one */
            CHECK_EQ(last_fault, ECS_FAULT_CLOSED);
            CHECK_EQ(ecs_fault_settle(f.world), 1);
        }
        CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_RUN), ECS_OK);
        CHECK_EQ(x_of(&f, id, f.pos), 7 + i);
    }
    fixture_close(&f);
}

static void nor_is_a_writing_cursors(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    ecs_query_desc_t desc = {.write = {f.pos}, .write_count = 1};
    ecs_query_t *query = NULL;
    CHECK_EQ(ecs_query_create(f.world, &desc, &query), ECS_OK);
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_WRITE), ECS_OK);
    ecs_cursor_t *cursor = ecs_cursor_open(query);
    CHECK(ecs_cursor_next(cursor));
    pos_t *kept = (pos_t *)(uintptr_t)cursor->box[0].p;
    ecs_cursor_close(cursor);
    kept->x = 7;
    CHECK_EQ(ecs_phase_set(f.world, ECS_PHASE_REACT), ECS_OK);
    poke(&kept->x, 8);
    CHECK_EQ(last_fault, ECS_FAULT_CLOSED);
    CHECK_EQ(ecs_fault_settle(f.world), 1);
    CHECK_EQ(x_of(&f, id, f.pos), 7);
    fixture_close(&f);
}

static void past_the_end_of_the_world_there_is_poison(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    const char *view = ecs_view(f.world, id, f.pos);
    CHECK_EQ(peek(view + (500 << 20)), 0x1.f7f7f7f7f7f7fp+1016);
    CHECK_EQ(last_fault, ECS_FAULT_OUTSIDE);
    poke(view + (600 << 20), 1);
    CHECK_EQ(ecs_fault_settle(f.world), 2);
    set_x(&f, id, 6);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    CHECK_EQ(x_of(&f, id, f.pos), 6);
    fixture_close(&f);
}

static void more_stray_pages_than_there_is_room_for_are_all_diverted(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    int lines = map_lines();
    const char *view = ecs_view(f.world, id, f.pos);
    for (int i = 0; i < 1000; i++) {
        poke(view + (ptrdiff_t)(i % 200) * 4096, i);
    }
    CHECK(fault_count >= 200);
    CHECK(ecs_fault_settle(f.world) > 0);
    CHECK_EQ(x_of(&f, id, f.pos), 5);
    set_x(&f, id, 6);
    CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    CHECK_EQ(x_of(&f, id, f.pos), 6);
    CHECK(map_lines() <= lines + 1);
    fixture_close(&f);
}

static void an_address_of_nobody_is_left_alone(void) {
    fixture_t f = open_guarded();
    CHECK_EQ(ecs_fault_divert(f.world, NULL, true), ECS_FAULT_NONE);
    CHECK_EQ(ecs_fault_divert(f.world, (const char *)&f, true), ECS_FAULT_NONE);
    CHECK_EQ(ecs_fault_settle(f.world), 0);
    fixture_close(&f);
}

static void walls_hold_under_mlockall(void) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        printf("(mlockall: %s; this test ran without it)\n", strerror(errno));
    }
    a_write_to_the_view_is_diverted_and_the_world_unchanged();
    a_stale_reference_reads_poison();
    a_writers_reference_is_no_good_after_its_phase();
    (void)munlockall();
}

typedef struct {
    atomic_uintptr_t at; /* where the view lies, or lay a moment ago; 0: the end */
    uint32_t holes;
} settler_t;

/* Maps something where the view was, as soon as nothing is there. */
static void *settle_in_holes(void *context) {
    settler_t *settler = context;
    for (uintptr_t at = 1; at != 0; at = atomic_load(&settler->at)) {
        void *map = mmap((void *)at, 4096, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        settler->holes += map == (void *)at && at > 4096;
    }
    return NULL;
}

static void a_map_that_moves_leaves_no_hole_for_others(void) {
    fixture_t f = open_guarded();
    ecs_id_t id = spawned(&f, 5);
    settler_t settler = {.at = (uintptr_t)ecs_maps(f.world).view};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, settle_in_holes, &settler), 0);
    for (int i = 0; i < 3000; i++) {
        (void)ecs_view(f.world, id, f.pos);
        set_x(&f, id, i);
        atomic_store(&settler.at, (uintptr_t)ecs_maps(f.world).view);
        CHECK_EQ(ecs_views_expire(f.world), ECS_OK);
    }
    atomic_store(&settler.at, 0);
    (void)pthread_join(thread, NULL);
    CHECK_EQ(settler.holes, 0);
    fixture_close(&f);
}

static void left_core(void *context) { (*(int *)context)++; }

static void an_interrupt_waits_until_the_core_is_left(void) {
    fixture_t f = open_guarded();
    int left = 0;
    ecs_interrupt(f.world, left_core, &left);
    record_begin(&f, 1);
    CHECK_EQ(left, 0);
    (void)spawn_pos(&f, 1);
    CHECK_EQ(left, 1); /* once */
    apply(&f);
    ecs_interrupt(f.world, left_core, &left);
    ecs_interrupt(f.world, NULL, NULL);
    record_begin(&f, 1);
    (void)spawn_pos(&f, 1);
    apply(&f);
    CHECK_EQ(left, 1);
    fixture_close(&f);
}

static void the_same_declarations_again_are_the_same(void) {
    fixture_t f = open_guarded();
    ecs_query_desc_t desc = {.read = {f.pos}, .read_count = 1};
    ecs_query_t *one = NULL, *two = NULL;
    const char *const xyz[] = {"double x", "double y", "double z"};
    uint32_t again = 99;
    (void)spawned(&f, 1);
    CHECK_EQ(ecs_component_register(f.world, "Pos", xyz, 3, &again), ECS_OK);
    CHECK_EQ(again, f.pos);
    CHECK_EQ(ecs_component_register(f.world, "Pos", xyz, 2, &again), ECS_E_CONFLICT);
    CHECK_EQ(ecs_component_register(f.world, "New", xyz, 2, &again), ECS_E_PHASE);
    CHECK_EQ(ecs_query_create(f.world, &desc, &one), ECS_OK);
    CHECK_EQ(ecs_query_create(f.world, &desc, &two), ECS_OK);
    CHECK(one == two);
    ecs_cursor_t *lost = ecs_cursor_open(one);
    ecs_readers_reset(f.world);
    CHECK(ecs_cursor_open(one) == lost);
    CHECK(ecs_cursor_open(one) != lost);
    fixture_close(&f);
}

static void run_all(void) {
    RUN(a_write_to_the_view_is_diverted_and_the_world_unchanged);
    RUN(a_stale_reference_reads_poison);
    RUN(the_view_moves_only_when_it_was_used_and_something_was_written);
    RUN(a_writers_reference_is_no_good_after_its_phase);
    RUN(nor_is_a_writing_cursors);
    RUN(past_the_end_of_the_world_there_is_poison);
    RUN(more_stray_pages_than_there_is_room_for_are_all_diverted);
    RUN(walls_hold_under_mlockall);
}

int main(void) {
    run_all();
    forced = ECS_WALL_NO_ROTATION;
    run_all();
    forced = ECS_WALL_PRIVATE_DIVERT;
    run_all();
    forced = ECS_WALL_NO_ROTATION | ECS_WALL_PRIVATE_DIVERT;
    run_all();
    forced = 0;
    RUN(an_address_of_nobody_is_left_alone);
    RUN(a_map_that_moves_leaves_no_hole_for_others);
    RUN(an_interrupt_waits_until_the_core_is_left);
    RUN(the_same_declarations_again_are_the_same);
    return test_report();
}
