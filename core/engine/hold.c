/*
 * How long a poll with nothing to send is held.
 *
 * Where a held poll occupies a process of the web server (CGI, mod_fcgid), those
 * processes are few, and page views and POSTs need some too. So the more of them are
 * occupied, the shorter: up to half of max_held from 25 s downwards, up to max_held one
 * second, beyond it not at all: then the time between two requests of the client is the
 * interval.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/internal.h"

#define HOLD_MAX_MS 25000
#define HOLD_MIN_MS 1000

struct count {
    const struct engine *e;
    size_t n;
};

static void
count_other(void *arg, int64_t process_id)
{
    struct count *c = arg;
    if (c->n < c->e->n_held_max && process_id != store_process_id(c->e->store) &&
        store_process_is_alive(c->e->store, process_id))
        c->n++;
}

/* EIO-POLL-HOLD */
int64_t
hold_choose(const struct engine *e)
{
    int64_t half = (int64_t)e->n_held_max / 2, n, ms;
    struct count c = {e, 0};
    if (e->cfg->hold_ms >= 0)
        return e->cfg->hold_ms < HOLD_MAX_MS ? e->cfg->hold_ms : HOLD_MAX_MS;
    if (!e->is_single)
        return HOLD_MAX_MS;
    if (store_read_single_processes(e->store, count_other, &c) != RC_OK)
        return HOLD_MIN_MS;
    n = (int64_t)c.n;
    if (c.n >= e->n_held_max)
        return 0;
    ms = n < half ? HOLD_MAX_MS * (half - n) / half : HOLD_MIN_MS;
    return ms > HOLD_MIN_MS ? ms : HOLD_MIN_MS;
}
