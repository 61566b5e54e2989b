/*
 * store/target.c and the views t_control and t_due: names become keys at the commit, set
 * operations act on who is there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

enum { N_SOCKETS = 4 };

/* Sockets s0 … s3 in '/', x in '/chat'. */
struct place {
    struct fx fx;
    struct fx_process a;
    int64_t session, s[N_SOCKETS], x;
};

static int
set_up(void **state)
{
    static const char *const IDS[N_SOCKETS] = {"id0", "id1", "id2", "id3"};
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    fx_process_open(&t->fx, &t->a);
    t->session = fx_session(&t->a, "sid-secret", false);
    for (int i = 0; i < N_SOCKETS; i++)
        t->s[i] = fx_socket(&t->a, t->session, IDS[i]);
    t->x = fx_socket_in(&t->a, t->session, "idx", "/chat");
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    fx_process_close(&t->a);
    fx_close(&t->fx);
    free(t);
    return 0;
}

#define NAMES(...)                                                                       \
    .rooms = (struct str[]){__VA_ARGS__},                                                \
    .n_rooms = sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)
#define EXCEPT(...)                                                                      \
    .except = (struct str[]){__VA_ARGS__},                                               \
    .n_except = sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)
#define USERS(...)                                                                       \
    .users = (struct str[]){__VA_ARGS__},                                                \
    .n_users = sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)
#define ROOMS(...)                                                                       \
    (&(struct store_target){.nsp = STR("/"), .to = STORE_TO_ROOM, __VA_ARGS__})
#define ALL(...)                                                                         \
    (&(struct store_target){.nsp = STR("/"), .to = STORE_TO_NSP, __VA_ARGS__})

/* The row that an emit to `target` makes: "to_kind to_id to_list not_list skip_id", "" if
 * there is none. */
static const char *
route(struct place *t, const struct store_target *target)
{
    static char text[256];
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    store_unit_packet(u, target, fx_event("[\"x\"]"));
    o = fx_run(&t->a, u);
    assert_int_equal(o.rc, RC_OK);
    if (!o.last_seq)
        return "";
    (void)snprintf(
        text, sizeof text,
        "SELECT printf('%%d %%s %%s %%s %%s', to_kind, coalesce(to_id, '-'), "
        "coalesce(to_list, '-'), "
        "coalesce(not_list, '-'), coalesce(skip_id, '-')) FROM t_packet WHERE seq = %lld",
        (long long)o.last_seq);
    return fx_text(&t->a, text);
}

static void
join(struct place *t, const struct store_target *target, const char *room)
{
    struct store_unit *u = store_unit_create();
    store_unit_join(u, target, str_of(room));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static void
leave(struct place *t, const struct store_target *target, const char *room)
{
    struct store_unit *u = store_unit_create();
    store_unit_leave(u, target, str_of(room));
    assert_int_equal(fx_run(&t->a, u).rc, RC_OK);
}

static const char *
members(struct place *t, const char *room)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT coalesce(group_concat(sio_id), '') FROM (SELECT s.sio_id FROM "
                   "t_member m JOIN t_socket s USING "
                   "(socket_id) JOIN t_room r USING (room_id) WHERE r.name = '%s' AND "
                   "m.until_seq IS NULL ORDER BY 1)",
                   room);
    return fx_text(&t->a, sql);
}

static int64_t
n_rows(struct place *t)
{
    return fx_int(&t->a, "SELECT count(*) FROM t_packet");
}

/* ---- emits ---- */

static void
test_one_name_is_a_room_or_a_socket(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")))), "1 1 - - -");
    assert_string_equal(route(t, ROOMS(NAMES(STR("id2")))), "2 3 - - -");
    assert_string_equal(route(t, FX_TO_SOCKET(t->s[1])), "2 2 - - -");
    assert_string_equal(route(t, ALL()), "0 1 - - -");
}

static void
test_name_of_a_room_and_a_socket_means_both(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "id1");
    assert_string_equal(route(t, ROOMS(NAMES(STR("id1")))), "4 - r1,s2 - -");
}

static void
test_several_names_are_a_list_without_duplicates(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "Q");
    assert_string_equal(
        route(t, ROOMS(NAMES(STR("R"), STR("id3"), STR("Q"), STR("R"), STR("id3")))),
        "4 - r1,r2,s4 - -");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R"), STR("nowhere"), STR("R")))),
                        "1 1 - - -");
}

