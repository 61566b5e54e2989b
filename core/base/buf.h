/*
 * An owned, growable buffer of bytes, and the allocator that aborts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_BUF_H
#define SIOLITE_CORE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/str.h"

/* Memory of our own fixed size, or of a size that was bounded before: these abort instead
 * of failing (R7). */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *z);

struct buf {
    char *p;    /* owned; NULL while cap is 0 */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

/* All zero is an empty buffer too. */
static inline void
buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

/* Frees; leaves an empty buffer. */
static inline void
buf_fini(struct buf *b)
{
    if (b->p)
        free(b->p);
    *b = (struct buf){0};
}

/* Room for `n` more bytes; the pointer to them is valid until the next call. */
char *buf_reserve(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_str(struct buf *b, struct str s);
void buf_append_z(struct buf *b, const char *z);
static inline void
buf_append_c(struct buf *b, char c)
{
    *(b->len < b->cap ? b->p + b->len : buf_reserve(b, 1)) = c;
    b->len++;
}

void buf_append_int(struct buf *b, int64_t v);
__attribute__((format(printf, 2, 3))) void
buf_append_f(struct buf *b, const char *fmt, ...);
/* A JSON string literal with its quotes; bytes that are not UTF-8 become U+FFFD; with
 * `ascii` everything above U+007F is written as \uXXXX. */
void buf_append_json(struct buf *b, struct str s, bool ascii);
void buf_append_base64(struct buf *b, struct str bytes); /* RFC 4648 section 4, padded */
/* Decodes and appends; RC_INVALID (nothing appended) for anything but canonical-alphabet
 * base64; padding may be absent. */
MUST_CHECK enum rc buf_append_unbase64(struct buf *b, struct str text);
/* Decodes application/x-www-form-urlencoded: '+' is a space, %XX a byte; broken escapes
 * stay as they are. */
void buf_append_form(struct buf *b, struct str text);
/* At most U+10FFFF; STR_BAD_UTF8 becomes U+FFFD. */
void buf_append_utf8(struct buf *b, uint32_t code_point);
/* The same as \uXXXX, or two of them above U+FFFF. */
void buf_append_u_escape(struct buf *b, uint32_t code_point);
/* Keeps the memory. */
static inline void
buf_clear(struct buf *b)
{
    b->len = 0;
}

void buf_drop_front(struct buf *b, size_t n); /* n <= len */
/* Borrowed until the next change. */
static inline struct str
buf_str(const struct buf *b)
{
    return (struct str){b->p, b->len};
}

/* The bytes, NUL-terminated, now owned by the caller; the buffer is empty afterwards. */
char *buf_take(struct buf *b, size_t *len);

#endif
