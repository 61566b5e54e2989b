/*
 * The store thread.
 *
 *   take all units that wait
 *   queue lock (flock), BEGIN IMMEDIATE
 *     each unit's steps; the process row and a slice of pruning if it is time
 *   COMMIT, read the head of the WAL-index
 *   batch back to the loop, signal; leave the queue
 *
 * A unit that fails takes the transaction with it: rolled back and run again without it,
 * this time each unit in a savepoint, so that a second offender costs no third run; if
 * only a group of its steps failed (unit.c), it stays, without that group. When the
 * database itself fails (disk full, lock not to be had), all units of the batch do.
 *
 * Invariants:
 * 1. Units come back in the order in which they were handed over, each exactly once.
 * 2. A batch's head is the state after exactly its own commit: it counts only if `change`
 * grew by one since BEGIN (zero if nothing was written). Another's commit in between
 * (outsiders don't stand in the queue), or a recovery, which sets `change` to 0, leaves
 * it unset, and the loop looks for itself.
 * 3. The queue lock is held from before BEGIN until the head is read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum {
    BUSY_WAIT_US = 30 * 1000000,
    STOP_WAIT_US = 2 * 1000000,
    PROCESS_ROW_MS = 1000,
    PROCESS_ROW_MANY = 2000, /* so many rows are worth a write … */
    PROCESS_ROW_MANY_MS = 100,
    IDLE_LOOK_MS = 10000, /* housekeeping of a database where nothing changes */
    LOG_ERROR_MS = 1000,
    PRUNE_PAUSE_NS = 10000000
};

/* A unit of the batch at work. */
struct entry {
    struct store_unit *unit;
    bool is_failed;
};

struct store_thread {
    pthread_t id;
    pthread_mutex_t mutex; /* guards the next block */
    pthread_cond_t cond;
    struct store_unit *first, *last; /* units that wait */
    struct store_batch *done, **done_tail;
    bool is_sleeping, is_ticked;
    atomic_bool is_stopping;

    _Atomic uint64_t
        expected; /* EXPECT_SET and the `change` that our COMMIT will make; 0: none */
    _Atomic int64_t noted_seq; /* for the process row */
    atomic_bool is_draining;
    atomic_bool is_waiting; /* for the queue or the database */

    pthread_mutex_t conn_mutex; /* whoever uses what is below: the thread, or set-up */
    const struct cfg *cfg;
    struct store_live *live;
    struct store_wake *wake;
    struct store_checkpoint *checkpoint;
    struct store_conn *conn;
    struct store_write w;
    bool is_stopped;
    bool has_own; /* `own` is the head after our last commit, own_seq its newest row */
    struct store_head own;
    int64_t own_seq;
    struct store_head begun; /* in a transaction: the head at BEGIN */
    bool has_begun;
    struct store_prune prune;
    int64_t row_seq, row_ms; /* what the process row says, and since when */
    bool row_is_draining;
    struct store_head idle; /* head and time of the last housekeeping without units */
    int64_t idle_ms;
    int64_t logged_ms; /* the last error line */
    struct entry *entries;
    size_t n_entries, cap_entries;
};

#define EXPECT_SET (UINT64_C(1) << 32)

/* ---- the transaction ---- */

static void
on_row(void *arg, int op, const char *schema, const char *table, sqlite3_int64 rowid)
{
    struct store_write *w = arg;
    (void)schema;
    if (op != SQLITE_INSERT || strcmp(table, "t_packet") != 0)
        return;
    w->last_seq = rowid;
    w->n_rows++;
}

static void
drop_packets(struct store_write *w, size_t n_left)
{
    while (w->n_packets > n_left)
        store_packet_unref(w->packets[--w->n_packets]);
}

/* Has it rows that the steps don't know? */
static bool
is_gapped(const struct store_write *w)
{
    return w->is_gapped || w->n_rows != (int64_t)w->n_packets;
}

static enum rc
run_stmt(struct store_thread *t, enum store_stmt which)
{
    return conn_done(conn_stmt(t->conn, which));
}

/* A read statement that somebody left open would hold the snapshot beyond the commit. */
static void
reset_all(sqlite3 *db)
{
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(db, s));)
        if (sqlite3_stmt_busy(s))
            sqlite3_reset(s);
}

static void
rollback(struct store_thread *t)
{
    atomic_store(&t->expected, 0);
    reset_all(t->conn->db);
    drop_packets(&t->w, 0);
    if (!sqlite3_get_autocommit(t->conn->db) &&
        run_stmt(t, STORE_STMT_batch_rollback) != RC_OK)
        log_error("store", "rollback.failed",
                  LOG_Z("error", sqlite3_errmsg(t->conn->db)));
}

