/* Lua values as JSON and back, for payloads. */
#ifndef JSON_LUA_H
#define JSON_LUA_H

#include <lua.h>
#include <stddef.h>

#include "bytes.h"
#include "json.h"

enum { JSON_LUA_MAX_DEPTH = 64, JSON_LUA_PATH_BYTES = 160 };

typedef struct {
    bytes_t text;
    size_t max_bytes;
    char problem[256]; /* "$.a[2]: a function cannot be written" */
} json_out_t;

/* Pushes the value of a node. null is a light userdata NULL. [-0 +1 m] */
void json_lua_push(lua_State *L, const json_doc_t *doc, uint32_t index);
/* Appends the value on top of the stack, with the members of objects sorted by name. The registry's
 * field JSON_LUA_ARRAY holds the metatable of marked arrays. 0, or -1 with out->problem.
 * [-0 +0 m] */
int json_lua_write(lua_State *L, json_out_t *out);
#define JSON_LUA_ARRAY "stator.json.array"

#endif
