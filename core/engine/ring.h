/*
 * The newest rows of the log in memory, bounded in rows and bytes (design 3.5). Each row
 * is linked to the previous one with the same target, so a poll that comes back is caught
 * up in O(its targets + hits), whatever the traffic of others.
 *
 * Invariants:
 * 1. The ring holds every deliverable, non-volatile row with from_seq < seq <= last_seq.
 * (Control rows work through the index and are not kept.)
 * 2. Rows are in order of seq.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_RING_H
#define SIOLITE_CORE_ENGINE_RING_H

#include "core/base/map.h"
#include "store/packet.h"

struct ring_slot;

struct ring {
    struct ring_slot *slots; /* circular, cap a power of two */
    size_t cap;
    uint64_t first, end; /* absolute numbers of the oldest slot and behind the newest */
    struct map heads;    /* store_key -> number + 1 of the newest row of that target */
    int64_t from_seq, last_seq;
    size_t n_bytes, n_bytes_max, n_rows_max;
};

/* The key under which rows for several targets are chained: everybody looks at those. */
#define RING_KEY_LIST INT64_MIN

void ring_init(struct ring *r, size_t n_rows_max, size_t n_bytes_max, int64_t from_seq);
void ring_fini(struct ring *r);
/* The log has come to p->seq; keeps it if catch-up may need it. */
void ring_append(struct ring *r, struct store_packet *p);
/* Forgets everything: the log goes on after `seq`. */
void ring_reset(struct ring *r, int64_t seq);
/* Calls fn for the rows of one key with seq > above_seq, newest first. */
void ring_walk(const struct ring *r, int64_t key, int64_t above_seq,
               void (*fn)(void *arg, struct store_packet *p), void *arg);

#endif
