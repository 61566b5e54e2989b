/*
 * core/engine/timer.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_TIMERS = 40 };

struct alarm {
    struct timer t; /* first: a timer is its alarm */
    struct timers *ts;
    int number, n_rung;
    int64_t again_ms;      /* armed again for then when it rings; 0: no */
    struct alarm *disarms; /* by this one when it rings */
};

static char rung[200];

static void
ring(struct timer *t)
{
    struct alarm *a = (struct alarm *)t;
    size_t len = strlen(rung);
    assert_int_equal(t->pos, 0);
    a->n_rung++;
    if (len < sizeof rung - 8)
        snprintf(rung + len, sizeof rung - len, " %d", a->number);
    if (a->again_ms)
        timers_arm(a->ts, t, a->again_ms);
    if (a->disarms)
        timers_disarm(a->ts, &a->disarms->t);
}

static int
set_up(void **state)
{
    (void)state;
    rung[0] = 0;
    return 0;
}

static struct alarm
alarm_of(struct timers *ts, int number)
{
    return (struct alarm){.t.fn = ring, .ts = ts, .number = number};
}

static void
test_without_timers_nothing_is_ever_due(void **state)
{
    struct timers ts = {0};
    struct alarm a = alarm_of(&ts, 1);
    (void)state;
    assert_true(timers_next_ms(&ts) == INT64_MAX);
    timers_run(&ts, INT64_MAX);
    timers_disarm(&ts, &a.t);
    timers_fini(&ts);
}

static void
test_what_is_due_rings_in_order_and_once(void **state)
{
    struct timers ts = {0};
    struct alarm a[5];
    static const int64_t due_ms[] = {30, 10, 50, 20, 40};
    (void)state;
    for (int i = 0; i < 5; i++) {
        a[i] = alarm_of(&ts, i);
        timers_arm(&ts, &a[i].t, due_ms[i]);
    }
    assert_int_equal(timers_next_ms(&ts), 10);
    timers_run(&ts, 9);
    assert_string_equal(rung, "");
    timers_run(&ts, 30);
    assert_string_equal(rung, " 1 3 0");
    assert_int_equal(timers_next_ms(&ts), 40);
    timers_run(&ts, 30);
    timers_run(&ts, 100);
    assert_string_equal(rung, " 1 3 0 4 2");
    timers_fini(&ts);
}

static void
test_same_moment_keeps_the_order_of_arming(void **state)
{
    struct timers ts = {0};
    struct alarm a[9];
    (void)state;
    for (int i = 0; i < 9; i++) {
        a[i] = alarm_of(&ts, i);
        timers_arm(&ts, &a[i].t, 5);
    }
    timers_arm(&ts, &a[2].t, 5); /* moved: now it is the last one */
    timers_run(&ts, 5);
    assert_string_equal(rung, " 0 1 3 4 5 6 7 8 2");
    timers_fini(&ts);
}

static void
test_armed_timer_moves(void **state)
{
    struct timers ts = {0};
    struct alarm a = alarm_of(&ts, 1), b = alarm_of(&ts, 2);
    (void)state;
    timers_arm(&ts, &a.t, 10);
    timers_arm(&ts, &b.t, 20);
    timers_arm(&ts, &a.t, 30);
    assert_int_equal(timers_next_ms(&ts), 20);
    timers_arm(&ts, &a.t, 15);
    assert_int_equal(timers_next_ms(&ts), 15);
    timers_run(&ts, 30);
    assert_string_equal(rung, " 1 2");
    timers_fini(&ts);
}

static void
test_timer_may_arm_itself_and_disarm_others(void **state)
{
    struct timers ts = {0};
    struct alarm a = alarm_of(&ts, 1), b = alarm_of(&ts, 2);
    (void)state;
    a.again_ms = 25;
    a.disarms = &b;
    timers_arm(&ts, &a.t, 10);
    timers_arm(&ts, &b.t, 10);
    timers_run(&ts, 10);
    assert_string_equal(rung, " 1");
    assert_int_equal(timers_next_ms(&ts), 25);
    assert_int_equal(b.t.pos, 0);
    timers_fini(&ts);
}

/* The heap compared with the timers themselves. */
static void
test_heap_is_right_whatever_is_armed_moved_and_disarmed(void **state)
{
    struct timers ts = {0};
    struct alarm a[N_TIMERS];
    uint64_t random = 7;
    int64_t now_ms = 0;
    (void)state;
    for (int i = 0; i < N_TIMERS; i++)
        a[i] = alarm_of(&ts, i);
    for (int step = 0; step < 100000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        struct alarm *one = &a[(random >> 33) % N_TIMERS];
        unsigned what = (unsigned)(random >> 23) % 8;
        if (what < 5) {
            timers_arm(&ts, &one->t, now_ms + (int64_t)((random >> 43) % 50));
        } else if (what < 7) {
            timers_disarm(&ts, &one->t);
        } else {
            int n_due = 0, n_rung = 0;
            now_ms += 10;
            for (int i = 0; i < N_TIMERS; i++) {
                n_due += a[i].t.pos != 0 && a[i].t.due_ms <= now_ms;
                a[i].n_rung = 0;
            }
            timers_run(&ts, now_ms);
            for (int i = 0; i < N_TIMERS; i++)
                n_rung += a[i].n_rung;
            assert_int_equal(n_rung, n_due);
        }
        int64_t next_ms = INT64_MAX;
        size_t n = 0;
        for (int i = 0; i < N_TIMERS; i++)
            if (a[i].t.pos != 0) {
                n++;
                assert_ptr_equal(ts.heap[a[i].t.pos - 1], &a[i].t);
                if (a[i].t.due_ms < next_ms)
                    next_ms = a[i].t.due_ms;
            }
        assert_int_equal(ts.n, n);
        assert_true(timers_next_ms(&ts) == next_ms);
    }
    timers_fini(&ts);
}

#define T(name) cmocka_unit_test_setup(name, set_up)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_without_timers_nothing_is_ever_due),
        T(test_what_is_due_rings_in_order_and_once),
        T(test_same_moment_keeps_the_order_of_arming),
        T(test_armed_timer_moves),
        T(test_timer_may_arm_itself_and_disarm_others),
        T(test_heap_is_right_whatever_is_armed_moved_and_disarmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
