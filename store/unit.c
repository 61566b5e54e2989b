/*
 * Units: the list of steps, its memory, and how it is run. What the steps do stands in
 * session.c, socket.c, target.c, job.c, sweep.c, app_sql.c and action.c.
 *
 * 1. All memory of a unit's steps is its arena: the first piece stands in the unit
 * itself, so that a small unit is one allocation. It stays below 1008 bytes: malloc()
 * tidies up its free lists before each larger one.
 * 2. A unit runs in a SAVEPOINT only if it may have to be undone alone: a guard stands
 * behind a step that writes, or it fires application SQL, or a guard writes before it
 * knows (recovery). A first guard that finds zero rows has written nothing.
 * 3. A result is made anew by each run; what was noted in w by a run that is undone is
 * taken back.
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

enum { ARENA_FIRST_BYTES = 704, ARENA_CHUNK_BYTES = 4096, ERROR_BYTES = 240 };

struct chunk {
    struct chunk *next;
    alignas(max_align_t) char bytes[];
};

struct store_unit {
    struct store_unit *next; /* of the thread's queue */
    struct store_step *steps;
    struct store_step **tail;
    size_t n_steps;
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

/* What a run may have to take back in w. */
struct mark {
    int64_t last_seq, n_rows;
    size_t n_packets;
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
    u->n_steps++;
    return s;
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
clear_jobs(struct store_unit *u)
{
    for (size_t i = 0; i < u->result.n_jobs; i++) {
        free(u->jobs[i].name);
        free(u->jobs[i].args);
    }
    u->result.n_jobs = 0;
}

static void
clear_result(struct store_unit *u)
{
    clear_jobs(u);
    u->result.rc = RC_OK;
    u->result.lease = (struct store_lease_result){0};
    u->result.n_new_sockets = 0;
    u->result.last_seq = 0;
    u->result.error = "";
}

void
store_unit_destroy(struct store_unit *u)
{
    if (!u)
        return;
    store_unit_truncate(u, 0);
    clear_jobs(u);
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
    struct store_step **tail = &u->steps;
    if (n >= u->n_steps)
        return;
    for (size_t i = 0; i < n; i++)
        tail = &(*tail)->next;
    for (struct store_step *s = *tail; s; s = s->next)
        store_packet_unref(s->packet);
    *tail = NULL;
    u->tail = tail;
    u->n_steps = n;
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

struct store_lease_result *
store_step_lease(struct store_unit *u)
{
    return &u->result.lease;
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
        if (s->flags & STORE_STEP_RISKY || (s->flags & STORE_STEP_GUARD && has_written))
            return true;
        if (!(s->flags & STORE_STEP_READS))
            has_written = true;
    }
    return false;
}

static enum rc
run_steps(struct store_write *w, struct store_unit *u)
{
    for (struct store_step *s = u->steps; s; s = s->next) {
        enum rc rc = s->run(w, u, s);
        /* RC_INVALID of our own statements (a constraint, say) must not pass for one that
         * can be undone alone. */
        if (rc == RC_INVALID && !(s->flags & STORE_STEP_RISKY) && !u->result.error[0])
            store_step_error(u, "%s", sqlite3_errmsg(w->conn->db));
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc
release(struct store_write *w)
{
    return conn_done(conn_stmt(w->conn, STORE_STMT_unit_release));
}

static enum rc
undo(struct store_write *w, const struct mark *mark)
{
    enum rc rc;
    if (sqlite3_get_autocommit(w->conn->db))
        return RC_IO; /* the whole transaction is gone: RAISE(ROLLBACK), an interrupt, a
                         full disk */
    rc = conn_done(conn_stmt(w->conn, STORE_STMT_unit_rollback));
    if (rc == RC_OK)
        rc = release(w);
    if (rc != RC_OK)
        return rc;
    while (w->n_packets > mark->n_packets)
        store_packet_unref(w->packets[--w->n_packets]);
    w->last_seq = mark->last_seq;
    w->n_rows = mark->n_rows;
    w->is_gapped = mark->is_gapped;
    return RC_OK;
}

enum rc
store_unit_run(struct store_write *w, struct store_unit *u)
{
    const struct mark mark = {w->last_seq, w->n_rows, w->n_packets, w->is_gapped};
    bool has_savepoint = needs_savepoint(u);
    enum rc rc;
    clear_result(u);
    if (has_savepoint) {
        rc = conn_done(conn_stmt(w->conn, STORE_STMT_unit_savepoint));
        if (rc != RC_OK)
            return rc;
    }
    rc = run_steps(w, u);
    if (rc == RC_OK) {
        if (w->n_rows > mark.n_rows)
            u->result.last_seq = w->last_seq;
        if (has_savepoint)
            rc = release(w);
        return rc;
    }
    if (rc == RC_CONFLICT || (rc == RC_INVALID && has_savepoint)) {
        const char *error = u->result.error;
        if (has_savepoint && undo(w, &mark) != RC_OK)
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
