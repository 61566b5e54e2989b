/*
 * store/user.c and schema/views/user.sql: who is there, what waits for whom, when a
 * socket ends; whoever writes it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_place.h"

static void
set_user(struct place *t, int i, const char *user)
{
    struct store_unit *u = store_unit_create();
    store_unit_socket_user(u, t->s[i], user ? str_of(user) : STR_NONE);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
end(struct place *t, int i, bool is_lost)
{
    struct store_unit *u = store_unit_create();
    store_unit_socket_end(u, t->s[i], is_lost, STR("transport close"), FX_NOW_MS);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
recover(struct place *t, int i)
{
    char pid[64], eio_sid[64];
    struct store_unit *u = store_unit_create();
    (void)snprintf(pid, sizeof pid, "pid-id%d", i);
    (void)snprintf(eio_sid, sizeof eio_sid, "sid-next-%d", i);
    int64_t next = fx_session(&t->a, eio_sid, false);
    store_unit_recover(u, &(struct store_recover){.recovery_pid = str_of(pid),
                                                  .socket_id = t->s[i],
                                                  .old_session_id = t->session,
                                                  .session_id = next,
                                                  .offset_seq = 1,
                                                  .reply = STR("{\"sid\":1}"),
                                                  .reason = STR("transport close"),
                                                  .now_ms = FX_NOW_MS});
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
forget(struct place *t, int64_t now_ms)
{
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, now_ms, 10);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

/* ---- presence ---- */

#define PRESENCE                                                                         \
    "SELECT coalesce(group_concat(w, ' '), '') FROM (SELECT user || '=' || n_sockets "   \
    "AS w FROM presence ORDER BY user)"

static void
test_presence_counts_the_open_sockets_of_a_user(void **state)
{
    struct place *t = *state;
    FX_ASSERT_TEXT(&t->o, PRESENCE, "");
    set_user(t, 0, "ann");
    set_user(t, 1, "ann");
    set_user(t, 2, "bob");
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=2 bob=1");
    set_user(t, 2, "bob");
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=2 bob=1");
    set_user(t, 2, "ann");
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=3 bob=0");
    set_user(t, 2, NULL);
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=2 bob=0");
    end(t, 0, true);
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=1 bob=0");
    end(t, 1, false);
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=0 bob=0");
    recover(t, 0);
    FX_ASSERT_TEXT(&t->o, PRESENCE, "ann=1 bob=0");
}

/* Runs the presence jobs that are there as the engine does; the effects of the
 * application are an emit. */
static void
tell(struct place *t)
{
    struct store_unit *u = store_unit_create();
    bool is_online =
        fx_int(&t->a, "SELECT is_online FROM presence WHERE user = 'ann'") != 0;
    store_unit_presence(u, 1, is_online);
    store_unit_packet(u, FX_TO_ALL, fx_event(is_online ? "[\"come\"]" : "[\"gone\"]"));
    store_unit_block_end(u);
    store_unit_packet(u, FX_TO_ALL, fx_event("[\"ran\"]"));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

#define EVENTS                                                                           \
    "SELECT coalesce(group_concat(body, ''), '') FROM (SELECT body FROM t_packet WHERE " \
    "kind = 2 ORDER BY seq)"

static void
test_presence_is_told_once_and_in_turn(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO presence_room (room) VALUES ('watch'), ('empty')");
    fx_join(&t->a, t->s[2], "watch");
    set_user(t, 0, "ann");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT name || ' ' || due_ms || ' ' || args FROM t_job WHERE "
                   "owner_id IS NULL",
                   "#presence 0 1");
    FX_ASSERT_INT(&t->a, "SELECT kind FROM t_packet ORDER BY seq DESC LIMIT 1", 23);
    tell(t);
    FX_ASSERT_TEXT(&t->a, EVENTS, "[\"presence\",\"ann\",true][\"come\"][\"ran\"]");
    tell(t); /* by a second job */
    FX_ASSERT_TEXT(&t->a, EVENTS,
                   "[\"presence\",\"ann\",true][\"come\"][\"ran\"][\"ran\"]");
    fx_exec(&t->o, "DELETE FROM presence_room WHERE room = 'watch'");
    set_user(t, 0, NULL);
    tell(t);
    FX_ASSERT_TEXT(&t->a, EVENTS,
                   "[\"presence\",\"ann\",true][\"come\"][\"ran\"][\"ran\"]"
                   "[\"gone\"][\"ran\"]");
}

