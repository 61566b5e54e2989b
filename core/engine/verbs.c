/*
 * Targets, and effects on rooms, sockets and what is done later: each verb becomes steps
 * of the unit (app.h says what they mean). Those that send are in emit.c.
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
    if (t->nsp[0] == '~')
        call_fail(t->c, RC_INVALID,
                  "app_of(\"%s\"): a pattern of namespaces, which only app_emit takes",
                  t->nsp);
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

bool
call_may_act(struct app_call *c, const struct app_to *t, const char *verb)
{
    if (c->error != RC_OK)
        return false;
    if (t != NULL && t->scope == TO_SENDER && c->is_connecting && !c->is_accepted) {
        call_fail(c, RC_INVALID, "%s: the sender is not connected yet", verb);
        return false;
    }
    return true;
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
    for (const struct work_room *r = k->own.rooms; r != NULL; r = r->next)
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

enum room_change { ROOM_JOIN, ROOM_JOIN_HISTORY, ROOM_LEAVE };

static void
change_room(struct app_to *t, const char *room, enum room_change how)
{
    struct app_call *c = t->c;
    if (room == NULL)
        call_fail(c, RC_INVALID, "a room is NULL");
    if (c->error == RC_OK && how != ROOM_LEAVE && t->scope == TO_SENDER)
        check_rooms(c, room);
    if (c->error != RC_OK)
        return;
    if (t->scope == TO_SENDER)
        work_room_note(c->k, room, how != ROOM_LEAVE)->is_history =
            how == ROOM_JOIN_HISTORY;
    if (t->scope == TO_SENDER && c->k->socket_id == 0)
        return; /* middleware: done when it is accepted */
    struct store_target target = target_of(t);
    c->w->changes_state = true;
    switch (how) {
    case ROOM_JOIN:
        store_unit_join(work_unit(c->w), &target, str_of(room));
        return;
    case ROOM_JOIN_HISTORY:
        store_unit_join_history(work_unit(c->w), &target, str_of(room));
        return;
    case ROOM_LEAVE:
        store_unit_leave(work_unit(c->w), &target, str_of(room));
        return;
    }
}

void
app_join(struct app_to *t, const char *room)
{
    change_room(t, room, ROOM_JOIN);
}

void
app_join_history(struct app_to *t, const char *room)
{
    change_room(t, room, ROOM_JOIN_HISTORY);
}

void
app_leave(struct app_to *t, const char *room)
{
    change_room(t, room, ROOM_LEAVE);
}

/* SIO-DISCONNECT-SERVER */
void
app_disconnect(struct app_to *t, bool close)
{
    struct app_call *c = t->c;
    if (!call_may_act(c, t, "app_disconnect"))
        return;
    struct store_target target = target_of(t);
    c->w->changes_state = true;
    store_unit_disconnect(work_unit(c->w), &target,
                          str_of(sio_reason_text(SIO_R_SERVER_NSP)), close, c->w->now_ms);
    if (t->scope == TO_SENDER) {
        c->k->own.is_gone = true;
        c->w->is_over |= close;
    }
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
    json_decref(k->own.data);
    k->own.data = value;
    k->own.has_data = true;
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
    free(k->own.user);
    k->own.user = copy;
    k->own.has_user = true;
    if (k->socket_id != 0) {
        c->w->changes_state = true;
        store_unit_socket_user(work_unit(c->w), k->socket_id, str_of(user));
    }
}
