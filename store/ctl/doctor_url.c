/*
 * siolite doctor: through the web server, as a client. Polling.
 *
 * One session for most of it; one of its own for the poll that is given up, because that
 * ends it where nobody notices (EIO-POLL-OVERLAP), and one for the poll that is held.
 * Namespaces that don't exist serve as echo: their refusal comes by the held poll, and no
 * handler of the application runs.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/doctor_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

enum {
    WAKE_SLOW_MS = 1000, /* an answer that was due at once */
    WAKE_TRIES = 3,
    PARK_MS = 500,   /* until a poll is held for sure */
    NOTICE_MS = 500, /* until an aborted one is given up */
    OVERLAP_MS = 700,
    FCGID_LIMIT = 131072, /* a usual limit, which is tried besides max_payload */
    BODY_MAX_BYTES = 1 << 20,
    SMALL_BYTES = 1024,
    TEXT_MAX = 80
};

/* "check: what happened". */
static void
say_reply(struct doctor_url *u, const char *check, enum doctor_topic topic,
          const char *what, const struct doctor_reply *r)
{
    struct buf b = {0};
    doctor_describe(&b, r);
    buf_append_c(&b, 0);
    doctor_say_topic(u->d, DOCTOR_FAIL, check, topic, "%s: %s", what, b.p);
    buf_fini(&b);
}

/* ---- the handshake, and what its answer tells of the way ---- */

static void
say_no_handshake(struct doctor_url *u, const struct doctor_reply *r)
{
    struct str body = buf_str(&r->body);
    struct doctor *d = u->d;
    if (r->status == 403 && doctor_contains(body, "\"code\""))
        say_reply(u, "url.handshake", DOCTOR_FIX_HOST,
                  "siolite refuses the origin of its own site", r);
    else if (doctor_contains(body, "\"code\":"))
        doctor_say(d, DOCTOR_FAIL, "url.handshake",
                   "look into siolite.conf: transports, path", "siolite answers %.*s",
                   STR_ARG(str_slice(body, 0, TEXT_MAX)));
    else if (r->status == 502 || r->status == 503 || r->status == 504)
        say_reply(u, "url.handshake", DOCTOR_FIX_GATEWAY,
                  "the web server does not get through to siolite", r);
    else if (r->status >= 300 && r->status < 400)
        doctor_say(d, DOCTOR_FAIL, "url.handshake",
                   "call siolite doctor with the URL that is redirected to, and have the "
                   "client use it, too",
                   "the web server redirects (status %ld)", r->status);
    else if (r->status == 0)
        doctor_say(d, DOCTOR_FAIL, "url.handshake",
                   "is the web server running at this address, with a valid certificate?",
                   "no answer: %s", r->error);
    else
        say_reply(u, "url.handshake", DOCTOR_FIX_PATH, "it is not siolite that answers",
                  r);
}

static void
find_server(struct doctor_url *u, const struct doctor_reply *r)
{
    size_t n;
    struct str server = doctor_reply_header(r, "server", &n);
    if (!u->d->is_server_given)
        u->d->server = doctor_server_find(server);
    doctor_say(u->d, DOCTOR_OK, "url.server", NULL, "%.*s%s",
               STR_ARG(n ? str_slice(server, 0, TEXT_MAX) : STR("no Server header")),
               u->d->server == DOCTOR_OTHER ? " (--server names one of those with advice "
                                              "of their own)"
                                            : "");
}

