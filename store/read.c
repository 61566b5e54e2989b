/*
 * Reads on the loop's own connection (store/read.h).
 *
 * All reads of a loop turn share one snapshot for as long as nobody commits: taking one
 * costs two locks, and where others have written SQLite drops its page cache. A read that
 * finds another head in the WAL-index than its snapshot was taken at takes a new one, so
 * it sees what it would see without this.
 *
 * 1. No statement is left in the middle, and no snapshot beyond the loop turn
 * (store_read_leave, by store_flush): it would keep the WAL from being restarted.
 * 2. A read starts only while the WAL-index header is at rest: else SQLite might wait.
 * 3. What a function hands out through pointers stands in the connection's scratch buffer
 * until the next function; what a callback gets, in SQLite's row, until it returns. A
 * callback may read, too, but not by the function that called it.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/read.h"

#include <stdlib.h>

#include "store/step.h"

enum { MAX_COPIES = 8, HEAD_TRIES = 1000 };

/* Strings on their way into the scratch buffer, which may move while it grows. */
struct copies {
    struct buf *scratch;
    struct str *out[MAX_COPIES];
    size_t at[MAX_COPIES], len[MAX_COPIES], n;
};

/* ---- inside ---- */

/* The old snapshot ends, unless it is in use up the stack: then it goes on. */
static enum rc
renew(struct store_conn *c, const struct store_head *head)
{
    store_read_leave(c);
    bool is_free = sqlite3_txn_state(c->db, NULL) == SQLITE_TXN_NONE;
    enum rc rc = conn_done(conn_stmt(c, STORE_STMT_read_begin));
    if (rc != RC_OK)
        return rc;
    c->has_snapshot = true;
    if (is_free) { /* it is taken by the first read: after this head, never before */
        c->snapshot = *head;
        c->snapshot_number++;
        c->snapshot_max_seq = -1;
    }
    return RC_OK;
}

enum rc
store_read_enter(struct store *st, struct store_conn **out)
{
    struct store_conn *c = *out = store_reader(st);
    struct store_head head;
    int n_tries = 0;
    buf_clear(&c->scratch);
    if (c->is_in_read)
        return RC_OK;
    while (!store_can_read(st, &head)) /* mostly our own thread, for some ns */
        if (++n_tries == HEAD_TRIES)
            return RC_BUSY;
    if (c->has_snapshot && store_head_eq(&head, &c->snapshot))
        return RC_OK;
    return renew(c, &head);
}

void
store_read_leave(struct store_conn *c)
{
    if (!c->has_snapshot || c->is_in_read)
        return;
    c->has_snapshot = false;
    if (conn_done(conn_stmt(c, STORE_STMT_read_end)) != RC_OK)
        (void)sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
}

enum rc
store_read_stmt(struct store *st, enum store_stmt which, sqlite3_stmt **q)
{
    struct store_conn *c;
    enum rc rc = store_read_enter(st, &c);
    if (rc == RC_OK)
        *q = conn_stmt(c, which);
    return rc;
}

enum rc
store_read_has_row(sqlite3_stmt *q, bool *out)
{
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    *out = rc == RC_OK;
    return RC_OK;
}

static void
copy_later(struct copies *k, struct str s, struct str *out)
{
    k->out[k->n] = out;
    k->at[k->n] = k->scratch->len;
    k->len[k->n] = s.len;
    k->n++;
    buf_append_str(k->scratch, s);
}

static void
copy_now(const struct copies *k)
{
    for (size_t i = 0; i < k->n; i++)
        *k->out[i] =
            k->len[i] ? (struct str){k->scratch->p + k->at[i], k->len[i]} : STR_NONE;
}

