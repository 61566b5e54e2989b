/*
 * What waits for one WebSocket: references to frames, handed out again as bytes for the
 * wire, as much at a time as one write takes. Knows no socket.
 *
 * A frame of up to WS_PIECE bytes is one WebSocket frame; a longer one leaves as several
 * fragments, between which libwebsockets may put a pong or a close frame without breaking
 * the stream.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_QUEUE_H
#define SIOLITE_WS_QUEUE_H

#include "core/engine/frame.h"

enum {
    WS_BATCH = 65536,         /* bytes of one write at most */
    WS_PIECE = WS_BATCH - 14, /* bytes of data in one WebSocket frame at most */
    WS_FRAME_COST = 32, /* what an entry counts beside its bytes, so that many empty ones
                           are bounded too */
};

struct ws_deflate;
struct ws_chunk;

struct ws_queue { /* all zero is an empty queue; takes no further memory for a single
                     chain */
    struct frame *chain;           /* the first one in line, a reference; NULL: empty */
    struct ws_chunk *first, *last; /* the chains after it */
    struct frame *at; /* the frame of `chain` that is next; NULL: `chain` itself */
    size_t offset;    /* bytes of it that were taken already, 0 unless it is longer than
                         WS_PIECE */
    size_t n_bytes;   /* of all that waits, with WS_FRAME_COST each */
};

struct ws_batch {  /* bytes to write now */
    const char *p; /* in the caller's buffer, or in a frame that `held` keeps */
    size_t len;
    struct frame *held; /* a reference to drop after the write; may be NULL */
};

/* Takes the reference. */
void ws_queue_push_take(struct ws_queue *q, struct frame *chain);
static inline bool
ws_queue_is_empty(const struct ws_queue *q)
{
    return q->chain == NULL;
}
/* The next bytes, at most WS_BATCH, joined in `buffer` (WS_BATCH bytes) if they are of
 * several frames; false: nothing waits. `d`: compress for this peer, or NULL. */
bool ws_queue_take(struct ws_queue *q, struct ws_deflate *d, char *buffer,
                   struct ws_batch *out);
void ws_queue_clear(struct ws_queue *q);

#endif
