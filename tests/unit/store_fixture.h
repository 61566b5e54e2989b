/*
 * A database file under a temporary folder, and "processes" that run units on it: each
 * has a connection and a batch of its own, so that a test says exactly in which order the
 * commits of several come.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_UNIT_STORE_FIXTURE_H
#define SIOLITE_TESTS_UNIT_STORE_FIXTURE_H

#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "store/open.h"
#include "store/step.h"

#define FX_UNUSED __attribute__((unused))

enum { FX_NOW_MS = 1000000 };

struct fx {
    char folder[64], file[96];
    struct cfg cfg;
};

struct fx_process {
    struct store_conn conn;
    struct store_write w;
};

/* What on_done got; the arrays are bounded by what tests need. */
struct fx_outcome {
    bool is_done;
    enum rc rc;
    struct store_lease_result lease;
    struct store_ride_result ride;
    int64_t sockets[8];
    size_t n_sockets;
    struct {
        int64_t job_id, gen, due_ms, socket_id;
        char name[32], args[256];
    } jobs[8];
    size_t n_jobs, n_failed;
    int64_t last_seq;
    char error[256];
};

FX_UNUSED static void
fx_copy_outcome(void *arg, const struct store_result *r)
{
    struct fx_outcome *o = arg;
    *o = (struct fx_outcome){.is_done = true,
                             .rc = r->rc,
                             .lease = r->lease,
                             .ride = r->ride,
                             .n_sockets = r->n_new_sockets,
                             .n_jobs = r->n_jobs,
                             .n_failed = r->n_failed,
                             .last_seq = r->last_seq};
    for (size_t i = 0; i < r->n_new_sockets && i < 8; i++)
        o->sockets[i] = r->new_socket_ids[i];
    for (size_t i = 0; i < r->n_jobs && i < 8; i++) {
        o->jobs[i].job_id = r->jobs[i].job_id;
        o->jobs[i].gen = r->jobs[i].gen;
        o->jobs[i].due_ms = r->jobs[i].due_ms;
        o->jobs[i].socket_id = r->jobs[i].socket_id;
        (void)snprintf(o->jobs[i].name, sizeof o->jobs[i].name, "%s", r->jobs[i].name);
        (void)snprintf(o->jobs[i].args, sizeof o->jobs[i].args, "%s", r->jobs[i].args);
    }
    (void)snprintf(o->error, sizeof o->error, "%s", r->error);
}

FX_UNUSED static void
fx_on_row(void *arg, int op, const char *schema, const char *table, sqlite3_int64 rowid)
{
    struct store_write *w = arg;
    (void)schema;
    if (op != SQLITE_INSERT || strcmp(table, "t_packet") != 0)
        return;
    w->last_seq = rowid;
    w->n_rows++;
}

FX_UNUSED static void
fx_open(struct fx *fx)
{
    log_set_level(LOG_ERROR);
    (void)snprintf(fx->folder, sizeof fx->folder, "/tmp/siolite-store-XXXXXX");
    assert_non_null(mkdtemp(fx->folder));
    (void)snprintf(fx->file, sizeof fx->file, "%s/siolite.db", fx->folder);
    cfg_init(&fx->cfg);
    free(fx->cfg.database);
    fx->cfg.database = xstrdup(fx->file);
}

FX_UNUSED static int
fx_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

