/*
 * The verbs in SQL (schema/views/emit.sql, ask.sql, control.sql) from a plain connection:
 * many targets at once, binary data, questions and their answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_place.h"

/* ann is id1, id2 and idx. */
static int
set_up(void **state)
{
    struct store_unit *u = store_unit_create();
    struct place *t;
    (void)place_set_up_rooms(state);
    t = *state;
    store_unit_socket_user(u, t->s[1], STR("ann"));
    store_unit_socket_user(u, t->s[2], STR("ann"));
    store_unit_socket_user(u, t->x, STR("ann"));
    (void)fx_run(&t->a, u);
    fx_exec(&t->a, "DELETE FROM t_job"); /* that ann has come */
    return 0;
}

/* ---- targets ---- */

#define ROUTE                                                                            \
    "SELECT printf('%d %d %s %s', to_kind, to_id, to_list, not_list) FROM " NEWEST

static void
test_emit_to_rooms_users_and_all_but(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (rooms, event) VALUES ('[\"R\"]', 'x')");
    FX_ASSERT_TEXT(&t->o, ROUTE, "1 1  ");
    fx_exec(
        &t->o,
        "INSERT INTO emit (room, rooms, event) VALUES ('id2', '[\"R\", \"no\"]', 'x')");
    FX_ASSERT_TEXT(&t->o, ROUTE, "4 0 r1,s3 ");
    fx_exec(&t->o, "INSERT INTO emit (user, event) VALUES ('ann', 'x')");
    FX_ASSERT_TEXT(&t->o, ROUTE, "4 0 s2,s3 ");
    fx_exec(&t->o, "INSERT INTO emit (nsp, user, event) VALUES ('/chat', 'ann', 'x')");
    FX_ASSERT_TEXT(&t->o, ROUTE, "2 4  ");
    fx_exec(&t->o, "INSERT INTO emit (except_room, except_rooms, event) VALUES ('id2', "
                   "'[\"R\", \"id1\"]', 'x')");
    FX_ASSERT_TEXT(&t->o, ROUTE, "0 1  r1,s2,s3");
    FX_ASSERT_TEXT(&t->o, "SELECT except_rooms FROM emit ORDER BY seq DESC LIMIT 1",
                   "[\"R\",\"id1\",\"id2\"]");
}

static void
test_emit_to_none_of_many_is_no_row(void **state)
{
    struct place *t = *state;
    int64_t n = fx_int(&t->o, "SELECT count(*) FROM t_packet");
    fx_exec(&t->o,
            "INSERT INTO emit (rooms, event) VALUES ('[]', 'x'), ('[\"no\"]', 'x')");
    fx_exec(&t->o, "INSERT INTO emit (user, event) VALUES ('bob', 'x')");
    assert_int_equal(fx_int(&t->o, "SELECT count(*) FROM t_packet"), n);
}

static void
test_emit_says_which_target_is_wrong(void **state)
{
    struct place *t = *state;
    const char *rooms =
        "emit.rooms: must be a JSON array of texts (rooms or socket ids), or NULL";
    assert_refused(t, "INSERT INTO emit (event, rooms) VALUES ('x', 'R')", rooms);
    assert_refused(t, "INSERT INTO emit (event, rooms) VALUES ('x', '{}')", rooms);
    assert_refused(t, "INSERT INTO emit (event, rooms) VALUES ('x', '[1]')", rooms);
    assert_refused(t, "INSERT INTO emit (event, rooms) VALUES ('x', x'41')", rooms);
    assert_refused(t, "INSERT INTO emit (event, except_rooms) VALUES ('x', '[null]')",
                   "emit.except_rooms: must be a JSON array of texts (rooms or socket "
                   "ids), or NULL");
    assert_refused(t, "INSERT INTO emit (event, user) VALUES ('x', 5)",
                   "emit.user: must be text or NULL");
    assert_refused(t, "INSERT INTO emit (event, is_plain) VALUES ('x', 2)",
                   "emit.is_plain: must be 0 or 1");
}

static void
test_emit_may_be_plain(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (event, is_plain) VALUES ('x', 1)");
    FX_ASSERT_INT(&t->o, "SELECT is_plain FROM " NEWEST, 1);
}

/* ---- binary data ---- */

