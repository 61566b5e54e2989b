/*
 * core/engine/wire.c and frame.c: a row as the frames of each form of client.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/log.h"

enum { EPOCH = 3 };

static struct store_packet *
row(enum store_kind kind, const char *body)
{
    struct store_packet *p = store_packet_create(kind, str_of(body), STR_NONE);
    p->seq = 70;
    return p;
}

/* With the attachments "\1\2" and "". */
static struct store_packet *
binary_row(enum store_kind kind, const char *body)
{
    struct buf attachments = {0};
    store_packet_append_attachment(&attachments, STR("\1\2"));
    store_packet_append_attachment(&attachments, STR_NONE);
    struct store_packet *p =
        store_packet_create(kind, str_of(body), buf_str(&attachments));
    p->seq = 70;
    buf_fini(&attachments);
    return p;
}

static void
assert_frame(const struct frame *f, bool is_binary, struct str want)
{
    assert_non_null(f);
    assert_int_equal(f->is_binary, is_binary);
    if (!str_eq((struct str){f->data, f->len}, want))
        fail_msg("got %.*s, want %.*s", (int)f->len, f->data, STR_ARG(want));
}

/* One frame of text; takes the row. */
static void
assert_text_take(struct store_packet *p, const char *nsp, enum wire_form form,
                 const char *want)
{
    struct frame *f = wire_frames(p, str_of(nsp), form, EPOCH);
    assert_frame(f, false, str_of(want));
    assert_null(f->next);
    store_packet_unref(p);
}

static void
test_each_kind_has_its_head(void **state)
{
    struct store_packet *p;
    (void)state;
    assert_text_take(row(STORE_EVENT, "[\"x\",1]"), "/", WIRE_V4, "42[\"x\",1]");
    assert_text_take(row(STORE_EVENT, "[\"x\"]"), "/b", WIRE_V4, "42/b,[\"x\"]");
    assert_text_take(row(STORE_CONNECT, "{\"sid\":\"a\"}"), "/", WIRE_V4,
                     "40{\"sid\":\"a\"}");
    assert_text_take(row(STORE_DISCONNECT, ""), "/b", WIRE_V4, "41/b,");
    assert_text_take(row(STORE_CONNECT_ERROR, "{\"message\":\"no\"}"), "/b", WIRE_V4,
                     "44/b,{\"message\":\"no\"}");
    p = row(STORE_ACK, "[1]");
    p->ack_id = 0;
    assert_text_take(p, "/b", WIRE_V4, "43/b,0[1]");
    p = row(STORE_EVENT, "[\"x\"]");
    p->is_ask = true;
    assert_text_take(p, "/", WIRE_V4, "4270[\"x\"]");
    assert_text_take(row(STORE_PONG, ""), "/", WIRE_V4, "3");
}

static void
test_control_rows_have_no_frames(void **state)
{
    static const enum store_kind kinds[] = {STORE_JOIN, STORE_LEAVE, STORE_LOST,
                                            STORE_GONE, STORE_CLOSE, STORE_NOOP,
                                            STORE_WAKE};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct store_packet *p = row(kinds[i], "x");
        assert_null(wire_frames(p, STR("/"), WIRE_V4, EPOCH));
        store_packet_unref(p);
    }
}

static void
test_events_that_may_be_missed_carry_their_offset(void **state)
{
    enum wire_form form = WIRE_V4_OFFSET;
    struct store_packet *p;
    (void)state;
    assert_text_take(row(STORE_EVENT, "[\"x\",1]"), "/", form, "42[\"x\",1,\"3.70\"]");
    assert_text_take(row(STORE_EVENT, "[]"), "/", form, "42[\"3.70\"]");
    p = row(STORE_EVENT, "[\"x\"]");
    p->is_volatile = true;
    assert_text_take(p, "/", form, "42[\"x\"]");
    p = row(STORE_EVENT, "[\"x\"]");
    p->is_ask = true;
    assert_text_take(p, "/", form, "4270[\"x\"]");
    p = row(STORE_ACK, "[1]");
    p->ack_id = 5;
    assert_text_take(p, "/", form, "435[1]");
    assert_text_take(row(STORE_CONNECT, "{}"), "/", form, "40{}");
    p = binary_row(STORE_BINARY_EVENT, "[\"x\"]");
    assert_frame(wire_frames(p, STR("/"), form, EPOCH), false,
                 STR("452-[\"x\",\"3.70\"]"));
    store_packet_unref(p);
}

