/*
 * CGI variables, from FastCGI or the environment, into what the engine wants to know of a
 * request. Pure.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_REQUEST_H
#define SIOLITE_FCGI_REQUEST_H

#include "core/base/buf.h"
#include "core/engine/engine.h"

#define FCGI_HEADERS_MAX 256

enum fcgi_coding { FCGI_CODING_NONE, FCGI_CODING_GZIP, FCGI_CODING_DEFLATE };

/* One for each process: a request is only looked at within one call. */
struct fcgi_request {
    struct engine_request engine; /* borrows from the variables and from `text` */
    struct engine_header headers[FCGI_HEADERS_MAX];
    int64_t content_length;  /* -1: not known */
    enum fcgi_coding coding; /* of the answer, as Accept-Encoding allows */

    /* Private, while the variables are taken. */
    struct buf text; /* header names, a joined path */
    struct str request_uri, script_name, path_info, query_string;
};

void fcgi_request_fini(struct fcgi_request *r);

/* Begins a new request whose variables take `n_bytes` at most, names and values together.
 */
void fcgi_request_begin(struct fcgi_request *r, size_t n_bytes);
/* One variable; both strings must live as long as the request is used. RC_TOOBIG: more
 * than FCGI_HEADERS_MAX headers. */
MUST_CHECK enum rc
fcgi_request_add(struct fcgi_request *r, struct str name, struct str value);
/* All variables are there. `trusted_proxy`: addresses, separated by spaces, whose
 * X-Forwarded-For is believed. */
void fcgi_request_end(struct fcgi_request *r, const char *trusted_proxy);

#endif
