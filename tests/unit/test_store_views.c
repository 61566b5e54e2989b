/*
 * schema/views/: the administrator's interface, from a plain connection such as
 * sqlite3's or PHP's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_place.h"

/* ---- emit ---- */

static void
test_emit_to_everybody(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o,
            "INSERT INTO emit (event, args) VALUES ('news', '[\"hello\", {\"n\": 1}]')");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%d %d %d %d %d %d %s', kind, nsp_id, to_kind, to_id, "
                   "is_volatile, origin_id IS NULL, body) "
                   "FROM " NEWEST,
                   "2 1 0 1 0 1 [\"news\",\"hello\", {\"n\": 1}]");
}

static void
test_emit_relays_args_as_they_are_written(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (event, args) VALUES ('\"q\\', ' "
                   "[12345678901234567890, 1.0, 1e400, \"\\u00e9é\"]')");
    FX_ASSERT_TEXT(&t->o, "SELECT body FROM " NEWEST,
                   "[\"\\\"q\\\\\",12345678901234567890, 1.0, 1e400, \"\\u00e9é\"]");
    fx_exec(&t->o, "INSERT INTO emit (event, args) VALUES ('none', ' [ ] ')");
    FX_ASSERT_TEXT(&t->o, "SELECT body FROM " NEWEST, "[\"none\"]");
    fx_exec(&t->o, "INSERT INTO emit (event, args) VALUES ('null', NULL)");
    FX_ASSERT_TEXT(&t->o, "SELECT body FROM " NEWEST, "[\"null\"]");
    fx_exec(&t->o, "INSERT INTO emit (event, args) VALUES ('', char(9, 10, 13) || '[1]' "
                   "|| char(10))");
    FX_ASSERT_TEXT(&t->o, "SELECT body FROM " NEWEST, "[\"\",1]");
}

static void
test_emit_to_a_room_a_socket_or_both(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (room, event) VALUES ('R', 'x')");
    FX_ASSERT_TEXT(&t->o, "SELECT to_kind || ' ' || to_id FROM " NEWEST, "1 1");
    fx_exec(&t->o, "INSERT INTO emit (room, event) VALUES ('id2', 'x')");
    FX_ASSERT_TEXT(&t->o, "SELECT to_kind || ' ' || to_id FROM " NEWEST, "2 3");
    fx_exec(&t->o, "INSERT INTO room_join (socket, room) VALUES ('id0', 'id2')");
    fx_exec(&t->o,
            "INSERT INTO emit (room, event, except_room) VALUES ('id2', 'x', 'R')");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT to_kind || ' ' || to_list || ' ' || not_list FROM " NEWEST,
                   "4 r2,s3 r1");
    fx_exec(&t->o, "INSERT INTO emit (event, except_room) VALUES ('x', 'id2')");
    FX_ASSERT_TEXT(&t->o, "SELECT to_kind || ' ' || not_list FROM " NEWEST, "0 r2,s3");
    fx_exec(&t->o, "INSERT INTO emit (nsp, room, event, is_volatile) VALUES ('/chat', "
                   "'idx', 'x', 1)");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT nsp_id || ' ' || to_id || ' ' || is_volatile FROM " NEWEST,
                   "2 4 1");
}

static void
test_emit_to_nobody_is_no_row(void **state)
{
    struct place *t = *state;
    int64_t n = fx_int(&t->o, "SELECT count(*) FROM t_packet");
    fx_exec(&t->o,
            "INSERT INTO emit (room, event) VALUES ('nowhere', 'x'), ('idx', 'x')");
    fx_exec(&t->o, "INSERT INTO emit (nsp, room, event) VALUES ('/chat', 'R', 'x')");
    assert_int_equal(fx_int(&t->o, "SELECT count(*) FROM t_packet"), n);
}

