/*
 * The sidecar's listening socket: ours, not libwebsockets', so that several sidecars can
 * share a port, a full descriptor table does not spin, and the drain can close it at
 * once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_LISTEN_H
#define SIOLITE_WS_LISTEN_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <uv.h>

#include "core/base/buf.h"

/* An accepted connection, non-blocking; the callee becomes the owner of `fd`. `peer`: its
 * address as text, "" if it came through a Unix socket. */
typedef void ws_listen_fn(void *arg, int fd, const char *peer);

struct ws_listen {
    int fd; /* -1: closed */
    bool is_unix;
    bool is_short_of_fds; /* said so in the log, not yet recovered */
    char *path;           /* owned; to be removed at the end, or NULL */
    dev_t dev;            /* which file `path` was when we made it */
    ino_t ino;
    char address[128]; /* "127.0.0.1:8090" (the real port), or the path */
    ws_listen_fn *on_accept;
    void *arg;
    uv_poll_t poll;
    uv_timer_t retry;
};

/* `where`: "HOST:PORT" ("*" or nothing as HOST: all addresses; port 0: any), "/path"
 * (mode 0660), or "": descriptor 3 as handed over by a service manager. On failure `err`
 * gets one line. */
MUST_CHECK enum rc
ws_listen_open(struct ws_listen *l, const char *where, struct buf *err);
void
ws_listen_start(struct ws_listen *l, uv_loop_t *loop, ws_listen_fn *on_accept, void *arg);
/* Accepts what is in the queue already, then closes the socket; may be called twice. The
 * loop must run until the handles are closed. Also right after a failed or successful
 * _open without _start. */
void ws_listen_close(struct ws_listen *l);

#endif
