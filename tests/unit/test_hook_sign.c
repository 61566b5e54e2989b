/*
 * core/hook/sign.c: the signature of an event, and where its key comes from.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/hook/sign.h"

static struct cfg c;
static struct buf secret, err;
static char file[] = "/tmp/siolite-sign-XXXXXX";

static int
set_up(void **state)
{
    (void)state;
    cfg_init(&c);
    free(c.hook_secret_file);
    c.hook_secret_file = xstrdup(file);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    cfg_fini(&c);
    buf_fini(&secret);
    buf_fini(&err);
    return 0;
}

static void
write_file(const char *text, size_t len)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
}

/* By: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef */
static void
test_signature_is_that_of_openssl(void **state)
{
    char text[HOOK_SIGNATURE_LEN + 1];
    (void)state;
    assert_int_equal(
        hook_sign(STR("0123456789abcdef"), 1700000000, STR("{\"a\":1}"), text), RC_OK);
    assert_string_equal(
        text, "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23");
}

static void
test_key_is_the_first_line_of_the_file(void **state)
{
    (void)state;
    write_file("0123456789abcdef\r\nmore\n", 23);
    assert_int_equal(hook_sign_load(&c, &secret, &err), RC_OK);
    assert_true(str_eqz(buf_str(&secret), "0123456789abcdef"));
}

static void
test_short_and_endless_keys_are_refused(void **state)
{
    char *line = xcalloc(1, 5000);
    (void)state;
    memset(line, 'x', 5000);
    write_file("0123456789abcde\n", 16);
    assert_int_equal(hook_sign_load(&c, &secret, &err), RC_INVALID);
    assert_non_null(strstr(err.p, "its first line is no key"));
    write_file(line, 5000);
    assert_int_equal(hook_sign_load(&c, &secret, &err), RC_INVALID);
    assert_int_equal(secret.len, 0);
    free(line);
}

static void
test_missing_file_is_named(void **state)
{
    (void)state;
    unlink(file);
    assert_int_equal(hook_sign_load(&c, &secret, &err), RC_NOTFOUND);
    assert_non_null(strstr(err.p, file));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_signature_is_that_of_openssl),
        T(test_key_is_the_first_line_of_the_file),
        T(test_short_and_endless_keys_are_refused),
        T(test_missing_file_is_named),
    };
    int fd = mkstemp(file);
    if (fd >= 0)
        close(fd);
    int n = cmocka_run_group_tests_name("hook_sign", tests, NULL, NULL);
    unlink(file);
    return n;
}
