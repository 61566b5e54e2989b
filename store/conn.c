/*
 * One connection to the database: its pragmas, its statements, and the map from SQLite's
 * codes to ours.
 *
 * Invariants:
 * 1. The busy handler sleeps shortly and gives up at the connection's deadline; only the
 * write and the checkpoint connection ever wait. The reader, on the loop, never does (but
 * while it is opened).
 * 2. Nobody checkpoints inside a commit but the short-lived programs (CGI, command line):
 * the others have a thread for it.
 *
 * Each connection belongs to one thread; SQLite's own mutexes are off (NOMUTEX).
 *
 * SPDX-License-Identifier: MIT
 */
#define STORE_STATEMENTS_TEXTS
#include "store/internal.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum {
    CACHE_KIB = 1000,
    READ_CACHE_KIB = 250, /* dropped at each commit, for SQLite knows no better */
    JOURNAL_LIMIT_BYTES = 67108864, /* a swollen WAL is cut at its next restart */
};

static const char *
synchronous_name(enum cfg_synchronous s)
{
    switch (s) {
    case CFG_SYNC_OFF:
        return "OFF";
    case CFG_SYNC_NORMAL:
        return "NORMAL";
    case CFG_SYNC_FULL:
        return "FULL";
    }
    return "NORMAL";
}

/* SQLite's own steps are too long: they starve writers. */
static int
on_busy(void *arg, int n_before)
{
    struct store_conn *c = arg;
    struct timespec pause = {0, n_before < 10 ? 100000 : 1000000};
    if (clock_now_us() >= atomic_load(&c->wait_until_us))
        return 0;
    nanosleep(&pause, NULL);
    return 1;
}

enum rc
conn_rc(int sqlite_rc)
{
    switch (sqlite_rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RC_OK;
    case SQLITE_NOMEM:
        return RC_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return RC_BUSY;
    case SQLITE_TOOBIG:
        return RC_TOOBIG;
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_AUTH:
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
        return RC_INVALID;
    default:
        return RC_IO;
    }
}

enum rc
conn_exec(struct store_conn *c, const char *sql, struct buf *err)
{
    char *text = NULL;
    int n = sqlite3_exec(c->db, sql, NULL, NULL, &text);
    if (n != SQLITE_OK && err)
        buf_append_z(err, text ? text : sqlite3_errstr(n));
    sqlite3_free(text);
    return conn_rc(n);
}

enum rc
conn_open(struct store_conn *c, const char *file, enum conn_role role,
          const struct cfg *cfg, struct buf *err)
{
    struct buf sql = {0};
    enum rc rc;
    int n;
    memset(c, 0, sizeof *c);
    /* Works before the first connection only: threads then share no lock for the
     * counters. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    n = sqlite3_open_v2(file, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (n != SQLITE_OK) {
        buf_append_z(err, c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(n));
        rc = conn_rc(n);
        goto out;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_handler(c->db, on_busy, c);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    buf_append_f(&sql,
                 "PRAGMA foreign_keys = ON;"
                 "PRAGMA synchronous = %s; PRAGMA cache_size = -%d;"
                 "PRAGMA wal_autocheckpoint = 0; PRAGMA "
                 "journal_size_limit = %d;",
                 synchronous_name(cfg->synchronous),
                 role == CONN_READ ? READ_CACHE_KIB : CACHE_KIB, JOURNAL_LIMIT_BYTES);
    if (role == CONN_READ)
        buf_append_z(&sql, "PRAGMA query_only = ON;");
    buf_append_c(&sql, 0);
    atomic_store(&c->wait_until_us, clock_now_us() + OPEN_WAIT_US);
    rc = conn_exec(c, sql.p, err); /* reads the schema: an outsider may have it locked */
    atomic_store(&c->wait_until_us, 0);
out:
    buf_fini(&sql);
    if (rc != RC_OK)
        conn_close(c);
    return rc;
}

void
conn_close(struct store_conn *c)
{
    int n;
    if (!c->db)
        return;
    for (size_t i = 0; i < STORE_STMT_COUNT; i++)
        sqlite3_finalize(c->stmts[i]);
    for (size_t i = 0; i < c->n_app_stmts; i++) {
        sqlite3_finalize(c->app_stmts[i]);
        free(c->app_names[i]);
    }
    free(c->app_stmts);
    free(c->app_names);
    for (size_t i = 0; i < CONN_CACHED_MAX; i++) {
        sqlite3_finalize(c->cached[i].stmt);
        free(c->cached[i].sql);
    }
    buf_fini(&c->scratch);
    n = sqlite3_close(c->db);
    assert(n == SQLITE_OK); /* else a statement was leaked */
    memset(c, 0, sizeof *c);
}

sqlite3_stmt *
conn_stmt(struct store_conn *c, enum store_stmt which)
{
    sqlite3_stmt *stmt = c->stmts[which];
    if (stmt) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
        return stmt;
    }
    if (sqlite3_prepare_v3(c->db, store_stmt_texts[which].sql, -1,
                           SQLITE_PREPARE_PERSISTENT, &c->stmts[which],
                           NULL) != SQLITE_OK)
        log_error("store", "statement.broken",
                  LOG_Z("name", store_stmt_texts[which].name),
                  LOG_Z("error", sqlite3_errmsg(c->db)));
    return c->stmts[which];
}

sqlite3_stmt *
conn_cached_stmt(struct store_conn *c, const char *sql)
{
    struct conn_cached *place = c->cached; /* at last the one that was used longest ago */
    sqlite3_stmt *stmt;
    for (size_t i = 0; i < CONN_CACHED_MAX; i++) {
        struct conn_cached *k = &c->cached[i];
        if (k->sql && strcmp(k->sql, sql) == 0) {
            k->last_use = ++c->n_cached_uses;
            sqlite3_reset(k->stmt);
            sqlite3_clear_bindings(k->stmt);
            return k->stmt;
        }
        if (k->last_use < place->last_use)
            place = k;
    }
    if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) !=
        SQLITE_OK)
        return NULL;
    sqlite3_finalize(place->stmt);
    free(place->sql);
    *place = (struct conn_cached){xstrdup(sql), stmt, ++c->n_cached_uses};
    return stmt;
}

enum rc
conn_step(sqlite3_stmt *stmt)
{
    int n;
    if (!stmt)
        return RC_IO;
    n = sqlite3_step(stmt);
    if (n == SQLITE_ROW)
        return RC_OK;
    sqlite3_reset(stmt);
    return n == SQLITE_DONE ? RC_NOTFOUND : conn_rc(n);
}

enum rc
conn_done(sqlite3_stmt *stmt)
{
    int n;
    if (!stmt)
        return RC_IO;
    do
        n = sqlite3_step(stmt);
    while (n == SQLITE_ROW);
    sqlite3_reset(stmt);
    return conn_rc(n);
}

struct str
conn_column(sqlite3_stmt *stmt, int column)
{
    /* Blob first, then bytes: the order that SQLite's documentation asks for. */
    const char *p = sqlite3_column_blob(stmt, column);
    return (struct str){p, p ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

void
conn_bind_str(sqlite3_stmt *stmt, int index, struct str s)
{
    assert(s.len <= INT_MAX);
    sqlite3_bind_text(stmt, index, s.len ? s.p : "", (int)s.len, SQLITE_STATIC);
}

void
conn_bind_str_or_null(sqlite3_stmt *stmt, int index, struct str s)
{
    if (s.len)
        conn_bind_str(stmt, index, s);
    else
        sqlite3_bind_null(stmt, index);
}
