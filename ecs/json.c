#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAX_DEPTH = 64, MAX_MEMBERS = 10000 };
#define MAX_BYTES ((size_t)64 << 20)

typedef struct {
    json_doc_t *doc;
    json_error_t *error;
    const char *at, *end, *line_start;
    uint32_t line;
    char *strings_at;
    int depth;
} reader_t;

static bool fail(reader_t *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static uint32_t value(reader_t *r);

static uint32_t column(const reader_t *r) { return (uint32_t)(r->at - r->line_start) + 1; }

static bool fail(reader_t *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    r->error->line = r->line;
    r->error->column = column(r);
    (void)vsnprintf(r->error->text, sizeof r->error->text, format, args);
    va_end(args);
    return false;
}

static void skip_space(reader_t *r) {
    for (; r->at < r->end; r->at++) {
        if (*r->at == '\n') {
            r->line++;
            r->line_start = r->at + 1;
        } else if (*r->at != ' ' && *r->at != '\t' && *r->at != '\r') {
            return;
        }
    }
}

static char peek(const reader_t *r) { return r->at < r->end ? *r->at : '\0'; }

/* 0 when memory is out, which fails what it is part of. */
static uint32_t node_new(reader_t *r, json_type_t type) {
    json_doc_t *doc = r->doc;
    json_node_t *made = ECS__PUSH(doc->nodes, doc->count, doc->capacity);
    if (made == NULL) {
        (void)fail(r, "out of memory");
        return 0;
    }
    *made = (json_node_t){.type = type, .line = r->line, .column = column(r)};
    return doc->count - 1;
}

/* ---- strings -------------------------------------------------------------------------------- */

static bool hex4(reader_t *r, unsigned *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = peek(r);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 99;
        if (digit == 99) { return fail(r, "expected four hexadecimal digits after \\u"); }
        *out = *out * 16 + digit;
    }
    return true;
}

static void put_utf8(reader_t *r, unsigned c) {
    char *to = r->strings_at;
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    r->strings_at = to;
}

static bool unicode_escape(reader_t *r) {
    unsigned high = 0, low = 0;
    if (!hex4(r, &high)) { return false; }
    if (high >= 0xdc00 && high <= 0xdfff) { return fail(r, "lone low surrogate in \\u escape"); }
    if (high < 0xd800 || high > 0xdbff) {
        put_utf8(r, high);
        return true;
    }
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') {
        return fail(r, "lone high surrogate in \\u escape");
    }
    r->at += 2;
    if (!hex4(r, &low)) { return false; }
    if (low < 0xdc00 || low > 0xdfff) { return fail(r, "lone high surrogate in \\u escape"); }
    put_utf8(r, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    return true;
}

static bool escape(reader_t *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    r->at++;
    char c = peek(r);
    if (c == 'u') {
        r->at++;
        return unicode_escape(r);
    }
    const char *known = c == '\0' ? NULL : strchr(from, c);
    if (known == NULL) { return fail(r, "unknown escape \\%c", c == '\0' ? ' ' : c); }
    *r->strings_at++ = to[known - from];
    r->at++;
    return true;
}

size_t json_utf8_bytes(const char *text, size_t bytes) {
    const unsigned char *s = (const unsigned char *)text;
    if (bytes == 0) { return 0; }
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    bool ok = n > 0 && n <= bytes;
    for (size_t i = 1; ok && i < n; i++) {
        ok = (s[i] & 0xc0) == 0x80;
    }
    if (ok && n == 3) { ok = !(s[0] == 0xe0 && s[1] < 0xa0) && !(s[0] == 0xed && s[1] > 0x9f); }
    if (ok && n == 4) { ok = !(s[0] == 0xf0 && s[1] < 0x90) && !(s[0] == 0xf4 && s[1] > 0x8f); }
    return ok ? n : 0;
}

static bool copy_char(reader_t *r) {
    size_t n = json_utf8_bytes(r->at, (size_t)(r->end - r->at));
    if (n == 0) { return fail(r, "text is not UTF-8"); }
    memcpy(r->strings_at, r->at, n);
    r->strings_at += n;
    r->at += n;
    return true;
}

static bool string(reader_t *r, const char **text, size_t *bytes) {
    uint32_t line = r->line, start = column(r);
    *text = r->strings_at;
    r->at++;
    while (peek(r) != '"' || r->at >= r->end) {
        if (r->at >= r->end || *r->at == '\n') {
            (void)fail(r, "text that began at line %u, column %u has no closing quote", line,
                       start);
            return false;
        }
        if ((unsigned char)*r->at < 0x20) {
            return fail(r, "control character in text: write it as \\u%04x", (unsigned)*r->at);
        }
        if (!(*r->at == '\\' ? escape(r) : copy_char(r))) { return false; }
    }
    r->at++;
    *bytes = (size_t)(r->strings_at - *text);
    *r->strings_at++ = '\0';
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static const char *digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static uint32_t number(reader_t *r) {
    const char *at = r->at;
    if (at < r->end && *at == '-') { at++; }
    const char *whole = at;
    at = digits(at, r->end);
    bool ok = at > whole && (at == whole + 1 || *whole != '0');
    if (ok && at < r->end && *at == '.') {
        const char *fraction = ++at;
        at = digits(at, r->end);
        ok = at > fraction;
    }
    if (ok && at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < r->end && (*at == '+' || *at == '-')) { at++; }
        const char *exponent = at;
        at = digits(at, r->end);
        ok = at > exponent;
    }
    size_t bytes = (size_t)(at - r->at);
    char copy[64];
    if (!ok || bytes >= sizeof copy) {
        (void)fail(r, ok ? "a number of more than 63 characters" : "not a number");
        return 0;
    }
    memcpy(copy, r->at, bytes);
    copy[bytes] = '\0';
    uint32_t node = node_new(r, JSON_NUMBER);
    double parsed = strtod(copy, NULL);
    if (parsed - parsed != 0) { /* infinite */
        (void)fail(r, "number is too large");
        return 0;
    }
    r->doc->nodes[node].number = parsed;
    r->at = at;
    return node;
}

