/*
 * core/sio/msgpack*.c: the vectors of tests/data/msgpack, whose maps were made by
 * socket.io-msgpack-parser 3.0.2; what that package never sends, and what is refused.
 *
 * Vectors: a packet as text (head and JSON) in one line, then its attachments in
 * hexadecimal, one a line. decode: from a map (input) to the packet (expect). encode:
 * from the packet (input) to a map in hexadecimal (expect).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/msgpack.h"

#include "core/sio/json.h"
#include "tests/unit/vector.h"

static const struct sio_limits LIMITS = {10, 64, 256, false};

static void
append_hex(struct buf *b, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        buf_append_f(b, "%02x", (unsigned char)bytes.p[i]);
}

static int
digit_of(char c)
{
    return c >= 'a' ? c - 'a' + 10 : c - '0';
}

/* Without white space. */
static void
append_unhex(struct buf *b, struct str hex)
{
    for (size_t i = 0; i + 1 < hex.len; i++)
        if (hex.p[i] > ' ') {
            buf_append_c(b, (char)(digit_of(hex.p[i]) << 4 | digit_of(hex.p[i + 1])));
            i++;
        }
}

/* Head, JSON, attachments. */
static void
describe(struct buf *b, const struct sio_packet *p, struct str attachments)
{
    struct sio_head h = {p->type, p->nsp, p->has_ack_id, p->ack_id,
                         (size_t)p->n_attachments};
    sio_head_encode(b, &h);
    buf_append_str(b, p->body);
    buf_append_c(b, '\n');
    while (attachments.len >= 4) {
        const unsigned char *n = (const unsigned char *)attachments.p;
        size_t len = (size_t)n[0] << 24 | (size_t)n[1] << 16 | (size_t)n[2] << 8 | n[3];
        append_hex(b, str_slice(attachments, 4, 4 + len));
        buf_append_c(b, '\n');
        attachments = str_slice(attachments, 4 + len, attachments.len);
    }
    assert_int_equal(attachments.len, 0);
}

static enum rc
decode(struct str bytes, const struct sio_limits *limits, struct buf *text)
{
    struct buf scratch = {0}, attachments = {0};
    struct sio_packet p = {0};
    enum rc rc = sio_msgpack_decode(bytes, limits, &scratch, &p, &attachments);
    if (rc == RC_OK) {
        describe(text, &p, buf_str(&attachments));
    } else {
        assert_null(p.nsp.p); /* untouched */
        assert_int_equal(attachments.len, 0);
    }
    buf_append_c(text, 0);
    buf_fini(&scratch);
    buf_fini(&attachments);
    return rc;
}

static void
run_decode(void **state)
{
    const struct vector *v = *state;
    struct buf got = {0};
    assert_true(sio_msgpack_is_map(v->input));
    assert_int_equal(decode(v->input, &LIMITS, &got), RC_OK);
    assert_string_equal(got.p, v->expect);
    buf_fini(&got);
}

static struct sio_head
head_of(const struct sio_packet *p)
{
    return (struct sio_head){p->type, p->nsp, p->has_ack_id, p->ack_id, 0};
}

static enum rc
encode(struct str text, struct str attachments, struct buf *out)
{
    struct sio_packet p;
    assert_int_equal(sio_packet_decode(text, &LIMITS, &p), RC_OK);
    struct sio_head h = head_of(&p);
    return sio_msgpack_encode(&h, p.body, attachments, out);
}

static void
run_encode(void **state)
{
    const struct vector *v = *state;
    size_t end = str_index(v->input, '\n');
    struct str rest = str_slice(v->input, end + 1, v->input.len);
    struct buf attachments = {0}, out = {0}, want = {0}, again = {0};
    while (rest.len > 0) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_append_c(&attachments, (char)(line.len / 2 >> shift));
        append_unhex(&attachments, line);
        rest = str_slice(rest, line.len + 1, rest.len);
    }
    append_unhex(&want, str_of(v->expect));
    assert_int_equal(encode(str_slice(v->input, 0, end), buf_str(&attachments), &out),
                     RC_OK);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.p, want.p, want.len);
    assert_int_equal(decode(buf_str(&out), &LIMITS, &again), RC_OK);
    assert_int_equal(again.len, v->input.len + 1);
    assert_memory_equal(again.p, v->input.p, v->input.len);
    buf_fini(&attachments);
    buf_fini(&out);
    buf_fini(&want);
    buf_fini(&again);
}

