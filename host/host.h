/* The composition root: owns clock, log, loop, world, guard, VM and runtime; brings them up and
 * takes them down in order; runs the ticks; replaces a VM that was lost. */
#ifndef HOST_H
#define HOST_H

#include "control.h"
#include "runtime.h"

enum { HOST_EXIT_OK = 0, HOST_EXIT_FAULT = 1, HOST_EXIT_USAGE = 2, HOST_EXIT_INVALID = 3 };
enum { HOST_MAX_SETS = 64, HOST_STEP_SAMPLES = 128 };

typedef struct {
    const char *scene_path;
    uint64_t max_ticks;    /* 0: until it is told to stop */
    bool check_only;       /* validate, connect nothing */
    bool is_virtual;       /* virtual time */
    bool reload_on_demand; /* the task of the reload starts when somebody asks, not with the cell:
                              for tests that count what runs */
    bool no_watch;         /* saved files are not noticed */
    log_format_t log_format;
    log_level_t log_level;
    const char *sets[HOST_MAX_SETS]; /* "key=value", override the scene's params */
    int set_count;
    const char *control; /* path of the control socket, instead of the scene's; NULL: the scene's */
    bool show_stats;     /* counts and histograms at the end */
    bool explain_jit;    /* at the end: what the compiler gave up on */
    uint32_t walls;      /* ECS_WALL_* to force */
    size_t world_bytes;  /* of the world's values, at most; 0: the core's default */
    uint32_t world_entities; /* ids there are room for, made at once; 0: no limit */
    uint32_t patience;       /* times the watchdog's limits; 0: 1 */
} host_opts_t;

typedef enum { LATE_SKIP, LATE_BURST, LATE_FAULT } late_policy_t;

typedef struct {
    host_opts_t opts;
    stator_clock_t clock;
    log_t log;
    loop_t loop;
    vm_t vm;
    ecs_world_t *world;
    rt_t *rt;
    guard_t guard;
    keep_t keep;
    control_t control;
    int boot_ref; /* the module stator.boot */
    size_t heap_limit_bytes;
    uint32_t losses, max_losses; /* VMs lost in a row; at so many the scripts stay stopped */
    uint64_t loss_ns;            /* when the last one was */
    bool quarantined;            /* no script runs any more */
    const char *stop_reason;
    uint64_t period_ns, next_tick_ns;
    bool react_now; /* react = "immediate" */
    late_policy_t late;
    uint64_t guard_ns; /* 0: p99 of recent reaction steps */
    uint64_t step_ns[HOST_STEP_SAMPLES];
    uint32_t step_count;
    uint64_t stop_deadline_ns; /* 0 while running */
    bool stopped, faulted;
    int signals;        /* stop signals received */
    uint64_t signal_ns; /* when the last one came */
    uv_signal_t interrupt, terminate, hangup;
    bool signals_open;
    uint64_t next_status_ns;
} host_t;

/* Brings everything up. HOST_EXIT_OK, or another exit code after the reasons were told; host_fini
 * is needed either way. */
int host_init(host_t *host, const host_opts_t *opts);
/* Loads and runs until stopped; returns the exit code. */
int host_run(host_t *host);
/* Takes SIGINT, SIGTERM and SIGHUP over from the process: host_run does, but on virtual time. */
void host_open_signals(host_t *host);
/* Runs until the clock has reached `at_ns`; a virtual clock then stands exactly there. */
void host_run_until(host_t *host, uint64_t at_ns);
/* One turn of the loop: a tick when one is due, else a wait and perhaps a reaction step. */
void host_turn(host_t *host);
/* Ends the cell in order: tasks are cancelled, links closed, within the scene's deadline. */
void host_stop(host_t *host, const char *reason);
void host_fini(host_t *host);
/* p50 and p99 of the lateness of recent ticks, in ns. */
void host_lateness(const host_t *host, uint64_t *p50_ns, uint64_t *p99_ns);

#endif
