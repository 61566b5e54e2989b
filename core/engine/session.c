/*
 * Sessions: deadlines, closing, and the load of a subscriber with what it is owed
 * (design 3.4, 3.5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/history.h"
#include "core/engine/internal.h"

#define SCAN_SLICE 1000

/* ---- rows that are due ---- */

void
due_add(struct due *d, struct store_packet *p)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 4;
        d->p = xrealloc(d->p, d->cap * sizeof *d->p);
    }
    d->p[d->n++] = store_packet_ref(p);
    d->n_bytes += p->body.len + p->attachments.len;
}

void
due_clear(struct due *d)
{
    for (size_t i = 0; i < d->n; i++) {
        wire_forget(d->p[i]);
        store_packet_unref(d->p[i]);
    }
    free(d->p);
    *d = (struct due){0};
}

/* ---- load and catch-up ---- */

struct interval { /* of a socket in its namespace, or in a room */
    int64_t socket_id, key, since_seq, until_seq;
};

struct load {
    struct engine *e;
    struct sub *s;
    int64_t cursor_seq, max_seq;
    bool is_replay;             /* only what a recovered socket is owed */
    int64_t socket_id;          /* whose rooms are being read */
    struct interval *intervals; /* sockets: key STORE_TO_NSP; rooms: key STORE_TO_ROOM */
    size_t n, cap;
    struct due *out;
    enum rc rc; /* RC_BUSY: a row's namespace can't be read now */
};

static void
add_interval(struct load *l, struct interval i)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->intervals = xrealloc(l->intervals, l->cap * sizeof *l->intervals);
    }
    l->intervals[l->n++] = i;
}

struct socket_copy {
    struct socket_copy *next;
    int64_t socket_id, nsp_id;
    char sio_id[];
};

struct sockets_copy {
    struct load *l;
    struct socket_copy *open;
};

static void
on_socket(void *arg, const struct store_session_socket *s)
{
    struct sockets_copy *c = arg;
    add_interval(c->l, (struct interval){s->socket_id, store_key(STORE_TO_NSP, s->nsp_id),
                                         s->since_seq, s->until_seq});
    if (s->state != 0)
        return;
    struct socket_copy *k = xmalloc(sizeof *k + s->sio_id.len + 1);
    k->socket_id = s->socket_id;
    k->nsp_id = s->nsp_id;
    memcpy(k->sio_id, s->sio_id.p, s->sio_id.len);
    k->sio_id[s->sio_id.len] = '\0';
    k->next = c->open;
    c->open = k;
}

static void
on_member(void *arg, int64_t room_id, int64_t since_seq, int64_t until_seq)
{
    struct load *l = arg;
    add_interval(l, (struct interval){l->socket_id, store_key(STORE_TO_ROOM, room_id),
                                      since_seq, until_seq});
    struct sub_socket *k = sub_socket_find(l->s, l->socket_id);
    if (k != NULL && until_seq == 0)
        adapter_join(&l->e->adapter, k, room_id);
}

static enum rc
load_members(struct load *l, int64_t socket_id)
{
    l->socket_id = socket_id;
    return store_read_members(l->e->store, socket_id, l->cursor_seq, on_member, l);
}

static bool
holds(const struct interval *i, int64_t seq)
{
    return i->since_seq < seq && (i->until_seq == 0 || seq < i->until_seq);
}

/* Was the socket in the target of this key when the row came? */
static bool
is_in(const struct load *l, int64_t socket_id, int64_t key, int64_t seq)
{
    if ((key & 3) == STORE_TO_SOCKET)
        return key == store_key(STORE_TO_SOCKET, socket_id);
    for (size_t i = 0; i < l->n; i++)
        if (l->intervals[i].socket_id == socket_id && l->intervals[i].key == key &&
            holds(&l->intervals[i], seq))
            return true;
    return false;
}

/* Design 3.3: since < seq < until for a target and for no excluded one. */
/* SIO-MEMBER */
static bool
is_due_to(const struct load *l, int64_t socket_id, const struct store_packet *p)
{
    if (socket_id == p->skip_id ||
        (p->is_local && p->origin_id != l->e->adapter.process_id &&
         p->arg_id != socket_id))
        return false;
    for (size_t i = 0; i < p->n_not_keys; i++)
        if (is_in(l, socket_id, p->not_keys[i], p->seq))
            return false;
    if (p->to_kind != STORE_TO_LIST)
        return is_in(l, socket_id, store_key(p->to_kind, p->to_id), p->seq);
    for (size_t i = 0; i < p->n_to_keys; i++)
        if (is_in(l, socket_id, p->to_keys[i], p->seq))
            return true;
    return false;
}

static void
take_row(struct load *l, struct store_packet *p)
{
    enum rc rc = p->nsp_id != 0 ? engine_nsp_load(l->e, p->nsp_id) : RC_OK;
    if (rc == RC_OK)
        due_add(l->out, p);
    else if (rc != RC_NOTFOUND) /* forgotten: nobody is in it */
        l->rc = rc;
}

