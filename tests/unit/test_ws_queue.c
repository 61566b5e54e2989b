/*
 * ws/queue.c: what is pushed comes out again, whole, in order, as WebSocket frames.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ws/deflate.h"

static char buffer[WS_BATCH];

/* Takes a batch and appends it to `wire`; its length, 0 if nothing waits. */
static size_t
take(struct ws_queue *q, struct ws_deflate *d, struct buf *wire)
{
    struct ws_batch batch;
    if (!ws_queue_take(q, d, buffer, &batch))
        return 0;
    assert_in_range(batch.len, 1, WS_BATCH);
    buf_append(wire, batch.p, batch.len);
    frame_unref(batch.held);
    return batch.len;
}

struct parsed {
    int first_byte;
    struct str data;
};

static struct parsed
parse(struct buf *wire, size_t *at)
{
    const unsigned char *p = (const unsigned char *)wire->p + *at;
    size_t head = p[1] == 127 ? 10 : p[1] == 126 ? 4 : 2;
    size_t len = head == 2 ? p[1] : 0;
    struct parsed f = {.first_byte = p[0]};
    for (size_t i = 2; i < head; i++)
        len = len << 8 | p[i];
    assert_true(*at + head + len <= wire->len);
    f.data = (struct str){(const char *)p + head, len};
    *at += head + len;
    return f;
}

static struct frame *
frame_with(size_t len, char fill, bool is_binary)
{
    struct frame *f = frame_create(len, is_binary);
    memset(f->data, fill, len);
    return f;
}

static void
test_one_frame_leaves_without_a_copy(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 60000, WS_PIECE};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ws_queue q = {0};
        struct frame *f = frame_with(sizes[i], 'x', i % 2);
        struct ws_batch batch;
        ws_queue_push_take(&q, frame_ref(f));
        assert_int_equal(q.n_bytes, sizes[i] + WS_FRAME_COST);
        assert_true(ws_queue_take(&q, NULL, buffer, &batch));
        assert_ptr_equal(batch.p + batch.len, f->data + f->len);
        assert_int_equal(batch.len, f->len + f->head_len);
        assert_int_equal((unsigned char)batch.p[0], i % 2 ? 0x82 : 0x81);
        assert_ptr_equal(batch.held, f);
        frame_unref(batch.held);
        assert_true(ws_queue_is_empty(&q));
        assert_int_equal(q.n_bytes, 0);
        assert_int_equal(f->n_refs, 1);
        frame_unref(f);
    }
}

static void
test_many_frames_are_joined_in_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct ws_queue q = {0};
    struct buf wire = {0};
    size_t at = 0, n_batches = 0;
    for (int i = 0; i < N; i++) {
        struct frame *f = frame_with((size_t)i, (char)i, false);
        ws_queue_push_take(&q, f);
    }
    while (take(&q, NULL, &wire))
        n_batches++;
    assert_in_range(n_batches, wire.len / WS_BATCH, wire.len / (WS_BATCH - 2 * N) + 1);
    for (int i = 0; i < N; i++) {
        struct parsed f = parse(&wire, &at);
        assert_int_equal(f.first_byte, 0x81);
        assert_int_equal(f.data.len, i);
        if (i)
            assert_int_equal(f.data.p[i - 1], (char)i);
    }
    assert_int_equal(at, wire.len);
    assert_int_equal(q.n_bytes, 0);
    buf_fini(&wire);
}

static void
test_pushing_between_takes(void **state)
{
    (void)state;
    struct ws_queue q = {0};
    struct buf wire = {0};
    int pushed = 0, seen = 0;
    size_t at = 0;
    srand(7);
    for (int round = 0; round < 2000; round++) {
        for (int n = rand() % 40; n > 0; n--) {
            struct frame *f = frame_create(sizeof pushed, true);
            memcpy(f->data, &pushed, sizeof pushed);
            pushed++;
            ws_queue_push_take(&q, f);
        }
        if (rand() % 3)
            take(&q, NULL, &wire);
    }
    while (take(&q, NULL, &wire))
        ;
    while (at < wire.len) {
        int value;
        memcpy(&value, parse(&wire, &at).data.p, sizeof value);
        assert_int_equal(value, seen++);
    }
    assert_int_equal(seen, pushed);
    buf_fini(&wire);
}