static void
test_emit_says_which_column_is_wrong(void **state)
{
    struct place *t = *state;
    const char *array = "emit.args: must be a JSON array",
               *event = "emit.event: must be text";
    assert_refused(t, "INSERT INTO emit (nsp, event) VALUES ('/none', 'x')",
                   "emit.nsp: no such namespace; allowed: one that the application has, "
                   "or NULL for /");
    assert_refused(t, "INSERT INTO emit (event) VALUES (NULL)", event);
    assert_refused(t, "INSERT INTO emit (event) VALUES (5)", event);
    assert_refused(t, "INSERT INTO emit (event) VALUES (x'41')", event);
    assert_refused(t, "INSERT INTO emit (event) VALUES ('disconnect')",
                   "emit.event: must not be one of the reserved names connect, "
                   "connect_error, disconnect, disconnecting, "
                   "newListener, removeListener");
    assert_refused(t, "INSERT INTO emit (event, args) VALUES ('x', '{}')", array);
    assert_refused(t, "INSERT INTO emit (event, args) VALUES ('x', '[1')", array);
    assert_refused(t, "INSERT INTO emit (event, args) VALUES ('x', '')", array);
    assert_refused(t, "INSERT INTO emit (event, args) VALUES ('x', '[1,]')", array);
    assert_refused(
        t, "INSERT INTO emit (event, args) VALUES ('x', '[]' || char(0) || 'x')", array);
    assert_refused(t, "INSERT INTO emit (event, args) VALUES ('x', 5)", array);
    assert_refused(t, "INSERT INTO emit (event, room) VALUES ('x', 5)",
                   "emit.room: must be text (a room or a socket id) or NULL (everybody)");
    assert_refused(t, "INSERT INTO emit (event, except_room) VALUES ('x', 5)",
                   "emit.except_room: must be text (a room or a socket id) or NULL");
    assert_refused(t, "INSERT INTO emit (event, is_volatile) VALUES ('x', 2)",
                   "emit.is_volatile: must be 0 or 1");
    assert_refused(t, "INSERT INTO emit (event, seq) VALUES ('x', 2)",
                   "emit.seq: is given by the log, leave it out");
    assert_refused(t, "INSERT INTO emit (event, is_local) VALUES ('x', 1)",
                   "emit.is_local: cannot be set: who INSERTs holds no client");
}

static void
test_emit_in_a_transaction_that_is_rolled_back_was_not(void **state)
{
    struct place *t = *state;
    int64_t n = fx_int(&t->o, "SELECT max(seq) FROM t_packet");
    fx_exec(&t->o,
            "BEGIN IMMEDIATE; INSERT INTO emit (event) SELECT 'x' FROM socket; ROLLBACK");
    assert_int_equal(fx_int(&t->o, "SELECT max(seq) FROM t_packet"), n);
    fx_exec(&t->o, "BEGIN IMMEDIATE; INSERT INTO emit (event, room) SELECT 'x', socket "
                   "FROM socket WHERE nsp = '/'; COMMIT");
    assert_int_equal(fx_int(&t->o, "SELECT max(seq) FROM t_packet"), n + 3);
}

static void
test_emit_shows_the_events_in_the_log(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    const struct str rooms[2] = {STR("R"), STR("id2")}, except[1] = {STR("id1")};
    store_unit_packet(u,
                      &(struct store_target){.nsp = STR("/"),
                                             .to = STORE_TO_ROOM,
                                             .rooms = rooms,
                                             .n_rooms = 2,
                                             .except = except,
                                             .n_except = 1,
                                             .skip_id = t->s[0]},
                      fx_event("[\"said\",1,{\"a\":2}]"));
    store_unit_packet(u, FX_TO_ALL, fx_event("not JSON"));
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%s %d %s %s %s %s %s', nsp, room IS NULL, rooms, "
                   "except_room, event, args, skip_socket) FROM emit WHERE "
                   "event = 'said'",
                   "/ 1 [\"R\",\"id2\"] id1 said [1,{\"a\":2}] id0");
    FX_ASSERT_TEXT(&t->o, "SELECT event IS NULL FROM emit ORDER BY seq DESC LIMIT 1",
                   "1");
    fx_exec(&t->o, "INSERT INTO emit (nsp, room, except_room, event, args, is_volatile) "
                   "SELECT nsp, 'R', except_room, event, args, is_volatile FROM emit "
                   "WHERE event = 'said'");
    FX_ASSERT_TEXT(&t->o, "SELECT count(*) FROM emit WHERE event = 'said' AND room = 'R'",
                   "1");
}

