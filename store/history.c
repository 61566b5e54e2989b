/*
 * History of rooms: what is kept stands in t_history, copied when it is emitted, because
 * the log may be pruned (schema/views/history.sql).
 *
 * 1. A join with history is the join row and, right behind it in the same commit, ONE row
 * STORE_HISTORY of the same target, whatever the number of events and sockets: whoever
 * delivers it sends what the room keeps from before the join. What came behind the join
 * is due anyway; so there is no gap between them, and no event comes twice.
 * 2. Where the oldest were dropped between the commit and the delivery, what is sent
 * begins later, but it goes on to the join.
 *
 * Run functions: store thread. Reads: loop thread. store_history_declare: loop thread, at
 * start.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "store/step.h"

struct rule_step {
    struct store_step head;
    struct store_history_rule rule;
};

enum rc
store_history_limits(struct store_conn *c, const struct cfg *cfg)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_history_limits);
    sqlite3_bind_int64(q, STORE_PARAM_history_limits_n_bytes_max, cfg->history_bytes);
    return conn_done(q);
}

/* ---- keeping ---- */

/* SIO-HISTORY-KEEP */
enum rc
store_history_note(struct store_write *w, const struct store_packet *p)
{
    if ((p->kind != STORE_EVENT && p->kind != STORE_BINARY_EVENT) || p->is_volatile ||
        p->is_local || p->is_ask)
        return RC_OK;
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_history_note);
    sqlite3_bind_int64(q, STORE_PARAM_history_note_seq, p->seq);
    return conn_done(q);
}

enum rc
store_history_forget(struct store_write *w, struct store_unit *u, int64_t now_ms,
                     size_t n)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_history_forget);
    sqlite3_bind_int64(q, STORE_PARAM_history_forget_now_ms, now_ms);
    sqlite3_bind_int64(q, STORE_PARAM_history_forget_n, (int64_t)n);
    return store_step_slice(u, q, n);
}

/* ---- joining ---- */

