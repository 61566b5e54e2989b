/*
 * Pruning. A row may go when
 *   - every living process has delivered it (t_process.last_seq, about a second old),
 *   - no polling session, upgrade or replay needs it (t_lease.keep_seq),
 *   - it is older than the recovery window,
 *   - it isn't one of the newest ROWS_KEPT.
 * A hard cap in rows and bytes overrules all that, but the newest row stays: without it,
 * seq could start again; the horizon (t_meta.horizon_seq, the newest row that is gone)
 * tells those who still needed them.
 *
 * How old a row is: by its made_ms, and by marks (time, seq) that the process takes as it
 * runs, because rows of outsiders carry no time.
 *
 * Bytes: pages of the file in use, all tables; the log gives way, down to ROWS_KEPT.
 *
 * Store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/prune.h"

enum {
    LOOK_MS = 50,
    WINDOW_LOOK_MS = 500,
    ROWS_KEPT = 1000, /* stay in any case, for whoever looks into the log */
    SLICE_MS = 5,
    SLICE_ROWS_MIN = 200,
    SLICE_ROWS_MAX = 2000,
    BACKLOG_MIN = 100, /* fewer aren't worth a write */
    MARK_MS_MIN = 1000
};

/* A span this large has a raised epoch in it; the number of rows is then unknown. */
#define EPOCH_GAP (INT64_C(1) << 31)

static int64_t
min_i(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
max_i(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void
take_mark(struct store_prune *p, const struct store_write *w, const struct cfg *cfg)
{
    int64_t distance_ms = max_i(MARK_MS_MIN, cfg->recovery_ms / (STORE_PRUNE_MARKS / 2));
    size_t at = p->n_marks % STORE_PRUNE_MARKS;
    if (p->n_marks &&
        w->now_ms - p->marks[(p->n_marks - 1) % STORE_PRUNE_MARKS].ms < distance_ms)
        return;
    p->marks[at].ms = w->now_ms;
    p->marks[at].seq = w->last_seq;
    p->n_marks++;
}

/* The newest seq that is known to be made until limit_ms; 0: none. */
static int64_t
marked_seq(const struct store_prune *p, int64_t limit_ms)
{
    size_t n = p->n_marks < STORE_PRUNE_MARKS ? p->n_marks : STORE_PRUNE_MARKS;
    for (size_t i = 1; i <= n; i++) {
        size_t at = (p->n_marks - i) % STORE_PRUNE_MARKS;
        if (p->marks[at].ms <= limit_ms)
            return p->marks[at].seq;
    }
    return 0;
}

static enum rc
read_bytes(struct store_conn *c, int64_t *bytes)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_prune_bytes);
    enum rc rc = conn_step(stmt);
    if (rc == RC_OK)
        *bytes = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc;
}

static enum rc
look(struct store_prune *p, struct store_write *w, struct store_live *live,
     int64_t own_seq, const struct cfg *cfg)
{
    sqlite3_stmt *stmt = conn_stmt(w->conn, STORE_STMT_prune_range);
    int64_t keep_seq = INT64_MAX, live_seq, bytes;
    enum rc rc = conn_step(stmt);
    if (rc != RC_OK)
        return rc;
    p->oldest_seq = sqlite3_column_type(stmt, 0) == SQLITE_NULL
                        ? w->last_seq + 1
                        : sqlite3_column_int64(stmt, 0);
    if (sqlite3_column_type(stmt, 1) != SQLITE_NULL)
        keep_seq = sqlite3_column_int64(stmt, 1);
    sqlite3_reset(stmt);
    if ((rc = store_live_min_seq(live, w->conn, own_seq, &live_seq)) != RC_OK ||
        (rc = read_bytes(w->conn, &bytes)) != RC_OK)
        return rc;
    p->bound_seq = min_i(min_i(keep_seq, live_seq), w->last_seq - ROWS_KEPT);
    p->forced_seq = 0;
    if (w->last_seq - p->oldest_seq < EPOCH_GAP) {
        p->forced_seq = w->last_seq - max_i(cfg->log_rows_max, 1);
        if (bytes > cfg->log_bytes_max)
            p->forced_seq = max_i(p->forced_seq, w->last_seq - ROWS_KEPT);
    }
    p->next_look_ms = w->now_ms + LOOK_MS;
    return RC_OK;
}

