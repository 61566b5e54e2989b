/*
 * core/engine/relay.c: bodies from formats and from what clients sent; names of events.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/sio/json.h"

#define PLACEHOLDER(n) "{\"_placeholder\":true,\"num\":" #n "}"

struct fixture {
    struct cfg cfg;
    struct engine e; /* no store: what is tested comes before it */
    struct work w;
    struct app_call c;
    struct call_event ev;
    struct buf attachments; /* "a", "bb", "ccc" */
    struct call_answer answers[3];
    struct body b;
};

static int
set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    store_packet_append_attachment(&f->attachments, STR("a"));
    store_packet_append_attachment(&f->attachments, STR("bb"));
    store_packet_append_attachment(&f->attachments, STR("ccc"));
    cfg_init(&f->cfg);
    f->e.cfg = &f->cfg;
    f->w.e = &f->e;
    f->w.may_go_direct = true;
    f->c.w = &f->w;
    f->c.k = work_socket_add(&f->w, 5, "/", STR("id"));
    f->c.ev = &f->ev;
    f->c.nsp_name = "/";
    f->c.has_answers = true; /* nothing to be read */
    body_init(&f->b);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    while (f->c.tos != NULL) {
        struct app_to *t = f->c.tos;
        f->c.tos = t->next;
        free(t->rooms.p);
    }
    while (f->c.loans != NULL) {
        struct call_loan *l = f->c.loans;
        f->c.loans = l->next;
        free(l);
    }
    free(f->c.error_text);
    work_fini(&f->w);
    cfg_fini(&f->cfg);
    buf_fini(&f->attachments);
    body_fini(&f->b);
    free(f);
    return 0;
}

static enum rc
format(struct fixture *f, const char *fmt, ...)
{
    va_list args;
    body_fini(&f->b);
    body_init(&f->b);
    va_start(args, fmt);
    enum rc rc = body_format(&f->c, &f->b, fmt, args);
    va_end(args);
    return rc;
}

/* The packet's body, its attachments joined by blanks, and whether it is binary. */
static void
assert_packet(struct fixture *f, const char *body, const char *attachments)
{
    struct store_packet *p = body_packet(&f->b, false);
    struct buf joined = {0};
    struct str one, value, rest;
    enum sio_json_kind kind;
    size_t pos = 0;
    while (store_packet_attachment(p->attachments, &pos, &one) == RC_OK) {
        if (joined.len)
            buf_append_c(&joined, ' ');
        buf_append_str(&joined, one);
    }
    if (!str_eqz(p->body, body))
        fail_msg("got %.*s, want %s", STR_ARG(p->body), body);
    assert_int_equal(sio_json_scan(p->body, 64, &kind, &value, &rest), RC_OK);
    assert_int_equal(rest.len, 0);
    if (!str_eqz(buf_str(&joined), attachments))
        fail_msg("got %.*s, want %s", STR_ARG(buf_str(&joined)), attachments);
    assert_int_equal(p->kind, joined.len ? STORE_BINARY_EVENT : STORE_EVENT);
    assert_int_equal(p->ack_id, -1);
    buf_fini(&joined);
    store_packet_unref(p);
}

static void
test_each_letter_makes_its_value(void **state)
{
    struct fixture *f = *state;
    json_t *borrowed = json_pack("{s:i}", "k", 1);
    assert_int_equal(format(f, "ss", "a\"\n", NULL), RC_OK);
    assert_packet(f, "[\"a\\\"\\n\",null]", "");
    assert_int_equal(format(f, "S", "a\0bc", (size_t)3), RC_OK);
    assert_packet(f, "[\"a\\u0000b\"]", "");
    assert_int_equal(format(f, "iii", INT64_MIN, (int64_t)0, INT64_MAX), RC_OK);
    assert_packet(f, "[-9223372036854775808,0,9223372036854775807]", "");
    assert_int_equal(format(f, "ffff", 0.5, 1e300, -3.0, 0.0), RC_OK);
    assert_packet(f, "[0.5,1.0000000000000001e+300,-3,0]", "");
    assert_int_equal(format(f, "bbn", 1, 0), RC_OK);
    assert_packet(f, "[true,false,null]", "");
    assert_int_equal(format(f, "jjJJ", json_string("x"), NULL, borrowed, NULL), RC_OK);
    assert_packet(f, "[\"x\",null,{\"k\":1},null]", "");
    assert_int_equal(format(f, "BB", "xy", (size_t)2, NULL, (size_t)0), RC_OK);
    assert_packet(f, "[" PLACEHOLDER(0) "," PLACEHOLDER(1) "]", "xy ");
    assert_int_equal(format(f, ""), RC_OK);
    assert_packet(f, "[]", "");
    json_decref(borrowed);
}

