/*
 * Binary heap of timers; see timer.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/timer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "core/base/buf.h"

static void
place(struct timers *ts, struct timer *t, size_t pos)
{
    ts->heap[pos - 1] = t;
    t->pos = pos;
}

static bool
is_before(const struct timer *a, const struct timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void
sift(struct timers *ts, struct timer *t, size_t pos)
{
    while (pos > 1 && is_before(t, ts->heap[pos / 2 - 1])) {
        place(ts, ts->heap[pos / 2 - 1], pos);
        pos /= 2;
    }
    for (;;) {
        size_t child = pos * 2;
        if (child > ts->n)
            break;
        if (child < ts->n && is_before(ts->heap[child], ts->heap[child - 1]))
            child++;
        if (is_before(t, ts->heap[child - 1]))
            break;
        place(ts, ts->heap[child - 1], pos);
        pos = child;
    }
    place(ts, t, pos);
}

void
timers_fini(struct timers *ts)
{
    free(ts->heap);
    *ts = (struct timers){0};
}

void
timers_arm(struct timers *ts, struct timer *t, int64_t due_ms)
{
    t->due_ms = due_ms;
    t->order = ts->n_armed++;
    if (t->pos == 0) {
        if (ts->n == ts->cap) {
            ts->cap = ts->cap ? ts->cap * 2 : 64;
            ts->heap = xrealloc(ts->heap, ts->cap * sizeof *ts->heap);
        }
        ts->n++;
        t->pos = ts->n;
        ts->heap[ts->n - 1] = t;
    }
    sift(ts, t, t->pos);
}

void
timers_disarm(struct timers *ts, struct timer *t)
{
    if (t->pos == 0)
        return;
    size_t pos = t->pos;
    t->pos = 0;
    struct timer *last = ts->heap[--ts->n];
    if (last != t)
        sift(ts, last, pos);
}

void
timers_run(struct timers *ts, int64_t now_ms)
{
    while (ts->n > 0 && ts->heap[0]->due_ms <= now_ms) {
        struct timer *t = ts->heap[0];
        timers_disarm(ts, t);
        t->fn(t);
    }
}

int64_t
timers_next_ms(const struct timers *ts)
{
    return ts->n > 0 ? ts->heap[0]->due_ms : INT64_MAX;
}
