/*
 * The request line of an Engine.IO request: query parameters, and the checks that need no
 * state (socketio.md 1.2).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_EIO_REQUEST_H
#define SIOLITE_CORE_EIO_REQUEST_H

#include "core/base/buf.h"

enum eio_transport { EIO_POLLING = 0, EIO_WEBSOCKET = 1 };

/* The error answers of the reference, with code and text on the wire. EIO_E_NONE: no
 * error. */
/* EIO-ERROR */
#define EIO_ERROR_LIST(X)                                                                \
    X(TRANSPORT_UNKNOWN, 0, 400, "Transport unknown")                                    \
    X(SID_UNKNOWN, 1, 400, "Session ID unknown")                                         \
    X(BAD_HANDSHAKE_METHOD, 2, 400, "Bad handshake method")                              \
    X(BAD_REQUEST, 3, 400, "Bad request")                                                \
    X(FORBIDDEN, 4, 403, "Forbidden")                                                    \
    X(BAD_PROTOCOL, 5, 400, "Unsupported protocol version")                              \
    X(TOO_MANY, 6, 429, "Too many requests") /* ours: handshakes_per_s */
enum eio_error {
    EIO_E_NONE = -1,
#define X(name, code, status, text) EIO_E_##name = code,
    EIO_ERROR_LIST(X)
#undef X
};
int eio_error_status(enum eio_error e);       /* the HTTP status */
const char *eio_error_text(enum eio_error e); /* the message */
void
eio_error_encode(struct buf *b, enum eio_error e,
                 const char *text); /* {"code":…,"message":…}; text NULL: the usual one */

/* A decoded query parameter; both borrow from the buffer given to eio_query_decode. */
struct eio_param {
    struct str name, value;
};
#define EIO_PARAMS_MAX 256
/* Percent-decodes `query` (no leading '?') in application/x-www-form-urlencoded manner
 * into `scratch` (cleared first; params borrow from it). At most EIO_PARAMS_MAX, more:
 * RC_TOOBIG. Broken percent-escapes stay as they are, as in Node's querystring. A
 * repeated name: all are kept, the last counts, as in the reference. */
MUST_CHECK enum rc eio_query_decode(struct str query, struct buf *scratch,
                                    struct eio_param *params, size_t *n_params);

struct eio_request {
    int protocol;              /* 4 if EIO is exactly "4", else 3 */
    struct str transport_name; /* as sent */
    bool has_transport;        /* it names a transport that we know */
    enum eio_transport transport;
    struct str eio_sid; /* SECRET; len 0 and has_eio_sid false when absent */
    bool has_eio_sid;
    bool is_b64;      /* b64 parameter present and not empty */
    struct str jsonp; /* the digits of j, len 0 when absent */
    bool has_jsonp;
};
/* Picks our parameters out of a decoded query. Never fails: what is missing or odd is
 * judged by the engine. */
void eio_request_decode(const struct eio_param *params, size_t n_params,
                        struct eio_request *out);
/* {"EIO":"4",…} as JSON object of strings; the last of a repeated name wins. */
void
eio_query_encode_json(struct buf *b, const struct eio_param *params, size_t n_params);

/* Is this URL path ours? `path` is "/socket.io"; matches "/socket.io/" and everything
 * below it; where no slash is needed "/socket.io" too. */
bool eio_path_is_ours(struct str url_path, const char *path, bool is_slash_needed);

#endif
