/*
 * store/live.c: who lives is what the kernel's locks say.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_world.h"

#include "store/live.h"

static _Atomic int64_t fake_now_ms; /* the store thread reads it, too */

static int64_t
fake_clock(void)
{
    return fake_now_ms;
}

/* Another process with a store of its own, which does nothing. */
struct neighbour {
    pid_t pid;
    int64_t process_id;
    int control; /* a byte: begin draining; closed: close the store */
};

static void
neighbour_main(struct world *w, enum store_front front, int control, int out)
{
    char byte;
    int64_t id;
    world_open(w, front);
    id = store_process_id(w->st);
    if (write(out, &id, sizeof id) != sizeof id)
        _exit(1);
    while (read(control, &byte, 1) == 1) {
        store_set_draining(w->st);
        for (int i = 0;
             i < 2000 && !world_number(w, "SELECT max(is_draining) FROM t_process"); i++)
            world_turn(w, 1);
        if (write(out, &id, sizeof id) != sizeof id)
            _exit(1);
    }
    world_close(w);
    _exit(0);
}

static struct neighbour
neighbour_start(struct world *w, enum store_front front, int *in)
{
    struct neighbour n = {0};
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    n.pid = fork();
    if (n.pid == 0) {
        close(to[1]);
        close(from[0]);
        neighbour_main(w, front, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    n.control = to[1];
    *in = from[0];
    assert_int_equal(read(*in, &n.process_id, sizeof n.process_id), sizeof n.process_id);
    return n;
}

static void
neighbour_end(struct neighbour *n, int sig)
{
    if (sig)
        kill(n->pid, sig);
    close(n->control);
    waitpid(n->pid, NULL, 0);
}

static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    world_init(w);
    *state = w;
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

static void
test_unknown_processes_are_dead(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_WS);
    assert_true(store_process_is_alive(w->st, store_process_id(w->st)));
    assert_false(store_process_is_alive(w->st, 0));
    assert_false(store_process_is_alive(w->st, -1));
    assert_false(store_process_is_alive(w->st, 12345678901));
}

static void
test_killed_process_is_dead_at_once(void **state)
{
    struct world *w = *state;
    int in;
    struct neighbour n = neighbour_start(w, STORE_FRONT_FCGI, &in);
    world_open(w, STORE_FRONT_WS);
    assert_true(n.process_id != store_process_id(w->st));
    assert_true(store_process_is_alive(w->st, n.process_id));
    neighbour_end(&n, SIGKILL);
    assert_false(store_process_is_alive(w->st, n.process_id));
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_process"),
                     2); /* until it is buried */
    close(in);
}

static void
test_closed_process_leaves_no_row(void **state)
{
    struct world *w = *state;
    int in;
    struct neighbour n = neighbour_start(w, STORE_FRONT_CTL, &in);
    world_open(w, STORE_FRONT_WS);
    assert_true(store_process_is_alive(w->st, n.process_id));
    neighbour_end(&n, 0);
    assert_false(store_process_is_alive(w->st, n.process_id));
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_process"), 1);
    close(in);
}

static void
test_sidecar_counts_while_it_takes_upgrades(void **state)
{
    struct world *w = *state;
    int64_t id;
    int in;
    struct neighbour n = neighbour_start(w, STORE_FRONT_WS, &in);
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_FCGI);
    assert_true(store_has_sidecar(w->st));
    assert_int_equal(write(n.control, "d", 1), 1);
    assert_int_equal(read(in, &id, sizeof id), sizeof id);
    assert_true(store_has_sidecar(w->st)); /* cached */
    fake_now_ms += 1001;
    assert_false(store_has_sidecar(w->st));
    neighbour_end(&n, SIGKILL);
    close(in);
}

static void
test_sidecar_counts_while_it_lives(void **state)
{
    struct world *w = *state;
    int in;
    struct neighbour n = neighbour_start(w, STORE_FRONT_WS, &in);
    fake_now_ms = clock_now_ms();
    clock_replace(fake_clock);
    world_open(w, STORE_FRONT_FCGI);
    assert_true(store_has_sidecar(w->st));
    neighbour_end(&n, SIGKILL);
    fake_now_ms += 1001;
    assert_false(store_has_sidecar(w->st));
    close(in);
}

static void
test_queue_is_free_after_a_kill(void **state)
{
    struct world *w = *state;
    struct store_live mine, theirs;
    struct buf err = {0};
    int ready[2];
    pid_t pid;
    world_open(w, STORE_FRONT_WS);
    world_close(w);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (store_live_open(&theirs, w->cfg.database, &err) != RC_OK ||
            !store_live_try_queue(&theirs) || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(store_live_open(&mine, w->cfg.database, &err), RC_OK);
    assert_false(store_live_try_queue(&mine));
    assert_true(store_live_try_checkpoint(&mine));
    kill(pid, SIGKILL);
    store_live_wait_queue(&mine);
    store_live_leave_queue(&mine);
    waitpid(pid, NULL, 0);
    assert_true(store_live_try_queue(&mine));
    store_live_close(&mine);
    close(ready[0]);
    close(ready[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unknown_processes_are_dead, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_killed_process_is_dead_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_closed_process_leaves_no_row, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_sidecar_counts_while_it_takes_upgrades,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sidecar_counts_while_it_lives, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_queue_is_free_after_a_kill, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
