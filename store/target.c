/*
 * Whom a row concerns: names are looked up when the unit commits, in its transaction, and
 * become keys in the row; and the steps that append rows: packets, joins, leaves,
 * disconnects of a target.
 *
 * 1. A name means the room of that name, the socket with that id, or both. One key alone
 * is written as STORE_TO_ROOM or STORE_TO_SOCKET, more as a list without duplicates.
 * 2. Nobody there, no row: an unknown name, an empty room, a socket that is gone. Sockets
 * that are lost count, they may come back and get it. A namespace is never empty in this
 * sense.
 * 3. A set operation is ONE control row; the view t_control opens or closes the
 * memberships of those who are there at its seq. The row carries the same target, so that
 * each process can apply it to its index.
 *
 * Run functions: store thread. store_target_resolve, store_route_sockets: either thread,
 * on its own connection.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "store/step.h"

struct keys {
    int64_t *p;
    size_t n, cap;
    bool has_history;
};

struct target_step {
    struct store_step head;
    struct store_target target;
    struct str text; /* join, leave: the room; disconnect: the reason */
    bool is_close, is_history;
    int64_t now_ms;
};

/* ---- routes ---- */

static void
add_key(struct keys *k, int64_t key)
{
    if (k->n == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 8;
        k->p = xrealloc(k->p, k->cap * sizeof *k->p);
    }
    k->p[k->n++] = key;
}

static int
compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void
sort_unique(struct keys *k)
{
    size_t n = 0;
    if (k->n < 2)
        return;
    qsort(k->p, k->n, sizeof *k->p, compare_keys);
    for (size_t i = 0; i < k->n; i++)
        if (i == 0 || k->p[i] != k->p[n - 1])
            k->p[n++] = k->p[i];
    k->n = n;
}

static enum rc
resolve_name(struct store_conn *c, int64_t nsp_id, struct str name, struct keys *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_target_name);
    int64_t room_id, socket_id;
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_target_name_nsp_id, nsp_id);
    conn_bind_str(q, STORE_PARAM_target_name_name, name);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    room_id = sqlite3_column_int64(q, 0) >> 1;
    out->has_history |= (sqlite3_column_int64(q, 0) & 1) != 0;
    socket_id = sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    if (room_id)
        add_key(out, store_key(STORE_TO_ROOM, room_id));
    if (socket_id)
        add_key(out, store_key(STORE_TO_SOCKET, socket_id));
    return RC_OK;
}

/* SIO-USER */
static enum rc
resolve_user(struct store_conn *c, int64_t nsp_id, struct str user, struct keys *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_target_user);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_target_user_nsp_id, nsp_id);
    conn_bind_str(q, STORE_PARAM_target_user_user, user);
    while ((rc = conn_step(q)) == RC_OK)
        add_key(out, store_key(STORE_TO_SOCKET, sqlite3_column_int64(q, 0)));
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
resolve_names(struct store_conn *c, int64_t nsp_id, const struct str *names, size_t n,
              struct keys *out)
{
    for (size_t i = 0; i < n; i++) {
        enum rc rc = resolve_name(c, nsp_id, names[i], out);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Fills to_kind, to_id, to_keys from rooms and users. */
static enum rc
resolve_rooms(struct store_conn *c, const struct store_target *t, struct store_route *r)
{
    struct keys k = {0};
    enum rc rc = resolve_names(c, r->nsp_id, t->rooms, t->n_rooms, &k);
    for (size_t i = 0; rc == RC_OK && i < t->n_users; i++)
        rc = resolve_user(c, r->nsp_id, t->users[i], &k);
    if (rc == RC_OK && !k.n)
        rc = RC_NOTFOUND;
    if (rc != RC_OK)
        goto out;
    sort_unique(&k);
    r->has_history = k.has_history;
    if (k.n == 1) {
        r->to_kind = (enum store_to)(k.p[0] & 3);
        r->to_id = k.p[0] >> 2;
        goto out;
    }
    r->to_kind = STORE_TO_LIST;
    r->to_keys = k.p;
    r->n_to_keys = k.n;
    k.p = NULL;
out:
    free(k.p);
    return rc;
}

static enum rc
resolve_except(struct store_conn *c, const struct store_target *t, struct store_route *r)
{
    struct keys k = {0};
    enum rc rc = resolve_names(c, r->nsp_id, t->except, t->n_except, &k);
    if (rc != RC_OK || !k.n) {
        free(k.p);
        return rc;
    }
    sort_unique(&k);
    r->not_keys = k.p;
    r->n_not_keys = k.n;
    return RC_OK;
}

/* One socket: its namespace comes with it. */
static enum rc
resolve_socket(struct store_conn *c, const struct store_target *t, struct store_route *r)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_target_socket);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_target_socket_socket_id, t->id);
    rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    r->nsp_id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