static void
test_numbers_that_json_has_no_word_for_are_null(void **state)
{
    struct fixture *f = *state;
    volatile double zero = 0;
    assert_int_equal(format(f, "fff", 1 / zero, -1 / zero, zero / zero), RC_OK);
    assert_packet(f, "[null,null,null]", "");
}

static void
test_text_that_is_not_utf8_is_mended(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(format(f, "s", "a\xff"), RC_OK);
    assert_packet(f, "[\"a\xef\xbf\xbd\"]", "");
}

static void
test_lists_and_objects_nest(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(format(f, "{ss si} [] {} [i[i]{s[b]}] n", "id", "x", "n", (int64_t)3,
                            (int64_t)1, (int64_t)2, "k", 1),
                     RC_OK);
    assert_packet(f, "[{\"id\":\"x\",\"n\":3},[],{},[1,[2],{\"k\":[true]}],null]", "");
    assert_int_equal(format(f, "{s{sB}}", "a", "b", "x", (size_t)1), RC_OK);
    assert_packet(f, "[{\"a\":{\"b\":" PLACEHOLDER(0) "}}]", "x");
}

static void
test_format_that_is_no_json_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(format(f, "x"), RC_INVALID);
    assert_int_equal(format(f, "["), RC_INVALID);
    assert_int_equal(format(f, "]"), RC_INVALID);
    assert_int_equal(format(f, "[}"), RC_INVALID);
    assert_int_equal(format(f, "{]"), RC_INVALID);
    assert_int_equal(format(f, "{s}", "k"), RC_INVALID);
    assert_int_equal(format(f, "{sis}", "k", (int64_t)1, "l"), RC_INVALID);
}

static void
test_key_is_text(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(format(f, "{ii}", (int64_t)1, (int64_t)2), RC_INVALID);
    assert_int_equal(format(f, "{ni}", (int64_t)2), RC_INVALID);
    assert_int_equal(format(f, "{si[]i}", "k", (int64_t)1, (int64_t)2), RC_INVALID);
    assert_int_equal(format(f, "{si}", NULL, (int64_t)2), RC_INVALID);
    assert_int_equal(format(f, "{Si}", "kk", (size_t)1, (int64_t)2), RC_OK);
    assert_packet(f, "[{\"k\":2}]", "");
}

static void
test_nesting_has_an_end(void **state)
{
    struct fixture *f = *state;
    char fmt[2 * BODY_DEPTH_MAX + 1];
    memset(fmt, 0, sizeof fmt);
    memset(fmt, '[', BODY_DEPTH_MAX - 1);
    memset(fmt + BODY_DEPTH_MAX - 1, ']', BODY_DEPTH_MAX - 1);
    assert_int_equal(format(f, fmt), RC_OK);
    memset(fmt, '[', BODY_DEPTH_MAX);
    memset(fmt + BODY_DEPTH_MAX, ']', BODY_DEPTH_MAX);
    assert_int_equal(format(f, fmt), RC_TOOBIG);
}

static void
test_value_that_cannot_be_encoded_is_refused(void **state)
{
    struct fixture *f = *state;
    json_t *loop = json_array();
    json_t *inner = json_array();
    json_array_append_new(loop, inner);
    json_array_append(inner, loop);
    assert_int_equal(format(f, "J", loop), RC_INVALID);
    json_array_clear(inner);
    json_decref(loop);
}

