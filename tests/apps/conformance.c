/*
 * The conformance application: every part of the server once, for clients that test it.
 * Events are described where their handlers stand; arguments of another kind than
 * described are ignored, and so is the event then.
 *
 * Invariants:
 * 1. Nothing but the public header is used, and nothing is kept in process memory.
 * 2. `…args` pass through raw: what JSON libraries cannot hold arrives unchanged.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int64_t MAKE_BYTES_MAX = 64 * 1024 * 1024;
static const int64_t REPEAT_MAX = 1000000;
static const double MS_MAX = 1e12;

/* ---- arguments ---- */

/* A string argument that can be the name of a room or an event: C strings end at the
 * first NUL. */
static const char *
arg_name(struct app_call *c, size_t i)
{
    const char *s;
    size_t len;
    return app_arg_str(c, i, &s, &len) && strlen(s) == len ? s : NULL;
}

static const char *
json_name(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && strlen(s) == json_string_length(v) ? s : NULL;
}

/* A name, or a list of names. */
static bool
is_names(const json_t *v)
{
    if (!json_is_array(v))
        return json_name(v) != NULL;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (json_name(json_array_get(v, i)) == NULL)
            return false;
    return true;
}

/* A time span in ms as JavaScript takes it: any number, rounded up. */
static bool
ms_of(double number, int64_t *ms)
{
    if (!(number >= 0 && number <= MS_MAX))
        return false;
    *ms = (int64_t)ceil(number);
    return true;
}

static bool
json_ms(const json_t *v, int64_t *ms)
{
    return json_is_number(v) && ms_of(json_number_value(v), ms);
}

/* A flag that may be absent. */
static bool
is_flag(const json_t *v)
{
    return v == NULL || json_is_boolean(v);
}

/* `with` (app_in, app_except) for a name or each name of a list; NULL: nothing. */
static struct app_to *
to_names(struct app_to *t, struct app_to *(*with)(struct app_to *, const char *),
         const json_t *names)
{
    if (json_is_string(names))
        return with(t, json_string_value(names));
    for (size_t i = 0; i < json_array_size(names); i++)
        t = with(t, json_string_value(json_array_get(names, i)));
    return t;
}

/* ---- connection ---- */

static void
use_token(struct app_call *c)
{
    const char *token = json_name(json_object_get(app_auth(c), "token"));
    if (token == NULL || strcmp(token, "secret") != 0)
        app_refuse(c, "invalid token", NULL);
}

static void
use_slow(struct app_call *c)
{
    app_hold(c);
    app_after(c, 300, "admit", NULL);
}

static void
use_refused(struct app_call *c)
{
    app_refuse(c, "refused", json_pack("{sis[si]}", "code", 4001, "detail", "a", 1));
}

static void
on_connect(struct app_call *c)
{
    app_emit(app_sender(c), "auth", "J", app_auth(c));
}

/* ---- echo and acks ---- */

/* message(…args): message-back(…args) to the sender */
static void
on_message(struct app_call *c)
{
    app_emit(app_sender(c), "message-back", "A", (size_t)0);
}

/* message-with-ack(…args, ack): acks with …args */
static void
on_message_with_ack(struct app_call *c)
{
    app_ack(c, "A", (size_t)0);
}

/* ack-me(…args): ack-request(…args) to the sender, and ack-result with what it answers */
static void
on_ack_me(struct app_call *c)
{
    app_ask(app_sender(c), -1, "ack-result", NULL, "ack-request", "A", (size_t)0);
}

static void
later_ack_result(struct app_call *c)
{
    if (app_n_answers(c) > 0)
        app_emit(app_sender(c), "ack-result", "R", (size_t)0);
}

/* ack-me-within(ms, …args): the same with a time limit: ack-result-within(false, …answer)
 * or (true) */
static void
on_ack_me_within(struct app_call *c)
{
    double number;
    int64_t ms;
    if (app_arg_num(c, 0, &number) && ms_of(number, &ms))
        app_ask(app_sender(c), ms, "ack-result-within", NULL, "ack-request", "A",
                (size_t)1);
}

