/*
 * Connections: from the accepted descriptor to the last byte of the answer.
 *
 *                 variables           body              answer           written
 *   IDLE --> HEAD ---------> BODY ------------> WAIT ------------> WRITE ---------> IDLE
 * (kept) or CLOSED ^          \             | answer            (a poll parks)     ^
 *  (accept)      \            v               end of body            |
 *                 \--------> DRAIN ----------------------------------+
 *
 * IDLE    nothing of a request has come; a fresh connection is here too, but in the list
 * of those with a deadline HEAD    a request has begun BODY    the engine knows the
 * request; the body is coming DRAIN   the answer is in `out`; it goes out when the body
 * has come, so that no web server sees a closed pipe WAIT    the engine has all; nothing
 * of the request is held here WRITE   the engine is done; the web server is slow to read
 * CLOSED  the descriptor is closed; memory goes back before the loop sleeps (M6)
 *
 * All descriptors stand in one epoll set of our own, which is one handle of the loop: no
 * allocation, and one system call instead of four, for a request that cannot be answered
 * at once. Most are answered in some milliseconds, so a connection comes into the set
 * only when it has waited for FRESH_MS: until then nobody looks whether the peer has
 * gone. What is read is read into one buffer of the process, and what is answered is
 * encoded into another one; a connection holds only what is incomplete.
 *
 * Invariants:
 * 1. `http` is set exactly while the engine owes an answer, and then only in BODY and
 * WAIT.
 * 2. A descriptor is closed by conn_close() only; a CLOSED connection is never touched
 * but to be freed.
 * 3. Each connection is in exactly one list: the one of its state (list_of).
 * 4. No peer can make us wait, or hold more than the variables, a body and an answer.
 *
 * The loop thread of siolite.fcgi.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "fcgi/inbound.h"
#include "fcgi/response.h"

enum { READ_BYTES = 64 * 1024, EVENTS_MAX = 256 };
static const uint32_t REPLY_BYTES_MAX =
    64 * 1024; /* answers of the protocol, for one request */
static const size_t OUT_BYTES_KEPT = 256 * 1024;
static const int64_t REQUEST_MS = 10000; /* for a request to become complete */
static const int64_t WRITE_MS = 60000;   /* for a web server to take some of an answer */
static const int64_t FINISH_MS = 5000;   /* the same, when the process ends */
static const uint64_t TICK_MS = 1000;
static const uint64_t FRESH_MS = 20;
static const uint32_t FRESH_BYTES_MIN =
    32 * 1024; /* of a body in REQUEST_MS: worth going on */

enum conn_state {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_DRAIN,
    CONN_WAIT,
    CONN_WRITE,
    CONN_CLOSED
};

/* READ and WRITE are ordered by since_ms, so that the first one is the first to be late.
 */
enum conn_list {
    LIST_READ,
    LIST_WRITE,
    LIST_FRESH, /* WAIT, not in the epoll set yet; ordered likewise */
    LIST_WAIT,
    LIST_KEPT,
    LIST_DEAD,
    N_LISTS
};

struct conn {
    struct conn *prev, *next;
    struct fcgi_conns *cs;
    struct engine_http *http;
    int64_t since_ms;       /* when it came into its list */
    int64_t content_length; /* of the body; -1: not known */
    struct buf out;         /* not written yet, from n_out_sent on */
    size_t n_out_sent;
    struct fcgi_inbound in;
    int fd;
    uint32_t n_fresh;      /* bytes of the body since since_ms */
    uint32_t n_reply;      /* bytes that the protocol answered since the last request */
    uint32_t epoll_events; /* what the set waits for; 0: not in it */
    uint8_t state;         /* enum conn_state */
    uint8_t list;          /* enum conn_list */
    uint8_t coding;        /* enum fcgi_coding */
    bool is_used;          /* a request was answered here */
};

struct list {
    struct conn *first, *last;
};

struct fcgi_conns {
    struct fcgi_conns_options o;
    struct fcgi_limits limits;
    struct list lists[N_LISTS];
    size_t n_conns;
    int epoll_fd;
    bool is_draining;
    void (*on_empty)(void *arg); /* set by fcgi_conns_finish */
    void *on_empty_arg;
    uv_poll_t poll;
    uv_timer_t timer;     /* runs while READ or WRITE have members */
    uv_timer_t fresh;     /* runs while FRESH has */
    uv_prepare_t reaper;  /* before the loop sleeps */
    struct conn *feeding; /* whose input is being looked at: watched afterwards */
    struct fcgi_deflater *deflater;
    struct fcgi_request request; /* of the call at hand */
    struct buf out, head, reply; /* likewise */
    char bytes[READ_BYTES];
};

