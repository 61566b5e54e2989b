/*
 * TLS tunnels; see tls.h.
 *
 *                    SHAKING ──handshake done──► OPEN ──both ends over──► (gone)
 *                       └──── HANDSHAKE_MS, refused ────────────────────────▲
 *
 *     browser ══ fd ══ SSL ──► in ──► plain_fd ── socket pair ── handshake.c, lws
 *                        ◄── out ◄──
 *
 * Invariants:
 * 1. A side is read only while nothing that it sent before is left over (`in`, `out`): so
 * a tunnel holds READ_BYTES each way at most, and a slow side stops the other one.
 * 2. When the plain end is closed, what was written to it goes out, then close_notify.
 * 3. A descriptor is closed right after its poll handle.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum { READ_BYTES = 16 * 1024, HANDSHAKE_MS = 10000, TICK_MS = 500, PEER_SIZE = 64 };

struct tunnel {
    struct ws_tls *all;
    struct tunnel *prev, *next;
    SSL *ssl;
    int fd, plain_fd;     /* plain_fd -1: SHAKING */
    uv_poll_t net, plain; /* `plain` exists with plain_fd */
    struct buf in, out;   /* what the other side could not take yet */
    bool is_in_end;       /* the browser is done */
    bool is_blocked;      /* SSL waits to write */
    bool is_out_end;      /* the plain end is closed */
    int n_handles;        /* to be closed */
    int64_t deadline_ms;  /* while SHAKING */
    char peer[PEER_SIZE];
};

struct ws_tls {
    SSL_CTX *ssl;
    uv_loop_t *loop;
    const struct cfg *cfg;
    ws_listen_fn *on_accept;
    void *arg;
    struct tunnel *first;
    size_t n;
    uv_timer_t tick; /* runs while there are any */
    char bytes[READ_BYTES];
};

/* ---- certificates */

/* A key with a passphrase would ask at the terminal. */
static int
on_passphrase(char *out, int size, int is_write, void *arg)
{
    (void)out;
    (void)size;
    (void)is_write;
    (void)arg;
    return 0;
}

static enum rc
fail(struct buf *err, const char *option, const char *file)
{
    unsigned long code = ERR_peek_error() /* the later ones are what followed of it */;
    const char *reason = ERR_GET_LIB(code) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(code))
                                                          : ERR_reason_error_string(code);
    buf_append_f(err, "%s: %s: %s; allowed: a PEM file that this program can read",
                 option, file, reason ? reason : "is not understood");
    ERR_clear_error();
    return RC_INVALID;
}

static enum rc
load(SSL_CTX **out, const struct cfg *cfg, struct buf *err)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    enum rc rc = RC_OK;
    if (ssl == NULL)
        return RC_NOMEM;
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ssl, on_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ssl, cfg->ws_tls_cert) != 1)
        rc = fail(err, "ws_tls_cert", cfg->ws_tls_cert);
    else if (SSL_CTX_use_PrivateKey_file(ssl, cfg->ws_tls_key, SSL_FILETYPE_PEM) != 1)
        rc = fail(err, "ws_tls_key", cfg->ws_tls_key);
    if (rc != RC_OK)
        SSL_CTX_free(ssl);
    else
        *out = ssl;
    return rc;
}

/* ---- the end of a tunnel */

static void
on_handle_closed(uv_handle_t *handle)
{
    struct tunnel *t = handle->data;
    if (--t->n_handles == 0)
        free(t);
}

static void
destroy(struct tunnel *t)
{
    struct ws_tls *all = t->all;
    if (t->prev)
        t->prev->next = t->next;
    else
        all->first = t->next;
    if (t->next)
        t->next->prev = t->prev;
    if (--all->n == 0)
        uv_timer_stop(&all->tick);
    SSL_free(t->ssl);
    buf_fini(&t->in);
    buf_fini(&t->out);
    uv_close((uv_handle_t *)&t->net, on_handle_closed);
    close(t->fd);
    if (t->plain_fd >= 0) {
        uv_close((uv_handle_t *)&t->plain, on_handle_closed);
        close(t->plain_fd);
    }
}

