/*
 * store/hook.c: the web hook's queue. In order for each socket, taken and answered once,
 * bounded; a connection that waits ends by its answer or by its job, never by both.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

#define HEADS "SELECT group_concat(event_id) FROM t_hook WHERE due_ms IS NOT NULL"
#define ALL "SELECT group_concat(event_id) FROM t_hook"
#define LEASE_MS 3000
#define GONE STR("{\"reason\":\"refused\",\"rooms\":[]}")

struct two {
    struct fx fx;
    struct fx_process a, b;
    int64_t session, s[2];
};

static int
set_up(void **state)
{
    struct two *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    fx_process_open(&t->fx, &t->b);
    t->session = fx_session(&t->a, "sid-secret", false);
    t->s[0] = fx_socket(&t->a, t->session, "id0");
    t->s[1] = fx_socket(&t->a, t->session, "id1");
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct two *t = *state;
    /* what t_hook_count says is so */
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT 1 FROM t_hook_count WHERE n_rows <> (SELECT count(*) FROM t_hook "
        "WHERE is_parked = 0) OR n_bytes <> (SELECT coalesce(sum(n_bytes), 0) FROM "
        "t_hook WHERE is_parked = 0)",
        "");
    fx_process_close(&t->a);
    fx_process_close(&t->b);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static void
put_kind(struct two *t, enum store_hook_kind kind, const char *event_id, int i)
{
    struct store_unit *u = store_unit_create();
    store_unit_hook_put(u, &(struct store_hook_new){.kind = kind,
                                                    .event_id = str_of(event_id),
                                                    .sio_id = i ? STR("id1") : STR("id0"),
                                                    .nsp = STR("/"),
                                                    .socket_id = t->s[i],
                                                    .body = STR("[\"said\",1]")});
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
put(struct two *t, const char *event_id, int i)
{
    put_kind(t, STORE_HOOK_EVENT, event_id, i);
}

static struct fx_outcome
hold(struct two *t, const char *event_id, const char *nsp)
{
    struct store_unit *u = store_unit_create();
    store_unit_hook_hold(u,
                         &(struct store_hook_new){.kind = STORE_HOOK_CONNECT,
                                                  .event_id = str_of(event_id),
                                                  .sio_id = str_of(event_id),
                                                  .nsp = str_of(nsp),
                                                  .session_id = t->session,
                                                  .body = STR("{}")},
                         FX_NOW_MS + 15000, STR("{\"n\":\"/\"}"),
                         store_packet_create(STORE_CONNECT_ERROR, STR("{}"), STR_NONE));
    return fx_run(&t->a, u);
}

static int64_t
id_of(struct two *t, const char *event_id)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT hook_id FROM t_hook WHERE event_id = '%s'",
                   event_id);
    return fx_int(&t->a, sql);
}

static int64_t
gen_of(struct two *t, const char *event_id)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT gen FROM t_hook WHERE event_id = '%s'",
                   event_id);
    return fx_int(&t->a, sql);
}

static enum rc
claim(struct two *t, struct fx_process *p, const char *event_id)
{
    struct store_unit *u = store_unit_create();
    store_unit_hook_claim(u, id_of(t, event_id), gen_of(t, event_id), LEASE_MS);
    return fx_run(p, u).rc;
}

/* The answer's effect is an emit. */
static enum rc
done(struct two *t, struct fx_process *p, const char *event_id, int64_t gen)
{
    struct store_unit *u = store_unit_create();
    store_unit_guard_hook(u, id_of(t, event_id), gen);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"effect\"]"));
    return fx_run(p, u).rc;
}

static enum rc
park(struct two *t, struct fx_process *p, const char *event_id)
{
    struct store_unit *u = store_unit_create();
    store_unit_hook_park(u, id_of(t, event_id), gen_of(t, event_id), STR("HTTP 404"));
    return fx_run(p, u).rc;
}

