/*
 * From an accepted connection to its WebSocket: reads the head of the request, asks the
 * engine, then hands the connection to lws or answers it. Everything that is not a
 * WebSocket upgrade ends here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_HANDSHAKE_H
#define SIOLITE_WS_HANDSHAKE_H

#include <uv.h>

#include "ws/request.h"

struct ws_server;
struct ws_pending;

struct ws_handshakes {
    struct ws_server *server;
    struct ws_pending
        *first;      /* those whose head is not complete, or whose answer is on its way */
    uv_timer_t tick; /* runs while there are any */
    bool is_https;   /* all connections come through ws_tls */
    char *head;      /* WS_HEAD_MAX bytes: the head that is being looked at */
    struct ws_request request;
};

void
ws_handshakes_open(struct ws_handshakes *h, struct ws_server *server, uv_loop_t *loop);
/* A ws_listen_fn; `arg` is the struct ws_handshakes. */
void ws_handshakes_begin(void *arg, int fd, const char *peer);
/* Drops what is unfinished; the loop must run until the handles are closed. */
void ws_handshakes_close(struct ws_handshakes *h);

#endif
