/*
 * See binary.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/binary.h"

#include "core/sio/json.h"
#include "store/packet.h"

#define NOT_OPEN SIZE_MAX

static struct str
from(struct str s, size_t i)
{
    return str_slice(s, i, s.len);
}

/* The literal at the front of `here` is a key: it is followed by a colon. */
static bool
is_key(struct str here, size_t len)
{
    struct str rest = sio_json_skip_space(from(here, len));
    return rest.len > 0 && rest.p[0] == ':';
}

/* What the key literal says. `scratch` holds it if there are escapes in it. */
static struct str
key_text(struct str literal, struct buf *scratch)
{
    struct str inside = str_slice(literal, 1, literal.len - 1);
    if (str_index(inside, '\\') == inside.len)
        return inside;
    buf_clear(scratch);
    if (sio_json_unquote(literal, scratch) != RC_OK)
        return inside;
    return buf_str(scratch);
}

/* $binary: 1, $$binary: 2 …; 0: another key. */
static size_t
count_dollars(struct str key)
{
    size_t n = 0;
    while (n < key.len && key.p[n] == '$')
        n++;
    return str_eqz(from(key, n), "binary") ? n : 0;
}

static void
append_key(struct buf *b, size_t n_dollars)
{
    buf_append_c(b, '"');
    while (n_dollars-- > 0)
        buf_append_c(b, '$');
    buf_append_z(b, "binary\"");
}

/* ---- from a packet ---- */

static bool
find_attachment(struct str attachments, int64_t number, struct str *bytes)
{
    size_t pos = 0;
    for (int64_t n = 0; store_packet_attachment(attachments, &pos, bytes) == RC_OK; n++)
        if (n == number)
            return true;
    return false;
}

/* The object at the front of `here` is a placeholder: its length and its bytes; else 0.
 */
static size_t
placeholder_len(struct str here, struct str attachments, struct str *bytes)
{
    enum sio_json_kind kind;
    struct str value, rest;
    int64_t number;
    if (attachments.len == 0 ||
        sio_json_scan(here, SIO_JSON_DEPTH_MAX, &kind, &value, &rest) != RC_OK ||
        !sio_json_is_placeholder(value, &number) ||
        !find_attachment(attachments, number, bytes))
        return 0;
    return value.len;
}

enum rc
binary_spell(struct buf *b, struct str json, struct str attachments, size_t max)
{
    size_t copied = 0, begin = b->len;
    struct buf scratch = {0};
    for (size_t i = 0; i < json.len && b->len - begin <= max;) {
        struct str bytes, here = from(json, i);
        size_t len = 1, n_dollars = 0;
        if (json.p[i] == '"') {
            len = sio_json_string_len(here);
            if (len > 0 && is_key(here, len))
                n_dollars = count_dollars(key_text(str_slice(here, 0, len), &scratch));
            if (n_dollars > 0) {
                buf_append(b, json.p + copied, i - copied);
                append_key(b, n_dollars + 1);
                copied = i + len;
            }
        } else if (json.p[i] == '{' &&
                   (len = placeholder_len(here, attachments, &bytes)) > 0) {
            buf_append(b, json.p + copied, i - copied);
            buf_append_z(b, "{\"$binary\":\"");
            buf_append_base64(b, bytes);
            buf_append_z(b, "\"}");
            copied = i + len;
        }
        i += len ? len : 1;
    }
    buf_append(b, json.p + copied, json.len - copied);
    buf_fini(&scratch);
    return b->len - begin > max ? RC_TOOBIG : RC_OK;
}

/* ---- the way back ---- */

struct collecting {
    struct buf *b, *attachments;
    size_t *n_attachments;
    struct str json;
    size_t copied;
    const char **error;
};

/* The value behind the key at `key_end` closes its object: the bytes are collected, *end
 * is behind the object. */
static enum rc
collect_one(struct collecting *c, size_t open, size_t key_end, size_t *end)
{
    struct str rest = sio_json_skip_space(from(c->json, key_end)), text, behind;
    struct buf plain = {0}, bytes = {0};
    enum rc rc = RC_INVALID;
    rest = sio_json_skip_space(from(rest, 1));
    text = str_slice(rest, 0, sio_json_string_len(rest));
    behind = sio_json_skip_space(from(rest, text.len));
    *c->error = "$binary must be the only member of its object, and base64 text";
    if (open == NOT_OPEN || text.len == 0 || behind.len == 0 || behind.p[0] != '}')
        return RC_INVALID;
    if (sio_json_unquote(text, &plain) == RC_OK &&
        buf_append_unbase64(&bytes, buf_str(&plain)) == RC_OK) {
        store_packet_append_attachment(c->attachments, buf_str(&bytes));
        buf_append(c->b, c->json.p + c->copied, open - c->copied);
        buf_append_f(c->b, "{\"_placeholder\":true,\"num\":%zu}", (*c->n_attachments)++);
        *end = c->copied = (size_t)(behind.p - c->json.p) + 1;
        rc = RC_OK;
    }
    buf_fini(&plain);
    buf_fini(&bytes);
    return rc;
}

/* One string at `i`, of `len` bytes; *end is where to go on. `open`: the brace that it
 * stands right behind. */
static enum rc
collect_string(struct collecting *c, size_t i, size_t len, size_t open, size_t *end,
               bool *has_placeholder)
{
    struct str here = from(c->json, i), key;
    struct buf scratch = {0};
    enum rc rc = RC_OK;
    *end = i + len;
    if (!is_key(here, len))
        return RC_OK;
    key = key_text(str_slice(here, 0, len), &scratch);
    size_t n_dollars = count_dollars(key);
    *has_placeholder |= str_eqz(key, "_placeholder");
    if (n_dollars == 1) {
        rc = collect_one(c, open, i + len, end);
    } else if (n_dollars > 1) {
        buf_append(c->b, c->json.p + c->copied, i - c->copied);
        append_key(c->b, n_dollars - 1);
        c->copied = i + len;
    }
    buf_fini(&scratch);
    return rc;
}

enum rc
binary_collect(struct buf *b, struct str json, struct buf *attachments,
               size_t *n_attachments, const char **error)
{
    struct collecting c = {b, attachments, n_attachments, json, 0, error};
    bool has_placeholder = false;
    size_t open = NOT_OPEN;
    for (size_t i = 0; i < json.len;) {
        size_t len = json.p[i] == '"' ? sio_json_string_len(from(json, i)) : 0;
        if (len > 0) {
            enum rc rc = collect_string(&c, i, len, open, &i, &has_placeholder);
            if (rc != RC_OK)
                return rc;
            open = NOT_OPEN;
            continue;
        }
        if (json.p[i] == '{')
            open = i;
        else if (sio_json_skip_space(str_slice(json, i, i + 1)).len > 0)
            open = NOT_OPEN;
        i++;
    }
    buf_append(b, json.p + c.copied, json.len - c.copied);
    *error = "no member _placeholder may stand beside binary data";
    return has_placeholder && *n_attachments > 0 ? RC_INVALID : RC_OK;
}