#define BINARY "SELECT kind || body || hex(attachments) FROM " NEWEST
#define PLACE(n) "{\"_placeholder\":true,\"num\":" #n "}"

static void
test_emit_of_binary_data(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (event, attachment) VALUES ('x', x'0102')");
    FX_ASSERT_TEXT(&t->o, BINARY, "5[\"x\"," PLACE(0) "]000000020102");
    fx_exec(&t->o, "INSERT INTO emit (event, args, attachment) VALUES ('x', '[1]', x'')");
    FX_ASSERT_TEXT(&t->o, BINARY, "5[\"x\",1," PLACE(0) "]00000000");
    fx_exec(&t->o, "INSERT INTO emit (event, args, attachments) VALUES ('x', '[{\"b\":" //
            PLACE(1) "}," PLACE(0) "]', x'0000000100000000020102')");
    FX_ASSERT_TEXT(&t->o, BINARY,
                   "5[\"x\",{\"b\":" PLACE(1) "}," PLACE(0) "]0000000100000000020102");
    fx_exec(&t->o, "INSERT INTO emit (event, attachments) VALUES ('x', "
                   "x'0000000100000000020102')");
    FX_ASSERT_TEXT(&t->o, BINARY,
                   "5[\"x\"," PLACE(0) "," PLACE(1) "]0000000100000000020102");
    fx_exec(&t->o, "INSERT INTO emit (event, attachments) VALUES ('x', x'')");
    FX_ASSERT_TEXT(&t->o, BINARY, "2[\"x\"]");
    fx_exec(&t->o, "INSERT INTO emit (event, attachment) VALUES ('x', zeroblob(70000))");
    FX_ASSERT_TEXT(&t->o, "SELECT hex(substr(attachments, 1, 5)) FROM " NEWEST,
                   "0001117000");
    fx_exec(&t->o, "INSERT INTO emit (event, attachments) SELECT 'y', attachments "
                   "FROM emit ORDER BY seq DESC LIMIT 1");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT event || is_binary || length(attachments) FROM emit "
                   "ORDER BY seq DESC LIMIT 1",
                   "y170004");
}

static void
test_emit_says_what_is_wrong_with_binary_data(void **state)
{
    struct place *t = *state;
    const char *form = "emit.attachments: must be a BLOB, each attachment behind its "
                       "length (4 bytes, big endian); or attachment: one BLOB as it is",
               *places = "emit.args: must have a " PLACE(
                   0) " for each attachment, or none at all";
    assert_refused(t, "INSERT INTO emit (event, attachment) VALUES ('x', 'text')", form);
    assert_refused(t, "INSERT INTO emit (event, attachments) VALUES ('x', 5)", form);
    assert_refused(t, "INSERT INTO emit (event, attachments) VALUES ('x', x'00')", form);
    assert_refused(t, "INSERT INTO emit (event, attachments) VALUES ('x', x'00000001')",
                   form);
    assert_refused(t, "INSERT INTO emit (event, attachments) VALUES ('x', x'FFFFFFFF00')",
                   form);
    assert_refused(t,
                   "INSERT INTO emit (event, attachments, attachment) VALUES ('x', "
                   "x'00000000', x'00')",
                   form);
    assert_refused(t,
                   "INSERT INTO emit (event, args, attachment) VALUES ('x', '[" PLACE(
                       1) "]', x'00')",
                   places);
    assert_refused(t,
                   "INSERT INTO emit (event, args, attachment) VALUES ('x', "
                   "'[{\"_placeholder\":true,\"num\":\"0\"}]', x'00')",
                   places);
    assert_refused(t,
                   "INSERT INTO emit (event, args, attachments) VALUES ('x', '[" PLACE(
                       0) "]', x'0000000000000000')",
                   places);
    assert_refused(t, "INSERT INTO emit (event, attachments) VALUES ('x', zeroblob(44))",
                   "emit.attachments: are more than max_attachments");
    fx_exec(&t->o, "INSERT INTO emit (event, attachments) VALUES ('x', zeroblob(40))");
    /* without binary data it is JSON like any other */
    fx_exec(&t->o, "INSERT INTO emit (event, args) VALUES ('x', '[" PLACE(7) "]')");
    FX_ASSERT_INT(&t->o, "SELECT kind FROM " NEWEST, 2);
}

/* ---- many at once ---- */

