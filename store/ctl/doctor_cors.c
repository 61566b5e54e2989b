/*
 * siolite doctor: through the web server, as pages of other sites. Whom siolite.conf lets
 * in must get its permission once, from siolite alone, also for the preflight that
 * browsers send before a request with headers of its own; nobody else may get any.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "store/ctl/doctor_url.h"

enum { ORIGIN_SIZE = 300, LINE_SIZE = 400, ANSWERED_MIN = 200, ANSWERED_MAX = 299 };

static const char FOREIGN[] = "https://siolite-doctor.invalid";

/* Waits for the answer; NULL: there is none. The caller drops the request. */
static const struct doctor_reply *
ask(struct doctor_url *u, struct doctor_request **r, const char *method,
    const char *origin, const char *wanted)
{
    char from[LINE_SIZE], header[LINE_SIZE];
    const char *headers[] = {from, "Access-Control-Request-Method: POST", header, ""};
    snprintf(from, sizeof from, "Origin: %s", origin);
    snprintf(header, sizeof header, "Access-Control-Request-Headers: %s", wanted);
    if (strcmp(method, "OPTIONS") != 0)
        headers[1] = "";
    *r = doctor_http_start(u->http, method, "EIO=4&transport=polling", headers, STR_NONE);
    return doctor_http_wait(u->http, *r, DOCTOR_HTTP_MS) ? doctor_http_reply(*r) : NULL;
}

/* ---- whom siolite.conf lets in ---- */

/* The first word of a list, "" for none. */
static void
first_word(char *out, size_t size, const char *list)
{
    snprintf(out, size, "%.*s", (int)strcspn(list, " ,"), list);
}

/* Does the list of a header have that word, whatever its case? */
static bool
has_word(struct str list, const char *word)
{
    while (list.len) {
        struct str item = str_slice(list, 0, str_index(list, ','));
        list = str_slice(list, item.len + 1, list.len);
        while (item.len && item.p[0] == ' ')
            item = str_slice(item, 1, item.len);
        while (item.len && item.p[item.len - 1] == ' ')
            item.len--;
        if (str_eq_nocase(item, word) || str_eqz(item, "*"))
            return true;
    }
    return false;
}

/* The permission for `origin` in an answer; false: said what is wrong with it. */
static bool
check_permission(struct doctor_url *u, const char *check, const char *origin,
                 const struct doctor_reply *r)
{
    size_t n, n_credentials;
    struct str value = doctor_reply_header(r, "access-control-allow-origin", &n);
    struct str credentials =
        doctor_reply_header(r, "access-control-allow-credentials", &n_credentials);
    if (n > 1) {
        doctor_say_topic(u->d, DOCTOR_FAIL, check, DOCTOR_FIX_CORS,
                         "Access-Control-Allow-Origin is there %zu times: browsers "
                         "refuse that",
                         n);
    } else if (!str_eqz(value, origin) && !str_eqz(value, "*")) {
        doctor_say_topic(u->d, DOCTOR_FAIL, check, DOCTOR_FIX_CORS,
                         "Access-Control-Allow-Origin is %.*s for %s", STR_ARG(value),
                         origin);
    } else if (u->d->c->cfg.is_cors_credentials &&
               (n_credentials != 1 || !str_eqz(credentials, "true") ||
                str_eqz(value, "*"))) {
        doctor_say_topic(u->d, DOCTOR_FAIL, check, DOCTOR_FIX_CORS,
                         "cors_credentials is on, but the answer has "
                         "Access-Control-Allow-Credentials %zu times, for %.*s",
                         n_credentials, STR_ARG(value));
    } else {
        return true;
    }
    return false;
}

