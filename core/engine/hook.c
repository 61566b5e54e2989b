/*
 * The web hook's worker (siolite-hook): takes what is due from the queue and has it
 * posted.
 *
 * 1. A row is posted after the commit that claims it, and its effects commit together
 * with its deletion, guarded by that claim. So an event may be posted several times,
 * always under one id, but takes effect once.
 * 2. What the JSON says of a socket (user, data, rooms) is read after the claim: the
 * effects of all earlier events of that socket are in it.
 * 3. Who has not come to the end of a call after hook_timeout and LEASE_MARGIN_MS loses
 * it to the others: a process that hangs is not dead. The generation has changed when it
 * goes on, so what it does then is dropped.
 * 4. At most hook_concurrency calls at a time. Their sockets differ, because only the
 * first row of a socket is ever due.
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/hook_worker.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"

#define STORE_RETRY_MS 1000
#define LEASE_MARGIN_MS                                                                  \
    2000 /* for claim and answer; hook_connect_wait leaves room for another process */

/* ---- calls ---- */

static struct hook_call *
call_create(struct hook *h, const struct store_hook *row)
{
    struct hook_call *c = xcalloc(1, sizeof *c);
    c->h = h;
    c->row = *row;
    c->row.gen = row->gen + 1;
    c->row.n_tries = row->n_tries + 1;
    struct str *strings[] = {&c->row.event_id, &c->row.sio_id, &c->row.nsp, &c->row.body,
                             &c->row.attachments};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        strings[i]->p = str_dup(*strings[i]);
    c->next = h->calls;
    c->at = &h->calls;
    if (c->next != NULL)
        c->next->at = &c->next;
    h->calls = c;
    h->n_calls++;
    return c;
}

void
hook_call_end(struct hook_call *c)
{
    struct hook *h = c->h;
    engine_later_cancel(h->e, &c->later);
    timers_disarm(&h->e->timers, &c->timer);
    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    h->n_calls--;
    h->is_dirty = true;
    free((char *)c->row.event_id.p);
    free((char *)c->row.sio_id.p);
    free((char *)c->row.nsp.p);
    free((char *)c->row.body.p);
    free((char *)c->row.attachments.p);
    buf_fini(&c->effects);
    buf_fini(&c->body);
    free(c);
}

static void
on_later(struct later *l)
{
    struct hook_call *c =
        (struct hook_call *)((char *)l - offsetof(struct hook_call, later));
    c->again(c);
}

static void
on_call_timer(struct timer *t)
{
    struct hook_call *c =
        (struct hook_call *)((char *)t - offsetof(struct hook_call, timer));
    c->again(c);
}

void
hook_call_later(struct hook_call *c, void (*fn)(struct hook_call *c))
{
    c->again = fn;
    engine_later(c->h->e, &c->later, on_later);
}

void
hook_call_after(struct hook_call *c, int64_t ms, void (*fn)(struct hook_call *c))
{
    c->again = fn;
    c->timer.fn = on_call_timer;
    timers_arm(&c->h->e->timers, &c->timer, clock_now_ms() + ms);
}

/* ---- posting ---- */

static void
post(struct hook_call *c)
{
    struct hook *h = c->h;
    buf_clear(&c->body);
    enum rc rc = hook_body(h->e, &c->row, &c->body);
    if (h->ops == NULL) {
        hook_call_end(c);
    } else if (rc == RC_BUSY) {
        hook_call_later(c, post);
    } else if (rc != RC_OK) {
        hook_park(c,
                  rc == RC_TOOBIG ? "its binary data is named too often" : rc_text(rc));
    } else {
        c->is_posted = true;
        h->ops->post(h->ops->arg, c, c->row.event_id.p, buf_str(&c->body));
    }
}

static void
on_claimed(void *arg, const struct store_result *r)
{
    struct hook_call *c = arg;
    struct hook *h = c->h;
    if (r->rc == RC_OK) {
        if (c->row.late_owner_id != 0)
            log_warn("hook", "event.taken", LOG_Z("event", c->row.event_id.p),
                     LOG_I("from_process", c->row.late_owner_id));
        post(c);
        return;
    }
    hook_call_end(c);
    if (r->rc == RC_CONFLICT) /* another process was first */
        return;
    log_error("hook", "claim.failed", LOG_Z("code", rc_text(r->rc)),
              LOG_Z("error", r->error));
    h->is_dirty = false;
    timers_arm(&h->e->timers, &h->timer, clock_now_ms() + STORE_RETRY_MS);
}

static bool
is_ours(const struct hook *h, int64_t hook_id)
{
    for (const struct hook_call *c = h->calls; c != NULL; c = c->next)
        if (c->row.hook_id == hook_id)
            return true;
    return false;
}

static void
on_due(void *arg, const struct store_hook *row)
{
    struct hook *h = arg;
    size_t n_max = (size_t)h->e->cfg->hook_concurrency;
    if (h->n_calls >= n_max || is_ours(h, row->hook_id))
        return;
    struct hook_call *c = call_create(h, row);
    struct store_unit *u = store_unit_create();
    store_unit_hook_claim(u, row->hook_id, row->gen,
                          h->e->cfg->hook_timeout_ms + LEASE_MARGIN_MS);
    engine_submit(h->e, u, on_claimed, c);
}

/* What we are at comes back, too; and a row whose end could not be stored, which is then
 * taken again. */
static enum rc
look(struct hook *h, int64_t now_ms)
{
    size_t n_max = (size_t)h->e->cfg->hook_concurrency + h->n_calls;
    int64_t next_ms = INT64_MAX;
    enum rc rc = store_read_hooks_due(h->e->store, now_ms, n_max, on_due, h);
    if (rc == RC_OK)
        rc = store_read_hook_next(h->e->store, now_ms, &next_ms);
    if (rc == RC_OK && next_ms != INT64_MAX)
        timers_arm(&h->e->timers, &h->timer, next_ms);
    return rc;
}

static void
on_timer(struct timer *t)
{
    struct hook *h = (struct hook *)((char *)t - offsetof(struct hook, timer));
    h->is_dirty = true;
}

/* ---- the engine's side ---- */

void
hook_open(struct engine *e, const struct hook_ops *ops)
{
    struct hook *h = xcalloc(1, sizeof *h);
    h->e = e;
    h->ops = ops;
    h->is_dirty = true;
    h->timer.fn = on_timer;
    e->hook = h;
}

void
hook_look(struct engine *e)
{
    if (e->hook != NULL)
        e->hook->is_dirty = true;
}

void
hook_turn(struct engine *e)
{
    struct hook *h = e->hook;
    if (h == NULL || !h->is_dirty || e->is_draining ||
        h->n_calls >= (size_t)e->cfg->hook_concurrency)
        return;
    h->is_dirty = false;
    enum rc rc = look(h, clock_now_ms());
    if (rc == RC_OK)
        return;
    if (rc != RC_BUSY)
        log_error("hook", "queue.failed", LOG_Z("code", rc_text(rc)));
    timers_arm(&e->timers, &h->timer,
               clock_now_ms() + (rc == RC_BUSY ? 1 : STORE_RETRY_MS));
}

bool
hook_is_idle(struct engine *e)
{
    return e->hook == NULL || e->hook->n_calls == 0;
}

void
hook_stop(struct engine *e)
{
    if (e->hook != NULL)
        e->hook->ops = NULL;
}

void
hook_close(struct engine *e)
{
    if (e->hook == NULL)
        return;
    while (e->hook->calls != NULL)
        hook_call_end(e->hook->calls);
    timers_disarm(&e->timers, &e->hook->timer);
    free(e->hook);
    e->hook = NULL;
}
