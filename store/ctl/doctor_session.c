/*
 * siolite doctor: a session of Engine.IO over polling; see doctor_url.h.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/ctl/doctor_url.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/rnd.h"

enum { TEXT_MAX = 80, ROUNDS_MAX = 40 };

static const char BEARER[] = "Authorization: Bearer siolite-doctor";

void
doctor_describe(struct buf *b, const struct doctor_reply *r)
{
    struct str body = buf_str(&r->body);
    if (r->status == 0) {
        buf_append_f(b, "no answer: %s", r->error);
        return;
    }
    buf_append_f(b, "status %ld", r->status);
    if (body.len == 0 || body.p[0] == '<') /* a page says no more than its status */
        return;
    buf_append_z(b, ", ");
    buf_append_str(b, str_slice(body, 0, TEXT_MAX));
}

bool
doctor_is_text(const struct doctor_reply *r, const char *text)
{
    return r->status == 200 && str_eqz(buf_str(&r->body), text);
}

bool
doctor_contains(struct str s, const char *text)
{
    return s.len && memmem(s.p, s.len, text, strlen(text)) != NULL;
}

struct doctor_request *
doctor_session_start(struct doctor_url *u, const struct doctor_session *s,
                     struct str body)
{
    char query[128], origin[300];
    const char *headers[] = {origin, ""};
    snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", s->eio_sid);
    snprintf(origin, sizeof origin, "Origin: %.280s", doctor_http_origin(u->http));
    return doctor_http_start(u->http, body.p ? "POST" : "GET", query, headers, body);
}

bool
doctor_read_open(struct doctor_session *s, struct str body)
{
    json_t *open;
    const char *text;
    bool is_good = false;
    if (body.len < 2 || body.p[0] != '0')
        return false;
    open = json_loadb(body.p + 1, body.len - 1, JSON_DISABLE_EOF_CHECK, NULL);
    text = json_string_value(json_object_get(open, "sid"));
    if (text && strlen(text) < sizeof s->eio_sid) {
        memcpy(s->eio_sid, text, strlen(text) + 1);
        s->has_upgrade = json_array_size(json_object_get(open, "upgrades")) > 0;
        s->ping_interval_ms = json_integer_value(json_object_get(open, "pingInterval"));
        s->max_payload_bytes = json_integer_value(json_object_get(open, "maxPayload"));
        is_good = s->ping_interval_ms > 0;
    }
    json_decref(open);
    return is_good;
}

struct doctor_request *
doctor_handshake(struct doctor_url *u, const char *origin)
{
    const char *headers[] = {origin, BEARER, ""};
    return doctor_http_start(u->http, "GET", "EIO=4&transport=polling", headers,
                             STR_NONE);
}

bool
doctor_post(struct doctor_url *u, const struct doctor_session *s, struct str body)
{
    struct doctor_request *r = doctor_session_start(u, s, body);
    bool is_ok = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS) &&
                 doctor_is_text(doctor_http_reply(r), "ok");
    doctor_http_drop(u->http, r);
    return is_ok;
}

/* A poll of a session: the events with which the application greets are of no interest.
 */
bool
doctor_skip_greeting(struct doctor_url *u, const struct doctor_session *s)
{
    struct doctor_request *r;
    for (;;) {
        const struct doctor_reply *reply;
        bool is_done, is_more;
        r = doctor_session_start(u, s, STR_NONE);
        is_done = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS);
        reply = doctor_http_reply(r);
        is_more = is_done && reply->status == 200 &&
                  !doctor_contains(buf_str(&reply->body), "40{") &&
                  !doctor_contains(buf_str(&reply->body), "44{");
        if (!is_more) {
            bool is_good = is_done && reply->status == 200;
            doctor_http_drop(u->http, r);
            return is_good;
        }
        doctor_http_drop(u->http, r);
    }
}

bool
doctor_session_open(struct doctor_url *u, struct doctor_session *s)
{
    char origin[300];
    struct doctor_request *r;
    bool is_good;
    snprintf(origin, sizeof origin, "Origin: %.280s", doctor_http_origin(u->http));
    *s = (struct doctor_session){.eio_sid = ""};
    r = doctor_handshake(u, origin);
    is_good = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS) &&
              doctor_http_reply(r)->status == 200 &&
              doctor_read_open(s, buf_str(&doctor_http_reply(r)->body));
    doctor_http_drop(u->http, r);
    return is_good && doctor_post(u, s, STR("40")) && doctor_skip_greeting(u, s);
}

void
doctor_session_close(struct doctor_url *u, const struct doctor_session *s)
{
    if (s->eio_sid[0] && !doctor_post(u, s, STR("1")))
        return; /* it ends by itself */
}

int64_t
doctor_poll_for(struct doctor_url *u, struct doctor_request *first, const char *text)
{
    int64_t from_ms = clock_now_ms();
    for (int i = 0; i < ROUNDS_MAX; i++) {
        struct doctor_request *r =
            first ? first : doctor_session_start(u, &u->main, STR_NONE);
        bool is_done = doctor_http_wait(u->http, r, DOCTOR_HTTP_MS);
        const struct doctor_reply *reply = doctor_http_reply(r);
        bool is_there = is_done && doctor_contains(buf_str(&reply->body), text);
        bool is_over = !is_done || reply->status != 200;
        bool is_pinged = is_done && str_eqz(buf_str(&reply->body), "2");
        first = NULL;
        doctor_http_drop(u->http, r);
        if (is_there)
            return clock_now_ms() - from_ms;
        if (is_over || (is_pinged && !doctor_post(u, &u->main, STR("3"))))
            return -1;
    }
    return -1;
}

void
doctor_make_question(struct buf *question, char *answer, size_t size, size_t n_bytes)
{
    char id[RND_ID_LEN + 1];
    rnd_id(id);
    snprintf(answer, size, "/siolite-doctor-%s,", id);
    buf_append_f(question, "40%s", answer);
    if (n_bytes) {
        buf_append_z(question, "{\"x\":\"");
        while (question->len + 2 < n_bytes)
            buf_append_c(question, 'x');
        buf_append_z(question, "\"}");
    }
}
