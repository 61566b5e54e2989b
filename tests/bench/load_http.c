/*
 * The HTTP client of the load generator: one request at a time on a connection, which is
 * kept.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/bench/load.h"

struct head {
    int status;
    size_t len, content_length;
    bool has_length, is_chunked;
};

/* ---- requests ---- */

static void
request(struct load *l, struct load_session *s, struct load_conn **at,
        enum load_http_request what, struct str body)
{
    const struct load_options *o = &l->o;
    struct load_conn *c = *at;
    struct buf b;
    if (c == NULL)
        c = *at = load_conn_create(s, LOAD_CONN_HTTP);
    c->request = what;
    buf_init(&b);
    buf_append_f(&b, "%s %s?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: %s:%d\r\n",
                 what == LOAD_HTTP_POST ? "POST" : "GET", o->path,
                 s->eio_sid[0] ? "&sid=" : "", s->eio_sid, o->host, o->port);
    if (what == LOAD_HTTP_POST)
        buf_append_f(&b,
                     "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n",
                     body.len);
    else
        buf_append_z(&b, "Accept: */*\r\n");
    if (o->is_no_keepalive)
        buf_append_z(&b, "Connection: close\r\n");
    buf_append_str(&b, buf_str(&o->headers));
    buf_append_z(&b, "\r\n");
    buf_append_str(&b, body);
    bool is_ok = c->fd >= 0 || load_conn_dial(l, c);
    if (is_ok)
        load_conn_send(l, c, b.p, b.len);
    else
        load_session_end(l, s);
    buf_fini(&b);
}

void
load_http_get(struct load *l, struct load_session *s)
{
    request(l, s, &s->get, LOAD_HTTP_GET, STR_NONE);
}

void
load_http_post(struct load *l, struct load_session *s, struct load_conn **at,
               struct str body)
{
    request(l, s, at, LOAD_HTTP_POST, body);
}

/* ---- answers ---- */

static void
done(struct load *l, struct load_conn *c, int status, char *p, size_t n)
{
    struct load_session *s = c->session;
    enum load_http_request what = c->request;
    c->request = LOAD_HTTP_NONE;
    if (c->closes_after || l->o.is_no_keepalive)
        load_conn_hang_up(c);
    if (s->state == LOAD_DEAD)
        return;
    if (status != 200) {
        l->n_http_errors++;
        load_bad(l, "HTTP %d %.*s", status, (int)(n < 60 ? n : 60), p);
        load_session_end(l, s);
        return;
    }
    l->progress_ns = load_now_ns();
    load_session_answered(l, s, what, p, n);
}

/* False: more is needed. */
static bool
parse_head(struct load_conn *c, const char *p, size_t n, struct head *h)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4), *line;
    *h = (struct head){0};
    if (end == NULL)
        return false;
    h->len = (size_t)(end - p) + 4;
    if (sscanf(p, "HTTP/%*d.%*d %d", &h->status) != 1)
        h->status = -1;
    c->closes_after = strncmp(p, "HTTP/1.0", 8) == 0;
    for (line = p; line != NULL && line < end;
         line = memchr(line, '\n', (size_t)(p + h->len - line))) {
        line += *line == '\n';
        if (strncasecmp(line, "content-length:", 15) == 0) {
            h->content_length = strtoul(line + 15, NULL, 10);
            h->has_length = true;
        } else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) {
            h->is_chunked = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            c->closes_after = true;
        } else if (strncasecmp(line, "connection: keep-alive", 22) == 0) {
            c->closes_after = false;
        }
    }
    return true;
}

/* Returns where the body ends, 0 if more is needed. */
static size_t
feed_chunks(struct load *l, struct load_conn *c, const struct head *h, const char *p,
            size_t n)
{
    size_t at = h->len, n_body = 0;
    for (;;) {
        const char *line_end = memchr(p + at, '\n', n - at);
        if (line_end == NULL)
            return 0;
        size_t len = strtoul(p + at, NULL, 16);
        at = (size_t)(line_end - p) + 1;
        if (at + len + 2 > n)
            return 0;
        if (len == 0)
            break;
        if (n_body + len > LOAD_MESSAGE_MAX)
            load_die("body too large");
        memcpy(l->chunk_buffer + n_body, p + at, len);
        n_body += len;
        at += len + 2;
    }
    done(l, c, h->status, l->chunk_buffer, n_body);
    return at + 2;
}

size_t
load_http_feed(struct load *l, struct load_conn *c, char *p, size_t n, bool is_end)
{
    struct head h;
    if (!parse_head(c, p, n, &h))
        return 0;
    if (h.status < 0) {
        load_bad(l, "not HTTP: %.40s", p);
        load_session_end(l, c->session);
        return n;
    }
    if (h.status == 100)
        return h.len;
    if (h.is_chunked)
        return feed_chunks(l, c, &h, p, n);
    if (!h.has_length && h.status != 204 && h.status != 304) {
        if (!is_end)
            return 0;
        c->closes_after = true;
        h.content_length = n - h.len;
    }
    if (n < h.len + h.content_length)
        return 0;
    done(l, c, h.status, p + h.len, h.content_length);
    return h.len + h.content_length;
}
