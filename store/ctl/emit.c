/*
 * siolite emit, answers, ack, server-emit: what goes to clients and processes.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/rnd.h"
#include "store/ctl/ctl.h"

enum { WORDS_MAX = 1000, TIMEOUT_MAX_MS = 86400000, LOOK_MS = 100 };

/* ---- a question and its answers ---- */

struct question {
    const char *name;
    bool is_there;
    char state[8]; /* open, done, timeout */
    int64_t n_expected, n_answered;
};

static void
on_question(void *arg, const struct store_field *row, size_t n)
{
    struct question *q = arg;
    q->is_there = true;
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(row[i].name, "state"))
            (void)snprintf(q->state, sizeof q->state, "%.*s", STR_ARG(row[i].value.s));
        else if (str_eqz(row[i].name, "n_expected"))
            q->n_expected = row[i].value.i;
        else if (str_eqz(row[i].name, "n_answered"))
            q->n_answered = row[i].value.i;
    }
}

static struct store_field
name_field(const char *name)
{
    return (struct store_field){
        .name = STR("name"),
        .value = {.type = STORE_TEXT, .s = str_of(name)},
    };
}

static int
look(struct ctl *c, struct question *q)
{
    struct store_field f = name_field(q->name);
    q->is_there = false;
    return ctl_read(c, "ask", &f, 1, 1, on_question, q);
}

/* Prints the answers; CTL_FAILED: the time is over, and some have not answered. */
static int
report(struct ctl *c, const struct question *q)
{
    struct store_field f = name_field(q->name);
    struct ctl_table t = {.c = c};
    int status = ctl_read(c, "answer", &f, 1, SIZE_MAX, ctl_table_row, &t);
    ctl_table_end(&t);
    if (status != 0 || strcmp(q->state, "timeout") != 0)
        return status;
    fflush(stdout);
    return ctl_fail(c, "%s: the time is over; %lld of %lld have answered", q->name,
                    (long long)q->n_answered, (long long)q->n_expected);
}

static int
wait_for_answers(struct ctl *c, struct question *q)
{
    int status = look(c, q);
    while (status == 0 && q->is_there && strcmp(q->state, "open") == 0) {
        ctl_wait(c, LOOK_MS);
        status = look(c, q);
    }
    if (status == 0 && !q->is_there)
        return ctl_fail(c, "%s: there is no such question (any more)", q->name);
    return status ? status : report(c, q);
}

/* ---- emit ---- */

static const struct ctl_option EMIT_OPTIONS[] = {
    {"nsp", "NSP", "The namespace, else /"},
    {"room", "ROOM", "To a room or a socket id, else to everybody; may be repeated"},
    {"user", "USER", "To all connections of this user"},
    {"except", "ROOM", "But not to those in this room, or with this id; may be repeated"},
    CTL_OPTION_TEXT,
    CTL_OPTION_ATTACHMENT,
    {"volatile", NULL, "Only to who can be reached right now"},
    {"plain", NULL, "Is not compressed"},
    {"ack", NULL, "Asks for answers, and prints the name of the question"},
    {"name", "NAME", "With --ack: the name of the question, else one is made up"},
    {"timeout", "MS", "With --ack: how long answers are taken, else 10000"},
    {"wait", NULL, "With --ack: waits for the answers, and prints them"},
    {0},
};

static int
check_ack_options(const struct ctl *c)
{
    static const char *const NAMES[] = {"name", "timeout", "wait"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && !ctl_has(c, "ack"); i++)
        if (ctl_has(c, NAMES[i]))
            return ctl_usage(c, "--%s: goes with --ack only", NAMES[i]);
    return 0;
}

static void
print_emitted(const struct ctl *c, int64_t last_seq)
{
    if (c->is_json && last_seq)
        printf("{\"seq\":%lld}\n", (long long)last_seq);
    else if (c->is_json)
        puts("{\"seq\":null}"); /* nobody is there */
}

/* As ctl_verb_end(), for what stands in the log then. */
static int
emit_end(struct ctl *c, struct ctl_verb *v, int status)
{
    int64_t last_seq = 0;
    status = ctl_verb_end(v, c, status, &last_seq);
    if (status == 0)
        print_emitted(c, last_seq);
    return status;
}

static void
print_asked(const struct ctl *c, const char *name)
{
    const struct store_field f = name_field(name);
    if (c->is_json)
        ctl_print_json_row(stdout, &f, 1);
    else
        printf("%s\n", name);
}

