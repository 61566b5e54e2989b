/*
 * store/thread.c: batches, units that fail, a database that is busy or full.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_world.h"

#include "store/step.h"

static int
set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    world_init(w);
    outsider_start(w);
    world_open(w, STORE_FRONT_WS);
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

/* A step that runs SQL as it stands, and then says `rc`. */
struct sql_step {
    struct store_step head;
    const char *sql;
    enum rc rc;
};

static enum rc
run_sql(struct store_write *w, struct store_unit *u, struct store_step *step)
{
    struct sql_step *s = (struct sql_step *)step;
    int n = sqlite3_exec(w->conn->db, s->sql, NULL, NULL, NULL);
    (void)u;
    return n == SQLITE_OK ? s->rc : conn_rc(n);
}

static void
add_sql(struct store_unit *u, const char *sql, enum rc rc)
{
    struct sql_step *s = store_step_add(u, sizeof *s, run_sql, 0);
    s->sql = sql;
    s->rc = rc;
}

static void
submit_sql(struct world *w, const char *sql, enum rc rc)
{
    struct store_unit *u = store_unit_create();
    world_add_emit(u, "[\"with sql\"]");
    add_sql(u, sql, rc);
    store_unit_submit(w->st, u, world_on_done, w);
}

static void
test_rows_and_results_come_in_order(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 50; i++) {
        for (int j = 0; j < 20; j++)
            world_emit(w, "[\"x\"]");
        world_turn(w, 0);
    }
    world_settle(w);
    assert_int_equal(w->n_done, 1000);
    assert_int_equal(w->n_rows, 1000);
    assert_int_equal(w->seqs[999], 1000);
    assert_int_equal(store_last_seq(w->st), 1000);
    assert_int_equal(
        world_number(w, "SELECT count(*) FROM t_packet WHERE origin_id IS NOT NULL AND "
                        "made_ms > 0 AND to_id = nsp_id"),
        1000);
}

static void
test_packet_is_delivered_from_memory(void **state)
{
    struct world *w = *state;
    struct store_target t = {.nsp = STR("/"), .to = STORE_TO_NSP};
    struct store_packet *p = store_packet_create(STORE_EVENT, STR("[1]"), STR_NONE);
    struct store_unit *u = store_unit_create();
    store_packet_ref(p);
    store_unit_packet(u, &t, p);
    store_unit_submit(w->st, u, world_on_done, w);
    world_settle(w);
    assert_int_equal(p->seq, 1);
    assert_int_equal(p->origin_id, store_process_id(w->st));
    assert_int_equal(p->n_refs, 1);
    store_packet_unref(p);
}

static void
submit_from_done(struct world *w, const struct store_result *r)
{
    (void)r;
    if (w->n_done < 10)
        world_emit(w, "[\"again\"]");
    store_pump(w->st); /* returns at once */
    assert_int_equal(store_fence(w->st), RC_OK);
}

static void
test_callbacks_may_submit_and_fence(void **state)
{
    struct world *w = *state;
    w->on_done = submit_from_done;
    world_emit(w, "[\"first\"]");
    world_settle(w);
    assert_int_equal(w->n_done, 10);
    assert_int_equal(w->n_rows, 10);
}

static void
test_failing_unit_leaves_the_others(void **state)
{
    struct world *w = *state;
    world_emit(w, "[\"a\"]");
    submit_sql(w, "INSERT INTO t_nsp (name) VALUES ('/gone')", RC_INVALID);
    world_emit(w, "[\"b\"]");
    submit_sql(w, "INSERT INTO t_nsp (name) VALUES ('/gone')", RC_INVALID);
    submit_sql(w, "INSERT INTO t_nsp (name) VALUES ('/kept')", RC_OK);
    world_settle(w);
    assert_int_equal(w->n_done, 5);
    assert_int_equal(w->last_rc, RC_OK);
    assert_int_equal(w->n_rows, 3);
    assert_int_equal(w->seqs[2], 3); /* no hole */
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_nsp"), 2);
}

static void
test_unit_that_rolls_back_leaves_the_others(void **state)
{
    struct world *w = *state;
    world_emit(w, "[\"a\"]");
    submit_sql(w, "ROLLBACK", RC_OK);
    world_emit(w, "[\"b\"]");
    submit_sql(w, "ROLLBACK", RC_IO);
    world_emit(w, "[\"c\"]");
    world_settle(w);
    assert_int_equal(w->n_done, 5);
    assert_int_equal(w->n_rows, 3);
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_packet"), 3);
}

static void
test_failing_unit_gets_its_code(void **state)
{
    struct world *w = *state;
    submit_sql(w, "SELECT 1", RC_TOOBIG);
    world_settle(w);
    assert_int_equal(w->last_rc, RC_TOOBIG);
    submit_sql(w, "INSERT INTO t_nsp (name) VALUES ('/')", RC_OK);
    world_settle(w);
    assert_int_equal(w->last_rc, RC_INVALID);
    assert_non_null(strstr(w->last_error, "UNIQUE"));
    assert_int_equal(w->n_rows, 0);
}