static enum rc
begin_immediate(struct store_thread *t)
{
    return run_stmt(t, STORE_STMT_batch_begin);
}

static enum rc
commit_all(struct store_thread *t)
{
    reset_all(t->conn->db);
    return run_stmt(t, STORE_STMT_batch_commit);
}

/* The loop listens to others again. */
static void
say_waiting(struct store_thread *t)
{
    if (!atomic_exchange(&t->is_waiting, true))
        store_wake_signal(t->wake);
}

/* Tries at once; a database that is busy is waited for after the loop was told. */
static enum rc
begin_waiting(struct store_thread *t)
{
    int64_t until_us = atomic_exchange(&t->conn->wait_until_us, 0);
    enum rc rc = begin_immediate(t);
    int64_t none = 0;
    /* Not if store_thread_stop() has set another end meanwhile. */
    atomic_compare_exchange_strong(&t->conn->wait_until_us, &none, until_us);
    if (rc != RC_BUSY || until_us == 0)
        return rc;
    say_waiting(t);
    return begin_immediate(t);
}

static enum rc
begin(struct store_thread *t)
{
    enum rc rc = begin_waiting(t);
    if (rc != RC_OK)
        return rc;
    t->has_begun = store_wake_head(t->wake, &t->begun);
    if (t->has_begun && t->has_own && store_head_eq(&t->begun, &t->own)) {
        t->w.last_seq = t->own_seq;
    } else if ((rc = store_log_max(t->conn, &t->w.last_seq)) != RC_OK) {
        rollback(t);
        return rc;
    }
    if (t->w.last_seq != t->own_seq)
        t->w.odd_seq = t->w.last_seq;
    if (t->has_begun)
        atomic_store(&t->expected, EXPECT_SET | (uint32_t)(t->begun.change + 1));
    t->w.now_ms = clock_now_ms();
    t->w.n_rows = 0;
    t->w.is_gapped = false;
    return RC_OK;
}

/* Invariant 2. */
static bool
read_own_head(struct store_thread *t, bool has_written, struct store_head *head)
{
    if (!t->has_begun || !store_wake_head(t->wake, head))
        return false;
    return store_head_eq(head, &t->begun) ||
           (has_written && head->change == (uint32_t)(t->begun.change + 1));
}

static enum rc
commit(struct store_thread *t, struct store_batch *b, int n_changes)
{
    enum rc rc = commit_all(t);
    if (rc != RC_OK)
        return rc;
    b->has_head =
        read_own_head(t, sqlite3_total_changes(t->conn->db) != n_changes, &b->head);
    t->has_own = b->has_head;
    t->own = b->head;
    t->own_seq = t->w.last_seq;
    return RC_OK;
}

/* The process row and pruning. */
static enum rc
keep_house(struct store_thread *t)
{
    int64_t seq = atomic_load_explicit(&t->noted_seq, memory_order_relaxed);
    bool is_draining = atomic_load_explicit(&t->is_draining, memory_order_relaxed);
    int64_t age_ms = t->w.now_ms - t->row_ms;
    if (is_draining != t->row_is_draining ||
        (seq != t->row_seq && age_ms >= PROCESS_ROW_MS) ||
        (seq - t->row_seq > PROCESS_ROW_MANY && age_ms >= PROCESS_ROW_MANY_MS)) {
        enum rc rc = store_live_update(t->live, t->conn, seq, is_draining);
        if (rc != RC_OK)
            return rc;
        t->row_seq = seq;
        t->row_is_draining = is_draining;
        t->row_ms = t->w.now_ms;
    }
    return store_prune_run(&t->prune, &t->w, t->live, seq, t->cfg);
}

/* ---- running units ---- */

/* Did the database itself fail, rather than what the unit wanted of it? */
static bool
is_disk_error(sqlite3 *db, enum rc rc)
{
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_CORRUPT:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOTADB:
    case SQLITE_PROTOCOL:
    case SQLITE_BUSY:
        return rc == RC_IO || rc == RC_NOMEM || rc == RC_BUSY;
    default:
        return false;
    }
}

static void
fail_entry(struct store_thread *t, struct entry *e, enum rc rc)
{
    store_unit_fail(e->unit, rc, rc == RC_INVALID ? NULL : sqlite3_errmsg(t->conn->db));
    e->is_failed = true;
}

