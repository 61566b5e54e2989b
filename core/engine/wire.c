/*
 * Encoding; see wire.h. A row is encoded once for each form and shared by all receivers
 * (design 6.2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/wire.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/eio/payload.h"
#include "core/sio/json.h"
#include "core/sio/msgpack.h"
#include "core/sio/packet.h"

/* Of a packet in text form: types, number of attachments, ack id, offset. */
enum { HEAD_BYTES = 64 };

struct wire {
    struct store_wire head;
    struct frame *forms[WIRE_N_FORMS];
};

static void
wire_destroy(struct store_wire *head)
{
    struct wire *w = (struct wire *)head;
    for (int i = 0; i < WIRE_N_FORMS; i++)
        frame_unref(w->forms[i]);
    free(w);
}

static size_t
count_attachments(struct str attachments)
{
    size_t n = 0, pos = 0;
    struct str a;
    while (store_packet_attachment(attachments, &pos, &a) == RC_OK)
        n++;
    return n;
}

/* The form without its base64. */
static enum wire_form
plain_form(enum wire_form form)
{
    return form < WIRE_V4_BASE64 ? form : (enum wire_form)(form - WIRE_V4_BASE64);
}

static struct frame *
base64_frame(struct str data, enum wire_form form)
{
    struct buf b;
    buf_init(&b);
    buf_append_z(&b, plain_form(form) == WIRE_V3 ? "b4" : "b");
    buf_append_base64(&b, data);
    struct frame *f = frame_of(buf_str(&b));
    buf_fini(&b);
    return f;
}

static struct frame *
binary_frame(struct str data, enum wire_form form)
{
    size_t skip = form == WIRE_V3 ? 1 : 0;
    struct frame *f = frame_create(data.len + skip, true);
    if (skip)
        f->data[0] = EIO_MESSAGE;
    memcpy(f->data + skip, data.p, data.len);
    return f;
}

static struct frame *
bytes_frame(struct str data, enum wire_form form)
{
    return form >= WIRE_V4_BASE64 ? base64_frame(data, form) : binary_frame(data, form);
}

static void
append_attachments(struct frame *head, struct str attachments, enum wire_form form)
{
    struct frame **end = &head->next;
    size_t pos = 0;
    struct str a;
    while (store_packet_attachment(attachments, &pos, &a) == RC_OK) {
        struct frame *f = bytes_frame(a, form);
        f->is_plain = head->is_plain;
        *end = f;
        end = &f->next;
    }
}

/* Could a client that comes back be owed it: an event, not volatile, without an ack. */
static bool
has_offset(const struct store_packet *p)
{
    return (p->kind == STORE_EVENT || p->kind == STORE_BINARY_EVENT) && !p->is_ask &&
           !p->is_volatile && p->body.len > 1;
}

/* "[…]" becomes "[…,"<epoch>.<seq>"]"; with a third number where it is one of several
 * that one row stands for. */
/* SIO-RECOVERY-OFFSET, SIO-HISTORY-OFFSET */
static void
append_with_offset(struct buf *b, const struct store_packet *p, int64_t epoch)
{
    buf_append(b, p->body.p, p->body.len - 1);
    buf_append_f(b, "%s\"%lld.%lld", p->body.len > 2 ? "," : "", (long long)epoch,
                 (long long)p->seq);
    if (p->part_seq != 0)
        buf_append_f(b, ".%lld", (long long)p->part_seq);
    buf_append_z(b, "\"]");
}

static void
append_body(struct buf *b, const struct store_packet *p, bool with_offset, int64_t epoch)
{
    if (with_offset && has_offset(p))
        append_with_offset(b, p, epoch);
    else
        buf_append_str(b, p->body);
}

