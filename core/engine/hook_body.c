/*
 * What is posted to the web hook: one JSON object an event (docs/hook.md).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "core/engine/binary.h"
#include "core/engine/hook_worker.h"
#include "core/sio/json.h"

static const char *const KINDS[] = {[STORE_HOOK_CONNECT] = "connect",
                                    [STORE_HOOK_EVENT] = "event",
                                    [STORE_HOOK_DISCONNECT] = "disconnect",
                                    [STORE_HOOK_ACK] = "ack",
                                    [STORE_HOOK_PRESENCE] = "presence"};

static void
key(struct buf *b, const char *name)
{
    buf_append_f(b, ",\"%s\":", name);
}

static void
text_member(struct buf *b, const char *name, struct str value)
{
    key(b, name);
    buf_append_json(b, value, false);
}

static void
raw_member(struct buf *b, const char *name, struct str json)
{
    key(b, name);
    buf_append_str(b, json);
}

/* A member of a JSON object as it stands there. */
static struct str
member(struct str object, const char *name, const char *fallback)
{
    enum sio_json_kind kind;
    struct str value;
    return sio_json_member(object, name, &kind, &value) == RC_OK ? value
                                                                 : str_of(fallback);
}

static void
head(struct buf *b, const struct store_hook *row)
{
    buf_append_z(b, "{\"event_id\":");
    buf_append_json(b, row->event_id, false);
    text_member(b, "kind", str_of(KINDS[row->kind]));
    key(b, "time");
    buf_append_int(b, clock_wall_ms() - clock_now_ms() + row->made_ms);
}

static void
socket_id(struct buf *b, const struct store_hook *row)
{
    text_member(b, "nsp", row->nsp);
    text_member(b, "socket", row->sio_id);
}

/* ---- who it is ---- */

struct names {
    struct buf *b;
    bool has_one;
};

static void
on_room(void *arg, struct str name)
{
    struct names *n = arg;
    if (n->has_one)
        buf_append_c(n->b, ',');
    n->has_one = true;
    buf_append_json(n->b, name, false);
}

