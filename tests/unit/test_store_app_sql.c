/*
 * store/app_sql.c on a whole store: the application's tables and statements, and what its
 * failures leave alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "tests/unit/store_fixture.h"

struct place {
    struct fx fx;
    struct store *st;
    struct buf out, err;
    struct fx_rows rows;
};

static int
set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    t->st = fx_store_open(&t->fx, &t->rows);
    assert_int_equal(
        store_app_migrate(t->st, 1,
                          "CREATE TABLE line (id INTEGER PRIMARY KEY, text ANY) STRICT;"
                          "CREATE UNIQUE INDEX i_line ON line (text);",
                          &t->err),
        RC_OK);
    assert_int_equal(
        store_app_add(t->st, "keep", "INSERT INTO line (text) VALUES (:1)", &t->err),
        RC_OK);
    assert_int_equal(
        store_app_add(t->st, "all", "SELECT id, text FROM line ORDER BY id", &t->err),
        RC_OK);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    store_close(t->st);
    buf_fini(&t->out);
    buf_fini(&t->err);
    fx_close(&t->fx);
    free(t);
    return 0;
}

static void
assert_text(struct buf *b, const char *expected)
{
    buf_append_c(b, 0);
    assert_string_equal(b->p, expected);
    buf_clear(b);
}

static struct fx_outcome
exec(struct place *t, const char *name, struct store_value v)
{
    struct store_unit *u = store_unit_create();
    store_unit_exec(u, name, &v, 1);
    return fx_store_run(t->st, u);
}

#define TEXT(z) ((struct store_value){.type = STORE_TEXT, .s = STR(z)})

static void
on_values(void *arg, const struct store_value *v, size_t n)
{
    struct place *t = arg;
    for (size_t i = 0; i < n; i++)
        switch (v[i].type) {
        case STORE_NULL:
            buf_append_z(&t->out, "null ");
            break;
        case STORE_INT:
            buf_append_f(&t->out, "%lld ", (long long)v[i].i);
            break;
        case STORE_REAL:
            buf_append_f(&t->out, "%g ", v[i].d);
            break;
        case STORE_TEXT:
            buf_append_f(&t->out, "'%.*s' ", STR_ARG(v[i].s));
            break;
        case STORE_BLOB:
            buf_append_f(&t->out, "x%zu ", v[i].s.len);
            break;
        }
}

static void
assert_lines(struct place *t, const char *expected)
{
    assert_int_equal(store_app_select(t->st, "all", NULL, 0, on_values, t, &t->err),
                     RC_OK);
    assert_text(&t->out, expected);
}

/* ---- statements ---- */

static void
test_values_of_every_type_come_back(void **state)
{
    struct place *t = *state;
    struct store_value v[5] = {{.type = STORE_NULL},
                               {.type = STORE_INT, .i = INT64_MIN},
                               {.type = STORE_REAL, .d = 1.5},
                               TEXT(""),
                               {.type = STORE_BLOB, .s = STR("\0\1")}};
    for (int i = 0; i < 5; i++)
        assert_int_equal(exec(t, "keep", v[i]).rc, RC_OK);
    assert_lines(t, "1 null 2 -9223372036854775808 3 1.5 4 '' 5 x2 ");
}

static void
test_failing_statement_undoes_its_unit_and_no_other(void **state)
{
    struct place *t = *state;
    struct store_unit *units[3];
    struct fx_outcome o[3];
    struct store_value same = TEXT("same"), other = TEXT("other");
    for (int i = 0; i < 3; i++) {
        units[i] = store_unit_create();
        store_unit_packet(units[i], FX_TO_ALL, fx_event("[\"x\"]"));
        store_unit_exec(units[i], "keep", i == 2 ? &other : &same, 1);
    }
    t->rows.n = 0;
    fx_store_batch(t->st, units, o, 3);
    assert_int_equal(o[0].rc, RC_OK);
    assert_int_equal(o[1].rc, RC_INVALID);
    assert_string_equal(o[1].error,
                        "statement \"keep\": UNIQUE constraint failed: line.text");
    assert_int_equal(o[1].last_seq, 0);
    assert_int_equal(o[2].rc, RC_OK);
    assert_int_equal(t->rows.n, 2);
    assert_int_equal(store_last_seq(t->st), o[2].last_seq);
    assert_lines(t, "1 'same' 2 'other' ");
}