/* ---- lists */

static void
list_remove(struct list *l, struct conn *c)
{
    *(c->prev ? &c->prev->next : &l->first) = c->next;
    *(c->next ? &c->next->prev : &l->last) = c->prev;
    c->prev = c->next = NULL;
}

static void
list_append(struct list *l, struct conn *c)
{
    c->prev = l->last;
    c->next = NULL;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

static enum conn_list
list_of(const struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        return c->is_used ? LIST_KEPT : LIST_READ;
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_DRAIN:
        return LIST_READ;
    case CONN_WAIT:
        return c->epoll_events ? LIST_WAIT : LIST_FRESH;
    case CONN_WRITE:
        return LIST_WRITE;
    case CONN_CLOSED:
        return LIST_DEAD;
    }
    return LIST_DEAD;
}

static void on_timer(uv_timer_t *timer);
static void on_fresh(uv_timer_t *timer);

static void
start(uv_timer_t *timer, uv_timer_cb fn, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)timer) && !uv_is_closing((uv_handle_t *)timer))
        uv_timer_start(timer, fn, ms, ms);
}

/* At the end of its list, with the time of now. */
static void
conn_queue(struct conn *c)
{
    struct fcgi_conns *cs = c->cs;
    list_remove(&cs->lists[c->list], c);
    c->list = (uint8_t)list_of(c);
    c->since_ms = clock_now_ms();
    c->n_fresh = 0;
    list_append(&cs->lists[c->list], c);
    if (c->list == LIST_READ || c->list == LIST_WRITE)
        start(&cs->timer, on_timer, TICK_MS);
    else if (c->list == LIST_FRESH)
        start(&cs->fresh, on_fresh, FRESH_MS);
}

static void
conn_set_state(struct conn *c, enum conn_state state)
{
    assert(c->state != CONN_CLOSED);
    c->state = (uint8_t)state;
    if (list_of(c) != c->list)
        conn_queue(c);
}

/* ---- the end */

static void
conn_close(struct conn *c)
{
    struct fcgi_conns *cs = c->cs;
    struct engine_http *http = c->http;
    if (c->state == CONN_CLOSED)
        return;
    close(c->fd); /* and out of the epoll set by that */
    fcgi_inbound_fini(&c->in);
    buf_fini(&c->out);
    c->http = NULL;
    conn_set_state(c, CONN_CLOSED);
    cs->n_conns--;
    if (http)
        engine_http_gone(http);
    if (cs->o.on_close)
        cs->o.on_close(cs->o.arg);
}

static void
reap(struct fcgi_conns *cs)
{
    struct conn *c;
    while ((c = cs->lists[LIST_DEAD].first)) {
        list_remove(&cs->lists[LIST_DEAD], c);
        free(c);
    }
}

static void
check_empty(struct fcgi_conns *cs)
{
    void (*on_empty)(void *arg) = cs->on_empty;
    if (on_empty && cs->n_conns == 0) {
        cs->on_empty = NULL;
        on_empty(cs->on_empty_arg);
    }
}

/* ---- writing */

static bool
is_sending(const struct conn *c)
{
    return c->out.len > c->n_out_sent && c->state != CONN_DRAIN;
}

/* Tells the set what this connection waits for. */
static void
conn_watch_now(struct conn *c)
{
    uint32_t events = is_sending(c) ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (c->state == CONN_CLOSED || c->epoll_events == events)
        return;
    if (epoll_ctl(c->cs->epoll_fd, c->epoll_events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
                  &ev) != 0) {
        log_error("fcgi", "conn.epoll", LOG_I("errno", errno));
        conn_close(c);
        return;
    }
    c->epoll_events = events;
}

static void
conn_watch(struct conn *c)
{
    if (c->list != LIST_FRESH)
        conn_watch_now(c);
}

/* Writes what it can; how many bytes, or -1: the connection is broken. */
static ssize_t
write_some(int fd, struct str bytes)
{
    size_t n_sent = 0;
    while (n_sent < bytes.len) {
        ssize_t n = send(fd, bytes.p + n_sent, bytes.len - n_sent, MSG_NOSIGNAL);
        if (n >= 0)
            n_sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)n_sent;
}

/* Everything is written: what now? */
static void
conn_sent(struct conn *c)
{
    buf_fini(&c->out);
    c->n_out_sent = 0;
    if (c->state != CONN_WRITE)
        return;
    fcgi_inbound_finish(&c->in);
    c->is_used = true;
    c->n_reply = 0;
    if (c->in.is_kept && !c->cs->is_draining)
        conn_set_state(c, CONN_IDLE);
    else
        conn_close(c);
}