static void
test_room_verbs_take_many(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_join (is_all, room) VALUES (1, 'hall')");
    FX_ASSERT_TEXT(&t->o, "SELECT kind || ' ' || to_kind FROM " NEWEST, "16 0");
    FX_ASSERT_INT(&t->o, "SELECT n_members FROM room WHERE room = 'hall'", 3);
    fx_exec(&t->o, "INSERT INTO room_join (user, room) VALUES ('ann', 'hall'), ('ann', "
                   "'fans'), ('bob', 'fans')");
    FX_ASSERT_INT(&t->o, "SELECT n_members FROM room WHERE room = 'hall'", 3);
    FX_ASSERT_INT(&t->o, "SELECT n_members FROM room WHERE room = 'fans'", 2);
    fx_exec(&t->o, "INSERT INTO room_join (nsp, in_room, room) VALUES ('/', 'R', 'S')");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(socket) FROM member WHERE room = 'S'",
                   "id0,id1");
    fx_exec(&t->o, "INSERT INTO room_join (in_room, room) VALUES ('id2', 'S')");
    FX_ASSERT_INT(&t->o, "SELECT n_members FROM room WHERE room = 'S'", 3);
    fx_exec(&t->o,
            "INSERT INTO room_leave (in_room, room) VALUES ('R', 'S'), ('no', 'S')");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(socket) FROM member WHERE room = 'S'",
                   "id2");
    fx_exec(&t->o, "INSERT INTO room_leave (is_all, room) VALUES (1, 'hall')");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM room WHERE room = 'hall'", 0);
}

static void
test_kick_of_many_is_a_job_for_each_hundred(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    for (int i = 0; i < 205; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "many%d", i);
        (void)fx_socket_in(&t->a, t->session, id, "/many");
    }
    fx_exec(&t->o, "INSERT INTO kick (nsp, is_all) VALUES ('/many', 1)");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(json_array_length(args, '$.sockets') || '/' || "
                   "json_extract(args, '$.close')) FROM t_job WHERE name = 'kick'",
                   "99/0,100/0,6/0");
    fx_exec(&t->o, "DELETE FROM t_job; INSERT INTO kick (in_room, is_close) VALUES ('R', "
                   "1), ('no', 1)");
    store_unit_jobs_claim(u, FX_NOW_MS, 10);
    struct fx_outcome o = fx_run(&t->a, u);
    assert_int_equal(o.n_jobs, 1);
    assert_string_equal(o.jobs[0].args, "{\"close\":1,\"sockets\":[1,2]}");
}

static void
test_who_is_meant_must_be_said_once(void **state)
{
    struct place *t = *state;
    assert_refused(t, "INSERT INTO room_join (room) VALUES ('R')",
                   "room_join: exactly one of socket, in_room, user and is_all = 1 says "
                   "who");
    assert_refused(t, "INSERT INTO room_leave (room, user, is_all) VALUES ('R', 'a', 1)",
                   "room_leave: exactly one of socket, in_room, user and is_all = 1 says "
                   "who");
    assert_refused(t, "INSERT INTO kick (is_all) VALUES (0)",
                   "kick: exactly one of socket, in_room, user and is_all = 1 says who");
    assert_refused(t, "INSERT INTO kick (in_room) VALUES (5)",
                   "kick.in_room: must be text (a room or a socket id)");
    assert_refused(t, "INSERT INTO kick (nsp, is_all) VALUES ('/none', 1)",
                   "kick.nsp: no such namespace; allowed: one that the application has; "
                   "NULL is that of the socket, else /");
    assert_refused(t, "INSERT INTO kick (user) VALUES (x'41')",
                   "kick.user: must be text");
}

/* ---- what a socket is ---- */

