/*
 * core/engine/adapter.c: rows made by hand, subscribers that write down what they get.
 * (test_engine_session.c compares it with the store.)
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PROCESS = 5, N_SUBS = 4 };

struct listener {
    struct sub sub; /* first */
    char got[200];  /* seqs, "close", "noop", "empty" */
};

struct world {
    struct adapter a;
    struct nsp main, other;
    struct listener l[N_SUBS]; /* session l + 1 */
};

static void
write_down(struct sub *s, const char *what)
{
    struct listener *l = (struct listener *)s;
    size_t len = strlen(l->got);
    snprintf(l->got + len, sizeof l->got - len, " %s", what);
}

static void
on_event(struct sub *s, struct store_packet *p, struct frame *f)
{
    char seq[24];
    assert_non_null(f);
    assert_int_equal(f->data[0], p->kind == STORE_PONG ? '3' : '4');
    snprintf(seq, sizeof seq, "%lld", (long long)p->seq);
    write_down(s, seq);
}

static void
on_noop(struct sub *s)
{
    write_down(s, "noop");
}

static void
on_close(struct sub *s, const struct store_packet *p)
{
    assert_true(str_eqz(p->body, "why"));
    write_down(s, "close");
}

static void
on_empty(struct sub *s)
{
    write_down(s, "empty");
}

static const struct sub_ops ops = {
    .on_event = on_event, .on_noop = on_noop, .on_close = on_close, .on_empty = on_empty};

static const struct nsp *
nsp_of(void *arg, int64_t nsp_id)
{
    struct world *w = arg;
    return nsp_id == 1 ? &w->main : nsp_id == 2 ? &w->other : NULL;
}

/* Session 1 to 4 with socket 11 to 14 in `/`, from row 10 on. */
static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->main = (struct nsp){.nsp_id = 1, .name = STR("/")};
    w->other = (struct nsp){.nsp_id = 2, .name = STR("/b")};
    adapter_init(&w->a, PROCESS, 1, nsp_of, w);
    for (int i = 0; i < N_SUBS; i++) {
        w->l[i].sub = (struct sub){.ops = &ops, .session_id = i + 1, .from_seq = 10};
        adapter_socket_add(&w->a, &w->l[i].sub, 11 + i, &w->main, STR("id"));
        adapter_enter(&w->a, &w->l[i].sub);
    }
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < N_SUBS; i++)
        adapter_leave(&w->a, &w->l[i].sub);
    assert_int_equal(w->a.targets.n, 0);
    adapter_fini(&w->a);
    free(w);
    return 0;
}

static struct store_packet *
row(int64_t seq, enum store_kind kind, enum store_to to, int64_t to_id, const char *body)
{
    struct store_packet *p = store_packet_create(kind, str_of(body), STR_NONE);
    p->seq = seq;
    p->nsp_id = to == STORE_TO_SESSION && kind != STORE_CONNECT ? 0 : 1;
    p->to_kind = to;
    p->to_id = to_id;
    p->origin_id = PROCESS;
    return p;
}

static void
apply_take(struct world *w, struct store_packet *p)
{
    adapter_apply(&w->a, p);
    store_packet_unref(p);
}

static void
event(struct world *w, int64_t seq, enum store_to to, int64_t to_id)
{
    apply_take(w, row(seq, STORE_EVENT, to, to_id, "[\"x\"]"));
}

static void
move(struct world *w, int64_t seq, enum store_kind kind, int64_t socket_id,
     int64_t room_id)
{
    struct store_packet *p = row(seq, kind, STORE_TO_SOCKET, socket_id, "");
    p->arg_id = room_id;
    apply_take(w, p);
}

static void
end(struct world *w, int64_t seq, enum store_kind kind, int64_t socket_id)
{
    apply_take(w, row(seq, kind, STORE_TO_SOCKET, socket_id, "why"));
}

static void
assert_got(const struct world *w, const char *a, const char *b, const char *c,
           const char *d)
{
    assert_string_equal(w->l[0].got, a);
    assert_string_equal(w->l[1].got, b);
    assert_string_equal(w->l[2].got, c);
    assert_string_equal(w->l[3].got, d);
}

static int64_t *
keys(int n, const int64_t *list)
{
    int64_t *copy = xcalloc((size_t)n, sizeof *copy);
    memcpy(copy, list, (size_t)n * sizeof *copy);
    return copy;
}

static void
test_each_kind_of_target_reaches_its_sockets(void **state)
{
    struct world *w = *state;
    event(w, 11, STORE_TO_NSP, 1);
    event(w, 12, STORE_TO_NSP, 2);
    event(w, 13, STORE_TO_SOCKET, 12);
    event(w, 14, STORE_TO_SESSION, 3);
    event(w, 15, STORE_TO_ROOM, 7);
    move(w, 16, STORE_JOIN, 14, 7);
    event(w, 17, STORE_TO_ROOM, 7);
    assert_got(w, " 11", " 11 13", " 11 14", " 11 17");
}

