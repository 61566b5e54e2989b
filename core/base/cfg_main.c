/*
 * The command line that every program shares.
 *
 * Main thread of each program, before any other thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/cfg.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *file; /* --config, or what was found; NULL: defaults only */
    bool is_check;
};

/* A web server may hand the words of a query string to a CGI program as arguments (RFC
 * 3875 section 4.4). These come from a stranger. It does so only where the query has no
 * '='; our requests always have one. */
static bool
are_arguments_foreign(void)
{
    const char *query = getenv("QUERY_STRING");
    return getenv("GATEWAY_INTERFACE") && query && query[0] && !strchr(query, '=');
}

/* A file `siolite.conf` beside `program`, if there is one. */
static bool
find_beside(const char *program, struct buf *out)
{
    const char *slash = program ? strrchr(program, '/') : NULL;
    buf_clear(out);
    if (slash == NULL)
        return false;
    buf_append(out, program, (size_t)(slash - program) + 1);
    buf_append_z(out, "siolite.conf");
    buf_append_c(out, 0);
    return access(out->p, F_OK) == 0;
}

/* The file to read without --config; NULL if there is none. Borrows from `b`. */
static const char *
find_file(const char *argv0, struct buf *b)
{
    static const char *const etc = "/etc/siolite/siolite.conf";
    char self[PATH_MAX];
    ssize_t n;
    if (find_beside(argv0, b))
        return b->p;
    n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = 0;
        if (find_beside(self, b))
            return b->p;
    }
    return access(etc, F_OK) == 0 ? etc : NULL;
}

enum rc
cfg_read(struct cfg *c, const char *file, const char *argv0, struct buf *err)
{
    struct buf found = {0};
    enum rc rc = RC_OK;
    if (file == NULL)
        file = find_file(argv0, &found);
    if (file)
        rc = cfg_load(c, file, err);
    buf_fini(&found);
    return rc;
}

static void
print_usage(FILE *out, const char *program)
{
    fprintf(out,
            "usage: %s [--config FILE] [--set KEY=VALUE]... [--check-config] [--version] "
            "[--help]\n",
            program);
}

/* The value of the option `name` at argv[*i]: behind '=' or the next argument; NULL if it
 * is another one. */
static const char *
take_value(const char *name, int argc, char **argv, int *i, bool *is_missing)
{
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0)
        return NULL;
    if (argv[*i][len] == '=')
        return argv[*i] + len + 1;
    if (argv[*i][len])
        return NULL;
    *is_missing = *i + 1 >= argc;
    return *is_missing ? NULL : argv[++*i];
}

/* First round: everything but --set. Returns -1 or the exit status. */
static int
read_arguments(const char *program, int argc, char **argv, struct command *cmd)
{
    for (int i = 1; i < argc; i++) {
        bool is_missing = false;
        const char *value = take_value("--config", argc, argv, &i, &is_missing);
        if (value) {
            cmd->file = value;
        } else if (!is_missing && take_value("--set", argc, argv, &i, &is_missing)) {
            continue;
        } else if (strcmp(argv[i], "--check-config") == 0) {
            cmd->is_check = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program, SIOLITE_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0) {
            print_usage(stdout, program);
            puts(
                "\nOptions of the configuration file and of --set, with their defaults:");
            cfg_print_help(stdout);
            return 0;
        } else {
            fprintf(stderr, "%s: %s: %s\n", program, argv[i],
                    is_missing ? "needs a value" : "unknown argument");
            print_usage(stderr, program);
            return 2;
        }
    }
    return -1;
}

/* The file, then what --set says. */
static enum rc
load(struct cfg *c, const char *file, int argc, char **argv, struct buf *err)
{
    enum rc rc = file ? cfg_load(c, file, err) : RC_OK;
    for (int i = 1; i < argc && rc == RC_OK; i++) {
        bool is_missing = false;
        if (take_value("--config", argc, argv, &i, &is_missing))
            continue;
        const char *value = take_value("--set", argc, argv, &i, &is_missing);
        if (value)
            rc = cfg_set(c, str_of(value), "--set", err);
    }
    return rc == RC_OK ? cfg_check(c, err) : rc;
}

enum rc
cfg_main_again(struct cfg *c, int argc, char **argv, struct buf *err)
{
    struct command cmd = {0};
    struct buf found = {0};
    cfg_init(c);
    (void)read_arguments("", argc, argv, &cmd); /* they were right the first time */
    if (cmd.file == NULL)
        cmd.file = find_file(argc > 0 ? argv[0] : NULL, &found);
    enum rc rc = load(c, cmd.file, argc, argv, err);
    if (rc != RC_OK)
        cfg_fini(c);
    buf_fini(&found);
    return rc;
}

int
cfg_main(struct cfg *c, const char *program, int argc, char **argv)
{
    struct command cmd = {0};
    struct buf err = {0}, found = {0};
    enum rc rc = RC_OK;
    int status;
    if (are_arguments_foreign())
        argc = argc > 0 ? 1 : 0;
    cfg_init(c);
    status = read_arguments(program, argc, argv, &cmd);
    if (status >= 0)
        goto out;
    if (cmd.file == NULL)
        cmd.file = find_file(argc > 0 ? argv[0] : NULL, &found);
    rc = load(c, cmd.file, argc, argv, &err);
    if (rc != RC_OK) {
        fprintf(stderr, "%s: %.*s\n", program, STR_ARG(buf_str(&err)));
        status = 1;
    } else if (cmd.is_check) {
        printf("%s: ok\n", cmd.file ? cmd.file : "defaults");
        status = 0;
    }
out:
    buf_fini(&err);
    buf_fini(&found);
    if (status >= 0)
        cfg_fini(c);
    return status;
}
