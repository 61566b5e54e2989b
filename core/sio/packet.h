/*
 * Socket.IO packets (protocol 5, and 3/4 of older clients): `<type>[<n>-][<nsp>,][<ack
 * id>][<json>]`. Bodies stay bytes: they are checked by a permissive scanner
 * (core/sio/json.h) and relayed untouched.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_SIO_PACKET_H
#define SIOLITE_CORE_SIO_PACKET_H

#include "core/base/buf.h"

enum sio_type {
    SIO_CONNECT = 0,
    SIO_DISCONNECT = 1,
    SIO_EVENT = 2,
    SIO_ACK = 3,
    SIO_CONNECT_ERROR = 4,
    SIO_BINARY_EVENT = 5,
    SIO_BINARY_ACK = 6
};

struct sio_limits {
    int64_t n_attachments_max;    /* 10 */
    int64_t json_depth_max;       /* 64 */
    int64_t event_name_bytes_max; /* 256 */
    bool is_old; /* a protocol 3/4 client: 0 attachments allowed, CONNECT with ?query and
                    without comma */
};

struct sio_packet {
    enum sio_type type;
    struct str nsp; /* "/" if none; for old clients without the query */
    struct str
        query; /* old clients: what stood behind '?' in the namespace, else len 0 */
    bool is_bare_nsp; /* a namespace without a comma behind it */
    bool has_ack_id;
    int64_t ack_id;
    int64_t n_attachments; /* announced; 0 for types without */
    struct str body;  /* the JSON text without trailing space, len 0 if absent; borrows
                         from the input */
    struct str event; /* events: the raw JSON of the first item ("\"name\"" or "42"); len
                         0 for a bare event */
    struct str args; /* events: what stands between the first item's comma and the closing
                      * bracket; acks: between the brackets. Raw JSON values separated by
                      * commas */
};

/* One text message without the Engine.IO type digit. RC_INVALID exactly for what the
 * reference's parser refuses (socketio.md 1.6, 8.17), RC_TOOBIG for a limit of ours.
 * Placeholders are not checked here. SIO-PACKET. */
MUST_CHECK enum rc sio_packet_decode(struct str text, const struct sio_limits *limits,
                                     struct sio_packet *out);

/* The head of a packet up to its JSON: type, attachments, namespace, ack id. */
struct sio_head {
    enum sio_type type;
    struct str nsp;
    bool has_ack_id;
    int64_t ack_id;
    size_t n_attachments;
};
void sio_head_encode(struct buf *b, const struct sio_head *h);

/* Are all placeholders {"_placeholder":true,"num":n} of the body in range? RC_INVALID if
 * not (binary types only). */
MUST_CHECK enum rc sio_placeholders_check(struct str body, size_t n_attachments);
/* Event names that only the library may use: connect, connect_error, disconnect,
 * disconnecting, newListener, removeListener. `raw` is the JSON string literal, possibly
 * with escapes. */
bool sio_event_is_reserved(struct str raw);

/* Disconnect reasons with their wire spelling (socketio.md 1.9). Numbers are file format:
 * never reuse. */
/* SIO-REASON */
#define SIO_REASON_LIST(X)                                                               \
    X(CLIENT_NSP, 1, "client namespace disconnect")                                      \
    X(SERVER_NSP, 2, "server namespace disconnect")                                      \
    X(SHUTTING_DOWN, 3, "server shutting down")                                          \
    X(PING_TIMEOUT, 4, "ping timeout")                                                   \
    X(TRANSPORT_CLOSE, 5, "transport close")                                             \
    X(TRANSPORT_ERROR, 6, "transport error")                                             \
    X(PARSE_ERROR, 7, "parse error")                                                     \
    X(FORCED_CLOSE, 8, "forced close")                                                   \
    X(FORCED_SERVER_CLOSE, 9, "forced server close")
enum sio_reason {
    SIO_R_NONE = 0,
#define X(name, number, text) SIO_R_##name = number,
    SIO_REASON_LIST(X)
#undef X
};
const char *sio_reason_text(enum sio_reason r);
enum sio_reason sio_reason_find(struct str text); /* SIO_R_NONE if unknown */
/* May a socket that was lost for this reason be recovered (socketio.md 1.10, 3)? */
bool sio_reason_is_recoverable(enum sio_reason r);

#endif
