/*
 * core/eio/payload.c: the vectors of tests/data/eio, and what a vector can't say.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/payload.h"

#include "tests/unit/vector.h"

static const char *const TYPE_NAMES[] = {"open",    "close",   "ping", "pong",
                                         "message", "upgrade", "noop"};

static void
describe(struct buf *b, const struct eio_packet *p)
{
    buf_append_f(b, "%s %s ", TYPE_NAMES[p->type], p->is_binary ? "binary" : "text");
    if (p->is_binary)
        buf_append_base64(b, p->data);
    else
        buf_append_str(b, p->data);
    buf_append_c(b, '\n');
}

/* The packets of a vector, a line each, and how reading ended. */
static void
run_vector(void **state)
{
    const struct vector *v = *state;
    struct eio_payload_reader r = {0};
    struct eio_packet p;
    struct buf got = {0};
    enum rc rc;
    eio_payload_read_init(&r, v->name[1] == '4' ? 4 : 3,
                          strstr(v->name, "octets") != NULL, v->input);
    while ((rc = eio_payload_read(&r, &p)) == RC_OK)
        describe(&got, &p);
    if (r.is_double_utf8)
        buf_append_z(&got, "session double\n");
    if (r.is_single_utf8)
        buf_append_z(&got, "session single\n");
    if (rc != RC_NOTFOUND)
        buf_append_f(&got, "%s\n", rc_text(rc));
    buf_append_c(&got, 0);
    assert_string_equal(got.p, v->expect);
    assert_int_equal(eio_payload_read(&r, &p), rc); /* and stays so */
    eio_payload_read_fini(&r);
    buf_fini(&got);
}

static void
assert_str(struct str got, const char *want, size_t len)
{
    if (got.len != len || (len && memcmp(got.p, want, len) != 0))
        fail_msg("got \"%.*s\" (%zu bytes), want \"%s\" (%zu bytes)", STR_ARG(got),
                 got.len, want, len);
}

static struct eio_packet
decoded(int protocol, bool is_binary, struct str message)
{
    struct eio_packet p = {0};
    assert_int_equal(eio_packet_decode(protocol, is_binary, message, &p), RC_OK);
    return p;
}

static void
test_websocket_text_is_a_packet(void **state)
{
    struct eio_packet p = decoded(4, false, STR("2probe"));
    (void)state;
    assert_int_equal(p.type, EIO_PING);
    assert_false(p.is_binary);
    assert_str(p.data, "probe", 5);
    p = decoded(3, false, STR("4€"));
    assert_int_equal(p.type, EIO_MESSAGE);
    assert_str(p.data, "€", 3);
    p = decoded(4, false, STR("6"));
    assert_int_equal(p.type, EIO_NOOP);
    assert_str(p.data, "", 0);
}

static void
test_websocket_binary_of_revision_4_has_no_head(void **state)
{
    struct eio_packet p = decoded(4, true, STR("\x04\xff"));
    (void)state;
    assert_int_equal(p.type, EIO_MESSAGE);
    assert_true(p.is_binary);
    assert_str(p.data, "\x04\xff", 2);
    assert_str(decoded(4, true, STR_NONE).data, "", 0);
}

static void
test_websocket_binary_of_revision_3_begins_with_its_type(void **state)
{
    struct eio_packet p = decoded(3, true, STR("\x04\xff"));
    (void)state;
    assert_int_equal(p.type, EIO_MESSAGE);
    assert_true(p.is_binary);
    assert_str(p.data, "\xff", 1);
    assert_int_equal(eio_packet_decode(3, true, STR_NONE, &p), RC_INVALID);
    assert_int_equal(eio_packet_decode(3, true, STR("\x02probe"), &p), RC_INVALID);
    assert_int_equal(eio_packet_decode(3, true, STR("4a"), &p), RC_INVALID);
}

