/*
 * core/base/str.c and core/base/rc.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_view_of_nothing_is_empty(void **state)
{
    (void)state;
    assert_int_equal(str_of(NULL).len, 0);
    assert_int_equal(str_slice(STR_NONE, 1, 5).len, 0);
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_eqz(STR_NONE, ""));
    assert_int_equal(str_index(STR_NONE, 'x'), 0);
    assert_true(str_is_utf8(STR_NONE));
    assert_true(str_has_prefix(STR_NONE, STR_NONE));
}

static void
test_slices_are_clamped(void **state)
{
    struct str s = STR("hello");
    (void)state;
    assert_true(str_eqz(str_slice(s, 1, 3), "el"));
    assert_true(str_eqz(str_slice(s, 3, 99), "lo"));
    assert_true(str_eqz(str_slice(s, 9, 99), ""));
    assert_true(str_eqz(str_slice(s, 4, 2), ""));
    assert_true(str_eqz(str_slice(s, 0, SIZE_MAX), "hello"));
}

static void
test_comparisons_count_every_byte(void **state)
{
    (void)state;
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eqz(STR("a\0b"), "a"));
    assert_false(str_eqz(STR("ab"), "a"));
    assert_true(str_eq_nocase(STR("Content-Type"), "content-TYPE"));
    assert_false(str_eq_nocase(STR("a["), "a{")); /* differ by the case bit only */
    assert_false(str_eq_nocase(STR("ab"), "abc"));
    assert_true(str_has_prefix(STR("abc"), STR("ab")));
    assert_false(str_has_prefix(STR("a"), STR("ab")));
    assert_int_equal(str_index(STR("abc"), 'c'), 2);
    assert_int_equal(str_index(STR("abc"), 'd'), 3);
}

static void
test_tokens_are_names_of_headers(void **state)
{
    static const struct str bad[] = {STR(""),     STR("a b"),  STR("a:b"), STR("a\r\n"),
                                     STR("a\0b"), STR("\xc3"), STR("(a)"), STR("a\x7f")};
    (void)state;
    assert_true(str_is_token(STR("X-Own")));
    assert_true(str_is_token(STR("!#$%&'*+-.^_`|~09azAZ")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_is_token(bad[i]));
}

static void
test_dup_is_terminated(void **state)
{
    char *z = str_dup(STR("ab"));
    (void)state;
    assert_string_equal(z, "ab");
    free(z);
    z = str_dup(STR_NONE);
    assert_string_equal(z, "");
    free(z);
}

static void
test_numbers_are_digits_in_bounds(void **state)
{
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "a",
                                      "101",
                                      "9223372036854775808",
                                      "99999999999999999999999"};
    int64_t v = 7;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(str_to_int(str_of(bad[i]), 0, 100, &v), RC_INVALID);
    assert_int_equal(v, 7);
    assert_int_equal(str_to_int(STR("100"), 0, 100, &v), RC_OK);
    assert_int_equal(v, 100);
    assert_int_equal(str_to_int(STR("0099"), 99, 100, &v), RC_OK);
    assert_int_equal(v, 99);
    assert_int_equal(str_to_int(STR("98"), 99, 100, &v), RC_INVALID);
    assert_int_equal(str_to_int(STR("9223372036854775807"), 0, INT64_MAX, &v), RC_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(str_to_int(STR("1\0"), 0, 100, &v), RC_INVALID);
}

static void
test_utf8_is_strict(void **state)
{
    static const char *const good[] = {"",
                                       "plain ascii of some length",
                                       "é€😀",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "aaaaaaa€aaaaaaaa"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x9f\x98",
                                      "\xff",
                                      "\xfe",
                                      "aaaaaaaaaaaaaaaaa\xff",
                                      "€€€€€\xe2"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(str_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(str_is_utf8(str_of(bad[i])));
}

static void
test_every_code_point_decodes(void **state)
{
    (void)state;
    for (uint32_t want = 0; want <= 0x10ffff; want++) {
        unsigned char p[4];
        size_t n;
        uint32_t cp;
        bool is_surrogate = want >= 0xd800 && want <= 0xdfff;
        if (want < 0x80) {
            n = 1;
            p[0] = (unsigned char)want;
        } else if (want < 0x800) {
            n = 2;
            p[0] = (unsigned char)(0xc0 | want >> 6);
        } else if (want < 0x10000) {
            n = 3;
            p[0] = (unsigned char)(0xe0 | want >> 12);
        } else {
            n = 4;
            p[0] = (unsigned char)(0xf0 | want >> 18);
        }
        for (size_t i = 1; i < n; i++)
            p[i] = (unsigned char)(0x80 | (want >> (6 * (n - 1 - i)) & 0x3f));
        n -= str_utf8_next((struct str){(char *)p, n}, 0, &cp);
        if (is_surrogate)
            assert_true(cp == STR_BAD_UTF8 && n == 2);
        else
            assert_true(cp == want && n == 0);
    }
}

/* What a browser replaces by one U+FFFD each. */
static void
test_broken_utf8_is_taken_by_its_longest_beginning(void **state)
{
    uint32_t cp;
    (void)state;
    assert_int_equal(str_utf8_next(STR("\xe2\x82"), 0, &cp), 2);
    assert_int_equal(str_utf8_next(STR("\xe2\x82x"), 0, &cp), 2);
    assert_int_equal(str_utf8_next(STR("\xf0\x9f\x98x"), 0, &cp), 3);
    assert_int_equal(str_utf8_next(STR("\xed\xa0\x80"), 0, &cp), 1);
    assert_int_equal(str_utf8_next(STR("\xc3\xc3"), 0, &cp), 1);
    assert_int_equal(str_utf8_next(STR("x\xff"), 1, &cp), 1);
    assert_true(cp == STR_BAD_UTF8);
}

static void
test_items_are_cut_off_lists(void **state)
{
    struct str list = STR(" a\t, b c ,,d");
    (void)state;
    assert_true(str_eqz(str_cut(&list, ','), "a"));
    assert_true(str_eqz(str_cut(&list, ','), "b c"));
    assert_true(str_eqz(str_cut(&list, ','), ""));
    assert_true(str_eqz(list, "d"));
    assert_true(str_eqz(str_cut(&list, ','), "d"));
    assert_int_equal(list.len, 0);
    assert_true(str_eqz(str_cut(&list, ','), ""));
    assert_true(str_eqz(str_trim(STR(" \t ")), ""));
}

static void
test_every_result_code_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(rc_text(RC_OK), "ok");
    assert_string_equal(rc_text(RC_IO), "input/output error");
#define X(name, number, text) assert_string_equal(rc_text(RC_##name), text);
    RC_LIST(X)
#undef X
    assert_non_null(rc_text((enum rc)99));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_of_nothing_is_empty),
        cmocka_unit_test(test_slices_are_clamped),
        cmocka_unit_test(test_comparisons_count_every_byte),
        cmocka_unit_test(test_tokens_are_names_of_headers),
        cmocka_unit_test(test_dup_is_terminated),
        cmocka_unit_test(test_numbers_are_digits_in_bounds),
        cmocka_unit_test(test_utf8_is_strict),
        cmocka_unit_test(test_every_code_point_decodes),
        cmocka_unit_test(test_broken_utf8_is_taken_by_its_longest_beginning),
        cmocka_unit_test(test_items_are_cut_off_lists),
        cmocka_unit_test(test_every_result_code_has_a_text),
    };
    return cmocka_run_group_tests_name("base_str", tests, NULL, NULL);
}
