/*
 * Users: who is told that they came or went, what waits for them, and when their sockets
 * expire. Most of it is done by the views and triggers of schema/views/user.sql, so that
 * it is the same for everybody who writes; here is what a process of ours adds.
 *
 * 1. What is told of a user alternates: come, gone, come … Of several that tell it, one
 * commits; what changed back meanwhile is not told.
 * 2. An entry of the outbox is acknowledged once, by a socket that was asked.
 *
 * Run functions: store thread. Reads: loop thread. store_user_limits: loop thread, at
 * start.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/step.h"

struct presence_step {
    struct store_step head;
    int64_t presence_id;
    bool is_online;
};

struct drop_step {
    struct store_step head;
    int64_t socket_id;
};

enum rc
store_user_limits(struct store_conn *c, const struct cfg *cfg)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_user_limits);
    sqlite3_bind_int64(q, STORE_PARAM_user_limits_expiry_lead_ms, cfg->expiry_lead_ms);
    sqlite3_bind_int64(q, STORE_PARAM_user_limits_linger_ms, cfg->presence_linger_ms);
    sqlite3_bind_int64(q, STORE_PARAM_user_limits_n_outbox_max, cfg->n_outbox_max);
    return conn_done(q);
}

/* ---- presence ---- */

enum rc
store_read_presence(struct store *st, int64_t presence_id, struct store_presence *out)
{
    struct buf *b = &store_reader(st)->scratch;
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_presence_read, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_presence_read_presence_id, presence_id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    struct str user = conn_column(q, 0), nsp = conn_column(q, 1);
    buf_append_str(b, user);
    buf_append_str(b, nsp);
    *out = (struct store_presence){.user = {b->p, user.len},
                                   .nsp = {b->p + user.len, nsp.len},
                                   .is_online = sqlite3_column_int(q, 2) != 0,
                                   .is_told = sqlite3_column_int(q, 3) != 0};
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
tell(struct store_write *w, const struct presence_step *s)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_presence_tell);
    sqlite3_bind_int64(q, STORE_PARAM_presence_tell_presence_id, s->presence_id);
    sqlite3_bind_int(q, STORE_PARAM_presence_tell_is_online, s->is_online);
    sqlite3_bind_int64(q, STORE_PARAM_presence_tell_limit_ms,
                       w->now_ms - (w->cfg ? cfg_live(&w->cfg->presence_linger_ms) : 0));
    return store_step_change(w, q);
}

/* SIO-PRESENCE */
static enum rc
run_presence(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct presence_step *s = (struct presence_step *)step;
    enum rc rc = tell(w, s);
    (void)u;
    if (rc != RC_OK)
        return rc == RC_CONFLICT ? RC_NOTFOUND : rc;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_presence_emit);
    sqlite3_bind_int64(q, STORE_PARAM_presence_emit_presence_id, s->presence_id);
    sqlite3_bind_int(q, STORE_PARAM_presence_emit_is_online, s->is_online);
    return conn_done(q);
}

void
store_unit_presence(struct store_unit *u, int64_t presence_id, bool is_online)
{
    struct presence_step *s =
        store_step_add(u, sizeof *s, run_presence, STORE_STEP_BLOCK);
    s->presence_id = presence_id;
    s->is_online = is_online;
}

static enum rc
forget_presence(struct store_write *w, struct store_unit *u, int64_t limit_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_presence_forget);
    sqlite3_bind_int64(q, STORE_PARAM_presence_forget_limit_ms, limit_ms);
    sqlite3_bind_int64(q, STORE_PARAM_presence_forget_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

/* ---- outbox ---- */

/* SIO-OUTBOX-ACK */
enum rc
store_outbox_ack(struct store_write *w, int64_t seq, int64_t socket_id, struct str args)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_outbox_ack);
    struct buf answer = {0};
    buf_append_c(&answer, '[');
    buf_append_str(&answer, args);
    buf_append_c(&answer, ']');
    sqlite3_bind_int64(q, STORE_PARAM_outbox_ack_seq, seq);
    sqlite3_bind_int64(q, STORE_PARAM_outbox_ack_socket_id, socket_id);
    conn_bind_str(q, STORE_PARAM_outbox_ack_answer, buf_str(&answer));
    sqlite3_bind_int64(q, STORE_PARAM_outbox_ack_now_ms, w->now_ms);
    enum rc rc = conn_done(q);
    buf_fini(&answer);
    return rc;
}

static enum rc
forget_outbox(struct store_write *w, struct store_unit *u, int64_t limit_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_outbox_forget);
    sqlite3_bind_int64(q, STORE_PARAM_outbox_forget_limit_ms, limit_ms);
    sqlite3_bind_int64(q, STORE_PARAM_outbox_forget_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

enum rc
store_user_forget(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    if (w->cfg == NULL)
        return RC_OK;
    enum rc rc = forget_presence(w, u, now_ms - cfg_live(&w->cfg->presence_keep_ms), n);
    return rc == RC_OK
               ? forget_outbox(w, u, now_ms - cfg_live(&w->cfg->outbox_keep_ms), n)
               : rc;
}

/* ---- expiry ---- */

enum rc
store_read_expiry(struct store *st, int64_t socket_id, struct store_expiry *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_expiry_read, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_expiry_read_socket_id, socket_id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    *out =
        (struct store_expiry){sqlite3_column_int64(q, 0), sqlite3_column_int(q, 1) != 0};
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
run_drop(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_drop);
    sqlite3_bind_int64(q, STORE_PARAM_socket_drop_socket_id,
                       store_step_socket(u, ((struct drop_step *)step)->socket_id));
    return conn_done(q);
}

void
store_unit_socket_drop(struct store_unit *u, int64_t socket_id)
{
    struct drop_step *s = store_step_add(u, sizeof *s, run_drop, 0);
    s->socket_id = socket_id;
}
