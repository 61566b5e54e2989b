/*
 * store/sweep.c: what the dead held, and what is forgotten when.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

struct two {
    struct fx fx;
    struct fx_process a, ws;
};

static int
set_up(void **state)
{
    struct two *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    fx_process_open(&t->fx, &t->ws);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct two *t = *state;
    fx_process_close(&t->a);
    fx_process_close(&t->ws);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static struct fx_outcome
bury(struct two *t, size_t n)
{
    struct store_unit *u = store_unit_create();
    store_unit_bury(u, t->ws.w.process_id, STR("transport close"), false, FX_NOW_MS, n);
    return fx_run(&t->a, u);
}

static void
forget(struct two *t, int64_t now_ms, size_t n)
{
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, now_ms, n);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
end(struct two *t, int64_t socket_id, bool is_lost)
{
    struct store_unit *u = store_unit_create();
    store_unit_socket_end(u, socket_id, is_lost, STR("x"), FX_NOW_MS);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
close_session(struct two *t, int64_t session)
{
    struct store_unit *u = store_unit_create();
    store_unit_session_close(u, session, STR("x"), false, FX_NOW_MS, 0);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

/* ---- bury ---- */

static void
test_websockets_of_the_dead_close_in_slices(void **state)
{
    struct two *t = *state;
    struct fx_outcome o;
    for (int i = 0; i < 3; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "sid-%d", i);
        (void)fx_socket(&t->ws, fx_session(&t->ws, id, true), id);
    }
    o = bury(t, 2);
    assert_int_equal(o.n_jobs, 2);
    assert_string_equal(o.jobs[0].args, "{\"reason\":\"transport close\",\"rooms\":[]}");
    FX_ASSERT_TEXT(&t->a, "SELECT is_dead FROM t_process WHERE process_id = 2", "1");
    assert_int_equal(bury(t, 2).n_jobs, 1);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_process", 1);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT group_concat(state || ifnull(owner_id, '-')) FROM t_lease",
                   "1-,1-,1-");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 20", 3);
    assert_int_equal(bury(t, 2).n_jobs, 0);
}

static void
test_polls_of_the_dead_are_free_and_their_answers_void(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false);
    struct store_unit *u = store_unit_create();
    struct fx_outcome claimed;
    store_unit_poll_claim(u, session, 0, 0, 0);
    claimed = fx_run(&t->ws, u);
    (void)bury(t, 10);
    FX_ASSERT_TEXT(&t->a, "SELECT printf('%d %d', state, owner_id IS NULL) FROM t_lease",
                   "0 1");
    u = store_unit_create();
    store_unit_poll_answer(u, session, claimed.lease.gen, 9, false);
    assert_int_equal(fx_run(&t->ws, u).rc, RC_CONFLICT);
}

/* ---- forget ---- */

static void
test_lost_socket_is_gone_after_the_recovery_window(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false);
    t->fx.cfg.recovery_ms = 4000;
    end(t, fx_socket(&t->a, session, "one"), true);
    forget(t, FX_NOW_MS + 3999, 10);
    FX_ASSERT_INT(&t->a, "SELECT state FROM t_socket", 1);
    forget(t, FX_NOW_MS + 4000, 10);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %d', state, recovery_pid IS NULL) FROM t_socket",
                   "2 1");
}

static void
test_last_thousand_disconnects_are_remembered(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false);
    fx_exec(
        &t->a,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        "INSERT INTO t_socket (sio_id, nsp_id, session_id, state, until_seq, gone_ms) "
        "SELECT 'id' || i, 1, 1, 2, i, 0 FROM n");
    forget(t, FX_NOW_MS, 150);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_socket",
                  1200); /* the session may still be owed rows to them */
    close_session(t, session);
    forget(t, FX_NOW_MS, 150);
    FX_ASSERT_TEXT(&t->a, "SELECT count(*) || ' ' || min(until_seq) FROM t_socket",
                   "1050 151");
    forget(t, FX_NOW_MS, 150);
    forget(t, FX_NOW_MS, 150);
    FX_ASSERT_TEXT(&t->a, "SELECT count(*) || ' ' || min(until_seq) FROM t_socket",
                   "1000 201");
}

