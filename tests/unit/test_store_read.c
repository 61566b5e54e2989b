/*
 * store/read.c on a whole store: what the engine reads on its loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

struct place {
    struct fx fx;
    struct store *st;
    int64_t session, s[3];
    struct fx_rows rows;
    struct buf out;
};

static int64_t
add_socket(struct place *t, const char *nsp, const char *sio_id)
{
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    store_unit_socket_create(u, &(struct store_socket_new){.session_id = t->session,
                                                           .nsp = str_of(nsp),
                                                           .sio_id = str_of(sio_id),
                                                           .auth = STR("{\"a\":1}"),
                                                           .data = STR("[1]")});
    o = fx_store_run(t->st, u);
    assert_int_equal(o.rc, RC_OK);
    return o.sockets[0];
}

static void
join(struct place *t, int64_t socket_id, const char *room)
{
    struct store_unit *u = store_unit_create();
    store_unit_join(u, FX_TO_SOCKET(socket_id), str_of(room));
    assert_int_equal(fx_store_run(t->st, u).rc, RC_OK);
}

static int
set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    struct store_unit *u = store_unit_create();
    fx_open(&t->fx);
    t->st = fx_store_open(&t->fx, &t->rows);
    store_unit_session_create(u,
                              &(struct store_session_new){.eio_sid = STR("sid-secret"),
                                                          .protocol = 3,
                                                          .remote = STR("192.0.2.1"),
                                                          .handshake = STR("{\"h\":1}"),
                                                          .ping_ms = 5,
                                                          .due_ms = 7,
                                                          .connect_due_ms = 6});
    t->session = fx_store_run(t->st, u).lease.session_id;
    t->s[0] = add_socket(t, "/", "idb");
    t->s[1] = add_socket(t, "/", "ida");
    t->s[2] = add_socket(t, "/chat", "idc");
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    store_close(t->st);
    buf_fini(&t->out);
    fx_close(&t->fx);
    free(t);
    return 0;
}

/* ---- callbacks write a line into t->out ---- */

static void
on_socket(void *arg, const struct store_socket *s)
{
    struct place *t = arg;
    buf_append_f(&t->out, "%.*s %.*s %.*s %.*s %.*s %.*s %d %d %d;", STR_ARG(s->sio_id),
                 STR_ARG(s->nsp), STR_ARG(s->user), STR_ARG(s->data), STR_ARG(s->auth),
                 STR_ARG(s->reason), s->state, s->is_recovered, s->until_seq > 0);
}

static void
on_session_socket(void *arg, const struct store_session_socket *s)
{
    struct place *t = arg;
    buf_append_f(&t->out, "%.*s %d %d %d;", STR_ARG(s->sio_id), (int)s->nsp_id, s->state,
                 s->until_seq > 0);
}

static void
on_member(void *arg, int64_t room_id, int64_t since_seq, int64_t until_seq)
{
    struct place *t = arg;
    buf_append_f(&t->out, "in %d %d;", (int)room_id,
                 until_seq ? (int)(until_seq - since_seq) : 0);
}

static void
on_name(void *arg, struct str name)
{
    struct place *t = arg;
    buf_append_str(&t->out, name);
    buf_append_c(&t->out, ';');
}

static void
on_id(void *arg, int64_t id)
{
    struct place *t = arg;
    buf_append_f(&t->out, "%d;", (int)id);
}

static void
on_row(void *arg, struct store_packet *p)
{
    struct place *t = arg;
    buf_append_f(&t->out, "%d %d;", (int)p->seq, (int)p->kind);
}

static void
on_answer(void *arg, int64_t socket_id, struct str body, struct str attachments)
{
    struct place *t = arg;
    buf_append_f(&t->out, "%d %.*s %zu;", (int)socket_id, STR_ARG(body), attachments.len);
}

static void
assert_out(struct place *t, const char *expected)
{
    buf_append_c(&t->out, 0);
    assert_string_equal(t->out.p, expected);
    buf_clear(&t->out);
}

/* ---- sessions ---- */