static void
later_ack_result_within(struct app_call *c)
{
    if (app_n_answers(c) > 0)
        app_emit(app_sender(c), "ack-result-within", "bR", false, (size_t)0);
    else
        app_emit(app_sender(c), "ack-result-within", "b", true);
}

/* echo(…args): echo(…args) to the sender */
static void
on_echo(struct app_call *c)
{
    app_emit(app_sender(c), "echo", "A", (size_t)0);
}

/* bcast(…args): bcast(…args) to everybody in the namespace */
static void
on_bcast(struct app_call *c)
{
    app_emit(app_all(c), "bcast", "A", (size_t)0);
}

/* ---- rooms and broadcasts ---- */

/* join(room or list of rooms, ack?) */
static void
on_join(struct app_call *c)
{
    const char *room = arg_name(c, 0);
    const json_t *rooms = room ? NULL : app_arg_json(c, 0);

    if (room)
        app_join(app_sender(c), room);
    else if (!is_names(rooms))
        return;
    for (size_t i = 0; i < json_array_size(rooms); i++)
        app_join(app_sender(c), json_string_value(json_array_get(rooms, i)));
    app_ack(c, "");
}

/* leave(room, ack?) */
static void
on_leave(struct app_call *c)
{
    const char *room = arg_name(c, 0);
    if (room == NULL)
        return;
    app_leave(app_sender(c), room);
    app_ack(c, "");
}

/* rooms(ack): acks with the list of the sender's rooms */
static void
on_rooms(struct app_call *c)
{
    app_ack(c, "j", app_rooms(c));
}

/* The target that the options of `cast` describe; NULL: they are not as described. */
static struct app_to *
cast_target(struct app_call *c, const json_t *opt)
{
    const char *via = json_name(json_object_get(opt, "via"));
    const json_t *to = json_object_get(opt, "to");
    const json_t *except = json_object_get(opt, "except");
    const json_t *local = json_object_get(opt, "local");
    const json_t *is_volatile = json_object_get(opt, "volatile");
    unsigned flags = json_is_true(is_volatile) ? APP_VOLATILE : 0;
    struct app_to *t;

    if (via == NULL || (to && !is_names(to)) || (except && !is_names(except)) ||
        !is_flag(local) || !is_flag(is_volatile))
        return NULL;
    if (!strcmp(via, "self"))
        return app_with(app_sender(c), flags);
    if (!strcmp(via, "socket"))
        t = app_others(c);
    else if (!strcmp(via, "io"))
        t = app_all(c);
    else
        return NULL;
    to_names(t, app_in, to);
    to_names(t, app_except, except);
    return app_with(t, flags | (json_is_true(local) ? APP_LOCAL : 0));
}

static int64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The next of the emits `count` … is due at start + (count + 1) * every, so that a long
 * row of them doesn't drift. */
static void
cast_wait(struct app_call *c, int64_t start_ms, int64_t every_ms, int64_t count)
{
    int64_t ms = start_ms + (count + 1) * every_ms - now_ms();
    app_keep_args(c);
    app_after(
        c, ms < 0 ? 0 : ms, "cast",
        json_pack("{sIsI}", "start", (json_int_t)start_ms, "count", (json_int_t)count));
}

/* cast(opt, event, …args, ack): emits event(…args) as opt says: via, to, except, local,
 * volatile, repeat, every */
static void
on_cast(struct app_call *c)
{
    const json_t *opt = app_arg_json(c, 0);
    const char *event = arg_name(c, 1);
    const json_t *repeat = json_object_get(opt, "repeat");
    const json_t *every = json_object_get(opt, "every");
    struct app_to *t = json_is_object(opt) && event ? cast_target(c, opt) : NULL;
    double n = json_number_value(repeat);
    int64_t every_ms = 0;

    if (t == NULL || (every && !json_ms(every, &every_ms)) ||
        (repeat && !(json_is_number(repeat) && n >= 0 && n <= (double)REPEAT_MAX)))
        return;
    if (repeat && every_ms > 0 && n > 0) {
        cast_wait(c, now_ms(), every_ms, 0);
        return;
    }
    if (repeat == NULL)
        app_emit(t, event, "A", (size_t)2);
    for (int64_t i = 0; i < (int64_t)n; i++)
        app_emit(t, event, "iA", i, (size_t)2);
    app_ack(c, "");
}

