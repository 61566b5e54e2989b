/*
 * store/socket.c: a socket's interval of the log, its one end, its data.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

struct two {
    struct fx fx;
    struct fx_process a, b;
    int64_t session;
};

static int
set_up(void **state)
{
    struct two *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    fx_process_open(&t->fx, &t->b);
    t->session = fx_session(&t->a, "sid-secret", false);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct two *t = *state;
    fx_process_close(&t->a);
    fx_process_close(&t->b);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static struct fx_outcome
end(struct fx_process *p, int64_t socket_id, bool is_lost, const char *reason)
{
    struct store_unit *u = store_unit_create();
    store_unit_socket_end(u, socket_id, is_lost, str_of(reason), FX_NOW_MS);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"left\"]"));
    return fx_run(p, u);
}

static void
test_interval_of_a_socket_begins_with_its_connect_reply(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    assert_int_equal(t->a.w.n_packets, 1);
    assert_int_equal(t->a.w.packets[0]->kind, STORE_CONNECT);
    assert_int_equal(t->a.w.packets[0]->socket_id, id);
    assert_int_equal(t->a.w.packets[0]->to_id, t->session);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT printf('%d %d %d %d %d %d %s', s.first_seq = p.seq, s.since_seq = p.seq, "
        "s.state, p.to_kind, "
        "p.to_id, p.nsp_id, p.body) FROM t_packet p JOIN t_socket s USING (socket_id)",
        "1 1 0 3 1 1 {\"sid\":1}");
    FX_ASSERT_TEXT(&t->a, "SELECT data || auth FROM t_socket", "null{}");
}

static void
test_first_socket_clears_the_connect_deadline(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_socket_create(u, &(struct store_socket_new){.session_id = t->session,
                                                           .nsp = STR("/"),
                                                           .sio_id = STR("one"),
                                                           .auth = STR("{\"token\":1}"),
                                                           .due_ms = 77});
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %d', connect_due_ms IS NULL, due_ms) FROM t_lease",
                   "1 77");
    FX_ASSERT_TEXT(&t->a, "SELECT auth || (recovery_pid IS NULL) FROM t_socket",
                   "{\"token\":1}1");
}

static void
test_namespace_is_made_once(void **state)
{
    struct two *t = *state;
    (void)fx_socket_in(&t->a, t->session, "one", "/chat");
    (void)fx_socket_in(&t->b, t->session, "two", "/chat");
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(name) FROM t_nsp", "/,/chat");
    FX_ASSERT_INT(&t->a, "SELECT count(DISTINCT nsp_id) FROM t_socket", 1);
}

static void
test_unit_may_use_the_sockets_that_it_makes(void **state)
{
    struct two *t = *state;
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    for (int i = 0; i < 2; i++)
        store_unit_socket_create(
            u, &(struct store_socket_new){.session_id = t->session,
                                          .nsp = STR("/"),
                                          .sio_id = i ? STR("two") : STR("one")});
    store_unit_join(u, FX_TO_SOCKET(STORE_NEW_SOCKET(1)), STR("R"));
    store_unit_packet(u, FX_TO_SOCKET(STORE_NEW_SOCKET(0)), fx_event("[\"auth\"]"));
    store_unit_socket_user(u, STORE_NEW_SOCKET(1), STR("anna"));
    store_unit_packet(u, FX_TO_SOCKET(STORE_NEW_SOCKET(5)), fx_event("[\"nobody\"]"));
    o = fx_run(&t->a, u);
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.n_sockets, 2);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT s.sio_id || s.user FROM t_member JOIN t_socket s USING (socket_id)",
        "twoanna");
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(kind || ':' || to_id) FROM t_packet",
                   "0:1,0:1,16:2,2:1");
}

static void
test_socket_ends_once(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    struct fx_outcome first, second;
    fx_join(&t->a, id, "R");
    first = end(&t->a, id, false, "transport close");
    second = end(&t->b, id, false, "ping timeout");
    assert_int_equal(first.rc, RC_OK);
    assert_int_equal(second.rc, RC_OK);
    assert_int_equal(second.n_jobs, 0);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_packet WHERE kind = 19", 1);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %s %d %d %d', s.state, s.reason, s.gone_ms, "
                   "s.recovery_pid IS NULL, s.until_seq = "
                   "p.seq) FROM t_socket s, t_packet p WHERE p.kind = 19",
                   "2 transport close 1000000 1 1");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT m.until_seq = s.until_seq FROM t_member m JOIN t_socket s "
                   "USING (socket_id)",
                   "1");
}

/* SIO-DISCONNECT-ONCE */
static void
test_socket_ends_once_with_one_job_that_knows_its_rooms(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    struct fx_process *by[2] = {&t->a, &t->b};
    fx_join(&t->a, id, "R");
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_disconnect(u, FX_TO_SOCKET(id), STR("server namespace disconnect"),
                              false, FX_NOW_MS);
        struct fx_outcome o = fx_run(by[i], u);
        assert_int_equal(o.rc, RC_OK);
        assert_int_equal(o.n_jobs, i == 0);
        if (i == 0)
            assert_string_equal(
                o.jobs[0].args,
                "{\"reason\":\"server namespace disconnect\",\"rooms\":[\"R\"]}");
    }
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(kind) FROM t_packet", "0,16,1,19");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 1);
}

