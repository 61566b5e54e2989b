/*
 * The sessions of the load generator: handshake, upgrade, and the check of every message
 * that comes back.
 *
 *     NEW ─► OPENING ─► JOINING ─► UP                                     polling,
 * WebSocket └─► PROBING ─► FLUSHING ─► UP                  upgrade any ─► DEAD
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load.h"

/* ---- states ---- */

void
load_session_start(struct load *l, struct load_session *s)
{
    s->start_ns = load_now_ns();
    s->state = LOAD_OPENING;
    l->n_started++;
    l->n_opening++;
    if (l->o.transport == LOAD_WEBSOCKET)
        load_ws_open(l, s, false);
    else
        load_http_get(l, s);
}

void
load_session_end(struct load *l, struct load_session *s)
{
    if (s->state == LOAD_DEAD)
        return;
    if (s->state == LOAD_UP)
        l->n_up--;
    else
        l->n_opening--;
    s->state = LOAD_DEAD;
    l->n_failed++;
    load_conn_end(&s->ws);
    load_conn_end(&s->get);
    load_conn_end(&s->post);
    buf_fini(&s->queue);
}

static void
up(struct load *l, struct load_session *s)
{
    s->state = LOAD_UP;
    l->n_opening--;
    l->n_up++;
    l->progress_ns = load_now_ns();
    load_hist_add(&l->connect, l->progress_ns - s->start_ns);
}

static void
joined(struct load *l, struct load_session *s)
{
    if (l->o.transport != LOAD_UPGRADE) {
        up(l, s);
        return;
    }
    s->state = LOAD_PROBING;
    s->wants_get = false;
    load_ws_open(l, s, true);
}

/* ---- sending ---- */

static bool
is_idle(const struct load_conn *c)
{
    return c == NULL || c->request == LOAD_HTTP_NONE;
}

static void
post_queue(struct load *l, struct load_session *s, struct load_conn **at)
{
    struct buf body = s->queue;
    s->queue = (struct buf){0};
    load_http_post(l, s, at, buf_str(&body));
    buf_fini(&body);
}

void
load_session_poll(struct load *l, struct load_session *s)
{
    if (s->state == LOAD_DEAD || s->state == LOAD_NEW)
        return;
    if (s->wants_get && is_idle(s->get) && s->eio_sid[0] != '\0') {
        s->wants_get = false;
        load_http_get(l, s);
    }
    if (s->state != LOAD_DEAD && s->queue.len > 0 && is_idle(s->post))
        post_queue(l, s, &s->post);
}

static void
send_packet(struct load *l, struct load_session *s, const char *p, size_t n)
{
    if (s->state == LOAD_DEAD)
        return;
    if (s->ws != NULL && s->ws->state == LOAD_CONN_OPEN &&
        (l->o.transport == LOAD_WEBSOCKET || s->state == LOAD_UP)) {
        load_ws_frame(l, s->ws, 1, p, n);
        return;
    }
    if (s->queue.len > 0)
        buf_append_c(&s->queue, '\x1e');
    buf_append(&s->queue, p, n);
    if (s->get != NULL && is_idle(s->get) && s->post == NULL && s->state == LOAD_JOINING)
        post_queue(
            l, s,
            &s->get); /* there is no GET yet: as clients do, on the same connection */
    else
        load_session_poll(l, s);
}

static void
put_hex(char *p, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v >>= 4)
        p[i] = "0123456789abcdef"[v & 15];
}

void
load_session_emit(struct load *l, struct load_session *s, uint32_t seq, uint64_t from_ns)
{
    char *stamp = l->message + l->prefix_len;
    put_hex(stamp, s->id, 8);
    put_hex(stamp + 8, seq, 8);
    put_hex(stamp + 16, from_ns, 16);
    l->n_sent++;
    if (l->phase == LOAD_MEASURING)
        l->n_sent_measured++;
    send_packet(l, s, l->message, l->message_len);
}

