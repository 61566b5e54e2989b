/*
 * TLS of the sidecar's own, for hosts whose web server can't pass WebSockets on. Each
 * connection becomes a tunnel: what it decrypts goes through a socket pair, whose other
 * end the rest of the program takes for the connection. So nothing else knows of TLS.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_TLS_H
#define SIOLITE_WS_TLS_H

#include <uv.h>

#include "core/base/cfg.h"
#include "ws/listen.h"

struct ws_tls;

/* Reads certificate and key (ws_tls_cert, ws_tls_key, borrowed until the end). A
 * connection whose TLS handshake is done goes to `on_accept`, with the plain end. `err`:
 * one line. */
MUST_CHECK enum rc
ws_tls_create(struct ws_tls **out, uv_loop_t *loop, const struct cfg *cfg,
              ws_listen_fn *on_accept, void *arg, struct buf *err);
/* Reads them again, for connections to come; if that fails, all stays as it was. */
MUST_CHECK enum rc ws_tls_reload(struct ws_tls *t, struct buf *err);
/* A ws_listen_fn; `arg` is the struct ws_tls. */
void ws_tls_accept(void *arg, int fd, const char *peer);
/* How many connections there are; NULL has none. */
size_t ws_tls_count(const struct ws_tls *t);
/* Drops what is left; the loop must run until the handles are closed; then destroy. Both
 * accept NULL. */
void ws_tls_close(struct ws_tls *t);
void ws_tls_destroy(struct ws_tls *t);

#endif
