/*
 * Engine.IO packets and payloads, revisions 3 and 4: bytes in, structs out; no clock, no
 * socket, no log.
 *
 * A payload is the body of one polling GET answer or POST; a packet is one type digit
 * plus data. Revision 4: packets joined by 0x1e; binary as 'b' + base64 (always a
 * message). Revision 3: `<len>:<packet>` with len in UTF-16 units, binary 'b4' + base64;
 * or the binary framing (octet-stream).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_EIO_PAYLOAD_H
#define SIOLITE_CORE_EIO_PAYLOAD_H

#include "core/base/buf.h"

enum eio_type {
    EIO_OPEN = 0,
    EIO_CLOSE = 1,
    EIO_PING = 2,
    EIO_PONG = 3,
    EIO_MESSAGE = 4,
    EIO_UPGRADE = 5,
    EIO_NOOP = 6
};

struct eio_packet {
    enum eio_type type;
    bool is_binary;  /* only messages */
    struct str data; /* borrows from the payload, or from the reader's scratch (decoded
                        base64) until the next packet */
};

/* Reads a payload packet by packet. All zero plus eio_payload_read_init(). */
struct eio_payload_reader {
    struct str rest;
    int protocol;        /* 3 or 4 */
    bool is_octets;      /* revision 3, application/octet-stream: the binary framing */
    bool is_double_utf8; /* revision 3: the session is known to be a 1.x client
                            (eio3.md 3.3); set and kept by the caller */
    bool is_single_utf8; /* revision 3: proved to be 2.x; both false: decide packet by
                            packet and set one of them */
    bool is_started;
    struct buf scratch;
};
void eio_payload_read_init(struct eio_payload_reader *r, int protocol, bool is_octets,
                           struct str payload);
void eio_payload_read_fini(struct eio_payload_reader *r);
/* The next packet; RC_NOTFOUND at the end; RC_INVALID for what the reference refuses: an
 * empty body, a trailing or doubled separator, an unknown type, bad base64, text that is
 * not UTF-8, a wrong length. EIO-PAYLOAD. */
MUST_CHECK enum rc eio_payload_read(struct eio_payload_reader *r, struct eio_packet *out);

/* One WebSocket message; revision 3 binary has its type byte in front. RC_INVALID as
 * above, and for base64 in a text message, which the next function takes. */
MUST_CHECK enum rc eio_packet_decode(int protocol, bool is_binary, struct str message,
                                     struct eio_packet *out);
/* The same for a peer that may send binary as text ("b…" in revision 4, "b4…" in revision
 * 3): decoded into `scratch`, which is cleared first and must outlive the packet. */
MUST_CHECK enum rc
eio_packet_decode_base64(int protocol, bool is_binary, struct str message,
                         struct buf *scratch, struct eio_packet *out);

/* Appends to a payload. `n_before` = packets already in `b`. Revision 4 text, or revision
 * 3 text framing (is_octets false). */
void eio_payload_append(struct buf *b, int protocol, size_t n_before,
                        const struct eio_packet *p);
/* Revision 3 binary framing. */
void eio_payload_append_octets(struct buf *b, const struct eio_packet *p);

struct eio_open {
    const char *eio_sid;
    bool can_upgrade; /* upgrades: ["websocket"], else [] */
    int64_t ping_interval_ms, ping_timeout_ms, max_payload_bytes;
};
/* The data of the open packet (without the type digit): the handshake's JSON. EIO-OPEN.
 */
void eio_open_encode(struct buf *b, const struct eio_open *o);

/* JSONP (eio3.md 3.4): wraps a payload as `___eio[j]("…");`; decodes the form body `d=…`
 * of a POST into a payload. */
void eio_jsonp_wrap(struct buf *b, struct str j_digits, struct str payload);
MUST_CHECK enum rc eio_jsonp_unwrap(struct str form_body, struct buf *payload);

#endif
