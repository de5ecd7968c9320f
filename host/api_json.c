#include "api.h"
#include "json_lua.h"

#include <stdlib.h>

/* A node as a table: { type, line, col, value } and, for containers, its children in order as
 * array elements; a member also has key, key_line, key_col. */
static void push_node(lua_State *L, const json_doc_t *doc, uint32_t index) {
    static const char *const types[] = {"null",   "bool",  "bool",  "number",
                                        "string", "array", "object"};
    const json_node_t *node = &doc->nodes[index];
    luaL_checkstack(L, 8, "json");
    lua_createtable(L, (int)node->count, 7);
    lua_pushstring(L, types[node->type]);
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, (lua_Integer)node->line);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, (lua_Integer)node->column);
    lua_setfield(L, -2, "col");
    if (node->key != NULL) {
        lua_pushlstring(L, node->key, node->key_bytes);
        lua_setfield(L, -2, "key");
        lua_pushinteger(L, (lua_Integer)node->key_line);
        lua_setfield(L, -2, "key_line");
        lua_pushinteger(L, (lua_Integer)node->key_column);
        lua_setfield(L, -2, "key_col");
    }
    if (node->type == JSON_STRING) { lua_pushlstring(L, node->text, node->text_bytes); }
    if (node->type == JSON_NUMBER) { lua_pushnumber(L, node->number); }
    if (node->type == JSON_TRUE || node->type == JSON_FALSE) {
        lua_pushboolean(L, node->type == JSON_TRUE);
    }
    if (node->type >= JSON_FALSE && node->type <= JSON_STRING) { lua_setfield(L, -2, "value"); }
    int at = 1;
    for (uint32_t child = node->first; child != 0; child = doc->nodes[child].next) {
        push_node(L, doc, child);
        lua_rawseti(L, -2, at++);
    }
}

/* Reads the text at 1. The number of values pushed that say what is wrong, 0 for none: nil,
 * message, line, column. */
static int parse(lua_State *L, json_doc_t *doc) {
    size_t bytes = 0;
    const char *text = luaL_checklstring(L, 1, &bytes);
    json_error_t error;
    if (json_parse(doc, text, bytes, &error) == 0) { return 0; }
    lua_pushnil(L);
    lua_pushstring(L, error.text);
    lua_pushinteger(L, (lua_Integer)error.line);
    lua_pushinteger(L, (lua_Integer)error.column);
    return 4;
}

/* parse(text) -> root node, or nil, message, line, column. A Lua error leaves no document behind.
 */
static int l_parse(lua_State *L) {
    json_doc_t doc __attribute__((cleanup(json_fini))) = {0};
    int wrong = parse(L, &doc);
    if (wrong == 0) { push_node(L, &doc, 1); }
    return wrong == 0 ? 1 : wrong;
}

/* decode(text) -> value, or nil, message, line, column; the same */
static int l_decode(lua_State *L) {
    json_doc_t doc __attribute__((cleanup(json_fini))) = {0};
    int wrong = parse(L, &doc);
    if (wrong == 0) { json_lua_push(L, &doc, 1); }
    return wrong == 0 ? 1 : wrong;
}

static void free_out(const json_out_t *out) { free(out->text.data); }

/* encode(value, most bytes) -> text, or nil and a message */
static int l_encode(lua_State *L) {
    luaL_checkany(L, 1);
    json_out_t out __attribute__((cleanup(free_out))) = {0};
    out.max_bytes = (size_t)luaL_checknumber(L, 2);
    lua_pushvalue(L, 1);
    if (json_lua_write(L, &out) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, out.problem);
        return 2;
    }
    lua_pushlstring(L, out.text.data, out.text.count);
    return 1;
}

/* array(metatable): that of tables that are arrays also when they are empty */
static int l_array(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, JSON_LUA_ARRAY);
    return 0;
}

int api_open_json(lua_State *L) {
    static const luaL_Reg functions[] = {{"parse", l_parse},
                                         {"decode", l_decode},
                                         {"encode", l_encode},
                                         {"array", l_array},
                                         {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