/* True: pages of it get in, and preflights are worth a look. */
static bool
check_listed(struct doctor_url *u, const char *origin)
{
    struct doctor_session s = {.eio_sid = ""};
    struct doctor_request *r;
    const struct doctor_reply *reply = ask(u, &r, "GET", origin, "");
    bool is_good = false;
    size_t n = 0;
    if (reply)
        doctor_reply_header(reply, "access-control-allow-origin", &n);
    if (reply && n == 0) {
        doctor_say(u->d, DOCTOR_FAIL, "url.cors",
                   "is cors_origin in the file that the programs read? Restart them "
                   "after a change",
                   "no Access-Control-Allow-Origin for %s (status %ld)", origin,
                   reply->status);
    } else if (reply && check_permission(u, "url.cors", origin, reply)) {
        is_good = true;
        doctor_say(u->d, DOCTOR_OK, "url.cors", NULL, "pages of %s may connect", origin);
    }
    if (reply && doctor_read_open(&s, buf_str(&reply->body)))
        doctor_session_close(u, &s);
    doctor_http_drop(u->http, r);
    return is_good;
}

static void
check_preflight(struct doctor_url *u, const char *origin)
{
    char wanted[ORIGIN_SIZE];
    struct doctor_request *r;
    const struct doctor_reply *reply;
    size_t n = 0, n_headers;
    struct str headers;
    first_word(wanted, sizeof wanted, u->d->c->cfg.cors_allowed_headers);
    if (wanted[0] == 0)
        snprintf(wanted, sizeof wanted, "%s", "authorization");
    reply = ask(u, &r, "OPTIONS", origin, wanted);
    if (reply)
        doctor_reply_header(reply, "access-control-allow-origin", &n);
    if (reply == NULL || reply->status < ANSWERED_MIN || reply->status > ANSWERED_MAX ||
        n == 0) {
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.preflight", DOCTOR_FIX_OPTIONS,
                         "the web server keeps preflights (OPTIONS, status %ld) for "
                         "itself: pages of %s can't send headers such as %s",
                         reply ? reply->status : 0L, origin, wanted);
    } else if (check_permission(u, "url.preflight", origin, reply)) {
        headers = doctor_reply_header(reply, "access-control-allow-headers", &n_headers);
        if (n_headers == 1 && has_word(headers, wanted))
            doctor_say(u->d, DOCTOR_OK, "url.preflight", NULL,
                       "preflights get through, for %s and the header %s", origin,
                       wanted);
        else
            doctor_say_topic(u->d, DOCTOR_FAIL, "url.preflight", DOCTOR_FIX_CORS,
                             "Access-Control-Allow-Headers is there %zu times (%.*s) for "
                             "a preflight that asks for %s",
                             n_headers, STR_ARG(headers), wanted);
    }
    doctor_http_drop(u->http, r);
}

/* ---- everybody else ---- */

/* True: `method` gives no permission. */
static bool
check_no_permission(struct doctor_url *u, const char *method, long *status)
{
    struct doctor_request *r;
    const struct doctor_reply *reply = ask(u, &r, method, FOREIGN, "authorization");
    struct str value = STR_NONE;
    size_t n = 0;
    *status = reply ? reply->status : 0;
    if (reply)
        value = doctor_reply_header(reply, "access-control-allow-origin", &n);
    if (n)
        doctor_say_topic(u->d, DOCTOR_WARN, "url.cors", DOCTOR_FIX_CORS,
                         "a page of any origin is let in (%s): "
                         "Access-Control-Allow-Origin: %.*s, which is not from "
                         "cors_origin",
                         method, STR_ARG(value));
    doctor_http_drop(u->http, r);
    return n == 0;
}

static void
check_foreign(struct doctor_url *u)
{
    long status, ignored;
    if (!check_no_permission(u, "GET", &status) ||
        !check_no_permission(u, "OPTIONS", &ignored))
        return;
    if (status == 403)
        doctor_say(u->d, DOCTOR_OK, "url.cors", NULL, "foreign origins are refused");
    else if (status != 0)
        doctor_say(u->d, DOCTOR_NOTE, "url.cors",
                   "foreign_origin = refuse, unless that is meant",
                   "requests of foreign pages are answered (status %ld)", status);
}

void
doctor_check_cors(struct doctor_url *u)
{
    char origin[ORIGIN_SIZE];
    bool is_any;
    first_word(origin, sizeof origin, u->d->c->cfg.cors_origin);
    is_any = strcmp(origin, "*") == 0;
    if (origin[0] && check_listed(u, is_any ? FOREIGN : origin))
        check_preflight(u, is_any ? FOREIGN : origin);
    if (!is_any)
        check_foreign(u);
}
