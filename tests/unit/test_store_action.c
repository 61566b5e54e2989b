/*
 * store/action.c and store/view.c on a whole store: verbs and public views by their
 * names.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_fixture.h"

#include "store/read.h"
#include "store/view.h"

struct place {
    struct fx fx;
    struct store *st;
    struct buf out, err;
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
    buf_fini(&t->out);
    buf_fini(&t->err);
    fx_close(&t->fx);
    free(t);
    return 0;
}

#define TEXT_FIELD(n, z)                                                                 \
    {                                                                                    \
        .name = STR(n), .value = {.type = STORE_TEXT, .s = STR(z) }                      \
    }
#define INT_FIELD(n, x)                                                                  \
    {                                                                                    \
        .name = STR(n), .value = {.type = STORE_INT, .i = (x) }                          \
    }
#define FIELDS(...)                                                                      \
    (struct store_field[])                                                               \
    {                                                                                    \
        __VA_ARGS__                                                                      \
    }
#define ACT(t, view, ...)                                                                \
    act(t, view, FIELDS(__VA_ARGS__),                                                    \
        sizeof(FIELDS(__VA_ARGS__)) / sizeof(struct store_field))

static struct fx_outcome
act(struct place *t, const char *view, const struct store_field *f, size_t n)
{
    struct store_unit *u = store_unit_create();
    store_unit_action(u, view, f, n);
    return fx_store_run(t->st, u);
}

static void
assert_refused(struct fx_outcome o, const char *error)
{
    assert_int_equal(o.rc, RC_INVALID);
    assert_string_equal(o.error, error);
}

static void
test_action_is_an_insert_into_the_view(void **state)
{
    struct place *t = *state;
    struct fx_outcome o =
        ACT(t, "emit", TEXT_FIELD("args", "[1, \"two\"]"), TEXT_FIELD("event", "x"));
    assert_int_equal(o.rc, RC_OK);
    assert_true(o.last_seq > 0);
    assert_string_equal(t->rows.body, "[\"x\",1, \"two\"]");
    assert_int_equal(t->rows.n, 1);
}

static void
test_action_refuses_what_is_no_verb(void **state)
{
    struct place *t = *state;
    const char *verbs =
        strstr(ACT(t, "socket", TEXT_FIELD("data", "1")).error, "allowed");
    struct fx_outcome o = ACT(t, "t_packet", INT_FIELD("seq", 1));
    assert_int_equal(o.rc, RC_INVALID);
    assert_non_null(verbs);
    assert_non_null(strstr(verbs, "emit, "));
    assert_non_null(strstr(verbs, "kick"));
    assert_null(strstr(verbs, "socket, "));
    assert_memory_equal(o.error, "t_packet: no such verb; allowed: ", 33);
    assert_int_equal(t->rows.n, 0);
}

static void
test_action_names_the_field_that_is_wrong(void **state)
{
    struct place *t = *state;
    struct fx_outcome o =
        ACT(t, "kick", TEXT_FIELD("socket", "a"), TEXT_FIELD("colour", "red"));
    assert_int_equal(o.rc, RC_INVALID);
    assert_memory_equal(o.error, "kick.colour: no such field; allowed: ", 37);
    assert_non_null(strstr(o.error, "nsp, socket, "));
    assert_refused(ACT(t, "emit", TEXT_FIELD("event", "a"), TEXT_FIELD("event", "b")),
                   "emit.event: given twice");
    assert_refused(ACT(t, "emit", TEXT_FIELD("event", "x"), TEXT_FIELD("args", "{}")),
                   "emit.args: must be a JSON array");
    o = ACT(t, "emit", TEXT_FIELD("seq", "5"));
    assert_memory_equal(o.error, "emit.seq: no such field; allowed: ", 34);
    assert_refused(act(t, "emit", NULL, 0), "emit: no field is given");
    assert_int_equal(t->rows.n, 0);
}

static void
test_failed_action_fails_its_unit_alone(void **state)
{
    struct place *t = *state;
    struct store_unit *a = store_unit_create(), *b = store_unit_create();
    struct fx_outcome oa = {0}, ob = {0};
    store_unit_action(a, "emit", FIELDS(TEXT_FIELD("event", "lost")), 1);
    store_unit_action(a, "emit", FIELDS(INT_FIELD("event", 5)), 1);
    store_unit_action(b, "emit", FIELDS(TEXT_FIELD("event", "kept")), 1);
    store_unit_submit(t->st, a, fx_copy_outcome, &oa);
    store_unit_submit(t->st, b, fx_copy_outcome, &ob);
    store_flush(t->st);
    while (!ob.is_done) {
        struct pollfd fd = {.fd = store_fd(t->st), .events = POLLIN};
        assert_true(poll(&fd, 1, 5000) > 0);
        store_pump(t->st);
    }
    assert_refused(oa, "emit.event: must be text");
    assert_int_equal(oa.n_failed, 1);
    assert_int_equal(ob.rc, RC_OK);
    assert_int_equal(t->rows.n, 1);
    assert_string_equal(t->rows.body, "[\"kept\"]");
}

static void
test_key_keeps_what_was_answered(void **state)
{
    struct place *t = *state;
    struct str print, answer;
    const struct store_once o = {
        .key = STR("k"), .print = STR("p"), .answer = STR("{}"), .now_ms = FX_NOW_MS};
    assert_int_equal(store_read_once(t->st, STR("k"), &print, &answer), RC_NOTFOUND);
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_create();
        store_unit_guard_once(u, &o);
        store_unit_action(u, "emit", FIELDS(TEXT_FIELD("event", "x")), 1);
        assert_int_equal(fx_store_run(t->st, u).rc, i ? RC_CONFLICT : RC_OK);
        assert_int_equal(store_read_once(t->st, STR("k"), &print, &answer), RC_OK);
        assert_true(str_eqz(print, "p"));
        assert_true(str_eqz(answer, "{}"));
    }
    assert_int_equal(t->rows.n, 1);
}

/* Every column that the table says can be INSERTed is one of the view. */
static void
test_table_knows_the_views(void **state)
{
    struct place *t = *state;
    struct buf names = {0};
    struct str list, name;
    store_view_list(&names, true);
    list = buf_str(&names);
    while (list.len) {
        size_t end = str_index(list, ',');
        name = str_slice(list, 0, end);
        list = str_slice(list, end + 2, list.len);
        struct str columns = str_of(store_view_find(name)->verb), column;
        while (store_view_column(&columns, &column)) {
            struct buf sql = {0};
            sqlite3_stmt *q;
            buf_append_f(&sql, "SELECT \"%.*s\" FROM %.*s", STR_ARG(column),
                         STR_ARG(name));
            assert_int_equal(sqlite3_prepare_v2(store_reader(t->st)->db, sql.p,
                                                (int)sql.len, &q, NULL),
                             SQLITE_OK);
            assert_true(str_eqz(column, sqlite3_column_name(q, 0)));
            sqlite3_finalize(q);
            buf_fini(&sql);
        }
    }
    buf_fini(&names);
}

