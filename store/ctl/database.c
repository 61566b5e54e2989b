/*
 * siolite: the database that the commands work on.
 *
 * It works while servers run and while none does: a command is one more process at the
 * same file, and what it writes wakes the others as any commit does.
 *
 * Main thread; it is the store's loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "store/ctl/ctl.h"

enum { TICK_MS = 1000, READ_WAIT_MS = 5000 };

struct done {
    bool is_done;
    enum rc rc;
    int64_t last_seq;
    char *error; /* owned */
};

static void
ignore_packet(void *arg, struct store_packet *p)
{
    (void)arg, (void)p;
}

static void
ignore_horizon(void *arg)
{
    (void)arg;
}

int
ctl_open(struct ctl *c, bool may_create,
         void (*on_packet)(void *arg, struct store_packet *p), void *arg)
{
    const struct store_options options = {
        .cfg = &c->cfg, .front = STORE_FRONT_CTL, .address = ""};
    const struct store_hooks hooks = {.arg = arg,
                                      .on_packet = on_packet ? on_packet : ignore_packet,
                                      .on_horizon = ignore_horizon};
    struct buf err = {0};
    int status = 0;
    if (!may_create && access(c->cfg.database, F_OK) != 0 && errno == ENOENT)
        return ctl_fail(c,
                        "%s: %s; name the database by --database or --config, or make it "
                        "by `siolite init`",
                        c->cfg.database, strerror(errno));
    if (store_open(&c->st, &options, &hooks, &err) != RC_OK)
        status = ctl_fail(c, "%.*s", STR_ARG(buf_str(&err)));
    buf_fini(&err);
    return status;
}

void
ctl_wait(struct ctl *c, int ms)
{
    struct pollfd fd = {.fd = store_fd(c->st), .events = POLLIN};
    store_flush(c->st);
    if (poll(&fd, 1, ms < 0 || ms > TICK_MS ? TICK_MS : ms) == 0)
        store_tick(c->st);
    store_pump(c->st);
}

static void
on_done(void *arg, const struct store_result *r)
{
    struct done *d = arg;
    *d = (struct done){true, r->rc, r->last_seq, xstrdup(r->error)};
}

int
ctl_run(struct ctl *c, struct store_unit *u, int64_t *last_seq)
{
    struct done d = {0};
    int status = 0;
    store_unit_submit(c->st, u, on_done, &d);
    while (!d.is_done)
        ctl_wait(c, -1);
    if (d.rc == RC_INVALID)
        status = ctl_usage(c, "%s", d.error);
    else if (d.rc != RC_OK)
        status = ctl_fail(c, "%s%s%s", rc_text(d.rc), d.error[0] ? ": " : "", d.error);
    else if (last_seq)
        *last_seq = d.last_seq;
    free(d.error);
    return status;
}

int
ctl_read(struct ctl *c, const char *view, const struct store_field *filter, size_t n,
         size_t limit, store_view_fn *fn, void *arg)
{
    const struct store_view_read v = {.view = str_of(view),
                                      .filter = filter,
                                      .n_filter = n,
                                      .limit = limit,
                                      .is_off_loop = true};
    int64_t until_ms = clock_now_ms() + READ_WAIT_MS;
    struct buf err = {0};
    enum rc rc;
    int status = 0;
    while ((rc = store_read_view(c->st, &v, fn, arg, &err)) == RC_BUSY &&
           clock_now_ms() < until_ms)
        ctl_wait(c, 1);
    if (rc == RC_INVALID)
        status = ctl_usage(c, "%.*s", STR_ARG(buf_str(&err)));
    else if (rc != RC_OK)
        status = ctl_fail(c, "%s: %s", view, rc_text(rc));
    buf_fini(&err);
    return status;
}

/* ---- init ---- */

static int
run_init(struct ctl *c)
{
    bool is_new = access(c->cfg.database, F_OK) != 0;
    int status = ctl_open(c, true, NULL, NULL);
    if (status != 0)
        return status;
    if (c->is_json) {
        struct buf b = {0};
        buf_append_z(&b, "{\"database\":");
        buf_append_json(&b, str_of(c->cfg.database), false);
        buf_append_z(&b, is_new ? ",\"is_new\":true}" : ",\"is_new\":false}");
        printf("%.*s\n", STR_ARG(buf_str(&b)));
        buf_fini(&b);
    } else {
        printf("%s: %s\n", c->cfg.database, is_new ? "made" : "up to date");
    }
    return 0;
}

const struct ctl_command ctl_init = {
    .name = "init",
    .words = "",
    .help = "Makes the database, or brings one of an older siolite up to date",
    .run = run_init,
};

/* ---- restored ---- */

static int
run_restored(struct ctl *c)
{
    int status = ctl_open(c, false, NULL, NULL);
    if (status != 0)
        return status;
    enum rc rc = store_restored(c->st);
    if (rc != RC_OK)
        return ctl_fail(c, "%s: %s", c->cfg.database, rc_text(rc));
    if (c->is_json)
        printf("{\"epoch\":%lld}\n", (long long)store_epoch(c->st));
    else
        printf("%s: epoch %lld\n", c->cfg.database, (long long)store_epoch(c->st));
    return 0;
}

const struct ctl_command ctl_restored = {
    .name = "restored",
    .words = "",
    .help = "To be run once after a backup was put back, before the servers are started",
    .run = run_restored,
};
