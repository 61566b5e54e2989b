/*
 * From packets to MessagePack. The JSON is scanned once as a whole, then walked by its
 * characters. A container's header is written as if it had few items, and widened at its
 * end if it has more; an object that turns out to be a placeholder becomes its attachment
 * then.
 *
 * Invariants:
 * 1. Nothing is read outside the views.
 * 2. Nothing recurses; the depth is bounded by SIO_JSON_DEPTH_MAX, the size of the stack.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"
#include "core/sio/msgpack.h"
#include "core/sio/msgpack_token.h"

enum { LENGTH_BYTES = 4 };

static void
put_uint(struct buf *b, unsigned prefix, uint64_t v, int n_bytes)
{
    buf_append_c(b, (char)prefix);
    for (int shift = 8 * (n_bytes - 1); shift >= 0; shift -= 8)
        buf_append_c(b, (char)(v >> shift));
}

static void
put_unsigned(struct buf *b, uint64_t v)
{
    if (v < 0x80)
        buf_append_c(b, (char)v);
    else if (v <= UINT8_MAX)
        put_uint(b, 0xcc, v, 1);
    else if (v <= UINT16_MAX)
        put_uint(b, 0xcd, v, 2);
    else if (v <= UINT32_MAX)
        put_uint(b, 0xce, v, 4);
    else
        put_uint(b, 0xcf, v, 8);
}

static void
put_negative(struct buf *b, int64_t v)
{
    if (v >= -0x20)
        buf_append_c(b, (char)v);
    else if (v >= INT8_MIN)
        put_uint(b, 0xd0, (uint64_t)v, 1);
    else if (v >= INT16_MIN)
        put_uint(b, 0xd1, (uint64_t)v, 2);
    else if (v >= INT32_MIN)
        put_uint(b, 0xd2, (uint64_t)v, 4);
    else
        put_uint(b, 0xd3, (uint64_t)v, 8);
}

static void
put_double(struct buf *b, double v)
{
    uint64_t bits;
    if (v == floor(v) && v >= 0 && v < 18446744073709551616.0) {
        put_unsigned(b, (uint64_t)v);
    } else if (v == floor(v) && v < 0 && v >= -9223372036854775808.0) {
        put_negative(b, (int64_t)v);
    } else {
        memcpy(&bits, &v, sizeof bits);
        put_uint(b, 0xcb, bits, 8);
    }
}

/* A JSON number: integers exactly as far as 64 bits go, all else as the nearest double.
 */
static void
put_number(struct buf *b, struct str text)
{
    bool is_negative = text.p[0] == '-', is_int = true;
    uint64_t v = 0;
    for (size_t i = is_negative; i < text.len && is_int; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text.p[i] - '0';
        is_int = digit <= 9 && v <= (UINT64_MAX - digit) / 10;
        v = is_int ? v * 10 + digit : v;
    }
    if (is_int && !is_negative) {
        put_unsigned(b, v);
    } else if (is_int && v <= INT64_MAX) {
        if (v == 0)
            put_unsigned(b, 0);
        else
            put_negative(b, -(int64_t)v);
    } else {
        char *z = str_dup(text);
        put_double(b, strtod(z, NULL));
        free(z);
    }
}

static void
put_string(struct buf *b, struct str s)
{
    if (s.len < 0x20)
        buf_append_c(b, (char)(0xa0 | s.len));
    else if (s.len <= UINT8_MAX)
        put_uint(b, 0xd9, s.len, 1);
    else if (s.len <= UINT16_MAX)
        put_uint(b, 0xda, s.len, 2);
    else
        put_uint(b, 0xdb, s.len, 4);
    buf_append_str(b, s);
}

static void
put_bin(struct buf *b, struct str s)
{
    if (s.len <= UINT8_MAX)
        put_uint(b, 0xc4, s.len, 1);
    else if (s.len <= UINT16_MAX)
        put_uint(b, 0xc5, s.len, 2);
    else
        put_uint(b, 0xc6, s.len, 4);
    buf_append_str(b, s);
}

enum key { KEY_OTHER, KEY_PLACEHOLDER, KEY_NUM };

