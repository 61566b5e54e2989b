/*
 * core/eio/session.c: the whole table of transitions, and the numbers that are stored.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NONE = -1 };

/* A row a state, a column an event: PROBE, UPGRADE, UPGRADE_LOST, CLOSE. */
static const int TABLE[4][4] = {
    [EIO_S_POLLING] = {EIO_S_PROBING, NONE, NONE, EIO_S_CLOSED},
    [EIO_S_PROBING] = {NONE, EIO_S_WEBSOCKET, EIO_S_POLLING, EIO_S_CLOSED},
    [EIO_S_WEBSOCKET] = {NONE, NONE, NONE, EIO_S_CLOSED},
    [EIO_S_CLOSED] = {NONE, NONE, NONE, NONE},
};
static const enum eio_event EVENTS[4] = {EIO_EV_PROBE, EIO_EV_UPGRADE,
                                         EIO_EV_UPGRADE_LOST, EIO_EV_CLOSE};

static void
test_every_transition_is_the_one_of_the_table(void **state)
{
    (void)state;
    for (int from = 0; from < 4; from++) {
        for (int i = 0; i < 4; i++) {
            bool is_allowed;
            int to = (int)eio_session_next((enum eio_state)from, EVENTS[i], &is_allowed);
            assert_int_equal(is_allowed, TABLE[from][i] != NONE);
            assert_int_equal(to, TABLE[from][i] == NONE ? from : TABLE[from][i]);
        }
    }
}

static void
test_stored_numbers_never_change(void **state)
{
    (void)state;
    assert_int_equal(EIO_S_POLLING, 0);
    assert_int_equal(EIO_S_PROBING, 1);
    assert_int_equal(EIO_S_WEBSOCKET, 2);
    assert_int_equal(EIO_S_CLOSED, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_transition_is_the_one_of_the_table),
        cmocka_unit_test(test_stored_numbers_never_change),
    };
    return cmocka_run_group_tests_name("eio_session", tests, NULL, NULL);
}
