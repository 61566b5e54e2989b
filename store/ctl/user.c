/*
 * siolite users, outbox: who is there by name, and what waits for them.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/ctl.h"

enum { WORDS_MAX = 1000 };
static const int64_t EXPIRES_MAX_S = 315360000; /* ten years, as in the view */

/* ---- users ---- */

static int
run_users(struct ctl *c)
{
    return ctl_show_by_options(c, "presence");
}

const struct ctl_command ctl_users = {
    .name = "users",
    .words = "",
    .help = "Lists the users, those that have just left among them",
    .options =
        (const struct ctl_option[]){
            {"nsp", "NSP", "Only those in this namespace"},
            {"user", "USER", "Only this one"},
            {0},
        },
    .run = run_users,
};

/* ---- outbox ---- */

struct list {
    struct ctl_table table;
    bool is_all;
};

static void
on_row(void *arg, const struct store_field *row, size_t n)
{
    struct list *l = arg;
    for (size_t i = 0; i < n; i++)
        if (str_eqz(row[i].name, "acked_at") && row[i].value.type != STORE_NULL &&
            !l->is_all)
            return;
    ctl_table_row(&l->table, row, n);
}

static int
list(struct ctl *c)
{
    struct list l = {.table = {.c = c}, .is_all = ctl_has(c, "all")};
    struct store_field filter[2];
    size_t n = ctl_filter(c, "user", filter, 0);
    n = ctl_filter(c, "nsp", filter, n);
    int status = ctl_open(c, false, NULL, NULL);
    if (status == 0)
        status = ctl_read(c, "outbox", filter, n, SIZE_MAX, on_row, &l);
    ctl_table_end(&l.table);
    return status;
}

static int
put(struct ctl *c)
{
    struct ctl_verb v = {.name = "outbox"};
    int64_t expires_s = -1;
    int status = ctl_number(c, "expires", 0, EXPIRES_MAX_S, &expires_s);
    if (status == 0)
        status = ctl_verb_args(&v, c, 1);
    ctl_verb_option(&v, c, "nsp", "nsp");
    ctl_verb_option(&v, c, "user", "user");
    ctl_verb_text(&v, "event", c->words[0]);
    if (expires_s >= 0)
        ctl_verb_number(&v, "expires_s", expires_s);
    return ctl_verb_end(&v, c, status, NULL);
}

static int
cancel(struct ctl *c)
{
    struct ctl_verb v = {.name = "outbox_cancel"};
    int64_t id = 0;
    int status = ctl_number(c, "id", 1, INT64_MAX, &id);
    if (c->n_words > 1 || ctl_has(c, "all"))
        return ctl_usage(c, "--cancel: goes with one EVENT, and without --all");
    if (id != 0)
        ctl_verb_number(&v, "id", id);
    ctl_verb_option(&v, c, "user", "user");
    ctl_verb_option(&v, c, "nsp", "nsp");
    if (c->n_words > 0)
        ctl_verb_text(&v, "event", c->words[0]);
    if (status == 0 && v.n == 0)
        status = ctl_usage(c, "--cancel: --user or --id must be given");
    return ctl_verb_end(&v, c, status, NULL);
}

static int
run_outbox(struct ctl *c)
{
    static const char *const OF_PUT[] = {"text", "attachment", "expires"};
    bool is_put = c->n_words > 0 && !ctl_has(c, "cancel");
    for (size_t i = 0; i < sizeof OF_PUT / sizeof *OF_PUT && !is_put; i++)
        if (ctl_has(c, OF_PUT[i]))
            return ctl_usage(c, "--%s: goes with an EVENT only", OF_PUT[i]);
    if (ctl_has(c, "cancel"))
        return cancel(c);
    if (ctl_has(c, "id"))
        return ctl_usage(c, "--id: goes with --cancel only");
    if (is_put)
        return ctl_has(c, "all") ? ctl_usage(c, "--all: goes with a list only") : put(c);
    return list(c);
}

const struct ctl_command ctl_outbox = {
    .name = "outbox",
    .words = "[EVENT [ARG]...]",
    .n_words_max = WORDS_MAX,
    .help = "Lists what users have not acknowledged, adds to it, or takes it back",
    .options =
        (const struct ctl_option[]){
            {"user", "USER", "Only what is for this one; with EVENT: for whom it is"},
            {"nsp", "NSP", "Only what is in this namespace; with EVENT: else /"},
            {"all", NULL, "Lists what was acknowledged, too"},
            {"cancel", NULL, "Takes back what waits for the user, or EVENT alone"},
            {"id", "ID", "With --cancel: this entry, whosever it is"},
            {"expires", "S", "EVENT is not sent any more after so many seconds"},
            CTL_OPTION_TEXT,
            CTL_OPTION_ATTACHMENT,
            {0},
        },
    .run = run_outbox,
};
