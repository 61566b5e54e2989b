/*
 * siolite doctor: through the web server, as a client. WebSocket.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "store/ctl/doctor_url.h"
#include "store/ctl/doctor_ws.h"

enum { ANSWER_MS = 5000, SLICE_MS = 200 };

/* The answer was none of 101: what is wrong shows who gave it. */
static void
say_refused(struct doctor_url *u, int status, struct str answer)
{
    struct doctor *d = u->d;
    if (doctor_contains(answer, "\"code\":"))
        doctor_say_topic(d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_UPGRADE,
                         "an upgrade goes to siolite.fcgi instead of siolite-ws (status "
                         "%d): clients stay on polling",
                         status);
    else if (doctor_contains(answer, "Session ID unknown"))
        doctor_say(
            d, DOCTOR_FAIL, "url.upgrade",
            "do siolite.fcgi and siolite-ws read the same siolite.conf?",
            "siolite-ws does not know the session: it works with another database");
    else if (doctor_contains(answer, "Forbidden"))
        doctor_say_topic(d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_HOST,
                         "siolite-ws refuses the origin of its own site (status %d)",
                         status);
    else if (status == 502 || status == 503 || status == 504)
        doctor_say_topic(d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_SIDECAR,
                         "the web server does not get through to siolite-ws (status %d)",
                         status);
    else
        doctor_say_topic(d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_UPGRADE,
                         "an upgrade is answered with status %d: clients stay on polling",
                         status);
}

static bool
expect(struct doctor_url *u, struct doctor_ws *w, const char *text, struct buf *in)
{
    if (doctor_ws_read(w, ANSWER_MS, in) == RC_OK && str_eqz(buf_str(in), text))
        return true;
    doctor_say_topic(
        u->d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_UPGRADE,
        "the WebSocket opens, but %s does not come over it: something on the "
        "way keeps or changes what is sent",
        text);
    return false;
}

/* Until the ping; meanwhile requests that were started go on. */
static void
wait_for_ping(struct doctor_url *u, struct doctor_ws *w, struct buf *in)
{
    int64_t from_ms = clock_now_ms();
    int64_t until_ms = from_ms + u->main.ping_interval_ms + DOCTOR_MARGIN_MS;
    enum rc rc = RC_NOTFOUND;
    while (rc == RC_NOTFOUND && clock_now_ms() < until_ms) {
        doctor_http_wait(u->http, NULL, SLICE_MS);
        rc = doctor_ws_read(w, 1, in);
        if (rc == RC_OK && !str_eqz(buf_str(in), "2"))
            rc = RC_NOTFOUND;
    }
    if (rc == RC_OK)
        doctor_say(u->d, DOCTOR_OK, "url.idle", NULL,
                   "an idle WebSocket gets its ping after %.1f s",
                   (double)(clock_now_ms() - from_ms) / 1000);
    else
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.idle", DOCTOR_FIX_IDLE,
                         "an idle WebSocket %s after %.1f s, a ping comes after %lld s",
                         rc == RC_IO ? "is cut" : "got no ping",
                         (double)(clock_now_ms() - from_ms) / 1000,
                         (long long)u->main.ping_interval_ms / 1000);
}

/* A message and its answer; a ping may come before that. */
static bool
is_answered(struct doctor_ws *w, struct buf *in)
{
    enum rc rc = doctor_ws_send(w, "40/siolite-doctor,");
    while (rc == RC_OK) {
        rc = doctor_ws_read(w, ANSWER_MS, in);
        if (rc == RC_OK && doctor_contains(buf_str(in), "/siolite-doctor,"))
            return true;
        if (rc == RC_OK && str_eqz(buf_str(in), "2"))
            rc = doctor_ws_send(w, "3");
    }
    return false;
}

/* As a client does it: probe, answer, upgrade; then a message. */
static void
use(struct doctor_url *u, struct doctor_ws *w)
{
    struct buf in = {0};
    bool is_good = doctor_ws_send(w, "2probe") == RC_OK && expect(u, w, "3probe", &in) &&
                   doctor_ws_send(w, "5") == RC_OK;
    if (is_good && !is_answered(w, &in)) {
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_UPGRADE,
                         "after the upgrade no answer comes over the WebSocket");
        is_good = false;
    }
    if (is_good) {
        doctor_say(u->d, DOCTOR_OK, "url.upgrade", NULL,
                   "WebSockets pass, and a session is upgraded to one");
        if (!u->d->is_quick)
            wait_for_ping(u, w, &in);
    }
    buf_fini(&in);
}

void
doctor_check_upgrade(struct doctor_url *u)
{
    char query[128];
    struct doctor_ws_target t = {.url = doctor_http_url(u->http),
                                 .query = query,
                                 .origin = doctor_http_origin(u->http),
                                 .is_insecure = ctl_has(u->d->c, "insecure")};
    struct doctor_ws *w;
    struct buf err = {0};
    int status = 0;
    if (!u->main.has_upgrade && !u->d->c->cfg.is_websocket) {
        doctor_say(u->d, DOCTOR_OK, "url.upgrade", NULL,
                   "polling alone, as transports in siolite.conf says");
        doctor_session_close(u, &u->main);
        return;
    }
    if (!u->main.has_upgrade) {
        doctor_say(u->d, DOCTOR_WARN, "url.upgrade",
                   "start siolite-ws (`siolite conf systemd`), or set transports = "
                   "polling",
                   "no WebSocket is on offer: no siolite-ws runs, or transports excludes "
                   "it; clients stay on polling");
        doctor_session_close(u, &u->main);
        return;
    }
    snprintf(query, sizeof query, "EIO=4&transport=websocket&sid=%s", u->main.eio_sid);
    if (doctor_ws_open(&w, &t, &status, &err) != RC_OK) {
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.upgrade", DOCTOR_FIX_UPGRADE,
                         "an upgrade gets no answer: %.*s", STR_ARG(buf_str(&err)));
    } else {
        if (status == 101)
            use(u, w);
        else
            say_refused(u, status, doctor_ws_answer(w));
        doctor_ws_close(w);
    }
    if (status != 101)
        doctor_session_close(u, &u->main);
    buf_fini(&err);
}
