/*
 * Reads on the loop's own connection: short, never waiting. Each function is one read
 * transaction, unless it stands between store_read_begin() and store_read_end(). RC_BUSY:
 * the WAL-index is being changed right now (design 5.8); try again after the next
 * store_pump().
 *
 * Strings that come back are borrowed until the next call of this header.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_READ_H
#define SIOLITE_STORE_READ_H

#include "store/unit.h"

/* A snapshot for several reads; *max_seq is the newest row in it. */
MUST_CHECK enum rc store_read_begin(struct store *st, int64_t *max_seq);
void store_read_end(struct store *st);
/* The number of the snapshot that a read would see now: what was read under the same
 * number is still as it was. 0: can't be read just now. */
uint64_t store_read_snapshot(struct store *st);

struct store_session {
    int64_t session_id;
    int protocol;
    int parser; /* store_unit_session_parser */
    int utf8;   /* store_unit_session_utf8; 0: not known */
    bool is_closed, is_websocket, has_partial;
    bool is_pinged;
    bool is_told; /* closed: the client's GET has been told */
    int64_t owner_id, gen, post_gen, cursor_seq;
    int64_t upgrade_id, upgrade_due_ms;
    int64_t ping_ms, due_ms,
        connect_due_ms; /* 0: that deadline does not exist (any more) */
    int64_t poll_ms;    /* when the poll came that owner_id holds */
    struct str reason;  /* closed: why; borrowed */
};
MUST_CHECK enum rc
store_read_session(struct store *st, struct str eio_sid, struct store_session *out);
MUST_CHECK enum rc
store_read_session_by_id(struct store *st, int64_t session_id, struct store_session *out);
/* The handshake's JSON, the remote address. */
MUST_CHECK enum rc store_read_handshake(struct store *st, int64_t session_id,
                                        struct str *json, struct str *remote);
MUST_CHECK enum rc store_read_partial(struct store *st, int64_t session_id,
                                      struct str *text, struct str *attachments);

struct store_socket {
    int64_t socket_id, nsp_id, session_id;
    struct str sio_id, nsp, user, data, auth, reason; /* user, reason: len 0 if none */
    int64_t since_seq, until_seq;                     /* until_seq 0: open */
    int state;                                        /* 0 open, 1 lost, 2 gone */
    bool is_recovered;
};
typedef void store_socket_fn(void *arg, const struct store_socket *s);
/* The sockets of a session that are open, or ended above `above_seq`; not all of what is
 * known of them. */
struct store_session_socket {
    int64_t socket_id, nsp_id;
    struct str sio_id;
    int64_t since_seq, until_seq; /* as above, like state */
    int state;
};
typedef void store_session_socket_fn(void *arg, const struct store_session_socket *s);
MUST_CHECK enum rc
store_read_sockets(struct store *st, int64_t session_id, int64_t above_seq,
                   store_session_socket_fn *fn, void *arg);
MUST_CHECK enum rc
store_read_socket(struct store *st, int64_t socket_id, struct store_socket *out);
struct store_recovery {
    int64_t socket_id, session_id;
    bool is_lost; /* else it is open: nobody noticed the loss yet */
    int64_t gone_ms, first_seq, horizon_seq;
    struct str sio_id, nsp;
    struct str rooms; /* their names, a JSON array */
};
/* The socket that this recovery id belongs to, lost or open. */
MUST_CHECK enum rc store_read_recovery(struct store *st, struct str recovery_pid,
                                       struct store_recovery *out);
/* Memberships of a socket that are open, or ended above `above_seq`. until_seq 0: still
 * in.
 */
typedef void
store_member_fn(void *arg, int64_t room_id, int64_t since_seq, int64_t until_seq);
MUST_CHECK enum rc store_read_members(struct store *st, int64_t socket_id,
                                      int64_t above_seq, store_member_fn *fn, void *arg);
/* Names of the rooms that a socket is in, its own id not among them; sorted by bytes. */
typedef void store_name_fn(void *arg, struct str name);
MUST_CHECK enum rc
store_read_rooms(struct store *st, int64_t socket_id, store_name_fn *fn, void *arg);
/* The open sockets of a target, each once, ordered by sio_id. */
MUST_CHECK enum rc store_read_target(struct store *st, const struct store_target *t,
                                     store_socket_fn *fn, void *arg);
