/*
 * store/history.c and schema/views/history.sql: what rooms keep, how much of it, and the
 * row that a join with history makes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_place.h"

static int
tear_down(void **state)
{
    struct place *t = *state;
    FX_ASSERT_TEXT(&t->a,
                   "SELECT n_bytes - (SELECT coalesce(sum(length(CAST(body AS BLOB)) + "
                   "coalesce(length(attachments), 0)), 0) FROM t_history) FROM "
                   "t_history_total",
                   "0");
    return place_tear_down(state);
}

static void
emit(struct place *t, const char *room, const char *body)
{
    struct store_unit *u = store_unit_create();
    struct str name = str_of(room);
    struct store_target to = {
        .nsp = STR("/"), .to = STORE_TO_ROOM, .rooms = &name, .n_rooms = 1};
    store_unit_packet(u, &to, fx_event(body));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

#define KEPT(room)                                                                       \
    "SELECT coalesce(group_concat(body, ' '), '') FROM (SELECT h.body FROM t_history h " \
    "JOIN t_room r USING (room_id) WHERE r.name = '" room "' ORDER BY h.seq)"

static void
forget(struct place *t, int64_t now_ms)
{
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, now_ms, 10);
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

/* ---- keeping ---- */

static void
test_room_keeps_its_last_events_also_while_it_is_empty(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_history (room, n) VALUES ('R', 2)");
    emit(t, "R", "[\"a\"]");
    emit(t, "other", "[\"x\"]");
    fx_exec(&t->o, "INSERT INTO emit (room, event) VALUES ('R', 'b'), ('other', 'x')");
    fx_exec(&t->o, "INSERT INTO emit (rooms, event) VALUES ('[\"R\",\"id1\"]', 'c')");
    fx_exec(&t->o, "INSERT INTO emit (room, event, is_volatile) VALUES ('R', 'v', 1)");
    FX_ASSERT_TEXT(&t->a, KEPT("R"), "[\"b\"] [\"c\"]");
    emit(t, "R", "[\"d\"]");
    FX_ASSERT_TEXT(&t->a, KEPT("R"), "[\"c\"] [\"d\"]");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(room || ' ' || event || ' ' || args, ', ') FROM "
                   "history",
                   "R c [], R d []");
}

static void
test_name_counts_before_pattern_and_the_older_pattern_first(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "chat-0");
    fx_exec(&t->o, "INSERT INTO room_history (pattern, n) VALUES ('chat-*', 3), "
                   "('*', 4)");
    fx_exec(&t->o, "INSERT INTO room_history (room, n, seconds) VALUES ('chat-1', 9, 5)");
    fx_join(&t->a, t->s[0], "chat-2");
    fx_join(&t->a, t->s[0], "hall");
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(name || history_n || coalesce(history_ms, '-'), "
                   "' ') FROM t_room",
                   "chat-03- chat-195000 chat-23- hall4-");
    emit(t, "chat-2", "[\"a\"]");
    emit(t, "hall", "[\"a\"]");
    fx_exec(&t->o, "DELETE FROM room_history WHERE pattern = 'chat-*'");
    FX_ASSERT_TEXT(&t->o, "SELECT history_n FROM t_room WHERE name = 'chat-2'", "4");
    FX_ASSERT_TEXT(&t->a, KEPT("chat-2"), "[\"a\"]");
    fx_exec(&t->o, "DELETE FROM room_history WHERE pattern = '*'");
    FX_ASSERT_TEXT(&t->o, "SELECT group_concat(name) FROM t_room WHERE history_n",
                   "chat-1");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_history", 0);
}

static void
test_events_expire_by_the_rule_of_now(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_history (room, seconds) VALUES ('R', 10)");
    emit(t, "R", "[\"a\"]");
    t->a.w.now_ms += 5000;
    emit(t, "R", "[\"b\"]");
    forget(t, FX_NOW_MS + 9999);
    FX_ASSERT_TEXT(&t->a, KEPT("R"), "[\"a\"] [\"b\"]");
    forget(t, FX_NOW_MS + 10000);
    FX_ASSERT_TEXT(&t->a, KEPT("R"), "[\"b\"]");
    fx_exec(&t->o, "INSERT INTO room_history (room, n) VALUES ('R', 7)");
    forget(t, FX_NOW_MS + 1000000);
    FX_ASSERT_TEXT(&t->a, KEPT("R"), "[\"b\"]");
}

static void
test_all_rooms_together_keep_so_many_bytes(void **state)
{
    struct place *t = *state;
    char body[1000];
    t->fx.cfg.history_bytes = 5000;
    assert_int_equal(store_history_limits(&t->a.conn, &t->fx.cfg), RC_OK);
    fx_exec(&t->o, "INSERT INTO room_history (pattern, n) VALUES ('*', 10000)");
    fx_join(&t->a, t->s[0], "A");
    fx_join(&t->a, t->s[0], "B");
    memset(body, 'x', sizeof body);
    memcpy(body, "[\"", 2);
    memcpy(body + 990, "\"]", 3);
    for (int i = 0; i < 30; i++)
        emit(t, i % 2 ? "A" : "B", body);
    assert_in_range(fx_int(&t->a, "SELECT n_bytes FROM t_history_total"), 992, 5992);
    FX_ASSERT_INT(&t->a,
                  "SELECT max(seq) = (SELECT max(seq) FROM t_packet) FROM t_history", 1);
}

