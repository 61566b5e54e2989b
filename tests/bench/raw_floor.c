/*
 * raw_floor PORT: what this machine can do at most. A WebSocket server on bare epoll with
 * just enough of the protocol for sio_load: it does not check the handshake, echoes every
 * event, and sends "bcast" to everybody. No queue: a socket that takes no more is an
 * error.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_MAX = 1024, FRAME_MAX = 4096, EVENTS_MAX = 256, BACKLOG = 4096 };

struct conn {
    struct conn *next, *prev;
    int fd;
    int is_open; /* the handshake is done */
    size_t n;
    char bytes[RECEIVE_MAX];
};

struct floor {
    struct conn *conns;
    int epoll_fd, listen_fd;
    unsigned long long last_id;
};

/* Writes the frame of a text; returns its length. */
static size_t
make_frame(char *f, const char *p, size_t n)
{
    size_t head = n < 126 ? 2 : 4;
    f[0] = (char)0x81;
    f[1] = (char)(n < 126 ? n : 126);
    if (head == 4) {
        f[2] = (char)(n >> 8);
        f[3] = (char)n;
    }
    memcpy(f + head, p, n);
    return head + n;
}

static void
send_all(const struct conn *c, const char *p, size_t n)
{
    if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
        fprintf(stderr, "raw_floor: a short write\n");
}

static void
on_message(struct floor *fl, struct conn *c, const char *p, size_t n)
{
    static const char broadcast[] = "42[\"bcast\"";
    char f[FRAME_MAX], reply[100];
    if (n >= 2 && p[0] == '4' && p[1] == '0') {
        size_t len = (size_t)snprintf(reply, sizeof reply, "40{\"sid\":\"s%016llx\"}",
                                      ++fl->last_id);
        send_all(c, f, make_frame(f, reply, len));
    } else if (n > sizeof broadcast && memcmp(p, broadcast, sizeof broadcast - 1) == 0) {
        size_t len = make_frame(f, p, n);
        for (c = fl->conns; c != NULL; c = c->next)
            send_all(c, f, len);
    } else if (n >= 2 && p[0] == '4' && p[1] == '2') {
        send_all(c, f, make_frame(f, p, n));
    }
}

static void
on_handshake(struct floor *fl, struct conn *c)
{
    char open[200], f[300], answer[600];
    c->bytes[c->n] = '\0';
    if (strstr(c->bytes, "\r\n\r\n") == NULL)
        return;
    c->n = 0;
    c->is_open = 1;
    size_t n = (size_t)snprintf(open, sizeof open,
                                "0{\"sid\":\"e%016llx\",\"upgrades\":[],\"pingInterval\":"
                                "25000,\"pingTimeout\":20000,"
                                "\"maxPayload\":1000000}",
                                ++fl->last_id);
    n = make_frame(f, open, n);
    size_t head =
        (size_t)snprintf(answer, sizeof answer,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
                         "websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: xxxxxxxxxxxxxxxxxxxxxxxxxxx=\r\n\r\n");
    memcpy(answer + head, f, n);
    send_all(c, answer, head + n);
}

static void
on_frames(struct floor *fl, struct conn *c)
{
    size_t at = 0;
    while (c->n - at >= 6) {
        unsigned char *u = (unsigned char *)c->bytes + at;
        size_t len = u[1] & 127u, head = 2;
        if (len == 126) {
            len = (size_t)u[2] << 8 | u[3];
            head = 4;
        }
        if (c->n - at < head + 4 + len)
            break;
        const unsigned char *mask = u + head;
        unsigned char *p = u + head + 4;
        for (size_t i = 0; i < len; i++)
            p[i] ^= mask[i & 3];
        on_message(fl, c, (const char *)p, len);
        at += head + 4 + len;
    }
    memmove(c->bytes, c->bytes + at, c->n - at);
    c->n -= at;
}

static void
on_readable(struct floor *fl, struct conn *c)
{
    ssize_t n = recv(c->fd, c->bytes + c->n, sizeof c->bytes - 1 - c->n, 0);
    if (n <= 0) {
        close(c->fd);
        *(c->prev ? &c->prev->next : &fl->conns) = c->next;
        if (c->next)
            c->next->prev = c->prev;
        free(c);
        return;
    }
    c->n += (size_t)n;
    if (c->is_open)
        on_frames(fl, c);
    else
        on_handshake(fl, c);
}

static void
on_accept(struct floor *fl)
{
    int fd, one = 1;
    while ((fd = accept4(fl->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        c->next = fl->conns;
        if (c->next)
            c->next->prev = c;
        fl->conns = c;
        epoll_ctl(fl->epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

int
main(int argc, char **argv)
{
    struct floor fl = {.epoll_fd = epoll_create1(0)};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[EVENTS_MAX] = {{.events = EPOLLIN}};
    int one = 1;
    if (argc != 2)
        return 2;
    at.sin_port = htons((uint16_t)atoi(argv[1]));
    fl.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fl.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fl.listen_fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fl.listen_fd, BACKLOG) != 0) {
        perror("raw_floor");
        return 1;
    }
    epoll_ctl(fl.epoll_fd, EPOLL_CTL_ADD, fl.listen_fd, &events[0]);
    for (;;) {
        int n = epoll_wait(fl.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr != NULL)
                on_readable(&fl, events[i].data.ptr);
            else
                on_accept(&fl);
        }
    }
}
