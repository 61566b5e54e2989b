/*
 * MessagePack packets of any bytes: the first byte chooses the limits. What was accepted
 * must be what sio_packet_decode() makes of it as text, and come back the same through
 * sio_msgpack_encode(). The bytes are then taken for JSON and attachments of a row.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/sio/json.h"
#include "core/sio/msgpack.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const struct sio_packet *p, struct str text, const struct sio_limits *limits)
{
    struct sio_packet again;
    CHECK(str_is_utf8(text));
    CHECK(sio_packet_decode(text, limits, &again) == RC_OK);
    CHECK(again.type == p->type && str_eq(again.nsp, p->nsp));
    CHECK(again.has_ack_id == p->has_ack_id && str_eq(again.body, p->body));
    CHECK(str_eq(again.event, p->event) && str_eq(again.args, p->args));
    CHECK(sio_placeholders_check(p->body, (size_t)p->n_attachments) == RC_OK ||
          p->n_attachments == 0);
}

/* As JSON it says the same again, but for the spelling of numbers, on which both agree at
 * the second time, and for attachments that several placeholders share. */
static void
check_return(const struct sio_packet *p, struct str attachments,
             const struct sio_limits *limits)
{
    struct sio_head h = {p->type, p->nsp, p->has_ack_id, p->ack_id, 0};
    struct buf map = {0}, scratch = {0}, bytes = {0}, map2 = {0};
    struct sio_packet again;
    enum rc rc = sio_msgpack_encode(&h, p->body, attachments, &map);
    CHECK(rc == RC_OK || rc == RC_TOOBIG);
    if (rc == RC_OK) {
        rc = sio_msgpack_decode(buf_str(&map), limits, &scratch, &again, &bytes);
        CHECK(rc == RC_OK || rc == RC_INVALID); /* too many attachments now */
    }
    if (rc == RC_OK) {
        CHECK(again.type == p->type || p->n_attachments > 0);
        CHECK(str_eq(again.nsp, p->nsp) && again.has_ack_id == p->has_ack_id);
        CHECK(sio_msgpack_encode(&h, again.body, buf_str(&bytes), &map2) == RC_OK);
        CHECK(str_eq(buf_str(&map), buf_str(&map2)));
    }
    buf_fini(&map);
    buf_fini(&map2);
    buf_fini(&scratch);
    buf_fini(&bytes);
}

static void
check_encode(struct str text)
{
    size_t half = text.len ? (unsigned char)text.p[0] : 0;
    struct sio_head h = {.type = SIO_BINARY_EVENT, .nsp = STR("/")};
    struct buf out = {0};
    enum rc rc = sio_msgpack_encode(&h, str_slice(text, half, text.len),
                                    str_slice(text, 1, half), &out);
    CHECK(rc == RC_OK || out.len == 0);
    CHECK(out.len <= 4 * text.len + 256);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sio_limits limits = {10, 64, 256, false};
    struct buf scratch = {0}, attachments = {0};
    struct sio_packet p;
    struct str bytes;
    enum rc rc;
    char *copy;
    if (size == 0)
        return 0;
    if (data[0] & 1)
        limits = (struct sio_limits){2, 4, 8, false};
    copy = memcpy(malloc(size > 1 ? size - 1 : 1), data + 1, size - 1);
    bytes = (struct str){copy, size - 1};
    rc = sio_msgpack_decode(bytes, &limits, &scratch, &p, &attachments);
    CHECK(rc == RC_OK || rc == RC_INVALID || rc == RC_TOOBIG);
    if (rc == RC_OK) {
        CHECK(sio_msgpack_is_map(bytes));
        CHECK(scratch.len <= 40 * size);
        check_text(&p, buf_str(&scratch), &limits);
        check_return(&p, buf_str(&attachments), &limits);
    } else {
        CHECK(attachments.len == 0);
    }
    check_encode(bytes);
    buf_fini(&scratch);
    buf_fini(&attachments);
    free(copy);
    return 0;
}
