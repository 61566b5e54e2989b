/*
 * siolite doctor: HTTP requests to the installation, several at a time, each on a
 * connection of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CTL_DOCTOR_HTTP_H
#define SIOLITE_STORE_CTL_DOCTOR_HTTP_H

#include <curl/curl.h>

#include "core/base/buf.h"

enum { DOCTOR_HTTP_MS = 20000 }; /* what an answer may take that is not held */

struct doctor_http;
struct doctor_reply {
    struct buf head, body;           /* head: the lines of the last answer */
    long status;                     /* 0: no answer */
    char error[CURL_ERROR_SIZE + 1]; /* why there is none */
    int64_t ms;                      /* how long it took */
};
struct doctor_request;

/* RC_INVALID: no http:// or https:// URL. `path` is added where the URL has none. */
MUST_CHECK enum rc doctor_http_create(struct doctor_http **out, const char *url,
                                      const char *path, bool is_insecure);
void doctor_http_destroy(struct doctor_http *h);
const char *doctor_http_url(const struct doctor_http *h);    /* with a slash at its end */
const char *doctor_http_origin(const struct doctor_http *h); /* "https://example.org" */

/* `query` without '?', or a name behind the path if it has no '='; `headers`: lines, ""
 * ends the list; `body`: NULL for none. */
struct doctor_request *
doctor_http_start(struct doctor_http *h, const char *method, const char *query,
                  const char *const *headers, struct str body);
/* Works on all that were started, for `ms` at most; true: this one (NULL: none) is done.
 */
bool doctor_http_wait(struct doctor_http *h, struct doctor_request *r, int64_t ms);
const struct doctor_reply *doctor_http_reply(const struct doctor_request *r);
/* Ends it, done or not: a connection that still waits is closed. Accepts NULL. */
void doctor_http_drop(struct doctor_http *h, struct doctor_request *r);

/* A header of the answer, len 0 if absent; *n: how often it is there. */
struct str doctor_reply_header(const struct doctor_reply *r, const char *name, size_t *n);

#endif