static enum rc
has_some(struct store_write *w, int64_t room_id, bool *out)
{
    sqlite3_stmt *q = conn_stmt(w->conn, STORE_STMT_history_has);
    sqlite3_bind_int64(q, STORE_PARAM_history_has_room_id, room_id);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static int64_t *
copy_keys(const int64_t *keys, size_t n)
{
    int64_t *copy = n ? xmalloc(n * sizeof *copy) : NULL;
    if (n)
        memcpy(copy, keys, n * sizeof *copy);
    return copy;
}

/* SIO-HISTORY */
enum rc
store_history_join(struct store_write *w, const struct store_packet *join)
{
    bool has = false;
    enum rc rc = has_some(w, join->arg_id, &has);
    if (rc != RC_OK || !has)
        return rc;
    struct store_packet *p = store_packet_create(STORE_HISTORY, STR_NONE, STR_NONE);
    p->nsp_id = join->nsp_id;
    p->to_kind = join->to_kind;
    p->to_id = join->to_id;
    p->skip_id = join->skip_id;
    p->to_keys = copy_keys(join->to_keys, join->n_to_keys);
    p->n_to_keys = join->n_to_keys;
    p->not_keys = copy_keys(join->not_keys, join->n_not_keys);
    p->n_not_keys = join->n_not_keys;
    p->arg_id = join->arg_id;
    p->ack_id = join->seq;
    rc = store_log_append(w, p);
    store_packet_unref(p);
    return rc;
}

/* ---- reading ---- */

enum rc
store_read_has_joined(struct store *st, int64_t session_id, const struct store_packet *p,
                      bool *out)
{
    sqlite3_stmt *q;
    enum rc rc = store_read_stmt(st, STORE_STMT_history_joined, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_history_joined_session_id, session_id);
    sqlite3_bind_int64(q, STORE_PARAM_history_joined_room_id, p->arg_id);
    sqlite3_bind_int64(q, STORE_PARAM_history_joined_since_seq, p->ack_id);
    return store_read_has_row(q, out);
}

static struct store_packet *
event_of(sqlite3_stmt *q, const struct store_packet *row)
{
    struct store_packet *p = store_packet_create(
        (enum store_kind)sqlite3_column_int(q, 1), conn_column(q, 2), conn_column(q, 3));
    p->seq = row->seq;
    p->part_seq = sqlite3_column_int64(q, 0);
    p->nsp_id = row->nsp_id;
    p->to_kind = STORE_TO_ROOM;
    p->to_id = row->arg_id;
    return p;
}

enum rc
store_read_history(struct store *st, const struct store_history_read *r,
                   store_packet_fn *fn, void *arg)
{
    sqlite3_stmt *q;
    size_t n_bytes = 0;
    enum rc rc = store_read_stmt(st, STORE_STMT_history_read, &q);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(q, STORE_PARAM_history_read_room_id, r->row->arg_id);
    sqlite3_bind_int64(q, STORE_PARAM_history_read_above_seq, r->above_seq);
    sqlite3_bind_int64(q, STORE_PARAM_history_read_below_seq, r->row->ack_id);
    sqlite3_bind_int64(q, STORE_PARAM_history_read_now_ms, r->now_ms);
    while ((rc = conn_step(q)) == RC_OK) {
        struct store_packet *p = event_of(q, r->row);
        n_bytes += p->body.len + p->attachments.len;
        bool is_too_much =
            n_bytes > r->n_bytes_max && n_bytes > p->body.len + p->attachments.len;
        if (!is_too_much)
            fn(arg, p);
        store_packet_unref(p);
        if (is_too_much)
            break;
    }
    sqlite3_reset(q);
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* ---- rules of the application ---- */

/* A name is a rule of its own, anything with one of these a pattern. */
static bool
is_pattern(struct str room)
{
    return str_index(room, '*') < room.len || str_index(room, '?') < room.len ||
           str_index(room, '[') < room.len;
}

static enum rc
is_so(struct store_conn *c, const struct store_history_rule *rule, bool *out)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_history_find);
    conn_bind_str(q, STORE_PARAM_history_find_nsp, rule->nsp);
    conn_bind_str(q, STORE_PARAM_history_find_pattern, rule->room);
    sqlite3_bind_int(q, STORE_PARAM_history_find_is_pattern, is_pattern(rule->room));
    sqlite3_bind_int64(q, STORE_PARAM_history_find_n, rule->n);
    if (rule->keep_s > 0)
        sqlite3_bind_int64(q, STORE_PARAM_history_find_keep_ms, rule->keep_s * 1000);
    enum rc rc = conn_step(q);
    sqlite3_reset(q);
    *out = rc == RC_OK;
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

static enum rc
declare(struct store_conn *c, const struct store_history_rule *rule)
{
    bool is_done = false;
    enum rc rc = is_so(c, rule, &is_done);
    if (rc != RC_OK || is_done)
        return rc;
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_history_declare);
    conn_bind_str(q, STORE_PARAM_history_declare_nsp, rule->nsp);
    conn_bind_str(q,
                  is_pattern(rule->room) ? STORE_PARAM_history_declare_pattern
                                         : STORE_PARAM_history_declare_room,
                  rule->room);
    sqlite3_bind_int64(q, STORE_PARAM_history_declare_n, rule->n);
    if (rule->keep_s > 0)
        sqlite3_bind_int64(q, STORE_PARAM_history_declare_seconds, rule->keep_s);
    return conn_done(q);
}

/* Those of an application before this one. */
static enum rc
clear_others(struct store_conn *c, const struct store_history_rule *rules, size_t n)
{
    sqlite3_stmt *q = conn_stmt(c, STORE_STMT_history_clear);
    struct buf list = {0};
    buf_append_c(&list, '[');
    for (size_t i = 0; i < n; i++) {
        buf_append_z(&list, i ? ",[" : "[");
        buf_append_json(&list, rules[i].nsp, false);
        buf_append_f(&list, ",%d,", is_pattern(rules[i].room));
        buf_append_json(&list, rules[i].room, false);
        buf_append_c(&list, ']');
    }
    buf_append_c(&list, ']');
    conn_bind_str(q, STORE_PARAM_history_clear_rules, buf_str(&list));
    enum rc rc = conn_done(q);
    buf_fini(&list);
    return rc;
}

enum rc
store_history_declare(struct store *st, const struct store_history_rule *rules, size_t n)
{
    struct store_conn *c;
    enum rc rc = store_setup_begin(st, &c), end;
    if (rc != RC_OK)
        return rc;
    rc = clear_others(c, rules, n);
    for (size_t i = 0; i < n && rc == RC_OK; i++)
        rc = declare(c, &rules[i]);
    end = store_setup_end(st, rc == RC_OK);
    return rc == RC_OK ? end : rc;
}

static enum rc
run_rule(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    (void)u;
    return declare(w->conn, &((struct rule_step *)step)->rule);
}

void
store_unit_history_rule(struct store_unit *u, const struct store_history_rule *rule)
{
    struct rule_step *s = store_step_add(u, sizeof *s, run_rule, 0);
    s->rule = *rule;
    s->rule.nsp = store_step_copy(u, rule->nsp);
    s->rule.room = store_step_copy(u, rule->room);
}
