#include "json_lua.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_INTEGERS 9007199254740992.0 /* 2^53 */

void json_lua_push(lua_State *L, const json_doc_t *doc, uint32_t index) {
    const json_node_t *node = &doc->nodes[index];
    luaL_checkstack(L, 4, "json");
    int at = 1;
    switch (node->type) {
    case JSON_NULL: lua_pushlightuserdata(L, NULL); break;
    case JSON_FALSE:
    case JSON_TRUE: lua_pushboolean(L, node->type == JSON_TRUE); break;
    case JSON_NUMBER: lua_pushnumber(L, node->number); break;
    case JSON_STRING: lua_pushlstring(L, node->text, node->text_bytes); break;
    case JSON_ARRAY:
        lua_createtable(L, (int)node->count, 0);
        for (uint32_t child = node->first; child != 0; child = doc->nodes[child].next) {
            json_lua_push(L, doc, child);
            lua_rawseti(L, -2, at++);
        }
        break;
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)node->count);
        for (uint32_t child = node->first; child != 0; child = doc->nodes[child].next) {
            lua_pushlstring(L, doc->nodes[child].key, doc->nodes[child].key_bytes);
            json_lua_push(L, doc, child);
            lua_rawset(L, -3);
        }
        break;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Where in the value: a chain from the inside out. */
typedef struct place {
    const struct place *outer;
    const char *key; /* of an object, or NULL */
    size_t index;    /* of an array */
    int depth;
} place_t;

typedef struct {
    const char *text;
    size_t bytes;
} name_t;

static int write_value(lua_State *L, json_out_t *out, const place_t *place);

static void path_of(const place_t *place, char *path) {
    if (place->outer == NULL) {
        (void)snprintf(path, JSON_LUA_PATH_BYTES, "$");
        return;
    }
    path_of(place->outer, path);
    size_t used = strlen(path);
    if (place->key != NULL) {
        (void)snprintf(path + used, JSON_LUA_PATH_BYTES - used, ".%.32s", place->key);
    } else {
        (void)snprintf(path + used, JSON_LUA_PATH_BYTES - used, "[%zu]", place->index);
    }
}

static int refuse(json_out_t *out, const place_t *place, const char *why) {
    char path[JSON_LUA_PATH_BYTES];
    path_of(place, path);
    (void)snprintf(out->problem, sizeof out->problem, "%s: %s", path, why);
    return -1;
}

static int add(json_out_t *out, const place_t *place, const char *text, size_t bytes) {
    if (out->text.count + bytes > out->max_bytes) {
        return refuse(out, place, "the text is too long");
    }
    bytes_add(&out->text, text, bytes);
    return 0;
}

static int write_number(json_out_t *out, const place_t *place, double number) {
    char text[40];
    if (!isfinite(number)) { return refuse(out, place, "JSON has no nan and no inf"); }
    if (number == floor(number) && fabs(number) < EXACT_INTEGERS) {
        (void)snprintf(text, sizeof text, "%.0f", number);
    } else {
        /* the shortest that comes back as the same number */
        for (int digits = 15; digits <= 17; digits++) {
            (void)snprintf(text, sizeof text, "%.*g", digits, number);
            if (strtod(text, NULL) == number) { break; }
        }
    }
    return add(out, place, text, strlen(text));
}

static int write_byte(json_out_t *out, const place_t *place, char byte) {
    char text[8] = {'\\', byte};
    size_t bytes = 2;
    switch (byte) {
    case '"':
    case '\\': break;
    case '\n': text[1] = 'n'; break;
    case '\r': text[1] = 'r'; break;
    case '\t': text[1] = 't'; break;
    default: bytes = (size_t)snprintf(text, sizeof text, "\\u%04x", (unsigned)byte); break;
    }
    return add(out, place, text, bytes);
}

static int write_text(json_out_t *out, const place_t *place, const char *text, size_t bytes) {
    int rc = add(out, place, "\"", 1);
    size_t from = 0;
    for (size_t at = 0; rc == 0 && at < bytes;) {
        size_t length = json_utf8_bytes(text + at, bytes - at);
        if (length == 0) { return refuse(out, place, "the text is no UTF-8"); }
        bool plain =
            length > 1 || ((unsigned char)text[at] >= 0x20 && text[at] != '"' && text[at] != '\\');
        if (!plain) {
            rc = add(out, place, text + from, at - from);
            if (rc == 0) { rc = write_byte(out, place, text[at]); }
            from = at + 1;
        }
        at += length;
    }
    if (rc == 0) { rc = add(out, place, text + from, bytes - from); }
    return rc == 0 ? add(out, place, "\"", 1) : rc;
}

