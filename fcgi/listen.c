/*
 * The listening socket.
 *
 * Invariants: 1. Running out of descriptors never ends the process, nor makes it spin:
 * accepting pauses until a connection has closed or RETRY_MS have passed. 2. A path is
 * removed only if it is the socket that we made.
 *
 * The loop thread of siolite.fcgi; fcgi_listen_open() before any other thread exists
 * (umask).
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fastcgi.h>
#include <fcgiapp.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum { SYSTEMD_FD = 3, BACKLOG = 4096, ACCEPTS_MAX = 64 };
static const uint64_t RETRY_MS = 100;
static const int64_t WARN_MS = 10000; /* between two lines of the log */

struct fcgi_listener {
    struct fcgi_listener_options o;
    uv_poll_t poll;
    uv_timer_t retry;
    bool is_paused;
    int64_t warned_ms; /* when the log said so last */
};

/* ---- opening */

static bool
is_listening(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

static bool
has_systemd_socket(void)
{
    const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    int64_t n_fds, os_pid;
    return n && pid && str_to_int(str_of(n), 1, 1024, &n_fds) == RC_OK &&
           str_to_int(str_of(pid), 1, INT32_MAX, &os_pid) == RC_OK &&
           os_pid == getpid() && is_listening(SYSTEMD_FD);
}

/* ".../fcgid/6026.0": a process number and a counter. */
static bool
is_mod_fcgid_path(const char *path)
{
    const char *p = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n_digits = strspn(p, "0123456789");
    size_t n_more = p[n_digits] == '.' ? strspn(p + n_digits + 1, "0123456789") : 0;
    return n_digits && n_more && p[n_digits + 1 + n_more] == 0;
}

/* Fills in what getsockname() tells. */
static void
describe(struct fcgi_socket *s)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } name = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof name;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    buf_clear(&s->address);
    if (getsockname(s->fd, &name.any, &len) == 0 && name.any.sa_family == AF_UNIX) {
        size_t n = len - offsetof(struct sockaddr_un, sun_path);
        if (len > sizeof name.un || n == 0 || name.un.sun_path[0] == 0)
            return;
        buf_append(&s->address, name.un.sun_path, strnlen(name.un.sun_path, n));
        buf_append_c(&s->address, 0); /* for strrchr */
        s->address.len--;
        s->is_mod_fcgid =
            s->source == FCGI_LISTEN_STDIN && is_mod_fcgid_path(s->address.p);
    } else if (getnameinfo(&name.any, len, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        buf_append_f(&s->address, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    }
}

/* Makes way for our socket: RC_CONFLICT if that place is taken. */
static enum rc
clear_path(const struct sockaddr_un *un, struct buf *err)
{
    struct stat st;
    int fd, code;
    if (lstat(un->sun_path, &st) != 0)
        return RC_OK; /* bind() will tell */
    if (!S_ISSOCK(st.st_mode)) {
        buf_append_f(err, "%s exists and is not a socket", un->sun_path);
        return RC_CONFLICT;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    code =
        fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    if (code == ECONNREFUSED)
        unlink(un->sun_path);
    if (code == ECONNREFUSED || code == ENOENT)
        return RC_OK;
    buf_append_f(err, "%s: another process listens there", un->sun_path);
    return RC_CONFLICT;
}

static enum rc
open_path(struct fcgi_socket *s, const char *path, struct buf *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    mode_t mask;
    int failed;
    enum rc rc;
    if (strlen(path) >= sizeof un.sun_path) {
        buf_append_f(err, "%s: longer than %zu characters", path, sizeof un.sun_path - 1);
        return RC_INVALID;
    }
    memcpy(un.sun_path, path, strlen(path));
    rc = clear_path(&un, err);
    if (rc != RC_OK)
        return rc;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0117); /* 0660: whoever can write here can say what he likes */
    failed = s->fd < 0 || bind(s->fd, (struct sockaddr *)&un, sizeof un) != 0 ||
             listen(s->fd, BACKLOG) != 0;
    umask(mask);
    if (failed) {
        buf_append_f(err, "%s: %s", path, strerror(errno));
        return RC_IO;
    }
    if (lstat(path, &st) == 0) {
        s->device = st.st_dev;
        s->inode = st.st_ino;
    }
    return RC_OK;
}

/* "HOST:PORT"; no host is this machine only, "*" is every interface. */
static enum rc
open_tcp(struct fcgi_socket *s, const char *address, struct buf *err)
{
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    struct str host = {address, colon ? (size_t)(colon - address) : 0};
    char *z;
    int code, on = 1;
    if (colon == NULL) {
        buf_append_f(err, "%s: neither a path nor HOST:PORT", address);
        return RC_INVALID;
    }
    if (host.len > 1 && host.p[0] == '[' && host.p[host.len - 1] == ']')
        host = str_slice(host, 1, host.len - 1);
    z = host.len ? str_dup(host) : xstrdup("127.0.0.1");
    code = getaddrinfo(strcmp(z, "*") == 0 ? NULL : z, colon + 1, &hints, &list);
    free(z);
    if (code != 0) {
        buf_append_f(err, "%s: %s", address, gai_strerror(code));
        return RC_INVALID;
    }
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->fd < 0)
            continue;
        setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* inherited */
        if (bind(s->fd, a->ai_addr, a->ai_addrlen) == 0 && listen(s->fd, BACKLOG) == 0)
            break;
        code = errno;
        close(s->fd);
        s->fd = -1;
    }
    freeaddrinfo(list);
    if (s->fd >= 0)
        return RC_OK;
    buf_append_f(err, "%s: %s", address, strerror(code ? code : errno));
    return RC_IO;
}

