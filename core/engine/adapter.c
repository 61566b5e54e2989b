/*
 * The index: target -> members, each with the position of its link, so that joining,
 * leaving and ending are O(1) a room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/adapter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"

struct member {
    struct sub_socket *socket;
    uint32_t link; /* index in socket->links */
};

struct target {
    int64_t key;
    struct member *members;
    size_t n, cap;
};

struct sub_link {
    struct target *target;
    size_t pos; /* in target->members */
};

struct sockets { /* those that a control row concerns, collected before the index changes
                  */
    struct sub_socket **p;
    size_t n, cap;
};

/* ---- links ---- */

static void
link_add(struct adapter *a, struct sub_socket *k, int64_t key)
{
    struct target *t = map_find(&a->targets, key);
    if (t == NULL) {
        t = xcalloc(1, sizeof *t);
        t->key = key;
        map_put(&a->targets, key, t);
    }
    for (uint32_t i = 0; i < k->n_links && k->n_links < 8; i++)
        if (k->links[i].target == t)
            return;
    if (k->n_links >= 8) /* many rooms: search the shorter side */
        for (size_t i = 0; i < (t->n < k->n_links ? t->n : k->n_links); i++)
            if (t->n < k->n_links ? t->members[i].socket == k : k->links[i].target == t)
                return;
    if (k->n_links == k->cap_links) {
        k->cap_links = k->cap_links ? k->cap_links * 2 : 1;
        k->links = xrealloc(k->links, k->cap_links * sizeof *k->links);
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 2;
        t->members = xrealloc(t->members, t->cap * sizeof *t->members);
    }
    t->members[t->n] = (struct member){k, k->n_links};
    k->links[k->n_links++] = (struct sub_link){t, t->n++};
}

static void
link_remove(struct adapter *a, struct sub_socket *k, uint32_t i)
{
    struct target *t = k->links[i].target;
    size_t pos = k->links[i].pos;
    t->members[pos] = t->members[--t->n];
    if (pos < t->n)
        t->members[pos].socket->links[t->members[pos].link].pos = pos;
    k->links[i] = k->links[--k->n_links];
    if (i < k->n_links)
        k->links[i].target->members[k->links[i].pos].link = i;
    if (t->n == 0) {
        map_remove(&a->targets, t->key);
        free(t->members);
        free(t);
    }
}

static void
link_remove_key(struct adapter *a, struct sub_socket *k, int64_t key)
{
    const struct target *t = map_find(&a->targets, key);
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < k->n_links; i++)
        if (k->links[i].target == t) {
            link_remove(a, k, i);
            return;
        }
}

/* ---- sockets ---- */

struct sub_socket *
adapter_socket_add(struct adapter *a, struct sub *s, int64_t socket_id,
                   const struct nsp *nsp, struct str sio_id)
{
    struct sub_socket *k = sub_socket_find(s, socket_id);
    if (k != NULL)
        return k;
    k = xcalloc(1, sizeof *k + sio_id.len + 1);
    k->sub = s;
    k->socket_id = socket_id;
    k->nsp = nsp;
    memcpy(k->sio_id, sio_id.p, sio_id.len);
    k->next = s->sockets;
    s->sockets = k;
    if (s->is_in)
        map_put(&a->sockets, socket_id, k);
    link_add(a, k, store_key(STORE_TO_NSP, nsp->nsp_id));
    return k;
}

static void
socket_remove(struct adapter *a, struct sub_socket *k)
{
    struct sub_socket **at = &k->sub->sockets;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    if (map_find(&a->sockets, k->socket_id) == k)
        map_remove(&a->sockets, k->socket_id);
    while (k->n_links > 0)
        link_remove(a, k, k->n_links - 1);
    free(k->links);
    free(k);
}

/* It has ended, or goes on in another session. */
static void
socket_end(struct adapter *a, struct sub_socket *k)
{
    struct sub *s = k->sub;
    socket_remove(a, k);
    if (s->sockets == NULL)
        s->ops->on_empty(s);
}

void
adapter_join(struct adapter *a, struct sub_socket *k, int64_t room_id)
{
    link_add(a, k, store_key(STORE_TO_ROOM, room_id));
}