static void
conn_flush(struct conn *c)
{
    struct str rest = str_slice(buf_str(&c->out), c->n_out_sent, c->out.len);
    ssize_t n = write_some(c->fd, rest);
    if (n < 0) {
        conn_close(c);
        return;
    }
    c->n_out_sent += (size_t)n;
    if (c->n_out_sent == c->out.len)
        conn_sent(c);
    else if (n > 0)
        conn_queue(c); /* progress: another WRITE_MS */
}

/* Sends bytes of the process's buffer; only what can't be written now is copied. */
static void
conn_send(struct conn *c, struct str bytes)
{
    ssize_t n = 0;
    if (c->out.len == 0 && c->state != CONN_DRAIN) {
        n = write_some(c->fd, bytes);
        if (n < 0) {
            conn_close(c);
            return;
        }
        if ((size_t)n == bytes.len) {
            conn_sent(c);
            return;
        }
    }
    buf_append_str(&c->out, str_slice(bytes, (size_t)n, bytes.len));
}

/* ---- requests */

/* The engine's answer, or ours; perhaps from within engine_http_begin(). */
static void
on_answer(void *arg, const struct engine_answer *a)
{
    struct conn *c = arg;
    struct fcgi_conns *cs = c->cs;
    struct str body;
    assert(c->state == CONN_BODY || c->state == CONN_WAIT);

    c->http = NULL;
    buf_clear(&cs->head);
    if (cs->out.cap > OUT_BYTES_KEPT)
        buf_fini(&cs->out);
    buf_clear(&cs->out);
    fcgi_response_encode(cs->deflater, &cs->head, &body, a, (enum fcgi_coding)c->coding);
    fcgi_record_encode(&cs->out, FCGI_STDOUT, c->in.req_id, buf_str(&cs->head), body);
    fcgi_record_encode_end(&cs->out, FCGI_STDOUT, c->in.req_id);
    fcgi_record_encode_finish(&cs->out, c->in.req_id, FCGI_REQUEST_COMPLETE);

    conn_set_state(c, c->state == CONN_WAIT ? CONN_WRITE : CONN_DRAIN);
    conn_send(c, buf_str(&cs->out));
    if (cs->feeding != c)
        conn_watch(c);
}

/* What never reaches the engine, which knows no such request. */
static void
conn_refuse(struct conn *c, int status)
{
    log_info("fcgi", "request.refuse", LOG_I("status", status));
    on_answer(c, &(struct engine_answer){.status = status});
}

/* The variables into cs->request. */
static enum rc
read_params(struct fcgi_conns *cs, struct str pairs)
{
    struct str name, value;
    enum rc rc;
    fcgi_request_begin(&cs->request, pairs.len);
    while ((rc = fcgi_record_next_pair(&pairs, &name, &value)) == RC_OK) {
        rc = fcgi_request_add(&cs->request, name, value);
        if (rc != RC_OK)
            return rc;
    }
    if (rc != RC_NOTFOUND)
        return rc;
    fcgi_request_end(&cs->request, cs->o.cfg->trusted_proxy);
    return RC_OK;
}

static void
on_head(struct conn *c, const struct fcgi_happening *h)
{
    struct fcgi_conns *cs = c->cs;
    enum rc rc = h->is_too_big ? RC_TOOBIG : read_params(cs, h->data);
    conn_set_state(c, CONN_BODY);
    if (rc != RC_OK) {
        c->coding = FCGI_CODING_NONE;
        c->content_length = -1;
        conn_refuse(c, rc == RC_TOOBIG
                           ? 431
                           : 400); /* not R3: the engine's table speaks of sessions */
        return;
    }
    c->coding = (uint8_t)cs->request.coding;
    c->content_length = cs->request.content_length;
    c->http = engine_http_begin(cs->o.engine, &cs->request.engine, on_answer, c);
}

static void
on_body(struct conn *c, const struct fcgi_happening *h)
{
    if (c->state == CONN_DRAIN) {
        conn_set_state(c, CONN_WRITE);
        conn_flush(c);
        return;
    }
    if (!h->is_too_big && c->content_length > (int64_t)h->data.len) {
        log_info("fcgi", "request.short", LOG_I("expected", c->content_length),
                 LOG_I("got", (int64_t)h->data.len));
        conn_close(c);
        return;
    }
    conn_set_state(c, CONN_WAIT);
    engine_http_body(c->http, h->data, h->is_too_big);
}

