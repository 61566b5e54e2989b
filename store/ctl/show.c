/*
 * siolite sockets, rooms, members, nsps, show: rows of the public views.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "store/ctl/ctl.h"

enum { FILTERS_MAX = 16 };

#define OPTION_NSP                                                                       \
    {                                                                                    \
        "nsp", "NSP", "Only those in this namespace"                                     \
    }

struct filter {
    struct store_field fields[FILTERS_MAX];
    size_t n;
};

static struct store_field
text_field(struct str column, const char *value)
{
    return (struct store_field){.name = column,
                                .value = {.type = STORE_TEXT, .s = str_of(value)}};
}

size_t
ctl_filter(const struct ctl *c, const char *option, struct store_field *filter, size_t n)
{
    if (ctl_has(c, option))
        filter[n++] = text_field(str_of(option), ctl_value(c, option));
    return n;
}

static int
show(struct ctl *c, const char *view, const struct filter *f, int64_t limit)
{
    struct ctl_table t = {.c = c};
    int status = ctl_open(c, false, NULL, NULL);
    if (status == 0)
        status = ctl_read(c, view, f->fields, f->n, (size_t)limit, ctl_table_row, &t);
    ctl_table_end(&t);
    return status;
}

int
ctl_show_by_options(struct ctl *c, const char *view)
{
    struct filter f = {.n = 0};
    for (const struct ctl_option *o = c->command->options; o && o->name; o++)
        f.n = ctl_filter(c, o->name, f.fields, f.n);
    return show(c, view, &f, INT64_MAX);
}

static int
run_sockets(struct ctl *c)
{
    return ctl_show_by_options(c, "socket");
}

const struct ctl_command ctl_sockets = {
    .name = "sockets",
    .words = "",
    .help = "Lists who is connected; `members --room` lists those in a room",
    .options = (const struct ctl_option[]){OPTION_NSP,
                                           {"user", "USER", "Only those of this user"},
                                           {0}},
    .run = run_sockets,
};

static int
run_rooms(struct ctl *c)
{
    return ctl_show_by_options(c, "room");
}

const struct ctl_command ctl_rooms = {
    .name = "rooms",
    .words = "",
    .help = "Lists the rooms that somebody is in",
    .options = (const struct ctl_option[]){OPTION_NSP, {0}},
    .run = run_rooms,
};

static int
run_members(struct ctl *c)
{
    return ctl_show_by_options(c, "member");
}

const struct ctl_command ctl_members = {
    .name = "members",
    .words = "",
    .help = "Lists who is in which room",
    .options =
        (const struct ctl_option[]){
            OPTION_NSP,
            {"room", "ROOM", "Only those in this room"},
            {"socket", "ID", "Only the rooms of this socket"},
            {0},
        },
    .run = run_members,
};

static int
run_nsps(struct ctl *c)
{
    return ctl_show_by_options(c, "nsp");
}

const struct ctl_command ctl_nsps = {
    .name = "nsps",
    .words = "",
    .help = "Lists the namespaces",
    .options = NULL,
    .run = run_nsps,
};

/* ---- show ---- */

/* A text is never equal to a number; a column of text is, to the text of one. */
static void
set_type(struct store_value *v)
{
    char text[24];
    int64_t number;
    if (str_to_int(v->s, INT64_MIN, INT64_MAX, &number) != RC_OK)
        return;
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    if (str_eqz(v->s, text))
        *v = (struct store_value){.type = STORE_INT, .i = number};
}

static int
run_show(struct ctl *c)
{
    struct filter f = {.n = 0};
    int64_t limit = INT64_MAX;
    int status = ctl_number(c, "limit", 1, INT32_MAX, &limit);
    for (size_t i = 1; i < c->n_words && status == 0; i++) {
        const char *equals = strchr(c->words[i], '=');
        if (!equals) {
            status = ctl_usage(c, "%s: must be COLUMN=VALUE", c->words[i]);
            continue;
        }
        f.fields[f.n] = text_field(
            (struct str){c->words[i], (size_t)(equals - c->words[i])}, equals + 1);
        set_type(&f.fields[f.n++].value);
    }
    return status ? status : show(c, c->words[0], &f, limit);
}

const struct ctl_command ctl_show = {
    .name = "show",
    .words = "VIEW [COLUMN=VALUE]...",
    .n_words_min = 1,
    .n_words_max = FILTERS_MAX,
    .help = "Shows rows of a public view: process, session, log, ask … (siolite-sql(7))",
    .options = (const struct ctl_option[]){{"limit", "N", "At most so many rows"}, {0}},
    .run = run_show,
};