static void
test_presence_that_changed_back_makes_no_second_job(void **state)
{
    struct place *t = *state;
    set_user(t, 0, "ann");
    set_user(t, 0, NULL); /* nothing was told yet */
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_job", 1);
}

static void
test_presence_lingers(void **state)
{
    struct place *t = *state;
    t->fx.cfg.presence_linger_ms = 5000;
    assert_int_equal(store_user_limits(&t->a.conn, &t->fx.cfg), RC_OK);
    set_user(t, 0, "ann");
    tell(t);
    set_user(t, 0, NULL);
    FX_ASSERT_INT(&t->a,
                  "SELECT j.due_ms - p.since_ms FROM t_job j CROSS JOIN t_presence p "
                  "WHERE j.due_ms <> 0",
                  5000);
    tell(t); /* too early: the job of an earlier end */
    FX_ASSERT_TEXT(&t->a, EVENTS, "[\"come\"][\"ran\"][\"ran\"]");
    t->a.w.now_ms += 5000;
    tell(t);
    FX_ASSERT_TEXT(&t->a, EVENTS, "[\"come\"][\"ran\"][\"ran\"][\"gone\"][\"ran\"]");
}

static void
test_presence_is_forgotten_in_time(void **state)
{
    struct place *t = *state;
    set_user(t, 0, "ann");
    set_user(t, 1, "bob");
    set_user(t, 0, NULL);
    forget(t, FX_NOW_MS + t->fx.cfg.presence_keep_ms);
    FX_ASSERT_TEXT(&t->o, PRESENCE, "bob=1");
}

static void
test_presence_room_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    assert_refused(t, "INSERT INTO presence_room (nsp, room) VALUES ('/none', 'x')",
                   "presence_room.nsp: no such namespace; allowed: one that the "
                   "application has, or NULL for /");
    assert_refused(t, "INSERT INTO presence_room (room) VALUES (1)",
                   "presence_room.room: must be text");
}

/* ---- outbox ---- */

static void
ack(struct place *t, const char *event, int i)
{
    char sql[128];
    struct store_unit *u = store_unit_create();
    (void)snprintf(sql, sizeof sql,
                   "SELECT max(seq) FROM t_packet WHERE body LIKE '[\"%s\"%%'", event);
    store_unit_answer(u, fx_int(&t->a, sql), t->s[i], STR("1,\"ok\""), STR_NONE);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

#define SENT                                                                             \
    "SELECT coalesce(group_concat(w, ' '), '') FROM (SELECT coalesce(to_list, to_id) "   \
    "|| ':' || json_extract(body, '$[0]') AS w FROM t_packet WHERE is_ask ORDER BY seq)"
#define STATES                                                                           \
    "SELECT coalesce(group_concat(w, ' '), '') FROM (SELECT event || '=' || state AS w " \
    "FROM outbox ORDER BY id)"

static void
test_outbox_waits_and_is_sent_in_order(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO outbox (user, event, args) VALUES ('ann', 'a', '[1]'), "
                   "('bob', 'x', NULL), ('ann', 'b', NULL)");
    fx_exec(&t->o, "INSERT INTO outbox (user, event, attachments) VALUES ('ann', 'c', "
                   "x'0000000107')");
    FX_ASSERT_TEXT(&t->a, SENT, "");
    FX_ASSERT_TEXT(&t->o, STATES, "a=waiting x=waiting b=waiting c=waiting");
    fx_exec(&t->o, "INSERT INTO outbox (user, event, args, attachment) VALUES ('eve', "
                   "'d', '[1]', x'0708')");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT body || hex(attachments) FROM t_outbox WHERE user = 'eve'",
                   "[\"d\",1,{\"_placeholder\":true,\"num\":0}]000000020708");
    fx_exec(&t->o, "DELETE FROM outbox WHERE user = 'eve'");
    set_user(t, 0, "ann");
    FX_ASSERT_TEXT(&t->a, SENT, "1:a 1:b 1:c");
    FX_ASSERT_TEXT(&t->a,
                   "SELECT kind || ' ' || hex(attachments) FROM t_packet WHERE body = "
                   "'[\"c\"]'",
                   "5 0000000107");
    FX_ASSERT_TEXT(&t->o, STATES, "a=sent x=waiting b=sent c=sent");
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'd')");
    FX_ASSERT_TEXT(&t->a, SENT, "1:a 1:b 1:c 1:d");
    ack(t, "b", 0);
    ack(t, "b", 0);
    FX_ASSERT_TEXT(&t->o, STATES, "a=sent x=waiting b=acked c=sent d=sent");
    FX_ASSERT_TEXT(&t->o, "SELECT answer FROM outbox WHERE event = 'b'", "[1,\"ok\"]");
    set_user(t, 1, "ann");
    FX_ASSERT_TEXT(&t->a, SENT, "1:a 1:b 1:c 1:d 2:a 2:c 2:d");
}

