/*
 * Groups of steps: what one handler wants, left out of its unit where it fails. How a
 * group runs stands in unit.c.
 *
 * A group that was left out stays so when the unit runs again: after a ROLLBACK that took
 * the whole transaction along it is the one thing that is not redone.
 *
 * Groups are made on the loop's thread, after all of their steps; the rest is the store
 * thread's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/log.h"
#include "store/step.h"

enum { ERRORS_KEPT = 1000 };

/* SIO-UNIT-PART */
struct store_group *
store_unit_group(struct store_unit *u, size_t from, struct store_group *needs,
                 const struct store_group_info *info)
{
    struct store_group *g;
    struct store_step *first, *last = NULL;
    bool is_risky = false;
    if (needs == NULL && !store_unit_may_fail(u, from))
        return NULL;
    first = store_step_find(u, from);
    for (struct store_step *s = first; s; s = s->next) {
        is_risky |= (s->flags & STORE_STEP_RISKY) != 0;
        last = s;
    }
    if (last == NULL || (!is_risky && needs == NULL))
        return NULL;
    g = store_step_alloc(u, sizeof *g);
    *g = (struct store_group){
        .needs = needs,
        .first = first,
        .last = last,
        .is_risky = is_risky,
        .info = {.what = store_step_copy(u, info->what),
                 .nsp = store_step_copy(u, info->nsp),
                 .sio_id = store_step_copy(u, info->sio_id),
                 .event = store_step_copy(u, info->event),
                 .session_id = info->session_id},
    };
    for (struct store_step *s = first; s; s = s->next) {
        struct store_group *top = s->group;
        while (top && top->within)
            top = top->within;
        if (top == NULL)
            s->group = g;
        else if (top != g)
            top->within = g;
    }
    return g;
}

void
store_group_refuse(struct store_unit *u, const struct store_step *step,
                   struct str message, struct str data)
{
    struct store_group *g = step->group;
    if (g == NULL)
        return;
    g->is_refused = true;
    g->message = store_step_copy(u, message);
    g->data = store_step_copy(u, data);
}

void
store_group_drop(struct store_unit *u, struct store_group *g, const char *error)
{
    g->is_dropped = true;
    if (g->is_refused)
        return;
    g->error = store_step_copy(u, str_of(error));
    log_error("app", "effects.dropped", LOG_S("what", g->info.what),
              LOG_S("nsp", g->info.nsp), LOG_S("event", g->info.event),
              LOG_Z("error", error));
}

enum rc
store_app_error(struct store_conn *c, const struct store_group_info *info,
                struct str error)
{
    sqlite3_stmt *add = conn_stmt(c, STORE_STMT_app_error_add);
    sqlite3_stmt *trim = conn_stmt(c, STORE_STMT_app_error_trim);
    enum rc rc;
    conn_bind_str(add, STORE_PARAM_app_error_add_what, info->what);
    conn_bind_str_or_null(add, STORE_PARAM_app_error_add_nsp, info->nsp);
    conn_bind_str_or_null(add, STORE_PARAM_app_error_add_sio_id, info->sio_id);
    conn_bind_str_or_null(add, STORE_PARAM_app_error_add_event, info->event);
    conn_bind_str(add, STORE_PARAM_app_error_add_error, error);
    if ((rc = conn_done(add)) != RC_OK)
        return rc;
    sqlite3_bind_int64(trim, STORE_PARAM_app_error_trim_n, ERRORS_KEPT);
    return conn_done(trim);
}

static enum rc
refuse(struct store_write *w, struct store_unit *u, const struct store_group *g)
{
    struct buf args = {0};
    int64_t job_id;
    enum rc rc;
    buf_append_f(&args, "{\"session\":%lld,\"nsp\":", (long long)g->info.session_id);
    buf_append_json(&args, g->info.nsp, false);
    buf_append_z(&args, ",\"message\":");
    buf_append_json(&args, g->is_refused ? g->message : STR("Internal error"), false);
    if (g->data.len) {
        buf_append_z(&args, ",\"data\":");
        buf_append_json(&args, g->data, false);
    }
    buf_append_c(&args, '}');
    rc = store_job_create(w, u, 0, STR("refuse"), 0, buf_str(&args), 0, &job_id);
    buf_fini(&args);
    return rc;
}

enum rc
store_group_instead(struct store_write *w, struct store_unit *u,
                    const struct store_group *g)
{
    enum rc rc = RC_OK;
    for (const struct store_step *s = g->first; s != g->last->next; s = s->next)
        if (s->flags & STORE_STEP_SOCKET)
            store_step_note_socket(u, 0);
    if (g->error.len)
        rc = store_app_error(w->conn, &g->info, g->error);
    if (rc == RC_OK && g->info.session_id)
        rc = refuse(w, u, g);
    return rc;
}
