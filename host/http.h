/* HTTP/1.1 requests as operations: libcurl's multi interface on the loop.
 *
 *   uv_poll, uv_timer ──▶ curl_multi_socket_action ──▶ callbacks fill buffers ──▶ job_end
 *
 * HTTP and HTTPS only; certificates are checked; redirects, proxies and cookies only when asked
 * for. A request whose operation is gone is taken off its connection at once. Connections that may
 * be used again stay open, at most HTTP_MAX_IDLE, also when a VM is lost. Deadlines are the host's;
 * libcurl's timer is its own business and real time. */
#ifndef HTTP_H
#define HTTP_H

#include "bytes.h"
#include "job.h"

#include <curl/curl.h>

enum { HTTP_MAX_ACTIVE = 32, HTTP_MAX_IDLE = 8, HTTP_MAX_HEADER_BYTES = 65536 };

typedef struct {
    job_t job;
    CURL *easy;
    struct curl_slist *headers; /* of the request */
    char *method, *url, *ca, *proxy;
    char *text; /* body to send, or NULL */
    size_t text_bytes, limit;
    int redirects;
    CURLcode code;
    long status, system_error;
    bytes_t head, body; /* of the response; the head is the last one's */
    bool over, head_over;
    char problem[CURL_ERROR_SIZE];
} http_job_t;

extern const job_type_t HTTP_TYPE;

/* Closes everything. No request is left. */
void http_fini(rt_t *rt);

/* The field of Lua's registry that holds the metatable of responses. */
#define HTTP_RESPONSE "stator.http.response"

#endif
