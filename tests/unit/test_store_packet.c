/*
 * store/packet.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "store/packet.h"

static void
test_packet_owns_copies(void **state)
{
    char body[] = "[\"a\"]", bytes[] = "xyz";
    struct store_packet *p =
        store_packet_create(STORE_BINARY_EVENT, str_of(body), str_of(bytes));
    (void)state;
    memset(body, 0, sizeof body);
    memset(bytes, 0, sizeof bytes);
    assert_true(str_eqz(p->body, "[\"a\"]"));
    assert_true(str_eqz(p->attachments, "xyz"));
    assert_int_equal(p->ack_id, -1);
    assert_int_equal(p->seq, 0);
    assert_ptr_equal(store_packet_ref(p), p);
    store_packet_unref(p);
    store_packet_unref(p);
    store_packet_unref(NULL);
}

static int n_freed;

static void
count_free(struct store_wire *wire)
{
    (void)wire;
    n_freed++;
}

static void
test_wire_is_freed_with_the_last_reference(void **state)
{
    struct store_packet *p = store_packet_create(STORE_EVENT, STR_NONE, STR_NONE);
    (void)state;
    struct store_wire wire = {count_free};
    p->wire = &wire;
    store_packet_ref(p);
    store_packet_unref(p);
    assert_int_equal(n_freed, 0);
    store_packet_unref(p);
    assert_int_equal(n_freed, 1);
}

static void
test_attachments_come_back_in_order(void **state)
{
    struct buf b = {0};
    struct str out;
    size_t pos = 0;
    (void)state;
    store_packet_append_attachment(&b, STR("one"));
    store_packet_append_attachment(&b, STR_NONE);
    store_packet_append_attachment(&b, STR("three"));
    assert_int_equal(store_packet_attachment(buf_str(&b), &pos, &out), RC_OK);
    assert_true(str_eqz(out, "one"));
    assert_int_equal(store_packet_attachment(buf_str(&b), &pos, &out), RC_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(store_packet_attachment(buf_str(&b), &pos, &out), RC_OK);
    assert_true(str_eqz(out, "three"));
    assert_int_equal(store_packet_attachment(buf_str(&b), &pos, &out), RC_NOTFOUND);
    buf_fini(&b);
}

static void
test_damaged_attachments_are_refused(void **state)
{
    struct str out, too_long = STR("\0\0\0\5abcd"), cut = STR("\0\0\0");
    size_t pos = 0;
    (void)state;
    assert_int_equal(store_packet_attachment(too_long, &pos, &out), RC_INVALID);
    assert_int_equal(store_packet_attachment(cut, &pos, &out), RC_INVALID);
    assert_int_equal(pos, 0);
}

static void
test_keys_survive_their_text(void **state)
{
    int64_t keys[] = {store_key(STORE_TO_ROOM, 7),
                      store_key(STORE_TO_SOCKET, 12345678901), store_key(STORE_TO_NSP, 1),
                      store_key(STORE_TO_SESSION, 3)};
    int64_t *got = NULL;
    struct buf b = {0};
    size_t n = 0;
    (void)state;
    store_packet_encode_keys(&b, keys, 4);
    assert_true(str_eqz(buf_str(&b), "r7,s12345678901,n1,c3"));
    assert_int_equal(store_packet_decode_keys(buf_str(&b), &got, &n), RC_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(got, keys, sizeof keys);
    free(got);
    buf_fini(&b);
}

static void
test_bad_keys_are_refused(void **state)
{
    static const char *const BAD[] = {
        "x1",  "r",   "r1,", ",r1", "r1,,s2",
        "r-1", "r1 ", "7",   ",",   "r99999999999999999999"};
    int64_t *got = NULL;
    size_t n = 99;
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(store_packet_decode_keys(str_of(BAD[i]), &got, &n), RC_INVALID);
    assert_int_equal(n, 99);
    assert_int_equal(store_packet_decode_keys(STR_NONE, &got, &n), RC_OK);
    assert_int_equal(n, 0);
    assert_null(got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packet_owns_copies),
        cmocka_unit_test(test_wire_is_freed_with_the_last_reference),
        cmocka_unit_test(test_attachments_come_back_in_order),
        cmocka_unit_test(test_damaged_attachments_are_refused),
        cmocka_unit_test(test_keys_survive_their_text),
        cmocka_unit_test(test_bad_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
