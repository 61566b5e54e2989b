/*
 * What the store's files share with each other; nobody outside store/ includes it.
 *
 * Two connections: `write` belongs to the store thread alone, `read` to the loop's thread
 * alone. (The checkpointer has a third one of its own.) Named statements
 * (schema/statements/) are prepared per connection, at first use.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_INTERNAL_H
#define SIOLITE_STORE_INTERNAL_H

#include <stdatomic.h>

#include <sqlite3.h>

#include "store/read.h"
#include "store_statements.h" /* generated: enum store_stmt { STORE_STMT_session_create, …, STORE_STMT_COUNT }; and for
                                 each parameter of each statement its index: STORE_PARAM_session_create_eio_sid */

enum { OPEN_WAIT_US = 30 * 1000000 }; /* for a busy database, while it is opened */

/* A statement whose text is made while the program runs. */
enum { CONN_CACHED_MAX = 12 };
struct conn_cached {
    char *sql; /* owned; NULL: a free place */
    sqlite3_stmt *stmt;
    uint64_t last_use;
};

/* What every commit changes. `change` alone goes back to 0 at a recovery. */
struct store_head {
    uint32_t change, max_frame, salt[2];
};

static inline bool
store_head_eq(const struct store_head *a, const struct store_head *b)
{
    return a->change == b->change && a->max_frame == b->max_frame &&
           a->salt[0] == b->salt[0] && a->salt[1] == b->salt[1];
}

struct store_conn {
    sqlite3 *db;
    sqlite3_stmt *stmts[STORE_STMT_COUNT];
    sqlite3_stmt **app_stmts; /* the application's: on the read connection its SELECTs, on
                                 the other one the rest */
    char **app_names;         /* of app_stmts */
    size_t n_app_stmts;
    unsigned incoming; /* app_trigger.c: what the application has triggers for, bits of
                          enum store_incoming */
    struct conn_cached cached[CONN_CACHED_MAX];
    uint64_t n_cached_uses;
    struct buf scratch; /* read.c: what the strings that it hands out point into, until
                           its next call */
    bool is_in_read;    /* read.c: between store_read_begin() and store_read_end() */
    bool has_snapshot;  /* read.c: a transaction is open … */
    struct store_head snapshot;    /* … which was begun at this head */
    uint64_t snapshot_number;      /* counts them */
    int64_t snapshot_max_seq;      /* the newest row in it; -1: not read yet */
    _Atomic int64_t wait_until_us; /* clock_now_us(): how long a busy database is waited
                                      for; 0: not at all */
};

/* ---- conn.c: one connection, its statements, and the map from SQLite's codes (R2) ----
 */
enum conn_role { CONN_WRITE, CONN_READ, CONN_CHECKPOINT };
/* Opens an existing file with the pragmas of its role. err: one line. */
MUST_CHECK enum rc conn_open(struct store_conn *c, const char *file, enum conn_role role,
                             const struct cfg *cfg, struct buf *err);
void conn_close(struct store_conn
                    *c); /* accepts a zeroed one; frees all of the struct's own memory */
/* Reset, unbound, ready to bind. Prepared at first use (memory, start-up time). One that
 * does not prepare is a bug or a damaged schema: it is logged and NULL, which all of
 * SQLite's bind, step and column calls survive; conn_step and conn_done then say RC_IO.
 */
sqlite3_stmt *conn_stmt(struct store_conn *c, enum store_stmt which);
/* The statement of this text: reset, unbound, ready to bind; borrowed until
 * CONN_CACHED_MAX other ones were asked for. NULL: it does not prepare (sqlite3_errmsg).
 */
sqlite3_stmt *conn_cached_stmt(struct store_conn *c, const char *sql);
/* One step: RC_OK with a row, RC_NOTFOUND without (done), else the mapped error; the last
 * two have reset the statement. */
MUST_CHECK enum rc conn_step(sqlite3_stmt *stmt);
/* Runs to the end and resets: for statements whose rows nobody wants. */
MUST_CHECK enum rc conn_done(sqlite3_stmt *stmt);
/* A whole script, without results; err gets SQLite's text. */
MUST_CHECK enum rc conn_exec(struct store_conn *c, const char *sql, struct buf *err);
/* BUSY, LOCKED: RC_BUSY. NOMEM: RC_NOMEM. TOOBIG: RC_TOOBIG. CONSTRAINT, ERROR, MISMATCH,
 * RANGE, AUTH, INTERRUPT, ABORT: RC_INVALID. Everything else (FULL, IOERR, CORRUPT,
 * READONLY, …): RC_IO. */
enum rc conn_rc(int sqlite_rc);
struct str
conn_column(sqlite3_stmt *stmt,
            int column); /* text or blob; len 0 for NULL; borrowed until step or reset */
void conn_bind_str(sqlite3_stmt *stmt, int index,
                   struct str s); /* text, not copied; len 0 binds '' */
void
conn_bind_str_or_null(sqlite3_stmt *stmt, int index, struct str s); /* len 0 binds NULL */

/* ---- what a batch knows while its transaction runs; store thread only ---- */
struct store_write {
    struct store_conn *conn;
    const struct cfg *cfg; /* times and limits; NULL in some tests */
    int64_t process_id;
    int64_t now_ms;
    int64_t last_seq; /* newest row of the log, this transaction's included; kept by the
                         connection's update hook */
    int64_t n_rows;   /* rows that this transaction appended, by whom ever; likewise. More
                         than n_packets: some came   from application SQL, triggers or an
                         INSERT … SELECT, and the loop reads the batch back */
    bool is_gapped;   /* a step may demand that, too */
    int64_t odd_seq;  /* the newest row, of any transaction, that others wrote, that no
                         step  knows of, or that does not go out as it is; or later */
    uint64_t n_bytes; /* of all rows that steps have appended, whatever came of them */
    struct store_packet *
        *packets; /* appended in this transaction, in order of seq; one reference each.
             Counts are not atomic: between store_unit_submit and on_packet only the store
             thread touches a packet */
    size_t n_packets, cap_packets;
};

