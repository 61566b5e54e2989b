/*
 * A poll: the pending GET of a session, parked until there is something to answer
 * (design 4.2).
 *
 *     try ──nothing due──► PARKED ──row, ping, noop──► ANSWERING ──commit──► answer
 *     try ──rows due────────────────────────────────► ANSWERING
 *     PARKED ──CLAIM_MS──► claim ──► PARKED
 *     PARKED ──own POST──► RIDING ──its commit──► answer, or PARKED
 *
 * Most polls of a busy session are answered soon: those are never claimed, their answer
 * is claim and end in one commit (store_unit_poll_once). Who is parked for longer makes
 * that known. All commits go by the generation that was read with the cursor.
 *
 * An event that answers its own client: the answer of the session's poll rides in the
 * event's commit, if that poll is parked here at the end of the event's loop turn
 * (poll_ride). Where the store finds that it can't, the poll goes on as it was.
 *
 * Invariants:
 *
 * 1. A parked poll is in the adapter's index from its snapshot on; what becomes due
 * meanwhile is in `due`.
 *
 * 2. No byte of an answer leaves before the commit that moved the cursor past it.
 *
 * 3. Zero rows at that commit = revoked (closed, taken over): no data goes out, but a
 * noop, or it is tried again if it was never claimed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/eio/payload.h"
#include "core/engine/history.h"
#include "core/engine/internal.h"
#include "core/sio/json.h"

#define UPGRADE_NOOP_MS 100
#define RETRY_MS 1000
#define CLAIM_MS 200 /* so late another process may see that a poll is held */
#define TRY_MS 10000 /* so long a request waits for a store that can't be read */
#define TEXT_PLAIN "text/plain; charset=UTF-8"

static void poll_try(struct engine_http *h);
static void poll_turn(struct later *l);
static void retry(struct engine_http *h);

static struct engine_http *
http_of_sub(struct sub *s)
{
    return (struct engine_http *)((char *)s - offsetof(struct engine_http, sub));
}

static struct engine_http *
http_of_later(struct later *l)
{
    return (struct engine_http *)((char *)l - offsetof(struct engine_http, later));
}

/* ---- the answer ---- */

static void
append_plain(struct engine_http *h, struct buf *b, size_t *n, enum eio_type type)
{
    struct eio_packet p = {.type = type};
    eio_payload_append(b, h->session.protocol, (*n)++, &p);
}

static struct frame *
frames_of(struct engine_http *h, struct store_packet *p)
{
    return engine_frames(h->e, p, h->sub.form);
}

/* Revision 3: a batch with binary in it goes in the binary framing, unless the session
 * was opened with b64=1. */
/* EIO-V3-BINARY */
static bool
needs_octets(struct engine_http *h)
{
    struct str json, remote, query, b64;
    enum sio_json_kind kind;
    bool has_binary = false;
    for (size_t i = 0; i < h->due.n && h->session.protocol == 3 && h->jsonp == NULL; i++)
        has_binary |= wire_has_binary(frames_of(h, h->due.p[i]));
    return has_binary &&
           store_read_handshake(h->e->store, h->session.session_id, &json, &remote) ==
               RC_OK &&
           sio_json_member(json, "query", &kind, &query) == RC_OK &&
           sio_json_member(query, "b64", &kind, &b64) != RC_OK;
}

static void
send_octets(struct engine_http *h)
{
    struct buf b;
    struct eio_packet close = {.type = EIO_CLOSE};
    buf_init(&b);
    for (size_t i = 0; i < h->due.n; i++)
        wire_payload_append_octets(&b, frames_of(h, h->due.p[i]));
    if (h->is_close)
        eio_payload_append_octets(&b, &close);
    http_answer(h, 200, "application/octet-stream", buf_str(&b), false);
    buf_fini(&b);
}