struct sub_socket *
sub_socket_find(const struct sub *s, int64_t socket_id)
{
    struct sub_socket *k = s->sockets;
    while (k != NULL && k->socket_id != socket_id)
        k = k->next;
    return k;
}

/* ---- subscribers ---- */

void
adapter_init(struct adapter *a, int64_t process_id, int64_t epoch,
             const struct nsp *(*nsp_of)(void *arg, int64_t nsp_id), void *arg)
{
    *a = (struct adapter){
        .process_id = process_id, .epoch = epoch, .nsp_of = nsp_of, .arg = arg};
}

void
adapter_fini(struct adapter *a)
{
    assert(a->sockets.n == 0 && a->sessions.n == 0);
    map_fini(&a->sessions);
    map_fini(&a->sockets);
    map_fini(&a->targets);
}

void
adapter_enter(struct adapter *a, struct sub *s)
{
    struct sub *former = map_find(&a->sessions, s->session_id);
    if (former != NULL && former != s)
        adapter_leave(a, former);
    s->is_in = true;
    map_put(&a->sessions, s->session_id, s);
    for (struct sub_socket *k = s->sockets; k != NULL; k = k->next) {
        struct sub_socket *other = map_find(&a->sockets, k->socket_id);
        if (other != NULL && other->sub != s) /* recovered: its loss is still to come */
            socket_end(a, other);
        map_put(&a->sockets, k->socket_id, k);
    }
}

void
adapter_leave(struct adapter *a, struct sub *s)
{
    while (s->sockets != NULL)
        socket_remove(a, s->sockets);
    if (s->is_in && map_find(&a->sessions, s->session_id) == s)
        map_remove(&a->sessions, s->session_id);
    s->is_in = false;
}

/* ---- rows ---- */

static void
mark(struct adapter *a, int64_t key, int64_t seq)
{
    if ((key & 3) == STORE_TO_SOCKET) {
        struct sub_socket *k = map_find(&a->sockets, (key - STORE_TO_SOCKET) / 4);
        if (k != NULL)
            k->mark_seq = seq;
        return;
    }
    const struct target *t = map_find(&a->targets, key);
    for (size_t i = 0; t != NULL && i < t->n; i++)
        t->members[i].socket->mark_seq = seq;
}

/* Is the row for this socket, and not yet decided? Marks it. */
static bool
is_due(const struct adapter *a, struct sub_socket *k, const struct store_packet *p)
{
    if (k->mark_seq == p->seq || !k->sub->is_in || p->seq <= k->sub->from_seq)
        return false;
    k->mark_seq = p->seq;
    /* SIO-LOCAL */
    if (p->is_local && p->origin_id != a->process_id && p->arg_id != k->socket_id)
        return false;
    return true;
}

static void
deliver(struct adapter *a, struct sub *s, struct store_packet *p)
{
    if (p->nsp_id != 0 && a->row_nsp == NULL)
        return; /* forgotten: nobody is in it */
    s->ops->on_event(s, p,
                     wire_frames(p, a->row_nsp != NULL ? a->row_nsp->name : STR("/"),
                                 s->form, a->epoch));
}

static void
collect(struct sockets *list, struct sub_socket *k)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->p = xrealloc(list->p, list->cap * sizeof *list->p);
    }
    list->p[list->n++] = k;
}

/* All sockets that one target names and that are due the row: delivered, or collected
 * into `list` (control rows). */
static void
reach(struct adapter *a, int64_t key, struct store_packet *p, struct sockets *list)
{
    if ((key & 3) == STORE_TO_SOCKET) {
        struct sub_socket *k = map_find(&a->sockets, (key - STORE_TO_SOCKET) / 4);
        if (k != NULL && is_due(a, k, p)) {
            if (list)
                collect(list, k);
            else
                deliver(a, k->sub, p);
        }
        return;
    }
    const struct target *t = map_find(&a->targets, key);
    for (size_t i = 0; t != NULL && i < t->n; i++) {
        struct sub_socket *k = t->members[i].socket;
        if (!is_due(a, k, p))
            continue;
        if (list)
            collect(list, k);
        else
            deliver(a, k->sub, p);
    }
}

