/*
 * core/base/buf.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
assert_buf(struct buf *b, const char *want)
{
    if (!str_eqz(buf_str(b), want))
        fail_msg("got \"%.*s\", want \"%s\"", STR_ARG(buf_str(b)), want);
    buf_fini(b);
}

static void
test_zeroed_buffer_is_empty_and_usable(void **state)
{
    struct buf b = {0};
    (void)state;
    assert_int_equal(buf_str(&b).len, 0);
    buf_append(&b, NULL, 0);
    buf_append_str(&b, STR_NONE);
    buf_drop_front(&b, 0);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_non_null(buf_reserve(&b, 0));
    buf_fini(&b);
    buf_fini(&b);
    assert_null(b.p);
}

static void
test_appends_follow_each_other(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append(&b, "ab", 2);
    buf_append_z(&b, "cd");
    buf_append_c(&b, 'e');
    buf_append_str(&b, STR("fg"));
    buf_append_f(&b, "<%d %s>", 42, "x");
    assert_buf(&b, "abcdefg<42 x>");
}

static void
test_numbers_are_written_to_their_ends(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append_int(&b, 0);
    buf_append_c(&b, ' ');
    buf_append_int(&b, -7);
    buf_append_c(&b, ' ');
    buf_append_int(&b, INT64_MAX);
    buf_append_c(&b, ' ');
    buf_append_int(&b, INT64_MIN);
    assert_buf(&b, "0 -7 9223372036854775807 -9223372036854775808");
}

static void
test_format_grows_as_needed(void **state)
{
    struct buf b = {0};
    char big[1000];
    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    for (size_t n = 120; n < 135; n++) {
        buf_append_f(&b, "%s", big + sizeof big - 1 - n);
        assert_int_equal(b.len, n);
        buf_clear(&b);
    }
    buf_append_f(&b, "%s", big);
    assert_buf(&b, big);
}

static void
test_growth_keeps_the_bytes(void **state)
{
    struct buf b = {0};
    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_append_c(&b, (char)i);
    assert_int_equal(b.len, 100000);
    assert_true(b.cap >= b.len && b.cap < 4 * b.len);
    for (int i = 0; i < 100000; i++)
        if (b.p[i] != (char)i)
            fail_msg("byte %d", i);
    buf_drop_front(&b, 99999);
    assert_int_equal(b.len, 1);
    assert_int_equal((unsigned char)b.p[0], 99999 & 0xff);
    buf_fini(&b);
}

static void
test_taken_bytes_belong_to_the_caller(void **state)
{
    struct buf b = {0};
    size_t len = 9;
    char *z = buf_take(&b, &len);
    (void)state;
    assert_string_equal(z, "");
    assert_int_equal(len, 0);
    free(z);
    buf_append_z(&b, "ab");
    z = buf_take(&b, NULL);
    assert_string_equal(z, "ab");
    assert_null(b.p);
    assert_int_equal(b.len, 0);
    free(z);
}

static void
test_json_strings_are_escaped(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append_json(&b, STR("a\"\\/\b\t\n\f\r\x01\x1f\x7fz"), false);
    assert_buf(&b, "\"a\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7fz\"");
    buf_append_json(&b, STR_NONE, false);
    assert_buf(&b, "\"\"");
    buf_append_json(&b, STR("a\0b"), false);
    assert_buf(&b, "\"a\\u0000b\"");
    buf_append_json(&b, STR("é€😀"), false);
    assert_buf(&b, "\"é€😀\"");
    buf_append_json(&b, STR("é€😀x"), true);
    assert_buf(&b, "\"\\u00e9\\u20ac\\ud83d\\ude00x\"");
}

static void
test_json_strings_replace_what_is_not_utf8(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append_json(&b, STR("a\xff\xe2\x82z"), false);
    assert_buf(&b, "\"a\xef\xbf\xbd\xef\xbf\xbdz\"");
    buf_append_json(&b, STR("\xed\xa0\x80"), true);
    assert_buf(&b, "\"\\ufffd\\ufffd\\ufffd\"");
}

static void
test_base64_as_in_rfc_4648(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfb", "//77"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buf b = {0};
        buf_append_base64(&b, str_of(pairs[i][0]));
        assert_buf(&b, pairs[i][1]);
        assert_int_equal(buf_append_unbase64(&b, str_of(pairs[i][1])), RC_OK);
        assert_buf(&b, pairs[i][0]);
    }
}

static void
test_base64_of_every_byte_returns(void **state)
{
    struct buf b = {0}, back = {0};
    char all[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    for (size_t n = 0; n <= 256; n++) {
        buf_clear(&b);
        buf_clear(&back);
        buf_append_base64(&b, (struct str){all, n});
        assert_int_equal(b.len, (n + 2) / 3 * 4);
        assert_int_equal(buf_append_unbase64(&back, buf_str(&b)), RC_OK);
        assert_true(str_eq(buf_str(&back), (struct str){all, n}));
    }
    buf_fini(&b);
    buf_fini(&back);
}

static void
test_base64_padding_may_be_absent(void **state)
{
    struct buf b = {0};
    (void)state;
    assert_int_equal(buf_append_unbase64(&b, STR("Zg")), RC_OK);
    assert_int_equal(buf_append_unbase64(&b, STR("Zm8")), RC_OK);
    assert_buf(&b, "ffo");
}

static void
test_bad_base64_appends_nothing(void **state)
{
    static const char *const bad[] = {"Z",         "Zg=",    "Zg===",    "====",
                                      "=",         "==",     "Zg==Zg==", "Z-_8",
                                      "Zm9v Zm9v", "Zm9v\n", "Zm9\xff",  "Zm8=="};
    struct buf b = {0};
    (void)state;
    buf_append_c(&b, 'x');
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(buf_append_unbase64(&b, str_of(bad[i])), RC_INVALID);
        assert_int_equal(b.len, 1);
    }
    buf_fini(&b);
}

static void
test_form_text_is_decoded(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append_form(&b, STR("a+b%20c%2B%41%zz%4%"));
    assert_buf(&b, "a b c+A%zz%4%");
    buf_append_form(&b, STR_NONE);
    buf_append_form(&b, STR("%e2%82%aC"));
    assert_buf(&b, "€");
}

static void
test_code_points_become_utf8_and_escapes(void **state)
{
    struct buf b = {0};
    (void)state;
    buf_append_utf8(&b, 'a');
    buf_append_utf8(&b, 0xe9);
    buf_append_utf8(&b, 0x20ac);
    buf_append_utf8(&b, 0x1f600);
    buf_append_utf8(&b, STR_BAD_UTF8);
    assert_buf(&b, "aé€😀\xef\xbf\xbd");
    buf_append_u_escape(&b, 0x1f);
    buf_append_u_escape(&b, 0xffff);
    buf_append_u_escape(&b, 0x10ffff);
    buf_append_u_escape(&b, STR_BAD_UTF8);
    assert_buf(&b, "\\u001f\\uffff\\udbff\\udfff\\ufffd");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_buffer_is_empty_and_usable),
        cmocka_unit_test(test_appends_follow_each_other),
        cmocka_unit_test(test_numbers_are_written_to_their_ends),
        cmocka_unit_test(test_format_grows_as_needed),
        cmocka_unit_test(test_growth_keeps_the_bytes),
        cmocka_unit_test(test_taken_bytes_belong_to_the_caller),
        cmocka_unit_test(test_json_strings_are_escaped),
        cmocka_unit_test(test_json_strings_replace_what_is_not_utf8),
        cmocka_unit_test(test_base64_as_in_rfc_4648),
        cmocka_unit_test(test_base64_of_every_byte_returns),
        cmocka_unit_test(test_base64_padding_may_be_absent),
        cmocka_unit_test(test_bad_base64_appends_nothing),
        cmocka_unit_test(test_form_text_is_decoded),
        cmocka_unit_test(test_code_points_become_utf8_and_escapes),
    };
    return cmocka_run_group_tests_name("base_buf", tests, NULL, NULL);
}
