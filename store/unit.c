/*
 * Units: the list of steps, its memory, and how it is run. What the steps do stands in
 * session.c, socket.c, target.c, job.c, sweep.c, app_sql.c, action.c and user.c.
 *
 * 1. All memory of a unit's steps is its arena: the first piece stands in the unit
 * itself, so that a small unit is one allocation. It stays below 1008 bytes: malloc()
 * tidies up its free lists before each larger one.
 * 2. A unit runs in a SAVEPOINT only if it may have to be undone alone: a guard stands
 * behind a step that writes, or a step may fail that is in no group, or a guard writes
 * before it knows (recovery). A first guard that finds zero rows has written nothing.
 * 3. A group (group.c) of which a step may fail runs in a SAVEPOINT of its own.
 * 4. A result is made anew by each run; what was noted in w by a run that is undone is
 * taken back.
 * 5. A failure that took the whole transaction along (RAISE(ROLLBACK), an interrupt) has
 * the batch run again without that group. A unit may do so LOST_MAX times: then all its
 * groups that may fail are left out.
 * 6. The application's SQL has APP_US_MAX in one run of a unit, all its statements
 * together: a message may have many events in it, and everybody waits for the write lock
 * meanwhile. What comes behind is left out, without being begun.
 *
 * Built and finished on the loop's thread, run on the store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/unit.h"

#include <assert.h>
#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/step.h"

enum {
    ARENA_FIRST_BYTES = 704,
    ARENA_CHUNK_BYTES = 4096,
    ERROR_BYTES = 240,
    LOST_MAX = 3,
    APP_US_MAX = 250000,
    UNTRIED_TOLD_MAX = 1000 /* app_error has no more rows */
};
#define OUT_OF_TIME "not run: the SQL of the same message has taken 250 ms"

struct chunk {
    struct chunk *next;
    alignas(max_align_t) char bytes[];
};

struct store_unit {
    struct store_unit *next; /* of the thread's queue */
    struct store_step *steps;
    struct store_step **tail;
    struct store_step *last, *block; /* the block that is open; NULL: none */
    size_t n_steps;
    size_t n_risky_end;       /* no step from there on may fail */
    struct store_step *found; /* NULL, or the one that was looked for last */
    size_t n_found;           /* its number */
    unsigned n_lost;          /* transactions that its groups took along */
    unsigned n_untried;       /* groups that are left out for want of time */
    int64_t app_us;           /* what the application's SQL has taken in this run */
    bool is_lost;             /* the last run did */
    bool has_answered;        /* the last answer counted */
    bool is_own_fault;        /* the step that ran last was none that may fail */
    store_done_fn *on_done;
    void *done_arg;
    struct store_result result; /* its arrays are the next three */
    int64_t *new_sockets;
    size_t cap_new_sockets;
    struct store_job *jobs;
    size_t cap_jobs;
    char *free_bytes; /* the arena: what is left of the newest piece */
    size_t n_free_bytes;
    struct chunk *chunks;
    char *error; /* NULL: none; else ERROR_BYTES: few units have one */
    alignas(max_align_t) char first[ARENA_FIRST_BYTES];
};

/* What a run may have to take back. */
struct mark {
    int64_t last_seq, n_rows;
    size_t n_packets, n_jobs, n_new_sockets;
    bool is_gapped;
};

/* ---- memory ---- */

void *
store_step_alloc(struct store_unit *u, size_t size)
{
    void *p;
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (size > u->n_free_bytes) {
        size_t n = size > ARENA_CHUNK_BYTES ? size : ARENA_CHUNK_BYTES;
        struct chunk *c = xmalloc(sizeof *c + n);
        c->next = u->chunks;
        u->chunks = c;
        u->free_bytes = c->bytes;
        u->n_free_bytes = n;
    }
    p = u->free_bytes;
    u->free_bytes += size;
    u->n_free_bytes -= size;
    return p;
}

struct str
store_step_copy(struct store_unit *u, struct str s)
{
    char *p;
    if (!s.len)
        return STR_NONE;
    p = store_step_alloc(u, s.len);
    memcpy(p, s.p, s.len);
    return (struct str){p, s.len};
}

void *
store_step_add(struct store_unit *u, size_t size, store_step_fn *run, unsigned flags)
{
    struct store_step *s = store_step_alloc(u, size);
    memset(s, 0, size);
    s->run = run;
    s->flags = flags;
    *u->tail = s;
    u->tail = &s->next;
    u->last = s;
    u->n_steps++;
    if (flags & STORE_STEP_RISKY)
        u->n_risky_end = u->n_steps;
    if (flags & STORE_STEP_BLOCK)
        u->block = s;
    return s;
}