static void
test_nobody_there_makes_no_row(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    leave(t, FX_TO_SOCKET(t->s[0]), "R");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")))), ""); /* an empty room */
    assert_string_equal(route(t, ROOMS(NAMES(STR("nowhere"), STR("idx")))), "");
    assert_string_equal(route(t, ROOMS(USERS(STR("anna")))), "");
    assert_string_equal(route(t, ROOMS(.n_rooms = 0)), "");
    assert_string_equal(route(t, FX_TO_SOCKET(99)), "");
    assert_string_equal(
        route(t, (&(struct store_target){.nsp = STR("/none"), .to = STORE_TO_NSP})), "");
    assert_string_equal(route(t, (&(struct store_target){.nsp = STR("/"),
                                                         .to = STORE_TO_SOCKET,
                                                         .id = t->s[0],
                                                         .skip_id = t->s[0]})),
                        "");
    assert_string_equal(route(t, (&(struct store_target){.nsp = STR("/"),
                                                         .to = STORE_TO_SOCKET,
                                                         .id = t->s[0],
                                                         EXCEPT(STR("id0"))})),
                        "");
}

static void
test_socket_that_is_gone_is_no_target(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_socket_end(u, t->s[0], false, STR("x"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    assert_string_equal(route(t, FX_TO_SOCKET(t->s[0])), "");
    assert_string_equal(route(t, ROOMS(NAMES(STR("id0")))), "");
}

static void
test_room_of_a_lost_socket_still_gets_rows(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    fx_join(&t->a, t->s[0], "R");
    store_unit_socket_end(u, t->s[0], true, STR("transport close"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")))),
                        "1 1 - - -"); /* replayed if it comes back */
    assert_string_equal(route(t, FX_TO_SOCKET(t->s[0])), "2 1 - - -");
    fx_exec(&t->a, "UPDATE t_socket SET state = 2 WHERE state = 1");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")))), "");
}

static void
test_users_are_their_sockets_in_the_namespace(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    store_unit_socket_user(u, t->s[0], STR("anna"));
    store_unit_socket_user(u, t->s[2], STR("anna"));
    store_unit_socket_user(u, t->x, STR("anna"));
    store_unit_socket_user(u, t->s[3], STR("bert"));
    (void)fx_run(&t->a, u);
    fx_join(&t->a, t->s[1], "R");
    assert_string_equal(route(t, ROOMS(USERS(STR("anna")))), "4 - s1,s3 - -");
    assert_string_equal(route(t, ROOMS(USERS(STR("bert")))), "2 4 - - -");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")), USERS(STR("bert"), STR("anna")))),
                        "4 - r1,s1,s3,s4 - -");
}

static void
test_exceptions_are_keys_too(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "Q");
    assert_string_equal(
        route(t, ALL(EXCEPT(STR("R"), STR("id3"), STR("nowhere")), .skip_id = t->s[2])),
        "0 1 - r1,s4 3");
    assert_string_equal(route(t, ROOMS(NAMES(STR("R")), EXCEPT(STR("Q")))), "1 1 - r2 -");
    assert_string_equal(route(t, ROOMS(NAMES(STR("id0")), EXCEPT(STR("Q")))),
                        "2 1 - r2 -");
}

static void
test_connection_gets_rows_while_it_is_open(void **state)
{
    struct place *t = *state;
    struct store_unit *u;
    assert_string_equal(
        route(t, (&(struct store_target){.to = STORE_TO_SESSION, .id = t->session})),
        "3 1 - - -");
    FX_ASSERT_TEXT(&t->a, "SELECT nsp_id IS NULL FROM t_packet ORDER BY seq DESC LIMIT 1",
                   "1");
    assert_string_equal(
        route(t, (&(struct store_target){
                     .nsp = STR("/chat"), .to = STORE_TO_SESSION, .id = t->session})),
        "3 1 - - -");
    FX_ASSERT_TEXT(&t->a, "SELECT nsp_id FROM t_packet ORDER BY seq DESC LIMIT 1", "2");
    u = store_unit_create();
    store_unit_session_close(u, t->session, STR("x"), false, FX_NOW_MS, 0);
    (void)fx_run(&t->a, u);
    assert_string_equal(
        route(t, (&(struct store_target){.to = STORE_TO_SESSION, .id = t->session})), "");
}

static void
test_row_carries_what_the_packet_says(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct store_packet *p = store_packet_create(STORE_BINARY_EVENT, STR("[\"b\",{}]"),
                                                 (struct str){"\0\0\0\1\xff", 5});
    p->is_volatile = p->is_local = p->is_plain = true;
    store_unit_packet(u, FX_TO_ALL, p);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT printf('%d%d%d%d %s %s %d %d', is_volatile, is_local, "
                   "is_plain, is_ask, body, hex(attachments), "
                   "origin_id, made_ms) FROM t_packet WHERE kind = 5",
                   "1110 [\"b\",{}] 00000001FF 1 1000000");
}

/* ---- joins and leaves ---- */

static void
test_join_opens_the_interval_at_its_row_once(void **state)
{
    struct place *t = *state;
    int64_t n = n_rows(t);
    fx_join(&t->a, t->s[0], "R");
    assert_int_equal(n_rows(t), n + 1);
    FX_ASSERT_TEXT(&t->a,
                   "SELECT p.kind = 16 AND m.until_seq IS NULL AND p.arg_id = m.room_id "
                   "FROM t_member m JOIN t_packet p ON p.seq = "
                   "m.since_seq",
                   "1");
    fx_join(&t->a, t->s[0], "R");
    assert_int_equal(n_rows(t), n + 1);
    assert_string_equal(members(t, "R"), "id0");
}

static void
test_leave_closes_it_at_its_row_once(void **state)
{
    struct place *t = *state;
    int64_t n;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "R");
    n = n_rows(t);
    leave(t, FX_TO_SOCKET(t->s[0]), "R");
    leave(t, FX_TO_SOCKET(t->s[0]), "R");
    leave(t, FX_TO_SOCKET(t->s[0]), "nowhere");
    assert_int_equal(n_rows(t), n + 1);
    assert_string_equal(members(t, "R"), "id1");
    FX_ASSERT_TEXT(&t->a, "SELECT idle_seq IS NULL FROM t_room", "1");
    fx_join(&t->a, t->s[0], "R");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_member WHERE socket_id = 1", 2);
}

