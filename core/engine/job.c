/*
 * Jobs: what is done later, exactly once in its effects (design 7). Their creator keeps the timer; jobs of the dead, and
 * those that SQL made, are claimed by whoever sees them.
 *
 * A job's unit deletes its row first (guard): a job that was taken over meanwhile commits nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/work.h"

#define RETRY_MS 1000
#define CLAIM_MAX 100

struct job {
    struct engine *e;
    struct timer timer;
    struct store_job j;
    bool is_bare;         /* its handlers' effects could not be committed: the rest is done without them */
    int64_t close_id;     /* session to close after the commit, 0: none */
    enum sio_reason close_reason;
};

static void
job_free(struct job *job)
{
    timers_disarm(&job->e->timers, &job->timer);
    map_remove(&job->e->jobs, job->j.job_id);
    free(job->j.name);
    free(job->j.args);
    free(job);
}

static void
on_done(void *arg, const struct store_result *r)
{
    struct job *job = arg;
    switch (r->rc) {
    case RC_OK:
        if (job->close_id != 0)
            session_close(job->e, job->close_id, job->close_reason);
        job_free(job);
        return;
    case RC_CONFLICT: /* taken over */
    case RC_NOTFOUND:
        job_free(job);
        return;
    case RC_INVALID:
        job->is_bare = true;
        timers_arm(&job->e->timers, &job->timer, 0);
        return;
    case RC_NOMEM:
    case RC_TOOBIG:
    case RC_BUSY:
    case RC_IO:
        timers_arm(&job->e->timers, &job->timer, clock_now_ms() + RETRY_MS);
        return;
    }
}

static void
add_guard(struct work *w)
{
    store_unit_guard_job(w->u, w->guard_id, w->guard_gen);
}

/* The socket that a job concerns, as the store has it; NULL: it is not there. */
static enum rc
load_socket(struct work *w, int64_t socket_id, struct work_socket **k, bool *is_open)
{
    struct store_socket s;
    *k = NULL;
    if (socket_id == 0)
        return RC_OK;
    enum rc rc = store_read_socket(w->e->store, socket_id, &s);
    if (rc != RC_OK)
        return rc == RC_NOTFOUND ? RC_OK : rc;
    char *nsp = str_dup(s.nsp);
    *k = work_socket_add(w, s.socket_id, nsp, s.sio_id);
    (*k)->nsp_id = s.nsp_id;
    (*k)->app = app_registry_find(&w->e->app, s.nsp);
    free(nsp);
    *is_open = s.state == 0;
    w->session_id = s.session_id;
    return RC_OK;
}

static enum rc
load_session(struct work *w)
{
    struct store_session s;
    if (w->session_id == 0)
        return RC_OK;
    enum rc rc = store_read_session_by_id(w->e->store, w->session_id, &s);
    if (rc == RC_OK) {
        w->protocol = s.protocol;
        w->transport = s.is_websocket ? EIO_WEBSOCKET : EIO_POLLING;
        w->has_transport = !s.is_closed;
        w->due_ms = s.is_websocket ? 0 : s.ping_ms + w->e->cfg->ping_timeout_ms;
    }
    return rc == RC_NOTFOUND ? RC_OK : rc;
}

struct others {
    struct work *w;
    int64_t socket_id;
};

/* The whole connection ends: its other namespaces are told too, before the close. */
static void
tell_other(void *arg, const struct store_socket *s)
{
    const struct others *o = arg;
    if (s->socket_id == o->socket_id || s->state != 0)
        return;
    char *nsp = str_dup(s->nsp);
    work_send_session(o->w, nsp, store_packet_create(STORE_DISCONNECT, STR_NONE, STR_NONE));
    free(nsp);
}

