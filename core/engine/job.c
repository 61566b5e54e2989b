/*
 * Jobs: what is done later, exactly once in its effects (design 7). Their creator keeps
 * the timer; jobs of the dead, and those that SQL made, are claimed by whoever sees them.
 *
 * A job's unit deletes its row first (guard): a job that was taken over meanwhile commits
 * nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/incoming.h"
#include "core/engine/user.h"
#include "core/engine/work.h"

#define RETRY_MS 1000
#define CLAIM_MAX 100
#define LOOK_AHEAD_MS                                                                    \
    2000 /* more than lies between two looks: SQL makes jobs for later */

struct job {
    struct engine *e;
    struct timer timer;
    struct store_job j;
    unsigned n_units; /* under way */
    bool is_bare;     /* its handlers' effects could not be committed: the rest is done
                         without them */
    bool is_stray;    /* claimed */
};

static void
job_free(struct job *job)
{
    struct engine *e = job->e;
    timers_disarm(&e->timers, &job->timer);
    map_remove(&e->jobs, job->j.job_id);
    e->n_strays -= job->is_stray;
    if (job->is_stray && e->n_strays == 0 && e->has_more_strays)
        job_wake(e);
    free(job->j.name);
    free(job->j.args);
    free(job);
}

static void
on_done(void *arg, const struct store_result *r)
{
    struct job *job = arg;
    job->n_units--;
    switch (r->rc) {
    case RC_OK:
    case RC_CONFLICT: /* taken over, perhaps by ourselves: its last answer came */
    case RC_NOTFOUND:
        if (job->n_units == 0 && job->timer.pos == 0)
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

/* The socket has ended; its handlers are still to run. */
/* SIO-DISCONNECT-ONCE */
static enum rc
run_disconnect(struct job *job, struct work *w, const json_t *args)
{
    struct work_socket *k;
    bool is_open;
    const char *reason = json_string_value(json_object_get(args, "reason"));
    enum rc rc = load_socket(w, job->j.socket_id, &k, &is_open);
    if (rc == RC_OK)
        rc = load_session(w);
    if (rc != RC_OK || k == NULL || job->is_bare)
        return rc;
    w->e->counts.n_ends[sio_reason_find(str_of(reason ? reason : ""))]++;
    work_rooms_note(k, json_object_get(args, "rooms")); /* as it ended */
    call_disconnect(w, k, str_of(reason ? reason : ""));
    incoming_disconnect(w, k, str_of(reason ? reason : ""),
                        json_object_get(args, "rooms"));
    return RC_OK;
}

/* INSERT INTO kick. */
static enum rc
run_kick(struct work *w, const json_t *args)
{
    bool is_close = json_integer_value(json_object_get(args, "close")) != 0;
    const json_t *id;
    size_t i;
    json_array_foreach(json_object_get(args, "sockets"), i, id)
    {
        struct work_socket *k;
        bool is_open;
        enum rc rc = load_socket(w, json_integer_value(id), &k, &is_open);
        if (rc != RC_OK)
            return rc;
        if (k == NULL)
            continue;
        struct store_target t = {
            .nsp = str_of(k->nsp_name), .to = STORE_TO_SOCKET, .id = k->socket_id};
        store_unit_disconnect(work_unit(w), &t, str_of(sio_reason_text(SIO_R_SERVER_NSP)),
                              is_close, w->now_ms);
    }
    return RC_OK;
}

/* INSERT INTO ask: the last answer came, or the time is over. */
static void
run_ask_end(struct work *w, const json_t *args)
{
    int64_t seq = json_integer_value(json_object_get(args, "seq"));
    store_unit_ask_end(work_unit(w), seq);
    incoming_ask_end(w, seq);
}

/* A connection that its own effects failed at, or that an application in SQL refused: its
 * socket was never there. */
static enum rc
run_refuse(struct work *w, const json_t *args)
{
    const char *nsp = json_string_value(json_object_get(args, "nsp"));
    const char *message = json_string_value(json_object_get(args, "message"));
    w->session_id = json_integer_value(json_object_get(args, "session"));
    enum rc rc = load_session(w);
    if (rc == RC_OK && w->has_transport && nsp != NULL)
        connect_error(w, nsp, message ? message : "",
                      json_string_value(json_object_get(args, "data")));
    return rc;
}

/* A connection has waited for the web hook long enough. */
static enum rc
run_hook_expire(struct work *w, const json_t *args)
{
    w->session_id = json_integer_value(json_object_get(args, "session"));
    enum rc rc = load_session(w);
    return rc == RC_OK ? hook_expire(w, args) : rc;
}

static enum rc
run_expiry(struct job *job, struct work *w)
{
    struct work_socket *k;
    bool is_open;
    enum rc rc = load_socket(w, job->j.socket_id, &k, &is_open);
    return rc == RC_OK && k != NULL ? user_run_expiry(w, k) : rc;
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
        if (strcmp(job->j.name, "disconnect") == 0)
            rc = run_disconnect(job, &w, args);
        else if (strcmp(job->j.name, "kick") == 0)
            rc = run_kick(&w, args);
        else if (strcmp(job->j.name, "ask.end") == 0)
            run_ask_end(&w, args);
        else if (strcmp(job->j.name, "refuse") == 0)
            rc = run_refuse(&w, args);
        else if (strcmp(job->j.name, STORE_JOB_HOOK_EXPIRE) == 0)
            rc = run_hook_expire(&w, args);
        else if (strcmp(job->j.name, USER_JOB_EXPIRY) == 0)
            rc = run_expiry(job, &w);
        else if (strcmp(job->j.name, USER_JOB_PRESENCE) == 0)
            rc = user_run_presence(&w, args, job->is_bare);
        else
            rc = run_later(job, &w, args);
    }
    if (rc == RC_OK && w.is_busy)
        rc = RC_BUSY;
    if (rc == RC_OK) {
        struct store_unit *u = w.u;
        w.u = NULL;
        job->n_units++;
        engine_submit(e, u, on_done, job);
    } else {
        timers_arm(&e->timers, &job->timer,
                   w.now_ms + 1); /* the store can't be read just now */
    }
    json_decref(args);
    work_fini(&w);
}

void
job_take(struct engine *e, const struct store_job *j)
{
    struct job *job = map_find(&e->jobs, j->job_id);
    if (j->due_ms == STORE_NEVER_MS)
        return; /* the last answer brings it, wherever that comes */
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
    timers_arm(&e->timers, &job->timer, j->due_ms);
}

static void
on_claimed(void *arg, const struct store_result *r)
{
    struct engine *e = arg;
    engine_check_unit(r);
    for (size_t i = 0; i < r->n_jobs; i++) {
        struct job *job = map_find(&e->jobs, r->jobs[i].job_id);
        if (job == NULL || job->is_stray)
            continue;
        job->is_stray = true;
        e->n_strays++;
    }
    e->has_more_strays = r->has_more;
    job_wake(e); /* when is the next one due? */
}

static void
on_wake(struct later *l)
{
    struct engine *e = (struct engine *)((char *)l - offsetof(struct engine, wake));
    int64_t now_ms = clock_now_ms(), due_ms = INT64_MAX;
    if (e->n_strays >= CLAIM_MAX) {
        e->has_more_strays = true;
        return;
    }
    if (store_read_stray_job(e->store, now_ms + LOOK_AHEAD_MS, &due_ms) != RC_OK)
        return;
    if (due_ms > now_ms) {
        if (due_ms != INT64_MAX)
            timers_arm(&e->timers, &e->stray_timer, due_ms);
        return;
    }
    struct store_unit *u = store_unit_create();
    store_unit_jobs_claim(u, now_ms, CLAIM_MAX);
    engine_submit(e, u, on_claimed, e);
}

static void
on_stray_timer(struct timer *t)
{
    job_wake((struct engine *)((char *)t - offsetof(struct engine, stray_timer)));
}

void
job_wake(struct engine *e)
{
    e->stray_timer.fn = on_stray_timer;
    engine_later(e, &e->wake, on_wake);
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
