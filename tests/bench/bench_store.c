/*
 * The store alone: units of one packet each, n at a time, through the thread and back.
 *
 *   bench_store [FOLDER [SECONDS [N]]]  prints a line a case
 *
 * The last lines: from before the BEGIN of another process (plain SQLite, paced) to
 * on_packet.
 *
 * A case submits n units, waits until all are done, and again: so a commit carries n
 * rows, and the loop sleeps while the thread works (closed loop).
 *
 * SPDX-License-Identifier: MIT
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/unit.h"

enum { SAMPLES_MAX = 1000000 };

struct bench {
    struct store *st;
    size_t n_rows, n_done;
    struct str body;
    bool is_fenced;
    int *latencies; /* outsider: of its rows, in µs */
    size_t n_latencies;
};

static void
on_packet(void *arg, struct store_packet *p)
{
    struct bench *b = arg;
    b->n_rows++;
    if (b->latencies && b->n_latencies < SAMPLES_MAX && !p->origin_id)
        b->latencies[b->n_latencies++] = (int)(clock_now_us() - atoll(p->body.p));
}

static void
on_done(void *arg, const struct store_result *r)
{
    if (r->rc != RC_OK) {
        fprintf(stderr, "unit: %s\n", r->error);
        exit(1);
    }
    ((struct bench *)arg)->n_done++;
}

static void
submit(struct bench *b, const struct store_target *t)
{
    struct store_unit *u = store_unit_create();
    if (b->is_fenced && store_fence(b->st) != RC_OK)
        store_pump(b->st);
    store_unit_packet(u, t, store_packet_create(STORE_EVENT, b->body, STR_NONE));
    store_unit_submit(b->st, u, on_done, b);
}

static void
settle(struct bench *b)
{
    struct pollfd fd = {.fd = store_fd(b->st), .events = POLLIN};
    store_flush(b->st);
    while (store_n_pending(b->st)) {
        poll(&fd, 1, 1000);
        store_pump(b->st);
    }
}

static void
on_session(void *arg, const struct store_result *r)
{
    *(int64_t *)arg = r->lease.session_id;
}

static int64_t
create_session(struct bench *b)
{
    struct store_session_new s = {
        .eio_sid = STR("bench"), .protocol = 4, .is_websocket = true};
    struct store_unit *u = store_unit_create();
    int64_t session_id = 0;
    s.now_ms = clock_now_ms();
    s.handshake = STR("{}");
    store_unit_session_create(u, &s);
    store_unit_submit(b->st, u, on_session, &session_id);
    settle(b);
    return session_id;
}

static double
cpu_us(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static int
compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void
run(struct bench *b, const char *name, const struct store_target *t, int n,
    double seconds)
{
    static int samples[SAMPLES_MAX];
    int64_t start_us = clock_now_us(), now_us = start_us, tick_us = start_us;
    double cpu_start = cpu_us(), units;
    size_t n_batches = 0;
    while (now_us - start_us < seconds * 1e6 && n_batches < SAMPLES_MAX) {
        int64_t before_us = now_us;
        for (int i = 0; i < n; i++)
            submit(b, t);
        settle(b);
        now_us = clock_now_us();
        samples[n_batches++] = (int)(now_us - before_us);
        if (now_us - tick_us > 1000000) {
            store_tick(b->st);
            tick_us = now_us;
        }
    }
    qsort(samples, n_batches, sizeof *samples, compare);
    units = (double)n_batches * n;
    printf("%-22s n=%-4d %8.0f rows/s  round p50 %5d p99 %5d p99.9 %5d us  cpu %.2f "
           "us/row\n",
           name, n, units / (double)(now_us - start_us) * 1e6, samples[n_batches / 2],
           samples[n_batches * 99 / 100], samples[n_batches * 999 / 1000],
           (cpu_us() - cpu_start) / units);
    fflush(stdout);
}

/* The outsider, a program of its own (a fork with threads might find SQLite's mutexes
 * taken): n rows, one each pause_us, whose body is the time. */
static int
write_outside(int n, int pause_us)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_open("siolite.db", &db) != SQLITE_OK)
        return 1;
    sqlite3_busy_timeout(db, 10000);
    sqlite3_exec(db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    sqlite3_prepare_v2(db, "INSERT INTO t_packet (kind, body) VALUES (2, ?1)", -1, &stmt,
                       NULL);
    for (int i = 0; i < n; i++) {
        char text[32];
        usleep((useconds_t)pause_us);
        snprintf(text, sizeof text, "%lld", (long long)clock_now_us());
        sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) != SQLITE_DONE)
            return 1;
        sqlite3_reset(stmt);
    }
    return 0;
}