static void
test_data_and_user_of_a_socket(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO socket_data (socket, data) VALUES ('id0', '{\"n\": 1}')");
    fx_exec(&t->o,
            "INSERT INTO socket_user (nsp, socket, user) VALUES ('/', 'id0', 'bob')");
    FX_ASSERT_TEXT(&t->o, "SELECT data || user FROM socket WHERE socket = 'id0'",
                   "{\"n\": 1}bob");
    fx_exec(&t->o, "INSERT INTO socket_data (socket) VALUES ('id0')");
    fx_exec(&t->o, "INSERT INTO socket_user (socket) VALUES ('id0')");
    FX_ASSERT_TEXT(
        &t->o, "SELECT data || (user IS NULL) FROM socket WHERE socket = 'id0'", "null1");
    assert_refused(t, "INSERT INTO socket_data (socket, data) VALUES ('no', '1')",
                   "socket_data.socket: must be the id of an open socket of this "
                   "namespace");
    assert_refused(t, "INSERT INTO socket_data (socket, data) VALUES ('id0', '{')",
                   "socket_data.data: must be JSON text");
    assert_refused(t, "INSERT INTO socket_user (nsp, socket) VALUES ('/chat', 'id0')",
                   "socket_user.socket: must be the id of an open socket of this "
                   "namespace");
    assert_refused(t, "INSERT INTO socket_user (socket, user) VALUES ('id0', '')",
                   "socket_user.user: must be text with at least one character, or NULL");
}

/* ---- to the processes ---- */

static void
test_server_emit_is_a_row_for_processes(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o,
            "INSERT INTO server_emit (nsp, event, args) VALUES ('/chat', 'x', '[1]')");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%d %d %d %s', kind, nsp_id, to_id, body) FROM " //
                   NEWEST,
                   "24 2 2 [\"x\",1]");
    FX_ASSERT_TEXT(&t->o, "SELECT nsp || event || args FROM server_emit", "/chatx[1]");
    assert_refused(t, "INSERT INTO server_emit (event, args) VALUES ('x', '{}')",
                   "server_emit.args: must be a JSON array");
}

/* ---- acks ---- */

static void
test_ack_is_given_by_the_events_id(void **state)
{
    struct place *t = *state;
    int64_t n;
    fx_exec(&t->o, "INSERT INTO ack (event_id, args) VALUES ('idx:12', '[1, \"a\"]')");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%d %d %d %d %d %s', kind, nsp_id, to_kind, to_id, "
                   "ack_id, body) FROM " NEWEST,
                   "3 2 2 4 12 [1, \"a\"]");
    FX_ASSERT_TEXT(&t->o, "SELECT event_id || args FROM ack", "idx:12[1, \"a\"]");
    fx_exec(&t->o, "INSERT INTO ack (event_id) VALUES ('id0:0')");
    FX_ASSERT_TEXT(&t->o, "SELECT body FROM " NEWEST, "[]");
    fx_exec(&t->o, "INSERT INTO ack (event_id, attachment) VALUES ('id0:0', x'07')");
    FX_ASSERT_TEXT(&t->o, BINARY, "6[" PLACE(0) "]0000000107");
    n = fx_int(&t->o, "SELECT count(*) FROM t_packet");
    fx_exec(&t->o, "INSERT INTO ack (event_id) VALUES ('gone:1')");
    fx_exec(&t->o, "INSERT INTO ack (event_id) VALUES ('id0:')"); /* none is wanted */
    assert_int_equal(fx_int(&t->o, "SELECT count(*) FROM t_packet"), n);
}

static void
test_ack_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    const char *id = "ack.event_id: must be what an event came with: a socket id, a "
                     "colon, and a number";
    assert_refused(t, "INSERT INTO ack (args) VALUES ('[]')", id);
    assert_refused(t, "INSERT INTO ack (event_id) VALUES ('id0')", id);
    assert_refused(t, "INSERT INTO ack (event_id) VALUES (':1')", id);
    assert_refused(t, "INSERT INTO ack (event_id) VALUES ('id0:1x')", id);
    assert_refused(t, "INSERT INTO ack (event_id) VALUES ('id0:1234567890123456789')",
                   id);
    assert_refused(t, "INSERT INTO ack (event_id, args) VALUES ('id0:1', '1')",
                   "ack.args: must be a JSON array");
}

/* ---- asks ---- */

static struct fx_outcome
answer(struct place *t, int64_t socket_id, const char *body)
{
    struct store_unit *u = store_unit_create();
    store_unit_answer(u, fx_int(&t->o, "SELECT seq FROM ask WHERE name = 'q'"), socket_id,
                      str_of(body), STR_NONE);
    return fx_run(&t->a, u);
}

#define STATE                                                                            \
    "SELECT printf('%s %d/%d', state, n_answered, n_expected) FROM ask WHERE name = 'q'"
