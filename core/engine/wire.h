/*
 * From rows of the log to bytes: the Socket.IO packet of a row as Engine.IO frames, once
 * for each form of client.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_WIRE_H
#define SIOLITE_CORE_ENGINE_WIRE_H

#include "core/engine/frame.h"
#include "store/packet.h"

enum wire_form {
    WIRE_V4,
    WIRE_V4_OFFSET,      /* recovery is on: events carry their offset as last argument
                            (socketio.md 1.10) */
    WIRE_MSGPACK,        /* one binary message a packet (core/sio/msgpack.h) */
    WIRE_MSGPACK_OFFSET, /* … with offsets */
    WIRE_V3,             /* ASCII only, binary with its type byte (eio3.md 3.3, 1) */
    /* The same over a WebSocket that was opened with b64=1: binary as base64 text. */
    WIRE_V4_BASE64,
    WIRE_V4_OFFSET_BASE64,
    WIRE_MSGPACK_BASE64,
    WIRE_MSGPACK_OFFSET_BASE64,
    WIRE_V3_BASE64,
    WIRE_N_FORMS
};

/* The row's packet as frames, made at first use and kept with it (borrowed). `nsp` is the
 * name of its namespace. NULL for control rows. `epoch` is the first half of offsets. */
struct frame *
wire_frames(struct store_packet *p, struct str nsp, enum wire_form form, int64_t epoch);
/* Frees the frames of a row for one client, which it has been given. (Others keep them
 * for all receivers.) */
void wire_forget(struct store_packet *p);
/* Appends a chain to a polling payload; *n counts the packets in it. */
void
wire_payload_append(struct buf *b, enum wire_form form, size_t *n, const struct frame *f);
/* Revision 3: is a binary packet in it, and the framing for a batch with one
 * (eio3.md 3.2). */
bool wire_has_binary(const struct frame *f);
void wire_payload_append_octets(struct buf *b, const struct frame *f);

#endif