static void
test_endless_statement_is_stopped_and_the_batch_goes_on(void **state)
{
    struct place *t = *state;
    struct store_unit *units[3];
    struct fx_outcome o[3];
    struct store_value v[3] = {TEXT("a"), TEXT("b"), TEXT("c")};
    int64_t began_us = clock_now_us();
    assert_int_equal(store_app_add(t->st, "endless",
                                   "INSERT INTO line (text) WITH RECURSIVE n (i) AS "
                                   "(SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                                   "SELECT max(i) || ?1 FROM n",
                                   &t->err),
                     RC_OK);
    for (int i = 0; i < 3; i++) {
        units[i] = store_unit_create();
        store_unit_packet(units[i], FX_TO_ALL, fx_event("[\"x\"]"));
        store_unit_exec(units[i], i == 1 ? "endless" : "keep", &v[i], 1);
    }
    fx_store_batch(t->st, units, o, 3);
    assert_int_equal(o[0].rc, RC_OK);
    assert_int_equal(o[1].rc, RC_INVALID);
    assert_string_equal(o[1].error, "statement \"endless\": takes longer than 50 ms");
    assert_int_equal(o[2].rc, RC_OK);
    assert_true(clock_now_us() - began_us < 2000000);
    assert_lines(t, "1 'a' 2 'c' ");
}

static void
test_endless_select_is_stopped(void **state)
{
    struct place *t = *state;
    assert_int_equal(store_app_add(t->st, "endless",
                                   "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i "
                                   "+ 1 FROM n) SELECT max(i) FROM n",
                                   &t->err),
                     RC_OK);
    assert_int_equal(store_app_select(t->st, "endless", NULL, 0, on_values, t, &t->err),
                     RC_INVALID);
    assert_text(&t->err, "statement \"endless\": takes longer than 50 ms");
}

static void
test_statement_that_emits_reaches_the_tail(void **state)
{
    struct place *t = *state;
    struct fx_outcome o;
    assert_int_equal(
        store_app_migrate(
            t->st, 2,
            "CREATE TRIGGER say AFTER INSERT ON line BEGIN "
            "INSERT INTO emit (event, args) VALUES ('said', json_array(new.text)); END",
            &t->err),
        RC_OK);
    t->rows.n = 0;
    o = exec(t, "keep", TEXT("hello"));
    assert_int_equal(o.rc, RC_OK);
    assert_true(o.last_seq > 0);
    assert_int_equal(t->rows.n, 1);
}

static void
test_rollback_by_a_trigger_hits_its_unit_only(void **state)
{
    struct place *t = *state;
    struct store_unit *units[2] = {store_unit_create(), store_unit_create()};
    struct fx_outcome o[2];
    struct store_value bad = TEXT("bad"), good = TEXT("good");
    assert_int_equal(
        store_app_migrate(
            t->st, 2,
            "CREATE TRIGGER no BEFORE INSERT ON line WHEN new.text = 'bad' BEGIN "
            "SELECT RAISE(ROLLBACK, 'not this one'); END",
            &t->err),
        RC_OK);
    store_unit_exec(units[0], "keep", &good, 1);
    store_unit_exec(units[1], "keep", &bad, 1);
    fx_store_batch(t->st, units, o, 2);
    assert_int_equal(o[0].rc, RC_OK);
    assert_int_equal(o[1].rc, RC_INVALID);
    assert_string_equal(o[1].error, "statement \"keep\": not this one");
    assert_lines(t, "1 'good' ");
}

