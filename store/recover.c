/*
 * Connection state recovery (design, section 7): takeover of a lost socket by a new
 * session.
 *
 * One transaction: the claim (zero rows: nothing of the unit is done), the intervals that
 * the loss closed are opened again, and ONE row to the new session that is the CONNECT
 * reply, the start of the replay (arg_id) and the rooms (to_keys). A socket whose loss
 * nobody noticed yet is ended first, with its session.
 *
 * Store thread; store_read_recovery: loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "store/step.h"

struct recover_step {
    struct store_step head;
    struct store_recover r;
};

struct taken {
    int64_t socket_id, nsp_id, until_seq;
};

static enum rc
end_former(struct store_write *w, struct store_unit *u, const struct store_recover *r)
{
    struct store_end e = {
        .reason = r->reason, .is_recoverable = true, .now_ms = r->now_ms};
    int64_t session_id;
    enum rc rc = store_socket_session(w->conn, r->socket_id, &session_id);
    if (rc == RC_OK && session_id == r->old_session_id)
        rc = store_session_end(w, u, session_id, &e);
    return rc == RC_NOTFOUND || rc == RC_CONFLICT ? RC_OK : rc;
}

static enum rc
take(struct store_write *w, const struct store_recover *r, struct taken *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_recovery_take);
    enum rc rc;
    conn_bind_str(q, STORE_PARAM_recovery_take_pid, r->recovery_pid);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_take_old_id, r->old_session_id);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_take_session_id, r->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_take_offset, r->offset_seq);
    rc = conn_step(q);
    if (rc == RC_OK)
        *out = (struct taken){sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1),
                              sqlite3_column_int64(q, 2)};
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
}

static enum rc
drop_job(struct store_write *w, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_recovery_job);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_job_socket_id, socket_id);
    return conn_done(q);
}

static enum rc
reopen_room(struct store_write *w, int64_t room_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_recovery_room);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_room_room_id, room_id);
    return conn_done(q);
}

static enum rc
reopen_members(struct store_write *w, const struct taken *t, struct store_packet *p)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_recovery_members);
    enum rc rc;
    free(p->to_keys); /* of a run that was rolled back */
    p->to_keys = NULL;
    p->n_to_keys = 0;
    sqlite3_bind_int64(q, STORE_PARAM_recovery_members_socket_id, t->socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_members_until_seq, t->until_seq);
    while ((rc = conn_step(q)) == RC_OK) {
        p->to_keys = xrealloc(p->to_keys, (p->n_to_keys + 1) * sizeof *p->to_keys);
        p->to_keys[p->n_to_keys++] = store_key(STORE_TO_ROOM, sqlite3_column_int64(q, 0));
    }
    sqlite3_reset(q);
    rc = rc == RC_NOTFOUND ? RC_OK : rc;
    for (size_t i = 0; rc == RC_OK && i < p->n_to_keys; i++)
        rc = reopen_room(w, p->to_keys[i] / 4);
    return rc;
}

static enum rc
begin(struct store_write *w, const struct store_recover *r, const struct taken *t,
      int64_t seq)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_recovery_begin);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_recovery_begin_socket_id, t->socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_begin_seq, seq);
    rc = conn_done(q);
    if (rc != RC_OK)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_recovery_keep);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_keep_session_id, r->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_keep_offset, r->offset_seq);
    sqlite3_bind_int64(q, STORE_PARAM_recovery_keep_seq, seq);
    return conn_done(q);
}

static enum rc
run_recover(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_recover *r = &((struct recover_step *)step)->r;
    struct store_packet *p = step->packet;
    struct taken t;
    enum rc rc = end_former(w, u, r);
    if (rc == RC_OK)
        rc = take(w, r, &t);
    if (rc == RC_OK)
        rc = drop_job(w, t.socket_id);
    if (rc == RC_OK)
        rc = reopen_members(w, &t, p);
    if (rc != RC_OK)
        return rc;
    p->nsp_id = t.nsp_id;
    p->to_kind = STORE_TO_SESSION;
    p->to_id = r->session_id;
    p->socket_id = t.socket_id;
    p->arg_id = r->offset_seq;
    p->ack_id = r->part_seq;
    rc = store_log_append(w, p);
    if (rc == RC_OK)
        rc = begin(w, r, &t, p->seq);
    if (rc == RC_OK)
        rc = store_socket_connected(w, r->session_id, r->due_ms);
    return rc;
}

void
store_unit_recover(struct store_unit *u, const struct store_recover *r)
{
    struct recover_step *s =
        store_step_add(u, sizeof *s, run_recover, STORE_STEP_GUARD | STORE_STEP_UNSURE);
    s->r = *r;
    s->r.recovery_pid = store_step_copy(u, r->recovery_pid);
    s->r.reason = store_step_copy(u, r->reason);
    s->r.reply = STR_NONE; /* in the packet */
    s->head.packet = store_packet_create(STORE_CONNECT, r->reply, STR_NONE);
}