static void
test_ended_socket_of_an_open_session_goes_below_the_horizon(void **state)
{
    struct two *t = *state;
    (void)fx_session(&t->a, "sid", false);
    fx_exec(
        &t->a,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1010) "
        "INSERT INTO t_socket (sio_id, nsp_id, session_id, state, until_seq, gone_ms) "
        "SELECT 'id' || i, 1, 1, 2, i, 0 FROM n");
    fx_exec(&t->a, "UPDATE t_meta SET horizon_seq = 7");
    forget(t, FX_NOW_MS, 150);
    FX_ASSERT_TEXT(&t->a, "SELECT count(*) || ' ' || min(until_seq) FROM t_socket",
                   "1003 8");
}

static void
test_closed_session_goes_after_a_minute_with_its_last_socket(void **state)
{
    struct two *t = *state;
    int64_t with = fx_session(&t->a, "with", false),
            without = fx_session(&t->a, "without", false);
    struct store_unit *u = store_unit_create();
    int64_t id = fx_socket(&t->a, with, "one");
    fx_join(&t->a, id, "R");
    store_unit_partial(u, with, STR("51-"), STR_NONE);
    (void)fx_run(&t->a, u);
    close_session(t, with);
    close_session(t, without);
    end(t, id, false);
    forget(t, FX_NOW_MS + 59999, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_session", 2);
    forget(t, FX_NOW_MS + 60000, 10);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(eio_sid) FROM t_session",
                   "with"); /* its socket's reason is remembered */
    fx_exec(
        &t->a,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO t_socket (sio_id, nsp_id, session_id, state, until_seq, gone_ms) "
        "SELECT 'id' || i, 1, 1, 2, i + 100, 0 FROM n");
    fx_exec(&t->a, "INSERT INTO t_session (eio_sid) VALUES ('others')");
    fx_exec(&t->a, "INSERT INTO t_lease (session_id) SELECT session_id FROM t_session "
                   "WHERE eio_sid = 'others'");
    fx_exec(&t->a, "UPDATE t_socket SET session_id = (SELECT session_id FROM t_session "
                   "WHERE eio_sid = 'others') "
                   "WHERE until_seq > 100");
    forget(t, FX_NOW_MS + 60000, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_session", 2); /* its handlers wait */
    fx_exec(&t->a, "DELETE FROM t_job WHERE name = 'disconnect'");
    forget(t, FX_NOW_MS + 60000, 10);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(eio_sid) FROM t_session", "others");
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT (SELECT count(*) FROM t_partial) || (SELECT count(*) FROM t_member)",
        "00");
}

static void
test_open_session_is_never_forgotten(void **state)
{
    struct two *t = *state;
    (void)fx_session(&t->a, "sid", false);
    forget(t, FX_NOW_MS + 1000000000, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_session JOIN t_lease USING (session_id)",
                  1);
}

static void
test_empty_room_goes_when_the_log_is_younger(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false),
            id = fx_socket(&t->a, session, "one");
    struct store_unit *u = store_unit_create();
    fx_join(&t->a, id, "left");
    fx_join(&t->a, id, "kept");
    store_unit_leave(u, FX_TO_SOCKET(id), STR("left"));
    (void)fx_run(&t->a, u);
    fx_exec(&t->a, "UPDATE t_meta SET horizon_seq = (SELECT idle_seq - 1 FROM t_room "
                   "WHERE name = 'left')");
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_room", 2);
    fx_exec(&t->a, "UPDATE t_meta SET horizon_seq = horizon_seq + 1");
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(name) FROM t_room", "kept");
}

/* A socket comes and goes. */
static void
leave_nsp(struct two *t, const char *name)
{
    int64_t session = fx_session(&t->a, name, false);
    end(t, fx_socket_in(&t->a, session, name, name), false);
}

static void
move_horizon(struct two *t)
{
    fx_exec(&t->a, "UPDATE t_meta SET horizon_seq = (SELECT max(seq) FROM t_packet)");
}

#define NSPS "SELECT group_concat(name) FROM (SELECT name FROM t_nsp ORDER BY name)"