#define ANSWERS                                                                          \
    "SELECT group_concat(x) FROM (SELECT printf('%s:%d:%d:%s', socket, is_answered, n, " \
    "args) AS x FROM answer WHERE name = 'q' ORDER BY socket)"

static void
test_ask_is_answered_once_by_each(void **state)
{
    struct place *t = *state;
    struct fx_outcome o;
    fx_exec(&t->o,
            "INSERT INTO ask (name, room, event, args, timeout_ms) VALUES ('q', 'R', "
            "'vote', '[\"?\"]', 5000)");
    FX_ASSERT_TEXT(&t->o, "SELECT printf('%d %d %s', kind, is_ask, body) FROM " NEWEST,
                   "2 1 [\"vote\",\"?\"]");
    FX_ASSERT_TEXT(&t->o, STATE, "open 0/2");
    FX_ASSERT_TEXT(&t->o, "SELECT nsp || room || event || args || timeout_ms FROM ask",
                   "/Rvote[\"?\"]5000");
    FX_ASSERT_TEXT(&t->o, ANSWERS, "id0:0:0:,id1:0:0:");
    assert_int_equal(answer(t, t->s[1], "\"yes\"").n_jobs, 0);
    (void)answer(t, t->s[1], "\"no\"");       /* a second time */
    (void)answer(t, t->s[2], "\"stranger\""); /* who was not asked */
    FX_ASSERT_TEXT(&t->o, STATE, "open 1/2");
    FX_ASSERT_TEXT(&t->o, ANSWERS, "id0:0:0:,id1:1:1:[\"yes\"]");
    o = answer(t, t->s[0], "\"no\"");
    assert_int_equal(o.n_jobs, 1); /* the last one brings the job that ends it */
    assert_string_equal(o.jobs[0].name, "ask.end");
    FX_ASSERT_TEXT(&t->o, STATE, "done 2/2");
    FX_ASSERT_TEXT(&t->o, ANSWERS, "id0:1:2:[\"no\"],id1:1:1:[\"yes\"]");
}

static void
test_ask_that_times_out_keeps_what_came(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    fx_exec(&t->o, "INSERT INTO ask (name, room, event, timeout_ms) VALUES ('q', 'R', "
                   "'vote', 100)");
    (void)answer(t, t->s[0], "1");
    t->a.w.now_ms = FX_NOW_MS + 100;
    FX_ASSERT_TEXT(&t->o, STATE, "open 1/2"); /* by the time of the log's newest row */
    (void)answer(t, t->s[1], "2");            /* too late, though nobody ended it yet */
    fx_exec(&t->o, "INSERT INTO t_packet (kind, made_ms) VALUES (23, 1000100)");
    FX_ASSERT_TEXT(&t->o, STATE, "timeout 1/2");
    store_unit_jobs_claim(u, t->a.w.now_ms, 10);
    struct fx_outcome o = fx_run(&t->a, u);
    assert_int_equal(o.n_jobs, 1);
    assert_string_equal(o.jobs[0].name, "ask.end");
    u = store_unit_create();
    store_unit_guard_job(u, o.jobs[0].job_id, o.jobs[0].gen);
    store_unit_ask_end(u, fx_int(&t->o, "SELECT seq FROM ask"));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    FX_ASSERT_TEXT(&t->o, STATE, "timeout 1/2");
    FX_ASSERT_TEXT(&t->o, ANSWERS, "id0:1:1:[1],id1:0:0:");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_answer WHERE n_before IS NULL", 0);
}