/* ---- bytes */

/* What an SSL call without progress means. False: the browser is gone. */
static bool
look(struct tunnel *t, int n)
{
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_WRITE:
        t->is_blocked = true;
        return true;
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_ZERO_RETURN:
        t->is_in_end = true;
        return true;
    default:
        ERR_clear_error();
        return false;
    }
}

/* Writes to the plain end, and keeps what does not fit. */
static bool
put_plain(struct tunnel *t, struct str bytes)
{
    ssize_t n = send(t->plain_fd, bytes.p, bytes.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (n > 0)
        bytes = str_slice(bytes, (size_t)n, bytes.len);
    if (t->in.len)
        buf_drop_front(&t->in, t->in.len - bytes.len);
    else
        buf_append_str(&t->in, bytes);
    return true;
}

/* From the browser to the plain end, until one of them has enough. */
static bool
decrypt(struct tunnel *t)
{
    if (t->in.len && !put_plain(t, buf_str(&t->in)))
        return false;
    while (t->in.len == 0 && !t->is_in_end) {
        int n = SSL_read(t->ssl, t->all->bytes, READ_BYTES);
        if (n <= 0) {
            if (!look(t, n))
                return false;
            break;
        }
        if (!put_plain(t, (struct str){t->all->bytes, (size_t)n}))
            return false;
    }
    if (t->is_in_end && t->in.len == 0)
        shutdown(t->plain_fd, SHUT_WR);
    return true;
}

/* Encrypts what fits and keeps the rest. */
static bool
put_net(struct tunnel *t, struct str bytes)
{
    while (bytes.len) {
        int n = SSL_write(t->ssl, bytes.p, (int)bytes.len);
        if (n <= 0) {
            if (!look(t, n) || t->is_in_end)
                return false;
            break;
        }
        bytes = str_slice(bytes, (size_t)n, bytes.len);
    }
    if (t->out.len)
        buf_drop_front(&t->out, t->out.len - bytes.len);
    else
        buf_append_str(&t->out, bytes);
    return true;
}

static bool
encrypt(struct tunnel *t)
{
    if (t->out.len && !put_net(t, buf_str(&t->out)))
        return false;
    while (t->out.len == 0 && !t->is_out_end) {
        ssize_t n = recv(t->plain_fd, t->all->bytes, READ_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0)
            t->is_out_end = true;
        else if (!put_net(t, (struct str){t->all->bytes, (size_t)n}))
            return false;
    }
    if (!t->is_out_end || t->out.len)
        return true;
    SSL_shutdown(t->ssl); /* invariant 2 */
    return false;
}

/* ---- events */

static void on_ready(uv_poll_t *poll, int status, int events);

static void
watch(uv_poll_t *poll, int events)
{
    if (events)
        uv_poll_start(poll, events, on_ready);
    else
        uv_poll_stop(poll);
}

/* Waits for what can go on (invariant 1). */
static void
watch_both(struct tunnel *t)
{
    bool is_shaking = t->plain_fd < 0;
    bool reads_net = is_shaking || (t->in.len == 0 && !t->is_in_end);
    watch(&t->net, (reads_net ? UV_READABLE : 0) | (t->is_blocked ? UV_WRITABLE : 0));
    if (!is_shaking)
        watch(&t->plain, (t->out.len == 0 && !t->is_out_end ? UV_READABLE : 0) |
                             (t->in.len ? UV_WRITABLE : 0));
}

/* The TLS handshake is done: the other end of the pair is the connection from now on. */
static bool
open_plain(struct tunnel *t, int *other)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0 ||
        uv_poll_init(t->all->loop, &t->plain, pair[0]) != 0) {
        log_warn("ws", "tls.failed", LOG_Z("error", strerror(errno)));
        return false;
    }
    t->plain.data = t;
    t->n_handles++;
    t->plain_fd = pair[0];
    *other = pair[1];
    return true;
}

