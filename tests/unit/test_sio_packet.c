/*
 * core/sio/packet.c: the vectors of tests/data/sio, and what a vector can't say.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/packet.h"

#include "core/sio/json.h"
#include "tests/unit/vector.h"

static const struct sio_limits LIMITS = {10, 64, 256, false};
static const struct sio_limits OLD_LIMITS = {10, 64, 256, true};

static void
add(struct buf *b, const char *name, struct str value)
{
    if (value.p == NULL)
        return;
    buf_append_f(b, value.len ? "%s " : "%s", name);
    buf_append_str(b, value);
    buf_append_c(b, '\n');
}

static void
describe(struct buf *b, const struct sio_packet *p)
{
    buf_append_f(b, "type %d\nnsp ", (int)p->type);
    buf_append_str(b, p->nsp);
    buf_append_c(b, '\n');
    if (p->query.len)
        add(b, "query", p->query);
    if (p->has_ack_id)
        buf_append_f(b, "ack_id %lld\n", (long long)p->ack_id);
    if (p->type == SIO_BINARY_EVENT || p->type == SIO_BINARY_ACK)
        buf_append_f(b, "attachments %lld\n", (long long)p->n_attachments);
    add(b, "event", p->event);
    add(b, "args", p->args);
    add(b, "body", p->body);
}

static void
run_vector(void **state)
{
    const struct vector *v = *state;
    bool is_old = strncmp(v->name, "old-", 4) == 0;
    struct sio_packet p = {0};
    struct buf got = {0};
    enum rc rc = sio_packet_decode(v->input, is_old ? &OLD_LIMITS : &LIMITS, &p);
    if (rc == RC_OK)
        describe(&got, &p);
    else
        buf_append_f(&got, "%s\n", rc_text(rc));
    buf_append_c(&got, 0);
    assert_string_equal(got.p, v->expect);
    if (rc != RC_OK)
        assert_null(p.nsp.p); /* untouched */
    buf_fini(&got);
}

