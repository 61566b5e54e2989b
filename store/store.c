/*
 * The store as the loop sees it: hands units over, takes batches back, tails, fences.
 *
 * `last_seq` is the row that on_packet saw last. `absorbed` is a head of the WAL-index
 * that was read before a snapshot of which on_packet saw every row: as long as the mapped
 * head equals it, there is nothing to read.
 *
 * A batch of our own is delivered from memory, unless rows came in it that the steps
 * don't know (is_gapped). If others committed before it, rows in (last_seq, prev_seq] are
 * read first. What moved the head after that was somebody else, or our own next commit:
 * the thread expects that one (store_thread_expects) and then nobody reads it back.
 *
 * While units of ours are on their way, the -wal file is not listened to: when they come
 * back, the batch tells what others did before it, and the head what they did since. Once
 * nothing is on its way, store_flush() listens again.
 *
 * Invariants:
 * 1. Rows with seq <= last_seq are never delivered again, from wherever they come.
 * 2. A unit is finished after all rows up to its batch's last_seq were delivered, in the
 * order of submission. A fence within a callback delivers rows, but finishes nothing.
 * 3. Rows are delivered when no statement is open: callbacks may read.
 * 4. A loop turn reads at most SLICE_ROWS rows back; then store_fd() stays readable.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/open.h"
#include "store/place.h"
#include "store/thread.h"

enum { SLICE_ROWS = 2000, SIDECAR_CACHE_MS = 1000, HEAD_TRIES = 20 };

struct packets {
    struct store_packet **list;
    size_t n, cap;
};

struct store {
    const struct cfg *cfg;
    struct store_hooks hooks;
    struct store_live live;
    struct store_wake wake;
    struct store_conn writer; /* the store thread's */
    struct store_conn reader;
    struct store_checkpoint *checkpoint; /* NULL: a short-lived program */
    struct store_thread *thread;
    int64_t epoch;

    struct store_unit *first, *last; /* submitted, not handed over */
    size_t n_pending;
    struct store_batch *batches;         /* taken, rows not all delivered */
    struct store_unit *done, *done_last; /* rows delivered, to be finished */

    int64_t last_seq;
    uint64_t n_bytes; /* of the batches that were absorbed */
    struct store_head absorbed;
    bool has_absorbed;
    struct packets read; /* rows that were read back and are being delivered */
    bool is_pumping, is_delivering;
    bool is_draining;
    int64_t sidecar_ms; /* has_sidecar was looked up then; 0: never */
    bool has_sidecar;
};

/* ---- delivering rows ---- */

/* RC_BUSY: it can't be taken now; go on with it later. */
static enum rc
deliver(struct store *st, struct store_packet *p)
{
    if (p->seq <= st->last_seq)
        return RC_OK; /* invariant 1 */
    if (st->hooks.can_take && !st->hooks.can_take(st->hooks.arg, p))
        return RC_BUSY;
    st->last_seq = p->seq;
    st->hooks.on_packet(st->hooks.arg, p);
    return RC_OK;
}

static void
keep_packet(void *arg, struct store_packet *p)
{
    struct packets *ps = arg;
    if (ps->n == ps->cap) {
        ps->cap = ps->cap ? 2 * ps->cap : 64;
        ps->list = xrealloc(ps->list, ps->cap * sizeof(struct store_packet *));
    }
    ps->list[ps->n++] = store_packet_ref(p);
}

static void
drop_read(struct store *st)
{
    for (size_t i = 0; i < st->read.n; i++)
        store_packet_unref(st->read.list[i]);
    st->read.n = 0;
}

/* The rows that come next were pruned before we saw them. */
static enum rc
check_horizon(struct store *st, bool *is_beyond)
{
    int64_t horizon_seq, max_seq;
    enum rc rc = store_log_horizon(&st->reader, &horizon_seq);
    *is_beyond = false;
    if (rc != RC_OK || horizon_seq <= st->last_seq)
        return rc;
    if ((rc = store_log_max(&st->reader, &max_seq)) != RC_OK)
        return rc;
    log_error("store", "log.horizon", LOG_I("last_seq", st->last_seq),
              LOG_I("horizon_seq", horizon_seq), LOG_I("max_seq", max_seq));
    *is_beyond = true;
    st->last_seq = max_seq;
    if (st->hooks.on_horizon)
        st->hooks.on_horizon(st->hooks.arg);
    return RC_OK;
}

