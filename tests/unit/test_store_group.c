/*
 * store/group.c: what is left of a unit when one of its handlers fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "tests/unit/store_fixture.h"

struct place {
    struct fx fx;
    struct fx_process p;
    int64_t session_id;
};

struct sql_step {
    struct store_step head;
    const char *sql;
};

static int
on_progress(void *due_us)
{
    return clock_now_us() > *(const int64_t *)due_us;
}

/* As application SQL runs: one statement, under a deadline. */
static enum rc
run_sql(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const char *sql = ((struct sql_step *)step)->sql;
    int64_t due_us = clock_now_us() + 10000;
    int n;
    if (strcmp(sql, "slow") == 0) {
        store_step_note_time(u, 100000);
        return store_step_has_time(u) ? RC_OK : RC_INVALID;
    }
    if (strcmp(sql, "refuse") == 0) {
        store_group_refuse(u, step, STR("not \"you\""), STR("{\"a\": 1}"));
        return RC_INVALID;
    }
    sqlite3_progress_handler(w->conn->db, 1000, on_progress, &due_us);
    n = sqlite3_exec(w->conn->db, sql, NULL, NULL, NULL);
    sqlite3_progress_handler(w->conn->db, 0, NULL, NULL);
    if (n != SQLITE_OK)
        store_step_error(u, "%s", sqlite3_errmsg(w->conn->db));
    return conn_rc(n);
}

static void
add_sql(struct store_unit *u, const char *sql)
{
    struct sql_step *s = store_step_add(u, sizeof *s, run_sql, STORE_STEP_RISKY);
    s->sql = sql;
}

#define ROLLBACK "INSERT INTO note VALUES ('rollback')"
#define ENDLESS                                                                          \
    "INSERT INTO note WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) " \
    "SELECT max(i) FROM n"

static void
add_event(struct store_unit *u)
{
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"x\"]"));
}

static struct store_group *
group(struct store_unit *u, size_t from, struct store_group *needs)
{
    return store_unit_group(u, from, needs,
                            &(struct store_group_info){.what = STR("event"),
                                                       .nsp = STR("/"),
                                                       .sio_id = STR("A"),
                                                       .event = STR("say")});
}

/* An event's row and a statement, as one group. */
static struct store_group *
add_group(struct store_unit *u, const char *sql, struct store_group *needs)
{
    size_t from = store_unit_n_steps(u);
    add_event(u);
    if (sql)
        add_sql(u, sql);
    return group(u, from, needs);
}

static int
set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->p);
    t->session_id = fx_session(&t->p, "secret", false);
    (void)fx_socket(&t->p, t->session_id, "listener");
    fx_exec(&t->p,
            "CREATE TABLE note (text UNIQUE);"
            "CREATE TRIGGER rolls BEFORE INSERT ON note WHEN new.text = 'rollback' "
            "BEGIN SELECT RAISE(ROLLBACK, 'gone'); END;");
    log_set_level(LOG_ERROR);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    fx_process_close(&t->p);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static int64_t
n_events(struct place *t)
{
    return fx_int(&t->p, "SELECT count(*) FROM emit");
}

#define ASSERT_NOTES(t, expected)                                                        \
    FX_ASSERT_TEXT(&(t)->p, "SELECT group_concat(text) FROM note", expected)
#define ASSERT_ERRORS(t, expected)                                                       \
    FX_ASSERT_TEXT(&(t)->p, "SELECT group_concat(error, ';') FROM app_error", expected)

static void
test_steps_without_risk_are_no_group(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    add_event(u);
    assert_null(group(u, 0, NULL));
    add_sql(u, "INSERT INTO note VALUES (1)");
    assert_null(group(u, 2, NULL)); /* no step */
    store_unit_truncate(u, 1);
    assert_null(group(u, 0, NULL));
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
}

static void
test_failing_group_leaves_the_rest_of_its_unit(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    add_event(u);
    add_group(u, "INSERT INTO note VALUES ('a')", NULL);
    add_group(u, "INSERT INTO note VALUES ('a')", NULL);
    add_group(u, "INSERT INTO nowhere VALUES (1)", NULL);
    add_group(u, "INSERT INTO note VALUES ('b')", NULL);
    add_event(u);
    o = fx_run(&t->p, u);
    assert_int_equal(o.rc, RC_OK);
    assert_string_equal(o.error, "");
    assert_int_equal(n_events(t), 4);
    assert_int_equal(t->p.w.n_packets, 4);
    assert_int_equal(t->p.w.n_rows, 4);
    assert_int_equal(o.last_seq, fx_int(&t->p, "SELECT max(seq) FROM t_packet"));
    ASSERT_NOTES(t, "a,b");
    ASSERT_ERRORS(t, "UNIQUE constraint failed: note.text;no such table: nowhere");
    FX_ASSERT_TEXT(&t->p,
                   "SELECT what || nsp || socket || event || (time > '2020') || error_id "
                   "FROM app_error",
                   "event/Asay11");
}