static void
assert_head(struct sio_head h, const char *want)
{
    struct buf b = {0};
    sio_head_encode(&b, &h);
    buf_append_c(&b, 0);
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static void
test_head_leaves_out_what_is_default(void **state)
{
    (void)state;
    assert_head((struct sio_head){.type = SIO_EVENT, .nsp = STR("/")}, "2");
    assert_head((struct sio_head){.type = SIO_EVENT}, "2");
    assert_head((struct sio_head){.type = SIO_CONNECT, .nsp = STR("/chat")}, "0/chat,");
    assert_head((struct sio_head){SIO_ACK, STR("/"), true, 0, 0}, "30");
    assert_head((struct sio_head){SIO_ACK, STR("/"), true, 9007199254740992, 0},
                "39007199254740992");
    assert_head((struct sio_head){SIO_BINARY_EVENT, STR("/n"), true, 7, 2}, "52-/n,7");
    assert_head((struct sio_head){SIO_BINARY_ACK, STR("/"), true, 7, 1}, "61-7");
    assert_head((struct sio_head){SIO_EVENT, STR("/"), false, 7, 3}, "2");
}

/* SIO-EVENT-NAME, SIO-JSON */
static void
test_limits_are_those_that_were_given(void **state)
{
    struct sio_limits l = {3, 2, 1, false};
    struct sio_packet p;
    (void)state;
    assert_int_equal(sio_packet_decode(STR("53-[\"a\"]"), &l, &p), RC_OK);
    assert_int_equal(sio_packet_decode(STR("54-[\"a\"]"), &l, &p), RC_INVALID);
    assert_int_equal(sio_packet_decode(STR("2[\"a\",[]]"), &l, &p), RC_OK);
    assert_int_equal(sio_packet_decode(STR("2[\"a\",[[]]]"), &l, &p), RC_TOOBIG);
    assert_int_equal(sio_packet_decode(STR("2[\"ab\"]"), &l, &p), RC_TOOBIG);
    assert_int_equal(sio_packet_decode(STR("2[7]"), &l, &p), RC_OK);
    assert_int_equal(sio_packet_decode(STR("2[77]"), &l, &p), RC_TOOBIG);
}

static void
test_limit_of_the_event_name_spares_acks(void **state)
{
    struct sio_limits l = {3, 2, 1, false};
    struct sio_packet p;
    (void)state;
    assert_int_equal(sio_packet_decode(STR("31[\"abc\"]"), &l, &p), RC_OK);
}

static void
test_packet_borrows_from_the_text(void **state)
{
    struct str text = STR("2/chat,1[\"a\",\"b\"]");
    struct sio_packet p;
    (void)state;
    assert_int_equal(sio_packet_decode(text, &LIMITS, &p), RC_OK);
    assert_ptr_equal(p.nsp.p, text.p + 1);
    assert_ptr_equal(p.body.p, text.p + 8);
    assert_ptr_equal(p.event.p, text.p + 9);
    assert_ptr_equal(p.args.p, text.p + 13);
}

static void
test_args_iterate_as_values(void **state)
{
    struct sio_packet p;
    enum sio_json_kind kind;
    struct str value;
    (void)state;
    assert_int_equal(
        sio_packet_decode(STR("2[\"a\", 1 ,{\"b\":[2,3]},\"c,d\"]"), &LIMITS, &p), RC_OK);
    assert_int_equal(sio_json_next(&p.args, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_NUMBER && str_eqz(value, "1"));
    assert_int_equal(sio_json_next(&p.args, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_OBJECT && str_eqz(value, "{\"b\":[2,3]}"));
    assert_int_equal(sio_json_next(&p.args, &kind, &value), RC_OK);
    assert_true(kind == SIO_JSON_STRING && str_eqz(value, "\"c,d\""));
    assert_int_equal(sio_json_next(&p.args, &kind, &value), RC_NOTFOUND);
}

static void
test_placeholders_in_range_pass(void **state)
{
    static const char *const good[] = {
        "[\"b\",{\"_placeholder\":true,\"num\":0}]",
        "[{\"num\":1,\"_placeholder\":true},{\"_placeholder\":true,\"num\":0}]",
        "[{\"a\":[{\"_placeholder\":true,\"num\":1}]}]",
        "[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
        "[ { \"_placeholder\" : true , \"num\" : 1 } ]",
        "[{\"\\u005fplaceholder\":true,\"\\u006eum\":1}]",
        "[{\"_placeholder\":true,\"num\":9,\"num\":1}]",
        "[{\"_placeholder\":false,\"num\":9}]",
        "[{\"_placeholder\":1,\"num\":9}]",
        "[{\"_placeholder\":\"true\",\"num\":9}]",
        "[{\"_placeholder\":true,\"num\":9,\"_placeholder\":null}]",
        "[{\"placeholder\":true,\"num\":9}]",
        "[\"_placeholder\",true,\"num\",9]",
        "[\"{\\\"_placeholder\\\":true,\\\"num\\\":9}\"]",
        /* nobody looks inside a placeholder */
        "[{\"_placeholder\":true,\"num\":0,\"x\":{\"_placeholder\":true,\"num\":9}}]",
        "[{\"x\":{\"_placeholder\":true,\"num\":9},\"num\":0,\"_placeholder\":true}]",
        "[]",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (sio_placeholders_check(str_of(good[i]), 2) != RC_OK)
            fail_msg("refused: %s", good[i]);
}

/* SIO-PLACEHOLDER */
static void
test_placeholders_out_of_range_are_refused(void **state)
{
    static const char *const bad[] = {
        "[{\"_placeholder\":true,\"num\":2}]",
        "[{\"_placeholder\":true,\"num\":-1}]",
        "[{\"_placeholder\":true,\"num\":\"0\"}]",
        "[{\"_placeholder\":true,\"num\":null}]",
        "[{\"_placeholder\":true,\"num\":[0]}]",
        "[{\"_placeholder\":true,\"num\":0.5}]",
        "[{\"_placeholder\":true,\"num\":99999999999999999999}]",
        "[{\"_placeholder\":true}]",
        "[{\"a\":{\"b\":[[{\"_placeholder\":true,\"num\":2}]]}}]",
        "[{\"_placeholder\":true,\"num\":0,\"num\":2}]",
        "[{\"_placeholder\":true,\"num\":0,\"num\":{}}]",
        "[{\"\\u005fplaceholder\":true,\"num\":2}]",
        "[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":2}]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sio_placeholders_check(str_of(bad[i]), 2) != RC_INVALID)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(
        sio_placeholders_check(STR("[{\"_placeholder\":true,\"num\":0}]"), 0),
        RC_INVALID);
}

/* The check guards itself where the body was not scanned before. */
static void
test_placeholder_check_of_unscanned_text_ends(void **state)
{
    struct buf b = {0};
    (void)state;
    for (int i = 0; i <= SIO_JSON_DEPTH_MAX; i++)
        buf_append_c(&b, '[');
    assert_int_equal(sio_placeholders_check(buf_str(&b), 1), RC_TOOBIG);
    assert_int_equal(sio_placeholders_check(STR("[\"a"), 1), RC_INVALID);
    assert_int_equal(sio_placeholders_check(STR("{\"num\":x]}}]"), 1), RC_OK);
    buf_fini(&b);
}

/* SIO-EVENT-NAME */
static void
test_reserved_events_are_found_behind_escapes(void **state)
{
    static const char *const reserved[] = {
        "\"connect\"",       "\"connect_error\"",      "\"disconnect\"",
        "\"disconnecting\"", "\"newListener\"",        "\"removeListener\"",
        "\"\\u0063onnect\"", "\"connect\\u005ferror\""};
    static const char *const free_names[] = {"\"\"",
                                             "\"connection\"",
                                             "\"Connect\"",
                                             "\"connect \"",
                                             "\"connec\"",
                                             "\"message\"",
                                             "\"newlistener\"",
                                             "42",
                                             "\"\\\\u0063onnect\"",
                                             "\"",
                                             ""};
    (void)state;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        assert_true(sio_event_is_reserved(str_of(reserved[i])));
    for (size_t i = 0; i < sizeof free_names / sizeof free_names[0]; i++)
        assert_false(sio_event_is_reserved(str_of(free_names[i])));
}

/* SIO-REASON */
static void
test_reasons_are_spelled_as_on_the_wire(void **state)
{
    (void)state;
    assert_string_equal(sio_reason_text(SIO_R_PING_TIMEOUT), "ping timeout");
    assert_string_equal(sio_reason_text(SIO_R_NONE), "");
    for (int i = 1; i <= 9; i++) {
        const char *text = sio_reason_text((enum sio_reason)i);
        assert_int_equal(sio_reason_find(str_of(text)), i);
    }
    assert_int_equal(sio_reason_find(STR("")), SIO_R_NONE);
    assert_int_equal(sio_reason_find(STR("ping")), SIO_R_NONE);
}

static void
test_stored_reasons_never_change(void **state)
{
    (void)state;
    assert_int_equal(SIO_R_CLIENT_NSP, 1);
    assert_int_equal(SIO_R_SERVER_NSP, 2);
    assert_int_equal(SIO_R_SHUTTING_DOWN, 3);
    assert_int_equal(SIO_R_PING_TIMEOUT, 4);
    assert_int_equal(SIO_R_TRANSPORT_CLOSE, 5);
    assert_int_equal(SIO_R_TRANSPORT_ERROR, 6);
    assert_int_equal(SIO_R_PARSE_ERROR, 7);
    assert_int_equal(SIO_R_FORCED_CLOSE, 8);
    assert_int_equal(SIO_R_FORCED_SERVER_CLOSE, 9);
}

/* SIO-RECOVERY-REASON */
static void
test_only_losses_are_recoverable(void **state)
{
    (void)state;
    for (int i = 0; i <= 9; i++) {
        bool want = i == SIO_R_TRANSPORT_ERROR || i == SIO_R_TRANSPORT_CLOSE ||
                    i == SIO_R_FORCED_CLOSE || i == SIO_R_PING_TIMEOUT ||
                    i == SIO_R_SHUTTING_DOWN || i == SIO_R_FORCED_SERVER_CLOSE;
        assert_int_equal(sio_reason_is_recoverable((enum sio_reason)i), want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_leaves_out_what_is_default),
        cmocka_unit_test(test_limits_are_those_that_were_given),
        cmocka_unit_test(test_limit_of_the_event_name_spares_acks),
        cmocka_unit_test(test_packet_borrows_from_the_text),
        cmocka_unit_test(test_args_iterate_as_values),
        cmocka_unit_test(test_placeholders_in_range_pass),
        cmocka_unit_test(test_placeholders_out_of_range_are_refused),
        cmocka_unit_test(test_placeholder_check_of_unscanned_text_ends),
        cmocka_unit_test(test_reserved_events_are_found_behind_escapes),
        cmocka_unit_test(test_reasons_are_spelled_as_on_the_wire),
        cmocka_unit_test(test_stored_reasons_never_change),
        cmocka_unit_test(test_only_losses_are_recoverable),
    };
    int n_failed = cmocka_run_group_tests_name("sio_packet", tests, NULL, NULL) +
                   vector_run("tests/data/sio/valid", "expect", run_vector) +
                   vector_run("tests/data/sio/invalid", "error", run_vector);
    return n_failed != 0;
}
