/*
 * siolite doctor: folder, file and file system of the database, and who may write there.
 *
 * Invariant: the database file itself is only read before SQLite opens it here (place.h).
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/ctl/doctor.h"
#include "store/place.h"

enum { TEXT_SIZE = 4608, SPACE_MIN_MB = 100 };

/* Files that the processes share, beside the database. */
static const char *const SUFFIXES[] = {"",      "-wal",   "-shm",
                                       "-live", "-queue", "-checkpoint"};

/* ---- the file system ---- */

static void
check_file_system(struct doctor *d, const char *database)
{
    const char *name;
    switch (store_place_find(database, &name)) {
    case STORE_PLACE_LOCAL:
        doctor_say(d, DOCTOR_OK, "place.file_system", NULL, "%s lies on %s", database,
                   name);
        break;
    case STORE_PLACE_UNSURE:
        doctor_say(d, DOCTOR_WARN, "place.file_system",
                   "set database = to a file on a disk of this machine",
                   "%s lies on %s, which may lack shared memory or locks", database,
                   name);
        break;
    case STORE_PLACE_NETWORK:
        doctor_say(d, DOCTOR_FAIL, "place.file_system",
                   "set database = to a file on a disk of this machine",
                   "%s lies on %s, where the processes would not see each other's writes",
                   database, name);
        break;
    }
}

static void
check_space(struct doctor *d, const char *folder)
{
    struct statvfs fs;
    unsigned long long mb;
    if (statvfs(folder, &fs) != 0)
        return;
    mb = (unsigned long long)fs.f_bavail * fs.f_frsize / 1000000;
    if (fs.f_flag & ST_RDONLY)
        doctor_say(d, DOCTOR_FAIL, "place.space", "mount it writable",
                   "the file system of %s is mounted read-only", folder);
    else if (mb < SPACE_MIN_MB || (fs.f_files && fs.f_favail == 0))
        doctor_say(d, mb < 1 || fs.f_favail == 0 ? DOCTOR_FAIL : DOCTOR_WARN,
                   "place.space", "make room, or lower log_bytes_max",
                   "%llu MB are left for %s", mb, folder);
    else
        doctor_say(d, DOCTOR_OK, "place.space", NULL, "%llu MB are left", mb);
}

/* ---- permissions ---- */

static const char *
group_name(gid_t gid)
{
    const struct group *gr = getgrgid(gid);
    return gr ? gr->gr_name : "GROUP";
}

static bool
is_member(const struct doctor_user *u, gid_t gid)
{
    for (int i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return true;
    return false;
}

/* How `u` gets to write to `path`, through its group. */
static void
append_way(struct buf *b, const struct doctor_user *u, const struct stat *st,
           const char *path)
{
    bool is_folder = S_ISDIR(st->st_mode);
    const char *group = group_name(st->st_gid);
    if (!is_member(u, st->st_gid) && st->st_gid == 0)
        group = group_name(u->gid);
    if (!is_member(u, st->st_gid) && st->st_gid != 0)
        buf_append_f(b, "usermod -aG %s %s   (then restart what runs as %s)\n", group,
                     u->name, u->name);
    else if (st->st_gid == 0)
        buf_append_f(b, "chgrp %s %s\n", group, path);
    buf_append_f(b, "chmod %s %s", is_folder ? "2770" : "0660", path);
}

/* The folders above, from the root on: each must let him through. False: said so. */
static bool
check_way(struct doctor *d, const struct doctor_user *u, const char *folder)
{
    char path[TEXT_SIZE], fix[2 * TEXT_SIZE];
    const char *but;
    enum doctor_level level = doctor_user_level(u, &but);
    for (const char *p = folder; *p; p++) {
        if (p[0] != '/' || p == folder)
            continue;
        snprintf(path, sizeof path, "%.*s", (int)(p - folder), folder);
        if (access(path, F_OK) == 0 && !doctor_can(u, path, X_OK)) {
            snprintf(fix, sizeof fix,
                     "chmod o+x %s   (nobody sees more by that), or set database = to a "
                     "file elsewhere",
                     path);
            doctor_say(d, level, "place.way", fix, "%s is closed for %s%s", path, u->name,
                       but);
            return false;
        }
    }
    return true;
}

/* One file or folder; false: said that he may not. */
static bool
check_write(struct doctor *d, const struct doctor_user *u, const char *check,
            const char *path)
{
    struct stat st;
    struct buf fix = {0};
    const char *but;
    enum doctor_level level = doctor_user_level(u, &but);
    bool is_folder;
    if (stat(path, &st) != 0)
        return true;
    is_folder = S_ISDIR(st.st_mode);
    if (doctor_can(u, path, R_OK | W_OK | (is_folder ? X_OK : 0)))
        return true;
    append_way(&fix, u, &st, path);
    buf_append_c(&fix, 0);
    doctor_say(d, level, check, fix.p,
               "%s: %s can't write there (owner %u, group %s, mode %04o)%s%s", path,
               u->name, st.st_uid, group_name(st.st_gid), st.st_mode & 07777,
               is_folder ? "; SQLite must make files in it" : "", but);
    buf_fini(&fix);
    return false;
}

/* All that `u` must be able to write. */
static bool
check_user(struct doctor *d, const struct doctor_user *u, const char *folder)
{
    bool is_good = true;
    if (!check_way(d, u, folder))
        return false;
    is_good &= check_write(d, u, "place.folder", folder);
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES && is_good; i++) {
        char path[TEXT_SIZE];
        snprintf(path, sizeof path, "%s%s", d->c->cfg.database, SUFFIXES[i]);
        is_good &= check_write(d, u, i ? "place.side_file" : "place.file", path);
    }
    return is_good;
}

