/*
 * The checkpointer. It sleeps until somebody sees more than PASSIVE_FRAMES frames that
 * aren't in the database file yet; then a PASSIVE checkpoint every ROUND_MS until fewer
 * than REST_FRAMES are left. PASSIVE alone never lets a busy WAL start again, so past
 * RESTART_FRAMES a RESTART follows, short, under the queue lock, when all but a few
 * frames are copied.
 *
 * In all processes together one works at a time: whoever has the lock file.
 *
 * Its own thread and connection.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/checkpoint.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/live.h"
#include "store/thread.h"

enum {
    PASSIVE_FRAMES = 1000,
    REST_FRAMES = 400,
    RESTART_FRAMES = 8000,
    ROUND_MS = 20,
    ROUND_MS_MAX = 1000, /* while a reader holds an old snapshot */
    RESTART_WAIT_US = 3000
};

struct store_checkpoint {
    pthread_t id;
    pthread_mutex_t mutex;
    pthread_cond_t cond; /* on CLOCK_MONOTONIC */
    bool is_wanted, is_stopping;
    atomic_bool is_busy; /* awake: nobody need wake it */
    const struct store_wake *wake;
    struct store_live live; /* descriptors of its own: flock belongs to them */
    struct store_conn conn;
};

static bool
is_long(const struct store_checkpoint *c, uint32_t rest, bool *is_restart)
{
    struct store_head head;
    uint32_t n_copied = store_wake_n_copied(c->wake);
    if (!store_wake_head(c->wake, &head))
        return false;
    *is_restart = head.max_frame > RESTART_FRAMES;
    return *is_restart || head.max_frame > n_copied + rest;
}

static void
checkpoint(struct store_checkpoint *c, int mode)
{
    int n = sqlite3_wal_checkpoint_v2(c->conn.db, NULL, mode, NULL, NULL);
    if (n != SQLITE_OK && (n & 0xff) != SQLITE_BUSY)
        log_error("store", "checkpoint.failed",
                  LOG_Z("error", sqlite3_errmsg(c->conn.db)));
}

static void
run_round(struct store_checkpoint *c)
{
    bool is_restart = false;
    checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
    is_long(c, REST_FRAMES, &is_restart);
    if (!is_restart)
        return;
    store_live_wait_queue(&c->live);
    atomic_store(&c->conn.wait_until_us, clock_now_us() + RESTART_WAIT_US);
    checkpoint(c, SQLITE_CHECKPOINT_RESTART);
    atomic_store(&c->conn.wait_until_us, 0);
    store_live_leave_queue(&c->live);
}

/* False: stop. */
static bool
pause_ms(struct store_checkpoint *c, int ms)
{
    struct timespec until;
    bool is_stopping;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->mutex);
    while (!c->is_stopping &&
           pthread_cond_timedwait(&c->cond, &c->mutex, &until) != ETIMEDOUT)
        ;
    is_stopping = c->is_stopping;
    pthread_mutex_unlock(&c->mutex);
    return !is_stopping;
}

static void
work(struct store_checkpoint *c)
{
    int round_ms = ROUND_MS;
    bool is_restart;
    while (is_long(c, REST_FRAMES, &is_restart) && store_live_try_checkpoint(&c->live)) {
        uint32_t n_copied = store_wake_n_copied(c->wake);
        run_round(c);
        store_live_leave_checkpoint(&c->live);
        if (store_wake_n_copied(c->wake) != n_copied)
            round_ms = ROUND_MS;
        else if (round_ms < ROUND_MS_MAX)
            round_ms *= 2;
        if (!pause_ms(c, round_ms))
            return;
    }
}

static void *
run(void *arg)
{
    struct store_checkpoint *c = arg;
    pthread_mutex_lock(&c->mutex);
    for (;;) {
        while (!c->is_wanted && !c->is_stopping)
            pthread_cond_wait(&c->cond, &c->mutex);
        if (c->is_stopping)
            break;
        c->is_wanted = false;
        pthread_mutex_unlock(&c->mutex);
        work(c);
        pthread_mutex_lock(&c->mutex);
        atomic_store(&c->is_busy, false);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

enum rc
store_checkpoint_create(struct store_checkpoint **out, const struct cfg *cfg,
                        const struct store_wake *wake, struct buf *err)
{
    struct store_checkpoint *c = xcalloc(1, sizeof *c);
    pthread_condattr_t attr;
    enum rc rc;
    c->wake = wake;
    if ((rc = store_live_open(&c->live, cfg->database, err)) != RC_OK)
        goto fail_live;
    if ((rc = conn_open(&c->conn, cfg->database, CONN_CHECKPOINT, cfg, err)) != RC_OK)
        goto fail_conn;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &attr);
    pthread_condattr_destroy(&attr);
    if ((rc = store_thread_start(&c->id, "checkpoint", run, c)) != RC_OK) {
        buf_append_z(err, "no thread");
        goto fail_thread;
    }
    *out = c;
    return RC_OK;
fail_thread:
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mutex);
    conn_close(&c->conn);
fail_conn:
    store_live_close(&c->live);
fail_live:
    free(c);
    return rc;
}

void
store_checkpoint_destroy(struct store_checkpoint *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mutex);
    c->is_stopping = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->id, NULL);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mutex);
    conn_close(&c->conn);
    store_live_close(&c->live);
    free(c);
}

void
store_checkpoint_look(struct store_checkpoint *c, const struct store_head *head)
{
    if (head->max_frame <= store_wake_n_copied(c->wake) + PASSIVE_FRAMES)
        return;
    if (atomic_exchange(&c->is_busy, true))
        return;
    pthread_mutex_lock(&c->mutex);
    c->is_wanted = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}