static void
test_attachments_follow_as_frames_of_their_own(void **state)
{
    struct store_packet *p = binary_row(STORE_BINARY_EVENT, "[\"x\"]");
    struct frame *f;
    (void)state;
    p->is_plain = true;
    f = wire_frames(p, STR("/"), WIRE_V4, EPOCH);
    assert_frame(f, false, STR("452-[\"x\"]"));
    assert_frame(f->next, true, STR("\1\2"));
    assert_frame(f->next->next, true, STR_NONE);
    assert_null(f->next->next->next);
    assert_true(f->is_plain && f->next->is_plain && f->next->next->is_plain);
    f = wire_frames(p, STR("/"), WIRE_V3, EPOCH);
    assert_frame(f->next, true, STR("\4\1\2"));
    assert_frame(f->next->next, true, STR("\4"));
    f = wire_frames(p, STR("/"), WIRE_V4_BASE64, EPOCH);
    assert_frame(f, false, STR("452-[\"x\"]"));
    assert_frame(f->next, false, STR("bAQI="));
    assert_frame(f->next->next, false, STR("b"));
    f = wire_frames(p, STR("/"), WIRE_V3_BASE64, EPOCH);
    assert_frame(f->next, false, STR("b4AQI="));
    f = wire_frames(p, STR("/"), WIRE_V4_OFFSET_BASE64, EPOCH);
    assert_frame(f, false, STR("452-[\"x\",\"3.70\"]"));
    store_packet_unref(p);
}

static void
test_old_clients_get_ascii_and_a_bare_connect(void **state)
{
    (void)state;
    assert_text_take(row(STORE_EVENT, "[\"\xc3\xa4\xf0\x9f\x98\x80\"]"), "/", WIRE_V3,
                     "42[\"\\u00e4\\ud83d\\ude00\"]");
    assert_text_take(row(STORE_CONNECT, "{\"sid\":\"a\"}"), "/", WIRE_V3, "40");
    assert_text_take(row(STORE_CONNECT_ERROR, "\"no\""), "/", WIRE_V3, "44\"no\"");
}

static void
test_msgpack_clients_get_one_binary_message(void **state)
{
    struct store_packet *p = binary_row(
        STORE_BINARY_EVENT,
        "[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]");
    struct frame *f = wire_frames(p, STR("/"), WIRE_MSGPACK, EPOCH);
    (void)state;
    assert_frame(f, true,
                 STR("\x83\xa4"
                     "type\x02\xa4"
                     "data\x93\xa1x\xc4\x02\1\2\xc4\x00\xa3nsp\xa1/"));
    assert_null(f->next);
    f = wire_frames(p, STR("/"), WIRE_MSGPACK_OFFSET, EPOCH);
    assert_frame(f, true,
                 STR("\x83\xa4"
                     "type\x02\xa4"
                     "data\x94\xa1x\xc4\x02\1\2\xc4\x00\xa4"
                     "3.70\xa3nsp\xa1/"));
    f = wire_frames(p, STR("/"), WIRE_MSGPACK_BASE64, EPOCH);
    assert_int_equal(f->is_binary, false);
    assert_int_equal(f->data[0], 'b');
    store_packet_unref(p);
}

static void
test_row_that_msgpack_cannot_say_is_a_noop(void **state)
{
    (void)state;
    assert_text_take(row(STORE_EVENT, "[\"x\""), "/", WIRE_MSGPACK, "6");
}

/* The namespace of a refusal may be one that does not exist. */
static void
test_refusal_of_an_unknown_namespace_names_it(void **state)
{
    struct store_packet *p = row(STORE_CONNECT_ERROR, "/nix,{\"message\":\"no\"}");
    (void)state;
    assert_frame(wire_frames(p, STR("/"), WIRE_V4, EPOCH), false,
                 STR("44/nix,{\"message\":\"no\"}"));
    assert_frame(wire_frames(p, STR("/"), WIRE_MSGPACK, EPOCH), true,
                 STR("\x83\xa4"
                     "type\x04\xa4"
                     "data\x81\xa7message\xa2no\xa3nsp\xa4/nix"));
    store_packet_unref(p);
}

