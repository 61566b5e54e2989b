/*
 * What becomes of a POST to the web hook.
 *
 *     2xx, a list of effects           done: the effects, and the end of the event
 *     2xx, anything else               parked: nothing of it is done
 *     effects that the views refuse    parked, with what they say
 *     no answer, 5xx, 408, 425, 429    tried again, ever later; parked after hook_retry
 *     3xx, other 4xx                   parked
 *
 * 1. Once the receiver may know of a connection that is not accepted after all (its
 * client has gone, the answer made no sense), the end of its socket is queued.
 * 2. All that an answer does is one unit: socket, data, user, rooms, emits, acks.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/engine/action.h"
#include "core/engine/hook_worker.h"
#include "core/sio/json.h"

enum {
    BACK_OFF_MIN_MS = 500,
    BACK_OFF_MAX_MS = 60000,
    BACK_OFF_CONNECT_MAX_MS = 2000, /* somebody waits */
    BACK_OFF_DOUBLINGS = 10,
    STORE_RETRY_MS = 1000,
    LOG_EVERY_MS = 1000,
    ERROR_BYTES_MAX = 300,
    EFFECTS_MAX = 1000,
    DEPTH_MAX = 500,
};

static void apply(struct hook_call *c);

static bool
is_waiting(const struct hook_call *c)
{
    return c->row.kind == STORE_HOOK_CONNECT && c->row.session_id != 0;
}

/* ---- the end of a call ---- */

static void
on_end(void *arg, const struct store_result *r)
{
    struct hook_call *c = arg;
    if (r->rc == RC_OK || r->rc == RC_CONFLICT) {
        hook_call_end(c);
        return;
    }
    log_error("hook", "end.failed", LOG_Z("code", rc_text(r->rc)),
              LOG_Z("error", r->error));
    hook_call_after(c, STORE_RETRY_MS, hook_call_end); /* and is taken again */
}

static void
submit(struct hook_call *c, struct store_unit *u, store_done_fn *on_done)
{
    engine_submit(c->h->e, u, on_done, c);
}

/* Invariant 1. */
static void
put_vain(struct hook_call *c, struct store_unit *u)
{
    char event_id[RND_ID_LEN + 1];
    if ((c->h->e->cfg->hook_events & CFG_HOOK_DISCONNECT) == 0)
        return;
    rnd_id(event_id);
    struct store_hook_new h = {.kind = STORE_HOOK_DISCONNECT,
                               .event_id = str_of(event_id),
                               .sio_id = c->row.sio_id,
                               .nsp = c->row.nsp,
                               .body = STR(HOOK_VAIN_BODY)};
    store_unit_hook_vain(u, &h);
}

static struct work
work_of(struct hook_call *c)
{
    return (struct work){.e = c->h->e,
                         .now_ms = clock_now_ms(),
                         .session_id = c->row.session_id,
                         .protocol = 4};
}

/* The session of a connection that waits; has_transport: it is open. */
static enum rc
load_session(struct work *w)
{
    struct store_session s;
    enum rc rc = store_read_session_by_id(w->e->store, w->session_id, &s);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    w->protocol = s.protocol;
    w->transport = s.is_websocket ? EIO_WEBSOCKET : EIO_POLLING;
    w->has_transport = !s.is_closed;
    w->due_ms = s.is_websocket ? 0 : s.ping_ms + w->e->cfg->ping_timeout_ms;
    return RC_OK;
}

/* ---- parking ---- */

static void
log_parked(struct hook_call *c, const char *error)
{
    struct hook *h = c->h;
    int64_t now_ms = clock_now_ms();
    h->n_parked++;
    if (h->parked_log_ms != 0 && now_ms - h->parked_log_ms < LOG_EVERY_MS)
        return;
    log_error("hook", "event.parked", LOG_Z("event", c->row.event_id.p),
              LOG_I("tries", c->row.n_tries), LOG_I("events", h->n_parked),
              LOG_Z("error", error));
    h->parked_log_ms = now_ms;
    h->n_parked = 0;
}

