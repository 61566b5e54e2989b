/*
 * Socket.IO packets of clients with socket.io-msgpack-parser: one MessagePack map a
 * packet, `{type, data, nsp[, id]}`. Bodies are JSON text everywhere else in the program,
 * so this is a transcoder: from a map to what sio_packet_decode() makes of the same
 * packet as text, and from such a packet to a map.
 *
 * What JSON has no word for: bin, and ext type 0 of more than a byte (an ArrayBuffer),
 * are attachments; ext type 0 of one byte (undefined) drops its member, or is null in an
 * array; dates are what JSON.stringify makes of them; NaN and the infinities are null; an
 * ext of another type is [type, attachment]; a map's key may be an integer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_SIO_MSGPACK_H
#define SIOLITE_CORE_SIO_MSGPACK_H

#include "core/sio/packet.h"

/* What a session's packets look like. t_session.parser: file format. */
enum sio_parser { SIO_PARSER_JSON = 0, SIO_PARSER_MSGPACK = 1 };

/* Does the message begin as a map does? */
bool sio_msgpack_is_map(struct str bytes);

/* One binary message. The packet borrows from `scratch`, which is emptied first; the
 * attachments are appended to `attachments`, each behind its length (4 bytes, big
 * endian), and stand in the body as {"_placeholder":true,"num":n}; their number makes an
 * event or ack binary. RC_INVALID for what the reference refuses, for a negative id, a
 * namespace that text could not carry, attachments in another packet than event or ack;
 * else as sio_packet_decode(). The text is at most some six times as long as the bytes.
 */
MUST_CHECK enum rc
sio_msgpack_decode(struct str bytes, const struct sio_limits *limits, struct buf *scratch,
                   struct sio_packet *out, struct buf *attachments);

/* Appends a packet as one map. `body` is its JSON (len 0: none), `attachments` as above;
 * head->n_attachments is not looked at. RC_INVALID: not JSON, or damaged attachments.
 * RC_TOOBIG: deeper than SIO_JSON_DEPTH_MAX, or so many placeholders share an attachment
 * that the map would be more than some four times as long as what it is made of. Nothing
 * is appended then. */
MUST_CHECK enum rc sio_msgpack_encode(const struct sio_head *head, struct str body,
                                      struct str attachments, struct buf *out);

#endif
