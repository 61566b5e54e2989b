/*
 * A store in a temporary folder, and another process beside it, for the tests of store/.
 *
 * The outsider is a child that was forked before any thread was: it runs SQL on a
 * connection of its own, as PHP or the sqlite3 command would, and can be killed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_UNIT_STORE_WORLD_H
#define SIOLITE_TESTS_UNIT_STORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/unit.h"

enum { WORLD_ROWS_MAX = 300000, WORLD_WAIT_US = 20000000 };

struct outsider {
    pid_t pid;
    int to, from;
};

struct world {
    char folder[64];
    struct cfg cfg;
    struct store *st;
    struct outsider outsider; /* pid 0: none */
    int64_t *seqs;            /* of the rows that on_packet saw */
    size_t n_rows;
    size_t n_busy; /* so often a row can't be taken */
    char last_body[64];
    size_t n_horizons;
    size_t n_done; /* units */
    enum rc last_rc;
    char last_error[128];
    int64_t last_unit_seq;
    struct store_ride_result last_ride;
    void (*on_packet)(struct world *w, struct store_packet *p);
    void (*on_done)(struct world *w, const struct store_result *r);
};

__attribute__((unused)) static bool
world_can_take(void *arg, const struct store_packet *p)
{
    struct world *w = arg;
    (void)p;
    return w->n_busy == 0 || w->n_busy-- == 0;
}

__attribute__((unused)) static void
world_on_packet(void *arg, struct store_packet *p)
{
    struct world *w = arg;
    assert_true(w->n_rows < WORLD_ROWS_MAX);
    if (w->n_rows)
        assert_true(p->seq > w->seqs[w->n_rows - 1]);
    w->seqs[w->n_rows++] = p->seq;
    snprintf(w->last_body, sizeof w->last_body, "%.*s", STR_ARG(p->body));
    if (w->on_packet)
        w->on_packet(w, p);
}

__attribute__((unused)) static void
world_on_horizon(void *arg)
{
    ((struct world *)arg)->n_horizons++;
}

__attribute__((unused)) static void
world_on_done(void *arg, const struct store_result *r)
{
    struct world *w = arg;
    w->n_done++;
    w->last_rc = r->rc;
    w->last_unit_seq = r->last_seq;
    w->last_ride = r->ride;
    snprintf(w->last_error, sizeof w->last_error, "%s", r->error);
    if (r->last_seq) /* invariant 2 of store.h */
        assert_true(store_last_seq(w->st) >= r->last_seq);
    if (w->on_done)
        w->on_done(w, r);
}

/* ---- the outsider ---- */

__attribute__((unused)) static void
outsider_main(const char *database, int in, int out)
{
    FILE *lines = fdopen(in, "r");
    sqlite3 *db = NULL;
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, lines) > 0) {
        char *error = NULL, answer[300];
        if (!db) {
            sqlite3_open(database, &db);
            sqlite3_busy_timeout(db, 10000);
        }
        sqlite3_exec(db, line, NULL, NULL, &error);
        int n = snprintf(answer, sizeof answer, "%s\n", error ? error : "ok");
        sqlite3_free(error);
        if (write(out, answer, (size_t)n) != n)
            break;
    }
    _exit(0);
}