/* unit.c: runs all steps of a unit in the open transaction and fills its result. RC_OK:
 * what it did stands (a guard that found zero rows is RC_OK here: the result says
 * CONFLICT and nothing was written). Anything else: the transaction must be rolled back
 * and the batch redone; RC_CONFLICT: this unit included, which now knows what to leave
 * out; else without it, and its result then carries the code. Can be run
 * again after a rollback: it forgets what an earlier run noted. */
MUST_CHECK enum rc store_unit_run(struct store_write *w, struct store_unit *u);
/* Calls on_done with the result and destroys the unit; loop thread. */
void store_unit_finish(struct store_unit *u);
/* For a unit that was not committed: its result becomes this. */
void store_unit_fail(struct store_unit *u, enum rc rc, const char *error);
/* Units are chained by the thread through this. */
struct store_unit **store_unit_next(struct store_unit *u);

/* app_sql.c: a step of the application's schema: was it applied; it is now. In the open
 * transaction of `c`. */
MUST_CHECK enum rc store_app_has_version(struct store_conn *c, int version, bool *out);
MUST_CHECK enum rc store_app_add_version(struct store_conn *c, int version);
/* What SQL of an application may not do, for sqlite3_set_authorizer(). */
int store_app_authorize(void *arg, int action, const char *a, const char *b,
                        const char *schema, const char *trigger);
/* app_file.c: the application in SQL is applied again at the next start. */
MUST_CHECK enum rc store_app_outdate(struct store_conn *c);
/* app_trigger.c: is it a view that tells what comes in? */
bool store_app_is_incoming(struct str view);
/* The application's triggers on these views: all go; which there are stands in
 * c->incoming then. In the open transaction of `c`. */
MUST_CHECK enum rc store_app_drop_triggers(struct store_conn *c);
MUST_CHECK enum rc store_app_note_triggers(struct store_conn *c);
/* Triggers of the application on incoming views that do not compile (a table
 * is missing) fail from now on alone, with a clear text, instead of every INSERT into the
 * view. In the open transaction of `c`; *n: how many there were. */
typedef void store_broken_fn(void *arg, struct str trigger, struct str error);
MUST_CHECK enum rc
store_app_mend(struct store_conn *c, store_broken_fn *fn, void *arg, size_t *n);

/* log.c: appends one row (seq, origin_id, made_ms are filled in), notes it in w->packets
 * (takes a reference). Control kinds do their membership work in the same statement
 * (schema: view t_control). */
MUST_CHECK enum rc store_log_append(struct store_write *w, struct store_packet *p);
/* Rows with from_seq < seq <= to_seq in order, at most n (and no more bytes than a loop
 * turn can take); *last: the seq up to which it came, to_seq when there is no more.
 * Packets are borrowed for the call. */
MUST_CHECK enum rc
store_log_read(struct store_conn *c, int64_t from_seq, int64_t to_seq, size_t n,
               store_packet_fn *fn, void *arg, int64_t *last);
MUST_CHECK enum rc store_log_max(struct store_conn *c, int64_t *seq); /* 0: no rows */
MUST_CHECK enum rc
store_log_horizon(struct store_conn *c, int64_t *seq); /* rows up to here are pruned */

/* user.c: in the open transaction of `c`: what the views of users know of the options. */
MUST_CHECK enum rc store_user_limits(struct store_conn *c, const struct cfg *cfg);
MUST_CHECK enum rc
store_history_limits(struct store_conn *c, const struct cfg *cfg); /* history.c */

/* ---- read.c ---- */
/* Before each read on the loop: the connection, in a snapshot of now, or that of
 * store_read_begin(). RC_BUSY as read.h. */
MUST_CHECK enum rc store_read_enter(struct store *st, struct store_conn **out);
/* Likewise, for one statement. */
MUST_CHECK enum rc
store_read_stmt(struct store *st, enum store_stmt which, sqlite3_stmt **q);
/* Steps it once: is there a row? */
MUST_CHECK enum rc store_read_has_row(sqlite3_stmt *q, bool *out);
/* Steps it once: the first two columns, in the scratch buffer. RC_NOTFOUND: no row. */
MUST_CHECK enum rc
store_read_two(struct store *st, sqlite3_stmt *q, struct str *a, struct str *b);
/* Ends the snapshot that reads of this loop turn have shared. */
void store_read_leave(struct store_conn *c);

/* ---- store.c ---- */
/* store_unit_submit() ends here: the unit waits for the next store_flush(). */
void store_queue_unit(struct store *st, struct store_unit *u);
struct store_conn *store_reader(struct store *st);
/* Is a read on the loop safe now (both copies of the WAL-index header agree)? Then the
 * header comes back. */
bool store_can_read(const struct store *st, struct store_head *head);
/* The write connection on the loop's thread, in a transaction of its own: for what is set
 * up before units run (store_nsp_ensure, store_app_migrate; store_app_add may prepare in
 * it). Waits for the store thread and the locks. */
MUST_CHECK enum rc store_setup_begin(struct store *st, struct store_conn **out);
MUST_CHECK enum rc store_setup_end(struct store *st, bool is_commit);

#endif