static void
reach_all(struct adapter *a, struct store_packet *p, struct sockets *list)
{
    for (size_t i = 0; i < p->n_not_keys; i++)
        mark(a, p->not_keys[i], p->seq);
    if (p->skip_id != 0)
        mark(a, store_key(STORE_TO_SOCKET, p->skip_id), p->seq);
    if (p->to_kind != STORE_TO_LIST)
        reach(a, store_key(p->to_kind, p->to_id), p, list);
    for (size_t i = 0; p->to_kind == STORE_TO_LIST && i < p->n_to_keys; i++)
        reach(a, p->to_keys[i], p, list);
}

/* SIO-SET */
static void
apply_set(struct adapter *a, struct store_packet *p)
{
    struct sockets list = {0};
    reach_all(a, p, &list);
    for (size_t i = 0; i < list.n; i++) {
        if (p->kind == STORE_JOIN)
            adapter_join(a, list.p[i], p->arg_id);
        else
            link_remove_key(a, list.p[i], store_key(STORE_TO_ROOM, p->arg_id));
    }
    free(list.p);
}

static void
apply_connect(struct adapter *a, struct sub *s, struct store_packet *p)
{
    const struct nsp *nsp = a->row_nsp;
    enum sio_json_kind kind;
    struct str literal;
    const struct sub_socket *other = map_find(&a->sockets, p->socket_id);
    if (other != NULL && other->sub != s && p->seq <= other->sub->from_seq)
        return; /* recovered since: it is in a newer snapshot */
    struct buf id;
    buf_init(&id);
    if (nsp != NULL && sio_json_member(p->body, "sid", &kind, &literal) == RC_OK &&
        kind == SIO_JSON_STRING && sio_json_unquote(literal, &id) == RC_OK) {
        struct sub_socket *k = adapter_socket_add(a, s, p->socket_id, nsp, buf_str(&id));
        for (size_t i = 0; i < p->n_to_keys;
             i++) /* recovered: its rooms are in the row */
            adapter_join(a, k, p->to_keys[i] / 4);
    }
    buf_fini(&id);
}

static void
apply_session(struct adapter *a, struct store_packet *p)
{
    struct sub *s = map_find(&a->sessions, p->to_id);
    if (s == NULL || p->seq <= s->from_seq)
        return;
    switch (p->kind) {
    case STORE_CLOSE:
        s->ops->on_close(s, p);
        return;
    case STORE_NOOP:
        s->ops->on_noop(s);
        return;
    case STORE_PONG:
        deliver(a, s, p);
        return;
    case STORE_CONNECT:
        apply_connect(a, s, p);
        deliver(a, s, p);
        return;
    case STORE_DISCONNECT:
    case STORE_EVENT:
    case STORE_ACK:
    case STORE_CONNECT_ERROR:
    case STORE_BINARY_EVENT:
    case STORE_BINARY_ACK:
        deliver(a, s, p);
        return;
    case STORE_JOIN:
    case STORE_LEAVE:
    case STORE_LOST:
    case STORE_GONE:
    case STORE_WAKE:
    case STORE_SERVER:
    case STORE_HISTORY:
        return;
    }
}

void
adapter_apply(struct adapter *a, struct store_packet *p)
{
    a->row_nsp = p->nsp_id != 0 ? a->nsp_of(a->arg, p->nsp_id) : NULL;
    if (p->to_kind == STORE_TO_SESSION) {
        apply_session(a, p);
        return;
    }
    switch (p->kind) {
    case STORE_JOIN:
    case STORE_LEAVE:
        apply_set(a, p);
        return;
    case STORE_LOST:
    case STORE_GONE: {
        struct sub_socket *k = map_find(&a->sockets, p->to_id);
        if (k == NULL || p->seq <= k->sub->from_seq)
            return;
        socket_end(a, k);
        return;
    }
    case STORE_CONNECT:
    case STORE_DISCONNECT:
    case STORE_EVENT:
    case STORE_ACK:
    case STORE_CONNECT_ERROR:
    case STORE_BINARY_EVENT:
    case STORE_BINARY_ACK:
    case STORE_HISTORY:
        reach_all(a, p, NULL);
        return;
    case STORE_CLOSE:
    case STORE_NOOP:
    case STORE_PONG:
    case STORE_WAKE:
    case STORE_SERVER:
        return;
    }
}
