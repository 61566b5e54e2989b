/*
 * core/base/clock.c and core/base/rnd.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/rnd.h"

static int64_t
half_past(void)
{
    return 1800;
}

static void
test_replaced_clock_is_used_until_restored(void **state)
{
    int64_t before = clock_now_ms();
    (void)state;
    assert_true(before > 1800);
    clock_replace(half_past);
    assert_int_equal(clock_now_ms(), 1800);
    clock_replace(NULL);
    assert_true(clock_now_ms() >= before);
}

static void
test_clocks_do_not_run_backwards(void **state)
{
    int64_t ms = clock_now_ms(), us = clock_now_us();
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(clock_now_ms() >= ms && clock_now_us() >= us);
        ms = clock_now_ms();
        us = clock_now_us();
    }
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
}

static void
test_boot_id_is_whole_or_empty(void **state)
{
    char id[37], again[37];
    (void)state;
    memset(id, 'x', sizeof id);
    clock_boot_id(id);
    clock_boot_id(again);
    assert_true(strlen(id) == 36 || strlen(id) == 0);
    assert_string_equal(id, again);
}

static void
test_ids_are_20_safe_characters_and_differ(void **state)
{
    static char ids[1000][RND_ID_LEN + 1];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        rnd_id(ids[i]);
        assert_int_equal(strlen(ids[i]), 20);
        assert_int_equal(strspn(ids[i],
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789_-"),
                         20);
        for (int j = 0; j < i; j++)
            if (strcmp(ids[i], ids[j]) == 0)
                fail_msg("%s twice", ids[i]);
    }
}

/* Every character of the alphabet comes at every place: no bits are lost on the way. */
static void
test_every_place_takes_every_character(void **state)
{
    static unsigned char seen[RND_ID_LEN][256];
    char id[RND_ID_LEN + 1];
    (void)state;
    for (int i = 0; i < 5000; i++) {
        rnd_id(id);
        for (int place = 0; place < RND_ID_LEN; place++)
            seen[place][(unsigned char)id[place]] = 1;
    }
    for (int place = 0; place < RND_ID_LEN; place++) {
        int n = 0;
        for (int c = 0; c < 256; c++)
            n += seen[place][c];
        assert_int_equal(n, 64);
    }
}

static void
test_forked_process_gives_other_ids(void **state)
{
    char id[RND_ID_LEN + 1], of_child[RND_ID_LEN + 1] = {0};
    int fds[2], status;
    pid_t pid;
    (void)state;
    rnd_id(id); /* the block is filled */
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        rnd_id(id);
        _exit(write(fds[1], id, RND_ID_LEN) != RND_ID_LEN);
    }
    assert_true(pid > 0);
    rnd_id(id);
    assert_int_equal(read(fds[0], of_child, RND_ID_LEN), RND_ID_LEN);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_not_equal(id, of_child);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaced_clock_is_used_until_restored),
        cmocka_unit_test(test_clocks_do_not_run_backwards),
        cmocka_unit_test(test_boot_id_is_whole_or_empty),
        cmocka_unit_test(test_ids_are_20_safe_characters_and_differ),
        cmocka_unit_test(test_every_place_takes_every_character),
        cmocka_unit_test(test_forked_process_gives_other_ids),
    };
    return cmocka_run_group_tests_name("base_clock", tests, NULL, NULL);
}
