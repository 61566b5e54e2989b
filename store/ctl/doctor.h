/*
 * siolite doctor: what its files share. Each looks at one side of an installation and
 * says what it finds, the moment that it does.
 *
 *   doctor_user.c   who works with the database: the web server, PHP, the programs, you
 *   doctor_place.c  folder, file and file system of the database, and who may write there
 *   doctor_host.c   versions, limits, inotify, processes, and where they listen
 *   doctor_url.c    through the web server: polling; doctor_cors.c: pages of other
 *                   sites; doctor_upgrade.c: WebSocket; by doctor_http.c and doctor_ws.c
 *   doctor_fix.c    what to change, in the words of each web server
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_DOCTOR_H
#define SIOLITE_STORE_CTL_DOCTOR_H

#include <sys/types.h>

#include "store/ctl/ctl.h"
#include "store/ctl/doctor_http.h"

enum { DOCTOR_USERS_MAX = 16, DOCTOR_GROUPS_MAX = 64, DOCTOR_NAME_SIZE = 64 };

/* NOTE: worth knowing, nothing to do. WARN: it works, but. FAIL: it does not. */
enum doctor_level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARN, DOCTOR_FAIL };

enum doctor_server {
    DOCTOR_OTHER,
    DOCTOR_APACHE,
    DOCTOR_CADDY,
    DOCTOR_LIGHTTPD,
    DOCTOR_NGINX,
};

enum doctor_topic {                     /* what a fix is about */
                    DOCTOR_FIX_PATH,    /* the path does not reach siolite */
                    DOCTOR_FIX_GATEWAY, /* siolite.fcgi can't be reached */
                    DOCTOR_FIX_HOLD,    /* a held poll is cut */
                    DOCTOR_FIX_BODY,    /* a large body is refused */
                    DOCTOR_FIX_UPGRADE, /* WebSockets are not passed on */
                    DOCTOR_FIX_SIDECAR, /* the sidecar can't be reached */
                    DOCTOR_FIX_IDLE,    /* an idle WebSocket is cut */
                    DOCTOR_FIX_HOST,    /* Host is not passed on */
                    DOCTOR_FIX_AUTH,    /* Authorization is not passed on */
                    DOCTOR_FIX_GZIP,    /* the web server compresses */
                    DOCTOR_FIX_BUFFER,  /* answers come late */
                    DOCTOR_FIX_ABORT,   /* an aborted poll is not noticed */
                    DOCTOR_FIX_CORS,    /* the web server adds CORS headers of its own */
                    DOCTOR_FIX_OPTIONS, /* it answers preflights itself */
                    DOCTOR_N_FIXES,
};

struct doctor_user {
    char name[DOCTOR_NAME_SIZE];
    uid_t uid;
    gid_t gid, groups[DOCTOR_GROUPS_MAX]; /* `gid` is among them */
    int n_groups;
    bool is_guess; /* runs a web server or PHP, which may have nothing to do with siolite
                    */
};

struct doctor {
    struct ctl *c;
    struct doctor_user users[DOCTOR_USERS_MAX]; /* not root, unless nobody else */
    size_t n_users;
    enum doctor_server server;
    bool is_server_given;
    bool is_quick;
    size_t n[DOCTOR_FAIL + 1]; /* of each level */
};

/* ---- doctor.c ---- */
/* `check` is a literal, "database.folder"; `fix`: what to do, NULL: nothing. */
__attribute__((format(printf, 5, 6))) void
doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *fix,
           const char *fmt, ...);
/* The same with the words of the web server that was found. */
__attribute__((format(printf, 5, 6))) void
doctor_say_topic(struct doctor *d, enum doctor_level level, const char *check,
                 enum doctor_topic topic, const char *fmt, ...);

/* ---- doctor_user.c ---- */
/* The level of what such a user cannot do, and what is to be added to the text. */
enum doctor_level doctor_user_level(const struct doctor_user *u, const char **but);
/* Fills in d->users: those of --user, else who runs something here. Returns 0, or
 * CTL_USAGE after having said why. */
MUST_CHECK int doctor_find_users(struct doctor *d);
/* May he do that (access(2): R_OK, W_OK, X_OK)? As root it is tried as him, with all that
 * the kernel knows; else it follows from owner, group and mode. */
bool doctor_can(const struct doctor_user *u, const char *path, int mode);
/* Runs `fn` as him, as far as we may; its result (0 to 127), -1: it can't be run. */
int doctor_as(const struct doctor_user *u, int (*fn)(void *arg), void *arg);

/* ---- doctor_place.c, doctor_host.c, doctor_url.c, doctor_upgrade.c ---- */
void doctor_check_place(struct doctor *d);
void doctor_check_host(struct doctor *d);
/* Is the sidecar there, without the web server? */
void doctor_check_sidecar(struct doctor *d);
void doctor_check_url(struct doctor *d, struct doctor_http *http);

/* ---- doctor_fix.c ---- */
/* Of a Server header, or a name of --server; OTHER: none of them. */
enum doctor_server doctor_server_find(struct str text);
const char *doctor_server_name(enum doctor_server s); /* "nginx"; OTHER: "web server" */
const char *doctor_fix(enum doctor_server s, enum doctor_topic topic);

#endif
