/*
 * Opening: an empty file, a foreign one, one of an older or a newer siolite.
 *
 * 1. Nothing is written to a file that isn't ours: application_id, and no tables in a new
 * one.
 * 2. Missing migrations are applied in one BEGIN IMMEDIATE together with user_version;
 * the views are made anew in it.
 * 3. With synchronous=NORMAL a power loss may take the newest commits back, so seq may be
 * given out twice. The first opener after a boot raises the epoch and seq (design 3.8).
 *
 * The thread that calls store_open(), before there are others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/open.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/place.h"
#include "store_schema.h"

/* In a folder that is shared with a group the file must be, too, whatever the umask. */
static bool
is_shared_folder(const char *database)
{
    char *copy = xstrdup(database);
    struct stat st;
    bool is_shared = stat(dirname(copy), &st) == 0 && st.st_mode & S_IWGRP;
    free(copy);
    return is_shared;
}

/* SQLite's own files: what it says of one that can't be written names none. */
static enum rc
check_beside(const char *database, const char *suffix, struct buf *err)
{
    struct buf name = {0};
    enum rc rc = RC_OK;
    buf_append_f(&name, "%s%s", database, suffix);
    buf_append_c(&name, 0);
    if (access(name.p, F_OK) == 0 && access(name.p, R_OK | W_OK) != 0) {
        store_place_say(err, name.p, errno);
        rc = RC_IO;
    }
    buf_fini(&name);
    return rc;
}

enum rc
store_open_file(const char *database, struct buf *err)
{
    int fd = open(database, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (fd >= 0) {
        if (is_shared_folder(database) && fchmod(fd, 0660) != 0)
            log_warn("store", "open.mode", LOG_Z("error", strerror(errno)));
        close(fd); /* nobody in this process has the file open yet: no lock is dropped */
        return RC_OK;
    }
    if (errno == EEXIST && access(database, R_OK | W_OK) == 0)
        return check_beside(database, "-wal", err) == RC_OK
                   ? check_beside(database, "-shm", err)
                   : RC_IO;
    store_place_say(err, database, errno);
    return RC_IO;
}

/* The single number that a PRAGMA or SELECT without parameters gives. */
static enum rc
read_number(struct store_conn *c, const char *sql, int64_t *out, struct buf *err)
{
    sqlite3_stmt *stmt = NULL;
    int n = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL);
    if (n == SQLITE_OK && (n = sqlite3_step(stmt)) == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
        n = SQLITE_OK;
    }
    if (n != SQLITE_OK)
        buf_append_z(err, sqlite3_errmsg(c->db));
    sqlite3_finalize(stmt);
    return conn_rc(n);
}