static int by_name(const void *a, const void *b) {
    const name_t *x = a, *y = b;
    size_t shorter = x->bytes < y->bytes ? x->bytes : y->bytes;
    int order = memcmp(x->text, y->text, shorter);
    return order != 0 ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int write_object(lua_State *L, json_out_t *out, const place_t *place, size_t count) {
    int table = lua_gettop(L);
    name_t *names = lua_newuserdata(L, (count + 1) * sizeof *names);
    size_t found = 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        names[found].text = lua_tolstring(L, -2, &names[found].bytes);
        found++;
    }
    qsort(names, count, sizeof *names, by_name);
    int rc = add(out, place, "{", 1);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        place_t inner = {place, names[i].text, 0, place->depth + 1};
        if (i > 0) { rc = add(out, place, ",", 1); }
        if (rc == 0) { rc = write_text(out, &inner, names[i].text, names[i].bytes); }
        if (rc == 0) { rc = add(out, place, ":", 1); }
        if (rc != 0) { break; }
        lua_pushlstring(L, names[i].text, names[i].bytes);
        lua_rawget(L, table);
        rc = write_value(L, out, &inner);
        lua_pop(L, 1);
    }
    lua_settop(L, table);
    return rc == 0 ? add(out, place, "}", 1) : rc;
}

static int write_array(lua_State *L, json_out_t *out, const place_t *place, size_t count) {
    int rc = add(out, place, "[", 1);
    for (size_t i = 1; rc == 0 && i <= count; i++) {
        place_t inner = {place, NULL, i, place->depth + 1};
        if (i > 1) { rc = add(out, place, ",", 1); }
        if (rc != 0) { break; }
        lua_rawgeti(L, -1, (int)i);
        rc = write_value(L, out, &inner);
        lua_pop(L, 1);
    }
    return rc == 0 ? add(out, place, "]", 1) : rc;
}

/* Counts the names and the indexes of the table on top. Whether it has other keys than these. */
static bool count_keys(lua_State *L, size_t *names, size_t *indexes) {
    bool other = false;
    *names = *indexes = 0;
    double highest = (double)lua_objlen(L, -1);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        double index = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (lua_type(L, -2) == LUA_TSTRING) {
            (*names)++;
        } else if (index >= 1 && index <= highest && index == floor(index)) {
            (*indexes)++;
        } else {
            other = true;
        }
    }
    return other;
}

static int write_table(lua_State *L, json_out_t *out, const place_t *place) {
    bool marked = false;
    if (lua_getmetatable(L, -1) != 0) {
        lua_getfield(L, LUA_REGISTRYINDEX, JSON_LUA_ARRAY);
        marked = lua_rawequal(L, -1, -2) == 1;
        lua_pop(L, 2);
        if (!marked) { return refuse(out, place, "a table with a metatable cannot be written"); }
    }
    if (place->depth >= JSON_LUA_MAX_DEPTH) {
        return refuse(out, place, "nested more than 64 deep, or in itself");
    }
    size_t names = 0, indexes = 0;
    bool other = count_keys(L, &names, &indexes);
    if (other || indexes != (indexes > 0 ? lua_objlen(L, -1) : 0)) {
        return refuse(out, place, "a table has names, or the indexes 1 to n");
    }
    if (names > 0 && (indexes > 0 || marked)) {
        return refuse(out, place, "a table has names or indexes, not both");
    }
    return indexes > 0 || marked ? write_array(L, out, place, indexes)
                                 : write_object(L, out, place, names);
}

/* Writes the value on top, which stays. */
static int write_value(lua_State *L, json_out_t *out, const place_t *place) {
    luaL_checkstack(L, 8, "json");
    size_t bytes = 0;
    char why[64];
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? add(out, place, "true", 4) : add(out, place, "false", 5);
    case LUA_TNUMBER: return write_number(out, place, lua_tonumber(L, -1));
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, &bytes);
        return write_text(out, place, text, bytes);
    }
    case LUA_TTABLE: return write_table(L, out, place);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, -1) == NULL) { return add(out, place, "null", 4); }
        break;
    default: break;
    }
    bool view = lua_type(L, -1) > LUA_TTHREAD; /* LuaJIT's cdata */
    (void)snprintf(why, sizeof why, "a %s cannot be written", view ? "view" : luaL_typename(L, -1));
    return refuse(out, place, why);
}

int json_lua_write(lua_State *L, json_out_t *out) {
    const place_t root = {NULL, NULL, 0, 0};
    return write_value(L, out, &root);
}