static void
test_empty_room_is_forgotten_when_it_keeps_nothing(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_history (room, n) VALUES ('named', 5)");
    fx_exec(&t->o, "INSERT INTO room_history (pattern, seconds) VALUES ('p*', 10)");
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        fx_join(&t->a, t->s[0], i ? "p1" : "other");
        emit(t, i ? "p1" : "other", "[\"a\"]");
        store_unit_leave(u, FX_TO_SOCKET(t->s[0]), i ? STR("p1") : STR("other"));
        (void)fx_run(&t->a, u);
    }
    fx_exec(&t->a, "UPDATE t_meta SET horizon_seq = (SELECT max(seq) FROM t_packet)");
    forget(t, FX_NOW_MS);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(name) FROM t_room", "named,p1");
    forget(t, FX_NOW_MS + 10000);
    forget(t, FX_NOW_MS + 10000);
    FX_ASSERT_TEXT(&t->a, "SELECT group_concat(name) FROM t_room", "named");
}

/* ---- joining ---- */

#define ROWS                                                                             \
    "SELECT coalesce(group_concat(w, ', '), '') FROM (SELECT kind || ' ' || to_kind || " \
    "' ' || coalesce(to_id, to_list) || ' ' || arg_id || coalesce(' ' || (ack_id - "     \
    "seq), '') AS w FROM t_packet WHERE kind IN (16, 25) ORDER BY seq)"

static void
join(struct place *t, const struct store_target *to, const char *room)
{
    struct store_unit *u = store_unit_create();
    store_unit_join_history(u, to, str_of(room));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
test_join_with_history_is_two_rows_for_any_number_of_sockets(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_history (room, n) VALUES ('R', 5)");
    join(t, FX_TO_SOCKET(t->s[0]), "R"); /* it has kept nothing yet */
    join(t, FX_TO_SOCKET(t->s[0]), "plain");
    emit(t, "R", "[\"a\"]");
    join(t, FX_TO_SOCKET(t->s[0]), "R"); /* it is in */
    join(t, FX_TO_SOCKET(t->s[1]), "R");
    join(t, FX_TO_ALL, "R");
    FX_ASSERT_TEXT(&t->a, ROWS,
                   "16 2 1 1, 16 2 1 2, 16 2 2 1, 25 2 2 1 -1, 16 0 1 1, 25 0 1 1 -1");
}

static void
test_join_by_sql_likewise(void **state)
{
    struct place *t = *state;
    fx_exec(&t->o, "INSERT INTO room_history (room, n) VALUES ('R', 5)");
    fx_exec(&t->o, "INSERT INTO emit (room, event) VALUES ('R', 'a')");
    fx_exec(&t->o, "INSERT INTO room_join (socket, room, is_history) VALUES "
                   "('id0', 'R', 1), ('id0', 'R', 1), ('id1', 'R', 0)");
    fx_exec(&t->o, "INSERT INTO room_join (is_all, room, is_history) VALUES (1, 'R', 1)");
    FX_ASSERT_TEXT(&t->a, ROWS, "16 2 1 1, 25 2 1 1 -1, 16 2 2 1, 16 0 1 1, 25 0 1 1 -1");
    assert_refused(t,
                   "INSERT INTO room_join (socket, room, is_history) VALUES ('id2', 'R', "
                   "2)",
                   "room_join.is_history: must be 0 or 1");
}

/* ---- rules ---- */

static void
test_room_history_says_what_is_wrong(void **state)
{
    struct place *t = *state;
    assert_refused(t, "INSERT INTO room_history (nsp, room, n) VALUES ('/no', 'R', 1)",
                   "room_history.nsp: no such namespace; allowed: one that the "
                   "application has, or NULL for /");
    assert_refused(t, "INSERT INTO room_history (n) VALUES (1)",
                   "room_history.room: exactly one of room and pattern says which");
    assert_refused(t, "INSERT INTO room_history (room, pattern, n) VALUES ('a', 'b', 1)",
                   "room_history.room: exactly one of room and pattern says which");
    assert_refused(t, "INSERT INTO room_history (room, n) VALUES (1, 1)",
                   "room_history.room: room and pattern must be text");
    assert_refused(t, "INSERT INTO room_history (room) VALUES ('R')",
                   "room_history.n: n, seconds or both say how much");
    assert_refused(t, "INSERT INTO room_history (room, n) VALUES ('R', 10001)",
                   "room_history.n: must be a number from 1 to 10000, or NULL");
    assert_refused(t, "INSERT INTO room_history (room, seconds) VALUES ('R', 0)",
                   "room_history.seconds: must be a number from 1 to 315360000, or NULL");
}

static void
test_rule_of_a_dynamic_namespace_is_made_once(void **state)
{
    struct place *t = *state;
    const struct store_history_rule rule = {
        .nsp = STR("/"), .room = STR("talk-*"), .n = 5, .keep_s = 60};
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_history_rule(u, &rule);
        assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
    }
    FX_ASSERT_TEXT(&t->o,
                   "SELECT group_concat(nsp || pattern || n || ' ' || seconds || is_app) "
                   "FROM room_history WHERE room IS NULL",
                   "/talk-*5 601");
}

#define T(f) cmocka_unit_test_setup_teardown(f, place_set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_room_keeps_its_last_events_also_while_it_is_empty),
        T(test_name_counts_before_pattern_and_the_older_pattern_first),
        T(test_events_expire_by_the_rule_of_now),
        T(test_all_rooms_together_keep_so_many_bytes),
        T(test_empty_room_is_forgotten_when_it_keeps_nothing),
        T(test_join_with_history_is_two_rows_for_any_number_of_sockets),
        T(test_join_by_sql_likewise),
        T(test_room_history_says_what_is_wrong),
        T(test_rule_of_a_dynamic_namespace_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
