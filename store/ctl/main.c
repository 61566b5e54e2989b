/*
 * siolite: the command line. The table of its commands, configuration, end.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "store/ctl/ctl.h"

static const struct ctl_command *const COMMANDS[] = {
    &ctl_init,       &ctl_emit,     &ctl_answers, &ctl_ack,         &ctl_server_emit,
    &ctl_join,       &ctl_leave,    &ctl_kick,    &ctl_socket_data, &ctl_socket_user,
    &ctl_sockets,    &ctl_rooms,    &ctl_members, &ctl_nsps,        &ctl_show,
    &ctl_tail,       &ctl_restored, &ctl_users,   &ctl_outbox,      &ctl_app_check,
    &ctl_completion, &ctl_conf,     &ctl_doctor,
};

const struct ctl_option ctl_common_options[] = {
    {"config", "FILE",
     "The configuration; else siolite.conf beside the program, or in /etc/siolite"},
    {"database", "FILE", "The database, whatever the configuration says"},
    {"set", "KEY=VALUE", "An option of the configuration; may be repeated"},
    {"json", NULL, "Prints JSON, one object a line"},
    {"help", NULL, "Shows this"},
    {"version", NULL, "Shows the version"},
    {0},
};

const struct ctl_command *
ctl_at(size_t i)
{
    return i < sizeof COMMANDS / sizeof *COMMANDS ? COMMANDS[i] : NULL;
}

const struct ctl_command *
ctl_find(const char *name)
{
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (strcmp(COMMANDS[i]->name, name) == 0)
            return COMMANDS[i];
    return NULL;
}

/* The value may hold anything, so it is not made text of a configuration. */
static void
set_database(struct cfg *cfg, const char *file)
{
    free(cfg->database);
    cfg->database = xstrdup(file);
}

static int
configure(struct ctl *c, const char *argv0)
{
    struct buf err = {0};
    enum rc rc = cfg_read(&c->cfg, ctl_value(c, "config"), argv0, &err);
    int status = -1;
    for (size_t i = 0; i < c->n_given && rc == RC_OK; i++)
        if (strcmp(c->given[i].name, "set") == 0)
            rc = cfg_set(&c->cfg, str_of(c->given[i].value), "--set", &err);
    if (rc != RC_OK)
        status = ctl_fail(c, "%.*s", STR_ARG(buf_str(&err)));
    else if (ctl_has(c, "database"))
        set_database(&c->cfg, ctl_value(c, "database"));
    buf_fini(&err);
    return status;
}

int
main(int argc, char **argv)
{
    struct ctl c = {0};
    int status = ctl_args_parse(&c, argc, argv);
    log_open("siolite", LOG_WARN);
    cfg_init(&c.cfg);
    if (status < 0)
        status = configure(&c, argc > 0 ? argv[0] : NULL);
    if (status < 0)
        status = c.command->run(&c);
    if (c.st)
        store_close(c.st);
    if (fflush(stdout) != 0 && status == 0)
        status = ctl_fail(&c, "stdout: it can't be written");
    cfg_fini(&c.cfg);
    free(c.words);
    return status;
}