static void
test_row_of_an_outsider_has_a_time(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO emit (event) VALUES ('x')");
    FX_ASSERT_INT(&t->o, "SELECT made_ms FROM " NEWEST,
                  FX_NOW_MS); /* that of the newest row */
    fx_exec(&t->a,
            "UPDATE t_meta SET wall_offset_ms = strftime('%s', 'now') * 1000 - 5000000");
    fx_exec(&t->o, "INSERT INTO emit (event) VALUES ('x')");
    assert_in_range(fx_int(&t->o, "SELECT made_ms FROM " NEWEST), 4999000, 5010000);
}

/* ---- rooms ---- */

static void
test_join_and_leave_are_control_rows(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_join (socket, room) VALUES ('id2', 'new')");
    FX_ASSERT_TEXT(
        &t->o, "SELECT printf('%d %d %d %d', kind, to_kind, to_id, arg_id) FROM " NEWEST,
        "16 2 3 2");
    FX_ASSERT_TEXT(&t->o, "SELECT n_members FROM room WHERE room = 'new'", "1");
    fx_exec(&t->o,
            "INSERT INTO room_join (nsp, socket, room) VALUES ('/', 'id2', 'new')");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_packet WHERE kind = 16", 3);
    fx_exec(&t->o, "INSERT INTO room_leave (socket, room) VALUES ('id2', 'new'), ('id2', "
                   "'new'), ('idz', 'new')");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_packet WHERE kind = 17", 1);
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM room WHERE room = 'new'", 0);
}

static void
test_join_says_which_column_is_wrong(void **state)
{
    struct place *t = *state;
    const char *text =
        "room_join.socket: must be the id of an open socket of this namespace";
    assert_refused(
        t, "INSERT INTO room_join (nsp, socket, room) VALUES ('/none', 'id0', 'R')",
        "room_join.nsp: no such namespace; allowed: one that the application has; NULL "
        "is that of the socket, else /");
    assert_refused(t, "INSERT INTO room_join (socket, room) VALUES ('idz', 'R')", text);
    assert_refused(
        t, "INSERT INTO room_join (nsp, socket, room) VALUES ('/', 'idx', 'R')", text);
    assert_refused(t, "INSERT INTO room_join (socket, room) VALUES ('id0', 5)",
                   "room_join.room: must be text");
    assert_refused(t, "INSERT INTO room_leave (socket, room) VALUES ('id0', NULL)",
                   "room_leave.room: must be text");
    assert_refused(t, "INSERT INTO room_leave (socket, room) VALUES (1, 'R')",
                   "room_leave.socket: must be the id of a socket");
}

static void
test_join_of_everybody_by_select(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o,
            "INSERT INTO room_join (socket, room) SELECT socket, 'all' FROM socket");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(nsp || n_members) FROM (SELECT * FROM room WHERE "
                   "room = 'all' ORDER BY nsp)",
                   "/3,/chat1");
}

/* ---- kick ---- */

static void
test_kick_makes_a_job_and_wakes(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    fx_exec(&t->o, "INSERT INTO kick (socket, is_close) VALUES ('id1', 1)");
    FX_ASSERT_INT(&t->o, "SELECT kind FROM " NEWEST, STORE_WAKE);
    store_unit_jobs_claim(u, FX_NOW_MS, 10);
    o = fx_run(&t->a, u);
    assert_int_equal(o.n_jobs, 1);
    assert_string_equal(o.jobs[0].name, "kick");
    assert_string_equal(o.jobs[0].args, "{\"close\":1,\"sockets\":[2]}");
    fx_exec(&t->o, "INSERT INTO kick (socket) VALUES ('idz'); INSERT INTO kick (nsp, "
                   "socket) VALUES ('/', 'idx')");
    FX_ASSERT_INT(&t->o, "SELECT count(*) FROM t_packet WHERE kind = 23", 1);
    assert_refused(t, "INSERT INTO kick (socket, is_close) VALUES ('id1', 2)",
                   "kick.is_close: must be 0 or 1");
}

/* ---- what is shown ---- */