static uint32_t word(reader_t *r, const char *text, json_type_t type) {
    size_t bytes = strlen(text);
    if ((size_t)(r->end - r->at) < bytes || memcmp(r->at, text, bytes) != 0) {
        (void)fail(r, "expected a value");
        return 0;
    }
    uint32_t node = node_new(r, type);
    r->at += bytes;
    return node;
}

static bool unique(reader_t *r, uint32_t parent, const char *key, size_t bytes) {
    for (uint32_t i = r->doc->nodes[parent].first; i != 0; i = r->doc->nodes[i].next) {
        const json_node_t *other = &r->doc->nodes[i];
        if (other->key_bytes == bytes && memcmp(other->key, key, bytes) == 0) {
            return fail(r, "\"%.60s\" is there twice (first at line %u, column %u)", key,
                        other->key_line, other->key_column);
        }
    }
    return true;
}

static bool member_key(reader_t *r, uint32_t parent, json_node_t *key) {
    skip_space(r);
    if (peek(r) != '"') { return fail(r, "expected a name in quotes"); }
    const char *at = r->at;
    if (r->doc->nodes[parent].count == MAX_MEMBERS) {
        return fail(r, "more than %d members in one object", MAX_MEMBERS);
    }
    key->key_line = r->line;
    key->key_column = column(r);
    if (!string(r, &key->key, &key->key_bytes)) { return false; }
    const char *after = r->at;
    r->at = at; /* point at the key */
    if (!unique(r, parent, key->key, key->key_bytes)) { return false; }
    r->at = after;
    skip_space(r);
    if (peek(r) != ':') { return fail(r, "expected ':' after \"%.60s\"", key->key); }
    r->at++;
    return true;
}

static uint32_t container(reader_t *r, json_type_t type) {
    char close = type == JSON_OBJECT ? '}' : ']';
    uint32_t node = node_new(r, type), last = 0;
    r->at++;
    if (++r->depth > MAX_DEPTH) { return fail(r, "nested more than %d deep", MAX_DEPTH), 0; }
    skip_space(r);
    while (peek(r) != close || last != 0) {
        json_node_t key = {0};
        if (type == JSON_OBJECT && !member_key(r, node, &key)) { return 0; }
        uint32_t child = value(r);
        if (child == 0) { return 0; }
        json_node_t *made = &r->doc->nodes[child];
        made->key = key.key;
        made->key_bytes = key.key_bytes;
        made->key_line = key.key_line;
        made->key_column = key.key_column;
        if (last == 0) {
            r->doc->nodes[node].first = child;
        } else {
            r->doc->nodes[last].next = child;
        }
        last = child;
        r->doc->nodes[node].count++;
        skip_space(r);
        if (peek(r) == close) { break; }
        if (peek(r) != ',') { return fail(r, "expected ',' or '%c'", close), 0; }
        r->at++;
        skip_space(r);
        if (peek(r) == close) { return fail(r, "unexpected ',' before '%c'", close), 0; }
    }
    r->at++;
    r->depth--;
    return node;
}

static uint32_t value(reader_t *r) {
    skip_space(r);
    if (r->at >= r->end) { return fail(r, "the text ends too early"), 0; }
    switch (*r->at) {
    case '{': return container(r, JSON_OBJECT);
    case '[': return container(r, JSON_ARRAY);
    case 't': return word(r, "true", JSON_TRUE);
    case 'f': return word(r, "false", JSON_FALSE);
    case 'n': return word(r, "null", JSON_NULL);
    case '"': {
        uint32_t node = node_new(r, JSON_STRING);
        const char *text = NULL;
        size_t bytes = 0;
        if (!string(r, &text, &bytes)) { return 0; }
        r->doc->nodes[node].text = text;
        r->doc->nodes[node].text_bytes = bytes;
        return node;
    }
    case '/': return fail(r, "comments are not part of JSON"), 0;
    case '\'': return fail(r, "text goes in double quotes"), 0;
    default:
        if (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')) { return number(r); }
        return fail(r, "expected a value"), 0;
    }
}

int json_parse(json_doc_t *doc, const char *text, size_t bytes, json_error_t *error) {
    *doc = (json_doc_t){0};
    *error = (json_error_t){.line = 1, .column = 1};
    reader_t r = {
        .doc = doc, .error = error, .at = text, .end = text + bytes, .line_start = text, .line = 1};
    if (bytes > MAX_BYTES) {
        (void)fail(&r, "more than 64 MiB");
        return -1;
    }
    doc->strings = ecs__calloc(bytes + 1, 1); /* decoded text is never longer than its source */
    r.strings_at = doc->strings;
    (void)node_new(&r, JSON_NULL); /* index 0 means none */
    bool ok = doc->strings != NULL && doc->nodes != NULL;
    ok = ok ? value(&r) != 0 : fail(&r, "out of memory");
    if (ok) {
        skip_space(&r);
        ok = r.at == r.end || fail(&r, "unexpected text after the end");
    }
    if (!ok) { json_fini(doc); }
    return ok ? 0 : -1;
}

void json_fini(json_doc_t *doc) {
    free(doc->nodes);
    free(doc->strings);
    *doc = (json_doc_t){0};
}