static bool
shake(struct tunnel *t, int *other)
{
    int n = SSL_accept(t->ssl);
    if (n == 1)
        return open_plain(t, other);
    if (look(t, n) && !t->is_in_end)
        return true;
    log_debug("ws", "tls.refused", LOG_Z("peer", t->peer));
    return false;
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
    struct tunnel *t = poll->data;
    struct ws_tls *all = t->all;
    int other = -1;
    bool is_alive = status == 0;
    (void)events;
    t->is_blocked = false;
    ERR_clear_error();
    if (is_alive && t->plain_fd < 0)
        is_alive = shake(t, &other);
    if (is_alive && t->plain_fd >= 0)
        is_alive = decrypt(t) && encrypt(t);
    if (is_alive)
        watch_both(t);
    if (other >= 0) /* also when the browser has left since: it then reads the end */
        all->on_accept(all->arg, other, t->peer);
    if (!is_alive)
        destroy(t);
}

static void
on_tick(uv_timer_t *tick)
{
    struct ws_tls *all = tick->data;
    int64_t now_ms = clock_now_ms();
    struct tunnel *next;
    for (struct tunnel *t = all->first; t; t = next) {
        next = t->next;
        if (t->plain_fd < 0 && t->deadline_ms <= now_ms)
            destroy(t);
    }
}

/* ---- all of them */

enum rc
ws_tls_create(struct ws_tls **out, uv_loop_t *loop, const struct cfg *cfg,
              ws_listen_fn *on_accept, void *arg, struct buf *err)
{
    struct ws_tls *all = xcalloc(1, sizeof *all);
    enum rc rc = load(&all->ssl, cfg, err);
    if (rc != RC_OK) {
        free(all);
        return rc;
    }
    all->loop = loop;
    all->cfg = cfg;
    all->on_accept = on_accept;
    all->arg = arg;
    uv_timer_init(loop, &all->tick);
    all->tick.data = all;
    *out = all;
    return RC_OK;
}

enum rc
ws_tls_reload(struct ws_tls *all, struct buf *err)
{
    SSL_CTX *ssl;
    enum rc rc = load(&ssl, all->cfg, err);
    if (rc == RC_OK) {
        SSL_CTX_free(all->ssl); /* connections keep theirs */
        all->ssl = ssl;
    }
    return rc;
}

void
ws_tls_accept(void *arg, int fd, const char *peer)
{
    struct ws_tls *all = arg;
    struct tunnel *t = xcalloc(1, sizeof *t);
    t->all = all;
    t->fd = fd;
    t->plain_fd = -1;
    t->ssl = SSL_new(all->ssl);
    if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1 ||
        uv_poll_init(all->loop, &t->net, fd) != 0) {
        SSL_free(t->ssl);
        free(t);
        close(fd);
        return;
    }
    t->net.data = t;
    t->n_handles = 1;
    t->deadline_ms = clock_now_ms() + HANDSHAKE_MS;
    snprintf(t->peer, sizeof t->peer, "%s", peer);
    t->next = all->first;
    if (t->next)
        t->next->prev = t;
    all->first = t;
    if (all->n++ == 0)
        uv_timer_start(&all->tick, on_tick, TICK_MS, TICK_MS);
    SSL_set_accept_state(t->ssl);
    watch_both(t);
}

size_t
ws_tls_count(const struct ws_tls *all)
{
    return all ? all->n : 0;
}

void
ws_tls_close(struct ws_tls *all)
{
    if (all == NULL)
        return;
    while (all->first)
        destroy(all->first);
    uv_close((uv_handle_t *)&all->tick, NULL);
}

void
ws_tls_destroy(struct ws_tls *all)
{
    if (all == NULL)
        return;
    SSL_CTX_free(all->ssl);
    free(all);
}
