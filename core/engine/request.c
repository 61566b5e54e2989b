/*
 * What the application is asked and told of requests, before and without a session:
 * may a handshake begin, which lines go with an answer, what was refused. Its handlers
 * know what the request said, and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/call.h"

enum { HEADERS_MAX = 2000 }; /* bytes of the lines that handlers add to an answer */

/* Lines that the server writes, or that a web server acts on; with '-' at the end, all
 * that begin so. Set-Cookie is not among them: there may be several. */
static const char *const REFUSED[] = {
    "access-control-",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "location",
    "retry-after",
    "sec-websocket-",
    "server",
    "status",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "x-accel-",
    "x-lighttpd-",
    "x-sendfile",
    "x-sendfile2",
    "x-xss-protection",
};

/* ---- what it said ---- */

bool
request_is_wanted(const struct engine *e, const struct eio_request *q)
{
    return e->app.on_headers != NULL || e->app.on_connection_error != NULL ||
           (!q->has_eio_sid && e->app.on_request != NULL);
}

struct request *
request_create(const struct engine_request *r, const struct eio_param *params, size_t n,
               const struct eio_request *q)
{
    struct eio_param open[EIO_PARAMS_MAX];
    struct engine_request said = *r;
    struct request *kept = xcalloc(1, sizeof *kept);
    size_t n_open = 0;
    for (size_t i = 0; i < n; i++)
        if (!q->has_eio_sid || !str_eqz(params[i].name, "sid"))
            open[n_open++] = params[i];
    if (q->has_eio_sid)
        said.query = STR_NONE; /* the id stands in it, perhaps escaped */
    session_handshake_encode(&kept->json, &said, open, n_open);
    kept->method = str_dup(r->method);
    kept->remote = str_dup(r->remote);
    kept->protocol = q->protocol;
    kept->transport = q->transport;
    kept->has_transport = q->has_transport;
    kept->is_first = !q->has_eio_sid;
    return kept;
}

void
request_destroy(struct request *q)
{
    if (q == NULL)
        return;
    buf_fini(&q->json);
    free(q->method);
    free(q->remote);
    free(q);
}

/* ---- its handlers ---- */

/* Until one refuses; false then. */
static bool
ask(struct engine *e, const struct app_handler *h, const struct call_request *c,
    char **text)
{
    struct work w = {
        .e = e,
        .now_ms = clock_now_ms(),
        .protocol = c->said->protocol,
        .transport = c->said->transport,
        .has_transport = c->said->has_transport,
    };
    bool is_refused = false;
    if (h == NULL)
        return true;
    for (; h != NULL && !is_refused; h = h->next)
        is_refused = call_request(&w, c, h->fn, text) == CALL_REFUSED;
    work_fini(&w);
    return !is_refused;
}

/* EIO-REQUEST */
bool
request_may_enter(struct engine *e, const struct request *q, struct buf *headers,
                  char **text)
{
    const struct call_request c = {CALL_REQUEST, q, NULL, headers};
    return q == NULL || ask(e, e->app.on_request, &c, text);
}

/* EIO-HEADERS-APP */
void
request_add_headers(struct engine *e, const struct request *q, struct buf *headers)
{
    const struct call_request c = {CALL_HEADERS, q, NULL, headers};
    if (q != NULL)
        (void)ask(e, e->app.on_headers, &c, NULL);
}

/* EIO-ERROR-APP */
void
request_tell_error(struct engine *e, const struct request *q,
                   const struct request_error *error)
{
    const struct call_request c = {CALL_CONNECTION_ERROR, q, error, NULL};
    if (q != NULL)
        (void)ask(e, e->app.on_connection_error, &c, NULL);
}

/* ---- header lines ---- */

static bool
is_refused_name(const char *name)
{
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        size_t len = strlen(REFUSED[i]);
        if (REFUSED[i][len - 1] != '-')
            len++; /* the end, too */
        if (strncasecmp(name, REFUSED[i], len) == 0)
            return true;
    }
    return false;
}

static bool
is_clean(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

void
app_add_header(struct app_call *c, const char *name, const char *value)
{
    struct buf *headers = c->request ? c->request->headers : NULL;
    if (headers == NULL)
        call_fail(c, RC_INVALID,
                  "app_add_header: only in app_on_request and app_on_headers");
    else if (name == NULL || !str_is_token(str_of(name)))
        call_fail(c, RC_INVALID, "app_add_header: not the name of a header");
    else if (is_refused_name(name))
        call_fail(c, RC_INVALID, "app_add_header: %s is the server's own", name);
    else if (value == NULL || !is_clean(value))
        call_fail(c, RC_INVALID, "app_add_header: %s: not a value of a header", name);
    else if (strlen(name) + strlen(value) + 4 > HEADERS_MAX - headers->len)
        call_fail(c, RC_TOOBIG, "app_add_header: %s: more than %d bytes of headers", name,
                  HEADERS_MAX);
    else
        buf_append_f(headers, "%s: %s\r\n", name, value);
}