static void
fail_all(struct store_thread *t, enum rc rc, const char *error)
{
    int64_t now_ms = clock_now_ms();
    for (size_t i = 0; i < t->n_entries; i++)
        if (!t->entries[i].is_failed) {
            store_unit_fail(t->entries[i].unit, rc, error);
            t->entries[i].is_failed = true;
        }
    if (now_ms - t->logged_ms >= LOG_ERROR_MS || !t->logged_ms) {
        log_error("store", "commit.failed", LOG_Z("rc", rc_text(rc)),
                  LOG_Z("error", error));
        t->logged_ms = now_ms;
    }
}

/* In a savepoint of its own. RC_OK: it ran, or failed and was undone. */
static enum rc
run_guarded(struct store_thread *t, struct entry *e)
{
    struct store_write *w = &t->w;
    const int64_t last_seq = w->last_seq, n_rows = w->n_rows;
    const size_t n_packets = w->n_packets;
    const bool is_gapped = w->is_gapped;
    enum rc rc = run_stmt(t, STORE_STMT_batch_savepoint);
    if (rc != RC_OK)
        return rc;
    rc = store_unit_run(w, e->unit);
    if (rc == RC_OK && !sqlite3_get_autocommit(t->conn->db))
        return run_stmt(t, STORE_STMT_batch_release);
    if (rc == RC_CONFLICT)
        return rc;
    if (is_disk_error(t->conn->db, rc))
        return rc;
    fail_entry(t, e, rc == RC_OK ? RC_INVALID : rc);
    if (sqlite3_get_autocommit(t->conn->db))
        return RC_CONFLICT; /* all is gone: run again */
    reset_all(t->conn->db);
    if ((rc = run_stmt(t, STORE_STMT_batch_undo)) != RC_OK ||
        (rc = run_stmt(t, STORE_STMT_batch_release)) != RC_OK)
        return rc;
    drop_packets(w, n_packets);
    w->last_seq = last_seq;
    w->n_rows = n_rows;
    w->is_gapped = is_gapped;
    return RC_OK;
}

/* RC_CONFLICT: run again, without the units and groups that have failed now. */
static enum rc
run_entry(struct store_thread *t, struct entry *e, bool is_guarded)
{
    enum rc rc;
    if (is_guarded)
        return run_guarded(t, e);
    rc = store_unit_run(&t->w, e->unit);
    if ((rc == RC_OK && !sqlite3_get_autocommit(t->conn->db)) || rc == RC_CONFLICT)
        return rc;
    if (is_disk_error(t->conn->db, rc))
        return rc;
    fail_entry(t, e, rc == RC_OK ? RC_INVALID : rc);
    return RC_CONFLICT;
}

/* One attempt at the whole transaction; RC_CONFLICT as above. */
static enum rc
run_transaction(struct store_thread *t, struct store_batch *b, bool is_guarded)
{
    int n_changes = sqlite3_total_changes(t->conn->db);
    enum rc rc = begin(t);
    if (rc != RC_OK)
        return rc;
    b->prev_seq = t->w.last_seq;
    for (size_t i = 0; i < t->n_entries; i++)
        if (!t->entries[i].is_failed &&
            (rc = run_entry(t, &t->entries[i], is_guarded)) != RC_OK)
            return rc;
    if ((rc = keep_house(t)) != RC_OK)
        return rc;
    return commit(t, b, n_changes);
}

static void
push_entry(struct store_thread *t, struct store_unit *u)
{
    if (t->n_entries == t->cap_entries) {
        t->cap_entries = t->cap_entries ? 2 * t->cap_entries : 64;
        t->entries = xrealloc(t->entries, t->cap_entries * sizeof *t->entries);
    }
    t->entries[t->n_entries++] = (struct entry){u, false};
}

/* Nothing happened in it. */
static void
drop_batch(struct store_thread *t, struct store_batch *b)
{
    atomic_store(&t->expected, 0);
    atomic_store(&t->is_waiting, false);
    free(b);
}

static void
hand_back(struct store_thread *t, struct store_batch *b)
{
    bool was_empty;
    if (b->is_committed) {
        b->last_seq = t->w.last_seq;
        b->n_bytes = t->w.n_bytes;
        b->is_gapped = is_gapped(&t->w);
        if (b->is_gapped)
            t->w.odd_seq = t->w.last_seq;
        b->packets = t->w.packets;
        b->n_packets = t->w.n_packets;
        t->w.packets = NULL;
        t->w.n_packets = t->w.cap_packets = 0;
    }
    pthread_mutex_lock(&t->mutex);
    was_empty = !t->done;
    *t->done_tail = b;
    t->done_tail = &b->next;
    atomic_store(&t->expected, 0);
    atomic_store(&t->is_waiting, false);
    pthread_mutex_unlock(&t->mutex);
    if (was_empty)
        store_wake_signal(t->wake);
}

