/*
 * From MessagePack to packets. The map is walked twice: first to find its members, of
 * which `data` is only skipped, its attachments counted; then the packet is written as
 * text, head and `data`, and given to sio_packet_decode(), so that both parsers refuse
 * the same and know the same limits.
 *
 * Invariants:
 * 1. Nothing is read outside the view.
 * 2. Nothing recurses; the depth is bounded by SIO_JSON_DEPTH_MAX, the size of the stack.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/msgpack.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"
#include "core/sio/msgpack_token.h"

enum { NUMBER_MAX_BYTES = 32 };
static const int64_t DAY_MS = 86400000;

/* ---- JSON of a token ---- */

/* The days since 1970 as a date of the Gregorian calendar, years counted from March. */
static void
append_day(struct buf *b, int64_t days)
{
    days += 719468; /* since 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    if (year >= 0 && year <= 9999)
        buf_append_f(b, "%04lld", (long long)year);
    else
        buf_append_f(b, "%c%06lld", year < 0 ? '-' : '+', (long long)llabs(year));
    buf_append_f(b, "-%02lld-%02lld", (long long)month, (long long)day);
}

/* "2026-01-31T23:59:59.999Z" */
static void
append_date(struct buf *b, int64_t ms)
{
    int64_t days = ms / DAY_MS, rest = ms % DAY_MS;
    if (rest < 0) {
        days--;
        rest += DAY_MS;
    }
    buf_append_c(b, '"');
    append_day(b, days);
    buf_append_f(b, "T%02d:%02d:%02d.%03dZ\"", (int)(rest / 3600000),
                 (int)(rest / 60000 % 60), (int)(rest / 1000 % 60), (int)(rest % 1000));
}

/* The fewest digits that give the same number again: 15 always come through, 17 always do
 * it; subnormal numbers have fewer. */
static void
append_double(struct buf *b, double v)
{
    char text[NUMBER_MAX_BYTES];
    if (!isfinite(v)) {
        buf_append_z(b, "null");
        return;
    }
    if (v == floor(v) && fabs(v) <= 9007199254740992.0) {
        buf_append_int(b, (int64_t)v);
        return;
    }
    for (int n = fabs(v) < DBL_MIN ? 1 : 15; n <= 17; n++) {
        snprintf(text, sizeof text, "%.*g", n, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_append_z(b, text);
}

static enum rc
append_string(struct buf *b, struct str s)
{
    if (!str_is_utf8(s))
        return RC_INVALID;
    buf_append_json(b, s, false);
    return RC_OK;
}

static void
append_uint(struct buf *b, uint64_t v)
{
    buf_append_f(b, "%llu", (unsigned long long)v);
}

/* Where the values of a packet go. */
struct json {
    struct buf *text; /* NULL: they are only looked at */
    struct buf *attachments;
    int64_t n_attachments;
};

static void
append_attachment(struct json *j, struct str bytes)
{
    if (j->text != NULL) {
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_append_c(j->attachments, (char)((uint64_t)bytes.len >> shift));
        buf_append_str(j->attachments, bytes);
        buf_append_f(j->text, "{\"_placeholder\":true,\"num\":%lld}",
                     (long long)j->n_attachments);
    }
    j->n_attachments++;
}

static enum rc
append_scalar(struct json *j, const struct sio_token *t)
{
    struct buf *b = j->text;
    if (t->kind == SIO_MP_BIN) {
        append_attachment(j, t->bytes);
        return RC_OK;
    }
    if (b == NULL) {
        j->n_attachments += t->kind == SIO_MP_EXT;
        return RC_OK;
    }
    switch (t->kind) {
    case SIO_MP_NIL:
    case SIO_MP_UNDEFINED:
    case SIO_MP_NO_DATE:
        buf_append_z(b, "null");
        break;
    case SIO_MP_FALSE:
        buf_append_z(b, "false");
        break;
    case SIO_MP_TRUE:
        buf_append_z(b, "true");
        break;
    case SIO_MP_UNSIGNED:
        append_uint(b, t->number);
        break;
    case SIO_MP_NEGATIVE:
        buf_append_int(b, (int64_t)t->number);
        break;
    case SIO_MP_FLOATING:
        append_double(b, t->real);
        break;
    case SIO_MP_STRING:
        return append_string(b, t->bytes);
    case SIO_MP_DATE:
        append_date(b, (int64_t)t->number);
        break;
    case SIO_MP_EXT: /* as the reference's decoder gives it to the application */
        buf_append_f(b, "[%d,", t->ext_type);
        append_attachment(j, t->bytes);
        buf_append_c(b, ']');
        break;
    case SIO_MP_BIN:
    case SIO_MP_ARRAY:
    case SIO_MP_MAP:
        return RC_INVALID;
    }
    return RC_OK;
}

/* ---- walking ---- */

struct level {              /* an open array or map */
    uint64_t n_left;        /* items, or pairs that are not begun */
    size_t undo_len;        /* map: where the member began, to drop it again */
    bool is_map, has_items; /* has_items: a comma goes before the next one */
    bool had_items;         /* before this member */
    bool is_value;          /* map: the value of a key comes next */
};

static enum rc
begin_member(struct json *j, struct level *l, const struct sio_token *key)
{
    enum rc rc = RC_OK;
    if (key->kind != SIO_MP_STRING && key->kind != SIO_MP_UNSIGNED &&
        key->kind != SIO_MP_NEGATIVE)
        return RC_INVALID;
    l->n_left--;
    l->is_value = true;
    if (j->text == NULL)
        return RC_OK;
    l->undo_len = j->text->len;
    l->had_items = l->has_items;
    if (l->has_items)
        buf_append_c(j->text, ',');
    l->has_items = true;
    if (key->kind == SIO_MP_STRING) {
        rc = append_string(j->text, key->bytes);
    } else {
        buf_append_c(j->text, '"');
        rc = append_scalar(j, key);
        buf_append_c(j->text, '"');
    }
    buf_append_c(j->text, ':');
    return rc;
}

/* Before a value in `l`: its comma. False: the member is dropped. */
static bool
begin_value(struct json *j, struct level *l, enum sio_token_kind kind)
{
    if (l->is_map) {
        l->is_value = false;
        if (kind == SIO_MP_UNDEFINED && j->text != NULL) {
            j->text->len = l->undo_len;
            l->has_items = l->had_items;
        }
        return kind != SIO_MP_UNDEFINED;
    }
    l->n_left--;
    if (l->has_items && j->text != NULL)
        buf_append_c(j->text, ',');
    l->has_items = true;
    return true;
}

static void
append_bracket(struct json *j, char c)
{
    if (j->text != NULL)
        buf_append_c(j->text, c);
}

/* One value with all that is in it. */
static enum rc
walk(struct sio_reader *r, int64_t depth_max, struct json *j)
{
    struct level levels[SIO_JSON_DEPTH_MAX];
    size_t depth = 0;
    do {
        struct level *l = depth ? &levels[depth - 1] : NULL;
        struct sio_token t;
        enum rc rc = sio_msgpack_token_read(r, &t);
        if (rc != RC_OK)
            return rc;
        if (l != NULL && l->is_map && !l->is_value) {
            rc = begin_member(j, l, &t);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        if (l != NULL && !begin_value(j, l, t.kind)) {
            ; /* undefined */
        } else if (t.kind == SIO_MP_ARRAY || t.kind == SIO_MP_MAP) {
            if (depth == SIO_JSON_DEPTH_MAX || (int64_t)depth >= depth_max)
                return RC_TOOBIG;
            levels[depth++] =
                (struct level){.n_left = t.number, .is_map = t.kind == SIO_MP_MAP};
            append_bracket(j, t.kind == SIO_MP_MAP ? '{' : '[');
        } else {
            rc = append_scalar(j, &t);
            if (rc != RC_OK)
                return rc;
        }
        while (depth > 0 && levels[depth - 1].n_left == 0 && !levels[depth - 1].is_value)
            append_bracket(j, levels[--depth].is_map ? '}' : ']');
    } while (depth > 0);
    return RC_OK;
}

/* ---- packets ---- */

struct members { /* of the outer map; kind SIO_MP_UNDEFINED: absent */
    struct sio_token type, nsp, id;
    enum sio_token_kind data_kind; /* of `data`; nil counts as absent */
    struct str data;               /* its bytes */
    int64_t n_attachments;
};

/* The value at the front: of a member that is kept, its token; else only skipped. */
static enum rc
read_member(struct sio_reader *r, struct str key, int64_t depth_max, struct members *m)
{
    struct sio_token *kept = str_eqz(key, "type")  ? &m->type
                             : str_eqz(key, "nsp") ? &m->nsp
                             : str_eqz(key, "id")  ? &m->id
                                                   : NULL;
    struct sio_reader before = *r;
    struct json nowhere = {0};
    struct sio_token t;
    enum rc rc = sio_msgpack_token_read(r, &t);
    if (rc != RC_OK)
        return rc;
    if (kept != NULL) {
        *kept = t;
        return t.kind == SIO_MP_ARRAY || t.kind == SIO_MP_MAP ? RC_INVALID : RC_OK;
    }
    *r = before;
    rc = walk(r, depth_max, &nowhere);
    if (rc != RC_OK || !str_eqz(key, "data"))
        return rc;
    m->data_kind = t.kind == SIO_MP_NIL ? SIO_MP_UNDEFINED : t.kind;
    m->data = (struct str){(const char *)before.p, (size_t)(r->p - before.p)};
    m->n_attachments = nowhere.n_attachments;
    return RC_OK;
}

static enum rc
read_members(struct str bytes, int64_t depth_max, struct members *m)
{
    struct sio_reader r = sio_msgpack_reader_of(bytes);
    struct sio_token map, key;
    enum rc rc = bytes.len ? sio_msgpack_token_read(&r, &map) : RC_INVALID;
    if (rc != RC_OK)
        return rc;
    if (map.kind != SIO_MP_MAP)
        return RC_INVALID;
    m->type.kind = m->nsp.kind = m->id.kind = m->data_kind = SIO_MP_UNDEFINED;
    for (uint64_t i = 0; i < map.number; i++) {
        rc = sio_msgpack_token_read(&r, &key);
        if (rc == RC_OK && key.kind != SIO_MP_STRING && key.kind != SIO_MP_UNSIGNED &&
            key.kind != SIO_MP_NEGATIVE)
            rc = RC_INVALID;
        if (rc == RC_OK)
            rc = read_member(&r, key.kind == SIO_MP_STRING ? key.bytes : STR_NONE,
                             depth_max, m);
        if (rc != RC_OK)
            return rc;
    }
    return r.p == r.end ? RC_OK : RC_INVALID;
}

/* An integer from 0 on, written as one or as a float. */
static bool
as_index(const struct sio_token *t, uint64_t *out)
{
    if (t->kind == SIO_MP_UNSIGNED) {
        *out = t->number;
        return true;
    }
    if (t->kind != SIO_MP_FLOATING || !(t->real >= 0 && t->real <= 9007199254740992.0) ||
        t->real != floor(t->real))
        return false;
    *out = (uint64_t)t->real;
    return true;
}

static bool
is_absent(const struct sio_token *t)
{
    return t->kind == SIO_MP_UNDEFINED || t->kind == SIO_MP_NIL;
}

/* May this be the data of a packet of this type? */
static bool
is_data_of(enum sio_type type, enum sio_token_kind kind)
{
    switch (type) {
    case SIO_CONNECT:
        return kind == SIO_MP_MAP || kind == SIO_MP_UNDEFINED;
    case SIO_DISCONNECT:
        return kind == SIO_MP_UNDEFINED;
    case SIO_EVENT:
    case SIO_ACK:
        return kind == SIO_MP_ARRAY;
    case SIO_CONNECT_ERROR:
        return kind == SIO_MP_MAP || kind == SIO_MP_STRING;
    case SIO_BINARY_EVENT:
    case SIO_BINARY_ACK:
        return false; /* have no number of their own here */
    }
    return false;
}

/* The head's text; RC_INVALID for what is no packet, or no text could say. */
static enum rc
write_head(struct buf *b, const struct members *m)
{
    uint64_t type, ack_id = 0;
    bool has_ack_id = !is_absent(&m->id), has_attachments = m->n_attachments > 0;
    struct sio_head h = {.nsp = m->nsp.bytes, .n_attachments = (size_t)m->n_attachments};
    if (!as_index(&m->type, &type) || type > SIO_CONNECT_ERROR ||
        (has_ack_id && !as_index(&m->id, &ack_id)) || m->nsp.kind != SIO_MP_STRING)
        return RC_INVALID;
    h.type = (enum sio_type)type;
    if (h.nsp.len == 0 || h.nsp.p[0] != '/' || str_index(h.nsp, ',') != h.nsp.len ||
        !is_data_of(h.type, m->data_kind) ||
        (has_attachments && h.type != SIO_EVENT && h.type != SIO_ACK))
        return RC_INVALID;
    if (has_attachments)
        h.type = h.type == SIO_EVENT ? SIO_BINARY_EVENT : SIO_BINARY_ACK;
    sio_head_encode(b, &h);
    if (has_ack_id)
        append_uint(b, ack_id);
    return RC_OK;
}

bool
sio_msgpack_is_map(struct str bytes)
{
    unsigned char first = bytes.len ? (unsigned char)bytes.p[0] : 0;
    return (first & 0xf0) == 0x80 || first == 0xde || first == 0xdf;
}

/* SIO-MSGPACK */
enum rc
sio_msgpack_decode(struct str bytes, const struct sio_limits *limits, struct buf *scratch,
                   struct sio_packet *out, struct buf *attachments)
{
    struct members m = {0};
    struct sio_packet p;
    struct json j = {scratch, attachments, 0};
    size_t attachments_len = attachments->len;
    buf_clear(scratch);
    enum rc rc = read_members(bytes, limits->json_depth_max, &m);
    if (rc == RC_OK && m.n_attachments > limits->n_attachments_max)
        rc = RC_INVALID;
    if (rc == RC_OK)
        rc = write_head(scratch, &m);
    if (rc == RC_OK && m.data_kind != SIO_MP_UNDEFINED) {
        struct sio_reader r = sio_msgpack_reader_of(m.data);
        rc = walk(&r, limits->json_depth_max, &j);
    }
    if (rc == RC_OK)
        rc = sio_packet_decode(buf_str(scratch), limits, &p);
    if (rc == RC_OK && m.n_attachments > 0) /* a map that only looks like a placeholder */
        rc = sio_placeholders_check(p.body, (size_t)m.n_attachments);
    if (rc != RC_OK) {
        attachments->len = attachments_len;
        return rc;
    }
    *out = p;
    return RC_OK;
}
