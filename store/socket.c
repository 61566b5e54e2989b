/*
 * Steps on sockets: their beginning, end, data and user; and the namespaces.
 *
 * 1. A socket's namespace interval begins with its CONNECT reply and ends with its LOST
 * or GONE row; both are written in the commit that changes its state.
 * 2. A socket ends once, with one job for its handlers: whoever comes second finds
 * nothing to do.
 *
 * Run functions: store thread. store_nsp_ensure: loop thread, at start.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/step.h"

struct create_step {
    struct store_step head;
    struct store_socket_new s;
};

struct socket_step {
    struct store_step head;
    int64_t socket_id, now_ms;
    struct str text;
    bool is_lost;
};

enum rc
store_nsp_find(struct store_conn *c, struct str name, int64_t *nsp_id)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_nsp_find);
    enum rc rc;
    conn_bind_str(q, STORE_PARAM_nsp_find_name, name);
    rc = conn_step(q);
    if (rc == RC_OK)
        *nsp_id = sqlite3_column_int64(q, 0);
    else if (rc == RC_NOTFOUND)
        *nsp_id = 0;
    else
        return rc;
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
ensure_nsp(struct store_conn *c, struct str name, int64_t *nsp_id)
{
    sqlite3_stmt *q;
    enum rc rc = store_nsp_find(c, name, nsp_id);
    if (rc != RC_OK || *nsp_id)
        return rc;
    q = conn_stmt(c, STORE_STMT_nsp_create);
    conn_bind_str(q, STORE_PARAM_nsp_create_name, name);
    rc = conn_done(q);
    if (rc == RC_OK)
        *nsp_id = sqlite3_last_insert_rowid(c->db);
    return rc;
}

static enum rc
keep_nsp(struct store_conn *c, int64_t nsp_id)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_nsp_keep);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_keep_nsp_id, nsp_id);
    return conn_done(q);
}

enum rc
store_nsp_ensure(struct store *st, struct str name)
{
    struct store_conn *c;
    int64_t nsp_id;
    enum rc rc = store_setup_begin(st, &c), end;
    if (rc != RC_OK)
        return rc;
    rc = ensure_nsp(c, name, &nsp_id);
    if (rc == RC_OK)
        rc = keep_nsp(c, nsp_id);
    end = store_setup_end(st, rc == RC_OK);
    return rc == RC_OK ? end : rc;
}

/* ---- creation ---- */

static enum rc
free_id(struct store_write *w, struct str sio_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_free_id);
    conn_bind_str(q, STORE_PARAM_socket_free_id_sio_id, sio_id);
    return conn_done(q);
}

static enum rc
insert_socket(struct store_write *w, const struct store_socket_new *s, int64_t nsp_id,
              int64_t *socket_id)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_create);
    enum rc rc;
    conn_bind_str(q, STORE_PARAM_socket_create_sio_id, s->sio_id);
    sqlite3_bind_int64(q, STORE_PARAM_socket_create_nsp_id, nsp_id);
    sqlite3_bind_int64(q, STORE_PARAM_socket_create_session_id, s->session_id);
    conn_bind_str_or_null(q, STORE_PARAM_socket_create_recovery_pid, s->recovery_pid);
    conn_bind_str(q, STORE_PARAM_socket_create_data, s->data);
    conn_bind_str(q, STORE_PARAM_socket_create_auth, s->auth);
    rc = conn_done(q);
    if (rc == RC_OK)
        *socket_id = sqlite3_last_insert_rowid(w->conn->db);
    return rc;
}

static enum rc
begin_socket(struct store_write *w, int64_t socket_id, int64_t seq)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_begin);
    sqlite3_bind_int64(q, STORE_PARAM_socket_begin_socket_id, socket_id);
    sqlite3_bind_int64(q, STORE_PARAM_socket_begin_seq, seq);
    return conn_done(q);
}

enum rc
store_socket_connected(struct store_write *w, int64_t session_id, int64_t due_ms)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_connected);
    sqlite3_bind_int64(q, STORE_PARAM_socket_connected_session_id, session_id);
    store_step_bind_id(q, STORE_PARAM_socket_connected_due_ms, due_ms);
    return conn_done(q);
}

static enum rc
run_socket_create(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct store_socket_new *s = &((struct create_step *)step)->s;
    struct store_packet *p = step->packet;
    int64_t nsp_id, socket_id;
    enum rc rc = ensure_nsp(w->conn, s->nsp, &nsp_id);
    if (rc == RC_OK)
        rc = free_id(w, s->sio_id);
    if (rc == RC_OK)
        rc = insert_socket(w, s, nsp_id, &socket_id);
    if (rc != RC_OK)
        return rc;
    p->nsp_id = nsp_id;
    p->to_kind = STORE_TO_SESSION;
    p->to_id = s->session_id;
    p->socket_id = socket_id;
    rc = store_log_append(w, p);
    if (rc == RC_OK)
        rc = begin_socket(w, socket_id, p->seq);
    if (rc == RC_OK)
        rc = store_socket_connected(w, s->session_id, s->due_ms);
    if (rc == RC_OK)
        store_step_note_socket(u, socket_id);
    return rc;
}

void
store_unit_socket_create(struct store_unit *u, const struct store_socket_new *s)
{
    struct create_step *step =
        store_step_add(u, sizeof *step, run_socket_create, STORE_STEP_SOCKET);
    step->s = *s;
    step->s.nsp = store_step_copy(u, s->nsp);
    step->s.sio_id = store_step_copy(u, s->sio_id);
    step->s.recovery_pid = store_step_copy(u, s->recovery_pid);
    step->s.data = store_step_copy(u, s->data.len ? s->data : STR("null"));
    step->s.auth = store_step_copy(u, s->auth.len ? s->auth : STR("{}"));
    step->s.reply = STR_NONE; /* in the packet */
    step->head.packet = store_packet_create(STORE_CONNECT, s->reply, STR_NONE);
}

