/*
 * JSON of any bytes, through every function of the scanner, scanned before or not. An
 * ASCII copy of a value must still be one, and strings must survive being unquoted.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_string(struct str literal)
{
    struct buf plain = {0}, again = {0}, quoted = {0};
    CHECK(sio_json_string_len(literal) == literal.len);
    CHECK(sio_json_unquote(literal, &plain) == RC_OK);
    CHECK(str_is_utf8(buf_str(&plain)));
    buf_append_json(&quoted, buf_str(&plain), true);
    CHECK(sio_json_unquote(buf_str(&quoted), &again) == RC_OK);
    CHECK(str_eq(buf_str(&plain), buf_str(&again)));
    buf_fini(&plain);
    buf_fini(&again);
    buf_fini(&quoted);
}

static void
check_value(struct str in, enum sio_json_kind kind, struct str value, struct str rest)
{
    enum sio_json_kind again_kind;
    struct str again, after, first, others;
    struct buf ascii = {0};
    CHECK(value.len > 0 && value.p >= in.p);
    CHECK(rest.p == value.p + value.len && rest.p + rest.len == in.p + in.len);
    CHECK(sio_json_kind_of(value) == kind && str_is_utf8(value));
    sio_json_to_ascii(&ascii, value);
    CHECK(sio_json_scan(buf_str(&ascii), 64, &again_kind, &again, &after) == RC_OK);
    CHECK(again_kind == kind && again.len == ascii.len);
    for (size_t i = 0; i < ascii.len; i++)
        CHECK((signed char)ascii.p[i] >= 0);
    buf_fini(&ascii);
    if (kind == SIO_JSON_STRING)
        check_string(value);
    CHECK((sio_json_scan_array(in, 64, &first, &others, &after) == RC_OK) ==
          (kind == SIO_JSON_ARRAY));
    if (kind == SIO_JSON_ARRAY) {
        struct str inside = str_slice(value, 1, value.len - 1);
        enum rc rc = sio_json_next(&inside, &again_kind, &again);
        CHECK(after.p == rest.p && rc == (first.len ? RC_OK : RC_NOTFOUND));
        if (rc == RC_OK)
            CHECK(again.p == first.p && again.len == first.len);
        while (sio_json_next(&others, &again_kind, &again) == RC_OK)
            ;
        CHECK(others.len == 0 || sio_json_skip_space(others).len == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = memcpy(malloc(size ? size : 1), data, size);
    struct str in = {copy, size}, value, rest = in;
    enum sio_json_kind kind;
    struct buf b = {0};
    int64_t num;
    size_t n = 0;
    if (sio_json_scan(in, 64, &kind, &value, &rest) == RC_OK)
        check_value(in, kind, value, rest);
    rest = in;
    while (n <= size && sio_json_next(&rest, &kind, &value) == RC_OK)
        n++;
    CHECK(n <= size);
    if (sio_json_member(in, "_placeholder", &kind, &value) == RC_OK)
        CHECK(value.p >= in.p && value.p + value.len <= in.p + in.len);
    if (sio_json_is_placeholder(in, &num))
        CHECK(num >= 0);
    if (sio_json_unquote(in, &b) == RC_OK)
        check_string(in);
    sio_json_to_ascii(&b, in);
    buf_fini(&b);
    free(copy);
    return 0;
}