/* Reads and delivers (last_seq, to_seq], a slice of it. *is_all: nothing of it is left.
 * RC_BUSY: not now. */
static enum rc
read_back(struct store *st, int64_t to_seq, bool *is_all)
{
    int64_t last = st->last_seq;
    bool is_beyond = false;
    enum rc rc;
    assert(!st->is_delivering);
    store_read_leave(&st->reader);
    /* Within somebody's read the snapshot is theirs, and old. */
    if (sqlite3_txn_state(st->reader.db, NULL) != SQLITE_TXN_NONE)
        return RC_BUSY;
    rc = store_log_read(&st->reader, st->last_seq, to_seq, SLICE_ROWS, keep_packet,
                        &st->read, &last);
    st->is_delivering = true;
    if (rc == RC_OK && st->read.n && st->read.list[0]->seq != st->last_seq + 1)
        rc = check_horizon(st, &is_beyond); /* or the gap of a raised epoch */
    for (size_t i = 0; i < st->read.n && rc == RC_OK && !is_beyond; i++)
        rc = deliver(st, st->read.list[i]);
    st->is_delivering = false;
    drop_read(st);
    if (rc == RC_OK)
        *is_all = is_beyond || last >= to_seq;
    else if (rc != RC_BUSY)
        log_error("store", "tail.failed", LOG_Z("error", sqlite3_errmsg(st->reader.db)));
    return rc;
}

/* All rows of the present snapshot, a slice of them. */
static enum rc
tail(struct store *st, bool *is_all)
{
    struct store_head head;
    enum rc rc;
    if (!store_wake_head(&st->wake, &head))
        return RC_BUSY;
    rc = read_back(st, INT64_MAX, is_all);
    if (rc == RC_OK && *is_all) {
        st->absorbed = head;
        st->has_absorbed = true;
    }
    return rc;
}

static bool
is_absorbed(const struct store *st, const struct store_head *head)
{
    return st->has_absorbed && store_head_eq(head, &st->absorbed);
}

/* ---- batches ---- */

static enum rc
deliver_own(struct store *st, struct store_batch *b)
{
    enum rc rc = RC_OK;
    st->is_delivering = true;
    for (size_t i = 0; i < b->n_packets && rc == RC_OK; i++)
        rc = deliver(st, b->packets[i]);
    st->is_delivering = false;
    return rc;
}

/* RC_BUSY: some rows before or in it can't be read now; go on later. */
static enum rc
absorb(struct store *st, struct store_batch *b)
{
    bool is_all = true;
    enum rc rc = RC_OK;
    if (!b->is_committed)
        return RC_OK;
    if (st->last_seq < b->prev_seq)
        rc = read_back(st, b->prev_seq, &is_all);
    if (rc == RC_OK && is_all && b->is_gapped && st->last_seq < b->last_seq)
        rc = read_back(st, b->last_seq, &is_all);
    if (rc == RC_OK && !is_all)
        rc = RC_BUSY;
    if (rc == RC_BUSY)
        return rc;
    /* Where reading failed for good, the rows are delivered that can be. */
    if (deliver_own(st, b) == RC_BUSY)
        return RC_BUSY;
    if (rc == RC_OK && b->has_head && st->last_seq <= b->last_seq) {
        st->absorbed = b->head;
        st->has_absorbed = true;
    }
    st->n_bytes = b->n_bytes;
    return RC_OK;
}

static void
queue_done(struct store *st, struct store_unit *units)
{
    if (!units)
        return;
    if (st->done)
        *store_unit_next(st->done_last) = units;
    else
        st->done = units;
    while (*store_unit_next(units))
        units = *store_unit_next(units);
    st->done_last = units;
}

static void
destroy_batch(struct store_batch *b)
{
    for (size_t i = 0; i < b->n_packets; i++)
        store_packet_unref(b->packets[i]);
    free(b->packets);
    free(b);
}

static void
take_batches(struct store *st)
{
    struct store_batch **tail_p = &st->batches;
    while (*tail_p)
        tail_p = &(*tail_p)->next;
    *tail_p = store_thread_take(st->thread);
}

/* Delivers the rows of all batches that came back; their units are then to be finished.
 */