static enum rc
retry(struct two *t, struct fx_process *p, const char *event_id, bool is_told)
{
    struct store_unit *u = store_unit_create();
    store_unit_hook_retry(u, id_of(t, event_id), gen_of(t, event_id), FX_NOW_MS + 500,
                          is_told, STR("HTTP 500"));
    return fx_run(p, u).rc;
}

static enum rc
expire(struct two *t, const struct fx_outcome *held, const char *event_id)
{
    struct store_unit *u = store_unit_create();
    store_unit_guard_job(u, held->jobs[0].job_id, held->jobs[0].gen);
    store_unit_hook_expire(u, str_of(event_id), STR("too late"), STR("vain"), GONE);
    return fx_run(&t->a, u).rc;
}

static void
test_only_the_first_of_a_socket_is_due(void **state)
{
    struct two *t = *state;
    put(t, "a1", 0);
    put(t, "a2", 0);
    put(t, "b1", 1);
    FX_ASSERT_TEXT(&t->a, HEADS, "a1,b1");
    assert_int_equal(claim(t, &t->a, "a2"), RC_CONFLICT);
    assert_int_equal(claim(t, &t->a, "a1"), RC_OK);
    assert_int_equal(done(t, &t->a, "a1", 1), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a2,b1");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 2", 1);
}

static void
test_an_answer_counts_for_the_last_claim_only(void **state)
{
    struct two *t = *state;
    put(t, "a1", 0);
    assert_int_equal(claim(t, &t->a, "a1"), RC_OK);
    assert_int_equal(claim(t, &t->b, "a1"), RC_OK); /* it held the first one for dead */
    assert_int_equal(done(t, &t->a, "a1", 1), RC_CONFLICT);
    assert_int_equal(retry(t, &t->a, "a1", true), RC_CONFLICT);
    assert_int_equal(park(t, &t->a, "a1"), RC_CONFLICT);
    assert_int_equal(done(t, &t->b, "a1", 2), RC_OK);
    FX_ASSERT_TEXT(&t->a, ALL, "");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 2", 1);
}

/* The first event that `p` would take then, and from whom. */
static void
assert_due(struct fx_process *p, int64_t now_ms, const char *event_id, int64_t late_id)
{
    sqlite3_stmt *q = conn_stmt(&p->conn, STORE_STMT_read_hooks_due);
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_process_id, p->w.process_id);
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_n, 1);
    enum rc rc = conn_step(q);
    assert_int_equal(rc, event_id ? RC_OK : RC_NOTFOUND);
    if (event_id != NULL) {
        assert_true(str_eqz(conn_column(q, 3), event_id));
        assert_int_equal(sqlite3_column_int64(q, 13), late_id);
    }
    sqlite3_reset(q);
}

static void
assert_next(struct fx_process *p, int64_t now_ms, int64_t at_ms)
{
    sqlite3_stmt *q = conn_stmt(&p->conn, STORE_STMT_read_hook_next);
    sqlite3_bind_int64(q, STORE_PARAM_read_hook_next_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_read_hook_next_process_id, p->w.process_id);
    assert_int_equal(conn_step(q), RC_OK);
    assert_int_equal(sqlite3_column_int64(q, 0), at_ms); /* NULL: 0 */
    sqlite3_reset(q);
}

static void
test_who_keeps_an_event_too_long_loses_it(void **state)
{
    struct two *t = *state;
    int64_t end_ms = FX_NOW_MS + LEASE_MS;
    put(t, "a1", 0);
    assert_int_equal(claim(t, &t->a, "a1"), RC_OK);
    assert_due(&t->b, end_ms - 1, NULL, 0);
    assert_due(&t->a, end_ms - 1, "a1", 0); /* its own */
    assert_next(&t->b, end_ms - 1, end_ms);
    assert_next(&t->a, end_ms - 1, 0);
    assert_due(&t->b, end_ms, "a1", t->a.w.process_id);
    assert_next(&t->b, end_ms, 0);
    assert_int_equal(claim(t, &t->b, "a1"), RC_OK);
    FX_ASSERT_INT(&t->a, "SELECT is_told FROM t_hook", 1);
    assert_int_equal(done(t, &t->a, "a1", 1), RC_CONFLICT);
    assert_int_equal(retry(t, &t->b, "a1", false), RC_OK);
    FX_ASSERT_INT(&t->a, "SELECT is_told FROM t_hook WHERE lease_ms IS NULL", 1);
}

