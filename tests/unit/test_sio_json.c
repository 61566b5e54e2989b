/*
 * core/sio/json.c: what is JSON and what is not, where values end, and depth.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Scans a copy that is exactly as long as the text, so that the sanitizer sees each byte
 * too many. */
static enum rc
scan(const char *text, enum sio_json_kind *kind, size_t *value_len, size_t *rest_len)
{
    size_t len = strlen(text);
    char *copy = memcpy(malloc(len + !len), text, len);
    struct str value = STR_NONE, rest = STR_NONE;
    enum rc rc = sio_json_scan((struct str){copy, len}, 64, kind, &value, &rest);
    *value_len = value.len;
    *rest_len = rest.len;
    free(copy);
    return rc;
}

static void
test_values_have_their_kind_and_end(void **state)
{
    static const struct {
        const char *text;
        enum sio_json_kind kind;
        size_t value_len, rest_len;
    } cases[] = {
        {"null", SIO_JSON_NULL, 4, 0},
        {"true,", SIO_JSON_TRUE, 4, 1},
        {"false]", SIO_JSON_FALSE, 5, 1},
        {"0", SIO_JSON_NUMBER, 1, 0},
        {"01", SIO_JSON_NUMBER, 1, 1}, /* the rest is for the caller to refuse */
        {"-0.5e+10 ", SIO_JSON_NUMBER, 8, 1},
        {"12345678901234567890123", SIO_JSON_NUMBER, 23, 0},
        {"1E400", SIO_JSON_NUMBER, 5, 0},
        {"\"\"", SIO_JSON_STRING, 2, 0},
        {"\"a\\\"b\" x", SIO_JSON_STRING, 6, 2},
        {"\"\\\\\"", SIO_JSON_STRING, 4, 0},
        {"\"\\ud800\"", SIO_JSON_STRING, 8, 0},
        {"\"\\u0000\"", SIO_JSON_STRING, 8, 0},
        {"\"\\/\\b\\f\\n\\r\\t\"", SIO_JSON_STRING, 14, 0},
        {"\"\x7f\"", SIO_JSON_STRING, 3, 0},
        {"\"0123456789abcdef\"", SIO_JSON_STRING, 18, 0},
        {"\"01234567é\"", SIO_JSON_STRING, 12, 0},
        {" \t\r\n[]", SIO_JSON_ARRAY, 2, 0},
        {"[ ]", SIO_JSON_ARRAY, 3, 0},
        {"[1,[2,{\"a\":3}]]]", SIO_JSON_ARRAY, 15, 1},
        {"{}", SIO_JSON_OBJECT, 2, 0},
        {"{ \"a\" : 1 , \"a\" : [ ] }", SIO_JSON_OBJECT, 23, 0},
        {"{\"\":{}}{", SIO_JSON_OBJECT, 7, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum sio_json_kind kind = SIO_JSON_NULL;
        size_t value_len, rest_len;
        if (scan(cases[i].text, &kind, &value_len, &rest_len) != RC_OK)
            fail_msg("refused: %s", cases[i].text);
        assert_int_equal(kind, cases[i].kind);
        assert_int_equal(value_len, cases[i].value_len);
        assert_int_equal(rest_len, cases[i].rest_len);
    }
}

static const char *const NOT_JSON[] = {"",
                                       " ",
                                       ",",
                                       "]",
                                       "}",
                                       ":",
                                       "x",
                                       "nul",
                                       "tru",
                                       "fals",
                                       "-",
                                       "+1",
                                       ".5",
                                       "1.",
                                       "1.e1",
                                       "1e",
                                       "1e+",
                                       "-a",
                                       "\"",
                                       "\"a",
                                       "\"\\\"",
                                       "\"\\",
                                       "\"\\x\"",
                                       "\"\\u12\"",
                                       "\"\\u12g4\"",
                                       "\"\\U0041\"",
                                       "\"a\nb\"",
                                       "\"a\tb\"",
                                       "\"\x01\"",
                                       "\"\x1f\"",
                                       "\"\xff\"",
                                       "\"\xc0\x80\"",
                                       "\"\xc3\"",
                                       "\"\xed\xa0\x80\"",
                                       "\"\xf4\x90\x80\x80\"",
                                       "\"\xe2\x82\"",
                                       "'a'",
                                       "[",
                                       "[1",
                                       "[1,",
                                       "[1,]",
                                       "[,1]",
                                       "[1 2]",
                                       "[1}",
                                       "[}",
                                       "{",
                                       "{\"a\"",
                                       "{\"a\":",
                                       "{\"a\":1",
                                       "{\"a\":1,",
                                       "{\"a\":1,}",
                                       "{,}",
                                       "{\"a\"}",
                                       "{\"a\" 1}",
                                       "{a:1}",
                                       "{1:1}",
                                       "{\"a\":1]",
                                       "{]",
                                       "{\"a\":1 \"b\":2}",
                                       "[[]",
                                       "{\"a\":[}]",
                                       "[\"a\":1]",
                                       "[1,,2]",
                                       "{\"a\"::1}",
                                       "{[]:1}",
                                       "\v1",
                                       "\xc2\xa0"
                                       "1",
                                       "\xef\xbb\xbf"
                                       "1",
                                       "NaN",
                                       "Infinity",
                                       "undefined",
                                       "//x\n1"};

static void
test_what_is_not_json_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof NOT_JSON / sizeof NOT_JSON[0]; i++) {
        enum sio_json_kind kind = SIO_JSON_TRUE;
        size_t value_len, rest_len;
        if (scan(NOT_JSON[i], &kind, &value_len, &rest_len) != RC_INVALID)
            fail_msg("accepted: %s", NOT_JSON[i]);
        assert_int_equal(kind, SIO_JSON_TRUE); /* untouched */
    }
}

