/*
 * lws_floor PORT: what libwebsockets on a libuv loop can do at most: no codec, no
 * handlers, no store. Echoes every event, sends "bcast" to everybody; queues are flushed
 * once a loop turn, all that waits for a connection in one write, as the sidecar does.
 *
 * SPDX-License-Identifier: MIT
 */
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { WRITE_MAX = 65536, HEAD_MAX = 4, RX_BUFFER = 1024, SERV_BUFFER = 8192 };

struct message { /* one for all its receivers */
    int n_refs;
    size_t len;
    unsigned char frame[]; /* with its WebSocket head */
};

struct entry {
    struct entry *next;
    struct message *m;
};

struct conn { /* libwebsockets keeps it */
    struct lws *lws;
    struct conn *next, *prev, *next_dirty;
    struct entry *first, *last;
    bool is_dirty;
};

struct floor {
    struct conn *conns, *dirty;
    unsigned long long last_id;
    unsigned char buffer[LWS_PRE + WRITE_MAX];
};

static struct message *
message_create(const char *p, size_t n)
{
    size_t head = n < 126 ? 2 : HEAD_MAX;
    struct message *m = malloc(sizeof *m + head + n);
    m->n_refs = 1;
    m->len = head + n;
    m->frame[0] = 0x81;
    m->frame[1] = (unsigned char)(n < 126 ? n : 126);
    if (head == HEAD_MAX) {
        m->frame[2] = (unsigned char)(n >> 8);
        m->frame[3] = (unsigned char)n;
    }
    memcpy(m->frame + head, p, n);
    return m;
}

static void
message_unref(struct message *m)
{
    if (--m->n_refs == 0)
        free(m);
}

static void
queue(struct floor *fl, struct conn *c, struct message *m)
{
    struct entry *e = malloc(sizeof *e);
    *e = (struct entry){NULL, m};
    m->n_refs++;
    if (c->last)
        c->last->next = e;
    else
        c->first = e;
    c->last = e;
    if (c->is_dirty)
        return;
    c->is_dirty = true;
    c->next_dirty = fl->dirty;
    fl->dirty = c;
}

static void
queue_text(struct floor *fl, struct conn *c, const char *p, size_t n)
{
    struct message *m = message_create(p, n);
    queue(fl, c, m);
    message_unref(m);
}

static void
pop(struct conn *c)
{
    struct entry *e = c->first;
    c->first = e->next;
    if (c->first == NULL)
        c->last = NULL;
    message_unref(e->m);
    free(e);
}

/* Everything that waits, in one write. */
static void
drain(struct floor *fl, struct conn *c)
{
    size_t n = 0;
    while (c->first && n + c->first->m->len <= WRITE_MAX) {
        memcpy(fl->buffer + LWS_PRE + n, c->first->m->frame, c->first->m->len);
        n += c->first->m->len;
        pop(c);
    }
    if (n > 0)
        lws_write(c->lws, fl->buffer + LWS_PRE, n,
                  LWS_WRITE_HTTP); /* no head of its own */
    if (c->first)
        lws_callback_on_writable(c->lws);
}

static void
on_prepare(uv_prepare_t *p)
{
    struct floor *fl = p->data;
    while (fl->dirty) {
        struct conn *c = fl->dirty;
        fl->dirty = c->next_dirty;
        c->is_dirty = false;
        if (lws_partial_buffered(c->lws))
            lws_callback_on_writable(c->lws);
        else
            drain(fl, c);
    }
}

static void
on_established(struct floor *fl, struct conn *c, struct lws *lws)
{
    char open[200];
    c->lws = lws;
    c->next = fl->conns;
    if (c->next)
        c->next->prev = c;
    fl->conns = c;
    int n = snprintf(open, sizeof open,
                     "0{\"sid\":\"e%016llx\",\"upgrades\":[],\"pingInterval\":25000,"
                     "\"pingTimeout\":20000,"
                     "\"maxPayload\":1000000}",
                     ++fl->last_id);
    queue_text(fl, c, open, (size_t)n);
}

static void
on_message(struct floor *fl, struct conn *c, const char *p, size_t n)
{
    static const char broadcast[] = "42[\"bcast\"";
    char reply[100];
    if (n >= 2 && p[0] == '4' && p[1] == '0') {
        int len =
            snprintf(reply, sizeof reply, "40{\"sid\":\"s%016llx\"}", ++fl->last_id);
        queue_text(fl, c, reply, (size_t)len);
    } else if (n > sizeof broadcast && memcmp(p, broadcast, sizeof broadcast - 1) == 0) {
        struct message *m = message_create(p, n);
        for (c = fl->conns; c; c = c->next)
            queue(fl, c, m);
        message_unref(m);
    } else if (n >= 2 && p[0] == '4' && p[1] == '2') {
        queue_text(fl, c, p, n);
    }
}

static void
on_closed(struct floor *fl, struct conn *c)
{
    struct conn **at = &fl->dirty;
    while (c->is_dirty && *at != c)
        at = &(*at)->next_dirty;
    if (c->is_dirty)
        *at = c->next_dirty;
    while (c->first)
        pop(c);
    *(c->prev ? &c->prev->next : &fl->conns) = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static int
on_lws(struct lws *lws, enum lws_callback_reasons reason, void *user, void *in,
       size_t len)
{
    struct floor *fl = lws_context_user(lws_get_context(lws));
    switch ((int)reason) {
    case LWS_CALLBACK_ESTABLISHED:
        on_established(fl, user, lws);
        break;
    case LWS_CALLBACK_RECEIVE: /* what sio_load sends comes in one piece */
        on_message(fl, user, in, len);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        drain(fl, user);
        break;
    case LWS_CALLBACK_CLOSED:
        on_closed(fl, user);
        break;
    default:
        break;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct lws_protocols PROTOCOLS[] = {
        {.name = "floor",
         .callback = on_lws,
         .per_session_data_size = sizeof(struct conn),
         .rx_buffer_size = RX_BUFFER,
         .tx_packet_size = WRITE_MAX},
        {.name = NULL},
    };
    struct floor *fl = calloc(1, sizeof *fl);
    lws_retry_bo_t no_timer = {.secs_since_valid_ping = 1}; /* and hangup 0 */
    uv_loop_t loop;
    uv_prepare_t prepare;
    void *loops[] = {&loop};
    if (argc != 2)
        return 2;
    struct lws_context_creation_info info = {
        .port = atoi(argv[1]),
        .iface = "127.0.0.1",
        .protocols = PROTOCOLS,
        .user = fl,
        .foreign_loops = loops,
        .retry_and_idle_policy = &no_timer,
        .pt_serv_buf_size = SERV_BUFFER,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6,
    };
    uv_loop_init(&loop);
    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    if (lws_create_context(&info) == NULL)
        return 1;
    uv_prepare_init(&loop, &prepare);
    prepare.data = fl;
    uv_prepare_start(&prepare, on_prepare);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
