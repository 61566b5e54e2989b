/*
 * core/base/log.c: what stands on stderr.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char text[8192]; /* what the last capture caught */
static int saved_fd, pipe_fds[2];

static void
begin_capture(void)
{
    assert_int_equal(pipe(pipe_fds), 0);
    saved_fd = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[1]);
}

static void
end_capture(void)
{
    ssize_t n;
    dup2(saved_fd, STDERR_FILENO);
    close(saved_fd);
    n = read(pipe_fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    close(pipe_fds[0]);
}

/* What follows the time stamp. */
static const char *
after_time(void)
{
    const char *space = strchr(text, ' ');
    return space ? space + 1 : "";
}

static int
setup(void **state)
{
    (void)state;
    log_open("siolite-test", LOG_INFO);
    return 0;
}

static void
test_line_has_its_fixed_order(void **state)
{
    int year, month, day, hour, minute, second, ms;
    (void)state;
    begin_capture();
    log_info("engine", "session.open", LOG_I("n", -3), LOG_Z("transport", "polling"),
             LOG_S("nsp", STR("/chat")));
    end_capture();
    assert_string_equal(after_time(), "info siolite-test engine session.open n=-3 "
                                      "transport=polling nsp=/chat\n");
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ ", &year, &month, &day,
                            &hour, &minute, &second, &ms),
                     7);
}

static void
test_event_needs_no_fields(void **state)
{
    (void)state;
    begin_capture();
    log_warn("engine", "queue.full");
    end_capture();
    assert_string_equal(after_time(), "warn siolite-test engine queue.full\n");
}

static void
test_id_shows_six_characters(void **state)
{
    (void)state;
    begin_capture();
    log_error("engine", "x", LOG_ID("session", "abcdefghijklmnopqrst"),
              LOG_ID("short", "ab"), LOG_ID("none", NULL));
    end_capture();
    assert_string_equal(
        after_time(), "error siolite-test engine x session=abcdef short=ab none=\"\"\n");
}

static void
test_value_can_not_forge_a_line_or_a_field(void **state)
{
    (void)state;
    begin_capture();
    log_info("engine", "x", LOG_Z("a", "1 b=2"), LOG_Z("c", "x\ny\r\"\\\x7f\x1b[0m"),
             LOG_S("d", STR("a\0b")), LOG_Z("e", ""), LOG_Z("f", "é\xff"),
             LOG_Z("g", "k=v"), LOG_Z("h", "\xc2\x85"));
    end_capture();
    assert_string_equal(after_time(),
                        "info siolite-test engine x a=\"1 b=2\" "
                        "c=\"x\\ny\\x0d\\\"\\\\\\x7f\\x1b[0m\" d=\"a\\x00b\" e=\"\" "
                        "f=\"é\\xff\" g=\"k=v\" h=\"\\xc2\\x85\"\n");
}

static void
test_level_decides_what_is_written(void **state)
{
    (void)state;
    begin_capture();
    log_debug("engine", "packet");
    log_set_level(LOG_DEBUG);
    log_debug("engine", "seen");
    log_set_level(LOG_ERROR);
    log_warn("engine", "packet");
    end_capture();
    assert_string_equal(after_time(), "debug siolite-test engine seen\n");
    assert_true(log_is_on(LOG_ERROR));
    assert_false(log_is_on(LOG_WARN));
}

static void
test_fields_of_a_silent_level_are_not_evaluated(void **state)
{
    int n = 0;
    (void)state;
    log_debug("engine", "packet", LOG_I("n", ++n));
    assert_int_equal(n, 0);
}

static void
test_long_line_is_cut_and_still_ends(void **state)
{
    static char big[10000];
    (void)state;
    memset(big, 'x', sizeof big - 1);
    begin_capture();
    log_info("engine", "x", LOG_Z("big", big), LOG_I("n", 1));
    end_capture();
    assert_true(strlen(text) <= 4096);
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(test_line_has_its_fixed_order),
        T(test_event_needs_no_fields),
        T(test_id_shows_six_characters),
        T(test_value_can_not_forge_a_line_or_a_field),
        T(test_level_decides_what_is_written),
        T(test_fields_of_a_silent_level_are_not_evaluated),
        T(test_long_line_is_cut_and_still_ends),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