static void
test_ask_of_nobody_is_done(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO ask (name, room, event) VALUES ('q', 'nowhere', 'vote')");
    FX_ASSERT_TEXT(&t->o, STATE, "done 0/0");
    FX_ASSERT_INT(&t->o, "SELECT kind FROM " NEWEST, STORE_WAKE);
    FX_ASSERT_INT(&t->o, "SELECT due_ms FROM t_job", 0);
    /* a room whose members are lost at this moment */
    struct store_unit *u = store_unit_create();
    store_unit_socket_end(u, t->s[0], true, STR("transport close"), FX_NOW_MS);
    store_unit_socket_end(u, t->s[1], true, STR("transport close"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    fx_exec(&t->o,
            "DELETE FROM ask; INSERT INTO ask (name, room, event) VALUES ('q', 'R', "
            "'vote')");
    FX_ASSERT_TEXT(&t->o, STATE, "done 0/0");
}

static void
test_ask_is_forgotten_a_day_after_its_end(void **state)
{
    struct place *t = *state;
    const int64_t end_ms = FX_NOW_MS + 10000, day_ms = 86400000;
    struct store_unit *u = store_unit_create();
    fx_exec(&t->o, "INSERT INTO ask (name, event) VALUES ('q', 'vote')");
    store_unit_forget(u, end_ms + day_ms - 1, 10);
    (void)fx_run(&t->a, u);
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM answer", 3);
    u = store_unit_create();
    store_unit_forget(u, end_ms + day_ms, 10);
    (void)fx_run(&t->a, u);
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM ask", 0);
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_answer", 0);
}

static void
test_ask_can_be_forgotten_before(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO ask (name, event) VALUES ('q', 'vote'), ('r', 'vote')");
    fx_exec(&t->o, "DELETE FROM ask WHERE name = 'q'");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(DISTINCT name) FROM answer", "r");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_job", 1);
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_answer", 3);
}

static void
test_ask_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO ask (name, event) VALUES ('q', 'vote')");
    assert_refused(t, "INSERT INTO ask (name, event) VALUES ('q', 'vote')",
                   "ask.name: there is a question of that name; choose another one, or "
                   "DELETE it FROM ask");
    assert_refused(t, "INSERT INTO ask (event) VALUES ('vote')",
                   "ask.name: must be text of 1 to 200 characters");
    assert_refused(t, "INSERT INTO ask (name, event, timeout_ms) VALUES ('r', 'x', 0)",
                   "ask.timeout_ms: must be a whole number from 1 to 86400000");
    assert_refused(t, "INSERT INTO ask (name, event, timeout_ms) VALUES ('r', 'x', 1.5)",
                   "ask.timeout_ms: must be a whole number from 1 to 86400000");
    assert_refused(t, "INSERT INTO ask (name, event, rooms) VALUES ('r', 'x', '1')",
                   "ask.rooms: must be a JSON array of texts (rooms or socket ids), or "
                   "NULL");
    assert_refused(t, "INSERT INTO ask (name, event, args) VALUES ('r', 'x', '1')",
                   "ask.args: must be a JSON array");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_ask", 1);
}

/* SIO-ASK-MAX */
static void
test_ask_of_one_that_owes_too_much_is_of_nobody(void **state)
{
    struct place *t = *state;
    fx_exec(&t->a, "UPDATE t_meta SET n_pending_max = 2");
    fx_exec(&t->o, "INSERT INTO ask (name, room, event) VALUES ('a', 'id0', 'x'), ('b', "
                   "'id0', 'x'), ('c', 'id0', 'x'), ('d', 'R', 'x')");
    FX_ASSERT_TEXT(
        &t->o,
        "SELECT group_concat(name || n_expected) FROM (SELECT * FROM ask ORDER "
        "BY name)",
        "a1,b1,c0,d2");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, place_tear_down)
    const struct CMUnitTest tests[] = {
        T(test_emit_to_rooms_users_and_all_but),
        T(test_emit_to_none_of_many_is_no_row),
        T(test_emit_says_which_target_is_wrong),
        T(test_emit_may_be_plain),
        T(test_emit_of_binary_data),
        T(test_emit_says_what_is_wrong_with_binary_data),
        T(test_room_verbs_take_many),
        T(test_kick_of_many_is_a_job_for_each_hundred),
        T(test_who_is_meant_must_be_said_once),
        T(test_data_and_user_of_a_socket),
        T(test_server_emit_is_a_row_for_processes),
        T(test_ack_is_given_by_the_events_id),
        T(test_ack_says_what_is_wrong),
        T(test_ask_is_answered_once_by_each),
        T(test_ask_that_times_out_keeps_what_came),
        T(test_ask_of_nobody_is_done),
        T(test_ask_is_forgotten_a_day_after_its_end),
        T(test_ask_can_be_forgotten_before),
        T(test_ask_says_what_is_wrong),
        T(test_ask_of_one_that_owes_too_much_is_of_nobody),
    };
    return cmocka_run_group_tests_name("store_verbs", tests, NULL, NULL);
}
