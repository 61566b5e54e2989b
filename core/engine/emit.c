/*
 * What handlers send: to sockets, to the other processes, and answers. Each verb becomes
 * steps of the unit (app.h says what they mean).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/call.h"
#include "core/engine/target.h"
#include "core/sio/json.h"

/* ---- bodies ---- */

static bool
body_event(struct app_call *c, struct body *b, const char *verb, const char *event)
{
    static const char *const reserved[] = {"connect",     "connect_error",
                                           "disconnect",  "disconnecting",
                                           "newListener", "removeListener"};
    for (size_t i = 0; event != NULL && i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(event, reserved[i]) == 0)
            event = NULL;
    if (event == NULL) {
        call_fail(c, RC_INVALID, "%s: no event name, or a reserved one", verb);
        return false;
    }
    body_add_text(b, str_of(event));
    return true;
}

/* The body of an event; false: the call fails. */
static bool
compose(struct app_call *c, struct body *b, const char *verb, const char *event,
        const char *fmt, va_list args)
{
    body_init(b);
    if (!body_event(c, b, verb, event) || body_format(c, b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID, "%s(%s): an argument can't be encoded (format \"%s\")",
                  verb, event ? event : "", fmt);
    return c->error == RC_OK;
}

/* ---- listeners ---- */

/* The namespace's handlers: of a name, or of a pattern as it was registered. */
static const struct app_nsp *
nsp_of(const struct app_call *c, const char *name)
{
    const struct app *a = &c->w->e->app;
    const struct app_nsp *n = a->nsps;
    if (name[0] != '~')
        return app_registry_find(a, str_of(name));
    while (n != NULL && (!n->is_pattern || strcmp(n->name, name + 1) != 0))
        n = n->next;
    return n;
}

/* Once an effect, whatever the number of its receivers. What listeners emit themselves is
 * not told again. */
/* SIO-OUTGOING */
static void
tell(const struct app_to *t, struct body *b)
{
    struct app_call *c = t->c;
    if (!c->w->e->app.has_outgoing || c->kind == CALL_OUTGOING)
        return;
    const struct app_nsp *n = nsp_of(c, t->nsp);
    if (n == NULL || n->on_outgoing == NULL)
        return;
    struct call_event ev = {.attachments = buf_str(&b->attachments)};
    struct str rest;
    buf_append_c(&b->json, ']');
    if (sio_json_scan_array(buf_str(&b->json), INT32_MAX, &ev.event, &ev.args, &rest) ==
        RC_OK)
        call_outgoing(c, n, t->nsp, &ev);
    b->json.len--;
}

/* ---- emit, ask ---- */

static void
flag(struct store_packet *p, const struct app_to *t)
{
    t->c->w->e->counts.n[COUNT_EVENTS_OUT]++;
    p->is_volatile = (t->flags & APP_VOLATILE) != 0;
    p->is_local = (t->flags & APP_LOCAL) != 0;
    p->is_plain = (t->flags & APP_UNCOMPRESSED) != 0;
    if (p->is_local && t->c->k != NULL && t->c->k->socket_id > 0)
        p->arg_id =
            t->c->k->socket_id; /* the sender counts as local wherever its poll is */
}

struct children { /* the namespaces of a pattern, by name */
    const struct app *a;
    const struct app_nsp *parent;
    char **names;
    size_t n, cap;
};

static void
on_nsp(void *arg, struct str name)
{
    struct children *k = arg;
    if (app_registry_find(k->a, name) != k->parent)
        return;
    if (k->n == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 16;
        k->names = xrealloc(k->names, k->cap * sizeof *k->names);
    }
    k->names[k->n++] = str_dup(name);
}

/* A row for each namespace that the pattern has made and somebody is in. */
/* SIO-NSP-PARENT */
static void
emit_to_children(const struct app_to *t, struct store_packet *p)
{
    struct app_call *c = t->c;
    struct children k = {.a = &c->w->e->app, .parent = nsp_of(c, t->nsp)};
    enum rc rc = k.parent == NULL ? RC_INVALID
                                  : store_read_dynamic_nsps(c->w->e->store, on_nsp, &k);
    if (rc != RC_OK)
        call_fail(c, rc, "app_of(\"%s\"): %s", t->nsp,
                  rc == RC_INVALID ? "no such pattern is registered" : "can't be read");
    for (size_t i = 0; i < k.n; i++) {
        struct app_to child = *t;
        child.nsp = k.names[i];
        struct store_packet *copy = store_packet_create(p->kind, p->body, p->attachments);
        copy->ack_id = -1;
        flag(copy, t);
        struct store_target target = target_of(&child);
        store_unit_packet(work_unit(c->w), &target, copy);
        free(k.names[i]);
    }
    free(k.names);
    store_packet_unref(p);
}

void
app_emit(struct app_to *t, const char *event, const char *fmt, ...)
{
    struct app_call *c = t->c;
    struct body b;
    va_list args;
    va_start(args, fmt);
    if (compose(c, &b, "app_emit", event, fmt, args) && call_may_act(c, t, "app_emit")) {
        tell(t, &b);
        struct store_packet *p = body_packet(&b, false);
        if (t->nsp[0] == '~') {
            emit_to_children(t, p);
        } else {
            flag(p, t);
            struct store_target target = target_of(t);
            if (t->scope == TO_SENDER && !p->is_volatile && !p->is_local &&
                t->except.n == 0)
                work_send(c->w, c->k, p);
            else
                store_unit_packet(work_unit(c->w), &target, p);
        }
    }
    va_end(args);
    body_fini(&b);
}

/* max_pending_acks, where the one socket is known. */
/* SIO-ASK-MAX */
static bool
may_ask(struct app_call *c, const struct app_to *t)
{
    struct work_socket *k = c->k;
    int64_t n_max = c->w->e->cfg->n_pending_acks_max;
    bool is_full = false;
    if (!call_may_act(c, t, "app_ask"))
        return false;
    if (t->scope != TO_SENDER || k == NULL)
        return true;
    is_full = k->own.n_asks >= n_max;
    enum rc rc = RC_OK;
    if (!is_full && k->socket_id > 0)
        rc = store_read_owes_answers(c->w->e->store, k->socket_id,
                                     n_max - 1 - k->own.n_asks, &is_full);
    if (rc != RC_OK) {
        call_fail(c, rc, "app_ask: what the socket owes can't be read");
        return false;
    }
    if (!is_full) {
        k->own.n_asks++;
        return true;
    }
    call_fail(c, RC_TOOBIG, "app_ask: the socket owes max_pending_acks answers");
    c->is_over_limit = true;
    return false;
}

/* When a question is over; it may be asked for ever. */
static int64_t
due_ms(const struct app_call *c, int64_t timeout_ms)
{
    return timeout_ms < 0 ? STORE_NEVER_MS : c->w->now_ms + timeout_ms;
}

/* SIO-ASK, SIO-ASK-ROOM */
void
app_ask(struct app_to *t, int64_t timeout_ms, const char *later, json_t *state,
        const char *event, const char *fmt, ...)
{
    struct app_call *c = t->c;
    struct body b;
    va_list args;
    va_start(args, fmt);
    bool is_ok = compose(c, &b, "app_ask", event, fmt, args);
    va_end(args);
    char *wrapper = later_wrap(c, state);
    if (is_ok && may_ask(c, t)) {
        tell(t, &b);
        struct store_packet *p = body_packet(&b, false);
        flag(p, t);
        p->is_ask = true;
        struct store_target target = target_of(t);
        c->w->changes_state = true;
        store_unit_ask(work_unit(c->w), &target, p, due_ms(c, timeout_ms), str_of(later),
                       c->k ? c->k->socket_id : 0, str_of(wrapper));
    }
    free(wrapper);
    body_fini(&b);
}

/* ---- the other processes ---- */

/* SIO-SERVER-EMIT */
void
app_server_emit(struct app_call *c, const char *event, const char *fmt, ...)
{
    struct body b;
    va_list args;
    va_start(args, fmt);
    bool is_ok = compose(c, &b, "app_server_emit", event, fmt, args);
    va_end(args);
    if (call_may(c, "app_server_emit") && is_ok) {
        struct store_packet *p = body_packet(&b, false);
        struct store_target target = {.nsp = str_of(c->nsp_name), .to = STORE_TO_NSP};
        p->kind = STORE_SERVER;
        store_unit_packet(work_unit(c->w), &target, p);
    }
    body_fini(&b);
}

/* SIO-SERVER-ASK */
void
app_server_ask(struct app_call *c, int64_t timeout_ms, const char *later, json_t *state,
               const char *event, const char *fmt, ...)
{
    struct body b;
    va_list args;
    va_start(args, fmt);
    bool is_ok = compose(c, &b, "app_server_ask", event, fmt, args);
    va_end(args);
    char *wrapper = later_wrap(c, state);
    if (is_ok && timeout_ms < 0)
        call_fail(c, RC_INVALID, "app_server_ask: timeout_ms must be 0 or more");
    if (call_may(c, "app_server_ask") && c->error == RC_OK) {
        struct store_packet *p = body_packet(&b, false);
        p->kind = STORE_SERVER;
        c->w->changes_state = true;
        store_unit_server_ask(work_unit(c->w), str_of(c->nsp_name), p,
                              due_ms(c, timeout_ms), str_of(later),
                              c->k ? c->k->socket_id : 0, str_of(wrapper));
    }
    free(wrapper);
    body_fini(&b);
}

/* ---- ack ---- */

/* What this process says to app_server_ask of another one. */
static void
answer_server(struct app_call *c, struct body *b)
{
    buf_append_c(&b->json, ']');
    struct str args = str_slice(buf_str(&b->json), 1, b->json.len - 1);
    store_unit_server_answer(work_unit(c->w), c->ack_id, c->ack_process_id, args,
                             buf_str(&b->attachments));
}

/* SIO-ACK */
void
app_ack(struct app_call *c, const char *fmt, ...)
{
    struct body b;
    va_list args;
    body_init(&b);
    va_start(args, fmt);
    if (body_format(c, &b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID, "app_ack: an argument can't be encoded (format \"%s\")",
                  fmt);
    va_end(args);
    if (c->error == RC_OK && c->has_ack && !c->is_acked) {
        c->is_acked = c->ack_process_id != 0 || c->retry_id != NULL || c->k != NULL;
        if (c->ack_process_id != 0) {
            answer_server(c, &b);
        } else if (c->retry_id != NULL) {
            c->w->changes_state = true;
            store_unit_retry_answer(work_unit(c->w), str_of(c->retry_id),
                                    c->k ? c->k->socket_id : 0, c->ack_id,
                                    body_packet(&b, true));
        } else if (c->k != NULL) {
            struct store_packet *p = body_packet(&b, true);
            p->ack_id = c->ack_id;
            work_send(c->w, c->k, p);
        }
    }
    body_fini(&b);
}
