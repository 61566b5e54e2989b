/*
 * See user.h; and the verbs that concern users. Most of it is INSERTs into the views of
 * schema/views/user.sql.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/user.h"

#include <stdarg.h>
#include <stdlib.h>

#include "core/engine/call.h"
#include "core/engine/incoming.h"

/* ---- presence ---- */

/* SIO-PRESENCE */
enum rc
user_run_presence(struct work *w, const json_t *args, bool is_bare)
{
    int64_t presence_id = json_integer_value(args);
    struct store_presence p;
    enum rc rc = store_read_presence(w->e->store, presence_id, &p);
    if (rc != RC_OK || p.is_online == p.is_told)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    char *nsp_name = str_dup(p.nsp), *user = str_dup(p.user);
    store_unit_presence(work_unit(w), presence_id, p.is_online);
    if (!is_bare) {
        call_presence(w, nsp_name, user, p.is_online);
        incoming_presence(w, presence_id, p.is_online);
    }
    hook_presence(w, presence_id, nsp_name, user, p.is_online);
    store_unit_block_end(work_unit(w));
    free(nsp_name);
    free(user);
    return RC_OK;
}

/* ---- expiry ---- */

static void
announce(struct work *w, const struct work_socket *k, int64_t left_ms)
{
    struct store_target self = {
        .nsp = str_of(k->nsp_name), .to = STORE_TO_SOCKET, .id = k->socket_id};
    struct buf body;
    buf_init(&body);
    buf_append_c(&body, '[');
    buf_append_json(&body, str_of(w->e->cfg->expiry_event), false);
    buf_append_f(&body, ",%lld]", (long long)left_ms);
    store_unit_packet(work_unit(w), &self,
                      store_packet_create(STORE_EVENT, buf_str(&body), STR_NONE));
    buf_fini(&body);
}

/* A socket that is lost is told when it is recovered, and can't be when its time is over.
 */
/* SIO-EXPIRY, SIO-EXPIRY-TOLD */
enum rc
user_run_expiry(struct work *w, const struct work_socket *k)
{
    struct store_expiry x;
    enum rc rc = store_read_expiry(w->e->store, k->socket_id, &x);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    if (w->now_ms < x.expires_ms) {
        announce(w, k, x.expires_ms - w->now_ms);
        store_unit_job(work_unit(w), x.expires_ms, STR(USER_JOB_EXPIRY), k->socket_id,
                       STR_NONE);
        return RC_OK;
    }
    struct store_target self = {
        .nsp = str_of(k->nsp_name), .to = STORE_TO_SOCKET, .id = k->socket_id};
    store_unit_disconnect(work_unit(w), &self, str_of(sio_reason_text(SIO_R_SERVER_NSP)),
                          x.is_close, w->now_ms);
    store_unit_socket_drop(work_unit(w), k->socket_id);
    return RC_OK;
}

void
user_apply_expiry(struct work *w, const struct work_socket *k)
{
    int64_t left_ms = k->own.expires_ms - w->now_ms;
    struct store_field fields[3] = {
        {.name = STR("socket"), .value = {.type = STORE_TEXT, .s = str_of(k->sio_id)}},
        {.name = STR("is_close"),
         .value = {.type = STORE_INT, .i = k->own.is_expiry_close ? 1 : 0}},
        {.name = STR("expires_s"), .value = {.type = STORE_NULL}},
    };
    if (k->own.expires_ms >= 0) {
        fields[2].value.type = STORE_REAL;
        fields[2].value.d = left_ms > 0 ? (double)left_ms / 1000.0 : 0;
    }
    w->changes_state = true;
    store_unit_action(work_unit(w), "socket_expiry", fields, 3);
}

void
app_set_expiry(struct app_call *c, int64_t ms, bool close)
{
    struct work_socket *k = c->k;
    if (!call_may(c, "app_set_expiry"))
        return;
    if (k == NULL)
        call_fail(c, RC_INVALID, "app_set_expiry: no socket");
    if (c->error != RC_OK)
        return;
    k->own.has_expiry = true;
    k->own.expires_ms = ms < 0 ? -1 : c->w->now_ms + ms;
    k->own.is_expiry_close = close;
    if (k->socket_id != 0)
        user_apply_expiry(c->w, k);
}

/* ---- outbox ---- */

/* SIO-OUTBOX */
static void
put_in_outbox(struct app_call *c, const char *user, int64_t expires_ms, const char *event,
              struct body *b)
{
    buf_append_c(&b->json, ']');
    struct store_field fields[6] = {
        {.name = STR("user"), .value = {.type = STORE_TEXT, .s = str_of(user)}},
        {.name = STR("nsp"), .value = {.type = STORE_TEXT, .s = str_of(c->nsp_name)}},
        {.name = STR("event"), .value = {.type = STORE_TEXT, .s = str_of(event)}},
        {.name = STR("args"), .value = {.type = STORE_TEXT, .s = buf_str(&b->json)}},
        {.name = STR("attachments"), .value = {.type = STORE_NULL}},
        {.name = STR("expires_s"), .value = {.type = STORE_NULL}},
    };
    if (b->attachments.len > 0)
        fields[4].value =
            (struct store_value){.type = STORE_BLOB, .s = buf_str(&b->attachments)};
    if (expires_ms >= 0)
        fields[5].value =
            (struct store_value){.type = STORE_REAL, .d = (double)expires_ms / 1000.0};
    c->w->changes_state = true;
    store_unit_action(work_unit(c->w), "outbox", fields, 6);
}

void
app_outbox(struct app_call *c, const char *user, int64_t expires_ms, const char *event,
           const char *fmt, ...)
{
    struct body b;
    va_list args;
    body_init(&b);
    va_start(args, fmt);
    if (user == NULL || event == NULL)
        call_fail(c, RC_INVALID, "app_outbox: user or event is NULL");
    else if (body_format(c, &b, fmt, args) != RC_OK)
        call_fail(c, RC_INVALID,
                  "app_outbox(%s): an argument can't be encoded (format \"%s\")", event,
                  fmt);
    va_end(args);
    if (call_may(c, "app_outbox") && c->error == RC_OK)
        put_in_outbox(c, user, expires_ms, event, &b);
    body_fini(&b);
}