static void
test_long_frame_leaves_in_fragments(void **state)
{
    (void)state;
    static const size_t sizes[] = {WS_PIECE + 1, 2 * WS_PIECE, 3 * WS_PIECE + 5, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ws_queue q = {0};
        struct buf wire = {0}, data = {0};
        size_t at = 0;
        struct frame *f = frame_create(sizes[i], true);
        for (size_t k = 0; k < f->len; k++)
            f->data[k] = (char)(k * 31 >> 3);
        ws_queue_push_take(&q, frame_with(3, 'a', false));
        ws_queue_push_take(&q, frame_ref(f));
        ws_queue_push_take(&q, frame_with(3, 'z', false));
        while (take(&q, NULL, &wire))
            ;
        assert_int_equal(q.n_bytes, 0);
        assert_int_equal(parse(&wire, &at).data.p[0], 'a');
        while (data.len < f->len) {
            struct parsed part = parse(&wire, &at);
            bool is_last = data.len + part.data.len == f->len;
            assert_int_equal(part.first_byte, (data.len ? 0 : 2) | (is_last ? 0x80 : 0));
            assert_in_range(part.data.len, 1, WS_PIECE);
            buf_append_str(&data, part.data);
        }
        assert_memory_equal(data.p, f->data, f->len);
        assert_int_equal(parse(&wire, &at).data.p[0], 'z');
        assert_int_equal(at, wire.len);
        frame_unref(f);
        buf_fini(&wire);
        buf_fini(&data);
    }
}

static void
test_attachments_follow_their_packet(void **state)
{
    (void)state;
    struct ws_queue a = {0}, b = {0};
    struct buf wire_a = {0}, wire_b = {0};
    struct frame *packet = frame_with(10, 'p', false);
    size_t at = 0;
    packet->next = frame_with(20, 'q', true);
    packet->next->next = frame_with(100000, 'r', true);
    ws_queue_push_take(&a, frame_ref(packet));
    ws_queue_push_take(&a, frame_with(1, 's', false));
    ws_queue_push_take(&b, packet); /* the last reference is a queue's */
    while (take(&b, NULL, &wire_b))
        ;
    while (take(&a, NULL, &wire_a))
        ;
    assert_int_equal(parse(&wire_a, &at).data.p[0], 'p');
    assert_int_equal(parse(&wire_a, &at).data.p[0], 'q');
    assert_int_equal(parse(&wire_a, &at).first_byte, 0x02);
    assert_int_equal(parse(&wire_a, &at).first_byte, 0x80);
    assert_int_equal(parse(&wire_a, &at).data.p[0], 's');
    assert_int_equal(at, wire_a.len);
    assert_int_equal(wire_b.len + 3, wire_a.len);
    assert_memory_equal(wire_a.p, wire_b.p, wire_b.len);
    buf_fini(&wire_a);
    buf_fini(&wire_b);
}

static void
test_clear_drops_all_references(void **state)
{
    (void)state;
    struct ws_queue q = {0};
    struct buf wire = {0};
    struct frame *f = frame_with(100000, 'x', false);
    for (int i = 0; i < 100; i++)
        ws_queue_push_take(&q, frame_ref(f));
    take(&q, NULL, &wire); /* in the middle of the first one */
    ws_queue_clear(&q);
    assert_int_equal(f->n_refs, 1);
    assert_int_equal(q.n_bytes, 0);
    assert_true(ws_queue_is_empty(&q));
    assert_int_equal(take(&q, NULL, &wire), 0);
    ws_queue_push_take(&q, frame_with(1, 'y', false));
    assert_int_equal(take(&q, NULL, &wire), 3);
    frame_unref(f);
    buf_fini(&wire);
}

static void
test_compressed_once_for_all(void **state)
{
    (void)state;
    struct ws_deflate d;
    struct ws_queue a = {0}, b = {0}, plain = {0};
    struct buf wire = {0};
    struct frame *f = frame_with(200000, 'x', false);
    size_t at = 0;
    ws_deflate_init(&d, 100);
    ws_queue_push_take(&a, frame_ref(f));
    ws_queue_push_take(&b, frame_ref(f));
    ws_queue_push_take(&plain, frame_ref(f));
    take(&a, &d, &wire);
    assert_non_null(f->deflated);
    take(&b, &d, &wire);
    assert_int_equal(parse(&wire, &at).first_byte, 0xc1);
    assert_int_equal(parse(&wire, &at).first_byte, 0xc1);
    assert_int_equal(at, wire.len);
    assert_int_equal(a.n_bytes + b.n_bytes, 0);
    while (take(&plain, &d, &wire) && !ws_queue_is_empty(&plain))
        ;
    ws_queue_push_take(&plain, frame_ref(f));
    take(&plain, NULL, &wire);
    ws_queue_clear(&plain);
    frame_unref(f);
    ws_deflate_fini(&d);
    buf_fini(&wire);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_frame_leaves_without_a_copy),
        cmocka_unit_test(test_many_frames_are_joined_in_order),
        cmocka_unit_test(test_pushing_between_takes),
        cmocka_unit_test(test_long_frame_leaves_in_fragments),
        cmocka_unit_test(test_attachments_follow_their_packet),
        cmocka_unit_test(test_clear_drops_all_references),
        cmocka_unit_test(test_compressed_once_for_all),
    };
    return cmocka_run_group_tests_name("ws_queue", tests, NULL, NULL);
}
