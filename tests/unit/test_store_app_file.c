/*
 * store/app_file.c and incoming.c on a whole store: an application in SQL gets into the
 * database, its triggers get what comes in, and what is wrong with it harms nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <unistd.h>

#include "tests/unit/store_fixture.h"

struct place {
    struct fx fx;
    struct fx_process p; /* looks, and makes what is to be there */
    struct store *st;
    struct fx_rows rows;
    struct buf err;
    char file[128];
    int64_t session_id, socket_id;
};

static int
set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    t->st = fx_store_open(&t->fx, &t->rows);
    fx_process_open(&t->fx, &t->p);
    t->session_id = fx_session(&t->p, "secret", false);
    t->socket_id = fx_socket(&t->p, t->session_id, "A");
    (void)snprintf(t->file, sizeof t->file, "%s/app.sql", t->fx.folder);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    store_close(t->st);
    fx_process_close(&t->p);
    buf_fini(&t->err);
    fx_close(&t->fx);
    free(t);
    return 0;
}

/* Writes the file and applies it. */
static enum rc
apply(struct place *t, const char *text)
{
    FILE *f = fopen(t->file, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    buf_clear(&t->err);
    return store_app_apply(t->st, t->file, &t->err);
}

static void
assert_applies(struct place *t, const char *text)
{
    if (apply(t, text) != RC_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&t->err)));
}

/* The file's folder is left out of what was expected. */
static void
assert_error(struct place *t, const char *expected)
{
    buf_append_c(&t->err, 0);
    assert_memory_equal(t->err.p, t->fx.folder, strlen(t->fx.folder));
    assert_string_equal(t->err.p + strlen(t->fx.folder) + 1, expected);
    buf_clear(&t->err);
}

static struct fx_outcome
run(struct place *t, struct store_unit *u)
{
    struct fx_outcome o = fx_store_run(t->st, u);
    assert_int_equal(o.rc, RC_OK);
    return o;
}

static void
add_event(struct place *t, struct store_unit *u, const char *name)
{
    size_t from = store_unit_n_steps(u);
    store_unit_incoming_event(
        u, &(struct store_incoming_event){.socket_id = t->socket_id,
                                          .has_ack_id = strcmp(name, "quiet") != 0,
                                          .ack_id = 7,
                                          .event = str_of(name),
                                          .args = STR("1, {\"a\": \"b\"}"),
                                          .attachments = STR("\0\0\0\1x")});
    assert_non_null(store_unit_group(
        u, from, NULL,
        &(struct store_group_info){.what = STR("event"), .event = str_of(name)}));
}

static void
fire(struct place *t, const char *name)
{
    struct store_unit *u = store_unit_create();
    add_event(t, u, name);
    (void)run(t, u);
}

#define LOG_TABLE "CREATE TABLE IF NOT EXISTS seen (what TEXT);"
#define ASSERT_SEEN(t, expected)                                                         \
    FX_ASSERT_TEXT(&(t)->p, "SELECT group_concat(what, ' ') FROM seen", expected)
#define ASSERT_ERRORS(t, expected)                                                       \
    FX_ASSERT_TEXT(&(t)->p, "SELECT group_concat(error, ';') FROM app_error", expected)

/* ---- the file ---- */

static void
test_versions_run_once_and_the_rest_at_each_change(void **state)
{
    struct place *t = *state;
    assert_false(store_app_has(t->st, STORE_INCOMING_EVENT));
    assert_applies(t, "-- version 1\n"
                      "CREATE TABLE seen (what TEXT);\n"
                      "CREATE TRIGGER a INSTEAD OF INSERT ON Event BEGIN\n"
                      "  INSERT INTO seen VALUES ('1:' || new.event); END;\n"
                      "-- always\n"
                      "INSERT INTO seen VALUES ('first');");
    assert_true(store_app_has(t->st, STORE_INCOMING_EVENT));
    assert_false(store_app_has(t->st, STORE_INCOMING_CONNECTION));
    assert_false(store_app_has(t->st, STORE_INCOMING_DISCONNECT));
    fire(t, "x");
    /* the trigger stands in a version that was applied, and is made anew all the same */
    assert_applies(t, "-- version 1\n"
                      "CREATE TABLE seen (what TEXT);\n"
                      "CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN\n"
                      "  INSERT INTO seen (what) VALUES ('2:' || new.event); END;\n"
                      "-- version 3\n"
                      "ALTER TABLE seen ADD COLUMN more;\n"
                      "-- always\n"
                      "INSERT INTO seen (what) VALUES ('second');\n"
                      "CREATE TRIGGER b INSTEAD OF INSERT ON connection BEGIN\n"
                      "  SELECT 1; END;");
    FX_ASSERT_TEXT(&t->p, "SELECT group_concat(version) FROM t_app_version", "1,3");
    assert_true(store_app_has(t->st, STORE_INCOMING_CONNECTION));
}

