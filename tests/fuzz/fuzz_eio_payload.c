/*
 * Payloads, WebSocket messages, JSONP forms and query strings of any bytes. The first
 * byte chooses the form, the rest is the input. What was read must be text or bytes
 * inside bounds, and what is written again must read back the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/eio/payload.h"
#include "core/eio/request.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_packet(const struct eio_packet *p)
{
    CHECK(p->type >= EIO_OPEN && p->type <= EIO_NOOP);
    CHECK(!p->is_binary || p->type == EIO_MESSAGE);
    CHECK(p->is_binary || str_is_utf8(p->data));
}

static void
check_same(struct eio_payload_reader *r, const struct eio_packet *want)
{
    struct eio_packet p;
    CHECK(eio_payload_read(r, &p) == RC_OK);
    CHECK(p.type == want->type && p.is_binary == want->is_binary);
    CHECK(str_eq(p.data, want->data));
}

/* Writes the packet in the form, alone, and reads it back. */
static void
write_and_read(const struct eio_packet *want, int protocol, bool is_octets)
{
    struct buf b = {0};
    struct eio_payload_reader r = {.is_single_utf8 = true};
    struct eio_packet p;
    /* Revision 4 can't carry the separator inside of text. */
    if (protocol == 4 && !want->is_binary && str_index(want->data, 0x1e) < want->data.len)
        return;
    if (is_octets)
        eio_payload_append_octets(&b, want);
    else
        eio_payload_append(&b, protocol, 0, want);
    eio_payload_read_init(&r, protocol, is_octets, buf_str(&b));
    check_same(&r, want);
    CHECK(eio_payload_read(&r, &p) == RC_NOTFOUND);
    eio_payload_read_fini(&r);
    buf_fini(&b);
}

static void
read_payload(struct str in, unsigned flags)
{
    struct eio_payload_reader r = {.is_double_utf8 = flags & 4,
                                   .is_single_utf8 = flags & 8};
    struct eio_packet p;
    size_t n = 0;
    enum rc rc;
    eio_payload_read_init(&r, flags & 1 ? 3 : 4, flags & 2, in);
    while ((rc = eio_payload_read(&r, &p)) == RC_OK) {
        check_packet(&p);
        if (n++ < 16) {
            write_and_read(&p, 4, false);
            write_and_read(&p, 3, false);
            write_and_read(&p, 3, true);
        }
        CHECK(n <= in.len);
    }
    CHECK(rc == RC_NOTFOUND || rc == RC_INVALID);
    CHECK(eio_payload_read(&r, &p) == rc);
    eio_payload_read_fini(&r);
}

static void
read_message(struct str in, unsigned flags)
{
    struct buf scratch = {0};
    struct eio_packet p;
    if (eio_packet_decode_base64(flags & 1 ? 3 : 4, flags & 2, in, &scratch, &p) == RC_OK)
        check_packet(&p);
    buf_fini(&scratch);
}

static void
read_form(struct str in)
{
    struct buf b = {0}, js = {0};
    if (eio_jsonp_unwrap(in, &b) == RC_OK) {
        eio_jsonp_wrap(&js, STR("0"), buf_str(&b));
        for (size_t i = 0; i < js.len; i++)
            CHECK((signed char)js.p[i] >= 0x20); /* ASCII without controls */
    }
    buf_fini(&b);
    buf_fini(&js);
}

static void
read_query(struct str in)
{
    static struct eio_param params[EIO_PARAMS_MAX];
    struct buf scratch = {0}, json = {0};
    struct eio_request r;
    size_t n;
    if (eio_query_decode(in, &scratch, params, &n) == RC_OK) {
        eio_request_decode(params, n, &r);
        for (size_t i = 0; i < r.jsonp.len; i++)
            CHECK(r.jsonp.p[i] >= '0' && r.jsonp.p[i] <= '9');
        eio_query_encode_json(&json, params, n);
        CHECK(str_is_utf8(buf_str(&json)));
    }
    buf_fini(&scratch);
    buf_fini(&json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in;
    char *copy; /* exactly as long as the input: reading past it is seen */
    if (size == 0)
        return 0;
    copy = memcpy(malloc(size > 1 ? size - 1 : 1), data + 1, size - 1);
    in = (struct str){copy, size - 1};
    switch (data[0] >> 4 & 3) {
    case 0:
        read_payload(in, data[0]);
        break;
    case 1:
        read_message(in, data[0]);
        break;
    case 2:
        read_form(in);
        break;
    case 3:
        read_query(in);
        break;
    }
    free(copy);
    return 0;
}
