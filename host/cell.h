/* The Lua side of a host: its VM, the calls into lua/stator/boot.lua, and what happens when the VM
 * is lost. Thread: the host's. */
#ifndef CELL_H
#define CELL_H

#include "host.h"

/* Limits of a slice until the scene has been read. */
#define CELL_SLICE_SOFT_NS ((uint64_t)2000000)
#define CELL_SLICE_HARD_NS ((uint64_t)20000000)

/* Makes a VM with lua/stator in it; the scene is not loaded yet. HOST_EXIT_OK, or the reason was
 * told. */
int cell_vm_up(host_t *host);
/* Gives a VM back that cannot be closed, and all that lived in it. */
void cell_vm_down(host_t *host);
/* Loads the scene, starts its tasks and sets the first tick. HOST_EXIT_INVALID after it has told
 * what is wrong. */
int cell_load(host_t *host);
/* Calls boot[name] with the `arguments` on top of the stack. VM_OK, or the error was told;
 * VM_E_ABANDONED also when the VM is dead already. */
int cell_call(host_t *host, const char *name, int arguments, int results);
/* What a reload has asked for between two steps: a slice of its stage, its swap. */
void cell_outside(host_t *host);
/* A fresh VM in the place of the dead one, on the same world. After too many in a row nothing of
 * the scripts runs in it; when none can be made the host is stopped and faulted. */
void cell_replace_vm(host_t *host);
/* Listens where the scene or the command line says, if they do. HOST_EXIT_OK, or the reason was
 * told. */
int cell_listen(host_t *host, const char *path);
/* A control_answer_t with the host as its context. */
char *cell_answer(void *context, const char *line, size_t bytes, bool *last);
/* Tells an error of the start; HOST_EXIT_FAULT. */
int cell_cannot(host_t *host, const char *what);

#endif
