/*
 * What comes in, for the triggers of an application in SQL: INSERTs into the public views
 * connection, event, disconnect, answer and presence (schema/views/incoming.sql). Each
 * may fail, and belongs to a group.
 *
 * Builders: loop thread. Run functions: store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "core/base/log.h"
#include "store/step.h"
#include "store/value.h"

struct incoming_step;
typedef sqlite3_stmt *
bind_fn(struct store_write *w, const struct incoming_step *s, int64_t socket_id);
struct incoming_step {
    struct store_step head;
    bind_fn *bind;
    int64_t socket_id;
    int64_t ack_id, ask_seq, presence_id;
    bool has_ack_id, is_online;
    struct str event, args, attachments; /* event */
    struct str reason, rooms;            /* disconnect */
};

static void
on_broken(void *arg, struct str trigger, struct str error)
{
    (void)arg;
    log_error("app", "trigger.broken", LOG_S("trigger", trigger), LOG_S("error", error));
}

static sqlite3_stmt *
bind_event(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_event);
    sqlite3_bind_int64(q, STORE_PARAM_incoming_event_socket_id, socket_id);
    if (s->has_ack_id)
        sqlite3_bind_int64(q, STORE_PARAM_incoming_event_ack_id, s->ack_id);
    conn_bind_str(q, STORE_PARAM_incoming_event_event, s->event);
    conn_bind_str(q, STORE_PARAM_incoming_event_args, s->args);
    if (s->attachments.len)
        store_step_bind_blob(q, STORE_PARAM_incoming_event_attachments, s->attachments);
    return q;
}

static sqlite3_stmt *
bind_connection(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_connection);
    (void)s;
    sqlite3_bind_int64(q, STORE_PARAM_incoming_connection_socket_id, socket_id);
    return q;
}

static sqlite3_stmt *
bind_disconnect(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_disconnect);
    sqlite3_bind_int64(q, STORE_PARAM_incoming_disconnect_socket_id, socket_id);
    conn_bind_str(q, STORE_PARAM_incoming_disconnect_reason, s->reason);
    conn_bind_str(q, STORE_PARAM_incoming_disconnect_rooms, s->rooms);
    return q;
}

static sqlite3_stmt *
bind_answer(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_answer);
    sqlite3_bind_int64(q, STORE_PARAM_incoming_answer_ask_seq, s->ask_seq);
    sqlite3_bind_int64(q, STORE_PARAM_incoming_answer_socket_id, socket_id);
    return q;
}

static sqlite3_stmt *
bind_ask_end(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_ask_end);
    (void)socket_id;
    sqlite3_bind_int64(q, STORE_PARAM_incoming_ask_end_ask_seq, s->ask_seq);
    return q;
}

static sqlite3_stmt *
bind_presence(struct store_write *w, const struct incoming_step *s, int64_t socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_incoming_presence);
    (void)socket_id;
    sqlite3_bind_int64(q, STORE_PARAM_incoming_presence_presence_id, s->presence_id);
    sqlite3_bind_int(q, STORE_PARAM_incoming_presence_is_online, s->is_online);
    return q;
}

static enum rc
insert(struct store_write *w, struct store_unit *u, const struct incoming_step *s)
{
    sqlite3_stmt *q = s->bind(w, s, store_step_socket(u, s->socket_id));
    return store_value_run_app(w, u, q);
}

/* A trigger whose table has gone since the start fails all others: they are mended, once.
 */
static enum rc
fire(struct store_write *w, struct store_unit *u, const struct incoming_step *s)
{
    size_t n = 0;
    if (!store_step_has_time(u))
        return RC_INVALID;
    enum rc rc = insert(w, u, s);
    if (rc != RC_OK && sqlite3_errcode(w->conn->db) == SQLITE_ERROR &&
        !sqlite3_get_autocommit(w->conn->db)) {
        store_step_error(u, "%s", sqlite3_errmsg(w->conn->db));
        rc = store_app_mend(w->conn, on_broken, NULL, &n);
        if (rc != RC_OK)
            return rc;
        if (n == 0)
            return RC_INVALID;
        rc = insert(w, u, s);
    }
    if (rc != RC_OK)
        store_step_error(u, "%s", store_value_error(w->conn, rc));
    return rc;
}

