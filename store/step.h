/*
 * The inside of a unit, for the files that make steps: session.c, socket.c, target.c,
 * job.c, sweep.c, app_sql.c, action.c.
 *
 * To add a kind of step: a struct that begins with struct store_step, a builder that
 * fills it (strings through store_step_copy), and a run function. The run function works
 * in the open transaction; it may run again after a rollback, so it keeps nothing in the
 * step but what the next run overwrites.
 *
 * Builders run on the loop's thread, run functions on the store thread; the unit belongs
 * to one of them at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_STEP_H
#define SIOLITE_STORE_STEP_H

#include "store/internal.h"

struct store_step;
/* RC_CONFLICT: a guard found zero rows. RC_INVALID: application SQL failed, if the step
 * is STORE_STEP_RISKY. Anything else but RC_OK: the transaction is lost. */
typedef enum rc
store_step_fn(struct store_write *w, struct store_unit *u, struct store_step *step);

enum store_step_flag {
    STORE_STEP_GUARD =
        1, /* may find zero rows: what the steps before it wrote is undone then */
    STORE_STEP_READS = 2,   /* writes nothing: needs no undoing */
    STORE_STEP_RISKY = 4,   /* may fail alone, without the other units of its batch */
    STORE_STEP_SOCKET = 8,  /* makes a STORE_NEW_SOCKET */
    STORE_STEP_UNSURE = 16, /* a guard that may have written before it finds zero rows */
    STORE_STEP_BLOCK = 32   /* may say RC_NOTFOUND: what follows, up to
                               store_unit_block_end(), is left out */
};

struct store_step {
    struct store_step *next;
    store_step_fn *run;
    unsigned flags;
    struct store_packet *packet;  /* NULL, or one reference, dropped with the step */
    struct store_group *group;    /* the innermost; NULL: none */
    struct store_step *block_end; /* of a block: its last step; NULL: that of the unit */
};

/* ---- group.c ---- */
struct store_group {
    struct store_group *within; /* the next outer one */
    struct store_group *needs;
    struct store_step *first, *last;
    struct store_group_info info;
    bool is_risky;   /* one of its steps may fail */
    bool is_dropped; /* it failed, or what it needs did; stays so when the unit runs again
                      */
    bool is_refused; /* by store_group_refuse() */
    struct str error;         /* why it was left out; len 0: nobody's fault */
    struct str message, data; /* of the refusal */
};
/* For a step that fails next (RC_INVALID): no fault, the connection that its group makes
 * is refused. data: JSON, len 0: none. */
void store_group_refuse(struct store_unit *u, const struct store_step *step,
                        struct str message, struct str data);
/* Its steps are undone, or did not run: leaves it out. `error`: one line. */
void store_group_drop(struct store_unit *u, struct store_group *g, const char *error);
/* A row of the view app_error; the oldest ones go. */
MUST_CHECK enum rc store_app_error(struct store_conn *c,
                                   const struct store_group_info *info, struct str error);
/* What is done instead of its steps. */
MUST_CHECK enum rc store_group_instead(struct store_write *w, struct store_unit *u,
                                       const struct store_group *g);
/* Of unit.c: the step number `n` (from 0); NULL: there are less. */
struct store_step *store_step_find(struct store_unit *u, size_t n);

/* ---- building ---- */
/* Appends a step of `size` bytes, zeroed but for its head; it lives as long as the unit.
 */
void *
store_step_add(struct store_unit *u, size_t size, store_step_fn *run, unsigned flags);
void *store_step_alloc(struct store_unit *u, size_t size);
struct str store_step_copy(struct store_unit *u, struct str s);
/* What store_unit_submit() does but for the queue. */
void store_unit_set_done(struct store_unit *u, store_done_fn *on_done, void *arg);

/* ---- running ---- */
/* An id, or that of the socket for which STORE_NEW_SOCKET(n) stands; 0 if that one was
 * not made. */
int64_t store_step_socket(const struct store_unit *u, int64_t id);
void store_step_note_socket(struct store_unit *u, int64_t socket_id);
void
store_step_note_job_take(struct store_unit *u,
                         const struct store_job *job); /* its strings become the unit's */
void store_step_note_more(struct store_unit *u);       /* result->has_more */
/* Has the unit time left for the application's SQL? If not, its error says so. */
bool store_step_has_time(struct store_unit *u);
/* The application's SQL has taken so much CPU time. */
void store_step_note_time(struct store_unit *u, int64_t cpu_us);
/* Did the answer count that the last store_unit_answer() gave? */
void store_step_note_answer(struct store_unit *u, bool has_counted);
bool store_step_has_answered(const struct store_unit *u);
/* Runs a statement that changes at most n rows; if so many, result->has_more. */
MUST_CHECK enum rc store_step_slice(struct store_unit *u, sqlite3_stmt *stmt, size_t n);
struct store_lease_result *store_step_lease(struct store_unit *u);
struct store_ride_result *store_step_ride(struct store_unit *u);
__attribute__((format(printf, 2, 3))) void
store_step_error(struct store_unit *u, const char *fmt, ...);
/* Runs an UPDATE, INSERT OR IGNORE or DELETE to its end; RC_CONFLICT if it changed no
 * row. */
