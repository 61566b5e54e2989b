/*
 * A random history of one store: sockets that come, end and are recovered, joins, leaves,
 * packets to all kinds of targets. Each operation is told to the store and to a simple
 * model, which knows what every session is due.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_TESTS_UNIT_ENGINE_HISTORY_H
#define SIOLITE_TESTS_UNIT_ENGINE_HISTORY_H

#include "tests/unit/store_world.h"

#define H_UNUSED __attribute__((unused))

enum {
    N_SESSIONS = 14,
    N_SOCKETS = 80,
    N_ROOMS = 5,
    N_USERS = 3,
    N_POINTS = 600,
    NOW_MS = 1000000
};

/* ---- the model ---- */

struct owed { /* a packet that somebody is due */
    int op;   /* number of the operation that made it */
    bool is_volatile, is_local, is_sender;
    char what[48]; /* kind and body */
};

struct list {
    struct owed *p;
    size_t n, cap;
};

enum socket_state { OPEN, LOST, GONE };

struct m_socket {
    int64_t id;
    int session, nsp, user;
    enum socket_state state;
    unsigned rooms; /* bits */
    char sio_id[16];
    int first_op;
    struct list missable; /* events that are due to it, lost or not */
};

struct m_session {
    int64_t id;
    bool is_open;
    bool is_bereft; /* a socket of it went on elsewhere: nobody asks any more */
    struct list owed;
};

struct m_target { /* numbers are indices here, -1: none */
    enum store_to to;
    int nsp, socket, skip, named, user, except_named;
    unsigned rooms, except;
};

struct m_recovery {
    int64_t connect_socket_id;
    int socket, from_op, op;
};

struct process;

struct history {
    struct world w;
    uint64_t random;
    int op;
    struct m_session sessions[N_SESSIONS];
    int n_sessions;
    struct m_socket sockets[N_SOCKETS];
    int n_sockets;
    struct m_recovery recoveries[N_SOCKETS];
    int n_recoveries;
    struct {
        int64_t seq;
        int op;
    } points[N_POINTS]; /* between two commits */
    int n_points;
    struct process *processes; /* of the test, told of each row */
    int64_t created_id;        /* by the last unit */
    size_t n_compared, n_replayed;
};

H_UNUSED static const char *const nsps[] = {"/", "/b"};
H_UNUSED static const char *const rooms[N_ROOMS] = {"r0", "r1", "r2", "r3", "r4"};
H_UNUSED static const char *const users[N_USERS] = {"anna", "bert", "carl"};

H_UNUSED static unsigned
dice(struct history *h, unsigned n)
{
    h->random = h->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(h->random >> 33) % n;
}

H_UNUSED static void
list_add(struct list *l, const struct owed *o)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->p = xrealloc(l->p, l->cap * sizeof *l->p);
    }
    l->p[l->n++] = *o;
}

H_UNUSED static bool
is_target(const struct history *h, const struct m_target *t, int socket)
{
    const struct m_socket *k = &h->sockets[socket];
    if (k->nsp != t->nsp || socket == t->skip || socket == t->except_named ||
        (k->rooms & t->except))
        return false;
    switch (t->to) {
    case STORE_TO_NSP:
        return true;
    case STORE_TO_SOCKET:
        return socket == t->socket;
    case STORE_TO_ROOM:
        return (k->rooms & t->rooms) || socket == t->named ||
               (t->user >= 0 && k->user == t->user);
    case STORE_TO_SESSION:
    case STORE_TO_LIST:
        return false;
    }
    return false;
}

/* ---- targets, for both ---- */

H_UNUSED static int
random_socket(struct history *h, int nsp, bool is_open)
{
    for (int i = 0; i < 30 && h->n_sockets > 0; i++) {
        int k = (int)dice(h, (unsigned)h->n_sockets);
        if (h->sockets[k].nsp == nsp && (!is_open || h->sockets[k].state == OPEN))
            return k;
    }
    return -1;
}

H_UNUSED static struct m_target
random_target(struct history *h)
{
    struct m_target t = {.nsp = dice(h, 4) == 0,
                         .socket = -1,
                         .skip = -1,
                         .named = -1,
                         .user = -1,
                         .except_named = -1};
    switch (dice(h, 4)) {
    case 0:
        t.to = STORE_TO_NSP;
        break;
    case 1:
        t.to = STORE_TO_SOCKET;
        t.socket = random_socket(h, t.nsp, false);
        if (t.socket < 0)
            t.to = STORE_TO_NSP;
        break;
    default:
        t.to = STORE_TO_ROOM;
        t.rooms = 1u << dice(h, N_ROOMS);
        if (dice(h, 3) == 0)
            t.rooms |= 1u << dice(h, N_ROOMS);
        if (dice(h, 4) == 0)
            t.named = random_socket(h, t.nsp, false);
        if (dice(h, 4) == 0)
            t.user = (int)dice(h, N_USERS);
    }
    if (dice(h, 3) == 0)
        t.skip = random_socket(h, t.nsp, false);
    if (dice(h, 3) == 0)
        t.except = 1u << dice(h, N_ROOMS);
    if (dice(h, 6) == 0)
        t.except_named = random_socket(h, t.nsp, false);
    return t;
}

