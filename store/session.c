/*
 * Steps on sessions and their leases: claims of polls and upgrades, closing, heartbeats
 * (design.md, section 4).
 *
 * 1. The generation grows with each claim and each answer: who looked at the lease while
 * somebody else owned it never matches afterwards.
 * 2. Closing raises the post generation, so that a POST under way has no effects.
 * 3. Only an open session has keep_seq, due_ms and upgrade_id.
 *
 * Run functions: store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "store/step.h"

enum {
    FORGET_AFTER_MS = 60000
}; /* a closed session is remembered so long: its client is told why */

/* One struct serves all steps on leases; a step uses the fields that its statement has.
 */
struct lease_step {
    struct store_step head;
    int64_t session_id, gen, post_gen, other_id, cursor_seq, ping_ms, due_ms, now_ms;
    struct str reason;
    bool flag, is_recoverable;
};

struct create_step {
    struct store_step head;
    struct store_session_new s;
};

struct ride_step {
    struct store_step head;
    struct store_ride r;
};

struct text_step {
    struct store_step head;
    int64_t session_id;
    struct str text, attachments;
};

static struct lease_step *
add_lease(struct store_unit *u, store_step_fn *run, unsigned flags, int64_t session_id)
{
    struct lease_step *s = store_step_add(u, sizeof *s, run, flags);
    s->session_id = session_id;
    return s;
}

/* For statements that return gen, cursor_seq, upgrade_id or the first of them.
 * RC_CONFLICT: zero rows. */
static enum rc
read_lease(struct store_unit *u, sqlite3_stmt *stmt, int64_t session_id)
{
    struct store_lease_result *r = store_step_lease(u);
    enum rc rc = conn_step(stmt);
    if (rc == RC_NOTFOUND)
        return RC_CONFLICT;
    if (rc != RC_OK)
        return rc;
    r->session_id = session_id;
    r->gen = sqlite3_column_int64(stmt, 0);
    if (sqlite3_column_count(stmt) > 1)
        r->cursor_seq = sqlite3_column_int64(stmt, 1);
    if (sqlite3_column_count(stmt) > 2)
        r->upgrade_id = sqlite3_column_int64(stmt, 2);
    sqlite3_reset(stmt);
    return RC_OK;
}

/* ---- guards ---- */

static enum rc
run_guard_post(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_post);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_guard_post_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_guard_post_post_gen, s->post_gen);
    return store_step_change(w, q);
}

void
store_unit_guard_post(struct store_unit *u, int64_t session_id, int64_t post_gen)
{
    add_lease(u, run_guard_post, STORE_STEP_GUARD, session_id)->post_gen = post_gen;
}

static enum rc
run_guard_ws(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_ws);
    enum rc rc;
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_guard_ws_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_guard_ws_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_guard_ws_gen, s->gen);
    rc = conn_step(q);
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
}

static enum rc
run_guard_due(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_due);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_guard_due_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_guard_due_now_ms, s->now_ms);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
}

static enum rc
run_guard_session(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_guard_session);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_guard_session_session_id, s->session_id);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_CONFLICT : rc;
}

void
store_unit_guard_session(struct store_unit *u, int64_t session_id)
{
    (void)add_lease(u, run_guard_session, STORE_STEP_GUARD | STORE_STEP_READS,
                    session_id);
}

void
store_unit_guard_due(struct store_unit *u, int64_t session_id, int64_t now_ms)
{
    add_lease(u, run_guard_due, STORE_STEP_GUARD | STORE_STEP_READS, session_id)->now_ms =
        now_ms;
}

void
store_unit_guard_ws(struct store_unit *u, int64_t session_id, int64_t gen)
{
    add_lease(u, run_guard_ws, STORE_STEP_GUARD | STORE_STEP_READS, session_id)->gen =
        gen;
}

/* ---- creation ---- */