static void
run_outsider(struct bench *b, int n, int pause_us)
{
    static int latencies[SAMPLES_MAX];
    struct pollfd fd = {.fd = store_fd(b->st), .events = POLLIN};
    char rows[16], pause[16];
    pid_t pid;
    snprintf(rows, sizeof rows, "%d", n);
    snprintf(pause, sizeof pause, "%d", pause_us);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "bench_store", "--outsider", rows, pause, (char *)NULL);
        _exit(1);
    }
    b->latencies = latencies;
    b->n_latencies = 0;
    while (b->n_latencies < (size_t)n) {
        store_flush(b->st);
        if (poll(&fd, 1, 2000) <= 0)
            break;
        store_pump(b->st);
    }
    waitpid(pid, NULL, 0);
    b->latencies = NULL;
    qsort(latencies, b->n_latencies, sizeof *latencies, compare);
    if (!b->n_latencies) {
        printf("outsider: no row came\n");
        return;
    }
    printf("outsider, pause %d us: %zu of %d rows, p50 %d p99 %d us\n", pause_us,
           b->n_latencies, n, latencies[b->n_latencies / 2],
           latencies[b->n_latencies * 99 / 100]);
}

int
main(int argc, char **argv)
{
    static int sizes_of_arg[1];
    static const int ALL[] = {1, 14, 100, 1000};
    const int *sizes = argc > 3 ? sizes_of_arg : ALL;
    size_t n_sizes = argc > 3 ? 1 : sizeof ALL / sizeof *ALL;
    const struct store_target nsp = {.nsp = STR("/"), .to = STORE_TO_NSP};
    struct store_target session = {.nsp = STR("/"), .to = STORE_TO_SESSION};
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    char folder[200], body[101];
    struct bench b = {0};
    struct buf err = {0};
    struct cfg cfg;
    struct store_options o = {.cfg = &cfg, .front = STORE_FRONT_WS, .address = ""};
    struct store_hooks hooks = {.arg = &b, .on_packet = on_packet};
    if (argc == 4 && strcmp(argv[1], "--outsider") == 0)
        return write_outside(atoi(argv[2]), atoi(argv[3]));
    if (argc > 3)
        sizes_of_arg[0] = atoi(argv[3]);
    snprintf(folder, sizeof folder, "%s/siolite-bench-XXXXXX",
             argc > 1 ? argv[1] : "/var/tmp");
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        perror(folder);
        return 1;
    }
    memset(body, 'x', 100);
    b.body = (struct str){body, 100};
    cfg_init(&cfg);
    log_set_level(LOG_ERROR);
    if (store_open(&b.st, &o, &hooks, &err) != RC_OK) {
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&err)));
        return 1;
    }
    session.id = create_session(&b);
    for (size_t i = 0; i < n_sizes; i++)
        run(&b, "broadcast", &nsp, sizes[i], seconds);
    for (size_t i = 0; i < n_sizes; i++)
        run(&b, "to a session", &session, sizes[i], seconds);
    b.is_fenced = true;
    run(&b, "broadcast, fenced", &nsp, 14, seconds);
    run_outsider(&b, 300, 10000);
    run_outsider(&b, 3000, 1000);
    run_outsider(&b, 30000, 50);
    store_close(b.st);
    cfg_fini(&cfg);
    (void)!system("rm -f siolite.db*");
    if (chdir("/") == 0)
        rmdir(folder);
    return 0;
}
