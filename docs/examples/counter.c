/*
 * Counters that everybody sees and nobody loses: the application of docs/tutorial.md.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

/* The counter's name, the first argument of each event; NULL if it is not one. */
static const char *
arg_name(struct app_call *c)
{
    const char *name;
    size_t len;
    return app_arg_str(c, 0, &name, &len) && len > 0 && len <= 40 ? name : NULL;
}

/* The committed value of a counter; 0 if nobody has added to it. */
static int64_t
value_of(struct app_call *c, const char *name)
{
    json_t *rows = app_select(c, "value", "s", name);
    int64_t value = json_integer_value(json_array_get(json_array_get(rows, 0), 0));
    json_decref(rows);
    return value;
}

/* add(name, n): acks with the new value, and tells it to all who watch. */
static void
on_add(struct app_call *c)
{
    const char *name = arg_name(c);
    int64_t n;
    if (name == NULL || !app_arg_int(c, 1, &n))
        return;
    app_exec(c, "add", "si", name, n);
    app_then(c, "added", json_string(name));
}

static void
later_added(struct app_call *c)
{
    const char *name = json_string_value(app_state(c));
    int64_t value = value_of(c, name);
    app_emit(app_in(app_all(c), name), "changed", "si", name, value);
    app_ack(c, "i", value);
}

/* watch(name): acks with the value; changed(name, value) follows with each change. */
static void
on_watch(struct app_call *c)
{
    const char *name = arg_name(c);
    if (name == NULL)
        return;
    app_join(app_sender(c), name);
    app_ack(c, "i", value_of(c, name));
}

/* add-later(name, n, ms): add(name, n), ms from now. */
static void
on_add_later(struct app_call *c)
{
    int64_t ms;
    if (!app_arg_int(c, 2, &ms) || ms < 0)
        return;
    app_keep_args(c);
    app_after(c, ms, "add", NULL);
}

int
app_load(struct app *a, int abi)
{
    struct app_nsp *n;
    if (abi != APP_ABI)
        return APP_ABI;
    app_schema(a, 1,
               "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
    app_sql(a, "value", "SELECT value FROM counter WHERE name = :1");
    app_sql(a, "add",
            "INSERT INTO counter (name, value) VALUES (:1, :2)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value");
    n = app_nsp(a, "/");
    app_on_event(n, "add", on_add);
    app_on_event(n, "add-later", on_add_later);
    app_on_event(n, "watch", on_watch);
    app_on_later(n, "add", on_add);
    app_on_later(n, "added", later_added);
    return 0;
}
