/*
 * siolite doctor: looks at an installation as somebody would who knows it well.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const LEVELS[] = {"ok", "note", "warn", "fail"};

static void
say_json(enum doctor_level level, const char *check, const char *fix, struct str text)
{
    struct buf b = {0};
    buf_append_f(&b, "{\"check\":\"%s\",\"level\":\"%s\",\"text\":", check,
                 LEVELS[level]);
    buf_append_json(&b, text, false);
    if (fix) {
        buf_append_z(&b, ",\"fix\":");
        buf_append_json(&b, str_of(fix), false);
    }
    printf("%.*s}\n", STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

/* Each line of a fix begins with an arrow, or stands below it. */
static void
say_fix(const char *fix)
{
    struct str rest = str_of(fix);
    const char *mark = "->";
    while (rest.len) {
        struct str line = str_slice(rest, 0, str_index(rest, '\n'));
        printf("      %s %.*s\n", mark, STR_ARG(line));
        rest = str_slice(rest, line.len + 1, rest.len);
        mark = "  ";
    }
}

static void
say(struct doctor *d, enum doctor_level level, const char *check, const char *fix,
    const char *fmt, va_list args)
{
    va_list again;
    char text[1024];
    va_copy(again, args);
    vsnprintf(text, sizeof text, fmt, again);
    va_end(again);
    for (char *p = text; *p; p++) /* others' words may be in it */
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    d->n[level]++;
    if (d->c->is_json) {
        say_json(level, check, fix, str_of(text));
    } else {
        printf("%-5s %-20s %s\n", level == DOCTOR_FAIL ? "FAIL" : LEVELS[level], check,
               text);
        if (fix)
            say_fix(fix);
    }
    fflush(stdout);
}

void
doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *fix,
           const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(d, level, check, fix, fmt, args);
    va_end(args);
}

void
doctor_say_topic(struct doctor *d, enum doctor_level level, const char *check,
                 enum doctor_topic topic, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(d, level, check, doctor_fix(d->server, topic), fmt, args);
    va_end(args);
}

static int
read_options(struct doctor *d)
{
    const char *server = ctl_value(d->c, "server");
    d->is_quick = ctl_has(d->c, "quick");
    if (server == NULL)
        return 0;
    d->server = doctor_server_find(str_of(server));
    d->is_server_given = true;
    if (d->server == DOCTOR_OTHER && strcmp(server, "other") != 0)
        return ctl_usage(d->c,
                         "--server: %s: is not known; allowed: apache, caddy, lighttpd, "
                         "nginx, other",
                         server);
    return 0;
}

static int
run_doctor(struct ctl *c)
{
    struct doctor d = {.c = c};
    struct doctor_http *http = NULL;
    int status = read_options(&d);
    if (status == 0)
        status = doctor_find_users(&d);
    if (status == 0 && c->n_words &&
        doctor_http_create(&http, c->words[0], c->cfg.path, ctl_has(c, "insecure")) !=
            RC_OK)
        status = ctl_usage(c, "%s: is no URL; allowed: such as https://www.example.org/",
                           c->words[0]);
    if (status != 0)
        return status;
    if (!ctl_has(c, "url-only")) {
        doctor_check_place(&d); /* first: it looks before SQLite has the file open */
        doctor_check_host(&d);
        doctor_check_sidecar(&d);
    }
    if (http)
        doctor_check_url(&d, http);
    doctor_http_destroy(http);
    if (!c->is_json)
        printf("\n%zu ok, %zu notes, %zu warnings, %zu failures\n", d.n[DOCTOR_OK],
               d.n[DOCTOR_NOTE], d.n[DOCTOR_WARN], d.n[DOCTOR_FAIL]);
    return d.n[DOCTOR_FAIL] ? CTL_FAILED : 0;
}

static const struct ctl_option OPTIONS[] = {
    {"user", "NAME",
     "Who works with the database, instead of those whose programs run "
     "now; may be repeated"},
    {"server", "NAME",
     "apache, caddy, lighttpd, nginx or other, whatever it says itself"},
    {"quick", NULL, "Does not wait for a whole ping interval"},
    {"insecure", NULL, "Does not look at the certificate"},
    {"url-only", NULL,
     "Looks through the URL only: the installation is another machine's"},
    {0},
};

const struct ctl_command ctl_doctor = {
    .name = "doctor",
    .words = "[URL]",
    .n_words_max = 1,
    .help = "Checks the installation, and with a URL also through the web server; exit "
            "status 1 if something does not work",
    .options = OPTIONS,
    .run = run_doctor,
};
