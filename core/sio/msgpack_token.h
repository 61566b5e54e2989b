/*
 * MessagePack, token by token: scalars whole, containers by their headers; extensions as
 * what they mean to JavaScript (msgpack.h), if anything.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_SIO_MSGPACK_TOKEN_H
#define SIOLITE_CORE_SIO_MSGPACK_TOKEN_H

#include "core/base/str.h"

enum sio_token_kind {
    SIO_MP_NIL,
    SIO_MP_FALSE,
    SIO_MP_TRUE,
    SIO_MP_UNSIGNED,  /* number */
    SIO_MP_NEGATIVE,  /* number, as an int64_t below 0 */
    SIO_MP_FLOATING,  /* real */
    SIO_MP_STRING,    /* bytes */
    SIO_MP_BIN,       /* bytes */
    SIO_MP_ARRAY,     /* number: of its items */
    SIO_MP_MAP,       /* number: of its pairs */
    SIO_MP_UNDEFINED, /* nothing */
    SIO_MP_DATE,      /* number, as an int64_t: ms since 1970 */
    SIO_MP_NO_DATE,   /* a date that JavaScript has no value for */
    SIO_MP_EXT        /* ext_type, bytes */
};

struct sio_token {
    enum sio_token_kind kind;
    uint64_t number;
    double real;
    int ext_type;
    struct str bytes;
};

struct sio_reader {
    const unsigned char *p, *end;
};

/* A reader of `bytes`, which it borrows. */
struct sio_reader sio_msgpack_reader_of(struct str bytes);
/* Each moves the reader behind what it reads; RC_INVALID: it ends before, or no token
 * begins so. */
MUST_CHECK enum rc sio_msgpack_token_read(struct sio_reader *r, struct sio_token *out);
/* A big-endian number of at most 8 bytes. */
MUST_CHECK enum rc
sio_msgpack_uint_read(struct sio_reader *r, size_t n_bytes, uint64_t *out);
MUST_CHECK enum rc
sio_msgpack_bytes_read(struct sio_reader *r, uint64_t n, struct str *out);

#endif
