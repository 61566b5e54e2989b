/*
 * An application for the tests of options: handshakes are let in or refused by what their
 * request says, answers get lines that it wants, errors are told on stderr; middlewares
 * refuse by name; and processes tell each other things.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ?deny=TEXT, or X-Deny: anything; X-Broken: the handler tries what it must not; X-Enter:
 * two cookies. */
static void
on_request(struct app_call *c)
{
    const char *deny = app_query_param(c, "deny");
    if (app_header(c, "X-Enter")) {
        app_add_header(c, "Set-Cookie", "one=1");
        app_add_header(c, "Set-Cookie", "two=2");
    }
    if (app_header(c, "X-Broken"))
        app_emit(app_all(c), "never", "");
    if (app_header(c, "X-Deny"))
        app_refuse(c, NULL, NULL);
    else if (deny)
        app_refuse(c, deny, NULL);
}

static void
on_request_remote(struct app_call *c)
{
    if (strcmp(app_remote(c), "192.0.2.66") == 0)
        app_refuse(c, app_transport(c), NULL);
}

/* "^M" becomes the control character, in place. */
static void
decode_controls(char *text)
{
    char *to = text;
    for (; *text; text++)
        *to++ = *text == '^' && text[1] ? (char)(*++text ^ 0x40) : *text;
    *to = '\0';
}

/* Each answer says what was asked. ?add=NAME=VALUE, or X-Add: NAME=VALUE, one more line
 * (^M is a control character in it);
 * X-Fill: N, one of N bytes; X-Wrong: the handler tries what it must not. */
static void
on_headers(struct app_call *c)
{
    char text[4096], *equals;
    const char *add = app_header(c, "X-Add"), *fill = app_header(c, "X-Fill");
    if (add == NULL)
        add = app_query_param(c, "add");
    snprintf(text, sizeof text, "%s %s %d %s", app_method(c), app_transport(c),
             app_protocol(c), app_is_first(c) ? "first" : "later");
    app_add_header(c, "X-Request", text);
    snprintf(text, sizeof text, "%s", add ? add : "");
    decode_controls(text);
    equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = '\0';
        app_add_header(c, text, equals + 1);
    }
    if (fill != NULL) {
        snprintf(text, sizeof text, "%0*d", atoi(fill) - (int)strlen("X-Fill: \r\n"), 0);
        app_add_header(c, "X-Fill", text);
    }
    if (app_header(c, "X-Wrong"))
        app_refuse(c, "no", NULL);
}

/* `tag` tells the test which request it was; X-Broken-Error: the handler tries what it
 * must not. */
static void
on_connection_error(struct app_call *c)
{
    const char *tag = app_query_param(c, "tag"), *context = app_refusal_context(c),
               *transport = app_transport(c);
    fprintf(stderr, "connection_error %s: %d \"%s\" %s %s %s %s from %s, %s%s\n",
            tag ? tag : app_header(c, "X-Tag"), app_refusal_code(c), app_reason(c),
            context ? context : "-", app_method(c), transport ? transport : "-",
            app_is_first(c) ? "first" : "later", app_remote(c),
            json_string_value(json_object_get(app_handshake(c), "url")),
            app_query_param(c, "sid") ? ", a session id" : "");
    if (app_header(c, "X-Broken-Error"))
        app_add_header(c, "X-Late", "1");
}

static void
on_connect(struct app_call *c)
{
    app_emit(app_sender(c), "auth", "J", app_auth(c));
}

/* ?join=TEXT: not into this namespace. */
static void
may_join(struct app_call *c)
{
    const char *refusal = app_query_param(c, "join");
    if (refusal)
        app_refuse(c, refusal, NULL);
}

/* Connection middlewares in their order: the data is who ran. {refuse: n}: the nth
 * refuses with it; {hold: true}: the second one decides later. */
static void
enter(struct app_call *c, int n)
{
    json_t *ran = json_is_array(app_data(c)) ? json_deep_copy(app_data(c)) : json_array();
    json_array_append_new(ran, json_integer(n));
    if (json_integer_value(json_object_get(app_auth(c), "refuse")) == n)
        app_refuse(c, "no", json_incref(ran));
    app_set_data(c, ran);
}

static void
enter_first(struct app_call *c)
{
    enter(c, 1);
}

