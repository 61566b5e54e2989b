/*
 * Socket.IO packets: the head is parsed as the reference's decoder does it, the body is
 * scanned once.
 *
 * Invariants:
 * 1. Everything in a decoded packet borrows from the text that was given, except a
 * defaulted nsp "/".
 * 2. The body is looked at once; event and args are cut out on the way.
 * 3. No limit of ours is applied before the reference would have read as far.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sio/packet.h"

#include <string.h>

#include "core/sio/json.h"

static const int64_t ACK_ID_MAX = (int64_t)1
                                  << 53; /* what a JavaScript number still tells apart */

static const char *const RESERVED[] = {"connect",     "connect_error",
                                       "disconnect",  "disconnecting",
                                       "newListener", "removeListener"};
enum { RESERVED_MAX_BYTES = 14 };

/* An open bracket in the check of placeholders. */
struct frame {
    bool is_object, is_placeholder, has_num, is_bad_inside;
};

static bool
is_binary_type(enum sio_type type)
{
    return type == SIO_BINARY_EVENT || type == SIO_BINARY_ACK;
}

/* What JavaScript's Number() takes for white space and the reference therefore for a part
 * of an ack id. */
static bool
is_id_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `<n>-` of the binary types. */
/* SIO-ATTACHMENTS */
static enum rc
decode_attachments(struct str *rest, const struct sio_limits *limits, int64_t *n)
{
    size_t dash = str_index(*rest, '-');
    if (dash == rest->len || str_to_int(str_slice(*rest, 0, dash), limits->is_old ? 0 : 1,
                                        limits->n_attachments_max, n) != RC_OK)
        return RC_INVALID;
    *rest = str_slice(*rest, dash + 1, rest->len);
    return RC_OK;
}

/* `/nsp,` or `/nsp` up to the end. An old client's namespace is a URL: path, query,
 * fragment. */
/* EIO-V3-NSP */
static enum rc
decode_nsp(struct str *rest, bool is_old, struct sio_packet *p)
{
    struct str nsp = str_slice(*rest, 0, str_index(*rest, ','));
    if (!str_is_utf8(nsp))
        return RC_INVALID;
    p->is_bare_nsp = nsp.len == rest->len;
    *rest = str_slice(*rest, nsp.len + 1, rest->len);
    if (is_old) {
        size_t question;
        nsp = str_slice(nsp, 0, str_index(nsp, '#'));
        question = str_index(nsp, '?');
        p->query = str_slice(nsp, question + 1, nsp.len);
        nsp = str_slice(nsp, 0, question);
    }
    p->nsp = nsp;
    return RC_OK;
}

/*
 * The ack id is the run of digits and white space before the JSON, read by Number(): "42
 * [" is id 0, as "420[" is; white space between digits is not a number, so such a packet
 * has no usable id.
 */
static enum rc
decode_ack_id(struct str *rest, struct sio_packet *p)
{
    size_t i = 0, from, n = rest->len;
    const char *z = rest->p;
    while (i < n && is_id_space(z[i]))
        i++;
    from = i;
    while (i < n && is_digit(z[i]))
        i++;
    p->has_ack_id = i > 0;
    if (i > from &&
        str_to_int(str_slice(*rest, from, i), 0, ACK_ID_MAX, &p->ack_id) != RC_OK) {
        if (p->type != SIO_ACK && p->type != SIO_BINARY_ACK)
            return RC_INVALID;
        p->has_ack_id =
            false; /* nobody asked with such an id: ignored, as any unknown one */
    }
    while (i < n && is_id_space(z[i]))
        i++;
    if (i < n && is_digit(z[i])) {
        p->has_ack_id = false;
        p->ack_id = 0;
        while (i < n && (is_digit(z[i]) || is_id_space(z[i])))
            i++;
    }
    *rest = str_slice(*rest, i, n);
    return RC_OK;
}

/* A number, or a string that is not reserved and not too long. */
static enum rc
check_event(struct str event, const struct sio_limits *limits)
{
    int64_t len = (int64_t)event.len;
    if (event.len == 0)
        return RC_INVALID;
    switch (sio_json_kind_of(event)) {
    case SIO_JSON_STRING:
        if (sio_event_is_reserved(event))
            return RC_INVALID;
        len -= 2;
        break;
    case SIO_JSON_NUMBER:
        break;
    case SIO_JSON_NULL:
    case SIO_JSON_TRUE:
    case SIO_JSON_FALSE:
    case SIO_JSON_ARRAY:
    case SIO_JSON_OBJECT:
        return RC_INVALID;
    }
    return len > limits->event_name_bytes_max ? RC_TOOBIG : RC_OK;
}

