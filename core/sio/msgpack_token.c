/*
 * The reader of tokens. Nothing is read outside the view, and a length in the input is
 * believed only where so many bytes follow, or where it counts items that will be read
 * one by one.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/msgpack_token.h"

#include <string.h>

enum {
    EXT_JS = 0,        /* notepack 2: undefined, Date or ArrayBuffer, by its form */
    EXT_TIMESTAMP = -1 /* of the specification */
};
static const int64_t DATE_MS_MAX = INT64_C(8640000000000000); /* as JavaScript's Date */

struct sio_reader
sio_msgpack_reader_of(struct str bytes)
{
    const unsigned char *p = (const unsigned char *)(bytes.len ? bytes.p : "");
    return (struct sio_reader){p, p + bytes.len};
}

enum rc
sio_msgpack_uint_read(struct sio_reader *r, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->p) < n)
        return RC_INVALID;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | r->p[i];
    r->p += n;
    *out = v;
    return RC_OK;
}

enum rc
sio_msgpack_bytes_read(struct sio_reader *r, uint64_t n, struct str *out)
{
    if ((uint64_t)(r->end - r->p) < n)
        return RC_INVALID;
    *out = (struct str){(const char *)r->p, (size_t)n};
    r->p += n;
    return RC_OK;
}

static void
set_date(struct sio_token *t, int64_t ms)
{
    bool is_valid = ms >= -DATE_MS_MAX && ms <= DATE_MS_MAX;
    t->kind = is_valid ? SIO_MP_DATE : SIO_MP_NO_DATE;
    t->number = (uint64_t)ms;
}

/* 4 bytes: seconds; 8: nanoseconds (30 bits), seconds (34); 12: nanoseconds, signed
 * seconds. */
static enum rc
set_timestamp(struct sio_token *t)
{
    struct sio_reader r = sio_msgpack_reader_of(t->bytes);
    uint64_t ns = 0, s = 0;
    enum rc rc = RC_OK;
    if (t->bytes.len == 12)
        rc = sio_msgpack_uint_read(&r, 4, &ns);
    if (rc == RC_OK)
        rc = sio_msgpack_uint_read(&r, t->bytes.len == 4 ? 4 : 8, &s);
    if (rc != RC_OK)
        return rc;
    if (t->bytes.len == 8) {
        ns = s >> 34;
        s &= (UINT64_C(1) << 34) - 1;
    }
    if (ns > 999999999)
        return RC_INVALID;
    int64_t seconds = (int64_t)s;
    if (seconds < -DATE_MS_MAX / 1000 - 1 || seconds > DATE_MS_MAX / 1000)
        t->kind = SIO_MP_NO_DATE;
    else
        set_date(t, seconds * 1000 + (int64_t)(ns / 1000000));
    return RC_OK;
}

static enum rc
read_ext(struct sio_reader *r, uint64_t len, bool is_fixed, struct sio_token *t)
{
    uint64_t type;
    enum rc rc = sio_msgpack_uint_read(r, 1, &type);
    if (rc == RC_OK)
        rc = sio_msgpack_bytes_read(r, len, &t->bytes);
    if (rc != RC_OK)
        return rc;
    t->kind = SIO_MP_EXT;
    t->ext_type = (int8_t)type;
    if (t->ext_type == EXT_JS && is_fixed && len == 1) {
        t->kind = SIO_MP_UNDEFINED;
    } else if (t->ext_type == EXT_JS && is_fixed && len == 8) {
        struct sio_reader ms = sio_msgpack_reader_of(t->bytes);
        rc = sio_msgpack_uint_read(&ms, 8, &t->number);
        set_date(t, (int64_t)t->number);
    } else if (t->ext_type == EXT_JS) {
        t->kind = SIO_MP_BIN;
    } else if (t->ext_type == EXT_TIMESTAMP && (len == 4 || len == 8 || len == 12)) {
        rc = set_timestamp(t);
    }
    return rc;
}

static void
set_int(struct sio_token *t, int64_t v)
{
    t->kind = v < 0 ? SIO_MP_NEGATIVE : SIO_MP_UNSIGNED;
    t->number = (uint64_t)v;
}