static void
on_abort(struct conn *c)
{
    struct engine_http *http = c->http;
    struct buf *out = &c->cs->reply;
    if (c->state == CONN_WRITE)
        return; /* too late */
    log_debug("fcgi", "request.abort", LOG_I("state", c->state));
    c->http = NULL;
    buf_fini(&c->out); /* an answer that waited for the body */
    c->n_out_sent = 0;
    if (http)
        engine_http_gone(http);
    buf_clear(out);
    fcgi_record_encode_end(out, FCGI_STDOUT, c->in.req_id);
    fcgi_record_encode_finish(out, c->in.req_id, FCGI_REQUEST_COMPLETE);
    conn_set_state(c, CONN_WRITE);
    conn_send(c, buf_str(out));
}

static void
on_happening(struct conn *c, const struct fcgi_happening *h)
{
    switch (h->event) {
    case FCGI_EV_HEAD:
        on_head(c, h);
        break;
    case FCGI_EV_BODY:
        on_body(c, h);
        break;
    case FCGI_EV_ABORT:
        on_abort(c);
        break;
    case FCGI_EV_REFUSED: /* its answer is on the way */
    case FCGI_EV_NONE:
        break;
    }
}

/* ---- reading */

/* One step through the input. False: enough for now. */
static bool
feed_step(struct conn *c, struct str *bytes)
{
    struct fcgi_conns *cs = c->cs;
    struct fcgi_happening h;

    if (c->state == CONN_IDLE && bytes->len)
        conn_set_state(c, CONN_HEAD);
    buf_clear(&cs->reply);
    if (fcgi_inbound_next(&c->in, bytes, &cs->limits, &cs->reply, &h) != RC_OK) {
        log_info("fcgi", "conn.protocol", LOG_I("state", c->state));
        conn_close(c);
        return false;
    }
    if (h.event == FCGI_EV_REFUSED)
        conn_set_state(c, CONN_WRITE);
    if (cs->reply.len) {
        c->n_reply += (uint32_t)cs->reply.len;
        if (c->n_reply > REPLY_BYTES_MAX)
            conn_close(c);
        else
            conn_send(c, buf_str(&cs->reply));
    }
    if (c->state == CONN_CLOSED)
        return false;
    on_happening(c, &h);
    return c->state != CONN_CLOSED && h.event != FCGI_EV_NONE;
}

static void
conn_feed(struct conn *c, struct str bytes)
{
    struct fcgi_conns *cs = c->cs;
    if (c->state == CONN_BODY && c->n_fresh < FRESH_BYTES_MIN)
        c->n_fresh += (uint32_t)bytes.len;
    cs->feeding = c;
    while (feed_step(c, &bytes))
        ;
    cs->feeding = NULL;
    /* Management records alone are no request. */
    if (c->state == CONN_HEAD && c->in.state == FCGI_INBOUND_IDLE &&
        c->in.reader.n_head == 0)
        conn_set_state(c, CONN_IDLE);
}

static void
conn_read(struct conn *c)
{
    struct fcgi_conns *cs = c->cs;
    ssize_t n = recv(c->fd, cs->bytes, sizeof cs->bytes, 0);
    if (n > 0)
        conn_feed(c, (struct str){cs->bytes, (size_t)n});
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        conn_close(c);
    conn_watch(c);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct fcgi_conns *cs = poll->data;
    struct epoll_event ready[EVENTS_MAX];
    int n = epoll_wait(cs->epoll_fd, ready, EVENTS_MAX, 0);
    (void)status;
    (void)events;
    for (int i = 0; i < n; i++) {
        struct conn *c = ready[i].data.ptr;
        if (c->state == CONN_CLOSED)
            continue;
        if (is_sending(c)) {
            conn_flush(c);
            conn_watch(c);
        } else {
            conn_read(c);
        }
    }
}

/* ---- time */

