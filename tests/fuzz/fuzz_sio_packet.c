/*
 * Socket.IO packets of any bytes: the first byte chooses the limits, the rest is the
 * text. What was accepted must borrow from the text, iterate as values, survive the
 * checks of placeholders, and come back the same from its parts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"
#include "core/sio/packet.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_inside(struct str part, struct str whole)
{
    return part.len == 0 ||
           (part.p >= whole.p && part.p + part.len <= whole.p + whole.len);
}

static bool
is_binary(const struct sio_packet *p)
{
    return p->type == SIO_BINARY_EVENT || p->type == SIO_BINARY_ACK;
}

static void
check_parts(const struct sio_packet *p, struct str text, const struct sio_limits *limits)
{
    struct str rest = p->args, value, after;
    enum sio_json_kind kind;
    enum rc rc;
    CHECK(is_inside(p->body, text) && is_inside(p->event, p->body));
    CHECK(is_inside(p->args, p->body) && is_inside(p->query, text));
    CHECK(p->nsp.len == 0 || p->nsp.p[0] == '/');
    CHECK(str_is_utf8(p->nsp) && str_is_utf8(p->body));
    CHECK(p->n_attachments >= 0 && p->n_attachments <= limits->n_attachments_max);
    CHECK(is_binary(p) || p->n_attachments == 0);
    if (p->body.len)
        CHECK(sio_json_scan(p->body, limits->json_depth_max, &kind, &value, &after) ==
                  RC_OK &&
              value.len == p->body.len);
    if (p->event.len)
        CHECK(!sio_event_is_reserved(p->event));
    while ((rc = sio_json_next(&rest, &kind, &value)) == RC_OK) {
        int64_t num;
        CHECK(is_inside(value, p->args));
        if (sio_json_is_placeholder(value, &num))
            CHECK(num >= 0);
    }
    CHECK(rc == RC_NOTFOUND);
    rc = sio_placeholders_check(p->body, (size_t)p->n_attachments);
    CHECK(rc == RC_OK || rc == RC_INVALID);
}

/* The head again, the body behind it: decodes to the same packet. */
static void
check_return(const struct sio_packet *p, const struct sio_limits *limits)
{
    struct sio_head h = {p->type, p->nsp, p->has_ack_id, p->ack_id,
                         (size_t)p->n_attachments};
    struct sio_packet again;
    struct buf b = {0};
    if (limits->is_old && p->nsp.len == 0)
        return;
    sio_head_encode(&b, &h);
    buf_append_str(&b, p->body);
    CHECK(sio_packet_decode(buf_str(&b), limits, &again) == RC_OK);
    CHECK(again.type == p->type && str_eq(again.nsp, p->nsp));
    CHECK(again.has_ack_id == p->has_ack_id && again.ack_id == p->ack_id);
    CHECK(again.n_attachments == p->n_attachments && str_eq(again.body, p->body));
    CHECK(str_eq(again.event, p->event) && str_eq(again.args, p->args));
    buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sio_limits limits = {10, 64, 256, false};
    struct sio_packet p;
    struct str text;
    enum rc rc;
    char *copy;
    if (size == 0)
        return 0;
    if (data[0] & 1)
        limits.is_old = true;
    if (data[0] & 2)
        limits = (struct sio_limits){2, 3, 8, limits.is_old};
    copy = memcpy(malloc(size > 1 ? size - 1 : 1), data + 1, size - 1);
    text = (struct str){copy, size - 1};
    rc = sio_packet_decode(text, &limits, &p);
    CHECK(rc == RC_OK || rc == RC_INVALID || rc == RC_TOOBIG);
    if (rc == RC_OK) {
        check_parts(&p, text, &limits);
        check_return(&p, &limits);
    }
    rc = sio_placeholders_check(text, 3); /* text that was never scanned */
    CHECK(rc == RC_OK || rc == RC_INVALID || rc == RC_TOOBIG);
    free(copy);
    return 0;
}
