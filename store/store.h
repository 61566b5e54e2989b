/*
 * The store: the only code that knows SQLite. One database file in WAL mode, shared by
 * all processes.
 *
 *    loop thread                      store thread
 *    -----------                      ------------
 *    reads (store/read.h)
 *    units (store/unit.h) ──flush──►  takes ALL that wait: flock, BEGIN IMMEDIATE,
 *                                     runs their steps, COMMIT
 *    store_pump()         ◄─eventfd─  hands results back
 *      on_packet for each row, in order of seq; then each unit's on_done
 *
 * Invariants:
 *
 * 1. on_packet sees every row of the log once, in the order of seq, own rows and those
 * of others alike.
 *
 * 2. A unit's on_done runs after on_packet saw the unit's rows, and only after COMMIT.
 *
 * 3. Nothing here blocks the loop thread: no lock, no disk wait. (store_open and
 * store_close may.)
 *
 * 4. Nothing else in the process opens the database file or its -shm and -wal.
 *
 * Everything here is called on the loop's thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_STORE_H
#define SIOLITE_STORE_STORE_H

#include "core/base/cfg.h"
#include "store/packet.h"

struct store;

enum store_front {
    STORE_FRONT_FCGI,
    STORE_FRONT_WS,
    STORE_FRONT_CGI,
    STORE_FRONT_CTL,
    STORE_FRONT_HOOK
};

struct store_options {
    const struct cfg *cfg; /* borrowed until store_close */
    enum store_front front;
    const char *address; /* where it listens, for the view */
};

struct store_hooks {
    void *arg;
    /* Borrowed for the call; take a reference to keep it. */
    void (*on_packet)(void *arg, struct store_packet *p);
    /* The log was pruned beyond what this process has seen (it was stopped for long):
     * everything it holds in memory is stale; it must end its sessions. The tail goes on
     * at the present end. */
    void (*on_horizon)(void *arg);
    /* Asked before on_packet; NULL: always. False: not now; the row comes again with the
     * next store_pump(), before any other. */
    bool (*can_take)(void *arg, const struct store_packet *p);
};

/* Opens or creates the database (migrations, epoch), takes the kernel lock that says that
 * this process lives, writes the process row, starts the threads. `err` gets one line an
 * operator understands: wrong application_id, newer version, not writable, bad file
 * system … */
MUST_CHECK enum rc store_open(struct store **out, const struct store_options *o,
                              const struct store_hooks *hooks, struct buf *err);
/* Commits what waits, removes the process row, closes. Callbacks of units still run. */
void store_close(struct store *st);

int64_t store_process_id(const struct store *st);
int64_t store_epoch(const struct store *st);
/* Readable (level-triggered) when store_pump() has something to do: completions, the -wal
 * file, a recheck timer. */
int store_fd(const struct store *st);
/* Results of units, then rows of others. Never re-entered: a call from within a callback
 * returns at once. */
void store_pump(struct store *st);
/* The fence (design 4.8): RC_OK when everything that was committed before this call has
 * been seen by on_packet (tails if it must); RC_BUSY when that can't be known without
 * waiting: try again after the next store_pump(). One memory read where nothing moved. */
MUST_CHECK enum rc store_fence(struct store *st);
/* Hands the units submitted since the last call to the store thread; once a loop turn,
 * before the loop sleeps, with or without new units: when none is on its way any more, it
 * begins to listen to commits of others again. */
void store_flush(struct store *st);
/* Units handed over or submitted whose on_done hasn't run. */
size_t store_n_pending(const struct store *st);
/* The last row that on_packet saw. */
int64_t store_last_seq(const struct store *st);
/* How far that is, for store_unit_poll_ride(). */
struct store_seen {
    int64_t last_seq;
    uint64_t n_bytes; /* of all rows of this process up to there, or less */
};
struct store_seen store_seen(const struct store *st);
/* Does that process live (kernel lock)? Cheap: one fcntl. 0 and unknown ids are dead. */
bool store_process_is_alive(struct store *st, int64_t process_id);
/* Is any sidecar alive and not draining? Cached for a second. Yes, while that could never
 * be read yet: an upgrade that finds none does no harm. */
bool store_has_sidecar(struct store *st);
/* A backup was put back: seq may have gone back, so the epoch is raised; other processes
 * must be started again. Waits. */
MUST_CHECK enum rc store_restored(struct store *st);
/* SIGHUP: the configuration that this store borrows is exchanged for `next`
 * (cfg_replace), at a moment when no thread reads it; the process row tells. Waits for
 * the write lock. On failure nothing has changed. */
MUST_CHECK enum rc
store_reconfigure(struct store *st, struct cfg *cfg, struct cfg *next, struct buf *kept);
/* SIGTERM seen: written to the process row. */
void store_set_draining(struct store *st);
/* The housekeeping that belongs to nobody's request: process row (last_seq), pruning
 * marks. About once a second. */
void store_tick(struct store *st);

#endif
