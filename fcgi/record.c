/*
 * FastCGI records. What a sequence of them means is inbound.c's business.
 *
 * Invariants: 1. fcgi_record_next() either consumes something or says RC_NOTFOUND or
 * RC_INVALID.
 * 2. The pieces of a record come in order, and their lengths add up to its length.
 * 3. Nothing is allocated for what a peer sends.
 *
 * Pure functions; the FastCGI front's loop thread and the fuzzer run them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void
encode_head(struct buf *out, int type, uint16_t req_id, size_t len)
{
    assert(len <= FCGI_MAX_LENGTH);
    buf_append(out,
               &(FCGI_Header){.version = FCGI_VERSION_1,
                              .type = (unsigned char)type,
                              .requestIdB1 = (unsigned char)(req_id >> 8),
                              .requestIdB0 = (unsigned char)(req_id & 0xff),
                              .contentLengthB1 = (unsigned char)(len >> 8),
                              .contentLengthB0 = (unsigned char)(len & 0xff)},
               FCGI_HEADER_LEN);
}

/* A length: one byte, or four with the highest bit set. */
static enum rc
decode_length(struct str *pairs, size_t *len)
{
    const unsigned char *p = (const unsigned char *)pairs->p;
    size_t n = pairs->len && p[0] & 0x80 ? 4 : 1;
    if (pairs->len < n)
        return RC_INVALID;
    *len = n == 1 ? p[0]
                  : (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 |
                        p[3];
    *pairs = str_slice(*pairs, n, pairs->len);
    return RC_OK;
}

/* Reads on until the header is complete. */
static enum rc
read_head(struct fcgi_reader *r, struct str *bytes)
{
    const FCGI_Header *head = (const FCGI_Header *)r->head;
    size_t n = r->n_pad < bytes->len ? r->n_pad : bytes->len; /* of the record before */
    r->n_pad = (uint8_t)(r->n_pad - n);
    *bytes = str_slice(*bytes, n, bytes->len);

    n = sizeof r->head - r->n_head;
    if (n > bytes->len)
        n = bytes->len;
    if (n == 0)
        return RC_NOTFOUND;
    memcpy(r->head + r->n_head, bytes->p, n);
    r->n_head = (uint8_t)(r->n_head + n);
    *bytes = str_slice(*bytes, n, bytes->len);
    if (head->version != FCGI_VERSION_1)
        return RC_INVALID;
    if (r->n_head < sizeof r->head)
        return RC_NOTFOUND;
    r->n_left = (uint16_t)(head->contentLengthB1 << 8 | head->contentLengthB0);
    r->n_pad = head->paddingLength;
    return RC_OK;
}

enum rc
fcgi_record_next(struct fcgi_reader *r, struct str *bytes, struct fcgi_piece *out)
{
    const FCGI_Header *head = (const FCGI_Header *)r->head;
    size_t n;
    if (r->n_head < sizeof r->head) {
        enum rc rc = read_head(r, bytes);
        if (rc != RC_OK)
            return rc;
    }
    if (r->n_left > 0 && bytes->len == 0)
        return RC_NOTFOUND;

    n = r->n_left < bytes->len ? r->n_left : bytes->len;
    out->type = head->type;
    out->req_id = (uint16_t)(head->requestIdB1 << 8 | head->requestIdB0);
    out->len = (uint16_t)(head->contentLengthB1 << 8 | head->contentLengthB0);
    out->content = str_slice(*bytes, 0, n);
    out->is_first = r->n_left == out->len;
    *bytes = str_slice(*bytes, n, bytes->len);
    r->n_left = (uint16_t)(r->n_left - n);
    out->is_last = r->n_left == 0;
    if (out->is_last)
        r->n_head = 0;
    return RC_OK;
}

enum rc
fcgi_record_next_pair(struct str *pairs, struct str *name, struct str *value)
{
    struct str rest = *pairs;
    size_t n_name, n_value;
    if (rest.len == 0)
        return RC_NOTFOUND;
    if (decode_length(&rest, &n_name) != RC_OK || decode_length(&rest, &n_value) != RC_OK)
        return RC_INVALID;
    if (n_name > rest.len || n_value > rest.len - n_name)
        return RC_INVALID;
    *name = str_slice(rest, 0, n_name);
    *value = str_slice(rest, n_name, n_name + n_value);
    *pairs = str_slice(rest, n_name + n_value, rest.len);
    return RC_OK;
}

void
fcgi_record_encode(struct buf *out, int type, uint16_t req_id, struct str head,
                   struct str body)
{
    while (head.len + body.len) {
        struct str h = str_slice(head, 0, FCGI_MAX_LENGTH);
        struct str b = str_slice(body, 0, FCGI_MAX_LENGTH - h.len);
        encode_head(out, type, req_id, h.len + b.len);
        buf_append_str(out, h);
        buf_append_str(out, b);
        head = str_slice(head, h.len, head.len);
        body = str_slice(body, b.len, body.len);
    }
}

void
fcgi_record_encode_end(struct buf *out, int type, uint16_t req_id)
{
    encode_head(out, type, req_id, 0);
}

void
fcgi_record_encode_finish(struct buf *out, uint16_t req_id, int protocol_status)
{
    FCGI_EndRequestBody body = {.protocolStatus = (unsigned char)protocol_status};
    encode_head(out, FCGI_END_REQUEST, req_id, sizeof body);
    buf_append(out, &body, sizeof body);
}

void
fcgi_record_encode_unknown_type(struct buf *out, int type)
{
    FCGI_UnknownTypeBody body = {.type = (unsigned char)type};
    encode_head(out, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, sizeof body);
    buf_append(out, &body, sizeof body);
}

void
fcgi_record_encode_values(struct buf *out, struct str asked, size_t n_conns_max)
{
    static const char *const names[] = {FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS};
    bool is_asked[3] = {false, false, false};
    struct buf pairs = {0};
    struct str name, value;

    while (fcgi_record_next_pair(&asked, &name, &value) == RC_OK)
        for (size_t i = 0; i < 3; i++)
            is_asked[i] = is_asked[i] || str_eqz(name, names[i]);
    for (size_t i = 0; i < 3; i++) {
        char text[24];
        /* Connections and requests are the same number: no multiplexing. */
        int n = snprintf(text, sizeof text, "%zu", i < 2 ? n_conns_max : 0);
        if (!is_asked[i])
            continue;
        buf_append_c(&pairs, (char)strlen(names[i]));
        buf_append_c(&pairs, (char)n);
        buf_append_z(&pairs, names[i]);
        buf_append(&pairs, text, (size_t)n);
    }
    encode_head(out, FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, pairs.len);
    buf_append_str(out, buf_str(&pairs));
    buf_fini(&pairs);
}