static void
test_unchanged_file_is_not_applied_again(void **state)
{
    struct place *t = *state;
    const char *text = LOG_TABLE "INSERT INTO seen VALUES ('applied');"
                                 "CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN "
                                 "SELECT 1; END;";
    assert_applies(t, text);
    assert_applies(t, text);
    ASSERT_SEEN(t, "applied");
    store_close(t->st);
    t->st = fx_store_open(&t->fx, &t->rows);
    assert_false(store_app_has(t->st, STORE_INCOMING_EVENT));
    assert_applies(t, text);
    assert_true(store_app_has(t->st, STORE_INCOMING_EVENT));
    ASSERT_SEEN(t, "applied");
    /* as after a migration, which makes the views anew */
    fx_exec(&t->p, "UPDATE t_app_file SET hash = ''");
    assert_applies(t, text);
    ASSERT_SEEN(t, "applied applied");
}

static void
test_only_the_triggers_of_the_file_stay(void **state)
{
    struct place *t = *state;
    assert_applies(t,
                   "CREATE TRIGGER old INSTEAD OF INSERT ON event BEGIN SELECT 1; END");
    fx_exec(&t->p, "CREATE TRIGGER \"out \"\"sider\" INSTEAD OF INSERT ON connection "
                   "BEGIN SELECT 1; END");
    assert_applies(t, "CREATE TRIGGER new INSTEAD OF INSERT ON disconnect BEGIN "
                      "SELECT 1; END");
    FX_ASSERT_TEXT(&t->p,
                   "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'trigger' "
                   "AND tbl_name IN ('event', 'connection', 'disconnect') "
                   "AND name NOT LIKE 't\\_%' ESCAPE '\\'",
                   "new");
    assert_false(store_app_has(t->st, STORE_INCOMING_EVENT));
    assert_true(store_app_has(t->st, STORE_INCOMING_DISCONNECT));
}

static void
test_errors_name_file_and_line_and_nothing_stays(void **state)
{
    static const char *const BAD[][2] = {
        {"\n\nSELEC 1;", "app.sql:3: near \"SELEC\": syntax error"},
        {"SELECT 1;\nSELECT\n  1 +\n  nothing_is FROM\n  nowhere;",
         "app.sql:2: no such table: nowhere"},
        {"INSERT INTO t_app_version\n VALUES (1, 1), (1, 1);",
         "app.sql:1: UNIQUE constraint failed: t_app_version.version"},
        {"BEGIN;", "app.sql:1: transactions, ATTACH, PRAGMA and TEMP are not for an "
                   "application"},
        {"SELECT 1;\nCOMMIT;", "app.sql:2: transactions, ATTACH, PRAGMA and TEMP are not "
                               "for an application"},
        {"ATTACH 'x' AS x;", "app.sql:1: transactions, ATTACH, PRAGMA and TEMP are not "
                             "for an application"},
        {"PRAGMA user_version = 9;", "app.sql:1: transactions, ATTACH, PRAGMA and TEMP "
                                     "are not for an application"},
        {"CREATE TEMP TABLE x (y);", "app.sql:1: transactions, ATTACH, PRAGMA and TEMP "
                                     "are not for an application"},
        {"CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN\nSELECT 1;\n",
         "app.sql:1: incomplete input"},
        {"-- version 1\nSELECT 1\n-- always\n", "app.sql:3: a section begins inside of a "
                                                "statement: before it a ; is missing"},
        {"SELECT '\xff';", "app.sql: is no text in UTF-8"},
    };
    struct place *t = *state;
    assert_applies(t, "CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN SELECT 1; END");
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "CREATE TABLE half (done);%s", BAD[i][0]);
        assert_int_equal(apply(t, text), RC_INVALID);
        assert_error(t, BAD[i][1]);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'", 0);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM sqlite_schema WHERE name = 'a'", 1);
        FX_ASSERT_INT(&t->p, "SELECT count(*) FROM t_app_version", 0);
    }
    assert_int_equal(unlink(t->file), 0);
    assert_int_equal(store_app_apply(t->st, t->file, &t->err), RC_NOTFOUND);
    assert_error(t, "app.sql: No such file or directory");
}