static enum rc
absorb_batches(struct store *st)
{
    take_batches(st);
    while (st->batches) {
        struct store_batch *b = st->batches;
        enum rc rc = absorb(st, b);
        if (rc != RC_OK)
            return rc;
        st->batches = b->next;
        queue_done(st, b->units);
        destroy_batch(b);
    }
    return RC_OK;
}

static void
finish_units(struct store *st)
{
    while (st->done) {
        struct store_unit *u = st->done;
        st->done = *store_unit_next(u);
        *store_unit_next(u) = NULL;
        st->n_pending--;
        store_unit_finish(u);
    }
}

/* ---- the pump ---- */

/* After the batches: what others committed. */
static void
look(struct store *st, unsigned events)
{
    bool is_unsure = false, is_all = true;
    struct store_head head;
    enum rc rc = RC_OK;
    if (events & (STORE_WAKE_FILE | STORE_WAKE_TIMER))
        is_unsure = store_wake_is_writing(&st->wake);
    if (!store_wake_head(&st->wake, &head))
        is_unsure = true;
    else if (!is_absorbed(st, &head) && !store_thread_expects(st->thread, &head))
        rc = tail(st, &is_all);
    if (rc == RC_OK && !is_all)
        store_wake_signal(&st->wake); /* invariant 4 */
    store_wake_rest(&st->wake, events, is_unsure || rc == RC_BUSY);
}

void
store_pump(struct store *st)
{
    unsigned events;
    if (st->is_pumping)
        return;
    st->is_pumping = true;
    events = store_wake_poll(&st->wake);
    if (st->wake.is_hushed && store_thread_is_waiting(st->thread)) {
        store_wake_hush(&st->wake, false);
        events |= STORE_WAKE_FILE;
    }
    if (absorb_batches(st) == RC_BUSY) {
        /* A slice more in the next turn; or a torn head, which takes a moment. */
        struct store_head head;
        bool is_torn = !store_can_read(st, &head);
        finish_units(st);
        if (!is_torn)
            store_wake_signal(&st->wake);
        store_wake_rest(&st->wake, events, is_torn);
    } else {
        finish_units(st);
        look(st, events);
    }
    store_thread_note(st->thread, st->last_seq, st->is_draining);
    st->is_pumping = false;
}

enum rc
store_fence(struct store *st)
{
    struct store_head head;
    bool is_all = true, has_head;
    enum rc rc;
    /* Mostly it is our own thread, which writes the head in some nanoseconds. */
    for (int i = 0; !(has_head = store_wake_head(&st->wake, &head)) && i < HEAD_TRIES;
         i++)
        ;
    if (!has_head) {
        store_wake_rest(&st->wake, 0, true);
        return RC_BUSY;
    }
    if (is_absorbed(st, &head))
        return RC_OK;
    if (st->is_delivering)
        return RC_BUSY;
    rc = absorb_batches(st);
    if (rc == RC_OK && !is_absorbed(st, &head))
        rc = tail(st, &is_all);
    if (rc == RC_OK && !is_all)
        rc = RC_BUSY;
    if (st->done || rc != RC_OK)
        store_wake_signal(&st->wake); /* the pump finishes, or goes on */
    return rc;
}

/* ---- units ---- */

void
store_queue_unit(struct store *st, struct store_unit *u)
{
    *store_unit_next(u) = NULL;
    if (st->last)
        *store_unit_next(st->last) = u;
    else
        st->first = u;
    st->last = u;
    st->n_pending++;
}

/* Before the loop sleeps, with nothing of ours on its way: did others write while we
 * didn't listen? */
static void
listen_again(struct store *st)
{
    struct store_head head;
    store_wake_hush(&st->wake, false);
    if (store_wake_is_writing(&st->wake) || !store_wake_head(&st->wake, &head) ||
        !is_absorbed(st, &head))
        store_wake_owe(&st->wake);
}

static void
hand_over(struct store *st)
{
    if (!st->first)
        return;
    store_thread_put(st->thread, st->first, st->last);
    st->first = st->last = NULL;
}

void
store_flush(struct store *st)
{
    store_read_leave(&st->reader);
    if (st->first) {
        if (!store_thread_is_waiting(st->thread))
            store_wake_hush(&st->wake, true);
        hand_over(st);
    } else if (st->n_pending == 0 && st->wake.is_hushed) {
        listen_again(st);
    }
}

size_t
store_n_pending(const struct store *st)
{
    return st->n_pending;
}

