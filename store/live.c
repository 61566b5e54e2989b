/*
 * Who lives: open file description locks on a side file, and the process rows.
 *
 * 1. A process locks its byte before anybody can see its row, and unlocks it by dying (or
 * after its row is deleted). So a row whose byte is free is that of a dead process.
 * 2. OFD locks belong to our descriptor, not to the process: probing never finds our own
 * lock and closing another descriptor of the file drops none.
 *
 * store_live_is_alive: any thread. The queue: store thread and checkpointer, which take
 * turns by flock on descriptors that they share; so the checkpointer has a store_live of
 * its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "store/place.h"

static const char *
front_name(enum store_front f)
{
    switch (f) {
    case STORE_FRONT_FCGI:
        return "fcgi";
    case STORE_FRONT_WS:
        return "ws";
    case STORE_FRONT_CGI:
        return "cgi";
    case STORE_FRONT_CTL:
        return "ctl";
    case STORE_FRONT_HOOK:
        return "hook";
    }
    return "";
}

/* Whoever creates a side file gives it the database's mode and group. */
static int
open_side_file(const char *database, const char *suffix, const struct stat *db,
               struct buf *err)
{
    struct buf name = {0};
    int fd;
    buf_append_f(&name, "%s-%s", database, suffix);
    buf_append_c(&name, 0);
    fd = open(name.p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        /* May fail when the database is another's: then its owner's umask decides. */
        int ignored = fchown(fd, geteuid() == 0 ? db->st_uid : (uid_t)-1, db->st_gid);
        ignored = fchmod(fd, db->st_mode & 0666);
        (void)ignored;
    } else if (errno == EEXIST) {
        fd = open(name.p, O_RDWR | O_CLOEXEC);
    }
    if (fd < 0)
        store_place_say(err, name.p, errno);
    buf_fini(&name);
    return fd;
}

static void
leave_flock(int fd)
{
    flock(fd, LOCK_UN);
}

static bool
try_flock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

enum rc
store_live_open(struct store_live *l, const char *database, struct buf *err)
{
    struct stat db;
    *l = (struct store_live){-1, -1, -1, 0};
    if (stat(database, &db) != 0) {
        store_place_say(err, database, errno);
        return RC_IO;
    }
    if ((l->live_fd = open_side_file(database, "live", &db, err)) < 0 ||
        (l->queue_fd = open_side_file(database, "queue", &db, err)) < 0 ||
        (l->checkpoint_fd = open_side_file(database, "checkpoint", &db, err)) < 0) {
        store_live_close(l);
        return RC_IO;
    }
    return RC_OK;
}

void
store_live_close(struct store_live *l)
{
    int fds[] = {l->live_fd, l->queue_fd, l->checkpoint_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *l = (struct store_live){-1, -1, -1, 0};
}

enum rc
store_live_enter(struct store_live *l, struct store_conn *c,
                 const struct store_options *o, int64_t *last_seq)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    sqlite3_stmt *stmt;
    enum rc rc = store_log_max(c, last_seq);
    if (rc != RC_OK)
        return rc;
    stmt = conn_stmt(c, STORE_STMT_process_create);
    conn_bind_str(stmt, STORE_PARAM_process_create_front, str_of(front_name(o->front)));
    sqlite3_bind_int64(stmt, STORE_PARAM_process_create_os_pid, getpid());
    conn_bind_str(stmt, STORE_PARAM_process_create_address, str_of(o->address));
    sqlite3_bind_int64(stmt, STORE_PARAM_process_create_last_seq, *last_seq);
    conn_bind_str(stmt, STORE_PARAM_process_create_config_hash, str_of(o->cfg->hash));
    sqlite3_bind_int64(stmt, STORE_PARAM_process_create_now, clock_now_ms());
    rc = conn_step(stmt);
    if (rc == RC_OK)
        l->process_id = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    if (rc != RC_OK)
        return rc;
    lock.l_start = l->process_id;
    return fcntl(l->live_fd, F_OFD_SETLK, &lock) == 0 ? RC_OK : RC_IO;
}

enum rc
store_live_configure(struct store_live *l, struct store_conn *c, struct str config_hash)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_process_configure);
    sqlite3_bind_int64(stmt, STORE_PARAM_process_configure_process_id, l->process_id);
    conn_bind_str(stmt, STORE_PARAM_process_configure_config_hash, config_hash);
    return conn_done(stmt);
}

enum rc
store_live_update(struct store_live *l, struct store_conn *c, int64_t last_seq,
                  bool is_draining)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_process_update);
    sqlite3_bind_int64(stmt, STORE_PARAM_process_update_process_id, l->process_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_process_update_last_seq, last_seq);
    sqlite3_bind_int(stmt, STORE_PARAM_process_update_is_draining, is_draining);
    return conn_done(stmt);
}

enum rc
store_live_leave(struct store_live *l, struct store_conn *c)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_process_delete);
    sqlite3_bind_int64(stmt, STORE_PARAM_process_delete_process_id, l->process_id);
    return conn_done(stmt);
}

bool
store_live_is_alive(const struct store_live *l, int64_t process_id)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = process_id, .l_len = 1};
    if (process_id <= 0)
        return false;
    if (process_id == l->process_id)
        return true;
    /* When the kernel can't say, nobody is declared dead. */
    return fcntl(l->live_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

enum rc
store_live_min_seq(struct store_live *l, struct store_conn *c, int64_t own_seq,
                   int64_t *seq)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_process_seqs);
    int64_t min = own_seq;
    enum rc rc;
    while ((rc = conn_step(stmt)) == RC_OK) {
        int64_t id = sqlite3_column_int64(stmt, 0),
                last_seq = sqlite3_column_int64(stmt, 1);
        if (last_seq < min && id != l->process_id && store_live_is_alive(l, id))
            min = last_seq;
    }
    if (rc != RC_NOTFOUND)
        return rc;
    *seq = min;
    return RC_OK;
}

enum rc
store_live_has_sidecar(struct store_live *l, struct store_conn *c, bool *out)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_process_sidecars);
    bool has = false;
    enum rc rc;
    while ((rc = conn_step(stmt)) == RC_OK && !has)
        has = store_live_is_alive(l, sqlite3_column_int64(stmt, 0));
    sqlite3_reset(stmt);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    *out = has;
    return RC_OK;
}

bool
store_live_try_queue(struct store_live *l)
{
    return try_flock(l->queue_fd);
}

void
store_live_wait_queue(struct store_live *l)
{
    /* It is for fairness only: on an error the database's own lock decides. */
    while (flock(l->queue_fd, LOCK_EX) != 0 && errno == EINTR)
        ;
}

void
store_live_leave_queue(struct store_live *l)
{
    leave_flock(l->queue_fd);
}

bool
store_live_try_checkpoint(struct store_live *l)
{
    return try_flock(l->checkpoint_fd);
}

void
store_live_leave_checkpoint(struct store_live *l)
{
    leave_flock(l->checkpoint_fd);
}