static void
test_outbox_takes_back_what_nobody_has_acknowledged(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'a'), ('ann', 'b'), "
                   "('ann', 'c'), ('bob', 'a'), ('bob', 'b')");
    fx_exec(&t->o, "UPDATE t_outbox SET acked_ms = 1, answer = '[]' WHERE outbox_id = 2");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(user || event) FROM outbox_cancel",
                   "anna,annc,boba,bobb");
    fx_exec(&t->o, "INSERT INTO outbox_cancel (id) VALUES (1), (2), (99)");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(id) FROM outbox", "2,3,4,5");
    fx_exec(&t->o, "INSERT INTO outbox_cancel (user, nsp) VALUES ('ann', '/other')");
    fx_exec(&t->o, "INSERT INTO outbox_cancel (user, event) VALUES ('bob', 'b')");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(id) FROM outbox", "2,3,4");
    fx_exec(&t->o, "INSERT INTO outbox_cancel (user) VALUES ('ann')");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(id) FROM outbox", "2,4");
    assert_refused(t, "INSERT INTO outbox_cancel (event) VALUES ('a')",
                   "outbox_cancel.user: is not given, and neither is id; allowed: one of "
                   "them");
    assert_refused(t, "INSERT INTO outbox_cancel (id, user) VALUES (4, 'bob')",
                   "outbox_cancel.user: id is given too; allowed: one of them");
    assert_refused(t, "INSERT INTO outbox_cancel (id) VALUES ('four')",
                   "outbox_cancel.id: must be a whole number, as the view outbox has it");
    assert_refused(t, "INSERT INTO outbox_cancel (id, event) VALUES (4, 'a')",
                   "outbox_cancel.event: must be text, and goes with user only");
    assert_refused(t, "INSERT INTO outbox_cancel (user) VALUES (7)",
                   "outbox_cancel.user: must be text");
    assert_refused(t, "INSERT INTO outbox_cancel (user, nsp) VALUES ('bob', 7)",
                   "outbox_cancel.nsp: must be text or NULL");
    assert_refused(t, "INSERT INTO ask_cancel (name) VALUES (NULL)",
                   "ask_cancel.name: must be text");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(id) FROM outbox", "2,4");
}

static void
test_outbox_is_one_row_for_all_tabs(void **state)
{
    struct place *t = *state;
    set_user(t, 0, "ann");
    set_user(t, 1, "ann");
    set_user(t, 2, "bob");
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'a')");
    FX_ASSERT_TEXT(&t->a, SENT, "s1,s2:a");
    ack(t, "a", 2);
    FX_ASSERT_TEXT(&t->o, STATES, "a=sent");
    ack(t, "a", 1);
    FX_ASSERT_TEXT(&t->o, STATES, "a=acked");
    ack(t, "a", 0);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_outbox_sent", 0);
}