void
load_broadcast(struct load *l, uint64_t from_ns)
{
    struct load_session *s = &l->sessions[l->broadcast_seq % (uint32_t)l->o.n_senders];
    uint32_t slot = l->broadcast_seq % LOAD_BROADCASTS;
    if (s->state != LOAD_UP)
        return;
    if (l->n_missing[slot] > 0) {
        load_bad(l, "broadcast %u unfinished", l->broadcast_seq - LOAD_BROADCASTS);
        return;
    }
    l->n_missing[slot] = (uint32_t)l->n_up;
    l->broadcast_ns[slot] = from_ns;
    l->n_broadcasts++;
    load_session_emit(l, s, l->broadcast_seq++, from_ns);
}

/* ---- events ---- */

static bool
get_hex(const char *p, int n, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] >= '0' && p[i] <= '9')
            v = v << 4 | (uint64_t)(p[i] - '0');
        else if (p[i] >= 'a' && p[i] <= 'f')
            v = v << 4 | (uint64_t)(p[i] - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

static void
on_echo(struct load *l, struct load_session *s, uint64_t id, uint64_t seq)
{
    if (id != s->id || seq != s->n_received) {
        l->n_disorder++;
        load_bad(l, "session %u: echo %llu of %llu, expected %u", s->id,
                 (unsigned long long)seq, (unsigned long long)id, s->n_received);
    }
    s->n_received = (uint32_t)seq + 1;
    if (l->o.rate <= 0 && (l->phase == LOAD_WARMUP || l->phase == LOAD_MEASURING))
        load_session_emit(l, s, s->n_sent++, load_now_ns());
}

static void
on_broadcast(struct load *l, struct load_session *s, uint64_t seq, uint64_t now_ns)
{
    uint32_t slot = (uint32_t)seq % LOAD_BROADCASTS;
    if (l->o.n_senders == 1 && seq != s->n_received) {
        l->n_disorder++;
        load_bad(l, "session %u: broadcast %llu, expected %u", s->id,
                 (unsigned long long)seq, s->n_received);
    }
    s->n_received = (uint32_t)seq + 1;
    if (l->n_missing[slot] == 0) {
        load_bad(l, "broadcast %llu: too many copies", (unsigned long long)seq);
        return;
    }
    if (--l->n_missing[slot] > 0)
        return;
    l->n_broadcasts--;
    if (l->phase == LOAD_MEASURING)
        load_hist_add(&l->full, now_ns > l->broadcast_ns[slot]
                                    ? now_ns - l->broadcast_ns[slot]
                                    : 0);
    if (l->o.rate <= 0 && (l->phase == LOAD_WARMUP || l->phase == LOAD_MEASURING))
        load_broadcast(l, load_now_ns());
}

static void
on_event(struct load *l, struct load_session *s, char *p, size_t n)
{
    const size_t stamp = l->prefix_len, padding = stamp + LOAD_STAMP,
                 end = l->message_len - 2;
    uint64_t id, seq, sent_ns, now_ns;
    if (n <= l->name_len || memcmp(p, l->message, l->name_len) != 0)
        return; /* another event: a greeting of the application */
    if (l->o.has_offset && n > end + 4 && p[end + 1] == ',' && p[n - 1] == ']') {
        p[end + 1] = ']';
        n = end + 2;
    }
    if (n != l->message_len || memcmp(p, l->message, stamp) != 0 ||
        memcmp(p + padding, l->message + padding, n - padding) != 0 ||
        !get_hex(p + stamp, 8, &id) || !get_hex(p + stamp + 8, 8, &seq) ||
        !get_hex(p + stamp + 16, 16, &sent_ns)) {
        load_bad(l, "unexpected message: %.*s", (int)(n < 60 ? n : 60), p);
        return;
    }
    l->progress_ns = now_ns = load_now_ns();
    l->n_received++;
    if (l->phase == LOAD_MEASURING) {
        l->n_received_measured++;
        load_hist_add(&l->latency, now_ns > sent_ns ? now_ns - sent_ns : 0);
    }
    if (l->o.mode == LOAD_ECHO)
        on_echo(l, s, id, seq);
    else
        on_broadcast(l, s, seq, now_ns);
}

/* ---- packets ---- */

static void
on_open(struct load *l, struct load_session *s, const char *p, size_t n)
{
    static const char name[] = "\"sid\":\"";
    const char *value = memmem(p, n, name, sizeof name - 1), *end;
    struct buf join;
    if (value != NULL)
        value += sizeof name - 1;
    end = value ? memchr(value, '"', (size_t)(p + n - value)) : NULL;
    if (end == NULL || (size_t)(end - value) >= sizeof s->eio_sid) {
        load_bad(l, "open packet without id");
        load_session_end(l, s);
        return;
    }
    memcpy(s->eio_sid, value, (size_t)(end - value));
    s->eio_sid[end - value] = '\0';
    s->state = LOAD_JOINING;
    buf_init(&join);
    buf_append_z(&join, "40");
    if (strcmp(l->o.nsp, "/") != 0)
        buf_append_f(&join, "%s,", l->o.nsp);
    buf_append_z(&join, l->o.auth);
    send_packet(l, s, join.p, join.len);
    buf_fini(&join);
}

static void
on_ping(struct load *l, struct load_session *s, char *p, size_t n)
{
    l->n_pings++;
    p[0] = '3';
    send_packet(l, s, p, n);
}

static void
on_socket_packet(struct load *l, struct load_session *s, char *p, size_t n)
{
    switch (p[1]) {
    case '0':
        if (s->state == LOAD_JOINING)
            joined(l, s);
        return;
    case '2':
        if (l->o.mode != LOAD_CONNECT && l->phase != LOAD_CONNECTING)
            on_event(l, s, p, n);
        return;
    case '1':
    case '4':
        load_bad(l, "connect refused: %.*s", (int)(n < 60 ? n : 60), p);
        load_session_end(l, s);
        return;
    default:
        return;
    }
}

void
load_session_packet(struct load *l, struct load_session *s, char *p, size_t n)
{
    if (n == 0)
        return;
    switch (p[0]) {
    case '0':
        on_open(l, s, p, n);
        return;
    case '1':
        l->n_closed++;
        load_bad(l, "Engine.IO close packet");
        load_session_end(l, s);
        return;
    case '2':
        on_ping(l, s, p, n);
        return;
    case '3': /* of the probe */
        if (s->state == LOAD_PROBING && n == 6) {
            s->state = LOAD_FLUSHING;
            if (is_idle(s->get)) /* the noop comes with it */
                load_http_get(l, s);
        }
        return;
    case '4':
        if (n > 1)
            on_socket_packet(l, s, p, n);
        return;
    case '6':
        return;
    default:
        load_bad(l, "packet %.*s", (int)(n < 40 ? n : 40), p);
    }
}

void
load_session_answered(struct load *l, struct load_session *s,
                      enum load_http_request request, char *p, size_t n)
{
    if (request == LOAD_HTTP_GET) {
        char *end = p + n;
        s->wants_get = s->state != LOAD_PROBING && s->state != LOAD_FLUSHING;
        while (p < end && s->state != LOAD_DEAD) {
            char *packet_end = memchr(p, '\x1e', (size_t)(end - p));
            if (packet_end == NULL)
                packet_end = end;
            load_session_packet(l, s, p, (size_t)(packet_end - p));
            p = packet_end + 1;
        }
        if (s->state == LOAD_FLUSHING && s->ws != NULL) { /* polling is quiet now */
            load_ws_frame(l, s->ws, 1, "5", 1);
            up(l, s);
            return;
        }
    }
    load_session_poll(l, s);
}