/* How long a busy database is waited for. store_thread_stop() may lower it meanwhile. */
static void
set_wait(struct store_thread *t, bool has_units)
{
    int64_t now_us = clock_now_us();
    atomic_store(&t->conn->wait_until_us, has_units ? now_us + BUSY_WAIT_US : 0);
    if (has_units && atomic_load(&t->is_stopping))
        atomic_store(&t->conn->wait_until_us, now_us + STOP_WAIT_US);
}

static void
run_batch(struct store_thread *t, struct store_unit *units)
{
    struct store_batch *b = xcalloc(1, sizeof *b);
    bool is_guarded = false;
    enum rc rc;
    b->units = units;
    t->n_entries = 0;
    for (struct store_unit *u = units; u; u = *store_unit_next(u))
        push_entry(t, u);
    set_wait(t, units != NULL);
    if (!store_live_try_queue(t->live)) {
        say_waiting(t);
        store_live_wait_queue(t->live);
    }
    while ((rc = run_transaction(t, b, is_guarded)) == RC_CONFLICT) {
        rollback(t);
        is_guarded = true;
    }
    if (rc != RC_OK) {
        struct buf error = {0};
        buf_append_z(&error, sqlite3_errmsg(t->conn->db));
        buf_append_c(&error, 0);
        rollback(t);
        if (units || rc != RC_BUSY)
            fail_all(t, rc, error.p);
        t->has_own = false;
        buf_fini(&error);
    }
    b->is_committed = rc == RC_OK;
    if (units ||
        (b->is_committed && !(b->has_head && store_head_eq(&b->head, &t->begun))))
        hand_back(t, b);
    else
        drop_batch(t, b);
    store_live_leave_queue(t->live);
    if (t->checkpoint && t->has_own)
        store_checkpoint_look(t->checkpoint, &t->own);
}

/* Without units: only if something changed since the last time. */
static void
run_idle(struct store_thread *t)
{
    struct store_head head;
    int64_t now_ms = clock_now_ms();
    bool has_head = store_wake_head(t->wake, &head);
    if (t->checkpoint && has_head)
        store_checkpoint_look(t->checkpoint, &head);
    /* A head that stays torn (its writer died): BEGIN repairs it. */
    if (has_head && store_head_eq(&head, &t->idle) &&
        now_ms - t->idle_ms < IDLE_LOOK_MS &&
        atomic_load(&t->is_draining) == t->row_is_draining &&
        atomic_load(&t->noted_seq) == t->row_seq) {
        t->prune.is_behind = false; /* somebody holds the lock: later */
        return;
    }
    if (has_head)
        t->idle = head;
    t->idle_ms = now_ms;
    run_batch(t, NULL);
}

/* Or until the next slice of pruning, if there is nothing else to do. */
static void
sleep_until_signal(struct store_thread *t)
{
    struct timespec until;
    t->is_sleeping = true;
    if (t->prune.is_behind && !t->is_stopping) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PRUNE_PAUSE_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&t->cond, &t->mutex, &until) == ETIMEDOUT)
            t->is_ticked = true;
    } else {
        pthread_cond_wait(&t->cond, &t->mutex);
    }
    t->is_sleeping = false;
}