/* The array at the front of `body`; an event's first item is its name. */
static enum rc
decode_array(struct str body, bool is_event, const struct sio_limits *limits,
             struct sio_packet *p, struct str *after)
{
    struct str first, others;
    enum rc rc =
        sio_json_scan_array(body, limits->json_depth_max, &first, &others, after);
    if (rc != RC_OK)
        return rc;
    if (is_event) {
        p->event = first;
        p->args = others;
        return check_event(first, limits);
    }
    p->args = (struct str){body.p + 1, (size_t)(after->p - body.p) - 2};
    return RC_OK;
}

static enum rc
decode_body(struct str body, const struct sio_limits *limits, struct sio_packet *p)
{
    struct str value, after = STR_NONE;
    enum sio_json_kind kind;
    enum rc rc = RC_INVALID;
    switch (p->type) {
    case SIO_DISCONNECT:
        return RC_INVALID;
    case SIO_EVENT:
    case SIO_BINARY_EVENT:
        rc = decode_array(body, true, limits, p, &after);
        break;
    case SIO_ACK:
    case SIO_BINARY_ACK:
        rc = decode_array(body, false, limits, p, &after);
        break;
    case SIO_CONNECT:
    case SIO_CONNECT_ERROR:
        rc = sio_json_scan(body, limits->json_depth_max, &kind, &value, &after);
        if (rc == RC_OK && kind != SIO_JSON_OBJECT &&
            (p->type == SIO_CONNECT || kind != SIO_JSON_STRING))
            rc = RC_INVALID;
        break;
    }
    if (rc != RC_OK)
        return rc;
    if (sio_json_skip_space(after).len)
        return RC_INVALID;
    p->body = (struct str){body.p, (size_t)(after.p - body.p)};
    return RC_OK;
}

/* SIO-PACKET */
enum rc
sio_packet_decode(struct str text, const struct sio_limits *limits,
                  struct sio_packet *out)
{
    struct sio_packet p = {.nsp = {"/", 1}};
    struct str rest;
    enum rc rc;
    if (text.len == 0 || text.p[0] < '0' + SIO_CONNECT ||
        text.p[0] > '0' + SIO_BINARY_ACK)
        return RC_INVALID;
    p.type = (enum sio_type)(text.p[0] - '0');
    rest = (struct str){text.p + 1, text.len - 1};
    if (is_binary_type(p.type)) {
        rc = decode_attachments(&rest, limits, &p.n_attachments);
        if (rc != RC_OK)
            return rc;
    }
    if (rest.len && rest.p[0] == '/') {
        rc = decode_nsp(&rest, limits->is_old, &p);
        if (rc != RC_OK)
            return rc;
    }
    rc = decode_ack_id(&rest, &p);
    if (rc != RC_OK)
        return rc;
    if (rest.len) {
        rc = decode_body(rest, limits, &p);
        if (rc != RC_OK)
            return rc;
    }
    *out = p;
    return RC_OK;
}

void
sio_head_encode(struct buf *b, const struct sio_head *h)
{
    buf_append_c(b, (char)('0' + (int)h->type));
    if (is_binary_type(h->type)) {
        buf_append_int(b, (int64_t)h->n_attachments);
        buf_append_c(b, '-');
    }
    if (h->nsp.len && !str_eqz(h->nsp, "/")) {
        buf_append_str(b, h->nsp);
        buf_append_c(b, ',');
    }
    if (h->has_ack_id)
        buf_append_int(b, h->ack_id);
}

/* Notes what the member `key`: `value` says about its object being a placeholder; the
 * last duplicate wins. */
