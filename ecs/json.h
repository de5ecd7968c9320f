/* A small JSON reader that keeps the order of members and the position of every node, and refuses
 * duplicate keys. RFC 8259, UTF-8; at most 64 levels deep and 64 MiB long. Codec: no I/O. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type_t;

typedef struct {
    json_type_t type;
    uint32_t line, column; /* from 1; of the value */
    uint32_t key_line, key_column;
    const char *key; /* of an object's member, else NULL */
    size_t key_bytes;
    const char *text; /* string, decoded, closed by 0 */
    size_t text_bytes;
    double number;
    uint32_t count; /* elements or members */
    uint32_t next;  /* next sibling, 0 at the end */
    uint32_t first; /* first child, 0 when there is none */
} json_node_t;

typedef struct {
    uint32_t line, column;
    char text[160];
} json_error_t;

typedef struct {
    json_node_t *nodes; /* nodes[1] is the root */
    uint32_t count, capacity;
    char *strings;
} json_doc_t;

/* 0, or -1 with *error filled. The document owns its strings. */
int json_parse(json_doc_t *doc, const char *text, size_t bytes, json_error_t *error);
/* Accepts a zeroed document. */
void json_fini(json_doc_t *doc);
/* Length of the well-formed UTF-8 sequence at the start of `text`; 0 when there is none. */
size_t json_utf8_bytes(const char *text, size_t bytes);

#endif
