/*
 * ws/conn.c: what it shares with others by number.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/sio/packet.h"
#include "ws/conn.c" /* its reasons are static */

static void
test_reasons_are_those_of_socket_io(void **state)
{
    (void)state;
    assert_int_equal(REASON_TRANSPORT_CLOSE, SIO_R_TRANSPORT_CLOSE);
    assert_int_equal(REASON_TRANSPORT_ERROR, SIO_R_TRANSPORT_ERROR);
}

static void
test_struct_of_an_idle_connection_is_small(void **state)
{
    (void)state;
    assert_in_range(sizeof(struct ws_conn), 1, 192);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons_are_those_of_socket_io),
        cmocka_unit_test(test_struct_of_an_idle_connection_is_small),
    };
    return cmocka_run_group_tests_name("ws_conn", tests, NULL, NULL);
}
