/*
 * ws/deflate.c: offers, round trips, bounds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_offers(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        bool is_accepted, has_bits;
    } cases[] = {
        {"permessage-deflate", true, false},
        {"permessage-deflate; client_max_window_bits", true, false},
        {"permessage-deflate;client_max_window_bits=9;server_no_context_takeover", true,
         false},
        {"permessage-deflate; server_max_window_bits=15", true, true},
        {"permessage-deflate; server_max_window_bits=\"15\"", true, true},
        {"permessage-deflate; server_max_window_bits=14", false, false},
        {"permessage-deflate; server_max_window_bits", false, false},
        {"permessage-deflate; server_no_context_takeover=1", false, false},
        {"permessage-deflate; something_new", false, false},
        {"permessage-deflate; server_max_window_bits=9, permessage-deflate", true, false},
        {"permessage-deflate; server_max_window_bits=15; x, permessage-deflate", true,
         false},
        {"other, permessage-deflate", true, false},
        {"permessage-deflated", false, false},
        {"", false, false},
        {";;,;", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *params = NULL;
        assert_int_equal(ws_deflate_accept(str_of(cases[i].offer), &params),
                         cases[i].is_accepted);
        if (cases[i].is_accepted) {
            assert_non_null(strstr(params, "server_no_context_takeover"));
            assert_non_null(strstr(params, "client_no_context_takeover"));
            assert_int_equal(strstr(params, "window_bits") != NULL, cases[i].has_bits);
        }
    }
}

static void
test_round_trip_and_bound(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 100, 1000, 4096, 65536, 300000};
    struct ws_deflate d;
    ws_deflate_init(&d, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct frame *f = frame_create(sizes[i], false), *g;
        struct str out;
        for (size_t k = 0; k < f->len; k++)
            f->data[k] = "abcdefg"[k * k % 7];
        g = ws_deflate_frame(&d, f);
        assert_ptr_equal(ws_deflate_frame(&d, f), g);
        if (g != f) {
            struct str message = {g->data, g->len};
            assert_true(g->len < f->len);
            assert_int_equal(ws_deflate_inflate(&d, message, sizes[i], &out), RC_OK);
            assert_int_equal(out.len, f->len);
            assert_memory_equal(out.p, f->data, f->len);
            assert_int_equal(ws_deflate_inflate(&d, message, sizes[i] - 1, &out),
                             RC_TOOBIG);
        }
        frame_unref(f);
    }
    ws_deflate_fini(&d);
}

/* EIO-WS-COMPRESSION */
static void
test_short_plain_and_dense_frames_stay(void **state)
{
    (void)state;
    struct ws_deflate d;
    struct frame *shorter = frame_create(99, false), *plain = frame_create(1000, false),
                 *dense = frame_create(1000, true);
    ws_deflate_init(&d, 100);
    memset(shorter->data, 'x', 99);
    memset(plain->data, 'x', 1000);
    plain->is_plain = true;
    srand(3);
    for (size_t i = 0; i < dense->len; i++)
        dense->data[i] = (char)(rand() >> 7);
    assert_ptr_equal(ws_deflate_frame(&d, shorter), shorter);
    assert_ptr_equal(ws_deflate_frame(&d, plain), plain);
    assert_ptr_equal(ws_deflate_frame(&d, dense), dense);
    assert_null(dense->deflated);
    frame_unref(shorter);
    frame_unref(plain);
    frame_unref(dense);
    ws_deflate_fini(&d);
}

static void
test_what_does_not_inflate(void **state)
{
    (void)state;
    static const struct {
        struct str message;
        enum rc rc;
    } cases[] = {
        {{"\x07", 1}, RC_INVALID}, /* block type 3 */
        {{"\x00\x05\x00\x00\x00", 5},
         RC_INVALID},             /* a stored block of contrary lengths */
        {{"", 0}, RC_OK},         /* nothing: the tail alone */
        {{"\x00", 1}, RC_OK},     /* as clients send an empty message */
        {{"\x03\x00", 2}, RC_OK}, /* a final block, empty */
    };
    struct ws_deflate d;
    struct str out;
    ws_deflate_init(&d, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ws_deflate_inflate(&d, cases[i].message, 100, &out),
                         cases[i].rc);
    ws_deflate_fini(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_round_trip_and_bound),
        cmocka_unit_test(test_short_plain_and_dense_frames_stay),
        cmocka_unit_test(test_what_does_not_inflate),
    };
    return cmocka_run_group_tests_name("ws_deflate", tests, NULL, NULL);
}