struct open {               /* an open bracket of the JSON */
    size_t head_at;         /* where its header stands in the output */
    size_t n;               /* items, or pairs */
    bool is_object, is_key; /* is_key: of an object, a string that comes next is a key */
    enum key key;           /* the last one; of a placeholder, in the sense of json.h */
    bool is_placeholder;
    int64_t num; /* -1: none */
};

struct encoder {
    struct buf *out;
    struct str attachments;
    size_t len_max;    /* of `out` */
    struct buf string; /* scratch: unescaped */
    struct open open[SIO_JSON_DEPTH_MAX];
    size_t depth;
};

/* The attachment number `num`; RC_NOTFOUND: there are not so many. */
static enum rc
attachment_at(struct str attachments, int64_t num, struct str *out)
{
    struct sio_reader r = sio_msgpack_reader_of(attachments);
    uint64_t len;
    for (;;) {
        if (r.p == r.end)
            return RC_NOTFOUND;
        if (sio_msgpack_uint_read(&r, LENGTH_BYTES, &len) != RC_OK ||
            sio_msgpack_bytes_read(&r, len, out) != RC_OK)
            return RC_INVALID;
        if (num-- == 0)
            return RC_OK;
    }
}

/* A value in the open container: counted; what it says about a placeholder. */
static void
note_value(struct encoder *e, struct str value)
{
    struct open *o = e->depth ? &e->open[e->depth - 1] : NULL;
    if (o == NULL)
        return;
    o->n++;
    if (o->is_object && o->key == KEY_PLACEHOLDER)
        o->is_placeholder = str_eqz(value, "true");
    else if (o->is_object && o->key == KEY_NUM &&
             str_to_int(value, 0, INT64_MAX, &o->num) != RC_OK)
        o->num = -1;
    o->key = KEY_OTHER;
}

static enum rc
encode_string(struct encoder *e, struct str literal)
{
    struct open *o = e->depth ? &e->open[e->depth - 1] : NULL;
    struct str s = str_slice(literal, 1, literal.len - 1);
    if (str_index(s, '\\') < s.len) {
        buf_clear(&e->string);
        enum rc rc = sio_json_unquote(literal, &e->string);
        if (rc != RC_OK)
            return rc;
        s = buf_str(&e->string);
    }
    put_string(e->out, s);
    if (o != NULL && o->is_object && o->is_key) {
        o->is_key = false;
        o->key = str_eqz(s, "_placeholder") ? KEY_PLACEHOLDER
                 : str_eqz(s, "num")        ? KEY_NUM
                                            : KEY_OTHER;
    } else {
        note_value(e, literal);
    }
    return RC_OK;
}

static enum rc
encode_open(struct encoder *e, bool is_object)
{
    if (e->depth == SIO_JSON_DEPTH_MAX)
        return RC_TOOBIG;
    note_value(e, STR_NONE);
    e->open[e->depth++] = (struct open){
        .head_at = e->out->len, .is_object = is_object, .is_key = is_object, .num = -1};
    buf_append_c(e->out, 0);
    return RC_OK;
}

/* Writes the header at its place, which has room for that of a short container. */
static void
mend_header(struct buf *b, const struct open *o)
{
    size_t wider = o->n < 0x10 ? 0 : o->n <= UINT16_MAX ? 2 : 4;
    if (wider > 0) {
        size_t from = o->head_at + 1, n = b->len - from;
        buf_reserve(b, wider);
        memmove(b->p + from + wider, b->p + from, n);
        b->len += wider;
    }
    unsigned char *p = (unsigned char *)b->p + o->head_at;
    if (wider == 0)
        *p = (unsigned char)((o->is_object ? 0x80 : 0x90) | o->n);
    else
        *p = (unsigned char)((o->is_object ? 0xde : 0xdc) + (wider == 4));
    for (size_t i = 0; i < wider; i++)
        p[wider - i] = (unsigned char)(o->n >> (8 * i));
}

