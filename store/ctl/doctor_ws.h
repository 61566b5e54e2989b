/*
 * siolite doctor: a WebSocket by hand, over a connection that libcurl opens (TLS
 * included): its own WebSockets are newer than Debian 12.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_DOCTOR_WS_H
#define SIOLITE_STORE_CTL_DOCTOR_WS_H

#include "core/base/buf.h"

struct doctor_ws;
struct doctor_ws_target {
    const char *url;       /* http:// or https://, with its path */
    const char *query;     /* without '?' */
    const char *unix_path; /* the socket to connect to, or NULL */
    const char *origin;    /* NULL: not sent */
    bool is_insecure;
};

/* Sends the upgrade and reads the answer's head. RC_OK: *out is there, and *status says
 * what was answered; 101: it is a WebSocket. RC_IO: no answer; `err` says why. */
MUST_CHECK enum rc
doctor_ws_open(struct doctor_ws **out, const struct doctor_ws_target *t, int *status,
               struct buf *err);
/* The answer, head and what came of its body; borrowed. */
struct str doctor_ws_answer(const struct doctor_ws *w);
MUST_CHECK enum rc doctor_ws_send(struct doctor_ws *w, const char *text);
/* The next text message into `out`; RC_NOTFOUND: none came within `ms`; RC_IO: the
 * connection has ended. */
MUST_CHECK enum rc doctor_ws_read(struct doctor_ws *w, int64_t ms, struct buf *out);
void doctor_ws_close(struct doctor_ws *w); /* accepts NULL */

#endif
