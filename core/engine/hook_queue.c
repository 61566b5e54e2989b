/*
 * The web hook is told: what comes in is queued in the unit of the thing itself, so that
 * it is told of exactly what was committed. siolite-hook does the rest (hook.c).
 *
 * What stands in a row's body, by kind:
 *
 *     connect     the wrapper of later.c while the connection waits; {} where it does not
 *     event       [name, argument, …], placeholders for the attachments
 *     disconnect  {"reason":…,"rooms":[…]}
 *     ack         {"seq":…} of the question that has ended; its sio_id is "ask:" and that
 *     presence    {"user":…,"is_online":…}; its sio_id is "presence:" and the id of the
 *                 user in that namespace, so that each user has an order of its own
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/rnd.h"
#include "core/engine/work.h"

#define UNANSWERED "The application does not answer"
#define BUSY "The application is busy"

static bool
is_told(const struct work *w, enum cfg_hook_event what)
{
    return w->e->cfg->hook_url[0] != '\0' && (w->e->cfg->hook_events & what) != 0;
}

static void
put(struct work *w, const struct work_socket *k, struct store_hook_new *h)
{
    char event_id[RND_ID_LEN + 1];
    rnd_id(event_id);
    h->event_id = str_of(event_id);
    h->sio_id = str_of(k->sio_id);
    h->nsp = str_of(k->nsp_name);
    h->socket_id = k->socket_id;
    store_unit_hook_put(work_unit(w), h);
}

/* ---- connections ---- */

static char *
expire_args(const struct work *w, const struct work_socket *k, const char *event_id)
{
    json_t *o = json_object();
    json_object_set_new(o, "session", json_integer(w->session_id));
    json_object_set_new(o, "n", json_string(k->nsp_name));
    json_object_set_new(o, "event_id", json_string(event_id));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

bool
hook_hold(struct work *w, struct work_socket *k)
{
    char event_id[RND_ID_LEN + 1];
    if (!is_told(w, CFG_HOOK_CONNECT))
        return false;
    rnd_id(event_id);
    json_t *wrapper = later_wrap_connection(w, k, 0);
    char *body = json_dumps(wrapper, JSON_COMPACT), *args = expire_args(w, k, event_id);
    struct store_hook_new h = {
        .kind = STORE_HOOK_CONNECT,
        .event_id = str_of(event_id),
        .sio_id = str_of(k->sio_id),
        .nsp = str_of(k->nsp_name),
        .session_id = w->session_id,
        .body = str_of(body),
    };
    store_unit_hook_hold(work_unit(w), &h, w->now_ms + w->e->cfg->hook_connect_wait_ms,
                         str_of(args), connect_refusal(w, k->nsp_name, BUSY, NULL));
    json_decref(wrapper);
    free(body);
    free(args);
    return true;
}

void
hook_recovered(struct work *w, struct work_socket *k)
{
    struct store_hook_new h = {.kind = STORE_HOOK_CONNECT, .body = STR("{}")};
    if (k->recovery != NULL && is_told(w, CFG_HOOK_CONNECT))
        put(w, k, &h);
}

enum rc
hook_expire(struct work *w, const json_t *args)
{
    const char *nsp = json_string_value(json_object_get(args, "n"));
    const char *event_id = json_string_value(json_object_get(args, "event_id"));
    char vain_id[RND_ID_LEN + 1] = "";
    if (is_told(w, CFG_HOOK_DISCONNECT))
        rnd_id(vain_id);
    store_unit_hook_expire(work_unit(w), str_of(event_id), STR("no answer in time"),
                           str_of(vain_id), STR(HOOK_VAIN_BODY));
    connect_error(w, nsp ? nsp : "/", UNANSWERED, NULL);
    return RC_OK;
}

/* ---- what sockets do ---- */

void
hook_event(struct work *w, struct work_socket *k, const struct call_event *ev)
{
    struct buf body = {0};
    if (!is_told(w, CFG_HOOK_EVENT))
        return;
    buf_append_c(&body, '[');
    buf_append_str(&body, ev->event);
    if (ev->args.len > 0) {
        buf_append_c(&body, ',');
        buf_append_str(&body, ev->args);
    }
    buf_append_c(&body, ']');
    struct store_hook_new h = {
        .kind = STORE_HOOK_EVENT,
        .body = buf_str(&body),
        .attachments = ev->attachments,
        .has_ack_id = ev->has_ack_id,
        .ack_id = ev->ack_id,
    };
    put(w, k, &h);
    buf_fini(&body);
}

void
hook_disconnect(struct work *w, struct work_socket *k, struct str reason,
                const json_t *rooms)
{
    struct buf body = {0};
    if (!is_told(w, CFG_HOOK_DISCONNECT))
        return;
    char *names = rooms ? json_dumps(rooms, JSON_COMPACT) : NULL;
    buf_append_z(&body, "{\"reason\":");
    buf_append_json(&body, reason, false);
    buf_append_z(&body, ",\"rooms\":");
    buf_append_z(&body, names ? names : "[]");
    buf_append_c(&body, '}');
    struct store_hook_new h = {.kind = STORE_HOOK_DISCONNECT, .body = buf_str(&body)};
    put(w, k, &h);
    buf_fini(&body);
    free(names);
}

/* ---- questions ---- */

void
hook_ask_end(struct work *w, int64_t ask_seq)
{
    char event_id[RND_ID_LEN + 1], key[40], body[40];
    if (!is_told(w, CFG_HOOK_ACK))
        return;
    rnd_id(event_id);
    (void)snprintf(key, sizeof key, "ask:%" PRId64, ask_seq);
    (void)snprintf(body, sizeof body, "{\"seq\":%" PRId64 "}", ask_seq);
    struct store_hook_new h = {.kind = STORE_HOOK_ACK,
                               .event_id = str_of(event_id),
                               .sio_id = str_of(key),
                               .nsp = STR(""),
                               .body = str_of(body),
                               .has_ack_id = true,
                               .ack_id = ask_seq};
    store_unit_hook_put(work_unit(w), &h);
}

/* ---- users ---- */

/* SIO-PRESENCE */
void
hook_presence(struct work *w, int64_t presence_id, const char *nsp_name, const char *user,
              bool is_online)
{
    char event_id[RND_ID_LEN + 1], key[40];
    struct buf body = {0};
    if (!is_told(w, CFG_HOOK_PRESENCE))
        return;
    rnd_id(event_id);
    (void)snprintf(key, sizeof key, "presence:%" PRId64, presence_id);
    buf_append_z(&body, "{\"user\":");
    buf_append_json(&body, str_of(user), false);
    buf_append_f(&body, ",\"is_online\":%s}", is_online ? "true" : "false");
    struct store_hook_new h = {.kind = STORE_HOOK_PRESENCE,
                               .event_id = str_of(event_id),
                               .sio_id = str_of(key),
                               .nsp = str_of(nsp_name),
                               .body = buf_str(&body)};
    store_unit_hook_put(work_unit(w), &h);
    buf_fini(&body);
}
