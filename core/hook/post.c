/*
 * See post.h. curl says which descriptors it wants watched and when it wants to be
 * called; it is called back from the loop with what happened, and then tells which POSTs
 * are over.
 *
 * 1. One easy handle a POST, from poster_post() until its reply or poster_destroy().
 * 2. A reply is given outside of curl's callbacks (in check()): it may post the next
 * event.
 * 3. An answer is bounded; redirects are not followed; nothing but HTTP is spoken; no
 * proxy is taken from the environment.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/hook/post.h"

#include <inttypes.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/hook/sign.h"

struct request {
    struct request *next, **at;
    struct poster *p;
    struct hook_call *call;
    CURL *easy;
    struct curl_slist *headers;
    struct buf answer;
    bool is_too_big;
    char error[CURL_ERROR_SIZE];
};

struct watch { /* a descriptor of curl's */
    struct watch *next, **at;
    struct poster *p;
    uv_poll_t poll;
    curl_socket_t fd;
};

struct poster {
    const struct cfg *cfg;
    struct str secret;
    uv_loop_t *loop;
    uv_timer_t timer;
    CURLM *multi;
    struct request *requests;
    struct watch *watches;
    bool is_checking;
};

static void check(struct poster *p);

/* ---- curl and the loop ---- */

static void
on_timer(uv_timer_t *timer)
{
    struct poster *p = timer->data;
    int n_running;
    curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
    check(p);
}

static int
on_curl_timer(CURLM *multi, long ms, void *arg)
{
    struct poster *p = arg;
    (void)multi;
    if (ms < 0)
        uv_timer_stop(&p->timer);
    else
        uv_timer_start(&p->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct poster *p = w->p;
    int n_running, flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                           (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) |
                           (status < 0 ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(p->multi, w->fd, flags, &n_running);
    check(p);
}

static void
on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void
watch_end(struct watch *w)
{
    *w->at = w->next;
    if (w->next != NULL)
        w->next->at = w->at;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static struct watch *
watch_create(struct poster *p, curl_socket_t fd)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->p = p;
    w->fd = fd;
    w->poll.data = w;
    if (uv_poll_init_socket(p->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->next = p->watches;
    w->at = &p->watches;
    if (w->next != NULL)
        w->next->at = &w->next;
    p->watches = w;
    curl_multi_assign(p->multi, fd, w);
    return w;
}

static int
on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct poster *p = arg;
    struct watch *w = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            watch_end(w);
        curl_multi_assign(p->multi, fd, NULL);
        return 0;
    }
    if (w == NULL)
        w = watch_create(p, fd);
    if (w == NULL)
        return -1;
    uv_poll_start(&w->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) |
                      (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  on_ready);
    return 0;
}

/* ---- one POST ---- */

static size_t
on_answer(char *bytes, size_t size, size_t n, void *arg)
{
    struct request *r = arg;
    if (r->answer.len + size * n > HOOK_ANSWER_BYTES_MAX) {
        r->is_too_big = true;
        return 0; /* an error of the transfer */
    }
    buf_append(&r->answer, bytes, size * n);
    return size * n;
}

static void
add_header(struct request *r, const char *name, const char *value)
{
    struct buf line = {0};
    buf_append_f(&line, "%s: %s%c", name, value, 0);
    r->headers = curl_slist_append(r->headers, line.p);
    buf_fini(&line);
}

static enum rc
add_headers(struct request *r, const char *event_id, struct str body)
{
    char signature[HOOK_SIGNATURE_LEN + 1], timestamp[32];
    int64_t now_s = clock_wall_ms() / 1000;
    enum rc rc = hook_sign(r->p->secret, now_s, body, signature);
    if (rc != RC_OK)
        return rc;
    (void)snprintf(timestamp, sizeof timestamp, "%" PRId64, now_s);
    add_header(r, "Content-Type", "application/json");
    add_header(r, "X-Siolite-Event-Id", event_id);
    add_header(r, "X-Siolite-Timestamp", timestamp);
    add_header(r, "X-Siolite-Signature", signature);
    r->headers = curl_slist_append(r->headers, "Expect:"); /* no 100-continue */
    return RC_OK;
}

static void
set_up(struct request *r, struct str body)
{
    const struct cfg *cfg = r->p->cfg;
    CURL *c = r->easy;
    curl_easy_setopt(c, CURLOPT_URL, cfg->hook_url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)cfg->hook_timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)cfg->hook_timeout_ms);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "siolite-hook/" SIOLITE_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(c, CURLOPT_PRIVATE, r);
}

static void
request_free(struct request *r)
{
    *r->at = r->next;
    if (r->next != NULL)
        r->next->at = r->at;
    if (r->easy != NULL) {
        curl_multi_remove_handle(r->p->multi, r->easy);
        curl_easy_cleanup(r->easy);
    }
    curl_slist_free_all(r->headers);
    buf_fini(&r->answer);
    free(r);
}

static void
reply(struct request *r, CURLcode code)
{
    struct hook_call *call = r->call;
    struct hook_reply reply = {.error =
                                   r->error[0] ? r->error : curl_easy_strerror(code)};
    long status = 0, n_sent = 0;
    struct buf answer = r->answer;
    char error[CURL_ERROR_SIZE];
    r->answer = (struct buf){0};
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(r->easy, CURLINFO_REQUEST_SIZE, &n_sent);
    (void)snprintf(error, sizeof error, "%s", reply.error);
    reply.error = error;
    reply.is_told = n_sent > 0;
    reply.is_too_big = r->is_too_big;
    if (code == CURLE_OK || r->is_too_big)
        reply.status = (int)status;
    reply.body = buf_str(&answer);
    request_free(r); /* its connection is free for what the reply may post */
    engine_hook_reply(call, &reply);
    buf_fini(&answer);
}

/* Invariant 2. */
static void
check(struct poster *p)
{
    CURLMsg *m;
    int n_left;
    if (p->is_checking)
        return;
    p->is_checking = true;
    while ((m = curl_multi_info_read(p->multi, &n_left)) != NULL) {
        struct request *r = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        reply(r, code);
    }
    p->is_checking = false;
}

void
poster_post(void *arg, struct hook_call *call, const char *event_id, struct str body)
{
    struct poster *p = arg;
    struct request *r = xcalloc(1, sizeof *r);
    r->p = p;
    r->call = call;
    r->next = p->requests;
    r->at = &p->requests;
    if (r->next != NULL)
        r->next->at = &r->next;
    p->requests = r;
    r->easy = curl_easy_init();
    if (r->easy == NULL || add_headers(r, event_id, body) != RC_OK)
        abort(); /* memory is out */
    set_up(r, body);
    curl_multi_add_handle(p->multi, r->easy); /* begins with the timer: not in here */
}

/* ---- life ---- */

struct poster *
poster_create(uv_loop_t *loop, const struct cfg *cfg, struct str secret)
{
    struct poster *p = xcalloc(1, sizeof *p);
    p->cfg = cfg;
    p->secret = secret;
    p->loop = loop;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        (p->multi = curl_multi_init()) == NULL) {
        free(p);
        return NULL;
    }
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)cfg->hook_concurrency);
    return p;
}

void
poster_configure(struct poster *p, struct str secret)
{
    p->secret = secret;
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)p->cfg->hook_concurrency);
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
    curl_global_cleanup();
}

void
poster_destroy(struct poster *p)
{
    if (p == NULL)
        return;
    while (p->requests != NULL)
        request_free(p->requests);
    curl_multi_cleanup(p->multi);
    while (p->watches != NULL)
        watch_end(p->watches);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}