static enum rc
decode_hex(const char *hex, const struct sio_limits *limits, struct buf *text)
{
    struct buf bytes = {0};
    append_unhex(&bytes, str_of(hex));
    struct str exact = {memcpy(xmalloc(bytes.len + 1), bytes.p ? bytes.p : "", bytes.len),
                        bytes.len};
    exact.p = realloc((char *)exact.p, bytes.len + !bytes.len);
    enum rc rc = decode(exact, limits, text);
    free((char *)exact.p);
    buf_fini(&bytes);
    return rc;
}

/* {"type":2,"data":[1,item],"nsp":"/"} */
static struct str
event_of(struct buf *b, const char *item)
{
    append_unhex(b, STR("83a47479706502a4646174619201"));
    append_unhex(b, str_of(item));
    append_unhex(b, STR("a36e7370a12f"));
    return buf_str(b);
}

/* SIO-MSGPACK */
static void
test_other_encoders_are_understood(void **state)
{
    static const struct {
        const char *item, *json;
    } cases[] = {
        {"c0", "null"},
        {"cfffffffffffffffff", "18446744073709551615"},
        {"d38000000000000000", "-9223372036854775808"},
        {"cd0001", "1"}, /* not the shortest form */
        {"d07f", "127"},
        {"ca3fc00000", "1.5"},
        {"ca3dcccccd", "0.10000000149011612"}, /* as JavaScript writes it */
        {"cb4008000000000000", "3"},
        {"cb8000000000000000", "0"},
        {"cb433fffffffffffff", "9007199254740991"},
        {"cb0000000000000001", "5e-324"},
        {"cb3ff199999999999a", "1.1"},
        {"cb444b1ae4d6e2ef50", "1e+21"},
        {"cb7ff8000000000000", "null"},
        {"d6ff00000000", "\"1970-01-01T00:00:00.000Z\""},
        {"d6ffffffffff", "\"2106-02-07T06:28:15.000Z\""},
        {"d7ff0754d4c06553f100", "\"2023-11-14T22:13:20.030Z\""},
        {"c70cff00000000ffffffffffffffff", "\"1969-12-31T23:59:59.000Z\""},
        {"c70cff000000007fffffffffffffff", "null"},
        {"d7007fffffffffffffff", "null"},
        {"82a16101a16202", "{\"a\":1,\"b\":2}"},
        {"82010203a0", "{\"1\":2,\"3\":\"\"}"},
        {"81fea0", "{\"-2\":\"\"}"},
        {"de0001a16101", "{\"a\":1}"},
        {"df00000001a16101", "{\"a\":1}"},
        {"dc000101", "[1]"},
        {"dd00000000", "[]"},
        {"d90161", "\"a\""},
        {"da000161", "\"a\""},
        {"db0000000161", "\"a\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0}, got = {0}, want = {0};
        buf_append_f(&want, "2[1,%s]\n", cases[i].json);
        buf_append_c(&want, 0);
        if (decode(event_of(&b, cases[i].item), &LIMITS, &got) != RC_OK)
            fail_msg("refused: %s", cases[i].item);
        assert_string_equal(got.p, want.p);
        buf_fini(&b);
        buf_fini(&got);
        buf_fini(&want);
    }
}

static void
test_unknown_extensions_are_a_type_and_bytes(void **state)
{
    struct buf b = {0}, got = {0};
    (void)state;
    assert_int_equal(decode(event_of(&b, "92d505aabbc70301010203"), &LIMITS, &got),
                     RC_OK);
    assert_string_equal(got.p, "52-[1,[[5,{\"_placeholder\":true,\"num\":0}],"
                               "[1,{\"_placeholder\":true,\"num\":1}]]]\naabb\n010203\n");
    buf_fini(&b);
    buf_fini(&got);
}

static void
test_absent_members_may_be_nil(void **state)
{
    static const char *const maps[][2] = {
        {"84a47479706500a464617461c0a26964c0a36e7370a12f", "0\n"},
        {"83a464617461c0a36e7370a22f78a47479706501", "1/x,\n"},
        {"83a36e7370a12fa464617461d40000a474797065cb0000000000000000", "0\n"},
        {"84a36e7370a12fa26964cb4008000000000000a46461746190a47479706503", "33[]\n"},
        /* the last of two counts */
        {"84a47479706502a464617461c0a4646174619107a36e7370a12f", "2[7]\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        struct buf got = {0};
        assert_int_equal(decode_hex(maps[i][0], &LIMITS, &got), RC_OK);
        assert_string_equal(got.p, maps[i][1]);
        buf_fini(&got);
    }
}

static void
test_bad_packets_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "80", "c0", "93020304", "82a47479706500", /* ends early */
        "82a47479706500a36e7370a12f00",               /* goes on */
        "81a47479706500",                             /* no namespace */
        "81a36e7370a12f",                             /* no type */
        "82a47479706505a36e7370a12f",                 /* type 5 */
        "82a474797065ffa36e7370a12f",                 /* type -1 */
        "82a474797065a130a36e7370a12f",               /* type "0" */
        "82a474797065cb3fe0000000000000a36e7370a12f", /* type 0.5 */
        "82a4747970659100a36e7370a12f",               /* type [0] */
        "82a47479706500a36e7370c0",                   /* namespace nil */
        "82a47479706500a36e7370a0",                   /* namespace "" */
        "82a47479706500a36e7370a178",                 /* namespace "x" */
        "82a47479706500a36e7370a32f2c78",             /* namespace "/,x" */
        "82a47479706500a36e7370a22fff",               /* namespace not UTF-8 */
        "83a47479706500a46461746190a36e7370a12f",     /* CONNECT [] */
        "83a47479706500a46461746105a36e7370a12f",     /* CONNECT 5 */
        "83a47479706501a46461746105a36e7370a12f",     /* DISCONNECT 5 */
        "83a47479706501a46461746180a36e7370a12f",     /* DISCONNECT {} */
        "82a47479706502a36e7370a12f",                 /* EVENT without data */
        "83a47479706502a46461746180a36e7370a12f",     /* EVENT {} */
        "83a47479706502a46461746105a36e7370a12f",     /* EVENT 5 */
        "83a47479706502a464617461a161a36e7370a12f",   /* EVENT "a" */
        "83a47479706502a46461746190a36e7370a12f",     /* EVENT [] */
        "83a47479706502a46461746191c0a36e7370a12f",   /* EVENT [null] */
        "83a47479706502a46461746191a7636f6e6e656374a36e7370a12f", /* EVENT ["connect"] */
        "83a47479706502a46461746191c40100a36e7370a12f",           /* EVENT [bin] */
        "83a47479706502a46461746192a161a1ffa36e7370a12f",         /* not UTF-8 */
        "83a47479706502a46461746192a16181c0c0a36e7370a12f",       /* a key nil */
        "83a47479706502a46461746192a16181c4016101a36e7370a12f",   /* a key bin */
        "83a47479706502a46461746192a161c1a36e7370a12f",           /* c1 */
        "82a47479706503a36e7370a12f",                             /* ACK without data */
        "82a47479706504a36e7370a12f",             /* CONNECT_ERROR without data */
        "83a47479706504a46461746105a36e7370a12f", /* CONNECT_ERROR 5 */
        "84a47479706502a4646174619101a26964ffa36e7370a12f",                 /* id -1 */
        "84a47479706502a4646174619101a26964a131a36e7370a12f",               /* id "1" */
        "84a47479706502a4646174619101a26964cb3fe0000000000000a36e7370a12f", /* id 0.5 */
        "84a47479706502a4646174619101a26964cfffffffffffffffffa36e7370a12f", /* id huge */
        "83a47479706500a46461746181a161c40100a36e7370a12f", /* CONNECT with bin */
        /* a bin and {"_placeholder":true,"num":1} */
        "83a47479706502a4646174619301c4010082ac5f706c616365686f6c646572c3a36e756d01"
        "a36e7370a12f",
        /* lengths beyond the end */
        "dfffffffff", "83a47479706502a464617461ddffffffffa36e7370a12f",
        "83a47479706502a4646174619101a36e7370dbffffffff2f",
        "83a47479706502a4646174619201c6ffffffff00a36e7370a12f",
        "83a47479706502a4646174619201c9ffffffff0000a36e7370a12f",
        "83a47479706502a4646174619201d7ffee6b280000000000a36e7370a12f", /* 1e9 ns */
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf got = {0};
        if (decode_hex(bad[i], &LIMITS, &got) != RC_INVALID)
            fail_msg("not refused: %s", bad[i]);
        buf_fini(&got);
    }
}

