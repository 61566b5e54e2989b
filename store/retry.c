/*
 * Retries of clients: an event that has a key is handled once, however often it is sent,
 * and its ack goes to whoever has sent it last.
 *
 * 1. The mark, the handler's effects and the ack that it gives are of one commit.
 * 2. Of two units that handle the same event at the same time, one finds the mark of the
 * other: its effects are left out.
 * 3. An ack is kept with the mark, whoever gives it: the steps here, or an INSERT INTO
 * ack (schema/views/ask.sql), by the event_id of the first try.
 *
 * Run functions: store thread. The read: loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/step.h"

struct retry_step {
    struct store_step head;
    struct store_retry r;
};

struct answer_step {
    struct store_step head; /* the ack */
    struct str event_id;
    int64_t socket_id, ack_id;
};

enum rc
store_read_retry(struct store *st, const struct store_retry *r, bool *is_known)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_retry_known, &q);
    if (rc != RC_OK)
        return rc;
    conn_bind_str(q, STORE_PARAM_retry_known_client, r->client);
    conn_bind_str(q, STORE_PARAM_retry_known_event, r->event);
    conn_bind_str(q, STORE_PARAM_retry_known_key, r->key);
    return store_read_has_row(q, is_known);
}

/* ---- the event ---- */

/* RC_CONFLICT: it is known. */
static enum rc
add(struct store_write *w, const struct store_retry *r, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_retry_add);
    conn_bind_str(q, STORE_PARAM_retry_add_client, r->client);
    conn_bind_str(q, STORE_PARAM_retry_add_event, r->event);
    conn_bind_str(q, STORE_PARAM_retry_add_key, r->key);
    conn_bind_str(q, STORE_PARAM_retry_add_event_id, r->event_id);
    sqlite3_bind_int64(q, STORE_PARAM_retry_add_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_retry_add_ack_id, r->ack_id);
    sqlite3_bind_int64(q, STORE_PARAM_retry_add_now_ms, w->now_ms);
    return store_step_change(w, q);
}

static enum rc
trim(struct store_write *w, struct str client)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_retry_trim);
    if (w->cfg == NULL)
        return RC_OK;
    conn_bind_str(q, STORE_PARAM_retry_trim_client, client);
    sqlite3_bind_int64(q, STORE_PARAM_retry_trim_n,
                       cfg_live(&w->cfg->n_client_retries_max));
    return conn_done(q);
}

/* A socket that has gone gets nothing. */
static enum rc
send(struct store_write *w, const struct store_unit *u, int64_t socket_id, int64_t ack_id,
     struct store_packet *p)
{
    const struct store_target to = {.to = STORE_TO_SOCKET, .id = socket_id};
    struct store_route route;
    enum rc rc = store_target_route(w, u, &to, &route);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    store_route_apply(&route, p);
    p->ack_id = ack_id;
    return store_log_append(w, p);
}

/* The ack goes out again, or will go to this one. */
static enum rc
repeat(struct store_write *w, const struct store_unit *u, const struct store_retry *r,
       int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_retry_again);
    struct store_packet *p = NULL;
    conn_bind_str(q, STORE_PARAM_retry_again_client, r->client);
    conn_bind_str(q, STORE_PARAM_retry_again_event, r->event);
    conn_bind_str(q, STORE_PARAM_retry_again_key, r->key);
    sqlite3_bind_int64(q, STORE_PARAM_retry_again_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_retry_again_ack_id, r->ack_id);
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_IO : rc;
    if (sqlite3_column_int(q, 0) != 0)
        p = store_packet_create(conn_column(q, 2).len > 0 ? STORE_BINARY_ACK : STORE_ACK,
                                conn_column(q, 1), conn_column(q, 2));
    sqlite3_reset(q);
    if (p == NULL)
        return RC_OK;
    rc = send(w, u, socket_id, r->ack_id, p);
    store_packet_unref(p);
    return rc;
}

/* SIO-RETRY */
static enum rc
run_retry(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_retry *r = &((struct retry_step *)step)->r;
    int64_t socket_id = store_step_socket(u, r->socket_id);
    enum rc rc = add(w, r, socket_id);
    if (rc == RC_OK)
        return trim(w, r->client);
    if (rc == RC_CONFLICT)
        rc = repeat(w, u, r, socket_id);
    return rc == RC_OK ? RC_NOTFOUND : rc;
}

void
store_unit_retry(struct store_unit *u, const struct store_retry *r)
{
    struct retry_step *s = store_step_add(u, sizeof *s, run_retry, STORE_STEP_BLOCK);
    s->r = *r;
    s->r.client = store_step_copy(u, r->client);
    s->r.event = store_step_copy(u, r->event);
    s->r.key = store_step_copy(u, r->key);
    s->r.event_id = store_step_copy(u, r->event_id);
}

/* ---- its ack ---- */

/* SIO-RETRY-ACK */
static enum rc
run_answer(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct answer_step *s = (struct answer_step *)step;
    struct store_packet *p = step->packet;
    int64_t socket_id = store_step_socket(u, s->socket_id), ack_id = s->ack_id;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_retry_answer);
    conn_bind_str(q, STORE_PARAM_retry_answer_event_id, s->event_id);
    conn_bind_str(q, STORE_PARAM_retry_answer_body, p->body);
    if (p->attachments.len)
        store_step_bind_blob(q, STORE_PARAM_retry_answer_attachments, p->attachments);
    enum rc rc = conn_step(q);
    if (rc == RC_OK) {
        socket_id = sqlite3_column_int64(q, 0);
        ack_id = sqlite3_column_int64(q, 1);
    }
    sqlite3_reset(q);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    return send(w, u, socket_id, ack_id, p);
}

void
store_unit_retry_answer(struct store_unit *u, struct str event_id, int64_t socket_id,
                        int64_t ack_id, struct store_packet *p)
{
    struct answer_step *s = store_step_add(u, sizeof *s, run_answer, 0);
    s->event_id = store_step_copy(u, event_id);
    s->socket_id = socket_id;
    s->ack_id = ack_id;
    s->head.packet = p;
}

/* ---- forgetting ---- */

/* SIO-RETRY-KEEP */
enum rc
store_retry_forget(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_retry_forget);
    if (w->cfg == NULL)
        return RC_OK;
    sqlite3_bind_int64(q, STORE_PARAM_retry_forget_limit_ms,
                       now_ms - cfg_live(&w->cfg->retry_keep_ms));
    sqlite3_bind_int64(q, STORE_PARAM_retry_forget_n_max,
                       cfg_live(&w->cfg->n_retries_max));
    sqlite3_bind_int64(q, STORE_PARAM_retry_forget_n, (int64_t)n);
    return store_step_slice(u, q, n);
}