static void
test_unknown_statements_and_wrong_counts_are_errors(void **state)
{
    struct place *t = *state;
    struct store_value v = TEXT("x");
    assert_string_equal(exec(t, "nothing", v).error,
                        "there is no statement \"nothing\" that writes");
    assert_string_equal(exec(t, "all", v).error,
                        "there is no statement \"all\" that writes");
    assert_int_equal(store_app_select(t->st, "keep", NULL, 0, on_values, t, &t->err),
                     RC_INVALID);
    assert_text(&t->err, "there is no SELECT \"keep\"");
    assert_int_equal(store_app_select(t->st, "all", &v, 1, on_values, t, &t->err),
                     RC_INVALID);
    assert_text(&t->err, "statement \"all\" wants 0 values, not 1");
}

static void
test_bad_statements_are_refused_when_they_are_added(void **state)
{
    struct place *t = *state;
    static const char *const BAD[][2] = {
        {"SELEC 1", "statement \"bad\" near \"SELEC\": syntax error"},
        {"SELECT * FROM nowhere", "statement \"bad\" no such table: nowhere"},
        {"SELECT 1; SELECT 2", "statement \"bad\" is more than one statement"},
        {" -- nothing", "statement \"bad\" is empty"},
        {"COMMIT", "statement \"bad\" transactions, ATTACH and PRAGMA are not for it"},
        {"PRAGMA journal_mode = DELETE",
         "statement \"bad\" transactions, ATTACH and PRAGMA are not for it"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_int_equal(store_app_add(t->st, "bad", BAD[i][0], &t->err), RC_INVALID);
        assert_text(&t->err, BAD[i][1]);
    }
    assert_int_equal(store_app_add(t->st, "keep", "SELECT 1", &t->err), RC_INVALID);
    assert_text(&t->err, "statement \"keep\" exists already");
    assert_int_equal(
        store_app_add(t->st, "good", "SELECT 1; -- and that is all", &t->err), RC_OK);
}

/* ---- migrations ---- */

static void
test_migration_is_applied_once_for_all_processes(void **state)
{
    struct place *t = *state;
    assert_int_equal(exec(t, "keep", TEXT("kept")).rc, RC_OK);
    assert_int_equal(store_app_migrate(t->st, 1, "DROP TABLE line", &t->err), RC_OK);
    store_close(t->st);
    t->st = fx_store_open(&t->fx, &t->rows);
    assert_int_equal(store_app_migrate(t->st, 1, "DROP TABLE line", &t->err), RC_OK);
    assert_int_equal(
        store_app_add(t->st, "all", "SELECT id, text FROM line ORDER BY id", &t->err),
        RC_OK);
    assert_lines(t, "1 'kept' ");
}

static void
test_failing_migration_leaves_nothing(void **state)
{
    struct place *t = *state;
    assert_int_equal(
        store_app_migrate(t->st, 2, "CREATE TABLE a (x); CREATE TABLE line (x)", &t->err),
        RC_INVALID);
    assert_text(&t->err, "schema 2 of the application: table line already exists");
    assert_int_equal(store_app_migrate(t->st, 2, "CREATE TABLE a (x); COMMIT", &t->err),
                     RC_INVALID);
    buf_clear(&t->err);
    assert_int_equal(store_app_migrate(t->st, 2, "CREATE TABLE a (x)", &t->err), RC_OK);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_values_of_every_type_come_back),
        T(test_failing_statement_undoes_its_unit_and_no_other),
        T(test_endless_statement_is_stopped_and_the_batch_goes_on),
        T(test_endless_select_is_stopped),
        T(test_statement_that_emits_reaches_the_tail),
        T(test_rollback_by_a_trigger_hits_its_unit_only),
        T(test_unknown_statements_and_wrong_counts_are_errors),
        T(test_bad_statements_are_refused_when_they_are_added),
        T(test_migration_is_applied_once_for_all_processes),
        T(test_failing_migration_leaves_nothing),
    };
    return cmocka_run_group_tests_name("store_app_sql", tests, NULL, NULL);
}
