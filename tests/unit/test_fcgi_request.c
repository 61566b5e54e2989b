/*
 * fcgi/request.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fcgi_request *r;

static int
set_up(void **state)
{
    (void)state;
    r = xcalloc(1, sizeof *r);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    fcgi_request_fini(r);
    free(r);
    return 0;
}

/* Names and values in turn, NULL at the end. */
static void
read_request(const char *trusted, const char *const *variables)
{
    size_t n = 0;
    for (const char *const *v = variables; *v; v++)
        n += strlen(*v);
    fcgi_request_begin(r, n);
    for (const char *const *v = variables; *v; v += 2)
        assert_int_equal(fcgi_request_add(r, str_of(v[0]), str_of(v[1])), RC_OK);
    fcgi_request_end(r, trusted);
}
#define READ(trusted, ...) read_request(trusted, (const char *const[]){__VA_ARGS__, NULL})

static void
assert_str(struct str s, const char *z)
{
    char *copy = str_dup(s);
    assert_string_equal(copy, z);
    free(copy);
}

static void
test_request_uri_decides(void **state)
{
    (void)state;
    READ("", "SCRIPT_NAME", "/x", "PATH_INFO", "/y", "QUERY_STRING", "z", "REQUEST_URI",
         "/socket.io/?EIO=4&a=b?c");
    assert_str(r->engine.path, "/socket.io/");
    assert_str(r->engine.query, "EIO=4&a=b?c");
    READ("", "QUERY_STRING", "z", "REQUEST_URI", "/socket.io/");
    assert_str(r->engine.path, "/socket.io/");
    assert_str(r->engine.query, "");
}

static void
test_request_uri_may_name_the_host(void **state)
{
    (void)state;
    READ("", "REQUEST_URI", "http://host:80/socket.io/?a=http://b/");
    assert_str(r->engine.path, "/socket.io/");
    assert_str(r->engine.query, "a=http://b/");
    READ("", "REQUEST_URI", "/a?b=http://c/");
    assert_str(r->engine.path, "/a");
    READ("", "REQUEST_URI", "http://host");
    assert_str(r->engine.path, "");
}

static void
test_without_request_uri(void **state)
{
    (void)state;
    READ("", "SCRIPT_NAME", "/socket.io", "PATH_INFO", "/x", "QUERY_STRING", "q");
    assert_str(r->engine.path, "/socket.io/x");
    assert_str(r->engine.query, "q");
    READ("", "SCRIPT_NAME", "/socket.io/");
    assert_str(r->engine.path, "/socket.io/");
}

static void
test_headers_are_lower_case_with_dashes(void **state)
{
    (void)state;
    READ("", "HTTP_X_KITCHEN", "Sink", "HTTP_PROXY", "evil", "CONTENT_TYPE", "text/plain",
         "HTTP_CONTENT_TYPE", "other", "CONTENT_LENGTH", "12", "HTTPS_X", "no",
         "HTTP_COOKIE", "");
    assert_int_equal(r->engine.n_headers, 4);
    assert_str(r->headers[0].name, "x-kitchen");
    assert_str(r->headers[0].value, "Sink");
    assert_str(r->headers[1].name, "content-type");
    assert_str(r->headers[1].value, "text/plain");
    assert_str(r->headers[2].name, "content-length");
    assert_str(r->headers[3].name, "cookie");
    assert_int_equal(r->content_length, 12);
}

static void
test_content_length_may_be_unknown(void **state)
{
    const char *unknown[] = {"", "-1", "x", "1x", "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        READ("", "CONTENT_LENGTH", unknown[i]);
        assert_int_equal(r->content_length, -1);
    }
    READ("", "CONTENT_LENGTH", "0");
    assert_int_equal(r->content_length, 0);
}

static void
test_too_many_headers_are_refused(void **state)
{
    (void)state;
    fcgi_request_begin(r, 6 * (FCGI_HEADERS_MAX + 1));
    for (int i = 0; i < FCGI_HEADERS_MAX; i++)
        assert_int_equal(fcgi_request_add(r, STR("HTTP_X"), STR("")), RC_OK);
    assert_int_equal(fcgi_request_add(r, STR("HTTP_X"), STR("")), RC_TOOBIG);
}

