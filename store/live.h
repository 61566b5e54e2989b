/*
 * Who lives, and whose turn it is: kernel locks on three files beside the database.
 *
 *   <database>-live        each process write-locks the byte at its process_id, for life
 * (OFD) <database>-queue       flock: writers stand in line here before BEGIN IMMEDIATE
 * (design 5.2) <database>-checkpoint  flock: one checkpointer at a time
 *
 * The kernel frees all of them at once when a process dies.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_LIVE_H
#define SIOLITE_STORE_LIVE_H

#include "store/internal.h"

struct store_live {
    int live_fd, queue_fd, checkpoint_fd;
    int64_t process_id; /* 0 until store_live_enter */
};

/* The database file exists. The side files get its mode and group. */
MUST_CHECK enum rc
store_live_open(struct store_live *l, const char *database, struct buf *err);
void store_live_close(struct store_live *l);
/* In the open transaction of `c`: the process row, then its lock; nobody sees the row
 * before it is locked. *last_seq: the newest row of the log, where this process begins.
 */
MUST_CHECK enum rc store_live_enter(struct store_live *l, struct store_conn *c,
                                    const struct store_options *o, int64_t *last_seq);
/* In the open transaction of `c`. */
MUST_CHECK enum rc
store_live_configure(struct store_live *l, struct store_conn *c, struct str config_hash);
MUST_CHECK enum rc store_live_update(struct store_live *l, struct store_conn *c,
                                     int64_t last_seq, bool is_draining);
MUST_CHECK enum rc store_live_leave(struct store_live *l, struct store_conn *c);
bool store_live_is_alive(const struct store_live *l, int64_t process_id);
/* Smallest last_seq of the living; own_seq for this process. */
MUST_CHECK enum rc store_live_min_seq(struct store_live *l, struct store_conn *c,
                                      int64_t own_seq, int64_t *seq);
/* Is a sidecar alive and not draining? */
MUST_CHECK enum rc
store_live_has_sidecar(struct store_live *l, struct store_conn *c, bool *out);

/* False: somebody else has it. */
bool store_live_try_queue(struct store_live *l);
void store_live_wait_queue(struct store_live *l);
void store_live_leave_queue(struct store_live *l);
bool store_live_try_checkpoint(struct store_live *l);
void store_live_leave_checkpoint(struct store_live *l);

#endif