/* Files that one user makes in a folder without setgid get his own group. */
static void
check_setgid(struct doctor *d, const char *folder)
{
    struct stat st;
    char fix[2 * TEXT_SIZE];
    bool is_mixed = false;
    if (stat(folder, &st) != 0 || st.st_mode & S_ISGID)
        return;
    for (size_t i = 1; i < d->n_users; i++)
        is_mixed |= d->users[i].gid != d->users[0].gid;
    if (!is_mixed)
        return;
    snprintf(fix, sizeof fix, "chmod g+s %s", folder);
    doctor_say(d, DOCTOR_WARN, "place.setgid", fix,
               "%s has no setgid bit: files that one user makes in it may be closed for "
               "another",
               folder);
}

/* Session ids are in it: who reads them is those clients. */
static void
check_secret(struct doctor *d)
{
    struct stat st;
    char fix[TEXT_SIZE];
    if (stat(d->c->cfg.database, &st) != 0 || !(st.st_mode & S_IROTH))
        return;
    snprintf(fix, sizeof fix, "chmod o-rwx %s*", d->c->cfg.database);
    doctor_say(d, DOCTOR_WARN, "place.secret", fix,
               "%s can be read by every user of this machine, with the secret ids of all "
               "sessions",
               d->c->cfg.database);
}

static void
check_users(struct doctor *d, const char *folder)
{
    struct buf names = {0};
    for (size_t i = 0; i < d->n_users; i++)
        if (check_user(d, &d->users[i], folder))
            buf_append_f(&names, "%s%s", names.len ? ", " : "", d->users[i].name);
    if (names.len)
        doctor_say(d, DOCTOR_OK, "place.users", NULL, "%.*s can write to %s",
                   STR_ARG(buf_str(&names)), d->c->cfg.database);
    buf_fini(&names);
    if (d->n_users == 1 && d->users[0].uid == 0)
        doctor_say(d, DOCTOR_NOTE, "place.users",
                   "name it: siolite doctor --user www-data",
                   "nobody but root works here at this moment: the web server's user was "
                   "not looked at");
    check_setgid(d, folder);
    check_secret(d);
}

/* ---- files that are only read ---- */

static void
check_readable(struct doctor *d, const char *check, const char *file)
{
    if (file[0] == 0 || strstr(file, "://"))
        return;
    for (size_t i = 0; i < d->n_users; i++) {
        char fix[2 * TEXT_SIZE];
        const char *but;
        enum doctor_level level = doctor_user_level(&d->users[i], &but);
        if (doctor_can(&d->users[i], file, R_OK))
            continue;
        snprintf(fix, sizeof fix,
                 "chmod 0640 %s and chgrp to a group of %s; its folders need x", file,
                 d->users[i].name);
        doctor_say(d, level, check, fix, "%s: %s can't read it%s%s%s", file,
                   d->users[i].name, access(file, F_OK) != 0 ? ": " : "",
                   access(file, F_OK) != 0 ? strerror(errno) : "", but);
    }
}

/* ---- the database ---- */

static void
on_packet(void *arg, struct store_packet *p)
{
    (void)arg, (void)p;
}

static void
on_horizon(void *arg)
{
    (void)arg;
}

static enum rc
open_store(struct store **st, const struct cfg *cfg, struct buf *err)
{
    const struct store_options o = {.cfg = cfg, .front = STORE_FRONT_CTL, .address = ""};
    const struct store_hooks hooks = {.on_packet = on_packet, .on_horizon = on_horizon};
    enum rc rc = store_open(st, &o, &hooks, err);
    buf_append_c(err, 0);
    return rc;
}

