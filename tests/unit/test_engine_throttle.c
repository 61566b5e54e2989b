/*
 * core/engine/throttle.c: buckets of addresses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct str A = {"192.0.2.1", 9}, B = {"192.0.2.2", 9};

static int
n_taken(struct throttle *t, struct str address, int64_t now_ms)
{
    int n = 0;
    while (n < 100 && throttle_take(t, address, 4, now_ms))
        n++;
    return n;
}

static void
test_a_bucket_holds_what_a_second_brings(void **state)
{
    struct throttle t = {0};
    (void)state;
    assert_int_equal(n_taken(&t, A, 5000), 4);
    assert_int_equal(n_taken(&t, A, 5249), 0);
    assert_int_equal(n_taken(&t, A, 5250), 1);
    assert_int_equal(n_taken(&t, A, 5750), 2);
    assert_int_equal(n_taken(&t, A, 100000), 4);
    assert_int_equal(n_taken(&t, B, 100000), 4);
    assert_int_equal(n_taken(&t, STR_NONE, 100000), 4);
    throttle_fini(&t);
}

static void
test_no_limit_keeps_nothing(void **state)
{
    struct throttle t = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(throttle_take(&t, A, 0, 1));
    assert_int_equal(t.buckets.n, 0);
    throttle_fini(&t);
}

static void
test_an_ipv6_network_is_one_address(void **state)
{
    struct throttle t = {0};
    (void)state;
    assert_int_equal(n_taken(&t, STR("2001:db8::1"), 1), 4);
    assert_int_equal(n_taken(&t, STR("2001:db8:0:0:ffff::2"), 1), 0);
    assert_int_equal(n_taken(&t, STR("2001:db8:0:1::1"), 1), 4);
    throttle_fini(&t);
}

static void
test_addresses_of_yesterday_are_forgotten(void **state)
{
    struct throttle t = {0};
    char address[32];
    (void)state;
    for (int i = 0; i < 100000; i++) {
        snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(throttle_take(&t, str_of(address), 4, i));
    }
    assert_true(t.buckets.n < 5000);
    assert_int_equal(n_taken(&t, str_of(address), 99999), 3);
    throttle_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bucket_holds_what_a_second_brings),
        cmocka_unit_test(test_no_limit_keeps_nothing),
        cmocka_unit_test(test_an_ipv6_network_is_one_address),
        cmocka_unit_test(test_addresses_of_yesterday_are_forgotten),
    };
    return cmocka_run_group_tests_name("engine_throttle", tests, NULL, NULL);
}
