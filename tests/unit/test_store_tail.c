/*
 * store/store.c, store/prune.c, store/checkpoint.c: the log of several processes as one
 * of them sees it, and its end that is cut off.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_world.h"

#include <sys/stat.h>

static _Atomic int64_t fake_now_ms; /* the store thread reads it, too */

static int64_t
fake_clock(void)
{
    return fake_now_ms;
}

static int
set_up_closed(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    world_init(w);
    outsider_start(w);
    *state = w;
    return 0;
}

static int
set_up(void **state)
{
    set_up_closed(state);
    world_open(*state, STORE_FRONT_WS);
    return 0;
}

static int
tear_down(void **state)
{
    world_close(*state);
    clock_replace(NULL);
    world_fini(*state);
    free(*state);
    return 0;
}

#define MANY(n) "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " #n ") "

/* Another process with a store, which emits n times, one unit a turn. */
static pid_t
start_writer(struct world *w, int n)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    world_open(w, STORE_FRONT_FCGI);
    for (int i = 0; i < n; i++) {
        world_emit(w, "[\"theirs\"]");
        world_turn(w, 0);
    }
    world_settle(w);
    if (w->n_rows < (size_t)n)
        _exit(1);
    world_close(w);
    _exit(0);
}

static void
test_rows_of_all_processes_come_once_in_order(void **state)
{
    struct world *w = *state;
    enum { N = 5000, WRITERS = 3 };
    pid_t pids[WRITERS];
    int status;
    world_open(w, STORE_FRONT_CTL); /* makes the file, before the children start */
    world_close(w);
    for (int i = 0; i < WRITERS; i++)
        pids[i] = start_writer(w, N);
    world_open(w, STORE_FRONT_WS);
    int64_t first_seq = store_last_seq(w->st);
    for (int i = 0; i < N; i++) {
        world_emit(w, "[\"mine\"]");
        world_turn(w, 0);
    }
    world_settle(w);
    for (int i = 0; i < WRITERS; i++) {
        while (waitpid(pids[i], &status, WNOHANG) == 0)
            world_turn(w, 10);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < 200 && store_last_seq(w->st) < (WRITERS + 1) * N; i++)
        world_turn(w, 50);
    assert_int_equal(store_last_seq(w->st), (WRITERS + 1) * N);
    assert_int_equal(w->n_rows,
                     (WRITERS + 1) * N - first_seq); /* world_on_packet: ascending */
    assert_int_equal(w->n_horizons, 0);
}

/* A process that writes until it is killed. */
static pid_t
start_victim(struct world *w)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    world_open(w, STORE_FRONT_FCGI);
    for (;;) {
        if (store_n_pending(w->st) < 50)
            world_emit(w, "[\"theirs\"]");
        w->n_rows = 0; /* not to be kept */
        world_turn(w, 0);
    }
}

static void
test_killed_writers_leave_a_whole_log(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_CTL);
    world_close(w);
    for (int round = 0; round < 10; round++) {
        pid_t pid = start_victim(w);
        int64_t end_us, first_seq;
        world_open(w, STORE_FRONT_WS);
        first_seq = store_last_seq(w->st);
        w->n_rows = w->n_done = 0;
        end_us = clock_now_us() + 20000 + round * 3000;
        for (size_t n = 0; clock_now_us() < end_us || n < 100; n++) {
            world_emit(w, "[\"mine\"]");
            world_turn(w, 1);
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        world_emit(w, "[\"mine\"]");
        world_settle(w);
        assert_int_equal(w->last_rc, RC_OK);
        assert_int_equal(store_fence(w->st), RC_OK);
        assert_int_equal(w->n_rows, store_last_seq(w->st) - first_seq); /* no hole */
        assert_int_equal(store_last_seq(w->st),
                         world_number(w, "SELECT max(seq) FROM t_packet"));
        assert_int_equal(world_number(w, "SELECT count(*) FROM pragma_integrity_check "
                                         "WHERE integrity_check = 'ok'"),
                         1);
        world_close(w);
    }
}

