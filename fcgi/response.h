/*
 * The engine's answer in CGI form: "Status:" and other header lines, an empty line, the
 * body; compressed where both sides want it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_RESPONSE_H
#define SIOLITE_FCGI_RESPONSE_H

#include "fcgi/request.h"

/* One deflater for the process: 256 kB once it was needed. */
struct fcgi_deflater;
struct fcgi_deflater *fcgi_deflater_create(void);
void fcgi_deflater_destroy(struct fcgi_deflater *d);

/* Appends the header block to `head` and says in *body what follows it: the answer's
 * body, or its compressed form in the deflater, borrowed until the next call. */
void fcgi_response_encode(struct fcgi_deflater *d, struct buf *head, struct str *body,
                          const struct engine_answer *a, enum fcgi_coding coding);

#endif
