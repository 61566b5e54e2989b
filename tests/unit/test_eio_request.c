/*
 * core/eio/request.c: query strings, our parameters, error answers, paths.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct decoded {
    struct buf scratch;
    struct eio_param params[EIO_PARAMS_MAX];
    size_t n;
    struct eio_request r;
};

static struct decoded d;

static const struct eio_request *
decode(const char *query)
{
    assert_int_equal(eio_query_decode(str_of(query), &d.scratch, d.params, &d.n), RC_OK);
    eio_request_decode(d.params, d.n, &d.r);
    return &d.r;
}

static int
forget(void **state)
{
    (void)state;
    buf_fini(&d.scratch);
    return 0;
}

static void
assert_json(const char *query, const char *want)
{
    struct buf b = {0};
    decode(query);
    eio_query_encode_json(&b, d.params, d.n);
    buf_append_c(&b, 0);
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static void
assert_error(enum eio_error e, int status, const char *body)
{
    struct buf b = {0};
    assert_int_equal(eio_error_status(e), status);
    eio_error_encode(&b, e, NULL);
    buf_append_c(&b, 0);
    assert_string_equal(b.p, body);
    buf_fini(&b);
}

/* EIO-ERROR */
static void
test_errors_are_spelled_as_in_the_reference(void **state)
{
    struct buf b = {0};
    (void)state;
    assert_error(EIO_E_TRANSPORT_UNKNOWN, 400,
                 "{\"code\":0,\"message\":\"Transport unknown\"}");
    assert_error(EIO_E_SID_UNKNOWN, 400,
                 "{\"code\":1,\"message\":\"Session ID unknown\"}");
    assert_error(EIO_E_BAD_HANDSHAKE_METHOD, 400,
                 "{\"code\":2,\"message\":\"Bad handshake method\"}");
    assert_error(EIO_E_BAD_REQUEST, 400, "{\"code\":3,\"message\":\"Bad request\"}");
    assert_error(EIO_E_FORBIDDEN, 403, "{\"code\":4,\"message\":\"Forbidden\"}");
    assert_error(EIO_E_BAD_PROTOCOL, 400,
                 "{\"code\":5,\"message\":\"Unsupported protocol version\"}");
    eio_error_encode(&b, EIO_E_FORBIDDEN, "no \"thanks\"");
    buf_append_c(&b, 0);
    assert_string_equal(b.p, "{\"code\":4,\"message\":\"no \\\"thanks\\\"\"}");
    buf_fini(&b);
}

static void
test_request_of_a_4x_client(void **state)
{
    const struct eio_request *r =
        decode("EIO=4&transport=polling&t=abc&sid=Zk3_-x&b64=1&j=7");
    (void)state;
    assert_int_equal(r->protocol, 4);
    assert_true(r->has_transport);
    assert_int_equal(r->transport, EIO_POLLING);
    assert_true(r->has_eio_sid && str_eqz(r->eio_sid, "Zk3_-x"));
    assert_true(r->is_b64);
    assert_true(r->has_jsonp && str_eqz(r->jsonp, "7"));
}

static void
test_anything_but_exactly_4_is_revision_3(void **state)
{
    static const char *const old[] = {"",       "EIO=3", "EIO=5",   "EIO=abc",
                                      "EIO=",   "EIO",   "EIO=04",  "EIO=4.0",
                                      "EIO=+4", "eio=4", "EIO=4%00"};
    (void)state;
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
        assert_int_equal(decode(old[i])->protocol, 3);
    assert_int_equal(decode("%45IO=%34")->protocol, 4);
}

static void
test_transport_is_known_by_its_exact_name(void **state)
{
    (void)state;
    assert_int_equal(decode("transport=websocket")->transport, EIO_WEBSOCKET);
    assert_true(d.r.has_transport);
    assert_false(decode("transport=webtransport")->has_transport);
    assert_true(str_eqz(d.r.transport_name, "webtransport"));
    assert_false(decode("transport=Polling")->has_transport);
    assert_false(decode("transport=")->has_transport);
    assert_false(decode("transport=constructor")->has_transport);
    assert_false(decode("")->has_transport);
}

static void
test_absent_and_empty_parameters_differ_where_they_must(void **state)
{
    (void)state;
    assert_false(decode("sid=")->has_eio_sid);
    assert_false(decode("")->has_eio_sid);
    assert_false(decode("b64=")->is_b64);
    assert_true(decode("b64=0")->is_b64); /* as in the reference: any text */
    assert_false(decode("x=1")->has_jsonp);
    assert_true(decode("j=")->has_jsonp);
    assert_int_equal(d.r.jsonp.len, 0);
}

