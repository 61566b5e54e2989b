/*
 * The listening socket: inherited or our own; accepting from it on the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_LISTEN_H
#define SIOLITE_FCGI_LISTEN_H

#include <uv.h>

#include "core/base/buf.h"

/* Where the process got its socket from. NONE: there isn't any; this is CGI, or a
 * mistake. */
enum fcgi_listen_source {
    FCGI_LISTEN_NONE,
    FCGI_LISTEN_STDIN,   /* fd 0: spawned by a web server, spawn-fcgi, systemd */
    FCGI_LISTEN_SYSTEMD, /* fd 3, LISTEN_FDS */
    FCGI_LISTEN_OWN
};

struct fcgi_socket {
    int fd; /* non-blocking; -1: none */
    enum fcgi_listen_source source;
    struct buf address;     /* for people: "/run/siolite/fcgi.sock", "127.0.0.1:9000" */
    bool is_mod_fcgid;      /* one request at a time: don't keep polls */
    uint64_t device, inode; /* of our own path */
};

/* `address` is fcgi_listen of the configuration, "" for an inherited socket. A path that
 * exists is replaced only if it is a socket at which nobody answers. `err`: one line. */
MUST_CHECK enum rc
fcgi_listen_open(struct fcgi_socket *s, const char *address, struct buf *err);
/* Also removes our own path, if it is still ours. */
void fcgi_listen_close(struct fcgi_socket *s);
/* Removes the path of a socket of our own: who connects from now on finds somebody else.
 * Those in its queue are still to be accepted. */
void fcgi_listen_hide(struct fcgi_socket *s);

/* Accepting. */
struct fcgi_listener;
struct fcgi_listener_options {
    uv_loop_t *loop;
    int fd;       /* borrowed */
    size_t n_max; /* stops at so many connections … */
    size_t (*n_conns)(void *arg);
    void (*on_conn)(void *arg, int fd); /* … else takes each, non-blocking */
    void *arg;
};
MUST_CHECK enum rc
fcgi_listener_create(struct fcgi_listener **out, const struct fcgi_listener_options *o);
/* A connection less: if it had stopped, it goes on with the next turn of the loop. */
void fcgi_listener_resume(struct fcgi_listener *l);
/* Takes what has queued up, then no more; closes its handles. The loop must run until
 * they are closed; then destroy. */
void fcgi_listener_close(struct fcgi_listener *l);
void fcgi_listener_destroy(struct fcgi_listener *l);

#endif
