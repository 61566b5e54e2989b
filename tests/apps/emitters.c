/*
 * An application for the tests of what handlers send beyond one namespace: questions to
 * the other processes, listeners for what is emitted, and all namespaces of a pattern at
 * once.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <string.h>
#include <unistd.h>

static void
on_connect(struct app_call *c)
{
    app_emit(app_sender(c), "auth", "J", app_auth(c));
}

/* ---- app_server_ask ---- */

/* ask(event, ms, …args, ack): acks with {late, expected, answers, first} */
static void
on_ask(struct app_call *c)
{
    const char *event;
    int64_t ms;
    if (app_arg_str(c, 0, &event, NULL) && app_arg_int(c, 1, &ms))
        app_server_ask(c, ms, "asked", json_string("kept"), event, "A", (size_t)2);
}

static void
later_asked(struct app_call *c)
{
    app_ack(c, "{sb si sL sJ} R", "late", app_is_timeout(c), "expected",
            (int64_t)app_n_expected(c), "answers", "state", app_state(c), (size_t)0);
}

/* who(…args): the process's id, and its arguments back */
static void
on_server_who(struct app_call *c)
{
    app_ack(c, "iA", (int64_t)getpid(), (size_t)0);
    app_ack(c, "s", "a second answer is none");
}

/* later(ms): the same after a time, in a continuation */
static void
on_server_later(struct app_call *c)
{
    int64_t ms;
    if (app_arg_int(c, 0, &ms))
        app_after(c, ms, "answer", NULL);
}

static void
later_answer(struct app_call *c)
{
    app_ack(c, "i", (int64_t)getpid());
}

/* only(pid): nobody else answers */
static void
on_server_only(struct app_call *c)
{
    int64_t pid;
    if (app_arg_int(c, 0, &pid) && pid == getpid())
        app_ack(c, "i", pid);
}

/* ---- app_on_outgoing ---- */

/* Tells the one who made the handler run what it emits: heard(nsp, event, …args). */
static void
on_outgoing(struct app_call *c)
{
    app_emit(app_sender(c), "heard", "ssA", app_nsp_name(c), app_event(c), (size_t)0);
}

static void
on_outgoing_log(struct app_call *c)
{
    app_exec(c, "note", "ssi", app_nsp_name(c), app_event(c), (int64_t)app_n_args(c));
    if (strcmp(app_event(c), "fragile") == 0)
        app_join(app_sender(c), NULL); /* an error: it costs its own effects only */
}

/* say(…args, ack): all kinds of emits, some of which are not told */
static void
on_say(struct app_call *c)
{
    app_emit(app_sender(c), "one", "A", (size_t)0);
    app_emit(app_in(app_all(c), "nobody there"), "two", "");
    app_emit(app_of(app_all(c), "/dyn-1"), "elsewhere", "");
    app_emit(app_of(app_all(c), "/quiet"), "untold", "");
    app_ask(app_sender(c), 5000, "said", NULL, "question", "i", (int64_t)7);
    app_server_emit(c, "untold", "");
    app_emit(app_sender(c), "fragile", "");
}

static void
later_said(struct app_call *c)
{
    app_ack(c, "R", (size_t)0);
}

/* ---- handshakes ---- */

/* handshakes(ack): acks with the own one, and with those of all sockets */
static void
on_handshakes(struct app_call *c)
{
    app_ack(c, "Jj", app_handshake(c), app_fetch(app_with(app_all(c), APP_HANDSHAKES)));
}

/* ---- a pattern as target ---- */

/* shout(room or null, …args, ack) */
static void
on_shout(struct app_call *c)
{
    const char *room;
    struct app_to *t = app_of(app_all(c), "~^/dyn-[0-9]+$");
    if (app_arg_str(c, 0, &room, NULL))
        app_in(t, room);
    app_emit(t, "shout", "A", (size_t)1);
    app_ack(c, "");
}

/* wrong(what): what a pattern is not good for */
static void
on_wrong(struct app_call *c)
{
    const char *what;
    if (!app_arg_str(c, 0, &what, NULL))
        return;
    if (strcmp(what, "unknown") == 0)
        app_emit(app_of(app_all(c), "~^/nothing$"), "never", "");
    else if (strcmp(what, "join") == 0)
        app_join(app_of(app_all(c), "~^/dyn-[0-9]+$"), "never");
    app_ack(c, "s", app_error_text(c));
}

static void
on_join(struct app_call *c)
{
    app_join(app_sender(c), "room");
    app_ack(c, "");
}

int
app_load(struct app *a, int abi)
{
    struct app_nsp *n, *children;
    if (abi != APP_ABI)
        return APP_ABI;
    app_schema(a, 1, "CREATE TABLE outgoing (nsp, event, n_args)");
    app_sql(a, "note", "INSERT INTO outgoing VALUES (:1, :2, :3)");
    n = app_nsp(a, "/");
    app_on_connect(n, on_connect);
    app_on_event(n, "ask", on_ask);
    app_on_later(n, "asked", later_asked);
    app_on_server_event(n, "who", on_server_who);
    app_on_server_event(n, "later", on_server_later);
    app_on_later(n, "answer", later_answer);
    app_on_server_event(n, "only", on_server_only);
    app_on_event(n, "handshakes", on_handshakes);
    app_on_event(n, "shout", on_shout);
    app_on_event(n, "wrong", on_wrong);
    app_on_connect(app_nsp(a, "/quiet"), on_connect);
    n = app_nsp(a, "/heard");
    app_on_event(n, "say", on_say);
    app_on_later(n, "said", later_said);
    app_on_outgoing(n, on_outgoing);
    app_on_outgoing(n, on_outgoing_log);
    children = app_nsp(a, "~^/dyn-[0-9]+$");
    app_on_connect(children, on_connect);
    app_on_event(children, "join", on_join);
    app_on_outgoing(children, on_outgoing_log);
    return 0;
}