/* Before world_open: no thread may be alive yet. */
__attribute__((unused)) static void
outsider_start(struct world *w)
{
    int to[2], from[2];
    char name[100];
    snprintf(name, sizeof name, "%s/db", w->folder);
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    w->outsider.pid = fork();
    assert_true(w->outsider.pid >= 0);
    if (w->outsider.pid == 0) {
        close(to[1]);
        close(from[0]);
        outsider_main(name, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    w->outsider.to = to[1];
    w->outsider.from = from[0];
}

/* Doesn't wait for the answer. */
__attribute__((unused)) static void
outsider_send(struct world *w, const char *sql)
{
    char line[1000];
    int n = snprintf(line, sizeof line, "%s\n", sql);
    assert_true(n < (int)sizeof line);
    assert_int_equal(write(w->outsider.to, line, (size_t)n), n);
}

__attribute__((unused)) static void
outsider_expect(struct world *w, const char *answer)
{
    char got[300] = "";
    size_t n = 0;
    while (n < sizeof got - 1 && read(w->outsider.from, got + n, 1) == 1 &&
           got[n] != '\n')
        n++;
    got[n] = 0;
    assert_string_equal(got, answer);
}

__attribute__((unused)) static void
outsider_run(struct world *w, const char *sql)
{
    outsider_send(w, sql);
    outsider_expect(w, "ok");
}

__attribute__((unused)) static void
outsider_stop(struct world *w, int sig)
{
    if (!w->outsider.pid)
        return;
    if (sig)
        kill(w->outsider.pid, sig);
    close(w->outsider.to);
    close(w->outsider.from);
    waitpid(w->outsider.pid, NULL, 0);
    w->outsider.pid = 0;
}

/* ---- the store ---- */

__attribute__((unused)) static void
world_init(struct world *w)
{
    char name[100];
    memset(w, 0, sizeof *w);
    strcpy(w->folder, "/tmp/siolite-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    cfg_init(&w->cfg);
    free(w->cfg.database);
    snprintf(name, sizeof name, "%s/db", w->folder);
    w->cfg.database = xstrdup(name);
    w->seqs = xcalloc(WORLD_ROWS_MAX, sizeof *w->seqs);
    log_set_level(LOG_ERROR);
    signal(SIGPIPE, SIG_IGN);
}

__attribute__((unused)) static enum rc
world_try_open(struct world *w, enum store_front front, struct buf *err)
{
    struct store_options o = {.cfg = &w->cfg, .front = front, .address = "here"};
    struct store_hooks hooks = {w, world_on_packet, world_on_horizon, world_can_take};
    return store_open(&w->st, &o, &hooks, err);
}

__attribute__((unused)) static void
world_open(struct world *w, enum store_front front)
{
    struct buf err = {0};
    enum rc rc = world_try_open(w, front, &err);
    if (rc != RC_OK)
        fail_msg("store_open: %.*s", STR_ARG(buf_str(&err)));
}

__attribute__((unused)) static void
world_close(struct world *w)
{
    if (w->st)
        store_close(w->st);
    w->st = NULL;
}

__attribute__((unused)) static void
world_fini(struct world *w)
{
    char name[400];
    struct dirent *e;
    DIR *d;
    world_close(w);
    outsider_stop(w, 0);
    d = opendir(w->folder);
    while (d && (e = readdir(d))) {
        snprintf(name, sizeof name, "%s/%s", w->folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(name);
    }
    closedir(d);
    rmdir(w->folder);
    cfg_fini(&w->cfg);
    free(w->seqs);
}

/* A loop turn; waits at most timeout_ms. */
__attribute__((unused)) static void
world_turn(struct world *w, int timeout_ms)
{
    struct pollfd fd = {.fd = store_fd(w->st), .events = POLLIN};
    store_flush(w->st);
    if (poll(&fd, 1, timeout_ms) > 0)
        store_pump(w->st);
}

/* Turns the loop until all units are done. */
__attribute__((unused)) static void
world_settle(struct world *w)
{
    int64_t end_us = clock_now_us() + WORLD_WAIT_US;
    while (store_n_pending(w->st) && clock_now_us() < end_us)
        world_turn(w, 100);
    assert_int_equal(store_n_pending(w->st), 0);
}

/* Turns the loop until so many rows were seen. */
__attribute__((unused)) static void
world_wait_rows(struct world *w, size_t n)
{
    int64_t end_us = clock_now_us() + WORLD_WAIT_US;
    while (w->n_rows < n && clock_now_us() < end_us)
        world_turn(w, 100);
    assert_int_equal(w->n_rows, n);
}

/* A broadcast to the namespace '/', which needs no socket. */
__attribute__((unused)) static void
world_add_emit(struct store_unit *u, const char *body)
{
    struct store_target t = {.nsp = STR("/"), .to = STORE_TO_NSP};
    store_unit_packet(u, &t, store_packet_create(STORE_EVENT, str_of(body), STR_NONE));
}

__attribute__((unused)) static void
world_emit(struct world *w, const char *body)
{
    struct store_unit *u = store_unit_create();
    world_add_emit(u, body);
    store_unit_submit(w->st, u, world_on_done, w);
}

/* A number that the database says, by a connection of its own. */
__attribute__((unused)) static int64_t
world_number(struct world *w, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t n;
    assert_int_equal(sqlite3_open(w->cfg.database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

#endif