static enum rc
create_lease(struct store_write *w, const struct store_session_new *s, int64_t session_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_lease_create);
    sqlite3_bind_int64(q, STORE_PARAM_lease_create_session_id, session_id);
    sqlite3_bind_int(q, STORE_PARAM_lease_create_transport, s->is_websocket);
    store_step_bind_id(q, STORE_PARAM_lease_create_owner_id,
                       s->is_websocket ? w->process_id : 0);
    sqlite3_bind_int(q, STORE_PARAM_lease_create_gen, s->is_websocket);
    sqlite3_bind_int64(q, STORE_PARAM_lease_create_cursor_seq, w->last_seq);
    if (!s->is_websocket)
        sqlite3_bind_int64(q, STORE_PARAM_lease_create_keep_seq, w->last_seq);
    store_step_bind_id(q, STORE_PARAM_lease_create_connect_due_ms, s->connect_due_ms);
    sqlite3_bind_int64(q, STORE_PARAM_lease_create_ping_ms, s->ping_ms);
    store_step_bind_id(q, STORE_PARAM_lease_create_due_ms,
                       s->is_websocket ? 0 : s->due_ms);
    return conn_done(q);
}

static enum rc
run_session_create(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_session_new *s = &((struct create_step *)step)->s;
    struct store_lease_result *r = store_step_lease(u);
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_create);
    enum rc rc;
    conn_bind_str(q, STORE_PARAM_session_create_eio_sid, s->eio_sid);
    sqlite3_bind_int(q, STORE_PARAM_session_create_protocol, s->protocol);
    conn_bind_str(q, STORE_PARAM_session_create_remote, s->remote);
    conn_bind_str(q, STORE_PARAM_session_create_handshake, s->handshake);
    sqlite3_bind_int64(q, STORE_PARAM_session_create_now_ms, s->now_ms);
    rc = conn_done(q);
    if (rc != RC_OK)
        return rc;
    r->session_id = sqlite3_last_insert_rowid(w->conn->db);
    r->gen = s->is_websocket;
    r->cursor_seq = w->last_seq;
    return create_lease(w, s, r->session_id);
}

void
store_unit_session_create(struct store_unit *u, const struct store_session_new *s)
{
    struct create_step *step = store_step_add(u, sizeof *step, run_session_create, 0);
    step->s = *s;
    step->s.eio_sid = store_step_copy(u, s->eio_sid);
    step->s.remote = store_step_copy(u, s->remote);
    step->s.handshake = store_step_copy(u, s->handshake.len ? s->handshake : STR("{}"));
}

/* ---- polls ---- */

static enum rc
run_poll_claim(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_poll_claim);
    sqlite3_bind_int64(q, STORE_PARAM_poll_claim_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_claim_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_claim_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_poll_claim_dead_id, s->other_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_claim_poll_ms, s->now_ms);
    enum rc rc = store_step_change(w, q);
    if (rc != RC_OK)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_lease_read);
    sqlite3_bind_int64(q, STORE_PARAM_lease_read_session_id, s->session_id);
    return read_lease(u, q, s->session_id);
}

void
store_unit_poll_claim(struct store_unit *u, int64_t session_id, int64_t gen,
                      int64_t dead_id, int64_t poll_ms)
{
    struct lease_step *s = add_lease(u, run_poll_claim, STORE_STEP_GUARD, session_id);
    s->now_ms = poll_ms;
    s->gen = gen;
    s->other_id = dead_id;
}

static enum rc
run_poll_answer(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_poll_answer);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_poll_answer_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_answer_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_answer_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_poll_answer_cursor_seq, s->cursor_seq);
    sqlite3_bind_int(q, STORE_PARAM_poll_answer_is_ping, s->flag);
    rc = store_step_change(w, q);
    if (rc == RC_OK)
        *store_step_lease(u) = (struct store_lease_result){
            .session_id = s->session_id, .gen = s->gen + 1, .cursor_seq = s->cursor_seq};
    return rc;
}