static void
test_rows_of_application_sql_are_read_back(void **state)
{
    struct world *w = *state;
    world_emit(w, "[\"a\"]");
    submit_sql(w, "INSERT INTO emit (event) VALUES ('from sql')", RC_OK);
    world_emit(w, "[\"b\"]");
    world_settle(w);
    assert_int_equal(w->n_rows, 4);
    assert_string_equal(w->last_body, "[\"b\"]");
    submit_sql(w, "INSERT INTO emit (event) VALUES ('last')", RC_OK);
    world_settle(w);
    assert_int_equal(w->n_rows, 6);
    assert_string_equal(w->last_body, "[\"last\"]");
}

static void
test_busy_database_is_waited_for(void **state)
{
    struct world *w = *state;
    outsider_run(w, "BEGIN IMMEDIATE");
    world_emit(w, "[\"patient\"]");
    for (int i = 0; i < 20; i++)
        world_turn(w, 5);
    assert_int_equal(w->n_done, 0);
    outsider_run(w, "COMMIT");
    world_settle(w);
    assert_int_equal(w->last_rc, RC_OK);
    assert_int_equal(w->n_rows, 1);
}

static void
test_close_gives_up_on_a_busy_database(void **state)
{
    struct world *w = *state;
    int64_t start_us = clock_now_us();
    outsider_run(w, "BEGIN IMMEDIATE");
    world_emit(w, "[\"late\"]");
    store_close(w->st);
    w->st = NULL;
    assert_int_equal(w->n_done, 1);
    assert_int_equal(w->last_rc, RC_BUSY);
    assert_true(clock_now_us() - start_us < 10000000);
}

static void
test_full_disk_fails_units_and_nothing_else(void **state)
{
    struct world *w = *state;
    char *big = xmalloc(200001);
    memset(big, 'x', 200000);
    big[200000] = 0;
    submit_sql(w, "PRAGMA max_page_count = 70", RC_OK);
    world_settle(w);
    log_set_level((enum log_level) - 1);
    for (int i = 0; i < 5; i++)
        world_emit(w, big);
    world_settle(w);
    assert_int_equal(w->n_done, 6);
    assert_int_equal(w->last_rc, RC_IO);
    assert_int_equal(w->n_rows, 1);
    submit_sql(w, "PRAGMA max_page_count = 100000", RC_OK);
    world_settle(w);
    world_emit(w, big);
    world_settle(w);
    assert_int_equal(w->last_rc, RC_OK);
    assert_int_equal(w->n_rows, 3);
    free(big);
}

static void
test_close_commits_what_waits(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 100; i++)
        world_emit(w, "[\"x\"]");
    store_close(w->st);
    w->st = NULL;
    assert_int_equal(w->n_done, 100);
    assert_int_equal(w->last_rc, RC_OK);
    assert_int_equal(w->n_rows, 100);
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_process"), 0);
}

static void
resubmit(struct world *w, const struct store_result *r)
{
    if (r->rc == RC_OK)
        world_emit(w, "[\"too late\"]");
}

static void
test_unit_submitted_while_closing_fails(void **state)
{
    struct world *w = *state;
    w->on_done = resubmit;
    world_emit(w, "[\"x\"]");
    store_close(w->st);
    w->st = NULL;
    assert_int_equal(w->n_done, 2);
    assert_int_equal(w->last_rc, RC_BUSY);
}

static void
test_setup_uses_the_write_connection(void **state)
{
    struct world *w = *state;
    struct store_conn *c;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_setup_begin(w->st, &c), RC_OK);
        assert_int_equal(conn_exec(c, "INSERT INTO t_nsp (name) VALUES ('/setup')", NULL),
                         RC_OK);
        assert_int_equal(store_setup_end(w->st, i == 1), RC_OK);
        assert_int_equal(world_number(w, "SELECT count(*) FROM t_nsp"), 1 + i);
    }
    world_emit(w, "[\"after\"]");
    world_settle(w);
    assert_int_equal(w->last_rc, RC_OK);
}

static void
test_process_row_follows(void **state)
{
    struct world *w = *state;
    int64_t end_us = clock_now_us() + WORLD_WAIT_US;
    for (int i = 0; i < 10; i++)
        world_emit(w, "[\"x\"]");
    world_settle(w);
    store_set_draining(w->st);
    while (world_number(w, "SELECT last_seq + is_draining FROM t_process") != 11 &&
           clock_now_us() < end_us) {
        store_tick(w->st);
        world_turn(w, 50);
    }
    assert_int_equal(world_number(w, "SELECT last_seq FROM t_process"), 10);
    assert_int_equal(world_number(w, "SELECT is_draining FROM t_process"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_and_results_come_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_packet_is_delivered_from_memory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_callbacks_may_submit_and_fence, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_failing_unit_leaves_the_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_unit_that_rolls_back_leaves_the_others,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failing_unit_gets_its_code, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_rows_of_application_sql_are_read_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_busy_database_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_close_gives_up_on_a_busy_database, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_fails_units_and_nothing_else,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_commits_what_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unit_submitted_while_closing_fails, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_setup_uses_the_write_connection, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_process_row_follows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