static void
test_room_is_idle_from_the_row_that_emptied_it(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[0], "Q");
    fx_join(&t->a, t->s[1], "Q");
    store_unit_socket_end(u, t->s[0], false, STR("x"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    FX_ASSERT_TEXT(
        &t->a,
        "SELECT idle_seq = (SELECT max(seq) FROM t_packet) FROM t_room WHERE name = 'R'",
        "1");
    FX_ASSERT_TEXT(&t->a, "SELECT idle_seq IS NULL FROM t_room WHERE name = 'Q'", "1");
    fx_join(&t->a, t->s[1], "R");
    FX_ASSERT_TEXT(&t->a, "SELECT idle_seq IS NULL FROM t_room WHERE name = 'R'", "1");
}

static void
test_ended_socket_does_not_join(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    int64_t n;
    store_unit_socket_end(u, t->s[0], true, STR("x"), FX_NOW_MS);
    (void)fx_run(&t->a, u);
    n = n_rows(t);
    fx_join(&t->a, t->s[0], "R");
    assert_int_equal(n_rows(t), n);
    join(t, ALL(), "R");
    assert_string_equal(members(t, "R"), "id1,id2,id3");
}

static void
test_set_operation_is_one_row(void **state)
{
    struct place *t = *state;
    int64_t n = n_rows(t);
    join(t, ALL(), "R");
    assert_int_equal(n_rows(t), n + 1);
    assert_int_equal(t->a.w.n_packets, 1);
    assert_int_equal(t->a.w.packets[0]->kind, STORE_JOIN);
    assert_int_equal(t->a.w.packets[0]->to_kind, STORE_TO_NSP);
    assert_string_equal(members(t, "R"), "id0,id1,id2,id3"); /* not the one of '/chat' */
    leave(t, ROOMS(NAMES(STR("id1"), STR("id2"))), "R");
    assert_int_equal(n_rows(t), n + 2);
    assert_string_equal(members(t, "R"), "id0,id3");
    leave(t, ROOMS(NAMES(STR("R"))), "R");
    assert_string_equal(members(t, "R"), "");
    FX_ASSERT_TEXT(&t->a, "SELECT idle_seq IS NULL FROM t_room", "0");
}

static void
test_set_join_honours_lists_and_exceptions(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "A");
    fx_join(&t->a, t->s[1], "A");
    fx_join(&t->a, t->s[1], "B");
    fx_join(&t->a, t->s[2], "B");
    join(t, ROOMS(NAMES(STR("A"), STR("B"), STR("id3"))), "all");
    assert_string_equal(members(t, "all"), "id0,id1,id2,id3");
    join(t, ROOMS(NAMES(STR("A"), STR("B"), STR("id3")), EXCEPT(STR("B"))), "notB");
    assert_string_equal(members(t, "notB"), "id0,id3");
    join(t, ALL(EXCEPT(STR("id0"), STR("B"))), "rest");
    assert_string_equal(members(t, "rest"), "id3");
    join(t, ROOMS(NAMES(STR("A")), .skip_id = t->s[0]), "others");
    assert_string_equal(members(t, "others"), "id1");
    join(t,
         (&(struct store_target){
             .nsp = STR("/"), .to = STORE_TO_SOCKET, .id = t->s[1], EXCEPT(STR("B"))}),
         "none");
    assert_string_equal(members(t, "none"), "");
    leave(t, ALL(EXCEPT(STR("A"))), "all");
    assert_string_equal(members(t, "all"), "id0,id1");
}