/* Compression, caches and foreign hands on the answer. */
static void
check_headers(struct doctor_url *u, const struct doctor_reply *r)
{
    size_t n;
    struct str value = doctor_reply_header(r, "content-encoding", &n);
    if (n && r->body.len < SMALL_BYTES)
        doctor_say_topic(u->d, DOCTOR_WARN, "url.compression", DOCTOR_FIX_GZIP,
                         "the web server compresses small answers (%.*s), which costs "
                         "more than it saves",
                         STR_ARG(value));
    else
        doctor_say(u->d, DOCTOR_OK, "url.compression", NULL,
                   "the web server leaves small answers as they are");
    value = doctor_reply_header(r, "cache-control", &n);
    if (!doctor_contains(value, "no-store"))
        doctor_say_topic(u->d, DOCTOR_WARN, "url.cache", DOCTOR_FIX_BUFFER,
                         "Cache-Control arrives as \"%.*s\", without no-store: caches on "
                         "the way may keep answers",
                         STR_ARG(value));
    value = doctor_reply_header(r, "age", &n);
    if (n)
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.cache", DOCTOR_FIX_BUFFER,
                         "the answer comes from a cache (Age: %.*s)", STR_ARG(value));
}

/* The session as the store has it: is it this installation that answered, and what did it
 * get to see of the request? */
static void
check_session(struct doctor_url *u)
{
    struct store *st = u->d->c->st;
    struct store_session s;
    struct str json, remote;
    if (st == NULL)
        return;
    ctl_wait(u->d->c, 1);
    if (store_read_session(st, str_of(u->main.eio_sid), &s) != RC_OK ||
        store_read_handshake(st, s.session_id, &json, &remote) != RC_OK) {
        doctor_say(u->d, DOCTOR_FAIL, "url.database",
                   "which siolite.conf do the programs read, and which one does this "
                   "command (--config)?",
                   "what answers there works with another database than %s",
                   u->d->c->cfg.database);
        return;
    }
    doctor_say(u->d, DOCTOR_OK, "url.database", NULL,
               "the answer comes from %s; client %.*s", u->d->c->cfg.database,
               STR_ARG(remote));
    if (!doctor_contains(json, "Bearer siolite-doctor"))
        doctor_say_topic(u->d, DOCTOR_WARN, "url.authorization", DOCTOR_FIX_AUTH,
                         "the header Authorization does not arrive");
    else
        doctor_say(u->d, DOCTOR_OK, "url.authorization", NULL, "it arrives");
    if (str_has_prefix(str_of(doctor_http_origin(u->http)), STR("https:")) &&
        doctor_contains(json, "\"secure\":false"))
        doctor_say(u->d, DOCTOR_NOTE, "url.secure", NULL,
                   "the application sees handshake.secure = false: TLS ends before the "
                   "web server");
}

/* False: nothing else can be looked at. */
static bool
check_handshake(struct doctor_url *u)
{
    char origin[300];
    struct doctor_request *r;
    const struct doctor_reply *reply;
    bool is_good;
    snprintf(origin, sizeof origin, "Origin: %.280s", doctor_http_origin(u->http));
    r = doctor_handshake(u, origin);
    if (!doctor_http_wait(u->http, r, DOCTOR_HTTP_MS)) {
        doctor_say(u->d, DOCTOR_FAIL, "url.handshake", NULL, "no answer within %d s",
                   DOCTOR_HTTP_MS / 1000);
        doctor_http_drop(u->http, r);
        return false;
    }
    reply = doctor_http_reply(r);
    if (reply->status)
        find_server(u, reply);
    is_good = reply->status == 200 && doctor_read_open(&u->main, buf_str(&reply->body));
    if (is_good) {
        doctor_say(u->d, DOCTOR_OK, "url.handshake", NULL, "%s answers within %lld ms",
                   doctor_http_url(u->http), (long long)reply->ms);
        check_headers(u, reply);
        check_session(u);
    } else {
        say_no_handshake(u, reply);
    }
    doctor_http_drop(u->http, r);
    return is_good;
}

/* ---- messages ---- */

/* While a poll is held, a message: how long its answer takes, -1: none comes. False: said
 * that the message does not get through. */
