/*
 * The log: appending rows in a transaction of the store thread, and reading rows back.
 *
 * 1. The seq of an appended row is the one that the write connection's update hook saw:
 * it is called for rows of t_packet alone and of the trigger behind t_control alike.
 * 2. A read never takes more than READ_BYTES_MAX of bodies at once: the loop reads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/internal.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/log.h"

enum { READ_BYTES_MAX = 4 * 1024 * 1024 };

/* In the order of `log_read`. */
enum column {
    COL_SEQ,
    COL_KIND,
    COL_NSP_ID,
    COL_TO_KIND,
    COL_TO_ID,
    COL_TO_LIST,
    COL_NOT_LIST,
    COL_SKIP_ID,
    COL_ARG_ID,
    COL_SOCKET_ID,
    COL_ACK_ID,
    COL_IS_ASK,
    COL_IS_VOLATILE,
    COL_IS_LOCAL,
    COL_IS_PLAIN,
    COL_ORIGIN_ID,
    COL_MADE_MS,
    COL_BODY,
    COL_ATTACHMENTS
};

static void
bind_id(sqlite3_stmt *stmt, int index, int64_t id)
{
    if (id)
        sqlite3_bind_int64(stmt, index, id);
    else
        sqlite3_bind_null(stmt, index);
}

/* `text` holds the encoded list until the statement is done. */
static void
bind_keys(sqlite3_stmt *stmt, int index, const int64_t *keys, size_t n, struct buf *text)
{
    if (!n)
        return;
    store_packet_encode_keys(text, keys, n);
    conn_bind_str(stmt, index, buf_str(text));
}

/* Unbound parameters are NULL already: conn_stmt() cleared them. */
static void
bind_packet(sqlite3_stmt *stmt, const struct store_write *w, const struct store_packet *p,
            struct buf *to, struct buf * not )
{
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_kind, p->kind);
    bind_id(stmt, STORE_PARAM_log_append_nsp_id, p->nsp_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_to_kind, p->to_kind);
    bind_id(stmt, STORE_PARAM_log_append_to_id, p->to_id);
    bind_keys(stmt, STORE_PARAM_log_append_to_list, p->to_keys, p->n_to_keys, to);
    bind_keys(stmt, STORE_PARAM_log_append_not_list, p->not_keys, p->n_not_keys, not );
    bind_id(stmt, STORE_PARAM_log_append_skip_id, p->skip_id);
    bind_id(stmt, STORE_PARAM_log_append_arg_id, p->arg_id);
    bind_id(stmt, STORE_PARAM_log_append_socket_id, p->socket_id);
    if (p->ack_id >= 0)
        sqlite3_bind_int64(stmt, STORE_PARAM_log_append_ack_id, p->ack_id);
    sqlite3_bind_int(stmt, STORE_PARAM_log_append_is_ask, p->is_ask);
    sqlite3_bind_int(stmt, STORE_PARAM_log_append_is_volatile, p->is_volatile);
    sqlite3_bind_int(stmt, STORE_PARAM_log_append_is_local, p->is_local);
    sqlite3_bind_int(stmt, STORE_PARAM_log_append_is_plain, p->is_plain);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_origin_id, w->process_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_made_ms, w->now_ms);
    conn_bind_str_or_null(stmt, STORE_PARAM_log_append_body, p->body);
    if (p->attachments.len)
        sqlite3_bind_blob64(stmt, STORE_PARAM_log_append_attachments, p->attachments.p,
                            p->attachments.len, SQLITE_STATIC);
}

static void
bind_control(sqlite3_stmt *stmt, const struct store_write *w,
             const struct store_packet *p, struct buf *to, struct buf * not )
{
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_control_kind, p->kind);
    bind_id(stmt, STORE_PARAM_log_append_control_nsp_id, p->nsp_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_control_to_kind, p->to_kind);
    bind_id(stmt, STORE_PARAM_log_append_control_to_id, p->to_id);
    bind_keys(stmt, STORE_PARAM_log_append_control_to_list, p->to_keys, p->n_to_keys, to);
    bind_keys(stmt, STORE_PARAM_log_append_control_not_list, p->not_keys, p->n_not_keys,
              not );
    bind_id(stmt, STORE_PARAM_log_append_control_skip_id, p->skip_id);
    bind_id(stmt, STORE_PARAM_log_append_control_arg_id, p->arg_id);
    bind_id(stmt, STORE_PARAM_log_append_control_socket_id, p->socket_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_control_origin_id, w->process_id);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_append_control_made_ms, w->now_ms);
    conn_bind_str_or_null(stmt, STORE_PARAM_log_append_control_body, p->body);
}

static void
note_packet(struct store_write *w, struct store_packet *p)
{
    if (p->kind == STORE_HISTORY || (p->kind == STORE_CONNECT && p->arg_id != 0))
        w->odd_seq = p->seq;
    w->n_bytes += p->body.len + p->attachments.len;
    if (w->n_packets == w->cap_packets) {
        w->cap_packets = w->cap_packets ? w->cap_packets * 2 : 64;
        w->packets = xrealloc(w->packets, w->cap_packets * sizeof(struct store_packet *));
    }
    w->packets[w->n_packets++] = store_packet_ref(p);
}

