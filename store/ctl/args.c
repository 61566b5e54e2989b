/*
 * siolite: the arguments, and messages about them.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/ctl/ctl.h"

static const struct ctl_option *
find_in(const struct ctl_option *list, struct str name)
{
    for (; list && list->name; list++)
        if (str_eqz(name, list->name))
            return list;
    return NULL;
}

static void
append_option(struct buf *b, const struct ctl_option *o)
{
    buf_append_f(b, "--%s", o->name);
    if (o->value)
        buf_append_f(b, " %s", o->value);
}

static void
print_options(FILE *out, const struct ctl_option *list)
{
    struct buf b = {0};
    for (; list && list->name; list++) {
        buf_clear(&b);
        append_option(&b, list);
        fprintf(out, "  %-28.*s %s\n", STR_ARG(buf_str(&b)), list->help);
    }
    buf_fini(&b);
}

static void
print_usage(FILE *out, const struct ctl_command *command)
{
    if (command)
        fprintf(out, "usage: siolite %s [OPTION]...%s%s\n", command->name,
                command->words[0] ? " " : "", command->words);
    else
        fprintf(out, "usage: siolite [OPTION]... COMMAND [OPTION]... [ARG]...\n");
}

static void
print_help(const struct ctl_command *command)
{
    const struct ctl_command *k;
    print_usage(stdout, command);
    if (command) {
        printf("\n%s.\n", command->help);
        if (command->options) {
            puts("\nOptions:");
            print_options(stdout, command->options);
        }
        puts("\nOptions of all commands:");
    } else {
        puts("\nCommands:");
        for (size_t i = 0; (k = ctl_at(i)) != NULL; i++)
            printf("  %-12s %s\n", k->name, k->help);
        puts("\nOptions (siolite COMMAND --help shows those of a command):");
    }
    print_options(stdout, ctl_common_options);
}

static int
complain(const struct ctl *c, int status, const char *fmt, va_list args)
{
    fprintf(stderr, "siolite%s%s: ", c->command ? " " : "",
            c->command ? c->command->name : "");
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    return status;
}

int
ctl_usage(const struct ctl *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain(c, CTL_USAGE, fmt, args);
    va_end(args);
    return CTL_USAGE;
}

int
ctl_fail(const struct ctl *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain(c, CTL_FAILED, fmt, args);
    va_end(args);
    return CTL_FAILED;
}

static int
refuse_option(const struct ctl *c, const char *arg)
{
    struct buf b = {0};
    const struct ctl_option *lists[] = {c->command ? c->command->options : NULL,
                                        ctl_common_options};
    for (size_t i = 0; i < 2; i++)
        for (const struct ctl_option *o = lists[i]; o && o->name; o++)
            buf_append_f(&b, "%s--%s", b.len ? ", " : "", o->name);
    ctl_usage(c, "%s: unknown option; allowed: %.*s", arg, STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return CTL_USAGE;
}

/* argv[*i] begins with two dashes and has a name. */
static int
take_option(struct ctl *c, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    struct str name = str_of(arg + 2);
    const struct ctl_option *o = NULL;
    if (equals)
        name.len = (size_t)(equals - arg) - 2;
    if (c->command)
        o = find_in(c->command->options, name);
    if (!o)
        o = find_in(ctl_common_options, name);
    if (!o)
        return refuse_option(c, arg);
    if (!o->value && equals)
        return ctl_usage(c, "--%s: has no value", o->name);
    if (o->value && !equals && *i + 1 >= argc)
        return ctl_usage(c, "--%s: needs a value: %s", o->name, o->value);
    if (c->n_given == CTL_GIVEN_MAX)
        return ctl_usage(c, "more than %d options", CTL_GIVEN_MAX);
    c->given[c->n_given++] = (struct ctl_given){o->name, !o->value ? ""
                                                         : equals  ? equals + 1
                                                                   : argv[++*i]};
    return -1;
}

static int
take_word(struct ctl *c, const char *word)
{
    if (c->command) {
        c->words[c->n_words++] = word;
        return -1;
    }
    c->command = ctl_find(word);
    if (c->command)
        return -1;
    return ctl_usage(c, "%s: no such command; `siolite --help` lists them", word);
}

static int
check_words(const struct ctl *c)
{
    if (c->n_words >= c->command->n_words_min && c->n_words <= c->command->n_words_max)
        return -1;
    ctl_usage(c, c->n_words < c->command->n_words_min ? "an argument is missing"
                                                      : "too many arguments");
    print_usage(stderr, c->command);
    return CTL_USAGE;
}

int
ctl_args_parse(struct ctl *c, int argc, char **argv)
{
    bool is_end = false;
    int status = -1;
    c->words = xcalloc((size_t)argc + 1, sizeof *c->words);
    for (int i = 1; i < argc && status < 0; i++) {
        if (!is_end && strcmp(argv[i], "--") == 0)
            is_end = true;
        else if (!is_end && strncmp(argv[i], "--", 2) == 0)
            status = take_option(c, argc, argv, &i);
        else
            status = take_word(c, argv[i]);
    }
    if (status >= 0)
        return status;
    if (ctl_has(c, "version")) {
        printf("siolite %s\n", SIOLITE_VERSION);
        return 0;
    }
    if (ctl_has(c, "help")) {
        print_help(c->command);
        return 0;
    }
    c->is_json = ctl_has(c, "json");
    if (c->command)
        return check_words(c);
    ctl_usage(c, "no command is given; `siolite --help` lists them");
    return CTL_USAGE;
}

bool
ctl_has(const struct ctl *c, const char *option)
{
    return ctl_value(c, option) != NULL;
}

const char *
ctl_value(const struct ctl *c, const char *option)
{
    for (size_t i = c->n_given; i > 0; i--)
        if (strcmp(c->given[i - 1].name, option) == 0)
            return c->given[i - 1].value;
    return NULL;
}

int
ctl_number(const struct ctl *c, const char *option, int64_t min, int64_t max,
           int64_t *out)
{
    const char *text = ctl_value(c, option);
    if (!text || str_to_int(str_of(text), min, max, out) == RC_OK)
        return 0;
    return ctl_usage(c, "--%s: %s: must be a number; allowed: %lld to %lld", option, text,
                     (long long)min, (long long)max);
}
