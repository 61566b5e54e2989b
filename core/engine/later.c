/*
 * Continuations: what travels with their name. The wrapper is a JSON object:
 *
 *     n  the namespace              s  the application's state
 *     e  the event, if kept: {name, args, attachments}, raw JSON as text and base64
 *     a  the open ack's id
 *     p  with a: the process whose answer to app_server_ask the ack is
 *     r  with a: what the ack is found by, if the event may be sent again (retry.h)
 *     c  a connection that middleware holds: {session, sio_id, auth, use, data?, user?,
 *        expires?, rooms?, histories?}
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/call.h"

json_t *
later_wrap_connection(const struct work *w, const struct work_socket *k, size_t number)
{
    json_t *o = json_object();
    json_object_set_new(o, "session", json_integer(w->session_id));
    json_object_set_new(o, "sio_id", json_string(k->sio_id));
    json_object_set_new(o, "auth", json_string(k->auth));
    json_object_set_new(o, "use", json_integer((json_int_t)number));
    if (k->own.has_data)
        json_object_set(o, "data", k->own.data);
    if (k->own.has_user)
        json_object_set_new(o, "user",
                            k->own.user ? json_string(k->own.user) : json_null());
    if (k->own.has_expiry)
        json_object_set_new(o, "expires",
                            json_pack("[I,b]", (json_int_t)k->own.expires_ms,
                                      (int)k->own.is_expiry_close));
    json_t *rooms = json_array();
    for (const struct work_room *r = k->own.rooms; r != NULL; r = r->next)
        if (r->is_in)
            json_array_append_new(rooms, json_string(r->name));
    json_object_set_new(o, "rooms", rooms);
    json_t *histories = json_array();
    for (const struct work_room *r = k->own.rooms; r != NULL; r = r->next)
        if (r->is_in && r->is_history)
            json_array_append_new(histories, json_string(r->name));
    json_object_set_new(o, "histories", histories);
    return o;
}

static json_t *
wrap_event(const struct call_event *ev)
{
    struct buf attachments;
    json_t *o = json_object();
    buf_init(&attachments);
    buf_append_base64(&attachments, ev->attachments);
    json_object_set_new(o, "name",
                        json_stringn(ev->event.p ? ev->event.p : "", ev->event.len));
    json_object_set_new(o, "args",
                        json_stringn(ev->args.p ? ev->args.p : "", ev->args.len));
    json_object_set_new(
        o, "attachments",
        json_stringn(attachments.p ? attachments.p : "", attachments.len));
    buf_fini(&attachments);
    return o;
}

static struct str
text_of(const json_t *o, const char *name)
{
    const json_t *text = json_object_get(o, name);
    return (struct str){json_string_value(text), json_string_length(text)};
}

static void
unwrap_event(struct app_call *c, const json_t *o)
{
    struct call_event *ev = call_lend(c, sizeof *ev);
    struct buf attachments;
    buf_init(&attachments);
    if (buf_append_unbase64(&attachments, text_of(o, "attachments")) == RC_OK) {
        ev->attachments.p = call_lend_str(c, buf_str(&attachments));
        ev->attachments.len = attachments.len;
    }
    buf_fini(&attachments);
    ev->event =
        text_of(o, "name"); /* borrowed from the wrapper, which outlives the call */
    ev->args = text_of(o, "args");
    c->ev = ev;
}

void
app_keep_args(struct app_call *c)
{
    c->is_keeping_args = true;
}

char *
later_wrap(struct app_call *c, json_t *state)
{
    json_t *o = json_object();
    json_object_set_new(o, "n", json_string(c->nsp_name));
    if (state != NULL)
        json_object_set_new(o, "s", state);
    if (c->is_keeping_args && c->ev != NULL)
        json_object_set_new(o, "e", wrap_event(c->ev));
    if (c->has_ack && !c->is_acked)
        json_object_set_new(o, "a", json_integer(c->ack_id));
    if (c->has_ack && !c->is_acked && c->retry_id != NULL)
        json_object_set_new(o, "r", json_string(c->retry_id));
    if (c->has_ack && !c->is_acked && c->ack_process_id != 0)
        json_object_set_new(o, "p", json_integer(c->ack_process_id));
    if (c->is_connecting && !c->is_accepted && c->k != NULL)
        json_object_set_new(o, "c", later_wrap_connection(c->w, c->k, c->number));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text == NULL) {
        call_fail(c, RC_INVALID, "the state of a continuation can't be encoded");
        text = xstrdup("{}");
    }
    return text;
}