/* ---- opening and closing ---- */

static bool
is_short_lived(enum store_front f)
{
    return f == STORE_FRONT_CGI || f == STORE_FRONT_CTL;
}

/* In the writer's transaction. */
static enum rc
enter(struct store *st, const struct store_options *o, struct buf *err)
{
    enum rc rc = conn_exec(&st->writer, "BEGIN IMMEDIATE", err);
    if (rc != RC_OK)
        return rc;
    if ((rc = store_open_boot(&st->writer, &st->epoch)) != RC_OK ||
        (o->front != STORE_FRONT_CTL && /* what the servers do counts */
         (rc = store_open_limits(&st->writer, o->cfg)) != RC_OK) ||
        (rc = store_live_enter(&st->live, &st->writer, o, &st->last_seq)) != RC_OK)
        buf_append_f(err, "%s: %s", o->cfg->database, sqlite3_errmsg(st->writer.db));
    else
        rc = conn_exec(&st->writer, "COMMIT", err);
    if (rc != RC_OK && conn_exec(&st->writer, "ROLLBACK", NULL) != RC_OK)
        log_debug("store", "rollback.failed",
                  LOG_Z("error", sqlite3_errmsg(st->writer.db)));
    return rc;
}

/* A short-lived program has no checkpointer. Where nobody else is, the next one must read
 * the whole WAL when it opens, so it is kept short. */
static enum rc
open_database(struct store *st, const struct store_options *o, struct buf *err)
{
    enum rc rc;
    if ((rc = store_place_check(o->cfg->database, err)) != RC_OK ||
        (rc = store_open_file(o->cfg->database, err)) != RC_OK ||
        (rc = store_live_open(&st->live, o->cfg->database, err)) != RC_OK)
        return rc;
    store_live_wait_queue(&st->live);
    if ((rc = store_open_conn(&st->writer, o->cfg, err)) == RC_OK &&
        (!is_short_lived(o->front) ||
         (rc = conn_exec(&st->writer, "PRAGMA wal_autocheckpoint = 250", err)) == RC_OK))
        rc = enter(st, o, err);
    store_live_leave_queue(&st->live);
    return rc;
}

static void
destroy(struct store *st)
{
    store_thread_destroy(st->thread);
    store_checkpoint_destroy(st->checkpoint);
    conn_close(&st->reader);
    conn_close(&st->writer);
    store_wake_close(&st->wake);
    store_live_close(&st->live);
    free(st->read.list);
    free(st);
}

enum rc
store_open(struct store **out, const struct store_options *o,
           const struct store_hooks *hooks, struct buf *err)
{
    struct store *st = xcalloc(1, sizeof *st);
    enum rc rc;
    st->cfg = o->cfg;
    st->hooks = *hooks;
    st->live = (struct store_live){-1, -1, -1, 0};
    st->wake.epoll_fd = st->wake.signal_fd = st->wake.inotify_fd = st->wake.timer_fd = -1;
    if ((rc = open_database(st, o, err)) != RC_OK ||
        (rc = conn_open(&st->reader, o->cfg->database, CONN_READ, o->cfg, err)) !=
            RC_OK ||
        (rc = store_wake_open(&st->wake, o->cfg->database, err)) != RC_OK ||
        (!is_short_lived(o->front) &&
         (rc = store_checkpoint_create(&st->checkpoint, o->cfg, &st->wake, err)) !=
             RC_OK) ||
        (rc = store_thread_create(&st->thread, o->cfg, &st->writer, &st->live, &st->wake,
                                  st->checkpoint, st->last_seq)) != RC_OK) {
        if (err->len == 0) /* of a thread; what else fails has said why */
            buf_append_z(err, "no thread can be started: the limit of processes (nproc, "
                              "TasksMax) is reached");
        destroy(st);
        return rc;
    }
    store_wake_signal(&st->wake); /* the first look */
    *out = st;
    return RC_OK;
}

/* Until nothing more comes: callbacks may submit units, which are then not run any more.
 */
