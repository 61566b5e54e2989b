/*
 * fcgi/record.c and fcgi/inbound.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/inbound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct fcgi_limits LIMITS = {.body_bytes_max = 10, .n_conns_max = 7};

static void
add_begin(struct buf *b, uint16_t req_id, int role, int flags)
{
    char body[8] = {0, (char)role, (char)flags};
    fcgi_record_encode(b, FCGI_BEGIN_REQUEST, req_id, (struct str){body, 8}, STR_NONE);
}

static void
add_stream(struct buf *b, int type, uint16_t req_id, struct str content)
{
    fcgi_record_encode(b, type, req_id, content, STR_NONE);
    fcgi_record_encode_end(b, type, req_id);
}

static void
add_request(struct buf *b, uint16_t req_id, struct str params, struct str body)
{
    add_begin(b, req_id, FCGI_RESPONDER, FCGI_KEEP_CONN);
    add_stream(b, FCGI_PARAMS, req_id, params);
    add_stream(b, FCGI_STDIN, req_id, body);
}

static struct fcgi_happening
next(struct fcgi_inbound *in, struct str *bytes, struct buf *reply)
{
    struct fcgi_happening h;
    assert_int_equal(fcgi_inbound_next(in, bytes, &LIMITS, reply, &h), RC_OK);
    return h;
}

static void
assert_str(struct str s, const char *z)
{
    assert_int_equal(s.len, strlen(z));
    assert_memory_equal(s.p, z, s.len);
}

static void
test_one_piece_is_never_copied(void **state)
{
    struct fcgi_inbound in = {0};
    struct buf b = {0}, reply = {0};
    struct fcgi_happening h;
    struct str bytes;
    (void)state;
    add_request(&b, 1, STR("params"), STR("body"));
    bytes = buf_str(&b);
    h = next(&in, &bytes, &reply);
    assert_int_equal(h.event, FCGI_EV_HEAD);
    assert_str(h.data, "params");
    assert_true(h.data.p > b.p && h.data.p < b.p + b.len);
    h = next(&in, &bytes, &reply);
    assert_int_equal(h.event, FCGI_EV_BODY);
    assert_str(h.data, "body");
    assert_true(h.data.p > b.p && h.data.p < b.p + b.len);
    assert_int_equal(next(&in, &bytes, &reply).event, FCGI_EV_NONE);
    assert_int_equal(in.state, FCGI_INBOUND_DONE);
    assert_true(in.is_kept);
    assert_null(in.stream.bytes.p);
    assert_int_equal(reply.len, 0);
    fcgi_inbound_fini(&in);
    buf_fini(&b);
    buf_fini(&reply);
}

static void
test_every_cut_means_the_same(void **state)
{
    struct buf b = {0}, reply = {0};
    (void)state;
    add_request(&b, 1, STR("params"), STR("body"));
    for (size_t at = 0; at <= b.len; at++) {
        struct fcgi_inbound in = {0};
        int n_heads = 0, n_bodies = 0;
        for (int part = 0; part < 2; part++) {
            struct str piece =
                part ? str_slice(buf_str(&b), at, b.len) : str_slice(buf_str(&b), 0, at);
            char *copy = str_dup(piece); /* gone before the next part */
            struct str bytes = {copy, piece.len};
            for (;;) {
                struct fcgi_happening h = next(&in, &bytes, &reply);
                if (h.event == FCGI_EV_NONE)
                    break;
                assert_str(h.data, h.event == FCGI_EV_HEAD ? "params" : "body");
                n_heads += h.event == FCGI_EV_HEAD;
                n_bodies += h.event == FCGI_EV_BODY;
            }
            free(copy);
        }
        assert_int_equal(n_heads, 1);
        assert_int_equal(n_bodies, 1);
        fcgi_inbound_fini(&in);
    }
    buf_fini(&b);
}

static void
test_a_body_over_the_limit_is_thrown_away(void **state)
{
    struct fcgi_inbound in = {0};
    struct buf b = {0}, reply = {0};
    struct fcgi_happening h;
    struct str bytes;
    (void)state;
    add_request(&b, 1, STR("p"), STR("0123456789"));
    bytes = buf_str(&b);
    next(&in, &bytes, &reply);
    assert_false(next(&in, &bytes, &reply).is_too_big);
    fcgi_inbound_finish(&in);
    buf_clear(&b);
    add_request(&b, 1, STR("p"), STR("0123456789x"));
    bytes = buf_str(&b);
    next(&in, &bytes, &reply);
    h = next(&in, &bytes, &reply);
    assert_int_equal(h.event, FCGI_EV_BODY);
    assert_true(h.is_too_big);
    assert_int_equal(h.data.len, 0);
    fcgi_inbound_finish(&in);
    assert_int_equal(in.state, FCGI_INBOUND_IDLE);
    fcgi_inbound_fini(&in);
    buf_fini(&b);
}

