/*
 * The store thread: owns the write connection, commits all units that wait in one
 * transaction.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_THREAD_H
#define SIOLITE_STORE_THREAD_H

#include <pthread.h>

#include "store/checkpoint.h"
#include "store/prune.h"
#include "store/wake.h"

/* One transaction, on its way back to the loop. */
struct store_batch {
    struct store_batch *next;
    bool is_committed;          /* false: only units, all failed */
    int64_t prev_seq, last_seq; /* newest row before it and after it */
    uint64_t n_bytes;           /* of struct store_write, after it */
    bool is_gapped;             /* `packets` aren't all its rows */
    bool has_head;              /* head: exactly this commit */
    struct store_head head;
    struct store_packet **packets; /* one reference each */
    size_t n_packets;
    struct store_unit *units; /* chained, in the order of their submission */
};

struct store_thread;

/* conn, live, wake and checkpoint (may be NULL) outlive the thread; while it runs, the
 * connection is its own. last_seq: what the process row says. */
MUST_CHECK enum rc
store_thread_create(struct store_thread **out, const struct cfg *cfg,
                    struct store_conn *conn, struct store_live *live,
                    struct store_wake *wake, struct store_checkpoint *checkpoint,
                    int64_t last_seq);
/* Commits what waits, for a bounded time if the database is busy. Then
 * store_thread_take() gives the last batches, set-up still works, and destroy frees. */
void store_thread_stop(struct store_thread *t);
void store_thread_destroy(struct store_thread *t);

/* Hands over a chain of units. */
void store_thread_put(struct store_thread *t, struct store_unit *first,
                      struct store_unit *last);
/* Finished batches in order; the loop owns them. NULL: none. */
struct store_batch *store_thread_take(struct store_thread *t);
/* The head that the present transaction will have once it is committed: then its batch is
 * about to come and nobody need read it back. */
bool store_thread_expects(struct store_thread *t, const struct store_head *head);
/* Units were handed over, but others have the lock: their commits come first. */
bool store_thread_is_waiting(struct store_thread *t);
/* What the process row shall say; written with the next commit, at most once a second. */
void store_thread_note(struct store_thread *t, int64_t last_seq, bool is_draining);
/* About once a second: housekeeping even if there are no units. */
void store_thread_tick(struct store_thread *t);

/* The connection for the loop's thread (store_setup_begin). */
MUST_CHECK enum rc
store_thread_setup_begin(struct store_thread *t, struct store_conn **out);
MUST_CHECK enum rc store_thread_setup_end(struct store_thread *t, bool is_commit);

/* A thread that gets no signals. `name`: at most 15 characters, for ps and top. */
MUST_CHECK enum rc
store_thread_start(pthread_t *id, const char *name, void *(*run)(void *), void *arg);

#endif
