/*
 * Views of bytes: comparing, slicing, numbers, UTF-8.
 *
 * Pure functions; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/str.h"

#include <string.h>
#include <strings.h>

#include "core/base/buf.h"

static const uint64_t HIGH_BITS = 0x8080808080808080u;

bool
str_eq_nocase(struct str a, const char *z)
{
    size_t len = strlen(z);
    if (a.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char x = (unsigned char)a.p[i], y = (unsigned char)z[i];
        if (x >= 'A' && x <= 'Z')
            x |= 0x20;
        if (y >= 'A' && y <= 'Z')
            y |= 0x20;
        if (x != y)
            return false;
    }
    return true;
}

bool
str_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_alnum =
            (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!is_alnum && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0;
}

size_t
str_index(struct str s, char c)
{
    const char *p = s.len ? memchr(s.p, c, s.len) : NULL;
    return p ? (size_t)(p - s.p) : s.len;
}

struct str
str_trim(struct str s)
{
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_slice(s, 1, s.len);
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct str
str_cut(struct str *list, char separator)
{
    struct str item = str_slice(*list, 0, str_index(*list, separator));
    *list = str_slice(*list, item.len + 1, list->len);
    return str_trim(item);
}

char *
str_dup(struct str s)
{
    char *z = xmalloc(s.len + 1);
    if (s.len)
        memcpy(z, s.p, s.len);
    z[s.len] = 0;
    return z;
}

enum rc
str_to_int(struct str s, int64_t min, int64_t max, int64_t *out)
{
    int64_t v = 0;
    if (s.len == 0)
        return RC_INVALID;
    for (size_t i = 0; i < s.len; i++) {
        int digit = s.p[i] - '0';
        if (digit < 0 || digit > 9 || v > (INT64_MAX - digit) / 10)
            return RC_INVALID;
        v = v * 10 + digit;
    }
    if (v < min || v > max)
        return RC_INVALID;
    *out = v;
    return RC_OK;
}

bool
str_is_utf8(struct str s)
{
    size_t i = 0;
    while (i < s.len) {
        uint64_t words[4], word;
        uint32_t cp;
        if (s.len - i >= sizeof words) {
            memcpy(words, s.p + i, sizeof words);
            if (((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS) == 0) {
                i += sizeof words;
                continue;
            }
        }
        if (s.len - i >= sizeof word) {
            memcpy(&word, s.p + i, sizeof word);
            if ((word & HIGH_BITS) == 0) {
                i += sizeof word;
                continue;
            }
        }
        if ((signed char)s.p[i] >= 0) {
            i++;
            continue;
        }
        do { /* such characters come in runs */
            i += str_utf8_next(s, i, &cp);
            if (cp == STR_BAD_UTF8)
                return false;
        } while (i < s.len && (signed char)s.p[i] < 0);
    }
    return true;
}

size_t
str_utf8_next(struct str s, size_t at, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s.p + at;
    size_t left = s.len - at, n;
    unsigned char lead = p[0], low = 0x80, high = 0xbf;
    uint32_t v;

    if (lead < 0x80) {
        *cp = lead;
        return 1;
    }
    *cp = STR_BAD_UTF8;
    if (lead >= 0xc2 && lead <= 0xdf) {
        n = 2;
        v = lead & 0x1f;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        n = 3;
        v = lead & 0x0f;
        if (lead == 0xe0)
            low = 0xa0; /* overlong below */
        else if (lead == 0xed)
            high = 0x9f; /* surrogates above */
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        n = 4;
        v = lead & 0x07;
        if (lead == 0xf0)
            low = 0x90;
        else if (lead == 0xf4)
            high = 0x8f; /* U+10FFFF */
    } else {
        return 1;
    }
    for (size_t i = 1; i < n; i++) {
        if (i >= left || p[i] < low || p[i] > high)
            return i;
        v = v << 6 | (p[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *cp = v;
    return n;
}
