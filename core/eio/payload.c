/*
 * Engine.IO packets and payloads. Leaves sessions, transports and limits to others: a
 * payload is at most as long as the body that the front has accepted.
 *
 * Invariants:
 * 1. Nothing is read outside the view that was given, whatever its lengths claim.
 * 2. Text that leaves this module as a packet is valid UTF-8.
 * 3. A packet borrows from the payload, or from the reader's scratch until the next
 * packet.
 * 4. A reader that has refused a payload goes on refusing it.
 *
 * Pure; any process, any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/eio/payload.h"

#include <string.h>

static const char SEPARATOR = 0x1e;
enum { OCTETS_END = 0xff, OCTETS_DIGITS_MAX = 310 };

static bool
is_ascii(struct str s)
{
    static const uint64_t high_bits = 0x8080808080808080u;
    size_t i = 0;
    uint64_t word;
    for (; s.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, s.p + i, sizeof word);
        if (word & high_bits)
            return false;
    }
    for (; i < s.len; i++)
        if ((signed char)s.p[i] < 0)
            return false;
    return true;
}

/* UTF-16 code units of valid UTF-8. */
static size_t
utf16_len(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        n += (c & 0xc0) != 0x80;
        n += c >= 0xf0;
    }
    return n;
}

/* How many bytes of `s` are its first `n_units` UTF-16 code units; RC_INVALID if there
 * are not so many, if they end inside a character, or for what is not UTF-8 among them.
 */
static enum rc
utf16_take(struct str s, size_t n_units, size_t *n_bytes)
{
    size_t i = 0;
    if (n_units > s.len)
        return RC_INVALID;
    if (is_ascii(str_slice(s, 0, n_units))) {
        *n_bytes = n_units;
        return RC_OK;
    }
    while (n_units > 0) {
        uint32_t cp;
        size_t n;
        if (i >= s.len)
            return RC_INVALID;
        n = str_utf8_next(s, i, &cp);
        if (cp == STR_BAD_UTF8 || (cp > 0xffff && n_units < 2))
            return RC_INVALID;
        n_units -= cp > 0xffff ? 2 : 1;
        i += n;
    }
    *n_bytes = i;
    return RC_OK;
}

static enum rc
decode_base64(int protocol, struct str text, struct buf *scratch, struct eio_packet *out)
{
    if (protocol == 3) {
        if (text.len == 0 || text.p[0] != '0' + EIO_MESSAGE)
            return RC_INVALID;
        text = str_slice(text, 1, text.len);
    }
    buf_clear(scratch);
    if (buf_append_unbase64(scratch, text) != RC_OK)
        return RC_INVALID;
    *out = (struct eio_packet){
        .type = EIO_MESSAGE, .is_binary = true, .data = buf_str(scratch)};
    return RC_OK;
}

/* A text packet that is known to be UTF-8. `scratch` NULL: base64 is refused. */
static enum rc
decode_text(int protocol, struct str text, struct buf *scratch, struct eio_packet *out)
{
    if (text.len == 0)
        return RC_INVALID;
    if (text.p[0] >= '0' + EIO_OPEN && text.p[0] <= '0' + EIO_NOOP) {
        *out = (struct eio_packet){.type = (enum eio_type)(text.p[0] - '0'),
                                   .data = {text.p + 1, text.len - 1}};
        return RC_OK;
    }
    if (text.p[0] == 'b' && scratch)
        return decode_base64(protocol, str_slice(text, 1, text.len), scratch, out);
    return RC_INVALID;
}

/* Revision 3 binary: the type as a raw byte, then the data. Only messages are binary. */
static enum rc
decode_binary_v3(struct str message, struct eio_packet *out)
{
    if (message.len == 0 || message.p[0] != EIO_MESSAGE)
        return RC_INVALID;
    *out = (struct eio_packet){
        .type = EIO_MESSAGE, .is_binary = true, .data = {message.p + 1, message.len - 1}};
    return RC_OK;
}

static enum rc
read_v4(struct eio_payload_reader *r, struct eio_packet *out)
{
    struct str rest = r->rest, text;
    enum rc rc;
    if (r->is_started) {
        if (rest.len == 0)
            return RC_NOTFOUND;
        rest = str_slice(rest, 1, rest.len); /* the separator before this packet */
    }
    text = str_slice(rest, 0, str_index(rest, SEPARATOR));
    if (!str_is_utf8(text))
        return RC_INVALID;
    rc = decode_text(4, text, &r->scratch, out);
    if (rc != RC_OK)
        return rc;
    r->is_started = true;
    r->rest = str_slice(rest, text.len, rest.len);
    return RC_OK;
}