static void
test_outbox_follows_the_connect_of_a_recovered_socket(void **state)
{
    struct place *t = *state;
    set_user(t, 0, "ann");
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'a')");
    end(t, 0, true);
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'b')");
    recover(t, 0);
    FX_ASSERT_TEXT(&t->a, SENT, "1:a 1:a 1:b");
    FX_ASSERT_INT(&t->a,
                  "SELECT (SELECT max(seq) FROM t_packet WHERE kind = 0) < (SELECT "
                  "min(seq) FROM t_packet WHERE body = '[\"b\"]')",
                  1);
    /* The answer to the first question may still come. */
    struct store_unit *u = store_unit_create();
    store_unit_answer(u, fx_int(&t->a, "SELECT min(seq) FROM t_packet WHERE is_ask"),
                      t->s[0], STR_NONE, STR_NONE);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->o, STATES, "a=acked b=sent");
}

static void
test_outbox_keeps_few_questions_of_a_client_that_never_answers(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('ann', 'a')");
    for (int i = 0; i < 10; i++) {
        set_user(t, 0, "ann");
        set_user(t, 0, NULL);
    }
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_outbox_sent", 2);
    end(t, 0, false);
    set_user(t, 1, "ann");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_outbox_sent", 1);
}

static void
test_outbox_expires(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO outbox (user, event, expires_s) VALUES ('ann', 'a', 0), "
                   "('ann', 'b', 100.5)");
    FX_ASSERT_TEXT(&t->o, STATES, "a=expired b=waiting");
    set_user(t, 0, "ann");
    FX_ASSERT_TEXT(&t->a, SENT, "1:b");
    ack(t, "b", 0);
    forget(t, FX_NOW_MS);
    FX_ASSERT_TEXT(&t->o, STATES, "a=expired b=acked");
    forget(t, FX_NOW_MS + t->fx.cfg.outbox_keep_ms);
    FX_ASSERT_TEXT(&t->o, STATES, "");
}

static void
test_outbox_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    assert_refused(t, "INSERT INTO outbox (event) VALUES ('x')",
                   "outbox.user: must be text, as the application sets users");
    assert_refused(t, "INSERT INTO outbox (user, event) VALUES ('', 'x')",
                   "outbox.user: must be text, as the application sets users");
    assert_refused(t, "INSERT INTO outbox (user, nsp, event) VALUES ('a', '/no', 'x')",
                   "outbox.nsp: no such namespace; allowed: one that the application "
                   "has, or NULL for /");
    assert_refused(t, "INSERT INTO outbox (user) VALUES ('a')",
                   "outbox.event: must be text");
    assert_refused(t, "INSERT INTO outbox (user, event, args) VALUES ('a', 'x', '{}')",
                   "outbox.args: must be a JSON array");
    assert_refused(t,
                   "INSERT INTO outbox (user, event, attachments) VALUES ('a', 'x', "
                   "'text')",
                   "outbox.attachments: must be a BLOB, each attachment behind its "
                   "length (4 bytes, big endian); or attachment: one BLOB as it is");
    assert_refused(t,
                   "INSERT INTO outbox (user, event, attachments) VALUES ('a', 'x', "
                   "x'0000000207')",
                   "outbox.attachments: must be a BLOB, each attachment behind its "
                   "length (4 bytes, big endian); or attachment: one BLOB as it is");
    assert_refused(t,
                   "INSERT INTO outbox (user, event, attachment) VALUES ('a', 'x', 'y')",
                   "outbox.attachment: must be one BLOB, without attachments, or NULL");
    assert_refused(t, "INSERT INTO outbox (user, event, expires_s) VALUES ('a', 'x', -1)",
                   "outbox.expires_s: must be a number of seconds from 0 to 315360000, "
                   "or NULL");
    assert_refused(t,
                   "INSERT INTO outbox (user, event, expires_s, expires_at) VALUES ('a', "
                   "'x', 1, 1)",
                   "outbox.expires_at: expires_s is given too; allowed: one of them");
    assert_refused(t, "INSERT INTO outbox (user, event, acked_at) VALUES ('a', 'x', '')",
                   "outbox.state: state, made_at, sent_at, acked_at and answer cannot be "
                   "set");
    t->fx.cfg.n_outbox_max = 2;
    assert_int_equal(store_user_limits(&t->a.conn, &t->fx.cfg), RC_OK);
    fx_exec(&t->o, "INSERT INTO outbox (user, event) VALUES ('a', 'x'), ('a', 'x')");
    assert_refused(t, "INSERT INTO outbox (user, event) VALUES ('a', 'x')",
                   "outbox.user: has max_outbox messages that wait");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_outbox", 2);
}

