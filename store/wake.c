/*
 * Noticing commits of others.
 *
 * A write to the -wal file raises an inotify event BEFORE the commit is visible, by up to
 * some milliseconds. So after an event:
 *   1. drain inotify, 2. probe SQLite's write lock, 3. look at the head of the WAL-index.
 * If the probe found nobody writing, everything announced was visible in 3; else look
 * again after 50, 50, 100 µs … 1 ms, for as long as somebody writes.
 *
 * The probe doesn't see locks of its own process: the store thread signals its commits.
 *
 * At high rates at most one wake a millisecond: after WAKES_PER_MS within one, the file
 * is not listened to until the next (is_crowded). Nor while our own thread commits
 * (is_hushed): each of its writes would wake the loop for nothing.
 *
 * Invariants:
 * 1. The descriptor of -shm is opened once and never closed: closing any descriptor of a
 * file drops all POSIX locks that the process holds on it, SQLite's among them.
 * 2. Of all descriptors in the epoll set only inotify must be read: the others are
 * edge-triggered.
 *
 * Loop thread, except where wake.h says "any thread".
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "store/place.h"

/* The WAL-index header (SQLite's walformat.html): 48 bytes, twice, then the checkpoint
 * info and the lock bytes. */
enum {
    HEAD_BYTES = 48,
    HEAD_WORDS = HEAD_BYTES / 4,
    WORD_CHANGE = 2,
    WORD_INIT = 3, /* its first byte: isInit */
    WORD_MAX_FRAME = 4,
    WORD_SALT = 8,
    WORD_N_COPIED = 24, /* nBackfill */
    WRITE_LOCK_BYTE = 120,
    MAP_BYTES = 4096
};

enum {
    TICK_US = 20000, /* without inotify */
    WAKES_PER_MS = 4,
    WINDOW_US = 1000
};

/* A long transaction is looked at seldom: its commit writes to the file again. */
static int
recheck_us(size_t n)
{
    static const int STEPS[] = {50, 50, 100, 200, 400, 800};
    enum { N_STEPS = sizeof STEPS / sizeof *STEPS };
    if (n < N_STEPS)
        return STEPS[n];
    return n < 40 ? 1000 : TICK_US;
}

/* Once: an edge-triggered timer that nobody reads doesn't repeat. */
static void
set_timer(struct store_wake *w, int us)
{
    struct itimerspec t = {{0, 0}, {us / 1000000, (long)(us % 1000000) * 1000}};
    timerfd_settime(w->timer_fd, 0, &t, NULL);
}

static void
watch(struct store_wake *w, int fd, uint32_t events, unsigned flag)
{
    struct epoll_event ev = {.events = events, .data.u32 = flag};
    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static void
listen_to_file(struct store_wake *w, bool was_listening)
{
    bool is_listening = !w->is_crowded && !w->is_hushed;
    struct epoll_event ev = {.events = is_listening ? EPOLLIN : 0,
                             .data.u32 = STORE_WAKE_FILE};
    if (w->inotify_fd >= 0 && is_listening != was_listening)
        epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, w->inotify_fd, &ev);
}

static void
set_crowded(struct store_wake *w, bool is_crowded)
{
    bool was_listening = !w->is_crowded && !w->is_hushed;
    w->is_crowded = is_crowded;
    listen_to_file(w, was_listening);
}

static void
watch_file(struct store_wake *w)
{
    w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->inotify_fd >= 0 && inotify_add_watch(w->inotify_fd, w->wal, IN_MODIFY) < 0) {
        close(w->inotify_fd);
        w->inotify_fd = -1;
    }
    free(w->wal);
    w->wal = NULL;
    if (w->inotify_fd >= 0) {
        watch(w, w->inotify_fd, EPOLLIN, STORE_WAKE_FILE);
        return;
    }
    w->is_ticking = true;
    log_warn("store", "wake.tick", LOG_Z("error", strerror(errno)),
             LOG_Z("hint", "raise fs.inotify limits; latency is 20 ms without"));
    set_timer(w, TICK_US);
}

static enum rc
map_shm(struct store_wake *w, const char *shm, struct buf *err)
{
    w->shm_fd = open(shm, O_RDWR | O_CLOEXEC);
    if (w->shm_fd >= 0) {
        void *p = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, w->shm_fd, 0);
        if (p != MAP_FAILED) {
            w->shm = p;
            return RC_OK;
        }
    }
    store_place_say(err, shm, errno);
    return RC_IO;
}