/*
 * The 1.x repair (eio3.md 3.3): a 1.x client writes the UTF-8 bytes of a packet as
 * characters U+0000 to U+00FF and encodes these as UTF-8 once more. Undoes that into the
 * scratch where the session is, or by this packet turns out to be, a 1.x client's.
 */
/* EIO-V3-TEXT */
static struct str
repair_v3(struct eio_payload_reader *r, struct str text)
{
    struct str once;
    size_t n_wide = 0;
    if (is_ascii(text) || r->is_single_utf8 || text.p[0] == 'b')
        return text; /* base64 is ASCII or refused; it must not lie in the scratch */
    buf_clear(&r->scratch);
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        i += str_utf8_next(text, i, &cp);
        n_wide += cp > 0xff;
        buf_append_c(&r->scratch, (char)cp);
    }
    once = buf_str(&r->scratch);
    if (n_wide == 0 && str_is_utf8(once)) {
        r->is_double_utf8 = true;
        return once;
    }
    if (n_wide == 0 && r->is_double_utf8) {
        /* A lone surrogate of a 1.x client, three bytes that no strict decoder takes. */
        struct buf mended = {0};
        for (size_t i = 0; i < once.len;) {
            uint32_t cp;
            i += str_utf8_next(once, i, &cp);
            buf_append_utf8(&mended, cp);
        }
        buf_clear(&r->scratch);
        buf_append_str(&r->scratch, buf_str(&mended));
        buf_fini(&mended);
        return buf_str(&r->scratch);
    }
    r->is_double_utf8 = false;
    r->is_single_utf8 = true;
    return text;
}

/* EIO-V3-PAYLOAD */
static enum rc
read_v3_text(struct eio_payload_reader *r, struct eio_packet *out)
{
    struct str rest = r->rest;
    if (rest.len == 0)
        return r->is_started ? RC_NOTFOUND : RC_INVALID;
    while (rest.len) {
        size_t colon = str_index(rest, ':'), n_bytes;
        int64_t n_units;
        enum rc rc = str_to_int(str_slice(rest, 0, colon), 0, INT32_MAX, &n_units);
        if (colon == rest.len || rc != RC_OK)
            return RC_INVALID;
        rest = str_slice(rest, colon + 1, rest.len);
        if (utf16_take(rest, (size_t)n_units, &n_bytes) != RC_OK)
            return RC_INVALID;
        if (n_units > 0) {
            rc = decode_text(3, repair_v3(r, str_slice(rest, 0, n_bytes)), &r->scratch,
                             out);
            if (rc != RC_OK)
                return rc;
        }
        rest = str_slice(rest, n_bytes, rest.len);
        r->rest = rest;
        r->is_started = true;
        if (n_units > 0)
            return RC_OK;
    }
    return RC_NOTFOUND;
}

/* EIO-V3-PAYLOAD */
static enum rc
read_v3_octets(struct eio_payload_reader *r, struct eio_packet *out)
{
    struct str rest = r->rest, packet;
    size_t at = 1, len = 0;
    bool is_text;
    enum rc rc;
    if (rest.len == 0)
        return RC_NOTFOUND;
    if ((unsigned char)rest.p[0] > 1)
        return RC_INVALID;
    is_text = rest.p[0] == 0;
    while (at < rest.len && (unsigned char)rest.p[at] != OCTETS_END) {
        unsigned char digit = (unsigned char)rest.p[at++];
        if (digit > 9 || at > OCTETS_DIGITS_MAX)
            return RC_INVALID;
        len = len * 10 + digit;
        if (len > rest.len)
            return RC_INVALID;
    }
    if (at == 1 || at == rest.len || len > rest.len - at - 1)
        return RC_INVALID;
    packet = str_slice(rest, at + 1, at + 1 + len);
    if (is_text)
        rc = str_is_utf8(packet) ? decode_text(3, packet, &r->scratch, out) : RC_INVALID;
    else
        rc = decode_binary_v3(packet, out);
    if (rc != RC_OK)
        return rc;
    r->rest = str_slice(rest, at + 1 + len, rest.len);
    r->is_started = true;
    return RC_OK;
}

void
eio_payload_read_init(struct eio_payload_reader *r, int protocol, bool is_octets,
                      struct str payload)
{
    r->rest = payload;
    r->protocol = protocol;
    r->is_octets = is_octets;
    r->is_started = false;
}

void
eio_payload_read_fini(struct eio_payload_reader *r)
{
    buf_fini(&r->scratch);
    r->rest = STR_NONE;
}

/* EIO-PAYLOAD */
enum rc
eio_payload_read(struct eio_payload_reader *r, struct eio_packet *out)
{
    if (r->protocol == 4)
        return read_v4(r, out);
    return r->is_octets ? read_v3_octets(r, out) : read_v3_text(r, out);
}