/* ---- what comes in ---- */

static void
test_events_have_all_columns(void **state)
{
    struct place *t = *state;
    assert_applies(t, LOG_TABLE
                   "CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN INSERT INTO seen "
                   "VALUES (json_array(new.event_id, new.socket, new.nsp, new.user, "
                   "new.data, new.event, json(new.args), hex(new.attachments), "
                   "new.wants_ack)); END;");
    fx_exec(&t->p, "UPDATE t_socket SET user = 'ada', data = '{\"x\":1}'");
    fire(t, "say \"x\"");
    ASSERT_SEEN(t, "[\"A:7\",\"A\",\"/\",\"ada\",\"{\\\"x\\\":1}\",\"say \\\"x\\\"\","
                   "[1,{\"a\":\"b\"}],\"0000000178\",1]");
    fx_exec(&t->p, "DELETE FROM seen; UPDATE t_socket SET user = NULL");
    fire(t, "quiet");
    ASSERT_SEEN(t, "[\"A:\",\"A\",\"/\",null,\"{\\\"x\\\":1}\",\"quiet\","
                   "[1,{\"a\":\"b\"}],\"0000000178\",0]");
    fx_exec(&t->p, "DELETE FROM seen; UPDATE t_socket SET state = 2, until_seq = 1");
    fire(t, "too late");
    ASSERT_SEEN(t, "");
    fx_exec(&t->p, "UPDATE t_socket SET state = 0, until_seq = NULL");
}

static struct fx_outcome
connect_as(struct place *t, const char *sio_id)
{
    struct store_unit *u = store_unit_create();
    store_unit_socket_create(u,
                             &(struct store_socket_new){.session_id = t->session_id,
                                                        .nsp = STR("/"),
                                                        .sio_id = str_of(sio_id),
                                                        .auth = STR("{\"token\":\"x\"}"),
                                                        .reply = STR("{\"sid\":1}"),
                                                        .now_ms = FX_NOW_MS});
    store_unit_incoming_connection(u, STORE_NEW_SOCKET(0));
    (void)store_unit_group(u, 0, NULL,
                           &(struct store_group_info){.what = STR("connection"),
                                                      .nsp = STR("/"),
                                                      .session_id = t->session_id});
    return run(t, u);
}

static void
test_connections_are_let_in_or_refused(void **state)
{
    struct place *t = *state;
    struct fx_outcome o;
    assert_applies(
        t, LOG_TABLE
        "CREATE TRIGGER a INSTEAD OF INSERT ON connection BEGIN "
        "INSERT INTO seen VALUES (json_array(new.socket, new.nsp, new.user, new.data, "
        "json(new.auth), json(new.query), json(new.headers), new.remote, new.transport, "
        "new.protocol, new.is_recovered)); END;"
        "CREATE TRIGGER b INSTEAD OF INSERT ON connection WHEN new.socket LIKE 'no%' "
        "BEGIN "
        "INSERT INTO refuse (socket, message, data) "
        "VALUES (new.socket, 'not \"you\"', iif(new.socket = 'nodata', NULL, '[1, 2]')); "
        "END;"
        "CREATE TRIGGER c INSTEAD OF INSERT ON connection WHEN new.socket LIKE 'bad%' "
        "BEGIN "
        "SELECT RAISE(ABORT, 'broken'); END;");
    fx_exec(&t->p, "UPDATE t_session SET handshake = '{\"query\":{\"q\":\"1\"},"
                   "\"headers\":{\"host\":\"h\"}}'");
    o = connect_as(t, "B");
    assert_int_equal(o.n_jobs, 0);
    ASSERT_SEEN(t, "[\"B\",\"/\",null,\"null\",{\"token\":\"x\"},{\"q\":\"1\"},"
                   "{\"host\":\"h\"},\"192.0.2.1\",\"polling\",4,0]");
    o = connect_as(t, "no");
    assert_int_equal(o.n_jobs, 1);
    assert_non_null(strstr(o.jobs[0].args, "\"message\":\"not \\\"you\\\"\","
                                           "\"data\":\"[1, 2]\""));
    o = connect_as(t, "nodata");
    assert_null(strstr(o.jobs[0].args, "\"data\""));
    o = connect_as(t, "bad");
    assert_non_null(strstr(o.jobs[0].args, "\"message\":\"Internal error\""));
    FX_ASSERT_TEXT(&t->p, "SELECT group_concat(socket) FROM socket", "A,B");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM t_connecting", 0);
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM seen", 1);
    ASSERT_ERRORS(t, "broken");
}