/* ---- expiry ---- */

static void
test_expiry_has_one_job_at_the_announcement(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 100)");
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 200.5)");
    FX_ASSERT_TEXT(
        &t->o,
        "SELECT group_concat((x.expires_ms - j.due_ms) || ' ' || j.name || ' ' "
        "|| (j.socket_id = x.socket_id) || ' ' || x.is_close) "
        "FROM t_expiry x CROSS JOIN t_job j",
        "60000 #expiry 1 1");
    FX_ASSERT_TEXT(&t->o, "SELECT socket || ' ' || expires_s FROM socket_expiry",
                   "id0 200.5");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_packet WHERE kind = 23", 0);
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 1)");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_packet WHERE kind = 23", 1);
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket) VALUES ('id0')");
    FX_ASSERT_INT(&t->o,
                  "SELECT (SELECT count(*) FROM t_job) + (SELECT count(*) FROM t_expiry)",
                  0);
}

static void
test_expiry_goes_with_its_socket(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 100), "
                   "('id1', 100)");
    end(t, 0, true);
    end(t, 1, false);
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(socket) FROM socket_expiry", "id0");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_job WHERE name = '#expiry'", 1);
    struct store_unit *u = store_unit_create();
    store_unit_socket_drop(u, t->s[0]);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(is_recoverable) FROM disconnect", "0,0");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_job WHERE name = '#expiry'", 0);
    /* Too late: nothing happens. */
    fx_exec(&t->o, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 5)");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_expiry", 0);
}

static void
test_expiry_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    assert_refused(t, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('no', 1)",
                   "socket_expiry.socket: must be the id of a socket");
    assert_refused(t, "INSERT INTO socket_expiry (socket, expires_s) VALUES ('id0', 'x')",
                   "socket_expiry.expires_s: must be a number of seconds from 0 to "
                   "315360000, or NULL");
    assert_refused(t, "INSERT INTO socket_expiry (socket, expires_at) VALUES ('id0', -1)",
                   "socket_expiry.expires_at: must be a Unix time in seconds, or NULL");
    assert_refused(t,
                   "INSERT INTO socket_expiry (socket, expires_s, expires_at) VALUES "
                   "('id0', 1, 1)",
                   "socket_expiry.expires_at: expires_s is given too; allowed: one of "
                   "them");
    assert_refused(t, "INSERT INTO socket_expiry (socket, is_close) VALUES ('id0', 2)",
                   "socket_expiry.is_close: must be 0 or 1");
}

#define T(f) cmocka_unit_test_setup_teardown(f, place_set_up, place_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_presence_counts_the_open_sockets_of_a_user),
        T(test_presence_is_told_once_and_in_turn),
        T(test_presence_that_changed_back_makes_no_second_job),
        T(test_presence_lingers),
        T(test_presence_is_forgotten_in_time),
        T(test_presence_room_says_what_is_wrong),
        T(test_outbox_waits_and_is_sent_in_order),
        T(test_outbox_takes_back_what_nobody_has_acknowledged),
        T(test_outbox_is_one_row_for_all_tabs),
        T(test_outbox_follows_the_connect_of_a_recovered_socket),
        T(test_outbox_keeps_few_questions_of_a_client_that_never_answers),
        T(test_outbox_expires),
        T(test_outbox_says_what_is_wrong),
        T(test_expiry_has_one_job_at_the_announcement),
        T(test_expiry_goes_with_its_socket),
        T(test_expiry_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