struct store_step *
store_step_find(struct store_unit *u, size_t n)
{
    struct store_step *s = u->found;
    if (s == NULL || u->n_found > n) {
        u->n_found = 0;
        s = u->steps;
    }
    for (; s && u->n_found < n; u->n_found++)
        s = s->next;
    return u->found = s;
}

bool
store_unit_may_fail(const struct store_unit *u, size_t n)
{
    return u->n_risky_end > n;
}

struct store_unit *
store_unit_create(void)
{
    struct store_unit *u = xmalloc(sizeof *u);
    memset(u, 0, offsetof(struct store_unit, first));
    u->tail = &u->steps;
    u->free_bytes = u->first;
    u->n_free_bytes = sizeof u->first;
    u->result.error = "";
    return u;
}

static void
clear_jobs(struct store_unit *u, size_t n_left)
{
    while (u->result.n_jobs > n_left) {
        struct store_job *j = &u->jobs[--u->result.n_jobs];
        free(j->name);
        free(j->args);
    }
}

static void
clear_result(struct store_unit *u)
{
    clear_jobs(u, 0);
    u->result.rc = RC_OK;
    u->result.lease = (struct store_lease_result){0};
    u->result.ride = (struct store_ride_result){0};
    u->result.n_new_sockets = 0;
    u->result.last_seq = 0;
    u->result.has_more = false;
    u->result.error = "";
    u->is_lost = false;
    u->app_us = 0;
}

void
store_unit_destroy(struct store_unit *u)
{
    if (!u)
        return;
    store_unit_truncate(u, 0);
    clear_jobs(u, 0);
    free(u->jobs);
    free(u->new_sockets);
    free(u->error);
    while (u->chunks) {
        struct chunk *next = u->chunks->next;
        free(u->chunks);
        u->chunks = next;
    }
    free(u);
}

size_t
store_unit_n_steps(const struct store_unit *u)
{
    return u->n_steps;
}

void
store_unit_truncate(struct store_unit *u, size_t n)
{
    struct store_step **tail = &u->steps, *last = NULL;
    if (n >= u->n_steps)
        return;
    for (size_t i = 0; i < n; i++) {
        last = *tail;
        tail = &last->next;
    }
    for (struct store_step *s = *tail; s; s = s->next) {
        store_packet_unref(s->packet);
        if (s == u->block)
            u->block = NULL;
    }
    *tail = NULL;
    u->found = NULL;
    u->tail = tail;
    u->last = last;
    u->n_steps = n;
}

void
store_unit_block_end(struct store_unit *u)
{
    if (u->block)
        u->block->block_end = u->last;
    u->block = NULL;
}

void
store_unit_set_done(struct store_unit *u, store_done_fn *on_done, void *arg)
{
    u->on_done = on_done;
    u->done_arg = arg;
}

void
store_unit_submit(struct store *st, struct store_unit *u, store_done_fn *on_done,
                  void *arg)
{
    store_unit_set_done(u, on_done, arg);
    store_queue_unit(st, u);
}

/* ---- for the steps ---- */

int64_t
store_step_socket(const struct store_unit *u, int64_t id)
{
    size_t n;
    if (id >= 0)
        return id;
    n = (size_t)(-1 - id);
    return n < u->result.n_new_sockets ? u->new_sockets[n] : 0;
}

void
store_step_note_socket(struct store_unit *u, int64_t socket_id)
{
    if (u->result.n_new_sockets == u->cap_new_sockets) {
        u->cap_new_sockets = u->cap_new_sockets ? 2 * u->cap_new_sockets : 4;
        u->new_sockets =
            xrealloc(u->new_sockets, u->cap_new_sockets * sizeof *u->new_sockets);
        u->result.new_socket_ids = u->new_sockets;
    }
    u->new_sockets[u->result.n_new_sockets++] = socket_id;
}

void
store_step_note_job_take(struct store_unit *u, const struct store_job *job)
{
    if (u->result.n_jobs == u->cap_jobs) {
        u->cap_jobs = u->cap_jobs ? 2 * u->cap_jobs : 4;
        u->jobs = xrealloc(u->jobs, u->cap_jobs * sizeof *u->jobs);
        u->result.jobs = u->jobs;
    }
    u->jobs[u->result.n_jobs++] = *job;
}

void
store_step_note_more(struct store_unit *u)
{
    u->result.has_more = true;
}

void
store_step_note_answer(struct store_unit *u, bool has_counted)
{
    u->has_answered = has_counted;
}

bool
store_step_has_answered(const struct store_unit *u)
{
    return u->has_answered;
}

bool
store_step_has_time(struct store_unit *u)
{
    if (u->app_us < APP_US_MAX)
        return true;
    store_step_error(u, "%s", OUT_OF_TIME);
    return false;
}