enum rc
store_wake_open(struct store_wake *w, const char *database, struct buf *err)
{
    struct buf name = {0};
    enum rc rc = RC_IO;
    *w = (struct store_wake){.shm_fd = -1, .inotify_fd = -1};
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (w->epoll_fd < 0 || w->signal_fd < 0 || w->timer_fd < 0) {
        buf_append_f(err, "epoll: %s", strerror(errno));
        goto out;
    }
    watch(w, w->signal_fd, EPOLLIN | EPOLLET, STORE_WAKE_SIGNAL);
    watch(w, w->timer_fd, EPOLLIN | EPOLLET, STORE_WAKE_TIMER);
    buf_append_f(&name, "%s-shm", database);
    buf_append_c(&name, 0);
    if ((rc = map_shm(w, name.p, err)) != RC_OK)
        goto out;
    buf_clear(&name);
    buf_append_f(&name, "%s-wal", database);
    w->wal = buf_take(&name, NULL);
    w->is_hushed = true;
out:
    buf_fini(&name);
    if (rc != RC_OK)
        store_wake_close(w);
    return rc;
}

void
store_wake_close(struct store_wake *w)
{
    int fds[] = {w->epoll_fd, w->signal_fd, w->inotify_fd, w->timer_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(w->wal);
    if (w->shm)
        munmap(w->shm, MAP_BYTES);
    *w = (struct store_wake){-1, -1, -1, -1, .shm_fd = -1};
}

/* SQLite writes the second copy first, so a reader that finds both alike has a whole one.
 */
bool
store_wake_head(const struct store_wake *w, struct store_head *head)
{
    const _Atomic uint32_t *p = w->shm;
    uint32_t first[HEAD_WORDS];
    for (size_t i = 0; i < HEAD_WORDS; i++)
        first[i] = atomic_load_explicit(&p[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < HEAD_WORDS; i++)
        if (first[i] != atomic_load_explicit(&p[HEAD_WORDS + i], memory_order_relaxed))
            return false;
    if (!((const unsigned char *)&first[WORD_INIT])[0])
        return false;
    *head = (struct store_head){first[WORD_CHANGE],
                                first[WORD_MAX_FRAME],
                                {first[WORD_SALT], first[WORD_SALT + 1]}};
    return true;
}

uint32_t
store_wake_n_copied(const struct store_wake *w)
{
    const _Atomic uint32_t *p = w->shm;
    return atomic_load_explicit(&p[WORD_N_COPIED], memory_order_relaxed);
}

bool
store_wake_is_writing(const struct store_wake *w)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WRITE_LOCK_BYTE, .l_len = 1};
    return fcntl(w->shm_fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void
store_wake_signal(struct store_wake *w)
{
    uint64_t one = 1;
    ssize_t ignored = write(w->signal_fd, &one, sizeof one);
    (void)ignored;
}

static void
drain_file(struct store_wake *w)
{
    char events[4096];
    ssize_t n;
    if (w->inotify_fd < 0)
        return;
    do
        n = read(w->inotify_fd, events, sizeof events);
    while (n == (ssize_t)sizeof events);
}

void
store_wake_hush(struct store_wake *w, bool is_hushed)
{
    bool was_listening = !w->is_crowded && !w->is_hushed;
    if (w->is_hushed == is_hushed)
        return;
    w->is_hushed = is_hushed;
    if (!is_hushed && w->wal) {
        watch_file(w);
        return;
    }
    listen_to_file(w, was_listening);
    if (!is_hushed)
        drain_file(w);
}

void
store_wake_owe(struct store_wake *w)
{
    w->is_owed = true;
    store_wake_signal(w);
}

unsigned
store_wake_poll(struct store_wake *w)
{
    struct epoll_event ready[3];
    unsigned events = 0;
    int n = epoll_wait(w->epoll_fd, ready, 3, 0);
    for (int i = 0; i < n; i++)
        events |= ready[i].data.u32;
    if (events & STORE_WAKE_TIMER && w->is_crowded) {
        set_crowded(w, false);
        w->is_owed = true;
    }
    if (w->is_owed)
        events |= STORE_WAKE_FILE;
    w->is_owed = false;
    if (events & STORE_WAKE_FILE)
        drain_file(w);
    return events;
}

/* True: too many wakes in this millisecond; *left_us of it are left. */
static bool
is_crowded(struct store_wake *w, int *left_us)
{
    int64_t now_us = clock_now_us();
    if (now_us - w->window_us >= WINDOW_US) {
        w->window_us = now_us;
        w->n_in_window = 0;
    }
    *left_us = (int)(w->window_us + WINDOW_US - now_us);
    return ++w->n_in_window >= WAKES_PER_MS;
}

void
store_wake_rest(struct store_wake *w, unsigned events, bool is_unsure)
{
    int left_us;
    if (w->is_ticking) {
        if (events & STORE_WAKE_TIMER)
            set_timer(w, TICK_US);
        return;
    }
    if (events & STORE_WAKE_FILE) {
        w->n_rechecks = 0;
        if (is_crowded(w, &left_us)) {
            set_crowded(w, true);
            set_timer(w, left_us);
            return;
        }
    }
    if (is_unsure)
        set_timer(w, recheck_us(w->n_rechecks++));
}
