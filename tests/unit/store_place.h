/*
 * A process with three sockets of one session, and an outsider, who has no function and
 * no hook of ours: for the tests of the views.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_UNIT_STORE_PLACE_H
#define SIOLITE_TESTS_UNIT_STORE_PLACE_H

#include "tests/unit/store_fixture.h"

struct place {
    struct fx fx;
    struct fx_process a, o; /* the outsider has SQLite's defaults */
    int64_t session, s[3];  /* id0, id1, id2 in '/' */
    int64_t x;              /* idx in /chat; see place_set_up_rooms() */
};

#define NEWEST "(SELECT * FROM t_packet ORDER BY seq DESC LIMIT 1)"

FX_UNUSED static int
place_set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    assert_int_equal(sqlite3_open(t->fx.file, &t->o.conn.db), SQLITE_OK);
    t->session = fx_three_sockets(&t->a, t->s);
    *state = t;
    return 0;
}

/* And idx; id0 and id1 are in the room R. */
FX_UNUSED static int
place_set_up_rooms(void **state)
{
    struct place *t;
    (void)place_set_up(state);
    t = *state;
    t->x = fx_socket_in(&t->a, t->session, "idx", "/chat");
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "R");
    return 0;
}

FX_UNUSED static int
place_tear_down(void **state)
{
    struct place *t = *state;
    fx_check(&t->a);
    assert_int_equal(sqlite3_close(t->o.conn.db), SQLITE_OK);
    fx_process_close(&t->a);
    fx_close(&t->fx);
    free(t);
    return 0;
}

/* The outsider's SQL fails, and appends nothing to the log. */
FX_UNUSED static void
assert_refused(struct place *t, const char *sql, const char *expected)
{
    char error[256];
    int64_t n = fx_int(&t->o, "SELECT count(*) FROM t_packet");
    assert_int_equal(fx_try(&t->o, error, sql), RC_INVALID);
    assert_string_equal(error, expected);
    assert_int_equal(fx_int(&t->o, "SELECT count(*) FROM t_packet"), n);
}

#endif