enum rc
store_log_append(struct store_write *w, struct store_packet *p)
{
    bool is_control =
        p->kind >= STORE_JOIN && p->kind != STORE_SERVER && p->kind != STORE_HISTORY;
    sqlite3_stmt *stmt = conn_stmt(w->conn, is_control ? STORE_STMT_log_append_control
                                                       : STORE_STMT_log_append);
    struct buf to = {0}, not = {0};
    int64_t n_rows = w->n_rows;
    enum rc rc;
    if (is_control)
        bind_control(stmt, w, p, &to, &not );
    else
        bind_packet(stmt, w, p, &to, &not );
    rc = conn_done(stmt);
    buf_fini(&to);
    buf_fini(&not );
    if (rc != RC_OK)
        return rc;
    if (w->n_rows == n_rows) /* the view's trigger found nothing to do */
        return RC_OK;
    p->seq = w->last_seq;
    p->origin_id = w->process_id;
    p->made_ms = w->now_ms;
    note_packet(w, p);
    return RC_OK;
}

/* A damaged list leaves the row without targets: it concerns nobody. */
static void
decode_keys(sqlite3_stmt *stmt, int column, int64_t **keys, uint32_t *n)
{
    size_t n_keys = 0;
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return;
    if (store_packet_decode_keys(conn_column(stmt, column), keys, &n_keys) != RC_OK)
        log_warn("store", "log.damaged",
                 LOG_I("seq", sqlite3_column_int64(stmt, COL_SEQ)));
    *n = (uint32_t)n_keys;
}

/* From the columns of log_read. */
static struct store_packet *
decode(sqlite3_stmt *stmt)
{
    struct store_packet *p = store_packet_create(
        (enum store_kind)sqlite3_column_int(stmt, COL_KIND), conn_column(stmt, COL_BODY),
        conn_column(stmt, COL_ATTACHMENTS));
    p->seq = sqlite3_column_int64(stmt, COL_SEQ);
    p->nsp_id = sqlite3_column_int64(stmt, COL_NSP_ID);
    p->to_kind = (enum store_to)sqlite3_column_int(stmt, COL_TO_KIND);
    p->to_id = sqlite3_column_int64(stmt, COL_TO_ID);
    if (p->to_kind == STORE_TO_NSP && !p->to_id)
        p->to_id = p->nsp_id;
    decode_keys(stmt, COL_TO_LIST, &p->to_keys, &p->n_to_keys);
    decode_keys(stmt, COL_NOT_LIST, &p->not_keys, &p->n_not_keys);
    p->skip_id = sqlite3_column_int64(stmt, COL_SKIP_ID);
    p->arg_id = sqlite3_column_int64(stmt, COL_ARG_ID);
    p->socket_id = sqlite3_column_int64(stmt, COL_SOCKET_ID);
    if (sqlite3_column_type(stmt, COL_ACK_ID) != SQLITE_NULL)
        p->ack_id = sqlite3_column_int64(stmt, COL_ACK_ID);
    p->is_ask = sqlite3_column_int(stmt, COL_IS_ASK) != 0;
    p->is_volatile = sqlite3_column_int(stmt, COL_IS_VOLATILE) != 0;
    p->is_local = sqlite3_column_int(stmt, COL_IS_LOCAL) != 0;
    p->is_plain = sqlite3_column_int(stmt, COL_IS_PLAIN) != 0;
    p->origin_id = sqlite3_column_int64(stmt, COL_ORIGIN_ID);
    p->made_ms = sqlite3_column_int64(stmt, COL_MADE_MS);
    return p;
}

enum rc
store_log_read(struct store_conn *c, int64_t from_seq, int64_t to_seq, size_t n,
               store_packet_fn *fn, void *arg, int64_t *last)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_log_read);
    int64_t at = from_seq;
    size_t n_rows = 0, n_bytes = 0;
    enum rc rc;
    sqlite3_bind_int64(stmt, STORE_PARAM_log_read_from_seq, from_seq);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_read_to_seq, to_seq);
    sqlite3_bind_int64(stmt, STORE_PARAM_log_read_n, (int64_t)n);
    while ((rc = conn_step(stmt)) == RC_OK) {
        struct store_packet *p = decode(stmt);
        at = p->seq;
        n_rows++;
        n_bytes += p->body.len + p->attachments.len;
        fn(arg, p);
        store_packet_unref(p);
        if (n_bytes >= READ_BYTES_MAX)
            break;
    }
    sqlite3_reset(stmt);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    *last = rc == RC_NOTFOUND && n_rows < n ? to_seq : at;
    return RC_OK;
}

enum rc
store_log_max(struct store_conn *c, int64_t *seq)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_log_max);
    enum rc rc = conn_step(stmt);
    if (rc == RC_OK)
        *seq = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc;
}

enum rc
store_log_horizon(struct store_conn *c, int64_t *seq)
{
    sqlite3_stmt *stmt = conn_stmt(c, STORE_STMT_log_horizon);
    enum rc rc = conn_step(stmt);
    if (rc == RC_OK)
        *seq = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc;
}
