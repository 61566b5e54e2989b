/*
 * Answers in CGI form.
 *
 * Invariants: 1. The header block stays below HEAD_BYTES_MAX, where nginx gives up. 2.
 * Content-Length is exact.
 * 3. Never a 1xx: web servers hang on it.
 *
 * The loop thread of siolite.fcgi.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/response.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "core/base/log.h"

static const size_t HEAD_BYTES_MAX = 4000;
/* Above this the buffer is given back after use. */
static const size_t KEPT_BYTES_MAX = 256 * 1024;

struct fcgi_deflater {
    z_stream z;
    enum fcgi_coding coding; /* that z was made for; NONE: not made yet */
    struct buf out;
};

struct fcgi_deflater *
fcgi_deflater_create(void)
{
    return xcalloc(1, sizeof(struct fcgi_deflater));
}

void
fcgi_deflater_destroy(struct fcgi_deflater *d)
{
    if (d == NULL)
        return;
    if (d->coding != FCGI_CODING_NONE)
        deflateEnd(&d->z);
    buf_fini(&d->out);
    free(d);
}

static enum rc
prepare(struct fcgi_deflater *d, enum fcgi_coding coding)
{
    /* What zlib adds around the stream: 15 bits of window, 16 more for a gzip header. */
    int window_bits = coding == FCGI_CODING_GZIP ? 15 + 16 : 15;
    if (d->coding == coding)
        return deflateReset(&d->z) == Z_OK ? RC_OK : RC_INVALID;
    if (d->coding != FCGI_CODING_NONE)
        deflateEnd(&d->z);
    d->coding = FCGI_CODING_NONE;
    memset(&d->z, 0, sizeof d->z);
    /* The loop waits for it: level 1 takes a third of the time of 6, for some 15 % more
     * bytes. */
    if (deflateInit2(&d->z, Z_BEST_SPEED, Z_DEFLATED, window_bits, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return RC_NOMEM;
    d->coding = coding;
    return RC_OK;
}

/* Into d->out. RC_TOOBIG: it would not become smaller. */
static enum rc
compress_body(struct fcgi_deflater *d, enum fcgi_coding coding, struct str body)
{
    enum rc rc = prepare(d, coding);
    if (rc != RC_OK)
        return rc;
    if (body.len > UINT32_MAX)
        return RC_TOOBIG;
    if (d->out.cap > KEPT_BYTES_MAX)
        buf_fini(&d->out);
    buf_clear(&d->out);
    d->z.next_in = (Bytef *)body.p; /* zlib only reads it */
    d->z.avail_in = (uInt)body.len;
    d->z.next_out = (Bytef *)buf_reserve(&d->out, body.len);
    d->z.avail_out = (uInt)body.len;
    if (deflate(&d->z, Z_FINISH) != Z_STREAM_END)
        return RC_TOOBIG;
    d->out.len = d->z.total_out;
    return RC_OK;
}

/* Whole lines, as many as fit. */
static void
append_headers(struct buf *head, struct str lines)
{
    while (lines.len) {
        struct str line = str_slice(lines, 0, str_index(lines, '\n') + 1);
        lines = str_slice(lines, line.len, lines.len);
        if (head->len + line.len > HEAD_BYTES_MAX) {
            log_warn("fcgi", "response.headers", LOG_Z("reason", "too long"),
                     LOG_S("header", str_slice(line, 0, str_index(line, ':'))));
            continue;
        }
        buf_append_str(head, line);
    }
}

/* The standard phrase: "Bad Request" for 400. */
static const char *
reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Payload Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return status < 300   ? "OK"
           : status < 400 ? "Redirect"
           : status < 500 ? "Error"
                          : "Failure";
}

/* EIO-COMPRESSION */
void
fcgi_response_encode(struct fcgi_deflater *d, struct buf *head, struct str *body,
                     const struct engine_answer *a, enum fcgi_coding coding)
{
    int status = a->status < 200 ? 400 : a->status; /* invariant 3 */
    *body = a->body;
    if (!a->can_compress)
        coding = FCGI_CODING_NONE;
    if (coding != FCGI_CODING_NONE && compress_body(d, coding, a->body) != RC_OK)
        coding = FCGI_CODING_NONE;
    if (coding != FCGI_CODING_NONE)
        *body = buf_str(&d->out);

    buf_append_z(head, "Status: ");
    buf_append_int(head, status);
    buf_append_c(head, ' ');
    buf_append_z(head, reason_of(status));
    if (a->content_type) {
        buf_append_z(head, "\r\nContent-Type: ");
        buf_append_z(head, a->content_type);
    }
    if (status != 304) {
        buf_append_z(head, "\r\nContent-Length: ");
        buf_append_int(head, (int64_t)body->len);
    }
    if (coding != FCGI_CODING_NONE)
        buf_append_z(head, coding == FCGI_CODING_GZIP ? "\r\nContent-Encoding: gzip"
                                                      : "\r\nContent-Encoding: deflate");
    buf_append_z(head, "\r\n");
    append_headers(head, a->headers);
    buf_append_z(head, "\r\n");
}
