/*
 * See incoming.h. Whoever is to get what comes in adds its steps here: the triggers of an
 * application in SQL, the web hook.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/incoming.h"

#include <stdlib.h>

#include "core/sio/json.h"

/* ---- an application in SQL ---- */

/* The steps from number `from` on. */
static void
group(struct work *w, size_t from, const char *what, const struct work_socket *k)
{
    const struct store_group_info info = {
        .what = str_of(what),
        .nsp = k ? str_of(k->nsp_name) : STR_NONE,
        .sio_id = k ? str_of(k->sio_id) : STR_NONE,
    };
    (void)store_unit_group(w->u, from, k ? k->group : NULL, &info);
}

static void
sql_connect(struct work *w, const struct work_socket *k)
{
    if (store_app_has(w->e->store, STORE_INCOMING_CONNECTION))
        store_unit_incoming_connection(work_unit(w), k->socket_id);
}

static void
sql_event(struct work *w, const struct work_socket *k, const struct call_event *ev)
{
    struct buf name;
    if (!store_app_has(w->e->store, STORE_INCOMING_EVENT))
        return;
    buf_init(&name);
    if (ev->event.p[0] != '"')
        buf_append_str(&name, ev->event);
    else if (sio_json_unquote(ev->event, &name) != RC_OK)
        buf_clear(&name);
    store_unit_incoming_event(work_unit(w), &(struct store_incoming_event){
                                                .socket_id = k->socket_id,
                                                .has_ack_id = ev->has_ack_id,
                                                .ack_id = ev->ack_id,
                                                .event = buf_str(&name),
                                                .args = ev->args,
                                                .attachments = ev->attachments,
                                            });
    buf_fini(&name);
}

static void
sql_disconnect(struct work *w, const struct work_socket *k, struct str reason,
               const json_t *rooms)
{
    if (!store_app_has(w->e->store, STORE_INCOMING_DISCONNECT))
        return;
    struct store_unit *u = work_unit(w);
    size_t from = store_unit_n_steps(u);
    char *text = rooms ? json_dumps(rooms, JSON_COMPACT) : NULL;
    store_unit_incoming_disconnect(u, k->socket_id, reason, str_of(text));
    group(w, from, "disconnect", k);
    free(text);
}

static void
sql_answer(struct work *w, const struct work_socket *k, int64_t ask_seq)
{
    if (!store_app_has(w->e->store, STORE_INCOMING_ANSWER))
        return;
    struct store_unit *u = work_unit(w);
    size_t from = store_unit_n_steps(u);
    store_unit_incoming_answer(u, ask_seq, k->socket_id);
    group(w, from, "answer", k);
}

static void
sql_ask_end(struct work *w, int64_t ask_seq)
{
    if (!store_app_has(w->e->store, STORE_INCOMING_ANSWER))
        return;
    struct store_unit *u = work_unit(w);
    size_t from = store_unit_n_steps(u);
    store_unit_incoming_ask_end(u, ask_seq);
    group(w, from, "answer", NULL);
}

static void
sql_presence(struct work *w, int64_t presence_id, bool is_online)
{
    if (!store_app_has(w->e->store, STORE_INCOMING_PRESENCE))
        return;
    struct store_unit *u = work_unit(w);
    size_t from = store_unit_n_steps(u);
    store_unit_incoming_presence(u, presence_id, is_online);
    group(w, from, "presence", NULL);
}

/* ---- everybody ---- */

void
incoming_connect(struct work *w, struct work_socket *k)
{
    sql_connect(w, k);
    hook_recovered(w, k);
}

/* Its group is the caller's. */
void
incoming_event(struct work *w, struct work_socket *k, const struct call_event *ev)
{
    sql_event(w, k, ev);
    hook_event(w, k, ev);
}

void
incoming_disconnect(struct work *w, struct work_socket *k, struct str reason,
                    const json_t *rooms)
{
    sql_disconnect(w, k, reason, rooms);
    hook_disconnect(w, k, reason, rooms);
}

void
incoming_answer(struct work *w, struct work_socket *k, int64_t ask_seq)
{
    sql_answer(w, k, ask_seq);
}

void
incoming_ask_end(struct work *w, int64_t ask_seq)
{
    sql_ask_end(w, ask_seq);
    hook_ask_end(w, ask_seq);
}

void
incoming_presence(struct work *w, int64_t presence_id, bool is_online)
{
    sql_presence(w, presence_id, is_online);
}