MUST_CHECK enum rc store_step_change(struct store_write *w, sqlite3_stmt *stmt);
static inline void
store_step_bind_id(sqlite3_stmt *stmt, int index, int64_t id)
{
    if (id)
        sqlite3_bind_int64(stmt, index, id);
    else
        sqlite3_bind_null(stmt, index);
}
void
store_step_bind_blob(sqlite3_stmt *stmt, int index, struct str s); /* len 0 binds x'' */

/* ---- target.c ---- */
/* Where a row goes, in keys; the arrays are owned. */
struct store_route {
    int64_t nsp_id;
    enum store_to to_kind;
    int64_t to_id, skip_id;
    int64_t *to_keys, *not_keys;
    size_t n_to_keys, n_not_keys;
    bool has_history; /* a room of it keeps its events */
};
void store_route_fini(struct store_route *r);
/* A deep copy that lives as long as the unit. */
void store_target_copy(struct store_unit *u, struct store_target *dst,
                       const struct store_target *src);
/* RC_NOTFOUND: nobody is there. On either connection. */
MUST_CHECK enum rc
store_target_resolve(struct store_conn *c, const struct store_target *t,
                     struct store_route *out);
/* Likewise, for a step: STORE_NEW_SOCKET ids are understood. */
MUST_CHECK enum rc
store_target_route(struct store_write *w, const struct store_unit *u,
                   const struct store_target *t, struct store_route *out);
/* The open sockets of a route, each once, in the order of their ids. `*ids` is owned by
 * the caller. */
MUST_CHECK enum rc store_route_sockets(struct store_conn *c, const struct store_route *r,
                                       int64_t **ids, size_t *n);
/* Moves the route into the packet; the route is empty afterwards. */
void store_route_apply(struct store_route *r, struct store_packet *p);

/* ---- socket.c ---- */
/* 0: there is none. */
MUST_CHECK enum rc store_nsp_find(struct store_conn *c, struct str name, int64_t *nsp_id);
/* The session of an open socket; RC_NOTFOUND: it has ended. */
MUST_CHECK enum rc
store_socket_session(struct store_conn *c, int64_t socket_id, int64_t *session_id);

/* A namespace was joined: the connect deadline is gone, the session dies at due_ms (0: as
 * it was). */
MUST_CHECK enum rc
store_socket_connected(struct store_write *w, int64_t session_id, int64_t due_ms);
/* How a socket ends: its row, and the job "disconnect" {"reason":…,"rooms":[…]} that runs
 * its handlers. RC_NOTFOUND: it has ended. */
struct store_end {
    struct str reason;
    bool is_recoverable; /* lost, if it has a recovery id; else gone */
    bool is_told;        /* the client gets a DISCONNECT before */
    int64_t now_ms;
    int64_t poll_ms; /* store_unit_session_close */
};
MUST_CHECK enum rc store_socket_end(struct store_write *w, struct store_unit *u,
                                    int64_t socket_id, const struct store_end *e);

/* ---- session.c ---- */
/* Closes an open session: lease, the ends of its sockets, close row. RC_CONFLICT: it was
 * closed. */
MUST_CHECK enum rc store_session_end(struct store_write *w, struct store_unit *u,
                                     int64_t session_id, const struct store_end *e);

/* ---- history.c ---- */
/* An event to rooms of which one keeps its events. */
MUST_CHECK enum rc
store_history_note(struct store_write *w, const struct store_packet *p);
/* Those who joined by that row, which was appended right now, get what the room keeps. */
MUST_CHECK enum rc
store_history_join(struct store_write *w, const struct store_packet *join);
MUST_CHECK enum rc store_history_forget(struct store_write *w, struct store_unit *u,
                                        int64_t now_ms, size_t n);

/* ---- retry.c ---- */
MUST_CHECK enum rc
store_retry_forget(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n);

/* ---- user.c ---- */
/* An answer that no question of an application waits for: `args` as in
 * store_unit_answer. */
MUST_CHECK enum rc
store_outbox_ack(struct store_write *w, int64_t seq, int64_t socket_id, struct str args);
/* A slice of what nobody asks for any more. */
MUST_CHECK enum rc
store_user_forget(struct store_write *w, struct store_unit *u, int64_t now_ms, size_t n);

/* ---- job.c ---- */
/* Owned by this process, and among the unit's jobs. */
MUST_CHECK enum rc store_job_create(struct store_write *w, struct store_unit *u,
                                    int64_t due_ms, struct str name, int64_t socket_id,
                                    struct str args, int64_t ask_seq, int64_t *job_id);
MUST_CHECK enum rc store_job_remove(struct store_write *w, int64_t job_id);
/* A question and its answers; its job goes elsewhere. */
MUST_CHECK enum rc store_ask_forget(struct store_write *w, int64_t ask_seq);

#endif
