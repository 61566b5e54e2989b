/*
 * siolite tail: the log, as it grows.
 *
 * on_packet says which rows there are, the view `log` what they say. A row that was
 * pruned in between is left out.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "store/ctl/ctl.h"

enum { LINES_MAX = 1000000 };

struct tail {
    struct ctl *c;
    const char *nsp; /* NULL: all of them */
    bool is_events;
    int64_t *seqs; /* that came, and are not printed yet */
    size_t n, cap;
};

static volatile sig_atomic_t is_over; /* all that a signal handler may touch */

static void
on_signal(int number)
{
    (void)number;
    is_over = 1;
}

static void
on_packet(void *arg, struct store_packet *p)
{
    struct tail *t = arg;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->seqs = xrealloc(t->seqs, t->cap * sizeof *t->seqs);
    }
    t->seqs[t->n++] = p->seq;
}

static const struct store_field *
find(const struct store_field *row, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(row[i].name, name))
            return &row[i];
    return NULL;
}

static bool
has_value(const struct store_field *row, size_t n, const char *name, const char *value)
{
    const struct store_field *f = find(row, n, name);
    return f && f->value.type == STORE_TEXT && str_eqz(f->value.s, value);
}

/* "2026-11-25 13:00:01.123 event seq=41 nsp=/ target=lobby event=said args=["hi"]" */
static void
print_line(const struct store_field *row, size_t n)
{
    static const char *const FIRST[] = {"time", "kind"};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof FIRST / sizeof *FIRST; i++) {
        const struct store_field *f = find(row, n, FIRST[i]);
        if (i)
            buf_append_c(&b, ' ');
        if (f)
            ctl_append_value(&b, f);
    }
    for (size_t i = 0; i < n; i++) {
        if (row[i].value.type == STORE_NULL || str_eqz(row[i].name, "time") ||
            str_eqz(row[i].name, "kind"))
            continue;
        buf_append_f(&b, " %.*s=", STR_ARG(row[i].name));
        ctl_append_value(&b, &row[i]);
    }
    printf("%.*s\n", STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

static void
on_row(void *arg, const struct store_field *row, size_t n)
{
    const struct tail *t = arg;
    if ((t->nsp && !has_value(row, n, "nsp", t->nsp)) ||
        (t->is_events && !has_value(row, n, "kind", "event")))
        return;
    if (t->c->is_json)
        ctl_print_json_row(stdout, row, n);
    else
        print_line(row, n);
}

static int
print_row(struct tail *t, int64_t seq)
{
    const struct store_field f = {.name = STR("seq"),
                                  .value = {.type = STORE_INT, .i = seq}};
    return ctl_read(t->c, "log", &f, 1, 1, on_row, t);
}

static int
print_new(struct tail *t)
{
    int status = 0;
    size_t n = t->n; /* reading may bring more of them */
    for (size_t i = 0; i < n && status == 0; i++)
        status = print_row(t, t->seqs[i]);
    memmove(t->seqs, t->seqs + n, (t->n - n) * sizeof *t->seqs);
    t->n -= n;
    fflush(stdout);
    return status;
}

static int
follow(struct tail *t, int64_t n_lines)
{
    int64_t last_seq = store_last_seq(t->c->st);
    int status = 0;
    for (int64_t seq = last_seq - n_lines + 1; seq <= last_seq && status == 0; seq++)
        status = seq > 0 ? print_row(t, seq) : 0;
    fflush(stdout);
    while (status == 0 && !is_over && !ferror(stdout)) {
        if (t->n > 0)
            status = print_new(t);
        else
            ctl_wait(t->c, -1);
    }
    return status;
}

static int
run_tail(struct ctl *c)
{
    struct tail t = {
        .c = c, .nsp = ctl_value(c, "nsp"), .is_events = ctl_has(c, "events")};
    const struct sigaction action = {.sa_handler = on_signal};
    int64_t n_lines = 10;
    int status = ctl_number(c, "lines", 0, LINES_MAX, &n_lines);
    if (status == 0)
        status = ctl_open(c, false, on_packet, &t);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (status == 0)
        status = follow(&t, n_lines);
    free(t.seqs);
    return status;
}

const struct ctl_command ctl_tail = {
    .name = "tail",
    .words = "",
    .help = "Shows the newest rows of the log, and each new one, until Ctrl-C",
    .options =
        (const struct ctl_option[]){
            {"lines", "N", "How many of those that are there, else 10"},
            {"nsp", "NSP", "Only rows of this namespace"},
            {"events", NULL, "Only events"},
            {0},
        },
    .run = run_tail,
};