static void
test_only_digits_of_j_are_kept(void **state)
{
    (void)state;
    assert_true(str_eqz(decode("j=x12];alert(1)")->jsonp, "12"));
    assert_int_equal(decode("j=alert()")->jsonp.len, 0);
}

static void
test_last_of_a_repeated_name_counts(void **state)
{
    (void)state;
    assert_true(str_eqz(decode("sid=a&sid=b")->eio_sid, "b"));
    assert_int_equal(d.n, 2);
}

static void
test_query_is_form_decoded(void **state)
{
    (void)state;
    assert_json("a=1+2&b=%E2%82%AC%26&c", "{\"a\":\"1 2\",\"b\":\"€&\",\"c\":\"\"}");
    assert_json("", "{}");
    assert_json("&&a=1&", "{\"a\":\"1\"}");
    assert_json("=x", "{\"\":\"x\"}");
    assert_json("a=b=c", "{\"a\":\"b=c\"}");
    assert_json("a=%", "{\"a\":\"%\"}");
    assert_json("a=%4", "{\"a\":\"%4\"}");
    assert_json("a=%zz%41", "{\"a\":\"%zzA\"}");
    assert_json("a=%00%22", "{\"a\":\"\\u0000\\\"\"}");
    assert_json("a=%ff", "{\"a\":\"\xef\xbf\xbd\"}");
    assert_json("a=1&b=2&a=3", "{\"b\":\"2\",\"a\":\"3\"}");
}

/* EIO-QUERY */
static void
test_too_many_parameters_are_refused(void **state)
{
    struct buf query = {0};
    (void)state;
    for (int i = 0; i < EIO_PARAMS_MAX; i++)
        buf_append_z(&query, "a&");
    assert_int_equal(eio_query_decode(buf_str(&query), &d.scratch, d.params, &d.n),
                     RC_OK);
    assert_int_equal(d.n, EIO_PARAMS_MAX);
    buf_append_z(&query, "b");
    d.n = 7;
    assert_int_equal(eio_query_decode(buf_str(&query), &d.scratch, d.params, &d.n),
                     RC_TOOBIG);
    assert_int_equal(d.n, 7);
    buf_fini(&query);
}

/* EIO-PATH */
static void
test_path_is_a_prefix_that_ends_with_a_slash(void **state)
{
    (void)state;
    assert_true(eio_path_is_ours(STR("/socket.io/"), "/socket.io", true));
    assert_true(eio_path_is_ours(STR("/socket.io/socket.io.js"), "/socket.io", true));
    assert_false(eio_path_is_ours(STR("/socket.io"), "/socket.io", true));
    assert_false(eio_path_is_ours(STR("/socket.iox/"), "/socket.io", true));
    assert_false(eio_path_is_ours(STR("/Socket.io/"), "/socket.io", true));
    assert_false(eio_path_is_ours(STR("/a/socket.io/"), "/socket.io", true));
    assert_false(eio_path_is_ours(STR_NONE, "/socket.io", true));
    assert_true(eio_path_is_ours(STR("/"), "", true));
    assert_true(eio_path_is_ours(STR("/socket.io"), "/socket.io", false));
    assert_true(eio_path_is_ours(STR("/socket.io/"), "/socket.io", false));
    assert_false(eio_path_is_ours(STR("/socket.iox"), "/socket.io", false));
    assert_false(eio_path_is_ours(STR_NONE, "", false));
}

int
main(void)
{
#define T(f) cmocka_unit_test_teardown(f, forget)
    const struct CMUnitTest tests[] = {
        T(test_errors_are_spelled_as_in_the_reference),
        T(test_request_of_a_4x_client),
        T(test_anything_but_exactly_4_is_revision_3),
        T(test_transport_is_known_by_its_exact_name),
        T(test_absent_and_empty_parameters_differ_where_they_must),
        T(test_only_digits_of_j_are_kept),
        T(test_last_of_a_repeated_name_counts),
        T(test_query_is_form_decoded),
        T(test_too_many_parameters_are_refused),
        T(test_path_is_a_prefix_that_ends_with_a_slash),
    };
    return cmocka_run_group_tests_name("eio_request", tests, NULL, NULL);
}