enum rc
store_read_two(struct store *st, sqlite3_stmt *q, struct str *a, struct str *b)
{
    struct copies k = {.scratch = &store_reader(st)->scratch};
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    copy_later(&k, conn_column(q, 0), a);
    copy_later(&k, conn_column(q, 1), b);
    copy_now(&k);
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
end_rows(sqlite3_stmt *q, enum rc rc)
{
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* ---- snapshots ---- */

enum rc
store_read_begin(struct store *st, int64_t *max_seq)
{
    struct store_conn *c;
    enum rc rc = store_read_enter(st, &c);
    if (rc == RC_OK && c->snapshot_max_seq < 0)
        rc = store_log_max(c, &c->snapshot_max_seq);
    if (rc != RC_OK)
        return rc;
    c->is_in_read = true;
    *max_seq = c->snapshot_max_seq;
    return RC_OK;
}

void
store_read_end(struct store *st)
{
    store_reader(st)->is_in_read = false;
}

uint64_t
store_read_snapshot(struct store *st)
{
    struct store_conn *c;
    return store_read_enter(st, &c) == RC_OK ? c->snapshot_number : 0;
}

/* ---- sessions ---- */

/* Steps a statement with the columns of read_session_by_id. */
static enum rc
read_session(struct store *st, sqlite3_stmt *q, struct store_session *out)
{
    struct copies k = {.scratch = &store_reader(st)->scratch};
    struct store_session s = {0};
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    s.session_id = sqlite3_column_int64(q, 0);
    s.protocol = sqlite3_column_int(q, 1);
    s.is_closed = sqlite3_column_int(q, 2) == 1;
    s.is_websocket = sqlite3_column_int(q, 3) == 1;
    s.has_partial = sqlite3_column_int(q, 4) != 0;
    s.owner_id = sqlite3_column_int64(q, 5);
    s.gen = sqlite3_column_int64(q, 6);
    s.post_gen = sqlite3_column_int64(q, 7);
    s.cursor_seq = sqlite3_column_int64(q, 8);
    s.upgrade_id = sqlite3_column_int64(q, 9);
    s.upgrade_due_ms = sqlite3_column_int64(q, 10);
    s.ping_ms = sqlite3_column_int64(q, 11);
    s.due_ms = sqlite3_column_int64(q, 12);
    s.connect_due_ms = sqlite3_column_int64(q, 13);
    s.is_pinged = sqlite3_column_int(q, 14) != 0;
    s.is_told = sqlite3_column_int(q, 15) != 0;
    s.parser = sqlite3_column_int(q, 16);
    s.utf8 = sqlite3_column_int(q, 18);
    s.poll_ms = sqlite3_column_int64(q, 19);
    *out = s;
    copy_later(&k, conn_column(q, 17), &out->reason);
    copy_now(&k);
    sqlite3_reset(q);
    return RC_OK;
}

enum rc
store_read_session(struct store *st, struct str eio_sid, struct store_session *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_session, &q);
    if (rc != RC_OK)
        return rc;
    conn_bind_str(q, STORE_PARAM_read_session_eio_sid, eio_sid);
    return read_session(st, q, out);
}

enum rc
store_read_session_by_id(struct store *st, int64_t session_id, struct store_session *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_session_by_id, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_session_by_id_session_id, session_id);
    return read_session(st, q, out);
}

enum rc
store_read_handshake(struct store *st, int64_t session_id, struct str *json,
                     struct str *remote)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_handshake, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_handshake_session_id, session_id);
    return store_read_two(st, q, json, remote);
}

enum rc
store_read_partial(struct store *st, int64_t session_id, struct str *text,
                   struct str *attachments)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_partial, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_partial_session_id, session_id);
    return store_read_two(st, q, text, attachments);
}

/* ---- sockets ---- */

/* From the columns of read_socket; strings are borrowed from the row. */
static void
decode_socket(sqlite3_stmt *q, struct store_socket *s)
{
    *s = (struct store_socket){.socket_id = sqlite3_column_int64(q, 0),
                               .nsp_id = sqlite3_column_int64(q, 1),
                               .session_id = sqlite3_column_int64(q, 2),
                               .sio_id = conn_column(q, 3),
                               .nsp = conn_column(q, 4),
                               .user = conn_column(q, 5),
                               .data = conn_column(q, 6),
                               .auth = conn_column(q, 7),
                               .reason = conn_column(q, 8),
                               .since_seq = sqlite3_column_int64(q, 9),
                               .until_seq = sqlite3_column_int64(q, 10),
                               .state = sqlite3_column_int(q, 11)};
    s->is_recovered = sqlite3_column_int64(q, 12) != s->since_seq;
}

static enum rc
each_socket(sqlite3_stmt *q, store_socket_fn *fn, void *arg)
{
    enum rc rc;
    while ((rc = conn_step(q)) == RC_OK) {
        struct store_socket s;
        decode_socket(q, &s);
        fn(arg, &s);
    }
    return end_rows(q, rc);
}

enum rc
store_read_sockets(struct store *st, int64_t session_id, int64_t above_seq,
                   store_session_socket_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_sockets, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_sockets_session_id, session_id);
    sqlite3_bind_int64(q, STORE_PARAM_read_sockets_above_seq, above_seq);
    while ((rc = conn_step(q)) == RC_OK) {
        const struct store_session_socket s = {.socket_id = sqlite3_column_int64(q, 0),
                                               .nsp_id = sqlite3_column_int64(q, 1),
                                               .sio_id = conn_column(q, 2),
                                               .since_seq = sqlite3_column_int64(q, 3),
                                               .until_seq = sqlite3_column_int64(q, 4),
                                               .state = sqlite3_column_int(q, 5)};
        fn(arg, &s);
    }
    return end_rows(q, rc);
}