struct names {
    struct str rooms[N_ROOMS + 1], except[N_ROOMS + 1], user;
};

H_UNUSED static size_t
name_rooms(const struct history *h, unsigned set, int named, struct str *out)
{
    size_t n = 0;
    for (int i = 0; i < N_ROOMS; i++)
        if (set & 1u << i)
            out[n++] = str_of(rooms[i]);
    if (named >= 0)
        out[n++] = str_of(h->sockets[named].sio_id);
    return n;
}

H_UNUSED static struct store_target
store_target_of(const struct history *h, const struct m_target *t, struct names *names)
{
    struct store_target s = {.nsp = str_of(nsps[t->nsp]), .to = t->to};
    s.id = t->socket >= 0 ? h->sockets[t->socket].id : 0;
    s.skip_id = t->skip >= 0 ? h->sockets[t->skip].id : 0;
    s.rooms = names->rooms;
    s.n_rooms = name_rooms(h, t->rooms, t->named, names->rooms);
    s.except = names->except;
    s.n_except = name_rooms(h, t->except, t->except_named, names->except);
    if (t->user >= 0) {
        names->user = str_of(users[t->user]);
        s.users = &names->user;
        s.n_users = 1;
    }
    return s;
}

/* ---- operations: what the store is told, and the model ---- */

H_UNUSED static void
owe(struct history *h, const struct m_target *t, struct owed *o, int sender,
    bool is_missable)
{
    for (int i = 0; i < h->n_sockets; i++) {
        struct m_socket *k = &h->sockets[i];
        if (k->state == GONE || !is_target(h, t, i))
            continue;
        o->is_sender = i == sender;
        if (k->state == OPEN)
            list_add(&h->sessions[k->session].owed, o);
        if (is_missable)
            list_add(&k->missable, o);
    }
}

H_UNUSED static void
op_emit(struct history *h, struct store_unit *u)
{
    struct m_target t = random_target(h);
    struct names names;
    struct store_target target = store_target_of(h, &t, &names);
    char body[40];
    bool is_binary = dice(h, 5) == 0, is_ask = dice(h, 8) == 0, is_ack;
    struct owed o = {
        .op = h->op, .is_volatile = dice(h, 7) == 0, .is_local = dice(h, 5) == 0};
    int sender = o.is_local ? random_socket(h, t.nsp, true) : -1;
    is_ack = t.to == STORE_TO_SOCKET && dice(h, 3) == 0;
    enum store_kind kind = is_ack      ? STORE_ACK
                           : is_binary ? STORE_BINARY_EVENT
                                       : STORE_EVENT;
    snprintf(body, sizeof body, "[\"e\",%d]", h->op);
    snprintf(o.what, sizeof o.what, "%d:%s", (int)kind, body);
    struct store_packet *p = store_packet_create(
        kind, str_of(body), kind == STORE_BINARY_EVENT ? STR("\0\0\0\1x") : STR_NONE);
    p->is_volatile = o.is_volatile;
    p->is_local = o.is_local;
    p->is_ask = is_ask;
    p->arg_id = sender >= 0 ? h->sockets[sender].id : 0;
    store_unit_packet(u, &target, p);
    owe(h, &t, &o, sender, !is_ack && !is_ask && !o.is_volatile);
}

H_UNUSED static void
op_move(struct history *h, struct store_unit *u, bool is_join)
{
    struct m_target t = random_target(h);
    struct names names;
    struct store_target target = store_target_of(h, &t, &names);
    unsigned room = dice(h, N_ROOMS), bit = 1u << room, before[N_SOCKETS];
    if (is_join)
        store_unit_join(u, &target, str_of(rooms[room]));
    else
        store_unit_leave(u, &target, str_of(rooms[room]));
    for (int i = 0; i < h->n_sockets; i++)
        before[i] = h->sockets[i].state == OPEN && is_target(h, &t, i);
    for (int i = 0; i < h->n_sockets; i++)
        if (before[i])
            h->sockets[i].rooms =
                is_join ? h->sockets[i].rooms | bit : h->sockets[i].rooms & ~bit;
}