MUST_CHECK enum rc
store_read_nsp_name(struct store *st, int64_t nsp_id, struct str *name);
/* Names of the namespaces that exist by a pattern. */
MUST_CHECK enum rc
store_read_dynamic_nsps(struct store *st, store_name_fn *fn, void *arg);

/* Rows up to here are pruned. */
MUST_CHECK enum rc store_read_horizon(struct store *st, int64_t *horizon_seq);
/* Rows with from_seq < seq <= to_seq, at most n; *last is the seq up to which it came
 * (to_seq when done). RC_NOTFOUND: from_seq lies below the horizon. */
typedef void store_packet_fn(void *arg, struct store_packet *p);
MUST_CHECK enum rc
store_read_log(struct store *st, int64_t from_seq, int64_t to_seq, size_t n,
               store_packet_fn *fn, void *arg, int64_t *last);

/* An ask's answers, in the order they came; unanswered ones are not reported. */
typedef void
store_answer_fn(void *arg, int64_t socket_id, struct str body, struct str attachments);
MUST_CHECK enum rc
store_read_answers(struct store *st, int64_t ask_seq, int64_t *n_expected,
                   store_answer_fn *fn, void *arg);

/* Does a socket owe more than `n` answers? */
MUST_CHECK enum rc
store_read_owes_answers(struct store *st, int64_t socket_id, int64_t n, bool *out);

/* Appends the view `metric` in the Prometheus text format. Counts what is there: some
 * milliseconds where there are 100,000 sockets. */
MUST_CHECK enum rc store_read_metrics(struct store *st, struct buf *out);

/* What the web hook is to be told now: what nobody alive has taken but this process, and
 * what others have kept for too long; at most n. */
struct store_hook {
    int64_t hook_id, gen;
    enum store_hook_kind kind;
    struct str event_id, sio_id, nsp;
    int64_t socket_id, session_id; /* 0: none */
    struct str body, attachments;
    bool has_ack_id;
    int64_t ack_id, made_ms, n_tries;
    int64_t late_owner_id; /* the process that has kept it too long; 0: none */
};
typedef void store_hook_fn(void *arg, const struct store_hook *h);
MUST_CHECK enum rc store_read_hooks_due(struct store *st, int64_t now_ms, size_t n,
                                        store_hook_fn *fn, void *arg);
/* When the next one after now_ms is due, or another process may keep one no longer;
 * INT64_MAX if none. */
MUST_CHECK enum rc
store_read_hook_next(struct store *st, int64_t now_ms, int64_t *due_ms);

/* What was kept under a key (store_unit_guard_once); RC_NOTFOUND. */
MUST_CHECK enum rc
store_read_once(struct store *st, struct str key, struct str *print, struct str *answer);

/* Rules of the administrator (schema/views/rule.sql): limits that differ from the
 * configuration; is any address banned; is this one. */
typedef void store_bound_fn(void *arg, struct str name, int64_t value);
MUST_CHECK enum rc store_read_bounds(struct store *st, store_bound_fn *fn, void *arg);
MUST_CHECK enum rc store_read_has_bans(struct store *st, bool *out);
MUST_CHECK enum rc store_read_is_banned(struct store *st, struct str remote, bool *out);
/* A user in a namespace; RC_NOTFOUND: forgotten. */
struct store_presence {
    struct str user, nsp;
    bool is_online, is_told; /* is_told: what was told last */
};
MUST_CHECK enum rc
store_read_presence(struct store *st, int64_t presence_id, struct store_presence *out);

/* When a socket ends; RC_NOTFOUND: nobody has said so. */
struct store_expiry {
    int64_t expires_ms;
    bool is_close; /* its whole connection */
};
MUST_CHECK enum rc
store_read_expiry(struct store *st, int64_t socket_id, struct store_expiry *out);

/* Has a socket of the session joined by the join of that STORE_HISTORY row, or was it in
 * before? */
MUST_CHECK enum rc store_read_has_joined(struct store *st, int64_t session_id,
                                         const struct store_packet *row, bool *out);
/* The events that such a row stands for, the newest first, at most n_bytes_max of them
 * and at least one. */
