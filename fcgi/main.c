/*
 * siolite.fcgi and siolite.cgi: start, signals, end.
 *
 * With a listening socket (fd 0, fd 3 of systemd, fcgi_listen) it is a FastCGI responder
 * that stays; started by a web server for one request it is a CGI program. Everything
 * runs on one loop, on the main thread.
 *
 *   RUN ----> DRAIN ---------> FINISH -----------> END
 *     SIGTERM       on_drained         all written
 *
 * DRAIN  no new connections; the engine answers what is parked
 * FINISH only answers that web servers are slow to take are left
 * END    handles are closing; the loop ends with the last one
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/host.h"
#include "core/base/log.h"
#include "fcgi/cgi.h"
#include "fcgi/conn.h"
#include "fcgi/listen.h"

enum { EXIT_USAGE = 2 };
enum phase { PHASE_RUN, PHASE_DRAIN, PHASE_FINISH, PHASE_END };

static const size_t FDS_RESERVED = 64; /* for the database, the log, the application */
static const uint64_t DRAIN_MS = 10000;
static const int64_t MOD_FCGID_PAYLOAD_BYTES =
    100000; /* it refuses bodies of more than 131072 */

static struct {
    int argc;
    char **argv;
    uv_loop_t loop;
    struct cfg cfg;
    enum phase phase;
    struct engine *engine;
    struct fcgi_socket socket;
    struct fcgi_listener *listener; /* FastCGI: while accepting */
    struct fcgi_conns *conns;       /* FastCGI */
    struct fcgi_cgi *cgi;           /* CGI */
    uv_signal_t signals[3];
    uv_timer_t deadline;
} process;

/* ---- the end */

static void
end(void)
{
    if (process.phase == PHASE_END)
        return;
    process.phase = PHASE_END;
    if (process.conns)
        fcgi_conns_close(process.conns);
    if (process.cgi)
        fcgi_cgi_close(process.cgi);
    engine_close(process.engine);
    for (size_t i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&process.signals[i], NULL);
    uv_close((uv_handle_t *)&process.deadline, NULL);
}

static void
on_done(void *arg)
{
    (void)arg;
    end();
}

static void
stop_accepting(void)
{
    fcgi_listen_hide(&process.socket); /* nobody new; then who is in the queue */
    if (process.listener)
        fcgi_listener_close(process.listener);
    fcgi_listen_close(&process.socket);
}

static void
on_drained(void *arg)
{
    (void)arg;
    if (process.phase != PHASE_DRAIN)
        return;
    process.phase = PHASE_FINISH;
    log_info("fcgi", "process.drained");
    if (process.conns)
        fcgi_conns_finish(process.conns, on_done, NULL);
    /* CGI: the answer just given ends it. */
}

static void
on_deadline(uv_timer_t *timer)
{
    (void)timer;
    log_warn("fcgi", "process.late");
    if (process.phase == PHASE_DRAIN && process.conns)
        on_drained(NULL);
    else
        end();
}

static void
adapt_payload(struct cfg *cfg)
{
    if (process.socket.is_mod_fcgid && cfg->max_payload_bytes > MOD_FCGID_PAYLOAD_BYTES)
        cfg->max_payload_bytes = MOD_FCGID_PAYLOAD_BYTES;
}

static void
reload(void)
{
    struct buf err = {0};
    struct cfg next;
    enum rc rc = cfg_main_again(&next, process.argc, process.argv, &err);
    if (rc == RC_OK) {
        adapt_payload(&next);
        rc = engine_reload(process.engine, &next, &err);
    }
    if (rc != RC_OK)
        log_error("fcgi", "reload.failed", LOG_S("error", buf_str(&err)));
    else if (process.conns)
        fcgi_conns_configure(process.conns);
    buf_fini(&err);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    if (number == SIGHUP) {
        if (process.phase == PHASE_RUN)
            reload();
        return;
    }
    log_info("fcgi", "process.stop", LOG_I("signal", number));
    if (process.phase != PHASE_RUN) { /* somebody is impatient */
        end();
        return;
    }
    process.phase = PHASE_DRAIN;
    uv_timer_start(&process.deadline, on_deadline, DRAIN_MS, 0);
    stop_accepting();
    if (process.conns)
        fcgi_conns_drain(process.conns);
    engine_drain(process.engine, on_drained, NULL);
}

/* ---- the beginning */

/* A descriptor 0, 1 or 2 that is closed would be reused for the database. */
static void
fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            exit(EXIT_FAILURE);
}

/* As many descriptors as we may have; how many connections that makes. */
static size_t
raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024 - FDS_RESERVED;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024 - FDS_RESERVED;
    if (limit.rlim_cur > 1000000)
        return 1000000;
    return limit.rlim_cur > 2 * FDS_RESERVED ? limit.rlim_cur - FDS_RESERVED
                                             : FDS_RESERVED;
}

