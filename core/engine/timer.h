/*
 * Deadlines: a binary heap of timers that live inside other structs. One uv_timer of the
 * engine follows the earliest.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_TIMER_H
#define SIOLITE_CORE_ENGINE_TIMER_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_ms; /* clock_now_ms() */
    uint64_t order; /* of arming: what is due at the same time runs in this order */
    size_t pos;     /* in the heap, from 1; 0: not armed */
    void (*fn)(struct timer *t);
};

struct timers { /* all zero is empty */
    struct timer **heap;
    size_t n, cap;
    uint64_t n_armed;
};

void timers_fini(struct timers *ts);
void timers_arm(struct timers *ts, struct timer *t,
                int64_t due_ms);                        /* armed already: moves it */
void timers_disarm(struct timers *ts, struct timer *t); /* not armed: nothing */
/* Runs what is due; a timer is disarmed before its function is called. */
void timers_run(struct timers *ts, int64_t now_ms);
/* INT64_MAX if none is armed. */
int64_t timers_next_ms(const struct timers *ts);

#endif
