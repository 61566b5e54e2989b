/*
 * An application with users, for the tests of what docs/users.md says. Its namespaces are
 * "/" and dynamic ones.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <string.h>

/* ---- who it is ---- */

/* auth {user, expires, close, lobby}: as whom the socket comes, for how many ms, and
 * whether into the lobby */
static void
use_user(struct app_call *c)
{
    const json_t *auth = app_auth(c), *expires = json_object_get(auth, "expires");
    const char *user = json_string_value(json_object_get(auth, "user"));
    if (user != NULL)
        app_set_user(c, user);
    if (json_object_get(auth, "lobby") != NULL)
        app_join_history(app_sender(c), "lobby");
    if (json_is_integer(expires))
        app_set_expiry(c, json_integer_value(expires),
                       json_is_true(json_object_get(auth, "close")));
}

/* user(name or null, ack) */
static void
on_user(struct app_call *c)
{
    const char *user = NULL;
    (void)app_arg_str(c, 0, &user, NULL);
    app_set_user(c, user);
    app_ack(c, "s", user);
}

/* join(room, ack) */
static void
on_join(struct app_call *c)
{
    const char *room;
    if (app_arg_str(c, 0, &room, NULL))
        app_join(app_sender(c), room);
    app_ack(c, "");
}

/* join-history(room, ack): with what it has kept */
static void
on_join_history(struct app_call *c)
{
    const char *room;
    if (app_arg_str(c, 0, &room, NULL))
        app_join_history(app_sender(c), room);
    app_ack(c, "");
}

/* leave(room, ack) */
static void
on_leave(struct app_call *c)
{
    const char *room;
    if (app_arg_str(c, 0, &room, NULL))
        app_leave(app_sender(c), room);
    app_ack(c, "");
}

/* say(room, event, …args, ack): to a room */
static void
on_say(struct app_call *c)
{
    const char *room, *event;
    if (app_arg_str(c, 0, &room, NULL) && app_arg_str(c, 1, &event, NULL))
        app_emit(app_in(app_all(c), room), event, "A", (size_t)2);
    app_ack(c, "");
}

/* tell(user, event, …args, ack): to all tabs of a user */
static void
on_tell(struct app_call *c)
{
    const char *user, *event;
    if (app_arg_str(c, 0, &user, NULL) && app_arg_str(c, 1, &event, NULL))
        app_emit(app_to_user(app_all(c), user), event, "A", (size_t)2);
    app_ack(c, "");
}

static void
on_presence(struct app_call *c)
{
    app_exec(c, "presence_add", "ssb", app_nsp_name(c), app_user(c), app_is_online(c));
}

/* ---- expiry, outbox ---- */

/* expire(ms, close, ack) */
static void
on_expire(struct app_call *c)
{
    int64_t ms;
    bool close;
    if (app_arg_int(c, 0, &ms) && app_arg_bool(c, 1, &close))
        app_set_expiry(c, ms, close);
    app_ack(c, "");
}

/* put(user, expires_ms, event, …args, ack) */
static void
on_put(struct app_call *c)
{
    const char *user, *event;
    int64_t ms;
    if (app_arg_str(c, 0, &user, NULL) && app_arg_int(c, 1, &ms) &&
        app_arg_str(c, 2, &event, NULL))
        app_outbox(c, user, ms, event, "A", (size_t)3);
    app_ack(c, "");
}

/* ---- events that may be sent again ---- */

/* order({retryKey, item}, ack): notes it, acks with the item and a binary */
static void
on_order(struct app_call *c)
{
    const json_t *order = app_arg_json(c, 0);
    const char *item = json_string_value(json_object_get(order, "item"));
    app_exec(c, "order_add", "s", item ? item : "thing");
    app_emit(app_sender(c), "noted", "s", item ? item : "thing");
    app_ack(c, "sB", item ? item : "thing", "\1\2", (size_t)2);
}

/* order-later({retryKey, item, ms}, ack): the ack comes after ms */
static void
on_order_later(struct app_call *c)
{
    const json_t *order = app_arg_json(c, 0);
    app_exec(c, "order_add", "s", json_string_value(json_object_get(order, "item")));
    app_after(c, json_integer_value(json_object_get(order, "ms")), "order-done",
              json_incref(json_object_get(order, "item")));
}

static void
later_order_done(struct app_call *c)
{
    app_ack(c, "J", app_state(c));
}

/* order-hold({retryKey, item}, ack): somebody else acks it */
static void
on_order_hold(struct app_call *c)
{
    const json_t *order = app_arg_json(c, 0);
    app_exec(c, "order_add", "s", json_string_value(json_object_get(order, "item")));
}

/* order-known({retryKey, item}, ack): fails as long as the table `item` does not have it
 */
static void
on_order_known(struct app_call *c)
{
    const json_t *order = app_arg_json(c, 0);
    const char *item = json_string_value(json_object_get(order, "item"));
    app_exec(c, "order_known", "s", item);
    app_ack(c, "s", item);
}

/* ---- registration ---- */

static void
serve(struct app *a, const char *name)
{
    struct app_nsp *n = app_nsp(a, name);
    app_use(n, use_user);
    app_on_event(n, "user", on_user);
    app_on_event(n, "join", on_join);
    app_on_event(n, "join-history", on_join_history);
    app_on_event(n, "leave", on_leave);
    app_on_event(n, "say", on_say);
    app_on_event(n, "tell", on_tell);
    app_on_event(n, "expire", on_expire);
    app_on_event(n, "put", on_put);
    app_on_event(n, "order", on_order);
    app_on_event(n, "order-later", on_order_later);
    app_on_event(n, "order-hold", on_order_hold);
    app_on_event(n, "order-known", on_order_known);
    app_on_later(n, "order-done", later_order_done);
    app_on_presence(n, on_presence);
    app_history(n, "lobby", 5, -1);
    app_history(n, "talk-*", 100, 3600 * 1000);
}

int
app_load(struct app *a, int abi)
{
    if (abi != APP_ABI)
        return APP_ABI;
    app_schema(a, 1,
               "CREATE TABLE seen (id INTEGER PRIMARY KEY, nsp TEXT, user TEXT, "
               "is_online INTEGER);"
               "CREATE TABLE orders (item TEXT);"
               "CREATE TABLE item (name TEXT PRIMARY KEY);"
               "CREATE TABLE known (name TEXT NOT NULL REFERENCES item)");
    app_sql(a, "order_add", "INSERT INTO orders (item) VALUES (:1)");
    app_sql(a, "order_known", "INSERT INTO known (name) VALUES (:1)");
    app_sql(a, "presence_add",
            "INSERT INTO seen (nsp, user, is_online) VALUES (:1, :2, :3)");
    serve(a, "/");
    serve(a, "~^/dyn-[0-9]+$");
    return 0;
}