static void
test_variables_over_the_limit_are_thrown_away(void **state)
{
    struct fcgi_inbound in = {0};
    struct buf b = {0}, reply = {0}, params = {0};
    struct fcgi_happening h;
    struct str bytes;
    (void)state;
    memset(buf_reserve(&params, FCGI_PARAMS_BYTES_MAX + 1), 'x',
           FCGI_PARAMS_BYTES_MAX + 1);
    params.len = FCGI_PARAMS_BYTES_MAX;
    for (; params.len <= FCGI_PARAMS_BYTES_MAX + 1; params.len++) {
        buf_clear(&b);
        add_request(&b, 1, buf_str(&params), STR("body"));
        bytes = buf_str(&b);
        h = next(&in, &bytes, &reply);
        assert_int_equal(h.event, FCGI_EV_HEAD);
        assert_int_equal(h.is_too_big, params.len > FCGI_PARAMS_BYTES_MAX);
        h = next(&in, &bytes, &reply);
        assert_false(h.is_too_big);
        assert_str(h.data, "body");
        fcgi_inbound_finish(&in);
    }
    fcgi_inbound_fini(&in);
    buf_fini(&b);
    buf_fini(&params);
}

static void
test_a_busy_connection_refuses_another_request(void **state)
{
    struct fcgi_inbound in = {0};
    struct buf b = {0}, reply = {0}, want = {0};
    struct str bytes;
    (void)state;
    add_begin(&b, 1, FCGI_RESPONDER, 0);
    add_begin(&b, 2, FCGI_RESPONDER, FCGI_KEEP_CONN);
    bytes = buf_str(&b);
    assert_int_equal(next(&in, &bytes, &reply).event, FCGI_EV_NONE);
    fcgi_record_encode_finish(&want, 2, FCGI_CANT_MPX_CONN);
    assert_true(str_eq(buf_str(&reply), buf_str(&want)));
    assert_int_equal(in.req_id, 1);
    assert_false(in.is_kept);
    fcgi_inbound_fini(&in);
    buf_fini(&b);
    buf_fini(&reply);
    buf_fini(&want);
}

static void
test_pairs_of_any_length(void **state)
{
    struct str name, value, rest = STR("\x01\x02nvv\x80\0\0\x03\0abc");
    struct str bad[] = {STR("\x01"),
                        STR("\x05\x01"
                            "abc"),
                        STR("\x80\x00\x00"), STR("\xff\xff\xff\xff\xff\xff\xff\xff"),
                        STR("\x01\x80\x00\x00")};
    (void)state;
    assert_int_equal(fcgi_record_next_pair(&rest, &name, &value), RC_OK);
    assert_str(name, "n");
    assert_str(value, "vv");
    assert_int_equal(fcgi_record_next_pair(&rest, &name, &value), RC_OK);
    assert_str(name, "abc");
    assert_str(value, "");
    assert_int_equal(fcgi_record_next_pair(&rest, &name, &value), RC_NOTFOUND);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(fcgi_record_next_pair(&bad[i], &name, &value), RC_INVALID);
}

static void
test_long_content_is_split(void **state)
{
    struct buf body = {0}, out = {0};
    struct fcgi_reader r = {0};
    struct fcgi_piece piece;
    struct str rest;
    size_t lens[] = {65535, 65535, 4};
    (void)state;
    memset(buf_reserve(&body, 131070), 'x', 131070);
    body.len = 131070;
    fcgi_record_encode(&out, FCGI_STDOUT, 9, STR("head"), buf_str(&body));
    rest = buf_str(&out);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fcgi_record_next(&r, &rest, &piece), RC_OK);
        assert_int_equal(piece.len, lens[i]);
        assert_int_equal(piece.req_id, 9);
    }
    assert_int_equal(fcgi_record_next(&r, &rest, &piece), RC_NOTFOUND);
    buf_clear(&out);
    fcgi_record_encode(&out, FCGI_STDOUT, 9, STR_NONE, STR_NONE);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
    buf_fini(&body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_piece_is_never_copied),
        cmocka_unit_test(test_every_cut_means_the_same),
        cmocka_unit_test(test_a_body_over_the_limit_is_thrown_away),
        cmocka_unit_test(test_variables_over_the_limit_are_thrown_away),
        cmocka_unit_test(test_a_busy_connection_refuses_another_request),
        cmocka_unit_test(test_pairs_of_any_length),
        cmocka_unit_test(test_long_content_is_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