enum rc
fcgi_listen_open(struct fcgi_socket *s, const char *address, struct buf *err)
{
    enum rc rc = RC_OK;
    *s = (struct fcgi_socket){.fd = -1, .source = FCGI_LISTEN_NONE};
    if (address[0]) {
        s->source = FCGI_LISTEN_OWN;
        rc = address[0] == '/' ? open_path(s, address, err) : open_tcp(s, address, err);
    } else if (has_systemd_socket()) {
        s->source = FCGI_LISTEN_SYSTEMD;
        s->fd = SYSTEMD_FD;
    } else if (!FCGX_IsCGI() && is_listening(FCGI_LISTENSOCK_FILENO)) {
        s->source = FCGI_LISTEN_STDIN;
        s->fd = FCGI_LISTENSOCK_FILENO;
    }
    if (rc != RC_OK) {
        s->source = FCGI_LISTEN_NONE;
        fcgi_listen_close(s);
        return rc;
    }
    if (s->fd >= 0) {
        fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
        fcntl(s->fd, F_SETFD, FD_CLOEXEC);
        describe(s);
    }
    return RC_OK;
}

void
fcgi_listen_hide(struct fcgi_socket *s)
{
    struct stat st;
    if (s->source == FCGI_LISTEN_OWN && s->inode && s->address.len) {
        char *path = str_dup(buf_str(&s->address));
        if (lstat(path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
            unlink(path);
        free(path);
    }
}

void
fcgi_listen_close(struct fcgi_socket *s)
{
    fcgi_listen_hide(s);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    buf_fini(&s->address);
}

/* ---- accepting */

static void
pause_accepting(struct fcgi_listener *l, const char *reason)
{
    int64_t now_ms = clock_now_ms();
    l->is_paused = true;
    uv_poll_stop(&l->poll);
    if (l->warned_ms == 0 || now_ms - l->warned_ms >= WARN_MS) {
        log_warn("fcgi", "accept.pause", LOG_Z("reason", reason),
                 LOG_I("conns", (int64_t)l->o.n_conns(l->o.arg)));
        l->warned_ms = now_ms;
    }
}

static void
on_retry(uv_timer_t *retry)
{
    fcgi_listener_resume(retry->data);
}

/* Accepts one. False: no more for now. */
static bool
accept_one(struct fcgi_listener *l)
{
    int fd;
    if (l->o.n_conns(l->o.arg) >= l->o.n_max) {
        pause_accepting(l, "as many as fit"); /* one that closes resumes it */
        return false;
    }
    fd = accept4(l->o.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->o.on_conn(l->o.arg, fd);
        return true;
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        pause_accepting(l, strerror(errno));
        uv_timer_start(&l->retry, on_retry, RETRY_MS, 0);
    }
    return false;
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
    struct fcgi_listener *l = poll->data;
    (void)events;
    if (status != 0)
        log_error("fcgi", "accept.fail", LOG_Z("reason", uv_strerror(status)));
    for (int i = 0; i < ACCEPTS_MAX && accept_one(l); i++)
        ;
}

enum rc
fcgi_listener_create(struct fcgi_listener **out, const struct fcgi_listener_options *o)
{
    struct fcgi_listener *l = xcalloc(1, sizeof *l);
    l->o = *o;
    if (uv_poll_init(o->loop, &l->poll, o->fd) != 0) {
        free(l);
        return RC_IO;
    }
    uv_timer_init(o->loop, &l->retry);
    l->poll.data = l->retry.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_ready);
    *out = l;
    return RC_OK;
}

void
fcgi_listener_resume(struct fcgi_listener *l)
{
    if (l == NULL || !l->is_paused)
        return;
    l->is_paused = false;
    uv_timer_stop(&l->retry);
    uv_poll_start(&l->poll, UV_READABLE, on_ready);
}

void
fcgi_listener_close(struct fcgi_listener *l)
{
    while (!l->is_paused && accept_one(l))
        ;
    l->is_paused = false; /* nothing to resume */
    uv_close((uv_handle_t *)&l->poll, NULL);
    uv_close((uv_handle_t *)&l->retry, NULL);
}

void
fcgi_listener_destroy(struct fcgi_listener *l)
{
    free(l);
}