static void
test_every_end_is_noticed(void **state)
{
    static const char whole[] = "85a47479706502a4646174619501c4020102d6ff00000000da0001"
                                "61cb3ff199999999999aa36e7370a12fa2696405a16ac7010900";
    struct buf got = {0};
    (void)state;
    assert_int_equal(decode_hex(whole, &LIMITS, &got), RC_OK);
    for (size_t n = 0; n + 2 < sizeof whole; n += 2) {
        struct str part = {whole, n};
        char *hex = str_dup(part);
        buf_clear(&got);
        assert_int_equal(decode_hex(hex, &LIMITS, &got), RC_INVALID);
        free(hex);
    }
    buf_fini(&got);
}

static void
test_limits_are_those_that_were_given(void **state)
{
    struct sio_limits l = {1, 3, 1, false};
    struct buf b = {0}, got = {0};
    (void)state;
    assert_int_equal(decode(event_of(&b, "9190"), &l, &got), RC_OK);
    buf_clear(&b);
    assert_int_equal(decode(event_of(&b, "919190"), &l, &got), RC_TOOBIG);
    buf_clear(&b);
    assert_int_equal(decode(event_of(&b, "91c40100"), &l, &got), RC_OK);
    buf_clear(&b);
    assert_int_equal(decode(event_of(&b, "92c40100c40100"), &l, &got), RC_INVALID);
    assert_int_equal(decode_hex("83a47479706502a46461746191a26162a36e7370a12f", &l, &got),
                     RC_TOOBIG);
    /* also in what is ignored */
    assert_int_equal(
        decode_hex("84a47479706502a4646174619101a36e7370a12fa1789191919190", &l, &got),
        RC_TOOBIG);
    buf_fini(&b);
    buf_fini(&got);
}