/* Its request did not become complete. */
static void
conn_late(struct conn *c)
{
    if (c->state == CONN_BODY && c->n_fresh >= FRESH_BYTES_MIN &&
        !c->in.stream.is_too_big) {
        conn_queue(c); /* slow, but worth waiting for */
        return;
    }
    log_info("fcgi", "request.timeout", LOG_I("state", c->state));
    if (c->state == CONN_DRAIN) {
        c->in.is_kept = false;
        conn_set_state(c, CONN_WRITE);
        conn_flush(c);
        conn_watch(c);
    } else {
        conn_close(c);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct fcgi_conns *cs = timer->data;
    struct list *reading = &cs->lists[LIST_READ], *writing = &cs->lists[LIST_WRITE];
    int64_t now_ms = clock_now_ms();
    int64_t write_ms = cs->on_empty ? FINISH_MS : WRITE_MS;
    while (reading->first && reading->first->since_ms <= now_ms - REQUEST_MS)
        conn_late(reading->first);
    while (writing->first && writing->first->since_ms <= now_ms - write_ms) {
        log_info("fcgi", "answer.timeout",
                 LOG_I("bytes",
                       (int64_t)(writing->first->out.len - writing->first->n_out_sent)));
        conn_close(writing->first);
    }
    if (reading->first == NULL && writing->first == NULL)
        uv_timer_stop(timer);
}

/* Those that have waited: now it matters whether the peer is there. */
static void
on_fresh(uv_timer_t *timer)
{
    struct fcgi_conns *cs = timer->data;
    struct list *fresh = &cs->lists[LIST_FRESH];
    int64_t now_ms = clock_now_ms();
    while (fresh->first && fresh->first->since_ms <= now_ms - (int64_t)FRESH_MS) {
        struct conn *c = fresh->first;
        conn_watch_now(c);
        if (c->state != CONN_CLOSED)
            conn_queue(c);
    }
    if (fresh->first == NULL)
        uv_timer_stop(timer);
}

static void
on_prepare(uv_prepare_t *reaper)
{
    struct fcgi_conns *cs = reaper->data;
    reap(cs);
    check_empty(cs);
}

/* ---- all of them */

void
fcgi_conns_configure(struct fcgi_conns *cs)
{
    cs->limits.body_bytes_max = (size_t)cs->o.cfg->max_payload_bytes;
}

enum rc
fcgi_conns_create(struct fcgi_conns **out, const struct fcgi_conns_options *o)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct fcgi_conns *cs;
    if (epoll_fd < 0)
        return RC_IO;
    cs = xcalloc(1, sizeof *cs);
    cs->o = *o;
    cs->epoll_fd = epoll_fd;
    fcgi_conns_configure(cs);
    cs->limits.n_conns_max = o->n_max;
    if (uv_poll_init(o->loop, &cs->poll, epoll_fd) != 0)
        goto fail_poll;
    cs->deflater = fcgi_deflater_create();
    uv_timer_init(o->loop, &cs->timer);
    uv_timer_init(o->loop, &cs->fresh);
    uv_prepare_init(o->loop, &cs->reaper);
    cs->poll.data = cs->timer.data = cs->fresh.data = cs->reaper.data = cs;
    uv_poll_start(&cs->poll, UV_READABLE, on_poll);
    uv_prepare_start(&cs->reaper, on_prepare);
    *out = cs;
    return RC_OK;

fail_poll:
    close(epoll_fd);
    free(cs);
    return RC_IO;
}

void
fcgi_conns_add(struct fcgi_conns *cs, int fd)
{
    struct conn *c = xcalloc(1, sizeof *c);
    c->cs = cs;
    c->fd = fd;
    c->list = LIST_READ;
    list_append(&cs->lists[LIST_READ], c);
    conn_queue(c);
    cs->n_conns++;
    conn_read(c);
}

size_t
fcgi_conns_count(const struct fcgi_conns *cs)
{
    return cs->n_conns;
}

static void
close_all(struct fcgi_conns *cs, enum conn_list list)
{
    while (cs->lists[list].first)
        conn_close(cs->lists[list].first);
}

void
fcgi_conns_drain(struct fcgi_conns *cs)
{
    cs->is_draining = true;
    close_all(cs, LIST_KEPT);
}

void
fcgi_conns_finish(struct fcgi_conns *cs, void (*on_empty)(void *arg), void *arg)
{
    cs->on_empty = on_empty;
    cs->on_empty_arg = arg;
    fcgi_conns_drain(cs);
    close_all(cs, LIST_READ);
    close_all(cs, LIST_FRESH);
    close_all(cs, LIST_WAIT);
}

void
fcgi_conns_close(struct fcgi_conns *cs)
{
    for (int list = 0; list < LIST_DEAD; list++)
        close_all(cs, (enum conn_list)list);
    reap(cs);
    uv_close((uv_handle_t *)&cs->poll, NULL);
    uv_close((uv_handle_t *)&cs->timer, NULL);
    uv_close((uv_handle_t *)&cs->fresh, NULL);
    uv_close((uv_handle_t *)&cs->reaper, NULL);
}

void
fcgi_conns_destroy(struct fcgi_conns *cs)
{
    if (cs == NULL)
        return;
    assert(cs->n_conns == 0);
    close(cs->epoll_fd);
    fcgi_deflater_destroy(cs->deflater);
    fcgi_request_fini(&cs->request);
    buf_fini(&cs->out);
    buf_fini(&cs->head);
    buf_fini(&cs->reply);
    free(cs);
}