static void
drain(struct store *st)
{
    take_batches(st);
    for (struct store_batch *b = st->batches; b; b = st->batches) {
        bool is_all = false;
        if (b->is_committed && st->last_seq < b->prev_seq)
            while (read_back(st, b->prev_seq, &is_all) == RC_OK && !is_all)
                ;
        if (absorb(st, b) != RC_OK)
            (void)deliver_own(st, b); /* what is missing, the next process reads */
        st->batches = b->next;
        queue_done(st, b->units);
        destroy_batch(b);
    }
    finish_units(st);
    while (st->first) {
        struct store_unit *u = st->first;
        st->first = *store_unit_next(u);
        *store_unit_next(u) = NULL;
        store_unit_fail(u, RC_BUSY, "closing");
        queue_done(st, u);
    }
    st->last = NULL;
    finish_units(st);
}

static void
leave(struct store *st)
{
    struct store_conn *c;
    bool is_left;
    if (store_setup_begin(st, &c) != RC_OK)
        return; /* its lock ends with the process; whoever sweeps removes the row */
    is_left = store_live_leave(&st->live, c) == RC_OK;
    if (store_setup_end(st, is_left) != RC_OK)
        log_debug("store", "leave.failed", LOG_Z("error", sqlite3_errmsg(c->db)));
}

void
store_close(struct store *st)
{
    assert(!st->is_pumping);
    st->is_pumping = true;
    hand_over(st);
    store_thread_stop(st->thread);
    drain(st);
    leave(st);
    destroy(st);
}

enum rc
store_setup_begin(struct store *st, struct store_conn **out)
{
    return store_thread_setup_begin(st->thread, out);
}

enum rc
store_setup_end(struct store *st, bool is_commit)
{
    return store_thread_setup_end(st->thread, is_commit);
}

/* ---- small questions ---- */

int64_t
store_process_id(const struct store *st)
{
    return st->live.process_id;
}

int64_t
store_epoch(const struct store *st)
{
    return st->epoch;
}

int
store_fd(const struct store *st)
{
    return st->wake.epoll_fd;
}

int64_t
store_last_seq(const struct store *st)
{
    return st->last_seq;
}

struct store_seen
store_seen(const struct store *st)
{
    return (struct store_seen){st->last_seq, st->n_bytes};
}

bool
store_process_is_alive(struct store *st, int64_t process_id)
{
    return store_live_is_alive(&st->live, process_id);
}

bool
store_has_sidecar(struct store *st)
{
    struct store_conn *c;
    int64_t now_ms = clock_now_ms();
    if (st->sidecar_ms && now_ms - st->sidecar_ms < SIDECAR_CACHE_MS)
        return st->has_sidecar;
    if (store_read_enter(st, &c) == RC_OK &&
        store_live_has_sidecar(&st->live, c, &st->has_sidecar) == RC_OK)
        st->sidecar_ms = now_ms;
    return st->has_sidecar || !st->sidecar_ms;
}

enum rc
store_restored(struct store *st)
{
    struct store_conn *c;
    enum rc rc = store_setup_begin(st, &c), end_rc;
    if (rc != RC_OK)
        return rc;
    rc = store_open_raise(c);
    end_rc = store_setup_end(st, rc == RC_OK);
    if (rc == RC_OK && end_rc == RC_OK)
        st->epoch++;
    return rc != RC_OK ? rc : end_rc;
}

enum rc
store_reconfigure(struct store *st, struct cfg *cfg, struct cfg *next, struct buf *kept)
{
    struct store_conn *c;
    assert(cfg == st->cfg);
    enum rc rc = store_setup_begin(st, &c);
    if (rc != RC_OK)
        return rc;
    rc = store_live_configure(&st->live, c, str_of(next->hash));
    if (rc == RC_OK)
        rc = store_open_limits(c, next);
    if (rc == RC_OK)
        cfg_replace(cfg, next, kept);
    /* Where the commit fails, views show the old one; the new one is in use. */
    if (store_setup_end(st, rc == RC_OK) != RC_OK && rc == RC_OK)
        log_warn("store", "reconfigure.unseen");
    return rc;
}

void
store_set_draining(struct store *st)
{
    st->is_draining = true;
    store_thread_note(st->thread, st->last_seq, true);
    store_thread_tick(st->thread);
}

void
store_tick(struct store *st)
{
    store_pump(st); /* the safety net: whatever a wake may have missed */
    store_thread_tick(st->thread);
}

struct store_conn *
store_reader(struct store *st)
{
    return &st->reader;
}

bool
store_can_read(const struct store *st, struct store_head *head)
{
    return store_wake_head(&st->wake, head);
}
