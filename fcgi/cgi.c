/*
 * One request from the environment and stdin, its answer to stdout, then the end.
 *
 * READ: the body is coming. WAIT: the engine has all. IDLE: answered, or nobody there to
 * answer; the engine finishes what the request began. DONE: on_done was called.
 *
 * Invariants: 1. Never more is read than CONTENT_LENGTH says, if it says something: some
 * web servers don't close stdin.
 * 2. A body that stays incomplete for REQUEST_MS is given up.
 *
 * The loop thread of siolite.cgi.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/cgi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "fcgi/response.h"

extern char **environ;

static const uint64_t REQUEST_MS = 10000;
static const uint64_t IDLE_MS = 10000; /* for the engine to become idle */
static const int WRITE_MS = 10000;
enum { READ_BYTES = 16 * 1024 };

enum cgi_state { CGI_READ, CGI_WAIT, CGI_IDLE, CGI_DONE };

struct fcgi_cgi {
    struct fcgi_cgi_options o;
    enum cgi_state state;
    struct engine_http *http; /* while the engine owes an answer */
    uv_poll_t in, out;
    bool has_in, has_out; /* these handles exist: not everything can be polled */
    uv_timer_t timer;
    uv_prepare_t prepare;
    int64_t n_left; /* of the body; -1: up to its end */
    struct buf body;
    bool is_too_big;
    enum fcgi_coding coding;
    struct fcgi_deflater *deflater;
    struct fcgi_request request;
};

bool
fcgi_cgi_is_request(void)
{
    return getenv("GATEWAY_INTERFACE") != NULL && getenv("REQUEST_METHOD") != NULL;
}

static void
close_handle(bool has, uv_poll_t *poll)
{
    if (has && !uv_is_closing((uv_handle_t *)poll))
        uv_close((uv_handle_t *)poll, NULL);
}

static void
on_idle_late(uv_timer_t *timer)
{
    struct fcgi_cgi *g = timer->data;
    log_warn("fcgi", "cgi.late");
    g->state = CGI_DONE;
    g->o.on_done(g->o.arg);
}

/* Nothing more is read or written. */
static void
stop(struct fcgi_cgi *g)
{
    close_handle(g->has_in, &g->in);
    close_handle(g->has_out, &g->out);
    g->state = CGI_IDLE;
    uv_timer_start(&g->timer, on_idle_late, IDLE_MS, 0);
}

static void
give_up(struct fcgi_cgi *g, const char *reason)
{
    struct engine_http *http = g->http;
    log_info("fcgi", "cgi.gone", LOG_Z("reason", reason));
    g->http = NULL;
    stop(g);
    if (http)
        engine_http_gone(http);
}

static void
write_all(struct str bytes)
{
    while (bytes.len) {
        ssize_t n = write(STDOUT_FILENO, bytes.p, bytes.len);
        struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (n >= 0)
            bytes = str_slice(bytes, (size_t)n, bytes.len);
        else if (errno == EAGAIN && poll(&p, 1, WRITE_MS) <= 0)
            return; /* as with a browser that has gone */
        else if (errno != EAGAIN && errno != EINTR)
            return;
    }
}

/* An answer before the body was read: mod_cgid's stdin and stdout are one socket, and the
 * end of a socket with bytes unread resets it, answer and all. */
static void
skip_body(struct fcgi_cgi *g)
{
    char bytes[READ_BYTES];
    int64_t end_ms = clock_now_ms() + (int64_t)REQUEST_MS;
    while (g->n_left != 0) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        int64_t rest_ms = end_ms - clock_now_ms();
        if (rest_ms <= 0 || poll(&p, 1, (int)rest_ms) <= 0)
            return;
        size_t n_wanted = sizeof bytes;
        if (g->n_left > 0 && (uint64_t)g->n_left < n_wanted)
            n_wanted = (size_t)g->n_left;
        ssize_t n = read(STDIN_FILENO, bytes, n_wanted);
        if (n <= 0)
            return;
        if (g->n_left > 0)
            g->n_left -= n;
    }
}

static void
on_answer(void *arg, const struct engine_answer *a)
{
    struct fcgi_cgi *g = arg;
    struct buf out = {0};
    struct str body;
    if (g->state == CGI_READ)
        skip_body(g);
    g->http = NULL;
    fcgi_response_encode(g->deflater, &out, &body, a, g->coding);
    buf_append_str(&out, body);
    stop(g);
    write_all(buf_str(&out));
    close(STDOUT_FILENO); /* the web server needn't wait for what we do afterwards */
    buf_fini(&out);
}

/* ---- the body */

static void
finish_body(struct fcgi_cgi *g)
{
    if (g->n_left > 0) {
        give_up(g, "short body");
        return;
    }
    g->state = CGI_WAIT;
    uv_timer_stop(&g->timer);
    close_handle(g->has_in, &g->in);
    engine_http_body(g->http, buf_str(&g->body), g->is_too_big);
    buf_fini(&g->body);
}

