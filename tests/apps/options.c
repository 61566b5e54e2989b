/*
 * An application for the tests of options: handshakes are let in or refused by what their
 * request says, and processes tell each other things.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <string.h>

/* ?deny=TEXT, or X-Deny: anything; X-Broken: the handler tries what it must not. */
static void
on_request(struct app_call *c)
{
    const char *deny = app_query_param(c, "deny");
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
    tells(app_nsp(a, "/"));
    tells(app_nsp(a, "~^/dyn-[0-9]+$"));
    return 0;
}