FX_UNUSED static void
fx_close(struct fx *fx)
{
    (void)nftw(fx->folder, fx_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    cfg_fini(&fx->cfg);
}

/* ---- SQL by hand ---- */

FX_UNUSED static enum rc
fx_try(struct fx_process *p, char *error, const char *sql)
{
    char *text = NULL;
    int n = sqlite3_exec(p->conn.db, sql, NULL, NULL, &text);
    (void)snprintf(error, 256, "%s", text ? text : "");
    sqlite3_free(text);
    return n == SQLITE_OK ? RC_OK : RC_INVALID;
}

FX_UNUSED static void
fx_exec(struct fx_process *p, const char *sql)
{
    char error[256];
    if (fx_try(p, error, sql) != RC_OK)
        fail_msg("%s: %s", sql, error);
}

/* The first column of the first row, as text; "" if there is none. Freed by nobody: tests
 * are short. */
FX_UNUSED static const char *
fx_text(struct fx_process *p, const char *sql)
{
    static char text[8][1024];
    static size_t at;
    char *out = text[at++ % 8];
    sqlite3_stmt *q;
    if (sqlite3_prepare_v2(p->conn.db, sql, -1, &q, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(p->conn.db));
    out[0] = 0;
    if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_text(q, 0))
        (void)snprintf(out, 1024, "%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    return out;
}

FX_UNUSED static int64_t
fx_int(struct fx_process *p, const char *sql)
{
    return strtoll(fx_text(p, sql), NULL, 10);
}

#define FX_ASSERT_TEXT(p, sql, expected) assert_string_equal(fx_text(p, sql), expected)
#define FX_ASSERT_INT(p, sql, expected) assert_int_equal(fx_int(p, sql), expected)

/* What must be true between any two transactions. */
FX_UNUSED static void
fx_check(struct fx_process *p)
{
    FX_ASSERT_TEXT(p, "PRAGMA foreign_key_check", "");
    /* idle says exactly which rooms are empty */
    FX_ASSERT_TEXT(
        p,
        "SELECT r.name FROM t_room r WHERE (r.idle_seq IS NULL) <> EXISTS (SELECT 1 FROM "
        "t_member m WHERE m.room_id = r.room_id AND m.until_seq IS NULL)",
        "");
    /* only open sockets are in rooms, once, of their namespace, and since a row of the
     * log that joins */
    FX_ASSERT_TEXT(p,
                   "SELECT m.socket_id FROM t_member m JOIN t_socket s USING (socket_id) "
                   "WHERE m.until_seq IS NULL AND s.state <> 0",
                   "");
    FX_ASSERT_TEXT(p,
                   "SELECT socket_id FROM t_member WHERE until_seq IS NULL "
                   "GROUP BY socket_id, room_id HAVING count(*) > 1",
                   "");
    FX_ASSERT_TEXT(p,
                   "SELECT m.socket_id FROM t_member m JOIN t_socket s USING (socket_id) "
                   "JOIN t_room r USING (room_id) WHERE r.nsp_id <> s.nsp_id",
                   "");
    FX_ASSERT_TEXT(
        p,
        "SELECT m.socket_id FROM t_member m LEFT JOIN t_packet p ON p.seq = m.since_seq "
        "WHERE p.kind IS NOT 16 AND m.since_seq > (SELECT horizon_seq FROM t_meta)",
        "");
    FX_ASSERT_TEXT(p, "SELECT socket_id FROM t_member WHERE until_seq <= since_seq", "");
    /* an open socket has no end, an ended one has */
    FX_ASSERT_TEXT(
        p, "SELECT socket_id FROM t_socket WHERE (state = 0) <> (until_seq IS NULL)", "");
    FX_ASSERT_TEXT(p,
                   "SELECT session_id FROM t_lease WHERE state = 1 AND (keep_seq IS NOT "
                   "NULL OR due_ms IS "
                   "NOT NULL OR upgrade_id IS NOT NULL)",
                   "");
}

/* ---- processes ---- */

FX_UNUSED static void
fx_process_open(struct fx *fx, struct fx_process *p)
{
    struct buf err = {0};
    memset(p, 0, sizeof *p);
    if (store_open_file(fx->file, &err) != RC_OK ||
        store_open_conn(&p->conn, &fx->cfg, &err) != RC_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&err)));
    buf_fini(&err);
    p->w.conn = &p->conn;
    p->w.cfg = &fx->cfg;
    p->w.now_ms = FX_NOW_MS;
    fx_exec(p, "INSERT INTO t_process (front) VALUES ('fcgi')");
    p->w.process_id = sqlite3_last_insert_rowid(p->conn.db);
    sqlite3_update_hook(p->conn.db, fx_on_row, &p->w);
}

FX_UNUSED static void
fx_drop_packets(struct fx_process *p)
{
    while (p->w.n_packets)
        store_packet_unref(p->w.packets[--p->w.n_packets]);
}

FX_UNUSED static void
fx_process_close(struct fx_process *p)
{
    fx_drop_packets(p);
    free(p->w.packets);
    conn_close(&p->conn);
}

/* All units in one transaction, as the store thread does it; packets of the batch stay in
 * p->w until the next one. */
FX_UNUSED static void
fx_batch(struct fx_process *p, struct store_unit **units, struct fx_outcome *outcomes,
         size_t n)
{
    bool is_out[8] = {false};
    size_t i;
    assert_true(n <= 8);
again:
    fx_drop_packets(p);
    fx_exec(p, "BEGIN IMMEDIATE");
    p->w.last_seq = fx_int(p, "SELECT coalesce(max(seq), 0) FROM t_packet");
    p->w.n_rows = 0;
    p->w.is_gapped = false;
    for (i = 0; i < n; i++) {
        enum rc rc;
        if (is_out[i])
            continue;
        rc = store_unit_run(&p->w, units[i]);
        if (rc != RC_OK) {
            is_out[i] = rc != RC_CONFLICT;
            if (is_out[i])
                store_unit_fail(units[i], rc, NULL);
            if (!sqlite3_get_autocommit(p->conn.db))
                fx_exec(p, "ROLLBACK");
            goto again;
        }
    }
    fx_exec(p, "COMMIT");
    fx_check(p);
    for (i = 0; i < n; i++) {
        store_unit_set_done(units[i], fx_copy_outcome, &outcomes[i]);
        store_unit_finish(units[i]);
        assert_true(outcomes[i].is_done);
    }
}

FX_UNUSED static struct fx_outcome
fx_run(struct fx_process *p, struct store_unit *u)
{
    struct fx_outcome o = {0};
    fx_batch(p, &u, &o, 1);
    return o;
}

/* ---- what most tests begin with ---- */