/* A special character at each distance from the start: the word loop must see each. */
static void
test_strings_are_checked_at_every_alignment(void **state)
{
    static const char *const specials[] = {"\n", "\\x", "\xff", "\x80", "\x1f"};
    (void)state;
    for (size_t at = 0; at < 20; at++) {
        for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
            struct buf b = {0};
            size_t len = strlen(specials[i]), want;
            buf_append_f(&b, "\"%-20s\"", "");
            want = b.len;
            assert_int_equal(sio_json_string_len(buf_str(&b)), want);
            memcpy(b.p + 1 + at, specials[i], at + len > 20 ? 20 - at : len);
            assert_int_equal(sio_json_string_len(buf_str(&b)), 0);
            b.p[1 + at] = '"';
            assert_int_equal(sio_json_string_len(buf_str(&b)), at + 2);
            buf_fini(&b);
        }
    }
    assert_int_equal(sio_json_string_len(STR("a\"")), 0);
    assert_int_equal(sio_json_string_len(STR_NONE), 0);
}

static enum rc
scan_nested(int64_t n, char open, int64_t depth_max)
{
    struct buf b = {0};
    struct str value, rest;
    enum sio_json_kind kind;
    enum rc rc;
    for (int64_t i = 0; i < n; i++)
        buf_append_z(&b, open == '[' || (open == 'm' && i % 2) ? "[" : "{\"a\":");
    buf_append_c(&b, '1');
    for (int64_t i = n; i-- > 0;)
        buf_append_c(&b, open == '[' || (open == 'm' && i % 2) ? ']' : '}');
    rc = sio_json_scan(buf_str(&b), depth_max, &kind, &value, &rest);
    buf_fini(&b);
    return rc;
}

static void
test_depth_is_bounded_without_recursion(void **state)
{
    static const char forms[] = {'[', '{', 'm'};
    (void)state;
    for (size_t i = 0; i < sizeof forms; i++) {
        assert_int_equal(scan_nested(1, forms[i], 1), RC_OK);
        assert_int_equal(scan_nested(1, forms[i], 0), RC_TOOBIG);
        assert_int_equal(scan_nested(0, forms[i], 0), RC_OK);
        assert_int_equal(scan_nested(64, forms[i], 64), RC_OK);
        assert_int_equal(scan_nested(65, forms[i], 64), RC_TOOBIG);
        assert_int_equal(scan_nested(130, forms[i], 130), RC_OK);
        assert_int_equal(scan_nested(SIO_JSON_DEPTH_MAX, forms[i], INT64_MAX), RC_OK);
        assert_int_equal(scan_nested(SIO_JSON_DEPTH_MAX + 1, forms[i], INT64_MAX),
                         RC_TOOBIG);
        assert_int_equal(scan_nested(100000, forms[i], INT64_MAX), RC_TOOBIG);
    }
}

