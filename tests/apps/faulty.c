/*
 * An application for tests whose statements fail at the commit: what else was in the same
 * message counts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

/* With auth {"keep": text} the text is kept; a text twice fails. */
static void
on_middleware(struct app_call *c)
{
    const char *text = json_string_value(json_object_get(app_auth(c), "keep"));
    if (text)
        app_exec(c, "keep", "s", text);
}

static void
on_connect(struct app_call *c)
{
    app_emit(app_sender(c), "auth", "J", app_auth(c));
}

/* keep(text, ack): the same text twice fails; "rollback" takes the transaction along,
 * "endless" does not end. */
static void
on_keep(struct app_call *c)
{
    const char *text;
    if (!app_arg_str(c, 0, &text, NULL))
        return;
    app_join(app_sender(c), "kept");
    app_emit(app_sender(c), "kept", "A", (size_t)0);
    app_exec(c, "keep", "s", text);
    app_ack(c, "n");
}

static void
on_rooms(struct app_call *c)
{
    app_ack(c, "j", app_rooms(c));
}

int
app_load(struct app *a, int abi)
{
    struct app_nsp *n;
    if (abi != APP_ABI)
        return APP_ABI;
    app_schema(a, 1,
               "CREATE TABLE kept (text TEXT NOT NULL UNIQUE);"
               "CREATE TRIGGER kept_rollback BEFORE INSERT ON kept"
               " WHEN new.text = 'rollback' BEGIN"
               " SELECT RAISE(ROLLBACK, 'not this'); END;"
               "CREATE TRIGGER kept_endless BEFORE INSERT ON kept"
               " WHEN new.text = 'endless' BEGIN"
               " INSERT INTO kept WITH RECURSIVE n (i) AS"
               " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n; END;");
    app_sql(a, "keep", "INSERT INTO kept VALUES (:1)");
    n = app_nsp(a, "/");
    app_use(n, on_middleware);
    app_on_connect(n, on_connect);
    app_on_event(n, "keep", on_keep);
    app_on_event(n, "rooms", on_rooms);
    return 0;
}