void
store_unit_poll_answer(struct store_unit *u, int64_t session_id, int64_t gen,
                       int64_t cursor_seq, bool is_ping)
{
    struct lease_step *s = add_lease(u, run_poll_answer, STORE_STEP_GUARD, session_id);
    s->gen = gen;
    s->cursor_seq = cursor_seq;
    s->flag = is_ping;
}

static enum rc
run_poll_once(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    struct store_lease_result *r = store_step_lease(u);
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_poll_once);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_poll_once_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_once_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_poll_once_dead_id, s->other_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_once_cursor_seq, s->cursor_seq);
    sqlite3_bind_int(q, STORE_PARAM_poll_once_is_ping, s->flag);
    rc = store_step_change(w, q);
    if (rc == RC_OK)
        *r = (struct store_lease_result){
            .session_id = s->session_id, .gen = s->gen + 1, .cursor_seq = s->cursor_seq};
    return rc;
}

void
store_unit_poll_once(struct store_unit *u, int64_t session_id, int64_t gen,
                     int64_t dead_id, int64_t cursor_seq, bool is_ping)
{
    struct lease_step *s = add_lease(u, run_poll_once, STORE_STEP_GUARD, session_id);
    s->gen = gen;
    s->other_id = dead_id;
    s->cursor_seq = cursor_seq;
    s->flag = is_ping;
}

/* Do the rows that the poll has not seen go out as they are, all of them, in one answer?
 */
static bool
can_ride(const struct store_write *w, const struct store_ride *r)
{
    return !w->is_gapped && w->n_rows == (int64_t)w->n_packets &&
           w->odd_seq <= r->seen.last_seq &&
           w->n_bytes - r->seen.n_bytes <= (uint64_t)r->n_bytes_max;
}

static enum rc
run_poll_ride(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_ride *r = &((struct ride_step *)step)->r;
    if (!can_ride(w, r))
        return RC_OK;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_poll_ride);
    sqlite3_bind_int64(q, STORE_PARAM_poll_ride_session_id, r->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_ride_gen, r->gen);
    sqlite3_bind_int64(q, STORE_PARAM_poll_ride_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_poll_ride_cursor_seq, w->last_seq);
    enum rc rc = store_step_change(w, q);
    if (rc == RC_OK)
        *store_step_ride(u) = (struct store_ride_result){r->gen + 1, w->last_seq};
    return rc == RC_CONFLICT ? RC_OK : rc;
}

void
store_unit_poll_ride(struct store_unit *u, const struct store_ride *r)
{
    ((struct ride_step *)store_step_add(u, sizeof(struct ride_step), run_poll_ride, 0))
        ->r = *r;
}

/* ---- upgrade ---- */

/* Whoever holds its poll hears of it. */
static enum rc
tell_poll(struct store_write *w, struct store_step *step, int64_t session_id)
{
    step->packet->to_kind = STORE_TO_SESSION;
    step->packet->to_id = session_id;
    return store_log_append(w, step->packet);
}

static enum rc
run_upgrade_claim(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_upgrade_claim);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_claim_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_claim_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_claim_dead_id, s->other_id);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_claim_due_ms, s->due_ms);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_claim_now_ms, s->now_ms);
    rc = read_lease(u, q, s->session_id);
    if (rc != RC_OK)
        return rc;
    store_step_lease(u)->upgrade_id = w->process_id;
    return tell_poll(w, step, s->session_id);
}

void
store_unit_upgrade_claim(struct store_unit *u, int64_t session_id, int64_t dead_id,
                         int64_t due_ms, int64_t now_ms)
{
    struct lease_step *s = add_lease(u, run_upgrade_claim, STORE_STEP_GUARD, session_id);
    s->other_id = dead_id;
    s->due_ms = due_ms;
    s->now_ms = now_ms;
    s->head.packet = store_packet_create(STORE_NOOP, STR_NONE, STR_NONE);
}

static enum rc
run_upgrade_commit(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_upgrade_commit);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_commit_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_commit_process_id, w->process_id);
    enum rc rc = read_lease(u, q, s->session_id);
    return rc == RC_OK ? tell_poll(w, step, s->session_id) : rc;
}