static void
test_array_gives_its_first_item_and_the_others(void **state)
{
    static const struct {
        const char *text, *first, *others, *rest;
    } cases[] = {
        {"[]", "", "", ""},
        {" [ ] x", "", "", " x"},
        {"[1]", "1", "", ""},
        {"[ \"a\" ]", "\"a\"", "", ""},
        {"[ \"a\" , 1 ]", "\"a\"", " 1 ", ""},
        {"[[1,2],3,[4]]]", "[1,2]", "3,[4]", "]"},
        {"[{\"a\":1},{}]", "{\"a\":1}", "{}", ""},
        {"[[]]", "[]", "", ""},
    };
    struct str first, others, rest;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            sio_json_scan_array(str_of(cases[i].text), 8, &first, &others, &rest), RC_OK);
        assert_true(str_eqz(first, cases[i].first));
        assert_true(str_eqz(others, cases[i].others));
        assert_true(str_eqz(rest, cases[i].rest));
    }
    assert_int_equal(sio_json_scan_array(STR("{}"), 8, &first, &others, &rest),
                     RC_INVALID);
    assert_int_equal(sio_json_scan_array(STR("1"), 8, &first, &others, &rest),
                     RC_INVALID);
    assert_int_equal(sio_json_scan_array(STR(""), 8, &first, &others, &rest), RC_INVALID);
    assert_int_equal(sio_json_scan_array(STR("[1"), 8, &first, &others, &rest),
                     RC_INVALID);
    assert_int_equal(sio_json_scan_array(STR("[[1]]"), 1, &first, &others, &rest),
                     RC_TOOBIG);
}

static void
test_next_walks_items(void **state)
{
    struct str rest = STR(" 1 , \"a,b\",[2,3] ,{\"c\":4} "), value;
    enum sio_json_kind kind;
    (void)state;
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_NUMBER && str_eqz(value, "1"));
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_STRING && str_eqz(value, "\"a,b\""));
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_ARRAY && str_eqz(value, "[2,3]"));
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_OBJECT && str_eqz(value, "{\"c\":4}"));
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_NOTFOUND);
    rest = STR(" \n");
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_NOTFOUND);
    rest = STR_NONE;
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_NOTFOUND);
    rest = STR("1 2");
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_INVALID);
    assert_true(str_eqz(rest, "1 2")); /* untouched */
    rest = STR("[1");
    assert_int_equal(sio_json_next(&rest, &kind, &value), RC_INVALID);
}

static void
assert_unquoted(const char *literal, const char *want, size_t len)
{
    struct buf b = {0};
    assert_int_equal(sio_json_unquote(str_of(literal), &b), RC_OK);
    assert_int_equal(b.len, len);
    if (len)
        assert_memory_equal(b.p, want, len);
    buf_fini(&b);
}

static void
test_unquote_undoes_escapes(void **state)
{
    (void)state;
    assert_unquoted("\"\"", "", 0);
    assert_unquoted("\"plain\"", "plain", 5);
    assert_unquoted("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    assert_unquoted("\"a\\u0000b\"", "a\0b", 3);
    assert_unquoted("\"\\u20ac\\u00E9\"", "€é", 5);
    assert_unquoted("\"\\ud83d\\ude00\"", "😀", 4);
    assert_unquoted("\"\\ud800\"", "\xef\xbf\xbd", 3);
    assert_unquoted("\"\\udc00x\"", "\xef\xbf\xbdx", 4);
    assert_unquoted("\"\\ud800\\u0041\"",
                    "\xef\xbf\xbd"
                    "A",
                    4);
    assert_unquoted("\"\\ud800\\ud83d\\ude00\"", "\xef\xbf\xbd😀", 7);
    assert_unquoted("\"\\ud800\\n\"", "\xef\xbf\xbd\n", 4);
}