static void
test_https(void **state)
{
    (void)state;
    READ("", "HTTPS", "on");
    assert_true(r->engine.is_https);
    READ("", "HTTPS", "off");
    assert_false(r->engine.is_https);
    READ("", "REQUEST_SCHEME", "https");
    assert_true(r->engine.is_https);
    READ("", "REQUEST_SCHEME", "http");
    assert_false(r->engine.is_https);
    READ("10.0.0.1", "REMOTE_ADDR", "10.0.0.1", "HTTP_X_FORWARDED_PROTO", "https");
    assert_true(r->engine.is_https);
    READ("10.0.0.2", "REMOTE_ADDR", "10.0.0.1", "HTTP_X_FORWARDED_PROTO", "https");
    assert_false(r->engine.is_https);
}

/* EIO-FORWARDED */
static void
test_forwarded_for_is_believed_from_trusted_proxies_only(void **state)
{
    static const struct {
        const char *trusted, *remote, *hops, *want;
    } cases[] = {
        {"", "10.0.0.1", "1.2.3.4", "10.0.0.1"},
        {"10.0.0.2", "10.0.0.1", "1.2.3.4", "10.0.0.1"},
        {"10.0.0.1", "10.0.0.1", "1.2.3.4", "1.2.3.4"},
        {"10.0.0.1", "10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "10.0.0.1", "6.6.6.6, 1.2.3.4",
         "1.2.3.4"}, /* the client's own is not */
        {"10.0.0.1  10.0.0.2", "10.0.0.1", "6.6.6.6,1.2.3.4 ,\t10.0.0.2", "1.2.3.4"},
        {"10.0.0.1 10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "10.0.0.1", "1.2.3.4:5678", "1.2.3.4"},
        {"10.0.0.1", "10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"},
        {"10.0.0.1", "10.0.0.1", "2001:db8::1", "2001:db8::1"},
        {"10.0.0.1", "10.0.0.1", "unknown", "10.0.0.1"},
        {"10.0.0.1", "10.0.0.1", "1.2.3.4, <script>", "10.0.0.1"},
        {"::1", "0:0:0:0:0:0:0:1", "1.2.3.4", "1.2.3.4"},
        {"127.0.0.1", "::ffff:127.0.0.1", "1.2.3.4", "1.2.3.4"},
        {"127.0.0.1", "", "1.2.3.4", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        READ(cases[i].trusted, "REMOTE_ADDR", cases[i].remote, "HTTP_X_FORWARDED_FOR",
             cases[i].hops);
        assert_str(r->engine.remote, cases[i].want);
    }
}

static void
test_accept_encoding(void **state)
{
    static const struct {
        const char *accept;
        enum fcgi_coding want;
    } cases[] = {
        {"", FCGI_CODING_NONE},
        {"br", FCGI_CODING_NONE},
        {"identity", FCGI_CODING_NONE},
        {"gzip", FCGI_CODING_GZIP},
        {"deflate, gzip", FCGI_CODING_GZIP},
        {"deflate", FCGI_CODING_DEFLATE},
        {"gzip;q=0, deflate", FCGI_CODING_DEFLATE},
        {"GZIP ; Q=0.5", FCGI_CODING_GZIP},
        {"gzip;q=0.000", FCGI_CODING_NONE},
        {"gzip;q=0, *", FCGI_CODING_NONE},
        {"br, *;q=0.1", FCGI_CODING_GZIP},
        {"*;q=0", FCGI_CODING_NONE},
        {",,;;=,gzip", FCGI_CODING_GZIP},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        READ("", "HTTP_ACCEPT_ENCODING", cases[i].accept);
        assert_int_equal(r->coding, cases[i].want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_uri_decides),
        cmocka_unit_test(test_request_uri_may_name_the_host),
        cmocka_unit_test(test_without_request_uri),
        cmocka_unit_test(test_headers_are_lower_case_with_dashes),
        cmocka_unit_test(test_content_length_may_be_unknown),
        cmocka_unit_test(test_too_many_headers_are_refused),
        cmocka_unit_test(test_https),
        cmocka_unit_test(test_forwarded_for_is_believed_from_trusted_proxies_only),
        cmocka_unit_test(test_accept_encoding),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