struct work_socket *
later_unwrap_connection(struct work *w, const char *nsp_name, const json_t *o)
{
    const char *auth = json_string_value(json_object_get(o, "auth"));
    const char *sio_id = json_string_value(json_object_get(o, "sio_id"));
    struct work_socket *k = work_socket_add(w, 0, nsp_name, str_of(sio_id));
    k->app = app_registry_find(&w->e->app, str_of(nsp_name));
    k->auth = xstrdup(auth ? auth : "{}");
    json_t *data = json_object_get(o, "data");
    if (data != NULL) {
        k->own.data = json_incref(data);
        k->own.has_data = true;
    }
    const json_t *user = json_object_get(o, "user");
    if (user != NULL) {
        k->own.user = json_is_string(user) ? xstrdup(json_string_value(user)) : NULL;
        k->own.has_user = true;
    }
    const json_t *expires = json_object_get(o, "expires");
    if (expires != NULL) {
        k->own.has_expiry = true;
        k->own.expires_ms = json_integer_value(json_array_get(expires, 0));
        k->own.is_expiry_close = json_is_true(json_array_get(expires, 1));
    }
    work_rooms_note(k, json_object_get(o, "rooms"));
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(o, "histories"), i, name)
        work_room_note(k, json_string_value(name), true)
            ->is_history = true;
    return k;
}

void
later_unwrap(struct app_call *c, const json_t *wrapper)
{
    const char *nsp = json_string_value(json_object_get(wrapper, "n"));
    const json_t *ack = json_object_get(wrapper, "a");
    const json_t *connection = json_object_get(wrapper, "c");
    c->wrapper = wrapper;
    const json_t *event = json_object_get(wrapper, "e");
    if (event != NULL)
        unwrap_event(c, event);
    if (nsp != NULL)
        c->nsp_name = call_lend_str(c, str_of(nsp));
    if (ack != NULL) {
        c->has_ack = true;
        c->ack_id = json_integer_value(ack);
        c->ack_process_id = json_integer_value(json_object_get(wrapper, "p"));
        const json_t *retry = json_object_get(wrapper, "r");
        c->retry_id = retry ? xstrdup(json_string_value(retry)) : NULL;
    }
    if (connection != NULL) {
        c->k = later_unwrap_connection(c->w, c->nsp_name, connection);
        c->is_connecting = true;
        c->number = (size_t)json_integer_value(json_object_get(connection, "use"));
    }
}

const json_t *
app_state(struct app_call *c)
{
    return c->wrapper ? json_object_get(c->wrapper, "s") : NULL;
}

/* ---- the answers of an ask ---- */

static void
on_answer(void *arg, int64_t socket_id, struct str body, struct str attachments)
{
    struct app_call *c = arg;
    (void)socket_id;
    struct call_answer *a = xcalloc(1, sizeof *a + body.len + attachments.len);
    char *p = (char *)(a + 1);
    a->args = (struct str){p, body.len};
    a->attachments = (struct str){p + body.len, attachments.len};
    if (body.len > 0)
        memcpy(p, body.p, body.len);
    if (attachments.len > 0)
        memcpy(p + body.len, attachments.p, attachments.len);
    *c->answers_end = a;
    c->answers_end = &a->next;
    c->n_answers++;
}

void
call_answers(struct app_call *c)
{
    if (c->has_answers || c->ask_seq == 0)
        return;
    c->has_answers = true;
    enum rc rc =
        store_read_answers(c->w->e->store, c->ask_seq, &c->n_expected, on_answer, c);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        call_fail(c, rc, "the answers can't be read");
}

size_t
app_n_expected(struct app_call *c)
{
    call_answers(c);
    return (size_t)c->n_expected;
}

size_t
app_n_answers(struct app_call *c)
{
    call_answers(c);
    return c->n_answers;
}

bool
app_is_timeout(struct app_call *c)
{
    call_answers(c);
    return (int64_t)c->n_answers < c->n_expected;
}

const json_t *
app_answer(struct app_call *c, size_t i)
{
    call_answers(c);
    struct call_answer *a = c->answers;
    while (a != NULL && i-- > 0)
        a = a->next;
    if (a != NULL && a->json == NULL) {
        struct buf text;
        buf_init(&text);
        buf_append_c(&text, '[');
        buf_append_str(&text, a->args);
        buf_append_c(&text, ']');
        a->json = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
        buf_fini(&text);
    }
    return a ? a->json : NULL;
}
