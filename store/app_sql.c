/*
 * SQL of the application: its own tables (migrations with versions of their own) and
 * named statements. A SELECT runs on the loop's connection, anything else as a step of a
 * unit.
 *
 * 1. An application's statement can't leave its unit: transactions, ATTACH and PRAGMA are
 * refused when it is prepared, and a unit with such a step runs in a SAVEPOINT.
 * 2. None uses more than 50 ms of CPU (store_value_run): it would hold the write lock, or
 * the loop. SQLite rolls back the whole transaction when it interrupts a write; the batch
 * is then redone without the offender. All of a unit have 250 ms together (unit.c).
 * 3. Its failure is RC_INVALID with SQLite's text; a full disk stays RC_IO.
 *
 * Migrations and additions: loop thread, before units run. Selects: loop thread. Steps:
 * store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "store/step.h"
#include "store/value.h"

struct exec_step {
    struct store_step head;
    const char *name;
    struct store_value *values;
    size_t n_values;
};

/* ---- running ---- */

static sqlite3_stmt *
find_stmt(struct store_conn *c, const char *name)
{
    for (size_t i = 0; i < c->n_app_stmts; i++)
        if (strcmp(c->app_names[i], name) == 0)
            return c->app_stmts[i];
    return NULL;
}

/* ---- migrations ---- */

enum rc
store_app_has_version(struct store_conn *c, int version, bool *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_app_version_find);
    enum rc rc;
    sqlite3_bind_int(q, STORE_PARAM_app_version_find_version, version);
    rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

enum rc
store_app_add_version(struct store_conn *c, int version)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_app_version_add);
    sqlite3_bind_int(q, STORE_PARAM_app_version_add_version, version);
    sqlite3_bind_int64(q, STORE_PARAM_app_version_add_now_ms, clock_now_ms());
    return conn_done(q);
}

int
store_app_authorize(void *arg, int action, const char *a, const char *b,
                    const char *schema, const char *trigger)
{
    (void)arg, (void)a, (void)b, (void)schema, (void)trigger;
    switch (action) {
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
    case SQLITE_PRAGMA:
        return SQLITE_DENY;
    default:
        return SQLITE_OK;
    }
}

static enum rc
migrate(struct store_conn *c, int version, const char *sql, struct buf *err)
{
    struct buf text = {0};
    bool is_applied;
    enum rc rc = store_app_has_version(c, version, &is_applied);
    if (rc != RC_OK || is_applied)
        return rc;
    sqlite3_set_authorizer(c->db, store_app_authorize, NULL);
    rc = conn_exec(c, sql, &text);
    sqlite3_set_authorizer(c->db, NULL, NULL);
    if (rc == RC_OK)
        rc = store_app_add_version(c, version);
    if (rc != RC_OK) {
        buf_append_f(err, "schema %d of the application: ", version);
        if (text.len)
            buf_append_str(err, buf_str(&text));
        else
            buf_append_z(err, sqlite3_errmsg(c->db));
    }
    buf_fini(&text);
    return rc;
}

enum rc
store_app_migrate(struct store *st, int version, const char *sql, struct buf *err)
{
    struct store_conn *c;
    enum rc rc = store_setup_begin(st, &c), end;
    if (rc != RC_OK) {
        buf_append_f(err, "schema %d of the application: %s", version, rc_text(rc));
        return rc;
    }
    rc = migrate(c, version, sql, err);
    end = store_setup_end(st, rc == RC_OK);
    if (rc == RC_OK && end != RC_OK)
        buf_append_f(err, "schema %d of the application: %s", version, rc_text(end));
    return rc == RC_OK ? end : rc;
}

/* ---- named statements ---- */

static void
keep_stmt(struct store_conn *c, const char *name, sqlite3_stmt *q)
{
    size_t n = c->n_app_stmts + 1;
    c->app_stmts = xrealloc(c->app_stmts, n * sizeof *c->app_stmts);
    c->app_names = xrealloc(c->app_names, n * sizeof *c->app_names);
    c->app_stmts[n - 1] = q;
    c->app_names[n - 1] = xstrdup(name);
    c->n_app_stmts = n;
}

/* One statement, checked; NULL and a text in err if it is none. */
static sqlite3_stmt *
prepare(struct store_conn *c, const char *sql, struct buf *err)
{
    sqlite3_stmt *q = NULL, *more = NULL;
    const char *tail = NULL;
    int n, n_more = SQLITE_OK;
    sqlite3_set_authorizer(c->db, store_app_authorize, NULL);
    n = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q, &tail);
    if (n == SQLITE_OK && q && tail)
        n_more = sqlite3_prepare_v3(c->db, tail, -1, 0, &more, NULL);
    if (n != SQLITE_OK)
        buf_append_z(err, n == SQLITE_AUTH
                              ? "transactions, ATTACH and PRAGMA are not for it"
                              : sqlite3_errmsg(c->db));
    else if (!q)
        buf_append_z(err, "is empty");
    else if (more || n_more != SQLITE_OK)
        buf_append_z(err, "is more than one statement");
    sqlite3_set_authorizer(c->db, NULL, NULL);
    if (n == SQLITE_OK && q && !more && n_more == SQLITE_OK)
        return q;
    sqlite3_finalize(more);
    sqlite3_finalize(q);
    return NULL;
}

