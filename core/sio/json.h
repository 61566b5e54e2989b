/*
 * A permissive JSON scanner: accepts what JSON.parse accepts (lone surrogates as \ud800,
 * NUL escapes, numbers of any size, duplicate keys) and never builds a tree. Depth is
 * bounded by the caller; no recursion.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_SIO_JSON_H
#define SIOLITE_CORE_SIO_JSON_H

#include "core/base/buf.h"

enum sio_json_kind {
    SIO_JSON_NULL,
    SIO_JSON_TRUE,
    SIO_JSON_FALSE,
    SIO_JSON_NUMBER,
    SIO_JSON_STRING,
    SIO_JSON_ARRAY,
    SIO_JSON_OBJECT
};

/* Scans one value at the front of `in` (leading white space allowed): *value is the
 * value's bytes, *rest what follows. RC_INVALID: not JSON, or not UTF-8 inside strings.
 * RC_TOOBIG: deeper than depth_max. */
MUST_CHECK enum rc
sio_json_scan(struct str in, int64_t depth_max, enum sio_json_kind *kind,
              struct str *value, struct str *rest);
/* The same for an array whose first item matters: *first is that (len 0 if the array is
 * empty), *others what stands behind the comma after it, up to the closing bracket.
 * RC_INVALID also for what is not an array. */
MUST_CHECK enum rc
sio_json_scan_array(struct str in, int64_t depth_max, struct str *first,
                    struct str *others, struct str *rest);
/* Deeper than this is RC_TOOBIG whatever depth_max says. */
#define SIO_JSON_DEPTH_MAX 1024
/* The kind of a value that was scanned. */
enum sio_json_kind sio_json_kind_of(struct str value);
/* Without the JSON white space in front. */
struct str sio_json_skip_space(struct str s);
/* The length of the string literal at the front of `in`, with its quotes; 0 if there is
 * no valid one. */
size_t sio_json_string_len(struct str in);
/* Iterates the items of an array's inside, or of sio_packet.args: RC_NOTFOUND at the end
 * (also for blank input).
 * `*rest` starts as the inside and is advanced. The input was scanned before; still never
 * reads past it. */
MUST_CHECK enum rc
sio_json_next(struct str *rest, enum sio_json_kind *kind, struct str *value);
/* Unescapes a string literal (with quotes) and appends UTF-8; a lone surrogate becomes
 * U+FFFD. */
MUST_CHECK enum rc sio_json_unquote(struct str literal, struct buf *out);
/* A member of an object by name (unescaped compare; last duplicate wins); RC_NOTFOUND. */
MUST_CHECK enum rc sio_json_member(struct str object, const char *name,
                                   enum sio_json_kind *kind, struct str *value);
/* Is this value exactly {"_placeholder":true,"num":<integer>} in the sense of the
 * reference (own keys, num a number)? Then *num is its index. */
bool sio_json_is_placeholder(struct str value, int64_t *num);
/* Copies JSON text with everything above U+007F as \uXXXX: what revision 3 clients get
 * (eio3.md 3.3). */
void sio_json_to_ascii(struct buf *b, struct str json);

#endif