static void
test_of_two_claims_of_one_generation_one_wins(void **state)
{
    struct two *t = *state;
    put(t, "a1", 0);
    struct store_unit *first = store_unit_create(), *second = store_unit_create();
    store_unit_hook_claim(first, id_of(t, "a1"), 0, LEASE_MS);
    store_unit_hook_claim(second, id_of(t, "a1"), 0, LEASE_MS);
    assert_int_equal(fx_run(&t->a, first).rc, RC_OK);
    assert_int_equal(fx_run(&t->b, second).rc, RC_CONFLICT);
}

static void
test_a_failed_try_stays_before_the_next_event(void **state)
{
    struct two *t = *state;
    put(t, "a1", 0);
    put(t, "a2", 0);
    assert_int_equal(claim(t, &t->a, "a1"), RC_OK);
    assert_int_equal(retry(t, &t->a, "a1", false), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a1");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT state || n_tries || error FROM hook WHERE event_id = 'a1'",
                   "waiting1HTTP 500");
    FX_ASSERT_TEXT(&t->a, "SELECT state FROM hook WHERE event_id = 'a2'", "behind");
}

static void
test_one_that_is_given_up_lets_the_next_pass_and_can_be_tried_again(void **state)
{
    struct two *t = *state;
    char error[256];
    put(t, "a1", 0);
    put(t, "a2", 0);
    assert_int_equal(claim(t, &t->a, "a1"), RC_OK);
    assert_int_equal(park(t, &t->a, "a1"), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a2");
    FX_ASSERT_TEXT(&t->a, "SELECT state || error FROM hook WHERE event_id = 'a1'",
                   "parkedHTTP 404");
    FX_ASSERT_TEXT(&t->a, "SELECT n_waiting || ' ' || n_parked FROM hook_total", "1 1");
    fx_exec(&t->b, "INSERT INTO hook_retry (event_id) SELECT event_id FROM hook_retry");
    FX_ASSERT_TEXT(&t->a, HEADS, "a2");
    assert_int_equal(claim(t, &t->a, "a2"), RC_OK);
    assert_int_equal(done(t, &t->a, "a2", 1), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a1");
    assert_int_equal(
        fx_try(&t->b, error, "INSERT INTO hook_retry (event_id) VALUES ('a1')"),
        RC_INVALID);
    assert_non_null(strstr(error, "hook_retry.event_id: must be one"));
}

static void
test_the_parked_are_bounded_in_bytes(void **state)
{
    struct two *t = *state;
    t->fx.cfg.hook_queue_bytes = 25; /* two of them, by 10 bytes each */
    for (int i = 0; i < 4; i++) {
        char id[] = {'p', (char)('0' + i), 0};
        put(t, id, 0);
        assert_int_equal(claim(t, &t->a, id), RC_OK);
        assert_int_equal(park(t, &t->a, id), RC_OK);
    }
    FX_ASSERT_TEXT(&t->a, ALL, "p2,p3");
}

static void
test_the_queue_is_bounded_in_rows_bytes_and_rows_a_socket(void **state)
{
    struct two *t = *state;
    t->fx.cfg.hook_socket_rows = 2;
    put(t, "a1", 0);
    put(t, "a2", 0);
    put(t, "a3", 0);
    put(t, "b1", 1);
    FX_ASSERT_TEXT(&t->a, ALL, "a1,a2,b1");
    t->fx.cfg.hook_queue_rows = 3;
    put(t, "b2", 1);
    t->fx.cfg.hook_queue_rows = 100;
    t->fx.cfg.hook_queue_bytes = 39;
    put(t, "b3", 1);
    FX_ASSERT_TEXT(&t->a, ALL, "a1,a2,b1");
    FX_ASSERT_INT(&t->a, "SELECT n_dropped FROM hook_total", 3);
}

static void
test_the_ends_of_sockets_have_room_twice_as_long(void **state)
{
    struct two *t = *state;
    t->fx.cfg.hook_queue_rows = 1;
    put(t, "a1", 0);
    put(t, "a2", 0);
    put_kind(t, STORE_HOOK_DISCONNECT, "a3", 0);
    put_kind(t, STORE_HOOK_DISCONNECT, "b1", 1);
    FX_ASSERT_TEXT(&t->a, ALL, "a1,a3");
}

static void
test_a_connection_that_waits_is_there_once(void **state)
{
    struct two *t = *state;
    assert_int_equal(hold(t, "c1", "/").n_jobs, 1);
    assert_int_equal(hold(t, "c2", "/").n_jobs, 0);
    assert_int_equal(hold(t, "c3", "/other").n_jobs, 1);
    FX_ASSERT_TEXT(&t->a, HEADS, "c1,c3");
}

static void
test_without_room_a_connection_is_refused(void **state)
{
    struct two *t = *state;
    t->fx.cfg.hook_socket_rows = 1;
    assert_int_equal(hold(t, "c1", "/").n_jobs, 1);
    assert_int_equal(hold(t, "c2", "/other").n_jobs, 0); /* of the same session */
    t->fx.cfg.hook_socket_rows = 9;
    t->fx.cfg.hook_queue_rows = 1;
    assert_int_equal(hold(t, "c3", "/third").n_jobs, 0);
    FX_ASSERT_TEXT(&t->a, ALL, "c1");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 4 AND to_kind = 3",
                  2);
}

static void
test_an_answered_connection_is_not_refused_any_more(void **state)
{
    struct two *t = *state;
    struct fx_outcome held = hold(t, "c1", "/");
    assert_string_equal(held.jobs[0].name, STORE_JOB_HOOK_EXPIRE);
    assert_int_equal(claim(t, &t->b, "c1"), RC_OK);
    assert_int_equal(done(t, &t->b, "c1", 1), RC_OK);
    assert_int_equal(expire(t, &held, "c1"), RC_CONFLICT);
    FX_ASSERT_TEXT(&t->a, ALL, "");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 0);
}