static void
test_much_is_read_in_slices(void **state)
{
    struct world *w = *state;
    size_t before = 0, n_turns = 0;
    outsider_run(w,
                 MANY(10000) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
    while (w->n_rows < 10000 && n_turns < 1000) {
        world_turn(w, 1000);
        assert_true(w->n_rows - before <= 2000);
        before = w->n_rows;
        n_turns++;
    }
    assert_int_equal(w->n_rows, 10000);
}

static void
test_fence_takes_several_pumps_when_much_waits(void **state)
{
    struct world *w = *state;
    int n_tries = 0;
    outsider_run(w,
                 MANY(10000) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
    while (store_fence(w->st) == RC_BUSY && n_tries++ < 1000)
        world_turn(w, 1000); /* never waits in vain: readable */
    assert_int_equal(w->n_rows, 10000);
    assert_true(n_tries > 1);
}

static void
test_own_unit_waits_for_rows_of_others(void **state)
{
    struct world *w = *state;
    outsider_run(w,
                 MANY(5000) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
    world_emit(w, "[\"own\"]");
    world_settle(w); /* world_on_done checks the rows */
    assert_int_equal(w->n_rows, 5001);
    assert_string_equal(w->last_body, "[\"own\"]");
}

/* The answer of a poll of generation `gen` goes with an event. */
static void
emit_with_ride(struct world *w, int64_t gen)
{
    struct store_unit *u = store_unit_create();
    world_add_emit(u, "[\"own\"]");
    store_unit_poll_ride(u, &(struct store_ride){1, gen, store_seen(w->st), 1000});
    store_unit_submit(w->st, u, world_on_done, w);
}

/* What the poll has not seen must be known to us: else it could be too much, or not go
 * out as it is. */
static void
test_answer_rides_unless_others_wrote_in_between(void **state)
{
    struct world *w = *state;
    outsider_run(w, "INSERT INTO t_session (eio_sid) VALUES ('a')");
    outsider_run(w, "INSERT INTO t_lease (session_id) VALUES (1)");
    emit_with_ride(w, 0);
    world_emit(w, "[\"later\"]"); /* of the same commit, behind it */
    world_settle(w);
    assert_int_equal(world_number(w, "SELECT cursor_seq FROM t_lease"), 1);
    outsider_run(w, "INSERT INTO t_packet (kind, body) VALUES (2, '[1]')");
    emit_with_ride(w, 1);
    world_settle(w);
    assert_int_equal(w->last_rc, RC_OK);
    assert_int_equal(w->last_ride.gen, 0);
    assert_int_equal(world_number(w, "SELECT cursor_seq FROM t_lease"), 1);
    emit_with_ride(w, 1); /* all was seen meanwhile */
    world_settle(w);
    assert_int_equal(w->last_ride.gen, 2);
    assert_int_equal(w->last_ride.cursor_seq, 5);
    assert_int_equal(world_number(w, "SELECT cursor_seq FROM t_lease"), 5);
}

/* Of our own and of others, wherever among them it happens; a unit is done after its
 * rows. */
static void
test_row_that_cannot_be_taken_comes_again_before_any_other(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 20; i++) {
        struct store_unit *u = store_unit_create();
        for (int j = 0; j < 5; j++)
            world_add_emit(u, "[\"own\"]");
        store_unit_submit(w->st, u, world_on_done, w);
        if (i % 2)
            outsider_run(
                w, MANY(5) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
        w->n_busy = 1 + (size_t)i % 3;
        if (i % 4 == 1) /* everybody but the pump gets to know it, too */
            assert_int_equal(store_fence(w->st), RC_BUSY);
        world_settle(w);
        assert_int_equal(w->last_rc, RC_OK);
    }
    world_wait_rows(w, 20 * 5 + 10 * 5); /* world_on_packet: once each, in order */
    assert_int_equal(w->n_busy, 0);
    assert_int_equal(store_fence(w->st), RC_OK);
}

static void
test_rows_pruned_before_they_were_seen_are_a_horizon(void **state)
{
    struct world *w = *state;
    world_emit(w, "[\"a\"]");
    world_settle(w);
    outsider_run(w, "BEGIN IMMEDIATE");
    outsider_run(w, MANY(100) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
    outsider_run(w, "DELETE FROM t_packet WHERE seq <= 50");
    outsider_run(w, "UPDATE t_meta SET horizon_seq = 50");
    outsider_run(w, "COMMIT");
    for (int i = 0; i < 100 && !w->n_horizons; i++)
        world_turn(w, 50);
    assert_int_equal(w->n_horizons, 1);
    assert_int_equal(w->n_rows, 1);
    assert_int_equal(store_last_seq(w->st), 101);
    world_emit(w, "[\"b\"]");
    world_settle(w);
    assert_int_equal(w->n_rows, 2);
    assert_int_equal(w->n_horizons, 1);
}

static int64_t
count_rows(struct world *w)
{
    return world_number(w, "SELECT count(*) FROM t_packet");
}

/* Time goes on; housekeeping runs. */
static void
pass_time(struct world *w, int n_s)
{
    for (int i = 0; i < n_s; i++) {
        fake_now_ms += 1000;
        store_tick(w->st);
        for (int j = 0; j < 3; j++)
            world_turn(w, 3);
    }
}

static void
wait_until_pruned(struct world *w, int64_t n_rows)
{
    int64_t end_us = clock_now_us() + WORLD_WAIT_US;
    while (count_rows(w) > n_rows && clock_now_us() < end_us)
        pass_time(w, 1);
    assert_in_range(count_rows(w), 1, n_rows);
}

static void
emit_many(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        world_emit(w, "[\"x\"]");
        if (i % 100 == 0)
            world_turn(w, 0);
    }
    world_settle(w);
}

static void
test_what_nobody_needs_is_pruned(void **state)
{
    struct world *w = *state;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 3000);
    assert_true(count_rows(w) > 2000);
    wait_until_pruned(w, 1200);
    assert_int_equal(world_number(w, "SELECT max(seq) FROM t_packet"), 3000);
    assert_int_equal(
        world_number(w, "SELECT horizon_seq + 1 - (SELECT min(seq) FROM t_packet) "
                        "FROM t_meta"),
        0);
    world_emit(w, "[\"after\"]");
    world_settle(w);
    assert_int_equal(w->seqs[w->n_rows - 1], 3001);
    assert_int_equal(w->n_horizons, 0);
}

static void
test_recovery_window_is_kept(void **state)
{
    struct world *w = *state;
    w->cfg.recovery_ms = 120000;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 2000);
    outsider_run(w, MANY(500) "INSERT INTO t_packet (kind, body) SELECT 2, '[1]' FROM n");
    world_wait_rows(w, 2500);
    pass_time(w, 60);
    assert_int_equal(count_rows(w), 2500);
    emit_many(w, 10);
    pass_time(w, 90);
    wait_until_pruned(w, 1200); /* also those of the outsider, which know no time */
}

static void
test_cursor_of_a_poll_is_kept(void **state)
{
    struct world *w = *state;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    outsider_run(w, "INSERT INTO t_session (eio_sid) VALUES ('a')");
    outsider_run(w, "INSERT INTO t_lease (session_id, keep_seq) VALUES (1, 700)");
    emit_many(w, 3000);
    wait_until_pruned(w, 2400);
    pass_time(w, 10);
    assert_in_range(count_rows(w), 2300, 2400);
    assert_in_range(world_number(w, "SELECT min(seq) FROM t_packet"), 600, 701);
    outsider_run(w, "UPDATE t_lease SET keep_seq = NULL");
    wait_until_pruned(w, 1200);
}

static void
test_stopped_process_holds_the_log(void **state)
{
    struct world *w = *state;
    int ready[2];
    char byte;
    pid_t pid;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        world_open(w, STORE_FRONT_FCGI);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGSTOP);
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 2500);
    pass_time(w, 10);
    assert_int_equal(count_rows(w), 2500);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    wait_until_pruned(w, 1200);
    close(ready[0]);
    close(ready[1]);
}