static void
later_cast(struct app_call *c)
{
    const json_t *opt = app_arg_json(c, 0);
    json_int_t start = json_integer_value(json_object_get(app_state(c), "start"));
    json_int_t count = json_integer_value(json_object_get(app_state(c), "count"));
    int64_t every_ms = 1;

    app_emit(cast_target(c, opt), arg_name(c, 1), "iA", (int64_t)count, (size_t)2);
    if (count + 1 < (json_int_t)json_number_value(json_object_get(opt, "repeat")) &&
        json_ms(json_object_get(opt, "every"), &every_ms))
        cast_wait(c, start, every_ms, count + 1);
    else
        app_ack(c, "");
}

/* ack-room({to, timeout}, event, …args, ack): asks all in opt.to, acks with {timedOut,
 * responses} */
static void
on_ack_room(struct app_call *c)
{
    const json_t *opt = app_arg_json(c, 0);
    const json_t *to = json_object_get(opt, "to");
    const char *event = arg_name(c, 1);
    int64_t timeout_ms;

    if (event && to && is_names(to) &&
        json_ms(json_object_get(opt, "timeout"), &timeout_ms))
        app_ask(to_names(app_all(c), app_in, to), timeout_ms, "ack-room", NULL, event,
                "A", (size_t)2);
}

static void
later_ack_room(struct app_call *c)
{
    app_ack(c, "{sb sL}", "timedOut", app_is_timeout(c), "responses");
}

/* [{"id", "rooms", "data"}, …] of the sockets in a target. */
static json_t *
socket_list(struct app_to *t)
{
    json_t *list = app_fetch(t);
    for (size_t i = 0; i < json_array_size(list); i++)
        json_object_del(json_array_get(list, i), "user");
    return list;
}

/* sockets({in, op, room, close}, ack?): joins, leaves, disconnects or lists all sockets
 * in opt.in */
static void
on_sockets(struct app_call *c)
{
    const json_t *opt = app_arg_json(c, 0);
    const json_t *in = json_object_get(opt, "in");
    const json_t *close = json_object_get(opt, "close");
    const char *room = json_name(json_object_get(opt, "room"));
    const json_t *op_value = json_object_get(opt, "op");
    const char *op = op_value ? json_name(op_value) : "";
    struct app_to *t;

    if (in == NULL || !is_names(in) || op == NULL || !is_flag(close))
        return;
    t = to_names(app_all(c), app_in, in);
    if (!strcmp(op, "list")) {
        app_ack(c, "j", socket_list(t));
        return;
    }
    if (!strcmp(op, "join") && room)
        app_join(t, room);
    else if (!strcmp(op, "leave") && room)
        app_leave(t, room);
    else if (!strcmp(op, "disconnect"))
        app_disconnect(t, json_is_true(close));
    else if (*op)
        return;
    app_then(c, "sockets-count", json_deep_copy(in));
}

static void
later_sockets_count(struct app_call *c)
{
    app_ack(c, "i", (int64_t)app_count(to_names(app_all(c), app_in, app_state(c))));
}

/* ---- data ---- */

/* n bytes: an argument from 0 on. */
static bool
arg_n_bytes(struct app_call *c, int64_t *n)
{
    return app_arg_int(c, 0, n) && *n >= 0 && *n <= MAKE_BYTES_MAX;
}

/* make-binary(n, ack): acks with {"n":n,"data":n bytes, byte i being i modulo 256} */
static void
on_make_binary(struct app_call *c)
{
    int64_t n;
    unsigned char *p;

    if (!arg_n_bytes(c, &n))
        return;
    p = malloc((size_t)n + 1);
    if (p == NULL)
        return;
    for (int64_t i = 0; i < n; i++)
        p[i] = (unsigned char)i;
    app_ack(c, "{si sB}", "n", n, "data", p, (size_t)n);
    free(p);
}

/* big(n, ack): acks with a string of n letters a */
static void
on_big(struct app_call *c)
{
    int64_t n;
    char *p;

    if (!arg_n_bytes(c, &n))
        return;
    p = malloc((size_t)n + 1);
    if (p == NULL)
        return;
    memset(p, 'a', (size_t)n);
    app_ack(c, "S", p, (size_t)n);
    free(p);
}

