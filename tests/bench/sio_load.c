/*
 * sio_load: a load generator for servers of Socket.IO 3 and later (Engine.IO 4). One
 * thread, one epoll set. It speaks over WebSocket, over long-polling, or starts with
 * long-polling and upgrades; checks everything that comes back (content, order, number);
 * prints one JSON object.
 *
 *   sio_load [options] http://HOST:PORT[/path/]           (default path /socket.io/)
 *   sio_load [options] --unix SOCKET http://any/path/
 *
 *   --mode connect|echo|broadcast
 *        connect    opens the sessions, holds them, reports the rate and the server's
 * memory echo       each active session keeps --window messages in flight: emits --event
 * (default "echo") with one string and expects the same event with the same string back
 *        broadcast  session 0 (or --senders K) emits --event (default "bcast"); the
 * server must emit it, unchanged, to every session
 *   --transport websocket|polling|upgrade                 (default websocket)
 *   --conns N        sessions                             (default 1)
 *   --conc C         handshakes in flight at a time       (default 64)
 *   --size B         bytes in the string                  (default 100, at least 40)
 *   --window W       messages (or broadcasts) in flight   (default 1)
 *   --active K       echo: only the first K sessions send (default all)
 *   --senders K      broadcast: sending sessions          (default 1)
 *   --rate R         open loop: R messages (or broadcasts) a second in all, latency
 * counted from the scheduled time
 *   --warmup S       seconds not measured                 (default 0.5)
 *   --duration S     seconds measured                     (default 3)
 *   --hold S         connect: seconds to hold             (default 1)
 *   --timeout S      gives up when nothing moves          (default 20)
 *   --ns /name       namespace                            (default /)
 *   --event NAME     the event to emit
 *   --auth JSON      CONNECT payload, such as {"token":"x"}
 *   --header 'K: V'  further request header (may be repeated)
 *   --deflate        offers permessage-deflate as a browser does, compresses what it
 * sends;
 *                    --deflate-offer 'TEXT' for another offer
 *   --no-keepalive   polling: a TCP connection for each request
 *   --srcs N         takes 127.0.0.1 to 127.0.0.N as source addresses
 *   --pid P[,P...]   processes of the server: reports CPU and memory (PSS, RSS);
 * --children: their descendants as well
 *   --offset-arg     accepts one more argument at the end (the offset of recovery)
 *   --label TEXT     copied into the output
 *
 * Latencies are microseconds. echo: from emit to receipt. broadcast: "lat" is from emit
 * to each receipt, "full" from emit until the last session has it; run.rate is deliveries
 * a second. "bad" must be 0: lost, doubled, reordered or changed messages, unexpected
 * closes and HTTP errors. Exit status 0 when it is, and every session was connected.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define SECOND_NS 1e9
#define LOST_NS (2 * SECOND_NS) /* after which a message that did not come is lost */

static const char *const MODES[] = {"connect", "echo", "broadcast", NULL};
static const char *const TRANSPORTS[] = {"websocket", "polling", "upgrade", NULL};

/* What was used until each moment. */
struct moment {
    uint64_t ns;
    struct load_usage server;
    double own_cpu_s;
};

/* ---- options ---- */

static double
number(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || v < 0)
        load_die("not a number: %s", text);
    return v;
}

static int
word(const char *const *words, const char *text)
{
    int i = 0;
    while (words[i] != NULL && strcmp(words[i], text) != 0)
        i++;
    if (words[i] == NULL)
        load_die("unknown: %s", text);
    return i;
}

static void
set_url(struct load_options *o, const char *url)
{
    const char *scheme = strstr(url, "://");
    if (scheme != NULL)
        url = scheme + 3;
    size_t n = strcspn(url, "/:");
    if (n == 0 || n >= sizeof o->host)
        load_die("not a URL: %s", url);
    memcpy(o->host, url, n);
    o->host[n] = '\0';
    url += n;
    if (*url == ':') {
        o->port = atoi(url + 1);
        url += strcspn(url, "/");
    }
    if (*url != '\0' && strcmp(url, "/") != 0)
        snprintf(o->path, sizeof o->path, "%s", url);
}

