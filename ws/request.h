/*
 * The head of an HTTP request: bytes in, struct out. The sidecar reads heads itself and
 * gives libwebsockets 4.1.6 a short one of its own, because that library cannot list the
 * headers of a request, limits them to a table, and hangs up on escapes that it dislikes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_REQUEST_H
#define SIOLITE_WS_REQUEST_H

#include "core/engine/engine.h"

#define WS_HEAD_MAX 16384 /* bytes of request line and headers, as in Node */
#define WS_HEADERS_MAX 128

enum ws_upgrade {
    WS_UPGRADE_NONE,    /* a plain HTTP request */
    WS_UPGRADE_OK,      /* a WebSocket upgrade that can be answered with 101 */
    WS_UPGRADE_KEY,     /* the key is missing or malformed */
    WS_UPGRADE_VERSION, /* neither version 13 nor 8 */
};

struct ws_request { /* borrows from the bytes it was decoded from */
    struct engine_request
        engine; /* `headers` points to the array below; do not copy the struct */
    struct engine_header headers[WS_HEADERS_MAX];
    enum ws_upgrade upgrade;
    struct str key;         /* Sec-WebSocket-Key, if upgrade is OK */
    struct str subprotocol; /* the first one offered, or len 0 */
    struct str extensions;  /* Sec-WebSocket-Extensions, the first such header */
};

/* How long the head is that begins at `p`, with its empty line; 0: not complete yet.
 * Bytes before `from` were searched before. */
size_t ws_request_head_len(const char *p, size_t len, size_t from);
/* Decodes a complete head; changes it in place (names become lower case). RC_INVALID: not
 * HTTP/1.x; RC_TOOBIG: more than WS_HEADERS_MAX headers. `remote` and `is_https` are not
 * set. */
MUST_CHECK enum rc ws_request_decode(struct ws_request *r, char *head, size_t len);
/* Sets `remote` and `is_https`. `peer` is the address of the connection, "" for a Unix
 * socket, which only a local proxy can open and which is trusted therefore.
 * X-Forwarded-For counts only if `peer` is one of the addresses in `trusted` (separated
 * by spaces): the last address in it that is not trusted itself. */
void ws_request_set_remote(struct ws_request *r, struct str peer, const char *trusted);
/* Cuts the next element off a list, without white space around it; false at the end. */
bool ws_request_next_item(struct str *list, char separator, struct str *item);

#endif
