/*
 * Any bytes from a web server. The first byte chooses where the rest is cut; whole and
 * cut input must mean the same. The variables go on into a request, the body into records
 * and back.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "fcgi/inbound.h"
#include "fcgi/request.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fcgi_limits LIMITS = {.body_bytes_max = 5000, .n_conns_max = 100};

static void
check_inside(struct str s, struct str whole)
{
    CHECK(s.len == 0 || (s.p >= whole.p && s.p + s.len <= whole.p + whole.len));
}

/* Every view is read, so that the sanitizer sees it. */
static void
read_all(struct str s)
{
    volatile char sum = 0;
    for (size_t i = 0; i < s.len; i++)
        sum = (char)(sum ^ s.p[i]);
}

static void
check_request(struct str pairs)
{
    struct fcgi_request *r = xcalloc(1, sizeof *r);
    struct str rest = pairs, name, value;
    enum rc rc;
    fcgi_request_begin(r, pairs.len);
    while ((rc = fcgi_record_next_pair(&rest, &name, &value)) == RC_OK) {
        check_inside(name, pairs);
        check_inside(value, pairs);
        if (fcgi_request_add(r, name, value) != RC_OK)
            break;
    }
    fcgi_request_end(r, "127.0.0.1 ::1 10.0.0.1");
    for (size_t i = 0; i < r->engine.n_headers; i++) {
        read_all(r->headers[i].name);
        read_all(r->headers[i].value);
        CHECK(!str_eqz(r->headers[i].name, "proxy"));
    }
    read_all(r->engine.method);
    read_all(r->engine.path);
    read_all(r->engine.query);
    read_all(r->engine.remote);
    CHECK(r->content_length >= -1);
    fcgi_request_fini(r);
    free(r);
}

static void
check_round_trip(struct str head, struct str body)
{
    struct buf out = {0}, back = {0};
    struct fcgi_reader r = {0};
    struct fcgi_piece piece;
    struct str rest;
    fcgi_record_encode(&out, FCGI_STDOUT, 0x1234, head, body);
    rest = buf_str(&out);
    while (fcgi_record_next(&r, &rest, &piece) == RC_OK) {
        CHECK(piece.type == FCGI_STDOUT && piece.req_id == 0x1234 && piece.is_first &&
              piece.is_last);
        buf_append_str(&back, piece.content);
    }
    CHECK(rest.len == 0 && r.n_head == 0);
    CHECK(back.len == head.len + body.len);
    CHECK(str_eq(str_slice(buf_str(&back), 0, head.len), head));
    CHECK(str_eq(str_slice(buf_str(&back), head.len, back.len), body));
    buf_fini(&out);
    buf_fini(&back);
}

/* What the input means, in bytes. False: it is over, the input was refused. */
static bool
feed(struct fcgi_inbound *in, struct str bytes, struct buf *log, struct buf *reply)
{
    for (;;) {
        struct fcgi_happening h;
        if (fcgi_inbound_next(in, &bytes, &LIMITS, reply, &h) != RC_OK) {
            buf_append_z(log, "invalid");
            return false;
        }
        if (h.event == FCGI_EV_NONE) {
            CHECK(bytes.len == 0);
            return true;
        }
        buf_append_f(log, "%d %d %d %zu ", (int)h.event, h.is_too_big, in->is_kept,
                     h.data.len);
        buf_append_str(log, h.data);
        CHECK(!h.is_too_big || h.data.len == 0);
        if (h.event == FCGI_EV_HEAD) {
            CHECK(h.data.len <= FCGI_PARAMS_BYTES_MAX);
            check_request(h.data);
        }
        if (h.event == FCGI_EV_BODY) {
            CHECK(h.data.len <= LIMITS.body_bytes_max);
            check_round_trip(STR("Status: 200 OK\r\n\r\n"), h.data);
        }
        if (h.event == FCGI_EV_ABORT || (h.event == FCGI_EV_BODY && in->req_id & 1))
            fcgi_inbound_finish(in);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fcgi_inbound whole = {0}, cut = {0};
    struct buf log_whole = {0}, log_cut = {0}, reply_whole = {0}, reply_cut = {0};
    struct str bytes;
    size_t step;
    if (size == 0)
        return 0;
    step = (size_t)data[0] + 1;
    bytes = (struct str){(const char *)data + 1, size - 1};

    feed(&whole, bytes, &log_whole, &reply_whole);
    for (bool goes_on = true; goes_on && bytes.len;) {
        struct str part = str_slice(bytes, 0, step);
        char *copy = xmalloc(part.len); /* freed at once: no view may stay behind */
        memcpy(copy, part.p, part.len);
        bytes = str_slice(bytes, part.len, bytes.len);
        goes_on = feed(&cut, (struct str){copy, part.len}, &log_cut, &reply_cut);
        free(copy);
    }
    CHECK(str_eq(buf_str(&log_whole), buf_str(&log_cut)));
    CHECK(str_eq(buf_str(&reply_whole), buf_str(&reply_cut)));

    fcgi_inbound_fini(&whole);
    fcgi_inbound_fini(&cut);
    buf_fini(&log_whole);
    buf_fini(&log_cut);
    buf_fini(&reply_whole);
    buf_fini(&reply_cut);
    return 0;
}
