/*
 * What a web server sends on one connection: records become one request at a time. Pure.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_INBOUND_H
#define SIOLITE_FCGI_INBOUND_H

#include "fcgi/record.h"

/* The CGI variables of one request; a web server's own limits for headers are 8 to 64 kB.
 */
#define FCGI_PARAMS_BYTES_MAX 65536

/* IDLE: no request. PARAMS: its variables are coming. STDIN: they are complete, the body
 * is coming. DONE: all is here; the request lasts until fcgi_inbound_finish(). */
enum fcgi_inbound_state {
    FCGI_INBOUND_IDLE,
    FCGI_INBOUND_PARAMS,
    FCGI_INBOUND_STDIN,
    FCGI_INBOUND_DONE
};

/* A stream: a view of the input while one record is all of it, else a copy. */
struct fcgi_stream {
    struct buf bytes;   /* borrowed while its cap is 0 */
    bool is_too_big;    /* over the limit; its bytes are thrown away */
    bool is_handed_out; /* complete; freed by the next call */
};

/* All zero is the beginning of a connection. Fields are for reading; valid unless IDLE:
 * req_id, is_kept. */
struct fcgi_inbound {
    struct fcgi_reader reader;
    struct fcgi_stream stream; /* the variables, then the body */
    struct buf control; /* a BEGIN_REQUEST or GET_VALUES of which a part is missing */
    enum fcgi_inbound_state state;
    uint16_t req_id;
    bool is_kept; /* the connection goes on after the answer */
};

struct fcgi_limits {
    size_t body_bytes_max;
    size_t n_conns_max; /* told to a web server that asks */
};

/* What happened. `data` borrows from the input or the struct until the next call. */
enum fcgi_event {
    FCGI_EV_NONE,  /* all input is consumed */
    FCGI_EV_HEAD,  /* data: the variables, as pairs; is_too_big: they are not here, refuse
                    */
    FCGI_EV_BODY,  /* data: the whole body; is_too_big: it is not here */
    FCGI_EV_ABORT, /* nobody wants the answer; the state is as before: say
                      fcgi_inbound_finish() */
    FCGI_EV_REFUSED, /* another role: `reply` holds the answer; is_kept says whether to go
                        on */
};
struct fcgi_happening {
    enum fcgi_event event;
    struct str data;
    bool is_too_big;
};

/* Takes bytes from the front until something happened. Answers that concern the protocol
 * alone are appended to `reply`. RC_INVALID: not FastCGI as we know it; the connection
 * must be closed. */
MUST_CHECK enum rc fcgi_inbound_next(struct fcgi_inbound *in, struct str *bytes,
                                     const struct fcgi_limits *limits, struct buf *reply,
                                     struct fcgi_happening *out);
/* The request was answered, or is not wanted any more: the next one may come. What still
 * comes of this one is ignored. */
void fcgi_inbound_finish(struct fcgi_inbound *in);
void fcgi_inbound_fini(struct fcgi_inbound *in);

#endif