static void
test_cap_overrules_all(void **state)
{
    struct world *w = *state;
    w->cfg.log_rows_max = 500;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    outsider_run(w, "INSERT INTO t_session (eio_sid) VALUES ('a')");
    outsider_run(w, "INSERT INTO t_lease (session_id, keep_seq) VALUES (1, 0)");
    emit_many(w, 3000);
    wait_until_pruned(w, 500);
    assert_true(world_number(w, "SELECT horizon_seq FROM t_meta") >= 2500);
}

/* Else seq would start again: t_packet counts without AUTOINCREMENT. */
static void
test_newest_row_outlives_the_cap(void **state)
{
    struct world *w = *state;
    w->cfg.log_rows_max = 1;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 3000);
    wait_until_pruned(w, 1);
    int64_t seq = world_number(w, "SELECT max(seq) FROM t_packet");
    assert_true(seq >= 3000);
    world_close(w);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 1);
    assert_true(world_number(w, "SELECT max(seq) FROM t_packet") > seq);
}

static void
test_gap_of_an_epoch_is_no_horizon(void **state)
{
    struct world *w = *state;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 500);
    world_close(w);
    outsider_run(w, "UPDATE t_meta SET boot_id = 'other'");
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 2000);
    wait_until_pruned(w, 1200);
    assert_true(world_number(w, "SELECT horizon_seq FROM t_meta") > INT64_C(4294967296));
    world_close(w);
    outsider_run(w, "UPDATE t_meta SET boot_id = 'another'");
    world_open(w, STORE_FRONT_WS);
    emit_many(w, 990);
    pass_time(w, 30);
    /* Only rows of the old epoch are surplus: those go, and the horizon stays at one of
     * them. */
    assert_true(world_number(w, "SELECT horizon_seq FROM t_meta") <
                INT64_C(2) * 4294967296);
    assert_int_equal(w->n_horizons, 0);
}

