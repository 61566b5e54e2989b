/*
 * Handshakes; see handshake.h.
 *
 * Invariants:
 * 1. Of what a client sends, exactly the head is read here; what follows it is still in
 * the socket when lws takes over.
 * 2. A poll handle is closed before lws gets its descriptor: libuv knows one watcher for
 * each.
 * 3. An answered connection is closed once the client has closed its side, or after
 * LINGER_MS: closing at once would reset it if bytes are unread, and the answer would be
 * lost.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/handshake.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "ws/server.h"

enum {
    HEAD_MS = 10000, /* what a client may take to send the head */
    LINGER_MS = 1000,
    TICK_MS = 500,
    DISCARD_BYTES = 4096,
};

struct ws_pending {
    uv_poll_t poll;
    struct ws_handshakes *all;
    struct ws_pending *prev, *next;
    int fd;
    bool is_answered; /* only waits for the client to close */
    int64_t deadline_ms;
    struct buf head; /* what came of it so far */
    char peer[INET6_ADDRSTRLEN];
};

enum head_state { HEAD_COMPLETE, HEAD_PARTIAL, HEAD_TOO_BIG, HEAD_GONE };

static const struct {
    int status;
    const char *text;
} STATUS_TEXTS[] = {
    {400, "Bad Request"},         {403, "Forbidden"},
    {404, "Not Found"},           {429, "Too Many Requests"},
    {503, "Service Unavailable"}, {431, "Request Header Fields Too Large"},
};

static const char TEXT_PLAIN[] = "text/plain; charset=UTF-8";
static const char TEXT_HTML[] =
    "text/html"; /* what the reference says for a refused upgrade */

static const char *
status_text(int status)
{
    for (size_t i = 0; i < sizeof STATUS_TEXTS / sizeof *STATUS_TEXTS; i++)
        if (STATUS_TEXTS[i].status == status)
            return STATUS_TEXTS[i].text;
    return "Error";
}

/* Reads on into `buf`, which holds *len bytes, up to the end of the head and no further.
 */
