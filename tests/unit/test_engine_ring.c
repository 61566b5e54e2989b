/*
 * core/engine/ring.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 1 << 20 };

static struct store_packet *
row(int64_t seq, enum store_to to_kind, int64_t to_id)
{
    struct store_packet *p = store_packet_create(STORE_EVENT, STR("[\"x\"]"), STR_NONE);
    p->seq = seq;
    p->nsp_id = 1;
    p->to_kind = to_kind;
    p->to_id = to_id;
    return p;
}

static void
append_take(struct ring *r, struct store_packet *p)
{
    ring_append(r, p);
    store_packet_unref(p);
}

static void
append(struct ring *r, int64_t seq, enum store_to to_kind, int64_t to_id)
{
    append_take(r, row(seq, to_kind, to_id));
}

struct seqs {
    char text[400];
};

static void
note(void *arg, struct store_packet *p)
{
    struct seqs *s = arg;
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, " %lld", (long long)p->seq);
}

static void
assert_walk(const struct ring *r, int64_t key, int64_t above_seq, const char *want)
{
    struct seqs s = {""};
    ring_walk(r, key, above_seq, note, &s);
    assert_string_equal(s.text, want);
}

static void
test_rows_of_one_target_are_found_newest_first(void **state)
{
    struct ring r;
    (void)state;
    ring_init(&r, 100, BYTES, 10);
    append(&r, 11, STORE_TO_ROOM, 1);
    append(&r, 12, STORE_TO_ROOM, 2);
    append(&r, 13, STORE_TO_NSP, 1);
    append(&r, 15, STORE_TO_ROOM, 1);
    append(&r, 16, STORE_TO_LIST, 0);
    append(&r, 17, STORE_TO_ROOM, 1);
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 10, " 17 15 11");
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 11, " 17 15");
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 17, "");
    assert_walk(&r, store_key(STORE_TO_NSP, 1), 10, " 13");
    assert_walk(&r, store_key(STORE_TO_SOCKET, 1), 10, "");
    assert_walk(&r, RING_KEY_LIST, 10, " 16");
    assert_int_equal(r.from_seq, 10);
    assert_int_equal(r.last_seq, 17);
    ring_fini(&r);
}

static void
test_control_and_volatile_rows_only_move_its_end(void **state)
{
    struct ring r;
    struct store_packet *p = row(2, STORE_TO_ROOM, 1);
    (void)state;
    ring_init(&r, 100, BYTES, 0);
    p->is_volatile = true;
    append_take(&r, p);
    p = row(3, STORE_TO_ROOM, 1);
    p->kind = STORE_JOIN;
    append_take(&r, p);
    p = row(4, STORE_TO_SESSION, 1);
    p->kind = STORE_CLOSE;
    append_take(&r, p);
    assert_int_equal(r.end, 0);
    assert_int_equal(r.last_seq, 4);
    assert_int_equal(r.from_seq, 0);
    ring_fini(&r);
}

/* The sender's poll may be under way while the row comes. */
static void
test_local_rows_are_kept(void **state)
{
    struct ring r;
    struct store_packet *p = row(2, STORE_TO_ROOM, 1);
    (void)state;
    ring_init(&r, 100, BYTES, 0);
    p->is_local = true;
    append_take(&r, p);
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 0, " 2");
    ring_fini(&r);
}

static void
test_packets_for_the_connection_are_kept(void **state)
{
    static const enum store_kind kinds[] = {STORE_CONNECT, STORE_DISCONNECT, STORE_ACK,
                                            STORE_CONNECT_ERROR, STORE_PONG};
    struct ring r;
    (void)state;
    ring_init(&r, 100, BYTES, 0);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct store_packet *p = row((int64_t)i + 1, STORE_TO_SESSION, 5);
        p->kind = kinds[i];
        append_take(&r, p);
    }
    assert_walk(&r, store_key(STORE_TO_SESSION, 5), 0, " 5 4 3 2 1");
    ring_fini(&r);
}

static void
test_oldest_rows_go_when_there_are_too_many(void **state)
{
    struct ring r;
    (void)state;
    ring_init(&r, 3, BYTES, 0);
    for (int64_t seq = 1; seq <= 6; seq++)
        append(&r, seq * 10, STORE_TO_ROOM, seq % 2);
    assert_int_equal(r.end - r.first, 3);
    assert_int_equal(r.from_seq, 30); /* invariant 1: what is above is all there */
    assert_walk(&r, store_key(STORE_TO_ROOM, 0), 30, " 60 40");
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 30, " 50");
    for (int64_t seq = 7; seq <= 9; seq++)
        append(&r, seq * 10, STORE_TO_ROOM, 7);
    assert_walk(&r, store_key(STORE_TO_ROOM, 0), 0, "");
    assert_int_equal(r.heads.n, 1);
    ring_fini(&r);
}