static bool
try_wake(struct doctor_url *u, int64_t *ms)
{
    char answer[64];
    struct buf question = {0};
    struct doctor_request *held = doctor_session_start(u, &u->main, STR_NONE);
    struct doctor_request *r;
    bool is_through;
    doctor_http_wait(u->http, held, PARK_MS);
    doctor_make_question(&question, answer, sizeof answer, 0);
    r = doctor_session_start(u, &u->main, buf_str(&question));
    is_through = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS) &&
                 doctor_is_text(doctor_http_reply(r), "ok");
    if (is_through) {
        *ms = doctor_poll_for(u, held, answer);
    } else {
        say_reply(u, "url.message", DOCTOR_FIX_BUFFER,
                  "a message does not get through while a poll is held",
                  doctor_http_reply(r));
        doctor_http_drop(u->http, held);
    }
    doctor_http_drop(u->http, r);
    buf_fini(&question);
    return is_through;
}

/* Does a POST get through, and its effect out again at once? A machine that is busy is
 * slow now and then, what keeps answers is so each time. */
static void
check_wake(struct doctor_url *u)
{
    int64_t ms = INT64_MAX;
    for (int i = 0; i < WAKE_TRIES && ms > WAKE_SLOW_MS; i++)
        if (!try_wake(u, &ms))
            return;
    if (ms < 0)
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.message", DOCTOR_FIX_BUFFER,
                         "the answer to a message does not come by the held poll");
    else if (ms > WAKE_SLOW_MS)
        doctor_say_topic(u->d, DOCTOR_WARN, "url.message", DOCTOR_FIX_BUFFER,
                         "the answer to a message takes %lld ms: something on the way "
                         "keeps it",
                         (long long)ms);
    else
        doctor_say(u->d, DOCTOR_OK, "url.message", NULL,
                   "a held poll brings an answer within %lld ms", (long long)ms);
}

/* One body of that size; true: it passed. */
static bool
try_body(struct doctor_url *u, size_t n_bytes)
{
    char answer[64], what[80];
    struct buf question = {0};
    struct doctor_request *r;
    bool is_good;
    doctor_make_question(&question, answer, sizeof answer, n_bytes);
    r = doctor_session_start(u, &u->main, buf_str(&question));
    is_good = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS) &&
              doctor_is_text(doctor_http_reply(r), "ok");
    if (!is_good) {
        snprintf(what, sizeof what, "a body of %zu bytes is refused", n_bytes);
        say_reply(u, "url.body", DOCTOR_FIX_BODY, what, doctor_http_reply(r));
    }
    doctor_http_drop(u->http, r);
    buf_fini(&question);
    if (is_good && doctor_poll_for(u, NULL, answer) < 0)
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.body", DOCTOR_FIX_BODY,
                         "a body of %zu bytes was accepted, but its answer does not come",
                         n_bytes);
    return is_good;
}

static void
check_body(struct doctor_url *u)
{
    size_t n_bytes = (size_t)u->main.max_payload_bytes;
    if (n_bytes > BODY_MAX_BYTES)
        n_bytes = BODY_MAX_BYTES;
    if (n_bytes > FCGID_LIMIT && !try_body(u, FCGID_LIMIT + 1))
        return;
    if (try_body(u, n_bytes))
        doctor_say(u->d, DOCTOR_OK, "url.body", NULL, "%zu bytes pass", n_bytes);
}

/* ---- a poll that is given up, and one that is held ---- */

/* Whether it was noticed shows the next poll: it would overlap with it. */
static void
check_abort(struct doctor_url *u)
{
    struct doctor_session s;
    struct doctor_request *r;
    bool is_done;
    if (!doctor_session_open(u, &s))
        return;
    r = doctor_session_start(u, &s, STR_NONE);
    is_done = doctor_http_wait(u->http, r, PARK_MS);
    doctor_http_drop(u->http, r);
    if (is_done) {
        doctor_say(u->d, DOCTOR_OK, "url.abort", NULL,
                   "polls are so short here that nobody need give one up");
        doctor_session_close(u, &s);
        return;
    }
    doctor_http_wait(u->http, NULL, NOTICE_MS);
    r = doctor_session_start(u, &s, STR_NONE);
    if (doctor_http_wait(u->http, r, OVERLAP_MS) && doctor_http_reply(r)->status == 400)
        doctor_say_topic(u->d, DOCTOR_NOTE, "url.abort", DOCTOR_FIX_ABORT,
                         "%s does not tell that a browser has left: its poll stays until "
                         "its time is over",
                         doctor_server_name(u->d->server));
    else
        doctor_say(u->d, DOCTOR_OK, "url.abort", NULL,
                   "a poll that is given up is noticed");
    doctor_http_drop(u->http, r);
    doctor_session_close(u, &s);
}