static void
test_websocket_text_that_is_refused(void **state)
{
    static const char *const bad[] = {"", "7", "x", "bAQID", "b4AQID", "4\xff", " 4"};
    struct eio_packet p = {.type = EIO_NOOP};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(eio_packet_decode(4, false, str_of(bad[i]), &p), RC_INVALID);
        assert_int_equal(eio_packet_decode(3, false, str_of(bad[i]), &p), RC_INVALID);
    }
    assert_int_equal(p.type, EIO_NOOP); /* untouched */
}

static void
test_websocket_base64_goes_through_the_scratch(void **state)
{
    struct buf scratch = {0};
    struct eio_packet p;
    (void)state;
    assert_int_equal(eio_packet_decode_base64(4, false, STR("bAQID"), &scratch, &p),
                     RC_OK);
    assert_true(p.is_binary);
    assert_str(p.data, "\1\2\3", 3);
    assert_int_equal(eio_packet_decode_base64(3, false, STR("b4/w=="), &scratch, &p),
                     RC_OK);
    assert_str(p.data, "\xff", 1);
    assert_int_equal(eio_packet_decode_base64(3, false, STR("b5/w=="), &scratch, &p),
                     RC_INVALID);
    assert_int_equal(eio_packet_decode_base64(4, false, STR("4x"), &scratch, &p), RC_OK);
    assert_str(p.data, "x", 1);
    buf_fini(&scratch);
}

/* The caller keeps what it has learnt about a session. */
static void
test_known_client_generation_is_not_guessed_again(void **state)
{
    static const char doubled[] = "4:4\xc3\xa2\xc2\x82\xc2\xac";
    struct eio_payload_reader r = {.is_single_utf8 = true};
    struct eio_packet p;
    (void)state;
    eio_payload_read_init(&r, 3, false, STR("4:4\xc3\xa2\xc2\x82\xc2\xac"));
    assert_int_equal(eio_payload_read(&r, &p), RC_OK);
    assert_str(p.data, doubled + 3, 6);
    eio_payload_read_fini(&r);
    r = (struct eio_payload_reader){.is_double_utf8 = true};
    eio_payload_read_init(&r, 3, false, STR("4:4\xc3\xa2\xc2\x82\xc2\xac"));
    assert_int_equal(eio_payload_read(&r, &p), RC_OK);
    assert_str(p.data, "€", 3);
    assert_true(r.is_double_utf8);
    eio_payload_read_fini(&r);
}

static void
test_a_wide_character_proves_a_2x_client(void **state)
{
    struct eio_payload_reader r = {.is_double_utf8 = true};
    struct eio_packet p;
    (void)state;
    eio_payload_read_init(&r, 3, false, STR("2:4€"));
    assert_int_equal(eio_payload_read(&r, &p), RC_OK);
    assert_str(p.data, "€", 3);
    assert_false(r.is_double_utf8);
    assert_true(r.is_single_utf8);
    eio_payload_read_fini(&r);
}

/* A 1.x client writes a lone surrogate as three bytes that are not UTF-8. */
static void
test_lone_surrogate_of_a_1x_client_is_replaced(void **state)
{
    struct eio_payload_reader r = {.is_double_utf8 = true};
    struct eio_packet p;
    (void)state;
    eio_payload_read_init(&r, 3, false, STR("5:4a\xc3\xad\xc2\xa0\xc2\x80"));
    assert_int_equal(eio_payload_read(&r, &p), RC_OK);
    assert_true(str_is_utf8(p.data));
    assert_str(p.data, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 10);
    assert_true(r.is_double_utf8);
    eio_payload_read_fini(&r);
}

static void
test_base64_of_a_1x_client_never_reads_its_own_scratch(void **state)
{
    struct eio_payload_reader r = {.is_double_utf8 = true};
    struct eio_packet p;
    (void)state;
    eio_payload_read_init(&r, 3, false, STR("4:b4\xc3\xa2\xc2\x82"));
    assert_int_equal(eio_payload_read(&r, &p), RC_INVALID);
    eio_payload_read_fini(&r);
}