H_UNUSED static void
op_disconnect(struct history *h, struct store_unit *u)
{
    struct m_target t = random_target(h);
    struct names names;
    struct store_target target;
    struct owed o = {.op = h->op, .what = "1:"};
    if (t.to == STORE_TO_NSP) /* not all of them */
        t.to = STORE_TO_ROOM, t.rooms = 1;
    target = store_target_of(h, &t, &names);
    store_unit_disconnect(u, &target, STR("server namespace disconnect"), false, NOW_MS);
    bool is_due[N_SOCKETS];
    for (int i = 0; i < h->n_sockets; i++)
        is_due[i] = h->sockets[i].state == OPEN && is_target(h, &t, i);
    for (int i = 0; i < h->n_sockets; i++)
        if (is_due[i]) {
            list_add(&h->sessions[h->sockets[i].session].owed, &o);
            h->sockets[i].state = GONE;
        }
}

H_UNUSED static void
op_end(struct history *h, struct store_unit *u)
{
    int k = random_socket(h, 0, true);
    bool is_lost = dice(h, 2);
    if (k < 0)
        return;
    store_unit_socket_end(u, h->sockets[k].id, is_lost, STR("transport close"), NOW_MS);
    h->sockets[k].state = is_lost ? LOST : GONE;
}

H_UNUSED static void
op_refuse(struct history *h, struct store_unit *u) /* a packet to the session itself */
{
    int s = (int)dice(h, (unsigned)h->n_sessions);
    struct owed o = {.op = h->op};
    char body[40];
    if (!h->sessions[s].is_open)
        return;
    struct store_target t = {
        .nsp = STR("/"), .to = STORE_TO_SESSION, .id = h->sessions[s].id};
    snprintf(body, sizeof body, "{\"message\":\"%d\"}", h->op);
    snprintf(o.what, sizeof o.what, "4:%s", body);
    store_unit_packet(u, &t,
                      store_packet_create(STORE_CONNECT_ERROR, str_of(body), STR_NONE));
    list_add(&h->sessions[s].owed, &o);
}

H_UNUSED static bool
has_socket(const struct history *h, int session, int nsp)
{
    for (int i = 0; i < h->n_sockets; i++)
        if (h->sockets[i].session == session && h->sockets[i].nsp == nsp &&
            h->sockets[i].state == OPEN)
            return true;
    return false;
}

H_UNUSED static int
session_without_socket(struct history *h, int nsp)
{
    for (int i = 0; i < 20; i++) {
        int s = (int)dice(h, (unsigned)h->n_sessions);
        if (h->sessions[s].is_open && !has_socket(h, s, nsp))
            return s;
    }
    return -1;
}

H_UNUSED static void
reply_of(const struct history *h, const struct m_socket *k, char *reply, struct owed *o)
{
    snprintf(reply, 40, "{\"sid\":\"%s\",\"n\":%d}", k->sio_id, h->op);
    *o = (struct owed){.op = h->op};
    snprintf(o->what, sizeof o->what, "0:%s", reply);
}

H_UNUSED static void
op_connect(struct history *h, struct store_unit *u)
{
    int nsp = dice(h, 4) == 0, s = session_without_socket(h, nsp);
    char reply[40], pid[24];
    struct owed o;
    if (s < 0 || h->n_sockets == N_SOCKETS)
        return;
    struct m_socket *k = &h->sockets[h->n_sockets++];
    *k = (struct m_socket){
        .session = s, .nsp = nsp, .user = (int)dice(h, N_USERS), .first_op = h->op};
    snprintf(k->sio_id, sizeof k->sio_id, "k%d", h->n_sockets);
    snprintf(pid, sizeof pid, "p%d", h->n_sockets);
    reply_of(h, k, reply, &o);
    store_unit_socket_create(u,
                             &(struct store_socket_new){.session_id = h->sessions[s].id,
                                                        .nsp = str_of(nsps[nsp]),
                                                        .sio_id = str_of(k->sio_id),
                                                        .recovery_pid = str_of(pid),
                                                        .reply = str_of(reply),
                                                        .now_ms = NOW_MS});
    store_unit_socket_user(u, STORE_NEW_SOCKET(0), str_of(users[k->user]));
    list_add(&h->sessions[s].owed, &o);
}

H_UNUSED static void
model_close(struct history *h, int session, bool is_recoverable)
{
    h->sessions[session].is_open = false;
    for (int i = 0; i < h->n_sockets; i++)
        if (h->sockets[i].session == session && h->sockets[i].state == OPEN)
            h->sockets[i].state = is_recoverable ? LOST : GONE;
}

H_UNUSED static void
op_close(struct history *h, struct store_unit *u)
{
    int s = (int)dice(h, (unsigned)h->n_sessions);
    bool is_recoverable = dice(h, 3) > 0;
    if (!h->sessions[s].is_open)
        return;
    store_unit_session_close(u, h->sessions[s].id, STR("transport close"), is_recoverable,
                             NOW_MS, 0);
    model_close(h, s, is_recoverable);
}

