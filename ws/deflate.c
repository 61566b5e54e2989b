/*
 * permessage-deflate; see deflate.h.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/deflate.h"

#include <assert.h>

#include "ws/request.h"

enum {
    LEVEL = 1,           /* on short messages the others save little for their time */
    WINDOW_BITS = -15,   /* raw deflate, 32 kB */
    MEM_LEVEL = 8,       /* 256 kB for the compressor */
    TAIL_LEN = 4,        /* what a sync flush ends with; not sent */
    KEEP_BYTES = 262144, /* inflated more than that: give the memory back */
};

static const unsigned char TAIL[TAIL_LEN] = {0, 0, 0xff, 0xff};

static const char PARAMS[] = "; server_no_context_takeover; client_no_context_takeover";
static const char PARAMS_15[] =
    "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/* One parameter of an offer. */
static bool
is_acceptable(struct str param, const char **params)
{
    size_t eq = str_index(param, '=');
    struct str name = str_slice(param, 0, eq),
               value = str_slice(param, eq + 1, param.len);
    if (value.len >= 2 && value.p[0] == '"')
        value = str_slice(value, 1, value.len - 1);
    if (str_eqz(name, "server_no_context_takeover") ||
        str_eqz(name, "client_no_context_takeover"))
        return eq == param.len;
    if (str_eqz(name, "client_max_window_bits"))
        return true; /* whatever the client takes, the decompressor's window holds it */
    if (str_eqz(name, "server_max_window_bits") && str_eqz(value, "15")) {
        *params = PARAMS_15;
        return true;
    }
    return false;
}

/* Feeds `in` to the decompressor; the output grows to at most max + 1 bytes. */
static enum rc
inflate_piece(struct ws_deflate *d, const void *in, size_t len, size_t max)
{
    d->in.next_in = (Bytef *)in;
    d->in.avail_in = (uInt)len;
    do {
        size_t room = max + 1 - d->inflated.len;
        int status;
        if (room > 4096 && room > d->inflated.len + 4 * len)
            room = d->inflated.len + 4 * len + 4096;
        d->in.next_out = (Bytef *)buf_reserve(&d->inflated, room);
        d->in.avail_out = (uInt)room;
        status = inflate(&d->in, Z_SYNC_FLUSH);
        d->inflated.len += room - d->in.avail_out;
        if (d->inflated.len > max)
            return RC_TOOBIG;
        if (status == Z_STREAM_END)
            return RC_OK;
        if (status != Z_OK && status != Z_BUF_ERROR)
            return RC_INVALID;
    } while (d->in.avail_out == 0);
    return d->in.avail_in == 0 ? RC_OK : RC_INVALID;
}

void
ws_deflate_init(struct ws_deflate *d, size_t threshold)
{
    *d = (struct ws_deflate){.threshold = threshold};
    if (deflateInit2(&d->out, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK ||
        inflateInit2(&d->in, WINDOW_BITS) != Z_OK)
        abort(); /* out of memory at start-up */
}

void
ws_deflate_fini(struct ws_deflate *d)
{
    deflateEnd(&d->out);
    inflateEnd(&d->in);
    buf_fini(&d->inflated);
}

bool
ws_deflate_accept(struct str offers, const char **params)
{
    struct str offer;
    while (ws_request_next_item(&offers, ',', &offer)) {
        struct str item;
        bool is_ok = ws_request_next_item(&offer, ';', &item) &&
                     str_eqz(item, "permessage-deflate");
        *params = PARAMS;
        while (is_ok && ws_request_next_item(&offer, ';', &item))
            is_ok = is_acceptable(item, params);
        if (is_ok)
            return true;
    }
    return false;
}

/* EIO-WS-COMPRESSION */
struct frame *
ws_deflate_frame(struct ws_deflate *d, struct frame *f)
{
    struct frame *g;
    size_t room;
    if (f->deflated)
        return f->deflated;
    if (f->is_plain || f->len < d->threshold)
        return f;
    room = deflateBound(&d->out, f->len) + 16;
    g = frame_create(room, f->is_binary);
    deflateReset(&d->out);
    d->out.next_in = (Bytef *)f->data;
    d->out.avail_in = (uInt)f->len;
    d->out.next_out = (Bytef *)g->data;
    d->out.avail_out = (uInt)room;
    deflate(&d->out, Z_SYNC_FLUSH);
    assert(d->out.avail_in == 0 && d->out.avail_out > 0);
    g->len = room - d->out.avail_out - TAIL_LEN;
    if (g->len >= f->len) {
        frame_unref(g);
        f->is_plain = true; /* not again for the next receiver */
        return f;
    }
    f->deflated = g;
    return g;
}

enum rc
ws_deflate_inflate(struct ws_deflate *d, struct str message, size_t max, struct str *out)
{
    enum rc rc;
    if (d->inflated.cap > KEEP_BYTES)
        buf_fini(&d->inflated);
    buf_clear(&d->inflated);
    inflateReset(&d->in);
    rc = inflate_piece(d, message.p, message.len, max);
    if (rc == RC_OK)
        rc = inflate_piece(d, TAIL, TAIL_LEN, max);
    if (rc == RC_OK)
        *out = buf_str(&d->inflated);
    return rc;
}
