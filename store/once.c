/*
 * Units that happen once, and what was answered to them (t_dedup): who asks again under
 * the same key gets the same answer. Both are forgotten after an hour (sweep.c).
 *
 * Run functions: store thread; the read: loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/read.h"
#include "store/step.h"

struct once_step {
    struct store_step head;
    struct store_once once;
};

static enum rc
run_once(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_once *o = &((struct once_step *)step)->once;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_once);
    (void)u;
    conn_bind_str(q, STORE_PARAM_guard_once_key, o->key);
    sqlite3_bind_int64(q, STORE_PARAM_guard_once_now_ms, o->now_ms);
    conn_bind_str(q, STORE_PARAM_guard_once_print, o->print);
    conn_bind_str(q, STORE_PARAM_guard_once_answer, o->answer);
    return store_step_change(w, q);
}

void
store_unit_guard_once(struct store_unit *u, const struct store_once *o)
{
    struct once_step *s = store_step_add(u, sizeof *s, run_once, STORE_STEP_GUARD);
    s->once = (struct store_once){.key = store_step_copy(u, o->key),
                                  .print = store_step_copy(u, o->print),
                                  .answer = store_step_copy(u, o->answer),
                                  .now_ms = o->now_ms};
}

enum rc
store_read_once(struct store *st, struct str key, struct str *print, struct str *answer)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_once, &q);
    if (rc != RC_OK)
        return rc;
    conn_bind_str(q, STORE_PARAM_read_once_key, key);
    return store_read_two(st, q, print, answer);
}