static void
test_union_of_targets_reaches_each_socket_once(void **state)
{
    struct world *w = *state;
    struct store_packet *p = row(20, STORE_EVENT, STORE_TO_LIST, 0, "[]");
    move(w, 11, STORE_JOIN, 11, 7);
    move(w, 12, STORE_JOIN, 11, 8);
    move(w, 13, STORE_JOIN, 12, 8);
    p->to_keys = keys(4, (const int64_t[]){store_key(STORE_TO_ROOM, 7),
                                           store_key(STORE_TO_ROOM, 8),
                                           store_key(STORE_TO_SOCKET, 11),
                                           store_key(STORE_TO_SOCKET, 13)});
    p->n_to_keys = 4;
    apply_take(w, p);
    assert_got(w, " 20", " 20", " 20", "");
}

static void
test_exceptions_and_the_skipped_socket_get_nothing(void **state)
{
    struct world *w = *state;
    struct store_packet *p = row(20, STORE_EVENT, STORE_TO_NSP, 1, "[]");
    move(w, 11, STORE_JOIN, 11, 7);
    p->not_keys = keys(2, (const int64_t[]){store_key(STORE_TO_ROOM, 7),
                                            store_key(STORE_TO_SOCKET, 12)});
    p->n_not_keys = 2;
    p->skip_id = 13;
    apply_take(w, p);
    assert_got(w, "", "", "", " 20");
}

static void
test_row_that_the_snapshot_had_is_not_applied_again(void **state)
{
    struct world *w = *state;
    adapter_leave(&w->a, &w->l[0].sub);
    w->l[0].sub.from_seq = 30;
    adapter_join(&w->a, adapter_socket_add(&w->a, &w->l[0].sub, 11, &w->main, STR("id")),
                 7);
    adapter_enter(&w->a, &w->l[0].sub);
    event(w, 20, STORE_TO_NSP, 1);
    move(w, 21, STORE_LEAVE, 11, 7);
    end(w, 22, STORE_GONE, 11);
    apply_take(w, row(23, STORE_CLOSE, STORE_TO_SESSION, 1, "why"));
    event(w, 30, STORE_TO_ROOM, 7);
    event(w, 31, STORE_TO_ROOM, 7);
    assert_got(w, " 31", " 20", " 20", " 20");
}

static void
test_leaving_a_room_ends_its_rows(void **state)
{
    struct world *w = *state;
    move(w, 11, STORE_JOIN, 11, 7);
    move(w, 12, STORE_JOIN, 11, 7); /* once is enough */
    move(w, 13, STORE_JOIN, 12, 7);
    move(w, 14, STORE_LEAVE, 11, 7);
    move(w, 15, STORE_LEAVE, 11, 9);
    event(w, 16, STORE_TO_ROOM, 7);
    move(w, 17, STORE_JOIN, 11, 7);
    event(w, 18, STORE_TO_ROOM, 7);
    assert_got(w, " 18", " 16 18", "", "");
}

static void
test_set_operation_changes_all_of_its_target(void **state)
{
    struct world *w = *state;
    struct store_packet *p = row(11, STORE_JOIN, STORE_TO_NSP, 1, "");
    p->arg_id = 7;
    p->skip_id = 12;
    apply_take(w, p);
    event(w, 12, STORE_TO_ROOM, 7);
    p = row(13, STORE_LEAVE, STORE_TO_ROOM, 7, ""); /* changes its own target */
    p->arg_id = 7;
    apply_take(w, p);
    event(w, 14, STORE_TO_ROOM, 7);
    assert_got(w, " 12", "", " 12", " 12");
}

static void
test_socket_in_many_rooms_joins_each_once(void **state)
{
    struct world *w = *state;
    int64_t seq = 11;
    for (int i = 0; i < 3; i++)
        for (int64_t room = 1; room <= 40; room++)
            move(w, seq++, STORE_JOIN, 11, room);
    assert_int_equal(w->l[0].sub.sockets->n_links, 41);
    for (int64_t room = 1; room <= 40; room += 2)
        move(w, seq++, STORE_LEAVE, 11, room);
    event(w, 500, STORE_TO_ROOM, 3);
    event(w, 501, STORE_TO_ROOM, 4);
    assert_got(w, " 501", "", "", "");
}

static void
test_ended_socket_gets_no_more_and_the_last_one_is_told(void **state)
{
    struct world *w = *state;
    adapter_socket_add(&w->a, &w->l[0].sub, 21, &w->other, STR("id"));
    move(w, 11, STORE_JOIN, 11, 7);
    end(w, 12, STORE_LOST, 11);
    event(w, 13, STORE_TO_ROOM, 7);
    event(w, 14, STORE_TO_SOCKET, 11);
    event(w, 15, STORE_TO_NSP, 2);
    end(w, 16, STORE_GONE, 21);
    event(w, 17, STORE_TO_NSP, 2);
    event(w, 18, STORE_TO_SESSION, 1);
    assert_got(w, " 15 empty 18", "", "", "");
}

