/*
 * HTTP requests of Engine.IO: what can be said without the session (socketio.md 1.2), the
 * handshake, and the answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/eio/payload.h"
#include "core/engine/api.h"
#include "core/engine/metrics.h"
#include "core/engine/work.h"

#define TEXT_PLAIN "text/plain; charset=UTF-8"
#define JSON_TYPE "application/json"
#define NO_STORE "cache-control: no-store\r\n"

/* ---- answers ---- */

struct str
http_headers(const struct engine_http *h)
{
    return h->headers != NULL ? str_of(h->headers) : STR(NO_STORE);
}

static void
add_headers(struct engine_http *h, struct str lines)
{
    struct buf b = {0};
    if (lines.len == 0)
        return;
    buf_append_str(&b, http_headers(h));
    buf_append_str(&b, lines);
    free(h->headers);
    h->headers = buf_take(&b, NULL);
}

void
http_free(struct engine_http *h)
{
    struct engine *e = h->e;
    adapter_leave(&e->adapter, &h->sub);
    timers_disarm(&e->timers, &h->timer);
    engine_later_cancel(e, &h->later);
    if (h->is_post)
        buf_fini(&h->body);
    else
        due_clear(&h->due);
    request_destroy(h->request);
    *h->at = h->next;
    if (h->next != NULL)
        h->next->at = h->at;
    api_call_free(h->api);
    free(h->headers);
    free(h->jsonp);
    free(h);
}

void
http_answer(struct engine_http *h, int status, const char *type, struct str body,
            bool can_compress)
{
    struct buf script;
    buf_init(&script);
    if (h->jsonp != NULL && !h->is_post && status == 200) {
        eio_jsonp_wrap(&script, str_of(h->jsonp), body);
        body = buf_str(&script);
        type = "text/javascript; charset=UTF-8";
    }
    int64_t threshold = h->e->cfg->http_compression_bytes;
    struct engine_answer a = {
        .status = status,
        .content_type = type,
        .headers = http_headers(h),
        .body = body,
        .can_compress = can_compress && threshold > 0 && body.len >= (size_t)threshold,
    };
    engine_answer_fn *answer = h->answer;
    void *arg = h->arg;
    count_status(&h->e->counts, status);
    h->e->counts.n[COUNT_BYTES_OUT] += (int64_t)body.len;
    if (answer != NULL)
        answer(arg, &a);
    buf_fini(&script);
    http_free(h);
}

static void
answer_error(struct engine_http *h, const struct request_error *error)
{
    struct buf b;
    buf_init(&b);
    request_tell_error(h->e, h->request, error);
    eio_error_encode(&b, error->error, error->text);
    http_answer(h, eio_error_status(error->error), JSON_TYPE, buf_str(&b), false);
    buf_fini(&b);
}

void
http_answer_error(struct engine_http *h, enum eio_error error, const char *context)
{
    answer_error(h, &(struct request_error){error, NULL, context});
}

void
http_answer_empty(struct engine_http *h, int status)
{
    http_answer(h, status, NULL, STR_NONE, false);
}

