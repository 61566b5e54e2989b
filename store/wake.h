/*
 * Noticing commits: the mapped head of the WAL-index, inotify on the -wal file, a recheck
 * timer and the store thread's signal, all behind one descriptor.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_WAKE_H
#define SIOLITE_STORE_WAKE_H

#include "store/internal.h"

enum store_wake_event {
    STORE_WAKE_SIGNAL = 1, /* store_wake_signal() */
    STORE_WAKE_FILE =
        2, /* somebody writes to the -wal file: before the commit is visible */
    STORE_WAKE_TIMER = 4
};

struct store_wake {
    int epoll_fd, signal_fd, inotify_fd, timer_fd;
    char *wal;       /* the file, until it is listened to for the first time */
    bool is_ticking; /* there is no inotify (limits): the timer ticks instead */
    int shm_fd;      /* never closed: invariant 1 of wake.c */
    void *shm;
    size_t n_rechecks; /* since the last event */
    bool is_crowded;   /* too many wakes: the file is not listened to until the timer */
    bool is_hushed;    /* nor while our own thread writes to it */
    bool is_owed;      /* what was announced meanwhile must be looked at */
    /* wakes in the present millisecond, for coalescing */
    int64_t window_us;
    unsigned n_in_window;
};

/* The database is open and in WAL mode, so its -wal and -shm exist. It begins hushed: a
 * program that never waits for others has no inotify, whose end costs 15 ms (the
 * kernel's). */
MUST_CHECK enum rc
store_wake_open(struct store_wake *w, const char *database, struct buf *err);
void store_wake_close(struct store_wake *w);
/* False: it is being written, or there is none at the moment. Any thread. */
bool store_wake_head(const struct store_wake *w, struct store_head *head);
/* Frames that checkpoints have copied; any thread. */
uint32_t store_wake_n_copied(const struct store_wake *w);
/* Does another process hold SQLite's write lock? */
bool store_wake_is_writing(const struct store_wake *w);
/* Any thread. */
void store_wake_signal(struct store_wake *w);
/* Our own thread writes (each write would wake us), or has ended. Afterwards the caller
 * looks whether others wrote meanwhile, or store_wake_owe()s it to the next poll. */
void store_wake_hush(struct store_wake *w, bool is_hushed);
void store_wake_owe(struct store_wake *w);
/* Which events came since the last call; a set of store_wake_event. */
unsigned store_wake_poll(struct store_wake *w);
/* After a look at the database because of STORE_WAKE_FILE or _TIMER: whether and when to
 * look again. is_unsure: somebody was writing then, or the head was torn. */
void store_wake_rest(struct store_wake *w, unsigned events, bool is_unsure);

#endif