/* A database of our own in that folder, for a moment: WAL, locks, shared memory, inotify.
 */
static void
check_wal(struct doctor *d, const char *folder)
{
    struct cfg cfg;
    struct store *st = NULL;
    struct buf err = {0}, name = {0};
    if (access(folder, R_OK | W_OK | X_OK) != 0)
        return; /* was said, or is none of our business */
    cfg_init(&cfg);
    buf_append_f(&name, "%s/doctor-%ld.db", folder, (long)getpid());
    free(cfg.database);
    cfg.database = str_dup(buf_str(&name));
    if (open_store(&st, &cfg, &err) == RC_OK)
        doctor_say(d, DOCTOR_OK, "place.wal", NULL,
                   "WAL mode, locks and shared memory work in %s", folder);
    else
        doctor_say(d, DOCTOR_FAIL, "place.wal",
                   "set database = to a file on a disk of this machine",
                   "a database can't be made in %s: %s", folder, err.p);
    if (st)
        store_close(st);
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES; i++) {
        name.len = strlen(cfg.database);
        buf_append_f(&name, "%s", SUFFIXES[i]);
        buf_append_c(&name, 0);
        unlink(name.p);
    }
    cfg_fini(&cfg);
    buf_fini(&name);
    buf_fini(&err);
}

/* What the file is; true: it may be opened. */
static bool
check_kind(struct doctor *d, const char *database)
{
    struct store_peek p = {0};
    enum rc rc = store_place_peek(database, &p);
    if (rc == RC_NOTFOUND) {
        doctor_say(d, DOCTOR_NOTE, "place.database", NULL,
                   "%s is not there yet: the first program makes it", database);
    } else if (rc == RC_IO) {
        doctor_say(d, DOCTOR_FAIL, "place.database", NULL, "%s: %s", database,
                   strerror(errno));
    } else if (rc != RC_OK || (!p.is_ours && p.application_id != 0)) {
        doctor_say(d, DOCTOR_FAIL, "place.database",
                   "set database = to another file; it makes its own",
                   "%s is not a database of siolite", database);
    } else if (p.is_newer) {
        doctor_say(d, DOCTOR_FAIL, "place.database", "install that siolite",
                   "%s was made by a newer siolite (schema %lld)", database,
                   (long long)p.version);
    } else if (p.is_older && p.version > 0) {
        doctor_say(d, DOCTOR_NOTE, "place.database",
                   "back it up, then restart the "
                   "programs",
                   "%s is of an older siolite (schema %lld); the next start brings it up "
                   "to date",
                   database, (long long)p.version);
    } else {
        return true;
    }
    return false;
}

static void
open_database(struct doctor *d)
{
    struct buf err = {0};
    if (open_store(&d->c->st, &d->c->cfg, &err) == RC_OK)
        doctor_say(d, DOCTOR_OK, "place.database", NULL, "%s opens", d->c->cfg.database);
    else
        doctor_say(d, DOCTOR_FAIL, "place.database", NULL, "%s", err.p);
    buf_fini(&err);
}

void
doctor_check_place(struct doctor *d)
{
    const char *database = d->c->cfg.database, *name;
    char *copy = xstrdup(database), *folder = ctl_absolute(dirname(copy));
    struct stat st;
    if (d->c->cfg.file[0])
        doctor_say(d, DOCTOR_OK, "config", NULL, "%s", d->c->cfg.file);
    else
        doctor_say(d, DOCTOR_WARN, "config",
                   "write /etc/siolite/siolite.conf, or name it by --config",
                   "no configuration was found; these are the defaults");
    check_readable(d, "config", d->c->cfg.file);
    check_readable(d, "app", d->c->cfg.app);
    if (stat(folder, &st) != 0 && errno == EACCES) {
        check_users(d, folder);
    } else if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)) {
        char fix[2 * TEXT_SIZE];
        snprintf(fix, sizeof fix,
                 "mkdir -p %s && chmod 2770 %s, and chown it to the "
                 "user of the programs",
                 folder, folder);
        doctor_say(d, DOCTOR_FAIL, "place.folder", fix, "%s is not a folder", folder);
    } else {
        bool is_openable = check_kind(d, database);
        check_file_system(d, database);
        check_space(d, folder);
        check_users(d, folder);
        if (store_place_find(database, &name) != STORE_PLACE_NETWORK) {
            check_wal(d, folder);
            if (is_openable && access(database, R_OK | W_OK) == 0)
                open_database(d);
        }
    }
    free(folder);
    free(copy);
}
