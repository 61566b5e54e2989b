/*
 * Running handlers, and what they may ask about their caller. Verbs are in verbs.c, reads
 * of others in fetch.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/call.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/incoming.h"
#include "core/engine/retry.h"
#include "core/sio/json.h"

#define SLOW_MS 50

/* ---- the call itself ---- */

void
call_fail(struct app_call *c, enum rc rc, const char *fmt, ...)
{
    if (c->error != RC_OK)
        return;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&c->error_text, fmt, args) < 0)
        abort();
    va_end(args);
    c->error = rc;
}

void *
call_lend(struct app_call *c, size_t n)
{
    size_t n_small = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (n_small <= sizeof c->small - c->n_small) {
        void *p = c->small + c->n_small;
        c->n_small += n_small;
        return memset(p, 0, n);
    }
    struct call_loan *l = xcalloc(1, sizeof *l + n);
    l->next = c->loans;
    c->loans = l;
    return l + 1;
}

char *
call_lend_str(struct app_call *c, struct str s)
{
    char *z = call_lend(c, s.len + 1);
    if (s.len > 0)
        memcpy(z, s.p, s.len);
    return z;
}

static void
call_init(struct app_call *c, struct work *w, struct work_socket *k, enum call_kind kind)
{
    memset(c, 0, offsetof(struct app_call, small));
    c->w = w;
    c->k = k;
    c->kind = kind;
    c->nsp_name = k ? k->nsp_name : "/";
    c->answers_end = &c->answers;
}

static void
call_fini(struct app_call *c)
{
    while (c->tos != NULL) {
        struct app_to *t = c->tos;
        c->tos = t->next;
        free(t->rooms.p);
        free(t->except.p);
        free(t->users.p);
    }
    for (size_t i = 0; c->arg_json != NULL && i < c->n_args; i++)
        json_decref(c->arg_json[i]);
    while (c->answers != NULL) {
        struct call_answer *a = c->answers;
        c->answers = a->next;
        json_decref(a->json);
        free(a);
    }
    json_decref(c->auth);
    json_decref(c->data);
    json_decref(c->handshake);
    while (c->loans != NULL) {
        struct call_loan *l = c->loans;
        c->loans = l->next;
        free(l);
    }
    free(c->retry_id);
    free(c->refusal);
    free(c->refusal_data);
    free(c->error_text);
}

