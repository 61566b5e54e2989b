/*
 * fcgi/response.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "core/base/log.h"

static struct fcgi_deflater *d;

static int
set_up(void **state)
{
    (void)state;
    log_open("test", LOG_ERROR);
    d = fcgi_deflater_create();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    fcgi_deflater_destroy(d);
    return 0;
}

static void
assert_head(const struct engine_answer *a, const char *want)
{
    struct buf head = {0};
    struct str body;
    char *z;
    fcgi_response_encode(d, &head, &body, a, FCGI_CODING_GZIP);
    assert_true(str_eq(body, a->body));
    z = buf_take(&head, NULL);
    assert_string_equal(z, want);
    free(z);
}

static void
test_heads(void **state)
{
    (void)state;
    assert_head(&(struct engine_answer){.status = 200,
                                        .content_type = "text/html",
                                        .headers = STR("cache-control: no-store\r\n"),
                                        .body = STR("ok")},
                "Status: 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n"
                "cache-control: no-store\r\n\r\n");
    assert_head(&(struct engine_answer){.status = 413},
                "Status: 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_head(&(struct engine_answer){.status = 304, .headers = STR("ETag: \"x\"\r\n")},
                "Status: 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
    /* Web servers hang on it. */
    assert_head(&(struct engine_answer){.status = 101},
                "Status: 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void
test_a_block_of_headers_stays_below_4_kb(void **state)
{
    struct buf lines = {0}, head = {0};
    struct str body;
    (void)state;
    for (int i = 0; i < 100; i++)
        buf_append_f(&lines, "x-%03d: %0100d\r\n", i, 0);
    buf_append_z(&lines, "last: 1\r\n");
    fcgi_response_encode(
        d, &head, &body,
        &(struct engine_answer){.status = 200, .headers = buf_str(&lines)},
        FCGI_CODING_NONE);
    assert_true(head.len < 4096);
    assert_non_null(memmem(head.p, head.len, "x-030", 5));
    assert_memory_equal(head.p + head.len - 4, "\r\n\r\n", 4);
    buf_fini(&lines);
    buf_fini(&head);
}

/* How many bytes come out of `body` again. */
static size_t
inflate_all(struct str body, int window_bits, char *out, size_t n_out)
{
    z_stream z = {.next_in = (Bytef *)body.p,
                  .avail_in = (uInt)body.len,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)n_out};
    size_t n;
    assert_int_equal(inflateInit2(&z, window_bits), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    n = z.total_out;
    inflateEnd(&z);
    return n;
}

static void
test_compression(void **state)
{
    static const enum fcgi_coding codings[] = {FCGI_CODING_GZIP, FCGI_CODING_DEFLATE,
                                               FCGI_CODING_DEFLATE, FCGI_CODING_GZIP,
                                               FCGI_CODING_GZIP};
    char text[5000], out[sizeof text];
    struct engine_answer a = {
        .status = 200, .body = {text, sizeof text}, .can_compress = true};
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 7);
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        bool is_gzip = codings[i] == FCGI_CODING_GZIP;
        const char *line =
            is_gzip ? "Content-Encoding: gzip\r\n" : "Content-Encoding: deflate\r\n";
        struct buf head = {0};
        struct str body;
        fcgi_response_encode(d, &head, &body, &a, codings[i]);
        assert_true(body.len < sizeof text / 2);
        assert_non_null(memmem(head.p, head.len, line, strlen(line)));
        assert_int_equal(inflate_all(body, is_gzip ? 15 + 16 : 15, out, sizeof out),
                         sizeof text);
        assert_memory_equal(out, text, sizeof text);
        buf_fini(&head);
    }
}

static void
test_what_does_not_become_smaller_is_sent_as_it_is(void **state)
{
    (void)state;
    assert_head(
        &(struct engine_answer){.status = 200, .body = STR("0{}"), .can_compress = true},
        "Status: 200 OK\r\nContent-Length: 3\r\n\r\n");
    assert_head(&(struct engine_answer){.status = 200, .can_compress = true},
                "Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_a_block_of_headers_stays_below_4_kb),
        cmocka_unit_test(test_compression),
        cmocka_unit_test(test_what_does_not_become_smaller_is_sent_as_it_is),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
