/*
 * A borrowed view of bytes. Never NUL-terminated by faith: bytes from a peer
 * may hold anything (house style M2).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_BASE_STR_H
#define SIOLITE_CORE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/base/rc.h"

struct str {
    const char *p; /* borrowed; may be NULL only if len is 0 */
    size_t len;
};

/* For printf: ("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).len, (s).p ? (s).p : ""
/* A view of a literal. */
#define STR(literal) ((struct str){("" literal), sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})

/* The shortest ones are inline: with literals little is left of them. */
/* NUL-terminated; NULL gives STR_NONE. */
static inline struct str
str_of(const char *z)
{
    return z ? (struct str){z, strlen(z)} : STR_NONE;
}

/* Clamped to s. */
static inline struct str
str_slice(struct str s, size_t from, size_t to)
{
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    return (struct str){s.p ? s.p + from : NULL, to - from};
}

static inline bool
str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
str_eqz(struct str a, const char *z)
{
    size_t len = strlen(z);
    return a.len == len && (len == 0 || memcmp(a.p, z, len) == 0);
}
static inline bool
str_has_prefix(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_slice(s, 0, prefix.len), prefix);
}

bool str_eq_nocase(struct str a, const char *z); /* ASCII only */
bool str_is_token(struct str s);                 /* as RFC 9110 wants header names */
/* Position of the first `c`, or s.len. */
size_t str_index(struct str s, char c);
/* Without spaces and tabs around it. */
struct str str_trim(struct str s);
/* Cuts the first item, trimmed, off a list, together with the separator behind it. */
struct str str_cut(struct str *list, char separator);
/* A NUL-terminated copy, owned by the caller; aborts when memory is out (the length was
 * bounded before). */
char *str_dup(struct str s);
/* All of `s` as a decimal number in [min, max]; RC_INVALID for anything else, sign and
 * space included. */
MUST_CHECK enum rc str_to_int(struct str s, int64_t min, int64_t max, int64_t *out);
/* Strict UTF-8: no surrogates, no overlong forms, at most U+10FFFF. */
bool str_is_utf8(struct str s);
/* The code point at `at` (< s.len) into *cp; returns how many bytes it takes. For bytes
 * that are not UTF-8 *cp is STR_BAD_UTF8 and the result the length of the longest broken
 * beginning, at least 1 (as browsers count U+FFFD). */
#define STR_BAD_UTF8 UINT32_MAX
size_t str_utf8_next(struct str s, size_t at, uint32_t *cp);

#endif
