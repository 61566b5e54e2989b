/*
 * The JSON scanner. It finds where values end and checks them as strictly as JSON.parse
 * does, but keeps the bytes: numbers of any size, lone surrogates and duplicate keys pass
 * untouched.
 *
 * How: one loop over the text with a bit for each open bracket (array or object), so that
 * nothing recurses. Strings are skipped eight bytes at a time as long as they are plain
 * ASCII.
 *
 * Invariants:
 * 1. Nothing is read outside the view, whether or not it was scanned before.
 * 2. The depth is bounded by SIO_JSON_DEPTH_MAX, the size of the bit stack.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/json.h"

#include <string.h>

#define EACH_BYTE(c) (0x0101010101010101u * (uint64_t)(c))
/* Marks bytes below n (n <= 128); exact for the lowest marked byte, which is the one that
 * is used. */
#define BELOW(x, n) (((x)-EACH_BYTE(n)) & ~(x)&EACH_BYTE(0x80))

static bool
is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *
skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int
hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits, or -1. */
static int
hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* Behind the escape whose backslash is at `p`; NULL if it is none. */
static const char *
skip_escape(const char *p, const char *end)
{
    if (end - p < 2)
        return NULL;
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        return hex4(p + 2, end) < 0 ? NULL : p + 6;
    default:
        return NULL;
    }
}

/* `p` stands behind the opening quote; the result behind the closing one, NULL if the
 * string is bad. */
static const char *
skip_string(const char *p, const char *end)
{
    for (;;) {
        uint32_t cp;
        unsigned char c;
        size_t n;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        while (end - p >= 8) {
            uint64_t word, special;
            memcpy(&word, p, sizeof word);
            special = BELOW(word, 0x20) | BELOW(word ^ EACH_BYTE('"'), 1) |
                      BELOW(word ^ EACH_BYTE('\\'), 1) | (word & EACH_BYTE(0x80));
            if (special) {
                p += __builtin_ctzll(special) >> 3;
                break;
            }
            p += 8;
        }
#endif
        if (p >= end)
            return NULL;
        c = (unsigned char)*p;
        if (c == '"')
            return p + 1;
        if (c == '\\') {
            p = skip_escape(p, end);
            if (p == NULL)
                return NULL;
        } else if (c < 0x20) {
            return NULL;
        } else if (c < 0x80) {
            p++;
        } else {
            do { /* such characters come in runs */
                n = str_utf8_next((struct str){p, (size_t)(end - p)}, 0, &cp);
                if (cp == STR_BAD_UTF8)
                    return NULL;
                p += n;
            } while (p < end && (signed char)*p < 0);
        }
    }
}

static const char *
skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