resolve_session(struct store_conn *c, const struct store_target *t, struct store_route *r)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_target_session);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_target_session_session_id, t->id);
    rc = conn_step(q);
    sqlite3_reset(q);
    if (rc == RC_OK && t->nsp.len)
        rc = store_nsp_find(c, t->nsp, &r->nsp_id);
    return rc;
}

static enum rc
resolve_set(struct store_conn *c, const struct store_target *t, struct store_route *r)
{
    enum rc rc = store_nsp_find(c, t->nsp, &r->nsp_id);
    if (rc != RC_OK)
        return rc;
    if (!r->nsp_id)
        return RC_NOTFOUND;
    if (t->to == STORE_TO_NSP) {
        r->to_id = r->nsp_id;
        return RC_OK;
    }
    return resolve_rooms(c, t, r);
}

/* The one socket of a route. */
static bool
is_excluded(const struct store_route *r)
{
    for (size_t i = 0; i < r->n_not_keys; i++)
        if (r->not_keys[i] == store_key(STORE_TO_SOCKET, r->to_id))
            return true;
    return r->to_id == r->skip_id;
}

/* SIO-TARGET */
enum rc
store_target_resolve(struct store_conn *c, const struct store_target *t,
                     struct store_route *out)
{
    struct store_route r = {.to_kind = t->to, .to_id = t->id, .skip_id = t->skip_id};
    enum rc rc = RC_INVALID;
    switch (t->to) {
    case STORE_TO_NSP:
    case STORE_TO_ROOM:
    case STORE_TO_LIST:
        rc = resolve_set(c, t, &r);
        break;
    case STORE_TO_SOCKET:
        rc = resolve_socket(c, t, &r);
        break;
    case STORE_TO_SESSION:
        rc = resolve_session(c, t, &r);
        break;
    }
    if (rc == RC_OK && t->n_except)
        rc = resolve_except(c, t, &r);
    if (rc == RC_OK && r.to_kind == STORE_TO_SOCKET && is_excluded(&r))
        rc = RC_NOTFOUND;
    if (rc == RC_OK)
        *out = r;
    else
        store_route_fini(&r);
    return rc;
}

void
store_route_fini(struct store_route *r)
{
    free(r->to_keys);
    free(r->not_keys);
    *r = (struct store_route){0};
}

enum rc
store_target_route(struct store_write *w, const struct store_unit *u,
                   const struct store_target *t, struct store_route *out)
{
    struct store_target known = *t;
    if (t->to == STORE_TO_SOCKET)
        known.id = store_step_socket(u, t->id);
    known.skip_id = store_step_socket(u, t->skip_id);
    return store_target_resolve(w->conn, &known, out);
}

void
store_route_apply(struct store_route *r, struct store_packet *p)
{
    free(p->to_keys);
    free(p->not_keys);
    p->nsp_id = r->nsp_id;
    p->to_kind = r->to_kind;
    p->to_id = r->to_id;
    p->skip_id = r->to_kind == STORE_TO_SOCKET ? 0 : r->skip_id;
    p->to_keys = r->to_keys;
    p->n_to_keys = (uint32_t)r->n_to_keys;
    p->not_keys = r->not_keys;
    p->n_not_keys = (uint32_t)r->n_not_keys;
    *r = (struct store_route){0};
}