static void
on_view_row(void *arg, const struct store_field *row, size_t n)
{
    struct place *t = arg;
    for (size_t i = 0; i < n; i++) {
        buf_append_f(&t->out, "%.*s=", STR_ARG(row[i].name));
        if (row[i].value.type == STORE_INT)
            buf_append_int(&t->out, row[i].value.i);
        else
            buf_append_str(&t->out, row[i].value.s);
        buf_append_c(&t->out, ' ');
    }
    buf_append_c(&t->out, '\n');
}

static void
assert_rows(struct place *t, const struct store_view_read *v, const char *expected)
{
    buf_clear(&t->out);
    assert_int_equal(store_read_view(t->st, v, on_view_row, t, &t->err), RC_OK);
    buf_append_c(&t->out, 0);
    assert_string_equal(t->out.p, expected);
}

static void
test_view_gives_rows_with_names(void **state)
{
    struct place *t = *state;
    struct store_view_read v = {.view = STR("traffic"), .limit = 10};
    assert_rows(t, &v, "");
    v = (struct store_view_read){.view = STR("member"), .limit = 10};
    assert_rows(t, &v, "");
    for (int i = 0; i < 3; i++)
        assert_int_equal(ACT(t, "emit", TEXT_FIELD("event", "x")).rc, RC_OK);
    assert_int_equal(ACT(t, "emit", TEXT_FIELD("event", "y")).rc, RC_OK);
    v = (struct store_view_read){
        .view = STR("emit"),
        .filter = FIELDS(TEXT_FIELD("event", "y"), INT_FIELD("is_volatile", 0)),
        .n_filter = 2,
        .limit = 10};
    buf_clear(&t->out);
    assert_int_equal(store_read_view(t->st, &v, on_view_row, t, &t->err), RC_OK);
    buf_append_c(&t->out, 0);
    assert_non_null(strstr(t->out.p, "nsp=/ "));
    assert_non_null(strstr(t->out.p, "event=y args=[] "));
    assert_null(strstr(t->out.p, "event=x"));
    buf_clear(&t->out);
    v = (struct store_view_read){.view = STR("emit"), .limit = 2};
    assert_int_equal(store_read_view(t->st, &v, on_view_row, t, &t->err), RC_OK);
    buf_append_c(&t->out, 0);
    assert_null(strstr(strchr(strchr(t->out.p, '\n') + 1, '\n'), "event"));
    v.offset = 3;
    buf_clear(&t->out);
    assert_int_equal(store_read_view(t->st, &v, on_view_row, t, &t->err), RC_OK);
    buf_append_c(&t->out, 0);
    assert_non_null(strstr(t->out.p, "event=y"));
    assert_null(strstr(t->out.p, "event=x"));
}