/* A socket that was lost, or whose loss nobody noticed yet, goes on in another session.
 */
H_UNUSED static void
op_recover(struct history *h, struct store_unit *u)
{
    int nsp = dice(h, 4) == 0, s = session_without_socket(h, nsp), i, point;
    i = random_socket(h, nsp, false);
    if (s < 0 || i < 0 || h->sockets[i].session == s || h->sockets[i].state == GONE ||
        h->n_recoveries == N_SOCKETS)
        return;
    struct m_socket *k = &h->sockets[i];
    if (k->state == OPEN && dice(h, 4))
        return;
    do
        point = (int)dice(h, (unsigned)h->n_points);
    while (h->points[point].op < k->first_op);
    char reply[40], pid[24];
    struct owed o;
    snprintf(pid, sizeof pid, "p%d", i + 1);
    reply_of(h, k, reply, &o);
    store_unit_recover(
        u, &(struct store_recover){.recovery_pid = str_of(pid),
                                   .socket_id = k->id,
                                   .old_session_id = h->sessions[k->session].id,
                                   .session_id = h->sessions[s].id,
                                   .offset_seq = h->points[point].seq,
                                   .reply = str_of(reply),
                                   .reason = STR("transport close"),
                                   .now_ms = NOW_MS});
    if (k->state == OPEN) /* its session ends first */
        model_close(h, k->session, true);
    h->sessions[k->session].is_bereft = true;
    k->session = s;
    k->state = OPEN;
    list_add(&h->sessions[s].owed, &o);
    h->recoveries[h->n_recoveries++] =
        (struct m_recovery){k->id, i, h->points[point].op, h->op};
}

H_UNUSED static void
op_open(struct history *h, struct store_unit *u)
{
    char eio_sid[24];
    if (h->n_sessions == N_SESSIONS)
        return;
    snprintf(eio_sid, sizeof eio_sid, "e%d", h->n_sessions);
    store_unit_session_create(u,
                              &(struct store_session_new){.eio_sid = str_of(eio_sid),
                                                          .protocol = 4,
                                                          .handshake = STR("{}"),
                                                          .now_ms = NOW_MS,
                                                          .ping_ms = NOW_MS,
                                                          .due_ms = NOW_MS * 2,
                                                          .connect_due_ms = NOW_MS * 2});
    h->sessions[h->n_sessions++].is_open = true;
}

/* ---- running them ---- */

H_UNUSED static void
on_unit(struct world *w, const struct store_result *r)
{
    struct history *h = (struct history *)((char *)w - offsetof(struct history, w));
    if (r->n_new_sockets)
        h->created_id = r->new_socket_ids[0];
    else if (r->lease.session_id)
        h->created_id = r->lease.session_id;
    if (r->rc != RC_OK)
        fail_msg("operation %d: %s %s", h->op, rc_text(r->rc), r->error);
}

H_UNUSED static void
commit(struct history *h, struct store_unit *u)
{
    h->created_id = 0;
    store_unit_submit(h->w.st, u, world_on_done, &h->w);
    world_settle(&h->w);
    assert_true(h->n_points < N_POINTS);
    h->points[h->n_points].seq = store_last_seq(h->w.st);
    h->points[h->n_points++].op = h->op;
}

H_UNUSED static void
step_alone(struct history *h, void (*op)(struct history *h, struct store_unit *u))
{
    struct store_unit *u = store_unit_create();
    int n_sessions = h->n_sessions, n_sockets = h->n_sockets;
    h->op++;
    op(h, u);
    commit(h, u);
    if (h->n_sessions > n_sessions)
        h->sessions[n_sessions].id = h->created_id;
    if (h->n_sockets > n_sockets)
        h->sockets[n_sockets].id = h->created_id;
}

H_UNUSED static void
step_several(struct history *h)
{
    struct store_unit *u = store_unit_create();
    for (unsigned n = 1 + dice(h, 4); n > 0; n--) {
        h->op++;
        switch (dice(h, 20)) {
        case 0:
            op_disconnect(h, u);
            break;
        case 1:
            op_end(h, u);
            break;
        case 2:
            op_refuse(h, u);
            break;
        case 3:
        case 4:
        case 5:
        case 6:
            op_move(h, u, true);
            break;
        case 7:
        case 8:
            op_move(h, u, false);
            break;
        default:
            op_emit(h, u);
        }
    }
    commit(h, u);
}

H_UNUSED static void
step(struct history *h)
{
    switch (dice(h, 16)) {
    case 0:
        step_alone(h, op_open);
        break;
    case 1:
    case 2:
    case 3:
        step_alone(h, op_connect);
        break;
    case 4:
        step_alone(h, dice(h, 2) ? op_close : op_recover);
        break;
    case 5:
        step_alone(h, op_recover);
        break;
    default:
        step_several(h);
    }
}

#endif