struct store_history_read {
    const struct store_packet *row;
    int64_t above_seq; /* only those behind this one; 0: all */
    int64_t now_ms;
    size_t n_bytes_max;
};
MUST_CHECK enum rc
store_read_history(struct store *st, const struct store_history_read *r,
                   store_packet_fn *fn, void *arg);

/* Was it handled already? By client, event and key. */
MUST_CHECK enum rc
store_read_retry(struct store *st, const struct store_retry *r, bool *is_known);

/* What the sweeper needs. */
typedef void store_id_fn(void *arg, int64_t id);
MUST_CHECK enum rc store_read_due_sessions(struct store *st, int64_t now_ms, size_t n,
                                           store_id_fn *fn, void *arg);
MUST_CHECK enum rc store_read_processes(struct store *st, store_id_fn *fn,
                                        void *arg); /* all rows, this process too */
/* The processes that serve one request at a time (CGI, mod_fcgid) and are occupied; also
 * this one, and perhaps some that died. */
MUST_CHECK enum rc
store_read_single_processes(struct store *st, store_id_fn *fn, void *arg);
/* When the first job is due that nobody alive owns; INT64_MAX: none until then. */
MUST_CHECK enum rc
store_read_stray_job(struct store *st, int64_t until_ms, int64_t *due_ms);
/* Namespaces ensured at start, before the loop runs (may wait for the lock). */
MUST_CHECK enum rc store_nsp_ensure(struct store *st, struct str name);

/* The rooms that keep their last events, as the application says them, in its namespaces
 * that are there; what an earlier one has said counts no more. */
MUST_CHECK enum rc
store_history_declare(struct store *st, const struct store_history_rule *rules, size_t n);

/* Application SQL. Added before store_open() has handed out units; RC_INVALID with a text
 * in err. `is_write` comes back. */
MUST_CHECK enum rc
store_app_migrate(struct store *st, int version, const char *sql, struct buf *err);
MUST_CHECK enum rc
store_app_add(struct store *st, const char *name, const char *sql, struct buf *err);
/* Forgets all named statements: those of another application follow. */
MUST_CHECK enum rc store_app_forget(struct store *st);
/* An application in SQL (docs/sql.md): applies the file in one transaction, if it or our
 * views have changed; nothing of it where something is wrong: err gets "FILE:LINE: what".
 * A trigger that needs what is not there is logged, and fails when it fires. */
MUST_CHECK enum rc store_app_apply(struct store *st, const char *file, struct buf *err);
/* The same on a database of its own in memory; a line in err for each trigger that needs
 * what is not there, too. */
MUST_CHECK enum rc store_app_check(const char *file, struct buf *err);
enum store_incoming {
    STORE_INCOMING_CONNECTION = 1,
    STORE_INCOMING_EVENT = 2,
    STORE_INCOMING_DISCONNECT = 4,
    STORE_INCOMING_ANSWER = 8,
    STORE_INCOMING_PRESENCE = 16
};
/* It is the application no more: its triggers get nothing. */
void store_app_leave(struct store *st);
/* Has the application that was applied a trigger for it? */
bool store_app_has(struct store *st, enum store_incoming what);
/* Runs a named SELECT; the row's values are borrowed for the call. */
typedef void store_row_fn(void *arg, const struct store_value *values, size_t n);
MUST_CHECK enum rc
store_app_select(struct store *st, const char *name, const struct store_value *values,
                 size_t n, store_row_fn *fn, void *arg, struct buf *err);

/* Rows of a public view, with the names of its columns. RC_INVALID: no such view, no such
 * column (a text as of store_unit_action in err), or it takes longer than 50 ms. */
struct store_view_read {
    struct str view;
    const struct store_field *filter; /* columns that must have these values */
    size_t n_filter;
    size_t limit;     /* rows at most */
    size_t offset;    /* rows that are left out before */
    bool is_off_loop; /* nobody waits for this thread: it may take long */
};
/* The row's names and values are borrowed for the call. */
typedef void store_view_fn(void *arg, const struct store_field *row, size_t n);
MUST_CHECK enum rc store_read_view(struct store *st, const struct store_view_read *v,
                                   store_view_fn *fn, void *arg, struct buf *err);

#endif