FX_UNUSED static int64_t
fx_session(struct fx_process *p, const char *eio_sid, bool is_websocket)
{
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    store_unit_session_create(
        u, &(struct store_session_new){.eio_sid = str_of(eio_sid),
                                       .protocol = 4,
                                       .is_websocket = is_websocket,
                                       .remote = STR("192.0.2.1"),
                                       .handshake = STR("{\"a\":1}"),
                                       .now_ms = FX_NOW_MS,
                                       .ping_ms = FX_NOW_MS + 25000,
                                       .due_ms = FX_NOW_MS + 45000,
                                       .connect_due_ms = FX_NOW_MS + 45000});
    o = fx_run(p, u);
    assert_int_equal(o.rc, RC_OK);
    return o.lease.session_id;
}

FX_UNUSED static int64_t
fx_socket_in(struct fx_process *p, int64_t session_id, const char *sio_id,
             const char *nsp)
{
    struct store_unit *u = store_unit_create();
    struct fx_outcome o;
    char pid[64];
    (void)snprintf(pid, sizeof pid, "pid-%s", sio_id);
    store_unit_socket_create(u, &(struct store_socket_new){.session_id = session_id,
                                                           .nsp = str_of(nsp),
                                                           .sio_id = str_of(sio_id),
                                                           .recovery_pid = str_of(pid),
                                                           .reply = STR("{\"sid\":1}"),
                                                           .now_ms = FX_NOW_MS});
    o = fx_run(p, u);
    assert_int_equal(o.rc, RC_OK);
    assert_int_equal(o.n_sockets, 1);
    return o.sockets[0];
}

FX_UNUSED static int64_t
fx_socket(struct fx_process *p, int64_t session_id, const char *sio_id)
{
    return fx_socket_in(p, session_id, sio_id, "/");
}

/* Sockets id0, id1 and id2 of one session; returns that. */
FX_UNUSED static int64_t
fx_three_sockets(struct fx_process *p, int64_t s[3])
{
    static const char *const IDS[3] = {"id0", "id1", "id2"};
    int64_t session_id = fx_session(p, "sid-secret-of-somebody", false);
    for (int i = 0; i < 3; i++)
        s[i] = fx_socket(p, session_id, IDS[i]);
    return session_id;
}

/* Targets in '/' as compound literals. */
#define FX_TO_SOCKET(socket)                                                             \
    (&(struct store_target){.nsp = STR("/"), .to = STORE_TO_SOCKET, .id = (socket)})
#define FX_TO_ALL (&(struct store_target){.nsp = STR("/"), .to = STORE_TO_NSP})
#define FX_TO_ROOM(name)                                                                 \
    (&(struct store_target){.nsp = STR("/"),                                             \
                            .to = STORE_TO_ROOM,                                         \
                            .rooms = (struct str[]){STR(name)},                          \
                            .n_rooms = 1})

FX_UNUSED static void
fx_join(struct fx_process *p, int64_t socket_id, const char *room)
{
    struct store_unit *u = store_unit_create();
    store_unit_join(u, FX_TO_SOCKET(socket_id), str_of(room));
    assert_int_equal(fx_run(p, u).rc, RC_OK);
}

FX_UNUSED static struct store_packet *
fx_event(const char *body)
{
    return store_packet_create(STORE_EVENT, str_of(body), STR_NONE);
}

/* ---- a whole store, whose loop the test turns ---- */

struct fx_rows {
    int n;          /* so many on_packet saw */
    char body[256]; /* of the newest */
};

FX_UNUSED static void
fx_on_packet(void *arg, struct store_packet *p)
{
    struct fx_rows *rows = arg;
    rows->n++;
    (void)snprintf(rows->body, sizeof rows->body, "%.*s", STR_ARG(p->body));
}

FX_UNUSED static void
fx_on_horizon(void *arg)
{
    (void)arg;
}

FX_UNUSED static struct store *
fx_store_open(struct fx *fx, struct fx_rows *rows)
{
    struct store_options options = {
        .cfg = &fx->cfg, .front = STORE_FRONT_FCGI, .address = "here"};
    struct store_hooks hooks = {
        .arg = rows, .on_packet = fx_on_packet, .on_horizon = fx_on_horizon};
    struct store *st;
    struct buf err = {0};
    if (store_open(&st, &options, &hooks, &err) != RC_OK)
        fail_msg("%.*s", STR_ARG(buf_str(&err)));
    buf_fini(&err);
    return st;
}

/* All units in one flush: usually one batch. */
FX_UNUSED static void
fx_store_batch(struct store *st, struct store_unit **units, struct fx_outcome *o,
               size_t n)
{
    for (size_t i = 0; i < n; i++) {
        o[i] = (struct fx_outcome){0};
        store_unit_submit(st, units[i], fx_copy_outcome, &o[i]);
    }
    store_flush(st);
    while (!o[n - 1].is_done) {
        struct pollfd fd = {.fd = store_fd(st), .events = POLLIN};
        assert_true(poll(&fd, 1, 5000) > 0);
        store_pump(st);
    }
}

FX_UNUSED static struct fx_outcome
fx_store_run(struct store *st, struct store_unit *u)
{
    struct fx_outcome o;
    fx_store_batch(st, &u, &o, 1);
    return o;
}

#endif