/* False: complete, or nothing more for now. */
static bool
read_some(struct fcgi_cgi *g)
{
    char bytes[READ_BYTES];
    size_t n_wanted = sizeof bytes;
    ssize_t n = 0;
    if (g->n_left >= 0 && (uint64_t)g->n_left < n_wanted)
        n_wanted = (size_t)g->n_left;
    if (n_wanted)
        n = read(STDIN_FILENO, bytes, n_wanted);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n <= 0) {
        finish_body(g);
        return false;
    }
    if (g->n_left > 0)
        g->n_left -= n;
    if (g->body.len + (size_t)n > (size_t)g->o.cfg->max_payload_bytes)
        g->is_too_big = true;
    if (g->is_too_big)
        buf_fini(&g->body);
    else
        buf_append(&g->body, bytes, (size_t)n);
    return true;
}

static void
on_stdin(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    while (read_some(poll->data))
        ;
}

static void
on_stdout(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    give_up(poll->data, "stdout closed");
}

static void
on_body_late(uv_timer_t *timer)
{
    give_up(timer->data, "body incomplete");
}

/* A request without a length has a body only if its method says so. */
static int64_t
body_length(const struct fcgi_request *r)
{
    bool is_plain = str_eqz(r->engine.method, "GET") ||
                    str_eqz(r->engine.method, "HEAD") ||
                    str_eqz(r->engine.method, "OPTIONS");
    return r->content_length >= 0 ? r->content_length : is_plain ? 0 : -1;
}

static void
start_reading(struct fcgi_cgi *g)
{
    g->has_out = uv_poll_init(g->o.loop, &g->out, STDOUT_FILENO) == 0;
    g->out.data = g->in.data = g;
    /* Neither readable nor half-closed matters, only the end; libuv reports that in any
     * case. */
    if (g->has_out)
        uv_poll_start(&g->out, UV_PRIORITIZED, on_stdout);
    if (g->n_left != 0)
        g->has_in = uv_poll_init(g->o.loop, &g->in, STDIN_FILENO) == 0;
    if (g->has_in) {
        uv_timer_start(&g->timer, on_body_late, REQUEST_MS, 0);
        uv_poll_start(&g->in, UV_READABLE, on_stdin);
        return;
    }
    while (read_some(g)) /* a file, or nothing: never waits */
        ;
}

/* ---- the request */

static enum rc
read_environment(struct fcgi_request *r, const char *trusted_proxy)
{
    size_t n_bytes = 0;
    for (char **e = environ; *e; e++)
        n_bytes += strlen(*e);
    fcgi_request_begin(r, n_bytes);
    for (char **e = environ; *e; e++) {
        struct str variable = str_of(*e);
        size_t n = str_index(variable, '=');
        enum rc rc = fcgi_request_add(r, str_slice(variable, 0, n),
                                      str_slice(variable, n + 1, variable.len));
        if (rc != RC_OK)
            return rc;
    }
    fcgi_request_end(r, trusted_proxy);
    return RC_OK;
}

static void
on_prepare(uv_prepare_t *prepare)
{
    struct fcgi_cgi *g = prepare->data;
    if (g->state == CGI_IDLE && engine_is_idle(g->o.engine)) {
        g->state = CGI_DONE;
        g->o.on_done(g->o.arg);
    }
}

struct fcgi_cgi *
fcgi_cgi_create(const struct fcgi_cgi_options *o)
{
    struct fcgi_cgi *g = xcalloc(1, sizeof *g);
    g->o = *o;
    g->deflater = fcgi_deflater_create();
    uv_timer_init(o->loop, &g->timer);
    uv_prepare_init(o->loop, &g->prepare);
    g->timer.data = g->prepare.data = g;
    uv_prepare_start(&g->prepare, on_prepare);
    g->n_left = -1;
    if (read_environment(&g->request, o->cfg->trusted_proxy) != RC_OK) {
        on_answer(g, &(struct engine_answer){
                         .status = 431}); /* too many headers; as in conn.c */
        return g;
    }
    g->coding = g->request.coding;
    g->n_left = body_length(&g->request);
    g->http = engine_http_begin(o->engine, &g->request.engine, on_answer, g);
    if (g->http)
        start_reading(g);
    return g;
}

void
fcgi_cgi_close(struct fcgi_cgi *g)
{
    struct engine_http *http = g->http;
    g->state = CGI_DONE;
    g->http = NULL;
    if (http)
        engine_http_gone(http);
    close_handle(g->has_in, &g->in);
    close_handle(g->has_out, &g->out);
    uv_close((uv_handle_t *)&g->timer, NULL);
    uv_close((uv_handle_t *)&g->prepare, NULL);
}

void
fcgi_cgi_destroy(struct fcgi_cgi *g)
{
    if (g == NULL)
        return;
    fcgi_deflater_destroy(g->deflater);
    fcgi_request_fini(&g->request);
    buf_fini(&g->body);
    free(g);
}