/* One map; a row that cannot be said so is left out, a noop in its place. */
static struct frame *
encode_msgpack(const struct store_packet *p, struct sio_head *head, enum wire_form form,
               int64_t epoch)
{
    struct buf body = {0}, b = {0};
    append_body(&body, p, plain_form(form) == WIRE_MSGPACK_OFFSET, epoch);
    struct str json = buf_str(&body);
    if (p->kind == STORE_CONNECT_ERROR && str_has_prefix(json, STR("/"))) {
        size_t comma = str_index(json, ','); /* see connect_error */
        head->nsp = str_slice(json, 0, comma);
        json = str_slice(json, comma + 1, json.len);
    }
    enum rc rc = sio_msgpack_encode(head, json, p->attachments, &b);
    struct frame *f;
    if (rc == RC_OK) {
        f = bytes_frame(buf_str(&b), form);
    } else {
        log_warn("engine", "packet.dropped", LOG_I("seq", p->seq),
                 LOG_Z("code", rc_text(rc)));
        f = frame_of(STR("6"));
    }
    f->is_plain = p->is_plain;
    buf_fini(&body);
    buf_fini(&b);
    return f;
}

static struct frame *
encode(const struct store_packet *p, struct str nsp, enum wire_form form, int64_t epoch)
{
    if (p->kind == STORE_PONG)
        return frame_of(STR("3"));
    struct sio_head head = {
        .type = (enum sio_type)p->kind,
        .nsp = nsp,
        .has_ack_id =
            p->is_ask ||
            ((p->kind == STORE_ACK || p->kind == STORE_BINARY_ACK) && p->ack_id >= 0),
        .ack_id = p->is_ask ? p->seq : p->ack_id,
        .n_attachments = count_attachments(p->attachments),
    };
    enum wire_form plain = plain_form(form);
    if (plain == WIRE_MSGPACK || plain == WIRE_MSGPACK_OFFSET)
        return encode_msgpack(p, &head, form, epoch);
    struct buf b;
    frame_begin(&b, HEAD_BYTES + nsp.len + p->body.len);
    buf_append_c(&b, '0' + EIO_MESSAGE);
    sio_head_encode(&b, &head);
    if (plain == WIRE_V3 && p->kind != STORE_CONNECT)
        sio_json_to_ascii(&b, p->body);
    else if (plain != WIRE_V3)
        append_body(&b, p, plain == WIRE_V4_OFFSET, epoch);
    struct frame *f = frame_end(&b);
    f->is_plain = p->is_plain;
    append_attachments(f, p->attachments, form);
    return f;
}

struct frame *
wire_frames(struct store_packet *p, struct str nsp, enum wire_form form, int64_t epoch)
{
    if (!store_kind_is_sent(p->kind))
        return NULL;
    struct wire *w = (struct wire *)p->wire;
    if (w == NULL) {
        w = xcalloc(1, sizeof *w);
        w->head.destroy = wire_destroy;
        p->wire = &w->head;
    }
    if (w->forms[form] == NULL)
        w->forms[form] = encode(p, nsp, form, epoch);
    return w->forms[form];
}

bool
wire_has_binary(const struct frame *f)
{
    while (f != NULL && !f->is_binary)
        f = f->next;
    return f != NULL;
}

void
wire_payload_append_octets(struct buf *b, const struct frame *f)
{
    for (; f != NULL; f = f->next) {
        struct eio_packet p = {.type = EIO_MESSAGE, .is_binary = f->is_binary};
        if (!f->is_binary)
            p.type = (enum eio_type)(f->data[0] - '0');
        p.data = str_slice((struct str){f->data, f->len}, 1, f->len);
        eio_payload_append_octets(b, &p);
    }
}

void
wire_forget(struct store_packet *p)
{
    if (p->wire == NULL || (p->to_kind != STORE_TO_SESSION &&
                            p->to_kind != STORE_TO_SOCKET && p->kind != STORE_HISTORY))
        return;
    p->wire->destroy(p->wire);
    p->wire = NULL;
}

void
wire_payload_append(struct buf *b, enum wire_form form, size_t *n, const struct frame *f)
{
    for (; f != NULL; f = f->next) {
        struct eio_packet p = {.type = EIO_MESSAGE, .is_binary = f->is_binary};
        struct str data = {f->data, f->len};
        if (!f->is_binary)
            p.type = (enum eio_type)(f->data[0] - '0');
        p.data = f->is_binary && form != WIRE_V3 ? data : str_slice(data, 1, data.len);
        eio_payload_append(b, form == WIRE_V3 ? 3 : 4, *n, &p);
        (*n)++;
    }
}