static void
test_session_is_found_by_its_secret_or_its_number(void **state)
{
    struct place *t = *state;
    struct store_session s;
    struct str a, b;
    assert_int_equal(store_read_session(t->st, STR("sid-secret"), &s), RC_OK);
    assert_int_equal(s.session_id, t->session);
    assert_int_equal(s.protocol, 3);
    assert_int_equal(s.ping_ms, 5);
    assert_int_equal(s.due_ms, 7);
    assert_int_equal(s.connect_due_ms, 0); /* a socket is there */
    assert_false(s.is_closed || s.is_websocket || s.has_partial || s.is_pinged ||
                 s.is_told);
    assert_int_equal(s.reason.len, 0);
    assert_int_equal(store_read_session(t->st, STR("sid-wrong"), &s), RC_NOTFOUND);
    assert_int_equal(store_read_session_by_id(t->st, 99, &s), RC_NOTFOUND);
    assert_int_equal(store_read_handshake(t->st, t->session, &a, &b), RC_OK);
    assert_true(str_eqz(a, "{\"h\":1}") && str_eqz(b, "192.0.2.1"));
    assert_int_equal(store_read_partial(t->st, t->session, &a, &b), RC_NOTFOUND);
}

static void
test_closed_session_says_why_and_drops_what_was_half_received(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct store_session s;
    struct str a, b;
    store_unit_partial(u, t->session, STR("51-[]"), STR("abc"));
    (void)fx_store_run(t->st, u);
    assert_int_equal(store_read_session_by_id(t->st, t->session, &s), RC_OK);
    assert_true(s.has_partial);
    assert_int_equal(store_read_partial(t->st, t->session, &a, &b), RC_OK);
    assert_true(str_eqz(a, "51-[]") && str_eqz(b, "abc"));
    assert_int_equal(s.parser, 0);
    u = store_unit_create();
    store_unit_session_parser(u, t->session, 1);
    store_unit_session_close(u, t->session, STR("ping timeout"), false, 1, 0);
    (void)fx_store_run(t->st, u);
    assert_int_equal(store_read_session_by_id(t->st, t->session, &s), RC_OK);
    assert_true(s.is_closed && !s.has_partial && s.parser == 1);
    assert_true(str_eqz(s.reason, "ping timeout"));
    assert_int_equal(store_read_partial(t->st, t->session, &a, &b), RC_NOTFOUND);
}

static void
test_due_sessions_come_in_order(void **state)
{
    struct place *t = *state;
    for (int i = 0; i < 3; i++) {
        struct store_unit *u = store_unit_create();
        char id[16];
        (void)snprintf(id, sizeof id, "sid-%d", i);
        store_unit_session_create(u, &(struct store_session_new){.eio_sid = str_of(id),
                                                                 .protocol = 4,
                                                                 .is_websocket = i == 2,
                                                                 .due_ms = 6 - i});
        (void)fx_store_run(t->st, u);
    }
    assert_int_equal(store_read_due_sessions(t->st, 6, 10, on_id, t), RC_OK);
    assert_out(t, "3;2;");
    assert_int_equal(store_read_due_sessions(t->st, 7, 2, on_id, t), RC_OK);
    assert_out(t, "3;2;");
}

/* ---- sockets ---- */

static void
test_sockets_of_a_session_are_those_that_rows_may_concern(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    int64_t before, ended;
    store_unit_socket_end(u, t->s[0], false, STR("x"), 1);
    ended = fx_store_run(t->st, u).last_seq;
    before = ended - 1;
    assert_int_equal(store_read_sockets(t->st, t->session, ended, on_session_socket, t),
                     RC_OK);
    assert_out(t, "ida 1 0 0;idc 2 0 0;");
    assert_int_equal(store_read_sockets(t->st, t->session, before, on_session_socket, t),
                     RC_OK);
    assert_out(t, "idb 1 2 1;ida 1 0 0;idc 2 0 0;");
}

static void
test_strings_of_a_socket_last_until_the_next_read(void **state)
{
    struct place *t = *state;
    struct store_socket s;
    assert_int_equal(store_read_socket(t->st, t->s[2], &s), RC_OK);
    assert_true(str_eqz(s.sio_id, "idc") && str_eqz(s.nsp, "/chat") &&
                str_eqz(s.data, "[1]"));
    assert_true(str_eqz(s.auth, "{\"a\":1}"));
    assert_int_equal(s.session_id, t->session);
    assert_int_equal(s.nsp_id, 2);
    assert_int_equal(s.user.len + s.reason.len, 0);
    assert_int_equal(store_read_socket(t->st, 99, &s), RC_NOTFOUND);
}