static void
test_dynamic_namespace_goes_after_its_last_socket(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false);
    t->fx.cfg.is_cleanup_nsp = true;
    fx_exec(&t->a, "INSERT INTO t_nsp (name, is_static) VALUES ('/static', 1)");
    leave_nsp(t, "/static");
    leave_nsp(t, "/left");
    leave_nsp(t, "/used");
    (void)fx_socket_in(&t->a, session, "used again", "/used");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_nsp WHERE idle_seq IS NOT NULL", 2);
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_TEXT(&t->a, NSPS, "/,/left,/static,/used"); /* the log names it */
    move_horizon(t);
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_TEXT(&t->a, NSPS, "/,/left,/static,/used"); /* a gone socket does */
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_nsp WHERE idle_seq IS NOT NULL", 1);
    fx_exec(&t->a, "DELETE FROM t_socket WHERE state = 2");
    move_horizon(t);
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_TEXT(&t->a, NSPS, "/,/static,/used");
    (void)fx_socket_in(&t->a, session, "again", "/left");
    FX_ASSERT_INT(&t->a, "SELECT max(nsp_id) = 5 FROM t_nsp", 1); /* ids are not reused */
}

static void
test_dynamic_namespace_stays_without_cleanup_nsp(void **state)
{
    struct two *t = *state;
    leave_nsp(t, "/left");
    fx_exec(&t->a, "DELETE FROM t_socket");
    move_horizon(t);
    forget(t, FX_NOW_MS, 10);
    FX_ASSERT_TEXT(&t->a, NSPS, "/,/left");
}

static void
test_used_keys_are_remembered_for_an_hour(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_guard_once(u, &(struct store_once){.key = STR("k"), .now_ms = FX_NOW_MS});
    (void)fx_run(&t->a, u);
    forget(t, FX_NOW_MS + 3599999, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_dedup", 1);
    forget(t, FX_NOW_MS + 3600000, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_dedup", 0);
}

static void
test_question_that_nobody_can_answer_any_more_is_dropped(void **state)
{
    struct two *t = *state;
    int64_t session = fx_session(&t->a, "sid", false);
    int64_t one = fx_socket(&t->a, session, "one"),
            two = fx_socket(&t->a, session, "two");
    int64_t asked[3] = {one, one, two};
    for (int i = 0; i < 3; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_ask(u, FX_TO_SOCKET(asked[i]), fx_event("[\"q\"]"),
                       i == 1 ? FX_NOW_MS + 1 : STORE_NEVER_MS, STR("later"), 0,
                       STR_NONE);
        (void)fx_run(&t->a, u);
    }
    for (int i = 0; i < 20; i++)
        forget(t, FX_NOW_MS + i, 10);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 3);
    end(t, one, false);
    fx_exec(&t->a, "DELETE FROM t_job WHERE name = 'disconnect'");
    for (int i = 0; i < 20; i++)
        forget(t, FX_NOW_MS + i, 10);
    /* the one with a time-out runs at its time, the one to the living waits */
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(job_id) FROM t_job", "2,3");
    FX_ASSERT_TEXT(
        &t->a, "SELECT (SELECT count(*) FROM t_ask) || (SELECT count(*) FROM t_answer)",
        "22");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_websockets_of_the_dead_close_in_slices),
        T(test_polls_of_the_dead_are_free_and_their_answers_void),
        T(test_lost_socket_is_gone_after_the_recovery_window),
        T(test_last_thousand_disconnects_are_remembered),
        T(test_ended_socket_of_an_open_session_goes_below_the_horizon),
        T(test_closed_session_goes_after_a_minute_with_its_last_socket),
        T(test_open_session_is_never_forgotten),
        T(test_empty_room_goes_when_the_log_is_younger),
        T(test_dynamic_namespace_goes_after_its_last_socket),
        T(test_dynamic_namespace_stays_without_cleanup_nsp),
        T(test_used_keys_are_remembered_for_an_hour),
        T(test_question_that_nobody_can_answer_any_more_is_dropped),
    };
    return cmocka_run_group_tests_name("store_sweep", tests, NULL, NULL);
}
