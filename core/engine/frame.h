/*
 * One encoded Engine.IO packet, built once and shared by all its receivers: as a
 * WebSocket message it is sent as it is (text, or binary for attachments), as a part of a
 * polling payload it is joined or base64-coded.
 *
 * The engine makes frames; the fronts queue and send them. Reference-counted on the
 * loop's thread. FRAME_HEAD bytes before `data` are free for the WebSocket header, which
 * the sidecar writes there once (head_len).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_FRAME_H
#define SIOLITE_CORE_ENGINE_FRAME_H

#include "core/base/buf.h"

#define FRAME_HEAD 32

struct frame {
    struct frame
        *next; /* the packet's attachments follow, each a frame; owned by this one */
    uint32_t n_refs;  /* of the chain; counted in its first frame only */
    uint8_t head_len; /* bytes of WebSocket header right before data; 0: not made yet */
    bool is_binary;   /* a binary message; revision 3: the type byte 0x04 is in data */
    bool is_plain;    /* not to be compressed */
    struct frame *deflated; /* a compressed form of this frame for WebSocket (ws'
                               business); owned, may be NULL */
    size_t len;
    char *data; /* text: type digit first; follows the struct and FRAME_HEAD in the same
                   allocation */
};

struct frame *
frame_create(size_t len, bool is_binary); /* data uninitialised; one reference */
struct frame *frame_of(struct str text);  /* a text frame with a copy of `text` */
/* A text frame made in place: `b` is set up with room for `len` bytes, text is appended,
 * the end takes its memory. */
void frame_begin(struct buf *b, size_t len);
struct frame *frame_end(struct buf *b);
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame *f); /* the whole chain; accepts NULL */

#endif