static void
test_unquote_refuses_what_is_no_literal(void **state)
{
    static const char *const bad[] = {"",        "\"",     "a",      "\"a",
                                      "a\"",     "\"\\\"", "\"a\"b", "\"\\u12\"",
                                      "\"\\q\"", "\"\n\"", "12",     "\"\xff\""};
    struct buf b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sio_json_unquote(str_of(bad[i]), &b), RC_INVALID);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void
test_member_is_found_by_its_unescaped_name(void **state)
{
    struct str object =
        STR(" {\"a\":1, \"b\" : [2,{\"x\":9}] ,\"\\u0063\":\"d\",\"a\":true}");
    struct str value;
    enum sio_json_kind kind;
    (void)state;
    assert_int_equal(sio_json_member(object, "a", &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_TRUE && str_eqz(value, "true")); /* the last one */
    assert_int_equal(sio_json_member(object, "b", &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_ARRAY && str_eqz(value, "[2,{\"x\":9}]"));
    assert_int_equal(sio_json_member(object, "c", &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_STRING && str_eqz(value, "\"d\""));
    assert_int_equal(sio_json_member(object, "x", &kind, &value), RC_NOTFOUND);
    assert_int_equal(sio_json_member(object, "", &kind, &value), RC_NOTFOUND);
    assert_int_equal(sio_json_member(STR("{}"), "a", &kind, &value), RC_NOTFOUND);
    assert_int_equal(sio_json_member(STR("[1]"), "a", &kind, &value), RC_INVALID);
    assert_int_equal(sio_json_member(STR_NONE, "a", &kind, &value), RC_INVALID);
    assert_int_equal(sio_json_member(STR("{\"a\":"), "a", &kind, &value), RC_INVALID);
}

static void
test_placeholder_is_recognised(void **state)
{
    int64_t num = -1;
    (void)state;
    assert_true(sio_json_is_placeholder(STR("{\"_placeholder\":true,\"num\":3}"), &num));
    assert_int_equal(num, 3);
    assert_true(
        sio_json_is_placeholder(STR("{ \"num\" : 0,\"_placeholder\" : true}"), &num));
    assert_int_equal(num, 0);
    assert_false(
        sio_json_is_placeholder(STR("{\"_placeholder\":false,\"num\":3}"), &num));
    assert_false(
        sio_json_is_placeholder(STR("{\"_placeholder\":true,\"num\":\"3\"}"), &num));
    assert_false(
        sio_json_is_placeholder(STR("{\"_placeholder\":true,\"num\":-3}"), &num));
    assert_false(sio_json_is_placeholder(STR("{\"_placeholder\":true}"), &num));
    assert_false(sio_json_is_placeholder(STR("{}"), &num));
    assert_false(sio_json_is_placeholder(STR("[]"), &num));
    assert_false(sio_json_is_placeholder(STR("\"_placeholder\""), &num));
    assert_int_equal(num, 0); /* untouched */
}

static void
test_ascii_copy_escapes_everything_else(void **state)
{
    struct buf b = {0};
    (void)state;
    sio_json_to_ascii(&b, STR("[\"a€\\n😀\",1]"));
    buf_append_c(&b, 0);
    assert_string_equal(b.p, "[\"a\\u20ac\\n\\ud83d\\ude00\",1]");
    buf_clear(&b);
    sio_json_to_ascii(&b, STR_NONE);
    sio_json_to_ascii(&b, STR("[]"));
    assert_int_equal(b.len, 2);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_have_their_kind_and_end),
        cmocka_unit_test(test_what_is_not_json_is_refused),
        cmocka_unit_test(test_strings_are_checked_at_every_alignment),
        cmocka_unit_test(test_depth_is_bounded_without_recursion),
        cmocka_unit_test(test_array_gives_its_first_item_and_the_others),
        cmocka_unit_test(test_next_walks_items),
        cmocka_unit_test(test_unquote_undoes_escapes),
        cmocka_unit_test(test_unquote_refuses_what_is_no_literal),
        cmocka_unit_test(test_member_is_found_by_its_unescaped_name),
        cmocka_unit_test(test_placeholder_is_recognised),
        cmocka_unit_test(test_ascii_copy_escapes_everything_else),
    };
    return cmocka_run_group_tests_name("sio_json", tests, NULL, NULL);
}