static void
set_pids(struct load_options *o, const char *list)
{
    while (*list != '\0' && o->n_pids < LOAD_PIDS) {
        o->pids[o->n_pids++] = atoi(list);
        list += strcspn(list, ",");
        list += *list == ',';
    }
}

static bool
set_flag(struct load_options *o, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"--deflate", &o->is_deflate},
        {"--no-keepalive", &o->is_no_keepalive},
        {"--offset-arg", &o->has_offset},
        {"--children", &o->has_children},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(name, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    return false;
}

static bool
set_value(struct load_options *o, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *i;
        double *d;
        const char **text;
    } values[] = {
        {"--conns", &o->n_conns, NULL, NULL},
        {"--conc", &o->n_at_once, NULL, NULL},
        {"--size", &o->message_bytes, NULL, NULL},
        {"--window", &o->window, NULL, NULL},
        {"--active", &o->n_active, NULL, NULL},
        {"--senders", &o->n_senders, NULL, NULL},
        {"--srcs", &o->n_sources, NULL, NULL},
        {"--rate", NULL, &o->rate, NULL},
        {"--warmup", NULL, &o->warmup_s, NULL},
        {"--duration", NULL, &o->duration_s, NULL},
        {"--hold", NULL, &o->hold_s, NULL},
        {"--timeout", NULL, &o->timeout_s, NULL},
        {"--ns", NULL, NULL, &o->nsp},
        {"--event", NULL, NULL, &o->event},
        {"--auth", NULL, NULL, &o->auth},
        {"--label", NULL, NULL, &o->label},
        {"--unix", NULL, NULL, &o->unix_path},
        {"--deflate-offer", NULL, NULL, &o->deflate_offer},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (strcmp(name, values[i].name) != 0)
            continue;
        if (values[i].i != NULL)
            *values[i].i = (int)number(value);
        else if (values[i].d != NULL)
            *values[i].d = number(value);
        else
            *values[i].text = value;
        return true;
    }
    if (strcmp(name, "--mode") == 0)
        o->mode = (enum load_mode)word(MODES, value);
    else if (strcmp(name, "--transport") == 0)
        o->transport = (enum load_transport)word(TRANSPORTS, value);
    else if (strcmp(name, "--header") == 0)
        buf_append_f(&o->headers, "%s\r\n", value);
    else if (strcmp(name, "--pid") == 0)
        set_pids(o, value);
    else
        return false;
    return true;
}

static void
set_options(struct load_options *o, int argc, char **argv)
{
    const char *url = NULL;
    *o = (struct load_options){
        .n_conns = 1,
        .n_at_once = 64,
        .message_bytes = 100,
        .window = 1,
        .n_senders = 1,
        .warmup_s = 0.5,
        .duration_s = 3,
        .hold_s = 1,
        .timeout_s = 20,
        .nsp = "/",
        .auth = "",
        .label = "",
        .n_sources = 1,
        .path = "/socket.io/",
        .port = 80,
    };
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            url = argv[i];
        else if (set_flag(o, argv[i]))
            ;
        else if (i + 1 < argc && set_value(o, argv[i], argv[i + 1]))
            i++;
        else
            load_die("unknown option %s, or no value for it; the head of sio_load.c "
                     "explains all",
                     argv[i]);
    }
    if (url == NULL)
        load_die("no URL; the head of sio_load.c explains all");
    set_url(o, url);
    o->is_deflate |= o->deflate_offer != NULL;
    if (o->deflate_offer == NULL)
        o->deflate_offer = "permessage-deflate; client_max_window_bits";
    if (o->event == NULL)
        o->event = o->mode == LOAD_BROADCAST ? "bcast" : "echo";
    if (o->message_bytes < LOAD_STAMP + 8)
        o->message_bytes = LOAD_STAMP + 8;
    if (o->n_conns < 1 || o->n_sources < 1 || o->n_senders < 1)
        load_die("--conns, --srcs and --senders must be 1 at least");
    if (o->n_active == 0 || o->n_active > o->n_conns)
        o->n_active = o->n_conns;
    if (o->n_senders > o->n_conns)
        o->n_senders = o->n_conns;
}

