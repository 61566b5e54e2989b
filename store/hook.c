/*
 * What the web hook is still to be told: a queue in the database, in order for each
 * socket.
 *
 * 1. Of each socket's rows that wait, the first is the head; only a head has a due_ms (a
 * UNIQUE index says so). What ends a head makes the next one due in the same commit.
 * 2. A row is posted by who claimed it, in the generation of that claim; another process
 * may take it when that one is dead, or its lease is over. The unit that
 * applies an answer deletes the row first (guard), so the answer takes effect once;
 * whoever was taken over, or came too late, changes nothing.
 * 3. The queue is bounded in rows, bytes, and rows a socket; beyond, connections are
 * refused and events are dropped and counted. The ends of sockets may go on to twice
 * that, so that the receiver is rid of them.
 * 4. A connection that waits has a job that refuses it in time. Row and job end together:
 * of the answer and the job, the first to commit wins.
 *
 * Run functions: store thread. Reads are in read.c's manner, on the loop's thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/log.h"
#include "store/step.h"

enum { PARKED_MAX = 1000 };

struct put_step {
    struct store_step head; /* packet: what refuses a connection, else NULL */
    struct store_hook_new h;
    int64_t due_ms;
    struct str job_args;
};

struct hook_step {
    struct store_step head;
    int64_t hook_id, gen, due_ms, lease_len_ms, session_id;
    struct str event_id, vain_id, vain_body, error;
    bool is_told;
};

/* ---- putting ---- */

static enum rc
count(struct store_write *w, int64_t *n_rows, int64_t *n_bytes)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_count);
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    *n_rows = sqlite3_column_int64(q, 0);
    *n_bytes = sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
is_socket_full(struct store_write *w, struct str sio_id, int64_t n_max, bool *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_socket_full);
    conn_bind_str(q, STORE_PARAM_hook_socket_full_sio_id, sio_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_socket_full_n, n_max - 1);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* Invariant 3. */
static enum rc
is_full(struct store_write *w, const struct store_hook_new *h, bool *out)
{
    int64_t n_rows = 0, n_bytes = 0;
    int64_t factor = h->kind == STORE_HOOK_DISCONNECT ? 2 : 1;
    int64_t n = (int64_t)(h->body.len + h->attachments.len);
    enum rc rc = count(w, &n_rows, &n_bytes);
    *out = false;
    if (rc != RC_OK || w->cfg == NULL)
        return rc;
    *out = n_rows >= factor * w->cfg->hook_queue_rows ||
           n_bytes + n > factor * w->cfg->hook_queue_bytes;
    if (*out || h->kind == STORE_HOOK_DISCONNECT)
        return RC_OK;
    return is_socket_full(w, h->sio_id, w->cfg->hook_socket_rows, out);
}

static enum rc
note_dropped(struct store_write *w, const struct store_hook_new *h)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_drop);
    sqlite3_bind_int64(q, STORE_PARAM_hook_drop_now_ms, w->now_ms);
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    if (sqlite3_column_int(q, 1) != 0)
        log_warn("store", "hook.dropped", LOG_I("total", sqlite3_column_int64(q, 0)),
                 LOG_S("nsp", h->nsp),
                 LOG_Z("reason", "hook_queue, hook_queue_bytes or hook_socket_queue"));
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
insert(struct store_write *w, const struct store_unit *u, const struct store_hook_new *h,
       int64_t job_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_put);
    conn_bind_str(q, STORE_PARAM_hook_put_event_id, h->event_id);
    sqlite3_bind_int(q, STORE_PARAM_hook_put_kind, (int)h->kind);
    conn_bind_str(q, STORE_PARAM_hook_put_sio_id, h->sio_id);
    store_step_bind_id(q, STORE_PARAM_hook_put_socket_id,
                       store_step_socket(u, h->socket_id));
    store_step_bind_id(q, STORE_PARAM_hook_put_session_id, h->session_id);
    store_step_bind_id(q, STORE_PARAM_hook_put_job_id, job_id);
    conn_bind_str(q, STORE_PARAM_hook_put_nsp, h->nsp);
    conn_bind_str(q, STORE_PARAM_hook_put_body, h->body);
    store_step_bind_blob(q, STORE_PARAM_hook_put_attachments, h->attachments);
    if (h->has_ack_id)
        sqlite3_bind_int64(q, STORE_PARAM_hook_put_ack_id, h->ack_id);
    else
        sqlite3_bind_null(q, STORE_PARAM_hook_put_ack_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_put_n_bytes,
                       (int64_t)(h->body.len + h->attachments.len));
    sqlite3_bind_int64(q, STORE_PARAM_hook_put_now_ms, w->now_ms);
    return conn_done(q);
}