/* A big-endian number of 1, 2, 4 or 8 bytes with its sign. */
static enum rc
read_int(struct sio_reader *r, size_t n, struct sio_token *t)
{
    uint64_t v, sign = UINT64_C(1) << (8 * n - 1);
    enum rc rc = sio_msgpack_uint_read(r, n, &v);
    if (rc == RC_OK)
        set_int(t, (int64_t)((v ^ sign) - sign));
    return rc;
}

static enum rc
read_float(struct sio_reader *r, bool is_double, struct sio_token *t)
{
    uint64_t v;
    enum rc rc = sio_msgpack_uint_read(r, is_double ? 8 : 4, &v);
    if (rc != RC_OK)
        return rc;
    t->kind = SIO_MP_FLOATING;
    if (is_double) {
        memcpy(&t->real, &v, sizeof t->real);
    } else {
        uint32_t bits = (uint32_t)v;
        float single;
        memcpy(&single, &bits, sizeof single);
        t->real = single;
    }
    return RC_OK;
}

/* `n` bytes of length, and, but for containers, so many bytes. */
static enum rc
read_counted(struct sio_reader *r, size_t n, enum sio_token_kind kind,
             struct sio_token *t)
{
    enum rc rc = sio_msgpack_uint_read(r, n, &t->number);
    t->kind = kind;
    if (rc == RC_OK && (kind == SIO_MP_STRING || kind == SIO_MP_BIN))
        rc = sio_msgpack_bytes_read(r, t->number, &t->bytes);
    else if (rc == RC_OK && kind == SIO_MP_EXT)
        rc = read_ext(r, t->number, false, t);
    return rc;
}

/* A token with the prefixes 0xc0 to 0xdf. */
static enum rc
read_prefixed(struct sio_reader *r, unsigned prefix, struct sio_token *t)
{
    switch (prefix) {
    case 0xc0:
        t->kind = SIO_MP_NIL;
        return RC_OK;
    case 0xc2:
    case 0xc3:
        t->kind = prefix == 0xc2 ? SIO_MP_FALSE : SIO_MP_TRUE;
        return RC_OK;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_counted(r, (size_t)1 << (prefix - 0xc4), SIO_MP_BIN, t);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_counted(r, (size_t)1 << (prefix - 0xc7), SIO_MP_EXT, t);
    case 0xca:
    case 0xcb:
        return read_float(r, prefix == 0xcb, t);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_counted(r, (size_t)1 << (prefix - 0xcc), SIO_MP_UNSIGNED, t);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_int(r, (size_t)1 << (prefix - 0xd0), t);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return read_ext(r, (uint64_t)1 << (prefix - 0xd4), true, t);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_counted(r, (size_t)1 << (prefix - 0xd9), SIO_MP_STRING, t);
    case 0xdc:
    case 0xdd:
        return read_counted(r, (size_t)2 << (prefix - 0xdc), SIO_MP_ARRAY, t);
    case 0xde:
    case 0xdf:
        return read_counted(r, (size_t)2 << (prefix - 0xde), SIO_MP_MAP, t);
    default:
        return RC_INVALID;
    }
}

enum rc
sio_msgpack_token_read(struct sio_reader *r, struct sio_token *t)
{
    uint64_t prefix;
    if (sio_msgpack_uint_read(r, 1, &prefix) != RC_OK)
        return RC_INVALID;
    *t = (struct sio_token){.kind = SIO_MP_UNSIGNED, .number = prefix};
    if (prefix < 0x80)
        return RC_OK;
    if (prefix >= 0xe0) {
        set_int(t, (int64_t)prefix - 0x100);
        return RC_OK;
    }
    if (prefix >= 0xc0)
        return read_prefixed(r, (unsigned)prefix, t);
    if (prefix >= 0xa0) {
        t->kind = SIO_MP_STRING;
        return sio_msgpack_bytes_read(r, prefix & 0x1f, &t->bytes);
    }
    t->kind = prefix < 0x90 ? SIO_MP_MAP : SIO_MP_ARRAY;
    t->number = prefix & 0x0f;
    return RC_OK;
}
