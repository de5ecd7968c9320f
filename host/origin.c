#include "origin.h"

#include <string.h>

#include "error.h"
#include "runtime.h"

enum { MAX_LEVELS = 12 };

/* The name of a script's text, kept alive by the registry: those of one text are one string. */
static const char *keep_name(lua_State *L, const char *source) {
    lua_getfield(L, LUA_REGISTRYINDEX, "stator.sources");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, "stator.sources");
    }
    lua_pushstring(L, source[0] == '@' || source[0] == '=' ? source + 1 : source);
    const char *name = lua_tostring(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return name;
}

static const char *name_of(lua_State *L, lua_Debug *frame) {
    (void)lua_getinfo(L, "S", frame);
    bool skip = strcmp(frame->source, "=[C]") == 0 || error_is_runtime(frame->source);
    return skip ? NULL : keep_name(L, frame->source);
}

/* The script's name of a frame's function, or NULL; and the line. */
static const char *find_name(lua_State *L, rt_t *rt, lua_Debug *frame) {
    uint64_t now = rt->vm->collections;
    (void)lua_getinfo(L, "fl", frame); /* at once: each call walks to the frame */
    const void *function = lua_topointer(L, -1);
    lua_pop(L, 1);
    origin_t *own = &rt->current->origin;
    if (own->function == function && own->collections == now) { return own->source; }
    origin_t *found = &rt->origins.known[((uintptr_t)function >> 5) % ORIGIN_SLOTS];
    if (found->function != function || found->collections != now) {
        *found = (origin_t){function, name_of(L, frame), now};
    }
    if (found->source != NULL) { *own = *found; }
    return found->source;
}

int origin_of(lua_State *L, const char **source) {
    rt_t *rt = rt_of(L);
    lua_Debug frame;
    for (int level = 1; level <= MAX_LEVELS && lua_getstack(L, level, &frame) != 0; level++) {
        *source = find_name(L, rt, &frame);
        if (*source != NULL) { return frame.currentline > 0 ? frame.currentline : 0; }
    }
    *source = NULL;
    return 0;
}
