/*
 * See work.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/work.h"

#include <stdlib.h>
#include <string.h>

void
partial_fini(struct partial *p)
{
    buf_fini(&p->text);
    buf_fini(&p->attachments);
    p->n_owed = 0;
}

enum rc
partial_load(struct partial *part, struct engine *e, const struct store_session *s)
{
    struct str text, attachments;
    if (!s->has_partial)
        return RC_OK;
    enum rc rc = store_read_partial(e->store, s->session_id, &text, &attachments);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    buf_append_str(&part->text, text);
    buf_append_str(&part->attachments, attachments);
    struct sio_limits limits = {e->cfg->n_attachments_max, e->cfg->json_depth_max,
                                e->cfg->event_name_bytes_max, s->protocol == 3};
    struct sio_packet p;
    if (sio_packet_decode(buf_str(&part->text), &limits, &p) != RC_OK)
        return RC_OK; /* written by a program with other limits: what follows is judged as
                         it comes */
    part->n_owed = p.n_attachments;
    size_t pos = 0;
    struct str a;
    while (store_packet_attachment(buf_str(&part->attachments), &pos, &a) == RC_OK)
        part->n_owed--;
    return RC_OK;
}

void
work_own_fini(struct work_own *own)
{
    while (own->rooms != NULL) {
        struct work_room *r = own->rooms;
        own->rooms = r->next;
        free(r->name);
        free(r);
    }
    json_decref(own->data);
    free(own->user);
}

void
work_own_save(const struct work_socket *k, struct work_own *copy)
{
    *copy = k->own;
    json_incref(copy->data);
    copy->user = copy->user ? xstrdup(copy->user) : NULL;
    struct work_room **end = &copy->rooms;
    for (const struct work_room *r = k->own.rooms; r != NULL; r = r->next) {
        *end = xcalloc(1, sizeof **end);
        **end = *r;
        (*end)->name = xstrdup(r->name);
        end = &(*end)->next;
    }
    *end = NULL;
}

void
work_own_restore(struct work_socket *k, struct work_own *copy)
{
    work_own_fini(&k->own);
    k->own = *copy;
}

static void
socket_free(struct work_socket *k)
{
    work_own_fini(&k->own);
    if (k->recovery != NULL)
        free(k->recovery->pid);
    free(k->recovery);
    if (!k->is_borrowed) {
        free(k->nsp_name);
        free(k->sio_id);
    }
    free(k->auth);
    if (!k->is_inline)
        free(k);
}

void
work_fini(struct work *w)
{
    while (w->sockets != NULL) {
        struct work_socket *k = w->sockets;
        w->sockets = k->next;
        socket_free(k);
    }
    for (size_t i = 0; i < w->n_direct; i++)
        store_packet_unref(w->direct[i].p);
    if (w->direct != w->first_direct)
        free(w->direct);
    store_unit_destroy(w->u);
    w->u = NULL;
    w->direct = NULL;
    w->n_direct = 0;
}

struct work_mark
work_mark(const struct work *w)
{
    return (struct work_mark){w->u != NULL, w->u ? store_unit_n_steps(w->u) : 0,
                              w->n_direct};
}

size_t
work_step_of(const struct work *w, const struct work_mark *m)
{
    return m->has_unit ? m->n_steps : w->n_guard + m->n_direct;
}

bool
work_may_fail(const struct work *w, const struct work_mark *m,
              const struct work_socket *k)
{
    return w->u != NULL && ((k != NULL && k->group != NULL) ||
                            store_unit_may_fail(w->u, work_step_of(w, m)));
}

static void
append(struct work *w, const struct work_socket *k, struct store_packet *p)
{
    struct store_target t = {
        .nsp = str_of(k->nsp_name), .to = STORE_TO_SOCKET, .id = k->socket_id};
    store_unit_packet(w->u, &t, p);
    w->has_own |= k->socket_id > 0;
}

/* SIO-UNIT */
struct store_unit *
work_unit(struct work *w)
{
    if (w->u == NULL) {
        w->u = store_unit_create();
        if (w->guard != NULL)
            w->guard(w);
        w->n_guard = store_unit_n_steps(w->u);
    }
    w->may_go_direct = false;
    for (size_t i = 0; i < w->n_direct; i++)
        append(w, w->direct[i].to, w->direct[i].p);
    w->n_direct = 0;
    return w->u;
}

/* Most units have one socket: it needs no memory of its own. */
static struct work_socket *
socket_create(struct work *w, int64_t socket_id)
{
    struct work_socket *k = &w->first_socket;
    if (k->is_inline)
        k = xcalloc(1, sizeof *k);
    else
        k->is_inline = true;
    k->socket_id = socket_id;
    k->next = w->sockets;
    w->sockets = k;
    return k;
}