static enum rc
run_put(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct put_step *s = (struct put_step *)step;
    bool is_too_much = false;
    enum rc rc = is_full(w, &s->h, &is_too_much);
    if (rc != RC_OK)
        return rc;
    return is_too_much ? note_dropped(w, &s->h) : insert(w, u, &s->h, 0);
}

static struct put_step *
add_put(struct store_unit *u, store_step_fn *run, const struct store_hook_new *h)
{
    struct put_step *s = store_step_add(u, sizeof *s, run, 0);
    s->h = *h;
    s->h.event_id = store_step_copy(u, h->event_id);
    s->h.sio_id = store_step_copy(u, h->sio_id);
    s->h.nsp = store_step_copy(u, h->nsp);
    s->h.body = store_step_copy(u, h->body);
    s->h.attachments = store_step_copy(u, h->attachments);
    return s;
}

void
store_unit_hook_put(struct store_unit *u, const struct store_hook_new *h)
{
    (void)add_put(u, run_put, h);
}

/* ---- a connection that waits ---- */

static enum rc
is_held_already(struct store_write *w, const struct store_hook_new *h, bool *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_session_nsp);
    sqlite3_bind_int64(q, STORE_PARAM_hook_session_nsp_session_id, h->session_id);
    conn_bind_str(q, STORE_PARAM_hook_session_nsp_nsp, h->nsp);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* More than one session may have waiting, whatever their namespaces. */
static enum rc
is_session_full(struct store_write *w, int64_t session_id, bool *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_session_full);
    sqlite3_bind_int64(q, STORE_PARAM_hook_session_full_session_id, session_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_session_full_n,
                       w->cfg ? w->cfg->hook_socket_rows - 1 : 0);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
refuse(struct store_write *w, const struct store_hook_new *h, struct store_packet *p)
{
    p->to_kind = STORE_TO_SESSION;
    p->to_id = h->session_id;
    enum rc rc = store_log_append(w, p);
    return rc == RC_OK ? note_dropped(w, h) : rc;
}

static enum rc
run_hold(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct put_step *s = (struct put_step *)step;
    bool is_twice = false, is_too_much = false;
    int64_t job_id;
    enum rc rc = is_held_already(w, &s->h, &is_twice);
    if (rc != RC_OK || is_twice)
        return rc; /* the first one will be answered */
    rc = is_full(w, &s->h, &is_too_much);
    if (rc == RC_OK && !is_too_much)
        rc = is_session_full(w, s->h.session_id, &is_too_much);
    if (rc != RC_OK)
        return rc;
    if (is_too_much)
        return refuse(w, &s->h, step->packet);
    rc = store_job_create(w, u, s->due_ms, STR(STORE_JOB_HOOK_EXPIRE), 0, s->job_args, 0,
                          &job_id);
    return rc == RC_OK ? insert(w, u, &s->h, job_id) : rc;
}

void
store_unit_hook_hold(struct store_unit *u, const struct store_hook_new *h, int64_t due_ms,
                     struct str job_args, struct store_packet *refusal)
{
    struct put_step *s = add_put(u, run_hold, h);
    s->due_ms = due_ms;
    s->job_args = store_step_copy(u, job_args);
    s->head.packet = refusal;
}

/* ---- a connection that was accepted ---- */

static enum rc
is_connected(struct store_write *w, struct str sio_id, bool *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_connected);
    conn_bind_str(q, STORE_PARAM_hook_connected_sio_id, sio_id);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
run_vain(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct put_step *s = (struct put_step *)step;
    bool is_there = false;
    enum rc rc = is_connected(w, s->h.sio_id, &is_there);
    return rc != RC_OK || is_there ? rc : insert(w, u, &s->h, 0);
}

void
store_unit_hook_vain(struct store_unit *u, const struct store_hook_new *h)
{
    (void)add_put(u, run_vain, h);
}

/* ---- claims, and what becomes of them ---- */

static struct hook_step *
add_step(struct store_unit *u, store_step_fn *run, int64_t hook_id, int64_t gen)
{
    struct hook_step *s = store_step_add(u, sizeof *s, run, STORE_STEP_GUARD);
    s->hook_id = hook_id;
    s->gen = gen;
    return s;
}

static enum rc
run_claim(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct hook_step *s = (struct hook_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_claim);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_hook_claim_hook_id, s->hook_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_claim_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_hook_claim_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_claim_lease_ms, w->now_ms + s->lease_len_ms);
    return store_step_change(w, q);
}

void
store_unit_hook_claim(struct store_unit *u, int64_t hook_id, int64_t gen,
                      int64_t lease_len_ms)
{
    add_step(u, run_claim, hook_id, gen)->lease_len_ms = lease_len_ms;
}