enum rc
store_read_socket(struct store *st, int64_t socket_id, struct store_socket *out)
{
    struct copies k = {.scratch = &store_reader(st)->scratch};
    struct store_socket s;
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_socket, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_socket_socket_id, socket_id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    decode_socket(q, &s);
    *out = s;
    copy_later(&k, s.sio_id, &out->sio_id);
    copy_later(&k, s.nsp, &out->nsp);
    copy_later(&k, s.user, &out->user);
    copy_later(&k, s.data, &out->data);
    copy_later(&k, s.auth, &out->auth);
    copy_later(&k, s.reason, &out->reason);
    copy_now(&k);
    sqlite3_reset(q);
    return RC_OK;
}

enum rc
store_read_recovery(struct store *st, struct str recovery_pid, struct store_recovery *out)
{
    struct copies k = {.scratch = &store_reader(st)->scratch};
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_recovery_find, &q);
    if (rc != RC_OK)
        return rc;
    conn_bind_str(q, STORE_PARAM_recovery_find_pid, recovery_pid);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    *out = (struct store_recovery){.socket_id = sqlite3_column_int64(q, 0),
                                   .session_id = sqlite3_column_int64(q, 1),
                                   .is_lost = sqlite3_column_int(q, 2) == 1,
                                   .gone_ms = sqlite3_column_int64(q, 3),
                                   .first_seq = sqlite3_column_int64(q, 4),
                                   .horizon_seq = sqlite3_column_int64(q, 7)};
    copy_later(&k, conn_column(q, 5), &out->sio_id);
    copy_later(&k, conn_column(q, 6), &out->nsp);
    copy_later(&k, conn_column(q, 8), &out->rooms);
    copy_now(&k);
    sqlite3_reset(q);
    return RC_OK;
}

enum rc
store_read_members(struct store *st, int64_t socket_id, int64_t above_seq,
                   store_member_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_members, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_members_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_read_members_above_seq, above_seq);
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1),
           sqlite3_column_int64(q, 2));
    return end_rows(q, rc);
}

enum rc
store_read_rooms(struct store *st, int64_t socket_id, store_name_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_rooms, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_rooms_socket_id, socket_id);
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, conn_column(q, 0));
    return end_rows(q, rc);
}

static enum rc
read_listed(struct store_conn *c, const int64_t *ids, size_t n, store_socket_fn *fn,
            void *arg)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_read_target);
    struct buf json = {0};
    enum rc rc;
    buf_append_c(&json, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append_c(&json, ',');
        buf_append_int(&json, ids[i]);
    }
    buf_append_c(&json, ']');
    conn_bind_str(q, STORE_PARAM_read_target_ids, buf_str(&json));
    rc = each_socket(q, fn, arg);
    buf_fini(&json);
    return rc;
}

enum rc
store_read_target(struct store *st, const struct store_target *t, store_socket_fn *fn,
                  void *arg)
{
    struct store_conn *c;
    struct store_route r = {0};
    int64_t *ids = NULL;
    size_t n = 0;
    enum rc rc = store_read_enter(st, &c);
    if (rc != RC_OK)
        return rc;
    rc = store_target_resolve(c, t, &r);
    if (rc == RC_OK)
        rc = store_route_sockets(c, &r, &ids, &n);
    if (rc == RC_OK)
        rc = read_listed(c, ids, n, fn, arg);
    free(ids);
    store_route_fini(&r);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* ---- namespaces ---- */

enum rc
store_read_nsp_name(struct store *st, int64_t nsp_id, struct str *name)
{
    struct copies k = {.scratch = &store_reader(st)->scratch};
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_nsp_name, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_nsp_name_nsp_id, nsp_id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    copy_later(&k, conn_column(q, 0), name);
    copy_now(&k);
    sqlite3_reset(q);
    return RC_OK;
}

enum rc
store_read_dynamic_nsps(struct store *st, store_name_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_dynamic_nsps, &q);
    if (rc != RC_OK)
        return rc;
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, conn_column(q, 0));
    return end_rows(q, rc);
}

/* ---- log, answers ---- */

enum rc
store_read_horizon(struct store *st, int64_t *horizon_seq)
{
    struct store_conn *c;
    enum rc rc = store_read_enter(st, &c);
    return rc == RC_OK ? store_log_horizon(c, horizon_seq) : rc;
}

enum rc
store_read_log(struct store *st, int64_t from_seq, int64_t to_seq, size_t n,
               store_packet_fn *fn, void *arg, int64_t *last)
{
    struct store_conn *c;
    int64_t horizon_seq;
    enum rc rc = store_read_enter(st, &c);
    if (rc != RC_OK)
        return rc;
    rc = store_log_horizon(c, &horizon_seq);
    if (rc == RC_OK && from_seq < horizon_seq)
        rc = RC_NOTFOUND;
    if (rc == RC_OK)
        rc = store_log_read(c, from_seq, to_seq, n, fn, arg, last);
    return rc;
}