static const struct eio_packet MESSAGE = {EIO_MESSAGE, false, {"a€😀", 8}};
static const struct eio_packet BINARY = {EIO_MESSAGE, true, {"\1\2\3\4", 4}};
static const struct eio_packet NOOP = {EIO_NOOP, false, {NULL, 0}};

/* EIO-PAYLOAD */
static void
test_payload_of_revision_4_is_joined_by_separators(void **state)
{
    struct buf b = {0};
    (void)state;
    eio_payload_append(&b, 4, 0, &MESSAGE);
    eio_payload_append(&b, 4, 1, &BINARY);
    eio_payload_append(&b, 4, 2, &NOOP);
    assert_str(buf_str(&b),
               "4a€😀\x1e"
               "bAQIDBA==\x1e"
               "6",
               9 + 1 + 9 + 1 + 1);
    buf_fini(&b);
}

static void
test_payload_of_revision_3_counts_utf16_units(void **state)
{
    struct buf b = {0};
    (void)state;
    eio_payload_append(&b, 3, 0, &MESSAGE);
    eio_payload_append(&b, 3, 1, &BINARY);
    eio_payload_append(&b, 3, 2, &NOOP);
    assert_str(buf_str(&b), "5:4a€😀10:b4AQIDBA==1:6", 11 + 13 + 3);
    buf_fini(&b);
}

static void
test_octets_count_bytes(void **state)
{
    struct buf b = {0};
    struct eio_packet long_one = {EIO_MESSAGE, false, STR("123456789012")};
    (void)state;
    eio_payload_append_octets(&b, &MESSAGE);
    eio_payload_append_octets(&b, &BINARY);
    eio_payload_append_octets(&b, &long_one);
    assert_str(buf_str(&b),
               "\0\x09\xff"
               "4a€😀"
               "\1\5\xff\4\1\2\3\4"
               "\0\1\3\xff"
               "4123456789012",
               12 + 8 + 4 + 13);
    buf_fini(&b);
}

static void
test_written_payload_reads_back(void **state)
{
    const struct eio_packet *const packets[] = {&MESSAGE, &BINARY, &NOOP};
    (void)state;
    for (int form = 0; form < 3; form++) {
        struct buf b = {0};
        struct eio_payload_reader r = {.is_single_utf8 = true};
        struct eio_packet p;
        for (size_t i = 0; i < 3; i++) {
            if (form == 2)
                eio_payload_append_octets(&b, packets[i]);
            else
                eio_payload_append(&b, form == 0 ? 4 : 3, i, packets[i]);
        }
        eio_payload_read_init(&r, form == 0 ? 4 : 3, form == 2, buf_str(&b));
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(eio_payload_read(&r, &p), RC_OK);
            assert_int_equal(p.type, packets[i]->type);
            assert_int_equal(p.is_binary, packets[i]->is_binary);
            assert_true(str_eq(p.data, packets[i]->data));
        }
        assert_int_equal(eio_payload_read(&r, &p), RC_NOTFOUND);
        eio_payload_read_fini(&r);
        buf_fini(&b);
    }
}

/* EIO-OPEN */
static void
test_open_packet_spells_the_handshake(void **state)
{
    struct buf b = {0};
    struct eio_open o = {"Zk3_-x", true, 25000, 20000, 1000000};
    (void)state;
    eio_open_encode(&b, &o);
    assert_str(buf_str(&b),
               "{\"sid\":\"Zk3_-x\",\"upgrades\":[\"websocket\"],"
               "\"pingInterval\":25000,\"pingTimeout\":20000,"
               "\"maxPayload\":1000000}",
               103);
    buf_clear(&b);
    o.can_upgrade = false;
    eio_open_encode(&b, &o);
    assert_non_null(memmem(b.p, b.len, "\"upgrades\":[],", 14));
    buf_fini(&b);
}

