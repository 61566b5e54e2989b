/*
 * core/engine/action.c and binary.c: verbs as JSON on a whole store, and binary data in
 * JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

#include "core/engine/action.h"
#include "core/engine/binary.h"

struct place {
    struct fx fx;
    struct store *st;
    struct buf err, json, attachments;
    struct fx_rows rows;
};

static int
set_up(void **state)
{
    struct place *t = xcalloc(1, sizeof *t);
    fx_open(&t->fx);
    t->st = fx_store_open(&t->fx, &t->rows);
    *state = t;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *t = *state;
    store_close(t->st);
    buf_fini(&t->err);
    buf_fini(&t->json);
    buf_fini(&t->attachments);
    fx_close(&t->fx);
    free(t);
    return 0;
}

/* ---- actions ---- */

/* What the store says; "" if nothing is wrong. */
static const char *
act_in(struct place *t, const struct action_scope *scope, const char *json)
{
    static struct fx_outcome o;
    struct store_unit *u = store_unit_create();
    char verb[ACTION_VERB_SIZE];
    struct str members;
    buf_clear(&t->err);
    if (action_parse(str_of(json), verb, &members, &t->err) != RC_OK ||
        action_add(u, verb, members, scope, &t->err) != RC_OK) {
        assert_int_equal(store_unit_n_steps(u), 0);
        store_unit_destroy(u);
        buf_append_c(&t->err, '\0');
        return t->err.p;
    }
    o = fx_store_run(t->st, u);
    assert_int_equal(o.rc, o.error[0] != '\0' ? RC_INVALID : RC_OK);
    return o.error;
}

static const char *
act(struct place *t, const char *json)
{
    return act_in(t, &(struct action_scope){0}, json);
}

static void
test_members_are_columns_and_args_stay_as_they_are(void **state)
{
    struct place *t = *state;
    assert_string_equal(
        act(t, " {\"emit\" : {\"event\":\"\\u00e9\",\"args\": [1.10, 1e400, "
               "123456789012345678901234567890, \"\\ud800\", {\"a\":1,\"a\":2}],"
               "\"is_volatile\":false, \"room\":null}} "),
        "");
    assert_string_equal(t->rows.body, "[\"\xc3\xa9\",1.10, 1e400, "
                                      "123456789012345678901234567890, \"\\ud800\", "
                                      "{\"a\":1,\"a\":2}]");
    assert_string_equal(act(t, "{\"emit\": {\"event\":\"x\",\"is_volatile\":true}}"), "");
    assert_string_equal(t->rows.body, "[\"x\"]");
    assert_int_equal(t->rows.n, 2);
}