enum rc
eio_packet_decode(int protocol, bool is_binary, struct str message,
                  struct eio_packet *out)
{
    return eio_packet_decode_base64(protocol, is_binary, message, NULL, out);
}

enum rc
eio_packet_decode_base64(int protocol, bool is_binary, struct str message,
                         struct buf *scratch, struct eio_packet *out)
{
    if (is_binary && protocol == 3)
        return decode_binary_v3(message, out);
    if (is_binary) {
        *out =
            (struct eio_packet){.type = EIO_MESSAGE, .is_binary = true, .data = message};
        return RC_OK;
    }
    return str_is_utf8(message) ? decode_text(protocol, message, scratch, out)
                                : RC_INVALID;
}

void
eio_payload_append(struct buf *b, int protocol, size_t n_before,
                   const struct eio_packet *p)
{
    if (protocol == 4) {
        if (n_before)
            buf_append_c(b, SEPARATOR);
    } else {
        size_t n_base64 = (p->data.len + 2) / 3 * 4;
        buf_append_int(b,
                       (int64_t)(p->is_binary ? 2 + n_base64 : 1 + utf16_len(p->data)));
        buf_append_c(b, ':');
    }
    if (p->is_binary) {
        buf_append_z(b, protocol == 4 ? "b" : "b4");
        buf_append_base64(b, p->data);
    } else {
        buf_append_c(b, (char)('0' + (int)p->type));
        buf_append_str(b, p->data);
    }
}

void
eio_payload_append_octets(struct buf *b, const struct eio_packet *p)
{
    size_t first;
    buf_append_c(b, p->is_binary ? 1 : 0);
    first = b->len;
    buf_append_int(b, (int64_t)p->data.len + 1);
    for (size_t i = first; i < b->len; i++)
        b->p[i] = (char)(b->p[i] - '0');
    buf_append_c(b, (char)OCTETS_END);
    buf_append_c(b, (char)(p->is_binary ? (int)p->type : '0' + (int)p->type));
    buf_append_str(b, p->data);
}

/* EIO-OPEN */
void
eio_open_encode(struct buf *b, const struct eio_open *o)
{
    buf_append_z(b, "{\"sid\":");
    buf_append_json(b, str_of(o->eio_sid), true);
    buf_append_z(b, ",\"upgrades\":[");
    buf_append_z(b, o->can_upgrade ? "\"websocket\"" : "");
    buf_append_z(b, "],\"pingInterval\":");
    buf_append_int(b, o->ping_interval_ms);
    buf_append_z(b, ",\"pingTimeout\":");
    buf_append_int(b, o->ping_timeout_ms);
    buf_append_z(b, ",\"maxPayload\":");
    buf_append_int(b, o->max_payload_bytes);
    buf_append_c(b, '}');
}

/* EIO-JSONP */
void
eio_jsonp_wrap(struct buf *b, struct str j_digits, struct str payload)
{
    buf_append_z(b, "___eio[");
    buf_append_str(b, j_digits);
    buf_append_z(b, "](");
    /* ASCII only: with U+2028 and U+2029 escaped it is JavaScript of any age, in any
     * charset. */
    buf_append_json(b, payload, true);
    buf_append_z(b, ");");
}

/* The value of the one field `d`; RC_INVALID if there is none or more than one, as in the
 * reference. */
static enum rc
find_form_d(struct str form, struct str *value)
{
    size_t n_found = 0;
    while (form.len) {
        struct str field = str_slice(form, 0, str_index(form, '&'));
        if (str_has_prefix(field, STR("d=")) || str_eqz(field, "d")) {
            *value = str_slice(field, 2, field.len);
            n_found++;
        }
        form = str_slice(form, field.len + 1, form.len);
    }
    return n_found == 1 ? RC_OK : RC_INVALID;
}

/* EIO-JSONP */
enum rc
eio_jsonp_unwrap(struct str form_body, struct buf *payload)
{
    struct str value;
    size_t start = payload->len, out = start;
    char *p;
    if (find_form_d(form_body, &value) != RC_OK)
        return RC_INVALID;
    buf_append_form(payload, value);
    /* `\n` becomes a newline and `\\n` becomes `\n`, in one pass (eio3.md 3.4). */
    p = payload->p;
    for (size_t i = start; i < payload->len; i++) {
        size_t left = payload->len - i;
        if (left >= 3 && p[i] == '\\' && p[i + 1] == '\\' && p[i + 2] == 'n') {
            p[out++] = '\\';
            p[out++] = 'n';
            i += 2;
        } else if (left >= 2 && p[i] == '\\' && p[i + 1] == 'n') {
            p[out++] = '\n';
            i++;
        } else {
            p[out++] = p[i];
        }
    }
    payload->len = out;
    return RC_OK;
}