static void
say_held(struct doctor_url *u, const struct doctor_session *s,
         const struct doctor_reply *r)
{
    struct str body = buf_str(&r->body);
    if (r->status == 200 && str_eqz(body, "2"))
        doctor_say(u->d, DOCTOR_OK, "url.hold", NULL,
                   "a poll is held for %.1f s, until the ping", (double)r->ms / 1000);
    else if (r->status == 200 && str_eqz(body, "6"))
        doctor_say(u->d, r->ms < 1000 ? DOCTOR_NOTE : DOCTOR_OK, "url.hold", NULL,
                   "siolite itself ends a poll after %.1f s (hold, max_held; pings come "
                   "every %lld s)",
                   (double)r->ms / 1000, (long long)s->ping_interval_ms / 1000);
    else if (r->status == 200)
        doctor_say(u->d, DOCTOR_OK, "url.hold", NULL,
                   "a poll got a message after %.1f s, before its ping",
                   (double)r->ms / 1000);
    else
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.hold", DOCTOR_FIX_HOLD,
                         "a held poll is cut after %.1f s (%s %ld), a ping comes after "
                         "%lld s",
                         (double)r->ms / 1000, r->status ? "status" : "no answer,",
                         r->status, (long long)s->ping_interval_ms / 1000);
}

/* The ping of a session without polls is due by itself, so it is a session of its own. */
static void
check_hold(struct doctor_url *u, const struct doctor_session *s, struct doctor_request *r)
{
    int64_t ms =
        u->d->is_quick ? DOCTOR_QUICK_MS : s->ping_interval_ms + DOCTOR_MARGIN_MS;
    if (doctor_http_wait(u->http, r, ms))
        say_held(u, s, doctor_http_reply(r));
    else if (u->d->is_quick)
        doctor_say(u->d, DOCTOR_OK, "url.hold", NULL,
                   "a poll is held for %d s (--quick: no longer)",
                   DOCTOR_QUICK_MS / 1000);
    else
        doctor_say_topic(u->d, DOCTOR_FAIL, "url.hold", DOCTOR_FIX_BUFFER,
                         "a poll gets no ping within %lld s: something on the way keeps "
                         "it",
                         (long long)ms / 1000);
}

/* Both take a ping interval, so both at once. */
static void
check_long(struct doctor_url *u)
{
    struct doctor_session s;
    struct doctor_request *r = NULL;
    if (doctor_session_open(u, &s))
        r = doctor_session_start(u, &s, STR_NONE);
    doctor_check_upgrade(u);
    if (r)
        check_hold(u, &s, r);
    else
        doctor_say(u->d, DOCTOR_WARN, "url.hold", NULL,
                   "a further session could not be opened (handshakes_per_s?)");
    doctor_http_drop(u->http, r);
    doctor_session_close(u, &s);
}

void
doctor_check_url(struct doctor *d, struct doctor_http *http)
{
    struct doctor_url u = {.d = d, .http = http};
    if (check_handshake(&u)) {
        if (!doctor_post(&u, &u.main, STR("40")) || !doctor_skip_greeting(&u, &u.main)) {
            doctor_say_topic(d, DOCTOR_FAIL, "url.message", DOCTOR_FIX_PATH,
                             "a session opens, but its messages are not answered");
        } else {
            check_wake(&u);
            check_body(&u);
            doctor_check_cors(&u);
            check_abort(&u);
            check_long(&u);
        }
    }
}