/* ---- end ---- */

enum rc
store_socket_session(struct store_conn *c, int64_t socket_id, int64_t *session_id)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_socket_session);
    sqlite3_bind_int64(q, STORE_PARAM_socket_session_socket_id, socket_id);
    enum rc rc = conn_step(q);
    if (rc == RC_OK)
        *session_id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return rc;
}

struct ending {
    int64_t nsp_id, session_id;
    bool has_pid;
    struct buf args; /* of the job */
};

/* The rooms are noted before they are left: handlers may want to know them. */
static enum rc
read_ending(struct store_write *w, int64_t socket_id, const struct store_end *e,
            struct ending *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_ending);
    sqlite3_bind_int64(q, STORE_PARAM_socket_ending_socket_id, socket_id);
    enum rc rc = conn_step(q);
    if (rc != RC_OK)
        return rc;
    out->nsp_id = sqlite3_column_int64(q, 0);
    out->session_id = sqlite3_column_int64(q, 1);
    out->has_pid = sqlite3_column_int(q, 2) != 0;
    buf_append_z(&out->args, "{\"reason\":");
    buf_append_json(&out->args, e->reason, false);
    buf_append_z(&out->args, ",\"rooms\":");
    buf_append_str(&out->args, conn_column(q, 3));
    buf_append_c(&out->args, '}');
    sqlite3_reset(q);
    return RC_OK;
}

static enum rc
append_row(struct store_write *w, enum store_kind kind, int64_t nsp_id,
           enum store_to to_kind, int64_t to_id, struct str body)
{
    struct store_packet *p = store_packet_create(kind, body, STR_NONE);
    p->nsp_id = nsp_id;
    p->to_kind = to_kind;
    p->to_id = to_id;
    enum rc rc = store_log_append(w, p);
    store_packet_unref(p);
    return rc;
}

/* Its session may have no namespace any more, its namespace no socket. */
static enum rc
note_last(struct store_write *w, const struct ending *end, int64_t now_ms)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_last);
    sqlite3_bind_int64(q, STORE_PARAM_socket_last_session_id, end->session_id);
    sqlite3_bind_int64(q, STORE_PARAM_socket_last_due_ms,
                       now_ms + cfg_live(&w->cfg->empty_session_ms));
    enum rc rc = conn_done(q);
    if (rc != RC_OK || !w->cfg->is_cleanup_nsp)
        return rc;
    q = conn_stmt(w->conn, STORE_STMT_nsp_idle);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_idle_nsp_id, end->nsp_id);
    sqlite3_bind_int64(q, STORE_PARAM_nsp_idle_seq, w->last_seq);
    return conn_done(q);
}

enum rc
store_socket_end(struct store_write *w, struct store_unit *u, int64_t socket_id,
                 const struct store_end *e)
{
    struct ending end = {0};
    enum rc rc = read_ending(w, socket_id, e, &end);
    bool is_lost = e->is_recoverable && end.has_pid;
    if (rc == RC_OK && e->is_told)
        rc = append_row(w, STORE_DISCONNECT, end.nsp_id, STORE_TO_SESSION, end.session_id,
                        STR_NONE);
    if (rc == RC_OK)
        rc = append_row(w, is_lost ? STORE_LOST : STORE_GONE, end.nsp_id, STORE_TO_SOCKET,
                        socket_id, e->reason);
    if (rc == RC_OK)
        rc = store_job_create(w, u, e->now_ms, STR("disconnect"), socket_id,
                              buf_str(&end.args), 0, NULL);
    if (rc == RC_OK && w->cfg != NULL)
        rc = note_last(w, &end, e->now_ms);
    buf_fini(&end.args);
    return rc;
}

static enum rc
run_socket_end(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct socket_step *s = (struct socket_step *)step;
    struct store_end e = {
        .reason = s->text, .is_recoverable = s->is_lost, .now_ms = s->now_ms};
    enum rc rc = store_socket_end(w, u, store_step_socket(u, s->socket_id), &e);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static struct socket_step *
add_socket(struct store_unit *u, store_step_fn *run, int64_t socket_id, struct str text)
{
    struct socket_step *s = store_step_add(u, sizeof *s, run, 0);
    s->socket_id = socket_id;
    s->text = store_step_copy(u, text);
    return s;
}

void
store_unit_socket_end(struct store_unit *u, int64_t socket_id, bool is_lost,
                      struct str reason, int64_t now_ms)
{
    struct socket_step *s = add_socket(u, run_socket_end, socket_id, reason);
    s->is_lost = is_lost;
    s->now_ms = now_ms;
}

/* ---- state ---- */

static enum rc
run_socket_data(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct socket_step *s = (struct socket_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_data);
    sqlite3_bind_int64(q, STORE_PARAM_socket_data_socket_id,
                       store_step_socket(u, s->socket_id));
    conn_bind_str(q, STORE_PARAM_socket_data_data, s->text);
    return conn_done(q);
}

void
store_unit_socket_data(struct store_unit *u, int64_t socket_id, struct str data_json)
{
    (void)add_socket(u, run_socket_data, socket_id, data_json);
}

static enum rc
run_socket_user(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    const struct socket_step *s = (struct socket_step *)step;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_socket_user);
    sqlite3_bind_int64(q, STORE_PARAM_socket_user_socket_id,
                       store_step_socket(u, s->socket_id));
    conn_bind_str_or_null(q, STORE_PARAM_socket_user_user, s->text);
    return conn_done(q);
}

void
store_unit_socket_user(struct store_unit *u, int64_t socket_id, struct str user)
{
    (void)add_socket(u, run_socket_user, socket_id, user);
}