static void
test_memberships_and_rooms_of_a_socket(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    int64_t left;
    join(t, t->s[0], "b");
    join(t, t->s[0], "a");
    join(t, t->s[2], "c");
    store_unit_leave(u, FX_TO_SOCKET(t->s[0]), STR("b"));
    left = fx_store_run(t->st, u).last_seq;
    join(t, t->s[0], "Z");
    assert_int_equal(store_read_rooms(t->st, t->s[0], on_name, t), RC_OK);
    assert_out(t, "Z;a;");
    assert_int_equal(store_read_members(t->st, t->s[0], left, on_member, t), RC_OK);
    assert_out(t, "in 2 0;in 4 0;");
    assert_int_equal(store_read_members(t->st, t->s[0], left - 1, on_member, t), RC_OK);
    assert_out(t, "in 1 3;in 2 0;in 4 0;");
    assert_int_equal(store_read_members(t->st, t->s[2], left, on_member, t), RC_OK);
    assert_out(t, "in 3 0;");
}

static void
test_target_is_read_in_the_order_of_public_ids(void **state)
{
    struct place *t = *state;
    const struct str names[3] = {STR("R"), STR("idb"), STR("idc")};
    join(t, t->s[0], "R");
    join(t, t->s[1], "R");
    assert_int_equal(store_read_target(t->st,
                                       &(struct store_target){.nsp = STR("/"),
                                                              .to = STORE_TO_ROOM,
                                                              .rooms = names,
                                                              .n_rooms = 3},
                                       on_socket, t),
                     RC_OK);
    assert_out(t, "ida /  [1] {\"a\":1}  0 0 0;idb /  [1] {\"a\":1}  0 0 0;");
    assert_int_equal(store_read_target(t->st,
                                       &(struct store_target){.nsp = STR("/"),
                                                              .to = STORE_TO_NSP,
                                                              .except = names,
                                                              .n_except = 1},
                                       on_socket, t),
                     RC_OK);
    assert_out(t, "");
    assert_int_equal(store_read_target(
                         t->st,
                         &(struct store_target){.to = STORE_TO_SESSION, .id = t->session},
                         on_socket, t),
                     RC_OK);
    assert_out(t, "ida /  [1] {\"a\":1}  0 0 0;idb /  [1] {\"a\":1}  0 0 0;idc /chat  "
                  "[1] {\"a\":1}  0 0 0;");
    assert_int_equal(store_read_target(t->st, FX_TO_ROOM("nowhere"), on_socket, t),
                     RC_OK);
    assert_out(t, "");
}

static void
test_namespaces_are_ensured_and_named(void **state)
{
    struct place *t = *state;
    struct str name;
    int64_t id;
    struct fx_process o = {0};
    assert_int_equal(sqlite3_open(t->fx.file, &o.conn.db), SQLITE_OK);
    assert_int_equal(store_nsp_ensure(t->st, STR("/custom")), RC_OK);
    id = fx_int(&o, "SELECT nsp_id FROM t_nsp WHERE name = '/custom'");
    assert_int_equal(store_nsp_ensure(t->st, STR("/custom")), RC_OK);
    FX_ASSERT_INT(&o, "SELECT nsp_id FROM t_nsp WHERE name = '/custom'", id);
    assert_int_equal(sqlite3_close(o.conn.db), SQLITE_OK);
    assert_int_equal(store_read_nsp_name(t->st, id, &name), RC_OK);
    assert_true(str_eqz(name, "/custom"));
    assert_int_equal(store_read_nsp_name(t->st, 99, &name), RC_NOTFOUND);
}

/* ---- log, answers, jobs ---- */

static void
test_log_is_read_in_slices(void **state)
{
    struct place *t = *state;
    int64_t max_seq, last;
    assert_int_equal(store_read_begin(t->st, &max_seq), RC_OK);
    assert_int_equal(store_read_log(t->st, max_seq - 3, max_seq, 2, on_row, t, &last),
                     RC_OK);
    assert_int_equal(last, max_seq - 1);
    assert_int_equal(store_read_log(t->st, last, max_seq, 2, on_row, t, &last), RC_OK);
    assert_int_equal(last, max_seq);
    store_read_end(t->st);
    {
        char expected[64];
        (void)snprintf(expected, sizeof expected, "%d 0;%d 0;%d 0;", (int)max_seq - 2,
                       (int)max_seq - 1, (int)max_seq);
        assert_out(t, expected);
    }
}