static void *
run(void *arg)
{
    struct store_thread *t = arg;
    pthread_mutex_lock(&t->mutex);
    for (;;) {
        struct store_unit *units = t->first;
        bool is_ticked = t->is_ticked, is_stopping = t->is_stopping;
        if (!units && !is_ticked && is_stopping)
            break;
        if (!units && !is_ticked) {
            sleep_until_signal(t);
            continue;
        }
        t->first = t->last = NULL;
        t->is_ticked = false;
        pthread_mutex_unlock(&t->mutex);
        pthread_mutex_lock(&t->conn_mutex);
        if (units)
            run_batch(t, units);
        else if (!is_stopping)
            run_idle(t);
        pthread_mutex_unlock(&t->conn_mutex);
        pthread_mutex_lock(&t->mutex);
    }
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

/* ---- the loop's side ---- */

enum rc
store_thread_start(pthread_t *id, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    int n;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    n = pthread_create(id, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (n != 0)
        return RC_NOMEM;
    pthread_setname_np(*id, name);
    return RC_OK;
}

enum rc
store_thread_create(struct store_thread **out, const struct cfg *cfg,
                    struct store_conn *conn, struct store_live *live,
                    struct store_wake *wake, struct store_checkpoint *checkpoint,
                    int64_t last_seq)
{
    struct store_thread *t = xcalloc(1, sizeof *t);
    pthread_condattr_t attr;
    t->done_tail = &t->done;
    t->cfg = cfg;
    t->live = live;
    t->wake = wake;
    t->checkpoint = checkpoint;
    t->noted_seq = t->row_seq = last_seq;
    t->row_ms = clock_now_ms();
    t->conn = t->w.conn = conn;
    t->w.cfg = cfg;
    t->w.process_id = live->process_id;
    sqlite3_update_hook(t->conn->db, on_row, &t->w);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&t->conn_mutex, NULL);
    if (store_thread_start(&t->id, "store", run, t) != RC_OK) {
        t->is_stopped = true;
        store_thread_destroy(t);
        return RC_NOMEM;
    }
    *out = t;
    return RC_OK;
}

void
store_thread_stop(struct store_thread *t)
{
    if (t->is_stopped)
        return;
    pthread_mutex_lock(&t->mutex);
    t->is_stopping = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->mutex);
    /* A batch that waits for the database gives up soon. */
    atomic_store(&t->conn->wait_until_us, clock_now_us() + STOP_WAIT_US);
    pthread_join(t->id, NULL);
    t->is_stopped = true;
}

void
store_thread_destroy(struct store_thread *t)
{
    if (!t)
        return;
    store_thread_stop(t);
    drop_packets(&t->w, 0);
    free(t->w.packets);
    free(t->entries);
    pthread_mutex_destroy(&t->conn_mutex);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

void
store_thread_put(struct store_thread *t, struct store_unit *first,
                 struct store_unit *last)
{
    pthread_mutex_lock(&t->mutex);
    if (t->last)
        *store_unit_next(t->last) = first;
    else
        t->first = first;
    t->last = last;
    bool is_sleeping = t->is_sleeping;
    pthread_mutex_unlock(&t->mutex);
    if (is_sleeping) /* after the unlock: else it wakes and blocks at once */
        pthread_cond_signal(&t->cond);
}

struct store_batch *
store_thread_take(struct store_thread *t)
{
    struct store_batch *b;
    pthread_mutex_lock(&t->mutex);
    b = t->done;
    t->done = NULL;
    t->done_tail = &t->done;
    pthread_mutex_unlock(&t->mutex);
    return b;
}

bool
store_thread_expects(struct store_thread *t, const struct store_head *head)
{
    return atomic_load(&t->expected) == (EXPECT_SET | head->change);
}

bool
store_thread_is_waiting(struct store_thread *t)
{
    return atomic_load_explicit(&t->is_waiting, memory_order_relaxed);
}

void
store_thread_note(struct store_thread *t, int64_t last_seq, bool is_draining)
{
    atomic_store_explicit(&t->noted_seq, last_seq, memory_order_relaxed);
    atomic_store_explicit(&t->is_draining, is_draining, memory_order_relaxed);
}

void
store_thread_tick(struct store_thread *t)
{
    pthread_mutex_lock(&t->mutex);
    t->is_ticked = true;
    bool is_sleeping = t->is_sleeping;
    pthread_mutex_unlock(&t->mutex);
    if (is_sleeping)
        pthread_cond_signal(&t->cond);
}

enum rc
store_thread_setup_begin(struct store_thread *t, struct store_conn **out)
{
    enum rc rc;
    pthread_mutex_lock(&t->conn_mutex);
    set_wait(t, true);
    if (!t->is_stopped) /* at the end nobody is kept waiting by a stuck neighbour */
        store_live_wait_queue(t->live);
    rc = begin_immediate(t);
    if (rc == RC_OK) {
        *out = t->conn;
        return RC_OK;
    }
    store_live_leave_queue(t->live);
    pthread_mutex_unlock(&t->conn_mutex);
    return rc;
}

enum rc
store_thread_setup_end(struct store_thread *t, bool is_commit)
{
    enum rc rc = RC_OK;
    if (is_commit)
        rc = commit_all(t);
    if (!is_commit || rc != RC_OK)
        rollback(t);
    store_live_leave_queue(t->live);
    pthread_mutex_unlock(&t->conn_mutex);
    return rc;
}