/* Each level of depth the deepest map may have, and one more. */
static void
test_depth_is_bounded(void **state)
{
    struct sio_limits deep = {10, 1 << 20, 256, false};
    (void)state;
    for (int more = 0; more <= 1; more++) {
        struct buf item = {0}, b = {0}, got = {0}, again = {0};
        for (int i = 0; i < SIO_JSON_DEPTH_MAX - 1 + more; i++)
            buf_append_z(&item, i + 1 < SIO_JSON_DEPTH_MAX - 1 + more ? "91" : "90");
        buf_append_c(&item, 0);
        enum rc rc = decode(event_of(&b, item.p), &deep, &got);
        assert_int_equal(rc, more ? RC_TOOBIG : RC_OK);
        if (rc == RC_OK) {
            struct sio_head h = {.type = SIO_EVENT};
            struct str json = {got.p + 1, got.len - 3};
            assert_int_equal(sio_msgpack_encode(&h, json, STR_NONE, &again), RC_OK);
            assert_int_equal(again.len, b.len);
            assert_memory_equal(again.p, b.p, b.len);
        }
        buf_fini(&item);
        buf_fini(&b);
        buf_fini(&got);
        buf_fini(&again);
    }
}

static void
assert_encoded(const char *json, struct str attachments, const char *hex)
{
    struct sio_head h = {.type = SIO_BINARY_EVENT, .nsp = STR("/")};
    struct buf out = {0}, got = {0};
    if (sio_msgpack_encode(&h, str_of(json), attachments, &out) != RC_OK)
        fail_msg("refused: %s", json);
    append_hex(&got, buf_str(&out));
    buf_append_c(&got, 0);
    struct str inside = str_slice(buf_str(&got), 24, got.len - 1);
    assert_true(str_has_prefix(buf_str(&got), STR("83a47479706502a464617461")));
    inside.len -= strlen("a36e7370a12f");
    char *z = str_dup(inside);
    assert_string_equal(z, hex);
    free(z);
    buf_fini(&out);
    buf_fini(&got);
}

static void
test_numbers_have_their_shortest_form(void **state)
{
    (void)state;
    assert_encoded("[18446744073709551615]", STR_NONE, "91cfffffffffffffffff");
    assert_encoded("[18446744073709551616]", STR_NONE, "91cb43f0000000000000");
    assert_encoded("[-9223372036854775807]", STR_NONE, "91d38000000000000001");
    assert_encoded("[-9223372036854775808]", STR_NONE, "91d38000000000000000");
    assert_encoded("[-9223372036854775809]", STR_NONE, "91d38000000000000000");
    assert_encoded("[1.0,1e3,-0,-0.0,-1e0,1E400,1e-400]", STR_NONE,
                   "9701cd03e80000ffcb7ff000000000000000");
    assert_encoded("[ 1 ,\t[ ] , { } , { \"a\" : 1 } ]", STR_NONE, "9401908081a16101");
    assert_encoded("[\"\\u0000\\ud83d\\ude00\\ud800\"]", STR_NONE,
                   "91a800f09f9880efbfbd");
}

