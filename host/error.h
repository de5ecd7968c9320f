/* Error values that C makes for Lua, see lua/stator/err.lua. */
#ifndef ERROR_H
#define ERROR_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Pushes an error value { code, message }. [-0 +1 m] */
void error_push(lua_State *L, const char *code, const char *message);
/* Writes "file.lua:12" of the innermost frame, from `level` on, that belongs to a script and not to
 * lua/stator; an empty text when there is none. Answers whether that frame is the innermost of
 * Lua altogether. Allocates nothing. */
bool error_place(lua_State *L, int level, char *out, size_t bytes);
/* Whether a function's source belongs to lua/stator, or is code that it has generated. */
bool error_is_runtime(const char *source);

#endif