static void
test_set_join_keeps_the_intervals_of_those_who_are_in(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    join(t, ALL(), "R");
    join(t, ALL(), "R");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_member", 4);
    FX_ASSERT_INT(&t->a, "SELECT count(DISTINCT since_seq) FROM t_member", 2);
}

static void
test_room_of_one_namespace_is_not_that_of_another(void **state)
{
    struct place *t = *state;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->x, "R");
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_room", 2);
    assert_string_equal(route(t, (&(struct store_target){.nsp = STR("/chat"),
                                                         .to = STORE_TO_ROOM,
                                                         NAMES(STR("R"), STR("id0"))})),
                        "1 2 - - -");
}

static void
test_disconnect_of_a_target_ends_each_of_its_sockets(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[2], "R");
    store_unit_disconnect(
        u, ROOMS(NAMES(STR("R"), STR("id2"), STR("id3")), .skip_id = t->s[3]), STR("bye"),
        false, 5);
    o = fx_run(&t->a, u);
    assert_int_equal(o.n_jobs, 2);
    assert_int_equal(o.jobs[0].socket_id, t->s[0]);
    assert_int_equal(o.jobs[1].socket_id, t->s[2]);
    assert_int_equal(o.jobs[1].due_ms, 5);
    FX_ASSERT_INT(&t->a, "SELECT count(*) FROM t_socket WHERE state = 2", 2);
}

static void
test_packet_of_a_conflicting_unit_can_be_run_again(void **state)
{
    struct place *t = *state;
    struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
    struct fx_outcome o[2];
    fx_join(&t->a, t->s[0], "R");
    fx_join(&t->a, t->s[1], "Q");
    store_unit_packet(units[0], ROOMS(NAMES(STR("R"), STR("Q"))), fx_event("[\"x\"]"));
    store_unit_socket_create(
        units[1], &(struct store_socket_new){.session_id = 99,
                                             .nsp = STR("/"),
                                             .sio_id = STR("id0")}); /* fails the batch */
    fx_batch(&t->a, units, o, 2);
    assert_int_equal(o[0].rc, RC_OK);
    assert_int_equal(o[1].rc, RC_INVALID);
    assert_int_equal(t->a.w.n_packets, 1);
    assert_int_equal(t->a.w.packets[0]->n_to_keys, 2);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_one_name_is_a_room_or_a_socket),
        T(test_name_of_a_room_and_a_socket_means_both),
        T(test_several_names_are_a_list_without_duplicates),
        T(test_nobody_there_makes_no_row),
        T(test_socket_that_is_gone_is_no_target),
        T(test_room_of_a_lost_socket_still_gets_rows),
        T(test_users_are_their_sockets_in_the_namespace),
        T(test_exceptions_are_keys_too),
        T(test_connection_gets_rows_while_it_is_open),
        T(test_row_carries_what_the_packet_says),
        T(test_join_opens_the_interval_at_its_row_once),
        T(test_leave_closes_it_at_its_row_once),
        T(test_room_is_idle_from_the_row_that_emptied_it),
        T(test_ended_socket_does_not_join),
        T(test_set_operation_is_one_row),
        T(test_set_join_honours_lists_and_exceptions),
        T(test_set_join_keeps_the_intervals_of_those_who_are_in),
        T(test_room_of_one_namespace_is_not_that_of_another),
        T(test_disconnect_of_a_target_ends_each_of_its_sockets),
        T(test_packet_of_a_conflicting_unit_can_be_run_again),
    };
    return cmocka_run_group_tests_name("store_target", tests, NULL, NULL);
}
