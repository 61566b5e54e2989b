/*
 * siolite, the command line: what its files share. One file is one group of commands.
 *
 * To add a command: a struct ctl_command in the file of its group, a declaration at the
 * end of this header, a line in the table of main.c, a section of docs/man/siolite.1.
 *
 * Exit statuses: 0; CTL_FAILED; CTL_USAGE for whatever the caller could have known to be
 * wrong, the refusals of the verbs among it. A command prints its result to stdout, and
 * nothing else; one line to stderr says why it failed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_CTL_H
#define SIOLITE_STORE_CTL_CTL_H

#include "store/read.h"

enum { CTL_FAILED = 1, CTL_USAGE = 2 };
enum { CTL_GIVEN_MAX = 64 };

struct ctl;

struct ctl_option {
    const char *name;  /* without its dashes; NULL ends a list */
    const char *value; /* what --help calls its value; NULL: a flag */
    const char *help;  /* one sentence without a full stop */
};

struct ctl_command {
    const char *name;
    const char *words; /* as in the usage line: "EVENT [ARG...]", "" if none */
    size_t n_words_min, n_words_max;
    const char *help; /* one sentence without a full stop */
    const struct ctl_option
        *options;              /* beside those that all commands have; NULL: none */
    int (*run)(struct ctl *c); /* the exit status */
};

struct ctl_given {
    const char *name, *value; /* value: "" of a flag */
};

struct ctl {
    const struct ctl_command *command;
    struct ctl_given given[CTL_GIVEN_MAX]; /* in the order of the command line */
    size_t n_given;
    const char **words; /* what is no option, behind the command's name; owned */
    size_t n_words;
    bool is_json; /* --json */
    struct cfg cfg;
    struct store *st; /* after ctl_open() */
};

/* ---- main.c ---- */
const struct ctl_command *ctl_find(const char *name); /* NULL: none */
/* The i-th of all commands; NULL behind the last one. */
const struct ctl_command *ctl_at(size_t i);
extern const struct ctl_option ctl_common_options[];

/* ---- args.c ---- */
/* Returns -1 to go on, else the exit status. */
int ctl_args_parse(struct ctl *c, int argc, char **argv);
bool ctl_has(const struct ctl *c, const char *option);
/* The value that was given last; NULL: none. */
const char *ctl_value(const struct ctl *c, const char *option);
/* The value as a number in [min, max]; *out is untouched if none is given. CTL_USAGE: it
 * is none, which was said. */
MUST_CHECK int ctl_number(const struct ctl *c, const char *option, int64_t min,
                          int64_t max, int64_t *out);
/* Both print a line to stderr and return an exit status. */
__attribute__((format(printf, 2, 3))) int
ctl_usage(const struct ctl *c, const char *fmt, ...); /* CTL_USAGE */
__attribute__((format(printf, 2, 3))) int
ctl_fail(const struct ctl *c, const char *fmt, ...); /* CTL_FAILED */
void ctl_print_usage(FILE *out, const struct ctl_command *command);

/* ---- database.c ---- */
/* Opens the database, which must be there unless `may_create`. Returns 0, or an exit
 * status after having said why. main() closes. `on_packet` gets the rows of the log from
 * now on and may be NULL. */
MUST_CHECK int ctl_open(struct ctl *c, bool may_create,
                        void (*on_packet)(void *arg, struct store_packet *p), void *arg);
/* Commits a unit; returns 0, or an exit status after having said why. The store takes the
 * unit. */
MUST_CHECK int ctl_run(struct ctl *c, struct store_unit *u, int64_t *last_seq);
/* One verb: INSERT INTO its view. */
MUST_CHECK int
ctl_act(struct ctl *c, const char *verb, const struct store_field *fields, size_t n);
/* Delivers what came, after having waited for it for at most `ms`; -1: without an end. */
void ctl_wait(struct ctl *c, int ms);
/* Rows of a public view; tries again while the database can't be read without waiting. */
MUST_CHECK int ctl_read(struct ctl *c, const char *view, const struct store_field *filter,
                        size_t n, size_t limit, store_view_fn *fn, void *arg);
extern const struct ctl_command ctl_init;

/* ---- program.c ---- */
/* Where a program of this installation is: "siolite.fcgi", "siolite-ws" …; owned by the
 * caller. If it is nowhere, where it should be, and *is_there is false. */
char *ctl_program(const char *name, bool *is_there);
/* The same file or folder without links and relative parts, as far as it exists; owned by
 * the caller. */
char *ctl_absolute(const char *path);

/* ---- conf.c ---- */
extern const struct ctl_command ctl_conf;

/* ---- doctor.c ---- */
extern const struct ctl_command ctl_doctor;

#endif