/* digest(arg, ack): acks with {"type", "bytes", "fnv"} of a binary or a string */
static void
on_digest(struct app_call *c)
{
    const void *p;
    const char *s;
    const char *type = "binary";
    size_t len;
    uint32_t fnv = 2166136261U;

    if (!app_arg_bytes(c, 0, &p, &len)) {
        if (!app_arg_str(c, 0, &s, &len))
            return;
        type = "string";
        p = s;
    }
    for (size_t i = 0; i < len; i++)
        fnv = (fnv ^ ((const unsigned char *)p)[i]) * 16777619U;
    app_ack(c, "{ss si si}", "type", type, "bytes", (int64_t)len, "fnv", (int64_t)fnv);
}

/* set-data(value, ack) */
static void
on_set_data(struct app_call *c)
{
    const json_t *value = app_arg_json(c, 0);
    if (value == NULL)
        return;
    app_set_data(c, json_deep_copy(value));
    app_ack(c, "");
}

/* ---- information ---- */

/* who(ack): acks with what is known about the sender */
static void
on_who(struct app_call *c)
{
    app_ack(c, "{ss ss ss si sJ sJ ss sb sJ}", "id", app_id(c), "nsp", app_nsp_name(c),
            "transport", app_transport(c), "protocol", (int64_t)app_protocol(c), "query",
            app_query(c), "auth", app_auth(c), "header", app_header(c, "X-Kitchen"),
            "recovered", app_is_recovered(c), "data", app_data(c));
}

/* reason-of(id, ack): acks with the reason why that socket is gone, or null */
static void
on_reason_of(struct app_call *c)
{
    const char *id = arg_name(c, 0);
    json_t *rows;

    if (id == NULL)
        return;
    rows = app_select(c, "reason_of", "s", id);
    app_ack(c, "J", json_array_get(json_array_get(rows, 0), 0));
    json_decref(rows);
}

/* disconnect-me(close) */
static void
on_disconnect_me(struct app_call *c)
{
    bool close;
    if (app_arg_bool(c, 0, &close))
        app_disconnect(app_sender(c), close);
}

/* ---- registration ---- */

static const struct {
    const char *event;
    app_fn *fn;
} EVENTS[] = {
    {"message", on_message},
    {"message-with-ack", on_message_with_ack},
    {"ack-me", on_ack_me},
    {"ack-me-within", on_ack_me_within},
    {"echo", on_echo},
    {"bcast", on_bcast},
    {"join", on_join},
    {"leave", on_leave},
    {"rooms", on_rooms},
    {"cast", on_cast},
    {"ack-room", on_ack_room},
    {"sockets", on_sockets},
    {"make-binary", on_make_binary},
    {"big", on_big},
    {"digest", on_digest},
    {"set-data", on_set_data},
    {"who", on_who},
    {"reason-of", on_reason_of},
    {"disconnect-me", on_disconnect_me},
};

static struct app_nsp *
kitchen(struct app *a, const char *name)
{
    struct app_nsp *n = app_nsp(a, name);
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++)
        app_on_event(n, EVENTS[i].event, EVENTS[i].fn);
    app_on_connect(n, on_connect);
    app_on_later(n, "ack-result", later_ack_result);
    app_on_later(n, "ack-result-within", later_ack_result_within);
    app_on_later(n, "ack-room", later_ack_room);
    app_on_later(n, "cast", later_cast);
    app_on_later(n, "sockets-count", later_sockets_count);
    return n;
}

int
app_load(struct app *a, int abi)
{
    struct app_nsp *slow;

    if (abi != APP_ABI)
        return APP_ABI;
    app_sql(a, "reason_of", "SELECT reason FROM disconnect WHERE socket = :1");
    kitchen(a, "/");
    kitchen(a, "/custom");
    kitchen(a, "~^/dyn-[0-9]+$");
    app_use(kitchen(a, "/token"), use_token);
    slow = kitchen(a, "/slow");
    app_use(slow, use_slow);
    app_on_later(slow, "admit", app_accept);
    app_use(app_nsp(a, "/refused"), use_refused);
    return 0;
}