/* Invariant 1. */
static enum rc
make_next_due(struct store_write *w, struct str sio_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_next);
    conn_bind_str(q, STORE_PARAM_hook_next_sio_id, sio_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_next_now_ms, w->now_ms);
    return conn_done(q);
}

/* After hook_done and hook_park, which say the same: the job goes (invariant 4), the next
 * one comes. */
static enum rc
end_head(struct store_write *w, sqlite3_stmt *q)
{
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
    char *sio_id = str_dup(conn_column(q, 0));
    int64_t job_id = sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    if (job_id != 0)
        rc = store_job_remove(w, job_id);
    if (rc == RC_OK)
        rc = make_next_due(w, str_of(sio_id));
    free(sio_id);
    return rc;
}

static enum rc
run_guard_hook(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct hook_step *s = (struct hook_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_done);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_hook_done_hook_id, s->hook_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_done_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_hook_done_process_id, w->process_id);
    return end_head(w, q);
}

void
store_unit_guard_hook(struct store_unit *u, int64_t hook_id, int64_t gen)
{
    (void)add_step(u, run_guard_hook, hook_id, gen);
}

static enum rc
run_retry(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct hook_step *s = (struct hook_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_retry);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_hook_retry_hook_id, s->hook_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_retry_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_hook_retry_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_retry_due_ms, s->due_ms);
    sqlite3_bind_int(q, STORE_PARAM_hook_retry_is_told, s->is_told);
    conn_bind_str(q, STORE_PARAM_hook_retry_error, s->error);
    return store_step_change(w, q);
}

void
store_unit_hook_retry(struct store_unit *u, int64_t hook_id, int64_t gen, int64_t due_ms,
                      bool is_told, struct str error)
{
    struct hook_step *s = add_step(u, run_retry, hook_id, gen);
    s->due_ms = due_ms;
    s->is_told = is_told;
    s->error = store_step_copy(u, error);
}

static enum rc
trim_parked(struct store_write *w)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_trim);
    sqlite3_bind_int64(q, STORE_PARAM_hook_trim_n_max, PARKED_MAX);
    sqlite3_bind_int64(q, STORE_PARAM_hook_trim_bytes_max,
                       w->cfg ? w->cfg->hook_queue_bytes : INT64_MAX);
    return conn_done(q);
}

static enum rc
run_park(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct hook_step *s = (struct hook_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_park);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_hook_park_hook_id, s->hook_id);
    sqlite3_bind_int64(q, STORE_PARAM_hook_park_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_hook_park_process_id, w->process_id);
    conn_bind_str(q, STORE_PARAM_hook_park_error, s->error);
    enum rc rc = end_head(w, q);
    return rc == RC_OK ? trim_parked(w) : rc;
}

void
store_unit_hook_park(struct store_unit *u, int64_t hook_id, int64_t gen, struct str error)
{
    struct hook_step *s = add_step(u, run_park, hook_id, gen);
    s->error = store_step_copy(u, error);
}

/* ---- the job that refuses a connection ---- */

/* The receiver may hold the connection for accepted: it is told of its end. */
static enum rc
put_vain(struct store_write *w, struct store_unit *u, const struct hook_step *s,
         struct str sio_id, struct str nsp)
{
    struct store_hook_new h = {.kind = STORE_HOOK_DISCONNECT,
                               .event_id = s->vain_id,
                               .sio_id = sio_id,
                               .nsp = nsp,
                               .body = s->vain_body};
    return insert(w, u, &h, 0);
}

static enum rc
run_expire(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct hook_step *s = (struct hook_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_hook_expire);
    conn_bind_str(q, STORE_PARAM_hook_expire_event_id, s->event_id);
    conn_bind_str(q, STORE_PARAM_hook_expire_error, s->error);
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
    char *sio_id = str_dup(conn_column(q, 0)), *nsp = str_dup(conn_column(q, 1));
    bool is_told = sqlite3_column_int(q, 2) != 0;
    sqlite3_reset(q);
    if (is_told && s->vain_id.len > 0)
        rc = put_vain(w, u, s, str_of(sio_id), str_of(nsp));
    if (rc == RC_OK)
        rc = make_next_due(w, str_of(sio_id));
    if (rc == RC_OK)
        rc = trim_parked(w);
    free(sio_id);
    free(nsp);
    return rc;
}

void
store_unit_hook_expire(struct store_unit *u, struct str event_id, struct str error,
                       struct str vain_id, struct str vain_body)
{
    struct hook_step *s = add_step(u, run_expire, 0, 0);
    s->event_id = store_step_copy(u, event_id);
    s->error = store_step_copy(u, error);
    s->vain_id = store_step_copy(u, vain_id);
    s->vain_body = store_step_copy(u, vain_body);
}