enum rc
store_route_sockets(struct store_conn *c, const struct store_route *r, int64_t **ids,
                    size_t *n)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_target_sockets);
    struct buf to = {0}, not = {0};
    struct keys k = {0};
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_target_sockets_nsp_id, r->nsp_id);
    sqlite3_bind_int(q, STORE_PARAM_target_sockets_to_kind, r->to_kind);
    sqlite3_bind_int64(q, STORE_PARAM_target_sockets_to_id, r->to_id);
    store_packet_encode_keys(&to, r->to_keys, r->n_to_keys);
    store_packet_encode_keys(&not, r->not_keys, r->n_not_keys);
    conn_bind_str_or_null(q, STORE_PARAM_target_sockets_to_list, buf_str(&to));
    conn_bind_str_or_null(q, STORE_PARAM_target_sockets_not_list, buf_str(&not ));
    store_step_bind_id(q, STORE_PARAM_target_sockets_skip_id, r->skip_id);
    while ((rc = conn_step(q)) == RC_OK)
        add_key(&k, sqlite3_column_int64(q, 0));
    buf_fini(&to);
    buf_fini(&not );
    if (rc != RC_NOTFOUND) {
        free(k.p);
        return rc;
    }
    *ids = k.p;
    *n = k.n;
    return RC_OK;
}

/* ---- steps ---- */

static struct str *
copy_names(struct store_unit *u, const struct str *names, size_t n)
{
    struct str *copy;
    if (!n)
        return NULL;
    copy = store_step_alloc(u, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = store_step_copy(u, names[i]);
    return copy;
}

void
store_target_copy(struct store_unit *u, struct store_target *dst,
                  const struct store_target *src)
{
    *dst = *src;
    dst->nsp = store_step_copy(u, src->nsp);
    dst->rooms = copy_names(u, src->rooms, src->n_rooms);
    dst->users = copy_names(u, src->users, src->n_users);
    dst->except = copy_names(u, src->except, src->n_except);
}

static struct target_step *
add_target(struct store_unit *u, store_step_fn *run, const struct store_target *t,
           struct str text)
{
    struct target_step *s = store_step_add(u, sizeof *s, run, 0);
    store_target_copy(u, &s->target, t);
    s->text = store_step_copy(u, text);
    return s;
}

static enum rc
run_packet(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    struct store_route r;
    enum rc rc = store_target_route(w, u, &((struct target_step *)step)->target, &r);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    bool has_history = r.has_history;
    store_route_apply(&r, step->packet);
    rc = store_log_append(w, step->packet);
    return rc == RC_OK && has_history ? store_history_note(w, step->packet) : rc;
}

void
store_unit_packet(struct store_unit *u, const struct store_target *t,
                  struct store_packet *p)
{
    add_target(u, run_packet, t, STR_NONE)->head.packet = p;
}

static enum rc
find_room(struct store_write *w, int64_t nsp_id, struct str name, int64_t *room_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_room_find);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_room_find_nsp_id, nsp_id);
    conn_bind_str(q, STORE_PARAM_room_find_name, name);
    rc = conn_step(q);
    if (rc == RC_OK)
        *room_id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return rc;
}

static enum rc
ensure_room(struct store_write *w, int64_t nsp_id, struct str name, int64_t *room_id)
{
    sqlite3_stmt *q;
    enum rc rc = find_room(w, nsp_id, name, room_id);
    if (rc != RC_NOTFOUND)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_room_create);
    sqlite3_bind_int64(q, STORE_PARAM_room_create_nsp_id, nsp_id);
    conn_bind_str(q, STORE_PARAM_room_create_name, name);
    sqlite3_bind_int64(q, STORE_PARAM_room_create_idle_seq, w->last_seq);
    rc = conn_done(q);
    if (rc == RC_OK)
        *room_id = sqlite3_last_insert_rowid(w->conn->db);
    return rc;
}

/* RC_NOTFOUND: it is not in. */
static enum rc
find_member(struct store_write *w, int64_t socket_id, int64_t room_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_member_find);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_member_find_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_member_find_room_id, room_id);
    rc = conn_step(q);
    sqlite3_reset(q);
    return rc;
}

static bool
is_one_socket(const struct store_route *r)
{
    return r->to_kind == STORE_TO_SOCKET && !r->n_not_keys;
}

/* RC_NOTFOUND: it is in, or has ended. */
static enum rc
check_join(struct store_write *w, int64_t socket_id, int64_t room_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_member_check);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_member_check_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_member_check_room_id, room_id);
    rc = conn_step(q);
    sqlite3_reset(q);
    return rc;
}

/* RC_NOTFOUND: no room is left. Where the engine knows the socket it has looked already:
 * it can tell the application. */
