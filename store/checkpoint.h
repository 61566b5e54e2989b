/*
 * The checkpointer: a thread with a connection of its own, so that no commit ever does a
 * checkpoint's disk writes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_CHECKPOINT_H
#define SIOLITE_STORE_CHECKPOINT_H

#include "store/wake.h"

struct store_checkpoint;

/* `wake` outlives it. */
MUST_CHECK enum rc
store_checkpoint_create(struct store_checkpoint **out, const struct cfg *cfg,
                        const struct store_wake *wake, struct buf *err);
void store_checkpoint_destroy(struct store_checkpoint *c);
/* After a commit, and about once a second: wakes the thread when the WAL is long. Any
 * thread. */
void store_checkpoint_look(struct store_checkpoint *c, const struct store_head *head);

#endif