static int
finish_ask(struct ctl *c, const char *name)
{
    struct question q = {.name = name};
    if (ctl_has(c, "wait"))
        return wait_for_answers(c, &q);
    print_asked(c, name);
    return 0;
}

static int
run_emit(struct ctl *c)
{
    bool is_ask = ctl_has(c, "ack");
    struct ctl_verb v = {.name = is_ask ? "ask" : "emit"};
    const char *name = ctl_value(c, "name");
    char made[RND_ID_LEN + 1];
    int64_t timeout_ms = 10000;
    int status = check_ack_options(c);
    if (status == 0)
        status = ctl_number(c, "timeout", 1, TIMEOUT_MAX_MS, &timeout_ms);
    if (status == 0)
        status = ctl_verb_args(&v, c, 1);
    ctl_verb_target(&v, c);
    ctl_verb_text(&v, "event", c->words[0]);
    ctl_verb_flag(&v, c, "volatile", "is_volatile");
    ctl_verb_flag(&v, c, "plain", "is_plain");
    if (!is_ask)
        return emit_end(c, &v, status);
    rnd_id(made);
    name = name ? name : made;
    ctl_verb_text(&v, "name", name);
    ctl_verb_number(&v, "timeout_ms", timeout_ms);
    status = ctl_verb_end(&v, c, status, NULL);
    return status ? status : finish_ask(c, name);
}

const struct ctl_command ctl_emit = {
    .name = "emit",
    .words = "EVENT [ARG]...",
    .n_words_min = 1,
    .n_words_max = WORDS_MAX,
    .help = "Emits an event to clients; each ARG is a JSON value",
    .options = EMIT_OPTIONS,
    .run = run_emit,
};

/* ---- answers ---- */

static int
cancel_ask(struct ctl *c, const char *name)
{
    struct ctl_verb v = {.name = "ask_cancel"};
    ctl_verb_text(&v, "name", name);
    return ctl_verb_end(&v, c, 0, NULL);
}

static int
run_answers(struct ctl *c)
{
    struct question q = {.name = c->words[0]};
    if (ctl_has(c, "wait") && ctl_has(c, "cancel"))
        return ctl_usage(c, "--wait: goes without --cancel only");
    if (ctl_has(c, "cancel"))
        return cancel_ask(c, q.name);
    int status = ctl_open(c, false, NULL, NULL);
    if (status != 0)
        return status;
    if (ctl_has(c, "wait"))
        return wait_for_answers(c, &q);
    status = look(c, &q);
    if (status == 0 && !q.is_there)
        return ctl_fail(c, "%s: there is no such question (any more)", q.name);
    return status ? status : report(c, &q);
}

const struct ctl_command ctl_answers = {
    .name = "answers",
    .words = "NAME",
    .n_words_min = 1,
    .n_words_max = 1,
    .help = "Shows the answers to a question that was asked by emit --ack, or in SQL",
    .options = (const struct ctl_option[]){{"wait", NULL, "Waits for its end"},
                                           {"cancel", NULL,
                                            "Forgets the question before its time"},
                                           {0}},
    .run = run_answers,
};

/* ---- ack ---- */

static int
run_ack(struct ctl *c)
{
    struct ctl_verb v = {.name = "ack"};
    int status = ctl_verb_args(&v, c, 1);
    ctl_verb_text(&v, "event_id", c->words[0]);
    return emit_end(c, &v, status);
}

const struct ctl_command ctl_ack = {
    .name = "ack",
    .words = "EVENT-ID [ARG]...",
    .n_words_min = 1,
    .n_words_max = WORDS_MAX,
    .help = "Answers an event of a client that wants an ack",
    .options = (const struct ctl_option[]){CTL_OPTION_TEXT, CTL_OPTION_ATTACHMENT, {0}},
    .run = run_ack,
};

/* ---- server-emit ---- */

static int
run_server_emit(struct ctl *c)
{
    struct ctl_verb v = {.name = "server_emit"};
    int status = ctl_verb_args(&v, c, 1);
    ctl_verb_option(&v, c, "nsp", "nsp");
    ctl_verb_text(&v, "event", c->words[0]);
    return emit_end(c, &v, status);
}

const struct ctl_command ctl_server_emit = {
    .name = "server-emit",
    .words = "EVENT [ARG]...",
    .n_words_min = 1,
    .n_words_max = WORDS_MAX,
    .help = "Emits an event to the handlers of all processes",
    .options = (const struct ctl_option[]){{"nsp", "NSP", "The namespace, else /"},
                                           CTL_OPTION_TEXT,
                                           {0}},
    .run = run_server_emit,
};
