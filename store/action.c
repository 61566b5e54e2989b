/*
 * Verbs by their names: INSERTs into the public views (store/view.h has their table).
 *
 * 1. Nothing is quoted into SQL but names that stand in the table.
 * 2. The statement names the columns in the order of the table, whatever the order in
 * which they were given: there are few statements, and the connection keeps them.
 * 3. What is wrong with a value is said by the view itself (RAISE), so the text is the
 * same from everywhere.
 *
 * Run functions: store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "store/step.h"
#include "store/value.h"
#include "store/view.h"

enum {
    NAME_SHOWN_MAX = 40, /* of a wrong name, in an error text */
    COLUMNS_MAX = 32     /* no verb has more */
};

struct action_step {
    struct store_step head;
    struct str view;
    struct store_field *fields;
    size_t n_fields;
};

static const struct store_field *
find_field(const struct action_step *s, struct str name)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (str_eq(s->fields[i].name, name))
            return &s->fields[i];
    return NULL;
}

static bool
has_column(const struct store_view *v, struct str name)
{
    struct str list = str_of(v->verb), column;
    while (store_view_column(&list, &column))
        if (str_eq(column, name))
            return true;
    return false;
}

static enum rc
refuse_view(struct store_unit *u, struct str name)
{
    struct buf list = {0};
    name = str_slice(name, 0, NAME_SHOWN_MAX);
    store_view_list(&list, true);
    store_step_error(u, "%.*s: no such verb; allowed: %.*s", STR_ARG(name),
                     STR_ARG(buf_str(&list)));
    buf_fini(&list);
    return RC_INVALID;
}

static enum rc
refuse_column(struct store_unit *u, const struct store_view *v, struct str name)
{
    struct str list = str_of(v->verb), column;
    struct buf names = {0};
    name = str_slice(name, 0, NAME_SHOWN_MAX);
    while (store_view_column(&list, &column))
        buf_append_f(&names, "%s%.*s", names.len ? ", " : "", STR_ARG(column));
    store_step_error(u, "%s.%.*s: no such field; allowed: %.*s", v->name, STR_ARG(name),
                     STR_ARG(buf_str(&names)));
    buf_fini(&names);
    return RC_INVALID;
}

static enum rc
check_fields(struct store_unit *u, const struct action_step *s,
             const struct store_view *v)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        struct str name = s->fields[i].name;
        if (!has_column(v, name))
            return refuse_column(u, v, name);
        if (find_field(s, name) != &s->fields[i]) {
            store_step_error(u, "%s.%.*s: given twice", v->name, STR_ARG(name));
            return RC_INVALID;
        }
    }
    if (s->n_fields == 0) {
        store_step_error(u, "%s: no field is given", v->name);
        return RC_INVALID;
    }
    return RC_OK;
}

/* Invariant 2. Every field is one of the view's columns, and given once. */
static sqlite3_stmt *
prepare(struct store_conn *c, const struct action_step *s, const struct store_view *v,
        struct store_value *values)
{
    struct str list = str_of(v->verb), column;
    struct buf sql = {0};
    sqlite3_stmt *q;
    size_t n = 0;
    buf_append_f(&sql, "INSERT INTO %s (", v->name);
    while (n < COLUMNS_MAX && store_view_column(&list, &column)) {
        const struct store_field *f = find_field(s, column);
        if (!f)
            continue;
        buf_append_f(&sql, "%s\"%.*s\"", n ? ", " : "", STR_ARG(column));
        values[n++] = f->value;
    }
    buf_append_z(&sql, ") VALUES (?");
    for (size_t i = 1; i < n; i++)
        buf_append_z(&sql, ", ?");
    buf_append(&sql, ")", 2); /* with its NUL */
    q = conn_cached_stmt(c, sql.p);
    buf_fini(&sql);
    return q;
}

/* The unit's savepoint takes a failure back. */
static enum rc
run_action(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct action_step *s = (struct action_step *)step;
    const struct store_view *v = store_view_find(s->view);
    struct store_value values[COLUMNS_MAX];
    sqlite3_stmt *q;
    enum rc rc;
    if (!v || !v->verb)
        return refuse_view(u, s->view);
    rc = check_fields(u, s, v);
    if (rc != RC_OK)
        return rc;
    q = prepare(w->conn, s, v, values);
    rc = q ? RC_OK : conn_rc(sqlite3_errcode(w->conn->db));
    if (q) {
        store_value_bind(q, values, s->n_fields);
        rc = store_value_run(w->conn, q, false, NULL, NULL);
    }
    if (rc != RC_OK)
        store_step_error(u, "%s", store_value_error(w->conn, rc));
    return rc;
}

void
store_unit_action(struct store_unit *u, const char *view,
                  const struct store_field *fields, size_t n)
{
    struct action_step *s = store_step_add(u, sizeof *s, run_action, STORE_STEP_RISKY);
    s->view = store_step_copy(u, str_of(view));
    s->n_fields = n;
    s->fields = store_step_alloc(u, n * sizeof *s->fields);
    for (size_t i = 0; i < n; i++) {
        s->fields[i] = fields[i];
        s->fields[i].name = store_step_copy(u, fields[i].name);
        s->fields[i].value.s = store_step_copy(u, fields[i].value.s);
    }
}
