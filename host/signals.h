/* Signals of the process as operations. SIGINT, SIGTERM and SIGHUP are the host's. Once a script
 * has waited for a signal it does not end the process any more; one that comes while nobody waits
 * is dropped. Everybody who waits is woken, in the order in which they came. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "job.h"

enum { SIGNALS_MAX = 4 };

typedef struct signal_job {
    job_t job;
    uint32_t index; /* of signals_name */
    struct signal_job *next;
} signal_job_t;

extern const job_type_t SIGNAL_TYPE;

/* Name of an allowed signal, or NULL behind the last. */
const char *signals_name(uint32_t index);
/* Name of any signal, "SIGKILL". */
const char *signals_name_of(int number);
/* Closes the handles. */
void signals_fini(rt_t *rt);

#endif