static void
test_views_tell_who_is_there(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_socket_user(u, t->s[0], STR("anna"));
    store_unit_socket_end(u, t->s[1], true, STR("transport close"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(socket || coalesce(user, '')) FROM (SELECT * "
                   "FROM socket ORDER BY socket)",
                   "id0anna,id2,idx");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%s %s %d %s', socket, reason, is_recoverable, time IS "
                   "NULL) FROM disconnect",
                   "id1 transport close 1 1");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(nsp || room || socket) FROM member",
                   "/Rid0");
    FX_ASSERT_TEXT(&t->o, "SELECT nsp || room || n_members FROM room", "/R1");
    fx_exec(&t->a, "UPDATE t_meta SET wall_offset_ms = 1700000000000 - 1000000");
    FX_ASSERT_TEXT(&t->o, "SELECT time FROM disconnect", "2023-11-14 22:13:20");
    FX_ASSERT_TEXT(&t->o, "SELECT started FROM session", "2023-11-14 22:13:20");
}

static void
test_session_id_stays_secret(void **state)
{
    struct place *t = *state;
    FX_ASSERT_TEXT(&t->o, "SELECT eio_sid FROM session", "sid-se…");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%s %s %d %d', transport, state, cursor_seq, n_behind) "
                   "FROM session",
                   "polling open 0 6");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT printf('%s %d %d', front, last_seq, n_behind) FROM process",
                   "fcgi 0 6");
}

static void
test_large_views_are_read_by_index(void **state)
{
    struct place *t = *state;
    static const char *const SQL[] = {
        "SELECT n_members FROM room WHERE nsp = '/' AND room = 'R'",
        "SELECT socket FROM member WHERE nsp = '/' AND room = 'R'",
        "SELECT room FROM member WHERE socket = 'id0'",
        "SELECT * FROM socket WHERE socket = 'id0'",
        "SELECT event FROM emit WHERE seq > 3",
        "SELECT * FROM disconnect WHERE socket = 'id0'",
    };
    for (size_t i = 0; i < sizeof SQL / sizeof SQL[0]; i++) {
        char sql[512];
        sqlite3_stmt *q;
        (void)snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", SQL[i]);
        assert_int_equal(sqlite3_prepare_v2(t->o.conn.db, sql, -1, &q, NULL), SQLITE_OK);
        while (sqlite3_step(q) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(q, 3);
            if (strncmp(step, "SCAN", 4) == 0 && strcmp(step, "SCAN t") != 0)
                fail_msg("%s: %s", SQL[i], step);
        }
        sqlite3_finalize(q);
    }
}

static void
test_interface_works_without_trusted_schema_in_newer_sqlite(void **state)
{
    struct place *t = *state;
    char error[256];
    fx_exec(&t->o, "PRAGMA trusted_schema = OFF");
    /* what needs no JSON works everywhere */
    fx_exec(&t->o, "INSERT INTO room_join (socket, room) VALUES ('id2', 'new')");
    fx_exec(&t->o, "INSERT INTO kick (socket) VALUES ('id2')");
    fx_exec(&t->o, "SELECT * FROM session, socket, room, member, disconnect, process");
    if (sqlite3_libversion_number() >= 3041000)
        fx_exec(&t->o, "INSERT INTO emit (event) VALUES ('x')");
    else
        assert_int_equal(fx_try(&t->o, error, "INSERT INTO emit (event) VALUES ('x')"),
                         RC_INVALID);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up_rooms, place_tear_down)
    const struct CMUnitTest tests[] = {
        T(test_emit_to_everybody),
        T(test_emit_relays_args_as_they_are_written),
        T(test_emit_to_a_room_a_socket_or_both),
        T(test_emit_to_nobody_is_no_row),
        T(test_emit_says_which_column_is_wrong),
        T(test_emit_in_a_transaction_that_is_rolled_back_was_not),
        T(test_emit_shows_the_events_in_the_log),
        T(test_row_of_an_outsider_has_a_time),
        T(test_join_and_leave_are_control_rows),
        T(test_join_says_which_column_is_wrong),
        T(test_join_of_everybody_by_select),
        T(test_kick_makes_a_job_and_wakes),
        T(test_views_tell_who_is_there),
        T(test_session_id_stays_secret),
        T(test_large_views_are_read_by_index),
        T(test_interface_works_without_trusted_schema_in_newer_sqlite),
    };
    return cmocka_run_group_tests_name("store_views", tests, NULL, NULL);
}
