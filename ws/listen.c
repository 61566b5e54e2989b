/*
 * Listening; see listen.h.
 *
 * Sidecar, loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ws/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"

enum {
    BACKLOG = 4096,
    ACCEPTS_A_TURN = 64, /* then the other connections have their turn */
    INHERITED_FD = 3,    /* sd_listen_fds(3) */
    RETRY_MS = 100,
    DEFER_S = 5, /* wake us when the request is there, at the latest then */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

/* Host only, or host and port; IPv4 inside of IPv6 is shown as IPv4. */
static void
format_address(const union address *a, bool with_port, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    const char *shown = host;
    bool is_v6 = a->any.sa_family == AF_INET6;
    int port = ntohs(is_v6 ? a->v6.sin6_port : a->v4.sin_port);
    if (is_v6)
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
    else
        inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
    if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.'))
        shown = host + 7;
    if (!with_port)
        snprintf(out, size, "%s", shown);
    else
        snprintf(out, size, is_v6 ? "[%s]:%d" : "%s:%d", host, port);
}

static enum rc
fail(struct ws_listen *l, const char *where, const char *what, struct buf *err)
{
    buf_append_f(err, "ws_listen %s: %s", where, what);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    return RC_IO;
}

/* The address in words. */
static void
learn_address(struct ws_listen *l)
{
    union address a = {.storage = {0}};
    socklen_t len = sizeof a;
    if (getsockname(l->fd, &a.any, &len) != 0)
        return;
    l->is_unix = a.any.sa_family == AF_UNIX;
    if (l->is_unix)
        snprintf(l->address, sizeof l->address, "%s", a.un.sun_path);
    else
        format_address(&a, true, l->address, sizeof l->address);
}

static enum rc
open_inherited(struct ws_listen *l, struct buf *err)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    int is_listening = 0;
    socklen_t len = sizeof is_listening;
    if (count == NULL || atoi(count) < 1 || (pid && atol(pid) != (long)getpid()) ||
        getsockopt(INHERITED_FD, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0 ||
        !is_listening)
        return fail(l, "(empty)", "no listening socket was handed over (LISTEN_FDS)",
                    err);
    l->fd = INHERITED_FD;
    fcntl(l->fd, F_SETFD, FD_CLOEXEC);
    fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) | O_NONBLOCK);
    learn_address(l);
    return RC_OK;
}

/* Does somebody answer at this Unix socket? */
static bool
is_alive(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_refused = fd >= 0 &&
                      connect(fd, (const struct sockaddr *)a, sizeof *a) != 0 &&
                      (errno == ECONNREFUSED || errno == ENOENT);
    if (fd >= 0)
        close(fd);
    return !is_refused;
}

static enum rc
open_unix(struct ws_listen *l, const char *path, struct buf *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    mode_t mask;
    int status;
    if (strlen(path) >= sizeof a.sun_path)
        return fail(l, path, "the path is too long for a socket", err);
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return fail(l, path, "exists and is not a socket", err);
        if (is_alive(&a))
            return fail(l, path, "another program listens there", err);
        unlink(path);
    }
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return fail(l, path, strerror(errno), err);
    mask = umask(0117);
    status = bind(l->fd, (struct sockaddr *)&a, sizeof a);
    umask(mask);
    if (status != 0 || listen(l->fd, BACKLOG) != 0 || lstat(path, &st) != 0)
        return fail(l, path, strerror(errno), err);
    l->path = xstrdup(path);
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    learn_address(l);
    return RC_OK;
}

static int
bind_tcp(const struct addrinfo *ai)
{
    int on = 1, defer_s = DEFER_S;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof on); /* accepted ones inherit it */
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof defer_s);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    on = errno;
    close(fd);
    errno = on;
    return -1;
}

static enum rc
open_tcp(struct ws_listen *l, const char *where, struct buf *err)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char *host = xstrdup(where), *port = strrchr(host, ':'), *name = host;
    enum rc rc = RC_OK;
    int status;
    if (port)
        *port++ = 0;
    if (name[0] == '[' && name[strlen(name) - 1] == ']') {
        name[strlen(name) - 1] = 0;
        name++;
    }
    if (strcmp(name, "*") == 0)
        name[0] = 0;
    status = getaddrinfo(name[0] ? name : NULL, port ? port : "", &hints, &list);
    if (status != 0) {
        rc = fail(l, where, gai_strerror(status), err);
        goto out;
    }
    for (const struct addrinfo *ai = list; ai && l->fd < 0; ai = ai->ai_next)
        l->fd = bind_tcp(ai);
    if (l->fd < 0)
        rc = fail(l, where,
                  errno == EADDRINUSE ? "another program listens there" : strerror(errno),
                  err);
    else
        learn_address(l);
out:
    if (list)
        freeaddrinfo(list);
    free(host);
    return rc;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void
on_retry(uv_timer_t *timer)
{
    struct ws_listen *l = timer->data;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* Accepts one; false: none is there, or none can be taken now. */
static bool
accept_one(struct ws_listen *l)
{
    union address a = {.storage = {0}};
    socklen_t len = sizeof a;
    char peer[INET6_ADDRSTRLEN] = "";
    int fd = accept4(l->fd, &a.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        int on = 1;
        l->is_short_of_fds = false;
        if (!l->is_unix) {
            format_address(&a, false, peer, sizeof peer);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        l->on_accept(l->arg, fd, peer);
        return true;
    }
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
        return true;
    if (errno != EAGAIN) {
        /* Level-triggered: waiting on would spin. */
        if (!l->is_short_of_fds)
            log_warn("ws", "accept.stopped", LOG_Z("error", strerror(errno)));
        l->is_short_of_fds = true;
        uv_poll_stop(&l->poll);
        uv_timer_start(&l->retry, on_retry, RETRY_MS, 0);
    }
    return false;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    struct ws_listen *l = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++)
        if (!accept_one(l))
            return;
}

enum rc
ws_listen_open(struct ws_listen *l, const char *where, struct buf *err)
{
    *l = (struct ws_listen){.fd = -1};
    if (where[0] == 0)
        return open_inherited(l, err);
    return where[0] == '/' ? open_unix(l, where, err) : open_tcp(l, where, err);
}

void
ws_listen_start(struct ws_listen *l, uv_loop_t *loop, ws_listen_fn *on_accept, void *arg)
{
    l->on_accept = on_accept;
    l->arg = arg;
    uv_poll_init(loop, &l->poll, l->fd);
    uv_timer_init(loop, &l->retry);
    l->poll.data = l->retry.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

void
ws_listen_close(struct ws_listen *l)
{
    struct stat st;
    if (l->fd < 0)
        return;
    if (l->on_accept) {
        while (accept_one(l))
            ;
        uv_close((uv_handle_t *)&l->poll, NULL);
        uv_close((uv_handle_t *)&l->retry, NULL);
    }
    close(l->fd);
    l->fd = -1;
    if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
    free(l->path);
    l->path = NULL;
}
