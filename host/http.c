#include "http.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct http {
    rt_t *rt;
    CURLM *multi;
    uv_timer_t timer;
};

/* A socket of libcurl's. */
typedef struct {
    uv_poll_t poll;
    struct http *http; /* gone when the host ends before the handle is closed */
    rt_t *rt;
    curl_socket_t socket;
} http_socket_t;

/* ---- libcurl on the loop --------------------------------------------------------------------- */

/* Takes a request off libcurl. */
static void drop_easy(http_job_t *job) {
    if (job->easy == NULL) { return; }
    (void)curl_multi_remove_handle(job->job.rt->http->multi, job->easy);
    curl_easy_cleanup(job->easy);
    curl_slist_free_all(job->headers);
    job->easy = NULL;
    job->headers = NULL;
}

/* Requests that have ended. */
static void collect_ended(struct http *http) {
    int left = 0;
    for (CURLMsg *message = NULL; (message = curl_multi_info_read(http->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE) { continue; }
        http_job_t *job = NULL;
        CURLcode code = message->data.result; /* gone with the handle */
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &job);
        job->code = code;
        (void)curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &job->status);
        (void)curl_easy_getinfo(job->easy, CURLINFO_OS_ERRNO, &job->system_error);
        drop_easy(job);
        job_end(&job->job);
    }
}

static void act(struct http *http, curl_socket_t where, int events) {
    int running = 0;
    (void)curl_multi_socket_action(http->multi, where, events, &running);
    collect_ended(http);
}

static void on_timer(uv_timer_t *timer) { act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static void on_poll(uv_poll_t *poll, int status, int events) {
    http_socket_t *at = poll->data;
    /* told of an error libcurl gives up: when it reads or writes it finds out itself, and asks on a
     * new connection if one that was kept has just been closed */
    int flags = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : 0;
    if ((events & UV_READABLE) != 0) { flags |= CURL_CSELECT_IN; }
    if ((events & UV_WRITABLE) != 0) { flags |= CURL_CSELECT_OUT; }
    act(at->http, at->socket, flags);
}

static int set_timer(CURLM *multi, long timeout_ms, void *context) {
    struct http *http = context;
    (void)multi;
    uv_update_time(&http->rt->loop->uv);
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&http->timer);
    } else {
        (void)uv_timer_start(&http->timer, on_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

static void on_socket_closed(uv_handle_t *handle) {
    http_socket_t *at = handle->data;
    at->rt->live_handles--;
    free(at);
}

static int set_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *known) {
    struct http *http = context;
    http_socket_t *at = known;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (at != NULL) {
            (void)curl_multi_assign(http->multi, socket, NULL);
            uv_close((uv_handle_t *)&at->poll, on_socket_closed);
        }
        return 0;
    }
    if (at == NULL) {
        at = memory_zeroed(sizeof *at);
        at->http = http;
        at->rt = http->rt;
        at->socket = socket;
        if (uv_poll_init_socket(&http->rt->loop->uv, &at->poll, socket) != 0) {
            free(at);
            return -1;
        }
        at->poll.data = at;
        http->rt->live_handles++;
        (void)curl_multi_assign(http->multi, socket, at);
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    if ((what & CURL_POLL_OUT) != 0) { events |= UV_WRITABLE; }
    return uv_poll_start(&at->poll, events, on_poll);
}

static struct http *http_of(rt_t *rt) {
    if (rt->http != NULL) { return rt->http; }
    struct http *http = memory_zeroed(sizeof *http);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    http->rt = rt;
    http->multi = curl_multi_init();
    memory_must(http->multi);
    (void)uv_timer_init(&rt->loop->uv, &http->timer);
    http->timer.data = http;
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_MAX_IDLE);
    rt->http = http;
    return http;
}

static void on_timer_closed(uv_handle_t *handle) { free(handle->data); }

void http_fini(rt_t *rt) {
    struct http *http = rt->http;
    if (http == NULL) { return; }
    rt->http = NULL;
    (void)curl_multi_cleanup(http->multi);
    uv_close((uv_handle_t *)&http->timer, on_timer_closed);
}

/* ---- one request ----------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t one, size_t bytes, void *context) {
    http_job_t *job = context;
    (void)one;
    job->over = job->body.count + bytes > job->limit;
    if (job->over) { return 0; }
    bytes_add(&job->body, data, bytes);
    return bytes;
}

static size_t on_header(char *data, size_t one, size_t bytes, void *context) {
    http_job_t *job = context;
    (void)one;
    bool starts = bytes >= 5 && memcmp(data, "HTTP/", 5) == 0;
    if (starts) { job->head.count = 0; } /* an interim or redirecting one came before */
    job->head_over = job->head.count + bytes > HTTP_MAX_HEADER_BYTES;
    if (job->head_over) { return 0; }
    if (!starts) { bytes_add(&job->head, data, bytes); }
    return bytes;
}

