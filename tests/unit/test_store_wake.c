/*
 * store/wake.c: commits of others are noticed, soon, all of them, with and without
 * inotify.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_world.h"

#include <errno.h>
#include <sys/inotify.h>

/* The wake.c in here is the one that the program uses: inotify can be taken away from it.
 */
static bool is_inotify_off;

static int
maybe_inotify_init1(int flags)
{
    if (!is_inotify_off)
        return inotify_init1(flags);
    errno = EMFILE;
    return -1;
}

#define inotify_init1 maybe_inotify_init1
#include "store/wake.c"
#undef inotify_init1

static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    world_init(w);
    outsider_start(w);
    world_open(w, STORE_FRONT_WS);
    world_turn(w, 100);
    *state = w;
    return 0;
}

static int
set_up_without_inotify(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    world_init(w);
    log_set_level((enum log_level) - 1);
    outsider_start(w);
    is_inotify_off = true;
    world_open(w, STORE_FRONT_WS);
    is_inotify_off = false;
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

#define EMIT "INSERT INTO emit (event) VALUES ('x')"

static void
test_each_commit_of_an_outsider_is_seen(void **state)
{
    struct world *w = *state;
    int64_t sum_us = 0;
    enum { N = 300 };
    outsider_run(
        w, "PRAGMA synchronous = FULL"); /* the event comes long before the commit */
    for (size_t i = 0; i < N; i++) {
        int64_t start_us = clock_now_us();
        outsider_send(w, EMIT);
        world_wait_rows(w, i + 1);
        sum_us += clock_now_us() - start_us;
        outsider_expect(w, "ok");
    }
    print_message("# %d us from an outsider's INSERT to on_packet\n", (int)(sum_us / N));
}

static void
test_quick_commits_are_all_seen(void **state)
{
    struct world *w = *state;
    enum { N = 3000 };
    outsider_run(w, "PRAGMA synchronous = NORMAL");
    for (int i = 0; i < N; i++) {
        struct pollfd fd = {.fd = w->outsider.from, .events = POLLIN};
        outsider_send(w, EMIT);
        if (poll(&fd, 1, 0) > 0) {
            char ignored[4096];
            assert_true(read(w->outsider.from, ignored, sizeof ignored) > 0);
        }
        world_turn(w, 0);
    }
    world_wait_rows(w, N);
}

static void
test_idle_store_sleeps(void **state)
{
    struct world *w = *state;
    struct pollfd fd = {.fd = store_fd(w->st), .events = POLLIN};
    outsider_run(w, EMIT);
    world_wait_rows(w, 1);
    world_emit(w, "[\"own\"]");
    world_settle(w);
    for (int i = 0; i < 100 && poll(&fd, 1, 30) > 0; i++)
        store_pump(w->st); /* what was still announced */
    assert_int_equal(poll(&fd, 1, 200), 0);
}

static void
test_long_transaction_is_seen_when_it_ends(void **state)
{
    struct world *w = *state;
    outsider_run(
        w, "PRAGMA cache_size = 5"); /* it writes to the -wal long before its COMMIT */
    outsider_run(w, "BEGIN IMMEDIATE");
    outsider_run(
        w, "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
           "INSERT INTO t_packet (kind, body) SELECT 2, hex(randomblob(500)) FROM n");
    for (int i = 0; i < 100; i++)
        world_turn(w, 1);
    assert_int_equal(w->n_rows, 0);
    outsider_run(w, "COMMIT");
    world_wait_rows(w, 500);
}

static void
test_fence_sees_what_was_committed_before_it(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 500; i++) {
        outsider_run(w, EMIT);
        assert_int_equal(store_fence(w->st), RC_OK);
        assert_int_equal(w->n_rows, i + 1);
    }
}

static void
test_fence_sees_own_commits(void **state)
{
    struct world *w = *state;
    int n_busy = 0;
    for (size_t i = 0; i < 500; i++) {
        int64_t end_us = clock_now_us() + WORLD_WAIT_US;
        bool was_busy = false; /* the head was just being written, for as long as its
                                  writer doesn't get a core */
        world_emit(w, "[\"x\"]");
        store_flush(w->st);
        while (w->n_rows <= i && clock_now_us() < end_us)
            if (store_fence(w->st) != RC_OK)
                was_busy = true;
        n_busy += was_busy;
        assert_int_equal(w->n_rows, i + 1);
        assert_int_equal(w->n_done, i); /* units are the pump's */
        world_settle(w);
        assert_int_equal(w->n_done, i + 1);
    }
    assert_true(n_busy < 50);
}

static void
test_fence_is_cheap(void **state)
{
    struct world *w = *state;
    int64_t start_us = clock_now_us();
    enum { N = 1000000 };
    for (int i = 0; i < N; i++)
        assert_int_equal(store_fence(w->st), RC_OK);
    print_message("# a fence that passes: %d ns\n",
                  (int)((clock_now_us() - start_us) * 1000 / N));
}

static void
test_without_inotify_a_tick_finds_rows(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 10; i++) {
        outsider_run(w, EMIT);
        world_wait_rows(w, i + 1);
    }
    world_emit(w, "[\"own\"]");
    world_settle(w);
    assert_int_equal(w->n_rows, 11);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_commit_of_an_outsider_is_seen, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_quick_commits_are_all_seen, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_idle_store_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_transaction_is_seen_when_it_ends,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fence_sees_what_was_committed_before_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fence_sees_own_commits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fence_is_cheap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_inotify_a_tick_finds_rows,
                                        set_up_without_inotify, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