static void
test_snapshot_does_not_see_later_commits(void **state)
{
    struct place *t = *state;
    struct store_session s;
    struct store_unit *u = store_unit_create();
    int64_t before, after;
    assert_int_equal(store_read_begin(t->st, &before), RC_OK);
    store_unit_session_close(u, t->session, STR("x"), false, 1, 0);
    store_unit_packet(u, FX_TO_ALL, fx_event("[]"));
    (void)fx_store_run(t->st, u);
    assert_int_equal(store_read_session_by_id(t->st, t->session, &s), RC_OK);
    assert_false(s.is_closed);
    store_read_end(t->st);
    assert_int_equal(store_read_session_by_id(t->st, t->session, &s), RC_OK);
    assert_true(s.is_closed);
    assert_int_equal(store_read_begin(t->st, &after), RC_OK);
    assert_true(after > before + 1);
    store_read_end(t->st);
}

static void
test_answers_come_in_their_order(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    int64_t n_expected = -1;
    store_unit_ask(u, FX_TO_ALL, fx_event("[\"q\"]"), STORE_NEVER_MS, STR("later"), 0,
                   STR_NONE);
    o = fx_store_run(t->st, u);
    for (int i = 1; i >= 0; i--) {
        u = store_unit_create();
        store_unit_answer(u, o.last_seq, t->s[i], i ? STR("[1]") : STR("[0]"),
                          i ? STR("abcd") : STR_NONE);
        (void)fx_store_run(t->st, u);
        assert_int_equal(store_read_answers(t->st, o.last_seq, &n_expected, on_answer, t),
                         RC_OK);
        assert_int_equal(n_expected, 2);
        assert_out(t, i ? "2 [1] 4;" : "2 [1] 4;1 [0] 0;");
    }
    assert_int_equal(store_read_answers(t->st, 0, &n_expected, on_answer, t), RC_OK);
    assert_int_equal(n_expected, 0);
    assert_int_equal(store_read_answers(t->st, 12345, &n_expected, on_answer, t),
                     RC_NOTFOUND);
}

static void
test_stray_jobs_are_seen_before_they_are_due(void **state)
{
    struct place *t = *state;
    struct fx_process o = {0};
    struct store_unit *u = store_unit_create();
    int64_t due_ms = 0;
    store_unit_job(u, 1, STR("mine"), 0, STR_NONE);
    (void)fx_store_run(t->st, u);
    assert_int_equal(store_read_stray_job(t->st, 100, &due_ms), RC_OK);
    assert_true(due_ms == INT64_MAX);
    assert_int_equal(sqlite3_open(t->fx.file, &o.conn.db), SQLITE_OK);
    fx_exec(&o, "PRAGMA busy_timeout = 5000; INSERT INTO t_job (name, due_ms) VALUES "
                "('stray', 50)");
    assert_int_equal(store_read_stray_job(t->st, 49, &due_ms), RC_OK);
    assert_true(due_ms == INT64_MAX);
    assert_int_equal(store_read_stray_job(t->st, 500, &due_ms), RC_OK);
    assert_int_equal(due_ms, 50);
    assert_int_equal(store_read_processes(t->st, on_id, t), RC_OK);
    assert_out(t, "1;");
    assert_int_equal(sqlite3_close(o.conn.db), SQLITE_OK);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_session_is_found_by_its_secret_or_its_number),
        T(test_closed_session_says_why_and_drops_what_was_half_received),
        T(test_due_sessions_come_in_order),
        T(test_sockets_of_a_session_are_those_that_rows_may_concern),
        T(test_strings_of_a_socket_last_until_the_next_read),
        T(test_memberships_and_rooms_of_a_socket),
        T(test_target_is_read_in_the_order_of_public_ids),
        T(test_namespaces_are_ensured_and_named),
        T(test_log_is_read_in_slices),
        T(test_snapshot_does_not_see_later_commits),
        T(test_answers_come_in_their_order),
        T(test_stray_jobs_are_seen_before_they_are_due),
    };
    return cmocka_run_group_tests_name("store_read", tests, NULL, NULL);
}
