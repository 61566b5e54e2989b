/*
 * The sweeper, run by every process that lives (design 4.7): sessions that have gone
 * silent, processes that died, jobs without an owner, rows that nobody needs. Each step
 * is guarded in the store, so that two sweepers do no harm.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/internal.h"

#define ROUND_MS 250
#define SLOW_ROUNDS 4 /* what is done once a second */
#define SLICE 200

struct ids {
    int64_t p[SLICE];
    size_t n;
};

static void
on_id(void *arg, int64_t id)
{
    struct ids *ids = arg;
    if (ids->n < SLICE)
        ids->p[ids->n++] = id;
}

static void
sweep_sessions(struct engine *e, int64_t now_ms)
{
    struct ids ids = {.n = 0};
    struct store_session s;
    if (store_read_due_sessions(e->store, now_ms, SLICE, on_id, &ids) != RC_OK)
        return;
    for (size_t i = 0; i < ids.n; i++) {
        if (store_read_session_by_id(e->store, ids.p[i], &s) == RC_OK && !s.is_closed &&
            session_is_dead(&s, now_ms))
            session_expire(e, &s, now_ms);
    }
}

/* EIO-KILLED */
static void
sweep_processes(struct engine *e, int64_t now_ms)
{
    struct ids ids = {.n = 0};
    if (store_read_processes(e->store, on_id, &ids) != RC_OK)
        return;
    for (size_t i = 0; i < ids.n; i++) {
        if (store_process_is_alive(e->store, ids.p[i]))
            continue;
        struct store_unit *u = store_unit_create();
        store_unit_bury(u, ids.p[i], str_of(sio_reason_text(SIO_R_TRANSPORT_CLOSE)),
                        e->cfg->recovery_ms > 0, now_ms, SLICE);
        engine_submit(e, u, NULL, NULL);
        log_info("engine", "process.dead", LOG_I("process", ids.p[i]));
    }
}

static void
on_round(struct timer *t)
{
    struct engine *e =
        (struct engine *)((char *)t - offsetof(struct engine, sweep_timer));
    int64_t now_ms = clock_now_ms();
    timers_arm(&e->timers, t, now_ms + ROUND_MS);
    if (store_fence(e->store) != RC_OK) {
        store_tick(e->store); /* a head that stays torn is repaired by a transaction */
        return;
    }
    if (e->was_slow) { /* pongs may stand in queues */
        e->was_slow = false;
        return;
    }
    sweep_sessions(e, now_ms);
    if (e->sweep_round++ % SLOW_ROUNDS != 0)
        return;
    store_tick(e->store);
    sweep_processes(e, now_ms);
    job_claim_stray(e);
    if (e->cfg->is_cleanup_nsp)
        engine_nsps_forget(e);
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, now_ms, SLICE);
    count_flush(&e->counts, u);
    engine_submit(e, u, NULL, NULL);
}

void
sweep_start(struct engine *e)
{
    e->sweep_timer.fn = on_round;
    timers_arm(&e->timers, &e->sweep_timer, clock_now_ms() + ROUND_MS);
}