static enum rc
read_n_expected(struct store_conn *c, int64_t ask_seq, int64_t *n_expected)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_read_ask);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_ask_ask_seq, ask_seq);
    rc = conn_step(q);
    if (rc == RC_OK)
        *n_expected = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return rc;
}

static enum rc
each_answer(struct store_conn *c, int64_t ask_seq, store_answer_fn *fn, void *arg)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_read_answers);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_answers_ask_seq, ask_seq);
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, sqlite3_column_int64(q, 0), conn_column(q, 1), conn_column(q, 2));
    return end_rows(q, rc);
}

enum rc
store_read_answers(struct store *st, int64_t ask_seq, int64_t *n_expected,
                   store_answer_fn *fn, void *arg)
{
    struct store_conn *c;
    enum rc rc;
    if (ask_seq == 0) { /* nobody was there to be asked */
        *n_expected = 0;
        return RC_OK;
    }
    rc = store_read_enter(st, &c);
    if (rc != RC_OK)
        return rc;
    rc = read_n_expected(c, ask_seq, n_expected);
    if (rc == RC_OK)
        rc = each_answer(c, ask_seq, fn, arg);
    return rc;
}

/* A time in the first row; there is none: INT64_MAX. */
static enum rc
first_due(sqlite3_stmt *q, int64_t *due_ms)
{
    enum rc rc = conn_step(q);
    *due_ms = rc == RC_OK ? sqlite3_column_int64(q, 0) : INT64_MAX;
    return end_rows(q, rc == RC_OK ? RC_NOTFOUND : rc);
}

/* ---- the web hook ---- */

static struct store_hook
hook_of(sqlite3_stmt *q)
{
    return (struct store_hook){
        .hook_id = sqlite3_column_int64(q, 0),
        .gen = sqlite3_column_int64(q, 1),
        .kind = (enum store_hook_kind)sqlite3_column_int(q, 2),
        .event_id = conn_column(q, 3),
        .sio_id = conn_column(q, 4),
        .nsp = conn_column(q, 5),
        .socket_id = sqlite3_column_int64(q, 6),
        .session_id = sqlite3_column_int64(q, 7),
        .body = conn_column(q, 8),
        .attachments = conn_column(q, 9),
        .has_ack_id = sqlite3_column_type(q, 10) != SQLITE_NULL,
        .ack_id = sqlite3_column_int64(q, 10),
        .made_ms = sqlite3_column_int64(q, 11),
        .n_tries = sqlite3_column_int64(q, 12),
        .late_owner_id = sqlite3_column_int64(q, 13),
    };
}

enum rc
store_read_hooks_due(struct store *st, int64_t now_ms, size_t n, store_hook_fn *fn,
                     void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_hooks_due, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_process_id, store_process_id(st));
    sqlite3_bind_int64(q, STORE_PARAM_read_hooks_due_n, (int64_t)n);
    while ((rc = conn_step(q)) == RC_OK) {
        struct store_hook h = hook_of(q);
        fn(arg, &h);
    }
    return end_rows(q, rc);
}

enum rc
store_read_hook_next(struct store *st, int64_t now_ms, int64_t *due_ms)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_hook_next, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_hook_next_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_read_hook_next_process_id, store_process_id(st));
    rc = conn_step(q);
    if (rc == RC_OK)
        *due_ms = sqlite3_column_type(q, 0) != SQLITE_NULL ? sqlite3_column_int64(q, 0)
                                                           : INT64_MAX;
    return end_rows(q, rc == RC_OK ? RC_NOTFOUND : rc);
}

/* ---- sweeping ---- */

static enum rc
each_id(sqlite3_stmt *q, store_id_fn *fn, void *arg)
{
    enum rc rc;
    while ((rc = conn_step(q)) == RC_OK)
        fn(arg, sqlite3_column_int64(q, 0));
    return end_rows(q, rc);
}

enum rc
store_read_due_sessions(struct store *st, int64_t now_ms, size_t n, store_id_fn *fn,
                        void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_due_sessions, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_due_sessions_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_read_due_sessions_n, (int64_t)n);
    return each_id(q, fn, arg);
}

enum rc
store_read_processes(struct store *st, store_id_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_processes, &q);
    return rc == RC_OK ? each_id(q, fn, arg) : rc;
}

enum rc
store_read_single_processes(struct store *st, store_id_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_single_processes, &q);
    return rc == RC_OK ? each_id(q, fn, arg) : rc;
}

enum rc
store_read_owes_answers(struct store *st, int64_t socket_id, int64_t n, bool *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_owes_answers, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_owes_answers_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_read_owes_answers_n, n);
    return store_read_has_row(q, out);
}

enum rc
store_read_stray_job(struct store *st, int64_t until_ms, int64_t *due_ms)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_read_stray_job, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_read_stray_job_until_ms, until_ms);
    return first_due(q, due_ms);
}
