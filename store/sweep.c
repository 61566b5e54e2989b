/*
 * Sweeping: what the dead held is freed or closed; what nobody needs any more is
 * forgotten. Bounded slices inside ordinary units: a caller comes back while there is
 * work.
 *
 * 1. Bury: from the first slice on the jobs of the dead are anybody's; its row goes with
 * its last lease.
 * 2. Forget keeps the N_SOCKETS_KEPT sockets that ended last (their reasons are asked
 * for), and any whose session may still be owed a row from before its end. A session goes
 * when it was closed for a while and its last socket is forgotten.
 * 3. A room goes when it is empty and the whole log is younger than that; a dynamic
 * namespace likewise (cleanup_nsp), when no socket or room that is remembered names it.
 *
 * Run functions: store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "store/step.h"

enum { N_SOCKETS_KEPT = 1000, DEDUP_MS = 3600000 };

struct bury_step {
    struct store_step head;
    int64_t process_id, now_ms;
    struct str reason;
    bool is_recoverable;
    size_t n;
};

struct forget_step {
    struct store_step head;
    int64_t now_ms;
    size_t n;
};

struct held {
    int64_t session_id;
    bool is_open_ws;
};

/* ---- bury ---- */

static enum rc
mark_dead(struct store_write *w, int64_t process_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_bury_mark);
    sqlite3_bind_int64(q, STORE_PARAM_bury_mark_process_id, process_id);
    return conn_done(q);
}

/* What it holds, at most `*n`; the list is read to its end before leases change. */
static enum rc
list_held(struct store_write *w, int64_t process_id, struct held *held, size_t *n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_bury_list);
    size_t i = 0;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_bury_list_process_id, process_id);
    sqlite3_bind_int64(q, STORE_PARAM_bury_list_n, (int64_t)*n);
    while ((rc = conn_step(q)) == RC_OK)
        held[i++] = (struct held){.session_id = sqlite3_column_int64(q, 0),
                                  .is_open_ws = sqlite3_column_int(q, 1) == 1 &&
                                                sqlite3_column_int(q, 2) == 0};
    *n = i;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
free_lease(struct store_write *w, int64_t session_id, int64_t process_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_bury_free);
    sqlite3_bind_int64(q, STORE_PARAM_bury_free_session_id, session_id);
    sqlite3_bind_int64(q, STORE_PARAM_bury_free_process_id, process_id);
    return conn_done(q);
}

static enum rc
close_lost_ws(struct store_write *w, struct store_unit *u, const struct bury_step *s,
              int64_t session_id)
{
    struct store_end e = {
        .reason = s->reason, .is_recoverable = s->is_recoverable, .now_ms = s->now_ms};
    return store_session_end(w, u, session_id, &e);
}

static enum rc
remove_process(struct store_write *w, int64_t process_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_bury_process);
    sqlite3_bind_int64(q, STORE_PARAM_bury_process_process_id, process_id);
    return conn_done(q);
}

static enum rc
run_bury(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct bury_step *s = (struct bury_step *)step;
    struct held *held = xmalloc((s->n ? s->n : 1) * sizeof *held);
    size_t n = s->n;
    enum rc rc = mark_dead(w, s->process_id);
    if (rc == RC_OK)
        rc = list_held(w, s->process_id, held, &n);
    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = held[i].is_open_ws ? close_lost_ws(w, u, s, held[i].session_id)
                                : free_lease(w, held[i].session_id, s->process_id);
    if (rc == RC_OK && n < s->n)
        rc = remove_process(w, s->process_id);
    else if (rc == RC_OK)
        store_step_note_more(u);
    free(held);
    return rc;
}

void
store_unit_bury(struct store_unit *u, int64_t process_id, struct str reason,
                bool is_recoverable, int64_t now_ms, size_t n)
{
    struct bury_step *s = store_step_add(u, sizeof *s, run_bury, 0);
    s->process_id = process_id;
    s->reason = store_step_copy(u, reason);
    s->is_recoverable = is_recoverable;
    s->now_ms = now_ms;
    s->n = n;
}

/* ---- forget ---- */

static enum rc
expire_sockets(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_expire);
    sqlite3_bind_int64(q, STORE_PARAM_socket_expire_limit_ms,
                       now_ms - (w->cfg ? w->cfg->recovery_ms : 0));
    sqlite3_bind_int64(q, STORE_PARAM_socket_expire_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

static enum rc
forget_session(struct store_write *w, int64_t session_id, int64_t now_ms)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_forget_session);
    sqlite3_bind_int64(q, STORE_PARAM_forget_session_session_id, session_id);
    sqlite3_bind_int64(q, STORE_PARAM_forget_session_now_ms, now_ms);
    return conn_done(q);
}