/* How far the recovery window lets the rows up to slice_seq go. */
static enum rc
find_old(struct store_prune *p, struct store_write *w, const struct cfg *cfg,
         int64_t slice_seq, int64_t *old_seq)
{
    int64_t limit_ms = w->now_ms - cfg->recovery_ms, made_ms;
    sqlite3_stmt *stmt;
    enum rc rc;
    *old_seq = slice_seq;
    if (cfg->recovery_ms == 0)
        return RC_OK;
    stmt = conn_stmt(w->conn, STORE_STMT_prune_age);
    sqlite3_bind_int64(stmt, STORE_PARAM_prune_age_seq, slice_seq);
    rc = conn_step(stmt);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    made_ms = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    if (made_ms == 0 || made_ms > limit_ms)
        *old_seq = marked_seq(p, limit_ms);
    return RC_OK;
}

/* The horizon must be a row that was: whoever stands at the last row before the gap of a
 * raised epoch has missed nothing. RC_NOTFOUND: no row is that old. */
static enum rc
find_row(struct store_write *w, int64_t *cut)
{
    sqlite3_stmt *stmt = conn_stmt(w->conn, STORE_STMT_prune_last);
    enum rc rc;
    sqlite3_bind_int64(stmt, STORE_PARAM_prune_last_cut, *cut);
    rc = conn_step(stmt);
    if (rc == RC_OK && sqlite3_column_type(stmt, 0) == SQLITE_NULL)
        rc = RC_NOTFOUND;
    if (rc == RC_OK)
        *cut = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc;
}

static enum rc
cut_off(struct store_write *w, int64_t cut, int64_t n_rows)
{
    sqlite3_stmt *rows = conn_stmt(w->conn, STORE_STMT_prune_rows);
    sqlite3_stmt *horizon = conn_stmt(w->conn, STORE_STMT_prune_horizon);
    sqlite3_stmt *members = conn_stmt(w->conn, STORE_STMT_prune_members);
    enum rc rc;
    sqlite3_bind_int64(rows, STORE_PARAM_prune_rows_cut, cut);
    sqlite3_bind_int64(horizon, STORE_PARAM_prune_horizon_cut, cut);
    sqlite3_bind_int64(members, STORE_PARAM_prune_members_cut, cut);
    sqlite3_bind_int64(members, STORE_PARAM_prune_members_n, n_rows);
    if ((rc = conn_done(rows)) != RC_OK || (rc = conn_done(horizon)) != RC_OK)
        return rc;
    return conn_done(members);
}

enum rc
store_prune_run(struct store_prune *p, struct store_write *w, struct store_live *live,
                int64_t own_seq, const struct cfg *cfg)
{
    int64_t backlog, n_rows, slice_seq, old_seq = 0, cut;
    enum rc rc;
    p->is_behind = false;
    take_mark(p, w, cfg);
    if (w->now_ms >= p->next_look_ms && (rc = look(p, w, live, own_seq, cfg)) != RC_OK)
        return rc;
    backlog = max_i(p->bound_seq, p->forced_seq) - p->oldest_seq + 1;
    if (w->now_ms < p->next_slice_ms ||
        (backlog < BACKLOG_MIN && p->forced_seq < p->oldest_seq))
        return RC_OK;
    p->next_slice_ms = w->now_ms + SLICE_MS;
    n_rows = min_i(max_i(backlog / 100, SLICE_ROWS_MIN), SLICE_ROWS_MAX);
    slice_seq = p->oldest_seq + n_rows - 1;
    if ((rc = find_old(p, w, cfg, slice_seq, &old_seq)) != RC_OK)
        return rc;
    cut = min_i(max_i(min_i(old_seq, p->bound_seq), p->forced_seq), slice_seq);
    if (cut < p->oldest_seq) {
        p->next_slice_ms =
            w->now_ms + WINDOW_LOOK_MS; /* the recovery window holds them all */
        return RC_OK;
    }
    p->is_behind = cut == slice_seq;
    p->oldest_seq = cut + 1;
    rc = find_row(w, &cut);
    if (rc == RC_NOTFOUND) {
        p->next_look_ms = 0; /* in a gap */
        return RC_OK;
    }
    return rc == RC_OK ? cut_off(w, cut, n_rows) : rc;
}
