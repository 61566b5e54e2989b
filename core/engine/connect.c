/*
 * Joining a namespace (socketio.md 1.7): middleware in order, then the socket, its
 * CONNECT reply and on_connect in one unit.
 *
 * What middleware wants for the socket that is not there yet (data, user, rooms) is kept
 * with the work_socket and done when it is accepted.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/rnd.h"
#include "core/engine/incoming.h"
#include "core/engine/user.h"
#include "core/engine/work.h"
#include "core/sio/json.h"

/* EIO-V3-REFUSAL */
struct store_packet *
connect_refusal(const struct work *w, const char *nsp_name, const char *message,
                const char *data_json)
{
    struct buf b;
    buf_init(&b);
    if (strcmp(nsp_name, "/") !=
        0) { /* the namespace may not exist, so its name travels in the body of the row */
        buf_append_z(&b, nsp_name);
        buf_append_c(&b, ',');
    }
    if (w->protocol == 3 && data_json != NULL) {
        buf_append_z(&b, data_json);
    } else if (w->protocol == 3 && message != NULL) {
        buf_append_json(&b, str_of(message), true);
    } else {
        buf_append_z(&b, "{\"message\":");
        buf_append_json(&b, str_of(message), false);
        if (data_json != NULL) {
            buf_append_z(&b, ",\"data\":");
            buf_append_z(&b, data_json);
        }
        buf_append_c(&b, '}');
    }
    struct store_packet *p =
        store_packet_create(STORE_CONNECT_ERROR, buf_str(&b), STR_NONE);
    buf_fini(&b);
    return p;
}

void
connect_error(struct work *w, const char *nsp_name, const char *message,
              const char *data_json)
{
    work_send_session(w, NULL, connect_refusal(w, nsp_name, message, data_json));
}

/* {"sid":…[,"pid":…]} */
static void
encode_reply(struct buf *reply, const char *sio_id, struct str pid)
{
    buf_init(reply);
    buf_append_z(reply, "{\"sid\":");
    buf_append_json(reply, str_of(sio_id), false);
    if (pid.len > 0) {
        buf_append_z(reply, ",\"pid\":");
        buf_append_json(reply, pid, false);
    }
    buf_append_c(reply, '}');
}

static void
accept_recovered(struct work *w, struct work_socket *k)
{
    struct recovery *r = k->recovery;
    struct buf reply;
    encode_reply(&reply, k->sio_id, str_of(r->pid));
    struct store_recover step = {
        .recovery_pid = str_of(r->pid),
        .socket_id = r->socket_id,
        .old_session_id = r->session_id,
        .session_id = w->session_id,
        .offset_seq = r->offset_seq,
        .part_seq = r->part_seq,
        .reply = buf_str(&reply),
        .reason = str_of(sio_reason_text(SIO_R_TRANSPORT_CLOSE)),
        .now_ms = w->now_ms,
        .due_ms = w->due_ms,
    };
    w->changes_state = true;
    w->e->counts.n[COUNT_RECOVERIES]++;
    store_unit_recover(work_unit(w), &step);
    buf_fini(&reply);
    k->socket_id = r->socket_id;
    call_connect(w, k);
    incoming_connect(w, k);
}