static void set_method(http_job_t *job) {
    CURL *easy = job->easy;
    if (job->text != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)job->text_bytes);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, job->text);
    }
    if (strcmp(job->method, "HEAD") == 0) {
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else {
        (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, job->method);
    }
}

static void set_options(http_job_t *job) {
    CURL *easy = job->easy;
    (void)curl_easy_setopt(easy, CURLOPT_URL, job->url);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->headers);
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, job->redirects > 0 ? 1L : 0L);
    (void)curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)job->redirects);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT,
                           1L); /* aborting does not wait for a resolver */
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->problem);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, job);
    if (job->ca != NULL) { /* and none of the system's */
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, job->ca);
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (job->proxy == NULL || strcmp(job->proxy, "environment") != 0) {
        (void)curl_easy_setopt(easy, CURLOPT_PROXY, job->proxy != NULL ? job->proxy : "");
    }
    set_method(job);
}

static void http_begin(job_t *base) {
    http_job_t *job = (http_job_t *)base;
    struct http *http = http_of(base->rt);
    job->easy = curl_easy_init();
    memory_must(job->easy);
    set_options(job);
    (void)curl_multi_add_handle(http->multi, job->easy);
}

static void http_stop(job_t *base) {
    drop_easy((http_job_t *)base);
    job_end(base);
}

static void http_destroy(job_t *base) {
    http_job_t *job = (http_job_t *)base;
    curl_slist_free_all(job->headers);
    free(job->method);
    free(job->url);
    free(job->ca);
    free(job->proxy);
    free(job->text);
    free(job->head.data);
    free(job->body.data);
}

/* ---- its result ------------------------------------------------------------------------------ */

/* Code of an error of libcurl's. */
static const char *code_of(const http_job_t *job) {
    switch ((int)job->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return "dns";
    case CURLE_COULDNT_CONNECT:
        return job->system_error == 0 || job->system_error == ECONNREFUSED ? "refused"
               : job->system_error == ETIMEDOUT                            ? "timeout"
                                                                           : "io";
    case CURLE_OPERATION_TIMEDOUT: return "timeout";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED: return "tls";
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR: return "closed";
    case CURLE_TOO_MANY_REDIRECTS: return "limit";
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_BAD_CONTENT_ENCODING: return "protocol";
    default: return "io";
    }
}

/* Adds one line of the head to the table on top; names in lower case, repeated ones joined. */
static void push_header(lua_State *L, const char *line, size_t bytes) {
    const char *colon = memchr(line, ':', bytes);
    if (colon == NULL) { return; }
    const char *value = colon + 1, *end = line + bytes;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && isspace((unsigned char)end[-1])) {
        end--;
    }
    luaL_Buffer name;
    luaL_buffinit(L, &name);
    for (const char *at = line; at < colon; at++) {
        luaL_addchar(&name, (char)tolower((unsigned char)*at));
    }
    luaL_pushresult(&name);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isstring(L, -1)) {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, (size_t)(end - value));
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
        lua_pushlstring(L, value, (size_t)(end - value));
    }
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, const bytes_t *head) {
    lua_newtable(L);
    const char *at = head->data, *end = head->data + head->count;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t bytes = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
        push_header(L, at, bytes);
        at += bytes + 1;
    }
}

static bool http_result(job_t *base, lua_State *L) {
    http_job_t *job = (http_job_t *)base;
    const char *what = job->method, *url = job->url;
    if (job->over || job->head_over) {
        job_push_error(L, "limit", "%s %.200s: more than %zu bytes of %s", what, url,
                       job->over ? job->limit : (size_t)HTTP_MAX_HEADER_BYTES,
                       job->over ? "body (max_bytes)" : "headers");
        return false;
    }
    if (job->code != CURLE_OK) {
        const char *why = job->problem[0] != '\0' ? job->problem : curl_easy_strerror(job->code);
        job_push_error(L, code_of(job), "%s %.200s: %s", what, url, why);
        return false;
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)job->status);
    lua_setfield(L, -2, "status");
    push_headers(L, &job->head);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, job->body.data, job->body.count);
    lua_setfield(L, -2, "body");
    lua_getfield(L, LUA_REGISTRYINDEX, HTTP_RESPONSE);
    lua_setmetatable(L, -2);
    return true;
}

const job_type_t HTTP_TYPE = {{"http", job_op_start, job_op_abort, NULL, NULL, NULL},
                              JOB_HTTP,
                              HTTP_MAX_ACTIVE,
                              false,
                              http_begin,
                              http_stop,
                              NULL,
                              http_result,
                              http_destroy};
