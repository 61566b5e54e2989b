/*
 * The owned buffer, JSON strings and base64, and the allocator that aborts.
 *
 * Invariants: 1. len <= cap. 2. p is NULL exactly while cap is 0. 3. Growth at least
 * doubles, so that appending byte by byte stays linear. Any process; a buffer belongs to
 * one thread at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char BASE64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char HEX[] = "0123456789abcdef";
static const size_t CAP_MIN = 64;

/* Value of a base64 character, -1 for any other byte. */
static int
base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int
hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape of a character below U+0080 in a JSON string; 0 if it needs none, 'u' for
 * \u00XX. */
static char
json_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\f':
        return 'f';
    case '\r':
        return 'r';
    default:
        return c < 0x20 ? 'u' : 0;
    }
}

static void *
check(void *p)
{
    if (p == NULL) {
        fputs("siolite: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *
xmalloc(size_t n)
{
    return check(malloc(n ? n : 1));
}

void *
xcalloc(size_t n, size_t size)
{
    size_t len;
    if (__builtin_mul_overflow(n, size, &len))
        abort();
    return memset(xmalloc(len), 0, len); /* glibc's calloc goes past the thread's cache */
}

void *
xrealloc(void *p, size_t n)
{
    return check(realloc(p, n ? n : 1));
}

char *
xstrdup(const char *z)
{
    return str_dup(str_of(z));
}

char *
buf_reserve(struct buf *b, size_t n)
{
    assert(n <= SIZE_MAX / 2 - b->len);
    if (b->cap - b->len < n) {
        size_t cap = b->cap < CAP_MIN ? CAP_MIN : b->cap;
        while (cap - b->len < n)
            cap *= 2;
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    } else if (b->p == NULL) {
        b->p = xmalloc(CAP_MIN);
        b->cap = CAP_MIN;
    }
    return b->p + b->len;
}

void
buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->len += n;
}

void
buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.p, s.len);
}

void
buf_append_z(struct buf *b, const char *z)
{
    buf_append(b, z, strlen(z));
}

void
buf_append_int(struct buf *b, int64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        digits[--at] = '-';
    buf_append(b, digits + at, sizeof digits - at);
}

void
buf_append_f(struct buf *b, const char *fmt, ...)
{
    size_t room = 128;
    for (;;) {
        va_list args;
        char *p = buf_reserve(b, room);
        int n;
        va_start(args, fmt);
        n = vsnprintf(p, room, fmt, args);
        va_end(args);
        assert(n >= 0);
        if ((size_t)n < room) {
            b->len += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

void
buf_append_json(struct buf *b, struct str s, bool ascii)
{
    size_t i = 0, plain = 0; /* [plain, i) can be copied as it is */
    buf_reserve(b, s.len + 2);
    buf_append_c(b, '"');
    while (i < s.len) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t cp = c;
        size_t n = 1;
        char escape = 0;
        if (c < 0x80) {
            escape = json_escape(c);
            if (!escape) {
                i++;
                continue;
            }
        } else {
            n = str_utf8_next(s, i, &cp);
            if (cp != STR_BAD_UTF8 && !ascii) {
                i += n;
                continue;
            }
        }
        buf_append(b, s.p + plain, i - plain);
        if (c < 0x80 && escape != 'u') {
            buf_append_c(b, '\\');
            buf_append_c(b, escape);
        } else if (c < 0x80 || ascii) {
            buf_append_u_escape(b, cp);
        } else {
            buf_append_utf8(b, cp);
        }
        i += n;
        plain = i;
    }
    if (s.len)
        buf_append(b, s.p + plain, i - plain);
    buf_append_c(b, '"');
}

void
buf_append_base64(struct buf *b, struct str bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t left = bytes.len;
    char *out = buf_reserve(b, (bytes.len + 2) / 3 * 4);
    b->len += (bytes.len + 2) / 3 * 4;
    for (; left >= 3; left -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = BASE64[v >> 18];
        *out++ = BASE64[v >> 12 & 63];
        *out++ = BASE64[v >> 6 & 63];
        *out++ = BASE64[v & 63];
    }
    if (left) {
        uint32_t v = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);
        *out++ = BASE64[v >> 18];
        *out++ = BASE64[v >> 12 & 63];
        *out++ = left == 2 ? BASE64[v >> 6 & 63] : '=';
        *out++ = '=';
    }
}

enum rc
buf_append_unbase64(struct buf *b, struct str text)
{
    size_t len = text.len, n_out = 0;
    char *out;
    uint32_t v = 0;
    int n_bits = 0;

    if (len % 4 == 0 && len && text.p[len - 1] == '=')
        len -= text.p[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1)
        return RC_INVALID;
    out = buf_reserve(b, len / 4 * 3 + 3);
    for (size_t i = 0; i < len; i++) {
        int digit = base64_value((unsigned char)text.p[i]);
        if (digit < 0)
            return RC_INVALID;
        v = v << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n_out++] = (char)(v >> n_bits & 0xff);
        }
    }
    b->len += n_out;
    return RC_OK;
}

void
buf_append_form(struct buf *b, struct str text)
{
    char *out = buf_reserve(b, text.len);
    for (size_t i = 0; i < text.len; i++) {
        int high = -1, low = -1;
        if (text.p[i] == '%' && text.len - i > 2) {
            high = hex_value((unsigned char)text.p[i + 1]);
            low = hex_value((unsigned char)text.p[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            *out++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *out++ = text.p[i] == '+' ? ' ' : text.p[i];
        }
    }
    b->len = (size_t)(out - b->p);
}

void
buf_append_utf8(struct buf *b, uint32_t code_point)
{
    char *p = buf_reserve(b, 4);
    uint32_t v = code_point > 0x10ffff ? 0xfffd : code_point;
    if (v < 0x80) {
        p[0] = (char)v;
        b->len += 1;
    } else if (v < 0x800) {
        p[0] = (char)(0xc0 | v >> 6);
        p[1] = (char)(0x80 | (v & 0x3f));
        b->len += 2;
    } else if (v < 0x10000) {
        p[0] = (char)(0xe0 | v >> 12);
        p[1] = (char)(0x80 | (v >> 6 & 0x3f));
        p[2] = (char)(0x80 | (v & 0x3f));
        b->len += 3;
    } else {
        p[0] = (char)(0xf0 | v >> 18);
        p[1] = (char)(0x80 | (v >> 12 & 0x3f));
        p[2] = (char)(0x80 | (v >> 6 & 0x3f));
        p[3] = (char)(0x80 | (v & 0x3f));
        b->len += 4;
    }
}

void
buf_append_u_escape(struct buf *b, uint32_t code_point)
{
    uint32_t v = code_point > 0x10ffff ? 0xfffd : code_point;
    char *p;
    if (v >= 0x10000) {
        buf_append_u_escape(b, 0xd800 + ((v - 0x10000) >> 10));
        v = 0xdc00 + ((v - 0x10000) & 0x3ff);
    }
    p = buf_reserve(b, 6);
    p[0] = '\\';
    p[1] = 'u';
    p[2] = HEX[v >> 12];
    p[3] = HEX[v >> 8 & 15];
    p[4] = HEX[v >> 4 & 15];
    p[5] = HEX[v & 15];
    b->len += 6;
}

void
buf_drop_front(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->p, b->p + n, b->len);
}

char *
buf_take(struct buf *b, size_t *len)
{
    char *p;
    *buf_reserve(b, 1) = 0;
    p = b->p;
    if (len)
        *len = b->len;
    buf_init(b);
    return p;
}
