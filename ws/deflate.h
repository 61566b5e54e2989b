/*
 * permessage-deflate (RFC 7692) without context takeover, in both directions: one
 * compressor and one decompressor for the whole process, a broadcast is compressed once.
 * libwebsockets only passes the bits through (its own extension of version 4.1.6 hangs on
 * large messages and takes 100 kB a connection).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_DEFLATE_H
#define SIOLITE_WS_DEFLATE_H

#include <zlib.h>

#include "core/engine/frame.h"

struct ws_deflate {
    z_stream out, in;
    size_t threshold; /* bytes; shorter frames stay as they are */
    struct buf inflated;
};

void ws_deflate_init(struct ws_deflate *d, size_t threshold);
void ws_deflate_fini(struct ws_deflate *d);
/* Is one of the offers in a Sec-WebSocket-Extensions header acceptable? Then `params` is
 * what follows the extension's name in the answer; a literal. Offers with parameters that
 * we do not implement are passed over. */
bool ws_deflate_accept(struct str offers, const char **params);
/* The compressed form of `f`, cached there; or `f` itself if it is short, plain, or does
 * not shrink. */
struct frame *ws_deflate_frame(struct ws_deflate *d, struct frame *f);
/* A whole message; `out` borrows until the next call. RC_TOOBIG: it inflates to more than
 * `max` bytes; RC_INVALID. */
MUST_CHECK enum rc
ws_deflate_inflate(struct ws_deflate *d, struct str message, size_t max, struct str *out);

#endif