/* ---- preparations ---- */

static void
resolve(struct load *l)
{
    struct addrinfo hint = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
    char port[16];
    if (l->o.unix_path != NULL) {
        struct sockaddr_un *to = (struct sockaddr_un *)&l->to;
        to->sun_family = AF_UNIX;
        snprintf(to->sun_path, sizeof to->sun_path, "%s", l->o.unix_path);
        l->to_len = sizeof *to;
        return;
    }
    snprintf(port, sizeof port, "%d", l->o.port);
    if (getaddrinfo(l->o.host, port, &hint, &list) != 0)
        load_die("no address for %s", l->o.host);
    memcpy(&l->to, list->ai_addr, list->ai_addrlen);
    l->to_len = list->ai_addrlen;
    freeaddrinfo(list);
}

static void
make_message(struct load *l)
{
    struct buf b;
    buf_init(&b);
    buf_append_z(&b, "42");
    if (strcmp(l->o.nsp, "/") != 0)
        buf_append_f(&b, "%s,", l->o.nsp);
    buf_append_f(&b, "[\"%s\",", l->o.event);
    l->name_len = b.len - 1;
    buf_append_c(&b, '"');
    l->prefix_len = b.len;
    memset(buf_reserve(&b, (size_t)l->o.message_bytes), 'x', (size_t)l->o.message_bytes);
    b.len += (size_t)l->o.message_bytes;
    buf_append_z(&b, "\"]");
    l->message = buf_take(&b, &l->message_len);
}

static void
prepare(struct load *l)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    resolve(l);
    make_message(l);
    deflateInit2(&l->deflater, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    l->recv_buffer = xmalloc(LOAD_RECV_MAX);
    l->frame_buffer = xmalloc(LOAD_MESSAGE_MAX);
    l->deflate_buffer = xmalloc(LOAD_MESSAGE_MAX);
    l->inflate_buffer = xmalloc(LOAD_MESSAGE_MAX);
    l->chunk_buffer = xmalloc(LOAD_MESSAGE_MAX);
    l->n_missing = xcalloc(LOAD_BROADCASTS, sizeof *l->n_missing);
    l->broadcast_ns = xcalloc(LOAD_BROADCASTS, sizeof *l->broadcast_ns);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->sessions = xcalloc((size_t)l->o.n_conns, sizeof *l->sessions);
    for (int i = 0; i < l->o.n_conns; i++)
        l->sessions[i].id = (uint32_t)i;
}

/* ---- phases ---- */