static void
enter_second(struct app_call *c)
{
    enter(c, 2);
    if (json_is_true(json_object_get(app_auth(c), "hold"))) {
        app_after(c, 1, "go on", NULL);
        app_hold(c);
    }
}

static void
enter_third(struct app_call *c)
{
    enter(c, 3);
}

static void
later_go_on(struct app_call *c)
{
    app_accept(c);
}

/* Packet middlewares in their order. The first one tells of each event; the second one
 * refuses "blocked", and fails for "broken". */
static void
see(struct app_call *c)
{
    app_emit(app_sender(c), "seen", "ssA", "first", app_event(c), (size_t)0);
}

static void
block(struct app_call *c)
{
    if (strcmp(app_event(c), "blocked") == 0)
        app_refuse(c, "not this", NULL);
    if (strcmp(app_event(c), "broken") == 0)
        app_emit(app_sender(c), "never", "?");
}

static void
see_again(struct app_call *c)
{
    app_emit(app_sender(c), "seen", "ss", "third", app_event(c));
}

/* Whatever its name: blocked and broken never get here. */
static void
on_passed(struct app_call *c)
{
    app_emit(app_sender(c), "passed", "A", (size_t)0);
    app_ack(c, "A", (size_t)0);
}

/* join(room) */
static void
on_join(struct app_call *c)
{
    const char *room;
    if (app_arg_str(c, 0, &room, NULL))
        app_join(app_sender(c), room);
}

/* The others are told why, which rooms it was in, and how many are left in the namespace
 * and in these rooms. */
static void
on_left(struct app_call *c)
{
    json_t *rooms = app_rooms(c);
    struct app_to *in = app_all(c);
    for (size_t i = 0; i < json_array_size(rooms); i++)
        app_in(in, json_string_value(json_array_get(rooms, i)));
    app_emit(app_all(c), "left", "sJii", app_reason(c), rooms,
             (int64_t)app_count(app_all(c)), (int64_t)app_count(in));
    json_decref(rooms);
}

/* large(is plain): a text that shrinks well, to all. */
static void
on_large(struct app_call *c)
{
    char text[8000];
    bool is_plain = false;
    memset(text, 'x', sizeof text);
    app_arg_bool(c, 0, &is_plain);
    app_emit(app_with(app_all(c), is_plain ? APP_UNCOMPRESSED : 0), "large", "S", text,
             sizeof text);
}

/* tell(event, …args, ack?): the event to the other processes; each of them says
 * told(event, …args) to all. */
static void
on_tell(struct app_call *c)
{
    const char *event;
    if (!app_arg_str(c, 0, &event, NULL))
        return;
    app_server_emit(c, event, "A", (size_t)1);
    app_ack(c, "");
}

static void
on_server_event(struct app_call *c)
{
    app_emit(app_all(c), "told", "sA", app_event(c), (size_t)0);
}

/* A handler of its own name comes before the one for any. */
static void
on_server_quiet(struct app_call *c)
{
    app_emit(app_all(c), "told", "sb", "quiet, no socket", app_id(c) == NULL);
}

static void
tells(struct app_nsp *n)
{
    app_on_connect(n, on_connect);
    app_on_event(n, "tell", on_tell);
    app_on_server_event(n, "quiet", on_server_quiet);
    app_on_server_event(n, NULL, on_server_event);
}

int
app_load(struct app *a, int abi)
{
    if (abi != APP_ABI)
        return APP_ABI;
    app_on_request(a, on_request);
    app_on_request(a, on_request_remote);
    app_on_headers(a, on_headers);
    app_on_connection_error(a, on_connection_error);
    tells(app_nsp(a, "/"));
    tells(app_nsp(a, "~^/dyn-[0-9]+$"));
    app_use(app_nsp(a, "/"), may_join);
    app_on_event(app_nsp(a, "/"), "large", on_large);
    struct app_nsp *guarded = app_nsp(a, "/guarded");
    app_use(guarded, enter_first);
    app_use(guarded, enter_second);
    app_use(guarded, enter_third);
    app_on_later(guarded, "go on", later_go_on);
    app_use_packet(guarded, see);
    app_use_packet(guarded, block);
    app_use_packet(guarded, see_again);
    app_on_connect(guarded, on_connect);
    app_on_event(guarded, NULL, on_passed);
    app_on_event(guarded, "join", on_join);
    app_on_disconnect(guarded, on_left);
    return 0;
}
