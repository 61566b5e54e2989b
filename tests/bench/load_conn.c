/*
 * Sockets of the load generator, and the one epoll set.
 *
 * Invariant: a struct load_conn is never freed, since a batch of events may name it after
 * its end (is_dead).
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { EVENTS_MAX = 1024, IN_KEPT = 65536, DIAL_TRIES = 2000 };

static void
want_write(const struct load *l, struct load_conn *c, bool wants_write)
{
    struct epoll_event e = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0),
                            .data.ptr = c};
    if (c->wants_write == wants_write)
        return;
    c->wants_write = wants_write;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void
flush(const struct load *l, struct load_conn *c)
{
    while (c->n_out_sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.p + c->n_out_sent, c->out.len - c->n_out_sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return; /* the reading side reports it */
        if (n < 0)
            break;
        c->n_out_sent += (size_t)n;
    }
    if (c->n_out_sent == c->out.len) {
        buf_clear(&c->out);
        c->n_out_sent = 0;
    }
    want_write(l, c, c->out.len > 0);
}

struct load_conn *
load_conn_create(struct load_session *s, enum load_conn_kind kind)
{
    struct load_conn *c = xcalloc(1, sizeof *c);
    c->fd = -1;
    c->kind = kind;
    c->session = s;
    return c;
}

/* So that more connections than there are ports can be made to one address. */
static void
choose_source(struct load *l, int fd)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + l->n_sockets++ % (uint32_t)l->o.n_sources);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    (void)bind(fd, (const struct sockaddr *)&from, sizeof from);
}

bool
load_conn_dial(struct load *l, struct load_conn *c)
{
    int one = 1, status, n_tries = 0;
    int fd = socket(l->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        load_bad(l, "socket: %s", strerror(errno));
        return false;
    }
    if (l->to.ss_family == AF_INET) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (l->o.n_sources > 1)
            choose_source(l, fd);
    }
    /* EAGAIN: the backlog of a UNIX socket is full */
    while ((status = connect(fd, (const struct sockaddr *)&l->to, l->to_len)) < 0 &&
           errno == EAGAIN && n_tries++ < DIAL_TRIES)
        usleep(1000);
    if (status < 0 && errno != EINPROGRESS) {
        load_bad(l, "connect: %s", strerror(errno));
        close(fd);
        return false;
    }
    c->fd = fd;
    c->state = LOAD_CONN_DIALING;
    c->wants_write = true;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e);
    return true;
}

void
load_conn_send(struct load *l, struct load_conn *c, const void *p, size_t n)
{
    bool is_open = c->state > LOAD_CONN_DIALING;
    if (is_open && c->out.len == 0) {
        ssize_t n_sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (n_sent == (ssize_t)n)
            return;
        if (n_sent > 0) {
            p = (const char *)p + n_sent;
            n -= (size_t)n_sent;
        }
    }
    buf_append(&c->out, p, n);
    if (is_open)
        want_write(l, c, true);
}

void
load_conn_hang_up(struct load_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = LOAD_CONN_DOWN;
    c->n_out_sent = 0;
    buf_clear(&c->in);
    buf_clear(&c->out);
}

void
load_conn_end(struct load_conn **at)
{
    struct load_conn *c = *at;
    if (c == NULL)
        return;
    load_conn_hang_up(c);
    buf_fini(&c->in);
    buf_fini(&c->out);
    buf_fini(&c->fragments);
    if (c->inflater != NULL)
        inflateEnd(c->inflater);
    free(c->inflater);
    c->inflater = NULL;
    c->is_dead = true;
    *at = NULL;
}

/* The peer has closed. */
static void
on_end(struct load *l, struct load_conn *c)
{
    struct load_session *s = c->session;
    if (c->kind == LOAD_CONN_HTTP && c->request == LOAD_HTTP_NONE) { /* an idle one */
        load_conn_hang_up(c);
        return;
    }
    if (c->kind == LOAD_CONN_HTTP && c->in.len > 0) {
        buf_append_c(&c->in, '\0');
        if (load_http_feed(l, c, c->in.p, c->in.len - 1, true) > 0) {
            if (!c->is_dead)
                load_conn_hang_up(c);
            load_session_poll(l, s);
            return;
        }
    }
    if (s->state != LOAD_DEAD) {
        l->n_closed++;
        load_bad(l, "connection closed by the server (%s)",
                 c->kind == LOAD_CONN_WS ? "websocket" : "http");
    }
    load_session_end(l, s);
}

/* What came, and what was left from before. */
static void
take(struct load *l, struct load_conn *c, char *p, size_t n)
{
    size_t n_used = 0, n_step;
    bool is_own = p == c->in.p;
    while (n_used < n && c->fd >= 0 && !c->is_dead) {
        n_step = c->kind == LOAD_CONN_WS
                     ? load_ws_feed(l, c, p + n_used, n - n_used)
                     : load_http_feed(l, c, p + n_used, n - n_used, false);
        if (n_step == 0)
            break;
        n_used += n_step;
    }
    if (c->is_dead || c->fd < 0)
        return;
    if (!is_own)
        buf_append(&c->in, p + n_used, n - n_used);
    else if (n_used == n && c->in.cap > IN_KEPT)
        buf_fini(&c->in);
    else
        buf_drop_front(&c->in, n_used < c->in.len
                                   ? n_used
                                   : c->in.len); /* hung up and dialled again: empty */
}

static void
on_readable(struct load *l, struct load_conn *c)
{
    ssize_t n;
    do {
        n = recv(c->fd, l->recv_buffer, LOAD_RECV_MAX - 1, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            on_end(l, c);
            return;
        }
        if (c->in.len > 0) {
            buf_append(&c->in, l->recv_buffer, (size_t)n);
            take(l, c, c->in.p, c->in.len);
        } else {
            take(l, c, l->recv_buffer, (size_t)n);
        }
    } while (n == LOAD_RECV_MAX - 1 && !c->is_dead && c->fd >= 0);
}

static bool
on_dialed(struct load *l, struct load_conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        load_bad(l, "connect: %s", strerror(error));
        load_session_end(l, c->session);
        return false;
    }
    c->state = c->kind == LOAD_CONN_WS ? LOAD_CONN_HANDSHAKE : LOAD_CONN_OPEN;
    flush(l, c);
    return true;
}

void
load_conn_pump(struct load *l, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct load_conn *c = events[i].data.ptr;
        if (c->is_dead || c->fd < 0)
            continue;
        if (c->state == LOAD_CONN_DIALING) {
            if ((events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && !on_dialed(l, c))
                continue;
        } else if ((events[i].events & EPOLLOUT) && c->out.len > 0) {
            flush(l, c);
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            on_readable(l, c);
    }
}