static void
test_errors_name_verb_and_member(void **state)
{
    struct place *t = *state;
    static const char *const cases[][2] = {
        {"{\"emit\":{\"event\":\"x\",\"args\":{}}}", "emit.args: must be a JSON array"},
        {"{\"emit\":{\"event\":\"x\",\"args\":\"[]\"}}",
         "emit.args: must be a JSON array"},
        {"{\"emit\":{\"event\":[\"x\"]}}", "emit.event: must not be a list"},
        {"{\"emit\":{\"event\":{}}}", "emit.event: must not be an object"},
        {"{\"emit\":{\"event\":5}}", "emit.event: must be text"},
        {"{\"emit\":{\"event\":\"a\\u0000b\"}}",
         "emit.event: must not have a \\u0000 in it"},
        {"{\"emit\":{\"event\":\"x\",\"\\u0065vent\":\"y\"}}", "emit.event: given twice"},
        {"{\"emit\":{}}", "emit: no field is given"},
        {"{\"emit\":{\"event\":\"x\",\"args\":[{\"$binary\":\"?\"}]}}",
         "emit.args: $binary must be the only member of its object, and base64 text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(act(t, cases[i][0]), cases[i][1]);
    assert_memory_equal(act(t, "{\"emit\":{\"colour\":1}}"),
                        "emit.colour: no such field; allowed: ", 37);
    assert_memory_equal(act(t, "{\"shout\":{\"event\":\"x\"}}"),
                        "shout: no such verb; allowed: ", 30);
    assert_int_equal(t->rows.n, 0);
}

static void
test_action_of_another_shape_is_refused(void **state)
{
    struct place *t = *state;
    static const char *const cases[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"emit\":1}",
                                        "{\"emit\":{},\"emit\":{}}",
                                        "\"emit\"",
                                        "{\"emit\":{}",
                                        "{\"emit\":[{}]}",
                                        "null"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_memory_equal(act(t, cases[i]), "must be an object with one member, ", 35);
}

static void
test_too_many_members_are_refused(void **state)
{
    struct place *t = *state;
    struct buf b = {0};
    buf_append_z(&b, "{\"emit\":{\"event\":\"x\"");
    for (int i = 0; i < 100; i++)
        buf_append_f(&b, ",\"f%d\":1", i);
    buf_append(&b, "}}", 3);
    assert_string_equal(act(t, b.p), "emit: has too many members");
    buf_fini(&b);
}

static void
test_scope_says_what_the_action_does_not(void **state)
{
    struct place *t = *state;
    struct action_scope scope = {
        .nsp = STR("/none"), .socket = STR("id"), .event_id = STR("ev")};
    const char *no_nsp = "emit.nsp: no such namespace";
    assert_memory_equal(act_in(t, &scope, "{\"emit\":{\"event\":\"x\"}}"), no_nsp,
                        strlen(no_nsp));
    assert_memory_equal(act_in(t, &scope, "{\"emit\":{\"event\":\"x\",\"nsp\":null}}"),
                        no_nsp, strlen(no_nsp));
    assert_string_equal(act_in(t, &scope, "{\"emit\":{\"event\":\"x\",\"nsp\":\"/\"}}"),
                        "");
    assert_int_equal(t->rows.n, 1);
}

static void
test_attachments_are_counted(void **state)
{
    struct place *t = *state;
    struct action_scope scope = {.n_attachments_max = 1};
    assert_string_equal(act_in(t, &scope,
                               "{\"emit\":{\"event\":\"x\",\"args\":["
                               "{\"$binary\":\"\"},{\"$binary\":\"\"}]}}"),
                        "emit.args: has more binary data in it than max_attachments");
}

/* ---- binary data ---- */

/* The JSON with placeholders; NULL: refused. */
static const char *
collect(struct place *t, const char *json, size_t *n)
{
    const char *error;
    buf_clear(&t->json);
    buf_clear(&t->attachments);
    *n = 0;
    if (binary_collect(&t->json, str_of(json), &t->attachments, n, &error) != RC_OK)
        return NULL;
    buf_append_c(&t->json, '\0');
    return t->json.p;
}

static void
test_binary_becomes_placeholder_and_attachment(void **state)
{
    struct place *t = *state;
    struct str a;
    size_t n, pos = 0;
    assert_string_equal(collect(t,
                                "[{ \"\\u0024binary\" : \"aGk=\" },\"$binary\","
                                "{\"x\":[{\"$binary\":\"\"}],\"$$binary\":1}]",
                                &n),
                        "[{\"_placeholder\":true,\"num\":0},\"$binary\","
                        "{\"x\":[{\"_placeholder\":true,\"num\":1}],\"$binary\":1}]");
    assert_int_equal(n, 2);
    assert_int_equal(store_packet_attachment(buf_str(&t->attachments), &pos, &a), RC_OK);
    assert_true(str_eqz(a, "hi"));
    assert_int_equal(store_packet_attachment(buf_str(&t->attachments), &pos, &a), RC_OK);
    assert_int_equal(a.len, 0);
}

static void
test_binary_that_is_doubtful_is_refused(void **state)
{
    struct place *t = *state;
    size_t n;
    static const char *const cases[] = {
        "[{\"$binary\":5}]",
        "[{\"$binary\":\"!\"}]",
        "[{\"$binary\":\"aGk=\",\"x\":1}]",
        "[{\"x\":1,\"$binary\":\"aGk=\"}]",
        "[{\"$binary\":{\"$binary\":\"aGk=\"}}]",
        "[{\"$binary\":\"aGk=\"},{\"x\":1,\"_placeholder\":true,\"num\":0}]",
        "[{\"\\u005fplaceholder\":true,\"num\":0},{\"$binary\":\"aGk=\"}]",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_null(collect(t, cases[i], &n));
    assert_non_null(collect(t, "[{\"_placeholder\":true,\"num\":0}]", &n));
    assert_int_equal(n, 0);
}

static void
test_what_was_spelled_is_collected_again(void **state)
{
    struct place *t = *state;
    struct buf spelled = {0}, attachments = {0};
    size_t n;
    static const char *const json = "[\"a\",{\"_placeholder\":true,\"num\":0},"
                                    "{\"$binary\":\"aGk=\",\"$$binary\":[{}]}, 1]";
    store_packet_append_attachment(&attachments, STR("\x00\xff!"));
    assert_int_equal(binary_spell(&spelled, str_of(json), buf_str(&attachments), 1000),
                     RC_OK);
    buf_append_c(&spelled, '\0');
    assert_string_equal(spelled.p, "[\"a\",{\"$binary\":\"AP8h\"},"
                                   "{\"$$binary\":\"aGk=\",\"$$$binary\":[{}]}, 1]");
    assert_string_equal(collect(t, spelled.p, &n), json);
    assert_int_equal(n, 1);
    assert_true(str_eq(buf_str(&attachments), buf_str(&t->attachments)));
    buf_fini(&spelled);
    buf_fini(&attachments);
}

static void
test_shared_attachments_are_bounded(void **state)
{
    struct buf spelled = {0}, attachments = {0};
    (void)state;
    store_packet_append_attachment(&attachments, STR("0123456789"));
    assert_int_equal(binary_spell(&spelled,
                                  STR("[{\"_placeholder\":true,\"num\":0},"
                                      "{\"_placeholder\":true,\"num\":0}]"),
                                  buf_str(&attachments), 50),
                     RC_TOOBIG);
    buf_fini(&spelled);
    buf_fini(&attachments);
}

#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(test_members_are_columns_and_args_stay_as_they_are),
        ON_STORE(test_errors_name_verb_and_member),
        ON_STORE(test_action_of_another_shape_is_refused),
        ON_STORE(test_too_many_members_are_refused),
        ON_STORE(test_scope_says_what_the_action_does_not),
        ON_STORE(test_attachments_are_counted),
        ON_STORE(test_binary_becomes_placeholder_and_attachment),
        ON_STORE(test_binary_that_is_doubtful_is_refused),
        ON_STORE(test_what_was_spelled_is_collected_again),
        cmocka_unit_test(test_shared_attachments_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
