/*
 * Counters: what each process counted is added to what all of them counted before.
 *
 * Run functions: store thread. The read: loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/step.h"

struct count_step {
    struct store_step head;
    struct str name, labels;
    int64_t n;
};

static enum rc
run_count(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct count_step *s = (struct count_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_count_add);
    (void)u;
    conn_bind_str(q, STORE_PARAM_count_add_name, s->name);
    conn_bind_str(q, STORE_PARAM_count_add_labels, s->labels);
    sqlite3_bind_int64(q, STORE_PARAM_count_add_n, s->n);
    return conn_done(q);
}

void
store_unit_count(struct store_unit *u, struct str name, struct str labels, int64_t n)
{
    struct count_step *s = store_step_add(u, sizeof *s, run_count, 0);
    s->name = store_step_copy(u, name);
    s->labels = store_step_copy(u, labels);
    s->n = n;
}

enum rc
store_read_metrics(struct store *st, struct buf *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_count_text, &q);
    if (rc != RC_OK)
        return rc;
    while ((rc = conn_step(q)) == RC_OK)
        buf_append_str(out, conn_column(q, 0));
    return rc == RC_NOTFOUND ? RC_OK : rc;
}
