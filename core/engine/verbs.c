/*
 * Targets and effects: each verb becomes steps of the unit (app.h says what they mean).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/call.h"
#include "core/engine/target.h"

/* ---- targets ---- */

static struct app_to *
to_create(struct app_call *c, enum to_scope scope)
{
    struct app_to *t = call_lend(c, sizeof *t);
    t->c = c;
    t->scope = scope;
    t->nsp = c->nsp_name;
    t->next = c->tos;
    c->tos = t;
    if (!call_may(c, "a target"))
        return t;
    if (scope == TO_SENDER && c->k == NULL)
        call_fail(c, RC_INVALID, "app_sender: this continuation has no socket");
    return t;
}

struct app_to *
app_sender(struct app_call *c)
{
    return to_create(c, TO_SENDER);
}

struct app_to *
app_others(struct app_call *c)
{
    return to_create(c, TO_OTHERS);
}

struct app_to *
app_all(struct app_call *c)
{
    return to_create(c, TO_ALL);
}

static void
name_add(struct app_to *t, struct name_list *list, const char *name)
{
    if (name == NULL) {
        call_fail(t->c, RC_INVALID, "a room or user is NULL");
        return;
    }
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 4;
        list->p = xrealloc(list->p, list->cap * sizeof *list->p);
    }
    list->p[list->n++] = str_of(call_lend_str(t->c, str_of(name)));
}

struct app_to *
app_in(struct app_to *t, const char *room)
{
    if (t->scope == TO_SENDER) /* socket.to(room): the rooms, without the socket */
        t->scope = TO_OTHERS;
    name_add(t, &t->rooms, room);
    return t;
}

struct app_to *
app_except(struct app_to *t, const char *room)
{
    name_add(t, &t->except, room);
    return t;
}

struct app_to *
app_to_user(struct app_to *t, const char *user)
{
    if (t->scope == TO_SENDER)
        t->scope = TO_OTHERS;
    name_add(t, &t->users, user);
    return t;
}

struct app_to *
app_of(struct app_to *t, const char *nsp)
{
    t->nsp = call_lend_str(t->c, str_of(nsp));
    return t;
}

struct app_to *
app_with(struct app_to *t, unsigned flags)
{
    t->flags |= flags;
    return t;
}

struct store_target
target_of(const struct app_to *t)
{
    const struct work_socket *k = t->c->k;
    struct store_target s = {
        .nsp = str_of(t->nsp),
        .to = STORE_TO_NSP,
        .rooms = t->rooms.p,
        .n_rooms = t->rooms.n,
        .users = t->users.p,
        .n_users = t->users.n,
        .except = t->except.p,
        .n_except = t->except.n,
    };
    if (t->scope == TO_SENDER) {
        s.to = STORE_TO_SOCKET;
        s.id = k ? k->socket_id : 0;
    } else if (t->rooms.n > 0 || t->users.n > 0) {
        s.to = STORE_TO_ROOM;
    }
    if (t->scope == TO_OTHERS && k != NULL)
        s.skip_id = k->socket_id;
    return s;
}

/* Middleware speaks for a socket that is not there yet: only its data, user and rooms can
 * be set. */
static bool
may(struct app_call *c, const struct app_to *t, const char *verb)
{
    if (c->error != RC_OK)
        return false;
    if (t != NULL && t->scope == TO_SENDER && c->is_connecting && !c->is_accepted) {
        call_fail(c, RC_INVALID, "%s: the sender is not connected yet", verb);
        return false;
    }
    return true;
}

/* ---- emit, ask, ack ---- */

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

/* max_pending_acks, where the one socket is known. */
/* SIO-ASK-MAX */
static bool
may_ask(struct app_call *c, const struct app_to *t)
{
    struct work_socket *k = c->k;
    int64_t n_max = c->w->e->cfg->n_pending_acks_max;
    bool is_full = false;
    if (!may(c, t, "app_ask"))
        return false;
    if (t->scope != TO_SENDER || k == NULL)
        return true;
    is_full = k->n_asks >= n_max;
    enum rc rc = RC_OK;
    if (!is_full && k->socket_id > 0)
        rc = store_read_owes_answers(c->w->e->store, k->socket_id, n_max - 1 - k->n_asks,
                                     &is_full);
    if (rc != RC_OK) {
        call_fail(c, rc, "app_ask: what the socket owes can't be read");
        return false;
    }
    if (!is_full) {
        k->n_asks++;
        return true;
    }
    call_fail(c, RC_TOOBIG, "app_ask: the socket owes max_pending_acks answers");
    c->is_over_limit = true;
    return false;
}

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