static enum rc
run_disconnect(struct job *job, struct work *w, const json_t *args)
{
    struct work_socket *k;
    bool is_open = false;
    const char *text = json_string_value(json_object_get(args, "reason"));
    enum sio_reason reason = sio_reason_find(str_of(text));
    if (reason == SIO_R_NONE)
        reason = SIO_R_SERVER_NSP;
    enum rc rc = load_socket(w, job->j.socket_id, &k, &is_open);
    if (rc == RC_OK)
        rc = load_session(w);
    if (rc != RC_OK || k == NULL || !is_open)
        return rc;
    struct str wire = str_of(sio_reason_text(reason));
    bool is_lost = w->e->cfg->recovery_ms > 0 && w->protocol == 4 && sio_reason_is_recoverable(reason);
    store_unit_socket_end(work_unit(w), k->socket_id, is_lost, wire, w->now_ms);
    if (reason == SIO_R_SERVER_NSP && w->has_transport)
        work_send_session(w, k->nsp_name, store_packet_create(STORE_DISCONNECT, STR_NONE, STR_NONE));
    if (!job->is_bare)
        call_disconnect(w, k, wire);
    const json_t *close = json_object_get(args, "close");
    if ((json_is_true(close) || json_integer_value(close) != 0) && w->has_transport) {
        struct others o = {w, k->socket_id};
        rc = store_read_sockets(w->e->store, w->session_id, INT64_MAX, tell_other, &o);
        job->close_id = w->session_id;
        job->close_reason = reason;
    }
    return rc;
}

static enum rc
run_later(struct job *job, struct work *w, const json_t *args)
{
    struct work_socket *k;
    bool is_open = false;
    const json_t *ask = json_object_get(args, "ask");
    struct call_later l = {
        .name = job->j.name,
        .wrapper = ask ? json_object_get(args, "state") : args,
        .ask_seq = json_integer_value(ask),
    };
    const json_t *connection = json_object_get(l.wrapper, "c");
    enum rc rc = load_socket(w, job->j.socket_id, &k, &is_open);
    if (connection != NULL)
        w->session_id = json_integer_value(json_object_get(connection, "session"));
    if (rc == RC_OK)
        rc = load_session(w);
    if (rc == RC_OK && !job->is_bare && (connection == NULL || w->has_transport))
        call_later(w, k, &l);
    return rc;
}

static void
on_timer(struct timer *t)
{
    struct job *job = (struct job *)((char *)t - offsetof(struct job, timer));
    struct engine *e = job->e;
    struct partial none = {0};
    struct work w = {
        .e = e,
        .now_ms = clock_now_ms(),
        .protocol = 4,
        .partial = &none,
        .guard = add_guard,
        .guard_id = job->j.job_id,
        .guard_gen = job->j.gen,
    };
    json_t *args = json_loads(job->j.args, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    enum rc rc = store_fence(e->store);
    if (rc == RC_OK) {
        work_unit(&w);
        rc = strcmp(job->j.name, "disconnect") == 0 ? run_disconnect(job, &w, args) : run_later(job, &w, args);
    }
    if (rc == RC_OK) {
        struct store_unit *u = w.u;
        w.u = NULL;
        engine_submit(e, u, on_done, job);
    } else {
        timers_arm(&e->timers, &job->timer, w.now_ms + 1); /* the store can't be read just now */
    }
    json_decref(args);
    work_fini(&w);
}

void
job_take(struct engine *e, const struct store_job *j)
{
    struct job *job = map_find(&e->jobs, j->job_id);
    if (job == NULL) {
        job = xcalloc(1, sizeof *job);
        job->e = e;
        job->timer.fn = on_timer;
        job->j = *j;
        job->j.name = xstrdup(j->name);
        job->j.args = xstrdup(j->args ? j->args : "null");
        map_put(&e->jobs, j->job_id, job);
    }
    job->j.gen = j->gen;
    job->j.due_ms = j->due_ms;
    if (j->due_ms != STORE_NEVER_MS)
        timers_arm(&e->timers, &job->timer, j->due_ms);
}

void
job_claim_stray(struct engine *e)
{
    bool is_due = false;
    int64_t now_ms = clock_now_ms();
    if (store_read_has_stray_jobs(e->store, now_ms, &is_due) != RC_OK || !is_due)
        return;
    struct store_unit *u = store_unit_create();
    store_unit_jobs_claim(u, now_ms, CLAIM_MAX);
    engine_submit(e, u, NULL, NULL);
}

void
job_close_all(struct engine *e)
{
    size_t i = 0;
    struct job *job;
    while ((job = map_next(&e->jobs, &i, NULL)) != NULL) {
        job_free(job);
        i = 0;
    }
}
