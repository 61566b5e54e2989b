/*
 * The table of public views (store/view.h), and reading one by its name.
 *
 * Loop thread; the table: any.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/view.h"

#include <stdlib.h>

#include "store/value.h"

enum { NAME_SHOWN_MAX = 40 }; /* of a wrong name, in an error text */

static const struct store_view VIEWS[] = {
    /* verbs */
    {"emit",
     "nsp room rooms except_room except_rooms user event args is_volatile is_plain "
     "attachments attachment ",
     true},
    {"ask",
     "name nsp room rooms except_room except_rooms user event args timeout_ms "
     "is_volatile is_plain attachments attachment ",
     true},
    {"ask_cancel", "name ", false},
    {"ack", "event_id args attachments attachment ", false},
    {"server_emit", "nsp event args ", false},
    {"room_join", "nsp socket in_room user is_all room is_history ", false},
    {"room_history", "nsp room pattern n seconds ", true},
    {"room_leave", "nsp socket in_room user is_all room ", false},
    {"kick", "nsp socket in_room user is_all is_close ", false},
    {"socket_data", "nsp socket data ", false},
    {"socket_user", "nsp socket user ", false},
    {"hook_retry", "event_id ", false},
    {"outbox", "user nsp event args attachments attachment expires_s expires_at ", true},
    {"outbox_cancel", "id user nsp event ", false},
    {"socket_expiry", "socket expires_s expires_at is_close ", true},
    {"presence_room", "nsp room ", true},
    /* what is there */
    {"answer", NULL, true},
    {"process", NULL, true},
    {"session", NULL, true},
    {"socket", NULL, true},
    {"disconnect", NULL, true},
    {"presence", NULL, true},
    {"member", NULL, true},
    {"room", NULL, true},
    {"history", NULL, true},
    {"retry", NULL, true},
    {"traffic", NULL, true},
    {"backlog", NULL, true},
    {"log", NULL, true},
    {"nsp", NULL, true},
    {"metric", NULL, true},
    {"hook", NULL, true},
    {"hook_total", NULL, true},
    {"app_error", NULL, true},
};

const struct store_view *
store_view_find(struct str name)
{
    for (size_t i = 0; i < sizeof VIEWS / sizeof *VIEWS; i++)
        if (str_eqz(name, VIEWS[i].name))
            return &VIEWS[i];
    return NULL;
}

void
store_view_list(struct buf *b, bool is_verb)
{
    const char *comma = "";
    for (size_t i = 0; i < sizeof VIEWS / sizeof *VIEWS; i++) {
        if (is_verb ? VIEWS[i].verb == NULL : !VIEWS[i].is_read)
            continue;
        buf_append_f(b, "%s%s", comma, VIEWS[i].name);
        comma = ", ";
    }
}

bool
store_view_column(struct str *list, struct str *column)
{
    size_t end = str_index(*list, ' ');
    if (list->len == 0)
        return false;
    *column = str_slice(*list, 0, end);
    *list = str_slice(*list, end + 1, list->len);
    return true;
}

bool
store_verb_exists(const char *verb)
{
    const struct store_view *v = store_view_find(str_of(verb));
    return v != NULL && v->verb != NULL;
}

bool
store_verb_has(const char *verb, const char *column)
{
    const struct store_view *v = store_view_find(str_of(verb));
    struct str list = str_of(v ? v->verb : NULL), name;
    while (store_view_column(&list, &name))
        if (str_eqz(name, column))
            return true;
    return false;
}

/* ---- reading ---- */

struct reading {
    struct store_field *row; /* its names are those of the statement */
    store_view_fn *fn;
    void *arg;
};