static enum rc
check_full(struct store_write *w, const struct store_target *t,
           const struct store_route *r)
{
    if (t->to == STORE_TO_SOCKET || w->cfg == NULL)
        return RC_OK;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_room_full);
    sqlite3_bind_int64(q, STORE_PARAM_room_full_socket_id, r->to_id);
    sqlite3_bind_int64(q, STORE_PARAM_room_full_n, cfg_live(&w->cfg->n_rooms_max) - 1);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    log_info("store", "join.dropped", LOG_I("socket", r->to_id),
             LOG_Z("reason", "the socket is in max_rooms rooms"));
    return RC_NOTFOUND;
}

static enum rc
append_control(struct store_write *w, struct store_packet *p, struct store_route *r,
               int64_t room_id)
{
    store_route_apply(r, p);
    p->arg_id = room_id;
    return store_log_append(w, p);
}

/* SIO-ROOM */
static enum rc
run_join(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct target_step *s = (struct target_step *)step;
    struct store_route r;
    int64_t room_id;
    enum rc rc = store_target_route(w, u, &s->target, &r);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    rc = ensure_room(w, r.nsp_id, s->text, &room_id);
    if (rc == RC_OK && is_one_socket(&r))
        rc = check_join(w, r.to_id, room_id);
    if (rc == RC_OK && is_one_socket(&r))
        rc = check_full(w, &s->target, &r);
    if (rc == RC_OK)
        rc = append_control(w, step->packet, &r, room_id);
    if (rc == RC_OK && s->is_history)
        rc = store_history_join(w, step->packet);
    store_route_fini(&r);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static struct target_step *
add_join(struct store_unit *u, const struct store_target *t, struct str room)
{
    struct target_step *s = add_target(u, run_join, t, room);
    s->head.packet = store_packet_create(STORE_JOIN, STR_NONE, STR_NONE);
    return s;
}

void
store_unit_join(struct store_unit *u, const struct store_target *t, struct str room)
{
    (void)add_join(u, t, room);
}

void
store_unit_join_history(struct store_unit *u, const struct store_target *t,
                        struct str room)
{
    add_join(u, t, room)->is_history = true;
}

static enum rc
run_leave(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct target_step *s = (struct target_step *)step;
    struct store_route r;
    int64_t room_id;
    enum rc rc = store_target_route(w, u, &s->target, &r);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    rc = find_room(w, r.nsp_id, s->text, &room_id);
    if (rc == RC_OK && is_one_socket(&r))
        rc = find_member(w, r.to_id, room_id);
    if (rc == RC_OK)
        rc = append_control(w, step->packet, &r, room_id);
    store_route_fini(&r);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

void
store_unit_leave(struct store_unit *u, const struct store_target *t, struct str room)
{
    add_target(u, run_leave, t, room)->head.packet =
        store_packet_create(STORE_LEAVE, STR_NONE, STR_NONE);
}

/* One that has ended meanwhile, perhaps with the session of another one, is no error. */
static enum rc
end_one(struct store_write *w, struct store_unit *u, int64_t socket_id,
        const struct target_step *s)
{
    struct store_end e = {.reason = s->text, .is_told = true, .now_ms = s->now_ms};
    int64_t session_id;
    enum rc rc;
    if (!s->is_close) {
        rc = store_socket_end(w, u, socket_id, &e);
        return rc == RC_NOTFOUND ? RC_OK : rc;
    }
    rc = store_socket_session(w->conn, socket_id, &session_id);
    if (rc == RC_OK)
        rc = store_session_end(w, u, session_id, &e);
    return rc == RC_NOTFOUND || rc == RC_CONFLICT ? RC_OK : rc;
}

static enum rc
run_disconnect(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct target_step *s = (struct target_step *)step;
    struct store_route r;
    int64_t *ids = NULL;
    size_t n = 0;
    enum rc rc = store_target_route(w, u, &s->target, &r);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    rc = store_route_sockets(w->conn, &r, &ids, &n);
    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = end_one(w, u, ids[i], s);
    free(ids);
    store_route_fini(&r);
    return rc;
}

void
store_unit_disconnect(struct store_unit *u, const struct store_target *t,
                      struct str reason, bool is_close, int64_t now_ms)
{
    struct target_step *s = add_target(u, run_disconnect, t, reason);
    s->is_close = is_close;
    s->now_ms = now_ms;
}