static void
test_placeholders_are_their_attachments(void **state)
{
    struct str two = STR("\0\0\0\1a\0\0\0\2bc");
    (void)state;
    assert_encoded(
        "[{\"_placeholder\":true,\"num\":1},{\"num\":0,\"_placeholder\":true}]", two,
        "92c4026263c40161");
    assert_encoded(
        "[{\"\\u005fplaceholder\":true,\"x\":{\"_placeholder\":true,\"num\":1},"
        "\"num\":0}]",
        two, "91c40161");
    /* none of them */
    assert_encoded("[{\"_placeholder\":true,\"num\":2}]", two,
                   "9182ac5f706c616365686f6c646572c3a36e756d02");
    assert_encoded("[{\"_placeholder\":1,\"num\":0}]", two,
                   "9182ac5f706c616365686f6c64657201a36e756d00");
    assert_encoded("[{\"_placeholder\":true,\"num\":[0]}]", two,
                   "9182ac5f706c616365686f6c646572c3a36e756d9100");
    assert_encoded("[\"_placeholder\",true,\"num\",0]", two,
                   "94ac5f706c616365686f6c646572c3a36e756d00");
}

static void
test_long_containers_get_long_headers(void **state)
{
    static const size_t sizes[] = {15, 16, 65535, 65536};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int is_object = 0; is_object <= 1; is_object++) {
            struct sio_head h = {.type = SIO_EVENT};
            struct buf json = {0}, out = {0}, got = {0};
            buf_append_z(&json, is_object ? "[1,[1,{" : "[1,[1,[");
            for (size_t n = 0; n < sizes[i]; n++)
                buf_append_f(&json, is_object ? "%s\"%zu\":true" : "%s%zu", n ? "," : "",
                             n);
            buf_append_z(&json, is_object ? "}]]" : "]]]");
            assert_int_equal(sio_msgpack_encode(&h, buf_str(&json), STR_NONE, &out),
                             RC_OK);
            assert_int_equal(decode(buf_str(&out), &LIMITS, &got), RC_OK);
            assert_int_equal(got.len, json.len + 3);
            assert_memory_equal(got.p + 1, json.p, json.len);
            buf_fini(&json);
            buf_fini(&out);
            buf_fini(&got);
        }
}

static void
test_what_cannot_be_encoded_appends_nothing(void **state)
{
    static const struct {
        const char *json;
        enum rc rc;
    } cases[] = {
        {"[", RC_INVALID},       {"[1]]", RC_INVALID},      {"[1]2", RC_INVALID},
        {"{\"a\"}", RC_INVALID}, {"[\"\\x\"]", RC_INVALID}, {" ", RC_INVALID},
    };
    struct sio_head h = {.type = SIO_EVENT};
    struct buf out = {0}, many = {0}, attachments = {0};
    (void)state;
    buf_append_z(&out, "x");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(sio_msgpack_encode(&h, str_of(cases[i].json), STR_NONE, &out),
                         cases[i].rc);
        assert_int_equal(out.len, 1);
    }
    /* an attachment that is shared too often, or damaged */
    buf_append(&attachments, "\0\0\10\0", 4);
    memset(buf_reserve(&attachments, 2048), 'a', 2048);
    attachments.len += 2048;
    for (int i = 0; i < 20; i++)
        buf_append_f(&many, "%s{\"_placeholder\":true,\"num\":0}", i ? "," : "[");
    buf_append_c(&many, ']');
    assert_int_equal(sio_msgpack_encode(&h, buf_str(&many), buf_str(&attachments), &out),
                     RC_TOOBIG);
    attachments.len--;
    assert_int_equal(sio_msgpack_encode(&h, buf_str(&many), buf_str(&attachments), &out),
                     RC_INVALID);
    assert_int_equal(out.len, 1);
    buf_fini(&out);
    buf_fini(&many);
    buf_fini(&attachments);
}

static void
test_stored_parsers_never_change(void **state)
{
    (void)state;
    assert_int_equal(SIO_PARSER_JSON, 0);
    assert_int_equal(SIO_PARSER_MSGPACK, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_encoders_are_understood),
        cmocka_unit_test(test_unknown_extensions_are_a_type_and_bytes),
        cmocka_unit_test(test_absent_members_may_be_nil),
        cmocka_unit_test(test_bad_packets_are_refused),
        cmocka_unit_test(test_every_end_is_noticed),
        cmocka_unit_test(test_limits_are_those_that_were_given),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_numbers_have_their_shortest_form),
        cmocka_unit_test(test_placeholders_are_their_attachments),
        cmocka_unit_test(test_long_containers_get_long_headers),
        cmocka_unit_test(test_what_cannot_be_encoded_appends_nothing),
        cmocka_unit_test(test_stored_parsers_never_change),
    };
    int n_failed = cmocka_run_group_tests_name("sio_msgpack", tests, NULL, NULL) +
                   vector_run("tests/data/msgpack/decode", "expect", run_decode) +
                   vector_run("tests/data/msgpack/encode", "expect", run_encode);
    return n_failed != 0;
}