void
store_step_note_time(struct store_unit *u, int64_t cpu_us)
{
    u->app_us += cpu_us;
}

struct store_lease_result *
store_step_lease(struct store_unit *u)
{
    return &u->result.lease;
}

struct store_ride_result *
store_step_ride(struct store_unit *u)
{
    return &u->result.ride;
}

void
store_step_error(struct store_unit *u, const char *fmt, ...)
{
    va_list args;
    if (!u->error)
        u->error = xmalloc(ERROR_BYTES);
    va_start(args, fmt);
    (void)vsnprintf(u->error, ERROR_BYTES, fmt, args);
    va_end(args);
    u->result.error = u->error;
    for (char *p = u->error; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
}

enum rc
store_step_change(struct store_write *w, sqlite3_stmt *stmt)
{
    enum rc rc = conn_done(stmt);
    if (rc != RC_OK)
        return rc;
    return sqlite3_changes(w->conn->db) ? RC_OK : RC_CONFLICT;
}

enum rc
store_step_slice(struct store_unit *u, sqlite3_stmt *stmt, size_t n)
{
    enum rc rc = conn_done(stmt);
    if (rc == RC_OK && (size_t)sqlite3_changes(sqlite3_db_handle(stmt)) >= n)
        store_step_note_more(u);
    return rc;
}

void
store_step_bind_blob(sqlite3_stmt *stmt, int index, struct str s)
{
    sqlite3_bind_blob64(stmt, index, s.len ? s.p : "", s.len, SQLITE_STATIC);
}

/* ---- running ---- */

/* Invariant 2. */
static bool
needs_savepoint(const struct store_unit *u)
{
    bool has_written = false;
    for (const struct store_step *s = u->steps; s; s = s->next) {
        if ((s->flags & STORE_STEP_RISKY && s->group == NULL) ||
            s->flags & STORE_STEP_UNSURE || (s->flags & STORE_STEP_GUARD && has_written))
            return true;
        if (!(s->flags & STORE_STEP_READS))
            has_written = true;
    }
    return false;
}

static struct mark
mark_of(const struct store_write *w, const struct store_unit *u)
{
    return (struct mark){.last_seq = w->last_seq,
                         .n_rows = w->n_rows,
                         .n_packets = w->n_packets,
                         .n_jobs = u->result.n_jobs,
                         .n_new_sockets = u->result.n_new_sockets,
                         .is_gapped = w->is_gapped};
}

static enum rc
run_stmt(struct store_write *w, enum store_stmt which)
{
    return conn_done(conn_stmt(w->conn, which));
}

/* Back to a savepoint, which goes, too. */
static enum rc
undo(struct store_write *w, struct store_unit *u, enum store_stmt rollback,
     enum store_stmt release, const struct mark *mark)
{
    enum rc rc;
    if (sqlite3_get_autocommit(w->conn->db))
        return RC_IO; /* the whole transaction is gone: RAISE(ROLLBACK), an interrupt, a
                         full disk */
    if ((rc = run_stmt(w, rollback)) != RC_OK || (rc = run_stmt(w, release)) != RC_OK)
        return rc;
    while (w->n_packets > mark->n_packets)
        store_packet_unref(w->packets[--w->n_packets]);
    w->last_seq = mark->last_seq;
    w->n_rows = mark->n_rows;
    w->is_gapped = mark->is_gapped;
    clear_jobs(u, mark->n_jobs);
    u->result.n_new_sockets = mark->n_new_sockets;
    return RC_OK;
}

static void
note_failed(struct store_unit *u, const struct store_step *failed)
{
    u->result.n_failed = 0;
    for (const struct store_step *s = u->steps; s != failed; s = s->next)
        u->result.n_failed++;
}

static enum rc
run_step(struct store_write *w, struct store_unit *u, struct store_step *s)
{
    enum rc rc = s->run(w, u, s);
    bool is_risky = (s->flags & STORE_STEP_RISKY) != 0;
    /* RC_INVALID of our own statements (a constraint, say) must not pass for one that can
     * be undone alone. */
    if (rc == RC_INVALID && !is_risky && !u->result.error[0])
        store_step_error(u, "%s", sqlite3_errmsg(w->conn->db));
    u->is_own_fault = !is_risky;
    if (rc != RC_OK)
        note_failed(u, s);
    return rc;
}

/* The group that a step enters inside `within`; NULL: none. */
static struct store_group *
entered(const struct store_step *s, const struct store_group *within)
{
    struct store_group *g = s->group;
    if (g == within)
        return NULL;
    while (g->within != within)
        g = g->within;
    return g;
}

static enum rc
run_group(struct store_write *w, struct store_unit *u, struct store_group *g);

static enum rc
run_steps(struct store_write *w, struct store_unit *u, struct store_step *s,
          const struct store_step *end, const struct store_group *within)
{
    while (s && s != end) {
        struct store_group *g = entered(s, within);
        enum rc rc = g ? run_group(w, u, g) : run_step(w, u, s);
        const struct store_step *last = g ? g->last : s;
        if (rc == RC_NOTFOUND && !g && s->flags & STORE_STEP_BLOCK) {
            last = s->block_end;
            rc = RC_OK;
        }
        if (rc != RC_OK)
            return rc;
        s = last ? last->next : NULL;
    }
    return RC_OK;
}

/* Invariant 5. */
static void
note_lost(struct store_unit *u)
{
    u->is_lost = true;
    if (++u->n_lost < LOST_MAX)
        return;
    for (struct store_step *s = u->steps; s; s = s->next)
        for (struct store_group *g = s->group; g; g = g->within)
            if (g->is_risky && !g->is_dropped) {
                g->is_dropped = true;
                g->error = STR("not tried: others of the same message rolled back");
            }
}

/* Invariant 6. The first one is logged. */
static void
leave_untried(struct store_unit *u, struct store_group *g)
{
    if (u->n_untried++ == 0)
        store_group_drop(u, g, OUT_OF_TIME);
    g->is_dropped = true;
    g->error = u->n_untried <= UNTRIED_TOLD_MAX ? STR(OUT_OF_TIME) : STR_NONE;
}

/* RC_OK: its steps are done, or it is left out and nothing of it is. */
static enum rc
try_group(struct store_write *w, struct store_unit *u, struct store_group *g)
{
    const struct mark mark = mark_of(w, u);
    enum rc rc = RC_OK;
    if (g->is_risky)
        rc = run_stmt(w, STORE_STMT_group_savepoint);
    if (rc != RC_OK)
        return rc;
    rc = run_steps(w, u, g->first, g->last->next, g);
    if (!g->is_risky)
        return rc;
    if (rc == RC_OK)
        return run_stmt(w, STORE_STMT_group_release);
    if ((rc != RC_INVALID && rc != RC_TOOBIG) || u->is_own_fault || u->is_lost)
        return rc;
    store_group_drop(u, g, u->result.error);
    u->result.error = "";
    if (sqlite3_get_autocommit(w->conn->db)) {
        note_lost(u);
        return rc;
    }
    return undo(w, u, STORE_STMT_group_rollback, STORE_STMT_group_release, &mark);
}

static enum rc
run_group(struct store_write *w, struct store_unit *u, struct store_group *g)
{
    enum rc rc = RC_OK;
    if (g->needs && g->needs->is_dropped)
        g->is_dropped = true;
    if (!g->is_dropped && g->is_risky && u->app_us >= APP_US_MAX)
        leave_untried(u, g);
    if (!g->is_dropped)
        rc = try_group(w, u, g);
    if (rc == RC_OK && g->is_dropped)
        rc = store_group_instead(w, u, g);
    return rc;
}

enum rc
store_unit_run(struct store_write *w, struct store_unit *u)
{
    bool has_savepoint = needs_savepoint(u);
    struct mark mark;
    enum rc rc;
    clear_result(u);
    mark = mark_of(w, u);
    if (has_savepoint && (rc = run_stmt(w, STORE_STMT_unit_savepoint)) != RC_OK)
        return rc;
    rc = run_steps(w, u, u->steps, NULL, NULL);
    if (rc == RC_OK) {
        if (w->n_rows > mark.n_rows)
            u->result.last_seq = w->last_seq;
        return has_savepoint ? run_stmt(w, STORE_STMT_unit_release) : RC_OK;
    }
    if (u->is_lost)
        return RC_CONFLICT;
    if (rc == RC_CONFLICT || (rc == RC_INVALID && has_savepoint)) {
        const char *error = u->result.error;
        if (has_savepoint &&
            undo(w, u, STORE_STMT_unit_rollback, STORE_STMT_unit_release, &mark) != RC_OK)
            return rc == RC_CONFLICT ? RC_IO : rc;
        clear_result(u);
        u->result.error = error;
        u->result.rc = rc;
        return RC_OK;
    }
    return rc;
}

void
store_unit_fail(struct store_unit *u, enum rc rc, const char *error)
{
    char text[ERROR_BYTES];
    (void)snprintf(text, sizeof text, "%s", error && error[0] ? error : u->result.error);
    clear_result(u);
    u->result.rc = rc;
    store_step_error(u, "%s", text);
}

void
store_unit_finish(struct store_unit *u)
{
    if (u->on_done)
        u->on_done(u->done_arg, &u->result);
    store_unit_destroy(u);
}

struct store_unit **
store_unit_next(struct store_unit *u)
{
    return &u->next;
}
