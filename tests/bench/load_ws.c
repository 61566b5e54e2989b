/*
 * The WebSocket client of the load generator.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load.h"

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { BIT_FIN = 0x80, BIT_RSV1 = 0x40, BIT_MASK = 0x80, HEAD_MAX = 14 };

static const char TAIL[4] = {0, 0, (char)0xff,
                             (char)0xff}; /* of a deflated message, not sent (RFC 7692) */

void
load_ws_open(struct load *l, struct load_session *s, bool is_upgrade)
{
    const struct load_options *o = &l->o;
    struct load_conn *c = s->ws = load_conn_create(s, LOAD_CONN_WS);
    buf_append_f(&c->out,
                 "GET %s?EIO=4&transport=websocket%s%s HTTP/1.1\r\nHost: "
                 "%s:%d\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                 "%08xAAAAAAAAAAAAAA==\r\n",
                 o->path, is_upgrade ? "&sid=" : "", is_upgrade ? s->eio_sid : "",
                 o->host, o->port, s->id * 2654435761u);
    if (o->is_deflate)
        buf_append_f(&c->out, "Sec-WebSocket-Extensions: %s\r\n", o->deflate_offer);
    buf_append_str(&c->out, buf_str(&o->headers));
    buf_append_z(&c->out, "\r\n");
    if (!load_conn_dial(l, c))
        load_session_end(l, s);
}

/* ---- sending ---- */

static struct str
deflated(struct load *l, const char *p, size_t n)
{
    z_stream *z = &l->deflater;
    deflateReset(z);
    z->next_in = (Bytef *)p;
    z->avail_in = (uInt)n;
    z->next_out = (Bytef *)l->deflate_buffer;
    z->avail_out = LOAD_MESSAGE_MAX;
    deflate(z, Z_SYNC_FLUSH);
    return (struct str){l->deflate_buffer, LOAD_MESSAGE_MAX - z->avail_out - sizeof TAIL};
}

void
load_ws_frame(struct load *l, struct load_conn *c, int opcode, const char *p, size_t n)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char *f = (unsigned char *)l->frame_buffer;
    struct str data = {p, n};
    int rsv = 0;
    if (c->can_deflate && opcode == OP_TEXT) {
        data = deflated(l, p, n);
        rsv = BIT_RSV1;
    }
    if (data.len > LOAD_MESSAGE_MAX - HEAD_MAX)
        load_die("message too large");
    size_t n_length = data.len < 126     ? 0
                      : data.len < 65536 ? 2
                                         : 8,
           head = 2 + n_length + sizeof mask;
    f[0] = (unsigned char)(BIT_FIN | rsv | opcode);
    f[1] = (unsigned char)(BIT_MASK | (n_length == 0   ? data.len
                                       : n_length == 2 ? 126
                                                       : 127));
    for (size_t i = 0; i < n_length; i++)
        f[2 + i] = (unsigned char)(data.len >> (8 * (n_length - 1 - i)));
    memcpy(f + 2 + n_length, mask, sizeof mask);
    for (size_t i = 0; i < data.len; i++)
        f[head + i] = (unsigned char)data.p[i] ^ mask[i & 3];
    load_conn_send(l, c, f, head + data.len);
}

/* ---- receiving ---- */

static bool
inflate_part(z_stream *z, const char *p, size_t n)
{
    z->next_in = (Bytef *)p;
    z->avail_in = (uInt)n;
    int status = inflate(z, Z_SYNC_FLUSH);
    return status == Z_OK || status == Z_BUF_ERROR;
}

static z_stream *
inflater_of(struct load *l, struct load_conn *c)
{
    if (c->no_takeover) {
        if (!l->has_inflater)
            inflateInit2(&l->inflater, -MAX_WBITS);
        else
            inflateReset(&l->inflater);
        l->has_inflater = true;
        return &l->inflater;
    }
    if (c->inflater == NULL) {
        c->inflater = xcalloc(1, sizeof *c->inflater);
        inflateInit2(c->inflater, -MAX_WBITS);
    }
    return c->inflater;
}