static void
test_jsonp_answer_is_ascii_javascript(void **state)
{
    struct buf b = {0};
    (void)state;
    eio_jsonp_wrap(&b, STR("12"), STR("4\"\\\n€\xe2\x80\xa8\x1e"));
    assert_str(buf_str(&b), "___eio[12](\"4\\\"\\\\\\n\\u20ac\\u2028\\u001e\");", 40);
    buf_fini(&b);
}

static void
assert_unwrapped(const char *form, const char *want)
{
    struct buf b = {0};
    assert_int_equal(eio_jsonp_unwrap(str_of(form), &b), RC_OK);
    assert_str(buf_str(&b), want, strlen(want));
    buf_fini(&b);
}

/* EIO-JSONP */
static void
test_jsonp_form_becomes_a_payload(void **state)
{
    (void)state;
    assert_unwrapped("d=4hello", "4hello");
    assert_unwrapped("d=4%22a+b%22%E2%82%AC", "4\"a b\"€");
    assert_unwrapped("x=1&d=4a&y", "4a");
    assert_unwrapped("d=", "");
    assert_unwrapped("d", "");
    assert_unwrapped("d=4%", "4%");
    assert_unwrapped("d=4%2", "4%2");
    assert_unwrapped("d=4%zz", "4%zz");
}

static void
test_jsonp_newlines_are_unescaped_in_one_pass(void **state)
{
    (void)state;
    assert_unwrapped("d=a\\nb", "a\nb");
    assert_unwrapped("d=a\\\\nb", "a\\nb");
    assert_unwrapped("d=a\\\\\\nb", "a\\\\nb");
    assert_unwrapped("d=\\n\\n\\\\n", "\n\n\\n");
    assert_unwrapped("d=\\", "\\");
    assert_unwrapped("d=%5Cn", "\n");
}

static void
test_jsonp_form_without_one_d_is_refused(void **state)
{
    static const char *const bad[] = {"", "x=1", "dd=4a", "D=4a", "d=4a&d=4b", "&"};
    struct buf b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(eio_jsonp_unwrap(str_of(bad[i]), &b), RC_INVALID);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_websocket_text_is_a_packet),
        cmocka_unit_test(test_websocket_binary_of_revision_4_has_no_head),
        cmocka_unit_test(test_websocket_binary_of_revision_3_begins_with_its_type),
        cmocka_unit_test(test_websocket_text_that_is_refused),
        cmocka_unit_test(test_websocket_base64_goes_through_the_scratch),
        cmocka_unit_test(test_known_client_generation_is_not_guessed_again),
        cmocka_unit_test(test_a_wide_character_proves_a_2x_client),
        cmocka_unit_test(test_lone_surrogate_of_a_1x_client_is_replaced),
        cmocka_unit_test(test_base64_of_a_1x_client_never_reads_its_own_scratch),
        cmocka_unit_test(test_payload_of_revision_4_is_joined_by_separators),
        cmocka_unit_test(test_payload_of_revision_3_counts_utf16_units),
        cmocka_unit_test(test_octets_count_bytes),
        cmocka_unit_test(test_written_payload_reads_back),
        cmocka_unit_test(test_open_packet_spells_the_handshake),
        cmocka_unit_test(test_jsonp_answer_is_ascii_javascript),
        cmocka_unit_test(test_jsonp_form_becomes_a_payload),
        cmocka_unit_test(test_jsonp_newlines_are_unescaped_in_one_pass),
        cmocka_unit_test(test_jsonp_form_without_one_d_is_refused),
    };
    int n_failed = cmocka_run_group_tests_name("eio_payload", tests, NULL, NULL) +
                   vector_run("tests/data/eio/valid", "expect", run_vector) +
                   vector_run("tests/data/eio/invalid", "error", run_vector);
    return n_failed != 0;
}
