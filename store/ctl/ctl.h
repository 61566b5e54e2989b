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

/* ---- database.c ---- */
/* Opens the database, which must be there unless `may_create`. Returns 0, or an exit
 * status after having said why. main() closes. `on_packet` gets the rows of the log from
 * now on and may be NULL. */
MUST_CHECK int ctl_open(struct ctl *c, bool may_create,
                        void (*on_packet)(void *arg, struct store_packet *p), void *arg);
/* Commits a unit; returns 0, or an exit status after having said why. The store takes the
 * unit. */
MUST_CHECK int ctl_run(struct ctl *c, struct store_unit *u, int64_t *last_seq);
/* Delivers what came, after having waited for it for at most `ms`; -1: without an end. */
void ctl_wait(struct ctl *c, int ms);
/* Rows of a public view; tries again while the database can't be read without waiting. */
MUST_CHECK int ctl_read(struct ctl *c, const char *view, const struct store_field *filter,
                        size_t n, size_t limit, store_view_fn *fn, void *arg);
extern const struct ctl_command ctl_init, ctl_restored;

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

/* ---- verb.c: from options and words to the columns of a verb ---- */
enum { CTL_FIELDS_MAX = 16 };
struct ctl_verb {
    const char *name; /* of the view */
    struct store_field fields[CTL_FIELDS_MAX];
    struct buf texts[CTL_FIELDS_MAX]; /* what values point into, if they were made */
    size_t n;
};
/* The value is borrowed; NULL adds nothing. */
void ctl_verb_text(struct ctl_verb *v, const char *column, const char *value);
void ctl_verb_number(struct ctl_verb *v, const char *column, int64_t value);
/* The value of the option `option`, if it was given. */
void ctl_verb_option(struct ctl_verb *v, const struct ctl *c, const char *option,
                     const char *column);
/* 1, if the flag was given. */
void ctl_verb_flag(struct ctl_verb *v, const struct ctl *c, const char *option,
                   const char *column);
/* --room, --except, --user, --nsp */
void ctl_verb_target(struct ctl_verb *v, const struct ctl *c);
/* args: the words from the given one on, as JSON or with --text as they are; and
 * --attachment FILE. CTL_USAGE, CTL_FAILED: said why. */
MUST_CHECK int ctl_verb_args(struct ctl_verb *v, const struct ctl *c, size_t from);
/* What a command ends with: if `status` is 0, opens the database and INSERTs INTO the
 * view; frees the verb. *last_seq (may be NULL): the newest row of the log that it made,
 * 0: none. Returns `status`, or an exit status: said why. */
MUST_CHECK int
ctl_verb_end(struct ctl_verb *v, struct ctl *c, int status, int64_t *last_seq);

/* ---- print.c: rows, as a table or as JSON ---- */
struct ctl_table {
    const struct ctl *c;
    struct buf cells; /* of all rows, each behind its length in `ends` */
    size_t *ends, n_cells, cap_cells;
    size_t n_columns; /* 0: nothing came yet */
};
/* A store_view_fn; `arg` is the table. With --json the row is printed at once. */
void ctl_table_row(void *arg, const struct store_field *row, size_t n);
/* Prints what was kept, under the names of the columns, and frees it. */
void ctl_table_end(struct ctl_table *t);
void ctl_print_json_row(FILE *out, const struct store_field *row, size_t n);
/* A value as text; what a terminal would obey is written as \xHH. */
void ctl_append_value(struct buf *b, const struct store_field *f);

/* ---- show.c ---- */
/* The rows of a view whose columns are as the options of the same names say. */
MUST_CHECK int ctl_show_by_options(struct ctl *c, const char *view);
/* Adds the filter column = option, if it was given, as the n-th; returns the new n. */
size_t
ctl_filter(const struct ctl *c, const char *option, struct store_field *filter, size_t n);

/* What ctl_verb_args() reads. */
#define CTL_OPTION_TEXT                                                                  \
    {                                                                                    \
        "text", NULL, "Each ARG is text, and not JSON"                                   \
    }
#define CTL_OPTION_ATTACHMENT                                                            \
    {                                                                                    \
        "attachment", "FILE",                                                            \
            "Binary data, behind the ARGs or where {\"_placeholder\":true,\"num\":0} "   \
            "stands in "                                                                 \
            "them; may be repeated"                                                      \
    }

/* ---- the groups ---- */
extern const struct ctl_command ctl_emit, ctl_answers, ctl_ack, ctl_server_emit;
extern const struct ctl_command ctl_join, ctl_leave, ctl_kick, ctl_socket_data,
    ctl_socket_user;
extern const struct ctl_command ctl_sockets, ctl_rooms, ctl_members, ctl_nsps, ctl_show;
extern const struct ctl_command ctl_tail, ctl_users, ctl_outbox, ctl_app_check;
extern const struct ctl_command ctl_completion;

#endif