/* Invariant 1. */
static enum rc
check_owner(struct store_conn *c, int64_t *version, struct buf *err)
{
    int64_t application_id = 0, n_tables = 0;
    enum rc rc;
    if ((rc = read_number(c, "PRAGMA application_id", &application_id, err)) != RC_OK ||
        (rc = read_number(c, "PRAGMA user_version", version, err)) != RC_OK ||
        (rc = read_number(c, "SELECT count(*) FROM sqlite_schema", &n_tables, err)) !=
            RC_OK)
        return rc;
    if (application_id != STORE_APPLICATION_ID &&
        (application_id != 0 || *version != 0 || n_tables != 0)) {
        buf_append_f(err,
                     "not a database of siolite (application_id %" PRId64 ", %" PRId64
                     " tables)",
                     application_id, n_tables);
        return RC_INVALID;
    }
    if (*version > STORE_SCHEMA_VERSION) {
        buf_append_f(err,
                     "made by a newer siolite: its schema is version %" PRId64
                     ", this program knows %d",
                     *version, STORE_SCHEMA_VERSION);
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
switch_to_wal(struct store_conn *c, struct buf *err)
{
    sqlite3_stmt *stmt = NULL;
    bool is_wal = false;
    int n = sqlite3_prepare_v2(c->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);
    if (n == SQLITE_OK && (n = sqlite3_step(stmt)) == SQLITE_ROW) {
        is_wal = str_eqz(conn_column(stmt, 0), "wal");
        n = SQLITE_OK;
    }
    if (n != SQLITE_OK)
        buf_append_f(err, "journal_mode: %s", sqlite3_errmsg(c->db));
    else if (!is_wal)
        buf_append_z(err,
                     "no WAL mode on this file system (it needs shared memory and locks: "
                     "a local one)");
    sqlite3_finalize(stmt);
    return n != SQLITE_OK ? conn_rc(n) : is_wal ? RC_OK : RC_IO;
}

enum rc
store_open_schema(struct store_conn *c, int64_t version, struct buf *err)
{
    struct buf pragmas = {0};
    enum rc rc = RC_OK;
    for (size_t i = (size_t)version; i < STORE_SCHEMA_VERSION && rc == RC_OK; i++) {
        log_info("store", "schema.migrate", LOG_Z("name", store_migrations[i].name));
        rc = conn_exec(c, store_migrations[i].sql, err);
    }
    if (rc == RC_OK)
        rc = conn_exec(c, store_views_sql, err);
    if (rc == RC_OK) /* its triggers went with the views */
        rc = store_app_outdate(c);
    buf_append_f(&pragmas, "PRAGMA user_version = %d; PRAGMA application_id = %d",
                 STORE_SCHEMA_VERSION, STORE_APPLICATION_ID);
    buf_append_c(&pragmas, 0);
    if (rc == RC_OK)
        rc = conn_exec(c, pragmas.p, err);
    buf_fini(&pragmas);
    return rc;
}

/* Invariant 2. Another opener may have done it meanwhile. */
static enum rc
migrate(struct store_conn *c, struct buf *err)
{
    int64_t version = 0;
    enum rc rc = conn_exec(c, "BEGIN IMMEDIATE", err);
    if (rc != RC_OK)
        return rc;
    rc = check_owner(c, &version, err);
    if (rc == RC_OK && version < STORE_SCHEMA_VERSION)
        rc = store_open_schema(c, version, err);
    if (rc == RC_OK)
        rc = conn_exec(c, "COMMIT", err);
    if (!sqlite3_get_autocommit(c->db) && conn_exec(c, "ROLLBACK", NULL) != RC_OK)
        log_error("store", "rollback.failed", LOG_Z("error", sqlite3_errmsg(c->db)));
    return rc;
}

enum rc
store_open_conn(struct store_conn *c, const struct cfg *cfg, struct buf *err)
{
    struct buf why = {0};
    int64_t version = 0;
    enum rc rc = conn_open(c, cfg->database, CONN_WRITE, cfg, &why);
    if (rc != RC_OK)
        goto out;
    atomic_store(&c->wait_until_us, clock_now_us() + OPEN_WAIT_US);
    if ((rc = check_owner(c, &version, &why)) == RC_OK &&
        (rc = switch_to_wal(c, &why)) == RC_OK && version < STORE_SCHEMA_VERSION)
        rc = migrate(c, &why);
out:
    if (rc != RC_OK) {
        buf_append_f(err, "%s: %.*s", cfg->database, STR_ARG(buf_str(&why)));
        conn_close(c);
    }
    buf_fini(&why);
    return rc;
}

enum rc
store_open_raise(struct store_conn *c)
{
    sqlite3_stmt *first = conn_stmt(c, STORE_STMT_epoch_first_row);
    enum rc rc;
    sqlite3_bind_int64(first, STORE_PARAM_epoch_first_row_now, clock_now_ms());
    if ((rc = conn_done(conn_stmt(c, STORE_STMT_epoch_raise))) != RC_OK)
        return rc;
    return conn_done(first);
}

static enum rc
shift_times(struct store_conn *c, int64_t delta_ms)
{
    /* :delta is the only parameter of each, so its index is 1. */
    static const enum store_stmt SHIFTS[] = {
        STORE_STMT_shift_lease,  STORE_STMT_shift_session, STORE_STMT_shift_socket,
        STORE_STMT_shift_job,    STORE_STMT_shift_ask,     STORE_STMT_shift_dedup,
        STORE_STMT_shift_hook,   STORE_STMT_shift_meta,    STORE_STMT_shift_user,
        STORE_STMT_shift_outbox, STORE_STMT_shift_expiry,  STORE_STMT_shift_history,
        STORE_STMT_shift_retry};
    for (size_t i = 0; i < sizeof SHIFTS / sizeof *SHIFTS; i++) {
        sqlite3_stmt *stmt = conn_stmt(c, SHIFTS[i]);
        enum rc rc;
        sqlite3_bind_int64(stmt, 1, delta_ms);
        if ((rc = conn_done(stmt)) != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc
set_boot(struct store_conn *c, const char *boot_id, int64_t wall_offset_ms)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_meta_boot);
    conn_bind_str(stmt, STORE_PARAM_meta_boot_boot_id, str_of(boot_id));
    sqlite3_bind_int64(stmt, STORE_PARAM_meta_boot_wall_offset_ms, wall_offset_ms);
    return conn_done(stmt);
}

enum rc
store_open_limits(struct store_conn *c, const struct cfg *cfg)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_meta_limits);
    sqlite3_bind_int64(stmt, STORE_PARAM_meta_limits_n_rooms_max, cfg->n_rooms_max);
    sqlite3_bind_int64(stmt, STORE_PARAM_meta_limits_n_pending_max,
                       cfg->n_pending_acks_max);
    sqlite3_bind_int64(stmt, STORE_PARAM_meta_limits_n_attachments_max,
                       cfg->n_attachments_max);
    enum rc rc = conn_done(stmt);
    if (rc == RC_OK)
        rc = store_user_limits(c, cfg);
    return rc == RC_OK ? store_history_limits(c, cfg) : rc;
}

enum rc
store_open_boot(struct store_conn *c, int64_t *epoch)
{
    int64_t wall_offset_ms = clock_wall_ms() - clock_now_ms(), old_offset_ms;
    bool is_first, is_same;
    char boot_id[37];
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_meta_read);
    enum rc rc = conn_step(stmt);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_IO : rc;
    clock_boot_id(boot_id);
    *epoch = sqlite3_column_int64(stmt, 0);
    is_first = conn_column(stmt, 1).len == 0;
    is_same = !boot_id[0] || str_eqz(conn_column(stmt, 1), boot_id);
    old_offset_ms = sqlite3_column_int64(stmt, 2);
    sqlite3_reset(stmt);
    if (!is_first && !is_same) {
        log_info("store", "epoch.raise", LOG_I("epoch", *epoch + 1));
        if ((old_offset_ms &&
             (rc = shift_times(c, old_offset_ms - wall_offset_ms)) != RC_OK) ||
            (rc = store_open_raise(c)) != RC_OK)
            return rc;
        ++*epoch;
    }
    /* A clock that is being corrected changes the offset a little each time: no reason to
     * write. */
    if (is_first || !is_same || llabs(old_offset_ms - wall_offset_ms) > 1000)
        return set_boot(c, boot_id, wall_offset_ms);
    return RC_OK;
}
