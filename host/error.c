#include "error.h"

#include <stdio.h>
#include <string.h>

enum { MAX_LEVELS = 12 };

void error_push(lua_State *L, const char *code, const char *message) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_getfield(L, LUA_REGISTRYINDEX, "stator.err"); /* its metatable, see err.lua */
    if (lua_istable(L, -1)) {
        lua_setmetatable(L, -2);
    } else {
        lua_pop(L, 1);
    }
}

bool error_is_runtime(const char *source) {
    return strncmp(source, "@stator/", 8) == 0 || strncmp(source, "=record", 7) == 0 ||
           strncmp(source, "=query", 6) == 0;
}

/* The frame's level, or -1; *innermost: no frame of the runtime lies above it. */
static int script_frame(lua_State *L, int level, lua_Debug *frame, bool *innermost) {
    *innermost = true;
    for (int end = level + MAX_LEVELS; level < end && lua_getstack(L, level, frame); level++) {
        if (lua_getinfo(L, "Sl", frame) == 0 || frame->currentline < 0) { continue; }
        if (!error_is_runtime(frame->source)) { return level; }
        *innermost = false;
    }
    return -1;
}

bool error_place(lua_State *L, int level, char *out, size_t bytes) {
    lua_Debug frame;
    bool innermost = false;
    out[0] = '\0';
    if (script_frame(L, level, &frame, &innermost) < 0) { return false; }
    (void)snprintf(out, bytes, "%s:%d", frame.short_src, frame.currentline);
    return innermost;
}