static enum rc
rooms(struct engine *e, int64_t socket_id, struct buf *b)
{
    struct names n = {.b = b};
    key(b, "rooms");
    buf_append_c(b, '[');
    enum rc rc = store_read_rooms(e->store, socket_id, on_room, &n);
    buf_append_c(b, ']');
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* `s`: its strings are gone with the next read. */
static void
user_and_data(struct buf *b, struct str user, struct str data)
{
    if (user.len > 0)
        text_member(b, "user", user);
    else
        raw_member(b, "user", STR("null"));
    raw_member(b, "data", data.len > 0 ? data : STR("null"));
}

/* A socket that is, or was, connected. */
static enum rc
socket_members(struct engine *e, const struct store_hook *row, struct buf *b)
{
    struct store_socket s;
    enum rc rc =
        row->socket_id ? store_read_socket(e->store, row->socket_id, &s) : RC_NOTFOUND;
    if (rc == RC_NOTFOUND)
        user_and_data(b, STR_NONE, STR_NONE);
    else if (rc == RC_OK)
        user_and_data(b, s.user, s.data);
    else
        return rc;
    if (row->kind == STORE_HOOK_DISCONNECT) {
        raw_member(b, "rooms", member(row->body, "rooms", "[]"));
        return RC_OK;
    }
    return rooms(e, row->socket_id, b);
}

/* ---- connections ---- */

static enum rc
session_members(struct engine *e, int64_t session_id, struct buf *b)
{
    struct store_session s = {.protocol = 4};
    struct str json, remote;
    enum rc rc = store_read_session_by_id(e->store, session_id, &s);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    key(b, "protocol");
    buf_append_int(b, s.protocol);
    text_member(b, "transport", s.is_websocket ? STR("websocket") : STR("polling"));
    rc = store_read_handshake(e->store, session_id, &json, &remote);
    if (rc != RC_OK && rc != RC_NOTFOUND)
        return rc;
    if (rc == RC_NOTFOUND)
        json = remote = STR_NONE;
    text_member(b, "remote", remote);
    raw_member(b, "query", member(json, "query", "{}"));
    raw_member(b, "headers", member(json, "headers", "{}"));
    return RC_OK;
}

/* What middleware gave it stands in the wrapper. */
static enum rc
waiting(struct engine *e, const struct store_hook *row, struct buf *b)
{
    struct buf auth = {0};
    raw_member(b, "user", member(row->body, "user", "null"));
    raw_member(b, "data", member(row->body, "data", "null"));
    raw_member(b, "rooms", member(row->body, "rooms", "[]"));
    raw_member(b, "recovered", STR("false"));
    if (sio_json_unquote(member(row->body, "auth", "\"{}\""), &auth) != RC_OK)
        buf_clear(&auth);
    raw_member(b, "auth", auth.len > 0 ? buf_str(&auth) : STR("{}"));
    buf_fini(&auth);
    return session_members(e, row->session_id, b);
}

static enum rc
recovered(struct engine *e, const struct store_hook *row, struct buf *b)
{
    struct store_socket s;
    enum rc rc = socket_members(e, row, b);
    raw_member(b, "recovered", STR("true"));
    if (rc == RC_OK)
        rc = store_read_socket(e->store, row->socket_id, &s);
    if (rc != RC_OK) /* also where it is forgotten: there is no more to say */
        return rc == RC_NOTFOUND ? RC_OK : rc;
    raw_member(b, "auth", s.auth.len > 0 ? s.auth : STR("{}"));
    return session_members(e, s.session_id, b);
}

/* ---- users ---- */

static void
presence(const struct store_hook *row, struct buf *b)
{
    text_member(b, "nsp", row->nsp);
    raw_member(b, "user", member(row->body, "user", "null"));
    raw_member(b, "is_online", member(row->body, "is_online", "false"));
}

/* ---- the kinds ---- */

static enum rc
event(struct engine *e, const struct store_hook *row, struct buf *b)
{
    struct str name = STR_NONE, args = STR_NONE, rest;
    size_t max = 4 * (size_t)e->cfg->max_payload_bytes;
    enum rc rc = socket_members(e, row, b);
    if (rc != RC_OK)
        return rc;
    rc = sio_json_scan_array(row->body, INT32_MAX, &name, &args, &rest);
    raw_member(b, "event", name.len > 0 ? name : STR("\"\""));
    key(b, "args");
    buf_append_c(b, '[');
    if (rc == RC_OK)
        rc = binary_spell(b, args, row->attachments, max);
    buf_append_c(b, ']');
    raw_member(b, "wants_ack", row->has_ack_id ? STR("true") : STR("false"));
    if (row->has_ack_id) { /* what the verb ack calls it, for who answers later */
        struct buf id = {0};
        buf_append_f(&id, "%.*s:%lld", STR_ARG(row->sio_id), (long long)row->ack_id);
        text_member(b, "ack", buf_str(&id));
        buf_fini(&id);
    }
    return rc;
}

static enum rc
disconnect(struct engine *e, const struct store_hook *row, struct buf *b)
{
    enum rc rc = socket_members(e, row, b);
    raw_member(b, "reason", member(row->body, "reason", "\"\""));
    return rc;
}

/* ---- the end of a question ---- */

struct answers {
    struct buf *b;
    size_t max, n;
    bool is_too_big;
};

static const struct store_value *
value_of(const struct store_field *row, size_t n, const char *name)
{
    static const struct store_value null = {.type = STORE_NULL};
    for (size_t i = 0; i < n; i++)
        if (str_eqz(row[i].name, name))
            return &row[i].value;
    return &null;
}

static void
on_ask(void *arg, const struct store_field *row, size_t n)
{
    struct buf *b = arg;
    text_member(b, "ask", value_of(row, n, "name")->s);
    text_member(b, "state", value_of(row, n, "state")->s);
    key(b, "n_expected");
    buf_append_int(b, value_of(row, n, "n_expected")->i);
    key(b, "n_answered");
    buf_append_int(b, value_of(row, n, "n_answered")->i);
}

static void
on_name(void *arg, const struct store_field *row, size_t n)
{
    buf_append_str(arg, value_of(row, n, "name")->s);
}

static void
on_answer(void *arg, const struct store_field *row, size_t n)
{
    struct answers *a = arg;
    struct str args = value_of(row, n, "args")->s;
    if (a->is_too_big)
        return;
    buf_append_z(a->b, a->n++ > 0 ? ",{\"socket\":" : "{\"socket\":");
    buf_append_json(a->b, value_of(row, n, "socket")->s, false);
    key(a->b, "args");
    a->is_too_big = binary_spell(a->b, args.len > 0 ? args : STR("[]"),
                                 value_of(row, n, "attachments")->s, a->max) != RC_OK;
    buf_append_c(a->b, '}');
    a->is_too_big |= a->b->len > a->max;
}

/* One row of the view ask by its seq, or those of answer by its name. */
static enum rc
read_view(struct engine *e, const char *view, const struct store_field *filter, size_t n,
          store_view_fn *fn, void *arg)
{
    const struct store_view_read v = {
        .view = str_of(view), .filter = filter, .n_filter = n, .limit = SIZE_MAX};
    struct buf err = {0};
    enum rc rc = store_read_view(e->store, &v, fn, arg, &err);
    buf_fini(&err);
    return rc;
}

/* Too much of them for one POST: null; they are in the view answer for a day. */
static enum rc
answers(struct engine *e, struct str name, struct buf *b)
{
    struct store_field filter[] = {
        {STR("name"), {.type = STORE_TEXT, .s = name}},
        {STR("is_answered"), {.type = STORE_INT, .i = 1}},
    };
    struct buf list = {0};
    struct answers a = {.b = &list, .max = 4 * (size_t)e->cfg->max_payload_bytes};
    buf_append_c(&list, '[');
    enum rc rc = read_view(e, "answer", filter, 2, on_answer, &a);
    buf_append_c(&list, ']');
    raw_member(b, "answers",
               a.is_too_big || rc == RC_INVALID ? STR("null") : buf_str(&list));
    buf_fini(&list);
    return rc == RC_INVALID ? RC_OK : rc;
}

static enum rc
ask_end(struct engine *e, const struct store_hook *row, struct buf *b)
{
    struct store_field seq = {STR("seq"), {.type = STORE_INT, .i = row->ack_id}};
    struct buf name = {0};
    enum rc rc = read_view(e, "ask", &seq, 1, on_ask, b);
    if (rc == RC_OK)
        rc = read_view(e, "ask", &seq, 1, on_name, &name);
    if (rc == RC_OK)
        rc = answers(e, buf_str(&name), b);
    buf_fini(&name);
    return rc;
}

bool
hook_has_socket(const struct store_hook *row)
{
    return row->kind != STORE_HOOK_ACK && row->kind != STORE_HOOK_PRESENCE;
}

enum rc
hook_body(struct engine *e, const struct store_hook *row, struct buf *b)
{
    enum rc rc = RC_OK;
    head(b, row);
    if (hook_has_socket(row))
        socket_id(b, row);
    switch (row->kind) {
    case STORE_HOOK_CONNECT:
        rc = row->session_id ? waiting(e, row, b) : recovered(e, row, b);
        break;
    case STORE_HOOK_EVENT:
        rc = event(e, row, b);
        break;
    case STORE_HOOK_DISCONNECT:
        rc = disconnect(e, row, b);
        break;
    case STORE_HOOK_ACK:
        rc = ask_end(e, row, b);
        break;
    case STORE_HOOK_PRESENCE:
        presence(row, b);
        break;
    }
    buf_append_c(b, '}');
    return rc;
}