static struct moment
moment(const struct load *l)
{
    struct moment m = {.server = load_usage_get(&l->o)};
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    m.own_cpu_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                  (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
    m.ns = load_now_ns();
    return m;
}

static bool
is_stuck(const struct load *l)
{
    return (double)load_now_ns() - (double)l->progress_ns > l->o.timeout_s * SECOND_NS;
}

static void
connect_all(struct load *l)
{
    l->progress_ns = load_now_ns();
    while (l->n_up + l->n_failed < l->o.n_conns) {
        while (l->n_started < l->o.n_conns && l->n_opening < l->o.n_at_once)
            load_session_start(l, &l->sessions[l->n_started]);
        load_conn_pump(l, 100);
        if (is_stuck(l)) {
            load_bad(l, "stuck while connecting: %d up, %d opening", l->n_up,
                     l->n_opening);
            return;
        }
    }
}

static void
hold(struct load *l)
{
    uint64_t end_ns = load_now_ns() + (uint64_t)(l->o.hold_s * SECOND_NS);
    while (load_now_ns() < end_ns)
        load_conn_pump(l, 20);
}

/* Closed loop: fills the window; each receipt sends the next. */
static void
fill_window(struct load *l)
{
    for (int i = 0; i < l->o.n_active && l->o.mode == LOAD_ECHO; i++)
        for (int w = 0; w < l->o.window && l->sessions[i].state == LOAD_UP; w++)
            load_session_emit(l, &l->sessions[i], l->sessions[i].n_sent++, load_now_ns());
    for (int w = 0; w < l->o.window && l->o.mode == LOAD_BROADCAST; w++)
        load_broadcast(l, load_now_ns());
}

struct schedule { /* open loop: message i is due at from_ns + i * step_ns */
    double from_ns, step_ns;
    uint64_t n;
    uint32_t turn;
};

/* Sends what is due; returns the milliseconds until the next. */
static int
send_due(struct load *l, struct schedule *s)
{
    double now_ns = (double)load_now_ns(), next_ns;
    while ((next_ns = s->from_ns + (double)s->n * s->step_ns) <= now_ns) {
        struct load_session *x = &l->sessions[s->turn++ % (uint32_t)l->o.n_active];
        if (l->o.mode == LOAD_BROADCAST)
            load_broadcast(l, (uint64_t)next_ns);
        else if (x->state == LOAD_UP)
            load_session_emit(l, x, x->n_sent++, (uint64_t)next_ns);
        s->n++;
    }
    next_ns -= (double)load_now_ns();
    return next_ns > 1e6 ? (int)(next_ns / 1e6) : 0;
}

/* One phase; ends early if there is nobody left, or nothing moves. */
static void
run_phase(struct load *l, enum load_phase phase, double seconds)
{
    uint64_t start_ns = load_now_ns();
    struct schedule schedule = {(double)start_ns,
                                l->o.rate > 0 ? SECOND_NS / l->o.rate : 0, 0, 0};
    l->phase = phase;
    while ((double)(load_now_ns() - start_ns) < seconds * SECOND_NS && l->n_up > 0) {
        load_conn_pump(l, l->o.rate > 0 ? send_due(l, &schedule) : 10);
        if (is_stuck(l)) {
            load_bad(l, "stuck: sent %llu received %llu", (unsigned long long)l->n_sent,
                     (unsigned long long)l->n_received);
            return;
        }
    }
}

/* What is under way shall still come. */
static void
drain(struct load *l)
{
    uint64_t start_ns = load_now_ns(), since_ns = start_ns;
    l->phase = LOAD_DRAINING;
    while (l->n_up > 0 &&
           (l->o.mode == LOAD_ECHO ? l->n_received < l->n_sent : l->n_broadcasts > 0)) {
        load_conn_pump(l, 10);
        since_ns = l->progress_ns > start_ns ? l->progress_ns : start_ns;
        if ((double)load_now_ns() - (double)since_ns > LOST_NS) {
            load_bad(l, "lost: sent %llu received %llu", (unsigned long long)l->n_sent,
                     (unsigned long long)l->n_received);
            return;
        }
    }
}

/* ---- report ---- */

static void
print_server(const struct load *l, const struct moment *m)
{
    const struct load_usage *before = &m[0].server, *connected = &m[1].server,
                            *from = &m[2].server, *to = &m[3].server;
    double seconds = (double)(m[3].ns - m[2].ns) / SECOND_NS,
           cpu_s = to->user_s + to->sys_s - from->user_s - from->sys_s;
    int n_up = l->n_up;
    printf(",\"server\":{\"procs\":%d,\"rss_kb\":[%ld,%ld,%ld],\"pss_kb\":[%ld,%ld,%ld],"
           "\"pss_per_conn\":%.0f,",
           to->n_processes, before->rss_kb, connected->rss_kb, to->rss_kb, before->pss_kb,
           connected->pss_kb, to->pss_kb,
           n_up ? (double)(to->pss_kb - before->pss_kb) * 1024 / n_up : 0);
    printf("\"connect_cpu\":%.3f,\"cpu_user\":%.3f,\"cpu_sys\":%.3f,\"cpu\":%.3f,\"cpu_"
           "us_per_msg\":%.3f}",
           connected->user_s + connected->sys_s - before->user_s - before->sys_s,
           seconds > 0 ? (to->user_s - from->user_s) / seconds : 0,
           seconds > 0 ? (to->sys_s - from->sys_s) / seconds : 0,
           seconds > 0 ? cpu_s / seconds : 0,
           l->n_received_measured ? cpu_s * 1e6 / (double)l->n_received_measured : 0);
}

/* `m`: before, connected, the beginning and the end of what was measured. */
static void
print_report(const struct load *l, const struct moment *m, int n_connected,
             double connect_s)
{
    const struct load_options *o = &l->o;
    double seconds = (double)(m[3].ns - m[2].ns) / SECOND_NS;
    printf("{\"label\":\"%s\",\"mode\":\"%s\",\"transport\":\"%s\",\"conns\":%d,\"conc\":"
           "%d,\"size\":%d,\"window\":%d,"
           "\"active\":%d,\"rate_asked\":%.0f,\"deflate\":%d,\"deflated_seen\":%d,",
           o->label, MODES[o->mode], TRANSPORTS[o->transport], o->n_conns, o->n_at_once,
           o->message_bytes, o->window, o->n_active, o->rate, o->is_deflate,
           l->is_deflated_seen);
    printf("\"connect\":{\"up\":%d,\"failed\":%d,\"seconds\":%.3f,\"rate\":%.0f,",
           n_connected, l->n_failed, connect_s, n_connected / connect_s);
    load_hist_print("lat", &l->connect);
    printf("},\"run\":{\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"sent_rate\":%."
           "0f,\"rate\":%.0f,",
           seconds, (unsigned long long)l->n_sent_measured,
           (unsigned long long)l->n_received_measured,
           seconds > 0 ? (double)l->n_sent_measured / seconds : 0,
           seconds > 0 ? (double)l->n_received_measured / seconds : 0);
    load_hist_print("lat", &l->latency);
    if (o->mode == LOAD_BROADCAST) {
        putchar(',');
        load_hist_print("full", &l->full);
    }
    printf(",\"client_cpu\":%.3f},\"bad\":%llu,\"errors\":{\"closed\":%llu,\"http\":%llu,"
           "\"order\":%llu,\"first\":\"%s\"},"
           "\"pings\":%llu",
           seconds > 0 ? (m[3].own_cpu_s - m[2].own_cpu_s) / seconds : 0,
           (unsigned long long)l->n_bad, (unsigned long long)l->n_closed,
           (unsigned long long)l->n_http_errors, (unsigned long long)l->n_disorder,
           l->first_error, (unsigned long long)l->n_pings);
    if (o->n_pids > 0)
        print_server(l, m);
    puts("}");
}

int
main(int argc, char **argv)
{
    struct load *l = xcalloc(1, sizeof *l);
    struct moment m[4];
    set_options(&l->o, argc, argv);
    prepare(l);
    m[0] = moment(l);
    uint64_t start_ns = load_now_ns();
    connect_all(l);
    double connect_s = (double)(load_now_ns() - start_ns) / SECOND_NS;
    int n_connected = l->n_up;
    m[1] = m[2] = moment(l);
    if (l->o.mode == LOAD_CONNECT) {
        hold(l);
        m[3] = moment(l);
    } else {
        l->phase = LOAD_WARMUP;
        l->progress_ns = load_now_ns();
        if (l->o.rate <= 0)
            fill_window(l);
        run_phase(l, LOAD_WARMUP, l->o.warmup_s);
        m[2] = moment(l);
        run_phase(l, LOAD_MEASURING, l->o.duration_s);
        m[3] = moment(l);
        drain(l);
    }
    print_report(l, m, n_connected, connect_s);
    return l->n_bad > 0 || n_connected < l->o.n_conns;
}