static bool
is_json_column(struct str column)
{
    static const char *const NAMES[] = {"args", "data", "rooms", "except_rooms",
                                        "answer"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (str_eqz(column, NAMES[i]))
            return true;
    return false;
}

static void
on_row(void *arg, const struct store_value *values, size_t n)
{
    struct reading *r = arg;
    for (size_t i = 0; i < n; i++) {
        r->row[i].value = values[i];
        r->row[i].value.is_json =
            values[i].type == STORE_TEXT && is_json_column(r->row[i].name);
    }
    r->fn(r->arg, r->row, n);
}

/* The columns of a statement; owned by the caller, their names by the statement. */
static struct store_field *
read_columns(sqlite3_stmt *q, size_t *n)
{
    *n = (size_t)sqlite3_column_count(q);
    struct store_field *row = xcalloc(*n, sizeof *row);
    for (size_t i = 0; i < *n; i++)
        row[i].name = str_of(sqlite3_column_name(q, (int)i));
    return row;
}

static bool
has_column(const struct store_field *row, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(row[i].name, name))
            return true;
    return false;
}

static void
say_no_column(struct buf *err, const char *view, struct str name,
              const struct store_field *row, size_t n)
{
    name = str_slice(name, 0, NAME_SHOWN_MAX);
    buf_append_f(err, "%s.%.*s: no such field; allowed: ", view, STR_ARG(name));
    for (size_t i = 0; i < n; i++)
        buf_append_f(err, "%s%.*s", i ? ", " : "", STR_ARG(row[i].name));
}

/* NULL, and a text in err: a field is not one of the view's. */
static sqlite3_stmt *
prepare(struct store_conn *c, const char *view, const struct store_field *filter,
        size_t n, struct buf *err)
{
    struct buf sql = {0};
    struct store_field *row;
    sqlite3_stmt *q;
    size_t n_columns;
    bool is_ok = true;
    buf_append_f(&sql, "SELECT * FROM %s LIMIT ? OFFSET ?%c", view, 0);
    q = conn_cached_stmt(c, sql.p);
    row = read_columns(q, &n_columns);
    buf_clear(&sql);
    buf_append_f(&sql, "SELECT * FROM %s", view);
    for (size_t i = 0; i < n && is_ok; i++) {
        is_ok = has_column(row, n_columns, filter[i].name);
        if (is_ok)
            buf_append_f(&sql, " %s \"%.*s\" IS ?", i ? "AND" : "WHERE",
                         STR_ARG(filter[i].name));
        else
            say_no_column(err, view, filter[i].name, row, n_columns);
    }
    buf_append_f(&sql, " LIMIT ? OFFSET ?%c", 0);
    free(row);
    q = is_ok ? conn_cached_stmt(c, sql.p) : NULL;
    if (is_ok && !q)
        buf_append_z(err, sqlite3_errmsg(c->db));
    buf_fini(&sql);
    return q;
}

enum rc
store_read_view(struct store *st, const struct store_view_read *v, store_view_fn *fn,
                void *arg, struct buf *err)
{
    struct store_conn *c = store_reader(st);
    const struct store_view *view = store_view_find(v->view);
    struct reading r = {.fn = fn, .arg = arg};
    sqlite3_stmt *q;
    size_t n_columns;
    enum rc rc;
    if (!view || !view->is_read) {
        struct str name = str_slice(v->view, 0, NAME_SHOWN_MAX);
        buf_append_f(err, "%.*s: no such view; allowed: ", STR_ARG(name));
        store_view_list(err, false);
        return RC_INVALID;
    }
    if ((rc = store_read_enter(st, &c)) != RC_OK)
        return rc;
    q = prepare(c, view->name, v->filter, v->n_filter, err);
    if (!q)
        return RC_INVALID;
    for (size_t i = 0; i < v->n_filter; i++)
        store_value_bind_one(q, (int)i + 1, &v->filter[i].value);
    sqlite3_bind_int64(q, (int)v->n_filter + 1,
                       v->limit < INT32_MAX ? (int64_t)v->limit : INT32_MAX);
    sqlite3_bind_int64(q, (int)v->n_filter + 2,
                       v->offset < INT32_MAX ? (int64_t)v->offset : INT32_MAX);
    r.row = read_columns(q, &n_columns);
    rc = store_value_run(c, q, !v->is_off_loop, on_row, &r);
    if (rc != RC_OK)
        buf_append_f(err, "%s: %s", view->name, store_value_error(c, rc));
    free(r.row);
    return rc;
}