static void
test_arguments_are_relayed_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    f->ev.args = STR("1.0e5, \"\\ud800\" ,{\"a\" : [1,2]}");
    assert_int_equal(format(f, "A", (size_t)0), RC_OK);
    assert_packet(f, "[1.0e5, \"\\ud800\" ,{\"a\" : [1,2]}]", "");
    assert_int_equal(format(f, "sAi", "x", (size_t)1, (int64_t)7), RC_OK);
    assert_packet(f, "[\"x\",\"\\ud800\" ,{\"a\" : [1,2]},7]", "");
    assert_int_equal(format(f, "iA", (int64_t)7, (size_t)3), RC_OK);
    assert_packet(f, "[7]", "");
    f->c.ev = NULL;
    f->c.args = NULL;
    f->c.has_args = false;
    f->c.n_args = 0;
    assert_int_equal(format(f, "A", (size_t)0), RC_OK);
    assert_packet(f, "[]", "");
}

static void
test_relayed_placeholders_are_numbered_anew(void **state)
{
    struct fixture *f = *state;
    f->ev.args = STR("1,{\"x\":" PLACEHOLDER(2) "},[" PLACEHOLDER(0) ",\"{\\\"_\"]");
    f->ev.attachments = buf_str(&f->attachments);
    assert_int_equal(format(f, "BA", "new", (size_t)3, (size_t)0), RC_OK);
    assert_packet(f,
                  "[" PLACEHOLDER(0) ",1,{\"x\":" PLACEHOLDER(1) "},[" PLACEHOLDER(
                      2) ",\"{\\\"_\"]]",
                  "new ccc a");
    assert_int_equal(format(f, "AB", (size_t)2, "new", (size_t)3), RC_OK);
    assert_packet(f, "[[" PLACEHOLDER(0) ",\"{\\\"_\"]," PLACEHOLDER(1) "]", "a new");
}

static void
test_arguments_relayed_twice_stay_apart(void **state)
{
    struct fixture *f = *state;
    f->ev.args = STR(PLACEHOLDER(1));
    f->ev.attachments = buf_str(&f->attachments);
    assert_int_equal(format(f, "A[A]", (size_t)0, (size_t)0), RC_OK);
    assert_packet(f, "[" PLACEHOLDER(0) ",[" PLACEHOLDER(1) "]]", "bb bb");
}

/* As sio_placeholders_check() and the reference see them. */
static void
test_placeholder_is_known_however_it_is_written(void **state)
{
    struct fixture *f = *state;
    body_relay(
        &f->b,
        STR("{ \"num\" :                        2, \"_placeholder\" : true },"
            "{\"\\u005fplaceholder\":true,\"num\":0},"
            "{\"more\":\"than twenty bytes of it\",\"_placeholder\":true,\"num\":1}"),
        buf_str(&f->attachments));
    assert_packet(f, "[" PLACEHOLDER(0) "," PLACEHOLDER(1) "," PLACEHOLDER(2) "]",
                  "ccc a bb");
}

static void
test_what_only_looks_like_a_placeholder_is_left_alone(void **state)
{
    struct fixture *f = *state;
    const char *items = "{\"_placeholder\":false,\"num\":0},{\"_placeholder\":true},"
                        "{\"_placeholder\":true,\"num\":3},"
                        "\"{\\\"_placeholder\\\":true,\\\"num\\\":0}\\\\\"";
    char want[200];
    body_relay(&f->b, str_of(items), buf_str(&f->attachments));
    snprintf(want, sizeof want, "[%s]", items);
    assert_packet(f, want, "");
}

/* Else a packet of some kB makes one of some GB. */
static void
test_shared_attachment_goes_along_once(void **state)
{
    struct fixture *f = *state;
    body_relay(
        &f->b,
        STR(PLACEHOLDER(1) "," PLACEHOLDER(0) "," PLACEHOLDER(1) "," PLACEHOLDER(1)),
        buf_str(&f->attachments));
    assert_packet(
        f,
        "[" PLACEHOLDER(0) "," PLACEHOLDER(1) "," PLACEHOLDER(0) "," PLACEHOLDER(0) "]",
        "bb a");
}

static void
test_object_takes_one_relayed_value(void **state)
{
    struct fixture *f = *state;
    f->ev.args = STR("1,[2]");
    assert_int_equal(format(f, "{sA}", "k", (size_t)1), RC_OK);
    assert_packet(f, "[{\"k\":[2]}]", "");
    assert_int_equal(format(f, "{sA}", "k", (size_t)0), RC_INVALID);
    assert_int_equal(format(f, "{sA}", "k", (size_t)2), RC_INVALID);
    assert_int_equal(format(f, "{s[A]}", "k", (size_t)0), RC_OK);
    assert_packet(f, "[{\"k\":[1,[2]]}]", "");
}