static void
watch_signals(void)
{
    static const int numbers[3] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < 3; i++) {
        uv_signal_init(&process.loop, &process.signals[i]);
        uv_signal_start(&process.signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&process.loop, &process.deadline);
}

static size_t
count_conns(void *arg)
{
    (void)arg;
    return fcgi_conns_count(process.conns);
}

static void
on_conn(void *arg, int fd)
{
    (void)arg;
    fcgi_conns_add(process.conns, fd);
}

static void
on_conn_close(void *arg)
{
    (void)arg;
    fcgi_listener_resume(process.listener);
}

static enum rc
start_fcgi(size_t n_conns_max)
{
    struct fcgi_conns_options o = {.loop = &process.loop,
                                   .engine = process.engine,
                                   .cfg = &process.cfg,
                                   .n_max = n_conns_max,
                                   .on_close = on_conn_close};
    struct fcgi_listener_options l = {.loop = &process.loop,
                                      .fd = process.socket.fd,
                                      .n_max = n_conns_max,
                                      .n_conns = count_conns,
                                      .on_conn = on_conn};
    enum rc rc = fcgi_conns_create(&process.conns, &o);
    if (rc == RC_OK)
        rc = fcgi_listener_create(&process.listener, &l);
    return rc;
}

static void
start_cgi(void)
{
    process.cgi = fcgi_cgi_create(&(struct fcgi_cgi_options){.loop = &process.loop,
                                                             .engine = process.engine,
                                                             .cfg = &process.cfg,
                                                             .on_done = on_done});
}

/* What the configuration leaves to us. */
static void
adapt_to_host(struct engine_options *o, bool is_cgi)
{
    bool is_mod_fcgid = process.socket.is_mod_fcgid;
    o->is_single = is_cgi || is_mod_fcgid;
    if (o->is_single)
        o->n_held_max = process.cfg.n_held_max >= 0 ? (size_t)process.cfg.n_held_max
                                                    : host_n_held_max();
    adapt_payload(&process.cfg);
}

/* The socket, then the engine: requests may queue up while the database is opened. */
static int
start(size_t n_conns_max)
{
    struct engine_options o = {
        .loop = &process.loop, .cfg = &process.cfg, .front = ENGINE_FCGI};
    struct buf err = {0};
    int status = EXIT_FAILURE;
    char *address = NULL;
    bool is_cgi;

    if (fcgi_listen_open(&process.socket, process.cfg.fcgi_listen, &err) != RC_OK)
        goto out;
    is_cgi = process.socket.source == FCGI_LISTEN_NONE;
    if (is_cgi && !fcgi_cgi_is_request()) {
        buf_append_z(
            &err, "no listening socket: set fcgi_listen, or let a web server start this");
        status = EXIT_USAGE;
        goto out;
    }
    adapt_to_host(&o, is_cgi);
    if (is_cgi)
        o.front = ENGINE_CGI;
    /* The store counts by these names (read_single_processes). */
    address = str_dup(is_cgi                        ? STR("cgi")
                      : process.socket.is_mod_fcgid ? STR("mod_fcgid")
                                                    : buf_str(&process.socket.address));
    o.address = address;
    watch_signals();
    if (engine_open(&process.engine, &o, &err) != RC_OK)
        goto out;
    if (is_cgi) {
        start_cgi();
    } else {
        if (start_fcgi(n_conns_max) != RC_OK) {
            buf_append_z(&err, "cannot watch the listening socket");
            goto out;
        }
        log_info("fcgi", "process.start", LOG_Z("version", SIOLITE_VERSION),
                 LOG_Z("address", address), LOG_I("conns_max", (int64_t)n_conns_max));
    }
    status = EXIT_SUCCESS;
out:
    if (status != EXIT_SUCCESS) {
        log_error("fcgi", "process.fail", LOG_S("reason", buf_str(&err)));
        fcgi_listen_close(&process.socket);
    }
    buf_fini(&err);
    free(address);
    return status;
}

int
main(int argc, char **argv)
{
    size_t n_conns_max;
    int status;

    fill_standard_fds();
    n_conns_max = raise_limit();
    log_open("siolite.fcgi", LOG_INFO);
    process.argc = argc;
    process.argv = argv;
    status = cfg_main(&process.cfg, "siolite.fcgi", argc, argv);
    if (status >= 0)
        return status;
    log_set_level((enum log_level)process.cfg.log_level);
    uv_loop_init(&process.loop);
    status = start(n_conns_max);
    if (status != EXIT_SUCCESS)
        return status;
    uv_run(&process.loop, UV_RUN_DEFAULT);
    fcgi_conns_destroy(process.conns);
    fcgi_listener_destroy(process.listener);
    fcgi_cgi_destroy(process.cgi);
    uv_loop_close(&process.loop);
    cfg_fini(&process.cfg);
    return EXIT_SUCCESS;
}