void
store_unit_upgrade_commit(struct store_unit *u, int64_t session_id)
{
    struct lease_step *s = add_lease(u, run_upgrade_commit, STORE_STEP_GUARD, session_id);
    s->head.packet = store_packet_create(STORE_NOOP, STR_NONE, STR_NONE);
}

static enum rc
run_upgrade_reset(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_upgrade_reset);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_reset_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_upgrade_reset_seen_id, s->other_id);
    return store_step_change(w, q);
}

void
store_unit_upgrade_reset(struct store_unit *u, int64_t session_id, int64_t seen_id)
{
    add_lease(u, run_upgrade_reset, STORE_STEP_GUARD, session_id)->other_id = seen_id;
}

/* ---- closing ---- */

static enum rc
drop_partial(struct store_write *w, int64_t session_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_partial_drop);
    sqlite3_bind_int64(q, STORE_PARAM_partial_drop_session_id, session_id);
    return conn_done(q);
}

struct ids {
    int64_t *p;
    size_t n, cap;
};

/* Read to the end before a socket changes. */
static enum rc
list_sockets(struct store_write *w, int64_t session_id, struct ids *ids)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_sockets);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_session_sockets_session_id, session_id);
    while ((rc = conn_step(q)) == RC_OK) {
        if (ids->n == ids->cap) {
            ids->cap = ids->cap ? 2 * ids->cap : 8;
            ids->p = xrealloc(ids->p, ids->cap * sizeof *ids->p);
        }
        ids->p[ids->n++] = sqlite3_column_int64(q, 0);
    }
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
end_sockets(struct store_write *w, struct store_unit *u, int64_t session_id,
            const struct store_end *e)
{
    struct ids ids = {0};
    enum rc rc = list_sockets(w, session_id, &ids);
    for (size_t i = 0; rc == RC_OK && i < ids.n; i++)
        rc = store_socket_end(w, u, ids.p[i], e);
    free(ids.p);
    return rc;
}

enum rc
store_session_end(struct store_write *w, struct store_unit *u, int64_t session_id,
                  const struct store_end *e)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_close);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_session_close_session_id, session_id);
    conn_bind_str(q, STORE_PARAM_session_close_reason, e->reason);
    sqlite3_bind_int64(q, STORE_PARAM_session_close_forget_ms,
                       e->now_ms + FORGET_AFTER_MS);
    rc = store_step_change(w, q);
    if (rc == RC_OK)
        rc = drop_partial(w, session_id);
    if (rc == RC_OK)
        rc = end_sockets(w, u, session_id, e);
    if (rc != RC_OK)
        return rc;
    struct store_packet *p = store_packet_create(STORE_CLOSE, e->reason, STR_NONE);
    p->to_kind = STORE_TO_SESSION;
    p->to_id = session_id;
    p->arg_id = e->poll_ms;
    rc = store_log_append(w, p);
    store_packet_unref(p);
    return rc;
}

static enum rc
run_session_close(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    struct store_end e = {.reason = s->reason,
                          .is_recoverable = s->is_recoverable,
                          .now_ms = s->now_ms,
                          .poll_ms = s->other_id};
    enum rc rc = store_session_end(w, u, s->session_id, &e);
    return rc == RC_CONFLICT ? RC_OK : rc;
}

void
store_unit_session_close(struct store_unit *u, int64_t session_id, struct str reason,
                         bool is_recoverable, int64_t now_ms, int64_t poll_ms)
{
    struct lease_step *s = add_lease(u, run_session_close, 0, session_id);
    s->now_ms = now_ms;
    s->other_id = poll_ms;
    s->reason = store_step_copy(u, reason);
    s->is_recoverable = is_recoverable;
}

static enum rc
run_session_told(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_told);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_session_told_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_session_told_cursor_seq, s->cursor_seq);
    sqlite3_bind_int(q, STORE_PARAM_session_told_is_told, s->flag);
    return store_step_change(w, q);
}

