/*
 * Pruning the log in slices, inside transactions that are open anyway (design 3.7).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_PRUNE_H
#define SIOLITE_STORE_PRUNE_H

#include "store/live.h"

enum { STORE_PRUNE_MARKS = 64 };

/* What one process remembers; all zero at the start. */
struct store_prune {
    int64_t oldest_seq; /* as of the last look */
    int64_t
        bound_seq; /* nobody needs the rows up to here, unless the recovery window does */
    int64_t forced_seq;   /* the hard cap: these go anyway */
    int64_t next_look_ms; /* bounds are computed again */
    int64_t next_slice_ms;
    bool is_behind; /* the last run left a slice's worth: it should run again soon */
    struct {
        int64_t ms, seq; /* at that time the log ended there */
    } marks[STORE_PRUNE_MARKS];
    size_t n_marks; /* a ring: the newest is at (n_marks - 1) % STORE_PRUNE_MARKS */
};

/* own_seq: what this process has delivered; its row says it later. */
MUST_CHECK enum rc
store_prune_run(struct store_prune *p, struct store_write *w, struct store_live *live,
                int64_t own_seq, const struct cfg *cfg);

#endif
