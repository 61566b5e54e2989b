/*
 * A chat: names, rooms, private messages, typing, pictures, and the last lines of a room
 * for newcomers. It is the application of `make run`, with the page in www/, and an
 * example to learn from: docs/tutorial.md begins smaller.
 *
 *     cc -shared -fPIC -o chat.so chat.c $(pkg-config --cflags siolite)
 *
 * The page emits, and waits for an ack of each but the last:
 *
 *     name(name)
 *     enter(room)           ack: people [[id, name], …], lines [[id, name, at, text], …]
 *     leave(room)
 *     say(room or id, what)
 *     typing(room or id)
 *
 * It gets, beside what an INSERT INTO emit … 'headline' … shows it as headline(text):
 *
 *     rooms([[room, n], …])                       everybody, when that changes
 *     joined(room, id, name), left(room, id)      the others in the room
 *     said(room, id, name, at, what)              the room
 *     told(id, name, at, what)                    one socket
 *     typing(room or null, id, name)              the room, or one socket
 *
 * The first argument of an ack is null, or what went wrong. `what` is a text or a picture
 * in bytes, `at` Unix time in ms, and `id` the id of a socket: one window of a browser.
 *
 * SPDX-License-Identifier: MIT
 */
#include <siolite/app.h>

#include <string.h>
#include <time.h>

enum {
    NAME_MAX_BYTES = 40,
    ROOM_MAX_BYTES = 19, /* shorter than an id, so that it can't be mistaken for one */
    ID_BYTES = 20,
    TEXT_MAX_BYTES = 2000,
    PICTURE_MAX_BYTES = 600000,
    ROOMS_MAX = 10, /* in which one may be at a time */
};

/* ---- what the page sends is checked before anything is done with it ---- */

/* Argument i if it is a text of 1 to max bytes, without control characters; else NULL. */
static const char *
arg_line(struct app_call *c, size_t i, size_t max)
{
    const char *s;
    size_t len;
    if (!app_arg_str(c, i, &s, &len) || len == 0 || len > max)
        return NULL;
    for (size_t k = 0; k < len; k++)
        if ((unsigned char)s[k] < ' ' || s[k] == 0x7f)
            return NULL;
    return s;
}

/* Rooms have names like "lobby" or "c-help". */
static const char *
arg_room(struct app_call *c, size_t i)
{
    const char *room = arg_line(c, i, ROOM_MAX_BYTES);
    if (room && room[strspn(room, "abcdefghijklmnopqrstuvwxyz0123456789-")] == 0)
        return room;
    return NULL;
}

/* A text or a picture, in bounds. */
static bool
is_arg_what(struct app_call *c, size_t i)
{
    const void *p;
    const char *s;
    size_t len;
    if (app_arg_str(c, i, &s, &len))
        return len > 0 && len <= TEXT_MAX_BYTES && strlen(s) == len;
    return app_arg_bytes(c, i, &p, &len) && len > 0 && len <= PICTURE_MAX_BYTES;
}

static bool
is_in_room(struct app_call *c, const char *room)
{
    json_t *rooms = app_rooms(c);
    bool is_in = false;
    for (size_t i = 0; i < json_array_size(rooms); i++)
        is_in = is_in || !strcmp(json_string_value(json_array_get(rooms, i)), room);
    json_decref(rooms);
    return is_in;
}

static int64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- handlers. What a handler does takes effect together, right after it has returned
 * ---- */

static void
on_name(struct app_call *c)
{
    const char *name = arg_line(c, 0, NAME_MAX_BYTES);
    if (name == NULL) {
        app_ack(c, "s", "A name has 1 to 40 bytes.");
        return;
    }
    if (app_user(c) != NULL) {
        app_ack(c, "s", "You have a name already.");
        return;
    }
    app_set_user(c,
                 name); /* kept with the socket, and seen by: SELECT user FROM socket */
    app_ack(c, "n");
}

static void
on_enter(struct app_call *c)
{
    const char *room = arg_room(c, 0);
    json_t *rooms = app_rooms(c);
    size_t n_rooms = json_array_size(rooms);
    json_decref(rooms);

    if (app_user(c) == NULL)
        app_ack(c, "s", "Say your name first.");
    else if (room == NULL)
        app_ack(c, "s", "A room has up to 19 letters a-z, digits and dashes.");
    else if (is_in_room(c, room)) /* only wants to see the lists again */
        app_then(c, "entered", json_string(room));
    else if (n_rooms >= ROOMS_MAX)
        app_ack(c, "s", "That are too many rooms; leave one first.");
    else {
        app_join(app_sender(c), room);
        app_emit(app_in(app_others(c), room), "joined", "sss", room, app_id(c),
                 app_user(c));
        app_exec(c, "tell_rooms", "");
        app_then(c, "entered", json_string(room));
    }
}

/* Runs when the join is committed, perhaps in another process: who is there now, the
 * newcomer among them? The ack that on_enter left open is given here. */
static void
later_entered(struct app_call *c)
{
    const char *room = json_string_value(app_state(c));
    json_t *sockets = app_fetch(app_in(app_all(c), room));
    json_t *people = json_array();
    for (size_t i = 0; i < json_array_size(sockets); i++) {
        const json_t *s = json_array_get(sockets, i);
        json_array_append_new(people, json_pack("[OO]", json_object_get(s, "id"),
                                                json_object_get(s, "user")));
    }
    json_decref(sockets);
    app_ack(c, "njj", people, app_select(c, "last_lines", "s", room));
}

