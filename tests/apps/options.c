/*
 * An application for the tests of options: handshakes are let in or refused by what their
 * request says, answers get lines that it wants, errors are told on stderr; and processes
 * tell each other things.
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
    return 0;
}