static enum rc
encode_close(struct encoder *e)
{
    if (e->depth == 0)
        return RC_INVALID;
    struct open *o = &e->open[--e->depth];
    struct str bytes;
    if (o->is_object && o->is_placeholder && o->num >= 0) {
        enum rc rc = attachment_at(e->attachments, o->num, &bytes);
        if (rc == RC_OK) {
            e->out->len = o->head_at;
            if (bytes.len > e->len_max - e->out->len)
                return RC_TOOBIG;
            put_bin(e->out, bytes);
            return RC_OK;
        }
        if (rc != RC_NOTFOUND)
            return rc;
    }
    mend_header(e->out, o);
    return RC_OK;
}

static enum rc
encode_scalar(struct encoder *e, struct str *rest)
{
    enum sio_json_kind kind;
    struct str value;
    enum rc rc = sio_json_scan(*rest, 1, &kind, &value, rest);
    if (rc != RC_OK)
        return rc;
    note_value(e, value);
    switch (kind) {
    case SIO_JSON_NULL:
        buf_append_c(e->out, (char)0xc0);
        return RC_OK;
    case SIO_JSON_TRUE:
        buf_append_c(e->out, (char)0xc3);
        return RC_OK;
    case SIO_JSON_FALSE:
        buf_append_c(e->out, (char)0xc2);
        return RC_OK;
    case SIO_JSON_NUMBER:
        put_number(e->out, value);
        return RC_OK;
    case SIO_JSON_STRING:
    case SIO_JSON_ARRAY:
    case SIO_JSON_OBJECT:
        return RC_INVALID;
    }
    return RC_INVALID;
}

/* `json` is one value, scanned before. */
static enum rc
encode_value(struct encoder *e, struct str json)
{
    enum rc rc = RC_OK;
    while (json.len > 0 && rc == RC_OK) {
        size_t n = 1;
        switch (json.p[0]) {
        case '[':
        case '{':
            rc = encode_open(e, json.p[0] == '{');
            break;
        case ']':
        case '}':
            rc = encode_close(e);
            break;
        case '"':
            n = sio_json_string_len(json);
            rc = n ? encode_string(e, str_slice(json, 0, n)) : RC_INVALID;
            break;
        case ',':
            if (e->depth > 0)
                e->open[e->depth - 1].is_key = true;
            break;
        case ':':
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            break;
        default:
            rc = encode_scalar(e, &json);
            n = 0;
        }
        if (rc == RC_OK && e->out->len > e->len_max)
            rc = RC_TOOBIG;
        json = str_slice(json, n, json.len);
    }
    return rc;
}

static enum rc
encode_body(struct str body, struct str attachments, struct buf *out)
{
    struct str value, rest;
    enum sio_json_kind kind;
    enum rc rc = sio_json_scan(body, SIO_JSON_DEPTH_MAX, &kind, &value, &rest);
    if (rc != RC_OK)
        return rc;
    if (sio_json_skip_space(rest).len > 0)
        return RC_INVALID;
    struct encoder e;
    e.out = out;
    e.attachments = attachments;
    e.len_max = out->len + 4 * (body.len + attachments.len) + 64;
    e.depth = 0;
    buf_init(&e.string);
    rc = encode_value(&e, value);
    buf_fini(&e.string);
    return rc;
}

enum rc
sio_msgpack_encode(const struct sio_head *head, struct str body, struct str attachments,
                   struct buf *out)
{
    size_t start = out->len;
    enum sio_type type = head->type == SIO_BINARY_EVENT ? SIO_EVENT
                         : head->type == SIO_BINARY_ACK ? SIO_ACK
                                                        : head->type;
    bool is_list = type == SIO_EVENT || type == SIO_ACK;
    bool has_data = body.len > 0 || is_list;
    enum rc rc = RC_OK;
    buf_append_c(out, (char)(0x82 + has_data + head->has_ack_id));
    put_string(out, STR("type"));
    put_unsigned(out, (uint64_t)type);
    if (has_data) {
        put_string(out, STR("data"));
        rc = encode_body(body.len > 0 ? body : STR("[]"), attachments, out);
    }
    if (rc != RC_OK) {
        out->len = start;
        return rc;
    }
    put_string(out, STR("nsp"));
    put_string(out, head->nsp.len > 0 ? head->nsp : STR("/"));
    if (head->has_ack_id) {
        put_string(out, STR("id"));
        put_unsigned(out, (uint64_t)head->ack_id);
    }
    return RC_OK;
}