static enum rc
add_stmt(struct store_conn *reader, struct store_conn *writer, const char *name,
         const char *sql, struct buf *err)
{
    sqlite3_stmt *q;
    buf_append_f(err, "statement \"%s\" ", name);
    if (find_stmt(reader, name) || find_stmt(writer, name)) {
        buf_append_z(err, "exists already");
        return RC_INVALID;
    }
    q = prepare(writer, sql, err);
    if (!q)
        return RC_INVALID;
    if (!sqlite3_stmt_readonly(q)) {
        keep_stmt(writer, name, q);
        return RC_OK;
    }
    sqlite3_finalize(q);
    store_read_leave(reader); /* its schema may be older */
    q = prepare(reader, sql, err);
    if (!q)
        return RC_INVALID;
    keep_stmt(reader, name, q);
    return RC_OK;
}

static void
forget_stmts(struct store_conn *c)
{
    for (size_t i = 0; i < c->n_app_stmts; i++) {
        sqlite3_finalize(c->app_stmts[i]);
        free(c->app_names[i]);
    }
    c->n_app_stmts = 0;
}

enum rc
store_app_forget(struct store *st)
{
    struct store_conn *writer;
    enum rc rc = store_setup_begin(st, &writer);
    if (rc != RC_OK)
        return rc;
    forget_stmts(store_reader(st));
    forget_stmts(writer);
    return store_setup_end(st, false);
}

enum rc
store_app_add(struct store *st, const char *name, const char *sql, struct buf *err)
{
    struct buf text = {0};
    struct store_conn *writer;
    enum rc rc = store_setup_begin(st, &writer), end;
    if (rc != RC_OK) {
        buf_append_f(err, "statement \"%s\": %s", name, rc_text(rc));
        return rc;
    }
    rc = add_stmt(store_reader(st), writer, name, sql, &text);
    end = store_setup_end(st, false);
    if (rc == RC_OK)
        rc = end;
    if (rc != RC_OK)
        buf_append_str(err, buf_str(&text));
    buf_fini(&text);
    return rc;
}

enum rc
store_app_select(struct store *st, const char *name, const struct store_value *values,
                 size_t n, store_row_fn *fn, void *arg, struct buf *err)
{
    struct store_conn *c = store_reader(st);
    sqlite3_stmt *q = find_stmt(c, name);
    enum rc rc;
    if (!q) {
        buf_append_f(err, "there is no SELECT \"%s\"", name);
        return RC_INVALID;
    }
    if (n != (size_t)sqlite3_bind_parameter_count(q)) {
        buf_append_f(err, "statement \"%s\" wants %d values, not %zu", name,
                     sqlite3_bind_parameter_count(q), n);
        return RC_INVALID;
    }
    rc = store_read_enter(st, &c);
    if (rc != RC_OK)
        return rc;
    store_value_bind(q, values, n);
    rc = store_value_run(c, q, true, fn, arg);
    if (rc != RC_OK)
        buf_append_f(err, "statement \"%s\": %s", name, store_value_error(c, rc));
    return rc;
}

/* ---- step ---- */

static enum rc
check_exec(struct store_unit *u, const struct exec_step *s, sqlite3_stmt *q)
{
    if (!q) {
        store_step_error(u, "there is no statement \"%s\" that writes", s->name);
        return RC_INVALID;
    }
    if (s->n_values != (size_t)sqlite3_bind_parameter_count(q)) {
        store_step_error(u, "statement \"%s\" wants %d values, not %zu", s->name,
                         sqlite3_bind_parameter_count(q), s->n_values);
        return RC_INVALID;
    }
    return RC_OK;
}

/* The unit's savepoint takes a failure back. */
static enum rc
run_exec(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct exec_step *s = (struct exec_step *)step;
    sqlite3_stmt *q = find_stmt(w->conn, s->name);
    enum rc rc = check_exec(u, s, q);
    if (rc != RC_OK)
        return rc;
    if (!store_step_has_time(u))
        return RC_INVALID;
    store_value_bind(q, s->values, s->n_values);
    rc = store_value_run_app(w, u, q);
    if (rc != RC_OK)
        store_step_error(u, "statement \"%s\": %s", s->name,
                         store_value_error(w->conn, rc));
    return rc;
}

void
store_unit_exec(struct store_unit *u, const char *name, const struct store_value *values,
                size_t n)
{
    struct exec_step *s = store_step_add(u, sizeof *s, run_exec, STORE_STEP_RISKY);
    size_t len = strlen(name) + 1;
    char *copy = store_step_alloc(u, len);
    memcpy(copy, name, len);
    s->name = copy;
    s->n_values = n;
    if (n) {
        s->values = store_step_alloc(u, n * sizeof *s->values);
        memcpy(s->values, values, n * sizeof *s->values);
        for (size_t i = 0; i < n; i++)
            s->values[i].s = store_step_copy(u, values[i].s);
    }
}
