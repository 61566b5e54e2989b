/*
 * siolite doctor: who works with the database, and what he may.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/ctl/doctor.h"

/* What /proc/PID/comm begins with; it has 15 characters at most. */
static const char *const PROGRAMS[] = {"apache2", "caddy",   "httpd",   "lighttpd",
                                       "nginx",   "php-cgi", "php-fpm", "siolite"};

static void
add_user(struct doctor *d, const struct passwd *pw, bool is_guess)
{
    struct doctor_user *u = &d->users[d->n_users];
    int n = DOCTOR_GROUPS_MAX;
    for (size_t i = 0; i < d->n_users; i++)
        if (d->users[i].uid == pw->pw_uid) {
            d->users[i].is_guess &= is_guess;
            return;
        }
    if (d->n_users == DOCTOR_USERS_MAX)
        return;
    snprintf(u->name, sizeof u->name, "%s", pw->pw_name);
    u->uid = pw->pw_uid;
    u->gid = pw->pw_gid;
    u->is_guess = is_guess;
    u->n_groups =
        getgrouplist(pw->pw_name, pw->pw_gid, u->groups, &n) < 0 ? DOCTOR_GROUPS_MAX : n;
    d->n_users++;
}

/* The name of what runs, of those above; NULL: something else. */
static const char *
find_program(const char *os_pid)
{
    char path[64], name[32] = "";
    FILE *f;
    snprintf(path, sizeof path, "/proc/%.16s/comm", os_pid);
    f = fopen(path, "re");
    if (f == NULL)
        return NULL;
    if (fgets(name, sizeof name, f) == NULL)
        name[0] = 0;
    fclose(f);
    for (size_t i = 0; i < sizeof PROGRAMS / sizeof *PROGRAMS; i++)
        if (strncmp(name, PROGRAMS[i], strlen(PROGRAMS[i])) == 0)
            return PROGRAMS[i];
    return NULL;
}

/* A web server works with the database only where it starts siolite by itself. */
static bool
is_guess(const struct doctor *d, const char *program)
{
    if (strcmp(program, "siolite") == 0)
        return false;
    return strncmp(program, "php", 3) == 0 || d->c->cfg.fcgi_listen[0] != 0;
}

enum doctor_level
doctor_user_level(const struct doctor_user *u, const char **but)
{
    *but = u->is_guess
               ? "; that matters only if PHP there, or a program that the web server "
                 "starts, uses the database"
               : "";
    return u->is_guess ? DOCTOR_NOTE : DOCTOR_FAIL;
}

static void
find_running(struct doctor *d)
{
    DIR *proc = opendir("/proc");
    const struct dirent *e;
    while (proc && (e = readdir(proc)) != NULL) {
        struct stat st;
        const struct passwd *pw;
        const char *program =
            isdigit((unsigned char)e->d_name[0]) ? find_program(e->d_name) : NULL;
        if (program == NULL)
            continue;
        if (fstatat(dirfd(proc), e->d_name, &st, 0) == 0 && st.st_uid != 0 &&
            (pw = getpwuid(st.st_uid)) != NULL)
            add_user(d, pw, is_guess(d, program));
    }
    if (proc)
        closedir(proc);
}

int
doctor_find_users(struct doctor *d)
{
    const struct passwd *pw;
    for (size_t i = 0; i < d->c->n_given; i++) {
        if (strcmp(d->c->given[i].name, "user") != 0)
            continue;
        pw = getpwnam(d->c->given[i].value);
        if (pw == NULL)
            return ctl_usage(d->c,
                             "--user: %s: there is no such user; allowed: a name "
                             "of /etc/passwd",
                             d->c->given[i].value);
        add_user(d, pw, false);
    }
    if (d->n_users == 0)
        find_running(d);
    pw = getpwuid(geteuid());
    if (pw && (geteuid() != 0 || d->n_users == 0))
        add_user(d, pw, false);
    return 0;
}

static bool
is_self(const struct doctor_user *u)
{
    return u->uid == geteuid();
}

/* In the child, for good. */
static bool
become(const struct doctor_user *u)
{
    return setgroups((size_t)u->n_groups, u->groups) == 0 &&
           setresgid(u->gid, u->gid, u->gid) == 0 &&
           setresuid(u->uid, u->uid, u->uid) == 0;
}

int
doctor_as(const struct doctor_user *u, int (*fn)(void *arg), void *arg)
{
    enum { NOT_RUN = 255 };
    int status = 0;
    pid_t child;
    if (is_self(u))
        return fn(arg);
    if (geteuid() != 0)
        return -1;
    fflush(NULL);
    child = fork();
    if (child == 0)
        _exit(become(u) ? fn(arg) : NOT_RUN);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == NOT_RUN)
        return -1;
    return WEXITSTATUS(status);
}

struct question {
    const char *path;
    int mode;
};

static int
ask(void *arg)
{
    const struct question *q = arg;
    return access(q->path, q->mode) == 0 ? 0 : 1;
}

static bool
is_in_group(const struct doctor_user *u, gid_t gid)
{
    for (int i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return true;
    return u->gid == gid;
}

/* For others than ourselves, when we are not root. */
static bool
follows(const struct doctor_user *u, const char *path, int mode)
{
    struct stat st;
    mode_t bits;
    if (u->uid == 0)
        return true;
    if (stat(path, &st) != 0)
        return false;
    bits = st.st_uid == u->uid         ? st.st_mode >> 6
           : is_in_group(u, st.st_gid) ? st.st_mode >> 3
                                       : st.st_mode;
    return (bits & 7 & (mode_t)mode) == (mode_t)mode; /* R_OK, W_OK, X_OK are 4, 2, 1 */
}

bool
doctor_can(const struct doctor_user *u, const char *path, int mode)
{
    struct question q = {path, mode};
    int status = doctor_as(u, ask, &q);
    return status < 0 ? follows(u, path, mode) : status == 0;
}