/* `c->body`: the error. */
static void
park(struct hook_call *c)
{
    struct work w = work_of(c);
    struct partial none = {0};
    enum rc rc = RC_OK;
    w.partial = &none;
    if (is_waiting(c))
        rc = load_session(&w);
    if (rc != RC_OK) {
        hook_call_later(c, park);
        return;
    }
    store_unit_hook_park(work_unit(&w), c->row.hook_id, c->row.gen, buf_str(&c->body));
    if (is_waiting(c)) {
        connect_error(&w, c->row.nsp.p, "Internal error", NULL);
        put_vain(c, w.u);
    }
    struct store_unit *u = w.u;
    w.u = NULL;
    submit(c, u, on_end);
    work_fini(&w);
}

void
hook_park(struct hook_call *c, const char *error)
{
    char line[ERROR_BYTES_MAX];
    (void)snprintf(line, sizeof line, "%s", error);
    log_parked(c, line);
    buf_clear(&c->body);
    buf_append_z(&c->body, line);
    park(c);
}

/* ---- trying again ---- */

static int64_t
back_off_ms(const struct hook_call *c)
{
    int64_t max = is_waiting(c) ? BACK_OFF_CONNECT_MAX_MS : BACK_OFF_MAX_MS;
    int64_t n = c->row.n_tries < BACK_OFF_DOUBLINGS ? c->row.n_tries : BACK_OFF_DOUBLINGS;
    int64_t ms = (int64_t)BACK_OFF_MIN_MS << (n - 1);
    return ms < max ? ms : max;
}

static void
fail(struct hook_call *c, const char *error, bool is_told)
{
    int64_t due_ms = clock_now_ms() + back_off_ms(c);
    if (!c->h->is_down)
        log_warn("hook", "down", LOG_Z("error", error));
    c->h->is_down = true;
    if (!is_waiting(c) && due_ms > c->row.made_ms + c->h->e->cfg->hook_retry_ms) {
        hook_park(c, error);
        return;
    }
    struct store_unit *u = store_unit_create();
    store_unit_hook_retry(u, c->row.hook_id, c->row.gen, due_ms, is_told,
                          str_slice(str_of(error), 0, ERROR_BYTES_MAX));
    submit(c, u, on_end);
}

/* ---- effects ---- */

/* The members of the effect that refuses a connection; len 0: there is none. */
static struct str
refusal(const struct hook_call *c)
{
    struct str rest = buf_str(&c->effects), effect, members;
    enum sio_json_kind kind;
    while (sio_json_next(&rest, &kind, &effect) == RC_OK)
        if (kind == SIO_JSON_OBJECT &&
            sio_json_member(effect, "refuse", &kind, &members) == RC_OK)
            return members;
    return STR_NONE;
}

static enum rc
add_refuse(struct hook_call *c, struct store_unit *u, struct buf *err)
{
    if (c->row.kind != STORE_HOOK_CONNECT) {
        buf_append_z(err, "refuse: only where kind is connect");
        return RC_INVALID;
    }
    /* It is connected already: recovered. */
    struct store_field socket = {STR("socket"), {.type = STORE_TEXT, .s = c->row.sio_id}};
    store_unit_action(u, "kick", &socket, 1);
    return RC_OK;
}

/* What the verb ack calls the event: without a number the ack is none. */
static void
ack_id_of(const struct hook_call *c, struct buf *id)
{
    if (c->row.kind != STORE_HOOK_EVENT)
        return;
    buf_append_str(id, c->row.sio_id);
    buf_append_c(id, ':');
    if (c->row.has_ack_id)
        buf_append_int(id, c->row.ack_id);
}

static enum rc
add_effect(struct hook_call *c, struct store_unit *u, struct str effect, struct buf *err)
{
    char verb[ACTION_VERB_SIZE];
    struct buf ack_id = {0};
    struct str members;
    enum rc rc = action_parse(effect, verb, &members, err);
    if (rc != RC_OK)
        return rc;
    if (strcmp(verb, "refuse") == 0)
        return add_refuse(c, u, err);
    ack_id_of(c, &ack_id);
    struct action_scope scope = {
        .nsp = c->row.nsp,
        .socket = hook_has_socket(&c->row) ? c->row.sio_id : STR_NONE,
        .event_id = buf_str(&ack_id),
        .ask_name = c->row.event_id,
        .n_attachments_max = c->h->e->cfg->n_attachments_max,
    };
    rc = action_add(u, verb, members, &scope, err);
    buf_fini(&ack_id);
    return rc;
}

