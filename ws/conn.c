/*
 * WebSocket connections; see conn.h.
 *
 * Invariants (libwebsockets 4.1.6 breaks the stream or loses the close frame otherwise):
 * 1. Only flush() writes, and never while lws_partial_buffered(): lws holds the rest of
 * one write at most, and calls WRITEABLE when it is gone.
 * 2. Nothing is written after lws was asked to close, or closes by itself (ENDING).
 * 3. A close frame is asked for by lws_close_reason() and LWS_TO_KILL_SYNC, outside of
 * lws' callbacks, when nothing is buffered in lws.
 * 4. The engine is called only from the loop's poll and timer phases, never from flush():
 * its own prepare callback has run by then, so what it does would wait for the next
 * event.
 * 5. lws arms its timers only after an event of its own: lws_cancel_service() makes one.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum {
    CODE_BAD_DATA = 1007,
    CODE_TOO_BIG = 1009,
    FLUSH_MS = 10000, /* what a closing connection may take for the rest of its queue */
    EXPIRE_MS = 1000, /* how often that is looked at */
};

/* As in enum sio_reason, out of this folder's reach; a unit test holds them together. */
enum { REASON_TRANSPORT_CLOSE = 5, REASON_TRANSPORT_ERROR = 6 };

static void
list_add(struct ws_list *l, struct ws_conn *c)
{
    assert(c->list == NULL);
    c->list = l;
    c->next = NULL;
    c->prev = l->last;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

static void
list_remove(struct ws_conn *c)
{
    struct ws_list *l = c->list;
    if (l == NULL)
        return;
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    c->list = NULL;
}

static void
mark_dirty(struct ws_conn *c)
{
    if (c->list == &c->all->dirty)
        return;
    list_remove(c);
    list_add(&c->all->dirty, c);
}

/* The engine hears of the end, once. */
static void
tell_gone(struct ws_conn *c, int reason)
{
    struct engine_ws *w = c->engine_ws;
    c->engine_ws = NULL;
    if (w && c->all->engine)
        engine_ws_gone(w, reason);
}

static void
begin_closing(struct ws_conn *c, int code)
{
    c->state = WS_CONN_CLOSING;
    c->code = (uint16_t)code;
    c->deadline_ms = clock_now_ms() + FLUSH_MS;
    buf_fini(&c->rx);
    mark_dirty(c);
}

/* The peer sent what must not be. */
/* EIO-WS-LIMIT, EIO-WS-UTF8 */
static void
refuse_message(struct ws_conn *c, int code)
{
    ws_queue_clear(&c->queue);
    begin_closing(c, code);
    tell_gone(c, REASON_TRANSPORT_ERROR);
}

/* The end without a close frame, and with a reset, so that the kernel forgets what it
 * could not send. */
static void
terminate(struct ws_conn *c)
{
    struct linger at_once = {.l_onoff = 1};
    c->state = WS_CONN_ENDING;
    ws_queue_clear(&c->queue);
    setsockopt(lws_get_socket_fd(c->lws), SOL_SOCKET, SO_LINGER, &at_once,
               sizeof at_once);
    lws_set_timeout(c->lws, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(c->all->lws);
}

static void
on_reap(uv_timer_t *timer)
{
    struct ws_conns *all = timer->data;
    struct ws_conn *c;
    while ((c = all->broken.first) != NULL) {
        size_t n_bytes = c->queue.n_bytes;
        list_remove(c);
        if (c->is_full)
            log_info("ws", "ws.slow", LOG_I("queued_bytes", (int64_t)n_bytes));
        terminate(c);
        tell_gone(c, REASON_TRANSPORT_ERROR);
    }
}

static void
on_expire(uv_timer_t *timer)
{
    struct ws_conns *all = timer->data;
    int64_t now_ms = clock_now_ms();
    struct ws_conn *c, *next;
    for (c = all->stuck.first; c; c = next) {
        next = c->next;
        if (c->deadline_ms > now_ms)
            continue;
        list_remove(c);
        terminate(c);
    }
    if (all->stuck.first == NULL)
        uv_timer_stop(timer);
}

/* All is sent: the close frame, then lws waits for the peer's. */
static void
finish_closing(struct ws_conn *c)
{
    c->state = WS_CONN_ENDING;
    lws_close_reason(c->lws, (enum lws_close_status)c->code, NULL, 0);
    lws_set_timeout(c->lws, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

/* Writes what waits, as far as the socket takes it. */
static void
flush(struct ws_conn *c)
{
    struct ws_conns *all = c->all;
    struct ws_batch batch;
    if (c->state == WS_CONN_OPEN || c->state == WS_CONN_CLOSING) {
        while (!lws_partial_buffered(c->lws) &&
               ws_queue_take(&c->queue, c->can_deflate ? all->deflate : NULL, all->batch,
                             &batch)) {
            int status =
                lws_write(c->lws, (unsigned char *)batch.p, batch.len, LWS_WRITE_HTTP);
            frame_unref(batch.held);
            if (status < 0) {
                c->state = WS_CONN_BROKEN;
                break;
            }
        }
    }
    if (c->state == WS_CONN_BROKEN) {
        list_add(&all->broken, c);
        uv_timer_start(&all->reap, on_reap, 0, 0);
    } else if (c->state == WS_CONN_CLOSING) {
        if (ws_queue_is_empty(&c->queue) && !lws_partial_buffered(c->lws)) {
            finish_closing(c);
            return;
        }
        list_add(&all->stuck, c);
        if (!uv_is_active((uv_handle_t *)&all->expire))
            uv_timer_start(&all->expire, on_expire, EXPIRE_MS, EXPIRE_MS);
    }
}

static void
on_flush(uv_prepare_t *prepare)
{
    struct ws_conns *all = prepare->data;
    struct ws_conn *c;
    bool has_ended = false;
    while ((c = all->dirty.first) != NULL) {
        list_remove(c);
        flush(c);
        has_ended |= c->state == WS_CONN_ENDING;
    }
    if (has_ended)
        lws_cancel_service(all->lws);
}

/* A whole message. */
static void
take_message(struct ws_conn *c, struct str message)
{
    struct ws_conns *all = c->all;
    if (c->is_deflated) {
        enum rc rc =
            ws_deflate_inflate(all->deflate, message, all->message_bytes_max, &message);
        if (rc != RC_OK) {
            refuse_message(c, rc == RC_TOOBIG ? CODE_TOO_BIG : CODE_BAD_DATA);
            return;
        }
    }
    if (!c->is_binary && !str_is_utf8(message))
        refuse_message(c, CODE_BAD_DATA);
    else if (c->engine_ws && all->engine)
        engine_ws_message(c->engine_ws, c->is_binary, message);
}

static void
on_send(void *conn, struct frame *f)
{
    struct ws_conn *c = conn;
    if (c->state != WS_CONN_OPEN)
        return;
    ws_queue_push_take(&c->queue, frame_ref(f));
    /* EIO-WS-QUEUE */
    if (c->queue.n_bytes > c->all->queue_bytes_max) {
        c->state = WS_CONN_BROKEN;
        c->is_full = true;
    }
    mark_dirty(c);
}

static bool
on_is_writable(void *conn)
{
    struct ws_conn *c = conn;
    return c->state == WS_CONN_OPEN && ws_queue_is_empty(&c->queue) &&
           !lws_partial_buffered(c->lws);
}

static void
on_close(void *conn, int code)
{
    struct ws_conn *c = conn;
    c->engine_ws = NULL;
    if (c->state == WS_CONN_OPEN)
        begin_closing(c, code);
}

static void
on_pause(void *conn, bool is_paused)
{
    struct ws_conn *c = conn;
    if (c->state == WS_CONN_OPEN)
        lws_rx_flow_control(c->lws, !is_paused);
}

const struct engine_ws_ops ws_conn_ops = {
    .send = on_send,
    .is_writable = on_is_writable,
    .close = on_close,
    .pause = on_pause,
};

void
ws_conns_configure(struct ws_conns *all, const struct cfg *cfg)
{
    all->queue_bytes_max = (size_t)cfg->max_queue_bytes;
    all->message_bytes_max = (size_t)cfg->max_payload_bytes;
}

void
ws_conns_open(struct ws_conns *all, uv_loop_t *loop, const struct cfg *cfg)
{
    *all = (struct ws_conns){.batch = xmalloc(WS_BATCH)};
    ws_conns_configure(all, cfg);
    if (cfg->ws_compression_bytes > 0) {
        all->deflate = xmalloc(sizeof *all->deflate);
        ws_deflate_init(all->deflate, (size_t)cfg->ws_compression_bytes);
    }
    uv_prepare_init(loop, &all->flush);
    uv_timer_init(loop, &all->reap);
    uv_timer_init(loop, &all->expire);
    all->flush.data = all->reap.data = all->expire.data = all;
    uv_prepare_start(&all->flush, on_flush);
}

void
ws_conns_close(struct ws_conns *all)
{
    uv_close((uv_handle_t *)&all->flush, NULL);
    uv_close((uv_handle_t *)&all->reap, NULL);
    uv_close((uv_handle_t *)&all->expire, NULL);
    if (all->deflate)
        ws_deflate_fini(all->deflate);
    free(all->deflate);
    free(all->batch);
    all->deflate = NULL;
    all->batch = NULL;
}

void
ws_conn_on_established(struct ws_conn *c, struct ws_conns *all, struct lws *lws,
                       const struct engine_request *r, bool can_deflate)
{
    struct engine_ws *w;
    c->lws = lws;
    c->all = all;
    c->state = WS_CONN_OPEN;
    c->can_deflate = can_deflate;
    all->n++;
    w = engine_ws_open(all->engine, r, c);
    if (c->state == WS_CONN_OPEN || c->state == WS_CONN_BROKEN)
        c->engine_ws = w;
}

void
ws_conn_on_receive(struct ws_conn *c, const char *p, size_t len)
{
    bool is_first = lws_is_first_fragment(c->lws),
         is_final = lws_is_final_fragment(c->lws);
    if (c->state != WS_CONN_OPEN)
        return;
    if (is_first) {
        c->is_binary = lws_frame_is_binary(c->lws);
        c->is_deflated = c->can_deflate && (lws_get_reserved_bits(c->lws) & 0x40);
    }
    if (c->rx.len + len + lws_remaining_packet_payload(c->lws) >
        c->all->message_bytes_max) {
        refuse_message(c, CODE_TOO_BIG);
    } else if (is_first && is_final) {
        take_message(c, (struct str){p, len});
    } else {
        buf_append(&c->rx, p, len);
        if (is_final) {
            struct buf whole = c->rx;
            c->rx = (struct buf){0};
            take_message(c, buf_str(&whole));
            buf_fini(&whole);
        }
    }
}

void
ws_conn_on_writeable(struct ws_conn *c)
{
    if (c->state == WS_CONN_OPEN || c->state == WS_CONN_CLOSING)
        mark_dirty(c);
}

void
ws_conn_on_closing(struct ws_conn *c, bool is_peer)
{
    bool is_protocol_error;
    if (c->state == WS_CONN_NEW || c->state == WS_CONN_ENDING)
        return;
    is_protocol_error = !is_peer && lws_get_close_length(c->lws) > 0;
    c->state = WS_CONN_ENDING;
    list_remove(c);
    ws_queue_clear(&c->queue);
    tell_gone(c, is_protocol_error ? REASON_TRANSPORT_ERROR : REASON_TRANSPORT_CLOSE);
}

void
ws_conn_on_closed(struct ws_conn *c)
{
    if (c->state == WS_CONN_NEW)
        return;
    c->state = WS_CONN_ENDING;
    list_remove(c);
    ws_queue_clear(&c->queue);
    buf_fini(&c->rx);
    assert(c->all->n > 0);
    c->all->n--;
    tell_gone(c, REASON_TRANSPORT_CLOSE);
}