static void
test_members_go_with_the_horizon(void **state)
{
    struct world *w = *state;
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_WS);
    outsider_run(w, "INSERT INTO t_session (eio_sid) VALUES ('a')");
    outsider_run(w, "INSERT INTO t_socket (sio_id, nsp_id, session_id, state) VALUES "
                    "('open', 1, 1, 0), ('lost', 1, 1, 1)");
    outsider_run(w, "INSERT INTO t_room (nsp_id, name) VALUES (1, 'r')");
    outsider_run(
        w, "INSERT INTO t_member VALUES (1, 1, 1, 10), (1, 1, 20, 2999), (2, 1, 1, 10)");
    emit_many(w, 3000);
    wait_until_pruned(w, 1200);
    assert_int_equal(world_number(w,
                                  "SELECT count(*) FROM t_member WHERE socket_id = 1 AND "
                                  "until_seq = 10"),
                     0);
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_member WHERE socket_id = 2"),
                     1);
}

static void
test_wal_stays_small(void **state)
{
    struct world *w = *state;
    char name[120], body[1001];
    struct stat st;
    memset(body, 'x', 1000);
    body[1000] = 0;
    w->cfg.synchronous = CFG_SYNC_OFF;
    world_open(w, STORE_FRONT_WS);
    for (int i = 0; i < 100000; i++) {
        world_emit(w, body);
        if (i % 20 == 0)
            world_turn(w, store_n_pending(w->st) > 2000 ? 100 : 0);
    }
    world_settle(w);
    snprintf(name, sizeof name, "%s-wal", w->cfg.database);
    assert_int_equal(stat(name, &st), 0);
    print_message("# -wal after 100 MB: %d MB\n", (int)(st.st_size >> 20));
    assert_true(st.st_size < 100 << 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_of_all_processes_come_once_in_order,
                                        set_up_closed, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_writers_leave_a_whole_log,
                                        set_up_closed, tear_down),
        cmocka_unit_test_setup_teardown(test_much_is_read_in_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fence_takes_several_pumps_when_much_waits,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_row_that_cannot_be_taken_comes_again_before_any_other, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_own_unit_waits_for_rows_of_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_answer_rides_unless_others_wrote_in_between,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_rows_pruned_before_they_were_seen_are_a_horizon, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_nobody_needs_is_pruned, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_recovery_window_is_kept, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_cursor_of_a_poll_is_kept, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_process_holds_the_log, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_cap_overrules_all, set_up_closed, tear_down),
        cmocka_unit_test_setup_teardown(test_newest_row_outlives_the_cap, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_gap_of_an_epoch_is_no_horizon, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_members_go_with_the_horizon, set_up_closed,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_wal_stays_small, set_up_closed, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
