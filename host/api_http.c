/* stator.core.http: see lua/stator/http.lua, which has checked the arguments. */
#include "api.h"
#include "http.h"
#include "memory.h"

/* Copy of the text in a field of the table at 1, or NULL. */
static char *copy_field(lua_State *L, const char *name, size_t *bytes) {
    char *copy = NULL;
    size_t count = 0;
    lua_getfield(L, 1, name);
    const char *text = lua_tolstring(L, -1, &count);
    if (text != NULL) { copy = job_copy(text, count); }
    lua_pop(L, 1);
    if (bytes != NULL) { *bytes = count; }
    return copy;
}

static double number_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    double number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

/* The list of header lines in the table at 1. */
static struct curl_slist *copy_lines(lua_State *L) {
    struct curl_slist *list = NULL;
    lua_getfield(L, 1, "lines");
    for (int i = 1; i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        list = curl_slist_append(list, lua_tostring(L, -1));
        memory_must(list);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return list;
}

/* request { method, url, lines, body, limit, timeout, redirects, ca, proxy } -> operation */
static int l_request(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    http_job_t *job = (http_job_t *)job_new(L, &HTTP_TYPE, sizeof *job);
    lua_getfield(L, 1, "body");
    size_t bytes = lua_objlen(L, -1);
    lua_pop(L, 1);
    job_hold(L, &job->job, bytes);
    job->method = copy_field(L, "method", NULL);
    job->url = copy_field(L, "url", NULL);
    job->ca = copy_field(L, "ca", NULL);
    job->proxy = copy_field(L, "proxy", NULL);
    job->text = copy_field(L, "body", &job->text_bytes);
    job->headers = copy_lines(L);
    job->limit = (size_t)number_field(L, "limit");
    job->redirects = (int)number_field(L, "redirects");
    job->job.timeout_s = number_field(L, "timeout");
    job_push_op(L, &job->job);
    return 1;
}

/* response(metatable): that of responses */
static int l_response(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, HTTP_RESPONSE);
    return 0;
}

int api_open_http(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"request", l_request}, {"response", l_response}, {NULL, NULL}};
    lua_newtable(L);
    vm_register(L, functions);
    return 1;
}