static void
test_view_says_what_it_does_not_have(void **state)
{
    struct place *t = *state;
    struct store_view_read v = {.view = STR("t_session"), .limit = 1};
    assert_int_equal(store_read_view(t->st, &v, on_view_row, t, &t->err), RC_INVALID);
    buf_append_c(&t->err, 0);
    assert_memory_equal(t->err.p, "t_session: no such view; allowed: emit, ", 39);
    buf_clear(&t->err);
    v = (struct store_view_read){.view = STR("room"),
                                 .filter = FIELDS(TEXT_FIELD("\" OR 1 --", "y")),
                                 .n_filter = 1,
                                 .limit = 1};
    assert_int_equal(store_read_view(t->st, &v, on_view_row, t, &t->err), RC_INVALID);
    buf_append_c(&t->err, 0);
    assert_string_equal(t->err.p,
                        "room.\" OR 1 --: no such field; allowed: nsp, room, n_members");
}

/* More texts than the connection keeps: each is still right, and none is leaked
 * (conn_close asserts it). */
static void
test_statements_are_kept_in_bounds(void **state)
{
    struct place *t = *state;
    static const char *const COLUMNS[] = {"nsp",  "room",        "except_room",
                                          "args", "is_volatile", "event"};
    for (unsigned mask = 0; mask < 32; mask++) {
        struct store_field f[6];
        size_t n = 0;
        for (size_t i = 0; i < 5; i++)
            if (mask & 1U << i)
                f[n++] = (struct store_field){.name = str_of(COLUMNS[i])};
        f[n++] = (struct store_field)TEXT_FIELD("event", "e");
        assert_int_equal(act(t, "emit", f, n).rc, RC_OK);
    }
    assert_int_equal(t->rows.n, 32);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_action_is_an_insert_into_the_view),
        TEST(test_action_refuses_what_is_no_verb),
        TEST(test_action_names_the_field_that_is_wrong),
        TEST(test_failed_action_fails_its_unit_alone),
        TEST(test_key_keeps_what_was_answered),
        TEST(test_table_knows_the_views),
        TEST(test_view_gives_rows_with_names),
        TEST(test_view_says_what_it_does_not_have),
        TEST(test_statements_are_kept_in_bounds),
    };
    return cmocka_run_group_tests_name("store_action", tests, NULL, NULL);
}
