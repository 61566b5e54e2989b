/*
 * siolite join, leave, kick, socket-data, socket-user: who is where, and who it is.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/ctl.h"

#define OPTIONS_WHO                                                                      \
    {"nsp", "NSP", "The namespace, else that of the socket, or /"},                      \
        {"socket", "ID", "This socket"},                                                 \
        {"in-room", "ROOM", "All that are in this room at the moment"},                  \
        {"user", "USER", "All connections of this user"},                                \
        {"all", NULL, "All in the namespace"},

static void
set_who(struct ctl_verb *v, const struct ctl *c)
{
    ctl_verb_option(v, c, "nsp", "nsp");
    ctl_verb_option(v, c, "socket", "socket");
    ctl_verb_option(v, c, "in-room", "in_room");
    ctl_verb_option(v, c, "user", "user");
    ctl_verb_flag(v, c, "all", "is_all");
}

/* Said in words of the command line; the view says the rest. */
static int
check_who(const struct ctl *c)
{
    if (ctl_has(c, "socket") + ctl_has(c, "in-room") + ctl_has(c, "user") +
            ctl_has(c, "all") ==
        1)
        return 0;
    return ctl_usage(c, "exactly one of --socket, --in-room, --user and --all says who");
}

static int
run_room(struct ctl *c, const char *verb)
{
    struct ctl_verb v = {.name = verb};
    int status = check_who(c);
    if (status != 0)
        return status;
    set_who(&v, c);
    ctl_verb_text(&v, "room", c->words[0]);
    return ctl_verb_end(&v, c, 0, NULL);
}

static int
run_join(struct ctl *c)
{
    return run_room(c, "room_join");
}

static int
run_leave(struct ctl *c)
{
    return run_room(c, "room_leave");
}

static const struct ctl_option WHO[] = {OPTIONS_WHO{0}};

const struct ctl_command ctl_join = {
    .name = "join",
    .words = "ROOM",
    .n_words_min = 1,
    .n_words_max = 1,
    .help = "Puts sockets into a room",
    .options = WHO,
    .run = run_join,
};

const struct ctl_command ctl_leave = {
    .name = "leave",
    .words = "ROOM",
    .n_words_min = 1,
    .n_words_max = 1,
    .help = "Takes sockets out of a room",
    .options = WHO,
    .run = run_leave,
};

static int
run_kick(struct ctl *c)
{
    struct ctl_verb v = {.name = "kick"};
    int status = check_who(c);
    if (status != 0)
        return status;
    set_who(&v, c);
    ctl_verb_flag(&v, c, "close", "is_close");
    return ctl_verb_end(&v, c, 0, NULL);
}

const struct ctl_command ctl_kick = {
    .name = "kick",
    .words = "",
    .help = "Disconnects sockets",
    .options =
        (const struct ctl_option[]){
            OPTIONS_WHO{"close", NULL, "Closes their whole connections"}, {0}},
    .run = run_kick,
};

static const struct ctl_option NSP[] = {
    {"nsp", "NSP", "The namespace that it must be in"},
    {0},
};

static int
run_socket_data(struct ctl *c)
{
    struct ctl_verb v = {.name = "socket_data"};
    ctl_verb_option(&v, c, "nsp", "nsp");
    ctl_verb_text(&v, "socket", c->words[0]);
    ctl_verb_text(&v, "data", c->words[1]);
    return ctl_verb_end(&v, c, 0, NULL);
}

const struct ctl_command ctl_socket_data = {
    .name = "socket-data",
    .words = "ID JSON",
    .n_words_min = 2,
    .n_words_max = 2,
    .help = "Sets the data of a socket",
    .options = NSP,
    .run = run_socket_data,
};

static int
run_socket_user(struct ctl *c)
{
    struct ctl_verb v = {.name = "socket_user"};
    ctl_verb_option(&v, c, "nsp", "nsp");
    ctl_verb_text(&v, "socket", c->words[0]);
    if (c->n_words > 1)
        ctl_verb_text(&v, "user", c->words[1]);
    return ctl_verb_end(&v, c, 0, NULL);
}

const struct ctl_command ctl_socket_user = {
    .name = "socket-user",
    .words = "ID [USER]",
    .n_words_min = 1,
    .n_words_max = 2,
    .help = "Says which user a socket is; without USER, nobody",
    .options = NSP,
    .run = run_socket_user,
};