/* RETURNING has done all its work when the first row comes, so that sessions may go
 * meanwhile. */
static enum rc
forget_sockets(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_forget_sockets);
    size_t n_gone = 0;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_forget_sockets_n_keep, N_SOCKETS_KEPT);
    sqlite3_bind_int64(q, STORE_PARAM_forget_sockets_n, (int64_t)n);
    for (; (rc = conn_step(q)) == RC_OK; n_gone++) {
        rc = forget_session(w, sqlite3_column_int64(q, 0), now_ms);
        if (rc != RC_OK)
            break;
    }
    sqlite3_reset(q);
    if (n_gone >= n)
        store_step_note_more(u);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
postpone_sessions(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_forget_later);
    sqlite3_bind_int64(q, STORE_PARAM_forget_later_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_forget_later_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

static enum rc
forget_sessions(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_forget_sessions);
    sqlite3_bind_int64(q, STORE_PARAM_forget_sessions_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_forget_sessions_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

static enum rc
forget_rooms(struct store_write *w, struct store_unit *u, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_room_forget);
    sqlite3_bind_int64(q, STORE_PARAM_room_forget_n, (int64_t)n);
    enum rc rc = store_step_slice(u, q, n);
    if (rc != RC_OK)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_room_postpone);
    sqlite3_bind_int64(q, STORE_PARAM_room_postpone_seq, w->last_seq);
    sqlite3_bind_int64(q, STORE_PARAM_room_postpone_n, (int64_t)n);
    return conn_done(q);
}

/* Dynamic namespaces (cleanup_nsp). */
static enum rc
forget_nsps(struct store_write *w, struct store_unit *u, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_nsp_forget);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_forget_n, (int64_t)n);
    enum rc rc = store_step_slice(u, q, n);
    if (rc != RC_OK)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_nsp_postpone);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_postpone_seq, w->last_seq);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_postpone_n, (int64_t)n);
    return conn_done(q);
}

static enum rc
forget_dedup(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_dedup_forget);
    sqlite3_bind_int64(q, STORE_PARAM_dedup_forget_limit_ms, now_ms - DEDUP_MS);
    sqlite3_bind_int64(q, STORE_PARAM_dedup_forget_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

/* Where to look this time: questions that wait for ever have no order of their own, and
 * this keeps no state. */
static enum rc
choose_start(struct store_write *w, int64_t now_ms, int64_t *start_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_asks_range);
    enum rc rc = conn_step(q);
    *start_id = 0;
    if (rc == RC_OK && sqlite3_column_type(q, 0) != SQLITE_NULL) {
        uint64_t low = (uint64_t)sqlite3_column_int64(q, 0);
        uint64_t span = (uint64_t)sqlite3_column_int64(q, 1) - low + 1;
        *start_id = (int64_t)(low + (uint64_t)now_ms * 11400714819323198485u % span);
    }
    sqlite3_reset(q);
    return rc;
}

static enum rc
forget_asks(struct store_write *w, int64_t now_ms, size_t n)
{
    int64_t start_id;
    sqlite3_stmt *q;
    enum rc rc = choose_start(w, now_ms, &start_id);
    if (rc != RC_OK || !start_id)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_asks_forget);
    sqlite3_bind_int64(q, STORE_PARAM_asks_forget_start_id, start_id);
    sqlite3_bind_int64(q, STORE_PARAM_asks_forget_n, (int64_t)n);
    while ((rc = conn_step(q)) == RC_OK) {
        rc = store_ask_forget(w, sqlite3_column_int64(q, 0));
        if (rc != RC_OK)
            break;
    }
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
expire_asks(struct store_write *w, int64_t now_ms, size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_asks_expire);
    sqlite3_bind_int64(q, STORE_PARAM_asks_expire_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_asks_expire_n, (int64_t)n);
    return conn_done(q);
}

static enum rc
run_forget(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct forget_step *s = (struct forget_step *)step;
    enum rc rc = expire_sockets(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = forget_sockets(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = postpone_sessions(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = forget_sessions(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = forget_rooms(w, u, s->n);
    if (rc == RC_OK && w->cfg != NULL && w->cfg->is_cleanup_nsp)
        rc = forget_nsps(w, u, s->n);
    if (rc == RC_OK)
        rc = forget_dedup(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = forget_asks(w, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = expire_asks(w, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = store_user_forget(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = store_history_forget(w, u, s->now_ms, s->n);
    if (rc == RC_OK)
        rc = store_retry_forget(w, u, s->now_ms, s->n);
    return rc;
}

void
store_unit_forget(struct store_unit *u, int64_t now_ms, size_t n)
{
    struct forget_step *s = store_step_add(u, sizeof *s, run_forget, 0);
    s->now_ms = now_ms;
    s->n = n;
}