struct work_socket *
work_socket_add(struct work *w, int64_t socket_id, const char *nsp_name,
                struct str sio_id)
{
    struct work_socket *k = socket_create(w, socket_id);
    k->nsp_name = xstrdup(nsp_name);
    k->sio_id = str_dup(sio_id);
    return k;
}

struct work_room *
work_room_note(struct work_socket *k, const char *room, bool is_in)
{
    struct work_room *r = k->own.rooms;
    while (r != NULL && strcmp(r->name, room) != 0)
        r = r->next;
    if (r == NULL) {
        r = xcalloc(1, sizeof *r);
        r->name = xstrdup(room);
        r->next = k->own.rooms;
        k->own.rooms = r;
    }
    r->is_in = is_in;
    return r;
}

void
work_rooms_note(struct work_socket *k, const json_t *names)
{
    size_t i;
    const json_t *name;
    json_array_foreach(names, i, name)(void)
        work_room_note(k, json_string_value(name), true);
}

static bool
is_known(const struct work *w, int64_t socket_id)
{
    const struct work_socket *k = w->sockets;
    while (k != NULL && k->socket_id != socket_id)
        k = k->next;
    return k != NULL;
}

struct work_socket *
work_socket_find(struct work *w, struct str nsp_name)
{
    struct work_socket *k = w->sockets;
    while (k != NULL &&
           (k->own.is_gone || k->socket_id == 0 || !str_eqz(nsp_name, k->nsp_name)))
        k = k->next;
    for (const struct sub_socket *s = k == NULL && w->sub != NULL ? w->sub->sockets
                                                                  : NULL;
         s != NULL; s = s->next)
        if (str_eq(nsp_name, s->nsp->name) && !is_known(w, s->socket_id)) {
            k = socket_create(w, s->socket_id);
            k->nsp_name = (char *)s->nsp->name.p;
            k->sio_id = (char *)s->sio_id;
            k->is_borrowed = true;
            k->nsp_id = s->nsp->nsp_id;
            k->app = s->nsp->app;
            return k;
        }
    return k;
}

bool
work_has_ended(const struct work *w, struct str nsp_name)
{
    const struct work_socket *k = w->sockets;
    while (k != NULL &&
           (!k->own.is_gone || k->socket_id == 0 || !str_eqz(nsp_name, k->nsp_name)))
        k = k->next;
    return k != NULL;
}

size_t
work_n_sockets(const struct work *w)
{
    size_t n = 0;
    for (const struct work_socket *k = w->sockets; k != NULL; k = k->next)
        n += !k->own.is_gone;
    for (const struct sub_socket *s = w->sub ? w->sub->sockets : NULL; s != NULL;
         s = s->next)
        n += !is_known(w, s->socket_id);
    return n;
}

void
work_send(struct work *w, const struct work_socket *k, struct store_packet *p)
{
    if (!w->may_go_direct) {
        work_unit(w);
        append(w, k, p);
        return;
    }
    if (w->direct == NULL) {
        w->direct = w->first_direct;
        w->cap_direct = sizeof w->first_direct / sizeof *w->first_direct;
    } else if (w->n_direct == w->cap_direct) {
        struct work_direct *old = w->direct == w->first_direct ? NULL : w->direct;
        w->cap_direct *= 4;
        w->direct = xrealloc(old, w->cap_direct * sizeof *w->direct);
        if (old == NULL)
            memcpy(w->direct, w->first_direct, sizeof w->first_direct);
    }
    w->direct[w->n_direct++] = (struct work_direct){p, k};
}

void
work_send_session(struct work *w, const char *nsp_name, struct store_packet *p)
{
    struct store_target t = {.nsp = nsp_name ? str_of(nsp_name) : STR_NONE,
                             .to = STORE_TO_SESSION,
                             .id = w->session_id};
    store_unit_packet(work_unit(w), &t, p);
}

static void
on_socket(void *arg, const struct store_session_socket *s)
{
    struct work_socket *k = socket_create(arg, s->socket_id);
    k->sio_id = str_dup(s->sio_id);
    k->nsp_id = s->nsp_id;
}

enum rc
work_load_sockets(struct work *w)
{
    enum rc rc = store_read_sockets(w->e->store, w->session_id, INT64_MAX, on_socket, w);
    for (struct work_socket *k = w->sockets; k != NULL && rc == RC_OK; k = k->next) {
        rc = engine_nsp_load(w->e, k->nsp_id);
        if (rc != RC_OK) /* where somebody is in it can't be forgotten */
            return rc == RC_NOTFOUND ? RC_IO : rc;
        const struct nsp *nsp = engine_nsp(w->e, k->nsp_id);
        k->nsp_name = str_dup(nsp->name);
        k->app = nsp->app;
    }
    return rc;
}

void
work_close(struct work *w, enum sio_reason reason)
{
    if (w->close_reason == SIO_R_NONE)
        w->close_reason = reason;
}