static void
test_frames_are_made_once_and_live_as_long_as_somebody_has_them(void **state)
{
    struct store_packet *p = binary_row(STORE_BINARY_EVENT, "[\"x\"]");
    struct frame *f = wire_frames(p, STR("/"), WIRE_V4, EPOCH);
    (void)state;
    assert_ptr_equal(wire_frames(p, STR("/"), WIRE_V4, EPOCH), f);
    assert_ptr_not_equal(wire_frames(p, STR("/"), WIRE_V4_OFFSET, EPOCH), f);
    frame_ref(f);
    store_packet_unref(p);
    assert_frame(f, false, STR("452-[\"x\"]"));
    assert_frame(f->next, true, STR("\1\2"));
    frame_unref(f);
    frame_unref(NULL);
}

static void
test_frames_of_a_row_for_one_client_are_forgotten(void **state)
{
    struct store_packet *p = row(STORE_EVENT, "[\"x\"]");
    struct frame *f;
    (void)state;
    wire_forget(p); /* none were made */
    p->to_kind = STORE_TO_ROOM;
    f = wire_frames(p, STR("/"), WIRE_V4, EPOCH);
    wire_forget(p);
    assert_ptr_equal(wire_frames(p, STR("/"), WIRE_V4, EPOCH), f);
    p->to_kind = STORE_TO_SOCKET;
    frame_ref(f);
    wire_forget(p);
    assert_frame(f, false, STR("42[\"x\"]")); /* who has it keeps it */
    frame_unref(f);
    assert_text_take(p, "/", WIRE_V4, "42[\"x\"]");
}

static void
test_frames_join_a_payload(void **state)
{
    struct store_packet *a = row(STORE_EVENT, "[\"\xc3\xa4\"]"),
                        *b = binary_row(STORE_BINARY_EVENT, "[\"x\"]");
    struct buf payload = {0};
    size_t n = 0;
    (void)state;
    wire_payload_append(&payload, WIRE_V4, &n, wire_frames(a, STR("/"), WIRE_V4, EPOCH));
    wire_payload_append(&payload, WIRE_V4, &n, wire_frames(b, STR("/"), WIRE_V4, EPOCH));
    assert_int_equal(n, 4);
    assert_true(str_eqz(buf_str(&payload), "42[\"\xc3\xa4\"]\x1e"
                                           "452-[\"x\"]\x1e"
                                           "bAQI=\x1e"
                                           "b"));
    buf_clear(&payload);
    n = 0;
    wire_payload_append(&payload, WIRE_V3, &n, wire_frames(a, STR("/"), WIRE_V3, EPOCH));
    wire_payload_append(&payload, WIRE_V3, &n, wire_frames(b, STR("/"), WIRE_V3, EPOCH));
    assert_true(
        str_eqz(buf_str(&payload), "12:42[\"\\u00e4\"]9:452-[\"x\"]6:b4AQI=2:b4"));
    assert_false(wire_has_binary(wire_frames(a, STR("/"), WIRE_V3, EPOCH)));
    assert_true(wire_has_binary(wire_frames(b, STR("/"), WIRE_V3, EPOCH)));
    buf_clear(&payload);
    wire_payload_append_octets(&payload, wire_frames(b, STR("/"), WIRE_V3, EPOCH));
    assert_true(str_eq(buf_str(&payload), STR("\0\11\377"
                                              "452-[\"x\"]\1\3\377\4\1\2\1\1\377\4")));
    buf_fini(&payload);
    store_packet_unref(a);
    store_packet_unref(b);
}

static int
set_up(void **state)
{
    (void)state;
    log_set_level((enum log_level) - 1);
    return 0;
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_has_its_head),
        cmocka_unit_test(test_control_rows_have_no_frames),
        cmocka_unit_test(test_events_that_may_be_missed_carry_their_offset),
        cmocka_unit_test(test_attachments_follow_as_frames_of_their_own),
        cmocka_unit_test(test_old_clients_get_ascii_and_a_bare_connect),
        cmocka_unit_test(test_msgpack_clients_get_one_binary_message),
        cmocka_unit_test(test_row_that_msgpack_cannot_say_is_a_noop),
        cmocka_unit_test(test_refusal_of_an_unknown_namespace_names_it),
        cmocka_unit_test(test_frames_are_made_once_and_live_as_long_as_somebody_has_them),
        cmocka_unit_test(test_frames_of_a_row_for_one_client_are_forgotten),
        cmocka_unit_test(test_frames_join_a_payload),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