static void
on_closed(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    if (r->rc != RC_OK) {
        log_error("engine", "close.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        http_answer_empty(h, 503);
    } else if (h->is_unknown) {
        http_answer_error(h, EIO_E_SID_UNKNOWN, NULL);
    } else {
        http_answer_empty(h, 400);
    }
}

void
http_close_session(struct engine_http *h, bool is_unknown)
{
    struct engine *e = h->e;
    struct store_unit *u = store_unit_create();
    adapter_leave(&e->adapter, &h->sub);
    timers_disarm(&e->timers, &h->timer);
    h->state = HTTP_ANSWERING;
    h->is_unknown = is_unknown;
    session_close_for_poll(e, u, h->session.session_id, h->is_post ? 0 : h->begun_ms);
    engine_submit(e, u, on_closed, h);
}

/* ---- handshake ---- */

/* Revision 3: the session joins `/` by itself; its reply is in the answer to the next
 * GET. False: the store can't be read just now. */
static bool
join_main(struct engine_http *h)
{
    struct engine *e = h->e;
    struct partial none = {0};
    struct work w = {
        .e = e,
        .now_ms = clock_now_ms(),
        .session_id = h->session.session_id,
        .protocol = 3,
        .transport = EIO_POLLING,
        .has_transport = true,
        .eio_sid = h->eio_sid,
        .partial = &none,
    };
    if (store_fence(e->store) != RC_OK)
        return false;
    w.due_ms = session_ping_ms(e->cfg, w.now_ms) + e->cfg->ping_timeout_ms;
    connect_main(&w);
    bool is_done = !w.is_busy;
    if (is_done) {
        struct store_unit *u = work_unit(&w);
        w.u = NULL;
        engine_submit(e, u, NULL, NULL);
    }
    work_fini(&w);
    return is_done;
}

static void
answer_open(struct engine_http *h)
{
    struct engine *e = h->e;
    struct buf open, payload;
    buf_init(&open);
    buf_init(&payload);
    struct eio_open o = {
        .eio_sid = h->eio_sid,
        /* EIO-UPGRADES */
        .can_upgrade = e->cfg->is_websocket && e->cfg->is_upgrade_allowed &&
                       h->jsonp == NULL && store_has_sidecar(e->store),
        .ping_interval_ms = e->cfg->ping_interval_ms,
        .ping_timeout_ms = e->cfg->ping_timeout_ms,
        .max_payload_bytes = e->cfg->max_payload_bytes,
    };
    eio_open_encode(&open, &o);
    struct eio_packet p = {.type = EIO_OPEN, .data = buf_str(&open)};
    eio_payload_append(&payload, h->protocol, 0, &p);
    /* EIO-INITIAL */
    if (e->cfg->initial_packet[0] != '\0') {
        p = (struct eio_packet){.type = EIO_MESSAGE,
                                .data = str_of(e->cfg->initial_packet)};
        eio_payload_append(&payload, h->protocol, 1, &p);
    }
    /* EIO-COOKIE */
    if (e->cfg->cookie[0] != '\0') {
        /* cookie = NAME[; attribute]…: the id is put after the name */
        const char *attributes = strchr(e->cfg->cookie, ';');
        int name_len =
            attributes ? (int)(attributes - e->cfg->cookie) : (int)strlen(e->cfg->cookie);
        struct buf line = {0};
        buf_append_f(&line, "Set-Cookie: %.*s=%s%s\r\n", name_len, e->cfg->cookie,
                     h->eio_sid,
                     attributes ? attributes : "; Path=/; HttpOnly; SameSite=Lax");
        add_headers(h, buf_str(&line));
        buf_fini(&line);
    }
    log_info("engine", "session.open", LOG_I("session", h->session.session_id),
             LOG_Z("transport", "polling"), LOG_I("protocol", h->protocol));
    http_answer(h, 200, TEXT_PLAIN, buf_str(&payload), true);
    buf_fini(&open);
    buf_fini(&payload);
}

static void
on_join_turn(struct later *l)
{
    struct engine_http *h =
        (struct engine_http *)((char *)l - offsetof(struct engine_http, later));
    if (join_main(h))
        answer_open(h);
    else
        engine_later(h->e, l, on_join_turn);
}

static void
on_session(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg;
    if (r->rc != RC_OK) {
        log_error("engine", "handshake.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        http_answer_empty(h, 503);
        return;
    }
    h->session.session_id = r->lease.session_id;
    if (h->protocol == 3)
        on_join_turn(&h->later);
    else
        answer_open(h);
}

static void
handshake(struct engine_http *h)
{
    struct engine *e = h->e;
    int64_t now_ms = clock_now_ms();
    struct request *q = h->request;
    rnd_id(h->eio_sid);
    struct store_session_new new = {
        .eio_sid = str_of(h->eio_sid),
        .protocol = h->protocol,
        .remote = str_of(q->remote),
        .handshake = buf_str(&q->json),
        .now_ms = now_ms,
        .ping_ms = session_ping_ms(e->cfg, now_ms),
        .connect_due_ms = now_ms + e->cfg->connect_timeout_ms,
    };
    new.due_ms = session_due_ms(e->cfg, new.ping_ms, new.connect_due_ms);
    struct store_unit *u = store_unit_create();
    store_unit_session_create(u, &new);
    h->state = HTTP_BUSY;
    engine_submit(e, u, on_session, h);
}

/* ---- requests ---- */

struct str
engine_header_get(const struct engine_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (str_eqz(r->headers[i].name, name))
            return r->headers[i].value;
    return STR_NONE;
}

static bool
has_bad_bytes(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static bool
is_internet_explorer(struct str agent)
{
    return memmem(agent.p ? agent.p : "", agent.len, ";MSIE", 5) != NULL ||
           memmem(agent.p ? agent.p : "", agent.len, "Trident/", 8) != NULL;
}

static struct request_error
error_of(enum eio_error error)
{
    return (struct request_error){error, NULL, NULL};
}

static struct request_error
bad_request(const char *context)
{
    return (struct request_error){EIO_E_BAD_REQUEST, NULL, context};
}

static bool
is_unknown(const struct engine *e, struct str eio_sid)
{
    struct store_session s;
    enum rc rc = store_read_session(e->store, eio_sid, &s);
    return rc == RC_NOTFOUND || (rc == RC_OK && s.is_closed);
}

/* The checks in the order of the reference; EIO_E_NONE: go on. */
static struct request_error
check(const struct engine *e, const struct engine_request *r, const struct eio_request *q,
      bool is_origin_ok)
{
    if (!q->has_transport ||
        (q->transport == EIO_POLLING ? !e->cfg->is_polling : !e->cfg->is_websocket))
        return error_of(EIO_E_TRANSPORT_UNKNOWN); /* EIO-TRANSPORT */
    if (has_bad_bytes(engine_header_get(r, "origin")))
        return bad_request("INVALID_ORIGIN");            /* EIO-ORIGIN-BYTES */
    if (q->has_eio_sid && q->transport == EIO_WEBSOCKET) /* EIO-TRANSPORT-MISMATCH */
        return is_unknown(e, q->eio_sid) ? error_of(EIO_E_SID_UNKNOWN)
                                         : bad_request("TRANSPORT_MISMATCH");
    if (q->has_eio_sid)
        return error_of(EIO_E_NONE);
    if (!str_eqz(r->method, "GET"))
        return error_of(EIO_E_BAD_HANDSHAKE_METHOD); /* EIO-METHOD */
    if (q->transport == EIO_WEBSOCKET)
        return bad_request("TRANSPORT_HANDSHAKE_ERROR"); /* a plain GET */
    if (!is_origin_ok)
        return error_of(EIO_E_FORBIDDEN); /* EIO-ORIGIN-FOREIGN */
    if (q->protocol == 3 && !e->cfg->is_eio3)
        return error_of(EIO_E_BAD_PROTOCOL); /* EIO-PROTOCOL */
    return error_of(EIO_E_NONE);
}

/* A POST reads the post generation when it begins: who commits in between makes it an
 * overlap (design 4.3). */
static void
read_post_gen(struct engine_http *h)
{
    struct store *st = h->e->store;
    h->post_gen = -1;
    if (store_read_session(st, str_of(h->eio_sid), &h->session) != RC_OK)
        return;
    h->post_gen = h->session.post_gen;
    h->snapshot = store_read_snapshot(st);
}

static void
route(struct engine_http *h, const struct engine_request *r, const struct eio_request *q)
{
    h->is_post = str_eqz(r->method, "POST");
    h->is_odd = !h->is_post && !str_eqz(r->method, "GET");
    if (q->has_eio_sid) {
        /* "" for one that can't exist */
        if (q->eio_sid.len == RND_ID_LEN && str_index(q->eio_sid, '\0') == RND_ID_LEN)
            memcpy(h->eio_sid, q->eio_sid.p, RND_ID_LEN);
        struct str type = engine_header_get(r, "content-type");
        h->is_octets = str_eq_nocase(str_slice(type, 0, 24), "application/octet-stream");
        h->is_form = h->jsonp != NULL;
        if (h->e->app.on_connection_error == NULL) { /* a held poll would keep it */
            request_destroy(h->request);
            h->request = NULL;
        }
    } else {
        h->is_handshake = true;
    }
    if (h->is_post)
        read_post_gen(h);
}

/* One that may not come in, by what it says itself. */
static bool
answer_unwanted(struct engine_http *h, const struct engine_request *r,
                const struct eio_request *q, bool is_origin_ok)
{
    struct engine *e = h->e;
    struct buf lines = {0};
    char *text = NULL;
    struct request_error error = check(e, r, q, is_origin_ok);
    if (error.error == EIO_E_NONE && !q->has_eio_sid)
        error.error = admit_handshake(e, r->remote, h->request, &lines, &text);
    if (error.error == EIO_E_NONE)
        request_add_headers(e, h->request, &lines);
    if (error.error == EIO_E_TOO_MANY)
        buf_append_z(&lines, "Retry-After: 1\r\n");
    add_headers(h, buf_str(&lines));
    buf_fini(&lines);
    bool is_unwanted = error.error != EIO_E_NONE;
    error.text = text;
    if (is_unwanted)
        answer_error(h, &error);
    free(text);
    return is_unwanted;
}

static bool
answer_options(struct engine_http *h, const struct engine_request *r, struct buf *headers)
{
    if (!origin_preflight(h->e->cfg, r, headers))
        return false;
    free(h->headers);
    h->headers = buf_take(headers, NULL);
    http_answer(h, 204, NULL, STR_NONE, false);
    return true;
}

/* A file of the JavaScript client: nothing of Engine.IO concerns it. A CGI program, which
 * has one request, reads the files only for it. */
static bool
answer_client_file(struct engine_http *h, const struct engine_request *r,
                   struct buf *headers)
{
    struct engine *e = h->e;
    struct engine_answer a;
    if (e->front == ENGINE_CGI && e->client == NULL && client_files_is_name(e->cfg, r))
        e->client = client_files_load(e->cfg);
    if (!client_files_answer(e->client, e->cfg, r, headers, &a))
        return false;
    count_status(&e->counts, a.status);
    h->answer(h->arg, &a);
    http_free(h);
    return true;
}

struct engine_http *
engine_http_begin(struct engine *e, const struct engine_request *r,
                  engine_answer_fn *answer, void *arg)
{
    struct engine_http *h = xcalloc(1, sizeof *h);
    struct buf scratch, headers;
    struct eio_request q;
    struct eio_param params[EIO_PARAMS_MAX];
    size_t n_params = 0;
    h->e = e;
    h->answer = answer;
    h->arg = arg;
    h->next = e->https;
    h->at = &e->https;
    if (h->next != NULL)
        h->next->at = &h->next;
    e->https = h;
    buf_init(&scratch);
    buf_init(&headers);
    buf_append_z(&headers, e->cfg->extra_headers);
    bool is_origin_ok = origin_check(e->cfg, r, &headers);
    if (answer_client_file(h, r, &headers)) {
        h = NULL;
        goto out;
    }
    /* EIO-HEADERS */
    buf_append_z(&headers, NO_STORE);
    if (is_internet_explorer(engine_header_get(r, "user-agent")))
        buf_append_z(&headers,
                     "X-XSS-Protection: 0\r\n"); /* its filter would refuse our answers */
    if (!str_eqz(buf_str(&headers), NO_STORE))   /* parked polls would all have a copy */
        h->headers = str_dup(buf_str(&headers));
    if (metrics_take(&h, r) || api_take(&h, r))
        goto out;
    if (eio_query_decode(r->query, &scratch, params, &n_params) != RC_OK)
        n_params = 0;
    eio_request_decode(params, n_params, &q);
    h->protocol = q.protocol;
    if (q.has_jsonp && e->cfg->is_jsonp)
        h->jsonp = str_dup(q.jsonp);
    buf_clear(&headers);
    if (!eio_path_is_ours(r->path, e->cfg->path, e->cfg->is_slash_needed)) {
        http_answer(h, 404, "text/plain", STR("not found\n"), false);
        h = NULL;
    } else if (str_eqz(r->method, "OPTIONS") && answer_options(h, r, &headers)) {
        h = NULL;
    } else {
        if (!q.has_eio_sid || request_is_wanted(e, &q))
            h->request = request_create(r, params, n_params, &q);
        if (answer_unwanted(h, r, &q, is_origin_ok))
            h = NULL;
        else
            route(h, r, &q);
    }
out:
    buf_fini(&scratch);
    buf_fini(&headers);
    return h;
}

void
engine_http_body(struct engine_http *h, struct str body, bool is_too_big)
{
    if (h->api != NULL) {
        api_body(h, body, is_too_big);
    } else if (h->is_health) {
        metrics_health(h);
    } else if (h->is_handshake) { /* also while draining: the next request finds another
                                   * process
                                   */
        handshake(h);
    } else if (h->is_post) {
        post_body(h, body, is_too_big);
    } else {
        poll_begin(h);
    }
}

void
engine_http_gone(struct engine_http *h)
{
    h->answer = NULL;
    switch (h->state) {
    case HTTP_BODY:
        http_free(h);
        return;
    case HTTP_PARKED:
        if (h->api != NULL)
            api_gone(h);
        else
            poll_gone(h);
        return;
    case HTTP_BUSY:
    case HTTP_RIDING:
    case HTTP_ANSWERING:
        return; /* freed when its unit comes back */
    }
}