/* SIO-CONNECT */
void
connect_accept(struct work *w, struct work_socket *k)
{
    if (k->recovery != NULL) {
        accept_recovered(w, k);
        return;
    }
    struct buf reply;
    char pid[RND_ID_LEN + 1] = "";
    if (w->e->cfg->recovery_ms > 0 && w->protocol == 4)
        rnd_id(pid);
    encode_reply(&reply, k->sio_id, str_of(pid));
    char *data =
        k->own.has_data ? json_dumps(k->own.data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct store_socket_new s = {
        .session_id = w->session_id,
        .nsp = str_of(k->nsp_name),
        .sio_id = str_of(k->sio_id),
        .recovery_pid = str_of(pid),
        .data = str_of(data),
        .auth = str_of(k->auth),
        .reply = buf_str(&reply),
        .due_ms = w->due_ms,
        .now_ms = w->now_ms,
    };
    struct store_unit *u = work_unit(w);
    w->changes_state = true;
    store_unit_socket_create(u, &s);
    free(data);
    buf_fini(&reply);
    k->socket_id = STORE_NEW_SOCKET(w->n_new++);
    load_histories(u, k->app, k->nsp_name);
    if (k->own.has_user)
        store_unit_socket_user(u, k->socket_id, str_of(k->own.user));
    if (k->own.has_expiry)
        user_apply_expiry(w, k);
    struct store_target self = {.nsp = s.nsp, .to = STORE_TO_SOCKET, .id = k->socket_id};
    for (const struct work_room *r = k->own.rooms; r != NULL; r = r->next)
        if (r->is_in && r->is_history)
            store_unit_join_history(u, &self, str_of(r->name));
        else if (r->is_in)
            store_unit_join(u, &self, str_of(r->name));
    call_connect(w, k);
    incoming_connect(w, k);
}

static void
socket_drop(struct work *w, struct work_socket *k)
{
    k->own.is_gone = true; /* freed with the work; nothing finds it any more */
    (void)w;
}

void
connect_group(struct work *w, const struct work_mark *m, struct work_socket *k,
              const char *what)
{
    const struct store_group_info info = {
        .what = str_of(what),
        .nsp = str_of(k->nsp_name),
        .sio_id = str_of(k->sio_id),
        .session_id = w->session_id,
    };
    if (w->u != NULL)
        k->group = store_unit_group(w->u, work_step_of(w, m), NULL, &info);
}

/* SIO-MIDDLEWARE, SIO-MIDDLEWARE-HELD */
void
connect_resume(struct work *w, struct work_socket *k, size_t from)
{
    const struct work_mark mark = work_mark(w);
    size_t number = 0;
    for (const struct app_handler *h = k->app->use; h != NULL; h = h->next, number++) {
        char *message = NULL, *data = NULL;
        if (number < from)
            continue;
        switch (call_middleware(w, k, h->fn, number, &message, &data)) {
        case CALL_ACCEPTED:
            continue;
        case CALL_REFUSED:
            connect_error(w, k->nsp_name, message, data);
            break;
        case CALL_HELD:
            break;
        }
        socket_drop(w, k);
        free(message);
        free(data);
        connect_group(w, &mark, k, "connection");
        return;
    }
    /* SIO-HOOK-CONNECT */
    if (k->recovery == NULL && hook_hold(w, k))
        socket_drop(w, k);
    else
        connect_accept(w, k);
    connect_group(w, &mark, k, "connection");
}

/* A fresh id; revision 3 derives it from the session's (eio3.md 5.5). */
/* EIO-V3-ID */
static void
make_id(const struct work *w, const char *nsp_name, struct buf *out)
{
    char sio_id[RND_ID_LEN + 1];
    rnd_id(sio_id);
    if (w->protocol == 3 && strcmp(nsp_name, "/") != 0) {
        buf_append_z(out, nsp_name);
        buf_append_c(out, '#');
    }
    buf_append_z(out, w->protocol == 3 && w->eio_sid != NULL ? w->eio_sid : sio_id);
}

/* A string member of the auth payload, unescaped. */
static bool
auth_text(const struct work_socket *k, const char *name, struct buf *out)
{
    enum sio_json_kind kind;
    struct str value;
    return sio_json_member(str_of(k->auth), name, &kind, &value) == RC_OK &&
           kind == SIO_JSON_STRING && sio_json_unquote(value, out) == RC_OK;
}

/* The last offset that the client saw: "<epoch>.<seq>"; without one, or with one older
 * than its CONNECT, that CONNECT counts (design 7). False: of another epoch, or nonsense.
 */
/* SIO-RECOVERY-WHOLE */
static bool
offset_of(const struct work *w, struct str text, const struct store_recovery *r,
          int64_t *seq, int64_t *part_seq)
{
    size_t dot = str_index(text, '.');
    struct str rest = str_slice(text, dot + 1, text.len), part;
    size_t dot2 = str_index(rest, '.');
    int64_t epoch;
    if (text.len > 0 &&
        (str_to_int(str_slice(text, 0, dot), 0, INT64_MAX, &epoch) != RC_OK ||
         str_to_int(str_slice(rest, 0, dot2), 0, INT64_MAX, seq) != RC_OK ||
         epoch != store_epoch(w->e->store)))
        return false;
    /* SIO-HISTORY-OFFSET */
    if (dot2 < rest.len) {
        part = str_slice(rest, dot2 + 1, rest.len);
        if (str_to_int(part, 1, INT64_MAX, part_seq) != RC_OK)
            return false;
        --*seq; /* that row is not done */
    }
    if (text.len == 0 || *seq < r->first_seq) {
        *seq = r->first_seq;
        *part_seq = 0;
    }
    return *seq >= r->horizon_seq && *seq <= store_last_seq(w->e->store);
}

/* Does this CONNECT bring back a socket that was lost (socketio.md 1.10)? Then `k`
 * becomes it. */
/* SIO-RECOVERY, SIO-RECOVERY-BEFORE */
static bool
recovery_find(struct work *w, struct work_socket *k)
{
    struct store_recovery r;
    struct buf pid = {0}, offset = {0};
    int64_t seq = 0, part_seq = 0;
    bool is_asked = w->e->cfg->recovery_ms > 0 && w->protocol == 4 &&
                    auth_text(k, "pid", &pid) && pid.len > 0;
    enum rc rc =
        is_asked ? store_read_recovery(w->e->store, buf_str(&pid), &r) : RC_NOTFOUND;
    w->is_busy |= rc == RC_BUSY;
    bool is_found = rc == RC_OK && str_eqz(r.nsp, k->nsp_name) &&
                    r.session_id != w->session_id &&
                    (!r.is_lost || r.gone_ms + w->e->cfg->recovery_ms > w->now_ms);
    if (is_found) {
        (void)auth_text(k, "offset", &offset);
        is_found = offset_of(w, buf_str(&offset), &r, &seq, &part_seq);
    }
    if (is_found) {
        free(k->sio_id);
        k->sio_id = str_dup(r.sio_id);
        k->recovery = xcalloc(1, sizeof *k->recovery);
        *k->recovery = (struct recovery){r.socket_id, r.session_id, seq, part_seq,
                                         str_dup(buf_str(&pid))};
        json_t *rooms = json_loadb(r.rooms.p, r.rooms.len, JSON_ALLOW_NUL, NULL);
        work_rooms_note(k, rooms);
        json_decref(rooms);
    }
    buf_fini(&pid);
    buf_fini(&offset);
    return is_found;
}

static bool
is_banned(const struct work *w)
{
    struct str handshake, remote;
    if (!w->e->rules.has_bans || w->session_id == 0 ||
        store_read_handshake(w->e->store, w->session_id, &handshake, &remote) != RC_OK)
        return false;
    char *address = str_dup(remote);
    bool is_banned = rule_is_banned(w->e, str_of(address));
    free(address);
    return is_banned;
}

void
connect_begin(struct work *w, struct str nsp_name, struct str auth)
{
    if (is_banned(w)) { /* since its handshake */
        work_close(w, SIO_R_FORCED_SERVER_CLOSE);
        return;
    }
    char *name = str_dup(nsp_name);
    const struct app_nsp *app = app_registry_find(&w->e->app, nsp_name);
    if (app == NULL || work_n_sockets(w) >= (size_t)w->e->cfg->n_nsp_max) {
        /* SIO-NSP-INVALID */
        connect_error(w, name, "Invalid namespace",
                      w->protocol == 3 /* an object there, too (eio3.md 5.6) */
                          ? "{\"message\":\"Invalid namespace\"}"
                          : NULL);
    } else {
        struct buf sio_id;
        buf_init(&sio_id);
        make_id(w, name, &sio_id);
        struct work_socket *k = work_socket_add(w, 0, name, buf_str(&sio_id));
        buf_fini(&sio_id);
        k->app = app;
        k->auth = auth.len > 0 ? str_dup(auth) : xstrdup("{}");
        /* SIO-RECOVERY-MIDDLEWARE */
        if (recovery_find(w, k))
            connect_resume(w, k, w->e->cfg->is_recovery_skip_middleware ? SIZE_MAX : 0);
        else if (!w->is_busy)
            connect_resume(w, k, 0);
    }
    free(name);
}

/* EIO-V3-JOIN */
void
connect_main(struct work *w)
{
    connect_begin(w, STR("/"), STR("{}"));
}

void
connect_auth_of_query(struct buf *b, struct str query)
{
    struct buf scratch;
    struct eio_param params[EIO_PARAMS_MAX];
    size_t n = 0;
    buf_init(&scratch);
    if (eio_query_decode(query, &scratch, params, &n) != RC_OK)
        n = 0;
    eio_query_encode_json(b, params, n);
    buf_fini(&scratch);
}
