/*
 * siolite-ws: the WebSocket sidecar. Start, signals, end.
 *
 * The end, in this order: no new connections; the engine drains and asks to close all
 * WebSockets; the engine is closed; the connections get END_MS for their close frames;
 * lws goes, all handles are closed, the loop returns. A second signal skips the waiting.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/base/log.h"
#include "ws/listen.h"
#include "ws/server.h"
#include "ws/tls.h"

enum {
    DESCRIPTORS = 65536, /* lws' tables take 16 bytes each, touched at start */
    DRAIN_MS = 15000,    /* then the engine is closed, drained or not */
    END_MS = 3000,       /* for the close frames of the peers */
    END_TICK_MS = 20,
};

enum stage { RUNNING, DRAINING, DRAINED, CLOSING, CLOSED };

struct process {
    int argc;
    char **argv;
    struct cfg cfg;
    uv_loop_t loop;
    struct ws_listen listen;
    struct ws_server server;
    struct ws_tls *tls; /* NULL: none */
    struct engine *engine;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t timer; /* the end */
    enum stage stage;
    uint64_t stage_end_ms;
    bool is_hurried; /* a second signal came */
};

static struct process P; /* lws and libuv keep pointers into it */

static const char *const STAGE_NAMES[] = {"running", "draining", "drained", "closing",
                                          "closed"};

static void
enter(enum stage stage, uint64_t ms)
{
    P.stage = stage;
    P.stage_end_ms = uv_now(&P.loop) + ms;
    log_info("ws", "stage", LOG_Z("name", STAGE_NAMES[stage]),
             LOG_I("connections", (int64_t)P.server.conns.n));
}

static void
close_all(void)
{
    enter(CLOSED, 0);
    ws_server_close(&P.server);
    ws_tls_close(P.tls);
    uv_close((uv_handle_t *)&P.sigterm, NULL);
    uv_close((uv_handle_t *)&P.sigint, NULL);
    uv_close((uv_handle_t *)&P.sighup, NULL);
    uv_close((uv_handle_t *)&P.timer, NULL);
}

static bool
is_over(void)
{
    return P.is_hurried || uv_now(&P.loop) >= P.stage_end_ms;
}

/* Moves on to the next stage when it is time. */
static void
on_timer(uv_timer_t *timer)
{
    (void)timer;
    if (P.stage == DRAINING && is_over())
        enter(DRAINED, 0);
    if (P.stage == DRAINED) {
        ws_server_set_engine(&P.server, NULL);
        engine_close(P.engine);
        enter(CLOSING, END_MS);
    }
    if (P.stage == CLOSING &&
        ((P.server.conns.n == 0 && ws_tls_count(P.tls) == 0) || is_over()))
        close_all();
}

static void
on_drained(void *arg)
{
    (void)arg;
    if (P.stage == DRAINING)
        enter(DRAINED, 0);
}

static void
reload(void)
{
    struct buf err = {0};
    struct cfg next;
    enum rc rc = cfg_main_again(&next, P.argc, P.argv, &err);
    if (rc == RC_OK)
        rc = engine_reload(P.engine, &next, &err);
    if (rc == RC_OK)
        ws_conns_configure(&P.server.conns, &P.cfg);
    else
        log_error("ws", "reload.failed", LOG_S("error", buf_str(&err)));
    buf_clear(&err);
    if (P.tls && ws_tls_reload(P.tls, &err) != RC_OK)
        log_error("ws", "tls.kept", LOG_S("error", buf_str(&err)));
    else if (P.tls)
        log_info("ws", "tls.reload");
    buf_fini(&err);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    log_info("ws", "signal", LOG_I("number", number));
    if (number == SIGHUP) {
        if (P.stage == RUNNING)
            reload();
        return;
    }
    if (P.stage != RUNNING) {
        P.is_hurried = true;
        return;
    }
    enter(DRAINING, DRAIN_MS);
    ws_listen_close(&P.listen);
    uv_timer_start(&P.timer, on_timer, END_TICK_MS, END_TICK_MS);
    engine_drain(P.engine, on_drained, NULL);
}

static void
watch_signals(void)
{
    struct {
        uv_signal_t *handle;
        int number;
    } signals[] = {{&P.sigterm, SIGTERM}, {&P.sigint, SIGINT}, {&P.sighup, SIGHUP}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        uv_signal_init(&P.loop, signals[i].handle);
        uv_signal_start(signals[i].handle, on_signal, signals[i].number);
    }
}

/* Before lws sizes its tables by it. A limit of a million, as in containers, would cost
 * 16 MB; who needs more connections starts another sidecar on the same port. */
static void
set_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum rc
start(struct buf *err)
{
    struct engine_options options = {
        .loop = &P.loop, .cfg = &P.cfg, .front = ENGINE_WS, .ws = &ws_conn_ops};
    enum rc rc = ws_listen_open(&P.listen, P.cfg.ws_listen, err);
    if (rc != RC_OK)
        return rc;
    rc = ws_server_open(&P.server, &P.loop, &P.cfg);
    if (rc != RC_OK) {
        buf_append_z(
            err, "libwebsockets can't be started (is libwebsockets-evlib-uv installed?)");
        return rc;
    }
    if (P.cfg.ws_tls_cert[0] &&
        (rc = ws_tls_create(&P.tls, &P.loop, &P.cfg, ws_handshakes_begin,
                            &P.server.handshakes, err)) != RC_OK)
        return rc;
    P.server.handshakes.is_https = P.tls != NULL;
    options.address = P.listen.address;
    rc = engine_open(&P.engine, &options, err);
    if (rc != RC_OK)
        return rc;
    ws_server_set_engine(&P.server, P.engine);
    if (P.tls)
        ws_listen_start(&P.listen, &P.loop, ws_tls_accept, P.tls);
    else
        ws_listen_start(&P.listen, &P.loop, ws_handshakes_begin, &P.server.handshakes);
    return RC_OK;
}

int
main(int argc, char **argv)
{
    struct buf err = {0};
    int status;
    P.argc = argc;
    P.argv = argv;
    status = cfg_main(&P.cfg, "siolite-ws", argc, argv);
    if (status >= 0)
        return status;
    log_open("siolite-ws", (enum log_level)P.cfg.log_level);
    signal(SIGPIPE, SIG_IGN);
    set_descriptor_limit();
    uv_loop_init(&P.loop);
    uv_timer_init(&P.loop, &P.timer);
    watch_signals(); /* one that comes before the loop runs is heard when it does */
    if (start(&err) != RC_OK) {
        log_error("ws", "start", LOG_S("error", buf_str(&err)));
        return EXIT_FAILURE; /* the kernel takes back what is open */
    }
    log_info("ws", "start", LOG_Z("version", SIOLITE_VERSION),
             LOG_Z("address", P.listen.address), LOG_Z("tls", P.tls ? "on" : "off"));
    uv_run(&P.loop, UV_RUN_DEFAULT);
    status = uv_loop_close(&P.loop);
    if (status != 0)
        log_error("ws", "loop.close", LOG_Z("error", uv_strerror(status)));
    ws_tls_destroy(P.tls);
    log_info("ws", "stop");
    cfg_fini(&P.cfg);
    buf_fini(&err);
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