static void
test_answers_are_relayed_one_or_all(void **state)
{
    struct fixture *f = *state;
    f->answers[0] = (struct call_answer){.next = &f->answers[1], .args = STR("1,2")};
    f->answers[1] = (struct call_answer){.next = &f->answers[2]};
    f->answers[2] = (struct call_answer){.args = STR(PLACEHOLDER(1) ",3"),
                                         .attachments = buf_str(&f->attachments)};
    f->c.answers = f->answers;
    f->c.n_answers = 3;
    assert_int_equal(format(f, "RRRR", (size_t)0, (size_t)1, (size_t)2, (size_t)3),
                     RC_OK);
    assert_packet(f, "[1,2," PLACEHOLDER(0) ",3]", "bb");
    assert_int_equal(format(f, "sL", "x"), RC_OK);
    assert_packet(f, "[\"x\",[1,null," PLACEHOLDER(0) "]]", "bb");
    assert_int_equal(format(f, "{sLs[R]}", "k", "l", (size_t)0), RC_OK);
    assert_packet(f, "[{\"k\":[1,null," PLACEHOLDER(0) "],\"l\":[1,2]}]", "bb");
    f->c.answers = NULL;
    assert_int_equal(format(f, "L"), RC_OK);
    assert_packet(f, "[[]]", "");
}

static void
test_ack_is_an_ack(void **state)
{
    struct fixture *f = *state;
    struct store_packet *p;
    assert_int_equal(format(f, "i", (int64_t)1), RC_OK);
    p = body_packet(&f->b, true);
    assert_int_equal(p->kind, STORE_ACK);
    store_packet_unref(p);
    assert_int_equal(format(f, "B", "x", (size_t)1), RC_OK);
    p = body_packet(&f->b, true);
    assert_int_equal(p->kind, STORE_BINARY_ACK);
    store_packet_unref(p);
}

static void
test_reserved_names_are_not_emitted(void **state)
{
    static const char *const names[] = {
        "connect",     "connect_error",  "disconnect", "disconnecting",
        "newListener", "removeListener", NULL};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        app_emit(app_all(&f->c), names[i], "");
        assert_int_equal(app_error(&f->c), RC_INVALID);
        free(f->c.error_text);
        f->c.error_text = NULL;
        f->c.error = RC_OK;
        app_ask(app_all(&f->c), 1, "later", NULL, names[i], "");
        assert_int_equal(app_error(&f->c), RC_INVALID);
        free(f->c.error_text);
        f->c.error_text = NULL;
        f->c.error = RC_OK;
    }
}

static void
test_any_other_name_is_emitted(void **state)
{
    static const char *const names[] = {"",      "connected", "Connect",
                                        "error", "message",   "\"\xc3\xa4"};
    static const char *const bodies[] = {"[\"\"]",        "[\"connected\"]",
                                         "[\"Connect\"]", "[\"error\"]",
                                         "[\"message\"]", "[\"\\\"\xc3\xa4\"]"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        app_emit(app_sender(&f->c), names[i], "");
        assert_int_equal(app_error(&f->c), RC_OK);
        assert_int_equal(f->w.n_direct, i + 1);
        assert_true(str_eqz(f->w.direct[i].p->body, bodies[i]));
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_each_letter_makes_its_value),
        T(test_numbers_that_json_has_no_word_for_are_null),
        T(test_text_that_is_not_utf8_is_mended),
        T(test_lists_and_objects_nest),
        T(test_format_that_is_no_json_is_refused),
        T(test_key_is_text),
        T(test_nesting_has_an_end),
        T(test_value_that_cannot_be_encoded_is_refused),
        T(test_arguments_are_relayed_byte_for_byte),
        T(test_relayed_placeholders_are_numbered_anew),
        T(test_arguments_relayed_twice_stay_apart),
        T(test_placeholder_is_known_however_it_is_written),
        T(test_what_only_looks_like_a_placeholder_is_left_alone),
        T(test_shared_attachment_goes_along_once),
        T(test_object_takes_one_relayed_value),
        T(test_answers_are_relayed_one_or_all),
        T(test_ack_is_an_ack),
        T(test_reserved_names_are_not_emitted),
        T(test_any_other_name_is_emitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