static void
test_refusals_are_checked(void **state)
{
    static const char *const BAD[][2] = {
        {"'A', 'no', NULL", "refuse.socket: must be the socket of the trigger on "
                            "connection that it stands in"},
        {"new.socket, NULL, NULL", "refuse.message: must be text"},
        {"new.socket, 'no', 1", "refuse.data: must be JSON or NULL"},
        {"new.socket, 'no', '{'", "refuse.data: must be JSON or NULL"},
    };
    struct place *t = *state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "CREATE TRIGGER a INSTEAD OF INSERT ON connection BEGIN "
                       "INSERT INTO refuse (socket, message, data) VALUES (%s); END;",
                       BAD[i][0]);
        assert_applies(t, text);
        (void)connect_as(t, "B");
        ASSERT_ERRORS(t, BAD[i][1]);
        fx_exec(&t->p, "DELETE FROM t_app_error");
    }
}

static void
test_disconnects_have_their_rooms(void **state)
{
    struct place *t = *state;
    struct store_unit *u = store_unit_create();
    assert_applies(t,
                   LOG_TABLE "CREATE TRIGGER a INSTEAD OF INSERT ON disconnect BEGIN "
                             "INSERT INTO seen VALUES (json_array(new.socket, new.nsp, "
                             "new.reason, new.is_recoverable, json(new.rooms))); END;");
    fx_exec(&t->p, "INSERT INTO room_join (socket, room) VALUES ('A', 'x'), ('A', 'y')");
    store_unit_socket_end(u, t->socket_id, false, STR("transport close"), FX_NOW_MS);
    (void)run(t, u);
    u = store_unit_create();
    store_unit_incoming_disconnect(u, t->socket_id, STR("transport close"),
                                   STR("[\"x\",\"y\"]"));
    (void)run(t, u);
    ASSERT_SEEN(t, "[\"A\",\"/\",\"transport close\",0,[\"x\",\"y\"]]");
}

/* ---- faults ---- */

#define FAULTY(name, body)                                                               \
    "CREATE TRIGGER " name " INSTEAD OF INSERT ON event WHEN new.event = '" name         \
    "' BEGIN " body "; END;"

static void
test_faulty_triggers_harm_only_their_own_events(void **state)
{
    static const char *const BAD[][2] = {
        {"missing", "trigger missing: no such table: main.nowhere"},
        {"column", "trigger column: table seen has no column named colour"},
        {"runaway", "takes longer than 50 ms"},
        {"abort", "mine"},
        {"fail", "mine"},
        {"rollback", "mine"},
        {"division", "malformed JSON"},
    };
    struct place *t = *state;
    assert_applies(
        t,
        LOG_TABLE FAULTY("good", "INSERT INTO seen VALUES (new.event)")
            FAULTY("missing", "INSERT INTO nowhere VALUES (1)")
                FAULTY("column", "INSERT INTO seen (colour) VALUES (1)")
                    FAULTY("runaway", "INSERT INTO seen SELECT (WITH RECURSIVE n (i) AS "
                                      "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT "
                                      "max(i) FROM n)")
                        FAULTY("abort", "INSERT INTO seen VALUES ('half'); "
                                        "SELECT RAISE(ABORT, 'mine')")
                            FAULTY("fail", "INSERT INTO seen VALUES ('half'); "
                                           "SELECT RAISE(FAIL, 'mine')")
                                FAULTY("rollback", "SELECT RAISE(ROLLBACK, 'mine')")
                                    FAULTY("ignore", "INSERT INTO seen VALUES "
                                                     "('before'); SELECT RAISE(IGNORE)")
                                        FAULTY("division", "SELECT json('{')"));
    assert_int_equal(t->err.len, 0);
    FX_ASSERT_INT(&t->p,
                  "SELECT count(*) FROM app_error WHERE what = 'trigger' AND error LIKE "
                  "'%app.sql:1: trigger missing: no such table: main.nowhere'",
                  1);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct store_unit *u = store_unit_create();
        fx_exec(&t->p, "DELETE FROM seen; DELETE FROM t_app_error");
        add_event(t, u, "good");
        add_event(t, u, BAD[i][0]);
        add_event(t, u, "good");
        (void)run(t, u);
        ASSERT_SEEN(t, "good good");
        ASSERT_ERRORS(t, BAD[i][1]);
        FX_ASSERT_TEXT(&t->p, "SELECT event FROM app_error", BAD[i][0]);
    }
    fx_exec(&t->p, "DELETE FROM seen; DELETE FROM t_app_error");
    fire(t, "ignore"); /* no failure: what it did before stays */
    ASSERT_SEEN(t, "before");
    ASSERT_ERRORS(t, "");
}