static void
test_a_connection_that_waited_in_vain_is_not_accepted_any_more(void **state)
{
    struct two *t = *state;
    struct fx_outcome held = hold(t, "c1", "/");
    assert_int_equal(claim(t, &t->b, "c1"), RC_OK);
    assert_int_equal(expire(t, &held, "c1"), RC_OK);
    assert_int_equal(done(t, &t->b, "c1", 1), RC_CONFLICT);
    /* the POST is under way: the receiver may know of it, so it is told of the end */
    FX_ASSERT_TEXT(&t->a,
                   "SELECT event_id || kind || socket FROM hook WHERE state = 'waiting'",
                   "vaindisconnectc1");
}

static void
test_the_end_of_a_connection_that_nobody_was_told_of_is_not_told(void **state)
{
    struct two *t = *state;
    struct fx_outcome held = hold(t, "c1", "/"), other = hold(t, "c2", "/other");
    assert_int_equal(claim(t, &t->b, "c1"), RC_OK);
    assert_int_equal(retry(t, &t->b, "c1", false), RC_OK);
    assert_int_equal(expire(t, &held, "c1"), RC_OK);
    FX_ASSERT_TEXT(&t->a, "SELECT error FROM hook WHERE event_id = 'c1'", "HTTP 500");
    assert_int_equal(claim(t, &t->b, "c2"), RC_OK);
    assert_int_equal(retry(t, &t->b, "c2", true), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "c2");
    assert_int_equal(expire(t, &other, "c2"), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "vain");
}

