/*
 * FastCGI records: bytes into pieces of records, records into bytes, name-value pairs.
 * Pure.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_RECORD_H
#define SIOLITE_FCGI_RECORD_H

#include <fastcgi.h>

#include "core/base/buf.h"

/* Where a stream of records stands. All zero: at the beginning of a record. */
struct fcgi_reader {
    unsigned char head[FCGI_HEADER_LEN];
    uint8_t
        n_head; /* bytes of the header that are here; FCGI_HEADER_LEN: in its content */
    uint8_t n_pad;   /* padding still to come */
    uint16_t n_left; /* content still to come */
};

/* Content of a record, or a part of it: as much as has come. */
struct fcgi_piece {
    int type;           /* FCGI_BEGIN_REQUEST … */
    uint16_t req_id;    /* 0: management */
    uint16_t len;       /* of the whole record's content */
    struct str content; /* borrows from the input; empty only if len is 0 */
    bool is_first, is_last;
};

/* Takes the next piece from the front of `bytes`. RC_NOTFOUND: all is consumed, and more
 * is needed; RC_INVALID: another version of the protocol, the stream cannot be understood
 * any more. */
MUST_CHECK enum rc
fcgi_record_next(struct fcgi_reader *r, struct str *bytes, struct fcgi_piece *out);

/* Takes a name-value pair from the front of `pairs`. RC_NOTFOUND: none left; RC_INVALID:
 * a length beyond the end. */
MUST_CHECK enum rc
fcgi_record_next_pair(struct str *pairs, struct str *name, struct str *value);

/* Content of any length, head then body, in records of at most FCGI_MAX_LENGTH; none for
 * an empty one. */
void fcgi_record_encode(struct buf *out, int type, uint16_t req_id, struct str head,
                        struct str body);
/* The empty record that ends a stream. */
void fcgi_record_encode_end(struct buf *out, int type, uint16_t req_id);
/* END_REQUEST; `protocol_status` is FCGI_REQUEST_COMPLETE, FCGI_CANT_MPX_CONN … */
void fcgi_record_encode_finish(struct buf *out, uint16_t req_id, int protocol_status);
void fcgi_record_encode_unknown_type(struct buf *out, int type);
/* GET_VALUES_RESULT: those of the names in `asked` (pairs with empty values) that we
 * know. */
void fcgi_record_encode_values(struct buf *out, struct str asked, size_t n_conns_max);

#endif
