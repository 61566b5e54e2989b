/*
 * core/base/host.c, on a tree of control groups made of files.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/siolite-host-XXXXXX";
static const char *const FOLDERS[] = {"/a", "/a/b", "/a/b/c", "/pids", "/pids/x"};
static const struct {
    const char *name, *text;
} FILES[] = {{"/pids.max", "max\n"},
             {"/a/pids.max", "40\n"},
             {"/a/b/c/pids.max", "100\n"},
             {"/pids/x/pids.max", "7\n"}};

static const char *
path(const char *name)
{
    static char text[128];
    snprintf(text, sizeof text, "%s%s", root, name);
    return text;
}

static int
set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        assert_int_equal(mkdir(path(FOLDERS[i]), 0700), 0);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        FILE *f = fopen(path(FILES[i].name), "w");
        assert_non_null(f);
        fputs(FILES[i].text, f);
        fclose(f);
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        unlink(path(FILES[i].name));
    for (size_t i = sizeof FOLDERS / sizeof *FOLDERS; i > 0; i--)
        rmdir(path(FOLDERS[i - 1]));
    rmdir(root);
    return 0;
}

static void
test_the_smallest_limit_on_the_way_up_counts(void **state)
{
    (void)state;
    assert_int_equal(host_cgroup_max("0::/a/b/c\n", root), 40);
    assert_int_equal(host_cgroup_max("0::/a\n", root), 40);
    assert_int_equal(host_cgroup_max("9:cpu:/q\n8:pids:/x\n0::/a/b/c\n", root), 7);
}

static void
test_no_limit_is_none(void **state)
{
    (void)state;
    assert_true(host_cgroup_max("0::/\n", root) == INT64_MAX);
    assert_true(host_cgroup_max("0::/elsewhere\n", root) == INT64_MAX);
    assert_true(host_cgroup_max("", root) == INT64_MAX);
    assert_true(host_cgroup_max("nonsense", root) == INT64_MAX);
    assert_true(host_cgroup_max(":", root) == INT64_MAX);
}

static void
test_a_quarter_of_the_process_limit_may_be_held(void **state)
{
    struct rlimit old, limit;
    size_t unlimited = host_n_held_max();
    (void)state;
    assert_in_range(unlimited, 1, 12);
    assert_int_equal(getrlimit(RLIMIT_NPROC, &old), 0);
    limit = old;
    limit.rlim_cur = 16;
    assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
    assert_int_equal(host_n_held_max(), unlimited < 4 ? unlimited : 4);
    limit.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
    assert_int_equal(host_n_held_max(), 1);
    assert_int_equal(setrlimit(RLIMIT_NPROC, &old), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_smallest_limit_on_the_way_up_counts),
        cmocka_unit_test(test_no_limit_is_none),
        cmocka_unit_test(test_a_quarter_of_the_process_limit_may_be_held),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