static void
test_group_that_takes_the_transaction_along_is_left_out(void **state)
{
    static const char *const BAD[] = {ROLLBACK, ENDLESS};
    struct place *t = *state;
    for (size_t i = 0; i < 2; i++) {
        struct store_unit *units[3];
        struct fx_outcome o[3];
        for (size_t k = 0; k < 3; k++) {
            units[k] = store_unit_create();
            add_event(units[k]);
            if (k == 1)
                add_group(units[k], BAD[i], NULL);
            add_group(units[k], "INSERT INTO note VALUES (random())", NULL);
        }
        fx_exec(&t->p, "DELETE FROM note; DELETE FROM t_app_error; DELETE FROM t_packet");
        fx_batch(&t->p, units, o, 3);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(o[k].rc, RC_OK);
        assert_int_equal(n_events(t), 6);
        assert_int_equal(t->p.w.n_packets, 6);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM note", 3);
        ASSERT_ERRORS(t, i == 0 ? "gone" : "interrupted");
    }
}

static void
test_unit_that_loses_many_transactions_is_not_tried_for_ever(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    add_event(u);
    for (int i = 0; i < 50; i++)
        add_group(u, ENDLESS, NULL);
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
    assert_int_equal(n_events(t), 1);
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error WHERE error = 'interrupted'", 3);
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error WHERE error LIKE 'not tried%'",
                  47);
}

static void
test_inner_group_fails_alone_and_outer_with_its_inner(void **state)
{
    struct place *t = *state;
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        fx_exec(&t->p, "DELETE FROM note; DELETE FROM t_app_error; DELETE FROM t_packet");
        add_sql(u, "INSERT INTO note VALUES ('outer')");
        add_group(u, "INSERT INTO note VALUES ('inner')", NULL);
        add_group(u, "INSERT INTO note VALUES ('outer')", NULL); /* fails */
        if (i == 1)
            add_sql(u, "INSERT INTO note VALUES ('inner')"); /* fails */
        group(u, 0, NULL);
        add_event(u);
        assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
        ASSERT_NOTES(t, i == 0 ? "outer,inner" : "");
        assert_int_equal(n_events(t), i == 0 ? 2 : 1);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 1);
    }
}

static void
test_group_goes_with_the_one_it_needs(void **state)
{
    struct place *t = *state;
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        struct store_group *first =
            add_group(u, i == 0 ? "SELECT 1" : "SELECT missing", NULL);
        fx_exec(&t->p, "DELETE FROM t_packet");
        assert_non_null(add_group(u, NULL, first));
        add_group(u, "INSERT INTO note VALUES (random())", first);
        add_event(u);
        assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
        assert_int_equal(n_events(t), i == 0 ? 4 : 1);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", i);
    }
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM note", 1);
}

static struct store_group *
add_socket(struct store_unit *u, int64_t session_id, const char *sio_id, const char *sql)
{
    size_t from = store_unit_n_steps(u);
    store_unit_socket_create(u, &(struct store_socket_new){.session_id = session_id,
                                                           .nsp = STR("/"),
                                                           .sio_id = str_of(sio_id),
                                                           .reply = STR("{\"sid\":1}"),
                                                           .now_ms = FX_NOW_MS});
    add_sql(u, sql);
    return store_unit_group(u, from, NULL,
                            &(struct store_group_info){.what = STR("connection"),
                                                       .nsp = STR("/"),
                                                       .sio_id = str_of(sio_id),
                                                       .session_id = session_id});
}