static void
consider(void *arg, struct store_packet *p)
{
    struct load *l = arg;
    if (!store_kind_is_due(p->kind) || p->is_volatile || p->seq <= l->cursor_seq ||
        p->seq > l->max_seq)
        return;
    if (l->is_replay &&
        (p->is_ask || (p->kind != STORE_EVENT && p->kind != STORE_BINARY_EVENT &&
                       p->kind != STORE_HISTORY)))
        return;
    if (p->to_kind == STORE_TO_SESSION) {
        if (p->to_id == l->s->session_id)
            take_row(l, p);
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct interval *n = &l->intervals[i];
        if ((n->key & 3) == STORE_TO_NSP &&
            n->key == store_key(STORE_TO_NSP, p->nsp_id) && holds(n, p->seq) &&
            is_due_to(l, n->socket_id, p)) {
            take_row(l, p);
            return;
        }
    }
}

static int
compare_seq(const void *a, const void *b)
{
    const struct store_packet *x = *(struct store_packet *const *)a,
                              *y = *(struct store_packet *const *)b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void
sort_due(struct due *d)
{
    if (d->n > 1)
        qsort(d->p, d->n, sizeof *d->p, compare_seq);
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (n > 0 && d->p[n - 1] == d->p[i])
            store_packet_unref(d->p[i]);
        else
            d->p[n++] = d->p[i];
    d->n = n;
}

static enum rc
scan(struct load *l, int64_t from_seq, int64_t to_seq)
{
    enum rc rc = RC_OK;
    while (rc == RC_OK && from_seq < to_seq) {
        int64_t last = to_seq;
        rc =
            store_read_log(l->e->store, from_seq, to_seq, SCAN_SLICE, consider, l, &last);
        from_seq = last;
    }
    return rc;
}

/* O(targets + hits) from the ring; what is not in the ring is scanned. */
static enum rc
catch_up(struct load *l, int64_t max_seq)
{
    const struct ring *r = &l->e->ring;
    if (l->cursor_seq < r->from_seq)
        return scan(l, l->cursor_seq, max_seq);
    for (size_t i = 0; i < l->n; i++) {
        const struct interval *n = &l->intervals[i];
        ring_walk(r, n->key, l->cursor_seq, consider, l);
        if ((n->key & 3) == STORE_TO_NSP)
            ring_walk(r, store_key(STORE_TO_SOCKET, n->socket_id), l->cursor_seq,
                      consider, l);
    }
    ring_walk(r, store_key(STORE_TO_SESSION, l->s->session_id), l->cursor_seq, consider,
              l);
    ring_walk(r, RING_KEY_LIST, l->cursor_seq, consider, l);
    sort_due(l->out);
    return scan(l, r->last_seq > l->cursor_seq ? r->last_seq : l->cursor_seq, max_seq);
}

enum rc
session_load(struct engine *e, struct sub *s, int64_t cursor_seq, int64_t max_seq,
             struct due *out)
{
    struct load l = {
        .e = e, .s = s, .cursor_seq = cursor_seq, .max_seq = max_seq, .out = out};
    struct sockets_copy c = {.l = &l};
    enum rc rc = store_read_sockets(e->store, s->session_id, cursor_seq, on_socket, &c);
    while (c.open != NULL) {
        struct socket_copy *k = c.open;
        if (rc == RC_OK)
            rc = engine_nsp_load(e, k->nsp_id);
        if (rc == RC_OK)
            adapter_socket_add(&e->adapter, s, k->socket_id, engine_nsp(e, k->nsp_id),
                               str_of(k->sio_id));
        c.open = k->next;
        free(k);
    }
    for (size_t i = 0, n = l.n; i < n && rc == RC_OK; i++)
        rc = load_members(&l, l.intervals[i].socket_id);
    if (rc == RC_OK)
        rc = catch_up(&l, max_seq);
    if (rc == RC_OK)
        rc = l.rc;
    s->from_seq = max_seq;
    free(l.intervals);
    return rc;
}

/* ---- replay ---- */

enum rc
session_replay(struct engine *e, const struct store_packet *connect, struct due *out)
{
    struct sub nobody = {.session_id = -1};
    struct load l = {.e = e,
                     .s = &nobody,
                     .cursor_seq = connect->arg_id,
                     .max_seq = connect->seq - 1,
                     .is_replay = true,
                     .out = out};
    add_interval(&l, (struct interval){connect->socket_id,
                                       store_key(STORE_TO_NSP, connect->nsp_id), 0, 0});
    struct store_socket k;
    enum rc rc = store_read_socket(e->store, connect->socket_id, &k);
    if (rc == RC_OK && k.session_id != connect->to_id)
        rc = RC_NOTFOUND; /* recovered again meanwhile: never a partial replay */
    if (rc == RC_OK)
        rc = load_members(&l, connect->socket_id);
    if (rc == RC_OK)
        rc = catch_up(&l, connect->seq - 1);
    if (rc == RC_OK)
        rc = l.rc;
    if (rc == RC_OK)
        rc = history_expand(e, connect->to_id, connect, out);
    free(l.intervals);
    return rc;
}

/* ---- deadlines ---- */

int64_t
session_ping_ms(const struct cfg *cfg, int64_t now_ms)
{
    return now_ms + cfg->ping_interval_ms;
}

int64_t
session_due_ms(const struct cfg *cfg, int64_t ping_ms, int64_t connect_due_ms)
{
    int64_t due_ms = ping_ms + cfg->ping_timeout_ms;
    return connect_due_ms != 0 && connect_due_ms < due_ms ? connect_due_ms : due_ms;
}

bool
session_is_dead(const struct store_session *s, int64_t now_ms)
{
    return s->due_ms != 0 && now_ms >= s->due_ms;
}

bool
session_can_choose_parser(const struct store_session *s)
{
    return s->protocol == 4 && s->connect_due_ms != 0 && !s->has_partial &&
           s->parser == SIO_PARSER_JSON;
}

/* ---- closing ---- */

static void
close_step(struct engine *e, struct store_unit *u, int64_t session_id,
           enum sio_reason reason, int64_t poll_ms)
{
    bool is_recoverable = e->cfg->recovery_ms > 0 && sio_reason_is_recoverable(reason);
    store_unit_session_close(u, session_id, str_of(sio_reason_text(reason)),
                             is_recoverable, clock_now_ms(), poll_ms);
    log_info("engine", "session.close", LOG_I("session", session_id),
             LOG_Z("reason", sio_reason_text(reason)));
}

void
session_close_step(struct engine *e, struct store_unit *u, int64_t session_id,
                   enum sio_reason reason)
{
    close_step(e, u, session_id, reason, 0);
}

void
session_close_for_poll(struct engine *e, struct store_unit *u, int64_t session_id,
                       int64_t poll_ms)
{
    close_step(e, u, session_id, SIO_R_TRANSPORT_ERROR, poll_ms);
}

/* EIO-PING-TIMEOUT, SIO-CONNECT-TIMEOUT */
static enum sio_reason
death_reason(const struct store_session *s, int64_t now_ms)
{
    bool is_late = s->connect_due_ms != 0 && now_ms >= s->connect_due_ms;
    return is_late ? SIO_R_FORCED_SERVER_CLOSE : SIO_R_PING_TIMEOUT;
}

struct store_unit *
session_expire_unit(struct engine *e, const struct store_session *s, int64_t now_ms)
{
    struct store_unit *u = store_unit_create();
    store_unit_guard_due(u, s->session_id, now_ms);
    session_close_step(e, u, s->session_id, death_reason(s, now_ms));
    return u;
}

void
session_expire(struct engine *e, const struct store_session *s, int64_t now_ms)
{
    engine_submit(e, session_expire_unit(e, s, now_ms), NULL, NULL);
}

void
session_close(struct engine *e, int64_t session_id, enum sio_reason reason)
{
    struct store_unit *u = store_unit_create();
    session_close_step(e, u, session_id, reason);
    engine_submit(e, u, NULL, NULL);
}

/* ---- the handshake, for handlers ---- */

void
session_handshake_encode(struct buf *b, const struct engine_request *r,
                         const struct eio_param *params, size_t n)
{
    buf_append_z(b, "{\"headers\":{");
    bool is_first = true;
    for (size_t i = 0; i < r->n_headers; i++) {
        bool is_again = false;
        for (size_t j = 0; j < i && !is_again; j++)
            is_again = str_eq(r->headers[j].name, r->headers[i].name);
        if (is_again || str_eqz(r->headers[i].name, "connection") ||
            str_eqz(r->headers[i].name, "upgrade"))
            continue;
        if (!is_first)
            buf_append_c(b, ',');
        is_first = false;
        buf_append_json(b, r->headers[i].name, false);
        buf_append_c(b, ':');
        buf_append_json(b, r->headers[i].value, false);
    }
    buf_append_z(b, "},\"query\":");
    eio_query_encode_json(b, params, n);
    struct buf url;
    buf_init(&url);
    buf_append_str(&url, r->path);
    buf_append_z(&url, r->query.len > 0 ? "?" : "");
    buf_append_str(&url, r->query);
    buf_append_z(b, ",\"url\":");
    buf_append_json(b, buf_str(&url), false);
    buf_fini(&url);
    buf_append_z(b, ",\"address\":");
    buf_append_json(b, r->remote, false);
    buf_append_f(b, ",\"secure\":%s,\"xdomain\":%s,\"issued\":%lld}",
                 r->is_https ? "true" : "false",
                 engine_header_get(r, "origin").len > 0 ? "true" : "false",
                 (long long)clock_wall_ms());
}
