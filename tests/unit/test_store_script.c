/*
 * store/script.c: statements, sections and triggers of an application's text.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/script.h"

/* Each statement as "version line:text|"; the error as "line! text". */
static void
assert_parts(const char *text, const char *expected)
{
    struct store_script s;
    struct store_script_part p;
    struct buf out = {0}, err = {0};
    enum rc rc;
    store_script_init(&s, str_of(text));
    while ((rc = store_script_next(&s, &p, &err)) == RC_OK)
        buf_append_f(&out, "%d %zu:%.*s|", p.version, store_script_line(s.text, p.offset),
                     STR_ARG(p.sql));
    if (rc != RC_NOTFOUND)
        buf_append_f(&out, "%zu! %.*s", store_script_line(s.text, p.offset),
                     STR_ARG(buf_str(&err)));
    buf_append_c(&out, 0);
    assert_string_equal(out.p, expected);
    buf_fini(&out);
    buf_fini(&err);
}

static void
test_statements_end_with_their_semicolon(void **state)
{
    (void)state;
    assert_parts("", "");
    assert_parts(" \n-- only a comment", "");
    assert_parts("a; b ;;\n;c", "0 1:a;|0 1:b ;|0 2:c|");
    assert_parts("a ';' \";\" `;` [;] 'it''s;' /* ; */ -- ;\n x; b",
                 "0 1:a ';' \";\" `;` [;] 'it''s;' /* ; */ -- ;\n x;|0 2:b|");
    assert_parts("a 'never ends; b", "0 1:a 'never ends; b|");
    assert_parts("a /* never ends; b", "0 1:a /* never ends; b|");
    assert_parts("\xef\xbb\xbf"
                 "a;",
                 "0 1:a;|");
}

static void
test_triggers_end_with_their_end(void **state)
{
    (void)state;
#define BODY " TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 2 THEN 3 END; b; END;"
    assert_parts("CREATE" BODY "x;", "0 1:CREATE" BODY "|0 1:x;|");
    assert_parts("create temp" BODY "x;", "0 1:create temp" BODY "|0 1:x;|");
    assert_parts("CREATE /* TRIGGER */ TABLE a (x); b",
                 "0 1:CREATE /* TRIGGER */ TABLE a (x);|0 1:b|");
    assert_parts("CREATE TRIGGER t BEGIN a; END", "0 1:CREATE TRIGGER t BEGIN a; END|");
#undef BODY
}

static void
test_sections_say_when_a_statement_runs(void **state)
{
    (void)state;
    assert_parts("a;\n-- version 1\nb;\nc;\n--version 3 \nd;\n-- always\ne;",
                 "0 1:a;|1 3:b;|1 4:c;|3 6:d;|0 8:e;|");
    /* prose, and what is no line of its own */
    assert_parts("-- version 1 of the tables\n-- versions 2\na; -- version 4\nb",
                 "0 3:a;|0 4:b|");
    assert_parts(" \t-- version 3\r\na;\n  -- always\nb", "3 2:a;|0 4:b|");
    assert_parts("-- version\na", "0 2:a|");
    assert_parts("a ';\n-- version 1\n';", "0 1:a ';\n-- version 1\n';|");
}

static void
test_bad_sections_are_refused_where_they_stand(void **state)
{
    (void)state;
    assert_parts(
        "-- version 2\na;\n-- version 2\nb",
        "2 2:a;|3! version 2: versions begin with 1 and grow; the last one was 2");
    assert_parts("-- version 0",
                 "1! version 0: versions begin with 1 and grow; the last one was 0");
    assert_parts("-- version 99999999999999999999999",
                 "1! version 99999999999999999999: versions begin with 1 and grow; the "
                 "last one was 0");
    assert_parts("a;\nCREATE TABLE x (y)\n-- version 1\nb;",
                 "0 1:a;|3! a section begins inside of a statement: before it a ; is "
                 "missing");
    assert_parts("a\n-- always",
                 "2! a section begins inside of a statement: before it a ; "
                 "is missing");
}

static void
assert_trigger(const char *sql, const char *name, const char *table, const char *body)
{
    struct store_script_trigger t;
    assert_true(store_script_trigger(str_of(sql), &t));
    assert_true(str_eqz(t.name, name));
    assert_true(str_eqz(t.table, table));
    assert_string_equal(sql + t.body, body);
}

static void
test_triggers_are_taken_apart(void **state)
{
    struct store_script_trigger t;
    (void)state;
    assert_trigger("CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN SELECT 1; END", "a",
                   "event", "BEGIN SELECT 1; END");
    assert_trigger(
        "create temp trigger if not exists main.\"on\" after update of x, \"on\" "
        "ON [my table] for each row when new.x = 'BEGIN' -- BEGIN\n begin a; end;",
        "on", "my table", "begin a; end;");
    assert_false(
        store_script_trigger(STR("CREATE TRIGGER a INSTEAD OF INSERT ON b"), &t));
    assert_false(store_script_trigger(STR("CREATE TABLE trigger (a)"), &t));
    assert_false(store_script_trigger(STR_NONE, &t));
}

int
main(void)
{
#define T(name) cmocka_unit_test(name)
    const struct CMUnitTest tests[] = {
        T(test_statements_end_with_their_semicolon),
        T(test_triggers_end_with_their_end),
        T(test_sections_say_when_a_statement_runs),
        T(test_bad_sections_are_refused_where_they_stand),
        T(test_triggers_are_taken_apart),
    };
    return cmocka_run_group_tests_name("store_script", tests, NULL, NULL);
}