static void
test_oldest_rows_go_when_they_are_too_big(void **state)
{
    struct ring r;
    char body[1000];
    (void)state;
    memset(body, 'x', sizeof body);
    ring_init(&r, 100, 5000, 0);
    for (int64_t seq = 1; seq <= 20; seq++) {
        struct store_packet *p =
            store_packet_create(STORE_EVENT, (struct str){body, sizeof body}, STR_NONE);
        p->seq = seq;
        p->to_kind = STORE_TO_ROOM;
        append_take(&r, p);
        assert_true(r.n_bytes <= 5000);
        assert_int_equal(r.from_seq, seq - (int64_t)(r.end - r.first));
    }
    assert_in_range(r.end - r.first, 3, 5);
    /* one that is too big alone is still the newest */
    char *big = xcalloc(1, 10000);
    struct store_packet *p =
        store_packet_create(STORE_EVENT, (struct str){big, 10000}, STR_NONE);
    free(big);
    p->seq = 21;
    append_take(&r, p);
    assert_int_equal(r.end - r.first, 1);
    assert_int_equal(r.from_seq, 20);
    append(&r, 22, STORE_TO_ROOM, 1);
    assert_int_equal(r.from_seq, 21);
    ring_fini(&r);
}

static void
test_reset_forgets_everything(void **state)
{
    struct ring r;
    struct store_packet *p = row(1, STORE_TO_ROOM, 1);
    (void)state;
    ring_init(&r, 100, BYTES, 0);
    ring_append(&r, p);
    assert_int_equal(p->n_refs, 2);
    ring_reset(&r, 50);
    assert_int_equal(p->n_refs, 1);
    assert_int_equal(r.from_seq, 50);
    assert_int_equal(r.last_seq, 50);
    assert_int_equal(r.n_bytes, 0);
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 0, "");
    append(&r, 51, STORE_TO_ROOM, 1);
    assert_walk(&r, store_key(STORE_TO_ROOM, 1), 0, " 51");
    store_packet_unref(p);
    ring_fini(&r);
}

/* Many rows, so that the table grows while its oldest slot stands anywhere. */
static void
test_ring_holds_what_it_says_whatever_comes(void **state)
{
    enum { N_KEYS = 7, N_ROWS = 20000 };
    static unsigned char key_of[N_ROWS + 1];
    struct ring r;
    uint64_t random = 3;
    (void)state;
    ring_init(&r, 700, BYTES, 0);
    for (int64_t seq = 1; seq <= N_ROWS; seq++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        key_of[seq] = (unsigned char)((random >> 33) % N_KEYS);
        append(&r, seq, STORE_TO_ROOM, key_of[seq]);
        if (seq % 97)
            continue;
        int64_t above_seq = r.from_seq + (int64_t)((random >> 43) % 300);
        for (int64_t k = 0; k < N_KEYS; k++) {
            struct seqs *want = xcalloc(1, sizeof *want);
            size_t len = 0;
            for (int64_t s = seq; s > above_seq && s > seq - 60; s--)
                if (key_of[s] == k && len < sizeof want->text - 20)
                    len += (size_t)snprintf(want->text + len, sizeof want->text - len,
                                            " %lld", (long long)s);
            struct seqs got = {""};
            ring_walk(&r, store_key(STORE_TO_ROOM, k),
                      above_seq > seq - 60 ? above_seq : seq - 60, note, &got);
            assert_string_equal(got.text, want->text);
            free(want);
        }
    }
    assert_int_equal(r.from_seq, N_ROWS - 700);
    ring_fini(&r);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_one_target_are_found_newest_first),
        cmocka_unit_test(test_control_and_volatile_rows_only_move_its_end),
        cmocka_unit_test(test_local_rows_are_kept),
        cmocka_unit_test(test_packets_for_the_connection_are_kept),
        cmocka_unit_test(test_oldest_rows_go_when_there_are_too_many),
        cmocka_unit_test(test_oldest_rows_go_when_they_are_too_big),
        cmocka_unit_test(test_reset_forgets_everything),
        cmocka_unit_test(test_ring_holds_what_it_says_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