static enum rc
run_incoming(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    return fire(w, u, (struct incoming_step *)step);
}

static enum rc
run_answer(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    return store_step_has_answered(u) ? run_incoming(w, u, step) : RC_OK;
}

/* RC_INVALID: the application refused the connection. */
static enum rc
verdict(struct store_write *w, struct store_unit *u, const struct incoming_step *s,
        int64_t socket_id)
{
    sqlite3_stmt *read = conn_stmt(w->conn, STORE_STMT_connecting_read);
    sqlite3_stmt *remove;
    bool is_refused;
    enum rc rc;
    sqlite3_bind_int64(read, STORE_PARAM_connecting_read_socket_id, socket_id);
    rc = conn_step(read);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_IO : rc;
    is_refused = sqlite3_column_int(read, 0) != 0;
    if (is_refused)
        store_group_refuse(u, &s->head, conn_column(read, 1), conn_column(read, 2));
    sqlite3_reset(read);
    if (is_refused)
        return RC_INVALID;
    remove = conn_stmt(w->conn, STORE_STMT_connecting_remove);
    sqlite3_bind_int64(remove, STORE_PARAM_connecting_remove_socket_id, socket_id);
    return conn_done(remove);
}

static enum rc
run_connection(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct incoming_step *s = (struct incoming_step *)step;
    int64_t socket_id = store_step_socket(u, s->socket_id);
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_connecting_add);
    enum rc rc;
    sqlite3_bind_int64(q, STORE_PARAM_connecting_add_socket_id, socket_id);
    rc = conn_done(q);
    if (rc == RC_OK)
        rc = fire(w, u, s);
    return rc == RC_OK ? verdict(w, u, s, socket_id) : rc;
}

static struct incoming_step *
add(struct store_unit *u, store_step_fn *run, bind_fn *bind, int64_t socket_id)
{
    struct incoming_step *s = store_step_add(u, sizeof *s, run, STORE_STEP_RISKY);
    s->bind = bind;
    s->socket_id = socket_id;
    return s;
}

void
store_unit_incoming_connection(struct store_unit *u, int64_t socket_id)
{
    (void)add(u, run_connection, bind_connection, socket_id);
}

void
store_unit_incoming_event(struct store_unit *u, const struct store_incoming_event *ev)
{
    struct incoming_step *s = add(u, run_incoming, bind_event, ev->socket_id);
    char *args = store_step_alloc(u, ev->args.len + 2);
    s->has_ack_id = ev->has_ack_id;
    s->ack_id = ev->ack_id;
    s->event = store_step_copy(u, ev->event);
    args[0] = '[';
    if (ev->args.len)
        memcpy(args + 1, ev->args.p, ev->args.len);
    args[ev->args.len + 1] = ']';
    s->args = (struct str){args, ev->args.len + 2};
    s->attachments = store_step_copy(u, ev->attachments);
}

void
store_unit_incoming_disconnect(struct store_unit *u, int64_t socket_id, struct str reason,
                               struct str rooms)
{
    struct incoming_step *s = add(u, run_incoming, bind_disconnect, socket_id);
    s->reason = store_step_copy(u, reason);
    s->rooms = store_step_copy(u, rooms.len ? rooms : STR("[]"));
}

void
store_unit_incoming_answer(struct store_unit *u, int64_t ask_seq, int64_t socket_id)
{
    add(u, run_answer, bind_answer, socket_id)->ask_seq = ask_seq;
}

void
store_unit_incoming_ask_end(struct store_unit *u, int64_t ask_seq)
{
    add(u, run_incoming, bind_ask_end, 0)->ask_seq = ask_seq;
}

void
store_unit_incoming_presence(struct store_unit *u, int64_t presence_id, bool is_online)
{
    struct incoming_step *s = add(u, run_incoming, bind_presence, 0);
    s->presence_id = presence_id;
    s->is_online = is_online;
}