static void
test_presence_is_told_in_an_order_of_its_own(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    struct store_hook_new h = {.kind = STORE_HOOK_PRESENCE,
                               .event_id = STR("p1"),
                               .sio_id = STR("presence:7"),
                               .nsp = STR("/"),
                               .body = STR("{\"user\":\"ann\",\"is_online\":true}")};
    put(t, "a1", 0);
    store_unit_hook_put(u, &h);
    h.event_id = STR("p2");
    store_unit_hook_put(u, &h);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a1,p1");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT kind || (socket IS NULL) || event || nsp || state FROM hook "
                   "WHERE event_id = 'p2'",
                   "presence1ann/behind");
    assert_int_equal(claim(t, &t->b, "p1"), RC_OK);
    assert_int_equal(done(t, &t->b, "p1", 1), RC_OK);
    FX_ASSERT_TEXT(&t->a, HEADS, "a1,p2");
}

static void
test_an_end_is_told_only_of_who_is_not_there(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    struct store_hook_new h = {.kind = STORE_HOOK_DISCONNECT,
                               .event_id = STR("v0"),
                               .sio_id = STR("id0"),
                               .nsp = STR("/"),
                               .body = GONE};
    store_unit_hook_vain(u, &h);
    h.event_id = STR("v1");
    h.sio_id = STR("nobody");
    store_unit_hook_vain(u, &h);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a, ALL, "v1");
}

static void
test_a_socket_is_remembered_until_its_end_is_told(void **state)
{
    struct two *t = *state;
    put_kind(t, STORE_HOOK_DISCONNECT, "a1", 0);
    fx_exec(&t->a, "UPDATE t_lease SET state = 1, keep_seq = NULL, due_ms = NULL");
    fx_exec(&t->a, "UPDATE t_socket SET state = 2, until_seq = 1");
    fx_exec(
        &t->a,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
        "1100) INSERT INTO t_socket (sio_id, nsp_id, session_id, state, until_seq) "
        "SELECT 'x' || i, 1, (SELECT max(session_id) FROM t_session), 2, i + 9 FROM n");
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, FX_NOW_MS, 50);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT group_concat(sio_id) FROM t_socket WHERE sio_id LIKE 'id%'",
                   "id0");
}

static void
test_a_session_guard_holds_for_an_open_session(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_guard_session(u, t->session);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    fx_exec(&t->a, "UPDATE t_lease SET state = 1, keep_seq = NULL, due_ms = NULL");
    u = store_unit_create();
    store_unit_guard_session(u, t->session);
    assert_int_equal(fx_run(&t->a, u).rc, RC_CONFLICT);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_only_the_first_of_a_socket_is_due),
        T(test_an_answer_counts_for_the_last_claim_only),
        T(test_who_keeps_an_event_too_long_loses_it),
        T(test_of_two_claims_of_one_generation_one_wins),
        T(test_a_failed_try_stays_before_the_next_event),
        T(test_one_that_is_given_up_lets_the_next_pass_and_can_be_tried_again),
        T(test_the_parked_are_bounded_in_bytes),
        T(test_the_queue_is_bounded_in_rows_bytes_and_rows_a_socket),
        T(test_the_ends_of_sockets_have_room_twice_as_long),
        T(test_a_connection_that_waits_is_there_once),
        T(test_without_room_a_connection_is_refused),
        T(test_an_answered_connection_is_not_refused_any_more),
        T(test_a_connection_that_waited_in_vain_is_not_accepted_any_more),
        T(test_the_end_of_a_connection_that_nobody_was_told_of_is_not_told),
        T(test_presence_is_told_in_an_order_of_its_own),
        T(test_an_end_is_told_only_of_who_is_not_there),
        T(test_a_socket_is_remembered_until_its_end_is_told),
        T(test_a_session_guard_holds_for_an_open_session),
    };
    return cmocka_run_group_tests_name("store_hook", tests, NULL, NULL);
}