static enum head_state
read_head(int fd, char *buf, size_t *len)
{
    ssize_t n;
    size_t end;
    do
        n = recv(fd, buf + *len, WS_HEAD_MAX - *len, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return HEAD_PARTIAL;
    if (n <= 0)
        return HEAD_GONE;
    end = ws_request_head_len(buf, *len + (size_t)n, *len);
    n = recv(fd, buf + *len, end ? end - *len : (size_t)n, 0);
    if (n <= 0)
        return HEAD_GONE;
    *len += (size_t)n;
    if (end)
        return *len == end ? HEAD_COMPLETE : HEAD_GONE;
    return *len == WS_HEAD_MAX ? HEAD_TOO_BIG : HEAD_PARTIAL;
}

/* Throws away what comes; true: the client has closed. */
static bool
discard(int fd)
{
    char trash[DISCARD_BYTES];
    ssize_t n = recv(fd, trash, sizeof trash, 0);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void
on_poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Forgets it, but does not close the descriptor. */
static void
pending_destroy(struct ws_pending *p)
{
    struct ws_handshakes *h = p->all;
    if (p->prev)
        p->prev->next = p->next;
    else
        h->first = p->next;
    if (p->next)
        p->next->prev = p->prev;
    if (h->first == NULL)
        uv_timer_stop(&h->tick);
    buf_fini(&p->head);
    uv_close((uv_handle_t *)&p->poll, on_poll_closed);
}

static void
pending_drop(struct ws_pending *p)
{
    int fd = p->fd;
    pending_destroy(p);
    close(fd);
}

static void
on_tick(uv_timer_t *timer)
{
    struct ws_handshakes *h = timer->data;
    int64_t now_ms = clock_now_ms();
    struct ws_pending *next;
    for (struct ws_pending *p = h->first; p; p = next) {
        next = p->next;
        if (p->deadline_ms <= now_ms)
            pending_drop(p);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events);

static struct ws_pending *
pending_create(struct ws_handshakes *h, int fd, const char *peer, int64_t ms)
{
    struct ws_pending *p = xcalloc(1, sizeof *p);
    p->all = h;
    p->fd = fd;
    p->deadline_ms = clock_now_ms() + ms;
    snprintf(p->peer, sizeof p->peer, "%s", peer);
    if (uv_poll_init(h->tick.loop, &p->poll, fd) != 0) {
        free(p);
        close(fd);
        return NULL;
    }
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_readable);
    if (h->first == NULL)
        uv_timer_start(&h->tick, on_tick, TICK_MS, TICK_MS);
    else
        h->first->prev = p;
    p->next = h->first;
    h->first = p;
    return p;
}

/* Sends the answer; the connection then waits for the client's end. */
static void
answer(struct ws_handshakes *h, int fd, const char *peer, int status,
       const char *content_type, const char *headers, struct str body)
{
    struct buf b = {0};
    struct ws_pending *p;
    buf_append_f(&b,
                 "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-type: %s\r\n"
                 "Content-Length: %zu\r\n%s\r\n",
                 status, status_text(status), content_type, body.len, headers);
    if (!str_eqz(h->request.engine.method, "HEAD"))
        buf_append_str(&b, body);
    log_debug("ws", "ws.refused", LOG_I("status", status), LOG_S("text", body));
    /* A fresh connection's buffer takes it; if not, there is nobody to wait for. */
    if (send(fd, b.p, b.len, MSG_NOSIGNAL) < 0 || shutdown(fd, SHUT_WR) != 0 ||
        discard(fd)) {
        close(fd);
    } else {
        p = pending_create(h, fd, peer, LINGER_MS);
        if (p)
            p->is_answered = true;
    }
    buf_fini(&b);
}

/* What the engine says instead of a WebSocket. */
static void
answer_for_engine(struct ws_handshakes *h, int fd, const char *peer,
                  struct engine_ws_answer *a)
{
    buf_append_c(&a->headers, '\0');
    answer(h, fd, peer, a->status, a->content_type, a->headers.p, buf_str(&a->body));
}

/* A request for our path: asks the engine; the connection of an upgrade goes to lws. */
static void
answer_ours(struct ws_handshakes *h, int fd, const char *peer)
{
    struct ws_request *r = &h->request;
    struct engine_ws_answer a = {0};
    if (r->upgrade == WS_UPGRADE_NONE) {
        engine_ws_refuse(h->server->engine, &r->engine, &a);
        answer_for_engine(h, fd, peer, &a);
    } else if (engine_ws_check(h->server->engine, &r->engine, &a) != RC_OK) {
        answer_for_engine(h, fd, peer, &a);
    } else if (r->upgrade == WS_UPGRADE_KEY) {
        answer(h, fd, peer, 400, TEXT_HTML, "",
               STR("Missing or invalid Sec-WebSocket-Key header"));
    } else if (r->upgrade == WS_UPGRADE_VERSION) {
        answer(h, fd, peer, 400, TEXT_HTML, "Sec-WebSocket-Version: 13, 8\r\n",
               STR("Missing or invalid Sec-WebSocket-Version header"));
    } else {
        ws_server_adopt(h->server, fd, r, buf_str(&a.headers));
    }
    engine_ws_answer_fini(&a);
}

/* The head, in h->head, is complete or will never be. Takes the descriptor. */
static void
decide(struct ws_handshakes *h, int fd, const char *peer, enum head_state state,
       size_t len)
{
    const struct cfg *cfg = h->server->cfg;
    enum rc rc;
    if (state == HEAD_GONE) {
        close(fd);
        return;
    }
    rc = state == HEAD_TOO_BIG ? RC_TOOBIG : ws_request_decode(&h->request, h->head, len);
    if (rc != RC_OK) {
        h->request.engine.method = STR_NONE; /* what is there is of an earlier request */
        answer(h, fd, peer, rc == RC_TOOBIG ? 431 : 400, TEXT_PLAIN, "", STR_NONE);
    } else if (!eio_path_is_ours(h->request.engine.path, cfg->path,
                                 cfg->is_slash_needed)) {
        answer(h, fd, peer, 404, TEXT_PLAIN, "", STR("Not Found"));
    } else if (h->server->engine == NULL) {
        answer(h, fd, peer, 503, TEXT_PLAIN, "", STR("shutting down"));
    } else {
        ws_request_set_remote(&h->request, str_of(peer), cfg->trusted_proxy);
        h->request.engine.is_https |= h->is_https;
        answer_ours(h, fd, peer);
    }
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    struct ws_pending *p = poll->data;
    struct ws_handshakes *h = p->all;
    char peer[sizeof p->peer];
    size_t len = p->head.len;
    enum head_state state;
    int fd = p->fd;
    (void)events;
    if (p->is_answered) {
        if (status < 0 || discard(fd))
            pending_drop(p);
        return;
    }
    if (len)
        memcpy(h->head, p->head.p, len);
    state = status < 0 ? HEAD_GONE : read_head(fd, h->head, &len);
    if (state == HEAD_PARTIAL) {
        buf_append(&p->head, h->head + p->head.len, len - p->head.len);
        return;
    }
    memcpy(peer, p->peer, sizeof peer);
    pending_destroy(p);
    decide(h, fd, peer, state, len);
}

void
ws_handshakes_open(struct ws_handshakes *h, struct ws_server *server, uv_loop_t *loop)
{
    h->server = server;
    h->first = NULL;
    h->head = xmalloc(WS_HEAD_MAX);
    uv_timer_init(loop, &h->tick);
    h->tick.data = h;
}

void
ws_handshakes_begin(void *arg, int fd, const char *peer)
{
    struct ws_handshakes *h = arg;
    size_t len = 0;
    enum head_state state = read_head(fd, h->head, &len);
    if (state == HEAD_PARTIAL) {
        struct ws_pending *p = pending_create(h, fd, peer, HEAD_MS);
        if (p)
            buf_append(&p->head, h->head, len);
    } else {
        decide(h, fd, peer, state, len);
    }
}

void
ws_handshakes_close(struct ws_handshakes *h)
{
    while (h->first)
        pending_drop(h->first);
    uv_close((uv_handle_t *)&h->tick, NULL);
    free(h->head);
    h->head = NULL;
}