/* The steps of all effects. err: NUL-terminated. */
static enum rc
add_effects(struct hook_call *c, struct store_unit *u, struct buf *err)
{
    struct str rest = buf_str(&c->effects), effect;
    enum sio_json_kind kind;
    for (size_t i = 0; sio_json_next(&rest, &kind, &effect) == RC_OK; i++) {
        struct buf text = {0};
        enum rc rc = add_effect(c, u, effect, &text);
        if (rc != RC_OK)
            buf_append_f(err, "effect %zu: %.*s%c", i, STR_ARG(buf_str(&text)), 0);
        buf_fini(&text);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static void
on_applied(void *arg, const struct store_result *r)
{
    struct hook_call *c = arg;
    switch (r->rc) {
    case RC_OK:
        hook_call_end(c);
        return;
    case RC_CONFLICT: /* its client has gone, which is seen now; or it is another's */
        if (is_waiting(c) && !c->is_second) {
            c->is_second = true;
            hook_call_later(c, apply);
            return;
        }
        log_info("hook", "answer.late", LOG_Z("event", c->row.event_id.p));
        hook_call_end(c);
        return;
    case RC_INVALID:
    case RC_TOOBIG:
        hook_park(c, r->error[0] != '\0' ? r->error : rc_text(r->rc));
        return;
    case RC_NOTFOUND:
    case RC_NOMEM:
    case RC_BUSY:
    case RC_IO:
        log_error("hook", "answer.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        hook_call_after(c, STORE_RETRY_MS, apply);
        return;
    }
}

static void
apply_event(struct hook_call *c)
{
    struct store_unit *u = store_unit_create();
    struct buf err = {0};
    store_unit_guard_hook(u, c->row.hook_id, c->row.gen);
    if (add_effects(c, u, &err) == RC_OK) {
        submit(c, u, on_applied);
    } else {
        store_unit_destroy(u);
        hook_park(c, err.p);
    }
    buf_fini(&err);
}

/* ---- a connection that waits ---- */

static void
add_guard(struct work *w)
{
    if (w->has_transport) /* open, as far as was seen */
        store_unit_guard_session(w->u, w->session_id);
    store_unit_guard_hook(w->u, w->guard_id, w->guard_gen);
}

/* {"message": …, "data": …} */
static enum rc
refuse(struct work *w, struct hook_call *c, struct str members, struct buf *err)
{
    enum sio_json_kind kind = sio_json_kind_of(members);
    struct buf message = {0};
    struct str text, data;
    bool is_ok = kind == SIO_JSON_OBJECT;
    if (is_ok && sio_json_member(members, "message", &kind, &text) == RC_OK)
        is_ok = kind == SIO_JSON_STRING && sio_json_unquote(text, &message) == RC_OK;
    else
        buf_append_z(&message, "Refused");
    buf_append_c(&message, '\0');
    if (is_ok) {
        bool has_data = sio_json_member(members, "data", &kind, &data) == RC_OK;
        char *data_json = has_data ? str_dup(data) : NULL;
        work_unit(w);
        connect_error(w, c->row.nsp.p, message.p, data_json);
        free(data_json);
    } else {
        buf_append_f(err, "refuse.message: must be text%c", 0);
    }
    buf_fini(&message);
    return is_ok ? RC_OK : RC_INVALID;
}

static enum rc
let_in(struct work *w, struct hook_call *c, struct buf *err)
{
    json_t *wrapper = json_loadb(c->row.body.p, c->row.body.len, JSON_ALLOW_NUL, NULL);
    work_unit(w);
    const struct work_mark mark = work_mark(w);
    struct work_socket *k = later_unwrap_connection(w, c->row.nsp.p, wrapper);
    if (k->app == NULL) { /* a reload, or another configuration here than there */
        json_decref(wrapper);
        buf_append_f(err, "the application has no such namespace any more%c", 0);
        return RC_INVALID;
    }
    connect_accept(w, k);
    connect_group(w, &mark, k, "connection");
    json_decref(wrapper);
    put_vain(c, w->u); /* if an application in C or SQL doesn't let it in */
    return add_effects(c, w->u, err);
}

/* Behind the fence: handlers of the connection may run. */
static enum rc
decide(struct work *w, struct hook_call *c, struct buf *err)
{
    struct str members = refusal(c);
    if (members.len > 0)
        return refuse(w, c, members, err);
    if (w->has_transport)
        return let_in(w, c, err);
    put_vain(c, work_unit(w)); /* its client has gone: nothing else of it is done */
    return RC_OK;
}

static void
apply_connect(struct hook_call *c)
{
    struct work w = work_of(c);
    struct partial none = {0};
    struct buf err = {0};
    w.partial = &none;
    w.guard = add_guard;
    w.guard_id = c->row.hook_id;
    w.guard_gen = c->row.gen;
    enum rc rc = load_session(&w);
    if (rc == RC_OK)
        rc = decide(&w, c, &err);
    if (rc == RC_OK && w.is_busy)
        rc = RC_BUSY;
    if (rc == RC_OK) {
        struct store_unit *u = w.u;
        w.u = NULL;
        submit(c, u, on_applied);
    } else if (rc == RC_INVALID) {
        hook_park(c, err.p);
    } else {
        hook_call_later(c, apply);
    }
    buf_fini(&err);
    work_fini(&w);
}

static void
apply(struct hook_call *c)
{
    if (store_fence(c->h->e->store) != RC_OK)
        hook_call_later(c, apply);
    else if (is_waiting(c))
        apply_connect(c);
    else
        apply_event(c);
}

/* ---- the answer ---- */

static size_t
count(struct str items)
{
    enum sio_json_kind kind;
    struct str item;
    size_t n = 0;
    while (sio_json_next(&items, &kind, &item) == RC_OK)
        n++;
    return n;
}

/* A list of effects, or nothing. err: NUL-terminated. */
static enum rc
parse(struct hook_call *c, struct str body, struct buf *err)
{
    enum sio_json_kind kind = SIO_JSON_ARRAY;
    struct str list = STR("[]"), rest = STR_NONE;
    bool is_blank = sio_json_skip_space(body).len == 0;
    if (!is_blank && (sio_json_scan(body, DEPTH_MAX, &kind, &list, &rest) != RC_OK ||
                      sio_json_skip_space(rest).len > 0))
        buf_append_f(err, "the answer is no JSON%c", 0);
    else if (kind != SIO_JSON_ARRAY)
        buf_append_f(err, "the answer is no list of effects%c", 0);
    else if (count(str_slice(list, 1, list.len - 1)) > EFFECTS_MAX)
        buf_append_f(err, "the answer has more than %d effects%c", EFFECTS_MAX, 0);
    else
        buf_append_str(&c->effects, str_slice(list, 1, list.len - 1));
    return err->len > 0 ? RC_INVALID : RC_OK;
}

static bool
is_to_be_repeated(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500 ||
           status < 200;
}

void
engine_hook_reply(struct hook_call *c, const struct hook_reply *r)
{
    struct buf err = {0};
    c->is_posted = false;
    if (r->status == 0) {
        fail(c, r->error, r->is_told);
        return;
    }
    buf_append_f(&err, "HTTP %d%c", r->status, 0);
    if (is_to_be_repeated(r->status)) {
        fail(c, err.p, true);
    } else if (r->status >= 300) {
        hook_park(c, err.p);
    } else {
        if (c->h->is_down)
            log_info("hook", "up");
        c->h->is_down = false;
        buf_clear(&err);
        if (r->is_too_big)
            buf_append_f(&err, "the answer is longer than %d bytes%c",
                         HOOK_ANSWER_BYTES_MAX, 0);
        if (err.len == 0 && parse(c, r->body, &err) == RC_OK)
            apply(c);
        else
            hook_park(c, err.p);
    }
    buf_fini(&err);
}
