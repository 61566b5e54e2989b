/*
 * Values in and out of statements (store/value.h).
 *
 * The thread that the connection belongs to.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/value.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "store/step.h"

enum { CPU_US_MAX = 50000, PROGRESS_OPS = 2000 };

void
store_value_bind_one(sqlite3_stmt *q, int at, const struct store_value *v)
{
    switch (v->type) {
    case STORE_NULL:
        sqlite3_bind_null(q, at);
        break;
    case STORE_INT:
        sqlite3_bind_int64(q, at, v->i);
        break;
    case STORE_REAL:
        sqlite3_bind_double(q, at, v->d);
        break;
    case STORE_TEXT:
        conn_bind_str(q, at, v->s);
        break;
    case STORE_BLOB:
        store_step_bind_blob(q, at, v->s);
        break;
    }
}

void
store_value_bind(sqlite3_stmt *q, const struct store_value *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_value_bind_one(q, (int)i + 1, &values[i]);
}

/* Borrowed until the next step. */
static void
read_value(sqlite3_stmt *q, int column, struct store_value *out)
{
    *out = (struct store_value){.type = STORE_NULL};
    switch (sqlite3_column_type(q, column)) {
    case SQLITE_INTEGER:
        out->type = STORE_INT;
        out->i = sqlite3_column_int64(q, column);
        break;
    case SQLITE_FLOAT:
        out->type = STORE_REAL;
        out->d = sqlite3_column_double(q, column);
        break;
    case SQLITE_TEXT:
        out->type = STORE_TEXT;
        out->s = conn_column(q, column);
        break;
    case SQLITE_BLOB:
        out->type = STORE_BLOB;
        out->s = conn_column(q, column);
        break;
    default:
        break;
    }
}

static int
on_progress(void *arg)
{
    return clock_cpu_us() > *(const int64_t *)arg;
}

enum rc
store_value_run(struct store_conn *c, sqlite3_stmt *q, bool is_bounded, store_row_fn *fn,
                void *arg)
{
    int n_columns = sqlite3_column_count(q);
    struct store_value *row = xmalloc((size_t)(n_columns + 1) * sizeof *row);
    int64_t due_us = clock_cpu_us() + CPU_US_MAX;
    enum rc rc;
    if (is_bounded)
        sqlite3_progress_handler(c->db, PROGRESS_OPS, on_progress, &due_us);
    while ((rc = conn_step(q)) == RC_OK) {
        if (!fn)
            continue;
        for (int i = 0; i < n_columns; i++)
            read_value(q, i, &row[i]);
        fn(arg, row, (size_t)n_columns);
    }
    sqlite3_progress_handler(c->db, 0, NULL, NULL);
    sqlite3_clear_bindings(q);
    free(row);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

enum rc
store_value_run_app(struct store_write *w, struct store_unit *u, sqlite3_stmt *q)
{
    int64_t from_us = clock_cpu_us();
    enum rc rc = store_value_run(w->conn, q, true, NULL, NULL);
    store_step_note_time(u, clock_cpu_us() - from_us);
    return rc;
}

const char *
store_value_error(struct store_conn *c, enum rc rc)
{
    if (rc == RC_INVALID && sqlite3_errcode(c->db) == SQLITE_INTERRUPT)
        return "takes longer than 50 ms";
    return sqlite3_errmsg(c->db);
}
