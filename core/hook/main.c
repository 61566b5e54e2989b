/*
 * siolite-hook: posts what clients do to the web hook. Start, signals, end.
 *
 * The end: nothing new is taken from the queue; the POSTs under way get some seconds;
 * what is left then stays in the queue, and is posted again under the same id by whoever
 * comes next. A second signal skips the waiting.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/engine/engine.h"
#include "core/hook/post.h"
#include "core/hook/sign.h"

struct process {
    struct cfg cfg;
    struct buf secret;
    uv_loop_t loop;
    uv_signal_t signals[3];
    struct poster *poster;
    struct hook_ops ops;
    struct engine *engine;
    bool is_draining;
    int argc;
    char **argv;
};

static struct process P;

static enum rc
load_secret(const struct cfg *cfg, struct buf *secret, struct buf *err)
{
    if (cfg->hook_url[0] != '\0')
        return hook_sign_load(cfg, secret, err);
    buf_append_z(err, "hook_url: is empty; allowed: http://… or https://…");
    return RC_INVALID;
}

static void
end(void)
{
    if (P.engine == NULL)
        return;
    engine_close(P.engine);
    P.engine = NULL;
    poster_destroy(P.poster);
    for (size_t i = 0; i < sizeof P.signals / sizeof *P.signals; i++)
        uv_close((uv_handle_t *)&P.signals[i], NULL);
}

static void
on_drained(void *arg)
{
    (void)arg;
    end();
}

/* Configuration, key and application again; what is wrong leaves the old ones. */
static enum rc
reload(struct buf *err)
{
    struct cfg next;
    struct buf secret = {0};
    enum rc rc = cfg_main_again(&next, P.argc, P.argv, err);
    if (rc != RC_OK)
        return rc;
    rc = load_secret(&next, &secret, err);
    if (rc != RC_OK) {
        cfg_fini(&next);
        return rc;
    }
    rc = engine_reload(P.engine, &next, err);
    if (rc == RC_OK) {
        struct buf old = P.secret;
        P.secret = secret;
        secret = old;
        poster_configure(P.poster, buf_str(&P.secret));
    }
    buf_fini(&secret);
    return rc;
}

static void
on_hangup(void)
{
    struct buf err = {0};
    if (reload(&err) != RC_OK)
        log_error("hook", "reload.failed", LOG_S("error", buf_str(&err)));
    buf_fini(&err);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    log_info("hook", "signal", LOG_I("number", number));
    if (number == SIGHUP) {
        if (!P.is_draining)
            on_hangup();
        return;
    }
    if (P.is_draining) {
        end();
        return;
    }
    P.is_draining = true;
    engine_drain(P.engine, on_drained, NULL);
}

static void
watch_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uv_signal_init(&P.loop, &P.signals[i]);
        uv_signal_start(&P.signals[i], on_signal, numbers[i]);
    }
}

static enum rc
start(struct buf *err)
{
    struct engine_options options = {
        .loop = &P.loop, .cfg = &P.cfg, .front = ENGINE_HOOK, .hook = &P.ops};
    enum rc rc = load_secret(&P.cfg, &P.secret, err);
    if (rc != RC_OK)
        return rc;
    P.poster = poster_create(&P.loop, &P.cfg, buf_str(&P.secret));
    if (P.poster == NULL) {
        buf_append_z(err, "libcurl can't be started");
        return RC_IO;
    }
    watch_signals(); /* they are handled once the loop runs */
    P.ops = (struct hook_ops){P.poster, poster_post};
    options.address = "";
    return engine_open(&P.engine, &options, err);
}

int
main(int argc, char **argv)
{
    struct buf err = {0};
    int status = cfg_main(&P.cfg, "siolite-hook", argc, argv);
    if (status >= 0)
        return status;
    P.argc = argc;
    P.argv = argv;
    log_open("siolite-hook", (enum log_level)P.cfg.log_level);
    uv_loop_init(&P.loop);
    if (start(&err) != RC_OK) {
        log_error("hook", "start", LOG_S("error", buf_str(&err)));
        return EXIT_FAILURE; /* the kernel takes back what is open */
    }
    log_info("hook", "start", LOG_Z("version", SIOLITE_VERSION));
    uv_run(&P.loop, UV_RUN_DEFAULT);
    status = uv_loop_close(&P.loop);
    if (status != 0)
        log_error("hook", "loop.close", LOG_Z("error", uv_strerror(status)));
    log_info("hook", "stop");
    buf_fini(&P.secret);
    cfg_fini(&P.cfg);
    buf_fini(&err);
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