static void
note_member(struct frame *f, struct str object_part, struct str key, size_t n_attachments)
{
    enum sio_json_kind kind;
    struct str value, rest;
    struct buf name = {0};
    int64_t num;
    bool is_mark, is_num;
    if (key.len > 2 + 6 * sizeof "_placeholder" || sio_json_unquote(key, &name) != RC_OK)
        return;
    is_mark = str_eqz(buf_str(&name), "_placeholder");
    is_num = str_eqz(buf_str(&name), "num");
    buf_fini(&name);
    if (!is_mark && !is_num)
        return;
    object_part = sio_json_skip_space(object_part);
    if (object_part.len && (object_part.p[0] == '{' || object_part.p[0] == '['))
        kind = SIO_JSON_OBJECT; /* neither true nor a number; it is walked, not scanned
                                   ahead */
    else if (sio_json_scan(object_part, 1, &kind, &value, &rest) != RC_OK)
        return;
    if (is_mark)
        f->is_placeholder = kind == SIO_JSON_TRUE;
    else
        f->has_num = kind == SIO_JSON_NUMBER &&
                     str_to_int(value, 0, INT64_MAX, &num) == RC_OK &&
                     (uint64_t)num < n_attachments;
}

/*
 * One walk with a frame for each open bracket. The reference does not look inside a
 * placeholder, and whether an object is one is only known at its end (keys come in any
 * order): so a bad placeholder inside is noted in the frame and counts only if the object
 * around it turns out to be a plain one.
 */
/* SIO-PLACEHOLDER */
enum rc
sio_placeholders_check(struct str body, size_t n_attachments)
{
    struct frame frames[SIO_JSON_DEPTH_MAX];
    size_t depth = 0;
    struct str rest = body;
    while (rest.len) {
        struct frame *f = depth ? &frames[depth - 1] : NULL;
        size_t n = 1;
        char c = rest.p[0];
        if (c == '{' || c == '[') {
            if (depth == SIO_JSON_DEPTH_MAX)
                return RC_TOOBIG;
            frames[depth++] = (struct frame){.is_object = c == '{'};
        } else if (c == '"') {
            n = sio_json_string_len(rest);
            if (n == 0)
                return RC_INVALID;
            if (f && f->is_object) {
                struct str after = sio_json_skip_space(str_slice(rest, n, rest.len));
                if (after.len && after.p[0] == ':')
                    note_member(f, str_slice(after, 1, after.len), str_slice(rest, 0, n),
                                n_attachments);
            }
        } else if ((c == '}' || c == ']') && f) {
            bool is_bad = f->is_placeholder ? !f->has_num : f->is_bad_inside;
            depth--;
            if (is_bad && depth == 0)
                return RC_INVALID;
            if (is_bad)
                frames[depth - 1].is_bad_inside = true;
        }
        rest = (struct str){rest.p + n, rest.len - n};
    }
    return RC_OK;
}

/* SIO-EVENT-NAME */
bool
sio_event_is_reserved(struct str raw)
{
    struct str name = str_slice(raw, 1, raw.len > 1 ? raw.len - 1 : 0);
    struct buf plain = {0};
    bool is_reserved = false;
    if (name.len > 6 * RESERVED_MAX_BYTES)
        return false;
    if (str_index(name, '\\') < name.len) {
        if (sio_json_unquote(raw, &plain) != RC_OK)
            return false;
        name = buf_str(&plain);
    }
    for (size_t i = 0; i < sizeof RESERVED / sizeof RESERVED[0] && !is_reserved; i++)
        is_reserved =
            name.len && name.p[0] == RESERVED[i][0] && str_eqz(name, RESERVED[i]);
    buf_fini(&plain);
    return is_reserved;
}

const char *
sio_reason_text(enum sio_reason r)
{
    switch (r) {
    case SIO_R_NONE:
        return "";
#define X(name, number, text)                                                            \
    case SIO_R_##name:                                                                   \
        return text;
        SIO_REASON_LIST(X)
#undef X
    }
    return "";
}

enum sio_reason
sio_reason_find(struct str text)
{
#define X(name, number, words)                                                           \
    if (str_eqz(text, words))                                                            \
        return SIO_R_##name;
    SIO_REASON_LIST(X)
#undef X
    return SIO_R_NONE;
}

/* SIO-RECOVERY-REASON */
bool
sio_reason_is_recoverable(enum sio_reason r)
{
    switch (r) {
    case SIO_R_SHUTTING_DOWN:
    case SIO_R_PING_TIMEOUT:
    case SIO_R_TRANSPORT_CLOSE:
    case SIO_R_TRANSPORT_ERROR:
    case SIO_R_FORCED_CLOSE:
    case SIO_R_FORCED_SERVER_CLOSE:
        return true;
    case SIO_R_NONE:
    case SIO_R_CLIENT_NSP:
    case SIO_R_SERVER_NSP:
    case SIO_R_PARSE_ERROR:
        return false;
    }
    return false;
}
