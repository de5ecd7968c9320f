/* Files that are built into the executable, made by cmake/embed.lua: the modules under lua/ and
 * the FFI-visible text of the core. */
#ifndef BUILTIN_H
#define BUILTIN_H

#include <stddef.h>

typedef struct {
    const char *name; /* of the module: "stator.task" */
    const char *path; /* for messages: "stator/task.lua" */
    const char *text;
    size_t bytes;
} builtin_t;

extern const builtin_t BUILTINS[];
extern const size_t BUILTIN_COUNT;
extern const char ABI_TEXT[];
extern const size_t ABI_TEXT_BYTES;

#endif