static void
on_leave(struct app_call *c)
{
    const char *room = arg_room(c, 0);
    if (room && is_in_room(c, room)) {
        app_leave(app_sender(c), room);
        app_emit(app_in(app_others(c), room), "left", "ss", room, app_id(c));
        app_exec(c, "tell_rooms", "");
    }
    app_ack(c, "n");
}

static void
on_say(struct app_call *c)
{
    const char *to = arg_line(c, 0, ID_BYTES), *text;
    size_t len;
    int64_t at = now_ms();

    if (app_user(c) == NULL || to == NULL || app_n_args(c) != 2) {
        app_ack(c, "s", "Say your name first, then: to whom, and what.");
        return;
    }
    if (!is_arg_what(c, 1)) {
        app_ack(c, "s", "A text has up to 2,000 bytes, a picture up to 600,000.");
        return;
    }
    /* "A", 1: the event's own arguments from number 1 on, untouched. Text or picture
     * makes no difference here. */
    if (strlen(to) < ID_BYTES && is_in_room(c, to)) {
        app_emit(app_in(app_all(c), to), "said", "sssiA", to, app_id(c), app_user(c), at,
                 (size_t)1);
        if (app_arg_str(c, 1, &text, &len)) {
            app_exec(c, "keep_line", "sssis", to, app_id(c), app_user(c), at, text);
            app_exec(c, "trim_lines", "s", to);
        }
        app_ack(c, "n");
    } else if (strlen(to) == ID_BYTES && app_count(app_in(app_all(c), to)) == 1) {
        app_emit(app_in(app_all(c), to), "told", "ssiA", app_id(c), app_user(c), at,
                 (size_t)1);
        app_ack(c, "n");
    } else {
        app_ack(c, "s", "Nobody is there any more.");
    }
}

/* Volatile: who can't be written to at this moment misses nothing. */
static void
on_typing(struct app_call *c)
{
    const char *to = arg_line(c, 0, ID_BYTES);
    if (app_user(c) == NULL || to == NULL)
        return;
    if (strlen(to) == ID_BYTES)
        app_emit(app_with(app_in(app_others(c), to), APP_VOLATILE), "typing", "nss",
                 app_id(c), app_user(c));
    else if (is_in_room(c, to))
        app_emit(app_with(app_in(app_others(c), to), APP_VOLATILE), "typing", "sss", to,
                 app_id(c), app_user(c));
}

/* Each of the socket's rooms is told the same. */
static void
tell_own_rooms(struct app_call *c, const char *event)
{
    json_t *rooms = app_rooms(c);
    for (size_t i = 0; i < json_array_size(rooms); i++) {
        const char *room = json_string_value(json_array_get(rooms, i));
        app_emit(app_in(app_others(c), room), event, "sss", room, app_id(c), app_user(c));
    }
    if (json_array_size(rooms) > 0)
        app_exec(c, "tell_rooms", "");
    json_decref(rooms);
}

static void
on_disconnect(struct app_call *c)
{
    tell_own_rooms(c, "left");
}

/* A connection that was lost and recovered has its name and, as soon as that is
 * committed, its rooms again; the others saw it leave. */
static void
on_connect(struct app_call *c)
{
    if (app_is_recovered(c))
        app_then(c, "recovered", NULL);
}

static void
later_recovered(struct app_call *c)
{
    tell_own_rooms(c, "joined");
}

int
app_load(struct app *a, int abi)
{
    struct app_nsp *n;

    if (abi != APP_ABI)
        return APP_ABI;

    app_schema(a, 1,
               "CREATE TABLE chat_line ("
               "  line_id INTEGER PRIMARY KEY,"
               "  room    TEXT    NOT NULL,"
               "  socket  TEXT    NOT NULL," /* who said it */
               "  name    TEXT    NOT NULL,"
               "  at_ms   INTEGER NOT NULL," /* Unix time */
               "  text    TEXT    NOT NULL"
               ") STRICT;"
               "CREATE INDEX chat_line_room ON chat_line (room, line_id);");
    app_sql(a, "keep_line",
            "INSERT INTO chat_line (room, socket, name, at_ms, text)"
            " VALUES (:1, :2, :3, :4, :5)");
    app_sql(a, "trim_lines", /* the newest 20 of a room stay */
            "DELETE FROM chat_line WHERE room = :1 AND line_id <="
            " (SELECT line_id FROM chat_line WHERE room = :1"
            "  ORDER BY line_id DESC LIMIT 1 OFFSET 20)");
    app_sql(a, "last_lines",
            "SELECT socket, name, at_ms, text FROM chat_line WHERE room = :1"
            " ORDER BY line_id");
    /* Part of the commit, after the join or leave before it: so it counts who is there
     * then, and of two that are told at the same time the last one is true. `room` and
     * `emit` are views of siolite: who is where, over all processes; and a row inserted
     * into the latter is an event, here to everybody. */
    app_sql(a, "tell_rooms",
            "INSERT INTO emit (nsp, event, args) SELECT '/', 'rooms', json_array("
            " (SELECT json_group_array(json_array(room, n_members))"
            "  FROM (SELECT room, n_members FROM room WHERE nsp = '/'"
            "        ORDER BY room LIMIT 100)))");

    n = app_nsp(a, "/");
    app_on_event(n, "name", on_name);
    app_on_event(n, "enter", on_enter);
    app_on_event(n, "leave", on_leave);
    app_on_event(n, "say", on_say);
    app_on_event(n, "typing", on_typing);
    app_on_connect(n, on_connect);
    app_on_disconnect(n, on_disconnect);
    app_on_later(n, "entered", later_entered);
    app_on_later(n, "recovered", later_recovered);
    return 0;
}
