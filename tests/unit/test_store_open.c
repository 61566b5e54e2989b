/*
 * store/open.c, store/conn.c: new, foreign, newer and broken files; boots and epochs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/unit/store_world.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/open.h"

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
    world_fini(*state);
    free(*state);
    return 0;
}

static void
make_file(struct world *w, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(w->cfg.database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void
expect_refusal(struct world *w, enum rc rc, const char *text)
{
    struct buf err = {0};
    assert_int_equal(world_try_open(w, STORE_FRONT_WS, &err), rc);
    buf_append_c(&err, 0);
    if (!strstr(err.p, text) || !strstr(err.p, w->cfg.database))
        fail_msg("%s", err.p);
    buf_fini(&err);
    w->st = NULL;
}

static void
test_new_database_has_the_schema(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_WS);
    assert_int_equal(store_epoch(w->st), 1);
    assert_true(store_process_id(w->st) > 0);
    assert_int_equal(world_number(w, "PRAGMA application_id"), STORE_APPLICATION_ID);
    assert_int_equal(world_number(w, "PRAGMA user_version"), 2);
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_process WHERE front = 'ws'"),
                     1);
    world_close(w);
    assert_int_equal(world_number(w, "SELECT count(*) FROM t_process"), 0);
}

static void
test_database_is_opened_again(void **state)
{
    struct world *w = *state;
    int64_t id;
    world_open(w, STORE_FRONT_FCGI);
    id = store_process_id(w->st);
    world_emit(w, "[\"x\"]");
    world_settle(w);
    world_close(w);
    world_open(w, STORE_FRONT_CGI);
    assert_true(store_process_id(w->st) > id); /* never reused */
    assert_int_equal(store_last_seq(w->st), 1);
    assert_int_equal(store_epoch(w->st), 1);
}

static void
test_foreign_database_is_refused_and_untouched(void **state)
{
    struct world *w = *state;
    make_file(w, "CREATE TABLE mine (a); PRAGMA user_version = 3");
    expect_refusal(w, RC_INVALID, "not a database of siolite");
    assert_int_equal(world_number(w, "SELECT count(*) FROM sqlite_schema"), 1);
    assert_int_equal(world_number(w, "SELECT count(*) FROM pragma_journal_mode "
                                     "WHERE journal_mode = 'delete'"),
                     1);
}

static void
test_newer_database_is_refused(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_WS);
    world_close(w);
    make_file(w, "PRAGMA user_version = 9999");
    expect_refusal(w, RC_INVALID, "newer");
}

static void
test_text_file_is_refused(void **state)
{
    struct world *w = *state;
    FILE *f = fopen(w->cfg.database, "w");
    for (int i = 0; i < 100; i++)
        fputs("This is my diary, and not a database at all.\n", f);
    fclose(f);
    expect_refusal(w, RC_IO, "not a database");
}

static void
test_missing_folder_is_said(void **state)
{
    struct world *w = *state;
    char *name = w->cfg.database;
    struct buf err = {0};
    w->cfg.database = xstrdup("/nonexistent/db");
    assert_int_equal(world_try_open(w, STORE_FRONT_WS, &err), RC_IO);
    w->st = NULL;
    buf_append_c(&err, 0);
    assert_string_equal(err.p, "/nonexistent/db: No such file or directory");
    buf_fini(&err);
    free(w->cfg.database);
    w->cfg.database = name;
}

static void
test_side_files_have_the_mode_of_the_database(void **state)
{
    static const char *const NAMES[] = {"",      "-wal",   "-shm",
                                        "-live", "-queue", "-checkpoint"};
    struct world *w = *state;
    char name[120];
    struct stat st;
    chmod(w->folder, 0770); /* shared with a group */
    world_open(w, STORE_FRONT_WS);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        snprintf(name, sizeof name, "%s%s", w->cfg.database, NAMES[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0660);
    }
}

static void
test_boot_raises_epoch_and_seq(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_WS);
    world_emit(w, "[\"before\"]");
    world_settle(w);
    world_close(w);
    /* The last opener ran in another boot, whose clock was an hour ahead. */
    make_file(
        w,
        "UPDATE t_meta SET boot_id = 'other', wall_offset_ms = wall_offset_ms - 3600000;"
        "INSERT INTO t_job (due_ms, name) VALUES (3700000, 'a'), (0, 'b'),"
        " (9223372036854775807, 'c')");
    world_open(w, STORE_FRONT_WS);
    assert_int_equal(store_epoch(w->st), 2);
    assert_int_equal(store_last_seq(w->st), INT64_C(4294967297));
    assert_int_equal(
        world_number(w, "SELECT (due_ms + 500) / 1000 FROM t_job WHERE name = 'a'"), 100);
    assert_int_equal(world_number(w, "SELECT due_ms FROM t_job WHERE name = 'b'"), 0);
    assert_int_equal(world_number(w, "SELECT due_ms FROM t_job WHERE name = 'c'"),
                     INT64_MAX);
    world_emit(w, "[\"after\"]");
    world_settle(w);
    assert_int_equal(w->seqs[w->n_rows - 1], INT64_C(4294967298));
    assert_int_equal(w->n_horizons, 0);
    world_close(w);
    world_open(w, STORE_FRONT_WS);
    assert_int_equal(store_epoch(w->st), 2); /* once a boot */
}

static void
test_restored_backup_raises_the_epoch(void **state)
{
    struct world *w = *state;
    world_open(w, STORE_FRONT_CTL);
    world_emit(w, "[\"x\"]");
    world_settle(w);
    assert_int_equal(store_restored(w->st), RC_OK);
    assert_int_equal(store_epoch(w->st), 2);
    assert_int_equal(store_fence(w->st), RC_OK);
    assert_int_equal(store_last_seq(w->st), INT64_C(4294967297));
    assert_int_equal(w->n_horizons, 0);
}

static void
test_start_is_quick(void **state)
{
    struct world *w = *state;
    int64_t start_us;
    enum { N = 20 };
    world_open(w, STORE_FRONT_WS);
    world_close(w);
    for (enum store_front f = STORE_FRONT_FCGI; f <= STORE_FRONT_CTL; f++) {
        start_us = clock_now_us();
        for (int i = 0; i < N; i++) {
            world_open(w, f);
            world_close(w);
        }
        print_message("# open and close as front %d: %d us\n", (int)f,
                      (int)((clock_now_us() - start_us) / N));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_database_has_the_schema, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_database_is_opened_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_database_is_refused_and_untouched,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newer_database_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_text_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_folder_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_side_files_have_the_mode_of_the_database,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_boot_raises_epoch_and_seq, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_restored_backup_raises_the_epoch, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_start_is_quick, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