static void
test_socket_of_a_failing_group_never_existed(void **state)
{
    static const char *const BAD[] = {"refuse", "SELECT missing", ROLLBACK};
    struct place *t = *state;
    for (size_t i = 0; i < 3; i++) {
        struct store_unit *u = store_unit_create();
        struct fx_outcome o;
        char expected[128], last[8];
        (void)snprintf(last, sizeof last, "B%zu", i);
        store_unit_job(u, 5, STR("before"), 0, STR("1"));
        add_socket(u, t->session_id, "A", BAD[i]);
        (void)add_socket(u, t->session_id, last, "SELECT 1");
        store_unit_join(u,
                        &(struct store_target){.nsp = STR("/"),
                                               .to = STORE_TO_SOCKET,
                                               .id = STORE_NEW_SOCKET(1)},
                        STR("room"));
        o = fx_run(&t->p, u);
        assert_int_equal(o.rc, RC_OK);
        assert_int_equal(o.n_sockets, 2);
        assert_int_equal(o.sockets[0], 0);
        FX_ASSERT_TEXT(&t->p, "SELECT sio_id FROM t_socket ORDER BY 1 DESC LIMIT 1",
                       "listener");
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM t_socket WHERE sio_id = 'A'", 0);
        FX_ASSERT_TEXT(&t->p,
                       "SELECT socket FROM member WHERE room = 'room' "
                       "ORDER BY since_seq DESC",
                       last);
        assert_int_equal(o.n_jobs, 2);
        assert_string_equal(o.jobs[0].name, "before");
        assert_string_equal(o.jobs[1].name, "refuse");
        (void)snprintf(expected, sizeof expected,
                       "{\"session\":%lld,\"nsp\":\"/\",\"message\":%s}",
                       (long long)t->session_id,
                       i == 0 ? "\"not \\\"you\\\"\",\"data\":\"{\\\"a\\\": 1}\""
                              : "\"Internal error\"");
        assert_string_equal(o.jobs[1].args, expected);
    }
    FX_ASSERT_TEXT(&t->p, "SELECT group_concat(error) FROM app_error",
                   "no such column: missing,gone");
}

static void
test_guard_behind_a_failing_group_undoes_all(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    add_group(u, "INSERT INTO note VALUES ('a')", NULL);
    add_group(u, "SELECT missing", NULL);
    store_unit_guard_once(u,
                          &(struct store_once){.key = STR("key"), .now_ms = FX_NOW_MS});
    store_unit_guard_once(u,
                          &(struct store_once){.key = STR("key"), .now_ms = FX_NOW_MS});
    assert_int_equal(fx_run(&t->p, u).rc, RC_CONFLICT);
    ASSERT_NOTES(t, "");
    ASSERT_ERRORS(t, "");
    assert_int_equal(n_events(t), 0);
}

#define OUT_OF_TIME "not run: the SQL of the same message has taken 250 ms"

static void
test_groups_have_a_time_together(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    for (int i = 0; i < 3; i++) /* the third one comes to an end at 300 ms, too late */
        add_group(u, "slow", NULL);
    struct store_group *late = add_group(u, "INSERT INTO note VALUES ('late')", NULL);
    add_group(u, "INSERT INTO note VALUES ('needs it')", late);
    add_event(u);
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
    ASSERT_NOTES(t, "");
    ASSERT_ERRORS(t, OUT_OF_TIME ";" OUT_OF_TIME);
    assert_int_equal(n_events(t), 3); /* of two groups, and the last one */
    u = store_unit_create();
    add_group(u, "INSERT INTO note VALUES ('the next unit')", NULL);
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
    ASSERT_NOTES(t, "the next unit");
}

static void
test_of_many_groups_that_are_too_late_some_are_told(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    for (int i = 0; i < 1300; i++)
        add_group(u, i < 3 ? "slow" : "INSERT INTO note VALUES ('late')", NULL);
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
    ASSERT_NOTES(t, "");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 1000);
    FX_ASSERT_INT(&t->p, "SELECT max(error_id) FROM app_error", 1001);
}

static void
test_errors_are_bounded(void **state)
{
    struct place *t = *state;
    fx_exec(&t->p,
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
            "1200) INSERT INTO t_app_error (made_s, what, error) "
            "SELECT 0, 'event', i FROM n");
    struct store_unit *u = store_unit_create();
    add_group(u, "SELECT missing", NULL);
    assert_int_equal(fx_run(&t->p, u).rc, RC_OK);
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 1000);
    FX_ASSERT_INT(&t->p, "SELECT min(error_id) FROM app_error", 202);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_steps_without_risk_are_no_group),
        T(test_failing_group_leaves_the_rest_of_its_unit),
        T(test_group_that_takes_the_transaction_along_is_left_out),
        T(test_unit_that_loses_many_transactions_is_not_tried_for_ever),
        T(test_inner_group_fails_alone_and_outer_with_its_inner),
        T(test_group_goes_with_the_one_it_needs),
        T(test_socket_of_a_failing_group_never_existed),
        T(test_guard_behind_a_failing_group_undoes_all),
        T(test_groups_have_a_time_together),
        T(test_of_many_groups_that_are_too_late_some_are_told),
        T(test_errors_are_bounded),
    };
    return cmocka_run_group_tests_name("store_group", tests, NULL, NULL);
}