static void
send_answer(struct engine_http *h)
{
    struct buf b;
    size_t n = 0;
    bool can_compress = false;
    h->e->counts.n[COUNT_PACKETS_OUT] += (int64_t)h->due.n;
    if (needs_octets(h)) {
        send_octets(h);
        return;
    }
    buf_init(&b);
    for (size_t i = 0; i < h->due.n; i++) {
        wire_payload_append(&b, h->sub.form, &n, frames_of(h, h->due.p[i]));
        can_compress |= !h->due.p[i]->is_plain;
    }
    if (h->is_ping)
        append_plain(h, &b, &n, EIO_PING);
    if (h->is_close && h->is_noop)
        append_plain(h, &b, &n, EIO_NOOP);
    if (h->is_close)
        append_plain(h, &b, &n, EIO_CLOSE);
    if (n == 0)
        append_plain(h, &b, &n, EIO_NOOP);
    http_answer(h, 200, TEXT_PLAIN, buf_str(&b), can_compress);
    buf_fini(&b);
}

/* To WebSocket, as far as that can be read. */
static bool
has_moved(struct engine_http *h)
{
    struct store_session s;
    return store_read_session_by_id(h->e->store, h->session.session_id, &s) == RC_OK &&
           s.is_websocket && !s.is_closed;
}