static json_t *
parse(struct str text)
{
    return json_loadb(text.p, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* What came since `mark` counts together or not at all. */
static void
group(struct app_call *c, const struct work_mark *mark, const char *what)
{
    struct work *w = c->w;
    if (!work_may_fail(w, mark, c->k))
        return;
    const struct store_group_info info = {
        .what = str_of(what),
        .nsp = str_of(c->nsp_name),
        .sio_id = str_of(app_id(c)),
        .event = str_of(app_event(c)),
    };
    (void)store_unit_group(w->u, work_step_of(w, mark), c->k ? c->k->group : NULL, &info);
}

/* Runs one handler. Where it fails, what it added to the unit is taken back, and it is
 * logged once. */
static void
run(struct app_call *c, app_fn *fn, const char *what)
{
    struct work *w = c->w;
    const struct work_mark mark = work_mark(w);
    enum sio_reason close_reason = w->close_reason;
    bool was_over = w->is_over;
    struct work_socket *k = c->k;
    struct work_own own;
    if (k != NULL)
        work_own_save(k, &own);
    int64_t start_ms = clock_rough_ms();
    fn(c);
    int64_t took_ms = clock_rough_ms() - start_ms;
    w->e->counts.n[COUNT_HANDLER_SLOW] += took_ms > SLOW_MS;
    if (took_ms > SLOW_MS)
        log_warn("app", "handler.slow", LOG_Z("handler", what), LOG_Z("nsp", c->nsp_name),
                 LOG_I("ms", took_ms));
    if (c->error == RC_OK) {
        if (!c->is_part)
            group(c, &mark, what);
        if (k != NULL)
            work_own_fini(&own);
        return;
    }
    if (w->u != NULL)
        store_unit_truncate(w->u, work_step_of(w, &mark));
    while (w->n_direct > mark.n_direct)
        store_packet_unref(w->direct[--w->n_direct].p);
    w->close_reason = close_reason;
    w->is_over = was_over;
    if (k != NULL)
        work_own_restore(k, &own);
    if (c->error == RC_BUSY) { /* the WAL-index is being written: it is tried again */
        w->is_busy = true;
        return;
    }
    if (c->is_over_limit) {
        log_info("app", "handler.limit", LOG_Z("handler", what),
                 LOG_Z("nsp", c->nsp_name), LOG_Z("error", c->error_text));
        return;
    }
    w->e->counts.n[COUNT_HANDLER_FAILED]++;
    log_error("app", "handler.failed", LOG_Z("handler", what), LOG_Z("nsp", c->nsp_name),
              LOG_Z("code", rc_text(c->error)), LOG_Z("error", c->error_text));
}

static const char *
request_verb(enum call_kind kind)
{
    return kind == CALL_REQUEST   ? "app_on_request"
           : kind == CALL_HEADERS ? "app_on_headers"
                                  : "app_on_connection_error";
}

bool
call_may(struct app_call *c, const char *verb)
{
    if (c->request != NULL)
        call_fail(c, RC_INVALID, "%s: not in %s", verb, request_verb(c->request->kind));
    return c->request == NULL;
}

/* ---- entry points ---- */

/* Its handlers, C's and others; what they want is not a group yet.
 * SIO-MIDDLEWARE-PACKET */
static void
handle_event(struct app_call *c)
{
    struct work *w = c->w;
    const struct app_nsp *app = c->k->app;
    for (const struct app_handler *h = app->use_packet;
         h != NULL && !c->is_refused && c->error == RC_OK; h = h->next)
        run(c, h->fn, "packet middleware");
    c->kind = CALL_EVENT;
    if (!c->is_refused && c->error == RC_OK && app->on_event != NULL) {
        const struct app_handler *h =
            app_handler_find(app->on_event, str_of(app_event(c)), true);
        if (h != NULL)
            run(c, h->fn, h->name ? h->name : "any event");
    }
    if (!c->is_refused && c->error == RC_OK) {
        struct call_event rest = *c->ev;
        rest.has_ack_id = c->has_ack && !c->is_acked;
        incoming_event(w, c->k, &rest);
    }
}

/* SIO-UNHANDLED */
void
call_event(struct work *w, struct work_socket *k, const struct call_event *ev)
{
    struct app_call c;
    if (k->app == NULL)
        return;
    const struct work_mark mark = work_mark(w);
    enum retry_kind retry = retry_begin(w, k, ev);
    if (retry == RETRY_BUSY)
        w->is_busy = true;
    if (retry == RETRY_BUSY || retry == RETRY_AGAIN)
        return;
    call_init(&c, w, k, CALL_PACKET_MIDDLEWARE);
    c.is_part = true;
    c.ev = ev;
    c.has_ack = ev->has_ack_id;
    c.ack_id = ev->ack_id;
    if (retry == RETRY_FIRST)
        c.retry_id = retry_event_id(k, ev->ack_id);
    handle_event(&c);
    if (retry == RETRY_FIRST && (c.is_refused || c.error != RC_OK))
        store_unit_truncate(w->u, work_step_of(w, &mark)); /* the next try is the first */
    else if (retry == RETRY_FIRST)
        store_unit_block_end(w->u);
    group(&c, &mark, "event");
    call_fini(&c);
}

void
call_connect(struct work *w, struct work_socket *k)
{
    for (const struct app_handler *h = k->app->on_connect; h != NULL; h = h->next) {
        struct app_call c;
        call_init(&c, w, k, CALL_CONNECT);
        run(&c, h->fn, "connect");
        call_fini(&c);
    }
}

void
call_disconnect(struct work *w, struct work_socket *k, struct str reason)
{
    for (const struct app_handler *h = k->app ? k->app->on_disconnect : NULL; h != NULL;
         h = h->next) {
        struct app_call c;
        call_init(&c, w, k, CALL_DISCONNECT);
        c.reason = reason;
        run(&c, h->fn, "disconnect");
        call_fini(&c);
    }
}

enum call_verdict
call_middleware(struct work *w, struct work_socket *k, app_fn *fn, size_t number,
                char **message, char **data_json)
{
    struct app_call c;
    call_init(&c, w, k, CALL_MIDDLEWARE);
    c.is_connecting = c.is_part = true;
    c.number = number;
    run(&c, fn, "connection middleware");
    enum call_verdict verdict = c.is_held ? CALL_HELD : CALL_ACCEPTED;
    if (c.is_refused || c.error != RC_OK) {
        verdict = CALL_REFUSED;
        *message = c.is_refused ? c.refusal : xstrdup("Internal error");
        *data_json = c.refusal_data;
        c.refusal = c.refusal_data = NULL;
    }
    call_fini(&c);
    return verdict;
}

void
call_outgoing(struct app_call *of, const struct app_nsp *n, const char *nsp_name,
              const struct call_event *ev)
{
    for (const struct app_handler *h = n->on_outgoing; h != NULL; h = h->next) {
        struct app_call c;
        call_init(&c, of->w, of->k, CALL_OUTGOING);
        c.nsp_name = nsp_name;
        c.ev = ev;
        c.is_part = true;
        c.is_connecting = of->is_connecting;
        c.is_accepted = of->is_accepted;
        run(&c, h->fn, "outgoing");
        call_fini(&c);
    }
}

void
call_server_event(struct work *w, const struct nsp *nsp, const struct call_event *ev)
{
    struct app_call c;
    call_init(&c, w, NULL, CALL_SERVER_EVENT);
    c.nsp_name = nsp->name.p;
    c.ev = ev;
    c.has_ack = ev->has_ack_id;
    c.ack_id = ev->ack_id;
    c.ack_process_id = ev->has_ack_id ? store_process_id(w->e->store) : 0;
    const struct app_handler *h =
        app_handler_find(nsp->app->on_server_event, str_of(app_event(&c)), true);
    if (h != NULL)
        run(&c, h->fn, h->name ? h->name : "any server event");
    call_fini(&c);
}

void
call_presence(struct work *w, const char *nsp_name, const char *user, bool is_online)
{
    const struct app_nsp *nsp = app_registry_find(&w->e->app, str_of(nsp_name));
    for (const struct app_handler *h = nsp ? nsp->on_presence : NULL; h != NULL;
         h = h->next) {
        struct app_call c;
        call_init(&c, w, NULL, CALL_PRESENCE);
        c.nsp_name = nsp_name;
        c.user = call_lend_str(&c, str_of(user));
        c.has_user = true;
        c.is_online = is_online;
        run(&c, h->fn, "presence");
        call_fini(&c);
    }
}

enum call_verdict
call_request(struct work *w, const struct call_request *q, app_fn *fn, char **message)
{
    static const char *const names[] = {[CALL_REQUEST] = "request",
                                        [CALL_HEADERS] = "headers",
                                        [CALL_CONNECTION_ERROR] = "connection error"};
    struct app_call c;
    size_t n_headers = q->headers ? q->headers->len : 0;
    call_init(&c, w, NULL, q->kind);
    c.request = q;
    c.handshake = parse(buf_str(&q->said->json));
    c.remote = call_lend_str(&c, str_of(q->said->remote));
    run(&c, fn, names[q->kind]);
    if (q->headers != NULL && c.error != RC_OK)
        q->headers->len = n_headers;
    bool is_refused = q->kind == CALL_REQUEST && (c.is_refused || c.error != RC_OK);
    if (is_refused)
        *message = xstrdup(c.is_refused && c.refusal[0] ? c.refusal
                           : c.is_refused               ? "Forbidden"
                                                        : "Internal error");
    call_fini(&c);
    return is_refused ? CALL_REFUSED : CALL_ACCEPTED;
}

/* SIO-ASK-TIMEOUT */
void
call_later(struct work *w, struct work_socket *k, const struct call_later *l)
{
    struct app_call c;
    call_init(&c, w, k, CALL_LATER);
    c.ask_seq = l->ask_seq;
    later_unwrap(&c, l->wrapper);
    const struct app_nsp *nsp = app_registry_find(&w->e->app, str_of(c.nsp_name));
    const struct app_handler *h =
        nsp ? app_handler_find(nsp->on_later, str_of(l->name), false) : NULL;
    if (h == NULL) {
        log_error("app", "later.unknown", LOG_Z("name", l->name),
                  LOG_Z("nsp", c.nsp_name));
    } else {
        const struct work_mark mark = work_mark(w);
        c.is_part = c.is_connecting;
        run(&c, h->fn, h->name);
        if (c.is_connecting && c.error == RC_OK && c.is_accepted)
            connect_resume(w, c.k, c.number + 1);
        else if (c.is_connecting && (c.error != RC_OK || c.is_refused))
            connect_error(w, c.nsp_name, c.is_refused ? c.refusal : "Internal error",
                          c.refusal_data);
        if (c.is_connecting)
            connect_group(w, &mark, c.k, h->name);
    }
    call_fini(&c);
}

/* ---- the caller ---- */

const char *
app_id(struct app_call *c)
{
    return c->k ? c->k->sio_id : NULL;
}

const char *
app_nsp_name(struct app_call *c)
{
    return c->nsp_name;
}

const char *
app_reason(struct app_call *c)
{
    if (c->kind == CALL_CONNECTION_ERROR) {
        const struct request_error *error = c->request->error;
        return error->text ? error->text : eio_error_text(error->error);
    }
    return c->kind == CALL_DISCONNECT ? call_lend_str(c, c->reason) : NULL;
}

const char *
app_method(struct app_call *c)
{
    return c->request ? c->request->said->method : NULL;
}

bool
app_is_first(struct app_call *c)
{
    return c->request != NULL && c->request->said->is_first;
}

int
app_refusal_code(struct app_call *c)
{
    return c->kind == CALL_CONNECTION_ERROR ? (int)c->request->error->error : -1;
}

const char *
app_refusal_context(struct app_call *c)
{
    return c->kind == CALL_CONNECTION_ERROR ? c->request->error->context : NULL;
}

const char *
app_transport(struct app_call *c)
{
    if (!c->w->has_transport)
        return NULL;
    return c->w->transport == EIO_WEBSOCKET ? "websocket" : "polling";
}

int
app_protocol(struct app_call *c)
{
    return c->w->protocol;
}

/* Reads on the loop fail only while the WAL-index is being written: some nanoseconds,
 * unless its writer was killed in it. */
static enum rc
read_socket(struct app_call *c, struct store_socket *s)
{
    if (c->k == NULL || c->k->socket_id <= 0)
        return RC_NOTFOUND;
    enum rc rc = store_read_socket(c->w->e->store, c->k->socket_id, s);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        call_fail(c, rc, "the socket can't be read");
    return rc;
}

bool
app_is_recovered(struct app_call *c)
{
    struct store_socket s;
    if (c->k != NULL && c->k->recovery != NULL)
        return true;
    return read_socket(c, &s) == RC_OK && s.is_recovered;
}

const char *
app_user(struct app_call *c)
{
    struct store_socket s;
    if (c->k != NULL && c->k->own.has_user)
        return c->k->own.user;
    if (!c->has_user && read_socket(c, &s) == RC_OK && s.user.len > 0)
        c->user = call_lend_str(c, s.user);
    c->has_user = true;
    return c->user;
}

bool
app_is_online(struct app_call *c)
{
    return c->is_online;
}

const json_t *
app_data(struct app_call *c)
{
    struct store_socket s;
    if (c->k != NULL && c->k->own.has_data)
        return c->k->own.data;
    if (c->data == NULL && read_socket(c, &s) == RC_OK && s.data.len > 0)
        c->data = parse(s.data);
    if (c->data == NULL)
        c->data = json_null();
    return c->data;
}

const json_t *
app_auth(struct app_call *c)
{
    struct store_socket s;
    if (c->auth == NULL && c->k != NULL && c->k->auth != NULL)
        c->auth = parse(str_of(c->k->auth));
    else if (c->auth == NULL && read_socket(c, &s) == RC_OK && s.auth.len > 0)
        c->auth = parse(s.auth);
    if (c->auth == NULL)
        c->auth = json_object();
    return c->auth;
}

static void
load_handshake(struct app_call *c)
{
    struct str json, remote;
    if (c->handshake != NULL)
        return;
    if (c->w->session_id != 0) {
        enum rc rc =
            store_read_handshake(c->w->e->store, c->w->session_id, &json, &remote);
        if (rc == RC_OK) {
            c->handshake = parse(json);
            c->remote = call_lend_str(c, remote);
        } else if (rc != RC_NOTFOUND) {
            call_fail(c, rc, "the handshake can't be read");
        }
    }
    if (c->handshake == NULL)
        c->handshake = json_object();
    if (c->remote == NULL)
        c->remote = call_lend_str(c, STR(""));
}

const json_t *
app_handshake(struct app_call *c)
{
    load_handshake(c);
    return c->handshake;
}

const char *
app_remote(struct app_call *c)
{
    load_handshake(c);
    return c->remote;
}

const json_t *
app_query(struct app_call *c)
{
    load_handshake(c);
    const json_t *query = json_object_get(c->handshake, "query");
    if (query == NULL) {
        json_object_set_new(c->handshake, "query", json_object());
        query = json_object_get(c->handshake, "query");
    }
    return query;
}

const char *
app_query_param(struct app_call *c, const char *name)
{
    return json_string_value(json_object_get(app_query(c), name));
}

const char *
app_header(struct app_call *c, const char *name)
{
    load_handshake(c);
    char *lower = call_lend_str(c, str_of(name));
    for (char *p = lower; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    return json_string_value(
        json_object_get(json_object_get(c->handshake, "headers"), lower));
}

/* ---- arguments ---- */

void
call_args(struct app_call *c)
{
    if (c->has_args)
        return;
    c->has_args = true;
    if (c->ev == NULL)
        return;
    struct str rest = c->ev->args, value;
    enum sio_json_kind kind;
    size_t cap = 0;
    while (sio_json_next(&rest, &kind, &value) == RC_OK) {
        if (c->n_args == cap) {
            struct str *more = call_lend(c, (cap ? cap * 2 : 8) * sizeof *more);
            if (cap)
                memcpy(more, c->args, cap * sizeof *more);
            c->args = more;
            cap = cap ? cap * 2 : 8;
        }
        c->args[c->n_args++] = value;
    }
}

/* What a string literal says, lent; false: it is none. `len` may be NULL. */
static bool
lend_text(struct app_call *c, struct str literal, char **z, size_t *len)
{
    struct buf b = {0};
    struct str text = str_slice(literal, 1, literal.len - 1);
    bool is_escaped = str_index(literal, '\\') < literal.len;
    if (literal.len < 2 || (is_escaped && sio_json_unquote(literal, &b) != RC_OK)) {
        buf_fini(&b);
        return false;
    }
    if (is_escaped)
        text = buf_str(&b);
    *z = call_lend_str(c, text);
    if (len != NULL)
        *len = text.len;
    buf_fini(&b);
    return true;
}

const char *
app_event(struct app_call *c)
{
    if (c->ev == NULL || c->event != NULL)
        return c->event;
    struct str name = c->ev->event;
    if (name.len == 0 || name.p[0] != '"')
        c->event = call_lend_str(c, name);
    else if (!lend_text(c, name, &c->event, NULL))
        c->event = call_lend_str(c, STR_NONE);
    return c->event;
}

size_t
app_n_args(struct app_call *c)
{
    call_args(c);
    return c->n_args;
}

static bool
arg(struct app_call *c, size_t i, struct str *value)
{
    call_args(c);
    if (i >= c->n_args)
        return false;
    *value = c->args[i];
    return true;
}

bool
app_arg_str(struct app_call *c, size_t i, const char **s, size_t *len)
{
    struct str value;
    char *text;
    if (!arg(c, i, &value) || value.p[0] != '"' || !lend_text(c, value, &text, len))
        return false;
    *s = text;
    return true;
}

bool
app_arg_num(struct app_call *c, size_t i, double *v)
{
    struct str value;
    if (!arg(c, i, &value) ||
        (value.p[0] != '-' && (value.p[0] < '0' || value.p[0] > '9')) || value.len > 400)
        return false;
    *v = strtod(call_lend_str(c, value), NULL);
    return isfinite(*v);
}

bool
app_arg_int(struct app_call *c, size_t i, int64_t *v)
{
    struct str value;
    double d;
    if (arg(c, i, &value) && str_to_int(value, INT64_MIN, INT64_MAX, v) == RC_OK)
        return true;
    if (!app_arg_num(c, i, &d) || d != floor(d) || fabs(d) > 9007199254740992.0)
        return false;
    *v = (int64_t)d;
    return true;
}

bool
app_arg_bool(struct app_call *c, size_t i, bool *v)
{
    struct str value;
    if (!arg(c, i, &value) || (!str_eqz(value, "true") && !str_eqz(value, "false")))
        return false;
    *v = value.p[0] == 't';
    return true;
}

bool
app_arg_bytes(struct app_call *c, size_t i, const void **p, size_t *len)
{
    struct str value, bytes;
    int64_t number;
    if (!arg(c, i, &value) || !sio_json_is_placeholder(value, &number))
        return false;
    size_t pos = 0;
    for (int64_t n = 0;
         store_packet_attachment(c->ev->attachments, &pos, &bytes) == RC_OK; n++)
        if (n == number) {
            *p = bytes.p;
            *len = bytes.len;
            return true;
        }
    return false;
}

const json_t *
app_arg_json(struct app_call *c, size_t i)
{
    struct str value;
    if (!arg(c, i, &value))
        return NULL;
    if (c->arg_json == NULL)
        c->arg_json = call_lend(c, c->n_args * sizeof *c->arg_json);
    if (c->arg_json[i] == NULL)
        c->arg_json[i] = parse(value);
    return c->arg_json[i];
}

bool
app_wants_ack(struct app_call *c)
{
    return c->has_ack && !c->is_acked;
}

int
app_error(struct app_call *c)
{
    return (int)c->error;
}

const char *
app_error_text(struct app_call *c)
{
    return c->error_text ? c->error_text : "";
}