void
store_unit_session_told(struct store_unit *u, int64_t session_id, int64_t cursor_seq,
                        bool is_told)
{
    struct lease_step *s = add_lease(u, run_session_told, STORE_STEP_GUARD, session_id);
    s->cursor_seq = cursor_seq;
    s->flag = is_told;
}

/* ---- not guards ---- */

static enum rc
run_caught_up(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_caught_up);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_caught_up_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_caught_up_process_id, w->process_id);
    sqlite3_bind_int64(q, STORE_PARAM_caught_up_gen, s->gen);
    sqlite3_bind_int64(q, STORE_PARAM_caught_up_last_seq, s->cursor_seq);
    return conn_done(q);
}

void
store_unit_caught_up(struct store_unit *u, int64_t session_id, int64_t gen,
                     int64_t last_seq)
{
    struct lease_step *s = add_lease(u, run_caught_up, 0, session_id);
    s->gen = gen;
    s->cursor_seq = last_seq;
}

static enum rc
run_heartbeat(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_heartbeat);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_heartbeat_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_heartbeat_ping_ms, s->ping_ms);
    sqlite3_bind_int(q, STORE_PARAM_heartbeat_is_pinged, s->flag);
    store_step_bind_id(q, STORE_PARAM_heartbeat_due_ms, s->due_ms);
    return conn_done(q);
}

void
store_unit_heartbeat(struct store_unit *u, int64_t session_id, int64_t ping_ms,
                     bool is_pinged, int64_t due_ms)
{
    struct lease_step *s = add_lease(u, run_heartbeat, 0, session_id);
    s->ping_ms = ping_ms;
    s->flag = is_pinged;
    s->due_ms = due_ms;
}

static enum rc
run_session_parser(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_parser);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_session_parser_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_session_parser_parser, s->other_id);
    return conn_done(q);
}

void
store_unit_session_parser(struct store_unit *u, int64_t session_id, int parser)
{
    add_lease(u, run_session_parser, 0, session_id)->other_id = parser;
}

static enum rc
run_session_utf8(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct lease_step *s = (struct lease_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_session_utf8);
    (void)u;
    sqlite3_bind_int64(q, STORE_PARAM_session_utf8_session_id, s->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_session_utf8_utf8, s->other_id);
    return conn_done(q);
}

void
store_unit_session_utf8(struct store_unit *u, int64_t session_id, int utf8)
{
    add_lease(u, run_session_utf8, 0, session_id)->other_id = utf8;
}

static enum rc
mark_partial(struct store_write *w, int64_t session_id, bool is_partial)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_partial_mark);
    sqlite3_bind_int64(q, STORE_PARAM_partial_mark_session_id, session_id);
    sqlite3_bind_int(q, STORE_PARAM_partial_mark_is_partial, is_partial);
    return conn_done(q);
}

static enum rc
run_partial(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct text_step *s = (struct text_step *)step;
    sqlite3_stmt *q;
    enum rc rc = mark_partial(w, s->session_id, s->text.len > 0);
    (void)u;
    if (rc != RC_OK)
        return rc;
    if (!s->text.len)
        return drop_partial(w, s->session_id);
    q = conn_stmt(w->conn, STORE_STMT_partial_put);
    sqlite3_bind_int64(q, STORE_PARAM_partial_put_session_id, s->session_id);
    conn_bind_str(q, STORE_PARAM_partial_put_body, s->text);
    store_step_bind_blob(q, STORE_PARAM_partial_put_attachments, s->attachments);
    return conn_done(q);
}

void
store_unit_partial(struct store_unit *u, int64_t session_id, struct str text,
                   struct str attachments)
{
    struct text_step *s = store_step_add(u, sizeof *s, run_partial, 0);
    s->session_id = session_id;
    s->text = store_step_copy(u, text);
    s->attachments = store_step_copy(u, attachments);
}
