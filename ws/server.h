/*
 * libwebsockets as a guest in our loop: one context, one virtual host, no listening
 * socket and no HTTP of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_SERVER_H
#define SIOLITE_WS_SERVER_H

#include <libwebsockets.h>
#include <uv.h>

#include "ws/conn.h"
#include "ws/handshake.h"
#include "ws/request.h"

struct ws_adopting;

struct ws_server {
    const struct cfg *cfg;
    struct engine *engine; /* NULL before it is open and once it is closed */
    struct ws_conns conns;
    struct ws_handshakes handshakes;
    struct lws_context *lws; /* NULL once it is destroyed */
    struct lws_vhost *vhost;
    struct ws_adopting *adopting; /* during ws_server_adopt() */
    /* What lws borrows for the life of the context. */
    struct lws_protocols protocols[2];
    struct lws_extension extensions[2];
    struct lws_retry_bo retry;
    void *loops[1];
};

/* Before engine_open(): see ws_conns_open(). The struct must be zeroed and stay where it
 * is. */
MUST_CHECK enum rc
ws_server_open(struct ws_server *s, uv_loop_t *loop, const struct cfg *cfg);
void ws_server_set_engine(struct ws_server *s, struct engine *engine);
/* The request was accepted: lws answers 101, with `headers` (lines with CRLF) in it, and
 * owns the connection. Takes `fd`. */
void ws_server_adopt(struct ws_server *s, int fd, const struct ws_request *r,
                     struct str headers);
/* Ends lws, with it all connections that are left, and closes all handles; the loop must
 * run until they are closed. */
void ws_server_close(struct ws_server *s);

#endif