static void
test_trigger_that_was_broken_is_tried_again_when_tables_changed(void **state)
{
    struct place *t = *state;
    const char *text = LOG_TABLE FAULTY("a", "INSERT INTO later VALUES (1)");
    assert_applies(t, text);
    fire(t, "a");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 2);
    assert_applies(t, text); /* nothing has changed: not again */
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 2);
    fx_exec(&t->p, "CREATE TABLE later (x); DELETE FROM t_app_error");
    assert_applies(t, text);
    fire(t, "a");
    ASSERT_ERRORS(t, "");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM later", 1);
}

static void
test_table_that_goes_while_the_server_runs_harms_only_its_trigger(void **state)
{
    struct place *t = *state;
    assert_applies(t, LOG_TABLE "CREATE TABLE other (x);" FAULTY(
                          "good", "INSERT INTO seen VALUES ('good')")
                          FAULTY("bad", "INSERT INTO other VALUES (1)"));
    fire(t, "bad");
    fx_exec(&t->p, "DROP TABLE other");
    fire(t, "bad");
    ASSERT_ERRORS(t, "trigger bad: no such table: main.other");
    fire(t, "good");
    fire(t, "bad");
    fire(t, "good");
    ASSERT_SEEN(t, "good good");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 2);
}

static void
test_trigger_whose_condition_is_broken_is_left_out(void **state)
{
    struct place *t = *state;
    assert_applies(
        t,
        LOG_TABLE FAULTY(
            "good", "INSERT INTO seen VALUES ('good')") "CREATE TRIGGER bad INSTEAD OF "
                                                        "INSERT ON event "
                                                        "WHEN EXISTS (SELECT 1 FROM "
                                                        "nowhere) BEGIN SELECT 1; END;");
    fire(t, "good");
    ASSERT_SEEN(t, "good");
    FX_ASSERT_INT(&t->p, "SELECT count(*) FROM app_error", 1);
}

/* ---- app-check ---- */

static void
test_check_finds_what_is_wrong(void **state)
{
    struct place *t = *state;
    assert_applies(
        t, "-- version 1\nCREATE TABLE a (x);\n-- always\n"
           "CREATE TRIGGER t1 INSTEAD OF INSERT ON event BEGIN\n"
           "INSERT INTO a VALUES (1); INSERT INTO emit (event) VALUES ('x'); END;");
    assert_int_equal(store_app_check(t->file, &t->err), RC_OK);
    assert_int_equal(t->err.len, 0);
    assert_int_equal(apply(t, "SELECT 1;\nSELECT nothing_is;"), RC_INVALID);
    buf_clear(&t->err);
    assert_int_equal(store_app_check(t->file, &t->err), RC_INVALID);
    assert_error(t, "app.sql:2: no such column: nothing_is");
    assert_applies(t, "CREATE TRIGGER t1 INSTEAD OF INSERT ON event BEGIN\n"
                      "INSERT INTO emit (evnt) VALUES ('x'); END;");
    assert_int_equal(store_app_check(t->file, &t->err), RC_INVALID);
    assert_error(t, "app.sql:1: trigger t1: table emit has no column named evnt");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_versions_run_once_and_the_rest_at_each_change),
        T(test_unchanged_file_is_not_applied_again),
        T(test_only_the_triggers_of_the_file_stay),
        T(test_errors_name_file_and_line_and_nothing_stays),
        T(test_events_have_all_columns),
        T(test_connections_are_let_in_or_refused),
        T(test_refusals_are_checked),
        T(test_disconnects_have_their_rooms),
        T(test_faulty_triggers_harm_only_their_own_events),
        T(test_trigger_that_was_broken_is_tried_again_when_tables_changed),
        T(test_table_that_goes_while_the_server_runs_harms_only_its_trigger),
        T(test_trigger_whose_condition_is_broken_is_left_out),
        T(test_check_finds_what_is_wrong),
    };
    return cmocka_run_group_tests_name("store_app_file", tests, NULL, NULL);
}