static void
test_what_follows_the_end_of_an_ended_socket_is_done(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_socket_end(u, id, false, STR("x"), FX_NOW_MS);
        store_unit_packet(
            u, (&(struct store_target){.to = STORE_TO_SESSION, .id = t->session}),
            fx_event("[\"left\"]"));
        assert_int_equal(fx_run(&t->a, u).n_jobs, i == 0);
    }
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(kind) FROM t_packet", "0,19,2,2");
}

static void
test_lost_socket_keeps_what_recovery_needs(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    assert_int_equal(end(&t->a, id, true, "transport close").rc, RC_OK);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d %s %s', state, recovery_pid, reason) FROM t_socket",
                   "1 pid-one transport close");
    assert_int_equal(end(&t->b, id, false, "late").n_jobs, 0);
}

static void
test_data_and_user_are_kept_in_the_row(void **state)
{
    struct two *t = *state;
    int64_t id = fx_socket(&t->a, t->session, "one");
    struct store_unit *u = store_unit_create();
    store_unit_socket_data(u, id, STR("{\"n\":12345678901234567890}"));
    store_unit_socket_user(u, id, STR("anna"));
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a, "SELECT data || user FROM t_socket",
                   "{\"n\":12345678901234567890}anna");
    u = store_unit_create();
    store_unit_socket_user(u, id, STR_NONE);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a, "SELECT user IS NULL FROM t_socket", "1");
}

static void
test_public_id_that_exists_fails_the_unit_alone(void **state)
{
    struct two *t = *state;
    struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
    struct fx_outcome o[2];
    (void)fx_socket(&t->a, t->session, "one");
    store_unit_socket_create(
        units[0], &(struct store_socket_new){
                      .session_id = t->session, .nsp = STR("/x"), .sio_id = STR("one")});
    store_unit_packet(units[1], FX_TO_ALL, fx_event("[\"x\"]"));
    fx_batch(&t->b, units, o, 2);
    assert_int_equal(o[0].rc, RC_INVALID);
    assert_int_equal(o[0].n_sockets, 0);
    assert_int_equal(o[1].rc, RC_OK);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_nsp", 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_interval_of_a_socket_begins_with_its_connect_reply),
        T(test_first_socket_clears_the_connect_deadline),
        T(test_namespace_is_made_once),
        T(test_unit_may_use_the_sockets_that_it_makes),
        T(test_socket_ends_once),
        T(test_socket_ends_once_with_one_job_that_knows_its_rooms),
        T(test_what_follows_the_end_of_an_ended_socket_is_done),
        T(test_lost_socket_keeps_what_recovery_needs),
        T(test_data_and_user_are_kept_in_the_row),
        T(test_public_id_that_exists_fails_the_unit_alone),
    };
    return cmocka_run_group_tests_name("store_socket", tests, NULL, NULL);
}