static void
test_connect_row_adds_its_socket_with_its_rooms(void **state)
{
    struct world *w = *state;
    struct store_packet *p =
        row(11, STORE_CONNECT, STORE_TO_SESSION, 2, "{\"sid\":\"a\\u0062\"}");
    p->nsp_id = 2;
    p->socket_id = 22;
    p->to_keys = keys(1, (const int64_t[]){store_key(STORE_TO_ROOM, 7)});
    p->n_to_keys = 1;
    event(w, 10, STORE_TO_ROOM, 7);
    apply_take(w, p);
    assert_string_equal(sub_socket_find(&w->l[1].sub, 22)->sio_id, "ab");
    event(w, 12, STORE_TO_ROOM, 7);
    event(w, 13, STORE_TO_NSP, 2);
    assert_got(w, "", " 11 12 13", "", "");
}

static void
test_session_hears_of_its_noop_pong_and_close(void **state)
{
    struct world *w = *state;
    apply_take(w, row(11, STORE_NOOP, STORE_TO_SESSION, 1, ""));
    apply_take(w, row(12, STORE_PONG, STORE_TO_SESSION, 1, ""));
    apply_take(w, row(13, STORE_CLOSE, STORE_TO_SESSION, 1, "why"));
    apply_take(w, row(14, STORE_CONNECT_ERROR, STORE_TO_SESSION, 1, "{}"));
    apply_take(w, row(15, STORE_DISCONNECT, STORE_TO_SESSION, 9, ""));
    apply_take(w, row(16, STORE_WAKE, STORE_TO_NSP, 1, ""));
    assert_got(w, " noop 12 close 14", "", "", "");
}

static void
test_local_row_of_another_process_reaches_its_sender_only(void **state)
{
    struct world *w = *state;
    struct store_packet *p = row(11, STORE_EVENT, STORE_TO_NSP, 1, "[]");
    p->is_local = true;
    p->origin_id = PROCESS + 1;
    p->arg_id = 12;
    apply_take(w, p);
    p = row(12, STORE_EVENT, STORE_TO_NSP, 1, "[]");
    p->is_local = true;
    apply_take(w, p);
    assert_got(w, " 12", " 11 12", " 12", " 12");
}

static void
test_second_subscriber_of_a_session_takes_its_place(void **state)
{
    struct world *w = *state;
    struct listener again = {.sub = {.ops = &ops, .session_id = 1, .from_seq = 20}};
    adapter_socket_add(&w->a, &again.sub, 11, &w->main, STR("id"));
    event(w, 21, STORE_TO_SOCKET, 11); /* not in yet */
    again.sub.from_seq = 21;
    adapter_enter(&w->a, &again.sub);
    assert_false(w->l[0].sub.is_in);
    event(w, 22, STORE_TO_NSP, 1);
    event(w, 23, STORE_TO_SESSION, 1);
    event(w, 24, STORE_TO_SOCKET, 11);
    assert_string_equal(again.got, " 22 23 24");
    adapter_leave(&w->a, &again.sub);
    event(w, 25, STORE_TO_NSP, 1);
    assert_got(w, " 21", " 22 25", " 22 25", " 22 25");
}

/* Its new session was loaded from a snapshot that is ahead of the tail. */
static void
test_recovered_socket_is_in_its_new_session_only(void **state)
{
    struct world *w = *state;
    struct listener fresh = {.sub = {.ops = &ops, .session_id = 9, .from_seq = 20}};
    adapter_socket_add(&w->a, &fresh.sub, 11, &w->main, STR("id"));
    adapter_enter(&w->a, &fresh.sub);
    struct store_packet *p =
        row(15, STORE_CONNECT, STORE_TO_SESSION, 2, "{\"sid\":\"id\"}");
    p->socket_id = 11; /* it was in a third one in between */
    apply_take(w, p);
    end(w, 18, STORE_LOST, 11);
    event(w, 21, STORE_TO_SOCKET, 11);
    event(w, 22, STORE_TO_NSP, 1);
    assert_string_equal(fresh.got, " 21 22");
    assert_got(w, " empty", " 15 22", " 22", " 22");
    adapter_leave(&w->a, &fresh.sub);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_each_kind_of_target_reaches_its_sockets),
        T(test_union_of_targets_reaches_each_socket_once),
        T(test_exceptions_and_the_skipped_socket_get_nothing),
        T(test_row_that_the_snapshot_had_is_not_applied_again),
        T(test_leaving_a_room_ends_its_rows),
        T(test_set_operation_changes_all_of_its_target),
        T(test_socket_in_many_rooms_joins_each_once),
        T(test_ended_socket_gets_no_more_and_the_last_one_is_told),
        T(test_connect_row_adds_its_socket_with_its_rooms),
        T(test_session_hears_of_its_noop_pong_and_close),
        T(test_local_row_of_another_process_reaches_its_sender_only),
        T(test_second_subscriber_of_a_session_takes_its_place),
        T(test_recovered_socket_is_in_its_new_session_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