static void
on_message(struct load *l, struct load_conn *c, int opcode, bool is_deflated, char *p,
           size_t n)
{
    if (is_deflated) {
        z_stream *z = inflater_of(l, c);
        z->next_out = (Bytef *)l->inflate_buffer;
        z->avail_out = LOAD_MESSAGE_MAX;
        if (!inflate_part(z, p, n) || !inflate_part(z, TAIL, sizeof TAIL)) {
            load_bad(l, "a message that does not inflate");
            return;
        }
        l->is_deflated_seen = true;
        p = l->inflate_buffer;
        n = LOAD_MESSAGE_MAX - z->avail_out;
    }
    if (opcode == OP_TEXT)
        load_session_packet(l, c->session, p, n);
}

static void
on_data(struct load *l, struct load_conn *c, int opcode, bool is_final, bool is_deflated,
        char *p, size_t n)
{
    if (is_final && opcode != OP_CONTINUATION && c->fragment_opcode == 0) {
        on_message(l, c, opcode, is_deflated, p, n);
        return;
    }
    if (opcode != OP_CONTINUATION) {
        c->fragment_opcode = (uint8_t)opcode;
        c->is_fragment_deflated = is_deflated;
        buf_clear(&c->fragments);
    }
    buf_append(&c->fragments, p, n);
    if (is_final) {
        opcode = c->fragment_opcode;
        c->fragment_opcode = 0;
        on_message(l, c, opcode, c->is_fragment_deflated, c->fragments.p,
                   c->fragments.len);
    }
}

static void
on_frame(struct load *l, struct load_conn *c, int first_byte, char *p, size_t n)
{
    int opcode = first_byte & 15;
    switch (opcode) {
    case OP_CLOSE:
        l->n_closed++;
        if (c->session->state != LOAD_DEAD)
            load_bad(l, "close frame %d",
                     n >= 2 ? (unsigned char)p[0] << 8 | (unsigned char)p[1] : 0);
        return;
    case OP_PING:
        load_ws_frame(l, c, OP_PONG, p, n);
        return;
    case OP_PONG:
        return;
    default:
        on_data(l, c, opcode, (first_byte & BIT_FIN) != 0, (first_byte & BIT_RSV1) != 0,
                p, n);
    }
}

static size_t
feed_frame(struct load *l, struct load_conn *c, char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n < 2)
        return 0;
    size_t len = u[1] & 127u,
           n_length = len == 126   ? 2
                      : len == 127 ? 8
                                   : 0,
           head = 2 + n_length;
    if (n < head)
        return 0;
    if (n_length > 0)
        len = 0;
    for (size_t i = 0; i < n_length; i++)
        len = len << 8 | u[2 + i];
    if (n < head + len)
        return 0;
    on_frame(l, c, u[0], p + head, len);
    return head + len;
}

static size_t
feed_handshake(struct load *l, struct load_conn *c, char *p, size_t n)
{
    char *end = memmem(p, n, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    *end = '\0';
    if (strncmp(p, "HTTP/1.1 101", 12) != 0) {
        l->n_http_errors++;
        load_bad(l, "upgrade: %.60s", p);
        load_session_end(l, c->session);
        return n;
    }
    char *extension = strcasestr(p, "\nSec-WebSocket-Extensions:");
    if (extension != NULL && strstr(extension, "permessage-deflate") != NULL) {
        char *line_end = strchr(extension + 1, '\n');
        if (line_end != NULL)
            *line_end = '\0';
        c->can_deflate = true;
        c->no_takeover = strstr(extension, "server_no_context_takeover") != NULL;
    }
    c->state = LOAD_CONN_OPEN;
    if (c->session->state == LOAD_PROBING)
        load_ws_frame(l, c, OP_TEXT, "2probe", 6);
    return (size_t)(end - p) + 4;
}

size_t
load_ws_feed(struct load *l, struct load_conn *c, char *p, size_t n)
{
    return c->state == LOAD_CONN_OPEN ? feed_frame(l, c, p, n)
                                      : feed_handshake(l, c, p, n);
}