static void
on_answered(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    if (r->rc == RC_OK && h->answer == NULL &&
        h->e->cfg->aborted_poll == CFG_ABORT_STRICT) { /* what it carried is lost */
        poll_gone(h);
        return;
    }
    if (r->rc != RC_OK) { /* invariant 3 */
        due_clear(&h->due);
        h->is_ping = false;
    }
    if (r->rc == RC_CONFLICT && has_moved(h)) {
        http_answer_error(h, EIO_E_BAD_REQUEST,
                          "TRANSPORT_MISMATCH"); /* EIO-POLL-UPGRADED */
        return;
    }
    if (r->rc == RC_CONFLICT && !h->has_claim) { /* another poll, or the end */
        h->was_parked = true;
        retry(h);
        return;
    }
    if (r->rc != RC_OK && r->rc != RC_CONFLICT) {
        log_error("engine", "poll.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        http_answer_empty(h, 503);
        return;
    }
    send_answer(h);
}

/* The cursor after this answer: all that the tail has seen, or the last row that fits. */
static int64_t
cut(struct engine_http *h)
{
    int64_t cursor = store_last_seq(h->e->store);
    size_t n_bytes = 0;
    if (cursor < h->sub.from_seq)
        cursor = h->sub.from_seq;
    for (size_t i = 0; i < h->due.n && !h->has_replay; i++) {
        n_bytes += h->due.p[i]->body.len + h->due.p[i]->attachments.len;
        if (i == 0 || n_bytes <= (size_t)h->e->cfg->max_payload_bytes)
            continue;
        cursor = h->due.p[i - 1]->seq;
        while (h->due.n > i)
            store_packet_unref(h->due.p[--h->due.n]);
    }
    return cursor;
}

static bool
is_replay(const struct store_packet *p)
{
    return p->kind == STORE_CONNECT && p->arg_id != 0;
}

/* Recovered sockets: what they missed goes before their CONNECT reply, as in the
 * reference. Rooms that were joined with their history: it goes in the place of its row.
 */
/* SIO-RECOVERY-ORDER */
static enum rc
expand(struct engine_http *h)
{
    struct due all = {0};
    enum rc rc = RC_OK;
    bool has_replay = false;
    for (size_t i = 0; i < h->due.n && !has_replay; i++)
        has_replay = is_replay(h->due.p[i]) || h->due.p[i]->kind == STORE_HISTORY;
    if (!has_replay || h->has_replay)
        return RC_OK;
    for (size_t i = 0; i < h->due.n && rc == RC_OK; i++) {
        struct store_packet *p = h->due.p[i];
        if (is_replay(p)) {
            struct due missed = {0};
            rc = session_replay(h->e, p, &missed);
            for (size_t j = 0; j < missed.n; j++)
                due_add(&all, missed.p[j]);
            due_clear(&missed);
        }
        if (p->kind == STORE_HISTORY)
            rc = history_add(h->e, h->session.session_id, p, 0, &all);
        else
            due_add(&all, p);
    }
    if (rc != RC_OK) {
        due_clear(&all);
        return rc;
    }
    due_clear(&h->due);
    h->due = all;
    h->has_replay = all.n > 0; /* of none: it waits on */
    return RC_OK;
}

/* Below the horizon: never skip, end it (design 3.7). */
static void
end_of_log(struct engine_http *h)
{
    http_close_session(h, true);
}

static void
answer(struct engine_http *h)
{
    enum rc rc = expand(h);
    if (rc != RC_OK) {
        if (rc == RC_NOTFOUND)
            end_of_log(h);
        else
            engine_later(h->e, &h->later, poll_turn);
        return;
    }
    struct store_unit *u = store_unit_create();
    int64_t cursor = cut(h);
    h->state = HTTP_ANSWERING;
    adapter_leave(&h->e->adapter, &h->sub);
    timers_disarm(&h->e->timers, &h->timer);
    if (h->has_claim)
        store_unit_poll_answer(u, h->session.session_id, h->session.gen, cursor,
                               h->is_ping);
    else
        store_unit_poll_once(u, h->session.session_id, h->session.gen, 0, cursor,
                             h->is_ping);
    engine_submit(h->e, u, on_answered, h);
}

/* The session was closed: what is due goes first, alone, because clients drop what comes
 * with a close; then, or in the next answer, the close packet (EIO-CLOSE). */
static void
on_told(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    if (r->rc == RC_OK ||
        r->rc == RC_CONFLICT) /* told before by another process: no harm */
        send_answer(h);
    else
        http_answer_empty(h, 503);
}

static void
tell_closed(struct engine_http *h)
{
    struct store_unit *u = store_unit_create();
    int64_t cursor = cut(h);
    h->state = HTTP_ANSWERING;
    h->is_ping = false;
    if (h->due.n > 0)
        h->is_close = h->is_noop = false;
    adapter_leave(&h->e->adapter, &h->sub);
    timers_disarm(&h->e->timers, &h->timer);
    store_unit_session_told(u, h->session.session_id, cursor, h->is_close);
    engine_submit(h->e, u, on_told, h);
}

/* ---- what happens to a parked poll ---- */

/* The session's first message may have come after this poll, and have chosen the parser.
 * False: the store can't be read just now. */
static bool
renew_form(struct engine_http *h)
{
    struct store_session s;
    if (h->session.connect_due_ms == 0 || h->session.parser != SIO_PARSER_JSON)
        return true;
    enum rc rc = store_read_session_by_id(h->e->store, h->session.session_id, &s);
    if (rc == RC_OK)
        h->sub.form = engine_form(h->e, s.protocol, (enum sio_parser)s.parser);
    return rc == RC_OK || rc == RC_NOTFOUND;
}

static void arm(struct engine_http *h);

/* An upgrade begins: the poll is held for UPGRADE_NOOP_MS at most. One that came before
 * the switch from a client that did not wait for it is refused as any that comes later.
 */
/* EIO-UPGRADE */
static bool
look_for_upgrade(struct engine_http *h)
{
    struct store_session s;
    enum rc rc = store_read_session_by_id(h->e->store, h->session.session_id, &s);
    if (rc == RC_BUSY) {
        engine_later(h->e, &h->later, poll_turn);
        return false;
    }
    h->is_upgraded = false;
    if (rc == RC_OK && s.is_websocket && !s.is_closed) {
        http_answer_error(h, EIO_E_BAD_REQUEST,
                          "TRANSPORT_MISMATCH"); /* EIO-POLL-UPGRADED */
        return false;
    }
    h->session.upgrade_id = rc == RC_OK ? s.upgrade_id : 0;
    arm(h);
    return true;
}

static void
poll_turn(struct later *l)
{
    struct engine_http *h = http_of_later(l);
    if (h->state == HTTP_BUSY && h->session.session_id == 0) {
        poll_try(h);
        return;
    }
    if (h->state != HTTP_PARKED)
        return; /* claim or ride is under way: on_claimed, poll_ridden look */
    if (h->is_upgraded && !look_for_upgrade(h))
        return;
    if (h->is_refused) {
        http_answer_empty(h, 400); /* EIO-POLL-OVERLAP, EIO-POLL-ABORT */
        return;
    }
    if (!renew_form(h)) {
        engine_later(h->e, l, poll_turn);
        return;
    }
    if (h->is_close)
        tell_closed(h);
    else if (h->due.n > 0 || h->is_noop || h->is_ping)
        answer(h);
}

static void
on_event(struct sub *s, struct store_packet *p, struct frame *f)
{
    struct engine_http *h = http_of_sub(s);
    (void)f;
    /* SIO-VOLATILE: one makes the poll unwritable for the next */
    if (p->is_volatile && h->due.n > 0)
        return;
    due_add(&h->due, p);
    engine_later(h->e, &h->later, poll_turn);
}

/* An upgrade has begun, or is done. */
static void
on_noop(struct sub *s)
{
    struct engine_http *h = http_of_sub(s);
    h->is_upgraded = true;
    engine_later(h->e, &h->later, poll_turn);
}

static void
end_by(struct engine_http *h, struct str reason)
{
    /* EIO-CLOSE-CLIENT */
    if (sio_reason_find(reason) == SIO_R_TRANSPORT_CLOSE)
        h->is_noop = true; /* the client closed by POST: its GET ends with a noop */
    else
        h->is_close = true;
    if (h->is_close)
        h->is_noop = false;
}

static void
on_close(struct sub *s, const struct store_packet *p)
{
    struct engine_http *h = http_of_sub(s);
    h->is_refused = p->arg_id != 0 && p->arg_id < h->begun_ms;
    end_by(h, p->body);
    engine_later(h->e, &h->later, poll_turn);
}

/* The sweeper closes it when its time is over. */
static void
on_empty(struct sub *s)
{
    (void)s;
}

static const struct sub_ops poll_ops = {on_event, on_noop, on_close, on_empty};

/* When something happens to a parked poll by itself: ping, end of the hold, noops during
 * an upgrade, death. */
static int64_t
wake_ms(const struct engine_http *h)
{
    const struct store_session *s = &h->session;
    int64_t due_ms = h->parked_ms + h->hold_ms; /* EIO-POLL-HOLD */
    if (s->upgrade_id != 0 && h->parked_ms + UPGRADE_NOOP_MS < due_ms)
        due_ms = h->parked_ms + UPGRADE_NOOP_MS;
    if (!s->is_pinged && s->protocol != 3 && s->ping_ms < due_ms)
        due_ms = s->ping_ms;
    if (s->due_ms != 0 && s->due_ms < due_ms)
        due_ms = s->due_ms;
    return due_ms;
}

static void
arm(struct engine_http *h)
{
    int64_t due_ms = wake_ms(h);
    if (!h->has_claim && h->parked_ms + CLAIM_MS < due_ms)
        due_ms = h->parked_ms + CLAIM_MS;
    timers_arm(&h->e->timers, &h->timer, due_ms);
}

static void claim(struct engine_http *h, int64_t dead_id);

static void
on_timer(struct timer *t)
{
    struct engine_http *h =
        (struct engine_http *)((char *)t - offsetof(struct engine_http, timer));
    const struct store_session *s = &h->session;
    int64_t now_ms = clock_now_ms();
    if (h->state != HTTP_PARKED || h->is_upgraded) /* poll_turn comes */
        return;
    int64_t gen = s->gen;
    if (store_read_session_by_id(h->e->store, s->session_id, &h->session) != RC_OK) {
        timers_arm(&h->e->timers, t, now_ms + 1);
        return;
    }
    h->session.gen = gen; /* of the cursor; the rest is as POSTs have left it */
    h->session.reason = STR_NONE;
    h->sub.form = engine_form(h->e, s->protocol, (enum sio_parser)s->parser);
    if (session_is_dead(s, now_ms)) {
        session_expire(h->e, s, now_ms); /* its row comes back and ends this poll */
        timers_arm(&h->e->timers, t, now_ms + RETRY_MS);
        return;
    }
    if (now_ms < wake_ms(h)) {
        if (h->has_claim)
            arm(h);
        else
            claim(h, 0);
        return;
    }
    /* EIO-PING */
    if (!s->is_pinged && s->protocol != 3 && now_ms >= s->ping_ms)
        h->is_ping = true;
    else
        h->is_noop = true;
    answer(h);
}

/* ---- claim ---- */

static void
retry(struct engine_http *h)
{
    h->state = HTTP_BUSY;
    adapter_leave(&h->e->adapter, &h->sub);
    due_clear(&h->due);
    h->is_noop = h->is_ping = h->is_close = h->is_upgraded = false;
    h->has_replay = h->has_claim = false;
    h->session = (struct store_session){0};
    if (clock_now_ms() - h->begun_ms > TRY_MS)
        http_answer_empty(h, 503);
    else
        engine_later(h->e, &h->later, poll_turn);
}

static void
parked(struct engine_http *h)
{
    h->state = HTTP_PARKED;
    if (h->e->is_draining)
        h->is_noop = true;
    if (h->due.n > 0 || h->is_noop || h->is_close || h->is_upgraded)
        engine_later(h->e, &h->later, poll_turn);
    else
        arm(h);
}

static void
on_claimed(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    if (r->rc == RC_CONFLICT) {
        h->was_parked = true;
        retry(h);
        return;
    }
    if (r->rc != RC_OK) {
        log_error("engine", "poll.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        http_answer_empty(h, 503);
        return;
    }
    h->has_claim = true;
    h->session.gen = r->lease.gen;
    h->session.upgrade_id = r->lease.upgrade_id;
    if (h->answer == NULL) {
        poll_gone(h);
        return;
    }
    parked(h);
}

static void
claim(struct engine_http *h, int64_t dead_id)
{
    struct store_unit *u = store_unit_create();
    h->state = HTTP_BUSY;
    store_unit_poll_claim(u, h->session.session_id, h->session.gen, dead_id, h->begun_ms);
    engine_submit(h->e, u, on_claimed, h);
}

/* EIO-POLL */
static void
park(struct engine_http *h, int64_t dead_id)
{
    const struct store_session *s = &h->session;
    enum rc rc = expand(h);
    if (rc != RC_OK) {
        if (rc == RC_NOTFOUND)
            end_of_log(h);
        else
            retry(h);
        return;
    }
    h->is_ping = !s->is_pinged && s->protocol != 3 && clock_now_ms() >= s->ping_ms;
    if (h->due.n > 0 || h->is_ping || h->hold_ms == 0) {
        struct store_unit *u = store_unit_create();
        int64_t cursor = cut(h);
        h->state = HTTP_ANSWERING;
        adapter_leave(&h->e->adapter, &h->sub);
        store_unit_poll_once(u, s->session_id, s->gen, dead_id, cursor, h->is_ping);
        engine_submit(h->e, u, on_answered, h);
        return;
    }
    h->sub.ops = &poll_ops;
    adapter_enter(&h->e->adapter, &h->sub);
    if (dead_id != 0)
        claim(h, dead_id);
    else
        parked(h);
}

/* ---- the ride: an event's commit is that of its answer, too ---- */

/* PARKED with nothing queued: nothing is due, and nothing else is about to happen to it.
 * Before the CONNECT its form is not known. */
struct engine_http *
poll_ride(struct engine *e, struct store_unit *u, int64_t session_id)
{
    struct sub *s = map_find(&e->adapter.sessions, session_id);
    if (s == NULL || s->ops != &poll_ops)
        return NULL;
    struct engine_http *h = http_of_sub(s);
    if (h->state != HTTP_PARKED || h->later.is_queued || h->session.connect_due_ms != 0)
        return NULL;
    store_unit_poll_ride(u, &(struct store_ride){session_id, h->session.gen,
                                                 store_seen(e->store),
                                                 e->cfg->max_payload_bytes});
    h->state = HTTP_RIDING;
    return h;
}

/* All rows up to the new cursor have come: those before the poll is in its snapshot, the
 * rest through the index. What is behind it is left to the next poll, as is a close. */
void
poll_ridden(struct engine_http *h, const struct store_result *r)
{
    size_t n = 0;
    if (r->ride.gen != 0) {
        h->session.gen = r->ride.gen;
        h->session.cursor_seq = r->ride.cursor_seq;
        h->has_claim = false;
        while (n < h->due.n && h->due.p[n]->seq <= r->ride.cursor_seq)
            n++;
    }
    if (h->answer == NULL) {
        poll_gone(h);
        return;
    }
    if (n == 0) {
        parked(h);
        return;
    }
    while (h->due.n > n)
        store_packet_unref(h->due.p[--h->due.n]);
    h->is_noop = h->is_close = false;
    h->state = HTTP_ANSWERING;
    send_answer(h);
}

/* ---- the session as found ---- */

/* Is the poll that owns the session one of ours that has left already, its release not
 * committed yet? */
static bool
is_releasing(struct engine_http *h)
{
    for (const struct engine_http *o = h->e->https; o != NULL; o = o->next)
        if (o != h && !o->is_post && o->session.session_id == h->session.session_id &&
            o->answer != NULL)
            return false;
    return true;
}

static bool
is_server_side(struct str reason)
{
    switch (sio_reason_find(reason)) {
    case SIO_R_SERVER_NSP:
    case SIO_R_SHUTTING_DOWN:
    case SIO_R_FORCED_CLOSE:
    case SIO_R_FORCED_SERVER_CLOSE:
        return true;
    case SIO_R_NONE:
    case SIO_R_CLIENT_NSP:
    case SIO_R_PING_TIMEOUT:
    case SIO_R_TRANSPORT_CLOSE:
    case SIO_R_TRANSPORT_ERROR:
    case SIO_R_PARSE_ERROR:
        return false;
    }
    return false;
}

/* Does another poll of this process stand in the index for the session? It must not be
 * driven out: it would never hear of the end. */
static bool
has_twin(const struct engine_http *h)
{
    struct sub *o = map_find(&h->e->adapter.sessions, h->session.session_id);
    return o != NULL && o != &h->sub && o->ops == &poll_ops &&
           http_of_sub(o)->answer != NULL;
}

/* Another process holds a poll of this session. Which of the two is the second goes by
 * when they came, not by which was claimed first; the other one is told by the close row.
 */
/* EIO-POLL-OVERLAP */
static void
overlap(struct engine_http *h)
{
    struct engine *e = h->e;
    if (h->begun_ms >= h->session.poll_ms) {
        http_close_session(h, false);
        return;
    }
    struct store_unit *u = store_unit_create();
    adapter_leave(&e->adapter, &h->sub);
    due_clear(&h->due);
    h->state = HTTP_ANSWERING;
    h->is_close = true;
    session_close_for_poll(e, u, h->session.session_id, h->begun_ms);
    engine_submit(e, u, on_told, h);
}

/* What the session's state alone decides; true: answered, or to be tried again. */
static bool
judge(struct engine_http *h, int64_t *dead_id)
{
    struct engine *e = h->e;
    const struct store_session *s = &h->session;
    int64_t now_ms = clock_now_ms();
    if (s->protocol != h->protocol) {
        http_answer_error(h, EIO_E_BAD_REQUEST,
                          "PROTOCOL_MISMATCH"); /* EIO-PROTOCOL-MISMATCH */
    } else if (h->is_odd) {
        http_answer_empty(h, 500); /* EIO-METHOD-ODD */
    } else if (s->is_websocket) {
        http_answer_error(h, EIO_E_BAD_REQUEST,
                          "TRANSPORT_MISMATCH"); /* EIO-POLL-UPGRADED */
    } else if (session_is_dead(s, now_ms)) {
        session_expire(e, s, now_ms);
        http_answer_error(h, EIO_E_SID_UNKNOWN, NULL);
    } else if (has_twin(h)) {
        http_close_session(h, false); /* EIO-POLL-OVERLAP */
    } else if (s->owner_id != 0 && s->owner_id == store_process_id(e->store) &&
               is_releasing(h)) {
        retry(h);
    } else if (s->owner_id != 0 && store_process_is_alive(e->store, s->owner_id)) {
        overlap(h);
    } else {
        *dead_id = s->owner_id;
        return false;
    }
    return true;
}

/* An upgrade owner that died or is late: anybody resets the session to polling (design
 * 7). */
/* EIO-UPGRADE-TIMEOUT */
static void
reset_upgrade(struct engine_http *h)
{
    struct store_session *s = &h->session;
    if (s->upgrade_id == 0 || (s->upgrade_due_ms > clock_now_ms() &&
                               store_process_is_alive(h->e->store, s->upgrade_id)))
        return;
    struct store_unit *u = store_unit_create();
    store_unit_upgrade_reset(u, s->session_id, s->upgrade_id);
    engine_submit(h->e, u, NULL, NULL);
    s->upgrade_id = 0;
}

/* EIO-ANYWHERE */
static void
poll_try(struct engine_http *h)
{
    struct engine *e = h->e;
    int64_t max_seq = 0, dead_id = 0;
    h->state = HTTP_BUSY;
    if (h->answer == NULL && e->cfg->aborted_poll != CFG_ABORT_STRICT) {
        http_free(h);
        return;
    }
    enum rc rc = store_fence(e->store);
    if (rc == RC_OK)
        rc = store_read_begin(e->store, &max_seq);
    if (rc != RC_OK) {
        retry(h);
        return;
    }
    rc = store_read_session(e->store, str_of(h->eio_sid), &h->session);
    if (h->answer == NULL) { /* given up while the store could not be read */
        store_read_end(e->store);
        if (rc == RC_BUSY)
            retry(h);
        else if (rc == RC_OK && !h->session.is_closed && !h->session.is_websocket)
            poll_gone(h);
        else
            http_free(h);
        return;
    }
    bool is_closed = rc == RC_OK && h->session.is_closed;
    bool is_told = !is_closed || h->session.is_told || !is_server_side(h->session.reason);
    if (is_closed && is_told && h->was_parked)
        end_by(h, h->session.reason);
    h->session.reason = STR_NONE; /* was borrowed */
    bool is_open = rc == RC_OK && !is_closed;
    bool is_load =
        rc == RC_OK && (is_open || !is_told) && !h->session.is_websocket && !h->is_odd;
    if (is_load) {
        h->sub.session_id = h->session.session_id;
        h->sub.form =
            engine_form(e, h->session.protocol, (enum sio_parser)h->session.parser);
        rc = session_load(e, &h->sub, h->session.cursor_seq, max_seq, &h->due);
        if (rc == RC_NOTFOUND) {
            store_read_end(e->store);
            end_of_log(h);
            return;
        }
    }
    h->hold_ms = hold_choose(e);
    store_read_end(e->store);
    if (rc == RC_OK && is_closed && is_told && h->was_parked && !h->is_refused) {
        send_answer(h); /* it was here before the end */
    } else if (rc == RC_NOTFOUND || (is_closed && is_told)) {
        http_answer_error(h, EIO_E_SID_UNKNOWN, NULL); /* EIO-SID */
    } else if (rc != RC_OK) {
        retry(h);
    } else if (is_closed) {
        h->is_close = h->is_noop = true; /* 6, then 1 */
        tell_closed(h);
    } else if (!judge(h, &dead_id)) {
        h->parked_ms = clock_now_ms();
        reset_upgrade(h);
        park(h, dead_id);
    }
}

void
poll_begin(struct engine_http *h)
{
    h->timer.fn = on_timer;
    h->begun_ms = clock_now_ms();
    poll_try(h);
}

void
poll_gone(struct engine_http *h)
{
    struct engine *e = h->e;
    if (e->cfg->aborted_poll == CFG_ABORT_STRICT) { /* EIO-POLL-ABORT */
        struct store_unit *u = store_unit_create();
        session_close_for_poll(e, u, h->session.session_id, 1); /* no other is right */
        engine_submit(e, u, NULL, NULL);
    } else if (h->has_claim) { /* nothing was sent: the cursor stays, the lease is free
                                  again */
        struct store_unit *u = store_unit_create();
        store_unit_poll_answer(u, h->session.session_id, h->session.gen,
                               h->session.cursor_seq, false);
        engine_submit(e, u, NULL, NULL);
    }
    http_free(h);
}

void
poll_drain(struct engine_http *h)
{
    if (h->state != HTTP_PARKED)
        return;
    h->is_noop = true;
    poll_turn(&h->later);
}