void
app_emit(struct app_to *t, const char *event, const char *fmt, ...)
{
    struct app_call *c = t->c;
    struct body b;
    va_list args;
    body_init(&b);
    va_start(args, fmt);
    if (!body_event(c, &b, "app_emit", event) || body_format(c, &b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID,
                  "app_emit(%s): an argument can't be encoded (format \"%s\")",
                  event ? event : "", fmt);
    va_end(args);
    if (may(c, t, "app_emit")) {
        struct store_packet *p = body_packet(&b, false);
        flag(p, t);
        struct store_target target = target_of(t);
        if (t->scope == TO_SENDER && !p->is_volatile && !p->is_local && t->except.n == 0)
            work_send(c->w, c->k, p);
        else
            store_unit_packet(work_unit(c->w), &target, p);
    }
    body_fini(&b);
}

/* SIO-ASK, SIO-ASK-ROOM */
void
app_server_emit(struct app_call *c, const char *event, const char *fmt, ...)
{
    struct body b;
    va_list args;
    body_init(&b);
    va_start(args, fmt);
    if (!body_event(c, &b, "app_server_emit", event) ||
        body_format(c, &b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID,
                  "app_server_emit(%s): an argument can't be encoded (format \"%s\")",
                  event ? event : "", fmt);
    va_end(args);
    if (call_may(c, "app_server_emit") && may(c, NULL, "app_server_emit")) {
        struct store_packet *p = body_packet(&b, false);
        struct store_target target = {.nsp = str_of(c->nsp_name), .to = STORE_TO_NSP};
        p->kind = STORE_SERVER;
        store_unit_packet(work_unit(c->w), &target, p);
    }
    body_fini(&b);
}

void
app_ask(struct app_to *t, int64_t timeout_ms, const char *later, json_t *state,
        const char *event, const char *fmt, ...)
{
    struct app_call *c = t->c;
    struct body b;
    va_list args;
    body_init(&b);
    va_start(args, fmt);
    if (!body_event(c, &b, "app_ask", event) || body_format(c, &b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID,
                  "app_ask(%s): an argument can't be encoded (format \"%s\")",
                  event ? event : "", fmt);
    va_end(args);
    char *wrapper = later_wrap(c, state);
    if (may_ask(c, t)) {
        struct store_packet *p = body_packet(&b, false);
        flag(p, t);
        p->is_ask = true;
        struct store_target target = target_of(t);
        c->w->changes_state = true;
        store_unit_ask(work_unit(c->w), &target, p,
                       timeout_ms < 0 ? STORE_NEVER_MS : c->w->now_ms + timeout_ms,
                       str_of(later), c->k ? c->k->socket_id : 0, str_of(wrapper));
    }
    free(wrapper);
    body_fini(&b);
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
    if (c->error == RC_OK && c->has_ack && !c->is_acked && c->k != NULL) {
        struct store_packet *p = body_packet(&b, true);
        p->ack_id = c->ack_id;
        c->is_acked = true;
        work_send(c->w, c->k, p);
    }
    body_fini(&b);
}

/* ---- later ---- */

void
app_after(struct app_call *c, int64_t ms, const char *later, json_t *state)
{
    char *wrapper = later_wrap(c, state);
    if (call_may(c, "app_after") && c->error == RC_OK) {
        c->w->changes_state = true;
        store_unit_job(work_unit(c->w), c->w->now_ms + (ms > 0 ? ms : 0), str_of(later),
                       c->k ? c->k->socket_id : 0, str_of(wrapper));
    }
    free(wrapper);
}

void
app_then(struct app_call *c, const char *later, json_t *state)
{
    app_after(c, 0, later, state);
}

void
app_hold(struct app_call *c)
{
    if (c->is_connecting)
        c->is_held = true;
    else
        call_fail(c, RC_INVALID, "app_hold: only in connection middleware");
}

void
app_accept(struct app_call *c)
{
    if (c->is_connecting)
        c->is_accepted = true;
    else
        call_fail(c, RC_INVALID,
                  "app_accept: only where a middleware held the connection");
}

void
app_refuse(struct app_call *c, const char *message, json_t *data)
{
    if (c->kind == CALL_REQUEST || c->kind == CALL_PACKET_MIDDLEWARE ||
        c->is_connecting) {
        c->is_refused = true;
        free(c->refusal);
        free(c->refusal_data);
        c->refusal = xstrdup(message ? message : "");
        c->refusal_data = data ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    } else {
        call_fail(c, RC_INVALID, "app_refuse: only in middleware");
    }
    json_decref(data);
}

/* ---- rooms, sockets ---- */

static void
on_room(void *arg, struct str name)
{
    (void)name;
    (*(size_t *)arg)++;
}

/* Rooms of the socket, those that this unit adds counted twice if it is in already. */
static size_t
n_rooms_at_most(struct app_call *c)
{
    const struct work_socket *k = c->k;
    const struct sub_socket *s =
        c->w->sub != NULL ? sub_socket_find(c->w->sub, k->socket_id) : NULL;
    size_t n = 0;
    if (s != NULL)
        n = s->n_links - 1; /* the namespace is one of them */
    else if (k->socket_id > 0) {
        enum rc rc = store_read_rooms(c->w->e->store, k->socket_id, on_room, &n);
        if (rc != RC_OK)
            call_fail(c, rc, "app_join: the rooms can't be read");
    }
    for (const struct work_room *r = k->rooms; r != NULL; r = r->next)
        n += r->is_in;
    return n;
}

/* max_rooms, where the one socket is known. */
/* SIO-ROOMS-MAX */
static void
check_rooms(struct app_call *c, const char *room)
{
    size_t n_max = (size_t)c->w->e->cfg->n_rooms_max, i;
    const json_t *name;
    bool is_in = false;
    if (n_rooms_at_most(c) < n_max)
        return;
    json_t *names = app_rooms(c);
    json_array_foreach(names, i, name) is_in |= !strcmp(json_string_value(name), room);
    if (c->error == RC_OK && !is_in && json_array_size(names) >= n_max) {
        call_fail(c, RC_TOOBIG, "app_join: the socket is in max_rooms rooms");
        c->is_over_limit = true;
    }
    json_decref(names);
}

static void
change_room(struct app_to *t, const char *room, bool is_join)
{
    struct app_call *c = t->c;
    if (room == NULL)
        call_fail(c, RC_INVALID, "a room is NULL");
    if (c->error == RC_OK && is_join && t->scope == TO_SENDER)
        check_rooms(c, room);
    if (c->error != RC_OK)
        return;
    if (t->scope == TO_SENDER)
        work_room_note(c->k, room, is_join);
    if (t->scope == TO_SENDER && c->k->socket_id == 0)
        return; /* middleware: done when it is accepted */
    struct store_target target = target_of(t);
    c->w->changes_state = true;
    if (is_join)
        store_unit_join(work_unit(c->w), &target, str_of(room));
    else
        store_unit_leave(work_unit(c->w), &target, str_of(room));
}

void
app_join(struct app_to *t, const char *room)
{
    change_room(t, room, true);
}

void
app_leave(struct app_to *t, const char *room)
{
    change_room(t, room, false);
}

/* SIO-DISCONNECT-SERVER */
void
app_disconnect(struct app_to *t, bool close)
{
    struct app_call *c = t->c;
    if (!may(c, t, "app_disconnect"))
        return;
    struct store_target target = target_of(t);
    c->w->changes_state = true;
    store_unit_disconnect(work_unit(c->w), &target,
                          str_of(sio_reason_text(SIO_R_SERVER_NSP)), close, c->w->now_ms);
    if (t->scope == TO_SENDER)
        c->k->is_gone = true;
}

void
app_set_data(struct app_call *c, json_t *value)
{
    struct work_socket *k = c->k;
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (k == NULL || text == NULL)
        call_fail(c, RC_INVALID, "app_set_data: %s",
                  k ? "the value can't be encoded" : "no socket");
    if (c->error != RC_OK) {
        json_decref(value);
        free(text);
        return;
    }
    json_decref(k->data);
    k->data = value;
    k->has_data = true;
    if (k->socket_id != 0) {
        c->w->changes_state = true;
        store_unit_socket_data(work_unit(c->w), k->socket_id, str_of(text));
    }
    free(text);
}

void
app_set_user(struct app_call *c, const char *user)
{
    struct work_socket *k = c->k;
    if (k == NULL)
        call_fail(c, RC_INVALID, "app_set_user: no socket");
    if (c->error != RC_OK)
        return;
    char *copy = user ? xstrdup(user) : NULL;
    free(k->user);
    k->user = copy;
    k->has_user = true;
    if (k->socket_id != 0) {
        c->w->changes_state = true;
        store_unit_socket_user(work_unit(c->w), k->socket_id, str_of(user));
    }
}