static const char *
skip_number(const char *p, const char *end)
{
    const char *digits;
    if (p < end && *p == '-')
        p++;
    if (p >= end || !is_digit(*p))
        return NULL;
    p = *p == '0' ? p + 1 : skip_digits(p, end);
    if (p < end && *p == '.') {
        digits = p + 1;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

static const char *
skip_literal(const char *p, const char *end, const char *word, size_t len)
{
    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

/* A string, number, true, false or null at `p` < `end`; NULL if it is none of them. */
static const char *
skip_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return skip_string(p + 1, end);
    case 't':
        return skip_literal(p, end, "true", 4);
    case 'f':
        return skip_literal(p, end, "false", 5);
    case 'n':
        return skip_literal(p, end, "null", 4);
    default:
        return skip_number(p, end);
    }
}

/* `p` stands before a key or its white space; the result before the member's value, NULL
 * if there is none. */
static const char *
skip_key(const char *p, const char *end)
{
    p = skip_space(p, end);
    if (p >= end || *p != '"')
        return NULL;
    p = skip_string(p + 1, end);
    if (p == NULL)
        return NULL;
    p = skip_space(p, end);
    return p < end && *p == ':' ? p + 1 : NULL;
}

/* Behind the container that opens at `p` in *after, and behind its first item (or the
 * white space in front of its closing bracket) in *after_first; a flat state machine: a
 * value, then what may follow it. */
static enum rc
skip_container(const char *p, const char *end, int64_t depth_max,
               const char **after_first, const char **after)
{
    uint64_t is_object[SIO_JSON_DEPTH_MAX /
                       64]; /* a bit for each open bracket; set when opened */
    int64_t depth = 0;

    if (depth_max > SIO_JSON_DEPTH_MAX)
        depth_max = SIO_JSON_DEPTH_MAX;
    for (;;) {
        p = skip_space(p, end);
        if (p >= end)
            return RC_INVALID;
        if (*p == '[' || *p == '{') {
            uint64_t bit = (uint64_t)1 << (depth & 63);
            char close = *p == '[' ? ']' : '}';
            if (depth >= depth_max)
                return RC_TOOBIG;
            if (bit == 1)
                is_object[depth >> 6] = 0;
            if (close == '}')
                is_object[depth >> 6] |= bit;
            else
                is_object[depth >> 6] &= ~bit;
            depth++;
            p = skip_space(p + 1, end);
            if (p >= end)
                return RC_INVALID;
            if (*p != close) {
                if (close == '}' && (p = skip_key(p, end)) == NULL)
                    return RC_INVALID;
                continue;
            }
        } else {
            p = skip_scalar(p, end);
            if (p == NULL)
                return RC_INVALID;
        }
        for (;;) { /* behind a value, or at the bracket that closes an empty container */
            bool in_object = is_object[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1;
            if (depth == 1 && *after_first == NULL)
                *after_first = p;
            p = skip_space(p, end);
            if (p >= end)
                return RC_INVALID;
            if (*p == ',') {
                p++;
                if (in_object && (p = skip_key(p, end)) == NULL)
                    return RC_INVALID;
                break;
            }
            if (*p != (in_object ? '}' : ']'))
                return RC_INVALID;
            p++;
            if (--depth == 0) {
                *after = p;
                return RC_OK;
            }
        }
    }
}

/* SIO-JSON */
enum rc
sio_json_scan(struct str in, int64_t depth_max, enum sio_json_kind *kind,
              struct str *value, struct str *rest)
{
    const char *p, *end, *after, *after_first = NULL;
    in = sio_json_skip_space(in);
    if (in.len == 0)
        return RC_INVALID;
    p = in.p;
    end = in.p + in.len;
    if (*p == '[' || *p == '{') {
        enum rc rc = skip_container(p, end, depth_max, &after_first, &after);
        if (rc != RC_OK)
            return rc;
    } else {
        after = skip_scalar(p, end);
        if (after == NULL)
            return RC_INVALID;
    }
    *value = (struct str){p, (size_t)(after - p)};
    *kind = sio_json_kind_of(*value);
    *rest = (struct str){after, (size_t)(end - after)};
    return RC_OK;
}

enum rc
sio_json_scan_array(struct str in, int64_t depth_max, struct str *first,
                    struct str *others, struct str *rest)
{
    const char *p, *end, *after, *after_first = NULL;
    struct str inside, item;
    enum rc rc;
    in = sio_json_skip_space(in);
    if (in.len == 0 || in.p[0] != '[')
        return RC_INVALID;
    end = in.p + in.len;
    rc = skip_container(in.p, end, depth_max, &after_first, &after);
    if (rc != RC_OK)
        return rc;
    p = skip_space(in.p + 1, end);
    item = (struct str){p, (size_t)(after_first - p)};
    p = skip_space(after_first, end);
    p += *p == ',';
    inside = (struct str){p, (size_t)(after - 1 - p)};
    *first = item;
    *others = inside;
    *rest = (struct str){after, (size_t)(end - after)};
    return RC_OK;
}

enum sio_json_kind
sio_json_kind_of(struct str value)
{
    switch (value.len ? value.p[0] : 0) {
    case '"':
        return SIO_JSON_STRING;
    case '[':
        return SIO_JSON_ARRAY;
    case '{':
        return SIO_JSON_OBJECT;
    case 't':
        return SIO_JSON_TRUE;
    case 'f':
        return SIO_JSON_FALSE;
    case 'n':
        return SIO_JSON_NULL;
    default:
        return SIO_JSON_NUMBER;
    }
}

struct str
sio_json_skip_space(struct str s)
{
    size_t n = 0;
    while (n < s.len && is_space(s.p[n]))
        n++;
    return n ? (struct str){s.p + n, s.len - n} : s;
}

size_t
sio_json_string_len(struct str in)
{
    const char *after;
    if (in.len == 0 || in.p[0] != '"')
        return 0;
    after = skip_string(in.p + 1, in.p + in.len);
    return after ? (size_t)(after - in.p) : 0;
}

enum rc
sio_json_next(struct str *rest, enum sio_json_kind *kind, struct str *value)
{
    struct str in = sio_json_skip_space(*rest), item, after;
    enum sio_json_kind item_kind;
    enum rc rc;
    if (in.len == 0)
        return RC_NOTFOUND;
    rc = sio_json_scan(in, SIO_JSON_DEPTH_MAX, &item_kind, &item, &after);
    if (rc != RC_OK)
        return rc;
    after = sio_json_skip_space(after);
    if (after.len && after.p[0] != ',')
        return RC_INVALID;
    *rest = str_slice(after, 1, after.len);
    *kind = item_kind;
    *value = item;
    return RC_OK;
}

/* Appends the character of the \u escape at `p`, with its second half if that follows;
 * the result is behind it. */
static const char *
unquote_u(const char *p, const char *end, struct buf *out)
{
    int high = hex4(p + 2, end), low;
    uint32_t cp = (uint32_t)high;
    p += 6;
    if (high >= 0xd800 && high <= 0xdbff) {
        low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;
        if (low >= 0xdc00 && low <= 0xdfff) {
            cp = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
            p += 6;
        } else {
            cp = STR_BAD_UTF8;
        }
    } else if (high >= 0xdc00 && high <= 0xdfff) {
        cp = STR_BAD_UTF8;
    }
    buf_append_utf8(out, cp);
    return p;
}

static char
escaped_char(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* quote, backslash, slash */
    }
}

enum rc
sio_json_unquote(struct str literal, struct buf *out)
{
    const char *p, *end, *backslash;
    if (literal.len < 2 || sio_json_string_len(literal) != literal.len)
        return RC_INVALID;
    p = literal.p + 1;
    end = literal.p + literal.len - 1;
    while (p < end) {
        backslash = memchr(p, '\\', (size_t)(end - p));
        if (backslash == NULL)
            backslash = end;
        buf_append(out, p, (size_t)(backslash - p));
        p = backslash;
        if (p == end)
            break;
        if (p[1] == 'u') {
            p = unquote_u(p, end, out);
        } else {
            buf_append_c(out, escaped_char(p[1]));
            p += 2;
        }
    }
    return RC_OK;
}

/* Is the valid literal `key` this name? */
static bool
is_name(struct str key, const char *name)
{
    struct str inside = str_slice(key, 1, key.len - 1);
    struct buf plain = {0};
    bool same;
    if (str_index(inside, '\\') == inside.len)
        return str_eqz(inside, name);
    if (inside.len > 6 * strlen(name)) /* no escape is longer */
        return false;
    same = sio_json_unquote(key, &plain) == RC_OK && str_eqz(buf_str(&plain), name);
    buf_fini(&plain);
    return same;
}

enum rc
sio_json_member(struct str object, const char *name, enum sio_json_kind *kind,
                struct str *value)
{
    struct str rest = sio_json_skip_space(object), key, item;
    enum sio_json_kind item_kind;
    bool is_found = false;
    if (rest.len == 0 || rest.p[0] != '{')
        return RC_INVALID;
    rest = sio_json_skip_space(str_slice(rest, 1, rest.len));
    while (rest.len && rest.p[0] != '}') {
        enum rc rc;
        key = str_slice(rest, 0, sio_json_string_len(rest));
        rest = sio_json_skip_space(str_slice(rest, key.len, rest.len));
        if (key.len == 0 || rest.len == 0 || rest.p[0] != ':')
            return RC_INVALID;
        rc = sio_json_scan(str_slice(rest, 1, rest.len), SIO_JSON_DEPTH_MAX, &item_kind,
                           &item, &rest);
        if (rc != RC_OK)
            return rc;
        if (is_name(key, name)) {
            *kind = item_kind;
            *value = item;
            is_found = true;
        }
        rest = sio_json_skip_space(rest);
        if (rest.len && rest.p[0] == ',')
            rest = sio_json_skip_space(str_slice(rest, 1, rest.len));
    }
    return is_found ? RC_OK : RC_NOTFOUND;
}

bool
sio_json_is_placeholder(struct str value, int64_t *num)
{
    enum sio_json_kind kind;
    struct str item;
    int64_t n;
    if (sio_json_member(value, "_placeholder", &kind, &item) != RC_OK ||
        kind != SIO_JSON_TRUE)
        return false;
    if (sio_json_member(value, "num", &kind, &item) != RC_OK || kind != SIO_JSON_NUMBER)
        return false;
    if (str_to_int(item, 0, INT64_MAX, &n) != RC_OK)
        return false;
    *num = n;
    return true;
}

void
sio_json_to_ascii(struct buf *b, struct str json)
{
    size_t i = 0, plain = 0;
    while (i < json.len) {
        uint32_t cp;
        if ((signed char)json.p[i] >= 0) {
            i++;
            continue;
        }
        buf_append(b, json.p + plain, i - plain);
        i += str_utf8_next(json, i, &cp);
        buf_append_u_escape(b, cp);
        plain = i;
    }
    if (json.len)
        buf_append(b, json.p + plain, i - plain);
}
